/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Moving blocks (compact.h): reading what is live, and the step of a sync that places the copies, enters them, and frees the cells they
 * were in.
 *
 * Whether a block still lives when its copy would be placed is told by the cells that it was read from: they are in use, and were
 * not freed by the txg in sync, which has killed all that it kills by then. Rows with a live cell are given to nobody, so it is the same block.
 *
 * What is dropped stays where it is: so a commit moves no more than it has room for without touching what commits need.
 */
#include "libpool/txg/compact.h"

#include <stdlib.h>

#include "libpool/alloc/victims.h"
#include "libpool/base/check.h"
#include "libpool/store/survivors.h"
#include "libpool/txg/internal.h"
#include "libpool/txg/moves.h"

static uint64_t identity_hash_of(uint64_t dva, uint64_t place)
{
	return hash_u64(hash_u64(dva) + place);
}

int moves_init(struct moves *moves)
{
	array_init(&moves->kills, sizeof(struct moved_kill));
	list_init(&moves->waiting);
	list_init(&moves->current);
	return hash_table_init(&moves->by_identity, 64);
}

static void move_free(struct move *move)
{
	buffer_unref(move->block.payload);
	free(move);
}

void moves_release(struct moves *moves)
{
	struct list *node;

	if (!moves->by_identity.buckets)
		return;
	while ((node = list_pop_front(&moves->waiting)) || (node = list_pop_front(&moves->current)))
		move_free(container_of(node, struct move, node));
	hash_table_release(&moves->by_identity);
	array_release(&moves->kills);
}

const struct move *moves_find(const struct moves *moves, uint64_t dva, uint64_t place)
{
	for (struct hash_node *node = hash_table_first(&moves->by_identity, identity_hash_of(dva, place)); node; node = hash_table_next(node)) {
		const struct move *move = container_of(node, struct move, by_identity);

		if (move->block.identity_dva == dva && move->block.identity_place == place)
			return move;
	}
	return NULL;
}

/* For a block that is to be moved out of it, or while such are looked for. */
static void hold_on(struct segment *segment)
{
	alloc_pin(segment);
	segment->moves++;
}

static void let_go(struct core *core, struct segment *segment)
{
	alloc_unpin(core->alloc, segment);
	if (--segment->moves == 0)
		alloc_rows_release(core->alloc, segment);
}

/* ---- reading ---- */

/* A node of one of the pool's own trees, by its lowest key. */
struct own_node {
	struct object *tree;
	unsigned cells;
	size_t key_length;
	uint8_t key[];
};

struct compaction {
	struct core *core;
	struct segment *segment;
	struct core_compacted *result;
	struct array own; /* struct own_node * */
	uint64_t until_ns; /* after which no stripe is read */
};

/*
 * A block of the pool's own: no entry is made for these, so that none is needed to find the tree of entries. Nodes of trees are written anew, by who they
 * belong to. All others are those of every commit: dnodes and the objset block.
 */
static int take_own(struct compaction *compaction, const struct store_survivor *survivor)
{
	const struct summary_block *block = survivor->block;
	struct core *core = compaction->core;
	struct object *tree = block->type == TYPE_TREE && block->object < MOS_FIRST_FREE ? core->mos_objects[block->object] : NULL;
	struct block_pointer pointer = { .psect = block->psect };
	struct buffer *content = NULL;
	struct dnode dnode;
	size_t length;

	if (!tree) {
		*(block->type == TYPE_DNODES || block->type == TYPE_OBJSET ? &compaction->result->own_cells : &compaction->result->left_cells) += block->psect;
		return 0;
	}
	if (core->moves.waiting_bytes >= moves_bytes_max(core))
		return -EAGAIN;
	object_info(tree, &dnode);
	pointer.lsect = (uint16_t)((1u << dnode.indirect_shift) / CELL_SIZE);
	pointer.compression = pointer.psect < pointer.lsect ? COMPRESSION_ZSTD : COMPRESSION_NONE;
	struct own_node *node = malloc(sizeof(*node) + OBJECT_KEY_MAX);
	int status = node ? block_content(core->blocks, &pointer, survivor->payload, &content) : -ENOMEM;
	if (status == 0)
		status = tree_first_key(tree, content, block->level, node->key, &length);
	if (status == 0)
		status = tree_check(tree, node->key, length);
	if (status == 0) {
		node->tree = tree;
		node->cells = block->psect;
		node->key_length = length;
		core->moves.waiting_bytes += (uint64_t)pointer.lsect * CELL_SIZE;
		status = array_push(&compaction->own, &node);
	}
	buffer_unref(content);
	if (status < 0) {
		free(node);
		compaction->result->left_cells += block->psect;
	}
	return status == -ENOMEM ? status : 0;
}

/* In a transaction of its own, when everything is read; it makes a commit due, too, without which the segment would stay pinned. */
static int touch_own(struct compaction *compaction)
{
	struct core *core = compaction->core;
	uint64_t txg;
	int status = 0;
	bool held = compaction->own.count + compaction->result->blocks > 0 && core_hold_moves(core, compaction->result->blocks + compaction->own.count, &txg) == 0;

	for (size_t i = 0; i < compaction->own.count; i++) {
		struct own_node *node = *array_at(&compaction->own, struct own_node *, i);

		if (held && status == 0)
			status = tree_touch(node->tree, txg, node->key, node->key_length);
		compaction->result->own_cells += held && status == 0 ? node->cells : 0;
		free(node);
	}
	if (held)
		core_release(core, txg);
	core->moves.counters.own_cells += compaction->result->own_cells;
	array_release(&compaction->own);
	return status;
}

/* Whether the entry that there is, or isn't, can be changed, and is of the block at this address. */
static int check_entry(struct core *core, const struct store_survivor *survivor, uint64_t dva, uint64_t place)
{
	uint8_t key[MOVED_KEY_SIZE];
	struct moved_entry entry;

	moved_key_encode(dva, place, key);
	int status = tree_check(core->mos_objects[MOS_XBLK], key, sizeof(key));
	if (status < 0)
		return status;
	status = moved_find(core, dva, place, &entry);
	if (status == -ENOENT)
		return dva == survivor->dva && place == survivor->place ? 0 : -POOL_EFORMAT;
	if (status < 0)
		return status;
	return entry.new_dva == survivor->dva ? 0 : -POOL_EFORMAT;
}

static int take(void *argument, const struct store_survivor *survivor)
{
	struct compaction *compaction = argument;
	struct core *core = compaction->core;
	struct moves *moves = &core->moves;
	const struct summary_block *block = survivor->block;
	bool again = block->flags & SUMMARY_RELOCATED;
	uint64_t dva = again ? block->identity_dva : survivor->dva, place = again ? block->identity_place : survivor->place;

	if (core->halted || core->stopping)
		return -POOL_EHALTED;
	if (!survivor->payload) { /* as a read of it would have found */
		struct block_pointer pointer = { .dva = dva, .place = place, .psect = block->psect, .lsect = block->psect };
		struct block_owner owner = { block->objset, block->object, block->block, block->level };
		block_is_damaged(core->blocks, &pointer, &owner);
		return 0;
	}
	if (block->objset == 0)
		return take_own(compaction, survivor);
	if (moves_find(moves, dva, place))
		return 0;
	if (moves->waiting_bytes >= moves_bytes_max(core))
		return -EAGAIN;
	int status = check_entry(core, survivor, dva, place);
	if (status == -ENOMEM)
		return status;
	/* Looking has taken a while. */
	if (core->stopping)
		return -POOL_EHALTED;
	bool lives = alloc_block_is_live(core->alloc, &(struct block_pointer){ .dva = survivor->dva, .place = survivor->place, .psect = block->psect });
	if (status < 0 || !lives || moves_find(moves, dva, place)) {
		compaction->result->left_cells += status < 0 && lives ? block->psect : 0;
		return 0;
	}
	struct move *move = calloc(1, sizeof(*move));
	if (!move)
		return -ENOMEM;
	move->from = (struct block_pointer){ .dva = survivor->dva, .place = survivor->place, .psect = block->psect };
	move->segment = compaction->segment;
	move->block = (struct store_block){ .payload = buffer_ref(survivor->payload), .psect = block->psect, .type = block->type,
					    .owner = { block->objset, block->object, block->block, block->level },
					    .identity_dva = dva, .identity_place = place };
	hold_on(move->segment);
	list_push_back(&moves->waiting, &move->node);
	hash_table_insert(&moves->by_identity, &move->by_identity, identity_hash_of(dva, place));
	moves->waiting_bytes += survivor->payload->size;
	moves->cells += block->psect;
	compaction->result->blocks++;
	compaction->result->cells += block->psect;
	return 0;
}

/* Without the rows of this segment, what was promised must still have room. */
static bool promises_allow(const struct core *core, const struct segment *segment)
{
	uint64_t promised = core->reserved_cells[0] + core->reserved_cells[1];
	unsigned block = core->reserved_block[0] > core->reserved_block[1] ? core->reserved_block[0] : core->reserved_block[1];
	struct space space = core->space;

	if (promised == 0)
		return true;
	space.rows = alloc_rows_without(core->alloc, segment, &space.rows);
	return promised <= space_available(&space, block ? block : 1);
}

static bool goes_on(void *argument)
{
	const struct compaction *compaction = argument;
	const struct core *core = compaction->core;

	return !core->halted && !core->stopping && rt_now(core->rt) < compaction->until_ns;
}

int core_compact(struct core *core, uint32_t id, unsigned row, unsigned rows, struct core_compacted *ret_compacted)
{
	return compact_until(core, id, row, rows, UINT64_MAX, ret_compacted);
}

int compact_until(struct core *core, uint32_t id, unsigned row, unsigned rows, uint64_t until_ns, struct core_compacted *ret_compacted)
{
	struct segment *segment = alloc_segment(core->alloc, id);
	struct compaction compaction = { .core = core, .segment = segment, .result = ret_compacted, .until_ns = until_ns };
	struct survivors_taker taker = { .take = take, .goes_on = goes_on, .argument = &compaction };

	*ret_compacted = (struct core_compacted){ 0 };
	if (core->read_only)
		return -EROFS;
	if (core->halted || core->stopping)
		return -POOL_EHALTED;
	if (!segment || segment->record.state != SEGMENT_FULL || segment->record.class == CLASS_SYS || segment->record.class == CLASS_LOG ||
	    segment->pins != segment->moves || segment->placed_in_txg || segment->runs_giving)
		return -EBUSY;
	unsigned first = row ? row : 1, end = row + rows < segment->record.rows_used ? row + rows : segment->record.rows_used;
	if (first >= end)
		return 0;
	if (!promises_allow(core, segment))
		return -EBUSY;
	core->moves.counters.victims++;
	array_init(&compaction.own, sizeof(struct own_node *));
	alloc_rows_withhold(core->alloc, segment, &core->space.rows);
	hold_on(segment); /* a commit that moves what was read so far doesn't give its rows back */
	int status = store_survivors(core->store, segment, first, end - first, &taker, &ret_compacted->left_cells);
	if (status == -ECANCELED)
		status = core->halted || core->stopping ? -POOL_EHALTED : -EAGAIN;
	let_go(core, segment);
	/* Whatever became of the rest, what it got to is written anew. */
	int touched = touch_own(&compaction);
	return status < 0 ? status : touched;
}

/* What a commit of writers may hold is no more than a quarter of what may be dirty. */
uint64_t moves_bytes_max(const struct core *core)
{
	uint64_t share = core->options.dirty_limit / 4;

	return share > COMPACT_BYTES_MAX ? share : COMPACT_BYTES_MAX;
}

uint64_t core_compact_waiting(const struct core *core)
{
	return core->moves.waiting_bytes;
}

const struct core_compact_counters *core_compact_counters(const struct core *core)
{
	return &core->moves.counters;
}

/* ---- the commit ---- */

static void placed(struct store_block *block)
{
	struct move *move = container_of(block, struct move, block);

	move->placed = true;
	buffer_unref(block->payload);
	block->payload = NULL;
}

uint64_t moves_room(const struct core *core, uint64_t promised)
{
	uint64_t writers, copies = alloc_copy_cells(core->alloc, &writers);

	return copies + (writers > promised ? writers - promised : 0);
}

static void place_all(struct core *core)
{
	struct moves *moves = &core->moves;
	/* Writers of the txg in sync have placed by now what they have, but not all of its nodes; more than there is room for is refused when it is placed. */
	uint64_t room = moves_room(core, core->reserved_cells[core->open_txg & 1] + core->nodes_above[core->syncing_txg & 1]), cells = 0;
	uint8_t key[MOVED_KEY_SIZE];

	list_splice_back(&moves->current, &moves->waiting);
	list_for_each(node, &moves->current) {
		struct move *move = container_of(node, struct move, node);

		if (!alloc_block_is_live(core->alloc, &move->from)) {
			moves->counters.died_cells += move->from.psect;
			continue;
		}
		if (cells + move->from.psect > room) {
			moves->counters.crowded_cells += move->from.psect;
			continue;
		}
		moved_key_encode(move->block.identity_dva, move->block.identity_place, key);
		if (tree_check(core->mos_objects[MOS_XBLK], key, sizeof(key)) < 0)
			continue; /* it could be when it was read: its entry can't be written any more */
		cells += move->from.psect;
		move->block.placed = placed;
		store_place(core->store, CLASS_SURV, &move->block);
	}
}

static int compare_moves(const void *a, const void *b)
{
	const struct store_block *x = &(*(struct move *const *)a)->block, *y = &(*(struct move *const *)b)->block;

	if (x->identity_dva != y->identity_dva)
		return x->identity_dva < y->identity_dva ? -1 : 1;
	return x->identity_place < y->identity_place ? -1 : x->identity_place > y->identity_place;
}

/* The copy has its address: the entry, and the end of the old cells. */
static int enter(struct core *core, uint64_t txg, const struct move *move)
{
	const struct store_block *block = &move->block;
	struct moved_entry before, entry = { .dva = block->identity_dva, .place = block->identity_place, .new_dva = block->dva, .references = 1 };
	uint8_t key[MOVED_KEY_SIZE], value[MOVED_VALUE_SIZE];
	int status = moved_find(core, entry.dva, entry.place, &before);

	if (status < 0 && status != -ENOENT)
		return status;
	if (status == 0)
		entry.references = before.references;
	moved_encode(&entry, key, value);
	status = tree_put(core->mos_objects[MOS_XBLK], txg, key, sizeof(key), value, sizeof(value));
	if (status < 0)
		return status;
	alloc_block_moves(core->alloc, entry.dva, entry.place);
	core->moves.counters.blocks++;
	core->moves.counters.cells += move->from.psect;
	core_free_block(core, &move->from);
	return core->halted ? -POOL_EHALTED : 0;
}

static int enter_all(struct core *core, uint64_t txg)
{
	struct array sorted; /* struct move * */
	int status = 0;

	array_init(&sorted, sizeof(struct move *));
	list_for_each(node, &core->moves.current) {
		struct move *move = container_of(node, struct move, node);

		if (move->block.placed && !move->placed)
			core->moves.counters.crowded_cells += move->from.psect;
		if (move->placed && status == 0)
			status = array_push(&sorted, &move);
	}
	if (sorted.count)
		qsort(sorted.items, sorted.count, sizeof(struct move *), compare_moves);
	for (size_t i = 0; i < sorted.count && status == 0; i++)
		status = enter(core, txg, *array_at(&sorted, struct move *, i));
	array_release(&sorted);
	return status;
}

int moves_sync(struct core *core, uint64_t txg)
{
	int status = moved_sync_kills(core, txg);

	core->moves.waiting_bytes = 0;
	if (status < 0 || list_empty(&core->moves.waiting))
		return status;
	place_all(core);
	status = store_cut(core->store, CLASS_SURV);
	return status < 0 ? status : enter_all(core, txg);
}

void moves_committed(struct core *core)
{
	struct list *node;

	while ((node = list_pop_front(&core->moves.current))) {
		struct move *move = container_of(node, struct move, node);

		hash_table_remove(&core->moves.by_identity, &move->by_identity);
		core->moves.cells -= move->from.psect;
		let_go(core, move->segment);
		move_free(move);
	}
}
