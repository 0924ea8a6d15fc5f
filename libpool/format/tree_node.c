/* Encoding, checking and searching of tree nodes: see tree_node.h for the layout. */
#include "libpool/format/tree_node.h"

#include <string.h>

#include "libpool/base/endian.h"
#include "libpool/base/error.h"
#include "libpool/format/block_pointer.h"
#include "libpool/format/raw_header.h"

#define MAGIC_TREE FORMAT_MAGIC('T', 'R', 'E', 'E')

struct raw_tree_node {
	struct raw_header header; /* 0 */
	uint8_t level;            /* 16 */
	uint8_t reserved;         /* 17 */
	le16 count;               /* 18: entries */
	le32 used;                /* 20: where the last entry ends */
	uint8_t reserved_2[8];    /* 24 */
};
_Static_assert(sizeof(struct raw_tree_node) == TREE_NODE_HEADER_SIZE && AT(raw_tree_node, header, 0) && AT(raw_tree_node, level, 16) &&
		       AT(raw_tree_node, count, 18) && AT(raw_tree_node, used, 20), "on disk");

struct raw_entry {
	le16 key_length;
	le16 value_length;
};
_Static_assert(sizeof(struct raw_entry) == 4 && AT(raw_entry, key_length, 0) && AT(raw_entry, value_length, 2), "on disk");
_Static_assert(TREE_NODE_SIZE_MAX <= UINT16_MAX + 1u, "offsets have 16 bits");

int tree_key_compare(const void *left, size_t left_length, const void *right, size_t right_length)
{
	size_t common = left_length < right_length ? left_length : right_length;
	uint64_t left_head, right_head;
	int order;

	/* Mostly the first bytes tell. */
	if (common >= sizeof(left_head)) {
		memcpy(&left_head, left, sizeof(left_head));
		memcpy(&right_head, right, sizeof(right_head));
		if (left_head != right_head)
			return be64toh(left_head) < be64toh(right_head) ? -1 : 1;
	}
	order = common ? memcmp(left, right, common) : 0;
	if (order)
		return order;
	return left_length < right_length ? -1 : left_length > right_length;
}

void tree_node_encode(unsigned level, const struct tree_entry *entries, size_t count, size_t node_size, uint8_t *ret_raw)
{
	struct raw_tree_node node = { .header = raw_header_make(MAGIC_TREE, TREE_NODE_HEADER_SIZE, 0),
				      .level = (uint8_t)level,
				      .count = le16_make((uint16_t)count) };
	size_t offset = sizeof(node) + count * sizeof(le16);

	memset(ret_raw, 0, node_size);
	for (size_t i = 0; i < count; i++) {
		const struct tree_entry *entry = &entries[i];
		struct raw_entry raw = { le16_make(entry->key_length), le16_make(entry->value_length) };
		le16 slot = le16_make((uint16_t)offset);

		memcpy(ret_raw + sizeof(node) + i * sizeof(slot), &slot, sizeof(slot));
		memcpy(ret_raw + offset, &raw, sizeof(raw));
		offset += sizeof(raw);
		if (entry->key_length)
			memcpy(ret_raw + offset, entry->key, entry->key_length);
		offset += entry->key_length;
		if (entry->value_length)
			memcpy(ret_raw + offset, entry->value, entry->value_length);
		offset += entry->value_length;
	}
	node.used = le32_make((uint32_t)offset);
	memcpy(ret_raw, &node, sizeof(node));
}

int tree_node_count(const uint8_t *raw, size_t node_size, unsigned level)
{
	const struct raw_tree_node *node = (const struct raw_tree_node *)raw;
	size_t count, used;

	if (node_size < TREE_NODE_SIZE_MIN || node_size > TREE_NODE_SIZE_MAX)
		return -POOL_EFORMAT;
	if (!raw_header_valid(&node->header, MAGIC_TREE, sizeof(*node), 0) || node->level != level)
		return -POOL_EFORMAT;
	count = le16_get(node->count);
	used = le32_get(node->used);
	if (count == 0 || used > node_size || used < sizeof(*node) + count * (sizeof(le16) + sizeof(struct raw_entry)))
		return -POOL_EFORMAT;
	return (int)count;
}

static size_t entry_offset(const uint8_t *raw, unsigned index)
{
	le16 slot;

	memcpy(&slot, raw + TREE_NODE_HEADER_SIZE + index * sizeof(slot), sizeof(slot));
	return le16_get(slot);
}

int tree_node_entry(const uint8_t *raw, size_t node_size, unsigned index, struct tree_entry *ret_entry)
{
	struct raw_entry entry;
	size_t offset, key_length, value_length;

	if (TREE_NODE_HEADER_SIZE + (index + 1) * sizeof(le16) > node_size)
		return -POOL_EFORMAT;
	offset = entry_offset(raw, index);
	if (offset + sizeof(entry) > node_size)
		return -POOL_EFORMAT;
	memcpy(&entry, raw + offset, sizeof(entry));
	key_length = le16_get(entry.key_length);
	value_length = le16_get(entry.value_length);
	if (key_length > TREE_KEY_MAX || value_length > TREE_VALUE_MAX ||
	    offset + sizeof(entry) + key_length + value_length > node_size)
		return -POOL_EFORMAT;
	ret_entry->key = raw + offset + sizeof(entry);
	ret_entry->value = ret_entry->key + key_length;
	ret_entry->key_length = (uint16_t)key_length;
	ret_entry->value_length = (uint16_t)value_length;
	return 0;
}

int tree_node_check(const uint8_t *raw, size_t node_size, unsigned level)
{
	const struct raw_tree_node *node = (const struct raw_tree_node *)raw;
	int count = tree_node_count(raw, node_size, level);
	struct tree_entry entry, before = { 0 };
	size_t offset;

	if (count < 0)
		return count;
	if (node->reserved || !bytes_are_zero(node->reserved_2, sizeof(node->reserved_2)))
		return -POOL_EFORMAT;
	offset = sizeof(*node) + (size_t)count * sizeof(le16);
	for (unsigned i = 0; i < (unsigned)count; i++) {
		if (entry_offset(raw, i) != offset || tree_node_entry(raw, node_size, i, &entry) < 0)
			return -POOL_EFORMAT;
		if (level > 0 && entry.value_length != BLOCK_POINTER_SIZE)
			return -POOL_EFORMAT;
		if (i > 0 && tree_key_compare(before.key, before.key_length, entry.key, entry.key_length) >= 0)
			return -POOL_EFORMAT;
		before = entry;
		offset += sizeof(struct raw_entry) + entry.key_length + entry.value_length;
	}
	if (offset != le32_get(node->used) || !bytes_are_zero(raw + offset, node_size - offset))
		return -POOL_EFORMAT;
	return 0;
}

int tree_node_search(const uint8_t *raw, size_t node_size, unsigned count, const void *key, size_t key_length,
		     unsigned *ret_index, bool *ret_equal)
{
	unsigned low = 0, high = count;
	bool equal = false;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;
		struct tree_entry entry;
		int order;

		if (tree_node_entry(raw, node_size, middle, &entry) < 0)
			return -POOL_EFORMAT;
		order = tree_key_compare(entry.key, entry.key_length, key, key_length);
		if (order == 0)
			equal = true;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*ret_index = low;
	*ret_equal = equal;
	return 0;
}
