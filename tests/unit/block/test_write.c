/* Writing: every size and compression comes back, addresses follow the order of submission, nothing waits for
 * ever. */
#include "tests/unit/block/fake_store.h"

struct one_write {
	struct block_write write;
	struct buffer *content;
	unsigned *placed_count;
	bool is_placed;
};

static void on_placed(struct block_write *write)
{
	struct one_write *one = write->argument;

	assert_false(one->is_placed);
	one->is_placed = true;
	(*one->placed_count)++;
}

static void fill_in(struct one_write *one, struct buffer *content, unsigned *placed_count)
{
	*one = (struct one_write){.content = content, .placed_count = placed_count};
	one->write = (struct block_write){.data = content,
					  .lsect = (uint16_t)(content->size / CELL_SIZE),
					  .type = TYPE_DATA,
					  .class = CLASS_COLD,
					  .txg = 7,
					  .fill = 1,
					  .owner = {.object = 3, .level = 1},
					  .placed = on_placed,
					  .argument = one};
}

static void assert_reads_back(struct bench *bench, const struct one_write *one, unsigned flags)
{
	struct buffer *content = NULL;
	struct raw_block_pointer raw;
	struct block_pointer pointer;

	/* What is written must survive the format. */
	block_pointer_encode(&one->write.pointer, &raw);
	assert_int_equal(block_pointer_decode(&raw, &pointer), 0);
	assert_int_equal(block_read(bench->blocks, &pointer, NULL, flags, NULL, NULL, &content), 0);
	assert_same_content(content, one->content);
	buffer_unref(content);
}

/* Of content stored as it is: the same, whether its hash was known before or not. */
static void assert_checksum(const struct block_pointer *pointer, const struct buffer *content)
{
	uint8_t checksum[24];

	if (!block_pointer_is_placed(pointer) || pointer->compression != COMPRESSION_NONE)
		return;
	store_checksum(CHECKSUM_XXH3_128, content->data, content->size, checksum);
	assert_memory_equal(pointer->checksum, checksum, sizeof(checksum));
}

static void round_trips(struct bench *bench)
{
	enum { COUNT = 400 };
	static const uint8_t settings[] = {BLOCK_COMPRESS_OFF, BLOCK_COMPRESS_AUTO, 2, 4};
	struct one_write *writes = calloc(COUNT, sizeof(*writes));
	unsigned placed_count = 0;
	uint64_t logical = 0;

	/* Addresses of the fake are numbers, not ones that the format accepts, but from here on. */
	bench->store.next_dva = (UINT64_C(1) << 20) + (UINT64_C(255) << 12);
	for (unsigned i = 0; i < COUNT; i++) {
		unsigned lsect = 1u << random_next(&bench->seed) % 7;

		fill_in(&writes[i], make_content(random_next(&bench->seed) % CONTENT_KINDS, lsect, i),
			&placed_count);
		struct block_write *write = &writes[i].write;

		if (i % 3)
			buffer_hash(writes[i].content);
		write->compression = settings[random_next(&bench->seed) % 4];
		write->class = random_next(&bench->seed) % 2 ? CLASS_META : CLASS_HOT;
		write->allow_hole = random_next(&bench->seed) % 2;
		write->allow_embed = random_next(&bench->seed) % 2;
		write->cache = random_next(&bench->seed) % 2;
		logical += writes[i].content->size;
		block_write_submit(bench->blocks, write);
	}
	assert_int_equal(block_writes_place(bench->blocks, CLASS_META), 0);
	assert_int_equal(block_writes_place(bench->blocks, CLASS_HOT), 0);
	assert_int_equal(placed_count, COUNT);

	const struct blocks_counters *counters = blocks_counters(bench->blocks);

	assert_int_equal(counters->written_blocks + counters->holes + counters->embedded, COUNT);
	assert_int_equal(counters->logical_bytes, logical);
	assert_true(counters->compressed > 0 && counters->incompressible > 0 && counters->holes > 0);
	assert_true(counters->payload_bytes < logical);
	for (unsigned i = 0; i < COUNT; i++) {
		const struct block_pointer *pointer = &writes[i].write.pointer;

		assert_int_equal(pointer->birth, 7);
		assert_int_equal(pointer->level, 1);
		assert_int_equal(pointer->fill, block_pointer_is_hole(pointer) ? 0 : 1);
		assert_int_equal(pointer->place, block_pointer_is_placed(pointer) ? 7 : 0);
		assert_checksum(pointer, writes[i].content);
		assert_reads_back(bench, &writes[i], 0);
		assert_reads_back(bench, &writes[i], BLOCK_READ_NO_CACHE);
	}
	blocks_drop_cache(bench->blocks);
	for (unsigned i = 0; i < COUNT; i++) {
		assert_reads_back(bench, &writes[i], BLOCK_READ_NO_INSERT);
		buffer_unref(writes[i].content);
	}
	assert_int_equal(blocks_counters(bench->blocks)->cached_blocks, 0);
	free(writes);
}

static void test_round_trips(void **state)
{
	(void)state;
	bench_run(round_trips);
}

/* Large compressible blocks take workers long, small raw ones don't leave the engine: both in one order. */
static void order(struct bench *bench)
{
	enum { COUNT = 300 };
	struct one_write *writes = calloc(COUNT, sizeof(*writes));
	unsigned placed_count = 0;

	for (unsigned i = 0; i < COUNT; i++) {
		bool large = random_next(&bench->seed) % 3 == 0;

		fill_in(&writes[i], make_content(CONTENT_TEXT, large ? 64 : 1, i), &placed_count);
		writes[i].write.compression = large ? 10 : BLOCK_COMPRESS_OFF;
		writes[i].write.class = i % 2 ? CLASS_META : CLASS_COLD;
		block_write_submit(bench->blocks, &writes[i].write);
	}
	assert_int_equal(block_writes_place(bench->blocks, CLASS_META), 0);
	for (unsigned i = 1; i < COUNT; i += 2)
		assert_true(writes[i].is_placed &&
			    (i < 2 || writes[i].write.pointer.dva > writes[i - 2].write.pointer.dva));
	assert_int_equal(block_writes_place(bench->blocks, CLASS_COLD), 0);
	for (unsigned i = 0; i < COUNT; i += 2)
		assert_true(writes[i].is_placed &&
			    (i < 2 || writes[i].write.pointer.dva > writes[i - 2].write.pointer.dva));
	for (unsigned i = 0; i < COUNT; i++)
		buffer_unref(writes[i].content);
	free(writes);
}

static void test_order(void **state)
{
	(void)state;
	bench_run(order);
}

struct submitter {
	struct bench *bench;
	struct rt_group *group;
	struct one_write *writes;
	unsigned count, placed_count;
	enum segment_class class;
};

static void submit_many(void *argument)
{
	struct submitter *submitter = argument;

	for (unsigned i = 0; i < submitter->count; i++) {
		fill_in(&submitter->writes[i], make_content(CONTENT_RANDOM, 64, i), &submitter->placed_count);
		submitter->writes[i].write.compression = 4;
		submitter->writes[i].write.class = submitter->class;
		block_write_submit(submitter->bench->blocks, &submitter->writes[i].write);
		/* Only the write, the cache and the store may keep it. */
		buffer_unref(submitter->writes[i].content);
	}
	rt_group_done(submitter->bench->rt, submitter->group, 0);
}

/* More than the bound admits, by several fibers, and no stripe is ever full: all must get through. */
static void bound(struct bench *bench)
{
	enum { FIBERS = 4, COUNT = 60 };
	struct submitter submitters[FIBERS];
	struct rt_group group;

	bench->store.stripe_cells = UINT32_MAX;
	rt_group_init(&group);
	for (unsigned i = 0; i < FIBERS; i++) {
		submitters[i] = (struct submitter){.bench = bench,
						   .group = &group,
						   .count = COUNT,
						   .class = i % 2 ? CLASS_META : CLASS_COLD,
						   .writes = calloc(COUNT, sizeof(struct one_write))};
		rt_group_add(&group);
		assert_int_equal(rt_spawn(bench->rt, "submitter", submit_many, &submitters[i]), 0);
	}
	assert_int_equal(rt_group_wait(bench->rt, &group), 0);
	assert_int_equal(block_writes_place(bench->blocks, CLASS_META), 0);
	assert_int_equal(block_writes_place(bench->blocks, CLASS_COLD), 0);
	for (unsigned i = 0; i < FIBERS; i++) {
		assert_int_equal(submitters[i].placed_count, COUNT);
		free(submitters[i].writes);
	}
}

static void test_bound(void **state)
{
	(void)state;
	bench_run(bound);
}

/* The store says no: the error arrives, nothing leaks, and the layer still works. */
static void cut_fails(struct bench *bench)
{
	enum { COUNT = 20 };
	struct one_write writes[COUNT];
	unsigned placed_count = 0, uncached = 0;

	bench->store.stripe_cells = 400;
	bench->store.cut_error = -ENOSPC;
	for (unsigned i = 0; i < COUNT; i++) {
		fill_in(&writes[i], make_content(i % 2 ? CONTENT_TEXT : CONTENT_RANDOM, 32, i),
			&placed_count);
		writes[i].write.compression = i % 3 ? BLOCK_COMPRESS_AUTO : BLOCK_COMPRESS_OFF;
		writes[i].write.cache = i % 2;
		block_write_submit(bench->blocks, &writes[i].write);
	}
	assert_int_equal(block_writes_place(bench->blocks, CLASS_COLD), -ENOSPC);
	assert_true(placed_count > 0 && placed_count < COUNT);
	for (unsigned i = 0; i < COUNT; i++) {
		if (!writes[i].is_placed) {
			assert_true(buffer_is_sole(writes[i].content));
			uncached++;
		}
		buffer_unref(writes[i].content);
	}
	assert_int_equal(uncached, COUNT - placed_count);
	bench->store.cut_error = 0;
	fill_in(&writes[0], make_content(CONTENT_TEXT, 8, 1), &placed_count);
	block_write_submit(bench->blocks, &writes[0].write);
	assert_int_equal(block_writes_place(bench->blocks, CLASS_COLD), 0);
	assert_true(writes[0].is_placed);
	buffer_unref(writes[0].content);
}

static void test_cut_fails(void **state)
{
	(void)state;
	bench_run(cut_fails);
}

static void nothing_to_place(struct bench *bench)
{
	assert_int_equal(block_writes_place(bench->blocks, CLASS_SYS), 0);
	assert_int_equal(bench->store.cuts, 1);
}

static void test_nothing_to_place(void **state)
{
	(void)state;
	bench_run(nothing_to_place);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_round_trips),
	    cmocka_unit_test(test_order),
	    cmocka_unit_test(test_bound),
	    cmocka_unit_test(test_cut_fails),
	    cmocka_unit_test(test_nothing_to_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
