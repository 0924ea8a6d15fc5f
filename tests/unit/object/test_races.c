/*
 * What happens while a reader waits. Reads are held back, something else is done, and they are let go; killed blocks stay
 * readable meanwhile, as they do in a pool for two commits, so that a stale read can't hide a missing check.
 */
#include "tests/unit/object/fake_blocks.h"

struct race {
	struct fake_test *test;
	struct objset *objset;
	struct object *object, *opened;
	uint64_t txg;
	int result;
	bool done;
	uint8_t key[OBJECT_KEY_MAX], value[OBJECT_VALUE_MAX];
	size_t key_length, value_length;
};

static void race_begin(struct race *race, struct fake_test *test, enum dnode_kind kind)
{
	struct objset_options options = fake_options(test);
	struct object_create_options create = { .kind = kind, .block_shift = 12 };

	*race = (struct race){ .test = test };
	assert_int_equal(objset_create(test->rt, test->blocks, &options, 1, &race->objset), 0);
	assert_int_equal(object_create(race->objset, 1, &create, &race->object), 0);
}

static void race_end(struct race *race)
{
	object_close(race->object);
	objset_close(race->objset);
}

/* Without forgetting what was killed. */
static void sync_only(struct race *race, uint64_t txg)
{
	struct object_sync sync = { .txg = txg, .blocks = race->test->blocks, .kill = fake_kill };

	assert_int_equal(objsets_sync(&sync, &race->objset, 1), 0);
}

/* Starts a fiber and returns when it waits for a read. */
static void start(struct race *race, fiber_function *function)
{
	unsigned held = race->test->blocks->held;

	race->done = false;
	race->test->blocks->hold = true;
	assert_int_equal(rt_spawn(race->test->rt, "race", function, race), 0);
	while (race->test->blocks->held == held && !race->done)
		rt_yield(race->test->rt);
	assert_false(race->done);
}

static void finish(struct race *race)
{
	fake_release_reads(race->test->blocks);
	while (!race->done)
		rt_yield(race->test->rt);
}

static void write_one_byte(void *argument)
{
	struct race *race = argument;

	race->result = blob_write(race->object, race->txg, 7, 1, "w");
	race->done = true;
}

static void put(struct race *race, uint64_t txg, uint8_t byte)
{
	uint8_t data[4096];

	memset(data, byte, sizeof(data));
	assert_int_equal(blob_write(race->object, txg, 0, sizeof(data), data), 0);
}

static void require(struct race *race, uint8_t byte)
{
	uint8_t data[4096];

	assert_int_equal(race->result, 0);
	assert_int_equal(blob_read(race->object, 0, sizeof(data), data), 0);
	for (unsigned i = 0; i < sizeof(data); i++)
		assert_int_equal(data[i], i == 7 ? 'w' : byte);
}

/* A write of a part of a block, and another change of that block before it has been read. */
static void part_of_a_block(void *argument)
{
	struct race race;

	for (unsigned kind = 0; kind < 4; kind++) {
		race_begin(&race, argument, DNODE_BLOB);
		put(&race, 1, 1);
		sync_only(&race, 1);
		race.txg = 3;
		start(&race, write_one_byte);
		switch (kind) {
		case 0:
			put(&race, 3, 2);
			break;
		case 1:
			assert_int_equal(blob_punch(race.object, 3, 0, 4096), 0);
			break;
		case 2: /* a late one of the txg before */
			put(&race, 2, 2);
			break;
		default: /* which is on disk by then */
			put(&race, 2, 2);
			race.test->blocks->hold = false;
			sync_only(&race, 2);
		}
		finish(&race);
		require(&race, kind == 1 ? 0 : 2);
		sync_only(&race, 2);
		sync_only(&race, 3);
		require(&race, kind == 1 ? 0 : 2);
		race_end(&race);
	}
	/* The object goes. */
	race_begin(&race, argument, DNODE_BLOB);
	put(&race, 1, 1);
	sync_only(&race, 1);
	race.txg = 2;
	start(&race, write_one_byte);
	assert_int_equal(object_destroy(race.object, 2), 0);
	finish(&race);
	assert_int_equal(race.result, -ENOENT);
	sync_only(&race, 2);
	race_end(&race);
}

static void test_part(void **state)
{
	(void)state;
	fake_run(0, part_of_a_block, 0, 0);
}

static void next_entry(void *argument)
{
	struct race *race = argument;

	race->result = tree_next(race->object, "b", 1, false, race->key, &race->key_length, race->value, &race->value_length);
	race->done = true;
}

/* Changes that move from the overlay to disk between the two looks of a search. */
static void next_during_sync(void *argument)
{
	struct race race;

	race_begin(&race, argument, DNODE_TREE);
	assert_int_equal(tree_put(race.object, 1, "a", 1, "1", 1), 0);
	assert_int_equal(tree_put(race.object, 1, "c", 1, "1", 1), 0);
	assert_int_equal(tree_put(race.object, 1, "e", 1, "1", 1), 0);
	sync_only(&race, 1);
	assert_int_equal(tree_put(race.object, 2, "b", 1, "2", 1), 0);
	assert_int_equal(tree_delete(race.object, 2, "c", 1), 0);
	start(&race, next_entry);
	race.test->blocks->hold = false;
	sync_only(&race, 2);
	finish(&race);
	assert_int_equal(race.result, 0);
	assert_int_equal(race.key[0], 'b');
	assert_int_equal(race.value[0], '2');
	assert_int_equal(tree_delete(race.object, 3, "b", 1), 0);
	start(&race, next_entry);
	race.test->blocks->hold = false;
	sync_only(&race, 3);
	finish(&race);
	assert_int_equal(race.result, 0);
	assert_int_equal(race.key[0], 'e');
	race_end(&race);
}

static void test_next(void **state)
{
	(void)state;
	fake_run(0, next_during_sync, 0, 0);
}

static void open_object(void *argument)
{
	struct race *race = argument;

	race->result = object_open(race->objset, 16, &race->opened);
	race->done = true;
}

static void handles(void *argument)
{
	struct race race;
	struct dnode dnode;

	/* Two fibers open the same object: there is one. */
	race_begin(&race, argument, DNODE_BLOB);
	object_close(race.object);
	sync_only(&race, 1);
	start(&race, open_object);
	race.test->blocks->hold = false;
	assert_int_equal(object_open(race.objset, 16, &race.object), 0);
	finish(&race);
	assert_int_equal(race.result, 0);
	assert_ptr_equal(race.opened, race.object);
	object_close(race.opened);
	object_close(race.object);
	/* Opened, changed, synced and closed while a slower one waits for the old dnode. */
	start(&race, open_object);
	race.test->blocks->hold = false;
	assert_int_equal(object_open(race.objset, 16, &race.object), 0);
	assert_int_equal(object_set_bonus(race.object, 2, "new", 3), 0);
	object_close(race.object);
	sync_only(&race, 2);
	finish(&race);
	object_info(race.opened, &dnode);
	assert_int_equal(dnode.bonus_length, 3);
	/* A reader ahead is waited for. */
	race.object = race.opened;
	assert_int_equal(blob_write(race.object, 3, 4096 * 20, 4096, (uint8_t[4096]){ 1 }), 0);
	assert_int_equal(blob_write(race.object, 3, 4096 * 21, 4096, (uint8_t[4096]){ 1, [4095] = 1 }), 0);
	sync_only(&race, 3);
	blob_prefetch(race.object, 0, 64);
	race_end(&race);
}

static void test_handles(void **state)
{
	(void)state;
	fake_run(0, handles, 0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_part),
		cmocka_unit_test(test_next),
		cmocka_unit_test(test_handles),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
