/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Millions of names in one directory, through the public API: what each costs as they become more, and what look-ups, a listing, new names and removals
 * cost when all are there and nothing is cached. Makes a pool on files in FOLDER, raid5 on five of DISK_MIB MiB each, and removes them.
 *
 * Processor time is the process's, with all threads: it says more than time does on a machine that others use.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <libpool.h>

#define DISKS   5u
#define STEP    1000000u
#define SAMPLES 20000u
#define LISTED  1000u

static const char pool_name[] = "bench-directory";
static char paths[DISKS][4096];

struct moment {
	double time, processor;
	uint64_t written, read;
};

static void expect(int result, const char *what, const struct libpool_error *error)
{
	if (result >= 0)
		return;
	fprintf(stderr, "bench_directory: %s: %s\n", what, error && error->text[0] ? error->text : libpool_strerror(result));
	exit(1);
}

static double seconds(struct timeval time)
{
	return (double)time.tv_sec + (double)time.tv_usec * 1e-6;
}

static struct moment now(libpool_pool *pool)
{
	struct libpool_disk_info *disks;
	struct moment moment = { 0 };
	struct timespec time;
	struct rusage usage;
	size_t count;

	clock_gettime(CLOCK_MONOTONIC, &time);
	getrusage(RUSAGE_SELF, &usage);
	moment.time = (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
	moment.processor = seconds(usage.ru_utime) + seconds(usage.ru_stime);
	if (!pool)
		return moment;
	expect(libpool_disks(pool, &disks, &count), "disks", NULL);
	for (size_t i = 0; i < count; i++) {
		moment.written += LIBPOOL_ELEMENT(libpool_disk_info, disks, i)->bytes_written;
		moment.read += LIBPOOL_ELEMENT(libpool_disk_info, disks, i)->bytes_read;
	}
	libpool_free(disks);
	return moment;
}

/* Of the process, from the start on, or now. */
static unsigned resident_mib(void)
{
	unsigned long pages = 0;
	FILE *file = fopen("/proc/self/statm", "r");

	if (!file || fscanf(file, "%*u %lu", &pages) != 1)
		pages = 0;
	if (file)
		fclose(file);
	return (unsigned)(pages * (unsigned long)sysconf(_SC_PAGESIZE) >> 20);
}

static unsigned space_mib(void)
{
	struct stat status;
	uint64_t bytes = 0;

	for (unsigned i = 0; i < DISKS; i++)
		bytes += stat(paths[i], &status) == 0 ? (uint64_t)status.st_blocks * 512 : 0;
	return (unsigned)(bytes >> 20);
}

static void report(const char *what, unsigned total, unsigned count, libpool_pool *pool, struct moment since)
{
	struct moment moment = now(pool);

	printf("%-8s %9u  %8.1f us, processor %7.1f us, written %8.0f, read %8.0f bytes each; %5u MiB resident, %5u on disks\n", what, total,
	       (moment.time - since.time) * 1e6 / count, (moment.processor - since.processor) * 1e6 / count,
	       (double)(moment.written - since.written) / count, (double)(moment.read - since.read) / count, resident_mib(), space_mib());
	fflush(stdout);
}

static libpool_pool *import_pool(const struct libpool_host *host)
{
	struct libpool_import_options options = { .size = sizeof(options), .name = pool_name };
	struct libpool_error error = { 0 };
	libpool_pool *pool;

	expect(libpool_import(host, &options, &pool, &error), "import", &error);
	return pool;
}

static void create_pool(const struct libpool_host *host, const char *folder, uint64_t disk_bytes)
{
	const char *disks[DISKS];
	struct libpool_create_options options = { .size = sizeof(options), .name = pool_name, .profile = "raid5", .disks = disks, .disk_count = DISKS };
	struct libpool_error error = { 0 };

	for (unsigned i = 0; i < DISKS; i++) {
		snprintf(paths[i], sizeof(paths[i]), "%s/bench-directory-%u", folder, i);
		int file = open(paths[i], O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

		if (file < 0 || ftruncate(file, (off_t)disk_bytes) < 0 || close(file) < 0)
			expect(-errno, paths[i], NULL);
		disks[i] = paths[i];
	}
	expect(libpool_create(host, &options, NULL, &error), "create", &error);
}

/* Not in the order of their creation: a large step that visits each once, if the count is no multiple of it. */
static void name_of(char *name, unsigned index, unsigned step, unsigned count)
{
	snprintf(name, 32, "file-%08u", (unsigned)((uint64_t)index * step % count));
}

static void make(libpool_fs *fs, unsigned from, unsigned to)
{
	struct libpool_new new = { .size = sizeof(new), .mode = S_IFREG | 0600 };
	struct libpool_attributes attributes = { .size = sizeof(attributes) };
	char name[32];

	for (unsigned i = from; i < to; i++) {
		name_of(name, i, 1, UINT32_MAX);
		expect(libpool_fs_make(fs, LIBPOOL_FS_ROOT, name, &new, &attributes), name, NULL);
		expect(libpool_fs_forget(fs, attributes.node, 1), name, NULL);
	}
}

static void look_up(libpool_fs *fs, unsigned total)
{
	struct libpool_attributes attributes = { .size = sizeof(attributes) };
	char name[32];

	for (unsigned i = 0; i < SAMPLES; i++) {
		name_of(name, i, 7919, total);
		expect(libpool_fs_lookup(fs, LIBPOOL_FS_ROOT, name, &attributes), name, NULL);
		expect(libpool_fs_forget(fs, attributes.node, 1), name, NULL);
	}
}

static void list(libpool_fs *fs, unsigned total)
{
	struct libpool_entry *entries = calloc(LISTED, sizeof(*entries));
	uint64_t cookie = 0;
	unsigned seen = 0;

	for (int count = 1; entries && count > 0;) {
		entries[0].size = sizeof(*entries);
		count = libpool_fs_readdir(fs, LIBPOOL_FS_ROOT, cookie, 0, entries, LISTED);
		expect(count, "list", NULL);
		seen += (unsigned)count;
		cookie = count > 0 ? entries[count - 1].cookie : cookie;
	}
	free(entries);
	if (seen != total) {
		fprintf(stderr, "bench_directory: %u names were listed of %u\n", seen, total);
		exit(1);
	}
}

static void unlink_some(libpool_fs *fs, unsigned total)
{
	char name[32];

	for (unsigned i = 0; i < SAMPLES; i++) {
		name_of(name, i, 7919, total);
		expect(libpool_fs_unlink(fs, LIBPOOL_FS_ROOT, name), name, NULL);
	}
}

static libpool_fs *open_fs(libpool_pool *pool)
{
	struct libpool_error error = { 0 };
	libpool_fs *fs;

	expect(libpool_fs_open(pool, "fs", NULL, &fs, &error), "open", &error);
	return fs;
}

static void measure(const struct libpool_host *host, unsigned total)
{
	struct libpool_error error = { 0 };
	libpool_pool *pool = import_pool(host);

	expect(libpool_fs_create(pool, "fs", NULL, &error), "create", &error);
	expect(libpool_property_set(pool, NULL, "autotrim", "on", &error), "autotrim", &error);
	libpool_fs *fs = open_fs(pool);

	for (unsigned made = 0; made < total;) {
		unsigned next = total - made < STEP ? total : made + STEP;
		struct moment start = now(pool);

		make(fs, made, next);
		report("make", next, next - made, pool, start);
		made = next;
	}
	struct moment start = now(pool);

	expect(libpool_fs_sync(fs), "sync", NULL);
	report("sync", total, 1, pool, start);
	start = now(NULL);
	expect(libpool_fs_close(fs), "close", NULL);
	expect(libpool_close(pool, &error), "export", &error);
	report("export", total, 1, NULL, start);
	start = now(NULL);
	pool = import_pool(host);
	fs = open_fs(pool);
	report("import", total, 1, NULL, start);
	start = now(pool);
	look_up(fs, total);
	report("look up", total, SAMPLES, pool, start);
	start = now(pool);
	list(fs, total);
	report("list", total, total, pool, start);
	start = now(pool);
	make(fs, total, total + SAMPLES);
	expect(libpool_fs_sync(fs), "sync", NULL);
	report("make", total + SAMPLES, SAMPLES, pool, start);
	start = now(pool);
	unlink_some(fs, total);
	expect(libpool_fs_sync(fs), "sync", NULL);
	report("unlink", total, SAMPLES, pool, start);
	expect(libpool_fs_close(fs), "close", NULL);
	expect(libpool_close(pool, &error), "export", &error);
}

int main(int argc, char **argv)
{
	unsigned long count = argc > 2 ? strtoul(argv[2], NULL, 10) : 0, disk_mib = argc > 3 ? strtoul(argv[3], NULL, 10) : 1024;
	unsigned long cache_mib = argc > 4 ? strtoul(argv[4], NULL, 10) : 1024;
	struct libpool_host host = { .size = sizeof(host), .folders = (const char *const[]){ argv[1] }, .folder_count = 1, .no_devices = 1,
				     .cache_bytes = (uint64_t)cache_mib << 20 };

	if (count < SAMPLES || count > 100000000 || count % 7919 == 0 || disk_mib < 64 || cache_mib == 0) {
		fprintf(stderr, "usage: bench_directory FOLDER COUNT [DISK_MIB [CACHE_MIB]]    (20,000 to 100,000,000 names and no multiple of 7919)\n");
		return 2;
	}
	create_pool(&host, argv[1], (uint64_t)disk_mib << 20);
	measure(&host, (unsigned)count);
	for (unsigned i = 0; i < DISKS; i++)
		unlink(paths[i]);
	return 0;
}
