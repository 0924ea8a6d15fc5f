/* Two hosts and one pool: heartbeats, the watch before an import, the claim, and what an owner does that has been silent. */
#include "libpool/txg/heartbeat.h"
#include "tests/unit/txg/records.h"

#define HEARTBEATS (UBERBLOCK_OFFSET + (uint64_t)UBERBLOCK_COMMIT_SLOTS * UBERBLOCK_SIZE)
#define HEARTBEAT_BYTES ((uint64_t)UBERBLOCK_HEARTBEAT_SLOTS * UBERBLOCK_SIZE)

static const struct guid host_a = { "host a" }, host_b = { "host b" };

/* An import of one host: disks are opened without the lock that keeps two processes of one host apart. */
struct attempt {
	struct machine *machine;
	const struct guid *host;
	uint32_t hidden;
	bool force, rehearses;
	struct core *core;
	int status;
	uint64_t took_ns;
	struct pool_error error;
	struct rt_group *group;
};

static void attempt_import(struct attempt *attempt)
{
	struct machine *machine = attempt->machine;
	struct core_options options = machine->options;
	struct core_disk_found found[8] = { { 0 } };
	struct core_import import = { .disks = found, .force = attempt->force, .read_only = attempt->rehearses, .rehearses = attempt->rehearses };
	uint64_t begin = rt_now(machine->rt);

	options.host = *attempt->host;
	for (unsigned i = 0; i < machine->set->count; i++) {
		struct core_disk_found *disk = &found[import.disk_count];
		if (attempt->hidden >> i & 1)
			continue;
		expect_done(machine, machine->provider->ops->open(machine->provider, machine->rt, machine->set->disks[i]->path, 0,
								  &disk->disk, &machine->error));
		expect_done(machine, core_label_read(disk->disk, &disk->label));
		disk->path = strdup(machine->set->disks[i]->path);
		import.disk_count++;
	}
	attempt->status = core_import(&options, &import, &attempt->core, &attempt->error);
	for (unsigned i = 0; attempt->status < 0 && i < import.disk_count; i++)
		machine_forget(&found[i]);
	attempt->took_ns = rt_now(machine->rt) - begin;
}

static void take(struct machine *machine, const struct guid *host, uint32_t hidden)
{
	struct attempt attempt = { .machine = machine, .host = host, .hidden = hidden };

	attempt_import(&attempt);
	if (attempt.status < 0)
		fprintf(stderr, "%s\n", attempt.error.text);
	expect_equal(attempt.status, 0);
	machine->core = attempt.core;
}

/* Whoever else tries doesn't get the pool, and its owner doesn't notice. */
static void expect_refused(struct machine *machine, const struct guid *host, uint32_t hidden, bool force)
{
	struct attempt attempt = { .machine = machine, .host = host, .hidden = hidden, .force = force };

	attempt_import(&attempt);
	expect_equal(attempt.status, -POOL_EINUSE);
	expect(strstr(attempt.error.text, "in use by another host"));
	expect(!core_halted(machine->core, NULL));
}

static void own(struct machine *machine)
{
	take(machine, &host_a, 0);
	expect_done(machine, core_set_multihost(machine->core, true));
	record_commit(machine, 1);
}

static struct machine *machine_made(unsigned disks, unsigned k, unsigned m, uint64_t seed)
{
	struct machine *machine = machine_new(disks, 64 * MIB, k, m, seed);

	machine_boot(machine, machine_create_program);
	return machine;
}

static void run(unsigned disks, unsigned k, unsigned m, void (*program)(struct machine *machine))
{
	struct machine *machine = machine_made(disks, k, m, 21);

	machine_boot(machine, program);
	machine_free(machine);
}

/* ---- One after the other ---- */

static void failover_program(struct machine *machine)
{
	own(machine);
	rt_sleep(machine->rt, 20 * NS_PER_S);
	record_commit(machine, 2);
	machine_abandon(machine); /* the host dies */
	struct attempt other = { .machine = machine, .host = &host_b };
	attempt_import(&other);
	expect_equal(other.status, 0); /* nobody had to force it */
	expect(other.took_ns >= 10 * NS_PER_S && other.took_ns < 16 * NS_PER_S);
	machine->core = other.core;
	expect(core_multihost(machine->core));
	expect_equal(record_get(machine, 1), 2);
	record_commit(machine, 3);
	expect_refused(machine, &host_a, 0, true);
	machine_export(machine);
	/* Exported, and what the same host left behind: not worth ten intervals. */
	struct attempt back = { .machine = machine, .host = &host_a };
	attempt_import(&back);
	expect_equal(back.status, 0);
	expect(back.took_ns < 5 * NS_PER_S);
	machine->core = back.core;
	expect_equal(record_get(machine, 1), 3);
	machine_abandon(machine);
	back.core = NULL;
	attempt_import(&back);
	expect_equal(back.status, 0);
	expect(back.took_ns < 5 * NS_PER_S);
	machine->core = back.core;
	expect_done(machine, core_set_multihost(machine->core, false));
	machine_abandon(machine);
	struct attempt foreign = { .machine = machine, .host = &host_b };
	attempt_import(&foreign);
	expect_equal(foreign.status, -POOL_EOTHERHOST); /* without heartbeats nobody can know */
	foreign.rehearses = true; /* a dry run is refused for the same reason */
	attempt_import(&foreign);
	expect_equal(foreign.status, -POOL_EOTHERHOST);
}

static void test_failover(void **state)
{
	(void)state;
	run(3, 1, 1, failover_program);
	run(1, 1, 0, failover_program);
	run(2, 1, 1, failover_program);
}

/* ---- At the same time ---- */

static void active_program(struct machine *machine)
{
	own(machine);
	for (unsigned i = 0; i < 3; i++) {
		struct attempt rehearsal = { .machine = machine, .host = &host_b, .rehearses = true };
		attempt_import(&rehearsal);
		expect_equal(rehearsal.status, -POOL_EOTHERHOST);
		expect(rehearsal.took_ns < NS_PER_S);
		expect_refused(machine, &host_b, 0, i == 1);
		record_commit(machine, 10 + i);
	}
	machine_export(machine);
}

static void test_active(void **state)
{
	(void)state;
	run(3, 2, 1, active_program);
	run(1, 1, 0, active_program);
}

/* The owner lacks a disk that the other host sees, the other one that the owner writes to. */
static void missing_program(struct machine *machine)
{
	own(machine);
	machine_export(machine);
	take(machine, &host_a, 1);
	record_commit(machine, 4);
	expect_refused(machine, &host_b, 0, false);
	expect_refused(machine, &host_b, 2, false);
	expect_refused(machine, &host_b, 4, true);
	record_commit(machine, 5);
	machine_export(machine);
}

static void test_missing(void **state)
{
	(void)state;
	run(3, 1, 1, missing_program);
}

static void attempt_fiber(void *argument)
{
	struct attempt *attempt = argument;

	attempt_import(attempt);
	rt_group_done(attempt->machine->rt, attempt->group, 0);
}

static void race_program(struct machine *machine)
{
	struct rt_group group;
	struct attempt attempts[2] = { { .machine = machine, .host = &host_a, .group = &group },
				       { .machine = machine, .host = &host_b, .group = &group } };

	own(machine);
	machine_export(machine);
	rt_group_init(&group);
	for (unsigned i = 0; i < 2; i++) {
		rt_group_add(&group);
		expect_equal(rt_spawn(machine->rt, "host", attempt_fiber, &attempts[i]), 0);
	}
	rt_group_wait(machine->rt, &group);
	expect(attempts[0].status < 0 || attempts[1].status < 0);
	for (unsigned i = 0; i < 2; i++) {
		*(unsigned *)machine->test += attempts[i].status == 0;
		if (attempts[i].status < 0) {
			expect_equal(attempts[i].status, -POOL_EINUSE);
			continue;
		}
		machine->core = attempts[i].core;
		rt_sleep(machine->rt, 30 * NS_PER_S);
		record_commit(machine, 6);
		machine_export(machine);
	}
}

/* Of two that want it at the same moment one gets it, or none. */
static void test_race(void **state)
{
	unsigned successes = 0;

	(void)state;
	for (uint64_t seed = 0; seed < 20; seed++) {
		struct machine *machine = machine_made(seed % 2 ? 4 : 1, seed % 2 ? 2 : 1, seed % 2, seed);

		machine->test = &successes;
		machine_boot(machine, race_program);
		machine_free(machine);
	}
	expect(successes > 0);
}

/* ---- Disks that read wrong ---- */

/* The next look at a disk gets something else, without an error. */
static void misread_once(struct machine *machine, unsigned disk)
{
	uint64_t size = machine->set->disks[disk]->size;

	for (unsigned area = 0; area < 2; area++)
		sim_disk_fault(machine->set->disks[disk], SIM_READ_MISDIRECTED, label_area_offset(size, area) + HEARTBEATS, HEARTBEAT_BYTES, 0, 1,
			       32 * MIB);
}

/* Records that come to light at the second look were there before: no owner. One who is there is found all the same. */
static void misread_program(struct machine *machine)
{
	own(machine);
	rt_sleep(machine->rt, 20 * NS_PER_S);
	for (unsigned disk = 0; disk < 3; disk++) {
		misread_once(machine, disk);
		expect_refused(machine, &host_b, 0, false);
	}
	machine_export(machine);
	for (unsigned disk = 0; disk < 3; disk++) {
		misread_once(machine, disk);
		take(machine, disk % 2 ? &host_a : &host_b, 0);
		rt_sleep(machine->rt, 20 * NS_PER_S);
		expect(!core_halted(machine->core, NULL));
		machine_export(machine);
	}
	take(machine, &host_a, 0);
	rt_sleep(machine->rt, 20 * NS_PER_S);
	machine_abandon(machine);
	misread_once(machine, 1);
	take(machine, &host_b, 0);
	machine_export(machine);
}

static void test_misread(void **state)
{
	(void)state;
	run(3, 2, 1, misread_program);
}

/* ---- Owners that are silent ---- */

static uint64_t writes(const struct machine *machine)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < machine->set->count; i++)
		count += machine->set->disks[i]->counters.writes;
	return count;
}

/* The host stands still, its clock goes on: when it comes back nothing it had in mind is written. */
static void paused_program(struct machine *machine)
{
	const char *why = "";

	own(machine);
	rt_sleep(machine->rt, 10 * NS_PER_S);
	expect_done(machine, record_put(machine, 1, 7));
	uint64_t before = writes(machine);
	machine->sim->now_ns += 6 * NS_PER_S;
	expect_equal(core_commit(machine->core), -POOL_EHALTED);
	expect(core_halted(machine->core, &why));
	expect(strstr(why, "another host may have taken the pool"));
	rt_sleep(machine->rt, 60 * NS_PER_S);
	expect_equal(writes(machine), before);
	expect_equal(record_get(machine, 1), 7); /* what it has can be read */
	machine_abandon(machine);
	take(machine, &host_b, 0);
	expect_equal(record_get(machine, 1), 1);
	machine_export(machine);
}

/* A short one is no matter. */
static void hiccup_program(struct machine *machine)
{
	own(machine);
	for (unsigned i = 0; i < 5; i++) {
		machine->sim->now_ns += 3 * NS_PER_S;
		rt_sleep(machine->rt, 2 * NS_PER_S);
		record_commit(machine, 8);
	}
	machine_export(machine);
}

static void test_paused(void **state)
{
	(void)state;
	run(3, 2, 1, paused_program);
	run(1, 1, 0, paused_program);
	run(3, 2, 1, hiccup_program);
}

/* The time is over while an uberblock is on its way. */
static void end_lease(void *argument, struct sim_disk *disk, const struct disk_io *io)
{
	struct machine *machine = argument;
	uint64_t at = io->offset % label_area_offset(disk->size, 1);

	if (io->operation == DISK_WRITE && at >= UBERBLOCK_OFFSET && at < UBERBLOCK_OFFSET + UBERBLOCK_COMMIT_SLOTS * UBERBLOCK_SIZE)
		store_set_lease(core_store(machine->core), rt_now(machine->rt) + 1);
}

/* It ended too late: another host may have begun with the uberblock before. */
static void late_program(struct machine *machine)
{
	expect_done(machine, machine_import(machine));
	record_commit(machine, 3);
	expect_done(machine, record_put(machine, 1, 4));
	uint64_t txg = core_committed_txg(machine->core);
	machine->set->hooks = (struct sim_disks_hooks){ .argument = machine, .on_submit = end_lease };
	expect_equal(core_commit(machine->core), -POOL_EHALTED);
	expect_equal(core_committed_txg(machine->core), txg);
	machine->set->hooks = (struct sim_disks_hooks){ 0 };
	machine_abandon(machine);
}

static void test_late(void **state)
{
	struct machine *machine = machine_new(3, 64 * MIB, 2, 1, 30);

	(void)state;
	machine_boot(machine, machine_create_program);
	machine_boot(machine, late_program);
	machine_free(machine);
}

static void fail_heartbeats(struct machine *machine, unsigned disk, enum sim_fault fault)
{
	uint64_t size = machine->set->disks[disk]->size;

	for (unsigned area = 0; area < 2; area++)
		sim_disk_fault(machine->set->disks[disk], fault, label_area_offset(size, area) + HEARTBEATS, HEARTBEAT_BYTES, 0, UINT32_MAX,
			       0);
}

static void unwritable_program(struct machine *machine)
{
	const char *why = "";

	own(machine);
	fail_heartbeats(machine, 0, SIM_WRITE_ERROR);
	rt_sleep(machine->rt, 60 * NS_PER_S);
	record_commit(machine, 9); /* two of three are enough */
	fail_heartbeats(machine, 1, SIM_HANG);
	rt_sleep(machine->rt, 4 * NS_PER_S);
	expect(!core_halted(machine->core, NULL));
	rt_sleep(machine->rt, 3 * NS_PER_S);
	expect(core_halted(machine->core, &why));
	expect(strstr(why, "no heartbeat"));
	for (unsigned i = 0; i < 2; i++)
		sim_disk_faults_clear(machine->set->disks[i]);
	machine_abandon(machine);
	take(machine, &host_b, 0);
	expect_equal(record_get(machine, 1), 9);
	machine_export(machine);
}

static void test_unwritable(void **state)
{
	(void)state;
	run(3, 1, 1, unwritable_program);
}

static void put_foreign(struct machine *machine, unsigned index)
{
	const struct store_disk *disk = store_disk(core_store(machine->core), index);
	struct uberblock uberblock = { .pool = core_label(machine->core)->pool, .host = host_b, .epoch = 4711, .time_ns = 1,
				       .disk_index = (uint16_t)index, .slot = UBERBLOCK_COMMIT_SLOTS + 3 };
	uint8_t raw[UBERBLOCK_SIZE];

	uberblock_encode(&uberblock, &disk->guid, raw);
	sim_disk_poke(machine->set->disks[index], label_area_offset(disk->size, 1) + HEARTBEATS + 3 * UBERBLOCK_SIZE, raw, sizeof(raw));
}

static void claimed_program(struct machine *machine)
{
	const char *why = "";

	own(machine);
	rt_sleep(machine->rt, 10 * NS_PER_S);
	put_foreign(machine, 1); /* its own next one in this slot is 16 intervals away at most: it looks at each disk earlier */
	rt_sleep(machine->rt, 5 * NS_PER_S);
	expect(core_halted(machine->core, &why));
	expect(strstr(why, "another host has claimed"));
	machine_abandon(machine);
}

/* Somebody who doesn't keep to the rules. */
static void test_claimed(void **state)
{
	(void)state;
	run(3, 1, 1, claimed_program);
}

/* ---- Idle ---- */

static void idle_program(struct machine *machine)
{
	take(machine, &host_a, 0);
	record_commit(machine, 1);
	uint64_t before = writes(machine);
	rt_sleep(machine->rt, 100 * NS_PER_S);
	expect_equal(writes(machine), before);
	expect_done(machine, core_set_multihost(machine->core, true));
	before = writes(machine);
	rt_sleep(machine->rt, 100 * NS_PER_S);
	expect(writes(machine) - before >= 3 * 95 && writes(machine) - before <= 3 * 105);
	expect_done(machine, core_set_multihost(machine->core, false));
	before = writes(machine);
	rt_sleep(machine->rt, 100 * NS_PER_S);
	expect_equal(writes(machine), before);
	machine_export(machine);
}

static void test_idle(void **state)
{
	(void)state;
	run(3, 1, 1, idle_program);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_failover),   cmocka_unit_test(test_active),  cmocka_unit_test(test_missing),
		cmocka_unit_test(test_race),       cmocka_unit_test(test_paused),  cmocka_unit_test(test_unwritable),
		cmocka_unit_test(test_claimed),    cmocka_unit_test(test_idle),
		cmocka_unit_test(test_late),	   cmocka_unit_test(test_misread),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
