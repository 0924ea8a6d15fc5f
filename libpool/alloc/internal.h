/* What the files of alloc/ share. Nothing outside includes this. */
#ifndef LIBPOOL_ALLOC_INTERNAL_H
#define LIBPOOL_ALLOC_INTERNAL_H

#include "libpool/alloc/alloc.h"
#include "libpool/alloc/victims.h"

/* A batch of the txg in sync, until it is applied. */
struct txg_batch {
	uint32_t segment;
	uint32_t first_range, range_count;   /* in txg_ranges */
	uint32_t first_unused, unused_count; /* in txg_unused */
	struct block_pointer summary;
	bool recorded;
};

/* An AU, or rows, that become free when two later commits exist. */
struct deferred {
	uint64_t sequence; /* of the commit that freed it */
	uint32_t segment;
	uint32_t au;   /* AU form */
	uint16_t disk; /* DISK_ABSENT: rows form */
	uint16_t row, rows;
	bool last_of_segment; /* the id becomes reusable with this one */
};

/* A segment as it was before a column moved: the log has it too, so that an import knows the old AU. */
struct moved_record {
	uint32_t segment;
	struct segment_record record;
};

/* A place that a column had according to a recent log. */
struct recent_column {
	uint64_t txg, alloc_txg;
	uint32_t segment;
	struct segment_column column;
};

struct map_deletion {
	uint32_t segment;
	uint16_t base;
};

#define RUN_GROUPS 6u /* metadata, hot, cold: whole, and lacking columns */
#define RUN_LOGS 13u      /* of rows */
#define RUN_CELL_LOGS 17u /* of their cells */

struct run_index {
	struct list lists[RUN_GROUPS][RUN_LOGS][RUN_CELL_LOGS]; /* by log2 of the dead rows, and of the longest run's cells */
	struct row_space space[2]; /* in rows that get all their columns, and in those that lack some */
	uint64_t looks;
	bool eager, promises_lacking;
	struct array taken;   /* struct cell_extent: rows given out in the txg in sync, of no column */
	struct array changed; /* uint32_t: segments to be listed again */
};

struct alloc_widths {
	unsigned configured, usable, failed; /* disks that hold data; failed: not only about to leave */
	unsigned columns, k;                 /* of a new segment when they are scarce, those that are absent apart */
};

struct alloc {
	struct geometry geometry;
	struct alloc_disk disks[DISKS_MAX];
	struct segment **segments;
	uint32_t segment_count, segment_capacity;
	uint32_t segment_limit; /* ids are below; during an import, as many as the commit block says */
	struct array free_ids;   /* uint32_t */
	struct array sys_ids;    /* uint32_t, ascending by age */
	bool sysmap_dirty;
	uint64_t sequence;

	uint64_t txg; /* in sync; 0: none */
	bool log_closed; /* its last records were taken */
	struct array txg_batches, txg_ranges, txg_unused;
	struct array txg_frees; /* cell_extent */
	size_t txg_frees_taken, txg_summary_frees; /* the first ones are those of dead summaries */
	struct array touched;   /* uint32_t segment ids */
	bool previous_final_due;
	struct final_batch previous_final;

	struct array deferred;
	struct array moved;    /* struct moved_record: due in the log, before the records of now */
	struct array recent_columns; /* import: struct recent_column */
	struct array stale;
	struct array summaries_due; /* cell_extent: summaries whose batches died: freed by the next txg */

	struct array map_deletions; /* struct map_deletion */
	struct array map_dirty;     /* uint32_t segment ids with batches that the map lacks */

	uint64_t *page_first[2];  /* 0 segtab, 1 livemap: first txg that the page on disk lacks, 0 clean */
	size_t page_capacity[2];
	uint64_t *page_loaded[2]; /* import: page_txg of the page on disk */
	uint64_t recent_txgs[3];  /* import: those whose frees are deferred, newest first */

	struct run_index runs;
	struct alloc_widths widths;
	struct {
		uint32_t first, last; /* ids + 1, 0: none */
		struct victim_sum sum;
	} victims[VICTIM_SHARES]; /* segments with dead cells, by the share of those that live; in each those first that it is longest so of */
	uint64_t live_cells, metadata_cells; /* metadata: of META and SYS segments */
	uint64_t metadata_rows;              /* of META segments, as far as metadata can be sure of them */
	uint64_t commit_metadata;            /* the floors have room for so many cells of it in each commit, at least */
	unsigned reserve_per_ten_thousand, rows_together;
	uint64_t promised_cells, disks_lost, freed_cells;
	uint64_t copy_segments_cells; /* of all segments that copies were given since the import */
	size_t memory;
	unsigned log_disks; /* configured */
	bool log_given_up;  /* by an import that goes back */
};

static inline size_t segment_bits(const struct alloc *alloc, const struct segment *segment)
{
	return (size_t)segment->record.k * alloc->geometry.rows;
}

static inline size_t cell_bit(const struct alloc *alloc, unsigned column, unsigned row)
{
	return (size_t)column * alloc->geometry.rows + row;
}

/* Of a segment that has bits. */
static inline bool row_is_live(const struct alloc *alloc, const struct segment *segment, unsigned row)
{
	for (unsigned c = 0; c < segment->bits_k; c++)
		if (bitmap_get(segment->bits, cell_bit(alloc, c, row)))
			return true;
	return false;
}

/* So many cells more are live. */
static inline void count_cells(struct alloc *alloc, struct segment *segment, int64_t cells)
{
	segment->live = (uint32_t)(segment->live + cells);
	alloc->live_cells = (uint64_t)((int64_t)alloc->live_cells + cells);
	if (segment->record.class == CLASS_META || segment->record.class == CLASS_SYS)
		alloc->metadata_cells = (uint64_t)((int64_t)alloc->metadata_cells + cells);
}

/* Takes over a record read from disk; the columns of a SYS segment stay those of the sysmap. */
void alloc_load_record(struct segment *segment, const struct segment_record *record);
/* The record slot for an id, made when needed. NULL without memory or beyond the bound. */
struct segment *alloc_segment_make(struct alloc *alloc, uint32_t id);
int alloc_segment_need_bits(struct alloc *alloc, struct segment *segment);
void alloc_segment_drop_content(struct alloc *alloc, uint32_t id, struct segment *segment);
void alloc_touch(struct alloc *alloc, uint32_t id);
/* The AUs of a segment without live cells go to the deferred list, as freed by commit `sequence`. */
void alloc_release_columns(struct alloc *alloc, uint32_t id, uint64_t sequence);
void alloc_page_mark(struct alloc *alloc, bool livemap, uint32_t segment, uint64_t txg);
int alloc_pages_grow(struct alloc *alloc);
size_t alloc_page_of(const struct alloc *alloc, bool livemap, uint32_t segment);

/* Batch index. Insertion lets the newer txg win where ranges overlap. */
int alloc_batch_insert(struct alloc *alloc, uint32_t id, const struct batch_index *batch);
/* Takes rows out of whatever batch has them. */
int alloc_batch_trim(struct alloc *alloc, uint32_t id, unsigned base, unsigned rows);
void alloc_batches_drop(struct alloc *alloc, uint32_t id);
void alloc_batch_remove_summary(struct alloc *alloc, uint32_t id, uint64_t summary_dva, uint64_t txg);

/* Sets or clears the bits of a run; returns how many changed. */
size_t alloc_bits_set(struct alloc *alloc, struct segment *segment, unsigned column, unsigned row, unsigned rows);
size_t alloc_bits_clear(struct alloc *alloc, struct segment *segment, unsigned column, unsigned row, unsigned rows);
/* Marks the bits of a written batch: every data cell of its ranges but the unused ones. */
int alloc_apply_batch(struct alloc *alloc, uint32_t id, const struct summary_range *ranges, unsigned range_count,
		      const struct cell_extent *unused, size_t unused_count);
int alloc_sys_register(struct alloc *alloc, uint32_t id);
void alloc_deferred_mature(struct alloc *alloc);
/* trim.c: an AU has become free. */
void alloc_trim_forget(struct alloc_disk *disk, uint32_t au);

/* victims.c */
/* What is live in it has changed, or whether it is FULL. */
void alloc_victim_list(struct alloc *alloc, struct segment *segment);
void alloc_victim_unlist(struct alloc *alloc, struct segment *segment);

/* What there is free when it was moved elsewhere has room for as much as the segment had. */
bool alloc_gives_all_back(const struct alloc *alloc, const struct segment *segment);
/* What is gained may have changed for all that are listed. */
void alloc_victims_list_again(struct alloc *alloc);

/* space.c: which disks there are, or whether rows may lack columns, has changed */
void alloc_count_disks(struct alloc *alloc);
/* With so many disks that can be used new segments may keep all data columns, and lack others. */
bool alloc_may_lack(const struct alloc *alloc, unsigned usable);
/* They do: no more are left above the floors than are kept for that. */
bool alloc_is_tight(const struct alloc *alloc);
/* its state, class, rows or columns have changed */
void alloc_count_metadata_rows(struct alloc *alloc, struct segment *segment);

/* row_runs.c */
void alloc_runs_init(struct run_index *runs);
void alloc_runs_release(struct run_index *runs);
/* Those of these rows that are dead may be given out when two commits exist after number `sequence`. */
void alloc_rows_defer(struct alloc *alloc, const struct segment *segment, unsigned row, unsigned rows, uint64_t sequence);
/* They exist. Then alloc_runs_settle. */
void alloc_rows_mature(struct alloc *alloc, struct segment *segment, unsigned row, unsigned rows);
void alloc_runs_settle(struct alloc *alloc);
/* The txg in sync is applied: what it took and didn't use is dead again. Then alloc_runs_settle. */
void alloc_runs_commit(struct alloc *alloc);
/* Import: the dead rows of a segment, but for those that wait for their commits; and when all are known, the lists. */
void alloc_rows_find(struct alloc *alloc, struct segment *segment);
void alloc_rows_forget(struct segment *segment, unsigned row, unsigned rows);
void alloc_runs_list_all(struct alloc *alloc);
void alloc_rows_drop(struct alloc *alloc, struct segment *segment);
void alloc_runs_list(struct alloc *alloc, struct segment *segment);
void alloc_runs_unlist(struct alloc *alloc, struct segment *segment);
void alloc_stale_drop_dead(struct alloc *alloc);
/* dying.c: batches in which nothing but the summary is live, whose summaries the next txg frees, and entries of rows that are all dead. */
void alloc_find_dying_summaries(struct alloc *alloc, struct segment *segment);
void alloc_segment_died(struct alloc *alloc, struct segment *segment, uint64_t sequence);
/* Those that the commit which has just been applied left so. */
void alloc_find_dying(struct alloc *alloc);

#endif
