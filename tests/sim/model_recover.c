/*
 * The model after a crash: what was found must be one state that a commit can have written.
 *
 * For every block, size and existence the recovered version tells two times: something that began at P is
 * included, and something that ended at Q is not. Commits are whole and in order, so a change that had ended
 * before an included one began must be included too: the least Q may not lie before the greatest P.
 * Versions of equal content leave a choice, and are counted in the way that contradicts nothing.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/content.h"
#include "tests/sim/model_private.h"

struct bound {
	uint64_t time, number;
	char what[48];
};
/* One recovery at a time in a process: the simulator has one pool. */
static struct bound latest_in, earliest_out;

static void included(uint64_t begin, const char *what, uint64_t number)
{
	if (begin > latest_in.time) {
		latest_in.time = begin;
		latest_in.number = number;
		snprintf(latest_in.what, sizeof(latest_in.what), "%s", what);
	}
}

static void excluded(uint64_t end, const char *what, uint64_t number)
{
	if (end < earliest_out.time) {
		earliest_out.time = end;
		earliest_out.number = number;
		snprintf(earliest_out.what, sizeof(earliest_out.what), "%s", what);
	}
}

static size_t print_stamp(char *text, size_t size, const uint8_t *bytes, size_t length)
{
	uint32_t volume;
	uint64_t offset, version;
	size_t zeros = 0;

	if (content_describe(bytes, length, &volume, &offset, &version))
		return (size_t)snprintf(text, size, "operation %" PRIu64 " on volume %u offset %" PRIu64, version, volume, offset);
	while (zeros < length && !bytes[zeros])
		zeros++;
	return (size_t)snprintf(text, size, zeros == length ? "zeros" : "no stamp (first byte not zero at %zu)", zeros);
}

void describe_mismatch(struct model *model, const struct model_volume *volume, uint64_t number, size_t at, const uint8_t *got,
		       size_t length, const char *how)
{
	struct model_block *block = block_find((struct model_volume *)volume, number);
	size_t size = sizeof(model->problem);
	size_t used = (size_t)snprintf(model->problem, size, "%s of volume %s (block size %u) block %" PRIu64 " + %zu, %zu bytes: got ", how,
				       volume->name, volume->block_bytes, number, at, length);

	used += print_stamp(model->problem + used, size - used, got, length);
	for (unsigned i = 0; block && i < block->count && used + 100 < size; i++) {
		const struct model_version *version = &block->versions[i];

		used += (size_t)snprintf(model->problem + used, size - used, "; possible [%" PRIu64 ", %" PRIu64 "]: ", version->begin,
					 version->end == MODEL_RUNNING ? 0 : version->end);
		if (version->content)
			used += print_stamp(model->problem + used, size - used, version->content->bytes + at, length);
		else
			used += (size_t)snprintf(model->problem + used, size - used, "zeros");
	}
	if (!block)
		snprintf(model->problem + used, size - used, "; never written");
}

void model_crash(struct model *model)
{
	model->crashes++;
	list_init(&model->observers);
	list_for_each(node, &model->volumes) {
		struct model_volume *volume = container_of(node, struct model_volume, node);

		volume->users = 0;
		volume->exclusive = false;
		volume->handle = NULL;
		list_init(&volume->locks);
	}
}

void model_recover_begin(struct model *model)
{
	list_for_each_safe(node, next, &model->unsettled) {
		struct model_block *block = container_of(node, struct model_block, unsettled);

		block_keep(model, block, model->log_is_lost ? block->committed : block->durable, block->count - 1);
	}
	latest_in = (struct bound){.time = 0};
	earliest_out = (struct bound){.time = UINT64_MAX};
	list_for_each(node, &model->volumes) {
		struct model_volume *volume = container_of(node, struct model_volume, node);

		volume->matched = false;
		if (model->log_is_lost)
			volume->size_durable = 0;
		sizes_forget(volume);
	}
}

static bool size_matches(struct model_volume *volume, uint64_t bytes, bool take)
{
	unsigned first = volume->size_count, last = 0;

	for (unsigned i = 0; i < volume->size_count; i++) {
		if (volume->sizes[i].bytes != bytes)
			continue;
		last = i;
		if (first == volume->size_count)
			first = i;
	}
	if (first == volume->size_count)
		return false;
	if (take) {
		included(volume->sizes[first].begin, volume->name, bytes);
		if (last + 1 < volume->size_count)
			excluded(volume->sizes[last + 1].end, volume->name, volume->sizes[last + 1].bytes);
		volume->sizes[0] = (struct model_size){0, 0, bytes};
		volume->size_count = 1;
		volume->size_durable = 0;
	}
	return true;
}

bool model_recover_volume(struct model *model, const char *name, uint32_t id, uint64_t bytes, uint32_t block_bytes,
			  struct model_volume **ret_volume)
{
	struct model_volume *found = NULL;

	list_for_each(node, &model->volumes) {
		struct model_volume *volume = container_of(node, struct model_volume, node);

		if (volume->matched || strcmp(volume->name, name) || volume->block_bytes != block_bytes)
			continue;
		if (volume->id ? volume->id == id : !found && size_matches(volume, bytes, false))
			found = volume;
		if (volume->id && volume->id == id)
			break;
	}
	if (!found) {
		snprintf(model->problem, sizeof(model->problem),
			 "recovery: volume %s, id %u, %" PRIu64 " bytes, block size %u should not be there (never created, or durably destroyed)",
			 name, id, bytes, block_bytes);
		return false;
	}
	if (!size_matches(found, bytes, true)) {
		snprintf(model->problem, sizeof(model->problem), "recovery: volume %s has %" PRIu64 " bytes; last it had %" PRIu64, name, bytes,
			 model_size(found));
		return false;
	}
	included(found->create_begin, name, 0);
	if (found->destroy_begin)
		excluded(found->destroy_end, name, 0);
	found->matched = true;
	found->id = id;
	*ret_volume = found;
	return true;
}

static bool is_one_state(struct model *model)
{
	if (earliest_out.time >= latest_in.time)
		return true;
	snprintf(model->problem, sizeof(model->problem),
		 "recovery: not the state of any commit: a change of %s (%" PRIu64 ") that began at %" PRIu64
		 " is there, and one of %s (%" PRIu64 ") that had ended at %" PRIu64 " is not",
		 latest_in.what, latest_in.number, latest_in.time, earliest_out.what, earliest_out.number, earliest_out.time);
	return false;
}

bool model_recover_block(struct model *model, struct model_block *block, const void *data)
{
	struct model_volume *volume = block->volume;
	unsigned first = block->count, last = 0;

	for (unsigned i = 0; i < block->count; i++) {
		if (!content_equals(block->versions[i].content, 0, data, volume->block_bytes))
			continue;
		last = i;
		if (first == block->count)
			first = i;
	}
	model->blocks_checked++;
	if (first == block->count) {
		describe_mismatch(model, volume, block->number, 0, data, volume->block_bytes, "recovery");
		return false;
	}
	included(block->versions[first].begin, volume->name, block->number);
	if (last + 1 < block->count)
		excluded(block->versions[last + 1].end, volume->name, block->number);
	block_keep(model, block, first, first);
	block->versions[0].begin = block->versions[0].end = 0;
	return true;
}

bool model_recover_volume_end(struct model *model)
{
	bool holds = !model->each_alone || is_one_state(model);

	if (model->each_alone) {
		latest_in = (struct bound){.time = 0};
		earliest_out = (struct bound){.time = UINT64_MAX};
	}
	return holds;
}

static void settle_beyond_end(struct model_block *block, void *argument)
{
	struct model *model = argument;
	struct model_volume *volume = block->volume;

	if (block->number < (model_size(volume) + volume->block_bytes - 1) / volume->block_bytes)
		return;
	for (unsigned i = block->count; i-- > 0;) {
		if (!model_content_is_zero(volume, block->versions[i].content))
			continue;
		block_keep(model, block, i, i);
		block->versions[0].begin = block->versions[0].end = 0;
		return;
	}
}

static bool absent_is_possible(struct model *model, struct model_volume *volume)
{
	if (volume->created_durable && !volume->destroy_begin) {
		snprintf(model->problem, sizeof(model->problem), "recovery: volume %s (id %u) is gone", volume->name, volume->id);
		return false;
	}
	if (!volume->destroy_begin)
		excluded(volume->create_end, volume->name, 0);
	else if (volume->created_durable)
		included(volume->destroy_begin, volume->name, 0);
	return true;
}

bool model_recover_end(struct model *model)
{
	list_for_each_safe(node, next, &model->volumes) {
		struct model_volume *volume = container_of(node, struct model_volume, node);

		if (!volume->matched) {
			if (!absent_is_possible(model, volume))
				return false;
			volume_forget(volume);
			continue;
		}
		volume->create_begin = volume->create_end = 1;
		volume->created_durable = true;
		volume->destroy_begin = volume->destroy_end = 0;
		model_each_block(volume, false, settle_beyond_end, model);
	}
	if (!list_empty(&model->unsettled)) {
		struct model_block *block = container_of(model->unsettled.next, struct model_block, unsettled);

		snprintf(model->problem, sizeof(model->problem), "simulator: block %" PRIu64 " of volume %s wasn't looked at after recovery",
			 block->number, block->volume->name);
		return false;
	}
	return is_one_state(model);
}
