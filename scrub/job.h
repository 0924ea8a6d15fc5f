/*
 * A job: scrub, rebuild, resync, verification or trim, as the pool layer starts, shows, stops and keeps it.
 *
 * The functions of scrub.h run in a fiber that the pool layer spawns, and return when the job has ended, was
 * cancelled, or can't go on. What must always hold: a job holds no pin on a segment while it sleeps or is paused;
 * cancel and pause take effect within one segment; what a job has done is never lost by stopping it. A scrub goes on at
 * its cursor; the progress of a rebuild is the segment table, that of a resync stale_from.
 */
#ifndef SCRUB_JOB_H
#define SCRUB_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "libpool/base/array.h"
#include "libpool/format/summary.h"
#include "libpool/store/store.h"

enum job_kind { JOB_SCRUB = 1, JOB_REBUILD = 2, JOB_RESYNC = 3, JOB_VERIFY = 4, JOB_TRIM = 5 };
enum job_state { JOB_RUNNING = 1, JOB_PAUSED = 2, JOB_FINISHED = 3, JOB_CANCELLED = 4, JOB_FAILED = 5 };

/* How far it is is saved after so many segments, but no more often than this: a commit takes that along, and there is one every few seconds. */
#define JOB_SAVE_SEGMENTS 64u
#define JOB_SAVE_NS NS_PER_S

struct job {
	/* Kept across imports. */
	uint64_t id;
	uint8_t kind, state;
	bool deep;                 /* scrub: walk all trees too, when the cells are done */
	uint16_t disk;             /* rebuild: every column leaves this disk; resync: the one that returns; trim: only this one; DISK_ABSENT: none */
	uint16_t target;           /* rebuild: where columns go if there is room; DISK_ABSENT: anywhere */
	uint32_t cursor;           /* scrub, verification: segments below are done */
	uint64_t first_txg, last_txg; /* verification: of the batches that are looked at */
	uint64_t bytes_per_second; /* throttle; 0: none */
	uint64_t total_bytes, done_bytes;
	uint64_t errors_found;     /* cells: wrong or unreadable, or (rebuild) that could not be made */
	uint64_t cells_repaired, cells_unrepaired;
	uint64_t unchecked;        /* scrub, verification: cells that no disk has which is there and answers; trim: free ones that are spoken for */
	uint16_t disks_left_out;   /* trim: that can't be trimmed, or failed */
	uint64_t started_ns, ended_ns; /* real time */

	/* Of this run. */
	bool pause_requested, cancel_requested; /* by job_pause and job_cancel */
	struct rt_queue wake;
	uint64_t throttle_ns;      /* monotonic: what is done so far is paid for by then */
	uint64_t rate_ns, rate_done, rate; /* sampled */
	unsigned unsaved;          /* segments since the last save */
	uint64_t saved_ns;         /* monotonic: when that was, or when it began */
	int error;                 /* why it FAILED */
	struct array *told;        /* uint64_t: addresses of lost blocks that the host was told of; NULL: not kept */
};

/* A block, or parity of a row, that is lost: more of its row is wrong than there is parity. */
struct job_damage {
	uint32_t segment;
	uint16_t row;
	uint8_t column;
	uint64_t place;                    /* txg of the batch */
	uint64_t dva;                      /* of the block; 0: unknown */
	const struct summary_block *block; /* its owner as the summary names it; NULL: unknown, or no block's */
};

struct verify_hooks;
struct verify_result;

/* What a job needs from the pool around it. Callbacks run in the job's fibers, may wait, and may be NULL but for commit and committed. */
struct core_log_repair;
struct core_trimmed;

struct job_host {
	struct rt *rt;
	struct store *store;
	void *argument;
	int (*commit)(void *argument);         /* a whole commit, even if nothing is dirty */
	uint64_t (*committed)(void *argument); /* the last committed txg */
	int (*save)(void *argument, const struct job *job);
	/*
	 * verify_pool_blocks for the pool: the walk of a deep scrub, and of one that met batches without summary. Without
	 * it a scrub looks at cells only.
	 */
	int (*verify)(void *argument, const struct job *job, unsigned what, const struct verify_hooks *hooks,
		      struct verify_result *ret_result);
	/* core_check_areas for the pool: what a scrub looks at beside the cells. */
	int (*areas)(void *argument, unsigned *ret_wrong, unsigned *ret_healed);
	/* core_check_label_areas for the pool: the same for a verification. */
	int (*label_areas)(void *argument, unsigned *ret_wrong, unsigned *ret_healed);
	int (*repair_log)(void *argument, uint32_t segment, struct core_log_repair *ret_repair); /* core_log_repair; NULL: there is no log */
	/* core_trim and core_trim_left for the pool, of all that is free; only for trims. */
	int (*trim)(void *argument, unsigned disk, uint32_t from, uint64_t bytes_max, struct core_trimmed *ret_trimmed);
	uint64_t (*trim_left)(void *argument, unsigned disk);
	void (*damage)(void *argument, const struct job_damage *damage);
	/* A verification: cells of batches whose commit was durable that were not on this disk. */
	void (*missing)(void *argument, unsigned disk, uint64_t cells);
	void (*event)(void *argument, const struct job *job, const char *text);
	size_t blocks_max; /* of batches without summary that are remembered at a time, in cells; 0: 131072 */
};

struct core;
/* commit and committed as the core has them; the rest stays as it is. */
void job_host_init(struct job_host *host, struct core *core);

/* A new job, not started; what isn't given is zero or DISK_ABSENT. */
void job_init(struct job *job, uint64_t id, enum job_kind kind);
void job_pause(struct job *job, struct rt *rt);
void job_resume(struct job *job, struct rt *rt);
void job_cancel(struct job *job, struct rt *rt);
/* Bytes per second now, and the time to go (0: unknown). */
uint64_t job_rate(struct job *job, struct rt *rt);
uint64_t job_eta_ns(struct job *job, struct rt *rt);

/*
 * The persistent form: a value of the MOS_JOBS tree, little endian. Key: id, u64 big endian.
 * Decoding gives a job that isn't running: RUNNING is kept as state, for the pool layer to start it again.
 */
#define JOB_KEY_SIZE 8u
#define JOB_RECORD_SIZE 128u
#define JOB_RECORD_VERSION 1u
void job_key_encode(uint64_t id, uint8_t *ret_key);
void job_encode(const struct job *job, uint8_t *ret_raw);
/* 0 or -POOL_EFORMAT. */
int job_decode(const uint8_t *key, size_t key_size, const uint8_t *raw, size_t size, struct job *ret_job);

#endif
