/*
 * Jobs: which run, which are due, and what follows from their ends. The work itself is scrub/'s; each runs in a fiber of
 * its own. A dispatcher starts what nobody has to ask for: the resync of a disk that came back, the rebuild of cells
 * and columns that a committed row lacks.
 *
 * What must always hold: at most one scrub and one rebuild at a time, and one resync of each disk. A record in MOS_JOBS
 * that says RUNNING or PAUSED means that the next import goes on with it: so stopping for an export changes no record.
 * A disk that is replaced leaves the pool only after its rebuild has FINISHED.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/pool/jobs.h"
#include "libpool/pool/text.h"
#include "scrub/scrub.h"
#include "scrub/verify.h"

/* Things go wrong in groups: what is due is looked at when the first commits have recorded them. */
#define KICK_DELAY_NS (200 * NS_PER_MS)

_Static_assert((int)JOB_SCRUB == LIBPOOL_JOB_SCRUB && (int)JOB_REBUILD == LIBPOOL_JOB_REBUILD &&
		       (int)JOB_RESYNC == LIBPOOL_JOB_RESYNC && (int)JOB_VERIFY == LIBPOOL_JOB_VERIFY && (int)JOB_TRIM == LIBPOOL_JOB_TRIM && (int)JOB_FAILED == LIBPOOL_JOB_FAILED,
	       "kinds and states are those of libpool.h");

static const char *const kind_names[JOB_KINDS] = {"", "scrub", "rebuild", "resync", "verify", "trim"};

struct pool_job *jobs_find(struct jobs *jobs, enum job_kind kind, unsigned disk)
{
	list_for_each(node, &jobs->running)
		if (job_of(node)->job.kind == kind && (disk == DISK_ABSENT || job_of(node)->job.disk == disk))
			return job_of(node);
	return NULL;
}

bool jobs_is_busy(const struct pool_job *pool_job)
{
	return !(pool_job->job.state == JOB_PAUSED && pool_job->job.pause_requested);
}

/* ---- records ---- */

static int put_record(struct engine *engine, const struct job *job, bool remove)
{
	uint8_t key[JOB_KEY_SIZE], value[JOB_RECORD_SIZE];

	job_key_encode(job->id, key);
	job_encode(job, value);
	return engine_mos_put(engine, MOS_JOBS, key, sizeof(key), remove ? NULL : value, remove ? 0 : sizeof(value));
}

static int save(void *argument, const struct job *job)
{
	struct engine *engine = argument;
	struct job copy = *job;

	if (engine->jobs->stopping && (job->state == JOB_CANCELLED || job->state == JOB_FAILED))
		copy.state = job->pause_requested ? JOB_PAUSED : JOB_RUNNING;
	if (copy.state != job->state)
		copy.ended_ns = 0;
	rt_queue_wake_all(engine->rt, &engine->jobs->changed);
	return engine_is_writable(engine) ? put_record(engine, &copy, false) : 0;
}

/* ---- what jobs tell ---- */

void jobs_describe_disk(struct engine *engine, const struct job *job, char *ret_text, size_t size)
{
	if (job->disk == DISK_ABSENT)
		ret_text[0] = 0;
	else
		engine_disk_text(engine, job->disk, ret_text, size);
}

void jobs_tell(struct engine *engine, const struct job *job, unsigned severity, const char *what, const char *text)
{
	char kind[32], object[LIBPOOL_NAME_MAX + 1];

	snprintf(kind, sizeof(kind), "%s.%s", kind_names[job->kind], what);
	jobs_describe_disk(engine, job, object, sizeof(object));
	engine_event(engine, severity, kind, object[0] ? object : core_label(engine->core)->name, text);
}

static void job_event(void *argument, const struct job *job, const char *text)
{
	jobs_tell(argument, job, 1, "note", text);
}

static void job_damage(void *argument, const struct job_damage *damage)
{
	const struct summary_block *block = damage->block;

	if (!block || !damage->dva)
		return;
	bool moved = block->flags & SUMMARY_RELOCATED;
	struct block_pointer pointer = {
		.dva = moved ? block->identity_dva : damage->dva,
		.place = moved ? block->identity_place : damage->place,
		.lsect = block->psect,
		.psect = block->psect,
	};
	struct block_owner owner = {
		.objset = block->objset,
		.object = block->object,
		.block = block->block,
		.level = block->level,
	};

	damage_report(argument, &pointer, &owner, -POOL_EDAMAGED);
}

static void job_missing(void *argument, unsigned disk, uint64_t cells)
{
	char path[LIBPOOL_PATH_MAX];

	engine_disk_text(argument, disk, path, sizeof(path));
	engine_eventf(argument, 2, "disk.lied", path,
		      "%llu cells that it had reported as durable before the unclean stop were not on it: does its cache survive a loss of power?",
		      (unsigned long long)cells);
}

const char *jobs_failure_text(int error)
{
	if (error == -EOPNOTSUPP)
		return "no disk of it can be trimmed";
	return error == -ENOSPC ? "some columns found no place: add a disk or free space" : pool_error_string(error);
}

void jobs_trim_text(const struct job *job, char *ret_text, size_t size)
{
	const char *comma = job->disks_left_out && job->unchecked ? ", " : "";
	char spoken_for[32];

	size_format(job->unchecked * CELL_SIZE, spoken_for, sizeof(spoken_for));
	ret_text[0] = 0;
	if (job->disks_left_out)
		snprintf(ret_text, size, "%u disk%s could not be trimmed", job->disks_left_out, job->disks_left_out == 1 ? "" : "s");
	size_t used = strlen(ret_text);
	if (job->unchecked)
		snprintf(ret_text + used, size - used, "%s%s not trimmed: the pool is too full to set it apart", comma, spoken_for);
}

static void tell_end(struct engine *engine, const struct job *job)
{
	char text[LIBPOOL_TEXT_MAX], size[32];

	if (job->state == JOB_FINISHED && job->kind == JOB_TRIM) {
		size_t used;
		size_format(job->done_bytes, size, sizeof(size));
		used = (size_t)snprintf(text, sizeof(text), "%s trimmed%s", size, job->disks_left_out || job->unchecked ? "; " : "");
		jobs_trim_text(job, text + used, sizeof(text) - used);
	} else if (job->state == JOB_FINISHED)
		snprintf(text, sizeof(text), "%llu errors found, %llu cells repaired, %llu could not be%s",
			 (unsigned long long)job->errors_found, (unsigned long long)job->cells_repaired,
			 (unsigned long long)job->cells_unrepaired, job->unchecked ? "; not all of its disks were there, up to date and answering" : "");
	else if (job->state == JOB_FAILED)
		snprintf(text, sizeof(text), "%s", jobs_failure_text(job->error));
	else
		text[0] = 0;
	jobs_tell(engine, job, job->state == JOB_FAILED ? 2 : job->cells_unrepaired ? 2 : 0,
	     job->state == JOB_FINISHED ? "finished" : job->state == JOB_FAILED ? "failed" : "cancelled", text);
}

/* ---- life of a job ---- */

static int run(struct pool_job *pool_job)
{
	const struct job_host *host = &pool_job->engine->jobs->host;

	switch (pool_job->job.kind) {
	case JOB_SCRUB:
		return scrub_run(&pool_job->job, host);
	case JOB_REBUILD:
		return rebuild_run(&pool_job->job, host);
	case JOB_TRIM:
		return trim_run(&pool_job->job, host);
	case JOB_VERIFY:
		return verify_last_run(&pool_job->job, host);
	default:
		return resync_run(&pool_job->job, host);
	}
}

/* The disk that was replaced leaves the pool. */
static void remove_disk(struct engine *engine, unsigned index)
{
	struct pool_error error = {0};
	char path[LIBPOOL_PATH_MAX];

	engine_disk_text(engine, index, path, sizeof(path));
	rt_mutex_lock(engine->rt, &engine->disks_lock);
	if (core_disk_remove(engine->core, index, &error) < 0) {
		engine_event(engine, 2, "disk.stays", path, error.text);
	} else {
		engine->overdue_cleared[index] = engine->overdue_before[index] = 0;
		engine_event(engine, 0, "disk.removed", path, "its data is on other disks: it has left the pool");
	}
	rt_mutex_unlock(engine->rt, &engine->disks_lock);
}

/*
 * What was moved to a disk that will be gone when it is closed is nowhere. The one that it came from is still there, so all goes back to it.
 * False if it is so.
 */
static bool check_target(struct engine *engine, struct job *job)
{
	struct store *store = core_store(engine->core);
	const char *lost = NULL;

	if (job->state != JOB_FINISHED || job->kind != JOB_REBUILD || job->disk == DISK_ABSENT || job->target == DISK_ABSENT)
		return true;
	rt_mutex_lock(engine->rt, &engine->disks_lock);
	const struct store_disk *from = store_disk(store, job->disk);

	if (from->disk && from->state == DISK_ONLINE)
		lost = disks_lost(engine, job->target);
	if (lost) {
		alloc_disk_set_leaving(core_alloc(engine->core), job->disk, false);
		store_disk_fail(store, job->target, lost);
		job->state = JOB_FAILED;
		job->error = -ENODEV;
		(void)save(engine, job);
	}
	rt_mutex_unlock(engine->rt, &engine->disks_lock);
	return !lost;
}

static void move_back(struct engine *engine, unsigned from, unsigned to)
{
	struct job job;

	if (jobs_find(engine->jobs, JOB_REBUILD, DISK_ABSENT))
		return;
	job_init(&job, engine->jobs->next_id++, JOB_REBUILD);
	job.disk = (uint16_t)from;
	job.target = (uint16_t)to;
	(void)jobs_start_new(engine, &job);
}

static void follow_up(struct engine *engine, struct job *job)
{
	if (job->state == JOB_FINISHED && job->kind == JOB_SCRUB)
		damage_recheck(engine, job->cells_unrepaired == 0);
	if (job->state == JOB_FINISHED && job->kind == JOB_REBUILD && job->disk != DISK_ABSENT)
		remove_disk(engine, job->disk);
}

/* One finished record of each kind is kept. */
static void replace_last(struct engine *engine, const struct job *job)
{
	struct job *last = &engine->jobs->last[job->kind];

	if (last->id && last->id != job->id && engine_is_writable(engine))
		(void)put_record(engine, last, true);
	*last = *job;
}

static void job_fiber(void *argument)
{
	struct pool_job *pool_job = argument;
	struct engine *engine = pool_job->engine;
	struct jobs *jobs = engine->jobs;
	bool kick = false, back = false;

	(void)run(pool_job);
	unsigned disk = pool_job->job.disk, target = pool_job->job.target;

	if (!jobs->stopping)
		back = !check_target(engine, &pool_job->job);
	if (!jobs->stopping) {
		tell_end(engine, &pool_job->job);
		follow_up(engine, &pool_job->job);
		replace_last(engine, &pool_job->job);
		kick = pool_job->job.state == JOB_FINISHED && (pool_job->job.kind == JOB_REBUILD || pool_job->job.kind == JOB_RESYNC);
		/* What was to be done for this disk is, so it can't go round in circles: who waits for it need not wait for the delay. */
		if (kick && pool_job->job.kind == JOB_REBUILD && pool_job->job.disk != DISK_ABSENT)
			jobs->ready = false;
	}
	jobs->starting |= back;
	list_remove(&pool_job->node);
	free(pool_job);
	if (back && !jobs->stopping)
		move_back(engine, target, disk);
	if (back)
		jobs->starting = false;
	/* Only now, or what is due would be left to this job. */
	if (kick)
		jobs_kick(engine);
	rt_queue_wake_all(engine->rt, &jobs->changed);
	rt_group_done(engine->rt, &engine->fibers, 0);
}

/* Takes a copy of the job; it runs (or goes on being paused) in a fiber of its own. */
static int start(struct engine *engine, const struct job *job)
{
	struct pool_job *pool_job = engine->jobs->stopping ? NULL : calloc(1, sizeof(*pool_job));

	if (!pool_job)
		return engine->jobs->stopping ? -ECANCELED : -ENOMEM;
	pool_job->engine = engine;
	pool_job->job = *job;
	rt_queue_init(&pool_job->job.wake);
	if (engine_spawn(engine, kind_names[job->kind], job_fiber, pool_job) < 0) {
		free(pool_job);
		return -ENOMEM;
	}
	list_push_back(&engine->jobs->running, &pool_job->node);
	return 0;
}

int jobs_start_new(struct engine *engine, struct job *job)
{
	int result = put_record(engine, job, false);

	if (result == 0)
		result = start(engine, job);
	if (result == 0)
		jobs_tell(engine, job, 0, "started", "");
	return result;
}

/* ---- what is due by itself ---- */

static void start_due(struct engine *engine)
{
	struct jobs *jobs = engine->jobs;
	struct store *store = core_store(engine->core);
	struct job job;

	for (unsigned i = 0; i < DISKS_MAX; i++) {
		const struct store_disk *disk = store_disk(store, i);

		if (!disk->configured || disk->state != DISK_RESYNC || !disk->disk || jobs_find(jobs, JOB_RESYNC, i))
			continue;
		job_init(&job, jobs->next_id++, JOB_RESYNC);
		job.disk = (uint16_t)i;
		(void)jobs_start_new(engine, &job);
	}
	if (!jobs_find(jobs, JOB_REBUILD, DISK_ABSENT) && rebuild_is_needed(store, DISK_ABSENT)) {
		job_init(&job, jobs->next_id++, JOB_REBUILD);
		(void)jobs_start_new(engine, &job);
	}
}

static void dispatcher(void *argument)
{
	struct engine *engine = argument;
	struct jobs *jobs = engine->jobs;

	while (!jobs->stopping) {
		if (!jobs->kicked) {
			rt_queue_wait(engine->rt, &jobs->wake);
			continue;
		}
		if (jobs->ready && rt_queue_wait_until(engine->rt, &jobs->wake, rt_now(engine->rt) + KICK_DELAY_NS))
			continue;
		jobs->ready = true;
		/* A kick that comes while jobs are being started is about something that may have been passed by. */
		jobs->kicked = false;
		jobs->starting = true;
		if (!jobs->stopping && engine_is_writable(engine))
			start_due(engine);
		jobs->starting = false;
		rt_queue_wake_all(engine->rt, &jobs->changed);
	}
	rt_group_done(engine->rt, &engine->fibers, 0);
}

void jobs_kick(struct engine *engine)
{
	struct jobs *jobs = engine->jobs;

	if (!jobs || jobs->kicked || core_read_only(engine->core))
		return;
	jobs->kicked = true;
	rt_queue_wake_all(engine->rt, &jobs->wake);
}

/* ---- across imports ---- */

/* Whether a record of a job that was under way still means something. */
static bool is_still_due(struct engine *engine, const struct job *job)
{
	if (job->state != JOB_RUNNING && job->state != JOB_PAUSED)
		return false;
	if (job->kind == JOB_SCRUB || job->kind == JOB_TRIM)
		return true;
	if (job->kind == JOB_VERIFY)
		return !engine->no_verify;
	/* Others are found by what they are for; only a replacement isn't. */
	return job->kind == JOB_REBUILD && job->disk != DISK_ABSENT && store_disk(core_store(engine->core), job->disk)->configured;
}

static int take_record(struct engine *engine, struct job *job)
{
	struct jobs *jobs = engine->jobs;

	if (job->id >= jobs->next_id)
		jobs->next_id = job->id + 1;
	/* Trims of several disks run side by side. */
	if (is_still_due(engine, job) && !core_read_only(engine->core) && !jobs_find(jobs, job->kind, job->kind == JOB_TRIM ? job->disk : DISK_ABSENT)) {
		job->pause_requested = job->state == JOB_PAUSED;
		return start(engine, job);
	}
	if (is_still_due(engine, job) && core_read_only(engine->core)) {
		jobs->waiting[job->kind] = *job;
		return 0;
	}
	if (job->state == JOB_RUNNING || job->state == JOB_PAUSED)
		return engine_is_writable(engine) ? put_record(engine, job, true) : 0;
	if (job->id > jobs->last[job->kind].id)
		jobs->last[job->kind] = *job;
	return 0;
}

static int load(struct engine *engine)
{
	struct object *tree = core_mos_object(engine->core, MOS_JOBS);
	uint8_t key[OBJECT_KEY_MAX], value[OBJECT_VALUE_MAX];
	size_t key_length = 0, value_length;
	struct job job;
	int result;

	while ((result = tree_next(tree, key, key_length, key_length > 0, key, &key_length, value, &value_length)) == 0) {
		if (job_decode(key, key_length, value, value_length, &job) < 0)
			continue;
		result = take_record(engine, &job);
		if (result < 0)
			return result;
	}
	return result == -ENOENT ? 0 : result;
}

/* What a scrub looks for in the trees: all of it in a deep one, else the owners of blocks whose summary is lost. */
static int verify(void *argument, const struct job *job, unsigned what, const struct verify_hooks *hooks,
		  struct verify_result *ret_result)
{
	struct engine *engine = argument;
	int status = verify_pool_blocks(engine->core, engine->datasets, what, hooks, ret_result);

	if (status == 0 && (ret_result->violations || ret_result->damaged_blocks))
		jobs_tell(engine, job, 2, ret_result->violations ? "violation" : "damage", ret_result->first);
	return status;
}

static int commit(void *argument)
{
	return core_commit_forced(((struct engine *)argument)->core);
}

static int repair_log(void *argument, uint32_t segment, struct core_log_repair *ret_repair)
{
	return core_log_repair(((struct engine *)argument)->core, segment, ret_repair);
}

static uint64_t committed(void *argument)
{
	return core_committed_txg(((struct engine *)argument)->core);
}

static int areas(void *argument, unsigned *ret_wrong, unsigned *ret_healed)
{
	return core_check_areas(((struct engine *)argument)->core, ret_wrong, ret_healed);
}

static int label_areas(void *argument, unsigned *ret_wrong, unsigned *ret_healed)
{
	return core_check_label_areas(((struct engine *)argument)->core, ret_wrong, ret_healed);
}

static int trim(void *argument, unsigned disk, uint32_t from, uint64_t bytes_max, struct core_trimmed *ret_trimmed)
{
	return core_trim(((struct engine *)argument)->core, disk, false, from, bytes_max, ret_trimmed);
}

static uint64_t trim_left(void *argument, unsigned disk)
{
	return core_trim_left(((struct engine *)argument)->core, disk, false);
}

int jobs_open(struct engine *engine)
{
	struct jobs *jobs = calloc(1, sizeof(*jobs));
	int result;

	if (!jobs)
		return -ENOMEM;
	list_init(&jobs->running);
	rt_queue_init(&jobs->changed);
	rt_queue_init(&jobs->wake);
	jobs->next_id = 1;
	jobs->host = (struct job_host){
		.rt = engine->rt,
		.store = core_store(engine->core),
		.argument = engine,
		.commit = commit,
		.committed = committed,
		.save = save,
		.verify = verify,
		.areas = areas,
		.label_areas = label_areas,
		.repair_log = repair_log,
		.trim = trim,
		.trim_left = trim_left,
		.damage = job_damage,
		.missing = job_missing,
		.event = job_event,
	};
	engine->jobs = jobs;
	result = load(engine);
	if (result == 0 && !core_read_only(engine->core)) {
		jobs->kicked = true;
		result = engine_spawn(engine, "jobs", dispatcher, engine);
	}
	return result;
}

void jobs_stop(struct engine *engine)
{
	struct jobs *jobs = engine->jobs;

	if (!jobs)
		return;
	jobs->stopping = true;
	rt_queue_wake_all(engine->rt, &jobs->wake);
	list_for_each(node, &jobs->running)
		job_cancel(&job_of(node)->job, engine->rt);
	while (!list_empty(&jobs->running))
		rt_queue_wait(engine->rt, &jobs->changed);
}

void jobs_free(struct engine *engine)
{
	free(engine->jobs);
	engine->jobs = NULL;
}

void jobs_wait_while(struct engine *engine, uint64_t id, bool for_end)
{
	for (;;) {
		struct pool_job *found = NULL;

		list_for_each(node, &engine->jobs->running)
			if (job_of(node)->job.id == id)
				found = job_of(node);
		if (!found || (!for_end && !jobs_is_busy(found)) || engine->jobs->stopping)
			return;
		rt_queue_wait(engine->rt, &engine->jobs->changed);
	}
}
