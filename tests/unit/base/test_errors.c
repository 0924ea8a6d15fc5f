/* Errors, checked invariants and little-endian integers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "libpool/base/check.h"
#include "libpool/base/endian.h"
#include "libpool/base/error.h"

static void test_error_strings(void **state)
{
	(void)state;
	assert_string_equal(pool_error_string(0), "no error");
	assert_string_equal(pool_error_string(-ENOENT), "No such file or directory");
	assert_string_equal(pool_error_string(-POOL_EHALTED), "the pool is halted");
	assert_string_equal(pool_error_string(-4000), "unknown error");
	assert_string_equal(pool_error_string(5), "unknown error");
}

static void test_error_set(void **state)
{
	struct pool_error error = {0};
	char text[1000];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	assert_int_equal(pool_error_set(NULL, -EIO, "nobody"), -EIO);
	assert_int_equal(pool_error_set(&error, -EIO, "disk %d: first", 3), -EIO);
	assert_string_equal(error.text, "disk 3: first");
	assert_int_equal(pool_error_set(&error, -EIO, "second"), -EIO);
	assert_string_equal(error.text, "disk 3: first");
	assert_int_equal(pool_error_set(&error, -EINVAL, "%s", text), -EINVAL);
	assert_int_equal(error.code, -EINVAL);
	assert_int_equal(strlen(error.text), sizeof(error.text) - 1);
}

struct broken {
	int count, line;
	const char *file, *expression;
};

static void keep(void *arg, const char *file, int line, const char *expression)
{
	struct broken *broken = arg;

	*broken = (struct broken){.count = broken->count + 1, .line = line, .file = file, .expression = expression};
}

static void *check_in_thread(void *argument)
{
	struct broken mine = {0};

	pool_check_set_handler(keep, &mine);
	POOL_CHECK(argument == NULL);
	return mine.count == 1 ? argument : NULL;
}

static void test_check_handler(void **state)
{
	struct broken broken = {0};
	int evaluated = 0;
	void *result = NULL;
	pthread_t thread;

	(void)state;
	pool_check_set_handler(keep, &broken);
	assert_true(POOL_CHECK(++evaluated == 1));
	assert_int_equal(broken.count, 0);
	assert_false(POOL_CHECK(++evaluated == 5));
	assert_int_equal(evaluated, 2);
	assert_int_equal(broken.count, 1);
	assert_string_equal(broken.expression, "++evaluated == 5");
	assert_non_null(strstr(broken.file, "test_errors.c"));
	assert_true(broken.line > 0);

	pthread_create(&thread, NULL, check_in_thread, &broken);
	pthread_join(thread, &result);
	assert_ptr_equal(result, &broken);
	assert_int_equal(broken.count, 1); /* the other thread has its own handler */
	pool_check_set_handler(NULL, NULL);
}

static void test_check_aborts(void **state)
{
	int status = 0;
	pid_t child = fork();

	(void)state;
	if (child == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
		signal(SIGABRT, SIG_DFL);
		close(STDERR_FILENO);
		POOL_CHECK(status == 1);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

static void test_endian(void **state)
{
	static const uint8_t bytes[8] = {1, 2, 3, 4, 5, 6, 7, 8};
	le16 v16 = le16_make(0x0201);
	le32 v32 = le32_make(0x04030201);
	le48 v48 = le48_make(UINT64_C(0x060504030201));
	le64 v64 = le64_make(UINT64_C(0x0807060504030201));

	(void)state;
	assert_memory_equal(v16.raw, bytes, sizeof(v16));
	assert_memory_equal(v32.raw, bytes, sizeof(v32));
	assert_memory_equal(v48.raw, bytes, sizeof(v48));
	assert_memory_equal(v64.raw, bytes, sizeof(v64));
	assert_int_equal(le16_get(v16), 0x0201);
	assert_int_equal(le32_get(v32), 0x04030201);
	assert_true(le48_get(v48) == UINT64_C(0x060504030201));
	assert_true(le64_get(v64) == UINT64_C(0x0807060504030201));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_error_strings), cmocka_unit_test(test_error_set),
		cmocka_unit_test(test_check_handler), cmocka_unit_test(test_check_aborts),
		cmocka_unit_test(test_endian),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
