/* See history.h. */
#include "tests/sim/history.h"

#include <stdlib.h>

#include "scrub/verify.h"
#include "tests/sim/admin.h"
#include "tests/sim/clients.h"
#include "tests/sim/compaction.h"
#include "tests/sim/every_txg.h"
#include "tests/sim/faults.h"
#include "tests/sim/files.h"
#include "tests/sim/full.h"
#include "tests/sim/images.h"
#include "tests/sim/logs.h"
#include "tests/sim/settings.h"
#include "tests/sim/watch.h"

enum boot_end { END_EXPORT, END_ABANDON, END_KILL, END_POWER_OFF };

/* Of the present boot: how it ends, if nothing ends it before; and whether faults are repaired in it. */
static enum boot_end planned_end;
static bool repairs;

/* The power goes when so many more uberblock writes have taken effect: between the disks of one commit. */
static uint64_t uberblocks_left;

static void on_apply(void *argument, struct sim_disk *disk, enum disk_operation operation, uint64_t offset, uint64_t length)
{
	struct world *world = argument;
	uint64_t area_b = (disk->size >> 20 << 20) - LABEL_AREA_SIZE;
	uint64_t at = offset >= area_b ? offset - area_b : offset;

	(void)length;
	if (operation == DISK_WRITE && at >= UBERBLOCK_OFFSET && at < SYSMAP_OFFSET && uberblocks_left && --uberblocks_left == 0)
		sim_disks_power_off(world->set);
}

struct power_event {
	struct sim_event event;
	struct world *world;
	bool kill;
};

static void power_fire(struct sim_event *event)
{
	struct power_event *power = container_of(event, struct power_event, event);

	if (power->kill)
		world_kill(power->world);
	else
		sim_disks_power_off(power->world->set);
}

static void create_body(struct world *world)
{
	struct pool_error error = {0};

	world->doing = "create";
	world_expect(world, world_create(world, &error), &error, "create");
}

static void open_pool(struct world *world, bool with_engine)
{
	struct pool_error error = {0};

	world->doing = "import";
	/* What the verification heals hides what the engine forgot: in half of the histories there is none. */
	world->no_verify = world->plan.seed % 2;
	if (world->plan.changes)
		logs_import(world, with_engine);
	else
		world_expect(world, world_import(world, with_engine, &error), &error, "import");
	world_note_members(world);
	world->doing = "recovery";
	clients_recover(world, sim_random_below(&world->random, world->plan.full_percent ? 6 : 3) == 0);
	files_recover(world);
	logs_recovered(world);
}

static void close_pool(struct world *world)
{
	struct pool_error error = {0};
	const char *why = NULL;

	world->doing = "close";
	clients_close_volumes(world);
	files_close(world);
	uint64_t begin = model_now(&world->model), files_begin = files_now(world);
	int result = world_export(world, &error);

	if (result)
		world_fail(world, "export: %s: %s (%s)", pool_error_string(result), error.text, why ? why : "");
	model_durable(&world->model, NULL, begin);
	files_durable(world, files_begin);
	logs_exported(world);
}

static void history_body(struct world *world)
{
	open_pool(world, repairs || sim_random_below(&world->random, 3));
	world->doing = repairs ? "clients during repair" : "clients";
	world->clients_active = true;
	every_txg_start(world);
	if (repairs) {
		admin_start_repair(world);
	} else {
		faults_start(world);
		admin_start(world);
		logs_start(world);
	}
	settings_start(world);
	compaction_start(world);
	files_start(world);
	if (world->plan.full_percent)
		full_run(world);
	else
		clients_run(world, world->plan.clients, world->plan.operations);
	files_wait(world);
	world->clients_active = false;
	admin_wait(world);
	logs_wait(world);
	settings_wait(world);
	compaction_wait(world);
	every_txg_stop(world);
	/* A compactor without policy takes of the floors what may be lent, and gains nothing: what is said then holds only until its next commit. */
	if (world->plan.full_percent && !world->plan.fault_kinds && !world->plan.administrated && !world->plan.compacts && !world->plan.changes) {
		world->doing = "what is available";
		full_check_available(world);
	}
	world->doing = "end";
	switch (planned_end) {
	case END_EXPORT:
		close_pool(world);
		break;
	case END_ABANDON:
		clients_close_volumes(world);
		files_close(world);
		world_abandon(world);
		break;
	case END_KILL:
		world_kill(world);
		rt_yield(world->rt);
		break;
	case END_POWER_OFF:
		sim_disks_power_off(world->set);
		rt_yield(world->rt);
		break;
	}
}

static void after_boot(struct world *world, enum world_end end, bool alive)
{
	world->clients_active = false;
	if (end == WORLD_POWER_CUT)
		world_power_cut(world, SIM_CRASH_ANY);
	if (end != WORLD_ENDED || !alive) {
		model_crash(&world->model);
		files_crash(world);
	}
}

/* One boot that may be cut at any write. */
static void boot(struct world *world)
{
	struct sim_random *random = &world->random;
	struct power_event power = {.event.fire = power_fire, .world = world};
	bool crashes = sim_random_chance(random, world->plan.crash_per_million);

	repairs = world->plan.heals && sim_random_below(random, 3) == 0;
	if (repairs) {
		faults_stop(world);
		faults_return_all(world);
	}

	planned_end = crashes ? (enum boot_end)sim_random_between(random, END_ABANDON, END_POWER_OFF) : END_EXPORT;
	uberblocks_left = 0;
	if (crashes && sim_random_below(random, 4) == 0) {
		uberblocks_left = 1 + sim_random_below(random, 8 * world->set->count);
	} else if (crashes && sim_random_below(random, 5)) {
		uint64_t reach = UINT64_C(1) << sim_random_between(random, 1, 11);

		sim_disks_cut_at(world->set, world->set->operations + sim_random_below(random, reach));
	} else if (crashes) {
		power.kill = sim_random_below(random, 2);
		sim_env_schedule(world->sim, &power.event,
				 world->sim->now_ns + sim_random_below(random, UINT64_C(1) << sim_random_between(random, 20, 33)));
	}
	enum world_end end = world_boot(world, history_body);

	uberblocks_left = 0;
	sim_env_cancel(world->sim, &power.event);
	sim_disks_cut_at(world->set, UINT64_MAX);
	after_boot(world, end, planned_end != END_ABANDON);
}

/* A pool whose creation may be interrupted: then it is there or not. */
static void create(struct world *world)
{
	bool cut = sim_random_below(&world->random, 8) == 0;

	if (cut) {
		sim_disks_cut_at(world->set, sim_random_below(&world->random, 100));
		enum world_end end = world_boot(world, create_body);

		sim_disks_cut_at(world->set, UINT64_MAX);
		if (end == WORLD_ENDED)
			return;
		after_boot(world, end, false);
	}
	if (world_boot(world, create_body) != WORLD_ENDED)
		world_fail(world, "create was interrupted without a reason");
}

static void final_body(struct world *world)
{
	open_pool(world, true);
	world->doing = "last repair";
	admin_repair(world);
	world->doing = "last compaction";
	compaction_all(world);
	world->doing = "last check";
	admin_verify(world, VERIFY_FULL);
	clients_check_all(world);
	files_check_all(world);
	close_pool(world);
}

/* What clients do at random hardly ever ends with changes of files in the log. */
static void overwrite_body(struct world *world)
{
	open_pool(world, false);
	world->doing = "writes to files before the images";
	files_overwrite(world);
	world_kill(world);
	rt_yield(world->rt);
}

static void expect_body(struct world *world)
{
	open_pool(world, false);
	world->doing = "check of what the images hold";
	clients_check_all(world);
	images_expect(world);
	clients_close_volumes(world);
	files_close(world);
	world_abandon(world);
}

/* The end, from the disks as they are: missing, damaged, after a crash. */
static void end_with_images(struct world *world)
{
	faults_stop(world);
	if (world->files && sim_random_below(&world->random, 2))
		after_boot(world, world_boot(world, overwrite_body), true);
	images_save(world);
	if (world_boot(world, expect_body) != WORLD_ENDED)
		world_fail(world, "the import of what the images hold was interrupted without a reason");
	watch_stop(world);
}

void history_run(struct world *world)
{
	faults_init(world);
	logs_init(world);
	settings_init(world);
	watch_start(world);
	world->set->hooks.on_apply = on_apply;
	create(world);
	logs_create(world);
	for (unsigned i = 0; i < world->plan.boots && world->step < world->until; i++) {
		faults_between_boots(world);
		logs_between_boots(world);
		boot(world);
	}
	if (world->images) {
		end_with_images(world);
		return;
	}
	faults_stop(world);
	faults_return_all(world);
	/* The second one finds what the first has left of the repair; of a full pool it would read all again. */
	for (unsigned i = 0; i < (world->plan.full_percent ? 1 : 2); i++) {
		if (world_boot(world, final_body) != WORLD_ENDED)
			world_fail(world, "the last boot was interrupted without a reason");
	}
	watch_stop(world);
	world->statistics.blocks_checked = world->model.blocks_checked;
}
