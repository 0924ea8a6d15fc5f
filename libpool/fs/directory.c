/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Directories: trees of entries by cookie. A cookie is 55 bits of the hash of the name, or of what names are compared by
 * (fold.c), under a key of the file system, and 8
 * bits that tell names of one hash apart; it doesn't change as long as the entry is there, so that a listing can go on
 * from it at any time, also after a restart.
 */
#include "libpool/fs/internal.h"

#include "checksum/xxh3.h"
#include "libpool/base/endian.h"

#define COLLISIONS (1u << DIRECTORY_COLLISION_BITS)

void directory_entry_rename(struct directory_entry *entry, const char *name, size_t length)
{
	memcpy(entry->name, name, length);
	entry->name[length] = 0;
	entry->name_length = (uint8_t)length;
}

int directory_name_check(const char *name, size_t length)
{
	if (length > FS_NAME_MAX)
		return -ENAMETOOLONG;
	if (length == 0)
		return -ENOENT;
	if (memchr(name, 0, length) || memchr(name, '/', length))
		return -EINVAL;
	if (name[0] == '.' && (length == 1 || (length == 2 && name[1] == '.')))
		return -EINVAL;
	return 0;
}

uint64_t directory_first_cookie(const struct fs *fs, const struct name_key *key)
{
	struct hash128 hash;
	le64 low;

	xxh3_128_context(fs->record.hash_key, sizeof(fs->record.hash_key), key->bytes, key->length, &hash);
	memcpy(&low, hash.bytes, sizeof(low));
	uint64_t bits = le64_get(low) >> 9;
	return (bits ? bits : 1) << DIRECTORY_COLLISION_BITS;
}

int directory_next(struct object *object, uint64_t cookie, uint64_t *ret_cookie, struct directory_entry *ret_entry)
{
	uint8_t key[OBJECT_KEY_MAX], value[OBJECT_VALUE_MAX];
	size_t key_length, value_length;

	number_key_encode(cookie, key);
	int status = tree_next(object, key, DIRECTORY_KEY_SIZE, true, key, &key_length, value, &value_length);
	if (status == 0)
		status = number_key_decode(key, key_length, ret_cookie);
	if (status == 0)
		status = directory_entry_decode(value, value_length, ret_entry);
	return status;
}

/* Whether the entry has this key: who compares names as bytes need not work out its. */
static bool has_key(const struct fs *fs, const struct directory_entry *entry, const struct name_key *key)
{
	struct name_key other;

	if (fs_names_are_bytes(&fs->record))
		return entry->name_length == key->length && memcmp(entry->name, key->bytes, key->length) == 0;
	return name_key_make(fs, entry->name, entry->name_length, &other) == 0 && name_key_equal(&other, key);
}

/*
 * Looks through the names of one hash. 0 with the entry; -ENOENT, and then *ret_cookie is free for it, or 0 if none is.
 */
static int search(struct fs_node *directory, const char *name, size_t length, uint64_t *ret_cookie, struct directory_entry *ret_entry)
{
	struct name_key key;
	int made = name_key_make(directory->fs, name, length, &key);

	if (made < 0)
		return made;
	uint64_t first = directory_first_cookie(directory->fs, &key), at = first - 1, wanted = first;
	*ret_cookie = 0;
	for (;;) {
		uint64_t cookie;
		int status = directory_next(directory->object, at, &cookie, ret_entry);
		if (status < 0 && status != -ENOENT)
			return status;
		if (status == -ENOENT || cookie >= first + COLLISIONS) {
			*ret_cookie = wanted < first + COLLISIONS ? wanted : 0;
			return -ENOENT;
		}
		if (has_key(directory->fs, ret_entry, &key)) {
			*ret_cookie = cookie;
			return 0;
		}
		if (cookie == wanted)
			wanted++;
		at = cookie;
	}
}

int directory_find(struct fs_node *directory, const char *name, size_t length, uint64_t *ret_cookie, struct directory_entry *ret_entry)
{
	if (!node_is_directory(directory))
		return -ENOTDIR;
	return search(directory, name, length, ret_cookie, ret_entry);
}

int directory_set(struct fs_node *directory, uint64_t txg, uint64_t cookie, const struct directory_entry *entry, const struct fs_node *node)
{
	struct directory_entry changed = *entry;
	uint8_t key[DIRECTORY_KEY_SIZE], value[DIRECTORY_VALUE_MAX];

	changed.object = node->number;
	changed.type = (uint8_t)(node->inode.mode >> 12);
	number_key_encode(cookie, key);
	size_t length = directory_entry_encode(&changed, value);
	return tree_put(directory->object, txg, key, sizeof(key), value, length);
}

int directory_add(struct fs_node *directory, uint64_t txg, uint64_t cookie, const char *name, size_t length, const struct fs_node *node)
{
	struct directory_entry entry = { 0 };

	directory_entry_rename(&entry, name, length);
	int status = directory_set(directory, txg, cookie, &entry, node);
	if (status == 0)
		directory->inode.size++;
	return status;
}

int directory_remove(struct fs_node *directory, uint64_t txg, uint64_t cookie)
{
	uint8_t key[DIRECTORY_KEY_SIZE];

	number_key_encode(cookie, key);
	int status = tree_delete(directory->object, txg, key, sizeof(key));
	if (status == 0 && directory->inode.size)
		directory->inode.size--;
	return status;
}

int directory_is_empty(struct fs_node *directory)
{
	struct directory_entry entry;
	uint64_t cookie;
	int status = directory_next(directory->object, 0, &cookie, &entry);

	return status == -ENOENT ? 1 : status;
}

int fs_next_entry(struct fs_node *directory, uint64_t cookie, uint64_t *ret_cookie, struct directory_entry *ret_entry)
{
	if (!node_is_directory(directory))
		return -ENOTDIR;
	return directory_next(directory->object, cookie, ret_cookie, ret_entry);
}

int fs_lookup(struct fs_node *directory, const char *name, size_t length, struct fs_node **ret_node)
{
	struct directory_entry entry;
	uint64_t cookie;
	int status = directory_name_check(name, length);

	/* Between finding the entry and its node the name may be given to another one: then once more. */
	while (status == 0) {
		status = directory_find(directory, name, length, &cookie, &entry);
		if (status < 0)
			break;
		uint64_t number = entry.object;
		status = node_get(directory->fs, number, ret_node);
		if (status != -ESTALE)
			break;
		status = directory_find(directory, name, length, &cookie, &entry);
		if (status == 0 && entry.object == number)
			return -POOL_EDAMAGED; /* the entry names what isn't there */
	}
	return status;
}

int fs_parent(struct fs_node *directory, struct fs_node **ret_node)
{
	if (!node_is_directory(directory))
		return -ENOTDIR;
	if (directory->number == FS_OBJECT_ROOT) {
		*ret_node = fs_ref(directory);
		return 0;
	}
	if (directory->inode.links == 0)
		return -ESTALE;
	return node_get(directory->fs, directory->inode.link.directory, ret_node);
}
