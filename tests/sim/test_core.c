/* The shortest way through the whole core: create, import, write, commit, export, import again, read; also after a crash and degraded. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "libpool/dataset/dataset.h"
#include "tests/sim/simdisk.h"

struct world {
	struct sim_env *sim;
	struct sim_disks *set;
	struct disk_provider *provider;
	struct rt *rt;
	unsigned disks, k, m;
	struct pool_error error;
	int (*step)(struct world *world, struct core *core, struct datasets *datasets);
	bool abandon;
	unsigned absent; /* mask */
	int status;
};

#define CHECK(world, expression)                                                                                      \
	do {                                                                                                          \
		int check_status = (expression);                                                                      \
		if (check_status < 0) {                                                                               \
			fprintf(stderr, "%s:%d: %s: %d %s\n", __FILE__, __LINE__, #expression, check_status,          \
				(world)->error.text);                                                                 \
			return check_status;                                                                          \
		}                                                                                                     \
	} while (0)

static struct core_options options_of(struct world *world)
{
	return (struct core_options){ .rt = world->rt, .provider = world->provider, .cache_limit = 8 << 20 };
}

static int create(struct world *world)
{
	struct core_options options = options_of(world);
	struct disk *disks[16];

	for (unsigned i = 0; i < world->disks; i++) {
		char name[16];
		snprintf(name, sizeof(name), "sim:%u", i);
		CHECK(world, world->provider->ops->open(world->provider, world->rt, name, DISK_OPEN_EXCLUSIVE, &disks[i], &world->error));
	}
	struct core_create plan = { .name = "tank", .k = world->k, .m = world->m, .disk_count = world->disks, .disks = disks };
	CHECK(world, core_create(&options, &plan, &world->error));
	for (unsigned i = 0; i < world->disks; i++)
		disk_close(disks[i]);
	return 0;
}

static int run_imported(struct world *world)
{
	struct core_options options = options_of(world);
	struct core_disk_found found[16];
	struct core_import import = { .disks = found };
	struct core *core;
	struct datasets *datasets;

	for (unsigned i = 0; i < world->disks; i++) {
		char name[16];
		if (world->absent >> i & 1)
			continue;
		snprintf(name, sizeof(name), "sim:%u", i);
		struct core_disk_found *disk = &found[import.disk_count++];
		disk->path = strdup(name);
		CHECK(world, world->provider->ops->open(world->provider, world->rt, name, DISK_OPEN_EXCLUSIVE, &disk->disk, &world->error));
		CHECK(world, core_label_read(disk->disk, &disk->label));
	}
	CHECK(world, core_import(&options, &import, &core, &world->error));
	CHECK(world, datasets_open(core, &datasets, &world->error));
	CHECK(world, world->step(world, core, datasets));
	datasets_close(datasets);
	if (world->abandon)
		core_abandon(core);
	else
		CHECK(world, core_export(core, &world->error));
	return 0;
}

static void main_create(void *argument)
{
	struct world *world = argument;

	world->status = create(world);
}

static void main_imported(void *argument)
{
	struct world *world = argument;

	world->status = run_imported(world);
}

static void boot(struct world *world, fiber_function *program)
{
	assert_int_equal(rt_new(&world->sim->env, &world->rt), 0);
	world->provider = sim_disks_provider(world->set, world->sim, world->rt);
	world->status = -1;
	world->error = (struct pool_error){ 0 };
	assert_int_equal(rt_run(world->rt, program, world), 0);
	assert_int_equal(world->status, 0);
	sim_disks_provider_free(world->provider);
	rt_free(world->rt);
}

static uint8_t pattern(uint64_t offset, unsigned version)
{
	return (uint8_t)((offset * 2654435761u >> 13) ^ (offset >> 12) ^ version * 77);
}

#define VOLUME_BYTES (8u << 20)

static int step_write(struct world *world, struct core *core, struct datasets *datasets)
{
	struct volume *volume;
	uint8_t *data = malloc(VOLUME_BYTES);

	(void)core;
	CHECK(world, volume_create(datasets, "one", 64u << 20, 16 << 10, BLOCK_COMPRESS_OFF, &world->error));
	CHECK(world, volume_open(datasets, "one", &volume, &world->error));
	for (size_t i = 0; i < VOLUME_BYTES; i++)
		data[i] = pattern(i, 1);
	CHECK(world, volume_write(volume, 0, VOLUME_BYTES, data));
	CHECK(world, volume_flush(volume));
	CHECK(world, volume_write(volume, 5000, 3, "abc"));
	CHECK(world, volume_flush(volume));
	volume_close(volume);
	free(data);
	return 0;
}

static int step_read(struct world *world, struct core *core, struct datasets *datasets)
{
	struct volume *volume;
	uint8_t *data = malloc(VOLUME_BYTES);

	(void)core;
	CHECK(world, volume_open(datasets, "one", &volume, &world->error));
	CHECK(world, volume_read(volume, 0, VOLUME_BYTES, data));
	for (size_t i = 0; i < VOLUME_BYTES; i++)
		if (data[i] != (i >= 5000 && i < 5003 ? "abc"[i - 5000] : pattern(i, 1))) {
			fprintf(stderr, "wrong byte at %zu\n", i);
			return -1;
		}
	volume_close(volume);
	free(data);
	return 0;
}

static int step_many(struct world *world, struct core *core, struct datasets *datasets)
{
	struct volume *volume;
	uint8_t *data = malloc(1 << 20);

	memset(data, 7, 1 << 20);
	CHECK(world, volume_create(datasets, "two", 64u << 20, 4 << 10, BLOCK_COMPRESS_OFF, &world->error));
	CHECK(world, volume_open(datasets, "two", &volume, &world->error));
	for (unsigned round = 0; round < 200; round++) {
		uint64_t offset = (uint64_t)(round * 7919 % 60) << 20;
		for (unsigned i = 0; i < 1 << 20; i += 64)
			data[i] = pattern(i, round);
		CHECK(world, volume_write(volume, offset, 100000, data));
		CHECK(world, volume_flush(volume));
	}
	volume_close(volume);
	CHECK(world, volume_destroy(datasets, "two", &world->error));
	for (unsigned i = 0; i < 4; i++)
		CHECK(world, core_commit_forced(core));
	free(data);
	return 0;
}

static void run_geometry(unsigned disks, unsigned k, unsigned m)
{
	struct world world = { .disks = disks, .k = k, .m = m };

	world.sim = sim_env_new(disks * 100 + k * 10 + m);
	world.set = sim_disks_new(1);
	for (unsigned i = 0; i < disks; i++)
		sim_disks_add(world.set, UINT64_C(128) << 20);
	boot(&world, main_create);
	world.step = step_write;
	boot(&world, main_imported);
	world.step = step_read;
	world.abandon = true;
	boot(&world, main_imported);
	boot(&world, main_imported);
	world.abandon = false;
	world.step = step_many;
	boot(&world, main_imported);
	world.step = step_read;
	boot(&world, main_imported);
	for (unsigned lost = 0; lost < m; lost++) {
		world.absent |= 1u << (lost * 2 % disks);
		boot(&world, main_imported);
	}
	sim_disks_free(world.set);
	sim_env_free(world.sim);
}

static void test_raid6(void **state)
{
	(void)state;
	run_geometry(6, 4, 2);
}

static void test_mirror(void **state)
{
	(void)state;
	run_geometry(2, 1, 1);
}

static void test_single(void **state)
{
	(void)state;
	run_geometry(1, 1, 0);
}

static void test_stripe(void **state)
{
	(void)state;
	run_geometry(3, 3, 0);
}

static void test_raid7(void **state)
{
	(void)state;
	run_geometry(8, 4, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_raid6), cmocka_unit_test(test_mirror), cmocka_unit_test(test_single),
		cmocka_unit_test(test_stripe), cmocka_unit_test(test_raid7),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
