/* What placement costs: device bytes for each user byte, and disk space. */
#include "tests/unit/store/harness.h"

static uint64_t bytes_written(const struct world *world)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < world->disks->count; i++)
		bytes += world->disks->disks[i]->counters.bytes_written;
	return bytes;
}

static uint64_t writes(const struct world *world)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < world->disks->count; i++)
		count += world->disks->disks[i]->counters.writes;
	return count;
}

struct workload {
	unsigned cells_min, cells_max;
	enum segment_class class;
	double bytes_goal; /* device bytes for each user byte */
	double space_goal; /* cells of all segments in use for each user cell, 0: not asked */
	double writes_goal; /* requests for each MiB, 0: not asked */
};

static const struct workload *workload;

#define TXGS 6
#define TXG_CELLS (16u << 10) /* 64 MiB */

static void write_much(struct world *world)
{
	uint64_t user = 0, raw = 0, before, writes_before;

	/* One small txg first, so that what only the beginning of a pool costs isn't counted. */
	world_begin(world);
	world_place(world, workload->class, 1);
	world_commit(world);
	before = bytes_written(world);
	writes_before = writes(world);
	for (unsigned txg = 0; txg < TXGS; txg++) {
		unsigned cells = 0;
		world_begin(world);
		while (cells < TXG_CELLS) {
			unsigned size = (unsigned)sim_random_between(&world->random, workload->cells_min, workload->cells_max);
			world_place(world, workload->class, size);
			cells += size;
		}
		world_commit(world);
		user += cells;
	}
	for (uint32_t id = 0; id < alloc_segment_count(world->alloc); id++) {
		const struct segment *segment = alloc_segment(world->alloc, id);
		uint64_t columns = (uint64_t)segment->record.k + segment->record.m;
		if (segment->record.state == SEGMENT_OPEN) /* the rest of it will be used */
			raw += columns * segment->record.rows_used;
		else if (segment->record.state != SEGMENT_SYS)
			raw += columns * world->geometry.rows;
	}
	const struct store_counters *counters = store_counters(world->store);
	double bytes = (double)(bytes_written(world) - before) / (double)(user * CELL_SIZE), space = (double)raw / (double)user;
	print_message("%u+%u, AU %u KiB, blocks of %u to %u KiB: %.4f device bytes, %.4f cells of space; "
		      "summaries %.2f %%, padding %.2f %%, headers %.2f %%\n",
		      world->options.k, world->options.m, 1u << (world->options.au_shift - 10), workload->cells_min * 4,
		      workload->cells_max * 4, bytes, space, 100.0 * (double)counters->placed[STORE_SUMMARIES] / (double)user,
		      100.0 * (double)counters->placed[STORE_PADDING] / (double)user, 100.0 * (double)counters->header_cells / (double)user);
	double requests = (double)(writes(world) - writes_before) / ((double)user * CELL_SIZE / (1 << 20));
	print_message("  %.2f writes for each MiB\n", requests);
	assert_true(bytes <= workload->bytes_goal);
	if (workload->writes_goal)
		assert_true(requests <= workload->writes_goal);
	if (workload->space_goal)
		assert_true(space <= workload->space_goal);
}

static void run(unsigned k, unsigned m, unsigned shift, const struct workload *work)
{
	struct world_options options = {.k = k, .m = m, .disks = k + m, .au_shift = shift, .disk_size = UINT64_C(8) << 30,
					.seed = 7, .unchecked = true, .plain = true};
	struct world *world = world_new(&options);

	workload = work;
	world_run(world, write_much);
	world_free(world);
}

/* Table 5.2: sequential writes to 4+2, AUs of 1 MiB. */
static void test_sequential(void **state)
{
	(void)state;
	run(4, 2, 20, &(struct workload){1, 1, CLASS_COLD, 1.56, 0, 0});
	run(4, 2, 20, &(struct workload){4, 4, CLASS_COLD, 1.53, 0, 0});
	/* The headers go with the first rows: by themselves they would make 3.7 of 2.1, and 15.5 of 8.7. */
	run(4, 2, 20, &(struct workload){32, 32, CLASS_COLD, 1.53, 0, 2.2});
	run(4, 2, 20, &(struct workload){128, 128, CLASS_COLD, 1.53, 0, 0});
	run(4, 2, 18, &(struct workload){32, 32, CLASS_COLD, 1.57, 0, 9});
}

/*
 * P2: mixes of sizes, as compression gives them too. Where all blocks are of one size that is no small part of a
 * segment, what the last of them leaves is lost: up to one block for each segment.
 */
static void test_space(void **state)
{
	const double most = 1.015;

	(void)state;
	for (unsigned shift = 20; shift <= 24; shift += 2) {
		run(4, 2, shift, &(struct workload){1, 1, CLASS_HOT, 1.56, 1.5 * most, 0});
		run(4, 2, shift, &(struct workload){4, 4, CLASS_HOT, 1.53, 1.5 * most, 0});
		run(4, 2, shift, &(struct workload){1, 32, CLASS_HOT, 1.53, 1.5 * most, 0});
		run(4, 2, shift, &(struct workload){1, 128, CLASS_HOT, 1.53, 1.5 * most, 0});
		run(4, 2, shift, &(struct workload){32, 32, CLASS_HOT, 1.53, shift > 20 ? 1.5 * most : 1.55, 0});
	}
	run(4, 2, 24, &(struct workload){256, 256, CLASS_HOT, 1.53, 1.525, 0});
	run(8, 3, 22, &(struct workload){1, 128, CLASS_HOT, 1.40, 11.0 / 8 * most, 0});
	run(1, 1, 22, &(struct workload){1, 128, CLASS_HOT, 2.02, 2 * most, 0});
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_sequential), cmocka_unit_test(test_space)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
