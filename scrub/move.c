/*
 * The column move: the one primitive behind rebuild, replacement and removal of disks.
 *
 *   1  the segment takes no more rows: OPEN is closed; what the txg in sync placed in it is committed first
 *   2  pinned: no row is reused, no AU released, nobody else moves a column
 *   3  an AU is reserved for each column; its header and all rows with a live cell are written: copied from the old
 *      place while that can be read and is right, else made from k cells of the row that are right; judged by the summary
 *   4  flushed, then (finish.c) the segment's record names the new places; a commit makes that durable
 *
 * A crash before the commit leaves the old columns, and AUs that nobody names. After it the old AUs wait for two
 * later commits. A cell that can't be made is reported and stays absent by a stale record: nothing wrong is served.
 */
#include <errno.h>
#include <stdlib.h>

#include "libpool/base/check.h"
#include "scrub/internal.h"

#define SETTLE_COMMITS_MAX 8u

void mover_init(struct mover *mover, struct job *job, const struct job_host *host)
{
	*mover = (struct mover){ .job = job, .host = host, .store = host->store, .alloc = store_alloc(host->store) };
	array_init(&mover->written, sizeof(struct column_move));
}

/* ---- Targets ---- */

static bool disk_takes_columns(struct store *store, unsigned index)
{
	const struct alloc_disk *disk = alloc_disk(store_alloc(store), index);
	const struct store_disk *slot = store_disk(store, index);

	return disk && disk->usable && !disk->log && disk->au_free && slot->disk && slot->state == DISK_ONLINE;
}

static bool in_segment(const struct segment *segment, unsigned index)
{
	for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m; c++)
		if (segment->record.columns[c].disk == index)
			return true;
	return false;
}

/* Some AUs stay free, so that moving columns never takes the last segments that a commit needs. */
static uint32_t floor_aus(const struct alloc_disk *disk)
{
	return disk->au_count / 64 > 2 ? disk->au_count / 64 : 2;
}

/* Both copies of what is mirrored in a pool without parity may lie on one disk. */
static bool may_share_a_disk(struct store *store, const struct segment *segment)
{
	return alloc_geometry(store_alloc(store))->m == 0 && segment->record.k == 1 && segment->record.m == 1;
}

/* The preferred disk, or the one with most free AUs, of those that have no column of the segment; or of all but the leaving one. */
static unsigned choose_disk(struct store *store, const struct segment *segment, unsigned preferred, unsigned leaving,
			    const struct column_move *chosen, unsigned chosen_count, bool shared)
{
	unsigned best = DISK_ABSENT;
	uint32_t most = 0;

	for (unsigned i = 0; i < DISKS_MAX; i++) {
		const struct alloc_disk *disk = alloc_disk(store_alloc(store), i);
		bool taken = i == leaving || (!shared && in_segment(segment, i));
		for (unsigned j = 0; j < chosen_count; j++)
			taken |= !shared && chosen[j].to.disk == i;
		if (taken || !disk_takes_columns(store, i))
			continue;
		if (i == preferred)
			return i;
		if (disk->au_free > floor_aus(disk) && disk->au_free > most) {
			most = disk->au_free;
			best = i;
		}
	}
	return best;
}

/* A disk outside of the segment, else the column's own, when it works, else one that has the other copy, where that may be. */
static unsigned choose_target(struct store *store, const struct segment *segment, unsigned column, unsigned preferred,
			      unsigned leaving, const struct column_move *chosen, unsigned chosen_count)
{
	unsigned best = choose_disk(store, segment, preferred, leaving, chosen, chosen_count, false);
	unsigned own = segment->record.columns[column].disk;

	if (best == DISK_ABSENT && own != DISK_ABSENT && own != leaving && disk_takes_columns(store, own))
		return own;
	if (best == DISK_ABSENT && may_share_a_disk(store, segment))
		return choose_disk(store, segment, preferred, leaving, chosen, chosen_count, true);
	return best;
}

bool move_is_possible(struct store *store, const struct segment *segment, unsigned column, unsigned leaving)
{
	return choose_target(store, segment, column, DISK_ABSENT, leaving, NULL, 0) != DISK_ABSENT;
}

/* Gives reserved AUs back, but for those that a write may still reach. */
static void release_targets(struct mover *mover, struct column_move *moves, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const struct store_disk *disk = store_disk(mover->store, moves[i].to.disk);
		if (!disk->disk || !disk_abandoned_writes(disk->disk))
			alloc_au_release(mover->alloc, moves[i].to.disk, moves[i].to.au);
		array_release(&moves[i].lost);
	}
}

static unsigned reserve_targets(struct mover *mover, const struct segment *segment, uint32_t columns, struct column_move *moves)
{
	unsigned count = 0;

	for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m; c++) {
		if (!(columns >> c & 1))
			continue;
		unsigned disk = choose_target(mover->store, segment, c, mover->job->target, mover->job->disk, moves, count);
		int64_t au = disk == DISK_ABSENT ? -ENOSPC : alloc_au_reserve(mover->alloc, disk);
		if (au < 0)
			continue;
		moves[count] = (struct column_move){ .segment = segment->id, .alloc_txg = segment->record.alloc_txg,
						     .column = (uint8_t)c, .to = { (uint16_t)disk, (uint32_t)au },
						     .failures = store_disk(mover->store, disk)->failures };
		array_init(&moves[count++].lost, sizeof(struct stale_record));
	}
	return count;
}

/* ---- The segment ---- */

/* Nothing is placed in it any more, and all that was is committed. It is pinned on return. */
static int segment_settle(struct mover *mover, struct segment *segment)
{
	uint64_t alloc_txg = segment->record.alloc_txg;
	bool pinned = segment->record.state == SEGMENT_SYS || segment->record.state == SEGMENT_FULL;
	int status = 0;

	if (pinned)
		alloc_pin(segment); /* dead rows are given out while it isn't: none from now on */
	for (unsigned i = 0; i < SETTLE_COMMITS_MAX && status == 0; i++) {
		if (segment->record.alloc_txg != alloc_txg || alloc_segment_is_free(segment)) {
			status = -EAGAIN;
			break;
		}
		bool closed = segment->record.state == SEGMENT_SYS || store_close_segment(mover->store, segment->id);
		if (closed && !pinned)
			alloc_pin(segment);
		pinned |= closed;
		if (closed && !segment->placed_in_txg)
			return 0;
		status = mover->host->commit(mover->host->argument);
	}
	if (pinned)
		alloc_unpin(mover->alloc, segment);
	return status < 0 ? status : -EAGAIN;
}

int move_columns(struct mover *mover, uint32_t id, uint32_t columns)
{
	struct segment *segment = alloc_segment(mover->alloc, id);
	struct column_move moves[COLUMNS_MAX];

	if (!segment || alloc_segment_is_free(segment) || segment->record.state == SEGMENT_LOG)
		return -EAGAIN;
	int status = segment_settle(mover, segment);
	if (status < 0)
		return status;
	unsigned count = reserve_targets(mover, segment, columns, moves);
	status = count ? copy_columns(mover, segment, moves, count) : -ENOSPC;
	if (status == 0)
		status = array_reserve(&mover->written, mover->written.count + count);
	if (status < 0) {
		release_targets(mover, moves, count);
		alloc_unpin(mover->alloc, segment);
		return status;
	}
	for (unsigned i = 0; i < count; i++)
		POOL_CHECK(array_push(&mover->written, &moves[i]) == 0);
	if (mover->written_segments++ == 0)
		mover->written_since_ns = rt_now(mover->host->rt);
	return 0;
}
