/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names and attributes of volumes that are shown as files. Nothing of this is cached by the kernel, as volumes come, go and grow without its doing, so each
 * look-up asks the pool.
 */
#include "fuse-export/volume.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MODE   0600u
#define FOLDER_MODE 0755u

/* ---- nodes ---- */

static void node_init(struct volume_node *node, const char *name, bool is_folder, uint64_t created_ns)
{
	*node = (struct volume_node){.is_folder = is_folder, .created_ns = created_ns, .mode = is_folder ? FOLDER_MODE : FILE_MODE, .uid = getuid(), .gid = getgid()};
	snprintf(node->name, sizeof(node->name), "%s", name);
	node->access.tv_sec = (time_t)(created_ns / UINT64_C(1000000000));
	node->modified_ns = node->changed_ns = created_ns;
}

/* Known already, or new; held once more for the kernel. NULL without memory. */
static struct volume_node *node_hold(struct volumes *volumes, const char *name, bool is_folder, uint64_t created_ns)
{
	struct volume_node *node;

	pthread_mutex_lock(&volumes->lock);
	for (node = volumes->nodes; node; node = node->next)
		if (node->is_folder == is_folder && node->created_ns == created_ns && strcmp(node->name, name) == 0)
			break;
	if (!node && (node = calloc(1, sizeof(*node)))) {
		node_init(node, name, is_folder, created_ns);
		node->next = volumes->nodes;
		volumes->nodes = node;
	}
	if (node)
		node->lookups++;
	pthread_mutex_unlock(&volumes->lock);
	return node;
}

static void node_forget(struct volumes *volumes, struct volume_node *node, uint64_t count)
{
	if (node == &volumes->top)
		return;
	pthread_mutex_lock(&volumes->lock);
	node->lookups -= count;
	if (node->lookups == 0 && !node->is_kept) {
		struct volume_node **link = &volumes->nodes;

		while (*link != node)
			link = &(*link)->next;
		*link = node->next;
		free(node);
	}
	pthread_mutex_unlock(&volumes->lock);
}

int volume_node_info(struct volumes *volumes, const struct volume_node *node, struct libpool_volume_info *ret_info)
{
	int code = libpool_volume_info(volumes->pool, node->name, ret_info, NULL);

	if (code == -ENOENT || (code == 0 && ret_info->created_ns != node->created_ns))
		return -ESTALE;
	return code;
}

/* Of the name and the time of creation: the same whoever asks, and after a restart. */
static uint64_t number_of(const char *name, uint64_t created_ns)
{
	uint64_t number = UINT64_C(14695981039346656037) ^ created_ns;

	for (; *name; name++)
		number = (number ^ (unsigned char)*name) * UINT64_C(1099511628211);
	return number | UINT64_C(1) << 32;
}

static struct timespec time_of(uint64_t ns)
{
	return (struct timespec){.tv_sec = (time_t)(ns / UINT64_C(1000000000)), .tv_nsec = (long)(ns % UINT64_C(1000000000))};
}

/* info NULL: of a folder. */
static void fill(struct volumes *volumes, struct volume_node *node, const struct libpool_volume_info *info, struct stat *ret_stat)
{
	pthread_mutex_lock(&volumes->lock);
	*ret_stat = (struct stat){
		.st_ino = node == &volumes->top ? FUSE_ROOT_ID : number_of(node->name, node->created_ns),
		.st_mode = (node->is_folder ? (mode_t)S_IFDIR : (mode_t)S_IFREG) | node->mode,
		.st_nlink = node->is_folder ? 2 : 1,
		.st_uid = node->uid,
		.st_gid = node->gid,
		.st_blksize = 4096,
		.st_atim = node->access,
		.st_mtim = time_of(node->modified_ns),
		.st_ctim = time_of(node->changed_ns > node->modified_ns ? node->changed_ns : node->modified_ns),
	};
	pthread_mutex_unlock(&volumes->lock);
	if (!info)
		return;
	ret_stat->st_size = (off_t)info->volume_bytes;
	/* What it uses is known as of the last commit. Never 0: tar --sparse would take it for one hole and read nothing. */
	ret_stat->st_blocks = (blkcnt_t)(info->used_bytes / 512 + 8);
	ret_stat->st_blksize = (blksize_t)info->block_bytes;
}

static int get(struct volumes *volumes, struct volume_node *node, struct stat *ret_stat)
{
	struct libpool_volume_info info = LIBPOOL_INIT(libpool_volume_info);
	int code = node->is_folder ? 0 : volume_node_info(volumes, node, &info);

	if (code == 0)
		fill(volumes, node, node->is_folder ? NULL : &info, ret_stat);
	return code;
}

/* ---- look-up ---- */

/* The part of a volume's name that is a name in the folder ("": the top), or NULL: it doesn't lie in it. */
static const char *part_in(const char *volume, const char *folder)
{
	size_t length = strlen(folder);

	if (length == 0)
		return volume;
	return strncmp(volume, folder, length) == 0 && volume[length] == '/' ? volume + length + 1 : NULL;
}

/* Whether any volume lies in it. */
static int folder_check(struct volumes *volumes, const char *name)
{
	struct libpool_volume_info *infos = NULL;
	size_t count = 0;
	int code = libpool_volumes(volumes->pool, &infos, &count);
	bool found = false;

	for (size_t i = 0; code == 0 && i < count && !found; i++)
		found = part_in(LIBPOOL_ELEMENT(libpool_volume_info, infos, i)->name, name) != NULL;
	libpool_free(infos);
	return code == 0 && !found ? -ENOENT : code;
}

static int look_up(struct volumes *volumes, const struct volume_node *folder, const char *part, struct fuse_entry_param *ret_entry,
		   struct volume_node **ret_node)
{
	struct libpool_volume_info info = LIBPOOL_INIT(libpool_volume_info);
	char name[LIBPOOL_NAME_MAX + 1];
	int code, needed = snprintf(name, sizeof(name), "%s%s%s", folder->name, folder->name[0] ? "/" : "", part);

	if (!folder->is_folder)
		return -ENOTDIR;
	if ((size_t)needed >= sizeof(name))
		return -ENOENT;
	code = libpool_volume_info(volumes->pool, name, &info, NULL);
	bool is_folder = code < 0;
	if (is_folder)
		code = folder_check(volumes, name);
	if (code < 0)
		return code;
	*ret_node = node_hold(volumes, name, is_folder, is_folder ? 0 : info.created_ns);
	if (!*ret_node)
		return -ENOMEM;
	*ret_entry = (struct fuse_entry_param){.ino = (uintptr_t)*ret_node};
	fill(volumes, *ret_node, is_folder ? NULL : &info, &ret_entry->attr);
	return 0;
}

static void do_lookup(fuse_req_t request, fuse_ino_t parent, const char *name)
{
	struct volumes *volumes = volumes_of(request);
	struct fuse_entry_param entry;
	struct volume_node *node;
	int code = look_up(volumes, volume_node_of(volumes, parent), name, &entry, &node);

	if (code < 0)
		fuse_reply_err(request, errno_of(code));
	else if (fuse_reply_entry(request, &entry) == -ENOENT)
		node_forget(volumes, node, 1);
}

static void do_forget(fuse_req_t request, fuse_ino_t ino, uint64_t count)
{
	struct volumes *volumes = volumes_of(request);

	node_forget(volumes, volume_node_of(volumes, ino), count);
	fuse_reply_none(request);
}

static void do_forget_multi(fuse_req_t request, size_t count, struct fuse_forget_data *forgets)
{
	struct volumes *volumes = volumes_of(request);

	for (size_t i = 0; i < count; i++)
		node_forget(volumes, volume_node_of(volumes, forgets[i].ino), forgets[i].nlookup);
	fuse_reply_none(request);
}

/* ---- attributes ---- */

static void reply_attributes(fuse_req_t request, int code, const struct stat *stat)
{
	if (code < 0)
		fuse_reply_err(request, errno_of(code));
	else
		fuse_reply_attr(request, stat, 0);
}

static void do_getattr(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *info)
{
	struct volumes *volumes = volumes_of(request);
	struct stat stat;

	(void)info;
	reply_attributes(request, get(volumes, volume_node_of(volumes, ino), &stat), &stat);
}

static void change(struct volumes *volumes, struct volume_node *node, const struct stat *stat, int what)
{
	pthread_mutex_lock(&volumes->lock);
	node->is_kept = true;
	if (what & FUSE_SET_ATTR_MODE)
		node->mode = stat->st_mode & 0777;
	if (what & FUSE_SET_ATTR_UID)
		node->uid = stat->st_uid;
	if (what & FUSE_SET_ATTR_GID)
		node->gid = stat->st_gid;
	if (what & FUSE_SET_ATTR_ATIME_NOW)
		clock_gettime(CLOCK_REALTIME, &node->access);
	else if (what & FUSE_SET_ATTR_ATIME)
		node->access = stat->st_atim;
	if (what & FUSE_SET_ATTR_MTIME_NOW)
		node->modified_ns = ns_now();
	else if (what & FUSE_SET_ATTR_MTIME)
		node->modified_ns = stat->st_mtim.tv_sec < 0 ? 0 : ns_of(&stat->st_mtim);
	node->changed_ns = ns_now();
	pthread_mutex_unlock(&volumes->lock);
}

/* The size is changed by poolctl volume resize, which asks before data is lost. */
static void do_setattr(fuse_req_t request, fuse_ino_t ino, struct stat *stat, int what, struct fuse_file_info *info)
{
	struct volumes *volumes = volumes_of(request);
	struct volume_node *node = volume_node_of(volumes, ino);
	struct stat now;
	int code = get(volumes, node, &now);

	(void)info;
	if (code == 0 && what & FUSE_SET_ATTR_SIZE && stat->st_size != now.st_size)
		code = -EPERM;
	if (code == 0 && what & ~FUSE_SET_ATTR_SIZE) {
		change(volumes, node, stat, what);
		code = get(volumes, node, &now);
	}
	reply_attributes(request, code, &now);
}

/* Of the pool. */
static void do_statfs(fuse_req_t request, fuse_ino_t ino)
{
	struct libpool_pool_info info = LIBPOOL_INIT(libpool_pool_info);
	int code = libpool_pool_info(volumes_of(request)->pool, &info);
	const uint64_t block = 4096;

	(void)ino;
	if (code < 0) {
		fuse_reply_err(request, errno_of(code));
		return;
	}
	struct statvfs figures = {
		.f_bsize = block,
		.f_frsize = block,
		.f_blocks = (info.used_bytes + info.free_bytes) / block,
		.f_bfree = info.free_bytes / block,
		.f_bavail = info.free_bytes / block,
		.f_namemax = LIBPOOL_NAME_MAX,
	};
	fuse_reply_statfs(request, &figures);
}

/* ---- listings ---- */

struct listed {
	char name[LIBPOOL_NAME_MAX + 1];
	struct stat stat; /* number and type */
};

struct listing {
	pthread_mutex_t lock;
	struct listed *entries;
	size_t count;
};

static struct listing *listing_of(const struct fuse_file_info *info)
{
	return (struct listing *)(uintptr_t)info->fh; /* NOLINT: as we gave it */
}

static int compare(const void *a, const void *b)
{
	return strcmp(((const struct listed *)a)->name, ((const struct listed *)b)->name);
}

/* `part` is what is left of the volume's name in the folder. */
static void fill_listed(struct listed *listed, const struct libpool_volume_info *info, const char *part)
{
	size_t length = strcspn(part, "/");
	char name[LIBPOOL_NAME_MAX + 1];

	snprintf(listed->name, sizeof(listed->name), "%.*s", (int)length, part);
	snprintf(name, sizeof(name), "%.*s", (int)((size_t)(part - info->name) + length), info->name);
	listed->stat = (struct stat){.st_mode = part[length] ? S_IFDIR : S_IFREG, .st_ino = number_of(name, part[length] ? 0 : info->created_ns)};
}

/* What is there now, in place of what was listed before. */
static int listing_read(struct volumes *volumes, const struct volume_node *folder, struct listing *listing)
{
	struct libpool_volume_info *infos = NULL;
	struct listed *entries = NULL;
	size_t count = 0, used = 0, kept = 0;
	int code = libpool_volumes(volumes->pool, &infos, &count);

	if (code == 0 && !(entries = calloc(count + 1, sizeof(*entries))))
		code = -ENOMEM;
	for (size_t i = 0; code == 0 && i < count; i++) {
		const struct libpool_volume_info *info = LIBPOOL_ELEMENT(libpool_volume_info, infos, i);
		const char *part = part_in(info->name, folder->name);

		if (part)
			fill_listed(&entries[used++], info, part);
	}
	libpool_free(infos);
	if (code < 0)
		return code;
	qsort(entries, used, sizeof(*entries), compare);
	for (size_t i = 0; i < used; i++)
		if (kept == 0 || strcmp(entries[kept - 1].name, entries[i].name) != 0)
			entries[kept++] = entries[i];
	free(listing->entries);
	listing->entries = entries;
	listing->count = kept;
	return 0;
}

static void do_opendir(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *info)
{
	struct listing *listing = calloc(1, sizeof(*listing));

	(void)ino;
	if (!listing) {
		fuse_reply_err(request, ENOMEM);
		return;
	}
	pthread_mutex_init(&listing->lock, NULL);
	info->fh = (uintptr_t)listing;
	if (fuse_reply_open(request, info) == -ENOENT)
		free(listing);
}

static void do_releasedir(fuse_req_t request, fuse_ino_t ino, struct fuse_file_info *info)
{
	struct listing *listing = listing_of(info);

	(void)ino;
	pthread_mutex_destroy(&listing->lock);
	free(listing->entries);
	free(listing);
	fuse_reply_err(request, 0);
}

/* "." and "..", which have no number that anybody needs, then the entries. */
static size_t list(fuse_req_t request, const struct listing *listing, char *buffer, size_t size, off_t offset)
{
	static const char *const dots[] = {".", ".."};
	size_t used = 0;

	for (size_t i = (size_t)offset; i < listing->count + 2; i++) {
		const struct stat dot = {.st_mode = S_IFDIR, .st_ino = FUSE_ROOT_ID};
		size_t need = i < 2 ? fuse_add_direntry(request, buffer + used, size - used, dots[i], &dot, (off_t)(i + 1)) :
				      fuse_add_direntry(request, buffer + used, size - used, listing->entries[i - 2].name, &listing->entries[i - 2].stat,
							(off_t)(i + 1));

		if (need > size - used)
			break;
		used += need;
	}
	return used;
}

static void do_readdir(fuse_req_t request, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *info)
{
	struct volumes *volumes = volumes_of(request);
	struct listing *listing = listing_of(info);
	char *buffer = malloc(size);
	int code = buffer ? 0 : -ENOMEM;
	size_t used = 0;

	pthread_mutex_lock(&listing->lock);
	if (code == 0 && offset == 0)
		code = listing_read(volumes, volume_node_of(volumes, ino), listing);
	if (code == 0)
		used = list(request, listing, buffer, size, offset);
	pthread_mutex_unlock(&listing->lock);
	/* As soon as this is answered the directory may be closed, and the listing be gone. */
	if (code < 0)
		fuse_reply_err(request, errno_of(code));
	else
		fuse_reply_buf(request, buffer, used);
	free(buffer);
}

/* ---- what isn't done here ---- */

/* poolctl makes, renames and destroys volumes. */
static void refuse_mknod(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode, dev_t device)
{
	(void)parent, (void)name, (void)mode, (void)device;
	fuse_reply_err(request, EPERM);
}

static void refuse_mkdir(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode)
{
	(void)parent, (void)name, (void)mode;
	fuse_reply_err(request, EPERM);
}

static void refuse_symlink(fuse_req_t request, const char *target, fuse_ino_t parent, const char *name)
{
	(void)target, (void)parent, (void)name;
	fuse_reply_err(request, EPERM);
}

static void refuse_link(fuse_req_t request, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	(void)ino, (void)parent, (void)name;
	fuse_reply_err(request, EPERM);
}

static void refuse_name(fuse_req_t request, fuse_ino_t parent, const char *name)
{
	(void)parent, (void)name;
	fuse_reply_err(request, EPERM);
}

static void refuse_rename(fuse_req_t request, fuse_ino_t parent, const char *name, fuse_ino_t new_parent, const char *new_name, unsigned flags)
{
	(void)parent, (void)name, (void)new_parent, (void)new_name, (void)flags;
	fuse_reply_err(request, EPERM);
}

void volume_names_operations(struct fuse_lowlevel_ops *operations)
{
	operations->lookup = do_lookup;
	operations->forget = do_forget;
	operations->forget_multi = do_forget_multi;
	operations->getattr = do_getattr;
	operations->setattr = do_setattr;
	operations->statfs = do_statfs;
	operations->opendir = do_opendir;
	operations->readdir = do_readdir;
	operations->releasedir = do_releasedir;
	operations->mknod = refuse_mknod;
	operations->mkdir = refuse_mkdir;
	operations->symlink = refuse_symlink;
	operations->link = refuse_link;
	operations->unlink = refuse_name;
	operations->rmdir = refuse_name;
	operations->rename = refuse_rename;
}

/* ---- all of them ---- */

static int check_dataset(libpool_pool *pool, const char *dataset, struct libpool_error *error)
{
	struct libpool_fs_info *infos = NULL;
	size_t count = 0;
	int code = libpool_filesystems(pool, &infos, &count);
	bool found = dataset[0] == '\0';

	if (code < 0)
		return mount_fail(error, code, "listing the file systems: %s", libpool_strerror(code));
	for (size_t i = 0; i < count && !found; i++)
		found = strcmp(LIBPOOL_ELEMENT(libpool_fs_info, infos, i)->name, dataset) == 0;
	libpool_free(infos);
	return found ? 0 : mount_fail(error, -ENOENT, "there is no file system %s whose volumes could be shown", dataset);
}

int volumes_new(libpool_pool *pool, const char *dataset, const char *user, struct volumes **ret_volumes, struct libpool_error *error)
{
	int code = check_dataset(pool, dataset, error);
	struct volumes *volumes = code < 0 ? NULL : calloc(1, sizeof(*volumes));

	if (!volumes)
		return code < 0 ? code : mount_fail(error, -ENOMEM, "there is no memory for a mount");
	pthread_mutex_init(&volumes->lock, NULL);
	volumes->pool = pool;
	snprintf(volumes->user, sizeof(volumes->user), "%s", user);
	node_init(&volumes->top, dataset, true, ns_now());
	*ret_volumes = volumes;
	return 0;
}
