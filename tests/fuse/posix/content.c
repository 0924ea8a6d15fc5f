/* SPDX-License-Identifier: BSD-2-Clause */
/* Content: flags of open, files without a name, sizes, holes, copies, maps, appends of several at once, direct I/O. */
#include "tests/fuse/posix/check.h"

#include <sys/mman.h>
#include <sys/wait.h>

static void open_flags(void)
{
	char text[16];

	make("d", S_IFDIR, 0755);
	put("f", "0123456789", 10);
	FAILS(EISDIR, open("d", O_WRONLY));
	FAILS(EISDIR, open("d", O_RDWR));
	FAILS(EISDIR, open("d", O_CREAT, 0644));
	FAILS(ENOTDIR, open("f", O_RDONLY | O_DIRECTORY));
	FAILS(ENOENT, open("none", O_WRONLY));
	FAILS(ENXIO, (make("fifo", S_IFIFO, 0644), open("fifo", O_WRONLY | O_NONBLOCK)));
	FAILS(ENXIO, (make("socket", S_IFSOCK, 0644), open("socket", O_RDWR)));
	int file = open("f", O_RDONLY);
	FAILS(EBADF, write(file, "x", 1));
	FAILS(EINVAL, ftruncate(file, 0));
	EQUAL(10, read(file, text, sizeof(text)));
	EQUAL(0, read(file, text, sizeof(text)));
	OK(close(file));
	file = open("f", O_WRONLY);
	FAILS(EBADF, read(file, text, 1));
	OK(close(file));
	file = open("f", O_RDWR | O_TRUNC);
	EQUAL(0, status_of("f").st_size);
	OK(close(file));
	file = open("new", O_CREAT | O_RDWR, 0);
	OK(file);
	EQUAL(3, write(file, "abc", 3)); /* the rights are those of the opening */
	EQUAL(3, pread(file, text, 3, 0));
	OK(close(file));
	file = open("d", O_RDONLY | O_DIRECTORY);
	FAILS(EISDIR, read(file, text, 1));
	OK(fsync(file));
	OK(close(file));
	file = open("f", O_PATH);
	FAILS(EBADF, read(file, text, 1));
	OK(close(file));
	file = open("f", O_RDWR | O_SYNC);
	EQUAL(4, write(file, "sync", 4));
	OK(close(file));
	file = open("f", O_RDWR | O_DSYNC | O_APPEND);
	EQUAL(4, write(file, "sync", 4));
	EQUAL(8, status_of("f").st_size);
	OK(close(file));
}

/* O_TMPFILE: libfuse 3.14 has no request for it, and the kernel then says so. */
static void without_a_name(void)
{
	char path[64], text[8];
	struct stat status;

	make("d", S_IFDIR, 0755);
	for (int exclusive = 0; exclusive < 2; exclusive++) {
		int file = open("d", O_TMPFILE | O_RDWR | (exclusive ? O_EXCL : 0), 0640);
		if (file < 0 && !native) {
			FAILS(EOPNOTSUPP, file);
			return;
		}
		OK(file);
		EQUAL(5, write(file, "hello", 5));
		OK(fstat(file, &status));
		EQUAL(0, status.st_nlink);
		EQUAL(S_IFREG | 0640, status.st_mode);
		OK(rmdir("d"));
		make("d", S_IFDIR, 0755);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
		FAILS(exclusive ? ENOENT : 0, linkat(AT_FDCWD, path, AT_FDCWD, "d/named", AT_SYMLINK_FOLLOW));
		OK(close(file));
		if (!exclusive) {
			EQUAL(1, status_of("d/named").st_nlink);
			EQUAL(5, status_of("d/named").st_size);
			file = open("d/named", O_RDONLY);
			EQUAL(5, read(file, text, 8));
			OK(close(file));
			OK(unlink("d/named"));
		}
	}
	FAILS(EINVAL, open("d", O_TMPFILE | O_RDONLY, 0644));
}

static void unlinked(void)
{
	char path[64], text[8];
	struct stat status;

	make("d", S_IFDIR, 0755);
	/* Open, and without a name any more. */
	int file = open("f", O_CREAT | O_RDWR, 0644);
	OK(link("f", "g"));
	OK(unlink("f"));
	OK(unlink("g"));
	OK(fstat(file, &status));
	EQUAL(0, status.st_nlink);
	EQUAL(3, write(file, "abc", 3));
	OK(ftruncate(file, 100000));
	OK(fchmod(file, 0600));
	OK(fchown(file, 1, 2));
	OK(futimens(file, NULL));
	OK(fsync(file));
	EQUAL(3, pread(file, text, 3, 0));
	OK(fstat(file, &status));
	EQUAL(100000, status.st_size);
	EQUAL(1, status.st_uid);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	FAILS(ENOENT, linkat(AT_FDCWD, path, AT_FDCWD, "again", AT_SYMLINK_FOLLOW));
	OK(close(file));
	int folder = open("d", O_RDONLY | O_DIRECTORY);
	OK(rmdir("d"));
	FAILS(ENOENT, openat(folder, "x", O_CREAT | O_RDWR, 0644));
	FAILS(ENOENT, linkat(AT_FDCWD, "none", folder, "x", 0));
	OK(close(folder));
}

/* What a file must be, byte by byte. */
static void is_content(int file, const uint8_t *expected, size_t length)
{
	struct stat status;
	uint8_t *got = malloc(length + 1);

	OK(fstat(file, &status));
	EQUAL(length, status.st_size);
	EQUAL(length, pread(file, got, length + 1, 0));
	CHECK(memcmp(got, expected, length) == 0);
	free(got);
}

static const size_t edges[] = {0, 1, 100, 511, 512, 4095, 4096, 4097, 8192, 65535, 65536, 65537, 131071, 131072, 131073, 200000};
#define EDGES (sizeof(edges) / sizeof(edges[0]))

static void sizes(void)
{
	uint8_t *bytes = malloc(400000);

	for (size_t from = 0; from < EDGES; from++)
		for (size_t to = 0; to < EDGES; to++) {
			about("from %zu to %zu", edges[from], edges[to]);
			int file = open("f", O_CREAT | O_RDWR | O_TRUNC, 0644);
			memset(bytes, 'x', edges[from]);
			EQUAL(edges[from], write(file, bytes, edges[from]));
			OK(ftruncate(file, (off_t)edges[to]));
			if (edges[to] > edges[from])
				memset(bytes + edges[from], 0, edges[to] - edges[from]);
			is_content(file, bytes, edges[to]);
			/* What was cut off doesn't come back. */
			OK(ftruncate(file, 300000));
			memset(bytes + edges[to], 0, 300000 - edges[to]);
			is_content(file, bytes, 300000);
			OK(close(file));
		}
	free(bytes);
	FAILS(EINVAL, truncate("f", -1));
	if (!native) {
		OK(truncate("f", (off_t)1 << 60));
		EQUAL((off_t)1 << 60, status_of("f").st_size);
		FAILS(EFBIG, truncate("f", ((off_t)1 << 60) + 1));
		int file = open("f", O_RDWR);
		FAILS(EFBIG, pwrite(file, "x", 1, (off_t)1 << 60));
		EQUAL(1, pwrite(file, "x", 1, ((off_t)1 << 60) - 1));
		FAILS(EFBIG, fallocate(file, 0, ((off_t)1 << 60) - 1, 2));
		OK(ftruncate(file, 0));
		OK(close(file));
	}
}

static void allocation(void)
{
	static const struct { int mode; bool zeroes, grows; int native_code; } modes[] = {
		{0, false, true, 0}, {FALLOC_FL_KEEP_SIZE, false, false, 0}, {FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, true, false, 0},
		{FALLOC_FL_ZERO_RANGE, true, true, -1}, {FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, true, false, -1}};
	static const struct { size_t offset, length; } ranges[] = {{0, 1}, {0, 4096}, {1, 4095}, {100, 10000}, {4096, 4096}, {65536, 65536}, {0, 200000},
								   {130000, 5000}, {199999, 1}, {199999, 2}, {200000, 1}, {150000, 100000}, {250000, 4097}};
	enum { SIZE = 200000 };
	uint8_t *bytes = malloc(400000);

	for (size_t mode = 0; mode < 5; mode++)
		for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++) {
			size_t end = ranges[i].offset + ranges[i].length, size = modes[mode].grows && end > SIZE ? end : SIZE;
			if (native && modes[mode].native_code)
				continue; /* tmpfs can't */
			about("mode %d at %zu, %zu bytes", modes[mode].mode, ranges[i].offset, ranges[i].length);
			int file = open("f", O_CREAT | O_RDWR | O_TRUNC, 0644);
			for (size_t at = 0; at < SIZE; at++)
				bytes[at] = (uint8_t)(at * 7 + 1) | 1;
			memset(bytes + SIZE, 0, 400000 - SIZE);
			EQUAL(SIZE, write(file, bytes, SIZE));
			OK(fallocate(file, modes[mode].mode, (off_t)ranges[i].offset, (off_t)ranges[i].length));
			if (modes[mode].zeroes)
				memset(bytes + ranges[i].offset, 0, ranges[i].length);
			is_content(file, bytes, size);
			OK(ftruncate(file, 300000));
			is_content(file, bytes, 300000);
			OK(close(file));
		}
	int file = open("f", O_RDWR);
	FAILS(EINVAL, fallocate(file, 0, 0, 0));
	FAILS(EINVAL, fallocate(file, 0, -1, 10));
	FAILS(EOPNOTSUPP, fallocate(file, FALLOC_FL_PUNCH_HOLE, 0, 10));
	FAILS(EOPNOTSUPP, fallocate(file, 1 << 20, 0, 10));
	OK(close(file));
	file = open("f", O_RDONLY);
	FAILS(EBADF, fallocate(file, 0, 0, 10));
	OK(close(file));
	free(bytes);
}

static void holes(void)
{
	const off_t block = 1 << 20;
	char text[65536];

	memset(text, 'h', sizeof(text));
	int file = open("f", O_CREAT | O_RDWR, 0644);
	FAILS(ENXIO, lseek(file, 0, SEEK_DATA));
	FAILS(ENXIO, lseek(file, 0, SEEK_HOLE));
	OK(ftruncate(file, 16 * block));
	for (off_t at = 1; at < 16; at += 2)
		EQUAL(sizeof(text), pwrite(file, text, sizeof(text), at * block));
	for (int synced = 0; synced < 2; synced++) {
		for (off_t at = 0; at < 16; at++) {
			off_t next = at % 2 ? at : at + 1;
			about("block %lld, synced %d", (long long)at, synced);
			if (next < 16)
				EQUAL(next * block, lseek(file, at * block, SEEK_DATA));
			EQUAL(at % 2 ? at * block + (off_t)sizeof(text) : at * block, lseek(file, at * block, SEEK_HOLE));
		}
		FAILS(ENXIO, lseek(file, 16 * block, SEEK_DATA));
		FAILS(ENXIO, lseek(file, 16 * block, SEEK_HOLE));
		FAILS(ENXIO, lseek(file, 15 * block + (off_t)sizeof(text), SEEK_DATA));
		FAILS(EINVAL, lseek(file, -1, SEEK_SET));
		FAILS(ENXIO, lseek(file, -1, SEEK_DATA));
		FAILS(ENXIO, lseek(file, -1, SEEK_HOLE));
		OK(fsync(file));
	}
	CHECK(status_of("f").st_blocks * 512 < 4 * block);
	OK(fallocate(file, FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE, 0, 4 * block));
	EQUAL(5 * block, lseek(file, 0, SEEK_DATA));
	EQUAL(16 * block, lseek(file, 0, SEEK_END));
	OK(close(file));
}

static void copies(void)
{
	enum { SIZE = 300000 };
	uint8_t *source = malloc(SIZE), *expected = calloc(1, 2 * SIZE);
	static const size_t offsets[] = {0, 1, 4096, 65536, 131072, 250000};

	for (size_t at = 0; at < SIZE; at++)
		source[at] = (uint8_t)(at * 13 + at / 256);
	put("a", source, SIZE);
	for (size_t from = 0; from < 6; from++)
		for (size_t to = 0; to < 6; to++) {
			int in = open("a", O_RDONLY), out = open("b", O_CREAT | O_RDWR | O_TRUNC, 0644);
			off_t in_at = (off_t)offsets[from], out_at = (off_t)offsets[to];
			size_t left = SIZE - offsets[from];
			ssize_t done = 1;
			about("from %zu to %zu", offsets[from], offsets[to]);
			memset(expected, 0, 2 * SIZE);
			memcpy(expected + offsets[to], source + offsets[from], left);
			while (left && (done = copy_file_range(in, &in_at, out, &out_at, left, 0)) > 0)
				left -= (size_t)done;
			OK(done);
			EQUAL(0, copy_file_range(in, &in_at, out, &out_at, 100, 0));
			is_content(out, expected, offsets[to] + SIZE - offsets[from]);
			OK(close(in));
			OK(close(out));
		}
	int file = open("a", O_RDWR);
	off_t from = 0, to = 1000;
	FAILS(EINVAL, copy_file_range(file, &from, file, &to, 5000, 0));
	from = 0, to = 200000;
	OK(copy_file_range(file, &from, file, &to, 5000, 0));
	FAILS(EINVAL, copy_file_range(file, &from, file, &to, 100, 1));
	OK(close(file));
	file = open("a", O_RDONLY);
	FAILS(EBADF, copy_file_range(file, NULL, file, NULL, 100, 0));
	OK(close(file));
	free(source);
	free(expected);
}

static void maps(void)
{
	enum { SIZE = 3 * 65536 + 100 };
	static uint8_t bytes[SIZE];
	uint8_t byte;

	for (size_t at = 0; at < SIZE; at++)
		bytes[at] = (uint8_t)(at * 31);
	put("f", bytes, SIZE);
	int file = open("f", O_RDWR);
	uint8_t *shared = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	uint8_t *private = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
	CHECK(shared != MAP_FAILED && private != MAP_FAILED);
	if (shared == MAP_FAILED || private == MAP_FAILED)
		return;
	CHECK(memcmp(shared, bytes, SIZE) == 0 && memcmp(private, bytes, SIZE) == 0);
	private[5] = 200;
	for (size_t at = 0; at < SIZE; at += 4999) {
		about("byte %zu", at);
		shared[at] = bytes[at] = (uint8_t)(at + 3);
		EQUAL(1, pread(file, &byte, 1, (off_t)at));
		EQUAL(bytes[at], byte);
		bytes[at] = (uint8_t)(at + 9);
		EQUAL(1, pwrite(file, &bytes[at], 1, (off_t)at));
		EQUAL(bytes[at], shared[at]);
	}
	EQUAL(200, private[5]);
	OK(msync(shared, SIZE, MS_SYNC));
	OK(munmap(private, SIZE));
	OK(close(file));
	shared[10] = bytes[10] = 99; /* the map outlives the descriptor */
	OK(munmap(shared, SIZE));
	file = open("f", O_RDONLY);
	is_content(file, bytes, SIZE);
	CHECK(mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0) == MAP_FAILED && errno == EACCES);
	OK(close(file));
}

static void appends(void)
{
	enum { WRITERS = 4, RECORDS = 150, RECORD = 700 };
	static uint8_t record[RECORD];
	unsigned counts[WRITERS] = {0}, torn = 0;

	for (int writer = 0; writer < WRITERS; writer++)
		if (fork() == 0) {
			int file = open("log", O_CREAT | O_WRONLY | O_APPEND, 0644);
			memset(record, 'a' + writer, RECORD);
			for (int i = 0; i < RECORDS; i++)
				EQUAL(RECORD, write(file, record, RECORD));
			_exit(0);
		}
	while (wait(NULL) > 0)
		;
	EQUAL(WRITERS * RECORDS * RECORD, status_of("log").st_size);
	int file = open("log", O_RDONLY);
	while (read(file, record, RECORD) == RECORD) {
		for (int i = 1; i < RECORD; i++)
			torn += record[i] != record[0];
		counts[(record[0] - 'a') % WRITERS]++;
	}
	EQUAL(0, torn);
	for (int writer = 0; writer < WRITERS; writer++)
		EQUAL(RECORDS, counts[writer]);
	OK(close(file));
}

static void direct(void)
{
	enum { SIZE = 1 << 18 };
	uint8_t *bytes, *other;
	CHECK(posix_memalign((void **)&bytes, 4096, SIZE) == 0 && posix_memalign((void **)&other, 4096, SIZE) == 0);

	for (size_t at = 0; at < SIZE; at++)
		bytes[at] = (uint8_t)(at * 3 + at / 4096);
	int file = open("f", O_CREAT | O_RDWR | O_DIRECT, 0644), cached = open("f", O_RDWR);
	OK(file);
	EQUAL(SIZE, pwrite(file, bytes, SIZE, 0));
	is_content(cached, bytes, SIZE);
	for (size_t at = 0; at < SIZE; at += 5 * 4096) {
		about("at %zu", at);
		memset(bytes + at, (int)(at / 4096), 4096);
		/* One way and the other see the same. */
		EQUAL(4096, pwrite(at / 4096 % 2 ? cached : file, bytes + at, 4096, (off_t)at));
		EQUAL(4096, pread(at / 4096 % 2 ? file : cached, other, 4096, (off_t)at));
		CHECK(memcmp(bytes + at, other, 4096) == 0);
	}
	is_content(cached, bytes, SIZE);
	EQUAL(SIZE, pread(file, other, SIZE, 0));
	CHECK(memcmp(bytes, other, SIZE) == 0);
	EQUAL(0, pread(file, other, 4096, SIZE));
	OK(close(file));
	OK(close(cached));
	free(bytes);
	free(other);
}

const struct test content_tests[] = {{"open-flags", open_flags}, {"without-a-name", without_a_name}, {"unlinked", unlinked}, {"sizes", sizes},     {"allocation", allocation},
				     {"holes", holes},		 {"copies", copies},   {"maps", maps},	     {"appends", appends},
				     {"direct", direct},	 {NULL, NULL}};
