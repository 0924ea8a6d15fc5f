/*
 * See images.h. What a crash leaves open, an import of libpool decides: the model takes that over as the one state that it
 * is, and it is what any other reader of the same disks must find.
 *
 * expected.json: {"seed", "k", "m", "spare": columns that may fail beyond what has happened, "images": [{"file", "suspect":
 * faults may have hit it}], "missing": number of disks that aren't there, "volumes": [{"name", "bytes", "block_bytes",
 * "file"}], "file_systems": [{"name", "known": else it may not be there, "caseless", "file", "entries": [{"path", "mode", "links", "minor", "attributes":
 * {name: [bytes, value of each]}, "at", "bytes": of the content in the file}]}]}. The file of a volume has its blocks that may not be zeros, ascending:
 * offset (u64, little-endian), content.
 */
#include "tests/sim/images.h"

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/faults.h"
#include "tests/sim/files.h"

static void image_path(struct world *world, const char *name, char *path, size_t size)
{
	if ((size_t)snprintf(path, size, "%s/%s", world->images, name) >= size)
		world_fail(world, "%s: the path is too long", world->images);
}

void images_save(struct world *world)
{
	uint64_t losses = sim_random_below(&world->random, world->plan.m + 1);
	char name[32], path[512];

	files_images_saved(world);
	for (uint64_t i = 0; i < losses; i++) {
		struct sim_disk *disk = faults_victim(world);

		if (disk && disk->present)
			sim_disk_vanish(disk, SIM_CRASH_ANY);
	}
	for (unsigned i = 0; i < world->set->count; i++) {
		if (!world->set->disks[i]->present)
			continue;
		snprintf(name, sizeof(name), "disk%u.img", i);
		image_path(world, name, path, sizeof(path));
		int result = sim_disk_save(world->set->disks[i], path);

		if (result)
			world_fail(world, "%s: %s", path, strerror(-result));
	}
}

struct volume_file {
	struct world *world;
	const char *path;
	FILE *file;
};

static void write_block(struct model_block *block, void *argument)
{
	const struct volume_file *target = argument;
	const struct model_content *content = block->versions[block->count - 1].content;
	size_t length = block->volume->block_bytes;
	uint64_t offset = block->number * length;

	if (!content || offset >= model_size(block->volume))
		return;
	if (fwrite(&offset, sizeof(offset), 1, target->file) != 1 || fwrite(content->bytes, length, 1, target->file) != 1)
		world_fail(target->world, "%s: can't be written", target->path);
}

static struct json_object *write_volume(struct world *world, struct model_volume *volume)
{
	struct json_object *entry = json_object_new_object();
	char name[64], path[512];

	snprintf(name, sizeof(name), "%s.expected", volume->name);
	image_path(world, name, path, sizeof(path));
	struct volume_file target = {world, path, fopen(path, "we")};

	if (!target.file)
		world_fail(world, "%s: can't be written", path);
	model_each_block(volume, false, write_block, &target);
	if (fclose(target.file))
		world_fail(world, "%s: can't be written", path);
	json_object_object_add(entry, "name", json_object_new_string(volume->name));
	json_object_object_add(entry, "bytes", json_object_new_uint64(model_size(volume)));
	json_object_object_add(entry, "block_bytes", json_object_new_int64(volume->block_bytes));
	json_object_object_add(entry, "file", json_object_new_string(name));
	return entry;
}

static struct json_object *describe_disk(struct world *world, unsigned index)
{
	struct json_object *entry = json_object_new_object();
	char name[32];

	snprintf(name, sizeof(name), "disk%u.img", index);
	json_object_object_add(entry, "file", json_object_new_string(name));
	json_object_object_add(entry, "suspect", json_object_new_boolean(world->suspects >> index & 1));
	return entry;
}

void images_expect(struct world *world)
{
	struct json_object *document = json_object_new_object(), *images = json_object_new_array(), *volumes = json_object_new_array();
	unsigned hit = (unsigned)__builtin_popcount(world->suspects) + world->rot_columns, missing = 0;
	char path[512];

	for (unsigned i = 0; i < world->set->count; i++) {
		if (world->set->disks[i]->present)
			json_object_array_add(images, describe_disk(world, i));
		else
			missing++;
	}
	list_for_each(node, &world->model.volumes)
		json_object_array_add(volumes, write_volume(world, container_of(node, struct model_volume, node)));
	json_object_object_add(document, "seed", json_object_new_uint64(world->plan.seed));
	json_object_object_add(document, "k", json_object_new_int64(world->plan.k));
	json_object_object_add(document, "m", json_object_new_int64(world->plan.m));
	json_object_object_add(document, "spare", json_object_new_int64(world->plan.m > hit ? world->plan.m - hit : 0));
	json_object_object_add(document, "missing", json_object_new_int64(missing));
	json_object_object_add(document, "images", images);
	json_object_object_add(document, "volumes", volumes);
	json_object_object_add(document, "file_systems", files_images_expect(world, world->images));
	image_path(world, "expected.json", path, sizeof(path));
	if (json_object_to_file_ext(path, document, JSON_C_TO_STRING_PRETTY))
		world_fail(world, "%s: %s", path, json_util_get_last_err());
	json_object_put(document);
}
