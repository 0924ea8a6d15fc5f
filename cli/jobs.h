/* SPDX-License-Identifier: BSD-2-Clause */
/* Jobs of a pool (scrub, rebuild, resync, verify, trim) as text. */
#ifndef CLI_JOBS_H
#define CLI_JOBS_H

#include <json-c/json.h>
#include <libpool.h>

#define JOBS_ALL      0u
#define JOB_BIT(kind) (1u << (kind))

/* Of a kind from LIBPOOL_JOB_SCRUB to LIBPOOL_JOB_TRIM. */
const char *job_kind_name(uint32_t kind);
/* The bit of a job kind called `name`, 0 when there is none. */
uint32_t job_kind_bit(const char *name);
/* One line: "scrub finished 2026-01-31 12:00:00 after 3.1 s: 1.20G read, 3 cells repaired, none left
 * damaged". */
void job_describe(struct json_object *job, char *text, size_t room);

#endif
