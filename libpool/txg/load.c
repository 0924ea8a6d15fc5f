/*
 * From an uberblock to the state in RAM: sysmap, commit block, checkpoint pages, the logs that pages lack, MOS, batch
 * map. Everything read here is verified by the pointer that names it, so what doesn't fit is damage, and
 * the import stops and says where.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/check.h"
#include "libpool/txg/internal.h"

/* A placed system block, as stored (never compressed). */
static int system_read(struct core *core, const struct raw_block_pointer *raw, uint8_t type, struct block_pointer *ret_pointer,
		       struct buffer **ret_buffer)
{
	int status = block_pointer_decode(raw, ret_pointer);

	if (status < 0 || !block_pointer_is_placed(ret_pointer) || ret_pointer->type != type)
		return -POOL_EFORMAT;
	struct block_owner owner = { 0 };
	return block_read(core->blocks, ret_pointer, &owner, BLOCK_READ_NO_INSERT, NULL, NULL, ret_buffer);
}

static int load_pages(struct core *core, const struct commit_block *commit, bool livemap)
{
	struct object *object = livemap ? core->livemap : core->segtab;
	unsigned per_page = livemap ? livemap_page_segments(alloc_geometry(core->alloc)->rows) : SEGTAB_PAGE_RECORDS;
	uint64_t pages = ((uint64_t)commit->segment_count + per_page - 1) / per_page;

	for (uint64_t page = 0; page < pages; page++) {
		struct buffer *buffer;
		int status = blob_read_block(object, page, &buffer);
		if (status == 0 && !buffer)
			continue; /* never written: the logs have all of it */
		if (status == 0) {
			status = alloc_load_page(core->alloc, livemap, page, buffer->data, buffer->size);
			buffer_unref(buffer);
		}
		if (status < 0)
			return status;
	}
	return 0;
}

struct log_image {
	struct log_entry entry;
	struct buffer *buffer; /* the last block */
	size_t records_at;
	uint32_t record_bytes;
};

struct log_scratch {
	struct raw_block_pointer earlier[ALLOC_LOG_BLOCK_MAX / BLOCK_POINTER_SIZE];
	struct alloc_log_previous previous[ALLOC_LOG_PREVIOUS_MAX];
	struct alloc_log_header header;
	const uint8_t *records;
};

static int log_read(struct core *core, uint64_t txg, const struct raw_block_pointer *raw, struct log_scratch *scratch,
		    struct log_image *ret_image)
{
	struct block_pointer pointer;
	struct buffer *buffer;
	int status = system_read(core, raw, TYPE_ALLOC_LOG, &pointer, &buffer);

	if (status < 0)
		return status;
	status = alloc_log_decode(buffer->data, buffer->size, &scratch->header, scratch->earlier, scratch->previous, &scratch->records);
	if (status == 0 && (scratch->header.txg != txg || memcmp(&scratch->header.pool, &core->label->pool, sizeof(struct guid)) != 0 ||
			    scratch->header.part + 1 != scratch->header.part_count))
		status = -POOL_EFORMAT;
	if (status < 0) {
		buffer_unref(buffer);
		return status;
	}
	*ret_image = (struct log_image){ .buffer = buffer, .records_at = (size_t)(scratch->records - buffer->data),
					 .record_bytes = scratch->header.record_bytes };
	ret_image->entry.txg = txg;
	ret_image->entry.last = *raw;
	array_init(&ret_image->entry.earlier, sizeof(struct raw_block_pointer));
	for (uint32_t i = 0; i < scratch->header.earlier_count && status == 0; i++)
		status = array_push(&ret_image->entry.earlier, &scratch->earlier[i]);
	if (status < 0) {
		array_release(&ret_image->entry.earlier);
		buffer_unref(buffer);
	}
	return status;
}

/* Pages are written at the latest 128 txgs after their first change: a chain that goes on and on is a forgery. */
#define LOGS_MAX 1024u

static int log_take(struct core *core, uint64_t txg, const struct raw_block_pointer *raw, struct log_scratch *scratch,
		    struct array *images)
{
	struct log_image image;

	if (images->count == LOGS_MAX)
		return -POOL_EFORMAT;
	int status = log_read(core, txg, raw, scratch, &image);
	if (status < 0)
		return status;
	status = array_push(images, &image);
	if (status < 0) {
		array_release(&image.entry.earlier);
		buffer_unref(image.buffer);
	}
	return status;
}

/* Reads the chain of logs back to the oldest needed; images newest first. */
static int logs_collect(struct core *core, const struct commit_block *commit, struct log_scratch *scratch, struct array *images)
{
	struct raw_block_pointer next = commit->alloc_log;
	uint64_t next_txg = commit->txg;

	for (;;) {
		int status = log_take(core, next_txg, &next, scratch, images);
		if (status < 0)
			return status;
		/* The last image's list names up to 32 older ones; only when it is used up is another block's list needed. */
		struct alloc_log_previous previous[ALLOC_LOG_PREVIOUS_MAX];
		uint32_t count = scratch->header.previous_count;
		memcpy(previous, scratch->previous, sizeof(previous));
		bool more = false;
		for (uint32_t i = 0; i < count; i++) {
			if (previous[i].txg < commit->alloc_log_oldest)
				break;
			if (i + 1 == count) { /* its own list goes on from there */
				next_txg = previous[i].txg;
				next = previous[i].last;
				more = true;
				break;
			}
			status = log_take(core, previous[i].txg, &previous[i].last, scratch, images);
			if (status < 0)
				return status;
		}
		if (!more)
			return 0;
	}
}

static int log_apply(struct core *core, const struct log_image *image, struct log_scratch *scratch, bool recent, bool last)
{
	for (size_t i = 0; i < image->entry.earlier.count; i++) {
		struct block_pointer pointer;
		struct buffer *buffer;
		int status = system_read(core, array_at(&image->entry.earlier, struct raw_block_pointer, i), TYPE_ALLOC_LOG,
					 &pointer, &buffer);
		if (status < 0)
			return status;
		status = alloc_log_decode(buffer->data, buffer->size, &scratch->header, scratch->earlier, scratch->previous,
					  &scratch->records);
		if (status == 0 && (scratch->header.txg != image->entry.txg || scratch->header.part != i ||
				    scratch->header.part_count != UINT32_MAX || scratch->header.earlier_count || scratch->header.previous_count ||
				    memcmp(&scratch->header.pool, &core->label->pool, sizeof(struct guid)) != 0))
			status = -POOL_EFORMAT;
		if (status == 0)
			status = alloc_load_log(core->alloc, image->entry.txg, scratch->records, scratch->header.record_bytes,
						recent, last);
		buffer_unref(buffer);
		if (status < 0)
			return status;
	}
	return alloc_load_log(core->alloc, image->entry.txg, image->buffer->data + image->records_at, image->record_bytes, recent,
			      last);
}

static int load_logs(struct core *core, const struct commit_block *commit)
{
	struct log_scratch *scratch = malloc(sizeof(*scratch));
	struct array images;
	int status = scratch ? 0 : -ENOMEM;

	array_init(&images, sizeof(struct log_image));
	if (status == 0)
		status = logs_collect(core, commit, scratch, &images);
	for (size_t i = images.count; i > 0; i--) {
		struct log_image *image = array_at(&images, struct log_image, i - 1);
		bool recent = image->entry.txg == commit->txg || image->entry.txg == commit->recent_txgs[0] ||
			      image->entry.txg == commit->recent_txgs[1];
		if (status == 0)
			status = log_apply(core, image, scratch, recent, i == 1);
		if (status == 0)
			status = array_push(&core->logs, &image->entry);
		if (status < 0)
			array_release(&image->entry.earlier);
		buffer_unref(image->buffer);
	}
	array_release(&images);
	free(scratch);
	return status;
}

static int load_batch(struct core *core, const uint8_t *key, size_t key_length, const uint8_t *value, size_t value_length)
{
	struct batch_map_entry entry;
	struct block_pointer summary;
	int status = batch_map_decode(key, key_length, value, value_length, &entry);

	if (status == 0)
		status = block_pointer_decode(&entry.summary, &summary);
	if (status < 0)
		return status;
	struct batch_index batch = { .base = entry.base, .rows = entry.rows, .summary_cells = summary.psect, .txg = entry.txg,
				     .summary_dva = summary.dva };
	memcpy(batch.summary_checksum, summary.checksum, 16);
	return alloc_load_batch(core->alloc, entry.segment, &batch);
}

#define LEAF_TRIES 3u

/* Where to go on when the entry at, or with `after` behind, a key can't be read. */
struct map_position {
	uint8_t *key;
	size_t key_length;
	bool after;
	unsigned tries;
};

/*
 * What can't be read is passed over by an import that only looks. If the key's leaf can be read now it is looked at again: what failed
 * was a moment's trouble, or the leaf behind it. -ENOENT: nothing is left.
 */
static int pass_over(struct core *core, int damage, struct map_position *position)
{
	struct tree_range *range = malloc(sizeof(*range));
	int status = range ? 0 : -ENOMEM;

	if (status == 0)
		status = core->read_only ?
				 tree_check_leaf(core->mos_objects[MOS_BATCH_MAP], position->key, position->key_length, range, &damage) :
				 damage;
	if (status == 0 && (damage || ++position->tries > LEAF_TRIES)) {
		core->map_lost += damage || !position->after;
		memcpy(position->key, range->high, range->high_length);
		*position = (struct map_position){ position->key, range->high_length, false, 0 };
		status = range->high_length ? 0 : -ENOENT;
	}
	free(range);
	return status;
}

static int load_batch_map(struct core *core)
{
	struct map_position position = { .key = malloc(OBJECT_KEY_MAX) };
	uint8_t *value = malloc(OBJECT_VALUE_MAX);
	size_t value_length;
	int status = position.key && value ? 0 : -ENOMEM;

	while (status == 0) {
		status = tree_next(core->mos_objects[MOS_BATCH_MAP], position.key, position.key_length, position.after, position.key,
				   &position.key_length, value, &value_length);
		if (status == 0) {
			position.after = true;
			position.tries = 0;
			status = load_batch(core, position.key, position.key_length, value, value_length);
		} else if (status == -POOL_EDAMAGED || status == -POOL_EFORMAT) {
			status = pass_over(core, status, &position);
		}
	}
	free(position.key);
	free(value);
	return status == -ENOENT ? 0 : status;
}

static int load_mos(struct core *core, const struct commit_block *commit)
{
	struct objset_options options = { .id = 0, .data_class = CLASS_META, .metadata_compression = BLOCK_COMPRESS_AUTO,
					  .dirty = core_dirty, .argument = core };
	int status = objset_open(core->rt, core->blocks, &options, &commit->mos, &core->mos);

	return status == 0 ? core_open_mos_objects(core) : status;
}

/*
 * Each segment has a column on a disk that is there, while no more are missing than its parity bears. The size of those that
 * are missing is only what a label says.
 */
static uint32_t segments_bound(const struct core *core)
{
	uint64_t aus = 0, missing_aus = 0;
	unsigned missing = 0;

	for (unsigned i = 0; i < DISKS_MAX; i++) {
		const struct alloc_disk *disk = alloc_disk(core->alloc, i);
		if (!disk || disk->log)
			continue;
		bool is_there = store_disk(core->store, i)->disk != NULL;
		*(is_there ? &aus : &missing_aus) += disk->au_count;
		missing += !is_there;
	}
	return alloc_segments_bound(missing > core->label->m ? aus + missing_aus : aus);
}

int core_load(struct core *core, const struct uberblock *uberblock, struct pool_error *error)
{
	struct commit_block *commit = malloc(sizeof(*commit));
	struct buffer *buffer = NULL;
	const char *step = "memory";
	char too_many[96];
	int status = commit ? 0 : -ENOMEM;

	if (status == 0) {
		step = "sysmap";
		status = alloc_load_limit(core->alloc, segments_bound(core));
		if (status == 0)
			status = sysmap_load(core, uberblock);
	}
	if (status == 0) {
		step = "commit block";
		status = system_read(core, &uberblock->commit, TYPE_COMMIT, &core->commit_pointer, &buffer);
		if (status == 0)
			status = commit_block_decode(buffer->data, commit);
		buffer_unref(buffer);
		if (status == 0 && (commit->txg != uberblock->txg ||
				    memcmp(&commit->pool, &core->label->pool, sizeof(struct guid)) != 0))
			status = -POOL_EFORMAT;
		if (status == 0 && commit->segment_count > segments_bound(core)) {
			snprintf(too_many, sizeof(too_many), "table of %u segments, on disks that can't have held more than %u,",
				 commit->segment_count, segments_bound(core));
			step = too_many;
			status = -POOL_EFORMAT;
		}
		if (status == 0)
			status = alloc_load_limit(core->alloc, commit->segment_count);
	}
	if (status == 0) {
		step = "segment table";
		core->has_commit = true;
		core->segtab_dnode = commit->segtab;
		core->livemap_dnode = commit->livemap;
		status = object_new_bare(core->rt, core->blocks, &commit->segtab, TYPE_SEGTAB, CLASS_SYS, 1, &core->segtab);
	}
	if (status == 0)
		status = load_pages(core, commit, false);
	if (status == 0) {
		step = "live bitmaps";
		status = object_new_bare(core->rt, core->blocks, &commit->livemap, TYPE_LIVEMAP, CLASS_SYS, 2, &core->livemap);
	}
	if (status == 0)
		status = load_pages(core, commit, true);
	if (status == 0) {
		step = "allocation log";
		status = load_logs(core, commit);
	}
	if (status == 0) {
		step = "pool's own objects";
		status = load_mos(core, commit);
	}
	if (status == 0) {
		step = core->read_only ? "batch map" : "batch map (a read-only import does without it)";
		status = load_batch_map(core);
	}
	if (status == 0) {
		step = "allocation state";
		status = alloc_load_finish(core->alloc, commit->sequence, uberblock->txg, &uberblock->final);
	}
	if (status == 0) {
		core->recent_txgs[0] = commit->txg;
		core->recent_txgs[1] = commit->recent_txgs[0];
		core->recent_txgs[2] = commit->recent_txgs[1];
		core->imported_txgs[0] = commit->recent_txgs[1] ? commit->recent_txgs[1] : 1;
		core->imported_txgs[1] = commit->txg;
		core->next_dataset = commit->next_dataset;
		core->committed_txg = commit->txg;
	} else {
		pool_error_set(error, status, "pool %s: its %s as of txg %llu can't be read: %s", core->label->name, step,
			       (unsigned long long)uberblock->txg, pool_error_string(status));
	}
	free(commit);
	return status;
}
