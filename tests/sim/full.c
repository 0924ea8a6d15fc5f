/* SPDX-License-Identifier: BSD-2-Clause */
/* See full.h. What a volume's client writes, and what it frees; the model is told by clients.c. */
#include "tests/sim/full.h"

#include <inttypes.h>
#include <stdio.h>

#include "tests/sim/clients.h"

#define WRITE_MAX (256u << 10)
#define ANSWER_NS (20 * NS_PER_S) /* in which a write is done or refused, when no disk is in the way */
#define SLACK_CELLS 64u

struct filler {
	struct world *world;
	struct sim_random random;
	struct rt_group *group;
	char name[16];
	uint32_t block_bytes;
	uint64_t bytes_left; /* to write in this boot */
};

static uint64_t below(struct filler *filler, uint64_t limit)
{
	return sim_random_below(&filler->random, limit);
}

static bool alone(const struct world *world)
{
	return world->plan.clients == 1 && !world->plan.filesystems && !world->plan.administrated && !world->plan.fault_kinds && !world->plan.changes;
}

static uint64_t available(struct world *world, unsigned block)
{
	struct space space;

	/* What was freed last is free after two commits more, and its summaries go one later. */
	for (unsigned i = 0; i < 5; i++)
		clients_commit(world, true);
	core_space(world->core, &space);
	return space_available(&space, block);
}

/* Room for the blocks is promised with an eighth more, and a neighbourhood of nodes. */
static void judge_refusal(struct filler *filler, const struct model_volume *volume, uint64_t length)
{
	struct world *world = filler->world;
	unsigned block = volume->block_bytes / CELL_SIZE;
	uint64_t cells = (length + CELL_SIZE - 1) / CELL_SIZE, left;
	struct space space;

	if (!alone(world))
		return;
	core_space(world->core, &space);
	left = below(filler, 4) ? space_available(&space, block) : available(world, block);
	/* A few segments may have died with the last commits that somebody waited for. */
	if (left > 2 * cells + SLACK_CELLS + 4 * (uint64_t)world->plan.k * ((1u << (world->plan.au_shift - 12)) - 1u))
		world_fail(world, "no space for %" PRIu64 " cells in blocks of %u, of which %" PRIu64 " are available", cells, block, left);
}

/* false: there was no room. */
static bool put(struct filler *filler, struct model_volume *volume, uint64_t offset, uint64_t length)
{
	struct world *world = filler->world;
	uint64_t begun = world->sim->now_ns;
	int result = clients_write(world, volume, offset, length);
	uint64_t took = world->sim->now_ns - begun;

	if (took > ANSWER_NS && !world->plan.fault_kinds)
		world_fail(world, "a write of %" PRIu64 " bytes %s after %" PRIu64 " ms", length, result ? "was refused" : "ended", took / NS_PER_MS);
	filler->bytes_left -= length < filler->bytes_left ? length : filler->bytes_left;
	if (result)
		judge_refusal(filler, volume, length);
	return result == 0;
}

/* ---- what it does ---- */

static uint64_t blocks_of(const struct model_volume *volume)
{
	return model_size(volume) / volume->block_bytes;
}

/* From some block on until the pool is full. */
static void fill(struct filler *filler, struct model_volume *volume)
{
	uint64_t blocks = blocks_of(volume), at = below(filler, 2) ? 0 : below(filler, blocks), most = WRITE_MAX / volume->block_bytes;
	unsigned refused = 0;

	for (uint64_t done = 0; done < blocks && refused < 3 && filler->bytes_left;) {
		uint64_t count = 1 + below(filler, most);
		count = count > blocks - at ? blocks - at : count;
		refused += !put(filler, volume, at * volume->block_bytes, count * volume->block_bytes);
		done += count;
		at = (at + count) % blocks;
	}
}

static void overwrite(struct filler *filler, struct model_volume *volume)
{
	uint64_t count = 1 + below(filler, 80), blocks = blocks_of(volume);

	for (uint64_t i = 0; i < count && filler->bytes_left; i++) {
		uint64_t block = below(filler, blocks), some = 1 + below(filler, 3);
		if (block + some <= blocks)
			(void)put(filler, volume, block * volume->block_bytes, some * volume->block_bytes);
	}
}

/* Every so many blocks of a stretch: trimmed, or written anew. */
static void scatter(struct filler *filler, struct model_volume *volume, bool trims)
{
	uint64_t blocks = blocks_of(volume), at = below(filler, blocks), step = 2 + below(filler, 5), end = at + 1 + below(filler, 400);

	for (; at < end && at < blocks; at += step) {
		if (trims)
			clients_trim(filler->world, volume, at * volume->block_bytes, volume->block_bytes);
		else if (filler->bytes_left)
			(void)put(filler, volume, at * volume->block_bytes, volume->block_bytes);
	}
}

static void trim(struct filler *filler, struct model_volume *volume)
{
	uint64_t size = model_size(volume), offset = below(filler, size), length = 1 + below(filler, below(filler, 6) ? size / 8 : size);

	clients_trim(filler->world, volume, offset, length > size - offset ? size - offset : length);
}

static void operate(struct filler *filler)
{
	struct world *world = filler->world;
	struct model_volume *volume = model_find(&world->model, filler->name);
	uint64_t choice = below(filler, 32);

	if (!volume) {
		struct space space;
		core_space(world->core, &space);
		uint64_t bytes = space.usable_cells * CELL_SIZE / 100 * world->plan.full_percent / world->plan.clients;
		bytes = (bytes / filler->block_bytes + 1) * filler->block_bytes;
		volume = clients_try_create(world, filler->name, bytes, filler->block_bytes);
		if (volume)
			fill(filler, volume);
		return;
	}
	switch (choice) {
	case 0 ... 7: overwrite(filler, volume); break;
	case 8 ... 13: fill(filler, volume); break;
	case 14 ... 17: scatter(filler, volume, true); break;
	case 18 ... 20: scatter(filler, volume, false); break;
	case 21 ... 24: trim(filler, volume); break;
	case 25: clients_destroy(world, volume); break;
	case 26 ... 28: clients_flush(world, volume); break;
	case 29: clients_commit(world, below(filler, 2)); break;
	default: rt_sleep(world->rt, 1 + below(filler, world->plan.commit_interval_ns * 2));
	}
}

/* ---- the fibers ---- */

static void filler_main(void *argument)
{
	struct filler *filler = argument;
	struct world *world = filler->world;

	for (unsigned i = 0; i < world->plan.operations && world->step < world->until; i++) {
		world->step++;
		world->statistics.operations++;
		sim_env_note(world->sim, "step", world->step, world->model.clock, 2);
		operate(filler);
	}
	rt_group_done(world->rt, filler->group, 0);
}

void full_run(struct world *world)
{
	struct filler fillers[PLAN_FILLERS_MAX] = {0};
	struct rt_group group;
	struct space space;

	core_space(world->core, &space);
	rt_group_init(&group);
	for (unsigned i = 0; i < world->plan.clients; i++) {
		struct filler *filler = &fillers[i];

		*filler = (struct filler){.world = world, .group = &group};
		sim_random_stream(&filler->random, world->plan.seed, "filler", i);
		filler->block_bytes = UINT32_C(4096) << (below(filler, 6) ? 2 + below(filler, 4) : 0); /* few small ones: they take long */
		sim_random_stream(&filler->random, world->plan.seed, "filler", 100 + world->boot * 10 + i);
		snprintf(filler->name, sizeof(filler->name), "full%u", i);
		/* Once, and a part of it again in each boot: the rest was there before. */
		filler->bytes_left = space.usable_cells * CELL_SIZE / (world->boot <= 1 ? 1 : 3) / world->plan.clients;
		rt_group_add(&group);
		if (rt_spawn(world->rt, "filler", filler_main, filler))
			world_fail(world, "no memory for a client");
	}
	rt_group_wait(world->rt, &group);
}

void full_make_room(struct world *world)
{
	list_for_each(node, &world->model.volumes) {
		struct model_volume *volume = container_of(node, struct model_volume, node);
		if (model_exists(volume))
			clients_trim(world, volume, 0, model_size(volume));
	}
	for (unsigned i = 0; i < 3; i++)
		clients_commit(world, true);
}

/* ---- what is said to be available ---- */

void full_check_available(struct world *world)
{
	struct filler filler = {.world = world, .block_bytes = 4096, .bytes_left = UINT64_MAX};

	sim_random_stream(&filler.random, world->plan.seed, "available", world->boot);
	filler.block_bytes <<= 1 + below(&filler, 5);
	struct space space;
	core_space(world->core, &space);
	if (space.available_cells > space.usable_cells / 8 && below(&filler, 3))
		return;
	unsigned block = filler.block_bytes / CELL_SIZE;
	struct model_volume *left = model_find(&world->model, "available");
	if (left) /* by a crash */
		clients_destroy(world, left);
	uint64_t before = available(world, block), written = 0;
	core_space(world->core, &space);
	struct model_volume *volume = clients_try_create(world, "available", (2 * before + 1024) * CELL_SIZE / filler.block_bytes * filler.block_bytes,
							 filler.block_bytes);

	/* Its records count as one large block. */
	if (!volume && space.available_cells > 2 * BLOCK_CELLS_MAX)
		world_fail(world, "no space for a volume, of %" PRIu64 " cells that are available", before);
	if (!volume)
		return;
	/* A compactor may make more of it than was promised. */
	while (written * CELL_SIZE + filler.block_bytes <= model_size(volume) && put(&filler, volume, written * CELL_SIZE, filler.block_bytes))
		written += block;
	clients_destroy(world, volume);
	uint64_t after = available(world, block);

	/*
	 * A segment's end that is too short for another block stays empty; nodes, summaries, and what is reserved for them are an eighth. The
	 * volume's own metadata may take SYS segments, which commits then miss of their floors.
	 */
	uint64_t segment = (uint64_t)world->plan.k * ((1u << (world->plan.au_shift - 12)) - 1u), fit = segment / block * block;
	uint64_t slack = SLACK_CELLS + 6 * segment, least = before > slack ? (before - slack) * fit / segment * 27 / 32 : 0;
	if (world->verbose)
		printf("blocks of %u cells: %" PRIu64 " available, %" PRIu64 " written, at least %" PRIu64 "; then %" PRIu64 " available\n", block,
		       before, written, least, after);
	if (written < least)
		world_fail(world, "of %" PRIu64 " available cells only %" PRIu64 " could be written in blocks of %u", before, written, block);
	/* Metadata that found no segment has taken SYS segments, which stay. */
	if (after + SLACK_CELLS + before / 10 + space.usable_cells / 64 < before)
		world_fail(world, "of %" PRIu64 " available cells %" PRIu64 " came back", before, after);
}
