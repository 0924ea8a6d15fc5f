/* Life of the store, and the state of its disks. */
#include "libpool/store/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checksum/xxh3.h"

const uint8_t store_zero_cell[CELL_SIZE] __attribute__((aligned(CELL_SIZE)));

int store_new(struct rt *rt, struct alloc *alloc, const struct store_options *options, struct store **ret_store)
{
	struct store *store = calloc(1, sizeof(*store));

	if (!store)
		return -ENOMEM;
	store->rt = rt;
	store->alloc = alloc;
	store->geometry = *alloc_geometry(alloc);
	if (options)
		store->options = *options;
	if (!store->options.read_deadline_ns)
		store->options.read_deadline_ns = 10 * NS_PER_S;
	if (!store->options.write_deadline_ns)
		store->options.write_deadline_ns = 30 * NS_PER_S;
	if (!store->options.in_flight_limit)
		store->options.in_flight_limit = UINT64_C(64) << 20;
	for (unsigned i = 0; i < CLASS_COUNT; i++) {
		store->streams[i].class = (enum segment_class)i;
		list_init(&store->streams[i].queue);
	}
	list_init(&store->sys_batches);
	list_init(&store->ahead_batches);
	array_init(&store->ahead_segments, sizeof(struct ahead_segment));
	array_init(&store->ahead_held, sizeof(uint32_t));
	list_init(&store->units);
	list_init(&store->late_writes);
	list_init(&store->trims);
	array_init(&store->headers_due, sizeof(struct header_due));
	rt_queue_init(&store->room);
	rt_group_init(&store->writes);
	*ret_store = store;
	return 0;
}

void store_free(struct store *store)
{
	struct list *node;

	if (!store)
		return;
	while (store->jobs)
		rt_queue_wait(store->rt, &store->room);
	/* A commit that was given up leaves batches that were never finished. */
	for (unsigned i = 0; i < CLASS_COUNT; i++)
		if (store->streams[i].batch)
			batch_free(store->streams[i].batch);
	while ((node = list_pop_front(&store->sys_batches)))
		batch_free(container_of(node, struct batch, node));
	while ((node = list_pop_front(&store->ahead_batches)))
		batch_free(container_of(node, struct batch, node));
	array_release(&store->ahead_segments);
	array_release(&store->ahead_held);
	units_orphan(store);
	late_writes_orphan(store);
	trims_orphan(store);
	array_release(&store->headers_due);
	summary_cache_free(store);
	free(store);
}

struct rt *store_rt(struct store *store)
{
	return store->rt;
}

struct alloc *store_alloc(struct store *store)
{
	return store->alloc;
}

void store_set_event_callback(struct store *store, store_event_function *function, void *argument)
{
	store->event = function;
	store->event_argument = argument;
}

const struct store_counters *store_counters(const struct store *store)
{
	return &store->counters;
}

void store_emit(struct store *store, enum store_event event, unsigned disk, uint64_t count, const char *text)
{
	if (store->event)
		store->event(store->event_argument, event, disk, count, text);
}

void store_tell_leak(struct store *store, uint64_t cells)
{
	store_emit(store, STORE_LEAKED, 0, cells, "metadata contradicts itself: what was to be freed isn't in use, and stays as it is");
}

struct store_disk *store_disk(struct store *store, unsigned index)
{
	return index < DISKS_MAX ? &store->disks[index] : NULL;
}

uint64_t store_cell_offset(const struct store *store, uint32_t au, unsigned row)
{
	return DATA_START + ((uint64_t)au << store->geometry.au_shift) + (uint64_t)row * CELL_SIZE;
}

void store_disk_fail(struct store *store, unsigned index, const char *why)
{
	struct store_disk *disk = &store->disks[index];
	/* Outside a sync nothing new is on its way: only what no flush has covered is in doubt. */
	uint64_t from = disk->unflushed_txg ? disk->unflushed_txg : store->txg ? store->txg : store->last_txg + 1;

	if (!disk->configured)
		return;
	if (disk->stale_from == 0 || from < disk->stale_from)
		disk->stale_from = from;
	disk->failures++;
	if (disk->state == DISK_ONLINE || disk->state == DISK_RESYNC) {
		disk->state = DISK_FAULTY;
		store_emit(store, STORE_DISK_FAULTY, index, 0, why);
	}
	disk->state_dirty = true;
	alloc_disk_set_usable(store->alloc, index, false);
	/* Open segments with a column there are closed: new ones have full redundancy again. */
	for (unsigned i = 0; i < CLASS_COUNT; i++) {
		struct stream *stream = &store->streams[i];
		if (!stream->has_segment)
			continue;
		const struct segment *segment = alloc_segment(store->alloc, stream->segment);
		for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m; c++)
			if (segment->record.columns[c].disk == index)
				stream->retire = true;
	}
	ahead_disk_failed(store, index);
}

void disk_count_error(struct store *store, unsigned index, bool write)
{
	struct store_disk *disk = &store->disks[index];

	if (!write) {
		disk->read_errors++;
		return;
	}
	/* Reads don't count here: one bad track has hundreds of cells, and all of them are healed by writes. */
	disk->write_errors++;
	if (++disk->consecutive_errors >= 3 && (disk->state == DISK_ONLINE || disk->state == DISK_RESYNC))
		store_disk_fail(store, index, "writes fail");
}

void store_halt(struct store *store, const char *why)
{
	if (store->halted)
		return;
	store->halted = true;
	snprintf(store->halt_reason, sizeof(store->halt_reason), "%s", why);
	store_emit(store, STORE_HALT, 0, 0, store->halt_reason);
	store_push_out(store); /* without a write: whoever waits for them goes on */
	rt_queue_wake_all(store->rt, &store->room);
}

void store_set_lease(struct store *store, uint64_t until_ns)
{
	store->lease_ns = until_ns;
}

bool store_lease_holds(struct store *store)
{
	if (!store->lease_ns || rt_now(store->rt) < store->lease_ns)
		return true;
	store_halt(store, "multihost: no heartbeat could be written for too long, and another host may have taken the pool");
	return false;
}

void store_set_read_only(struct store *store)
{
	store->read_only = true;
}

bool store_halted(const struct store *store, const char **ret_why)
{
	if (store->halted && ret_why)
		*ret_why = store->halt_reason;
	return store->halted;
}

void store_checksum(uint8_t checksum_kind, const void *payload, size_t length, uint8_t ret_checksum[24])
{
	struct hash128 hash;

	(void)checksum_kind; /* pointers with another kind don't decode in this version */
	xxh3_128(payload, length, &hash);
	store_checksum_of(&hash, ret_checksum);
}

bool payload_matches(const struct block_pointer *pointer, const void *payload)
{
	uint8_t checksum[24];

	store_checksum(pointer->checksum_kind, payload, (size_t)pointer->psect * CELL_SIZE, checksum);
	return memcmp(checksum, pointer->checksum, sizeof(checksum)) == 0;
}

bool hash_matches(const struct block_pointer *pointer, const struct hash128 *hash)
{
	uint8_t checksum[24];

	store_checksum_of(hash, checksum);
	return memcmp(checksum, pointer->checksum, sizeof(checksum)) == 0;
}

struct flush_request {
	struct disk_io io;
	struct store *store;
	unsigned index;
	uint64_t covered; /* write_sequence at submission: what is on its way then is not covered, and counts again when it ends */
	struct rt_group *group;
	int *result; /* may be NULL */
};

static void flush_done(struct disk_io *io)
{
	struct flush_request *request = container_of(io, struct flush_request, io);
	struct store_disk *disk = &request->store->disks[request->index];

	if (request->result)
		*request->result = io->result;
	if (io->result < 0) {
		disk->flush_errors++;
		store_disk_fail(request->store, request->index, "a flush failed");
	} else if (disk->write_sequence == request->covered) {
		disk->unflushed_txg = 0;
	}
	rt_group_done(request->store->rt, request->group, 0);
}

static void flush_released(struct disk_io *io)
{
	free(container_of(io, struct flush_request, io));
}

void flush_is_due(struct store_disk *disk, uint64_t txg)
{
	if (!disk->unflushed_txg || txg < disk->unflushed_txg)
		disk->unflushed_txg = txg;
	disk->write_sequence++;
}

int flush_start(struct store *store, unsigned index, struct rt_group *group, int *result)
{
	struct store_disk *disk = &store->disks[index];
	struct flush_request *request = calloc(1, sizeof(*request));

	if (!request)
		return -ENOMEM;
	request->io.operation = DISK_FLUSH;
	request->io.deadline_ns = store->options.write_deadline_ns;
	request->io.done = flush_done;
	request->io.released = flush_released;
	request->store = store;
	request->index = index;
	request->covered = disk->write_sequence;
	request->group = group;
	request->result = result;
	rt_group_add(group);
	disk_submit(disk->disk, &request->io);
	return 0;
}

void store_flush(struct store *store)
{
	struct rt_group group;

	rt_group_init(&group);
	for (unsigned i = 0; i < DISKS_MAX; i++) {
		struct store_disk *disk = &store->disks[i];
		if (!disk->configured || !disk->disk || !disk->unflushed_txg ||
		    (disk->state != DISK_ONLINE && disk->state != DISK_RESYNC))
			continue;
		if (flush_start(store, i, &group, NULL) < 0) {
			store_halt(store, "out of memory while flushing"); /* no disk's fault */
			break;
		}
	}
	if (group.pending)
		(void)rt_group_wait(store->rt, &group);
}

void store_txg_begin(struct store *store, uint64_t txg)
{
	store->txg = txg;
	store->place_error = 0;
	unit_retry_headers(store);
}

void store_txg_end(struct store *store)
{
	ahead_listed(store);
	store->last_txg = store->txg;
	store->txg = 0;
}
