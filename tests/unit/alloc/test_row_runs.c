/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs of dead rows: when a row may be written again, what a search costs, and how long the index of batches gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "libpool/alloc/alloc.h"
#include "libpool/alloc/victims.h"
#include "libpool/format/dva.h"

#define ROWS 64u

struct pool {
	struct alloc *alloc;
	uint64_t txg;
	uint32_t sys;
	unsigned map; /* entries of the batch map */
	uint8_t k;
};

static void pool_open_wide(struct pool *pool, uint32_t aus, uint8_t k)
{
	struct geometry geometry = {.k = k, .m = 1, .au_shift = 18, .rows = ROWS};

	*pool = (struct pool){.txg = 1, .k = k};
	assert_int_equal(alloc_new(&geometry, &pool->alloc), 0);
	for (unsigned i = 0; i < k + 1u; i++)
		assert_int_equal(alloc_disk_add(pool->alloc, i, aus, true), 0);
	alloc_txg_begin(pool->alloc, pool->txg);
	assert_int_equal(alloc_segment_open(pool->alloc, CLASS_SYS, &pool->sys), 0);
}

static void pool_open(struct pool *pool, uint32_t aus)
{
	pool_open_wide(pool, aus, 2);
}

static void count_map(void *argument, uint32_t segment, const struct batch_index *batch, bool present)
{
	struct pool *pool = argument;

	(void)segment, (void)batch;
	pool->map += present ? 1 : -1;
}

/* The commit of what was done since the last one; the next txg is in sync. */
static void commit(struct pool *pool)
{
	struct final_batch final = {.segment = pool->sys, .rows = 3};
	struct array bytes;
	uint16_t row;

	array_init(&bytes, 1);
	assert_int_equal(alloc_sys_take_in(pool->alloc, pool->sys, 3, &row), 0);
	final.base = row;
	alloc_batch_map_changes(pool->alloc, count_map, pool);
	assert_int_equal(alloc_txg_take_records(pool->alloc, true, &bytes), 0);
	array_release(&bytes);
	struct dva dva = {pool->sys, row, 3, 2};
	struct block_pointer summary = {.dva = dva_pack(dva), .place = pool->txg, .birth = pool->txg, .lsect = 1, .psect = 1,
					.type = TYPE_SUMMARY, .fill = 1};
	block_pointer_encode(&summary, &final.summary);
	uint64_t before = pool->txg;
	alloc_txg_commit(pool->alloc, &final, &summary);
	pool->txg++;
	alloc_txg_begin(pool->alloc, pool->txg);
	/* Log and commit block of the one before. */
	struct dva old = {pool->sys, row, 3, 0};
	struct block_pointer dead = {.dva = dva_pack(old), .place = before, .birth = before, .lsect = 2, .psect = 2, .type = TYPE_COMMIT, .fill = 1};
	assert_int_equal(alloc_txg_free(pool->alloc, &dead), 0);
}

/* A batch of rows, each of which is a block of k cells but the last, which has a summary of one, and nothing else. */
static void batch(struct pool *pool, uint32_t id, const struct summary_range *ranges, unsigned count)
{
	unsigned last = ranges[count - 1].base + ranges[count - 1].rows - 1u;
	struct dva dva = {id, (uint16_t)last, 1, 0};
	struct block_pointer summary = {.dva = dva_pack(dva), .place = pool->txg, .birth = pool->txg, .lsect = 1, .psect = 1,
					.type = TYPE_SUMMARY, .fill = 1};
	struct cell_extent unused = {id, 1, (uint16_t)last, 1};

	assert_int_equal(alloc_txg_batch(pool->alloc, id, ranges, count, &summary, &unused, pool->k > 1), 0);
}

static uint32_t full_segment(struct pool *pool)
{
	struct summary_range all = {1, ROWS - 1};
	uint32_t id;

	assert_int_equal(alloc_segment_open(pool->alloc, CLASS_HOT, &id), 0);
	assert_int_equal(alloc_rows_take(pool->alloc, id, ROWS - 1), 1);
	batch(pool, id, &all, 1);
	alloc_segment_close(pool->alloc, id);
	return id;
}

static void kill_row(struct pool *pool, uint32_t id, unsigned row)
{
	const struct batch_index *index = alloc_batch_find(alloc_segment(pool->alloc, id), row);
	struct dva dva = {id, (uint16_t)row, 1, 0};
	struct block_pointer pointer = {.dva = dva_pack(dva), .place = index->txg, .birth = index->txg, .lsect = pool->k, .psect = pool->k,
					.type = TYPE_DATA, .fill = 1};

	assert_int_equal(alloc_txg_free(pool->alloc, &pointer), 0);
}

static bool find(struct pool *pool, unsigned rows, uint32_t *ret_id)
{
	return alloc_runs_find(pool->alloc, CLASS_HOT, false, rows, 2 * rows, ret_id);
}

/* ---- the rule ---- */

static void test_two_commits(void **state)
{
	struct pool pool;
	uint32_t id, found;
	unsigned rows;

	(void)state;
	pool_open(&pool, 100);
	id = full_segment(&pool);
	commit(&pool);
	for (unsigned row = 10; row < 18; row++)
		kill_row(&pool, id, row);
	for (unsigned later = 0; later < 3; later++) {
		assert_false(find(&pool, 1, &found));
		commit(&pool);
	}
	assert_false(find(&pool, 9, &found));
	assert_true(find(&pool, 8, &found));
	assert_int_equal(found, id);
	assert_int_equal(alloc_run_next(pool.alloc, id, 1, 4, &rows), 10);
	assert_int_equal(rows, 8);
	assert_int_equal(alloc_run_take(pool.alloc, id, 10, 8), 0);
	/* Not again in this txg, used or not; what isn't used can be had in the next. */
	assert_int_equal(alloc_run_next(pool.alloc, id, 1, 1, &rows), 0);
	alloc_runs_give_up(pool.alloc, id, false);
	assert_false(find(&pool, 1, &found));
	struct summary_range used = {10, 4};
	batch(&pool, id, &used, 1);
	commit(&pool);
	assert_false(find(&pool, 5, &found));
	assert_true(find(&pool, 4, &found));
	assert_int_equal(alloc_run_next(pool.alloc, id, 1, 4, &rows), 14);
	/* The old batch has neither what was used nor what wasn't. */
	assert_int_equal(alloc_batch_find(alloc_segment(pool.alloc, id), 10)->txg, 5);
	assert_null(alloc_batch_find(alloc_segment(pool.alloc, id), 15));
	assert_int_equal(alloc_batch_find(alloc_segment(pool.alloc, id), 18)->txg, 1);
	alloc_free_all(pool.alloc);
}

static void test_who_gives_none(void **state)
{
	struct pool pool;
	uint32_t ids[3], found;
	unsigned rows;

	(void)state;
	pool_open(&pool, 100);
	for (unsigned i = 0; i < 2; i++)
		ids[i] = full_segment(&pool);
	/* One that stays OPEN: the log may name rows of it. */
	struct summary_range some = {1, 40};
	assert_int_equal(alloc_segment_open(pool.alloc, CLASS_HOT, &ids[2]), 0);
	assert_int_equal(alloc_rows_take(pool.alloc, ids[2], 40), 1);
	batch(&pool, ids[2], &some, 1);
	commit(&pool);
	for (unsigned i = 0; i < 3; i++)
		for (unsigned row = 10; row < 14 + 4 * i; row++)
			kill_row(&pool, ids[i], row);
	for (unsigned i = 0; i < 3; i++)
		commit(&pool);
	alloc_pin(alloc_segment(pool.alloc, ids[1]));
	assert_true(find(&pool, 1, &found));
	assert_int_equal(found, ids[0]);
	assert_false(find(&pool, 1, &found)); /* it gives rows to one at a time */
	/* A pin that comes later stops it at once. */
	alloc_pin(alloc_segment(pool.alloc, ids[0]));
	assert_int_equal(alloc_run_next(pool.alloc, ids[0], 1, 1, &rows), 0);
	alloc_unpin(pool.alloc, alloc_segment(pool.alloc, ids[0]));
	assert_int_equal(alloc_run_next(pool.alloc, ids[0], 1, 1, &rows), 10);
	alloc_unpin(pool.alloc, alloc_segment(pool.alloc, ids[1]));
	assert_true(find(&pool, 1, &found));
	assert_int_equal(found, ids[1]);
	/* Closed in this txg, it gives rows from the next one on. */
	alloc_segment_close(pool.alloc, ids[2]);
	alloc_disk_set_usable(pool.alloc, 2, false);
	alloc_disk_set_usable(pool.alloc, 2, true);
	assert_false(find(&pool, 1, &found));
	commit(&pool);
	assert_true(find(&pool, 12, &found));
	assert_int_equal(found, ids[2]);
	/* Rows that would lack a column are others' last resort. */
	alloc_runs_give_up(pool.alloc, found, false);
	alloc_disk_set_usable(pool.alloc, 1, false);
	assert_false(find(&pool, 1, &found));
	struct space space;
	alloc_space(pool.alloc, &space);
	assert_true(row_space_cells(&space.rows, 1) > 0);
	alloc_set_lacking_promised(pool.alloc, false);
	alloc_space(pool.alloc, &space);
	assert_int_equal(row_space_cells(&space.rows, 1), 0);
	assert_true(alloc_runs_find(pool.alloc, CLASS_HOT, true, 12, 24, &found));
	assert_int_equal(found, ids[2]);
	/* Whose rows were only taken isn't judged by its columns when the txg commits. */
	assert_int_equal(alloc_run_next(pool.alloc, found, 1, 12, &rows), 10);
	assert_int_equal(alloc_run_take(pool.alloc, found, 10, 12), 0);
	assert_false(alloc_segment(pool.alloc, found)->placed_in_txg);
	batch(&pool, found, &(struct summary_range){10, 4}, 1);
	assert_true(alloc_segment(pool.alloc, found)->placed_in_txg);
	alloc_free_all(pool.alloc);
}

static void kill_rows(struct pool *pool, uint32_t id, unsigned row, unsigned rows)
{
	for (unsigned i = 0; i < rows; i++)
		kill_row(pool, id, row + i);
	for (unsigned i = 0; i < 3; i++)
		commit(pool);
}

static bool is_offered(struct pool *pool, bool lacking)
{
	uint32_t id;
	bool found = alloc_runs_find(pool->alloc, CLASS_HOT, lacking, 1, 1, &id);

	if (found)
		alloc_runs_give_up(pool->alloc, id, false);
	return found;
}

static void use_rows(struct pool *pool, uint16_t row, uint16_t rows)
{
	struct summary_range range = {row, rows};
	uint32_t id;

	assert_true(alloc_runs_find(pool->alloc, CLASS_HOT, false, 1, 1, &id));
	assert_int_equal(alloc_run_take(pool->alloc, id, row, rows), 0);
	batch(pool, id, &range, 1);
	alloc_runs_give_up(pool->alloc, id, false);
	commit(pool);
}

/*
 * Where each row has one block: from a quarter on, until they are used up. A segment that lacks a column of which copies would have to make one more gives
 * them from four on: emptying it gains nothing before half of it is dead.
 */
static void test_mirror(void **state)
{
	struct pool pool;
	uint32_t id;

	(void)state;
	pool_open_wide(&pool, 64, 1);
	id = full_segment(&pool);
	commit(&pool);
	kill_rows(&pool, id, 10, ROWS / 4 - 1);
	assert_false(is_offered(&pool, false));
	kill_rows(&pool, id, 10 + ROWS / 4 - 1, 1);
	assert_true(is_offered(&pool, false));
	use_rows(&pool, 10, 11);
	assert_true(is_offered(&pool, false)); /* the other five */
	use_rows(&pool, 21, 2);
	assert_false(is_offered(&pool, false)); /* three */

	id = full_segment(&pool);
	commit(&pool);
	kill_rows(&pool, id, 30, 4);
	assert_false(is_offered(&pool, false));
	/* Without one of two disks new segments have one column, too. */
	alloc_disk_set_usable(pool.alloc, 1, false);
	assert_false(is_offered(&pool, true));
	alloc_disk_set_usable(pool.alloc, 1, true);
	/* Of three, new ones have both. */
	assert_int_equal(alloc_disk_add(pool.alloc, 2, 64, true), 0);
	alloc_disk_set_usable(pool.alloc, 1, false);
	assert_true(is_offered(&pool, true));
	alloc_disk_set_usable(pool.alloc, 1, true);
	assert_true(is_offered(&pool, false)); /* they may have been promised */
	use_rows(&pool, 30, 1);
	assert_false(is_offered(&pool, false));
	alloc_free_all(pool.alloc);
}

/* ---- stale records die with the batch that they mean ---- */

static void test_stale(void **state)
{
	struct stale_record stale = {.column = 1, .base = 8, .rows = 12, .place = 1};
	struct pool pool;
	uint32_t found;
	size_t count;

	(void)state;
	pool_open(&pool, 100);
	stale.segment = full_segment(&pool);
	assert_int_equal(alloc_stale_add(pool.alloc, &stale), 0);
	commit(&pool);
	for (unsigned row = 8; row < 19; row++)
		kill_row(&pool, stale.segment, row);
	for (unsigned i = 0; i < 3; i++)
		commit(&pool);
	(void)alloc_stale(pool.alloc, &count);
	assert_int_equal(count, 1); /* of row 19 */
	assert_true(find(&pool, 11, &found));
	assert_int_equal(alloc_run_take(pool.alloc, found, 8, 11), 0);
	struct summary_range used = {8, 11};
	batch(&pool, found, &used, 1);
	assert_true(alloc_is_stale(pool.alloc, found, 1, 19, 1));
	assert_false(alloc_is_stale(pool.alloc, found, 1, 9, pool.txg));
	kill_row(&pool, found, 19);
	commit(&pool);
	(void)alloc_stale(pool.alloc, &count);
	assert_int_equal(count, 0); /* although rows that it names are live */
	alloc_free_all(pool.alloc);
}

/* ---- who has pinned a segment still finds the batches of what dies meanwhile ---- */

static void test_index_under_a_pin(void **state)
{
	struct pool pool;
	uint32_t id, found;

	(void)state;
	pool_open(&pool, 100);
	id = full_segment(&pool);
	struct segment *segment = alloc_segment(pool.alloc, id);
	commit(&pool);
	for (unsigned row = 10; row < 40; row++)
		if (row % 10 < 4)
			kill_row(&pool, id, row);
	for (unsigned i = 0; i < 3; i++)
		commit(&pool);
	assert_true(find(&pool, 4, &found));
	struct summary_range ranges[] = {{10, 4}, {20, 4}, {30, 4}};
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(alloc_run_take(pool.alloc, id, ranges[i].base, ranges[i].rows), 0);
	batch(&pool, id, ranges, 3);
	commit(&pool);
	uint64_t txg = alloc_batch_find(segment, 20)->txg;
	alloc_pin(segment);
	for (unsigned row = 20; row < 24; row++)
		kill_row(&pool, id, row);
	commit(&pool);
	assert_non_null(alloc_batch_find(segment, 20));
	assert_int_equal(alloc_batch_find(segment, 20)->txg, txg);
	alloc_unpin(pool.alloc, segment);
	kill_row(&pool, id, 10);
	commit(&pool);
	assert_null(alloc_batch_find(segment, 20));
	assert_int_equal(alloc_batch_find(segment, 11)->txg, txg);
	alloc_free_all(pool.alloc);
}

/* Rows that were dead when others of their entry were taken: no free will ever name them. */
static void test_dead_pieces(void **state)
{
	struct pool pool;
	uint32_t id, found;

	(void)state;
	pool_open(&pool, 100);
	id = full_segment(&pool);
	struct segment *segment = alloc_segment(pool.alloc, id);
	commit(&pool);
	for (unsigned row = 10; row < 30; row++)
		kill_row(&pool, id, row);
	for (unsigned i = 0; i < 3; i++)
		commit(&pool);
	struct summary_range ranges[] = {{12, 4}, {20, 4}};
	for (unsigned i = 0; i < 2; i++) {
		assert_true(find(&pool, 4, &found));
		assert_int_equal(alloc_run_take(pool.alloc, id, ranges[i].base, ranges[i].rows), 0);
		/* No cell of it is unused: that would have all entries looked at. */
		struct dva last = {id, (uint16_t)(ranges[i].base + 3), 1, 0};
		struct block_pointer summary = {.dva = dva_pack(last), .place = pool.txg, .birth = pool.txg, .lsect = 2, .psect = 2,
						.type = TYPE_SUMMARY, .fill = 1};
		assert_int_equal(alloc_txg_batch(pool.alloc, id, &ranges[i], 1, &summary, NULL, 0), 0);
		commit(&pool);
	}
	assert_non_null(alloc_batch_find(segment, 9));
	assert_null(alloc_batch_find(segment, 17));
	assert_non_null(alloc_batch_find(segment, 30));
	alloc_free_all(pool.alloc);
}

/* ---- the cost of a search ---- */

static void test_search(void **state)
{
	enum { SEGMENTS = 3000 };
	struct pool pool;
	uint32_t *ids = calloc(SEGMENTS, sizeof(*ids)), found;

	(void)state;
	pool_open(&pool, 4000);
	for (unsigned i = 0; i < SEGMENTS; i++)
		ids[i] = full_segment(&pool);
	commit(&pool);
	/* Many have many rows, but no run; one has a run. */
	for (unsigned i = 0; i < SEGMENTS; i++)
		for (unsigned row = 1; row < 61; row += 2)
			kill_row(&pool, ids[i], row);
	for (unsigned row = 20; row < 28; row += 2)
		kill_row(&pool, ids[1234], row);
	for (unsigned i = 0; i < 3; i++)
		commit(&pool);
	uint64_t before = alloc_runs_looks(pool.alloc);
	assert_true(find(&pool, 5, &found));
	assert_int_equal(found, ids[1234]);
	assert_in_range(alloc_runs_looks(pool.alloc) - before, 1, 100);
	/* Pinned ones in the way. */
	for (unsigned i = 0; i < 500; i++)
		alloc_pin(alloc_segment(pool.alloc, ids[i]));
	before = alloc_runs_looks(pool.alloc);
	(void)find(&pool, 1, &found);
	assert_in_range(alloc_runs_looks(pool.alloc) - before, 1, 100);
	for (unsigned i = 0; i < 500; i++)
		alloc_unpin(pool.alloc, alloc_segment(pool.alloc, ids[i]));
	for (unsigned i = 0; i < 1000; i++) {
		before = alloc_runs_looks(pool.alloc);
		assert_true(find(&pool, 1, &found));
		assert_in_range(alloc_runs_looks(pool.alloc) - before, 1, 100);
	}
	alloc_free_all(pool.alloc);
	free(ids);
}

/* Runs that are nearly long enough don't hide those that are, whatever the width. */
static void test_search_wide(void **state)
{
	enum { SEGMENTS = 60 };
	struct pool pool;
	uint32_t ids[SEGMENTS], found;

	(void)state;
	pool_open_wide(&pool, 200, 3);
	for (unsigned i = 0; i < SEGMENTS; i++)
		ids[i] = full_segment(&pool);
	commit(&pool);
	for (unsigned i = 0; i < SEGMENTS; i++)
		for (unsigned row = 1; row < (i + 1 < SEGMENTS ? 11 : 12); row++)
			kill_row(&pool, ids[i], row);
	for (unsigned i = 0; i < 3; i++)
		commit(&pool);
	struct space space;
	alloc_space(pool.alloc, &space);
	assert_true(space.rows.runs[5] == 1 && space.rows.cells[5] == 33); /* promised to blocks of 32 cells */
	assert_true(alloc_runs_find(pool.alloc, CLASS_HOT, false, 1, 32, &found));
	assert_int_equal(found, ids[SEGMENTS - 1]);
	alloc_free_all(pool.alloc);
}

/* ---- the index of a segment that is written row by row for years ---- */

static void test_index(void **state)
{
	struct pool pool;
	uint64_t seed = 1;
	unsigned most = 0, map = 0;

	(void)state;
	pool_open(&pool, 100);
	uint32_t id = full_segment(&pool), found;
	commit(&pool);
	for (unsigned round = 0; round < 4000; round++) {
		const struct segment *segment = alloc_segment(pool.alloc, id);
		struct summary_range ranges[2];
		unsigned count = 0, rows, row = 1;
		if (find(&pool, 1, &found)) {
			assert_int_equal(found, id);
			while (count < 2 && (row = alloc_run_next(pool.alloc, id, row, 1, &rows)) != 0) {
				rows = rows > 2 ? 2 : rows;
				assert_int_equal(alloc_run_take(pool.alloc, id, row, rows), 0);
				ranges[count++] = (struct summary_range){(uint16_t)row, (uint16_t)rows};
				row += rows + 1;
			}
			if (count)
				batch(&pool, id, ranges, count);
		}
		for (unsigned i = 0; i < 3; i++) {
			seed = seed * 6364136223846793005u + 1442695040888963407u;
			unsigned victim = 2 + (unsigned)(seed >> 33) % 60;
			const struct batch_index *index = alloc_batch_find(segment, victim);
			bool summary = index && dva_unpack(index->summary_dva).base == victim;
			if (index && index->txg < pool.txg && !summary && bitmap_get(segment->bits, victim) &&
			    !(segment->freeing && bitmap_get(segment->freeing, victim)))
				kill_row(&pool, id, victim);
		}
		commit(&pool);
		segment = alloc_segment(pool.alloc, id);
		most = segment->batch_count > most ? segment->batch_count : most;
		map = pool.map > map ? pool.map : map;
		if (alloc_segment_is_free(segment))
			break;
		/* Each entry has a live row. */
		for (unsigned i = 0; i < segment->batch_count; i++) {
			const struct batch_index *entry = &segment->batches[i];
			assert_true(bitmap_count(segment->bits, entry->base, entry->rows) + bitmap_count(segment->bits, ROWS + entry->base, entry->rows) > 0);
		}
	}
	assert_in_range(most, 10, ROWS);
	assert_in_range(map, 10, ROWS + 40); /* with those of SYS */
	alloc_free_all(pool.alloc);
}

/* ---- for a compactor ---- */

static uint64_t promised(const struct pool *pool)
{
	struct space space;

	alloc_space(pool->alloc, &space);
	return row_space_cells(&space.rows, 1);
}

/* Rows of a segment that is being emptied are nobody's, whatever dies in it meanwhile; what was promised is less by them, until they are back. */
static void test_withheld(void **state)
{
	struct pool pool;
	struct space space;
	uint32_t ids[2], found;

	(void)state;
	pool_open(&pool, 100);
	for (unsigned i = 0; i < 2; i++)
		ids[i] = full_segment(&pool);
	commit(&pool);
	for (unsigned row = 10; row < 18; row++)
		kill_row(&pool, ids[0], row);
	for (unsigned i = 0; i < 4; i++)
		commit(&pool);
	uint64_t before = promised(&pool);
	assert_true(before > 0);
	alloc_space(pool.alloc, &space);
	struct segment *segment = alloc_segment(pool.alloc, ids[0]);
	struct row_space without = alloc_rows_without(pool.alloc, segment, &space.rows);
	assert_int_equal(row_space_cells(&without, 1), 0);
	assert_int_equal(row_space_cells(&space.rows, 1), before);
	alloc_rows_withhold(pool.alloc, segment, &space.rows);
	assert_int_equal(row_space_cells(&space.rows, 1), 0);
	assert_false(find(&pool, 1, &found));
	for (unsigned row = 30; row < 40; row++)
		kill_row(&pool, ids[0], row);
	for (unsigned i = 0; i < 4; i++) {
		commit(&pool);
		assert_int_equal(promised(&pool), 0);
		assert_false(find(&pool, 1, &found));
	}
	alloc_rows_release(pool.alloc, segment);
	assert_true(promised(&pool) > before);
	assert_true(find(&pool, 10, &found));
	assert_int_equal(found, ids[0]);
	alloc_free_all(pool.alloc);
}

static unsigned victims(struct pool *pool, unsigned block_cells, struct victim *ret_victims)
{
	return alloc_victims(pool->alloc, 32, block_cells, 8, ret_victims);
}

/* Those of which least lives come first; nobody's rows that are in use, none of metadata, and none that has refused before it has changed. */
static void test_victims(void **state)
{
	struct pool pool;
	struct victim found[8];
	struct summary_range all = {1, ROWS - 1};
	uint32_t ids[3], meta;

	(void)state;
	pool_open(&pool, 100);
	for (unsigned i = 0; i < 3; i++)
		ids[i] = full_segment(&pool);
	assert_int_equal(alloc_segment_open(pool.alloc, CLASS_META, &meta), 0);
	assert_int_equal(alloc_rows_take(pool.alloc, meta, ROWS - 1), 1);
	batch(&pool, meta, &all, 1);
	alloc_segment_close(pool.alloc, meta);
	commit(&pool);
	assert_int_equal(victims(&pool, 1, found), 0);
	/* Every other row, so that none has room for a block of four cells. */
	for (unsigned row = 2; row < 62; row += 2) {
		kill_row(&pool, meta, row);
		kill_row(&pool, ids[1], row);
		if (row < 30)
			kill_row(&pool, ids[0], row);
	}
	for (unsigned i = 0; i < 4; i++)
		commit(&pool);
	assert_int_equal(victims(&pool, 4, found), 2);
	assert_true(found[0].segment == ids[1] && found[1].segment == ids[0]);
	assert_true(found[0].live < found[1].live && found[0].dead > found[1].dead);
	/* What small blocks can have as it is is no gain. */
	uint32_t dead = found[0].dead;
	assert_true(victims(&pool, 1, found) == 2 && found[0].dead < dead);
	alloc_pin(alloc_segment(pool.alloc, ids[1]));
	assert_int_equal(victims(&pool, 4, found), 1);
	alloc_unpin(pool.alloc, alloc_segment(pool.alloc, ids[1]));
	alloc_victim_refused(pool.alloc, alloc_segment(pool.alloc, ids[1]));
	assert_int_equal(victims(&pool, 4, found), 1);
	commit(&pool);
	assert_int_equal(victims(&pool, 4, found), 1);
	kill_row(&pool, ids[1], 9);
	for (unsigned i = 0; i < 4; i++)
		commit(&pool);
	assert_int_equal(victims(&pool, 4, found), 2);
	alloc_free_all(pool.alloc);
}

static uint64_t gained(struct pool *pool)
{
	uint64_t cells = 0;

	for (unsigned i = 0; i < VICTIM_SHARES; i++)
		cells += alloc_victim_sum(pool->alloc, i).dead;
	return cells;
}

/* With a disk away: what is gained is what copies leave of the units that come back. */
static void test_victims_without_a_disk(void **state)
{
	struct pool pool;
	struct victim found[8];
	uint32_t id;

	(void)state;
	pool_open_wide(&pool, 64, 1);
	id = full_segment(&pool);
	commit(&pool);
	for (unsigned row = 1; row < 43; row++)
		kill_row(&pool, id, row);
	for (unsigned i = 0; i < 4; i++)
		commit(&pool);
	assert_int_equal(gained(&pool), 42 + 1);
	/* One unit comes back, and copies take one. */
	alloc_disk_set_usable(pool.alloc, 1, false);
	assert_int_equal(gained(&pool), 42 + 1);
	/* One unit comes back, and they take two. */
	assert_int_equal(alloc_disk_add(pool.alloc, 2, 64, true), 0);
	assert_int_equal(gained(&pool), 31 - 20);
	assert_true(victims(&pool, 64, found) == 1 && found[0].dead == 31 - 20 && found[0].live == 20);
	alloc_disk_set_usable(pool.alloc, 1, true);
	assert_int_equal(gained(&pool), 42 + 1);
	alloc_free_all(pool.alloc);

	/* With two columns of data, three disks and no less redundancy than it should be: a row of two blocks is two rows of one. */
	pool_open(&pool, 100);
	id = full_segment(&pool);
	commit(&pool);
	for (unsigned row = 1; row < 43; row++)
		kill_row(&pool, id, row);
	for (unsigned i = 0; i < 4; i++)
		commit(&pool);
	uint64_t dead = gained(&pool);
	alloc_disk_set_usable(pool.alloc, 1, false);
	assert_int_equal(gained(&pool), dead);
	alloc_set_lacking_promised(pool.alloc, false);
	assert_int_equal(gained(&pool), dead - 63);
	alloc_free_all(pool.alloc);
}

/* ---- what the floors need not have, since metadata has it ---- */

/* Segments for so many SYS rows beside those that there are, on the disks that are there. */
static uint64_t segments_of(const struct pool *pool, uint64_t rows)
{
	uint64_t more = (rows - (ROWS - 1)) / (ROWS - 1) + 1, disks = 0;

	for (unsigned i = 0; i < pool->k + 1u; i++)
		disks += alloc_disk(pool->alloc, i)->usable;
	return (more * 2 + disks - 1) / disks;
}

static uint64_t floor_now(const struct pool *pool)
{
	struct space space;

	alloc_space(pool->alloc, &space);
	return space.floor_segments - space.copy_segments;
}

/* Segments of metadata, of each of which so many rows live. */
static void metadata(struct pool *pool, unsigned segments, unsigned living)
{
	struct summary_range all = {1, ROWS - 1};
	uint32_t ids[64];

	for (unsigned i = 0; i < segments; i++) {
		assert_int_equal(alloc_segment_open(pool->alloc, CLASS_META, &ids[i]), 0);
		assert_int_equal(alloc_rows_take(pool->alloc, ids[i], ROWS - 1), 1);
		batch(pool, ids[i], &all, 1);
		alloc_segment_close(pool->alloc, ids[i]);
	}
	commit(pool);
	for (unsigned i = 0; i < segments; i++)
		for (unsigned row = 1 + living; row < ROWS - 1; row++)
			kill_row(pool, ids[i], row);
	for (unsigned i = 0; i < 4; i++)
		commit(pool);
}

/*
 * Room for all metadata twice over, and for what commits write: rows of its own are such room, also those that lack a column, unless full redundancy is
 * asked for. A SYS segment takes as many units without a disk as with it, and each segment that can be formed has fewer then.
 */
static void test_rows_of_metadata(void **state)
{
	struct pool pool;
	struct space space;

	(void)state;
	pool_open_wide(&pool, 2000, 4);
	metadata(&pool, 40, 31);
	alloc_space(pool.alloc, &space);
	uint64_t rows = 700 + 2 * space.metadata_cells + 2 * 512;
	assert_true(space.metadata_cells >= 40 * 31 * 4);
	assert_true(segments_of(&pool, rows - 40 * 59) > 50); /* more than what floors are in any case */
	assert_int_equal(floor_now(&pool), segments_of(&pool, rows - 40 * 59));
	alloc_disk_set_usable(pool.alloc, 2, false);
	assert_int_equal(floor_now(&pool), segments_of(&pool, rows - 40 * 59));
	alloc_set_lacking_promised(pool.alloc, false);
	assert_int_equal(floor_now(&pool), segments_of(&pool, rows));
	alloc_set_lacking_promised(pool.alloc, true);
	alloc_disk_set_usable(pool.alloc, 2, true);
	assert_int_equal(floor_now(&pool), segments_of(&pool, rows - 40 * 59));
	alloc_free_all(pool.alloc);

	/* However many they are, logs, pages and what commits write anew have no room there. */
	pool_open_wide(&pool, 400, 4);
	alloc_set_commit_metadata(pool.alloc, 10000);
	metadata(&pool, 40, 10);
	alloc_space(pool.alloc, &space);
	assert_true(40 * 59 < 2 * space.metadata_cells);
	assert_int_equal(floor_now(&pool), segments_of(&pool, 700 + 4 * space.metadata_cells - 40 * 59));
	alloc_free_all(pool.alloc);
	pool_open_wide(&pool, 400, 4);
	alloc_set_commit_metadata(pool.alloc, 10000);
	metadata(&pool, 60, 5);
	alloc_space(pool.alloc, &space);
	assert_true(60 * 59 > 2 * space.metadata_cells);
	assert_int_equal(floor_now(&pool), segments_of(&pool, 700 + 2 * space.metadata_cells));
	alloc_free_all(pool.alloc);

	/* In narrower rows a node may need some that lie side by side. */
	pool_open_wide(&pool, 400, 2);
	alloc_set_commit_metadata(pool.alloc, 10000);
	metadata(&pool, 40, 10);
	alloc_space(pool.alloc, &space);
	assert_int_equal(floor_now(&pool), segments_of(&pool, 700 + 4 * space.metadata_cells));
	alloc_free_all(pool.alloc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_two_commits), cmocka_unit_test(test_who_gives_none), cmocka_unit_test(test_mirror), cmocka_unit_test(test_stale), cmocka_unit_test(test_index_under_a_pin),
		cmocka_unit_test(test_dead_pieces), cmocka_unit_test(test_withheld), cmocka_unit_test(test_victims),
		cmocka_unit_test(test_victims_without_a_disk),
		cmocka_unit_test(test_search),	    cmocka_unit_test(test_search_wide), cmocka_unit_test(test_index), cmocka_unit_test(test_rows_of_metadata),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
