/*
 * The jobs. Each runs in the fiber that calls it, spawns helpers, and has none left when it returns.
 * All return 0, -ECANCELED, -POOL_EHALTED, -ENOMEM or what is said below, with the job's state and end set.
 */
#ifndef SCRUB_SCRUB_H
#define SCRUB_SCRUB_H

#include "scrub/job.h"

/*
 * Reads every written cell of every row with a live cell once, data and parity, dead cells of such rows too,
 * judges it by its batch's summary, and rewrites what is wrong. Rows that the txg in sync places are left to a later
 * scrub; cells that count as absent are rebuild's work.
 */
int scrub_run(struct job *job, const struct job_host *host);

/*
 * The same for batches of job->first_txg to last_txg only, and nothing but labels and the sysmap beside them: what the last commits
 * before an unclean stop wrote. A disk that lies about flushes lacks some of it after a power loss, which nobody sees until other
 * disks are gone.
 */
int verify_last_run(struct job *job, const struct job_host *host);

/*
 * Gives every row its redundancy back: first the cells whose write failed (STALE), in place; then columns without a
 * disk, and every column of job->disk, onto job->target or onto any disk with room: those segments first that
 * lack most. A disk that is being left gets no new segments while the job runs. -ENOSPC:
 * some columns found no place; -EIO: some could not be written; -POOL_EDAMAGED (without a disk to leave): some cells can't
 * be made from what is left. Cells that can't be made stay recorded as absent, so rebuild_is_needed stays true: a
 * rebuild that failed is to be started again only when something has changed.
 */
int rebuild_run(struct job *job, const struct job_host *host);
/* Whether a rebuild of `disk` (DISK_ABSENT: of no disk in particular) would find anything to do now. */
bool rebuild_is_needed(struct store *store, unsigned disk);

/*
 * job->disk is in state RESYNC: brings every batch since its stale_from up to date, then makes the disk
 * ONLINE in a commit. -EIO: the disk failed again.
 */
int resync_run(struct job *job, const struct job_host *host);

/*
 * Tells job->disk, or all disks that are ONLINE, of all that is free (core_trim). What can't be trimmed is told by an event for each
 * disk, and counted. -EOPNOTSUPP: none of them can; -EIO, -ETIMEDOUT: none could; -ENXIO: it isn't there.
 */
int trim_run(struct job *job, const struct job_host *host);

#endif
