/*
 * Writes outside of a commit: a heal, or the target of a column move. One that is overdue makes the disk faulty, and
 * keeps the segment pinned until the device has let go: its rows aren't handed out under the late write, and its
 * columns stay where they are.
 */
#include <errno.h>
#include <stdlib.h>

#include "libpool/store/internal.h"

struct cell_write {
	struct list node;    /* in the store's late writes */
	struct disk_io io;
	struct iovec iov;
	struct buffer *buffer;
	struct store *store; /* NULL: gone before the device let go */
	struct segment *segment;
	struct rt_group *group; /* of the waiter, until done */
	int *result;
};

static void write_done(struct disk_io *io)
{
	struct cell_write *write = container_of(io, struct cell_write, io);

	*write->result = io->result;
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
	buffer_unref(write->buffer);
	free(write);
}

void late_writes_orphan(struct store *store)
{
	struct list *node;

	while ((node = list_pop_front(&store->late_writes)))
		container_of(node, struct cell_write, node)->store = NULL;
}

int cells_write(struct store *store, uint32_t segment, struct segment_column to, unsigned row, unsigned rows,
		struct buffer *buffer, size_t buffer_offset)
{
	struct store_disk *disk = &store->disks[to.disk];
	struct cell_write *write = calloc(1, sizeof(*write));
	struct rt_group group;
	int result = 0;

	if (!write)
		return -ENOMEM;
	if (!store_lease_holds(store)) {
		free(write);
		return -POOL_EHALTED;
	}
	rt_group_init(&group);
	rt_group_add(&group);
	write->store = store;
	write->segment = alloc_segment(store->alloc, segment);
	write->buffer = buffer_ref(buffer);
	write->group = &group;
	write->result = &result;
	write->iov = (struct iovec){ buffer->data + buffer_offset, (size_t)rows * CELL_SIZE };
	write->io.operation = DISK_WRITE;
	write->io.offset = store_cell_offset(store, to.au, row);
	write->io.length = (uint64_t)rows * CELL_SIZE;
	write->io.iov = &write->iov;
	write->io.iov_count = 1;
	write->io.deadline_ns = store->options.write_deadline_ns;
	write->io.done = write_done;
	write->io.released = write_released;
	if (!disk->unflushed_txg)
		disk->unflushed_txg = store->txg ? store->txg : store->last_txg + 1;
	disk->write_sequence++;
	disk_submit(disk->disk, &write->io);
	(void)rt_group_wait(store->rt, &group);
	if (result == 0)
		disk->consecutive_errors = 0;
	else if (result == -ETIMEDOUT)
		store_disk_fail(store, to.disk, "a write is overdue");
	else if (result != -ECANCELED)
		disk_count_error(store, to.disk, true);
	return result;
}
