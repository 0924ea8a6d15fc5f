/*
 * Allocation state: the segment table, the live bitmaps, the index of batches, free AUs, and the log records
 * of the txg in sync. Everything here is RAM; the txg layer carries it to disk and back.
 *
 * Allocation and freeing happen only inside the sync of one txg: between alloc_txg_begin and
 * alloc_txg_commit. What the txg changes is collected apart from the committed state:
 * bits and live counts are those of the last commit until alloc_txg_commit applies the txg.
 *
 * What must always hold: an AU belongs to at most one segment; columns of a segment lie on distinct disks
 * (but for mirrors of a pool with one disk); a row is given out only when it is dead and two later commits exist
 * after the txg that freed its last cell; a pinned segment gives no rows, and its AUs are not released.
 * Engine thread only; nothing here waits.
 */
#ifndef LIBPOOL_ALLOC_ALLOC_H
#define LIBPOOL_ALLOC_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "libpool/base/array.h"
#include "libpool/base/bitmap.h"
#include "libpool/base/error.h"
#include "libpool/base/list.h"
#include "libpool/format/alloc_log.h"
#include "libpool/format/constants.h"
#include "libpool/format/segment_record.h"
#include "libpool/format/summary.h"
#include "libpool/format/uberblock.h"

struct alloc;

struct geometry {
	struct guid pool;
	uint8_t k, m;     /* as configured */
	uint8_t au_shift;
	uint16_t rows;    /* R: rows of an AU, header row included */
};

/* One batch, or one range of a batch with several: where its summary is. */
struct batch_index {
	uint16_t base, rows;
	uint16_t summary_cells, flags; /* BATCH_IN_MAP: the MOS batch map has it */
	uint64_t txg;
	uint64_t summary_dva;
	uint8_t summary_checksum[16];
};
enum { BATCH_IN_MAP = 1, BATCH_DYING = 2 /* its summary is about to be freed */ };

struct segment {
	uint32_t id;
	uint8_t bits_k;     /* data columns that bits was made for */
	bool record_dirty;  /* a SEG record is due in this txg */
	bool placed_in_txg; /* rows were given out in the txg in sync */
	bool touched;       /* in the list of those to look at when the txg commits */
	struct segment_record record;
	uint64_t *bits;     /* live cells as of the last commit, column * R + row; NULL: none */
	uint64_t *freeing;  /* cells freed by the txg in sync; NULL: none */
	uint64_t *busy;     /* SYS only: rows that may not be given out (live, deferred, given out, quarantined) */
	uint32_t live;      /* live cells, those of summaries apart */
	uint32_t moves;     /* blocks that are to be moved elsewhere, and who looks for them: each is a pin */
	uint32_t pins;      /* scrub, heal, column move, or a write that was abandoned and hasn't completed */
	uint16_t batch_count, batch_capacity;
	uint16_t victims_live, victims_dead; /* cells, as listed in victims.c */
	uint16_t metadata_rows; /* as counted in space.c */
	bool released;      /* FREE and its AUs are given up (perhaps deferred) */
	struct batch_index *batches; /* ascending base */
	union {
		uint64_t freed_txg; /* import: the newest of the recent logs that frees cells of it, 0: none */
		struct {
			uint32_t next, prev; /* ids + 1, 0: none */
		} victims;          /* afterwards: in a list of victims.c */
	};
	/* row_runs.c */
	struct list runs_node;
	uint64_t *dead;      /* rows that may be written again; NULL: none */
	uint16_t dead_rows, dead_longest; /* as many; the longest run, while it is listed */
	uint16_t runs_given; /* in the txg in sync */
	bool runs_ready;     /* the last commit has it as FULL: not only the txg in sync */
	bool runs_giving;    /* to a stream, in the txg in sync */
	bool runs_worth;     /* so many were dead that it gives them, and they aren't used up */
	bool runs_spent;     /* nothing is left that anybody could use in the txg in sync */
	bool runs_changed;
	uint8_t runs_counted; /* in which of the index's spaces its runs are counted, from 1; 0: in none */
	uint8_t victims_list; /* which, from 1; 0: none */
	bool emptied;        /* what is live in it is being moved elsewhere (victims.c): it gives no rows */
	bool entries_unsure; /* some of `batches` may be dead, whatever the txg in sync frees: all are looked at when it is touched next */
};

struct alloc_disk {
	bool configured; /* an index in use */
	bool usable;     /* may get new segments: it works, and isn't leaving */
	bool works, leaving;
	bool log;        /* only LOG segments, and it is no space of the pool */
	uint32_t au_count, au_free, au_deferred;
	uint32_t au_trimming; /* set apart for a moment (trim.h): neither free nor anybody's */
	uint64_t *au_used; /* bitmap: set while a segment has it, its release is deferred, or it is being trimmed */
	uint64_t *au_due, *au_trimmed; /* bitmaps: see trim.c */
};

int alloc_new(const struct geometry *geometry, struct alloc **ret_alloc);
void alloc_free_all(struct alloc *alloc);
const struct geometry *alloc_geometry(const struct alloc *alloc);

/* Disks. */
int alloc_disk_add(struct alloc *alloc, unsigned index, uint32_t au_count, bool usable);
void alloc_disk_set_usable(struct alloc *alloc, unsigned index, bool works);
void alloc_disk_set_leaving(struct alloc *alloc, unsigned index, bool leaving); /* whether it works or not, before or after */
void alloc_disk_set_log(struct alloc *alloc, unsigned index); /* right after it was added */
void alloc_disk_remove(struct alloc *alloc, unsigned index); /* no segment has a column there */
const struct alloc_disk *alloc_disk(const struct alloc *alloc, unsigned index); /* NULL: not configured */

/* Segments. */
uint32_t alloc_segment_count(const struct alloc *alloc); /* highest id ever used + 1 */
struct segment *alloc_segment(struct alloc *alloc, uint32_t id); /* NULL: no such id */
/* FREE is derived: not OPEN, LOG or SYS, no live cell, nothing placed in the txg in sync. */
bool alloc_segment_is_free(const struct segment *segment);
void alloc_pin(struct segment *segment);
void alloc_unpin(struct alloc *alloc, struct segment *segment);
/* The batch a row belongs to as of now (the txg in sync included), or NULL. */
const struct batch_index *alloc_batch_find(const struct segment *segment, unsigned row);
/* Pointer of a batch's summary. */
void alloc_summary_pointer(const struct batch_index *batch, struct block_pointer *ret_pointer);

/*
 * Opens a new segment for a class, of the width that the usable disks allow: with all its parity and fewer data columns, as long as what was promised
 * (alloc_set_promised) has room in such and they aren't scarce, or no disk is away; else with all data columns and some parity columns absent
 * (alloc_new_ones_lack). The record is dirty. -ENOSPC when none is formable, -ENOMEM.
 */
int alloc_segment_open(struct alloc *alloc, enum segment_class class, uint32_t *ret_id);
/*
 * The same for a segment of the intent log on log disks: mirrored over as many of them as the pool makes copies of its log (m + 1,
 * 2 where m is 0), if there are so many, else over all of them. A single one isn't mirrored.
 */
int alloc_log_open(struct alloc *alloc, uint32_t *ret_id);
/* How many of these could be opened now. */
uint64_t alloc_log_room(const struct alloc *alloc);
unsigned alloc_log_copies(const struct alloc *alloc);
unsigned alloc_log_disks(const struct alloc *alloc); /* configured */
/* OPEN becomes FULL. */
void alloc_segment_close(struct alloc *alloc, uint32_t id);
/* A LOG segment that the next uberblock no longer names: its AUs follow the reuse rule. Inside a txg. */
void alloc_log_release(struct alloc *alloc, uint32_t id);
/* The next `rows` rows of an OPEN segment; the caller knows that they are there. */
uint16_t alloc_rows_take(struct alloc *alloc, uint32_t id, unsigned rows);
void alloc_segment_touch(struct alloc *alloc, struct segment *segment); /* its record changed */
/* A column moved: the old AU follows the reuse rule. The new AU was reserved with alloc_au_reserve. */
void alloc_column_move(struct alloc *alloc, uint32_t id, unsigned column, struct segment_column to);
/* A free AU of the disk for a column of a segment, or -ENOSPC. Not given to anybody else until released or used. */
int64_t alloc_au_reserve(struct alloc *alloc, unsigned disk);
void alloc_au_release(struct alloc *alloc, unsigned disk, uint32_t au);

/*
 * Rows of segments that have live ones too, for all classes but SYS and LOG. How long runs are to be that are taken now, by how many
 * free segments there are above the floors; 0: whole segments.
 */
unsigned alloc_runs_least(const struct alloc *alloc);
/*
 * The segment of a class with the most dead rows that has a run of so many, with room for a block of so many cells: it gives rows to
 * nobody else until alloc_runs_give_up, or the commit. lacking: one whose rows would lack a column. False: none.
 */
bool alloc_runs_find(struct alloc *alloc, enum segment_class class, bool lacking, unsigned rows, unsigned cells, uint32_t *ret_id);
/* spent: not in this txg again. */
void alloc_runs_give_up(struct alloc *alloc, uint32_t id, bool spent);
/* The first run from a row on that has at least so many rows, and its length; 0: none, or the segment gives no more. */
unsigned alloc_run_next(const struct alloc *alloc, uint32_t id, unsigned from, unsigned least, unsigned *ret_rows);
/* The shortest run of at least *rows rows; else the longest, and its length. */
unsigned alloc_run_tightest(const struct alloc *alloc, uint32_t id, unsigned *rows);
/* Rows of such a run: nobody else gets them in this txg. Until they are in a batch, nothing is placed there. 0 or -ENOMEM. */
int alloc_run_take(struct alloc *alloc, uint32_t id, unsigned row, unsigned rows);
uint64_t alloc_runs_looks(const struct alloc *alloc); /* at segments, of all searches */
/* For tests: dead rows first, however many free segments there are. */
void alloc_set_eager_reuse(struct alloc *alloc, bool eager);
/* For tests: so few rows of a segment are looked at together by those who go through it, instead of all that fit into a window (0). */
void alloc_set_rows_together(struct alloc *alloc, unsigned rows);
unsigned alloc_rows_together(const struct alloc *alloc);
/* Whether those that would lack a column are promised too, when there are no others (the default). */
void alloc_set_lacking_promised(struct alloc *alloc, bool promised);
bool alloc_lacking_promised(const struct alloc *alloc);
/* Entries in the index of a segment that gives rows; what its own batches make is apart from it. */
#define ALLOC_BATCHES_REUSED 128u

/* SYS rows: a run of `rows` rows of one SYS segment, busy from now on. -ENOSPC: no run; the caller opens a SYS segment. */
int alloc_sys_take(struct alloc *alloc, unsigned rows, uint32_t *ret_id, uint16_t *ret_row);
/*
 * The same after a write to rows of segment `failed` went wrong: rather in a segment that has no column on any of these disks (bits),
 * and rather in another one.
 */
int alloc_sys_take_elsewhere(struct alloc *alloc, unsigned rows, const uint64_t *disks, uint32_t failed, uint32_t *ret_id,
			     uint16_t *ret_row);
/* How ill these rows fit into the segment, 0: not at all. The length of the run, and more where a copy would be lacking. */
unsigned alloc_sys_fit(const struct alloc *alloc, uint32_t id, unsigned rows);
/* The same in one SYS segment. */
int alloc_sys_take_in(struct alloc *alloc, uint32_t id, unsigned rows, uint16_t *ret_row);
/* How many of the first SYS segments are kept for what needs long runs of rows and doesn't live long: logs, pages, final batches. */
size_t alloc_sys_base(const struct alloc *alloc);
/* Ids of the SYS segments; valid until one is opened. */
const uint32_t *alloc_sys_segments(const struct alloc *alloc, size_t *ret_count);
/* Gives rows back that were taken in this txg and never written. */
void alloc_sys_give_back(struct alloc *alloc, uint32_t id, unsigned row, unsigned rows);
/*
 * Less than 1/8 of the SYS rows are free, or no run of FINAL_BATCH_ROWS_MAX is: of rows that get all copies, as long as
 * the disks are there for another segment of that kind.
 */
bool alloc_sys_low(const struct alloc *alloc);
/* Free rows that get all copies, or as many as a segment opened now would have. */
uint64_t alloc_sys_free_rows(const struct alloc *alloc);

/* The txg in sync. -ENOMEM: it can't be committed. */
int alloc_txg_begin(struct alloc *alloc, uint64_t txg);
/* A batch was written completely: ranges of one segment, its summary, cells in its rows that hold nothing. 0 or -ENOMEM. */
int alloc_txg_batch(struct alloc *alloc, uint32_t segment, const struct summary_range *ranges, unsigned range_count,
		    const struct block_pointer *summary, const struct cell_extent *unused, size_t unused_count);
/* The block at this pointer is dead. A double free is a broken invariant: -EINVAL, and nothing of it is freed. */
int alloc_txg_free(struct alloc *alloc, const struct block_pointer *pointer);
/*
 * Blocks that a compactor moves (moved.c). Whether the pointer's block may lie elsewhere than its identity says: FORMAT.md, section 19.
 */
bool alloc_may_have_moved(const struct alloc *alloc, const struct block_pointer *pointer);
/* Of a block that lies at this address: the txg of the batch that has its rows; what it is at least, if that isn't known. */
uint64_t alloc_place_of(const struct alloc *alloc, uint64_t dva);
/* Its cells are in use, by it and not by another one, and weren't freed by the txg in sync. */
bool alloc_block_is_live(const struct alloc *alloc, const struct block_pointer *pointer);
/* Cells of blocks of data that commits have freed, since the import: also of those that were moved. */
uint64_t alloc_freed_cells(const struct alloc *alloc);
/* Inside a txg: the block of this identity moves. */
void alloc_block_moves(struct alloc *alloc, uint64_t dva, uint64_t place);
/* Cells of all segments that copies were given since the import. */
uint64_t alloc_copy_segments_cells(const struct alloc *alloc);
/* Data cells of new segments that are for copies alone, as of now, the txg in sync included; and those that writers have besides. */
uint64_t alloc_copy_cells(const struct alloc *alloc, uint64_t *ret_writers);
/* For tests: the floors have room for so many cells of metadata in each commit, if more live. 0: for as many as otherwise. */
void alloc_set_commit_metadata(struct alloc *alloc, uint64_t cells);
/* Appends all records that are due (PREVFINAL, SEG, BATCH, FREE; with `last` also every STALE) and not yet taken to *bytes. */
int alloc_txg_take_records(struct alloc *alloc, bool last, struct array *bytes);
/* Ids of the segments that this txg has changed so far, each once: of those with rows placed, placed_in_txg is set. */
const uint32_t *alloc_txg_segments(const struct alloc *alloc, size_t *ret_count);
/* Bytes that alloc_txg_take_records would give. */
size_t alloc_txg_record_bytes(const struct alloc *alloc);
/* The txg is durable: applies everything, the final batch too, and counts the commit. */
void alloc_txg_commit(struct alloc *alloc, const struct final_batch *final, const struct block_pointer *final_summary);
uint64_t alloc_sequence(const struct alloc *alloc); /* number of the last commit */

/* The list of SYS segments, for the sysmap (ret has room for SYSMAP_SEGMENTS_MAX), and whether it changed since alloc_sysmap_written. */
unsigned alloc_sysmap(const struct alloc *alloc, struct sysmap_segment *ret_segments);
bool alloc_sysmap_dirty(const struct alloc *alloc);
void alloc_sysmap_written(struct alloc *alloc);

/* Cells of rows of the open txg that went without a write: recorded in each log until repaired. */
int alloc_stale_add(struct alloc *alloc, const struct stale_record *stale);
const struct stale_record *alloc_stale(const struct alloc *alloc, size_t *ret_count);
bool alloc_is_stale(const struct alloc *alloc, uint32_t segment, unsigned column, unsigned row, uint64_t place);
void alloc_stale_clear(struct alloc *alloc, uint32_t segment, unsigned column);
/* The disk with most stale records; ret_oldest: their lowest txg. DISK_ABSENT: there is none. */
unsigned alloc_stale_worst(const struct alloc *alloc, uint64_t *ret_oldest);
/* The disk's stale_from says the same of all its columns. */
void alloc_stale_drop_disk(struct alloc *alloc, unsigned disk);

/*
 * Batches of earlier txgs that the MOS batch map does not have yet, or has although they are gone: reported once
 * each, deletions first, for the txg in sync (a failed commit halts the pool, so nothing is reported again).
 */
void alloc_batch_map_changes(struct alloc *alloc,
			     void (*change)(void *argument, uint32_t segment, const struct batch_index *batch, bool present), void *argument);

/* All that the map has, once alloc_batch_map_changes was called. */
void alloc_batch_map_all(struct alloc *alloc,
			 void (*change)(void *argument, uint32_t segment, const struct batch_index *batch, bool present), void *argument);

/* Checkpoint pages (state of the last commit). first_txg: the oldest txg whose changes the page on disk lacks. */
size_t alloc_segtab_pages(const struct alloc *alloc);
size_t alloc_livemap_pages(const struct alloc *alloc);
bool alloc_page_dirty(const struct alloc *alloc, bool livemap, size_t page, uint64_t *ret_first_txg);
/* Encodes a page as of the last commit, page_txg, into ret (SEGTAB_PAGE_SIZE, or LIVEMAP_PAGE_SIZE, zero padded). */
#define LIVEMAP_PAGE_SIZE (128u << 10)
void alloc_page_encode(struct alloc *alloc, bool livemap, size_t page, uint64_t page_txg, uint8_t *ret_raw);
void alloc_page_written(struct alloc *alloc, bool livemap, size_t page); /* in the txg in sync; undone never: a failed commit halts */
/* Oldest txg whose log an import must apply if the txg in sync commits now. */
uint64_t alloc_log_oldest(const struct alloc *alloc, uint64_t txg);

/* Import: SYS, pages of the segment table, live bitmaps, logs newest last, the index of batches, then finish. */
int alloc_load_page(struct alloc *alloc, bool livemap, size_t page, const uint8_t *raw, size_t size);
/* SYS segments as the sysmap has them; authoritative over pages and logs. Called first. */
int alloc_load_sys(struct alloc *alloc, const struct sysmap_segment *entry);
/*
 * How many segments a table may have with disks of so many AUs in all: those that fit, four times over and some more, since
 * ids stay in the table when larger disks have gone. It bounds what forged records can make an import allocate.
 */
uint32_t alloc_segments_bound(uint64_t aus);
/* Whether imports will allow the table, as long as it is and will grow, with `aus` instead of disk `old` and any m disks missing. */
bool alloc_table_fits(const struct alloc *alloc, unsigned old, uint64_t aus);
/* Before the sysmap, the bound; after it, what the commit block says. No id is as high. -POOL_EFORMAT if one was already. */
int alloc_load_limit(struct alloc *alloc, uint32_t segment_count);
/* Logs in ascending order. recent: one of the last 3 txgs (what it freed is deferred); last: the committed txg itself. */
int alloc_load_log(struct alloc *alloc, uint64_t txg, const uint8_t *records, size_t size, bool recent, bool last);
int alloc_load_batch(struct alloc *alloc, uint32_t segment, const struct batch_index *batch);
/* Of an import that goes back, which gives up the log: disks that only LOG segments have a column on may have left the pool since. */
void alloc_load_without_log(struct alloc *alloc);
/*
 * Derives free AUs, live counts and deferred frees: disks must have been added. `final` is the batch that the uberblock
 * names. -POOL_EFORMAT when two segments claim one AU or a column lies outside its disk.
 */
int alloc_load_finish(struct alloc *alloc, uint64_t sequence, uint64_t txg, const struct final_batch *final);

/* What runs of dead rows have room for: by log2 of a run's cells, the cells, and how many runs. */
#define ROW_SPACE_LOGS 16u
struct row_space {
	int64_t cells[ROW_SPACE_LOGS], runs[ROW_SPACE_LOGS];
	int64_t summary_cells; /* of which summaries may take so many */
};
/* Cells of blocks of up to so many. */
uint64_t row_space_cells(const struct row_space *space, unsigned block_cells);

/* Space, in data cells. */
struct space {
	uint64_t raw_aus, usable_cells, reserve_cells;
	uint64_t live_cells;      /* as of the last commit */
	uint64_t total_segments;  /* formable of full width if all were free */
	uint64_t free_segments;   /* formable from free AUs */
	uint64_t coming_segments; /* with those that become free with the next commits */
	uint64_t narrow_cells, segment_cells; /* of one; of one that is opened when no more than so many are left above the floors: with a disk away they differ */
	uint64_t plenty_segments;
	uint64_t deferred_aus;    /* become free with later commits */
	uint64_t floor_segments;  /* which writers leave alone: what commits need, and */
	uint64_t copy_segments;   /* what is for copies */
	uint64_t copy_cells;      /* of that those that are there */
	uint64_t whole_cells;     /* what foreground writers may still place in segments above the floors */
	struct row_space rows;    /* what dead rows take besides */
	uint64_t metadata_cells;  /* living; of META and SYS segments */
	uint64_t metadata_room;   /* what of it the next commits have room for, before what the last two freed comes back; UINT64_MAX: for all */
	uint64_t missing_cells;   /* which commits need first, as they had to use more of the floors than they may */
	uint64_t limit_cells;     /* and never more than this: the reserve stays */
	uint64_t deferred_cells;  /* of rows that become free with later commits */
	uint64_t available_cells; /* of blocks of any size, at once */
	uint64_t writable_cells;  /* and in all, with what a compactor gains meanwhile: what people are told */
	uint64_t segments, degraded_segments;
	size_t memory_bytes;
};
void alloc_space(const struct alloc *alloc, struct space *ret_space);
/* What so many segments above the floors have room for. */
uint64_t space_segments_cells(const struct space *space, uint64_t segments);
/* What foreground writers may still place, in blocks of up to so many cells. */
uint64_t space_available(const struct space *space, unsigned block_cells);
/* The share of usable_cells that foreground writers leave free, in hundredths of a percent. The floors stay apart from it. */
#define ALLOC_RESERVE_DEFAULT 625u
void alloc_set_reserve(struct alloc *alloc, unsigned per_ten_thousand);
/* Cells that writers have been promised and that aren't placed yet. */
void alloc_set_promised(struct alloc *alloc, uint64_t cells);
/* Whether new segments that are as narrow as the usable disks allow take all that was promised. */
bool alloc_promises_fit(const struct alloc *alloc);
/* For test builds: what is counted as segments change is what there is. Looks at all of them. */
bool alloc_counts_hold(const struct alloc *alloc);
/* With a disk away: what is opened now lacks columns, so rows that lack some are no worse. */
bool alloc_new_ones_lack(const struct alloc *alloc);
/* A disk that holds data isn't usable. */
bool alloc_lacks_disk(const struct alloc *alloc);
/* How often a disk ceased to be usable: what was counted before may be too much. */
uint64_t alloc_disks_lost(const struct alloc *alloc);
/* As of now, the txg in sync included: only the floors are left, which belong to commits. */
bool alloc_is_scarce(const struct alloc *alloc);
/* Not even those that may be lent to data that was promised room elsewhere: commits need them for metadata. */
bool alloc_is_short(const struct alloc *alloc);

#endif
