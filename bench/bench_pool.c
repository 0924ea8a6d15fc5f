/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a whole pool gives through the public API, against memcpy in the same run. --help tells the options.
 *
 * The yardstick is bytes copied per second between cold buffers of 256 MiB, as many threads as there are cores
 * together, measured before and after and averaged. Put the disks on a RAM-backed folder to measure the engine, on real
 * ones to measure a machine. Data is incompressible. Files have all their memory or blocks before anything is measured,
 * and the process its memory: another volume is written first. On a virtual machine whose host takes free
 * memory back, new memory comes at a tenth of the rate of memcpy, and would be all that is measured.
 */
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <json-c/json.h>

#include <libpool.h>

#define MIB        (UINT64_C(1) << 20)
#define CHUNK      MIB
#define DISKS_MAX  16
#define THREADS_MAX 64

#define WARM_BYTES (512 * MIB) /* as much as may be dirty */
#define WARM_THREADS 16u       /* so many that it is */
#define LABEL_SPAN (8 * MIB) /* labels are within this much of both ends of a disk */

enum phase { PHASE_WRITE, PHASE_OVERWRITE, PHASE_READ, PHASE_RANDOM, PHASE_DEEP, PHASE_SYNC, PHASE_SCRUB, PHASE_MISSING, PHASE_COUNT };

static const struct {
	const char *name, *what;
} phases[PHASE_COUNT] = {
	[PHASE_WRITE] = { "write", "sequential write" },
	[PHASE_OVERWRITE] = { "overwrite", "sequential overwrite" },
	[PHASE_READ] = { "read", "sequential read, verified" },
	[PHASE_RANDOM] = { "random", "random 4 KiB read, one reader" },
	[PHASE_DEEP] = { "deep", "random 4 KiB read, 32 readers" },
	[PHASE_SYNC] = { "sync", "4 KiB write and flush, one writer" },
	[PHASE_SCRUB] = { "scrub", "scrub (all columns)" },
	[PHASE_MISSING] = { "missing", "sequential read, one disk missing" },
};

struct options {
	const char *folder, *profile, *paths[DISKS_MAX];
	unsigned disks, threads, workers, seconds, phases;
	uint64_t bytes, block, cache;
	bool json, given, force, no_uring, huge;
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

struct client {
	libpool_volume *volume;
	const struct options *options;
	enum phase phase;
	unsigned index, count;
	pthread_barrier_t *ready;
	uint64_t operations;
};

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static int run_sequential(struct client *client, uint64_t *buffer)
{
	uint64_t share = client->options->bytes / client->count / CHUNK * CHUNK, base = client->index * share;
	int status = 0;

	for (uint64_t done = 0; done < share && status == 0; done += CHUNK) {
		buffer[0] = base + done;
		if (client->phase == PHASE_WRITE || client->phase == PHASE_OVERWRITE)
			status = libpool_volume_write(client->volume, base + done, CHUNK, buffer);
		else
			status = libpool_volume_read(client->volume, base + done, CHUNK, buffer);
		client->operations++;
	}
	return status;
}

static int run_random(struct client *client, uint64_t *buffer, uint64_t state)
{
	double end = seconds_now() + client->options->seconds;
	int status = 0;

	while (status == 0 && seconds_now() < end) {
		uint64_t offset = next_random(&state) % (client->options->bytes / 4096) * 4096;
		if (client->phase == PHASE_SYNC) {
			status = libpool_volume_write(client->volume, offset, 4096, buffer);
			if (status == 0)
				status = libpool_volume_flush(client->volume);
		} else {
			status = libpool_volume_read(client->volume, offset, 4096, buffer);
		}
		client->operations++;
	}
	return status;
}

static void *client_thread(void *argument)
{
	struct client *client = argument;
	uint64_t state = 88172645463325252u + client->index;
	uint64_t *buffer = aligned_alloc(4096, CHUNK);

	pthread_setname_np(pthread_self(), "bench-client"); /* for profilers */
	for (size_t i = 0; i < CHUNK / 8; i++)
		buffer[i] = next_random(&state);
	pthread_barrier_wait(client->ready);
	bool sequential = client->phase != PHASE_RANDOM && client->phase != PHASE_DEEP && client->phase != PHASE_SYNC;
	int status = sequential ? run_sequential(client, buffer) : run_random(client, buffer, state);
	if (status < 0)
		fail("a request", status, NULL);
	free(buffer);
	return NULL;
}

/* Runs the clients of a phase; the clock starts when all are ready. *ret_operations per second, *ret_cores busy meanwhile. */
static double run_clients(libpool_volume *volume, const struct options *options, enum phase phase, unsigned threads,
			  double *ret_cores)
{
	struct client clients[THREADS_MAX];
	pthread_t ids[THREADS_MAX];
	pthread_barrier_t ready;
	uint64_t operations = 0;

	pthread_barrier_init(&ready, NULL, threads + 1);
	for (unsigned i = 0; i < threads; i++) {
		clients[i] = (struct client){ volume, options, phase, i, threads, &ready, 0 };
		pthread_create(&ids[i], NULL, client_thread, &clients[i]);
	}
	pthread_barrier_wait(&ready);
	double start = seconds_now(), cpu = cpu_now();
	for (unsigned i = 0; i < threads; i++) {
		pthread_join(ids[i], NULL);
		operations += clients[i].operations;
	}
	if (phase == PHASE_WRITE || phase == PHASE_OVERWRITE)
		libpool_volume_flush(volume);
	double wall = seconds_now() - start;
	*ret_cores = (cpu_now() - cpu) / wall;
	pthread_barrier_destroy(&ready);
	return (double)operations / wall;
}

/* ---- the pool ---- */

static char disk_paths[DISKS_MAX][256], pool_name[32];

static struct libpool_host host_of(const struct options *options, const char *const *folders)
{
	struct libpool_host host = { .size = sizeof(host), .folders = folders, .folder_count = 1,
				     .no_devices = !options->given, .no_uring = options->no_uring, .workers = options->workers };

	host.cache_bytes = options->cache ? options->cache : 1;
	return host;
}

/* A file system in RAM with large pages, which the kernel gives to a mount that asks for them; gone when the process ends. */
static char huge_folder[] = "/tmp/bench-pool-XXXXXX";

static void unmount(void)
{
	umount2(huge_folder, MNT_DETACH);
	rmdir(huge_folder);
}

static void mount_huge(struct options *options)
{
	if (!mkdtemp(huge_folder)) {
		perror(huge_folder);
		exit(1);
	}
	if (mount("tmpfs", huge_folder, "tmpfs", MS_NOSUID | MS_NODEV, "huge=always,size=90%,mode=0700") < 0) {
		perror("bench_pool: --huge: mounting a tmpfs with huge=always");
		rmdir(huge_folder);
		exit(1);
	}
	atexit(unmount);
	options->folder = huge_folder;
}

/* Room for the data twice, as it is overwritten, for what is written before, and for what is always kept free. */
static void make_disks(struct options *options)
{
	uint64_t size = ((options->bytes * 4 + WARM_BYTES * 2) / options->disks + 128 * MIB) / CHUNK * CHUNK;
	char *zeroes = calloc(1, CHUNK);

	for (unsigned i = 0; i < options->disks && !options->given; i++) {
		snprintf(disk_paths[i], sizeof(disk_paths[i]), "%s/bench-disk-%u", options->folder, i);
		unlink(disk_paths[i]);
		int descriptor = open(disk_paths[i], O_RDWR | O_CREAT | O_EXCL, 0600);
		bool made = descriptor >= 0;
		for (uint64_t at = 0; at < size && made; at += CHUNK)
			made = pwrite(descriptor, zeroes, CHUNK, (off_t)at) == (ssize_t)CHUNK;
		if (!made) {
			perror(disk_paths[i]);
			exit(1);
		}
		close(descriptor);
		options->paths[i] = disk_paths[i];
	}
	free(zeroes);
}

static void remove_disks(const struct options *options)
{
	for (unsigned i = 0; i < options->disks && !options->given; i++)
		unlink(options->paths[i]);
}

/* Takes the first disk out of the pool: a file goes, a given disk loses its labels. */
static void lose_disk(const struct options *options)
{
	if (!options->given) {
		unlink(options->paths[0]);
		return;
	}
	int descriptor = open(options->paths[0], O_RDWR);
	char *zeroes = calloc(1, LABEL_SPAN);
	off_t size = descriptor < 0 ? -1 : lseek(descriptor, 0, SEEK_END);
	if (!zeroes || size < (off_t)LABEL_SPAN || pwrite(descriptor, zeroes, LABEL_SPAN, 0) < 0 ||
	    pwrite(descriptor, zeroes, LABEL_SPAN, size - (off_t)LABEL_SPAN) < 0 || fsync(descriptor) < 0) {
		perror(options->paths[0]);
		exit(1);
	}
	free(zeroes);
	close(descriptor);
}

static void add_result(const char *name, double value, const char *unit, bool compare, double cores)
{
	results[result_count++] = (struct result){ name, unit, value, compare ? 1 : 0, cores };
}

static libpool_pool *import_pool(const struct libpool_host *host, uint32_t read_only)
{
	struct libpool_import_options import = { .size = sizeof(import), .name = pool_name, .read_only = read_only };
	struct libpool_error error = { 0 };
	libpool_pool *pool;
	int status = libpool_import(host, &import, &pool, &error);

	if (status < 0)
		fail("import", status, &error);
	return pool;
}

static libpool_volume *open_volume(libpool_pool *pool, const char *name)
{
	struct libpool_error error = { 0 };
	libpool_volume *volume;
	int status = libpool_volume_open(pool, name, NULL, &volume, &error);

	if (status < 0)
		fail("open", status, &error);
	return volume;
}

static void create_volume(libpool_pool *pool, const char *name, uint64_t bytes, const struct options *options)
{
	struct libpool_volume_options volume = { .size = sizeof(volume), .volume_bytes = bytes,
						 .block_bytes = (uint32_t)options->block, .compression = "off" };
	struct libpool_error error = { 0 };
	int status = libpool_volume_create(pool, name, &volume, &error);

	if (status < 0)
		fail("volume", status, &error);
}

/* Gives the process all the memory that it will need. */
static void warm_up(libpool_pool *pool, const struct options *options)
{
	struct options warm = *options;
	double cores;

	warm.bytes = WARM_BYTES;
	create_volume(pool, "warm", warm.bytes, options);
	libpool_volume *volume = open_volume(pool, "warm");
	for (unsigned run = 0; run < 2; run++)
		(void)run_clients(volume, &warm, PHASE_WRITE, WARM_THREADS, &cores);
	libpool_volume_close(volume);
}

static void measure_clients(libpool_volume *volume, const struct options *options, enum phase phase)
{
	static const unsigned readers[PHASE_COUNT] = { [PHASE_RANDOM] = 1, [PHASE_DEEP] = 32, [PHASE_SYNC] = 1 };
	unsigned threads = readers[phase] ? readers[phase] : options->threads;
	double cores;

	if (!(options->phases >> phase & 1))
		return;
	double rate = run_clients(volume, options, phase, threads, &cores);
	if (readers[phase])
		add_result(phases[phase].what, rate, "op/s", false, cores);
	else
		add_result(phases[phase].what, rate * CHUNK, "B/s", true, cores);
}

static void measure_scrub(libpool_pool *pool)
{
	struct libpool_scrub_options scrub = { .size = sizeof(scrub) };
	struct libpool_error error = { 0 };
	struct libpool_job *jobs;
	size_t count;
	uint64_t scrubbed = 0;
	double start = seconds_now(), cpu = cpu_now();
	int status = libpool_scrub_start(pool, &scrub, &error);

	if (status < 0)
		fail("scrub", status, &error);
	libpool_jobs_wait(pool, 1u << LIBPOOL_JOB_SCRUB, 0);
	double wall = seconds_now() - start;
	cpu = cpu_now() - cpu;
	if (libpool_jobs(pool, &jobs, &count) == 0) {
		for (size_t i = 0; i < count; i++)
			if (jobs[i].kind == LIBPOOL_JOB_SCRUB)
				scrubbed = jobs[i].done_bytes;
		libpool_free(jobs);
	}
	add_result(phases[PHASE_SCRUB].what, (double)scrubbed / wall, "B/s", true, cpu / wall);
}

static void create(const struct options *options, const struct libpool_host *host)
{
	struct libpool_error error = { 0 };
	struct libpool_create_options create = { .size = sizeof(create), .name = pool_name, .profile = options->profile,
						 .disks = options->paths, .disk_count = options->disks, .force = options->force };
	int status = libpool_create(host, &create, NULL, &error);

	if (status < 0)
		fail("create", status, &error);
	libpool_pool *pool = import_pool(host, 0);
	create_volume(pool, "data", options->bytes, options);
	status = libpool_close(pool, &error);
	if (status < 0)
		fail("close", status, &error);
}

static void measure(struct options *options)
{
	const char *folders[] = { options->folder };
	struct libpool_host host = host_of(options, folders);
	struct libpool_error error = { 0 };
	double yardstick = memcpy_rate();

	snprintf(pool_name, sizeof(pool_name), "bench-%d", (int)getpid()); /* others' disks may be searched too */
	make_disks(options);
	create(options, &host);
	libpool_pool *pool = import_pool(&host, 0);
	libpool_volume *volume = open_volume(pool, "data");
	warm_up(pool, options);
	for (enum phase phase = PHASE_WRITE; phase <= PHASE_SYNC; phase++)
		measure_clients(volume, options, phase);
	if (options->phases >> PHASE_SCRUB & 1)
		measure_scrub(pool);
	struct libpool_pool_info info = { .size = sizeof(info) };
	if (libpool_pool_info(pool, &info) == 0)
		add_result("allocation state for the data written", (double)info.allocation_memory, "B", false, 0);
	libpool_volume_close(volume);
	int status = libpool_close(pool, &error);
	if (status < 0)
		fail("close", status, &error);
	if (options->phases >> PHASE_MISSING & 1) {
		lose_disk(options);
		pool = import_pool(&host, 1);
		volume = open_volume(pool, "data");
		measure_clients(volume, options, PHASE_MISSING);
		libpool_volume_close(volume);
		libpool_close(pool, &error);
	}
	remove_disks(options);
	yardstick = (yardstick + memcpy_rate()) / 2;
	for (unsigned i = 0; i < result_count; i++)
		if (results[i].ratio > 0)
			results[i].ratio = results[i].value / yardstick;
	add_result("memcpy, all cores", yardstick, "B/s", false, 0);
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
	json_object_object_add(document, "large_pages", json_object_new_boolean(options->huge));
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

/* ---- the command line ---- */

static const char usage[] =
	"Usage: bench_pool [OPTION]...\n"
	"Measures a whole pool through the public API against memcpy in the same run. Disks are overwritten.\n\n"
	"  --folder DIR     make files as disks in DIR, and remove them (default: /dev/shm)\n"
	"  --huge           files on a mount of their own in RAM with large pages, instead of in DIR; needs root\n"
	"  --disk PATH      use this disk, which loses all it has; once for each disk. One that is a file lies in DIR\n"
	"  --force          use given disks although they carry something\n"
	"  --disks N        files to make (default: 6)\n"
	"  --profile P      as for poolctl create (default: raid6)\n"
	"  --mebibytes N    size of the volume (default: 1024)\n"
	"  --block N        bytes of its blocks (default: 131072)\n"
	"  --threads N      clients that write or read in sequence, 1 MiB at a time (default: 2)\n"
	"  --workers N      worker threads of the pool (default: what the library takes)\n"
	"  --cache N        MiB of cache (default: 16; 0: none)\n"
	"  --no-uring       disks by threads instead of io_uring\n"
	"  --seconds N      length of each random phase (default: 3)\n"
	"  --only A,B...    phases: write, overwrite, read, random, deep, sync, scrub, missing\n"
	"  --json           print one JSON document\n"
	"  --help           print this\n";

static unsigned parse_phases(char *list)
{
	unsigned mask = 0;

	for (char *name = strtok(list, ","); name; name = strtok(NULL, ",")) {
		unsigned i = 0;
		while (i < PHASE_COUNT && strcmp(name, phases[i].name) != 0)
			i++;
		if (i == PHASE_COUNT) {
			fprintf(stderr, "bench_pool: --only: there is no phase '%s'\n", name);
			exit(2);
		}
		mask |= 1u << i;
	}
	return mask;
}

static uint64_t number(const char *text, const char *option, uint64_t most)
{
	char *end;
	errno = 0;
	unsigned long long value = strtoull(text, &end, 10);

	if (errno || end == text || *end || *text == '-' || value > most) {
		fprintf(stderr, "bench_pool: --%s: '%s' is not a number from 0 to %llu\n", option, text, (unsigned long long)most);
		exit(2);
	}
	return value;
}

static void parse(int argc, char **argv, struct options *options)
{
	static const struct option longs[] = { { "json", no_argument, NULL, 'j' },        { "folder", required_argument, NULL, 'f' },
					       { "disks", required_argument, NULL, 'd' }, { "profile", required_argument, NULL, 'p' },
					       { "mebibytes", required_argument, NULL, 'm' }, { "block", required_argument, NULL, 'b' },
					       { "threads", required_argument, NULL, 't' }, { "workers", required_argument, NULL, 'w' },
					       { "disk", required_argument, NULL, 'D' }, { "force", no_argument, NULL, 'F' },
					       { "cache", required_argument, NULL, 'c' }, { "no-uring", no_argument, NULL, 'u' },
					       { "seconds", required_argument, NULL, 's' }, { "only", required_argument, NULL, 'o' },
					       { "huge", no_argument, NULL, 'H' }, { "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 } };
	unsigned given = 0;

	for (int c, at; (c = getopt_long(argc, argv, "", longs, &at)) != -1;) {
		switch (c) {
		case 'j': options->json = true; break;
		case 'f': options->folder = optarg; break;
		case 'D':
			if (given == DISKS_MAX)
				break;
			options->paths[given++] = optarg;
			options->given = true;
			break;
		case 'F': options->force = true; break;
		case 'd': options->disks = (unsigned)number(optarg, longs[at].name, DISKS_MAX); break;
		case 'p': options->profile = optarg; break;
		case 'm': options->bytes = number(optarg, longs[at].name, 1u << 30) * MIB; break;
		case 'b': options->block = number(optarg, longs[at].name, 1u << 30); break;
		case 'w': options->workers = (unsigned)number(optarg, longs[at].name, 1024); break;
		case 't': options->threads = (unsigned)number(optarg, longs[at].name, THREADS_MAX); break;
		case 'c': options->cache = number(optarg, longs[at].name, 1u << 30) * MIB; break;
		case 'u': options->no_uring = true; break;
		case 's': options->seconds = (unsigned)number(optarg, longs[at].name, 3600); break;
		case 'o': options->phases = parse_phases(optarg); break;
		case 'H': options->huge = true; break;
		case 'h': fputs(usage, stdout); exit(0);
		default: exit(2);
		}
	}
	if (options->given)
		options->disks = given;
	if (optind < argc || options->disks == 0 || options->threads == 0 || options->bytes < options->threads * CHUNK) {
		fputs("bench_pool: 1 to 16 disks, 1 to 64 threads, a mebibyte for each thread at least; --help tells more\n", stderr);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	struct options options = { .folder = "/dev/shm", .profile = "raid6", .disks = 6, .threads = 2, .bytes = 1024 * MIB,
				   .block = 128u << 10, .cache = 16 * MIB, .seconds = 3, .phases = (1u << PHASE_COUNT) - 1 };

	parse(argc, argv, &options);
	if (options.huge)
		mount_huge(&options);
	measure(&options);
	if (options.json)
		print_json(&options);
	else
		print_table();
	return 0;
}
