/*
 * The core of an imported pool: configuration and labels, transaction groups and their commit, import.
 * It owns allocation, store, block cache and the MOS; datasets plug into its sync.
 * Engine thread; fibers.
 */
#ifndef LIBPOOL_TXG_CORE_H
#define LIBPOOL_TXG_CORE_H

#include "libpool/base/error.h"
#include "libpool/disk/provider.h"
#include "libpool/format/intent_log.h"
#include "libpool/format/label.h"
#include "libpool/format/uberblock.h"
#include "libpool/object/object.h"
#include "libpool/store/ahead.h"

struct core;
struct intent_group; /* of changes, on its way into the intent log */

struct core_options {
	struct rt *rt;
	struct disk_provider *provider;
	struct guid host;
	uint64_t cache_limit;
	uint64_t commit_interval_ns; /* 0: 5 s */
	uint64_t dirty_limit;        /* bytes; 0: 512 MiB */
	struct store_options store;
	bool check_every_txg;        /* test builds: cheap checkers after every commit */
	bool eager_reuse;            /* test builds: dead rows before free segments */
	unsigned commit_metadata;    /* test builds: cells of it that a commit may write anew, if there is nothing but the floors; 0: as many as otherwise */
	unsigned rows_together;      /* test builds: of a segment that is gone through; 0: as many as may be */
};

/* ---- Create ---- */

struct core_create {
	const char *name;
	unsigned k, m;
	unsigned disk_count;
	struct disk *const *disks; /* opened exclusively and writable, in index order; stay the caller's */
	unsigned au_shift;         /* 0: by the largest disk */
	/* Puts something into the MOS, as part of the first txg; NULL: nothing. */
	int (*fill)(void *argument, struct core *core, uint64_t txg);
	void *argument;
};
/* Usable figures for the layout without writing: any of the sizes may differ. 0, or -EINVAL / -ENOSPC with a text. */
int core_plan(const struct core_create *create, const uint64_t *sizes, unsigned *ret_au_shift, struct space *ret_space,
	      struct pool_error *error);
/* Writes labels and the first txg; the pool is then cleanly exported. */
int core_create(const struct core_options *options, const struct core_create *create, struct pool_error *error);

/* ---- Import ---- */

/* A disk on which a label was found. */
struct core_disk_found {
	char *path;
	struct disk *disk; /* opened by the caller */
	struct label *label;
};
/* Allocation units of a disk: what lies between its labels. */
uint32_t disk_au_count(uint64_t disk_size, unsigned au_shift);
/* Reads the best label of an open disk: 0, -ENOENT (none), -POOL_EFEATURE (with *ret_label), -POOL_EFORMAT (one that is damaged in all copies). Allocates. */
int core_label_read(struct disk *disk, struct label **ret_label);
/* The newest valid uberblock on a disk, in any slot; -ENOENT. */
int core_uberblock_newest(struct disk *disk, const struct label *label, struct uberblock *ret_uberblock);

struct core_import {
	struct core_disk_found *disks; /* of one pool; disks pass to the core on success, also of those left out */
	unsigned disk_count;
	bool read_only;
	bool rehearses;      /* read-only, and refused where an import for good would be, as far as can be told without waiting for heartbeats */
	bool force;          /* (a multihost pool in use is refused all the same) last used by another host; split in two: the newer half; with read_only: although too much is lost; flushed changes below damaged nodes are given up */
	uint64_t rewind_txg; /* 0: the newest */
	bool missing_log;    /* what only lost log disks had is given up: core_log_loss */
	/* Before the first commit of an import after an unclean stop: what it puts into the MOS is part of that. May be NULL. */
	void (*first)(void *argument, struct core *core);
	void *argument;
};
int core_import(const struct core_options *options, const struct core_import *import, struct core **ret_core, struct pool_error *error);
/*
 * Commits what is dirty (unless halted) and ends the sync: from then on no participant is called, and no transaction begins.
 * Before datasets are closed, which a sync under way still uses.
 */
void core_stop(struct core *core);
/*
 * Export: commits, marks the uberblock as cleanly exported, closes disks. The core is gone in any case.
 * Datasets must be closed.
 */
int core_export(struct core *core, struct pool_error *error);
/* As after a crash. Waits for nothing but the fibers' own end. */
void core_abandon(struct core *core);

/* ---- State ---- */

struct rt *core_rt(struct core *core);
struct store *core_store(struct core *core);
struct alloc *core_alloc(struct core *core);
struct blocks *core_blocks(struct core *core);
struct objset *core_mos(struct core *core);
struct object *core_mos_object(struct core *core, uint64_t number); /* one of MOS_*; open as long as the core is */
const struct label *core_label(const struct core *core);            /* the configuration: name, disks, k, m */
bool core_read_only(const struct core *core);
/* A read-only import does without what it can't read of the batch map: nothing is repaired there, and not all cells can be judged. */
bool core_lacks_batches(const struct core *core);
bool core_halted(const struct core *core, const char **ret_why);
void core_halt(struct core *core, const char *why);
uint64_t core_committed_txg(const struct core *core);
uint64_t core_open_txg(const struct core *core);
uint64_t core_commit_time(const struct core *core);
uint64_t core_commits(const struct core *core); /* of this import */
bool core_imported_clean(const struct core *core);
/* Of the last three commits before the import. */
void core_imported_txgs(const struct core *core, uint64_t *ret_first, uint64_t *ret_last);
/* What can't be read no later import could read: no disk is missing. Or it doesn't matter: read-only, or forced. */
bool core_loss_is_certain(const struct core *core);
uint64_t core_next_dataset_id(struct core *core); /* hands out an id, made durable by the txg that is open */

/* Space as of now, with what the txg in sync has taken. */
void core_space(struct core *core, struct space *ret_space);
/* Every placed block that belongs to the core itself: pages, logs, commit block (checkers; as of the last commit). */
int core_walk_system(struct core *core, object_visit_function *visit, void *argument);

/* ---- Transactions ---- */

/*
 * Takes a handle: pins the open txg. Waits for the throttle and for space first; `cells` is the worst case of data
 * cells that the transaction will place (metadata is added here); 0 for what only frees. -ENOSPC, -POOL_EHALTED,
 * -EROFS. A holder waits only for reads and for locks of other such holders.
 */
int core_hold(struct core *core, uint64_t cells, uint64_t *ret_txg);
/*
 * The same where more is known: a nearly full pool has room for small blocks longer, and commits write no more nodes anew than there is
 * room for.
 */
struct core_change {
	uint64_t cells;       /* as above */
	uint64_t nodes;       /* cells of nodes that are written anew */
	uint64_t blocks;      /* that it takes the place of or removes, but for those below nodes that are removed as a whole */
	unsigned block_cells; /* no block of data has more */
};
int core_hold_change(struct core *core, const struct core_change *change, uint64_t *ret_txg);
/* What core_hold makes of it. */
struct core_change core_change_of(uint64_t cells);
/* The same for the pool's own records and the end of what was begun, whatever the policy for a degraded pool. */
int core_hold_own(struct core *core, uint64_t cells, uint64_t *ret_txg);
void core_release(struct core *core, uint64_t txg);
/* Dirty memory of a txg changed: fits objset_options.dirty with the core as argument. */
void core_dirty(void *core, uint64_t txg, int64_t bytes);
/* Everything whose handle was released before is durable on return. One commit serves all that wait for it. */
int core_commit(struct core *core);
/* Waits until this txg, which somebody commits, is durable. */
int core_wait_committed(struct core *core, uint64_t txg);
/*
 * The same at the price of one round of writes to the intent log: every change told by core_changed before is durable on return. Those
 * that come at the same time share a round. What the log can't take is committed.
 */
int core_flush(struct core *core);
/*
 * A handle's holder has changed something that participant.gather will find, of about so many bytes; in the same step as
 * the change or a later one, before the handle is released.
 */
void core_changed(struct core *core, uint64_t txg, uint64_t bytes);
/* The same for a change that no record describes: flushes wait for its commit. */
void core_changed_unloggable(struct core *core, uint64_t txg);
/* Whether one has been told of: nobody gathers changes of this txg, so that they need not be noted. */
bool core_flush_is_commit(const struct core *core, uint64_t txg);
/* A change where nobody has a handle: what was changed before, and wasn't told of, is durable after the next flush. */
void core_flush_by_commit(struct core *core);

#define CORE_FLUSH_TIMES 40u
struct core_log_counters {
	uint64_t groups, blocks, cells; /* written, each copy apart from the others not counted */
	uint64_t ns;                    /* that groups took, from gathering to the last copy */
	uint64_t fallbacks;             /* groups that became commits */
	uint64_t placed;                /* blocks of data written beside them, where they stay */
	uint64_t replayed;              /* records, by this import */
	uint64_t flushes;               /* that had something to make durable */
	uint64_t flush_times[CORE_FLUSH_TIMES]; /* how many of them took less than 1 << i us, and at least half of that */
};
const struct core_log_counters *core_log_counters(const struct core *core);
/*
 * What imports have given up of the log, which was on disks that are lost. It is in the pool from the commit on that gives up the log, until
 * somebody clears it. Of several losses this is the last one.
 */
struct core_log_loss {
	uint64_t count;               /* losses; 0: none. Something may be lost: nobody can tell what the log had */
	bool fresh;                   /* by this import */
	uint64_t first_txg, last_txg; /* that it may have been of */
	uint64_t blocks;              /* of the log that were found, and were replayed: what came after them is lost */
	uint64_t time_ns;
};
const struct core_log_loss *core_log_loss(const struct core *core);
int core_log_loss_clear(struct core *core);
/* Bytes that the log can hold; 0: there is none, and the next flush makes one. */
uint64_t core_log_capacity(const struct core *core);
/*
 * Reads a segment of the log, pinned by the caller, and writes what a copy of it can't read anew. Counts cells of all copies. 0,
 * -ENOMEM, or why a commit failed. Waits; flushes wait only when there is something to repair.
 */
struct core_log_repair {
	uint64_t found, repaired, unrepaired;
};
int core_log_repair(struct core *core, uint32_t segment, struct core_log_repair *ret_repair);

/* Runs a whole commit even if nothing is dirty (column moves, state changes of disks). */
int core_commit_forced(struct core *core);
/* The configuration or a disk's state changed: the next commit writes labels / states. */
void core_states_changed(struct core *core);

/* What the dataset layer does in the sync of a txg: sync its objsets and put their records into the catalogue. */
struct core_participant {
	/* Steps 2 to 4. Adds deltas to the MOS with sync->txg. 0 or an error that halts the pool. */
	int (*sync)(void *argument, struct object_sync *sync);
	/* After the commit. */
	void (*committed)(void *argument, uint64_t txg);
	/*
	 * Adds a record (core_log_add) for each change of the txg since the last time it was asked, as things are now. Must
	 * not wait. May be NULL. An error: the txg has to be committed instead.
	 */
	int (*gather)(void *argument, uint64_t txg, struct intent_group *group);
	void *argument;
};
/* NULL: nobody is. Waits for the end of a commit under way then, also of one that failed: after that nobody calls what was there before. */
void core_set_participant(struct core *core, const struct core_participant *participant);
/* Called after each commit, in the fiber that commits: must not wait. NULL: nobody is. */
void core_set_watcher(struct core *core, void (*committed)(void *argument), void *argument);
/* Share of usable space that foreground writers leave free (property reserve), in hundredths of a percent. */
void core_set_reserve(struct core *core, unsigned per_ten_thousand);
/* The content is copied. Negative: no memory, or more than the log takes at a time. */
int core_log_add(struct intent_group *group, const struct intent_record *record);
/* Whether blocks of this size may be written where they stay, so that the log needn't contain them. */
bool core_log_takes_blocks(struct intent_group *group, uint64_t size);
/* One of them, whole; the record is that of a ZERO of all of it. Takes the reference over, also on failure. */
int core_log_add_block(struct intent_group *group, const struct intent_record *record, struct ahead_block *block);
/*
 * Makes the changes again that the intent log has and the last commit lacks, in their order, as part of one txg, and commits it. Of
 * a read-only pool they are made in memory only. `apply` may wait for reads. Once, when the participant is ready; until then
 * nothing may be flushed. Fails with what apply gives, and the log is kept for the next import.
 */
int core_replay(struct core *core, int (*apply)(void *argument, uint64_t txg, const struct intent_record *record), void *argument);

/*
 * Heartbeats that keep other hosts from importing the pool (property multihost): an import by another host takes ten seconds more, and
 * is refused while they go on; and this pool halts when it can't write them for five. Waits for a commit that tells.
 */
int core_set_multihost(struct core *core, bool on);
bool core_multihost(const struct core *core);

/* Whether writes go on while disks are missing (property degraded). */
enum core_degraded {
	CORE_DEGRADED_ALLOW,    /* with the redundancy that the disks there are suffice for */
	CORE_DEGRADED_NARROW,   /* as long as new segments have all of it, with fewer data columns */
	CORE_DEGRADED_READONLY, /* only while all disks are ONLINE */
};
void core_set_degraded(struct core *core, enum core_degraded degraded);
/* By this policy, as the disks are now: core_hold gives -EROFS. */
bool core_writes_refused(const struct core *core);
/* Why a transaction failed, for people. */
const char *core_failure_text(const struct core *core, int status);

/* ---- Trims ---- */

struct core_trimmed {
	uint32_t next;  /* where to go on */
	uint64_t bytes; /* that were asked for, however it ended */
};
/*
 * Tells a disk of one run of free AUs from AU `from` on, of at most bytes_max (but one AU at least): all that are free and weren't
 * trimmed by this import, or only those that became free in it (due). Waits for the disk. -ENOENT: there are none; -EBUSY: all that is
 * free is spoken for; else as store_trim.
 */
int core_trim(struct core *core, unsigned disk, bool due, uint32_t from, uint64_t bytes_max, struct core_trimmed *ret_trimmed);
uint64_t core_trim_left(const struct core *core, unsigned disk, bool due);

/* ---- Disks ---- */

/*
 * Reads what lies in the label areas of all disks that take part, and the batch map. Copies of labels that can't be read or aren't
 * the newest are written anew, a sysmap and leaves of the map by a commit. 0 with the number of all, -ENOMEM, -POOL_EHALTED. Waits.
 */
int core_check_areas(struct core *core, unsigned *ret_wrong, unsigned *ret_healed);
/* The same without the batch map, which is as large as the pool. */
int core_check_label_areas(struct core *core, unsigned *ret_wrong, unsigned *ret_healed);

/* Rewrites labels with a changed configuration (disk added, removed, renamed pool, destroyed flag) on all open disks. */
int core_label_update(struct core *core, const struct label *label, struct pool_error *error);
/* A new disk gets the next index (never used before): label durable on all disks before it returns the index. */
int core_disk_add(struct core *core, struct disk *disk, enum disk_role role, unsigned *ret_index, struct pool_error *error);
/* Several at once: after a crash in between all of them are in the pool or, if they are log disks, none. */
int core_disks_add(struct core *core, struct disk *const *disks, unsigned count, enum disk_role role, unsigned *ret_indexes,
		   struct pool_error *error);
/* Log disks that were added are used from here on, all at once: so that none of them has the log alone that was to have a mirror. */
int core_log_disks_use(struct core *core);
/*
 * A disk of the pool is back, open in its slot, with stale_from set and its state not yet RESYNC: from here on it doesn't pass for a
 * whole one of long ago if the others are lost before it is up to date. 0, or why it can't be written.
 */
int core_disk_returns(struct core *core, unsigned index);
/* No segment has a column there any more. Two commits, then the label without it. Closes the disk. */
int core_disk_remove(struct core *core, unsigned index, struct pool_error *error);

#endif
