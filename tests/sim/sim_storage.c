/* See sim_storage.h. */
#include "tests/sim/sim_storage.h"

#include <stdlib.h>
#include <string.h>

#include "checksum/xxh3.h"
#include "libpool/base/list.h"
#include "tests/sim/sim_env.h"

#define CHUNK_CELLS 512u

struct sim_content {
	struct hash_node node;
	uint32_t references;
	uint16_t stored, period; /* bytes kept; repeated every `period` bytes, or followed by zeros if that is 0 */
	uint8_t bytes[];
};

static const uint8_t zeros[SIM_CELL];

void sim_store_init(struct sim_store *store)
{
	*store = (struct sim_store){0};
	if (hash_table_init(&store->contents, 1024) < 0)
		sim_fatal("no memory for contents");
}

void sim_store_release(struct sim_store *store)
{
	if (store->contents.count)
		sim_fatal("%zu contents are still referenced", store->contents.count);
	hash_table_release(&store->contents);
}

static size_t period_of(const uint8_t *data)
{
	for (size_t period = 8; period <= 64; period *= 8)
		if (!memcmp(data, data + period, SIM_CELL - period))
			return period;
	return 0;
}

static size_t length_without_zeros(const uint8_t *data)
{
	size_t length = SIM_CELL;

	while (length >= 64 && !memcmp(data + length - 64, zeros, 64))
		length -= 64;
	return length;
}

struct sim_content *sim_content_make(struct sim_store *store, const void *data)
{
	if (!memcmp(data, zeros, SIM_CELL))
		return NULL;
	struct hash128 hash128;
	uint64_t hash;

	xxh3_128(data, SIM_CELL, &hash128);
	memcpy(&hash, hash128.bytes, sizeof(hash));
	size_t period = period_of(data), stored = period ? period : length_without_zeros(data);

	for (struct hash_node *node = hash_table_first(&store->contents, hash); node; node = hash_table_next(node)) {
		struct sim_content *content = container_of(node, struct sim_content, node);

		if (content->stored == stored && content->period == period && !memcmp(content->bytes, data, stored)) {
			content->references++;
			return content;
		}
	}
	struct sim_content *content = sim_allocate(sizeof(*content) + stored);

	content->references = 1;
	content->stored = (uint16_t)stored;
	content->period = (uint16_t)period;
	memcpy(content->bytes, data, stored);
	hash_table_insert(&store->contents, &content->node, hash);
	store->count++;
	store->bytes += sizeof(*content) + stored;
	return content;
}

struct sim_content *sim_content_ref(struct sim_content *content)
{
	if (content)
		content->references++;
	return content;
}

void sim_content_unref(struct sim_store *store, struct sim_content *content)
{
	if (!content || --content->references > 0)
		return;
	hash_table_remove(&store->contents, &content->node);
	store->count--;
	store->bytes -= sizeof(*content) + content->stored;
	free(content);
}

void sim_content_read(const struct sim_content *content, void *ret_cell)
{
	uint8_t *cell = ret_cell;

	if (!content) {
		memset(cell, 0, SIM_CELL);
		return;
	}
	memcpy(cell, content->bytes, content->stored);
	if (content->period)
		for (size_t filled = content->stored; filled < SIM_CELL; filled *= 2)
			memcpy(cell + filled, cell, filled < SIM_CELL - filled ? filled : SIM_CELL - filled);
	else
		memset(cell + content->stored, 0, SIM_CELL - content->stored);
}

uint64_t sim_content_hash(const struct sim_content *content)
{
	return content ? content->node.hash : 0;
}

static size_t chunk_count(uint64_t cells)
{
	return (size_t)((cells + CHUNK_CELLS - 1) / CHUNK_CELLS);
}

void sim_image_init(struct sim_image *image, struct sim_store *store, uint64_t cells)
{
	image->store = store;
	image->cells = cells;
	image->chunks = sim_allocate((chunk_count(cells) + 1) * sizeof(*image->chunks));
}

static void chunk_free(struct sim_image *image, size_t index)
{
	struct sim_content **chunk = image->chunks[index];

	if (!chunk)
		return;
	for (size_t i = 0; i < CHUNK_CELLS; i++)
		sim_content_unref(image->store, chunk[i]);
	free(chunk);
	image->chunks[index] = NULL;
}

void sim_image_release(struct sim_image *image)
{
	for (size_t i = 0; i < chunk_count(image->cells); i++)
		chunk_free(image, i);
	free(image->chunks);
	*image = (struct sim_image){0};
}

struct sim_content *sim_image_get(const struct sim_image *image, uint64_t cell)
{
	struct sim_content **chunk = image->chunks[cell / CHUNK_CELLS];

	return chunk ? chunk[cell % CHUNK_CELLS] : NULL;
}

void sim_image_set(struct sim_image *image, uint64_t cell, struct sim_content *content)
{
	struct sim_content ***chunk = &image->chunks[cell / CHUNK_CELLS];

	if (cell >= image->cells)
		sim_fatal("cell outside of the image");
	if (!*chunk) {
		if (!content)
			return;
		*chunk = sim_allocate(CHUNK_CELLS * sizeof(**chunk));
	}
	sim_content_unref(image->store, (*chunk)[cell % CHUNK_CELLS]);
	(*chunk)[cell % CHUNK_CELLS] = content;
}

void sim_image_copy(struct sim_image *to, const struct sim_image *from)
{
	sim_image_init(to, from->store, from->cells);
	for (uint64_t cell = sim_image_next(from, 0); cell < from->cells; cell = sim_image_next(from, cell + 1))
		sim_image_set(to, cell, sim_content_ref(sim_image_get(from, cell)));
}

void sim_image_resize(struct sim_image *image, uint64_t cells)
{
	struct sim_image resized;

	sim_image_init(&resized, image->store, cells);
	for (uint64_t cell = sim_image_next(image, 0); cell < image->cells && cell < cells;
	     cell = sim_image_next(image, cell + 1))
		sim_image_set(&resized, cell, sim_content_ref(sim_image_get(image, cell)));
	sim_image_release(image);
	*image = resized;
}

uint64_t sim_image_next(const struct sim_image *image, uint64_t from)
{
	while (from < image->cells) {
		struct sim_content **chunk = image->chunks[from / CHUNK_CELLS];

		if (!chunk) {
			from = (from / CHUNK_CELLS + 1) * CHUNK_CELLS;
			continue;
		}
		if (chunk[from % CHUNK_CELLS])
			return from;
		from++;
	}
	return image->cells;
}
