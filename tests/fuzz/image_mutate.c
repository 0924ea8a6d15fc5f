/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Changes images so that what was changed is looked at: a structure is spoilt, and all checksums on the way to it are made
 * right again, in every copy. A few changes leave them wrong, as disks do.
 */
#include "checksum/crc32c.h"
#include "checksum/xxh3.h"
#include "tests/fuzz/image.h"
#include "tests/sim/sim_random.h"

#define DEPTH_MAX 8u
#define FOUND_MAX 4096u
#define SPOILT_MAX 64u /* bytes that one change touches */

struct mutation {
	struct image image;
	struct sim_random random;
	bool newest_known;
	struct uberblock newest;
};

static uint64_t draw(struct mutation *mutation, uint64_t bound)
{
	return sim_random_below(&mutation->random, bound);
}

/* ---- Spoiling bytes ---- */

static void spoil_once(struct mutation *mutation, uint8_t *bytes, size_t size)
{
	static const uint64_t values[] = { 0, 1, 2, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, UINT64_MAX, UINT64_MAX / 2,
					   1 << 24, (1 << 24) - 1, 4096, 4095, 64, 63 };
	size_t width = (size_t)1 << draw(mutation, 4);
	/* The front of most structures says more than the rest. */
	size_t range = draw(mutation, 2) && size > 1024 ? 1024 : size;
	size_t at = draw(mutation, range / width) * width, other;
	uint64_t value;

	switch (draw(mutation, 8)) {
	case 0:
		bytes[at] ^= (uint8_t)(1u << draw(mutation, 8));
		break;
	case 1:
		value = sim_random_next(&mutation->random);
		memcpy(bytes + at, &value, width);
		break;
	case 2:
		bytes[at] = (uint8_t)(bytes[at] + 1 - 2 * draw(mutation, 2));
		break;
	case 3: /* a value that is elsewhere in it */
		other = draw(mutation, size / width) * width;
		memmove(bytes + at, bytes + other, width);
		break;
	case 4: /* pieces change places, or one is there twice */
		width = size >= 512 && draw(mutation, 2) ? 128 : 32;
		if (size < 2 * width)
			break;
		at = draw(mutation, size / width) * width;
		other = draw(mutation, size / width) * width;
		memmove(bytes + at, bytes + other, width);
		break;
	case 5:
		value = values[draw(mutation, sizeof(values) / sizeof(values[0]))];
		memcpy(bytes + at, &value, width);
		break;
	default:
		width = size - at < SPOILT_MAX ? size - at : SPOILT_MAX;
		uint8_t piece[SPOILT_MAX];
		memcpy(piece, bytes + at, width);
		(void)LLVMFuzzerMutate(piece, 1 + draw(mutation, width), width);
		memcpy(bytes + at, piece, width);
	}
}

static void spoil(struct mutation *mutation, uint8_t *bytes, size_t size)
{
	for (unsigned n = 1 + (unsigned)draw(mutation, 3); n > 0; n--)
		spoil_once(mutation, bytes, size);
}

/* ---- Labels, uberblocks, sysmaps ---- */

/* The same change to all copies on all disks, or on one. */
static void change_label(struct mutation *mutation)
{
	struct image *image = &mutation->image;
	unsigned only = (unsigned)draw(mutation, 2 * image->disk_count);
	size_t size = draw(mutation, 3) ? 128 : 4096 + 40 * image->disk_count;
	struct sim_random before = mutation->random;
	uint8_t *raw = malloc(size);

	for (unsigned d = 0; d < image->disk_count; d++)
		for (unsigned i = 0; i < 4 && image->disks[d].known && (only >= image->disk_count || d == only); i++) {
			uint64_t at = image_area(image, d, i / 2) + LABEL_OFFSET + (uint64_t)(i % 2) * LABEL_COPY_SIZE;
			mutation->random = before;
			image_read(image, d, at, raw, size);
			spoil(mutation, raw, size);
			image_write(image, d, at, raw, size);
			image_mend_label(image, d, i / 2, i % 2);
		}
	free(raw);
}

/* `bytes` at this offset of every copy of the newest uberblock, and in another slot if there is none. */
static void put_in_newest(struct mutation *mutation, size_t offset, const void *bytes, size_t size, unsigned only)
{
	struct image *image = &mutation->image;
	unsigned slot = (unsigned)(mutation->newest.txg % UBERBLOCK_COMMIT_SLOTS);

	for (unsigned d = 0; d < image->disk_count; d++)
		for (unsigned area = 0; area < 2; area++) {
			uint64_t at = image_area(image, d, area) + UBERBLOCK_OFFSET + (uint64_t)slot * UBERBLOCK_SIZE;
			const uint8_t *raw = image_cell(image, d, at / CELL_SIZE);
			if (!image->disks[d].known || (only < image->disk_count && d != only) || !raw ||
			    fuzz_le(raw + 32, 8) != mutation->newest.txg || fuzz_le(raw + 40, 4) != mutation->newest.rewrite)
				continue;
			image_write(image, d, at + offset, bytes, size);
			image_mend_uberblock(image, d, area, slot);
		}
}

static void change_uberblock(struct mutation *mutation)
{
	struct image *image = &mutation->image;
	unsigned slot = (unsigned)(mutation->newest.txg % UBERBLOCK_COMMIT_SLOTS);
	unsigned only = (unsigned)draw(mutation, 3 * image->disk_count);
	bool older = draw(mutation, 8) == 0;
	size_t size = draw(mutation, 2) ? 424 : 2952;
	struct sim_random before = mutation->random;
	uint8_t raw[UBERBLOCK_SIZE];

	if (older)
		slot = (slot + UBERBLOCK_COMMIT_SLOTS - (unsigned)draw(mutation, 5)) % UBERBLOCK_COMMIT_SLOTS;
	for (unsigned d = 0; d < image->disk_count; d++)
		for (unsigned area = 0; area < 2; area++) {
			uint64_t at = image_area(image, d, area) + UBERBLOCK_OFFSET + (uint64_t)slot * UBERBLOCK_SIZE;
			if (!image->disks[d].known || (only < image->disk_count && d != only) ||
			    !image_cell(image, d, at / CELL_SIZE))
				continue;
			mutation->random = before;
			image_read(image, d, at, raw, sizeof(raw));
			spoil(mutation, raw + 32, size - 32);
			image_write(image, d, at, raw, sizeof(raw));
			image_mend_uberblock(image, d, area, slot);
		}
}

static void change_sysmap(struct mutation *mutation)
{
	struct image *image = &mutation->image;
	uint64_t within = SYSMAP_OFFSET + (uint64_t)mutation->newest.sysmap_slot * SYSMAP_SLOT_SIZE;
	uint8_t *raw = malloc(SYSMAP_SLOT_SIZE);
	struct hash128 hash;
	uint8_t length[4];
	uint32_t size = mutation->newest.sysmap_length;
	unsigned from = 0;

	while (from < image->disk_count && !image->disks[from].known)
		from++;
	if (from == image->disk_count) {
		free(raw);
		return;
	}
	image_read(image, from, within, raw, SYSMAP_SLOT_SIZE);
	uint32_t grown = size + 32 <= SYSMAP_SLOT_SIZE ? size + 32 : size;
	switch (draw(mutation, 4)) {
	case 0: /* one entry more, a copy of another */
		if (size >= SYSMAP_HEADER_SIZE + 32 && grown > size) {
			memcpy(raw + size, raw + size - 32 * (1 + draw(mutation, (size - SYSMAP_HEADER_SIZE) / 32)), 32);
			spoil(mutation, raw + size, 32);
			size = grown;
			raw[40]++;
		}
		break;
	case 1:
		if (size >= SYSMAP_HEADER_SIZE + 64) {
			size -= 32;
			raw[40]--;
		}
		break;
	default:
		spoil(mutation, raw, size);
	}
	xxh3_128(raw, size, &hash);
	for (unsigned d = 0; d < image->disk_count; d++)
		for (unsigned area = 0; image->disks[d].known && area < 2; area++)
			image_write(image, d, image_area(image, d, area) + within, raw, size);
	for (unsigned i = 0; i < 4; i++)
		length[i] = (uint8_t)(size >> 8 * i);
	put_in_newest(mutation, 140, length, sizeof(length), UINT32_MAX);
	put_in_newest(mutation, 144, &hash, sizeof(hash), UINT32_MAX);
	free(raw);
}

/* ---- Blocks ---- */

/* Offsets of pointers in the content to blocks that are what they say. */
static size_t find_pointers(const struct image *image, const struct image_block *block, uint32_t *ret_offsets)
{
	size_t count = 0, size = image_block_size(block);
	struct image_block found;

	/* Most are aligned; those in trees aren't. */
	for (size_t at = 0; at + BLOCK_POINTER_SIZE <= size && count < FOUND_MAX; at++) {
		const uint8_t *raw = block->content + at;
		if (raw[56] || raw[57] || raw[63] || fuzz_le(raw, 8) == 0 || fuzz_le(raw + 8, 8) == 0 || fuzz_le(raw, 8) >> 56)
			continue;
		if (image_block_read(image, raw, &found)) {
			free(found.content);
			ret_offsets[count++] = (uint32_t)at;
			at += BLOCK_POINTER_SIZE - 1;
		}
	}
	return count;
}

/* From the pointer down, spoil what is found there, and make the checksums right again on the way back up. */
static bool change_below(struct mutation *mutation, uint8_t *raw_pointer, unsigned depth)
{
	static uint32_t offsets[DEPTH_MAX + 1][FOUND_MAX];
	struct image_block block;

	if (!image_block_read(&mutation->image, raw_pointer, &block))
		return false;
	bool deeper = depth < DEPTH_MAX && draw(mutation, 5);
	size_t count = deeper || draw(mutation, 4) == 0 ? find_pointers(&mutation->image, &block, offsets[depth]) : 0;
	bool changed = false;
	if (deeper && count > 0) {
		uint32_t at = offsets[depth][draw(mutation, count)];
		changed = change_below(mutation, block.content + at, depth + 1);
	}
	if (!changed && count > 1 && draw(mutation, 2)) {
		/* Two pointers to one block. */
		memmove(block.content + offsets[depth][draw(mutation, count)], block.content + offsets[depth][draw(mutation, count)],
			BLOCK_POINTER_SIZE);
	} else if (!changed) {
		spoil(mutation, block.content, image_block_size(&block));
	}
	bool fits = image_block_write(&mutation->image, &block, raw_pointer);
	free(block.content);
	return fits;
}

static void change_block(struct mutation *mutation)
{
	struct raw_block_pointer pointer = mutation->newest.commit;

	if (change_below(mutation, pointer.bytes, 0))
		put_in_newest(mutation, 160, pointer.bytes, sizeof(pointer), UINT32_MAX);
}

static void change_final_summary(struct mutation *mutation)
{
	struct raw_block_pointer pointer = mutation->newest.final.summary;

	if (change_below(mutation, pointer.bytes, DEPTH_MAX))
		put_in_newest(mutation, 224, pointer.bytes, sizeof(pointer), UINT32_MAX);
}

static void change_au_header(struct mutation *mutation)
{
	struct image *image = &mutation->image;
	unsigned d = (unsigned)draw(mutation, image->disk_count), tries = image->disks[d].count;

	for (unsigned i = (unsigned)draw(mutation, tries + 1); tries > 0; tries--, i++) {
		const struct image_cell *cell = &image->disks[d].list[i % image->disks[d].count];
		if (memcmp(cell->bytes, "poolAUHD", 8) != 0)
			continue;
		spoil(mutation, cell->bytes + 16, 160);
		uint32_t crc = crc32c(0, cell->bytes, CELL_SIZE - 4);
		for (unsigned b = 0; b < 4; b++)
			cell->bytes[CELL_SIZE - 4 + b] = (uint8_t)(crc >> 8 * b);
		return;
	}
}

/* ---- What disks do ---- */

static void change_cells(struct mutation *mutation)
{
	struct image *image = &mutation->image;

	for (unsigned n = 1 + (unsigned)draw(mutation, 1u << draw(mutation, 5)); n > 0; n--) {
		struct image_disk *disk = &image->disks[draw(mutation, image->disk_count)];
		if (disk->count == 0)
			continue;
		struct image_cell *cell = &disk->list[draw(mutation, disk->count)], *other = &disk->list[draw(mutation, disk->count)];
		switch (draw(mutation, 4)) {
		case 0: /* never written */
			free(cell->bytes);
			memmove(cell, cell + 1, (size_t)(disk->list + disk->count - cell - 1) * sizeof(*cell));
			disk->count--;
			break;
		case 1:
			cell->bytes[draw(mutation, CELL_SIZE)] ^= (uint8_t)(1u << draw(mutation, 8));
			break;
		case 2: /* written to the wrong place */
			memmove(cell->bytes, other->bytes, CELL_SIZE);
			break;
		default:
			spoil(mutation, cell->bytes, CELL_SIZE);
		}
	}
}

static void change_disks(struct mutation *mutation)
{
	struct image *image = &mutation->image;
	unsigned d = (unsigned)draw(mutation, image->disk_count), other = (unsigned)draw(mutation, image->disk_count);
	struct image_disk swapped = image->disks[d];

	switch (draw(mutation, 4)) {
	case 0: /* away, or back */
		image->disks[d].cells = swapped.cells ? 0 : (uint32_t)(image->disks[d].label_size / CELL_SIZE);
		break;
	case 1: /* another order */
		image->disks[d] = image->disks[other];
		image->disks[other] = swapped;
		break;
	case 2: /* another size */
		image->disks[d].cells = swapped.cells + 256 - 512 * (uint32_t)draw(mutation, 2);
		break;
	default: /* one area is gone */
		for (unsigned i = 0; i < 1024; i += 4) {
			static const uint8_t zeros[4 * CELL_SIZE];
			if (image_cell(image, d, image_area(image, d, other & 1) / CELL_SIZE + i / 4))
				image_write(image, d, image_area(image, d, other & 1) + (uint64_t)i / 4 * CELL_SIZE, zeros, CELL_SIZE);
		}
	}
	/* Behind the end there is nothing. */
	for (unsigned i = 0; i < image->disk_count; i++)
		while (image->disks[i].count > 0 && image->disks[i].list[image->disks[i].count - 1].number >= image->disks[i].cells)
			free(image->disks[i].list[--image->disks[i].count].bytes);
}

static void change_use(struct mutation *mutation)
{
	uint8_t *bytes[] = { &mutation->image.use.import, &mutation->image.use.writes, &mutation->image.use.jobs,
			     &mutation->image.use.seed };

	*bytes[draw(mutation, 4)] = (uint8_t)draw(mutation, 256);
}

static void change(struct mutation *mutation)
{
	unsigned way = (unsigned)draw(mutation, 32);

	image_survey(&mutation->image);
	mutation->newest_known = image_newest(&mutation->image, &mutation->newest);
	if (way < 2)
		change_use(mutation);
	else if (way < 4)
		change_cells(mutation);
	else if (way < 5)
		change_disks(mutation);
	else if (way < 8)
		change_label(mutation);
	else if (way < 9)
		change_au_header(mutation);
	else if (!mutation->newest_known)
		change_cells(mutation);
	else if (way < 12)
		change_uberblock(mutation);
	else if (way < 14)
		change_sysmap(mutation);
	else if (way < 15)
		change_final_summary(mutation);
	else
		change_block(mutation);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	static struct mutation mutation;

	if (!image_unpack(data, size, &mutation.image))
		return size;
	sim_random_seed(&mutation.random, seed);
	for (unsigned n = 1 + (draw(&mutation, 4) == 0); n > 0; n--)
		change(&mutation);
	uint8_t *packed = malloc(max_size);
	size_t length = image_pack(&mutation.image, packed, max_size);
	if (length > 0)
		memcpy(data, packed, length);
	free(packed);
	image_release(&mutation.image);
	return length ? length : size;
}
