/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The checker of a file system: what is in directories against what inodes say of themselves. Two passes over all
 * objects: the inodes and what they claim, then the directories, which must name each inode as often as it claims.
 */
#include "libpool/fs/internal.h"

#include <stdarg.h>
#include <stdio.h>

struct seen {
	struct hash_node hash;
	uint64_t number;
	uint32_t mode;
	uint32_t links, found; /* names: as the inode says, and as directories have them */
	uint32_t subdirectories;
	uint64_t size, entries;
	struct inode_link link;
	bool link_found, is_attributes, listed;
};

/* One owner's sums. */
struct sum {
	struct hash_node hash;
	enum owner_kind kind;
	uint32_t id;
	uint64_t cells, objects;
};

struct usage {
	struct hash_table sums;
	size_t count;
};

struct checker {
	struct fs *fs;
	struct fs_check *result;
	struct hash_table seen;
	uint64_t freed;   /* fs->freed at the beginning: what changes it disturbs the check of what has no name */
	bool undisturbed, still; /* still: no inode was changed either, in all that time */
	bool dying;              /* an inode was being freed when it was come to */
	struct usage usage; /* as the walk finds it */
	uint64_t stored;    /* fs->stored before the commit at the beginning, and what was committed by it */
	uint64_t commits;
};

static void violation(struct checker *checker, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void violation(struct checker *checker, const char *format, ...)
{
	struct fs_check *result = checker->result;

	if (result->violations++ == 0) {
		va_list list;
		va_start(list, format);
		vsnprintf(result->first, sizeof(result->first), format, list);
		va_end(list);
	}
}

static struct seen *find(const struct checker *checker, uint64_t number)
{
	for (struct hash_node *hash = hash_table_first(&checker->seen, hash_u64(number)); hash; hash = hash_table_next(hash)) {
		struct seen *seen = container_of(hash, struct seen, hash);
		if (seen->number == number)
			return seen;
	}
	return NULL;
}

static struct seen *add(struct checker *checker, uint64_t number)
{
	struct seen *seen = find(checker, number);

	if (seen)
		return seen;
	seen = calloc(1, sizeof(*seen));
	if (seen) {
		seen->number = number;
		hash_table_insert(&checker->seen, &seen->hash, hash_u64(number));
	}
	return seen;
}

static uint64_t sum_hash(enum owner_kind kind, uint32_t id)
{
	return hash_u64((uint64_t)kind << 32 | id);
}

static struct sum *sum_of(struct usage *usage, enum owner_kind kind, uint32_t id)
{
	struct sum *sum;

	for (struct hash_node *hash = hash_table_first(&usage->sums, sum_hash(kind, id)); hash; hash = hash_table_next(hash)) {
		sum = container_of(hash, struct sum, hash);
		if (sum->kind == kind && sum->id == id)
			return sum;
	}
	sum = calloc(1, sizeof(*sum));
	if (!sum)
		return NULL;
	sum->kind = kind;
	sum->id = id;
	hash_table_insert(&usage->sums, &sum->hash, sum_hash(kind, id));
	return sum;
}

/* Any object counts for whom its bonus names. */
static int note_usage(struct checker *checker, uint64_t number)
{
	struct object_owner_ids owner;
	struct object *object;
	struct dnode dnode;
	bool is_inode;

	if (object_open(checker->fs->objset, number, &object) < 0)
		return 0; /* told elsewhere */
	object_info(object, &dnode);
	object_close(object);
	if (!object_owner_decode(dnode.bonus, dnode.bonus_length, &owner, &is_inode))
		return 0;
	for (unsigned kind = 0; kind < OWNER_KINDS; kind++) {
		struct sum *sum = sum_of(&checker->usage, kind, owner.ids[kind]);
		if (!sum)
			return -ENOMEM;
		checker->usage.count += sum->cells == 0 && sum->objects == 0 && (dnode.sectors || is_inode);
		sum->cells += dnode.sectors;
		sum->objects += is_inode;
	}
	return 0;
}

static void judge_sum(struct hash_node *hash, void *argument)
{
	static const char *const names[OWNER_KINDS] = { "user", "group", "project" };
	struct checker *checker = argument;
	struct sum *sum = container_of(hash, struct sum, hash);
	struct space_usage usage;

	filesystem_usage(checker->fs->dataset, sum->kind, sum->id, &usage);
	if (checker->undisturbed && (usage.cells != sum->cells || usage.objects != sum->objects))
		violation(checker, "%s %u has %llu cells and %llu inodes, and is said to have %llu and %llu", names[sum->kind], sum->id,
			  (unsigned long long)sum->cells, (unsigned long long)sum->objects, (unsigned long long)usage.cells,
			  (unsigned long long)usage.objects);
	hash_table_remove(&checker->usage.sums, hash);
	free(sum);
}

static int note_inode(struct checker *checker, uint64_t number)
{
	struct fs_node *node;
	int status = node_get(checker->fs, number, &node);

	/* Its last handle has just gone. */
	checker->dying |= status == -ESTALE;
	if (status == -ENOMEM || status == -ESTALE)
		return status == -ENOMEM ? status : 0;
	struct seen *seen = add(checker, number);
	if (!seen) {
		if (status == 0)
			fs_put(node);
		return -ENOMEM;
	}
	if (status == -POOL_EFORMAT)
		return 0; /* perhaps attributes of another: told later */
	if (status < 0) {
		checker->result->damaged++;
		return 0;
	}
	const struct inode_record *inode = &node->inode;
	checker->result->inodes++;
	seen->mode = inode->mode;
	seen->links = inode->links;
	seen->size = inode->size;
	seen->link = inode->link;
	if (inode->xattrs) {
		struct seen *attributes = add(checker, inode->xattrs);
		if (attributes && attributes->is_attributes)
			violation(checker, "object %llu is the attributes of two inodes", (unsigned long long)inode->xattrs);
		if (attributes)
			attributes->is_attributes = true;
		else
			status = -ENOMEM;
	}
	fs_put(node);
	return status;
}

static int note_entry(struct checker *checker, struct seen *directory, uint64_t cookie, const struct directory_entry *entry)
{
	struct seen *named = find(checker, entry->object);
	uint8_t key[INODE_LINK_KEY_SIZE], value;
	size_t length;

	checker->result->entries++;
	directory->entries++;
	if (!named || !named->mode) {
		violation(checker, "directory %llu names %s, inode %llu, which isn't there", (unsigned long long)directory->number, entry->name,
			  (unsigned long long)entry->object);
		return 0;
	}
	named->found++;
	if (S_ISDIR(named->mode))
		directory->subdirectories++;
	if (entry->type != named->mode >> 12)
		violation(checker, "inode %llu is of another type than its entry says", (unsigned long long)named->number);
	struct inode_link link = { directory->number, cookie };
	if (named->link.directory == link.directory && named->link.cookie == link.cookie) {
		named->link_found = true;
		return 0;
	}
	inode_link_encode(named->number, &link, key);
	int status = tree_get(checker->fs->links, key, sizeof(key), &value, sizeof(value), &length);
	if (status == -ENOENT)
		violation(checker, "inode %llu doesn't know its name %s", (unsigned long long)named->number, entry->name);
	return status == -ENOENT ? 0 : status;
}

/* A name is found by its cookie only, and by one spelling as by another. */
static void judge_name(struct checker *checker, struct fs_node *directory, uint64_t cookie, const struct directory_entry *entry)
{
	struct directory_entry other;
	struct name_key key, other_key;
	uint64_t before;

	if (name_key_make(checker->fs, entry->name, entry->name_length, &key) < 0) {
		violation(checker, "directory %llu has the name %s, which isn't one here", (unsigned long long)directory->number, entry->name);
		return;
	}
	uint64_t first = directory_first_cookie(checker->fs, &key), mask = (UINT64_C(1) << DIRECTORY_COLLISION_BITS) - 1;
	if ((cookie & ~mask) != first) {
		violation(checker, "directory %llu has the name %s where it can't be found", (unsigned long long)directory->number, entry->name);
		return;
	}
	/* The first of its hash, as nearly all are, has none before it. */
	if (cookie == first)
		return;
	for (before = first - 1; directory_next(directory->object, before, &before, &other) == 0 && before < cookie;)
		if (name_key_make(checker->fs, other.name, other.name_length, &other_key) == 0 && name_key_equal(&key, &other_key))
			violation(checker, "directory %llu has the name %s twice, the other as %s", (unsigned long long)directory->number, entry->name,
				  other.name);
}

static int walk_directory(struct checker *checker, struct seen *directory)
{
	struct directory_entry entry;
	struct fs_node *node = NULL;
	uint64_t cookie = 0;
	int status = node_get(checker->fs, directory->number, &node);

	while (status == 0) {
		status = directory_next(node->object, cookie, &cookie, &entry);
		if (status == 0)
			judge_name(checker, node, cookie, &entry);
		if (status == 0)
			status = note_entry(checker, directory, cookie, &entry);
	}
	fs_put(node);
	if (status == -POOL_EDAMAGED || status == -POOL_EFORMAT) {
		checker->result->damaged++;
		directory->entries = directory->size; /* unknown */
		return 0;
	}
	return status == -ENOENT || status == -ESTALE ? 0 : status; /* the end, or it was removed meanwhile */
}

static int each_object(struct checker *checker, int (*visit)(struct checker *checker, uint64_t number))
{
	uint64_t number = FS_OBJECT_ROOT;
	int status = 0;

	for (; status == 0; number++) {
		status = objset_next_object(checker->fs->objset, number, &number);
		if (status == 0)
			status = visit(checker, number);
	}
	return status == -ENOENT ? 0 : status;
}

static int visit_directory(struct checker *checker, uint64_t number)
{
	struct seen *seen = find(checker, number);

	return seen && S_ISDIR(seen->mode) ? walk_directory(checker, seen) : 0;
}

static int note_listed(struct checker *checker)
{
	uint8_t key[OBJECT_KEY_MAX], value[OBJECT_VALUE_MAX];
	size_t key_length = 0, value_length;
	int status = 0;

	for (bool after = false; status == 0; after = true) {
		uint64_t number = 0;
		status = tree_next(checker->fs->super, key, key_length, after, key, &key_length, value, &value_length);
		if (status == 0)
			status = number_key_decode(key, key_length, &number);
		struct seen *seen = status == 0 ? find(checker, number) : NULL;
		if (seen)
			seen->listed = true;
		else if (status == 0 && checker->fs->freed == checker->freed && checker->fs->stored == checker->stored && !checker->dying)
			violation(checker, "inode %llu waits to be freed and isn't there", (unsigned long long)number);
	}
	return status == -ENOENT ? 0 : status;
}

static void judge(struct hash_node *hash, void *argument)
{
	struct checker *checker = argument;
	struct seen *seen = container_of(hash, struct seen, hash);
	unsigned long long number = seen->number;

	if (seen->is_attributes && !seen->mode)
		goto out;
	if (!seen->mode) {
		/* Attributes that are made meanwhile come behind the inode they belong to. */
		if (!checker->result->damaged && checker->still)
			violation(checker, "object %llu is neither an inode nor attributes of one", number);
		goto out;
	}
	uint32_t names = S_ISDIR(seen->mode) ? (seen->links ? 1 : 0) : seen->links;
	if (number == FS_OBJECT_ROOT)
		names = 0;
	if (checker->result->damaged == 0 && seen->found != names)
		violation(checker, "inode %llu has %u names and says %u", number, seen->found, names);
	if (names && checker->result->damaged == 0 && !seen->link_found)
		violation(checker, "inode %llu says that it has a name where there is none", number);
	if (S_ISDIR(seen->mode) && seen->links && seen->links != seen->subdirectories + 2 && checker->result->damaged == 0)
		violation(checker, "directory %llu has %u directories in it and a link count of %u", number, seen->subdirectories, seen->links);
	if (S_ISDIR(seen->mode) && seen->entries != seen->size)
		violation(checker, "directory %llu has %llu entries and says %llu", number, (unsigned long long)seen->entries,
			  (unsigned long long)seen->size);
	if (checker->undisturbed && (seen->links == 0) != seen->listed)
		violation(checker, "inode %llu without a name isn't listed, or one with a name is", number);
out:
	hash_table_remove(&checker->seen, &seen->hash);
	free(seen);
}

int fs_check(struct fs *fs, struct fs_check *ret_check)
{
	struct checker checker = { .fs = fs, .result = ret_check, .freed = fs->freed };

	*ret_check = (struct fs_check){ 0 };
	if (hash_table_init(&checker.seen, 1024) < 0)
		return -ENOMEM;
	if (hash_table_init(&checker.usage.sums, 64) < 0) {
		hash_table_release(&checker.seen);
		return -ENOMEM;
	}
	rt_mutex_lock(fs->rt, &fs->names);
	/* Sums are of what is committed: what is changed from here on disturbs the check of them, during the commit too. */
	checker.stored = fs->stored;
	if (!core_read_only(fs->core))
		(void)core_commit(fs->core);
	checker.commits = core_commits(fs->core);
	int status = each_object(&checker, note_inode);
	if (status == 0)
		status = each_object(&checker, note_usage);
	if (!filesystem_knows_owners(fs->dataset))
		ret_check->damaged++;
	checker.undisturbed = status == 0 && !ret_check->damaged && fs->stored == checker.stored && fs->freed == checker.freed &&
			      core_commits(fs->core) == checker.commits;
	if (checker.undisturbed && checker.usage.count != filesystem_usage_count(fs->dataset))
		violation(&checker, "%zu users, groups and projects have something, and %zu are said to", checker.usage.count,
			  filesystem_usage_count(fs->dataset));
	hash_table_each(&checker.usage.sums, judge_sum, &checker);
	hash_table_release(&checker.usage.sums);
	if (status == 0)
		status = each_object(&checker, visit_directory);
	if (status == 0)
		status = note_listed(&checker);
	if (status < 0)
		ret_check->damaged++; /* what is missing is no violation then */
	checker.undisturbed = fs->freed == checker.freed;
	checker.still = checker.undisturbed && fs->stored == checker.stored && !checker.dying;
	hash_table_each(&checker.seen, judge, &checker);
	hash_table_release(&checker.seen);
	rt_mutex_unlock(fs->rt, &fs->names);
	return status;
}
