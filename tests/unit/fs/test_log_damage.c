/* SPDX-License-Identifier: BSD-2-Clause */
/* Syncs of file systems through the intent log of which not all can be made again: what is left out, and that nothing else is. */
#include "libpool/dataset/internal.h"
#include "libpool/fs/internal.h"
#include "tests/unit/dataset/damage.h"
#include "tests/unit/fs/log.h"

/* ---- A node above what was logged can't be read any more: this is left out, and nothing else ---- */

static void rot_program(struct machine *machine)
{
	world_open(&world, machine, 12);
	struct fs_node *bad = make(&world, world.root, "bad", S_IFREG | 0644), *good = make(&world, world.root, "good", S_IFREG | 0644);
	for (unsigned piece = 0; piece < 100; piece++) {
		put_version(bad, piece, 1);
		put_version(good, piece, 1);
	}
	sync_it();
	expect_done(machine, core_commit_forced(machine->core));
	struct wanted node = { .objset = fs_record(world.fs)->id, .object = fs_number(bad), .level = 1, .type = TYPE_DATA };
	put_version(good, 0, 2);
	sync_it();
	put_version(bad, 1, 2);
	put_version(good, 1, 2);
	expect(!commits());
	damage(machine, world.datasets, &node);
	fs_put(bad);
	fs_put(good);
	cut(machine);
}

static void see_rot(struct machine *machine)
{
	uint8_t data[PIECE];
	size_t length;

	world_open(&world, machine, 0);
	struct fs_node *bad = look(world.root, "bad"), *good = look(world.root, "good");
	expect(has_version(good, 0, 2) && has_version(good, 1, 2) && has_version(good, 2, 1));
	expect_equal(fs_read(bad, PIECE, PIECE, data, &length), -POOL_EDAMAGED);
	put_version(good, 3, 3);
	sync_it();
	expect(!core_halted(machine->core, NULL));
	fs_put(bad);
	fs_put(good);
	world_close(&world);
}

static void test_rot(void **state)
{
	struct machine *machine = machine_made(2, 1);

	(void)state;
	machine_boot_mode(machine, rot_program, SIM_CRASH_NONE);
	machine_boot(machine, see_rot);
	machine_boot(machine, see_rot);
	machine_free(machine);
}

/* What lies within an inode has no bytes of its own, and is told all the same when it is lost. */
static void rot_of_inode_program(struct machine *machine)
{
	world_open(&world, machine, 0);
	struct fs_node *small = make(&world, world.root, "small", S_IFREG | 0644);
	put_bytes(&world, small, 0, "first", 5);
	sync_it();
	put_bytes(&world, small, 2, "second", 6);
	sync_it();
	struct wanted dnodes = { .objset = fs_record(world.fs)->id, .block = fs_number(small) / DNODES_PER_BLOCK, .type = TYPE_DNODES };
	put_bytes(&world, small, 4, "third", 5);
	expect(!commits());
	damage(machine, world.datasets, &dnodes);
	fs_put(small);
	cut(machine);
}

static void see_lost_inode(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	const struct datasets_lost *lost = datasets_lost(datasets);

	expect(lost->changes == 1 && lost->bytes == 0 && lost->dataset == 1 && lost->is_file && lost->object);
	pool_close(machine, datasets);
}

static void test_rot_of_inode(void **state)
{
	struct machine *machine = machine_made(2, 1);

	(void)state;
	machine_boot_mode(machine, rot_of_inode_program, SIM_CRASH_NONE);
	machine_boot(machine, see_lost_inode);
	machine_free(machine);
}

/* ---- Who has what can't be read any more: what was promised is made again all the same, whoever may look at it then ---- */

static bool malformed; /* not lost: nobody knows what it means */

static void put_malformed_row(struct machine *machine)
{
	struct space_row row = { .dataset = fs_record(world.fs)->id, .kind = OWNER_PROJECT, .id = 77 };
	uint8_t key[SPACE_KEY_SIZE];
	uint64_t txg;

	space_key_encode(&row, key);
	expect_done(machine, core_hold(machine->core, 16, &txg));
	expect_done(machine, tree_put(core_mos_object(machine->core, MOS_SPACE), txg, key, sizeof(key), "?", 1));
	core_release(machine->core, txg);
}

static void rot_of_owners_program(struct machine *machine)
{
	world_open(&world, machine, 12);
	struct fs_node *node = make(&world, world.root, "file", S_IFREG | 0644);
	for (unsigned piece = 0; piece < 10; piece++)
		put_version(node, piece, 1);
	sync_it();
	if (malformed)
		put_malformed_row(machine);
	expect_done(machine, core_commit_forced(machine->core));
	struct wanted rows = { .objset = 0, .object = MOS_SPACE, .level = 0, .type = TYPE_TREE };
	put_version(node, 0, 2);
	sync_it();
	for (unsigned piece = 1; piece < 12; piece++)
		put_version(node, piece, 3);
	expect(!commits());
	if (!malformed)
		damage(machine, world.datasets, &rows);
	fs_put(node);
	cut(machine);
}

/* With a disk missing they might be read some day. */
static void refuse_without_owners(struct machine *machine)
{
	struct datasets *datasets;

	expect_done(machine, machine_import(machine));
	expect_equal(datasets_open(machine->core, &datasets, &machine->error), -POOL_EDAMAGED);
	expect(strstr(machine->error.text, "attach"));
	core_stop(machine->core);
	core_abandon(machine->core);
}

static void replay_without_owners(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	struct fs *fs;

	expect_equal(datasets_lost(datasets)->changes, 0);
	expect_equal(fs_open(datasets, "fs", &fs, &machine->error), -POOL_EDAMAGED);
	machine->error = (struct pool_error){ 0 };
	expect_done(machine, volume_create(datasets, "v", MIB, PIECE, 0, &machine->error));
	expect_done(machine, core_commit_forced(machine->core));
	expect_done(machine, volume_destroy(datasets, "v", &machine->error));
	pool_close(machine, datasets);
}

static void see_without_owners(struct machine *machine)
{
	world_open(&world, machine, 0);
	expect_equal(datasets_lost(world.datasets)->changes, 0);
	struct fs_node *node = look(world.root, "file");
	for (unsigned piece = 0; piece < 12; piece++)
		expect(has_version(node, piece, piece ? 3 : 2));
	expect_equal(attributes(node).size, 12 * PIECE);
	fs_put(node);
	world_close(&world);
}

static void test_rot_of_owners(void **state)
{
	struct machine *machine = machine_made(2, 1);

	(void)state;
	machine_boot_mode(machine, rot_of_owners_program, SIM_CRASH_NONE);
	machine->read_only = true;
	machine_boot(machine, see_without_owners);
	machine->read_only = false;
	machine->hidden = 1;
	machine_boot(machine, refuse_without_owners);
	machine->hidden = 0;
	machine_boot(machine, replay_without_owners);
	machine->read_only = true;
	machine_boot(machine, see_without_owners);
	machine_free(machine);
}

/* No disk could help: the replay doesn't wait for one. */
static void test_malformed_owners(void **state)
{
	struct machine *machine = machine_made(2, 1);

	(void)state;
	malformed = true;
	machine_boot_mode(machine, rot_of_owners_program, SIM_CRASH_NONE);
	machine_boot(machine, replay_without_owners);
	machine->read_only = true;
	machine_boot(machine, see_without_owners);
	machine_free(machine);
	malformed = false;
}

static uint64_t live_cells(struct machine *machine)
{
	struct space space;

	core_space(machine->core, &space);
	return space.live_cells;
}

/* The replay has opened it. What of it can't be told apart from what others have stays allocated; it isn't freed whole, in one sync. */
static void destroy_without_owners(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);

	expect_done(machine, core_commit_forced(machine->core));
	uint64_t before = live_cells(machine);
	expect_done(machine, filesystem_destroy(datasets, "fs", false, &machine->error));
	for (unsigned i = 0; i < 6; i++)
		expect_done(machine, core_commit_forced(machine->core));
	expect(live_cells(machine) + 8 > before);
	expect(!core_halted(machine->core, NULL));
	pool_close(machine, datasets);
}

static void test_destroy_without_owners(void **state)
{
	struct machine *machine = machine_made(2, 1);

	(void)state;
	machine_boot_mode(machine, rot_of_owners_program, SIM_CRASH_NONE);
	machine_boot(machine, destroy_without_owners);
	machine_free(machine);
}

/* ---- Records that are none of this file's: whose inode stays as it is, keeps its content, too ---- */

static void apply(struct machine *machine, struct intent_record *record, unsigned lost)
{
	uint64_t txg;

	expect_done(machine, core_hold(machine->core, 64, &txg));
	record->txg = txg;
	expect_done(machine, datasets_apply(world.datasets, txg, record));
	core_release(machine->core, txg);
	expect_equal(datasets_lost(world.datasets)->changes, lost);
}

static void forged_program(struct machine *machine)
{
	uint8_t data[PIECE];
	struct object *object;
	struct dnode dnode;

	world_open(&world, machine, 0);
	struct fs_node *node = make(&world, world.root, "file", S_IFREG | 0644), *other = make(&world, world.root, "other", S_IFREG | 0644);
	put_version(node, 0, 1);
	put_version(other, 0, 1);
	sync_it();
	expect_done(machine, object_open(world.fs->objset, fs_number(node), &object));
	object_info(object, &dnode);
	object_close(object);
	block_fill(data, PIECE, 0, 2);
	struct intent_record inode = { .type = INTENT_INODE, .objset = fs_record(world.fs)->id, .object = fs_number(node), .offset = dnode.generation + 1,
				       .size = dnode.bonus_length, .content = dnode.bonus };
	struct intent_record write = { .type = INTENT_WRITE, .objset = inode.objset, .object = inode.object, .size = PIECE, .content = data };
	apply(machine, &inode, 1);
	apply(machine, &write, 2);
	expect(has_version(node, 0, 1));
	/* So does one that can't even be opened: a moment later it might. */
	inode.object += 1000;
	apply(machine, &inode, 3);
	expect_equal(dataset_find(world.datasets, "fs")->left_out.count, 2);
	/* The next file's inode doesn't end that: what lies beside the log is named behind all inodes. */
	inode.object = write.object = fs_number(other);
	expect_done(machine, object_open(world.fs->objset, fs_number(other), &object));
	object_info(object, &dnode);
	object_close(object);
	inode.offset = dnode.generation;
	apply(machine, &inode, 3);
	apply(machine, &write, 3);
	write.object = fs_number(node);
	apply(machine, &write, 4);
	expect(has_version(node, 0, 1) && has_version(other, 0, 2));
	/* Its own does, of a later group. */
	inode.object = fs_number(node);
	expect_done(machine, object_open(world.fs->objset, fs_number(node), &object));
	object_info(object, &dnode);
	object_close(object);
	inode.offset = dnode.generation;
	apply(machine, &inode, 4);
	apply(machine, &write, 4);
	expect(has_version(node, 0, 2));
	fs_put(node);
	fs_put(other);
	world_check(&world);
	world_close(&world);
}

static void test_forged(void **state)
{
	struct machine *machine = machine_made(2, 1);

	(void)state;
	machine_boot(machine, forged_program);
	machine_free(machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_rot), cmocka_unit_test(test_rot_of_inode), cmocka_unit_test(test_rot_of_owners), cmocka_unit_test(test_malformed_owners), cmocka_unit_test(test_destroy_without_owners),
					    cmocka_unit_test(test_forged) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
