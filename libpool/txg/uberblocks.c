/*
 * The uberblock ring and the sysmap slots of each disk. An uberblock commits its txg when a quorum of the disks that it
 * lists as ONLINE has it: min(max(m + 1, 2), ONLINE). Disks that fail while it is written are listed in
 * states[] of the same uberblock with a higher rewrite count, which goes to the others.
 *
 * A disk that is being brought up to date has it, too, before any of its rows is written: what it had of its own says
 * that it is whole, as of long ago, while that is being overwritten. Log disks have none, and are counted nowhere: they are only listed
 * when they are not ONLINE.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/buffer.h"
#include "libpool/block/compress.h"
#include "libpool/txg/internal.h"

/* One round of writing something to disks; buffers are made before, so that it is the disk's fault if a write fails. */
struct round {
	struct core *core;
	const struct uberblock *uberblock;
	unsigned count, voters; /* ONLINE ones come first; those that are being brought up to date count for no quorum */
	uint16_t disks[DISKS_MAX];
	struct buffer *buffers[DISKS_MAX]; /* of each disk; of the first only where all get the same */
	int status[DISKS_MAX];
	bool both_areas;
};

static void add_disks(struct round *round, enum disk_state state)
{
	for (uint16_t i = 0; i < DISKS_MAX; i++) {
		const struct store_disk *disk = store_disk(round->core->store, i);
		if (store_disk_holds_data(disk) && disk->state == state)
			round->disks[round->count++] = i;
	}
}

static struct round *round_new(struct core *core, const struct uberblock *uberblock)
{
	struct round *round = calloc(1, sizeof(*round));
	unsigned configured = 0;

	if (!round)
		return NULL;
	round->core = core;
	round->uberblock = uberblock;
	for (uint16_t i = 0; i < DISKS_MAX; i++)
		configured += store_disk_holds_data(store_disk(core->store, i));
	add_disks(round, DISK_ONLINE);
	round->voters = round->count;
	add_disks(round, DISK_RESYNC);
	round->both_areas = configured <= 2;
	return round;
}

static void round_free(struct round *round)
{
	for (unsigned i = 0; round && i < round->count; i++)
		buffer_unref(round->buffers[i]);
	free(round);
}

/* Failed disks become FAULTY: how many. -ENOMEM if it wasn't their fault. */
static int round_judge(struct round *round, const char *why)
{
	int failed = 0;

	for (unsigned i = 0; i < round->count; i++)
		if (round->status[i] == -ENOMEM)
			return -ENOMEM;
	for (unsigned i = 0; i < round->count; i++) {
		if (round->status[i] == 0)
			continue;
		failed++;
		store_disk_fail(round->core->store, round->disks[i], why);
	}
	return failed;
}

static int slot_encode(struct round *round)
{
	struct uberblock *copy = malloc(sizeof(*copy));
	int status = copy ? 0 : -ENOMEM;

	for (unsigned i = 0; i < round->count && status == 0; i++) {
		round->buffers[i] = buffer_new(UBERBLOCK_SIZE);
		if (!round->buffers[i]) {
			status = -ENOMEM;
			break;
		}
		*copy = *round->uberblock;
		copy->disk_index = round->disks[i];
		copy->slot = (uint16_t)(copy->txg % UBERBLOCK_COMMIT_SLOTS);
		uberblock_encode(copy, &store_disk(round->core->store, round->disks[i])->guid, round->buffers[i]->data);
	}
	free(copy);
	return status;
}

static int slot_write(void *argument, unsigned item)
{
	struct round *round = argument;
	const struct uberblock *uberblock = round->uberblock;
	struct store_disk *disk = store_disk(round->core->store, round->disks[item]);
	unsigned first = round->both_areas || (uberblock->txg + uberblock->rewrite) % 2 == 0 ? 0 : 1;
	unsigned last = round->both_areas ? 1 : first;
	int status = 0;

	for (unsigned area = first; area <= last && status == 0; area++) {
		uint64_t offset = label_area_offset(disk->size, area) + UBERBLOCK_OFFSET +
				  uberblock->txg % UBERBLOCK_COMMIT_SLOTS * UBERBLOCK_SIZE;
		if (!disk->disk)
			return -ENODEV;
		status = disk_write(disk->disk, offset, UBERBLOCK_SIZE, round->buffers[item], 0, true);
		if (status == 0 && disk->disk && !disk->disk->info.fua)
			status = disk_flush(disk->disk);
	}
	return status;
}

int uberblock_fill_states(struct core *core, struct uberblock *uberblock)
{
	uberblock->state_count = 0;
	uberblock->disks_online = 0;
	memset(uberblock->states, 0, sizeof(uberblock->states));
	for (unsigned i = 0; i < DISKS_MAX; i++) {
		const struct store_disk *disk = store_disk(core->store, i);
		if (!disk->configured)
			continue;
		if (disk->state == DISK_ONLINE) {
			uberblock->disks_online += store_disk_holds_data(disk);
			continue;
		}
		if (uberblock->state_count == UBERBLOCK_STATES_MAX)
			return -E2BIG;
		uberblock->states[uberblock->state_count++] =
			(struct uberblock_state){ .disk = (uint16_t)i, .state = disk->state, .stale_from = disk->stale_from };
	}
	return uberblock->disks_online ? 0 : -ENODEV;
}

/* One attempt: 1 when the quorum has it, 0 when disks failed that the next attempt lists, or why it can't be. */
static int commit_attempt(struct core *core, struct uberblock *uberblock)
{
	int status = store_lease_holds(core->store) ? uberblock_fill_states(core, uberblock) : -POOL_EHALTED, failed;

	if (status < 0)
		return status;
	struct round *round = round_new(core, uberblock);
	status = round ? slot_encode(round) : -ENOMEM;
	if (status < 0) {
		round_free(round);
		return status;
	}
	run_each(core->rt, "uberblock", round->count, slot_write, round, round->status);
	failed = round_judge(round, "an uberblock can't be written");
	unsigned good = 0;
	for (unsigned i = 0; i < round->voters; i++)
		good += round->status[i] == 0;
	unsigned quorum = core->label->m + 1u > 2 ? core->label->m + 1u : 2;
	if (quorum > uberblock->disks_online)
		quorum = uberblock->disks_online;
	round_free(round);
	if (failed < 0)
		return failed;
	if (failed > 0 || good == 0 || good < quorum)
		return 0;
	/* Another host may have taken the pool, as of the uberblock before, while this one was on its way. */
	return store_lease_holds(core->store) ? 1 : -POOL_EHALTED;
}

int uberblock_commit(struct core *core, struct uberblock *uberblock)
{
	int status;

	if (uberblock->log.segment_count && !(uberblock->flags & UBERBLOCK_CLEAN_EXPORT))
		uberblock->ro_compat |= FEATURE_RO_COMPAT_INTENT_LOG;
	else
		uberblock->ro_compat &= ~FEATURE_RO_COMPAT_INTENT_LOG;
	while ((status = commit_attempt(core, uberblock)) == 0) {
		uberblock->rewrite++;
		/* Disks that failed just now have nothing of this txg: as with any other step, no row may lack too many columns. */
		if (core->syncing && store_check_redundancy(core->store) < 0)
			return -POOL_EHALTED;
	}
	if (status > 0) {
		core->uberblock = *uberblock;
		return 0;
	}
	const char *why = NULL;
	if (store_halted(core->store, &why))
		core_halt(core, why);
	core_halt(core, status == -ENOMEM ? "out of memory while writing an uberblock" :
		  status == -E2BIG  ? "more disks have failed than an uberblock can list" :
				      "no quorum of disks takes an uberblock");
	return status == -ENOMEM ? -ENOMEM : -POOL_EHALTED;
}

/*
 * The slots of one area; `size` is what the disk had when it was labelled, which says where area B is. What can't be read as a
 * whole is read slot by slot, unless the disk doesn't answer at all: -ETIMEDOUT. *ret_doubtful: not all that was read is an uberblock
 * or nothing, or it is all nothing.
 */
static int scan_area(struct disk *disk, const struct label *label, unsigned area, struct buffer *buffer, struct uberblock *uberblock,
		     int (*visit)(void *argument, const struct uberblock *uberblock), void *argument, bool *ret_doubtful)
{
	uint64_t offset = label_area_offset(label->size, area) + UBERBLOCK_OFFSET;
	uint64_t length = (uint64_t)UBERBLOCK_COMMIT_SLOTS * UBERBLOCK_SIZE;
	int whole = disk_read(disk, offset, length, buffer, 0), status;
	unsigned found = 0;

	*ret_doubtful = false;
	if (whole == -ETIMEDOUT || whole == -ENOMEM)
		return whole;
	for (unsigned slot = 0; slot < UBERBLOCK_COMMIT_SLOTS; slot++) {
		size_t at = (size_t)slot * UBERBLOCK_SIZE;
		if (whole < 0) {
			status = disk_read(disk, offset + at, UBERBLOCK_SIZE, buffer, at);
			if (status == -ETIMEDOUT || status == -ENOMEM)
				return status;
			if (status < 0)
				continue;
		}
		if (uberblock_decode(buffer->data + at, &label->pool, &label->disk, slot, uberblock) < 0) {
			*ret_doubtful |= !content_is_zero(buffer->data + at, UBERBLOCK_SIZE);
			continue;
		}
		found++;
		status = visit(argument, uberblock);
		if (status != 0)
			return status;
	}
	*ret_doubtful |= found == 0;
	return 0;
}

/*
 * An uberblock that is overlooked may be the only one of its txg, and what the import then writes takes its rows; another import that does see it
 * would choose it. So what looks wrong is read twice: it may have been the read.
 */
static int scan_area_twice(struct disk *disk, const struct label *label, unsigned area, struct buffer *buffer, struct uberblock *uberblock,
			   int (*visit)(void *argument, const struct uberblock *uberblock), void *argument)
{
	bool doubtful;
	int status = scan_area(disk, label, area, buffer, uberblock, visit, argument, &doubtful);

	return status == 0 && doubtful ? scan_area(disk, label, area, buffer, uberblock, visit, argument, &doubtful) : status;
}

int uberblocks_scan(struct disk *disk, const struct label *label, int (*visit)(void *argument, const struct uberblock *uberblock),
		    void *argument)
{
	struct buffer *buffer = buffer_new((size_t)UBERBLOCK_COMMIT_SLOTS * UBERBLOCK_SIZE);
	struct uberblock *uberblock = malloc(sizeof(*uberblock));
	int status = buffer && uberblock ? 0 : -ENOMEM;
	/* A disk that has shrunk has lost its area B, and one that was labelled with nonsense never had one. */
	unsigned areas = label->size >= DISK_SIZE_MIN && label->size <= disk->info.size ? 2 : 1;

	for (unsigned area = 0; area < areas && status == 0; area++)
		status = scan_area_twice(disk, label, area, buffer, uberblock, visit, argument);
	free(uberblock);
	buffer_unref(buffer);
	return status;
}

static int keep_newest(void *argument, const struct uberblock *uberblock)
{
	struct uberblock *newest = argument;

	if (uberblock->txg > newest->txg || (uberblock->txg == newest->txg && uberblock->rewrite >= newest->rewrite))
		*newest = *uberblock;
	return 0;
}

int core_uberblock_newest(struct disk *disk, const struct label *label, struct uberblock *ret_uberblock)
{
	struct uberblock *newest = calloc(1, sizeof(*newest));
	int status = newest ? uberblocks_scan(disk, label, keep_newest, newest) : -ENOMEM;

	if (status == 0 && newest->txg == 0)
		status = -ENOENT;
	if (status == 0)
		*ret_uberblock = *newest;
	free(newest);
	return status;
}

