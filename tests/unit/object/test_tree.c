/* Trees step by step: limits of keys and values, filling and emptying, pages in order, what the overlay hides. */
#include "tests/unit/object/fake_blocks.h"

#include "libpool/format/tree_node.h"
#include "libpool/object/object_internal.h"

static struct objset *new_objset(struct fake_test *test)
{
	struct objset_options options = fake_options(test);
	struct objset *objset;

	assert_int_equal(objset_create(test->rt, test->blocks, &options, 1, &objset), 0);
	return objset;
}

static struct object *new_tree(struct objset *objset, uint64_t txg)
{
	struct object_create_options options = { .kind = DNODE_TREE };
	struct object *object;

	assert_int_equal(object_create(objset, txg, &options, &object), 0);
	return object;
}

static void put_number(struct object *tree, uint64_t txg, uint32_t key, size_t length)
{
	uint8_t raw[4] = { (uint8_t)(key >> 24), (uint8_t)(key >> 16), (uint8_t)(key >> 8), (uint8_t)key }, value[OBJECT_VALUE_MAX];

	memset(value, (int)(key % 251), length);
	assert_int_equal(tree_put(tree, txg, raw, 4, value, length), 0);
}

static void delete_number(struct object *tree, uint64_t txg, uint32_t key)
{
	uint8_t raw[4] = { (uint8_t)(key >> 24), (uint8_t)(key >> 16), (uint8_t)(key >> 8), (uint8_t)key };

	assert_int_equal(tree_delete(tree, txg, raw, 4), 0);
}

static uint64_t entries(struct object *tree)
{
	struct dnode dnode;

	object_info(tree, &dnode);
	return dnode.max_block;
}

static size_t count_forward(struct object *tree)
{
	uint8_t key[OBJECT_KEY_MAX], value[OBJECT_VALUE_MAX], before[OBJECT_KEY_MAX];
	size_t key_length = 0, value_length, before_length, count = 0;

	while (tree_next(tree, key, key_length, count > 0, key, &key_length, value, &value_length) == 0) {
		if (count++)
			assert_true(tree_key_compare(before, before_length, key, key_length) < 0);
		memcpy(before, key, key_length);
		before_length = key_length;
	}
	return count;
}

static void limits(void *argument)
{
	struct fake_test *test = argument;
	struct objset *objset = new_objset(test);
	struct object *tree = new_tree(objset, 1);
	uint8_t key[OBJECT_KEY_MAX + 1] = { 0 }, value[OBJECT_VALUE_MAX + 1];
	size_t length = 77;

	memset(value, 5, sizeof(value));
	assert_int_equal(tree_get(tree, "a", 1, value, 10, &length), -ENOENT);
	assert_int_equal(tree_put(tree, 1, key, OBJECT_KEY_MAX + 1, value, 1), -EINVAL);
	assert_int_equal(tree_put(tree, 1, key, 1, value, OBJECT_VALUE_MAX + 1), -EINVAL);
	assert_int_equal(tree_put(tree, 1, key, 0, NULL, 0), 0); /* the empty key, the empty value */
	assert_int_equal(tree_delete(tree, 1, "nothing", 7), 0);
	for (size_t i = 1; i <= OBJECT_KEY_MAX; i++)
		assert_int_equal(tree_put(tree, 1, key, i, value, i == 500 ? OBJECT_VALUE_MAX : i % 100), 0);
	for (uint64_t txg = 1; txg <= 3; txg++) {
		assert_int_equal(count_forward(tree), OBJECT_KEY_MAX + 1);
		assert_int_equal(tree_get(tree, key, 500, value, OBJECT_VALUE_MAX - 1, &length), -ERANGE);
		assert_int_equal(length, OBJECT_VALUE_MAX);
		assert_int_equal(tree_get(tree, key, 500, value, OBJECT_VALUE_MAX, &length), 0);
		assert_int_equal(value[OBJECT_VALUE_MAX - 1], 5);
		assert_int_equal(tree_get(tree, NULL, 0, value, 0, &length), 0);
		assert_int_equal(length, 0);
		assert_int_equal(fake_sync(test->blocks, &objset, 1, txg), 0);
		assert_int_equal(entries(tree), OBJECT_KEY_MAX + 1);
	}
	/* The same again changes nothing. */
	uint64_t writes = test->blocks->writes;
	memset(value, 5, sizeof(value));
	assert_int_equal(tree_put(tree, 4, key, 500, value, OBJECT_VALUE_MAX), 0);
	assert_int_equal(fake_sync(test->blocks, &objset, 1, 4), 0);
	assert_int_equal(test->blocks->writes, writes);
	/* All the largest: three to a page. */
	for (unsigned i = 0; i < 200; i++) {
		memset(key, (int)i, OBJECT_KEY_MAX);
		assert_int_equal(tree_put(tree, 5, key, OBJECT_KEY_MAX, value, OBJECT_VALUE_MAX), 0);
	}
	assert_int_equal(fake_sync(test->blocks, &objset, 1, 5), 0);
	assert_int_equal(count_forward(tree), OBJECT_KEY_MAX + 200);
	assert_int_equal(entries(tree), OBJECT_KEY_MAX + 200); /* one of them was there */
	object_close(tree);
	objset_close(objset);
}

static void test_limits(void **state)
{
	(void)state;
	fake_run(0, limits, 0, 100);
	fake_run(0, limits, 20, 0);
}

static void fill_and_empty(void *argument)
{
	struct fake_test *test = argument;
	struct objset *objset = new_objset(test);
	struct object *tree = new_tree(objset, 1);
	uint64_t txg = 1, number = object_number(tree);
	struct dnode dnode;

	for (unsigned round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < 30000; i++) {
			put_number(tree, txg, round == 1 ? 29999 - i : round == 2 ? (i * 7919u) % 30000 : i, 200);
			if (i % 3000 == 2999)
				assert_int_equal(fake_sync(test->blocks, &objset, 1, txg++), 0);
		}
		assert_int_equal(entries(tree), 30000);
		object_info(tree, &dnode);
		assert_true(dnode.levels >= 3);
		assert_int_equal(count_forward(tree), 30000);
		if (round == 0) { /* in order: full leaves */
			struct block_pointer root;

			assert_int_equal(block_pointer_decode(&tree->disk.root, &root), 0);
			assert_true(root.fill < 30000u * 210 / 16352 * 108 / 100);
		}
		object_close(tree);
		objset = fake_reopen(test, objset);
		assert_int_equal(object_open(objset, number, &tree), 0);
		for (uint32_t i = 0; i < 30000; i++) {
			delete_number(tree, txg, round == 0 ? i : round == 1 ? 29999 - i : (i * 7919u) % 30000);
			if (i % 3000 == 2999 || i == 29990) {
				assert_int_equal(fake_sync(test->blocks, &objset, 1, txg++), 0);
				assert_int_equal(entries(tree), 29999 - i);
			}
		}
		object_info(tree, &dnode);
		assert_int_equal(dnode.levels, 0);
		assert_int_equal(dnode.sectors, 0);
		assert_int_equal(count_forward(tree), 0);
	}
	object_close(tree);
	objset_close(objset);
}

static void test_fill(void **state)
{
	(void)state;
	fake_run(0, fill_and_empty, 1, 80);
}

/* Short leaves join, so a tree that was thinned out is small. */
static void thin_out(void *argument)
{
	struct fake_test *test = argument;
	struct objset *objset = new_objset(test);
	struct object *tree = new_tree(objset, 1);
	struct block_pointer root;
	uint64_t txg = 2;

	for (uint32_t i = 0; i < 20000; i++)
		put_number(tree, 1, i, 100);
	assert_int_equal(fake_sync(test->blocks, &objset, 1, 1), 0);
	for (uint32_t part = 0; part < 20; part++, txg++) {
		for (uint32_t i = part * 1000; i < (part + 1) * 1000; i++)
			if (i % 20)
				delete_number(tree, txg, i);
		assert_int_equal(fake_sync(test->blocks, &objset, 1, txg), 0);
	}
	assert_int_equal(entries(tree), 1000);
	assert_int_equal(count_forward(tree), 1000);
	assert_int_equal(block_pointer_decode(&tree->disk.root, &root), 0);
	assert_true(root.fill <= 3 * 1000 * 110 / 16352 + 2);
	object_close(tree);
	objset_close(objset);
}

static void test_thin(void **state)
{
	(void)state;
	fake_run(0, thin_out, 0, 100);
}

/* Short leaves whose neighbours can't be read stay short; only who changes those fails, before anything is changed. */
static void bad_neighbours(void *argument)
{
	struct fake_test *test = argument;
	struct objset *objset = new_objset(test);
	struct object *tree = new_tree(objset, 1);
	struct buffer *root;
	struct block_pointer pointer;
	struct tree_entry entry;
	uint32_t first[8];
	uint8_t value[OBJECT_VALUE_MAX], raw[4] = { 0 };
	size_t length;

	for (uint32_t i = 0; i < 600; i++)
		put_number(tree, 1, i, 100);
	assert_int_equal(fake_sync(test->blocks, &objset, 1, 1), 0);
	assert_int_equal(tree->disk.levels, 2);
	assert_int_equal(block_pointer_decode(&tree->disk.root, &pointer), 0);
	root = buffer_ref(fake_block_find(test->blocks, &pointer)->content);
	int count = tree_node_count(root->data, root->size, 1);
	assert_in_range(count, 4, 8);
	for (int i = 0; i < count; i++) {
		assert_int_equal(tree_node_entry(root->data, root->size, (unsigned)i, &entry), 0);
		first[i] = entry.key_length ? (uint32_t)entry.key[2] << 8 | entry.key[3] : 0;
		assert_int_equal(block_pointer_decode((const struct raw_block_pointer *)entry.value, &pointer), 0);
		if (i != 1)
			test->blocks->bad[test->blocks->bad_count++] = pointer.dva;
	}
	buffer_unref(root);
	for (uint32_t i = first[1] + 1; i < first[2]; i++)
		delete_number(tree, 2, i);
	assert_int_equal(fake_sync(test->blocks, &objset, 1, 2), 0);
	assert_int_equal(entries(tree), 600 - (first[2] - first[1] - 1));
	assert_int_equal(tree_check(tree, raw, sizeof(raw)), -POOL_EDAMAGED);
	raw[2] = (uint8_t)(first[1] >> 8);
	raw[3] = (uint8_t)first[1];
	assert_int_equal(tree_check(tree, raw, sizeof(raw)), 0);
	assert_int_equal(tree_get(tree, raw, sizeof(raw), value, sizeof(value), &length), 0);
	test->blocks->bad_count = 0;
	assert_int_equal(count_forward(tree), entries(tree));
	object_close(tree);
	objset_close(objset);
}

static void test_bad_neighbours(void **state)
{
	(void)state;
	fake_run(0, bad_neighbours, 0, 0);
}

/* A leaf that overflows in its middle becomes two of about the same size. */
static void split(void *argument)
{
	struct fake_test *test = argument;
	struct objset *objset = new_objset(test);
	struct object *tree = new_tree(objset, 1);
	struct block_pointer root;
	struct buffer *node;

	for (uint32_t i = 0; i < 140; i++)
		put_number(tree, 1, i * 10, 100);
	assert_int_equal(fake_sync(test->blocks, &objset, 1, 1), 0);
	assert_int_equal(tree->disk.levels, 1);
	for (uint32_t i = 0; i < 10; i++)
		put_number(tree, 2, 701 + i * 10, 100);
	assert_int_equal(fake_sync(test->blocks, &objset, 1, 2), 0);
	assert_int_equal(tree->disk.levels, 2);
	assert_int_equal(block_pointer_decode(&tree->disk.root, &root), 0);
	node = fake_block_find(test->blocks, &root)->content;
	assert_int_equal(tree_node_check(node->data, node->size, 1), 0);
	assert_int_equal(tree_node_count(node->data, node->size, 1), 2);
	for (unsigned i = 0; i < 2; i++) {
		struct block_pointer child;
		struct tree_entry entry;
		struct buffer *leaf;

		assert_int_equal(tree_node_entry(node->data, node->size, i, &entry), 0);
		assert_int_equal(block_pointer_decode((const struct raw_block_pointer *)entry.value, &child), 0);
		leaf = fake_block_find(test->blocks, &child)->content;
		assert_int_equal(tree_node_check(leaf->data, leaf->size, 0), 0);
		assert_true(tree_node_count(leaf->data, leaf->size, 0) >= 74);
	}
	object_close(tree);
	objset_close(objset);
}

static void test_split(void **state)
{
	(void)state;
	fake_run(0, split, 0, 100);
}

static void overlays(void *argument)
{
	struct fake_test *test = argument;
	struct objset *objset = new_objset(test);
	struct object *tree = new_tree(objset, 1);
	uint8_t key[OBJECT_KEY_MAX], value[OBJECT_VALUE_MAX];
	size_t key_length, value_length;

	for (uint32_t i = 0; i < 1000; i++)
		put_number(tree, 1, i, 10);
	assert_int_equal(fake_sync(test->blocks, &objset, 1, 1), 0);
	for (uint32_t i = 0; i < 1000; i++)
		if (i != 500)
			delete_number(tree, 2 + i % 2, i);
	put_number(tree, 2, 2000, 1);
	delete_number(tree, 3, 2000);
	delete_number(tree, 2, 3000);
	put_number(tree, 3, 3000, 1);
	for (uint64_t txg = 2; txg <= 4; txg++) {
		assert_int_equal(tree_next(tree, NULL, 0, false, key, &key_length, value, &value_length), 0);
		assert_int_equal(key[2] << 8 | key[3], 500);
		assert_int_equal(tree_next(tree, key, key_length, true, key, &key_length, value, &value_length), 0);
		assert_int_equal(key[2] << 8 | key[3], 3000);
		assert_int_equal(tree_next(tree, key, key_length, true, key, &key_length, value, &value_length), -ENOENT);
		assert_int_equal(fake_sync(test->blocks, &objset, 1, txg), 0);
	}
	assert_int_equal(entries(tree), 2);
	assert_int_equal(object_destroy(tree, 5), 0);
	assert_int_equal(tree_next(tree, NULL, 0, false, key, &key_length, value, &value_length), -ENOENT);
	assert_int_equal(tree_get(tree, key, 4, value, 1, &value_length), -ENOENT);
	assert_int_equal(tree_put(tree, 5, key, 4, value, 1), -ENOENT);
	assert_int_equal(fake_sync(test->blocks, &objset, 1, 5), 0);
	assert_int_equal(tree_get(tree, key, 4, value, 1, &value_length), -ENOENT);
	object_close(tree);
	objset_close(objset);
}

static void test_overlays(void **state)
{
	(void)state;
	fake_run(0, overlays, 0, 100);
	fake_run(0, overlays, 50, 0);
}

/* The last change of a key within a txg counts: whether it takes more room than the one before, less, or none. */
static void last_change(void *argument)
{
	struct fake_test *test = argument;
	struct objset *objset = new_objset(test);
	struct object *tree = new_tree(objset, 1);
	static const size_t lengths[] = { 5, 5, 1, 60, 0, 30, 0, 0, 200, 3 }; /* 0: deleted */
	uint8_t value[OBJECT_VALUE_MAX], expected[OBJECT_VALUE_MAX];

	for (uint64_t txg = 1; txg <= 3; txg++) {
		for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
			size_t length = 0;

			memset(expected, (int)(10 * txg + i), sizeof(expected));
			if (lengths[i])
				assert_int_equal(tree_put(tree, txg, "keys", 4, expected, lengths[i]), 0);
			else
				assert_int_equal(tree_delete(tree, txg, "keys", 4), 0);
			assert_int_equal(tree_get(tree, "keys", 4, value, sizeof(value), &length), lengths[i] ? 0 : -ENOENT);
			assert_int_equal(length, lengths[i]);
			assert_memory_equal(value, expected, length);
			assert_int_equal(count_forward(tree), lengths[i] > 0);
		}
		if (txg == 2)
			assert_int_equal(tree_delete(tree, txg, "keys", 4), 0);
		assert_int_equal(fake_sync(test->blocks, &objset, 1, txg), 0);
		assert_int_equal(entries(tree), txg != 2);
	}
	object_close(tree);
	objset_close(objset);
}

static void test_last_change(void **state)
{
	(void)state;
	fake_run(0, last_change, 0, 100);
}

#define MANY 60000u

struct many {
	struct object *tree;
	uint16_t lengths[MANY]; /* of the values; 0: there is none */
};

/* Here and there in all leaves: more, less, so little that they are joined. */
static void change_all(struct fake_test *test, struct many *many, uint64_t txg)
{
	for (uint32_t first = 0; first < MANY; first += 30) {
		unsigned way = (unsigned)blocks_random(test->blocks, 5); /* 4: as they are */

		for (uint32_t i = first; i < first + 30; i++) {
			if (way == 0 ? i % 8 : way == 1 && i % 10 == 3) {
				delete_number(many->tree, txg, i);
				many->lengths[i] = 0;
			} else if (way == 3 || (way == 2 && i % 3 == 0)) {
				many->lengths[i] = way == 3 ? 500 : (uint16_t)(1 + blocks_random(test->blocks, 700));
				put_number(many->tree, txg, i, many->lengths[i]);
			}
		}
	}
}

static void check_many(const struct many *many)
{
	uint8_t value[OBJECT_VALUE_MAX];
	size_t length, count = 0;

	for (uint32_t i = 0; i < MANY; i++) {
		uint8_t raw[4] = { (uint8_t)(i >> 24), (uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i };
		int result = tree_get(many->tree, raw, 4, value, sizeof(value), &length);

		assert_int_equal(result, many->lengths[i] ? 0 : -ENOENT);
		if (result == 0) {
			assert_int_equal(length, many->lengths[i]);
			assert_int_equal(value[length - 1], i % 251);
		}
		count += result == 0;
	}
	assert_int_equal(entries(many->tree), count);
	assert_int_equal(count_forward(many->tree), count);
}

/* A sync of changes all over a large tree has few of its leaves in memory at a time. */
static void many_leaves(void *argument)
{
	struct fake_test *test = argument;
	struct objset *objset = new_objset(test);
	struct many *many = calloc(1, sizeof(*many));

	many->tree = new_tree(objset, 1);
	for (uint32_t i = 0; i < MANY; i++) {
		many->lengths[i] = 400;
		put_number(many->tree, 1, i, 400);
	}
	assert_int_equal(fake_sync(test->blocks, &objset, 1, 1), 0);
	test->blocks->counts_kept = true;
	for (uint64_t txg = 2; txg < 8; txg++) {
		change_all(test, many, txg);
		uint64_t kills = test->blocks->kills;

		assert_int_equal(fake_sync(test->blocks, &objset, 1, txg), 0);
		assert_true(test->blocks->kills - kills > 600);
		check_many(many);
	}
	assert_in_range(test->blocks->kept_max, 256, 700);
	object_close(many->tree);
	objset_close(objset);
	free(many);
}

static void test_many_leaves(void **state)
{
	(void)state;
	fake_run(3, many_leaves, 0, 50);
}

/* In the middle of it: nothing has changed, and all of its memory is freed. */
static void many_fail(void *argument)
{
	struct fake_test *test = argument;
	struct objset *objset = new_objset(test);
	struct many *many = calloc(1, sizeof(*many));

	many->tree = new_tree(objset, 1);
	for (uint32_t i = 0; i < MANY; i++) {
		many->lengths[i] = 400;
		put_number(many->tree, 1, i, 400);
	}
	assert_int_equal(fake_sync(test->blocks, &objset, 1, 1), 0);
	check_many(many);
	struct raw_block_pointer root = *objset_root(objset);

	change_all(test, many, 2);
	if (test->blocks->seed & 1)
		test->blocks->fail_read_at = test->blocks->reads + 900;
	else
		test->blocks->fail_place_at = test->blocks->places + 3;
	test->blocks->fail_with = -EIO;
	assert_int_equal(fake_sync(test->blocks, &objset, 1, 2), -EIO);
	assert_memory_equal(objset_root(objset), &root, sizeof(root));
	fake_rollback(test->blocks, 2);
	object_close(many->tree);
	objset_close(objset);
	free(many);
}

static void test_many_fail(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed < 7; seed++)
		fake_run(seed, many_fail, 0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limits), cmocka_unit_test(test_fill), cmocka_unit_test(test_thin), cmocka_unit_test(test_overlays), cmocka_unit_test(test_last_change),
		cmocka_unit_test(test_split), cmocka_unit_test(test_bad_neighbours), cmocka_unit_test(test_many_leaves), cmocka_unit_test(test_many_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
