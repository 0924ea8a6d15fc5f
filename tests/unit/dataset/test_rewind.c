/*
 * Going back: what the last three commits contain is whole, because rows and AUs that a txg frees are used again only when two
 * later commits exist. Small pools under overwrites and trims, so that everything is used again as early as it may be.
 */
#include "libpool/txg/internal.h"
#include "tests/unit/dataset/volumes.h"

#define BLOCKS 300u
#define BLOCK 4096u
#define TXGS 60u

struct past {
	struct sim_random random;
	uint64_t txgs[TXGS];
	uint8_t versions[TXGS][BLOCKS]; /* as of each commit */
	unsigned count, target;
};

static void history_program(struct machine *machine)
{
	struct past *past = machine->test;
	struct datasets *datasets = pool_open(machine);
	uint8_t data[BLOCK], now[BLOCKS] = { 0 };

	/* Half of the pool, so that segments come and go. */
	struct space space;
	core_space(machine->core, &space);
	expect_done(machine, volume_create(datasets, "fill", space.usable_cells * CELL_SIZE, 64 << 10, 0, &machine->error));
	expect_done(machine, volume_create(datasets, "v", BLOCKS * BLOCK, BLOCK, 0, &machine->error));
	struct volume *fill = pool_volume(machine, datasets, "fill"), *volume = pool_volume(machine, datasets, "v");
	static uint8_t large[64 << 10];
	uint64_t at = 0;
	for (block_fill(large, sizeof(large), 1, 1); at < space.usable_cells * CELL_SIZE / 2; at += sizeof(large))
		expect_done(machine, volume_write(fill, at, sizeof(large), large));
	for (past->count = 0; past->count < TXGS; past->count++) {
		for (unsigned i = 0; i < 40; i++) {
			unsigned block = (unsigned)sim_random_below(&past->random, BLOCKS), version = 1 + past->count % 250;
			if (sim_random_below(&past->random, 4) == 0) {
				expect_done(machine, volume_trim(volume, block * BLOCK, BLOCK));
				now[block] = 0;
				continue;
			}
			block_fill(data, sizeof(data), block, version);
			expect_done(machine, volume_write(volume, block * BLOCK, BLOCK, data));
			now[block] = (uint8_t)version;
		}
		uint64_t turn = past->count * 7 % 40 * MIB % at;
		expect_done(machine, volume_trim(fill, turn, MIB));
		if (past->count % 2)
			expect_done(machine, volume_write(fill, turn, sizeof(large), large));
		expect_done(machine, core_commit(machine->core));
		past->txgs[past->count] = core_committed_txg(machine->core);
		memcpy(past->versions[past->count], now, sizeof(now));
	}
	volume_close(fill);
	volume_close(volume);
	core_halt(machine->core, "crash");
	pool_abandon(machine, datasets);
}

static int check_read(void *argument, const struct block_pointer *pointer, const struct block_owner *owner)
{
	struct machine *machine = argument;
	struct buffer *buffer;

	expect_done(machine, block_read(core_blocks(machine->core), pointer, owner, BLOCK_READ_NO_CACHE, NULL, NULL, &buffer));
	buffer_unref(buffer);
	return 0;
}

static void go_back(struct machine *machine)
{
	struct past *past = machine->test;
	uint8_t data[BLOCK];

	machine->rewind_txg = past->txgs[past->target];
	struct datasets *datasets = pool_open(machine);
	machine->rewind_txg = 0;
	struct volume *volume = pool_volume(machine, datasets, "v");
	for (unsigned block = 0; block < BLOCKS; block++) {
		expect_done(machine, volume_read(volume, block * BLOCK, BLOCK, data));
		expect(block_is(data, BLOCK, block, past->versions[past->target][block]));
	}
	/* Every block of every tree, and those of the core itself. */
	expect_equal(datasets_walk(datasets, check_read, machine), 0);
	expect_equal(core_walk_system(machine->core, check_read, machine), 0);
	expect_equal(store_counters(core_store(machine->core))->healed_cells, 0);
	/* And on from there. */
	if (!machine->read_only) {
		expect_done(machine, volume_write(volume, 0, BLOCK, data));
		for (unsigned i = 0; i < 4; i++)
			expect_done(machine, core_commit_forced(machine->core));
		expect(core_committed_txg(machine->core) > past->txgs[TXGS - 1] + TXG_REWIND_GAP);
		expect_equal(datasets_walk(datasets, check_read, machine), 0);
	}
	volume_close(volume);
	pool_close(machine, datasets);
}

static void run_history(unsigned disks, unsigned k, unsigned m, uint64_t seed)
{
	struct past *past = sim_allocate(sizeof(*past));
	struct machine *machine = machine_new(disks, 64 * MIB, k, m, seed);
	struct sim_image *images[8];

	machine->test = past;
	sim_random_stream(&past->random, seed, "past", 0);
	machine_boot(machine, machine_create_program);
	machine_boot(machine, history_program);
	for (unsigned i = 0; i < disks; i++)
		images[i] = sim_disk_snapshot(machine->set->disks[i]);
	for (unsigned back = 0; back < 3; back++)
		for (unsigned only = 0; only < 2; only++) {
			for (unsigned i = 0; i < disks; i++)
				sim_disk_restore(machine->set->disks[i], images[i]);
			machine->read_only = only;
			past->target = TXGS - 1 - back;
			machine_boot(machine, go_back);
		}
	for (unsigned i = 0; i < disks; i++)
		sim_snapshot_free(images[i]);
	machine_free(machine);
	free(past);
}

static void test_rewind(void **state)
{
	(void)state;
	run_history(2, 1, 1, 1);
	run_history(4, 2, 1, 2);
	run_history(1, 1, 0, 3);
}

/* ---- With a compactor ---- */

#define FULL_BLOCK (16u << 10)

/* Overwritten at random until what dies by itself isn't enough, and the last commits are a compactor's, too. */
static void compacted_program(struct machine *machine)
{
	struct past *past = machine->test;
	struct datasets *datasets = pool_open(machine);
	uint8_t *data = malloc(FULL_BLOCK);
	struct space space;

	core_space(machine->core, &space);
	uint64_t blocks = space.available_cells * CELL_SIZE / 100 * 85 / FULL_BLOCK, rounds = 0;
	expect_done(machine, volume_create(datasets, "v", blocks * FULL_BLOCK, FULL_BLOCK, 0, &machine->error));
	struct volume *volume = pool_volume(machine, datasets, "v");
	const struct core_compact_counters *counters = core_compact_counters(machine->core);
	for (uint64_t i = 0; i < 2 * blocks || counters->rounds < rounds + 1 + past->target || core_compact_waiting(machine->core); i++) {
		uint64_t block = i < blocks ? i : sim_random_below(&past->random, blocks);
		block_fill(data, FULL_BLOCK, block, 1 + (unsigned)(i / blocks));
		expect_done(machine, volume_write(volume, block * FULL_BLOCK, FULL_BLOCK, data));
		if (i % 500 == 499)
			expect_done(machine, core_commit(machine->core));
		if (i == 2 * blocks - 1)
			rounds = counters->rounds;
	}
	expect(counters->blocks > blocks / 2);
	memcpy(past->txgs, machine->core->recent_txgs, sizeof(machine->core->recent_txgs));
	volume_close(volume);
	core_halt(machine->core, "crash");
	pool_abandon(machine, datasets);
	free(data);
}

static void go_back_compacted(struct machine *machine)
{
	struct past *past = machine->test;

	machine->rewind_txg = past->txgs[past->target];
	struct datasets *datasets = pool_open(machine);
	machine->rewind_txg = 0;
	expect_equal(datasets_walk(datasets, check_read, machine), 0);
	expect_equal(core_walk_system(machine->core, check_read, machine), 0);
	expect_equal(store_counters(core_store(machine->core))->healed_cells, 0);
	expect_equal(store_counters(core_store(machine->core))->reconstructed_cells, 0);
	pool_close(machine, datasets);
}

static void run_compacted(unsigned disks, unsigned k, unsigned m, unsigned rounds, uint64_t seed)
{
	struct past *past = sim_allocate(sizeof(*past));
	struct machine *machine = machine_new(disks, 64 * MIB, k, m, seed);
	struct sim_image *images[8];

	machine->test = past;
	past->target = rounds;
	sim_random_stream(&past->random, seed, "compacted", 0);
	machine->options.check_every_txg = false;
	machine_boot(machine, machine_create_program);
	machine_boot(machine, compacted_program);
	for (unsigned i = 0; i < disks; i++)
		images[i] = sim_disk_snapshot(machine->set->disks[i]);
	for (past->target = 0; past->target < 3; past->target++)
		for (unsigned only = 0; only < 2; only++) {
			for (unsigned i = 0; i < disks; i++)
				sim_disk_restore(machine->set->disks[i], images[i]);
			machine->read_only = only;
			machine_boot(machine, go_back_compacted);
		}
	for (unsigned i = 0; i < disks; i++)
		sim_snapshot_free(images[i]);
	machine_free(machine);
	free(past);
}

/* What is moved is freed where it was, like all else: the last commits are whole. */
static void test_compacted(void **state)
{
	(void)state;
	if (!SANITIZED)
		run_compacted(6, 4, 2, 1, 51);
}

/* ---- The dirty limit ---- */

struct limit {
	struct machine *machine;
	struct volume *volume;
	struct rt_group group;
	unsigned number;
	int64_t most;
	bool done;
};

static void writer(void *argument)
{
	struct limit *limit = argument;
	uint64_t at = limit->number++ * 4 * MIB;
	static uint8_t data[2 * MIB];

	for (unsigned i = 0; i < 4; i++)
		expect_done(limit->machine, volume_write(limit->volume, at, sizeof(data) - i * 1000, data));
	rt_group_done(limit->machine->rt, &limit->group, 0);
}

static void watcher(void *argument)
{
	struct limit *limit = argument;
	struct core *core = limit->machine->core;

	while (!limit->done) {
		int64_t dirty = core->dirty_bytes[0] + core->dirty_bytes[1];
		limit->most = dirty > limit->most ? dirty : limit->most;
		rt_sleep(limit->machine->rt, 20000);
	}
}

static void limit_program(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	struct limit limit = { .machine = machine };

	expect_done(machine, volume_create(datasets, "v", 64 * MIB, 16 << 10, 0, &machine->error));
	limit.volume = pool_volume(machine, datasets, "v");
	rt_group_init(&limit.group);
	expect_equal(rt_spawn(machine->rt, "watcher", watcher, &limit), 0);
	for (unsigned i = 0; i < 16; i++) {
		rt_group_add(&limit.group);
		expect_equal(rt_spawn(machine->rt, "writer", writer, &limit), 0);
	}
	(void)rt_group_wait(machine->rt, &limit.group);
	limit.done = true;
	/* A piece of 1 MiB passes also where the limit is less; blocks have some overhead. */
	int64_t allowed = (int64_t)machine->options.dirty_limit;
	allowed = allowed > (int64_t)(MIB + MIB / 8) ? allowed : (int64_t)(MIB + MIB / 8);
	if (limit.most > allowed)
		fprintf(stderr, "%lld bytes were dirty\n", (long long)limit.most);
	expect(limit.most <= allowed);
	volume_close(limit.volume);
	pool_close(machine, datasets);
}

/* Sixteen writers at once, each of more than the limit in all: it holds, and all of them end. */
static void test_limit(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct machine *machine = machine_new(3, 256 * MIB, 2, 1, 40 + i);
		machine->options.dirty_limit = (uint64_t[]){ 256 << 10, 2 * MIB, 8 * MIB }[i];
		machine_boot(machine, machine_create_program);
		machine_boot(machine, limit_program);
		machine_free(machine);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_rewind), cmocka_unit_test(test_compacted), cmocka_unit_test(test_limit) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
