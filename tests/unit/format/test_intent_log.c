/* SPDX-License-Identifier: BSD-2-Clause */
/* Blocks of the intent log: what is written is read, and nothing that was torn, mixed or made up is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "libpool/base/error.h"
#include "libpool/format/intent_log.h"
#include "libpool/format/raw_header.h"

static const struct guid pool = { "pool of the test" }, other = { "another pool...." };

static uint8_t content[300];

static struct intent_record records[] = {
	{ .type = INTENT_WRITE, .objset = 3, .txg = 70, .object = 16, .offset = 12345, .size = sizeof(content), .content = content },
	{ .type = INTENT_ZERO, .objset = 4, .txg = 71, .object = 16, .offset = UINT64_C(1) << 59, .size = UINT64_C(1) << 59 },
	{ .type = INTENT_RESIZE, .objset = 4, .txg = 71, .size = 1 << 20 },
	{ .type = INTENT_WRITE, .objset = 5, .txg = 71, .object = 16, .offset = 0, .size = 8192, .content = content },
	{ .type = INTENT_INODE, .objset = 6, .txg = 70, .object = 33, .offset = UINT64_MAX - 320, .size = sizeof(content), .content = content },
	{ .type = INTENT_PLACED, .objset = 5, .txg = 71, .object = 16, .offset = 32768, .size = 16384 },
};
#define RECORDS (sizeof(records) / sizeof(records[0]))

static uint8_t raw[INTENT_BLOCK_CELLS_MAX * CELL_SIZE], large[8192];

static struct intent_block block_of(unsigned count)
{
	struct intent_block block = { .flags = INTENT_GROUP_FIRST, .pool = pool, .generation = 0x1234567890abcdef, .sequence = 77,
				      .txg = 71, .acknowledged = 76, .record_count = count };

	memset(raw, 0xEE, sizeof(raw));
	memset(&block.previous, 0x11, sizeof(block.previous));
	for (size_t i = 0; i < sizeof(large); i++)
		large[i] = (uint8_t)(i * 7);
	for (size_t i = 0; i < sizeof(content); i++)
		content[i] = (uint8_t)(i * 13);
	records[3].content = large;
	struct block_pointer pointer = { .dva = UINT64_C(9) << 32 | 5 << 20, .place = 71, .birth = 71, .fill = 1, .lsect = 4, .psect = 4,
					 .type = TYPE_DATA };
	block_pointer_encode(&pointer, &records[5].pointer);
	for (unsigned i = 0; i < count; i++) {
		intent_record_encode(&records[i], raw + INTENT_HEADER_SIZE + block.payload_bytes);
		block.payload_bytes += (uint32_t)intent_record_bytes(&records[i]);
	}
	intent_block_encode(&block, raw);
	return block;
}

static int check_record(void *argument, const struct intent_record *record)
{
	const struct intent_record *wanted = &records[*(unsigned *)argument];

	++*(unsigned *)argument;
	assert_int_equal(record->type, wanted->type);
	assert_int_equal(record->objset, wanted->objset);
	assert_int_equal(record->txg, wanted->txg);
	assert_int_equal(record->object, wanted->object);
	assert_int_equal(record->offset, wanted->offset);
	assert_int_equal(record->size, wanted->size);
	if (intent_has_content(record->type))
		assert_memory_equal(record->content, wanted->content, record->size);
	if (record->type == INTENT_PLACED)
		assert_memory_equal(record->pointer.bytes, wanted->pointer.bytes, BLOCK_POINTER_SIZE);
	return 0;
}

static void test_round(void **state)
{
	(void)state;
	for (unsigned count = 1; count <= RECORDS; count++) {
		struct intent_block block = block_of(count), got;
		unsigned seen = 0;

		assert_int_equal(intent_block_decode(raw, sizeof(raw), &pool, &got), 0);
		assert_int_equal(got.flags, block.flags);
		assert_int_equal(got.generation, block.generation);
		assert_int_equal(got.sequence, block.sequence);
		assert_int_equal(got.txg, block.txg);
		assert_int_equal(got.acknowledged, block.acknowledged);
		assert_int_equal(got.payload_bytes, block.payload_bytes);
		assert_int_equal(got.record_count, block.record_count);
		assert_memory_equal(&got.previous, &block.previous, sizeof(got.previous));
		assert_memory_equal(&got.checksum, &block.checksum, sizeof(got.checksum));
		assert_int_equal(intent_records_each(raw, &got, check_record, &seen), 0);
		assert_int_equal(seen, count);
		size_t cells = intent_block_cells(block.payload_bytes);
		assert_int_equal(intent_block_decode(raw, cells * CELL_SIZE, &pool, &got), 0);
		assert_int_equal(intent_block_decode(raw, (cells - 1) * CELL_SIZE, &pool, &got), -POOL_EFORMAT);
		assert_int_equal(intent_block_decode(raw, sizeof(raw), &other, &got), -POOL_EFORMAT);
	}
	/* A 4 KiB write takes two cells, and eight of them nine. */
	assert_int_equal(intent_block_cells(INTENT_RECORD_SIZE + 4096), 2);
	assert_int_equal(intent_block_cells(8 * (INTENT_RECORD_SIZE + 4096)), 9);
}

static void test_every_bit(void **state)
{
	struct intent_block block = block_of(RECORDS), got;
	size_t size = (size_t)intent_block_cells(block.payload_bytes) * CELL_SIZE;

	(void)state;
	for (size_t at = 0; at < size; at++) {
		raw[at] ^= (uint8_t)(1u << at % 8);
		assert_int_equal(intent_block_decode(raw, sizeof(raw), &pool, &got), -POOL_EFORMAT);
		raw[at] ^= (uint8_t)(1u << at % 8);
	}
	assert_int_equal(intent_block_decode(raw, sizeof(raw), &pool, &got), 0);
}

static int ignore(void *argument, const struct intent_record *record)
{
	(void)argument;
	/* Whatever is told lies within the block. */
	if (intent_has_content(record->type))
		assert_true(record->content >= raw && record->content + record->size <= raw + sizeof(raw));
	return 0;
}

/* With right checksums, but records that make no sense. */
static void test_forged(void **state)
{
	struct intent_block got;
	unsigned refused = 0;

	(void)state;
	for (size_t at = 0; at < INTENT_RECORD_SIZE; at++)
		for (unsigned value = 0; value < 256; value += 51) {
			struct intent_block block = block_of(2);
			uint8_t *byte = raw + INTENT_HEADER_SIZE + at;
			if (*byte == value)
				continue;
			*byte = (uint8_t)value;
			intent_block_encode(&block, raw);
			assert_int_equal(intent_block_decode(raw, sizeof(raw), &pool, &got), 0);
			refused += intent_records_each(raw, &got, ignore, NULL) < 0;
		}
	assert_true(refused > 80);
	/* More records than there are, fewer, and a txg above the block's. */
	for (int more = -1; more <= 1; more += 2) {
		struct intent_block block = block_of(2);
		block.record_count = (uint32_t)(2 + more);
		intent_block_encode(&block, raw);
		assert_int_equal(intent_block_decode(raw, sizeof(raw), &pool, &got), 0);
		assert_int_equal(intent_records_each(raw, &got, ignore, NULL), -POOL_EFORMAT);
	}
	struct intent_block block = block_of(2);
	block.txg = 70;
	intent_block_encode(&block, raw);
	assert_int_equal(intent_block_decode(raw, sizeof(raw), &pool, &got), 0);
	assert_int_equal(intent_records_each(raw, &got, ignore, NULL), -POOL_EFORMAT);
}

/* A pointer that isn't one of a block of this size, of data, of this txg. */
static void test_placed(void **state)
{
	const struct block_pointer right = { .dva = UINT64_C(9) << 32 | 5 << 20, .place = 71, .birth = 71, .fill = 1, .lsect = 4, .psect = 4,
					     .type = TYPE_DATA };
	struct block_pointer wrong[] = { right, right, right, right, right, right, right };
	struct intent_block block, got;

	(void)state;
	wrong[0].type = TYPE_TREE;
	wrong[1].level = 1;
	wrong[2].place = 70;
	wrong[3].birth = 72;
	wrong[4].fill = 2;
	wrong[5].lsect = wrong[5].psect = 8;
	wrong[6] = (struct block_pointer){ .flags = BP_HOLE, .birth = 71, .lsect = 4, .type = TYPE_DATA };
	for (unsigned i = 0; i <= 7; i++) {
		uint8_t *at = raw + INTENT_HEADER_SIZE;
		block = block_of(RECORDS);
		for (unsigned r = 0; r < 5; r++)
			at += intent_record_bytes(&records[r]);
		block_pointer_encode(i < 7 ? &wrong[i] : &right, &records[5].pointer);
		intent_record_encode(&records[5], at);
		intent_block_encode(&block, raw);
		assert_int_equal(intent_block_decode(raw, sizeof(raw), &pool, &got), 0);
		assert_int_equal(intent_records_each(raw, &got, ignore, NULL), i < 7 ? -POOL_EFORMAT : 0);
	}
	/* Not a whole block of its size. */
	records[5].offset += 4096;
	block = block_of(RECORDS);
	assert_int_equal(intent_records_each(raw, &block, ignore, NULL), -POOL_EFORMAT);
	records[5].offset -= 4096;
}

static void refused(void (*change)(struct intent_block *block))
{
	struct intent_block block = block_of(2), got;

	change(&block);
	intent_block_encode(&block, raw);
	assert_int_equal(intent_block_decode(raw, sizeof(raw), &pool, &got), -POOL_EFORMAT);
}

static void no_sequence(struct intent_block *block)
{
	block->sequence = block->acknowledged = 0;
}

static void acknowledges_itself(struct intent_block *block)
{
	block->acknowledged = block->sequence;
}

static void unknown_flag(struct intent_block *block)
{
	block->flags |= 4;
}

static void test_refused(void **state)
{
	(void)state;
	refused(no_sequence);
	refused(acknowledges_itself);
	refused(unknown_flag);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round),
		cmocka_unit_test(test_every_bit),
		cmocka_unit_test(test_forged), cmocka_unit_test(test_placed),
		cmocka_unit_test(test_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
