/* SPDX-License-Identifier: BSD-2-Clause */
/* The POSIX suite: posix [--native|--caseless] FOLDER [TEST]... Exit code 0 if every check passed. */
#include "tests/fuse/posix/check.h"

#include <ftw.h>
#include <grp.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#define TEST_SECONDS_MAX 300u /* a test that hangs is one that fails */
#define FAILURES_SHOWN	 20u

bool native, caseless;
static char subject[256];
/* Shared with the processes of the tests. */
static struct { unsigned passed, failed; } *counts;

static bool count(bool passed, const char *file, int line, const char *text, const char *detail)
{
	unsigned *counter = passed ? &counts->passed : &counts->failed;
	unsigned before = __atomic_fetch_add(counter, 1, __ATOMIC_RELAXED);

	if (!passed && before < FAILURES_SHOWN)
		fprintf(stderr, "%s:%d: %s%s%s%s\n", strrchr(file, '/') ? strrchr(file, '/') + 1 : file, line, text, detail, subject[0] ? ": " : "", subject);
	return passed;
}

bool check_true(bool passed, const char *file, int line, const char *text)
{
	return count(passed, file, line, text, " isn't so");
}

bool check_equal(long long expected, long long actual, const char *file, int line, const char *text)
{
	char detail[128];

	snprintf(detail, sizeof(detail), " is %lld (%#llx) and not %lld (%#llx)", actual, (unsigned long long)actual, expected,
		 (unsigned long long)expected);
	return count(expected == actual, file, line, text, detail);
}

bool check_call(int code, long result, const char *file, int line, const char *text)
{
	int got = result < 0 ? errno : 0;
	char detail[128];

	snprintf(detail, sizeof(detail), " gives %s and not %s", strerrorname_np(got), strerrorname_np(code));
	return count(got == code, file, line, text, detail);
}

void about(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(subject, sizeof(subject), format, arguments);
	va_end(arguments);
}

void as_user(uid_t uid, gid_t gid, void (*run)(void *argument), void *argument)
{
	int status = 1;
	pid_t child = fork();

	if (child == 0) {
		if (setgroups(0, NULL) != 0 || setresgid(gid, gid, gid) != 0 || setresuid(uid, uid, uid) != 0)
			_exit(1);
		run(argument);
		_exit(0);
	}
	CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
}

void make(const char *path, mode_t type, mode_t mode)
{
	if (S_ISDIR(type))
		OK(mkdir(path, mode));
	else if (S_ISLNK(type))
		OK(symlink("nowhere", path));
	else
		OK(mknod(path, type | mode, S_ISCHR(type) || S_ISBLK(type) ? (5u << 8 | 3) : 0));
}

void put(const char *path, const void *bytes, size_t length)
{
	int file = open(path, O_CREAT | O_WRONLY | O_TRUNC, 0644);

	OK(file);
	EQUAL(length, write(file, bytes, length));
	OK(close(file));
}

struct stat status_of(const char *path)
{
	struct stat status = {0};

	OK(lstat(path, &status));
	return status;
}

bool exists(const char *path)
{
	struct stat status;

	return lstat(path, &status) == 0;
}

void tick(void)
{
	/* Native file systems count time in ticks of the kernel. */
	nanosleep(&(struct timespec){.tv_nsec = 15000000}, NULL);
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *at)
{
	(void)status, (void)type, (void)at;
	return remove(path);
}

static void run_test(const struct test *test, const char *folder)
{
	unsigned failed = counts->failed, passed = counts->passed;
	int status = 1;
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", folder, test->name);
	pid_t child = fork();
	if (child == 0) {
		umask(022);
		alarm(TEST_SECONDS_MAX);
		if (mkdir(path, 0755) != 0 || chdir(path) != 0) {
			perror(path);
			_exit(1);
		}
		test->run();
		_exit(0);
	}
	if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
		fprintf(stderr, "%s ended early, with status %#x\n", test->name, (unsigned)status);
		counts->failed++;
	}
	printf("%-6s %s: %u checks\n", counts->failed == failed ? "ok" : "FAILED", test->name, counts->passed - passed + counts->failed - failed);
	fflush(stdout);
	if (nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS) != 0) {
		perror(path);
		counts->failed++;
	}
}

static bool wanted(const char *name, char **names, int name_count)
{
	for (int i = 0; i < name_count; i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return name_count == 0;
}

int main(int argc, char **argv)
{
	const struct test *const groups[] = {names_tests, rename_tests, rights_tests, times_tests, content_tests, attributes_tests, locks_tests};
	int at = 1;
	unsigned ran = 0;

	if (at < argc && (strcmp(argv[at], "--native") == 0 || strcmp(argv[at], "--caseless") == 0)) {
		native = argv[at][2] == 'n';
		caseless = !native;
		at++;
	}
	if (at >= argc) {
		fprintf(stderr, "usage: posix [--native|--caseless] FOLDER [TEST]...\n");
		return 2;
	}
	counts = mmap(NULL, sizeof(*counts), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (counts == MAP_FAILED || geteuid() != 0) {
		fprintf(stderr, "posix: needs to be root\n");
		return 2;
	}
	for (size_t group = 0; group < sizeof(groups) / sizeof(groups[0]); group++)
		for (const struct test *test = groups[group]; test->name; test++)
			if (wanted(test->name, argv + at + 1, argc - at - 1)) {
				run_test(test, argv[at]);
				ran++;
			}
	printf("%u tests, %u checks, %u failed\n", ran, counts->passed + counts->failed, counts->failed);
	return ran == 0 || counts->failed ? 1 : 0;
}
