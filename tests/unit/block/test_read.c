/* Reading: one device read for all readers, each reader's own verdict on a mismatch, damage told once. */
#include "tests/unit/block/fake_store.h"

static struct block_pointer write_one(struct bench *bench, struct buffer *content, uint8_t compression)
{
	struct block_write write = {.data = content,
				    .lsect = (uint16_t)(content->size / CELL_SIZE),
				    .type = TYPE_DATA,
				    .compression = compression,
				    .class = CLASS_COLD,
				    .txg = 7,
				    .fill = 1};

	block_write_submit(bench->blocks, &write);
	assert_int_equal(block_writes_place(bench->blocks, CLASS_COLD), 0);
	return write.pointer;
}

struct reader {
	struct bench *bench;
	struct rt_group *group;
	struct block_pointer pointer;
	unsigned flags, asked;
	bool current;
	int result;
	struct buffer *content;
};

static bool is_current(void *argument)
{
	struct reader *reader = argument;

	reader->asked++;
	return reader->current;
}

static void read_once(void *argument)
{
	struct reader *reader = argument;
	struct block_owner owner = {.object = 5};

	reader->result = block_read(reader->bench->blocks, &reader->pointer, &owner, reader->flags,
				    is_current, reader, &reader->content);
	rt_group_done(reader->bench->rt, reader->group, 0);
}

static void read_all(struct bench *bench, struct reader *readers, unsigned count)
{
	struct rt_group group;

	rt_group_init(&group);
	for (unsigned i = 0; i < count; i++) {
		readers[i].bench = bench;
		readers[i].group = &group;
		rt_group_add(&group);
		assert_int_equal(rt_spawn(bench->rt, "reader", read_once, &readers[i]), 0);
	}
	assert_int_equal(rt_group_wait(bench->rt, &group), 0);
}

static void shared_reads(struct bench *bench)
{
	enum { COUNT = 20 };
	struct buffer *text = make_content(CONTENT_TEXT, 16, 1), *noise = make_content(CONTENT_RANDOM, 4, 2);
	struct block_pointer pointers[2] = {write_one(bench, text, 4),
					    write_one(bench, noise, BLOCK_COMPRESS_OFF)};
	struct reader readers[COUNT] = {0};

	bench->store.read_delay = 5;
	for (unsigned i = 0; i < COUNT; i++) {
		readers[i].pointer = pointers[i % 2];
		readers[i].current = true;
		readers[i].flags =
		    i < COUNT - 2 ? BLOCK_READ_NO_INSERT : 0; /* one who wants it cached is enough */
	}
	read_all(bench, readers, COUNT);
	assert_int_equal(bench->store.reads, 2);
	for (unsigned i = 0; i < COUNT; i++) {
		assert_int_equal(readers[i].result, 0);
		assert_same_content(readers[i].content, i % 2 ? noise : text);
		assert_int_equal(readers[i].asked, 0);
		buffer_unref(readers[i].content);
	}
	for (unsigned i = 0; i < 2; i++) {
		struct buffer *cached = block_cached(bench->blocks, &pointers[i]);

		assert_non_null(cached);
		assert_same_content(cached, i ? noise : text);
		buffer_unref(cached);
	}
	read_all(bench, readers, COUNT);
	assert_int_equal(bench->store.reads, 2);
	for (unsigned i = 0; i < COUNT; i++)
		buffer_unref(readers[i].content);
	readers[0].flags = BLOCK_READ_NO_CACHE;
	read_all(bench, readers, 1);
	assert_int_equal(bench->store.reads, 3);
	buffer_unref(readers[0].content);
	block_forget(bench->blocks, &pointers[0]);
	assert_null(block_cached(bench->blocks, &pointers[0]));
	buffer_unref(text);
	buffer_unref(noise);
}

static void test_shared_reads(void **state)
{
	(void)state;
	bench_run(shared_reads);
}

struct reports {
	unsigned found, cleared;
	int error;
	uint64_t object;
};

static void on_damage(void *argument, const struct block_pointer *pointer, const struct block_owner *owner,
		      int error)
{
	struct reports *reports = argument;

	(void)pointer;
	if (error) {
		reports->found++;
		reports->error = error;
		reports->object = owner->object;
	} else {
		reports->cleared++;
	}
}

/* A mismatch is for those whose pointer was replaced "stale", and for the others a heal. */
static void stale_and_healed(struct bench *bench)
{
	enum { COUNT = 8 };
	struct buffer *content = make_content(CONTENT_TEXT, 8, 1);
	struct block_pointer pointer = write_one(bench, content, 4);
	struct reader readers[COUNT] = {0};
	struct reports reports = {0};

	blocks_set_damage_callback(bench->blocks, on_damage, &reports);
	bench->store.read_delay = 3;
	fake_store_damage(&bench->store, pointer.dva, true);
	for (unsigned i = 0; i < COUNT; i++) {
		readers[i].pointer = pointer;
		readers[i].current = i % 2;
	}
	read_all(bench, readers, COUNT);
	assert_int_equal(bench->store.reads, 2);
	assert_int_equal(bench->store.full_reads, 1);
	for (unsigned i = 0; i < COUNT; i++) {
		assert_int_equal(readers[i].asked, 1);
		assert_int_equal(readers[i].result, i % 2 ? 0 : -POOL_ESTALE);
		if (i % 2)
			assert_same_content(readers[i].content, content);
		else
			assert_null(readers[i].content);
		buffer_unref(readers[i].content);
	}
	assert_int_equal(reports.found, 0);

	/* If all are stale, nobody asks for a repair. */
	blocks_drop_cache(bench->blocks);
	fake_store_damage(&bench->store, pointer.dva, true);
	for (unsigned i = 0; i < COUNT; i++)
		readers[i] = (struct reader){.pointer = pointer};
	read_all(bench, readers, COUNT);
	for (unsigned i = 0; i < COUNT; i++)
		assert_int_equal(readers[i].result, -POOL_ESTALE);
	assert_int_equal(bench->store.full_reads, 1);
	assert_int_equal(reports.found, 0);
	buffer_unref(content);
}

static void test_stale_and_healed(void **state)
{
	(void)state;
	bench_run(stale_and_healed);
}

static void damage(struct bench *bench)
{
	enum { COUNT = 4 };
	struct buffer *content = make_content(CONTENT_RANDOM, 2, 1), *got = NULL;
	struct block_pointer pointer = write_one(bench, content, 0);
	struct block_owner owner = {.object = 42};
	struct reader readers[COUNT] = {0};
	struct reports reports = {0};

	blocks_set_damage_callback(bench->blocks, on_damage, &reports);
	fake_store_damage(&bench->store, pointer.dva, false);
	for (unsigned i = 0; i < COUNT; i++)
		readers[i] = (struct reader){.pointer = pointer, .current = true};
	read_all(bench, readers, COUNT);
	for (unsigned i = 0; i < COUNT; i++)
		assert_int_equal(readers[i].result, -POOL_EDAMAGED);
	assert_int_equal(block_read(bench->blocks, &pointer, &owner, 0, NULL, NULL, &got), -POOL_EDAMAGED);
	assert_null(got);
	assert_null(block_cached(bench->blocks, &pointer));
	assert_int_equal(reports.found, 1);
	assert_int_equal(reports.error, -POOL_EDAMAGED);
	assert_int_equal(reports.object, 5);
	assert_int_equal(reports.cleared, 0);

	/* Repaired by whatever means: the entry clears, and a new damage is told again. */
	fake_store_find(&bench->store, pointer.dva)->healable = true;
	assert_int_equal(block_read(bench->blocks, &pointer, &owner, BLOCK_READ_NO_INSERT, NULL, NULL, &got),
			 0);
	assert_same_content(got, content);
	buffer_unref(got);
	assert_int_equal(reports.cleared, 1);
	fake_store_damage(&bench->store, pointer.dva, false);
	assert_int_equal(block_read(bench->blocks, &pointer, &owner, 0, NULL, NULL, &got), -POOL_EDAMAGED);
	assert_int_equal(reports.found, 2);
	assert_int_equal(reports.object, 42);
	block_forget(bench->blocks, &pointer);
	assert_int_equal(reports.cleared, 2);
	block_forget(bench->blocks, &pointer);
	assert_int_equal(reports.cleared, 2);
	buffer_unref(content);
}

static void test_damage(void **state)
{
	(void)state;
	bench_run(damage);
}

/* Errors that say nothing about the block pass through, and leave no trace. */
static void injected_errors(struct bench *bench)
{
	static const int errors[] = {-ENOMEM, -POOL_EHALTED, -POOL_EDEGRADED};
	struct buffer *content = make_content(CONTENT_TEXT, 8, 1);
	struct block_pointer pointer = write_one(bench, content, 4);
	struct reports reports = {0};
	struct reader readers[6] = {0};

	blocks_set_damage_callback(bench->blocks, on_damage, &reports);
	bench->store.read_delay = 2;
	for (unsigned i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		bench->store.read_error = errors[i];
		for (unsigned j = 0; j < 6; j++)
			readers[j] = (struct reader){.pointer = pointer, .current = true};
		read_all(bench, readers, 6);
		for (unsigned j = 0; j < 6; j++) {
			assert_int_equal(readers[j].result, errors[i]);
			assert_int_equal(readers[j].asked, 0);
		}
	}
	/* The address is known to be gone: damage only for those who still hold the pointer. */
	bench->store.read_error = -POOL_ESTALE;
	readers[0] = (struct reader){.pointer = pointer, .current = false};
	readers[1] = (struct reader){.pointer = pointer, .current = true};
	assert_int_equal(reports.found, 0);
	read_all(bench, readers, 2);
	assert_int_equal(readers[0].result, -POOL_ESTALE);
	assert_int_equal(readers[1].result, -POOL_EDAMAGED);
	assert_int_equal(reports.found, 1);
	bench->store.read_error = 0;
	readers[0] = (struct reader){.pointer = pointer};
	read_all(bench, readers, 1);
	assert_int_equal(readers[0].result, 0);
	assert_int_equal(reports.cleared, 1);
	buffer_unref(readers[0].content);
	buffer_unref(content);
}

static void test_injected_errors(void **state)
{
	(void)state;
	bench_run(injected_errors);
}

/* Payloads with sound checksums whose content makes no sense, and pointers that no writer makes. */
static void forged(struct bench *bench)
{
	struct buffer *content = make_content(CONTENT_TEXT, 8, 1), *got = NULL;
	struct block_pointer sound = write_one(bench, content, 4);
	struct fake_block *stored = fake_store_find(&bench->store, sound.dva);
	struct block_owner owner = {.object = 42};
	struct reports reports = {0};
	unsigned refused = 0;

	blocks_set_damage_callback(bench->blocks, on_damage, &reports);
	for (unsigned round = 0; round < 3000; round++) {
		struct buffer *forgery = buffer_new_copy(stored->payload->data, stored->payload->size);
		struct buffer *before = stored->payload;
		struct block_pointer pointer = sound;

		pointer.place = round + 100;
		if (round % 2)
			forgery->data[random_next(&bench->seed) % 64] = (uint8_t)random_next(&bench->seed);
		switch (random_next(&bench->seed) % 8) {
		case 0:
			pointer.lsect = random_next(&bench->seed) % 512;
			break;
		case 1:
			pointer.compression = random_next(&bench->seed) % 16;
			break;
		case 2:
			pointer.psect = random_next(&bench->seed) % 9;
			break;
		case 3:
			pointer.flags = BP_EMBED;
			pointer.embed_length = random_next(&bench->seed) % 256;
			break;
		}
		store_checksum(0, forgery->data, forgery->size, pointer.checksum);
		stored->payload = forgery;
		int result = block_read(bench->blocks, &pointer, &owner, 0, NULL, NULL, &got);

		stored->payload = before;
		buffer_unref(forgery);
		if (result == 0) {
			assert_int_equal(got->size, pointer.lsect * CELL_SIZE);
			buffer_unref(got);
			continue;
		}
		assert_int_equal(result, -POOL_EDAMAGED);
		refused++;
	}
	assert_int_equal(reports.found, refused);
	assert_true(refused > 500);
	buffer_unref(content);
}

static void test_forged(void **state)
{
	(void)state;
	bench_run(forged);
}

/* Many fibers, many blocks, a small cache, some blocks replaced at times: always the right content or
 * "stale". */
struct crowd {
	struct bench *bench;
	struct rt_group *group;
	struct block_pointer *pointers;
	struct buffer **contents;
	bool *damaged;
	uint64_t seed;
};

static bool never(void *argument)
{
	(void)argument;
	return false;
}

enum { CROWD_BLOCKS = 60, CROWD_FIBERS = 24, CROWD_READS = 150 };

static void crowd_reader(void *argument)
{
	struct crowd *crowd = argument;
	const struct blocks_counters *counters = blocks_counters(crowd->bench->blocks);

	for (unsigned i = 0; i < CROWD_READS; i++) {
		unsigned number = random_next(&crowd->seed) % CROWD_BLOCKS;
		struct buffer *got = NULL;
		int result = block_read(crowd->bench->blocks, &crowd->pointers[number], NULL,
					random_next(&crowd->seed) % 4, never, NULL, &got);

		assert_true(counters->cached_bytes <= 300000);
		if (result == 0)
			assert_same_content(got, crowd->contents[number]);
		else
			assert_true(result == -POOL_ESTALE && crowd->damaged[number]);
		buffer_unref(got);
	}
	rt_group_done(crowd->bench->rt, crowd->group, 0);
}

static void crowd(struct bench *bench)
{
	struct block_pointer pointers[CROWD_BLOCKS];
	struct buffer *contents[CROWD_BLOCKS];
	bool damaged[CROWD_BLOCKS] = {0};
	struct crowd readers[CROWD_FIBERS];
	struct rt_group group;

	blocks_set_cache_limit(bench->blocks, 300000);
	bench->store.read_delay = 2;
	for (unsigned i = 0; i < CROWD_BLOCKS; i++) {
		contents[i] = make_content(i % 2 ? CONTENT_TEXT : CONTENT_RANDOM, 1u << i % 5, i);
		pointers[i] = write_one(bench, contents[i], i % 3 ? 2 : 0);
		if (i % 10 == 9) {
			damaged[i] = true;
			fake_store_damage(&bench->store, pointers[i].dva, false);
		}
	}
	rt_group_init(&group);
	for (unsigned i = 0; i < CROWD_FIBERS; i++) {
		readers[i] = (struct crowd){.bench = bench,
					    .group = &group,
					    .pointers = pointers,
					    .contents = contents,
					    .damaged = damaged,
					    .seed = i};
		rt_group_add(&group);
		assert_int_equal(rt_spawn(bench->rt, "crowd", crowd_reader, &readers[i]), 0);
	}
	assert_int_equal(rt_group_wait(bench->rt, &group), 0);
	for (unsigned i = 0; i < CROWD_BLOCKS; i++)
		buffer_unref(contents[i]);
}

static void test_crowd(void **state)
{
	(void)state;
	bench_run(crowd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_shared_reads), cmocka_unit_test(test_stale_and_healed),
	    cmocka_unit_test(test_damage),	 cmocka_unit_test(test_injected_errors),
	    cmocka_unit_test(test_forged),	 cmocka_unit_test(test_crowd),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
