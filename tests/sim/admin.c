/*
 * See admin.h. What an administrator asks for may be refused while disks fail; only a complete repair, when
 * faults have stopped, must succeed, and then nothing of them may be left.
 */
#include "tests/sim/admin.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "scrub/scrub.h"
#include "scrub/verify.h"
#include "tests/sim/faults.h"
#include "tests/sim/full.h"

#define REPAIR_ROUNDS 20u
#define ROUNDS_WITHOUT_ROOM 8u /* of a pool that is kept full */
#define SCRUBS_MAX 3u
#define JOB_LIMIT_NS (UINT64_C(1000) * NS_PER_S)

static unsigned running; /* fibers of the administrator */

static _Noreturn void fail(struct world *world, const char *what, int result, const struct pool_error *error)
{
	world_fail(world, "%s: %s%s%s", what, pool_error_string(result), error->text[0] ? ": " : "", error->text);
}

void admin_verify(struct world *world, unsigned what)
{
	struct verify_result *result = sim_allocate(sizeof(*result));
	int status = verify_pool(world->core, world->datasets, what, result);

	if (status == -EBUSY) {
		free(result);
		return;
	}
	if (status)
		world_fail(world, "verify: %s", pool_error_string(status));
	/* Parity beside a summary has no CRC: what a disk did to it looks like a violation. */
	bool spoiled = world->suspects || world->rot_columns;

	if (result->violations && !(spoiled && what & VERIFY_CELLS))
		world_fail(world, "verify: %" PRIu64 " violations: %s", result->violations, result->first);
	if (!spoiled && (result->damaged_blocks || result->damaged_cells))
		world_fail(world, "verify: %" PRIu64 " damaged blocks, %" PRIu64 " cells: %s", result->damaged_blocks, result->damaged_cells,
			   result->first);
	world->statistics.verifies++;
	free(result);
}

/* No written cell of a live row is wrong. */
static void verify_cells(struct world *world)
{
	struct verify_result *result = sim_allocate(sizeof(*result));
	int status = verify_pool(world->core, world->datasets, VERIFY_CELLS, result);

	if (status || result->damaged_cells || result->violations)
		world_fail(world, "verify after repair: %s, %" PRIu64 " cells damaged, %" PRIu64 " violations: %s", pool_error_string(status),
			   result->damaged_cells, result->violations, result->first);
	free(result);
}

/* ---- a complete repair ---- */

static bool all_online(struct world *world)
{
	struct store *store = core_store(world->core);
	struct space space;
	size_t stale;
	bool online = true;

	for (unsigned i = 0; i < DISKS_MAX; i++) {
		const struct store_disk *disk = store_disk(store, i);

		online = online && (!disk->configured || (disk->disk && disk->state == DISK_ONLINE));
	}
	alloc_stale(core_alloc(world->core), &stale);
	core_space(world->core, &space);
	return online && !stale && !space.degraded_segments && !rebuild_is_needed(store, DISK_ABSENT);
}

static void describe(struct world *world, char *text, size_t size)
{
	struct store *store = core_store(world->core);
	struct space space;
	size_t used = 0, stale;

	for (unsigned i = 0; i < DISKS_MAX && used + 64 < size; i++) {
		const struct store_disk *disk = store_disk(store, i);

		if (disk->configured && (!disk->disk || disk->state != DISK_ONLINE))
			used += (size_t)snprintf(text + used, size - used, "disk #%u (%s) state %u stale from %" PRIu64 "%s; ", i, disk->path,
						 disk->state, disk->stale_from, disk->disk ? "" : ", not open");
	}
	const struct stale_record *records = alloc_stale(core_alloc(world->core), &stale);

	if (stale && used + 100 < size) {
		const struct segment *segment = alloc_segment(core_alloc(world->core), records[0].segment);

		used += (size_t)snprintf(text + used, size - used, "segment %u column %u rows %u+%u of txg %" PRIu64 " (disk #%u, class %u); ",
					 records[0].segment, records[0].column, records[0].base, records[0].rows, records[0].place,
					 segment->record.columns[records[0].column].disk, segment->record.class);
	}
	for (uint32_t id = 0; id < alloc_segment_count(core_alloc(world->core)) && used + 100 < size; id++) {
		const struct segment *segment = alloc_segment(core_alloc(world->core), id);

		if (segment && !alloc_segment_is_free(segment) && segment->record.flags & SEGMENT_DEGRADED)
			used += (size_t)snprintf(text + used, size - used, "segment %u (state %u, class %u, %u cells live) degraded; ", id,
						 segment->record.state, segment->record.class, segment->live);
	}
	core_space(world->core, &space);
	snprintf(text + used, size - used, "%zu stale records, %" PRIu64 " degraded segments, %" PRIu64 " free segments", stale,
		 space.degraded_segments, space.free_segments);
}

static void bring_online(struct world *world)
{
	struct pool_error error = {0};

	for (unsigned i = 0; i < DISKS_MAX && world->engine; i++) {
		const struct store_disk *disk = store_disk(core_store(world->core), i);
		char name[16];

		if (!disk->configured || (disk->disk && (disk->state == DISK_ONLINE || disk->state == DISK_RESYNC)))
			continue;
		snprintf(name, sizeof(name), "#%u", i);
		int result = engine_disk_online(world->engine, name, NULL, false, &error);

		/* A replaced one may have left; what was given up may still be on its way. */
		if (result && result != -EALREADY && result != -ENOENT && result != -EBUSY)
			fail(world, "online", result, &error);
	}
}

static const struct libpool_job *last_scrub(const struct libpool_job *jobs, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (jobs[i].kind == LIBPOOL_JOB_SCRUB)
			return &jobs[i];
	}
	return NULL;
}

/* Whether it found nothing; a failure if it must not have found anything. */
static bool scrub(struct world *world, bool must_be_clean)
{
	struct libpool_scrub_options options = {.size = sizeof(options), .deep = 1};
	struct pool_error error = {0};
	struct libpool_job *jobs = NULL;
	size_t count = 0;
	int result;

	/* One that was begun before goes on, and is not the one that is meant. */
	(void)engine_scrub_cancel(world->engine, &error);
	error = (struct pool_error){0};
	result = engine_scrub_start(world->engine, &options, &error);
	if (!result)
		result = engine_jobs_wait(world->engine, 1u << LIBPOOL_JOB_SCRUB, JOB_LIMIT_NS);
	if (!result)
		result = engine_jobs(world->engine, &jobs, &count);
	if (result)
		fail(world, "scrub", result, &error);
	const struct libpool_job *job = last_scrub(jobs, count);

	if (!job || job->state != LIBPOOL_JOB_FINISHED)
		world_fail(world, "scrub ended in state %u: %s", job ? job->state : 0, job ? job->text : "no job");
	if (job->cells_unrepaired || (must_be_clean && job->errors_found))
		world_fail(world, "%s scrub: %" PRIu64 " errors, %" PRIu64 " repaired, %" PRIu64 " not: %s", must_be_clean ? "last" : "first",
			   job->errors_found, job->cells_repaired, job->cells_unrepaired, job->text);
	world->statistics.cells_repaired += job->cells_repaired;
	world->statistics.scrubs++;
	bool clean = job->errors_found == 0;

	free(jobs);
	return clean;
}

void admin_repair(struct world *world)
{
	struct pool_error error = {0};
	char text[400];

	for (unsigned round = 0; !all_online(world); round++) {
		describe(world, text, sizeof(text));
		if (round == REPAIR_ROUNDS)
			world_fail(world, "not repaired: %s", text);
		if (world->verbose)
			printf("repair round %u: %s\n", round, text);
		if (world->plan.full_percent && round == ROUNDS_WITHOUT_ROOM)
			full_make_room(world);
		bring_online(world);
		int result = engine_jobs_wait(world->engine, 1u << LIBPOOL_JOB_RESYNC | 1u << LIBPOOL_JOB_REBUILD, JOB_LIMIT_NS);

		if (result)
			fail(world, "wait for repairs", result, &error);
		rt_sleep(world->rt, NS_PER_S);
	}
	world_note_members(world);
	/* Failures that were told must have been recorded and repaired before anybody looks; but for headers of units. */
	if (!(world->plan.fault_kinds & PLAN_SILENT_FAULTS))
		verify_cells(world);
	scrub(world, false);
	/* The header of a unit is looked at when its segment holds something: in segments that come and go, perhaps not at once. */
	for (unsigned i = 0; !scrub(world, i == SCRUBS_MAX); i++)
		;
	faults_forget(world);
	admin_verify(world, VERIFY_QUICK);
}

/* ---- random administration ---- */

static void take_offline(struct world *world)
{
	struct pool_error error = {0};
	struct sim_disk *disk = faults_victim(world);

	if (!disk)
		return;
	int result = engine_disk_offline(world->engine, disk->path, false, &error);

	if (result && world->verbose)
		printf("offline %s: %s\n", disk->path, error.text);
}

static void bring_one_online(struct world *world)
{
	struct pool_error error = {0};
	unsigned index = (unsigned)sim_random_below(&world->random, world->set->count);

	if (world->retired >> index & 1 || !world->set->disks[index]->present)
		return;
	(void)engine_disk_online(world->engine, world->set->disks[index]->path, world->set->disks[index]->path, false, &error);
}

static void replace(struct world *world)
{
	struct pool_error error = {0};
	struct sim_disk *old = faults_victim(world), *new;

	if (!old || world->set->count >= 24)
		return;
	new = sim_disks_add(world->set, old->size);
	struct libpool_replace_options options = {.size = sizeof(options), .old_disk = old->path, .new_disk = new->path};

	world->retired |= 1u << new->index; /* until it is part of the pool */
	int result = engine_disk_replace(world->engine, &options, &error);

	world_note_members(world);
	if (result && world->verbose)
		printf("replace %s by %s: %s\n", old->path, new->path, error.text);
}

/* By command, of one disk or all, or in the background. */
static void trim(struct world *world)
{
	struct pool_error error = {0};
	const char *disk = world->set->disks[sim_random_below(&world->random, world->set->count)]->path;
	struct libpool_trim_options options = {.size = sizeof(options), .disks = &disk, .disk_count = (size_t)sim_random_below(&world->random, 2)};

	switch (sim_random_below(&world->random, 6)) {
	case 0:
		(void)engine_trim_cancel(world->engine, &error);
		break;
	case 1:
		(void)engine_property_set(world->engine, "", "autotrim", sim_random_below(&world->random, 3) ? "on" : "off", false, &error);
		break;
	default:
		world->statistics.trims += engine_trim_start(world->engine, &options, &error) == 0;
	}
}

static void operate(struct world *world)
{
	struct pool_error error = {0};
	struct libpool_scrub_options scrub_options = {.size = sizeof(scrub_options),
						      .deep = (uint32_t)sim_random_below(&world->random, 2)};

	world->statistics.admin++;
	switch (sim_random_below(&world->random, 11)) {
	case 0:
		take_offline(world);
		break;
	case 1:
		bring_one_online(world);
		break;
	case 2:
		replace(world);
		break;
	case 3:
		(void)engine_scrub_pause(world->engine, &error);
		break;
	case 4:
		(void)engine_scrub_cancel(world->engine, &error);
		break;
	case 5:
		admin_verify(world, VERIFY_FULL);
		break;
	case 6:
	case 7:
	case 8:
		trim(world);
		break;
	default:
		(void)engine_scrub_start(world->engine, &scrub_options, &error);
	}
}

static void admin_main(void *argument)
{
	struct world *world = argument;

	while (world->clients_active) {
		rt_sleep(world->rt, 1 + sim_random_below(&world->random, UINT64_C(1) << sim_random_between(&world->random, 18, 30)));
		if (world->clients_active)
			operate(world);
	}
	running--;
}

static void repair_main(void *argument)
{
	admin_repair(argument);
	running--;
}

static void start(struct world *world, fiber_function *function)
{
	running = 1;
	if (rt_spawn(world->rt, "administrator", function, world))
		world_fail(world, "no memory for a fiber");
}

void admin_start(struct world *world)
{
	running = 0;
	if (world->engine && world->plan.administrated)
		start(world, admin_main);
}

void admin_start_repair(struct world *world)
{
	start(world, repair_main);
}

void admin_wait(struct world *world)
{
	while (running)
		rt_sleep(world->rt, NS_PER_MS);
}
