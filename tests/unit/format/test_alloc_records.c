/* The records of allocation logs. */
#include "libpool/format/alloc_log.h"
#include "tests/unit/format/support.h"

#define RECORDS_MAX 64
#define UNUSED_MAX  20
#define ROWS        256u

static struct cell_extent unused_pool[RECORDS_MAX][UNUSED_MAX];

static struct cell_extent random_extent(struct random *random, uint32_t segment, unsigned rows_max)
{
	struct cell_extent extent = { .segment = segment, .column = (uint8_t)random_below(random, 16) };
	extent.rows = (uint16_t)random_between(random, 1, rows_max);
	extent.row = (uint16_t)random_between(random, 1, ROWS - extent.rows);
	return extent;
}

static void random_ranges(struct random *random, struct alloc_record *record)
{
	unsigned row = 1;
	while (record->range_count < 10 && row + 10 < ROWS) {
		struct summary_range range = { (uint16_t)(row + random_below(random, 3)),
					       (uint16_t)random_between(random, 1, 4) };
		record->ranges[record->range_count++] = range;
		row = range.base + range.rows;
		if (random_below(random, 6) == 0)
			break;
	}
}

static void random_record(struct random *random, struct alloc_record *record, struct cell_extent *unused)
{
	memset(record, 0, sizeof(*record));
	record->type = (enum alloc_record_type)random_between(random, ALLOC_SEGMENT, ALLOC_STALE);
	uint32_t segment = (uint32_t)random_below(random, SEGMENTS_MAX);
	switch (record->type) {
	case ALLOC_SEGMENT:
		record->segment = segment;
		record->record = random_segment(random, ROWS);
		break;
	case ALLOC_BATCH:
		record->segment = segment;
		record->txg = random_next(random) | 1;
		record->summary = random_raw(random, TYPE_SUMMARY, 0);
		random_ranges(random, record);
		record->unused_count = (uint32_t)random_below(random, UNUSED_MAX + 1);
		for (uint32_t i = 0; i < record->unused_count; i++) {
			const struct summary_range *range = &record->ranges[random_below(random, record->range_count)];
			unsigned rows = random_between(random, 1, range->rows);
			unused[i] = (struct cell_extent){ segment, (uint8_t)random_below(random, 16),
							  (uint16_t)(range->base + range->rows - rows), (uint16_t)rows };
		}
		record->unused = unused;
		break;
	case ALLOC_FREE:
		record->free = random_extent(random, segment, 200);
		break;
	case ALLOC_PREVFINAL:
		record->final.summary = random_raw(random, TYPE_SUMMARY, 0);
		record->final.segment = segment;
		record->final.rows = (uint16_t)random_between(random, 1, FINAL_BATCH_ROWS_MAX);
		record->final.base = (uint16_t)random_between(random, 1, ROWS - record->final.rows);
		break;
	case ALLOC_STALE:
		record->stale = (struct stale_record){ .segment = segment, .column = (uint8_t)random_below(random, 16),
						       .base = 7, .rows = (uint16_t)random_between(random, 1, ROWS - 7),
						       .place = random_next(random) | 1 };
		break;
	}
}

static void assert_extent_equal(const struct cell_extent *a, const struct cell_extent *b)
{
	assert_int_equal(a->segment, b->segment);
	assert_int_equal(a->column, b->column);
	assert_int_equal(a->row, b->row);
	assert_int_equal(a->rows, b->rows);
}

static void assert_record_equal(const struct alloc_record *a, const struct alloc_record *b)
{
	assert_int_equal(a->type, b->type);
	assert_int_equal(a->segment, b->segment);
	assert_int_equal(a->txg, b->txg);
	uint8_t raw_a[SEGMENT_RECORD_SIZE], raw_b[SEGMENT_RECORD_SIZE];
	segment_record_encode(&a->record, raw_a);
	segment_record_encode(&b->record, raw_b);
	assert_memory_equal(raw_a, raw_b, sizeof(raw_a));
	assert_int_equal(a->range_count, b->range_count);
	assert_memory_equal(a->ranges, b->ranges, sizeof(a->ranges));
	assert_memory_equal(&a->summary, &b->summary, sizeof(a->summary));
	assert_int_equal(a->unused_count, b->unused_count);
	for (uint32_t i = 0; i < a->unused_count; i++)
		assert_extent_equal(&a->unused[i], &b->unused[i]);
	assert_extent_equal(&a->free, &b->free);
	assert_memory_equal(&a->final.summary, &b->final.summary, sizeof(a->final.summary));
	assert_int_equal(a->final.segment, b->final.segment);
	assert_int_equal(a->final.base, b->final.base);
	assert_int_equal(a->final.rows, b->final.rows);
	assert_int_equal(a->stale.segment, b->stale.segment);
	assert_int_equal(a->stale.column, b->stale.column);
	assert_int_equal(a->stale.base, b->stale.base);
	assert_int_equal(a->stale.rows, b->stale.rows);
	assert_int_equal(a->stale.place, b->stale.place);
}

struct expected {
	const struct alloc_record *records;
	unsigned count, seen;
};

static int compare(const struct alloc_record *record, void *argument)
{
	struct expected *expected = argument;
	assert_true(expected->seen < expected->count);
	assert_record_equal(&expected->records[expected->seen++], record);
	return 0;
}

static void records_round_trip(void **state)
{
	(void)state;
	static struct alloc_record records[RECORDS_MAX];
	struct random random = { 1 };
	struct array bytes;
	array_init(&bytes, 1);
	for (int i = 0; i < 500; i++) {
		array_clear(&bytes);
		struct expected expected = { .records = records, .count = random_between(&random, 0, RECORDS_MAX) };
		for (unsigned r = 0; r < expected.count; r++) {
			random_record(&random, &records[r], unused_pool[r]);
			assert_int_equal(alloc_record_append(&bytes, &records[r]), 0);
		}
		assert_int_equal(bytes.count % 8, 0);
		assert_int_equal(alloc_records_each(bytes.items, bytes.count, ROWS, compare, &expected), 0);
		assert_int_equal(expected.seen, expected.count);
		if (bytes.count >= 8) {
			expected.seen = 0;
			assert_int_equal(alloc_records_each(bytes.items, bytes.count - 8, ROWS, compare, &expected), -POOL_EFORMAT);
			size_t half = alloc_records_fit(bytes.items, bytes.count, bytes.count / 2);
			assert_true(half <= bytes.count / 2);
			expected.seen = 0;
			assert_int_equal(alloc_records_each(bytes.items, half, ROWS, compare, &expected), 0);
			assert_int_equal(alloc_records_each(array_at(&bytes, uint8_t, half), bytes.count - half, ROWS,
							    compare, &expected), 0);
			assert_int_equal(expected.seen, expected.count);
		}
	}
	array_release(&bytes);
}

struct cells {
	uint64_t rows, visits;
	unsigned next_row;
	int stop_at;
};

static int count_cells(const struct alloc_record *record, void *argument)
{
	struct cells *cells = argument;
	assert_int_equal(record->type, ALLOC_FREE);
	if (cells->next_row)
		assert_int_equal(record->free.row, cells->next_row);
	assert_true(record->free.rows <= 256);
	cells->next_row = cells->next_row ? (unsigned)record->free.row + record->free.rows : 0;
	cells->rows += record->free.rows;
	return (int)++cells->visits == cells->stop_at ? 42 : 0;
}

static void long_runs_are_split(void **state)
{
	(void)state;
	struct array bytes;
	array_init(&bytes, 1);
	struct alloc_record record = { .type = ALLOC_FREE, .free = { 3, 2, 5, 4000 } };
	assert_int_equal(alloc_record_append(&bytes, &record), 0);
	assert_int_equal(bytes.count, 8 + 16 * 8);
	struct cells cells = { .next_row = 5 };
	assert_int_equal(alloc_records_each(bytes.items, bytes.count, 4096, count_cells, &cells), 0);
	assert_int_equal(cells.rows, 4000);
	assert_int_equal(cells.visits, 16);
	array_release(&bytes);
}

static void many_frees_cost_eight_bytes(void **state)
{
	(void)state;
	struct random random = { 2 };
	static struct cell_extent extents[10000];
	uint64_t rows = 0;
	struct array bytes;
	for (unsigned i = 0; i < 10000; i++) {
		extents[i] = random_extent(&random, i, 200);
		rows += extents[i].rows;
	}
	array_init(&bytes, 1);
	assert_int_equal(alloc_record_append_frees(&bytes, extents, 10000), 0);
	assert_int_equal(bytes.count, 10 * 8 + 10000 * 8);
	struct cells cells = { 0 };
	assert_int_equal(alloc_records_each(bytes.items, bytes.count, ROWS, count_cells, &cells), 0);
	assert_int_equal(cells.rows, rows);
	assert_int_equal(cells.visits, 10000);
	cells = (struct cells){ .stop_at = 1234 };
	assert_int_equal(alloc_records_each(bytes.items, bytes.count, ROWS, count_cells, &cells), 42);
	assert_int_equal(cells.visits, 1234);
	array_release(&bytes);
}

static void too_large_a_batch(void **state)
{
	(void)state;
	static struct cell_extent unused[ALLOC_BATCH_UNUSED_MAX + 1];
	for (unsigned i = 0; i <= ALLOC_BATCH_UNUSED_MAX; i++)
		unused[i] = (struct cell_extent){ 1, (uint8_t)(i % 16), (uint16_t)(i / 16 + 1), 1 };
	struct random random = { 3 };
	struct alloc_record record = { .type = ALLOC_BATCH, .segment = 1, .txg = 1, .range_count = 1, .ranges = { { 1, 4000 } },
				       .summary = random_raw(&random, TYPE_SUMMARY, 0), .unused = unused };
	struct array bytes;
	array_init(&bytes, 1);
	record.unused_count = ALLOC_BATCH_UNUSED_MAX + 1;
	assert_int_equal(alloc_record_append(&bytes, &record), -E2BIG);
	assert_int_equal(bytes.count, 0);
	record.unused_count = ALLOC_BATCH_UNUSED_MAX;
	assert_int_equal(alloc_record_append(&bytes, &record), 0);
	assert_true(bytes.count <= ALLOC_RECORD_MAX);
	struct expected expected = { .records = &record, .count = 1 };
	assert_int_equal(alloc_records_each(bytes.items, bytes.count, 4096, compare, &expected), 0);
	array_release(&bytes);
}

static int touch(const struct alloc_record *record, void *argument)
{
	uint64_t *sum = argument;
	*sum += record->segment + record->free.rows;
	for (unsigned i = 0; i < record->range_count; i++)
		*sum += record->ranges[i].rows;
	for (uint32_t i = 0; i < record->unused_count; i++)
		*sum += record->unused[i].rows;
	return 0;
}

static void fuzz_records(void **state)
{
	(void)state;
	struct random random = { 6 };
	struct alloc_record record;
	struct array bytes;
	uint64_t sum = 0;
	int accepted = 0;
	array_init(&bytes, 1);
	for (int i = 0; i < FUZZ_ITERATIONS; i++) {
		if (i % 16 == 0) {
			array_clear(&bytes);
			for (unsigned r = 0; r < 4; r++) {
				random_record(&random, &record, unused_pool[r]);
				assert_int_equal(alloc_record_append(&bytes, &record), 0);
			}
		}
		uint8_t *input = fuzz_input(&random, bytes.items, bytes.count);
		int error = alloc_records_each(input, bytes.count, ROWS, touch, &sum);
		assert_true(error == 0 || error == -POOL_EFORMAT);
		accepted += error == 0;
		free(input);
	}
	assert_true(accepted > FUZZ_ITERATIONS / 50);
	array_release(&bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_round_trip), cmocka_unit_test(long_runs_are_split),
		cmocka_unit_test(many_frees_cost_eight_bytes), cmocka_unit_test(too_large_a_batch),
		cmocka_unit_test(fuzz_records),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
