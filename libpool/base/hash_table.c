/*
 * Chained hash table. The buckets double when there are more nodes than buckets; a table that can't
 * grow for want of memory becomes slower, never wrong. The order of a walk depends only on the
 * sequence of insertions, removals and hashes, so that a simulation replays it exactly.
 */
#include "libpool/base/hash_table.h"

#include <errno.h>
#include <stdlib.h>

#include "libpool/base/check.h"

int hash_table_init(struct hash_table *table, size_t initial_buckets)
{
	if (initial_buckets == 0 || (initial_buckets & (initial_buckets - 1)) != 0)
		return -EINVAL;
	struct hash_node **buckets = calloc(initial_buckets, sizeof(*buckets));

	if (!buckets)
		return -ENOMEM;
	*table = (struct hash_table){.buckets = buckets, .mask = initial_buckets - 1};
	return 0;
}

void hash_table_release(struct hash_table *table)
{
	free(table->buckets);
	*table = (struct hash_table){0};
}

static void push(struct hash_table *table, struct hash_node *node)
{
	struct hash_node **bucket = &table->buckets[node->hash & table->mask];

	node->next = *bucket;
	*bucket = node;
}

static void grow(struct hash_table *table)
{
	size_t old_count = table->mask + 1;
	struct hash_node **old = table->buckets;
	struct hash_node **buckets = calloc(old_count, 2 * sizeof(*buckets));

	if (!buckets)
		return;
	table->buckets = buckets;
	table->mask = old_count * 2 - 1;
	for (size_t i = 0; i < old_count; i++) {
		struct hash_node *after;

		for (struct hash_node *node = old[i]; node; node = after) {
			after = node->next;
			push(table, node);
		}
	}
	free(old);
}

void hash_table_insert(struct hash_table *table, struct hash_node *node, uint64_t hash)
{
	if (table->count > table->mask)
		grow(table);
	node->hash = hash;
	push(table, node);
	table->count++;
}

void hash_table_remove(struct hash_table *table, struct hash_node *node)
{
	struct hash_node **link = &table->buckets[node->hash & table->mask];

	while (*link && *link != node)
		link = &(*link)->next;
	if (!POOL_CHECK(*link == node))
		return;
	*link = node->next;
	node->next = NULL;
	table->count--;
}

static struct hash_node *matching(struct hash_node *node, uint64_t hash)
{
	while (node && node->hash != hash)
		node = node->next;
	return node;
}

struct hash_node *hash_table_first(const struct hash_table *table, uint64_t hash)
{
	return table->buckets ? matching(table->buckets[hash & table->mask], hash) : NULL;
}

struct hash_node *hash_table_next(const struct hash_node *node)
{
	return matching(node->next, node->hash);
}

void hash_table_each(struct hash_table *table, void (*visit)(struct hash_node *node, void *arg), void *arg)
{
	for (size_t i = 0; table->buckets && i <= table->mask; i++) {
		struct hash_node *after;

		for (struct hash_node *node = table->buckets[i]; node; node = after) {
			after = node->next;
			visit(node, arg);
		}
	}
}
