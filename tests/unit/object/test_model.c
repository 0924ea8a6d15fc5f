/*
 * Random operations on blobs and trees against plain arrays, with syncs running beside them and a crash now and then: the
 * objset is opened anew from the last root, and all must be as it was when that txg was closed.
 *
 * Fibers: each has a tree and a blob of its own, and shares one blob with all others, in which it owns every n-th
 * unit of 256 bytes. A controller closes txgs: it waits until no operation of the old txg is under way, as the
 * transaction layer does, and syncs while the next txg's operations go on.
 */
#include "tests/unit/object/fake_blocks.h"

#include "libpool/format/tree_node.h"

#define FIBERS 4u
#define UNIT 256u
#define UNITS 16u /* in a block of 4 KiB */
#define PLACES 192u
#define KEYS 1500u
#define OPERATIONS 30000u
#define SHORT 0x80000000u /* a stamp of which only the first 4 bytes are in the unit: fits into a pointer */

static const struct seed_parameters {
	uint64_t seed;
	unsigned delay_percent, cached_percent;
	uint64_t pause; /* between syncs, at most */
} *parameters;

/* The blocks that are written: some at the start, some at each size of the radix. */
static uint64_t place_number(unsigned place)
{
	if (place < 100)
		return place;
	if (place < 130)
		return 64 * 64 - 15 + (place - 100);
	if (place < 150)
		return (UINT64_C(1) << 24) - 10 + (place - 130);
	if (place < 170)
		return (UINT64_C(1) << 36) - 10 + (place - 150);
	return (UINT64_C(1) << 48) - PLACES + place;
}

struct blob_model {
	uint32_t units[PLACES][UNITS]; /* 0: zeroes, else the stamp */
};

struct key {
	uint16_t length;
	uint8_t bytes[OBJECT_KEY_MAX];
};

struct tree_model {
	uint32_t stamps[KEYS]; /* 0: not there */
};

/* What one objset should hold. */
struct model {
	uint64_t numbers[2 * FIBERS + 1]; /* own blobs, own trees, the shared blob */
	struct blob_model blobs[FIBERS + 1];
	struct tree_model trees[FIBERS];
};

struct world {
	struct fake_test *test;
	struct objset *objset;
	struct object *objects[2 * FIBERS + 1];
	struct model now, closing;
	struct key keys[KEYS]; /* sorted */
	uint64_t txg, random;
	unsigned busy, running, operations;
	bool gate; /* no new operation may begin */
	struct rt_queue changed;
	uint32_t stamp;
};

static uint64_t below(struct world *world, uint64_t limit)
{
	return hash_u64(++world->random) % limit;
}

static void fill_unit(uint8_t *to, size_t length, uint32_t stamp)
{
	memset(to, 0, length);
	for (size_t i = 0; stamp && i + 4 <= length; i += 4) {
		memcpy(to + i, &stamp, 4);
		if (stamp & SHORT)
			break;
	}
}

static void expect_unit(const uint8_t *data, uint32_t stamp)
{
	uint8_t wanted[UNIT];

	fill_unit(wanted, UNIT, stamp);
	assert_memory_equal(data, wanted, UNIT);
}

static size_t value_length(uint32_t stamp)
{
	uint64_t length = hash_u64(stamp);

	return length % 50 == 0 ? OBJECT_VALUE_MAX - length / 50 % 3 : length % 3 == 0 ? length / 3 % 10 : length / 3 % 400;
}

static int compare_keys(const void *left, const void *right)
{
	const struct key *a = left, *b = right;

	return tree_key_compare(a->bytes, a->length, b->bytes, b->length);
}

static void make_keys(struct world *world)
{
	for (unsigned i = 0; i < KEYS; i++) {
		struct key *key = &world->keys[i];

		key->length = i == 0 ? 0 : (uint16_t)(i % 40 == 0 ? OBJECT_KEY_MAX - i / 40 % 2 : 2 + i % 30);
		for (unsigned j = 0; j < key->length; j++)
			key->bytes[j] = (uint8_t)(j < 2 ? i >> 8 * (1 - j) : j % 7);
	}
	qsort(world->keys, KEYS, sizeof(struct key), compare_keys);
}

/* --- operations; each checks what it reads --- */

static void blob_write_units(struct world *world, unsigned index, unsigned place, unsigned first, unsigned count)
{
	uint8_t data[UNIT * UNITS];
	uint32_t stamp = below(world, 12) ? ++world->stamp : 0;
	uint64_t offset = place_number(place) * 4096 + first * UNIT;

	for (unsigned i = 0; i < count; i++)
		fill_unit(data + i * UNIT, UNIT, stamp);
	if (first == 0 && count == UNITS && below(world, 2)) {
		struct buffer *buffer = buffer_new_copy(data, sizeof(data));

		assert_int_equal(blob_write_block(world->objects[index], world->txg, place_number(place), buffer), 0);
		buffer_unref(buffer);
	} else {
		assert_int_equal(blob_write(world->objects[index], world->txg, offset, count * UNIT, data), 0);
	}
	for (unsigned i = 0; i < count; i++)
		world->now.blobs[index].units[place][first + i] = stamp;
}

/* A block with next to nothing in it. */
static void blob_write_tiny(struct world *world, unsigned index, unsigned place)
{
	uint8_t data[UNIT * UNITS] = { 0 };
	uint32_t stamp = ++world->stamp | SHORT;

	memcpy(data, &stamp, sizeof(stamp));
	assert_int_equal(blob_write(world->objects[index], world->txg, place_number(place) * 4096, sizeof(data), data), 0);
	memset(world->now.blobs[index].units[place], 0, sizeof(world->now.blobs[index].units[place]));
	world->now.blobs[index].units[place][0] = stamp;
}

static void blob_check_units(struct world *world, unsigned index, unsigned place, unsigned first, unsigned step)
{
	uint8_t data[UNIT * UNITS];

	assert_int_equal(blob_read(world->objects[index < FIBERS ? index : 2 * FIBERS], place_number(place) * 4096, sizeof(data), data), 0);
	for (unsigned i = first; i < UNITS; i += step)
		expect_unit(data + i * UNIT, world->now.blobs[index].units[place][i]);
}

static void blob_punch_some(struct world *world, unsigned index)
{
	unsigned first = (unsigned)below(world, PLACES), last = first + (unsigned)below(world, below(world, 4) ? 12 : PLACES);
	uint64_t offset, end;
	unsigned first_unit = (unsigned)below(world, UNITS), last_unit = (unsigned)below(world, UNITS);

	if (last >= PLACES)
		last = PLACES - 1;
	if (first == last && last_unit < first_unit)
		last_unit = first_unit;
	offset = place_number(first) * 4096 + first_unit * UNIT;
	end = place_number(last) * 4096 + (last_unit + 1) * UNIT;
	assert_int_equal(blob_punch(world->objects[index], world->txg, offset, end - offset), 0);
	for (unsigned place = first; place <= last; place++)
		for (unsigned unit = 0; unit < UNITS; unit++)
			if ((place > first || unit >= first_unit) && (place < last || unit <= last_unit))
				world->now.blobs[index].units[place][unit] = 0;
}

static bool place_has_data(const struct world *world, unsigned index, unsigned place)
{
	for (unsigned unit = 0; unit < UNITS; unit++)
		if (world->now.blobs[index].units[place][unit])
			return true;
	return false;
}

/* Blocks of zeroes may count as data; blocks with data never as holes. */
static void blob_check_seek(struct world *world, unsigned index)
{
	unsigned place = (unsigned)below(world, PLACES);
	uint64_t from = place_number(place) * 4096, found;

	assert_int_equal(blob_seek(world->objects[index], from, UINT64_MAX, true, &found), 0);
	for (; place < PLACES && place_number(place) * 4096 < found; place++)
		assert_false(place_has_data(world, index, place));
	assert_int_equal(blob_seek(world->objects[index], from, UINT64_MAX, false, &found), 0);
	for (place = 0; place < PLACES; place++)
		if (found / 4096 == place_number(place))
			assert_false(place_has_data(world, index, place));
}

static void own_blob_operation(struct world *world, unsigned index)
{
	unsigned place = (unsigned)below(world, PLACES), first = (unsigned)below(world, UNITS);

	switch (below(world, 10)) {
	case 0:
		blob_punch_some(world, index);
		break;
	case 1:
		blob_check_seek(world, index);
		break;
	case 2:
		blob_prefetch(world->objects[index], place_number(place), 20);
		break;
	case 3:
		blob_write_tiny(world, index, place);
		break;
	case 4:
		blob_write_units(world, index, place, 0, UNITS);
		break;
	case 5: case 6:
		blob_write_units(world, index, place, first, 1 + (unsigned)below(world, UNITS - first));
		break;
	default:
		blob_check_units(world, index, place, 0, 1);
	}
}

static void shared_blob_operation(struct world *world, unsigned fiber)
{
	unsigned place = (unsigned)below(world, 6), unit = fiber + FIBERS * (unsigned)below(world, UNITS / FIBERS);

	if (below(world, 3) == 0)
		blob_check_units(world, FIBERS, place, fiber, FIBERS);
	else if (below(world, 4) == 0) {
		assert_int_equal(blob_punch(world->objects[2 * FIBERS], world->txg, place_number(place) * 4096 + unit * UNIT, UNIT), 0);
		world->now.blobs[FIBERS].units[place][unit] = 0;
	} else {
		uint8_t data[UNIT];
		uint32_t stamp = ++world->stamp;

		fill_unit(data, UNIT, stamp);
		assert_int_equal(blob_write(world->objects[2 * FIBERS], world->txg, place_number(place) * 4096 + unit * UNIT, UNIT, data), 0);
		world->now.blobs[FIBERS].units[place][unit] = stamp;
	}
}

static void require_value(uint32_t stamp, const uint8_t *value, size_t length)
{
	uint8_t wanted[OBJECT_VALUE_MAX];

	assert_int_equal(length, value_length(stamp));
	fill_unit(wanted, length, stamp);
	assert_memory_equal(value, wanted, length);
}

static void tree_change_key(struct world *world, unsigned fiber, unsigned index)
{
	const struct key *key = &world->keys[index];
	struct object *tree = world->objects[FIBERS + fiber];
	uint8_t value[OBJECT_VALUE_MAX];
	uint32_t stamp = ++world->stamp;

	if (below(world, 100) < (world->operations / 3000 % 2 ? 70 : 30)) {
		assert_int_equal(tree_delete(tree, world->txg, key->bytes, key->length), 0);
		world->now.trees[fiber].stamps[index] = 0;
		return;
	}
	fill_unit(value, value_length(stamp), stamp);
	assert_int_equal(tree_put(tree, world->txg, key->bytes, key->length, value, value_length(stamp)), 0);
	world->now.trees[fiber].stamps[index] = stamp;
}

static void tree_check_get(struct world *world, unsigned fiber, unsigned index)
{
	const struct key *key = &world->keys[index];
	uint8_t value[OBJECT_VALUE_MAX];
	size_t length;
	int result = tree_get(world->objects[FIBERS + fiber], key->bytes, key->length, value, sizeof(value), &length);
	uint32_t stamp = world->now.trees[fiber].stamps[index];

	assert_int_equal(result, stamp ? 0 : -ENOENT);
	if (stamp)
		require_value(stamp, value, length);
}

static void tree_check_next(struct world *world, unsigned fiber, unsigned index, unsigned steps)
{
	uint8_t key[OBJECT_KEY_MAX], value[OBJECT_VALUE_MAX];
	size_t key_length = world->keys[index].length, length;
	bool after = below(world, 2);

	memcpy(key, world->keys[index].bytes, key_length);
	index += after;
	while (steps--) {
		int result = tree_next(world->objects[FIBERS + fiber], key, key_length, after, key, &key_length, value, &length);

		while (index < KEYS && !world->now.trees[fiber].stamps[index])
			index++;
		assert_int_equal(result, index < KEYS ? 0 : -ENOENT);
		if (result < 0)
			return;
		assert_int_equal(key_length, world->keys[index].length);
		assert_memory_equal(key, world->keys[index].bytes, key_length);
		require_value(world->now.trees[fiber].stamps[index], value, length);
		index++;
		after = true;
	}
}

static void tree_operation(struct world *world, unsigned fiber)
{
	unsigned index = (unsigned)below(world, KEYS);

	switch (below(world, 8)) {
	case 0:
		tree_check_next(world, fiber, index, 1 + (unsigned)below(world, 5));
		break;
	case 1: case 2:
		tree_check_get(world, fiber, index);
		break;
	default:
		for (unsigned i = 0; i < 4 && index + i < KEYS; i++)
			tree_change_key(world, fiber, index + i);
	}
}

/* Now and then an object goes, and another takes its place. */
static void replace_object(struct world *world, unsigned fiber, bool tree)
{
	struct object_create_options options = {
		.kind = tree ? DNODE_TREE : DNODE_BLOB, .block_shift = 12, .indirect_shift = fiber % 2 || tree ? 14 : 12,
	};
	unsigned index = fiber + (tree ? FIBERS : 0);

	assert_int_equal(object_destroy(world->objects[index], world->txg), 0);
	object_close(world->objects[index]);
	assert_int_equal(object_create(world->objset, world->txg, &options, &world->objects[index]), 0);
	assert_true(object_number(world->objects[index]) > world->now.numbers[index]);
	world->now.numbers[index] = object_number(world->objects[index]);
	if (tree)
		world->now.trees[fiber] = (struct tree_model){ 0 };
	else
		world->now.blobs[fiber] = (struct blob_model){ 0 };
}

struct worker {
	struct world *world;
	unsigned fiber;
};

static void worker_fiber(void *argument)
{
	struct worker *worker = argument;
	struct world *world = worker->world;

	while (world->operations < OPERATIONS) {
		while (world->gate)
			rt_queue_wait(world->test->rt, &world->changed);
		world->busy++;
		world->operations++;
		switch (below(world, 50)) {
		case 0:
			if (below(world, 20) == 0)
				replace_object(world, worker->fiber, below(world, 2));
			break;
		default:
			if (below(world, 3) == 0)
				shared_blob_operation(world, worker->fiber);
			else if (below(world, 2))
				own_blob_operation(world, worker->fiber);
			else
				tree_operation(world, worker->fiber);
		}
		world->busy--;
		rt_queue_wake_all(world->test->rt, &world->changed);
		if (below(world, 4) == 0)
			rt_sleep(world->test->rt, below(world, 10 + 60 * parameters->delay_percent));
	}
	world->running--;
	rt_queue_wake_all(world->test->rt, &world->changed);
}

static void check_all(struct world *world)
{
	for (unsigned fiber = 0; fiber <= FIBERS; fiber++) {
		for (unsigned place = 0; place < PLACES; place++) {
			uint8_t data[UNIT * UNITS];

			assert_int_equal(blob_read(world->objects[fiber < FIBERS ? fiber : 2 * FIBERS], place_number(place) * 4096, sizeof(data), data), 0);
			for (unsigned i = 0; i < UNITS; i++)
				expect_unit(data + i * UNIT, world->now.blobs[fiber].units[place][i]);
		}
		if (fiber < FIBERS)
			tree_check_next(world, fiber, 0, KEYS + 1);
	}
}

/* The entries on disk are counted exactly. */
static void check_counts(struct world *world)
{
	for (unsigned fiber = 0; fiber < FIBERS; fiber++) {
		struct dnode dnode;
		uint64_t count = 0;

		for (unsigned i = 0; i < KEYS; i++)
			count += world->now.trees[fiber].stamps[i] != 0;
		object_info(world->objects[FIBERS + fiber], &dnode);
		assert_int_equal(dnode.max_block, count);
	}
}

static void open_objects(struct world *world)
{
	for (unsigned i = 0; i < 2 * FIBERS + 1; i++)
		assert_int_equal(object_open(world->objset, world->now.numbers[i], &world->objects[i]), 0);
}

/* Everything since the last sync is lost. */
static void crash(struct world *world)
{
	for (unsigned i = 0; i < 2 * FIBERS + 1; i++)
		object_close(world->objects[i]);
	world->objset = fake_reopen(world->test, world->objset);
	world->now = world->closing;
	world->txg += 64;
	open_objects(world);
	assert_int_equal(objset_object_count(world->objset), 2 * FIBERS + 1);
	check_all(world);
	check_counts(world);
}

static void close_gate(struct world *world)
{
	world->gate = true;
	while (world->busy)
		rt_queue_wait(world->test->rt, &world->changed);
}

static void open_gate(struct world *world)
{
	world->gate = false;
	rt_queue_wake_all(world->test->rt, &world->changed);
}

static void model_body(void *argument)
{
	struct world *world = calloc(1, sizeof(*world));
	struct worker workers[FIBERS];
	struct objset_options options = fake_options(argument);

	world->test = argument;
	world->random = world->test->fake.seed * 7;
	world->txg = 1;
	rt_queue_init(&world->changed);
	make_keys(world);
	assert_int_equal(objset_create(world->test->rt, world->test->blocks, &options, 1, &world->objset), 0);
	for (unsigned i = 0; i < 2 * FIBERS + 1; i++) {
		struct object_create_options create = { .kind = i >= FIBERS && i < 2 * FIBERS ? DNODE_TREE : DNODE_BLOB, .block_shift = 12 };

		assert_int_equal(object_create(world->objset, 1, &create, &world->objects[i]), 0);
		world->now.numbers[i] = object_number(world->objects[i]);
	}
	for (unsigned i = 0; i < FIBERS; i++) {
		workers[i] = (struct worker){ world, i };
		world->running++;
		assert_int_equal(rt_spawn(world->test->rt, "worker", worker_fiber, &workers[i]), 0);
	}
	for (unsigned round = 1; world->running; round++) {
		uint64_t closed;

		rt_sleep(world->test->rt, below(world, parameters->pause));
		close_gate(world);
		closed = world->txg++;
		world->closing = world->now;
		open_gate(world);
		assert_int_equal(fake_sync(world->test->blocks, &world->objset, 1, closed), 0);
		if (round % 4 == 0) {
			close_gate(world);
			crash(world);
			open_gate(world);
		}
	}
	check_all(world);
	while (objset_is_dirty(world->objset, world->txg) || objset_has_pending_kills(world->objset)) {
		assert_int_equal(fake_sync(world->test->blocks, &world->objset, 1, world->txg), 0);
		world->txg++;
	}
	check_all(world);
	check_counts(world);
	for (unsigned i = 0; i < 2 * FIBERS + 1; i++)
		object_close(world->objects[i]);
	if (getenv("OBJECT_TEST_VERBOSE"))
		print_message("seed: %u txgs, %u writes, %u holes, %u embedded, %u kills, %u reads, %u stale\n", (unsigned)world->txg,
			      (unsigned)world->test->blocks->writes, (unsigned)world->test->blocks->holes, (unsigned)world->test->blocks->embedded,
			      (unsigned)world->test->blocks->kills, (unsigned)world->test->blocks->reads, (unsigned)world->test->blocks->stale_reads);
	objset_close(world->objset);
	free(world);
}

static void test_model(void **state)
{
	parameters = *state;
	fake_run(parameters->seed, model_body, parameters->delay_percent, parameters->cached_percent);
}

int main(int count, char **arguments)
{
	static struct seed_parameters seeds[] = {
		{ 1, 1, 100, 2000 },    { 2, 10, 90, 20000 },  { 3, 30, 50, 20000 },   { 4, 60, 0, 20000 },
		{ 5, 90, 20, 200000 },  { 6, 100, 70, 900000 }, { 7, 5, 0, 200000 },   { 8, 50, 95, 2000000 },
		{ 9, 30, 60, 3000000 },
	};
	struct CMUnitTest tests[sizeof(seeds) / sizeof(seeds[0])];

	if (count > 1) /* another seed by hand */
		for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++)
			seeds[i].seed += strtoull(arguments[1], NULL, 0) * 100;
	for (size_t i = 0; i < sizeof(seeds) / sizeof(seeds[0]); i++)
		tests[i] = (struct CMUnitTest){ "model", test_model, NULL, NULL, &seeds[i] };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
