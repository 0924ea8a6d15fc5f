/*
 * A simulated machine with one pool for the tests of txg and dataset: disks that stay from boot to boot, and a program
 * that runs in the first fiber of each boot. Fibers have stacks of their own, so tests say `expect`, not assert.
 */
#ifndef TESTS_UNIT_TXG_MACHINE_H
#define TESTS_UNIT_TXG_MACHINE_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "libpool/txg/core.h"
#include "tests/sim/simdisk.h"

/* What fills whole pools, or counts, is done in part with a sanitizer, which makes it ten times slower and sees nothing new in the rest. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#else
#define SANITIZED false
#endif

#define MIB (UINT64_C(1) << 20)
#define MACHINE_DISKS_MAX 140u
#define MACHINE_MANY 135u

#define expect(condition)                                                                                              \
	do {                                                                                                           \
		if (!(condition)) {                                                                                    \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                        \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

/* A call that gives 0 or a negative code, and perhaps a text in machine->error. */
#define expect_done(machine, call)                                                                                     \
	do {                                                                                                           \
		int expect_status = (call);                                                                            \
		if (expect_status < 0) {                                                                               \
			fprintf(stderr, "%s:%d: %s: %d %s: %s\n", __FILE__, __LINE__, #call, expect_status,            \
				pool_error_string(expect_status), (machine)->error.text);                              \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

#define expect_equal(left, right)                                                                                      \
	do {                                                                                                           \
		long long expect_left = (long long)(left), expect_right = (long long)(right);                          \
		if (expect_left != expect_right) {                                                                     \
			fprintf(stderr, "%s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #left, expect_left,       \
				expect_right);                                                                         \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

struct machine {
	struct sim_env *sim;
	struct sim_disks *set;
	struct disk_provider *provider;
	struct rt *rt;
	unsigned disks, k, m, au_shift;
	struct core_options options; /* rt and provider are filled in at each boot */
	struct pool_error error;
	struct core *core;
	void (*program)(struct machine *machine);
	bool ended; /* the program returned */
	void *test; /* whatever the test wants to pass */

	/* Of the next import. */
	uint32_t hidden; /* mask of disks that aren't there */
	bool read_only, force, missing_log;
	uint64_t rewind_txg;
};

static inline struct machine *machine_new(unsigned disks, uint64_t size, unsigned k, unsigned m, uint64_t seed)
{
	struct machine *machine = sim_allocate(sizeof(*machine));

	machine->sim = sim_env_new(seed);
	machine->set = sim_disks_new(seed);
	machine->disks = disks;
	machine->k = k;
	machine->m = m;
	machine->options.cache_limit = 8 * MIB;
	machine->options.check_every_txg = true;
	memcpy(machine->options.host.bytes, "machine of tests", 16);
	for (unsigned i = 0; i < disks; i++)
		sim_disks_add(machine->set, size);
	return machine;
}

static inline void machine_free(struct machine *machine)
{
	sim_disks_free(machine->set);
	sim_env_free(machine->sim);
	free(machine);
}

static void machine_main(void *argument)
{
	struct machine *machine = argument;

	machine->program(machine);
	machine->ended = true;
}

/*
 * One boot. After a power cut or the death of the process (sim_env_stop) what survives of the caches is drawn by `mode`,
 * and the result is false.
 */
static inline bool machine_boot_mode(struct machine *machine, void (*program)(struct machine *machine), enum sim_crash_mode mode)
{
	struct sim_random random;
	expect_equal(rt_new(&machine->sim->env, &machine->rt), 0);
	machine->provider = sim_disks_provider(machine->set, machine->sim, machine->rt);
	machine->options.rt = machine->rt;
	machine->options.provider = machine->provider;
	machine->error = (struct pool_error){ 0 };
	machine->program = program;
	machine->ended = false;
	int status = rt_run(machine->rt, machine_main, machine);
	expect(!machine->sim->deadlock);
	sim_disks_provider_free(machine->provider);
	if (status == 0)
		rt_free(machine->rt);
	else
		rt_abandon(machine->rt);
	if (machine->set->powered_off) {
		sim_random_stream(&random, machine->sim->seed, "crash", machine->set->crashes);
		sim_disks_power_cut(machine->set, mode, &random);
	}
	sim_env_reboot(machine->sim);
	sim_disks_cut_at(machine->set, UINT64_MAX);
	if (status == 0)
		expect(machine->ended);
	return status == 0;
}

static inline void machine_boot(struct machine *machine, void (*program)(struct machine *machine))
{
	expect(machine_boot_mode(machine, program, SIM_CRASH_ANY));
}

static inline struct disk *machine_open_disk(struct machine *machine, unsigned index)
{
	struct disk *disk;

	expect_done(machine, machine->provider->ops->open(machine->provider, machine->rt, machine->set->disks[index]->path,
							  DISK_OPEN_EXCLUSIVE, &disk, &machine->error));
	return disk;
}

static inline int machine_create(struct machine *machine)
{
	struct disk *disks[MACHINE_DISKS_MAX];

	for (unsigned i = 0; i < machine->disks; i++)
		disks[i] = machine_open_disk(machine, i);
	struct core_create create = { .name = "tank", .k = machine->k, .m = machine->m, .disk_count = machine->disks,
				      .disks = disks, .au_shift = machine->au_shift };
	int status = core_create(&machine->options, &create, &machine->error);
	for (unsigned i = 0; i < machine->disks; i++)
		disk_close(disks[i]);
	return status;
}

static inline void machine_create_program(struct machine *machine)
{
	expect_done(machine, machine_create(machine));
}

static inline void machine_forget(struct core_disk_found *found)
{
	disk_close(found->disk);
	free(found->path);
	free(found->label);
}

/* Imports from all disks with a label but the hidden ones: 0 and machine->core, or the error. */
static inline int machine_import(struct machine *machine)
{
	struct core_disk_found found[SIM_DISKS_MAX];
	struct core_import import = { .disks = found, .read_only = machine->read_only, .force = machine->force,
				      .rewind_txg = machine->rewind_txg, .missing_log = machine->missing_log };

	int status = 0;
	for (unsigned i = 0; i < machine->set->count && status != -ENOMEM; i++) {
		struct core_disk_found *disk = &found[import.disk_count];
		if ((i < 32 && machine->hidden >> i & 1) || !machine->set->disks[i]->present)
			continue;
		*disk = (struct core_disk_found){ .disk = machine_open_disk(machine, i) };
		status = core_label_read(disk->disk, &disk->label);
		if (status < 0) {
			machine_forget(disk);
			continue;
		}
		disk->path = strdup(machine->set->disks[i]->path);
		import.disk_count++;
	}
	machine->error = (struct pool_error){ 0 };
	if (status != -ENOMEM)
		status = core_import(&machine->options, &import, &machine->core, &machine->error);
	for (unsigned i = 0; status < 0 && i < import.disk_count; i++)
		machine_forget(&found[i]);
	return status;
}

static inline uint64_t machine_device_bytes(const struct machine *machine)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < machine->set->count; i++)
		bytes += machine->set->disks[i]->counters.bytes_written;
	return bytes;
}

#endif
