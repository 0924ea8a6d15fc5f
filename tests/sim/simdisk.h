/*
 * Simulated disks: a set that survives power cuts, and a disk_provider over it for each boot.
 *
 * Each disk keeps what is durable apart from what its cache holds (writes since the last flush, in order)
 * and from what is in flight. Reads see the cache. A flush makes durable what had completed when the flush was
 * submitted; a FUA write is durable when done. A power cut keeps any subset of the rest, torn at cells or
 * at 512 bytes. Every fault of the atlas can be scripted (sim_disk_fault) or drawn at a rate (disk->rates).
 *
 *	struct sim_disks *set = sim_disks_new(seed);
 *	sim_disks_add(set, UINT64_C(1) << 30);                 ("sim:0", and so on)
 *	struct disk_provider *provider = sim_disks_provider(set, sim, rt);
 *	... rt_run ...                                         (with sim_disks_cut_at(set, n) it ends at the n-th write or flush)
 *	sim_disks_provider_free(provider);                     (before rt_free or rt_abandon; drops locks and handles)
 *	sim_disks_power_cut(set, SIM_CRASH_ANY, &random);      (only after a cut: decides what survives)
 *	... sim_env_reboot, rt_new, the next provider ...
 *
 * Without power cut, freeing the provider is the death of the process: what it wrote stays in the cache.
 */
#ifndef TESTS_SIM_SIMDISK_H
#define TESTS_SIM_SIMDISK_H

#include "libpool/disk/provider.h"
#include "tests/sim/sim_env.h"
#include "tests/sim/sim_storage.h"

#define SIM_DISKS_MAX 512u
#define SIM_SECTOR 512u

/* name, text, applies to (bits of 1 << enum disk_operation), fires at the rate of disk->rates[] */
#define SIM_FAULT_TABLE(X)                                                                                            \
	X(SIM_READ_ERROR, "read error", 1 << DISK_READ)                  /* this time */                              \
	X(SIM_READ_CORRUPT, "corrupt read", 1 << DISK_READ)              /* flipped on the wire */                    \
	X(SIM_READ_MISDIRECTED, "misdirected read", 1 << DISK_READ)                                                   \
	X(SIM_READ_STALE, "stale read", 1 << DISK_READ)                  /* what a cell held before its last write */ \
	X(SIM_WRITE_ERROR, "write error", 1 << DISK_WRITE | 1 << DISK_TRIM) /* any subset of cells written */         \
	X(SIM_WRITE_SHORT, "short write", 1 << DISK_WRITE)               /* a prefix, then an error */                \
	X(SIM_WRITE_LOST, "lost write", 1 << DISK_WRITE)                                                              \
	X(SIM_WRITE_MISDIRECTED, "misdirected write", 1 << DISK_WRITE)                                                \
	X(SIM_FLUSH_ERROR, "flush error", 1 << DISK_FLUSH)               /* half of the time the cache is lost too */ \
	X(SIM_FLUSH_LIE, "flush lie", 1 << DISK_FLUSH | 1 << DISK_WRITE) /* also FUA */                               \
	X(SIM_SLOW, "slow", 15)                                          /* 10 to 1000 times; or `value` times */     \
	X(SIM_HANG, "hang", 15)                                          /* until sim_disk_release_hung */            \
	X(SIM_HANG_LATE, "late", 15)                                     /* 30 to 300 s; or after `value` ns */       \
	X(SIM_ROT, "rot", 0)                                             /* these three: only by their functions */   \
	X(SIM_UNREADABLE, "unreadable", 0)                                                                            \
	X(SIM_VANISH, "vanish", 0)

enum sim_fault {
#define SIM_FAULT_ENUM(name, text, operations) name,
	SIM_FAULT_TABLE(SIM_FAULT_ENUM)
#undef SIM_FAULT_ENUM
	SIM_FAULT_COUNT
};

enum sim_crash_mode {
	SIM_CRASH_NONE,        /* nothing that wasn't durable survives */
	SIM_CRASH_ALL,
	SIM_CRASH_PREFIX,      /* in the order of completion, then what was in flight */
	SIM_CRASH_SUBSET,
	SIM_CRASH_ALL_BUT_ONE,
	SIM_CRASH_ONLY_ONE,
	SIM_CRASH_ANY,         /* each disk draws one of the above */
};

/* The unit that survives whole. */
enum sim_tear { SIM_TEAR_WRITE, SIM_TEAR_CELL, SIM_TEAR_SECTOR, SIM_TEAR_ANY };

struct sim_disks;
struct sim_disk;

struct sim_latency {
	uint64_t io_ns;            /* 80 us */
	uint64_t flush_ns;         /* 200 us */
	uint64_t trim_ns, read_ns; /* 0: as io_ns */
	uint64_t seek_ns;          /* when a transfer doesn't follow the last one; 0 */
	uint64_t bytes_per_second; /* 3 GB/s, shared by all requests in flight */
	unsigned jitter_percent;   /* of io_ns, up or down: decides the order of completion; 50 */
};

struct sim_disk_counters {
	uint64_t reads, writes, flushes, trims; /* that took effect */
	uint64_t bytes_read, bytes_written, fua_writes;
	uint64_t injected[SIM_FAULT_COUNT];
};

struct sim_disk {
	struct sim_disks *set;
	unsigned index;
	char path[16];           /* "sim:3" */
	char serial[32];         /* may be changed */
	uint64_t size;
	bool present, read_only, rotational, fua;
	bool no_trim;            /* refuses them, though it doesn't say so before */
	bool lying;              /* no flush and no FUA write makes anything durable */
	char foreign[128];       /* what probe reports; "" is nothing */
	struct sim_latency latency;
	uint32_t rates[SIM_FAULT_COUNT]; /* per million requests */
	struct sim_disk_counters counters;
	struct sim_disk_state *state; /* private */
};

/* A fault about to be injected, for hooks. */
struct sim_fault_event {
	struct sim_disk *disk;
	enum sim_fault fault;
	enum disk_operation operation;
	uint64_t offset, length;
	uint64_t target; /* of misdirected transfers */
};

struct sim_disks_hooks {
	void *argument;
	/* A request was submitted, in the submitter's stack: to assert what may be written. */
	void (*on_submit)(void *argument, struct sim_disk *disk, const struct disk_io *io);
	/* A write, trim or flush is about to take effect; may call sim_disks_power_off, then it doesn't. */
	void (*on_apply)(void *argument, struct sim_disk *disk, enum disk_operation operation, uint64_t offset,
			 uint64_t length);
	/* Whether a fault drawn at a rate may happen: the budget of a "must survive" run. Scripted faults don't ask. */
	bool (*allow_fault)(void *argument, const struct sim_fault_event *event);
};

struct sim_disks {
	uint64_t seed;
	unsigned count;
	struct sim_disk *disks[SIM_DISKS_MAX];
	struct sim_disks_hooks hooks;
	enum sim_tear tear;       /* of power cuts; SIM_TEAR_ANY */
	uint32_t crash_corrupts;  /* per million: a power cut spoils one sector that was being written; 0 */
	bool fail_after_power_off;/* requests fail with -ENODEV, so that fibers unwind; else rt_stop and silence */
	bool check_buffers;       /* abort if a buffer changes while its write is in flight; true */
	FILE *log;                /* NULL: none. One line for each request that ended and each fault */
	/* To be read. */
	bool powered_off;
	uint64_t operations;      /* writes, trims and flushes that took effect, over all disks */
	uint64_t crashes;
	struct sim_store store;
	struct sim_disks_private *private;
};

/* ---- life ---- */

struct sim_disks *sim_disks_new(uint64_t seed);
void sim_disks_free(struct sim_disks *set);
/* A blank disk; size is a multiple of 4096. It is disks[index] and "sim:<index>", index = number of disks before. */
struct sim_disk *sim_disks_add(struct sim_disks *set, uint64_t size);
/* One provider at a time. Turns the power on. */
struct disk_provider *sim_disks_provider(struct sim_disks *set, struct sim_env *sim, struct rt *rt);
/*
 * Disks left open are closed as by the death of the process. Requests still in flight are forgotten: their
 * writes may still reach the disk; released() is called for those of closed disks unless the power is off.
 */
void sim_disks_provider_free(struct disk_provider *provider);

/* ---- power ---- */

/* The power goes off now: nothing takes effect any more, and the rt is stopped (or all requests fail). */
void sim_disks_power_off(struct sim_disks *set);
/* Off just before operation number `operation` (as counted by set->operations, from 0) takes effect; UINT64_MAX: never. */
void sim_disks_cut_at(struct sim_disks *set, uint64_t operation);
/* After the provider was freed: decides which volatile writes survived. Off first, if it isn't yet. */
void sim_disks_power_cut(struct sim_disks *set, enum sim_crash_mode mode, struct sim_random *random);
const char *sim_crash_mode_name(enum sim_crash_mode mode);
/* Cells written but not durable, in flight included. */
uint64_t sim_disk_volatile_cells(const struct sim_disk *disk);
/* True if no volatile or in-flight write overlaps the range. */
bool sim_disk_is_durable(const struct sim_disk *disk, uint64_t offset, uint64_t length);

/* ---- faults ---- */

const char *sim_fault_name(enum sim_fault fault);
/*
 * Scripts a fault: of the requests that it applies to and that overlap the range (length 0: the whole disk), the first
 * `skip` pass and the next `count` suffer. `value`: see the table, 0 is a draw.
 */
void sim_disk_fault(struct sim_disk *disk, enum sim_fault fault, uint64_t offset, uint64_t length, uint64_t skip,
		    uint64_t count, uint64_t value);
/* Forgets scripted faults that haven't fired, and sets all rates to 0. */
void sim_disk_faults_clear(struct sim_disk *disk);
/* Flips bits of one cell, seeded by the disk: 1 to 8 bits, or a whole sector one time in four. */
void sim_disk_rot(struct sim_disk *disk, uint64_t offset);
/* Reads fail until the cells are written. */
void sim_disk_set_unreadable(struct sim_disk *disk, uint64_t offset, uint64_t length);
/* Completes all requests that hang, now: with their effect, or with an error and without. */
void sim_disk_release_hung(struct sim_disk *disk, bool with_effect);
unsigned sim_disk_hung(const struct sim_disk *disk);
/* Who opened it for itself has not closed it, or a request of that time has not ended. */
bool sim_disk_is_held(const struct sim_disk *disk);
/* Every request from now on hangs (until false), and the release lets them go. */
void sim_disk_set_hanging(struct sim_disk *disk, bool hanging);
/* Gone: requests in flight and later ones fail with -ENODEV; of its cache `mode` survives. */
void sim_disk_vanish(struct sim_disk *disk, enum sim_crash_mode mode);
/* Back, for those who open it anew. */
void sim_disk_return(struct sim_disk *disk);
/* New size; what is cut off is lost. Open handles keep their idea of the size. */
void sim_disk_resize(struct sim_disk *disk, uint64_t size);

/* The content as reads see it now, to return to it later ("the disk comes back with old content"). */
struct sim_image *sim_disk_snapshot(struct sim_disk *disk);
void sim_disk_restore(struct sim_disk *disk, const struct sim_image *snapshot);
void sim_snapshot_free(struct sim_image *snapshot);

/* ---- behind the engine's back ---- */

/* Any offset and length. Reads see the cache; writes are durable at once. */
void sim_disk_peek(struct sim_disk *disk, uint64_t offset, void *ret_data, size_t length);
void sim_disk_poke(struct sim_disk *disk, uint64_t offset, const void *data, size_t length);
/* What would be there after a power cut that keeps nothing. */
void sim_disk_peek_durable(struct sim_disk *disk, uint64_t offset, void *ret_data, size_t length);
/* Of the content that reads see: to compare disks and runs. */
uint64_t sim_disk_content_hash(struct sim_disk *disk);

/* To and from a sparse file, the cache included; unreadable cells become garbage, as a file can't refuse them. 0 or negative errno. Load sets the size. */
int sim_disk_save(struct sim_disk *disk, const char *path);
int sim_disk_load(struct sim_disk *disk, const char *path);

#endif
