/* What the files of txg/ share. Nothing outside includes this. */
#ifndef LIBPOOL_TXG_INTERNAL_H
#define LIBPOOL_TXG_INTERNAL_H

#include <errno.h>

#include "libpool/base/array.h"
#include "libpool/format/dataset_record.h"
#include "libpool/format/dva.h"
#include "libpool/txg/compactor.h"
#include "libpool/txg/core.h"
#include "libpool/txg/intent.h"
#include "libpool/txg/moves.h"

/* The allocation log of one committed txg: kept until no page needs it. */
struct log_entry {
	uint64_t txg;
	struct raw_block_pointer last;
	struct array earlier; /* struct raw_block_pointer */
};

struct map_key {
	uint8_t bytes[BATCH_MAP_KEY_SIZE];
};

struct core {
	struct core_options options;
	struct rt *rt;
	struct label *label; /* the configuration; disk_index and disk guid of none */
	struct alloc *alloc;
	struct store *store;
	struct blocks *blocks;
	struct objset *mos;
	struct object *mos_objects[MOS_FIRST_FREE];
	struct object *segtab, *livemap;
	struct core_participant participant;
	void (*watcher)(void *argument); /* after each commit */
	void *watcher_argument;
	enum core_degraded degraded;
	uint64_t disks_lost;         /* as of `space` */
	bool forced; /* the import was asked to go on although something is lost */
	bool read_only, halted, stopping, stopped, imported_clean;
	char halt_reason[256];

	struct uberblock uberblock; /* the last one written */
	uint64_t sysmap_there[BITMAP_WORDS(DISKS_MAX)]; /* disks whose copies of the sysmap it means are known to be good */
	struct array map_wrong;     /* struct map_key: below nodes of the batch map that can't be read; the next commit writes them anew */
	unsigned map_lost;          /* of a read-only import: pieces of the batch map that it does without */
	uint64_t epoch;             /* of this import */
	bool epoch_recorded;
	uint64_t commits;
	uint64_t next_dataset;

	struct heartbeat *heartbeat;    /* NULL: multihost is off */
	uint32_t heartbeat_interval_ms; /* what uberblocks say */

	/* Handles and commits. */
	uint64_t open_txg, committed_txg, wanted_txg; /* wanted: commit at least up to this one */
	bool quiescing;              /* the open txg waits for its handles: new ones wait for the next */
	bool syncing;
	uint64_t syncing_txg;
	unsigned handles[2];         /* by txg & 1 */
	bool touched[2];             /* a handle was taken */
	int64_t dirty_bytes[2];
	uint64_t reserved_cells[2];
	uint64_t nodes_above[2];     /* of these, for nodes */
	unsigned rows_wanted;        /* who waits until no txg has any */
	uint64_t node_cells[2];      /* that all other nodes take at most, written anew, of the floors */
	uint64_t moved_cells;        /* of xblk, as of the last commit */
	unsigned reserved_block[2];  /* none of their blocks has more cells */
	uint64_t opened_ns;          /* when the open txg got its first handle */
	struct space space;          /* as of the last commit */
	uint64_t admitted[2];        /* bytes that handles were given for and that may not be dirty yet */
	struct rt_mutex writers;     /* they take handles one after the other */
	struct rt_mutex node_turns;  /* so do those that wait for room for their nodes, while they wait for nothing else */
	uint64_t orphan_cells;       /* of node_cells in the txg in sync, for what was destroyed */
	unsigned trims;              /* under way */
	uint64_t trim_cells;         /* what can't be placed because of them */
	uint64_t trim_lost_cells;    /* since the last commit: of those that devices don't end */
	unsigned space_wanted;       /* writers that wait for trims to end: no further one begins */
	uint64_t activity;           /* counts what may change space: handles, work in the background */
	bool full;                   /* at full_activity there was no room for full_cells, and no commit could change that */
	uint64_t full_activity, full_cells;
	unsigned full_block;
	struct rt_queue changed;     /* committed, halted, room */
	struct rt_queue sync_wake;   /* the sync fiber waits here */
	struct rt_queue released;    /* sync waits for handles */
	struct intent intent;
	struct moves moves;
	struct compactor compactor;
	struct rt_mutex config;      /* disks and labels change in no sync, and one change at a time */

	/* What the commit block and its neighbours name. */
	struct dnode segtab_dnode, livemap_dnode;
	struct block_pointer commit_pointer; /* of the last commit: dead with the next */
	bool has_commit;
	struct array logs;                   /* struct log_entry, ascending txg */
	struct log_entry log_now;            /* of the txg in sync */
	uint64_t log_oldest;                 /* oldest txg whose log an import of the txg in sync needs */
	uint64_t recent_txgs[3];             /* newest first, the last commit included */
	uint64_t imported_txgs[2];           /* first and last of these, when the pool was imported */
};

/* create.c */
/* Whether the SYS segments a pool may have hold the state of so many AUs twice over. */
bool sys_capacity_suffices(unsigned k, unsigned m, unsigned au_shift, uint64_t aus);

/* labels.c */
uint64_t label_area_offset(uint64_t disk_size, unsigned area);
/* Those that are used in its role. */
uint32_t disk_aus_of_role(uint64_t disk_size, unsigned au_shift, unsigned role);
/* With what the disk is for. */
int core_alloc_disk_add(struct core *core, const struct store_disk *disk, bool usable);
/* Writes the label of every open configured disk: copy 0 in both areas, flush, copy 1, flush. */
int labels_write(struct core *core);
bool disk_is_writable(const struct store_disk *disk);
/* A read failed because of what was to be read; not for lack of an answer, of memory or of the whole disk. */
static inline bool disk_error_is_of_medium(int error)
{
	return error < 0 && error != -ETIMEDOUT && error != -ENOMEM && error != -ENODEV && error != -ECANCELED;
}
/* One copy as this disk has to have it; `scratch` is the caller's. */
void label_image(const struct core *core, const struct store_disk *disk, unsigned area, unsigned copy, struct label *scratch,
		 uint8_t *ret_raw);
/* The better copy in one area of a disk of that size, by itself: 0, -ENOENT or -POOL_EFORMAT: none, or why it can't be read. */
int label_read_area(struct disk *disk, unsigned area, uint64_t disk_size, struct label *ret_label);
/* exchanged.c: on a disk that is no part of the pool yet, what would name it as another one that it was before. Not flushed. */
int exchange_forget_names(struct disk *disk, uint64_t disk_size, unsigned au_shift);
const struct label_disk *label_find_index(const struct label *label, unsigned index);

/* each.c */
/* Runs run(argument, i) for all i below count at the same time and waits; ret_status[i] is what each gave. */
void run_each(struct rt *rt, const char *name, unsigned count, int (*run)(void *argument, unsigned index), void *argument,
	      int *ret_status);

/* uberblocks.c */
/* Calls visit for every valid slot of a disk; stops at a non-zero return. -ETIMEDOUT: the disk doesn't answer. */
int uberblocks_scan(struct disk *disk, const struct label *label, int (*visit)(void *argument, const struct uberblock *uberblock),
		    void *argument);
/*
 * Fills states and counts from the store's disks, writes to all ONLINE ones, a quorum of which commits it, and those in RESYNC, repeats
 * with failing ones listed. 0, or an error after core_halt.
 */
int uberblock_commit(struct core *core, struct uberblock *uberblock);
/* What the uberblock says of the disks, from the store's slots. -E2BIG with more than it has room for, -ENODEV without a disk. */
int uberblock_fill_states(struct core *core, struct uberblock *uberblock);

/* sysmap.c */
/* SYS segments have changed, or a disk lacks the newest sysmap. */
bool sysmap_is_due(const struct core *core);
/* Next sysmap slot, all disks, flush; fills the uberblock's sysmap fields. */
int sysmap_write(struct core *core, struct uberblock *uberblock);
int sysmap_load(struct core *core, const struct uberblock *uberblock);
/* Disks that were known to have the sysmap, and don't: how many. The next commit writes it again. 0 or -ENOMEM. */
int sysmap_check(struct core *core, unsigned *ret_lacking);

/* hold.c */
/* core_hold_own of a compactor that moves so many blocks: for writers that wait for space it is no change. */
int core_hold_moves(struct core *core, uint64_t blocks, uint64_t *ret_txg);
/* Whether the nodes that so many more moves write anew find room. */
bool core_moves_fit(const struct core *core, uint64_t blocks);
/* In a sync: how many blocks of what was destroyed it may take out of xblk, and that one was. */
size_t hold_orphans_room(const struct core *core);
void hold_orphan_killed(struct core *core);

/* sync.c */
int sync_txg(struct core *core, uint64_t txg);
void core_kill(struct object_sync *sync, struct objset *objset, const struct block_pointer *pointer);
void core_sync_fiber(void *argument);

/* final.c: step 8c. Writes log, commit block and summary, and fills the uberblock's commit and final batch. */
int final_write(struct core *core, uint64_t txg, const struct final_layout *reserved, struct array *records, struct uberblock *uberblock,
		struct final_batch *ret_final, struct block_pointer *ret_summary);

/* checkpoint.c: steps 8a to 8c. */
int checkpoint_write(struct core *core, struct object_sync *sync, const struct final_layout *reserved, struct uberblock *uberblock,
		     struct final_batch *ret_final, struct block_pointer *ret_summary);
void logs_release(struct core *core);

/* load.c: from an uberblock to the state in RAM. */
int core_load(struct core *core, const struct uberblock *uberblock, struct pool_error *error);

/* check.c */
void core_check(struct core *core, uint64_t txg);

/* core.c */
int core_new(const struct core_options *options, const struct label *label, struct core **ret_core);
void core_free(struct core *core);
int core_open_mos_objects(struct core *core);

#endif
