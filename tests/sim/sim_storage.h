/*
 * What simulated disks hold: immutable contents of cells, shared by all that are equal, and sparse images
 * that map cells to them. Zeros take nothing, a repeated pattern its period, others as much as they have
 * up to their last non-zero byte; so pools of many GiB fit in memory as long as tests write plain data.
 */
#ifndef TESTS_SIM_STORAGE_H
#define TESTS_SIM_STORAGE_H

#include <stdint.h>

#include "libpool/base/hash_table.h"

#define SIM_CELL 4096u

struct sim_content;

struct sim_store {
	struct hash_table contents;
	uint64_t count, bytes; /* distinct contents and the memory they take */
};

void sim_store_init(struct sim_store *store);
/* All contents must have been unreferenced. */
void sim_store_release(struct sim_store *store);

/* The content equal to SIM_CELL bytes at data, with one more reference; NULL stands for zeros everywhere. */
struct sim_content *sim_content_make(struct sim_store *store, const void *data);
struct sim_content *sim_content_ref(struct sim_content *content);
void sim_content_unref(struct sim_store *store, struct sim_content *content);
void sim_content_read(const struct sim_content *content, void *ret_cell);
/* Of the bytes; independent of addresses. */
uint64_t sim_content_hash(const struct sim_content *content);

struct sim_image {
	struct sim_store *store;
	uint64_t cells;
	struct sim_content ***chunks; /* 512 cells each, NULL: zeros */
};

void sim_image_init(struct sim_image *image, struct sim_store *store, uint64_t cells);
void sim_image_release(struct sim_image *image);
/* No reference is taken. */
struct sim_content *sim_image_get(const struct sim_image *image, uint64_t cell);
/* Takes over the caller's reference. */
void sim_image_set(struct sim_image *image, uint64_t cell, struct sim_content *content);
void sim_image_copy(struct sim_image *to, const struct sim_image *from);
/* What is cut off is lost. */
void sim_image_resize(struct sim_image *image, uint64_t cells);
/* The first cell >= from that isn't zero, or image->cells. */
uint64_t sim_image_next(const struct sim_image *image, uint64_t from);

#endif
