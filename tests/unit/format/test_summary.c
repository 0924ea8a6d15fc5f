/* Summaries. */
#include "libpool/format/summary.h"
#include "tests/unit/format/support.h"

#define RANGES_MAX_HERE 40
#define STRIPES_MAX_HERE 80
#define BLOCKS_MAX_HERE 2000
#define CELLS_MAX_HERE  20000

/* Owns its arrays, large enough for what random_summary makes. */
struct sample {
	struct summary summary;
	uint32_t relocated;
	struct summary_range ranges[RANGES_MAX_HERE];
	struct summary_stripe stripes[STRIPES_MAX_HERE];
	uint8_t nocrc[CELLS_MAX_HERE / 8 + 1];
	uint32_t crc[CELLS_MAX_HERE];
	struct summary_block blocks[BLOCKS_MAX_HERE];
	uint8_t raw[SUMMARY_CELLS_MAX * CELL_SIZE];
	size_t size;
};

static void add_blocks(struct random *random, struct sample *sample, const struct summary_stripe *stripe)
{
	for (unsigned at = 0; at < stripe->fill && sample->summary.block_count < BLOCKS_MAX_HERE;) {
		unsigned psect = random_between(random, 1, stripe->fill - at < 40 ? stripe->fill - at : 40);
		struct summary_block *block = &sample->blocks[sample->summary.block_count++];
		*block = (struct summary_block){ .column = (uint8_t)(at / stripe->height),
						 .row = (uint16_t)(stripe->base + at % stripe->height),
						 .psect = (uint16_t)psect,
						 .type = (uint8_t)random_between(random, 1, TYPE_COUNT - 1),
						 .level = (uint8_t)random_below(random, 16),
						 .objset = (uint32_t)random_next(random),
						 .object = random_next(random) >> 16,
						 .block = random_next(random) >> 16 };
		if (random_below(random, 4) == 0) {
			block->flags = SUMMARY_RELOCATED;
			block->identity_dva = random_placed(random, TYPE_DATA, 0).dva;
			block->identity_place = random_next(random) | 1;
			sample->relocated++;
		}
		at += psect;
	}
}

static void random_summary(struct random *random, struct sample *sample, unsigned rows_limit)
{
	struct summary *summary = &sample->summary;
	sample->relocated = 0;
	*summary = (struct summary){ .segment = (uint32_t)random_below(random, SEGMENTS_MAX),
				     .class = CLASS_HOT,
				     .txg = random_next(random),
				     .ranges = sample->ranges, .stripes = sample->stripes, .nocrc = sample->nocrc,
				     .crc = sample->crc, .blocks = sample->blocks };
	random_bytes(random, summary->pool.bytes, 16);
	summary->m = (uint8_t)random_below(random, 4);
	summary->k = (uint8_t)random_between(random, 1, 16 - summary->m);
	unsigned wanted = random_between(random, 1, RANGES_MAX_HERE), row = 1, rows = 0;
	while (summary->range_count < wanted && row + 8 < rows_limit) {
		struct summary_range range = { .base = (uint16_t)(row + random_below(random, 4)) };
		range.rows = (uint16_t)random_between(random, 1, 4);
		unsigned height = random_between(random, 1, range.rows);
		struct summary_stripe stripe = { range.base, (uint16_t)height,
						 (uint16_t)random_below(random, summary->k * height + 1) };
		sample->ranges[summary->range_count++] = range;
		sample->stripes[summary->stripe_count++] = stripe;
		add_blocks(random, sample, &stripe);
		if (height < range.rows) {
			stripe = (struct summary_stripe){ (uint16_t)(range.base + height), 1, summary->k };
			sample->stripes[summary->stripe_count++] = stripe;
			add_blocks(random, sample, &stripe);
		}
		row = range.base + range.rows;
		rows += range.rows;
	}
	summary->cell_count = rows * (summary->k + summary->m);
	memset(sample->nocrc, 0, sizeof(sample->nocrc));
	random_bytes(random, sample->nocrc, summary->cell_count / 8);
	random_bytes(random, sample->crc, summary->cell_count * 4);
	sample->size = summary_size(summary->range_count, summary->stripe_count, summary->block_count,
				    sample->relocated, summary->cell_count);
	assert_true(sample->size <= sizeof(sample->raw));
	memset(sample->raw, 0, sizeof(sample->raw));
	summary_encode(summary, sample->raw);
}

static void assert_summary_equal(const struct summary *a, const struct summary *b)
{
	assert_memory_equal(&a->pool, &b->pool, 16);
	assert_int_equal(a->segment, b->segment);
	assert_int_equal(a->class, b->class);
	assert_int_equal(a->k, b->k);
	assert_int_equal(a->m, b->m);
	assert_int_equal(a->txg, b->txg);
	assert_int_equal(a->range_count, b->range_count);
	assert_int_equal(a->stripe_count, b->stripe_count);
	assert_int_equal(a->block_count, b->block_count);
	assert_int_equal(a->cell_count, b->cell_count);
	assert_memory_equal(a->ranges, b->ranges, a->range_count * sizeof(*a->ranges));
	assert_memory_equal(a->stripes, b->stripes, a->stripe_count * sizeof(*a->stripes));
	assert_memory_equal(a->nocrc, b->nocrc, (a->cell_count + 7) / 8);
	assert_memory_equal(a->crc, b->crc, a->cell_count * sizeof(*a->crc));
	for (uint32_t i = 0; i < a->block_count; i++) {
		assert_int_equal(a->blocks[i].column, b->blocks[i].column);
		assert_int_equal(a->blocks[i].row, b->blocks[i].row);
		assert_int_equal(a->blocks[i].psect, b->blocks[i].psect);
		assert_int_equal(a->blocks[i].flags, b->blocks[i].flags);
		assert_int_equal(a->blocks[i].type, b->blocks[i].type);
		assert_int_equal(a->blocks[i].level, b->blocks[i].level);
		assert_int_equal(a->blocks[i].objset, b->blocks[i].objset);
		assert_int_equal(a->blocks[i].object, b->blocks[i].object);
		assert_int_equal(a->blocks[i].block, b->blocks[i].block);
		assert_int_equal(a->blocks[i].identity_dva, b->blocks[i].identity_dva);
		assert_int_equal(a->blocks[i].identity_place, b->blocks[i].identity_place);
	}
}

static void round_trip(void **state)
{
	(void)state;
	static struct sample sample;
	struct random random = { 1 };
	for (int i = 0; i < 1000; i++) {
		struct summary back;
		random_summary(&random, &sample, 256);
		assert_int_equal(summary_decode(sample.raw, sample.size, 256, &back), 0);
		assert_summary_equal(&sample.summary, &back);
		summary_release(&back);
		assert_int_equal(summary_decode(sample.raw, sizeof(sample.raw), 256, &back), 0); /* zeros behind */
		summary_release(&back);
		for (size_t size = 0; size < sample.size; size += 1 + size / 8)
			assert_int_equal(summary_decode(sample.raw, size, 256, &back), -POOL_EFORMAT);
		sample.raw[sample.size] = 1;
		assert_int_equal(summary_decode(sample.raw, sample.size + 1, 256, &back), -POOL_EFORMAT);
	}
	struct summary empty = { 0 };
	summary_release(&empty);
}

static void cell_index(void **state)
{
	(void)state;
	static struct sample sample;
	struct random random = { 2 };
	for (int i = 0; i < 50; i++) {
		random_summary(&random, &sample, 256);
		const struct summary *summary = &sample.summary;
		int64_t next = 0;
		for (unsigned row = 0; row < 300; row++) {
			bool inside = false;
			for (uint32_t r = 0; r < summary->range_count; r++)
				inside = inside || (row >= summary->ranges[r].base &&
						    row < (unsigned)summary->ranges[r].base + summary->ranges[r].rows);
			assert_int_equal(inside, summary_ranges_cover(summary->ranges, summary->range_count, row, 1));
			for (unsigned c = 0; c < 20; c++) {
				bool has = inside && c < (unsigned)summary->k + summary->m;
				assert_int_equal(summary_cell_index(summary, row, c), has ? next++ : -1);
			}
		}
		assert_int_equal(next, summary->cell_count);
	}
	struct summary_range ranges[] = { { 10, 5 }, { 15, 5 }, { 30, 1 } };
	assert_true(summary_ranges_cover(ranges, 3, 12, 8));
	assert_false(summary_ranges_cover(ranges, 3, 12, 9));
	assert_false(summary_ranges_cover(ranges, 3, 9, 2));
	assert_false(summary_ranges_cover(ranges, 3, 30, 2));
}

/* Ranges, stripes and blocks that contradict each other. */
static void contradictions_are_refused(void **state)
{
	(void)state;
	struct summary_range ranges[2] = { { 1, 4 }, { 10, 2 } };
	struct summary_stripe stripes[2] = { { 1, 4, 6 }, { 10, 2, 4 } };
	struct summary_block blocks[1] = { { .column = 1, .row = 1, .psect = 2, .type = TYPE_DATA } };
	uint8_t nocrc[3] = { 0 };
	uint32_t crc[18] = { 0 };
	struct summary good = { .segment = 1, .class = CLASS_HOT, .k = 2, .m = 1, .txg = 1, .range_count = 2,
				.stripe_count = 2, .block_count = 1, .cell_count = 18, .ranges = ranges,
				.stripes = stripes, .nocrc = nocrc, .crc = crc, .blocks = blocks }, back;
	uint8_t raw[4096] = { 0 };
	size_t size = summary_size(2, 2, 1, 0, 18);
	summary_encode(&good, raw);
	assert_int_equal(summary_decode(raw, size, 64, &back), 0);
	summary_release(&back);
#define REFUSED(field, value)                                                            \
	do {                                                                             \
		__typeof__(field) saved = field;                                         \
		field = value;                                                           \
		summary_encode(&good, raw);                                              \
		field = saved;                                                           \
		assert_int_equal(summary_decode(raw, size, 64, &back), -POOL_EFORMAT);   \
	} while (0)
	REFUSED(ranges[0].base, 0);
	REFUSED(ranges[1].base, 4);
	REFUSED(ranges[1].base, 63);
	REFUSED(ranges[0].rows, 5);
	REFUSED(ranges[0].rows, 0);
	REFUSED(stripes[0].base, 2);
	REFUSED(stripes[1].base, 11);
	REFUSED(stripes[1].base, 9);
	REFUSED(stripes[0].fill, 9);
	REFUSED(stripes[1], ((struct summary_stripe){ 2, 1, 0 }));
	REFUSED(blocks[0].column, 2);
	REFUSED(blocks[0].psect, 3);
	REFUSED(blocks[0].row, 5);
	REFUSED(blocks[0].type, 0);
	REFUSED(blocks[0].type, TYPE_COUNT);
	REFUSED(blocks[0].level, 16);
	REFUSED(blocks[0].flags, 2);
	REFUSED(good.segment, SEGMENTS_MAX);
	REFUSED(good.k, 3);
	REFUSED(good.m, 2);
	REFUSED(good.class, CLASS_LOG);
#undef REFUSED
	summary_encode(&good, raw);
	raw[64 + 8 + 12 + 2] |= 0x80; /* a bit behind the bitmap's end */
	assert_int_equal(summary_decode(raw, size, 64, &back), -POOL_EFORMAT);
}

static void fuzz(void **state)
{
	(void)state;
	static struct sample sample;
	static uint8_t again[SUMMARY_CELLS_MAX * CELL_SIZE];
	struct random random = { 3 };
	int accepted = 0;
	for (int i = 0; i < FUZZ_ITERATIONS; i++) {
		if (i % 64 == 0)
			random_summary(&random, &sample, random_between(&random, 16, 128));
		struct summary summary;
		uint8_t *input = fuzz_input(&random, sample.raw, sample.size);
		int error = summary_decode(input, sample.size, 128, &summary);
		assert_true(error == 0 || error == -POOL_EFORMAT);
		if (error == 0) {
			memset(again, 0, sample.size);
			summary_encode(&summary, again);
			assert_memory_equal(again, input, sample.size);
			summary_release(&summary);
			accepted++;
		}
		free(input);
	}
	assert_true(accepted > FUZZ_ITERATIONS / 50);
}

static void golden(void **state)
{
	(void)state;
	struct summary_range ranges[1] = { { 0x123, 2 } };
	struct summary_stripe stripes[1] = { { 0x123, 2, 4 } };
	struct summary_block blocks[2] = { { .column = 0, .row = 0x123, .psect = 2, .type = TYPE_DATA, .level = 1,
					     .objset = 0x31323334, .object = 0x414243444546, .block = 0x515253545556 },
					   { .column = 1, .row = 0x123, .psect = 1, .type = TYPE_SUMMARY,
					     .flags = SUMMARY_RELOCATED, .identity_dva = 0x6162636465666768,
					     .identity_place = 0x7172737475767778 } };
	uint8_t nocrc[1] = { 0x2A };
	uint32_t crc[6] = { 0xA0A1A2A3, 0, 0xB0B1B2B3, 0, 0xC0C1C2C3, 0 };
	struct summary summary = { .segment = 0x01020304, .class = CLASS_COLD, .k = 2, .m = 1, .txg = 0x1112131415161718,
				   .range_count = 1, .stripe_count = 1, .block_count = 2, .cell_count = 6,
				   .ranges = ranges, .stripes = stripes, .nocrc = nocrc, .crc = crc, .blocks = blocks };
	memset(summary.pool.bytes, 0x99, 16);
	uint8_t raw[512];
	size_t size = summary_size(1, 1, 2, 1, 6);
	assert_true(size <= sizeof(raw));
	summary_encode(&summary, raw);
	assert_golden(raw, size,
		      "0000: 706f6f6c53554d4d0100400000000000\n"
		      "0010: 99999999999999999999999999999999\n"
		      "0020: 04030201040201001817161514131211\n"
		      "0030: 01000000010000000200000006000000\n"
		      "0040: 230102002301010004002aa3a2a1a000\n"
		      "0050: 000000b3b2b1b000000000c3c2c1c000\n"
		      "0060: 00000023010100093433323146454443\n"
		      "0070: 42410156555453525123110001010000\n"
		      "0080: 00000000000000000000000000000068\n"
		      "0090: 676665646362617877767574737271\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip), cmocka_unit_test(cell_index),
		cmocka_unit_test(contradictions_are_refused), cmocka_unit_test(fuzz), cmocka_unit_test(golden),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
