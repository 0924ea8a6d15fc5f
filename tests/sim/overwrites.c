/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What overwriting costs on a pool that is so and so full: one volume, filled, then overwritten block by block in any order. How many
 * overwrites were done and how many refused, what a user's cell costs in cells and for what, and how long it took, in virtual time and of the processor.
 *
 *	overwrites --percent 80                          uniform, 4 KiB, raid6 4+2 on six disks of 1 GiB
 *	overwrites --percent 90 --skew 90/10 --every 50000
 *	overwrites --percent 80 --away 1 --verify        the same with a disk that goes when the volume is full; then it is back, and another one goes
 *
 * A cell of a wide row counts as one, parity apart; one of a SYS row, which is mirrored, by what its copies take: so all of them together are
 * the bytes that devices wrote, less parity's share. While disks are away some cells are written nowhere: then it is what was placed, as if all took it.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "libpool/block/block.h"
#include "libpool/format/segment_record.h"
#include "libpool/txg/internal.h"
#include "tests/sim/admin.h"
#include "tests/sim/content.h"
#include "tests/sim/world.h"

#define MIB (UINT64_C(1) << 20)

static struct {
	unsigned disks, k, m, percent, block_kib, commit, refusals, hot_writes, hot_blocks, away;
	uint64_t disk_mib, cache_mib, seed, every;
	double warm, turns; /* the volume, so many times */
	double most;        /* that a cell may cost after the warm-up; 0: anything */
	bool scattered, verify;
} settings = {.disks = 6, .k = 4, .m = 2, .percent = 80, .block_kib = 4, .commit = 5000, .refusals = 100, .disk_mib = 1024, .cache_mib = 256,
	      .seed = 1, .warm = 1, .turns = 2};

/* All that is counted, at one moment. */
struct figures {
	struct store_counters store;
	struct core_compact_counters compact;
	uint64_t device_bytes, overwrites, refused, commits, virtual_ns;
	double processor;
};

struct run {
	struct world *world;
	struct volume *volume;
	uint64_t blocks, overwrites, refused;
	uint32_t block_bytes, *versions;
	uint8_t *data;
	uint32_t *waited_us; /* of each overwrite since the figures before */
	size_t waited, waited_room;
};

static double processor_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static struct figures look(const struct run *run)
{
	struct world *world = run->world;
	struct figures now = {.store = *store_counters(core_store(world->core)), .compact = *core_compact_counters(world->core), .overwrites = run->overwrites,
			      .refused = run->refused, .commits = core_commits(world->core), .virtual_ns = rt_now(world->rt),
			      .processor = processor_seconds()};

	for (unsigned i = 0; i < world->set->count; i++)
		now.device_bytes += world->set->disks[i]->counters.bytes_written;
	return now;
}

static int compare_waits(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static double waited_ms(struct run *run, double share)
{
	return run->waited ? run->waited_us[(size_t)((double)(run->waited - 1) * share)] / 1000.0 : 0;
}

/* What was placed between the two for a purpose, in cells of wide rows; of it in SYS rows, which are mirrored. */
static double placed_between(const struct figures *before, const struct figures *now, unsigned purpose, double *ret_sys)
{
	double copies = (double)(settings.m + 1) * settings.k / (settings.k + settings.m);

	*ret_sys = (double)(now->store.placed_sys[purpose] - before->store.placed_sys[purpose]) * copies;
	return (double)(now->store.placed[purpose] - before->store.placed[purpose]) + *ret_sys;
}

/* What devices wrote between the two for each overwritten cell, in cells, parity apart. */
static double cost_between(const struct run *run, const struct figures *before, const struct figures *now)
{
	double user = (double)(now->overwrites - before->overwrites) * run->block_bytes / SIM_CELL, sum = 0, sys;

	for (unsigned i = 0; i < STORE_PURPOSES; i++)
		sum += placed_between(before, now, i, &sys);
	if (settings.away)
		return sum / user;
	return (double)(now->device_bytes - before->device_bytes) / SIM_CELL * settings.k / (settings.k + settings.m) / user;
}

/* Where the pool's cells are: segments of each class, what lives in them, and the rows of them that are dead or that summaries have. */
static void print_segments(const struct run *run)
{
	static const char *const names[CLASS_COUNT] = {[CLASS_META] = "metadata", [CLASS_HOT] = "hot", [CLASS_COLD] = "cold", [CLASS_SURV] = "copies",
							 [CLASS_SYS] = "SYS", [CLASS_LOG] = "log"};
	struct alloc *alloc = run->world->core->alloc;
	struct { uint64_t segments, rows, live, dead, summaries; } sums[CLASS_COUNT] = {{0}};

	for (uint32_t id = 0; id < alloc_segment_count(alloc); id++) {
		const struct segment *segment = alloc_segment(alloc, id);

		if (!segment || alloc_segment_is_free(segment) || segment->record.class >= CLASS_COUNT)
			continue;
		sums[segment->record.class].segments++;
		sums[segment->record.class].rows += segment->record.rows_used;
		sums[segment->record.class].live += segment->live;
		sums[segment->record.class].dead += segment->dead_rows;
		for (unsigned i = 0; i < segment->batch_count; i++) {
			bool again = false;

			for (unsigned j = 0; j < i && !again; j++)
				again = segment->batches[j].summary_dva == segment->batches[i].summary_dva;
			sums[segment->record.class].summaries += !again;
		}
	}
	printf("  segments");
	for (unsigned class = 0; class < CLASS_COUNT; class++)
		if (sums[class].segments)
			printf(", %s %" PRIu64 " (rows %" PRIu64 ", live cells %" PRIu64 ", dead rows %" PRIu64 ", summaries %" PRIu64 ")", names[class],
			       sums[class].segments, sums[class].rows, sums[class].live, sums[class].dead, sums[class].summaries);
	printf("\n");
}

static void print(struct run *run, const char *what, const struct figures *before)
{
	static const char *const names[STORE_PURPOSES] = {"data", "nodes", "copies", "xblk", "batch map", "MOS", "allocation", "summaries", "padding"};
	struct figures now = look(run);
	double user = (double)(now.overwrites - before->overwrites) * run->block_bytes / SIM_CELL, sum = 0, sys = 0;
	double all = cost_between(run, before, &now);
	struct space space;

	core_space(run->world->core, &space);
	qsort(run->waited_us, run->waited, sizeof(uint32_t), compare_waits);
	printf("%s: %" PRIu64 " overwritten, %" PRIu64 " refused, in %" PRIu64 " commits; each cell cost %.3f:", what, now.overwrites - before->overwrites,
	       now.refused - before->refused, now.commits - before->commits, all);
	for (unsigned i = 0; i < STORE_PURPOSES; i++) {
		double mirrored, placed = placed_between(before, &now, i, &mirrored) / user;

		printf(" %s %.3f", names[i], placed);
		sum += placed;
		sys += mirrored / user;
	}
	printf(", other %.3f; of it in SYS rows %.3f\n", all - sum, sys);
	printf("  moved %" PRIu64 " blocks, %" PRIu64 " cells, own %" PRIu64 ", died %" PRIu64 ", crowded %" PRIu64
	       "; %" PRIu64 " segments free (floors %" PRIu64 "), available %" PRIu64 " MiB\n",
	       now.compact.blocks - before->compact.blocks, now.compact.cells - before->compact.cells, now.compact.own_cells - before->compact.own_cells,
	       now.compact.died_cells - before->compact.died_cells, now.compact.crowded_cells - before->compact.crowded_cells, space.free_segments,
	       space.floor_segments, space.available_cells * SIM_CELL / MIB);
	printf("  virtual %.1f s, processor %.1f s (%.1f us for each cell); waits of an overwrite: p50 %.2f, p99 %.2f, p99.9 %.2f, at most %.2f ms\n",
	       (double)(now.virtual_ns - before->virtual_ns) / 1e9, now.processor - before->processor, (now.processor - before->processor) / user * 1e6,
	       waited_ms(run, 0.5), waited_ms(run, 0.99), waited_ms(run, 0.999), waited_ms(run, 1));
	print_segments(run);
	fflush(stdout);
	run->waited = 0;
}

static void fill_block(struct run *run, uint64_t block, uint32_t version)
{
	for (uint32_t at = 0; at < run->block_bytes; at += SIM_CELL) {
		memcpy(run->data + at, &block, sizeof(block));
		memcpy(run->data + at + 8, &version, sizeof(version));
		run->data[at + BLOCK_POINTER_EMBED_MAX] = 1; /* one byte more than fits into a pointer; the simulated disks remember no more */
	}
}

static bool put(struct run *run, uint64_t block)
{
	struct world *world = run->world;
	uint64_t began = rt_now(world->rt);

	fill_block(run, block, run->versions[block] + 1);
	int status = volume_write(run->volume, block * run->block_bytes, run->block_bytes, run->data);

	if (status != -ENOSPC)
		world_expect(world, status, NULL, "write");
	run->versions[block] += status == 0;
	if (run->waited == run->waited_room) {
		run->waited_room = run->waited_room ? run->waited_room * 2 : 65536;
		run->waited_us = realloc(run->waited_us, run->waited_room * sizeof(uint32_t));
	}
	run->waited_us[run->waited++] = (uint32_t)((rt_now(world->rt) - began) / 1000);
	return status == 0;
}

static uint64_t draw(struct run *run)
{
	uint64_t hot = run->blocks * settings.hot_blocks / 100, block;

	if (!hot)
		return sim_random_below(&run->world->random, run->blocks);
	if (sim_random_below(&run->world->random, 100) < settings.hot_writes)
		block = sim_random_below(&run->world->random, hot);
	else
		block = hot + sim_random_below(&run->world->random, run->blocks - hot);
	/* A permutation: the multiplier and the number of blocks have no common factor. */
	return settings.scattered ? block * UINT64_C(2654435761) % run->blocks : block;
}

static void commit(struct run *run)
{
	world_expect(run->world, core_commit(run->world->core), NULL, "commit");
}

static void overwrite(struct run *run, const char *what, double turns, uint64_t every)
{
	uint64_t count = (uint64_t)((double)run->blocks * turns), from = run->overwrites;
	struct figures first = look(run), part = first;

	for (uint64_t i = 0; i < count && run->refused - first.refused < settings.refusals; i++) {
		bool done = put(run, draw(run));

		run->overwrites += done;
		run->refused += !done;
		if (settings.commit && i % settings.commit == settings.commit - 1)
			commit(run);
		if (every && run->overwrites - from >= every) {
			from = run->overwrites;
			print(run, "  part", &part);
			part = look(run);
		}
	}
	commit(run);
	if (!every)
		print(run, what, &first);
	else if (run->overwrites > from)
		print(run, "  part", &part);
}

static void verify(struct run *run)
{
	uint8_t *data = sim_allocate(run->block_bytes);

	for (uint64_t block = 0; block < run->blocks; block++) {
		fill_block(run, block, run->versions[block]);
		world_expect(run->world, volume_read(run->volume, block * run->block_bytes, run->block_bytes, data), NULL, "read");
		if (memcmp(data, run->data, run->block_bytes))
			world_fail(run->world, "block %" PRIu64 " isn't what was written", block);
	}
	free(data);
	printf("all %" PRIu64 " blocks are what was written last\n", run->blocks);
}

static void go_away(struct world *world, unsigned first)
{
	for (unsigned i = 0; i < settings.away; i++)
		sim_disk_vanish(world->set->disks[(first + i) % settings.disks], SIM_CRASH_ALL);
}

/* Disks that were away come back and get what they lack: then as many others may go. */
static void come_back(struct world *world)
{
	for (unsigned i = 0; i < settings.disks; i++)
		if (!world->set->disks[i]->present)
			sim_disk_return(world->set->disks[i]);
	admin_repair(world);
	go_away(world, 1 + settings.away);
}

static void create(struct world *world)
{
	struct pool_error error = {0};

	world_expect(world, world_create(world, &error), &error, "create");
}

static void body(struct world *world)
{
	struct run run = {.world = world, .block_bytes = settings.block_kib * 1024};
	struct pool_error error = {0};
	struct space space;

	world->sim->time_limit_ns = 0; /* a slow one is what is to be measured */
	world_expect(world, world_import(world, true, &error), &error, "import");
	core_space(world->core, &space);
	run.blocks = space.available_cells * SIM_CELL / 100 * settings.percent / run.block_bytes;
	run.versions = sim_allocate(run.blocks * sizeof(uint32_t));
	run.data = sim_allocate(run.block_bytes);
	world_expect(world, volume_create(world->datasets, "v", run.blocks * run.block_bytes, run.block_bytes, BLOCK_COMPRESS_OFF, &error), &error,
		     "create volume");
	world_expect(world, volume_open(world->datasets, "v", &run.volume, &error), &error, "open volume");
	printf("%u+%u, %u disks of %" PRIu64 " MiB, %u %% of %" PRIu64 " MiB in blocks of %u KiB, commits of %u, ", settings.k, settings.m, settings.disks,
	       settings.disk_mib, settings.percent, space.available_cells * SIM_CELL / MIB, settings.block_kib, settings.commit);
	if (settings.hot_blocks)
		printf("%u %% of the overwrites to %u %%\n", settings.hot_writes, settings.hot_blocks);
	else
		printf("uniform\n");
	struct figures before = look(&run);

	for (uint64_t block = 0; block < run.blocks; block++) {
		if (!put(&run, block))
			world_fail(world, "refused while it was filled, at block %" PRIu64 " of %" PRIu64, block, run.blocks);
		run.overwrites++;
		if (settings.commit && block % settings.commit == settings.commit - 1)
			commit(&run);
	}
	commit(&run);
	print(&run, "filled", &before);
	go_away(world, 1);
	if (settings.warm > 0)
		overwrite(&run, "warmed up", settings.warm, settings.every);
	struct figures warm = look(&run), now;

	if (run.refused < settings.refusals)
		overwrite(&run, "overwritten", settings.turns, settings.every);
	now = look(&run);
	if (settings.most > 0 && (run.refused > 0 || !(cost_between(&run, &warm, &now) <= settings.most)))
		world_fail(world, "each cell cost %.3f, and %" PRIu64 " were refused", cost_between(&run, &warm, &now), run.refused);
	if (settings.verify)
		verify(&run);
	if (settings.verify && settings.away) {
		come_back(world);
		verify(&run);
	}
	volume_close(run.volume);
	world_expect(world, world_export(world, &error), &error, "export");
	free(run.waited_us);
	free(run.versions);
	free(run.data);
}

static int usage(void)
{
	fprintf(stderr, "usage: overwrites [--percent P] [--block KIB] [--skew WRITES/BLOCKS [--scattered]] [--commit BLOCKS (0: as the pool does)]\n"
			"                  [--disks N] [--disk MIB] [--profile K+M] [--cache MIB] [--warm TURNS] [--turns TURNS] [--every OVERWRITES]\n"
			"                  [--refusals N (the end)] [--away DISKS (after the fill)] [--seed N] [--verify]\n"
			"                  [--most CELLS (after the warm-up; with more, or a refusal, it fails)]\n");
	return 2;
}

static bool parse(int argc, char **argv)
{
	static const struct option options[] = {
		{"percent", required_argument, NULL, 'p'}, {"block", required_argument, NULL, 'b'}, {"skew", required_argument, NULL, 's'},
		{"commit", required_argument, NULL, 'c'},  {"disks", required_argument, NULL, 'n'}, {"disk", required_argument, NULL, 'd'},
		{"profile", required_argument, NULL, 'r'}, {"cache", required_argument, NULL, 'C'}, {"warm", required_argument, NULL, 'w'},
		{"turns", required_argument, NULL, 't'},   {"every", required_argument, NULL, 'e'}, {"refusals", required_argument, NULL, 'f'},
		{"seed", required_argument, NULL, 'S'},	   {"scattered", no_argument, NULL, 'x'},   {"verify", no_argument, NULL, 'v'},
		{"most", required_argument, NULL, 'm'},	   {"away", required_argument, NULL, 'a'},
		{0},
	};
	int option;
	bool good = true;

	while (good && (option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		unsigned number = optarg ? (unsigned)strtoul(optarg, NULL, 0) : 0;

		switch (option) {
		case 'p': settings.percent = number; break;
		case 'b': settings.block_kib = number; break;
		case 's': good = sscanf(optarg, "%u/%u", &settings.hot_writes, &settings.hot_blocks) == 2; break;
		case 'c': settings.commit = number; break;
		case 'n': settings.disks = number; break;
		case 'd': settings.disk_mib = number; break;
		case 'r': good = sscanf(optarg, "%u+%u", &settings.k, &settings.m) == 2; break;
		case 'C': settings.cache_mib = number; break;
		case 'w': settings.warm = strtod(optarg, NULL); break;
		case 't': settings.turns = strtod(optarg, NULL); break;
		case 'e': settings.every = number; break;
		case 'f': settings.refusals = number; break;
		case 'S': settings.seed = number; break;
		case 'a': settings.away = number; break;
		case 'm': settings.most = strtod(optarg, NULL); break;
		case 'x': settings.scattered = true; break;
		case 'v': settings.verify = true; break;
		default: good = false;
		}
	}
	return good && optind == argc && settings.disks <= 16 && settings.percent && settings.percent <= 100 && settings.block_kib >= 4 &&
	       settings.hot_blocks < 100 && settings.hot_writes <= 100 &&
	       settings.away <= settings.m && settings.away < settings.disks;
}

int main(int argc, char **argv)
{
	if (!parse(argc, argv))
		return usage();
	struct plan plan = {.seed = settings.seed, .disks = settings.disks, .k = settings.k, .m = settings.m, .cache_limit = settings.cache_mib * MIB,
			    .commit_interval_ns = 5 * NS_PER_S, .dirty_limit = 512 * MIB, .fifo = true};

	for (unsigned i = 0; i < plan.disks; i++) {
		plan.disk_bytes[i] = settings.disk_mib * MIB;
		plan.fua[i] = true;
	}
	struct world *world = world_new(&plan);

	world_boot(world, create);
	if (world_boot(world, body) != WORLD_ENDED)
		world_fail(world, "the boot did not end by itself");
	world_free(world);
	return 0;
}
