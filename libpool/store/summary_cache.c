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

static int summary_load(struct store *store, const struct batch_index *batch, uint32_t segment, struct summary_entry **ret_entry)
{
	struct block_pointer pointer;
	struct buffer *payload;

	alloc_summary_pointer(batch, &pointer);
	int status = store_read(store, &pointer, 0, &payload);
	if (status < 0)
		return status;
	struct summary_entry *entry = calloc(1, sizeof(*entry));
	struct summary *summary = calloc(1, sizeof(*summary));
	status = entry && summary ? summary_decode(payload->data, payload->size, store->geometry.rows, summary) : -ENOMEM;
	if (status == 0 && (summary->segment != segment || summary->txg != pointer.place)) {
		summary_release(summary);
		status = -POOL_EDAMAGED;
	}
	if (status < 0) {
		free(entry);
		free(summary);
		buffer_unref(payload);
		return status == -POOL_EFORMAT ? -POOL_EDAMAGED : status;
	}
	*entry = (struct summary_entry){ .dva = pointer.dva, .place = pointer.place, .summary = summary, .payload = payload };
	*ret_entry = entry;
	return 0;
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

int summary_get(struct store *store, const struct segment *segment, unsigned row, struct summary_entry **ret_entry)
{
	const struct batch_index *batch = alloc_batch_find(segment, row);

	if (!batch)
		return -ENOENT;
	struct summary_entry *entry = find(store, batch->summary_dva, batch->txg);
	if (!entry) {
		struct batch_index copy = *batch;
		int status = summary_load(store, &copy, segment->id, &entry);
		if (status < 0)
			return status;
		struct summary_entry *there = find(store, entry->dva, entry->place);
		if (there) {
			entry_free(entry);
			entry = there;
		} else {
			unsigned slot = SUMMARY_CACHE_ENTRIES;
			for (unsigned i = 0; i < SUMMARY_CACHE_ENTRIES; i++) {
				const struct summary_entry *old = store->summaries[i];
				if (old && old->references)
					continue;
				if (slot == SUMMARY_CACHE_ENTRIES || !old ||
				    (store->summaries[slot] && old->used < store->summaries[slot]->used))
					slot = i;
				if (!old)
					break;
			}
			if (slot < SUMMARY_CACHE_ENTRIES) {
				if (store->summaries[slot])
					entry_free(store->summaries[slot]);
				store->summaries[slot] = entry;
				entry->cached = true;
			}
		}
	}
	entry->references++;
	entry->used = ++store->summary_clock;
	*ret_entry = entry;
	return 0;
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
