/* Blobs step by step: content through txgs and syncs, holes and their births, growth to 2^48 blocks, shared buffers. */
#include "tests/unit/object/fake_blocks.h"

#include "libpool/object/object_internal.h"

static struct objset *new_objset(struct fake_test *test, uint64_t txg)
{
	struct objset_options options = fake_options(test);
	struct objset *objset;

	assert_int_equal(objset_create(test->rt, test->blocks, &options, txg, &objset), 0);
	return objset;
}

static struct object *new_blob(struct objset *objset, uint64_t txg, uint8_t block_shift, uint8_t indirect_shift)
{
	struct object_create_options options = { .kind = DNODE_BLOB, .block_shift = block_shift, .indirect_shift = indirect_shift };
	struct object *object;

	assert_int_equal(object_create(objset, txg, &options, &object), 0);
	return object;
}

static void expect(struct object *object, uint64_t offset, size_t length, uint8_t byte)
{
	uint8_t *data = malloc(length);

	memset(data, ~byte, length);
	assert_int_equal(blob_read(object, offset, length, data), 0);
	for (size_t i = 0; i < length; i++)
		assert_int_equal(data[i], byte);
	free(data);
}

static void put(struct object *object, uint64_t txg, uint64_t offset, size_t length, uint8_t byte)
{
	uint8_t *data = malloc(length);

	memset(data, byte, length);
	assert_int_equal(blob_write(object, txg, offset, length, data), 0);
	free(data);
}

static void content_through_txgs(void *argument)
{
	struct fake_test *test = argument;
	struct objset *objset = new_objset(test, 1);
	struct object *object = new_blob(objset, 1, 12, 12);
	uint64_t number = object_number(object);
	struct dnode dnode;

	assert_int_equal(number, 16);
	expect(object, 0, 10000, 0);
	put(object, 1, 100, 5000, 1);
	expect(object, 0, 100, 0);
	expect(object, 100, 5000, 1);
	expect(object, 5100, 9000, 0);
	put(object, 2, 200, 10, 2); /* over a block that is dirty in 1 */
	assert_int_equal(fake_sync(test->blocks, &objset, 1, 1), 0);
	expect(object, 100, 100, 1);
	expect(object, 200, 10, 2);
	expect(object, 210, 1000, 1);
	assert_int_equal(test->dirty[1], 0);
	assert_true(test->dirty[0] > 0);
	assert_int_equal(fake_sync(test->blocks, &objset, 1, 2), 0);
	assert_int_equal(test->dirty[0], 0);
	expect(object, 200, 10, 2);
	object_info(object, &dnode);
	assert_int_equal(dnode.max_block, 1);
	assert_int_equal(dnode.levels, 2);
	assert_int_equal(dnode.generation, 1);
	assert_int_equal(object_set_bonus(object, 3, "bonus", 5), 0);
	assert_int_equal(fake_sync(test->blocks, &objset, 1, 3), 0);
	object_close(object);
	objset = fake_reopen(test, objset);
	assert_int_equal(objset_object_count(objset), 1);
	assert_int_equal(object_open(objset, number, &object), 0);
	expect(object, 200, 10, 2);
	expect(object, 210, 1000, 1);
	object_info(object, &dnode);
	assert_int_equal(dnode.bonus_length, 5);
	assert_memory_equal(dnode.bonus, "bonus", 5);
	object_close(object);
	objset_close(objset);
}

static void test_content(void **state)
{
	(void)state;
	for (unsigned cached = 0; cached <= 100; cached += 50)
		fake_run(0, content_through_txgs, 50, cached);
}

/* A write, then a punch, then a write, in one txg and in several. */
static void punches_and_writes(void *argument)
{
	struct fake_test *test = argument;
	struct objset *objset = new_objset(test, 1);
	struct object *object = new_blob(objset, 1, 12, 12);
	uint64_t offset;

	put(object, 1, 0, 40 * 4096, 1);
	assert_int_equal(blob_punch(object, 1, 4096, 10 * 4096), 0);
	put(object, 1, 5 * 4096, 4096, 2);
	for (uint64_t txg = 1; txg <= 2; txg++) {
		expect(object, 0, 4096, 1);
		expect(object, 4096, 4 * 4096, 0);
		expect(object, 5 * 4096, 4096, 2);
		expect(object, 6 * 4096, 5 * 4096, 0);
		expect(object, 11 * 4096, 29 * 4096, 1);
		assert_int_equal(blob_seek(object, 0, UINT64_MAX, false, &offset), 0);
		assert_int_equal(offset, 4096);
		assert_int_equal(blob_seek(object, 4097, 1 << 20, true, &offset), 0);
		assert_int_equal(offset, 5 * 4096);
		assert_int_equal(blob_seek(object, 12 * 4096, UINT64_MAX, false, &offset), 0);
		assert_int_equal(offset, 40 * 4096);
		assert_int_equal(blob_seek(object, 40 * 4096, UINT64_MAX, true, &offset), 0);
		assert_true(offset == UINT64_MAX);
		assert_int_equal(fake_sync(test->blocks, &objset, 1, txg), 0);
	}
	/* Of parts of blocks only the bytes go. */
	assert_int_equal(blob_punch(object, 3, 11 * 4096 + 1, 2 * 4096 - 2), 0);
	for (uint64_t txg = 3; txg <= 4; txg++) {
		expect(object, 11 * 4096, 1, 1);
		expect(object, 11 * 4096 + 1, 2 * 4096 - 2, 0);
		expect(object, 13 * 4096 - 1, 1, 1);
		assert_int_equal(fake_sync(test->blocks, &objset, 1, txg), 0);
	}
	/* Everything, to the end of the world. */
	assert_int_equal(blob_punch(object, 5, 0, UINT64_MAX), 0);
	for (uint64_t txg = 5; txg <= 6; txg++) {
		struct dnode dnode;

		expect(object, 0, 50 * 4096, 0);
		assert_int_equal(blob_seek(object, 0, UINT64_MAX, true, &offset), 0);
		assert_true(offset == UINT64_MAX);
		assert_int_equal(fake_sync(test->blocks, &objset, 1, txg), 0);
		object_info(object, &dnode);
		assert_int_equal(dnode.sectors, 0);
	}
	object_close(object);
	objset_close(objset);
}

static void test_punch(void **state)
{
	(void)state;
	fake_run(0, punches_and_writes, 0, 100);
	fake_run(3, punches_and_writes, 50, 30);
}

/* The pointer at a level on the way to a block. */
static struct block_pointer pointer_at(struct fake_test *test, struct object *object, uint64_t block, unsigned level)
{
	struct raw_block_pointer raw = object->disk.root;
	unsigned at = object->disk.levels - 1u, shift = object->disk.indirect_shift - 6u;
	struct block_pointer pointer;

	assert_true(at >= level);
	assert_int_equal(block_pointer_decode(&raw, &pointer), 0);
	while (at > level && block_pointer_is_placed(&pointer)) {
		at--;
		raw = *node_slot(fake_block_find(test->blocks, &pointer)->content, block >> at * shift & ((1u << shift) - 1));
		assert_int_equal(block_pointer_decode(&raw, &pointer), 0);
	}
	return pointer;
}

static void births_of_holes(void *argument)
{
	struct fake_test *test = argument;
	struct objset *objset = new_objset(test, 1);
	struct object *object = new_blob(objset, 1, 12, 12);
	struct block_pointer pointer;

	put(object, 1, 0, 4096, 1);
	put(object, 1, 64 * 4096, 4096, 1);
	put(object, 1, 100 * 4096, 4096, 1);
	assert_int_equal(fake_sync(test->blocks, &objset, 1, 1), 0);
	assert_int_equal(object->disk.levels, 3);
	pointer = pointer_at(test, object, 1, 0);
	assert_true(block_pointer_is_hole(&pointer) && pointer.birth == 0); /* never written */

	assert_int_equal(blob_punch(object, 2, 64 * 4096, 4096), 0);
	assert_int_equal(fake_sync(test->blocks, &objset, 1, 2), 0);
	pointer = pointer_at(test, object, 64, 0);
	assert_true(block_pointer_is_hole(&pointer) && pointer.birth == 2 && pointer.type == TYPE_DATA);
	pointer = pointer_at(test, object, 65, 0);
	assert_int_equal(pointer.birth, 0);

	/* The last block of a node goes: the node is a hole. */
	put(object, 3, 100 * 4096, 4096, 0);
	assert_int_equal(fake_sync(test->blocks, &objset, 1, 3), 0);
	pointer = pointer_at(test, object, 64, 1);
	assert_true(block_pointer_is_hole(&pointer) && pointer.birth == 3 && pointer.level == 1);

	/* And comes back: its children inherit the birth. */
	put(object, 4, 70 * 4096, 4096, 1);
	assert_int_equal(fake_sync(test->blocks, &objset, 1, 4), 0);
	pointer = pointer_at(test, object, 64, 1);
	assert_true(!block_pointer_is_hole(&pointer) && pointer.birth == 4 && pointer.fill == 1);
	pointer = pointer_at(test, object, 64, 0);
	assert_true(block_pointer_is_hole(&pointer) && pointer.birth == 3);

	/* A punched root under which zeroes make new levels keeps a birth. */
	assert_int_equal(blob_punch(object, 5, 0, UINT64_MAX), 0);
	assert_int_equal(fake_sync(test->blocks, &objset, 1, 5), 0);
	put(object, 6, UINT64_C(4096) << 20, 4096, 0);
	assert_int_equal(fake_sync(test->blocks, &objset, 1, 6), 0);
	assert_int_equal(object->disk.levels, 5);
	pointer = pointer_at(test, object, 0, 4);
	assert_true(block_pointer_is_hole(&pointer) && pointer.birth >= 5);
	put(object, 7, UINT64_C(4096) << 20, 4096, 1);
	assert_int_equal(fake_sync(test->blocks, &objset, 1, 7), 0);
	pointer = pointer_at(test, object, 0, 0);
	assert_true(block_pointer_is_hole(&pointer) && pointer.birth >= 5);
	object_close(object);
	objset_close(objset);
}

static void test_births(void **state)
{
	(void)state;
	fake_run(0, births_of_holes, 0, 100);
}

static void growth(void *argument)
{
	static const uint8_t shapes[][2] = { { 12, 12 }, { 12, 14 }, { 14, 15 }, { 20, 14 } };
	struct fake_test *test = argument;
	struct objset *objset = new_objset(test, 1);
	uint64_t txg = 1;

	for (size_t shape = 0; shape < 4; shape++) {
		struct object *object = new_blob(objset, txg, shapes[shape][0], shapes[shape][1]);
		uint64_t size = blob_block_size(object), offset;
		struct buffer *buffer, *read;

		assert_int_equal(blob_write_block(object, txg, UINT64_C(1) << 48, buffer = buffer_new_zero(size)), -EFBIG);
		for (unsigned bit = 0; bit <= 48; bit++) {
			memset(buffer->data, (int)bit + 1, size);
			if (!buffer_is_sole(buffer)) {
				struct buffer *copy = buffer_new_copy(buffer->data, size);

				buffer_unref(buffer);
				buffer = copy;
			}
			assert_int_equal(blob_write_block(object, txg, (UINT64_C(1) << bit) - 1, buffer), 0);
			buffer_unref(buffer);
			buffer = buffer_new(size);
			if (bit % 5 == 0)
				assert_int_equal(fake_sync(test->blocks, &objset, 1, txg++), 0);
		}
		buffer_unref(buffer);
		assert_int_equal(fake_sync(test->blocks, &objset, 1, txg++), 0);
		assert_true(blob_capacity(object->disk.levels, shapes[shape][1]) >= UINT64_C(1) << 48);
		for (unsigned bit = 0; bit <= 48; bit++) {
			assert_int_equal(blob_read_block(object, (UINT64_C(1) << bit) - 1, &read), 0);
			assert_int_equal(read->data[size - 1], bit + 1);
			buffer_unref(read);
			if (bit > 2) {
				assert_int_equal(blob_read_block(object, (UINT64_C(1) << bit) - 2, &read), 0);
				assert_null(read);
			}
		}
		assert_int_equal(blob_seek(object, 4 * size, UINT64_MAX, true, &offset), 0);
		assert_true(offset == 7 * size);
		if (shapes[shape][0] == 12) {
			assert_int_equal(blob_seek(object, size << 46, UINT64_MAX, true, &offset), 0);
			assert_true(offset == ((UINT64_C(1) << 47) - 1) * size);
		}
		/* All but the first and the last. */
		assert_int_equal(blob_punch(object, txg, size, shapes[shape][0] == 12 ? ((UINT64_C(1) << 48) - 2) * size : UINT64_MAX), 0);
		assert_int_equal(fake_sync(test->blocks, &objset, 1, txg++), 0);
		assert_int_equal(blob_seek(object, size, UINT64_MAX, true, &offset), 0);
		if (shapes[shape][0] == 12)
			assert_true(offset == ((UINT64_C(1) << 48) - 1) * size);
		assert_int_equal(object_destroy(object, txg), 0);
		assert_int_equal(object_destroy(object, txg), -ENOENT);
		assert_int_equal(fake_sync(test->blocks, &objset, 1, txg++), 0);
		expect(object, 0, 5000, 0);
		assert_int_equal(blob_write(object, txg, 0, 1, "x"), -ENOENT);
		object_close(object);
	}
	objset_close(objset);
}

static void test_growth(void **state)
{
	(void)state;
	fake_run(0, growth, 10, 70);
}

/* A reader's buffer never changes. */
static void frozen_buffers(void *argument)
{
	struct fake_test *test = argument;
	struct objset *objset = new_objset(test, 1);
	struct object *object = new_blob(objset, 1, 12, 0);
	struct buffer *first, *second, *third, *mine = buffer_new_zero(4096);

	put(object, 1, 0, 4096, 1);
	assert_int_equal(blob_read_block_cached(object, 0, &first), 1);
	put(object, 1, 1, 1, 2);
	assert_int_equal(first->data[1], 1);
	assert_int_equal(blob_read_block_cached(object, 0, &second), 1);
	assert_int_equal(second->data[1], 2);
	put(object, 2, 1, 1, 3);
	assert_int_equal(fake_sync(test->blocks, &objset, 1, 1), 0);
	assert_int_equal(second->data[1], 2);
	assert_int_equal(blob_read_block(object, 0, &third), 0);
	assert_int_equal(third->data[1], 3);
	assert_int_equal(blob_write_block(object, 2, 0, mine), 0);
	put(object, 2, 0, 1, 9);
	assert_int_equal(mine->data[0], 0);
	expect(object, 0, 1, 9);
	buffer_unref(first);
	buffer_unref(second);
	buffer_unref(third);
	buffer_unref(mine);
	object_close(object);
	objset_close(objset);
}

static void test_frozen(void **state)
{
	(void)state;
	fake_run(0, frozen_buffers, 0, 100);
}

/* Writes that arrive under the older of two handles. */
static void late_writes(void *argument)
{
	struct fake_test *test = argument;
	struct objset *objset = new_objset(test, 1);
	struct object *object = new_blob(objset, 1, 12, 0);

	put(object, 2, 0, 10, 2);
	put(object, 1, 5, 10, 1);
	expect(object, 0, 5, 2);
	expect(object, 5, 10, 1);
	assert_int_equal(blob_punch(object, 2, 4096, 4096), 0);
	put(object, 2, 8192, 4096, 2);
	assert_int_equal(blob_punch(object, 2, 8192, 4096), 0);
	put(object, 1, 8192 + 7, 1, 1);
	expect(object, 8192, 7, 0);
	expect(object, 8192 + 7, 1, 1);
	put(object, 2, 12288, 4096, 2);
	put(object, 1, 12288, 4096, 1);
	put(object, 2, 16384, 4096, 2);
	assert_int_equal(blob_punch(object, 1, 16384, 4096), 0);
	for (uint64_t txg = 1; txg <= 3; txg++) {
		expect(object, 5, 10, 1);
		expect(object, 8192 + 7, 1, 1);
		expect(object, 12288, 4096, 1);
		expect(object, 16384, 4096, 0);
		assert_int_equal(fake_sync(test->blocks, &objset, 1, txg), 0);
	}
	object_close(object);
	objset_close(objset);
}

/* And nothing of the newer txg gets into the older one with them. */
static void late_write_alone(void *argument)
{
	struct fake_test *test = argument;
	struct objset *objset = new_objset(test, 1);
	struct object *object = new_blob(objset, 1, 12, 0);

	put(object, 2, 0, 10, 2);
	put(object, 1, 5, 10, 1);
	assert_int_equal(fake_sync(test->blocks, &objset, 1, 1), 0);
	object_close(object);
	objset = fake_reopen(test, objset);
	assert_int_equal(object_open(objset, 16, &object), 0);
	expect(object, 0, 5, 0);
	expect(object, 5, 10, 1);
	object_close(object);
	objset_close(objset);
}

static void test_late(void **state)
{
	(void)state;
	fake_run(0, late_write_alone, 0, 100);
	fake_run(0, late_writes, 0, 100);
}

static void bare(void *argument)
{
	struct fake_test *test = argument;
	struct dnode dnode = { .kind = DNODE_BLOB, .block_shift = 16, .indirect_shift = 12 };
	struct object_sync sync = { .blocks = test->blocks, .kill = fake_kill };
	struct object *object;

	for (uint64_t txg = 1; txg < 30; txg++) {
		assert_int_equal(object_new_bare(test->rt, test->blocks, &dnode, TYPE_SEGTAB, CLASS_SYS, 1, &object), 0);
		for (uint64_t page = 0; page < txg - 1; page++)
			expect(object, page << 16, 1000, (uint8_t)(page + 1));
		put(object, txg, (txg - 1) << 16, 65536, (uint8_t)txg);
		put(object, txg, UINT64_C(1000) << 16, 65536, (uint8_t)txg);
		if (txg == 20) {
			assert_int_equal(blob_punch(object, txg, 65536 * 500, 65536 * 10000), 0);
			put(object, txg, UINT64_C(2000) << 16, 65536, (uint8_t)txg);
		}
		blob_prefetch(object, 0, 100);
		sync.txg = txg;
		assert_int_equal(object_sync_bare(&sync, object, &dnode), 0);
		fake_forget_killed(test->blocks);
		fake_check_reachable(test->blocks, NULL, 0, object);
		blob_prefetch(object, 0, 100);
		object_close(object);
	}
}

static void test_bare(void **state)
{
	(void)state;
	fake_run(0, bare, 20, 50);
	fake_run(5, bare, 90, 0);
}

/* How many of so many blocks, written in one txg, are tried to be compressed. */
static uint64_t tried_of(struct fake_test *test, struct objset *objset, struct object *object, uint64_t txg, unsigned count)
{
	uint64_t before = test->blocks->tried, block = blob_block_size(object);

	for (unsigned i = 0; i < count; i++)
		put(object, txg, i * block, block, (uint8_t)txg);
	assert_int_equal(fake_sync(test->blocks, &objset, 1, txg), 0);
	return test->blocks->tried - before;
}

static void compression_in_vain(void *argument)
{
	struct fake_test *test = argument;
	struct objset *objset = new_objset(test, 1);
	struct object *object = new_blob(objset, 1, 14, 12), *other = new_blob(objset, 1, 14, 12), *small = new_blob(objset, 1, 12, 12);

	object_set_compression(object, BLOCK_COMPRESS_AUTO);
	object_set_compression(other, BLOCK_COMPRESS_AUTO);
	object_set_compression(small, BLOCK_COMPRESS_AUTO);
	assert_int_equal(tried_of(test, objset, object, 1, 15), 15);
	assert_int_equal(tried_of(test, objset, object, 2, 1), 1);
	assert_int_equal(tried_of(test, objset, object, 3, 64), 8);
	assert_int_equal(tried_of(test, objset, other, 4, 10), 10);
	test->blocks->shrinks = true;
	assert_int_equal(tried_of(test, objset, object, 5, 8), 1);
	assert_int_equal(tried_of(test, objset, object, 6, 50), 50);
	/* One that could be among those that couldn't. */
	test->blocks->shrinks = false;
	assert_int_equal(tried_of(test, objset, object, 7, 15), 15);
	test->blocks->shrinks = true;
	assert_int_equal(tried_of(test, objset, object, 8, 1), 1);
	test->blocks->shrinks = false;
	assert_int_equal(tried_of(test, objset, object, 9, 16), 16);
	/* What can't take less than its cell says nothing, and costs little. */
	assert_int_equal(tried_of(test, objset, small, 10, 30), 30);
	assert_int_equal(tried_of(test, objset, small, 11, 30), 30);
	/* Who names a level has it tried always. */
	object_set_compression(object, 4);
	assert_int_equal(tried_of(test, objset, object, 12, 20), 0);
	object_set_compression(object, BLOCK_COMPRESS_AUTO);
	assert_int_equal(tried_of(test, objset, object, 13, 16), 2);
	object_close(object);
	object_close(other);
	object_close(small);
	objset_close(objset);
}

static void test_compression(void **state)
{
	(void)state;
	fake_run(0, compression_in_vain, 0, 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_compression),
		cmocka_unit_test(test_content), cmocka_unit_test(test_punch), cmocka_unit_test(test_births), cmocka_unit_test(test_growth),
		cmocka_unit_test(test_frozen),  cmocka_unit_test(test_late),  cmocka_unit_test(test_bare),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
