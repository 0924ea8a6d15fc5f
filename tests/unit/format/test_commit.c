/* Sysmap and commit block. */
#include "libpool/format/uberblock.h"
#include "tests/unit/format/support.h"

static unsigned random_sysmap(struct random *random, struct sysmap_segment *segments)
{
	unsigned count = (unsigned)random_below(random, random_below(random, 8) ? 30 : SYSMAP_SEGMENTS_MAX + 1);
	for (unsigned i = 0; i < count; i++) {
		segments[i] = (struct sysmap_segment){ .segment = (uint32_t)random_below(random, 4000) * 4000 + i,
						       .rows = (uint16_t)random_between(random, 1, ROWS_MAX),
						       .flags = (uint16_t)random_below(random, 8),
						       .column_count = (uint8_t)random_between(random, 1, 4) };
		random_columns(random, segments[i].columns, segments[i].column_count, SYS_COLUMNS_MAX);
	}
	return count;
}

static void sysmap(void **state)
{
	(void)state;
	static struct sysmap_segment segments[SYSMAP_SEGMENTS_MAX], back[SYSMAP_SEGMENTS_MAX];
	static uint8_t raw[SYSMAP_SLOT_SIZE], again[SYSMAP_SLOT_SIZE];
	struct random random = { 5 };
	struct guid pool = { { 1, 2, 3 } }, other = { { 1, 2, 4 } };
	size_t size = 0;
	int accepted = 0;
	for (int i = 0; i < FUZZ_ITERATIONS; i++) {
		if (i % 64 == 0) {
			unsigned count = random_sysmap(&random, segments);
			size = sysmap_encode(&pool, 77, segments, count, raw);
			assert_int_equal(size, 64 + 32 * count);
			assert_int_equal(sysmap_decode(raw, size, &pool, 77, back), count);
			for (unsigned s = 0; s < count; s++) {
				assert_int_equal(segments[s].segment, back[s].segment);
				assert_int_equal(segments[s].rows, back[s].rows);
				assert_int_equal(segments[s].flags, back[s].flags);
				assert_int_equal(segments[s].column_count, back[s].column_count);
				for (unsigned c = 0; c < 4; c++) {
					assert_int_equal(segments[s].columns[c].disk, back[s].columns[c].disk);
					assert_int_equal(segments[s].columns[c].au, back[s].columns[c].au);
				}
			}
			assert_int_equal(sysmap_decode(raw, size, &pool, 78, back), -POOL_EFORMAT);
			assert_int_equal(sysmap_decode(raw, size, &other, 77, back), -POOL_EFORMAT);
			assert_int_equal(sysmap_decode(raw, size - 1, &pool, 77, back), -POOL_EFORMAT);
			assert_int_equal(sysmap_decode(raw, size + 32, &pool, 77, back), -POOL_EFORMAT);
		}
		uint8_t *input = fuzz_input(&random, raw, size);
		int count = sysmap_decode(input, size, &pool, 77, back);
		assert_true(count >= 0 || count == -POOL_EFORMAT);
		if (count >= 0) {
			assert_int_equal(sysmap_encode(&pool, 77, back, (unsigned)count, again), size);
			assert_memory_equal(again, input, size);
			accepted++;
		}
		free(input);
	}
	assert_true(accepted > FUZZ_ITERATIONS / 100);
	memset(segments, 0, sizeof(segments[0]) * 2);
	for (unsigned i = 0; i < 2; i++)
		segments[i] = (struct sysmap_segment){ .segment = 9, .rows = 1, .column_count = 1, .columns = { { 1, i } } };
	size = sysmap_encode(&pool, 77, segments, 2, raw);
	assert_int_equal(sysmap_decode(raw, size, &pool, 77, back), -POOL_EFORMAT);
}

static void random_commit(struct random *random, struct commit_block *commit)
{
	memset(commit, 0, sizeof(*commit));
	random_bytes(random, &commit->pool, 16);
	commit->txg = random_magnitude(random) | 0x100;
	commit->sequence = random_magnitude(random) | 1;
	for (unsigned i = 0; i < random_below(random, 4) && i < 3; i++)
		commit->recent_txgs[i] = commit->txg - i * 2 - 1;
	for (unsigned i = 1; i < 3; i++)
		if (commit->recent_txgs[i - 1] == 0)
			commit->recent_txgs[i] = 0;
	commit->time_ns = random_next(random);
	commit->mos = random_raw(random, TYPE_OBJSET, 0);
	commit->alloc_log = random_raw(random, TYPE_ALLOC_LOG, 0);
	commit->segtab = (struct dnode){ .kind = DNODE_BLOB, .block_shift = 16, .indirect_shift = 14, .levels = 2,
					 .max_block = 3, .root = random_raw(random, TYPE_SEGTAB, 1) };
	commit->livemap = (struct dnode){ .kind = DNODE_BLOB, .block_shift = 17, .indirect_shift = 14 };
	commit->alloc_log_oldest = random_below(random, commit->txg) + 1;
	commit->segment_count = (uint32_t)random_below(random, SEGMENTS_MAX + 1);
	commit->segment_record_size = SEGMENT_RECORD_SIZE;
	commit->sysmap_record_size = SYSMAP_RECORD_SIZE;
	commit->live_cells = random_magnitude(random);
	commit->next_dataset = random_next(random) >> 32;
}

static void commit(void **state)
{
	(void)state;
	static struct commit_block good, bad, back;
	struct random random = { 6 };
	uint8_t raw[CELL_SIZE], again[CELL_SIZE];
	int accepted = 0;
	for (int i = 0; i < FUZZ_ITERATIONS; i++) {
		if (i % 16 == 0) {
			random_commit(&random, &good);
			commit_block_encode(&good, raw);
			assert_int_equal(commit_block_decode(raw, &back), 0);
			assert_memory_equal(&good, &back, sizeof(good));
		}
		uint8_t *input = fuzz_input(&random, raw, sizeof(raw));
		int error = commit_block_decode(input, &back);
		assert_true(error == 0 || error == -POOL_EFORMAT);
		if (error == 0) {
			commit_block_encode(&back, again);
			assert_memory_equal(again, input, sizeof(again));
			accepted++;
		}
		free(input);
	}
	assert_true(accepted > FUZZ_ITERATIONS / 20);
#define REFUSED(change)                                                             \
	do {                                                                        \
		bad = good;                                                         \
		bad.change;                                                         \
		commit_block_encode(&bad, raw);                                     \
		assert_int_equal(commit_block_decode(raw, &back), -POOL_EFORMAT);   \
	} while (0)
	REFUSED(txg = 0);
	REFUSED(sequence = 0);
	REFUSED(recent_txgs[0] = bad.txg);
	REFUSED(alloc_log_oldest = 0);
	REFUSED(alloc_log_oldest = bad.txg + 1);
	REFUSED(segment_count = SEGMENTS_MAX + 1);
	REFUSED(segment_record_size = 136);
	REFUSED(sysmap_record_size = 40);
	REFUSED(mos = bad.alloc_log);
	REFUSED(alloc_log = bad.mos);
	REFUSED(segtab.levels = 3);
	REFUSED(livemap.kind = DNODE_TREE);
#undef REFUSED
}

static void golden(void **state)
{
	(void)state;
	struct block_pointer pointer = { .dva = dva_pack((struct dva){ 7, 1, 1, 0 }), .place = 5, .birth = 5, .lsect = 1,
					 .psect = 1 };
	struct guid pool;
	uint8_t raw[CELL_SIZE];
	memset(&pool, 0x99, 16);
	struct sysmap_segment segment = { .segment = 0x010203, .rows = 0x123, .flags = SEGMENT_DEGRADED, .column_count = 3,
					  .columns = { { 1, 0x11121314 }, { 2, 0x21 }, { DISK_ABSENT, 0 } } };
	size_t size = sysmap_encode(&pool, 0x4142, &segment, 1, raw);
	assert_golden(raw, size,
		      "0000: 706f6f6c5359534d0100400000000000\n"
		      "0010: 99999999999999999999999999999999\n"
		      "0020: 42410000000000000100000020000000\n"
		      "0040: 03020100230104030100141312110200\n"
		      "0050: 21000000ffff00000000ffff00000000\n");

	static struct commit_block block;
	block = (struct commit_block){ .pool = pool, .txg = 0x4142, .sequence = 0x51, .recent_txgs = { 0x4141, 0x4140, 0x39 },
				       .time_ns = 0x61, .alloc_log_oldest = 0x71, .segment_count = 0x81,
				       .segment_record_size = SEGMENT_RECORD_SIZE, .sysmap_record_size = SYSMAP_RECORD_SIZE,
				       .live_cells = 0x91, .next_dataset = 0xA1,
				       .segtab = { .kind = DNODE_BLOB, .block_shift = 16, .indirect_shift = 14 },
				       .livemap = { .kind = DNODE_BLOB, .block_shift = 17, .indirect_shift = 14 } };
	pointer.type = TYPE_OBJSET;
	block_pointer_encode(&pointer, &block.mos);
	pointer.type = TYPE_ALLOC_LOG;
	block_pointer_encode(&pointer, &block.alloc_log);
	commit_block_encode(&block, raw);
	assert_golden(raw, sizeof(raw),
		      "0000: 706f6f6c434f4d4d0100000500000000\n"
		      "0010: 99999999999999999999999999999999\n"
		      "0020: 42410000000000005100000000000000\n"
		      "0030: 41410000000000004041000000000000\n"
		      "0040: 39000000000000006100000000000000\n"
		      "0050: 71000000000000009100000000000000\n"
		      "0060: a1000000000000008100000080002000\n"
		      "0080: 00001000070000000500000000000000\n"
		      "0090: 00000018000000000500000000000000\n"
		      "00c0: 00001000070000000500000000000000\n"
		      "00d0: 00000008000000000500000000000000\n"
		      "0100: 01100e00000000000000000000000000\n"
		      "0300: 01110e00000000000000000000000000\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(sysmap), cmocka_unit_test(commit), cmocka_unit_test(golden) };
	return cmocka_run_group_tests(tests, NULL, NULL);
}
