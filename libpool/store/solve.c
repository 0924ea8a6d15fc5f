/*
 * Reconstruction in a window: for each row, from k cells that were judged good. Parity without a CRC (beside a
 * summary) is used only when the result can be judged. Healing rewrites what was wrong on its disk with bytes that
 * the codeword demands, never others.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/check.h"
#include "libpool/store/internal.h"
#include "raid/parity.h"

/* Windows of so many rows are judged and decoded in one job, so many cells at a time, which then are still in the cache. */
#define AT_ONCE_ROWS 32u
#define AT_ONCE_CELLS 64u

static bool good(enum cell_state state)
{
	return state == CELL_GOOD || state == CELL_REBUILT || state == CELL_DEAD;
}

static bool row_needs(const struct row_window *window, uint32_t wanted, unsigned row)
{
	for (unsigned c = 0; c < COLUMNS_MAX; c++)
		if (wanted >> c & 1 && !good((enum cell_state)window->state[c][row]))
			return true;
	return false;
}

static uint32_t row_mask(const struct row_window *window, unsigned row, bool unverified)
{
	uint32_t mask = 0;

	for (unsigned c = 0; c < (unsigned)window->k + window->m; c++) {
		uint8_t state = window->state[c][row];
		if (good((enum cell_state)state) || (unverified && (state == CELL_UNVERIFIED || state == CELL_READ)))
			mask |= 1u << c;
	}
	return mask;
}

/* How many more columns the worst row lacks to be solvable. */
static unsigned columns_lacking(const struct row_window *window, uint32_t wanted)
{
	unsigned lacking = 0;

	for (unsigned r = 0; r < window->rows; r++) {
		if (!row_needs(window, wanted, r))
			continue;
		unsigned have = (unsigned)__builtin_popcount(row_mask(window, r, true));
		if (window->k - (int)have > (int)lacking)
			lacking = window->k - have;
	}
	return lacking;
}

/* Decodes rows [first, first + count), which share their masks. Targets have buffers. */
static void decode(struct row_window *window, unsigned first, unsigned count, uint32_t sources, uint32_t targets)
{
	uint32_t all = (1u << (window->k + window->m)) - 1, erased = all & ~sources;
	void *columns[COLUMNS_MAX] = { 0 };

	/* Decoding takes the first k survivors: more good cells than that are fine. */
	for (unsigned c = 0; c < (unsigned)window->k + window->m; c++)
		if (window->columns[c])
			columns[c] = window_cell(window, c, first);
	int status = raid_decode_subset(window->k, window->m, (size_t)count * CELL_SIZE, erased, targets, columns);
	POOL_CHECK(status == 0);
}

/* Judges decoded cells. Cells that can't be judged count as right: their sources were good. */
static bool judge_rebuilt(struct row_window *window, unsigned row, uint32_t targets, bool sources_good)
{
	bool right = true;

	for (unsigned c = 0; c < COLUMNS_MAX; c++) {
		if (!(targets >> c & 1))
			continue;
		enum cell_state verdict = window_judge(window, c, row);
		if (verdict == CELL_BAD || (verdict == CELL_UNVERIFIED && !sources_good))
			right = false;
	}
	for (unsigned c = 0; right && c < COLUMNS_MAX; c++)
		if (targets >> c & 1) {
			window->origin[c][row] = window->state[c][row];
			window->state[c][row] = CELL_REBUILT;
		}
	return right;
}

/* Tries the subsets of k sources that include unverified parity, until the result is right by its CRCs. */
static bool solve_with_unverified(struct row_window *window, unsigned row, uint32_t targets)
{
	uint32_t usable = row_mask(window, row, true), verified = row_mask(window, row, false);

	for (uint32_t sources = usable; sources; sources = (sources - 1) & usable) {
		if ((unsigned)__builtin_popcount(sources) != window->k || sources & targets ||
		    (sources & verified) == sources)
			continue;
		decode(window, row, 1, sources, targets);
		if (judge_rebuilt(window, row, targets, false))
			return true;
	}
	return false;
}

/* Memory for a column that isn't read, of which all or some rows are rebuilt. */
static bool column_memory(struct row_window *window, unsigned column)
{
	struct buffer *into = window->into[column];

	if (window->columns[column])
		return true;
	window->columns[column] = into ? buffer_ref(into) : buffer_new((size_t)window->rows * CELL_SIZE);
	window->lead[column] = into ? (uint16_t)(window->row - window->into_row) : 0;
	for (unsigned r = 0; window->columns[column] && r < window->rows; r++)
		if (window->state[column][r] != CELL_DEAD)
			window->state[column][r] = CELL_ABSENT;
	return window->columns[column] != NULL;
}

/*
 * A row that has too few judged cells: parity beside a summary has no CRC, so it serves only where the result can be
 * judged. That is the row's data: once all of it is right, parity that is wanted follows from it.
 */
static bool solve_late_row(struct row_window *window, unsigned row, uint32_t targets)
{
	uint32_t data = (1u << window->k) - 1;
	uint32_t missing = data & ~row_mask(window, row, false);

	for (unsigned c = 0; c < window->k; c++)
		if (missing >> c & 1 && !column_memory(window, c))
			return false;
	if (missing && !solve_with_unverified(window, row, missing))
		return (targets & ~data) == 0 && targets != missing && solve_with_unverified(window, row, targets);
	for (unsigned c = 0; c < COLUMNS_MAX; c++)
		if (good((enum cell_state)window->state[c][row]))
			targets &= ~(1u << c);
	if (!targets)
		return true;
	decode(window, row, 1, row_mask(window, row, false), targets);
	return judge_rebuilt(window, row, targets, true);
}

struct solve_job {
	struct row_window *window;
	uint32_t wanted;
	uint32_t unjudged; /* columns that were read; in a job that has some, parity that can't be judged is no source */
	bool solved;
};

static uint32_t row_targets(const struct row_window *window, uint32_t wanted, unsigned row)
{
	uint32_t targets = 0;

	for (unsigned c = 0; c < COLUMNS_MAX; c++)
		if (wanted >> c & 1 && !good((enum cell_state)window->state[c][row]))
			targets |= 1u << c;
	return targets;
}

static void solve_rows(struct solve_job *job, unsigned first, unsigned end)
{
	struct row_window *window = job->window;

	for (unsigned r = first; r < end;) {
		uint32_t targets = row_targets(window, job->wanted, r), sources = row_mask(window, r, false);
		if (!targets) {
			r++;
			continue;
		}
		if ((unsigned)__builtin_popcount(sources) < window->k) {
			if (!window->summary || job->unjudged || !solve_late_row(window, r, targets))
				job->solved = false;
			r++;
			continue;
		}
		unsigned stop = r + 1;
		while (stop < end && row_targets(window, job->wanted, stop) == targets && row_mask(window, stop, false) == sources)
			stop++;
		decode(window, r, stop - r, sources, targets);
		for (; r < stop; r++)
			if (!judge_rebuilt(window, r, targets, true))
				job->solved = false;
	}
}

static void solve_run(void *argument)
{
	struct solve_job *job = argument;
	unsigned rows = job->window->rows, step = rows;

	job->solved = true;
	if (job->unjudged)
		step = AT_ONCE_CELLS / (unsigned)__builtin_popcount(job->unjudged);
	for (unsigned first = 0; first < rows; first += step) {
		unsigned end = rows - first < step ? rows : first + step;
		for (unsigned c = 0; c < COLUMNS_MAX; c++)
			if (job->unjudged >> c & 1)
				window_judge_rows(job->window, c, first, end);
		solve_rows(job, first, end);
	}
}

/* Columns that were never read. What was made of them in the meantime is forgotten: what the disk has may be right where that isn't. */
static int read_more(struct row_window *window, uint32_t mask, uint32_t *unjudged)
{
	uint32_t read = 0;

	for (unsigned c = 0; c < COLUMNS_MAX; c++) {
		if (!(mask >> c & 1) || !window->columns[c])
			continue;
		buffer_unref(window->columns[c]);
		window->columns[c] = NULL;
		for (unsigned r = 0; r < window->rows; r++)
			if (window->state[c][r] != CELL_DEAD)
				window->state[c][r] = CELL_UNREAD;
	}
	int status = unjudged ? window_read_unjudged(window, mask, &read) : window_read(window, mask);

	if (unjudged)
		*unjudged |= read;
	return status;
}

/* Reads more columns until the worst row has enough cells, or nothing is left to ask for. Those of `unjudged`, unless NULL, aren't judged. */
static int read_sources(struct row_window *window, uint32_t wanted, uint32_t *asked, uint32_t *unjudged)
{
	uint32_t all = (1u << (window->k + window->m)) - 1;

	for (unsigned lacking; (lacking = columns_lacking(window, wanted)) > 0;) {
		uint32_t more = 0, present = window_present(window);
		/* Data first: those cells always have a CRC, and need no arithmetic. */
		for (unsigned c = 0; c < (unsigned)window->k + window->m && lacking; c++) {
			if (*asked >> c & 1 || wanted >> c & 1)
				continue;
			*asked |= 1u << c;
			if (!(present >> c & 1))
				continue;
			more |= 1u << c;
			lacking--;
		}
		if (!more) {
			/* Last of all, wanted columns that nobody read yet may give sources for one another. */
			more = wanted & all & ~*asked;
			*asked |= more;
			if (!more)
				return 0;
		}
		if (read_more(window, more, unjudged) < 0)
			return -ENOMEM;
	}
	return 0;
}

/* Wanted columns that weren't read get memory to be rebuilt in. */
static int make_targets(struct row_window *window, uint32_t wanted)
{
	for (unsigned c = 0; c < (unsigned)window->k + window->m; c++)
		if (wanted >> c & 1 && !column_memory(window, c))
			return -ENOMEM;
	return 0;
}

int window_solve(struct row_window *window, uint32_t wanted)
{
	struct store *store = window->store;
	uint32_t all = (1u << (window->k + window->m)) - 1, asked = 0;
	struct solve_job job = { .window = window, .wanted = wanted & all };
	unsigned before = window_count(window, wanted, CELL_REBUILT);
	bool at_once = window->rows >= AT_ONCE_ROWS && window->summary;

	for (unsigned c = 0; c < (unsigned)window->k + window->m; c++)
		if (window->columns[c])
			asked |= 1u << c;
	for (;;) {
		if (read_sources(window, wanted, &asked, at_once ? &job.unjudged : NULL) < 0 || make_targets(window, wanted) < 0)
			return -ENOMEM;
		if (window->rows >= 16)
			rt_work(store->rt, solve_run, &job);
		else
			solve_run(&job);
		window_count_wrong(window, job.unjudged);
		if (job.solved)
			break;
		at_once = false;
		if (job.unjudged) {
			/* Some of what was read is wrong, or can't be judged: now it is known which. */
			job.unjudged = 0;
			continue;
		}
		/* Parity without a CRC counted as a source and was wrong: another column may do. */
		uint32_t more = window_present(window) & ~asked;
		if (!more)
			break;
		asked |= more & -more;
		if (read_more(window, more & -more, NULL) < 0)
			return -ENOMEM;
	}
	store->counters.reconstructed_cells += window_count(window, wanted, CELL_REBUILT) - before;
	return job.solved ? 0 : -POOL_EDAMAGED;
}

void window_check_late_parity(struct row_window *window)
{
	uint32_t data = (1u << window->k) - 1;
	uint8_t *scratch = NULL;

	for (unsigned r = 0; r < window->rows; r++) {
		bool late = false;
		for (unsigned j = 0; j < window->m; j++)
			late |= window->columns[window->k + j] && window->state[window->k + j][r] == CELL_UNVERIFIED;
		if (!late || (row_mask(window, r, false) & data) != data)
			continue;
		const void *sources[COLUMNS_MAX];
		void *parity[PARITY_MAX];
		if (!scratch && posix_memalign((void **)&scratch, CELL_SIZE, PARITY_MAX * CELL_SIZE) != 0)
			return;
		for (unsigned c = 0; c < window->k; c++)
			sources[c] = window_cell(window, c, r);
		for (unsigned j = 0; j < window->m; j++)
			parity[j] = scratch + (size_t)j * CELL_SIZE;
		POOL_CHECK(raid_encode(window->k, window->m, CELL_SIZE, sources, parity) == 0);
		for (unsigned j = 0; j < window->m; j++) {
			unsigned c = window->k + j;
			if (!window->columns[c] || window->state[c][r] != CELL_UNVERIFIED)
				continue;
			bool same = memcmp(window_cell(window, c, r), parity[j], CELL_SIZE) == 0;
			window->state[c][r] = same ? CELL_GOOD : CELL_BAD;
			const struct segment *segment = alloc_segment(window->store->alloc, window->segment);
			uint16_t index = segment->record.columns[c].disk;
			if (!same && index != DISK_ABSENT && !(window->ignore_stale >> c & 1))
				window->store->disks[index].checksum_errors++;
		}
	}
	free(scratch);
}

static bool writable(const struct store *store, const struct store_disk *disk)
{
	return disk->disk && !disk->disk->info.read_only && !store->read_only && !disk->disk->abandoned_writes &&
	       (disk->state == DISK_ONLINE || disk->state == DISK_RESYNC);
}

unsigned window_heal(struct row_window *window, uint32_t mask)
{
	struct store *store = window->store;
	const struct segment *segment = alloc_segment(store->alloc, window->segment);
	unsigned healed = 0;

	for (unsigned c = 0; c < (unsigned)window->k + window->m; c++) {
		struct segment_column column = segment->record.columns[c];
		if (!(mask >> c & 1) || column.disk == DISK_ABSENT)
			continue;
		for (unsigned r = 0; r < window->rows;) {
			unsigned stop = r;
			while (stop < window->rows && window->state[c][stop] == CELL_REBUILT &&
			       (window->origin[c][stop] == CELL_BAD || window->origin[c][stop] == CELL_UNREADABLE))
				stop++;
			if (stop == r) {
				r++;
				continue;
			}
			if (writable(store, &store->disks[column.disk]) &&
			    cells_write(store, window->segment, column, window->row + r, stop - r, window->columns[c],
					cell_at(window, c, r)) == 0) {
				healed += stop - r;
				store_emit(store, STORE_HEALED, column.disk, stop - r, "wrong or unreadable cells rewritten");
			}
			r = stop;
		}
	}
	store->counters.healed_cells += healed;
	return healed;
}
