/*
 * The store: packs the blocks of a txg into stripes of whole rows, computes parity once, writes each row
 * once, and closes each batch with its summary; reads blocks back, verified, reconstructing and healing
 * what is missing or wrong. Engine thread; functions that wait say so.
 */
#ifndef LIBPOOL_STORE_STORE_H
#define LIBPOOL_STORE_STORE_H

#include <string.h>

#include "libpool/alloc/alloc.h"
#include "libpool/base/buffer.h"
#include "libpool/base/list.h"
#include "libpool/disk/disk.h"
#include "libpool/rt/rt.h"
#include "libpool/format/label.h"
#include "libpool/format/uberblock.h"
#include "libpool/format/block_pointer.h"

struct store;

/* One disk of the pool as the store sees it; the txg layer carries state and stale_from to the uberblock. */
struct store_disk {
	bool configured;
	struct disk *disk; /* NULL: not open (missing, offline) */
	struct guid guid;
	uint16_t index;
	uint8_t state;     /* enum disk_state */
	uint8_t role;
	uint8_t label_first;      /* the copy of the label that the next change of it begins with: txg/labels.c */
	uint64_t size;
	uint64_t stale_from;      /* cells of batches with txg >= this count as absent; 0: none */
	uint64_t unflushed_txg;   /* txg of the oldest write that no flush covers; 0: none */
	uint64_t write_sequence;  /* writes submitted and writes ended: tells whether a flush covers them all */
	unsigned consecutive_errors;
	unsigned failures;        /* how often it ceased to work since the import: what no flush covered then may be gone, also when it works again */
	bool state_dirty;         /* the uberblock must tell */
	uint64_t read_errors, write_errors, checksum_errors, flush_errors; /* since cleared; checksum: wrong content */
	char path[512];
};

/*
 * A disk of the pool proper. One for the log alone has labels and log segments, and nothing else: no uberblock, no sysmap, no
 * heartbeats, and no voice in anything. What is on it is judged by what the others say.
 */
static inline bool store_disk_holds_data(const struct store_disk *disk)
{
	return disk->configured && disk->role != ROLE_LOG;
}

struct store_options {
	uint64_t read_deadline_ns, write_deadline_ns; /* 0: 10 s, 30 s */
	uint64_t in_flight_limit;                     /* bytes of stripes not yet written; 0: 64 MiB */
};

/* What cells are placed for. */
enum store_purpose {
	STORE_DATA,      /* content of volumes and files */
	STORE_NODES,     /* all else of datasets: nodes of their trees, dnodes */
	STORE_COPIES,    /* blocks that were moved */
	STORE_MOVED,     /* the tree that says where those are */
	STORE_BATCH_MAP,
	STORE_OWN,       /* all else of the pool's own trees */
	STORE_STATE,     /* of allocation, with its log and the commit blocks */
	STORE_SUMMARIES,
	STORE_PADDING,
	STORE_PURPOSES
};
struct store_counters {
	uint64_t placed[STORE_PURPOSES], placed_sys[STORE_PURPOSES]; /* cells, parity apart; in SYS rows, which are mirrored */
	uint64_t parity_cells, header_cells;
	uint64_t read_blocks, read_ios, reconstructed_cells, healed_cells, unrepairable;
	uint64_t stale_added;
	uint64_t queue_looks; /* at blocks that wait to be placed, to find those that fit */
};

/*
 * From this moment on nothing is written any more, and the pool halts; 0: never. For pools that another host may take when this
 * one is silent for too long. Whoever writes to disks apart from the store asks store_lease_holds just before.
 */
void store_set_lease(struct store *store, uint64_t until_ns);
bool store_lease_holds(struct store *store);

/* Told of things that people want to know. Engine thread; must not wait. */
enum store_event { STORE_DISK_FAULTY, STORE_HEALED, STORE_DAMAGED, STORE_STALE, STORE_HALT, STORE_LEAKED };
typedef void store_event_function(void *argument, enum store_event event, unsigned disk, uint64_t count, const char *text);

int store_new(struct rt *rt, struct alloc *alloc, const struct store_options *options, struct store **ret_store);
/* After store_wait_writes. No request may be wanted any more; those that devices still hold end on their own. */
void store_free(struct store *store);
struct rt *store_rt(struct store *store);
struct alloc *store_alloc(struct store *store);
/* Cells that were to be freed, and can't be: they aren't in use, or aren't that block's. */
void store_tell_leak(struct store *store, uint64_t cells);
void store_set_event_callback(struct store *store, store_event_function *function, void *argument);
const struct store_counters *store_counters(const struct store *store);

/* Slots are indexed by disk index; the txg layer fills them. */
struct store_disk *store_disk(struct store *store, unsigned index);
/* Byte of row `row` of a column's AU on its disk. */
uint64_t store_cell_offset(const struct store *store, uint32_t au, unsigned row);
/* The disk failed: state FAULTY, stale_from = the oldest txg that may lack cells there. */
void store_disk_fail(struct store *store, unsigned index, const char *why);
/* The pool can't continue: nothing more is placed or committed. The first reason stays. */
void store_halt(struct store *store, const char *why);
void store_set_read_only(struct store *store); /* nothing is healed */
bool store_halted(const struct store *store, const char **ret_why);

/* Whether trims make sense: it is open, and hasn't refused one. */
bool store_can_trim(const struct store *store, unsigned index);
/*
 * Tells an ONLINE disk that nothing in these free AUs is needed, and waits, at most for the deadline of a write. They are set apart until
 * the device is through, which may be later. -EOPNOTSUPP: it can't; -ENXIO: it isn't ONLINE; -ETIMEDOUT, -ECANCELED: it still has them.
 */
int store_trim(struct store *store, unsigned index, uint32_t first, uint32_t count);

/* The sync of a txg. */
void store_txg_begin(struct store *store, uint64_t txg);
void store_txg_end(struct store *store); /* its uberblock is durable */
/* One more SYS segment, with its headers on their way. Inside a txg. */
int store_open_sys(struct store *store);
/*
 * One more LOG segment, on log disks or on the pool's own, with its headers on their way. Inside a txg; it is used when an uberblock
 * names it.
 */
int store_open_log(struct store *store, bool on_log_disks, uint32_t *ret_segment);
bool store_log_is_on_log_disks(const struct store *store, uint32_t segment);
/* Fewer make no log. */
#define STORE_LOG_SEGMENTS_MIN 2u
/* Before the uberblock: -POOL_EHALTED (and the pool is halted) if a row of this txg lacks more columns than there is parity. */
int store_check_redundancy(struct store *store);
/* Closes the batch of a class: its summary is placed (the writes go on). May wait. */
int store_finish(struct store *store, enum segment_class class);
/* Waits for every write so far. Failed ones have been recorded as stale columns; -POOL_EHALTED when a row lost too much. */
int store_wait_writes(struct store *store);
/* Flushes every disk with unflushed writes; a failure makes the disk faulty, with all its unflushed txgs stale. */
void store_flush(struct store *store);
/* The next placed block of a class starts a new segment. */
void store_retire(struct store *store, enum segment_class class);
/*
 * Nothing more is placed into a segment that a column move wants: OPEN becomes FULL. False while a batch is being
 * built in it; ask again after a commit. What the txg in sync has placed there is committed with that txg.
 */
bool store_close_segment(struct store *store, uint32_t segment);
/*
 * After import: streams go on in the OPEN segments that have rows left. With `hold` those for blocks of the log (ahead.h) stay as
 * they are, until store_ahead_release. 0 or -ENOMEM.
 */
int store_resume(struct store *store, bool hold);

/*
 * The final batch: alloc-log block, commit block and summary in one run of rows of a SYS segment, as one
 * stripe. layout gives its height and the cells of the summary; write waits, and is durable after a flush.
 * It can be written more than once in a txg, in different rows: the last one counts.
 */
struct final_layout {
	uint32_t segment;
	uint16_t base, height, log_cells, summary_cells;
};
void store_final_layout(const struct store *store, uint32_t segment, uint16_t base, unsigned log_cells, struct final_layout *ret_layout);
/*
 * 0 with ret_lacking = the columns whose cells couldn't be written and of which neither a stale record nor their disk's state
 * tells: the batch must be written elsewhere, or store_final_settle be called.
 */
int store_final_write(struct store *store, const struct final_layout *layout, struct buffer *log, struct buffer *commit,
		      struct final_batch *ret_final, struct block_pointer *ret_summary, uint32_t *ret_lacking);
/* What the final batch lacks is told by the state of the disks: they become faulty. */
void store_final_settle(struct store *store, uint32_t segment, uint32_t lacking);

/* Blocks for consecutive rows of a LOG segment. */
struct store_log_block {
	struct buffer *buffer; /* from its beginning on */
	unsigned cells;
};
struct store_ahead_write;
struct store_log_run {
	uint32_t segment;
	uint16_t row;
	unsigned count;
	const struct store_log_block *blocks;
};
/* Whether a LOG segment has all the copies that the pool can give it now, on disks that work: on log disks if there are any. */
bool store_log_is_whole(const struct store *store, uint32_t segment);
/*
 * Writes all copies of all runs at the same time, with FUA, or followed by one flush of each disk without it. 0: each copy is
 * durable. Otherwise nothing is known of any, and the disks that failed have been judged. Waits; the buffers are frozen, and
 * the segments don't give up their AUs before all of it has ended. `ahead`, if there is any, is part of it.
 */
int store_log_write(struct store *store, const struct store_log_run *runs, unsigned count, struct store_ahead_write *ahead);
/* Bits of a map with one for each row of a segment. */
#define STORE_ROW_WORDS BITMAP_WORDS(1u << (AU_SHIFT_MAX - CELL_SHIFT))
/* Rows 1 and on of a LOG segment, as its columns have them. */
struct store_log_copies {
	struct buffer *copies[SYS_COLUMNS_MAX];                   /* NULL: that disk can't be asked */
	uint64_t unreadable[SYS_COLUMNS_MAX][STORE_ROW_WORDS]; /* there a copy has what another one has */
	uint64_t lost[STORE_ROW_WORDS];                          /* unreadable in all of them: zeros */
	/* That something isn't there proves nothing: */
	bool foreign[SYS_COLUMNS_MAX]; /* on a log disk, and the unit has no header of this segment */
	bool failed[SYS_COLUMNS_MAX];  /* the disk is FAULTY: it may have lost what it had said was durable */
};
/* 0, -ENOMEM. Waits. Afterwards, whatever it returned: store_log_copies_release. */
int store_log_read(struct store *store, uint32_t segment, struct store_log_copies *ret_copies);
void store_log_copies_release(struct store_log_copies *copies);
/*
 * Writes the rows that a copy couldn't read anew, in place: nothing else may be written to the segment meanwhile, and what is
 * lost becomes zeros. The number of cells that were written; those that couldn't be are added to *unrepaired. Waits.
 */
uint64_t store_log_heal(struct store *store, uint32_t segment, const struct store_log_copies *copies, uint64_t *unrepaired);

/* Whose block it is: the hint of the summary, and what damage reports name. */
struct block_owner {
	uint32_t objset;
	uint64_t object;
	uint64_t block; /* number within its level */
	uint8_t level;
};

/*
 * One block to place in the txg that is being synced. Owned by the caller until placed() was called; the
 * payload is referenced by the store until its row is written.
 */
struct store_block {
	struct list node; /* private */
	struct buffer *payload; /* psect cells, padded with zeros; frozen */
	uint16_t psect;
	uint8_t type;
	struct block_owner owner;
	uint64_t identity_dva, identity_place; /* a block that is moved (CLASS_SURV only): what it is named by; 0: it is new */
	uint64_t dva; /* set before placed() */
	void (*placed)(struct store_block *block); /* engine thread; must not wait */
};

/*
 * Queues a block for a class; addresses are given as stripes fill, in order of queueing but for the last rows of a
 * segment, which take the blocks that fit. May wait (for memory in flight). Of CLASS_SURV those that there is no room for are forgotten:
 * placed() isn't called, and they are the caller's again when store_cut returns.
 */
void store_place(struct store *store, enum segment_class class, struct store_block *block);
/* Cuts the tail of the class: every queued block has its address on return. 0, or -ENOSPC / -POOL_EHALTED. May wait. */
int store_cut(struct store *store, enum segment_class class);

enum {
	STORE_READ_SPECULATIVE = 1, /* a mismatch is not damage yet: return -POOL_ECHECKSUM without repair */
	/* What can't be reconstructed may never have been written, and nobody is told. -POOL_ECHECKSUM: k cells or more of each of its rows
	 * were read at the same time, and aren't the block. -POOL_EDAMAGED: fewer, which says nothing of the block. */
	STORE_READ_TENTATIVE = 2,
};

/*
 * Reads and verifies one placed block (psect cells as stored). On an error or a confirmed mismatch it
 * reconstructs, heals what was wrong, and counts it against the disk. Waits.
 * 0 with one reference in *ret_payload; -POOL_ECHECKSUM (see the flags); -POOL_EDAMAGED; -POOL_EDEGRADED when it takes a disk
 * that doesn't answer at present: nothing says that the block is damaged; -ENOMEM.
 */
int store_read(struct store *store, const struct block_pointer *pointer, unsigned flags, struct buffer **ret_payload);
/* Whether a column of the segment, with what was placed in txg `place`, is on a disk that doesn't answer at present. */
bool store_waits_for_disk(const struct store *store, const struct segment *segment, uint64_t place);

/* The checksum of a payload as its pointer's kind demands. Pure; any thread. */
void store_checksum(uint8_t checksum_kind, const void *payload, size_t length, uint8_t ret_checksum[24]);

/* The checksum of a payload whose XXH3-128 is known. */
static inline void store_checksum_of(const struct hash128 *hash, uint8_t ret_checksum[24])
{
	memcpy(ret_checksum, hash->bytes, sizeof(hash->bytes));
	memset(ret_checksum + sizeof(hash->bytes), 0, 24 - sizeof(hash->bytes));
}

#endif
