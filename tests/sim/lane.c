/* SPDX-License-Identifier: BSD-2-Clause */
/* See lane.h. */
#include "tests/sim/lane.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void node_clear(struct lane_node *node)
{
	free(node->data);
	*node = (struct lane_node){ .used = false };
}

void lane_clear(struct lane_state *state)
{
	for (unsigned i = 0; i < LANE_NODES; i++)
		node_clear(&state->nodes[i]);
	memset(state->entries, 0, sizeof(state->entries));
}

/* ---- digests: a walk in the order of names; nodes are told by when they come ---- */

struct walk {
	const struct lane_state *state;
	struct xxh3_stream stream;
	unsigned seen[LANE_NODES], count;
};

static bool note(struct walk *walk, unsigned index, uint64_t *ret_place)
{
	for (unsigned i = 0; i < walk->count; i++) {
		*ret_place = i;
		if (walk->seen[i] == index)
			return true;
	}
	*ret_place = walk->count;
	walk->seen[walk->count++] = index;
	return false;
}

static void digest_node(struct walk *walk, unsigned index)
{
	const struct lane_node *node = &walk->state->nodes[index];
	uint64_t place;
	bool known = note(walk, index, &place);
	uint64_t figures[] = { place, node->mode, node->device, node->links, node->size };

	xxh3_stream_update(&walk->stream, figures, sizeof(figures));
	if (known)
		return;
	if (node->size)
		xxh3_stream_update(&walk->stream, node->data, node->size);
	for (unsigned i = 0; i < LANE_XATTRS; i++) {
		uint64_t attribute[] = { node->xattrs[i], node->xattrs[i] > 1 ? node->fill[i] : 0 };
		xxh3_stream_update(&walk->stream, attribute, sizeof(attribute));
	}
	for (unsigned name = 0; S_ISDIR(node->mode) && name < LANE_NAMES; name++) {
		int entry = lane_find(walk->state, index, name);
		uint8_t there = entry >= 0;
		xxh3_stream_update(&walk->stream, &there, 1);
		if (there)
			digest_node(walk, walk->state->entries[entry].node);
	}
}

struct hash128 lane_digest(const struct lane_state *state)
{
	struct walk walk = { .state = state };
	struct hash128 digest;

	xxh3_stream_init(&walk.stream);
	digest_node(&walk, 0);
	xxh3_stream_final(&walk.stream, &digest);
	return digest;
}

/* ---- history ---- */

void lane_base(struct lane *lane)
{
	lane->history[0] = (struct lane_change){ .made = lane_digest(&lane->state) };
	lane->count = 1;
	lane->durable = lane->committed = 0;
}

bool lane_begin(struct lane *lane, uint64_t clock)
{
	if (lane->count == LANE_HISTORY)
		return false;
	lane->history[lane->count++] = (struct lane_change){ clock, LANE_RUNNING, lane_digest(&lane->state) };
	return true;
}

void lane_end(struct lane *lane, uint64_t clock)
{
	lane->history[lane->count - 1].end = clock;
}

void lane_durable(struct lane *lane, uint64_t clock)
{
	while (lane->durable + 1 < lane->count && lane->history[lane->durable + 1].end < clock)
		lane->durable++;
}

void lane_committed(struct lane *lane, uint64_t clock)
{
	lane_durable(lane, clock);
	while (lane->committed + 1 < lane->count && lane->history[lane->committed + 1].end < clock)
		lane->committed++;
}

void lane_lose_log(struct lane *lane)
{
	lane->durable = lane->committed;
}

/* The first change from `from` on that has made this; count if there is none. */
static unsigned next_made(const struct lane *lane, unsigned from, const struct hash128 *digest)
{
	while (from < lane->count && memcmp(&lane->history[from].made, digest, sizeof(*digest)) != 0)
		from++;
	return from;
}

/* The last change that had ended before the other began. */
static unsigned ended_before(const struct lane *lane, uint64_t begin)
{
	unsigned last = 0;

	while (last + 1 < lane->count && lane->history[last + 1].end < begin)
		last++;
	return last;
}

/* Each lane is taken for as old as it can be, until that contradicts another: what makes one of them newer can only ask more of the others. */
bool lanes_judge(struct lane *const *lanes, const struct hash128 *found, unsigned count)
{
	bool changed = true;

	for (unsigned i = 0; i < count; i++)
		lanes[i]->found = next_made(lanes[i], lanes[i]->durable, &found[i]);
	while (changed) {
		changed = false;
		for (unsigned i = 0; i < count; i++) {
			if (lanes[i]->found >= lanes[i]->count)
				return false;
			for (unsigned j = 0; j < count; j++) {
				unsigned least = ended_before(lanes[j], lanes[i]->history[lanes[i]->found].begin);
				if (lanes[j]->found >= least)
					continue;
				lanes[j]->found = next_made(lanes[j], least, &found[j]);
				changed = true;
			}
		}
	}
	return true;
}

/* ---- operations ---- */

int lane_find(const struct lane_state *state, unsigned directory, unsigned name)
{
	for (unsigned i = 0; i < LANE_ENTRIES; i++) {
		const struct lane_entry *entry = &state->entries[i];
		if (entry->node && entry->directory == directory && entry->name == name)
			return (int)i;
	}
	return -1;
}

unsigned lane_free_node(const struct lane_state *state)
{
	for (unsigned i = 1; i < LANE_NODES; i++)
		if (!state->nodes[i].used)
			return i;
	return 0;
}

static struct lane_entry *free_entry(struct lane_state *state)
{
	for (unsigned i = 0; i < LANE_ENTRIES; i++)
		if (!state->entries[i].node)
			return &state->entries[i];
	return NULL;
}

bool lane_has_room(const struct lane_state *state)
{
	unsigned used = 0;

	for (unsigned i = 0; i < LANE_ENTRIES; i++)
		used += state->entries[i].node != 0;
	return used < LANE_ENTRIES;
}

bool lane_is_directory(const struct lane_state *state, unsigned index)
{
	return state->nodes[index].used && S_ISDIR(state->nodes[index].mode);
}

static bool is_empty(const struct lane_state *state, unsigned directory)
{
	for (unsigned i = 0; i < LANE_ENTRIES; i++)
		if (state->entries[i].node && state->entries[i].directory == directory)
			return false;
	return true;
}

int lane_make(struct lane_state *state, unsigned directory, unsigned name, const struct lane_node *node, unsigned index)
{
	if (lane_find(state, directory, name) >= 0)
		return -EEXIST;
	state->nodes[index] = *node;
	*free_entry(state) = (struct lane_entry){ directory, name, index };
	if (S_ISDIR(node->mode))
		state->nodes[directory].links++;
	return 0;
}

int lane_link(struct lane_state *state, unsigned node, unsigned directory, unsigned name)
{
	if (lane_is_directory(state, node))
		return -EPERM;
	if (lane_find(state, directory, name) >= 0)
		return -EEXIST;
	*free_entry(state) = (struct lane_entry){ directory, name, node };
	state->nodes[node].links++;
	return 0;
}

static void drop(struct lane_state *state, unsigned index)
{
	struct lane_node *node = &state->nodes[index];

	node->links = S_ISDIR(node->mode) ? 0 : node->links - 1;
	if (!node->links)
		node_clear(node);
}

/* Whether an entry may go. */
static int removable(const struct lane_state *state, unsigned index, bool as_directory)
{
	if (!as_directory)
		return lane_is_directory(state, index) ? -EISDIR : 0;
	if (!lane_is_directory(state, index))
		return -ENOTDIR;
	return is_empty(state, index) ? 0 : -ENOTEMPTY;
}

int lane_remove(struct lane_state *state, unsigned directory, unsigned name)
{
	int found = lane_find(state, directory, name);

	if (found < 0)
		return -ENOENT;
	unsigned index = state->entries[found].node;
	bool is_directory = lane_is_directory(state, index);
	int status = removable(state, index, is_directory);
	if (status < 0)
		return status;
	state->entries[found].node = 0;
	if (is_directory)
		state->nodes[directory].links--;
	drop(state, index);
	return 0;
}

/* Whether `index` is `above` or below it. */
static bool is_inside(const struct lane_state *state, unsigned index, unsigned above)
{
	while (index != above && index) {
		unsigned i = 0;
		while (state->entries[i].node != index)
			i++;
		index = state->entries[i].directory;
	}
	return index == above;
}

static void count_directory(struct lane_state *state, unsigned node, unsigned from, unsigned to)
{
	if (!lane_is_directory(state, node))
		return;
	state->nodes[from].links--;
	state->nodes[to].links++;
}

static int rename_check(const struct lane_state *state, const struct lane_entry *from, const struct lane_entry *to, unsigned directory, bool no_replace, bool exchange)
{
	int status;

	if (!from || (exchange && !to))
		return -ENOENT;
	if (to && no_replace)
		return -EEXIST;
	if (to && !exchange && from->node != to->node) {
		status = removable(state, to->node, lane_is_directory(state, from->node));
		if (status < 0)
			return status;
	}
	if (lane_is_directory(state, from->node) && is_inside(state, directory, from->node))
		return -EINVAL;
	return exchange && lane_is_directory(state, to->node) && is_inside(state, from->directory, to->node) ? -EINVAL : 0;
}

int lane_rename(struct lane_state *state, unsigned from_directory, unsigned name, unsigned to_directory, unsigned new_name, bool no_replace, bool exchange)
{
	int found[2] = { lane_find(state, from_directory, name), lane_find(state, to_directory, new_name) };
	struct lane_entry *from = found[0] < 0 ? NULL : &state->entries[found[0]], *to = found[1] < 0 ? NULL : &state->entries[found[1]];
	int status = rename_check(state, from, to, to_directory, no_replace, exchange);

	if (status < 0 || (to && from->node == to->node))
		return status;
	count_directory(state, from->node, from_directory, to_directory);
	if (exchange) {
		unsigned other = to->node;
		count_directory(state, other, to_directory, from_directory);
		to->node = from->node;
		from->node = other;
		return 0;
	}
	if (to) {
		unsigned old = to->node;
		to->node = 0;
		if (lane_is_directory(state, old))
			state->nodes[to_directory].links--;
		drop(state, old);
	}
	from->directory = to_directory;
	from->name = new_name;
	return 0;
}

void lane_write(struct lane_state *state, unsigned node, uint64_t offset, uint64_t length, const uint8_t *data, bool grows)
{
	struct lane_node *file = &state->nodes[node];

	if (!grows)
		length = offset >= file->size ? 0 : length < file->size - offset ? length : file->size - offset;
	if (data)
		memcpy(file->data + offset, data, length);
	else
		memset(file->data + offset, 0, length);
	if (offset + length > file->size && length)
		file->size = offset + length;
}

void lane_truncate(struct lane_state *state, unsigned node, uint64_t size)
{
	struct lane_node *file = &state->nodes[node];

	if (size < file->size)
		memset(file->data + size, 0, file->size - size);
	file->size = size;
}
