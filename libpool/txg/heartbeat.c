/*
 * Heartbeats, while the property multihost is on: they tell other hosts that reach the same disks that the pool is in use.
 *
 * Who holds the pool writes a record into the heartbeat slots of its disks once per interval. Who wants it watches those slots
 * first, for longer than an owner goes on without a heartbeat; then claims it with a record of its own and reads that back.
 * Nobody's clock is compared with anybody else's: what counts is whether records change, and how long that takes by one's own.
 *
 * What must always hold: an owner writes nothing any more once its last heartbeat that a quorum of disks took began
 * LEASE_INTERVALS ago (the store asks before each write, so a process that was stopped in between does too), and nobody
 * takes the pool in less than WATCH_INTERVALS. A quorum of heartbeats is more than m disks, and a claim must be read back from
 * all but m: they meet on one disk at least.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/txg/heartbeat.h"

#define INTERVAL_MS_MIN 100u /* of what others' records say */
#define INTERVAL_MS_MAX 10000u
#define LEASE_INTERVALS 5u
#define WATCH_INTERVALS 10u  /* and up to a quarter more */
#define WATCH_SHORT 2u       /* where nobody can be: exported, or last used by this host, whose lock one has */
#define FOREIGN_TEXT "multihost: another host has claimed the pool"
#define AREA_BYTES (UBERBLOCK_HEARTBEAT_SLOTS * UBERBLOCK_SIZE)

struct beat_disk {
	struct heartbeat *heartbeat;
	struct disk *disk; /* NULL: none that is written to */
	uint16_t index;
	struct guid guid;
	uint64_t size;
	bool writing, reading, online;
	uint64_t written_ns; /* when the newest write that succeeded began; 0: none */
	bool looked;
	bool claimed; /* both areas hold the claim */
	uint64_t seen[2][UBERBLOCK_HEARTBEAT_SLOTS]; /* foreign records: what tells them apart, 0: none */
	uint64_t before[2][UBERBLOCK_HEARTBEAT_SLOTS]; /* those that a watch found at its beginning */
};

struct heartbeat {
	struct rt *rt;
	struct core *core; /* NULL: an import that isn't so far */
	struct guid pool, host;
	unsigned parity;
	uint64_t identity, sequence;
	uint32_t interval_ms;
	uint64_t lease_ns; /* until then the pool is ours */
	bool stopping, foreign;
	unsigned next_look;
	struct rt_queue wake;
	struct rt_group fibers;
	struct beat_disk disks[DISKS_MAX];
};

static uint64_t slot_offset(const struct beat_disk *disk, unsigned area, unsigned slot)
{
	return label_area_offset(disk->size, area) + UBERBLOCK_OFFSET + (uint64_t)(UBERBLOCK_COMMIT_SLOTS + slot) * UBERBLOCK_SIZE;
}

/* As of now: a disk may be closed at any time that one waits. */
static struct disk *open_disk(const struct beat_disk *disk)
{
	const struct core *core = disk->heartbeat->core;
	const struct store_disk *slot = core ? store_disk(core->store, disk->index) : NULL;

	if (!core)
		return disk->disk;
	return store_disk_holds_data(slot) && (slot->state == DISK_ONLINE || slot->state == DISK_RESYNC) ? slot->disk : NULL;
}

static int beat_write(struct beat_disk *disk, unsigned area, unsigned slot)
{
	struct heartbeat *heartbeat = disk->heartbeat;
	struct uberblock *uberblock = calloc(1, sizeof(*uberblock));
	struct buffer *buffer = buffer_new(UBERBLOCK_SIZE);
	int status = !open_disk(disk) ? -ENODEV : uberblock && buffer ? 0 : -ENOMEM;

	if (status == 0) {
		uberblock->pool = heartbeat->pool;
		uberblock->host = heartbeat->host;
		uberblock->txg = heartbeat->core ? core_committed_txg(heartbeat->core) : 0;
		uberblock->epoch = heartbeat->identity;
		uberblock->time_ns = rt_realtime(heartbeat->rt);
		uberblock->heartbeat_sequence = heartbeat->sequence;
		uberblock->heartbeat_interval_ms = heartbeat->interval_ms;
		uberblock->disk_index = disk->index;
		uberblock->slot = (uint16_t)(UBERBLOCK_COMMIT_SLOTS + slot);
		uberblock_encode(uberblock, &disk->guid, buffer->data);
		status = disk_write(open_disk(disk), slot_offset(disk, area, slot), UBERBLOCK_SIZE, buffer, 0, false);
	}
	free(uberblock);
	buffer_unref(buffer);
	return status;
}

/* What tells one foreign record from another; 0: it is none. */
static uint64_t record_identity(const struct heartbeat *heartbeat, const struct uberblock *uberblock)
{
	uint64_t identity = uberblock->epoch ^ (uberblock->heartbeat_sequence + 1) * UINT64_C(0x9E3779B97F4A7C15);

	return uberblock->epoch == heartbeat->identity ? 0 : identity ? identity : 1;
}

/*
 * A watch has found it at its beginning, on any disk: nobody wrote it since. A disk whose first read brought something else has it only now.
 * Each record goes into the same slot of all disks.
 */
static bool was_before(const struct heartbeat *heartbeat, unsigned area, unsigned slot, uint64_t identity)
{
	for (unsigned i = 0; i < DISKS_MAX; i++)
		if (heartbeat->disks[i].before[area][slot] == identity)
			return true;
	return false;
}

/* Looks at all slots of a disk: 1 if somebody else wrote one since it was last looked at, 0, or an error. */
static int beat_look(struct beat_disk *disk)
{
	struct heartbeat *heartbeat = disk->heartbeat;
	struct uberblock *uberblock = malloc(sizeof(*uberblock));
	struct buffer *buffer = buffer_new(AREA_BYTES);
	int status = uberblock && buffer ? 0 : -ENOMEM;
	bool changed = false, known = disk->looked;

	disk->claimed = true;
	for (unsigned area = 0; area < 2 && status == 0; area++) {
		status = open_disk(disk) ? disk_read(open_disk(disk), slot_offset(disk, area, 0), AREA_BYTES, buffer, 0) : -ENODEV;
		for (unsigned slot = 0; slot < UBERBLOCK_HEARTBEAT_SLOTS && status == 0; slot++) {
			bool valid = uberblock_decode(buffer->data + (size_t)slot * UBERBLOCK_SIZE, &heartbeat->pool, &disk->guid,
						      UBERBLOCK_COMMIT_SLOTS + slot, uberblock) == 0;
			uint64_t identity = valid ? record_identity(heartbeat, uberblock) : 0;
			if (slot == 0)
				disk->claimed = disk->claimed && valid && identity == 0 &&
						uberblock->heartbeat_sequence == heartbeat->sequence;
			changed |= known && identity && identity != disk->seen[area][slot] && !was_before(heartbeat, area, slot, identity);
			if (identity)
				disk->seen[area][slot] = identity;
		}
	}
	disk->claimed = disk->claimed && status == 0;
	disk->looked |= status == 0;
	free(uberblock);
	buffer_unref(buffer);
	return status < 0 ? status : changed;
}

/* ---- The owner ---- */

static int compare_descending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x > y ? -1 : x < y;
}

/* From the heartbeat that the quorum has. */
static void lease_update(struct heartbeat *heartbeat)
{
	uint64_t *written = malloc(DISKS_MAX * sizeof(*written));
	unsigned count = 0, quorum = heartbeat->parity + 1u > 2 ? heartbeat->parity + 1u : 2;

	if (!written)
		return; /* the next one may do */
	for (unsigned i = 0; i < DISKS_MAX; i++)
		if (heartbeat->disks[i].disk && heartbeat->disks[i].online)
			written[count++] = heartbeat->disks[i].written_ns;
	qsort(written, count, sizeof(*written), compare_descending);
	quorum = quorum < count ? quorum : count;
	if (quorum && written[quorum - 1])
		heartbeat->lease_ns = written[quorum - 1] + (uint64_t)LEASE_INTERVALS * heartbeat->interval_ms * NS_PER_MS;
	if (heartbeat->core)
		store_set_lease(heartbeat->core->store, heartbeat->lease_ns);
	free(written);
}

static void write_fiber(void *argument)
{
	struct beat_disk *disk = argument;
	struct heartbeat *heartbeat = disk->heartbeat;
	uint64_t begin = rt_now(heartbeat->rt), sequence = heartbeat->sequence;

	if (beat_write(disk, sequence % 2, sequence / 2 % UBERBLOCK_HEARTBEAT_SLOTS) == 0) {
		disk->written_ns = begin;
		lease_update(heartbeat);
	}
	disk->writing = false;
	rt_group_done(heartbeat->rt, &heartbeat->fibers, 0);
}

static void look_fiber(void *argument)
{
	struct beat_disk *disk = argument;
	struct heartbeat *heartbeat = disk->heartbeat;

	if (beat_look(disk) > 0) {
		heartbeat->foreign = true;
		if (heartbeat->core)
			core_halt(heartbeat->core, FOREIGN_TEXT);
	}
	disk->reading = false;
	rt_group_done(heartbeat->rt, &heartbeat->fibers, 0);
}

static bool beat_spawn(struct beat_disk *disk, const char *name, void (*function)(void *argument))
{
	rt_group_add(&disk->heartbeat->fibers);
	if (rt_spawn(disk->heartbeat->rt, name, function, disk) == 0)
		return true;
	rt_group_done(disk->heartbeat->rt, &disk->heartbeat->fibers, 0);
	return false;
}

/* The disks as the core has them now. */
static void follow_disks(struct heartbeat *heartbeat)
{
	for (unsigned i = 0; i < DISKS_MAX && heartbeat->core; i++) {
		const struct store_disk *slot = store_disk(heartbeat->core->store, i);
		struct beat_disk *disk = &heartbeat->disks[i];
		struct disk *now = open_disk(disk);
		if (now != disk->disk) {
			disk->written_ns = 0;
			disk->looked = disk->looked && memcmp(&disk->guid, &slot->guid, sizeof(slot->guid)) == 0;
		}
		disk->disk = now;
		disk->online = now && slot->state == DISK_ONLINE;
		disk->guid = slot->guid;
		disk->size = slot->size;
	}
}

static void beat(struct heartbeat *heartbeat)
{
	heartbeat->sequence++;
	for (unsigned i = 0; i < DISKS_MAX; i++) {
		struct beat_disk *disk = &heartbeat->disks[i];
		if (disk->disk && !disk->writing)
			disk->writing = beat_spawn(disk, "heartbeat", write_fiber);
	}
	/* One after the other: who claims the pool writes to all of them. */
	for (unsigned i = 0; i < DISKS_MAX; i++) {
		struct beat_disk *disk = &heartbeat->disks[heartbeat->next_look++ % DISKS_MAX];
		if (!disk->disk || disk->reading)
			continue;
		disk->reading = beat_spawn(disk, "look for heartbeats", look_fiber);
		break;
	}
}

static void heartbeat_fiber(void *argument)
{
	struct heartbeat *heartbeat = argument;

	while (!heartbeat->stopping) {
		uint64_t begin = rt_now(heartbeat->rt);
		follow_disks(heartbeat);
		if (heartbeat->core)
			(void)store_lease_holds(heartbeat->core->store);
		const char *why = NULL;
		if (heartbeat->core && store_halted(heartbeat->core->store, &why))
			core_halt(heartbeat->core, why);
		if (heartbeat->core && heartbeat->core->halted)
			break;
		beat(heartbeat);
		while (!heartbeat->stopping &&
		       rt_queue_wait_until(heartbeat->rt, &heartbeat->wake, begin + heartbeat->interval_ms * NS_PER_MS))
			;
	}
	rt_group_done(heartbeat->rt, &heartbeat->fibers, 0);
}

static struct heartbeat *heartbeat_new(struct rt *rt, const struct guid *host, const struct label *label, uint32_t interval_ms)
{
	struct heartbeat *heartbeat = calloc(1, sizeof(*heartbeat));

	if (!heartbeat)
		return NULL;
	heartbeat->rt = rt;
	heartbeat->host = *host;
	heartbeat->pool = label->pool;
	heartbeat->parity = label->m;
	heartbeat->interval_ms = interval_ms;
	rt_env(rt)->ops->random(rt_env(rt), &heartbeat->identity, sizeof(heartbeat->identity));
	rt_env(rt)->ops->random(rt_env(rt), &heartbeat->sequence, sizeof(heartbeat->sequence));
	heartbeat->sequence >>= 1; /* it never wraps */
	rt_queue_init(&heartbeat->wake);
	rt_group_init(&heartbeat->fibers);
	for (unsigned i = 0; i < DISKS_MAX; i++) {
		heartbeat->disks[i].heartbeat = heartbeat;
		heartbeat->disks[i].index = (uint16_t)i;
	}
	return heartbeat;
}

static int heartbeat_run(struct heartbeat *heartbeat)
{
	/* A claim counts as the first heartbeat. */
	heartbeat->lease_ns = rt_now(heartbeat->rt) + (uint64_t)LEASE_INTERVALS * heartbeat->interval_ms * NS_PER_MS;
	rt_group_add(&heartbeat->fibers);
	int status = rt_spawn(heartbeat->rt, "heartbeats", heartbeat_fiber, heartbeat);
	if (status < 0)
		rt_group_done(heartbeat->rt, &heartbeat->fibers, 0);
	return status;
}

int heartbeat_start(struct core *core)
{
	struct heartbeat *heartbeat = heartbeat_new(core->rt, &core->options.host, core->label, HEARTBEAT_INTERVAL_MS);

	if (!heartbeat)
		return -ENOMEM;
	heartbeat_follow(heartbeat, core);
	int status = heartbeat_run(heartbeat);
	if (status < 0) {
		core->heartbeat = NULL;
		free(heartbeat);
		return status;
	}
	store_set_lease(core->store, heartbeat->lease_ns);
	return 0;
}

void heartbeat_follow(struct heartbeat *heartbeat, struct core *core)
{
	heartbeat->core = core;
	core->heartbeat = heartbeat;
	store_set_lease(core->store, heartbeat->lease_ns);
	follow_disks(heartbeat);
	if (heartbeat->foreign)
		core_halt(core, FOREIGN_TEXT);
}

void heartbeat_stop(struct heartbeat *heartbeat)
{
	if (!heartbeat)
		return;
	heartbeat->stopping = true;
	rt_queue_wake_all(heartbeat->rt, &heartbeat->wake);
	if (heartbeat->fibers.pending)
		(void)rt_group_wait(heartbeat->rt, &heartbeat->fibers);
	if (heartbeat->core) {
		store_set_lease(heartbeat->core->store, 0);
		heartbeat->core->heartbeat = NULL;
	}
	free(heartbeat);
}

/* ---- Who wants the pool ---- */

static int look_item(void *argument, unsigned index)
{
	struct beat_disk *disk = &((struct heartbeat *)argument)->disks[index];

	return disk->disk ? beat_look(disk) : 0;
}

static int claim_item(void *argument, unsigned index)
{
	struct beat_disk *disk = &((struct heartbeat *)argument)->disks[index];
	int status = disk->disk ? beat_write(disk, 0, 0) : -ENODEV;

	return status == 0 ? beat_write(disk, 1, 0) : status;
}

/* Something to do with each disk; whether somebody else wrote to one of them. */
static int on_all(struct heartbeat *heartbeat, int (*item)(void *argument, unsigned index), bool *ret_foreign)
{
	int *status = calloc(DISKS_MAX, sizeof(*status));
	unsigned end = DISKS_MAX;

	if (!status)
		return -ENOMEM;
	while (end && !heartbeat->disks[end - 1].disk)
		end--;
	run_each(heartbeat->rt, "heartbeats", end, item, heartbeat, status);
	int result = 0;
	for (unsigned i = 0; i < end; i++) {
		if (status[i] == -ENOMEM)
			result = -ENOMEM;
		if (status[i] == -ETIMEDOUT)
			heartbeat->disks[i].disk = NULL; /* one deadline is enough */
		*ret_foreign |= status[i] > 0;
	}
	free(status);
	return result;
}

static int watch(struct heartbeat *heartbeat, unsigned intervals, bool *ret_foreign)
{
	uint64_t interval = heartbeat->interval_ms * NS_PER_MS, random, more = 0;
	int status = on_all(heartbeat, look_item, ret_foreign);

	for (unsigned i = 0; i < DISKS_MAX; i++)
		memcpy(heartbeat->disks[i].before, heartbeat->disks[i].seen, sizeof(heartbeat->disks[i].before));
	/* Two that wait for the same pool to be given up don't come at the same moment. */
	rt_env(heartbeat->rt)->ops->random(rt_env(heartbeat->rt), &random, sizeof(random));
	more = random % (intervals * interval / 4 + 1);
	for (unsigned i = 0; i <= intervals && status == 0 && !*ret_foreign; i++) {
		rt_sleep(heartbeat->rt, i < intervals ? interval : more);
		status = on_all(heartbeat, look_item, ret_foreign);
	}
	return status;
}

static int claim(struct heartbeat *heartbeat, unsigned configured, bool *ret_foreign, struct pool_error *error, const char *name)
{
	unsigned mine = 0;
	int status = on_all(heartbeat, claim_item, ret_foreign);

	if (status == 0) {
		rt_sleep(heartbeat->rt, heartbeat->interval_ms * NS_PER_MS);
		status = on_all(heartbeat, look_item, ret_foreign);
	}
	for (unsigned i = 0; i < DISKS_MAX; i++)
		mine += heartbeat->disks[i].disk && heartbeat->disks[i].claimed;
	if (status == 0 && !*ret_foreign && mine + heartbeat->parity < configured)
		status = pool_error_set(error, -POOL_EDEGRADED,
					"pool %s: its claim can be read back from %u of its %u disks only; with multihost=on it takes %u",
					name, mine, configured, configured > heartbeat->parity ? configured - heartbeat->parity : 1);
	return status;
}

int heartbeat_claim(const struct core_options *options, const struct selection *selection, struct heartbeat **ret_heartbeat,
		    struct pool_error *error)
{
	const struct uberblock *chosen = selection->chosen;
	const char *name = selection->label->name;
	bool nobody = chosen->flags & UBERBLOCK_CLEAN_EXPORT || memcmp(&chosen->host, &options->host, sizeof(struct guid)) == 0;
	uint32_t interval = chosen->heartbeat_interval_ms;
	bool foreign = false;

	interval = interval < INTERVAL_MS_MIN ? INTERVAL_MS_MIN : interval > INTERVAL_MS_MAX ? INTERVAL_MS_MAX : interval;
	struct heartbeat *heartbeat = heartbeat_new(options->rt, &options->host, selection->label, interval);
	if (!heartbeat)
		return pool_error_set(error, -ENOMEM, "out of memory");
	for (unsigned i = 0; i < selection->count; i++) {
		const struct member *member = &selection->members[i];
		struct beat_disk *disk = &heartbeat->disks[member->config->index];
		if (!member->found || member->config->role == ROLE_LOG || member->found->disk->info.size < member->config->size)
			continue;
		disk->disk = member->found->disk;
		disk->guid = member->config->guid;
		disk->size = member->config->size;
		disk->online = true;
	}
	int status = watch(heartbeat, nobody ? WATCH_SHORT : WATCH_INTERVALS, &foreign);
	if (status == 0 && !foreign)
		status = claim(heartbeat, selection->data_count, &foreign, error, name);
	if (status == 0 && foreign)
		status = pool_error_set(error, -POOL_EINUSE, "pool %s is in use by another host, whose heartbeats go on: export it there first",
					name);
	else if (status == -ENOMEM)
		pool_error_set(error, status, "out of memory");
	if (status == 0)
		status = heartbeat_run(heartbeat);
	if (status < 0) {
		free(heartbeat);
		return status;
	}
	*ret_heartbeat = heartbeat;
	return 0;
}
