/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Several processes that change one small tree at random, all at once: names, links, directories, content, attributes.
 *
 * usage: test_fuse_stress FOLDER PROCESSES SECONDS SEED
 *        test_fuse_stress --check FOLDER
 *
 * Nobody knows what the tree will be; but no call may fail for another reason than that somebody else was faster, and each eight
 * bytes of a file are zeroes, or say what file they were written to and at which offset. --check reads all of a tree that was left,
 * whatever has happened to it.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define FOLDERS   6u
#define NAMES     12u
#define SIZE_MAX_ (1u << 20)
#define PIECE_MAX (64u << 10)
#define WORD      8u

static uint64_t state;
static unsigned long calls, done;

static uint32_t below(uint32_t end)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(state >> 33) % end;
}

static void __attribute__((noreturn, format(printf, 1, 2))) fail(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vfprintf(stderr, format, list);
	va_end(list);
	fputc('\n', stderr);
	_exit(1);
}

/* In a tree that others change, these are no failures. */
static bool is_race(int code)
{
	static const int races[] = { ENOENT, EEXIST, ENOTEMPTY, ENOTDIR, EISDIR, ELOOP, EINVAL, ENODATA, EBUSY };

	for (size_t i = 0; i < sizeof(races) / sizeof(races[0]); i++)
		if (races[i] == code)
			return true;
	return false;
}

static long judge(long result, const char *call, const char *path)
{
	calls++;
	done += result >= 0;
	if (result < 0 && !is_race(errno))
		fail("%s %s: %s", call, path, strerror(errno));
	return result;
}

/* There are kinds of files with which it can't be done. */
static void may_not(long result, const char *call, const char *path)
{
	if (result >= 0 || errno != EPERM)
		judge(result, call, path);
}

/* A name in the root, or in a folder of it, or in a folder of that. */
static void choose(char *ret_path)
{
	unsigned depth = below(3);
	int length = 0;

	for (unsigned i = 0; i < depth; i++)
		length += sprintf(ret_path + length, "d%u/", below(FOLDERS));
	sprintf(ret_path + length, "%c%u", below(4) ? 'f' : 'd', below(below(2) ? NAMES : FOLDERS));
}

static uint64_t stamp(uint64_t inode, uint64_t offset)
{
	return (inode * 0x9E3779B97F4A7C15u) ^ (offset + 1);
}

static void check_bytes(const char *path, uint64_t inode, uint64_t offset, const uint64_t *words, size_t length)
{
	for (size_t i = 0; i < length / WORD; i++)
		if (words[i] && words[i] != stamp(inode, offset + i * WORD))
			fail("%s, inode %llu: %llx at %llu", path, (unsigned long long)inode, (unsigned long long)words[i],
			     (unsigned long long)(offset + i * WORD));
}

static uint64_t words[PIECE_MAX / WORD];

static void write_piece(int file, const char *path, uint64_t inode)
{
	uint64_t offset = below(SIZE_MAX_ / WORD) * WORD;
	size_t length = (1 + below(PIECE_MAX / WORD)) * WORD;

	for (size_t i = 0; i < length / WORD; i++)
		words[i] = stamp(inode, offset + i * WORD);
	judge(pwrite(file, words, length, (off_t)offset), "write", path);
}

static void read_piece(int file, const char *path, uint64_t inode)
{
	uint64_t offset = below(SIZE_MAX_ / WORD) * WORD;
	long length = judge(pread(file, words, (1 + below(PIECE_MAX / WORD)) * WORD, (off_t)offset), "read", path);

	if (length > 0)
		check_bytes(path, inode, offset, words, (size_t)length);
}

/* Through a mapping, which may end before what is touched of it: then another process has made the file shorter. */
static void map_piece(int file, const char *path, uint64_t inode)
{
	uint64_t offset = below(SIZE_MAX_ >> 12) << 12;
	size_t length = 4096;
	uint64_t *map = mmap(NULL, length, PROT_READ, MAP_SHARED, file, (off_t)offset);

	if (map == MAP_FAILED)
		fail("mmap %s: %s", path, strerror(errno));
	/* read(2) from a mapping fails instead of SIGBUS. */
	int pipes[2];
	if (pipe(pipes) < 0)
		fail("pipe: %s", strerror(errno));
	long got = write(pipes[1], map, length);
	if (got > 0 && read(pipes[0], words, (size_t)got) == got)
		check_bytes(path, inode, offset, words, (size_t)got);
	close(pipes[0]);
	close(pipes[1]);
	munmap(map, length);
}

static void file_step(const char *path)
{
	int file = (int)judge(open(path, O_RDWR | O_NONBLOCK | (below(3) ? O_CREAT : 0), 0644), "open", path);
	struct stat stat;

	if (file < 0)
		return;
	if (fstat(file, &stat) < 0)
		fail("fstat %s: %s", path, strerror(errno));
	for (unsigned steps = 1 + below(4); S_ISREG(stat.st_mode) && steps; steps--) {
		uint64_t offset = below(SIZE_MAX_ / WORD) * WORD, length = (1 + below(PIECE_MAX / WORD)) * WORD;

		switch (below(10)) {
		case 0: case 1: case 2: write_piece(file, path, stat.st_ino); break;
		case 3: case 4: read_piece(file, path, stat.st_ino); break;
		case 5: map_piece(file, path, stat.st_ino); break;
		case 6: judge(ftruncate(file, (off_t)offset), "truncate", path); break;
		case 7: judge(fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length), "punch", path); break;
		case 8: judge(fallocate(file, FALLOC_FL_ZERO_RANGE, (off_t)offset, (off_t)length), "zero", path); break;
		default:
			if (below(8) == 0)
				judge(fsync(file), "fsync", path);
			else
				judge(fsetxattr(file, below(2) ? "user.a" : "user.b", words, below(1500), 0), "setxattr", path);
		}
	}
	close(file);
}

static void list(const char *path)
{
	DIR *folder = opendir(path);
	unsigned entries = 0;

	judge(folder ? 0 : -1, "opendir", path);
	for (struct dirent *entry; folder && (entry = readdir(folder));) {
		char below_[4400];
		struct stat stat;

		if (++entries > 2 + 4 * (NAMES + FOLDERS))
			fail("%s has no end", path);
		snprintf(below_, sizeof(below_), "%s/%s", path, entry->d_name);
		judge(lstat(below_, &stat), "lstat", below_);
	}
	if (folder)
		closedir(folder);
}

static void step(void)
{
	char path[64], other[64];

	choose(path);
	choose(other);
	switch (below(16)) {
	case 0: judge(mkdir(path, 0755), "mkdir", path); break;
	case 1: judge(rmdir(path), "rmdir", path); break;
	case 2: judge(unlink(path), "unlink", path); break;
	case 3: case 4: judge(rename(path, other), "rename", path); break;
	case 5: judge(renameat2(AT_FDCWD, path, AT_FDCWD, other, RENAME_EXCHANGE), "exchange", path); break;
	case 6: judge(renameat2(AT_FDCWD, path, AT_FDCWD, other, RENAME_NOREPLACE), "rename", path); break;
	case 7: may_not(link(path, other), "link", path); break; /* directories */
	case 8: judge(symlink(other, path), "symlink", path); break;
	case 9: list(below(2) ? path : "."); break;
	case 10: may_not(removexattr(path, below(2) ? "user.a" : "user.b"), "removexattr", path); break; /* special files */
	case 11: judge(chmod(path, 0644 | below(0200)), "chmod", path); break;
	case 12: judge(mknod(path, S_IFIFO | 0644, 0), "mknod", path); break;
	default: file_step(path); break;
	}
}

static void run(double seconds)
{
	struct timespec now, begin;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	do {
		for (unsigned i = 0; i < 16; i++)
			step();
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((double)(now.tv_sec - begin.tv_sec) + (double)(now.tv_nsec - begin.tv_nsec) / 1e9 < seconds);
	/* Else nothing was tested. */
	if (done < calls / 20)
		fail("of %lu calls only %lu succeeded", calls, done);
	_exit(0);
}

/* ---- what was left ---- */

static unsigned check_tree(const char *path)
{
	DIR *folder = opendir(path);
	unsigned count = 0;

	if (!folder)
		fail("opendir %s: %s", path, strerror(errno));
	for (struct dirent *entry; (entry = readdir(folder));) {
		char name[4400];
		struct stat stat;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
		if (lstat(name, &stat) < 0)
			fail("lstat %s: %s", name, strerror(errno));
		count++;
		if (S_ISDIR(stat.st_mode)) {
			count += check_tree(name);
		} else if (S_ISREG(stat.st_mode)) {
			int file = open(name, O_RDONLY);
			long length;

			if (file < 0)
				fail("open %s: %s", name, strerror(errno));
			for (uint64_t at = 0; (length = pread(file, words, sizeof(words), (off_t)at)) > 0; at += (uint64_t)length)
				check_bytes(name, stat.st_ino, at, words, (size_t)length);
			if (length < 0)
				fail("read %s: %s", name, strerror(errno));
			close(file);
		}
	}
	closedir(folder);
	return count;
}

int main(int count, char **arguments)
{
	int failed = 0;

	if (count == 3 && strcmp(arguments[1], "--check") == 0) {
		printf("%u\n", check_tree(arguments[2]));
		return 0;
	}
	if (count != 5 || chdir(arguments[1]) < 0) {
		fprintf(stderr, "usage: %s FOLDER PROCESSES SECONDS SEED, or --check FOLDER\n", arguments[0]);
		return 2;
	}
	signal(SIGPIPE, SIG_IGN);
	for (int i = 0; i < atoi(arguments[2]); i++) {
		state = (uint64_t)atoll(arguments[4]) * 1000 + (uint64_t)i;
		pid_t child = fork();
		if (child < 0)
			fail("fork: %s", strerror(errno));
		if (child == 0)
			run(atof(arguments[3]));
	}
	for (int status; wait(&status) > 0;)
		failed |= status;
	return failed ? 1 : 0;
}
