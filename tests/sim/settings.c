/* SPDX-License-Identifier: BSD-2-Clause */
/* See settings.h. Draws from a random stream of its own. */
#include "tests/sim/settings.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define VALUES_MAX 8u

static struct sim_random draws;
static unsigned running;
static uint64_t changes; /* of what flushes do; odd while one is under way */

struct choice {
	const char *name;
	const char *values[VALUES_MAX]; /* as the pool tells them afterwards, or default */
};

static const struct choice of_pool[] = {
	{"degraded", {"allow", "narrow", "readonly"}},
	{"multihost", {"on", "off"}},
	{"comment", {"one", "another comment"}},
	{"autotrim", {"on", "off", "default"}},
	{"cache-size", {"256K", "1M", "16M", "auto"}},
	{"reserve", {"1%", "3.5%", "6.25%", "10%"}},
	{"scrub-rate", {"none", "8M", "100M"}},
};
/* Of datasets too: handed down from the pool. */
static const struct choice handed_down[] = {
	{"logbias", {"latency", "throughput", "default"}}, /* first: of the pool alone, where changes of all volumes are to be in order */
	{"compression", {"off", "auto", "zstd-1", "zstd-5", "default"}},
	{"checksum", {"xxh3-128", "default"}},
	{"sync", {"standard", "always", "disabled", "default", "default"}},
};
static const struct choice of_volume[] = {
	{"reservation", {"none", "64K", "1M", "4M"}},
};
static const struct choice of_filesystem[] = {
	{"recordsize", {"auto", "4K", "16K", "64K", "default"}},
	{"atime", {"relatime", "on", "off"}},
	{"reservation", {"none", "128K", "2M"}},
	{"quota", {"none", "1G", "16G"}},
	{"refquota", {"none", "2G"}},
};
#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static uint64_t below(uint64_t bound)
{
	return sim_random_below(&draws, bound);
}

static const char *value_of(const struct choice *choice)
{
	unsigned count = 0;

	while (count < VALUES_MAX && choice->values[count])
		count++;
	return choice->values[below(count)];
}

/* Where there is no room, or so much is reserved already, it isn't changed; and there is no other reason. */
static void set(struct world *world, const char *dataset, const struct choice *choice)
{
	struct libpool_property property = {.size = sizeof(property)};
	struct pool_error error = {0};
	const char *value = value_of(choice);
	bool of_flushes = strcmp(choice->name, "sync") == 0;

	changes += of_flushes;
	int result = engine_property_set(world->engine, dataset, choice->name, value, false, &error);

	changes += of_flushes;
	world->statistics.settings += result == 0;
	if (result == -ENOSPC || result == -EDQUOT || settings_refuse(world, result))
		return;
	if (result == 0)
		result = engine_property_get(world->engine, dataset, choice->name, &property, &error);
	if (result < 0)
		world_fail(world, "%s=%s of %s: %s: %s", choice->name, value, dataset[0] ? dataset : "the pool", pool_error_string(result), error.text);
	if (strcmp(value, "default") != 0 && strcmp(value, property.value) != 0)
		world_fail(world, "%s of %s was set to %s and is %s", choice->name, dataset[0] ? dataset : "the pool", value, property.value);
}

/* Whether this history is ready for what follows from it. */
static bool may_be_set(const struct world *world, const struct choice *choice)
{
	const uint32_t late = 1u << SIM_SLOW | 1u << SIM_HANG | 1u << SIM_HANG_LATE;

	if (strcmp(choice->name, "degraded") == 0)
		return world->plan.refuses;
	if (strcmp(choice->name, "reserve") == 0)
		return !world->plan.full_percent; /* all space is accounted for */
	if (strcmp(choice->name, "multihost") == 0)
		return !((world->plan.fault_kinds | world->plan.log_fault_kinds) & late); /* nor may heartbeats be */
	return true;
}

static const struct choice *any_of_pool(struct world *world)
{
	const struct choice *choice;

	do
		choice = &of_pool[below(COUNT(of_pool))];
	while (!may_be_set(world, choice));
	return choice;
}

static const struct choice *any_handed_down(struct world *world)
{
	unsigned first = world->plan.mixes_logbias ? 0 : 1;

	return &handed_down[first + below(COUNT(handed_down) - first)];
}

/* One that nobody destroys meanwhile. */
static void set_of_volume(struct world *world)
{
	struct model_volume *volume = NULL;
	unsigned count = 0;

	if (world->plan.full_percent)
		return; /* there whoever has a volume destroys it without asking who else uses it */

	list_for_each(node, &world->model.volumes) {
		struct model_volume *one = container_of(node, struct model_volume, node);

		if (model_exists(one) && !one->exclusive && one->handle && below(++count) == 0)
			volume = one;
	}
	if (!volume)
		return;
	volume->users++;
	set(world, volume->name, below(4) ? any_handed_down(world) : &of_volume[below(COUNT(of_volume))]);
	volume->users--;
}

static void set_of_filesystem(struct world *world)
{
	struct dataset_record *records = NULL;
	size_t count = 0;

	world_expect(world, filesystems_list(world->datasets, &records, &count), NULL, "list of file systems");
	if (count)
		set(world, records[below(count)].name, world->plan.full_percent || below(3) ? any_handed_down(world) : &of_filesystem[below(COUNT(of_filesystem))]);
	free(records);
}

static void operate(struct world *world)
{
	switch (below(world->files ? 6 : 4)) {
	case 0:
		set(world, "", any_of_pool(world));
		break;
	case 1:
		set(world, "", &handed_down[below(2) ? 0 : below(COUNT(handed_down))]);
		break;
	case 2:
	case 3:
		set_of_volume(world);
		break;
	default:
		set_of_filesystem(world);
	}
}

static void settings_main(void *argument)
{
	struct world *world = argument;

	while (world->clients_active) {
		rt_sleep(world->rt, 1 + below(UINT64_C(1) << sim_random_between(&draws, 18, 29)));
		if (world->clients_active)
			operate(world);
	}
	running--;
}

void settings_init(struct world *world)
{
	(void)world;
	running = 0;
	changes = 0;
}

void settings_start(struct world *world)
{
	running = 0;
	changes += changes & 1; /* one that a crash has ended */
	if (!world->plan.changes || !world->engine)
		return;
	sim_random_stream(&draws, world->plan.seed, "settings", world->boot);
	running = 1;
	if (rt_spawn(world->rt, "settings", settings_main, world))
		world_fail(world, "no memory for a fiber");
}

void settings_wait(struct world *world)
{
	while (running)
		rt_sleep(world->rt, NS_PER_MS);
}

/* ---- what clients may expect ---- */

bool settings_refuse(struct world *world, int result)
{
	return result == -EROFS && world->plan.refuses && world->suspects;
}

struct settings_sync settings_sync(struct world *world, const char *dataset)
{
	struct settings_sync now = {.changes = changes};
	const char *source;

	if (world->plan.changes && dataset_setting(world->datasets, dataset, SETTING_SYNC, &now.sync, &source) < 0)
		world_fail(world, "%s has no setting", dataset);
	return now;
}

static bool held(const struct settings_sync *before)
{
	return before->changes % 2 == 0 && before->changes == changes;
}

bool settings_flush_counts(struct world *world, struct settings_sync before)
{
	return !world->plan.changes || (held(&before) && before.sync != SYNC_DISABLED);
}

bool settings_is_always(struct world *world, struct settings_sync before)
{
	return world->plan.changes && held(&before) && before.sync == SYNC_ALWAYS;
}
