/* SPDX-License-Identifier: BSD-2-Clause */
/* A double of libpool in RAM, for what poolctl does around it: see fake_libpool.c. */
#ifndef TESTS_CLI_FAKE_LIBPOOL_H
#define TESTS_CLI_FAKE_LIBPOOL_H

#include <stdint.h>

#include <libpool.h>

/* Forgets all pools and failures. */
void fake_reset(void);
/* The next call of the function `name` ("libpool_import") fails with `code` and this text (NULL: none). */
void fake_fail(const char *name, int code, const char *text);

/* What the only pool is like from now on. */
struct fake_state {
	uint32_t health;
	uint32_t importable, in_use, clean;
	uint64_t damaged_ranges, cells_repaired, cells_unrepaired;
	uint32_t disk_state; /* of disk 1 */
	char problem[LIBPOOL_TEXT_MAX], action[LIBPOOL_TEXT_MAX];
	unsigned wait_steps; /* libpool_jobs_wait times out so often */
	uint64_t violations;
};
extern struct fake_state fake_state;
/* How often pools are open now, and the options of the last import. */
extern int fake_open;
extern struct libpool_import_options fake_import;

#endif
