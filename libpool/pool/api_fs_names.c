/* SPDX-License-Identifier: BSD-2-Clause */
/* Nodes, their attributes and their names. */
#include <string.h>
#include <sys/stat.h>

#include "libpool/pool/api_fs.h"

static int run_get(struct fs_call *call, struct fs_node *node)
{
	return fs_call_finish(call, node, false);
}

int libpool_fs_get(libpool_fs *fs, uint64_t node, struct libpool_attributes *ret_attributes)
{
	struct fs_call call = {.handle = fs, .node = node};

	return fs_call_attributes(&call, run_get, false, ret_attributes);
}

static int run_hold(struct fs_call *call, struct fs_node *node)
{
	return fs_call_finish(call, node, true);
}

int libpool_fs_hold(libpool_fs *fs, uint64_t node, struct libpool_attributes *ret_attributes)
{
	struct fs_call call = {.handle = fs, .node = node};

	return ret_attributes ? fs_call_attributes(&call, run_hold, false, ret_attributes) : -EINVAL;
}

static int run_forget(struct fs_call *call)
{
	return engine_fs_forget(call->engine_fs, call->node, call->length);
}

int libpool_fs_forget(libpool_fs *fs, uint64_t node, uint64_t count)
{
	struct fs_call call = {.handle = fs, .node = node, .length = count};

	return fs_call(&call, run_forget, false);
}

struct held {
	uint64_t *numbers;
	size_t count;
};

static int run_held(struct fs_call *call)
{
	struct held *held = call->buffer;

	return engine_fs_held(call->engine_fs, &held->numbers, &held->count);
}

int libpool_fs_held(libpool_fs *fs, uint64_t **ret_nodes, size_t *ret_count)
{
	struct held held = {0};
	struct fs_call call = {.handle = fs, .buffer = &held};
	int result = ret_nodes && ret_count ? fs_call(&call, run_held, false) : -EINVAL;

	if (result < 0)
		return result;
	*ret_nodes = held.numbers;
	*ret_count = held.count;
	return 0;
}

/* A node that the call found or made, which the caller holds. */
static int finish_new(struct fs_call *call, struct fs_node *node)
{
	int result = fs_call_finish(call, node, true);

	fs_put(node);
	return result;
}

static int run_lookup(struct fs_call *call, struct fs_node *directory)
{
	struct fs_node *node;
	int result = call->name ? fs_lookup(directory, call->name, strlen(call->name), &node) : fs_parent(directory, &node);

	return result < 0 ? result : finish_new(call, node);
}

int libpool_fs_lookup(libpool_fs *fs, uint64_t directory, const char *name, struct libpool_attributes *ret_attributes)
{
	struct fs_call call = {.handle = fs, .node = directory, .name = name};

	return name && ret_attributes ? fs_call_attributes(&call, run_lookup, false, ret_attributes) : -EINVAL;
}

int libpool_fs_parent(libpool_fs *fs, uint64_t directory, struct libpool_attributes *ret_attributes)
{
	struct fs_call call = {.handle = fs, .node = directory};

	return ret_attributes ? fs_call_attributes(&call, run_lookup, false, ret_attributes) : -EINVAL;
}

static struct fs_time time_in(const struct libpool_time *time)
{
	return (struct fs_time){time->seconds, time->nanoseconds};
}

static int run_set(struct fs_call *call, struct fs_node *node)
{
	const struct libpool_set *from = call->set;
	struct fs_set set = {.what = from->what, .mode = from->mode, .uid = from->uid, .gid = from->gid, .project = from->project,
			     .size = from->length};
	int result;

	set.times[FS_TIME_ACCESS] = time_in(&from->access);
	set.times[FS_TIME_MODIFY] = time_in(&from->modify);
	set.times[FS_TIME_CHANGE] = time_in(&from->change);
	set.times[FS_TIME_BIRTH] = time_in(&from->birth);
	result = fs_set(node, &set);
	return result < 0 ? result : fs_call_finish(call, node, false);
}

_Static_assert((int)LIBPOOL_SET_PROJECT == (int)FS_SET_PROJECT && (int)LIBPOOL_SET_LENGTH == (int)FS_SET_SIZE &&
	       (int)LIBPOOL_SET_BIRTH == (int)FS_SET_BIRTH && (int)LIBPOOL_SET_DROP_SETID == (int)FS_SET_KILL_SETID, "passed on as they are");
#define SET_KNOWN (LIBPOOL_SET_DROP_SETID * 2 - 1)

int libpool_fs_set(libpool_fs *fs, uint64_t node, const struct libpool_set *set, struct libpool_attributes *ret_attributes)
{
	struct libpool_set copy;
	struct fs_call call = {.handle = fs, .node = node, .set = &copy};
	int result = set ? api_options_copy(&copy, sizeof(copy), set) : -EINVAL;

	if (result == 0 && copy.what & ~(uint32_t)SET_KNOWN)
		result = -EINVAL;
	return result < 0 ? result : fs_call_attributes(&call, run_set, true, ret_attributes);
}

static int run_make(struct fs_call *call, struct fs_node *directory)
{
	const struct libpool_new *from = call->options;
	struct fs_new options = {.mode = from->mode, .umask = from->umask, .uid = from->uid, .gid = from->gid,
				 .device_major = from->device_major, .device_minor = from->device_minor, .target = from->target};
	struct fs_node *node;
	int result = call->name ? fs_make(directory, call->name, strlen(call->name), &options, &node) :
			      fs_make_unnamed(call->fs, directory, &options, &node);

	return result < 0 ? result : finish_new(call, node);
}

static int make(libpool_fs *fs, uint64_t directory, const char *name, const struct libpool_new *options,
		struct libpool_attributes *ret_attributes)
{
	struct libpool_new copy;
	struct fs_call call = {.handle = fs, .node = directory, .name = name, .options = &copy};
	int result = options && ret_attributes ? api_options_copy(&copy, sizeof(copy), options) : -EINVAL;

	return result < 0 ? result : fs_call_attributes(&call, run_make, true, ret_attributes);
}

int libpool_fs_make(libpool_fs *fs, uint64_t directory, const char *name, const struct libpool_new *options,
		    struct libpool_attributes *ret_attributes)
{
	return name ? make(fs, directory, name, options, ret_attributes) : -EINVAL;
}

int libpool_fs_make_unnamed(libpool_fs *fs, uint64_t directory, const struct libpool_new *options, struct libpool_attributes *ret_attributes)
{
	return make(fs, directory, NULL, options, ret_attributes);
}

static int run_link(struct fs_call *call, struct fs_node *node)
{
	struct fs_node *directory;
	int result = fs_get(call->fs, call->other, 0, &directory);

	if (result < 0)
		return result;
	result = fs_link(node, directory, call->name, strlen(call->name));
	fs_put(directory);
	return result < 0 ? result : fs_call_finish(call, node, true);
}

int libpool_fs_link(libpool_fs *fs, uint64_t node, uint64_t directory, const char *name, struct libpool_attributes *ret_attributes)
{
	struct fs_call call = {.handle = fs, .node = node, .other = directory, .name = name};

	return name && ret_attributes ? fs_call_attributes(&call, run_link, true, ret_attributes) : -EINVAL;
}

static int run_remove(struct fs_call *call, struct fs_node *directory)
{
	return (call->mode ? fs_remove_directory : fs_unlink)(directory, call->name, strlen(call->name));
}

int libpool_fs_unlink(libpool_fs *fs, uint64_t directory, const char *name)
{
	struct fs_call call = {.handle = fs, .node = directory, .name = name};

	return name ? fs_call_node(&call, run_remove, true) : -EINVAL;
}

int libpool_fs_rmdir(libpool_fs *fs, uint64_t directory, const char *name)
{
	struct fs_call call = {.handle = fs, .node = directory, .name = name, .mode = 1};

	return name ? fs_call_node(&call, run_remove, true) : -EINVAL;
}

static int run_rename(struct fs_call *call, struct fs_node *from)
{
	struct fs_node *to;
	int result = fs_get(call->fs, call->other, 0, &to);

	if (result < 0)
		return result;
	struct fs_place old_place = {from, call->name, strlen(call->name)};
	struct fs_place new_place = {to, call->new_name, strlen(call->new_name)};
	result = fs_rename(&old_place, &new_place, call->flags);
	fs_put(to);
	return result;
}

_Static_assert((int)LIBPOOL_RENAME_NOREPLACE == (int)FS_RENAME_NOREPLACE && (int)LIBPOOL_RENAME_EXCHANGE == (int)FS_RENAME_EXCHANGE,
	       "passed on as they are");

int libpool_fs_rename(libpool_fs *fs, uint64_t directory, const char *name, uint64_t new_directory, const char *new_name, uint32_t flags)
{
	struct fs_call call = {.handle = fs, .node = directory, .name = name, .other = new_directory, .new_name = new_name, .flags = flags};

	return name && new_name ? fs_call_node(&call, run_rename, true) : -EINVAL;
}

static int run_readlink(struct fs_call *call, struct fs_node *node)
{
	return fs_read_link(node, call->buffer);
}

_Static_assert(LIBPOOL_FS_LINK_MAX == FS_SYMLINK_MAX && LIBPOOL_FS_ROOT == FS_OBJECT_ROOT, "as the layer below");

int libpool_fs_readlink(libpool_fs *fs, uint64_t node, char *ret_target)
{
	struct fs_call call = {.handle = fs, .node = node, .buffer = ret_target};

	return ret_target ? fs_call_node(&call, run_readlink, false) : -EINVAL;
}

/* One entry for the caller; a node that can't be had is told without its attributes. */
static int fill_entry(struct fs_call *call, struct libpool_entry *to, uint64_t cookie, const struct directory_entry *entry)
{
	struct fs_node *node;

	*to = (struct libpool_entry){.size = sizeof(*to), .cookie = cookie, .node = entry->object, .type = (uint32_t)entry->type << 12};
	memcpy(to->name, entry->name, entry->name_length + 1u);
	if (!call->mode || fs_get(call->fs, entry->object, 0, &node) < 0)
		return 0;
	int result = engine_fs_hold(call->engine_fs, node);
	to->held = result == 0;
	fs_attributes_fill(node, &to->attributes);
	fs_put(node);
	return result;
}

static int run_readdir(struct fs_call *call, struct fs_node *directory)
{
	struct directory_entry entry;
	uint64_t cookie = call->offset;
	int result = 0;

	while (call->result < call->length && result == 0) {
		result = fs_next_entry(directory, cookie, &cookie, &entry);
		if (result == 0)
			result = fill_entry(call, &call->entries[call->result], cookie, &entry);
		if (result == 0)
			call->result++;
	}
	if (!call->handle->read_only)
		fs_touch(directory);
	/* What came before an error is the caller's, who meets the error next time. */
	return call->result || result == -ENOENT ? 0 : result;
}

int libpool_fs_readdir(libpool_fs *fs, uint64_t directory, uint64_t cookie, int with_attributes, struct libpool_entry *entries, size_t count)
{
	struct fs_call call = {.handle = fs, .node = directory, .offset = cookie, .mode = with_attributes, .entries = entries,
			       .length = count < 65536 ? count : 65536};
	int result = entries || !count ? fs_call_node(&call, run_readdir, false) : -EINVAL;

	return result < 0 ? result : (int)call.result;
}
