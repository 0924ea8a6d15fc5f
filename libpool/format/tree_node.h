/*
 * One node of a B+tree: a page of sorted entries, written once and never changed in place.
 *
 * Layout: header (32 bytes), one u16 for each entry with its offset, the entries {key length u16, value length
 * u16, key, value} in the order of their keys and without gaps, zeroes. A page has exactly one form for its
 * entries, so a check has nothing to guess: each offset is where the entry before it ends. In a leaf (level 0) the value
 * is the user's; above, the key is the lowest key of the child and the value its block pointer.
 *
 * Pages that came from disk may hold anything: every function here but tree_node_encode bears that. Those that
 * return an entry check the bounds of that entry only; tree_node_check checks all there is.
 */
#ifndef LIBPOOL_FORMAT_TREE_NODE_H
#define LIBPOOL_FORMAT_TREE_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TREE_KEY_MAX 1024u
#define TREE_VALUE_MAX 3072u
#define TREE_LEVELS_MAX 16u /* the level of a pointer has 4 bits */
#define TREE_NODE_SIZE_MIN (16u << 10)
#define TREE_NODE_SIZE_MAX (32u << 10)
#define TREE_NODE_HEADER_SIZE 32u

struct tree_entry {
	const uint8_t *key, *value;
	uint16_t key_length, value_length;
};

/* Bytes of a page that one entry takes, its offset included; the entries of a page take at most tree_node_room. */
static inline size_t tree_entry_size(size_t key_length, size_t value_length)
{
	return 3 * sizeof(uint16_t) + key_length + value_length;
}

static inline size_t tree_node_room(size_t node_size)
{
	return node_size - TREE_NODE_HEADER_SIZE;
}

/* As memcmp, a key before those it is the beginning of. */
int tree_key_compare(const void *left, size_t left_length, const void *right, size_t right_length);

/* Writes a whole page of node_size bytes. The entries are sorted, at least one, and fit. */
void tree_node_encode(unsigned level, const struct tree_entry *entries, size_t count, size_t node_size, uint8_t *ret_raw);

/*
 * 0, or -POOL_EFORMAT for what tree_node_encode never makes: header, level, offsets, lengths, order of the keys,
 * bytes behind the last entry, values above leaves that aren't 64 bytes. The pointers themselves are not looked at.
 */
int tree_node_check(const uint8_t *raw, size_t node_size, unsigned level);

/* The header alone: the number of entries (at least 1), or -POOL_EFORMAT. The rest of the functions need that number. */
int tree_node_count(const uint8_t *raw, size_t node_size, unsigned level);

/* 0 with pointers into the page, or -POOL_EFORMAT. */
int tree_node_entry(const uint8_t *raw, size_t node_size, unsigned index, struct tree_entry *ret_entry);

/* *ret_index is the first entry with a key >= the given one (count if none), *ret_equal whether it is that key. */
int tree_node_search(const uint8_t *raw, size_t node_size, unsigned count, const void *key, size_t key_length,
		     unsigned *ret_index, bool *ret_equal);

#endif
