/*
 * What a scrub does when all cells are done. Blocks of a batch that has lost its summary are known to nobody but the
 * trees: they are looked for by a walk over all trees, and each is read by its own checksum; from them the summary is
 * made anew, if it can be (summaries.c). There may be millions: each walk remembers those of some batches, and the first
 * one reads them all. A deep scrub reads every block in that walk. Lost ones are told to the host
 * with their owner, and counted: one error for each block.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "libpool/format/dva.h"
#include "scrub/internal.h"
#include "scrub/verify.h"

#define BLOCKS_MAX ((size_t)131072)

struct search {
	struct job *job;
	const struct job_host *host;
	struct alloc *alloc;
	const struct array *batches; /* struct batch_index without summary, by address and txg of it */
	struct array told;           /* uint64_t: what the cells' part has told, sorted */
	struct array chunk;         /* those of `batches` whose blocks are remembered by this walk; never released */
	bool first;
	struct array found;         /* struct store_known_block: blocks of these */
	uint64_t lost;
};

static int compare_lost(const void *a, const void *b)
{
	const struct batch_index *x = a, *y = b;

	if (x->summary_dva != y->summary_dva)
		return x->summary_dva < y->summary_dva ? -1 : 1;
	return x->txg < y->txg ? -1 : x->txg > y->txg;
}

static int compare_addresses(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* The batch without summary that the block lies in, or NULL. A block lies in one batch only. */
static const struct batch_index *lost_batch_of(const struct search *search, const struct block_pointer *at)
{
	struct dva dva = dva_unpack(at->dva);
	const struct segment *segment = alloc_segment(search->alloc, dva.segment);
	const struct batch_index *batch = segment ? alloc_batch_find(segment, dva.base + dva.offset % dva.height) : NULL;

	return batch && search->batches->count ?
		       bsearch(batch, search->batches->items, search->batches->count, sizeof(*batch), compare_lost) :
		       NULL;
}

static int wanted(void *argument, const struct block_pointer *pointer, const struct block_pointer *at, const struct block_owner *owner)
{
	struct search *search = argument;
	struct store_known_block block = { .pointer = *at, .owner = owner ? *owner : (struct block_owner){ 0 } };
	const struct batch_index *lost = lost_batch_of(search, at), *chunk = search->chunk.items;

	if (search->job->cancel_requested)
		return -ECANCELED;
	if (at->dva != pointer->dva || at->place != pointer->place) {
		block.identity_dva = pointer->dva;
		block.identity_place = pointer->place;
	}
	if (lost && lost >= chunk && lost < chunk + search->chunk.count && array_push(&search->found, &block) < 0)
		return -ENOMEM;
	return search->first && (search->job->deep || lost);
}

static void damaged(void *argument, const struct block_pointer *pointer, const struct block_pointer *at, const struct block_owner *owner)
{
	struct search *search = argument;
	struct dva dva = dva_unpack(at->dva);
	bool moved = at->dva != pointer->dva || at->place != pointer->place;
	struct summary_block block = {
		.column = (uint8_t)(dva.offset / dva.height),
		.row = (uint16_t)(dva.base + dva.offset % dva.height),
		.psect = pointer->psect,
		.flags = moved ? SUMMARY_RELOCATED : 0,
		.type = pointer->type,
		.identity_dva = moved ? pointer->dva : 0,
		.identity_place = moved ? pointer->place : 0,
		.level = owner->level,
		.objset = owner->objset,
		.object = owner->object,
		.block = owner->block,
	};
	struct job_damage damage = { .segment = dva.segment, .row = block.row, .column = block.column, .place = at->place,
				     .dva = at->dva, .block = &block };

	search->lost++;
	if (search->told.count &&
	    bsearch(&at->dva, search->told.items, search->told.count, sizeof(uint64_t), compare_addresses))
		return;
	search->job->errors_found++;
	search->job->cells_unrepaired++;
	if (search->host->damage)
		search->host->damage(search->host->argument, &damage);
}

static void tell(const struct search *search, const char *text)
{
	if (search->host->event)
		search->host->event(search->host->argument, search->job, text);
}

/* Batches come in the order of segments: the first is named. */
static void tell_lost_summaries(const struct search *search)
{
	const struct batch_index *first = array_at(search->batches, struct batch_index, 0);
	char text[256];

	snprintf(text, sizeof(text), "%zu summaries can't be read (the first: segment %u, txg %llu): %s", search->batches->count,
		 dva_unpack(first->summary_dva).segment, (unsigned long long)first->txg,
		 search->host->verify ? "the blocks beside them are looked for in all trees" : "what is lost beside them isn't known");
	tell(search, text);
}

static int walk(struct search *search)
{
	struct verify_hooks hooks = { .argument = search, .wanted = wanted, .damaged = search->first ? damaged : NULL };
	struct verify_result *result = calloc(1, sizeof(*result));
	int status = result ? 0 : -ENOMEM;

	if (status == 0)
		status = search->host->verify(search->host->argument, search->job,
					      search->job->deep && search->first ? VERIFY_DEEP : VERIFY_BLOCKS, &hooks, result);
	if (status == 0 && search->first) {
		/* More than the blocks that were told: nodes that make no sense, or can't be read and weren't looked for. */
		uint64_t more = result->damaged_blocks > search->lost ? result->damaged_blocks - search->lost : 0;
		search->job->errors_found += result->violations + more;
		search->job->cells_unrepaired += more;
	}
	free(result);
	return status;
}

/* As many of the batches from `from` on as have no more cells than may be remembered, but one at least. */
static void next_chunk(struct search *search, size_t from)
{
	size_t count = 0, cells = 0, max = search->host->blocks_max ? search->host->blocks_max : BLOCKS_MAX;

	search->chunk = *search->batches;
	for (; from + count < search->batches->count; count++) {
		const struct batch_index *batch = array_at(search->batches, struct batch_index, from + count);
		const struct segment *segment = alloc_segment(search->alloc, dva_unpack(batch->summary_dva).segment);
		cells += (size_t)batch->rows * (segment ? segment->record.k : 1u);
		if (count && cells > max)
			break;
	}
	if (search->chunk.count)
		search->chunk.items = array_at(search->batches, struct batch_index, from);
	search->chunk.count = count;
	array_clear(&search->found);
}

int scrub_owners(struct job *job, const struct job_host *host, struct array *lost_batches, struct array *ret_segments)
{
	struct search search = { .job = job, .host = host, .alloc = store_alloc(host->store), .batches = lost_batches, .first = true };
	size_t done = 0;
	int status;

	if (lost_batches->count) {
		tell_lost_summaries(&search);
		qsort(lost_batches->items, lost_batches->count, sizeof(struct batch_index), compare_lost);
	}
	if (!host->verify || (!job->deep && !lost_batches->count))
		return 0;
	if (job->told && job->told->count) {
		search.told = *job->told;
		qsort(search.told.items, search.told.count, sizeof(uint64_t), compare_addresses);
	}
	array_init(&search.found, sizeof(struct store_known_block));
	do {
		next_chunk(&search, done);
		status = walk(&search);
		if (status == 0)
			status = scrub_remake_summaries(job, host, &search.chunk, &search.found, ret_segments);
		done += search.chunk.count;
		search.first = false;
	} while (status == 0 && done < lost_batches->count);
	array_release(&search.found);
	return status;
}

static int check_summaries(struct job *job, const struct job_host *host, struct segment *segment, const struct segment_plan *plan,
			   struct array *lost)
{
	int status = 0, at = -1;

	for (size_t i = 0; i < plan->pieces.count && status == 0; i++) {
		const struct row_piece *piece = array_at(&plan->pieces, struct row_piece, i);
		const struct batch_index *batch = array_at(&plan->batches, struct batch_index, piece->batch);
		struct summary_entry *summary = NULL;
		if (piece->batch == at)
			continue;
		at = piece->batch;
		status = job->cancel_requested ? -ECANCELED : summary_get(host->store, segment, piece->row, &summary);
		summary_put(host->store, summary);
		if (status == -POOL_EDAMAGED || status == -ENOENT)
			status = batch_is_gone(host->store, segment->id, batch) ? 0 : array_push(lost, batch);
	}
	return status;
}

int scrub_lost_before(struct job *job, const struct job_host *host, uint32_t end, struct array *lost)
{
	struct alloc *alloc = store_alloc(host->store);
	int status = 0;

	for (uint32_t id = 0; id < end && id < alloc_segment_count(alloc) && status == 0; id++) {
		struct segment *segment = alloc_segment(alloc, id);
		struct segment_plan *plan = segment_has_content(segment) ? malloc(sizeof(*plan)) : NULL;
		if (!segment_has_content(segment))
			continue;
		if (!plan)
			return -ENOMEM;
		alloc_pin(segment);
		status = plan_make(alloc, segment, host->committed(host->argument), NULL, plan);
		if (status == 0)
			status = check_summaries(job, host, segment, plan, lost);
		plan_release(plan);
		alloc_unpin(alloc, segment);
		free(plan);
	}
	return status;
}
