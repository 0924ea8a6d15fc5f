/*
 * Labels: how a disk is recognised and how the others are found.
 *
 * What must always hold: a label that decodes names its own disk in its list, every disk once, and is where it
 * was written (area and copy start the hash). It is the only structure read before the pool is known, so its
 * hash has no pool in it and its feature names are text.
 */
#include "libpool/format/label.h"

#include <stdio.h>

#include "checksum/xxh3.h"
#include "libpool/base/error.h"
#include "libpool/format/raw_header.h"
#include "libpool/format/uberblock.h"

#define LABEL_DESTROYED     1u /* flag */
#define LABEL_HEADER_LENGTH 4096u

struct raw_label_disk {
	uint8_t guid[16];     /* 0 */
	le16 index;           /* 16 */
	uint8_t role;         /* 18 */
	uint8_t state;        /* 19 */
	le64 size;            /* 20 */
	uint8_t reserved[12]; /* 28 */
};
_Static_assert(sizeof(struct raw_label_disk) == 40 && AT(raw_label_disk, guid, 0) && AT(raw_label_disk, index, 16) &&
		       AT(raw_label_disk, role, 18) && AT(raw_label_disk, state, 19) && AT(raw_label_disk, size, 20), "on disk");

struct raw_label {
	struct raw_header header; /* 0 */
	uint8_t pool[16];         /* 16 */
	uint8_t disk[16];         /* 32 */
	le64 config_txg;          /* 48 */
	le64 created_ns;          /* 56 */
	le64 size;                /* 64 */
	le16 disk_index;          /* 72 */
	uint8_t au_shift;         /* 74 */
	uint8_t k;                /* 75 */
	uint8_t m;                /* 76 */
	uint8_t area;             /* 77 */
	uint8_t copy;             /* 78 */
	uint8_t reserved;         /* 79 */
	le16 disk_count;          /* 80 */
	le16 feature_count;       /* 82 */
	uint8_t reserved_2[44];   /* 84 */
	char name[POOL_NAME_MAX + 1];                           /* 128 */
	char features[LABEL_FEATURES_MAX][FEATURE_NAME_MAX + 1]; /* 384 */
	uint8_t reserved_3[1664];                                /* 2432 */
	struct raw_label_disk disks[DISKS_MAX];                  /* 4096 */
	uint8_t reserved_4[8176];                                /* 24576 */
	struct hash128 hash;                                     /* 32752 */
};
_Static_assert(sizeof(struct raw_label) == LABEL_COPY_SIZE && AT(raw_label, header, 0) && AT(raw_label, pool, 16) &&
		       AT(raw_label, disk, 32) && AT(raw_label, config_txg, 48) && AT(raw_label, created_ns, 56) &&
		       AT(raw_label, size, 64) && AT(raw_label, disk_index, 72) && AT(raw_label, au_shift, 74) &&
		       AT(raw_label, k, 75) && AT(raw_label, m, 76) && AT(raw_label, area, 77) && AT(raw_label, copy, 78) &&
		       AT(raw_label, disk_count, 80) && AT(raw_label, feature_count, 82) && AT(raw_label, name, 128) &&
		       AT(raw_label, features, 384) && AT(raw_label, disks, 4096) && AT(raw_label, hash, 32752), "on disk");
_Static_assert(_Alignof(struct raw_label) == 1, "cast from bytes");

/* Names of incompatible features that this version understands. */
static const char *const features_known[] = { FEATURE_LOG_DISKS, NULL };

static void label_hash(const uint8_t *raw, unsigned area, unsigned copy, struct hash128 *ret_hash)
{
	uint8_t context[2] = { (uint8_t)area, (uint8_t)copy };
	xxh3_128_context(context, sizeof(context), raw, offsetof(struct raw_label, hash), ret_hash);
}

void label_encode(const struct label *label, unsigned area, unsigned copy, uint8_t *ret_raw)
{
	struct raw_label *raw = (struct raw_label *)ret_raw; /* bytes only, so any alignment; too large for a fiber's stack */

	memset(raw, 0, sizeof(*raw));
	raw->header = raw_header_make(MAGIC_LABEL, LABEL_HEADER_LENGTH, label->destroyed ? LABEL_DESTROYED : 0);
	memcpy(raw->pool, label->pool.bytes, sizeof(raw->pool));
	memcpy(raw->disk, label->disk.bytes, sizeof(raw->disk));
	raw->config_txg = le64_make(label->config_txg);
	raw->created_ns = le64_make(label->created_ns);
	raw->size = le64_make(label->size);
	raw->disk_index = le16_make(label->disk_index);
	raw->au_shift = label->au_shift;
	raw->k = label->k;
	raw->m = label->m;
	raw->area = (uint8_t)area;
	raw->copy = (uint8_t)copy;
	raw->disk_count = le16_make(label->disk_count);
	raw->feature_count = le16_make(label->feature_count);
	name_field_put(raw->name, sizeof(raw->name), label->name);
	for (unsigned i = 0; i < label->feature_count && i < LABEL_FEATURES_MAX; i++)
		name_field_put(raw->features[i], sizeof(raw->features[i]), label->features[i]);
	for (unsigned i = 0; i < label->disk_count && i < DISKS_MAX; i++) {
		const struct label_disk *disk = &label->disks[i];
		struct raw_label_disk *to = &raw->disks[i];
		memcpy(to->guid, disk->guid.bytes, sizeof(to->guid));
		to->index = le16_make(disk->index);
		to->role = disk->role;
		to->state = disk->state;
		to->size = le64_make(disk->size);
	}
	label_hash(ret_raw, area, copy, &raw->hash);
}

const char *label_unknown_feature(const struct label *label)
{
	for (unsigned i = 0; i < label->feature_count && i < LABEL_FEATURES_MAX; i++) {
		bool known = false;
		for (unsigned f = 0; features_known[f] && !known; f++)
			known = strcmp(features_known[f], label->features[i]) == 0;
		if (!known)
			return label->features[i];
	}
	return NULL;
}

void label_set_feature(struct label *label, const char *name, bool on)
{
	unsigned at = 0;

	while (at < label->feature_count && strcmp(label->features[at], name) != 0)
		at++;
	if (on && at == label->feature_count && at < LABEL_FEATURES_MAX) {
		snprintf(label->features[at], sizeof(label->features[at]), "%s", name);
		label->feature_count++;
	} else if (!on && at < label->feature_count) {
		label->feature_count--;
		memmove(label->features[at], label->features[at + 1], (label->feature_count - at) * sizeof(label->features[0]));
	}
}

static bool size_valid(uint64_t size, unsigned au_shift)
{
	return size >= DISK_SIZE_MIN && size <= INT64_MAX && (size - 2 * LABEL_AREA_SIZE) >> au_shift >= DISK_AUS_MIN;
}

/* Everything but the lists. */
static bool head_valid(const struct raw_label *raw)
{
	unsigned disk_count = le16_get(raw->disk_count), feature_count = le16_get(raw->feature_count);

	return raw->au_shift >= AU_SHIFT_MIN && raw->au_shift <= AU_SHIFT_MAX &&
	       segment_geometry_valid(CLASS_META, raw->k, raw->m) && size_valid(le64_get(raw->size), raw->au_shift) &&
	       disk_count > 0 && disk_count <= DISKS_MAX && feature_count <= LABEL_FEATURES_MAX &&
	       name_field_valid(raw->name, sizeof(raw->name)) && raw->reserved == 0 &&
	       bytes_are_zero(raw->reserved_2, sizeof(raw->reserved_2)) &&
	       bytes_are_zero(raw->reserved_3, sizeof(raw->reserved_3)) &&
	       bytes_are_zero(raw->reserved_4, sizeof(raw->reserved_4));
}

static bool features_valid(const struct raw_label *raw)
{
	unsigned count = le16_get(raw->feature_count);
	for (unsigned i = 0; i < count; i++)
		if (!name_field_valid(raw->features[i], sizeof(raw->features[i])))
			return false;
	return bytes_are_zero(&raw->features[count], (LABEL_FEATURES_MAX - count) * sizeof(raw->features[0]));
}

/* Each index and guid once, and this disk among them. */
static bool disks_valid(const struct raw_label *raw)
{
	unsigned count = le16_get(raw->disk_count), own = 0;
	uint64_t seen[DISKS_MAX / 64] = { 0 };

	for (unsigned i = 0; i < count; i++) {
		const struct raw_label_disk *disk = &raw->disks[i];
		unsigned index = le16_get(disk->index);
		bool removed = disk->state == DISK_REMOVED;
		if (index >= DISKS_MAX || seen[index / 64] >> index % 64 & 1 || disk->role > ROLE_SPARE ||
		    (disk->state != DISK_ONLINE && !removed) ||
		    (!removed && !size_valid(le64_get(disk->size), raw->au_shift)) ||
		    !bytes_are_zero(disk->reserved, sizeof(disk->reserved)))
			return false;
		seen[index / 64] |= UINT64_C(1) << index % 64;
		bool same_index = index == le16_get(raw->disk_index);
		if (same_index != (memcmp(disk->guid, raw->disk, sizeof(disk->guid)) == 0))
			return false;
		own += same_index;
		for (unsigned other = 0; other < i; other++)
			if (memcmp(raw->disks[other].guid, disk->guid, sizeof(disk->guid)) == 0)
				return false;
	}
	return own == 1 && bytes_are_zero(&raw->disks[count], (DISKS_MAX - count) * sizeof(raw->disks[0]));
}

int label_decode(const uint8_t *raw_bytes, unsigned area, unsigned copy, struct label *ret_label)
{
	const struct raw_label *raw = (const struct raw_label *)raw_bytes; /* bytes only, so any alignment */
	struct hash128 hash;

	if (!raw_header_valid(&raw->header, MAGIC_LABEL, LABEL_HEADER_LENGTH, LABEL_DESTROYED))
		return -POOL_EFORMAT;
	label_hash(raw_bytes, area, copy, &hash);
	if (memcmp(&hash, &raw->hash, sizeof(hash)) != 0 || raw->area != area || raw->copy != copy || !head_valid(raw) ||
	    !features_valid(raw) || !disks_valid(raw))
		return -POOL_EFORMAT;

	memset(ret_label, 0, sizeof(*ret_label));
	memcpy(ret_label->pool.bytes, raw->pool, sizeof(raw->pool));
	memcpy(ret_label->disk.bytes, raw->disk, sizeof(raw->disk));
	memcpy(ret_label->name, raw->name, sizeof(raw->name));
	ret_label->config_txg = le64_get(raw->config_txg);
	ret_label->created_ns = le64_get(raw->created_ns);
	ret_label->disk_index = le16_get(raw->disk_index);
	ret_label->au_shift = raw->au_shift;
	ret_label->k = raw->k;
	ret_label->m = raw->m;
	ret_label->destroyed = (le32_get(raw->header.flags) & LABEL_DESTROYED) != 0;
	ret_label->size = le64_get(raw->size);
	ret_label->disk_count = le16_get(raw->disk_count);
	ret_label->feature_count = le16_get(raw->feature_count);
	memcpy(ret_label->features, raw->features, sizeof(raw->features));
	for (unsigned i = 0; i < ret_label->disk_count; i++) {
		const struct raw_label_disk *from = &raw->disks[i];
		struct label_disk *disk = &ret_label->disks[i];
		memcpy(disk->guid.bytes, from->guid, sizeof(from->guid));
		disk->index = le16_get(from->index);
		disk->role = from->role;
		disk->state = from->state;
		disk->size = le64_get(from->size);
	}
	return label_unknown_feature(ret_label) ? -POOL_EFEATURE : 0;
}
