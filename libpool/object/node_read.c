/*
 * Reading the blocks an object is made of.
 *
 * A plain read pins nothing: the block may be replaced and its cells be used again while the reader waits. Then
 * the checksum fails, the block layer asks whether the pointer still counts, and a switch of the object's root since
 * the view was taken is answered with no. The reader looks its pointer up again; if it is the same one time
 * after time, it was no coincidence, and the block is read as one that must be there.
 *
 * What must always hold: a buffer that comes from here has the size that its level demands.
 */
#include "libpool/object/object_internal.h"

#define READERS_MAX 32u

int object_decode(const struct object *object, const struct raw_block_pointer *raw, unsigned level, size_t size,
		  struct block_pointer *ret_pointer)
{
	int result = block_pointer_decode(raw, ret_pointer);

	if (result < 0)
		return result;
	if (!block_pointer_is_hole(ret_pointer) && (ret_pointer->type != object->block_type || ret_pointer->level != level ||
						    (size_t)ret_pointer->lsect * CELL_SIZE != size))
		return -POOL_EFORMAT;
	return 0;
}

static bool view_still_current(void *view)
{
	return object_view_current(view);
}

/* Whether a reader that found this pointer stale may look it up once more. */
static bool count_stale(struct stale_count *count, const struct block_pointer *pointer)
{
	if (count->times && count->dva == pointer->dva && count->place == pointer->place)
		return ++count->times < STALE_TIMES_MAX;
	*count = (struct stale_count){ pointer->dva, pointer->place, 1 };
	return true;
}

int object_read(struct object_view *view, const struct block_pointer *pointer, const struct block_owner *owner, size_t size, bool wait,
		struct buffer **ret_buffer)
{
	struct blocks *blocks = view->object->home->blocks;
	struct buffer *buffer = block_pointer_is_placed(pointer) ? block_cached(blocks, pointer) : NULL;
	int result;

	if (!buffer) {
		if (!wait)
			return -EAGAIN;
		result = block_read(blocks, pointer, owner, 0, view_still_current, view, &buffer);
		if (result == -POOL_ESTALE && !count_stale(&view->stale, pointer))
			result = block_read(blocks, pointer, owner, 0, NULL, NULL, &buffer);
		if (result < 0)
			return result;
	}
	if (buffer->size != size) {
		buffer_unref(buffer);
		return -POOL_EFORMAT;
	}
	*ret_buffer = buffer;
	return 0;
}

struct reader_pool {
	struct object_home *home;
	struct node_request *requests;
	size_t count, next;
	struct rt_group group;
};

static void read_next_requests(struct reader_pool *pool)
{
	while (pool->next < pool->count) {
		struct node_request *request = &pool->requests[pool->next++];

		if (!request->buffer && block_pointer_is_placed(&request->pointer))
			request->error = block_read(pool->home->blocks, &request->pointer, &request->owner, 0, NULL, NULL, &request->buffer);
	}
}

static void reader(void *argument)
{
	struct reader_pool *pool = argument;

	read_next_requests(pool);
	rt_group_done(pool->home->rt, &pool->group, 0);
}

int nodes_read(struct object_home *home, struct node_request *requests, size_t count)
{
	struct reader_pool pool = { .home = home, .requests = requests, .count = count };
	size_t missing = 0;

	for (size_t i = 0; i < count; i++) {
		requests[i].error = 0;
		requests[i].buffer = block_pointer_is_placed(&requests[i].pointer) ? block_cached(home->blocks, &requests[i].pointer) : NULL;
		missing += !requests[i].buffer;
	}
	rt_group_init(&pool.group);
	for (unsigned i = 1; i < missing && i < READERS_MAX; i++) {
		rt_group_add(&pool.group);
		if (rt_spawn(home->rt, "read nodes", reader, &pool) < 0) {
			rt_group_done(home->rt, &pool.group, 0);
			break;
		}
	}
	read_next_requests(&pool);
	if (pool.group.pending)
		rt_group_wait(home->rt, &pool.group);
	for (size_t i = 0; i < count; i++) {
		struct node_request *request = &requests[i];

		if (request->buffer && request->buffer->size != (size_t)request->pointer.lsect * CELL_SIZE) {
			buffer_unref(request->buffer);
			request->buffer = NULL;
			request->error = -POOL_EFORMAT;
		}
	}
	for (size_t i = 0; i < count; i++)
		if (requests[i].error)
			return requests[i].error;
	return 0;
}
