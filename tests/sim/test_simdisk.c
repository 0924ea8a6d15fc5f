/* The simulator keeps its promises: determinism, durability, crash states, and every fault can be seen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "libpool/base/buffer.h"
#include "tests/sim/simdisk.h"

#define MIB (UINT64_C(1) << 20)
#define CELL ((uint64_t)SIM_CELL)

struct machine {
	struct sim_env *sim;
	struct sim_disks *set;
	struct rt *rt;
	struct disk_provider *provider;
	void (*body)(struct machine *machine);
	struct disk *disk; /* "sim:0", opened when `opens` */
	bool opens;
	int result; /* of rt_run */
};

static void machine_main(void *argument)
{
	struct machine *machine = argument;
	struct pool_error error = {0};

	if (machine->opens)
		assert_int_equal(machine->provider->ops->open(machine->provider, machine->rt, "sim:0",
							      DISK_OPEN_EXCLUSIVE, &machine->disk, &error),
				 0);
	machine->body(machine);
	if (machine->opens)
		disk_close(machine->disk);
}

static void machine_init(struct machine *machine, uint64_t seed, unsigned disks, uint64_t size)
{
	*machine = (struct machine){.sim = sim_env_new(seed), .set = sim_disks_new(seed), .opens = true};
	for (unsigned i = 0; i < disks; i++)
		sim_disks_add(machine->set, size);
}

static void boot(struct machine *machine, void (*body)(struct machine *machine))
{
	machine->body = body;
	assert_int_equal(rt_new(&machine->sim->env, &machine->rt), 0);
	machine->provider = sim_disks_provider(machine->set, machine->sim, machine->rt);
	machine->result = rt_run(machine->rt, machine_main, machine);
	sim_disks_provider_free(machine->provider);
	rt_abandon(machine->rt);
	sim_env_reboot(machine->sim);
}

static void machine_release(struct machine *machine)
{
	sim_disks_free(machine->set);
	sim_env_free(machine->sim);
}

/* A cell says its number and the round in every sector. */
static void stamp(void *cell, uint64_t number, uint64_t round)
{
	uint64_t *words = cell;

	for (unsigned i = 0; i < SIM_CELL / 8; i++)
		words[i] = i % 2 ? round : number;
}

static int put(struct disk *disk, uint64_t number, uint64_t count, uint64_t round, bool fua)
{
	CLEANUP_BUFFER struct buffer *buffer = buffer_new(count * CELL);

	for (uint64_t i = 0; i < count; i++)
		stamp(buffer->data + i * CELL, number + i, round);
	return disk_write(disk, number * CELL, count * CELL, buffer, 0, fua);
}

/* The round of a cell's first sector, if all of it is whole; asserts that it belongs here. */
static uint64_t round_of(const void *cell, uint64_t number)
{
	uint8_t expected[SIM_CELL];
	uint64_t round = ((const uint64_t *)cell)[1];

	stamp(expected, number, round);
	if (round == 0)
		memset(expected, 0, SIM_CELL);
	assert_memory_equal(cell, expected, SIM_CELL);
	return round;
}

static int get(struct disk *disk, uint64_t number, uint64_t *ret_round)
{
	CLEANUP_BUFFER struct buffer *buffer = buffer_new(CELL);
	int result = disk_read(disk, number * CELL, CELL, buffer, 0);

	if (result == 0)
		*ret_round = round_of(buffer->data, number);
	return result;
}

static bool reads_back(struct disk *disk, uint64_t number, uint64_t round)
{
	CLEANUP_BUFFER struct buffer *buffer = buffer_new(CELL);
	uint8_t expected[SIM_CELL];

	stamp(expected, number, round);
	return disk_read(disk, number * CELL, CELL, buffer, 0) == 0 && !memcmp(buffer->data, expected, SIM_CELL);
}

/* ---- determinism ---- */

struct writer {
	struct machine *machine;
	struct rt_group *group;
	uint64_t first;
};

static void write_some(void *argument)
{
	struct writer *writer = argument;
	struct rt *rt = writer->machine->rt;

	for (uint64_t i = 0; i < 20; i++) {
		assert_int_equal(put(writer->machine->disk, writer->first + rt_random(rt) % 32, 1 + i % 3, i + 1, false), 0);
		if (rt_buggify(rt, "test yields"))
			rt_yield(rt);
	}
	rt_group_done(rt, writer->group, 0);
}

static void random_body(struct machine *machine)
{
	struct rt_group group;
	struct writer writers[5];

	rt_group_init(&group);
	for (unsigned i = 0; i < 5; i++) {
		writers[i] = (struct writer){machine, &group, i * 16};
		rt_group_add(&group);
		assert_int_equal(rt_spawn(machine->rt, "writer", write_some, &writers[i]), 0);
	}
	rt_group_wait(machine->rt, &group);
}

static uint64_t run_hash(uint64_t seed, uint64_t *ret_content)
{
	struct machine machine;

	machine_init(&machine, seed, 1, 4 * MIB);
	machine.sim->buggify = true;
	boot(&machine, random_body);
	assert_int_equal(machine.result, 0);
	uint64_t hash = sim_env_hash(machine.sim);

	*ret_content = sim_disk_content_hash(machine.set->disks[0]);
	machine_release(&machine);
	return hash;
}

static void same_seed_same_run(void **state)
{
	uint64_t content[2], other = 0, distinct = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 50; seed++) {
		uint64_t hash = run_hash(seed, &content[0]);

		assert_int_equal(hash, run_hash(seed, &content[1]));
		assert_int_equal(content[0], content[1]);
		distinct += hash != other;
		other = hash;
	}
	assert_int_equal(distinct, 50);
}

static void wait_for_nothing(struct machine *machine)
{
	struct rt_queue queue;

	rt_queue_init(&queue);
	rt_queue_wait(machine->rt, &queue);
}

static void deadlock_is_found(void **state)
{
	struct machine machine;

	(void)state;
	machine_init(&machine, 1, 0, 0);
	machine.opens = false;
	machine.body = wait_for_nothing;
	rt_new(&machine.sim->env, &machine.rt);
	assert_int_equal(rt_run(machine.rt, machine_main, &machine), -ECANCELED);
	assert_true(machine.sim->deadlock);
	rt_abandon(machine.rt);
	machine_release(&machine);
}

/* ---- durability and crash states ---- */

#define CELLS 40u

/* Round 1 flushed everywhere; then round 2 written without a flush, some twice (3), some FUA (4). */
static void crash_body(struct machine *machine)
{
	assert_int_equal(put(machine->disk, 0, CELLS, 1, false), 0);
	assert_int_equal(disk_flush(machine->disk), 0);
	assert_int_equal(put(machine->disk, 0, 12, 2, false), 0);
	assert_int_equal(put(machine->disk, 4, 4, 3, false), 0);
	assert_int_equal(put(machine->disk, 6, 4, 4, true), 0);
	sim_disks_power_off(machine->set);
	rt_yield(machine->rt);
}

/* Every sector is of one of the rounds in `allowed` (bits). Adds the rounds seen, and whether a cell was torn. */
static void check_cells(struct sim_disk *disk, uint64_t first, uint64_t count, unsigned allowed, unsigned *seen,
			bool *torn)
{
	uint64_t words[SIM_CELL / 8];

	for (uint64_t number = first; number < first + count; number++) {
		sim_disk_peek(disk, number * CELL, words, SIM_CELL);
		for (unsigned i = 0; i < SIM_CELL / 8; i += 2) {
			assert_int_equal(words[i], number);
			assert_true(words[i + 1] < 8 && allowed >> words[i + 1] & 1);
			*seen |= 1u << words[i + 1];
			assert_true(i % 64 == 0 || words[i + 1] == words[i - 1]);
			*torn |= words[i + 1] != words[1];
		}
	}
}

static void crash_states(void **state)
{
	unsigned seen_by_mode[SIM_CRASH_ANY + 1] = {0};
	bool torn_ever = false;

	(void)state;
	for (unsigned mode = 0; mode <= SIM_CRASH_ANY; mode++)
		for (uint64_t seed = 0; seed < 60; seed++) {
			struct machine machine;
			unsigned seen = 0, ignored = 0;
			bool torn = false, not_torn = false;

			machine_init(&machine, seed, 1, MIB);
			boot(&machine, crash_body);
			assert_int_equal(machine.result, -ECANCELED);
			struct sim_disk *disk = machine.set->disks[0];

			assert_true(sim_disk_volatile_cells(disk) > 0);
			sim_disks_power_cut(machine.set, (enum sim_crash_mode)mode, &machine.sim->engine);
			assert_int_equal(sim_disk_volatile_cells(disk), 0);
			check_cells(disk, 12, CELLS - 12, 1 << 1, &ignored, &not_torn);
			check_cells(disk, 6, 4, 1 << 4, &ignored, &not_torn);
			assert_false(not_torn);
			check_cells(disk, 0, 4, 1 << 1 | 1 << 2, &seen, &torn);
			check_cells(disk, 10, 2, 1 << 1 | 1 << 2, &seen, &torn);
			check_cells(disk, 4, 2, 1 << 1 | 1 << 2 | 1 << 3, &seen, &torn);
			seen_by_mode[mode] |= seen;
			torn_ever |= torn;
			machine_release(&machine);
		}
	assert_int_equal(seen_by_mode[SIM_CRASH_NONE], 1 << 1);
	assert_int_equal(seen_by_mode[SIM_CRASH_ALL], 1 << 2 | 1 << 3);
	assert_int_equal(seen_by_mode[SIM_CRASH_SUBSET], 1 << 1 | 1 << 2 | 1 << 3);
	assert_int_equal(seen_by_mode[SIM_CRASH_PREFIX], 1 << 1 | 1 << 2 | 1 << 3);
	assert_int_equal(seen_by_mode[SIM_CRASH_ANY], 1 << 1 | 1 << 2 | 1 << 3);
	assert_true(torn_ever);
}

/* Rounds written one after the other to one cell each, with a flush every fourth; acknowledged = highest flushed. */
static uint64_t acknowledged, attempted;

static void rounds_body(struct machine *machine)
{
	for (uint64_t round = 1; round <= 16; round++) {
		attempted = round;
		assert_int_equal(put(machine->disk, 0, 3, round, false), 0);
		if (round % 4)
			continue;
		if (disk_flush(machine->disk) == 0)
			acknowledged = round;
	}
}

static void cut_at_every_operation(void **state)
{
	(void)state;
	for (uint64_t cut = 0; cut < 20; cut++)
		for (uint64_t seed = 0; seed < 10; seed++) {
			struct machine machine;
			uint8_t cell[SIM_CELL];

			machine_init(&machine, seed, 1, MIB);
			acknowledged = attempted = 0;
			machine.set->tear = SIM_TEAR_CELL;
			sim_disks_cut_at(machine.set, cut);
			boot(&machine, rounds_body);
			assert_int_equal(machine.result, -ECANCELED);
			assert_int_equal(machine.set->operations, cut);
			sim_disks_power_cut(machine.set, SIM_CRASH_ANY, &machine.sim->engine);
			for (uint64_t number = 0; number < 3; number++) {
				sim_disk_peek(machine.set->disks[0], number * CELL, cell, SIM_CELL);
				assert_in_range(round_of(cell, number), acknowledged, attempted);
			}
			/* The next boot works on the same disks. */
			sim_disks_cut_at(machine.set, UINT64_MAX);
			boot(&machine, rounds_body);
			assert_int_equal(machine.result, 0);
			assert_int_equal(acknowledged, 16);
			machine_release(&machine);
		}
}

static void failing_rounds_body(struct machine *machine)
{
	int result = 0;

	for (uint64_t round = 1; round <= 16 && result == 0; round++)
		result = put(machine->disk, 0, 3, round, false);
	assert_int_equal(result, -ENODEV);
	assert_int_equal(disk_flush(machine->disk), -ENODEV);
}

static void power_off_can_fail_instead_of_stop(void **state)
{
	struct machine machine;

	(void)state;
	machine_init(&machine, 3, 1, MIB);
	machine.set->fail_after_power_off = true;
	sim_disks_cut_at(machine.set, 5);
	boot(&machine, failing_rounds_body);
	assert_int_equal(machine.result, 0);
	sim_disks_power_cut(machine.set, SIM_CRASH_ANY, &machine.sim->engine);
	machine_release(&machine);
}

/* ---- faults ---- */

static struct sim_disk *disk0(struct machine *machine)
{
	return machine->set->disks[0];
}

static void fault(struct machine *machine, enum sim_fault kind)
{
	sim_disk_fault(disk0(machine), kind, 0, 0, 0, 1, 0);
}

static void read_faults_body(struct machine *machine)
{
	struct disk *disk = machine->disk;
	CLEANUP_BUFFER struct buffer *buffer = buffer_new(CELL);

	assert_int_equal(put(disk, 0, 32, 1, false), 0);
	assert_int_equal(put(disk, 5, 1, 2, false), 0);
	fault(machine, SIM_READ_ERROR);
	assert_int_equal(disk_read(disk, 5 * CELL, CELL, buffer, 0), -EIO);
	assert_true(reads_back(disk, 5, 2));
	fault(machine, SIM_READ_CORRUPT);
	assert_false(reads_back(disk, 5, 2));
	assert_true(reads_back(disk, 5, 2));
	sim_disk_fault(disk0(machine), SIM_READ_MISDIRECTED, 0, 0, 0, 1, 7 * CELL);
	assert_int_equal(disk_read(disk, 5 * CELL, CELL, buffer, 0), 0);
	assert_int_equal(round_of(buffer->data, 7), 1);
	fault(machine, SIM_READ_STALE);
	assert_true(reads_back(disk, 5, 1));
	assert_true(reads_back(disk, 5, 2));
	sim_disk_set_unreadable(disk0(machine), 9 * CELL, CELL);
	assert_int_equal(disk_read(disk, 9 * CELL, CELL, buffer, 0), -EIO);
	assert_int_equal(disk_read(disk, 9 * CELL, CELL, buffer, 0), -EIO);
	assert_int_equal(put(disk, 9, 1, 3, false), 0);
	assert_true(reads_back(disk, 9, 3));
	sim_disk_rot(disk0(machine), 9 * CELL);
	assert_false(reads_back(disk, 9, 3));
	/* Only requests that overlap, and only from the third on. */
	sim_disk_fault(disk0(machine), SIM_READ_ERROR, 20 * CELL, CELL, 2, 2, 0);
	assert_true(reads_back(disk, 21, 1));
	assert_true(reads_back(disk, 20, 1));
	assert_true(reads_back(disk, 20, 1));
	assert_false(reads_back(disk, 20, 1));
	assert_false(reads_back(disk, 20, 1));
	assert_true(reads_back(disk, 20, 1));
}

static void write_faults_body(struct machine *machine)
{
	struct disk *disk = machine->disk;
	uint64_t round = 0, written = 0;

	assert_int_equal(put(disk, 0, 64, 1, false), 0);
	fault(machine, SIM_WRITE_ERROR);
	assert_int_equal(put(disk, 0, 16, 2, false), -EIO);
	for (uint64_t i = 0; i < 16; i++) {
		assert_int_equal(get(disk, i, &round), 0);
		written += round == 2;
	}
	assert_in_range(written, 1, 15);
	fault(machine, SIM_WRITE_SHORT);
	assert_int_equal(put(disk, 16, 16, 2, false), -EIO);
	for (uint64_t i = 16, last = 2; i < 32; i++, last = round) {
		assert_int_equal(get(disk, i, &round), 0);
		assert_true(round <= last);
	}
	assert_int_equal(round, 1);
	fault(machine, SIM_WRITE_LOST);
	assert_int_equal(put(disk, 40, 1, 2, false), 0);
	assert_true(reads_back(disk, 40, 1));
	sim_disk_fault(disk0(machine), SIM_WRITE_MISDIRECTED, 0, 0, 0, 1, 50 * CELL);
	assert_int_equal(put(disk, 41, 1, 2, false), 0);
	assert_true(reads_back(disk, 41, 1));
	assert_false(reads_back(disk, 50, 1));
	assert_int_equal(disk_flush(disk), 0);
	assert_int_equal(put(disk, 60, 1, 7, false), 0);
	fault(machine, SIM_FLUSH_LIE);
	assert_int_equal(disk_flush(disk), 0);
	assert_false(sim_disk_is_durable(disk0(machine), 60 * CELL, CELL));
	fault(machine, SIM_FLUSH_ERROR);
	assert_int_equal(disk_flush(disk), -EIO);
	fault(machine, SIM_FLUSH_LIE);
	assert_int_equal(put(disk, 61, 1, 7, true), 0);
	assert_false(sim_disk_is_durable(disk0(machine), 61 * CELL, CELL));
	assert_int_equal(disk_flush(disk), 0);
	assert_true(sim_disk_is_durable(disk0(machine), 61 * CELL, CELL));
}

static void time_faults_body(struct machine *machine)
{
	struct disk *disk = machine->disk;
	uint64_t before = rt_now(machine->rt), quick;

	assert_int_equal(put(disk, 0, 1, 1, false), 0);
	quick = rt_now(machine->rt) - before;
	fault(machine, SIM_SLOW);
	before = rt_now(machine->rt);
	assert_int_equal(put(disk, 0, 1, 2, false), 0);
	assert_true(rt_now(machine->rt) - before > 3 * quick);
	/* Late: overdue, and it still reaches the disk afterwards. */
	sim_disk_fault(disk0(machine), SIM_HANG_LATE, 0, 0, 0, 1, 45 * NS_PER_S);
	assert_int_equal(put(disk, 0, 1, 3, false), -ETIMEDOUT);
	assert_int_equal(disk_abandoned_writes(disk), 1);
	assert_true(reads_back(disk, 0, 2));
	rt_sleep(machine->rt, 20 * NS_PER_S);
	assert_int_equal(disk_abandoned_writes(disk), 0);
	assert_true(reads_back(disk, 0, 3));
	/* For ever, until the test lets it go. */
	fault(machine, SIM_HANG);
	before = rt_now(machine->rt);
	assert_int_equal(put(disk, 0, 1, 4, false), -ETIMEDOUT);
	assert_in_range(rt_now(machine->rt) - before, 30 * NS_PER_S, 31 * NS_PER_S);
	assert_int_equal(sim_disk_hung(disk0(machine)), 1);
	sim_disk_release_hung(disk0(machine), true);
	assert_int_equal(disk_abandoned_writes(disk), 0);
	assert_true(reads_back(disk, 0, 4));
	assert_int_equal(disk->counters.overdue, 2);
	/* Left hanging at close: the provider gives the buffer back. */
	fault(machine, SIM_HANG);
	assert_int_equal(put(disk, 0, 1, 5, false), -ETIMEDOUT);
}

static void vanish_body(struct machine *machine)
{
	struct disk *disk = machine->disk, *again = NULL;
	struct disk_provider *provider = machine->provider;
	struct pool_error error = {0};
	struct disk_probe probe;
	uint64_t round;
	char **paths;
	size_t count;

	assert_int_equal(provider->ops->open(provider, machine->rt, "sim:0", DISK_OPEN_EXCLUSIVE, &again, &error), -EBUSY);
	assert_int_equal(provider->ops->open(provider, machine->rt, "sim:0", DISK_OPEN_READ_ONLY, &again, &error), 0);
	assert_int_equal(put(again, 0, 1, 9, false), -EROFS);
	disk_close(again);
	assert_int_equal(put(disk, 0, 4, 1, true), 0);
	struct sim_image *old = sim_disk_snapshot(disk0(machine));

	assert_int_equal(put(disk, 0, 4, 2, false), 0);
	sim_disk_vanish(disk0(machine), SIM_CRASH_ALL);
	assert_int_equal(get(disk, 0, &round), -ENODEV);
	assert_int_equal(provider->ops->open(provider, machine->rt, "sim:0", 0, &again, &error), -ENOENT);
	assert_int_equal(provider->ops->candidates(provider, machine->rt, NULL, 0, true, &paths, &count, &error), 0);
	assert_int_equal(count, 1);
	assert_string_equal(paths[0], "sim:1");
	free(paths);
	sim_disk_return(disk0(machine));
	assert_int_equal(get(disk, 0, &round), -ENODEV);
	assert_int_equal(provider->ops->open(provider, machine->rt, "sim:0", DISK_OPEN_EXCLUSIVE, &again, &error), 0);
	assert_int_equal(get(again, 0, &round), 0);
	assert_int_equal(round, 2);
	sim_disk_restore(disk0(machine), old);
	sim_snapshot_free(old);
	assert_int_equal(get(again, 0, &round), 0);
	assert_int_equal(round, 1);
	sim_disk_resize(disk0(machine), CELL * 2);
	assert_int_equal(get(again, 1, &round), 0);
	assert_int_equal(get(again, 2, &round), -EIO);
	assert_int_equal(put(again, 2, 1, 1, false), -ENOSPC);
	disk_close(again);
	snprintf(machine->set->disks[1]->foreign, sizeof(machine->set->disks[1]->foreign), "ext4 file system");
	assert_int_equal(provider->ops->probe(provider, machine->rt, "sim:1", &probe, &error), 0);
	assert_true(probe.foreign && !probe.pool_member);
	assert_int_equal(provider->ops->probe(provider, machine->rt, "sim:0", &probe, &error), 0);
	assert_false(probe.foreign || probe.pool_member);
}

static void rates_body(struct machine *machine)
{
	struct sim_disk *disk = disk0(machine);

	for (unsigned i = 0; i < SIM_ROT; i++)
		disk->rates[i] = 20000;
	disk->rates[SIM_HANG] = 0;
	for (int i = 0; i < 3000; i++) {
		/* A new one each time: that of an overdue write must not be touched. */
		CLEANUP_BUFFER struct buffer *buffer = buffer_new_zero(CELL), *into = buffer_new(CELL);

		buffer->data[i % 4096] = (uint8_t)i;
		disk_write(machine->disk, (uint64_t)(i % 64) * CELL, CELL, buffer, 0, i % 3 == 0);
		disk_read(machine->disk, (uint64_t)(i % 64) * CELL, CELL, into, 0);
		if (i % 4 == 0)
			disk_flush(machine->disk);
	}
	for (unsigned i = 0; i < SIM_ROT; i++)
		if (i != SIM_HANG)
			assert_in_range(disk->counters.injected[i], 5, 1000);
}

static void run_body(void (*body)(struct machine *machine))
{
	for (uint64_t seed = 1; seed <= 5; seed++) {
		struct machine machine;

		machine_init(&machine, seed, 2, 4 * MIB);
		boot(&machine, body);
		assert_int_equal(machine.result, 0);
		machine_release(&machine);
	}
}

static void read_faults(void **state)
{
	(void)state;
	run_body(read_faults_body);
}

static void write_faults(void **state)
{
	(void)state;
	run_body(write_faults_body);
}

static void time_faults(void **state)
{
	(void)state;
	run_body(time_faults_body);
}

static void vanish_and_return(void **state)
{
	(void)state;
	run_body(vanish_body);
}

static void faults_at_rates(void **state)
{
	(void)state;
	run_body(rates_body);
}

/* ---- storage ---- */

static void bulk_body(struct machine *machine)
{
	CLEANUP_BUFFER struct buffer *buffer = buffer_new_zero(MIB);

	for (uint64_t at = 0; at < 512; at++) {
		for (uint64_t cell = 0; cell < MIB / CELL; cell++)
			memcpy(buffer->data + cell * CELL, &(uint64_t){at * 1000 + cell + 1}, 8);
		assert_int_equal(disk_write(machine->disk, at * 16 * MIB, MIB, buffer, 0, true), 0);
	}
}

static void much_data_takes_little_memory(void **state)
{
	struct machine machine;

	(void)state;
	machine_init(&machine, 1, 1, UINT64_C(8) << 30);
	boot(&machine, bulk_body);
	assert_int_equal(machine.result, 0);
	assert_true(machine.set->store.count > 100000);
	assert_true(machine.set->store.bytes < 16 * MIB);
	machine_release(&machine);
}

static void contents_survive_encoding(void **state)
{
	struct sim_disks *set = sim_disks_new(1);
	struct sim_disk *disk = sim_disks_add(set, 64 * CELL), *copy = sim_disks_add(set, CELL);
	struct sim_random random;
	uint8_t cell[SIM_CELL], back[SIM_CELL];
	char path[] = "/tmp/libpool-sim-XXXXXX";
	int descriptor = mkstemp(path);

	(void)state;
	sim_random_seed(&random, 7);
	for (uint64_t i = 0; i < 64; i++) {
		size_t period = (size_t)1 << i % 13;

		sim_random_fill(&random, cell, SIM_CELL);
		for (size_t at = period; at < SIM_CELL; at++)
			cell[at] = i & 16 ? 0 : cell[at - period];
		sim_disk_poke(disk, i * CELL, cell, SIM_CELL);
		sim_disk_peek(disk, i * CELL, back, SIM_CELL);
		assert_memory_equal(cell, back, SIM_CELL);
	}
	sim_disk_poke(disk, 100, "between cells", 13);
	assert_int_equal(sim_disk_save(disk, path), 0);
	assert_int_equal(sim_disk_load(copy, path), 0);
	assert_int_equal(sim_disk_content_hash(disk), sim_disk_content_hash(copy));
	sim_disk_poke(copy, CELL - 1, "x", 1);
	assert_int_not_equal(sim_disk_content_hash(disk), sim_disk_content_hash(copy));
	close(descriptor);
	unlink(path);
	sim_disks_free(set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_seed_same_run),
		cmocka_unit_test(deadlock_is_found),
		cmocka_unit_test(crash_states),
		cmocka_unit_test(cut_at_every_operation),
		cmocka_unit_test(power_off_can_fail_instead_of_stop),
		cmocka_unit_test(read_faults),
		cmocka_unit_test(write_faults),
		cmocka_unit_test(time_faults),
		cmocka_unit_test(vanish_and_return),
		cmocka_unit_test(faults_at_rates),
		cmocka_unit_test(much_data_takes_little_memory),
		cmocka_unit_test(contents_survive_encoding),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
