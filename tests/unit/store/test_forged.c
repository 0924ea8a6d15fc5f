/* Pages, logs, maps and sysmaps that a checksum vouches for and that make no sense: refused or taken, never a crash. */
#include "tests/unit/store/harness.h"

static void place_some(struct world *world)
{
	static const enum segment_class classes[] = {CLASS_HOT, CLASS_META, CLASS_SYS};

	for (unsigned txg = 0; txg < 12; txg++) {
		world_begin(world);
		for (size_t i = 0; i < world->blocks.count; i++)
			if (sim_random_chance(&world->random, 300000))
				world_kill(world, world_block(world, i));
		for (unsigned i = 0; i < 12; i++)
			world_place(world, classes[i % 3], (unsigned)sim_random_between(&world->random, 1, 8));
		world_commit(world);
	}
}

static void spoil(struct world *world, uint8_t *bytes, size_t size)
{
	unsigned count = (unsigned)sim_random_between(&world->random, 1, 4);

	for (unsigned i = 0; i < count && size; i++) {
		uint8_t *byte = &bytes[sim_random_below(&world->random, size)];
		switch (sim_random_below(&world->random, 3)) {
		case 0: *byte ^= (uint8_t)(1u << sim_random_below(&world->random, 8)); break;
		case 1: *byte = (uint8_t)sim_random_next(&world->random); break;
		default: *byte = 0xFF;
		}
	}
}

static int load_spoiled(struct world *world, struct alloc *alloc, unsigned what)
{
	static uint8_t copy[LIVEMAP_PAGE_SIZE];
	static struct sysmap_segment sys[SYSMAP_SEGMENTS_MAX];
	unsigned sys_count = alloc_sysmap(world->alloc, sys);
	int status = 0;

	for (unsigned i = 0; i < sys_count && status == 0; i++) {
		if (what == 0 && i == 0)
			sys[i].segment = (uint32_t)sim_random_below(&world->random, 40);
		status = alloc_load_sys(alloc, &sys[i]);
	}
	for (int kind = 0; kind < 2; kind++)
		for (size_t page = 0; page < world->pages[kind].count && status == 0; page++) {
			const struct world_page *known = array_at(&world->pages[kind], struct world_page, page);
			size_t size = kind ? LIVEMAP_PAGE_SIZE : SEGTAB_PAGE_SIZE;
			if (!known->written)
				continue;
			memcpy(copy, known->raw, size);
			if (what == 1)
				spoil(world, copy, sim_random_below(&world->random, 2) ? 4096 : size);
			status = alloc_load_page(alloc, kind, page, copy, size);
		}
	size_t spoiled = sim_random_below(&world->random, world->logs.count);
	for (size_t i = 0; i < world->logs.count && status == 0; i++) {
		const struct world_log *log = array_at(&world->logs, struct world_log, i);
		uint8_t *bytes = malloc(log->bytes.count + 1);
		memcpy(bytes, log->bytes.items, log->bytes.count);
		if (what == 2 && i == spoiled)
			spoil(world, bytes, log->bytes.count);
		status = alloc_load_log(alloc, log->txg, bytes, log->bytes.count, i + 3 >= world->logs.count, i + 1 == world->logs.count);
		free(bytes);
	}
	size_t wrong = sim_random_below(&world->random, world->map.count);
	for (size_t i = 0; i < world->map.count && status == 0; i++) {
		struct world_map_entry entry = *array_at(&world->map, struct world_map_entry, i);
		if (what == 3 && i == wrong)
			spoil(world, (uint8_t *)&entry, sizeof(entry));
		status = alloc_load_batch(alloc, entry.segment, &entry.batch);
	}
	struct final_batch final = world->final;
	if (what == 4)
		spoil(world, (uint8_t *)&final, sizeof(final));
	return status < 0 ? status : alloc_load_finish(alloc, alloc_sequence(world->alloc), world->committed, &final);
}

static void forged(struct world *world)
{
	unsigned refused = 0;

	place_some(world);
	for (unsigned round = 0; round < 1000; round++) {
		struct alloc *alloc;
		world_alloc_new(world, &alloc);
		int status = load_spoiled(world, alloc, round % 5);
		assert_true(status == 0 || status == -POOL_EFORMAT || status == -ENOMEM);
		refused += status < 0;
		alloc_free_all(alloc);
	}
	assert_true(refused > 100);
}

static void test_forged(void **state)
{
	static const struct world_options shapes[] = {{.k = 4, .m = 2, .disks = 6, .seed = 1}, {.k = 1, .m = 0, .disks = 1, .seed = 2},
						      {.k = 2, .m = 1, .disks = 4, .seed = 3}};

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct world *world = world_new(&shapes[i]);
		world_run(world, forged);
		world_free(world);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_forged)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
