/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random operations on one file, compared with memory after each: fsx FOLDER SEED OPERATIONS. All ways into a file take part: read and
 * write, maps, direct I/O, appends, truncate, fallocate, copy_file_range, SEEK_DATA and SEEK_HOLE, fsync, closing and opening again. A
 * seed gives the same operations each time; the last of them are printed when a byte differs. Exit code 0: none did.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX  (1u << 20)
#define PIECE_MAX (96u << 10)
#define PAGE	  4096u
#define LOG	  40u

enum operation { READ, WRITE, APPEND, MAP_READ, MAP_WRITE, DIRECT_READ, DIRECT_WRITE, TRUNCATE, ALLOCATE, KEEP, PUNCH, ZERO, COPY, SEEK, FSYNC, REOPEN, WHOLE, KINDS };
static const char *const names[KINDS] = {"read",  "write", "append", "map read", "map write", "direct read", "direct write", "truncate", "allocate",
					 "allocate, size kept", "punch", "zero", "copy", "seek", "fsync", "reopen", "whole"};
/* How often, in relation to the others. */
static const unsigned weights[KINDS] = {20, 20, 6, 8, 8, 5, 5, 8, 3, 3, 6, 6, 8, 8, 2, 3, 1};

static struct { unsigned long number; enum operation what; size_t offset, length, size, from; } entries[LOG];
static uint8_t *model, *buffer;
static size_t size;
static int file, direct, appending;
static uint64_t state;
static unsigned long number;
static bool can_zero = true;

static uint32_t random_below(uint32_t limit)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)((state >> 16) % limit);
}

static void fail(const char *what)
{
	fprintf(stderr, "fsx: operation %lu: %s: %s; the last ones:\n", number, what, strerror(errno));
	for (unsigned long i = number < LOG ? 1 : number - LOG + 1; i <= number; i++)
		fprintf(stderr, "  %lu %s offset %zu length %zu from %zu, the file had %zu\n", entries[i % LOG].number, names[entries[i % LOG].what],
			entries[i % LOG].offset, entries[i % LOG].length, entries[i % LOG].from, entries[i % LOG].size);
	exit(1);
}

static void check(bool passed, const char *what)
{
	if (!passed)
		fail(what);
}

static void open_all(const char *path, int flags)
{
	file = open(path, O_RDWR | flags, 0644);
	direct = open(path, O_RDWR | O_DIRECT);
	appending = open(path, O_WRONLY | O_APPEND);
	check(file >= 0 && direct >= 0 && appending >= 0, "open");
}

static void close_all(void)
{
	check(close(file) == 0 && close(direct) == 0 && close(appending) == 0, "close");
}

static void compare(size_t offset, size_t length, const uint8_t *got, const char *what)
{
	for (size_t i = 0; i < length; i++)
		if (got[i] != model[offset + i]) {
			fprintf(stderr, "fsx: byte %zu is %#x and not %#x\n", offset + i, got[i], model[offset + i]);
			errno = 0;
			fail(what);
		}
}

static void fill(size_t length)
{
	uint8_t start = (uint8_t)number;

	for (size_t i = 0; i < length; i++)
		buffer[i] = (uint8_t)(start + i * 7 + i / PAGE) | 1;
}

/* The file has at least this size now. */
static void grown(size_t end)
{
	if (end > size)
		size = end;
}

static void read_piece(int from, size_t offset, size_t length)
{
	size_t expected = offset >= size ? 0 : length < size - offset ? length : size - offset;

	check(pread(from, buffer, length, (off_t)offset) == (ssize_t)expected, "the length read");
	compare(offset, expected, buffer, "read");
}

static void write_piece(int to, size_t offset, size_t length)
{
	fill(length);
	check((to == appending ? write(to, buffer, length) : pwrite(to, buffer, length, (off_t)offset)) == (ssize_t)length, "write");
	memcpy(model + offset, buffer, length);
	grown(offset + length);
}

static void map_piece(size_t offset, size_t length, bool write)
{
	size_t start = offset & ~(size_t)(PAGE - 1);

	if (offset >= size)
		return;
	if (length > size - offset)
		length = size - offset;
	uint8_t *map = mmap(NULL, offset + length - start, PROT_READ | (write ? PROT_WRITE : 0), MAP_SHARED, file, (off_t)start);
	check(map != MAP_FAILED, "mmap");
	if (write) {
		fill(length);
		memcpy(map + (offset - start), buffer, length);
		memcpy(model + offset, buffer, length);
		if (random_below(4) == 0)
			check(msync(map, offset + length - start, MS_SYNC) == 0, "msync");
	} else {
		compare(offset, length, map + (offset - start), "map");
	}
	check(munmap(map, offset + length - start) == 0, "munmap");
}

static void resize(size_t to)
{
	check(ftruncate(file, (off_t)to) == 0, "ftruncate");
	if (to < size)
		memset(model + to, 0, size - to);
	size = to;
}

static void allocate(int mode, size_t offset, size_t length)
{
	if (fallocate(file, mode, (off_t)offset, (off_t)length) != 0) {
		/* Not all native file systems can zero. */
		check(errno == EOPNOTSUPP && mode & FALLOC_FL_ZERO_RANGE, "fallocate");
		can_zero = false;
		return;
	}
	if (mode & (FALLOC_FL_ZERO_RANGE | FALLOC_FL_PUNCH_HOLE))
		memset(model + offset, 0, length);
	if (!(mode & FALLOC_FL_KEEP_SIZE))
		grown(offset + length);
}

static void copy(size_t from, size_t to, size_t length)
{
	off_t in = (off_t)from, out = (off_t)to;

	if (from >= size)
		return;
	if (length > size - from)
		length = size - from;
	if (from < to + length && to < from + length)
		return;
	for (size_t left = length; left;) {
		ssize_t done = copy_file_range(file, &in, file, &out, left, 0);
		check(done > 0, "copy_file_range");
		left -= (size_t)done;
	}
	memcpy(model + to, model + from, length);
	grown(to + length);
}

/* What is called a hole is zero, and up to the first data there is nothing but zeroes. */
static void seek(size_t offset)
{
	off_t data = lseek(file, (off_t)offset, SEEK_DATA), hole = lseek(file, (off_t)offset, SEEK_HOLE);

	if (offset >= size) {
		check(data < 0 && hole < 0, "a seek behind the end");
		return;
	}
	check(hole >= (off_t)offset && hole <= (off_t)size, "SEEK_HOLE");
	size_t end = data < 0 ? size : (size_t)data;
	check(end >= offset && end <= size, "SEEK_DATA");
	for (size_t i = offset; i < end; i++)
		check(model[i] == 0, "data in what SEEK_DATA calls a hole");
	if ((size_t)hole < size)
		check(model[hole] == 0, "data where SEEK_HOLE finds a hole");
}

static void whole(void)
{
	struct stat status;

	check(fstat(file, &status) == 0 && (size_t)status.st_size == size, "the size");
	for (size_t at = 0; at < size; at += PIECE_MAX)
		read_piece(file, at, PIECE_MAX);
}

static enum operation choose(void)
{
	unsigned sum = 0, at;

	for (unsigned i = 0; i < KINDS; i++)
		sum += weights[i];
	at = random_below(sum);
	for (unsigned i = 0;; i++) {
		if (at < weights[i])
			return i;
		at -= weights[i];
	}
}

static void step(const char *path)
{
	enum operation what = choose();
	size_t offset = random_below(FILE_MAX), length = 1 + random_below(random_below(4) ? 9000 : PIECE_MAX), from = random_below(FILE_MAX);

	/* Often in line with pages and records, and near the beginning, so that things meet. */
	if (random_below(2))
		offset = random_below(size > 0 ? (uint32_t)size : 1);
	if (random_below(3) == 0 || what == DIRECT_READ || what == DIRECT_WRITE) {
		offset &= ~(size_t)(PAGE - 1);
		length = (length + PAGE - 1) & ~(size_t)(PAGE - 1);
	}
	if (random_below(3) == 0)
		from = (from & ~(size_t)0xffff) | (offset & 0xffff);
	if (what == APPEND)
		offset = size;
	if (length > FILE_MAX - offset)
		length = FILE_MAX - offset;
	if (!length || (what == ZERO && !can_zero))
		what = WHOLE;
	number++;
	entries[number % LOG].number = number;
	entries[number % LOG].what = what;
	entries[number % LOG].offset = offset;
	entries[number % LOG].length = length;
	entries[number % LOG].from = from;
	entries[number % LOG].size = size;
	switch (what) {
	case READ: read_piece(file, offset, length); break;
	case WRITE: write_piece(file, offset, length); break;
	case APPEND: write_piece(appending, size, length); break;
	case MAP_READ: map_piece(offset, length, false); break;
	case MAP_WRITE: map_piece(offset, length, true); break;
	case DIRECT_READ: read_piece(direct, offset, length); break;
	case DIRECT_WRITE: write_piece(direct, offset, length); break;
	case TRUNCATE: resize(random_below(10) ? offset : random_below(200)); break;
	case ALLOCATE: allocate(0, offset, length); break;
	case KEEP: allocate(FALLOC_FL_KEEP_SIZE, offset, length); break;
	case PUNCH:
		if (offset < size)
			allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length < size - offset ? length : size - offset);
		break;
	case ZERO: allocate(FALLOC_FL_ZERO_RANGE, offset, length); break;
	case COPY: copy(from, offset, length); break;
	case SEEK: seek(offset); break;
	case FSYNC: check(fsync(file) == 0, "fsync"); break;
	case REOPEN:
		close_all();
		if (random_below(2)) { /* nothing stays in the page cache */
			int own = open(path, O_RDONLY);
			check(fsync(own) == 0 && posix_fadvise(own, 0, 0, POSIX_FADV_DONTNEED) == 0 && close(own) == 0, "dropping the cache");
		}
		open_all(path, 0);
		break;
	default: whole(); break;
	}
}

int main(int argc, char **argv)
{
	char path[4096];

	if (argc != 4) {
		fprintf(stderr, "usage: fsx FOLDER SEED OPERATIONS\n");
		return 2;
	}
	unsigned long seed = strtoul(argv[2], NULL, 10), count = strtoul(argv[3], NULL, 10);
	snprintf(path, sizeof(path), "%s/fsx.%lu", argv[1], seed);
	state = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
	model = calloc(1, FILE_MAX + PIECE_MAX);
	if (!model || posix_memalign((void **)&buffer, PAGE, FILE_MAX + PIECE_MAX) != 0)
		return 2;
	open_all(path, O_CREAT | O_TRUNC);
	for (unsigned long i = 0; i < count; i++)
		step(path);
	whole();
	close_all();
	open_all(path, 0);
	whole();
	close_all();
	printf("seed %lu: %lu operations\n", seed, count);
	return unlink(path) == 0 ? 0 : 1;
}
