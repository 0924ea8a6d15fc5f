/* See world.h. */
#include "tests/sim/world.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/sim/files.h"

#define BOOT_LIMIT_NS (UINT64_C(5000) * NS_PER_S)

static const char killed[] = "process killed";

struct world *world_new(const struct plan *plan)
{
	struct world *world = sim_allocate(sizeof(*world));

	world->plan = *plan;
	world->until = UINT64_MAX;
	world->doing = "start";
	world->sim = sim_env_new(plan->seed);
	world->sim->fifo = plan->fifo;
	world->sim->buggify = plan->buggify;
	world->set = sim_disks_new(plan->seed);
	world->set->crash_corrupts = plan->crash_corrupts;
	for (unsigned i = 0; i < plan->disks; i++) {
		struct sim_disk *disk = sim_disks_add(world->set, plan->disk_bytes[i]);

		disk->fua = plan->fua[i];
		disk->rotational = plan->rotational[i];
	}
	sim_random_stream(&world->random, plan->seed, "world", 0);
	model_init(&world->model);
	world->files = files_new(plan);
	return world;
}

void world_free(struct world *world)
{
	files_free(world->files);
	model_release(&world->model);
	sim_disks_free(world->set);
	sim_env_free(world->sim);
	free(world);
}

void world_fail(struct world *world, const char *format, ...)
{
	va_list arguments;

	fflush(stdout);
	fprintf(stderr, "seed %" PRIu64 ", boot %u, step %" PRIu64 ", %" PRIu64 ".%06" PRIu64 " s, %s: ", world->plan.seed, world->boot,
		world->step, world->sim->now_ns / NS_PER_S, world->sim->now_ns / 1000 % 1000000, world->doing);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fprintf(stderr, "\n");
	fflush(stderr);
	if (world->keeps_core)
		abort();
	_exit(WORLD_FAILED);
}

static void boot_main(void *argument)
{
	struct world *world = argument;

	world->body(world);
}

static void print_fiber(const struct fiber *fiber, void *argument)
{
	fprintf(argument, "  fiber %s\n", fiber_name(fiber));
}

static void on_stop(struct sim_env *sim, const char *reason)
{
	(void)reason;
	if (sim->time_limit_ns && sim->now_ns > sim->time_limit_ns)
		rt_each_fiber(sim->env.rt, print_fiber, stderr);
}

enum world_end world_boot(struct world *world, void (*body)(struct world *world))
{
	uint64_t writes = world->set->operations;
	enum world_end end = WORLD_ENDED;

	world->statistics.boots++;
	world->body = body;
	world->sim->time_limit_ns = world->sim->now_ns + BOOT_LIMIT_NS;
	world->sim->on_stop = on_stop;
	if (rt_new(&world->sim->env, &world->rt))
		world_fail(world, "no memory for a scheduler");
	world->provider = sim_disks_provider(world->set, world->sim, world->rt);
	int result = rt_run(world->rt, boot_main, world);

	if (world->set->powered_off)
		end = WORLD_POWER_CUT; /* even if the body just returned: what was in flight is undecided */
	else if (result && world->sim->stop_reason == killed)
		end = WORLD_KILLED;
	else if (result)
		world_fail(world, "hang: %s", world->sim->stop_reason ? world->sim->stop_reason : pool_error_string(result));
	/* The next owner gets the locks of disks when they have finished with what the last one asked for. */
	for (unsigned i = 0; i < world->set->count && end != WORLD_POWER_CUT; i++)
		sim_disk_release_hung(world->set->disks[i], sim_random_below(&world->random, 2));
	if (world->set->powered_off)
		end = WORLD_POWER_CUT;
	sim_disks_provider_free(world->provider);
	if (result)
		rt_abandon(world->rt);
	else
		rt_free(world->rt);
	sim_env_reboot(world->sim);
	world->rt = NULL;
	world->provider = NULL;
	world->core = NULL;
	world->engine = NULL;
	world->datasets = NULL;
	world->boot++;
	world->statistics.device_writes += world->set->operations - writes;
	return end;
}

void world_power_cut(struct world *world, enum sim_crash_mode mode)
{
	world->statistics.crashes++;
	sim_disks_power_cut(world->set, mode, &world->random);
}

void world_kill(struct world *world)
{
	sim_env_stop(world->sim, killed);
}

struct core_options world_core_options(struct world *world)
{
	const struct plan *plan = &world->plan;
	struct core_options options = {
		.rt = world->rt,
		.provider = world->provider,
		.cache_limit = plan->cache_limit,
		.commit_interval_ns = plan->commit_interval_ns,
		.dirty_limit = plan->dirty_limit,
		.store = {.read_deadline_ns = plan->read_deadline_ns,
			  .write_deadline_ns = plan->write_deadline_ns,
			  .in_flight_limit = plan->in_flight_limit},
		.check_every_txg = true,
		.eager_reuse = plan->eager_reuse,
		.rows_together = plan->rows_together,
		.commit_metadata = plan->commit_metadata,
	};

	memcpy(options.host.bytes, "simulated host..", 16);
	return options;
}

int world_create(struct world *world, struct pool_error *error)
{
	struct core_options options = world_core_options(world);
	struct disk *disks[SIM_DISKS_MAX];
	unsigned count = 0;
	int result = 0;

	for (; count < world->plan.disks && !result; count++)
		result = world->provider->ops->open(world->provider, world->rt, world->set->disks[count]->path, DISK_OPEN_EXCLUSIVE,
						    &disks[count], error);
	if (result)
		count--;
	else
		result = core_create(&options,
				     &(struct core_create){.name = "simulated",
							   .k = world->plan.k,
							   .m = world->plan.m,
							   .disk_count = count,
							   .disks = disks,
							   .au_shift = world->plan.au_shift},
				     error);
	for (unsigned i = 0; i < count; i++)
		disk_close(disks[i]);
	return result;
}

static int find_disks(struct world *world, struct core_disk_found *found, unsigned *ret_count, struct pool_error *error)
{
	unsigned count = 0;

	for (unsigned i = 0; i < world->set->count; i++) {
		struct core_disk_found *disk = &found[count];

		if (!world->set->disks[i]->present)
			continue;
		int result = world->provider->ops->open(world->provider, world->rt, world->set->disks[i]->path, DISK_OPEN_EXCLUSIVE,
							&disk->disk, error);

		if (result)
			continue;
		if (core_label_read(disk->disk, &disk->label)) {
			disk_close(disk->disk);
			continue;
		}
		disk->path = strdup(world->set->disks[i]->path);
		count++;
	}
	*ret_count = count;
	return count ? 0 : pool_error_set(error, -ENOENT, "no disk has a label");
}

static int import_core(struct world *world, struct pool_error *error)
{
	struct core_options options = world_core_options(world);
	struct core_disk_found *found = sim_allocate((world->set->count + 1) * sizeof(*found));
	unsigned count;
	int result = find_disks(world, found, &count, error);

	if (!result) {
		result = core_import(&options, &(struct core_import){.disks = found, .disk_count = count, .missing_log = world->missing_log},
				     &world->core, error);
		for (unsigned i = 0; result && i < count; i++) {
			disk_close(found[i].disk);
			free(found[i].path);
			free(found[i].label);
		}
	}
	free(found);
	if (result)
		return result;
	result = datasets_open(world->core, &world->datasets, error);
	if (result) {
		core_abandon(world->core);
		world->core = NULL;
	}
	return result;
}

static void note_replay(struct world *world)
{
	world->log = *core_log_counters(world->core);
	world->statistics.log_replayed += world->log.replayed;
}

void world_note_log(struct world *world)
{
	const struct core_log_counters *log = core_log_counters(world->core);

	world->statistics.log_groups += log->groups - world->log.groups;
	world->statistics.log_fallbacks += log->fallbacks - world->log.fallbacks;
	world->statistics.log_placed += log->placed - world->log.placed;
	world->log = *log;
}

int world_import(struct world *world, bool with_engine, struct pool_error *error)
{
	unsigned present = 0, expected = 0;

	for (unsigned i = 0; i < world->set->count; i++) {
		expected += !(world->retired >> i & 1);
		present += world->set->disks[i]->present && !(world->retired >> i & 1);
	}
	world->statistics.imports_degraded += present < expected;
	if (!with_engine) {
		int imported = import_core(world, error);

		if (imported == 0)
			note_replay(world);
		return imported;
	}
	world->host = (struct engine_host){.rt = world->rt, .provider = world->provider, .core = world_core_options(world)};
	int result = engine_import(&world->host, &(struct libpool_import_options){.size = sizeof(struct libpool_import_options),
										   .name = "simulated",
										   .missing_log = world->missing_log,
										   .no_verify = world->no_verify},
				   &world->engine, error);

	if (result) {
		world->engine = NULL;
		return result;
	}
	world->core = engine_core(world->engine);
	world->datasets = engine_datasets(world->engine);
	note_replay(world);
	return 0;
}

int world_export(struct world *world, struct pool_error *error)
{
	struct engine *engine = world->engine;
	struct core *core = world->core;
	struct datasets *datasets = world->datasets;

	world->engine = NULL;
	world->core = NULL;
	world->datasets = NULL;
	world->statistics.exports++;
	if (engine)
		return engine_export(engine, error);
	core_stop(core);
	datasets_close(datasets);
	return core_export(core, error);
}

void world_abandon(struct world *world)
{
	struct engine *engine = world->engine;
	struct core *core = world->core;
	struct datasets *datasets = world->datasets;

	world->engine = NULL;
	world->core = NULL;
	world->datasets = NULL;
	if (engine) {
		engine_abandon(engine);
		return;
	}
	core_halt(core, "abandoned");
	core_stop(core);
	datasets_close(datasets);
	core_abandon(core);
}

struct sim_disk *world_disk(struct world *world, unsigned index)
{
	const struct store_disk *disk = store_disk(core_store(world->core), index);
	unsigned number;

	if (!disk->configured || sscanf(disk->path, "sim:%u", &number) != 1 || number >= world->set->count)
		return NULL;
	return world->set->disks[number];
}

static bool is_member(struct world *world, struct sim_disk *disk)
{
	const struct label *config = core_label(world->core);
	struct label *label = sim_allocate(sizeof(*label));
	uint8_t *raw = sim_allocate(LABEL_COPY_SIZE);
	uint64_t areas[2] = {0, (disk->size >> 20 << 20) - LABEL_AREA_SIZE};
	bool member = false;

	for (unsigned i = 0; i < 4 && !member; i++) {
		sim_disk_peek(disk, areas[i / 2] + LABEL_OFFSET + (uint64_t)(i % 2) * LABEL_COPY_SIZE, raw, LABEL_COPY_SIZE);
		if (label_decode(raw, i / 2, i % 2, label))
			continue;
		for (unsigned entry = 0; entry < config->disk_count; entry++)
			member |= config->disks[entry].state != DISK_REMOVED &&
				  !memcmp(&config->disks[entry].guid, &label->disk, sizeof(label->disk));
	}
	free(raw);
	free(label);
	return member;
}

void world_note_members(struct world *world)
{
	for (unsigned i = 0; i < world->set->count; i++) {
		if (is_member(world, world->set->disks[i]))
			world->retired &= ~(1u << i);
		else
			world->retired |= 1u << i;
	}
}

void world_expect(struct world *world, int result, const struct pool_error *error, const char *what)
{
	if (result)
		world_fail(world, "%s: %s%s%s", what, pool_error_string(result), error && error->text[0] ? ": " : "", error ? error->text : "");
}
