/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whole images: searched for, imported with the whole engine in the simulator, looked at, changed, scrubbed, exported, imported
 * again. An import says what is wrong or goes on, reads give what they can; nothing hangs: neither in virtual time, nor for the
 * real one that libFuzzer or ctest grant. No invariant breaks but those that an image breaks by contradicting itself where only
 * a walk over all of it would notice: then the pool is halted, as the library does, and what uses it backs out.
 */
#include <errno.h>

#include "libpool/base/check.h"
#include "libpool/base/error.h"
#include "libpool/pool/engine.h"
#include "tests/fuzz/image.h"
#include "tests/sim/simdisk.h"

#define BOOT_LIMIT_NS (UINT64_C(4000) * NS_PER_S)
#define DISK_CELLS_MAX (1u << 20)
#define BLANK_SIZE (UINT64_C(64) << 20)
#define PIECE (64u << 10)
#define VOLUMES_MAX 5u

enum { IMPORT_READ_ONLY = 1, IMPORT_FORCE = 2, IMPORT_REWIND = 4, IMPORT_DESTROYED = 8, IMPORT_ABANDON = 16,
       IMPORT_SET_DESTROYED = 32, IMPORT_BY_GUID = 64 };
enum { WRITE_DATA = 1, WRITE_TRIM = 2, WRITE_DESTROY = 4, WRITE_CREATE = 8, WRITE_RESIZE = 16, WRITE_PROPERTIES = 32, WRITE_MUCH = 64 };
enum { JOB_DO_SCRUB = 1, JOB_DO_DEEP = 2, JOB_DO_VERIFY = 4, JOB_DO_REPLACE = 8, JOB_DO_OFFLINE = 16, JOB_DO_CLEAR = 32 };

struct run {
	struct image_use use;
	struct sim_env *sim;
	struct sim_disks *set;
	struct rt *rt;
	struct engine_host host;
	struct sim_random random;
	unsigned blank; /* a disk with nothing on it */
	struct engine *engine;
	bool ended;
};

static uint8_t piece[PIECE];

static void look(struct engine *engine)
{
	static struct libpool_pool_info info;
	size_t count;

	(void)engine_info(engine, &info);
	struct libpool_disk_info *disks = NULL;
	if (engine_disks(engine, &disks, &count) == 0)
		free(disks);
	struct libpool_damage *damage = NULL;
	if (engine_damage(engine, &damage, &count) == 0)
		free(damage);
	struct libpool_history *history = NULL;
	if (engine_history(engine, &history, &count) == 0)
		free(history);
	struct libpool_job *jobs = NULL;
	if (engine_jobs(engine, &jobs, &count) == 0)
		free(jobs);
	struct libpool_volume_info *volumes = NULL;
	if (engine_volumes(engine, &volumes, &count) == 0)
		free(volumes);
	struct libpool_event *events = NULL;
	if (engine_events(engine, 0, &events, &count) == 0)
		free(events);
	struct libpool_property *properties = NULL;
	if (engine_properties(engine, NULL, &properties, &count, NULL) == 0)
		free(properties);
}

static void read_volume(struct volume *volume)
{
	uint64_t size = volume_record(volume)->volume_size, at = 0;

	for (unsigned i = 0; i < 48; i++) {
		if (volume_seek(volume, at, true, &at) < 0 || at >= size)
			break;
		(void)volume_read(volume, at, size - at < PIECE ? (size_t)(size - at) : PIECE, piece);
		if (i % 4 == 3 && volume_seek(volume, at, false, &at) < 0)
			break;
		at += size - at < PIECE ? size - at : PIECE;
	}
	(void)volume_read(volume, size - (size < 4096 ? size : 4096), size < 4096 ? (size_t)size : 4096, piece);
}

static void write_volume(struct run *run, struct volume *volume)
{
	uint64_t size = volume_record(volume)->volume_size, near = size < (UINT64_C(16) << 20) ? size : UINT64_C(16) << 20;
	unsigned count = run->use.writes & WRITE_MUCH ? 30 : 4;

	for (unsigned i = 0; i < count && near > PIECE && run->use.writes & WRITE_DATA; i++)
		(void)volume_write(volume, sim_random_below(&run->random, near - PIECE), 1 + sim_random_below(&run->random, PIECE - 1), piece);
	if (run->use.writes & WRITE_TRIM) {
		(void)volume_trim(volume, 0, size / 2);
		(void)volume_zero(volume, size / 2, size / 4);
	}
	(void)volume_flush(volume);
}

static void use_volume(struct run *run, struct engine *engine, const char *name)
{
	struct libpool_property *properties = NULL;
	struct pool_error error = { 0 };
	struct engine_user user = { .text = "fuzz" };
	size_t count;

	if (engine_properties(engine, name, &properties, &count, &error) == 0)
		free(properties);
	if (engine_dataset_open(engine, name, false, &user, &error) < 0)
		return;
	read_volume(user.volume);
	write_volume(run, user.volume);
	read_volume(user.volume);
	engine_dataset_close(&user);
	if (run->use.writes & WRITE_PROPERTIES) {
		(void)engine_property_set(engine, name, "compression", "zstd-3", false, &error);
		(void)engine_property_set(engine, name, "volsize", "1G", false, &error);
	}
}

static void use_volumes(struct run *run, struct engine *engine)
{
	struct datasets *datasets = engine_datasets(engine);
	struct dataset_record *records = NULL;
	struct pool_error error = { 0 };
	size_t count = 0;

	if (volumes_list(datasets, &records, &count) < 0)
		return;
	for (size_t i = 0; i < count && i < VOLUMES_MAX; i++)
		use_volume(run, engine, records[i].name);
	if (count > 0 && run->use.writes & WRITE_RESIZE) {
		(void)engine_volume_resize(engine, records[0].name, records[0].volume_size / 8192 * 4096, &error);
		(void)engine_volume_resize(engine, records[0].name, UINT64_C(1) << 40, &error);
	}
	if (count > 0 && run->use.writes & WRITE_DESTROY)
		(void)engine_volume_destroy(engine, records[run->use.seed % count].name, &error);
	if (run->use.writes & WRITE_CREATE && volume_create(datasets, "new", UINT64_C(1) << 20, 4096, 0, &error) == 0)
		use_volume(run, engine, "new");
	free(records);
}

static void use_jobs(struct run *run, struct engine *engine)
{
	struct libpool_scrub_options scrub = { .size = sizeof(scrub), .deep = (run->use.jobs & JOB_DO_DEEP) != 0 };
	struct libpool_replace_options replace = { .size = sizeof(replace), .new_disk = run->set->disks[run->blank]->path };
	struct libpool_verify_result result;
	struct pool_error error = { 0 };
	char disk[8];

	snprintf(disk, sizeof(disk), "#%u", run->use.seed % 4);
	replace.old_disk = disk;
	if (run->use.jobs & JOB_DO_OFFLINE && engine_disk_offline(engine, disk, false, &error) == 0) {
		(void)core_commit_forced(engine_core(engine));
		(void)engine_disk_online(engine, disk, NULL, false, &error);
	}
	if (run->use.jobs & JOB_DO_REPLACE)
		(void)engine_disk_replace(engine, &replace, &error);
	if (run->use.jobs & JOB_DO_SCRUB)
		(void)engine_scrub_start(engine, &scrub, &error);
	(void)engine_jobs_wait(engine, 0, 200 * NS_PER_S);
	if (run->use.jobs & JOB_DO_VERIFY)
		(void)engine_verify(engine, &(struct libpool_verify_options){.size = sizeof(struct libpool_verify_options)}, &result, &error);
	if (run->use.jobs & JOB_DO_CLEAR)
		(void)engine_clear(engine, NULL, &error);
}

static void check_failed(void *argument, const char *file, int line, const char *expression)
{
	/* Two pointers to one block, freed both. */
	static const char *const contradictions[] = { "cleared == extent->rows", "segment->live >= cleared" };
	struct run *run = argument;
	bool expected = false;

	for (size_t i = 0; i < sizeof(contradictions) / sizeof(contradictions[0]); i++)
		expected |= strcmp(expression, contradictions[i]) == 0;
	if (!expected) {
		fprintf(stderr, "%s:%d: broken invariant: %s\n", file, line, expression);
		abort();
	}
	if (run->engine)
		engine_halt(run->engine, "an invariant failed");
}

static void use_pool(struct run *run, struct engine *engine)
{
	struct pool_error error = { 0 };

	run->engine = engine;
	look(engine);
	use_volumes(run, engine);
	image_use_filesystems(engine, (run->use.writes & WRITE_DATA) != 0);
	if (run->use.writes & WRITE_PROPERTIES) {
		(void)engine_property_set(engine, NULL, "comment", "forged", false, &error);
		(void)engine_history_add(engine, "a command", &error);
	}
	for (unsigned i = 0; i < 3; i++)
		(void)core_commit_forced(engine_core(engine));
	use_jobs(run, engine);
	look(engine);
	run->engine = NULL;
	if (run->use.import & IMPORT_ABANDON)
		engine_abandon(engine);
	else
		(void)engine_export(engine, &error);
}

static void import(struct run *run, const char *name, bool again)
{
	struct libpool_import_options options = { .size = sizeof(options), .name = name };
	struct pool_error error = { 0 };
	struct engine *engine;

	if (!again) {
		options.read_only = (run->use.import & IMPORT_READ_ONLY) != 0;
		options.rewind_txg = run->use.import & IMPORT_REWIND ? run->use.seed : 0;
	}
	options.force = (run->use.import & IMPORT_FORCE) != 0;
	options.destroyed = (run->use.import & IMPORT_DESTROYED) != 0;
	if (engine_import(&run->host, &options, &engine, &error) < 0) {
		fuzz_expect(error.code < 0 && error.text[0] && !strchr(error.text, '\n'));
		return;
	}
	use_pool(run, engine);
}

/* By name, or by the guid where images say so. */
static void import_found(struct run *run, const struct libpool_found *found, bool again)
{
	char guid[2 * LIBPOOL_GUID_SIZE + 1];

	for (unsigned i = 0; i < LIBPOOL_GUID_SIZE; i++)
		snprintf(guid + (size_t)2 * i, 3, "%02x", found->guid[i]);
	import(run, run->use.import & IMPORT_BY_GUID ? guid : found->name, again);
}

static void main_fiber(void *argument)
{
	struct run *run = argument;
	struct pool_error error = { 0 };

	for (unsigned again = 0; again < 2; again++) {
		struct libpool_found *found = NULL;
		size_t count = 0;
		if (engine_find(&run->host, &found, &count, &error) == 0)
			for (size_t i = 0; i < count && i < 5; i++)
				import_found(run, &found[i], again);
		for (size_t i = 0; i < count && i < 2 && run->use.import & IMPORT_SET_DESTROYED; i++)
			(void)engine_set_destroyed(&run->host, found[i].name, !found[i].destroyed, &error);
		free(found);
	}
	run->ended = true;
}

static void fill_disks(struct run *run, const struct image *image)
{
	for (unsigned d = 0; d < image->disk_count; d++) {
		const struct image_disk *from = &image->disks[d];
		struct sim_disk *disk = sim_disks_add(run->set, from->cells ? (uint64_t)from->cells * CELL_SIZE : BLANK_SIZE);
		disk->present = from->cells != 0;
		for (unsigned i = 0; i < from->count; i++)
			sim_disk_poke(disk, (uint64_t)from->list[i].number * CELL_SIZE, from->list[i].bytes, CELL_SIZE);
	}
	run->blank = image->disk_count;
	sim_disks_add(run->set, BLANK_SIZE);
}

static void run_image(const struct image *image)
{
	struct run run = { .use = image->use };
	struct disk_provider *provider;

	run.sim = sim_env_new(1);
	run.sim->time_limit_ns = BOOT_LIMIT_NS;
	run.sim->fifo = true;
	run.set = sim_disks_new(1);
	sim_random_seed(&run.random, image->use.seed);
	fill_disks(&run, image);
	fuzz_expect(rt_new(&run.sim->env, &run.rt) == 0);
	provider = sim_disks_provider(run.set, run.sim, run.rt);
	run.host = (struct engine_host){ .rt = run.rt, .provider = provider,
					 .core = { .cache_limit = 8u << 20, .dirty_limit = 32u << 20 } };
	memcpy(run.host.core.host.bytes, "machine of tests", 16);
	pool_check_set_handler(check_failed, &run);
	int status = rt_run(run.rt, main_fiber, &run);
	pool_check_set_handler(NULL, NULL);
	if (status < 0 || run.sim->deadlock || !run.ended) {
		fprintf(stderr, "hang: %s, %u fibers left\n", run.sim->stop_reason ? run.sim->stop_reason : "?", rt_fiber_count(run.rt));
		abort();
	}
	sim_disks_provider_free(provider);
	rt_free(run.rt);
	sim_disks_free(run.set);
	sim_env_free(run.sim);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct image image;
	bool good = image_unpack(data, size, &image);

	if (!good)
		return -1;
	for (unsigned d = 0; d < image.disk_count; d++)
		good &= image.disks[d].cells <= DISK_CELLS_MAX;
	if (good)
		run_image(&image);
	image_release(&image);
	return good ? 0 : -1;
}
