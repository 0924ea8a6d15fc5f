/* Volumes come, change and go: what txgs hold of it, what a crash leaves, and calls that meet. */
#include "libpool/format/dva.h"
#include "libpool/txg/internal.h"
#include "tests/unit/dataset/volumes.h"

static struct machine *machine_made(unsigned disks, uint64_t size, unsigned k, unsigned m)
{
	struct machine *machine = machine_new(disks, size, k, m, disks * 10 + m);

	machine_boot(machine, machine_create_program);
	return machine;
}

static bool exists(struct datasets *datasets, const char *name)
{
	struct dataset_record *records;
	size_t count;
	bool found = false;

	expect_equal(volumes_list(datasets, &records, &count), 0);
	for (size_t i = 0; i < count; i++)
		found |= strcmp(records[i].name, name) == 0;
	free(records);
	return found;
}

static uint64_t size_of(struct machine *machine, struct datasets *datasets, const char *name)
{
	struct volume *volume = pool_volume(machine, datasets, name);
	uint64_t size = volume_record(volume)->volume_size;

	volume_close(volume);
	return size;
}

/* ---- What is done in T + 1 is no part of T ---- */

struct commit_call {
	struct machine *machine;
	struct rt_group group;
	uint64_t txg; /* that it committed */
};

static void commit_fiber(void *argument)
{
	struct commit_call *call = argument;

	call->txg = call->machine->core->open_txg;
	expect_equal(core_commit(call->machine->core), 0);
	rt_group_done(call->machine->rt, &call->group, 0);
}

static void leak_program(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	struct commit_call call = { .machine = machine };
	uint8_t data[4096];

	expect_done(machine, volume_create(datasets, "kept", 8 * MIB, 4096, 0, &machine->error));
	expect_done(machine, volume_create(datasets, "doomed", 8 * MIB, 4096, 0, &machine->error));
	struct volume *volume = pool_volume(machine, datasets, "kept");
	block_fill(data, sizeof(data), 5, 1);
	expect_done(machine, volume_write(volume, 5 * 4096, sizeof(data), data));
	expect_done(machine, volume_flush(volume));
	expect_done(machine, volume_write(volume, 6 * 4096, sizeof(data), data));
	rt_group_init(&call.group);
	rt_group_add(&call.group);
	expect_equal(rt_spawn(machine->rt, "commit", commit_fiber, &call), 0);
	while (!machine->core->syncing)
		rt_yield(machine->rt);
	/* All of this is T + 1's. */
	expect_done(machine, volume_resize(datasets, "kept", 16 * MIB, &machine->error));
	expect_done(machine, dataset_set(datasets, "kept", SETTING_COMPRESSION, &(uint8_t){ 4 }, &machine->error));
	expect_done(machine, volume_create(datasets, "late", 8 * MIB, 4096, 0, &machine->error));
	expect_done(machine, volume_destroy(datasets, "doomed", &machine->error));
	block_fill(data, sizeof(data), 5, 2);
	expect_done(machine, volume_write(volume, 5 * 4096, sizeof(data), data));
	expect_equal(core_committed_txg(machine->core), call.txg - 1);
	(void)rt_group_wait(machine->rt, &call.group);
	expect_equal(core_committed_txg(machine->core), call.txg);
	core_halt(machine->core, "crash");
	volume_close(volume);
	pool_abandon(machine, datasets);
}

static void see_no_leak(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	uint8_t data[4096];

	expect_equal(size_of(machine, datasets, "kept"), 8 * MIB);
	expect(!exists(datasets, "late"));
	expect(exists(datasets, "doomed"));
	struct volume *volume = pool_volume(machine, datasets, "kept");
	expect_equal(volume_record(volume)->compression_level, 0);
	expect_done(machine, volume_read(volume, 5 * 4096, sizeof(data), data));
	expect(block_is(data, sizeof(data), 5, 1));
	volume_close(volume);
	pool_close(machine, datasets);
}

static void test_no_leak(void **state)
{
	struct machine *machine = machine_made(2, 64 * MIB, 1, 1);

	(void)state;
	machine_boot(machine, leak_program);
	machine_boot(machine, see_no_leak);
	machine_free(machine);
}

/* ---- Made and destroyed in one txg; the name is free at once ---- */

static void same_txg(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	uint8_t data[4096];

	block_fill(data, sizeof(data), 1, 1);
	for (unsigned i = 0; i < 5; i++) {
		expect_done(machine, volume_create(datasets, "v", (1 + i) * MIB, 4096, 0, &machine->error));
		struct volume *volume = pool_volume(machine, datasets, "v");
		expect_done(machine, volume_write(volume, i * 4096, sizeof(data), data));
		expect_equal(volume_destroy(datasets, "v", &machine->error), -EBUSY);
		if (i % 2)
			expect_done(machine, volume_flush(volume));
		volume_close(volume);
		machine->error = (struct pool_error){ 0 };
		if (i < 4)
			expect_done(machine, volume_destroy(datasets, "v", &machine->error));
	}
	expect_equal(size_of(machine, datasets, "v"), 5 * MIB);
	pool_close(machine, datasets);
}

static void see_last(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);

	expect_equal(size_of(machine, datasets, "v"), 5 * MIB);
	for (unsigned i = 0; i < 3; i++)
		expect_done(machine, core_commit_forced(machine->core));
	struct dataset_record *records;
	size_t count;
	expect_equal(volumes_list(datasets, &records, &count), 0);
	expect_equal(count, 1);
	free(records);
	pool_close(machine, datasets);
}

static void test_same_txg(void **state)
{
	struct machine *machine = machine_made(2, 64 * MIB, 1, 1);

	(void)state;
	machine_boot(machine, same_txg);
	machine_boot(machine, see_last);
	machine_free(machine);
}

/* ---- A large one is taken apart in parts, which a crash doesn't lose ---- */

#define LARGE_BLOCKS (OBJECT_KILLS_PER_SYNC + 5000u)

static void large_program(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	size_t piece = MIB;
	uint8_t *data = malloc(piece);

	for (size_t i = 0; i < piece; i += 4096)
		block_fill(data + i, 4096, i, 1);
	expect_done(machine, volume_create(datasets, "large", LARGE_BLOCKS * UINT64_C(4096), 4096, 0, &machine->error));
	struct volume *volume = pool_volume(machine, datasets, "large");
	for (uint64_t at = 0; at + piece <= LARGE_BLOCKS * UINT64_C(4096); at += piece)
		expect_done(machine, volume_write(volume, at, piece, data));
	expect_done(machine, volume_flush(volume));
	volume_close(volume);
	struct space before, after;
	core_space(machine->core, &before);
	uint64_t commits = core_commits(machine->core);
	expect_done(machine, volume_destroy(datasets, "large", &machine->error));
	expect_done(machine, core_commit(machine->core));
	core_space(machine->core, &after);
	/* One commit later there is still something to do, and it goes on by itself; or not, if the process dies now. */
	expect_equal(core_commits(machine->core), commits + 1);
	expect(after.live_cells > 2000 && after.live_cells < before.live_cells);
	free(data);
	pool_abandon(machine, datasets);
}

static void large_rest(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	struct space space;

	rt_sleep(machine->rt, 20 * NS_PER_S);
	core_space(machine->core, &space);
	expect(space.live_cells < 1000);
	expect(!exists(datasets, "large"));
	uint64_t written = machine_device_bytes(machine);
	rt_sleep(machine->rt, 60 * NS_PER_S);
	expect_equal(machine_device_bytes(machine), written);
	pool_close(machine, datasets);
}

static void test_large(void **state)
{
	struct machine *machine = machine_made(2, 512 * MIB, 1, 1);

	(void)state;
	machine_boot(machine, large_program);
	machine_boot(machine, large_rest);
	machine_free(machine);
}

/* ---- One that can't be opened can be destroyed ---- */

static void damage_pointer(struct machine *machine, const struct raw_block_pointer *raw)
{
	struct core *core = machine->core;
	struct block_pointer pointer;
	uint8_t garbage[CELL_SIZE];

	memset(garbage, 0x5A, sizeof(garbage));
	expect_equal(block_pointer_decode(raw, &pointer), 0);
	struct dva dva = dva_unpack(pointer.dva);
	const struct segment *segment = alloc_segment(core_alloc(core), dva.segment);
	for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m; c++)
		for (unsigned i = 0; i < pointer.psect; i++)
			sim_disk_poke(machine->set->disks[segment->record.columns[c].disk],
				      store_cell_offset(core_store(core), segment->record.columns[c].au,
							dva.base + (dva.offset + i) % dva.height),
				      garbage, sizeof(garbage));
}

static void damage_program(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);

	expect_done(machine, volume_create(datasets, "bad", MIB, 4096, 0, &machine->error));
	expect_done(machine, volume_create(datasets, "good", MIB, 4096, 0, &machine->error));
	expect_done(machine, core_commit(machine->core));
	struct volume *volume = pool_volume(machine, datasets, "bad");
	struct raw_block_pointer root = volume_record(volume)->root;
	volume_close(volume);
	core_halt(machine->core, "crash");
	damage_pointer(machine, &root);
	pool_abandon(machine, datasets);
}

static void destroy_damaged(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	struct volume *volume;

	expect_equal(volume_open(datasets, "bad", &volume, &machine->error), -POOL_EDAMAGED);
	expect(exists(datasets, "bad"));
	machine->error = (struct pool_error){ 0 };
	expect_done(machine, volume_destroy(datasets, "bad", &machine->error));
	expect(!exists(datasets, "bad"));
	expect_done(machine, volume_create(datasets, "bad", 2 * MIB, 4096, 0, &machine->error));
	for (unsigned i = 0; i < 4; i++)
		expect_done(machine, core_commit_forced(machine->core));
	pool_close(machine, datasets);
}

static void see_good(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);

	expect_equal(size_of(machine, datasets, "bad"), 2 * MIB);
	expect_equal(size_of(machine, datasets, "good"), MIB);
	pool_close(machine, datasets);
}

static void test_damaged(void **state)
{
	struct machine *machine = machine_made(2, 64 * MIB, 1, 1);

	(void)state;
	machine_boot(machine, damage_program);
	machine_boot(machine, destroy_damaged);
	machine_boot(machine, see_good);
	machine_free(machine);
}

/* ---- A record under the wrong number ---- */

static void misfiled_program(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	struct object *catalogue = core_mos_object(machine->core, MOS_CATALOGUE);
	uint8_t key[4], value[DATASET_RECORD_SIZE], wrong[4] = { 0, 0, 0, 9 };
	size_t key_length, length;
	uint64_t txg;

	expect_done(machine, volume_create(datasets, "v", MIB, 4096, 0, &machine->error));
	expect_done(machine, core_commit(machine->core));
	expect_done(machine, tree_next(catalogue, NULL, 0, false, key, &key_length, value, &length));
	expect_done(machine, core_hold(machine->core, 16, &txg));
	expect_done(machine, tree_delete(catalogue, txg, key, sizeof(key)));
	expect_done(machine, tree_put(catalogue, txg, wrong, sizeof(wrong), value, length));
	core_release(machine->core, txg);
	pool_close(machine, datasets);
}

static void see_misfiled(struct machine *machine)
{
	struct datasets *datasets;

	expect_done(machine, machine_import(machine));
	expect_equal(datasets_open(machine->core, &datasets, &machine->error), -POOL_EFORMAT);
	expect(strstr(machine->error.text, "catalogue"));
	core_abandon(machine->core);
}

static void test_misfiled(void **state)
{
	struct machine *machine = machine_made(2, 64 * MIB, 1, 1);

	(void)state;
	machine_boot(machine, misfiled_program);
	machine_boot(machine, see_misfiled);
	machine_free(machine);
}

/* ---- Without parity, with a disk away ---- */

static void striped_program(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	uint8_t data[4096];

	expect_done(machine, volume_create(datasets, "s", 4 * MIB, 4096, 0, &machine->error));
	struct volume *volume = pool_volume(machine, datasets, "s");
	for (unsigned i = 0; i < 1000; i++) {
		block_fill(data, sizeof(data), i, 1);
		expect_done(machine, volume_write(volume, i * 4096, sizeof(data), data));
	}
	volume_close(volume);
	pool_close(machine, datasets);
}

static void too_much_lost(struct machine *machine)
{
	struct datasets *datasets;
	uint8_t data[4096];
	unsigned good = 0, lost = 0;

	expect_equal(machine_import(machine), -POOL_EDEGRADED);
	machine->force = true;
	expect_equal(machine_import(machine), -POOL_EDEGRADED);
	machine->read_only = true;
	datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "s");
	for (unsigned i = 0; i < 1000; i++) {
		int status = volume_read(volume, i * 4096, sizeof(data), data);
		expect(status == 0 || status == -POOL_EDAMAGED);
		expect(status < 0 || block_is(data, sizeof(data), i, 1));
		good += status == 0;
		lost += status < 0;
	}
	expect(good > 500 && lost > 100);
	expect_equal(volume_write(volume, 0, sizeof(data), data), -EROFS);
	volume_close(volume);
	pool_close(machine, datasets);
}

/* Refused, as writing there would make it worse; who insists may read what is left. */
static void test_too_much_lost(void **state)
{
	struct machine *machine = machine_made(3, 64 * MIB, 3, 0);

	(void)state;
	machine_boot(machine, striped_program);
	machine->hidden = 4;
	machine_boot(machine, too_much_lost);
	machine_free(machine);
}

/* ---- Calls that meet ---- */

struct crowd {
	struct machine *machine;
	struct datasets *datasets;
	struct rt_group group;
	unsigned number;
};

#define NAMES 3u

static void crowd_fiber(void *argument)
{
	struct crowd *crowd = argument;
	struct machine *machine = crowd->machine;
	struct datasets *datasets = crowd->datasets;
	unsigned number = crowd->number++;
	struct sim_random random;

	sim_random_stream(&random, machine->sim->seed, "crowd", number);
	for (unsigned i = 0; i < 60; i++) {
		struct pool_error error = { 0 };
		char name[8];
		snprintf(name, sizeof(name), "v%u", (unsigned)sim_random_below(&random, NAMES));
		uint64_t bytes = (1 + sim_random_below(&random, 64)) << 14;
		int status = 0;
		struct volume *volume;
		switch (sim_random_below(&random, 8)) {
		case 0:
		case 1:
			status = volume_create(datasets, name, bytes, 16 << 10, 0, &error);
			break;
		case 2:
			status = volume_destroy(datasets, name, &error);
			break;
		case 3:
			status = volume_resize(datasets, name, bytes, &error);
			break;
		case 4:
			status = dataset_set(datasets, name, SETTING_COMPRESSION, &(uint8_t){ sim_random_below(&random, 2) ? BLOCK_COMPRESS_AUTO : 0 }, &error);
			break;
		case 5:
			status = core_commit(machine->core);
			break;
		default:
			status = volume_open(datasets, name, &volume, &error);
			if (status < 0)
				break;
			uint8_t data[5000] = { 7 };
			for (unsigned j = 0; j < 3; j++) {
				int one = volume_write(volume, sim_random_below(&random, bytes), sizeof(data), data);
				expect(one == 0 || one == -EINVAL);
				one = volume_zero(volume, 0, 20000);
				expect(one == 0 || one == -EINVAL);
			}
			volume_close(volume);
		}
		if (status < 0 && status != -ENOENT && status != -EEXIST && status != -EBUSY) {
			fprintf(stderr, "%d %s\n", status, error.text);
			abort();
		}
		if (sim_random_below(&random, 4) == 0)
			rt_sleep(machine->rt, sim_random_below(&random, NS_PER_MS * 5));
	}
	rt_group_done(machine->rt, &crowd->group, 0);
}

static void crowd_program(struct machine *machine)
{
	struct crowd crowd = { .machine = machine, .datasets = pool_open(machine) };

	rt_group_init(&crowd.group);
	for (unsigned i = 0; i < 8; i++) {
		rt_group_add(&crowd.group);
		expect_equal(rt_spawn(machine->rt, "crowd", crowd_fiber, &crowd), 0);
	}
	(void)rt_group_wait(machine->rt, &crowd.group);
	expect_equal(datasets_open_volumes(crowd.datasets), 0);
	pool_close(machine, crowd.datasets);
}

static void destroy_all(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	struct space space;

	for (unsigned i = 0; i < NAMES; i++) {
		char name[8];
		snprintf(name, sizeof(name), "v%u", i);
		if (exists(datasets, name))
			expect_done(machine, volume_destroy(datasets, name, &machine->error));
	}
	for (unsigned i = 0; i < 4; i++)
		expect_done(machine, core_commit_forced(machine->core));
	core_space(machine->core, &space);
	expect(space.live_cells < 1000);
	pool_close(machine, datasets);
}

static void test_crowd(void **state)
{
	(void)state;
	for (unsigned seed = 0; seed < 12; seed++) {
		struct machine *machine = machine_made(3, 64 * MIB, 2, 1);
		machine->sim->seed = seed;
		machine->options.cache_limit = seed % 2 ? 0 : 8 * MIB;
		machine_boot(machine, crowd_program);
		machine_boot(machine, destroy_all);
		machine_free(machine);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_leak), cmocka_unit_test(test_same_txg), cmocka_unit_test(test_damaged), cmocka_unit_test(test_misfiled),
		cmocka_unit_test(test_crowd),	cmocka_unit_test(test_large),   cmocka_unit_test(test_too_much_lost),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
