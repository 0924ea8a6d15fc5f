/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which segments are compacted, and when: what moves their blocks is compact.c.
 *
 * While there is something to be gained, writers leave a few segments above the floors to the copies that it makes. Commits take moves along while somebody
 * writes; who finds no room beside what is kept waits for a round: moves, their commit, and two more that make free what it gained. Copies get new segments above
 * the floors and nothing else, so that the floors are what they would be without them. When rounds gain next to nothing, or there is no room for copies,
 * it gives up: writers have what was kept, and everything is as if there were no compactor, until enough has died to try again.
 *
 * What must always hold: a round ends, whatever disks do; nobody who waits for one has a handle, so that its commit can't wait for him; nothing that only
 * frees ever waits for one. Who doesn't write isn't compacted.
 */
#include "libpool/txg/compactor.h"

#include <stdlib.h>

#include "libpool/alloc/victims.h"
#include "libpool/txg/internal.h"

#define VICTIMS_MAX 256u
/* Of a segment of which less is dead nothing is gained: a copy costs summaries, names and metadata. */
#define DEAD_SHARE 16u
/* What is kept for copies: this share of all segments, and so many at least. */
#define KEPT_SHARE 50u
#define KEPT_SEGMENTS 12u
/* It begins when as much is dead in segments that it would take, and to try again so much has to die. */
#define HOPE_SEGMENTS 2u
/* Segments over which it is measured how densely copies lie. */
#define COPIES_MEASURED 64u
/* Rounds, one after the other, that may gain nothing. */
#define BARREN_MAX 2u

void compactor_init(struct compactor *compactor)
{
	rt_queue_init(&compactor->wake);
}

static bool is_over(const struct core *core)
{
	return core->halted || core->stopping;
}

static uint64_t segment_cells(const struct core *core)
{
	const struct geometry *geometry = alloc_geometry(core->alloc);

	return geometry->k * (geometry->rows - 1u);
}

/* Of the last writer who waited. */
static unsigned block_of(const struct core *core)
{
	return core->compactor.block_cells ? core->compactor.block_cells : 1;
}

/* What writers were promised goes first, and what waits to be moved already. */
static uint64_t room_for_copies(const struct core *core)
{
	uint64_t room = alloc_copy_cells(core->alloc);
	uint64_t taken = core->reserved_cells[0] + core->reserved_cells[1] + core->moves.cells + core->moves.cells / 16;

	return room > taken ? room - taken : 0;
}

/* Other than by being moved. */
static uint64_t died_cells(const struct core *core)
{
	return alloc_freed_cells(core->alloc) - core->moves.counters.cells;
}

static uint64_t placed_by_writers(const struct core *core)
{
	const struct store_counters *counters = store_counters(core->store);

	return counters->placed[STORE_DATA] + counters->placed[STORE_NODES] + counters->placed_sys[STORE_NODES];
}

/* ---- whether there is something to be gained ---- */

static void keep(struct core *core, uint64_t segments)
{
	core->compactor.kept_cells = segments * segment_cells(core);
	alloc_set_kept(core->alloc, segments);
}

static bool is_barren(struct core *core)
{
	struct compactor *compactor = &core->compactor;

	if (compactor->barren == BARREN_MAX &&
	    (int64_t)(died_cells(core) - compactor->barren_died) >= (int64_t)(HOPE_SEGMENTS * segment_cells(core)))
		compactor->barren = 0;
	return compactor->barren == BARREN_MAX;
}

/* How densely copies lie, by what was moved of late. */
static void measure_copies(struct core *core)
{
	struct compactor *compactor = &core->compactor;
	uint64_t cells = core->moves.counters.cells, into = alloc_copy_segments_cells(core->alloc);

	compactor->copied_cells += cells - compactor->counted_cells;
	compactor->copied_into += into - compactor->counted_into;
	compactor->counted_cells = cells;
	compactor->counted_into = into;
	if (compactor->copied_into > COPIES_MEASURED * segment_cells(core)) {
		compactor->copied_cells /= 2;
		compactor->copied_into /= 2;
	}
}

/* What is free when it was moved elsewhere; 0: not worth it. The last segment of copies isn't full yet. */
static uint64_t gain_of(const struct core *core, const struct victim *victim)
{
	const struct compactor *compactor = &core->compactor;
	uint64_t into = compactor->copied_into > segment_cells(core) ? compactor->copied_into - segment_cells(core) : 0, lost = 0;

	if (into > compactor->copied_cells)
		lost = victim->live * (into - compactor->copied_cells) / (compactor->copied_cells ? compactor->copied_cells : 1);
	return victim->dead > lost && (victim->dead - lost) * DEAD_SHARE >= victim->live + victim->dead ? victim->dead - lost : 0;
}

static bool has_victims(struct core *core)
{
	struct victim victims[HOPE_SEGMENTS * DEAD_SHARE];
	uint64_t dead = 0, least = UINT64_MAX;
	unsigned count = alloc_victims(core->alloc, DEAD_SHARE, block_of(core), HOPE_SEGMENTS * DEAD_SHARE, victims);

	for (unsigned i = 0; i < count; i++) {
		dead += gain_of(core, &victims[i]);
		least = victims[i].live < least ? victims[i].live : least;
	}
	return dead >= HOPE_SEGMENTS * segment_cells(core) && least + least / 16 <= alloc_copy_cells(core->alloc);
}

/* After each commit. */
static void look(struct core *core)
{
	uint64_t share = core->space.total_segments / KEPT_SHARE;

	measure_copies(core);
	bool hope = !is_barren(core) && !alloc_lacks_disk(core->alloc) && !core_writes_refused(core) && (core->moves.cells || has_victims(core));

	keep(core, !hope ? 0 : share > KEPT_SEGMENTS ? share : KEPT_SEGMENTS);
}

/* ---- moving ---- */

static int compare_gains(const void *a, const void *b)
{
	const struct victim *x = a, *y = b;
	uint64_t left = (uint64_t)x->dead * y->live, right = (uint64_t)y->dead * x->live;

	return left > right ? -1 : left < right;
}

/* Reads victims until what is dead in them is as much as wanted, or copies have no more room: how much it is. */
static uint64_t read_victims(struct core *core, uint64_t wanted)
{
	struct victim *victims = wanted ? malloc(VICTIMS_MAX * sizeof(*victims)) : NULL;
	uint64_t gained = 0, before;

	do {
		unsigned count = victims ? alloc_victims(core->alloc, DEAD_SHARE, block_of(core), VICTIMS_MAX, victims) : 0;
		before = gained;
		if (count)
			qsort(victims, count, sizeof(*victims), compare_gains); /* the more is gained for each copy, the earlier */
		for (unsigned i = 0; i < count && gained < wanted; i++) {
			struct segment *segment = alloc_segment(core->alloc, victims[i].segment);
			struct core_compacted result;
			if (is_over(core) || victims[i].live + victims[i].live / 16 > room_for_copies(core)) {
				wanted = 0;
				break;
			}
			uint64_t gain = gain_of(core, &victims[i]);
			if (gain == 0)
				continue;
			int status = core_compact(core, victims[i].segment, 0, UINT16_MAX, &result);
			if (status == -EBUSY)
				continue;
			if (status < 0) {
				wanted = 0;
				break;
			}
			if (result.left_cells || !result.blocks)
				alloc_victim_refused(core->alloc, segment);
			if (!result.left_cells && result.blocks)
				gained += gain;
		}
	} while (gained > before && gained < wanted);
	free(victims);
	return gained;
}

/* What can be given out, without what still has to be moved or become free. */
static uint64_t room_now(const struct core *core)
{
	return space_available(&core->space, block_of(core));
}

/* Dead cells to be gained for twice as much to be free as is kept; what waits for its commits is gained already. */
static uint64_t lacking(const struct core *core)
{
	const struct geometry *geometry = alloc_geometry(core->alloc);
	uint64_t coming = core->space.deferred_aus / (geometry->k + geometry->m) * segment_cells(core);
	uint64_t have = room_now(core) + coming, wanted = 2 * core->compactor.kept_cells;

	return wanted > have ? wanted - have : 0;
}

static int do_round(struct core *core)
{
	struct compactor *compactor = &core->compactor;
	uint64_t before = room_now(core), placed = placed_by_writers(core), wanted = lacking(core);
	int status = 0;

	look(core);
	if (compactor->kept_cells == 0)
		return 0;
	wanted = wanted > segment_cells(core) ? wanted : segment_cells(core);
	uint64_t hoped = read_victims(core, wanted);
	if (is_over(core))
		return -POOL_EHALTED;
	if (hoped == 0 && core->moves.cells == 0) {
		keep(core, 0);
		return 0;
	}
	for (unsigned i = 0; i < 3 && status == 0; i++)
		status = core_commit_forced(core);
	if (status < 0)
		return status;
	core->moves.counters.rounds++;
	compactor->placed_cells = placed_by_writers(core);
	/* What others have written meanwhile isn't lost. */
	uint64_t after = room_now(core) + compactor->placed_cells - placed;
	compactor->barren = after >= before + segment_cells(core) / 2 ? 0 : compactor->barren + 1;
	compactor->barren_died = died_cells(core);
	look(core);
	return 1;
}

void compactor_give_up(struct core *core)
{
	core->compactor.barren = BARREN_MAX;
	core->compactor.barren_died = died_cells(core);
	keep(core, 0);
}

int compactor_round(struct core *core, unsigned block_cells)
{
	struct compactor *compactor = &core->compactor;

	if (!compactor->runs || compactor->kept_cells == 0)
		return is_over(core) ? -POOL_EHALTED : 0;
	uint64_t round = ++compactor->asked;
	compactor->block_cells = block_cells;
	compactor_wake(core);
	while (compactor->answered < round && compactor->runs)
		rt_queue_wait(core->rt, &core->changed);
	return compactor->answered < round || is_over(core) ? -POOL_EHALTED : compactor->answer;
}

/* ---- the fiber ---- */

static void follow_writers(struct core *core)
{
	struct compactor *compactor = &core->compactor;
	uint64_t placed = placed_by_writers(core), more = placed - compactor->placed_cells;

	look(core);
	compactor->placed_cells = placed;
	if (more && compactor->kept_cells) /* else nobody writes: a commit of moves is followed by no other */
		(void)read_victims(core, lacking(core));
}

static void compactor_fiber(void *argument)
{
	struct core *core = argument;
	struct compactor *compactor = &core->compactor;

	while (!is_over(core)) {
		if (compactor->answered < compactor->asked) {
			uint64_t round = compactor->asked;
			compactor->answer = do_round(core);
			compactor->answered = round;
			rt_queue_wake_all(core->rt, &core->changed);
			continue;
		}
		rt_queue_wait(core->rt, &compactor->wake);
		if (!is_over(core) && compactor->answered == compactor->asked)
			follow_writers(core);
	}
	keep(core, 0);
	compactor->runs = false;
	rt_queue_wake_all(core->rt, &core->changed);
}

int compactor_start(struct core *core)
{
	core->compactor.runs = true;
	int status = rt_spawn(core->rt, "compactor", compactor_fiber, core);

	if (status < 0)
		core->compactor.runs = false;
	return status;
}

void compactor_wake(struct core *core)
{
	rt_queue_wake_all(core->rt, &core->compactor.wake);
}
