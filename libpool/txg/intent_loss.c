/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What imports have given up of the intent log, because it was on log disks that are lost: kept in the pool, so that whoever comes later is
 * told, too, until somebody has cleared it.
 *
 * What must always hold: the commit that makes a loss final, as it no longer names the log, has the record of it; none that still names the log has it, as
 * then the next import may find all of it. Where the record can't be written, because the leaf for it is damaged, only this import tells.
 */
#include <errno.h>

#include "libpool/base/endian.h"
#include "libpool/txg/internal.h"

static const char loss_key[] = "log\0lost"; /* of MOS_PROPERTIES */
#define LOSS_KEY_SIZE (sizeof(loss_key) - 1)

struct raw_loss {
	le64 count, first_txg, last_txg, blocks, time_ns;
};
_Static_assert(sizeof(struct raw_loss) == 40 && AT(raw_loss, count, 0) && AT(raw_loss, first_txg, 8) && AT(raw_loss, last_txg, 16) &&
		       AT(raw_loss, blocks, 24) && AT(raw_loss, time_ns, 32), "on disk");

int intent_load_loss(struct core *core)
{
	uint8_t value[OBJECT_VALUE_MAX];
	struct raw_loss raw;
	size_t length = 0;
	int status = tree_get(core_mos_object(core, MOS_PROPERTIES), loss_key, LOSS_KEY_SIZE, value, sizeof(value), &length);

	if (status == 0 && length == sizeof(raw)) { /* others are of no known form: as if there were none */
		memcpy(&raw, value, sizeof(raw));
		core->intent.loss = (struct core_log_loss){ .count = le64_get(raw.count),
							    .first_txg = le64_get(raw.first_txg),
							    .last_txg = le64_get(raw.last_txg),
							    .blocks = le64_get(raw.blocks),
							    .time_ns = le64_get(raw.time_ns) };
	}
	return status == -ENOMEM ? status : 0;
}

int intent_note_loss(struct core *core, uint64_t first_txg, uint64_t last_txg, uint64_t blocks)
{
	core->intent.loss = (struct core_log_loss){ .count = core->intent.loss.count + 1,
						    .fresh = true,
						    .first_txg = first_txg,
						    .last_txg = last_txg,
						    .blocks = blocks,
						    .time_ns = rt_realtime(core->rt) };
	int status = tree_check(core_mos_object(core, MOS_PROPERTIES), loss_key, LOSS_KEY_SIZE);
	core->intent.loss_storable = status == 0;
	return status == -ENOMEM ? status : 0;
}

int intent_store_loss(struct core *core, uint64_t txg)
{
	const struct core_log_loss *loss = &core->intent.loss;

	/* It could be asked for only outside of a handle. */
	if (!core->intent.loss_storable)
		return 0;
	struct raw_loss raw = { le64_make(loss->count), le64_make(loss->first_txg), le64_make(loss->last_txg), le64_make(loss->blocks),
				le64_make(loss->time_ns) };
	return tree_put(core_mos_object(core, MOS_PROPERTIES), txg, loss_key, LOSS_KEY_SIZE, &raw, sizeof(raw));
}

const struct core_log_loss *core_log_loss(const struct core *core)
{
	return &core->intent.loss;
}

int core_log_loss_clear(struct core *core)
{
	struct object *properties = core_mos_object(core, MOS_PROPERTIES);
	uint64_t txg;

	/* One that couldn't be stored, or of an import that only reads, is nowhere else. */
	if (core->intent.loss.count <= 1 && core->intent.loss.fresh && (core->read_only || !core->intent.loss_storable))
		core->intent.loss = (struct core_log_loss){ 0 };
	if (core->intent.loss.count == 0)
		return 0;
	int status = tree_check(properties, loss_key, LOSS_KEY_SIZE);
	if (status == 0)
		status = core_hold_own(core, 0, &txg);
	if (status < 0)
		return status;
	status = tree_delete(properties, txg, loss_key, LOSS_KEY_SIZE);
	core_release(core, txg);
	if (status == 0)
		core->intent.loss = (struct core_log_loss){ 0 };
	return status;
}
