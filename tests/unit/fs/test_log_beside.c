/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Syncs of files whose records lie beside the log: what crashes leave of them, and what becomes of a record that changes, or goes, before the commit that
 * would take it over.
 */
#include <fcntl.h>
#include <linux/falloc.h>

#include "libpool/dataset/internal.h"
#include "libpool/fs/internal.h"
#include "tests/unit/fs/log.h"

#define FILES 2u
#define SIZE_MAX_FILE (4 * MIB)

static const char *const names[FILES] = { "one", "two" };

/* What the files are to be. */
struct content {
	size_t size[FILES];
	bool there[FILES];
	uint8_t data[FILES][SIZE_MAX_FILE];
};
static struct content model;
static struct fs_node *nodes[FILES];
static size_t record; /* bytes */
static bool plain;    /* nothing is compressed: otherwise a record fills no row, and two do */

static void write_both(unsigned file, uint64_t offset, size_t length, unsigned version)
{
	block_fill(&model.data[file][offset], length, offset + file, version);
	if (offset + length > model.size[file])
		model.size[file] = offset + length;
	if (nodes[file])
		put_bytes(&world, nodes[file], offset, &model.data[file][offset], length);
}

static uint64_t placed(void)
{
	return core_log_counters(world.machine->core)->placed;
}

static void open_nodes(void)
{
	for (unsigned file = 0; file < FILES; file++)
		nodes[file] = look(world.root, names[file]);
}

static void close_nodes(void)
{
	for (unsigned file = 0; file < FILES; file++) {
		fs_put(nodes[file]);
		nodes[file] = NULL;
	}
}

static void set(unsigned setting, uint8_t value)
{
	expect_done(world.machine, dataset_set(world.datasets, "fs", setting, &value, &world.machine->error));
}

/* Both files, a log, and segments beside it. */
static void begin_files(struct machine *machine, size_t bytes)
{
	uint8_t shift = 0;

	while (1u << shift < record)
		shift++;
	memset(&model, 0, sizeof(model));
	world_open(&world, machine, shift);
	if (plain)
		set(SETTING_COMPRESSION, BLOCK_COMPRESS_OFF);
	for (unsigned file = 0; file < FILES; file++) {
		nodes[file] = make(&world, world.root, names[file], S_IFREG | 0644);
		model.there[file] = true;
		write_both(file, 0, bytes, 1);
	}
	sync_it();
	for (unsigned i = 0; i < 2; i++) { /* the first makes the log, the second wants the segments */
		write_both(0, 0, record, 1);
		sync_it();
		expect_done(machine, core_commit_forced(machine->core));
	}
	expect(store_ahead_possible(machine->core->store));
}

static bool is_model(void)
{
	uint8_t *data = malloc(SIZE_MAX_FILE);
	bool same = true;

	for (unsigned file = 0; file < FILES; file++) {
		struct fs_node *node = look(world.root, names[file]);
		same &= !!node == model.there[file];
		if (node && same)
			same = get_bytes(&world, node, 0, data, SIZE_MAX_FILE) == model.size[file] && memcmp(data, model.data[file], model.size[file]) == 0;
		fs_put(node);
	}
	free(data);
	return same;
}

/* ---- A crash between any two writes ---- */

#define ROUNDS 6u

static struct {
	size_t bytes;          /* that the files begin with */
	unsigned step;         /* the writes that it gets to make */
	bool begun, decided;   /* decided: an import has shown what is left */
	unsigned acknowledged; /* rounds */
} crash;

/*
 * A write of whole records, and an append of one and a half; one that begins and ends within records, and a part of one; whole ones again. Two writes in each
 * round, which are synced together.
 */
static void write_round(unsigned round)
{
	unsigned version = round + 2;

	switch (round % 3) {
	case 0:
		write_both(0, record, 2 * record, version);
		write_both(1, model.size[1], record + record / 2, version);
		break;
	case 1:
		write_both(0, record / 2, crash.bytes / 2, version); /* of the larger records 1 MiB: still one change */
		write_both(1, 100, 200, version);
		break;
	default:
		write_both(1, 0, record, version);
		write_both(0, 2 * record, record, version);
	}
}

static void rounds_program(struct machine *machine)
{
	begin_files(machine, crash.bytes);
	crash.begun = true;
	sim_disks_cut_at(machine->set, machine->set->operations + crash.step);
	uint64_t before = placed();
	for (unsigned round = 0; round < ROUNDS; round++) {
		write_round(round);
		expect(!commits());
		crash.acknowledged = round + 1;
		if (round == 3)
			expect_done(machine, core_commit_forced(machine->core));
	}
	expect(placed() > before + (plain ? 4 : 0));
	expect_equal(core_log_counters(machine->core)->fallbacks, 0);
	close_nodes();
	world_close(&world);
}

/* Both files are as after a number of rounds, and what was acknowledged is there; each import finds the same. */
static void see_rounds(struct machine *machine)
{
	unsigned round = 0;

	memset(nodes, 0, sizeof(nodes));
	memset(&model, 0, sizeof(model));
	world_open(&world, machine, 0);
	for (unsigned file = 0; file < FILES; file++) {
		model.there[file] = true;
		write_both(file, 0, crash.bytes, 1);
	}
	while (round < crash.acknowledged || !is_model()) {
		expect(round < ROUNDS);
		write_round(round++);
	}
	expect(!crash.decided || round == crash.acknowledged);
	crash.acknowledged = round;
	crash.decided = true;
	world_check(&world);
	world_close(&world);
}

/* With as many disks gone as may be, too, and with replays that are interrupted. False: the program came to its end. */
static bool crash_once(unsigned k, unsigned m, uint64_t disk_bytes)
{
	struct machine *machine = machine_new(k + m + (k > 1), disk_bytes, k, m, 100 * k + crash.step);
	unsigned lost = crash.step % 3 ? m : 0, first = crash.step / 3;

	for (unsigned i = 0; i < machine->disks; i++)
		machine->set->disks[i]->fua = (crash.step + i) % 2;
	machine->options.commit_interval_ns = 1000 * NS_PER_S;
	machine_boot(machine, machine_create_program);
	crash.begun = crash.decided = false;
	crash.acknowledged = 0;
	plain = crash.step / 2 % 2;
	bool ended = machine_boot_mode(machine, rounds_program, SIM_CRASH_ANY);
	expect(crash.begun);
	for (unsigned i = 0; i < lost; i++)
		sim_disk_vanish(machine->set->disks[(first + i) % machine->disks], SIM_CRASH_NONE);
	for (unsigned again = 0; again < 12; again++) {
		sim_disks_cut_at(machine->set, machine->set->operations + again * 5);
		if (machine_boot_mode(machine, see_rounds, SIM_CRASH_ANY))
			break;
	}
	machine_boot(machine, see_rounds);
	for (unsigned i = 0; i < lost; i++)
		sim_disk_return(machine->set->disks[(first + i) % machine->disks]);
	machine_boot(machine, see_rounds);
	machine_free(machine);
	return !ended;
}

static void test_crashes(void **state)
{
	(void)state;
	record = 16384;
	crash.bytes = 4 * record;
	for (crash.step = 0; crash_once(2, 2, 64 * MIB);)
		crash.step += SANITIZED ? 7 : 2;
	for (crash.step = 0; crash_once(1, 1, 64 * MIB);)
		crash.step += SANITIZED ? 9 : 5;
	for (crash.step = 0; crash_once(1, 0, 64 * MIB);)
		crash.step += SANITIZED ? 7 : 3;
}

/* A log so large that a write of 1 MiB goes there. */
static void test_large(void **state)
{
	(void)state;
	record = 131072;
	crash.bytes = 2 * MIB;
	for (crash.step = 0; crash_once(4, 2, 4096 * MIB);)
		crash.step += SANITIZED ? 17 : 7;
}

/* ---- What changes, or goes, after it was synced ---- */

enum event {
	NOTHING, OVERWRITE_PART, OVERWRITE, PUNCH, CUT_WITHIN, CUT_BEFORE, CUT_AND_GROW, UNLINK, UNLINK_OPEN, REPLACE, COPY_OVER, COPY_FROM, EXCHANGE,
	OTHER_RECORDS, OTHER_COMPRESSION, EVENTS
};

static struct {
	enum event event;
	bool synced; /* after it */
	enum { CUT, COMMIT, EXPORT, ENDS } end;
	struct content before; /* as synced first */
} then;

static void cut_off(struct fs_node *node, unsigned file, uint64_t size)
{
	struct fs_set set = { .what = FS_SET_SIZE, .size = size };

	expect_done(world.machine, fs_set(node, &set));
	if (size < model.size[file])
		memset(&model.data[file][size], 0, model.size[file] - size);
	model.size[file] = size;
}

/* Records 1 and 2 of the first file lie beside the log. */
static void happen(void)
{
	struct machine *machine = world.machine;
	uint64_t done;

	switch (then.event) {
	case OVERWRITE_PART: write_both(0, record + 5, 100, 7); break;
	case OVERWRITE: write_both(0, record, record, 7); break;
	case PUNCH:
		expect_done(machine, fs_allocate(nodes[0], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, record + 100, 2 * record, 0));
		memset(&model.data[0][record + 100], 0, 2 * record);
		break;
	case CUT_WITHIN: cut_off(nodes[0], 0, record + 100); break;
	case CUT_BEFORE: cut_off(nodes[0], 0, record); break;
	case CUT_AND_GROW:
		cut_off(nodes[0], 0, record + 100);
		write_both(0, 3 * record, record, 7);
		break;
	case UNLINK:
	case UNLINK_OPEN:
	case REPLACE:
		expect_done(machine, unlink_name(world.root, names[0]));
		model.there[0] = false;
		if (then.event == UNLINK_OPEN)
			put_bytes(&world, nodes[0], record, model.data[1], record);
		fs_put(nodes[0]);
		nodes[0] = NULL;
		if (then.event != REPLACE)
			break;
		nodes[0] = make(&world, world.root, names[0], S_IFREG | 0644);
		model.there[0] = true;
		model.size[0] = 0;
		write_both(0, 0, 2 * record, 9);
		break;
	case COPY_OVER:
		expect_done(machine, fs_copy_range(nodes[1], 0, nodes[0], record, record, 0, &done));
		memcpy(&model.data[0][record], model.data[1], record);
		break;
	case COPY_FROM:
		expect_done(machine, fs_copy_range(nodes[0], record, nodes[1], 0, record, 0, &done));
		memcpy(model.data[1], &model.data[0][record], record);
		write_both(0, record, record, 7);
		break;
	case EXCHANGE:
		expect_done(machine, rename_to(world.root, names[0], world.root, names[1], FS_RENAME_EXCHANGE));
		for (size_t i = 0; i < SIZE_MAX_FILE; i++) {
			uint8_t byte = model.data[0][i];
			model.data[0][i] = model.data[1][i];
			model.data[1][i] = byte;
		}
		break;
	case OTHER_RECORDS: set(SETTING_RECORDSIZE, 17); write_both(0, record, record, 7); break;
	case OTHER_COMPRESSION: set(SETTING_COMPRESSION, plain ? BLOCK_COMPRESS_AUTO : BLOCK_COMPRESS_OFF); write_both(0, 2 * record + 9, 9, 7); break;
	default: break;
	}
}

static void then_program(struct machine *machine)
{
	begin_files(machine, 4 * record);
	uint64_t before = placed();
	write_both(0, record, 2 * record, 3);
	write_both(1, 3 * record, record, 3);
	expect(!commits());
	expect_equal(placed(), before + 3);
	then.before = model;
	happen();
	if (then.synced)
		sync_it();
	if (then.end == COMMIT)
		expect_done(machine, core_commit_forced(machine->core));
	if (then.end != EXPORT)
		cut(machine);
	close_nodes();
	world_close(&world);
}

static void see_then(struct machine *machine)
{
	world_open(&world, machine, 0);
	expect(is_model());
	world_check(&world);
	set(SETTING_RECORDSIZE, 14);
	set(SETTING_COMPRESSION, BLOCK_COMPRESS_AUTO);
	/* What nobody took is nobody's: it can be written again. */
	open_nodes();
	for (unsigned file = 0; file < FILES; file++)
		if (nodes[file])
			write_both(file, 0, 2 * record, 11);
	sync_it();
	expect(is_model());
	close_nodes();
	world_close(&world);
}

static void test_then(void **state)
{
	(void)state;
	record = 16384;
	for (then.event = 0; then.event < EVENTS; then.event++)
		for (unsigned i = 0; i < 4 * ENDS; i++) {
			struct machine *machine = machine_made(2, 1);
			plain = i % 2;
			then.synced = i / 2 % 2;
			then.end = i / 4;
			expect(machine_boot_mode(machine, then_program, SIM_CRASH_NONE) == (then.end == EXPORT));
			memset(nodes, 0, sizeof(nodes));
			if (then.end == CUT && !then.synced)
				model = then.before;
			machine_boot(machine, see_then);
			machine_boot(machine, see_then);
			machine_free(machine);
		}
}

/* ---- Which records ---- */

static void which_program(struct machine *machine)
{
	begin_files(machine, 4 * record);
	uint64_t before = placed();
	/* Pieces that fill a record by and by, before it is synced. */
	for (unsigned i = 0; i < 4; i++)
		write_both(0, record + i * record / 4, record / 4, 20 + i);
	expect(!commits());
	expect_equal(placed(), before + 1);
	/* What changes again in the same txg is logged: not a row for each of its states. */
	for (unsigned i = 0; i < 3; i++) {
		write_both(0, record, record, 30 + i);
		expect(!commits());
	}
	expect_equal(placed(), before + 1);
	write_both(0, 0, record - 1, 40);
	write_both(0, 2 * record + 1, record, 41);
	expect(!commits());
	expect_equal(placed(), before + 1);
	/* Without its log nothing is written beside it either. */
	set(SETTING_LOGBIAS, LOGBIAS_THROUGHPUT);
	write_both(1, record, record, 42);
	sync_it();
	expect_equal(placed(), before + 1);
	set(SETTING_LOGBIAS, LOGBIAS_LATENCY);
	expect_done(machine, core_commit_forced(machine->core));
	write_both(1, record, record, 43);
	expect(!commits());
	expect_equal(placed(), before + 2);
	cut(machine);
}

static void see_which(struct machine *machine)
{
	world_open(&world, machine, 0);
	expect(is_model());
	expect(!machine->read_only || core_log_counters(machine->core)->replayed > 0);
	world_check(&world);
	world_close(&world);
}

static void test_which(void **state)
{
	(void)state;
	record = 16384;
	plain = true;
	struct machine *machine = machine_made(2, 1);
	expect(!machine_boot_mode(machine, which_program, SIM_CRASH_NONE));
	/* Looking changes nothing. */
	machine->read_only = true;
	machine_boot(machine, see_which);
	machine_boot(machine, see_which);
	machine->read_only = false;
	machine_boot(machine, see_which);
	machine_boot(machine, see_which);
	machine_free(machine);
}

/* ---- A full pool: what is written and synced then is there, wherever it lies ---- */

static struct {
	uint64_t room, refused, placed;
} full;

static void full_program(struct machine *machine)
{
	uint8_t *data = malloc(MIB);
	size_t written = 1;
	struct sim_random random;

	begin_files(machine, 32 * record);
	struct fs_node *filler = make(&world, world.root, "filler", S_IFREG | 0644);
	sim_random_stream(&random, 9, "full", 0);
	for (uint64_t at = 0, size = MIB; size >= record; at += size) {
		for (size_t i = 0; i < size; i += 8)
			memcpy(data + i, &(uint64_t){ sim_random_next(&random) }, 8);
		if (fs_write(filler, at, size, data, 0, &written) < 0 || written < size)
			size /= 2;
	}
	/* Little room, which comes back with each commit. */
	struct fs_set set = { .what = FS_SET_SIZE, .size = attributes(filler).size - full.room };
	expect_done(machine, fs_set(filler, &set));
	for (unsigned i = 0; i < 4; i++)
		expect_done(machine, core_commit_forced(machine->core));
	uint64_t before = placed();
	for (unsigned i = 0; i < 200; i++) {
		unsigned file = i % 2;
		uint64_t offset = sim_random_below(&random, 32) * record;
		block_fill(data, record, offset + file, i + 2);
		int status = fs_write(nodes[file], offset, record, data, 0, &written);
		expect(status == 0 || status == -ENOSPC);
		if (status == 0)
			memcpy(&model.data[file][offset], data, record);
		full.refused += status != 0;
		sync_it();
		if (i % 16 == 15)
			expect_done(machine, core_commit_forced(machine->core));
	}
	full.placed += placed() - before;
	fs_put(filler);
	free(data);
	cut(machine);
}

static void see_full(struct machine *machine)
{
	world_open(&world, machine, 0);
	expect(is_model());
	world_check(&world);
	expect_done(machine, unlink_name(world.root, "filler"));
	sync_it();
	world_close(&world);
}

static void see_after_full(struct machine *machine)
{
	world_open(&world, machine, 0);
	expect(is_model());
	world_check(&world);
	world_close(&world);
}

static void test_full(void **state)
{
	(void)state;
	record = 16384;
	plain = true;
	for (full.room = MIB; full.room < 14 * MIB; full.room += 3 * MIB) {
		struct machine *machine = machine_made(2, 1);
		expect(!machine_boot_mode(machine, full_program, SIM_CRASH_NONE));
		machine_boot(machine, see_full);
		machine_boot(machine, see_after_full);
		machine_free(machine);
	}
	expect(full.placed > 0 && full.refused > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_crashes), cmocka_unit_test(test_large), cmocka_unit_test(test_then),
					    cmocka_unit_test(test_which), cmocka_unit_test(test_full) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
