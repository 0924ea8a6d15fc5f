/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The names of damaged files, for people: of file systems that are open, and of all where nothing can be written. Opening one that isn't would free what has no
 * name any more, which nobody has asked for who wants to know what is damaged.
 */
#include "libpool/pool/internal.h"

static int find_path(struct fs *fs, uint64_t number, char *ret_path, size_t size)
{
	struct fs_node *node;
	int status = fs_get(fs, number, 0, &node);

	if (status < 0)
		return status;
	status = fs_path(node, ret_path, size);
	fs_put(node);
	return status;
}

void damage_find_path(struct engine *engine, struct libpool_damage *damage)
{
	struct engine_fs *open = engine_fs_find(engine, damage->dataset);
	struct fs *fs = NULL;
	int status = -ENOENT;

	if (open) {
		status = find_path(engine_fs_look(open), damage->object, damage->path, sizeof(damage->path));
		engine_fs_leave(open);
	} else if (damage->dataset[0] && core_read_only(engine->core)) {
		rt_mutex_lock(engine->rt, &engine->volumes_lock); /* who opens it meanwhile waits */
		if (fs_open(engine->datasets, damage->dataset, &fs, NULL) == 0)
			status = find_path(fs, damage->object, damage->path, sizeof(damage->path));
		fs_close(fs);
		rt_mutex_unlock(engine->rt, &engine->volumes_lock);
	}
	if (status < 0)
		damage->path[0] = '\0';
}

void damage_find_paths(struct engine *engine, struct libpool_damage *damage, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const struct libpool_damage *before = i ? &damage[i - 1] : NULL;

		if (before && before->object == damage[i].object && strcmp(before->dataset, damage[i].dataset) == 0)
			memcpy(damage[i].path, before->path, sizeof(before->path));
		else
			damage_find_path(engine, &damage[i]);
	}
}
