/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of verbs, and the functions in verb_*.c that it names. */
#ifndef CLI_VERBS_H
#define CLI_VERBS_H

#include "cli/call.h"

extern const struct verb verbs[];
extern const size_t verb_count;

/* The verb whose words begin argv; *ret_words is how many they are. NULL when there is none. */
const struct verb *verb_find(int argc, char **argv, int *ret_words);

/* -EINVAL and a text: argv begins with no verb. */
int verb_unknown(int argc, char **argv, struct libpool_error *error);

/* Prints "text" of the document. */
void print_text(struct call *call);
/* The style that the options ask for. */
struct table_style call_style(const struct call *call);
/* Prints the array `key` of the document as a table of the verb's columns. */
void print_rows(struct call *call, const char *key);

/* help.c */
int help_work(struct call *call);
void help_print(struct call *call);

/* verb_pool.c */
int create_check(struct call *call);
int create_work(struct call *call);
void create_print(struct call *call);
const char *destroy_question(const struct call *call);
int destroy_work(struct call *call);
int undestroy_work(struct call *call);

/* verb_serve.c */
int serve_check(struct call *call);
int serve_work(struct call *call);
/* Starts `poolctl serve` for the call's pool, with the call's options, and waits until it serves; its document goes into the
 * call's. 0 or a negative code with its error. */
int serve_in_background(struct call *call);

/* verb_list.c */
extern const struct column list_columns[], import_columns[];
int list_pools(struct call *call, bool importable_only);
int list_work(struct call *call);
void list_print(struct call *call);

/* verb_import.c */
const char *import_question(const struct call *call);
int import_check(struct call *call);
int import_work(struct call *call);
void import_print(struct call *call);
int export_work(struct call *call);
int wait_check(struct call *call);
int wait_work(struct call *call);
int wait_finish(struct call *call);

/* verb_status.c */
extern const struct column status_columns[];
int status_check(struct call *call);
int status_work(struct call *call);
void status_print_part(struct call *call, struct json_object *part);
void status_print(struct call *call);

/* verb_scrub.c */
int scrub_check(struct call *call);
int scrub_rehearse(struct call *call);
int scrub_work(struct call *call);
int scrub_finish(struct call *call);

/* verb_trim.c */
int trim_check(struct call *call);
int trim_rehearse(struct call *call);
int trim_work(struct call *call);
int trim_finish(struct call *call);

/* verb_disk.c */
int replace_check(struct call *call);
int replace_work(struct call *call);
int replace_finish(struct call *call);
int device_add_check(struct call *call);
int device_add_work(struct call *call);
int device_remove_work(struct call *call);
int offline_work(struct call *call);
int online_check(struct call *call);
int online_work(struct call *call);
int online_finish(struct call *call);
int clear_work(struct call *call);

/* verb_dataset.c */
extern const struct column dataset_columns[];
int dataset_create_check(struct call *call);
int dataset_create_work(struct call *call);
const char *dataset_destroy_question(const struct call *call);
int dataset_destroy_work(struct call *call);
int dataset_rename_check(struct call *call);
int dataset_rename_work(struct call *call);
int dataset_list_work(struct call *call);
void dataset_list_print(struct call *call);
int mount_work(struct call *call);
int unmount_work(struct call *call);
extern const struct column userspace_columns[];
int userspace_work(struct call *call);
void userspace_print(struct call *call);

/* verb_share.c */
extern const struct column share_columns[];
int share_add_check(struct call *call);
int share_add_work(struct call *call);
int share_remove_check(struct call *call);
int share_remove_work(struct call *call);
int share_refresh_work(struct call *call);
void share_change_print(struct call *call);
int share_list_work(struct call *call);
void share_list_print(struct call *call);

/* verb_volume.c */
extern const struct column volume_columns[];
/* The size of the target's volume, by which it is also known to be there. */
int volume_size_now(struct call *call, uint64_t *ret_bytes);
int volume_size_check(struct call *call);
int volume_create_work(struct call *call);
const char *volume_destroy_question(const struct call *call);
int volume_destroy_work(struct call *call);
int volume_resize_work(struct call *call);
int volume_list_work(struct call *call);
void volume_list_print(struct call *call);

/* verb_stream.c */
int volume_read_check(struct call *call);
int volume_read_work(struct call *call);
int volume_write_rehearse(struct call *call);
int volume_write_work(struct call *call);
void volume_read_print(struct call *call);

/* verb_property.c */
extern const struct column property_columns[];
int get_work(struct call *call);
void get_print(struct call *call);
int set_check(struct call *call);
int set_work(struct call *call);
int inherit_work(struct call *call);

/* verb_log.c */
extern const struct column history_columns[], event_columns[];
int history_work(struct call *call);
void history_print(struct call *call);
int events_work(struct call *call);
void events_print(struct call *call);
void events_print_part(struct call *call, struct json_object *part);

/* verb_iostat.c */
extern const struct column iostat_columns[];
int iostat_check(struct call *call);
int iostat_work(struct call *call);
void iostat_print_part(struct call *call, struct json_object *part);

/* verb_debug.c */
int debug_verify_work(struct call *call);

#endif
