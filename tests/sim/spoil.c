/* See spoil.h. */
#include "tests/sim/spoil.h"

#include "libpool/block/block.h"
#include "libpool/format/dva.h"
#include "libpool/txg/core.h"

static int find_map_leaf(void *argument, const struct block_pointer *pointer, const struct block_owner *owner)
{
	if (owner->objset == 0 && owner->object == MOS_BATCH_MAP && owner->level == 0)
		*(struct block_pointer *)argument = *pointer;
	return 0;
}

void spoil_map_leaf(struct world *world)
{
	struct block_pointer leaf = {0};
	struct cell_run runs[COLUMNS_MAX];

	int result = datasets_walk(world->datasets, find_map_leaf, &leaf);

	if (result || !leaf.dva)
		world_fail(world, "the batch map has no leaf: %s", pool_error_string(result));
	unsigned count = dva_runs(dva_unpack(leaf.dva), leaf.psect, runs);
	const struct segment *segment = alloc_segment(core_alloc(world->core), dva_unpack(leaf.dva).segment);

	for (unsigned i = 0; i < count * (segment->record.m + 1u); i++) {
		struct segment_column column = segment->record.columns[i / count];

		for (unsigned row = 0; row < runs[i % count].rows; row++)
			sim_disk_rot(world_disk(world, column.disk), store_cell_offset(core_store(world->core), column.au, runs[i % count].row + row));
	}
	blocks_drop_cache(core_blocks(world->core));
}

struct newest {
	uint32_t objset;
	struct block_pointer pointer;
};

static int find_newest(void *argument, const struct block_pointer *pointer, const struct block_owner *owner)
{
	struct newest *newest = argument;

	if (owner->objset == newest->objset && owner->object == VOLUME_OBJECT && owner->level == 0 && pointer->place >= newest->pointer.place)
		newest->pointer = *pointer;
	return 0;
}

void spoil_newest_summary(struct world *world, uint32_t objset)
{
	struct newest newest = {.objset = objset};
	struct cell_run runs[COLUMNS_MAX];
	int result = datasets_walk(world->datasets, find_newest, &newest);

	if (result || !newest.pointer.dva)
		world_fail(world, "the volume has no block: %s", pool_error_string(result));
	struct dva dva = dva_unpack(newest.pointer.dva);
	const struct segment *segment = alloc_segment(core_alloc(world->core), dva.segment);
	const struct batch_index *batch = alloc_batch_find(segment, dva.base);
	unsigned count = dva_runs(dva_unpack(batch->summary_dva), batch->summary_cells, runs);

	for (unsigned i = 0; i < count; i++)
		for (unsigned column = 0; column < (unsigned)segment->record.k + segment->record.m; column++)
			for (unsigned row = 0; row < runs[i].rows && (column == runs[i].column || column >= segment->record.k); row++)
				sim_disk_rot(world_disk(world, segment->record.columns[column].disk),
					     store_cell_offset(core_store(world->core), segment->record.columns[column].au, runs[i].row + row));
}
