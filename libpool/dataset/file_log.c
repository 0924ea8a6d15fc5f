/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * File systems and the intent log. What a program does all day to a file that is there, writing within it and at its end, has records: the bytes, and the
 * inode. Everything else, above all changes of names, has none: then a sync is a commit, and what comes after it can be logged again.
 *
 * What must always hold: a group has all changes of a file system that no commit contains, or none of them. So a txg in which something was changed that has
 * no record is never logged from then on, and what a file system has changed in the txg under way is waited for. Nothing waits
 * between the first byte of a change and filesystem_file_changed: so a group that is gathered has all of it or nothing. Records that were changed as a whole
 * may lie beside the log, whose group counts only with them.
 */
#include <errno.h>
#include <stdlib.h>

#include "libpool/dataset/internal.h"
#include "libpool/format/inode.h"

#define FILES_MAX 1024u
#define LARGE_SHARE 8u /* of the log: what takes more, or more than LARGE_BYTES, is committed, which writes it once */
#define LARGE_BYTES (UINT64_C(4) << 20)

struct file_change {
	struct hash_node hash; /* by number */
	struct object *object;
	struct array ranges; /* struct byte_range */
};

static struct file_change *find(const struct dataset_files *files, uint64_t number)
{
	for (struct hash_node *hash = files->count ? hash_table_first(&files->table, hash_u64(number)) : NULL; hash; hash = hash_table_next(hash)) {
		struct file_change *change = container_of(hash, struct file_change, hash);
		if (object_number(change->object) == number)
			return change;
	}
	return NULL;
}

static struct file_change *get(struct dataset *dataset, struct dataset_files *files, struct object *object)
{
	struct file_change *change = find(files, object_number(object));

	if (change || files->count == FILES_MAX || (!files->ready && hash_table_init(&files->table, 64) < 0))
		return change;
	files->ready = true;
	change = calloc(1, sizeof(*change));
	/* It is in RAM: this doesn't wait. */
	if (!change || object_open(dataset->objset, object_number(object), &change->object) < 0) {
		free(change);
		return NULL;
	}
	array_init(&change->ranges, sizeof(struct byte_range));
	hash_table_insert(&files->table, &change->hash, hash_u64(object_number(object)));
	files->count++;
	return change;
}

static void drop(struct hash_node *hash, void *argument)
{
	struct dataset_files *files = argument;
	struct file_change *change = container_of(hash, struct file_change, hash);

	hash_table_remove(&files->table, hash);
	object_close(change->object);
	array_release(&change->ranges);
	free(change);
}

void dataset_files_forget(struct dataset *dataset, uint64_t txg)
{
	struct dataset_files *files = &dataset->files[txg & 1];

	if (files->ready) {
		hash_table_each(&files->table, drop, files);
		hash_table_release(&files->table);
	}
	*files = (struct dataset_files){ 0 };
}

void filesystem_changed(struct dataset *dataset, uint64_t txg)
{
	dataset->unlogged_txg = txg;
	dataset_files_forget(dataset, txg);
	/* Somebody waits for a group that would have had what came before this. */
	if (dataset->wanted_txg == txg)
		core_changed_unloggable(dataset->owner->core, txg);
}

void filesystem_file_changed(struct dataset *dataset, uint64_t txg, struct object *object, uint64_t offset, uint64_t length)
{
	struct dataset_files *files = &dataset->files[txg & 1];

	if (dataset->unlogged_txg == txg)
		return;
	struct file_change *change = dataset_is_logged(dataset) ? get(dataset, files, object) : NULL;
	if (!change || (length && byte_ranges_add(&change->ranges, offset, offset + length) < 0)) {
		filesystem_changed(dataset, txg);
		return;
	}
	files->bytes += length + 2 * INTENT_RECORD_SIZE + DNODE_BONUS_MAX;
	if (files->bytes > LARGE_BYTES) /* a sync would commit it: what has changed need not be kept any longer */
		filesystem_changed(dataset, txg);
}

int filesystem_flush(struct dataset *dataset)
{
	struct core *core = dataset->owner->core;
	uint64_t newest = core_open_txg(core); /* what is changed while this waits isn't asked for */

	for (;;) {
		uint64_t open = core_open_txg(core), committed = core_committed_txg(core);
		const struct dataset_files *files = &dataset->files[open & 1];

		if (core_read_only(core) || committed >= newest)
			return 0;
		if (dataset->unlogged_txg == open || !dataset_is_logged(dataset) ||
		    (core_log_capacity(core) && files->bytes > core_log_capacity(core) / LARGE_SHARE))
			return core_commit(core);
		if (dataset->unlogged_txg > committed || (dataset->files[(open - 1) & 1].count && open - 1 > committed)) {
			int status = core_wait_committed(core, open - 1);
			if (status < 0)
				return status;
			continue;
		}
		if (files->count && dataset->wanted_txg != open) {
			dataset->wanted_txg = open;
			core_changed(core, open, files->bytes);
		}
		return core_flush(core);
	}
}

/* ---- gathering ---- */

struct gathering_files {
	struct gathering content;
	int status;
};

/* The inode first: whoever makes the changes again sees by it that it is the same file. What lies beside the log is named behind all inodes. */
static void gather_file(struct hash_node *hash, void *argument)
{
	struct gathering_files *files = argument;
	struct file_change *change = container_of(hash, struct file_change, hash);
	struct intent_record inode = files->content.record;
	struct dnode dnode;

	if (files->status < 0)
		return;
	object_info(change->object, &dnode);
	inode.type = INTENT_INODE;
	inode.object = object_number(change->object);
	inode.offset = dnode.generation;
	inode.size = dnode.bonus_length;
	inode.content = dnode.bonus;
	files->status = dnode.kind == DNODE_FREE ? -POOL_EFORMAT : core_log_add(files->content.group, &inode);
	files->content.object = change->object;
	if (files->status == 0)
		files->status = gather_content(&files->content, &change->ranges);
}

int dataset_files_gather(struct dataset *dataset, uint64_t txg, struct intent_group *group)
{
	struct dataset_files *files = &dataset->files[txg & 1];
	struct gathering_files gathering = { .content = { .group = group, .record = { .objset = dataset->record.id, .txg = txg } } };

	if (dataset->wanted_txg != txg)
		return 0;
	dataset->wanted_txg = 0;
	if (files->count)
		hash_table_each(&files->table, gather_file, &gathering);
	dataset_files_forget(dataset, txg);
	return gathering.status;
}

/* ---- replay ---- */

static bool is_inode(const void *bonus, size_t length, struct object_owner_ids *ret_owner)
{
	bool inode;

	return object_owner_decode(bonus, length, ret_owner, &inode) && inode;
}

static int apply_inode(struct dataset *dataset, uint64_t txg, struct object *object, const struct dnode *dnode, const struct intent_record *record)
{
	struct object_owner_ids owner;

	if (dnode->generation != record->offset || !is_inode(record->content, record->size, &owner))
		return -POOL_EFORMAT;
	/* Without rows none of them change. */
	int status = dataset->owners && !core_read_only(dataset->owner->core) ? filesystem_check_owner(dataset, &owner) : 0;
	if (status == 0)
		status = object_check(object);
	return status < 0 ? status : object_set_bonus(object, txg, record->content, record->size);
}

static int apply_content(struct dataset *dataset, uint64_t txg, struct object *object, const struct intent_record *record)
{
	uint64_t block = blob_block_size(object), end = record->offset + record->size;
	uint64_t first = record->offset / block, whole = (record->offset + block - 1) / block, whole_end = end / block;
	int status = 0;

	/* Where parts of blocks are written, and what becomes holes. */
	if (record->content)
		status = blob_check_write(object, first, (end - 1) / block - first + 1);
	else if (whole_end > whole)
		status = blob_check_punch(object, whole, whole_end - whole);
	if (status == 0 && !record->content && record->offset % block)
		status = blob_check_write(object, first, 1);
	if (status == 0 && !record->content && end % block)
		status = blob_check_write(object, whole_end, 1);
	if (status < 0)
		return status;
	object_set_compression(object, dataset->settings[SETTING_COMPRESSION]);
	return record->content ? blob_write(object, txg, record->offset, record->size, record->content) :
				 blob_punch(object, txg, record->offset, record->size);
}

/* Whose inode couldn't be changed. */
static bool is_left_out(const struct dataset *dataset, uint64_t number, size_t *ret_index)
{
	for (size_t i = 0; i < dataset->left_out.count; i++)
		if (*array_at(&dataset->left_out, uint64_t, i) == number) {
			*ret_index = i;
			return true;
		}
	return false;
}

int dataset_files_leave_out(struct dataset *dataset, uint64_t number)
{
	size_t index;

	return is_left_out(dataset, number, &index) ? 0 : array_push(&dataset->left_out, &number);
}

int dataset_files_apply(struct dataset *dataset, uint64_t txg, const struct intent_record *record)
{
	struct object_owner_ids owner;
	struct object *object;
	struct dnode dnode;
	size_t index;

	if (record->type == INTENT_RESIZE)
		return -POOL_EFORMAT;
	/* Bytes behind the end of a file must not come without its new size. */
	bool left_out = is_left_out(dataset, record->object, &index);
	if (left_out && record->type != INTENT_INODE)
		return -POOL_EDAMAGED;
	if (left_out)
		*array_at(&dataset->left_out, uint64_t, index) = *array_at(&dataset->left_out, uint64_t, --dataset->left_out.count);
	int status = object_open(dataset->objset, record->object, &object);

	/* Syncs wait for the commit of a file's creation, and nothing is logged from its end to that commit. */
	if (status < 0)
		return status == -ENOENT ? -POOL_EFORMAT : status;
	object_info(object, &dnode);
	if (!is_inode(dnode.bonus, dnode.bonus_length, &owner))
		status = -POOL_EFORMAT;
	else if (record->type == INTENT_INODE)
		status = apply_inode(dataset, txg, object, &dnode, record);
	else if (dnode.kind != DNODE_BLOB || record->size > FILE_SIZE_MAX || record->offset > FILE_SIZE_MAX - record->size)
		status = -POOL_EFORMAT;
	else
		status = apply_content(dataset, txg, object, record);
	object_close(object);
	return status;
}
