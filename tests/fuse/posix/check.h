/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the POSIX suite checks with. Each test runs in a process and an empty folder of its own, as root, with umask 022, its
 * paths relative to the folder. A check that fails is printed and counted, and the test goes on.
 */
#ifndef TESTS_FUSE_POSIX_CHECK_H
#define TESTS_FUSE_POSIX_CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct test {
	const char *name;
	void (*run)(void);
};

/* What native file systems don't all have isn't asked of them. */
extern bool native;
/* Names are text in which case doesn't count. */
extern bool caseless;

bool check_true(bool passed, const char *file, int line, const char *text);
bool check_equal(long long expected, long long actual, const char *file, int line, const char *text);
/* `result` of a system call: not negative for code 0, else -1 with this errno. */
bool check_call(int code, long result, const char *file, int line, const char *text);

#define CHECK(condition) check_true((condition), __FILE__, __LINE__, #condition)
#define EQUAL(expected, actual) check_equal((long long)(expected), (long long)(actual), __FILE__, __LINE__, #actual)
#define OK(call) check_call(0, (long)(call), __FILE__, __LINE__, #call)
#define FAILS(code, call) check_call((code), (long)(call), __FILE__, __LINE__, #call)

/* What the checks that follow are about, for the message when one of them fails. */
void about(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* Runs it as this user and group in a child; its checks count. */
void as_user(uid_t uid, gid_t gid, void (*run)(void *argument), void *argument);
/* An entry of this type (S_IFREG...). */
void make(const char *path, mode_t type, mode_t mode);
void put(const char *path, const void *bytes, size_t length);
struct stat status_of(const char *path); /* lstat */
bool exists(const char *path);
/* Long enough that the time of a change differs from the one before. */
void tick(void);

extern const struct test names_tests[], rename_tests[], rights_tests[], times_tests[], content_tests[], attributes_tests[], locks_tests[];

#endif
