/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * recording-disks FOLDER LOG [fuse options] MOUNTPOINT: the files of a folder, passed through, and in LOG everything that was
 * written to them, in the order in which it happened, with what was made durable and when. From that images can be rebuilt as a power
 * cut would have left them (cuts.py).
 *
 * LOG has entries {kind u16, file u16, flags u32, offset u64, length u64}, little endian; behind a FILE its name, behind a WRITE its
 * data. Of what was begun (WRITE, SYNC) an entry DONE says that it ended well: its offset is the number of that entry. A write with flag
 * 1 (FUA) is durable when it is done.
 *
 * Files are there before it starts; nothing is made, removed, renamed or cut. Its own page cache does no harm: nobody cuts its power.
 */
#define FUSE_USE_VERSION 314
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse3/fuse.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_MAX 64

enum kind { KIND_FILE = 1, KIND_WRITE = 2, KIND_SYNC = 3, KIND_DONE = 4 };
enum { FLAG_FUA = 1 };

struct entry {
	uint16_t kind, file;
	uint32_t flags;
	uint64_t offset, length;
};
_Static_assert(sizeof(struct entry) == 24, "in the log");

static int folder;
static FILE *log_file;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t entries;
static char names[FILES_MAX][256];
static unsigned name_count;

/* Lock held. Its number; the log is all that this program is for, so it ends without it. */
static uint64_t put(struct entry entry, const void *data)
{
	size_t length = entry.kind == KIND_DONE || entry.kind == KIND_SYNC ? 0 : entry.length;

	if (fwrite(&entry, sizeof(entry), 1, log_file) != 1 || (length && fwrite(data, length, 1, log_file) != 1)) {
		perror("recording-disks: the log");
		abort();
	}
	return entries++;
}

static uint64_t note(struct entry entry, const void *data)
{
	pthread_mutex_lock(&lock);
	uint64_t number = put(entry, data);

	pthread_mutex_unlock(&lock);
	return number;
}

static int number_of(const char *name)
{
	unsigned i = 0;

	pthread_mutex_lock(&lock);
	while (i < name_count && strcmp(names[i], name) != 0)
		i++;
	if (i == name_count && i < FILES_MAX) {
		snprintf(names[name_count++], sizeof(names[0]), "%s", name);
		put((struct entry){.kind = KIND_FILE, .file = (uint16_t)i, .length = strlen(name)}, name);
	}
	pthread_mutex_unlock(&lock);
	return i < FILES_MAX ? (int)i : -ENFILE;
}

/* Both halves of a handle: the descriptor, and the number in the log. */
static int descriptor(const struct fuse_file_info *info)
{
	return (int)(info->fh & UINT32_MAX);
}

static uint16_t file_number(const struct fuse_file_info *info)
{
	return (uint16_t)(info->fh >> 32);
}

static int result_of(ssize_t result)
{
	return result < 0 ? -errno : (int)result;
}

static int do_getattr(const char *path, struct stat *status, struct fuse_file_info *info)
{
	(void)info;
	return result_of(fstatat(folder, path[1] ? path + 1 : ".", status, AT_SYMLINK_NOFOLLOW));
}

static int do_readdir(const char *path, void *buffer, fuse_fill_dir_t fill, off_t offset, struct fuse_file_info *info,
		      enum fuse_readdir_flags flags)
{
	int copy = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *directory = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *entry;

	(void)path, (void)offset, (void)info, (void)flags;
	if (!directory)
		return -errno;
	while ((entry = readdir(directory)) != NULL)
		fill(buffer, entry->d_name, NULL, 0, 0);
	closedir(directory);
	return 0;
}

static int do_open(const char *path, struct fuse_file_info *info)
{
	int file = number_of(path + 1), opened = file < 0 ? -1 : openat(folder, path + 1, (info->flags & O_ACCMODE) | O_CLOEXEC);

	if (opened < 0)
		return file < 0 ? file : -errno;
	info->fh = (uint64_t)file << 32 | (uint32_t)opened;
	info->direct_io = 1;
	return 0;
}

static int do_release(const char *path, struct fuse_file_info *info)
{
	(void)path;
	return result_of(close(descriptor(info)));
}

static int do_read(const char *path, char *data, size_t length, off_t offset, struct fuse_file_info *info)
{
	(void)path;
	return result_of(pread(descriptor(info), data, length, offset));
}

static int do_write(const char *path, const char *data, size_t length, off_t offset, struct fuse_file_info *info)
{
	struct entry entry = {.kind = KIND_WRITE, .file = file_number(info), .flags = info->flags & O_DSYNC ? FLAG_FUA : 0,
			      .offset = (uint64_t)offset, .length = length};
	uint64_t number = note(entry, data);
	ssize_t result = pwrite(descriptor(info), data, length, offset);

	(void)path;
	if (result == (ssize_t)length)
		note((struct entry){.kind = KIND_DONE, .file = entry.file, .offset = number}, NULL);
	return result_of(result);
}

static int do_fsync(const char *path, int data_only, struct fuse_file_info *info)
{
	uint64_t number = note((struct entry){.kind = KIND_SYNC, .file = file_number(info)}, NULL);

	(void)path, (void)data_only;
	note((struct entry){.kind = KIND_DONE, .file = file_number(info), .offset = number}, NULL);
	return 0;
}

static void do_destroy(void *data)
{
	(void)data;
	if (fclose(log_file) != 0)
		perror("recording-disks: the log");
}

static const struct fuse_operations operations = {
	.getattr = do_getattr, .readdir = do_readdir, .open = do_open, .release = do_release,
	.read = do_read, .write = do_write, .fsync = do_fsync, .destroy = do_destroy,
};

int main(int count, char **arguments)
{
	if (count < 4) {
		fprintf(stderr, "usage: recording-disks FOLDER LOG [fuse options] MOUNTPOINT\n");
		return 2;
	}
	folder = open(arguments[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	log_file = fopen(arguments[2], "wxe");
	if (folder < 0 || !log_file) {
		fprintf(stderr, "recording-disks: %s: %s\n", arguments[folder < 0 ? 1 : 2], strerror(errno));
		return 1;
	}
	arguments[2] = arguments[0];
	return fuse_main(count - 2, arguments + 2, &operations, NULL);
}
