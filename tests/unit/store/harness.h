/*
 * A pool without its upper half: simulated disks, allocation and store, and a commit that does what the real
 * one does to these two. Blocks are placed, read back and freed by a test; what is stored in each is made
 * from a seed, so that nothing but the pointers has to be remembered.
 *
 *	struct world_options options = {.k = 4, .m = 2, .disks = 6};
 *	struct world *world = world_new(&options);
 *	world_run(world, body);                  (a fiber; body opens no disks, closes none)
 *	world_free(world);
 *
 *	static void body(struct world *world)
 *	{
 *		world_begin(world);
 *		world_place(world, CLASS_HOT, 4);
 *		world_commit(world);             (or world_try_commit, when the pool may halt)
 *		world_verify(world);
 *	}
 *
 * After each commit harness_check.h checks what must hold (unless options.unchecked), and what is written is judged
 * when it is submitted. The txg layer's part that is left out: pages, log and batch map stay in memory, as they
 * would be on disk; nothing but blocks, headers and final batches is written.
 */
#ifndef TESTS_UNIT_STORE_HARNESS_H
#define TESTS_UNIT_STORE_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "checksum/xxh3.h"
#include "libpool/alloc/alloc.h"
#include "libpool/base/array.h"
#include "libpool/format/dva.h"
#include "libpool/format/label.h"
#include "libpool/store/store.h"
#include "libpool/store/window.h"
#include "tests/sim/simdisk.h"

struct world_options {
	unsigned k, m, disks;
	unsigned au_shift;  /* 0: 18 */
	uint64_t disk_size; /* 0: room for 96 AUs */
	uint64_t seed;
	bool unchecked;     /* no checks after commits, none of what is written: for counting */
	bool eager_reuse;   /* dead rows are used before free segments */
	bool plain;         /* contents that the simulated disks hold in a few bytes */
	struct store_options store;
};

struct world_block {
	struct store_block block;
	struct world *world;
	struct block_pointer pointer;
	enum segment_class class;
	uint64_t seed;
	bool placed, freed; /* freed: in the txg in sync */
};

struct world_log {
	uint64_t txg, sequence;
	struct array bytes; /* the records */
	struct block_pointer pointer; /* of the block in the final batch */
	bool dead;
};

struct world_page {
	bool written;
	uint8_t *raw;
};

/* What is known of a row of a segment, apart from the allocation state: from blocks that were placed and freed. */
struct world_row {
	uint32_t live;          /* data cells that blocks or summaries have */
	uint64_t dead_sequence; /* commit that freed the last */
};

struct world_segment {
	uint64_t alloc_txg, dead_sequence;
	uint32_t block_cells;
	struct world_row *rows;
};

/* What a cell of a disk was last meant to hold. */
struct world_cell {
	uint64_t hash, txg;
};

struct world {
	struct world_options options;
	struct sim_env *sim;
	struct sim_random random;
	struct sim_disks *disks;
	struct disk_provider *provider;
	struct rt *rt;
	struct geometry geometry;
	struct alloc *alloc;
	struct store *store;
	void (*body)(struct world *world);
	void (*before_final)(struct world *world); /* to script faults of the final batch; NULL: nothing */

	uint64_t txg, committed;
	struct array blocks; /* struct world_block *, live or placed in the txg in sync */
	struct array logs;   /* struct world_log, ascending */
	struct array pages[2];
	struct array map;    /* struct world_map_entry: the batch map as it would be on disk */
	struct array segments;  /* struct world_segment */
	struct final_batch final;
	struct block_pointer commit_pointer;
	uint32_t final_segment;
	uint16_t final_base;
	uint64_t next_seed;
	uint64_t halts, stale_events, faulty_events;
	struct world_cell *cells[SIM_DISKS_MAX];
	bool moving;    /* column moves are under way: their targets are reserved, in memory only */
	uint64_t heals; /* cells that were written while live, with what they should hold */
};

struct world_map_entry {
	uint32_t segment;
	struct batch_index batch;
};

/* harness_check.h */
static inline void world_check_write(struct world *world, struct sim_disk *disk, const struct disk_io *io);
static inline void world_check_map(struct world *world);
static inline void world_check_commit(struct world *world);

/* ---- contents ---- */

static inline void world_content(const struct world *world, uint64_t seed, unsigned cells, uint8_t *ret_data)
{
	struct sim_random random;

	for (unsigned c = 0; c < cells; c++) {
		uint64_t *words = (uint64_t *)(ret_data + (size_t)c * CELL_SIZE);
		sim_random_seed(&random, seed * 1024 + c);
		uint64_t word = sim_random_next(&random);
		for (unsigned i = 0; i < CELL_SIZE / 8; i++)
			words[i] = world->options.plain ? word : word * (i | 1) + i;
	}
}

static inline struct buffer *world_payload(const struct world *world, uint64_t seed, unsigned cells)
{
	struct buffer *buffer = buffer_new((size_t)cells * CELL_SIZE);

	assert_non_null(buffer);
	world_content(world, seed, cells, buffer->data);
	return buffer;
}

/* ---- disks ---- */

static inline struct sim_disk *world_disk(struct world *world, unsigned index)
{
	return world->disks->disks[index];
}

/* Where a cell of a segment lies; the column must be on a disk. */
static inline uint64_t world_cell_offset(struct world *world, uint32_t segment, unsigned column, unsigned row, unsigned *ret_disk)
{
	struct segment_column where = alloc_segment(world->alloc, segment)->record.columns[column];

	assert_int_not_equal(where.disk, DISK_ABSENT);
	*ret_disk = where.disk;
	return store_cell_offset(world->store, where.au, row);
}

/* Flips bits of one cell. */
static inline void world_rot(struct world *world, uint32_t segment, unsigned column, unsigned row)
{
	unsigned disk;
	uint64_t offset = world_cell_offset(world, segment, column, row, &disk);

	sim_disk_rot(world_disk(world, disk), offset);
}

/* The disk is gone: closed, its cells of this txg and later ones count as absent. Outside a txg. */
static inline void world_lose_disk(struct world *world, unsigned index)
{
	struct store_disk *disk = store_disk(world->store, index);

	disk_close(disk->disk);
	disk->disk = NULL;
	disk->state = DISK_MISSING;
	if (!disk->stale_from)
		disk->stale_from = world->committed + 1;
	alloc_disk_set_usable(world->alloc, index, false);
	for (unsigned class = 0; class < CLASS_COUNT; class++)
		store_retire(world->store, (enum segment_class)class);
}

static inline void world_open_disk(struct world *world, unsigned index)
{
	struct store_disk *disk = store_disk(world->store, index);
	struct pool_error error = {0};

	assert_int_equal(world->provider->ops->open(world->provider, world->rt, world_disk(world, index)->path,
						    DISK_OPEN_EXCLUSIVE, &disk->disk, &error), 0);
}

/* Back, with what it had: nothing of it is trusted that was written meanwhile. */
static inline void world_return_disk(struct world *world, unsigned index)
{
	world_open_disk(world, index);
	store_disk(world->store, index)->state = DISK_RESYNC;
	store_disk(world->store, index)->consecutive_errors = 0;
}

/* ---- life ---- */

static inline void world_event(void *argument, enum store_event event, unsigned disk, uint64_t count, const char *text)
{
	struct world *world = argument;

	(void)disk, (void)text;
	world->halts += event == STORE_HALT;
	world->faulty_events += event == STORE_DISK_FAULTY;
	world->stale_events += event == STORE_STALE ? count : 0;
}

static inline void world_store_new(struct world *world)
{
	assert_int_equal(store_new(world->rt, world->alloc, &world->options.store, &world->store), 0);
	store_set_event_callback(world->store, world_event, world);
}

static inline void world_alloc_new(struct world *world, struct alloc **ret_alloc)
{
	assert_int_equal(alloc_new(&world->geometry, ret_alloc), 0);
	alloc_set_eager_reuse(*ret_alloc, world->options.eager_reuse);
	for (unsigned i = 0; i < world->options.disks; i++) {
		uint64_t aus = (world_disk(world, i)->size - DATA_START - LABEL_AREA_SIZE) >> world->geometry.au_shift;
		const struct store_disk *disk = world->store ? store_disk(world->store, i) : NULL;
		if (disk && !disk->configured)
			continue;
		assert_int_equal(alloc_disk_add(*ret_alloc, i, (uint32_t)aus, !disk || disk->state == DISK_ONLINE), 0);
	}
}

static inline void world_setup_store(struct world *world)
{
	world_store_new(world);
	for (unsigned i = 0; i < world->options.disks; i++) {
		struct store_disk *disk = store_disk(world->store, i);
		*disk = (struct store_disk){.configured = true, .index = (uint16_t)i, .size = world_disk(world, i)->size};
		memset(disk->guid.bytes, (int)(i + 1), sizeof(disk->guid.bytes));
		world_open_disk(world, i);
	}
}

static inline void world_main(void *argument)
{
	struct world *world = argument;

	world->store = NULL;
	world_alloc_new(world, &world->alloc);
	world_setup_store(world);
	world->body(world);
	for (unsigned i = 0; i < world->options.disks; i++) {
		disk_close(store_disk(world->store, i)->disk);
		store_disk(world->store, i)->disk = NULL;
	}
	store_free(world->store);
	alloc_free_all(world->alloc);
	world->store = NULL;
	world->alloc = NULL;
}

static inline void world_submit_hook(void *argument, struct sim_disk *disk, const struct disk_io *io)
{
	struct world *world = argument;

	if (io->operation == DISK_WRITE && world->store && !world->options.unchecked)
		world_check_write(world, disk, io);
}

static inline struct world *world_new(const struct world_options *options)
{
	struct world *world = sim_allocate(sizeof(*world));
	unsigned shift = options->au_shift ? options->au_shift : 18;

	world->options = *options;
	world->options.au_shift = shift;
	if (!world->options.disk_size)
		world->options.disk_size = DATA_START + LABEL_AREA_SIZE + (UINT64_C(96) << shift);
	world->geometry = (struct geometry){.k = (uint8_t)options->k, .m = (uint8_t)options->m, .au_shift = (uint8_t)shift,
					    .rows = (uint16_t)((UINT64_C(1) << shift) / CELL_SIZE)};
	memset(world->geometry.pool.bytes, 0xA5, sizeof(world->geometry.pool.bytes));
	sim_random_stream(&world->random, options->seed, "world", 0);
	world->disks = sim_disks_new(options->seed);
	for (unsigned i = 0; i < options->disks; i++) {
		sim_disks_add(world->disks, world->options.disk_size);
		if (!options->unchecked)
			world->cells[i] = sim_allocate(world->options.disk_size / CELL_SIZE * sizeof(struct world_cell));
	}
	world->disks->hooks.argument = world;
	world->disks->hooks.on_submit = world_submit_hook;
	world->next_seed = 1;
	array_init(&world->blocks, sizeof(struct world_block *));
	array_init(&world->logs, sizeof(struct world_log));
	array_init(&world->pages[0], sizeof(struct world_page));
	array_init(&world->pages[1], sizeof(struct world_page));
	array_init(&world->map, sizeof(struct world_map_entry));
	array_init(&world->segments, sizeof(struct world_segment));
	return world;
}

/* Runs body in the main fiber of a fresh engine; the run must end by itself. */
static inline void world_run(struct world *world, void (*body)(struct world *world))
{
	world->body = body;
	world->sim = sim_env_new(world->options.seed);
	assert_int_equal(rt_new(&world->sim->env, &world->rt), 0);
	world->provider = sim_disks_provider(world->disks, world->sim, world->rt);
	int status = rt_run(world->rt, world_main, world);
	if (world->sim->deadlock)
		fail_msg("deadlock, seed %llu", (unsigned long long)world->options.seed);
	assert_int_equal(status, 0);
	sim_disks_provider_free(world->provider);
	rt_free(world->rt);
	sim_env_free(world->sim);
}

static inline void world_free(struct world *world)
{
	for (size_t i = 0; i < world->blocks.count; i++)
		free(*array_at(&world->blocks, struct world_block *, i));
	for (size_t i = 0; i < world->logs.count; i++)
		array_release(&array_at(&world->logs, struct world_log, i)->bytes);
	for (int kind = 0; kind < 2; kind++)
		for (size_t i = 0; i < world->pages[kind].count; i++)
			free(array_at(&world->pages[kind], struct world_page, i)->raw);
	for (size_t i = 0; i < world->segments.count; i++)
		free(array_at(&world->segments, struct world_segment, i)->rows);
	for (unsigned i = 0; i < SIM_DISKS_MAX; i++)
		free(world->cells[i]);
	array_release(&world->blocks);
	array_release(&world->logs);
	array_release(&world->pages[0]);
	array_release(&world->pages[1]);
	array_release(&world->map);
	array_release(&world->segments);
	sim_disks_free(world->disks);
	free(world);
}

/* ---- blocks ---- */

static inline struct world_block *world_block(const struct world *world, size_t index)
{
	return *array_at(&world->blocks, struct world_block *, index);
}

static inline void world_placed(struct store_block *placement)
{
	struct world_block *block = container_of(placement, struct world_block, block);

	assert_false(block->placed);
	block->placed = true;
	block->pointer.dva = placement->dva;
	block->pointer.place = block->pointer.birth = block->world->txg;
	block->pointer.lsect = block->pointer.psect = placement->psect;
	block->pointer.type = placement->type;
	block->pointer.fill = 1;
	store_checksum(CHECKSUM_XXH3_128, placement->payload->data, placement->payload->size, block->pointer.checksum);
	buffer_unref(placement->payload);
	placement->payload = NULL;
}

/* Queues a block of `cells` in the txg in sync. It has its address after world_commit or store_cut. */
static inline struct world_block *world_place(struct world *world, enum segment_class class, unsigned cells)
{
	struct world_block *block = sim_allocate(sizeof(*block));

	block->world = world;
	block->class = class;
	block->seed = world->next_seed++;
	block->block = (struct store_block){.payload = world_payload(world, block->seed, cells), .psect = (uint16_t)cells,
					    .type = class == CLASS_SYS ? TYPE_SEGTAB : class == CLASS_META ? TYPE_TREE : TYPE_DATA,
					    .owner = {.objset = 1, .object = block->seed, .block = 7}, .placed = world_placed};
	assert_int_equal(array_push(&world->blocks, &block), 0);
	store_place(world->store, class, &block->block);
	return block;
}

/* Frees a block of an earlier txg in the txg in sync. */
static inline void world_kill(struct world *world, struct world_block *block)
{
	assert_true(block->placed && block->pointer.place < world->txg && !block->freed);
	assert_int_equal(alloc_txg_free(world->alloc, &block->pointer), 0);
	block->freed = true;
}

/* Status of a read; when it is 0 the content must be right. */
static inline int world_read(struct world *world, const struct world_block *block, unsigned flags)
{
	struct buffer *payload = NULL;
	int status = store_read(world->store, &block->pointer, flags, &payload);

	if (status < 0) {
		assert_null(payload);
		return status;
	}
	struct buffer *expected = world_payload(world, block->seed, block->pointer.psect);
	assert_int_equal(payload->size, expected->size);
	assert_memory_equal(payload->data, expected->data, expected->size);
	buffer_unref(expected);
	buffer_unref(payload);
	return 0;
}

/* Reads every live block back. */
static inline void world_verify(struct world *world)
{
	for (size_t i = 0; i < world->blocks.count; i++)
		assert_int_equal(world_read(world, world_block(world, i), 0), 0);
}

/* ---- the commit ---- */

static inline void world_begin(struct world *world)
{
	world->txg = world->committed + 1;
	store_txg_begin(world->store, world->txg);
	alloc_txg_begin(world->alloc, world->txg);
	for (unsigned attempt = 0;; attempt++) {
		if (!alloc_sys_low(world->alloc) || attempt > 0) {
			int status = alloc_sys_take(world->alloc, FINAL_BATCH_ROWS_MAX, &world->final_segment, &world->final_base);
			if (status == 0)
				break;
			assert_int_equal(status, -ENOSPC);
		}
		int status = store_open_sys(world->store);
		assert_true(status == 0 || (status == -ENOSPC && attempt == 0));
	}
	/* What the last commit block was, and logs that nothing needs, are dead. */
	if (world->committed)
		assert_int_equal(alloc_txg_free(world->alloc, &world->commit_pointer), 0);
}

static inline void world_map_change(void *argument, uint32_t segment, const struct batch_index *batch, bool present)
{
	struct world *world = argument;
	size_t at = 0;

	while (at < world->map.count) {
		const struct world_map_entry *entry = array_at(&world->map, struct world_map_entry, at);
		if (entry->segment == segment && entry->batch.base == batch->base)
			break;
		at++;
	}
	if (present) {
		struct world_map_entry entry = {segment, *batch};
		if (at < world->map.count)
			*array_at(&world->map, struct world_map_entry, at) = entry;
		else
			assert_int_equal(array_push(&world->map, &entry), 0);
		return;
	}
	assert_true(at < world->map.count); /* only what was reported is taken back */
	*array_at(&world->map, struct world_map_entry, at) = *array_at(&world->map, struct world_map_entry, --world->map.count);
}

/* Some dirty pages, or those older than 20 txgs, as of the last commit. */
static inline void world_write_pages(struct world *world, uint32_t per_million)
{
	for (int kind = 0; kind < 2; kind++) {
		size_t count = kind ? alloc_livemap_pages(world->alloc) : alloc_segtab_pages(world->alloc);
		for (size_t page = 0; page < count; page++) {
			struct world_page fresh = {0};
			uint64_t first;
			while (world->pages[kind].count <= page)
				assert_int_equal(array_push(&world->pages[kind], &fresh), 0);
			if (!world->committed || !alloc_page_dirty(world->alloc, kind, page, &first))
				continue;
			if (first + 20 > world->txg && !sim_random_chance(&world->random, per_million))
				continue;
			struct world_page *known = array_at(&world->pages[kind], struct world_page, page);
			if (!known->raw)
				known->raw = sim_allocate(LIVEMAP_PAGE_SIZE);
			alloc_page_encode(world->alloc, kind, page, world->committed, known->raw);
			alloc_page_written(world->alloc, kind, page);
			known->written = true;
		}
	}
}

static inline void world_free_old_logs(struct world *world)
{
	uint64_t oldest = alloc_log_oldest(world->alloc, world->txg);

	for (size_t i = 0; i + 2 < world->logs.count; i++) {
		struct world_log *log = array_at(&world->logs, struct world_log, i);
		if (log->dead || log->txg >= oldest)
			continue;
		assert_int_equal(alloc_txg_free(world->alloc, &log->pointer), 0);
		log->dead = true;
	}
}

/* The last log block (its records go on living in memory, so a cell or more of them will do) and the commit block. */
static inline int world_write_final(struct world *world, size_t record_bytes, struct block_pointer *ret_log,
				    struct block_pointer *ret_summary)
{
	unsigned log_cells = (unsigned)(record_bytes / CELL_SIZE % 8 + 1);
	struct buffer *log = world_payload(world, world->txg ^ UINT64_C(0x106106), log_cells);
	struct buffer *commit = world_payload(world, world->txg ^ UINT64_C(0xC0417), 1);
	struct final_layout layout;

	store_final_layout(world->store, world->final_segment, world->final_base, log_cells, &layout);
	if (layout.height < FINAL_BATCH_ROWS_MAX)
		alloc_sys_give_back(world->alloc, layout.segment, layout.base + layout.height, FINAL_BATCH_ROWS_MAX - layout.height);
	struct dva dva = {layout.segment, layout.base, layout.height, 0};
	*ret_log = (struct block_pointer){.dva = dva_pack(dva), .place = world->txg, .birth = world->txg, .fill = 1,
					  .lsect = layout.log_cells, .psect = layout.log_cells, .type = TYPE_ALLOC_LOG};
	store_checksum(CHECKSUM_XXH3_128, log->data, log->size, ret_log->checksum);
	dva.offset = layout.log_cells;
	world->commit_pointer = (struct block_pointer){.dva = dva_pack(dva), .place = world->txg, .birth = world->txg, .fill = 1,
						       .lsect = 1, .psect = 1, .type = TYPE_COMMIT};
	store_checksum(CHECKSUM_XXH3_128, commit->data, commit->size, world->commit_pointer.checksum);
	uint32_t lacking = 0;
	int status = store_final_write(world->store, &layout, log, commit, &world->final, ret_summary, &lacking);
	if (status == 0)
		store_final_settle(world->store, layout.segment, lacking);
	buffer_unref(log);
	buffer_unref(commit);
	return status;
}

static inline void world_forget_dead(struct world *world)
{
	size_t kept = 0;

	for (size_t i = 0; i < world->blocks.count; i++) {
		struct world_block *block = world_block(world, i);
		if (block->freed)
			free(block);
		else
			*array_at(&world->blocks, struct world_block *, kept++) = block;
	}
	world->blocks.count = kept;
}

/* Copies that a compactor would make get room only as long as nobody else needs it; the others are as if they had never been. */
static inline void world_forget_refused(struct world *world)
{
	size_t kept = 0;

	for (size_t i = 0; i < world->blocks.count; i++) {
		struct world_block *block = world_block(world, i);

		if (block->placed || block->class != CLASS_SURV) {
			*array_at(&world->blocks, struct world_block *, kept++) = block;
			continue;
		}
		buffer_unref(block->block.payload);
		free(block);
	}
	world->blocks.count = kept;
}

/* 0, or the error that halted the pool. */
static inline int world_try_commit(struct world *world)
{
	static const enum segment_class classes[] = {CLASS_HOT, CLASS_COLD, CLASS_META, CLASS_SURV};
	struct world_log log = {.txg = world->txg};
	struct block_pointer summary;
	int status = 0;

	array_init(&log.bytes, 1);
	alloc_batch_map_changes(world->alloc, world_map_change, world);
	if (!world->options.unchecked)
		world_check_map(world);
	for (unsigned i = 0; i < 4 && status == 0; i++)
		status = store_finish(world->store, classes[i]);
	if (status == 0)
		world_forget_refused(world);
	if (status == 0)
		status = store_wait_writes(world->store);
	if (status == 0) {
		world_write_pages(world, 100000);
		world_free_old_logs(world);
		/* Some records early, as when they don't fit into the last block. */
		if (sim_random_chance(&world->random, 300000)) {
			size_t promised = alloc_txg_record_bytes(world->alloc);
			status = alloc_txg_take_records(world->alloc, false, &log.bytes);
			assert_true(log.bytes.count <= promised);
		}
	}
	if (status == 0)
		status = store_finish(world->store, CLASS_SYS);
	if (status == 0)
		status = store_wait_writes(world->store);
	if (status == 0) {
		size_t before = log.bytes.count, promised = alloc_txg_record_bytes(world->alloc);
		status = alloc_txg_take_records(world->alloc, true, &log.bytes);
		assert_true(log.bytes.count - before <= promised);
	}
	if (status == 0 && world->before_final)
		world->before_final(world);
	if (status == 0)
		status = world_write_final(world, log.bytes.count, &log.pointer, &summary);
	if (status == 0) {
		store_flush(world->store);
		status = store_check_redundancy(world->store);
	}
	if (status < 0) {
		array_release(&log.bytes);
		return status;
	}
	alloc_sysmap_written(world->alloc);
	alloc_txg_commit(world->alloc, &world->final, &summary);
	store_txg_end(world->store);
	world->committed = world->txg;
	log.sequence = alloc_sequence(world->alloc);
	assert_int_equal(array_push(&world->logs, &log), 0);
	if (!world->options.unchecked)
		world_check_commit(world);
	world_forget_dead(world);
	return 0;
}

static inline void world_commit(struct world *world)
{
	const char *why = "";
	int status = world_try_commit(world);

	if (status < 0) {
		store_halted(world->store, &why);
		fail_msg("commit of %llu: %s (%s), seed %llu", (unsigned long long)world->txg, pool_error_string(status), why,
			 (unsigned long long)world->options.seed);
	}
}

#include "tests/unit/store/harness_check.h"
#include "tests/unit/store/harness_replay.h"

#endif
