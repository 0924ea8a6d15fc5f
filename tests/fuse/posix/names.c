/* SPDX-License-Identifier: BSD-2-Clause */
/* Paths and names: what every call says to bad ones; link, unlink, mkdir, rmdir, symlink, mknod; listings. */
#include "tests/fuse/posix/check.h"

#include <dirent.h>
#include <limits.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

static long do_open(const char *path) { return open(path, O_RDONLY); }
static long do_create(const char *path) { return open(path, O_CREAT | O_EXCL | O_WRONLY, 0644); }
static long do_stat(const char *path) { struct stat status; return stat(path, &status); }
static long do_lstat(const char *path) { struct stat status; return lstat(path, &status); }
static long do_statx(const char *path) { struct statx status; return statx(AT_FDCWD, path, 0, STATX_ALL, &status); }
static long do_mkdir(const char *path) { return mkdir(path, 0755); }
static long do_rmdir(const char *path) { return rmdir(path); }
static long do_unlink(const char *path) { return unlink(path); }
static long do_link_from(const char *path) { return link(path, "new name"); }
static long do_link_to(const char *path) { return link("file", path); }
static long do_symlink(const char *path) { return symlink("x", path); }
static long do_rename_from(const char *path) { return rename(path, "new name"); }
static long do_rename_to(const char *path) { return rename("victim", path); }
static long do_mknod(const char *path) { return mknod(path, S_IFIFO | 0644, 0); }
static long do_chmod(const char *path) { return chmod(path, 0644); }
static long do_chown(const char *path) { return chown(path, (uid_t)-1, (gid_t)-1); }
static long do_truncate(const char *path) { return truncate(path, 0); }
static long do_utimens(const char *path) { return utimensat(AT_FDCWD, path, NULL, 0); }
static long do_access(const char *path) { return access(path, R_OK); }
static long do_chdir(const char *path) { return chdir(path); }
static long do_statvfs(const char *path) { struct statvfs status; return statvfs(path, &status); }
static long do_readlink(const char *path) { char text[16]; return readlink(path, text, sizeof(text)); }
static long do_getxattr(const char *path) { char text[16]; return getxattr(path, "user.x", text, sizeof(text)); }
static long do_setxattr(const char *path) { return setxattr(path, "user.x", "y", 1, 0); }
static long do_listxattr(const char *path) { char text[16]; return listxattr(path, text, sizeof(text)); }
static long do_removexattr(const char *path) { return removexattr(path, "user.x"); }

static const struct call {
	const char *name;
	long (*run)(const char *path);
} calls[] = {
	{"open", do_open}, {"create", do_create}, {"stat", do_stat}, {"lstat", do_lstat}, {"statx", do_statx}, {"mkdir", do_mkdir}, {"rmdir", do_rmdir},
	{"unlink", do_unlink}, {"link from", do_link_from}, {"link to", do_link_to}, {"symlink", do_symlink}, {"rename from", do_rename_from},
	{"rename to", do_rename_to}, {"mknod", do_mknod}, {"chmod", do_chmod}, {"chown", do_chown}, {"truncate", do_truncate},
	{"utimens", do_utimens}, {"access", do_access}, {"chdir", do_chdir}, {"statvfs", do_statvfs}, {"readlink", do_readlink},
	{"getxattr", do_getxattr}, {"setxattr", do_setxattr}, {"listxattr", do_listxattr}, {"removexattr", do_removexattr},
};
#define CALLS (sizeof(calls) / sizeof(calls[0]))

static void every_call(const char *path, int code)
{
	for (size_t i = 0; i < CALLS; i++) {
		about("%s of %.40s...", calls[i].name, path);
		FAILS(code, calls[i].run(path));
	}
	about("%s", "");
}

static void locked(void *argument)
{
	(void)argument;
	every_call("locked/file", EACCES);
	every_call("locked/new", EACCES);
	every_call("locked/folder/x", EACCES);
}

static void bad_paths(void)
{
	char longest[NAME_MAX + 8], path[PATH_MAX + 64];

	make("file", S_IFREG, 0666);
	make("victim", S_IFREG, 0666);
	make("locked", S_IFDIR, 0755);
	make("locked/file", S_IFREG, 0666);
	make("locked/folder", S_IFDIR, 0777);
	OK(chmod("locked", 0));
	OK(chmod(".", 0777));
	every_call("missing/x", ENOENT);
	every_call("", ENOENT);
	every_call("file/x", ENOTDIR);
	every_call("file/x/y", ENOTDIR);
	OK(symlink("loop", "loop"));
	OK(symlink("two", "one"));
	OK(symlink("one", "two"));
	every_call("loop/x", ELOOP);
	every_call("one/x", ELOOP);
	memset(longest, 'n', sizeof(longest));
	longest[NAME_MAX + 1] = 0;
	every_call(longest, ENAMETOOLONG);
	snprintf(path, sizeof(path), "%s/x", longest);
	every_call(path, ENAMETOOLONG);
	for (size_t i = 0; i < sizeof(path); i++)
		path[i] = i % 2 ? '/' : '.';
	path[PATH_MAX] = 0;
	every_call(path, ENAMETOOLONG);
	path[PATH_MAX - 1] = 0; /* one that is just not too long */
	OK(do_stat(path));
	as_user(2000, 2000, locked, NULL);
}

static void long_names(void)
{
	char name[NAME_MAX + 2], other[NAME_MAX + 2];

	for (size_t length = 1; length <= NAME_MAX; length += length < 4 || length >= NAME_MAX - 4 ? 1 : 25) {
		memset(name, 'a', length);
		name[length] = 0;
		memset(other, 'b', length);
		other[length] = 0;
		about("names of %zu bytes", length);
		make(name, S_IFREG, 0644);
		FAILS(EEXIST, do_create(name));
		OK(link(name, other));
		OK(unlink(name));
		OK(rename(other, name));
		OK(unlink(name));
		make(name, S_IFDIR, 0755);
		OK(rename(name, other));
		OK(rmdir(other));
		OK(symlink(other, name));
		EQUAL(length, status_of(name).st_size);
		OK(unlink(name));
	}
	/* Every byte but two may be in a name. */
	for (int byte = 1; byte < 256; byte++) {
		if (byte == '/' || byte == '.')
			continue;
		snprintf(name, sizeof(name), "%c", byte);
		about("the byte %d", byte);
		if (caseless && byte > 127) {
			FAILS(EILSEQ, do_create(name));
			FAILS(EILSEQ, do_lstat(name));
			continue;
		}
		make(name, S_IFREG, 0644);
		CHECK(exists(name));
		OK(unlink(name));
	}
	OK(do_create("..."));
	FAILS(EEXIST, mkdir(".", 0755));
	FAILS(EEXIST, mkdir("..", 0755));
	/* Upper and lower case are different, or they aren't, whatever was looked up or removed before. */
	CHECK(!exists("case"));
	make("Case", S_IFREG, 0644);
	CHECK(exists("case") == caseless);
	CHECK(exists("CASE") == caseless);
	if (caseless) {
		FAILS(EEXIST, mkdir("caSe", 0755));
		OK(unlink("cAse"));
		CHECK(!exists("Case") && !exists("case") && !exists("CASE"));
		make("CASE", S_IFDIR, 0755);
		OK(rename("case", "\u00c4rger"));
		CHECK(!exists("CASE") && exists("\u00e4RGER") && exists("A\u0308rger"));
		OK(rmdir("a\u0308rger"));
		CHECK(!exists("\u00c4rger"));
	}
}

static const mode_t types[] = {S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO, S_IFCHR, S_IFBLK, S_IFSOCK};
#define TYPES (sizeof(types) / sizeof(types[0]))

static void make_and_remove(void)
{
	make("a folder", S_IFDIR, 0755);
	for (size_t i = 0; i < TYPES; i++) {
		mode_t type = types[i];
		about("type %#o", type);
		for (unsigned mode = 0; mode <= 0777; mode += 0111) {
			make("x", type, mode);
			EQUAL(type, status_of("x").st_mode & S_IFMT);
			if (!S_ISLNK(type))
				EQUAL(mode & ~022u, status_of("x").st_mode & 07777);
			EQUAL(S_ISDIR(type) ? 2 : 1, status_of("x").st_nlink);
			EQUAL(0, status_of("x").st_uid);
			if (S_ISCHR(type) || S_ISBLK(type))
				EQUAL(makedev(5, 3), status_of("x").st_rdev);
			FAILS(EEXIST, mkdir("x", 0755));
			FAILS(EEXIST, symlink("y", "x"));
			FAILS(EEXIST, mknod("x", S_IFIFO | 0644, 0));
			FAILS(EEXIST, open("x", O_CREAT | O_EXCL | O_RDWR, 0644));
			FAILS(EEXIST, link("x", "x"));
			FAILS(S_ISDIR(type) ? EPERM : 0, link("x", "y"));
			if (!S_ISDIR(type)) {
				EQUAL(2, status_of("x").st_nlink);
				EQUAL(status_of("x").st_ino, status_of("y").st_ino);
				FAILS(ENOTDIR, rmdir("y"));
				OK(unlink("y"));
				EQUAL(1, status_of("x").st_nlink);
			}
			FAILS(S_ISDIR(type) ? EISDIR : 0, unlink("x"));
			if (S_ISDIR(type))
				OK(rmdir("x"));
			FAILS(ENOENT, unlink("x"));
			FAILS(ENOENT, rmdir("x"));
		}
	}
	FAILS(EEXIST, symlink("x", "a folder"));
	FAILS(EINVAL, rmdir("a folder/."));
	FAILS(ENOTEMPTY, rmdir("a folder/.."));
	for (unsigned count = 1; count <= 40; count++) {
		char name[32];
		snprintf(name, sizeof(name), "a folder/%u", count);
		make(name, S_IFDIR, 0755);
		EQUAL(count + 2, status_of("a folder").st_nlink);
		FAILS(ENOTEMPTY, rmdir("a folder"));
	}
	for (unsigned count = 40; count >= 1; count--) {
		char name[32];
		snprintf(name, sizeof(name), "a folder/%u", count);
		OK(rmdir(name));
		EQUAL(count + 1, status_of("a folder").st_nlink);
	}
	static const struct { unsigned major, minor; } devices[] = {{0, 0}, {1, 3}, {255, 255}, {256, 256}, {4095, 1048575}};
	for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]); i++) {
		dev_t device = makedev(devices[i].major, devices[i].minor);
		OK(mknod("c", S_IFCHR | 0600, device));
		EQUAL(device, status_of("c").st_rdev);
		OK(unlink("c"));
	}
}

static void symlinks(void)
{
	static const size_t lengths[] = {1, 2, 59, 60, 61, 100, 255, 256, 1000, 4094, 4095};
	char target[PATH_MAX + 1], found[PATH_MAX + 1];

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		size_t length = lengths[i];
		if (native && length > 4090)
			continue; /* tmpfs has a page at most, its end included */
		memset(target, 't', length);
		target[length] = 0;
		about("a target of %zu bytes", length);
		OK(symlink(target, "l"));
		EQUAL(length, readlink("l", found, sizeof(found)));
		CHECK(memcmp(found, target, length) == 0);
		EQUAL(length, status_of("l").st_size);
		EQUAL(length < 10 ? length : 10, readlink("l", found, 10));
		OK(unlink("l"));
	}
	memset(target, 't', PATH_MAX);
	target[PATH_MAX] = 0;
	FAILS(ENAMETOOLONG, symlink(target, "l"));
	FAILS(ENOENT, symlink("", "l"));
	make("f", S_IFREG, 0644);
	make("d", S_IFDIR, 0755);
	FAILS(EINVAL, readlink("f", found, 10));
	FAILS(EINVAL, readlink("d", found, 10));
	/* 40 links in a row are followed, no more. */
	OK(symlink("f", "0"));
	for (unsigned i = 1; i <= 41; i++) {
		char name[16], next[16];
		snprintf(name, sizeof(name), "%u", i);
		snprintf(next, sizeof(next), "%u", i - 1);
		OK(symlink(next, name));
		about("%u links in a row", i + 1);
		FAILS(i + 1 <= 40 ? 0 : ELOOP, do_stat(name));
	}
	FAILS(ELOOP, open("0", O_RDONLY | O_NOFOLLOW));
	FAILS(EEXIST, open("0", O_CREAT | O_EXCL | O_RDWR, 0644));
	OK(symlink("made through it", "dangling"));
	OK(open("dangling", O_CREAT | O_WRONLY, 0644));
	CHECK(exists("made through it"));
	OK(symlink("d", "dl"));
	FAILS(ENOTDIR, rmdir("dl"));
	OK(rmdir("d"));
}

static void listing(void)
{
	enum { COUNT = 700 };
	static long cookies[COUNT + 2];
	bool seen[COUNT] = {false};
	char name[64];
	unsigned count = 0, twice = 0;

	make("d", S_IFDIR, 0755);
	for (unsigned i = 0; i < COUNT; i++) {
		snprintf(name, sizeof(name), "d/%u", i);
		make(name, types[i % TYPES], 0755);
	}
	DIR *folder = opendir("d");
	CHECK(folder != NULL);
	struct dirent *entry;
	while (count < COUNT + 2 && (cookies[count] = telldir(folder), (entry = readdir(folder)) != NULL)) {
		count++;
		if (entry->d_name[0] == '.') {
			EQUAL(DT_DIR, entry->d_type);
			EQUAL(entry->d_name[1] ? status_of(".").st_ino : status_of("d").st_ino, entry->d_ino);
			continue;
		}
		unsigned number = (unsigned)atoi(entry->d_name);
		snprintf(name, sizeof(name), "d/%u", number);
		twice += seen[number];
		seen[number] = true;
		EQUAL(IFTODT(types[number % TYPES]), entry->d_type);
		EQUAL(status_of(name).st_ino, entry->d_ino);
	}
	EQUAL(COUNT + 2, count);
	EQUAL(0, twice);
	/* From any place again. */
	for (unsigned i = 0; i < count; i += 13) {
		char first[NAME_MAX + 1], second[NAME_MAX + 1];
		seekdir(folder, cookies[i]);
		entry = readdir(folder);
		snprintf(first, sizeof(first), "%s", entry ? entry->d_name : "");
		seekdir(folder, cookies[i]);
		entry = readdir(folder);
		snprintf(second, sizeof(second), "%s", entry ? entry->d_name : "");
		CHECK(first[0] && strcmp(first, second) == 0);
	}
	/* Removed behind, at and before the place: what stays is listed once. */
	memset(seen, 0, sizeof(seen));
	rewinddir(folder);
	count = 0;
	twice = 0;
	while ((entry = readdir(folder)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		unsigned number = (unsigned)atoi(entry->d_name);
		twice += seen[number];
		seen[number] = true;
		if (number % 2 == 0) {
			snprintf(name, sizeof(name), "d/%u", number);
			(void)remove(name);
			snprintf(name, sizeof(name), "d/%u", (number + 350) % COUNT);
			(void)remove(name);
			seekdir(folder, telldir(folder));
		}
	}
	EQUAL(0, twice);
	for (unsigned i = 1; i < COUNT; i += 2) {
		about("entry %u", i);
		CHECK(seen[i]);
	}
	/* Afresh after a rewind. */
	rewinddir(folder);
	while ((entry = readdir(folder)) != NULL)
		count += entry->d_name[0] != '.';
	EQUAL(COUNT / 2, count);
	OK(closedir(folder));
	FAILS(ENOTDIR, open("d/7", O_RDONLY | O_DIRECTORY));
}

const struct test names_tests[] = {{"bad-paths", bad_paths}, {"long-names", long_names},	{"make-and-remove", make_and_remove},
				   {"symlinks", symlinks},   {"listing", listing}, {NULL, NULL}};
