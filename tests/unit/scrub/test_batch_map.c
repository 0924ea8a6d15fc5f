/*
 * Nodes of the batch map that can't be read: the index in RAM has what was below them, so a commit that needs one writes it anew, and a
 * scrub finds those that none needs. An import that only looks does without.
 */
#include "libpool/txg/internal.h"
#include "scrub/verify.h"
#include "tests/unit/dataset/damage.h"

#define BLOCK 4096u
#define BLOCKS 64u

static int write_block(struct volume *volume, uint64_t block, unsigned version)
{
	uint8_t data[BLOCK];

	block_fill(data, sizeof(data), block, version);
	return volume_write(volume, block * BLOCK, sizeof(data), data);
}

/* Whole summaries of blocks that nobody overwrites make the map grow to some leaves. */
static void fill_program(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);

	expect_done(machine, volume_create(datasets, "v", 64 * MIB, BLOCK, BLOCK_COMPRESS_OFF, &machine->error));
	struct volume *volume = pool_volume(machine, datasets, "v");
	for (unsigned txg = 0; txg < 300; txg++) {
		expect_done(machine, write_block(volume, 100 + txg, 1));
		if (txg < BLOCKS)
			expect_done(machine, write_block(volume, txg, 1));
		expect_done(machine, core_commit(machine->core));
	}
	volume_close(volume);
	pool_close(machine, datasets);
}

static void expect_content(struct machine *machine, struct datasets *datasets)
{
	struct volume *volume = pool_volume(machine, datasets, "v");
	uint8_t data[BLOCK];

	blocks_drop_cache(core_blocks(machine->core));
	for (unsigned block = 0; block < 400; block++) {
		bool written = block < BLOCKS || block >= 100;
		expect_done(machine, volume_read(volume, block * BLOCK, sizeof(data), data));
		expect(block_is(data, sizeof(data), block, written));
	}
	volume_close(volume);
}

static unsigned leaves(struct machine *machine)
{
	struct tree_range range = { 0 };
	unsigned count = 0;
	int damage;

	do {
		uint8_t key[OBJECT_KEY_MAX];
		size_t length = range.high_length;
		memcpy(key, range.high, length);
		expect_done(machine, tree_check_leaf(core_mos_object(machine->core, MOS_BATCH_MAP), key, length, &range, &damage));
		expect(!count || (range.low_length == length && memcmp(range.low, key, length) == 0));
		count++;
	} while (range.high_length);
	return count;
}

/* The last leaf that a walk meets, all copies of it. */
static void spoil_leaf(struct machine *machine, struct datasets *datasets)
{
	struct wanted leaf = { .objset = 0, .object = MOS_BATCH_MAP, .level = 0, .type = TYPE_TREE };

	damage(machine, datasets, &leaf);
}

static uint64_t entries(struct machine *machine)
{
	struct dnode dnode;

	object_info(core_mos_object(machine->core, MOS_BATCH_MAP), &dnode);
	return dnode.max_block;
}

static void expect_sound(struct machine *machine, struct datasets *datasets)
{
	struct verify_result result;

	expect_done(machine, verify_pool(machine->core, datasets, VERIFY_FULL, &result));
	if (result.violations || result.damaged_blocks)
		fprintf(stderr, "%s\n", result.first);
	expect_equal(result.violations, 0);
	expect_equal(result.damaged_blocks, 0);
}

static void commit_program(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "v");

	expect(leaves(machine) >= 3);
	expect_done(machine, core_commit_forced(machine->core));
	uint64_t before = entries(machine);
	spoil_leaf(machine, datasets);
	for (unsigned txg = 0; txg < 10; txg++) {
		expect_done(machine, write_block(volume, 100 + txg, 1));
		expect_done(machine, core_commit_forced(machine->core));
	}
	expect(!core_halted(machine->core, NULL));
	expect(entries(machine) + 20 > before && entries(machine) < before + 40);
	expect_sound(machine, datasets);
	expect_content(machine, datasets);
	volume_close(volume);
	pool_abandon(machine, datasets);
}

/* ---- only what is needed is made anew ---- */

static int find_first(void *argument, const struct block_pointer *pointer, const struct block_owner *owner)
{
	struct wanted *wanted = argument;

	return wanted->found ? 0 : find_pointer(argument, pointer, owner);
}

static void one_program(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "v");
	struct wanted first = { .objset = 0, .object = MOS_BATCH_MAP, .level = 0, .type = TYPE_TREE };
	unsigned wrong, healed;

	expect_done(machine, datasets_walk(datasets, find_first, &first));
	expect(first.found);
	spoil_leaf(machine, datasets);
	damage_pointed(machine, &first.pointer);
	/* New batches belong into the last leaf: nobody asks about the first. */
	expect_done(machine, write_block(volume, 100, 1));
	for (unsigned i = 0; i < 2; i++)
		expect_done(machine, core_commit_forced(machine->core));
	expect(!core_halted(machine->core, NULL));
	expect_done(machine, core_check_areas(machine->core, &wrong, &healed));
	expect_equal(wrong, 1);
	expect_equal(healed, 1);
	expect_sound(machine, datasets);
	volume_close(volume);
	pool_abandon(machine, datasets);
}

/* ---- an upper node ---- */

static void upper_program(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "v");
	struct wanted root = { .objset = 0, .object = MOS_BATCH_MAP, .level = 1, .type = TYPE_TREE };
	unsigned wrong, healed, count = leaves(machine);
	uint64_t before = entries(machine);

	for (unsigned round = 0; round < 2; round++) {
		damage(machine, datasets, &root);
		if (round) { /* found by a scrub, or by a commit */
			expect_done(machine, core_check_areas(machine->core, &wrong, &healed));
			expect_equal(wrong, 1);
			expect_equal(healed, 1);
		}
		for (unsigned txg = 0; txg < 3; txg++) {
			expect_done(machine, write_block(volume, 100 + txg, 1));
			expect_done(machine, core_commit_forced(machine->core));
		}
		expect(!core_halted(machine->core, NULL));
		expect(entries(machine) + 20 > before && entries(machine) < before + 40);
		expect(leaves(machine) >= 2 && leaves(machine) <= count);
		expect_done(machine, core_check_areas(machine->core, &wrong, &healed));
		expect_equal(wrong, 0);
	}
	expect_content(machine, datasets);
	volume_close(volume);
	pool_abandon(machine, datasets);
}

static void after_upper_program(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	struct verify_result result;

	/* The old leaves stay allocated: nothing names them any more. That is all. */
	expect_done(machine, verify_pool(machine->core, datasets, VERIFY_FULL, &result));
	expect(result.violations > 0 && result.violations < 60);
	expect(strstr(result.first, "is live, but nothing reaches it"));
	expect_equal(result.damaged_blocks, 0);
	expect_content(machine, datasets);
	pool_close(machine, datasets);
}

static void scrub_program(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	unsigned wrong, healed;

	expect_done(machine, core_check_areas(machine->core, &wrong, &healed));
	expect_equal(wrong, 0);
	for (unsigned i = 0; i < 3; i++) {
		spoil_leaf(machine, datasets);
		expect_done(machine, core_check_areas(machine->core, &wrong, &healed));
		expect_equal(wrong, 1);
		expect_equal(healed, 1);
		expect_done(machine, core_check_areas(machine->core, &wrong, &healed));
		expect_equal(wrong, 0);
	}
	expect_sound(machine, datasets);
	pool_abandon(machine, datasets);
}

static void sound_program(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);

	expect(leaves(machine) >= 3);
	expect_sound(machine, datasets);
	expect_content(machine, datasets);
	pool_close(machine, datasets);
}

static void spoil_program(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);

	expect(!core_lacks_batches(machine->core));
	spoil_leaf(machine, datasets);
	pool_abandon(machine, datasets);
}

static void look_program(struct machine *machine)
{
	struct datasets *datasets;

	expect_equal(machine_import(machine), -POOL_EDAMAGED);
	expect(strstr(machine->error.text, "batch map"));
	expect(strstr(machine->error.text, "read-only"));
	machine->read_only = true;
	datasets = pool_open(machine);
	expect(core_lacks_batches(machine->core));
	expect_content(machine, datasets);
	machine->read_only = false;
	pool_close(machine, datasets);
}

/* ---- a leaf that can't be read for a moment ---- */

static struct {
	unsigned count;
	struct segment_column columns[COLUMNS_MAX];
	unsigned row, rows, shift;
} flaky;

static void find_program(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	struct wanted leaf = { .objset = 0, .object = MOS_BATCH_MAP, .level = 0, .type = TYPE_TREE };

	expect_done(machine, datasets_walk(datasets, find_pointer, &leaf));
	expect(leaf.found);
	struct dva dva = dva_unpack(leaf.pointer.dva);
	const struct segment_record *record = &alloc_segment(core_alloc(machine->core), dva.segment)->record;
	expect_equal(record->k, 1);
	flaky.count = record->k + record->m;
	memcpy(flaky.columns, record->columns, sizeof(flaky.columns));
	flaky.row = dva.base + dva.offset % dva.height;
	flaky.rows = leaf.pointer.psect;
	flaky.shift = core_label(machine->core)->au_shift;
	pool_close(machine, datasets);
}

static void flaky_program(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);

	expect(!core_lacks_batches(machine->core));
	expect_content(machine, datasets);
	pool_close(machine, datasets);
}

static struct machine *filled(void)
{
	struct machine *machine = machine_new(3, 64 * MIB, 1, 1, 6); /* mirrors: nothing else is lost with a leaf */

	machine_boot(machine, machine_create_program);
	machine_boot(machine, fill_program);
	return machine;
}

static void test_flaky(void **state)
{
	struct machine *machine = filled();

	(void)state;
	machine_boot(machine, find_program);
	machine->read_only = true;
	for (unsigned reads = 1; reads < 10; reads++) {
		for (unsigned c = 0; c < flaky.count; c++)
			sim_disk_fault(machine->set->disks[flaky.columns[c].disk], SIM_READ_ERROR,
				       DATA_START + ((uint64_t)flaky.columns[c].au << flaky.shift) + flaky.row * (uint64_t)CELL_SIZE,
				       flaky.rows * (uint64_t)CELL_SIZE, 0, reads, 0);
		machine_boot(machine, flaky_program);
		for (unsigned c = 0; c < flaky.count; c++)
			sim_disk_faults_clear(machine->set->disks[flaky.columns[c].disk]);
	}
	machine_free(machine);
}

static void test_commit(void **state)
{
	struct machine *machine = filled();

	(void)state;
	machine_boot(machine, commit_program);
	machine_boot(machine, sound_program);
	machine_free(machine);
}

static void test_one(void **state)
{
	struct machine *machine = filled();

	(void)state;
	machine_boot(machine, one_program);
	machine_boot(machine, sound_program);
	machine_free(machine);
}

static void test_upper(void **state)
{
	struct machine *machine = filled();

	(void)state;
	machine_boot(machine, upper_program);
	machine_boot(machine, after_upper_program);
	machine_free(machine);
}

static void test_scrub(void **state)
{
	struct machine *machine = filled();

	(void)state;
	machine_boot(machine, scrub_program);
	machine_boot(machine, sound_program);
	machine_free(machine);
}

static void test_look(void **state)
{
	struct machine *machine = filled();

	(void)state;
	machine_boot(machine, spoil_program);
	machine_boot(machine, look_program);
	machine_free(machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_commit), cmocka_unit_test(test_scrub), cmocka_unit_test(test_look),
					    cmocka_unit_test(test_one), cmocka_unit_test(test_upper),
					    cmocka_unit_test(test_flaky) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
