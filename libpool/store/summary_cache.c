/* Summaries of the batches that were looked at last, decoded. Entries in use are pinned by a count. */
#include <errno.h>
#include <stdlib.h>

#include "libpool/store/internal.h"

static void entry_free(struct summary_entry *entry)
{
	summary_release(entry->summary);
	free(entry->summary);
	buffer_unref(entry->payload);
	free(entry);
}

const struct summary *summary_of(const struct summary_entry *entry)
{
	return entry->summary;
}

static struct summary_entry *find(struct store *store, uint64_t dva, uint64_t place)
{
	for (unsigned i = 0; i < SUMMARY_CACHE_ENTRIES; i++) {
		struct summary_entry *entry = store->summaries[i];
		if (entry && entry->dva == dva && entry->place == place)
			return entry;
	}
	return NULL;
}

static struct summary_entry *hand_out(struct store *store, struct summary_entry *entry)
{
	entry->references++;
	entry->used = ++store->summary_clock;
	return entry;
}

/* Into the least recently used slot whose entry nobody holds; without one it lives as long as it is held. */
static void insert(struct store *store, struct summary_entry *entry)
{
	unsigned slot = SUMMARY_CACHE_ENTRIES;

	for (unsigned i = 0; i < SUMMARY_CACHE_ENTRIES; i++) {
		const struct summary_entry *old = store->summaries[i];
		if (old && old->references)
			continue;
		if (slot == SUMMARY_CACHE_ENTRIES || !old || (store->summaries[slot] && old->used < store->summaries[slot]->used))
			slot = i;
		if (!old)
			break;
	}
	if (slot == SUMMARY_CACHE_ENTRIES)
		return;
	if (store->summaries[slot])
		entry_free(store->summaries[slot]);
	store->summaries[slot] = entry;
	entry->cached = true;
}

int summary_adopt(struct store *store, uint32_t segment, const struct block_pointer *pointer, struct buffer *payload,
		  struct summary_entry **ret_entry)
{
	struct summary_entry *there = find(store, pointer->dva, pointer->place);

	if (there) {
		*ret_entry = hand_out(store, there);
		return 0;
	}
	struct summary_entry *entry = calloc(1, sizeof(*entry));
	struct summary *summary = calloc(1, sizeof(*summary));
	int status = entry && summary ? summary_decode(payload->data, payload->size, store->geometry.rows, summary) : -ENOMEM;
	if (status == 0 && (summary->segment != segment || summary->txg != pointer->place)) {
		summary_release(summary);
		status = -POOL_EDAMAGED;
	}
	if (status < 0) {
		free(entry);
		free(summary);
		return status == -POOL_EFORMAT ? -POOL_EDAMAGED : status;
	}
	*entry = (struct summary_entry){ .dva = pointer->dva, .place = pointer->place, .summary = summary,
					 .payload = buffer_ref(payload) };
	insert(store, entry);
	*ret_entry = hand_out(store, entry);
	return 0;
}

struct summary_entry *summary_cached(struct store *store, const struct batch_index *batch)
{
	struct summary_entry *entry = find(store, batch->summary_dva, batch->txg);

	return entry ? hand_out(store, entry) : NULL;
}

int summary_get(struct store *store, const struct segment *segment, unsigned row, struct summary_entry **ret_entry)
{
	const struct batch_index *batch = alloc_batch_find(segment, row);
	struct block_pointer pointer;
	struct buffer *payload;

	if (!batch)
		return -ENOENT;
	struct summary_entry *entry = summary_cached(store, batch);
	if (entry) {
		*ret_entry = entry;
		return 0;
	}
	alloc_summary_pointer(batch, &pointer);
	int status = store_read(store, &pointer, 0, &payload);
	if (status < 0) /* for who needs it now it makes no difference; see store_waits_for_disk */
		return status == -POOL_EDEGRADED ? -POOL_EDAMAGED : status;
	status = summary_adopt(store, segment->id, &pointer, payload, ret_entry);
	buffer_unref(payload);
	return status;
}

void summary_put(struct store *store, struct summary_entry *entry)
{
	(void)store;
	if (entry && --entry->references == 0 && !entry->cached)
		entry_free(entry);
}

void summary_cache_free(struct store *store)
{
	for (unsigned i = 0; i < SUMMARY_CACHE_ENTRIES; i++)
		if (store->summaries[i])
			entry_free(store->summaries[i]);
}
