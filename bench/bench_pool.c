/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a whole pool gives through the public API, against memcpy in the same run: sequential write, verified read, read
 * with a disk missing, scrub, random 4 KiB reads, and writes with a flush each.
 *
 * The yardstick is bytes copied per second between cold buffers of 256 MiB, as many threads as there are cores
 * together, measured before and after and averaged. Put the disks on a RAM-backed folder to measure the engine, on real
 * ones to measure a machine. Data is incompressible, from two client threads.
 *
 *	bench_pool [--json] [--folder DIR] [--disks N] [--profile P] [--mebibytes N] [--block N] [--threads N]
 *	           [--workers N]
 */
#include <getopt.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <json-c/json.h>

#include <libpool.h>

#define MIB        (UINT64_C(1) << 20)
#define CHUNK      MIB
#define DISKS_MAX  16
#define POOL_NAME  "bench"

struct options {
	const char *folder, *profile;
	unsigned disks, threads, workers;
	uint64_t bytes, block;
	bool json;
};

struct result {
	const char *name, *unit;
	double value, ratio; /* ratio to memcpy, 0: none */
	double cores;        /* processor time over wall time */
};

static struct result results[16];
static unsigned result_count;

static double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static double cpu_now(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

static void fail(const char *what, int status, const struct libpool_error *error)
{
	fprintf(stderr, "bench_pool: %s: %s\n", what, error && error->text[0] ? error->text : libpool_strerror(status));
	exit(1);
}

/* ---- memcpy ---- */

struct copy_job {
	unsigned char *from, *to;
	double rate;
};

#define COPY_BYTES (256 * MIB)

static void *copy_thread(void *argument)
{
	struct copy_job *job = argument;
	double best = 0;

	for (unsigned run = 0; run < 3; run++) {
		double start = seconds_now();
		memcpy(job->to, job->from, COPY_BYTES);
		double rate = (double)COPY_BYTES / (seconds_now() - start);
		best = rate > best ? rate : best;
	}
	job->rate = best;
	return NULL;
}

static double memcpy_rate(void)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	struct copy_job jobs[64];
	pthread_t threads[64];
	double sum = 0;

	cores = cores > 64 ? 64 : cores;
	for (long i = 0; i < cores; i++) {
		jobs[i].from = malloc(COPY_BYTES);
		jobs[i].to = malloc(COPY_BYTES);
		memset(jobs[i].from, (int)i + 1, COPY_BYTES);
		memset(jobs[i].to, 0, COPY_BYTES);
	}
	for (long i = 0; i < cores; i++)
		pthread_create(&threads[i], NULL, copy_thread, &jobs[i]);
	for (long i = 0; i < cores; i++) {
		pthread_join(threads[i], NULL);
		sum += jobs[i].rate;
		free(jobs[i].from);
		free(jobs[i].to);
	}
	return sum;
}

/* ---- clients ---- */

enum work { WORK_WRITE, WORK_READ, WORK_RANDOM_READ, WORK_SYNC_WRITE };

struct client {
	libpool_volume *volume;
	const struct options *options;
	enum work work;
	unsigned index;
	uint64_t operations;
};

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static void *client_thread(void *argument)
{
	struct client *client = argument;
	const struct options *options = client->options;
	uint64_t share = options->bytes / options->threads, base = client->index * share;
	uint64_t state = 88172645463325252u + client->index;
	uint64_t *buffer = aligned_alloc(4096, CHUNK);
	int status = 0;

	for (size_t i = 0; i < CHUNK / 8; i++)
		buffer[i] = next_random(&state);
	if (client->work == WORK_WRITE || client->work == WORK_READ) {
		for (uint64_t done = 0; done < share && status == 0; done += CHUNK) {
			buffer[0] = base + done;
			status = client->work == WORK_WRITE ? libpool_volume_write(client->volume, base + done, CHUNK, buffer) :
							      libpool_volume_read(client->volume, base + done, CHUNK, buffer);
		}
		client->operations = share / CHUNK;
	} else {
		double end = seconds_now() + 3;
		while (seconds_now() < end && status == 0) {
			uint64_t offset = base + next_random(&state) % (share / 4096) * 4096;
			if (client->work == WORK_RANDOM_READ) {
				status = libpool_volume_read(client->volume, offset, 4096, buffer);
			} else {
				status = libpool_volume_write(client->volume, offset, 4096, buffer);
				if (status == 0)
					status = libpool_volume_flush(client->volume);
			}
			client->operations++;
		}
	}
	if (status < 0)
		fail("a request", status, NULL);
	free(buffer);
	return NULL;
}

static uint64_t run_clients(libpool_volume *volume, const struct options *options, enum work work, unsigned threads)
{
	struct client clients[64];
	pthread_t ids[64];
	uint64_t operations = 0;

	for (unsigned i = 0; i < threads; i++) {
		clients[i] = (struct client){ volume, options, work, i, 0 };
		pthread_create(&ids[i], NULL, client_thread, &clients[i]);
	}
	for (unsigned i = 0; i < threads; i++) {
		pthread_join(ids[i], NULL);
		operations += clients[i].operations;
	}
	return operations;
}

/* ---- the pool ---- */

static char disk_paths[DISKS_MAX][256];

static struct libpool_host host_of(const struct options *options, const char *const *folders)
{
	struct libpool_host host = { .size = sizeof(host), .folders = folders, .folder_count = 1, .no_devices = 1, .cache_bytes = 1 };

	host.workers = options->workers;
	return host;
}

static void make_disks(const struct options *options)
{
	uint64_t size = options->bytes * 4 / options->disks + 512 * MIB;

	for (unsigned i = 0; i < options->disks; i++) {
		snprintf(disk_paths[i], sizeof(disk_paths[i]), "%s/bench-disk-%u", options->folder, i);
		unlink(disk_paths[i]);
		int descriptor = open(disk_paths[i], O_RDWR | O_CREAT | O_EXCL, 0600);
		if (descriptor < 0 || ftruncate(descriptor, (off_t)size) < 0) {
			perror(disk_paths[i]);
			exit(1);
		}
		close(descriptor);
	}
}

static void add_result(const char *name, double value, const char *unit, double yardstick, double cores)
{
	results[result_count++] = (struct result){ name, unit, value, yardstick > 0 ? value / yardstick : 0, cores };
}

static libpool_pool *import_pool(const struct libpool_host *host, uint32_t read_only)
{
	struct libpool_import_options import = { .size = sizeof(import), .name = POOL_NAME, .read_only = read_only };
	struct libpool_error error = { 0 };
	libpool_pool *pool;
	int status = libpool_import(host, &import, &pool, &error);

	if (status < 0)
		fail("import", status, &error);
	return pool;
}

static libpool_volume *open_volume(libpool_pool *pool)
{
	struct libpool_error error = { 0 };
	libpool_volume *volume;
	int status = libpool_volume_open(pool, "data", NULL, &volume, &error);

	if (status < 0)
		fail("open", status, &error);
	return volume;
}

static void measure(const struct options *options)
{
	const char *folders[] = { options->folder };
	struct libpool_host host = host_of(options, folders);
	const char *disks[DISKS_MAX];
	struct libpool_error error = { 0 };
	double yardstick = memcpy_rate(), start, cpu;

	make_disks(options);
	for (unsigned i = 0; i < options->disks; i++)
		disks[i] = disk_paths[i];
	struct libpool_create_options create = { .size = sizeof(create), .name = POOL_NAME, .profile = options->profile,
						 .disks = disks, .disk_count = options->disks };
	int status = libpool_create(&host, &create, NULL, &error);
	if (status < 0)
		fail("create", status, &error);
	libpool_pool *pool = import_pool(&host, 0);
	struct libpool_volume_options volume_options = { .size = sizeof(volume_options), .volume_bytes = options->bytes,
							 .block_bytes = (uint32_t)options->block, .compression = "off" };
	status = libpool_volume_create(pool, "data", &volume_options, &error);
	if (status < 0)
		fail("volume", status, &error);
	libpool_volume *volume = open_volume(pool);

	start = seconds_now();
	cpu = cpu_now();
	run_clients(volume, options, WORK_WRITE, options->threads);
	libpool_volume_flush(volume);
	double wall = seconds_now() - start;
	add_result("sequential write", (double)options->bytes / wall, "B/s", yardstick, (cpu_now() - cpu) / wall);

	start = seconds_now();
	cpu = cpu_now();
	run_clients(volume, options, WORK_READ, options->threads);
	wall = seconds_now() - start;
	add_result("sequential read, verified", (double)options->bytes / wall, "B/s", yardstick, (cpu_now() - cpu) / wall);

	uint64_t operations = run_clients(volume, options, WORK_RANDOM_READ, options->threads);
	add_result("random 4 KiB read", (double)operations / 3, "op/s", 0, 0);
	operations = run_clients(volume, options, WORK_SYNC_WRITE, 1);
	add_result("4 KiB write and flush, one writer", (double)operations / 3, "op/s", 0, 0);

	struct libpool_scrub_options scrub = { .size = sizeof(scrub) };
	start = seconds_now();
	cpu = cpu_now();
	status = libpool_scrub_start(pool, &scrub, &error);
	if (status < 0)
		fail("scrub", status, &error);
	libpool_jobs_wait(pool, 1u << LIBPOOL_JOB_SCRUB, 0);
	wall = seconds_now() - start;
	struct libpool_job *jobs;
	size_t job_count;
	uint64_t scrubbed = 0;
	if (libpool_jobs(pool, &jobs, &job_count) == 0) {
		for (size_t i = 0; i < job_count; i++)
			if (jobs[i].kind == LIBPOOL_JOB_SCRUB)
				scrubbed = jobs[i].done_bytes;
		libpool_free(jobs);
	}
	add_result("scrub (all columns)", (double)scrubbed / wall, "B/s", yardstick, (cpu_now() - cpu) / wall);

	struct libpool_pool_info info = { .size = sizeof(info) };
	if (libpool_pool_info(pool, &info) == 0)
		add_result("allocation state for the data written", (double)info.allocation_memory, "B", 0, 0);
	libpool_volume_close(volume);
	status = libpool_close(pool, &error);
	if (status < 0)
		fail("close", status, &error);

	unlink(disk_paths[0]);
	pool = import_pool(&host, 1);
	volume = open_volume(pool);
	start = seconds_now();
	cpu = cpu_now();
	run_clients(volume, options, WORK_READ, options->threads);
	wall = seconds_now() - start;
	double after = memcpy_rate();
	add_result("sequential read, one disk missing", (double)options->bytes / wall, "B/s", yardstick, (cpu_now() - cpu) / wall);
	libpool_volume_close(volume);
	libpool_close(pool, &error);
	for (unsigned i = 1; i < options->disks; i++)
		unlink(disk_paths[i]);
	for (unsigned i = 0; i < result_count; i++)
		if (results[i].ratio > 0)
			results[i].ratio = results[i].value / ((yardstick + after) / 2);
	add_result("memcpy, all cores", (yardstick + after) / 2, "B/s", 0, 0);
}

static void print_table(void)
{
	for (unsigned i = 0; i < result_count; i++) {
		const struct result *result = &results[i];
		bool rate = strcmp(result->unit, "B/s") == 0;
		printf("%-40s %10.1f %-6s", result->name, rate ? result->value / 1e6 : result->value, rate ? "MB/s" : result->unit);
		if (result->ratio > 0)
			printf("  %5.2f x memcpy", result->ratio);
		if (result->cores > 0)
			printf("  %4.2f cores", result->cores);
		putchar('\n');
	}
}

static void print_json(const struct options *options)
{
	struct json_object *document = json_object_new_object(), *list = json_object_new_array();

	json_object_object_add(document, "profile", json_object_new_string(options->profile));
	json_object_object_add(document, "disks", json_object_new_int((int)options->disks));
	json_object_object_add(document, "bytes", json_object_new_int64((int64_t)options->bytes));
	json_object_object_add(document, "block_bytes", json_object_new_int64((int64_t)options->block));
	for (unsigned i = 0; i < result_count; i++) {
		struct json_object *entry = json_object_new_object();
		json_object_object_add(entry, "name", json_object_new_string(results[i].name));
		json_object_object_add(entry, "value", json_object_new_double(results[i].value));
		json_object_object_add(entry, "unit", json_object_new_string(results[i].unit));
		if (results[i].ratio > 0)
			json_object_object_add(entry, "memcpy_ratio", json_object_new_double(results[i].ratio));
		if (results[i].cores > 0)
			json_object_object_add(entry, "cores_busy", json_object_new_double(results[i].cores));
		json_object_array_add(list, entry);
	}
	json_object_object_add(document, "results", list);
	puts(json_object_to_json_string_ext(document, JSON_C_TO_STRING_PRETTY));
	json_object_put(document);
}

int main(int argc, char **argv)
{
	static const struct option longs[] = { { "json", no_argument, NULL, 'j' },        { "folder", required_argument, NULL, 'f' },
					       { "disks", required_argument, NULL, 'd' }, { "profile", required_argument, NULL, 'p' },
					       { "mebibytes", required_argument, NULL, 'm' }, { "block", required_argument, NULL, 'b' },
					       { "threads", required_argument, NULL, 't' },
					       { "workers", required_argument, NULL, 'w' }, { NULL, 0, NULL, 0 } };
	struct options options = { .folder = "/dev/shm", .profile = "raid6", .disks = 6, .threads = 2, .bytes = 1024 * MIB,
				   .block = 128u << 10 };

	for (int c; (c = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
		switch (c) {
		case 'j': options.json = true; break;
		case 'f': options.folder = optarg; break;
		case 'd': options.disks = (unsigned)atoi(optarg); break;
		case 'p': options.profile = optarg; break;
		case 'm': options.bytes = (uint64_t)atoll(optarg) * MIB; break;
		case 'b': options.block = (uint64_t)atoll(optarg); break;
		case 'w': options.workers = (unsigned)atoi(optarg); break;
		case 't': options.threads = (unsigned)atoi(optarg); break;
		default: return 2;
		}
	}
	if (options.disks == 0 || options.disks > DISKS_MAX || options.threads == 0 || options.threads > 64 ||
	    options.bytes < options.threads * CHUNK) {
		fputs("bench_pool: 1 to 16 disks, 1 to 64 threads, a mebibyte for each thread at least\n", stderr);
		return 2;
	}
	measure(&options);
	if (options.json)
		print_json(&options);
	else
		print_table();
	return 0;
}
