/*
 * After an unclean stop what the last three commits wrote is verified: disks that lie about what is durable lack some of it, which nobody
 * would see before other disks are gone.
 *
 * The job's record is part of the import's first commit. Otherwise each crash between that commit and a later one with the record would
 * push one of the three out of what the next import looks at. A verification that another crash cuts short is begun again, over the commits
 * of both.
 */
#include "libpool/pool/jobs.h"

/* The record is that of a verification that wasn't done, or a new one. */
static int choose(struct object *tree, struct job *job)
{
	uint8_t key[OBJECT_KEY_MAX], value[OBJECT_VALUE_MAX];
	size_t key_length = 0, value_length;
	uint64_t last = 0;
	struct job other;
	int status;

	while ((status = tree_next(tree, key, key_length, key_length > 0, key, &key_length, value, &value_length)) == 0) {
		if (job_decode(key, key_length, value, value_length, &other) < 0)
			continue;
		last = other.id > last ? other.id : last;
		if (other.kind != JOB_VERIFY || (other.state != JOB_RUNNING && other.state != JOB_PAUSED))
			continue;
		job->id = other.id;
		job->first_txg = other.first_txg < job->first_txg ? other.first_txg : job->first_txg;
	}
	if (!job->id)
		job->id = last + 1;
	return status == -ENOENT ? 0 : status;
}

void jobs_note_verification(void *argument, struct core *core)
{
	struct object *tree = core_mos_object(core, MOS_JOBS);
	uint8_t key[JOB_KEY_SIZE], value[JOB_RECORD_SIZE];
	uint64_t txg;
	struct job job;

	(void)argument;
	job_init(&job, 0, JOB_VERIFY);
	core_imported_txgs(core, &job.first_txg, &job.last_txg);
	/* A list that can't be read is told when it is loaded. */
	if (choose(tree, &job) < 0)
		return;
	job_key_encode(job.id, key);
	job_encode(&job, value);
	/* It is little, and needed on a full pool, too: it comes out of the floors. */
	if (tree_check(tree, key, sizeof(key)) < 0 || core_hold_own(core, 0, &txg) < 0)
		return;
	(void)tree_put(tree, txg, key, sizeof(key), value, sizeof(value));
	core_release(core, txg);
}
