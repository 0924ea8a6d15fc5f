/* Objsets: numbers, handles, destruction in parts, several in one sync, damaged images, failures of reads and writes. */
#include "tests/unit/object/fake_blocks.h"

#include "libpool/format/tree_node.h"
#include "libpool/object/object_internal.h"

static struct objset *new_objset(struct fake_test *test, uint32_t id, uint64_t txg)
{
	struct objset_options options = fake_options(test);
	struct objset *objset;

	options.id = id;
	assert_int_equal(objset_create(test->rt, test->blocks, &options, txg, &objset), 0);
	return objset;
}

static struct object *new_object(struct objset *objset, uint64_t txg, enum dnode_kind kind, uint64_t number)
{
	struct object_create_options options = { .kind = kind, .block_shift = 12, .number = number };
	struct object *object;

	assert_int_equal(object_create(objset, txg, &options, &object), 0);
	return object;
}

static void numbers(void *argument)
{
	struct fake_test *test = argument;
	struct objset *objset = new_objset(test, 7, 1);
	struct object_create_options options = { .kind = DNODE_BLOB, .block_shift = 12 };
	struct object *object, *other;
	uint64_t txg = 1;

	assert_true(objset_is_dirty(objset, 1));
	assert_false(objset_is_dirty(objset, 2));
	assert_int_equal(objset_id(objset), 7);
	assert_int_equal(object_open(objset, 3, &object), -ENOENT);
	assert_int_equal(object_open(objset, 0, &object), -ENOENT);
	assert_int_equal(object_open(objset, OBJECT_NUMBER_ORPHANS, &object), -ENOENT);
	object = new_object(objset, 1, DNODE_TREE, 3);
	assert_int_equal(object_open(objset, 3, &other), 0);
	assert_ptr_equal(object, other);
	object_close(other);
	object_close(object);
	assert_int_equal(fake_sync(test->blocks, &objset, 1, txg++), 0);
	assert_false(objset_is_dirty(objset, 1));
	options.number = 3;
	assert_int_equal(object_create(objset, txg, &options, &object), -EEXIST);
	options.number = OBJECT_NUMBER_ORPHANS;
	assert_int_equal(object_create(objset, txg, &options, &object), -EINVAL);
	options.number = 1;
	assert_int_equal(object_create(objset, txg, &options, &object), 0);
	object_close(object);
	options.number = 0;
	options.block_shift = 21;
	assert_int_equal(object_create(objset, txg, &options, &object), -EINVAL);
	options.block_shift = 12;
	options.indirect_shift = 13;
	assert_int_equal(object_create(objset, txg, &options, &object), -EINVAL);
	/* A number is never used twice, also if its object never got to disk. */
	object = new_object(objset, txg, DNODE_BLOB, 0);
	assert_int_equal(object_number(object), 16);
	assert_int_equal(object_destroy(object, txg), 0);
	object_close(object);
	assert_int_equal(fake_sync(test->blocks, &objset, 1, txg++), 0);
	objset = fake_reopen(test, objset);
	assert_int_equal(objset_object_count(objset), 2);
	object = new_object(objset, txg, DNODE_BLOB, 0);
	assert_int_equal(object_number(object), 17);
	object_close(object);
	/* High numbers, in an otherwise empty blob of dnodes. */
	object = new_object(objset, txg, DNODE_BLOB, OBJECT_NUMBER_MAX - 5);
	object_close(object);
	assert_int_equal(fake_sync(test->blocks, &objset, 1, txg++), 0);
	assert_int_equal(object_open(objset, OBJECT_NUMBER_MAX - 5, &object), 0);
	object_close(object);
	assert_int_equal(object_open(objset, OBJECT_NUMBER_MAX - 6, &object), -ENOENT);
	assert_int_equal(objset_object_count(objset), 4);
	objset_set_user(objset, test);
	assert_ptr_equal(objset_user(objset), test);
	objset_close(objset);
}

static void test_numbers(void **state)
{
	(void)state;
	fake_run(0, numbers, 0, 100);
	fake_run(0, numbers, 30, 0);
}

/* Many objects: dnode blocks that are changed in part, emptied, reopened. */
static void many(void *argument)
{
	struct fake_test *test = argument;
	struct objset *objset = new_objset(test, 7, 1);
	struct object *object;
	uint64_t txg = 1;
	struct dnode dnode;

	for (unsigned i = 0; i < 5000; i++) {
		object = new_object(objset, txg, i % 2 ? DNODE_TREE : DNODE_BLOB, 0);
		assert_int_equal(object_set_bonus(object, txg, &i, sizeof(i)), 0);
		if (i % 2)
			assert_int_equal(tree_put(object, txg, &i, sizeof(i), &i, sizeof(i)), 0);
		else
			assert_int_equal(blob_write(object, txg, 0, sizeof(i), &i), 0);
		object_close(object);
		if (i % 700 == 699)
			assert_int_equal(fake_sync(test->blocks, &objset, 1, txg++), 0);
	}
	assert_int_equal(fake_sync(test->blocks, &objset, 1, txg++), 0);
	assert_int_equal(objset->objects.count, 1); /* none is kept without reason */
	objset = fake_reopen(test, objset);
	for (unsigned i = 0; i < 5000; i += 3) {
		unsigned value;
		size_t length;

		assert_int_equal(object_open(objset, 16 + i, &object), 0);
		object_info(object, &dnode);
		assert_memory_equal(dnode.bonus, &i, sizeof(i));
		if (i % 2)
			assert_int_equal(tree_get(object, &i, sizeof(i), &value, sizeof(value), &length), 0);
		else
			assert_int_equal(blob_read(object, 0, sizeof(value), &value), 0);
		assert_int_equal(value, i);
		assert_int_equal(object_destroy(object, txg), 0);
		object_close(object);
	}
	assert_int_equal(fake_sync(test->blocks, &objset, 1, txg++), 0);
	assert_int_equal(objset_object_count(objset), 5000 - 1667);
	assert_int_equal(object_open(objset, 16, &object), -ENOENT);
	assert_int_equal(object_open(objset, 17, &object), 0);
	object_close(object);
	objset_close(objset);
}

static void test_many(void **state)
{
	(void)state;
	fake_run(0, many, 10, 80);
}

/* Kills beyond one sync's share wait in the objset, across a crash as well. */
static void large_destroy(void *argument)
{
	struct fake_test *test = argument;
	struct objset *objset = new_objset(test, 7, 1);
	struct object *object = new_object(objset, 1, DNODE_BLOB, 0), *punched = new_object(objset, 1, DNODE_BLOB, 0);
	struct buffer *buffer = buffer_new(4096);
	uint64_t txg = 1, kills = 0, number = object_number(punched), syncs = 0;
	struct dnode dnode;

	memset(buffer->data, 1, 4096);
	for (uint64_t i = 0; i < 150000; i++) {
		assert_int_equal(blob_write_block(object, txg, i * 3, buffer), 0);
		assert_int_equal(blob_write_block(punched, txg, i, buffer), 0);
	}
	assert_int_equal(fake_sync(test->blocks, &objset, 1, txg++), 0);
	assert_false(objset_has_pending_kills(objset));
	object_info(punched, &dnode);
	assert_true(dnode.sectors > 150000);
	assert_int_equal(blob_punch(punched, txg, 4096, UINT64_C(140000) * 4096), 0);
	assert_int_equal(object_destroy(object, txg), 0);
	object_close(object);
	do {
		assert_int_equal(fake_sync(test->blocks, &objset, 1, txg++), 0);
		assert_true(test->blocks->kills - kills < OBJECT_KILLS_PER_SYNC + 600);
		kills = test->blocks->kills;
		object_close(punched);
		objset = fake_reopen(test, objset);
		assert_int_equal(objset_object_count(objset), 1);
		assert_int_equal(object_open(objset, number, &punched), 0);
		if (++syncs == 2) /* its pointers may still be waiting; then there is no one to count them for */
			assert_int_equal(blob_punch(punched, txg, UINT64_C(145000) * 4096, UINT64_MAX), 0);
	} while (objset_has_pending_kills(objset));
	assert_int_equal(fake_sync(test->blocks, &objset, 1, txg++), 0);
	assert_true(syncs > 3);
	object_info(punched, &dnode);
	assert_true(dnode.sectors > 4999 && dnode.sectors < 5200 * 2);
	assert_int_equal(object_destroy(punched, txg), 0);
	object_close(punched);
	assert_int_equal(fake_sync(test->blocks, &objset, 1, txg++), 0);
	assert_true(test->blocks->live < 6);
	buffer_unref(buffer);
	objset_close(objset);
}

static void test_large_destroy(void **state)
{
	(void)state;
	fake_run(0, large_destroy, 0, 90);
}

static void several(void *argument)
{
	struct fake_test *test = argument;
	struct objset *objsets[5];
	struct object *objects[5];
	struct raw_block_pointer roots[5];

	for (unsigned i = 0; i < 5; i++) {
		objsets[i] = new_objset(test, i, 1);
		objects[i] = new_object(objsets[i], 1, i % 2 ? DNODE_BLOB : DNODE_TREE, 0);
	}
	for (uint64_t txg = 1; txg < 40; txg++) {
		for (unsigned i = 0; i < 5; i++) {
			roots[i] = *objset_root(objsets[i]);
			if (txg % (i + 2))
				continue;
			for (uint32_t j = 0; j < 100 * i; j++) {
				if (i % 2)
					assert_int_equal(blob_write(objects[i], txg, (j * 37 + txg) % 5000 * 4096, 4, &j), 0);
				else
					assert_int_equal(tree_put(objects[i], txg, &j, 2, &txg, sizeof(txg)), 0);
			}
		}
		assert_int_equal(fake_sync(test->blocks, objsets, 5, txg), 0);
		for (unsigned i = 1; i < 5; i++) /* what isn't dirty isn't written */
			assert_int_equal(memcmp(&roots[i], objset_root(objsets[i]), sizeof(roots[i])) != 0, txg == 1 || txg % (i + 2) == 0);
	}
	for (unsigned i = 0; i < 5; i++) {
		object_close(objects[i]);
		objset_close(objsets[i]);
	}
}

static void test_several(void **state)
{
	(void)state;
	fake_run(0, several, 20, 50);
}

/* Some state worth losing. */
static void fill(struct objset *objset, uint64_t txg, struct object **blob, struct object **tree)
{
	uint8_t value[300] = { 1 };

	*blob = new_object(objset, txg, DNODE_BLOB, 0);
	*tree = new_object(objset, txg, DNODE_TREE, 0);
	for (uint32_t i = 0; i < 300; i++) {
		memset(value, (int)i % 255 + 1, sizeof(value));
		assert_int_equal(blob_write(*blob, txg, i * 4096, sizeof(value), value), 0);
		assert_int_equal(tree_put(*tree, txg, &i, sizeof(i), value, sizeof(value)), 0);
	}
}

static void check_filled(struct object *blob, struct object *tree)
{
	uint8_t value[300], wanted[300];
	size_t length;

	for (uint32_t i = 0; i < 300; i++) {
		memset(wanted, (int)i % 255 + 1, sizeof(wanted));
		assert_int_equal(blob_read(blob, i * 4096, sizeof(value), value), 0);
		assert_memory_equal(value, wanted, sizeof(value));
		assert_int_equal(tree_get(tree, &i, sizeof(i), value, sizeof(value), &length), 0);
		assert_memory_equal(value, wanted, sizeof(value));
	}
}

/* The n-th read, or placing, of a sync fails, for every n: the error comes out, and the last root holds all it held. */
static void failures(void *argument)
{
	struct fake_test *test = argument;
	struct objset *objset = new_objset(test, 7, 1);
	struct object *blob, *tree;
	uint64_t txg = 2, numbers_[2], failed[2] = { 0 };

	fill(objset, 1, &blob, &tree);
	numbers_[0] = object_number(blob);
	numbers_[1] = object_number(tree);
	assert_int_equal(fake_sync(test->blocks, &objset, 1, 1), 0);
	for (unsigned kind = 0; kind < 2; kind++) {
		for (uint64_t n = 1;; n++) {
			int result;

			for (uint32_t i = 0; i < 300; i += 7) { /* buffers are handed over */
				struct buffer *buffer = buffer_new_zero(4096);

				assert_int_equal(blob_write_block(blob, txg, i, buffer), 0);
				assert_int_equal(tree_put(tree, txg, &i, sizeof(i), &i, sizeof(i)), 0);
				buffer_unref(buffer);
			}
			assert_int_equal(blob_punch(blob, txg, 100 * 4096, 150 * 4096), 0);
			object_close(new_object(objset, txg, DNODE_BLOB, 0));
			test->blocks->fail_with = kind ? -ENOSPC : -ENOMEM;
			if (kind)
				test->blocks->fail_place_at = test->blocks->places + n;
			else
				test->blocks->fail_read_at = test->blocks->reads + n;
			struct object_sync sync = { .txg = txg, .blocks = test->blocks, .kill = fake_kill };
			result = objsets_sync(&sync, &objset, 1);
			test->blocks->fail_read_at = test->blocks->fail_place_at = 0;
			if (result < 0) {
				assert_int_equal(result, test->blocks->fail_with);
				failed[kind]++;
			}
			/* Either way this txg never comes to be. */
			struct raw_block_pointer root = *objset_root(objset);
			struct objset_options options = fake_options(test);

			object_close(blob);
			object_close(tree);
			objset_close(objset);
			assert_int_equal(test->dirty[0] + test->dirty[1], 0);
			fake_rollback(test->blocks, txg);
			if (result == 0)
				break;
			assert_int_equal(objset_open(test->rt, test->blocks, &options, &root, &objset), 0);
			fake_check_reachable(test->blocks, &objset, 1, NULL);
			assert_int_equal(object_open(objset, numbers_[0], &blob), 0);
			assert_int_equal(object_open(objset, numbers_[1], &tree), 0);
			check_filled(blob, tree);
			txg++;
		}
		txg += 2;
		if (kind == 0) { /* begin again */
			objset = new_objset(test, 7, txg);
			fake_rollback(test->blocks, 1);
			fill(objset, txg, &blob, &tree);
			numbers_[0] = object_number(blob);
			numbers_[1] = object_number(tree);
			assert_int_equal(fake_sync(test->blocks, &objset, 1, txg++), 0);
		}
	}
	assert_true(failed[0] > 5 && failed[1] > 3);
}

static void test_failures(void **state)
{
	(void)state;
	fake_run(0, failures, 0, 0);
	fake_run(9, failures, 50, 0);
}

/* Reads that fail leave no trace. */
static void failed_reads(void *argument)
{
	struct fake_test *test = argument;
	struct objset *objset = new_objset(test, 7, 1);
	struct object *blob, *tree, *other;
	uint8_t byte = 1, key[OBJECT_KEY_MAX], value[OBJECT_VALUE_MAX];
	size_t length, key_length;
	uint64_t found;

	fill(objset, 1, &blob, &tree);
	assert_int_equal(fake_sync(test->blocks, &objset, 1, 1), 0);
	for (unsigned n = 1; n <= 2; n++) {
		test->blocks->fail_with = n == 1 ? -ENOMEM : -POOL_EDAMAGED;
		test->blocks->fail_read_at = test->blocks->reads + 1;
		assert_int_equal(blob_write(blob, 2, 7, 1, &byte), test->blocks->fail_with);
		assert_false(objset_is_dirty(objset, 2));
		test->blocks->fail_read_at = test->blocks->reads + 1;
		assert_int_equal(blob_punch(blob, 2, 7, 1), test->blocks->fail_with);
		test->blocks->fail_read_at = test->blocks->reads + 1;
		assert_int_equal(blob_read(blob, 0, 1, &byte), test->blocks->fail_with);
		test->blocks->fail_read_at = test->blocks->reads + 1;
		assert_int_equal(blob_seek(blob, 0, 100, true, &found), test->blocks->fail_with);
		test->blocks->fail_read_at = test->blocks->reads + 1;
		assert_int_equal(tree_get(tree, "key", 3, value, sizeof(value), &length), test->blocks->fail_with);
		test->blocks->fail_read_at = test->blocks->reads + 1;
		assert_int_equal(tree_next(tree, "key", 3, false, key, &key_length, value, &length), test->blocks->fail_with);
		test->blocks->fail_read_at = test->blocks->reads + 1;
		assert_int_equal(object_open(objset, 2, &other), test->blocks->fail_with);
		test->blocks->fail_read_at = 0;
	}
	check_filled(blob, tree);
	object_close(blob);
	object_close(tree);
	objset_close(objset);
}

static void test_failed_reads(void **state)
{
	(void)state;
	fake_run(0, failed_reads, 0, 0);
}

struct forged {
	struct blocks *blocks;
	unsigned round;
};

static void forge_block(struct hash_node *node, void *argument)
{
	struct forged *forged = argument;
	struct fake_block *block = container_of(node, struct fake_block, node);
	struct buffer *copy = buffer_new_copy(block->content->data, block->content->size);

	for (uint64_t i = blocks_random(forged->blocks, 3); i > 0; i--) {
		size_t from = blocks_random(forged->blocks, 2) ? 256 : copy->size;

		copy->data[blocks_random(forged->blocks, from)] ^= (uint8_t)(1u << blocks_random(forged->blocks, 8));
	}
	buffer_unref(block->content);
	block->content = copy;
}

static int visit_nothing(void *argument, const struct block_pointer *pointer, const struct block_owner *owner)
{
	(void)pointer;
	(void)owner;
	return ++*(unsigned *)argument > 100000 ? -E2BIG : 0;
}

static void ignore_kill(struct object_sync *sync, struct objset *objset, const struct block_pointer *pointer)
{
	(void)sync;
	(void)objset;
	(void)pointer;
}

/* Images with wrong bits behind right checksums: any error is fine, as long as everything ends and stays in its memory. */
static void forged_images(void *argument)
{
	struct fake_test *test = argument;
	struct objset *objset = new_objset(test, 7, 1);
	struct objset_options options = fake_options(test);
	struct object *blob, *tree;
	struct forged forged = { test->blocks, 0 };
	struct raw_block_pointer root;

	fill(objset, 1, &blob, &tree);
	assert_int_equal(blob_write(blob, 1, UINT64_C(1) << 40, 1, "x"), 0);
	assert_int_equal(fake_sync(test->blocks, &objset, 1, 1), 0);
	root = *objset_root(objset);
	object_close(blob);
	object_close(tree);
	objset_close(objset);
	hash_table_each(&test->blocks->table, forge_block, &forged);
	test->blocks->fail_read_at = 0;
	if (objset_open(test->rt, test->blocks, &options, &root, &objset) == 0) {
		struct object_sync sync = { .txg = 1000, .blocks = test->blocks, .kill = ignore_kill };
		unsigned visited = 0;

		objset_walk(objset, visit_nothing, &visited);
		for (uint64_t number = 16; number < 18; number++) {
			uint8_t key[OBJECT_KEY_MAX], value[OBJECT_VALUE_MAX];
			size_t key_length = 0, length, steps = 0;
			struct object *object;
			uint64_t found;

			if (object_open(objset, number, &object) < 0)
				continue;
			while (tree_next(object, key, key_length, steps > 0, key, &key_length, value, &length) == 0)
				assert_true(steps++ < 10000);
			tree_put(object, 1000, "x", 1, "y", 1);
			for (uint64_t i = 0; i < 300; i++) {
				blob_read(object, i * 4096, 100, value);
				blob_seek(object, i * 4096, i * 4096 + 100000, i % 2, &found);
			}
			blob_write(object, 1000, 4096 * 5, 1, "x");
			blob_punch(object, 1000, 4096 * 9, UINT64_C(1) << 41);
			object_close(object);
		}
		objsets_sync(&sync, &objset, 1);
		objset_close(objset);
	}
}

/* Reads of pointers to nowhere count as damage here. */
static void test_forged(void **state)
{
	(void)state;
	for (unsigned i = 1; i <= 300; i++) {
		struct fake_test test = { 0 };

		test.rt = fake_new(&test.fake, 0);
		test.blocks = fake_blocks_new(test.rt, i);
		test.blocks->cached_percent = i % 2 ? 100 : 0;
		test.blocks->forged = true;
		assert_int_equal(rt_run(test.rt, forged_images, &test), 0);
		fake_blocks_free(test.blocks);
		rt_free(test.rt);
	}
}

/* What is told to be one objset and says that it is another is none. */
static void another(void *argument)
{
	struct fake_test *test = argument;
	struct objset_options options = fake_options(test);
	struct objset *objset;

	assert_int_equal(objset_create(test->rt, test->blocks, &options, 1, &objset), 0);
	assert_int_equal(fake_sync(test->blocks, &objset, 1, 1), 0);
	objset = fake_reopen(test, objset);
	struct raw_block_pointer root = *objset_root(objset);
	objset_close(objset);
	options.id++;
	assert_int_equal(objset_open(test->rt, test->blocks, &options, &root, &objset), -POOL_EFORMAT);
}

static void test_another(void **state)
{
	(void)state;
	fake_run(0, another, 0, 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),  cmocka_unit_test(test_many),	   cmocka_unit_test(test_large_destroy),
		cmocka_unit_test(test_several),  cmocka_unit_test(test_failures), cmocka_unit_test(test_failed_reads),
		cmocka_unit_test(test_forged),  cmocka_unit_test(test_another),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
