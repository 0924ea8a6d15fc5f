/*
 * What windows say about cells: settling a window that was read, whose block a lost cell is, and the records of cells
 * that could not be made.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/bitmap.h"
#include "libpool/format/dva.h"
#include "scrub/internal.h"

/* Fewer than make the disk with most of them faulty. Cells beyond are refused by their CRC when somebody asks. */
#define STALE_RECORDS_KEPT (STALE_RECORDS_MAX - 56u)

uint32_t columns_in_state(const struct row_window *window, enum cell_state state)
{
	uint32_t mask = 0;

	for (unsigned c = 0; c < (unsigned)window->k + window->m; c++)
		if (memchr(window->state[c], state, window->rows))
			mask |= 1u << c;
	return mask;
}

static bool in_service(struct store *store, unsigned index)
{
	if (index == DISK_ABSENT)
		return false;
	const struct store_disk *disk = store_disk(store, index);
	return disk->disk && (disk->state == DISK_ONLINE || disk->state == DISK_RESYNC);
}

uint32_t columns_in_service(struct store *store, const struct segment *segment)
{
	uint32_t mask = 0;

	for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m; c++)
		if (in_service(store, segment->record.columns[c].disk))
			mask |= 1u << c;
	return mask;
}

uint32_t columns_that_answer(struct store *store, const struct segment *segment)
{
	uint32_t mask = columns_in_service(store, segment);

	for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m; c++) {
		const struct disk *disk = mask >> c & 1 ? store_disk(store, segment->record.columns[c].disk)->disk : NULL;

		if (disk && (disk->abandoned_reads || disk->abandoned_writes))
			mask &= ~(1u << c);
	}
	return mask;
}

unsigned cells_unchecked(struct store *store, const struct segment *segment, const struct row_window *window)
{
	uint32_t columns = (UINT32_C(1) << (window->k + window->m)) - 1, silent = columns & ~columns_that_answer(store, segment);

	return window_count(window, columns, CELL_UNREAD) + window_count(window, columns, CELL_ABSENT) +
	       window_count(window, silent, CELL_UNREADABLE);
}

const struct summary_block *block_at(const struct summary *summary, unsigned column, unsigned row, uint64_t *ret_dva)
{
	const struct summary_stripe *stripe = NULL;

	for (uint32_t i = 0; i < summary->stripe_count && !stripe; i++)
		if (row >= summary->stripes[i].base && row < (unsigned)summary->stripes[i].base + summary->stripes[i].height)
			stripe = &summary->stripes[i];
	if (!stripe || column >= summary->k)
		return NULL;
	unsigned cell = column * stripe->height + row - stripe->base;
	for (uint32_t i = 0; i < summary->block_count; i++) {
		const struct summary_block *block = &summary->blocks[i];
		if (block->row < stripe->base || block->row >= (unsigned)stripe->base + stripe->height)
			continue;
		unsigned offset = (unsigned)block->column * stripe->height + block->row - stripe->base;
		if (cell < offset || cell >= offset + block->psect)
			continue;
		*ret_dva = dva_pack((struct dva){ summary->segment, stripe->base, stripe->height, (uint16_t)offset });
		return block;
	}
	return NULL;
}

static bool is_good(enum cell_state state)
{
	return state == CELL_GOOD || state == CELL_REBUILT || state == CELL_DEAD;
}

void report_lost_row(struct job *job, const struct job_host *host, const struct row_window *window, unsigned row)
{
	const struct segment *segment = alloc_segment(store_alloc(host->store), window->segment);
	unsigned rows = alloc_geometry(store_alloc(host->store))->rows;
	uint64_t last = 0;

	for (unsigned c = 0; c < window->k && host->damage; c++) {
		if (is_good((enum cell_state)window->state[c][row]) || !segment->bits ||
		    !bitmap_get(segment->bits, (size_t)c * rows + window->row + row))
			continue;
		struct job_damage damage = { .segment = window->segment, .row = (uint16_t)(window->row + row),
					     .column = (uint8_t)c, .place = window->place };
		if (window->summary)
			damage.block = block_at(summary_of(window->summary), c, window->row + row, &damage.dva);
		if (damage.dva && damage.dva == last)
			continue;
		last = damage.dva;
		if (job->told && damage.dva)
			(void)array_push(job->told, &damage.dva); /* else it may be told and counted twice */
		host->damage(host->argument, &damage);
	}
}

bool batch_is_gone(const struct store *store, uint32_t id, const struct batch_index *batch)
{
	const struct segment *segment = alloc_segment(store_alloc((struct store *)store), id);
	struct dva dva = dva_unpack(batch->summary_dva);
	/* Its own rows stay its as long as any block of it lives; others may have been given to another batch. */
	const struct batch_index *now = segment ? alloc_batch_find(segment, dva.base + dva.offset % dva.height) : NULL;

	return !now || now->txg != batch->txg;
}

bool report_lost_summary(struct job *job, const struct job_host *host, uint32_t segment, const struct batch_index *batch)
{
	if (batch_is_gone(host->store, segment, batch))
		return false; /* its last block died while it was looked at */
	if (store_waits_for_disk(host->store, alloc_segment(store_alloc(host->store), segment), batch->txg))
		return false; /* it may come back with its disk */
	struct dva dva = dva_unpack(batch->summary_dva);
	struct job_damage damage = { .segment = segment, .row = (uint16_t)(dva.base + dva.offset % dva.height),
				     .column = (uint8_t)(dva.offset / dva.height), .place = batch->txg, .dva = batch->summary_dva };

	job->errors_found += batch->summary_cells;
	job->cells_unrepaired += batch->summary_cells;
	if (host->damage)
		host->damage(host->argument, &damage);
	return true;
}

/* Data columns without which parity that has no CRC can't be checked. */
static uint32_t data_for_late_parity(const struct row_window *window)
{
	uint32_t mask = 0;

	for (unsigned r = 0; r < window->rows; r++) {
		bool late = false;
		for (unsigned c = window->k; c < (unsigned)window->k + window->m; c++)
			late |= window->state[c][r] == CELL_UNVERIFIED;
		for (unsigned c = 0; late && c < window->k; c++)
			if (!is_good((enum cell_state)window->state[c][r]))
				mask |= 1u << c;
	}
	return mask;
}

static int solve(struct row_window *window, uint32_t columns)
{
	int status = columns ? window_solve(window, columns) : 0;

	return status == -POOL_EDAMAGED ? 0 : status; /* states tell */
}

static int solve_wrong(struct row_window *window)
{
	return solve(window, columns_in_state(window, CELL_BAD) | columns_in_state(window, CELL_UNREADABLE));
}

/*
 * Cells that were wrong or unreadable, those of a disk that failed meanwhile apart; lost rows are reported. ret_missed: those
 * that a disk missed while it was away, which is no error.
 */
static unsigned count_errors(struct job *job, const struct job_host *host, const struct row_window *window, unsigned *ret_missed)
{
	const struct segment *segment = alloc_segment(store_alloc(host->store), window->segment);
	uint32_t serving = columns_that_answer(host->store, segment);
	unsigned found = 0;

	*ret_missed = 0;
	for (unsigned r = 0; r < window->rows; r++) {
		bool lost = false;
		for (unsigned c = 0; c < (unsigned)window->k + window->m; c++) {
			uint8_t state = window->state[c][r];
			uint8_t was = state == CELL_REBUILT ? window->origin[c][r] : state;
			if (was == CELL_BAD && window->ignore_stale >> c & 1)
				++*ret_missed;
			else if (was == CELL_BAD || (was == CELL_UNREADABLE && serving >> c & 1))
				found++;
			lost |= state == CELL_BAD || (state == CELL_UNREADABLE && serving >> c & 1);
		}
		if (lost)
			report_lost_row(job, host, window, r);
	}
	return found;
}

int settle_window(struct job *job, const struct job_host *host, struct row_window *window)
{
	window_check_late_parity(window);
	int status = solve_wrong(window);
	if (status == 0 && columns_in_state(window, CELL_UNVERIFIED)) {
		status = solve(window, data_for_late_parity(window));
		window_check_late_parity(window);
		if (status == 0)
			status = solve_wrong(window);
	}
	if (status < 0)
		return status;
	unsigned missed, found = count_errors(job, host, window, &missed);
	if (found + missed == 0)
		return 0;
	unsigned healed = window_heal(window, (1u << (window->k + window->m)) - 1);
	unsigned left = found + missed > healed ? found + missed - healed : 0;
	job->errors_found += found > left ? found : left;
	job->cells_repaired += healed;
	job->cells_unrepaired += left;
	return 0;
}

int note_lost(struct array *lost, uint32_t segment, unsigned column, unsigned row, uint64_t place)
{
	struct stale_record record = { segment, (uint8_t)column, (uint16_t)row, 1, place };
	struct stale_record *last = lost->count ? array_at(lost, struct stale_record, lost->count - 1) : NULL;

	if (last && last->segment == segment && last->column == column && last->place == place &&
	    (unsigned)last->base + last->rows == row) {
		last->rows++;
		return 0;
	}
	return array_push(lost, &record);
}

void record_lost(struct alloc *alloc, const struct array *lost)
{
	size_t count;

	for (size_t i = 0; i < lost->count; i++) {
		(void)alloc_stale(alloc, &count);
		if (count >= STALE_RECORDS_KEPT || alloc_stale_add(alloc, array_at(lost, struct stale_record, i)) < 0)
			return;
	}
}

void forget_stale(struct alloc *alloc, uint32_t segment, unsigned column, uint64_t committed)
{
	struct stale_record kept[STALE_RECORDS_MAX];
	size_t count, keep = 0;
	const struct stale_record *all = alloc_stale(alloc, &count);

	for (size_t i = 0; i < count; i++)
		if (all[i].segment == segment && all[i].column == column && all[i].place > committed && keep < STALE_RECORDS_MAX)
			kept[keep++] = all[i];
	alloc_stale_clear(alloc, segment, column);
	for (size_t i = 0; i < keep; i++)
		(void)alloc_stale_add(alloc, &kept[i]); /* there was room for it a moment ago */
}

static bool is_degraded(struct store *store, const struct segment *segment)
{
	size_t count;
	const struct stale_record *stale = alloc_stale(store_alloc(store), &count);
	bool degraded = false;

	/* Rows that a disk missed have no records of their own: as long as it is behind, the flag stays as it was. */
	for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m; c++) {
		uint16_t disk = segment->record.columns[c].disk;
		degraded |= disk == DISK_ABSENT || (segment->record.flags & SEGMENT_DEGRADED && store_disk(store, disk)->stale_from);
	}
	for (size_t i = 0; i < count; i++)
		degraded |= stale[i].segment == segment->id;
	return degraded;
}

bool degraded_is_outdated(struct store *store, const struct segment *segment)
{
	return segment && segment->record.flags & SEGMENT_DEGRADED && !alloc_segment_is_free(segment) && !is_degraded(store, segment);
}

void update_degraded(struct store *store, struct segment *segment)
{
	bool degraded = is_degraded(store, segment);
	uint16_t flags = (uint16_t)((segment->record.flags & ~SEGMENT_DEGRADED) | (degraded ? SEGMENT_DEGRADED : 0));

	if (flags == segment->record.flags)
		return;
	segment->record.flags = flags;
	alloc_segment_touch(store_alloc(store), segment);
}
