/*
 * Scripted histories: the cases that went wrong in other systems, each at the instant that matters. Every boot compares the whole pool with the model.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/block/block.h"
#include "libpool/txg/internal.h"
#include "scrub/verify.h"
#include "tests/sim/admin.h"
#include "tests/sim/clients.h"
#include "tests/sim/faults.h"
#include "tests/sim/spoil.h"
#include "tests/sim/watch.h"

#define MIB (UINT64_C(1) << 20)

static struct model_volume *volume_of(struct world *world)
{
	struct model_volume *volume = model_find(&world->model, "v");

	if (!volume)
		world_fail(world, "the volume is gone");
	return volume;
}

static void write_some(struct world *world, unsigned count)
{
	struct model_volume *volume = volume_of(world);

	for (unsigned i = 0; i < count; i++)
		clients_write(world, volume, sim_random_below(&world->random, 200) * 4096, 4096 * sim_random_between(&world->random, 1, 16));
}

static void open_as(struct world *world, bool with_engine)
{
	struct pool_error error = {0};

	world_expect(world, world_import(world, with_engine, &error), &error, "import");
	world_note_members(world);
	clients_recover(world, true);
}

static void open_pool(struct world *world)
{
	open_as(world, true);
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

static void fill_body(struct world *world)
{
	open_pool(world);
	clients_create(world, "v", 2 * MIB, 4096, BLOCK_COMPRESS_OFF);
	write_some(world, 20);
	clients_commit(world, false);
	close_pool(world);
}

static struct world *machine(const char *name, unsigned disks, unsigned k, unsigned m)
{
	struct plan plan = {.seed = 4711, .disks = disks, .k = k, .m = m, .au_shift = 18, .commit_interval_ns = 100 * NS_PER_MS,
			    .dirty_limit = 8 * MIB};

	for (unsigned i = 0; i < disks; i++) {
		plan.disk_bytes[i] = 64 * MIB;
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
	if (end != WORLD_ENDED || model_find(&world->model, "v")->handle)
		model_crash(&world->model);
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
	admin_verify(world, VERIFY_FULL);
	close_pool(world);
}

static void done(struct world *world)
{
	faults_stop(world);
	faults_return_all(world);
	boot(world, repair_body);
	boot(world, check_body);
	printf("ok  %s\n", world->doing);
	watch_stop(world);
	world_free(world);
}

static void suspect(struct world *world, unsigned disk)
{
	world->suspects |= 1u << disk;
}

/* ---- bodies that write ---- */

static void write_body(struct world *world)
{
	open_pool(world);
	write_some(world, 10);
	clients_commit(world, false);
	close_pool(world);
}

static void write_long_body(struct world *world)
{
	open_pool(world);
	for (unsigned i = 0; i < 20; i++) {
		write_some(world, 5);
		clients_commit(world, i % 2);
	}
	close_pool(world);
}

static void write_and_die_body(struct world *world)
{
	open_pool(world);
	write_some(world, 10);
	clients_commit(world, false);
	write_some(world, 10);
	sim_disks_power_off(world->set);
	rt_yield(world->rt);
}

/* ---- scenarios ---- */

static void late_write(void)
{
	struct world *world = machine("a hung write completes after its row would be reused", 5, 2, 2);

	suspect(world, 1);
	for (unsigned i = 0; i < 4; i++)
		sim_disk_fault(world->set->disks[1], SIM_HANG_LATE, DATA_START, 60 * MIB, i * 3, 2, (40 + 60 * i) * NS_PER_S);
	boot(world, write_long_body);
	boot(world, write_long_body);
	done(world);
}

static void crash_during_import(void)
{
	struct world *world = machine("a second crash, and many more, during import", 4, 2, 1);

	boot(world, write_and_die_body);
	for (unsigned i = 0; i < 40; i++) {
		sim_disks_cut_at(world->set, world->set->operations + i / 2);
		boot(world, check_body);
	}
	done(world);
}

static void diverged_disk(void)
{
	struct world *world = machine("a disk with another history returns", 4, 2, 1);

	/* It alone gets the last uberblock before the power goes; then it is away while the others go on. */
	suspect(world, 3);
	for (unsigned i = 0; i < 3; i++)
		sim_disk_fault(world->set->disks[i], SIM_WRITE_LOST, UBERBLOCK_OFFSET, UBERBLOCK_SIZE * UBERBLOCK_COMMIT_SLOTS, 0, 1, 0);
	boot(world, write_and_die_body);
	for (unsigned i = 0; i < 3; i++)
		sim_disk_faults_clear(world->set->disks[i]);
	sim_disk_vanish(world->set->disks[3], SIM_CRASH_ALL);
	boot(world, write_body);
	boot(world, write_body);
	sim_disk_return(world->set->disks[3]);
	done(world);
}

static void crash_in_resync(void)
{
	struct world *world = machine("crashes in the middle of a resync", 4, 2, 1);

	suspect(world, 2);
	sim_disk_vanish(world->set->disks[2], SIM_CRASH_ALL);
	boot(world, write_long_body);
	sim_disk_return(world->set->disks[2]);
	for (unsigned i = 0; i < 30; i++) {
		sim_disks_cut_at(world->set, world->set->operations + 3 * i);
		boot(world, repair_body);
	}
	done(world);
}

static void flush_failure(void)
{
	for (unsigned skip = 0; skip < 12; skip++) {
		struct world *world = machine("a flush fails, one after the other", 4, 2, 1);

		suspect(world, 0);
		sim_disk_fault(world->set->disks[0], SIM_FLUSH_ERROR, 0, 0, skip, 1, 0);
		boot(world, write_and_die_body);
		done(world);
	}
}

/* Both tries of it: of data, metadata, checkpoint, final batch, header, whatever is written first, second, ... */
static void write_failure(void)
{
	for (unsigned skip = 0; skip < 40; skip++) {
		struct world *world = machine("a write fails, one after the other", 4, 2, 1);

		suspect(world, 0);
		sim_disk_fault(world->set->disks[0], SIM_WRITE_ERROR, DATA_START, 60 * MIB, skip, 2, 0);
		boot(world, write_and_die_body);
		done(world);
	}
}

static void last_disk_of_a_mirror(void)
{
	struct world *world = machine("the last disk of a mirror works alone", 2, 1, 1);

	suspect(world, 0);
	sim_disk_vanish(world->set->disks[0], SIM_CRASH_ANY);
	boot(world, write_body);
	boot(world, write_and_die_body);
	boot(world, write_body);
	done(world);
}

static void dead_disk_body(struct world *world)
{
	open_pool(world);
	write_some(world, 10);
	sim_disk_set_hanging(world->set->disks[1], true);
	close_pool(world);
	sim_disk_set_hanging(world->set->disks[1], false);
}

static void export_with_dead_disk(void)
{
	struct world *world = machine("export with a disk that answers nothing any more", 4, 2, 1);

	suspect(world, 1);
	boot(world, dead_disk_body);
	done(world);
}

static void replace_body(struct world *world)
{
	struct libpool_replace_options options = {.size = sizeof(options), .old_disk = "#1", .new_disk = "sim:4"};
	struct pool_error error = {0};

	open_pool(world);
	int result = engine_disk_replace(world->engine, &options, &error);

	if (result && result != -EALREADY && result != -POOL_EFOREIGN && result != -ENOENT && result != -EBUSY && result != -EINVAL)
		world_fail(world, "replace: %s (%s)", pool_error_string(result), error.text);
	world_note_members(world);
	write_some(world, 10);
	clients_commit(world, false);
	(void)engine_jobs_wait(world->engine, 0, 0);
	write_some(world, 5);
	close_pool(world);
}

static void crash_at_every_step_of_a_replace(void)
{
	for (unsigned step = 0; step < 60; step++) {
		struct world *world = machine("crash and loss of a disk at a step of replacing another", 4, 1, 2);

		suspect(world, 1);
		sim_disks_add(world->set, 64 * MIB);
		sim_disks_cut_at(world->set, world->set->operations + step * 4);
		boot(world, replace_body);
		suspect(world, step % 4);
		sim_disk_vanish(world->set->disks[step % 4], SIM_CRASH_ANY);
		boot(world, write_body);
		done(world);
	}
}

/* Writers go on, commit after commit, while the columns of a disk move to another one, each of which is slow. */
static void move_body(struct world *world)
{
	struct libpool_replace_options options = {.size = sizeof(options), .old_disk = "#1", .new_disk = "sim:5"};
	struct pool_error error = {0};
	unsigned rounds = 0;

	open_pool(world);
	for (unsigned i = 0; i < 6; i += 5)
		sim_disk_fault(world->set->disks[i], SIM_SLOW, DATA_START, 60 * MIB, 0, 5000, 900);
	int result = engine_disk_replace(world->engine, &options, &error);

	/* After a crash it is in the pool already, or has taken the other's place. */
	if (result && result != -EALREADY && result != -POOL_EFOREIGN && result != -ENOENT && result != -EBUSY && result != -EINVAL)
		world_fail(world, "replace: %s (%s)", pool_error_string(result), error.text);
	world_note_members(world);
	do {
		write_some(world, 2);
		if (rounds % 5 == 4)
			clients_commit(world, rounds % 2);
	} while (engine_jobs_wait(world->engine, 0, NS_PER_MS) == -ETIMEDOUT && rounds++ < 500);
	if (!result && rounds < 5)
		world_fail(world, "the columns moved in no time: only %u rounds of writes meanwhile", rounds);
	clients_check_all(world);
	for (unsigned i = 0; i < 6; i += 5)
		sim_disk_faults_clear(world->set->disks[i]);
	close_pool(world);
}

static void column_move_under_writers(void)
{
	for (unsigned step = 0; step < 12; step++) {
		struct world *world = machine("columns move under writers", 5, 3, 1);

		suspect(world, 1);
		sim_disks_add(world->set, 64 * MIB);
		if (step)
			sim_disks_cut_at(world->set, world->set->operations + 20 + step * 25);
		boot(world, move_body);
		if (step) /* it goes on after a crash, with another disk away */
			sim_disk_vanish(world->set->disks[step % 2 ? 3 : 4], SIM_CRASH_ANY);
		suspect(world, step % 2 ? 3 : 4);
		boot(world, write_body);
		done(world);
	}
}

/*
 * Power is cut at each write of taking a new disk in, and one is gone afterwards: another, and the new one is none that is lost; or
 * the new one, and the others know of it if there can be anything on it.
 */
static void disk_named_before_its_label(void)
{
	for (unsigned step = 0; step < 170; step++) {
		struct world *world = machine("a new disk is named before its label is durable", 4, 2, 1);
		unsigned away = step % 2 ? 4 : 0;

		suspect(world, 1);
		suspect(world, away);
		sim_disks_add(world->set, 64 * MIB);
		sim_disks_cut_at(world->set, world->set->operations + step);
		boot(world, replace_body);
		sim_disk_vanish(world->set->disks[away], SIM_CRASH_ANY);
		boot(world, write_body);
		boot(world, check_body);
		done(world);
	}
}

/* Log disks join together or not at all: the labels of the second can't be written. */
static void join_body(struct world *world)
{
	const char *paths[] = {"sim:4", "sim:5"};
	struct libpool_disk_add_options options = {.size = sizeof(options), .disks = paths, .disk_count = 2, .role = ROLE_LOG};
	struct pool_error error = {0};

	open_pool(world);
	write_some(world, 5);
	if (engine_disk_add(world->engine, &options, &error) >= 0)
		world_fail(world, "a log disk joined that can't be written");
	const struct label *label = core_label(world->core);
	for (unsigned i = 0; i < label->disk_count; i++)
		if (label->disks[i].role == ROLE_LOG && label->disks[i].state != DISK_REMOVED)
			world_fail(world, "log disk #%u has joined without the other one: %s", label->disks[i].index, error.text);
	if (label->feature_count || alloc_log_disks(core_alloc(world->core)))
		world_fail(world, "the pool has log disks, says its label");
	write_some(world, 5);
	clients_commit(world, false);
	close_pool(world);
}

static void log_disks_join_together(void)
{
	for (unsigned area = 0; area < 2; area++) {
		struct world *world = machine("log disks join together or not at all", 4, 2, 1);

		for (unsigned i = 0; i < 2; i++) {
			sim_disks_add(world->set, 64 * MIB);
			world->retired |= 1u << (4 + i);
		}
		sim_disk_fault(world->set->disks[5], SIM_WRITE_ERROR, label_area_offset(64 * MIB, area) + LABEL_OFFSET, 2 * LABEL_COPY_SIZE, 0, 1000, 0);
		boot(world, join_body);
		boot(world, write_body);
		done(world);
	}
}

/*
 * The uberblock of one commit after the other can't be written to as many disks as the profile has parity, on mirrors, where a
 * quorum is all of them: it is written again, naming them, and the power goes, before that or after.
 */
static void quorum_missed(void)
{
	static const struct { unsigned disks, m; } mirrors[] = {{2, 1}, {3, 2}, {3, 1}};

	for (unsigned i = 0; i < 3 * 6 * 16; i++) {
		unsigned disks = mirrors[i % 3].disks, m = mirrors[i % 3].m, skip = i / 3 % 6, cut = i / 18;
		struct world *world = machine("the quorum for an uberblock is missed, then a crash", disks, 1, m);

		for (unsigned disk = 0; disk < m; disk++) {
			suspect(world, disk);
			for (unsigned area = 0; area < 2; area++)
				sim_disk_fault(world->set->disks[disk], SIM_WRITE_ERROR, label_area_offset(64 * MIB, area) + UBERBLOCK_OFFSET,
					       UBERBLOCK_SIZE * UBERBLOCK_COMMIT_SLOTS, skip, 2, 0);
		}
		if (cut) /* otherwise it lives as long as its program */
			sim_disks_cut_at(world->set, world->set->operations + 4 * cut);
		boot(world, write_and_die_body);
		boot(world, write_body);
		done(world);
	}
}

static unsigned percent_used(struct world *world)
{
	struct space space;

	core_space(world->core, &space);
	return (unsigned)(space.live_cells * 100 / space.usable_cells);
}

/* Writes on until so much is in use, or there is no room left. */
static void fill_until(struct world *world, struct model_volume *volume, unsigned percent)
{
	uint64_t full = world->statistics.no_space;

	for (uint64_t at = 0; at < model_size(volume) && percent_used(world) < percent && world->statistics.no_space == full; at += MIB / 2) {
		clients_write(world, volume, at, MIB / 2);
		if (at / MIB % 4 == 3)
			clients_commit(world, true);
	}
	clients_commit(world, true);
}

/* It has what it takes to be emptied, commit after commit, with nothing in the way of the next writer. */
static void full_body(struct world *world)
{
	open_pool(world);
	struct model_volume *large = clients_create(world, "large", 512 * MIB, 65536, BLOCK_COMPRESS_OFF);

	fill_until(world, large, 51);
	if (percent_used(world) < 48)
		world_fail(world, "%u %% in use are all there is room for", percent_used(world));
	sim_disk_vanish(world->set->disks[1], SIM_CRASH_ANY);
	struct model_volume *more = clients_create(world, "more", 512 * MIB, 65536, BLOCK_COMPRESS_OFF);
	uint64_t full = world->statistics.no_space;

	fill_until(world, more, 100);
	if (world->statistics.no_space == full)
		world_fail(world, "the pool can't be filled: %u %%", percent_used(world));
	for (uint64_t at = 0; at < 512 * MIB; at += 16 * MIB) {
		clients_zero(world, large, at, 16 * MIB);
		clients_zero(world, more, at, 16 * MIB);
		clients_commit(world, true);
	}
	for (unsigned i = 0; i < 3; i++)
		clients_commit(world, true);
	full = world->statistics.no_space;
	fill_until(world, large, 30);
	if (world->statistics.no_space != full)
		world_fail(world, "an emptied pool has no room: %u %% in use", percent_used(world));
	clients_check_all(world);
	close_pool(world);
}

static void nearly_full_pool_loses_a_disk(void)
{
	static const struct { unsigned disks, k, m; } pools[] = {{6, 4, 2}, {4, 2, 1}, {3, 1, 1}};

	for (unsigned i = 0; i < 3; i++) {
		struct world *world = machine("a pool that is half full loses a disk, is filled and emptied", pools[i].disks, pools[i].k, pools[i].m);

		suspect(world, 1);
		boot(world, full_body);
		boot(world, write_body);
		done(world);
	}
}

static unsigned map_rounds;

/* A commit that needs it, or the scrub, has it on disk again before the power goes. */
static void map_leaf_body(struct world *world)
{
	open_pool(world);
	for (unsigned i = 0; i < 2; i++) {
		write_some(world, 5);
		clients_commit(world, true);
		spoil_map_leaf(world);
		if (map_rounds % 2)
			admin_repair(world);
		for (unsigned j = 0; j < 3; j++) {
			write_some(world, 5);
			clients_commit(world, true);
		}
	}
	if (map_rounds > 1) {
		sim_disks_power_off(world->set);
		rt_yield(world->rt);
	}
	close_pool(world);
}

static void damaged_map_leaf(void)
{
	for (map_rounds = 0; map_rounds < 4; map_rounds++) {
		struct world *world = machine("a damaged node of the batch map", 4, 1, map_rounds % 3 ? 1 : 2);

		world->plan.fault_kinds = 1u << SIM_ROT; /* nobody was told */
		boot(world, map_leaf_body);
		done(world);
	}
}

/* The summary of the batch that the volume's last content lies in, with the parity of its rows: nothing else. */
static void spoil_summary_body(struct world *world)
{
	open_pool(world);
	struct model_volume *volume = volume_of(world);

	for (unsigned i = 0; i < 20; i++)
		clients_write(world, volume, MIB + i * 8192, 8192);
	clients_commit(world, false);
	spoil_newest_summary(world, volume->id);
	if (world->plan.seed % 2) {
		sim_disks_power_off(world->set);
		rt_yield(world->rt);
	}
	close_pool(world);
}

static void lost_summary(void)
{
	static const struct { unsigned disks, k, m; } pools[] = {{4, 1, 1}, {4, 2, 1}, {6, 4, 2}, {3, 1, 2}};

	for (unsigned step = 0; step < 48; step++) {
		unsigned pool = step % 4;
		struct world *world = machine("a summary is lost and made anew, the power is cut meanwhile", pools[pool].disks, pools[pool].k, pools[pool].m);

		world->plan.fault_kinds = 1u << SIM_ROT; /* nobody was told */
		boot(world, spoil_summary_body);
		sim_disks_cut_at(world->set, world->set->operations + 2 * step);
		boot(world, repair_body);
		done(world);
	}
}

static uint64_t label_copy(const struct sim_disk *disk, unsigned number)
{
	return label_area_offset(disk->size, number / 2) + LABEL_OFFSET + number % 2 * LABEL_COPY_SIZE;
}

/*
 * Of every label one copy is left; the power is cut at each write of the scrub that mends the others; then what was left goes,
 * and half of what was mended.
 */
static void labels_one_by_one(void)
{
	for (unsigned step = 0; step < 40; step++) {
		struct world *world = machine("labels are mended, power is cut, the other copies go", 3, 1, 1);

		for (unsigned disk = 0; disk < 3; disk++)
			for (unsigned number = 0; number < 4; number++)
				if (number != (step + disk) % 4)
					sim_disk_rot(world->set->disks[disk], label_copy(world->set->disks[disk], number));
		sim_disks_cut_at(world->set, world->set->operations + step * 3);
		boot(world, repair_body);
		boot(world, repair_body);
		for (unsigned disk = 0; disk < 3; disk++)
			for (unsigned number = 0; number < 4; number++)
				if (number == (step + disk) % 4 || number / 2 == step % 2)
					sim_disk_rot(world->set->disks[disk], label_copy(world->set->disks[disk], number));
		done(world);
	}
}

static void slow_reader(struct world *world)
{
	struct model_volume *volume = volume_of(world);
	struct model_observer observer;
	uint8_t *data = sim_allocate(MIB);

	model_observe(&world->model, &observer);
	int result = volume_read(volume->handle, 0, MIB, data);

	if (result)
		world_fail(world, "slow read: %s", pool_error_string(result));
	if (!model_check_read(&world->model, &observer, volume, 0, MIB, data))
		world_fail(world, "%s", world->model.problem);
	free(data);
}

static void slow_reader_fiber(void *argument)
{
	slow_reader(argument);
}

static void slow_reader_body(struct world *world)
{
	open_as(world, false);
	for (unsigned round = 0; round < 6; round++) {
		for (unsigned i = 0; i < world->plan.disks; i++)
			sim_disk_fault(world->set->disks[i], SIM_SLOW, DATA_START, 60 * MIB, round, 20, 900);
		blocks_drop_cache(core_blocks(world->core));
		if (rt_spawn(world->rt, "slow reader", slow_reader_fiber, world))
			world_fail(world, "no memory");
		for (unsigned i = 0; i < 6; i++) {
			write_some(world, 4);
			clients_commit(world, true);
		}
		for (unsigned i = 0; i < world->plan.disks; i++)
			sim_disk_faults_clear(world->set->disks[i]);
		rt_sleep(world->rt, 10 * NS_PER_S);
	}
	close_pool(world);
}

static void reader_slower_than_commits(void)
{
	struct world *world = machine("a reader slower than two commits", 4, 2, 1);

	boot(world, slow_reader_body);
	done(world);
}

/* ---- the intent log ---- */

static void flush_and_die_body(struct world *world)
{
	open_pool(world);
	for (unsigned i = 0; i < 25; i++) {
		write_some(world, 2);
		clients_flush(world, volume_of(world));
	}
	sim_disks_power_off(world->set);
	rt_yield(world->rt);
}

static void flush_long_body(struct world *world)
{
	open_pool(world);
	for (unsigned i = 0; i < 20; i++) {
		for (unsigned j = 0; j < 5; j++) {
			write_some(world, 1);
			clients_flush(world, volume_of(world));
		}
		rt_sleep(world->rt, 10 * NS_PER_S);
	}
	close_pool(world);
}

/* A copy that can't be written when a flush needs it, then a crash, and another disk is gone. */
static void log_copy_lost(void)
{
	for (unsigned step = 0; step < 40; step++) {
		struct world *world = machine("a copy of the log can't be written, then the power and another copy's disk go", 5, 2, 2);

		suspect(world, 1);
		sim_disk_fault(world->set->disks[1], SIM_WRITE_ERROR, DATA_START, 60 * MIB, step, 1 + step % 3, 0);
		boot(world, flush_and_die_body);
		unsigned other = step % 4 + (step % 4 >= 1);

		suspect(world, other);
		sim_disk_vanish(world->set->disks[other], SIM_CRASH_NONE);
		boot(world, check_body);
		done(world);
	}
}

static unsigned failing_write;
static struct sim_disk *other_copy;

static void flush_without_a_copy_body(struct world *world)
{
	open_pool(world);
	write_some(world, 1);
	clients_flush(world, volume_of(world)); /* makes the log */
	const struct intent *intent = &world->core->intent;
	const struct segment_column *columns = alloc_segment(core_alloc(world->core), intent->segments[intent->head].id)->record.columns;

	other_copy = world_disk(world, columns[1].disk);
	sim_disk_fault(world_disk(world, columns[0].disk), SIM_WRITE_ERROR, store_cell_offset(core_store(world->core), columns[0].au, 0), 1u << 18,
		       failing_write, 1, 0);
	for (unsigned i = 0; i < 10; i++) {
		write_some(world, 1);
		clients_flush(world, volume_of(world));
	}
	sim_disks_power_off(world->set);
	rt_yield(world->rt);
}

static void one_copy_is_not_enough(void)
{
	for (failing_write = 0; failing_write < 12; failing_write++) {
		struct world *world = machine("one of two copies of a group can't be written, then the other's disk goes", 4, 2, 1);

		boot(world, flush_without_a_copy_body);
		suspect(world, other_copy->index);
		sim_disk_vanish(other_copy, SIM_CRASH_NONE);
		boot(world, check_body);
		done(world);
	}
}

static void late_log_write(void)
{
	struct world *world = machine("a hung write of the log completes after its segment would be reused", 5, 2, 2);

	suspect(world, 1);
	for (unsigned i = 0; i < 4; i++)
		sim_disk_fault(world->set->disks[1], SIM_HANG_LATE, DATA_START, 60 * MIB, 40 + i * 30, 1, (40 + 60 * i) * NS_PER_S);
	boot(world, flush_long_body);
	boot(world, flush_long_body);
	done(world);
}

static void crash_in_replay(void)
{
	struct world *world = machine("crashes at every write of a replay", 4, 2, 1);

	boot(world, flush_and_die_body);
	for (unsigned i = 0; i < 60; i++) {
		sim_disks_cut_at(world->set, world->set->operations + i / 2);
		boot(world, check_body);
	}
	boot(world, flush_and_die_body);
	suspect(world, 0);
	sim_disk_vanish(world->set->disks[0], SIM_CRASH_ANY);
	for (unsigned i = 0; i < 60; i++) {
		sim_disks_cut_at(world->set, world->set->operations + i / 2);
		boot(world, check_body);
	}
	done(world);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	late_write();
	crash_during_import();
	crash_in_resync();
	flush_failure();
	write_failure();
	last_disk_of_a_mirror();
	export_with_dead_disk();
	reader_slower_than_commits();
	crash_at_every_step_of_a_replace();
	column_move_under_writers();
	disk_named_before_its_label();
	log_disks_join_together();
	diverged_disk();
	labels_one_by_one();
	damaged_map_leaf();
	lost_summary();
	quorum_missed();
	nearly_full_pool_loses_a_disk();
	log_copy_lost();
	one_copy_is_not_enough();
	late_log_write();
	crash_in_replay();
	return 0;
}
