/*
 * Full pools. Writers get ENOSPC, at once and not before there is little left; what was written before stays; trimming
 * and destroying always works, however the freed cells are scattered; and no commit ever lacks space, which would halt.
 */
#include "tests/unit/dataset/volumes.h"

struct filling {
	struct machine *machine;
	struct datasets *datasets;
	struct volume *volume;
	struct sim_random random;
	uint32_t block_size;
	uint64_t blocks;   /* of the volume: more than the pool holds */
	uint8_t *versions; /* of each block */
	uint8_t *data;
	unsigned version;
	unsigned percent;   /* of the usable bytes must be there for data */
	unsigned scattered; /* trims of single blocks, with a commit after each few */
};

#define VOLUME_FACTOR 2 /* the volume is larger than the pool */

static void alive(struct filling *filling)
{
	const char *why = "";

	if (core_halted(filling->machine->core, &why))
		fprintf(stderr, "halted: %s\n", why);
	expect(!core_halted(filling->machine->core, NULL));
}

static void flush(struct filling *filling)
{
	int status = volume_flush(filling->volume);

	alive(filling);
	expect_equal(status, 0);
}

static int put(struct filling *filling, uint64_t block)
{
	unsigned version = 1 + filling->version++ % 200;

	block_fill(filling->data, filling->block_size, block, version);
	int status = volume_write(filling->volume, block * filling->block_size, filling->block_size, filling->data);
	if (status == 0)
		filling->versions[block] = (uint8_t)version;
	else
		alive(filling);
	return status;
}

static void verify(struct filling *filling)
{
	for (uint64_t block = 0; block < filling->blocks; block++) {
		if (!filling->versions[block] && block % 16)
			continue;
		expect_done(filling->machine,
			    volume_read(filling->volume, block * filling->block_size, filling->block_size, filling->data));
		expect(block_is(filling->data, filling->block_size, block, filling->versions[block]));
	}
}

/* Writes blocks in order until the pool is full: how many had room. */
static uint64_t fill(struct filling *filling)
{
	uint64_t written = 0, block = 0;
	int status = 0;

	for (; block < filling->blocks; block++) {
		if (filling->versions[block])
			continue;
		status = put(filling, block);
		if (status < 0)
			break;
		written++;
	}
	expect(status == -ENOSPC);
	flush(filling);
	/* Nothing changes any more: the answer costs neither commits nor time. */
	for (unsigned i = 0; i < 50; i++)
		if (put(filling, block + i) == 0)
			written++;
	flush(filling);
	uint64_t commits = core_commits(filling->machine->core), now = rt_now(filling->machine->rt);
	for (unsigned i = 0; i < 20; i++)
		expect(put(filling, block) == -ENOSPC);
	expect(core_commits(filling->machine->core) - commits <= 6);
	expect(rt_now(filling->machine->rt) - now < 2 * NS_PER_S);
	alive(filling);
	return written;
}

static void trim(struct filling *filling, uint64_t block, uint64_t count)
{
	expect_done(filling->machine,
		    volume_trim(filling->volume, block * filling->block_size, count * filling->block_size));
	memset(filling->versions + block, 0, count);
}

static void overwrite(struct filling *filling, unsigned count)
{
	unsigned refused = 0;

	for (unsigned i = 0; i < count; i++) {
		int status = put(filling, sim_random_below(&filling->random, filling->blocks));
		expect(status == 0 || status == -ENOSPC);
		refused += status < 0;
		if (i % 100 == 99)
			flush(filling);
	}
	alive(filling);
}

static void fill_program(struct machine *machine)
{
	struct filling *filling = machine->test;
	struct space space;
	filling->datasets = pool_open(machine);
	core_space(machine->core, &space);
	uint64_t bytes = space.usable_cells * CELL_SIZE * VOLUME_FACTOR;
	filling->blocks = bytes / filling->block_size;
	filling->versions = calloc(filling->blocks, 1);
	filling->data = malloc(filling->block_size);
	expect_done(machine, volume_create(filling->datasets, "v", bytes, filling->block_size, 0, &machine->error));
	filling->volume = pool_volume(machine, filling->datasets, "v");

	uint64_t first = fill(filling), reach = first;
	expect(first * filling->block_size * 100 >= space.usable_cells * CELL_SIZE * filling->percent);
	verify(filling);
	overwrite(filling, 300);
	/* One block here and there, a commit each: what the pool's own trees write must be found again. */
	for (unsigned i = 0; i < filling->scattered; i++) {
		for (unsigned j = 0; j <= i % 5; j++)
			trim(filling, sim_random_below(&filling->random, reach), 1);
		flush(filling);
		alive(filling);
	}
	verify(filling);
	for (unsigned round = 0; round < 2; round++) {
		uint64_t half = reach / 2;
		trim(filling, 0, half);
		for (unsigned i = 0; i < 4; i++)
			expect_done(machine, core_commit_forced(machine->core));
		(void)fill(filling);
		overwrite(filling, 100);
		verify(filling);
		trim(filling, 0, filling->blocks);
		for (unsigned i = 0; i < 4; i++)
			expect_done(machine, core_commit_forced(machine->core));
		uint64_t again = fill(filling);
		expect(again * 10 >= first * 8);
	}
	volume_close(filling->volume);
	expect_done(machine, volume_destroy(filling->datasets, "v", &machine->error));
	for (unsigned i = 0; i < 6; i++)
		expect_done(machine, core_commit_forced(machine->core));
	struct space after;
	core_space(machine->core, &after);
	expect(after.live_cells < 2000);
	expect_done(machine, volume_create(filling->datasets, "v", bytes, filling->block_size, 0, &machine->error));
	filling->volume = pool_volume(machine, filling->datasets, "v");
	memset(filling->versions, 0, filling->blocks);
	expect(fill(filling) * 10 >= first * 8);
	verify(filling);
	volume_close(filling->volume);
	pool_close(machine, filling->datasets);
	free(filling->versions);
	free(filling->data);
}

/* `hidden`: disks that are away while the pool is filled; `more`: MiB by which each disk is larger than the one before. */
static void fill_degraded(unsigned disks, unsigned k, unsigned m, uint32_t block_size, unsigned scattered, unsigned percent,
			  uint32_t hidden, unsigned more)
{
	struct filling filling = { .block_size = block_size, .scattered = scattered, .percent = percent };
	struct machine *machine = machine_new(disks, 64 * MIB, k, m, disks * 1000 + k * 100 + m * 10 + block_size / 4096);

	for (unsigned i = 0; i < disks; i++)
		sim_disk_resize(machine->set->disks[i], (64 + i * more) * MIB);
	filling.machine = machine;
	sim_random_stream(&filling.random, machine->sim->seed, "filling", 0);
	machine->test = &filling;
	machine_boot(machine, machine_create_program);
	machine->hidden = hidden;
	machine_boot(machine, fill_program);
	machine_free(machine);
}

static void fill_geometry(unsigned disks, unsigned k, unsigned m, uint32_t block_size, unsigned scattered, unsigned percent)
{
	fill_degraded(disks, k, m, block_size, scattered, percent, 0, 0);
}

static void test_mirror(void **state)
{
	(void)state;
	fill_geometry(2, 1, 1, 4 << 10, 500, 84);
	if (SANITIZED)
		return;
	fill_geometry(2, 1, 1, 16 << 10, 100, 85);
	fill_geometry(2, 1, 1, 128 << 10, 100, 45); /* 63 rows in a segment, and blocks of 32 */
}

static void test_raid6(void **state)
{
	(void)state;
	fill_geometry(6, 4, 2, 4 << 10, SANITIZED ? 300 : 1500, 81);
	fill_geometry(6, 4, 2, 128 << 10, 100, 80);
}

static void test_single(void **state)
{
	(void)state;
	if (SANITIZED)
		return;
	fill_geometry(1, 1, 0, 4 << 10, 500, 72);
	fill_geometry(1, 1, 0, 16 << 10, 100, 79);
}

static void test_others(void **state)
{
	(void)state;
	if (SANITIZED)
		return;
	fill_geometry(5, 3, 1, 16 << 10, 100, 85);
	fill_geometry(3, 3, 0, 16 << 10, 100, 85);
}

/* Narrow segments, segments without parity, and disks of several sizes, of which the large ones are left in the end. */
static void test_degraded(void **state)
{
	(void)state;
	fill_degraded(6, 4, 2, 128 << 10, 100, 30, 3, 0);
	fill_degraded(4, 2, 1, 128 << 10, 100, 60, 0, 40);
	if (SANITIZED)
		return;
	fill_degraded(6, 4, 2, 4 << 10, 500, 35, 3, 0);
	fill_degraded(2, 1, 1, 4 << 10, 300, 75, 1, 0);
	fill_degraded(5, 3, 1, 16 << 10, 300, 70, 0, 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mirror),
		cmocka_unit_test(test_raid6),
		cmocka_unit_test(test_single),
		cmocka_unit_test(test_others),
		cmocka_unit_test(test_degraded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
