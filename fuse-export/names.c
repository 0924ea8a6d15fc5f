/* SPDX-License-Identifier: BSD-2-Clause */
/* Look-ups, directories, changes of names. */
#include "fuse-export/mount.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/*
 * The kernel asks so for what it doesn't know. What has no name is gone then, though the last thing that it has to say of it may still be on its way, in another thread.
 */
static int hold_named(libpool_fs *fs, uint64_t node, struct libpool_attributes *ret_attributes)
{
	int code = libpool_fs_hold(fs, node, ret_attributes);

	if (code < 0 || ret_attributes->links)
		return code;
	(void)libpool_fs_forget(fs, node, 1);
	return -ESTALE;
}

static void do_lookup(fuse_req_t request, fuse_ino_t parent, const char *name)
{
	struct libpool_attributes attributes = LIBPOOL_INIT(libpool_attributes);
	struct mount *mount = mount_of(request);
	uint64_t directory = node_of(parent);
	int code;

	/* An NFS server names nodes that nobody has looked up since the start, and asks for what is around them. */
	if (strcmp(name, "..") == 0)
		code = libpool_fs_parent(mount->fs, directory, &attributes);
	else if (strcmp(name, ".") == 0)
		code = hold_named(mount->fs, directory, &attributes);
	else
		code = libpool_fs_lookup(mount->fs, directory, name, &attributes);
	if (code == -ENOENT) {
		struct fuse_entry_param none = {.entry_timeout = name_seconds(mount)};

		fuse_reply_entry(request, &none);
		return;
	}
	reply_node(request, code, &attributes);
}

static void do_forget(fuse_req_t request, fuse_ino_t ino, uint64_t count)
{
	if (ino != FUSE_ROOT_ID)
		(void)libpool_fs_forget(mount_of(request)->fs, node_of(ino), count);
	fuse_reply_none(request);
}

static void do_forget_multi(fuse_req_t request, size_t count, struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		if (forgets[i].ino != FUSE_ROOT_ID)
			(void)libpool_fs_forget(mount_of(request)->fs, node_of(forgets[i].ino), forgets[i].nlookup);
	fuse_reply_none(request);
}

/* With the user and the umask of who asks. */
static struct libpool_new new_of(fuse_req_t request, mode_t mode)
{
	const struct fuse_ctx *context = fuse_req_ctx(request);

	return (struct libpool_new){.size = sizeof(struct libpool_new), .mode = mode, .umask = context->umask, .uid = context->uid,
				    .gid = context->gid};
}

static void make(fuse_req_t request, fuse_ino_t parent, const char *name, const struct libpool_new *options)
{
	struct libpool_attributes attributes = LIBPOOL_INIT(libpool_attributes);
	int code = libpool_fs_make(mount_of(request)->fs, node_of(parent), name, options, &attributes);

	reply_node(request, code, &attributes);
}

static void do_mknod(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode, dev_t device)
{
	struct libpool_new options = new_of(request, mode & S_IFMT ? mode : mode | S_IFREG);

	options.device_major = major(device);
	options.device_minor = minor(device);
	make(request, parent, name, &options);
}

static void do_mkdir(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct libpool_new options = new_of(request, (mode & 07777) | S_IFDIR);

	make(request, parent, name, &options);
}

static void do_symlink(fuse_req_t request, const char *target, fuse_ino_t parent, const char *name)
{
	struct libpool_new options = new_of(request, S_IFLNK | 0777);

	options.umask = 0;
	options.target = target;
	make(request, parent, name, &options);
}

static void do_create(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *info)
{
	struct libpool_attributes attributes = LIBPOOL_INIT(libpool_attributes);
	struct libpool_new options = new_of(request, (mode & 07777) | S_IFREG);
	struct mount *mount = mount_of(request);
	struct fuse_entry_param entry;
	int code = libpool_fs_make(mount->fs, node_of(parent), name, &options, &attributes);

	if (code < 0) {
		fuse_reply_err(request, errno_of(code));
		return;
	}
	entry_fill(mount, &attributes, &entry);
	info->keep_cache = 1;
	if (fuse_reply_create(request, &entry, info) == -ENOENT)
		(void)libpool_fs_forget(mount->fs, attributes.node, 1);
}

static void do_link(fuse_req_t request, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct libpool_attributes attributes = LIBPOOL_INIT(libpool_attributes);
	int code = libpool_fs_link(mount_of(request)->fs, node_of(ino), node_of(parent), name, &attributes);

	reply_node(request, code, &attributes);
}

static void do_unlink(fuse_req_t request, fuse_ino_t parent, const char *name)
{
	reply_code(request, libpool_fs_unlink(mount_of(request)->fs, node_of(parent), name));
}

static void do_rmdir(fuse_req_t request, fuse_ino_t parent, const char *name)
{
	reply_code(request, libpool_fs_rmdir(mount_of(request)->fs, node_of(parent), name));
}

static void do_rename(fuse_req_t request, fuse_ino_t parent, const char *name, fuse_ino_t new_parent, const char *new_name, unsigned flags)
{
	uint32_t known = (flags & RENAME_NOREPLACE ? LIBPOOL_RENAME_NOREPLACE : 0u) | (flags & RENAME_EXCHANGE ? LIBPOOL_RENAME_EXCHANGE : 0u);

	if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE)) {
		fuse_reply_err(request, EINVAL);
		return;
	}
	reply_code(request, libpool_fs_rename(mount_of(request)->fs, node_of(parent), name, node_of(new_parent), new_name, known));
}

static void do_readlink(fuse_req_t request, fuse_ino_t ino)
{
	char target[LIBPOOL_FS_LINK_MAX + 1];
	int code = libpool_fs_readlink(mount_of(request)->fs, node_of(ino), target);

	if (code < 0)
		fuse_reply_err(request, errno_of(code));
	else
		fuse_reply_readlink(request, target);
}

static void do_opendir(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *info)
{
	(void)ino;
	fuse_reply_open(request, info);
}

/* ---- listings ---- */

#define DOT_COOKIE    1
#define DOTDOT_COOKIE 2 /* entries come behind it */
#define BATCH         64

struct listing {
	fuse_req_t request;
	struct mount *mount;
	uint64_t directory;
	bool plus;
	char *buffer;
	size_t size, used;
};

/* Whether it had room. */
static bool add(struct listing *listing, const char *name, const struct fuse_entry_param *entry, off_t cookie)
{
	char *at = listing->buffer + listing->used;
	size_t room = listing->size - listing->used;
	size_t need = listing->plus ? fuse_add_direntry_plus(listing->request, at, room, name, entry, cookie) :
				      fuse_add_direntry(listing->request, at, room, name, &entry->attr, cookie);

	if (need > room)
		return false;
	listing->used += need;
	return true;
}

/* "." and "..": their numbers, and no look-up. */
static bool add_dots(struct listing *listing, off_t *offset)
{
	struct libpool_attributes parent = LIBPOOL_INIT(libpool_attributes);
	struct fuse_entry_param entry = {.attr = {.st_mode = S_IFDIR}};

	if (*offset < DOT_COOKIE) {
		entry.attr.st_ino = listing->directory;
		if (!add(listing, ".", &entry, DOT_COOKIE))
			return false;
		*offset = DOT_COOKIE;
	}
	if (*offset < DOTDOT_COOKIE) {
		entry.attr.st_ino = listing->directory;
		if (libpool_fs_parent(listing->mount->fs, listing->directory, &parent) == 0) {
			entry.attr.st_ino = parent.node;
			(void)libpool_fs_forget(listing->mount->fs, parent.node, 1);
		}
		if (!add(listing, "..", &entry, DOTDOT_COOKIE))
			return false;
		*offset = DOTDOT_COOKIE;
	}
	return true;
}

static void entry_of(const struct mount *mount, const struct libpool_entry *from, struct fuse_entry_param *ret_entry)
{
	if (from->held) {
		entry_fill(mount, &from->attributes, ret_entry);
		return;
	}
	*ret_entry = (struct fuse_entry_param){0}; /* without a look-up */
	ret_entry->attr.st_ino = from->node;
	ret_entry->attr.st_mode = from->type;
}

/* One batch; false when the buffer is full, nothing is left, or at an error, which is in *ret_code if nothing was listed. */
static bool add_batch(struct listing *listing, struct libpool_entry *entries, off_t *offset, int *ret_code)
{
	int count = libpool_fs_readdir(listing->mount->fs, listing->directory, (uint64_t)*offset, listing->plus, entries, BATCH);
	bool room = true;

	if (count < 0)
		*ret_code = count;
	for (int i = 0; i < count; i++) {
		struct fuse_entry_param entry;

		entry_of(listing->mount, &entries[i], &entry);
		room = room && add(listing, entries[i].name, &entry, (off_t)entries[i].cookie);
		if (room)
			*offset = (off_t)entries[i].cookie;
		else if (entries[i].held)
			(void)libpool_fs_forget(listing->mount->fs, entries[i].node, 1);
	}
	return room && count > 0;
}

static void list(fuse_req_t request, fuse_ino_t ino, size_t size, off_t offset, bool plus)
{
	struct listing listing = {.request = request, .mount = mount_of(request), .directory = node_of(ino), .plus = plus, .size = size};
	struct libpool_entry *entries = calloc(BATCH, sizeof(*entries));
	int code = 0;

	listing.buffer = malloc(size);
	if (!entries || !listing.buffer)
		code = -ENOMEM;
	else if (add_dots(&listing, &offset))
		while (add_batch(&listing, entries, &offset, &code))
			;
	if (code < 0 && !listing.used)
		fuse_reply_err(request, errno_of(code));
	else
		fuse_reply_buf(request, listing.buffer, listing.used);
	free(listing.buffer);
	free(entries);
}

static void do_readdir(fuse_req_t request, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *info)
{
	(void)info;
	list(request, ino, size, offset, false);
}

static void do_readdirplus(fuse_req_t request, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *info)
{
	(void)info;
	list(request, ino, size, offset, true);
}

static void do_releasedir(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *info)
{
	(void)ino, (void)info;
	fuse_reply_err(request, 0);
}

void names_operations(struct fuse_lowlevel_ops *operations)
{
	operations->lookup = do_lookup;
	operations->forget = do_forget;
	operations->forget_multi = do_forget_multi;
	operations->mknod = do_mknod;
	operations->mkdir = do_mkdir;
	operations->symlink = do_symlink;
	operations->create = do_create;
	operations->link = do_link;
	operations->unlink = do_unlink;
	operations->rmdir = do_rmdir;
	operations->rename = do_rename;
	operations->readlink = do_readlink;
	operations->opendir = do_opendir;
	operations->readdir = do_readdir;
	operations->readdirplus = do_readdirplus;
	operations->releasedir = do_releasedir;
}
