/* What can't be read on the way to a change: the change fails where it is asked for, and the pool goes on. */
#include "libpool/dataset/internal.h"
#include "libpool/txg/internal.h"
#include "tests/unit/dataset/damage.h"

#define BLOCK 4096u
#define BLOCKS 200u
#define FANOUT 64u /* pointers in a node of 4 KiB */

static uint32_t id_of(struct machine *machine, struct datasets *datasets, const char *name)
{
	struct volume *volume = pool_volume(machine, datasets, name);
	uint32_t id = volume_record(volume)->id;

	volume_close(volume);
	return id;
}

static int write_block(struct volume *volume, uint64_t block, unsigned version)
{
	uint8_t data[BLOCK];

	block_fill(data, sizeof(data), block, version);
	return volume_write(volume, block * BLOCK, sizeof(data), data);
}

static bool holds(struct volume *volume, uint64_t block, unsigned version)
{
	uint8_t data[BLOCK];

	return volume_read(volume, block * BLOCK, sizeof(data), data) == 0 && block_is(data, sizeof(data), block, version);
}

static struct datasets *prepare(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);

	for (unsigned i = 0; i < 2; i++) {
		const char *name = i ? "well" : "hurt";
		expect_done(machine, volume_create(datasets, name, 64 * MIB, BLOCK, BLOCK_COMPRESS_OFF, &machine->error));
		struct volume *volume = pool_volume(machine, datasets, name);
		for (unsigned block = 0; block < BLOCKS; block++)
			expect_done(machine, write_block(volume, block, 1));
		volume_close(volume);
	}
	expect_done(machine, core_commit(machine->core));
	return datasets;
}

/* The pool works: commits, and whatever isn't concerned. */
static void expect_works(struct machine *machine, struct volume *well, unsigned version)
{
	expect(!core_halted(machine->core, NULL));
	expect_done(machine, write_block(well, 7, version));
	expect_done(machine, core_commit_forced(machine->core));
	blocks_drop_cache(core_blocks(machine->core));
	expect(holds(well, 7, version));
	expect(!core_halted(machine->core, NULL));
}

static void expect_range(struct machine *machine, struct datasets *datasets, const struct wanted *block, uint64_t offset, uint64_t length)
{
	uint64_t is_offset, is_length;

	expect_done(machine, dataset_block_range(datasets, block->objset, block->object, block->level, block->block, &is_offset, &is_length));
	expect_equal(is_offset, offset);
	expect_equal(is_length, length);
}

static void node_program(struct machine *machine)
{
	struct datasets *datasets = prepare(machine);
	struct volume *hurt = pool_volume(machine, datasets, "hurt"), *well = pool_volume(machine, datasets, "well");
	struct wanted node = { .objset = id_of(machine, datasets, "hurt"), .object = 16, .level = 1, .type = TYPE_DATA };
	struct buffer *whole[2] = { buffer_new_zero(BLOCK), buffer_new_zero(BLOCK) };
	uint8_t large[2 * BLOCK] = { 1 };

	damage(machine, datasets, &node);
	expect_range(machine, datasets, &node, 0, FANOUT * BLOCK);
	node.level = 0;
	node.block = BLOCKS - 1;
	expect_range(machine, datasets, &node, (BLOCKS - 1) * BLOCK, BLOCK);
	node.level = 2;
	node.block = 0;
	expect_range(machine, datasets, &node, 0, BLOCKS * BLOCK);
	node.object = 0; /* without its dnode nothing of it can be reached */
	expect_range(machine, datasets, &node, 0, 64 * MIB);
	expect_equal(write_block(hurt, 3, 2), -POOL_EDAMAGED);
	expect_equal(volume_write(hurt, 100, 10, large), -POOL_EDAMAGED);
	expect_equal(volume_write(hurt, (FANOUT - 1) * BLOCK, sizeof(large), large), -POOL_EDAMAGED);
	expect_equal(volume_write_blocks(hurt, FANOUT - 1, 2, whole), -POOL_EDAMAGED);
	expect_equal(volume_zero(hurt, 5 * BLOCK, BLOCK), -POOL_EDAMAGED);
	expect_equal(volume_zero(hurt, 5 * BLOCK + 1, 17), -POOL_EDAMAGED);
	expect_equal(volume_trim(hurt, 5 * BLOCK, 100 * BLOCK), -POOL_EDAMAGED);
	expect_equal(volume_resize(datasets, "hurt", 3 * BLOCK, &machine->error), -POOL_EDAMAGED);
	machine->error = (struct pool_error){ 0 };
	expect(!objset_is_dirty(hurt->dataset->objset, machine->core->open_txg));
	/* Nothing of it is dirty, and the rest of it works. */
	expect_works(machine, well, 3);
	expect_done(machine, write_block(hurt, FANOUT, 2));
	expect_done(machine, write_block(hurt, 70 * FANOUT, 2)); /* below other nodes of all levels */
	expect_works(machine, well, 4);
	expect(holds(hurt, FANOUT, 2) && holds(hurt, 70 * FANOUT, 2) && holds(hurt, FANOUT + 1, 1));
	/* What takes the node away as a whole needs nothing of it. */
	expect_done(machine, volume_zero(hurt, 0, FANOUT * BLOCK));
	expect_works(machine, well, 5);
	expect_done(machine, write_block(hurt, 3, 6));
	expect_works(machine, well, 6);
	expect(holds(hurt, 3, 6) && holds(hurt, 4, 0) && holds(hurt, FANOUT, 2));
	buffer_unref(whole[0]);
	buffer_unref(whole[1]);
	volume_close(hurt);
	volume_close(well);
	pool_close(machine, datasets);
}

static void resize_program(struct machine *machine)
{
	struct datasets *datasets = prepare(machine);
	struct volume *hurt = pool_volume(machine, datasets, "hurt"), *well = pool_volume(machine, datasets, "well");
	struct wanted node = { .objset = id_of(machine, datasets, "hurt"), .object = 16, .block = 1, .level = 1, .type = TYPE_DATA };

	damage(machine, datasets, &node);
	expect_equal(volume_resize(datasets, "hurt", (FANOUT + 1) * BLOCK, &machine->error), -POOL_EDAMAGED);
	machine->error = (struct pool_error){ 0 };
	expect_equal(volume_record(hurt)->volume_size, 64 * MIB);
	expect_works(machine, well, 3);
	expect_done(machine, volume_resize(datasets, "hurt", FANOUT * BLOCK, &machine->error));
	expect_works(machine, well, 4);
	expect(holds(hurt, FANOUT - 1, 1));
	volume_close(hurt);
	volume_close(well);
	pool_close(machine, datasets);
}

static void dnode_program(struct machine *machine)
{
	struct datasets *datasets = prepare(machine);
	struct volume *hurt = pool_volume(machine, datasets, "hurt"), *well = pool_volume(machine, datasets, "well");
	struct wanted dnodes = { .objset = id_of(machine, datasets, "hurt"), .type = TYPE_DNODES };

	damage(machine, datasets, &dnodes);
	expect_equal(write_block(hurt, 3, 2), -POOL_EDAMAGED);
	expect_equal(volume_trim(hurt, 0, 64 * MIB), -POOL_EDAMAGED);
	expect_works(machine, well, 3);
	expect(holds(hurt, 3, 1));
	volume_close(hurt);
	expect_done(machine, volume_destroy(datasets, "hurt", &machine->error));
	for (unsigned i = 4; i < 8; i++)
		expect_works(machine, well, i);
	volume_close(well);
	pool_close(machine, datasets);
}

/* The record of a volume can't be changed, so none of its content can. */
static void catalogue_program(struct machine *machine)
{
	struct datasets *datasets = prepare(machine);
	struct volume *hurt = pool_volume(machine, datasets, "hurt");
	struct wanted leaf = { .object = MOS_CATALOGUE, .type = TYPE_TREE };

	damage(machine, datasets, &leaf);
	expect_equal(write_block(hurt, 3, 2), -POOL_EDAMAGED);
	expect_equal(volume_create(datasets, "new", MIB, BLOCK, BLOCK_COMPRESS_OFF, &machine->error), -POOL_EDAMAGED);
	expect_equal(volume_destroy(datasets, "well", &machine->error), -POOL_EDAMAGED);
	expect_equal(dataset_set(datasets, "well", SETTING_COMPRESSION, &(uint8_t){ BLOCK_COMPRESS_AUTO }, &machine->error), -POOL_EDAMAGED);
	machine->error = (struct pool_error){ 0 };
	for (unsigned i = 0; i < 3; i++)
		expect_done(machine, core_commit_forced(machine->core));
	expect(holds(hurt, 3, 1));
	volume_close(hurt);
	pool_close(machine, datasets);
}

static void run(void (*program)(struct machine *machine))
{
	struct machine *machine = machine_new(2, 96 * MIB, 1, 1, 5); /* mirrored: no other block lies in the rows */

	machine_boot(machine, machine_create_program);
	machine_boot(machine, program);
	machine_free(machine);
}

static void test_node(void **state)
{
	(void)state;
	run(node_program);
}

/* ---- a disk that doesn't answer ---- */

static unsigned reports;

static void count_report(void *argument, const struct block_pointer *pointer, const struct block_owner *owner, int error)
{
	(void)argument, (void)pointer, (void)owner;
	reports += error < 0;
}

/* Without parity nobody else has what a disk has that hangs for a while: that fails, but isn't damage. */
static void hang_program(struct machine *machine)
{
	struct datasets *datasets = prepare(machine);
	struct volume *hurt = pool_volume(machine, datasets, "hurt"), *well = pool_volume(machine, datasets, "well");
	struct wanted block = { .objset = id_of(machine, datasets, "hurt"), .object = 16, .block = 3, .type = TYPE_DATA };
	uint8_t data[BLOCK];

	expect_done(machine, datasets_walk(datasets, find_pointer, &block));
	expect(block.found);
	struct dva dva = dva_unpack(block.pointer.dva);
	const struct segment *segment = alloc_segment(core_alloc(machine->core), dva.segment);
	struct segment_column column = segment->record.columns[dva.offset / dva.height];
	struct sim_disk *disk = machine->set->disks[column.disk];
	reports = 0;
	blocks_set_damage_callback(core_blocks(machine->core), count_report, NULL);
	for (unsigned late = 0; late < 2; late++) {
		/* Answered after the verdict, and just before it: between the first deadline and that of the read which looks closer. */
		blocks_drop_cache(core_blocks(machine->core));
		sim_disk_fault(disk, SIM_HANG_LATE, store_cell_offset(core_store(machine->core), column.au, dva.base + dva.offset % dva.height),
			       CELL_SIZE, 0, late ? 1 : 2, (late ? 31 : 100) * NS_PER_S);
		int status = volume_read(hurt, 3 * BLOCK, BLOCK, data);
		expect(status == -POOL_EDEGRADED || (late && status == 0));
		expect_equal(reports, 0);
		rt_sleep(machine->rt, 200 * NS_PER_S);
		sim_disk_faults_clear(disk);
		expect(holds(hurt, 3, 1));
	}
	expect_equal(reports, 0);
	expect_works(machine, well, 3);
	volume_close(hurt);
	volume_close(well);
	pool_close(machine, datasets);
}

static void test_hang(void **state)
{
	struct machine *machine = machine_new(2, 64 * MIB, 1, 0, 5);

	(void)state;
	machine_boot(machine, machine_create_program);
	machine_boot(machine, hang_program);
	machine_free(machine);
}

static void test_resize(void **state)
{
	(void)state;
	run(resize_program);
}

static void test_dnode(void **state)
{
	(void)state;
	run(dnode_program);
}

static void test_catalogue(void **state)
{
	(void)state;
	run(catalogue_program);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_node),
		cmocka_unit_test(test_hang),
		cmocka_unit_test(test_resize),
		cmocka_unit_test(test_dnode),
		cmocka_unit_test(test_catalogue),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
