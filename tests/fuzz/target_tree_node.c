/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Nodes of trees. The first byte of the input has the level and the size of the node, the second the length of a key that is
 * looked for; the key and the node follow. Zeros at its end may be left out.
 */
#include "libpool/base/error.h"
#include "libpool/format/tree_node.h"
#include "tests/fuzz/fuzz.h"

/* On anything: entries that are given lie in the page, searches end. */
static void check_entries(const uint8_t *raw, size_t size, unsigned level, const uint8_t *key, size_t key_length)
{
	int count = tree_node_count(raw, size, level);
	struct tree_entry entry;
	unsigned index;
	bool equal;

	fuzz_expect(count > 0 || count == -POOL_EFORMAT);
	for (int i = 0; i < count; i++)
		if (tree_node_entry(raw, size, (unsigned)i, &entry) == 0)
			fuzz_expect(entry.key >= raw && entry.value >= raw && entry.key + entry.key_length <= raw + size &&
				    entry.value + entry.value_length <= raw + size);
	if (count > 0 && tree_node_search(raw, size, (unsigned)count, key, key_length, &index, &equal) == 0)
		fuzz_expect(index <= (unsigned)count);
}

static void check_whole(const uint8_t *raw, size_t size, unsigned level)
{
	unsigned count = (unsigned)tree_node_count(raw, size, level), index;
	struct tree_entry *entries = calloc(count, sizeof(*entries));
	uint8_t *again = malloc(size);
	bool equal;

	for (unsigned i = 0; i < count; i++) {
		fuzz_expect(tree_node_entry(raw, size, i, &entries[i]) == 0);
		fuzz_expect(i == 0 || tree_key_compare(entries[i - 1].key, entries[i - 1].key_length, entries[i].key,
						       entries[i].key_length) < 0);
	}
	for (unsigned i = 0; i < count; i++) {
		fuzz_expect(tree_node_search(raw, size, count, entries[i].key, entries[i].key_length, &index, &equal) == 0);
		fuzz_expect(equal && index == i);
	}
	tree_node_encode(level, entries, count, size, again);
	fuzz_expect(memcmp(raw, again, size) == 0);
	free(again);
	free(entries);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2 || size - 2 < data[1])
		return -1;
	unsigned level = data[0] & 15;
	size_t node_size = data[0] & 16 ? TREE_NODE_SIZE_MAX : TREE_NODE_SIZE_MIN, key_length = data[1];
	uint8_t *key = fuzz_copy(data + 2, key_length, key_length);
	uint8_t *raw = fuzz_copy(data + 2 + key_length, size - 2 - key_length, node_size);

	check_entries(raw, node_size, level, key, key_length);
	if (tree_node_check(raw, node_size, level) == 0)
		check_whole(raw, node_size, level);
	free(raw);
	free(key);
	return 0;
}
