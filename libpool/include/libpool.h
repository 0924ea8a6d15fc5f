/*
 * libpool: a storage pool in user space.
 *
 * WHAT A HOST CAN RELY ON
 *   Threads      Every function may be called from any thread at any time, until its handle has been closed; calls block until
 *                they are done unless said otherwise. Each open pool has one engine thread and some worker threads of its own (struct
 *                libpool_host), and short-lived ones for what may block, as opening a disk. Calls on volumes and file systems do the engine's
 *                work themselves while its thread sleeps: a thread that is stopped in the middle of one stops the pool, and one of low
 *                priority delays it. A call needs no more than 64 KiB of the caller's stack.
 *   Signals      All threads of the library block all signals: they go to the host's; a thread that does the engine's work blocks
 *                them meanwhile. No thread may be cancelled (pthread_cancel) inside a call. No handler is installed, no call is interrupted by a signal. SIGPIPE is never raised.
 *   Process      The library never exits, prints, changes limits, the locale, the working directory or the environment. Nothing is global, pools are independent.
 *   Fork         In a child none of the parent's handles may be used, not even to close them; it may exec or exit, and open pools of its own. The parent
 *                goes on, and gives up disks that are files as if there were no child; a block device stays taken until a child that didn't exec has ended.
 *   Descriptors  All are made with O_CLOEXEC: one for each disk, and about six more for a pool, one for a queue. Where they run
 *                out, calls fail with -EMFILE or -ENFILE. Only that of libpool_queue_descriptor may be used by the host.
 *   Limits       io_uring needs no privilege and little locked memory; where it is refused, threads do its work. A pool's cache is bounded by struct
 *                libpool_host, data that is written and not yet on disk by the smaller of 512 MiB and a tenth of the memory: writers then wait. A queue's
 *                requests are bounded by its options.
 *   No memory    Calls fail with -ENOMEM; the pool is halted at worst. Closing works all the same.
 *   Callbacks    Each says in which thread it runs. No lock of the library is held then, but the thread waits for it: it
 *                returns soon, and calls no function of the same pool that waits, unless said otherwise.
 *   Disks        One that fails, vanishes or doesn't answer costs a call at most the deadline of its requests (30 s), afterwards the pool goes on without it
 *                as long as redundancy allows.
 *   Durability   A write is acknowledged when buffered. It is durable after libpool_volume_flush, libpool_pool_sync, with LIBPOOL_FUA when it completes, or
 *                with the next commit (5 s at most). A crash keeps a prefix: what a flush acknowledged is there. The property sync may ask for more, or less.
 *   Errors       Functions return 0 or a count, or a negative code: -errno, or one of LIBPOOL_E* negated. libpool_strerror gives its text. Functions with
 *                a `struct libpool_error *` (NULL is allowed) fill it with one line: what, which object, why, what to do. Outputs are untouched on failure.
 *   Halted       A pool that can't continue is halted: reads of what can be read go on, changes fail with -LIBPOOL_EHALTED, closing works, the process lives.
 *   Structures   Option and result structures start with their size: set .size = sizeof(struct ...), or use the LIBPOOL_INIT macro; zero in every other
 *                member means the default. They only ever grow, at their end.
 *   Memory       Arrays that a function returns are one allocation, freed with libpool_free. A later version of the library may have larger elements than
 *                the caller's header: the distance between them is the first one's .size, which LIBPOOL_ELEMENT uses. Members beyond .size are not there.
 *   Units        Sizes and offsets in bytes, times in nanoseconds since 1970, durations in nanoseconds.
 */
#ifndef LIBPOOL_H
#define LIBPOOL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define LIBPOOL_API __attribute__((visibility("default")))
#else
#define LIBPOOL_API
#endif

/* Own codes; returned negated. */
enum {
	LIBPOOL_EDAMAGED = 4096,   /* beyond what redundancy can repair */
	LIBPOOL_EHALTED = 4097,    /* the pool is halted */
	LIBPOOL_ECHECKSUM = 4098,
	LIBPOOL_EFORMAT = 4099,    /* not a valid on-disk structure */
	LIBPOOL_EFEATURE = 4100,   /* features unknown to this version */
	LIBPOOL_EDEGRADED = 4101,  /* too few disks are present, or one hangs that is needed */
	LIBPOOL_EFOREIGN = 4102,   /* a disk carries something else: `force` overwrites it */
	LIBPOOL_EINUSE = 4103,
	LIBPOOL_ESPLIT = 4104,     /* the pool was used in two halves */
	LIBPOOL_ESTALE = 4105,
	LIBPOOL_EOTHERHOST = 4106  /* last used by another host, not exported: `force` */
};

struct libpool_error {
	int code;
	char text[508];
};

#define LIBPOOL_NAME_MAX 255
#define LIBPOOL_GUID_SIZE 16
#define LIBPOOL_PATH_MAX 512
#define LIBPOOL_TEXT_MAX 256

typedef struct libpool_pool libpool_pool;
typedef struct libpool_volume libpool_volume;

LIBPOOL_API const char *libpool_version(void);
LIBPOOL_API const char *libpool_strerror(int code);
LIBPOOL_API void libpool_free(void *pointer);

/* ---- Host: how a process reaches disks ------------------------------------------------------------------ */

/* Zero: search block devices only. Copied by the functions that take it. */
struct libpool_host {
	size_t size;
	const char *const *folders; /* to search for file-backed disks */
	size_t folder_count;
	uint32_t no_devices;        /* 1: don't look at the host's block devices */
	uint32_t no_uring;          /* 1: threads with pread and pwrite instead of io_uring */
	uint32_t workers;           /* 0: as many as cores; on one core none */
	uint64_t cache_bytes;       /* hard limit of each pool's cache; 0: a quarter of the memory; 1: none */
};

/* ---- Create, find, import, export ----------------------------------------------------------------------- */

/* Profiles: "single", "raid1", "raid1c3", "raid1c4", "raid5", "raid6", "raid7", or "raid6:4+2" with an explicit width. */
struct libpool_create_options {
	size_t size;
	const char *name;
	const char *profile;
	const char *const *disks;
	size_t disk_count;
	uint64_t au_bytes;   /* 0: by the sizes of the disks; else a power of two, 256 KiB to 16 MiB */
	uint32_t force;      /* 1: overwrite disks that carry something else (never mounted ones) */
	uint32_t dry_run;    /* 1: check everything, write nothing */
};

struct libpool_layout {
	size_t size;
	uint64_t raw_bytes, usable_bytes, reserve_bytes;
	uint64_t au_bytes;
	uint32_t data_columns, parity_columns, disk_count;
	uint32_t disks_may_fail; /* parity columns, as far as the disks allow */
};

/* Creates the pool and exports it. ret_layout may be NULL. Nothing is written when it fails before the labels. */
LIBPOOL_API int libpool_create(const struct libpool_host *host, const struct libpool_create_options *options, struct libpool_layout *ret_layout, struct libpool_error *error);

/* A pool that was found. */
struct libpool_found {
	size_t size;
	char name[LIBPOOL_NAME_MAX + 1];
	uint8_t guid[LIBPOOL_GUID_SIZE];
	char profile[32];
	uint32_t disks_configured, disks_found;
	uint32_t destroyed;   /* by libpool_destroy: can be brought back */
	uint32_t clean;       /* was exported */
	uint32_t other_host;  /* last used by another host */
	uint32_t in_use;      /* a disk of it is held by a process of this host */
	uint32_t importable;  /* enough disks: 2 all there, 1 degraded, 0 no */
	uint64_t txg, time_ns; /* of the newest commit */
	uint64_t raw_bytes;
	char problem[LIBPOOL_TEXT_MAX]; /* why it can't be imported, what may be lost if it is, or "" */
};
LIBPOOL_API int libpool_find(const struct libpool_host *host, struct libpool_found **ret_found, size_t *ret_count, struct libpool_error *error);

struct libpool_import_options { /* the disks are locked until libpool_close */
	size_t size;
	const char *name;      /* name or guid in hex */
	uint32_t read_only;    /* 2: for a dry run: what refuses an import for good refuses this one; writes to volumes are only checked */
	uint32_t force;        /* although last used by another host, or in two halves, or too much is lost to make all flushed changes again */
	uint32_t destroyed;    /* also a destroyed pool (for reading) */
	uint64_t rewind_txg;   /* go back to this txg: discards what came later */
	uint32_t missing_log;  /* although log disks are missing: what only they had, flushed and never committed, is given up */
	uint32_t no_verify;    /* after an unclean stop: a job of kind VERIFY that reads what the last commits wrote isn't started */
};
LIBPOOL_API int libpool_import(const struct libpool_host *host, const struct libpool_import_options *options, libpool_pool **ret_pool,
			       struct libpool_error *error);

/* Stops background work, commits, marks the pool cleanly exported, releases the disks. The handle is gone in any
 * case, also when an error is returned (a halted pool, a dead disk); never hangs on a dead disk. Calls that are running in
 * other threads are waited for. Volumes that are still open are closed with it, whoever uses them: their handles say
 * -ENODEV from then on, and are freed by libpool_volume_close. */
LIBPOOL_API int libpool_close(libpool_pool *pool, struct libpool_error *error);

/* For a close that asks first. While volumes are open and `force` is 0: -LIBPOOL_EINUSE, naming who uses them, and nothing
 * has changed. Otherwise 0, and from then on nothing can be opened any more (-ENODEV); what is open works on until
 * libpool_close or libpool_abandon. */
LIBPOOL_API int libpool_close_prepare(libpool_pool *pool, int force, struct libpool_error *error);

/* Releases the disks at once, without a commit: as after a crash. Otherwise like libpool_close. */
LIBPOOL_API void libpool_abandon(libpool_pool *pool);

/* Marks a pool (not imported anywhere) as destroyed; undestroy brings it back as long as its disks weren't reused. */
LIBPOOL_API int libpool_destroy(const struct libpool_host *host, const char *name, struct libpool_error *error);
LIBPOOL_API int libpool_undestroy(const struct libpool_host *host, const char *name, struct libpool_error *error);

/* ---- State ---------------------------------------------------------------------------------------------- */

enum libpool_health { LIBPOOL_HEALTHY = 0, LIBPOOL_DEGRADED = 1, LIBPOOL_UNUSABLE = 2 };

struct libpool_pool_info {
	size_t size;
	char name[LIBPOOL_NAME_MAX + 1];
	uint8_t guid[LIBPOOL_GUID_SIZE];
	char profile[32];
	uint32_t health;       /* enum libpool_health */
	uint32_t read_only, halted;
	char problem[LIBPOOL_TEXT_MAX]; /* what is wrong, or "" */
	char action[LIBPOOL_TEXT_MAX];  /* what to do, or "" */
	uint32_t data_columns, parity_columns, disk_count, disks_online;
	uint64_t au_bytes, raw_bytes;
	uint64_t usable_bytes, used_bytes, free_bytes, reserve_bytes; /* data bytes, parity apart */
	uint64_t txg, commits, commit_time_ns;
	uint64_t segments, segments_free, segments_degraded;
	uint64_t stale_cells;   /* cells of committed rows that lack their disk's copy: recorded, being repaired */
	uint64_t damaged_ranges;
	uint64_t cache_bytes, cache_limit, cache_hits, cache_misses;
	uint64_t allocation_memory; /* bytes of RAM of the allocation state */
	uint64_t io_uring_enters;   /* system calls that submitted to disks or asked for completions, since import */
	uint64_t log_losses, log_lost_first_txg, log_lost_last_txg; /* imports that gave up what lost log disks had, until cleared; the last one's txgs */
	uint64_t dead_bytes, formable_bytes; /* of units in use, what isn't live; of units that are free, what could be formed: free_bytes lies in it */
	/* Since the import, and in the last minute. All that was written, parity apart; of it content of volumes and files. Their ratio is the write amplification. */
	uint64_t placed_bytes, data_bytes, minute_placed_bytes, minute_data_bytes;
	uint64_t moved_bytes, minute_moved_bytes; /* of what was written: blocks whose place had to go to others, as little lived around them */
};
LIBPOOL_API int libpool_pool_info(libpool_pool *pool, struct libpool_pool_info *ret_info);

/* What the intent log did since the import, for flushes of volumes. */
#define LIBPOOL_LATENCY_STEPS 40
struct libpool_log_info {
	size_t size;
	uint64_t capacity_bytes; /* 0: there is none now; the next flush makes one */
	uint64_t flushes;        /* that had something to make durable */
	uint64_t groups;         /* rounds of writes: each serves all who flush at the same time */
	uint64_t bytes_written;  /* of one of the copies */
	uint64_t commits;        /* rounds for which a commit took place instead */
	uint64_t changes_replayed; /* by this import */
	uint64_t flush_times[LIBPOOL_LATENCY_STEPS]; /* flushes that took less than 1 << i microseconds, and at least half of that */
	uint64_t blocks_placed; /* of data, written beside the log where they stay: it only names them */
};
LIBPOOL_API int libpool_log_info(libpool_pool *pool, struct libpool_log_info *ret_info);

enum libpool_disk_state { /* as on disk */
	LIBPOOL_DISK_ONLINE = 0, LIBPOOL_DISK_RESYNC = 1, LIBPOOL_DISK_FAULTY = 2, LIBPOOL_DISK_MISSING = 3,
	LIBPOOL_DISK_REMOVED = 4, LIBPOOL_DISK_SLOW = 5, LIBPOOL_DISK_SPARE = 6, LIBPOOL_DISK_OFFLINE = 7
};
LIBPOOL_API const char *libpool_disk_state_name(uint32_t state);

struct libpool_disk_info {
	size_t size;
	uint32_t index, state, role; /* role: 0 data, 1 log, 2 spare */
	uint8_t guid[LIBPOOL_GUID_SIZE];
	char path[LIBPOOL_PATH_MAX];  /* the last one known */
	char serial[128];
	uint64_t disk_bytes, allocated_bytes;
	uint64_t reads, writes, flushes, bytes_read, bytes_written;
	uint64_t read_errors, write_errors, checksum_errors, flush_errors, overdue; /* since they were last cleared */
	uint64_t read_latency_ns, write_latency_ns; /* means since import */
	uint32_t rotational;  /* of a file: the disk below it */
	uint64_t trims, bytes_trimmed, trim_errors; /* since import */
};
LIBPOOL_API int libpool_disks(libpool_pool *pool, struct libpool_disk_info **ret_disks, size_t *ret_count);

/* A range that can't be read; the entry clears when it is healed or rewritten. */
struct libpool_damage {
	size_t size;
	char dataset[LIBPOOL_NAME_MAX + 1]; /* "" for the pool's own structures */
	uint64_t object, offset, length, found_ns;
	char path[LIBPOOL_PATH_MAX]; /* one of a file's, from its file system's root, if that is open, or the pool imported read-only; or "" */
};
LIBPOOL_API int libpool_damage(libpool_pool *pool, struct libpool_damage **ret_damage, size_t *ret_count);

struct libpool_event {
	size_t size;
	uint64_t sequence, time_ns;
	uint32_t severity;  /* 0 information, 1 warning, 2 error */
	char kind[32];      /* "disk.faulty", "scrub.finished", "data.healed", ... */
	char object[LIBPOOL_NAME_MAX + 1];
	char text[LIBPOOL_TEXT_MAX];
};
/* Events after `after` (0: all that are kept: the last 1,000 of this import and what history has). */
LIBPOOL_API int libpool_events(libpool_pool *pool, uint64_t after, struct libpool_event **ret_events, size_t *ret_count);

/* History: what administrators did, kept in the pool. */
struct libpool_history {
	size_t size;
	uint64_t time_ns, txg;
	char text[LIBPOOL_TEXT_MAX * 2];
};
LIBPOOL_API int libpool_history(libpool_pool *pool, struct libpool_history **ret_history, size_t *ret_count);
LIBPOOL_API int libpool_history_add(libpool_pool *pool, const char *text, struct libpool_error *error);

/* ---- Properties ----------------------------------------------------------------------------------------- */

enum libpool_property_kind { LIBPOOL_PROPERTY_TEXT = 0, LIBPOOL_PROPERTY_BYTES = 1, LIBPOOL_PROPERTY_TIME = 2 };

/*
 * dataset NULL or "": of the pool. Values are text as a person would write them. Some are settings of datasets: they hold for the dataset in
 * which they are set and for all that lie in it, unless set there too; in the pool, for all of its datasets.
 */
struct libpool_property {
	size_t size;
	char name[64];
	char value[LIBPOOL_TEXT_MAX];
	char source[2 * LIBPOOL_NAME_MAX + 32]; /* "default", "local", "inherited from tank/home", "-" for figures that can't be set */
	char help[LIBPOOL_TEXT_MAX]; /* one line */
	uint32_t read_only;
	uint32_t kind;      /* enum libpool_property_kind: what `number` is, where the value is one */
	uint64_t number;    /* exact, where `value` may be rounded */
};
LIBPOOL_API int libpool_properties(libpool_pool *pool, const char *dataset, struct libpool_property **ret_properties, size_t *ret_count, struct libpool_error *error);
/*
 * One by its name. Limits and figures of users, groups and projects in a file system are properties that only this function shows:
 * userquota@ID, userobjquota@ID, userused@ID, userobjused@ID, and the same with group and project, where ID is a number.
 */
LIBPOOL_API int libpool_property_get(libpool_pool *pool, const char *dataset, const char *name, struct libpool_property *ret_property, struct libpool_error *error);
/* The value "default" is as libpool_property_inherit. */
LIBPOOL_API int libpool_property_set(libpool_pool *pool, const char *dataset, const char *name, const char *value, struct libpool_error *error);
/* It is no longer set here: what is handed down holds, or the default. */
LIBPOOL_API int libpool_property_inherit(libpool_pool *pool, const char *dataset, const char *name, struct libpool_error *error);
/* Whether libpool_property_set would take it; sets nothing. */
LIBPOOL_API int libpool_property_check(libpool_pool *pool, const char *dataset, const char *name, const char *value, struct libpool_error *error);

/* ---- Jobs: scrub, rebuild, resync, verify, trim ------------------------------------------------------------- */

enum libpool_job_kind { LIBPOOL_JOB_SCRUB = 1, LIBPOOL_JOB_REBUILD = 2, LIBPOOL_JOB_RESYNC = 3, LIBPOOL_JOB_VERIFY = 4, LIBPOOL_JOB_TRIM = 5 };
enum libpool_job_state { LIBPOOL_JOB_RUNNING = 1, LIBPOOL_JOB_PAUSED = 2, LIBPOOL_JOB_FINISHED = 3, LIBPOOL_JOB_CANCELLED = 4, LIBPOOL_JOB_FAILED = 5 };

struct libpool_job {
	size_t size;
	uint64_t id;
	uint32_t kind, state;
	uint64_t started_ns, ended_ns; /* ended 0 while it runs */
	uint64_t total_bytes, done_bytes, rate; /* rate: bytes/s now */
	uint64_t eta_ns;               /* time to go; 0 unknown */
	uint64_t errors_found, cells_repaired, cells_unrepaired;
	char object[LIBPOOL_NAME_MAX + 1]; /* the disk it is about, or "" */
	char text[LIBPOOL_TEXT_MAX];
};
/* Running ones and the last finished of each kind. In a read-only import an interrupted one is shown as paused. */
LIBPOOL_API int libpool_jobs(libpool_pool *pool, struct libpool_job **ret_jobs, size_t *ret_count);
struct libpool_scrub_options {
	size_t size;
	uint32_t deep;            /* also walk all trees: every block's checksum, reachability against the live bitmaps */
	uint64_t bytes_per_second; /* throttle; 0: none */
};
LIBPOOL_API int libpool_scrub_start(libpool_pool *pool, const struct libpool_scrub_options *options, struct libpool_error *error); /* resumes a paused one */
LIBPOOL_API int libpool_scrub_pause(libpool_pool *pool, struct libpool_error *error);
LIBPOOL_API int libpool_scrub_cancel(libpool_pool *pool, struct libpool_error *error);
struct libpool_trim_options {
	size_t size;
	const char *const *disks; /* NULL: all */
	size_t disk_count;
	uint64_t bytes_per_second; /* throttle; 0: none */
};
/* Tells disks that nothing in their free allocation units is needed; each one that is named has a job of its own. What free space lies in units in use isn't trimmed. */
LIBPOOL_API int libpool_trim_start(libpool_pool *pool, const struct libpool_trim_options *options, struct libpool_error *error);
LIBPOOL_API int libpool_trim_cancel(libpool_pool *pool, struct libpool_error *error); /* all of them */
/* Waits until no job of these kinds runs (mask of 1 << kind; 0: all), or `timeout_ns` passed (0: no limit): -ETIMEDOUT.
 * -ECANCELED when the pool is about to be closed. */
LIBPOOL_API int libpool_jobs_wait(libpool_pool *pool, uint32_t kinds, uint64_t timeout_ns);

/* ---- Disks ---------------------------------------------------------------------------------------------- */

/* `disk`: path, last path, guid in hex, or index as "#3". */
struct libpool_replace_options {
	size_t size;
	const char *old_disk, *new_disk;
	uint32_t force; /* the new disk carries something else */
	uint32_t dry_run;
};
/* Starts a rebuild of every column of the old disk onto the new one (or elsewhere when it lacks room); the old disk leaves when it is done. */
LIBPOOL_API int libpool_disk_replace(libpool_pool *pool, const struct libpool_replace_options *options, struct libpool_error *error);
LIBPOOL_API int libpool_disk_offline(libpool_pool *pool, const char *disk, struct libpool_error *error);
/* Whether it could be done; changes nothing, and may be asked of a read-only import. */
LIBPOOL_API int libpool_disk_offline_check(libpool_pool *pool, const char *disk, struct libpool_error *error);
/* Brings a disk back: opens it (path NULL: where it was last, else searched), resyncs what it missed. */
LIBPOOL_API int libpool_disk_online(libpool_pool *pool, const char *disk, const char *path, struct libpool_error *error);
/* Whether it could be done; changes nothing, and may be asked of a read-only import. */
LIBPOOL_API int libpool_disk_online_check(libpool_pool *pool, const char *disk, const char *path, struct libpool_error *error);
/*
 * Disks for the intent log alone (role 1, the only one yet): flushes wait for them only. It is mirrored over as many of them as the profile survives
 * failed disks, and one more; a single one isn't. With its last copy an import loses what was flushed since the last commit, no more: see missing_log.
 */
struct libpool_disk_add_options {
	size_t size;
	const char *const *disks;
	size_t disk_count;
	uint32_t role;
	uint32_t force; /* they carry something else */
	uint32_t dry_run;
};
LIBPOOL_API int libpool_disk_add(libpool_pool *pool, const struct libpool_disk_add_options *options, struct libpool_error *error);
/* A log disk leaves the pool, at any time, and whether it is there or not. */
LIBPOOL_API int libpool_disk_remove(libpool_pool *pool, const char *disk, struct libpool_error *error);
/* Whether it could be done; changes nothing, and may be asked of a read-only import. */
LIBPOOL_API int libpool_disk_remove_check(libpool_pool *pool, const char *disk, struct libpool_error *error);
/* Clears the error counters of one disk, or of all (NULL), the damage list, and what is told of lost logs. */
LIBPOOL_API int libpool_clear(libpool_pool *pool, const char *disk, struct libpool_error *error);

/* ---- Datasets and volumes ------------------------------------------------------------------------------- */

/*
 * Volumes and file systems are datasets. They lie in file systems, or in none, and are called by path wherever a function takes a
 * `name`: names with '/' between as in "home/anna", at most LIBPOOL_NAME_MAX bytes in all. What a dataset is created in must exist.
 *
 * Gives a dataset another name, or a place in another file system, or both; what lies in it goes along. -EEXIST; -ENOENT, also when
 * there is no file system to put it into; -EINVAL for a place in itself; -LIBPOOL_EINUSE while it, or anything in it, is open.
 * A crash keeps it as a whole or not at all.
 */
LIBPOOL_API int libpool_dataset_rename(libpool_pool *pool, const char *from, const char *to, struct libpool_error *error);
/* Whether libpool_dataset_rename would refuse it as things are; changes nothing. */
LIBPOOL_API int libpool_dataset_rename_check(libpool_pool *pool, const char *from, const char *to, struct libpool_error *error);

struct libpool_volume_options {
	size_t size;
	uint64_t volume_bytes;   /* multiple of the block size after rounding up; at most 2^60 */
	uint32_t block_bytes;    /* 4096 to 131072, power of two; 0: 16 KiB */
	const char *compression; /* "off", "auto" (default), "zstd-1" to "zstd-19" */
	uint32_t dry_run;        /* 1: only whether it would be refused as things are; changes nothing */
};
LIBPOOL_API int libpool_volume_create(libpool_pool *pool, const char *name, const struct libpool_volume_options *options, struct libpool_error *error);
/* A volume may grow while it is open: requests wait for the moment it takes, libpool_volume_get_info tells the new size. It
 * shrinks only while nobody has it open (-LIBPOOL_EINUSE, naming who has): what lies beyond the new end is gone. */
LIBPOOL_API int libpool_volume_resize(libpool_pool *pool, const char *name, uint64_t volume_bytes, struct libpool_error *error);
/* Whether libpool_volume_resize would refuse it as things are; changes nothing. */
LIBPOOL_API int libpool_volume_resize_check(libpool_pool *pool, const char *name, uint64_t volume_bytes, struct libpool_error *error);
/* Frees its space in the background. -LIBPOOL_EINUSE while it is open, naming who has it open. */
LIBPOOL_API int libpool_volume_destroy(libpool_pool *pool, const char *name, struct libpool_error *error);
/* Whether libpool_volume_destroy would refuse it as things are; changes nothing. */
LIBPOOL_API int libpool_volume_destroy_check(libpool_pool *pool, const char *name, struct libpool_error *error);

struct libpool_volume_info {
	size_t size;
	char name[LIBPOOL_NAME_MAX + 1];
	uint64_t volume_bytes, used_bytes; /* used: on disk, pointers included, parity apart */
	uint32_t block_bytes, open_count;
	uint64_t created_ns;
	char compression[16];
};
LIBPOOL_API int libpool_volumes(libpool_pool *pool, struct libpool_volume_info **ret_volumes, size_t *ret_count);

/* By name. -ENOENT when there is none. */
LIBPOOL_API int libpool_volume_info(libpool_pool *pool, const char *name, struct libpool_volume_info *ret_info, struct libpool_error *error);

struct libpool_open_options {
	size_t size;
	uint32_t read_only;  /* 1: changes through this handle fail with -EROFS */
	uint32_t exclusive;  /* 1: only while nobody else has it open, and nobody else can open it */
	const char *user;    /* who uses it, for people, as "nbdkit pid 123 export x": at most 255 bytes, without control
			      * characters. Copied. NULL: name and number of the process */
};
/* options NULL: the defaults. A volume can be open several times; -LIBPOOL_EINUSE, naming the user, where one insists on
 * being alone. */
LIBPOOL_API int libpool_volume_open(libpool_pool *pool, const char *name, const struct libpool_open_options *options,
				    libpool_volume **ret_volume, struct libpool_error *error);
LIBPOOL_API int libpool_volume_close(libpool_volume *volume); /* does not flush */

/* Who has what open: one entry for each handle, in the order in which they were opened. */
struct libpool_user {
	size_t size;
	char dataset[LIBPOOL_NAME_MAX + 1];
	char user[LIBPOOL_TEXT_MAX];
	uint64_t since_ns;
	uint32_t read_only, exclusive;
};
LIBPOOL_API int libpool_users(libpool_pool *pool, struct libpool_user **ret_users, size_t *ret_count);

LIBPOOL_API int libpool_volume_get_info(libpool_volume *volume, struct libpool_volume_info *ret_info);

/* Any offset and length within the volume (-EINVAL beyond its end). 0, or the error: nothing of a failed read is valid. */
LIBPOOL_API int libpool_volume_read(libpool_volume *volume, uint64_t offset, size_t length, void *buffer);
/* Atomic for each block in a crash, not for several. -ENOSPC leaves earlier data as it was. */
LIBPOOL_API int libpool_volume_write(libpool_volume *volume, uint64_t offset, size_t length, const void *buffer);
LIBPOOL_API int libpool_volume_zero(libpool_volume *volume, uint64_t offset, uint64_t length); /* reads as zeroes afterwards; frees space */
LIBPOOL_API int libpool_volume_trim(libpool_volume *volume, uint64_t offset, uint64_t length); /* whole blocks inside the range become holes */
/*
 * All writes of this volume that returned before are durable. As a rule that takes one round of writes to the intent log, which
 * flushes at the same time share, and no commit.
 */
LIBPOOL_API int libpool_volume_flush(libpool_volume *volume);
/* Next data or hole at or after offset; *ret_offset is the volume's size when there is none. */
LIBPOOL_API int libpool_volume_seek(libpool_volume *volume, uint64_t offset, int data, uint64_t *ret_offset);

/* ---- Asynchronous requests ------------------------------------------------------------------------------ */

/*
 * Requests go into a queue, and come back as completions in whatever order they end. A queue belongs to a pool and takes requests
 * for all its volumes; a pool can have several. No thread is made for queues or requests.
 *
 * Any thread may submit and reap, also at the same time. Data is copied by the threads that submit (writes) and reap
 * (reads). Memory and iovec array of a request belong to the library from libpool_queue_submit until its completion has been
 * reaped; what is read is there then, not before.
 *
 * Requests that are under way together have no order: who needs one waits for the first before submitting the second.
 * A flush covers the writes whose completions were reaped before it was submitted.
 *
 * Each request that was accepted completes once: when it has ended, with an error at the latest when the disks' deadlines have
 * passed; none can be taken back. libpool_volume_close and libpool_close wait for what is under way (libpool_abandon
 * has it fail); completions can still be reaped afterwards.
 */
typedef struct libpool_queue libpool_queue;

struct libpool_queue_options {
	size_t size;
	uint32_t depth; /* requests under way and completions not yet reaped, together: 1 to 4096; 0: 256 */
	uint64_t bytes; /* the memory that these may move, beyond which nothing is accepted: 0: 64 MiB */
};
/* options NULL: the defaults. */
LIBPOOL_API int libpool_queue_open(libpool_pool *pool, const struct libpool_queue_options *options, libpool_queue **ret_queue, struct libpool_error *error);
/* Waits until what is under way has ended, without beginning what hasn't begun. Completions that were not reaped are lost;
 * the memory of all requests is the caller's again. Threads that wait in libpool_queue_reap return with -ECANCELED. */
LIBPOOL_API void libpool_queue_close(libpool_queue *queue);
/* An eventfd for poll, select or epoll: readable as long as there is something to reap. Not to be read, written or closed. */
LIBPOOL_API int libpool_queue_descriptor(libpool_queue *queue);

enum libpool_operation { LIBPOOL_READ = 1, LIBPOOL_WRITE = 2, LIBPOOL_FLUSH = 3, LIBPOOL_ZERO = 4, LIBPOOL_TRIM = 5 };
#define LIBPOOL_FUA 1u                       /* flag of a write or zero: durable when it completes */
#define LIBPOOL_REQUEST_MAX ((size_t)32 << 20) /* bytes that one read or write may move */

struct iovec;
struct libpool_request {
	size_t size;
	libpool_volume *volume;
	uint32_t operation; /* enum libpool_operation: as the function libpool_volume_... of that name */
	uint32_t flags;     /* LIBPOOL_FUA */
	uint64_t offset, length; /* of a flush both 0 */
	void *buffer;       /* length bytes to read into, or to write from */
	const struct iovec *iov; /* instead of buffer: scattered memory, at least length bytes in all; <sys/uio.h> */
	uint32_t iov_count;
	uint64_t cookie;    /* the caller's: comes back with the completion */
};
/*
 * Hands over `count` requests; the distance between them is the first one's .size. Returns how many were accepted, from the
 * first on, or why the first wasn't:
 *   -EAGAIN   the queue is full (depth or bytes): reap first. One request is always accepted by an empty queue
 *   -EINVAL   a request without sense, or of another pool's volume; -E2BIG more than LIBPOOL_REQUEST_MAX to move
 *   -EROFS    a change through a read-only handle
 *   -ENOMEM; -ENODEV when volume or pool is closed
 * Whether a range lies within the volume is seen when it is worked on: its completion says -EINVAL. Never waits for disks.
 */
LIBPOOL_API int libpool_queue_submit(libpool_queue *queue, const struct libpool_request *requests, size_t count);

struct libpool_completion { /* never changes, so it has no size */
	uint64_t cookie;
	int32_t result;    /* 0 or a negative code */
	uint32_t reserved; /* 0 */
};
/* Takes up to `count` completions, in the order in which they ended; returns their number. Waits for one if there is none,
 * also when nothing is under way, for at most `timeout_ns` (0: not at all; UINT64_MAX: without limit), then returns 0. */
LIBPOOL_API int libpool_queue_reap(libpool_queue *queue, struct libpool_completion *ret_completions, size_t count, uint64_t timeout_ns);

/* Everything that returned before, in all datasets, is durable. */
LIBPOOL_API int libpool_pool_sync(libpool_pool *pool, struct libpool_error *error);

/* ---- File systems --------------------------------------------------------------------------------------- */

/*
 * A file system is a dataset. Its nodes (files, directories, links ...) are named by number: the inode number, never used
 * again, which together with the generation names a node for ever, also after a restart; any call may name any node. Functions that
 * give a node to the caller (lookup, make, link) also hold it, once for each time, until libpool_fs_forget: a held node that loses
 * its last name lives on until then. Calls may come from any number of threads; permissions are the caller's business.
 *
 * What is atomic, also in a crash: every change of names or attributes, and each write of up to one MiB. A crash may leave a larger one
 * up to some point. libpool_fs_sync makes durable what returned before, names included; it is what fsync needs, for any node.
 *
 * Names are 1 to 255 bytes without '/'; "." and ".." have no meaning here (-EINVAL). Errors are those of the system calls of the same
 * name; -ESTALE: there is no such node (any more).
 */
typedef struct libpool_fs libpool_fs;

#define LIBPOOL_FS_ROOT UINT64_C(16) /* the root directory's number */
#define LIBPOOL_FS_LINK_MAX 4095     /* bytes of a symbolic link's target */

struct libpool_fs_options {
	size_t size;
	uint32_t record_bytes;   /* 4096 to 1048576, power of two; 0: by the use of each file */
	const char *compression; /* as of volumes */
	uint32_t mode, uid, gid; /* of the root directory; mode 0: 0755 */
	uint32_t dry_run;        /* as of volumes */
	/* How names are compared, for ever; NULL or "": as bytes, whatever they are. Else they are UTF-8 (-EILSEQ), and stay as they are given. */
	const char *casesensitivity; /* "sensitive"; "insensitive": case doesn't count */
	const char *normalization;   /* "none"; "formD": neither do other spellings of the same characters; "formKD": nor compatible ones */
};
LIBPOOL_API int libpool_fs_create(libpool_pool *pool, const char *name, const struct libpool_fs_options *options, struct libpool_error *error);
struct libpool_fs_destroy_options {
	size_t size;
	uint32_t recursive; /* 1: with all datasets in it, at once */
	uint32_t dry_run;   /* 1: only whether it would be refused as things are; changes nothing */
};
/*
 * Frees its space in the background. -LIBPOOL_EINUSE while it is open; -EBUSY when there are datasets in it, unless `recursive`.
 * options NULL: the defaults.
 */
LIBPOOL_API int libpool_fs_destroy(libpool_pool *pool, const char *name, const struct libpool_fs_destroy_options *options, struct libpool_error *error);

struct libpool_fs_info {
	size_t size;
	char name[LIBPOOL_NAME_MAX + 1];
	uint8_t guid[LIBPOOL_GUID_SIZE]; /* stays the same: for handles that outlive processes */
	uint64_t used_bytes;             /* on disk, parity apart, as of the last commit: with what lies in it, and what is reserved there */
	uint32_t record_bytes;           /* 0: by the use of each file */
	uint32_t open_count;
	uint64_t created_ns;
	char compression[16];
	uint64_t referenced_bytes;       /* its own share of used_bytes */
	uint64_t available_bytes;        /* what can still be written to it, within all quotas and what others have reserved */
	uint64_t quota_bytes, refquota_bytes, reservation_bytes; /* the properties; 0: none */
};
LIBPOOL_API int libpool_filesystems(libpool_pool *pool, struct libpool_fs_info **ret_infos, size_t *ret_count);

/*
 * What users, groups and projects have in a file system, and their limits: all that have something or a limit, by kind and number.
 * Space counts for the owner of a node, as of the last commit: content on disk without parity, pointers, extended attributes.
 */
enum libpool_owner_kind { LIBPOOL_OWNER_USER = 0, LIBPOOL_OWNER_GROUP = 1, LIBPOOL_OWNER_PROJECT = 2 };
struct libpool_owner {
	size_t size;
	uint32_t kind, id;                 /* enum libpool_owner_kind */
	uint64_t used_bytes, used_nodes;
	uint64_t quota_bytes, quota_nodes; /* 0: none; see libpool_property_get */
};
LIBPOOL_API int libpool_owners(libpool_pool *pool, const char *name, struct libpool_owner **ret_owners, size_t *ret_count, struct libpool_error *error);

/* One handle at a time: -LIBPOOL_EINUSE. What a crash left without a name is freed. options: `user`, `read_only`. */
LIBPOOL_API int libpool_fs_open(libpool_pool *pool, const char *name, const struct libpool_open_options *options, libpool_fs **ret_fs, struct libpool_error *error);
/* Changes through this handle fail with -EROFS from now on, or no longer do: -EROFS where the pool is read-only. Reads then leave times of
 * access alone. What is under way isn't waited for. */
LIBPOOL_API int libpool_fs_set_read_only(libpool_fs *fs, int read_only);
/* Nodes still held are let go. No call on it may be running, or follow. */
LIBPOOL_API int libpool_fs_close(libpool_fs *fs);

struct libpool_time {
	int64_t seconds; /* since 1970, may be negative */
	uint32_t nanoseconds, reserved;
};

struct libpool_attributes {
	size_t size;
	uint64_t node, generation;
	uint64_t length, blocks; /* blocks: of 512 bytes, on disk; what isn't yet counts as if it weren't compressed */
	uint64_t changes;        /* grows with every change of content or attributes */
	uint32_t mode, links, uid, gid, project;
	uint32_t device_major, device_minor;
	uint32_t block_bytes;    /* that suits reading and writing */
	struct libpool_time access, modify, change, birth;
	uint32_t unsettled, reserved; /* 1: `blocks` changes with a later commit, though nobody changes the node */
};

/* In all functions below ret_attributes may be NULL where the node isn't new to the caller. */
LIBPOOL_API int libpool_fs_lookup(libpool_fs *fs, uint64_t directory, const char *name, struct libpool_attributes *ret_attributes);
/* The directory above; the root's is itself. Holds it. */
LIBPOOL_API int libpool_fs_parent(libpool_fs *fs, uint64_t directory, struct libpool_attributes *ret_attributes);
LIBPOOL_API int libpool_fs_forget(libpool_fs *fs, uint64_t node, uint64_t count);
/* As a lookup of a node by its number. */
LIBPOOL_API int libpool_fs_hold(libpool_fs *fs, uint64_t node, struct libpool_attributes *ret_attributes);
/* The numbers of all nodes that are held, in no order; the caller frees them with libpool_free. */
LIBPOOL_API int libpool_fs_held(libpool_fs *fs, uint64_t **ret_nodes, size_t *ret_count);
/* Doesn't hold. */
LIBPOOL_API int libpool_fs_get(libpool_fs *fs, uint64_t node, struct libpool_attributes *ret_attributes);

enum {
	LIBPOOL_SET_MODE = 1, LIBPOOL_SET_UID = 2, LIBPOOL_SET_GID = 4, LIBPOOL_SET_LENGTH = 8, LIBPOOL_SET_ACCESS = 16, LIBPOOL_SET_MODIFY = 32,
	LIBPOOL_SET_CHANGE = 64, LIBPOOL_SET_BIRTH = 128, LIBPOOL_SET_PROJECT = 256,
	LIBPOOL_SET_DROP_SETID = 512 /* by somebody whose changes drop set-id bits */
};
struct libpool_set {
	size_t size;
	uint32_t what; /* LIBPOOL_SET_, any of them in one step */
	uint32_t mode, uid, gid, project;
	uint64_t length;
	struct libpool_time access, modify, change, birth;
};
LIBPOOL_API int libpool_fs_set(libpool_fs *fs, uint64_t node, const struct libpool_set *set, struct libpool_attributes *ret_attributes);

struct libpool_new {
	size_t size;
	uint32_t mode;      /* type and permissions */
	uint32_t umask;     /* applies unless the directory has a default access control list */
	uint32_t uid, gid;
	uint32_t device_major, device_minor;
	const char *target; /* of a symbolic link */
};
LIBPOOL_API int libpool_fs_make(libpool_fs *fs, uint64_t directory, const char *name, const struct libpool_new *options, struct libpool_attributes *ret_attributes);
/* A file without a name, which libpool_fs_link may give it. */
LIBPOOL_API int libpool_fs_make_unnamed(libpool_fs *fs, uint64_t directory, const struct libpool_new *options, struct libpool_attributes *ret_attributes);
LIBPOOL_API int libpool_fs_link(libpool_fs *fs, uint64_t node, uint64_t directory, const char *name, struct libpool_attributes *ret_attributes);
LIBPOOL_API int libpool_fs_unlink(libpool_fs *fs, uint64_t directory, const char *name);
LIBPOOL_API int libpool_fs_rmdir(libpool_fs *fs, uint64_t directory, const char *name);
enum { LIBPOOL_RENAME_NOREPLACE = 1, LIBPOOL_RENAME_EXCHANGE = 2 };
LIBPOOL_API int libpool_fs_rename(libpool_fs *fs, uint64_t directory, const char *name, uint64_t new_directory, const char *new_name, uint32_t flags);
/* ret_target has room for LIBPOOL_FS_LINK_MAX + 1 bytes. */
LIBPOOL_API int libpool_fs_readlink(libpool_fs *fs, uint64_t node, char *ret_target);

struct libpool_entry {
	size_t size;
	uint64_t cookie;          /* goes on behind this entry; below 2^63, stable for the life of the entry */
	uint64_t node;
	uint32_t type;            /* mode & S_IFMT */
	uint32_t held;            /* 1: with_attributes, and the node was there: attributes are valid, and it is held */
	struct libpool_attributes attributes;
	char name[LIBPOOL_NAME_MAX + 1];
};
/* Up to `count` entries behind `cookie` (0: from the beginning; 1 and 2 are left to the caller's "." and ".."), into the caller's array;
 * their number, 0 at the end. What is there all the time comes exactly once. */
LIBPOOL_API int libpool_fs_readdir(libpool_fs *fs, uint64_t directory, uint64_t cookie, int with_attributes, struct libpool_entry *entries, size_t count);

/* Bytes read: fewer than asked for only at the end. Updates the time of access as relatime does. */
LIBPOOL_API int64_t libpool_fs_read(libpool_fs *fs, uint64_t node, uint64_t offset, size_t length, void *buffer);
enum { LIBPOOL_WRITE_DROP_SETID = 1, LIBPOOL_WRITE_APPEND = 2 };
/* Bytes written: fewer than asked for when an error came in between. -ENOSPC, also when others have reserved what is left; -EDQUOT when
 * it would exceed a quota; -EFBIG beyond 2^60. What was there stays as it was. */
LIBPOOL_API int64_t libpool_fs_write(libpool_fs *fs, uint64_t node, uint64_t offset, size_t length, const void *buffer, uint32_t flags);
/* mode as of fallocate(2): 0, KEEP_SIZE, PUNCH_HOLE | KEEP_SIZE, ZERO_RANGE; others are -EOPNOTSUPP. No space is set aside. */
LIBPOOL_API int libpool_fs_allocate(libpool_fs *fs, uint64_t node, int mode, uint64_t offset, uint64_t length, uint32_t flags);
LIBPOOL_API int libpool_fs_seek(libpool_fs *fs, uint64_t node, uint64_t offset, int data, uint64_t *ret_offset);
/* Bytes copied; whole records without going through memory of the caller's, and holes stay holes. */
LIBPOOL_API int64_t libpool_fs_copy(libpool_fs *fs, uint64_t from, uint64_t from_offset, uint64_t to, uint64_t to_offset, uint64_t length, uint32_t flags);

/* Values up to 64 KiB, of any name of up to 255 bytes. system.posix_acl_access and _default are checked and keep the mode in step. */
enum { LIBPOOL_XATTR_CREATE = 1, LIBPOOL_XATTR_REPLACE = 2 };
LIBPOOL_API int libpool_fs_setxattr(libpool_fs *fs, uint64_t node, const char *name, const void *value, size_t length, uint32_t flags);
/* The length; with capacity 0 nothing else. -ERANGE, -ENODATA. */
LIBPOOL_API int64_t libpool_fs_getxattr(libpool_fs *fs, uint64_t node, const char *name, void *value, size_t capacity);
LIBPOOL_API int64_t libpool_fs_listxattr(libpool_fs *fs, uint64_t node, char *names, size_t capacity);
LIBPOOL_API int libpool_fs_removexattr(libpool_fs *fs, uint64_t node, const char *name);

LIBPOOL_API int libpool_fs_sync(libpool_fs *fs);

struct libpool_fs_space {
	size_t size;
	uint64_t total_bytes, free_bytes, used_bytes; /* total = used by this file system + free; free: within its quotas */
	uint64_t nodes;
};
LIBPOOL_API int libpool_fs_space(libpool_fs *fs, struct libpool_fs_space *ret_space);

/* ---- Checking ------------------------------------------------------------------------------------------- */

struct libpool_verify_result {
	size_t size;
	uint64_t blocks_checked, cells_checked, rows_checked;
	uint64_t violations;         /* broken invariants */
	uint64_t damaged_blocks;
	char first[LIBPOOL_TEXT_MAX * 2]; /* the first violation, for people */
};
struct libpool_verify_options {
	size_t size;
	/* Asked now and then by the engine's thread, so it returns at once; not 0: the verification ends with -ECANCELED. NULL: it
	 * ends with its work, or when the pool is closed. */
	int (*is_cancelled)(void *argument);
	void *argument;
};
/* The checkers: reachable blocks equal the live bitmaps, summaries and checksums hold, parity holds in every live row ... Reads
 * everything. Commits, and what waits for them, stand still while it walks the trees. options may be NULL. */
LIBPOOL_API int libpool_verify(libpool_pool *pool, const struct libpool_verify_options *options, struct libpool_verify_result *ret_result,
			       struct libpool_error *error);

/* ---- Control: the pool and other processes --------------------------------------------------------------- */

/* A thread that answers other processes, poolctl first of all, over a Unix socket: they see and steer the pool as this process
 * could. docs/json.md describes the protocol. Nothing that a client does blocks another one, the caller, or the pool for longer
 * than the call that it asks for; memory and number of clients are bounded. Clients of root and of this process's user are
 * served, others are told no. */
typedef struct libpool_control libpool_control;

/* What a client asks of a program that mounts file systems: the library only passes it on. */
struct libpool_mount_request {
	size_t size;
	const char *dataset;   /* with all file systems in it, beneath; "": all of the pool */
	const char *directory; /* an absolute path */
	const char *options;   /* as of mount(8), or NULL */
};

struct libpool_control_options {
	size_t size;
	const char *path;      /* of the socket; NULL: the pool's id and ".sock" in libpool_control_folder; "": none, only what
				* is handed to libpool_control_attach is served */
	const uint32_t *users; /* user ids that are served beside root and the own one; the socket's mode is 0600 without, 0666 with them */
	size_t user_count;
	/* A client asks for the pool to be exported, and nothing is in the way. Called from a thread of the server; returns soon, and
	 * sees that libpool_control_close is called (by another thread). NULL: export is refused. */
	void (*export_asked)(void *argument);
	void *argument;
	/* A client asks for file systems to be mounted, or unmounted. Called from threads of the server, several at a time; the call
	 * ends when it is done. The number of mounts, or a negative code with a text; *ret_last 1: the pool is exported now, as nothing
	 * is mounted any more. NULL: refused. */
	int (*mount)(void *argument, const struct libpool_mount_request *request, struct libpool_error *error);
	int (*unmount)(void *argument, const char *directory, uint32_t *ret_last, struct libpool_error *error);
	/* A client has set properties, and is told so when this has returned. Called from threads of the server. May be NULL. */
	void (*properties_set)(void *argument);
};
/* Creates folder and socket. A socket that nobody listens to any more is replaced; anything else at its path is left alone, and
 * -EADDRINUSE or -EEXIST returned. The pool must stay open until libpool_control_stop or libpool_control_close. */
LIBPOOL_API int libpool_serve_control(libpool_pool *pool, const struct libpool_control_options *options, libpool_control **ret_control,
				      struct libpool_error *error);
/* Serves one more client, at the other end of a connected Unix stream socket. The descriptor belongs to the library in any case. */
LIBPOOL_API int libpool_control_attach(libpool_control *control, int descriptor);
/* Ends the server: what clients are waiting for is cancelled, their connections end, the socket is removed. The pool stays open. */
LIBPOOL_API void libpool_control_stop(libpool_control *control);
/* The same, and closes the pool as libpool_close does; clients that asked for the export are told what came of it. */
LIBPOOL_API int libpool_control_close(libpool_control *control, struct libpool_error *error);
/* Where sockets are: $LIBPOOL_RUN_PATH, or /run/libpool for root, or $XDG_RUNTIME_DIR/libpool. -ENOENT: nowhere; -ENAMETOOLONG. */
LIBPOOL_API int libpool_control_folder(char *ret_folder, size_t room, struct libpool_error *error);

/* struct libpool_host host = LIBPOOL_INIT(libpool_host); */
#ifdef __cplusplus
#define LIBPOOL_INIT(type) libpool_sized<struct type>()
#else
#define LIBPOOL_INIT(type) { .size = sizeof(struct type) }
#endif
/* Element i of a returned array of struct type: see Memory above. */
#define LIBPOOL_ELEMENT(type, array, i) ((struct type *)(void *)((char *)(array) + (size_t)(i) * (array)->size))

#ifdef __cplusplus
}

template <typename type> static inline type libpool_sized()
{
	type object = type();
	object.size = sizeof(type);
	return object;
}
#endif

#endif
