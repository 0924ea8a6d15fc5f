/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Disks that have each other's labels, as after a restore of the wrong copies. Each cell of such a disk is wrong, and what looks free on it by its label
 * may be all that the other one has: if there are more of them than the parity bears, nothing may be written, and "damaged" isn't what has happened.
 *
 * The header of an allocation unit names the disk that it was written to. Those of units that nobody has used again since may be of a disk that
 * was here before, so a disk counts only if all that were found name another one that is there as well and isn't what its own label says either.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/format/label.h"
#include "libpool/txg/select.h"

#define HEADERS_WANTED 4u
#define HEADERS_TRIED 32u

struct exchange {
	const struct selection *selection;
	struct guid disks[DISKS_MAX]; /* by member: which one its headers name, if `named` */
	bool named[DISKS_MAX];
};

/* Units that can't be read, or that the pool never used, say nothing. */
static int find_name(void *argument, unsigned index)
{
	struct exchange *exchange = argument;
	const struct label *label = exchange->selection->label;
	const struct member *member = &exchange->selection->members[index];
	struct buffer *buffer = member->found ? buffer_new(CELL_SIZE) : NULL;
	uint32_t count = disk_au_count(member->config->size, label->au_shift);
	unsigned found = 0;
	int status = 0;

	if (member->found && !buffer)
		return -ENOMEM;
	for (uint32_t au = 0; buffer && au < count && au < HEADERS_TRIED && found < HEADERS_WANTED && status == 0; au++) {
		struct au_header header;
		status = disk_read(member->found->disk, DATA_START + ((uint64_t)au << label->au_shift), CELL_SIZE, buffer, 0);
		if (status < 0 || au_header_decode(buffer->data, &header) < 0 || memcmp(&header.pool, &label->pool, sizeof(header.pool)) != 0)
			continue;
		exchange->named[index] = memcmp(&header.disk, &member->config->guid, sizeof(header.disk)) != 0 &&
					 (found == 0 || memcmp(&header.disk, &exchange->disks[index], sizeof(header.disk)) == 0);
		exchange->disks[index] = header.disk;
		found++;
		if (!exchange->named[index])
			break;
	}
	buffer_unref(buffer);
	return 0;
}

/* Whose label belongs to what lies on a member; NULL: its own, as far as can be said. */
static const struct member *other_of(const struct exchange *exchange, unsigned index)
{
	const struct selection *selection = exchange->selection;

	for (unsigned i = 0; exchange->named[index] && i < selection->count; i++)
		if (exchange->named[i] && memcmp(&selection->members[i].config->guid, &exchange->disks[index], sizeof(struct guid)) == 0)
			return &selection->members[i];
	return NULL;
}

int selection_find_exchanged(struct rt *rt, const struct selection *selection, char *ret_text, size_t size)
{
	struct exchange *exchange = calloc(1, sizeof(*exchange));
	int status[DISKS_MAX], count = 0;
	bool no_memory = false;
	size_t used = 0;

	ret_text[0] = 0;
	if (!exchange)
		return -ENOMEM;
	exchange->selection = selection;
	run_each(rt, "headers", selection->count, find_name, exchange, status);
	for (unsigned i = 0; i < selection->count; i++) {
		const struct member *other = other_of(exchange, i);
		no_memory |= status[i] == -ENOMEM;
		if (!other)
			continue;
		if (used < size)
			used += (size_t)snprintf(ret_text + used, size - used, "%s%s has what was written to %s", count ? ", " : "",
						 selection->members[i].found->path, other->found->path);
		count++;
	}
	free(exchange);
	return no_memory ? -ENOMEM : count;
}

unsigned selection_count_absent(const struct selection *selection)
{
	unsigned count = 0;

	for (unsigned i = 0; i < selection->count; i++) {
		const struct member *member = &selection->members[i];
		const struct uberblock_state *state = selection_state_of(selection->chosen, member->config->index);
		bool is_behind = member->diverged || !member->newest || (state && state->stale_from);

		count += !member->fresh && (!member->found || is_behind);
	}
	return count;
}
