/*
 * Disks that have each other's labels: with as many of them and of missing ones as the parity doesn't bear the import says so, and writes nothing,
 * also when memory is short. A disk that was in the pool before, as another one, isn't taken for that one.
 */
#include <sys/mman.h>

#include "tests/unit/txg/records.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
int __real_posix_memalign(void **ret, size_t alignment, size_t size);
void *__real_mmap(void *address, size_t length, int protection, int flags, int file, off_t offset);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
int __wrap_posix_memalign(void **ret, size_t alignment, size_t size);
void *__wrap_mmap(void *address, size_t length, int protection, int flags, int file, off_t offset);

static struct {
	bool armed;
	uint64_t count, which;
} memory;

static bool within(const void *place, uintptr_t function)
{
	return (uintptr_t)place - function < 1024;
}

/* The simulator has memory always: it is what these two functions take it for. */
static bool fails(const void *caller)
{
	if (!memory.armed || within(caller, (uintptr_t)sim_allocate) || within(caller, (uintptr_t)sim_env_schedule))
		return false;
	return memory.count++ == memory.which;
}

void *__wrap_malloc(size_t size)
{
	return fails(__builtin_return_address(0)) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails(__builtin_return_address(0)) ? NULL : __real_calloc(count, size);
}

int __wrap_posix_memalign(void **ret, size_t alignment, size_t size)
{
	return fails(__builtin_return_address(0)) ? ENOMEM : __real_posix_memalign(ret, alignment, size);
}

void *__wrap_mmap(void *address, size_t length, int protection, int flags, int file, off_t offset)
{
	if (fails(__builtin_return_address(0))) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	return __real_mmap(address, length, protection, flags, file, offset);
}

/* ---- a pool of four disks that survives the loss of one ---- */

#define DISKS 4u
#define SIZE (64 * MIB)

static void fill(struct machine *machine)
{
	expect_done(machine, machine_import(machine));
	for (unsigned i = 1; i <= 12; i++)
		record_commit(machine, i);
	machine_export(machine);
}

static void see_all(struct machine *machine)
{
	expect_done(machine, machine_import(machine));
	expect_equal(record_get(machine, 1), 12);
	machine_export(machine);
}

static struct machine *filled(void)
{
	struct machine *machine = machine_new(DISKS, SIZE, 2, 1, 5);

	machine_boot(machine, machine_create_program);
	machine_boot(machine, fill);
	return machine;
}

static void swap_area(struct machine *machine, unsigned one, unsigned other, unsigned area)
{
	uint64_t offset = label_area_offset(SIZE, area);
	uint8_t *a = malloc(LABEL_AREA_SIZE), *b = malloc(LABEL_AREA_SIZE);

	sim_disk_peek(machine->set->disks[one], offset, a, LABEL_AREA_SIZE);
	sim_disk_peek(machine->set->disks[other], offset, b, LABEL_AREA_SIZE);
	sim_disk_poke(machine->set->disks[one], offset, b, LABEL_AREA_SIZE);
	sim_disk_poke(machine->set->disks[other], offset, a, LABEL_AREA_SIZE);
	free(a);
	free(b);
}

static void swap(struct machine *machine, unsigned areas)
{
	for (unsigned area = 0; area < 2; area++)
		if (areas >> area & 1)
			swap_area(machine, 0, 2, area);
}

struct refusal {
	const char *says[3];
};

static void refuse(struct machine *machine)
{
	const struct refusal *refusal = machine->test;
	uint64_t before = machine_device_bytes(machine);

	for (unsigned way = 0; way < 3; way++) {
		machine->force = way == 1;
		machine->read_only = way == 2;
		expect_equal(machine_import(machine), -POOL_EDAMAGED);
		expect(strstr(machine->error.text, "labels of others"));
		for (unsigned i = 0; i < 3; i++)
			expect(!refusal->says[i] || strstr(machine->error.text, refusal->says[i]));
	}
	machine->force = machine->read_only = false;
	expect_equal(machine_device_bytes(machine), before);
}

/* Both, and each of the two alone; both label areas, and only the first, which is the one that is read. */
static void test_refused(void **state)
{
	static const char *const wrong[] = { NULL, "(wrong: its first MiB)", NULL, "(wrong: its first and last MiB)" };
	static const struct {
		uint32_t hidden;
		const char *says[2];
	} cases[] = {
		{ 0, { "sim:0 has what was written to sim:2", "sim:2 has what was written to sim:0" } },
		{ 1 << 0, { "sim:2 has what was written to disk #2, which isn't there" } },
		{ 1 << 2, { "sim:0 has what was written to disk #0, which isn't there" } },
	};

	(void)state;
	for (unsigned areas = 1; areas <= 3; areas += 2)
		for (unsigned i = 0; i < 3; i++) {
			struct machine *machine = filled();
			struct refusal refusal = { { cases[i].says[0], cases[i].says[1], wrong[areas] } };
			swap(machine, areas);
			machine->hidden = cases[i].hidden;
			machine->test = &refusal;
			machine_boot(machine, refuse);
			/* Put back: all is as it was, also without the one that isn't there. */
			swap(machine, areas);
			machine_boot(machine, see_all);
			machine->hidden = 0;
			machine_boot(machine, see_all);
			machine_free(machine);
		}
}

static void import_short(struct machine *machine)
{
	memory.count = 0;
	memory.armed = true;
	int status = machine_import(machine);
	memory.armed = false;
	expect(status == -ENOMEM || (status == -POOL_EDAMAGED && strstr(machine->error.text, "labels of others")));
}

/* Which disk is another one isn't known without memory: then there is no import, whichever piece it is that lacks. */
static void test_memory(void **state)
{
	struct machine *machine = filled();
	uint64_t before = machine_device_bytes(machine);

	(void)state;
	swap(machine, 3);
	do {
		machine_boot(machine, import_short);
		memory.which++;
	} while (memory.count >= memory.which);
	expect(memory.which > 40);
	expect_equal(machine_device_bytes(machine), before);
	swap(machine, 3);
	machine_boot(machine, see_all);
	machine_free(machine);
}

/* ---- a disk that was another one ---- */

static void add_again(struct machine *machine)
{
	struct disk *disk;
	unsigned index;

	expect_done(machine, machine_import(machine));
	disk = machine_open_disk(machine, 3);
	if (core_disk_add(machine->core, disk, ROLE_DATA, &index, &machine->error) < 0) {
		expect(machine->set->powered_off);
		disk_close(disk);
	}
	machine_abandon(machine);
}

static void erase(struct machine *machine, unsigned index)
{
	uint8_t *zeroes = calloc(1, LABEL_AREA_SIZE);

	for (unsigned area = 0; area < 2; area++)
		sim_disk_poke(machine->set->disks[index], label_area_offset(SIZE, area), zeroes, LABEL_AREA_SIZE);
	free(zeroes);
}

/*
 * It is erased and added while it still counts as missing, and the power fails before, in or after any write: what lies on it from before is no
 * evidence, also as long as nothing else does.
 */
static void test_former(void **state)
{
	bool whole = false;

	(void)state;
	for (unsigned after = 1; !whole; after++) {
		struct machine *machine = filled();
		erase(machine, 3);
		sim_disks_cut_at(machine->set, machine->set->operations + after);
		whole = machine_boot_mode(machine, add_again, SIM_CRASH_ALL);
		machine_boot(machine, see_all);
		machine_free(machine);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_refused), cmocka_unit_test(test_memory), cmocka_unit_test(test_former) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
