/*
 * One simulated machine with one pool: its disks, its boots, and the pool as the present boot has it open.
 * Random histories, scripted scenarios and counting tests all run in one of these. A contradiction ends the
 * process with a line that says where (world_fail): each seed runs in a process of its own.
 */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "libpool/pool/engine.h"
#include "tests/sim/model.h"
#include "tests/sim/plan.h"

#define WORLD_FAILED 3 /* exit code */
#define WORLD_STATISTICS(X) \
	X(boots) X(crashes) X(exports) X(imports_degraded) X(operations) X(reads) X(commits) X(no_space) X(faults) X(heals) \
	X(admin) X(verifies) X(txgs_verified) X(scrubs) X(trims) X(compactions) X(blocks_moved) X(cells_repaired) \
	X(logs_added) X(logs_removed) X(logs_faulty) X(logs_wanted) X(logs_lost) X(settings) X(device_writes) X(blocks_checked) X(log_groups) X(log_fallbacks) X(log_placed) X(records_placed) X(log_replayed) X(syncs) X(fs_checks)

struct world_statistics {
#define WORLD_STATISTIC(name) uint64_t name;
	WORLD_STATISTICS(WORLD_STATISTIC)
#undef WORLD_STATISTIC
};

struct world {
	struct plan plan;
	struct sim_env *sim;
	struct sim_disks *set;
	struct model model;
	struct files *files; /* file systems and their models; NULL: there are none */
	struct sim_random random;
	struct world_statistics statistics;
	unsigned boot;
	uint64_t step, until; /* operations of clients so far; none begins from `until` on */
	const char *doing;    /* for messages */
	bool clients_active;  /* faults may be injected */
	bool verbose, keeps_core; /* keeps_core: abort on failure, for a debugger */
	const char *images;       /* not NULL: the history ends with images of its disks in this folder */

	/* Of the present boot. */
	struct rt *rt;
	struct disk_provider *provider;
	struct engine_host host;
	struct engine *engine; /* NULL: only core and datasets are open, and nothing repairs by itself */
	struct core *core;     /* NULL: no pool is open */
	struct datasets *datasets;
	struct core_log_counters log; /* as of the last world_note_log */
	bool no_verify;   /* imports don't verify what the last commits wrote */
	bool missing_log; /* imports go on without a log that is lost with log disks */
	void (*body)(struct world *world);

	uint32_t log_disks; /* simulated disks for the log, members or not */
	uint32_t log_suspects; /* those that faults may have hit; not among `suspects` */
	uint32_t retired;  /* simulated disks that were replaced: never used again */
	uint32_t suspects; /* disks that faults may have hit since the last complete repair: at most m */
	unsigned rot_columns; /* columns of one row that rotted elsewhere since then */
};

enum world_end {
	WORLD_ENDED,     /* the body returned */
	WORLD_POWER_CUT, /* what survives has not been decided yet */
	WORLD_KILLED,    /* the process died */
};

struct world *world_new(const struct plan *plan);
void world_free(struct world *world);
/* Prints where and what, and ends the process. */
_Noreturn void world_fail(struct world *world, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Runs body in the first fiber of a new boot. A hang or deadlock is a failure. */
enum world_end world_boot(struct world *world, void (*body)(struct world *world));
/* After WORLD_POWER_CUT, or at any time between boots: the power goes. */
void world_power_cut(struct world *world, enum sim_crash_mode mode);
/* From a fiber or event: the process dies now; world_boot returns WORLD_KILLED. */
void world_kill(struct world *world);

/* In fibers. */
struct core_options world_core_options(struct world *world);
/* On all disks of the plan. 0 or the error. */
int world_create(struct world *world, struct pool_error *error);
/* Imports from all disks that are present, and opens the datasets; with the whole engine, or without its background jobs. */
int world_import(struct world *world, bool with_engine, struct pool_error *error);
int world_export(struct world *world, struct pool_error *error);
/* As by the death of the process, but the fibers end. */
void world_abandon(struct world *world);
/* Finds out which simulated disks are part of the pool: the others are retired. */
void world_note_members(struct world *world);
/* Counts what the log has done. */
void world_note_log(struct world *world);
/* The simulated disk that is the pool's disk `index`; NULL if none has ever been. */
struct sim_disk *world_disk(struct world *world, unsigned index);
void world_expect(struct world *world, int result, const struct pool_error *error, const char *what);

#endif
