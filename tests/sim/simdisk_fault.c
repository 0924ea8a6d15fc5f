/* Faults of the simulated disks: drawn at rates or scripted for requests, or done to the medium. */
#include "tests/sim/simdisk_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *text;
	unsigned operations;
} faults[] = {
#define SIM_FAULT_ROW(name, text, operations) {text, operations},
	SIM_FAULT_TABLE(SIM_FAULT_ROW)
#undef SIM_FAULT_ROW
	{"none", 0},
};

const char *sim_fault_name(enum sim_fault fault)
{
	return faults[fault].text;
}

void sim_fault_count(struct sim_disk *disk, enum sim_fault fault, uint64_t offset, uint64_t length)
{
	disk->counters.injected[fault]++;
	if (disk->set->private->sim)
		sim_env_note(disk->set->private->sim, sim_fault_name(fault), disk->index, offset, length);
	if (disk->set->log)
		fprintf(disk->set->log, "%s fault: %s %" PRIu64 "+%" PRIu64 "\n", disk->path, sim_fault_name(fault),
			offset, length);
}

void sim_disk_fault(struct sim_disk *disk, enum sim_fault fault, uint64_t offset, uint64_t length, uint64_t skip,
		    uint64_t count, uint64_t value)
{
	struct sim_script *script = sim_allocate(sizeof(*script));

	if (!faults[fault].operations)
		sim_fatal("%s can't be scripted for requests", sim_fault_name(fault));
	script->fault = fault;
	script->offset = offset;
	script->length = length ? length : UINT64_MAX - offset;
	script->skip = skip;
	script->count = count;
	script->value = value;
	list_push_back(&disk->state->scripts, &script->node);
}

void sim_disk_faults_clear(struct sim_disk *disk)
{
	struct list *node;

	while ((node = list_pop_front(&disk->state->scripts)))
		free(container_of(node, struct sim_script, node));
	memset(disk->rates, 0, sizeof(disk->rates));
}

static bool applies(enum sim_fault fault, const struct sim_request *request)
{
	if (!(faults[fault].operations >> request->operation & 1))
		return false;
	return fault != SIM_FLUSH_LIE || request->operation == DISK_FLUSH || request->fua;
}

/* The first script that wants this request, or SIM_FAULT_COUNT. */
static enum sim_fault draw_scripted(struct sim_request *request, uint64_t *value)
{
	list_for_each_safe(node, after, &request->target->state->scripts) {
		struct sim_script *script = container_of(node, struct sim_script, node);
		enum sim_fault fault = script->fault;
		bool overlaps = request->operation == DISK_FLUSH ||
				(request->offset < script->offset + script->length &&
				 script->offset < request->offset + request->length);

		if (!applies(fault, request) || !overlaps)
			continue;
		if (script->skip) {
			script->skip--;
			continue;
		}
		*value = script->value;
		if (--script->count == 0) {
			list_remove(&script->node);
			free(script);
		}
		return fault;
	}
	return SIM_FAULT_COUNT;
}

static uint64_t misdirected_target(struct sim_request *request)
{
	struct sim_disk *disk = request->target;
	uint64_t cells = disk->size / SIM_CELL, count = request->length / SIM_CELL;
	uint64_t room = cells > count ? cells - count : 0, here = request->offset / SIM_CELL;

	/* Half of the time close by, as a wrong bit or a wrong track does. */
	if (sim_random_below(&disk->state->random, 2)) {
		uint64_t near = here ^ UINT64_C(1) << sim_random_below(&disk->state->random, 12);

		if (near <= room)
			return near * SIM_CELL;
	}
	return sim_random_below(&disk->state->random, room + 1) * SIM_CELL;
}

static enum sim_fault draw_at_rates(struct sim_request *request)
{
	struct sim_disk *disk = request->target;

	for (unsigned i = 0; i < SIM_FAULT_COUNT; i++) {
		enum sim_fault fault = (enum sim_fault)i;

		if (!disk->rates[i] || !applies(fault, request) ||
		    !sim_random_chance(&disk->state->random, disk->rates[i]))
			continue;
		struct sim_fault_event event = {
			.disk = disk,
			.fault = fault,
			.operation = request->operation,
			.offset = request->offset,
			.length = request->length,
			.target = request->fault_target = misdirected_target(request),
		};

		if (!disk->set->hooks.allow_fault || disk->set->hooks.allow_fault(disk->set->hooks.argument, &event))
			return fault;
	}
	return SIM_FAULT_COUNT;
}

void sim_fault_draw(struct sim_request *request, uint64_t *delay_ns)
{
	struct sim_disk *disk = request->target;
	struct sim_random *random = &disk->state->random;
	uint64_t value = 0;

	request->fault = draw_scripted(request, &value);
	if (request->fault != SIM_FAULT_COUNT)
		request->fault_target = value ? value : misdirected_target(request);
	else
		request->fault = draw_at_rates(request);
	if (request->fault == SIM_SLOW)
		*delay_ns *= value ? value : sim_random_between(random, 10, 1000);
	else if (request->fault == SIM_HANG_LATE)
		*delay_ns += value ? value : sim_random_between(random, 30 * NS_PER_S, 300 * NS_PER_S);
	else if (request->fault == SIM_HANG)
		*delay_ns = UINT64_MAX;
	if (disk->state->hanging)
		*delay_ns = UINT64_MAX;
	if (request->fault != SIM_FAULT_COUNT)
		sim_fault_count(disk, request->fault, request->offset, request->length);
}

struct sim_content *sim_fault_stale(struct sim_disk *disk, uint64_t cell)
{
	struct sim_disk_state *state = disk->state;

	for (unsigned back = 1; back <= HISTORY_CELLS && back <= state->history_next; back++) {
		unsigned slot = (state->history_next - back) % HISTORY_CELLS;

		if (state->history[slot].cell == cell)
			return state->history[slot].content;
	}
	return sim_disk_cell(disk, cell);
}

void sim_disk_rot(struct sim_disk *disk, uint64_t offset)
{
	struct sim_random *random = &disk->state->random;
	uint64_t cell = offset / SIM_CELL;
	uint8_t bytes[SIM_CELL];

	sim_content_read(sim_disk_cell(disk, cell), bytes);
	if (sim_random_below(random, 4) == 0) {
		sim_random_fill(random, bytes + sim_random_below(random, SIM_CELL / SIM_SECTOR) * SIM_SECTOR,
				SIM_SECTOR);
	} else {
		/* All in one byte, at different bits: two flips never cancel. */
		bytes[sim_random_below(random, SIM_CELL)] ^= (uint8_t)sim_random_between(random, 1, 255);
	}
	sim_disk_set_durable(disk, cell, sim_content_make(&disk->set->store, bytes));
	sim_fault_count(disk, SIM_ROT, cell * SIM_CELL, SIM_CELL);
}

void sim_disk_set_unreadable(struct sim_disk *disk, uint64_t offset, uint64_t length)
{
	for (uint64_t cell = offset / SIM_CELL; cell * SIM_CELL < offset + length; cell++) {
		if (sim_disk_is_bad(disk, cell))
			continue;
		struct bad_cell *bad = sim_allocate(sizeof(*bad));

		bad->cell = cell;
		hash_table_insert(&disk->state->bad_cells, &bad->node, hash_u64(cell));
	}
	sim_fault_count(disk, SIM_UNREADABLE, offset, length);
}

void sim_disk_release_hung(struct sim_disk *disk, bool with_effect)
{
	struct list hung;

	list_init(&hung);
	list_for_each_safe(node, after, &disk->state->in_flight) {
		if (!container_of(node, struct sim_request, node)->hung)
			continue;
		list_remove(node);
		list_push_back(&hung, node);
	}
	while (!list_empty(&hung)) {
		struct sim_request *request = container_of(hung.next, struct sim_request, node);

		request->hung = false;
		/* If the power goes just now it stays in flight. */
		list_remove(&request->node);
		list_push_back(&disk->state->in_flight, &request->node);
		sim_request_end(request, with_effect ? 0 : -EIO);
	}
}

unsigned sim_disk_hung(const struct sim_disk *disk)
{
	unsigned count = 0;

	list_for_each(node, &disk->state->in_flight)
		count += container_of(node, struct sim_request, node)->hung;
	return count;
}

bool sim_disk_is_held(const struct sim_disk *disk)
{
	return disk->state->exclusive != NULL;
}

void sim_disk_set_hanging(struct sim_disk *disk, bool hanging)
{
	disk->state->hanging = hanging;
}

void sim_disk_vanish(struct sim_disk *disk, enum sim_crash_mode mode)
{
	sim_fault_count(disk, SIM_VANISH, 0, disk->size);
	disk->present = false;
	disk->state->epoch++;
	disk->state->exclusive = NULL;
	sim_disk_crash(disk, mode, &disk->state->random);
	sim_disk_fail_in_flight(disk, -ENODEV);
}

void sim_disk_return(struct sim_disk *disk)
{
	disk->present = true;
}
