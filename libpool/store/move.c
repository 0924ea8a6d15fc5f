/*
 * Columns written to another place, and the headers of AUs. Nothing here is durable before the disk is flushed, and
 * nothing refers to it before its segment record names the new place. Writes count like those of a txg: a flush
 * that fails, of whomever, makes the disk faulty from the oldest write on that no flush had covered.
 */
#include <errno.h>
#include <string.h>

#include "libpool/format/label.h"
#include "libpool/store/internal.h"

bool disk_takes_writes(const struct store *store, unsigned index)
{
	const struct store_disk *disk = &store->disks[index];

	return disk->disk && !disk->disk->info.read_only && !store->read_only && (disk->state == DISK_ONLINE || disk->state == DISK_RESYNC);
}

static int write_cells(struct store *store, uint32_t segment, struct segment_column to, unsigned row, unsigned rows, struct buffer *buffer,
		       size_t buffer_offset)
{
	if (!disk_takes_writes(store, to.disk))
		return -EROFS;
	return cells_write(store, segment, to, row, rows, buffer, buffer_offset);
}

int window_write(struct row_window *window, unsigned column, struct segment_column to)
{
	for (unsigned r = 0; r < window->rows;) {
		unsigned stop = r;
		while (stop < window->rows &&
		       (window->state[column][stop] == CELL_GOOD || window->state[column][stop] == CELL_REBUILT))
			stop++;
		if (stop == r) {
			r++;
			continue;
		}
		int status = write_cells(window->store, window->segment, to, window->row + r, stop - r, window->columns[column],
					 cell_at(window, column, r));
		if (status < 0)
			return status;
		r = stop;
	}
	return 0;
}

void store_fill_au_header(const struct store *store, const struct segment *segment, unsigned column, struct segment_column to, uint64_t txg,
			  uint8_t *ret_cell)
{
	const struct segment_record *record = &segment->record;
	struct au_header header = { .pool = store->geometry.pool, .disk = store->disks[to.disk].guid, .segment = segment->id,
				    .column = (uint8_t)column, .k = record->k, .m = record->m, .class = record->class,
				    .alloc_txg = record->alloc_txg, .sequence = txg };

	memcpy(header.columns, record->columns, sizeof(header.columns));
	header.columns[column] = to;
	memset(ret_cell, 0, CELL_SIZE);
	au_header_encode(&header, ret_cell);
}

int store_write_au_header(struct store *store, const struct segment *segment, unsigned column, struct segment_column to,
			  uint64_t txg)
{
	struct buffer *buffer = buffer_new(CELL_SIZE);

	if (!buffer)
		return -ENOMEM;
	store_fill_au_header(store, segment, column, to, txg, buffer->data);
	int status = write_cells(store, segment->id, to, 0, 1, buffer, 0);
	buffer_unref(buffer);
	return status;
}

int store_judge_au_header(const struct store *store, const struct segment *segment, unsigned column, const uint8_t *cell)
{
	struct segment_column at = segment->record.columns[column];
	struct au_header header;
	int status = au_header_decode(cell, &header);

	if (status == 0 && (memcmp(&header.pool, &store->geometry.pool, sizeof(header.pool)) != 0 ||
			    memcmp(&header.disk, &store->disks[at.disk].guid, sizeof(header.disk)) != 0 ||
			    header.segment != segment->id || header.column != column ||
			    header.alloc_txg != segment->record.alloc_txg))
		status = -POOL_EFORMAT;
	return status;
}

int store_check_au_header(struct store *store, const struct segment *segment, unsigned column)
{
	struct segment_column at = segment->record.columns[column];
	struct buffer *buffer = buffer_new(CELL_SIZE);
	struct rt_group group;
	int status = 0;

	if (!buffer)
		return -ENOMEM;
	rt_group_init(&group);
	cells_read_start(store, at, 0, 1, buffer, 0, NULL, &group, &status);
	if (group.pending)
		(void)rt_group_wait(store->rt, &group);
	if (status == 0)
		status = store_judge_au_header(store, segment, column, buffer->data);
	buffer_unref(buffer);
	return status;
}
