/*
 * The paths of disks: where each was last seen, kept in the pool too, so that a missing disk can be named to
 * people as they know it, and by them.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/pool/internal.h"

size_t disk_key(const struct guid *guid, const char *what, char *ret_key)
{
	char text[GUID_TEXT_SIZE];

	guid_format(guid, text);
	memcpy(ret_key, "disk", 5);
	memcpy(ret_key + 5, text, 33);
	memcpy(ret_key + 38, what, 4);
	return DISK_KEY_SIZE;
}

int paths_create(void *argument, struct core *core, uint64_t txg)
{
	const struct label *label = core_label(core);
	int result = 0;

	(void)argument;
	for (unsigned i = 0; i < label->disk_count && result == 0; i++) {
		const char *path = store_disk(core_store(core), label->disks[i].index)->path;
		char key[DISK_KEY_SIZE];
		size_t length = strnlen(path, LIBPOOL_PATH_MAX - 1);

		result = tree_put(core_mos_object(core, MOS_PROPERTIES), txg, key, disk_key(&label->disks[i].guid, "path", key), path, length);
	}
	return result;
}

static bool is_configured(const struct label_disk *disk)
{
	return disk->state != DISK_REMOVED && disk->index < DISKS_MAX;
}

static int load_path(struct engine *engine, const struct label_disk *disk)
{
	char key[DISK_KEY_SIZE], value[OBJECT_VALUE_MAX];
	size_t length;
	int result = tree_get(core_mos_object(engine->core, MOS_PROPERTIES), key, disk_key(&disk->guid, "path", key), value, sizeof(value),
			      &length);

	if (result < 0)
		return result == -ENOENT ? 0 : result;
	free(engine->paths[disk->index]);
	engine->paths[disk->index] = strndup(value, length < LIBPOOL_PATH_MAX ? length : LIBPOOL_PATH_MAX - 1);
	return engine->paths[disk->index] ? 0 : -ENOMEM;
}

int paths_load(struct engine *engine)
{
	const struct label *label = core_label(engine->core);
	int result = 0;

	/* Removed ones too: what is told of the past names them. */
	for (unsigned i = 0; i < label->disk_count && result == 0; i++)
		if (label->disks[i].index < DISKS_MAX)
			result = load_path(engine, &label->disks[i]);
	return result;
}

void paths_note(struct engine *engine)
{
	const struct label *label = core_label(engine->core);

	for (unsigned i = 0; i < label->disk_count; i++) {
		unsigned index = label->disks[i].index;
		const struct store_disk *disk = is_configured(&label->disks[i]) ? store_disk(core_store(engine->core), index) : NULL;
		const char *known = index < DISKS_MAX ? engine->paths[index] : NULL;

		if (!disk || !disk->disk || !disk->path[0] || (known && !strcmp(known, disk->path)))
			continue;
		free(engine->paths[index]);
		engine->paths[index] = strdup(disk->path);
		engine->paths_dirty = true;
	}
	if (engine->paths_dirty)
		keeper_ask(engine);
}

void paths_store(struct engine *engine)
{
	struct label *label;

	if (!engine->paths_dirty)
		return;
	engine->paths_dirty = false;
	label = malloc(sizeof(*label));
	if (!label)
		return;
	*label = *core_label(engine->core); /* it may change while this waits */
	for (unsigned i = 0; i < label->disk_count; i++) {
		char key[DISK_KEY_SIZE], stored[OBJECT_VALUE_MAX], path[LIBPOOL_PATH_MAX];
		const char *known = is_configured(&label->disks[i]) ? engine->paths[label->disks[i].index] : NULL;
		size_t key_length = disk_key(&label->disks[i].guid, "path", key), length;

		if (!known)
			continue;
		snprintf(path, sizeof(path), "%s", known);
		if (tree_get(core_mos_object(engine->core, MOS_PROPERTIES), key, key_length, stored, sizeof(stored), &length) == 0 &&
		    length == strlen(path) && !memcmp(stored, path, length))
			continue;
		if (engine_mos_put(engine, MOS_PROPERTIES, key, key_length, path, strlen(path)) < 0) {
			engine->paths_dirty = true;
			break;
		}
	}
	free(label);
}

const char *engine_disk_path(struct engine *engine, unsigned index)
{
	const struct store_disk *disk = index < DISKS_MAX ? store_disk(core_store(engine->core), index) : NULL;

	if (!disk)
		return "";
	if (disk->path[0])
		return disk->path;
	return engine->paths[index] ? engine->paths[index] : "";
}

void engine_disk_text(struct engine *engine, unsigned index, char *ret_text, size_t size)
{
	const char *path = engine_disk_path(engine, index);

	if (path[0])
		snprintf(ret_text, size, "%s", path);
	else
		snprintf(ret_text, size, "#%u", index);
}

static bool is_named(struct engine *engine, const struct label_disk *disk, const char *text)
{
	const struct store_disk *open = store_disk(core_store(engine->core), disk->index);
	const char *known = engine->paths[disk->index];
	struct guid guid;
	char number[16];

	snprintf(number, sizeof(number), "#%u", disk->index);
	return !strcmp(text, number) || (open->path[0] && !strcmp(text, open->path)) || (known && !strcmp(text, known)) ||
	       (guid_parse(text, &guid) && guid_equal(&guid, &disk->guid));
}

int engine_disk_find(struct engine *engine, const char *text, unsigned *ret_index, struct pool_error *error)
{
	const struct label *label = core_label(engine->core);
	const struct label_disk *found = NULL;

	if (!text || !text[0])
		return pool_error_set(error, -EINVAL, "pool %s: no disk is named", label->name);
	for (unsigned i = 0; i < label->disk_count; i++) {
		if (!is_configured(&label->disks[i]) || !is_named(engine, &label->disks[i], text))
			continue;
		if (found)
			return pool_error_set(error, -EEXIST, "pool %s: %s names disks #%u and #%u: use the number", label->name, text,
					      found->index, label->disks[i].index);
		found = &label->disks[i];
	}
	if (!found)
		return pool_error_set(error, -ENOENT, "pool %s has no disk %s: see poolctl status %s", label->name, text, label->name);
	*ret_index = found->index;
	return 0;
}
