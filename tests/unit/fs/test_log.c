/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Syncs of file systems through the intent log: which take no commit and which do, and that what they promised is there after a power cut. Random
 * operations under power cuts: test_model.c.
 */
#include "libpool/dataset/internal.h"
#include "libpool/fs/internal.h"
#include "tests/unit/fs/log.h"

/* Of each file what was synced, its size and times too. */
static struct {
	unsigned versions[64];
	uint64_t size;
	struct fs_attributes all;
} synced;

/* ---- What a database does ---- */

static void overwrite_program(struct machine *machine)
{
	world_open(&world, machine, 0);
	struct fs_node *node = make(&world, world.root, "file", S_IFREG | 0644), *small = make(&world, world.root, "small", S_IFREG | 0644);
	for (unsigned piece = 0; piece < 32; piece++)
		put_version(node, piece, 1);
	put_bytes(&world, small, 0, "first", 5);
	struct fs_set cut_off = { .what = FS_SET_SIZE, .size = 41 * PIECE + 10 };
	for (unsigned piece = 32; piece < 60; piece++)
		put_version(node, piece, 1);
	expect_done(machine, fs_set(node, &cut_off)); /* the bytes behind the end are still in its last record */
	sync_it();
	put_version(node, 0, 2);
	sync_it(); /* the first one makes the log */
	for (unsigned piece = 32; piece < 41; piece++)
		synced.versions[piece] = 1;
	for (unsigned i = 0; i < 40; i++) {
		rt_sleep(machine->rt, NS_PER_S / 10); /* for the times */
		put_version(node, i % 32, 3 + i);
		synced.versions[i % 32] = 3 + i;
		expect(!commits());
	}
	put_bytes(&world, node, 41 * PIECE + 1000, "gap", 3); /* in its last record */
	expect(!commits());
	put_version(node, 42, 50); /* at its end */
	put_version(node, 43, 51);
	expect(!commits());
	put_bytes(&world, small, 2, "changed", 7); /* within the inode */
	expect(!commits());
	put_bytes(&world, node, 50 * PIECE + 10, "beyond", 6); /* a gap, and the end of the last record before it */
	expect(!commits());
	fs_put(node); /* nobody has it open any more */
	node = look(world.root, "file");
	synced.all = attributes(node);
	/* Nothing changed: nothing is written. */
	uint64_t operations = machine->set->operations;
	sync_it();
	expect_equal(machine->set->operations, operations);
	put_version(node, 5, 99); /* of this nothing is promised */
	fs_put(small);
	fs_put(node);
	cut(machine);
}

static void expect_synced(struct fs_node *node)
{
	uint8_t data[6 * PIECE], zeroes[6 * PIECE] = { 0 };
	struct fs_attributes all = attributes(node);

	for (unsigned piece = 0; piece < 41; piece++)
		expect(has_version(node, piece, synced.versions[piece]));
	expect(has_version(node, 42, 50) && has_version(node, 43, 51));
	expect_equal(get_bytes(&world, node, 41 * PIECE + 10, data, PIECE - 10), PIECE - 10);
	expect(memcmp(data, zeroes, 990) == 0 && memcmp(data + 990, "gap", 3) == 0);
	expect_equal(get_bytes(&world, node, 44 * PIECE, data, 6 * PIECE), 6 * PIECE);
	expect(memcmp(data, zeroes, sizeof(data)) == 0);
	expect_equal(get_bytes(&world, node, 50 * PIECE + 10, data, PIECE), 6);
	expect(memcmp(data, "beyond", 6) == 0);
	expect_equal(all.size, synced.all.size);
	expect_equal(all.changes, synced.all.changes);
	expect(memcmp(&all.times[FS_TIME_MODIFY], &synced.all.times[FS_TIME_MODIFY], sizeof(struct fs_time)) == 0);
}

static void see_program(struct machine *machine)
{
	uint8_t data[16];

	world_open(&world, machine, 0);
	struct fs_node *node = look(world.root, "file"), *small = look(world.root, "small");
	expect_synced(node);
	expect_equal(get_bytes(&world, small, 0, data, sizeof(data)), 9);
	expect(memcmp(data, "fichanged", 9) == 0);
	fs_put(small);
	fs_put(node);
	world_check(&world);
	world_close(&world);
}

static void test_overwrite(void **state)
{
	(void)state;
	for (unsigned m = 0; m < 3; m++) {
		struct machine *machine = machine_made(m ? 2 : 1, m);
		machine_boot_mode(machine, overwrite_program, SIM_CRASH_NONE);
		/* Looking changes nothing; then each import is cut in the middle of what it makes again, a few writes later. */
		machine->read_only = true;
		machine_boot(machine, see_program);
		machine->read_only = false;
		for (unsigned again = 0; again < 8; again++) {
			sim_disks_cut_at(machine->set, machine->set->operations + 3 + again * 5);
			if (machine_boot_mode(machine, see_program, SIM_CRASH_ANY))
				break;
		}
		machine_boot(machine, see_program);
		machine_boot(machine, see_program);
		machine_free(machine);
	}
}

/* ---- What has no record ---- */

static void names_program(struct machine *machine)
{
	struct fs_set set = { .what = FS_SET_SIZE, .size = 3 * PIECE + 5 }, mode = { .what = FS_SET_MODE, .mode = 0600 };

	world_open(&world, machine, 0);
	struct fs_node *node = make(&world, world.root, "file", S_IFREG | 0644), *other;
	for (unsigned piece = 0; piece < 8; piece++)
		put_version(node, piece, 1);
	sync_it();
	put_version(node, 0, 2);
	sync_it();
	for (unsigned what = 0; what < 10; what++) {
		put_version(node, 1, 10 + what);
		expect(!commits());
		put_version(node, 2, 10 + what);
		switch (what) {
		case 0: fs_put(make(&world, world.root, "new", S_IFREG | 0644)); break;
		case 1: expect_done(machine, rename_to(world.root, "new", world.root, "renamed", 0)); break;
		case 2: expect_done(machine, unlink_name(world.root, "renamed")); break;
		case 3: expect_done(machine, fs_set(node, &set)); break;
		case 4: expect_done(machine, fs_set(node, &mode)); break;
		case 5: expect_done(machine, fs_xattr_set(node, "user.a", "value", 5, 0)); break;
		case 6: expect_done(machine, fs_allocate(node, 3, 0, PIECE, 0)); break;
		case 7: /* the first record of a file that had none */
			other = make(&world, world.root, "other", S_IFREG | 0644);
			sync_it();
			put_version(other, 0, 1);
			fs_put(other);
			break;
		case 8: /* a file that had no name any more goes with its last handle */
			other = make(&world, world.root, "gone", S_IFREG | 0644);
			put_version(other, 0, 1);
			expect_done(machine, unlink_name(world.root, "gone"));
			sync_it();
			fs_put(other);
			break;
		default: /* content that moves out of the inode */
			other = make(&world, world.root, "inside", S_IFREG | 0644);
			put_bytes(&world, other, 0, "inside", 6);
			sync_it();
			put_version(other, 1, 1);
			fs_put(other);
		}
		put_version(node, 3, 10 + what);
		expect(commits());
	}
	/* More than the log is for: a commit will have it, so nobody keeps where it is. */
	put_version(node, 1, 30);
	expect_equal(world.fs->dataset->files[core_open_txg(machine->core) & 1].count, 1);
	put_bytes(&world, node, 64 * MIB, "behind a gap", 12);
	expect_equal(world.fs->dataset->files[core_open_txg(machine->core) & 1].count, 0);
	expect(commits());
	for (unsigned piece = 0; piece < 4000; piece++)
		put_version(node, piece, 3);
	expect(commits());
	put_version(node, 0, 100);
	expect(!commits());
	/* With logbias=throughput each byte is written once. */
	expect_done(machine, dataset_set(world.datasets, "fs", SETTING_LOGBIAS, &(uint8_t){ LOGBIAS_THROUGHPUT }, &machine->error));
	sync_it();
	put_version(node, 0, 101);
	expect(commits());
	fs_put(node);
	world_check(&world);
	world_close(&world);
}

static void test_names(void **state)
{
	struct machine *machine = machine_made(2, 1);

	(void)state;
	machine_boot(machine, names_program);
	machine_free(machine);
}

/* ---- Times of access: they wait for a sync, or for the last handle to go ---- */

static struct fs_time accessed[2];

static void access_program(struct machine *machine)
{
	world_open(&world, machine, 0);
	expect_done(machine, dataset_set(world.datasets, "fs", SETTING_ATIME, &(uint8_t){ ATIME_ON }, &machine->error));
	struct fs_node *held = make(&world, world.root, "held", S_IFREG | 0644), *put = make(&world, world.root, "put", S_IFREG | 0644);
	put_version(held, 0, 1);
	sync_it();
	put_version(held, 0, 2);
	sync_it();
	rt_sleep(machine->rt, 5 * NS_PER_S);
	fs_touch(held);
	fs_touch(put);
	fs_touch(held); /* once more */
	accessed[0] = attributes(held).times[FS_TIME_ACCESS];
	accessed[1] = attributes(put).times[FS_TIME_ACCESS];
	fs_put(put);
	expect(!commits());
	uint64_t operations = machine->set->operations;
	sync_it(); /* nothing waits any more */
	expect_equal(machine->set->operations, operations);
	fs_put(held);
	cut(machine);
}

static void see_access(struct machine *machine)
{
	world_open(&world, machine, 0);
	for (unsigned i = 0; i < 2; i++) {
		struct fs_node *node = look(world.root, i ? "put" : "held");
		expect(memcmp(&attributes(node).times[FS_TIME_ACCESS], &accessed[i], sizeof(accessed[i])) == 0);
		fs_put(node);
	}
	world_close(&world);
}

static void test_access(void **state)
{
	struct machine *machine = machine_made(2, 1);

	(void)state;
	machine_boot_mode(machine, access_program, SIM_CRASH_NONE);
	machine_boot(machine, see_access);
	machine_free(machine);
}

/* ---- A write of several records that others find half done ---- */

#define RECORD (4 * PIECE)
#define WIDE_BYTES (3 * MIB)

struct wide_writer {
	struct fs_node *node;
	uint64_t offset;
	size_t length;
	bool done;
};

static void fill(struct fs_node *node, uint64_t offset, size_t length, int byte)
{
	uint8_t *data = malloc(length);

	memset(data, byte, length);
	put_bytes(&world, node, offset, data, length);
	free(data);
}

static void make_wide(struct machine *machine)
{
	world_open(&world, machine, 14);
	struct fs_node *node = make(&world, world.root, "wide", S_IFREG | 0644);
	fill(node, 0, WIDE_BYTES - PIECE, 1);
	fs_put(node);
	world_close(&world);
}

static void wide_fiber(void *argument)
{
	struct wide_writer *writer = argument;

	fill(writer->node, writer->offset, writer->length, 3);
	writer->done = true;
}

/* Up to where the write waits for a record that it changes a part of. */
static void begin_wide(struct wide_writer *writer, uint64_t offset, size_t length)
{
	*writer = (struct wide_writer){ writer->node, offset, length, false };
	expect_equal(rt_spawn(world.machine->rt, "writer", wide_fiber, writer), 0);
	rt_yield(world.machine->rt);
	expect(!writer->done);
}

static struct {
	uint64_t offset;
	size_t length;
} wide;

/* What it writes over was logged as changed before, and is gathered again. */
static void sync_half_written(struct machine *machine)
{
	struct wide_writer writer;

	world_open(&world, machine, 0);
	writer.node = look(world.root, "wide");
	fill(writer.node, 8 * RECORD, PIECE, 2);
	sync_it(); /* there is a log from here on */
	fill(writer.node, 0, RECORD, 2);
	begin_wide(&writer, wide.offset, wide.length);
	expect(!commits());
	cut(machine);
}

/* One that a commit finds: it waits for all of it, wherever it lies. */
static void commit_half_written(struct machine *machine)
{
	struct wide_writer writer;

	world_open(&world, machine, 0);
	writer.node = look(world.root, "wide");
	fill(writer.node, 0, RECORD, 2);
	begin_wide(&writer, wide.offset, wide.length);
	expect_done(machine, core_commit_forced(machine->core));
	cut(machine);
}

static void see_wide(struct machine *machine)
{
	uint8_t *data = malloc(WIDE_BYTES);

	world_open(&world, machine, 0);
	struct fs_node *node = look(world.root, "wide");
	size_t length = get_bytes(&world, node, 0, data, WIDE_BYTES), end = wide.offset + wide.length;
	bool written = length > wide.offset && data[wide.offset] == 3;
	expect_equal(length, written && end > WIDE_BYTES - PIECE ? end : WIDE_BYTES - PIECE);
	for (size_t i = 0; i < length; i++) {
		int old = i < RECORD ? 2 : i >= 8 * RECORD && i < 8 * RECORD + PIECE ? data[i] : i < WIDE_BYTES - PIECE ? 1 : 0;
		expect_equal(data[i], written && i >= wide.offset && i < end ? 3 : old);
	}
	free(data);
	fs_put(node);
	world_check(&world);
	world_close(&world);
}

static void test_wide(void **state)
{
	/* A whole record and a part of the next; parts of the first and the last; over the end; behind it, of whose last record the rest must be zeros. */
	static const struct {
		uint64_t offset;
		size_t length;
		void (*program)(struct machine *machine);
	} cases[] = {
		{ 0, RECORD + PIECE, sync_half_written },
		{ PIECE, 5 * RECORD, sync_half_written },
		{ WIDE_BYTES - 3 * RECORD - 10, 3 * RECORD, sync_half_written },
		{ WIDE_BYTES - PIECE + 100, PIECE - 200, sync_half_written },
		{ PIECE, 1 * MIB, commit_half_written },
		{ MIB - 100, 1 * MIB, commit_half_written },
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct machine *machine = machine_made(2, 1);
		wide.offset = cases[i].offset;
		wide.length = cases[i].length;
		machine_boot(machine, make_wide);
		expect(!machine_boot_mode(machine, cases[i].program, SIM_CRASH_NONE));
		machine_boot(machine, see_wide);
		machine_free(machine);
	}
}

/* ---- Several at a time, and commits under way ---- */

struct worker {
	struct fs_node *node;
	unsigned first, versions[16];
	struct rt_group *group;
};

static void worker_fiber(void *argument)
{
	struct worker *worker = argument;
	struct machine *machine = world.machine;

	for (unsigned i = 1; i <= 60; i++) {
		unsigned piece = worker->first + i % 16;
		put_version(worker->node, piece, i);
		if (i % 5 == worker->first / 16 % 5)
			rt_sleep(machine->rt, 100000);
		if (i % 20 == 19)
			expect_done(machine, core_commit_forced(machine->core));
		sync_it();
		worker->versions[i % 16] = i;
	}
	rt_group_done(machine->rt, worker->group, 0);
}

static struct worker workers[4];

static void workers_program(struct machine *machine)
{
	struct rt_group group;

	world_open(&world, machine, 14); /* parts of records */
	struct fs_node *node = make(&world, world.root, "file", S_IFREG | 0644);
	put_version(node, 63, 1);
	sync_it();
	rt_group_init(&group);
	uint64_t commits_before = core_commits(machine->core);
	for (unsigned i = 0; i < 4; i++) {
		workers[i] = (struct worker){ node, i * 16, { 0 }, &group };
		rt_group_add(&group);
		expect_equal(rt_spawn(machine->rt, "worker", worker_fiber, &workers[i]), 0);
	}
	(void)rt_group_wait(machine->rt, &group);
	/* Each group serves whoever waits. */
	expect(core_log_counters(machine->core)->groups < 4 * 60);
	expect(core_commits(machine->core) - commits_before < 60);
	fs_put(node);
	cut(machine);
}

static void see_workers(struct machine *machine)
{
	world_open(&world, machine, 0);
	struct fs_node *node = look(world.root, "file");
	for (unsigned i = 0; i < 4; i++)
		for (unsigned piece = 0; piece < 16; piece++)
			expect(has_version(node, i * 16 + piece, workers[i].versions[piece]));
	fs_put(node);
	world_check(&world);
	world_close(&world);
}

static void test_workers(void **state)
{
	struct machine *machine = machine_made(2, 1);

	(void)state;
	machine_boot_mode(machine, workers_program, SIM_CRASH_NONE);
	machine_boot(machine, see_workers);
	machine_free(machine);
}

/* ---- At the wrong moment ---- */

struct step {
	struct fs_node *node;
	unsigned piece;
	uint64_t txg; /* of its change */
	struct rt_group group;
};

static void sync_fiber(void *argument)
{
	struct step *step = argument;

	put_version(step->node, step->piece, 5);
	step->txg = core_open_txg(world.machine->core);
	sync_it();
	rt_group_done(world.machine->rt, &step->group, 0);
}

static void commit_fiber(void *argument)
{
	struct step *step = argument;

	expect_done(world.machine, core_commit_forced(world.machine->core));
	rt_group_done(world.machine->rt, &step->group, 0);
}

static void begin(struct step *step, struct fs_node *node, unsigned piece, void (*fiber)(void *argument))
{
	*step = (struct step){ .node = node, .piece = piece };
	rt_group_init(&step->group);
	rt_group_add(&step->group);
	expect_equal(rt_spawn(world.machine->rt, "step", fiber, step), 0);
}

static void moments_program(struct machine *machine)
{
	struct step first, second;
	struct core *core;

	world_open(&world, machine, 0);
	core = machine->core;
	struct fs_node *node = make(&world, world.root, "file", S_IFREG | 0644);
	for (unsigned piece = 0; piece < 8; piece++)
		put_version(node, piece, 1);
	sync_it();
	put_version(node, 0, 2);
	sync_it();
	/* What was changed in the txg that is being committed is in no group. */
	put_version(node, 0, 3);
	uint64_t txg = core_open_txg(core);
	begin(&first, node, 0, commit_fiber);
	while (core_open_txg(core) == txg)
		rt_yield(machine->rt);
	put_version(node, 1, 3);
	expect(core_committed_txg(core) < txg);
	sync_it();
	expect(core_committed_txg(core) == txg);
	(void)rt_group_wait(machine->rt, &first.group);
	/* A commit that is under way has a new name: what comes after it can't be logged before. */
	fs_put(make(&world, world.root, "new name", S_IFREG | 0644));
	txg = core_open_txg(core);
	begin(&first, node, 0, commit_fiber);
	while (core_open_txg(core) == txg)
		rt_yield(machine->rt);
	put_version(node, 1, 4);
	expect(core_committed_txg(core) < txg);
	sync_it();
	expect(core_committed_txg(core) == txg);
	(void)rt_group_wait(machine->rt, &first.group);
	/* A change of names while one waits for the group that is to have his bytes. */
	begin(&first, node, 2, sync_fiber);
	while (!core->intent.writing)
		rt_yield(machine->rt);
	begin(&second, node, 3, sync_fiber);
	while (second.txg == 0)
		rt_yield(machine->rt);
	expect(core->intent.writing);
	fs_put(make(&world, world.root, "new", S_IFREG | 0644));
	(void)rt_group_wait(machine->rt, &second.group);
	expect(core_committed_txg(core) >= second.txg);
	(void)rt_group_wait(machine->rt, &first.group);
	expect(!core_halted(core, NULL));
	fs_put(node);
	world_check(&world);
	world_close(&world);
}

static void test_moments(void **state)
{
	struct machine *machine = machine_made(2, 1);

	(void)state;
	machine_boot(machine, moments_program);
	machine_free(machine);
}

/* ---- Volumes beside it: their flushes don't log files that nobody syncs, and the other way round nothing is lost ---- */

static void volume_program(struct machine *machine)
{
	uint8_t data[PIECE] = { 1 };

	world_open(&world, machine, 0);
	expect_done(machine, volume_create(world.datasets, "v", MIB, PIECE, 0, &machine->error));
	struct volume *volume = pool_volume(machine, world.datasets, "v");
	struct fs_node *node = make(&world, world.root, "file", S_IFREG | 0644);
	for (unsigned piece = 0; piece < 64; piece++)
		put_version(node, piece, 1);
	sync_it();
	expect_done(machine, volume_write(volume, 0, PIECE, data));
	expect_done(machine, volume_flush(volume));
	for (unsigned piece = 0; piece < 42; piece++)
		put_version(node, piece, 7);
	uint64_t cells = core_log_counters(machine->core)->cells, txg = core_committed_txg(machine->core);
	expect_done(machine, volume_write(volume, PIECE, PIECE, data));
	expect_done(machine, volume_flush(volume));
	expect(core_log_counters(machine->core)->cells <= cells + 2);
	expect(!commits());
	/* A change of names stops the files, and not the volume. */
	fs_put(make(&world, world.root, "new", S_IFREG | 0644));
	expect_done(machine, volume_write(volume, 2 * PIECE, PIECE, data));
	expect_done(machine, volume_flush(volume));
	expect_equal(core_committed_txg(machine->core), txg);
	fs_put(node);
	volume_close(volume);
	cut(machine);
}

static void see_volume(struct machine *machine)
{
	uint8_t data[3 * PIECE];

	world_open(&world, machine, 0);
	struct volume *volume = pool_volume(machine, world.datasets, "v");
	struct fs_node *node = look(world.root, "file");
	for (unsigned piece = 0; piece < 42; piece++)
		expect(has_version(node, piece, 7));
	expect_done(machine, volume_read(volume, 0, sizeof(data), data));
	expect(data[0] == 1 && data[PIECE] == 1 && data[2 * PIECE] == 1);
	fs_put(node);
	volume_close(volume);
	world_check(&world);
	world_close(&world);
}

static void test_volume(void **state)
{
	struct machine *machine = machine_made(2, 1);

	(void)state;
	machine_boot_mode(machine, volume_program, SIM_CRASH_NONE);
	machine_boot(machine, see_volume);
	machine_free(machine);
}

/* ---- Syncs while others commit without a pause and the file changes all the time ---- */

static struct {
	struct fs_node *node;
	bool stop;
	uint64_t last; /* commits, then it ends whatever has become of the sync */
} busy;

static void commit_on(void *argument)
{
	struct core *core = world.machine->core;

	while (!busy.stop) {
		expect_done(world.machine, core_commit_forced(core));
		busy.stop |= core_commits(core) >= busy.last;
	}
	rt_group_done(world.machine->rt, argument, 0);
}

static void write_on(void *argument)
{
	while (!busy.stop) {
		put_version(busy.node, 1, 7);
		rt_sleep(world.machine->rt, 20000);
	}
	rt_group_done(world.machine->rt, argument, 0);
}

static void busy_program(struct machine *machine)
{
	static void (*const fibers[])(void *) = { commit_on, commit_on, write_on };
	struct rt_group group;

	world_open(&world, machine, 0);
	busy.node = make(&world, world.root, "file", S_IFREG | 0644);
	for (unsigned piece = 0; piece < 4; piece++)
		put_version(busy.node, piece, 1);
	sync_it();
	busy.stop = false;
	busy.last = core_commits(machine->core) + 300;
	rt_group_init(&group);
	for (unsigned i = 0; i < 3; i++) {
		rt_group_add(&group);
		expect_done(machine, rt_spawn(machine->rt, "busy", fibers[i], &group));
	}
	for (unsigned i = 0; i < 6; i++) {
		rt_sleep(machine->rt, 5000000);
		put_version(busy.node, 0, 3);
		uint64_t mine = core_open_txg(machine->core);
		sync_it();
		expect(!busy.stop && core_committed_txg(machine->core) <= mine + 1);
	}
	busy.stop = true;
	(void)rt_group_wait(machine->rt, &group);
	fs_put(busy.node);
	world_close(&world);
}

static void test_busy(void **state)
{
	struct machine *machine = machine_made(2, 1);

	(void)state;
	machine_boot(machine, busy_program);
	machine_free(machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_overwrite), cmocka_unit_test(test_names), cmocka_unit_test(test_wide), cmocka_unit_test(test_workers),
					    cmocka_unit_test(test_moments), cmocka_unit_test(test_access), cmocka_unit_test(test_volume),
					    cmocka_unit_test(test_busy) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
