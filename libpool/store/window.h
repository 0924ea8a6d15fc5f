/*
 * A window of consecutive rows of one batch: what repair, scrub and rebuild work on. Columns are read as needed, each
 * cell is judged by the summary, missing ones are reconstructed from cells that were judged good and judged
 * themselves. Nothing is ever computed from a cell that failed its check.
 */
#ifndef LIBPOOL_STORE_WINDOW_H
#define LIBPOOL_STORE_WINDOW_H

#include "libpool/store/store.h"

#define WINDOW_ROWS_MAX 256u

enum cell_state {
	CELL_UNREAD = 0,
	CELL_READ,       /* in memory, not judged yet */
	CELL_GOOD,
	CELL_UNVERIFIED, /* read, but has no CRC: parity beside a summary, or no summary known */
	CELL_BAD,        /* content differs from its CRC */
	CELL_UNREADABLE, /* the device failed */
	CELL_ABSENT,     /* no disk, or the cell counts as absent */
	CELL_REBUILT,    /* reconstructed, and verified where it has a CRC */
	CELL_DEAD,       /* of a row that doesn't exist for this window: not read, judged, rebuilt or written */
};

struct summary_entry;
struct row_span;

struct row_window {
	struct store *store;
	uint32_t segment;
	uint16_t row, rows;
	uint8_t k, m;
	uint64_t place;                /* txg of the batch */
	struct summary_entry *summary; /* NULL: unknown */
	struct buffer *columns[COLUMNS_MAX];
	uint16_t lead[COLUMNS_MAX];    /* rows in the buffer before the window's first */
	struct buffer *into[COLUMNS_MAX]; /* where columns that aren't read are made, from row `into_row` of the segment on: the caller's. NULL: memory of their own */
	uint16_t into_row;
	const struct row_span *span;   /* rows that were read before; NULL: none */
	uint8_t state[COLUMNS_MAX][WINDOW_ROWS_MAX];  /* enum cell_state */
	uint8_t origin[COLUMNS_MAX][WINDOW_ROWS_MAX]; /* what a rebuilt cell was before */
	uint64_t cells_read;
	uint32_t ignore_stale; /* columns whose cells are read although they count as absent (resync), where wrong ones are no errors: set before window_read */
};

/* Opens a window on rows of one batch; takes over nothing, pins nothing (the caller pins the segment). summary may be NULL. */
void window_init(struct row_window *window, struct store *store, const struct segment *segment, unsigned row, unsigned rows,
		 uint64_t place, struct summary_entry *summary);
void window_release(struct row_window *window);
/* Row `row` (from the window's first) isn't looked at: it is dead, or of another batch. Before window_read. */
void window_skip(struct row_window *window, unsigned row);
/* Columns that have a cell in the window's rows which can be asked for. */
uint32_t window_present(const struct row_window *window);
/* Reads the columns of the mask that weren't read yet, in parallel, and judges their cells. 0 or -ENOMEM. */
int window_read(struct row_window *window, uint32_t mask);
/* Makes every cell of the wanted columns GOOD or REBUILT, reading more columns as needed, never more than it takes.
 * 0, -POOL_EDAMAGED when some can't be (their state tells), -ENOMEM. */
int window_solve(struct row_window *window, uint32_t wanted);
/* Checks parity cells without CRC against the data, once all data columns are good; wrong ones become BAD. */
void window_check_late_parity(struct row_window *window);
/* Counts cells of the state in the columns of the mask. */
unsigned window_count(const struct row_window *window, uint32_t mask, enum cell_state state);
/*
 * The summary of a batch from a window over all its rows, whose columns were read without one. Decodes in memory where
 * a column is missing; reads nothing as long as k columns were read. Pinned; 0, -POOL_EDAMAGED, -ENOMEM.
 */
int window_find_summary(struct row_window *window, const struct batch_index *batch, struct summary_entry **ret_entry);
/* Judges the cells that were read without a summary. The entry stays the caller's. */
void window_set_summary(struct row_window *window, struct summary_entry *summary);
/* Cells that nothing can judge count as good: for a batch whose summary is lost. The blocks' own checksums decide later. */
void window_trust(struct row_window *window);
uint8_t *window_cell(const struct row_window *window, unsigned column, unsigned row /* from the window's first */);
/*
 * Rewrites the rebuilt cells of the mask that had been BAD or UNREADABLE on their disk. Returns how many; counts
 * them as healed. Write errors count against the disk.
 */
unsigned window_heal(struct row_window *window, uint32_t mask);
/*
 * Writes the good and rebuilt cells of a column to another place, or to its own when `to` is that. Waits; nothing is
 * flushed. 0, or the first error, which counts against the disk.
 */
int window_write(struct row_window *window, unsigned column, struct segment_column to);
/* The header of the AU that a column lies in, or is about to. txg: of its writing. */
void store_fill_au_header(const struct store *store, const struct segment *segment, unsigned column, struct segment_column to, uint64_t txg,
			  uint8_t *ret_cell);
int store_write_au_header(struct store *store, const struct segment *segment, unsigned column, struct segment_column to,
			  uint64_t txg);
/* Whether the AU's header says what the segment table says. 0, -POOL_EFORMAT, or the error of the read. */
int store_check_au_header(struct store *store, const struct segment *segment, unsigned column);
/* The same of one that was read. */
int store_judge_au_header(const struct store *store, const struct segment *segment, unsigned column, const uint8_t *cell);

/* The summary for a row, pinned: 0, -ENOENT (no batch known), -POOL_EDAMAGED, -ENOMEM. Waits. */
int summary_get(struct store *store, const struct segment *segment, unsigned row, struct summary_entry **ret_entry);
/* The same if it is in memory; NULL. */
struct summary_entry *summary_cached(struct store *store, const struct batch_index *batch);
/* A block of a batch as the trees know it. */
struct store_known_block {
	struct block_pointer pointer; /* with the address and the txg of its cells */
	struct block_owner owner;
	uint64_t identity_dva, identity_place; /* 0: it was placed here first */
};
/*
 * A summary that can't be read, made anew from all blocks of its batch, in the order of their addresses; pinned. The segment is
 * pinned. Waits. 0, -POOL_EDAMAGED: it doesn't become what it was, -ENOMEM, or what reading the blocks gives.
 */
int summary_remake(struct store *store, const struct segment *segment, const struct batch_index *index, const struct store_known_block *blocks,
		   size_t count, struct summary_entry **ret_entry);
/* Cells of the window's summary itself that were wrong become rebuilt ones. The columns were read. */
void window_restore_summary(struct row_window *window);
void summary_put(struct store *store, struct summary_entry *entry);
const struct summary *summary_of(const struct summary_entry *entry);

#endif
