/* What the files of scrub/ share. Nothing outside includes this. */
#ifndef SCRUB_INTERNAL_H
#define SCRUB_INTERNAL_H

#include "libpool/store/span.h"
#include "scrub/scrub.h"

#define ROWS_MAX (1u << (AU_SHIFT_MAX - CELL_SHIFT))
#define ROW_WORDS (ROWS_MAX / 64)

/* ---- job.c ---- */

void job_begin(struct job *job, const struct job_host *host);
/* Sets state and end, saves; returns status. */
int job_end(struct job *job, const struct job_host *host, int status);
/* Whether it is time to save how far it is; and that. */
bool job_save_is_due(const struct job *job, const struct job_host *host);
void job_save(struct job *job, const struct job_host *host);
/* So many bytes more are done: counts for progress and throttle. */
void job_account(struct job *job, const struct job_host *host, uint64_t bytes);
/* Throttled, paused, cancelled or halted: the caller lets go of all pins and calls job_rest. */
bool job_must_rest(const struct job *job, const struct job_host *host);
/* Sleeps as long as it takes. 0, -ECANCELED, -POOL_EHALTED. */
int job_rest(struct job *job, const struct job_host *host);

/* ---- owners.c ---- */

/*
 * After the cells: names what is lost in batches without summary (struct batch_index; gets sorted), and for a deep scrub
 * whatever else the trees reach and can't be read. Segments of which a summary was made anew are to be looked at once more: their ids
 * (u32). 0, -ECANCELED, or why it couldn't be looked for.
 */
int scrub_owners(struct job *job, const struct job_host *host, struct array *lost_batches, struct array *ret_segments);
/* summaries.c: `found` are the blocks (struct store_known_block) that trees have in the batches. */
int scrub_remake_summaries(struct job *job, const struct job_host *host, const struct array *lost_batches, const struct array *found,
			   struct array *ret_segments);
/* Adds the batches without summary of the segments below `end`: what a scrub has found before it was interrupted. */
int scrub_lost_before(struct job *job, const struct job_host *host, uint32_t end, struct array *lost);

/* ---- plan.c: what is to be looked at in one segment ---- */

/* At most WINDOW_ROWS_MAX rows, some of which may be skipped. */
struct row_piece {
	uint16_t batch, row, rows;
	bool summary; /* all rows of the batch's summary, and the first piece of its batch */
};

/* A copy: the index changes while its user waits. Pieces are grouped by batch. */
struct segment_plan {
	uint32_t segment;
	uint64_t alloc_txg;
	uint64_t rows[ROW_WORDS];
	unsigned row_count;
	struct array batches; /* struct batch_index: one for each summary */
	struct array pieces;  /* struct row_piece */
};

/* Not free, not a log, with something live. */
bool segment_has_content(const struct segment *segment);
bool row_is_live(const struct alloc *alloc, const struct segment *segment, unsigned row);
/* Rows with a live cell; returns how many. */
unsigned live_rows(const struct alloc *alloc, const struct segment *segment, uint64_t *ret_rows);
/* The same of batches of these txgs only. */
unsigned live_rows_of(const struct alloc *alloc, const struct segment *segment, uint64_t first_txg, uint64_t last_txg, uint64_t *ret_rows);
/*
 * All rows with a live cell (of `filter`, if given) that a batch of a committed txg has. 0 or -ENOMEM; the plan is to be
 * released in any case.
 */
int plan_make(const struct alloc *alloc, const struct segment *segment, uint64_t committed, const uint64_t *filter,
	      struct segment_plan *plan);
void plan_release(struct segment_plan *plan);
/*
 * Pieces from `from` on that lie within the rows of a span: where they end in the plan, their rows (ret_wanted: ROW_WORDS words), the first one
 * and what follows the last.
 */
size_t plan_group(const struct segment_plan *plan, const struct alloc *alloc, const struct segment *segment, size_t from, uint64_t *ret_wanted,
		  unsigned *ret_first, unsigned *ret_end);
/* The segment is still what the plan was made for. */
bool plan_holds(const struct segment_plan *plan, const struct segment *segment);
/* The first row of a piece that is still of its batch; 0: none is. */
unsigned plan_first_row(const struct segment_plan *plan, const struct row_piece *piece, const struct segment *segment);
/* Opens a window on a piece; rows that aren't live any more, or of another batch, are skipped. Returns how many are left. */
unsigned plan_window(const struct segment_plan *plan, const struct row_piece *piece, struct store *store,
		     const struct segment *segment, struct summary_entry *summary, struct row_window *window);

/* ---- look.c: a segment that a scrub looks at ---- */

/* Rows that several windows share. */
struct shared_span {
	struct row_span span;
	unsigned references;
};

/* A segment that is being looked at, or about to be: pinned. */
struct segment_look {
	struct segment *segment; /* NULL: none */
	struct segment_plan *plan;
	struct shared_span *span; /* of the pieces up to `span_end`; NULL: windows read for themselves */
	size_t span_end;
	bool reading;
};

/* Plans it and pins it, if there is something to look at in the rows of the filter. 0 or -ENOMEM, and no segment then. */
int look_begin(struct alloc *alloc, struct segment *segment, uint64_t committed, const uint64_t *filter, struct segment_look *ret_look);
void look_end(struct alloc *alloc, struct segment_look *look);
/* Reads the pieces from `from` on that lie close together, and the headers with the first of them. Nothing where that is one piece. Waits. */
void look_read(struct store *store, struct segment_look *look, size_t from);
void shared_span_put(struct shared_span *span);

/* ---- cells.c: what windows say about cells ---- */

uint32_t columns_in_state(const struct row_window *window, enum cell_state state);
/* Columns whose disk takes part: ONLINE or RESYNC. */
uint32_t columns_in_service(struct store *store, const struct segment *segment);
/* Those of them whose disk doesn't hang: of one that does nothing is known, what it has isn't wrong, and not lost. */
uint32_t columns_that_answer(struct store *store, const struct segment *segment);
/* Of a window whose columns in service were read: cells that nobody could look at, as no disk that is there and answers has them. */
unsigned cells_unchecked(struct store *store, const struct segment *segment, const struct row_window *window);
/*
 * The columns of the mask were read: solves and heals what is wrong, checks parity that has no CRC, counts in the job,
 * reports what is lost. 0 or -ENOMEM.
 */
int settle_window(struct job *job, const struct job_host *host, struct row_window *window);
/* Tells the host of every live block with a cell in this row (from the window's first) that isn't good. */
void report_lost_row(struct job *job, const struct job_host *host, const struct row_window *window, unsigned row);
/* The block whose cell this is, or NULL; *ret_dva is its address. */
const struct summary_block *block_at(const struct summary *summary, unsigned column, unsigned row, uint64_t *ret_dva);
/* A commit since the plan was made took the batch out of the index: nothing of it is live. */
bool batch_is_gone(const struct store *store, uint32_t id, const struct batch_index *batch);
/* False when it is gone, not lost. */
bool report_lost_summary(struct job *job, const struct job_host *host, uint32_t segment, const struct batch_index *batch);
/* Adds a cell to a list of struct stale_record, to the last one where it follows that. 0 or -ENOMEM. */
int note_lost(struct array *lost, uint32_t segment, unsigned column, unsigned row, uint64_t place);
/* Records cells that could not be made as absent, as far as there is room for records. */
void record_lost(struct alloc *alloc, const struct array *lost);
/* Drops the records of a column but for those of later txgs. */
void forget_stale(struct alloc *alloc, uint32_t segment, unsigned column, uint64_t committed);
/* DEGRADED says what the columns, their disks and the stale records say. */
void update_degraded(struct store *store, struct segment *segment);
/* DEGRADED, but what it lacked is no more: its stale rows died, or an import dropped their records. */
bool degraded_is_outdated(struct store *store, const struct segment *segment);

/* ---- move.c, copy.c, finish.c: columns of one segment to other places ---- */

struct column_move {
	uint32_t segment;
	uint64_t alloc_txg;
	uint8_t column;
	struct segment_column to;
	unsigned failures; /* of its disk, before anything was written there */
	struct array lost; /* struct stale_record: cells that could not be made */
};

struct mover {
	struct job *job;
	const struct job_host *host;
	struct store *store;
	struct alloc *alloc;
	struct array written; /* struct column_move: on their targets, not flushed; grouped by segment, each pinned once */
	unsigned written_segments;
	uint64_t written_since_ns;
	unsigned unsaved; /* segments whose records no commit has */
	uint64_t unsaved_since_ns;
	unsigned moved;   /* columns, since the job began */
};

void mover_init(struct mover *mover, struct job *job, const struct job_host *host);
/*
 * Copies or rebuilds the columns of the mask (all wanted ones of a segment together) into AUs of other disks, and
 * notes them in `written`; the segment stays pinned until moves_finish. Columns for which there is no disk are left out.
 * 0; -EAGAIN: the segment is free or changed, nothing to do; -ENOSPC: no disk for any; -EIO and others: a write failed; -ENOMEM.
 */
int move_columns(struct mover *mover, uint32_t segment, uint32_t columns);
/* copy.c: the rows and headers of these columns, read or made, at their new places. The segment is settled and pinned. */
int copy_columns(struct mover *mover, struct segment *segment, struct column_move *moves, unsigned count);
/* Whether a column of the segment could go somewhere. */
bool move_is_possible(struct store *store, const struct segment *segment, unsigned column, unsigned leaving);
/* Flushes what was written and hands the columns over, but for those whose disk has failed since; no pin is left. Commits when `commit`, or when enough has gathered. */
int moves_finish(struct mover *mover, bool commit);
/* Enough was written for moves_finish. */
bool moves_are_due(const struct mover *mover);
/* A flush of one disk; a failure makes it faulty. */
int flush_disk(struct store *store, unsigned index);

/* ---- stale.c ---- */

/* Rewrites cells whose write failed, in place, where the column's disk is ONLINE; else, or if that fails too, elsewhere. Commits. */
int repair_stale(struct mover *mover);

#endif
