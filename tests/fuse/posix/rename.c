/* SPDX-License-Identifier: BSD-2-Clause */
/* rename: every type onto every type, in one directory and across two, plain, with NOREPLACE and with EXCHANGE. */
#include "tests/fuse/posix/check.h"

enum { NONE, FILE_, LINK, FIFO, CHARACTER, BLOCK, SOCKET, EMPTY, FULL, KINDS };
static const char *const kind_names[KINDS] = {"nothing", "file", "symlink", "fifo", "character", "block", "socket", "empty", "full"};
static const mode_t types[KINDS] = {0, S_IFREG, S_IFLNK, S_IFIFO, S_IFCHR, S_IFBLK, S_IFSOCK, S_IFDIR, S_IFDIR};

static void make_kind(const char *path, int kind)
{
	char inside[64];

	if (kind == NONE)
		return;
	make(path, types[kind], 0755);
	if (kind == FULL) {
		snprintf(inside, sizeof(inside), "%s/inside", path);
		make(inside, S_IFREG, 0644);
	}
}

static void remove_kind(const char *path)
{
	char inside[64];

	snprintf(inside, sizeof(inside), "%s/inside", path);
	(void)unlink(inside);
	(void)remove(path);
}

static bool is_directory(int kind)
{
	return kind == EMPTY || kind == FULL;
}

static int expected_code(int from, int to, unsigned flags)
{
	if (from == NONE)
		return ENOENT;
	if (flags == RENAME_NOREPLACE && to != NONE)
		return EEXIST;
	if (flags == RENAME_EXCHANGE)
		return to == NONE ? ENOENT : 0;
	if (to == NONE)
		return 0;
	if (is_directory(from) && !is_directory(to))
		return ENOTDIR;
	if (!is_directory(from) && is_directory(to))
		return EISDIR;
	return to == FULL ? ENOTEMPTY : 0;
}

static unsigned subdirectories(const char *path)
{
	return (unsigned)status_of(path).st_nlink - 2;
}

static void is_same(const char *path, const struct stat *before, bool there)
{
	struct stat after;

	EQUAL(there, exists(path));
	if (!there || lstat(path, &after) != 0)
		return;
	EQUAL(before->st_ino, after.st_ino);
	EQUAL(before->st_mode, after.st_mode);
	EQUAL(before->st_nlink, after.st_nlink);
}

static void one(int from, int to, unsigned flags, const char *to_folder)
{
	struct stat from_before = {0}, to_before = {0};
	bool across = strcmp(to_folder, "a") != 0;
	char target[64];
	int code = expected_code(from, to, flags);
	bool exchanged = code == 0 && flags == RENAME_EXCHANGE;

	snprintf(target, sizeof(target), "%s/to", to_folder);
	about("%s to %s, flags %u, %s", kind_names[from], kind_names[to], flags, across ? "across" : "within");
	make_kind("a/from", from);
	make_kind(target, to);
	if (from != NONE)
		from_before = status_of("a/from");
	if (to != NONE)
		to_before = status_of(target);
	FAILS(code, renameat2(AT_FDCWD, "a/from", AT_FDCWD, target, flags));
	if (code == 0) {
		is_same(target, &from_before, true);
		is_same("a/from", &to_before, exchanged);
	} else {
		is_same("a/from", &from_before, from != NONE);
		is_same(target, &to_before, to != NONE);
	}
	bool from_directory = exists("a/from") && S_ISDIR(status_of("a/from").st_mode);
	bool to_directory = exists(target) && S_ISDIR(status_of(target).st_mode);
	EQUAL((unsigned)from_directory + (across ? 0u : (unsigned)to_directory), subdirectories("a"));
	if (across)
		EQUAL(to_directory, subdirectories(to_folder));
	remove_kind("a/from");
	remove_kind(target);
	EQUAL(0, subdirectories("a"));
	EQUAL(0, subdirectories(to_folder));
}

static void matrix(void)
{
	static const unsigned flags[] = {0, RENAME_NOREPLACE, RENAME_EXCHANGE};

	make("a", S_IFDIR, 0755);
	make("b", S_IFDIR, 0755);
	for (int from = 0; from < KINDS; from++)
		for (int to = 0; to < KINDS; to++)
			for (size_t i = 0; i < 3; i++) {
				one(from, to, flags[i], "a");
				one(from, to, flags[i], "b");
			}
}

static void loops(void)
{
	make("a", S_IFDIR, 0755);
	make("a/b", S_IFDIR, 0755);
	make("a/b/c", S_IFDIR, 0755);
	make("f", S_IFREG, 0644);
	FAILS(EINVAL, rename("a", "a/x"));
	FAILS(EINVAL, rename("a", "a/b/x"));
	FAILS(EINVAL, rename("a", "a/b/c/x"));
	FAILS(EINVAL, rename("a", "a/b"));
	FAILS(ENOTEMPTY, rename("a/b/c", "a"));
	FAILS(ENOTEMPTY, rename("a/b", "a"));
	FAILS(EINVAL, renameat2(AT_FDCWD, "a", AT_FDCWD, "a/b", RENAME_EXCHANGE));
	FAILS(EINVAL, renameat2(AT_FDCWD, "a/b/c", AT_FDCWD, "a", RENAME_EXCHANGE));
	FAILS(EINVAL, renameat2(AT_FDCWD, "a", AT_FDCWD, "x", RENAME_NOREPLACE | RENAME_EXCHANGE));
	FAILS(EINVAL, renameat2(AT_FDCWD, "a", AT_FDCWD, "x", 1u << 10));
	FAILS(EBUSY, rename("a/.", "x"));
	FAILS(EBUSY, rename("a/b/..", "x"));
	FAILS(EBUSY, rename("a", "a/b/.."));
	FAILS(ENOTDIR, rename("f/", "x"));
	FAILS(ENOTDIR, rename("f", "x/"));
	OK(rename("a/", "x/"));
	OK(rename("x", "a"));
	/* A directory knows where it is. */
	make("z", S_IFDIR, 0755);
	OK(rename("a/b", "z/b"));
	EQUAL(status_of("z").st_ino, status_of("z/b/..").st_ino);
	EQUAL(3, status_of("z").st_nlink);
	EQUAL(2, status_of("a").st_nlink);
	OK(rename("z/b/c", "a/c"));
	OK(renameat2(AT_FDCWD, "z/b", AT_FDCWD, "a/c", RENAME_EXCHANGE));
	EQUAL(status_of("a").st_ino, status_of("a/c/..").st_ino);
	EQUAL(status_of("z").st_ino, status_of("z/b/..").st_ino);
}

static void names_of_one_file(void)
{
	make("f", S_IFREG, 0644);
	OK(link("f", "g"));
	OK(rename("f", "f"));
	/* POSIX: both names stay. */
	OK(rename("f", "g"));
	CHECK(exists("f") && exists("g"));
	OK(renameat2(AT_FDCWD, "f", AT_FDCWD, "g", RENAME_EXCHANGE));
	FAILS(EEXIST, renameat2(AT_FDCWD, "f", AT_FDCWD, "g", RENAME_NOREPLACE));
	EQUAL(2, status_of("f").st_nlink);
	make("h", S_IFREG, 0644);
	OK(rename("h", "g"));
	EQUAL(1, status_of("f").st_nlink);
	int file = open("g", O_RDONLY);
	OK(file);
	OK(rename("f", "g"));
	struct stat status;
	OK(fstat(file, &status));
	EQUAL(0, status.st_nlink);
	OK(close(file));
	/* A directory that is replaced while it is open: nothing more can be made in it. */
	make("d", S_IFDIR, 0755);
	make("e", S_IFDIR, 0755);
	int folder = open("e", O_RDONLY | O_DIRECTORY);
	OK(rename("d", "e"));
	FAILS(ENOENT, openat(folder, "x", O_CREAT | O_WRONLY, 0644));
	FAILS(ENOENT, mkdirat(folder, "x", 0755));
	OK(fstat(folder, &status));
	EQUAL(0, status.st_nlink);
	OK(close(folder));
}

const struct test rename_tests[] = {{"rename-matrix", matrix}, {"rename-loops", loops}, {"rename-names-of-one-file", names_of_one_file}, {NULL, NULL}};
