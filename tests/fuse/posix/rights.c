/* SPDX-License-Identifier: BSD-2-Clause */
/* Who may do what: modes, directories, sticky ones, owners and groups; and when set-id bits go. */
#include "tests/fuse/posix/check.h"

#include <grp.h>

#define OWNER 3001u
#define GROUP 3002u
#define OTHER 3003u

/* Which bits of a mode count for the three users. */
static const struct { uid_t uid; gid_t gid; unsigned shift; } users[] = {{OWNER, OTHER, 6}, {OTHER, GROUP, 3}, {OTHER, OTHER, 0}};

static void open_by_mode(void *argument)
{
	unsigned bits = *(const unsigned *)argument;
	static const struct { int flags; unsigned needed; } ways[] = {{O_RDONLY, 4}, {O_WRONLY, 2}, {O_RDWR, 6}, {O_WRONLY | O_APPEND, 2}};
	static const struct { int mode; unsigned needed; } accesses[] = {{R_OK, 4}, {W_OK, 2}, {X_OK, 1}, {R_OK | W_OK | X_OK, 7}, {F_OK, 0}};

	for (size_t i = 0; i < 4; i++) {
		int file = open("f", ways[i].flags);
		FAILS((bits & ways[i].needed) == ways[i].needed ? 0 : EACCES, file);
		if (file >= 0)
			close(file);
	}
	for (size_t i = 0; i < 5; i++)
		FAILS((bits & accesses[i].needed) == accesses[i].needed ? 0 : EACCES, access("f", accesses[i].mode));
	FAILS(bits & 2 ? 0 : EACCES, truncate("f", 0));
}

static void files(void)
{
	OK(chmod(".", 0755));
	make("f", S_IFREG, 0644);
	OK(chown("f", OWNER, GROUP));
	for (unsigned mode = 0; mode < 01000; mode += 7) {
		OK(chmod("f", mode));
		for (size_t i = 0; i < 3; i++) {
			unsigned bits = mode >> users[i].shift & 7;
			about("mode %#o, user %zu", mode, i);
			as_user(users[i].uid, users[i].gid, open_by_mode, &bits);
		}
	}
}

static void use_folder(void *argument)
{
	unsigned bits = *(const unsigned *)argument;
	bool search = bits & 1, change = (bits & 3) == 3;

	FAILS(search ? 0 : EACCES, access("d/f", F_OK));
	FAILS(bits & 4 ? 0 : EACCES, open("d", O_RDONLY | O_DIRECTORY));
	FAILS(search ? 0 : EACCES, chdir("d"));
	if (search)
		OK(chdir(".."));
	FAILS(change ? 0 : EACCES, mkdir("d/new", 0755));
	FAILS(change ? 0 : EACCES, symlink("x", "d/link"));
	FAILS(change ? 0 : EACCES, mknod("d/fifo", S_IFIFO | 0644, 0));
	FAILS(change ? 0 : EACCES, rename("d/f", "d/g"));
	FAILS(change ? 0 : EACCES, link("mine", "d/mine"));
	if (change) {
		OK(rename("d/g", "d/f"));
		OK(unlink("d/mine"));
		OK(unlink("d/link"));
		OK(unlink("d/fifo"));
		OK(rmdir("d/new"));
	} else {
		FAILS(EACCES, unlink("d/f"));
	}
}

static void folders(void)
{
	OK(chmod(".", 0755));
	make("d", S_IFDIR, 0755);
	make("d/f", S_IFREG, 0666);
	make("mine", S_IFREG, 0666);
	OK(chmod("mine", 0666));
	OK(chown("d", OWNER, GROUP));
	for (unsigned bits = 0; bits < 8; bits++)
		for (size_t i = 0; i < 3; i++) {
			about("bits %o, user %zu", bits, i);
			OK(chmod("d", bits << users[i].shift));
			OK(chown("mine", users[i].uid, users[i].gid));
			as_user(users[i].uid, users[i].gid, use_folder, &bits);
		}
}

struct sticky {
	bool allowed;
	int kind;
};

static void use_sticky(void *argument)
{
	const struct sticky *sticky = argument;
	int code = sticky->allowed ? 0 : EPERM;

	FAILS(code, rename("d/x", "d/renamed"));
	FAILS(code, rename(sticky->allowed ? "d/renamed" : "d/x", "away/x"));
	if (sticky->allowed)
		OK(rename("away/x", "d/x"));
	FAILS(code, sticky->kind ? rmdir("d/x") : unlink("d/x"));
}

static void sticky_folders(void)
{
	OK(chmod(".", 0755));
	make("away", S_IFDIR, 0777);
	OK(chmod("away", 0777));
	for (unsigned sticky = 0; sticky < 2; sticky++)
		for (unsigned owns_folder = 0; owns_folder < 2; owns_folder++)
			for (unsigned owns_file = 0; owns_file < 2; owns_file++)
				for (int kind = 0; kind < 2; kind++) {
					struct sticky what = {!sticky || owns_folder || owns_file, kind};
					about("sticky %u, owner of the folder %u, of the file %u, folder %d", sticky, owns_folder, owns_file, kind);
					make("d", S_IFDIR, 0777);
					OK(chmod("d", sticky ? 01777 : 0777));
					OK(chown("d", owns_folder ? OWNER : OTHER, 0));
					make("d/x", kind ? S_IFDIR : S_IFREG, 0777);
					OK(chmod("d/x", 0777));
					OK(chown("d/x", owns_file ? OWNER : OTHER, 0));
					as_user(OWNER, GROUP, use_sticky, &what);
					if (exists("d/x"))
						OK(remove("d/x"));
					OK(rmdir("d"));
				}
}

static void change_as_owner(void *argument)
{
	(void)argument;
	OK(chmod("f", 0600));
	OK(chown("f", OWNER, GROUP));
	OK(chown("f", (uid_t)-1, GROUP));
	FAILS(EPERM, chown("f", OTHER, (gid_t)-1));
	FAILS(EPERM, chown("f", 0, 0));
	FAILS(EPERM, chown("f", (uid_t)-1, OTHER));
	/* Set-gid for a group that one isn't in doesn't stick. */
	OK(chmod("foreign group", 02755));
	EQUAL(0755, status_of("foreign group").st_mode & 07777);
	OK(utimensat(AT_FDCWD, "f", (const struct timespec[]){{1, 1}, {2, 2}}, 0));
}

static void change_as_other(void *argument)
{
	(void)argument;
	FAILS(EPERM, chmod("f", 0600));
	FAILS(EPERM, chown("f", OTHER, (gid_t)-1));
	FAILS(EPERM, chown("f", (uid_t)-1, OTHER));
	FAILS(EPERM, utimensat(AT_FDCWD, "f", (const struct timespec[]){{1, 1}, {2, 2}}, 0));
	FAILS(EACCES, utimensat(AT_FDCWD, "f", NULL, 0));
	OK(utimensat(AT_FDCWD, "open to all", NULL, 0));
	FAILS(EPERM, utimensat(AT_FDCWD, "open to all", (const struct timespec[]){{1, 1}, {0, UTIME_NOW}}, 0));
	FAILS(EPERM, mknod("open folder/c", S_IFCHR | 0600, 1 << 8 | 3));
	FAILS(EPERM, mknod("open folder/b", S_IFBLK | 0600, 1 << 8 | 3));
	OK(mknod("open folder/f", S_IFIFO | 0600, 0));
}

static void owners(void)
{
	OK(chmod(".", 0755));
	make("f", S_IFREG, 0600);
	OK(chown("f", OWNER, GROUP));
	make("foreign group", S_IFREG, 0600);
	OK(chown("foreign group", OWNER, OTHER));
	make("open to all", S_IFREG, 0666);
	OK(chmod("open to all", 0666));
	make("open folder", S_IFDIR, 0777);
	OK(chmod("open folder", 0777));
	as_user(OWNER, GROUP, change_as_owner, NULL);
	as_user(OTHER, OTHER, change_as_other, NULL);
	for (unsigned mode = 0; mode < 010000; mode += 0111) {
		OK(chmod("f", mode));
		EQUAL(mode, status_of("f").st_mode & 07777);
	}
	static const unsigned ids[] = {0, 1, 65534, 65535, 65536, 0x7fffffff, 0x80000000u, 0xfffffffeu};
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		OK(chown("f", ids[i], ids[sizeof(ids) / sizeof(ids[0]) - 1 - i]));
		EQUAL(ids[i], status_of("f").st_uid);
		EQUAL(ids[sizeof(ids) / sizeof(ids[0]) - 1 - i], status_of("f").st_gid);
		OK(chown("f", (uid_t)-1, (gid_t)-1));
		EQUAL(ids[i], status_of("f").st_uid);
	}
	OK(symlink("f", "l"));
	OK(lchown("l", 12, 13));
	EQUAL(12, status_of("l").st_uid);
	EQUAL(0xfffffffeu, status_of("f").st_uid);
}

static void set_id_folders(void)
{
	OK(chmod(".", 0755));
	make("d", S_IFDIR, 0755);
	OK(chown("d", OWNER, GROUP));
	OK(chmod("d", 02777));
	static const mode_t types[] = {S_IFREG, S_IFIFO, S_IFSOCK, S_IFLNK, S_IFDIR};
	for (size_t i = 0; i < 5; i++) {
		about("type %#o", types[i]);
		make("d/x", types[i], 0755);
		EQUAL(GROUP, status_of("d/x").st_gid);
		if (!S_ISLNK(types[i]))
			EQUAL(S_ISDIR(types[i]) ? S_ISGID : 0, status_of("d/x").st_mode & S_ISGID);
		OK(remove("d/x"));
	}
	int file = open("d", O_TMPFILE | O_RDWR, 0644);
	if (file >= 0) {
		struct stat status;
		OK(fstat(file, &status));
		EQUAL(GROUP, status.st_gid);
		close(file);
	}
}

/* ---- set-id bits ---- */

static void write_it(void *argument)
{
	(void)argument;
	int file = open("f", O_WRONLY);
	OK(file);
	EQUAL(1, pwrite(file, "x", 1, 0));
	close(file);
}

static void append_it(void *argument)
{
	(void)argument;
	int file = open("f", O_WRONLY | O_APPEND);
	EQUAL(5000, write(file, (char[5000]){0}, 5000));
	close(file);
}

static void truncate_it(void *argument)
{
	(void)argument;
	OK(truncate("f", 3));
}

static void grow_it(void *argument)
{
	(void)argument;
	OK(truncate("f", 300000));
}

static void open_truncating(void *argument)
{
	(void)argument;
	int file = open("f", O_WRONLY | O_TRUNC);
	OK(file);
	close(file);
}

static void allocate_it(void *argument)
{
	(void)argument;
	int file = open("f", O_WRONLY);
	OK(fallocate(file, 0, 0, 100000));
	close(file);
}

static void punch_it(void *argument)
{
	(void)argument;
	int file = open("f", O_WRONLY);
	OK(fallocate(file, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, 2));
	close(file);
}

static void copy_into_it(void *argument)
{
	(void)argument;
	int from = open("source", O_RDONLY), file = open("f", O_WRONLY);
	OK(copy_file_range(from, NULL, file, NULL, 5, 0));
	close(file);
	close(from);
}

static void read_it(void *argument)
{
	char text[8];
	(void)argument;
	int file = open("f", O_RDONLY);
	OK(read(file, text, sizeof(text)));
	close(file);
}

static void chown_it(void *argument)
{
	(void)argument;
	OK(chown("f", OWNER, GROUP));
}

static void set_id_bits(void)
{
	static const struct action {
		const char *name;
		void (*run)(void *argument);
		bool content;
	} actions[] = {{"write", write_it, true},	  {"append", append_it, true},	 {"truncate", truncate_it, true}, {"grow", grow_it, true},
		       {"O_TRUNC", open_truncating, true}, {"fallocate", allocate_it, true}, {"punch", punch_it, true},	 {"copy_file_range", copy_into_it, true},
		       {"read", read_it, false},	  {"chown", chown_it, false}};
	static const mode_t modes[] = {04777, 02777, 06777, 01777, 0777, 04666, 06676};

	OK(chmod(".", 0755));
	put("source", "source text", 11);
	for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
		for (size_t j = 0; j < sizeof(modes) / sizeof(modes[0]); j++)
			for (unsigned privileged = 0; privileged < 2; privileged++) {
				const struct action *action = &actions[i];
				bool chowns = action->run == chown_it;
				about("%s of mode %#o by %s", action->name, modes[j], privileged ? "root" : "another user");
				put("f", "some text", 9);
				OK(chown("f", OWNER, GROUP));
				OK(chmod("f", modes[j]));
				mode_t expected = modes[j];
				if (chowns || (action->content && !privileged)) {
					expected &= ~(mode_t)S_ISUID;
					if (expected & S_IXGRP)
						expected &= ~(mode_t)S_ISGID;
				}
				if (privileged)
					action->run(NULL);
				else
					as_user(chowns ? OWNER : OTHER, chowns ? GROUP : OTHER, action->run, NULL);
				EQUAL(expected, status_of("f").st_mode & 07777);
				OK(unlink("f"));
			}
	/* A directory keeps its own. */
	make("d", S_IFDIR, 0755);
	OK(chmod("d", 07755));
	OK(chown("d", OWNER, GROUP));
	EQUAL(07755, status_of("d").st_mode & 07777);
}

static void masks(void)
{
	for (unsigned mask = 0; mask <= 0777; mask += 0111 / 3 + 4) {
		static const mode_t types[] = {S_IFREG, S_IFDIR, S_IFIFO, S_IFSOCK, S_IFCHR};
		umask(mask);
		for (size_t i = 0; i < 5; i++) {
			about("umask %#o, type %#o", mask, types[i]);
			make("x", types[i], 0777);
			EQUAL(0777 & ~mask, status_of("x").st_mode & 07777);
			OK(remove("x"));
		}
		int file = open("x", O_CREAT | O_WRONLY, 0666);
		OK(file);
		EQUAL(0666 & ~mask, status_of("x").st_mode & 07777);
		close(file);
		OK(unlink("x"));
	}
}

const struct test rights_tests[] = {{"files-by-mode", files},	   {"folders-by-mode", folders}, {"sticky-folders", sticky_folders}, {"owners", owners},
				    {"set-id-folders", set_id_folders}, {"set-id-bits", set_id_bits}, {"masks", masks},	 {NULL, NULL}};
