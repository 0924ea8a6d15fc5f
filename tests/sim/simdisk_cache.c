/*
 * What a simulated disk holds: the durable image, and over it the writes since the last flush.
 *
 * What must always hold: a write that is FUA or flushed never gives way to an older one, so making one cell
 * durable supersedes all its versions in the cache that completed before.
 */
#include "tests/sim/simdisk_private.h"

#include <stdlib.h>

struct sim_write *sim_write_new(struct sim_disk *disk, uint64_t offset, uint64_t length)
{
	uint64_t count = length / SIM_CELL;
	struct sim_write *write = sim_allocate(sizeof(*write) + count * sizeof(write->versions[0]));

	(void)disk;
	write->count = count;
	for (uint64_t i = 0; i < count; i++) {
		write->versions[i].write = write;
		write->versions[i].cell = offset / SIM_CELL + i;
	}
	return write;
}

void sim_write_free(struct sim_disk *disk, struct sim_write *write)
{
	if (!write)
		return;
	for (uint64_t i = 0; i < write->count; i++)
		if (!write->versions[i].gone)
			sim_content_unref(&disk->set->store, write->versions[i].content);
	free(write);
}

static struct sim_version *newest_version(const struct sim_disk *disk, uint64_t cell)
{
	struct sim_version *newest = NULL;

	for (struct hash_node *node = hash_table_first(&disk->state->versions, hash_u64(cell)); node;
	     node = hash_table_next(node)) {
		struct sim_version *version = container_of(node, struct sim_version, node);

		if (version->cell == cell && (!newest || version->write->sequence > newest->write->sequence))
			newest = version;
	}
	return newest;
}

struct sim_content *sim_disk_cell(const struct sim_disk *disk, uint64_t cell)
{
	struct sim_version *version = newest_version(disk, cell);

	return version ? version->content : sim_image_get(&disk->state->durable, cell);
}

bool sim_disk_is_bad(const struct sim_disk *disk, uint64_t cell)
{
	for (struct hash_node *node = hash_table_first(&disk->state->bad_cells, hash_u64(cell)); node;
	     node = hash_table_next(node))
		if (container_of(node, struct bad_cell, node)->cell == cell)
			return true;
	return false;
}

void sim_disk_clear_bad(struct sim_disk *disk, uint64_t cell)
{
	struct hash_node *node = hash_table_first(&disk->state->bad_cells, hash_u64(cell));

	while (node) {
		struct bad_cell *bad = container_of(node, struct bad_cell, node);

		node = hash_table_next(node);
		if (bad->cell != cell)
			continue;
		hash_table_remove(&disk->state->bad_cells, &bad->node);
		free(bad);
	}
}

/* The oldest of a few hundred overwritten contents makes room for this one, for stale reads. */
static void remember(struct sim_disk *disk, uint64_t cell)
{
	struct sim_disk_state *state = disk->state;
	unsigned slot = state->history_next++ % HISTORY_CELLS;

	sim_content_unref(&disk->set->store, state->history[slot].content);
	state->history[slot].cell = cell;
	state->history[slot].content = sim_content_ref(sim_disk_cell(disk, cell));
}

/* Takes the version out of the table; its content still belongs to it. */
static void version_leave(struct sim_disk *disk, struct sim_version *version)
{
	hash_table_remove(&disk->state->versions, &version->node);
	version->gone = true;
}

static void write_free_if_gone(struct sim_disk *disk, struct sim_write *write)
{
	for (uint64_t i = 0; i < write->count; i++)
		if (!write->versions[i].gone)
			return;
	list_remove(&write->node);
	sim_write_free(disk, write);
}

void sim_disk_set_durable(struct sim_disk *disk, uint64_t cell, struct sim_content *content)
{
	struct sim_version *version;

	while ((version = newest_version(disk, cell))) {
		version_leave(disk, version);
		sim_content_unref(&disk->set->store, version->content);
		write_free_if_gone(disk, version->write);
	}
	sim_image_set(&disk->state->durable, cell, content);
}

void sim_cache_add(struct sim_disk *disk, struct sim_write *write, bool durable)
{
	struct sim_disk_state *state = disk->state;

	write->sequence = ++state->sequence;
	for (uint64_t i = 0; i < write->count; i++) {
		struct sim_version *version = &write->versions[i];

		if (version->cell >= state->durable.cells) /* the disk has shrunk */
			version->gone = true;
		if (version->gone)
			continue;
		remember(disk, version->cell);
		sim_disk_clear_bad(disk, version->cell);
		if (durable) {
			version->gone = true;
			sim_disk_set_durable(disk, version->cell, version->content);
		} else {
			hash_table_insert(&state->versions, &version->node, hash_u64(version->cell));
		}
	}
	list_push_back(&state->cache, &write->node);
	write_free_if_gone(disk, write);
}

void sim_cache_flush(struct sim_disk *disk, uint64_t sequence)
{
	struct sim_disk_state *state = disk->state;

	list_for_each_safe(node, after, &state->cache) {
		struct sim_write *write = container_of(node, struct sim_write, node);

		if (write->sequence > sequence)
			break;
		for (uint64_t i = 0; i < write->count; i++) {
			struct sim_version *version = &write->versions[i];

			if (version->gone)
				continue;
			version_leave(disk, version);
			sim_image_set(&state->durable, version->cell, version->content);
		}
		list_remove(&write->node);
		sim_write_free(disk, write);
	}
}

void sim_cache_lose(struct sim_disk *disk)
{
	struct sim_disk_state *state = disk->state;

	list_for_each_safe(node, after, &state->cache) {
		struct sim_write *write = container_of(node, struct sim_write, node);

		if (sim_random_below(&state->random, 2))
			continue;
		for (uint64_t i = 0; i < write->count; i++)
			if (!write->versions[i].gone)
				hash_table_remove(&state->versions, &write->versions[i].node);
		list_remove(&write->node);
		sim_write_free(disk, write);
	}
}

uint64_t sim_disk_volatile_cells(const struct sim_disk *disk)
{
	uint64_t cells = disk->state->versions.count;

	list_for_each(node, &disk->state->in_flight) {
		struct sim_request *request = container_of(node, struct sim_request, node);

		cells += request->write ? request->write->count : 0;
	}
	return cells;
}

bool sim_disk_is_durable(const struct sim_disk *disk, uint64_t offset, uint64_t length)
{
	uint64_t end = offset + length;

	list_for_each(node, &disk->state->in_flight) {
		struct sim_request *request = container_of(node, struct sim_request, node);

		if (request->write && request->offset < end && offset < request->offset + request->length)
			return false;
	}
	for (uint64_t cell = offset / SIM_CELL; cell * SIM_CELL < end; cell++)
		if (newest_version(disk, cell))
			return false;
	return true;
}
