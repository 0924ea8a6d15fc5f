/*
 * The set of simulated disks, its power, and the provider that an engine opens them through.
 *
 * What must always hold: what a disk holds belongs to the set and outlives every provider; a provider, its
 * handles and the events of its requests are gone before the environment is.
 */
#include "tests/sim/simdisk.h"

#include <stdlib.h>
#include <string.h>

#include "libpool/disk/label_probe.h"
#include "tests/sim/simdisk_private.h"

struct sim_disks *sim_disks_new(uint64_t seed)
{
	struct sim_disks *set = sim_allocate(sizeof(*set));

	set->seed = seed;
	set->tear = SIM_TEAR_ANY;
	set->check_buffers = true;
	set->private = sim_allocate(sizeof(*set->private));
	set->private->cut_at = UINT64_MAX;
	sim_store_init(&set->store);
	return set;
}

struct sim_disk *sim_disks_add(struct sim_disks *set, uint64_t size)
{
	struct sim_disk *disk = sim_allocate(sizeof(*disk));
	struct sim_disk_state *state = sim_allocate(sizeof(*state));

	if (set->count == SIM_DISKS_MAX || size % SIM_CELL)
		sim_fatal("too many disks, or a size that isn't made of cells");
	disk->set = set;
	disk->index = set->count;
	snprintf(disk->path, sizeof(disk->path), "sim:%u", disk->index);
	snprintf(disk->serial, sizeof(disk->serial), "sim-serial-%u", disk->index);
	disk->size = size;
	disk->present = disk->fua = true;
	disk->latency = (struct sim_latency){
		.io_ns = 80000, .flush_ns = 200000, .bytes_per_second = UINT64_C(3000000000), .jitter_percent = 50};
	disk->state = state;
	sim_image_init(&state->durable, &set->store, size / SIM_CELL);
	list_init(&state->cache);
	list_init(&state->in_flight);
	list_init(&state->scripts);
	if (hash_table_init(&state->versions, 64) < 0 || hash_table_init(&state->bad_cells, 16) < 0)
		sim_fatal("no memory for a disk");
	sim_random_stream(&state->random, set->seed, "disk", disk->index);
	set->disks[set->count++] = disk;
	return disk;
}

static void free_bad_cell(struct hash_node *node, void *argument)
{
	hash_table_remove(argument, node);
	free(container_of(node, struct bad_cell, node));
}

static void disk_free(struct sim_disk *disk)
{
	struct sim_disk_state *state = disk->state;
	struct sim_random random = state->random;

	sim_disk_crash(disk, SIM_CRASH_NONE, &random);
	sim_disk_fail_in_flight(disk, -ECANCELED);
	sim_disk_faults_clear(disk);
	for (unsigned i = 0; i < HISTORY_CELLS; i++)
		sim_content_unref(&disk->set->store, state->history[i].content);
	hash_table_each(&state->bad_cells, free_bad_cell, &state->bad_cells);
	hash_table_release(&state->bad_cells);
	hash_table_release(&state->versions);
	sim_image_release(&state->durable);
	free(state);
	free(disk);
}

void sim_disks_free(struct sim_disks *set)
{
	if (!set)
		return;
	if (set->private->provider)
		sim_fatal("the provider is freed before its disks");
	for (unsigned i = 0; i < set->count; i++)
		disk_free(set->disks[i]);
	sim_store_release(&set->store);
	free(set->private);
	free(set);
}

/* ---- power ---- */

void sim_disks_cut_at(struct sim_disks *set, uint64_t operation)
{
	set->private->cut_at = operation;
}

/* The requests stay in flight, for the crash to decide about; their submitters hear of it here. */
static void fail_submitters(struct sim_disk *disk)
{
	list_for_each_safe(node, after, &disk->state->in_flight) {
		struct sim_request *request = container_of(node, struct sim_request, node);
		struct disk_io *io = request->io;

		if (!io)
			continue;
		if (request->write) {
			sim_env_cancel(disk->set->private->sim, &request->event);
			request->io = NULL;
			request->handle = NULL;
			disk_complete(io, -ENODEV);
		} else if (request->hung) {
			request->hung = false;
			request->error = -ENODEV;
			sim_env_schedule(disk->set->private->sim, &request->event, 0);
		} else {
			request->error = -ENODEV;
		}
	}
}

void sim_disks_power_off(struct sim_disks *set)
{
	if (set->powered_off)
		return;
	set->powered_off = true;
	if (!set->private->sim)
		return;
	sim_env_note(set->private->sim, "power off", set->operations, 0, 0);
	if (!set->fail_after_power_off) {
		sim_env_stop(set->private->sim, "power off");
		return;
	}
	for (unsigned i = 0; i < set->count; i++)
		fail_submitters(set->disks[i]);
}

/* ---- provider ---- */

static struct sim_provider *provider_of(struct disk_provider *provider)
{
	return container_of(provider, struct sim_provider, provider);
}

static struct sim_disk *find_disk(struct sim_provider *provider, const char *path)
{
	for (unsigned i = 0; i < provider->set->count; i++)
		if (provider->set->disks[i]->present && !strcmp(provider->set->disks[i]->path, path))
			return provider->set->disks[i];
	return NULL;
}

/* Opening takes its time, in which other fibers run. */
static int find_slowly(struct sim_provider *provider, struct rt *rt, const char *path, struct sim_disk **ret_disk,
		       struct pool_error *error)
{
	struct sim_disk *disk = NULL;

	rt_sleep(rt, sim_random_between(&provider->sim->workers, 1000, NS_PER_MS));
	disk = find_disk(provider, path);
	if (!disk || provider->set->powered_off)
		return pool_error_set(error, -ENOENT, "%s: there is no such disk", path);
	*ret_disk = disk;
	return 0;
}

static int sim_open(struct disk_provider *base, struct rt *rt, const char *path, unsigned flags,
		    struct disk **ret_disk, struct pool_error *error)
{
	struct sim_provider *provider = provider_of(base);
	struct sim_disk *disk = NULL;
	int result = find_slowly(provider, rt, path, &disk, error);

	if (result < 0)
		return result;
	if (disk->read_only && !(flags & DISK_OPEN_READ_ONLY))
		return pool_error_set(error, -EROFS, "%s is read-only", path);
	if ((flags & DISK_OPEN_EXCLUSIVE) && disk->state->exclusive)
		return pool_error_set(error, -EBUSY, "%s is in use", path);
	struct sim_handle *handle = sim_allocate(sizeof(*handle));

	disk_init(&handle->disk, &sim_backend_ops, rt);
	snprintf(handle->disk.info.path, sizeof(handle->disk.info.path), "%s", disk->path);
	snprintf(handle->disk.info.serial, sizeof(handle->disk.info.serial), "%s", disk->serial);
	handle->disk.info.size = disk->size;
	handle->disk.info.rotational = disk->rotational;
	handle->disk.info.read_only = disk->read_only;
	handle->disk.info.fua = disk->fua;
	handle->disk.info.trims = true;
	handle->disk.info.physical_block = SIM_CELL;
	handle->target = disk;
	handle->provider = provider;
	handle->epoch = disk->state->epoch;
	handle->read_only = flags & DISK_OPEN_READ_ONLY;
	handle->exclusive = flags & DISK_OPEN_EXCLUSIVE;
	if (handle->exclusive)
		disk->state->exclusive = handle;
	list_push_back(&provider->handles, &handle->node);
	*ret_disk = &handle->disk;
	return 0;
}

static int sim_probe(struct disk_provider *base, struct rt *rt, const char *path, struct disk_probe *ret_probe,
		     struct pool_error *error)
{
	struct sim_disk *disk = NULL;
	int result = find_slowly(provider_of(base), rt, path, &disk, error);
	struct disk_probe probe = {0};

	if (result < 0)
		return result;
	uint8_t *raw = sim_allocate(DISK_LABEL_PROBE_SIZE);
	uint64_t starts[2] = {0, disk_label_area_b(disk->size)};

	for (unsigned area = 0; area < 2 && starts[1] && !probe.pool_member; area++) {
		sim_disk_peek(disk, starts[area], raw, DISK_LABEL_PROBE_SIZE);
		probe.pool_member = disk_label_describe(raw, area, probe.what, sizeof(probe.what));
	}
	free(raw);
	if (!probe.pool_member && disk->foreign[0]) {
		probe.foreign = true;
		snprintf(probe.what, sizeof(probe.what), "%s", disk->foreign);
	}
	*ret_probe = probe;
	return 0;
}

static int sim_candidates(struct disk_provider *base, struct rt *rt, const char *const *folders,
			  size_t folder_count, bool devices, char ***ret_paths, size_t *ret_count,
			  struct pool_error *error)
{
	struct sim_disks *set = provider_of(base)->set;
	char **paths = sim_allocate(set->count * (sizeof(char *) + sizeof(set->disks[0]->path)) + 1);
	char *text = (char *)(paths + set->count);
	size_t count = 0;

	(void)folders, (void)folder_count, (void)devices, (void)error;
	rt_sleep(rt, NS_PER_MS);
	for (unsigned i = 0; i < set->count; i++) {
		if (!set->disks[i]->present)
			continue;
		paths[count++] = strcpy(text, set->disks[i]->path);
		text += sizeof(set->disks[i]->path);
	}
	*ret_paths = paths;
	*ret_count = count;
	return 0;
}

static const struct disk_provider_ops sim_provider_ops = {
	.open = sim_open,
	.probe = sim_probe,
	.candidates = sim_candidates,
};

struct disk_provider *sim_disks_provider(struct sim_disks *set, struct sim_env *sim, struct rt *rt)
{
	struct sim_provider *provider = sim_allocate(sizeof(*provider));

	if (set->private->provider)
		sim_fatal("one provider at a time");
	provider->provider.ops = &sim_provider_ops;
	provider->set = set;
	provider->sim = sim;
	provider->rt = rt;
	list_init(&provider->handles);
	set->private->provider = provider;
	set->private->sim = sim;
	set->powered_off = false;
	for (unsigned i = 0; i < set->count; i++)
		set->disks[i]->state->bus_free_ns = 0;
	return &provider->provider;
}

/* The process is gone, or gives up its disks; what it had submitted goes on in the disk. */
static void orphan(struct sim_disk *disk)
{
	struct sim_env *sim = disk->set->private->sim;
	bool powered_off = disk->set->powered_off;

	list_for_each_safe(node, after, &disk->state->in_flight) {
		struct sim_request *request = container_of(node, struct sim_request, node);
		struct disk_io *io = request->io;
		bool released = io && !powered_off && io->disk->closed;

		sim_env_cancel(sim, &request->event);
		request->io = NULL;
		request->handle = NULL;
		if (!powered_off && !request->hung)
			sim_request_end(request, request->error);
		if (!released)
			continue;
		disk_forget(io, -ECANCELED);
		if (io->released)
			io->released(io);
	}
}

void sim_disks_provider_free(struct disk_provider *base)
{
	if (!base)
		return;
	struct sim_provider *provider = provider_of(base);
	struct sim_disks *set = provider->set;
	struct list *node;

	for (unsigned i = 0; i < set->count; i++) {
		orphan(set->disks[i]);
		set->disks[i]->state->exclusive = NULL;
	}
	while ((node = list_pop_front(&provider->handles)))
		free(container_of(node, struct sim_handle, node));
	set->private->provider = NULL;
	set->private->sim = NULL;
	free(provider);
}
