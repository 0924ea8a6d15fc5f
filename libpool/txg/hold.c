/*
 * Transaction handles: what a writer waits for before it may change anything, and how commits are asked for.
 *
 * A handle pins the open txg. Throttle and space are waited for before it is taken, never while it is held, so
 * sync, which waits for handles, can't be held up by what only sync can give.
 *
 * Space is promised, not hoped for: a handle reserves the worst case, and what is reserved for the open txg and the one
 * in sync never exceeds what was above the floors at the last commit. What a commit takes apart from that comes out of the floors
 * (alloc/space.c): nodes, too, as dead rows aren't promised to them. Of these handles tell how many they write anew at most, and where
 * the floors have less room than for all of them the others are promised segments above the floors, as content is; where there are none of these either
 * the open txg gets no more than what there is room for.
 */
#include <errno.h>
#include <string.h>

#include "libpool/base/check.h"
#include "libpool/txg/internal.h"

#define THROTTLE_PERCENT 60
#define CLOSE_PERCENT 20
#define DELAY_NS_MAX (20 * NS_PER_MS)
/* Commits after which all that a change frees is free: its own, and two for the AUs; one more as it may miss the first. */
#define SPACE_COMMITS 4u
/* Cells of nodes that are written anew by what only frees: of trees of objects, of directories, of inodes. */
#define FREEING_NODES 32u
#define MOVED_LEAF_CELLS 4u
/* Of what was destroyed each commit takes so many blocks apart in any case. */
#define ORPHANS_LEAST 16u
#define SPACE_COMMITS_MAX 16u /* while others change things all the time */
/* Of a compactor that one writer waits for; more than the least of them only so long. */
#define ROUNDS_LEAST 3u
#define ROUNDS_MAX 40u
#define ROUNDS_NS (2 * NS_PER_S)

static uint64_t dirty_total(const struct core *core)
{
	int64_t bytes = core->dirty_bytes[0] + core->dirty_bytes[1];

	return bytes > 0 ? (uint64_t)bytes : 0;
}

/* With what handles were given for and isn't dirty yet. */
static uint64_t dirty_bound(const struct core *core)
{
	return dirty_total(core) + core->admitted[0] + core->admitted[1];
}

void core_dirty(void *argument, uint64_t txg, int64_t bytes)
{
	struct core *core = argument;

	core->dirty_bytes[txg & 1] += bytes;
	if (txg == core->open_txg &&
	    core->dirty_bytes[txg & 1] > (int64_t)(core->options.dirty_limit / 100 * CLOSE_PERCENT))
		rt_queue_wake_all(core->rt, &core->sync_wake);
}

/* The open txg closes as soon as it can. */
static void core_ask(struct core *core)
{
	if (core->wanted_txg < core->open_txg)
		core->wanted_txg = core->open_txg;
	rt_queue_wake_all(core->rt, &core->sync_wake);
}

/* Rows that stripes pad, summaries, and entries of the batch map. */
static uint64_t worst_case(uint64_t cells)
{
	return cells ? cells + cells / 8 + 1 : 0;
}

/* With copies, as far as they need more than what is for them. */
static uint64_t reserved(const struct core *core)
{
	uint64_t copies = core->moves.cells + core->moves.cells / 16;

	return core->reserved_cells[0] + core->reserved_cells[1] + (copies > core->space.copy_cells ? copies - core->space.copy_cells : 0);
}

/* Trims are under way everywhere: none begins meanwhile, and each ends at its deadline at the latest. */
static int wait_for_trims(struct core *core)
{
	core->space_wanted++;
	while (core->trims && !core->halted && !core->stopping)
		rt_queue_wait(core->rt, &core->changed);
	core->space_wanted--;
	/* Space is counted anew by a commit. */
	return core->trim_lost_cells ? core_commit_forced(core) : 0;
}

/* Blocks that somebody has a promise for may be as large, whoever asks for more. */
static unsigned block_bound(const struct core *core, unsigned block_cells)
{
	unsigned block = block_cells;

	for (unsigned slot = 0; slot < 2; slot++)
		block = core->reserved_block[slot] > block ? core->reserved_block[slot] : block;
	return block;
}

/* What would be above the floors if all that waits for its two commits were free: never too little. */
static uint64_t potential_cells(const struct core *core)
{
	const struct geometry *geometry = alloc_geometry(core->alloc);
	uint64_t segments = core->space.free_segments + core->space.deferred_aus / (geometry->m + 1u) + 1;

	uint64_t rows = row_space_cells(&core->space.rows, 1) + core->space.deferred_cells;

	return rows + (segments > core->space.floor_segments ?
			       (segments - core->space.floor_segments) * geometry->k * (geometry->rows - 1u) :
			       0);
}

/* One writer's search for space. */
struct search {
	uint64_t activity;
	unsigned commits, fruitless;
	unsigned block_cells; /* of the largest block */
	unsigned node_commits;
	bool has_turn;        /* core->node_turns is locked */
	unsigned rounds;      /* of a compactor, that have gained something or may have */
	uint64_t above;       /* found: cells above the floors for the nodes; 0: the floors have room for them */
	bool gave_up;         /* there may be more to be gained, but it has waited long enough */
	uint64_t began_ns;
};

static uint64_t nodes_bound(const struct core *core, uint64_t nodes)
{
	return nodes < core->space.metadata_cells ? nodes : core->space.metadata_cells;
}

static void give_up_turn(struct core *core, struct search *search)
{
	if (search->has_turn)
		rt_mutex_unlock(core->rt, &core->node_turns);
	search->has_turn = false;
}

/* In segments that are free: besides what was promised, for content or for nodes. */
static bool has_room_above(const struct core *core, uint64_t cells)
{
	uint64_t all = reserved(core) + core->trim_cells + core->trim_lost_cells + cells;

	return all <= core->space.whole_cells && all <= core->space.limit_cells;
}

/*
 * As find_space, for the nodes that are written anew. That may take a few commits, and never fails: what has a txg for itself is let
 * in, as the floors have more than any one handle needs. While somebody waits for that, who comes later and needs nodes waits behind him: small
 * needs would fit into each txg before his. He has his turn only while all that he waits for is commits, so those behind may be what frees.
 */
static int find_node_room(struct core *core, uint64_t cells, uint64_t nodes, struct search *search)
{
	unsigned slot = core->open_txg & 1;

	search->above = 0;
	if (nodes == 0 || core->space.metadata_room == UINT64_MAX)
		return 0;
	if (!search->has_turn && core->node_turns.owner) {
		rt_mutex_lock(core->rt, &core->node_turns);
		search->has_turn = true;
		return 1;
	}
	if (nodes_bound(core, core->node_cells[slot] + nodes) + nodes_bound(core, core->node_cells[!slot]) <= core->space.metadata_room)
		return 0;
	if (core->rows_wanted == 0 && has_room_above(core, cells + worst_case(nodes))) {
		search->above = worst_case(nodes);
		return 0;
	}
	if (core->node_cells[slot] == 0 && search->node_commits >= SPACE_COMMITS)
		return 0;
	if (!search->has_turn)
		rt_mutex_lock(core->rt, &core->node_turns);
	search->has_turn = true;
	search->node_commits++;
	int status = core->node_cells[slot] == 0 && core->syncing ? core_wait_committed(core, core->syncing_txg) : core_commit_forced(core);
	return status < 0 ? status : 1;
}

/* What is dead among what is live can be had. 0: no more of it; 1: a round has ended. */
static int have_compacted(struct core *core, uint64_t cells, struct search *search)
{
	bool late = search->rounds >= ROUNDS_LEAST && rt_now(core->rt) > search->began_ns + ROUNDS_NS;

	if (cells > core->space.limit_cells)
		return 0;
	search->gave_up = search->rounds == ROUNDS_MAX || late;
	int status = search->gave_up ? 0 : compactor_round(core, search->block_cells, cells);
	search->rounds += status > 0; /* one that found nothing has taken no time either */
	return status;
}

/*
 * 0: there is room now. 1: it waited for a commit, ask again. When only what others have reserved is in the way, their commits
 * will do. Else a commit helps if something changed since the last one (frees, above all) or AUs wait for their two commits;
 * after enough of them without any change the pool is full, and stays so for everybody until somebody changes something.
 */
static int find_space(struct core *core, uint64_t cells, struct search *search)
{
	bool changes = core->touched[0] || core->touched[1];
	int status;

	if (has_room_above(core, cells))
		return 0; /* as a rule */
	/* Nodes can't have dead rows: as long as the txgs have some above the floors, these may be all that there is for them. */
	bool rows = core->nodes_above[0] + core->nodes_above[1] == 0;
	uint64_t available = rows ? space_available(&core->space, block_bound(core, search->block_cells)) : 0;

	if (reserved(core) + core->trim_cells + core->trim_lost_cells + cells <= available)
		return 0;
	give_up_turn(core, search);
	if (reserved(core) + cells <= available) {
		status = wait_for_trims(core);
		return status < 0 ? status : 1;
	}
	/* What others have reserved becomes free with their commit; when little would be free then, a round takes its place. */
	if (cells <= space_available(&core->space, search->block_cells)) {
		core->rows_wanted++; /* of those that only free, which come at any time, none gets nodes above the floors before he has his rows */
		status = compactor_is_behind(core) ? have_compacted(core, cells, search) : 0;
		if (status == 0)
			status = core_commit_forced(core);
		core->rows_wanted--;
		return status < 0 ? status : 1;
	}
	if (core->full && core->full_activity == core->activity && cells >= core->full_cells && search->block_cells >= core->full_block)
		return -ENOSPC;
	status = have_compacted(core, cells, search);
	if (status != 0)
		return status;
	if (!changes && cells > potential_cells(core))
		return -ENOSPC;
	if (search->activity != core->activity) {
		search->activity = core->activity;
		search->fruitless = 0;
	}
	if (search->fruitless == SPACE_COMMITS || search->commits == SPACE_COMMITS_MAX) {
		/* Not for everybody, where slow disks were all that was in the way: the next one goes on with what rounds gain. */
		core->full = search->fruitless == SPACE_COMMITS && !search->gave_up;
		core->full_activity = core->activity;
		core->full_cells = cells;
		core->full_block = search->block_cells;
		return -ENOSPC;
	}
	search->fruitless++;
	search->commits++;
	status = core_commit_forced(core);
	return status < 0 ? status : 1;
}

/* From 60 % of the dirty limit on writers are delayed, each on its own, so that they don't all stand still at the limit. */
static void delay(struct core *core)
{
	uint64_t limit = core->options.dirty_limit, start = limit / 100 * THROTTLE_PERCENT, dirty = dirty_bound(core);

	if (dirty > start)
		rt_sleep(core->rt, DELAY_NS_MAX * ((dirty < limit ? dirty : limit) - start) / (limit - start));
}

/* Every wait may end with another state of things: what is taken is what all conditions allow in one step. */
static int wait_for_all(struct core *core, uint64_t bytes, uint64_t cells, uint64_t nodes, struct search *search)
{
	for (;;) {
		if (core->halted || core->stopping)
			return -POOL_EHALTED;
		if (dirty_bound(core) > 0 && dirty_bound(core) + bytes > core->options.dirty_limit) {
			core_ask(core);
			rt_queue_wait(core->rt, &core->changed);
			continue;
		}
		if (core->disks_lost != alloc_disks_lost(core->alloc)) { /* as of now, which is less than what the next commit will count */
			core->disks_lost = alloc_disks_lost(core->alloc);
			alloc_space(core->alloc, &core->space);
		}
		int status = cells ? find_space(core, cells, search) : 0;
		if (status == 0)
			status = find_node_room(core, cells, nodes, search);
		if (status < 0)
			return status;
		if (status > 0)
			continue;
		if (!core->quiescing)
			return 0;
		rt_queue_wait(core->rt, &core->changed);
	}
}

/* ret_above: cells above the floors that its nodes may need, 0 if the floors have room for them. */
static int wait_for_turn(struct core *core, uint64_t bytes, uint64_t cells, uint64_t nodes, unsigned block_cells, uint64_t *ret_above)
{
	struct search search = { .activity = core->activity, .block_cells = block_cells, .began_ns = rt_now(core->rt) };
	int status = wait_for_all(core, bytes, cells, nodes, &search);

	give_up_turn(core, &search);
	*ret_above = search.above;
	return status;
}

void core_set_degraded(struct core *core, enum core_degraded degraded)
{
	core->degraded = degraded;
	alloc_set_lacking_promised(core->alloc, degraded == CORE_DEGRADED_ALLOW);
	alloc_space(core->alloc, &core->space);
	core->activity++;
}

bool core_writes_refused(const struct core *core)
{
	unsigned online = 0, configured = 0;

	if (core->degraded == CORE_DEGRADED_ALLOW)
		return false;
	for (unsigned i = 0; i < DISKS_MAX; i++) {
		const struct store_disk *disk = store_disk(core->store, i);
		configured += store_disk_holds_data(disk);
		online += store_disk_holds_data(disk) && disk->disk && disk->state == DISK_ONLINE;
	}
	/* m disks or fewer make no row with all its redundancy. */
	return core->degraded == CORE_DEGRADED_NARROW ? online <= core->label->m : online < configured;
}

const char *core_failure_text(const struct core *core, int status)
{
	const char *why = pool_error_string(status);

	if (core_halted(core, &why))
		return why;
	if (status == -EROFS && core->read_only)
		return "the pool is imported read-only: export it, and import it to write";
	if (status == -EROFS && core_writes_refused(core))
		return core->degraded == CORE_DEGRADED_NARROW ? "too few disks are there for full redundancy, and degraded=narrow forbids less" :
								 "disks are missing, and degraded=readonly forbids to write then";
	return why;
}

static int hold(struct core *core, uint64_t cells, uint64_t nodes, unsigned block_cells, bool changes, uint64_t *ret_txg)
{
	uint64_t bytes = cells * CELL_SIZE, need = worst_case(cells), above = 0;
	unsigned block = cells < block_cells ? (unsigned)cells : block_cells; /* none is larger than all of it */

	POOL_CHECK(rt_may_block(core->rt));
	if (core->read_only)
		return -EROFS;
	if (core->halted || core->stopping)
		return -POOL_EHALTED;
	/* Writers queue up, so that none starves. What only frees doesn't wait behind them: they may wait for what it frees. */
	if (cells) {
		delay(core);
		rt_mutex_lock(core->rt, &core->writers);
	}
	int status = wait_for_turn(core, bytes, need, nodes, block, &above);
	if (status == 0) {
		uint64_t txg = core->open_txg;
		if (!core->touched[txg & 1]) {
			core->touched[txg & 1] = true;
			core->opened_ns = rt_now(core->rt);
			rt_queue_wake_all(core->rt, &core->sync_wake);
		}
		core->handles[txg & 1]++;
		core->admitted[txg & 1] += bytes;
		core->reserved_cells[txg & 1] += need + above;
		core->nodes_above[txg & 1] += above;
		core->node_cells[txg & 1] += above ? 0 : nodes;
		alloc_set_promised(core->alloc, reserved(core));
		if (block > core->reserved_block[txg & 1])
			core->reserved_block[txg & 1] = block;
		core->activity += changes;
		*ret_txg = txg;
	}
	if (cells)
		rt_mutex_unlock(core->rt, &core->writers);
	return status;
}

struct core_change core_change_of(uint64_t cells)
{
	return (struct core_change){ .cells = cells, .nodes = cells, .block_cells = BLOCK_CELLS_MAX };
}

/* Cells of xblk that are written anew when so many blocks die: each may have an entry in a leaf of its own. */
static uint64_t nodes_of_deaths(const struct core *core, uint64_t blocks)
{
	return MOVED_LEAF_CELLS * blocks < core->moved_cells ? MOVED_LEAF_CELLS * blocks : core->moved_cells;
}

int core_hold_change(struct core *core, const struct core_change *change, uint64_t *ret_txg)
{
	uint64_t nodes = change->cells || change->nodes > FREEING_NODES ? change->nodes : FREEING_NODES;

	if (core_writes_refused(core))
		return -EROFS;
	return hold(core, change->cells, nodes + nodes_of_deaths(core, change->blocks), change->block_cells, true, ret_txg);
}

int core_hold(struct core *core, uint64_t cells, uint64_t *ret_txg)
{
	struct core_change change = core_change_of(cells);

	return core_hold_change(core, &change, ret_txg);
}

int core_hold_own(struct core *core, uint64_t cells, uint64_t *ret_txg)
{
	return hold(core, cells, 0, BLOCK_CELLS_MAX, true, ret_txg); /* few, of which the floors' base has room */
}

/* Each may have its entry in a leaf of its own, as far as there are leaves; some are cut in two. */
static uint64_t nodes_of_moves(const struct core *core, uint64_t blocks)
{
	uint64_t entries = MOVED_LEAF_CELLS * blocks, leaves = core->moved_cells + MOVED_LEAF_CELLS * (blocks / 16 + 2);

	return entries < leaves ? entries : leaves;
}

bool core_moves_fit(const struct core *core, uint64_t blocks)
{
	unsigned slot = core->open_txg & 1;
	uint64_t nodes = nodes_of_moves(core, blocks);

	return core->space.metadata_room == UINT64_MAX ||
	       nodes_bound(core, core->node_cells[slot] + nodes) + nodes_bound(core, core->node_cells[!slot]) <= core->space.metadata_room;
}

int core_hold_moves(struct core *core, uint64_t blocks, uint64_t *ret_txg)
{
	int status = hold(core, 0, 0, BLOCK_CELLS_MAX, false, ret_txg);

	if (status == 0)
		core->node_cells[*ret_txg & 1] += nodes_of_moves(core, blocks);
	return status;
}

/* What handles left of the room: no one waits for it, so it may be less than a commit should take. */
size_t hold_orphans_room(const struct core *core)
{
	unsigned slot = core->syncing_txg & 1;
	uint64_t room = core->space.metadata_room, other = nodes_bound(core, core->node_cells[!slot]);
	uint64_t taken = nodes_bound(core, core->node_cells[slot]) + other, least = ORPHANS_LEAST * MOVED_LEAF_CELLS;

	if (room == UINT64_MAX || nodes_bound(core, core->node_cells[slot] + core->moved_cells) + other <= room)
		return SIZE_MAX;
	least = least > core->orphan_cells ? least - core->orphan_cells : 0;
	uint64_t left = room > taken ? room - taken : 0;
	return (left > least ? left : least) / MOVED_LEAF_CELLS;
}

/* The open txg gets so much less. */
void hold_orphan_killed(struct core *core)
{
	core->node_cells[core->syncing_txg & 1] += MOVED_LEAF_CELLS;
	core->orphan_cells += MOVED_LEAF_CELLS;
}

void core_release(struct core *core, uint64_t txg)
{
	unsigned slot = txg & 1;

	if (!POOL_CHECK(core->handles[slot] > 0))
		return;
	/* Which handle it is isn't told: each takes its share along. */
	core->admitted[slot] -= core->admitted[slot] / core->handles[slot];
	if (--core->handles[slot] == 0)
		rt_queue_wake_all(core->rt, &core->released);
}

int core_wait_committed(struct core *core, uint64_t txg)
{
	while (core->committed_txg < txg) {
		if (core->halted || core->stopped)
			return -POOL_EHALTED;
		rt_queue_wait(core->rt, &core->changed);
	}
	return 0;
}

int core_commit(struct core *core)
{
	if (core->read_only)
		return 0;
	if (core->halted)
		return -POOL_EHALTED;
	uint64_t txg = core->open_txg;
	if (!core->touched[txg & 1]) {
		if (!core->syncing)
			return 0;
		/* All that was released before is in the one under way. */
		return core_wait_committed(core, core->syncing_txg);
	}
	core_ask(core);
	return core_wait_committed(core, txg);
}

int core_commit_forced(struct core *core)
{
	if (core->read_only)
		return -EROFS;
	if (core->halted)
		return -POOL_EHALTED;
	uint64_t txg = core->open_txg;
	core->touched[txg & 1] = true;
	core_ask(core);
	return core_wait_committed(core, txg);
}

void core_states_changed(struct core *core)
{
	if (core->stopping)
		return; /* what isn't done goes on after the next import */
	core->touched[core->open_txg & 1] = true;
	core->activity++;
	core_ask(core);
}

static bool sync_is_due(struct core *core)
{
	unsigned slot = core->open_txg & 1;

	if (!core->touched[slot])
		return false;
	return core->wanted_txg >= core->open_txg || core->stopping || intent_pressing(core) ||
	       core->dirty_bytes[slot] > (int64_t)(core->options.dirty_limit / 100 * CLOSE_PERCENT) ||
	       dirty_total(core) >= core->options.dirty_limit ||
	       rt_now(core->rt) >= core->opened_ns + core->options.commit_interval_ns;
}

void core_sync_fiber(void *argument)
{
	struct core *core = argument;

	while (!core->halted) {
		if (sync_is_due(core)) {
			(void)sync_txg(core, core->open_txg); /* a failure halts */
			continue;
		}
		if (core->stopping && !intent_ahead_is_left(core))
			break;
		if (core->stopping)
			core->touched[core->open_txg & 1] = true;
		else if (core->touched[core->open_txg & 1])
			(void)rt_queue_wait_until(core->rt, &core->sync_wake,
						  core->opened_ns + core->options.commit_interval_ns);
		else
			rt_queue_wait(core->rt, &core->sync_wake);
	}
	core->stopped = true;
	rt_queue_wake_all(core->rt, &core->changed);
}
