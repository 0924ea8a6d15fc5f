/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Changes images so that what was changed is looked at: a structure is spoilt, and all checksums on the way to it are made
 * right again, in every copy. A few changes leave them wrong, as disks do.
 */
#include "checksum/crc32c.h"
#include "checksum/xxh3.h"
#include "libpool/format/summary.h"
#include "libpool/format/tree_node.h"
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

/* ---- Spoiling what still decodes: only that gets past the decoders ---- */

struct judge {
	const struct image *image;
	uint8_t type, level;
	const struct guid *disk; /* of an uberblock */
};

enum { JUDGE_LABEL = 64, JUDGE_UBERBLOCK, JUDGE_SYSMAP };

static int pass(const struct alloc_record *record, void *argument)
{
	(void)record;
	(void)argument;
	return 0;
}

static bool log_decodes(const struct judge *judge, const uint8_t *bytes, size_t size)
{
	static struct raw_block_pointer earlier[ALLOC_LOG_BLOCK_MAX / BLOCK_POINTER_SIZE];
	static struct alloc_log_previous previous[ALLOC_LOG_PREVIOUS_MAX];
	struct alloc_log_header header;
	const uint8_t *records;

	return size <= ALLOC_LOG_BLOCK_MAX && alloc_log_decode(bytes, size, &header, earlier, previous, &records) == 0 &&
	       alloc_records_each(records, header.record_bytes, judge->image->rows, pass, NULL) == 0;
}

static bool pointers_decode(const uint8_t *bytes, size_t size)
{
	struct raw_block_pointer raw;
	struct block_pointer pointer;

	for (size_t at = 0; at + sizeof(raw) <= size; at += sizeof(raw)) {
		memcpy(&raw, bytes + at, sizeof(raw));
		if (block_pointer_decode(&raw, &pointer) < 0)
			return false;
	}
	return true;
}

static bool page_decodes(const struct judge *judge, const uint8_t *bytes, size_t size)
{
	struct segment_record record;
	uint64_t txg;

	if (judge->type == TYPE_LIVEMAP)
		return livemap_header_decode(bytes, fuzz_le(bytes + 16, 8), &txg) == 0;
	bool good = size == SEGTAB_PAGE_SIZE && segtab_page_header_decode(bytes, fuzz_le(bytes + 16, 8), &txg) == 0;
	for (size_t at = SEGMENT_RECORD_SIZE; good && at < size; at += SEGMENT_RECORD_SIZE)
		good = segment_record_decode(bytes + at, judge->image->rows, &record) == 0;
	return good;
}

static bool dnodes_decode(const uint8_t *bytes, size_t size)
{
	struct dnode dnode;

	for (size_t at = 0; at + DNODE_SIZE <= size; at += DNODE_SIZE)
		if (dnode_decode(bytes + at, &dnode) < 0)
			return false;
	return true;
}

static bool summary_decodes(const struct judge *judge, const uint8_t *bytes, size_t size)
{
	struct summary summary;

	if (summary_decode(bytes, size, judge->image->rows, &summary) < 0)
		return false;
	summary_release(&summary);
	return true;
}

/* As if its hash were right; `bytes` are its beginning. */
static bool label_decodes(const uint8_t *bytes, size_t size, struct label *label)
{
	uint8_t *raw = fuzz_copy(bytes, size, LABEL_COPY_SIZE), place[2] = { bytes[77] & 1, bytes[78] & 1 };
	struct hash128 hash;

	xxh3_128_context(place, sizeof(place), raw, LABEL_COPY_SIZE - 16, &hash);
	memcpy(raw + LABEL_COPY_SIZE - 16, &hash, sizeof(hash));
	bool good = label_decode(raw, place[0], place[1], label) == 0;
	free(raw);
	return good;
}

static bool uberblock_decodes(const struct judge *judge, const uint8_t *bytes, struct uberblock *uberblock)
{
	uint8_t raw[UBERBLOCK_SIZE], context[34];
	unsigned slot = (unsigned)fuzz_le(bytes + 82, 2);
	struct hash128 hash;

	memcpy(raw, bytes, sizeof(raw));
	memcpy(context, &judge->image->pool, 16);
	memcpy(context + 16, judge->disk, 16);
	memcpy(context + 32, bytes + 82, 2);
	xxh3_128_context(context, sizeof(context), raw, UBERBLOCK_SIZE - 16, &hash);
	memcpy(raw + UBERBLOCK_SIZE - 16, &hash, sizeof(hash));
	return uberblock_decode(raw, &judge->image->pool, judge->disk, slot, uberblock) == 0;
}

static bool decodes(const struct judge *judge, const uint8_t *bytes, size_t size)
{
	static struct sysmap_segment segments[SYSMAP_SEGMENTS_MAX];
	static union {
		struct label label;
		struct uberblock uberblock;
		struct commit_block commit;
		struct objset_block objset;
	} as;

	if (judge->level > 0 && judge->type != TYPE_TREE)
		return pointers_decode(bytes, size);
	switch (judge->type) {
	case TYPE_SUMMARY:
		return summary_decodes(judge, bytes, size);
	case TYPE_ALLOC_LOG:
		return log_decodes(judge, bytes, size);
	case TYPE_COMMIT:
		return commit_block_decode(bytes, &as.commit) == 0;
	case TYPE_SEGTAB:
	case TYPE_LIVEMAP:
		return page_decodes(judge, bytes, size);
	case TYPE_OBJSET:
		return objset_block_decode(bytes, &as.objset) == 0;
	case TYPE_DNODES:
		return dnodes_decode(bytes, size);
	case TYPE_TREE:
		return tree_node_check(bytes, size, judge->level) == 0;
	case JUDGE_LABEL:
		return label_decodes(bytes, size, &as.label);
	case JUDGE_UBERBLOCK:
		return uberblock_decodes(judge, bytes, &as.uberblock);
	case JUDGE_SYSMAP:
		return sysmap_decode(bytes, size, &judge->image->pool, fuzz_le(bytes + 32, 8), segments) >= 0;
	}
	return true;
}

/* Most of the time the result still decodes; some times it is left to the decoder to refuse it. */
static void spoil_as(struct mutation *mutation, const struct judge *judge, uint8_t *bytes, size_t size)
{
	uint8_t *before;

	if (draw(mutation, 8) == 0) {
		spoil(mutation, bytes, size);
		return;
	}
	before = fuzz_copy(bytes, size, size);
	for (unsigned tries = 0; tries < 60; tries++) {
		spoil_once(mutation, bytes, size);
		if (memcmp(before, bytes, size) != 0 && decodes(judge, bytes, size)) {
			if (draw(mutation, 3))
				break;
			memcpy(before, bytes, size); /* one more */
			continue;
		}
		memcpy(bytes, before, size);
	}
	free(before);
}

/* ---- Labels, uberblocks, sysmaps ---- */

/* The same change to all copies on all disks, or on one. */
static void change_label(struct mutation *mutation)
{
	struct image *image = &mutation->image;
	unsigned only = (unsigned)draw(mutation, 2 * image->disk_count);
	size_t size = 4096 + 40 * image->disk_count;
	struct judge judge = { .image = image, .type = JUDGE_LABEL };
	struct sim_random before = mutation->random;
	uint8_t *raw = malloc(size);

	for (unsigned d = 0; d < image->disk_count; d++)
		for (unsigned i = 0; i < 4 && image->disks[d].known && (only >= image->disk_count || d == only); i++) {
			uint64_t at = image_area(image, d, i / 2) + LABEL_OFFSET + (uint64_t)(i % 2) * LABEL_COPY_SIZE;
			mutation->random = before;
			image_read(image, d, at, raw, size);
			spoil_as(mutation, &judge, raw, size);
			image_write(image, d, at, raw, size);
			image_mend_label(image, d, i / 2, i % 2);
		}
	free(raw);
}

static void change_uberblock(struct mutation *mutation)
{
	struct image *image = &mutation->image;
	unsigned slot = (unsigned)(mutation->newest.txg % UBERBLOCK_COMMIT_SLOTS);
	unsigned only = (unsigned)draw(mutation, 3 * image->disk_count);
	bool older = draw(mutation, 8) == 0;
	struct judge judge = { .image = image, .type = JUDGE_UBERBLOCK };
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
			judge.disk = &image->disks[d].guid;
			spoil_as(mutation, &judge, raw, UBERBLOCK_SIZE - 16);
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
	struct judge judge = { .image = image, .type = JUDGE_SYSMAP };
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
		spoil_as(mutation, &judge, raw, size);
	}
	xxh3_128(raw, size, &hash);
	for (unsigned d = 0; d < image->disk_count; d++)
		for (unsigned area = 0; image->disks[d].known && area < 2; area++)
			image_write(image, d, image_area(image, d, area) + within, raw, size);
	for (unsigned i = 0; i < 4; i++)
		length[i] = (uint8_t)(size >> 8 * i);
	image_put_in_newest(&mutation->image, &mutation->newest, 140, length, sizeof(length));
	image_put_in_newest(&mutation->image, &mutation->newest, 144, &hash, sizeof(hash));
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
		struct judge judge = { .image = &mutation->image, .type = block.pointer.type, .level = block.pointer.level };
		spoil_as(mutation, &judge, block.content, image_block_size(&block));
	}
	bool fits = image_block_write(&mutation->image, &block, raw_pointer);
	free(block.content);
	return fits;
}

static void change_block(struct mutation *mutation)
{
	struct raw_block_pointer pointer = mutation->newest.commit;

	if (change_below(mutation, pointer.bytes, 0))
		image_put_in_newest(&mutation->image, &mutation->newest, 160, pointer.bytes, sizeof(pointer));
}

static void change_final_summary(struct mutation *mutation)
{
	struct raw_block_pointer pointer = mutation->newest.final.summary;

	if (change_below(mutation, pointer.bytes, DEPTH_MAX))
		image_put_in_newest(&mutation->image, &mutation->newest, 224, pointer.bytes, sizeof(pointer));
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
