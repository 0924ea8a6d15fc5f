#include "tests/kill/reader.h"
#include "tests/kill/random.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#define PIECE_UNITS	64
#define REPAIR_LIMIT_NS UINT64_C(30000000000)

_Noreturn static void give_up(struct journal *journal, int result, const char *what, const char *text)
{
	journal_fail(journal, "%s after the kill: %d (%s) %s", what, result, libpool_strerror(result), text);
	_exit(1);
}

static void read_volume(struct journal *journal, libpool_pool *pool)
{
	static uint8_t buffer[PIECE_UNITS * UNIT];
	struct libpool_error error = {0};
	libpool_volume *volume;
	int result = libpool_volume_open(pool, VOLUME_NAME, NULL, &volume, &error);

	if (result != 0)
		give_up(journal, result, "open", error.text);
	for (uint32_t unit = 0; unit < UNITS; unit += PIECE_UNITS) {
		result = libpool_volume_read(volume, (uint64_t)unit * UNIT, sizeof(buffer), buffer);
		if (result != 0)
			give_up(journal, result, "read", "");
		for (uint32_t i = 0; i < PIECE_UNITS; i++) {
			char text[256];

			if (content_version(buffer + (size_t)i * UNIT, unit + i, &journal->found[unit + i]))
				continue;
			content_describe(buffer + (size_t)i * UNIT, text, sizeof(text));
			journal_fail(journal, "unit %" PRIu32 " is none of its versions: %s", unit + i, text);
			_exit(1);
		}
	}
	libpool_volume_close(volume);
}

static void verify(struct journal *journal, libpool_pool *pool)
{
	struct libpool_verify_result verified = {.size = sizeof(verified)};
	struct libpool_error error = {0};
	int result = libpool_verify(pool, NULL, &verified, &error);

	if (result != 0)
		give_up(journal, result, "verify", error.text);
	if (verified.violations == 0 && verified.damaged_blocks == 0)
		return;
	journal_fail(journal, "verify: %" PRIu64 " violations, %" PRIu64 " damaged blocks; the first: %s",
		     verified.violations, verified.damaged_blocks, verified.first);
	_exit(1);
}

static void repair(struct journal *journal, libpool_pool *pool, bool expect_healthy)
{
	struct libpool_pool_info info = {.size = sizeof(info)};
	int result = libpool_jobs_wait(pool, 0, REPAIR_LIMIT_NS);

	if (result != 0)
		give_up(journal, result, "repair", "");
	result = libpool_pool_info(pool, &info);
	if (result != 0)
		give_up(journal, result, "pool_info", "");
	journal->healthy = info.health == LIBPOOL_HEALTHY;
	if (info.damaged_ranges == 0 && !info.halted && (journal->healthy || !expect_healthy))
		return;
	journal_fail(journal,
		     "after repair, with %u of %u disks: health %u, halted %u, %" PRIu64
		     " damaged ranges, %" PRIu64 " stale cells, %" PRIu64 " degraded segments: %s",
		     info.disks_online, info.disk_count, info.health, info.halted, info.damaged_ranges,
		     info.stale_cells, info.segments_degraded, info.problem);
	_exit(1);
}

_Noreturn void reader_run(struct disks *disks, struct journal *journal, uint64_t seed)
{
	struct random random = {seed};
	struct libpool_error error = {0};
	libpool_pool *pool;
	int result = import_patiently(disks, journal, &pool, &error);
	bool repair_first = random_percent(&random, 50);

	if (result != 0)
		give_up(journal, result, "import", error.text);
	if (repair_first)
		repair(journal, pool, disks->hidden == 0);
	read_volume(journal, pool);
	verify(journal, pool);
	if (!repair_first) {
		repair(journal, pool, disks->hidden == 0);
		if (random_percent(&random, 50))
			verify(journal, pool);
	}
	if (random_percent(&random, 20)) {
		libpool_abandon(pool);
	} else if ((result = libpool_close(pool, &error)) != 0) {
		give_up(journal, result, "export", error.text);
	}
	_exit(0);
}

_Noreturn void importer_run(struct disks *disks, struct journal *journal)
{
	struct libpool_error error = {0};
	libpool_pool *pool;
	int result = import_patiently(disks, journal, &pool, &error);

	if (result != 0)
		give_up(journal, result, "import", error.text);
	(void)libpool_jobs_wait(pool, 0, 20000000);
	result = libpool_close(pool, &error);
	if (result != 0)
		give_up(journal, result, "export", error.text);
	_exit(0);
}
