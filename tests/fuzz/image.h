/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A whole pool as bytes: the cells of its disks that aren't zero, packed with zstd, and how it is to be used. Reading and
 * changing what is in it, as far as its own labels, AU headers and pointers lead: nothing here trusts them.
 */
#ifndef TESTS_FUZZ_IMAGE_H
#define TESTS_FUZZ_IMAGE_H

#include <stdbool.h>

#include "libpool/format/block_pointer.h"
#include "libpool/format/label.h"
#include "libpool/format/uberblock.h"
#include "tests/fuzz/fuzz.h"

#define IMAGE_DISKS_MAX 6u
#define IMAGE_CELLS_MAX 4096u /* of all disks */
#define IMAGE_SEGMENTS_MAX 600u
#define IMAGE_UNPACKED_MAX ((size_t)IMAGE_CELLS_MAX * (CELL_SIZE + 4) + 256)

/* What is done with it; each is drawn from its byte. */
struct image_use {
	uint8_t import, writes, jobs, seed;
};

struct image_cell {
	uint32_t number;
	uint8_t *bytes;
};

struct image_disk {
	uint32_t cells; /* its size; 0: the disk isn't there */
	unsigned count;
	struct image_cell *list; /* ascending */
	bool known;              /* it has a label of a pool, which is the next two */
	struct guid guid;
	uint16_t index;
	unsigned au_shift;
	uint64_t label_size;
};

/* Where a segment lies, by AU headers. */
struct image_segment {
	uint32_t id;
	uint8_t k, m;
	uint64_t alloc_txg, sequence;
	struct segment_column columns[COLUMNS_MAX];
};

struct image {
	struct image_use use;
	unsigned disk_count;
	struct image_disk disks[IMAGE_DISKS_MAX];
	unsigned segment_count;
	struct image_segment segments[IMAGE_SEGMENTS_MAX];
	unsigned rows;
	struct guid pool;
};

/* False if the bytes are no image; then there is nothing to release. */
bool image_unpack(const uint8_t *data, size_t size, struct image *ret_image);
/* The size, 0 if that is above `room`. */
size_t image_pack(const struct image *image, uint8_t *ret_data, size_t room);
void image_release(struct image *image);

/* The cell, NULL for zeros. */
const uint8_t *image_cell(const struct image *image, unsigned disk, uint64_t number);
/* Bytes of a disk at any offset; what lies behind its end is zeros, or not written. */
void image_read(const struct image *image, unsigned disk, uint64_t offset, void *ret_data, size_t length);
void image_write(struct image *image, unsigned disk, uint64_t offset, const void *data, size_t length);

/* Learns labels and segments; after that what follows can be used. */
void image_survey(struct image *image);
/* The offset of area A or B of a known disk. */
uint64_t image_area(const struct image *image, unsigned disk, unsigned area);
/* Writes the hash of a label at this place. */
void image_mend_label(struct image *image, unsigned disk, unsigned area, unsigned copy);
void image_mend_uberblock(struct image *image, unsigned disk, unsigned area, unsigned slot);
/* The newest uberblock in any slot of any known disk. */
bool image_newest(const struct image *image, struct uberblock *ret_uberblock);
/* `bytes` at this offset of every copy of it. */
void image_put_in_newest(struct image *image, const struct uberblock *newest, size_t offset, const void *bytes, size_t size);

/* A block that was found: its pointer, the payload as it is on disk, its content. */
struct image_block {
	struct block_pointer pointer;
	uint8_t *content;
};

/* A placed block whose payload has the checksum in the pointer. Its content is the caller's. */
bool image_block_read(const struct image *image, const uint8_t *raw_pointer, struct image_block *ret_block);
/*
 * Puts the content to where the block lies, all copies and parity with it, and its checksum into the raw pointer. False if it
 * doesn't fit any more when it is compressed.
 */
bool image_block_write(struct image *image, const struct image_block *block, uint8_t *raw_pointer);
/* What lies on disk, psect cells. False if the address makes no sense. */
bool image_payload_read(const struct image *image, const struct block_pointer *pointer, uint8_t *ret_payload);
size_t image_block_size(const struct image_block *block);

struct engine;
struct fs;

/* image_files.c */
/* All file systems of a pool, looked at and, if `changes`, changed and destroyed. */
void image_use_filesystems(struct engine *engine, bool changes);
/* Some of everything that one can hold. */
void image_make_files(struct fs *fs);

#endif
