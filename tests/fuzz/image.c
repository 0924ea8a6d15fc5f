/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Images as bytes. Unpacked: 4 bytes of use, number of disks u8, then for each disk its size in cells u32, the number of cells
 * u32, and for each its number u32, ascending, and 4096 bytes. All of that is one zstd frame.
 */
#include "tests/fuzz/image.h"

#include <zstd.h>

#define HEAD_SIZE 5u
#define LEVEL 3

void image_release(struct image *image)
{
	for (unsigned d = 0; d < image->disk_count; d++) {
		for (unsigned i = 0; i < image->disks[d].count; i++)
			free(image->disks[d].list[i].bytes);
		free(image->disks[d].list);
	}
	image->disk_count = 0;
}

/* Returns the end of what was read, NULL if it makes no sense. */
static const uint8_t *disk_parse(const uint8_t *from, const uint8_t *end, struct image_disk *disk)
{
	if (end - from < 8)
		return NULL;
	disk->cells = (uint32_t)fuzz_le(from, 4);
	unsigned count = (unsigned)fuzz_le(from + 4, 4);
	from += 8;
	if (count > IMAGE_CELLS_MAX || (size_t)(end - from) < (size_t)count * (4 + CELL_SIZE))
		return NULL;
	disk->list = calloc(count + 1, sizeof(*disk->list));
	fuzz_expect(disk->list);
	for (unsigned i = 0; i < count; i++, from += 4 + CELL_SIZE) {
		struct image_cell *cell = &disk->list[i];
		cell->number = (uint32_t)fuzz_le(from, 4);
		if (cell->number >= disk->cells || (i > 0 && cell->number <= cell[-1].number))
			return NULL;
		cell->bytes = fuzz_copy(from + 4, CELL_SIZE, CELL_SIZE);
		disk->count++;
	}
	return from;
}

bool image_unpack(const uint8_t *data, size_t size, struct image *ret_image)
{
	unsigned long long length = ZSTD_getFrameContentSize(data, size);

	memset(ret_image, 0, sizeof(*ret_image));
	if (length == ZSTD_CONTENTSIZE_ERROR || length == ZSTD_CONTENTSIZE_UNKNOWN || length < HEAD_SIZE || length > IMAGE_UNPACKED_MAX)
		return false;
	uint8_t *unpacked = malloc((size_t)length);
	const uint8_t *from = unpacked ? unpacked + HEAD_SIZE : NULL;
	if (ZSTD_decompress(unpacked, (size_t)length, data, size) != length)
		from = NULL;
	unsigned disks = from ? unpacked[4] : 0;
	if (disks == 0 || disks > IMAGE_DISKS_MAX)
		from = NULL;
	if (from)
		ret_image->use = (struct image_use){ unpacked[0], unpacked[1], unpacked[2], unpacked[3] };
	for (unsigned d = 0; from && d < disks; d++) {
		ret_image->disk_count++;
		from = disk_parse(from, unpacked + length, &ret_image->disks[d]);
	}
	free(unpacked);
	if (!from)
		image_release(ret_image);
	return from != NULL;
}

static uint8_t *put_u32(uint8_t *to, uint32_t value)
{
	for (unsigned i = 0; i < 4; i++)
		*to++ = (uint8_t)(value >> 8 * i);
	return to;
}

size_t image_pack(const struct image *image, uint8_t *ret_data, size_t room)
{
	size_t size = HEAD_SIZE, cells = 0;

	for (unsigned d = 0; d < image->disk_count; d++) {
		size += 8 + (size_t)image->disks[d].count * (4 + CELL_SIZE);
		cells += image->disks[d].count;
	}
	if (cells > IMAGE_CELLS_MAX)
		return 0;
	uint8_t *unpacked = malloc(size), *to = unpacked;
	fuzz_expect(unpacked);
	memcpy(to, (uint8_t[]){ image->use.import, image->use.writes, image->use.jobs, image->use.seed, (uint8_t)image->disk_count },
	       HEAD_SIZE);
	to += HEAD_SIZE;
	for (unsigned d = 0; d < image->disk_count; d++) {
		const struct image_disk *disk = &image->disks[d];
		to = put_u32(to, disk->cells);
		to = put_u32(to, disk->count);
		for (unsigned i = 0; i < disk->count; i++) {
			to = put_u32(to, disk->list[i].number);
			memcpy(to, disk->list[i].bytes, CELL_SIZE);
			to += CELL_SIZE;
		}
	}
	size_t length = ZSTD_compress(ret_data, room, unpacked, size, LEVEL);
	free(unpacked);
	return ZSTD_isError(length) ? 0 : length;
}

/* The first cell not below `number`. */
static unsigned cell_place(const struct image_disk *disk, uint64_t number)
{
	unsigned low = 0, high = disk->count;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;
		if (disk->list[middle].number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const uint8_t *image_cell(const struct image *image, unsigned disk, uint64_t number)
{
	const struct image_disk *of = &image->disks[disk];
	unsigned place = cell_place(of, number);

	return place < of->count && of->list[place].number == number ? of->list[place].bytes : NULL;
}

/* For writing. */
static uint8_t *cell_make(struct image_disk *disk, uint32_t number)
{
	unsigned place = cell_place(disk, number);

	if (place < disk->count && disk->list[place].number == number)
		return disk->list[place].bytes;
	struct image_cell *list = realloc(disk->list, (disk->count + 1u) * sizeof(*list));
	uint8_t *bytes = calloc(1, CELL_SIZE);
	fuzz_expect(list && bytes);
	memmove(list + place + 1, list + place, (disk->count - place) * sizeof(*list));
	list[place] = (struct image_cell){ number, bytes };
	disk->list = list;
	disk->count++;
	return bytes;
}

void image_read(const struct image *image, unsigned disk, uint64_t offset, void *ret_data, size_t length)
{
	uint8_t *to = ret_data;

	while (length > 0) {
		size_t within = offset % CELL_SIZE, part = CELL_SIZE - within < length ? CELL_SIZE - within : length;
		const uint8_t *cell = image_cell(image, disk, offset / CELL_SIZE);
		if (cell)
			memcpy(to, cell + within, part);
		else
			memset(to, 0, part);
		to += part;
		offset += part;
		length -= part;
	}
}

void image_write(struct image *image, unsigned disk, uint64_t offset, const void *data, size_t length)
{
	const uint8_t *from = data;

	while (length > 0) {
		size_t within = offset % CELL_SIZE, part = CELL_SIZE - within < length ? CELL_SIZE - within : length;
		if (offset / CELL_SIZE < image->disks[disk].cells)
			memcpy(cell_make(&image->disks[disk], (uint32_t)(offset / CELL_SIZE)) + within, from, part);
		from += part;
		offset += part;
		length -= part;
	}
}
