/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which segments are compacted, and when: what moves their blocks is compact.c.
 *
 * What is free for writers is kept at a part of all that isn't live. A commit that they have to wait for, since what is left is spoken for, is a round: it
 * moves what is live out of the segments in which least is, as much as there is room for copies, and two commits more make free what that gained. So a commit has many
 * blocks of writers, whose nodes cost less the more there are. Commits that come by themselves take moves along. Who doesn't write isn't compacted.
 *
 * What a round gains is measured. When two times in a row it was next to nothing the pool is full, until enough has died to try again.
 *
 * What must always hold: a round ends, whatever disks do; nobody who waits for one has a handle, so that its commit can't wait for him; nothing that only
 * frees ever waits for one.
 */
#include "libpool/txg/compactor.h"

#include <stdlib.h>

#include "libpool/alloc/victims.h"
#include "libpool/txg/internal.h"

#define VICTIMS_MAX 64u
/* Of a segment of which less is dead nothing is gained: a copy costs summaries, names and metadata. */
#define DEAD_SHARE 32u
#define DEAD_SHARE_FLOORS 8u
/* What is free for writers, of all that isn't live. */
#define FREE_SHARE 8u
/* Commits that take moves along in one round. */
#define PASSES_MAX 4u
/* So many rounds, or rounds for so many segments, are judged together; and so often it may be nothing. */
#define ROUNDS_JUDGED 3u
#define SEGMENTS_JUDGED 4u
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

/* Segments that are free, or will be with the next commits. */
static uint64_t segments_coming(const struct core *core)
{
	const struct geometry *geometry = alloc_geometry(core->alloc);

	return core->space.free_segments + core->space.deferred_aus / (geometry->k + geometry->m);
}

/* What writers were promised goes first, and what waits to be moved already. */
static uint64_t room_for_copies(const struct core *core)
{
	uint64_t room = alloc_copy_cells(core->alloc);
	uint64_t taken = core->reserved_cells[0] + core->reserved_cells[1] + core->moves.cells + core->moves.cells / 16;

	return room > taken ? room - taken : 0;
}

/* Reads victims until what is dead in them is as much as wanted, or copies have no more room: how much it is. */
static uint64_t read_victims(struct core *core, unsigned dead_share, uint64_t wanted, unsigned block_cells)
{
	struct victim *victims = wanted ? malloc(VICTIMS_MAX * sizeof(*victims)) : NULL;
	uint64_t gained = 0, before;

	do {
		unsigned count = victims ? alloc_victims(core->alloc, dead_share, block_cells, VICTIMS_MAX, victims) : 0;
		before = gained;
		for (unsigned i = 0; i < count && gained < wanted; i++) {
			struct segment *segment = alloc_segment(core->alloc, victims[i].segment);
			struct core_compacted result;
			if (is_over(core) || victims[i].live + victims[i].live / 16 > room_for_copies(core)) {
				wanted = 0;
				break;
			}
			int status = core_compact(core, victims[i].segment, 0, UINT16_MAX, &result);
			if (status == -EBUSY)
				continue;
			if (status < 0) {
				wanted = 0;
				break;
			}
			if (result.left_cells || !result.blocks) /* nodes of the pool's own die with the commit, which nothing waits for */
				alloc_victim_refused(core->alloc, segment);
			if (!result.left_cells && result.blocks + result.own_cells)
				gained += victims[i].dead;
		}
	} while (gained > before && gained < wanted);
	free(victims);
	return gained;
}

/* ---- for writers that wait ---- */

/* What could be given out, were all of it free that will be. */
static uint64_t gauge(const struct core *core)
{
	return segments_coming(core) * segment_cells(core) + row_space_cells(&core->space.rows, 1);
}

/*
 * Dead cells to be gained for as many to be free as are wanted: a part of all that isn't live, so that commits are of some size, and what is free for them costs
 * no more copies than it saves nodes. No more than what may wait for a commit needs. Of what is reserved a third is placed, as a rule.
 */
static uint64_t lacking(const struct core *core)
{
	const struct space *space = &core->space;
	uint64_t most = 2 * core->options.dirty_limit / CELL_SIZE, not_live = space->usable_cells > space->live_cells ? space->usable_cells - space->live_cells : 0;
	uint64_t coming = segments_coming(core), above = coming > space->floor_segments ? coming - space->floor_segments : 0;

	uint64_t wanted = (not_live / FREE_SHARE < most ? not_live / FREE_SHARE : most) + (core->reserved_cells[0] + core->reserved_cells[1]) / 3;
	above *= segment_cells(core);
	return wanted > above ? wanted - above : 0;
}

static uint64_t placed_by_writers(const struct core *core)
{
	const struct store_counters *counters = store_counters(core->store);

	return counters->placed[STORE_DATA] + counters->placed[STORE_NODES] + counters->placed_sys[STORE_NODES];
}

/* Other than by being moved. */
static uint64_t died_cells(const struct core *core)
{
	return alloc_freed_cells(core->alloc) - core->moves.counters.cells;
}

static bool is_barren(struct core *core)
{
	struct compactor *compactor = &core->compactor;

	if (compactor->barren == BARREN_MAX &&
	    (int64_t)(died_cells(core) - compactor->barren_died) >= 2 * (int64_t)segment_cells(core))
		compactor->barren = 0;
	return compactor->barren == BARREN_MAX;
}

/* What is gained shows in whole segments: so some rounds are judged together. */
static void judge(struct core *core, uint64_t hoped, int64_t gained)
{
	struct compactor *compactor = &core->compactor;

	compactor->hoped_cells += hoped;
	compactor->gained_cells += gained;
	if (++compactor->rounds < ROUNDS_JUDGED && compactor->hoped_cells < SEGMENTS_JUDGED * segment_cells(core))
		return;
	bool worth = compactor->gained_cells > 0 && (uint64_t)compactor->gained_cells >= compactor->hoped_cells / 4;
	compactor->barren = worth ? 0 : compactor->barren + 1;
	compactor->barren_died = died_cells(core);
	compactor->rounds = 0;
	compactor->hoped_cells = 0;
	compactor->gained_cells = 0;
}

/*
 * The moves ride on the commit of what writers have reserved; when that leaves too little room for them, a second one has it. What was freed is
 * free with the second commit after that: these cost little, as who wants to write waits here.
 */
static int do_round(struct core *core)
{
	struct compactor *compactor = &core->compactor;
	uint64_t before = gauge(core), placed = placed_by_writers(core), wanted = lacking(core), hoped = 0, more;
	unsigned passes = 0;
	int status = 0;

	if (compactor->urgent && wanted < segment_cells(core))
		wanted = segment_cells(core);
	if (wanted == 0 || is_barren(core))
		return 0;
	do {
		bool reserved = core->reserved_cells[core->open_txg & 1] > 0;
		more = hoped < wanted ? read_victims(core, DEAD_SHARE, wanted - hoped, compactor->block_cells) : 0;
		hoped += more;
		if (is_over(core))
			return -POOL_EHALTED;
		if (more == 0 && !reserved)
			break;
		status = core_commit_forced(core);
	} while (status == 0 && ++passes < PASSES_MAX);
	if (status < 0 || hoped == 0)
		return status < 0 ? status : passes > 0;
	for (unsigned i = 0; i < 2 && status == 0; i++)
		status = core_commit_forced(core);
	if (status < 0)
		return status;
	core->moves.counters.rounds++;
	compactor->placed_cells = placed_by_writers(core);
	/* What others have written meanwhile isn't lost. */
	uint64_t after = gauge(core) + compactor->placed_cells - placed;
	judge(core, hoped, (int64_t)(after - before));
	return 1;
}

int compactor_round(struct core *core, unsigned block_cells, bool urgent)
{
	struct compactor *compactor = &core->compactor;

	if (!compactor->runs || is_barren(core))
		return is_over(core) ? -POOL_EHALTED : 0;
	uint64_t round = ++compactor->asked;
	compactor->block_cells = block_cells;
	compactor->urgent = urgent;
	compactor_wake(core);
	while (compactor->answered < round && compactor->runs)
		rt_queue_wait(core->rt, &core->changed);
	return compactor->answered < round || is_over(core) ? -POOL_EHALTED : compactor->answer;
}

/* ---- in the background ---- */

static void follow_writers(struct core *core)
{
	struct compactor *compactor = &core->compactor;
	uint64_t placed = placed_by_writers(core), more = placed - compactor->placed_cells;

	compactor->placed_cells = placed;
	if (more) /* else nobody writes: a commit of moves is followed by no other */
		(void)read_victims(core, DEAD_SHARE, lacking(core), 1);
}

/*
 * What dies bit by bit gives no segments back, but each commit writes nodes, at a full pool out of the floors. What commits took of these is gained elsewhere, also
 * when nobody writes: else all metadata would come to lie in SYS rows (decision 29).
 */
static void follow_deaths(struct core *core)
{
	uint64_t died = died_cells(core), coming = segments_coming(core), floor = core->space.floor_segments;

	if (died == core->compactor.followed_died || coming >= floor)
		return;
	core->compactor.followed_died = died;
	(void)read_victims(core, DEAD_SHARE_FLOORS, (floor - coming) * segment_cells(core), 1);
}

/* ---- the fiber ---- */

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
		if (is_over(core) || compactor->answered < compactor->asked || core_writes_refused(core))
			continue;
		follow_writers(core);
		follow_deaths(core);
	}
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
