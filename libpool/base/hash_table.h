/*
 * Intrusive hash table with chaining that grows by doubling. Not thread-safe. The hash is given by the
 * caller and kept in the node.
 */
#ifndef LIBPOOL_BASE_HASH_TABLE_H
#define LIBPOOL_BASE_HASH_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct hash_node {
	struct hash_node *next;
	uint64_t hash;
};

struct hash_table {
	struct hash_node **buckets;
	size_t count, mask; /* mask = buckets - 1, or 0 with buckets == NULL */
};

int hash_table_init(struct hash_table *table, size_t initial_buckets /* power of two */);
/* Frees the buckets, not the nodes. */
void hash_table_release(struct hash_table *table);
/* Never fails: without memory it just doesn't grow. */
void hash_table_insert(struct hash_table *table, struct hash_node *node, uint64_t hash);
void hash_table_remove(struct hash_table *table, struct hash_node *node);
/* First node of the chain with this hash, and the next after `node`; NULL at the end. */
struct hash_node *hash_table_first(const struct hash_table *table, uint64_t hash);
struct hash_node *hash_table_next(const struct hash_node *node);
/* Calls visit for each node; visit may remove the node it is given. Order: unspecified but deterministic. */
void hash_table_each(struct hash_table *table, void (*visit)(struct hash_node *node, void *arg), void *arg);

static inline uint64_t hash_u64(uint64_t x) /* splitmix64 finaliser (Steele, Lea, Flood 2014) */
{
	x ^= x >> 30;
	x *= UINT64_C(0xbf58476d1ce4e5b9);
	x ^= x >> 27;
	x *= UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

#endif
