/* What the files of store/ share. Nothing outside includes this. */
#ifndef LIBPOOL_STORE_INTERNAL_H
#define LIBPOOL_STORE_INTERNAL_H

#include "libpool/store/ahead.h"
#include "libpool/store/store.h"
#include "libpool/store/window.h"

#define UNIT_ROWS_MAX STRIPE_ROWS_MAX
#define SUMMARY_CACHE_ENTRIES 16

struct batch;
struct write_unit;

/* A rectangle of whole rows: its cells by stripe offset (column * height + row), data columns only. */
struct stripe {
	struct list batch_node, unit_node;
	unsigned references; /* the batch's (for the CRCs) and the unit's */
	struct store *store;
	struct batch *batch;
	struct write_unit *unit;
	uint32_t segment;
	uint16_t base, height, fill;
	uint8_t k, m;
	uint16_t summary_first, summary_cells; /* cells of the batch's summary, if it is here */
	const void **cells;                    /* k * height; unused ones point at zeroes */
	struct buffer **payloads;
	unsigned payload_count, payload_capacity;
	struct buffer *parity[PARITY_MAX]; /* NULL for k == 1: the columns are the data */
	uint32_t *data_crc, *parity_crc;   /* row-major */
	unsigned encoding;                 /* pieces not done */
};

/* Consecutive stripes of one segment, written with one request for each column. */
struct write_unit {
	struct list node;    /* in the store's units until released */
	struct list stripes;
	struct store *store; /* NULL: gone before the device let go; then memory is freed and nothing else done */
	uint32_t segment;
	uint16_t base, rows;
	uint8_t k, m;
	uint64_t txg;
	unsigned encoding;  /* stripes whose parity isn't ready */
	bool closed;        /* no stripe is added any more */
	bool submitted, header, final, written;
	bool given_up; /* a stripe couldn't be filled */
	uint32_t header_mask; /* header: columns to write it to */
	unsigned outstanding; /* column requests not done */
	unsigned held;        /* requests whose buffers the device may still use */
	unsigned failed;      /* columns without their cells */
	uint64_t bytes;
	struct rt_group *group; /* waits for it */
	struct store_ahead_write *ahead; /* until it is written; NULL: of a sync */
	struct segment_column columns[COLUMNS_MAX];
	bool with_header;            /* row 0 goes with it, which lies before its rows: not counted in `rows` */
	uint32_t headers_told;       /* columns whose header will be written by itself */
	struct buffer *header_cells; /* row 0: one cell for each column */
};

/* What one txg writes into one segment under one summary, while it is being built. */
struct batch {
	struct list node; /* in the store's list of SYS batches */
	struct store *store;
	uint32_t segment;
	enum segment_class class;
	uint8_t k, m;
	uint64_t txg;
	struct list stripes;
	struct array blocks;  /* struct summary_block */
	struct array unused;  /* struct cell_extent */
	unsigned rows;        /* all stripes so far */
	unsigned stripe_count;
	unsigned unused_bound; /* extents that `unused` will have at most */
	unsigned encoding;    /* stripes not encoded */
	struct rt_queue encoded;
	struct stripe *last;   /* holds the summary */
	bool ahead;           /* written before the sync of its txg */
	struct array aheads;  /* struct ahead_block *, of `blocks` */
	unsigned ahead_summary_cells;
	bool runs;            /* in runs of dead rows */
	bool moved;           /* its blocks are named by older identities */
	/* SYS, ahead, runs: rows kept for the summary. */
	uint16_t summary_base, summary_rows;
	bool final;           /* described by the uberblock, not by the log */
	struct block_pointer *ret_summary; /* final only */
};

/* A segment for blocks that are written ahead of their txg's sync. */
struct ahead_segment {
	uint32_t segment;
	uint16_t row;        /* the next one; rows_used counts what is committed */
	bool usable;         /* the last uberblock lists it */
	bool retire;         /* takes nothing more, and is closed once all it has is committed */
	struct batch *batch; /* that takes more; in the store's list too */
};

/* An open segment of one class and the blocks that wait for a stripe. */
struct stream {
	enum segment_class class;
	bool has_segment, retire;
	uint32_t segment;
	struct list queue; /* struct store_block */
	unsigned queued_cells;
	unsigned queued_least; /* no block of the queue has fewer cells */
	struct batch *batch;
	struct write_unit *unit;
	bool header_due;             /* of the segment's columns: goes with its first unit */
	bool runs;                   /* the segment gives runs of dead rows, in this txg */
	unsigned runs_least;         /* none shorter is taken */
	unsigned run_next, run_end;  /* what is left of the run in hand */
};

struct summary_entry {
	uint64_t dva, place, used;
	struct summary *summary;
	struct buffer *payload;
	unsigned references;
	bool cached;
};

struct header_due {
	uint32_t segment;
	unsigned column;
	uint64_t alloc_txg;
};

struct store {
	struct rt *rt;
	struct alloc *alloc;
	struct geometry geometry;
	struct store_options options;
	struct store_counters counters;
	struct store_disk disks[DISKS_MAX];
	store_event_function *event;
	void *event_argument;
	uint64_t txg;      /* in sync; 0: none */
	uint64_t last_txg; /* the last one that was */
	struct stream streams[CLASS_COUNT];
	struct list sys_batches;
	struct list ahead_batches;    /* of the open txg and of the one in sync */
	struct array ahead_segments;  /* struct ahead_segment */
	struct array ahead_held;      /* uint32_t: left alone until what the log has is committed */
	struct list units;
	struct array headers_due;    /* struct header_due: not written yet */
	struct list late_writes;     /* struct cell_write, done for their waiters but not for the device */
	struct list trims;           /* that devices still have */
	uint64_t in_flight;          /* bytes of units not written */
	unsigned jobs;               /* parity on its way through the workers: the store can't go before */
	struct rt_queue room;        /* writers that wait for in_flight to sink */
	struct rt_group writes;      /* units and batch summaries that have begun */
	uint32_t final_lacking;      /* columns that the final batch in hand lacks without a record */
	int place_error;             /* the first failure of placement in this txg */
	uint64_t lease_ns;           /* 0: none */
	bool halted, read_only;
	char halt_reason[256];
	struct summary_entry *summaries[SUMMARY_CACHE_ENTRIES];
	uint64_t summary_clock;
};

extern const uint8_t store_zero_cell[CELL_SIZE];

/* pack.c: units that wait for more stripes are written as they are. */
void store_push_out(struct store *store);

void store_emit(struct store *store, enum store_event event, unsigned disk, uint64_t count, const char *text);

/* stripe.c */
struct stripe *stripe_new(struct store *store, uint32_t segment, unsigned base, unsigned height, unsigned k, unsigned m);
void stripe_unref(struct stripe *stripe);
/* Payloads and parity are written: only the CRCs stay. */
void stripe_drop_buffers(struct stripe *stripe);
/* Puts a payload at offset `fill`; takes a reference. */
int stripe_add(struct stripe *stripe, struct buffer *payload, unsigned cells);
/* Starts CRCs and parity of rows that hold no summary cell; batch->encoding and unit->encoding count it. */
void stripe_encode(struct stripe *stripe);
/* The rest, once the summary's payload is in the cells; on the engine's thread. */
void stripe_encode_late(struct stripe *stripe);
/* What stripe_encode starts, in the calling thread. */
void stripe_encode_here(struct stripe *stripe);
bool stripe_row_is_late(const struct stripe *stripe, unsigned row);

/* unit.c */
/* The unit takes a reference. 0 or -ENOMEM. */
int unit_add(struct write_unit **unit, struct store *store, struct stripe *stripe, unsigned rows_max);
/* The headers of the segment's columns, with the unit that begins in its first row. 0 or -ENOMEM. */
int unit_add_headers(struct write_unit *unit);
/* One of its own, of a txg that may still be open: it tells `write` of its end, and leaves no record of what it lacks. */
int unit_add_ahead(struct write_unit **unit, struct store *store, struct stripe *stripe, uint64_t txg, struct store_ahead_write *write);
void unit_close(struct write_unit **unit);
void unit_encoded(struct write_unit *unit);
/* Takes back what unit_add did for a stripe that can't be filled: the pool halts, its unit is never written. */
void unit_give_up(struct stripe *stripe);
/* A copy of a block that was placed and whose row isn't written yet; NULL when it has to be read. */
struct buffer *unit_payload(const struct store *store, const struct block_pointer *pointer);
/* The store goes; what devices still hold of its units is freed when they let go, whenever and wherever that is. */
void units_orphan(struct store *store);
/* The header row of a new segment. */
int unit_write_headers(struct store *store, uint32_t segment);
/* Headers that failed in earlier txgs: no row depends on them, but salvage does. */
void unit_retry_headers(struct store *store);

/* batch.c */
int batch_new(struct store *store, enum segment_class class, uint32_t segment, struct batch **ret_batch);
unsigned batch_summary_cells(const struct batch *batch, unsigned more_rows, unsigned more_stripes, unsigned more_blocks,
			     unsigned more_ranges);
/* Cells of the summary, and rows of its stripe, when it follows `cells` cells with `blocks` blocks in the batch's last stripe. */
unsigned batch_summary_fit(const struct batch *batch, unsigned cells, unsigned blocks, unsigned *ret_height);
/* Adds the block at the stripe's fill to stripe and batch, and tells it its address. */
int batch_add_block(struct batch *batch, struct stripe *stripe, struct store_block *block);
/* The batch is complete but for its summary, whose cells are reserved at the end of `last`: built when all stripes are encoded. */
void batch_finish(struct batch *batch, struct stripe *last);
/* One that was never finished, whose stripes are encoded or never will be. */
void batch_free(struct batch *batch);
/* The content of the summary, into the cells of its stripe. Every stripe has its CRCs but for the rows of the summary itself. */
int batch_build_summary(struct batch *batch, struct stripe *last, struct block_pointer *ret_pointer);

/* pack.c */
/* How many rows a full stripe of the stream has: never fewer than the next block needs. */
unsigned stream_stripe_rows(const struct store *store, const struct stream *stream, unsigned k);
/* What the first blocks of the queue add up to within `cells`, and how many they are. Skip: later ones too, past those too large. */
unsigned stream_queue_fit(struct store *store, const struct stream *stream, unsigned cells, bool skip, unsigned *ret_blocks);
void stream_queue(struct stream *stream, struct store_block *block);
/* Moves the blocks that stream_queue_fit counted from the queue into the stripe. */
int stream_fill(struct store *store, struct stream *stream, struct stripe *stripe, unsigned cells, bool skip);
/* A stripe of these rows, in the stream's batch and unit. NULL without memory. */
struct stripe *stream_stripe(struct store *store, struct stream *stream, unsigned base, unsigned height);

/* run_pack.c */
/* A segment whose runs of dead rows are as long as alloc_runs_least says; `scarce`: of any length. False: none. */
bool runs_open(struct store *store, struct stream *stream, bool scarce, bool lacking);
/* No more of that segment in this txg, if `spent`. The batch is closed. */
void runs_drop(struct store *store, struct stream *stream, bool spent);
/* A batch, with rows for its summary. 0, -ENOSPC: the segment gives no more, or -ENOMEM. */
int runs_begin_batch(struct store *store, struct stream *stream);
int runs_close_batch(struct store *store, struct stream *stream);
/* One stripe from the queue. 0, -ENOSPC: nothing of the queue fits into what the segment gives, or -ENOMEM. */
int runs_cut_stripe(struct store *store, struct stream *stream);

/* ahead.c */
/* The uberblock that lists the segments is durable. */
void ahead_listed(struct store *store);
/* Nothing more goes into the segment. True: it isn't one of these, or is no more; all it has is committed. */
bool ahead_close(struct store *store, uint32_t segment);
void ahead_retire(struct store *store, uint32_t segment);
/*
 * Nothing comes any more into segments with a column there: when the disk is up to date again, that is so in memory before any uberblock
 * says it, and until then an import takes for absent what is written to it.
 */
void ahead_disk_failed(struct store *store, unsigned index);
/* One that an import has found OPEN. */
int ahead_resume(struct store *store, const struct segment *segment, bool hold);

/* sys_pack.c */
int sys_cut(struct store *store, struct stream *stream);
/* Places what waits in another stream in SYS rows. */
int sys_take_over(struct store *store, struct stream *stream);
int sys_finish(struct store *store);

/* redundancy.c: with more records than a log holds, the disk with most of them becomes faulty instead. */
void stale_bound(struct store *store);

/* cell_write.c */
/* Writes cells of a column, which the caller holds pinned, and waits. Errors count against the disk. */
int cells_write(struct store *store, uint32_t segment, struct segment_column to, unsigned row, unsigned rows,
		struct buffer *buffer, size_t buffer_offset);
struct cell_source {
	struct buffer *buffer; /* frozen; a reference is taken */
	size_t offset;
	unsigned cells;
};
/*
 * Starts such a write of consecutive rows; *result, once the group tells the end. Nothing is counted: cells_write_judge. One
 * with `fua` is durable when it ends, another after a flush. 0 or -ENOMEM.
 */
int cells_write_start(struct store *store, uint32_t segment, struct segment_column to, unsigned row, const struct cell_source *sources,
		      unsigned count, bool fua, struct rt_group *group, int *result);
void cells_write_judge(struct store *store, unsigned index, int result);
void late_writes_orphan(struct store *store);

/* trim.c */
void trims_orphan(struct store *store);

/* store.c */
/* Starts a flush of an open disk; *result, once the group tells the end. A failure makes the disk faulty. 0 or -ENOMEM. */
int flush_start(struct store *store, unsigned index, struct rt_group *group, int *result);
/* A write without FUA begins, or has ended: of both the next flush has to come after. */
void flush_is_due(struct store_disk *disk, uint64_t txg);

/* read.c: raw reads of cell runs of one column. */
#define CELLS_HAVE_CRCS 1
#define CELLS_HAVE_HASH 2
/*
 * Starts a read of `rows` cells; *result and the group tell the end. crcs: NULL, or an initial value for each cell, which
 * the CRC-32C replaces where *result is CELLS_HAVE_CRCS: the disk had the data at hand.
 */
void cells_read_start(struct store *store, struct segment_column column, unsigned row, unsigned rows, struct buffer *buffer,
		      size_t buffer_offset, uint32_t *crcs, struct rt_group *group, int *result);
/* Whether cells of a column of a batch of `place` are on a disk that can be asked. */
bool cell_present(const struct store *store, const struct segment *segment, unsigned column, unsigned row, uint64_t place);
void disk_count_error(struct store *store, unsigned index, bool write);
bool payload_matches(const struct block_pointer *pointer, const void *payload);
bool hash_matches(const struct block_pointer *pointer, const struct hash128 *hash);

void summary_cache_free(struct store *store);
/* The verified payload of a summary, decoded and kept; takes a reference. Pinned; 0, -POOL_EDAMAGED, -ENOMEM. */
int summary_adopt(struct store *store, uint32_t segment, const struct block_pointer *pointer, struct buffer *payload,
		  struct summary_entry **ret_entry);

/* move.c: whether rows of columns may be written there. */
bool disk_takes_writes(const struct store *store, unsigned index);

/* window.c */
/* Where a cell of the window lies in its column's buffer. */
size_t cell_at(const struct row_window *window, unsigned column, unsigned row);
/* The cell of the summary's own payload that lies here, or NULL. */
const uint8_t *summary_cell(const struct row_window *window, unsigned column, unsigned row);
enum cell_state window_judge(const struct row_window *window, unsigned column, unsigned row);
/* As window_read, but nothing is judged: by window_judge_rows later, on any thread, and window_count_wrong then, of the columns that were read. */
int window_read_unjudged(struct row_window *window, uint32_t mask, uint32_t *ret_read);
void window_judge_rows(struct row_window *window, unsigned column, unsigned first, unsigned end);
/* Wrong cells of columns that weren't judged before count against their disks. */
void window_count_wrong(const struct row_window *window, uint32_t mask);

/*
 * around.c: a block with cells that aren't present, made of others as they are read, if it matches then. Otherwise negative, and nothing is said of
 * why: read_repair finds out.
 */
int read_around(struct store *store, const struct block_pointer *pointer, const struct segment *segment, struct buffer **ret_payload);

/* repair.c: reconstructs, and heals if `heal` says so; the segment is pinned. As read_by_guess. */
int read_repair(struct store *store, const struct block_pointer *pointer, const struct segment *segment, bool heal,
		struct buffer **ret_payload);

/*
 * guess.c: finds the block by trying erasures against its own checksum. 0, -ENOMEM; -POOL_EDAMAGED: what was read now, k cells or
 * more of each row, isn't the block; -EIO: of some row it was fewer.
 */
int read_by_guess(struct store *store, const struct block_pointer *pointer, bool heal, struct buffer **ret_payload);

#endif
