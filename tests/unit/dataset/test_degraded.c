/* The property degraded: what writers get while disks are away. */
#include "libpool/txg/internal.h"
#include "tests/unit/dataset/volumes.h"

#define BLOCK 4096u

static int write_block(struct volume *volume, uint64_t block, unsigned version)
{
	uint8_t data[BLOCK];

	block_fill(data, sizeof(data), block, version);
	return volume_write(volume, block * BLOCK, sizeof(data), data);
}

static bool holds(struct volume *volume, uint64_t block, unsigned version)
{
	uint8_t data[BLOCK];

	return volume_read(volume, block * BLOCK, sizeof(data), data) == 0 && block_is(data, sizeof(data), block, version);
}

static void prepare_program(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);

	expect_done(machine, volume_create(datasets, "v", 4 * MIB, BLOCK, BLOCK_COMPRESS_OFF, &machine->error));
	struct volume *volume = pool_volume(machine, datasets, "v");
	for (unsigned i = 0; i < 100; i++)
		expect_done(machine, write_block(volume, i, 1));
	volume_close(volume);
	pool_close(machine, datasets);
}

static struct machine *machine_made(unsigned disks, unsigned k, unsigned m)
{
	struct machine *machine = machine_new(disks, 64 * MIB, k, m, 31);

	machine_boot(machine, machine_create_program);
	machine_boot(machine, prepare_program);
	return machine;
}

static void expect_refused(struct machine *machine, struct datasets *datasets, struct volume *volume, const char *policy)
{
	uint64_t txg;

	expect(core_writes_refused(machine->core));
	expect_equal(write_block(volume, 1, 9), -EROFS);
	expect_equal(volume_zero(volume, 0, BLOCK), -EROFS);
	expect_equal(volume_trim(volume, 0, BLOCK), -EROFS);
	expect_equal(volume_create(datasets, "w", MIB, BLOCK, BLOCK_COMPRESS_OFF, &machine->error), -EROFS);
	expect(strstr(machine->error.text, policy));
	expect_equal(volume_resize(datasets, "v", MIB, &machine->error), -EROFS);
	expect_equal(volume_destroy(datasets, "v", &machine->error), -EBUSY);
	machine->error = (struct pool_error){ 0 };
	expect(holds(volume, 1, 1));
	/* The pool's own records can be written all the same. */
	expect_done(machine, core_hold_own(machine->core, 16, &txg));
	core_release(machine->core, txg);
	expect_done(machine, core_commit_forced(machine->core));
	expect(!core_halted(machine->core, NULL));
}

/* Whatever was placed since lacks nothing. */
static void expect_whole(struct machine *machine, uint64_t since)
{
	struct alloc *alloc = core_alloc(machine->core);

	for (uint32_t id = 0; id < alloc_segment_count(alloc); id++) {
		const struct segment *segment = alloc_segment(alloc, id);
		if (!segment || segment->record.state == SEGMENT_NONE || segment->record.alloc_txg < since)
			continue;
		expect_equal(segment->record.m, machine->m);
		for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m; c++)
			expect(segment->record.columns[c].disk != DISK_ABSENT);
	}
}

static void narrow_program(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "v");
	uint64_t since = machine->core->open_txg;

	core_set_degraded(machine->core, CORE_DEGRADED_NARROW);
	expect(!core_writes_refused(machine->core));
	for (unsigned i = 0; i < 400; i++)
		expect_done(machine, write_block(volume, i, 2));
	expect_done(machine, core_commit(machine->core));
	expect_whole(machine, since);
	volume_close(volume);
	pool_close(machine, datasets);
}

static void refused_narrow_program(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "v");

	core_set_degraded(machine->core, CORE_DEGRADED_NARROW);
	expect_refused(machine, datasets, volume, "degraded=narrow");
	core_set_degraded(machine->core, CORE_DEGRADED_ALLOW);
	expect_done(machine, write_block(volume, 2, 3));
	expect_done(machine, core_commit(machine->core));
	volume_close(volume);
	pool_close(machine, datasets);
}

static void test_narrow(void **state)
{
	struct machine *machine = machine_made(5, 3, 2);

	(void)state;
	machine->hidden = 1;
	machine_boot(machine, narrow_program); /* 2 + 2 on the four that are left */
	machine->hidden = 3;
	machine_boot(machine, narrow_program); /* 1 + 2 */
	machine_free(machine);
}

static void mirror_program(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "v");

	core_set_degraded(machine->core, CORE_DEGRADED_NARROW);
	expect_done(machine, write_block(volume, 2, 2));
	sim_disk_vanish(machine->set->disks[1], SIM_CRASH_ALL);
	expect_done(machine, core_commit(machine->core)); /* what was accepted is committed */
	for (unsigned i = 0; i < 8 && !core_writes_refused(machine->core); i++)
		expect_done(machine, core_commit_forced(machine->core));
	expect_refused(machine, datasets, volume, "degraded=narrow");
	expect(holds(volume, 2, 2));
	volume_close(volume);
	pool_close(machine, datasets);
}

static void test_mirror(void **state)
{
	struct machine *machine = machine_made(2, 1, 1);

	(void)state;
	machine_boot(machine, mirror_program);
	machine_boot(machine, refused_narrow_program);
	machine_free(machine);
}

static void readonly_program(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "v");

	core_set_degraded(machine->core, CORE_DEGRADED_READONLY);
	expect_refused(machine, datasets, volume, "degraded=readonly");
	core_set_degraded(machine->core, CORE_DEGRADED_NARROW);
	expect_done(machine, write_block(volume, 3, 1));
	volume_close(volume);
	pool_close(machine, datasets);
}

static void whole_program(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "v");

	core_set_degraded(machine->core, CORE_DEGRADED_READONLY);
	expect_done(machine, write_block(volume, 3, 2));
	volume_close(volume);
	pool_close(machine, datasets);
}

static void test_readonly(void **state)
{
	struct machine *machine = machine_made(4, 2, 1);

	(void)state;
	machine_boot(machine, whole_program);
	machine->hidden = 2;
	machine_boot(machine, readonly_program);
	machine_free(machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_narrow),
		cmocka_unit_test(test_mirror),
		cmocka_unit_test(test_readonly),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
