/*
 * S3-FIFO, as published: Juncheng Yang, Yazhuo Zhang, Ziyue Qiu, Yao Yue, K. V. Rashmi, "FIFO queues are
 * all you need for cache eviction", SOSP 2023. A new block enters a small queue (a tenth of the cache) and
 * moves on to the main queue only if it was read more than once meanwhile; a block that leaves the small
 * queue is remembered as a ghost, and goes to the main queue if it is read again soon. So blocks that are
 * read once, as by a backup or a scrub, pass through the tenth and don't push out what is in use.
 *
 * Each entry has the counter of the paper, 0 to 3: one bit would do for the main queue, but a block of
 * 128 KiB that is read in two halves would count as used again. Unlike the paper, queues are measured in
 * bytes.
 *
 * What must hold after each function: contents, entries and both tables together are within the limit;
 * an entry is in the table and in exactly one queue. A buffer that is also referenced elsewhere leaves the
 * cache like any other: it is then its holder's memory, no longer the cache's.
 */
#include "libpool/block/cache.h"

#include <stdlib.h>
#include <string.h>

#include "libpool/base/check.h"

enum { BUCKETS_FIRST = 64, VISITS_MAX = 3, SMALL_DIVISOR = 10, GHOST_DIVISOR = 64 };

struct cache_entry {
	struct hash_node hash_node;
	struct list node;
	struct buffer *content;
	uint64_t dva, place;
	uint8_t checksum[24];
	uint32_t cost;
	uint8_t visits; /* since it entered its queue, at most VISITS_MAX */
	bool in_main;
};

/* Heap headers of 16 bytes for the entry, the buffer and its data. */
_Static_assert(sizeof(struct cache_entry) + sizeof(struct buffer) + 3 * 16 <= CACHE_ENTRY_OVERHEAD, "");
/* At worst one bucket list and one ghost table that have just doubled belong to each block. */
_Static_assert(CACHE_ENTRY_OVERHEAD + 2 * sizeof(void *) + 4 * sizeof(struct ghost_slot) <= 600, "");

static size_t table_bytes(const struct cache *cache)
{
	return cache->table.buckets ? (cache->table.mask + 1) * sizeof(struct hash_node *) : 0;
}

static uint64_t used(const struct cache *cache)
{
	return cache->small.bytes + cache->main.bytes + table_bytes(cache) + ghost_bytes(&cache->ghost);
}

static void publish(struct cache *cache)
{
	cache->counters->cached_bytes = used(cache);
	cache->counters->cached_blocks = cache->table.count;
}

static struct cache_queue *queue_of(struct cache *cache, const struct cache_entry *entry)
{
	return entry->in_main ? &cache->main : &cache->small;
}

static void enqueue(struct cache *cache, struct cache_entry *entry, bool in_main)
{
	entry->in_main = in_main;
	struct cache_queue *queue = queue_of(cache, entry);

	list_push_front(&queue->entries, &entry->node);
	queue->bytes += entry->cost;
}

static struct cache_entry *dequeue_oldest(struct cache_queue *queue)
{
	if (list_empty(&queue->entries))
		return NULL;
	struct cache_entry *entry = container_of(queue->entries.prev, struct cache_entry, node);

	list_remove(&entry->node);
	queue->bytes -= entry->cost;
	return entry;
}

static void destroy(struct cache *cache, struct cache_entry *entry)
{
	hash_table_remove(&cache->table, &entry->hash_node);
	buffer_unref(entry->content);
	free(entry);
}

static void drop(struct cache *cache, struct cache_entry *entry)
{
	list_remove(&entry->node);
	queue_of(cache, entry)->bytes -= entry->cost;
	destroy(cache, entry);
}

/* Free room, but never so much that blocks would have to leave for their memory. */
static uint64_t ghost_allowance(const struct cache *cache)
{
	uint64_t in_use = used(cache), share = cache->limit / GHOST_DIVISOR;
	uint64_t room = ghost_bytes(&cache->ghost) + (cache->limit > in_use ? cache->limit - in_use : 0);

	return room < share ? room : share;
}

/* Evicts the oldest block of the small queue that wasn't read again, and promotes those before it that were.
 */
static bool evict_small(struct cache *cache)
{
	struct cache_entry *entry;

	while ((entry = dequeue_oldest(&cache->small))) {
		if (entry->visits > 1) {
			entry->visits = 0;
			enqueue(cache, entry, true);
			continue;
		}
		uint64_t hash = entry->hash_node.hash;

		destroy(cache, entry);
		ghost_insert(&cache->ghost, hash, cache->table.count + 1, ghost_allowance(cache));
		return true;
	}
	return false;
}

/* Ends: each turn takes one visit from an entry or evicts it. */
static bool evict_main(struct cache *cache)
{
	struct cache_entry *entry;

	while ((entry = dequeue_oldest(&cache->main))) {
		if (entry->visits == 0) {
			destroy(cache, entry);
			return true;
		}
		entry->visits--;
		enqueue(cache, entry, true);
	}
	return false;
}

/* What the table would grow by if one more entry came. */
static size_t growth(const struct cache *cache)
{
	if (!cache->table.buckets)
		return BUCKETS_FIRST * sizeof(struct hash_node *);
	return cache->table.count > cache->table.mask ? table_bytes(cache) : 0;
}

/* Makes room for one more entry of `cost` (0: for none) within the limit; false if an empty cache is too
 * full. */
static bool make_room(struct cache *cache, uint32_t cost)
{
	while (used(cache) + (cost ? cost + growth(cache) : 0) > cache->limit) {
		bool small_first = cache->small.bytes >= cache->limit / SMALL_DIVISOR;

		if (small_first ? evict_small(cache) || evict_main(cache)
				: evict_main(cache) || evict_small(cache)) {
			cache->counters->evictions++;
			continue;
		}
		return false;
	}
	return true;
}

static struct cache_entry *find(const struct cache *cache, const struct block_pointer *pointer)
{
	for (struct hash_node *node = hash_table_first(&cache->table, identity_hash(pointer)); node;
	     node = hash_table_next(node)) {
		struct cache_entry *entry = container_of(node, struct cache_entry, hash_node);

		if (entry->dva == pointer->dva && entry->place == pointer->place)
			return entry;
	}
	return NULL;
}

void cache_init(struct cache *cache, uint64_t limit, struct blocks_counters *counters)
{
	*cache = (struct cache){.limit = limit, .counters = counters};
	list_init(&cache->small.entries);
	list_init(&cache->main.entries);
}

void cache_clear(struct cache *cache)
{
	struct list *node;

	while ((node = list_pop_front(&cache->small.entries)) ||
	       (node = list_pop_front(&cache->main.entries)))
		destroy(cache, container_of(node, struct cache_entry, node));
	cache->small.bytes = cache->main.bytes = 0;
	hash_table_release(&cache->table);
	ghost_release(&cache->ghost);
	publish(cache);
}

void cache_release(struct cache *cache)
{
	cache_clear(cache);
}

static void reinsert(struct hash_table *table, struct cache_queue *queue)
{
	list_for_each(node, &queue->entries)
	{
		struct cache_entry *entry = container_of(node, struct cache_entry, node);

		hash_table_insert(table, &entry->hash_node, entry->hash_node.hash);
	}
}

/* A table made for a larger cache would take its bytes from the blocks that are left. */
static void shrink_table(struct cache *cache)
{
	size_t buckets = BUCKETS_FIRST;
	struct hash_table table;

	while (buckets < cache->table.count)
		buckets *= 2;
	if (buckets > cache->table.mask || hash_table_init(&table, buckets) < 0)
		return;
	reinsert(&table, &cache->small);
	reinsert(&table, &cache->main);
	hash_table_release(&cache->table);
	cache->table = table;
}

void cache_set_limit(struct cache *cache, uint64_t limit)
{
	bool smaller = limit < cache->limit;

	cache->limit = limit;
	if (smaller && used(cache) > limit) {
		ghost_release(&cache->ghost);
		uint64_t tables = table_bytes(cache);

		/* Evict for the contents alone, then see what a table for the rest needs. */
		cache->limit = limit + tables;
		make_room(cache, 0);
		cache->limit = limit;
		ghost_release(&cache->ghost);
		shrink_table(cache);
		if (!make_room(cache, 0))
			cache_clear(cache);
	}
	publish(cache);
}

struct buffer *cache_get(struct cache *cache, const struct block_pointer *pointer)
{
	struct cache_entry *entry = find(cache, pointer);

	/* A pointer that says something else about this identity is damaged or forged: the disk decides. */
	if (!entry || memcmp(entry->checksum, pointer->checksum, sizeof(entry->checksum)) != 0 ||
	    entry->content->size != (uint32_t)pointer->lsect * CELL_SIZE) {
		cache->counters->misses++;
		return NULL;
	}
	if (entry->visits < VISITS_MAX)
		entry->visits++;
	cache->counters->hits++;
	return buffer_ref(entry->content);
}

void cache_put(struct cache *cache, const struct block_pointer *pointer, struct buffer *content)
{
	cache_remove(cache, pointer);
	if (content->size != (uint32_t)pointer->lsect * CELL_SIZE)
		return;
	uint64_t hash = identity_hash(pointer);
	uint32_t cost = content->size + CACHE_ENTRY_OVERHEAD;

	if (cost + growth(cache) + table_bytes(cache) + ghost_bytes(&cache->ghost) > cache->limit)
		return;
	bool returned = ghost_take(&cache->ghost, hash, cache->table.count + 1);

	if (!make_room(cache, cost))
		goto out;
	if (!cache->table.buckets && hash_table_init(&cache->table, BUCKETS_FIRST) < 0)
		goto out;
	struct cache_entry *entry = malloc(sizeof(*entry));

	if (!entry)
		goto out;
	*entry = (struct cache_entry){
	    .content = buffer_ref(content), .dva = pointer->dva, .place = pointer->place, .cost = cost};
	memcpy(entry->checksum, pointer->checksum, sizeof(entry->checksum));
	hash_table_insert(&cache->table, &entry->hash_node, hash);
	enqueue(cache, entry, returned);
	cache->counters->inserts++;
out:
	publish(cache);
	POOL_CHECK(used(cache) <= cache->limit);
}

void cache_remove(struct cache *cache, const struct block_pointer *pointer)
{
	struct cache_entry *entry = find(cache, pointer);

	if (!entry)
		return;
	drop(cache, entry);
	publish(cache);
}
