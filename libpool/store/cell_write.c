/*
 * Writes outside of a commit: a heal, the target of a column move, or the intent log. One that is overdue makes the disk faulty, and
 * keeps the segment pinned until the device has let go: its rows aren't handed out under the late write, and its
 * columns stay where they are.
 */
#include <errno.h>
#include <stdlib.h>

#include "libpool/store/internal.h"

struct cell_write {
	struct list node;    /* in the store's late writes */
	struct disk_io io;
	struct store *store; /* NULL: gone before the device let go */
	struct segment *segment;
	struct rt_group *group; /* of the waiter, until done */
	int *result;
	struct store_disk *disk; /* that it is to be flushed on; NULL: it has FUA */
	uint64_t txg;
	unsigned count;
	struct buffer **buffers; /* with iov in the same allocation */
	struct iovec iov[];
};

static void write_done(struct disk_io *io)
{
	struct cell_write *write = container_of(io, struct cell_write, io);

	*write->result = io->result;
	if (io->result == 0 && write->disk)
		flush_is_due(write->disk, write->txg);
	/* The device may still have it. */
	if (io->result == -ETIMEDOUT || io->result == -ECANCELED) {
		alloc_pin(write->segment);
		list_push_back(&write->store->late_writes, &write->node);
	}
	rt_group_done(write->store->rt, write->group, 0);
}

static void write_released(struct disk_io *io)
{
	struct cell_write *write = container_of(io, struct cell_write, io);

	if (write->store && list_linked(&write->node)) {
		list_remove(&write->node);
		alloc_unpin(write->store->alloc, write->segment);
	}
	for (unsigned i = 0; i < write->count; i++)
		buffer_unref(write->buffers[i]);
	free(write);
}

void late_writes_orphan(struct store *store)
{
	struct list *node;

	while ((node = list_pop_front(&store->late_writes)))
		container_of(node, struct cell_write, node)->store = NULL;
}

int cells_write_start(struct store *store, uint32_t segment, struct segment_column to, unsigned row, const struct cell_source *sources,
		      unsigned count, bool fua, struct rt_group *group, int *result)
{
	struct store_disk *disk = &store->disks[to.disk];
	struct cell_write *write = calloc(1, sizeof(*write) + count * (sizeof(struct iovec) + sizeof(struct buffer *)));

	if (!write)
		return -ENOMEM;
	if (!store_lease_holds(store)) {
		free(write);
		return -POOL_EHALTED;
	}
	*result = 0;
	write->store = store;
	write->segment = alloc_segment(store->alloc, segment);
	write->group = group;
	write->result = result;
	write->count = count;
	write->buffers = (struct buffer **)&write->iov[count];
	for (unsigned i = 0; i < count; i++) {
		write->buffers[i] = buffer_ref(sources[i].buffer);
		write->iov[i] = (struct iovec){ sources[i].buffer->data + sources[i].offset, (size_t)sources[i].cells * CELL_SIZE };
		write->io.length += write->iov[i].iov_len;
	}
	write->io.operation = DISK_WRITE;
	write->io.fua = fua;
	write->io.offset = store_cell_offset(store, to.au, row);
	write->io.iov = write->iov;
	write->io.iov_count = count;
	write->io.deadline_ns = store->options.write_deadline_ns;
	write->io.done = write_done;
	write->io.released = write_released;
	if (!fua) {
		write->disk = disk;
		write->txg = store->txg ? store->txg : store->last_txg + 1;
		flush_is_due(disk, write->txg);
	}
	rt_group_add(group);
	disk_submit(disk->disk, &write->io);
	return 0;
}

void cells_write_judge(struct store *store, unsigned index, int result)
{
	if (result == 0)
		store->disks[index].consecutive_errors = 0;
	else if (result == -ETIMEDOUT)
		store_disk_fail(store, index, "a write is overdue");
	else if (result != -ECANCELED)
		disk_count_error(store, index, true);
}

int cells_write(struct store *store, uint32_t segment, struct segment_column to, unsigned row, unsigned rows,
		struct buffer *buffer, size_t buffer_offset)
{
	struct cell_source source = { buffer, buffer_offset, rows };
	struct rt_group group;
	int result = 0;

	rt_group_init(&group);
	int status = cells_write_start(store, segment, to, row, &source, 1, false, &group, &result);
	if (status < 0)
		return status;
	(void)rt_group_wait(store->rt, &group);
	cells_write_judge(store, to.disk, result);
	return result;
}
