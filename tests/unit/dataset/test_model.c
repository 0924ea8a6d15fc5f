/*
 * Volumes against plain arrays, with fibers that change and look at the same volume at the same time. An operation changes
 * array and volume in its own time, so each byte range belongs to one fiber; sizes change for all, while none is at work.
 */
#include "libpool/txg/internal.h"
#include "tests/unit/dataset/volumes.h"

#define FIBERS 6u
#define SHARE (UINT64_C(192) << 10) /* bytes of each fiber, and of each volume so many shares */
#define ROUNDS 5u
#define STEPS 60u

struct model {
	struct machine *machine;
	struct datasets *datasets;
	struct volume *volume;
	uint32_t block_size;
	uint8_t *bytes;     /* what the volume has */
	uint64_t size;      /* bytes of it that exist */
	struct rt_group group;
	unsigned number, round;
	int64_t dirty_most;
};

static bool all_zero(const uint8_t *data, uint64_t length)
{
	for (uint64_t i = 0; i < length; i++)
		if (data[i])
			return false;
	return true;
}

static void compare(struct model *model, uint64_t offset, uint64_t length)
{
	uint8_t *data = malloc(length);

	expect_done(model->machine, volume_read(model->volume, offset, length, data));
	for (uint64_t i = 0; i < length; i++)
		if (data[i] != model->bytes[offset + i]) {
			fprintf(stderr, "byte %llu is %u, not %u\n", (unsigned long long)(offset + i), data[i], model->bytes[offset + i]);
			abort();
		}
	free(data);
}

/* What is data for sure must be found; what is said to be a hole must be zeroes. */
static void seek(struct model *model, uint64_t offset, uint64_t end)
{
	uint64_t at;

	expect_done(model->machine, volume_seek(model->volume, offset, true, &at));
	expect(at >= offset && at <= model->size);
	expect(all_zero(model->bytes + offset, (at < end ? at : end) - offset));
	expect_done(model->machine, volume_seek(model->volume, offset, false, &at));
	expect(at >= offset && at <= model->size);
	if (at < end) {
		uint64_t stop = (at / model->block_size + 1) * model->block_size;
		expect(all_zero(model->bytes + at, (stop < end ? stop : end) - at));
	}
}

static void write_some(struct model *model, struct sim_random *random, uint64_t offset, uint64_t length)
{
	uint8_t *data = malloc(length);

	sim_random_fill(random, data, length);
	if (sim_random_below(random, 5) == 0)
		memset(data, 0, length);
	expect_done(model->machine, volume_write(model->volume, offset, length, data));
	memcpy(model->bytes + offset, data, length);
	free(data);
}

static void write_blocks(struct model *model, struct sim_random *random, uint64_t first, unsigned count)
{
	struct buffer *buffers[8];

	for (unsigned i = 0; i < count; i++) {
		buffers[i] = buffer_new(model->block_size);
		sim_random_fill(random, buffers[i]->data, model->block_size);
	}
	expect_done(model->machine, volume_write_blocks(model->volume, first, count, buffers));
	for (unsigned i = 0; i < count; i++) {
		memcpy(model->bytes + (first + i) * model->block_size, buffers[i]->data, model->block_size);
		buffer_unref(buffers[i]);
	}
}

static void one_step(struct model *model, struct sim_random *random, uint64_t begin, uint64_t end)
{
	uint64_t offset = begin + sim_random_below(random, end - begin);
	uint64_t length = 1 + sim_random_below(random, sim_random_below(random, 4) ? 9000 : end - offset);
	uint32_t block = model->block_size;

	if (length > end - offset)
		length = end - offset;
	switch (sim_random_below(random, 10)) {
	case 0:
	case 1:
	case 2:
		write_some(model, random, offset, length);
		break;
	case 3: {
		uint64_t first = (offset + block - 1) / block, room = end / block > first ? end / block - first : 0;
		if (room)
			write_blocks(model, random, first, 1 + (unsigned)sim_random_below(random, room < 8 ? room : 8));
		break;
	}
	case 4:
		expect_done(model->machine, volume_zero(model->volume, offset, length));
		memset(model->bytes + offset, 0, length);
		break;
	case 5: {
		uint64_t first = (offset + block - 1) / block * block, stop = (offset + length) / block * block;
		expect_done(model->machine, volume_trim(model->volume, offset, length));
		if (stop > first)
			memset(model->bytes + first, 0, stop - first);
		break;
	}
	case 6:
		seek(model, offset, end);
		break;
	case 7:
		if (sim_random_below(random, 4) == 0)
			expect_done(model->machine, volume_flush(model->volume));
		break;
	default:
		compare(model, offset, length);
	}
	struct core *core = model->machine->core;
	int64_t dirty = core->dirty_bytes[0] + core->dirty_bytes[1];
	model->dirty_most = dirty > model->dirty_most ? dirty : model->dirty_most;
}

static void worker(void *argument)
{
	struct model *model = argument;
	unsigned number = model->number++;
	uint64_t begin = number * SHARE, end = begin + SHARE;
	struct sim_random random;

	sim_random_stream(&random, model->machine->sim->seed * ROUNDS + model->round, "worker", number);
	if (end > model->size)
		end = model->size;
	for (unsigned i = 0; i < STEPS && begin < end; i++)
		one_step(model, &random, begin, end);
	rt_group_done(model->machine->rt, &model->group, 0);
}

/* Beyond the end nothing is to be had, and nothing changes. */
static void beyond(struct model *model)
{
	uint8_t data[100] = { 1 };
	uint64_t at;

	expect_equal(volume_read(model->volume, model->size - 50, sizeof(data), data), -EINVAL);
	expect_equal(volume_write(model->volume, model->size, 1, data), -EINVAL);
	expect_equal(volume_zero(model->volume, model->size - 1, 2), -EINVAL);
	expect_equal(volume_trim(model->volume, UINT64_MAX - 5, 3), -EINVAL);
	expect_equal(volume_write(model->volume, 8, UINT64_MAX - 4, data), -EINVAL);
	expect_equal(volume_seek(model->volume, model->size + 1, true, &at), -EINVAL);
	expect_equal(volume_read(model->volume, model->size, 0, data), 0);
}

static void resize(struct model *model, struct sim_random *random)
{
	uint64_t size = model->block_size * (1 + sim_random_below(random, FIBERS * SHARE / model->block_size));

	expect_done(model->machine, volume_resize(model->datasets, "m", size, &model->machine->error));
	memset(model->bytes + size, 0, FIBERS * SHARE - size);
	model->size = size;
	expect_equal(volume_record(model->volume)->volume_size, size);
}

static void model_program(struct machine *machine)
{
	struct model *model = machine->test;
	struct sim_random random;

	sim_random_stream(&random, machine->sim->seed * ROUNDS + model->round, "model", 0);
	model->machine = machine;
	model->datasets = pool_open(machine);
	if (model->round == 0)
		expect_done(machine, volume_create(model->datasets, "m", FIBERS * SHARE, model->block_size, BLOCK_COMPRESS_AUTO,
						   &machine->error));
	model->volume = pool_volume(machine, model->datasets, "m");
	compare(model, 0, model->size);
	rt_group_init(&model->group);
	model->number = 0;
	for (unsigned i = 0; i < FIBERS; i++) {
		rt_group_add(&model->group);
		expect_equal(rt_spawn(machine->rt, "worker", worker, model), 0);
	}
	/* Looks at all of it meanwhile: whatever it sees, it must be able to. */
	for (unsigned i = 0; i < 10; i++) {
		uint8_t *data = malloc(model->size);
		expect_done(machine, volume_read(model->volume, 0, model->size, data));
		free(data);
		rt_sleep(machine->rt, NS_PER_MS);
	}
	(void)rt_group_wait(machine->rt, &model->group);
	beyond(model);
	compare(model, 0, model->size);
	resize(model, &random);
	compare(model, 0, model->size);
	seek(model, 0, model->size);
	expect(model->dirty_most <= (int64_t)machine->core->options.dirty_limit);
	bool flushed = model->round % 2;
	if (flushed)
		expect_done(machine, volume_flush(model->volume));
	if (flushed)
		core_halt(machine->core, "crash");
	volume_close(model->volume);
	if (flushed)
		pool_abandon(machine, model->datasets);
	else
		pool_close(machine, model->datasets);
}

static void run_model(unsigned disks, unsigned k, unsigned m, uint32_t block_size, uint64_t seed)
{
	struct machine *machine = machine_new(disks, 64 * MIB, k, m, seed);
	struct model model = { .block_size = block_size, .size = FIBERS * SHARE, .bytes = sim_allocate(FIBERS * SHARE) };

	machine->test = &model;
	machine->sim->buggify = seed % 3 == 1;
	machine->options.cache_limit = seed % 3 * MIB;
	machine->options.dirty_limit = 3 * MIB;
	machine->options.commit_interval_ns = (1 + seed % 7) * 10 * NS_PER_MS;
	machine_boot(machine, machine_create_program);
	for (model.round = 0; model.round < ROUNDS; model.round++)
		machine_boot(machine, model_program);
	free(model.bytes);
	machine_free(machine);
}

static void test_small_blocks(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 4; seed++)
		run_model(2, 1, 1, 4 << 10, seed);
}

static void test_default_blocks(void **state)
{
	(void)state;
	for (uint64_t seed = 11; seed <= 14; seed++)
		run_model(6, 4, 2, 16 << 10, seed);
}

static void test_large_blocks(void **state)
{
	(void)state;
	for (uint64_t seed = 21; seed <= 22; seed++)
		run_model(3, 2, 1, 128 << 10, seed);
}

static void test_no_parity(void **state)
{
	(void)state;
	run_model(1, 1, 0, 16 << 10, 31);
	run_model(3, 3, 0, 8 << 10, 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_small_blocks),
		cmocka_unit_test(test_default_blocks),
		cmocka_unit_test(test_large_blocks),
		cmocka_unit_test(test_no_parity),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
