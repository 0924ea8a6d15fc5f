/*
 * Counts that don't depend on the machine: device bytes for each user byte, device reads for each block, what an idle
 * pool writes, what scrub and rebuild read, and the memory of the allocation state. Six disks of 8 GiB, raid6 4+2.
 */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/bitmap.h"
#include "libpool/block/block.h"
#include "libpool/fs/fs.h"
#include "tests/sim/clients.h"
#include "tests/sim/content.h"

#define MIB (UINT64_C(1) << 20)
#define CHUNK MIB

static unsigned failures;
static uint32_t block_bytes;
static uint64_t written_bytes;
static bool disks_have_fua = true;

static void expect(bool holds, const char *what, double got, double limit)
{
	printf("%-62s %10.4f  limit %10.4f  %s\n", what, got, limit, holds ? "ok" : "FAILED");
	failures += !holds;
}

static struct sim_disk_counters sum(const struct world *world)
{
	struct sim_disk_counters all = {0};

	for (unsigned i = 0; i < world->set->count; i++) {
		const struct sim_disk_counters *one = &world->set->disks[i]->counters;

		all.reads += one->reads;
		all.writes += one->writes;
		all.flushes += one->flushes;
		all.bytes_read += one->bytes_read;
		all.bytes_written += one->bytes_written;
	}
	return all;
}

static struct world *machine(uint64_t disk_bytes)
{
	struct plan plan = {.seed = 1, .disks = 6, .k = 4, .m = 2, .cache_limit = 256 * MIB, .commit_interval_ns = 5 * NS_PER_S,
			    .dirty_limit = 512 * MIB, .fifo = true};

	for (unsigned i = 0; i < plan.disks; i++) {
		plan.disk_bytes[i] = disk_bytes;
		plan.fua[i] = disks_have_fua;
	}
	return world_new(&plan);
}

static void create(struct world *world)
{
	struct pool_error error = {0};

	world_expect(world, world_create(world, &error), &error, "create");
}

static void import(struct world *world)
{
	struct pool_error error = {0};

	world_expect(world, world_import(world, true, &error), &error, "import");
}

static void finish(struct world *world, struct volume *volume)
{
	struct pool_error error = {0};

	volume_close(volume);
	world_expect(world, world_export(world, &error), &error, "export");
}

static void fill(struct world *world, struct volume *volume, uint64_t bytes, uint32_t chunk)
{
	uint8_t *data = sim_allocate(chunk);

	for (uint64_t at = 0; at < bytes; at += chunk) {
		content_fill(data, chunk, CONTENT_PLAIN, 1, at, at / chunk);
		world_expect(world, volume_write(volume, at, chunk, data), NULL, "write");
	}
	world_expect(world, core_commit(world->core), NULL, "commit");
	free(data);
}

static struct volume *volume_filled_by(struct world *world, uint64_t bytes, uint32_t chunk)
{
	struct pool_error error = {0};
	struct volume *volume;

	world_expect(world, volume_create(world->datasets, "v", bytes, block_bytes, BLOCK_COMPRESS_OFF, &error), &error, "create volume");
	world_expect(world, volume_open(world->datasets, "v", &volume, &error), &error, "open volume");
	world_expect(world, core_commit(world->core), NULL, "commit");
	written_bytes = sum(world).bytes_written;
	fill(world, volume, bytes, chunk);
	written_bytes = sum(world).bytes_written - written_bytes;
	return volume;
}

static struct volume *filled_volume(struct world *world, uint64_t bytes)
{
	return volume_filled_by(world, bytes, CHUNK);
}

static void sequential_write(struct world *world)
{
	uint64_t bytes = 128 * MIB;
	char what[80];

	import(world);
	struct volume *volume = volume_filled_by(world, bytes, block_bytes);
	double ratio = (double)written_bytes / (double)bytes, limit = block_bytes >= 16384 ? 1.53 : 1.56;

	snprintf(what, sizeof(what), "sequential write of %u KiB blocks, one at a time: device bytes / user byte", block_bytes / 1024);
	expect(ratio <= limit, what, ratio, limit);

	/* What nobody asks for isn't done. */
	rt_sleep(world->rt, 30 * NS_PER_S);
	uint64_t before = world->set->operations;

	rt_sleep(world->rt, 600 * NS_PER_S);
	expect(world->set->operations == before, "idle for 10 minutes: writes and flushes", (double)(world->set->operations - before), 0);
	finish(world, volume);
}

/* Random writes of whole blocks; with nodes_exist into a volume of which every node of the tree is there already. */
struct random_writes {
	const char *what;
	uint64_t volume_bytes;
	uint32_t block_bytes;
	unsigned count;
	bool nodes_exist, one_txg;
	double limit;
};

static const struct random_writes *random_case;

/* One block below each of the lowest nodes, which are of 4 KiB and have 64 pointers for blocks of up to 16 KiB. */
static void make_nodes(struct world *world, struct volume *volume, uint8_t *data)
{
	uint64_t step = UINT64_C(64) * random_case->block_bytes;

	for (uint64_t at = 0; at < random_case->volume_bytes; at += step) {
		content_fill(data, random_case->block_bytes, CONTENT_PLAIN, 1, at, 1);
		world_expect(world, volume_write(volume, at, random_case->block_bytes, data), NULL, "write");
	}
	world_expect(world, core_commit(world->core), NULL, "commit");
}

static void random_writes(struct world *world)
{
	const struct random_writes *this = random_case;
	struct pool_error error = {0};
	struct volume *volume;
	uint8_t *data = sim_allocate(this->block_bytes);

	import(world);
	world_expect(world, volume_create(world->datasets, "v", this->volume_bytes, this->block_bytes, BLOCK_COMPRESS_OFF, &error), &error,
		     "create volume");
	world_expect(world, volume_open(world->datasets, "v", &volume, &error), &error, "open volume");
	world_expect(world, core_commit(world->core), NULL, "commit");
	if (this->nodes_exist)
		make_nodes(world, volume, data);
	uint64_t before = sum(world).bytes_written, commits = core_commits(world->core);

	for (unsigned i = 0; i < this->count; i++) {
		uint64_t at = sim_random_below(&world->random, this->volume_bytes / this->block_bytes) * this->block_bytes;

		content_fill(data, this->block_bytes, CONTENT_PLAIN, 1, at, i + 2);
		world_expect(world, volume_write(volume, at, this->block_bytes, data), NULL, "write");
	}
	world_expect(world, core_commit(world->core), NULL, "commit");
	double ratio = (double)(sum(world).bytes_written - before) / ((double)this->count * this->block_bytes);

	expect(ratio <= this->limit, this->what, ratio, this->limit);
	if (this->one_txg)
		expect(core_commits(world->core) == commits + 1, "  commits", (double)(core_commits(world->core) - commits), 1);
	free(data);
	finish(world, volume);
}

static void small_files(struct world *world)
{
	enum { FILES = 2000, BYTES = 4096 };
	struct fs_create_options options = {.settings = {.mask = 1u << SETTING_COMPRESSION, .values = {[SETTING_COMPRESSION] = BLOCK_COMPRESS_OFF}}};
	struct fs_new file = {.mode = 0100644};
	struct pool_error error = {0};
	struct fs_node *root;
	uint8_t data[BYTES];
	struct fs *fs;

	import(world);
	world_expect(world, fs_create(world->datasets, "f", &options, &error), &error, "create file system");
	world_expect(world, fs_open(world->datasets, "f", &fs, &error), &error, "open file system");
	world_expect(world, fs_root(fs, &root), NULL, "root");
	world_expect(world, core_commit(world->core), NULL, "commit");
	uint64_t before = sum(world).bytes_written;

	for (unsigned i = 0; i < FILES; i++) {
		struct fs_node *node;
		size_t length;
		char name[20];

		snprintf(name, sizeof(name), "file-%u", i);
		content_fill(data, BYTES, CONTENT_PLAIN, 2, (uint64_t)i * BYTES, i);
		world_expect(world, fs_make(root, name, strlen(name), &file, &node), NULL, "make");
		world_expect(world, fs_write(node, 0, BYTES, data, 0, &length), NULL, "write");
		fs_put(node);
	}
	world_expect(world, core_commit(world->core), NULL, "commit");
	double ratio = (double)(sum(world).bytes_written - before) / ((double)FILES * BYTES);

	expect(ratio <= 2.0, "2000 new files of 4 KiB, one sync: device bytes / user byte", ratio, 2.0);
	fs_put(root);
	fs_close(fs);
	world_expect(world, world_export(world, &error), &error, "export");
}

/* Disks of 64 GiB, whose allocation units are of 4 MiB. What the first data needs beside itself doesn't grow with the pool. */
static void allocation_memory(struct world *world)
{
	uint64_t bytes = 127 * MIB; /* all of 8 segments: the last counts whole */
	struct pool_error error = {0};
	struct space first, second;

	import(world);
	struct volume *volume = filled_volume(world, bytes);

	core_space(world->core, &first);
	volume_close(volume);
	world_expect(world, volume_create(world->datasets, "more", bytes, block_bytes, BLOCK_COMPRESS_OFF, &error), &error, "create volume");
	world_expect(world, volume_open(world->datasets, "more", &volume, &error), &error, "open volume");
	fill(world, volume, bytes, CHUNK);
	core_space(world->core, &second);
	/* The list of the batches of metadata, which commits make longer, not data, may double meanwhile. */
	double per_tib = ((double)(second.memory_bytes - first.memory_bytes) - 512) / (double)bytes * 1048576;

	expect(per_tib <= 48, "allocation state: MiB of memory / TiB of data", per_tib, 48);
	finish(world, volume);
}

/* A volume more, and then commits that bring each page of the allocation state to the disks. */
static void add_volume(struct world *world, const char *name, uint64_t bytes)
{
	struct pool_error error = {0};
	struct volume *volume;
	uint8_t *data = sim_allocate(block_bytes);

	world_expect(world, volume_create(world->datasets, name, bytes, block_bytes, BLOCK_COMPRESS_OFF, &error), &error, "create volume");
	world_expect(world, volume_open(world->datasets, name, &volume, &error), &error, "open volume");
	fill(world, volume, bytes, CHUNK);
	for (unsigned i = 0; i < 100; i++) {
		world_expect(world, volume_write(volume, 0, block_bytes, data), NULL, "write");
		world_expect(world, core_commit(world->core), NULL, "commit");
	}
	free(data);
	volume_close(volume);
}

static uint64_t import_reads_of(struct world *world)
{
	struct pool_error error = {0};
	uint64_t before = sum(world).bytes_read;

	world_expect(world, world_export(world, &error), &error, "export");
	import(world);
	return sum(world).bytes_read - before;
}

/* What an import reads for the data that is there, beside what it reads of any pool: labels, uberblocks, recent logs. */
static void import_reads(struct world *world)
{
	uint64_t bytes = 1024 * MIB;
	struct pool_error error = {0};

	import(world);
	add_volume(world, "few", bytes / 2);
	uint64_t few = import_reads_of(world);
	add_volume(world, "many", bytes);
	uint64_t many = import_reads_of(world);
	double per_tib = ((double)many - (double)few) / (double)bytes * 1048576;

	printf("import reads %" PRIu64 " KiB, %" PRIu64 " KiB with 1 GiB more\n", few / 1024, many / 1024);
	expect(per_tib <= 64, "import: MiB read / TiB of data", per_tib, 64);
	world_expect(world, world_export(world, &error), &error, "export");
}

static void random_reads(struct world *world)
{
	uint64_t bytes = 64 * MIB;
	uint8_t *data = sim_allocate(block_bytes);
	char what[80];

	import(world);
	struct volume *volume = filled_volume(world, bytes);

	blocks_drop_cache(core_blocks(world->core));
	struct store_counters before = *store_counters(core_store(world->core));

	for (unsigned i = 0; i < 1000; i++) {
		uint64_t block = sim_random_below(&world->random, bytes / block_bytes);

		world_expect(world, volume_read(volume, block * block_bytes, block_bytes, data), NULL, "read");
	}
	const struct store_counters *after = store_counters(core_store(world->core));
	double blocks = (double)(after->read_blocks - before.read_blocks), reads = (double)(after->read_ios - before.read_ios);

	snprintf(what, sizeof(what), "random reads, %u KiB blocks: device reads / block", block_bytes / 1024);
	expect(reads <= blocks * 1.05, what, reads / blocks, 1.05);
	free(data);
	finish(world, volume);
}

/* Rows with a live cell, as cells of all their columns, or of those on one disk only. */
static uint64_t live_cells(struct world *world, int disk)
{
	struct alloc *alloc = core_alloc(world->core);
	unsigned rows = alloc_geometry(alloc)->rows;
	uint64_t cells = 0;

	for (uint32_t id = 0; id < alloc_segment_count(alloc); id++) {
		const struct segment *segment = alloc_segment(alloc, id);
		unsigned live = 0, columns = 0;

		if (!segment || !segment->bits)
			continue;
		for (unsigned row = 1; row < rows; row++) {
			bool any = false;

			for (unsigned column = 0; column < segment->bits_k; column++)
				any |= bitmap_get(segment->bits, (size_t)column * rows + row);
			live += any;
		}
		for (unsigned column = 0; column < (unsigned)segment->record.k + segment->record.m; column++)
			columns += disk < 0 || segment->record.columns[column].disk == disk;
		cells += (uint64_t)live * columns;
	}
	return cells;
}

static void scrub_and_rebuild(struct world *world)
{
	struct libpool_scrub_options scrub = {.size = sizeof(scrub)};
	struct libpool_replace_options replace = {.size = sizeof(replace), .old_disk = "sim:2", .new_disk = "sim:6"};
	struct pool_error error = {0};

	import(world);
	struct volume *volume = filled_volume(world, 64 * MIB);

	rt_sleep(world->rt, 10 * NS_PER_S);
	blocks_drop_cache(core_blocks(world->core));
	uint64_t before = sum(world).bytes_read;
	double cells = (double)live_cells(world, -1);

	world_expect(world, engine_scrub_start(world->engine, &scrub, &error), &error, "scrub");
	world_expect(world, engine_jobs_wait(world->engine, 0, 0), NULL, "scrub");
	double read = (double)(sum(world).bytes_read - before) / SIM_CELL;
	/* Labels, sysmaps, rings of uberblocks. */
	double areas = world->plan.disks * (4.0 * LABEL_COPY_SIZE + 2.0 * SYSMAP_SLOT_SIZE + 2.0 * UBERBLOCK_COMMIT_SLOTS * UBERBLOCK_SIZE) / SIM_CELL;

	expect(read >= cells + areas && read <= cells * 1.01 + areas + 64, "scrub: cells read / cells of live rows", (read - areas) / cells,
	       1.01 + 64 / cells);
	before = sum(world).bytes_read;
	cells = (double)live_cells(world, 2);
	world_expect(world, engine_disk_replace(world->engine, &replace, &error), &error, "replace");
	world_expect(world, engine_jobs_wait(world->engine, 0, 0), NULL, "rebuild");
	read = (double)(sum(world).bytes_read - before) / SIM_CELL;
	expect(read <= cells * 1.02 + 512, "replace: cells read / cells copied", read / cells, 1.02 + 512 / cells);

	/* Another one is gone: what it had is made from k others. */
	replace.old_disk = "sim:3";
	replace.new_disk = "sim:7";
	sim_disk_vanish(world->set->disks[3], SIM_CRASH_ALL);
	world_expect(world, core_commit_forced(world->core), NULL, "commit");
	before = sum(world).bytes_read;
	cells = (double)live_cells(world, 3);
	world_expect(world, engine_disk_replace(world->engine, &replace, &error), &error, "replace");
	world_expect(world, engine_jobs_wait(world->engine, 0, 0), NULL, "rebuild");
	read = (double)(sum(world).bytes_read - before) / SIM_CELL;
	expect(cells > 0 && read > cells * 3 && read <= cells * 4 * 1.01 + 512, "rebuild: cells read / cells rebuilt", read / cells,
	       4 * 1.01 + 512 / cells);
	finish(world, volume);
}

/*
 * A pool that is written to for long, on disks so small that all of them is used many times over: what the process has
 * from malloc, what the allocation state says it takes, segments in the table.
 */
#define ROUNDS 900u
#define WARM_ROUNDS 300u
#define LONG_CACHE (8 * MIB)

struct footprint {
	double heap, mapped, state, segments, cached;
};

static void keep_higher(double *kept, double now)
{
	*kept = now > *kept ? now : *kept;
}

static double mapped_bytes(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	unsigned long long pages = 0;

	if (file && fscanf(file, "%llu", &pages) != 1)
		pages = 0;
	if (file)
		fclose(file);
	return (double)pages * 4096;
}

static void measure(struct world *world, struct footprint *footprint)
{
	struct mallinfo2 heap = mallinfo2();
	struct space space;

	core_space(world->core, &space);
	keep_higher(&footprint->heap, (double)(heap.uordblks + heap.hblkhd));
	keep_higher(&footprint->mapped, mapped_bytes());
	keep_higher(&footprint->state, (double)space.memory_bytes);
	keep_higher(&footprint->segments, (double)space.segments);
	keep_higher(&footprint->cached, (double)blocks_counters(core_blocks(world->core))->cached_bytes);
}

static void long_run(struct world *world)
{
	uint64_t bytes = 32 * MIB;
	uint8_t *data = sim_allocate(65536);
	struct footprint warm = {0}, later = {0};

	import(world);
	struct volume *volume = filled_volume(world, bytes);

	for (unsigned round = 0; round < ROUNDS; round++) {
		for (unsigned i = 0; i < 64; i++) {
			uint64_t at = sim_random_below(&world->random, bytes / 65536) * 65536;

			content_fill(data, 65536, CONTENT_PLAIN, 1, at, round);
			world_expect(world, volume_write(volume, at, 65536, data), NULL, "write");
			world_expect(world, volume_read(volume, sim_random_below(&world->random, bytes / 65536) * 65536, 65536, data), NULL, "read");
		}
		world_expect(world, core_commit(world->core), NULL, "commit");
		if (round >= WARM_ROUNDS / 2)
			measure(world, round < WARM_ROUNDS ? &warm : &later);
	}
	expect(later.cached <= LONG_CACHE, "long run: bytes cached / limit", later.cached / LONG_CACHE, 1);
	expect(later.heap <= warm.heap * 1.006, "long run: memory in use then / after a third of it", later.heap / warm.heap, 1.006);
	expect(later.mapped <= warm.mapped * 1.02, "long run: memory mapped then / after a third of it", later.mapped / warm.mapped, 1.02);
	expect(later.state <= warm.state * 1.05, "long run: allocation state then / after a third of it", later.state / warm.state, 1.05);
	expect(later.segments <= warm.segments * 1.1, "long run: segments in use then / after a third of it", later.segments / warm.segments, 1.1);
	free(data);
	finish(world, volume);
}

/* ---- flushes ---- */

#define VOLUME_BYTES (512 * MIB)
#define WRITERS 8u
#define THINKERS 4u
#define THINK_NS 20000u

struct writer {
	struct world *world;
	struct volume *volume;
	struct sim_random random;
	unsigned count;
	struct rt_group *group;
	uint64_t think_ns; /* at most, before each write */
	uint64_t flush_ns;
};

/* Writes a block somewhere and flushes, again and again. */
static void writer_main(void *argument)
{
	struct writer *writer = argument;
	struct world *world = writer->world;
	uint8_t *data = sim_allocate(block_bytes);

	for (unsigned i = 0; i < writer->count; i++) {
		uint64_t block = sim_random_below(&writer->random, VOLUME_BYTES / block_bytes);

		if (writer->think_ns)
			rt_sleep(world->rt, sim_random_between(&writer->random, writer->think_ns / 2, writer->think_ns));
		content_fill(data, block_bytes, CONTENT_NOISE, 1, block * block_bytes, i);
		world_expect(world, volume_write(writer->volume, block * block_bytes, block_bytes, data), NULL, "write");
		uint64_t began = rt_now(world->rt);

		world_expect(world, volume_flush(writer->volume), NULL, "flush");
		writer->flush_ns += rt_now(world->rt) - began;
	}
	free(data);
	rt_group_done(world->rt, writer->group, 0);
}

/* The mean time of a flush. The last writer thinks longer, or as long. */
static double flush_each(struct world *world, struct volume *volume, unsigned writers, unsigned count, uint64_t think_ns, uint64_t last_ns)
{
	struct writer all[WRITERS];
	struct rt_group group;
	uint64_t ns = 0, flushed = 0;

	rt_group_init(&group);
	for (unsigned i = 0; i < writers; i++) {
		bool seldom = i + 1 == writers && last_ns > think_ns;
		all[i] = (struct writer){.world = world, .volume = volume, .group = &group, .think_ns = seldom ? last_ns : think_ns,
					 .count = seldom ? (unsigned)(count * think_ns / last_ns) : count};
		sim_random_stream(&all[i].random, 7, "writer", i);
		rt_group_add(&group);
		world_expect(world, rt_spawn(world->rt, "writer", writer_main, &all[i]), NULL, "spawn");
	}
	rt_group_wait(world->rt, &group);
	for (unsigned i = 0; i < writers; i++) {
		ns += all[i].flush_ns;
		flushed += all[i].count;
	}
	return (double)ns / (double)flushed;
}

static void flushes(struct world *world)
{
	char what[80];
	unsigned count = 6000;
	bool fua = world->set->disks[0]->fua;

	for (unsigned i = 0; i < world->plan.disks; i++)
		world->set->disks[i]->latency.jitter_percent = 0;
	import(world);
	struct volume *volume = filled_volume(world, VOLUME_BYTES);

	/* The first one makes the log. */
	flush_each(world, volume, 1, 1, 0, 0);
	const struct core_log_counters *log = core_log_counters(world->core);
	struct core_log_counters log_before = *log;
	struct sim_disk_counters before = sum(world);
	uint64_t commits = core_commits(world->core);
	double ns = flush_each(world, volume, 1, count, 0, 0);

	world_expect(world, core_commit(world->core), NULL, "commit");
	struct sim_disk_counters after = sum(world);
	double bytes = (double)(after.bytes_written - before.bytes_written) / count / block_bytes;
	double writes = (double)(after.writes - before.writes) / count;
	/* Those of the commits, one of each disk, and one more where the uberblock has no FUA, aren't of the log. */
	uint64_t of_commits = (core_commits(world->core) - commits) * world->plan.disks * (fua ? 1 : 2);
	double flushed = ((double)(after.flushes - before.flushes) - (double)of_commits) / count;
	/* Larger blocks go where they stay, and the log only names them. */
	double limit = block_bytes == 4096 ? 9.0 : 2.8, writes_max = block_bytes == 4096 ? 3.5 : 9.5;

	snprintf(what, sizeof(what), "%u KiB write + flush%s: device bytes / user byte", block_bytes / 1024, fua ? "" : ", no FUA");
	expect(bytes <= limit, what, bytes, limit);
	snprintf(what, sizeof(what), "%u KiB write + flush%s: device writes", block_bytes / 1024, fua ? "" : ", no FUA");
	expect(writes <= writes_max, what, writes, writes_max);
	snprintf(what, sizeof(what), "%u KiB write + flush%s: device flushes", block_bytes / 1024, fua ? "" : ", no FUA");
	expect(flushed <= (fua ? 0 : 3), what, flushed, fua ? 0 : 3);
	expect(log->groups - log_before.groups >= count * 99 / 100, "flushes that the log served",
	       (double)(log->groups - log_before.groups) / count, 0.99);
	/* One write of the block with its header, and where there is no FUA one flush. */
	const struct sim_latency *latency = &world->set->disks[0]->latency;
	double device = (double)latency->io_ns + (block_bytes == 4096 ? 8192 : 4096) * 1e9 / (double)latency->bytes_per_second;

	if (!fua)
		device += (double)latency->flush_ns;
	snprintf(what, sizeof(what), "%u KiB flush%s: time / that of one device write", block_bytes / 1024, fua ? "" : ", no FUA");
	expect(ns <= device * 1.2, what, ns / device, 1.2);

	before = sum(world);
	flush_each(world, volume, WRITERS, count / WRITERS, 0, 0);
	after = sum(world);
	double together = (double)(after.writes - before.writes) / (count / WRITERS * WRITERS);

	snprintf(what, sizeof(what), "the same by %u writers: device writes", WRITERS);
	expect(together <= writes / 6, what, together, writes / 6);

	/* Who comes back soon is waited for; who doesn't, isn't. */
	before = sum(world);
	ns = flush_each(world, volume, THINKERS, count / THINKERS, THINK_NS, 0);
	after = sum(world);
	double apart = (double)(after.writes - before.writes) / (count / THINKERS * THINKERS);

	snprintf(what, sizeof(what), "the same by %u writers who think: device writes", THINKERS);
	expect(apart <= writes / 3.6, what, apart, writes / 3.6);
	snprintf(what, sizeof(what), "the same by %u writers who think: time / that of one device write", THINKERS);
	expect(ns <= device * 1.2, what, ns / device, 1.2);
	ns = flush_each(world, volume, 2, count / 2, THINK_NS, 50 * THINK_NS);
	expect(ns <= device * 1.1, "a flush beside one that comes seldom: time / that of one device write", ns / device, 1.1);
	uint64_t long_ns = (uint64_t)(device * 1.5);
	ns = flush_each(world, volume, 2, count / 2, long_ns, 0);
	expect(ns <= device * 1.3, "two who are never back in time: time / that of one device write", ns / device, 1.3);
	finish(world, volume);
}

static void run(uint32_t size, void (*body)(struct world *world))
{
	struct world *world = machine(body == allocation_memory || body == import_reads ? 65536 * MIB : body == long_run ? 64 * MIB : 8192 * MIB);

	block_bytes = size;
	if (body == long_run)
		world->plan.cache_limit = LONG_CACHE;
	for (unsigned i = 0; body == scrub_and_rebuild && i < 2; i++)
		sim_disks_add(world->set, 8192 * MIB);
	world_boot(world, create);
	if (world_boot(world, body) != WORLD_ENDED)
		world_fail(world, "the boot did not end by itself");
	world_free(world);
}

static const struct random_writes random_cases[] = {
	{"32768 random 4 KiB over 512 MiB: device bytes / user byte", 512 * MIB, 4096, 32768, false, false, 1.60},
	{"8192 random 16 KiB over 512 MiB: device bytes / user byte", 512 * MIB, 16384, 8192, false, false, 1.42},
	{"2000 random 4 KiB in one txg, 1 GiB: device bytes / user byte", 1024 * MIB, 4096, 2000, true, true, 3.2},
	{"2000 random 4 KiB in one txg, 3 GiB: device bytes / user byte", 3072 * MIB, 4096, 2000, true, true, 3.4},
	{"2000 random 16 KiB in one txg, 6 GiB: device bytes / user byte", 6144 * MIB, 16384, 2000, true, true, 1.9},
};

int main(void)
{
	run(4096, sequential_write);
	run(16384, sequential_write);
	run(131072, sequential_write);
	run(4096, random_reads);
	run(65536, random_reads);
	run(16384, scrub_and_rebuild);
	for (size_t i = 0; i < sizeof(random_cases) / sizeof(random_cases[0]); i++) {
		random_case = &random_cases[i];
		run(random_case->block_bytes, random_writes);
	}
	run(0, small_files);
	run(16384, long_run);
	run(131072, allocation_memory);
	run(16384, import_reads);
	run(4096, flushes);
	run(16384, flushes);
	disks_have_fua = false;
	run(4096, flushes);
	printf("%u failed\n", failures);
	return failures != 0;
}
