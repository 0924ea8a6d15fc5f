/*
 * Sync of objsets: what object.h promises, in this order.
 *
 * 1. Plan blobs and destroyed objects: read the nodes that change, detach what was punched (blob_plan.c).
 * 2. Kill orphans, a bounded number; the rest goes into the objsets' trees of them, as changes of this txg (orphans.c).
 * 3. Plan trees (tree_plan.c).
 * 4. Write level 0 of all objects, then level 1, and so on; before each, the addresses of the one below are known.
 * 5. Dnodes into dnode blocks; the blob of dnodes, level by level, likewise. Objset blocks.
 * 6. Switch: in one step, without waiting, every object gets its new dnode and loses the overlay of this txg.
 *
 * Until the switch nobody sees anything of all this. If a step fails, nothing has changed for readers, but pointers
 * may have been killed: the caller must not commit this txg, nor sync these objsets again.
 */
#include <stdlib.h>
#include <string.h>

#include "libpool/base/check.h"
#include "libpool/object/sync_internal.h"

static struct plan *plan_at(struct array *plans, size_t index)
{
	return *array_at(plans, struct plan *, index);
}

static struct plan *plan_new(struct sync_part *part, struct object *object, struct overlay *overlay)
{
	struct plan *plan = calloc(1, sizeof(*plan));

	if (!plan)
		return NULL;
	plan->part = part;
	plan->object = object;
	plan->overlay = overlay;
	plan->dnode = object->disk;
	return plan;
}

static void plan_free(struct plan *plan)
{
	if (!plan)
		return;
	blob_plan_free(plan->blob);
	tree_plan_free(plan->tree);
	free(plan);
}

static int add_plan(struct sync_part *part, struct overlay *overlay)
{
	struct plan *plan = plan_new(part, overlay->object, overlay);

	if (plan && array_push(&part->plans, &plan) == 0)
		return 0;
	plan_free(plan);
	return -ENOMEM;
}

/* Plans for the overlays that have none yet: the list only grows at its end. */
static int add_plans(struct sync_part *part)
{
	size_t index = 0;
	int result = 0;

	list_for_each(node, &part->objset->overlays[part->run->request->txg & 1]) {
		if (index++ >= part->plans.count && result == 0)
			result = add_plan(part, container_of(node, struct overlay, node));
	}
	return result;
}

/* The object disappears: its root becomes an orphan. */
static int plan_destroyed(struct plan *plan)
{
	struct block_pointer root;
	int result;

	plan->dnode = (struct dnode){ 0 };
	if (plan->object->disk.kind == DNODE_FREE)
		return 0;
	result = block_pointer_decode(&plan->object->disk.root, &root);
	return result < 0 ? result : orphan_push(plan, &root, &plan->object->disk.root, 0);
}

struct plan_list {
	struct plan **plans;
	size_t count;
};

static int plan_content(void *argument, size_t item)
{
	struct plan *plan = ((struct plan_list *)argument)->plans[item];
	const struct overlay *overlay = plan->overlay;

	if (overlay->destroyed || plan->object->disk.kind == DNODE_FREE)
		return plan_destroyed(plan);
	return overlay->blocks.count || overlay->ranges.count ? blob_plan(plan) : 0;
}

/* Apart from the blobs, because orphans become changes of a tree. */
static int plan_entries(void *argument, size_t item)
{
	struct plan *plan = ((struct plan_list *)argument)->plans[item];

	if (plan->overlay->destroyed || plan->dnode.kind != DNODE_TREE ||
	    !(plan->overlay->changes.count + plan->overlay->touched.count))
		return 0;
	return tree_plan(plan);
}

/* All plans of all parts in one array. */
static int list_plans(struct sync_run *run, struct plan_list *ret_list)
{
	size_t count = 0;

	for (size_t i = 0; i < run->part_count; i++)
		count += run->parts[i].plans.count;
	ret_list->plans = calloc(count ? count : 1, sizeof(struct plan *));
	if (!ret_list->plans)
		return -ENOMEM;
	ret_list->count = 0;
	for (size_t i = 0; i < run->part_count; i++)
		for (size_t j = 0; j < run->parts[i].plans.count; j++)
			ret_list->plans[ret_list->count++] = plan_at(&run->parts[i].plans, j);
	return 0;
}

/* Writes all levels of all plans; blobs before trees, so that data comes first. */
static int write_levels(struct sync_run *run, struct plan_list *list)
{
	bool done = false;
	int result = 0, placing;

	for (unsigned level = 0; !done && result == 0; level++) {
		for (size_t i = 0; i < list->count && result == 0; i++)
			result = blob_plan_write(list->plans[i], level);
		for (size_t i = 0; i < list->count && result == 0; i++)
			result = tree_plan_write(list->plans[i], level);
		placing = sync_place(run); /* also after an error: nothing may be under way when the plans are freed */
		if (result == 0)
			result = placing;
		done = true;
		for (size_t i = 0; i < list->count && done; i++)
			done = blob_plan_done(list->plans[i], level + 1) && tree_plan_done(list->plans[i]);
	}
	return result;
}

static void finish_dnode(struct plan *plan)
{
	const struct overlay *overlay = plan->overlay;
	int64_t change = overlay->cells_change;

	if (plan->dnode.kind == DNODE_FREE)
		return;
	if (change < 0 && (uint64_t)-change > plan->dnode.sectors)
		plan->dnode.sectors = 0; /* counted wrong by someone else's writer */
	else
		plan->dnode.sectors += (uint64_t)change;
	if (overlay->bonus_set) {
		plan->dnode.bonus_length = overlay->bonus_length;
		memcpy(plan->dnode.bonus, overlay->bonus, sizeof(overlay->bonus));
	}
}

static int run_plans(struct sync_run *run)
{
	struct plan_list list;
	int result = list_plans(run, &list);

	if (result < 0)
		return result;
	result = sync_parallel(run, list.count, plan_content, &list);
	free(list.plans);
	for (size_t i = 0; i < run->part_count && result == 0; i++) {
		result = orphans_kill(&run->parts[i]);
		if (result == 0 && run->parts[i].objset)
			result = add_plans(&run->parts[i]);
	}
	if (result == 0)
		result = list_plans(run, &list);
	if (result < 0)
		return result;
	result = sync_parallel(run, list.count, plan_entries, &list);
	if (result == 0)
		result = write_levels(run, &list);
	for (size_t i = 0; i < list.count && result == 0; i++)
		finish_dnode(list.plans[i]);
	free(list.plans);
	return result;
}

/* Dnodes of one block: plans [first, first + count) of a list sorted by number. */
struct dnode_group {
	struct sync_part *part;
	struct plan **plans;
	size_t count;
};

static int compare_plans(const void *left, const void *right)
{
	uint64_t a = (*(struct plan *const *)left)->object->number, b = (*(struct plan *const *)right)->object->number;

	return a < b ? -1 : a > b;
}

static int write_dnodes(void *argument, size_t item)
{
	struct dnode_group *group = &((struct dnode_group *)argument)[item];
	struct plan *dnodes = group->part->dnodes;
	uint64_t number = group->plans[0]->object->number / DNODES_PER_BLOCK;
	struct buffer *before, *block;
	bool changed = false;
	int64_t bytes;
	int result = blob_read_block(dnodes->object, number, &before);

	if (result < 0)
		return result;
	block = before ? buffer_new_copy(before->data, DNODE_BLOCK_SIZE) : buffer_new_zero(DNODE_BLOCK_SIZE);
	buffer_unref(before);
	if (!block)
		return -ENOMEM;
	for (size_t i = 0; i < group->count; i++) {
		uint8_t raw[DNODE_SIZE], *slot = block->data + group->plans[i]->object->number % DNODES_PER_BLOCK * DNODE_SIZE;

		dnode_encode(&group->plans[i]->dnode, raw);
		changed |= memcmp(slot, raw, sizeof(raw)) != 0;
		memcpy(slot, raw, sizeof(raw));
	}
	bytes = dnodes->overlay->bytes;
	result = changed ? overlay_put_block(dnodes->overlay, number, block) : 0;
	overlay_account(dnodes->overlay, bytes);
	if (result < 0 || !changed)
		buffer_unref(block);
	return result;
}

static int prepare_dnodes(struct sync_part *part, struct array *groups)
{
	struct overlay *overlay = object_overlay(part->objset->dnodes, part->run->request->txg);
	int result = 0;

	part->dnodes = overlay ? plan_new(part, part->objset->dnodes, overlay) : NULL;
	if (!part->dnodes)
		return -ENOMEM;
	if (part->plans.count)
		qsort(part->plans.items, part->plans.count, sizeof(struct plan *), compare_plans);
	for (size_t first = 0, end; first < part->plans.count && result == 0; first = end) {
		uint64_t block = plan_at(&part->plans, first)->object->number / DNODES_PER_BLOCK;
		struct dnode_group group = { part, array_at(&part->plans, struct plan *, first), 0 };

		for (end = first; end < part->plans.count && plan_at(&part->plans, end)->object->number / DNODES_PER_BLOCK == block; end++)
			group.count++;
		result = array_push(groups, &group);
	}
	return result;
}

static int plan_dnodes(void *argument, size_t item)
{
	struct plan *plan = ((struct sync_run *)argument)->parts[item].dnodes;

	return plan->overlay->blocks.count ? blob_plan(plan) : 0;
}

static int run_dnodes(struct sync_run *run)
{
	struct plan_list list = { calloc(run->part_count, sizeof(struct plan *)), run->part_count };
	struct array groups;
	int result = list.plans ? 0 : -ENOMEM;

	array_init(&groups, sizeof(struct dnode_group));
	for (size_t i = 0; i < run->part_count && result == 0; i++) {
		result = prepare_dnodes(&run->parts[i], &groups);
		if (result == 0)
			list.plans[i] = run->parts[i].dnodes;
	}
	if (result == 0)
		result = sync_parallel(run, groups.count, write_dnodes, groups.items);
	if (result == 0)
		result = sync_parallel(run, run->part_count, plan_dnodes, run);
	if (result == 0)
		result = write_levels(run, &list);
	for (size_t i = 0; i < run->part_count && result == 0; i++)
		finish_dnode(list.plans[i]);
	array_release(&groups);
	free(list.plans);
	return result;
}

static int write_root(struct sync_part *part)
{
	struct objset *objset = part->objset;
	unsigned slot = part->run->request->txg & 1;
	struct objset_block header = {
		.id = objset->home.objset_id,
		.next_object = objset->next_object,
		.object_count = objset->disk_object_count + (uint64_t)objset->count_change[slot],
		.dnodes = part->dnodes->dnode,
	};
	struct sync_write_options options = { .plan = part->dnodes, .slot = &part->root, .changed = &part->root_changed, .type = TYPE_OBJSET, .fill = 1 };
	int result;

	part->root = objset->root;
	if (!objset->header_dirty[slot] && !part->dnodes->root_changed && header.next_object == objset->disk_next_object &&
	    header.object_count == objset->disk_object_count)
		return 0;
	options.buffer = buffer_new(OBJSET_SIZE);
	if (!options.buffer)
		return -ENOMEM;
	objset_block_encode(&header, options.buffer->data);
	result = sync_write(part->run, &options);
	buffer_unref(options.buffer);
	objset->disk_next_object = header.next_object;
	return result;
}

static void switch_object(struct plan *plan, struct list *garbage)
{
	struct object *object = plan->object;
	struct overlay *overlay = plan->overlay;

	object->disk.kind = plan->dnode.kind;
	if (plan->dnode.kind != DNODE_FREE) /* handles of a destroyed object go on with its block size */
		object->disk = plan->dnode;
	object->generation++;
	object->overlays[overlay->txg & 1] = NULL;
	/* The open txg may have given the blob another block size: it was empty in this one. */
	const struct overlay *open = object->overlays[~overlay->txg & 1];
	if (open && open->block_shift && object->disk.kind == DNODE_BLOB)
		blob_reshape(object, open->block_shift);
	if (list_linked(&overlay->node))
		list_remove(&overlay->node);
	list_push_back(garbage, &overlay->node);
	overlay_forget(overlay);
}

static int64_t cells_gained(const struct plan *plan)
{
	return (int64_t)(plan->dnode.kind == DNODE_FREE ? 0 : plan->dnode.sectors) -
	       (int64_t)(plan->object->disk.kind == DNODE_FREE ? 0 : plan->object->disk.sectors);
}

/* One step: nothing here waits. */
static void switch_all(struct sync_run *run, struct list *garbage)
{
	for (size_t i = 0; i < run->part_count; i++) {
		struct sync_part *part = &run->parts[i];
		struct objset *objset = part->objset;
		unsigned slot = run->request->txg & 1;

		for (size_t j = 0; j < part->plans.count; j++) {
			const struct plan *plan = plan_at(&part->plans, j);

			if (objset)
				objset->cells_change += cells_gained(plan);
			if (objset && objset->observer)
				objset->observer(objset->observer_argument, &plan->object->disk, &plan->dnode);
			switch_object(plan_at(&part->plans, j), garbage);
		}
		if (!objset)
			continue;
		objset->cells_change += cells_gained(part->dnodes);
		switch_object(part->dnodes, garbage);
		objset->root = part->root;
		objset->header_dirty[slot] = false;
		objset->disk_object_count += (uint64_t)objset->count_change[slot];
		objset->count_change[slot] = 0;
		POOL_CHECK(list_empty(&objset->overlays[slot]));
		for (size_t j = 0; j < part->plans.count; j++)
			object_settle(plan_at(&part->plans, j)->object);
	}
}

static void run_release(struct sync_run *run)
{
	sync_writes_release(run);
	for (size_t i = 0; i < run->part_count; i++) {
		struct sync_part *part = &run->parts[i];

		for (size_t j = 0; j < part->plans.count; j++)
			plan_free(plan_at(&part->plans, j));
		plan_free(part->dnodes);
		array_release(&part->plans);
		array_release(&part->orphans);
	}
}

static void part_init(struct sync_run *run, struct sync_part *part, struct object_home *home, struct objset *objset)
{
	*part = (struct sync_part){ .run = run, .home = home, .objset = objset };
	array_init(&part->plans, sizeof(struct plan *));
	array_init(&part->orphans, sizeof(struct orphan));
	run->part_count++;
}

static void run_init(struct sync_run *run, struct object_sync *sync, struct sync_part *parts, struct rt *rt)
{
	*run = (struct sync_run){ .request = sync, .rt = rt, .parts = parts, .kills_left = OBJECT_KILLS_PER_SYNC };
	list_init(&run->writes);
	list_init(&run->free_writes);
}

/* The overlays may hold a lot: others run while it is freed. */
static void free_overlays(struct rt *rt, struct list *garbage)
{
	struct list *node;

	for (unsigned i = 1; (node = list_pop_front(garbage)); i++) {
		overlay_free(container_of(node, struct overlay, node));
		if (i % 64 == 0)
			rt_yield(rt);
	}
}

int objsets_sync(struct object_sync *sync, struct objset **objsets, size_t count)
{
	struct sync_part *parts = calloc(count ? count : 1, sizeof(*parts));
	struct sync_run run;
	struct list garbage;
	int result = 0, placing;

	if (!parts)
		return -ENOMEM;
	run_init(&run, sync, parts, count ? objsets[0]->home.rt : NULL);
	list_init(&garbage);
	for (size_t i = 0; i < count && result == 0; i++) {
		if (!objset_is_dirty(objsets[i], sync->txg) && !objset_has_pending_kills(objsets[i]))
			continue;
		part_init(&run, &parts[run.part_count], &objsets[i]->home, objsets[i]);
		result = add_plans(&parts[run.part_count - 1]);
	}
	if (run.part_count) {
		if (result == 0)
			result = run_plans(&run);
		if (result == 0)
			result = run_dnodes(&run);
		for (size_t i = 0; i < run.part_count && result == 0; i++)
			result = write_root(&parts[i]);
		placing = sync_place(&run);
		if (result == 0)
			result = placing;
		if (result == 0)
			switch_all(&run, &garbage);
		run_release(&run);
		free_overlays(run.rt, &garbage);
	}
	free(parts);
	return result;
}

int object_sync_bare(struct object_sync *sync, struct object *object, struct dnode *ret_dnode)
{
	struct overlay *overlay = object_overlay_if_any(object, sync->txg);
	struct sync_part part;
	struct sync_run run;
	struct list garbage;
	int result;

	if (overlay) {
		run_init(&run, sync, &part, object->home->rt);
		list_init(&garbage);
		part_init(&run, &part, object->home, NULL);
		result = add_plan(&part, overlay);
		if (result == 0)
			result = run_plans(&run);
		if (result == 0)
			switch_all(&run, &garbage);
		run_release(&run);
		free_overlays(run.rt, &garbage);
		if (result < 0)
			return result;
	}
	*ret_dnode = object->disk;
	return 0;
}
