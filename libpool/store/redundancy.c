/*
 * Whether what a txg wrote may be committed: every row must lack no more columns than there is parity. A column is
 * lacking where it has no disk, where the disk's stale_from covers the txg, or where a stale record says so.
 */
#include "libpool/base/error.h"
#include "libpool/store/internal.h"

static uint32_t columns_without(const struct store *store, const struct segment *segment)
{
	uint32_t mask = 0;

	for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m; c++) {
		uint16_t index = segment->record.columns[c].disk;
		const struct store_disk *disk = index == DISK_ABSENT ? NULL : &store->disks[index];
		if (!disk || !disk->disk || (disk->stale_from && disk->stale_from <= store->txg))
			mask |= 1u << c;
	}
	return mask;
}

/* Columns that a row of this txg lacks by stale records. */
static uint32_t columns_stale(const struct stale_record *records, size_t count, uint32_t segment, unsigned row, uint64_t txg)
{
	uint32_t mask = 0;

	for (size_t i = 0; i < count; i++)
		if (records[i].segment == segment && records[i].place == txg && row >= records[i].base &&
		    row < (unsigned)records[i].base + records[i].rows)
			mask |= 1u << records[i].column;
	return mask;
}

int store_check_redundancy(struct store *store)
{
	size_t count, stale_count;
	const uint32_t *ids = alloc_txg_segments(store->alloc, &count);
	const struct stale_record *stale = alloc_stale(store->alloc, &stale_count);
	bool enough = true;

	for (size_t i = 0; i < count; i++) {
		const struct segment *segment = alloc_segment(store->alloc, ids[i]);
		if (segment->placed_in_txg)
			enough = enough && (unsigned)__builtin_popcount(columns_without(store, segment)) <= segment->record.m;
	}
	/* Where records overlap most, one of them begins. */
	for (size_t i = 0; i < stale_count; i++) {
		const struct segment *segment = alloc_segment(store->alloc, stale[i].segment);
		uint32_t mask = columns_without(store, segment) |
				columns_stale(stale, stale_count, stale[i].segment, stale[i].base, store->txg);
		if (stale[i].place == store->txg)
			enough = enough && (unsigned)__builtin_popcount(mask) <= segment->record.m;
	}
	if (!enough)
		store_halt(store, "rows of this commit lack more columns than there is parity");
	return store->halted ? -POOL_EHALTED : 0;
}

void stale_bound(struct store *store)
{
	size_t count;

	(void)alloc_stale(store->alloc, &count);
	while (count > STALE_RECORDS_MAX) {
		uint64_t oldest;
		unsigned worst = alloc_stale_worst(store->alloc, &oldest);
		if (worst == DISK_ABSENT)
			return;
		store_disk_fail(store, worst, "too many writes failed");
		if (oldest < store->disks[worst].stale_from)
			store->disks[worst].stale_from = oldest;
		alloc_stale_drop_disk(store->alloc, worst);
		(void)alloc_stale(store->alloc, &count);
	}
}
