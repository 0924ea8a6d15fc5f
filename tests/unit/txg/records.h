/* Content for tests of the core without datasets: numbered records in one of the MOS trees. */
#ifndef TESTS_UNIT_TXG_RECORDS_H
#define TESTS_UNIT_TXG_RECORDS_H

#include "libpool/txg/internal.h"
#include "tests/unit/txg/machine.h"

static inline int record_put(struct machine *machine, uint32_t number, uint32_t value)
{
	uint64_t txg;
	int status = core_hold(machine->core, 16, &txg);

	if (status < 0)
		return status;
	status = tree_put(core_mos_object(machine->core, MOS_PROPERTIES), txg, &number, sizeof(number), &value, sizeof(value));
	core_release(machine->core, txg);
	return status;
}

/* 0 if there is none. */
static inline uint32_t record_get(struct machine *machine, uint32_t number)
{
	uint32_t value = 0;
	size_t length;
	int status = tree_get(core_mos_object(machine->core, MOS_PROPERTIES), &number, sizeof(number), &value, sizeof(value), &length);

	expect(status == 0 || status == -ENOENT);
	return value;
}

/* One commit with one change: the txg in which record 1 has this value. */
static inline uint64_t record_commit(struct machine *machine, uint32_t value)
{
	expect_done(machine, record_put(machine, 1, value));
	expect_done(machine, core_commit(machine->core));
	return core_committed_txg(machine->core);
}

static inline void machine_export(struct machine *machine)
{
	expect_done(machine, core_export(machine->core, &machine->error));
}

/* As after the death of the process. */
static inline void machine_abandon(struct machine *machine)
{
	core_abandon(machine->core);
}

#endif
