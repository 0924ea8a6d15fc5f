/*
 * The search for disks that carry labels. Candidates are looked at side by side, because each may sleep: a
 * spun-down disk takes seconds, and one that is in use is asked again for half a second.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/pool/internal.h"
#include "libpool/pool/search.h"

#define LOOKERS_MAX 16u

struct look {
	const struct engine_host *host;
	unsigned flags;
	char **paths;
	size_t path_count, next;
	struct array *found;
	struct search *search;
	struct rt_group group;
};

/* Of memory, threads or descriptors: no fault of the disk, which must not count as one that isn't there. */
static bool is_lack_of_our_own(int result)
{
	return result == -ENOMEM || result == -EAGAIN || result == -EMFILE || result == -ENFILE;
}

/* 0, or what this process lacks. */
static int find_use(struct look *look, const char *path, bool *ret_in_use)
{
	struct disk *disk;
	int result = look->host->provider->ops->open(look->host->provider, look->host->rt, path,
						     DISK_OPEN_READ_ONLY | DISK_OPEN_EXCLUSIVE, &disk, NULL);

	if (result == 0)
		disk_close(disk);
	*ret_in_use = result == -EBUSY;
	return is_lack_of_our_own(result) ? result : 0;
}

static int read_uberblock(struct disk *disk, struct search_disk *found)
{
	struct uberblock *newest = calloc(1, sizeof(*newest));

	if (!newest)
		return -ENOMEM;
	int result = core_uberblock_newest(disk, found->label, newest);

	if (result == 0)
		found->uberblock = newest;
	else
		free(newest);
	return is_lack_of_our_own(result) ? result : 0;
}

/* 0 also when there is nothing of ours on it. */
static int look_at(struct look *look, const char *path)
{
	struct disk_provider *provider = look->host->provider;
	struct search_disk found = {.status = 0};
	struct disk *disk;
	int result = provider->ops->open(provider, look->host->rt, path, DISK_OPEN_READ_ONLY, &disk, NULL);

	if (result < 0) {
		look->search->denied += result == -EACCES;
		return is_lack_of_our_own(result) ? result : 0;
	}
	snprintf(found.path, sizeof(found.path), "%s", path);
	snprintf(found.serial, sizeof(found.serial), "%s", disk->info.serial);
	found.status = core_label_read(disk, &found.label);
	result = is_lack_of_our_own(found.status) ? found.status : 0;
	if (result == 0 && found.label)
		result = read_uberblock(disk, &found);
	disk_close(disk);
	bool is_ours = found.label || found.status == -POOL_EFORMAT;
	if (result == 0 && is_ours && look->flags & SEARCH_LOCKS)
		result = find_use(look, path, &found.in_use);
	if (result == 0 && is_ours)
		result = array_push(look->found, &found);
	if (result < 0 || !is_ours) {
		free(found.label);
		free(found.uberblock);
	}
	return result;
}

static void looker(void *argument)
{
	struct look *look = argument;
	int result = 0;

	while (result == 0 && look->next < look->path_count)
		result = look_at(look, look->paths[look->next++]);
	rt_group_done(look->host->rt, &look->group, result);
}

static int look_at_all(struct look *look)
{
	struct rt *rt = look->host->rt;
	size_t lookers = look->path_count < LOOKERS_MAX ? look->path_count : LOOKERS_MAX;
	unsigned started = 0;

	rt_group_init(&look->group);
	for (size_t i = 0; i < lookers; i++) {
		if (rt_spawn(rt, "look", looker, look) < 0)
			break;
		rt_group_add(&look->group);
		started++;
	}
	if (started == 0)
		return lookers ? -ENOMEM : 0;
	return rt_group_wait(rt, &look->group);
}

/* ---- pools ---- */

static int by_path(const void *a, const void *b)
{
	const struct search_disk *first = a, *second = b;

	return strcmp(first->path, second->path);
}

static struct search_pool *pool_of(struct search *search, const struct guid *guid)
{
	for (size_t i = 0; i < search->pool_count; i++)
		if (guid_equal(&search->pools[i].guid, guid))
			return &search->pools[i];
	struct search_pool *pool = &search->pools[search->pool_count++];

	*pool = (struct search_pool){.guid = *guid};
	return pool;
}

static bool is_newer(const struct uberblock *a, const struct uberblock *b)
{
	return !b || a->txg > b->txg || (a->txg == b->txg && a->rewrite > b->rewrite);
}

/* One physical disk seen by two paths counts once; a copy of a disk is a twin. */
static bool is_known(struct search_pool *pool, struct search_disk *disk)
{
	for (unsigned i = 0; i < pool->disk_count; i++) {
		struct search_disk *other = pool->disks[i];

		if (!guid_equal(&other->label->disk, &disk->label->disk))
			continue;
		if (disk->serial[0] && !strcmp(disk->serial, other->serial))
			return true;
		pool->twins[0] = other;
		pool->twins[1] = disk;
		return true;
	}
	return false;
}

static int add_disk(struct search *search, struct search_disk *disk)
{
	struct search_pool *pool = pool_of(search, &disk->label->pool);

	if (is_known(pool, disk))
		return 0;
	struct search_disk **disks = realloc(pool->disks, (pool->disk_count + 1) * sizeof(struct search_disk *));

	if (!disks)
		return -ENOMEM;
	pool->disks = disks;
	pool->disks[pool->disk_count++] = disk;
	if (!pool->config || disk->label->config_txg > pool->config->config_txg)
		pool->config = disk->label;
	if (disk->uberblock && is_newer(disk->uberblock, pool->newest))
		pool->newest = disk->uberblock;
	return 0;
}

static void count_disks(struct search_pool *pool)
{
	for (unsigned i = 0; i < pool->config->disk_count; i++) {
		const struct label_disk *configured = &pool->config->disks[i];

		if (configured->state == DISK_REMOVED)
			continue;
		unsigned found = 0;
		for (unsigned d = 0; d < pool->disk_count; d++)
			found += guid_equal(&pool->disks[d]->label->disk, &configured->guid);
		pool->configured++;
		pool->present += found;
		pool->missing += found == 0 && configured->role != ROLE_LOG;
		pool->logs += configured->role == ROLE_LOG;
		pool->logs_missing += found == 0 && configured->role == ROLE_LOG;
	}
}

static int group_pools(struct search *search)
{
	search->pools = calloc(search->disk_count + 1, sizeof(*search->pools));
	if (!search->pools)
		return -ENOMEM;
	for (size_t i = 0; i < search->disk_count; i++)
		if (search->disks[i].label && add_disk(search, &search->disks[i]) < 0)
			return -ENOMEM;
	for (size_t i = 0; i < search->pool_count; i++)
		count_disks(&search->pools[i]);
	return 0;
}

int search_run(const struct engine_host *host, unsigned flags, struct search *ret_search, struct pool_error *error)
{
	struct search search = {0};
	struct array found;
	struct look look = {.host = host, .flags = flags, .found = &found, .search = &search};
	int result = host->provider->ops->candidates(host->provider, host->rt, host->folders, host->folder_count,
						     !host->no_devices, &look.paths, &look.path_count, error);

	if (result < 0)
		return result;
	array_init(&found, sizeof(struct search_disk));
	result = look_at_all(&look);
	search.disks = found.items;
	search.disk_count = found.count;
	if (result == 0 && found.count) {
		qsort(search.disks, search.disk_count, sizeof(*search.disks), by_path);
		result = group_pools(&search);
	}
	free(look.paths);
	if (result < 0) {
		search_release(&search);
		return pool_error_set(error, result, "searching for disks: %s", pool_error_string(result));
	}
	*ret_search = search;
	return 0;
}

void search_release(struct search *search)
{
	for (size_t i = 0; i < search->pool_count; i++)
		free(search->pools[i].disks);
	free(search->pools);
	for (size_t i = 0; i < search->disk_count; i++) {
		free(search->disks[i].label);
		free(search->disks[i].uberblock);
	}
	free(search->disks);
	*search = (struct search){0};
}

/* ---- picking ---- */

static int not_found(const struct search *search, const char *name, size_t destroyed, struct pool_error *error)
{
	if (destroyed)
		return pool_error_set(error, -ENOENT, "pool %s is destroyed: 'poolctl undestroy %s' brings it back", name, name);
	if (search->denied)
		return pool_error_set(error, -ENOENT, "no pool %s was found, but %zu disk%s could not be looked at for lack of "
						      "permission: try with more, or name the folder or the disks that it is on",
				      name, search->denied, search->denied == 1 ? "" : "s");
	return pool_error_set(error, -ENOENT, "no pool %s was found: name the folder or the disks that it is on", name);
}

static int ambiguous(const struct search *search, const char *name, bool destroyed, struct pool_error *error)
{
	char guids[300] = "", guid[GUID_TEXT_SIZE];
	size_t length = 0;

	for (size_t i = 0; i < search->pool_count; i++) {
		const struct search_pool *pool = &search->pools[i];

		if (strcmp(pool->config->name, name) != 0 || (pool->config->destroyed && !destroyed) ||
		    length + 40 > sizeof(guids))
			continue;
		guid_format(&pool->guid, guid);
		length += (size_t)snprintf(guids + length, sizeof(guids) - length, "%s%s", length ? ", " : "", guid);
	}
	return pool_error_set(error, -EEXIST, "several pools are called %.200s: name one by its id: %s", name, guids);
}

int search_pick(const struct search *search, const char *name, bool destroyed, const struct search_pool **ret_pool,
		struct pool_error *error)
{
	const struct search_pool *picked = NULL;
	struct guid guid;
	bool is_guid = guid_parse(name, &guid);
	size_t hidden = 0, matches = 0;

	for (size_t i = 0; i < search->pool_count; i++) {
		const struct search_pool *pool = &search->pools[i];
		bool by_guid = is_guid && guid_equal(&pool->guid, &guid);

		if (!by_guid && strcmp(pool->config->name, name) != 0)
			continue;
		if (pool->config->destroyed && !destroyed) {
			hidden++;
			continue;
		}
		if (by_guid) {
			*ret_pool = pool;
			return 0;
		}
		picked = pool;
		matches++;
	}
	if (matches == 0)
		return not_found(search, name, hidden, error);
	if (matches > 1)
		return ambiguous(search, name, destroyed, error);
	*ret_pool = picked;
	return 0;
}

void search_log_problem(const struct search_pool *pool, char *ret_text, size_t size)
{
	if (pool->logs_missing && pool->newest && !(pool->newest->flags & UBERBLOCK_CLEAN_EXPORT))
		snprintf(ret_text, size, "%u of %u log disks %s missing: attach them (-d FOLDER); if no other one has the log, only 'import --missing-log' goes on, without it",
			 pool->logs_missing, pool->logs, pool->logs_missing == 1 ? "is" : "are");
}

void search_problem(const struct search_pool *pool, char *ret_text, size_t size)
{
	ret_text[0] = 0;
	for (unsigned i = 0; i < pool->disk_count; i++) {
		if (pool->disks[i]->status != -POOL_EFEATURE)
			continue;
		snprintf(ret_text, size, "it uses feature %s, which this version doesn't know",
			 label_unknown_feature(pool->disks[i]->label));
		return;
	}
	if (pool->twins[0])
		snprintf(ret_text, size, "%.90s and %.90s both claim to be disk %u of it: remove the copy", pool->twins[0]->path,
			 pool->twins[1]->path, pool->twins[0]->label->disk_index);
	else if (!pool->newest)
		snprintf(ret_text, size, "no disk has a valid uberblock");
	else if (pool->newest->incompat & ~FEATURES_INCOMPAT_KNOWN)
		snprintf(ret_text, size, "it uses features that this version doesn't know (bits %llx)",
			 (unsigned long long)(pool->newest->incompat & ~FEATURES_INCOMPAT_KNOWN));
	else if (pool->missing > pool->config->m)
		snprintf(ret_text, size, "%u of %u disks are missing, which is more than its redundancy covers", pool->missing,
			 pool->configured);
}
