/* The jobs of a pool, as jobs.c runs them and engine_jobs.c is asked about them. Nothing else includes this. */
#ifndef LIBPOOL_POOL_JOBS_H
#define LIBPOOL_POOL_JOBS_H

#include "libpool/pool/internal.h"
#include "scrub/job.h"

#define JOB_KINDS 6u /* 1 to 5 are used */

struct pool_job {
	struct list node;
	struct engine *engine;
	struct job job;
};

struct jobs {
	struct list running;               /* struct pool_job with a fiber */
	struct job last[JOB_KINDS];            /* by kind; id 0: none */
	struct job waiting[JOB_KINDS];     /* of a read-only import: what goes on at the next one that writes; id 0: none */
	uint64_t next_id;
	uint64_t scrub_rate;
	struct rt_queue changed;           /* one ended, or paused */
	struct rt_queue wake;              /* the dispatcher waits here */
	bool kicked, starting, stopping, ready; /* starting: what a kick asked for is being looked at */
	struct job_host host;
};

static inline struct pool_job *job_of(const struct list *node)
{
	return container_of(node, struct pool_job, node);
}

/* One with a fiber; disk DISK_ABSENT: of any disk. */
struct pool_job *jobs_find(struct jobs *jobs, enum job_kind kind, unsigned disk);
/* Neither paused nor ended. */
bool jobs_is_busy(const struct pool_job *pool_job);
/* A new job gets its record and its fiber; takes a copy. */
int jobs_start_new(struct engine *engine, struct job *job);
/* Waits until the job has ended, or (not for_end) is paused. It may be gone by then: only its id is compared. */
void jobs_wait_while(struct engine *engine, uint64_t id, bool for_end);
/* An event about a job: kind "scrub.started". */
void jobs_tell(struct engine *engine, const struct job *job, unsigned severity, const char *what, const char *text);
void jobs_describe_disk(struct engine *engine, const struct job *job, char *ret_text, size_t size);
const char *jobs_failure_text(int error);
/* What a trim left out, or "". */
void jobs_trim_text(const struct job *job, char *ret_text, size_t size);

#endif
