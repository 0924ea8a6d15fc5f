/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Datasets in datasets, and the settings that they hand down: against a model that knows paths only, with power cuts; what is refused;
 * and changes while a txg is in sync.
 */
#include "libpool/dataset/internal.h"
#include "libpool/txg/internal.h"
#include "tests/unit/dataset/volumes.h"

static struct machine *machine_made(unsigned seed)
{
	struct machine *machine = machine_new(3, 64 * MIB, 2, 1, seed);

	machine_boot(machine, machine_create_program);
	return machine;
}

static int fill_nothing(void *argument, struct objset *objset, uint64_t txg)
{
	(void)argument, (void)objset, (void)txg;
	return 0;
}

static int make_fs(struct machine *machine, struct datasets *datasets, const char *path)
{
	return filesystem_create(datasets, path, &(struct dataset_settings){ 0 }, fill_nothing, NULL, &machine->error);
}

static int make_volume(struct machine *machine, struct datasets *datasets, const char *path)
{
	return volume_create(datasets, path, MIB, 4096, 0, &machine->error);
}

static int destroy(struct machine *machine, struct datasets *datasets, const char *path, bool recursive)
{
	return filesystem_destroy(datasets, path, recursive, &machine->error);
}

static int rename_to(struct machine *machine, struct datasets *datasets, const char *from, const char *to)
{
	return dataset_rename(datasets, from, to, &machine->error);
}

/* ---- The model: paths, sorted so that what lies in one comes right behind it ---- */

#define PATHS_MAX 64u
struct model {
	unsigned count;
	struct {
		char path[64];
		bool volume;
		int compression, readonly; /* set here, or -1 */
	} entries[PATHS_MAX];
};

static int model_find(const struct model *model, const char *path)
{
	for (unsigned i = 0; i < model->count; i++)
		if (strcmp(model->entries[i].path, path) == 0)
			return (int)i;
	return -1;
}

static void model_add(struct model *model, const char *path, bool volume)
{
	snprintf(model->entries[model->count].path, sizeof(model->entries[0].path), "%s", path);
	model->entries[model->count].volume = volume;
	model->entries[model->count].compression = volume ? 0 : -1; /* as make_volume has it */
	model->entries[model->count++].readonly = -1;
}

static unsigned model_within(const struct model *model, const char *path)
{
	unsigned count = 0;

	for (unsigned i = 0; i < model->count; i++)
		count += dataset_path_within(model->entries[i].path, path);
	return count;
}

static int model_place(const struct model *model, const char *path)
{
	char above[64];
	const char *slash = strrchr(path, '/');
	int at;

	if (model_find(model, path) >= 0)
		return -EEXIST;
	if (!slash)
		return 0;
	snprintf(above, sizeof(above), "%.*s", (int)(slash - path), path);
	at = model_find(model, above);
	return at < 0 ? -ENOENT : model->entries[at].volume ? -ENOTDIR : 0;
}

static int model_destroy(struct model *model, const char *path, bool recursive)
{
	int at = model_find(model, path);
	unsigned kept = 0;

	if (at < 0)
		return -ENOENT;
	if (model->entries[at].volume)
		return -EINVAL;
	if (!recursive && model_within(model, path) > 1)
		return -EBUSY;
	for (unsigned i = 0; i < model->count; i++)
		if (!dataset_path_within(model->entries[i].path, path))
			model->entries[kept++] = model->entries[i];
	model->count = kept;
	return 0;
}

static int model_rename(struct model *model, const char *from, const char *to)
{
	int status;

	if (model_find(model, from) < 0)
		return -ENOENT;
	if (strcmp(from, to) != 0 && dataset_path_within(to, from))
		return -EINVAL;
	status = model_place(model, to);
	if (status < 0)
		return status;
	for (unsigned i = 0; i < model->count; i++) {
		char path[128];
		if (!dataset_path_within(model->entries[i].path, from))
			continue;
		snprintf(path, sizeof(path), "%s%s", to, model->entries[i].path + strlen(from));
		memcpy(model->entries[i].path, path, sizeof(model->entries[i].path));
	}
	return 0;
}

static int *model_setting(struct model *model, int at, enum dataset_setting setting)
{
	return setting == SETTING_COMPRESSION ? &model->entries[at].compression : &model->entries[at].readonly;
}

static int model_set(struct model *model, const char *path, enum dataset_setting setting, int value)
{
	int at = model_find(model, path);

	if (at < 0)
		return -ENOENT;
	*model_setting(model, at, setting) = value;
	return 0;
}

/* What holds for one, and where it is set: of those above that have it, the deepest. */
static bool settings_hold(const struct model *model, struct datasets *datasets, const char *path)
{
	bool same = true;

	for (unsigned i = 0; i < 2; i++) {
		enum dataset_setting setting = i ? SETTING_READONLY : SETTING_COMPRESSION;
		const char *source, *wanted = NULL;
		int wanted_value = dataset_setting_default(setting);
		uint8_t value;
		for (unsigned j = 0; j < model->count; j++) {
			int local = *model_setting((struct model *)model, (int)j, setting);
			if (local < 0 || !dataset_path_within(path, model->entries[j].path) ||
			    (wanted && strlen(wanted) > strlen(model->entries[j].path)))
				continue;
			wanted = model->entries[j].path;
			wanted_value = local;
		}
		expect_equal(dataset_setting(datasets, path, setting, &value, &source), 0);
		same &= value == wanted_value && !source == !wanted && (!source || strcmp(source, wanted) == 0);
	}
	return same;
}

static bool holds(const struct model *model, struct datasets *datasets)
{
	struct dataset_record *records;
	size_t count, found = 0;
	bool same = true;

	for (unsigned kind = 0; kind < 2; kind++) {
		expect_equal(kind ? volumes_list(datasets, &records, &count) : filesystems_list(datasets, &records, &count), 0);
		for (size_t i = 0; i < count; i++) {
			int at = model_find(model, records[i].name);
			same &= at >= 0 && model->entries[at].volume == (kind == 1);
			same &= at < 0 || settings_hold(model, datasets, records[i].name);
			/* What lies in one comes behind it, with nothing else in between. */
			if (i && dataset_path_within(records[i].name, records[i - 1].name))
				same &= strlen(records[i].name) > strlen(records[i - 1].name);
		}
		found += count;
		free(records);
	}
	return same && found == model->count;
}

/* ---- Random work ---- */

#define STATES_MAX 64u
static struct model states[STATES_MAX]; /* since the last commit: a power cut leaves one of them */
static unsigned state_count;
static struct sim_random random_source;

static void random_path(char path[64])
{
	unsigned depth = 1 + (unsigned)sim_random_below(&random_source, 4);

	path[0] = 0;
	for (unsigned i = 0; i < depth; i++)
		snprintf(path + strlen(path), 64 - strlen(path), "%s%c", i ? "/" : "", (char)('a' + sim_random_below(&random_source, 3)));
}

static void random_step(struct machine *machine, struct datasets *datasets, struct model *model)
{
	char path[64], other[64];
	int wanted, status;

	random_path(path);
	random_path(other);
	switch (sim_random_below(&random_source, model->count > 40 ? 12 : 18)) {
	case 0:
	case 1:
	case 2: {
		bool recursive = sim_random_below(&random_source, 2);
		wanted = model_destroy(model, path, recursive);
		status = destroy(machine, datasets, path, recursive);
		break;
	}
	case 3:
	case 4:
	case 5:
	case 6:
	case 7:
		wanted = model_rename(model, path, other);
		status = rename_to(machine, datasets, path, other);
		break;
	case 8:
	case 9:
	case 10:
	case 11: {
		enum dataset_setting setting = sim_random_below(&random_source, 2) ? SETTING_READONLY : SETTING_COMPRESSION;
		int value = (int)sim_random_below(&random_source, 3) - 1;
		if (model->count && sim_random_below(&random_source, 4))
			snprintf(path, sizeof(path), "%s", model->entries[sim_random_below(&random_source, model->count)].path);
		wanted = model_set(model, path, setting, value);
		status = dataset_set(datasets, path, setting, value < 0 ? NULL : &(uint8_t){ (uint8_t)value }, &machine->error);
		break;
	}
	case 12: {
		wanted = model_place(model, path);
		if (wanted == 0)
			model_add(model, path, true);
		status = make_volume(machine, datasets, path);
		break;
	}
	default:
		wanted = model_place(model, path);
		if (wanted == 0)
			model_add(model, path, false);
		status = make_fs(machine, datasets, path);
		break;
	}
	expect_equal(status, wanted);
}

static void random_program(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	struct model model;
	unsigned i = 0;

	while (i < state_count && !holds(&states[i], datasets))
		i++;
	expect(i < state_count);
	model = states[i];
	states[0] = model;
	state_count = 1;
	for (unsigned step = 0; step < 40; step++) {
		random_step(machine, datasets, &model);
		expect(holds(&model, datasets));
		if (sim_random_below(&random_source, 6) == 0) {
			expect_done(machine, core_commit(machine->core));
			state_count = 0;
		}
		if (state_count == STATES_MAX)
			abort();
		states[state_count++] = model;
	}
	if (sim_random_below(&random_source, 2)) {
		pool_abandon(machine, datasets);
		return;
	}
	pool_close(machine, datasets);
	states[0] = model;
	state_count = 1;
}

static void test_random(void **state)
{
	(void)state;
	for (unsigned seed = 0; seed < 12; seed++) {
		struct machine *machine = machine_made(seed);
		sim_random_stream(&random_source, seed, "tree", 0);
		memset(states, 0, sizeof(states));
		state_count = 1;
		for (unsigned boot = 0; boot < 6; boot++)
			machine_boot(machine, random_program);
		machine_free(machine);
	}
}

/* ---- What is refused ---- */

static void refusals_program(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	struct dataset *dataset;
	struct volume *volume;
	char path[600];

	expect_done(machine, make_fs(machine, datasets, "a"));
	expect_done(machine, make_fs(machine, datasets, "a/b"));
	expect_done(machine, make_volume(machine, datasets, "a/v"));
	static const char *const bad[] = { "", "/", "a/", "/a", "a//c", "a/-c", "a/.", "a/..", "a/c d", "a/c@d", "a/\xff" };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		expect_equal(make_fs(machine, datasets, bad[i]), -EINVAL);
		expect_equal(make_volume(machine, datasets, bad[i]), -EINVAL);
		expect_equal(rename_to(machine, datasets, "a/b", bad[i]), -EINVAL);
	}
	expect_equal(make_fs(machine, datasets, "x/y"), -ENOENT);
	expect_equal(make_fs(machine, datasets, "a/v/y"), -ENOTDIR);
	expect_equal(make_fs(machine, datasets, "a/v"), -EEXIST);
	expect_equal(rename_to(machine, datasets, "a", "a/b/c"), -EINVAL);
	expect_equal(rename_to(machine, datasets, "a", "a"), -EEXIST);
	expect_equal(rename_to(machine, datasets, "z", "y"), -ENOENT);
	expect_equal(rename_to(machine, datasets, "a/b", "a/v/b"), -ENOTDIR);
	/* In use, itself or what lies in it. */
	expect_done(machine, filesystem_open(datasets, "a/b", &dataset, &machine->error));
	expect_equal(destroy(machine, datasets, "a/b", false), -EBUSY);
	expect_equal(destroy(machine, datasets, "a", true), -EBUSY);
	filesystem_close(dataset);
	volume = pool_volume(machine, datasets, "a/v");
	expect_equal(destroy(machine, datasets, "a", true), -EBUSY);
	/* Who has it open goes on with it under its new name. */
	expect_done(machine, rename_to(machine, datasets, "a", "b"));
	expect(strcmp(volume_path(volume), "b/v") == 0);
	volume_close(volume);
	/* Paths of 255 bytes, and no more, also of what lies in one that is renamed. */
	memset(path, 'x', sizeof(path));
	memcpy(path, "b/b/", 4);
	path[255] = 0;
	expect_done(machine, make_fs(machine, datasets, path));
	expect_equal(rename_to(machine, datasets, "b", "bb"), -ENAMETOOLONG);
	path[255] = 'x';
	path[256] = 0;
	expect_equal(make_fs(machine, datasets, path), -ENAMETOOLONG);
	expect_equal(rename_to(machine, datasets, "b/v", path), -ENAMETOOLONG);
	expect_done(machine, destroy(machine, datasets, "b", true));
	expect_equal(make_fs(machine, datasets, "b/x"), -ENOENT);
	expect_done(machine, make_volume(machine, datasets, "v"));
	expect_equal(dataset_set(datasets, "v", SETTING_ATIME, &(uint8_t){ ATIME_OFF }, &machine->error), -EINVAL);
	expect_equal(dataset_set(datasets, "nothing", SETTING_ATIME, NULL, &machine->error), -ENOENT);
	expect_equal(dataset_set(datasets, "v", SETTING_RECORDSIZE, &(uint8_t){ 13 }, &machine->error), -EINVAL);
	/* AUs of 256 KiB: records above 128 KiB don't fit. */
	expect_done(machine, make_fs(machine, datasets, "f"));
	expect_equal(dataset_set(datasets, "f", SETTING_RECORDSIZE, &(uint8_t){ 18 }, &machine->error), -EINVAL);
	expect_equal(dataset_set(datasets, "f", SETTING_RECORDSIZE, &(uint8_t){ 11 }, &machine->error), -EINVAL);
	expect_done(machine, dataset_set(datasets, "f", SETTING_RECORDSIZE, &(uint8_t){ 17 }, &machine->error));
	/* The pool is above all. */
	uint8_t value;
	const char *source;
	datasets_set_pool(datasets, SETTING_READONLY, &(uint8_t){ READONLY_ON });
	expect_done(machine, dataset_setting(datasets, "v", SETTING_READONLY, &value, &source));
	expect(value == READONLY_ON && source && strcmp(source, "") == 0);
	volume = pool_volume(machine, datasets, "v");
	uint8_t data[4096] = { 1 };
	expect_equal(volume_write(volume, 0, sizeof(data), data), -EROFS);
	expect_equal(volume_trim(volume, 0, sizeof(data)), -EROFS);
	expect_equal(volume_zero(volume, 0, sizeof(data)), -EROFS);
	expect_done(machine, volume_read(volume, 0, sizeof(data), data));
	expect_equal(data[0], 0);
	expect_done(machine, dataset_set(datasets, "v", SETTING_READONLY, &(uint8_t){ READONLY_OFF }, &machine->error));
	expect_done(machine, volume_write(volume, 0, sizeof(data), data));
	volume_close(volume);
	pool_close(machine, datasets);
}

static void test_refusals(void **state)
{
	struct machine *machine = machine_made(1);

	(void)state;
	machine_boot(machine, refusals_program);
	machine_free(machine);
}

/* ---- A new name is no part of the txg that is in sync, and survives the sync of what the dataset holds ---- */

struct commit_call {
	struct machine *machine;
	struct rt_group group;
};

static void commit_fiber(void *argument)
{
	struct commit_call *call = argument;

	expect_equal(core_commit(call->machine->core), 0);
	rt_group_done(call->machine->rt, &call->group, 0);
}

static void late_program(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	struct commit_call call = { .machine = machine };
	uint8_t data[4096];

	block_fill(data, sizeof(data), 1, 1);
	expect_done(machine, make_fs(machine, datasets, "a"));
	expect_done(machine, make_volume(machine, datasets, "v"));
	struct volume *volume = pool_volume(machine, datasets, "v");
	expect_done(machine, volume_write(volume, 0, sizeof(data), data));
	rt_group_init(&call.group);
	rt_group_add(&call.group);
	expect_equal(rt_spawn(machine->rt, "commit", commit_fiber, &call), 0);
	while (!machine->core->syncing)
		rt_yield(machine->rt);
	expect_done(machine, rename_to(machine, datasets, "v", "a/v"));
	(void)rt_group_wait(machine->rt, &call.group);
	core_halt(machine->core, "crash");
	volume_close(volume);
	pool_abandon(machine, datasets);
}

static void see_old_name(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	uint8_t data[4096];

	struct volume *volume = pool_volume(machine, datasets, "v");
	expect_done(machine, volume_read(volume, 0, sizeof(data), data));
	expect(block_is(data, sizeof(data), 1, 1));
	volume_close(volume);
	/* Not loaded in this import: the record alone changes. */
	expect_done(machine, rename_to(machine, datasets, "a", "b"));
	pool_close(machine, datasets);
}

static void see_new_name(struct machine *machine)
{
	struct datasets *datasets = pool_open(machine);
	struct dataset *dataset;

	expect_done(machine, filesystem_open(datasets, "b", &dataset, &machine->error));
	filesystem_close(dataset);
	pool_close(machine, datasets);
}

static void test_late(void **state)
{
	struct machine *machine = machine_made(2);

	(void)state;
	machine_boot(machine, late_program);
	machine_boot(machine, see_old_name);
	machine_boot(machine, see_new_name);
	machine_free(machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_random), cmocka_unit_test(test_refusals), cmocka_unit_test(test_late) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
