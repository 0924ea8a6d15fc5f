/* Rebuild of a disk that works, where summaries have to be made from what can't be judged yet, or are lost. */
#include <limits.h>

#include "tests/unit/scrub/support.h"

#include "libpool/store/window.h"

static void run_world(struct world_options options, void (*body)(struct world *world))
{
	options.au_shift = 22;
	options.disk_size = DATA_START + LABEL_AREA_SIZE + (UINT64_C(64) << 22);
	struct world *world = world_new(&options);
	world_run(world, body);
	world_free(world);
}

/* Of a batch's summary that lies in column c too: a row beside it with a cell that isn't its own, and the row's neighbour. */
static bool rows_of_summary(struct world *world, uint32_t id, const struct batch_index *batch, unsigned c, unsigned *ret_wrong, unsigned *ret_unreadable)
{
	struct cell_run runs[COLUMNS_MAX];
	struct dva dva = dva_unpack(batch->summary_dva);
	unsigned count = dva_runs(dva, batch->summary_cells, runs), first = UINT_MAX, end = 0;
	bool has = false, found = false;

	for (unsigned i = 0; i < count; i++) {
		first = runs[i].row < first ? runs[i].row : first;
		end = runs[i].row + runs[i].rows > end ? runs[i].row + runs[i].rows : end;
		has |= runs[i].column == c;
	}
	if (dva.segment != id || !has || count < 2 || end - first < 2)
		return false;
	for (unsigned row = first; row < end; row++) {
		bool own = false;
		if (!bench_row_is_live(world, bench_segment(world, id), row))
			return false;
		for (unsigned i = 0; i < count; i++)
			own |= runs[i].column == c && row >= runs[i].row && row < runs[i].row + runs[i].rows;
		if (!own) {
			*ret_wrong = row;
			found = true;
		}
	}
	*ret_unreadable = *ret_wrong == first ? *ret_wrong + 1 : *ret_wrong - 1;
	return found;
}

/*
 * A summary that nobody knows is made from columns of which none can be judged, and the leaving disk's is one of them: where two others have a fault each
 * in different rows. What is made on the way is wrong, but what that disk has is not.
 */
static unsigned spoilt_beside_summaries;

static void unknown_summaries_body(struct world *world)
{
	struct bench bench;
	unsigned spare = world->options.disks - 1;

	bench_init(&bench, world);
	alloc_disk_set_usable(world->alloc, spare, false);
	bench_fill(&bench, 6, 300 + 37 * (unsigned)(world->options.seed % 20));
	alloc_disk_set_usable(world->alloc, spare, true);
	for (uint32_t id = 0; id < alloc_segment_count(world->alloc); id++) {
		const struct segment *segment = bench_segment(world, id);
		unsigned c = 0, wrong = 0, unreadable = 0;

		while (segment && c < segment->record.k && segment->record.columns[c].disk != 1)
			c++;
		if (!segment || segment->record.state == SEGMENT_SYS || c == segment->record.k)
			continue;
		struct segment_column parity = segment->record.columns[segment->record.k];
		uint64_t last = 0;
		for (unsigned i = 0; i < segment->batch_count; i++) {
			const struct batch_index *batch = &segment->batches[i];
			if (batch->summary_dva == last || !rows_of_summary(world, id, batch, c, &wrong, &unreadable))
				continue;
			last = batch->summary_dva;
			world_rot(world, id, (c + 1) % segment->record.k, wrong);
			sim_disk_set_unreadable(world_disk(world, parity.disk), store_cell_offset(world->store, parity.au, unreadable), CELL_SIZE);
			spoilt_beside_summaries++;
		}
	}
	assert_int_equal(bench_rebuild(&bench, 1, spare), 0);
	assert_int_equal(bench.job.cells_unrepaired, 0);
	assert_int_equal(bench_columns_on(world, 1), 0);
	bench_job(&bench, JOB_SCRUB);
	assert_int_equal(scrub_run(&bench.job, &bench.host), 0);
	assert_int_equal(bench.job.cells_unrepaired, 0);
	assert_int_equal(bench.damage.count, 0);
	bench_check_all(&bench);
	bench_release(&bench);
}

static void test_unknown_summaries(void **state)
{
	static const unsigned seeds[] = {73, 94, 95};

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		run_world((struct world_options){.k = 2, .m = 1, .disks = 4, .seed = seeds[i]}, unknown_summaries_body);
	assert_in_range(spoilt_beside_summaries, 6, 1000);
}

/*
 * Summaries that are lost: nothing judges the rows that they told of. What the leaving disk has is copied, though other columns have faults there, and what it
 * can't deliver is made of those.
 */
static void lost_summaries_body(struct world *world)
{
	struct bench bench;
	unsigned spare = world->options.disks - 1, lost = 0, cells = 0;

	bench_init(&bench, world);
	alloc_disk_set_usable(world->alloc, spare, false);
	bench_fill(&bench, 6, 300);
	alloc_disk_set_usable(world->alloc, spare, true);
	for (uint32_t id = 0; id < alloc_segment_count(world->alloc); id++) {
		const struct segment *segment = bench_segment(world, id);
		unsigned c = 0, faults = 0;

		while (segment && c < segment->record.k && segment->record.columns[c].disk != 1)
			c++;
		if (!segment || segment->record.state == SEGMENT_SYS || c == segment->record.k || segment->batch_count == 0)
			continue;
		const struct batch_index *batch = &segment->batches[0];
		struct summary_entry *known = summary_cached(world->store, batch);
		struct cell_run runs[COLUMNS_MAX];
		struct dva dva = dva_unpack(batch->summary_dva);
		if (known)
			summary_put(world->store, known);
		if (known || dva.segment != id)
			continue;
		unsigned count = dva_runs(dva, batch->summary_cells, runs), beside = (c + 1) % segment->record.k;
		world_rot(world, id, runs[0].column, runs[0].row);
		world_rot(world, id, segment->record.k, runs[0].row);
		for (unsigned row = batch->base; row < (unsigned)batch->base + batch->rows && faults < 20; row++) {
			bool is_summary = false;
			for (unsigned i = 0; i < count; i++)
				is_summary |= row >= runs[i].row && row < runs[i].row + runs[i].rows;
			if (is_summary || !bench_row_is_live(world, segment, row))
				continue;
			struct segment_column at = segment->record.columns[c];
			if (++faults % 2)
				world_rot(world, id, beside, row);
			else
				sim_disk_set_unreadable(world_disk(world, at.disk), store_cell_offset(world->store, at.au, row), CELL_SIZE);
		}
		lost += faults > 1;
		cells += batch->summary_cells;
	}
	assert_in_range(lost, 2, 1000);
	assert_int_equal(bench_rebuild(&bench, 1, spare), 0);
	assert_int_equal(bench.job.cells_unrepaired, cells); /* of the summaries themselves */
	assert_int_equal(bench_columns_on(world, 1), 0);
	for (size_t i = 0; i < world->blocks.count; i++)
		assert_int_equal(world_read(world, world_block(world, i), 0), 0);
	bench_release(&bench);
}

static void test_lost_summaries(void **state)
{
	(void)state;
	run_world((struct world_options){.k = 2, .m = 1, .disks = 4, .seed = 91, .unchecked = true}, lost_summaries_body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unknown_summaries),
		cmocka_unit_test(test_lost_summaries),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
