/* What people ask of jobs: start, pause, cancel, wait, list; and the jobs that changes of disks need. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/pool/jobs.h"

/* A scrub that was given a limit of its own keeps it, over imports too. */
void jobs_set_scrub_rate(struct engine *engine, uint64_t bytes_per_second)
{
	if (!engine->jobs)
		return;
	struct pool_job *scrub = jobs_find(engine->jobs, JOB_SCRUB, DISK_ABSENT);

	if (scrub && scrub->job.bytes_per_second == engine->jobs->scrub_rate)
		scrub->job.bytes_per_second = bytes_per_second;
	engine->jobs->scrub_rate = bytes_per_second;
}

static int check_writable(struct engine *engine, const char *what, struct pool_error *error)
{
	const char *why = "";

	if (core_read_only(engine->core))
		return pool_error_set(error, -EROFS, "pool %s is imported read-only: no %s", core_label(engine->core)->name, what);
	if (core_halted(engine->core, &why))
		return pool_error_set(error, -POOL_EHALTED, "pool %s is halted (%s): no %s", core_label(engine->core)->name, why, what);
	return 0;
}

/* The next commit has it in this state, wherever its own fiber is. */
static int record_as(struct engine *engine, const struct job *job, enum job_state state)
{
	struct job copy = *job;

	copy.state = state;
	copy.pause_requested = state == JOB_PAUSED;
	return engine->jobs->host.save(engine, &copy);
}

/* Recorded first: it may have ended before that is done. */
static int resume(struct engine *engine, struct pool_job *scrub, const struct libpool_scrub_options *options, struct pool_error *error)
{
	uint64_t id = scrub->job.id;
	int result;

	if (options->bytes_per_second)
		scrub->job.bytes_per_second = options->bytes_per_second;
	scrub->job.deep |= options->deep != 0;
	result = record_as(engine, &scrub->job, JOB_RUNNING);
	if (result < 0)
		return pool_error_set(error, result, "pool %s: the scrub can't be resumed: %s", core_label(engine->core)->name,
				      pool_error_string(result));
	scrub = jobs_find(engine->jobs, JOB_SCRUB, DISK_ABSENT);
	if (!scrub || scrub->job.id != id)
		return pool_error_set(error, -ECANCELED, "pool %s: the scrub was stopped meanwhile", core_label(engine->core)->name);
	job_resume(&scrub->job, engine->rt);
	jobs_tell(engine, &scrub->job, 0, "resumed", "");
	return 0;
}

int engine_scrub_start(struct engine *engine, const struct libpool_scrub_options *options, struct pool_error *error)
{
	struct jobs *jobs = engine->jobs;
	struct pool_job *scrub = jobs_find(jobs, JOB_SCRUB, DISK_ABSENT);
	int result = check_writable(engine, "scrub", error);
	struct job job;

	if (result < 0)
		return result;
	if (scrub && !scrub->job.pause_requested)
		return pool_error_set(error, -EALREADY, "pool %s: a scrub is running already", core_label(engine->core)->name);
	if (scrub)
		return resume(engine, scrub, options, error);
	job_init(&job, jobs->next_id++, JOB_SCRUB);
	job.deep = options->deep != 0;
	job.bytes_per_second = options->bytes_per_second ? options->bytes_per_second : jobs->scrub_rate;
	result = jobs_start_new(engine, &job);
	if (result < 0)
		return pool_error_set(error, result, "pool %s: the scrub can't be started: %s", core_label(engine->core)->name,
				      pool_error_string(result));
	return 0;
}

int engine_scrub_pause(struct engine *engine, struct pool_error *error)
{
	struct pool_job *scrub = jobs_find(engine->jobs, JOB_SCRUB, DISK_ABSENT);

	if (!scrub)
		return pool_error_set(error, -ENOENT, "pool %s: no scrub is running", core_label(engine->core)->name);
	if (scrub->job.pause_requested)
		return 0;
	uint64_t id = scrub->job.id;

	job_pause(&scrub->job, engine->rt);
	jobs_wait_while(engine, id, false);
	/* It may have ended meanwhile. */
	scrub = jobs_find(engine->jobs, JOB_SCRUB, DISK_ABSENT);
	if (scrub && scrub->job.id == id && !jobs_is_busy(scrub))
		return record_as(engine, &scrub->job, JOB_PAUSED);
	return 0;
}

int engine_scrub_cancel(struct engine *engine, struct pool_error *error)
{
	struct pool_job *scrub = jobs_find(engine->jobs, JOB_SCRUB, DISK_ABSENT);

	if (!scrub)
		return pool_error_set(error, -ENOENT, "pool %s: no scrub is running", core_label(engine->core)->name);
	job_cancel(&scrub->job, engine->rt);
	jobs_wait_while(engine, scrub->job.id, true);
	return 0;
}

static bool is_any_busy(const struct engine *engine, uint32_t kinds)
{
	if ((engine->jobs->kicked || engine->jobs->starting) && (!kinds || kinds & (1u << JOB_REBUILD | 1u << JOB_RESYNC)))
		return true; /* the dispatcher is about to look what is due */
	list_for_each(node, &engine->jobs->running)
		if (jobs_is_busy(job_of(node)) && (!kinds || kinds & 1u << job_of(node)->job.kind))
			return true;
	return false;
}

int engine_jobs_wait(struct engine *engine, uint32_t kinds, uint64_t timeout_ns)
{
	uint64_t now = rt_now(engine->rt), until = timeout_ns && timeout_ns < UINT64_MAX - now ? now + timeout_ns : UINT64_MAX;

	while (is_any_busy(engine, kinds)) {
		if (engine->hurried)
			return -ECANCELED;
		if (engine->jobs->stopping || core_halted(engine->core, NULL))
			return -POOL_EHALTED;
		if (!rt_queue_wait_until(engine->rt, &engine->jobs->changed, until) && is_any_busy(engine, kinds))
			return -ETIMEDOUT;
	}
	return 0;
}

void engine_hurry(struct engine *engine)
{
	engine->hurried = true;
	rt_queue_wake_all(engine->rt, &engine->jobs->changed);
}

static void fill(struct engine *engine, struct job *job, struct libpool_job *ret_job)
{
	*ret_job = (struct libpool_job){
		.size = sizeof(*ret_job),
		.id = job->id,
		.kind = job->kind,
		.state = job->state,
		.started_ns = job->started_ns,
		.ended_ns = job->ended_ns,
		.total_bytes = job->total_bytes,
		.done_bytes = job->done_bytes,
		.rate = job_rate(job, engine->rt),
		.eta_ns = job_eta_ns(job, engine->rt),
		.errors_found = job->errors_found,
		.cells_repaired = job->cells_repaired,
		.cells_unrepaired = job->cells_unrepaired,
	};
	jobs_describe_disk(engine, job, ret_job->object, sizeof(ret_job->object));
	if (job->state == JOB_FAILED)
		snprintf(ret_job->text, sizeof(ret_job->text), "%s", jobs_failure_text(job->error));
	else if (job->kind == JOB_VERIFY)
		snprintf(ret_job->text, sizeof(ret_job->text), "what was written in txgs %llu to %llu, the last before an unclean stop%s",
			 (unsigned long long)job->first_txg, (unsigned long long)job->last_txg,
			 job->unchecked ? "; not all of its disks were there, up to date and answering" : "");
	else if (job->kind == JOB_SCRUB && job->unchecked)
		snprintf(ret_job->text, sizeof(ret_job->text), "%s%llu cells were not checked: no disk that is there and answers has them",
			 job->deep ? "with all trees; " : "", (unsigned long long)job->unchecked);
	else if (job->kind == JOB_SCRUB && job->deep)
		snprintf(ret_job->text, sizeof(ret_job->text), "with all trees");
	else if (job->kind == JOB_TRIM)
		jobs_trim_text(job, ret_job->text, sizeof(ret_job->text));
	else if (job->kind == JOB_REBUILD && job->target != DISK_ABSENT)
		snprintf(ret_job->text, sizeof(ret_job->text), "onto %.200s", engine_disk_path(engine, job->target));
}

/* Nothing runs in a read-only import. */
static void fill_waiting(struct engine *engine, struct job *job, struct libpool_job *ret_job)
{
	fill(engine, job, ret_job);
	ret_job->rate = ret_job->eta_ns = 0;
	if (job->state == JOB_RUNNING)
		snprintf(ret_job->text, sizeof(ret_job->text), "interrupted: it goes on at the next import that isn't read-only");
	ret_job->state = JOB_PAUSED;
}

int engine_jobs(struct engine *engine, struct libpool_job **ret_jobs, size_t *ret_count)
{
	struct jobs *jobs = engine->jobs;
	struct libpool_job *all;
	size_t count = 0, room = 2 * JOB_KINDS;

	list_for_each(node, &jobs->running)
		room++;
	all = calloc(room, sizeof(*all));
	if (!all)
		return -ENOMEM;
	for (unsigned kind = 1; kind < JOB_KINDS; kind++)
		if (jobs->last[kind].id)
			fill(engine, &jobs->last[kind], &all[count++]);
	list_for_each(node, &jobs->running)
		fill(engine, &job_of(node)->job, &all[count++]);
	for (unsigned kind = 1; kind < JOB_KINDS; kind++)
		if (jobs->waiting[kind].id)
			fill_waiting(engine, &jobs->waiting[kind], &all[count++]);
	*ret_jobs = all;
	*ret_count = count;
	return 0;
}

int jobs_replace(struct engine *engine, unsigned from, unsigned to, struct pool_error *error)
{
	struct job job;
	struct pool_job *rebuild;
	int result;

	/* A rebuild that is about nothing in particular gives way: it is found again afterwards. */
	while ((rebuild = jobs_find(engine->jobs, JOB_REBUILD, DISK_ABSENT)) && rebuild->job.disk == DISK_ABSENT) {
		job_cancel(&rebuild->job, engine->rt);
		jobs_wait_while(engine, rebuild->job.id, true);
	}
	if (rebuild)
		return pool_error_set(error, -EBUSY, "pool %s: another disk is being replaced: wait for it",
				      core_label(engine->core)->name);
	job_init(&job, engine->jobs->next_id++, JOB_REBUILD);
	job.disk = (uint16_t)from;
	job.target = (uint16_t)to;
	result = jobs_start_new(engine, &job);
	if (result < 0)
		return pool_error_set(error, result, "pool %s: the rebuild can't be started: %s", core_label(engine->core)->name,
				      pool_error_string(result));
	return 0;
}

int jobs_resync(struct engine *engine, unsigned index, struct pool_error *error)
{
	struct job job;
	int result;

	if (jobs_find(engine->jobs, JOB_RESYNC, index))
		return 0;
	job_init(&job, engine->jobs->next_id++, JOB_RESYNC);
	job.disk = (uint16_t)index;
	result = jobs_start_new(engine, &job);
	if (result < 0)
		return pool_error_set(error, result, "pool %s: the resync can't be started: %s", core_label(engine->core)->name,
				      pool_error_string(result));
	return 0;
}

void jobs_cancel_resync(struct engine *engine, unsigned index)
{
	struct pool_job *resync = jobs_find(engine->jobs, JOB_RESYNC, index);

	if (!resync)
		return;
	job_cancel(&resync->job, engine->rt);
	jobs_wait_while(engine, resync->job.id, true);
}

static bool replaces(const struct job *job, unsigned index)
{
	return job->kind == JOB_REBUILD && job->disk != DISK_ABSENT && (index == DISK_ABSENT || job->disk == index);
}

bool jobs_replacing(struct engine *engine, unsigned index)
{
	struct jobs *jobs = engine->jobs;

	list_for_each(node, &jobs->running)
		if (replaces(&job_of(node)->job, index))
			return true;
	return jobs->waiting[JOB_REBUILD].id && replaces(&jobs->waiting[JOB_REBUILD], index);
}
