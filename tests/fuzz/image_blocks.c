/* SPDX-License-Identifier: BSD-2-Clause */
/* What is in an image: labels, uberblocks, where segments lie, blocks. */
#include <zstd.h>

#include "checksum/xxh3.h"
#include "raid/parity.h"
#include "tests/fuzz/image.h"

#define LABEL_HASH_OFFSET (LABEL_COPY_SIZE - 16)
#define UBERBLOCK_HASH_OFFSET (UBERBLOCK_SIZE - 16)
#define POINTER_CHECKSUM_OFFSET 40u

uint64_t image_area(const struct image *image, unsigned disk, unsigned area)
{
	uint64_t size = image->disks[disk].label_size;

	return area == 0 || size < 2 * LABEL_AREA_SIZE ? 0 : size / LABEL_AREA_SIZE * LABEL_AREA_SIZE - LABEL_AREA_SIZE;
}

static uint64_t label_offset(const struct image *image, unsigned disk, unsigned area, unsigned copy)
{
	return image_area(image, disk, area) + LABEL_OFFSET + (uint64_t)copy * LABEL_COPY_SIZE;
}

void image_mend_label(struct image *image, unsigned disk, unsigned area, unsigned copy)
{
	uint8_t *raw = malloc(LABEL_COPY_SIZE), place[2] = { (uint8_t)area, (uint8_t)copy };
	uint64_t offset = label_offset(image, disk, area, copy);
	struct hash128 hash;

	image_read(image, disk, offset, raw, LABEL_COPY_SIZE);
	xxh3_128_context(place, sizeof(place), raw, LABEL_HASH_OFFSET, &hash);
	image_write(image, disk, offset + LABEL_HASH_OFFSET, &hash, sizeof(hash));
	free(raw);
}

static uint64_t uberblock_offset(const struct image *image, unsigned disk, unsigned area, unsigned slot)
{
	return image_area(image, disk, area) + UBERBLOCK_OFFSET + (uint64_t)slot * UBERBLOCK_SIZE;
}

void image_mend_uberblock(struct image *image, unsigned disk, unsigned area, unsigned slot)
{
	uint8_t raw[UBERBLOCK_SIZE], context[34];
	uint64_t offset = uberblock_offset(image, disk, area, slot);
	struct hash128 hash;

	image_read(image, disk, offset, raw, sizeof(raw));
	memcpy(context, &image->pool, 16);
	memcpy(context + 16, &image->disks[disk].guid, 16);
	context[32] = (uint8_t)slot;
	context[33] = 0;
	xxh3_128_context(context, sizeof(context), raw, UBERBLOCK_HASH_OFFSET, &hash);
	image_write(image, disk, offset + UBERBLOCK_HASH_OFFSET, &hash, sizeof(hash));
}

bool image_newest(const struct image *image, struct uberblock *ret_uberblock)
{
	static struct uberblock found;
	bool any = false;

	for (unsigned d = 0; d < image->disk_count; d++)
		for (unsigned i = 0; image->disks[d].known && i < 2 * UBERBLOCK_COMMIT_SLOTS; i++) {
			unsigned area = i / UBERBLOCK_COMMIT_SLOTS, slot = i % UBERBLOCK_COMMIT_SLOTS;
			uint64_t offset = uberblock_offset(image, d, area, slot);
			const uint8_t *raw = image_cell(image, d, offset / CELL_SIZE);
			if (!raw || uberblock_decode(raw, &image->pool, &image->disks[d].guid, slot, &found) < 0)
				continue;
			if (!any || found.txg > ret_uberblock->txg ||
			    (found.txg == ret_uberblock->txg && found.rewrite > ret_uberblock->rewrite)) {
				*ret_uberblock = found;
				any = true;
			}
		}
	return any;
}

void image_put_in_newest(struct image *image, const struct uberblock *newest, size_t offset, const void *bytes, size_t size)
{
	unsigned slot = (unsigned)(newest->txg % UBERBLOCK_COMMIT_SLOTS);

	for (unsigned d = 0; d < image->disk_count; d++)
		for (unsigned area = 0; image->disks[d].known && area < 2; area++) {
			uint64_t at = uberblock_offset(image, d, area, slot);
			const uint8_t *raw = image_cell(image, d, at / CELL_SIZE);
			if (!raw || fuzz_le(raw + 32, 8) != newest->txg || fuzz_le(raw + 40, 4) != newest->rewrite)
				continue;
			image_write(image, d, at + offset, bytes, size);
			image_mend_uberblock(image, d, area, slot);
		}
}

static void survey_label(struct image *image, unsigned d, struct label *label)
{
	struct image_disk *disk = &image->disks[d];
	uint8_t *raw = malloc(LABEL_COPY_SIZE);

	disk->known = false;
	for (unsigned copy = 0; copy < 2 && !disk->known; copy++) {
		image_read(image, d, LABEL_OFFSET + (uint64_t)copy * LABEL_COPY_SIZE, raw, LABEL_COPY_SIZE);
		if (label_decode(raw, 0, copy, label) < 0)
			continue;
		disk->known = true;
		disk->guid = label->disk;
		disk->index = label->disk_index;
		disk->au_shift = label->au_shift;
		disk->label_size = label->size;
	}
	free(raw);
}

static void survey_segment(struct image *image, const struct au_header *header)
{
	unsigned place = 0;

	while (place < image->segment_count && image->segments[place].id != header->segment)
		place++;
	struct image_segment *segment = &image->segments[place];
	if (place == image->segment_count) {
		if (place == IMAGE_SEGMENTS_MAX)
			return;
		image->segment_count++;
	} else if (header->alloc_txg < segment->alloc_txg ||
		   (header->alloc_txg == segment->alloc_txg && header->sequence < segment->sequence)) {
		return;
	}
	*segment = (struct image_segment){ .id = header->segment, .k = header->k, .m = header->m, .alloc_txg = header->alloc_txg,
					   .sequence = header->sequence };
	memcpy(segment->columns, header->columns, sizeof(segment->columns));
}

void image_survey(struct image *image)
{
	static struct label label;
	struct au_header header;
	bool found = false;

	image->segment_count = 0;
	image->rows = 64;
	for (unsigned d = 0; d < image->disk_count; d++) {
		survey_label(image, d, &label);
		if (image->disks[d].known && !found) {
			image->pool = label.pool;
			image->rows = 1u << (label.au_shift - CELL_SHIFT);
			found = true;
		}
	}
	for (unsigned d = 0; d < image->disk_count; d++)
		for (unsigned i = 0; image->disks[d].known && i < image->disks[d].count; i++) {
			const struct image_cell *cell = &image->disks[d].list[i];
			if (cell->number >= DATA_START / CELL_SIZE && (cell->number - DATA_START / CELL_SIZE) % image->rows == 0 &&
			    au_header_decode(cell->bytes, &header) == 0)
				survey_segment(image, &header);
		}
}

static const struct image_segment *segment_find(const struct image *image, uint32_t id)
{
	for (unsigned i = 0; i < image->segment_count; i++)
		if (image->segments[i].id == id)
			return &image->segments[i];
	return NULL;
}

/* Which disk of the image holds a column, and the offset of its row 0; -1 if there is none. */
static int column_find(const struct image *image, struct segment_column column, uint64_t *ret_offset)
{
	for (unsigned d = 0; d < image->disk_count; d++)
		if (image->disks[d].known && image->disks[d].index == column.disk) {
			*ret_offset = DATA_START + (uint64_t)column.au * image->rows * CELL_SIZE;
			return (int)d;
		}
	return -1;
}

static void column_read(const struct image *image, struct segment_column column, unsigned row, unsigned rows, uint8_t *ret_cells)
{
	uint64_t offset;
	int disk = column_find(image, column, &offset);

	if (disk < 0)
		memset(ret_cells, 0, (size_t)rows * CELL_SIZE);
	else
		image_read(image, (unsigned)disk, offset + (uint64_t)row * CELL_SIZE, ret_cells, (size_t)rows * CELL_SIZE);
}

static void column_write(struct image *image, struct segment_column column, unsigned row, unsigned rows, const uint8_t *cells)
{
	uint64_t offset;
	int disk = column_find(image, column, &offset);

	if (disk >= 0)
		image_write(image, (unsigned)disk, offset + (uint64_t)row * CELL_SIZE, cells, (size_t)rows * CELL_SIZE);
}

static void mend_parity(struct image *image, const struct image_segment *segment, unsigned row)
{
	static _Alignas(RAID_ALIGNMENT) uint8_t cells[COLUMNS_MAX][CELL_SIZE];
	const void *data[COLUMNS_MAX];
	void *parity[PARITY_MAX];

	for (unsigned c = 0; c < segment->k; c++) {
		column_read(image, segment->columns[c], row, 1, cells[c]);
		data[c] = cells[c];
	}
	for (unsigned j = 0; j < segment->m; j++)
		parity[j] = cells[segment->k + j];
	fuzz_expect(raid_encode(segment->k, segment->m, CELL_SIZE, data, parity) == 0);
	for (unsigned j = 0; j < segment->m; j++)
		column_write(image, segment->columns[segment->k + j], row, 1, parity[j]);
}

static const struct image_segment *block_runs(const struct image *image, const struct block_pointer *pointer, struct cell_run *ret_runs,
					      unsigned *ret_count)
{
	struct dva dva = dva_unpack(pointer->dva);
	const struct image_segment *segment = segment_find(image, dva.segment);

	if (!segment || !dva_valid(dva, pointer->psect, segment->k, image->rows))
		return NULL;
	*ret_count = dva_runs(dva, pointer->psect, ret_runs);
	return segment;
}

bool image_payload_read(const struct image *image, const struct block_pointer *pointer, uint8_t *ret_payload)
{
	struct cell_run runs[COLUMNS_MAX];
	unsigned count;
	const struct image_segment *segment = block_runs(image, pointer, runs, &count);

	for (unsigned i = 0; segment && i < count; i++) {
		column_read(image, segment->columns[runs[i].column], runs[i].row, runs[i].rows, ret_payload);
		ret_payload += (size_t)runs[i].rows * CELL_SIZE;
	}
	return segment != NULL;
}

static void payload_write(struct image *image, const struct block_pointer *pointer, const uint8_t *payload)
{
	struct cell_run runs[COLUMNS_MAX];
	unsigned count;
	const struct image_segment *segment = block_runs(image, pointer, runs, &count);

	fuzz_expect(segment);
	for (unsigned i = 0; i < count; i++) {
		column_write(image, segment->columns[runs[i].column], runs[i].row, runs[i].rows, payload);
		payload += (size_t)runs[i].rows * CELL_SIZE;
	}
	for (unsigned i = 0; i < count; i++)
		for (unsigned row = 0; row < runs[i].rows; row++)
			mend_parity(image, segment, runs[i].row + row);
}

size_t image_block_size(const struct image_block *block)
{
	return (size_t)block->pointer.lsect * CELL_SIZE;
}

static size_t payload_size(const struct image_block *block)
{
	return (size_t)block->pointer.psect * CELL_SIZE;
}

static bool decompress(const struct image_block *block, const uint8_t *payload, uint8_t *ret_content)
{
	size_t length = (size_t)fuzz_le(payload, 4);

	return length <= payload_size(block) - 4 &&
	       !ZSTD_isError(ZSTD_decompress(ret_content, image_block_size(block), payload + 4, length));
}

bool image_block_read(const struct image *image, const uint8_t *raw_pointer, struct image_block *ret_block)
{
	struct raw_block_pointer raw;
	struct hash128 hash;

	memcpy(&raw, raw_pointer, sizeof(raw));
	if (block_pointer_decode(&raw, &ret_block->pointer) < 0 || !block_pointer_is_placed(&ret_block->pointer) ||
	    (ret_block->pointer.compression == COMPRESSION_NONE && ret_block->pointer.psect != ret_block->pointer.lsect))
		return false;
	uint8_t *payload = malloc(payload_size(ret_block));
	bool good = image_payload_read(image, &ret_block->pointer, payload);
	if (good) {
		xxh3_128(payload, payload_size(ret_block), &hash);
		good = memcmp(&hash, raw.bytes + POINTER_CHECKSUM_OFFSET, sizeof(hash)) == 0;
	}
	ret_block->content = payload;
	if (good && ret_block->pointer.compression != COMPRESSION_NONE) {
		ret_block->content = calloc(1, image_block_size(ret_block));
		good = decompress(ret_block, payload, ret_block->content);
		free(payload);
	}
	if (!good)
		free(ret_block->content);
	return good;
}

bool image_block_write(struct image *image, const struct image_block *block, uint8_t *raw_pointer)
{
	size_t room = payload_size(block);
	uint8_t *payload = calloc(1, room);
	struct hash128 hash;

	if (block->pointer.compression == COMPRESSION_NONE) {
		memcpy(payload, block->content, room);
	} else {
		size_t length = ZSTD_compress(payload + 4, room - 4, block->content, image_block_size(block), 12);
		if (ZSTD_isError(length)) {
			free(payload);
			return false;
		}
		for (unsigned i = 0; i < 4; i++)
			payload[i] = (uint8_t)(length >> 8 * i);
	}
	payload_write(image, &block->pointer, payload);
	xxh3_128(payload, room, &hash);
	memcpy(raw_pointer + POINTER_CHECKSUM_OFFSET, &hash, sizeof(hash));
	free(payload);
	return true;
}
