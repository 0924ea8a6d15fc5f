/* SPDX-License-Identifier: BSD-2-Clause */
/* The functions that the table of methods names. */
#ifndef LIBPOOL_CONTROL_METHODS_H
#define LIBPOOL_CONTROL_METHODS_H

#include "libpool/control/method.h"

/* method_state.c */
int run_hello(struct invocation *invocation);
int run_status(struct invocation *invocation);
int run_iostat(struct invocation *invocation);

/* method_job.c */
int run_scrub(struct invocation *invocation);
int run_trim(struct invocation *invocation);
/* Adds the jobs of these kinds to the result. */
int add_jobs(struct invocation *invocation, uint32_t kinds);
/* As the library takes it: of the disk that people call so; absolute: what it is if it is a path, or NULL. */
int disk_index_of(struct invocation *invocation, const char *name, const char *absolute, char ret_index[16]);
int run_wait(struct invocation *invocation);
/* Adds "jobs": those of the kinds in the mask (1 << kind; 0: all). 0 or a negative code. */
int jobs_document(libpool_pool *pool, uint32_t kinds, struct json_object *object);

/* method_disk.c */
int run_replace(struct invocation *invocation);
int run_offline(struct invocation *invocation);
int run_device_add(struct invocation *invocation);
int run_device_remove(struct invocation *invocation);
int run_online(struct invocation *invocation);
int run_clear(struct invocation *invocation);

/* method_volume.c */
int run_volume_create(struct invocation *invocation);
int run_volume_destroy(struct invocation *invocation);
int run_volume_resize(struct invocation *invocation);
int run_volume_list(struct invocation *invocation);

/* method_dataset.c */
int run_dataset_create(struct invocation *invocation);
int run_dataset_destroy(struct invocation *invocation);
int run_dataset_rename(struct invocation *invocation);
int run_dataset_list(struct invocation *invocation);
int run_userspace(struct invocation *invocation);

/* method_stream.c */
int run_volume_read(struct invocation *invocation);
int run_volume_write(struct invocation *invocation);

/* method_property.c */
int run_get(struct invocation *invocation);
int run_set(struct invocation *invocation);
int run_inherit(struct invocation *invocation);

/* method_log.c */
int run_history(struct invocation *invocation);
int run_events(struct invocation *invocation);

/* method_mount.c */
int run_mount(struct invocation *invocation);
int run_unmount(struct invocation *invocation);

/* method_pool.c */
int run_export(struct invocation *invocation);
int run_verify(struct invocation *invocation);

#endif
