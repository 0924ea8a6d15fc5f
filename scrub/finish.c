/*
 * The second half of a column move: what was written is flushed, then the segment's record names the new places, and
 * a commit, shared by many segments, makes that durable. Until then everything reads from the old ones.
 */
#include <errno.h>
#include <stdlib.h>

#include "scrub/internal.h"

/* At least so many segments, and more small ones: a flush and a commit cost the same for them. */
#define WRITTEN_SEGMENTS 16u
#define WRITTEN_BYTES (UINT64_C(32) << 20)
#define COMMIT_WRITTEN 4u /* as often as that is written, a commit */
#define COMMIT_INTERVAL_NS (2 * NS_PER_S)
#define PIN_WAIT_NS NS_PER_MS
#define PIN_WAITS_MAX 10000u

int flush_disk(struct store *store, unsigned index)
{
	struct store_disk *slot = store_disk(store, index);

	if (!slot->disk || (slot->state != DISK_ONLINE && slot->state != DISK_RESYNC))
		return -EIO;
	int status = disk_flush(slot->disk);
	if (status < 0) {
		slot->flush_errors++;
		store_disk_fail(store, index, "a flush failed");
	}
	return status;
}

/* Flushes each target once, all at the same time. What fails shows in the disk's state. */
struct flush_task {
	struct mover *mover;
	struct rt_group *group;
	unsigned disk;
};

static void flush_fiber(void *argument)
{
	struct flush_task *task = argument;

	(void)flush_disk(task->mover->store, task->disk);
	rt_group_done(task->mover->host->rt, task->group, 0);
	free(task);
}

static void flush_targets(struct mover *mover, const struct array *moves)
{
	bool seen[DISKS_MAX] = { false };
	struct rt_group group;

	rt_group_init(&group);
	for (size_t i = 0; i < moves->count; i++) {
		unsigned disk = array_at(moves, struct column_move, i)->to.disk;
		if (seen[disk])
			continue;
		seen[disk] = true;
		struct flush_task *task = malloc(sizeof(*task));
		if (!task) {
			(void)flush_disk(mover->store, disk);
			continue;
		}
		*task = (struct flush_task){ mover, &group, disk };
		rt_group_add(&group);
		if (rt_spawn(mover->host->rt, "rebuild flush", flush_fiber, task) < 0)
			flush_fiber(task);
	}
	if (group.pending)
		(void)rt_group_wait(mover->host->rt, &group);
}

/* Somebody else's pin means I/O on the old places: heals, reads for repair, or a write that was abandoned. */
static bool wait_for_sole_pin(struct mover *mover, struct segment *segment)
{
	for (unsigned i = 0; i < PIN_WAITS_MAX && segment->pins > 1; i++)
		rt_sleep(mover->host->rt, PIN_WAIT_NS);
	return segment->pins == 1;
}

static void hand_over(struct mover *mover, struct segment *segment, const struct column_move *move)
{
	alloc_column_move(mover->alloc, move->segment, move->column, move->to);
	/* The segment takes no rows: no record of a later txg can be among these. */
	forget_stale(mover->alloc, move->segment, move->column, UINT64_MAX);
	record_lost(mover->alloc, &move->lost);
	update_degraded(mover->store, segment);
	mover->moved++;
}

/* The moves of one segment, which is unpinned. No wait after the look at pins. */
static void finish_segment(struct mover *mover, struct column_move *moves, size_t count)
{
	struct segment *segment = alloc_segment(mover->alloc, moves[0].segment);
	bool possible = wait_for_sole_pin(mover, segment) && !alloc_segment_is_free(segment) &&
			segment->record.alloc_txg == moves[0].alloc_txg;
	bool any = false;

	for (size_t i = 0; i < count; i++) {
		const struct store_disk *target = store_disk(mover->store, moves[i].to.disk);
		/* A disk that went and is back lacks what was in its cache: nobody else would know, as the rows are older than what it missed. */
		if (possible && target->state == DISK_ONLINE && target->failures == moves[i].failures) {
			hand_over(mover, segment, &moves[i]);
			any = true;
		} else if (!target->disk || !disk_abandoned_writes(target->disk)) {
			alloc_au_release(mover->alloc, moves[i].to.disk, moves[i].to.au);
		}
		array_release(&moves[i].lost);
	}
	alloc_unpin(mover->alloc, segment);
	if (any && mover->unsaved++ == 0)
		mover->unsaved_since_ns = rt_now(mover->host->rt);
}

/* Not more than a sixteenth of all, since their dead rows are nobody's meanwhile. */
static unsigned written_max(const struct mover *mover)
{
	uint64_t many = WRITTEN_BYTES / ((uint64_t)alloc_geometry(mover->alloc)->rows * CELL_SIZE), all = alloc_segment_count(mover->alloc) / 16;

	many = many < all ? many : all;
	return many > WRITTEN_SEGMENTS ? (unsigned)many : WRITTEN_SEGMENTS;
}

bool moves_are_due(const struct mover *mover)
{
	uint64_t now = rt_now(mover->host->rt);

	return mover->written_segments >= written_max(mover) ||
	       (mover->written_segments && now >= mover->written_since_ns + COMMIT_INTERVAL_NS);
}

int moves_finish(struct mover *mover, bool commit)
{
	struct array moves = mover->written;

	/* Others go on writing meanwhile: theirs are for the next time. */
	array_init(&mover->written, sizeof(struct column_move));
	mover->written_segments = 0;
	flush_targets(mover, &moves);
	for (size_t i = 0; i < moves.count;) {
		size_t stop = i + 1;
		struct column_move *first = array_at(&moves, struct column_move, i);
		while (stop < moves.count && array_at(&moves, struct column_move, stop)->segment == first->segment)
			stop++;
		finish_segment(mover, first, stop - i);
		i = stop;
	}
	array_release(&moves);
	bool due = mover->unsaved >= COMMIT_WRITTEN * written_max(mover) ||
		   (mover->unsaved && rt_now(mover->host->rt) >= mover->unsaved_since_ns + COMMIT_INTERVAL_NS);
	if (!mover->unsaved || !(commit || due))
		return 0;
	mover->unsaved = 0;
	return mover->host->commit(mover->host->argument);
}
