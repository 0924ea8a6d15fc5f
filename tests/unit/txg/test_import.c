/* Which disks and which uberblock an import goes by, and what it refuses. */
#include "libpool/base/buffer.h"
#include "tests/unit/txg/commits.h"

static uint64_t sysmap_offset(struct machine *machine, unsigned disk, unsigned area, uint32_t slot)
{
	return label_area_offset(machine->set->disks[disk]->size, area) + SYSMAP_OFFSET + (uint64_t)slot * SYSMAP_SLOT_SIZE;
}

static bool has_sysmap(struct machine *machine, unsigned disk, unsigned area)
{
	const struct uberblock *uberblock = &machine->core->uberblock;
	uint8_t *raw = malloc(SYSMAP_SLOT_SIZE);
	struct hash128 hash;

	sim_disk_peek(machine->set->disks[disk], sysmap_offset(machine, disk, area, uberblock->sysmap_slot), raw, SYSMAP_SLOT_SIZE);
	xxh3_128(raw, uberblock->sysmap_length, &hash);
	free(raw);
	return memcmp(&hash, &uberblock->sysmap_checksum, sizeof(hash)) == 0;
}

/* ---- The newest uberblock ---- */

/* Uberblocks alternate between the areas: area B stays where it was when its disk grows. */
static void test_grown(void **state)
{
	(void)state;
	for (unsigned more = 0; more < 2; more++) {
		struct numbers numbers = { 0 };
		struct machine *machine = six_commits(3, 1, 1, &numbers);
		if (more) {
			machine->program = NULL;
			machine_boot(machine, see_six);
			machine_boot(machine, commit_six);
		}
		for (unsigned i = 0; i < 3; i++)
			sim_disk_resize(machine->set->disks[i], 80 * MIB + i * MIB);
		machine_boot(machine, see_six);
		machine_boot(machine, commit_six);
		machine_boot(machine, see_six);
		machine_free(machine);
	}
}

/* A cell of a copy in each area of the label, of every disk: what is left is one copy in each. */
static void test_unreadable_labels(void **state)
{
	(void)state;
	for (unsigned which = 0; which < 4; which++) {
		struct numbers numbers = { 0 };
		struct machine *machine = six_commits(3, 1, 1, &numbers);
		for (unsigned i = 0; i < 3; i++) {
			struct sim_disk *disk = machine->set->disks[i];
			uint64_t offsets[2] = { label_area_offset(disk->size, 0), label_area_offset(disk->size, 1) };
			for (unsigned area = 0; area < 2; area++)
				sim_disk_set_unreadable(disk, offsets[area] + LABEL_OFFSET + (which >> area & 1) * LABEL_COPY_SIZE, CELL_SIZE);
		}
		machine_boot(machine, see_six);
		machine_free(machine);
	}
}

static void rewind_and_see(struct machine *machine)
{
	struct numbers *numbers = machine->test;

	machine->rewind_txg = numbers->txgs[4];
	expect_done(machine, machine_import(machine));
	machine->rewind_txg = 0;
	expect_equal(record_get(machine, 1), 4);
	for (unsigned i = 0; i < 5; i++)
		expect(record_commit(machine, 100 + i) >= numbers->txgs[6] + TXG_REWIND_GAP);
	machine_abandon(machine);
}

static void rewind_only(struct machine *machine)
{
	struct numbers *numbers = machine->test;

	machine->rewind_txg = numbers->txgs[4];
	expect_done(machine, machine_import(machine));
	machine->rewind_txg = 0;
	machine_export(machine);
}

static void see_four(struct machine *machine)
{
	struct numbers *numbers = machine->test;

	expect_done(machine, machine_import(machine));
	expect_equal(record_get(machine, 1), 4);
	expect(record_commit(machine, 5) > numbers->txgs[6]);
	machine_export(machine);
}

/* A rewind that nothing was written after is one all the same. */
static void test_rewind_only(void **state)
{
	(void)state;
	struct numbers numbers = { 0 };
	struct machine *machine = six_commits(4, 2, 1, &numbers);
	machine_boot(machine, rewind_only);
	machine_boot(machine, see_four);
	machine_free(machine);
}

static void fail_data(struct machine *machine, unsigned disks)
{
	for (unsigned i = 0; i < disks; i++)
		sim_disk_fault(machine->set->disks[i], SIM_WRITE_ERROR, DATA_START, 60 * MIB, 0, UINT32_MAX, 0);
}

static void fail_rewind(struct machine *machine)
{
	struct numbers *numbers = machine->test;

	fail_data(machine, 3);
	machine->rewind_txg = numbers->txgs[4];
	expect_equal(machine_import(machine), -POOL_EHALTED);
	expect(strstr(machine->error.text, "can't be made durable"));
	machine->rewind_txg = 0;
	expect_equal(machine_import(machine), -POOL_EHALTED);
	expect(strstr(machine->error.text, "first commit failed"));
	for (unsigned i = 0; i < 3; i++)
		sim_disk_faults_clear(machine->set->disks[i]);
}

/* Without a commit there is no going back, and no import that isn't one of a clean state: who asked is told. */
static void test_first_commit_fails(void **state)
{
	(void)state;
	struct numbers numbers = { 0 };
	struct machine *machine = six_commits(4, 2, 1, &numbers);
	machine_boot(machine, fail_rewind);
	machine_boot(machine, see_six);
	machine_free(machine);
}

static struct machine *two_disk_mirror(void)
{
	struct machine *machine = machine_new(2, 64 * MIB, 1, 1, 7);

	machine_boot(machine, machine_create_program);
	return machine;
}

static void commit_and_export(struct machine *machine)
{
	expect_done(machine, machine_import(machine));
	record_commit(machine, 3);
	machine_export(machine);
}

/* Away for more imports than the history tells of: old, and no other half of the pool. */
static void test_long_away(void **state)
{
	(void)state;
	struct machine *machine = two_disk_mirror();
	machine_boot(machine, commit_and_export);
	sim_disk_vanish(machine->set->disks[1], SIM_CRASH_ALL);
	for (unsigned i = 0; i < UBERBLOCK_HISTORY_MAX + 3; i++)
		machine_boot(machine, commit_and_export);
	sim_disk_return(machine->set->disks[1]);
	machine_boot(machine, commit_and_export);
	machine_free(machine);
}

static void commit_and_abandon(struct machine *machine)
{
	expect_done(machine, machine_import(machine));
	for (unsigned i = 0; i < 5; i++)
		record_commit(machine, 3);
	machine_abandon(machine);
}

static void expect_too_few(struct machine *machine)
{
	expect_equal(machine_import(machine), -POOL_EDEGRADED);
	expect(strstr(machine->error.text, "catching up"));
}

/* What was written while a disk was away may be on one other that suffices. */
static void expect_too_few_or_all(struct machine *machine)
{
	int status = machine_import(machine);

	if (status == 0) {
		expect_equal(record_get(machine, 1), 3);
		return machine_export(machine);
	}
	expect_equal(status, -POOL_EDEGRADED);
}

/* A disk that was away, and had not caught up when the others went: it isn't damaged, it doesn't suffice. */
static void test_unfinished_resync(void **state)
{
	static const struct { unsigned disks, k, m; } shapes[] = { { 2, 1, 1 }, { 3, 2, 1 }, { 4, 2, 2 } };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		uint32_t all = (1u << shapes[i].disks) - 1, late = (1u << shapes[i].m) - 1;
		struct machine *machine = machine_new(shapes[i].disks, 64 * MIB, shapes[i].k, shapes[i].m, 7);

		machine_boot(machine, machine_create_program);
		machine_boot(machine, commit_and_abandon);
		machine->hidden = late;
		machine_boot(machine, commit_and_abandon);
		machine->hidden = 0;
		machine_boot(machine, commit_and_abandon);
		/* All that have everything go, or one of them. */
		machine->hidden = all & ~late;
		machine_boot(machine, expect_too_few);
		machine->hidden = 1u << shapes[i].m;
		machine_boot(machine, shapes[i].disks == 2 ? expect_too_few : expect_too_few_or_all);
		machine->hidden = late;
		machine_boot(machine, commit_and_export);
		machine_free(machine);
	}
}

static void rewind_beyond(struct machine *machine)
{
	struct numbers *numbers = machine->test;

	machine->rewind_txg = numbers->txgs[6] + 1;
	expect_equal(machine_import(machine), -ENOENT);
	expect(strstr(machine->error.text, "there are"));
	machine->rewind_txg = 0;
}

static void see_rewound(struct machine *machine)
{
	expect_done(machine, machine_import(machine));
	expect_equal(record_get(machine, 1), 104);
	machine_export(machine);
}

/* Back by two commits: whole, with numbers that nobody has seen; also where a disk has lost the slot. */
static void test_rewind(void **state)
{
	(void)state;
	for (unsigned damaged = 0; damaged < 3; damaged++) {
		struct numbers numbers = { 0 };
		struct machine *machine = six_commits(4, 2, 1, &numbers);
		for (unsigned area = 0; area < 2 && damaged; area++)
			poke_garbage(machine, damaged, slot_offset(machine, damaged, area, numbers.txgs[4]), UBERBLOCK_SIZE);
		machine_boot(machine, rewind_beyond);
		machine_boot(machine, rewind_and_see);
		machine_boot(machine, see_rewound);
		machine_free(machine);
	}
}

/* ---- Uberblocks that nobody wrote ---- */

static void forge(struct machine *machine, void (*change)(struct uberblock *uberblock))
{
	struct uberblock *uberblock = malloc(sizeof(*uberblock));
	uint8_t raw[UBERBLOCK_SIZE];

	expect_done(machine, machine_import(machine));
	*uberblock = machine->core->uberblock;
	uberblock->rewrite += 10;
	change(uberblock);
	struct guid guids[MACHINE_DISKS_MAX];
	for (unsigned i = 0; i < machine->disks; i++)
		guids[i] = store_disk(core_store(machine->core), i)->guid;
	machine_abandon(machine);
	for (unsigned i = 0; i < machine->disks; i++) {
		uberblock->disk_index = (uint16_t)i;
		uberblock->slot = (uint16_t)(uberblock->txg % UBERBLOCK_COMMIT_SLOTS);
		uberblock_encode(uberblock, &guids[i], raw);
		sim_disk_poke(machine->set->disks[i], slot_offset(machine, i, 0, uberblock->txg), raw, sizeof(raw));
	}
	free(uberblock);
}

static void forge_incompat(struct uberblock *uberblock)
{
	uberblock->incompat = 4;
}

static void forge_ro_compat(struct uberblock *uberblock)
{
	uberblock->ro_compat = 4;
}

static void forge_txg(struct uberblock *uberblock)
{
	uberblock->txg = UINT64_MAX - 3;
	uberblock->epoch = 77;
}

static void forge_rewrite(struct uberblock *uberblock)
{
	uberblock->rewrite = UINT32_MAX;
}

/* ---- A part of the allocation log that isn't of this pool ---- */

struct forged_part {
	struct machine *machine;
	struct guid pool;
	uint32_t part_count;
	bool done;
};

static int put_part(void *argument, struct object_sync *sync)
{
	struct forged_part *forged = argument;
	struct core *core = forged->machine->core;
	struct alloc_log_header header = { .pool = forged->pool, .txg = sync->txg, .part_count = forged->part_count };
	struct buffer *buffer = buffer_new_zero(CELL_SIZE);
	struct raw_block_pointer raw;

	if (!forged->done) {
		expect(alloc_log_encode(&header, NULL, NULL, NULL, buffer->data) > 0);
		struct block_write write = { .data = buffer, .lsect = 1, .type = TYPE_ALLOC_LOG, .class = CLASS_SYS,
					     .compression = BLOCK_COMPRESS_OFF, .txg = sync->txg, .fill = 1 };
		block_write_submit(core->blocks, &write);
		expect_done(forged->machine, block_writes_place(core->blocks, CLASS_SYS));
		block_pointer_encode(&write.pointer, &raw);
		expect_done(forged->machine, array_push(&core->log_now.earlier, &raw));
		forged->done = true;
	}
	buffer_unref(buffer);
	return 0;
}

static void part_program(struct machine *machine)
{
	struct forged_part *forged = machine->test;
	struct core_participant participant = { .sync = put_part, .argument = forged };

	expect_done(machine, machine_import(machine));
	record_commit(machine, 4);
	if (forged->pool.bytes[0] == 0)
		forged->pool = core_label(machine->core)->pool;
	core_set_participant(machine->core, &participant);
	record_commit(machine, 5);
	machine_abandon(machine);
}

static void see_part(struct machine *machine)
{
	const struct forged_part *forged = machine->test;
	bool good = forged->part_count == UINT32_MAX && forged->pool.bytes[0] != 'x';

	if (good) {
		expect_done(machine, machine_import(machine));
		expect_equal(record_get(machine, 1), 5);
		machine_abandon(machine);
		return;
	}
	expect_equal(machine_import(machine), -POOL_EFORMAT);
	expect(strstr(machine->error.text, "allocation log"));
}

static void test_forged_part(void **state)
{
	struct forged_part cases[] = { { .part_count = UINT32_MAX }, { .part_count = 2 }, { .part_count = UINT32_MAX, .pool = { "x" } } };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct machine *machine = machine_new(2, 64 * MIB, 1, 1, 7);
		cases[i].machine = machine;
		machine->test = &cases[i];
		machine_boot(machine, machine_create_program);
		machine_boot(machine, part_program);
		machine_boot(machine, see_part);
		machine_free(machine);
	}
}

static void incompat_program(struct machine *machine)
{
	forge(machine, forge_incompat);
	expect_equal(machine_import(machine), -POOL_EFEATURE);
	machine->read_only = true;
	expect_equal(machine_import(machine), -POOL_EFEATURE);
}

static void ro_compat_program(struct machine *machine)
{
	forge(machine, forge_ro_compat);
	expect_equal(machine_import(machine), -POOL_EFEATURE);
	machine->read_only = true;
	expect_done(machine, machine_import(machine));
	expect_equal(record_get(machine, 1), 6);
	machine_export(machine);
}

static void numbers_program(struct machine *machine)
{
	forge(machine, forge_txg);
	expect_done(machine, machine_import(machine));
	expect(record_commit(machine, 8) < UINT32_MAX);
	machine_export(machine);
	forge(machine, forge_rewrite);
	expect_done(machine, machine_import(machine));
	expect_equal(record_get(machine, 1), 8);
	machine_export(machine);
}

static void test_forged(void **state)
{
	(void)state;
	void (*programs[])(struct machine *machine) = { incompat_program, ro_compat_program, numbers_program };
	for (unsigned i = 0; i < 3; i++) {
		struct numbers numbers = { 0 };
		struct machine *machine = six_commits(2, 1, 1, &numbers);
		machine_boot(machine, programs[i]);
		machine_free(machine);
	}
}

/* ---- Disks that are away, late, or new ---- */

static void hung_program(struct machine *machine)
{
	uint64_t began = rt_now(machine->rt);

	expect_done(machine, machine_import(machine));
	expect(rt_now(machine->rt) - began < 70 * NS_PER_S); /* one deadline for the label, one for uberblocks */
	expect_equal(store_disk(core_store(machine->core), 2)->state, DISK_MISSING);
	expect_equal(record_get(machine, 1), 6);
	record_commit(machine, 9);
	machine_export(machine);
}

static void hang_uberblocks(struct machine *machine)
{
	sim_disk_fault(machine->set->disks[2], SIM_HANG, UBERBLOCK_OFFSET, UBERBLOCK_COMMIT_SLOTS * UBERBLOCK_SIZE, 0, 1000, 0);
	hung_program(machine);
}

/* A disk that answers nothing costs one deadline, not one for each slot. */
static void test_hung(void **state)
{
	struct numbers numbers = { 0 };
	struct machine *machine = six_commits(4, 2, 1, &numbers);

	(void)state;
	machine_boot(machine, hang_uberblocks);
	machine_free(machine);
}

static void sysmap_repair(struct machine *machine)
{
	expect_done(machine, machine_import(machine));
	for (unsigned area = 0; area < 2; area++)
		expect(has_sysmap(machine, 0, area));
	record_commit(machine, 10);
	for (unsigned area = 0; area < 2; area++)
		expect(has_sysmap(machine, 1, area));
	/* And not again, but for SYS segments that the pool opens. */
	uint64_t txg = core_committed_txg(machine->core);
	for (unsigned i = 0; i < 12; i++)
		record_commit(machine, 11);
	expect(machine->core->uberblock.sysmap_txg <= txg + 4);
	machine_export(machine);
}

static void sysmap_damage(struct machine *machine)
{
	expect_done(machine, machine_import(machine));
	uint32_t slot = machine->core->uberblock.sysmap_slot;
	machine_abandon(machine);
	for (unsigned area = 0; area < 2; area++)
		poke_garbage(machine, 1, sysmap_offset(machine, 1, area, slot), SYSMAP_SLOT_SIZE);
}

static void add_disk(struct machine *machine)
{
	unsigned index;

	expect_done(machine, machine_import(machine));
	struct disk *disk = machine_open_disk(machine, machine->disks);
	expect_done(machine, core_disk_add(machine->core, disk, ROLE_DATA, &index, &machine->error));
	expect_equal(index, machine->disks);
	for (unsigned area = 0; area < 2; area++)
		expect(has_sysmap(machine, index, area));
	machine_export(machine);
}

/* Each disk that counts as ONLINE has the sysmap: one that lacks it, or is new, gets it with the next commit. */
static void test_sysmap(void **state)
{
	struct numbers numbers = { 0 };
	struct machine *machine = six_commits(2, 1, 1, &numbers);

	(void)state;
	machine_boot(machine, sysmap_damage);
	machine_boot(machine, sysmap_repair);
	sim_disks_add(machine->set, 64 * MIB);
	machine_boot(machine, add_disk);
	machine_free(machine);
}

static void add_and_crash(struct machine *machine)
{
	unsigned index;

	expect_done(machine, machine_import(machine));
	struct disk *disk = machine_open_disk(machine, machine->disks);
	(void)core_disk_add(machine->core, disk, ROLE_DATA, &index, &machine->error);
	record_commit(machine, 12);
	machine_export(machine);
}

static void see_added(struct machine *machine)
{
	expect_done(machine, machine_import(machine));
	uint32_t value = record_get(machine, 1);
	expect(value == 0 || value == 6 || value == 12);
	machine_abandon(machine);
}

/* Power goes at each write while a disk is added: with it, and without it, the pool is there. */
static void test_added_before_crash(void **state)
{
	(void)state;
	for (unsigned m = 0; m < 2; m++) {
		bool ended = false;
		for (unsigned cut = 0; !ended; cut++) {
			struct numbers numbers = { 0 };
			struct machine *machine = six_commits(1 + m, 1, m, &numbers);
			sim_disks_add(machine->set, 64 * MIB);
			uint64_t begin = machine->set->operations;
			sim_disks_cut_at(machine->set, begin + cut);
			ended = machine_boot_mode(machine, add_and_crash, cut % 2 ? SIM_CRASH_ANY : SIM_CRASH_NONE);
			if (!ended) {
				machine_boot(machine, see_added);
				machine->hidden = 1u << (1 + m);
				machine_boot(machine, see_added);
				machine->hidden = m ? 1 : 0;
				machine_boot(machine, see_added);
			}
			machine_free(machine);
			expect(cut < 400);
		}
	}
}

static void add_empty(struct machine *machine)
{
	unsigned index;

	expect_done(machine, machine_import(machine));
	struct disk *disk = machine_open_disk(machine, machine->disks);
	expect_done(machine, core_disk_add(machine->core, disk, ROLE_DATA, &index, &machine->error));
	alloc_disk_set_usable(machine->core->alloc, index, false); /* nothing goes there */
	machine_export(machine);
}

static void remove_and_crash(struct machine *machine)
{
	expect_done(machine, machine_import(machine));
	alloc_disk_set_usable(machine->core->alloc, machine->disks, false);
	expect_equal(core_disk_remove(machine->core, 0, &machine->error), -EBUSY);
	expect_equal(core_disk_remove(machine->core, 77, &machine->error), -ENOENT);
	expect(core_disk_remove(machine->core, machine->disks, &machine->error) != -EBUSY);
	record_commit(machine, 12);
	machine_export(machine);
}

/* Power goes at each write while a disk is removed: with it, and without it, the pool is there. */
static void test_removed_before_crash(void **state)
{
	bool ended = false;

	(void)state;
	for (unsigned cut = 0; !ended; cut++) {
		struct machine *machine = two_disk_mirror();
		sim_disks_add(machine->set, 64 * MIB);
		machine_boot(machine, add_empty);
		sim_disks_cut_at(machine->set, machine->set->operations + cut);
		ended = machine_boot_mode(machine, remove_and_crash, cut % 2 ? SIM_CRASH_ANY : SIM_CRASH_NONE);
		for (unsigned i = 0; i < 3; i++) {
			machine->hidden = (uint32_t[]){ 0, 4, 2 }[i];
			machine_boot(machine, see_added);
		}
		machine_free(machine);
		expect(cut < 400);
	}
}

static void remove_and_add(struct machine *machine)
{
	unsigned index;

	expect_done(machine, machine_import(machine));
	expect_done(machine, core_disk_remove(machine->core, machine->disks, &machine->error));
	struct disk *disk = machine_open_disk(machine, machine->disks + 1);
	expect_done(machine, core_disk_add(machine->core, disk, ROLE_DATA, &index, &machine->error));
	expect_equal(index, machine->disks + 1);
	machine_abandon(machine);
}

static void add_once_more(struct machine *machine)
{
	unsigned index;

	expect_done(machine, machine_import(machine)); /* the removed one is attached, and no part of it */
	expect(!store_disk(core_store(machine->core), machine->disks)->configured);
	struct disk *disk = machine_open_disk(machine, machine->disks + 2);
	expect_done(machine, core_disk_add(machine->core, disk, ROLE_DATA, &index, &machine->error));
	expect_equal(index, machine->disks + 2);
	machine_export(machine);
}

/* The index of a disk that was removed is never another one's: what is on it would be taken for that one's. */
static void test_removed_index(void **state)
{
	struct machine *machine = two_disk_mirror(); /* SYS has room: nothing goes to the new disk with its first commit */

	(void)state;
	for (unsigned i = 0; i < 3; i++)
		sim_disks_add(machine->set, 64 * MIB);
	machine_boot(machine, add_empty);
	machine_boot(machine, remove_and_add);
	machine_boot(machine, add_once_more);
	machine_free(machine);
}

/* The newest uberblock counts, on however few disks it is, whichever they are. */
static void test_one_disk_has_it(void **state)
{
	(void)state;
	for (unsigned keeps = 0; keeps < 4; keeps++) {
		struct numbers numbers = { 0 };
		struct machine *machine = six_commits(4, 2, 1, &numbers);
		for (unsigned i = 0; i < 4; i++)
			for (unsigned area = 0; area < 2 && i != keeps; area++)
				poke_garbage(machine, i, slot_offset(machine, i, area, numbers.txgs[6]), UBERBLOCK_SIZE);
		machine_boot(machine, see_six);
		machine_free(machine);
	}
}

static void shrunk_program(struct machine *machine)
{
	expect_done(machine, machine_import(machine));
	expect_equal(machine->error.code, 0);
	expect_equal(machine->error.text[0], 0);
	expect_equal(store_disk(core_store(machine->core), 3)->state, DISK_MISSING);
	machine_export(machine);
}

/* An import that succeeds has nothing to say in the error's place. */
static void test_shrunk(void **state)
{
	struct numbers numbers = { 0 };
	struct machine *machine = six_commits(4, 2, 1, &numbers);

	(void)state;
	sim_disk_resize(machine->set->disks[3], 60 * MIB);
	machine_boot(machine, shrunk_program);
	machine_free(machine);
}

static void too_few(struct machine *machine)
{
	expect_equal(machine_import(machine), -POOL_EDEGRADED);
	expect(strstr(machine->error.text, "disks are missing"));
}

static void test_too_few(void **state)
{
	struct numbers numbers = { 0 };
	struct machine *machine = six_commits(5, 3, 2, &numbers);

	(void)state;
	machine->hidden = 7;
	machine_boot(machine, too_few);
	machine->hidden = 3;
	machine_boot(machine, see_six);
	machine_free(machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rewind_only),
		cmocka_unit_test(test_first_commit_fails),
		cmocka_unit_test(test_shrunk),
		cmocka_unit_test(test_removed_index),
		cmocka_unit_test(test_one_disk_has_it),
		cmocka_unit_test(test_forged_part),
		cmocka_unit_test(test_unfinished_resync),
		cmocka_unit_test(test_long_away),
		cmocka_unit_test(test_grown),
		cmocka_unit_test(test_rewind),
		cmocka_unit_test(test_forged),
		cmocka_unit_test(test_unreadable_labels),
		cmocka_unit_test(test_hung),
		cmocka_unit_test(test_sysmap),
		cmocka_unit_test(test_added_before_crash),
		cmocka_unit_test(test_removed_before_crash),
		cmocka_unit_test(test_too_few),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
