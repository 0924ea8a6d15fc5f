/*
 * engine_find: every pool that disks in reach know of, also those that can't be imported, with the reason.
 * Disks whose labels are damaged in all copies are shown as a pool without a name.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/pool/internal.h"
#include "libpool/pool/search.h"

static void describe(const struct engine_host *host, const struct search_pool *pool, struct libpool_found *found)
{
	const struct label *config = pool->config;

	snprintf(found->name, sizeof(found->name), "%s", config->name);
	memcpy(found->guid, pool->guid.bytes, sizeof(found->guid));
	profile_format(config->k, config->m, found->profile, sizeof(found->profile));
	found->disks_configured = pool->configured;
	found->disks_found = pool->present;
	found->destroyed = config->destroyed;
	for (unsigned i = 0; i < pool->disk_count; i++)
		found->in_use |= pool->disks[i]->in_use;
	for (unsigned i = 0; i < config->disk_count; i++)
		if (config->disks[i].state != DISK_REMOVED && config->disks[i].role != ROLE_LOG)
			found->raw_bytes += (uint64_t)disk_au_count(config->disks[i].size, config->au_shift) << config->au_shift;
	if (pool->newest) {
		found->clean = (pool->newest->flags & UBERBLOCK_CLEAN_EXPORT) != 0;
		found->other_host = !found->clean && !guid_equal(&pool->newest->host, &host->core.host);
		found->txg = pool->newest->txg;
		found->time_ns = pool->newest->time_ns;
	}
	search_problem(pool, found->problem, sizeof(found->problem));
	if (!found->problem[0]) {
		found->importable = pool->present == pool->configured && pool->newest->state_count == 0 ? 2 : 1;
		if (!found->in_use)
			search_log_problem(pool, found->problem, sizeof(found->problem));
	}
}

static void describe_damaged(const struct search_disk *disk, struct libpool_found *found)
{
	found->disks_found = 1;
	found->in_use = disk->in_use;
	snprintf(found->problem, sizeof(found->problem), "the labels of %.160s are damaged", disk->path);
}

int engine_find(const struct engine_host *host, struct libpool_found **ret_found, size_t *ret_count, struct pool_error *error)
{
	struct search search;
	struct libpool_found *found;
	size_t count = 0;
	int result = search_run(host, SEARCH_LOCKS, &search, error);

	if (result < 0)
		return result;
	found = calloc(search.disk_count + 1, sizeof(*found));
	for (size_t i = 0; found && i < search.pool_count; i++)
		describe(host, &search.pools[i], &found[count++]);
	for (size_t i = 0; found && i < search.disk_count; i++)
		if (!search.disks[i].label)
			describe_damaged(&search.disks[i], &found[count++]);
	for (size_t i = 0; i < count; i++)
		found[i].size = sizeof(*found);
	search_release(&search);
	if (!found)
		return pool_error_set(error, -ENOMEM, "searching for pools: no memory");
	*ret_found = found;
	*ret_count = count;
	return 0;
}
