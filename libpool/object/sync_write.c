/*
 * The writes of a sync run, and the one way in which a pointer replaces another.
 *
 * What must always hold: from submission until sync_place returns, a write's slot stays where it is; nothing is freed
 * before that, also when the run has failed.
 */
#include <stdlib.h>

#include "libpool/base/check.h"
#include "libpool/object/sync_internal.h"

#define PARALLEL_FIBERS 16u

struct pending_write {
	struct block_write write;
	struct list node;
	struct sync_run *run;
	struct plan *plan;
	struct raw_block_pointer *slot;
	bool *changed;
};

void plan_kill(struct plan *plan, const struct block_pointer *pointer)
{
	struct object_sync *request = plan->part->run->request;

	if (!block_pointer_is_placed(pointer))
		return;
	plan->overlay->cells_change -= pointer->psect;
	request->kill(request, plan->part->objset, pointer);
}

void plan_replace(struct plan *plan, struct raw_block_pointer *slot, bool *changed, const struct block_pointer *pointer)
{
	struct block_pointer before;

	if (!POOL_CHECK(block_pointer_decode(slot, &before) == 0)) /* planning has decoded it */
		return;
	if (block_pointer_is_hole(&before) && block_pointer_is_hole(pointer))
		return;
	plan_kill(plan, &before);
	if (block_pointer_is_placed(pointer))
		plan->overlay->cells_change += pointer->psect;
	block_pointer_encode(pointer, slot);
	*changed = true;
}

struct block_pointer plan_hole(const struct plan *plan, unsigned level, uint64_t birth)
{
	const struct dnode *dnode = &plan->object->disk;

	return (struct block_pointer){
		.flags = BP_HOLE,
		.birth = birth,
		.type = plan->object->block_type,
		.level = (uint8_t)level,
		.lsect = (uint16_t)(blob_node_size(dnode->kind == DNODE_TREE ? 1 : level, dnode->block_shift, dnode->indirect_shift) / CELL_SIZE),
	};
}

static void placed(struct block_write *write)
{
	struct pending_write *pending = container_of(write, struct pending_write, write);

	if (write->allow_hole) /* data */
		object_compression_learn(pending->plan->object, write->compression, &write->pointer);
	plan_replace(pending->plan, pending->slot, pending->changed, &write->pointer);
	list_remove(&pending->node);
	list_push_back(&pending->run->free_writes, &pending->node);
}

/*
 * A leaf of a directory is written anew by each commit that finds a name in it: what that costs is mostly compression. Trees of the pool itself have block
 * pointers in their leaves, of which the better level can make one cell.
 */
static uint8_t compression_of(const struct sync_write_options *options)
{
	struct object *object = options->plan->object;
	const struct object_home *home = options->plan->part->home;

	if (options->data)
		return object_compression(object);
	if (object->disk.kind == DNODE_TREE && options->level == 0 && home->objset_id != 0 && home->metadata_compression == BLOCK_COMPRESS_AUTO)
		return BLOCK_COMPRESS_LEAF;
	return home->metadata_compression;
}

int sync_write(struct sync_run *run, const struct sync_write_options *options)
{
	const struct object *object = options->plan->object;
	struct object_home *home = options->plan->part->home;
	struct list *node = list_pop_front(&run->free_writes);
	struct pending_write *pending = node ? container_of(node, struct pending_write, node) : malloc(sizeof(*pending));

	if (!pending)
		return -ENOMEM;
	*pending = (struct pending_write){
		.run = run,
		.plan = options->plan,
		.slot = options->slot,
		.changed = options->changed,
		.write = {
			.data = options->buffer,
			.lsect = (uint16_t)(options->buffer->size / CELL_SIZE),
			.type = options->type ? options->type : object->block_type,
			.compression = compression_of(options),
			.class = options->data && object->block_type != TYPE_DNODES ? home->data_class : home->node_class,
			.allow_hole = options->data,
			.allow_embed = options->data,
			.cache = true,
			.txg = run->request->txg,
			.fill = options->fill,
			.owner = object_owner(object, options->level, options->block),
			.placed = placed,
		},
	};
	run->classes |= 1u << pending->write.class;
	list_push_back(&run->writes, &pending->node);
	block_write_submit(run->request->blocks, &pending->write);
	return 0;
}

int sync_place(struct sync_run *run)
{
	unsigned classes = run->classes;
	int result = 0;

	run->classes = 0;
	for (unsigned class = 0; class < CLASS_COUNT; class++) {
		int placing = classes & 1u << class ? block_writes_place(run->request->blocks, class) : 0;

		if (placing < 0 && result == 0)
			result = placing;
	}
	return result;
}

void sync_writes_release(struct sync_run *run)
{
	struct list *node;

	list_splice_back(&run->free_writes, &run->writes); /* after an error: placing has given them back */
	while ((node = list_pop_front(&run->free_writes)))
		free(container_of(node, struct pending_write, node));
}

struct parallel {
	struct sync_run *run;
	size_t next, count;
	int (*function)(void *argument, size_t item);
	void *argument;
	int error;
	struct rt_group group;
};

static void run_items(struct parallel *parallel)
{
	while (parallel->next < parallel->count && !parallel->error) {
		int result = parallel->function(parallel->argument, parallel->next++);

		if (result < 0 && !parallel->error)
			parallel->error = result;
		if (parallel->next % 64 == 0)
			rt_yield(parallel->run->rt);
	}
}

static void parallel_fiber(void *argument)
{
	struct parallel *parallel = argument;

	run_items(parallel);
	rt_group_done(parallel->run->rt, &parallel->group, 0);
}

int sync_parallel(struct sync_run *run, size_t count, int (*function)(void *argument, size_t item), void *argument)
{
	struct parallel parallel = { .run = run, .count = count, .function = function, .argument = argument };

	rt_group_init(&parallel.group);
	for (size_t i = 1; i < count && i < PARALLEL_FIBERS; i++) {
		rt_group_add(&parallel.group);
		if (rt_spawn(run->rt, "sync", parallel_fiber, &parallel) < 0) {
			rt_group_done(run->rt, &parallel.group, 0);
			break;
		}
	}
	run_items(&parallel);
	if (parallel.group.pending)
		rt_group_wait(run->rt, &parallel.group);
	return parallel.error;
}
