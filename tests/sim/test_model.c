/* The reference model accepts what may be, and contradicts what may not: an oracle that never says no proves nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/sim/content.h"
#include "tests/sim/model.h"

#define BLOCK 4096u

static uint8_t content[16][BLOCK];

static void fill_contents(void)
{
	for (unsigned i = 1; i < 16; i++)
		content_fill(content[i], BLOCK, CONTENT_NOISE, 1, 0, i);
}

static struct model_volume *volume_new(struct model *model)
{
	model_init(model);
	struct model_volume *volume = model_create_begin(model, "v", 8 * BLOCK, BLOCK);

	model_create_end(model, volume, true);
	volume->id = 1;
	return volume;
}

static void put(struct model *model, struct model_volume *volume, uint64_t block, unsigned version)
{
	struct model_change change;

	model_write_begin(model, volume, block * BLOCK, BLOCK, version ? content[version] : NULL, &change);
	model_change_end(model, &change);
}

static void commit(struct model *model)
{
	model_durable(model, NULL, model_now(model));
}

/* A read that takes no time, or one that began before (`since`, which it ends). */
static bool reads(struct model *model, struct model_volume *volume, uint64_t offset, uint64_t length, const void *data,
		  struct model_observer *since)
{
	struct model_observer now;

	if (!since)
		model_observe(model, &now);
	return model_check_read(model, since ? since : &now, volume, offset, length, data);
}

static bool seeks(struct model *model, struct model_volume *volume, uint64_t offset, bool data, uint64_t found)
{
	struct model_observer now;

	model_observe(model, &now);
	return model_check_seek(model, &now, volume, offset, data, found);
}

struct found {
	struct model *model;
	const unsigned *versions; /* of each block */
	bool good;
};

static void recover_one(struct model_block *block, void *argument)
{
	struct found *found = argument;

	found->good = found->good && model_recover_block(found->model, block, content[found->versions[block->number]]);
}

/* Whether the model accepts a volume with these contents after a crash. */
static bool recovers(struct model *model, const unsigned *versions, uint64_t bytes)
{
	struct model_volume *volume;
	struct found found = {model, versions, true};

	model_crash(model);
	model_recover_begin(model);
	if (!model_recover_volume(model, "v", 1, bytes, BLOCK, &volume))
		return false;
	model_each_block(volume, true, recover_one, &found);
	return found.good && model_recover_end(model);
}

static void test_reads_see_the_last_write(void **state)
{
	struct model model;
	struct model_volume *volume = volume_new(&model);
	struct model_change change;

	(void)state;
	put(&model, volume, 0, 1);
	assert_true(reads(&model, volume, 0, BLOCK, content[1], NULL));
	assert_false(reads(&model, volume, 0, BLOCK, content[0], NULL));
	assert_true(reads(&model, volume, BLOCK, 10, content[0], NULL));
	/* While a write runs, both; a read that began before the write ended may have either too, even after a commit. */
	struct model_observer before[4];

	for (unsigned i = 0; i < 4; i++)
		model_observe(&model, &before[i]);
	model_write_begin(&model, volume, 0, BLOCK, content[2], &change);
	assert_true(reads(&model, volume, 0, BLOCK, content[1], &before[0]));
	assert_true(reads(&model, volume, 0, BLOCK, content[2], &before[1]));
	model_change_end(&model, &change);
	commit(&model);
	assert_true(reads(&model, volume, 0, BLOCK, content[1], &before[2]));
	assert_false(reads(&model, volume, 0, BLOCK, content[1], NULL));
	/* What only that read may see is not what a crash may bring back. */
	put(&model, volume, 0, 3);
	assert_false(recovers(&model, (unsigned[8]){1}, 8 * BLOCK));
	model_release(&model);
}

static void test_parts_of_blocks(void **state)
{
	struct model model;
	struct model_volume *volume = volume_new(&model);
	struct model_change change;
	uint8_t expected[BLOCK];

	(void)state;
	put(&model, volume, 0, 1);
	memcpy(expected, content[1], BLOCK);
	memset(expected + 100, 7, 200);
	memset(expected + 250, 0, 10);
	model_write_begin(&model, volume, 100, 200, expected + 100, &change);
	model_change_end(&model, &change);
	model_write_begin(&model, volume, 250, 10, NULL, &change);
	model_change_end(&model, &change);
	assert_true(reads(&model, volume, 0, BLOCK, expected, NULL));
	model_trim_begin(&model, volume, 1, BLOCK, &change); /* no whole block */
	assert_true(change.none);
	model_release(&model);
}

static void test_durable_survives(void **state)
{
	struct model model;
	struct model_volume *volume = volume_new(&model);

	(void)state;
	put(&model, volume, 0, 1);
	commit(&model);
	put(&model, volume, 0, 2);
	assert_false(recovers(&model, (unsigned[8]){0}, 8 * BLOCK));
	model_release(&model);

	volume = volume_new(&model);
	put(&model, volume, 0, 1);
	commit(&model);
	put(&model, volume, 0, 2);
	assert_true(recovers(&model, (unsigned[8]){1}, 8 * BLOCK));
	/* What was not found is gone for ever. */
	assert_true(reads(&model, volume, 0, BLOCK, content[1], NULL));
	assert_false(reads(&model, volume, 0, BLOCK, content[2], NULL));
	model_release(&model);
}

static void test_only_prefixes(void **state)
{
	struct model model;
	struct model_volume *volume = volume_new(&model);

	(void)state;
	commit(&model);
	put(&model, volume, 0, 1);
	put(&model, volume, 1, 2);
	assert_false(recovers(&model, (unsigned[8]){0, 2}, 8 * BLOCK)); /* the second without the first */
	model_release(&model);

	volume = volume_new(&model);
	commit(&model);
	put(&model, volume, 0, 1);
	put(&model, volume, 1, 2);
	assert_true(recovers(&model, (unsigned[8]){1, 0}, 8 * BLOCK));
	model_release(&model);

	/* At the same time: either way. */
	struct model_change first, second;

	volume = volume_new(&model);
	commit(&model);
	model_write_begin(&model, volume, 0, BLOCK, content[1], &first);
	model_write_begin(&model, volume, BLOCK, BLOCK, content[2], &second);
	model_change_end(&model, &first);
	model_change_end(&model, &second);
	assert_true(recovers(&model, (unsigned[8]){0, 2}, 8 * BLOCK));
	model_release(&model);
}

static void test_names_and_sizes(void **state)
{
	struct model model;
	struct model_volume *volume = volume_new(&model), *found;

	(void)state;
	commit(&model);
	/* Gone although durable. */
	model_crash(&model);
	model_recover_begin(&model);
	assert_false(model_recover_end(&model));
	model_release(&model);

	/* Back although durably destroyed. */
	volume = volume_new(&model);
	model_destroy_begin(&model, volume);
	model_destroy_end(&model, volume, true);
	commit(&model);
	model_recover_begin(&model);
	assert_false(model_recover_volume(&model, "v", 1, 8 * BLOCK, BLOCK, &found));
	model_release(&model);

	/* Destroyed, and not durable: both ways. */
	volume = volume_new(&model);
	commit(&model);
	put(&model, volume, 0, 1);
	model_destroy_begin(&model, volume);
	model_destroy_end(&model, volume, true);
	assert_true(recovers(&model, (unsigned[8]){1}, 8 * BLOCK));
	model_release(&model);

	/* A size that wasn't asked for; and what was cut off is zeros when it comes back. */
	volume = volume_new(&model);
	put(&model, volume, 7, 1);
	assert_true(model_resize_begin(&model, volume, 4 * BLOCK));
	model_resize_end(&model, volume);
	assert_true(model_resize_begin(&model, volume, 8 * BLOCK));
	model_resize_end(&model, volume);
	assert_true(reads(&model, volume, 7 * BLOCK, BLOCK, content[0], NULL));
	assert_false(reads(&model, volume, 7 * BLOCK, BLOCK, content[1], NULL));
	assert_false(recovers(&model, (unsigned[8]){0}, 5 * BLOCK));
	model_release(&model);
}

static struct model_volume *second_volume(struct model *model)
{
	struct model_volume *volume = model_create_begin(model, "w", 8 * BLOCK, BLOCK);

	model_create_end(model, volume, true);
	volume->id = 2;
	return volume;
}

static void test_durable_changes(void **state)
{
	struct model model;
	struct model_volume *volume = volume_new(&model);
	struct model_change change;

	(void)state;
	/* With sync=always: the change, and what had ended before it began. */
	commit(&model);
	put(&model, volume, 1, 2);
	model_write_begin(&model, volume, 0, BLOCK, content[1], &change);
	model_change_end(&model, &change);
	model_change_durable(&model, &change);
	put(&model, volume, 0, 3);
	assert_false(recovers(&model, (unsigned[8]){0, 2}, 8 * BLOCK));
	model_release(&model);

	volume = volume_new(&model);
	commit(&model);
	put(&model, volume, 1, 2);
	model_write_begin(&model, volume, 0, BLOCK, content[1], &change);
	model_change_end(&model, &change);
	model_change_durable(&model, &change);
	put(&model, volume, 1, 3);
	assert_false(recovers(&model, (unsigned[8]){1, 0}, 8 * BLOCK));
	model_release(&model);

	/* A volume that was made while it waited for its flush may be gone. */
	volume = volume_new(&model);
	commit(&model);
	model_write_begin(&model, volume, 0, BLOCK, content[1], &change);
	(void)second_volume(&model);
	model_change_end(&model, &change);
	model_change_durable(&model, &change);
	assert_true(recovers(&model, (unsigned[8]){1}, 8 * BLOCK));
	model_release(&model);

	/* One that was there before may not; and a trim of no whole block is no change. */
	volume = volume_new(&model);
	commit(&model);
	(void)second_volume(&model);
	model_trim_begin(&model, volume, 1, BLOCK, &change);
	model_change_durable(&model, &change);
	model_write_begin(&model, volume, 0, BLOCK, content[1], &change);
	model_change_end(&model, &change);
	model_change_durable(&model, &change);
	assert_false(recovers(&model, (unsigned[8]){1}, 8 * BLOCK));
	model_release(&model);

	/* If the log is lost it counts for as little as a flush. */
	volume = volume_new(&model);
	model.log_may_go = true;
	commit(&model);
	model_write_begin(&model, volume, 0, BLOCK, content[1], &change);
	model_change_end(&model, &change);
	model_change_durable(&model, &change);
	model.log_is_lost = true;
	assert_true(recovers(&model, (unsigned[8]){0}, 8 * BLOCK));
	model_release(&model);
}

/* Whether the second volume may have its old size after a flush of `flushed`, 0: the first, of which nothing was changed. */
static bool old_size_may_be(bool each_alone, unsigned flushed)
{
	struct model model;
	struct model_volume *volumes[2] = {volume_new(&model), second_volume(&model)}, *found;

	model.each_alone = each_alone;
	commit(&model);
	assert_true(model_resize_begin(&model, volumes[1], 4 * BLOCK));
	model_resize_end(&model, volumes[1]);
	model_durable(&model, volumes[flushed], model_now(&model));
	model_crash(&model);
	model_recover_begin(&model);
	bool may = model_recover_volume(&model, "w", 2, 8 * BLOCK, BLOCK, &found);

	model_release(&model);
	return may;
}

static void test_flushed_sizes(void **state)
{
	(void)state;
	assert_true(old_size_may_be(true, 0)); /* it may be that only the first one is logged */
	assert_false(old_size_may_be(true, 1));
	assert_false(old_size_may_be(false, 0));
	assert_false(old_size_may_be(false, 1));
}

static void test_seek(void **state)
{
	struct model model;
	struct model_volume *volume = volume_new(&model);

	(void)state;
	put(&model, volume, 3, 1);
	assert_true(seeks(&model, volume, 0, true, 3 * BLOCK));
	assert_true(seeks(&model, volume, 0, true, 0)); /* not provably a hole */
	assert_false(seeks(&model, volume, 0, true, 4 * BLOCK));
	assert_true(seeks(&model, volume, 3 * BLOCK, false, 4 * BLOCK));
	assert_false(seeks(&model, volume, 3 * BLOCK, false, 3 * BLOCK));
	assert_true(seeks(&model, volume, 3 * BLOCK, false, 8 * BLOCK));
	assert_false(seeks(&model, volume, 0, true, 9 * BLOCK));
	model_release(&model);
}

static void test_failed_writes_settle(void **state)
{
	struct model model;
	struct model_volume *volume = volume_new(&model);
	struct model_change change;

	(void)state;
	put(&model, volume, 0, 1);
	model_write_begin(&model, volume, 0, 2 * BLOCK, content[2], &change);
	assert_true(model_settle(&model, volume, 0, content[1]));
	assert_false(model_settle(&model, volume, 1, content[5]));
	assert_true(model_settle(&model, volume, 1, content[0]));
	assert_true(reads(&model, volume, 0, BLOCK, content[1], NULL));
	assert_false(reads(&model, volume, 0, BLOCK, content[2], NULL));
	model_release(&model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads_see_the_last_write), cmocka_unit_test(test_parts_of_blocks),
		cmocka_unit_test(test_durable_survives),         cmocka_unit_test(test_only_prefixes),
		cmocka_unit_test(test_names_and_sizes),          cmocka_unit_test(test_seek),
		cmocka_unit_test(test_failed_writes_settle),     cmocka_unit_test(test_durable_changes),
		cmocka_unit_test(test_flushed_sizes),
	};

	fill_contents();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
