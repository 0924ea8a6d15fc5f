/*
 * Trims in scripted histories. What may be trimmed is judged by the watch (watch.h) at each request; what the pool has afterwards is compared
 * with the model; and no write goes where a trim is under way, which the simulated disks see to.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/alloc/trim.h"
#include "libpool/block/block.h"
#include "scrub/verify.h"
#include "tests/sim/admin.h"
#include "tests/sim/clients.h"
#include "tests/sim/watch.h"

#define MIB (UINT64_C(1) << 20)
#define VOLUME_BYTES (24 * MIB)

static void open_pool(struct world *world)
{
	struct pool_error error = {0};

	world_expect(world, world_import(world, true, &error), &error, "import");
	world_note_members(world);
	clients_recover(world, true);
}

static void close_pool(struct world *world)
{
	struct pool_error error = {0};
	uint64_t begin = model_now(&world->model);

	clients_close_volumes(world);
	world_expect(world, world_export(world, &error), &error, "export");
	model_durable(&world->model, NULL, begin);
}

static void create_body(struct world *world)
{
	struct pool_error error = {0};

	world_expect(world, world_create(world, &error), &error, "create");
}

static void write_all(struct world *world, const char *name)
{
	struct model_volume *volume = model_find(&world->model, name);

	for (uint64_t at = 0; at < VOLUME_BYTES; at += 256 * 1024)
		clients_write(world, volume, at, 256 * 1024);
	clients_commit(world, false);
}

/* Two volumes by turns, so that what is free and what isn't lie side by side. */
static void fill_body(struct world *world)
{
	open_pool(world);
	clients_create(world, "v", VOLUME_BYTES, 16384, BLOCK_COMPRESS_OFF);
	clients_create(world, "gone", VOLUME_BYTES, 16384, BLOCK_COMPRESS_OFF);
	write_all(world, "gone");
	write_all(world, "v");
	write_all(world, "gone");
	close_pool(world);
}

static struct world *machine(const char *name)
{
	struct plan plan = {.seed = 815, .disks = 4, .k = 2, .m = 1, .au_shift = 18, .commit_interval_ns = 100 * NS_PER_MS,
			    .dirty_limit = 8 * MIB, .write_deadline_ns = NS_PER_S};

	for (unsigned i = 0; i < plan.disks; i++) {
		plan.disk_bytes[i] = 96 * MIB;
		plan.fua[i] = true;
	}
	struct world *world = world_new(&plan);

	world->doing = name;
	watch_start(world);
	world_boot(world, create_body);
	world_boot(world, fill_body);
	return world;
}

static void boot(struct world *world, void (*body)(struct world *world))
{
	enum world_end end = world_boot(world, body);

	sim_disks_cut_at(world->set, UINT64_MAX);
	if (end == WORLD_POWER_CUT)
		world_power_cut(world, SIM_CRASH_ANY);
	if (end != WORLD_ENDED)
		model_crash(&world->model);
}

static void check_body(struct world *world)
{
	open_pool(world);
	clients_check_all(world);
	admin_repair(world);
	admin_verify(world, VERIFY_FULL);
	close_pool(world);
}

static void done(struct world *world)
{
	boot(world, check_body);
	printf("%s: %" PRIu64 " operations\n", world->doing, world->set->operations);
	watch_stop(world);
	world_free(world);
}

static uint64_t trims(const struct world *world)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < world->set->count; i++)
		count += world->set->disks[i]->counters.trims;
	return count;
}

static uint64_t bytes_trimmed(struct world *world)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < DISKS_MAX; i++)
		if (store_disk(core_store(world->core), i)->disk)
			bytes += store_disk(core_store(world->core), i)->disk->counters.bytes_trimmed;
	return bytes;
}

static struct libpool_job trim(struct world *world, uint64_t bytes_per_second)
{
	struct libpool_trim_options options = {.size = sizeof(options), .bytes_per_second = bytes_per_second};
	struct libpool_job *jobs, job = {0};
	struct pool_error error = {0};
	size_t count = 0;

	world_expect(world, engine_trim_start(world->engine, &options, &error), &error, "trim");
	world_expect(world, engine_jobs_wait(world->engine, 1u << LIBPOOL_JOB_TRIM, 0), &error, "wait");
	world_expect(world, engine_jobs(world->engine, &jobs, &count), &error, "jobs");
	for (size_t i = 0; i < count; i++)
		if (jobs[i].kind == LIBPOOL_JOB_TRIM)
			job = jobs[i];
	free(jobs);
	return job;
}

static uint64_t free_bytes(struct world *world)
{
	uint64_t aus = 0;

	for (unsigned i = 0; i < DISKS_MAX; i++)
		if (alloc_disk(core_alloc(world->core), i))
			aus += alloc_disk(core_alloc(world->core), i)->au_free;
	return aus << 18;
}

/* Two commits after the one that freed it, and some more for what is freed bit by bit. */
static void clear(struct world *world, const char *name)
{
	struct model_volume *volume = model_find(&world->model, name);

	for (uint64_t at = 0; at < model_size(volume); at += 4 * MIB)
		clients_zero(world, volume, at, 4 * MIB);
	for (unsigned i = 0; i < 8; i++)
		clients_commit(world, true);
}

static void make_room(struct world *world)
{
	clear(world, "gone");
}

/* ---- all that is free, and nothing twice ---- */

static void once_body(struct world *world)
{
	open_pool(world);
	make_room(world);
	uint64_t left = free_bytes(world);
	struct libpool_job job = trim(world, 0);

	if (job.state != LIBPOOL_JOB_FINISHED || job.text[0] || job.done_bytes != left || bytes_trimmed(world) != left)
		world_fail(world, "%" PRIu64 " bytes are free, %" PRIu64 " were trimmed, %" PRIu64 " told: %s", left, bytes_trimmed(world),
			   job.done_bytes, job.text);
	/* Its own records are all that was written since. */
	job = trim(world, 0);
	if (job.done_bytes > MIB || job.done_bytes * 20 > left)
		world_fail(world, "%" PRIu64 " bytes were trimmed again", job.done_bytes);
	clients_check_all(world);
	write_all(world, "gone");
	clients_check_all(world);
	close_pool(world);
}

static void all_and_once(void)
{
	struct world *world = machine("all that is free is trimmed, and once");

	boot(world, once_body);
	done(world);
}

/* ---- the limit ---- */

static void limit_body(struct world *world)
{
	open_pool(world);
	make_room(world);
	uint64_t left = free_bytes(world), begin = rt_now(world->rt);
	struct libpool_job job = trim(world, 16 * MIB);
	uint64_t took = rt_now(world->rt) - begin, least = left / (16 * MIB) * NS_PER_S;

	if (job.done_bytes != left || took + 2 * NS_PER_S < least || took > 2 * least + 5 * NS_PER_S)
		world_fail(world, "%" PRIu64 " of %" PRIu64 " bytes in %" PRIu64 " ns", job.done_bytes, left, took);
	close_pool(world);
}

static void limit(void)
{
	struct world *world = machine("a trim with a limit");

	boot(world, limit_body);
	done(world);
}

/* ---- a disk that refuses ---- */

static void refused_body(struct world *world)
{
	open_pool(world);
	make_room(world);
	struct libpool_job job = trim(world, 0);

	if (job.state != LIBPOOL_JOB_FINISHED || !strstr(job.text, "1 disk could not be trimmed"))
		world_fail(world, "state %u: %s", job.state, job.text);
	for (unsigned i = 0; i < world->set->count; i++)
		world->set->disks[i]->no_trim = true;
	write_all(world, "gone");
	make_room(world);
	job = trim(world, 0);
	if (job.state != LIBPOOL_JOB_FAILED || !strstr(job.text, "no disk of it can be trimmed"))
		world_fail(world, "state %u: %s", job.state, job.text);
	close_pool(world);
}

static void refused(void)
{
	struct world *world = machine("a disk that can't be trimmed");

	world->set->disks[2]->no_trim = true;
	boot(world, refused_body);
	done(world);
}

/* ---- a trim that hangs ---- */

/* As long as it does, the places are nobody's; then they are used again. */
static void late_body(struct world *world)
{
	struct space before, after;

	open_pool(world);
	make_room(world);
	core_space(world->core, &before);
	world->set->disks[1]->latency.trim_ns = 200 * NS_PER_S;
	uint64_t begin = rt_now(world->rt);
	struct libpool_job job = trim(world, 0);
	world->set->disks[1]->latency.trim_ns = 0;

	if (job.state != LIBPOOL_JOB_FINISHED || !strstr(job.text, "1 disk could not be trimmed"))
		world_fail(world, "state %u: %s", job.state, job.text);
	if (store_disk(core_store(world->core), 1)->state != DISK_ONLINE)
		world_fail(world, "the disk was given up");
	for (unsigned turn = 0; turn < 6; turn++) {
		write_all(world, "gone");
		make_room(world);
	}
	clients_check_all(world);
	if (store_disk(core_store(world->core), 1)->disk->abandoned_trims != 1)
		world_fail(world, "no trim is under way");
	rt_sleep(world->rt, begin + 210 * NS_PER_S - rt_now(world->rt));
	make_room(world);
	core_space(world->core, &after);
	/* Some more hold metadata by now. */
	if (store_disk(core_store(world->core), 1)->disk->abandoned_trims || after.free_segments + 8 < before.free_segments)
		world_fail(world, "%" PRIu64 " free segments at first, %" PRIu64 " at the end", before.free_segments, after.free_segments);
	write_all(world, "gone");
	clients_check_all(world);
	close_pool(world);
}

static void late_trim(void)
{
	struct world *world = machine("a trim that hangs, and ends after many commits");

	boot(world, late_body);
	done(world);
}

/* ---- a disk that goes ---- */

static void lost_body(struct world *world)
{
	struct libpool_trim_options options = {.size = sizeof(options), .bytes_per_second = 8 * MIB};
	struct pool_error error = {0};

	open_pool(world);
	make_room(world);
	world_expect(world, engine_trim_start(world->engine, &options, &error), &error, "trim");
	rt_sleep(world->rt, 3 * NS_PER_S);
	sim_disk_vanish(world->set->disks[1], SIM_CRASH_ANY);
	world->suspects = 2;
	write_all(world, "gone");
	(void)engine_jobs_wait(world->engine, 1u << LIBPOOL_JOB_TRIM, 0);
	clients_check_all(world);
	sim_disk_return(world->set->disks[1]);
	world_expect(world, engine_disk_online(world->engine, "#1", "sim:1", false, &error), &error, "online");
	(void)engine_jobs_wait(world->engine, 0, 0);
	write_all(world, "gone");
	close_pool(world);
}

static void lost_disk(void)
{
	struct world *world = machine("a disk is lost while it is trimmed, and comes back");

	boot(world, lost_body);
	done(world);
}

/* ---- crashes ---- */

static void cycle_body(struct world *world)
{
	struct libpool_trim_options options = {.size = sizeof(options)};
	struct pool_error error = {0};

	open_pool(world);
	(void)engine_trim_start(world->engine, &options, &error); /* one that was interrupted goes on by itself */
	for (unsigned turn = 0; turn < 3; turn++) {
		write_all(world, "gone");
		(void)engine_trim_start(world->engine, &options, &error);
		make_room(world);
		(void)engine_trim_start(world->engine, &options, &error);
	}
	(void)engine_jobs_wait(world->engine, 1u << LIBPOOL_JOB_TRIM, 0);
	close_pool(world);
}

static void crashes(void)
{
	struct world *world = machine("crashes during trims");

	for (unsigned i = 0; i < 40; i++) {
		sim_disks_cut_at(world->set, world->set->operations + 40 + i * 23);
		boot(world, cycle_body);
	}
	done(world);
}

/* ---- in the background ---- */

static void background_body(struct world *world)
{
	struct pool_error error = {0};

	open_pool(world);
	world_expect(world, engine_property_set(world->engine, "", "autotrim", "on", false, &error), &error, "autotrim");
	rt_sleep(world->rt, 30 * NS_PER_S);
	/* What was freed right before the export became free in this import. */
	uint64_t before = bytes_trimmed(world), requests_before = trims(world);

	make_room(world);
	rt_sleep(world->rt, 60 * NS_PER_S);
	uint64_t freed = bytes_trimmed(world) - before, requests = trims(world) - requests_before;

	/* About the volume with its parity; what was free before isn't touched. */
	if (before > 16 * MIB || freed < VOLUME_BYTES * 3 / 2 * 9 / 10 || freed > VOLUME_BYTES * 3 / 2 * 13 / 10)
		world_fail(world, "%" PRIu64 " bytes trimmed before anything was freed, %" PRIu64 " after", before, freed);
	/* Side by side they are one request: units are 256 KiB. */
	if (requests * MIB > freed)
		world_fail(world, "%" PRIu64 " trims for %" PRIu64 " bytes", requests, freed);
	/* A pool at rest does nothing. */
	uint64_t operations = world->set->operations;

	rt_sleep(world->rt, 600 * NS_PER_S);
	if (world->set->operations != operations)
		world_fail(world, "%" PRIu64 " operations of an idle pool", world->set->operations - operations);
	world_expect(world, engine_property_set(world->engine, "", "autotrim", "off", false, &error), &error, "autotrim");
	write_all(world, "gone");
	make_room(world);
	rt_sleep(world->rt, 60 * NS_PER_S);
	if (bytes_trimmed(world) != before + freed)
		world_fail(world, "%" PRIu64 " bytes trimmed although it is off", bytes_trimmed(world) - before - freed);
	close_pool(world);
}

static void background(void)
{
	struct world *world = machine("trims in the background");

	boot(world, background_body);
	done(world);
}

/* ---- a pool that is full ---- */

/* What trims set apart is nobody's promise: writers get all that they get without trims, and each answer comes. */
static uint64_t fill_up(struct world *world, uint64_t trimmed_from)
{
	struct libpool_trim_options options = {.size = sizeof(options)};
	struct model_volume *more = model_find(&world->model, "more");
	struct pool_error error = {0};
	uint64_t at = 0, full = world->statistics.no_space;

	for (; at < model_size(more) && world->statistics.no_space == full; at += 128 * 1024) {
		clients_write(world, more, at, 128 * 1024);
		if (at >= trimmed_from)
			(void)engine_trim_start(world->engine, &options, &error);
	}
	(void)engine_jobs_wait(world->engine, 1u << LIBPOOL_JOB_TRIM, 0);
	return at;
}

static void full_body(struct world *world)
{
	open_pool(world);
	clients_create(world, "more", 400 * MIB, 16384, BLOCK_COMPRESS_OFF);
	uint64_t without = fill_up(world, UINT64_MAX);

	clear(world, "more");
	for (unsigned i = 0; i < world->set->count; i++)
		world->set->disks[i]->latency.trim_ns = 300 * NS_PER_MS;
	uint64_t with = fill_up(world, without - 12 * MIB);

	if (with + 4 * MIB < without || without < 20 * MIB)
		world_fail(world, "%" PRIu64 " bytes fit, with trims %" PRIu64, without, with);
	printf("%" PRIu64 " bytes fit, with trims %" PRIu64 "\n", without, with);
	close_pool(world);
}

static void full_pool(void)
{
	struct world *world = machine("a pool is filled while it is trimmed");

	boot(world, full_body);
	done(world);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	all_and_once();
	limit();
	refused();
	late_trim();
	lost_disk();
	crashes();
	background();
	full_pool();
	return 0;
}
