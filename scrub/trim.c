/*
 * Trim: every disk, or one, is told of all AUs that are free. In the order of the disk, in pieces of bounded size, one at a time on each
 * disk, and all disks at the same time. What lies free within segments that are in use isn't trimmed.
 *
 * A disk that can't, or doesn't come back from a piece, is left out from there on, and named: the others go on. A job that is interrupted
 * begins again: what the same import has trimmed already isn't trimmed twice.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/txg/core.h"
#include "scrub/internal.h"
#include "scrub/scrub.h"

#define PIECE_BYTES (UINT64_C(128) << 20)
#define BUSY_NS (100 * NS_PER_MS)
#define BUSY_TIMES 20u
#define ERRORS_MAX 3u /* one after the other */

struct trim_disk {
	struct trim_work *work;
	unsigned index;
	int status;     /* 0: all of it */
	uint64_t left;  /* bytes that weren't trimmed because all free space is spoken for */
};

struct trim_work {
	struct job *job;
	const struct job_host *host;
	struct trim_disk *disks;
	unsigned count, running;
	struct rt_queue ended;
};

/* With a limit, no piece is of more than about a second. */
static uint64_t piece_bytes(const struct job *job)
{
	return job->bytes_per_second && job->bytes_per_second < PIECE_BYTES ? job->bytes_per_second : PIECE_BYTES;
}

static int trim_disk(struct trim_disk *disk)
{
	struct job *job = disk->work->job;
	const struct job_host *host = disk->work->host;
	struct core_trimmed piece = { 0 };
	unsigned errors = 0, busy = 0;
	int status;

	while ((status = job_rest(job, host)) == 0) {
		status = host->trim(host->argument, disk->index, piece.next, piece_bytes(job), &piece);
		if (status == -ENOENT)
			return 0;
		if (status == -EBUSY) {
			if (++busy == BUSY_TIMES)
				return 0;
			(void)rt_queue_wait_until(host->rt, &job->wake, rt_now(host->rt) + BUSY_NS);
			continue;
		}
		busy = 0;
		errors = status < 0 ? errors + 1 : 0;
		if (status == 0)
			job_account(job, host, piece.bytes);
		else if (status == -EIO)
			job->errors_found++;
		if (status < 0 && (status != -EIO || errors == ERRORS_MAX))
			break;
	}
	return status;
}

static void disk_fiber(void *argument)
{
	struct trim_disk *disk = argument;
	struct trim_work *work = disk->work;

	disk->status = trim_disk(disk);
	if (disk->status == 0)
		disk->left = work->host->trim_left(work->host->argument, disk->index);
	work->running--;
	rt_queue_wake_all(work->host->rt, &work->ended);
}

static bool takes_part(const struct job *job, struct store *store, unsigned index)
{
	const struct store_disk *disk = store_disk(store, index);

	return disk->configured && disk->disk && disk->state == DISK_ONLINE && (job->disk == DISK_ABSENT || job->disk == index);
}

static void tell(const struct trim_disk *disk, const char *why)
{
	const struct job_host *host = disk->work->host;
	char text[sizeof(store_disk(host->store, 0)->path) + 120];

	snprintf(text, sizeof(text), "%s: %s", store_disk(host->store, disk->index)->path, why);
	if (host->event)
		host->event(host->argument, disk->work->job, text);
}

/* The job fails if no disk was trimmed; else who couldn't be is told, and counted. */
static int judge(struct trim_work *work)
{
	unsigned done = 0;
	int status = 0, first = 0;

	for (unsigned i = 0; i < work->count; i++) {
		struct trim_disk *disk = &work->disks[i];
		if (disk->status == -ECANCELED || disk->status == -POOL_EHALTED)
			status = disk->status;
		if (disk->status == 0) {
			done++;
			work->job->unchecked += disk->left / CELL_SIZE;
		} else if (disk->status == -EOPNOTSUPP) {
			tell(disk, "it can't be trimmed");
		} else if (disk->status == -ETIMEDOUT) {
			tell(disk, "it doesn't come back from a trim: it isn't trimmed any more, and these places aren't used before it does");
		} else if (disk->status != -ECANCELED && disk->status != -POOL_EHALTED) {
			tell(disk, pool_error_string(disk->status));
		}
		if (disk->status < 0 && !first)
			first = disk->status;
	}
	work->job->disks_left_out = (uint16_t)(work->count - done);
	return status < 0 ? status : done ? 0 : first;
}

int trim_run(struct job *job, const struct job_host *host)
{
	struct trim_work work = { .job = job, .host = host, .disks = calloc(DISKS_MAX, sizeof(*work.disks)) };

	rt_queue_init(&work.ended);
	job->done_bytes = job->total_bytes = job->errors_found = job->unchecked = 0; /* it begins again */
	job_begin(job, host);
	if (!work.disks)
		return job_end(job, host, -ENOMEM);
	for (unsigned i = 0; i < DISKS_MAX; i++) {
		if (!takes_part(job, host->store, i))
			continue;
		bool can = store_can_trim(host->store, i);
		work.disks[work.count++] = (struct trim_disk){ .work = &work, .index = i, .status = can ? 0 : -EOPNOTSUPP };
		job->total_bytes += can ? host->trim_left(host->argument, i) : 0;
	}
	for (unsigned i = 0; i < work.count; i++) {
		if (work.disks[i].status < 0)
			continue;
		work.running++;
		if (rt_spawn(host->rt, "trim", disk_fiber, &work.disks[i]) < 0) {
			work.running--;
			work.disks[i].status = -ENOMEM;
		}
	}
	while (work.running)
		rt_queue_wait(host->rt, &work.ended);
	int status = work.count ? judge(&work) : -ENXIO;
	free(work.disks);
	return job_end(job, host, status);
}
