/*
 * Changes and observations of the reference model. See model.h; recovery is in model_recover.c.
 *
 * What must always hold: versions of a block are ordered by begin, and only the last may be running, unless a
 * crash left one; a block with one version is not in the list of unsettled ones.
 */
#include "tests/sim/model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/model_private.h"
#include "tests/sim/sim_env.h"

/* ---- contents ---- */

static struct model_content *content_new(uint32_t size)
{
	return sim_allocate(sizeof(struct model_content) + size);
}

static bool all_zero(const void *data, size_t length)
{
	const uint8_t *bytes = data;

	return length == 0 || (bytes[0] == 0 && !memcmp(bytes, bytes + 1, length - 1));
}

bool content_equals(const struct model_content *content, size_t at, const void *data, size_t length)
{
	return content ? !memcmp(content->bytes + at, data, length) : all_zero(data, length);
}

bool model_content_is_zero(const struct model_volume *volume, const struct model_content *content)
{
	return !content || all_zero(content->bytes, volume->block_bytes);
}

/* ---- blocks ---- */

struct model_block *block_find(struct model_volume *volume, uint64_t number)
{
	uint64_t hash = hash_u64(number);

	for (struct hash_node *node = hash_table_first(&volume->blocks, hash); node; node = hash_table_next(node)) {
		struct model_block *block = container_of(node, struct model_block, node);

		if (block->number == number)
			return block;
	}
	return NULL;
}

static struct model_block *block_get(struct model_volume *volume, uint64_t number)
{
	struct model_block *block = block_find(volume, number);

	if (block)
		return block;
	block = sim_allocate(sizeof(*block));
	block->number = number;
	block->volume = volume;
	block->capacity = 2;
	block->versions = sim_allocate(block->capacity * sizeof(*block->versions));
	block->count = 1; /* zeros, since ever */
	hash_table_insert(&volume->blocks, &block->node, hash_u64(number));
	return block;
}

/* Takes over the reference. */
static void block_append(struct model *model, struct model_block *block, struct model_content *content, uint64_t begin)
{
	if (block->count == block->capacity) {
		block->capacity *= 2;
		block->versions = realloc(block->versions, block->capacity * sizeof(*block->versions));
		if (!block->versions)
			sim_fatal("no memory for the model");
	}
	block->versions[block->count++] = (struct model_version){begin, MODEL_RUNNING, content};
	if (!list_linked(&block->unsettled))
		list_push_back(&model->unsettled, &block->unsettled);
}

static void end_indexes(struct model_block *block)
{
	if (block->durable >= block->count)
		block->durable = block->count - 1;
	if (block->committed > block->durable)
		block->committed = block->durable;
}

void block_keep(struct model *model, struct model_block *block, unsigned first, unsigned last)
{
	for (unsigned i = 0; i < block->count; i++) {
		if (i < first || i > last) {
			free(block->versions[i].content);
			model->versions_dropped++;
		}
	}
	memmove(block->versions, block->versions + first, (last - first + 1) * sizeof(*block->versions));
	block->count = last - first + 1;
	block->durable = block->durable > first ? block->durable - first : 0;
	block->committed = block->committed > first ? block->committed - first : 0;
	end_indexes(block);
	if (block->count == 1 && list_linked(&block->unsettled))
		list_remove(&block->unsettled);
}

static void block_free(struct hash_node *node, void *argument)
{
	struct model_block *block = container_of(node, struct model_block, node);

	(void)argument;
	for (unsigned i = 0; i < block->count; i++)
		free(block->versions[i].content);
	if (list_linked(&block->unsettled))
		list_remove(&block->unsettled);
	free(block->versions);
	free(block);
}

/* ---- volumes ---- */

void model_init(struct model *model)
{
	*model = (struct model){.clock = 1};
	list_init(&model->volumes);
	list_init(&model->unsettled);
	list_init(&model->observers);
}

void volume_forget(struct model_volume *volume)
{
	list_remove(&volume->node);
	hash_table_each(&volume->blocks, block_free, NULL);
	hash_table_release(&volume->blocks);
	free(volume);
}

void model_release(struct model *model)
{
	while (!list_empty(&model->volumes))
		volume_forget(container_of(model->volumes.next, struct model_volume, node));
}

struct model_volume *model_create_begin(struct model *model, const char *name, uint64_t bytes, uint32_t block_bytes)
{
	struct model_volume *volume = sim_allocate(sizeof(*volume));

	snprintf(volume->name, sizeof(volume->name), "%s", name);
	volume->block_bytes = block_bytes;
	volume->create_begin = ++model->clock;
	volume->create_end = MODEL_RUNNING;
	volume->sizes[volume->size_count++] = (struct model_size){volume->create_begin, MODEL_RUNNING, bytes};
	volume->exclusive = true;
	list_init(&volume->locks);
	if (hash_table_init(&volume->blocks, 64))
		sim_fatal("no memory for the model");
	list_push_back(&model->volumes, &volume->node);
	return volume;
}

void model_create_end(struct model *model, struct model_volume *volume, bool created)
{
	if (!created) {
		volume_forget(volume);
		return;
	}
	volume->create_end = volume->sizes[0].end = ++model->clock;
	volume->exclusive = false;
	model->operations++;
}

void model_destroy_begin(struct model *model, struct model_volume *volume)
{
	volume->destroy_begin = ++model->clock;
	volume->destroy_end = MODEL_RUNNING;
	volume->exclusive = true;
}

void model_destroy_end(struct model *model, struct model_volume *volume, bool destroyed)
{
	volume->destroy_end = destroyed ? ++model->clock : 0;
	if (!destroyed)
		volume->destroy_begin = 0;
	volume->exclusive = false;
	model->operations++;
}

uint64_t model_size(const struct model_volume *volume)
{
	return volume->sizes[volume->size_count - 1].bytes;
}

bool model_exists(const struct model_volume *volume)
{
	return volume->create_end && volume->create_end != MODEL_RUNNING && !volume->destroy_begin;
}

struct model_volume *model_find(struct model *model, const char *name)
{
	list_for_each(node, &model->volumes) {
		struct model_volume *volume = container_of(node, struct model_volume, node);

		if ((!volume->destroy_end || volume->destroy_end == MODEL_RUNNING) && !strcmp(volume->name, name))
			return volume;
	}
	return NULL;
}

static int compare_blocks(const void *a, const void *b)
{
	const struct model_block *const *left = a, *const *right = b;

	return (*left)->number < (*right)->number ? -1 : (*left)->number > (*right)->number;
}

struct block_list {
	struct model_block **blocks;
	size_t count;
	bool unsettled_only;
};

static void collect(struct hash_node *node, void *argument)
{
	struct block_list *list = argument;
	struct model_block *block = container_of(node, struct model_block, node);

	if (!list->unsettled_only || block->count > 1)
		list->blocks[list->count++] = block;
}

void model_each_block(struct model_volume *volume, bool unsettled_only, void (*visit)(struct model_block *block, void *argument),
		      void *argument)
{
	struct block_list list = {sim_allocate((volume->blocks.count + 1) * sizeof(*list.blocks)), 0, unsettled_only};

	hash_table_each(&volume->blocks, collect, &list);
	qsort(list.blocks, list.count, sizeof(*list.blocks), compare_blocks);
	for (size_t i = 0; i < list.count; i++)
		visit(list.blocks[i], argument);
	free(list.blocks);
}

/* ---- writes ---- */

static void change_block(struct model *model, struct model_volume *volume, uint64_t number, size_t at, size_t length,
			 const uint8_t *data, uint64_t begin)
{
	struct model_block *block = block_get(volume, number);
	const struct model_content *old = block->versions[block->count - 1].content;
	struct model_content *content = NULL;

	if (data || (old && length < volume->block_bytes)) {
		content = content_new(volume->block_bytes);
		if (old && length < volume->block_bytes)
			memcpy(content->bytes, old->bytes, volume->block_bytes);
		if (data)
			memcpy(content->bytes + at, data, length);
		else
			memset(content->bytes + at, 0, length);
	}
	block_append(model, block, content, begin);
}

void model_write_begin(struct model *model, struct model_volume *volume, uint64_t offset, uint64_t length, const void *data,
		       struct model_change *ret_change)
{
	uint32_t size = volume->block_bytes;

	*ret_change = (struct model_change){volume, ++model->clock, offset / size, (offset + length - 1) / size, length == 0};
	for (uint64_t done = 0; done < length;) {
		size_t at = (offset + done) % size;
		size_t part = size - at < length - done ? size - at : length - done;

		change_block(model, volume, (offset + done) / size, at, part, data ? (const uint8_t *)data + done : NULL,
			     ret_change->begin);
		done += part;
	}
}

void model_trim_begin(struct model *model, struct model_volume *volume, uint64_t offset, uint64_t length,
		      struct model_change *ret_change)
{
	uint32_t size = volume->block_bytes;
	uint64_t first = (offset + size - 1) / size, end = (offset + length) / size;

	if (first >= end) {
		*ret_change = (struct model_change){.volume = volume, .none = true};
		return;
	}
	model_write_begin(model, volume, first * size, (end - first) * size, NULL, ret_change);
}

void model_change_end(struct model *model, const struct model_change *change)
{
	uint64_t now = ++model->clock;

	model->operations++;
	for (uint64_t number = change->first; !change->none && number <= change->last; number++) {
		struct model_block *block = block_find(change->volume, number);

		if (block && block->versions[block->count - 1].begin == change->begin)
			block->versions[block->count - 1].end = now;
	}
}

bool model_settle(struct model *model, struct model_volume *volume, uint64_t number, const void *data)
{
	struct model_block *block = block_find(volume, number);

	if (!block || block->count < 2) /* as it was, or already known */
		return true;
	struct model_version *last = &block->versions[block->count - 1];

	if (content_equals(last->content, 0, data, volume->block_bytes)) {
		last->end = ++model->clock;
		return true;
	}
	if (!content_equals(last[-1].content, 0, data, volume->block_bytes)) {
		snprintf(model->problem, sizeof(model->problem),
			 "volume %s block %" PRIu64 ": after a failed write neither the old nor the new content", volume->name, number);
		return false;
	}
	free(last->content);
	if (--block->count == 1)
		list_remove(&block->unsettled);
	end_indexes(block);
	return true;
}

bool model_resize_begin(struct model *model, struct model_volume *volume, uint64_t bytes)
{
	uint64_t blocks = (bytes + volume->block_bytes - 1) / volume->block_bytes;

	if (volume->size_count == sizeof(volume->sizes) / sizeof(volume->sizes[0]))
		return false;
	volume->exclusive = true;
	volume->sizes[volume->size_count++] = (struct model_size){++model->clock, MODEL_RUNNING, bytes};
	/* What is cut off is gone, and zeros if it comes back. */
	struct block_list list = {sim_allocate((volume->blocks.count + 1) * sizeof(*list.blocks)), 0, false};

	hash_table_each(&volume->blocks, collect, &list);
	for (size_t i = 0; i < list.count; i++) {
		if (list.blocks[i]->number >= blocks)
			block_append(model, list.blocks[i], NULL, model->clock);
	}
	free(list.blocks);
	return true;
}

/* Those before the durable one. */
void sizes_forget(struct model_volume *volume)
{
	volume->size_count -= volume->size_durable;
	memmove(volume->sizes, volume->sizes + volume->size_durable, volume->size_count * sizeof(volume->sizes[0]));
	volume->size_durable = 0;
}

struct ended {
	uint64_t begin, end;
};

static void end_version(struct hash_node *node, void *argument)
{
	struct model_block *block = container_of(node, struct model_block, node);
	struct ended *ended = argument;

	if (block->versions[block->count - 1].begin == ended->begin)
		block->versions[block->count - 1].end = ended->end;
}

void model_resize_end(struct model *model, struct model_volume *volume)
{
	struct model_size *size = &volume->sizes[volume->size_count - 1];
	struct ended ended = {size->begin, ++model->clock};

	size->end = ended.end;
	hash_table_each(&volume->blocks, end_version, &ended);
	volume->exclusive = false;
	model->operations++;
}

/* ---- observations ---- */

uint64_t model_now(struct model *model)
{
	return ++model->clock;
}

void model_observe(struct model *model, struct model_observer *observer)
{
	observer->begin = ++model->clock;
	list_push_back(&model->observers, &observer->node);
}

/* The oldest version that an observation which began then may see: the last one that had ended. */
static unsigned first_visible(const struct model_block *block, uint64_t begin)
{
	unsigned first = block->count - 1;

	while (first > 0 && block->versions[first].end > begin)
		first--;
	return first;
}

bool model_check_read(struct model *model, struct model_observer *observer, struct model_volume *volume, uint64_t offset,
		      uint64_t length, const void *data)
{
	uint32_t size = volume->block_bytes;
	uint64_t begin = observer->begin;

	list_remove(&observer->node);

	for (uint64_t done = 0; done < length;) {
		size_t at = (offset + done) % size;
		size_t part = size - at < length - done ? size - at : length - done;
		const uint8_t *got = (const uint8_t *)data + done;
		struct model_block *block = block_find(volume, (offset + done) / size);
		bool found = !block && all_zero(got, part);

		for (unsigned i = block ? first_visible(block, begin) : 0; block && i < block->count && !found; i++)
			found = content_equals(block->versions[i].content, at, got, part);
		model->blocks_checked++;
		if (!found) {
			describe_mismatch(model, volume, (offset + done) / size, at, got, part, "read");
			return false;
		}
		done += part;
	}
	return true;
}

/* Whether a block's part of a range was all zeros at some time since begin. */
static bool block_may_be_zero(const struct model_block *block, uint64_t offset, uint64_t end, uint64_t begin)
{
	uint64_t size = block->volume->block_bytes, start = block->number * size;
	uint64_t from = start > offset ? 0 : offset - start, to = start + size < end ? size : end - start;

	for (unsigned i = first_visible(block, begin); i < block->count; i++) {
		const struct model_content *content = block->versions[i].content;

		if (!content || all_zero(content->bytes + from, to - from))
			return true;
	}
	return false;
}

/* Whether a range was all zeros at some time since begin, block by block; else the first that wasn't. */
static bool may_be_zero(struct model_volume *volume, uint64_t offset, uint64_t end, uint64_t begin, uint64_t *ret_block)
{
	struct block_list list = {sim_allocate((volume->blocks.count + 1) * sizeof(*list.blocks)), 0, false};
	uint64_t least = UINT64_MAX;

	hash_table_each(&volume->blocks, collect, &list);
	for (size_t i = 0; i < list.count; i++) {
		const struct model_block *block = list.blocks[i];

		if (block->number >= offset / volume->block_bytes && block->number * volume->block_bytes < end && block->number < least &&
		    !block_may_be_zero(block, offset, end, begin))
			least = block->number;
	}
	free(list.blocks);
	*ret_block = least;
	return least == UINT64_MAX;
}

bool model_check_seek(struct model *model, struct model_observer *observer, struct model_volume *volume, uint64_t offset, bool data,
		      uint64_t found)
{
	uint64_t size = model_size(volume), block = 0, end, begin = observer->begin;

	list_remove(&observer->node);
	if (found < offset || found > size) {
		snprintf(model->problem, sizeof(model->problem), "volume %s: seek from %" PRIu64 " gave %" PRIu64 ", size %" PRIu64,
			 volume->name, offset, found, size);
		return false;
	}
	/* Data: what was skipped is a hole. A hole: the block it lies in is one. */
	if (!data)
		offset = found;
	end = data ? found : (found / volume->block_bytes + 1) * volume->block_bytes;
	if (end > size)
		end = size;
	if (offset < end && !may_be_zero(volume, offset, end, begin, &block)) {
		static const uint8_t zeros[64];
		char how[128];

		snprintf(how, sizeof(how), "seek for %s from %" PRIu64 " at %" PRIu64 " gave %" PRIu64 ", found",
			 data ? "data" : "a hole", offset, begin, found);
		describe_mismatch(model, volume, block, 0, zeros, sizeof(zeros), how);
		return false;
	}
	return true;
}

/* ---- durability ---- */

static void size_durable(struct model_volume *volume, uint64_t begin, bool kept)
{
	unsigned last = volume->size_durable;

	while (last + 1 < volume->size_count && volume->sizes[last + 1].end <= begin)
		last++;
	volume->size_durable = last;
	if (!kept)
		sizes_forget(volume);
}

/* The version `durable` of a block is; with `kept` only as long as the log isn't lost. */
static void block_durable(struct model *model, struct model_block *block, unsigned durable, bool kept)
{
	uint64_t oldest = list_empty(&model->observers) ? UINT64_MAX
							: container_of(model->observers.next, struct model_observer, node)->begin;
	unsigned seen = first_visible(block, oldest);

	if (durable > block->durable)
		block->durable = durable;
	if (durable > block->committed && !kept)
		block->committed = durable;
	block_keep(model, block, seen < block->committed ? seen : block->committed, block->count - 1);
}

void model_durable(struct model *model, struct model_volume *only, uint64_t begin)
{
	bool kept = model->log_may_go && only;

	list_for_each_safe(node, next, &model->unsettled) {
		struct model_block *block = container_of(node, struct model_block, unsettled);

		if (!only || block->volume == only)
			block_durable(model, block, first_visible(block, begin), kept);
	}
	/* The namespace is durable with every flush; sizes are changes of their volumes, which may not all be in the log. */
	list_for_each_safe(node, next, &model->volumes) {
		struct model_volume *volume = container_of(node, struct model_volume, node);

		if (volume->destroy_end && volume->destroy_end <= begin) {
			volume_forget(volume);
			continue;
		}
		if (volume->create_end <= begin)
			volume->created_durable = true;
		if (!only || volume == only || !model->each_alone)
			size_durable(volume, begin, kept);
	}
}

void model_change_durable(struct model *model, const struct model_change *change)
{
	if (change->none)
		return;
	model_durable(model, change->volume, change->begin);
	for (uint64_t number = change->first; number <= change->last; number++) {
		struct model_block *block = block_find(change->volume, number);

		if (block && block->versions[block->count - 1].begin == change->begin)
			block_durable(model, block, block->count - 1, model->log_may_go);
	}
}

/* ---- locks ---- */

bool model_lock(struct model_volume *volume, struct model_lock *lock, uint64_t first, uint64_t last)
{
	if (volume->exclusive)
		return false;
	list_for_each(node, &volume->locks) {
		struct model_lock *other = container_of(node, struct model_lock, node);

		if (first <= other->last && other->first <= last)
			return false;
	}
	lock->first = first;
	lock->last = last;
	list_push_back(&volume->locks, &lock->node);
	volume->users++;
	return true;
}

void model_unlock(struct model_volume *volume, struct model_lock *lock)
{
	list_remove(&lock->node);
	volume->users--;
}
