/*
 * What is left of volatile writes when the power goes: per disk one of six kinds of subset, of whole writes,
 * of cells, or torn inside a cell at 512 bytes.
 *
 * What must always hold: what is durable survives; nothing but bytes of volatile writes gets onto the disk
 * (except the one spoiled sector of crash_corrupts), and of two volatile writes to a cell that both
 * survive, the later one wins.
 */
#include "tests/sim/simdisk_private.h"

#include <stdlib.h>
#include <string.h>

static const char *const mode_names[] = {"none", "all", "prefix", "subset", "all but one", "only one", "any"};

const char *sim_crash_mode_name(enum sim_crash_mode mode)
{
	return mode_names[mode];
}

/* One cell that may survive; `unit` numbers what stays together (a write, or each cell). */
struct candidate {
	struct sim_version *version;
	size_t unit;
};

struct candidates {
	struct candidate *items;
	size_t count, capacity, units;
};

static void collect(struct candidates *all, struct sim_write *write, bool by_cell)
{
	size_t before = all->count;

	for (uint64_t i = 0; i < write->count; i++) {
		if (write->versions[i].gone)
			continue;
		if (all->count == all->capacity) {
			all->capacity = all->capacity ? all->capacity * 2 : 256;
			all->items = realloc(all->items, all->capacity * sizeof(*all->items));
			if (!all->items)
				sim_fatal("no memory for a crash");
		}
		all->items[all->count++] = (struct candidate){&write->versions[i], all->units};
		all->units += by_cell;
	}
	if (!by_cell && all->count > before)
		all->units++;
}

/* New sectors over what is durable there. */
static struct sim_content *torn(struct sim_disk *disk, const struct sim_version *version, uint8_t sectors)
{
	uint8_t old[SIM_CELL], new[SIM_CELL];

	sim_content_read(sim_image_get(&disk->state->durable, version->cell), old);
	sim_content_read(version->content, new);
	for (unsigned i = 0; i < SIM_CELL / SIM_SECTOR; i++)
		if (sectors >> i & 1)
			memcpy(old + i * SIM_SECTOR, new + i * SIM_SECTOR, SIM_SECTOR);
	return sim_content_make(&disk->set->store, old);
}

static void survive(struct sim_disk *disk, const struct sim_version *version, uint8_t sectors)
{
	struct sim_content *content =
		sectors == 0xff ? sim_content_ref(version->content) : torn(disk, version, sectors);

	if (version->cell >= disk->state->durable.cells) {
		sim_content_unref(&disk->set->store, content);
		return;
	}
	sim_disk_clear_bad(disk, version->cell);
	sim_image_set(&disk->state->durable, version->cell, content);
}

struct choice {
	enum sim_crash_mode mode;
	bool tear_sectors;
	size_t pivot;       /* of prefix, all but one, only one */
	uint32_t keep;      /* of subset, per million */
};

/* The sectors of one candidate that survive, as a bitmap. */
static uint8_t sectors_kept(const struct choice *choice, size_t unit, bool unit_kept, struct sim_random *random)
{
	bool at_pivot = unit == choice->pivot && choice->mode >= SIM_CRASH_PREFIX && choice->mode != SIM_CRASH_SUBSET;
	bool may_tear = choice->mode == SIM_CRASH_SUBSET ? sim_random_below(random, 4) == 0 : at_pivot;

	if (!choice->tear_sectors || !may_tear)
		return unit_kept ? 0xff : 0;
	return (uint8_t)sim_random_next(random);
}

static bool keeps(const struct choice *choice, size_t unit, struct sim_random *random)
{
	switch (choice->mode) {
	case SIM_CRASH_ALL:
		return true;
	case SIM_CRASH_PREFIX:
		return unit < choice->pivot;
	case SIM_CRASH_SUBSET:
		return sim_random_chance(random, choice->keep);
	case SIM_CRASH_ALL_BUT_ONE:
		return unit != choice->pivot;
	case SIM_CRASH_ONLY_ONE:
		return unit == choice->pivot;
	default:
		return false;
	}
}

static void spoil_sector(struct sim_disk *disk, uint64_t cell, struct sim_random *random)
{
	uint8_t bytes[SIM_CELL];

	sim_content_read(sim_image_get(&disk->state->durable, cell), bytes);
	sim_random_fill(random, bytes + sim_random_below(random, SIM_CELL / SIM_SECTOR) * SIM_SECTOR, SIM_SECTOR);
	sim_image_set(&disk->state->durable, cell, sim_content_make(&disk->set->store, bytes));
	sim_fault_count(disk, SIM_ROT, cell * SIM_CELL, SIM_CELL);
}

static void discard_volatile(struct sim_disk *disk)
{
	struct sim_disk_state *state = disk->state;
	struct list *node;

	while ((node = list_pop_front(&state->cache))) {
		struct sim_write *write = container_of(node, struct sim_write, node);

		for (uint64_t i = 0; i < write->count; i++)
			if (!write->versions[i].gone)
				hash_table_remove(&state->versions, &write->versions[i].node);
		sim_write_free(disk, write);
	}
	list_for_each(in_flight, &state->in_flight) {
		struct sim_request *request = container_of(in_flight, struct sim_request, node);

		sim_write_free(disk, request->write);
		request->write = NULL;
	}
}

void sim_disk_crash(struct sim_disk *disk, enum sim_crash_mode mode, struct sim_random *random)
{
	static const uint32_t keep[] = {100000, 500000, 900000};
	struct candidates all = {0};
	enum sim_tear tear = disk->set->tear;
	struct choice choice = {.mode = mode};

	if (choice.mode == SIM_CRASH_ANY)
		choice.mode = (enum sim_crash_mode)sim_random_below(random, SIM_CRASH_ANY);
	if (tear == SIM_TEAR_ANY)
		tear = (enum sim_tear)sim_random_below(random, SIM_TEAR_ANY);
	choice.tear_sectors = tear == SIM_TEAR_SECTOR;
	list_for_each(node, &disk->state->cache)
		collect(&all, container_of(node, struct sim_write, node), tear != SIM_TEAR_WRITE);
	list_for_each(node, &disk->state->in_flight) {
		struct sim_request *request = container_of(node, struct sim_request, node);

		if (request->write && request->fault != SIM_WRITE_LOST && request->fault != SIM_WRITE_MISDIRECTED)
			collect(&all, request->write, tear != SIM_TEAR_WRITE);
	}
	choice.pivot = (size_t)sim_random_below(random, choice.mode == SIM_CRASH_PREFIX ? all.units + 1 : all.units);
	choice.keep = keep[sim_random_below(random, 3)];

	size_t last_unit = SIZE_MAX;
	bool kept = false;

	for (size_t i = 0; i < all.count; i++) {
		if (all.items[i].unit != last_unit)
			kept = keeps(&choice, all.items[i].unit, random);
		last_unit = all.items[i].unit;
		uint8_t sectors = sectors_kept(&choice, last_unit, kept, random);

		if (sectors)
			survive(disk, all.items[i].version, sectors);
	}
	if (all.count && sim_random_chance(random, disk->set->crash_corrupts)) {
		uint64_t cell = all.items[sim_random_below(random, all.count)].version->cell;

		if (cell < disk->state->durable.cells)
			spoil_sector(disk, cell, random);
	}
	free(all.items);
	discard_volatile(disk);
}

void sim_disks_power_cut(struct sim_disks *set, enum sim_crash_mode mode, struct sim_random *random)
{
	sim_disks_power_off(set);
	if (set->private->provider)
		sim_fatal("a power cut is resolved after its provider was freed");
	set->crashes++;
	for (unsigned i = 0; i < set->count; i++) {
		sim_disk_crash(set->disks[i], mode, random);
		sim_disk_fail_in_flight(set->disks[i], -ECANCELED);
	}
	if (set->log)
		fprintf(set->log, "power cut: %s\n", sim_crash_mode_name(mode));
}
