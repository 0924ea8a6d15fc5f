/* What the files of the fiber side share. Nothing outside pool/ includes this. */
#ifndef LIBPOOL_POOL_INTERNAL_H
#define LIBPOOL_POOL_INTERNAL_H

#include "libpool/base/array.h"
#include "libpool/pool/engine.h"
#include "libpool/pool/records.h"

#define ENGINE_EVENTS_MAX 1000u        /* kept in RAM */
#define ENGINE_HISTORY_MAX 10000u      /* entries of MOS_HISTORY */
#define ENGINE_EVENTS_PERSISTED 1000u  /* events of one import that go into it */
#define ENGINE_DAMAGE_MAX 10000u       /* entries of the damage list */
#define ENGINE_SMALL_CELLS 16u         /* what a transaction on one small record of the MOS reserves */

struct jobs;

/* One unreadable block. */
struct damage_entry {
	struct damage_record record;
	bool stored;    /* MOS_DAMAGE has it */
	bool gone;      /* cleared: to be deleted from MOS_DAMAGE, then from here */
	bool announced; /* an event told of it */
};

/* What the watch knows of an open disk. */
struct watched_disk {
	struct guid guid;    /* of the disk of which this is true */
	unsigned rounds;     /* in a row in which it seemed lost */
	const char *leaving; /* not NULL: why it will be gone when it is closed; the pool can't do without it, so it is in use still */
};

/* Cells since the import, after a commit. */
struct amplification_sample {
	uint64_t time_ns, placed_cells, data_cells, moved_cells;
};
#define AMPLIFICATION_SAMPLES 14u /* one in 5 s, for more than a minute */

struct engine {
	const struct engine_host *host;
	struct rt *rt;
	struct disk_provider *provider;
	struct core *core;
	struct datasets *datasets;
	bool stopping, hurried;
	bool rehearses; /* imported for a dry run: writes are only checked */
	bool no_verify; /* of what the last commits before an unclean stop wrote */
	uint64_t imported_ns;
	uint64_t cache_limit_host; /* what the host allows */
	uint64_t cache_limit;      /* what is in force */

	/* Background fibers; export waits for them. */
	struct rt_group fibers;

	/* The keeper carries what was noted without waiting (events, damage, paths of disks) to the MOS. */
	struct rt_queue keeper_wake;
	bool keeper_asked;
	struct rt_queue watch_wake; /* at the end */
	bool watch_ends;
	struct watched_disk watched[DISKS_MAX];

	/* One sequence for events and history. */
	uint64_t sequence;
	struct array events;      /* struct libpool_event, a ring of at most ENGINE_EVENTS_MAX */
	size_t events_next;       /* where the next one goes once the ring is full */
	uint64_t events_stored;   /* up to this sequence they are in MOS_HISTORY, or need not be */
	unsigned events_persisted;
	struct rt_mutex history_lock;
	bool history_counted;
	uint64_t history_count;

	struct amplification_sample amplification[AMPLIFICATION_SAMPLES]; /* a ring; time 0: none */
	unsigned amplification_next; /* the newest one */
	unsigned space_level;     /* how many of the levels of filling have been told */
	uint64_t free_segments, deferred_aus; /* as of the last commit */

	struct array damage;      /* struct damage_entry */
	bool damage_dirty;
	uint64_t damage_lost;     /* reports beyond ENGINE_DAMAGE_MAX */

	char *paths[DISKS_MAX];   /* last known, by disk index; NULL: none */
	bool paths_dirty;
	bool counters_loaded;
	uint64_t overdue_before[DISKS_MAX];  /* of earlier imports */
	uint64_t overdue_cleared[DISKS_MAX]; /* what the open disk had counted when it was cleared */
	struct rt_mutex disks_lock; /* one change of the set of disks at a time */

	struct jobs *jobs;

	struct rt_queue trim_wake;
	bool autotrim, trim_asked;

	struct list users;            /* struct engine_user */
	struct rt_mutex volumes_lock; /* opening, and what is refused while something is open */
	bool retired;                 /* nothing can be opened any more */
};

/* ---- engine_import.c, engine_export.c ---- */

/* Starts a background fiber that export waits for. */
int engine_spawn(struct engine *engine, const char *name, fiber_function *function, void *argument);
/* Frees the struct and what it holds in RAM; all background fibers have ended. */
void engine_free(struct engine *engine);
/* Ends the background fibers; what they were doing is saved where that is possible. */
void engine_stop_background(struct engine *engine);

/* ---- engine_keeper.c ---- */

int keeper_start(struct engine *engine);
void keeper_ask(struct engine *engine);

/* ---- engine_watch.c ---- */

int disks_watch_start(struct engine *engine);
/* Why an open disk will be gone when it is closed, which the pool can't do without; NULL: it won't. */
const char *disks_leaving(struct engine *engine, unsigned index);
/* Asks now whether an open disk will be gone when it is closed: why, or NULL. Waits. */
const char *disks_lost(struct engine *engine, unsigned index);
/* Whether the MOS can be changed now. */
bool engine_is_writable(struct engine *engine);
/* One put (or with value NULL: delete) in a transaction of its own. */
int engine_mos_put(struct engine *engine, unsigned object, const void *key, size_t key_length, const void *value,
		   size_t value_length);
/* What was noted goes to the MOS. Errors are left for the next time. */
void events_store(struct engine *engine);
void damage_store(struct engine *engine);
void paths_store(struct engine *engine);

/* ---- engine_history.c ---- */

/* Finds where the sequence goes on. */
int history_load(struct engine *engine);
/* The first entry of an empty history. */
void history_note_creation(struct engine *engine);
int history_put(struct engine *engine, uint64_t sequence, const void *record, size_t length);
/* Appends the events that it has with after < sequence < before. */
int history_events(struct engine *engine, uint64_t after, uint64_t before, struct array *events);

/* ---- engine_events.c ---- */

void engine_eventf(struct engine *engine, unsigned severity, const char *kind, const char *object, const char *format, ...)
	__attribute__((format(printf, 5, 6)));
void events_attach(struct engine *engine); /* to the store's callback */

/* ---- engine_space.c ---- */

void space_attach(struct engine *engine); /* to the core's commits */

/* ---- engine_amplification.c ---- */

void amplification_note(struct engine *engine); /* after a commit */
void amplification_fill(struct engine *engine, struct libpool_pool_info *info);

/* ---- engine_trim.c ---- */

int autotrim_start(struct engine *engine);
void autotrim_ask(struct engine *engine); /* after a commit, and at the end; doesn't wait */
void autotrim_set(struct engine *engine, bool on);

/* ---- engine_damage.c ---- */

int damage_load(struct engine *engine);
void damage_attach(struct engine *engine); /* to the block layer's callback */
/* Notes a block that can't be read (error < 0), or that it can be again. Never waits. */
void damage_report(struct engine *engine, const struct block_pointer *pointer, const struct block_owner *owner, int error);
/* After a scrub: tries to read each entry again; what can be read is no damage any more. Waits. */
void damage_recheck(struct engine *engine, bool scrub_was_clean);
void damage_clear_all(struct engine *engine);
size_t damage_count(const struct engine *engine);
/* engine_damage_path.c: "" where there is none. Wait. */
void damage_find_path(struct engine *engine, struct libpool_damage *damage);
void damage_find_paths(struct engine *engine, struct libpool_damage *damage, size_t count);

/* ---- engine_paths.c ---- */

int paths_load(struct engine *engine);
/* "disk" 0 guid 0 and what of it (4 letters): keys of MOS_PROPERTIES about one disk. */
#define DISK_KEY_SIZE (5 + 32 + 1 + 4)
size_t disk_key(const struct guid *guid, const char *what, char *ret_key);
/* For core_create: the paths by which the disks were given, as the first import would note them. */
int paths_create(void *argument, struct core *core, uint64_t txg);
/* Fills what is known from the open disks; asks the keeper when something is new. */
void paths_note(struct engine *engine);
const char *engine_disk_path(struct engine *engine, unsigned index); /* "" if unknown */
/* For people: the path, else "#3". */
void engine_disk_text(struct engine *engine, unsigned index, char *ret_text, size_t size);
/* A configured disk by path, last path, guid in hex or "#index". -ENOENT with a text. */
int engine_disk_find(struct engine *engine, const char *text, unsigned *ret_index, struct pool_error *error);

/* ---- engine_counters.c ---- */

int counters_load(struct engine *engine);
/* Those that differ from what is stored. */
void counters_store(struct engine *engine);
void counters_clear(struct engine *engine, unsigned index);
uint64_t counters_overdue(struct engine *engine, unsigned index);

/* ---- engine_disks.c ---- */

/* 0, or -EROFS, -POOL_EHALTED with a text. */
int disks_check_writable(struct engine *engine, struct pool_error *error);
/* The same for a change or a dry run: that may be asked of a read-only import, as the next one may write. */
int disks_check_writable_for(struct engine *engine, bool dry_run, struct pool_error *error);
/* Configured, open and ONLINE. */
bool disks_is_log(struct engine *engine, unsigned index);
struct new_disk;
/* It was to pass to the pool: if it has, also where a commit failed after that, the core closes it. */
void disks_note_joined(struct engine *engine, struct new_disk *new);
/* After an import: what it has given up of the log. */
void log_loss_tell(struct engine *engine);
bool disks_is_good(struct engine *engine, unsigned index);
/* Whether every row could still be read. */
bool disks_survive_without(struct engine *engine, unsigned index);
const char *disks_pool_name(struct engine *engine);

/* ---- guid.c ---- */

#define GUID_TEXT_SIZE 33u
void guid_format(const struct guid *guid, char ret_text[GUID_TEXT_SIZE]);
bool guid_parse(const char *text, struct guid *ret_guid); /* 32 hex digits, dashes are skipped */
static inline bool guid_equal(const struct guid *a, const struct guid *b)
{
	for (int i = 0; i < 16; i++)
		if (a->bytes[i] != b->bytes[i])
			return false;
	return true;
}

/* ---- engine_property.c ---- */

/* The value of a pool's property, or its default. */
int property_get(struct engine *engine, const char *name, char ret_value[LIBPOOL_TEXT_MAX]);
int property_load(struct engine *engine); /* applies those that have an effect here */

/* ---- engine_owners.c: properties such as userquota@1000 ---- */

bool owner_property_is(const char *name);
int owner_property_get(struct engine *engine, const struct dataset_record *record, const char *name, struct libpool_property *ret_property,
		       struct pool_error *error);
int owner_property_set(struct engine *engine, const struct dataset_record *record, const char *name, const char *value, bool check_only,
		       struct pool_error *error);

/* ---- jobs.c, engine_jobs.c, engine_last_commits.c ---- */

/* For core_import's first commit: a verification of what the last commits wrote, which jobs_open starts. */
void jobs_note_verification(void *argument, struct core *core);
int jobs_open(struct engine *engine);  /* loads what was running and starts it again */
void jobs_stop(struct engine *engine); /* saves cursors, waits for the fibers */
void jobs_free(struct engine *engine);
/* A disk came back, or segments lack columns: starts what is due. */
void jobs_kick(struct engine *engine);
void jobs_set_scrub_rate(struct engine *engine, uint64_t bytes_per_second);
/* Rebuilds every column of `from`; then the disk leaves the pool. `to` is preferred. */
int jobs_replace(struct engine *engine, unsigned from, unsigned to, struct pool_error *error);
int jobs_resync(struct engine *engine, unsigned index, struct pool_error *error);
/* Ends a resync of this disk, if there is one, and waits for that. */
void jobs_cancel_resync(struct engine *engine, unsigned index);
/* Whether a rebuild that empties this disk (DISK_ABSENT: any disk) is under way, or goes on at the next import. */
bool jobs_replacing(struct engine *engine, unsigned index);

#endif
