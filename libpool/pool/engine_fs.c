/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * File systems, and what their users hold.
 *
 * A hold is a handle of a node that belongs to a user outside of the engine, counted by number: what a kernel calls a look-up
 * that it will forget. All are let go when the file system is closed, however that comes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checksum/xxh3.h"
#include "libpool/base/hash_table.h"
#include "libpool/pool/internal.h"
#include "libpool/pool/text.h"

struct hold {
	struct hash_node hash;
	struct hold *next; /* when all are let go */
	struct fs_node *node;
	uint64_t count;
};

struct engine_fs {
	struct fs *fs;
	struct rt *rt;
	struct hash_table holds;
	unsigned lookers; /* who checks it, or asks for a path, while its user has it open */
	struct rt_queue left;
};

static struct hold *find_hold(const struct engine_fs *fs, uint64_t number)
{
	for (struct hash_node *hash = hash_table_first(&fs->holds, hash_u64(number)); hash; hash = hash_table_next(hash)) {
		struct hold *hold = container_of(hash, struct hold, hash);

		if (fs_number(hold->node) == number)
			return hold;
	}
	return NULL;
}

int engine_fs_hold(struct engine_fs *fs, struct fs_node *node)
{
	struct hold *hold = find_hold(fs, fs_number(node));

	if (!hold) {
		hold = calloc(1, sizeof(*hold));
		if (!hold)
			return -ENOMEM;
		hold->node = fs_ref(node);
		hash_table_insert(&fs->holds, &hold->hash, hash_u64(fs_number(node)));
	}
	hold->count++;
	return 0;
}

static void let_go(struct engine_fs *fs, struct hold *hold)
{
	struct fs_node *node = hold->node;

	hash_table_remove(&fs->holds, &hold->hash);
	free(hold);
	fs_put(node); /* waits: nobody must find the hold meanwhile */
}

int engine_fs_forget(struct engine_fs *fs, uint64_t number, uint64_t count)
{
	struct hold *hold = find_hold(fs, number);

	if (!hold || hold->count < count)
		return -EINVAL;
	hold->count -= count;
	if (hold->count == 0)
		let_go(fs, hold);
	return 0;
}

struct numbers {
	uint64_t *numbers;
	size_t count;
};

static void add_number(struct hash_node *hash, void *argument)
{
	struct numbers *numbers = argument;

	numbers->numbers[numbers->count++] = fs_number(container_of(hash, struct hold, hash)->node);
}

int engine_fs_held(struct engine_fs *fs, uint64_t **ret_numbers, size_t *ret_count)
{
	struct numbers numbers = {.numbers = calloc(fs->holds.count + 1, sizeof(*numbers.numbers))};

	if (!numbers.numbers)
		return -ENOMEM;
	hash_table_each(&fs->holds, add_number, &numbers);
	*ret_numbers = numbers.numbers;
	*ret_count = numbers.count;
	return 0;
}

struct fs *engine_fs(const struct engine_fs *fs)
{
	return fs->fs;
}

struct holds {
	struct hash_table *table;
	struct hold *first;
};

static void take_hold(struct hash_node *hash, void *argument)
{
	struct holds *holds = argument;
	struct hold *hold = container_of(hash, struct hold, hash);

	hash_table_remove(holds->table, hash);
	hold->next = holds->first;
	holds->first = hold;
}

struct fs *engine_fs_look(struct engine_fs *fs)
{
	fs->lookers++;
	return fs->fs;
}

void engine_fs_leave(struct engine_fs *fs)
{
	if (--fs->lookers == 0)
		rt_queue_wake_all(fs->rt, &fs->left);
}

void engine_fs_close(struct engine_fs *fs)
{
	struct holds holds = {.table = &fs->holds};

	while (fs->lookers)
		rt_queue_wait(fs->rt, &fs->left);
	hash_table_each(&fs->holds, take_hold, &holds);
	while (holds.first) {
		struct hold *hold = holds.first;
		holds.first = hold->next;
		fs_put(hold->node);
		free(hold);
	}
	hash_table_release(&fs->holds);
	fs_close(fs->fs);
	free(fs);
}

int engine_fs_open(struct engine *engine, const char *name, struct engine_fs **ret_fs, struct pool_error *error)
{
	struct engine_fs *fs = calloc(1, sizeof(*fs));
	int result;

	if (!fs || hash_table_init(&fs->holds, 1024) < 0) {
		free(fs);
		return pool_error_set(error, -ENOMEM, "out of memory");
	}
	fs->rt = engine->rt;
	rt_queue_init(&fs->left);
	result = fs_open(engine->datasets, name, &fs->fs, error);
	if (result < 0) {
		hash_table_release(&fs->holds);
		free(fs);
		return result;
	}
	*ret_fs = fs;
	return 0;
}

const struct dataset_record *engine_fs_record(const struct engine_fs *fs)
{
	return fs_record(fs->fs);
}

/* Of the pool's and the dataset's: the same for ever, and nobody else's. */
static void fs_guid(const struct engine *engine, uint32_t id, uint8_t *ret_guid)
{
	uint8_t number[4] = {(uint8_t)id, (uint8_t)(id >> 8), (uint8_t)(id >> 16), (uint8_t)(id >> 24)};
	struct hash128 hash;

	xxh3_128_context(&core_label(engine->core)->pool, sizeof(struct guid), number, sizeof(number), &hash);
	memcpy(ret_guid, hash.bytes, LIBPOOL_GUID_SIZE);
}

int engine_filesystems(struct engine *engine, struct libpool_fs_info **ret_infos, size_t *ret_count)
{
	struct dataset_record *records;
	struct libpool_fs_info *infos;
	size_t count;
	int result = filesystems_list(engine->datasets, &records, &count);

	if (result < 0)
		return result;
	infos = calloc(count + 1, sizeof(*infos));
	for (size_t i = 0; infos && i < count; i++) {
		const struct dataset_record *record = &records[i];
		struct dataset_space space = {0};

		dataset_space(engine->datasets, record->name, &space);
		infos[i] = (struct libpool_fs_info){
			.size = sizeof(infos[i]),
			.used_bytes = space.used_cells * CELL_SIZE,
			.record_bytes = record->block_shift ? 1u << record->block_shift : 0,
			.created_ns = record->created_ns,
			.open_count = engine_users_of(engine, record->name),
			.referenced_bytes = space.referenced_cells * CELL_SIZE,
			.available_bytes = space.available_cells * CELL_SIZE,
			.quota_bytes = record->quota,
			.refquota_bytes = record->refquota,
			.reservation_bytes = record->reservation,
		};
		fs_guid(engine, record->id, infos[i].guid);
		snprintf(infos[i].name, sizeof(infos[i].name), "%s", record->name);
		compression_format(record->compression_level, infos[i].compression, sizeof(infos[i].compression));
	}
	free(records);
	if (!infos)
		return -ENOMEM;
	*ret_infos = infos;
	*ret_count = count;
	return 0;
}
