/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See logs.h. Draws from a random stream of its own, so that histories without it stay what they are.
 *
 * What must always hold, where the history isn't one in which all may go: of the log disks that the pool has, never more are suspect than the
 * copies of its log survive. Disks of data have a budget of their own (faults.h): a part of the log lies either on these or on those.
 */
#include "tests/sim/logs.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/store/store.h"

#define SET_MAX 30u /* simulated disks: masks have 32 bits */
#define JOIN_MAX 3u
#define MEMBERS_MAX 4u
#define SILENT (1u << SIM_WRITE_LOST | 1u << SIM_FLUSH_LIE | 1u << SIM_ROT)

static struct {
	struct sim_random draws;
	unsigned budget; /* how many may go without any loss */
	uint32_t silent; /* disks that may lack what they said they have, for as long as they are in the pool */
	bool clean;      /* exported: there is nothing in the log */
	bool undecided;  /* an import that was to give up the log may have died when it had done so */
	bool clearing;   /* likewise when the loss was cleared */
	bool lossy;      /* a loss was told, and not all that is left has been looked at */
	uint64_t losses; /* that nobody has cleared */
	unsigned running;
} logs;

static uint64_t below(uint64_t bound)
{
	return sim_random_below(&logs.draws, bound);
}

static uint32_t members(const struct world *world)
{
	return world->log_disks & ~world->retired;
}

static unsigned budget_for(const struct world *world, unsigned disks)
{
	unsigned copies = world->plan.m ? world->plan.m + 1 : 2;

	copies = disks < copies ? disks : copies;
	return copies ? copies - 1 : 0;
}

static unsigned suspects(const struct world *world)
{
	return (unsigned)__builtin_popcount(world->log_suspects & members(world));
}

/* Whether the pool may rightly lack a part of its log. */
static bool may_be_lost(const struct world *world)
{
	return !logs.clean && suspects(world) > logs.budget;
}

static void lower_budget(const struct world *world, unsigned disks)
{
	unsigned budget = budget_for(world, disks);

	logs.budget = budget < logs.budget ? budget : logs.budget;
}

/* The nth disk of a mask, by chance; NULL: it has none. */
static struct sim_disk *any_of(struct world *world, uint32_t mask)
{
	if (!mask)
		return NULL;
	for (unsigned skip = (unsigned)below((unsigned)__builtin_popcount(mask)); skip; skip--)
		mask &= mask - 1;
	return world->set->disks[__builtin_ctz(mask)];
}

/* A log disk that may suffer; NULL: none may. */
static struct sim_disk *victim(struct world *world)
{
	struct sim_disk *disk = any_of(world, members(world));

	if (!disk || world->log_suspects >> disk->index & 1)
		return disk;
	if (!world->plan.log_may_go && suspects(world) >= logs.budget)
		return any_of(world, members(world) & world->log_suspects);
	world->log_suspects |= 1u << disk->index;
	return disk;
}

/* ---- what is in order ---- */

static bool has_faults(const struct sim_disk *disk)
{
	bool has = !disk->present;

	for (unsigned fault = 0; fault < SIM_FAULT_COUNT; fault++)
		has |= disk->rates[fault] != 0;
	return has;
}

static uint32_t healthy(struct world *world)
{
	uint32_t mask = 0;

	for (unsigned i = 0; i < DISKS_MAX; i++) {
		const struct store_disk *member = store_disk(core_store(world->core), i);
		const struct sim_disk *disk = member->configured && member->role == ROLE_LOG && member->disk ? world_disk(world, i) : NULL;

		if (disk && member->state == DISK_ONLINE && !has_faults(disk))
			mask |= 1u << disk->index;
	}
	return mask & ~logs.silent;
}

/* After a commit the log is on what was in order before, and is nowhere else. */
static void settle(struct world *world)
{
	uint32_t before = healthy(world);

	if (core_commit_forced(world->core) < 0)
		return;
	world->log_suspects &= ~(before & healthy(world));
	logs.budget = budget_for(world, (unsigned)__builtin_popcount(members(world)));
}

void logs_forget(struct world *world)
{
	if (world->plan.changes)
		settle(world);
}

/* ---- they come and go ---- */

static _Noreturn void fail(struct world *world, const char *what, int result, const struct pool_error *error)
{
	world_fail(world, "%s of log disks: %s%s%s", what, pool_error_string(result), error->text[0] ? ": " : "", error->text);
}

/* One that has left, that never joined, or a new one; NULL: there have been too many. */
static struct sim_disk *spare(struct world *world, uint32_t taken)
{
	uint32_t mask = world->log_disks & world->retired & ~taken;

	for (unsigned i = 0; i < world->set->count; i++)
		if (!world->set->disks[i]->present)
			mask &= ~(1u << i);
	if (mask && below(2))
		return any_of(world, mask);
	if (world->set->count >= SET_MAX)
		return any_of(world, mask);
	/* At least 64 allocation units. */
	uint64_t mib = UINT64_C(1) << 20, least = (UINT64_C(64) << world->plan.au_shift) + 2 * mib;

	least = least < 64 * mib ? 64 * mib : least;
	struct sim_disk *disk = sim_disks_add(world->set, least + below(least / mib) * mib);

	disk->fua = below(2);
	world->log_disks |= 1u << disk->index;
	world->retired |= 1u << disk->index;
	return disk;
}

static bool is_halted(struct world *world)
{
	const char *why;

	return core_halted(world->core, &why);
}

/* A number is of one disk for ever, so whoever has replaced so many may add none. */
static bool has_numbers(struct world *world, size_t count)
{
	const struct label *label = core_label(world->core);
	size_t used = 0;

	for (unsigned i = 0; i < label->disk_count; i++)
		used = label->disks[i].index >= used ? label->disks[i].index + 1u : used;
	return used + count <= DISKS_MAX;
}

static void join(struct world *world, unsigned count)
{
	unsigned there = (unsigned)__builtin_popcount(members(world));

	const char *paths[JOIN_MAX];
	struct libpool_disk_add_options options = {.size = sizeof(options), .disks = paths, .role = ROLE_LOG, .force = 1};
	struct pool_error error = {0};
	bool hangs = world->plan.log_fault_kinds & (1u << SIM_HANG | 1u << SIM_HANG_LATE);
	uint32_t coming = 0;

	while (options.disk_count < count && there + options.disk_count < MEMBERS_MAX) {
		struct sim_disk *disk = spare(world, coming);

		if (!disk)
			return;
		sim_disk_faults_clear(disk);
		coming |= 1u << disk->index;
		paths[options.disk_count++] = disk->path;
	}
	if (!coming)
		return;
	world->log_suspects &= ~coming; /* what they had of a log is of none that counts */
	logs.silent &= ~coming;
	bool numbered = has_numbers(world, options.disk_count);
	int result = engine_disk_add(world->engine, &options, &error);

	world_note_members(world);
	uint32_t joined = coming & members(world);

	if (joined && joined != coming)
		world_fail(world, "of log disks 0x%x that were to join 0x%x have (%s)", coming, joined, pool_error_string(result));
	if (!numbered && (result == 0 || joined))
		world_fail(world, "%zu log disks were added to a pool that has had as many disks as it may", options.disk_count);
	if (!joined && !has_numbers(world, options.disk_count)) /* who replaced a disk may have been quicker */
		return;
	/* As long as a request of its life before is on its way it is in use. */
	if (result == -POOL_EINUSE && hangs && !joined)
		return;
	if (result < 0 && (joined ? !is_halted(world) : !world->suspects && !world->log_suspects))
		fail(world, "add", result, &error);
	if (result == 0 && !joined)
		world_fail(world, "log disks 0x%x were added and are none", coming);
	world->statistics.logs_added += options.disk_count * (result == 0);
	if (result == 0)
		settle(world);
}

static void leave(struct world *world)
{
	struct sim_disk *disk = any_of(world, members(world));
	struct pool_error error = {0};

	if (!disk)
		return;
	unsigned left = (unsigned)__builtin_popcount(members(world)) - 1;
	unsigned bad = suspects(world) - (world->log_suspects >> disk->index & 1);

	if (!world->plan.log_may_go && bad > budget_for(world, left))
		return;
	lower_budget(world, left);
	int result = engine_disk_remove(world->engine, disk->path, false, &error);

	/* What isn't there has no path that the pool knows. */
	if (result < 0 && disk->present && !world->suspects && !world->log_suspects)
		fail(world, "removal", result, &error);
	world_note_members(world);
	if (result == 0 && members(world) >> disk->index & 1)
		world_fail(world, "%s was removed and is a log disk", disk->path);
	world->statistics.logs_removed += result == 0;
	if (result == 0)
		settle(world);
}

static void online(struct world *world)
{
	struct sim_disk *disk = any_of(world, members(world));
	struct pool_error error = {0};

	if (disk && disk->present)
		(void)engine_disk_online(world->engine, disk->path, disk->path, false, &error);
}

static void offline(struct world *world)
{
	struct sim_disk *disk = victim(world);
	struct pool_error error = {0};

	if (disk)
		(void)engine_disk_offline(world->engine, disk->path, false, &error);
}

/* Who has seen it doesn't want to be told of the loss any more. */
static void clear(struct world *world)
{
	struct pool_error error = {0};

	if (core_log_loss(world->core)->count == 0)
		return;
	logs.clearing = true;
	if (engine_clear(world->engine, NULL, &error) < 0 || core_commit_forced(world->core) < 0)
		return;
	logs.clearing = false;
	logs.losses = 0;
}

/* ---- faults ---- */

static void pull(struct world *world, struct sim_disk *disk)
{
	if (!disk || !disk->present)
		return;
	sim_disk_vanish(disk, SIM_CRASH_ANY);
	world->statistics.logs_faulty++;
}

static void put_back(struct world *world, unsigned one_in)
{
	for (unsigned i = 0; i < world->set->count; i++)
		if (world->log_disks >> i & 1 && !world->set->disks[i]->present && below(one_in) == 0)
			sim_disk_return(world->set->disks[i]);
}

static void inject(struct world *world)
{
	uint32_t kinds = world->plan.log_fault_kinds;
	struct sim_disk *disk = kinds ? victim(world) : NULL;

	if (!disk)
		return;
	for (unsigned skip = (unsigned)below((unsigned)__builtin_popcount(kinds)); skip; skip--)
		kinds &= kinds - 1;
	enum sim_fault fault = (enum sim_fault)__builtin_ctz(kinds);

	if (fault == SIM_VANISH) {
		pull(world, disk);
		return;
	}
	if (1u << fault & SILENT)
		logs.silent |= 1u << disk->index;
	world->statistics.logs_faulty++;
	if (fault == SIM_ROT) {
		for (unsigned i = 0; i < 30; i++)
			sim_disk_rot(disk, below((below(2) ? disk->size : UINT64_C(4) << 20) / SIM_CELL) * SIM_CELL);
	} else if (below(2)) {
		disk->rates[fault] = (uint32_t)sim_random_between(&logs.draws, 1000, 300000);
	} else {
		sim_disk_fault(disk, fault, 0, 0, below(30), 1 + below(5), 0);
	}
}

void logs_between_boots(struct world *world)
{
	if (!world->plan.changes)
		return;
	put_back(world, 3);
	while (world->plan.log_fault_kinds >> SIM_VANISH & 1 && below(3) < 2)
		pull(world, victim(world));
	for (unsigned i = 0, all = world->plan.log_may_go && below(3) == 0; i < world->set->count && all; i++)
		if (members(world) >> i & 1) {
			world->log_suspects |= 1u << i;
			pull(world, world->set->disks[i]);
		}
}

/* ---- imports ---- */

static void all_back(struct world *world)
{
	for (unsigned i = 0; i < world->set->count; i++) {
		if (!(world->log_disks >> i & 1))
			continue;
		if (!world->set->disks[i]->present)
			sim_disk_return(world->set->disks[i]);
		sim_disk_faults_clear(world->set->disks[i]);
	}
}

/* An import that has failed holds disks until they have ended what it had asked for; as long as one is held the next finds the pool in use. */
static void let_go(struct world *world)
{
	for (unsigned i = 0; i < world->set->count; i++) {
		sim_disk_release_hung(world->set->disks[i], below(2));
		while (sim_disk_is_held(world->set->disks[i])) /* what is only late ends by itself */
			rt_sleep(world->rt, NS_PER_S);
	}
}

/* What it tells is what it was told to give up, and what was told before. */
static void judge(struct world *world)
{
	const struct core_log_loss *loss = core_log_loss(world->core);

	if (logs.clearing && loss->count == 0)
		logs.losses = 0;
	logs.clearing = false;
	bool more = loss->count > logs.losses;

	if (loss->count < logs.losses || loss->count > logs.losses + 1 || (more && !logs.undecided))
		world_fail(world, "%" PRIu64 " losses of the log are told, there were %" PRIu64 "%s", loss->count, logs.losses,
			   logs.undecided ? ", and one more may be" : "");
	if (loss->count && (loss->first_txg == 0 || loss->last_txg != loss->first_txg + 1 || loss->last_txg > core_committed_txg(world->core)))
		world_fail(world, "a loss of txgs %" PRIu64 " and %" PRIu64 " is told", loss->first_txg, loss->last_txg);
	world->statistics.logs_lost += more;
	logs.losses = loss->count;
	logs.lossy |= more;
	world->model.log_is_lost = logs.lossy;
}

void logs_import(struct world *world, bool with_engine)
{
	bool gives_up, all_there = false;

	sim_random_stream(&logs.draws, world->plan.seed, "logs", world->boot);
	gives_up = below(4) == 0;
	for (;;) {
		struct pool_error error = {0};

		world->missing_log = gives_up;
		logs.undecided |= gives_up && may_be_lost(world);
		int status = world_import(world, with_engine, &error);

		world->missing_log = false;
		if (status == 0)
			break;
		if (gives_up || all_there || status != -POOL_EDEGRADED || !strstr(error.text, "--missing-log") || !may_be_lost(world))
			world_fail(world, "import: %s: %s (log disks 0x%x, suspect 0x%x, %u may go)", pool_error_string(status), error.text,
				   members(world), world->log_suspects & members(world), logs.budget);
		world->statistics.logs_wanted++;
		let_go(world);
		/* With all of them there is nothing to be missed, but what they have lost themselves. */
		gives_up = below(2);
		if (!gives_up) {
			all_back(world);
			all_there = !(logs.silent & members(world));
			gives_up = !all_there;
		}
	}
	logs.clean = false;
	logs.running = 0; /* what a crash has ended */
	judge(world);
}

void logs_recovered(struct world *world)
{
	if (!world->plan.changes)
		return;
	logs.lossy = false;
	logs.undecided = false;
	world->model.log_is_lost = false;
	lower_budget(world, (unsigned)__builtin_popcount(members(world)));
}

void logs_exported(struct world *world)
{
	logs.clean = world->plan.changes;
}

/* ---- the fiber ---- */

static void operate(struct world *world)
{
	switch (below(13)) {
	case 0:
	case 1:
	case 2:
		join(world, 1 + (unsigned)below(JOIN_MAX));
		break;
	case 3:
		leave(world);
		break;
	case 4:
		offline(world);
		break;
	case 5:
	case 6:
		online(world);
		break;
	case 7:
	case 8:
		inject(world);
		break;
	case 9:
		put_back(world, 2);
		break;
	case 10:
		clear(world);
		break;
	default:
		settle(world);
	}
}

static void logs_main(void *argument)
{
	struct world *world = argument;

	while (world->clients_active) {
		rt_sleep(world->rt, 1 + below(UINT64_C(1) << sim_random_between(&logs.draws, 18, 29)));
		if (world->clients_active)
			operate(world);
	}
	logs.running--;
}

void logs_start(struct world *world)
{
	if (!world->plan.changes || !world->engine)
		return;
	logs.running = 1;
	if (rt_spawn(world->rt, "log disks", logs_main, world))
		world_fail(world, "no memory for a fiber");
}

void logs_wait(struct world *world)
{
	while (logs.running)
		rt_sleep(world->rt, NS_PER_MS);
}

/* ---- the beginning ---- */

void logs_init(struct world *world)
{
	memset(&logs, 0, sizeof(logs));
	world->model.log_may_go = world->plan.changes && world->plan.log_may_go;
	world->model.each_alone = world->plan.mixes_logbias;
	sim_random_stream(&logs.draws, world->plan.seed, "logs", UINT32_MAX);
}

static void first_body(struct world *world)
{
	struct pool_error error = {0};

	world->doing = "first log disks";
	world_expect(world, world_import(world, true, &error), &error, "import");
	for (unsigned left = world->plan.log_disks, count; left; left -= count) {
		count = left < JOIN_MAX ? left : JOIN_MAX;
		join(world, count);
	}
	world_expect(world, world_export(world, &error), &error, "export");
}

void logs_create(struct world *world)
{
	if (world->plan.log_disks && world_boot(world, first_body) != WORLD_ENDED)
		world_fail(world, "the first boot was interrupted without a reason");
	logs_exported(world);
}
