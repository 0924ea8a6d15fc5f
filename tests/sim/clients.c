/*
 * The random operations of clients. See clients.h.
 *
 * Each operation tells the model when it begins and ends; errors other than a full pool are contradictions,
 * since faults stay within what the profile survives.
 */
#include "tests/sim/clients.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/block/block.h"
#include "scrub/verify.h"
#include "tests/sim/admin.h"
#include "tests/sim/content.h"
#include "tests/sim/files.h"
#include "tests/sim/settings.h"

#define NAMES 6u

struct client {
	struct world *world;
	struct sim_random random;
	unsigned operations;
	struct rt_group *group;
};

static void check(struct world *world, bool holds)
{
	if (!holds)
		world_fail(world, "%s", world->model.problem);
}

static _Noreturn void fail_call(struct world *world, const char *what, const struct model_volume *volume, uint64_t offset, uint64_t length,
				int result, const struct pool_error *error)
{
	const char *why = "";

	if (core_halted(world->core, &why) && !why)
		why = "?";
	world_fail(world, "%s of %s at %" PRIu64 " + %" PRIu64 ": %s%s%s%s%s", what, volume ? volume->name : "the pool", offset, length,
		   pool_error_string(result), error && error->text[0] ? ": " : "", error ? error->text : "", why && why[0] ? "; halted: " : "",
		   why ? why : "");
}

/* ---- choices ---- */

static struct model_volume *pick_volume(struct client *client)
{
	struct model_volume *volumes[NAMES];
	unsigned count = 0;

	list_for_each(node, &client->world->model.volumes) {
		struct model_volume *volume = container_of(node, struct model_volume, node);

		if (model_exists(volume) && !volume->exclusive && volume->handle && count < NAMES)
			volumes[count++] = volume;
	}
	return count ? volumes[sim_random_below(&client->random, count)] : NULL;
}

static void pick_range(struct client *client, const struct model_volume *volume, uint64_t length_max, uint64_t *ret_offset,
		       uint64_t *ret_length)
{
	struct sim_random *random = &client->random;
	uint64_t size = model_size(volume), unit = 1, offset;
	uint64_t length = 1 + sim_random_below(random, UINT64_C(1) << sim_random_between(random, 3, 19));

	switch (sim_random_below(random, 4)) {
	case 0:
		unit = 4096;
		break;
	case 1:
	case 2:
		unit = volume->block_bytes;
		break;
	}
	switch (sim_random_below(random, 4)) {
	case 0:
		offset = size - 1 - sim_random_below(random, size < 65536 ? size : 65536);
		break;
	case 1:
		offset = sim_random_below(random, size < 262144 ? size : 262144);
		break;
	default:
		offset = sim_random_below(random, size);
	}
	if (length > length_max)
		length = length_max;
	offset -= offset % unit;
	length += unit - 1;
	length -= length % unit;
	if (length > size - offset)
		length = size - offset;
	*ret_offset = offset;
	*ret_length = length;
}

static enum content_kind pick_kind(struct client *client)
{
	switch (sim_random_below(&client->random, 8)) {
	case 0:
	case 1:
		return CONTENT_NOISE;
	case 2:
		return CONTENT_TINY;
	case 3:
		return sim_random_below(&client->random, 4) ? CONTENT_PLAIN : CONTENT_ZERO;
	default:
		return CONTENT_PLAIN;
	}
}

/* ---- reads ---- */

static void read_and_check(struct world *world, struct model_volume *volume, uint64_t offset, uint64_t length)
{
	uint8_t *data = sim_allocate(length);
	struct model_observer observer;

	model_observe(&world->model, &observer);
	int result = volume_read(volume->handle, offset, length, data);

	if (result)
		fail_call(world, "read", volume, offset, length, result, NULL);
	check(world, model_check_read(&world->model, &observer, volume, offset, length, data));
	world->statistics.reads++;
	free(data);
}

static void do_read(struct client *client, struct model_volume *volume)
{
	struct model_observer observer;
	uint64_t offset, length;
	struct buffer *buffer = NULL;

	pick_range(client, volume, 524288, &offset, &length);
	volume->users++;
	if (sim_random_below(&client->random, 4)) {
		read_and_check(client->world, volume, offset, length);
	} else {
		uint64_t number = offset / volume->block_bytes;
		uint8_t *zeros = sim_allocate(volume->block_bytes);

		model_observe(&client->world->model, &observer);
		int result = volume_read_block(volume->handle, number, &buffer);

		if (result)
			fail_call(client->world, "read of a block", volume, number, 1, result, NULL);
		check(client->world, model_check_read(&client->world->model, &observer, volume, number * volume->block_bytes,
						      volume->block_bytes, buffer ? buffer->data : zeros));
		buffer_unref(buffer);
		free(zeros);
	}
	volume->users--;
}

static void do_seek(struct client *client, struct model_volume *volume)
{
	uint64_t offset, length, found;
	bool data = sim_random_below(&client->random, 2);

	pick_range(client, volume, 1, &offset, &length);
	volume->users++;
	struct model_observer observer;

	model_observe(&client->world->model, &observer);
	int result = volume_seek(volume->handle, offset, data, &found);

	if (result)
		fail_call(client->world, "seek", volume, offset, 0, result, NULL);
	check(client->world, model_check_seek(&client->world->model, &observer, volume, offset, data, found));
	volume->users--;
}

/* ---- changes ---- */

static void note_no_space(struct world *world)
{
	struct space space;

	world->statistics.no_space++;
	if (!world->verbose)
		return;
	core_space(world->core, &space);
	printf("step %" PRIu64 ": no space: usable %" PRIu64 ", reserve %" PRIu64 ", live %" PRIu64 ", available %" PRIu64
	       " cells; %" PRIu64 " free segments, floor %" PRIu64 ", %" PRIu64 " AUs deferred\n",
	       world->step, space.usable_cells, space.reserve_cells, space.live_cells, space.available_cells, space.free_segments,
	       space.floor_segments, space.deferred_aus);
}

/* After a change that failed for lack of space: what became of each block. */
static void settle(struct world *world, struct model_volume *volume, const struct model_change *change)
{
	uint8_t *data = sim_allocate(volume->block_bytes);

	for (uint64_t number = change->first; !change->none && number <= change->last; number++) {
		int result = volume_read(volume->handle, number * volume->block_bytes, volume->block_bytes, data);

		if (result)
			fail_call(world, "read after a failed write", volume, number * volume->block_bytes, volume->block_bytes, result, NULL);
		check(world, model_settle(&world->model, volume, number, data));
	}
	free(data);
}

static void end_change(struct world *world, const char *what, struct model_change *change, uint64_t offset, uint64_t length, int result)
{
	bool frees = strcmp(what, "trim") == 0;

	if (result == -ENOSPC)
		note_no_space(world);

	if ((result == -ENOSPC && !frees) || settings_refuse(world, result))
		settle(world, change->volume, change);
	else if (result)
		fail_call(world, what, change->volume, offset, length, result, NULL);
	else
		model_change_end(&world->model, change);
}

static int write_blocks(struct model_volume *volume, uint64_t first, unsigned count, const uint8_t *data)
{
	struct buffer **buffers = sim_allocate(count * sizeof(*buffers));

	for (unsigned i = 0; i < count; i++) {
		buffers[i] = buffer_new_copy(data + (size_t)i * volume->block_bytes, volume->block_bytes);
		if (i % 2 == 0)
			buffer_hash(buffers[i]); /* as the API does */
	}
	int result = volume_write_blocks(volume->handle, first, count, buffers);

	for (unsigned i = 0; i < count; i++)
		buffer_unref(buffers[i]);
	free(buffers);
	return result;
}

static void do_write(struct client *client, struct model_volume *volume)
{
	struct world *world = client->world;
	struct model_change change;
	struct model_lock lock;
	uint64_t offset, length;

	pick_range(client, volume, world->plan.write_bytes_max, &offset, &length);
	if (!model_lock(volume, &lock, offset / volume->block_bytes, (offset + length - 1) / volume->block_bytes))
		return;
	uint8_t *data = sim_allocate(length);
	bool whole = offset % volume->block_bytes == 0 && length % volume->block_bytes == 0;
	struct settings_sync sync = settings_sync(world, volume->name);
	int result;

	content_fill(data, length, pick_kind(client), volume->id, offset, world->step);
	model_write_begin(&world->model, volume, offset, length, data, &change);
	if (whole && sim_random_below(&client->random, 2))
		result = write_blocks(volume, change.first, (unsigned)(change.last - change.first + 1), data);
	else
		result = volume_write(volume->handle, offset, length, data);
	end_change(world, "write", &change, offset, length, result);
	if (result == 0 && settings_is_always(world, sync))
		model_change_durable(&world->model, &change);
	model_unlock(volume, &lock);
	free(data);
}

static void do_clear(struct client *client, struct model_volume *volume, bool trim)
{
	struct world *world = client->world;
	struct model_change change;
	struct model_lock lock;
	uint64_t offset, length;

	pick_range(client, volume, 1u << 20, &offset, &length);
	if (!model_lock(volume, &lock, offset / volume->block_bytes, (offset + length - 1) / volume->block_bytes))
		return;
	if (trim)
		model_trim_begin(&world->model, volume, offset, length, &change);
	else
		model_write_begin(&world->model, volume, offset, length, NULL, &change);
	struct settings_sync sync = settings_sync(world, volume->name);
	int result = trim ? volume_trim(volume->handle, offset, length) : volume_zero(volume->handle, offset, length);

	end_change(world, trim ? "trim" : "zero", &change, offset, length, result);
	if (result == 0 && settings_is_always(world, sync))
		model_change_durable(&world->model, &change);
	model_unlock(volume, &lock);
}

/* ---- namespace ---- */

static void open_volume(struct world *world, struct model_volume *volume)
{
	struct pool_error error = {0};
	struct volume *handle;
	int result = volume_open(world->datasets, volume->name, &handle, &error);

	if (result)
		fail_call(world, "open", volume, 0, 0, result, &error);
	volume->handle = handle;
	volume->id = volume_record(handle)->id;
}

static struct model_volume *create(struct world *world, const char *name, uint64_t bytes, uint32_t block_bytes, uint8_t compression)
{
	struct pool_error error = {0};
	struct model_volume *volume = model_create_begin(&world->model, name, bytes, block_bytes);
	int result = volume_create(world->datasets, name, bytes, block_bytes, compression, &error);

	if (result && result != -ENOSPC && !settings_refuse(world, result))
		fail_call(world, "create", volume, bytes, block_bytes, result, &error);
	world->statistics.no_space += result != 0;
	model_create_end(&world->model, volume, result == 0);
	if (result)
		return NULL;
	volume->exclusive = true;
	open_volume(world, volume);
	volume->exclusive = false;
	return volume;
}

static uint8_t pick_compression(struct sim_random *random)
{
	static const uint8_t choices[] = {BLOCK_COMPRESS_OFF, BLOCK_COMPRESS_OFF, BLOCK_COMPRESS_AUTO, 2};

	return choices[sim_random_below(random, sizeof(choices))];
}

static uint64_t pick_size(struct client *client, uint32_t block_bytes)
{
	struct sim_random *random = &client->random;
	uint64_t bytes = 1 + sim_random_below(random, client->world->plan.volume_bytes_max);

	if (sim_random_below(random, 8) == 0)
		bytes += UINT64_C(1) << sim_random_between(random, 24, 50); /* many levels, mostly holes */
	return (bytes + block_bytes - 1) / block_bytes * block_bytes;
}

static void do_create(struct client *client)
{
	char name[32];
	uint32_t shift = (uint32_t)sim_random_between(&client->random, client->world->plan.flushes ? 14 : 12, 17);

	snprintf(name, sizeof(name), "v%u", (unsigned)sim_random_below(&client->random, NAMES));
	if (sim_random_below(&client->random, client->world->plan.flushes ? 8 : 2) == 1)
		shift = 12;
	if (!model_find(&client->world->model, name))
		create(client->world, name, pick_size(client, 1u << shift), 1u << shift, pick_compression(&client->random));
}

void clients_destroy(struct world *world, struct model_volume *volume)
{
	struct pool_error error = {0};

	model_destroy_begin(&world->model, volume);
	volume_close(volume->handle);
	volume->handle = NULL;
	int result = volume_destroy(world->datasets, volume->name, &error);

	if (result && !settings_refuse(world, result))
		fail_call(world, "destroy", volume, 0, 0, result, &error);
	model_destroy_end(&world->model, volume, result == 0);
	if (result)
		open_volume(world, volume);
}

static void do_destroy(struct client *client, struct model_volume *volume)
{
	if (!volume->users)
		clients_destroy(client->world, volume);
}

static void do_resize(struct client *client, struct model_volume *volume)
{
	struct world *world = client->world;
	struct pool_error error = {0};
	uint64_t bytes = pick_size(client, volume->block_bytes);

	if (volume->users || world->plan.refuses || !model_resize_begin(&world->model, volume, bytes))
		return;
	int result = volume_resize(world->datasets, volume->name, bytes, &error);

	if (result)
		fail_call(world, "resize", volume, bytes, 0, result, &error);
	model_resize_end(&world->model, volume);
}

static void do_reopen(struct client *client, struct model_volume *volume)
{
	struct pool_error error = {0};
	int result = 0;

	if (volume->users)
		return;
	volume->exclusive = true;
	volume_close(volume->handle);
	volume->handle = NULL;
	if (sim_random_below(&client->random, 2))
		result = dataset_set(client->world->datasets, volume->name, SETTING_COMPRESSION, &(uint8_t){ pick_compression(&client->random) }, &error);
	if (result && !settings_refuse(client->world, result))
		fail_call(client->world, "set compression", volume, 0, 0, result, &error);
	open_volume(client->world, volume);
	volume->exclusive = false;
}

/* ---- durability ---- */

void clients_commit(struct world *world, bool forced)
{
	uint64_t begin = model_now(&world->model), files_begin = files_now(world);
	int result = forced ? core_commit_forced(world->core) : core_commit(world->core);

	if (result)
		fail_call(world, "commit", NULL, 0, 0, result, NULL);
	model_durable(&world->model, NULL, begin);
	files_durable(world, files_begin);
	world->statistics.commits++;
}

void clients_flush(struct world *world, struct model_volume *volume)
{
	uint64_t begin = model_now(&world->model);
	struct settings_sync sync = settings_sync(world, volume->name);

	volume->users++;
	int result = volume_flush(volume->handle);

	if (result)
		fail_call(world, "flush", volume, 0, 0, result, NULL);
	volume->users--;
	if (settings_flush_counts(world, sync))
		model_durable(&world->model, volume, begin);
	world->statistics.commits++;
	world_note_log(world);
}

/* ---- the fibers ---- */

static void operate(struct client *client)
{
	struct world *world = client->world;
	struct model_volume *volume = pick_volume(client);
	uint64_t choice = sim_random_below(&client->random, 100);

	if (volume && world->plan.flushes && sim_random_below(&client->random, 10) < 6) {
		do_write(client, volume);
		clients_flush(world, volume);
	} else if (!volume || choice < 3)
		do_create(client);
	else if (choice < 40)
		do_write(client, volume);
	else if (choice < 58)
		do_read(client, volume);
	else if (choice < 63)
		do_clear(client, volume, false);
	else if (choice < 68)
		do_clear(client, volume, true);
	else if (choice < 72)
		do_seek(client, volume);
	else if (choice < 81)
		clients_flush(world, volume);
	else if (choice < 82)
		clients_commit(world, sim_random_below(&client->random, 2));
	else if (choice < 84)
		do_resize(client, volume);
	else if (choice < 86)
		do_destroy(client, volume);
	else if (choice < 89)
		do_reopen(client, volume);
	else if (choice == 89)
		admin_verify(world, VERIFY_QUICK);
	else
		rt_sleep(world->rt, 1 + sim_random_below(&client->random, world->plan.commit_interval_ns * 2));
}

static void client_main(void *argument)
{
	struct client *client = argument;
	struct world *world = client->world;

	for (unsigned i = 0; i < client->operations && world->step < world->until; i++) {
		world->step++;
		world->statistics.operations++;
		sim_env_note(world->sim, "step", world->step, world->model.clock, 0);
		operate(client);
	}
	rt_group_done(world->rt, client->group, 0);
	free(client);
}

void clients_run(struct world *world, unsigned count, unsigned operations)
{
	struct rt_group group;

	rt_group_init(&group);
	for (unsigned i = 0; i < count; i++) {
		struct client *client = sim_allocate(sizeof(*client));

		*client = (struct client){.world = world, .operations = operations, .group = &group};
		sim_random_stream(&client->random, world->plan.seed, "client", world->boot * 100 + i);
		rt_group_add(&group);
		if (rt_spawn(world->rt, "client", client_main, client))
			world_fail(world, "no memory for a client");
	}
	rt_group_wait(world->rt, &group);
}

void clients_close_volumes(struct world *world)
{
	list_for_each(node, &world->model.volumes) {
		struct model_volume *volume = container_of(node, struct model_volume, node);

		if (volume->handle)
			volume_close(volume->handle);
		volume->handle = NULL;
	}
}

/* ---- for scenarios ---- */

int clients_write(struct world *world, struct model_volume *volume, uint64_t offset, uint64_t length)
{
	struct model_change change;
	uint8_t *data = sim_allocate(length);

	world->step++;
	content_fill(data, length, CONTENT_NOISE, volume->id, offset, world->step);
	model_write_begin(&world->model, volume, offset, length, data, &change);
	int result = volume_write(volume->handle, offset, length, data);

	end_change(world, "write", &change, offset, length, result);
	free(data);
	return result;
}

void clients_trim(struct world *world, struct model_volume *volume, uint64_t offset, uint64_t length)
{
	struct model_change change;

	world->step++;
	model_trim_begin(&world->model, volume, offset, length, &change);
	end_change(world, "trim", &change, offset, length, volume_trim(volume->handle, offset, length));
}

struct model_volume *clients_try_create(struct world *world, const char *name, uint64_t bytes, uint32_t block_bytes)
{
	return create(world, name, bytes, block_bytes, BLOCK_COMPRESS_OFF);
}

void clients_zero(struct world *world, struct model_volume *volume, uint64_t offset, uint64_t length)
{
	struct model_change change;

	world->step++;
	model_write_begin(&world->model, volume, offset, length, NULL, &change);
	end_change(world, "zero", &change, offset, length, volume_zero(volume->handle, offset, length));
}

struct model_volume *clients_create(struct world *world, const char *name, uint64_t bytes, uint32_t block_bytes, uint8_t compression)
{
	struct model_volume *volume = create(world, name, bytes, block_bytes, compression);

	if (!volume)
		world_fail(world, "create %s: no space", name);
	return volume;
}

/* ---- recovery ---- */

struct recovery {
	struct world *world;
	struct model_volume *volume;
	uint8_t *data;
	bool unsettled;
};

static void recover_block(struct model_block *block, void *argument)
{
	struct recovery *recovery = argument;
	struct world *world = recovery->world;
	struct model_volume *volume = recovery->volume;
	uint64_t offset = block->number * volume->block_bytes;

	if (offset + volume->block_bytes > model_size(volume))
		return;
	if (!recovery->unsettled) {
		read_and_check(world, volume, offset, volume->block_bytes);
		return;
	}
	int result = volume_read(volume->handle, offset, volume->block_bytes, recovery->data);

	if (result)
		fail_call(world, "read after recovery", volume, offset, volume->block_bytes, result, NULL);
	check(world, model_recover_block(&world->model, block, recovery->data));
}

/* From one piece of data to the next: each must be one the model knows, or read as zeros. */
static void check_holes(struct world *world, struct model_volume *volume)
{
	uint64_t size = model_size(volume), at = 0;

	for (unsigned i = 0; i < 64 && at < size; i++) {
		struct model_observer observer;
		uint64_t found;

		model_observe(&world->model, &observer);
		int result = volume_seek(volume->handle, at, true, &found);

		if (result)
			fail_call(world, "seek", volume, at, 0, result, NULL);
		check(world, model_check_seek(&world->model, &observer, volume, at, true, found));
		if (found >= size)
			return;
		found -= found % volume->block_bytes;
		read_and_check(world, volume, found, volume->block_bytes);
		at = found + volume->block_bytes;
	}
}

void clients_check_all(struct world *world)
{
	list_for_each(node, &world->model.volumes) {
		struct recovery recovery = {.world = world, .volume = container_of(node, struct model_volume, node)};

		model_each_block(recovery.volume, false, recover_block, &recovery);
		check_holes(world, recovery.volume);
	}
}

void clients_recover(struct world *world, bool all)
{
	struct dataset_record *records = NULL;
	struct model *model = &world->model;
	size_t count = 0;
	int result = volumes_list(world->datasets, &records, &count);

	if (result)
		fail_call(world, "list of volumes", NULL, 0, 0, result, NULL);
	model_recover_begin(model);
	for (size_t i = 0; i < count; i++) {
		struct recovery recovery = {.world = world, .unsettled = true};

		check(world, model_recover_volume(model, records[i].name, records[i].id, records[i].volume_size, 1u << records[i].block_shift,
						  &recovery.volume));
		open_volume(world, recovery.volume);
		recovery.data = sim_allocate(recovery.volume->block_bytes);
		model_each_block(recovery.volume, true, recover_block, &recovery);
		check(world, model_recover_volume_end(model));
		free(recovery.data);
	}
	free(records);
	check(world, model_recover_end(model));
	if (all)
		clients_check_all(world);
}
