/* SPDX-License-Identifier: BSD-2-Clause */
/* A file system as a whole: made, opened, closed. */
#include "libpool/fs/internal.h"

#include <stdio.h>

struct filling {
	struct rt *rt;
	const struct fs_create_options *options;
};

static int make_super(const struct filling *filling, struct objset *objset, uint64_t txg)
{
	struct object_create_options options = { .number = FS_OBJECT_SUPER, .kind = DNODE_TREE };
	struct fs_super super = { .case_mode = filling->options->case_mode, .normalization = filling->options->normalization };
	uint8_t raw[FS_SUPER_SIZE];
	struct object *object;
	int status = object_create(objset, txg, &options, &object);

	if (status < 0)
		return status;
	rt_env(filling->rt)->ops->random(rt_env(filling->rt), super.hash_key, sizeof(super.hash_key));
	if (!fs_names_are_bytes(&super))
		unicode_version(super.unicode);
	fs_super_encode(&super, raw);
	status = object_set_bonus(object, txg, raw, sizeof(raw));
	object_close(object);
	return status;
}

static int make_root(const struct filling *filling, struct objset *objset, uint64_t txg)
{
	const struct fs_create_options *wanted = filling->options;
	struct object_create_options options = { .number = FS_OBJECT_ROOT, .kind = DNODE_TREE };
	struct inode_record inode = { .mode = S_IFDIR | (wanted->mode ? wanted->mode & 07777u : 0755u), .uid = wanted->uid, .gid = wanted->gid,
				      .links = 2, .changes = 1 };
	uint64_t now = rt_realtime(filling->rt);
	uint8_t raw[INODE_RECORD_SIZE];
	struct object *object;
	int status = object_create(objset, txg, &options, &object);

	if (status < 0)
		return status;
	for (unsigned i = 0; i < FS_TIME_COUNT; i++)
		inode.times[i] = (struct fs_time){ (int64_t)(now / NS_PER_S), (uint32_t)(now % NS_PER_S) };
	inode_encode(&inode, raw);
	status = object_set_bonus(object, txg, raw, sizeof(raw));
	object_close(object);
	return status;
}

static int fill(void *argument, struct objset *objset, uint64_t txg)
{
	struct object_create_options links = { .number = FS_OBJECT_LINKS, .kind = DNODE_TREE };
	struct object *object;
	int status = make_super(argument, objset, txg);

	if (status == 0)
		status = object_create(objset, txg, &links, &object);
	if (status == 0)
		object_close(object);
	return status < 0 ? status : make_root(argument, objset, txg);
}

int fs_create(struct datasets *datasets, const char *name, const struct fs_create_options *options, struct pool_error *error)
{
	struct filling filling = { datasets_rt(datasets), options };

	if (options->case_mode >= FS_CASE_COUNT || options->normalization >= FS_NORMALIZATION_COUNT)
		return pool_error_set(error, -EINVAL, "file system %s: there is no such way to compare names", name);
	return filesystem_create(datasets, name, &options->settings, fill, &filling, error);
}

static int open_objects(struct fs *fs)
{
	struct dnode dnode;
	int status = object_open(fs->objset, FS_OBJECT_SUPER, &fs->super);

	if (status == 0)
		status = object_open(fs->objset, FS_OBJECT_LINKS, &fs->links);
	if (status < 0)
		return status == -ENOENT ? -POOL_EFORMAT : status;
	object_info(fs->super, &dnode);
	return fs_super_decode(dnode.bonus, dnode.bonus_length, &fs->record);
}

int fs_peek(struct datasets *datasets, const char *name, struct fs_super *ret_super, struct pool_error *error)
{
	struct dataset *dataset;
	struct object *object;
	struct dnode dnode;
	int status = filesystem_open(datasets, name, &dataset, error);

	if (status < 0)
		return status;
	struct core *core = filesystem_core(dataset);
	status = object_open(filesystem_objset(dataset), FS_OBJECT_SUPER, &object);
	if (status == 0) {
		object_info(object, &dnode);
		object_close(object);
		status = fs_super_decode(dnode.bonus, dnode.bonus_length, ret_super);
	}
	filesystem_close(dataset);
	return status < 0 ? pool_error_set(error, status, "file system %s/%s can't be read: %s", core_label(core)->name, name,
					   pool_error_string(status)) : 0;
}

/* What a newer library has named may not be a name here: it can be read, under the names that are, and nothing can be named. */
static int check_version(const struct fs *fs, const char *name, struct pool_error *error)
{
	const uint8_t *known = fs->record.unicode;
	uint8_t own[3];

	unicode_version(own);
	if (fs_names_are_bytes(&fs->record) || memcmp(known, own, sizeof(own)) <= 0 || core_read_only(fs->core))
		return 0;
	return pool_error_set(error, -POOL_EFEATURE,
			      "file system %s/%s has names by Unicode %u.%u.%u, and this version of libpool knows %u.%u.%u: import the pool read-only to read it",
			      core_label(fs->core)->name, name, known[0], known[1], known[2], own[0], own[1], own[2]);
}

bool fs_has_older_names(const struct fs *fs)
{
	uint8_t own[3];

	unicode_version(own);
	return !fs_names_are_bytes(&fs->record) && memcmp(fs->record.unicode, own, sizeof(own)) < 0;
}

int fs_raise_version(struct fs *fs, uint64_t txg)
{
	struct fs_super raised = fs->record;
	uint8_t raw[FS_SUPER_SIZE];

	if (!fs_has_older_names(fs))
		return 0;
	unicode_version(raised.unicode);
	fs_super_encode(&raised, raw);
	int status = object_set_bonus(fs->super, txg, raw, sizeof(raw));
	if (status == 0)
		fs->record = raised;
	return status;
}

/* What had no name at the last end, however that came: handles are gone, so it is freed. */
static int free_unnamed(struct fs *fs)
{
	uint8_t key[OBJECT_KEY_MAX], value[OBJECT_VALUE_MAX];
	size_t key_length = 0, value_length;
	int status = 0;

	for (bool after = false; status == 0; after = true) {
		struct fs_node *node;
		uint64_t number;
		status = tree_next(fs->super, key, key_length, after, key, &key_length, value, &value_length);
		if (status == 0)
			status = number_key_decode(key, key_length, &number);
		if (status < 0)
			break;
		int found = node_get(fs, number, &node);
		if (found == -ENOMEM)
			return found;
		/* One that is damaged stays as it is. */
		if (found == 0)
			fs_put(node);
	}
	return status == -ENOENT ? 0 : status;
}

int fs_open(struct datasets *datasets, const char *name, struct fs **ret_fs, struct pool_error *error)
{
	struct fs *fs = calloc(1, sizeof(*fs));

	if (!fs || hash_table_init(&fs->nodes, 1024) < 0) {
		free(fs);
		return pool_error_set(error, -ENOMEM, "out of memory");
	}
	int status = filesystem_open(datasets, name, &fs->dataset, error);
	if (status < 0) {
		hash_table_release(&fs->nodes);
		free(fs);
		return status;
	}
	fs->core = filesystem_core(fs->dataset);
	fs->rt = core_rt(fs->core);
	fs->objset = filesystem_objset(fs->dataset);
	rt_mutex_init(&fs->names);
	list_init(&fs->lazy);
	if (objset_user(fs->objset)) {
		status = pool_error_set(error, -EBUSY, "file system %s/%s is being checked, as by debug verify: wait until that has ended", core_label(fs->core)->name, name);
	} else {
		objset_set_user(fs->objset, fs);
		status = open_objects(fs);
		bool refused = status == 0 && check_version(fs, name, error) < 0;
		if (status == 0 && !refused && !core_read_only(fs->core))
			status = free_unnamed(fs);
		if (status < 0)
			pool_error_set(error, status, "file system %s/%s can't be opened: %s", core_label(fs->core)->name, name,
				       pool_error_string(status));
		if (status < 0 || refused) {
			fs_close(fs);
			return refused ? -POOL_EFEATURE : status;
		}
		*ret_fs = fs;
		return 0;
	}
	filesystem_close(fs->dataset);
	hash_table_release(&fs->nodes);
	free(fs);
	return status;
}

void fs_close(struct fs *fs)
{
	if (!fs)
		return;
	(void)POOL_CHECK(fs->nodes.count == 0);
	if (fs->super)
		object_close(fs->super);
	if (fs->links)
		object_close(fs->links);
	objset_set_user(fs->objset, NULL);
	filesystem_close(fs->dataset);
	hash_table_release(&fs->nodes);
	free(fs);
}

const struct dataset_record *fs_record(const struct fs *fs)
{
	return filesystem_record(fs->dataset);
}

struct dataset *fs_dataset(const struct fs *fs)
{
	return fs->dataset;
}

const char *fs_dataset_path(const struct fs *fs)
{
	return filesystem_path(fs->dataset);
}

bool fs_is_read_only(const struct fs *fs)
{
	return core_read_only(fs->core) || fs_setting(fs, SETTING_READONLY) == READONLY_ON;
}

int fs_hold_untold(struct fs *fs, const struct core_change *change, uint64_t *ret_txg)
{
	return fs_is_read_only(fs) ? -EROFS : core_hold_change(fs->core, change, ret_txg);
}

int fs_hold(struct fs *fs, uint64_t cells, uint64_t *ret_txg)
{
	struct core_change change = core_change_of(cells);
	int status = fs_hold_untold(fs, &change, ret_txg);

	if (status == 0)
		filesystem_changed(fs->dataset, *ret_txg);
	return status;
}

/* Times of access that wait. */
static void store_all_lazy(struct fs *fs)
{
	struct array nodes;
	uint64_t txg;

	array_init(&nodes, sizeof(struct fs_node *));
	list_for_each(at, &fs->lazy) {
		struct fs_node *node = container_of(at, struct fs_node, lazy);
		if (!node->dying && !node->doomed && array_push(&nodes, &node) == 0)
			fs_ref(node); /* without memory they wait for the next chance */
	}
	for (size_t i = 0; i < nodes.count; i++) {
		struct fs_node *node = *array_at(&nodes, struct fs_node *, i);
		if (guard_node(node) == 0 && core_hold(fs->core, ATTRIBUTE_CELLS, &txg) == 0) {
			(void)node_store(node, txg);
			filesystem_file_changed(fs->dataset, txg, node->object, 0, 0);
			core_release(fs->core, txg);
		}
		fs_put(node);
	}
	array_release(&nodes);
}

int fs_sync(struct fs *fs)
{
	if (fs_setting(fs, SETTING_SYNC) == SYNC_DISABLED)
		return core_halted(fs->core, NULL) ? -POOL_EHALTED : 0;
	if (!core_read_only(fs->core))
		store_all_lazy(fs);
	return filesystem_flush(fs->dataset);
}

int fs_changed(struct fs *fs)
{
	return fs_setting(fs, SETTING_SYNC) == SYNC_ALWAYS ? fs_sync(fs) : 0;
}

void fs_space(struct fs *fs, struct fs_space *ret_space)
{
	struct dataset_space space;

	filesystem_space(fs->dataset, &space);
	*ret_space = (struct fs_space){ .total_bytes = (space.referenced_cells + space.available_cells) * CELL_SIZE,
					.free_bytes = space.available_cells * CELL_SIZE,
					.used_bytes = space.referenced_cells * CELL_SIZE,
					.objects = objset_object_count(fs->objset) };
}
