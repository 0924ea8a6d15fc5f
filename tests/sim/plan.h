/*
 * What a seed means: the pool's geometry, limits that are far too small, and which faults may happen. Drawn
 * once from streams of their own, so that a change in one place doesn't change the plan of all seeds.
 */
#ifndef TESTS_SIM_PLAN_H
#define TESTS_SIM_PLAN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "tests/sim/simdisk.h"

#define PLAN_FILESYSTEMS_MAX 2u
#define PLAN_LANES_MAX 3u
#define PLAN_FILLERS_MAX 3u

/* Faults that leave damage which nobody is told of. */
#define PLAN_SILENT_FAULTS \
	(1u << SIM_WRITE_LOST | 1u << SIM_WRITE_MISDIRECTED | 1u << SIM_FLUSH_LIE | 1u << SIM_ROT | 1u << SIM_UNREADABLE)

struct plan {
	uint64_t seed;
	unsigned disks, k, m, au_shift;
	uint64_t disk_bytes[16];
	bool fua[16], rotational[16];

	uint64_t cache_limit, commit_interval_ns, dirty_limit, in_flight_limit;
	uint64_t read_deadline_ns, write_deadline_ns; /* 0: the default */
	bool fifo, buggify;
	bool eager_reuse; /* dead rows are used before free segments */
	unsigned commit_metadata; /* cells of metadata that the floors hold for a commit, and more in no case; 0: as many as otherwise */
	unsigned rows_together; /* of a segment that is scrubbed or rebuilt; 0: as many as may be */
	bool flushes; /* most writes are flushed, and none is small */

	unsigned boots, clients, operations; /* operations: of each client in each boot */
	uint64_t write_bytes_max;
	uint32_t volume_bytes_max;
	uint32_t crash_per_million;    /* that a boot ends by a power cut or the death of the process */
	uint32_t crash_corrupts;       /* see sim_disks */
	uint32_t fault_kinds;          /* bits of 1 << enum sim_fault that this seed injects; 0: none */
	bool compacts;                 /* blocks are moved all the time */
	bool administrated;            /* scrubs, offline, online and replace happen while clients run */
	bool verifies_every_txg;       /* what is reachable, after each commit: see every_txg.h */
	bool heals;                    /* faults are repaired and checked now and then, so that others may follow */
	unsigned filesystems, lanes;   /* clients of files, in each file system; 0: volumes only */
	bool changes;                  /* log disks come and go, and settings change, while everything else happens */
	unsigned log_disks;            /* that the pool has when the history begins */
	bool log_may_go;               /* any number of log disks may be lost; else as many as the log's copies survive */
	bool refuses;                  /* degraded= may be narrow or readonly: clients are refused while disks are away */
	bool mixes_logbias;            /* volumes have their own: then their changes are in order each for itself */
	uint32_t log_fault_kinds;      /* of log disks, as fault_kinds */
	unsigned full_percent;         /* clients keep the pool full with volumes of so much of it (full.h); 0: they don't */
};

void plan_draw(struct plan *plan, uint64_t seed);
/* File systems besides, and so another history. */
void plan_draw_files(struct plan *plan);
/* Log disks and changes of settings besides. */
void plan_draw_changes(struct plan *plan);
/* Small pools that are full all the time, and so another history. */
void plan_draw_near_full(struct plan *plan);
void plan_print(const struct plan *plan, FILE *stream);

#endif
