/*
 * Four writers with units of their own write, zero and flush, until the process is killed or the power goes at some moment. What was
 * acknowledged before a flush began must be there, whoever flushed; and of each writer everything up to some change and nothing
 * that came later: a flush must not save a change without those that came before it. While an import looks at what lies beside the log,
 * reads of it may fail: it makes do, or refuses, and the next one has it all. Meanwhile an administrator takes disks offline, brings them back and replaces
 * them, so that columns move, and are made again, while blocks lie beside the log. Seeds 5 and 6: the log is on two disks of its own, of which
 * one is taken offline, removed, added again, and away at imports, and comes back with a log of long ago; nothing is lost with it.
 * Seeds 7 and 8: both may be away. Then an import refuses rather than lack what was flushed, and goes on if told so: what was committed is there, and each
 * later import tells of the loss until somebody clears it; the disks come back, and nothing of their log does.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scrub/verify.h"
#include "tests/sim/admin.h"

#define MIB (UINT64_C(1) << 20)
#define WRITERS 4u
#define UNITS 256u
#define UNIT 16384u
#define HISTORY 4096u /* changes of a writer in one boot */
#define BOOTS_DEFAULT 100u
#define BESIDE_MAX 512u
#define LOGS_FROM 5u /* the first seed with log disks */
#define LOG_STAYS 5u /* simulated disks: this log disk is always there */
#define LOG_GOES 6u
#define LOGS_LOST_FROM 7u /* the first seed in which both may go */
#define VICTIMS 2u /* disks that may be away: as many as the profile bears */

struct change {
	unsigned unit, number; /* number 0: zeros */
};

struct writer {
	struct sim_random random;
	unsigned index;
	struct change changes[HISTORY]; /* of this boot, in order */
	unsigned count, acknowledged, durable, committed;
};

struct flushes {
	struct world *world;
	struct volume *volume;
	struct writer writers[WRITERS];
	unsigned content[UNITS]; /* when the boot began */
	unsigned number;
	unsigned block;          /* bytes of a block of the volume */
	bool early; /* the process dies during the import */
	bool answered; /* the process dies as soon as a flush has succeeded */
	bool hard_to_read; /* what lies beside the log, in this import */
	struct {
		unsigned disk;
		uint64_t offset;
	} beside[BESIDE_MAX]; /* AUs with blocks beside the log, at the last flush */
	unsigned beside_count;
	uint64_t end_ns, end_at;
	/* Simulated disks that may be away or offline, and what takes their place; 0: nothing does. */
	bool logs, logs_lost;
	bool undecided; /* an import that was to give up the log may have died when it had done so */
	bool clearing;  /* likewise when it had cleared the loss */
	bool lossy;     /* a loss was told, and the process may die before all that is left has been looked at */
	uint64_t losses; /* that nobody has cleared */
	uint64_t removed, added, given_up, wanting;
	unsigned victims[VICTIMS], incoming[VICTIMS];
	uint64_t flushed, lost, replayed, placed, placed_in_boot, refused, failed_reads, offline, online, replaced;
};

static struct flushes test;

static void fill(uint8_t *data, unsigned unit, unsigned number)
{
	struct sim_random random;

	if (number == 0) {
		memset(data, 0, UNIT);
		return;
	}
	sim_random_stream(&random, number, "unit", unit);
	for (size_t i = 0; i < UNIT; i += 8) {
		uint64_t word = sim_random_next(&random);

		memcpy(data + i, &word, 8);
	}
}

/* Where an import may fail to read. */
static void note_beside(void)
{
	struct alloc *alloc = core_alloc(test.world->core);

	test.beside_count = 0;
	for (uint32_t id = 0; id < alloc_segment_count(alloc); id++) {
		const struct segment *segment = alloc_segment(alloc, id);

		if (!segment || segment->record.state != SEGMENT_OPEN || !(segment->record.flags & SEGMENT_AHEAD))
			continue;
		for (unsigned c = 0; c < (unsigned)segment->record.k + segment->record.m && test.beside_count < BESIDE_MAX; c++) {
			const struct segment_column *column = &segment->record.columns[c];

			if (column->disk == DISK_ABSENT)
				continue;
			test.beside[test.beside_count].disk = column->disk;
			test.beside[test.beside_count++].offset = DATA_START + ((uint64_t)column->au << test.world->plan.au_shift);
		}
	}
}

static bool may_fail(void *argument, const struct sim_fault_event *event)
{
	uint64_t au = UINT64_C(1) << test.world->plan.au_shift;

	(void)argument;
	for (unsigned i = 0; i < test.beside_count && test.hard_to_read; i++)
		if (test.beside[i].disk == event->disk->index && event->offset >= test.beside[i].offset &&
		    event->offset - test.beside[i].offset < au) {
			test.failed_reads++;
			return true;
		}
	return false;
}

static void flush(void)
{
	unsigned acknowledged[WRITERS];

	for (unsigned i = 0; i < WRITERS; i++)
		acknowledged[i] = test.writers[i].acknowledged;
	world_expect(test.world, volume_flush(test.volume), NULL, "flush");
	for (unsigned i = 0; i < WRITERS; i++)
		if (acknowledged[i] > test.writers[i].durable)
			test.writers[i].durable = acknowledged[i];
	test.flushed++;
	note_beside();
	uint64_t placed = core_log_counters(test.world->core)->placed;

	test.placed += placed - test.placed_in_boot;
	test.placed_in_boot = placed;
	if (test.answered && rt_now(test.world->rt) >= test.end_at) {
		world_kill(test.world);
		rt_sleep(test.world->rt, 1000 * NS_PER_S);
	}
}

static void commit(void)
{
	unsigned acknowledged[WRITERS];

	for (unsigned i = 0; i < WRITERS; i++)
		acknowledged[i] = test.writers[i].acknowledged;
	world_expect(test.world, core_commit(test.world->core), NULL, "commit");
	for (unsigned i = 0; i < WRITERS; i++)
		if (acknowledged[i] > test.writers[i].committed)
			test.writers[i].committed = acknowledged[i];
}

static void change(struct writer *writer, uint8_t *data, bool zero)
{
	unsigned unit = (unsigned)sim_random_below(&writer->random, UNITS / WRITERS) * WRITERS + writer->index;
	uint64_t offset = (uint64_t)unit * UNIT;
	int status;

	writer->changes[writer->count++] = (struct change){unit, zero ? 0 : ++test.number};
	fill(data, unit, zero ? 0 : test.number);
	unsigned mine = writer->count;

	status = zero ? volume_zero(test.volume, offset, UNIT) : volume_write(test.volume, offset, UNIT, data);
	world_expect(test.world, status, NULL, zero ? "zero" : "write");
	writer->acknowledged = mine;
}

static void step(struct writer *writer, uint8_t *data)
{
	uint64_t choice = sim_random_below(&writer->random, 32);

	if (choice < 4) /* a group of several blocks */
		for (unsigned i = 0; i < 12; i++)
			change(writer, data, false);
	else if (choice < 26)
		change(writer, data, choice < 8);
	if (choice < 4 || choice > 23)
		flush();
	if (choice == 30 && test.logs_lost)
		commit();
	if (choice == 31)
		rt_sleep(test.world->rt, sim_random_below(&writer->random, NS_PER_MS));
}

static void writer_main(void *argument)
{
	struct writer *writer = argument;
	uint8_t *data = sim_allocate(UNIT);

	while (writer->count + 12 < HISTORY)
		step(writer, data);
	free(data);
	rt_sleep(test.world->rt, 100 * NS_PER_S); /* the end comes to it */
}

/* The content after the first `count` changes. */
static bool is_content(const struct writer *writer, unsigned count, const unsigned found[UNITS])
{
	unsigned expected[UNITS];

	memcpy(expected, test.content, sizeof(expected));
	for (unsigned i = 0; i < count; i++)
		expected[writer->changes[i].unit] = writer->changes[i].number;
	for (unsigned unit = writer->index; unit < UNITS; unit += WRITERS)
		if (expected[unit] != found[unit])
			return false;
	return true;
}

static void explain(const struct writer *writer, const unsigned found[UNITS])
{
	for (unsigned unit = writer->index; unit < UNITS; unit += WRITERS) {
		fprintf(stderr, "unit %u is %u; was %u", unit, found[unit], test.content[unit]);
		for (unsigned i = 0; i < writer->count; i++)
			if (writer->changes[i].unit == unit)
				fprintf(stderr, ", [%u] %u", i + 1, writer->changes[i].number);
		fprintf(stderr, "\n");
	}
	world_fail(test.world, "writer %u: of %u changes, %u acknowledged and %u of them durable, there is no such state", writer->index,
		   writer->count, writer->acknowledged, writer->durable);
}

static unsigned identify(unsigned unit, const uint8_t *data, uint8_t *expected)
{
	const struct writer *writer = &test.writers[unit % WRITERS];

	for (unsigned i = writer->count + 1; i-- > 0;) {
		const struct change change = i ? writer->changes[i - 1] : (struct change){unit, test.content[unit]};

		if (change.unit != unit)
			continue;
		fill(expected, unit, change.number);
		if (memcmp(expected, data, UNIT) == 0)
			return change.number;
	}
	world_fail(test.world, "unit %u: neither what was there nor anything later", unit);
}

/* With `lost` of what was flushed only what was committed is promised. */
static void check(bool lost)
{
	uint8_t *data = sim_allocate(UNIT), *expected = sim_allocate(UNIT);
	unsigned found[UNITS];

	for (unsigned unit = 0; unit < UNITS; unit++) {
		world_expect(test.world, volume_read(test.volume, (uint64_t)unit * UNIT, UNIT, data), NULL, "read");
		found[unit] = identify(unit, data, expected);
	}
	for (unsigned i = 0; i < WRITERS; i++) {
		struct writer *writer = &test.writers[i];
		unsigned count = writer->count;

		while (!is_content(writer, count, found))
			if (count-- == (lost ? writer->committed : writer->durable))
				explain(writer, found);
		test.lost += writer->count - count;
		writer->count = writer->acknowledged = writer->durable = writer->committed = 0;
	}
	test.lossy = false;
	memcpy(test.content, found, sizeof(found));
	free(expected);
	free(data);
}

/* ---- the administrator ---- */

static void replace(unsigned which)
{
	struct sim_disk *old = test.world->set->disks[test.victims[which]];
	struct pool_error error = {0};

	for (unsigned i = 0; i < VICTIMS; i++)
		if (test.incoming[i] || !test.world->set->disks[test.victims[i]]->present)
			return;
	if (test.world->set->count == 20)
		return;
	struct sim_disk *new = sim_disks_add(test.world->set, old->size);
	struct libpool_replace_options options = {.size = sizeof(options), .old_disk = old->path, .new_disk = new->path};

	test.incoming[which] = new->index;
	test.world->retired |= 1u << new->index; /* until it is part of the pool */
	test.replaced += engine_disk_replace(test.world->engine, &options, &error) == 0;
}

static void change_logs(struct sim_random *random)
{
	struct engine *engine = test.world->engine;
	const struct sim_disk *disk = test.world->set->disks[LOG_GOES];
	const char *path = disk->path;
	struct libpool_disk_add_options options = {.size = sizeof(options), .disks = &path, .disk_count = 1, .role = ROLE_LOG, .force = 1};
	struct pool_error error = {0};

	if (!disk->present)
		return;
	switch (sim_random_below(random, 4)) {
	case 0:
		test.offline += engine_disk_offline(engine, path, false, &error) == 0;
		break;
	case 1:
		test.online += engine_disk_online(engine, path, path, false, &error) == 0;
		break;
	case 2:
		test.removed += engine_disk_remove(engine, path, false, &error) == 0;
		break;
	default:
		test.added += engine_disk_add(engine, &options, &error) == 0;
	}
}

static void administrator_main(void *argument)
{
	struct pool_error error = {0};
	struct sim_random random;

	(void)argument;
	sim_random_stream(&random, test.world->plan.seed, "administrator", test.world->boot);
	for (;;) {
		rt_sleep(test.world->rt, sim_random_below(&random, 5 * NS_PER_MS));
		unsigned which = (unsigned)sim_random_below(&random, VICTIMS);
		const struct sim_disk *disk = test.world->set->disks[test.victims[which]];
		uint64_t choice = sim_random_below(&random, 8);

		if (test.logs && sim_random_below(&random, 2)) {
			change_logs(&random);
			continue;
		}
		if (!disk->present)
			continue;
		if (choice < 3)
			test.offline += engine_disk_offline(test.world->engine, disk->path, false, &error) == 0;
		else if (choice < 7)
			test.online += engine_disk_online(test.world->engine, disk->path, disk->path, false, &error) == 0;
		else
			replace(which);
		error = (struct pool_error){0};
	}
}

/* Who has replaced whom by now. */
static void settle_victims(void)
{
	for (unsigned i = 0; i < VICTIMS; i++) {
		if (!test.incoming[i])
			continue;
		world_note_members(test.world);
		if (test.world->retired >> test.incoming[i] & 1) {
			test.incoming[i] = 0; /* it never was */
		} else if (test.world->retired >> test.victims[i] & 1) {
			test.victims[i] = test.incoming[i];
			test.incoming[i] = 0;
		}
	}
}

static void die(struct rt_timer *timer)
{
	(void)timer;
	world_kill(test.world);
}

static struct rt_timer end_timer;

/* True if a loss is told that wasn't told before, or not in an import that lived to see what it has taken: then it is final. */
static bool is_told(struct world *world)
{
	const struct core_log_loss *loss = core_log_loss(world->core);

	if (test.clearing && loss->count == 0)
		test.losses = 0;
	test.clearing = false;
	bool more = loss->count > test.losses;

	if (loss->count < test.losses || loss->count > test.losses + 1 || (more && !test.undecided))
		world_fail(world, "%" PRIu64 " losses of the log are told, there were %" PRIu64, loss->count, test.losses);
	test.given_up += more;
	test.losses = loss->count;
	test.lossy |= more;
	return test.lossy;
}

static void body(struct world *world)
{
	struct pool_error error = {0};
	bool gives_up = test.logs_lost && sim_random_below(&world->random, 2);

	end_timer = (struct rt_timer){.fire = die};
	if (test.early)
		rt_timer_arm(world->rt, &end_timer, rt_now(world->rt) + test.end_ns);
	bool with_engine = sim_random_below(&world->random, 2);
	world->missing_log = gives_up;
	test.undecided |= gives_up;
	int status = world_import(world, with_engine, &error);
	world->missing_log = false;
	if (status == -POOL_EDEGRADED && test.logs_lost && !gives_up && strstr(error.text, "--missing-log")) {
		test.wanting++;
		world_kill(world);
		rt_sleep(world->rt, 1000 * NS_PER_S);
	}
	if (status < 0 && test.hard_to_read) {
		test.refused++;
		world_kill(world);
		rt_sleep(world->rt, 1000 * NS_PER_S);
	}
	world_expect(world, status, &error, "import");
	test.hard_to_read = false;
	settle_victims();
	test.replayed += world->log.replayed;
	test.placed_in_boot = 0;
	world_expect(world, volume_open(world->datasets, "v", &test.volume, &error), &error, "open");
	check(is_told(world));
	test.undecided = false;
	if (test.losses && sim_random_below(&world->random, 4) == 0) {
		test.clearing = true;
		world_expect(world, core_log_loss_clear(world->core), NULL, "clear");
		world_expect(world, core_commit(world->core), NULL, "commit");
		test.clearing = false;
		test.losses = 0;
	}
	/* No cell is wrong that nothing says it is: what lacks a column after a power cut was never promised. */
	if (sim_random_below(&world->random, 4) == 0)
		admin_verify(world, VERIFY_CELLS);
	for (unsigned i = 0; i < WRITERS; i++) {
		struct writer *writer = &test.writers[i];

		sim_random_stream(&writer->random, world->plan.seed, "writer", world->boot * WRITERS + i);
		world_expect(world, rt_spawn(world->rt, "writer", writer_main, writer), NULL, "spawn");
	}
	if (with_engine)
		world_expect(world, rt_spawn(world->rt, "administrator", administrator_main, NULL), NULL, "spawn");
	test.end_at = rt_now(world->rt) + test.end_ns;
	if (!test.early && !test.answered)
		rt_timer_arm(world->rt, &end_timer, test.end_at);
	rt_sleep(world->rt, 1000 * NS_PER_S);
}

static void last_body(struct world *world)
{
	struct pool_error error = {0};

	world_expect(world, world_import(world, false, &error), &error, "import");
	world_expect(world, volume_open(world->datasets, "v", &test.volume, &error), &error, "open");
	check(is_told(world));
	volume_close(test.volume);
	world_expect(world, world_export(world, &error), &error, "export");
}

static void create_body(struct world *world)
{
	struct pool_error error = {0};

	world_expect(world, world_create(world, &error), &error, "create");
}

static void volume_body(struct world *world)
{
	struct pool_error error = {0};

	world_expect(world, world_import(world, false, &error), &error, "import");
	for (unsigned i = LOG_STAYS; i <= LOG_GOES && test.logs; i++) {
		struct disk *disk;
		unsigned index;

		world_expect(world, world->provider->ops->open(world->provider, world->rt, world->set->disks[i]->path, DISK_OPEN_EXCLUSIVE, &disk, &error),
			     &error, "open");
		world_expect(world, core_disk_add(world->core, disk, ROLE_LOG, &index, &error), &error, "log disk");
	}
	if (test.logs)
		world_expect(world, core_log_disks_use(world->core), NULL, "log disks");
	world_expect(world, volume_create(world->datasets, "v", (uint64_t)UNITS * UNIT, test.block, 0, &error), &error, "volume");
	world_expect(world, world_export(world, &error), &error, "export");
}

/* Disks that somebody else holds for a while: the pool is imported without them. */
static void shuffle(struct sim_random *random)
{
	unsigned away = sim_random_below(random, 3) ? 0 : (unsigned)sim_random_below(random, 1u << VICTIMS);

	for (unsigned i = 0; i < VICTIMS; i++)
		away = test.incoming[i] ? 0 : away; /* columns are in both */
	for (unsigned i = 0; i < VICTIMS; i++) {
		struct sim_disk *disk = test.world->set->disks[test.victims[i]];

		if (away >> i & 1 && disk->present)
			sim_disk_vanish(disk, SIM_CRASH_ALL);
		else if (!(away >> i & 1) && !disk->present)
			sim_disk_return(disk);
	}
	struct sim_disk *log = test.logs ? test.world->set->disks[LOG_GOES] : NULL;
	bool log_away = log && sim_random_below(random, 3) == 0;

	if (log_away && log->present)
		sim_disk_vanish(log, SIM_CRASH_ALL);
	else if (log && !log_away && !log->present)
		sim_disk_return(log);
	struct sim_disk *other = test.logs_lost ? test.world->set->disks[LOG_STAYS] : NULL;
	bool other_away = log_away && sim_random_below(random, 2);

	if (other && other_away && other->present)
		sim_disk_vanish(other, SIM_CRASH_ALL);
	else if (other && !other_away && !other->present)
		sim_disk_return(other);
}

static void run(uint64_t seed, unsigned boots)
{
	struct plan plan = {.seed = seed, .disks = 5, .k = 2, .m = 2, .au_shift = 18, .commit_interval_ns = 50 * NS_PER_MS,
			    .dirty_limit = 8 * MIB};

	for (unsigned i = 0; i < plan.disks; i++) {
		plan.disk_bytes[i] = 64 * MIB;
		plan.fua[i] = seed & 1;
	}
	test = (struct flushes){.world = world_new(&plan), .block = seed % 4 == 1 ? 4096 : UNIT,
				.victims = {1, 2}, .logs = seed >= LOGS_FROM, .logs_lost = seed >= LOGS_LOST_FROM};
	for (unsigned i = 0; i < WRITERS; i++)
		test.writers[i].index = i;
	test.world->set->hooks.allow_fault = may_fail;
	world_boot(test.world, create_body);
	for (unsigned i = LOG_STAYS; i <= LOG_GOES && test.logs; i++)
		sim_disks_add(test.world->set, 64 * MIB)->fua = seed & 1;
	world_boot(test.world, volume_body);
	for (unsigned i = 0; i < boots; i++) {
		struct sim_random *random = &test.world->random;

		test.world->doing = "writers";
		test.early = sim_random_below(random, 4) == 0;
		/* A log disk that leaves takes some commits. */
		test.end_ns = sim_random_below(random, (test.early ? 15 : test.logs ? 400 : 150) * NS_PER_MS);
		for (unsigned d = 0; d < test.world->set->count; d++)
			test.world->set->disks[d]->rates[SIM_READ_ERROR] = (uint32_t)sim_random_between(random, 200000, 700000);
		test.hard_to_read = sim_random_below(random, 2);
		test.answered = sim_random_below(random, 2);
		shuffle(random);
		if (sim_random_below(random, 4))
			sim_disks_cut_at(test.world->set, test.world->set->operations + sim_random_below(random, test.logs ? 4000 : 600));
		enum world_end end = world_boot(test.world, body);

		sim_disks_cut_at(test.world->set, UINT64_MAX);
		if (end == WORLD_POWER_CUT)
			world_power_cut(test.world, SIM_CRASH_ANY);
		else if (end == WORLD_ENDED)
			world_fail(test.world, "the boot ended by itself");
	}
	for (unsigned i = 0; i < VICTIMS; i++)
		if (!test.world->set->disks[test.victims[i]]->present)
			sim_disk_return(test.world->set->disks[test.victims[i]]);
	for (unsigned i = LOG_STAYS; i <= LOG_GOES && test.logs_lost; i++)
		if (!test.world->set->disks[i]->present)
			sim_disk_return(test.world->set->disks[i]);
	test.hard_to_read = false;
	world_boot(test.world, last_body);
	printf("ok  seed %" PRIu64 ": %u boots, %u writes, %" PRIu64 " flushes, %" PRIu64 " changes lost, %" PRIu64 " records replayed, %" PRIu64
	       " blocks placed beside the log, %" PRIu64 " reads of them failed, %" PRIu64 " imports refused; disks: %" PRIu64 " times offline, %" PRIu64
	       " online, %" PRIu64 " replaced; log disks: %" PRIu64 " removed, %" PRIu64 " added, %" PRIu64 " imports want them, %" PRIu64 " logs given up\n", seed, boots, test.number, test.flushed, test.lost, test.replayed, test.placed, test.failed_reads,
	       test.refused, test.offline, test.online, test.replaced, test.removed, test.added,
	       test.wanting, test.given_up);
	if (test.logs_lost && (!test.wanting || !test.given_up))
		world_fail(test.world, "no log was lost");
	if (!test.logs_lost && (test.block == UNIT && !test.logs) != (test.placed > 0))
		world_fail(test.world, "blocks of %u bytes: %" PRIu64 " placed beside the log", test.block, test.placed);
	world_free(test.world);
}

int main(int count, char **words)
{
	uint64_t first = 1, last = 8;

	setvbuf(stdout, NULL, _IOLBF, 0);

	if (count > 2) {
		first = strtoull(words[1], NULL, 10);
		last = strtoull(words[2], NULL, 10);
	}
	for (uint64_t seed = first; seed <= last; seed++)
		run(seed, BOOTS_DEFAULT);
	return 0;
}
