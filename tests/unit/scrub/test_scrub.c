/* Scrub: reads each written cell once, finds and heals what is wrong, and names what is lost. */
#include "tests/unit/scrub/support.h"

static const struct world_options geometries[] = {
	{.k = 4, .m = 2, .disks = 7, .seed = 1}, {.k = 1, .m = 1, .disks = 2, .seed = 2}, {.k = 2, .m = 1, .disks = 3, .seed = 3},
	{.k = 1, .m = 2, .disks = 4, .seed = 4}, {.k = 3, .m = 3, .disks = 6, .seed = 5}, {.k = 3, .m = 0, .disks = 3, .seed = 6},
};
#define GEOMETRIES (sizeof(geometries) / sizeof(geometries[0]))

static void each_geometry(void (*body)(struct world *world), bool unchecked)
{
	for (size_t i = 0; i < GEOMETRIES; i++) {
		struct world_options options = geometries[i];
		options.unchecked = unchecked;
		options.disk_size = DATA_START + LABEL_AREA_SIZE + (UINT64_C(256) << 18);
		struct world *world = world_new(&options);
		world_run(world, body);
		world_free(world);
	}
}

/* ---- exactly once ---- */

/* Dead rows that may be read with live ones: three at a time. */
static unsigned gap_rows(struct world *world, const struct segment *segment)
{
	unsigned gaps = 0;

	for (unsigned row = 1, last = 0; row < world->geometry.rows; row++) {
		if (!bench_row_is_live(world, segment, row))
			continue;
		gaps += row - last <= 4 ? row - last - 1 : 0;
		last = row;
	}
	return gaps;
}

static uint64_t expected_cells(struct world *world, uint64_t *ret_most)
{
	uint64_t cells = 0;

	*ret_most = 0;
	for (uint32_t id = 0; id < alloc_segment_count(world->alloc); id++) {
		const struct segment *segment = bench_segment(world, id);
		unsigned rows = segment ? bench_live_rows(world, segment) : 0;
		if (rows) /* and the header of each AU */
			cells += (uint64_t)(rows + 1) * (segment->record.k + segment->record.m);
		if (rows)
			*ret_most += (uint64_t)gap_rows(world, segment) * (segment->record.k + segment->record.m);
	}
	*ret_most += cells;
	return cells;
}

static void once_body(struct world *world)
{
	struct bench bench;

	bench_init(&bench, world);
	bench_fill(&bench, 12, 60);
	for (unsigned pass = 0; pass < 3; pass++) {
		uint64_t before = bench_bytes_read(world), writes = world->disks->operations, most, least = expected_cells(world, &most);
		uint64_t bytes = pass ? bench.job.total_bytes : 0;
		bench_job(&bench, JOB_SCRUB);
		if (pass == 2) /* it rests again and again, in the middle of segments, too */
			bench.job.bytes_per_second = bytes / 8;
		assert_int_equal(scrub_run(&bench.job, &bench.host), 0);
		assert_in_range((bench_bytes_read(world) - before) / CELL_SIZE, least, most);
		assert_int_equal(world->disks->operations, writes);
		assert_int_equal(bench.job.errors_found, 0);
		assert_int_equal(bench.job.state, JOB_FINISHED);
		assert_int_equal(bench.job.done_bytes, bench.job.total_bytes);
		assert_int_equal(bench.damage.count, 0);
	}
	bench_check_no_pins(world);
	bench_release(&bench);
}

static void test_each_cell_once(void **state)
{
	(void)state;
	each_geometry(once_body, true);
}

static void degraded_body(struct world *world)
{
	struct bench bench;

	bench_init(&bench, world);
	bench_fill(&bench, 6, 60);
	world_lose_disk(world, 1);
	bench_fill(&bench, 3, 60);
	uint64_t expected = 0, gaps = 0;
	for (uint32_t id = 0; id < alloc_segment_count(world->alloc); id++) {
		const struct segment *segment = bench_segment(world, id);
		unsigned rows = segment ? bench_live_rows(world, segment) : 0, columns = 0;
		for (unsigned c = 0; segment && c < (unsigned)segment->record.k + segment->record.m; c++)
			columns += segment->record.columns[c].disk != 1 && segment->record.columns[c].disk != DISK_ABSENT;
		expected += rows ? (uint64_t)(rows + 1) * columns : 0;
		gaps += rows ? (uint64_t)gap_rows(world, segment) * columns : 0;
	}
	uint64_t before = bench_bytes_read(world);
	bench_job(&bench, JOB_SCRUB);
	assert_int_equal(scrub_run(&bench.job, &bench.host), 0);
	assert_in_range((bench_bytes_read(world) - before) / CELL_SIZE, expected, expected + gaps);
	assert_int_equal(bench.job.errors_found, 0); /* absent cells are no errors */
	bench_release(&bench);
}

static void test_once_without_a_disk(void **state)
{
	struct world_options options = {.k = 3, .m = 2, .disks = 6, .seed = 8, .unchecked = true};
	struct world *world = world_new(&options);

	(void)state;
	world_run(world, degraded_body);
	world_free(world);
}

/* ---- repair ---- */

/* Spoils up to m cells in some of the live rows; returns how many cells. */
static unsigned spoil(struct world *world, uint32_t per_million)
{
	unsigned count = 0;

	for (uint32_t id = 0; id < alloc_segment_count(world->alloc); id++) {
		const struct segment *segment = bench_segment(world, id);
		unsigned columns = segment ? segment->record.k + segment->record.m : 0;
		for (unsigned row = 1; segment && row < world->geometry.rows; row++) {
			if (!bench_row_is_live(world, segment, row) || !sim_random_chance(&world->random, per_million))
				continue;
			unsigned wrong = (unsigned)sim_random_between(&world->random, 1, segment->record.m);
			unsigned first = (unsigned)sim_random_below(&world->random, columns);
			for (unsigned i = 0; i < wrong; i++) {
				unsigned disk;
				uint64_t offset = world_cell_offset(world, id, (first + i) % columns, row, &disk);
				if (sim_random_chance(&world->random, 100000))
					sim_disk_set_unreadable(world_disk(world, disk), offset, CELL_SIZE);
				else
					sim_disk_rot(world_disk(world, disk), offset);
				count++;
			}
		}
	}
	return count;
}

static unsigned spoil_headers(struct world *world)
{
	unsigned count = 0;

	for (uint32_t id = 0; id < alloc_segment_count(world->alloc); id++) {
		const struct segment *segment = bench_segment(world, id);
		if (!segment || !bench_live_rows(world, segment) || segment->record.alloc_txg == world->committed)
			continue;
		world_rot(world, id, id % (segment->record.k + segment->record.m), 0);
		count++;
	}
	return count;
}

static void repair_body(struct world *world)
{
	struct bench bench;

	if (world->options.m == 0)
		return;
	bench_init(&bench, world);
	bench_fill(&bench, 8, 60);
	unsigned spoilt = spoil(world, 150000) + spoil_headers(world);
	assert_true(spoilt > 20);
	bench_job(&bench, JOB_SCRUB);
	assert_int_equal(scrub_run(&bench.job, &bench.host), 0);
	assert_int_equal(bench.job.errors_found, spoilt);
	assert_int_equal(bench.job.cells_repaired, spoilt);
	assert_int_equal(bench.job.cells_unrepaired, 0);
	assert_int_equal(bench.damage.count, 0);
	assert_int_equal(bench.commits, 1); /* what was healed is flushed */
	bench_check_all(&bench);
	bench_job(&bench, JOB_SCRUB);
	assert_int_equal(scrub_run(&bench.job, &bench.host), 0);
	assert_int_equal(bench.job.errors_found, 0);
	bench_release(&bench);
}

static void test_repair(void **state)
{
	(void)state;
	each_geometry(repair_body, false);
}

/* ---- loss ---- */

static void loss_body(struct world *world)
{
	struct bench bench;

	bench_init(&bench, world);
	world_begin(world);
	struct world_block *lost = world_place(world, CLASS_HOT, 1);
	world_place(world, CLASS_HOT, 7);
	world_place(world, CLASS_HOT, 90);
	world_commit(world);
	struct dva dva = dva_unpack(lost->pointer.dva);
	/* The block's own cell and two more of its row: one too many. */
	world_rot(world, dva.segment, 0, dva.base);
	world_rot(world, dva.segment, 4, dva.base);
	world_rot(world, dva.segment, 5, dva.base);
	bench_job(&bench, JOB_SCRUB);
	assert_int_equal(scrub_run(&bench.job, &bench.host), 0);
	assert_int_equal(bench.job.errors_found, 3);
	assert_int_equal(bench.job.cells_unrepaired, 3);
	assert_int_equal(bench.damage.count, 1);
	assert_int_equal(bench.named, 1);
	const struct job_damage *damage = array_at(&bench.damage, struct job_damage, 0);
	assert_int_equal(damage->dva, lost->pointer.dva);
	assert_int_equal(damage->place, lost->pointer.place);
	assert_int_equal(damage->row, dva.base);
	assert_int_equal(world_read(world, lost, 0), -POOL_EDAMAGED);
	for (size_t i = 1; i < world->blocks.count; i++)
		assert_int_equal(world_read(world, world_block(world, i), 0), 0);
	bench_release(&bench);
}

static void test_loss(void **state)
{
	struct world_options options = {.k = 4, .m = 2, .disks = 6, .seed = 9, .unchecked = true};
	struct world *world = world_new(&options);

	(void)state;
	world_run(world, loss_body);
	world_free(world);
}

/* ---- a lost summary ---- */

/* The trees of the world: its blocks. */
static int walk_world(void *argument, object_visit_function *visit, void *visit_argument)
{
	struct world *world = argument;
	int status = 0;

	for (size_t i = 0; i < world->blocks.count && status >= 0; i++) {
		struct world_block *block = world_block(world, i);
		status = visit(visit_argument, &block->pointer, &block->block.owner);
	}
	return status < 0 ? status : 0;
}

static uint64_t world_committed(void *argument)
{
	return ((struct world *)argument)->committed;
}

static unsigned verifies;

static int verify_world(void *argument, const struct job *job, unsigned what, const struct verify_hooks *hooks, struct verify_result *ret_result)
{
	struct bench *bench = argument;
	struct verify_source source = {.rt = bench->world->rt, .store = bench->world->store, .argument = bench->world,
				       .committed = world_committed, .walk = walk_world, .hooks = hooks};

	assert_ptr_equal(job, &bench->job);
	verifies++;
	/* System blocks aren't walked here: reaching isn't looked at. */
	return verify_run(&source, what & VERIFY_BLOCKS, ret_result);
}

static unsigned notes;

static void note(void *argument, const struct job *job, const char *text)
{
	(void)argument;
	(void)job;
	assert_non_null(strstr(text, "can't be read"));
	notes++;
}

/* Block cells with both parities of their rows: more than they can bring back. */
static void spoil_block(struct world *world, uint64_t address, unsigned cells)
{
	struct dva dva = dva_unpack(address);
	struct cell_run runs[COLUMNS_MAX];
	unsigned count = dva_runs(dva, cells, runs);

	for (unsigned i = 0; i < count; i++)
		for (unsigned r = runs[i].row; r < (unsigned)runs[i].row + runs[i].rows; r++) {
			world_rot(world, dva.segment, runs[i].column, r);
			world_rot(world, dva.segment, 4, r);
			world_rot(world, dva.segment, 5, r);
		}
}

/* Whether the damage list has each block that can't be read once and no other; returns how many there are. */
static unsigned check_named(struct bench *bench)
{
	struct world *world = bench->world;
	unsigned lost = 0;

	for (size_t i = 0; i < world->blocks.count; i++) {
		const struct block_pointer *pointer = &world_block(world, i)->pointer;
		struct buffer *payload = NULL;
		unsigned told = 0;
		int status = store_read(world->store, pointer, 0, &payload);
		buffer_unref(payload);
		for (size_t d = 0; d < bench->damage.count; d++) {
			const struct job_damage *damage = array_at(&bench->damage, struct job_damage, d);
			told += damage->dva == pointer->dva && damage->place == pointer->place;
		}
		assert_int_equal(told, status < 0);
		lost += status < 0;
	}
	return lost;
}

static void scrub_lost(struct bench *bench, bool deep, uint32_t cursor, uint64_t unrepaired)
{
	bench->damage.count = bench->named = notes = verifies = 0;
	bench_job(bench, JOB_SCRUB);
	bench->job.deep = deep;
	bench->job.cursor = cursor;
	bench->job.cells_unrepaired = unrepaired;
	assert_int_equal(scrub_run(&bench->job, &bench->host), 0);
	bench_check_no_pins(bench->world);
}

static void lost_summary_body(struct world *world)
{
	struct bench bench;

	bench_init(&bench, world);
	bench.host.verify = verify_world;
	bench.host.event = note;
	world_begin(world);
	for (unsigned i = 0; i < 40; i++)
		world_place(world, CLASS_HOT, 1 + i % 7);
	world_commit(world);
	/* Another batch, with its summary but one lost block. */
	world_begin(world);
	struct world_block *other = world_place(world, CLASS_HOT, 4);
	world_place(world, CLASS_HOT, 30);
	world_commit(world);
	spoil_block(world, other->pointer.dva, 1);
	struct block_pointer first = world_block(world, 0)->pointer;
	struct segment *segment = alloc_segment(world->alloc, dva_unpack(first.dva).segment);
	const struct batch_index *batch = alloc_batch_find(segment, dva_unpack(first.dva).base);
	spoil_block(world, batch->summary_dva, batch->summary_cells);
	for (size_t i = 5; i < 12; i++)
		spoil_block(world, world_block(world, i)->pointer.dva, 1);

	scrub_lost(&bench, false, 0, 0);
	unsigned lost = check_named(&bench);
	assert_true(lost > 3);
	assert_int_equal(bench.named, lost);
	assert_int_equal(notes, 1);
	assert_int_equal(verifies, 1);
	assert_int_equal(bench.job.errors_found, bench.job.cells_unrepaired);
	uint64_t unrepaired = bench.job.cells_unrepaired;
	assert_true(unrepaired > lost);

	/* All blocks are read: none is told of twice, or counted twice. */
	scrub_lost(&bench, true, 0, 0);
	assert_int_equal(check_named(&bench), lost);
	assert_int_equal(bench.named, lost);
	assert_int_equal(bench.job.cells_unrepaired, unrepaired);

	/* One that was interrupted after its last cell. */
	scrub_lost(&bench, false, alloc_segment_count(world->alloc), 1);
	assert_in_range(bench.named, 3, lost - 1);
	assert_int_equal(bench.job.cells_unrepaired, 1 + bench.named);

	/* Damage is no violation. */
	struct verify_source source = {.rt = world->rt, .store = world->store, .argument = world, .committed = world_committed,
				       .walk = walk_world};
	struct verify_result result;
	assert_int_equal(verify_run(&source, VERIFY_CELLS | VERIFY_BLOCKS, &result), 0);
	if (result.violations)
		fail_msg("%s", result.first);
	assert_true(result.damaged_blocks >= lost && result.damaged_cells > 0);
	bench_release(&bench);
}

static size_t blocks_max;
static unsigned walks; /* that are needed then */

/* Of the batches of some txgs, each in a segment of its own or with others, the summaries go, and nothing else. */
static void remade_body(struct world *world)
{
	struct bench bench;
	uint64_t unrepaired = 0, cells = 0;

	bench_init(&bench, world);
	bench.host.verify = verify_world;
	bench.host.event = note;
	bench.host.blocks_max = blocks_max;
	for (unsigned txg = 0; txg < 4; txg++) {
		world_begin(world);
		for (unsigned i = 0; i < 40u + 200 * (txg == 2); i++)
			world_place(world, txg == 3 ? CLASS_META : CLASS_HOT, 1 + (i + txg) % 9);
		world_commit(world);
	}
	for (unsigned i = 0; i < 4; i++) {
		const struct world_block *block = world_block(world, i < 2 ? i * 40 : i == 2 ? 90 : 40 + 40 + 240 + 5);
		struct dva dva = dva_unpack(block->pointer.dva);
		const struct batch_index *batch = alloc_batch_find(alloc_segment(world->alloc, dva.segment), dva.base);
		cells += batch->summary_cells;
		spoil_block(world, batch->summary_dva, batch->summary_cells);
	}
	scrub_lost(&bench, false, 0, 0);
	assert_int_equal(notes, 1);
	assert_int_equal(verifies, walks);
	assert_int_equal(bench.named, 0);
	assert_int_equal(bench.job.cells_unrepaired, 0);
	assert_in_range(bench.job.cells_repaired, cells, cells * 3); /* parity, too */
	assert_int_equal(bench.job.errors_found, bench.job.cells_repaired);

	/* As long as it is cached, it is put back from there. */
	const struct block_pointer last = world_block(world, world->blocks.count - 1)->pointer;
	const struct batch_index *cached = alloc_batch_find(alloc_segment(world->alloc, dva_unpack(last.dva).segment), dva_unpack(last.dva).base);
	spoil_block(world, cached->summary_dva, cached->summary_cells);
	scrub_lost(&bench, false, 0, 0);
	assert_int_equal(verifies, 0);
	assert_int_equal(bench.job.cells_unrepaired, 0);
	assert_in_range(bench.job.cells_repaired, 3, 3 * cached->summary_cells);

	/* Not so once it has left the cache, and a block has died: the batch is read block by block until it dies. */
	for (unsigned txg = 0; txg < 20; txg++) {
		world_begin(world);
		world_place(world, CLASS_META, 3);
		world_commit(world);
	}
	const struct block_pointer first = world_block(world, 3)->pointer;
	const struct batch_index *batch = alloc_batch_find(alloc_segment(world->alloc, dva_unpack(first.dva).segment), dva_unpack(first.dva).base);
	struct batch_index before = *batch;
	scrub_lost(&bench, false, 0, 0);
	assert_int_equal(bench.job.errors_found, 0);
	assert_int_equal(verifies, 0);
	world_begin(world);
	world_kill(world, world_block(world, 3));
	world_commit(world);
	spoil_block(world, before.summary_dva, before.summary_cells);
	scrub_lost(&bench, false, 0, 0);
	unrepaired = bench.job.cells_unrepaired;
	assert_int_equal(unrepaired, before.summary_cells);
	assert_int_equal(check_named(&bench), 0);
	bench_release(&bench);
}

static void no_walk_body(struct world *world)
{
	struct bench bench;

	bench_init(&bench, world);
	bench.host.verify = verify_world;
	world_begin(world);
	struct world_block *lost = world_place(world, CLASS_HOT, 4);
	world_place(world, CLASS_HOT, 90);
	world_commit(world);
	spoil_block(world, lost->pointer.dva, 1);
	scrub_lost(&bench, false, 0, 0);
	assert_int_equal(verifies, 0); /* no summary is lost */
	assert_true(check_named(&bench) > 0);
	bench_release(&bench);
}

static void test_lost_summary(void **state)
{
	struct world_options options = {.k = 4, .m = 2, .disks = 6, .seed = 11, .unchecked = true};
	struct world *world = world_new(&options);

	(void)state;
	world_run(world, lost_summary_body);
	world_free(world);
	for (unsigned i = 0; i < 3; i++) {
		blocks_max = (size_t[]){0, 1, 100000}[i];
		walks = (unsigned[]){1, 4, 1}[i];
		world = world_new(&options);
		world_run(world, remade_body);
		if (i < 2)
			world_free(world);
	}
	world_free(world);
	world = world_new(&options);
	world_run(world, no_walk_body);
	world_free(world);
}

/* ---- life of the job ---- */

static unsigned areas_checked;

static int count_areas(void *argument, unsigned *ret_wrong, unsigned *ret_healed)
{
	struct bench *bench = argument;

	areas_checked++;
	*ret_wrong = *ret_healed = 0;
	assert_int_equal(bench->job.state, JOB_RUNNING);
	return 0;
}

static void life_body(struct world *world)
{
	struct bench bench;

	bench_init(&bench, world);
	bench_fill(&bench, 8, 60);
	bench_job(&bench, JOB_SCRUB);
	assert_int_equal(scrub_run(&bench.job, &bench.host), 0);
	uint64_t bytes = bench.job.done_bytes;

	/* Throttled to take four seconds. */
	bench_job(&bench, JOB_SCRUB);
	bench.job.bytes_per_second = bytes / 4;
	uint64_t start = rt_now(world->rt), read = bench_bytes_read(world);
	bench_start(&bench, scrub_run);
	rt_sleep(world->rt, 2 * NS_PER_S);
	assert_false(bench.ended);
	assert_in_range(bench.job.done_bytes, bytes / 4, bytes * 3 / 4);
	read = bench_bytes_read(world) - read;
	print_message("%lu KiB looked at, %lu read\n", (unsigned long)bench.job.done_bytes / 1024, (unsigned long)read / 1024);
	assert_in_range(read, bench.job.done_bytes, bench.job.done_bytes * 5 / 4); /* headers, dead rows between; nothing for a rest to throw away */
	assert_in_range(job_rate(&bench.job, world->rt), bytes / 8, bytes / 2);
	assert_in_range(job_eta_ns(&bench.job, world->rt), NS_PER_S / 2, 8 * NS_PER_S);
	bench_check_no_pins(world); /* it sleeps */

	job_pause(&bench.job, world->rt);
	rt_sleep(world->rt, NS_PER_S);
	assert_int_equal(bench.job.state, JOB_PAUSED);
	bench_check_no_pins(world);
	uint64_t done = bench.job.done_bytes;
	rt_sleep(world->rt, 100 * NS_PER_S);
	assert_int_equal(bench.job.done_bytes, done);
	bench_txg(&bench, 40, 30); /* the world goes on while it rests */
	job_resume(&bench.job, world->rt);
	assert_int_equal(bench_wait(&bench), 0);
	assert_int_equal(bench.job.errors_found, 0);
	assert_in_range(rt_now(world->rt) - start, 104 * NS_PER_S, 109 * NS_PER_S);

	/* Cancelled, taken up again at its cursor from its persistent form. */
	bench_job(&bench, JOB_SCRUB);
	bench.job.bytes_per_second = bytes / 4;
	bench_start(&bench, scrub_run);
	rt_sleep(world->rt, 2 * NS_PER_S);
	job_cancel(&bench.job, world->rt);
	assert_int_equal(bench_wait(&bench), -ECANCELED);
	assert_int_equal(bench.job.state, JOB_CANCELLED);
	assert_true(bench.job.cursor > 0);
	uint8_t raw[JOB_RECORD_SIZE], key[JOB_KEY_SIZE];
	job_encode(&bench.job, raw);
	job_key_encode(bench.job.id, key);
	assert_int_equal(job_decode(key, sizeof(key), raw, sizeof(raw), &bench.job), 0);
	bench.job.bytes_per_second = 0;
	uint64_t before = bench_bytes_read(world);
	assert_int_equal(scrub_run(&bench.job, &bench.host), 0);
	assert_true(bench_bytes_read(world) - before < bytes);
	assert_true(bench.saves >= 4);

	/* Begun as paused, as after a restart: it says so from the first moment, and does nothing. */
	bench_job(&bench, JOB_SCRUB);
	bench.job.pause_requested = true;
	bench.host.areas = count_areas;
	bench_start(&bench, scrub_run);
	for (unsigned i = 0; i < 20; i++) {
		rt_yield(world->rt);
		assert_int_equal(bench.job.state, i ? JOB_PAUSED : bench.job.state);
	}
	assert_int_equal(areas_checked, 0);
	job_resume(&bench.job, world->rt);
	assert_int_equal(bench_wait(&bench), 0);
	assert_int_equal(areas_checked, 1);
	bench.host.areas = NULL;
	bench_check_all(&bench);
	bench_release(&bench);
}

static void test_life(void **state)
{
	struct world_options options = {.k = 3, .m = 1, .disks = 4, .seed = 10, .plain = true};
	struct world *world = world_new(&options);

	(void)state;
	world_run(world, life_body);
	world_free(world);
}

/* ---- beside writers ---- */

static void writers_body(struct world *world)
{
	struct bench bench;

	if (world->options.m == 0)
		return;
	bench_init(&bench, world);
	bench_fill(&bench, 6, 50);
	for (unsigned round = 0; round < 6; round++) {
		unsigned spoilt = round % 2 ? spoil(world, 50000) : 0;
		bench_job(&bench, JOB_SCRUB);
		bench_start(&bench, scrub_run);
		unsigned txgs = 0;
		while (!bench.ended && txgs++ < 6)
			bench_txg(&bench, 40, 25);
		assert_int_equal(bench_wait(&bench), 0);
		assert_int_equal(bench.damage.count, 0);
		assert_true(bench.job.errors_found <= spoilt);
		assert_int_equal(bench.job.cells_repaired, bench.job.errors_found);
	}
	bench_job(&bench, JOB_SCRUB);
	assert_int_equal(scrub_run(&bench.job, &bench.host), 0);
	bench_check_all(&bench);
	bench_release(&bench);
}

static void test_beside_writers(void **state)
{
	(void)state;
	each_geometry(writers_body, false);
}

/* ---- a disk that doesn't answer ---- */

static void hanging_body(struct world *world)
{
	struct bench bench;
	uint32_t id = 0;
	unsigned disk = 0, row = 1;

	bench_init(&bench, world);
	bench_fill(&bench, 4, 50);
	while (!bench_segment(world, id) || bench_segment(world, id)->record.class != CLASS_HOT || !bench_live_rows(world, bench_segment(world, id)))
		id++;
	while (!bench_row_is_live(world, bench_segment(world, id), row))
		row++;
	uint64_t offset = world_cell_offset(world, id, 0, row, &disk);
	sim_disk_fault(world_disk(world, disk), SIM_HANG_LATE, offset, CELL_SIZE, 0, 2, 500 * NS_PER_S);
	bench_job(&bench, JOB_SCRUB);
	assert_int_equal(scrub_run(&bench.job, &bench.host), 0);
	assert_int_equal(bench.damage.count, 0); /* nobody knows what is there */
	assert_int_equal(bench.job.cells_unrepaired, 0);
	rt_sleep(world->rt, 600 * NS_PER_S);
	sim_disk_faults_clear(world_disk(world, disk));
	bench_check_all(&bench);
	bench_release(&bench);
}

static void test_disk_that_hangs(void **state)
{
	struct world_options options = {.k = 1, .m = 0, .disks = 2, .seed = 10, .plain = true};

	(void)state;
	for (; options.seed < 14; options.seed++) {
		struct world *world = world_new(&options);
		world_run(world, hanging_body);
		world_free(world);
	}
}

/* ---- what nobody could look at ---- */

/* Cells of live rows on a disk; those from `since` on. */
static uint64_t live_on(struct world *world, unsigned disk, uint64_t since)
{
	uint64_t count = 0;

	for (uint32_t id = 0; id < alloc_segment_count(world->alloc); id++) {
		const struct segment *segment = bench_segment(world, id);
		for (unsigned c = 0; segment && c < (unsigned)segment->record.k + segment->record.m; c++)
			for (unsigned row = 1; segment->record.columns[c].disk == disk && row < world->geometry.rows; row++) {
				const struct batch_index *batch = alloc_batch_find(segment, row);
				count += bench_row_is_live(world, segment, row) && (batch ? batch->txg : segment->record.alloc_txg) >= since;
			}
	}
	return count;
}

static uint64_t scrub_unchecked(struct bench *bench)
{
	bench_job(bench, JOB_SCRUB);
	assert_int_equal(scrub_run(&bench->job, &bench->host), 0);
	assert_int_equal(bench->job.errors_found, 0);
	return bench->job.unchecked;
}

static void unchecked_body(struct world *world)
{
	struct store_disk *disk = store_disk(world->store, 1);
	struct bench bench;

	bench_init(&bench, world);
	bench_fill(&bench, 12, 60);
	assert_int_equal(scrub_unchecked(&bench), 0);
	/* What a disk lacks that came back, of the newer half and of all. */
	for (unsigned part = 0; part < 2; part++) {
		disk->state = DISK_RESYNC;
		disk->stale_from = part ? 1 : 7;
		uint64_t expected = live_on(world, 1, disk->stale_from);
		assert_true(expected > 0 && (part || expected < live_on(world, 1, 0)));
		assert_int_equal(scrub_unchecked(&bench), expected);
	}
	disk->state = DISK_ONLINE;
	disk->stale_from = 0;
	/* What one has that doesn't answer. */
	sim_disk_set_hanging(world_disk(world, 2), true);
	assert_int_equal(scrub_unchecked(&bench), live_on(world, 2, 0));
	sim_disk_set_hanging(world_disk(world, 2), false);
	sim_disk_release_hung(world_disk(world, 2), true);
	bench_release(&bench);
}

static void test_unchecked(void **state)
{
	struct world_options options = {.k = 3, .m = 2, .disks = 6, .seed = 31, .unchecked = true};
	struct world *world = world_new(&options);

	(void)state;
	world_run(world, unchecked_body);
	world_free(world);
}

/* ---- the record ---- */

static void test_record(void **state)
{
	uint8_t raw[JOB_RECORD_SIZE], again[JOB_RECORD_SIZE], key[JOB_KEY_SIZE];
	struct job job, back;

	(void)state;
	job_init(&job, UINT64_C(0x0102030405060708), JOB_REBUILD);
	job.state = JOB_PAUSED;
	job.deep = true;
	job.disk = 3;
	job.cursor = 77;
	job.bytes_per_second = 5;
	job.total_bytes = UINT64_C(1) << 50;
	job.done_bytes = 12345;
	job.errors_found = 9;
	job.cells_repaired = 8;
	job.cells_unrepaired = 1;
	job.unchecked = 44;
	job.disks_left_out = 3;
	job.started_ns = 1000;
	job.ended_ns = 2000;
	job_encode(&job, raw);
	job_key_encode(job.id, key);
	assert_int_equal(key[0], 1);
	assert_int_equal(job_decode(key, sizeof(key), raw, sizeof(raw), &back), 0);
	assert_int_equal(back.id, job.id);
	assert_int_equal(back.target, DISK_ABSENT);
	assert_int_equal(back.unchecked, 44);
	assert_int_equal(back.disks_left_out, 3);
	job_encode(&back, again);
	assert_memory_equal(raw, again, sizeof(raw));

	assert_int_equal(job_decode(key, 7, raw, sizeof(raw), &back), -POOL_EFORMAT);
	assert_int_equal(job_decode(key, sizeof(key), raw, sizeof(raw) - 1, &back), -POOL_EFORMAT);
	static const struct {
		unsigned at;
		uint8_t value;
	} wrong[] = {{0, 2}, {2, 0}, {2, 4}, {2, 6}, {3, 0}, {3, 6}, {4, 2}, {5, 1}, {9, 9}, {11, 3}, {15, 2}, {88, 1}, {96, 1}, {106, 1}, {127, 1}};
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		memcpy(again, raw, sizeof(raw));
		again[wrong[i].at] = wrong[i].value;
		assert_int_equal(job_decode(key, sizeof(key), again, sizeof(again), &back), -POOL_EFORMAT);
	}
	job_init(&job, 1, JOB_VERIFY);
	job.first_txg = 70;
	job.last_txg = 72;
	job_encode(&job, raw);
	assert_int_equal(job_decode(key, sizeof(key), raw, sizeof(raw), &back), 0);
	assert_int_equal(back.first_txg, 70);
	assert_int_equal(back.last_txg, 72);
	job.last_txg = 69;
	job_encode(&job, raw);
	assert_int_equal(job_decode(key, sizeof(key), raw, sizeof(raw), &back), -POOL_EFORMAT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_cell_once), cmocka_unit_test(test_once_without_a_disk), cmocka_unit_test(test_repair),
		cmocka_unit_test(test_loss),	       cmocka_unit_test(test_life),		   cmocka_unit_test(test_disk_that_hangs), cmocka_unit_test(test_unchecked), cmocka_unit_test(test_beside_writers),
		cmocka_unit_test(test_record),	       cmocka_unit_test(test_lost_summary),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
