/* SPDX-License-Identifier: BSD-2-Clause */
/* Following jobs to their end. */
#ifndef CLI_WAIT_H
#define CLI_WAIT_H

#include "cli/call.h"

/*
 * Waits with progress until no job of these kinds runs (0: of any), and adds "jobs" and "damaged_ranges" to the document. -EINTR
 * when interrupted: the jobs go on in the pool's owner, or at the next import. A job that failed is -EIO.
 */
int wait_for_jobs(struct call *call, uint32_t kinds);

/* 0 if a job of this kind is under way, also one that only the next import would go on with; else an error that says so. */
int wait_has_job(struct call *call, const char *kind);

#endif
