/* Changes of trees: noted in the overlay of the open txg, key by key. Nothing is read, so nothing waits. */
#include "libpool/object/tree_internal.h"

static int change(struct object *object, uint64_t txg, const void *key, size_t key_length, const void *value, size_t value_length)
{
	struct overlay *overlay;
	int64_t before;
	int result;

	if (object->destroyed)
		return -ENOENT;
	if (object->disk.kind != DNODE_TREE || key_length > OBJECT_KEY_MAX || value_length > OBJECT_VALUE_MAX)
		return -EINVAL;
	overlay = object_overlay(object, txg);
	if (!overlay)
		return -ENOMEM;
	before = overlay->bytes;
	result = overlay_put_change(overlay, key, key_length, value, value_length);
	overlay_account(overlay, before);
	return result;
}

int tree_touch(struct object *object, uint64_t txg, const void *key, size_t key_length)
{
	if (object->disk.kind != DNODE_TREE || key_length > OBJECT_KEY_MAX)
		return -EINVAL;
	struct overlay *overlay = object_overlay(object, txg);
	if (!overlay)
		return -ENOMEM;
	int64_t before = overlay->bytes;
	int result = overlay_touch(overlay, key, key_length);
	overlay_account(overlay, before);
	return result;
}

int tree_set_complete(struct object *object, uint64_t txg, const struct tree_range *range, uint64_t entries)
{
	struct overlay *overlay = object_overlay(object, txg);

	if (!overlay)
		return -ENOMEM;
	overlay->entries = entries;
	return array_push(&overlay->complete, range);
}

int tree_put(struct object *object, uint64_t txg, const void *key, size_t key_length, const void *value, size_t value_length)
{
	return change(object, txg, key, key_length, value_length ? value : "", value_length);
}

int tree_delete(struct object *object, uint64_t txg, const void *key, size_t key_length)
{
	return change(object, txg, key, key_length, NULL, 0);
}
