/* Jobs of a pool (scrub, rebuild, resync) as documents and as text. */
#ifndef CLI_JOBS_H
#define CLI_JOBS_H

#include <json-c/json.h>
#include <libpool.h>

#define JOBS_ALL      0u
#define JOB_BIT(kind) (1u << (kind))

const char *job_kind_name(uint32_t kind);
/* The bit of a job kind called `name`, 0 when there is none. */
uint32_t job_kind_bit(const char *name);
struct json_object *job_document(const struct libpool_job *job);
/* Adds "jobs" to the object: the array of those in the mask. 0 or a negative code. */
int jobs_document(libpool_pool *pool, uint32_t kinds, struct json_object *object);
/* One line: "scrub finished 2026-01-31 12:00:00 after 3.1 s: 1.20G read, 3 cells repaired, none left
 * damaged". */
void job_describe(struct json_object *job, char *text, size_t room);

#endif
