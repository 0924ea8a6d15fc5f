/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which segments are compacted, and when: what moves their blocks is compact.c.
 *
 * Copies have segments of their own that nobody else takes (alloc/space.c), so what is dead among what is live can always be had. While somebody writes, commits
 * take moves along for as much to be free for writers as should be. Who finds no room waits for a round: moves and their commit, and up to two more that make
 * free what was gained. Rounds are judged by what they gain; when that is next to nothing the pool is full, until enough has died to try again.
 *
 * What must always hold: a round ends, whatever disks do; nobody who waits for one has a handle, so that its commit can't wait for him; nothing that only
 * frees ever waits for one. Who doesn't write isn't compacted, nor is a pool while what dies by itself is enough.
 */
#include "libpool/txg/compactor.h"

#include <stdlib.h>

#include "libpool/alloc/victims.h"
#include "libpool/txg/internal.h"

#define VICTIMS_MAX 256u
/* Of a segment of which less is dead nothing is gained: a copy costs summaries, names and metadata. */
#define DEAD_SHARE 32u
/* What there has to be for rounds to begin, and what has to die for another try. */
#define HOPE_SEGMENTS 2u
/* Segments over which it is measured how densely copies lie. */
#define COPIES_MEASURED 64u
/* Commits of a round: that of the moves, and those after which rows and units are free. */
#define ROUND_COMMITS 3u
/* So many rounds, or rounds for so many segments, are judged together; and so often it may be next to nothing. */
#define ROUNDS_JUDGED 3u
#define SEGMENTS_JUDGED 4u
#define BARREN_MAX 2u
#define READERS 8u
/* What a round reads in as long, and the stripe that is being read then, is what it moves: somebody waits. */
#define READ_NS (10 * NS_PER_S)

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
	uint64_t room = moves_room(core, core->reserved_cells[0] + core->reserved_cells[1]), taken = core->moves.cells + core->moves.cells / 16;

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

/* ---- what there is ---- */

/* What could be given out, were all of it free that will be. */
static uint64_t gauge(const struct core *core)
{
	return core->space.coming_segments * segment_cells(core) + row_space_cells(&core->space.rows, 1);
}

/* What should be free for writers: half as much as for copies. More makes larger commits, and fuller victims. */
static uint64_t stock_of(const struct core *core)
{
	return core->space.copy_segments * segment_cells(core) / 2;
}

/* Dead cells to be gained: for copies to have what is theirs, and writers their stock. Dead rows are as good for them as segments. */
static uint64_t lacking(const struct core *core)
{
	uint64_t coming = core->space.coming_segments, floor = core->space.floor_segments;
	uint64_t lent = coming < floor ? (floor - coming) * segment_cells(core) : 0, most = core->space.copy_segments * segment_cells(core), stock = stock_of(core);
	uint64_t have = row_space_cells(&core->space.rows, block_of(core)) + (coming > floor ? (coming - floor) * segment_cells(core) : 0);

	return (lent < most ? lent : most) + (have < stock ? stock - have : 0);
}

/* ---- what can be gained ---- */

bool compactor_is_barren(const struct core *core)
{
	const struct compactor *compactor = &core->compactor;

	return compactor->barren >= BARREN_MAX &&
	       (int64_t)(died_cells(core) - compactor->barren_died) < (int64_t)(HOPE_SEGMENTS * segment_cells(core));
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
static uint64_t gain(const struct core *core, uint64_t live, uint64_t dead)
{
	const struct compactor *compactor = &core->compactor;
	uint64_t into = compactor->copied_into > segment_cells(core) ? compactor->copied_into - segment_cells(core) : 0, lost = 0;

	if (into > compactor->copied_cells)
		lost = (uint64_t)((double)live * (double)(into - compactor->copied_cells) / (double)(compactor->copied_cells ? compactor->copied_cells : 1));
	return dead > lost && (dead - lost) * DEAD_SHARE >= live + dead ? dead - lost : 0;
}

static uint64_t gain_of(const struct core *core, const struct victim *victim)
{
	return gain(core, victim->live, victim->dead);
}

uint64_t compactor_gain(const struct core *core)
{
	uint64_t cells = 0;

	for (unsigned i = 0; i < VICTIM_SHARES; i++) {
		struct victim_sum sum = alloc_victim_sum(core->alloc, i);
		cells += gain(core, sum.live, sum.dead);
	}
	return cells;
}

static bool has_hope(struct core *core)
{
	struct victim victims[HOPE_SEGMENTS * DEAD_SHARE];
	uint64_t dead = 0, least = UINT64_MAX;

	if (compactor_is_barren(core) || core_writes_refused(core))
		return false;
	unsigned count = alloc_victims(core->alloc, DEAD_SHARE, block_of(core), HOPE_SEGMENTS * DEAD_SHARE, victims);
	for (unsigned i = 0; i < count; i++) {
		dead += gain_of(core, &victims[i]);
		least = victims[i].live < least ? victims[i].live : least;
	}
	return dead >= HOPE_SEGMENTS * segment_cells(core) && least + least / 16 <= room_for_copies(core);
}

/* ---- moving ---- */

static int compare_gains(const void *a, const void *b)
{
	const struct victim *x = a, *y = b;
	uint64_t left = (uint64_t)x->dead * y->live, right = (uint64_t)y->dead * x->live;

	return left > right ? -1 : left < right;
}

/* Victims that some fibers read at the same time: a round takes as long as slow disks do, and most of that is waiting. */
struct victims_reading {
	struct core *core;
	struct victim *victims;
	unsigned next, count;
	uint64_t wanted, gained;
	uint64_t hoped, live; /* of those that are being read: counted before they are */
	bool full;            /* no room for more, or no time */
	struct rt_group group;
};

static bool fits(struct victims_reading *reading, const struct victim *victim)
{
	struct core *core = reading->core;
	uint64_t live = reading->live + victim->live;

	core->compactor.late |= rt_now(core->rt) >= core->compactor.until_ns;
	return !is_over(core) && !core->compactor.late && live + live / 16 <= room_for_copies(core) && core_moves_fit(core, live);
}

static void read_some(struct victims_reading *reading)
{
	struct core *core = reading->core;

	while (!reading->full && reading->next < reading->count && reading->gained + reading->hoped < reading->wanted) {
		const struct victim *victim = &reading->victims[reading->next];
		struct segment *segment = alloc_segment(core->alloc, victim->segment);
		struct core_compacted result;
		uint64_t gain = gain_of(core, victim);
		if (!fits(reading, victim)) { /* what others read counts twice: the last one tells */
			reading->full |= reading->live == 0;
			break;
		}
		reading->next++;
		if (gain == 0)
			continue;
		reading->hoped += gain;
		reading->live += victim->live;
		int status = compact_until(core, victim->segment, 0, UINT16_MAX, core->compactor.until_ns, &result);
		reading->hoped -= gain;
		reading->live -= victim->live;
		if (status == -EBUSY)
			continue;
		reading->full |= status < 0;
		if (status == 0 && (result.left_cells || !result.blocks))
			alloc_victim_refused(core->alloc, segment);
		else if (status == 0)
			reading->gained += gain;
	}
}

static void reader(void *argument)
{
	struct victims_reading *reading = argument;

	read_some(reading);
	rt_group_done(reading->core->rt, &reading->group, 0);
}

/* Reads victims until what is dead in them is as much as wanted, or copies have no more room: how much it is. */
static uint64_t read_victims(struct core *core, uint64_t wanted)
{
	struct victims_reading reading = { .core = core, .wanted = wanted, .victims = wanted ? malloc(VICTIMS_MAX * sizeof(struct victim)) : NULL };
	uint64_t before;

	do {
		reading.next = 0;
		reading.count = reading.victims ? alloc_victims(core->alloc, DEAD_SHARE, block_of(core), VICTIMS_MAX, reading.victims) : 0;
		before = reading.gained;
		if (reading.count)
			qsort(reading.victims, reading.count, sizeof(*reading.victims), compare_gains); /* the more is gained for each copy, the earlier */
		rt_group_init(&reading.group);
		for (unsigned i = 1; i < READERS && i < reading.count; i++) {
			rt_group_add(&reading.group);
			if (rt_spawn(core->rt, "read a victim", reader, &reading) < 0) {
				rt_group_done(core->rt, &reading.group, 0);
				break;
			}
		}
		read_some(&reading);
		if (reading.group.pending)
			(void)rt_group_wait(core->rt, &reading.group);
	} while (!reading.full && reading.gained > before && reading.gained < wanted);
	free(reading.victims);
	return reading.gained;
}

static void begin_reading(struct core *core)
{
	core->compactor.until_ns = rt_now(core->rt) + READ_NS;
	core->compactor.late = false;
}

/* ---- for writers that wait ---- */

/* What is gained shows in whole segments: so some rounds are judged together. */
static void judge(struct core *core, uint64_t hoped, int64_t gained)
{
	struct compactor *compactor = &core->compactor;

	compactor->hoped_cells += hoped;
	compactor->gained_cells += gained;
	if (++compactor->rounds < ROUNDS_JUDGED && compactor->hoped_cells < SEGMENTS_JUDGED * segment_cells(core))
		return;
	bool worth = compactor->gained_cells > 0 && (uint64_t)compactor->gained_cells >= compactor->hoped_cells / 4;
	compactor->barren = worth ? 0 : compactor->barren + 1; /* when enough has died one more such judgement will do */
	compactor->barren_died = died_cells(core);
	compactor->rounds = 0;
	compactor->hoped_cells = 0;
	compactor->gained_cells = 0;
}

static bool is_enough(const struct core *core)
{
	uint64_t room = space_available(&core->space, block_of(core));

	return room >= core->compactor.wanted_cells && room >= stock_of(core) / 2;
}

static int do_round(struct core *core)
{
	struct compactor *compactor = &core->compactor;
	uint64_t before = gauge(core), placed = placed_by_writers(core), hoped = 0;
	unsigned commits = 0;
	int status = 0;

	measure_copies(core);
	if (core->moves.cells == 0 && !has_hope(core))
		return 0;
	begin_reading(core);
	do {
		uint64_t wanted = lacking(core);
		hoped += read_victims(core, wanted > segment_cells(core) ? wanted : segment_cells(core));
		if (is_over(core))
			return -POOL_EHALTED;
		if (hoped == 0 && core->moves.cells == 0)
			return commits > 0;
		status = core_commit_forced(core);
	} while (status == 0 && ++commits < ROUND_COMMITS && !is_enough(core));
	if (status < 0)
		return status;
	core->moves.counters.rounds++;
	compactor->placed_cells = placed_by_writers(core);
	if (compactor->late)
		return 1; /* slow disks don't say what there is to be gained */
	/* What others have written meanwhile isn't lost. */
	judge(core, hoped, (int64_t)(gauge(core) + compactor->placed_cells - placed - before));
	return 1;
}

bool compactor_is_behind(const struct core *core)
{
	return core->compactor.runs && space_available(&core->space, block_of(core)) < stock_of(core) / 4;
}

int compactor_round(struct core *core, unsigned block_cells, uint64_t cells)
{
	struct compactor *compactor = &core->compactor;

	if (!compactor->runs || compactor_is_barren(core))
		return is_over(core) ? -POOL_EHALTED : 0;
	uint64_t round = ++compactor->asked;
	compactor->block_cells = block_cells;
	compactor->wanted_cells = cells;
	compactor_wake(core);
	while (compactor->answered < round && compactor->runs)
		rt_queue_wait(core->rt, &core->changed);
	return compactor->answered < round || is_over(core) ? -POOL_EHALTED : compactor->answer;
}

/* ---- the fiber ---- */

static void follow_writers(struct core *core)
{
	struct compactor *compactor = &core->compactor;
	uint64_t placed = placed_by_writers(core), more = placed - compactor->placed_cells, wanted = lacking(core);

	measure_copies(core);
	compactor->placed_cells = placed;
	begin_reading(core);
	if (more && wanted && has_hope(core)) /* else nobody writes: a commit of moves is followed by no other */
		(void)read_victims(core, wanted);
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
