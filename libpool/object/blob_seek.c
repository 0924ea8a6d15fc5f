/*
 * SEEK_DATA and SEEK_HOLE.
 *
 * The search goes on in steps. Each step takes the overlays and the root on disk at once, and decides about a run of
 * blocks from its first one on; what is decided stays decided, because only changes made meanwhile could contradict it.
 * A block that a change has touched is data unless it was punched: its content isn't looked at.
 */
#include "libpool/object/object_internal.h"

/* Whether block `number` is data, and up to where the answer holds. */
static int examine(struct object *object, struct object_view *view, uint64_t number, bool *ret_data, uint64_t *ret_end)
{
	struct overlay *overlays[2];
	struct block_pointer pointer;
	uint64_t end = UINT64_MAX, disk_end;
	int result;

	object_overlays(object, overlays);
	for (int i = 0; i < 2; i++) {
		struct dirty_block *block;
		enum overlay_state state;
		uint64_t overlay_end;

		if (!overlays[i])
			continue;
		state = overlay_lookup(overlays[i], number, &block, &overlay_end);
		if (overlay_end < end)
			end = overlay_end;
		if (state != OVERLAY_NONE) {
			*ret_data = state == OVERLAY_DIRTY;
			*ret_end = end;
			return 0;
		}
	}
	object_view_take(view, object);
	result = blob_find(view, number, true, &pointer, &disk_end);
	if (result < 0)
		return result;
	*ret_data = !block_pointer_is_hole(&pointer);
	*ret_end = disk_end < end ? disk_end : end;
	return 0;
}

int blob_seek(struct object *object, uint64_t offset, uint64_t limit, bool data, uint64_t *ret_offset)
{
	struct object_view view = { 0 };
	uint64_t size = blob_block_size(object);

	if (object->disk.kind == DNODE_TREE)
		return -EINVAL;
	while (offset < limit) {
		uint64_t end;
		bool is_data;
		int result;

		if (object->destroyed) {
			*ret_offset = data ? limit : offset;
			return 0;
		}
		result = examine(object, &view, offset / size, &is_data, &end);
		if (result == -POOL_ESTALE)
			continue;
		if (result < 0)
			return result;
		if (is_data == data) {
			*ret_offset = offset;
			return 0;
		}
		offset = end > UINT64_MAX / size ? limit : end * size;
	}
	*ret_offset = limit;
	return 0;
}
