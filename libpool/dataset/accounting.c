/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whose space it is: cells and objects of users, groups and projects in each file system, in rows of the MOS. A sync tells of every object
 * that it changed, and the rows follow in the same txg: they are the sums of what dnodes say at each commit.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/dataset/internal.h"
#include "libpool/format/inode.h"

struct owner {
	struct hash_node hash;
	struct list changed; /* in dataset->owners_changed */
	struct space_usage usage;
	uint64_t pending_cells[2], pending_objects[2]; /* by txg & 1 */
	bool freeing[2];
	uint64_t checked; /* commits + 1 as of the last check that found all well */
};

static uint64_t owner_hash(enum owner_kind kind, uint32_t id)
{
	return hash_u64((uint64_t)kind << 32 | id);
}

static struct owner *find(const struct dataset *dataset, enum owner_kind kind, uint32_t id)
{
	if (!dataset->owners)
		return NULL;
	for (struct hash_node *hash = hash_table_first(dataset->owners, owner_hash(kind, id)); hash; hash = hash_table_next(hash)) {
		struct owner *owner = container_of(hash, struct owner, hash);
		if (owner->usage.kind == kind && owner->usage.id == id)
			return owner;
	}
	return NULL;
}

static struct owner *get(struct dataset *dataset, enum owner_kind kind, uint32_t id)
{
	struct owner *owner = find(dataset, kind, id);

	if (owner || !dataset->owners)
		return owner;
	owner = calloc(1, sizeof(*owner));
	if (!owner)
		return NULL;
	owner->usage.kind = kind;
	owner->usage.id = id;
	hash_table_insert(dataset->owners, &owner->hash, owner_hash(kind, id));
	return owner;
}

static struct object *rows(const struct dataset *dataset)
{
	return core_mos_object(dataset->owner->core, MOS_SPACE);
}

/* Calls for each row of the dataset. */
static int each_row(struct dataset *dataset, int (*visit)(struct dataset *dataset, const struct space_row *row, void *argument), void *argument)
{
	struct space_row first = { .dataset = dataset->record.id, .kind = OWNER_USER };
	uint8_t *key = malloc(OBJECT_KEY_MAX), *value = malloc(OBJECT_VALUE_MAX);
	size_t key_length = SPACE_KEY_SIZE, value_length;
	int status = key && value ? 0 : -ENOMEM;

	if (status == 0)
		space_key_encode(&first, key);
	for (bool after = false; status == 0; after = true) {
		struct space_row row;
		status = tree_next(rows(dataset), key, key_length, after, key, &key_length, value, &value_length);
		if (status == 0)
			status = space_row_decode(key, key_length, value, value_length, &row);
		if (status == 0 && row.dataset != dataset->record.id)
			status = -ENOENT;
		if (status == 0)
			status = visit(dataset, &row, argument);
	}
	free(key);
	free(value);
	return status == -ENOENT ? 0 : status;
}

static int load_row(struct dataset *dataset, const struct space_row *row, void *argument)
{
	struct owner *owner = get(dataset, row->kind, row->id);

	(void)argument;
	if (!owner)
		return -ENOMEM;
	if (row->is_limit) {
		owner->usage.limit_bytes = row->amount;
		owner->usage.limit_objects = row->objects;
		dataset->owner_limits++;
	} else {
		owner->usage.cells = row->amount;
		owner->usage.objects = row->objects;
	}
	return 0;
}

static void add(uint64_t *figure, uint64_t less, uint64_t more)
{
	*figure += more;
	*figure = *figure > less ? *figure - less : 0;
}

static void count(struct dataset *dataset, const struct dnode *dnode, bool gone)
{
	struct object_owner_ids ids;
	bool is_inode;

	if (dnode->kind == DNODE_FREE || !object_owner_decode(dnode->bonus, dnode->bonus_length, &ids, &is_inode))
		return;
	for (unsigned kind = 0; kind < OWNER_KINDS; kind++) {
		struct owner *owner = get(dataset, kind, ids.ids[kind]);
		if (!owner) {
			dataset->owners_status = -ENOMEM;
			return;
		}
		add(&owner->usage.cells, gone ? dnode->sectors : 0, gone ? 0 : dnode->sectors);
		add(&owner->usage.objects, gone && is_inode, !gone && is_inode);
		if (!list_linked(&owner->changed))
			list_push_back(&dataset->owners_changed, &owner->changed);
	}
}

static bool counts_the_same(const struct dnode *before, const struct dnode *after)
{
	struct object_owner_ids old, new;
	bool old_inode, new_inode;

	return before->kind != DNODE_FREE && after->kind != DNODE_FREE && before->sectors == after->sectors &&
	       object_owner_decode(before->bonus, before->bonus_length, &old, &old_inode) &&
	       object_owner_decode(after->bonus, after->bonus_length, &new, &new_inode) && memcmp(&old, &new, sizeof(old)) == 0;
}

/* The new ones first: figures don't pass through zero. */
static void observe(void *argument, const struct dnode *before, const struct dnode *after)
{
	if (counts_the_same(before, after))
		return;
	count(argument, after, false);
	count(argument, before, true);
}

int owners_load(struct dataset *dataset)
{
	int status;

	if (dataset->owners)
		return 0;
	dataset->owners = malloc(sizeof(*dataset->owners));
	if (!dataset->owners || hash_table_init(dataset->owners, 64) < 0) {
		free(dataset->owners);
		dataset->owners = NULL;
		return -ENOMEM;
	}
	status = each_row(dataset, load_row, NULL);
	if (status < 0)
		owners_free(dataset);
	return status;
}

void owners_follow(struct dataset *dataset)
{
	if (dataset->owners)
		objset_observe(dataset->objset, observe, dataset);
}

static void free_owner(struct hash_node *hash, void *argument)
{
	struct dataset *dataset = argument;
	struct owner *owner = container_of(hash, struct owner, hash);

	hash_table_remove(dataset->owners, hash);
	if (list_linked(&owner->changed))
		list_remove(&owner->changed);
	free(owner);
}

void owners_free(struct dataset *dataset)
{
	if (!dataset->owners)
		return;
	hash_table_each(dataset->owners, free_owner, dataset);
	hash_table_release(dataset->owners);
	free(dataset->owners);
	dataset->owners = NULL;
	dataset->owner_limits = 0;
}

static int put_row(struct dataset *dataset, uint64_t txg, const struct space_row *row)
{
	uint8_t key[SPACE_KEY_SIZE], value[SPACE_VALUE_SIZE];

	space_row_encode(row, key, value);
	return row->amount || row->objects ? tree_put(rows(dataset), txg, key, sizeof(key), value, sizeof(value)) :
					     tree_delete(rows(dataset), txg, key, sizeof(key));
}

static void settle(struct hash_node *hash, void *argument)
{
	struct owner *owner = container_of(hash, struct owner, hash);
	unsigned slot = *(const uint64_t *)argument & 1;

	owner->pending_cells[slot] = owner->pending_objects[slot] = 0;
	owner->freeing[slot] = false;
}

int owners_put(struct dataset *dataset, uint64_t txg)
{
	int status = dataset->owners_status;
	struct list *node;

	dataset->owners_status = 0;
	while ((node = list_pop_front(&dataset->owners_changed))) {
		const struct owner *owner = container_of(node, struct owner, changed);
		struct space_row row = { .dataset = dataset->record.id, .kind = owner->usage.kind, .id = owner->usage.id, .amount = owner->usage.cells,
					 .objects = owner->usage.objects };
		if (status == 0)
			status = put_row(dataset, txg, &row);
	}
	if (dataset->owners)
		hash_table_each(dataset->owners, settle, &txg);
	return status;
}

static int remove_row(struct dataset *dataset, const struct space_row *row, void *argument)
{
	uint8_t key[SPACE_KEY_SIZE];

	space_key_encode(row, key);
	return tree_delete(rows(dataset), *(const uint64_t *)argument, key, sizeof(key));
}

int owners_remove_rows(struct dataset *dataset, uint64_t txg)
{
	return each_row(dataset, remove_row, &txg);
}

/* ---- limits ---- */

bool filesystem_has_limits(const struct dataset *dataset)
{
	return datasets_have_limits(dataset->owner) || dataset->owner_limits;
}

bool filesystem_limits_owner(const struct dataset *dataset, const struct object_owner_ids *owner, uint32_t kinds)
{
	for (unsigned kind = 0; kind < OWNER_KINDS && dataset->owner_limits; kind++) {
		const struct owner *one = kinds >> kind & 1 ? find(dataset, kind, owner->ids[kind]) : NULL;
		if (one && (one->usage.limit_bytes || one->usage.limit_objects))
			return true;
	}
	return false;
}

int filesystem_charge(struct dataset *dataset, uint64_t txg, const struct space_charge *charge, struct space_refusal *refusal)
{
	struct owner *owners[OWNER_KINDS];
	unsigned slot = txg & 1;
	int status;

	if (charge->cells == 0 && charge->objects == 0)
		return 0;
	for (unsigned kind = 0; kind < OWNER_KINDS; kind++) {
		if (!(charge->kinds >> kind & 1))
			continue;
		struct owner *owner = owners[kind] = get(dataset, kind, charge->owner.ids[kind]);
		if (!owner)
			return -ENOMEM;
		uint64_t cells = owner->usage.cells + owner->pending_cells[0] + owner->pending_cells[1] + charge->cells;
		uint64_t objects = owner->usage.objects + owner->pending_objects[0] + owner->pending_objects[1] + charge->objects;
		if ((charge->cells == 0 || !owner->usage.limit_bytes || cells <= owner->usage.limit_bytes / CELL_SIZE) &&
		    (charge->objects == 0 || !owner->usage.limit_objects || objects <= owner->usage.limit_objects))
			continue;
		*refusal = (struct space_refusal){ .refused = true, .owner = owner };
		return -EDQUOT;
	}
	status = charge->moves ? 0 : dataset_charge(dataset, txg, charge->cells, &refusal->dataset);
	if (status < 0)
		*refusal = (struct space_refusal){ .refused = true, .dataset = refusal->dataset };
	for (unsigned kind = 0; kind < OWNER_KINDS && status == 0; kind++) {
		if (!(charge->kinds >> kind & 1))
			continue;
		owners[kind]->pending_cells[slot] += charge->cells;
		owners[kind]->pending_objects[slot] += charge->objects;
	}
	return status;
}

void filesystem_uncharge(struct dataset *dataset, uint64_t txg, const struct space_charge *charge)
{
	for (unsigned kind = 0; kind < OWNER_KINDS; kind++) {
		struct owner *owner = charge->kinds >> kind & 1 ? find(dataset, kind, charge->owner.ids[kind]) : NULL;
		if (!owner)
			continue;
		owner->pending_cells[txg & 1] -= charge->cells;
		owner->pending_objects[txg & 1] -= charge->objects;
	}
	if (!charge->moves)
		dataset_uncharge(dataset, txg, charge->cells);
}

bool filesystem_is_uncertain(const struct dataset *dataset, const struct space_refusal *refusal)
{
	const struct owner *owner = refusal->owner;

	if (!refusal->refused)
		return false;
	if (!owner)
		return dataset_is_uncertain(dataset->owner, refusal->dataset);
	return owner->pending_cells[0] || owner->pending_cells[1] || owner->pending_objects[0] || owner->pending_objects[1] ||
	       owner->freeing[0] || owner->freeing[1] || objset_has_pending_kills(dataset->objset);
}

void filesystem_freeing(struct dataset *dataset, uint64_t txg, const struct object_owner_ids *owner)
{
	if (!filesystem_has_limits(dataset))
		return;
	dataset->freeing[txg & 1] = true;
	for (unsigned kind = 0; kind < OWNER_KINDS; kind++) {
		struct owner *one = find(dataset, kind, owner->ids[kind]);
		if (one)
			one->freeing[txg & 1] = true;
	}
}

static int check_row(struct dataset *dataset, struct owner *owner)
{
	uint64_t now = core_commits(dataset->owner->core) + 1;
	struct space_row row = { .dataset = dataset->record.id, .kind = owner->usage.kind, .id = owner->usage.id };
	uint8_t key[SPACE_KEY_SIZE];
	int status;

	if (owner->checked == now)
		return 0; /* what was read a moment ago is in the cache */
	space_key_encode(&row, key);
	status = tree_check(rows(dataset), key, sizeof(key));
	if (status == 0)
		owner->checked = now;
	return status;
}

int filesystem_check_owner(struct dataset *dataset, const struct object_owner_ids *owner)
{
	int status = 0;

	for (unsigned kind = 0; kind < OWNER_KINDS && status == 0; kind++) {
		struct owner *one = get(dataset, kind, owner->ids[kind]);
		status = one ? check_row(dataset, one) : -ENOMEM;
	}
	return status;
}

struct collection {
	struct space_usage *usage;
	size_t count;
};

static void collect(struct hash_node *hash, void *argument)
{
	const struct owner *owner = container_of(hash, struct owner, hash);
	struct collection *collection = argument;

	if (owner->usage.cells || owner->usage.objects || owner->usage.limit_bytes || owner->usage.limit_objects)
		collection->usage[collection->count++] = owner->usage;
}

static int compare_usage(const void *left, const void *right)
{
	const struct space_usage *a = left, *b = right;

	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	return a->id < b->id ? -1 : a->id > b->id;
}

/* Sorted, in one allocation. */
static int collect_all(const struct dataset *dataset, struct collection *ret_collection)
{
	if (!dataset->owners)
		return -POOL_EDAMAGED;
	*ret_collection = (struct collection){ calloc(dataset->owners->count + 1, sizeof(struct space_usage)), 0 };
	if (!ret_collection->usage)
		return -ENOMEM;
	hash_table_each(dataset->owners, collect, ret_collection);
	qsort(ret_collection->usage, ret_collection->count, sizeof(struct space_usage), compare_usage);
	return 0;
}

int owners_check(struct dataset *dataset)
{
	struct collection all;
	int status = dataset->owners ? collect_all(dataset, &all) : 0;

	if (!dataset->owners || status < 0)
		return status;
	for (size_t i = 0; i < all.count && status == 0; i++)
		status = check_row(dataset, find(dataset, all.usage[i].kind, all.usage[i].id));
	free(all.usage);
	return status;
}

int filesystem_owners(struct datasets *datasets, const char *path, struct space_usage **ret_usage, size_t *ret_count, struct pool_error *error)
{
	struct collection all = { NULL, 0 };
	struct dataset *dataset;
	int status = filesystem_open(datasets, path, &dataset, error);

	if (status < 0)
		return status;
	status = collect_all(dataset, &all);
	filesystem_close(dataset);
	if (status < 0)
		return dataset_failed(datasets, "file system", path, status, error);
	*ret_usage = all.usage;
	*ret_count = all.count;
	return 0;
}

static int set_owner_limit(struct dataset *dataset, const struct space_row *wanted)
{
	struct core *core = dataset->owner->core;
	struct owner *owner = get(dataset, wanted->kind, wanted->id);
	struct space_row row = *wanted;
	uint8_t key[SPACE_KEY_SIZE];
	uint64_t txg;
	int status = owner ? 0 : -ENOMEM;

	space_key_encode(&row, key);
	if (status == 0)
		status = tree_check(rows(dataset), key, sizeof(key));
	if (status < 0)
		return status;
	status = datasets_limit_begin(dataset->owner);
	if (status == 0)
		status = core_hold(core, RECORD_CELLS, &txg);
	datasets_limit_end(dataset->owner);
	if (status < 0)
		return status;
	if (dataset->record.flags & DATASET_DESTROYED)
		status = -ENOENT;
	/* The one that isn't given stays; others may have set it meanwhile. */
	if (!row.amount)
		row.amount = owner->usage.limit_bytes;
	if (!row.objects)
		row.objects = owner->usage.limit_objects;
	row.amount = row.amount == UINT64_MAX ? 0 : row.amount;
	row.objects = row.objects == UINT64_MAX ? 0 : row.objects;
	if (status == 0)
		status = put_row(dataset, txg, &row);
	if (status == 0) {
		dataset->owner_limits -= owner->usage.limit_bytes || owner->usage.limit_objects;
		dataset->owner_limits += row.amount || row.objects;
		owner->usage.limit_bytes = row.amount;
		owner->usage.limit_objects = row.objects;
	}
	core_release(core, txg);
	return status;
}

int filesystem_set_owner_limit(struct datasets *datasets, const char *path, enum owner_kind kind, uint32_t id, bool objects, uint64_t limit,
			       struct pool_error *error)
{
	struct space_row row = { .kind = kind, .id = id, .is_limit = true };
	struct dataset *dataset;
	int status = filesystem_open(datasets, path, &dataset, error);

	if (status < 0)
		return status;
	row.dataset = dataset->record.id;
	*(objects ? &row.objects : &row.amount) = limit ? limit : UINT64_MAX; /* UINT64_MAX: taken away */
	status = set_owner_limit(dataset, &row);
	filesystem_close(dataset);
	return status < 0 ? dataset_failed(datasets, "file system", path, status, error) : 0;
}

bool filesystem_knows_owners(const struct dataset *dataset)
{
	return dataset->owners;
}

void filesystem_usage(const struct dataset *dataset, enum owner_kind kind, uint32_t id, struct space_usage *ret_usage)
{
	const struct owner *owner = find(dataset, kind, id);

	*ret_usage = owner ? owner->usage : (struct space_usage){ .kind = kind, .id = id };
}

struct counting {
	size_t count;
};

static void count_used(struct hash_node *hash, void *argument)
{
	const struct owner *owner = container_of(hash, struct owner, hash);

	((struct counting *)argument)->count += owner->usage.cells || owner->usage.objects;
}

size_t filesystem_usage_count(const struct dataset *dataset)
{
	struct counting counting = { 0 };

	hash_table_each(dataset->owners, count_used, &counting);
	return counting.count;
}
