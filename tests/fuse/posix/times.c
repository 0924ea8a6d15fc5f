/* SPDX-License-Identifier: BSD-2-Clause */
/* Times: nanoseconds, long ago and far ahead, NOW and OMIT, and which of them each call moves; what statx tells. */
#include "tests/fuse/posix/check.h"

#include <sys/xattr.h>
#include <time.h>

static void values(void)
{
	/* Native file systems end somewhere between 2446 and 2514. */
	static const struct timespec times[] = {{0, 0}, {0, 1}, {0, 999999999}, {1, 500000000}, {-1, 0}, {-1, 999999999}, {-2000000000, 123456789},
						{2147483647, 999999999}, {2147483648, 1}, {4294967295, 5}, {4294967296, 5}, {10000000000, 7},
						{-62135596800, 1}, {253402300799, 999999999}};
	static const mode_t types[] = {S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO};

	for (size_t kind = 0; kind < 4; kind++) {
		make("x", types[kind], 0755);
		for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
			struct timespec pair[2] = {times[i], times[sizeof(times) / sizeof(times[0]) - 1 - i]};
			if (native && (pair[0].tv_sec < -2147483647 || pair[1].tv_sec < -2147483647 || pair[0].tv_sec > 10000000000 || pair[1].tv_sec > 10000000000))
				continue;
			about("type %#o, %lld.%09ld", types[kind], (long long)times[i].tv_sec, times[i].tv_nsec);
			OK(utimensat(AT_FDCWD, "x", pair, AT_SYMLINK_NOFOLLOW));
			struct stat status = status_of("x");
			EQUAL(pair[0].tv_sec, status.st_atim.tv_sec);
			EQUAL(pair[0].tv_nsec, status.st_atim.tv_nsec);
			EQUAL(pair[1].tv_sec, status.st_mtim.tv_sec);
			EQUAL(pair[1].tv_nsec, status.st_mtim.tv_nsec);
		}
		OK(remove("x"));
	}
}

static void now_and_omit(void)
{
	const struct timespec old = {1000, 1000};
	struct timespec now;

	for (unsigned access = 0; access < 3; access++)
		for (unsigned modify = 0; modify < 3; modify++) {
			struct timespec pair[2] = {{2000, 5}, {3000, 6}};
			static const long special[3] = {5, UTIME_NOW, UTIME_OMIT};
			about("access %u, modify %u", access, modify);
			make("f", S_IFREG, 0644);
			OK(utimensat(AT_FDCWD, "f", (const struct timespec[]){old, old}, 0));
			pair[0].tv_nsec = special[access];
			pair[1].tv_nsec = special[modify];
			clock_gettime(CLOCK_REALTIME_COARSE, &now);
			OK(utimensat(AT_FDCWD, "f", pair, 0));
			struct stat status = status_of("f");
			if (access != 1)
				EQUAL(access ? 1000 : 2000, status.st_atim.tv_sec);
			else
				CHECK(status.st_atim.tv_sec >= now.tv_sec);
			if (modify != 1)
				EQUAL(modify ? 1000 : 3000, status.st_mtim.tv_sec);
			else
				CHECK(status.st_mtim.tv_sec >= now.tv_sec);
			CHECK(status.st_ctim.tv_sec >= now.tv_sec);
			OK(unlink("f"));
		}
	make("f", S_IFREG, 0644);
	FAILS(EINVAL, utimensat(AT_FDCWD, "f", (const struct timespec[]){{0, 1000000000}, {0, 0}}, 0));
	FAILS(EINVAL, utimensat(AT_FDCWD, "f", (const struct timespec[]){{0, 0}, {0, -1}}, 0));
}

/* ---- what each call moves ---- */

enum { A = 1, M = 2, C = 4 };

static int later(const struct timespec *left, const struct timespec *right)
{
	return left->tv_sec > right->tv_sec || (left->tv_sec == right->tv_sec && left->tv_nsec > right->tv_nsec);
}

static unsigned moved(const struct stat *before, const struct stat *after)
{
	return (later(&after->st_atim, &before->st_atim) ? A : 0u) | (later(&after->st_mtim, &before->st_mtim) ? M : 0u) |
	       (later(&after->st_ctim, &before->st_ctim) ? C : 0u);
}

static long on_file(int (*run)(int file), int flags)
{
	int file = open("d/f", flags);
	long result = file < 0 ? -1 : run(file);

	if (file >= 0)
		close(file);
	return result;
}

static int write_one(int file) { return (int)write(file, "x", 1); }
static int write_none(int file) { return (int)write(file, "x", 0); }
static int read_one(int file) { char byte; return (int)read(file, &byte, 1); }
static int shrink(int file) { return ftruncate(file, 3); }
static int grow(int file) { return ftruncate(file, 300); }
static int same_size(int file) { return ftruncate(file, 9); }
static int allocate(int file) { return fallocate(file, 0, 0, 1000); }
static int punch(int file) { return fallocate(file, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, 3); }
static int zero(int file) { return fallocate(file, FALLOC_FL_ZERO_RANGE, 0, 3); }
static int synchronise(int file) { return fsync(file); }
static int nothing(int file) { (void)file; return 0; }

static long do_write(void) { return on_file(write_one, O_WRONLY); }
static long do_write_none(void) { return on_file(write_none, O_WRONLY); }
static long do_read(void) { return on_file(read_one, O_RDONLY); }
static long do_shrink(void) { return on_file(shrink, O_WRONLY); }
static long do_grow(void) { return on_file(grow, O_WRONLY); }
static long do_same_size(void) { return on_file(same_size, O_WRONLY); }
static long do_truncate(void) { return truncate("d/f", 2); }
static long do_open_truncating(void) { return on_file(nothing, O_WRONLY | O_TRUNC); }
static long do_open(void) { return on_file(nothing, O_RDWR); }
static long do_allocate(void) { return on_file(allocate, O_WRONLY); }
static long do_punch(void) { return on_file(punch, O_WRONLY); }
static long do_zero(void) { return native ? on_file(write_one, O_WRONLY) : on_file(zero, O_WRONLY); /* tmpfs can't */ }
static long do_fsync(void) { return on_file(synchronise, O_WRONLY); }
static long do_chmod(void) { return chmod("d/f", 0600); }
static long do_chown(void) { return chown("d/f", 5, 5); }
static long do_link(void) { return link("d/f", "d/g"); }
static long do_link_away(void) { return link("d/f", "e/g"); }
static long do_rename(void) { return rename("d/f", "d/n"); }
static long do_rename_away(void) { return rename("d/f", "e/f"); }
static long do_rename_over(void) { return rename("d/other", "d/f"); }
static long do_unlink_link(void) { return unlink("d/two"); }
static long do_create(void) { return close(open("d/new", O_CREAT | O_WRONLY, 0644)); }
static long do_mkdir(void) { return mkdir("d/new", 0755); }
static long do_mknod(void) { return mknod("d/new", S_IFIFO | 0644, 0); }
static long do_symlink(void) { return symlink("x", "d/new"); }
static long do_rmdir(void) { return rmdir("d/empty"); }
static long do_unlink(void) { return unlink("d/other"); }
static long do_stat(void) { return (long)status_of("d/f").st_size; }
static long do_setxattr(void) { return setxattr("d/f", "trusted.t", "v", 1, 0); }
static long do_removexattr(void) { return removexattr("d/f", "trusted.there"); }
static long do_fail(void) { return mkdir("d/f", 0755) < 0 ? 0 : -1; }

static void updates(void)
{
	static const struct {
		const char *name;
		long (*run)(void);
		unsigned file, folder; /* what moves */
		const char *find;      /* the file afterwards */
	} calls[] = {
		{"write", do_write, M | C, 0, "d/f"}, {"write of nothing", do_write_none, 0, 0, "d/f"}, {"read", do_read, A, 0, "d/f"},
		{"shrink", do_shrink, M | C, 0, "d/f"}, {"grow", do_grow, M | C, 0, "d/f"}, {"ftruncate to the same", do_same_size, M | C, 0, "d/f"},
		{"truncate", do_truncate, M | C, 0, "d/f"}, {"O_TRUNC", do_open_truncating, M | C, 0, "d/f"}, {"open", do_open, 0, 0, "d/f"},
		{"fallocate", do_allocate, M | C, 0, "d/f"}, {"punch", do_punch, M | C, 0, "d/f"}, {"zero range", do_zero, M | C, 0, "d/f"},
		{"fsync", do_fsync, 0, 0, "d/f"}, {"chmod", do_chmod, C, 0, "d/f"}, {"chown", do_chown, C, 0, "d/f"}, {"link", do_link, C, M | C, "d/f"},
		{"link elsewhere", do_link_away, C, 0, "d/f"}, {"rename", do_rename, C, M | C, "d/n"}, {"rename elsewhere", do_rename_away, C, M | C, "e/f"},
		{"rename over", do_rename_over, 0, M | C, NULL}, {"unlink of one name", do_unlink_link, C, M | C, "d/f"},
		{"create", do_create, 0, M | C, "d/f"}, {"mkdir", do_mkdir, 0, M | C, "d/f"}, {"mknod", do_mknod, 0, M | C, "d/f"},
		{"symlink", do_symlink, 0, M | C, "d/f"}, {"rmdir", do_rmdir, 0, M | C, "d/f"}, {"unlink", do_unlink, 0, M | C, "d/f"},
		{"stat", do_stat, 0, 0, "d/f"}, {"setxattr", do_setxattr, C, 0, "d/f"}, {"removexattr", do_removexattr, C, 0, "d/f"},
		{"a call that fails", do_fail, 0, 0, "d/f"},
	};

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		about("%s", calls[i].name);
		make("d", S_IFDIR, 0755);
		make("e", S_IFDIR, 0755);
		put("d/f", "some text", 9);
		put("d/other", "x", 1);
		OK(link("d/f", "d/two"));
		OK(setxattr("d/f", "trusted.there", "v", 1, 0));
		make("d/empty", S_IFDIR, 0755);
		struct stat file = status_of("d/f"), folder = status_of("d");
		tick();
		OK(calls[i].run());
		struct stat folder_after = status_of("d");
		if (calls[i].find) {
			struct stat after = status_of(calls[i].find);
			EQUAL(calls[i].file, moved(&file, &after));
		}
		EQUAL(calls[i].folder, moved(&folder, &folder_after));
		static const char *const names[] = {"d/f", "d/two", "d/other", "d/empty", "d/new", "d/n", "d/g", "e/g", "e/f", "d", "e"};
		for (size_t j = 0; j < sizeof(names) / sizeof(names[0]); j++)
			(void)remove(names[j]);
	}
}

static void extended_status(void)
{
	struct statx status;
	struct stat plain;

	put("f", "123", 3);
	plain = status_of("f");
	OK(statx(AT_FDCWD, "f", 0, STATX_BASIC_STATS, &status));
	EQUAL(STATX_BASIC_STATS, status.stx_mask & STATX_BASIC_STATS);
	EQUAL(plain.st_ino, status.stx_ino);
	EQUAL(plain.st_mode, status.stx_mode);
	EQUAL(plain.st_nlink, status.stx_nlink);
	EQUAL(plain.st_size, status.stx_size);
	EQUAL(plain.st_blocks, status.stx_blocks);
	EQUAL(plain.st_blksize, status.stx_blksize);
	EQUAL(plain.st_uid, status.stx_uid);
	EQUAL(plain.st_mtim.tv_nsec, status.stx_mtime.tv_nsec);
	EQUAL(plain.st_ctim.tv_nsec, status.stx_ctime.tv_nsec);
	CHECK(plain.st_blksize >= 512 && (plain.st_blksize & (plain.st_blksize - 1)) == 0);
	OK(statx(AT_FDCWD, "f", AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &status));
	OK(statx(AT_FDCWD, "f", AT_STATX_DONT_SYNC, STATX_BASIC_STATS, &status));
}

const struct test times_tests[] = {
	{"times", values}, {"now-and-omit", now_and_omit}, {"updates-of-times", updates}, {"statx", extended_status}, {NULL, NULL}};
