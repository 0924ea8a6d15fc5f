/*
 * Reachability: the blocks that the trees reach, and the summaries of all batches, are exactly what the live bitmaps say
 * (I1: no leak, no double use); each entry of a moved block has its pointers, and each pointer its entry (I5, I9); each live row lies in one batch (I2); columns lie on different disks and no AU has two
 * owners (I7). Everything is recomputed from pointers; nothing is taken from the bookkeeping that is being checked.
 */
#include "scrub/verify.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/bitmap.h"
#include "libpool/base/hash_table.h"
#include "libpool/format/dva.h"
#include "scrub/verify_internal.h"

#define READS_MAX 8u

static void note(struct verify *verify, bool first, const char *format, va_list arguments)
{
	if (first)
		vsnprintf(verify->result.first, sizeof(verify->result.first), format, arguments);
}

void verify_violation(struct verify *verify, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	note(verify, verify->result.violations++ == 0, format, arguments);
	va_end(arguments);
}

void verify_damage(struct verify *verify, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	note(verify, verify->result.first[0] == 0, format, arguments);
	va_end(arguments);
}

/* ---- The walk ---- */

static int need_maps(struct verify *verify, const struct segment *segment)
{
	struct reached *reached = &verify->segments[segment->id];
	size_t words = BITMAP_WORDS((size_t)segment->record.k * verify->rows);

	if (reached->cells)
		return 0;
	reached->cells = calloc(words, 8);
	reached->starts = calloc(words, 8);
	return reached->cells && reached->starts ? 0 : -ENOMEM;
}

/* Marks the cells of a block; all must be live and nobody else's. */
static int reach(struct verify *verify, uint64_t address, unsigned psect, uint64_t place, const char *what)
{
	struct dva dva = dva_unpack(address);
	struct segment *segment = alloc_segment(verify->alloc, dva.segment);
	struct cell_run runs[COLUMNS_MAX];

	if (!segment || dva.segment >= verify->segment_count || segment->record.state == SEGMENT_NONE || psect == 0 ||
	    !dva_valid(dva, psect, segment->record.k, verify->rows)) {
		verify_violation(verify, "%s %llx of txg %llu: not an address", what, (unsigned long long)address,
				 (unsigned long long)place);
		return 0;
	}
	if (place < segment->record.alloc_txg) {
		verify_violation(verify, "%s %llx of txg %llu: segment %u is of txg %llu", what, (unsigned long long)address,
				 (unsigned long long)place, dva.segment, (unsigned long long)segment->record.alloc_txg);
		return 0;
	}
	int status = need_maps(verify, segment);
	if (status < 0)
		return status;
	struct reached *reached = &verify->segments[dva.segment];
	unsigned count = dva_runs(dva, psect, runs);
	for (unsigned i = 0; i < count; i++) {
		size_t first = (size_t)runs[i].column * verify->rows + runs[i].row;
		if (bitmap_count(reached->cells, first, runs[i].rows))
			verify_violation(verify, "%s %llx of txg %llu: shares cells of segment %u, column %u, row %u with another block",
					 what, (unsigned long long)address, (unsigned long long)place, dva.segment,
					 runs[i].column, runs[i].row);
		if (!segment->bits || bitmap_count(segment->bits, first, runs[i].rows) != runs[i].rows)
			verify_violation(verify, "%s %llx of txg %llu: reachable, but not live: segment %u, column %u, row %u", what,
					 (unsigned long long)address, (unsigned long long)place, dva.segment, runs[i].column,
					 runs[i].row);
		const struct batch_index *batch = alloc_batch_find(segment, runs[i].row);
		if (!batch || batch->txg != place)
			verify_violation(verify, "%s %llx of txg %llu: its batch is of txg %llu", what, (unsigned long long)address,
					 (unsigned long long)place, batch ? (unsigned long long)batch->txg : 0ull);
		bitmap_set_range(reached->cells, first, runs[i].rows);
		if (i == 0)
			bitmap_set(reached->starts, first);
	}
	return 0;
}

struct read_task {
	struct verify *verify;
	struct block_pointer pointer, at;
	struct block_owner owner;
};

static void tell_damaged(struct verify *verify, const struct block_pointer *pointer, const struct block_pointer *at,
			 const struct block_owner *owner)
{
	verify->result.damaged_blocks++;
	verify_damage(verify, "block %llx of txg %llu can't be read: objset %u, object %llu, level %u, block %llu", (unsigned long long)pointer->dva,
		      (unsigned long long)pointer->place, owner->objset, (unsigned long long)owner->object, owner->level,
		      (unsigned long long)owner->block);
	if (verify->source->hooks && verify->source->hooks->damaged)
		verify->source->hooks->damaged(verify->source->hooks->argument, pointer, at, owner);
}

static void read_fiber(void *argument)
{
	struct read_task *task = argument;
	struct verify *verify = task->verify;
	struct buffer *payload = NULL;
	int status = store_read(verify->store, &task->at, 0, &payload);

	buffer_unref(payload);
	if (status == -ENOMEM || status == -POOL_EDEGRADED) {
		verify->error = status;
	} else if (status < 0) {
		tell_damaged(verify, &task->pointer, &task->at, &task->owner);
	}
	free(task);
	verify->reads--;
	rt_queue_wake_all(verify->rt, &verify->ended);
}

static int start_read(struct verify *verify, const struct block_pointer *pointer, const struct block_pointer *at,
		      const struct block_owner *owner)
{
	struct read_task *task = malloc(sizeof(*task));

	if (!task)
		return -ENOMEM;
	*task = (struct read_task){ verify, *pointer, *at, { 0 } };
	if (owner)
		task->owner = *owner;
	while (verify->reads >= READS_MAX)
		rt_queue_wait(verify->rt, &verify->ended);
	verify->reads++;
	if (rt_spawn(verify->rt, "verify read", read_fiber, task) < 0)
		read_fiber(task);
	return verify->error;
}

bool verify_is_cancelled(const struct verify *verify)
{
	const struct verify_hooks *hooks = verify->source->hooks;

	return hooks && hooks->is_cancelled && hooks->is_cancelled(hooks->argument);
}

static int is_wanted(const struct verify *verify, const struct block_pointer *pointer, const struct block_pointer *at,
		     const struct block_owner *owner)
{
	const struct verify_hooks *hooks = verify->source->hooks;

	return hooks && hooks->wanted ? hooks->wanted(hooks->argument, pointer, at, owner) : 1;
}

static void count_moved(struct moved_sum *sum, uint64_t dva, uint64_t place, uint64_t at, uint32_t references)
{
	sum->pointers += references;
	sum->hashes += references * hash_u64(hash_u64(hash_u64(dva) + place) + at);
}

static int locate(struct verify *verify, const struct block_pointer *pointer, const struct block_owner *owner, struct block_pointer *ret_at)
{
	int status = 0;

	*ret_at = *pointer;
	if (verify->source->locate)
		status = verify->source->locate(verify->source->argument, pointer, owner, ret_at);
	if (status == 0 && (ret_at->dva != pointer->dva || ret_at->place != pointer->place))
		count_moved(&verify->moved, pointer->dva, pointer->place, ret_at->dva, 1);
	return status;
}

static int visit(void *argument, const struct block_pointer *pointer, const struct block_owner *owner)
{
	struct verify *verify = argument;
	struct block_pointer at;
	int status = 0;

	if (!block_pointer_is_placed(pointer))
		return 0;
	if (verify_is_cancelled(verify))
		return -ECANCELED;
	verify->result.blocks_checked++;
	status = locate(verify, pointer, owner, &at);
	if (status == -POOL_EDAMAGED) { /* where it is can't be read: its neighbours may be elsewhere */
		verify->unlocated = true;
		tell_damaged(verify, pointer, pointer, owner);
		return 1;
	}
	if (status == 0 && verify->what & VERIFY_REACHABLE)
		status = reach(verify, at.dva, at.psect, at.place, "block");
	if (status < 0 || !(verify->what & VERIFY_BLOCKS))
		return status;
	status = is_wanted(verify, pointer, &at, owner);
	return status > 0 ? start_read(verify, pointer, &at, owner) : status;
}

static bool begins_a_block(const struct verify *verify, uint64_t address)
{
	struct dva dva = dva_unpack(address);
	const struct reached *reached = dva.segment < verify->segment_count ? &verify->segments[dva.segment] : NULL;
	const struct segment *segment = reached && reached->starts ? alloc_segment(verify->alloc, dva.segment) : NULL;

	return segment && dva_valid(dva, 1, segment->record.k, verify->rows) &&
	       bitmap_get(reached->starts, (size_t)(dva.offset / dva.height) * verify->rows + dva.base + dva.offset % dva.height);
}

struct moved_check {
	struct verify *verify;
	struct moved_sum entries;
};

static int check_moved(void *argument, const struct moved_entry *entry)
{
	struct moved_check *check = argument;

	count_moved(&check->entries, entry->dva, entry->place, entry->new_dva, entry->references);
	if (!begins_a_block(check->verify, entry->new_dva))
		verify_violation(check->verify, "xblk: block %llx of txg %llu, now at %llx, has no pointers and %u references", (unsigned long long)entry->dva,
				 (unsigned long long)entry->place, (unsigned long long)entry->new_dva, entry->references);
	return verify_is_cancelled(check->verify) ? -ECANCELED : 0;
}

/*
 * After a complete walk. Pointers whose block lies elsewhere, and entries, have to be the same; two at one place share cells, which was told when
 * they were reached. So nothing needs to be remembered of each.
 */
static int check_all_moved(struct verify *verify)
{
	const struct moved_sum *pointers = &verify->moved;
	struct moved_check check = { .verify = verify };
	uint64_t violations = verify->result.violations;

	if (!verify->source->each_moved)
		return 0;
	int status = verify->source->each_moved(verify->source->argument, check_moved, &check);

	if (status == 0 && violations == verify->result.violations &&
	    (check.entries.pointers != pointers->pointers || check.entries.hashes != pointers->hashes))
		verify_violation(verify, "xblk: its entries have %llu references, and moved blocks %llu pointers, not all of them the same",
				 (unsigned long long)check.entries.pointers, (unsigned long long)pointers->pointers);
	return status;
}

/* ---- Against the bookkeeping ---- */

static int reach_summaries(struct verify *verify, const struct segment *segment)
{
	unsigned before = 0;

	for (unsigned i = 0; i < segment->batch_count; i++) {
		const struct batch_index *batch = &segment->batches[i];
		bool again = false;
		if (batch->base < before || batch->rows == 0 || (unsigned)batch->base + batch->rows > verify->rows)
			verify_violation(verify, "segment %u: batch ranges overlap at row %u", segment->id, batch->base);
		before = (unsigned)batch->base + batch->rows;
		for (unsigned j = 0; j < i && !again; j++)
			again = segment->batches[j].summary_dva == batch->summary_dva && segment->batches[j].txg == batch->txg;
		if (again)
			continue;
		if (dva_unpack(batch->summary_dva).segment != segment->id)
			verify_violation(verify, "segment %u: the summary of row %u lies in another segment", segment->id, batch->base);
		int status = reach(verify, batch->summary_dva, batch->summary_cells, batch->txg, "summary");
		if (status < 0)
			return status;
	}
	return 0;
}

static void compare_segment(struct verify *verify, const struct segment *segment)
{
	const struct reached *reached = &verify->segments[segment->id];
	size_t bits = (size_t)segment->record.k * verify->rows;

	for (size_t bit = 0; segment->bits && (bit = bitmap_next_set(segment->bits, bit, bits)) != BITMAP_NONE; bit++) {
		unsigned column = (unsigned)(bit / verify->rows), row = (unsigned)(bit % verify->rows);
		if (!alloc_batch_find(segment, row))
			verify_violation(verify, "segment %u: live cell in column %u, row %u lies in no batch", segment->id, column, row);
		if (!reached->cells || !bitmap_get(reached->cells, bit))
			verify_violation(verify, "segment %u (class %u): cell in column %u, row %u is live, but nothing reaches it",
					 segment->id, segment->record.class, column, row);
	}
}

static void check_columns(struct verify *verify, const struct segment *segment, uint64_t **claimed)
{
	const struct segment_record *record = &segment->record;

	for (unsigned c = 0; c < (unsigned)record->k + record->m; c++) {
		struct segment_column at = record->columns[c];
		if (at.disk == DISK_ABSENT)
			continue;
		const struct alloc_disk *disk = alloc_disk(verify->alloc, at.disk);
		if (!disk || at.au >= disk->au_count) {
			verify_violation(verify, "segment %u: column %u lies outside of disk %u", segment->id, c, at.disk);
			continue;
		}
		for (unsigned o = 0; o < c; o++)
			if (record->columns[o].disk == at.disk && (record->k > 1 || alloc_geometry(verify->alloc)->m))
				verify_violation(verify, "segment %u: columns %u and %u lie on disk %u", segment->id, o, c, at.disk);
		if (!bitmap_get(disk->au_used, at.au))
			verify_violation(verify, "segment %u: AU %u of disk %u counts as free", segment->id, at.au, at.disk);
		if (bitmap_get(claimed[at.disk], at.au))
			verify_violation(verify, "segment %u: AU %u of disk %u belongs to another segment too", segment->id, at.au, at.disk);
		bitmap_set(claimed[at.disk], at.au);
	}
}

static int check_segments(struct verify *verify)
{
	uint64_t **claimed = calloc(DISKS_MAX, sizeof(*claimed));
	int status = claimed ? 0 : -ENOMEM;

	for (unsigned i = 0; i < DISKS_MAX && status == 0; i++) {
		const struct alloc_disk *disk = alloc_disk(verify->alloc, i);
		if (disk && !(claimed[i] = calloc(BITMAP_WORDS(disk->au_count), 8)))
			status = -ENOMEM;
	}
	for (uint32_t id = 0; id < verify->segment_count && status == 0; id++) {
		const struct segment *segment = alloc_segment(verify->alloc, id);
		if (!segment || alloc_segment_is_free(segment)) {
			if (verify->segments[id].cells && bitmap_next_set(verify->segments[id].cells, 0, verify->rows) != BITMAP_NONE)
				verify_violation(verify, "segment %u is free, but blocks in it are reachable", id);
			continue;
		}
		check_columns(verify, segment, claimed);
		if (!verify->walked_txg)
			continue;
		status = reach_summaries(verify, segment);
		if (status == 0)
			compare_segment(verify, segment);
	}
	for (unsigned i = 0; claimed && i < DISKS_MAX; i++)
		free(claimed[i]);
	free(claimed);
	return status;
}

static int verify_reachable(struct verify *verify)
{
	uint64_t txg = verify->source->committed(verify->source->argument);
	int status = verify->source->walk(verify->source->argument, visit, verify);

	while (verify->reads)
		rt_queue_wait(verify->rt, &verify->ended);
	if (status == 0)
		status = verify->error;
	if (status == 0 && verify->unlocated)
		status = -POOL_EDAMAGED;
	if (status == -POOL_EDAMAGED || status == -POOL_EFORMAT || status == -POOL_ECHECKSUM) {
		/* What lies below isn't known: nothing can be said about leaks. */
		verify->result.damaged_blocks += verify->result.damaged_blocks == 0 || status == -POOL_EFORMAT;
		verify_damage(verify, "a metadata block can't be read: the blocks below it are not known");
		status = 0;
	} else if (status == 0 && verify->source->committed(verify->source->argument) != txg) {
		status = -EBUSY;
	} else if (status == 0) {
		verify->walked_txg = txg;
	}
	if (status == 0 && verify->what & VERIFY_REACHABLE && verify->walked_txg)
		status = check_all_moved(verify);
	return status == 0 && verify->what & VERIFY_REACHABLE ? check_segments(verify) : status;
}

static int begin(const struct verify_source *source, unsigned what, struct verify *verify)
{
	*verify = (struct verify){ .source = source, .rt = source->rt, .store = source->store,
				   .alloc = store_alloc(source->store), .what = what };
	rt_queue_init(&verify->ended);
	verify->rows = alloc_geometry(verify->alloc)->rows;
	verify->segment_count = alloc_segment_count(verify->alloc);
	verify->segments = calloc(verify->segment_count + 1u, sizeof(*verify->segments));
	return verify->segments ? 0 : -ENOMEM;
}

int verify_run(const struct verify_source *source, unsigned what, struct verify_result *ret_result)
{
	struct verify *verify = malloc(sizeof(*verify));
	int status = verify ? begin(source, what, verify) : -ENOMEM;

	if (status == 0 && what & (VERIFY_REACHABLE | VERIFY_BLOCKS))
		status = verify_reachable(verify);
	if (source->walked)
		source->walked(source->argument);
	if (status == 0 && what & VERIFY_CELLS)
		status = verify_cells(verify);
	if (status == 0)
		*ret_result = verify->result;
	for (uint32_t id = 0; verify && verify->segments && id < verify->segment_count; id++) {
		free(verify->segments[id].cells);
		free(verify->segments[id].starts);
	}
	if (verify)
		free(verify->segments);
	free(verify);
	return status;
}
