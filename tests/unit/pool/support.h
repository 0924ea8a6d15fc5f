/* File-backed disks in a folder of their own, and the public API with its failures shown. For the tests of pool/. */
#ifndef TESTS_UNIT_POOL_SUPPORT_H
#define TESTS_UNIT_POOL_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "libpool/include/libpool.h"

#define MIB (UINT64_C(1) << 20)
#define FILES_MAX 12

/* A folder with empty sparse files to make pools of. */
struct bench {
	char folder[64];
	char paths[FILES_MAX][96];
	const char *disks[FILES_MAX];
	const char *folders[1];
	unsigned count;
	struct libpool_host host;
	struct libpool_error error;
};

static inline void bench_file(struct bench *bench, unsigned i, uint64_t size)
{
	int file;

	snprintf(bench->paths[i], sizeof(bench->paths[i]), "%s/disk%u", bench->folder, i);
	bench->disks[i] = bench->paths[i];
	file = open(bench->paths[i], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(file >= 0);
	assert_int_equal(ftruncate(file, (off_t)size), 0);
	close(file);
}

static inline void bench_begin(struct bench *bench, unsigned count, uint64_t size)
{
	const char *base = getenv("TMPDIR");

	memset(bench, 0, sizeof(*bench));
	snprintf(bench->folder, sizeof(bench->folder), "%s/pool-test-XXXXXX", base && strlen(base) < 40 ? base : "/tmp");
	assert_non_null(mkdtemp(bench->folder));
	bench->count = count;
	for (unsigned i = 0; i < count; i++)
		bench_file(bench, i, size);
	bench->folders[0] = bench->folder;
	bench->host = (struct libpool_host){
		.size = sizeof(bench->host),
		.folders = bench->folders,
		.folder_count = 1,
		.no_devices = 1,
		.cache_bytes = 64 * MIB,
	};
}

static inline void bench_end(struct bench *bench)
{
	for (unsigned i = 0; i < FILES_MAX; i++)
		if (bench->paths[i][0])
			unlink(bench->paths[i]);
	rmdir(bench->folder);
}

/* Shows the text of an unexpected failure. */
static inline void check(struct bench *bench, int result, const char *what, int line)
{
	if (result >= 0)
		return;
	print_error("line %d: %s: %d (%s): %s\n", line, what, result, libpool_strerror(result), bench->error.text);
	fail();
}
#define OK(call) check(&bench, (call), #call, __LINE__)

/* The call fails with this code, with one line of text that has this in it. */
static inline void check_refused(struct bench *bench, int result, int code, const char *part, const char *what, int line)
{
	if (result == code && bench->error.code == code && strstr(bench->error.text, part) && !strchr(bench->error.text, '\n'))
		return;
	print_error("line %d: %s: got %d (%s): \"%s\", expected %d with \"%s\"\n", line, what, result, libpool_strerror(result),
		    bench->error.text, code, part);
	fail();
}
#define REFUSED(call, code, part) check_refused(&bench, (call), (code), (part), #call, __LINE__)

static inline int bench_create(struct bench *bench, const char *name, const char *profile, unsigned first, unsigned count)
{
	struct libpool_create_options options = {
		.size = sizeof(options),
		.name = name,
		.profile = profile,
		.disks = bench->disks + first,
		.disk_count = count,
	};

	return libpool_create(&bench->host, &options, NULL, &bench->error);
}

static inline int bench_import(struct bench *bench, const char *name, libpool_pool **ret_pool)
{
	struct libpool_import_options options = {.size = sizeof(options), .name = name};

	return libpool_import(&bench->host, &options, ret_pool, &bench->error);
}

static inline int bench_volume(struct bench *bench, libpool_pool *pool, const char *name, uint64_t bytes, uint32_t block)
{
	struct libpool_volume_options options = {.size = sizeof(options), .volume_bytes = bytes, .block_bytes = block};

	return libpool_volume_create(pool, name, &options, &bench->error);
}

/* Reproducible bytes: of one offset and seed always the same, and not compressible. */
static inline void pattern(uint8_t *to, uint64_t offset, size_t length, uint64_t seed)
{
	for (size_t i = 0; i < length; i++) {
		uint64_t at = offset + i, x = (at / 8 + 1) * UINT64_C(0x9e3779b97f4a7c15) ^ seed * UINT64_C(0xbf58476d1ce4e5b9);

		x ^= x >> 31;
		x *= UINT64_C(0x94d049bb133111eb);
		to[i] = (uint8_t)(x >> 8 * (at % 8));
	}
}

#endif
