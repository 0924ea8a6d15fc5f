/*
 * Finding a block without the batch's summary, from its own checksum alone: the summary itself, or a block whose
 * summary is lost.
 *
 * Row by row, the fewest columns are left out that make the others agree with one another; parity that is left over
 * proves it, so such a row is decided. A row that can only be explained by as many wrong columns as there is parity
 * has several explanations, one for each set of columns. Of those rows, all are first given the same set (a disk that
 * went bad), then every combination is tried up to a bound, and the block's checksum decides. For copies (k = 1) the
 * same says: cell by cell, any copy.
 *
 * The fewest wrong columns are the likely explanation, not the sure one: two data cells that were exchanged leave their
 * sum as it was, and only the second parity looks wrong. So when that fails, all explanations are tried.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/check.h"
#include "libpool/format/dva.h"
#include "libpool/store/internal.h"
#include "raid/parity.h"

#define COMBINED_CELLS_MAX (1u << 18) /* hashed in all before combinations are given up */
#define ALTERNATIVES_MAX 700u /* C(16, 3) and those below */

struct row_guess {
	uint32_t own;        /* columns with cells of the block */
	uint32_t known;      /* columns that couldn't be read */
	unsigned count, now; /* alternatives, and the one in the payload */
	uint16_t *erased;    /* masks */
};

struct guess {
	struct row_window *window;
	const struct block_pointer *pointer;
	const struct cell_run *runs;
	unsigned run_count;
	struct row_guess *rows;
	uint8_t *payload, *scratch; /* scratch: PARITY_MAX cells */
	int status;
};

/* Decodes what `erased` leaves out, and compares what is left over with it. In scratch: the targets, ascending. */
static bool decode_row(struct guess *guess, unsigned row, uint32_t erased, uint32_t *ret_targets)
{
	struct row_window *window = guess->window;
	uint32_t all = (1u << (window->k + window->m)) - 1, sources = 0;
	void *columns[COLUMNS_MAX] = { 0 };
	unsigned slot = 0, have = 0;

	for (unsigned c = 0; c < (unsigned)window->k + window->m && have < window->k; c++)
		if (!(erased >> c & 1)) {
			sources |= 1u << c;
			have++;
		}
	uint32_t targets = all & ~sources & (~erased | guess->rows[row].own);
	for (unsigned c = 0; c < (unsigned)window->k + window->m; c++) {
		if (sources >> c & 1)
			columns[c] = window_cell(window, c, row);
		else if (targets >> c & 1)
			columns[c] = guess->scratch + (size_t)slot++ * CELL_SIZE;
	}
	*ret_targets = targets;
	if (targets && !POOL_CHECK(raid_decode_subset(window->k, window->m, CELL_SIZE, all & ~sources, targets, columns) == 0))
		return false;
	for (unsigned c = 0; c < (unsigned)window->k + window->m; c++)
		if (targets >> c & 1 && !(erased >> c & 1) && memcmp(columns[c], window_cell(window, c, row), CELL_SIZE) != 0)
			return false;
	return true;
}

/* Puts the block's cells of a row into the payload, with what `erased` leaves out decoded. */
static void assemble(struct guess *guess, unsigned row, uint32_t erased)
{
	const struct row_window *window = guess->window;
	uint32_t targets;
	size_t offset = 0;

	(void)decode_row(guess, row, erased, &targets);
	for (unsigned i = 0; i < guess->run_count; i++) {
		const struct cell_run *run = &guess->runs[i];
		unsigned first = run->row - window->row, c = run->column;
		if (row >= first && row < first + run->rows) {
			unsigned slot = (unsigned)__builtin_popcount(targets & ((1u << c) - 1));
			const uint8_t *cell = erased >> c & 1 ? guess->scratch + (size_t)slot * CELL_SIZE : window_cell(window, c, row);
			memcpy(guess->payload + offset + (size_t)(row - first) * CELL_SIZE, cell, CELL_SIZE);
		}
		offset += (size_t)run->rows * CELL_SIZE;
	}
}

/* The explanations of a row, those with the fewest wrong columns first; unless `all`, only these. */
static int explain(struct guess *guess, unsigned row, bool all)
{
	struct row_guess *known = &guess->rows[row];
	unsigned columns = guess->window->k + guess->window->m, least = (unsigned)__builtin_popcount(known->known);
	uint16_t erased[ALTERNATIVES_MAX];
	uint32_t targets;

	free(known->erased);
	known->erased = NULL;
	known->count = known->now = 0;
	bool as_read = false;
	for (unsigned size = least; size <= guess->window->m && (all || known->count == 0); size++) {
		for (uint32_t mask = known->known; mask < 1u << columns; mask++) {
			if ((mask & known->known) != known->known || (unsigned)__builtin_popcount(mask) != size ||
			    known->count == ALTERNATIVES_MAX || !decode_row(guess, row, mask, &targets))
				continue;
			/* All that leave out nothing of the block are one. */
			if (!(mask & known->own) && as_read)
				continue;
			as_read |= !(mask & known->own);
			erased[known->count++] = (uint16_t)mask;
		}
	}
	if (known->count == 0)
		return -POOL_EDAMAGED;
	known->erased = malloc(known->count * sizeof(erased[0]));
	if (!known->erased)
		return -ENOMEM;
	memcpy(known->erased, erased, known->count * sizeof(erased[0]));
	assemble(guess, row, erased[0]);
	return 0;
}

static bool right(const struct guess *guess)
{
	return payload_matches(guess->pointer, guess->payload);
}

/* All undecided rows with the same columns left out. */
static bool try_columns(struct guess *guess)
{
	unsigned columns = guess->window->k + guess->window->m;

	for (uint32_t mask = 0; mask < 1u << columns; mask++) {
		bool possible = (unsigned)__builtin_popcount(mask) <= guess->window->m, any = false;
		for (unsigned r = 0; r < guess->window->rows && possible; r++) {
			struct row_guess *row = &guess->rows[r];
			unsigned at = 0;
			if (row->count < 2)
				continue;
			while (at < row->count && row->erased[at] != (mask | row->known) && ((row->erased[at] | mask) & row->own))
				at++;
			possible = at < row->count;
			row->now = possible ? at : row->now;
			any = true;
		}
		for (unsigned r = 0; r < guess->window->rows && possible && any; r++)
			if (guess->rows[r].count > 1)
				assemble(guess, r, guess->rows[r].erased[guess->rows[r].now]);
		if (possible && any && right(guess))
			return true;
	}
	return false;
}

/* Every combination, up to the bound. */
static bool try_combinations(struct guess *guess)
{
	for (unsigned r = 0; r < guess->window->rows; r++) {
		guess->rows[r].now = 0;
		if (guess->rows[r].count > 1)
			assemble(guess, r, guess->rows[r].erased[0]);
	}
	for (unsigned cells = 0; cells < COMBINED_CELLS_MAX; cells += guess->pointer->psect) {
		unsigned r = 0;
		if (right(guess))
			return true;
		/* The next one, as an odometer counts. */
		for (; r < guess->window->rows; r++) {
			struct row_guess *row = &guess->rows[r];
			if (row->count < 2)
				continue;
			row->now = (row->now + 1) % row->count;
			assemble(guess, r, row->erased[row->now]);
			if (row->now)
				break;
		}
		if (r == guess->window->rows)
			return false;
	}
	return false;
}

static bool explain_all(struct guess *guess, bool all)
{
	for (unsigned r = 0; r < guess->window->rows && guess->status == 0; r++)
		if (guess->rows[r].own)
			guess->status = explain(guess, r, all);
	return guess->status == 0 && (right(guess) || try_columns(guess) || try_combinations(guess));
}

static void guess_run(void *argument)
{
	struct guess *guess = argument;
	const struct row_window *window = guess->window;

	for (unsigned r = 0; r < window->rows && guess->status == 0; r++) {
		for (unsigned i = 0; i < guess->run_count; i++)
			if (window->row + r >= guess->runs[i].row && window->row + r < (unsigned)guess->runs[i].row + guess->runs[i].rows)
				guess->rows[r].own |= 1u << guess->runs[i].column;
		for (unsigned c = 0; c < (unsigned)window->k + window->m; c++)
			if (window->state[c][r] != CELL_UNVERIFIED)
				guess->rows[r].known |= 1u << c;
		/* Of too little nothing can be said, whatever the other rows hold. */
		if (guess->rows[r].own && (unsigned)__builtin_popcount(guess->rows[r].known) > window->m)
			guess->status = -EIO;
	}
	if (guess->status < 0)
		return;
	if (!explain_all(guess, false) && guess->status == 0 && !explain_all(guess, true) && guess->status == 0)
		guess->status = -POOL_EDAMAGED;
}

/* Rewrites the block's cells that were wrong or unreadable: the checksum says what they are. */
static void heal_own(struct guess *guess)
{
	struct row_window *window = guess->window;
	const struct segment *segment = alloc_segment(window->store->alloc, window->segment);
	const uint8_t *cell = guess->payload;
	uint32_t mask = 0;

	memset(window->origin, CELL_GOOD, sizeof(window->origin));
	for (unsigned i = 0; i < guess->run_count; i++) {
		unsigned c = guess->runs[i].column, first = guess->runs[i].row - window->row;
		struct buffer *fresh = buffer_new((size_t)window->rows * CELL_SIZE);
		if (!fresh)
			return; /* healed another time */
		for (unsigned r = first; r < first + guess->runs[i].rows; r++, cell += CELL_SIZE) {
			uint8_t was = window->state[c][r];
			bool same = was == CELL_UNVERIFIED && memcmp(window_cell(window, c, r), cell, CELL_SIZE) == 0;
			memcpy(fresh->data + (size_t)r * CELL_SIZE, cell, CELL_SIZE);
			if (was == CELL_ABSENT || same)
				continue;
			window->state[c][r] = CELL_REBUILT;
			window->origin[c][r] = was == CELL_UNREADABLE ? CELL_UNREADABLE : CELL_BAD;
			window->store->disks[segment->record.columns[c].disk].checksum_errors += was != CELL_UNREADABLE;
			mask |= 1u << c;
		}
		buffer_unref(window->columns[c]);
		window->columns[c] = fresh;
		window->lead[c] = 0;
	}
	window_heal(window, mask);
}

int read_by_guess(struct store *store, const struct block_pointer *pointer, bool heal, struct buffer **ret_payload)
{
	struct dva dva = dva_unpack(pointer->dva);
	const struct segment *segment = alloc_segment(store->alloc, dva.segment);
	struct cell_run runs[COLUMNS_MAX];
	unsigned count = dva_runs(dva, pointer->psect, runs), first = runs[0].row, end = 0;

	for (unsigned i = 0; i < count; i++) {
		first = runs[i].row < first ? runs[i].row : first;
		end = (unsigned)runs[i].row + runs[i].rows > end ? (unsigned)runs[i].row + runs[i].rows : end;
	}
	struct row_window *window = malloc(sizeof(*window));
	struct row_guess *rows = calloc(end - first, sizeof(*rows));
	struct buffer *payload = buffer_new((size_t)pointer->psect * CELL_SIZE);
	struct buffer *scratch = buffer_new((size_t)PARITY_MAX * CELL_SIZE);
	int status = -ENOMEM;
	if (window && rows && payload && scratch) {
		struct guess guess = { .window = window, .pointer = pointer, .runs = runs, .run_count = count, .rows = rows,
				       .payload = payload->data, .scratch = scratch->data };
		window_init(window, store, segment, first, end - first, pointer->place, NULL);
		status = window_read(window, (1u << (window->k + window->m)) - 1);
		if (status == 0) {
			rt_work(store->rt, guess_run, &guess);
			status = guess.status;
		}
		if (status == 0 && heal)
			heal_own(&guess);
		window_release(window);
	}
	for (unsigned r = 0; rows && r < end - first; r++)
		free(rows[r].erased);
	free(rows);
	free(window);
	buffer_unref(scratch);
	if (status < 0) {
		buffer_unref(payload);
		return status;
	}
	*ret_payload = payload;
	return 0;
}
