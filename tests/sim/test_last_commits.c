/*
 * What an import after an unclean stop does about disks that lied: it reads what the last commits wrote, and makes anew what isn't there, as
 * long as the other disks have it. Each case ends with the loss of as many other disks as there is parity: whatever still lacked is
 * lost then.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/block/block.h"
#include "libpool/pool/engine.h"
#include "libpool/txg/core.h"
#include "tests/sim/admin.h"
#include "tests/sim/clients.h"
#include "tests/sim/faults.h"

#define MIB (UINT64_C(1) << 20)
#define WAIT_NS (UINT64_C(1000) * NS_PER_S)
#define LIAR 1u

static struct model_volume *volume_of(struct world *world)
{
	struct model_volume *volume = model_find(&world->model, "v");

	if (!volume)
		world_fail(world, "the volume is gone");
	return volume;
}

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

static void write_some(struct world *world, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		clients_write(world, volume_of(world), sim_random_below(&world->random, 200) * 4096, 4096 * sim_random_between(&world->random, 1, 16));
}

static void create_body(struct world *world)
{
	struct pool_error error = {0};

	world_expect(world, world_create(world, &error), &error, "create");
}

static void fill_body(struct world *world)
{
	open_pool(world);
	clients_create(world, "v", 2 * MIB, 4096, BLOCK_COMPRESS_OFF);
	write_some(world, 20);
	close_pool(world);
}

/* Three commits, of which the disk has nothing. */
static void write_and_die_body(struct world *world)
{
	open_pool(world);
	for (unsigned i = 0; i < 3; i++) {
		write_some(world, 5);
		clients_commit(world, true);
	}
	sim_disks_power_off(world->set);
	rt_yield(world->rt);
}

static struct world *machine(const char *name, unsigned disks, unsigned k, unsigned m)
{
	struct plan plan = {.seed = 4712, .disks = disks, .k = k, .m = m, .au_shift = 18, .commit_interval_ns = 3600 * NS_PER_S, .dirty_limit = 8 * MIB};

	for (unsigned i = 0; i < disks; i++) {
		plan.disk_bytes[i] = 64 * MIB;
		plan.fua[i] = true;
	}
	struct world *world = world_new(&plan);

	world->doing = name;
	world_boot(world, create_body);
	world_boot(world, fill_body);
	return world;
}

static void boot(struct world *world, void (*body)(struct world *world))
{
	enum world_end end = world_boot(world, body);

	if (end == WORLD_POWER_CUT)
		world_power_cut(world, SIM_CRASH_NONE);
	if (end != WORLD_ENDED || model_find(&world->model, "v")->handle)
		model_crash(&world->model);
}

static struct libpool_job verification(struct world *world)
{
	struct libpool_job *jobs, found = {0};
	size_t count;

	if (engine_jobs(world->engine, &jobs, &count) < 0)
		world_fail(world, "no list of jobs");
	for (size_t i = 0; i < count; i++)
		if (jobs[i].kind == LIBPOOL_JOB_VERIFY)
			found = jobs[i];
	free(jobs);
	return found;
}

static bool was_told(struct world *world, const char *kind, const char *object)
{
	struct libpool_event *events;
	size_t count;
	bool told = false;

	if (engine_events(world->engine, 0, &events, &count) < 0)
		world_fail(world, "no list of events");
	for (size_t i = 0; i < count; i++)
		told |= strcmp(events[i].kind, kind) == 0 && strcmp(events[i].object, object) == 0;
	free(events);
	return told;
}

static void wait_for_verification(struct world *world)
{
	int status = engine_jobs_wait(world->engine, 1u << LIBPOOL_JOB_VERIFY, WAIT_NS);

	if (status < 0)
		world_fail(world, "the verification doesn't end: %s", pool_error_string(status));
}

static void heal_body(struct world *world)
{
	open_pool(world);
	wait_for_verification(world);
	struct libpool_job job = verification(world);

	if (job.state != LIBPOOL_JOB_FINISHED || job.errors_found == 0 || job.cells_repaired != job.errors_found || job.cells_unrepaired)
		world_fail(world, "verification in state %u: %llu errors, %llu repaired, %llu not", job.state, (unsigned long long)job.errors_found,
			   (unsigned long long)job.cells_repaired, (unsigned long long)job.cells_unrepaired);
	if (!was_told(world, "disk.lied", "sim:1") || was_told(world, "disk.lied", "sim:0"))
		world_fail(world, "the disk that lied isn't named, or another one is");
	if (core_store(world->core) && store_disk(core_store(world->core), LIAR)->checksum_errors == 0)
		world_fail(world, "no error counts against the disk");
	world_abandon(world);
}

static void check_body(struct world *world)
{
	open_pool(world);
	clients_check_all(world);
	close_pool(world);
}

static void repair_body(struct world *world)
{
	open_pool(world);
	admin_repair(world);
	close_pool(world);
}

static void lie_and_die(struct world *world)
{
	world->suspects |= 1u << LIAR;
	world->set->disks[LIAR]->lying = true;
	boot(world, write_and_die_body);
	world->set->disks[LIAR]->lying = false;
}

static void lose_others(struct world *world)
{
	world->suspects = 0;
	for (unsigned i = 0, lost = 0; lost < world->plan.m; i++) {
		if (i == LIAR)
			continue;
		world->suspects |= 1u << i;
		sim_disk_vanish(world->set->disks[i], SIM_CRASH_ALL);
		lost++;
	}
}

static void done(struct world *world)
{
	faults_return_all(world);
	boot(world, repair_body);
	boot(world, check_body);
	printf("ok  %s\n", world->doing);
	world_free(world);
}

static void healed_in_time(const char *name, unsigned disks, unsigned k, unsigned m)
{
	struct world *world = machine(name, disks, k, m);

	lie_and_die(world);
	boot(world, heal_body);
	lose_others(world);
	boot(world, check_body);
	done(world);
}

/* ---- cut short ---- */

static void glance_body(struct world *world)
{
	open_pool(world);
	close_pool(world);
}

static void go_on_body(struct world *world)
{
	open_pool(world);
	if (!core_imported_clean(world->core))
		world_fail(world, "the export before wasn't one");
	wait_for_verification(world);
	if (verification(world).state != LIBPOOL_JOB_FINISHED)
		world_fail(world, "what was cut short by an export isn't gone on with");
	close_pool(world);
}

/* Its first commit is durable, and nothing was verified yet. */
static void die_body(struct world *world)
{
	struct pool_error error = {0};

	world_expect(world, world_import(world, true, &error), &error, "import");
	sim_disks_power_off(world->set);
	rt_yield(world->rt);
}

static void cut_short(bool by_crash)
{
	struct world *world = machine(by_crash ? "a verification is cut short by crashes" : "a verification is cut short by exports", 4, 3, 1);

	lie_and_die(world);
	for (unsigned i = 0; i < 4; i++)
		boot(world, by_crash ? die_body : glance_body);
	if (by_crash)
		boot(world, heal_body);
	else
		boot(world, go_on_body);
	lose_others(world);
	boot(world, check_body);
	done(world);
}

/* ---- nothing to do ---- */

static uint64_t reads_of(struct world *world)
{
	uint64_t reads = 0;

	for (unsigned i = 0; i < world->plan.disks; i++)
		reads += store_disk(core_store(world->core), i)->disk->counters.reads;
	return reads;
}

static void reads_nothing_body(struct world *world)
{
	open_pool(world);
	uint64_t reads = reads_of(world);

	if (engine_jobs_wait(world->engine, 0, WAIT_NS) < 0)
		world_fail(world, "jobs don't end");
	rt_sleep(world->rt, 10 * NS_PER_S);
	if (reads_of(world) != reads || verification(world).id)
		world_fail(world, "%llu reads after an import", (unsigned long long)(reads_of(world) - reads));
	close_pool(world);
}

static void nothing_to_do(bool by_request)
{
	struct world *world = machine(by_request ? "an import that is told not to verify reads nothing" : "after an export nothing is verified", 4, 3, 1);

	if (by_request)
		boot(world, write_and_die_body);
	world->no_verify = by_request;
	boot(world, reads_nothing_body);
	world->no_verify = false;
	done(world);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	healed_in_time("a disk of raid5 lied, and another one is lost", 4, 3, 1);
	healed_in_time("a disk of raid6 lied, and two others are lost", 5, 3, 2);
	healed_in_time("a disk of a mirror lied, and the other one is lost", 2, 1, 1);
	cut_short(false);
	cut_short(true);
	nothing_to_do(false);
	nothing_to_do(true);
	return 0;
}
