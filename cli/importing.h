/* SPDX-License-Identifier: BSD-2-Clause */
/* Importing a pool, also when a disk of it is where no search looks. */
#ifndef CLI_IMPORTING_H
#define CLI_IMPORTING_H

#include <libpool.h>

/*
 * libpool_import. Where disks are missing and a file is at the place where one of them was last (the pool remembers, as after
 * `online DISK PATH`), the folder of that file is searched, too. Nothing is written before all have been looked for.
 */
int import_pool(const struct libpool_host *host, const struct libpool_import_options *options, libpool_pool **ret_pool,
		struct libpool_error *error);

#endif
