/*
 * The error counters of disks, kept with the pool: they count since they were last cleared, not since the import.
 * A record in MOS_PROPERTIES beside the disk's path, written by the keeper when something else is, and at export.
 */
#include <stdlib.h>
#include <string.h>

#include "libpool/base/endian.h"
#include "libpool/pool/internal.h"

enum { READ, WRITE, CHECKSUM, FLUSH, OVERDUE, COUNTERS };

struct raw_counters {
	le64 counters[COUNTERS];
};
_Static_assert(sizeof(struct raw_counters) == 40 && AT(raw_counters, counters, 0), "on disk");

uint64_t counters_overdue(struct engine *engine, unsigned index)
{
	const struct disk *disk = store_disk(core_store(engine->core), index)->disk;
	uint64_t cleared = engine->overdue_cleared[index];

	return engine->overdue_before[index] + (disk && disk->counters.overdue > cleared ? disk->counters.overdue - cleared : 0);
}

static int get(struct engine *engine, const struct guid *guid, struct raw_counters *ret_raw)
{
	char key[DISK_KEY_SIZE], value[OBJECT_VALUE_MAX];
	size_t key_length = disk_key(guid, "errs", key), length;
	int result = tree_get(core_mos_object(engine->core, MOS_PROPERTIES), key, key_length, value, sizeof(value), &length);

	*ret_raw = (struct raw_counters){0};
	if (result < 0)
		return result == -ENOENT ? 0 : result;
	if (length == sizeof(*ret_raw)) /* others are of no known form: as if there were none */
		memcpy(ret_raw, value, sizeof(*ret_raw));
	return 0;
}

int counters_load(struct engine *engine)
{
	const struct label *label = core_label(engine->core);

	for (unsigned i = 0; i < label->disk_count; i++) {
		const struct label_disk *configured = &label->disks[i];
		struct raw_counters raw;

		if (configured->state == DISK_REMOVED || configured->index >= DISKS_MAX)
			continue;
		int result = get(engine, &configured->guid, &raw);
		struct store_disk *disk = store_disk(core_store(engine->core), configured->index);

		if (result < 0)
			return result;
		disk->read_errors += le64_get(raw.counters[READ]);
		disk->write_errors += le64_get(raw.counters[WRITE]);
		disk->checksum_errors += le64_get(raw.counters[CHECKSUM]);
		disk->flush_errors += le64_get(raw.counters[FLUSH]);
		engine->overdue_before[configured->index] = le64_get(raw.counters[OVERDUE]);
	}
	engine->counters_loaded = true;
	return 0;
}

void counters_store(struct engine *engine)
{
	struct label *label = engine->counters_loaded ? malloc(sizeof(*label)) : NULL;

	if (!label)
		return;
	*label = *core_label(engine->core); /* it may change while this waits */
	for (unsigned i = 0; i < label->disk_count; i++) {
		const struct label_disk *configured = &label->disks[i];
		char key[DISK_KEY_SIZE];
		size_t length = disk_key(&configured->guid, "errs", key);
		struct raw_counters raw, stored;

		if (configured->state == DISK_REMOVED || configured->index >= DISKS_MAX ||
		    get(engine, &configured->guid, &stored) < 0)
			continue;
		const struct store_disk *disk = store_disk(core_store(engine->core), configured->index);

		raw = (struct raw_counters){{
			[READ] = le64_make(disk->read_errors),
			[WRITE] = le64_make(disk->write_errors),
			[CHECKSUM] = le64_make(disk->checksum_errors),
			[FLUSH] = le64_make(disk->flush_errors),
			[OVERDUE] = le64_make(counters_overdue(engine, configured->index)),
		}};
		if (memcmp(&raw, &stored, sizeof(raw)) != 0 &&
		    engine_mos_put(engine, MOS_PROPERTIES, key, length, &raw, sizeof(raw)) < 0)
			break;
	}
	free(label);
}

void counters_clear(struct engine *engine, unsigned index)
{
	struct store_disk *disk = store_disk(core_store(engine->core), index);

	disk->read_errors = disk->write_errors = disk->checksum_errors = disk->flush_errors = 0;
	engine->overdue_before[index] = 0;
	engine->overdue_cleared[index] = disk->disk ? disk->disk->counters.overdue : 0;
	keeper_ask(engine);
}
