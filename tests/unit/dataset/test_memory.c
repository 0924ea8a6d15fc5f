/*
 * The n-th allocation of an import, some commits and an export fails, for every n: calls say that memory is short, or the pool
 * halts. Nothing crashes or leaks, no disk is blamed, and the next import finds all that was acknowledged.
 */
#include <sys/mman.h>

#include "libpool/base/check.h"
#include "libpool/txg/internal.h"
#include "tests/unit/dataset/volumes.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
int __real_posix_memalign(void **ret, size_t alignment, size_t size);
void *__real_mmap(void *address, size_t length, int protection, int flags, int file, off_t offset);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
int __wrap_posix_memalign(void **ret, size_t alignment, size_t size);
void *__wrap_mmap(void *address, size_t length, int protection, int flags, int file, off_t offset);

static struct {
	bool armed;
	uint64_t count, fail_first; /* numbers of the allocations that fail: from fail_first on, fail_count */
	uint64_t fail_count;
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
	uint64_t number = memory.count++;
	return number >= memory.fail_first && number - memory.fail_first < memory.fail_count;
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

void *__wrap_mmap(void *address, size_t length, int protection, int flags, int file, off_t offset)
{
	if (fails(__builtin_return_address(0))) {
		errno = ENOMEM;
		return MAP_FAILED;
	}
	return __real_mmap(address, length, protection, flags, file, offset);
}

#define BLOCKS 40u

struct scene {
	unsigned written;   /* version of the blocks that was written last */
	unsigned flushed;   /* and the last that a flush acknowledged */
	bool extra_made, extra_gone;
	const char *wrong;  /* a check that failed for another reason than memory */
};

static struct machine *current;

/* As the pool's engine does it: a broken invariant halts the pool. Lack of memory is the only one to be met here. */
static void on_check(void *argument, const char *file, int line, const char *expression)
{
	struct scene *scene = argument;

	if (!strstr(expression, "memory")) {
		fprintf(stderr, "%s:%d: %s\n", file, line, expression);
		scene->wrong = expression;
	}
	if (current->core)
		core_halt(current->core, "out of memory");
}

static bool allowed(int status)
{
	return status == 0 || status == -ENOMEM || status == -POOL_EHALTED;
}

static void expect_allowed(struct machine *machine, int status, int line)
{
	if (allowed(status))
		return;
	fprintf(stderr, "line %d: %d %s: %s\n", line, status, pool_error_string(status), machine->error.text);
	abort();
}

#define TRY(call) expect_allowed(machine, (call), __LINE__)

static void use(struct machine *machine, struct datasets *datasets)
{
	struct scene *scene = machine->test;
	struct volume *volume;
	static uint8_t data[4096];

	int status = volume_open(datasets, "v", &volume, &machine->error);
	expect_allowed(machine, status, __LINE__);
	if (status < 0)
		return;
	for (unsigned round = 1; round <= 2 && status == 0; round++) {
		for (unsigned block = 0; block < BLOCKS && status == 0; block++) {
			block_fill(data, sizeof(data), block, round + 1);
			status = volume_write(volume, block * 4096 * 70, sizeof(data), data);
			expect_allowed(machine, status, __LINE__);
		}
		if (status == 0)
			scene->written = round + 1;
		if (status == 0) {
			status = volume_flush(volume);
			expect_allowed(machine, status, __LINE__);
			if (status == 0)
				scene->flushed = round + 1;
		}
		machine->error = (struct pool_error){ 0 };
		if (round == 1)
			TRY(volume_create(datasets, "w", MIB, 4096, 0, &machine->error));
		else if (datasets_open_volumes(datasets) == 1 && volume_destroy(datasets, "x", &machine->error) == -ENOENT)
			machine->error = (struct pool_error){ 0 };
	}
	for (unsigned block = 0; block < BLOCKS; block += 7)
		TRY(volume_read(volume, block * 4096 * 70, sizeof(data), data));
	volume_close(volume);
	TRY(core_commit_forced(machine->core));
}

static void scene_program(struct machine *machine)
{
	struct datasets *datasets;

	machine->core = NULL;
	memory.armed = true;
	memory.count = 0;
	int status = machine_import(machine);
	if (status < 0) {
		memory.armed = false;
		machine->core = NULL;
		expect_allowed(machine, status, __LINE__);
		return;
	}
	status = datasets_open(machine->core, &datasets, &machine->error);
	expect_allowed(machine, status, __LINE__);
	if (status == 0) {
		use(machine, datasets);
		for (unsigned i = 0; i < machine->disks; i++)
			expect_equal(store_disk(core_store(machine->core), i)->state, DISK_ONLINE);
		core_stop(machine->core);
		datasets_close(datasets);
	}
	machine->error = (struct pool_error){ 0 };
	TRY(core_export(machine->core, &machine->error));
	memory.armed = false;
	machine->core = NULL;
}

static void prepare_program(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	uint8_t data[4096];

	expect_done(machine, volume_create(datasets, "v", 32 * MIB, 4096, 0, &machine->error));
	expect_done(machine, volume_create(datasets, "x", 32 * MIB, 4096, 0, &machine->error));
	struct volume *volume = pool_volume(machine, datasets, "v");
	for (unsigned block = 0; block < BLOCKS; block++) {
		block_fill(data, sizeof(data), block, 1);
		expect_done(machine, volume_write(volume, block * 4096 * 70, sizeof(data), data));
	}
	volume_close(volume);
	for (unsigned i = 0; i < 5; i++)
		expect_done(machine, core_commit_forced(machine->core));
	core_stop(machine->core);
	datasets_close(datasets);
	core_abandon(machine->core);
}

static void check_program(struct machine *machine)
{
	struct scene *scene = machine->test;
	struct datasets *datasets = pool_open(machine);
	struct volume *volume = pool_volume(machine, datasets, "v");
	uint8_t data[4096];

	for (unsigned block = 0; block < BLOCKS; block++) {
		bool found = false;
		expect_done(machine, volume_read(volume, block * 4096 * 70, sizeof(data), data));
		for (unsigned version = scene->flushed; version <= 3 && !found; version++)
			found = block_is(data, sizeof(data), block, version);
		expect(found);
	}
	for (unsigned i = 0; i < machine->disks; i++)
		expect_equal(store_disk(core_store(machine->core), i)->state, DISK_ONLINE);
	volume_close(volume);
	pool_close(machine, datasets);
}

static uint64_t run_scene(struct machine *machine, struct sim_image **images, uint64_t first, uint64_t count)
{
	struct scene scene = { .written = 1, .flushed = 1 };

	machine->test = &scene;
	for (unsigned i = 0; i < machine->disks; i++)
		sim_disk_restore(machine->set->disks[i], images[i]);
	memory.fail_first = first;
	memory.fail_count = count;
	current = machine;
	pool_check_set_handler(on_check, &scene);
	machine_boot(machine, scene_program);
	pool_check_set_handler(NULL, NULL);
	expect(!scene.wrong);
	machine_boot(machine, check_program);
	return memory.count;
}

/* Every `stride`-th one, and from each `length` in turn. */
static void sweep(unsigned disks, unsigned k, unsigned m, uint64_t stride, uint64_t length)
{
	struct machine *machine = machine_new(disks, 64 * MIB, k, m, 5);
	struct sim_image *images[8];

	machine_boot(machine, machine_create_program);
	machine_boot(machine, prepare_program);
	for (unsigned i = 0; i < disks; i++)
		images[i] = sim_disk_snapshot(machine->set->disks[i]);
	uint64_t all = run_scene(machine, images, UINT64_MAX, 0);
	if (getenv("TEST_MEMORY_ALL"))
		stride = 1;
	for (uint64_t n = 0; n < all; n += stride) {
		if (getenv("TEST_MEMORY_TRACE"))
			fprintf(stderr, "%llu of %llu\n", (unsigned long long)n, (unsigned long long)all);
		(void)run_scene(machine, images, n, length);
	}
	for (unsigned i = 0; i < disks; i++)
		sim_snapshot_free(images[i]);
	machine_free(machine);
}

static void test_one_fails(void **state)
{
	(void)state;
	sweep(2, 1, 1, 5, 1);
	sweep(6, 4, 2, 23, 1);
}

static void test_many_fail(void **state)
{
	(void)state;
	sweep(3, 2, 1, 17, 40);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_fails),
		cmocka_unit_test(test_many_fail),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
