/* SPDX-License-Identifier: BSD-2-Clause */
/* MOS_SPACE: what users, groups and projects use in each file system, and what they may. */
#ifndef LIBPOOL_FORMAT_SPACE_RECORD_H
#define LIBPOOL_FORMAT_SPACE_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum owner_kind { OWNER_USER, OWNER_GROUP, OWNER_PROJECT, OWNER_KINDS };
/* Whose space an object is. Trees of extended attributes have it as their bonus, 12 bytes: see inode.h. */
#define OBJECT_OWNER_SIZE 12u
struct object_owner_ids {
	uint32_t ids[OWNER_KINDS];
};

/* Key: dataset u32, kind u8, id u32, big endian; a limit's kind is 16 higher. Value: amount u64, objects u64. */
#define SPACE_KEY_SIZE 9u
#define SPACE_VALUE_SIZE 16u
struct space_row {
	uint32_t dataset, id;
	enum owner_kind kind;
	bool is_limit;
	uint64_t amount; /* cells in use; bytes of a limit, 0: none */
	uint64_t objects;
};
void space_key_encode(const struct space_row *row, uint8_t ret_key[SPACE_KEY_SIZE]);
void space_row_encode(const struct space_row *row, uint8_t ret_key[SPACE_KEY_SIZE], uint8_t ret_value[SPACE_VALUE_SIZE]);
/* A row with nothing in it is none: -POOL_EFORMAT. */
int space_row_decode(const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size, struct space_row *ret_row);

#endif
