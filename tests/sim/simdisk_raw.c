/* Simulated disks behind the engine's back: bytes, snapshots, sizes, and images in files. */
#include "tests/sim/simdisk_private.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct sim_content *cell_of(const struct sim_disk *disk, uint64_t cell);

static struct sim_content *durable_cell(const struct sim_disk *disk, uint64_t cell)
{
	return sim_image_get(&disk->state->durable, cell);
}

static void peek(struct sim_disk *disk, cell_of *get, uint64_t offset, uint8_t *to, size_t length)
{
	uint8_t bytes[SIM_CELL];

	if (offset + length > disk->size)
		sim_fatal("peek or poke beyond the end of %s", disk->path);
	while (length > 0) {
		size_t at = offset % SIM_CELL, part = SIM_CELL - at < length ? SIM_CELL - at : length;

		sim_content_read(get(disk, offset / SIM_CELL), bytes);
		memcpy(to, bytes + at, part);
		to += part;
		offset += part;
		length -= part;
	}
}

void sim_disk_peek(struct sim_disk *disk, uint64_t offset, void *ret_data, size_t length)
{
	peek(disk, sim_disk_cell, offset, ret_data, length);
}

void sim_disk_peek_durable(struct sim_disk *disk, uint64_t offset, void *ret_data, size_t length)
{
	peek(disk, durable_cell, offset, ret_data, length);
}

void sim_disk_poke(struct sim_disk *disk, uint64_t offset, const void *data, size_t length)
{
	const uint8_t *from = data;
	uint8_t bytes[SIM_CELL];

	while (length > 0) {
		uint64_t cell = offset / SIM_CELL;
		size_t at = offset % SIM_CELL, part = SIM_CELL - at < length ? SIM_CELL - at : length;

		sim_disk_peek(disk, cell * SIM_CELL, bytes, SIM_CELL);
		memcpy(bytes + at, from, part);
		sim_disk_clear_bad(disk, cell);
		sim_disk_set_durable(disk, cell, sim_content_make(&disk->set->store, bytes));
		from += part;
		offset += part;
		length -= part;
	}
}

static uint64_t next_cell(struct sim_disk *disk, uint64_t from)
{
	if (disk->state->versions.count)
		return from; /* the cache may hold any cell */
	return sim_image_next(&disk->state->durable, from);
}

uint64_t sim_disk_content_hash(struct sim_disk *disk)
{
	uint64_t hash = disk->size, cells = disk->size / SIM_CELL;

	for (uint64_t cell = next_cell(disk, 0); cell < cells; cell = next_cell(disk, cell + 1)) {
		struct sim_content *content = sim_disk_cell(disk, cell);

		if (content)
			hash = hash_u64(hash ^ cell) + sim_content_hash(content);
	}
	return hash;
}

struct sim_image *sim_disk_snapshot(struct sim_disk *disk)
{
	struct sim_image *snapshot = sim_allocate(sizeof(*snapshot));

	sim_image_copy(snapshot, &disk->state->durable);
	list_for_each(node, &disk->state->cache) {
		struct sim_write *write = container_of(node, struct sim_write, node);

		for (uint64_t i = 0; i < write->count; i++)
			if (!write->versions[i].gone)
				sim_image_set(snapshot, write->versions[i].cell,
					      sim_content_ref(write->versions[i].content));
	}
	return snapshot;
}

void sim_disk_restore(struct sim_disk *disk, const struct sim_image *snapshot)
{
	sim_disk_crash(disk, SIM_CRASH_NONE, &disk->state->random);
	sim_image_release(&disk->state->durable);
	sim_image_copy(&disk->state->durable, snapshot);
	disk->size = snapshot->cells * SIM_CELL;
}

void sim_snapshot_free(struct sim_image *snapshot)
{
	if (!snapshot)
		return;
	sim_image_release(snapshot);
	free(snapshot);
}

void sim_disk_resize(struct sim_disk *disk, uint64_t size)
{
	if (size % SIM_CELL)
		sim_fatal("a size that isn't made of cells");
	sim_cache_flush(disk, UINT64_MAX);
	sim_image_resize(&disk->state->durable, size / SIM_CELL);
	disk->size = size;
}

int sim_disk_save(struct sim_disk *disk, const char *path)
{
	int descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666), result = 0;
	uint8_t bytes[SIM_CELL];

	if (descriptor < 0)
		return -errno;
	if (ftruncate(descriptor, (off_t)disk->size) < 0)
		result = -errno;
	for (uint64_t cell = next_cell(disk, 0); cell < disk->size / SIM_CELL && result == 0;
	     cell = next_cell(disk, cell + 1)) {
		struct sim_content *content = sim_disk_cell(disk, cell);

		if (!content)
			continue;
		sim_content_read(content, bytes);
		if (sim_disk_is_bad(disk, cell))
			memset(bytes, 0xBD, sizeof(bytes));
		if (pwrite(descriptor, bytes, SIM_CELL, (off_t)(cell * SIM_CELL)) != (ssize_t)SIM_CELL)
			result = errno ? -errno : -EIO;
	}
	if (close(descriptor) < 0 && result == 0)
		result = -errno;
	return result;
}

int sim_disk_load(struct sim_disk *disk, const char *path)
{
	int descriptor = open(path, O_RDONLY | O_CLOEXEC), result = 0;
	struct stat status;
	uint8_t bytes[SIM_CELL];

	if (descriptor < 0)
		return -errno;
	if (fstat(descriptor, &status) < 0) {
		result = -errno;
		close(descriptor);
		return result;
	}
	uint64_t size = (uint64_t)status.st_size / SIM_CELL * SIM_CELL;
	struct sim_image blank;

	sim_image_init(&blank, &disk->set->store, size / SIM_CELL);
	sim_disk_restore(disk, &blank);
	sim_image_release(&blank);
	for (off_t at = lseek(descriptor, 0, SEEK_DATA); at >= 0 && (uint64_t)at < size && result == 0;
	     at = lseek(descriptor, at, SEEK_DATA)) {
		at -= at % (off_t)SIM_CELL;
		if (pread(descriptor, bytes, SIM_CELL, at) != (ssize_t)SIM_CELL)
			result = -EIO;
		else
			sim_image_set(&disk->state->durable, (uint64_t)at / SIM_CELL,
				      sim_content_make(&disk->set->store, bytes));
		at += SIM_CELL;
	}
	close(descriptor);
	return result;
}
