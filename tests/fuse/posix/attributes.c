/* SPDX-License-Identifier: BSD-2-Clause */
/* Extended attributes of all namespaces, and access control lists. */
#include "tests/fuse/posix/check.h"

#include <endian.h>
#include <sys/xattr.h>

static const size_t sizes[] = {0, 1, 100, 255, 256, 1000, 2000, 4000, 4096, 10000, 32768, 65535, 65536};

static void values(void)
{
	static const char *const names[] = {"user.a", "trusted.a", "security.a", "user.\xff\x01", "user.a.b.c"};
	static uint8_t value[65537], got[65537];

	put("f", "", 0);
	make("d", S_IFDIR, 0755);
	for (size_t i = 0; i < sizeof(value); i++)
		value[i] = (uint8_t)(i * 11 + i / 256);
	for (int folder = 0; folder < 2; folder++)
		for (size_t name = 0; name < 5; name++)
			for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
				const char *path = folder ? "d" : "f", *key = names[name];
				size_t size = sizes[i];
				if (native && size > 2000)
					continue;
				about("%s of %zu bytes, folder %d", key, size, folder);
				FAILS(ENODATA, getxattr(path, key, got, sizeof(got) - 1));
				FAILS(ENODATA, setxattr(path, key, value, size, XATTR_REPLACE));
				OK(setxattr(path, key, value, size, XATTR_CREATE));
				FAILS(EEXIST, setxattr(path, key, value, size, XATTR_CREATE));
				EQUAL(size, getxattr(path, key, NULL, 0));
				EQUAL(size, getxattr(path, key, got, 65536));
				CHECK(memcmp(value, got, size) == 0);
				if (size > 1)
					FAILS(ERANGE, getxattr(path, key, got, size - 1));
				/* Shorter, longer and back. */
				OK(setxattr(path, key, value + 1, size / 2, XATTR_REPLACE));
				EQUAL(size / 2, getxattr(path, key, got, 65536));
				CHECK(memcmp(value + 1, got, size / 2) == 0);
				OK(setxattr(path, key, value, size, 0));
				EQUAL(size, getxattr(path, key, got, 65536));
				CHECK(memcmp(value, got, size) == 0);
				EQUAL(strlen(key) + 1, listxattr(path, NULL, 0));
				EQUAL(strlen(key) + 1, listxattr(path, (char *)got, sizeof(got) - 1));
				CHECK(strcmp((char *)got, key) == 0);
				FAILS(ERANGE, listxattr(path, (char *)got, 3));
				OK(removexattr(path, key));
				FAILS(ENODATA, removexattr(path, key));
				EQUAL(0, listxattr(path, NULL, 0));
			}
	FAILS(E2BIG, setxattr("f", "user.a", value, 65537, 0));
	FAILS(EOPNOTSUPP, setxattr("f", "nothing.a", value, 1, 0));
	FAILS(EOPNOTSUPP, getxattr("f", "nothing.a", value, 1));
	FAILS(EOPNOTSUPP, removexattr("f", "nothing.a"));
	FAILS(EINVAL, setxattr("f", "user.", value, 1, 0));
	FAILS(EINVAL, setxattr("f", "user.a", value, 1, 7));
	char name[300] = "user.";
	memset(name + 5, 'n', 250);
	OK(setxattr("f", name, value, 1, 0));
	EQUAL(1, getxattr("f", name, got, 10));
	memset(name + 5, 'n', 251);
	FAILS(ERANGE, setxattr("f", name, value, 1, 0));
	OK(symlink("f", "l"));
	FAILS(EPERM, lsetxattr("l", "user.a", value, 1, 0));
	OK(lsetxattr("l", "trusted.a", value, 1, 0));
	FAILS(ENODATA, getxattr("f", "trusted.a", got, 10));
	make("fifo", S_IFIFO, 0644);
	FAILS(EPERM, setxattr("fifo", "user.a", value, 1, 0));
}

static void many(void)
{
	char name[64], list[32768];
	size_t found = 0;

	put("f", "", 0);
	for (unsigned i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "user.number %u", i);
		OK(setxattr("f", name, &i, sizeof(i), 0));
	}
	for (unsigned i = 0; i < 100; i += 2) {
		snprintf(name, sizeof(name), "user.number %u", i);
		OK(removexattr("f", name));
	}
	ssize_t length = listxattr("f", list, sizeof(list));
	for (char *at = list; at < list + length; at += strlen(at) + 1, found++) {
		unsigned value = 0;
		EQUAL(sizeof(value), getxattr("f", at, &value, sizeof(value)));
		EQUAL(atoi(at + 12), value);
		EQUAL(1, value % 2);
	}
	EQUAL(50, found);
	/* They belong to the file, not to its name. */
	OK(link("f", "g"));
	OK(rename("f", "h"));
	EQUAL(length, listxattr("g", NULL, 0));
}

static void as_stranger(void *argument)
{
	char text[8];
	(void)argument;
	FAILS(EACCES, setxattr("f", "user.a", "x", 1, 0));
	FAILS(EPERM, setxattr("f", "trusted.a", "x", 1, 0));
	FAILS(ENODATA, getxattr("f", "trusted.t", text, sizeof(text)));
	EQUAL(1, getxattr("f", "user.u", text, sizeof(text)));
	FAILS(EACCES, getxattr("hidden", "user.u", text, sizeof(text)));
	/* Of those that are root's alone not even the name is told. */
	char names[64];
	EQUAL(sizeof("user.u"), listxattr("f", NULL, 0));
	EQUAL(sizeof("user.u"), listxattr("f", names, sizeof(names)));
	CHECK(strcmp(names, "user.u") == 0);
	OK(setxattr("open", "user.u", "x", 1, 0));
	OK(setxattr("sticky/mine", "user.u", "x", 1, 0));
	FAILS(EPERM, setxattr("sticky", "user.u", "x", 1, 0));
}

static void rights(void)
{
	OK(chmod(".", 0755));
	put("f", "", 0);
	put("hidden", "", 0);
	put("open", "", 0);
	OK(chmod("hidden", 0600));
	OK(chmod("open", 0666));
	OK(setxattr("f", "trusted.t", "x", 1, 0));
	OK(setxattr("f", "user.u", "x", 1, 0));
	OK(setxattr("hidden", "user.u", "x", 1, 0));
	make("sticky", S_IFDIR, 0777);
	OK(chmod("sticky", 01777));
	put("sticky/mine", "", 0);
	OK(chown("sticky/mine", 4000, 4000));
	as_user(4000, 4000, as_stranger, NULL);
}

/* ---- access control lists ---- */

enum { OWNER = 1, USER = 2, GROUP_OWNER = 4, GROUP = 8, MASK = 16, OTHERS = 32 };
#define ACCESS_LIST  "system.posix_acl_access"
#define DEFAULT_LIST "system.posix_acl_default"

struct entry {
	uint16_t tag, permissions;
	uint32_t id;
};

struct list {
	uint32_t version;
	struct entry entries[16];
};

static size_t list_make(struct list *list, const struct entry *entries, size_t count)
{
	list->version = htole32(2);
	for (size_t i = 0; i < count; i++)
		list->entries[i] = (struct entry){htole16(entries[i].tag), htole16(entries[i].permissions),
						  htole32(entries[i].tag & (USER | GROUP) ? entries[i].id : UINT32_MAX)};
	return 4 + count * sizeof(struct entry);
}

static int set_list(const char *path, const char *name, const struct entry *entries, size_t count)
{
	struct list list;
	size_t length = list_make(&list, entries, count);

	return setxattr(path, name, &list, length, 0);
}

static bool is_list(const char *path, const char *name, const struct entry *entries, size_t count)
{
	struct list expected, got;
	size_t length = list_make(&expected, entries, count);

	return getxattr(path, name, &got, sizeof(got)) == (ssize_t)length && memcmp(&expected, &got, length) == 0;
}

static void may_read(void *argument)
{
	int file = open("f", O_RDONLY);

	FAILS(*(const bool *)argument ? 0 : EACCES, file);
	if (file >= 0)
		close(file);
}

static void lists(void)
{
	bool allowed;

	OK(chmod(".", 0755));
	put("f", "text", 4);
	for (unsigned user = 0; user < 8; user += 2)
		for (unsigned mask = 0; mask < 8; mask++)
			for (unsigned others = 0; others < 8; others += 4) {
				const struct entry entries[] = {{OWNER, 6, 0}, {USER, (uint16_t)user, 5000}, {GROUP_OWNER, 0, 0}, {GROUP, 4, 5001},
								{MASK, (uint16_t)mask, 0}, {OTHERS, (uint16_t)others, 0}};
				about("user %o, mask %o, others %o", user, mask, others);
				OK(set_list("f", ACCESS_LIST, entries, 6));
				CHECK(is_list("f", ACCESS_LIST, entries, 6));
				EQUAL(0600 | mask << 3 | others, status_of("f").st_mode & 0777);
				/* Linux: where nobody in the group's class may do anything the list isn't looked at. */
				bool looked_at = mask != 0;
				allowed = looked_at ? user & mask & 4 : others & 4;
				as_user(5000, 6000, may_read, &allowed);
				allowed = looked_at ? mask & 4 : others & 4;
				as_user(6000, 5001, may_read, &allowed);
				allowed = others & 4;
				as_user(6000, 6000, may_read, &allowed);
				/* The group's bits of a mode are the mask. */
				struct entry masked[6];
				memcpy(masked, entries, sizeof(masked));
				OK(chmod("f", 0750));
				masked[0].permissions = 7;
				masked[4].permissions = 5;
				masked[5].permissions = 0;
				CHECK(is_list("f", ACCESS_LIST, masked, 6));
			}
	/* A list that says no more than a mode is kept as one. */
	OK(set_list("f", ACCESS_LIST, (const struct entry[]){{OWNER, 6, 0}, {GROUP_OWNER, 5, 0}, {OTHERS, 1, 0}}, 3));
	EQUAL(0651, status_of("f").st_mode & 0777);
	static const struct { struct entry entries[4]; size_t count; } bad[] = {
		{{{OWNER, 6, 0}, {OTHERS, 0, 0}}, 2},
		{{{OWNER, 6, 0}, {USER, 4, 1}, {GROUP_OWNER, 0, 0}, {OTHERS, 0, 0}}, 4}, /* no mask */
		{{{GROUP_OWNER, 6, 0}, {OWNER, 0, 0}, {OTHERS, 0, 0}}, 3},
		{{{OWNER, 8, 0}, {GROUP_OWNER, 0, 0}, {OTHERS, 0, 0}}, 3},
		{{{OWNER, 6, 0}, {OWNER, 6, 0}, {GROUP_OWNER, 0, 0}, {OTHERS, 0, 0}}, 4},
		{{{OWNER, 6, 0}, {GROUP_OWNER, 0, 0}, {OTHERS, 0, 0}, {64, 0, 0}}, 4},
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		about("bad list %zu", i);
		FAILS(EINVAL, set_list("f", ACCESS_LIST, bad[i].entries, bad[i].count));
	}
	FAILS(EACCES, set_list("f", DEFAULT_LIST, (const struct entry[]){{OWNER, 6, 0}, {GROUP_OWNER, 5, 0}, {OTHERS, 1, 0}}, 3));
	FAILS(EOPNOTSUPP, setxattr("f", ACCESS_LIST, "\1\0\0\0", 4, 0));
}

static void inheritance(void)
{
	static const struct entry list[] = {{OWNER, 7, 0}, {USER, 6, 5000}, {GROUP_OWNER, 5, 0}, {MASK, 7, 0}, {OTHERS, 4, 0}};
	static const mode_t types[] = {S_IFREG, S_IFDIR, S_IFIFO, S_IFSOCK};

	make("d", S_IFDIR, 0755);
	OK(set_list("d", DEFAULT_LIST, list, 5));
	CHECK(is_list("d", DEFAULT_LIST, list, 5));
	EQUAL(0755, status_of("d").st_mode & 0777);
	for (unsigned mask = 0; mask < 0777; mask += 077) {
		umask(mask); /* doesn't count where there is a default list */
		for (size_t i = 0; i < 4; i++)
			for (unsigned mode = 0; mode <= 0777; mode += 0111) {
				struct entry expected[5];
				about("type %#o, mode %#o, umask %#o", types[i], mode, mask);
				memcpy(expected, list, sizeof(expected));
				expected[0].permissions &= (uint16_t)(mode >> 6);
				expected[3].permissions &= (uint16_t)(mode >> 3 & 7);
				expected[4].permissions &= (uint16_t)(mode & 7);
				make("d/x", types[i], mode);
				CHECK(is_list("d/x", ACCESS_LIST, expected, 5));
				EQUAL(expected[0].permissions << 6 | expected[3].permissions << 3 | expected[4].permissions, status_of("d/x").st_mode & 0777);
				if (S_ISDIR(types[i]))
					CHECK(is_list("d/x", DEFAULT_LIST, list, 5));
				else
					FAILS(ENODATA, getxattr("d/x", DEFAULT_LIST, NULL, 0));
				OK(remove("d/x"));
			}
		int file = open("d/x", O_CREAT | O_WRONLY, 0666);
		OK(file);
		EQUAL(0664, status_of("d/x").st_mode & 0777);
		OK(close(file));
		OK(unlink("d/x"));
		file = open("d", O_TMPFILE | O_RDWR, 0666);
		if (file >= 0) {
			struct stat status;
			OK(fstat(file, &status));
			EQUAL(0664, status.st_mode & 0777);
			OK(close(file));
		}
		OK(symlink("y", "d/l"));
		OK(unlink("d/l"));
	}
	for (int times = 0; times < 2; times++) {
		OK(removexattr("d", DEFAULT_LIST));
		OK(removexattr("d", ACCESS_LIST));
	}
	umask(027);
	make("d/x", S_IFREG, 0666);
	EQUAL(0640, status_of("d/x").st_mode & 0777);
	FAILS(ENODATA, getxattr("d/x", ACCESS_LIST, NULL, 0));
}

const struct test attributes_tests[] = {{"xattrs", values}, {"many-xattrs", many}, {"rights-to-xattrs", rights}, {"lists", lists},
					{"inheritance", inheritance}, {NULL, NULL}};
