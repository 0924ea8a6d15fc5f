/* The checkers: silent on a sound pool, also without some disks; each kind of wrong is seen and said. */
#include "tests/unit/scrub/support.h"

/* Every pointer of the world but those of summaries. */
static int walk(void *argument, object_visit_function *visit, void *visit_argument)
{
	struct world *world = argument;
	struct block_owner owner = {.objset = 1};
	int status = visit(visit_argument, &world->commit_pointer, &owner);

	for (size_t i = 0; i < world->logs.count && status >= 0; i++)
		if (!array_at(&world->logs, struct world_log, i)->dead)
			status = visit(visit_argument, &array_at(&world->logs, struct world_log, i)->pointer, &owner);
	for (size_t i = 0; i < world->blocks.count && status >= 0; i++) {
		owner.object = world_block(world, i)->seed;
		status = visit(visit_argument, &world_block(world, i)->pointer, &owner);
	}
	return status < 0 ? status : 0;
}

static uint64_t committed(void *argument)
{
	return ((struct world *)argument)->committed;
}

static struct verify_result verify(struct world *world, unsigned what)
{
	struct verify_source source = {.rt = world->rt, .store = world->store, .argument = world, .committed = committed, .walk = walk};
	struct verify_result result;

	assert_int_equal(verify_run(&source, what, &result), 0);
	return result;
}

static void expect(struct world *world, unsigned what, const char *text)
{
	struct verify_result result = verify(world, what);

	if (!text && (result.violations || result.damaged_blocks || result.damaged_cells))
		fail_msg("%s", result.first);
	if (text && (!result.violations || !strstr(result.first, text)))
		fail_msg("expected \"%s\", found %llu: %s", text, (unsigned long long)result.violations, result.first);
}

static void sound_body(struct world *world)
{
	struct bench bench;

	bench_init(&bench, world);
	for (unsigned i = 0; i < 8; i++) {
		bench_txg(&bench, 40, 20);
		expect(world, VERIFY_QUICK, NULL);
	}
	expect(world, VERIFY_FULL, NULL);
	struct verify_result result = verify(world, VERIFY_FULL);
	assert_true(result.blocks_checked > world->blocks.count);
	assert_true(result.rows_checked > 0 && result.cells_checked > result.rows_checked);
	if (world->options.m) {
		world_lose_disk(world, 1);
		bench_txg(&bench, 30, 20);
		expect(world, VERIFY_FULL, NULL);
	}
	bench_check_no_pins(world);
	bench_release(&bench);
}

static void run_world(struct world_options options, void (*body)(struct world *world))
{
	options.disk_size = DATA_START + LABEL_AREA_SIZE + (UINT64_C(256) << 18);
	struct world *world = world_new(&options);
	world_run(world, body);
	world_free(world);
}

static void test_sound(void **state)
{
	(void)state;
	run_world((struct world_options){.k = 4, .m = 2, .disks = 6, .seed = 1}, sound_body);
	run_world((struct world_options){.k = 1, .m = 1, .disks = 2, .seed = 2}, sound_body);
	run_world((struct world_options){.k = 3, .m = 0, .disks = 3, .seed = 3}, sound_body);
	run_world((struct world_options){.k = 1, .m = 0, .disks = 1, .seed = 4}, sound_body);
	run_world((struct world_options){.k = 3, .m = 3, .disks = 6, .seed = 5}, sound_body);
}

static void wrong_body(struct world *world)
{
	struct bench bench;

	bench_init(&bench, world);
	bench_fill(&bench, 4, 40);
	/* A block of a class that is not SYS, in the middle. */
	struct world_block *block = NULL;
	for (size_t i = 0; i < world->blocks.count; i++)
		if (world_block(world, i)->class == CLASS_HOT && world_block(world, i)->pointer.psect > 2)
			block = world_block(world, i);
	assert_non_null(block);
	struct block_pointer pointer = block->pointer;
	struct dva dva = dva_unpack(pointer.dva);
	struct segment *segment = alloc_segment(world->alloc, dva.segment);
	unsigned column = dva.offset / dva.height, row = dva.base + dva.offset % dva.height;
	size_t bit = (size_t)column * world->geometry.rows + row;

	bitmap_clear(segment->bits, bit);
	expect(world, VERIFY_QUICK, "reachable, but not live");
	bitmap_set(segment->bits, bit);
	expect(world, VERIFY_QUICK, NULL);

	/* Row 1 on: whatever is dead there. */
	size_t dead = bitmap_next_clear(segment->bits, 1, world->geometry.rows);
	if (dead != BITMAP_NONE) {
		bitmap_set(segment->bits, dead);
		expect(world, VERIFY_QUICK, "");
		bitmap_clear(segment->bits, dead);
	}

	struct world_block *other = world_block(world, block == world_block(world, 0) ? 1 : 0);
	struct block_pointer kept = other->pointer;
	other->pointer = pointer;
	expect(world, VERIFY_QUICK, "shares cells");
	other->pointer = kept;

	block->freed = true;
	for (size_t i = 0; i < world->blocks.count; i++) /* unreachable: a leak */
		if (world_block(world, i) == block) {
			*array_at(&world->blocks, struct world_block *, i) = world_block(world, world->blocks.count - 1);
			world->blocks.count--;
			expect(world, VERIFY_QUICK, "nothing reaches it");
			world->blocks.count++;
			*array_at(&world->blocks, struct world_block *, i) = block;
			break;
		}
	block->freed = false;

	block->pointer.psect--;
	expect(world, VERIFY_QUICK, "nothing reaches it");
	block->pointer = pointer;
	block->pointer.place--;
	expect(world, VERIFY_QUICK, "its batch is of txg");
	block->pointer = pointer;
	block->pointer.dva = (uint64_t)0xFFFF << 32 | 1 << 20;
	expect(world, VERIFY_QUICK, "not an address");
	block->pointer = pointer;

	struct segment_column column_kept = segment->record.columns[0];
	segment->record.columns[0].disk = segment->record.columns[1].disk;
	expect(world, VERIFY_QUICK, "lie on disk");
	segment->record.columns[0] = column_kept;
	struct segment *neighbour = NULL;
	for (uint32_t id = 0; id < alloc_segment_count(world->alloc); id++)
		if (id != segment->id && bench_segment(world, id) && bench_segment(world, id)->record.state != SEGMENT_SYS)
			neighbour = bench_segment(world, id);
	assert_non_null(neighbour);
	for (unsigned c = 0; c < 6; c++)
		if (neighbour->record.columns[c].disk == column_kept.disk) {
			segment->record.columns[0] = neighbour->record.columns[c];
			expect(world, VERIFY_QUICK, "belongs to another segment");
		}
	segment->record.columns[0] = column_kept;

	unsigned batches = segment->batch_count;
	segment->batch_count = 0;
	expect(world, VERIFY_QUICK, "");
	segment->batch_count = (uint16_t)batches;
	expect(world, VERIFY_FULL, NULL);

	/* What disks do is damage, not a violation. */
	world_rot(world, dva.segment, segment->record.k, row);
	struct verify_result result = verify(world, VERIFY_CELLS);
	assert_int_equal(result.violations, 0);
	assert_int_equal(result.damaged_cells, 1);
	assert_true(result.first[0]);
	for (unsigned c = 0; c < 3; c++)
		world_rot(world, dva.segment, (column + c) % 6, row);
	result = verify(world, VERIFY_BLOCKS);
	assert_int_equal(result.violations, 0);
	assert_true(result.damaged_blocks >= 1);
	bench_release(&bench);
}

static void test_wrong(void **state)
{
	(void)state;
	run_world((struct world_options){.k = 4, .m = 2, .disks = 6, .seed = 7, .unchecked = true}, wrong_body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_sound), cmocka_unit_test(test_wrong)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
