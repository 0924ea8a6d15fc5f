/*
 * The end of an import, in good order (export) or at once (abandon).
 *
 * What must always hold: background fibers end first, then the sync, then datasets and core are freed: a sync that is
 * under way still uses what the datasets own. A dead disk can't hold any of it up for longer than its deadline.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/pool/internal.h"

void engine_stop_background(struct engine *engine)
{
	/* First: a job that is just ending may wait for the lock that a look at a disk that hangs has. */
	engine->watch_ends = true;
	rt_queue_wake_all(engine->rt, &engine->watch_wake);
	jobs_stop(engine);
	engine->stopping = true;
	rt_queue_wake_all(engine->rt, &engine->keeper_wake);
	autotrim_ask(engine);
	if (engine->fibers.pending)
		(void)rt_group_wait(engine->rt, &engine->fibers);
}

/* "a, b and 3 more" */
static void list_open(struct engine *engine, char *ret_text, size_t size)
{
	struct dataset_record *records = NULL;
	size_t count = 0, used = 0;
	unsigned more = 0;

	ret_text[0] = 0;
	if (volumes_list(engine->datasets, &records, &count) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		struct volume *volume;

		if (volume_open(engine->datasets, records[i].name, &volume, NULL) < 0)
			continue;
		if (volume_open_count(volume) > 1) {
			if (used + 64 < size)
				used += (size_t)snprintf(ret_text + used, size - used, "%s%.60s", used ? ", " : "", records[i].name);
			else
				more++;
		}
		volume_close(volume);
	}
	if (more)
		snprintf(ret_text + used, size - used, " and %u more", more);
	free(records);
}

int engine_export(struct engine *engine, struct pool_error *error)
{
	unsigned open = datasets_open_volumes(engine->datasets);
	char names[300];
	int result;

	if (open) {
		list_open(engine, names, sizeof(names));
		return pool_error_set(error, -EBUSY, "pool %s can't be exported: volumes are open: %s",
				      core_label(engine->core)->name, names);
	}
	engine_stop_background(engine);
	core_stop(engine->core);
	datasets_close(engine->datasets);
	result = core_export(engine->core, error);
	engine_free(engine);
	return result;
}

void engine_halt(struct engine *engine, const char *why)
{
	core_halt(engine->core, why);
}

void engine_abandon(struct engine *engine)
{
	core_halt(engine->core, "abandoned");
	engine_stop_background(engine);
	core_stop(engine->core);
	if (engine->datasets)
		datasets_close(engine->datasets);
	core_abandon(engine->core);
	engine_free(engine);
}
