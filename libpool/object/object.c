/*
 * Objects in RAM: made by create, open and for bare blobs; shared by all handles of one number; kept while there
 * is a handle, a fiber or an overlay.
 *
 * What must always hold: while an object has overlays it is in its objset's table, so that nobody reads its dnode
 * from disk and misses them.
 */
#include <stdlib.h>
#include <string.h>

#include "libpool/base/check.h"
#include "libpool/object/object_internal.h"

struct object *object_allocate(struct object_home *home, struct objset *objset, uint64_t number, const struct dnode *dnode, uint8_t block_type)
{
	struct object *object = calloc(1, sizeof(*object));

	if (!object)
		return NULL;
	object->home = home;
	object->objset = objset;
	object->number = number;
	object->block_type = block_type;
	object->compression = BLOCK_COMPRESS_AUTO;
	object->disk = *dnode;
	object->references = 1;
	return object;
}

void object_free(struct object *object)
{
	if (!object)
		return;
	for (int i = 0; i < 2; i++) {
		struct overlay *overlay = object->overlays[i];

		if (overlay && list_linked(&overlay->node))
			list_remove(&overlay->node);
		overlay_free(overlay);
	}
	free(object);
}

void object_reference(struct object *object)
{
	object->references++;
}

void object_settle(struct object *object)
{
	if (object->references || object->overlays[0] || object->overlays[1])
		return;
	if (object->objset)
		hash_table_remove(&object->objset->objects, &object->node);
	object_free(object);
}

void object_close(struct object *object)
{
	struct object_home *home;

	if (!object || !POOL_CHECK(object->references > 0))
		return;
	home = object->home;
	if (object->objset) {
		object->references--;
		object_settle(object);
		return;
	}
	/* A bare blob has its home to itself: the last handle takes it away, when nothing reads ahead any more. */
	if (object->references == 1 + home->background_count) {
		if (home->background_count)
			rt_group_wait(home->rt, &home->background);
		object_free(object);
		free(home);
		return;
	}
	object->references--;
}

int object_new_bare(struct rt *rt, struct blocks *blocks, const struct dnode *dnode, uint8_t block_type, enum segment_class class,
		    uint64_t number, struct object **ret_object)
{
	struct object_home *home;
	struct object *object;

	if (dnode->kind != DNODE_BLOB)
		return -EINVAL;
	home = calloc(1, sizeof(*home));
	if (!home)
		return -ENOMEM;
	home->rt = rt;
	home->blocks = blocks;
	home->data_class = home->node_class = class;
	home->metadata_compression = BLOCK_COMPRESS_AUTO;
	rt_group_init(&home->background);
	object = object_allocate(home, NULL, number, dnode, block_type);
	if (!object) {
		free(home);
		return -ENOMEM;
	}
	*ret_object = object;
	return 0;
}

struct overlay *object_overlay_if_any(const struct object *object, uint64_t txg)
{
	struct overlay *overlay = object->overlays[txg & 1];

	return overlay && overlay->txg == txg ? overlay : NULL;
}

struct overlay *object_overlay(struct object *object, uint64_t txg)
{
	struct overlay *overlay = object->overlays[txg & 1];

	if (overlay) /* else a txg would be open before the one two earlier has been synced */
		return POOL_CHECK(overlay->txg == txg) ? overlay : NULL;
	overlay = overlay_new(object, txg);
	if (!overlay)
		return NULL;
	object->overlays[txg & 1] = overlay;
	if (object->objset)
		list_push_back(&object->objset->overlays[txg & 1], &overlay->node);
	overlay_account(overlay, 0);
	return overlay;
}

void overlay_account(struct overlay *overlay, int64_t before)
{
	struct object_home *home = overlay->object->home;

	if (home->dirty && overlay->bytes != before)
		home->dirty(home->argument, overlay->txg, overlay->bytes - before);
}

void overlay_forget(const struct overlay *overlay)
{
	struct object_home *home = overlay->object->home;

	if (home->dirty)
		home->dirty(home->argument, overlay->txg, -overlay->bytes);
}

void object_overlays(const struct object *object, struct overlay *ret_overlays[2])
{
	struct overlay *first = object->overlays[0], *second = object->overlays[1];
	bool swap = !first || (second && second->txg > first->txg);

	ret_overlays[0] = swap ? second : first;
	ret_overlays[1] = swap ? first : second;
}

uint64_t object_number(const struct object *object)
{
	return object->number;
}

void object_set_compression(struct object *object, uint8_t compression)
{
	object->compression = compression;
}

void object_info(const struct object *object, struct dnode *ret_dnode)
{
	struct overlay *overlays[2];

	*ret_dnode = object->disk;
	object_overlays(object, overlays);
	for (int i = 1; i >= 0; i--) {
		const struct overlay *overlay = overlays[i];

		if (!overlay)
			continue;
		if (overlay->bonus_set) {
			ret_dnode->bonus_length = overlay->bonus_length;
			memcpy(ret_dnode->bonus, overlay->bonus, sizeof(overlay->bonus));
		}
		if (overlay->any_written && overlay->max_written > ret_dnode->max_block)
			ret_dnode->max_block = overlay->max_written;
	}
	if (object->destroyed)
		*ret_dnode = (struct dnode){ 0 };
}

int object_set_bonus(struct object *object, uint64_t txg, const void *bonus, size_t length)
{
	struct overlay *overlay;

	if (length > DNODE_BONUS_MAX)
		return -EINVAL;
	if (object->destroyed)
		return -ENOENT;
	overlay = object_overlay(object, txg);
	if (!overlay)
		return -ENOMEM;
	memset(overlay->bonus, 0, sizeof(overlay->bonus));
	if (length)
		memcpy(overlay->bonus, bonus, length);
	overlay->bonus_length = (uint16_t)length;
	overlay->bonus_set = true;
	return 0;
}
