/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The n-th allocation of some changes of a file fails, for every n: the change fails and leaves nothing, or the pool halts. What a
 * process is told of the file is what an import finds, and a value is the old one or the new one, never some of both.
 */
#include "libpool/txg/internal.h"
#include "tests/unit/fs/filesystems.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
int __real_posix_memalign(void **ret, size_t alignment, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
int __wrap_posix_memalign(void **ret, size_t alignment, size_t size);

static struct {
	bool armed;
	uint64_t count, failing;
} memory;

/* The simulator has memory always. */
static bool fails(const void *caller)
{
	uintptr_t place = (uintptr_t)caller;

	return memory.armed && place - (uintptr_t)sim_allocate >= 1024 && place - (uintptr_t)sim_env_schedule >= 1024 &&
	       memory.count++ == memory.failing;
}

void *__wrap_malloc(size_t size)
{
	return fails(__builtin_return_address(0)) ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails(__builtin_return_address(0)) ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return fails(__builtin_return_address(0)) ? NULL : __real_realloc(old, size);
}

int __wrap_posix_memalign(void **ret, size_t alignment, size_t size)
{
	return fails(__builtin_return_address(0)) ? ENOMEM : __real_posix_memalign(ret, alignment, size);
}

#define ATTRIBUTE "user.a"
#define OLD_BYTES 9000u
#define NEW_BYTES 8000u
#define FILE_BYTES 150u /* in the inode, until it grows */
#define GROWN_BYTES 3000u

static struct world world;

static struct {
	bool was_halted;
	unsigned failed;
	struct fs_attributes told;
} result;

/* Of a file that its owner may write, somebody else and the others read. */
static const uint8_t access_list[] = { 2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 5, 0, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255,
				       16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 4, 0, 255, 255, 255, 255 };

static void prepare_program(struct machine *machine)
{
	uint8_t value[OLD_BYTES];

	world_open(&world, machine, 0);
	struct fs_node *file = make(&world, world.root, "f", S_IFREG | 0644);
	memset(value, 'o', sizeof(value));
	put_bytes(&world, file, 0, value, FILE_BYTES);
	expect_done(machine, fs_xattr_set(file, ATTRIBUTE, value, OLD_BYTES, 0));
	expect_done(machine, fs_xattr_set(file, "system.posix_acl_access", access_list, sizeof(access_list), 0));
	fs_put(file);
	fs_put(make(&world, world.root, "g", S_IFREG | 0644));
	world_close(&world);
}

/* Nothing follows a change that failed, as it would store what that one has left in memory. */
static bool done(int status)
{
	expect(status == 0 || status == -ENOMEM || status == -POOL_EHALTED);
	result.failed += status < 0;
	return status == 0;
}

static void change_program(struct machine *machine)
{
	struct fs_set set = { .what = FS_SET_MODE | FS_SET_UID | FS_SET_SIZE, .mode = 0600, .uid = 77, .size = 100 };
	uint8_t value[NEW_BYTES];
	size_t written;

	world_open(&world, machine, 0);
	struct fs_node *file = look(world.root, "f"), *other = look(world.root, "g");
	memset(value, 'n', sizeof(value));
	memory.armed = true;
	(void)(done(fs_set(file, &set)) && done(fs_write(file, 90, GROWN_BYTES - 90, value, 0, &written)) &&
	       done(fs_allocate(file, 0, GROWN_BYTES, 1000, 0)) && done(fs_xattr_set(file, ATTRIBUTE, value, NEW_BYTES, 0)) &&
	       done(fs_xattr_set(other, ATTRIBUTE, value, 10, 0)));
	memory.armed = false;
	result.told = attributes(file);
	result.was_halted = core_halted(machine->core, NULL);
	fs_put(file);
	fs_put(other);
	if (!result.was_halted)
		return world_close(&world);
	fs_put(world.root);
	fs_close(world.fs);
	pool_abandon(machine, world.datasets);
}

static void check_value(struct machine *machine, struct fs_node *file)
{
	uint8_t value[OLD_BYTES];
	size_t length;

	expect_done(machine, fs_xattr_get(file, ATTRIBUTE, value, sizeof(value), &length));
	expect(length == (value[0] == 'n' ? NEW_BYTES : OLD_BYTES));
	for (size_t i = 0; i < length; i++)
		expect(value[i] == value[0]);
}

/* All of a file's bytes are of one of the versions that it had. */
static void check_content(struct machine *machine, struct fs_node *file, uint64_t size)
{
	uint8_t data[2 * GROWN_BYTES];

	(void)machine;
	expect_equal(get_bytes(&world, file, 0, data, sizeof(data)), size);
	for (uint64_t i = 0; i < size; i++)
		expect(i < 90 ? data[i] == 'o' : i < GROWN_BYTES ? data[i] == 'o' || data[i] == 'n' || data[i] == 0 : data[i] == 0);
}

static void check_program(struct machine *machine)
{
	world_open(&world, machine, 0);
	struct fs_node *file = look(world.root, "f");
	struct fs_attributes found = attributes(file);
	if (!result.was_halted) {
		expect_equal(found.mode, result.told.mode);
		expect_equal(found.uid, result.told.uid);
		expect_equal(found.size, result.told.size);
		expect_equal(found.changes, result.told.changes);
	}
	check_value(machine, file);
	check_content(machine, file, found.size);
	world_check(&world);
	fs_put(file);
	world_close(&world);
}

static void changes(void **state)
{
	struct machine *machine = machine_new(2, 64 * MIB, 1, 1, 5);
	struct sim_image *images[2];
	unsigned halted = 0, failed = 0;

	(void)state;
	machine_boot(machine, machine_create_program);
	machine_boot(machine, prepare_program);
	for (unsigned i = 0; i < 2; i++)
		images[i] = sim_disk_snapshot(machine->set->disks[i]);
	for (memory.failing = 0;; memory.failing++) {
		for (unsigned i = 0; i < 2; i++)
			sim_disk_restore(machine->set->disks[i], images[i]);
		result.failed = 0;
		memory.count = 0;
		machine_boot(machine, change_program);
		machine_boot(machine, check_program);
		if (memory.count <= memory.failing)
			break;
		halted += result.was_halted;
		failed += result.failed && !result.was_halted;
	}
	print_message("%llu allocations: %u halted the pool, %u failed a change\n", (unsigned long long)memory.failing, halted, failed);
	expect(halted > 0 && failed > 0);
	for (unsigned i = 0; i < 2; i++)
		sim_snapshot_free(images[i]);
	machine_free(machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(changes) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
