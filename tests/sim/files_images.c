/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What file systems must contain, for readers of images (images.h): every name of every lane, with what the lane's model has of it. Where the case of names
 * doesn't matter they are written small. The content of files, and the targets of links, lie one behind the other in one file.
 */
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/sim/files_private.h"

#define PATH_MAX_HERE (LANE_NODES * 256)

void files_images_saved(struct world *world)
{
	for (unsigned i = 0; world->files && i < world->files->count; i++)
		world->files->filesystems[i].saved = world->files->filesystems[i].made;
}

struct listing {
	struct world *world;
	const struct lane_state *state;
	struct json_object *entries;
	FILE *content;
	uint64_t written;
};

static struct json_object *attributes(const struct lane_node *node)
{
	struct json_object *all = json_object_new_object();

	for (unsigned i = 0; i < LANE_XATTRS; i++) {
		char name[16];
		if (!node->xattrs[i])
			continue;
		struct json_object *value = json_object_new_array();
		json_object_array_add(value, json_object_new_uint64(node->xattrs[i] - 1));
		json_object_array_add(value, json_object_new_int(node->fill[i]));
		snprintf(name, sizeof(name), "user.a%u", i);
		json_object_object_add(all, name, value);
	}
	return all;
}

static void list(struct listing *listing, unsigned index, const char *path)
{
	const struct lane_node *node = &listing->state->nodes[index];
	bool has_content = S_ISREG(node->mode) || S_ISLNK(node->mode);
	struct json_object *entry = json_object_new_object();

	json_object_object_add(entry, "path", json_object_new_string(path));
	json_object_object_add(entry, "mode", json_object_new_int64(node->mode));
	json_object_object_add(entry, "links", json_object_new_int64(node->links));
	json_object_object_add(entry, "minor", json_object_new_int64(node->device));
	json_object_object_add(entry, "attributes", attributes(node));
	json_object_object_add(entry, "at", json_object_new_uint64(listing->written));
	json_object_object_add(entry, "bytes", json_object_new_uint64(has_content ? node->size : 0));
	json_object_array_add(listing->entries, entry);
	if (has_content && fwrite(node->data, 1, node->size, listing->content) != node->size)
		world_fail(listing->world, "the content of %s can't be written", path);
	listing->written += has_content ? node->size : 0;
	for (unsigned i = 0; i < LANE_ENTRIES; i++) {
		const struct lane_entry *below = &listing->state->entries[i];
		char *longer, name[256];
		if (!below->node || below->directory != index)
			continue;
		files_spell(below->name, 'n', name);
		longer = sim_allocate(PATH_MAX_HERE);
		if (snprintf(longer, PATH_MAX_HERE, "%s/%s", path, name) >= (int)PATH_MAX_HERE)
			world_fail(listing->world, "%s: the path is too long", path);
		list(listing, below->node, longer);
		free(longer);
	}
}

static struct json_object *describe(struct world *world, struct filesystem *filesystem, const char *folder)
{
	struct json_object *entry = json_object_new_object();
	char file[32], path[512];

	snprintf(file, sizeof(file), "%s.content", filesystem->name);
	if ((size_t)snprintf(path, sizeof(path), "%s/%s", folder, file) >= sizeof(path))
		world_fail(world, "%s: the path is too long", folder);
	struct listing listing = { .world = world, .entries = json_object_new_array(), .content = fopen(path, "we") };
	if (!listing.content)
		world_fail(world, "%s: can't be written", path);
	/* What a full pool kept from being looked at again is not known. */
	bool known = filesystem->saved && filesystem->fs;
	for (unsigned i = 0; known && i < world->files->lanes; i++) {
		listing.state = &filesystem->clients[i].lane.state;
		list(&listing, 0, filesystem->clients[i].name);
	}
	if (fclose(listing.content))
		world_fail(world, "%s: can't be written", path);
	json_object_object_add(entry, "name", json_object_new_string(filesystem->name));
	json_object_object_add(entry, "known", json_object_new_boolean(known));
	json_object_object_add(entry, "caseless", json_object_new_boolean(filesystem->caseless));
	json_object_object_add(entry, "file", json_object_new_string(file));
	json_object_object_add(entry, "entries", listing.entries);
	return entry;
}

struct json_object *files_images_expect(struct world *world, const char *folder)
{
	struct json_object *all = json_object_new_array();

	for (unsigned i = 0; world->files && i < world->files->count; i++)
		json_object_array_add(all, describe(world, &world->files->filesystems[i], folder));
	return all;
}
