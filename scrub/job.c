/* Life of a job: requests, throttle, rate, and the persistent form. */
#include "scrub/job.h"

#include <string.h>

#include "libpool/base/endian.h"
#include "libpool/base/error.h"
#include "scrub/internal.h"

#define THROTTLE_BURST_NS (NS_PER_S / 10)
#define RATE_SAMPLE_NS NS_PER_S

void job_init(struct job *job, uint64_t id, enum job_kind kind)
{
	*job = (struct job){ .id = id, .kind = (uint8_t)kind, .state = JOB_RUNNING, .disk = DISK_ABSENT, .target = DISK_ABSENT };
	rt_queue_init(&job->wake);
}

void job_pause(struct job *job, struct rt *rt)
{
	job->pause_requested = true;
	rt_queue_wake_all(rt, &job->wake);
}

void job_resume(struct job *job, struct rt *rt)
{
	job->pause_requested = false;
	rt_queue_wake_all(rt, &job->wake);
}

void job_cancel(struct job *job, struct rt *rt)
{
	job->cancel_requested = true;
	rt_queue_wake_all(rt, &job->wake);
}

void job_begin(struct job *job, const struct job_host *host)
{
	job->state = job->pause_requested ? JOB_PAUSED : JOB_RUNNING; /* as it was left */
	job->ended_ns = 0;
	job->error = 0;
	job->unsaved = 0;
	if (!job->started_ns)
		job->started_ns = rt_realtime(host->rt);
	job->throttle_ns = job->rate_ns = job->saved_ns = rt_now(host->rt);
	job->rate_done = job->done_bytes;
	job->rate = 0;
}

bool job_save_is_due(const struct job *job, const struct job_host *host)
{
	return host->save && job->unsaved >= JOB_SAVE_SEGMENTS && rt_now(host->rt) >= job->saved_ns + JOB_SAVE_NS;
}

void job_save(struct job *job, const struct job_host *host)
{
	(void)host->save(host->argument, job);
	job->unsaved = 0;
	job->saved_ns = rt_now(host->rt);
}

int job_end(struct job *job, const struct job_host *host, int status)
{
	job->state = status == 0 ? JOB_FINISHED : status == -ECANCELED ? JOB_CANCELLED : JOB_FAILED;
	job->error = status;
	job->ended_ns = rt_realtime(host->rt);
	if (status == 0)
		job->total_bytes = job->done_bytes;
	if (host->save && status != -POOL_EHALTED)
		(void)host->save(host->argument, job);
	return status;
}

static void sample_rate(struct job *job, uint64_t now)
{
	uint64_t elapsed = now - job->rate_ns;

	if (elapsed < RATE_SAMPLE_NS)
		return;
	uint64_t fresh = (uint64_t)((double)(job->done_bytes - job->rate_done) * (double)NS_PER_S / (double)elapsed);
	job->rate = job->rate ? (3 * job->rate + fresh) / 4 : fresh;
	job->rate_ns = now;
	job->rate_done = job->done_bytes;
}

uint64_t job_rate(struct job *job, struct rt *rt)
{
	if (job->state != JOB_RUNNING)
		return 0;
	sample_rate(job, rt_now(rt));
	return job->rate;
}

uint64_t job_eta_ns(struct job *job, struct rt *rt)
{
	uint64_t rate = job_rate(job, rt);

	if (rate == 0 || job->total_bytes <= job->done_bytes)
		return 0;
	return (uint64_t)((double)(job->total_bytes - job->done_bytes) / (double)rate * (double)NS_PER_S);
}

void job_account(struct job *job, const struct job_host *host, uint64_t bytes)
{
	uint64_t now = rt_now(host->rt);

	job->done_bytes += bytes;
	if (job->total_bytes < job->done_bytes)
		job->total_bytes = job->done_bytes;
	sample_rate(job, now);
	if (!job->bytes_per_second)
		return;
	/* What wasn't used isn't saved up, but for a little. */
	if (job->throttle_ns + THROTTLE_BURST_NS < now)
		job->throttle_ns = now - THROTTLE_BURST_NS;
	job->throttle_ns += (uint64_t)((double)bytes * (double)NS_PER_S / (double)job->bytes_per_second);
}

bool job_must_rest(const struct job *job, const struct job_host *host)
{
	return job->cancel_requested || job->pause_requested ||
	       (job->bytes_per_second && job->throttle_ns > rt_now(host->rt)) || store_halted(host->store, NULL);
}

int job_rest(struct job *job, const struct job_host *host)
{
	while (job_must_rest(job, host)) {
		if (store_halted(host->store, NULL))
			return -POOL_EHALTED;
		if (job->cancel_requested)
			return -ECANCELED;
		if (job->pause_requested) {
			if (job->state != JOB_PAUSED) {
				job->state = JOB_PAUSED;
				job->rate = 0;
				if (host->save)
					(void)host->save(host->argument, job);
				continue;
			}
			rt_queue_wait(host->rt, &job->wake);
			continue;
		}
		(void)rt_queue_wait_until(host->rt, &job->wake, job->throttle_ns);
	}
	if (job->state == JOB_PAUSED) {
		job->state = JOB_RUNNING;
		job->throttle_ns = job->rate_ns = rt_now(host->rt);
		job->rate_done = job->done_bytes;
	}
	return 0;
}

struct raw_job {
	le16 version;                  /* 0 */
	uint8_t kind, state;           /* 2 */
	uint8_t flags;                 /* 4: bit 0 deep */
	uint8_t reserved0[3];          /* 5 */
	le16 disk, target;             /* 8 */
	le32 cursor;                   /* 12 */
	le64 bytes_per_second;         /* 16 */
	le64 total_bytes, done_bytes;  /* 24 */
	le64 errors_found;             /* 40 */
	le64 cells_repaired;           /* 48 */
	le64 cells_unrepaired;         /* 56 */
	le64 started_ns, ended_ns;     /* 64 */
	le64 unchecked;                /* 80 */
	le64 first_txg, last_txg;      /* 88 */
	le16 disks_left_out;           /* 104 */
	uint8_t reserved1[22];         /* 106 */
};
_Static_assert(sizeof(struct raw_job) == JOB_RECORD_SIZE && AT(raw_job, version, 0) && AT(raw_job, kind, 2) && AT(raw_job, state, 3) &&
		       AT(raw_job, flags, 4) && AT(raw_job, disk, 8) && AT(raw_job, target, 10) && AT(raw_job, cursor, 12) &&
		       AT(raw_job, bytes_per_second, 16) && AT(raw_job, total_bytes, 24) && AT(raw_job, done_bytes, 32) &&
		       AT(raw_job, errors_found, 40) && AT(raw_job, cells_repaired, 48) && AT(raw_job, cells_unrepaired, 56) &&
		       AT(raw_job, started_ns, 64) && AT(raw_job, ended_ns, 72) && AT(raw_job, unchecked, 80) &&
		       AT(raw_job, first_txg, 88) && AT(raw_job, last_txg, 96) && AT(raw_job, disks_left_out, 104), "on disk");

void job_key_encode(uint64_t id, uint8_t *ret_key)
{
	for (unsigned i = 0; i < JOB_KEY_SIZE; i++)
		ret_key[i] = (uint8_t)(id >> (56 - 8 * i));
}

void job_encode(const struct job *job, uint8_t *ret_raw)
{
	struct raw_job raw = { .version = le16_make(JOB_RECORD_VERSION), .kind = job->kind, .state = job->state,
			       .flags = job->deep, .disk = le16_make(job->disk), .target = le16_make(job->target),
			       .cursor = le32_make(job->cursor), .bytes_per_second = le64_make(job->bytes_per_second),
			       .total_bytes = le64_make(job->total_bytes), .done_bytes = le64_make(job->done_bytes),
			       .errors_found = le64_make(job->errors_found), .cells_repaired = le64_make(job->cells_repaired),
			       .cells_unrepaired = le64_make(job->cells_unrepaired), .started_ns = le64_make(job->started_ns),
			       .ended_ns = le64_make(job->ended_ns), .unchecked = le64_make(job->unchecked),
			       .first_txg = le64_make(job->first_txg), .last_txg = le64_make(job->last_txg),
			       .disks_left_out = le16_make(job->disks_left_out) };

	memcpy(ret_raw, &raw, sizeof(raw));
}

static bool disk_valid(uint16_t disk)
{
	return disk < DISKS_MAX || disk == DISK_ABSENT;
}

int job_decode(const uint8_t *key, size_t key_size, const uint8_t *data, size_t size, struct job *ret_job)
{
	struct raw_job raw;
	struct job job;
	uint64_t id = 0;

	if (key_size != JOB_KEY_SIZE || size != sizeof(raw))
		return -POOL_EFORMAT;
	memcpy(&raw, data, sizeof(raw));
	if (le16_get(raw.version) != JOB_RECORD_VERSION || raw.kind < JOB_SCRUB || raw.kind > JOB_TRIM ||
	    raw.state < JOB_RUNNING || raw.state > JOB_FAILED || raw.flags > 1 || !disk_valid(le16_get(raw.disk)) ||
	    !disk_valid(le16_get(raw.target)) || le32_get(raw.cursor) > SEGMENTS_MAX)
		return -POOL_EFORMAT;
	/* A range, or none. */
	if (raw.kind == JOB_VERIFY ? le64_get(raw.first_txg) == 0 || le64_get(raw.first_txg) > le64_get(raw.last_txg) :
				     le64_get(raw.first_txg) || le64_get(raw.last_txg))
		return -POOL_EFORMAT;
	for (unsigned i = 0; i < sizeof(raw.reserved0); i++)
		if (raw.reserved0[i])
			return -POOL_EFORMAT;
	for (unsigned i = 0; i < sizeof(raw.reserved1); i++)
		if (raw.reserved1[i])
			return -POOL_EFORMAT;
	for (unsigned i = 0; i < JOB_KEY_SIZE; i++)
		id = id << 8 | key[i];
	job_init(&job, id, raw.kind);
	job.state = raw.state;
	job.deep = raw.flags & 1;
	job.disk = le16_get(raw.disk);
	job.target = le16_get(raw.target);
	job.cursor = le32_get(raw.cursor);
	job.bytes_per_second = le64_get(raw.bytes_per_second);
	job.total_bytes = le64_get(raw.total_bytes);
	job.done_bytes = le64_get(raw.done_bytes);
	job.errors_found = le64_get(raw.errors_found);
	job.cells_repaired = le64_get(raw.cells_repaired);
	job.cells_unrepaired = le64_get(raw.cells_unrepaired);
	job.started_ns = le64_get(raw.started_ns);
	job.ended_ns = le64_get(raw.ended_ns);
	job.unchecked = le64_get(raw.unchecked);
	job.first_txg = le64_get(raw.first_txg);
	job.last_txg = le64_get(raw.last_txg);
	job.disks_left_out = le16_get(raw.disks_left_out);
	*ret_job = job;
	rt_queue_init(&ret_job->wake);
	return 0;
}
