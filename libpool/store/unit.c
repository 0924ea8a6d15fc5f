/*
 * Write units: consecutive stripes of one segment, written with one request for each column as soon as their
 * parity is ready. A column that fails is retried once; then its cells are recorded as stale, and more of
 * those in a row than there is parity halt the pool before the txg can commit.
 *
 * Payloads and parity stay frozen until the device has let go of them, which for an overdue request may be long
 * after the txg: the segment is pinned meanwhile, so that its rows aren't reused under the late write.
 */
#include "libpool/store/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/check.h"
#include "libpool/format/dva.h"
#include "libpool/format/label.h"

struct column_write {
	struct disk_io io;
	struct iovec *iov; /* first the header, if it goes with the unit */
	unsigned iov_count;
	struct write_unit *unit;
	unsigned column;
	unsigned attempts;
	bool pinned;
	bool again;
};

static void column_submit(struct column_write *write);

static void unit_release(struct write_unit *unit)
{
	if (--unit->held > 0)
		return;
	if (unit->store)
		list_remove(&unit->node);
	struct list *node;
	while ((node = list_pop_front(&unit->stripes))) {
		struct stripe *stripe = container_of(node, struct stripe, unit_node);
		stripe_drop_buffers(stripe);
		stripe_unref(stripe);
	}
	buffer_unref(unit->header_cells);
	free(unit);
}

static void unit_written(struct write_unit *unit)
{
	struct store *store = unit->store;

	unit->written = true;
	store->in_flight -= unit->bytes;
	if (unit->ahead)
		unit->ahead->failed += unit->failed;
	/* A final batch may be written elsewhere; store_check_redundancy judges the one that counts. */
	if (unit->failed > unit->m && !unit->header && !unit->final && !unit->ahead)
		store_halt(store, "more columns of a row failed than there is parity");
	rt_queue_wake_all(store->rt, &store->room);
	unit->ahead = NULL;
	rt_group_done(store->rt, unit->group, 0);
	unit_release(unit);
}

static void stale_told(const struct write_unit *unit, unsigned disk)
{
	unit->store->counters.stale_added += unit->rows;
	store_emit(unit->store, STORE_STALE, disk, unit->rows, "a write failed: the cells are recorded and repaired first");
}

static void header_failed(struct write_unit *unit, unsigned column)
{
	struct header_due due = { unit->segment, column, alloc_segment(unit->store->alloc, unit->segment)->record.alloc_txg };

	if (unit->headers_told >> column & 1)
		return;
	unit->headers_told |= 1u << column;
	(void)array_push(&unit->store->headers_due, &due); /* without memory a scrub finds it */
}

/* The column lacks the unit's cells: unless the disk's state says so for the whole txg, a record must. */
static void column_failed(struct write_unit *unit, unsigned column)
{
	struct store *store = unit->store;
	struct segment *segment = alloc_segment(store->alloc, unit->segment);
	uint16_t index = unit->columns[column].disk;
	struct store_disk *disk = &store->disks[index];

	if (unit->header || unit->with_header)
		header_failed(unit, column);
	if (unit->header)
		return;
	unit->failed++;
	if (unit->ahead)
		return; /* it will be in no batch */
	/* RESYNC: the resync may have passed these rows, or may end before the next write to them would tell. */
	bool told = disk->state != DISK_ONLINE && disk->state != DISK_RESYNC && disk->stale_from && disk->stale_from <= unit->txg;
	if (unit->final) {
		/* Its log is closed: no record fits but one that was made before. */
		bool recorded = !told && alloc_is_stale(store->alloc, unit->segment, column, unit->base, unit->txg);
		if (recorded)
			stale_told(unit, index);
		else if (!told)
			store->final_lacking |= 1u << column;
		return;
	}
	if (!told) {
		struct stale_record stale = { unit->segment, (uint8_t)column, unit->base, unit->rows, unit->txg };
		if (alloc_stale_add(store->alloc, &stale) < 0)
			store_halt(store, "out of memory while recording a failed write");
		stale_bound(store);
		stale_told(unit, index);
		for (unsigned i = 0; i < CLASS_COUNT; i++)
			if (store->streams[i].has_segment && store->streams[i].segment == unit->segment)
				store->streams[i].retire = true;
		ahead_retire(store, unit->segment);
	}
	segment->record.flags |= SEGMENT_DEGRADED;
	alloc_segment_touch(store->alloc, segment);
}

static bool may_write(struct store *store, const struct store_disk *disk)
{
	return !store->halted && store_lease_holds(store) && disk->disk && (disk->state == DISK_ONLINE || disk->state == DISK_RESYNC);
}

static void column_ended(struct write_unit *unit)
{
	if (--unit->outstanding == 0)
		unit_written(unit);
}

static void column_done(struct disk_io *io)
{
	struct column_write *write = container_of(io, struct column_write, io);
	struct write_unit *unit = write->unit;
	struct store *store = unit->store;
	uint16_t index = unit->columns[write->column].disk;
	struct store_disk *disk = &store->disks[index];

	if (io->overdue || io->result == -ECANCELED) {
		/* The device still has the request. */
		alloc_pin(alloc_segment(store->alloc, unit->segment));
		write->pinned = true;
		if (io->overdue) {
			disk->write_errors++;
			store_disk_fail(store, index, "a write is overdue");
		}
		column_failed(unit, write->column);
	} else if (io->result == 0) {
		disk->consecutive_errors = 0;
		if (!io->fua)
			flush_is_due(disk, unit->txg);
	} else if (write->attempts < 2 && may_write(store, disk)) {
		write->again = true; /* submitted anew when the device has let go of the request */
		return;
	} else {
		disk_count_error(store, index, true);
		column_failed(unit, write->column);
	}
	column_ended(unit);
}

static void column_released(struct disk_io *io)
{
	struct column_write *write = container_of(io, struct column_write, io);
	struct write_unit *unit = write->unit;

	if (write->again && may_write(unit->store, &unit->store->disks[unit->columns[write->column].disk])) {
		write->again = false;
		column_submit(write);
		return;
	}
	if (write->again) {
		column_failed(unit, write->column);
		column_ended(unit);
	}
	if (write->pinned && unit->store)
		alloc_unpin(unit->store->alloc, alloc_segment(unit->store->alloc, unit->segment));
	free(write->iov);
	free(write);
	unit_release(unit);
}

static void column_submit(struct column_write *write)
{
	struct write_unit *unit = write->unit;
	struct store *store = unit->store;
	struct segment_column column = unit->columns[write->column];
	struct store_disk *disk = &store->disks[column.disk];
	bool headed = unit->with_header && write->attempts == 0;
	unsigned skip = unit->with_header && !headed;
	struct disk_io fresh = { .operation = DISK_WRITE, .iov = write->iov + skip, .iov_count = write->iov_count - skip };

	/* The second time its rows alone: they shall not be stale for the header's sake. */
	if (skip)
		header_failed(unit, write->column);
	write->io = fresh;
	write->io.offset = store_cell_offset(store, column.au, headed ? 0 : unit->base);
	write->io.length = (uint64_t)(unit->rows + headed) * CELL_SIZE;
	write->io.deadline_ns = store->options.write_deadline_ns;
	write->io.done = column_done;
	write->io.released = column_released;
	write->attempts++;
	write->io.fua = unit->ahead && disk->disk->info.fua;
	if (!write->io.fua)
		flush_is_due(disk, unit->txg);
	disk_submit(disk->disk, &write->io);
}

static const uint8_t *unit_cell(const struct write_unit *unit, const struct stripe *stripe, unsigned column, unsigned row)
{
	if (unit->header)
		return unit->header_cells->data + (size_t)column * CELL_SIZE;
	if (column < stripe->k)
		return stripe->cells[(size_t)column * stripe->height + row];
	if (stripe->k == 1)
		return stripe->cells[row];
	return stripe->parity[column - stripe->k]->data + (size_t)row * CELL_SIZE;
}

/* The cells of one column, neighbours in memory merged. */
static int column_iov(const struct write_unit *unit, unsigned column, struct column_write *write)
{
	struct iovec *iov = calloc(unit->rows + 1u, sizeof(*iov));
	unsigned count = 0;

	if (!iov)
		return -ENOMEM;
	if (unit->with_header)
		iov[count++] = (struct iovec){ unit->header_cells->data + (size_t)column * CELL_SIZE, CELL_SIZE };
	const struct list *node = unit->stripes.next;
	for (unsigned row = 0; row < unit->rows;) {
		const struct stripe *stripe = unit->header ? NULL : container_of(node, struct stripe, unit_node);
		unsigned height = stripe ? stripe->height : 1;
		for (unsigned r = 0; r < height; r++) {
			uint8_t *cell = (uint8_t *)unit_cell(unit, stripe, column, r);
			if (count > unit->with_header && (uint8_t *)iov[count - 1].iov_base + iov[count - 1].iov_len == cell)
				iov[count - 1].iov_len += CELL_SIZE;
			else
				iov[count++] = (struct iovec){ cell, CELL_SIZE };
		}
		row += height;
		node = node->next;
	}
	write->iov = iov;
	write->iov_count = count;
	return 0;
}

static void fill_headers(struct write_unit *unit)
{
	struct store *store = unit->store;
	const struct segment_record *record = &alloc_segment(store->alloc, unit->segment)->record;

	for (unsigned c = 0; c < unit->k + unit->m; c++) {
		uint16_t index = record->columns[c].disk;
		if (index == DISK_ABSENT)
			continue;
		struct au_header header = { .pool = store->geometry.pool, .disk = store->disks[index].guid, .segment = unit->segment,
					    .column = (uint8_t)c, .k = record->k, .m = record->m, .class = record->class,
					    .alloc_txg = record->alloc_txg, .sequence = store->txg };
		memcpy(header.columns, record->columns, sizeof(header.columns));
		au_header_encode(&header, unit->header_cells->data + (size_t)c * CELL_SIZE);
	}
}

static void unit_submit(struct write_unit *unit)
{
	struct store *store = unit->store;
	struct segment *segment = alloc_segment(store->alloc, unit->segment);
	unsigned columns = unit->k + unit->m;

	unit->submitted = true;
	unit->outstanding = unit->held = 1; /* ours: outstanding until the end of this function, held until written */
	if (store->halted || unit->given_up) {
		unit->failed += unit->ahead != NULL;
		unit_written(unit); /* it will never be committed */
		return;
	}
	if (unit->with_header)
		fill_headers(unit);
	for (unsigned c = 0; c < columns; c++) {
		unit->columns[c] = segment->record.columns[c];
		uint16_t index = unit->columns[c].disk;
		if (unit->header && !(unit->header_mask >> c & 1))
			continue;
		if (index == DISK_ABSENT) {
			unit->failed++;
			continue;
		}
		if (unit->ahead)
			bitmap_set(unit->ahead->disks, index);
		struct store_disk *disk = &store->disks[index];
		struct column_write *write = may_write(store, disk) ? calloc(1, sizeof(*write)) : NULL;
		bool ready = write && column_iov(unit, c, write) == 0;
		if (!ready) {
			/* The commit block has no record of what it lacks, and lack of memory is no disk's fault. */
			if (unit->final && may_write(store, disk))
				store_halt(store, "out of memory while writing the commit block");
			free(write);
			if (!store->halted || unit->ahead)
				column_failed(unit, c);
			continue;
		}
		write->unit = unit;
		write->column = c;
		unit->outstanding++;
		unit->held++;
		column_submit(write);
	}
	column_ended(unit);
}

static struct write_unit *unit_new(struct store *store, uint32_t segment, unsigned base, unsigned k, unsigned m)
{
	struct write_unit *unit = calloc(1, sizeof(*unit));

	if (!unit)
		return NULL;
	*unit = (struct write_unit){ .store = store, .segment = segment, .base = (uint16_t)base, .k = (uint8_t)k,
				     .m = (uint8_t)m, .txg = store->txg };
	list_init(&unit->stripes);
	list_push_back(&store->units, &unit->node);
	unit->group = &store->writes;
	rt_group_add(unit->group);
	return unit;
}

/* The stripe that a block of the txg in sync was packed into, while its unit is not on disk. */
static const struct stripe *unwritten_stripe(const struct store *store, struct dva dva)
{
	list_for_each(node, &store->units) {
		const struct write_unit *unit = container_of(node, struct write_unit, node);
		if (unit->segment != dva.segment || unit->written || unit->header)
			continue;
		list_for_each(stripe_node, &unit->stripes) {
			const struct stripe *stripe = container_of(stripe_node, struct stripe, unit_node);
			if (stripe->base == dva.base && stripe->height == dva.height)
				return stripe;
		}
	}
	return NULL;
}

struct buffer *unit_payload(const struct store *store, const struct block_pointer *pointer)
{
	struct dva dva = dva_unpack(pointer->dva);
	const struct stripe *stripe = unwritten_stripe(store, dva);

	if (!stripe || dva.offset + pointer->psect > stripe->fill)
		return NULL;
	struct buffer *payload = buffer_new((size_t)pointer->psect * CELL_SIZE);
	for (unsigned i = 0; payload && i < pointer->psect; i++)
		memcpy(payload->data + (size_t)i * CELL_SIZE, stripe->cells[dva.offset + i], CELL_SIZE);
	return payload;
}

void units_orphan(struct store *store)
{
	struct list *node;

	while ((node = list_pop_front(&store->units)))
		container_of(node, struct write_unit, node)->store = NULL;
}

int unit_add(struct write_unit **unit, struct store *store, struct stripe *stripe, unsigned rows_max)
{
	struct write_unit *open = *unit;

	if (open && (open->segment != stripe->segment || open->base + open->rows != stripe->base ||
		     open->rows + stripe->height > rows_max))
		unit_close(unit);
	if (!*unit)
		*unit = unit_new(store, stripe->segment, stripe->base, stripe->k, stripe->m);
	open = *unit;
	if (!open)
		return -ENOMEM;
	uint64_t bytes = (uint64_t)stripe->height * (stripe->k + stripe->m) * CELL_SIZE;
	open->bytes += bytes;
	store->in_flight += bytes;
	open->rows = (uint16_t)(open->rows + stripe->height);
	open->encoding++;
	stripe->unit = open;
	list_push_back(&open->stripes, &stripe->unit_node);
	stripe->references++;
	return 0;
}

int unit_add_headers(struct write_unit *unit)
{
	struct store *store = unit->store;
	unsigned columns = unit->k + unit->m;
	uint64_t bytes = (uint64_t)columns * CELL_SIZE;

	unit->header_cells = buffer_new_zero((size_t)bytes);
	if (!unit->header_cells)
		return -ENOMEM;
	unit->with_header = true;
	unit->bytes += bytes;
	store->in_flight += bytes;
	store->counters.header_cells += columns;
	return 0;
}

int unit_add_ahead(struct write_unit **unit, struct store *store, struct stripe *stripe, uint64_t txg, struct store_ahead_write *write)
{
	int status = unit_add(unit, store, stripe, stripe->height);

	if (status < 0)
		return status;
	/* No sync waits for it. Nobody has waited since it was made. */
	store->writes.pending--;
	(*unit)->group = &write->group;
	rt_group_add(&write->group);
	(*unit)->ahead = write;
	(*unit)->txg = txg;
	return 0;
}

void unit_give_up(struct stripe *stripe)
{
	stripe->unit->given_up = true;
	unit_encoded(stripe->unit);
}

void unit_encoded(struct write_unit *unit)
{
	POOL_CHECK(unit->encoding > 0);
	if (--unit->encoding == 0 && unit->closed)
		unit_submit(unit);
}

void unit_close(struct write_unit **unit)
{
	struct write_unit *open = *unit;

	*unit = NULL;
	if (!open)
		return;
	open->closed = true;
	if (open->encoding == 0)
		unit_submit(open);
}

static int write_headers(struct store *store, uint32_t id, uint32_t mask)
{
	const struct segment *segment = alloc_segment(store->alloc, id);
	const struct segment_record *record = &segment->record;
	unsigned columns = record->k + record->m;
	struct write_unit *unit = unit_new(store, id, 0, record->k, record->m);

	if (!unit)
		return -ENOMEM;
	unit->header = unit->closed = true;
	unit->header_mask = mask;
	unit->rows = 1;
	unit->bytes = (uint64_t)columns * CELL_SIZE;
	store->in_flight += unit->bytes;
	unit->header_cells = buffer_new_zero((size_t)columns * CELL_SIZE);
	if (!unit->header_cells) {
		store->in_flight -= unit->bytes;
		rt_group_done(store->rt, &store->writes, 0);
		list_remove(&unit->node);
		free(unit);
		return -ENOMEM;
	}
	fill_headers(unit);
	store->counters.header_cells += (unsigned)__builtin_popcount(mask & ((1u << columns) - 1));
	unit_submit(unit);
	return 0;
}

int unit_write_headers(struct store *store, uint32_t id)
{
	return write_headers(store, id, UINT32_MAX);
}

void unit_retry_headers(struct store *store)
{
	struct array due = store->headers_due;

	array_init(&store->headers_due, sizeof(struct header_due));
	for (size_t i = 0; i < due.count; i++) {
		const struct header_due *header = array_at(&due, struct header_due, i);
		const struct segment *segment = alloc_segment(store->alloc, header->segment);
		uint16_t index = segment->record.columns[header->column].disk;
		if (segment->released || segment->record.alloc_txg != header->alloc_txg || index == DISK_ABSENT)
			continue;
		if (!may_write(store, &store->disks[index]))
			(void)array_push(&store->headers_due, header);
		else if (write_headers(store, header->segment, 1u << header->column) < 0)
			(void)array_push(&store->headers_due, header);
	}
	array_release(&due);
}
