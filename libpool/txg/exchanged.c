/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Disks that have each other's labels, as after a restore of the wrong copies. Each cell of such a disk is wrong, and what looks free on it by its label
 * may be all that the other one has: if there are more of them than the parity bears, nothing may be written, and "damaged" isn't what has happened.
 *
 * The header of an allocation unit names the disk that it was written to. A disk counts only if all that were found name one other disk of the pool that
 * isn't what its own label says either, or isn't there. A disk that was in the pool before, as another one, would have the headers of that time: so a
 * disk that joins loses those that are looked at here, before it gets its label.
 *
 * A log disk has no parity: with the label of another one it hides what only it has, so a single one is too many.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/format/label.h"
#include "libpool/txg/select.h"

/* A disk in use mostly has its own name in the first one. */
#define HEADERS_AT_FRONT 8u
#define HEADERS_SPREAD 32u
#define HEADERS_TRIED (HEADERS_AT_FRONT + HEADERS_SPREAD)

struct exchange {
	const struct selection *selection;
	struct guid disks[DISKS_MAX]; /* by member: which one its headers name, if `named` */
	bool named[DISKS_MAX];
	bool wrong[DISKS_MAX][2];     /* which of its label areas isn't of that disk */
};

/* Where the n-th header lies that is looked at; some of a small disk more than once. */
static uint64_t header_offset(uint64_t disk_size, unsigned au_shift, unsigned number)
{
	uint64_t count = disk_au_count(disk_size, au_shift);
	uint64_t au = number < HEADERS_AT_FRONT ? number : (number - HEADERS_AT_FRONT) * count / HEADERS_SPREAD;

	return DATA_START + ((au < count ? au : 0) << au_shift);
}

int exchange_forget_names(struct disk *disk, uint64_t disk_size, unsigned au_shift)
{
	struct buffer *zeroes = buffer_new_zero(CELL_SIZE);
	int status = zeroes ? 0 : -ENOMEM;

	for (unsigned i = 0; i < HEADERS_TRIED && status == 0; i++)
		status = disk_write(disk, header_offset(disk_size, au_shift, i), CELL_SIZE, zeroes, 0, false);
	buffer_unref(zeroes);
	return status;
}

/* Units that can't be read, or that the pool never used, say nothing. */
static int find_name(void *argument, unsigned index)
{
	struct exchange *exchange = argument;
	const struct label *label = exchange->selection->label;
	const struct member *member = &exchange->selection->members[index];
	struct buffer *buffer = member->found ? buffer_new(CELL_SIZE) : NULL;
	bool found = false, one = true;

	if (member->found && !buffer)
		return -ENOMEM;
	for (unsigned i = 0; buffer && i < HEADERS_TRIED && one; i++) {
		struct au_header header;
		int status = disk_read(member->found->disk, header_offset(member->config->size, label->au_shift, i), CELL_SIZE, buffer, 0);
		if (status == -ENOMEM || status == -ETIMEDOUT) {
			buffer_unref(buffer);
			return status;
		}
		if (status < 0 || au_header_decode(buffer->data, &header) < 0 || memcmp(&header.pool, &label->pool, sizeof(header.pool)) != 0)
			continue;
		one = memcmp(&header.disk, &member->config->guid, sizeof(header.disk)) != 0 &&
		      (!found || memcmp(&header.disk, &exchange->disks[index], sizeof(header.disk)) == 0);
		exchange->disks[index] = header.disk;
		found = true;
	}
	exchange->named[index] = found && one;
	buffer_unref(buffer);
	return 0;
}

/* Whose label belongs to what lies on a member; NULL: its own, as far as can be said. */
static const struct member *other_of(const struct exchange *exchange, unsigned index)
{
	const struct selection *selection = exchange->selection;

	for (unsigned i = 0; exchange->named[index] && i < selection->count; i++)
		if ((exchange->named[i] || !selection->members[i].found) &&
		    memcmp(&selection->members[i].config->guid, &exchange->disks[index], sizeof(struct guid)) == 0)
			return &selection->members[i];
	return NULL;
}

/* Both, if nobody can tell. */
static int find_areas(void *argument, unsigned index)
{
	struct exchange *exchange = argument;
	const struct member *member = &exchange->selection->members[index], *other = other_of(exchange, index);
	struct label *label = other ? malloc(sizeof(*label)) : NULL;

	if (!other)
		return 0;
	if (!label)
		return -ENOMEM;
	for (unsigned area = 0; area < 2; area++)
		exchange->wrong[index][area] = label_read_area(member->found->disk, area, other->config->size, label) < 0 ||
					       memcmp(&label->disk, &other->config->guid, sizeof(label->disk)) != 0;
	free(label);
	return 0;
}

static size_t describe(const struct exchange *exchange, unsigned index, const char *before, char *ret_text, size_t size)
{
	const struct member *member = &exchange->selection->members[index], *other = other_of(exchange, index);
	const bool *wrong = exchange->wrong[index];
	char name[48];

	snprintf(name, sizeof(name), "disk #%u, which isn't there", other->config->index);
	return (size_t)snprintf(ret_text, size, "%s%s has what was written to %s (wrong: its %s MiB)", before, member->found->path,
				other->found ? other->found->path : name, !wrong[1] ? "first" : !wrong[0] ? "last" : "first and last");
}

static bool is_absent(const struct selection *selection, const struct member *member)
{
	const struct uberblock_state *state = selection_state_of(selection->chosen, member->config->index);
	bool is_behind = member->diverged || !member->newest || (state && state->stale_from);

	/* Log disks have no uberblock, and what the pool can bear to lose of them has nothing to do with that of the others. */
	return !member->fresh && member->config->role != ROLE_LOG && (!member->found || is_behind);
}

int selection_find_exchanged(struct rt *rt, const struct selection *selection, bool *ret_logs, char *ret_text, size_t size)
{
	struct exchange *exchange = calloc(1, sizeof(*exchange));
	int status[DISKS_MAX], areas[DISKS_MAX], count = 0;
	bool no_memory = false;
	size_t used = 0;

	ret_text[0] = 0;
	*ret_logs = false;
	if (!exchange)
		return -ENOMEM;
	exchange->selection = selection;
	run_each(rt, "headers", selection->count, find_name, exchange, status);
	run_each(rt, "label areas", selection->count, find_areas, exchange, areas);
	for (unsigned i = 0; i < selection->count; i++) {
		no_memory |= status[i] == -ENOMEM || areas[i] == -ENOMEM;
		if (!other_of(exchange, i))
			continue;
		if (used < size)
			used += describe(exchange, i, used ? ", " : "", ret_text + used, size - used);
		count += !is_absent(selection, &selection->members[i]);
		*ret_logs |= selection->members[i].config->role == ROLE_LOG;
	}
	free(exchange);
	return no_memory ? -ENOMEM : count;
}

unsigned selection_count_absent(const struct selection *selection)
{
	unsigned count = 0;

	for (unsigned i = 0; i < selection->count; i++)
		count += is_absent(selection, &selection->members[i]);
	return count;
}
