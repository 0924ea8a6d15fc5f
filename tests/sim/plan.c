/* See plan.h. */
#include "tests/sim/plan.h"

#include <inttypes.h>
#include <string.h>

#define MIB (UINT64_C(1) << 20)
#define KIB (UINT64_C(1) << 10)

static uint64_t pick(struct sim_random *random, const uint64_t *values, size_t count)
{
	return values[sim_random_below(random, count)];
}
#define PICK(random, ...) \
	pick(random, (const uint64_t[]){__VA_ARGS__}, sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

static void draw_geometry(struct plan *plan)
{
	struct sim_random random;

	sim_random_stream(&random, plan->seed, "geometry", 0);
	plan->m = (unsigned)PICK(&random, 0, 1, 1, 1, 2, 2, 2, 3);
	unsigned least = plan->m + 1;

	plan->disks = (unsigned)sim_random_between(&random, least, sim_random_below(&random, 3) ? least + 4 : 12);
	if (plan->disks > 12)
		plan->disks = 12;
	plan->k = (unsigned)sim_random_between(&random, 1, plan->disks - plan->m);
	if (plan->k > 6 && sim_random_below(&random, 2))
		plan->k = 4;
	plan->au_shift = (unsigned)PICK(&random, 18, 18, 18, 18, 18, 18, 19, 20);
	uint64_t size = sim_random_between(&random, 64, 128) * MIB << (plan->au_shift - 18);

	for (unsigned i = 0; i < plan->disks; i++) {
		plan->disk_bytes[i] = sim_random_below(&random, 3) ? size : sim_random_between(&random, size / KIB, size * 2 / KIB) / 4 * 4 * KIB;
		plan->fua[i] = sim_random_below(&random, 3) != 0;
		plan->rotational[i] = sim_random_below(&random, 4) == 0;
	}
}

static void draw_limits(struct plan *plan)
{
	struct sim_random random;

	sim_random_stream(&random, plan->seed, "limits", 0);
	plan->cache_limit = PICK(&random, 0, 64 * KIB, 512 * KIB, 8 * MIB, 64 * MIB);
	plan->commit_interval_ns = PICK(&random, 2, 10, 50, 500, 5000) * NS_PER_MS;
	plan->dirty_limit = PICK(&random, 512 * KIB, 2 * MIB, 8 * MIB, 64 * MIB);
	plan->in_flight_limit = PICK(&random, 0, 1 * MIB, 4 * MIB);
	plan->read_deadline_ns = PICK(&random, 0, 0, 100 * NS_PER_MS);
	plan->write_deadline_ns = PICK(&random, 0, 0, 300 * NS_PER_MS);
	plan->fifo = sim_random_below(&random, 4) == 0;
	plan->buggify = sim_random_below(&random, 2) == 0;
}

static void draw_history(struct plan *plan)
{
	struct sim_random random;

	sim_random_stream(&random, plan->seed, "history", 0);
	plan->boots = (unsigned)sim_random_between(&random, 2, 8);
	plan->clients = (unsigned)sim_random_between(&random, 1, 5);
	plan->operations = (unsigned)PICK(&random, 10, 30, 60, 120, 250) / plan->clients + 2;
	plan->write_bytes_max = PICK(&random, 16 * KIB, 64 * KIB, 256 * KIB);
	plan->volume_bytes_max = (uint32_t)PICK(&random, 256 * KIB, 1 * MIB, 3 * MIB, 6 * MIB);
	plan->crash_per_million = (uint32_t)PICK(&random, 300000, 700000, 950000);
	plan->crash_corrupts = (uint32_t)PICK(&random, 0, 0, 200000);
}

static void draw_faults(struct plan *plan)
{
	struct sim_random random;

	sim_random_stream(&random, plan->seed, "faults", 0);
	plan->administrated = sim_random_below(&random, 2);
	if (plan->m == 0 || sim_random_below(&random, 6) == 0)
		return;
	unsigned kinds = (unsigned)sim_random_between(&random, 1, 4);

	for (unsigned i = 0; i < kinds; i++)
		plan->fault_kinds |= 1u << sim_random_below(&random, SIM_FAULT_COUNT);
	/* Only what the engine is told of: then nothing may be left that it doesn't know of. */
	if (sim_random_below(&random, 2))
		plan->fault_kinds &= ~PLAN_SILENT_FAULTS;
	if (!plan->fault_kinds)
		plan->fault_kinds = 1u << SIM_WRITE_ERROR;
	plan->heals = sim_random_below(&random, 3) != 0;
}

/* Much is flushed, of blocks that are worth to be written beside the log, through commits, and imports that find a log. */
static void have_flushes(struct plan *plan, struct sim_random *random)
{
	plan->flushes = true;
	plan->commit_interval_ns = PICK(random, 10, 50, 500) * NS_PER_MS;
	plan->dirty_limit = PICK(random, 2 * MIB, 8 * MIB, 64 * MIB);
	plan->operations = (unsigned)PICK(random, 60, 120, 250) / plan->clients + 2;
	plan->write_bytes_max = PICK(random, 256 * KIB, 1 * MIB);
	plan->volume_bytes_max = 6 * MIB;
	plan->crash_per_million = 950000;
}

static void draw_flushes(struct plan *plan)
{
	struct sim_random random;

	sim_random_stream(&random, plan->seed, "flushes", 0);
	if (sim_random_below(&random, 4) == 0)
		have_flushes(plan, &random);
}

static void draw_reuse(struct plan *plan)
{
	struct sim_random random;

	sim_random_stream(&random, plan->seed, "reuse", 0);
	plan->eager_reuse = sim_random_below(&random, 2);
	plan->rows_together = (unsigned)PICK(&random, 0, 0, 5, 13, 30);
}

void plan_draw(struct plan *plan, uint64_t seed)
{
	*plan = (struct plan){.seed = seed};
	draw_geometry(plan);
	draw_limits(plan);
	draw_history(plan);
	draw_faults(plan);
	draw_flushes(plan);
	plan->verifies_every_txg = seed % 4 == 2;
	draw_reuse(plan);
	plan->compacts = seed % 4 == 2 || seed % 8 == 0;
}

void plan_draw_files(struct plan *plan)
{
	struct sim_random random;

	sim_random_stream(&random, plan->seed, "filesystems", 0);
	plan->filesystems = (unsigned)sim_random_between(&random, 1, PLAN_FILESYSTEMS_MAX);
	plan->lanes = (unsigned)sim_random_between(&random, 1, PLAN_LANES_MAX);
	plan->refuses = false; /* they don't expect that */
	/* They have the pool to themselves now and then. */
	if (sim_random_below(&random, 3) == 0)
		plan->clients = 0;
	if (!plan->flushes)
		return;
	/* Writes wait for what they change, and others sync meanwhile. */
	plan->lanes = PLAN_LANES_MAX;
	plan->operations = (unsigned)PICK(&random, 60, 120, 250);
	plan->cache_limit = PICK(&random, 0, 64 * KIB, 512 * KIB);
	plan->commit_interval_ns = PICK(&random, 2, 10, 50) * NS_PER_MS;
}

void plan_draw_changes(struct plan *plan)
{
	static const enum sim_fault kinds[] = {SIM_VANISH, SIM_VANISH, SIM_VANISH, SIM_WRITE_ERROR, SIM_WRITE_SHORT, SIM_FLUSH_ERROR,
					       SIM_READ_ERROR, SIM_READ_CORRUPT, SIM_SLOW, SIM_HANG, SIM_HANG_LATE, SIM_WRITE_LOST, SIM_FLUSH_LIE, SIM_ROT};
	struct sim_random random;

	sim_random_stream(&random, plan->seed, "changes", 0);
	plan->changes = true;
	plan->log_disks = (unsigned)PICK(&random, 0, 0, 1, 2, 2, 3, 4);
	plan->log_may_go = sim_random_below(&random, 3) == 0;
	plan->mixes_logbias = sim_random_below(&random, 3) == 0;
	plan->refuses = sim_random_below(&random, 3) == 0;
	if (!plan->flushes && sim_random_below(&random, 2))
		have_flushes(plan, &random);
	if (sim_random_below(&random, 5))
		for (unsigned count = (unsigned)sim_random_between(&random, 1, 3); count > 0; count--)
			plan->log_fault_kinds |= 1u << kinds[sim_random_below(&random, sizeof(kinds) / sizeof(kinds[0]))];
	if (plan->log_may_go || sim_random_below(&random, 2))
		plan->log_fault_kinds |= 1u << SIM_VANISH;
}

/* Floors that hold little metadata for each commit, so that commits have to be small. */
static void draw_commit_metadata(struct plan *plan)
{
	struct sim_random random;

	sim_random_stream(&random, plan->seed, "commit metadata", 0);
	plan->commit_metadata = (unsigned)PICK(&random, 0, 0, 24, 64, 128);
}

/* Some have rows of four: there metadata's own segments count for what it may need. */
static void draw_wide(struct plan *plan)
{
	struct sim_random random;

	sim_random_stream(&random, plan->seed, "wide rows", 0);
	if (sim_random_below(&random, 6))
		return;
	plan->k = 4;
	plan->m = plan->m > 2 ? 2 : plan->m;
	plan->disks = plan->k + plan->m + (unsigned)sim_random_below(&random, 2);
}

void plan_draw_near_full(struct plan *plan)
{
	struct sim_random random;

	draw_commit_metadata(plan);

	sim_random_stream(&random, plan->seed, "small pool", 0);
	plan->m = (unsigned)PICK(&random, 0, 1, 1, 1, 2, 2, 3);
	/* Mostly few disks: what it takes to fill them. */
	plan->disks = plan->m + (unsigned)PICK(&random, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 4, 9);
	plan->disks = plan->disks > 12 ? 12 : plan->disks;
	unsigned k = (unsigned)PICK(&random, 1, 1, 1, 1, 2, 2, 3), spare = plan->disks > 9 ? 8 : 1;
	plan->k = k < plan->disks - plan->m ? k : plan->disks - plan->m;
	if (plan->disks > plan->k + plan->m + spare)
		plan->disks = plan->k + plan->m + spare;
	draw_wide(plan);
	plan->au_shift = 18;
	for (unsigned i = 0; i < plan->disks; i++)
		plan->disk_bytes[i] = 64 * MIB + sim_random_below(&random, sim_random_below(&random, 3) ? 256 : 6 * 1024) / 4 * 4 * KIB;
	plan->boots = (unsigned)sim_random_between(&random, 2, 3);
	plan->clients = (unsigned)PICK(&random, 1, 1, 2, PLAN_FILLERS_MAX);
	plan->operations = (unsigned)PICK(&random, 8, 16, 30) / plan->clients + 2;
	plan->full_percent = (unsigned)PICK(&random, 70, 85, 100, 130);
	plan->commit_interval_ns = PICK(&random, 10, 50, 500, 5000) * NS_PER_MS;
	plan->dirty_limit = PICK(&random, 2 * MIB, 8 * MIB, 64 * MIB);
	plan->cache_limit = PICK(&random, 64 * KIB, 8 * MIB);
	plan->verifies_every_txg = plan->seed % 16 == 2;
	plan->flushes = false;
	plan->refuses = false;
	plan->fault_kinds = 0;
	if (plan->m && sim_random_below(&random, 2)) {
		plan->fault_kinds = 1u << SIM_VANISH | 1u << (unsigned)PICK(&random, SIM_VANISH, SIM_WRITE_ERROR, SIM_SLOW, SIM_HANG_LATE);
		plan->heals = sim_random_below(&random, 3) != 0;
	}
	plan->administrated = sim_random_below(&random, 3) == 0;
	if (sim_random_below(&random, 3) == 0) {
		plan->filesystems = 1;
		plan->lanes = (unsigned)sim_random_between(&random, 1, 2);
	}
}

void plan_print(const struct plan *plan, FILE *stream)
{
	fprintf(stream, "seed %" PRIu64 ": %u disks, %u+%u, AU %u KiB, cache %" PRIu64 " KiB, commit %" PRIu64 " ms, dirty %" PRIu64
			" KiB, %u boots x %u clients x %u operations%s%s%s%s%s%s%s",
		plan->seed, plan->disks, plan->k, plan->m, 1u << (plan->au_shift - 10), plan->cache_limit / KIB,
		plan->commit_interval_ns / NS_PER_MS, plan->dirty_limit / KIB, plan->boots, plan->clients, plan->operations,
		plan->fifo ? ", fifo" : "", plan->buggify ? ", buggify" : "", plan->flushes ? ", flushes" : "",
		plan->eager_reuse ? ", eager reuse" : "", plan->compacts ? ", compacts" : "", plan->administrated ? ", administrated" : "", plan->verifies_every_txg ? ", every txg verified" : "");
	if (plan->full_percent)
		fprintf(stream, ", kept full, volumes of %u %%", plan->full_percent);
	if (plan->commit_metadata)
		fprintf(stream, ", %u cells of metadata in a commit", plan->commit_metadata);
	if (plan->filesystems)
		fprintf(stream, ", %u file systems x %u lanes", plan->filesystems, plan->lanes);
	if (plan->changes)
		fprintf(stream, ", changes, %u log disks%s%s", plan->log_disks, plan->log_may_go ? " that may all go" : "", plan->mixes_logbias ? ", logbias of each volume" : "");
	if (plan->refuses)
		fprintf(stream, ", refuses");
	for (unsigned fault = 0; fault < SIM_FAULT_COUNT; fault++) {
		if (plan->fault_kinds >> fault & 1)
			fprintf(stream, ", %s", sim_fault_name((enum sim_fault)fault));
		if (plan->log_fault_kinds >> fault & 1)
			fprintf(stream, ", %s of log disks", sim_fault_name((enum sim_fault)fault));
	}
	fprintf(stream, "\n");
}
