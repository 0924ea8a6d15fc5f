/*
 * Trims: telling a disk that nobody needs what it has in some free AUs. They are set apart before (alloc/trim.h) and given back when the
 * device has let go of the request, however late that is, as whatever is written there before could still be thrown away by it.
 */
#include <errno.h>
#include <stdlib.h>

#include "libpool/alloc/trim.h"
#include "libpool/store/internal.h"

/* On the stack of the fiber that waits, until done. */
struct trim_wait {
	struct rt_queue queue;
	bool done;
	int result;
};

struct trim {
	struct list node;    /* in the store's trims until released */
	struct disk_io io;
	struct store *store; /* NULL: gone before the device let go */
	struct trim_wait *wait;
	unsigned disk;
	uint32_t first, count;
	bool abandoned;
};

static void trim_done(struct disk_io *io)
{
	struct trim *trim = container_of(io, struct trim, io);

	trim->wait->done = true;
	trim->wait->result = io->result;
	if (io->overdue || io->result == -ECANCELED) {
		trim->abandoned = true;
		alloc_trim_abandon(trim->store->alloc, trim->disk, trim->count);
	}
	rt_queue_wake_all(trim->store->rt, &trim->wait->queue);
}

static void trim_released(struct disk_io *io)
{
	struct trim *trim = container_of(io, struct trim, io);

	if (trim->store) {
		list_remove(&trim->node);
		alloc_trim_end(trim->store->alloc, trim->disk, trim->first, trim->count, trim->abandoned,
			       (trim->abandoned ? io->late_result : io->result) == 0);
	}
	free(trim);
}

void trims_orphan(struct store *store)
{
	struct list *node;

	while ((node = list_pop_front(&store->trims)))
		container_of(node, struct trim, node)->store = NULL;
}

bool store_can_trim(const struct store *store, unsigned index)
{
	const struct store_disk *disk = &store->disks[index];

	return disk->configured && disk->disk && disk->disk->info.trims;
}

int store_trim(struct store *store, unsigned index, uint32_t first, uint32_t count)
{
	struct store_disk *disk = &store->disks[index];
	struct trim_wait wait = { .done = false };
	struct trim *trim;

	if (store->halted || store->read_only || !store_lease_holds(store))
		return -POOL_EHALTED;
	if (!disk->configured || !disk->disk || disk->state != DISK_ONLINE)
		return -ENXIO;
	trim = calloc(1, sizeof(*trim));
	if (!trim)
		return -ENOMEM;
	rt_queue_init(&wait.queue);
	*trim = (struct trim){
		.io = { .operation = DISK_TRIM, .offset = store_cell_offset(store, first, 0),
			.length = (uint64_t)count << store->geometry.au_shift, .deadline_ns = store->options.write_deadline_ns,
			.done = trim_done, .released = trim_released },
		.store = store, .wait = &wait, .disk = index, .first = first, .count = count,
	};
	list_push_back(&store->trims, &trim->node);
	alloc_trim_begin(store->alloc, index, first, count);
	disk_submit(disk->disk, &trim->io);
	while (!wait.done)
		rt_queue_wait(store->rt, &wait.queue);
	return wait.result;
}
