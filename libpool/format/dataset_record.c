/*
 * Values and keys of the MOS trees. They have no magic: the tree, whose nodes are checksummed through their
 * pointers, says what they are. What must always hold: keys are big endian, so memcmp orders them by number.
 */
#include "libpool/format/dataset_record.h"

#include <endian.h>

#include "libpool/base/error.h"
#include "libpool/format/dnode.h"
#include "libpool/format/raw_header.h"

#define AU_ROWS_MAX           (1u << (AU_SHIFT_MAX - CELL_SHIFT))
#define COMPRESSION_LEVEL_MAX 23u /* zstd 22, plus 1 */
#define COMPRESSION_AUTO      255u

struct raw_dataset {
	le32 id;                       /* 0 */
	uint8_t kind;                  /* 4 */
	uint8_t block_shift;           /* 5 */
	uint8_t compression_level;     /* 6 */
	uint8_t flags;                 /* 7 */
	le64 volume_size;              /* 8 */
	le64 created_txg;              /* 16 */
	le64 created_ns;               /* 24 */
	le64 destroyed_ns;             /* 32 */
	struct raw_block_pointer root; /* 40 */
	le32 previous_snapshot;        /* 104 */
	le32 next;                     /* 108 */
	le32 origin;                   /* 112 */
	le32 parent;                   /* 116 */
	le64 previous_snapshot_txg;    /* 120 */
	le64 deadlist_object;          /* 128 */
	le64 referenced_cells;         /* 136 */
	le64 unique_cells;             /* 144 */
	le64 quota;                    /* 152 */
	le64 reservation;              /* 160 */
	le32 local;                    /* 168 */
	uint8_t settings[SETTINGS_MAX]; /* 172 */
	le32 reserved;                 /* 188 */
	le64 refquota;                 /* 192 */
	uint8_t reserved_2[184];       /* 200 */
	char name[256];                /* 384 */
};
_Static_assert(sizeof(struct raw_dataset) == DATASET_RECORD_SIZE && AT(raw_dataset, id, 0) && AT(raw_dataset, kind, 4) &&
		       AT(raw_dataset, block_shift, 5) && AT(raw_dataset, compression_level, 6) && AT(raw_dataset, flags, 7) &&
		       AT(raw_dataset, volume_size, 8) && AT(raw_dataset, created_txg, 16) && AT(raw_dataset, created_ns, 24) &&
		       AT(raw_dataset, destroyed_ns, 32) && AT(raw_dataset, root, 40) && AT(raw_dataset, previous_snapshot, 104) &&
		       AT(raw_dataset, next, 108) && AT(raw_dataset, origin, 112) && AT(raw_dataset, parent, 116) &&
		       AT(raw_dataset, previous_snapshot_txg, 120) && AT(raw_dataset, deadlist_object, 128) &&
		       AT(raw_dataset, referenced_cells, 136) && AT(raw_dataset, unique_cells, 144) &&
		       AT(raw_dataset, quota, 152) && AT(raw_dataset, reservation, 160) && AT(raw_dataset, local, 168) &&
		       AT(raw_dataset, settings, 172) && AT(raw_dataset, refquota, 192) && AT(raw_dataset, name, 384), "on disk");
_Static_assert(SETTING_COUNT <= SETTINGS_MAX, "on disk");

struct raw_batch_map {
	le16 rows;                        /* 0 */
	uint8_t reserved[6];              /* 2 */
	le64 txg;                         /* 8 */
	struct raw_block_pointer summary; /* 16 */
	struct raw_block_pointer extra;   /* 80 */
	le64 reserved_2;                  /* 144 */
};
_Static_assert(sizeof(struct raw_batch_map) == BATCH_MAP_VALUE_SIZE && AT(raw_batch_map, rows, 0) && AT(raw_batch_map, txg, 8) &&
		       AT(raw_batch_map, summary, 16) && AT(raw_batch_map, extra, 80), "on disk");

void dataset_record_encode(const struct dataset_record *record, uint8_t *ret_raw)
{
	struct raw_dataset raw = { .id = le32_make(record->id),
				   .kind = record->kind,
				   .block_shift = record->block_shift,
				   .compression_level = record->compression_level,
				   .flags = record->flags,
				   .volume_size = le64_make(record->volume_size),
				   .created_txg = le64_make(record->created_txg),
				   .created_ns = le64_make(record->created_ns),
				   .destroyed_ns = le64_make(record->destroyed_ns),
				   .root = record->root,
				   .previous_snapshot = le32_make(record->previous_snapshot),
				   .next = le32_make(record->next),
				   .origin = le32_make(record->origin),
				   .parent = le32_make(record->parent),
				   .previous_snapshot_txg = le64_make(record->previous_snapshot_txg),
				   .deadlist_object = le64_make(record->deadlist_object),
				   .referenced_cells = le64_make(record->referenced_cells),
				   .unique_cells = le64_make(record->unique_cells),
				   .quota = le64_make(record->quota),
				   .reservation = le64_make(record->reservation),
				   .refquota = le64_make(record->refquota),
				   .local = le32_make(record->local) };
	memcpy(raw.settings, record->settings, sizeof(raw.settings));
	name_field_put(raw.name, sizeof(raw.name), record->name);
	memcpy(ret_raw, &raw, sizeof(raw));
}

/* File systems may choose it for each file. */
static bool block_shift_valid(const struct dataset_record *record)
{
	if (record->block_shift == 0)
		return record->kind == DATASET_FILESYSTEM;
	return record->block_shift >= CELL_SHIFT && record->block_shift <= DNODE_BLOCK_SHIFT_MAX;
}

/* The largest value of each that is kept in `settings`. */
static const uint8_t setting_max[SETTINGS_MAX] = {
	[SETTING_ATIME] = ATIME_OFF, [SETTING_READONLY] = READONLY_ON, [SETTING_XATTR] = XATTR_OFF, [SETTING_ACL] = ACL_OFF,
	[SETTING_SYNC] = SYNC_DISABLED, [SETTING_LOGBIAS] = LOGBIAS_THROUGHPUT, [SETTING_CHECKSUM] = CHECKSUM_XXH3_128,
};

uint32_t dataset_settings_of(uint8_t kind)
{
	const uint32_t of_volumes = 1u << SETTING_COMPRESSION | 1u << SETTING_READONLY | 1u << SETTING_SYNC | 1u << SETTING_LOGBIAS |
				    1u << SETTING_CHECKSUM;

	return kind == DATASET_FILESYSTEM ? (1u << SETTING_COUNT) - 1 : of_volumes;
}

static bool settings_valid(const struct dataset_record *record)
{
	if (record->local & ~dataset_settings_of(record->kind))
		return false;
	for (unsigned i = 0; i < SETTINGS_MAX; i++)
		if (record->settings[i] > (record->local >> i & 1 ? setting_max[i] : 0))
			return false;
	return true;
}

uint8_t dataset_record_setting(const struct dataset_record *record, enum dataset_setting setting)
{
	return setting == SETTING_COMPRESSION ? record->compression_level :
	       setting == SETTING_RECORDSIZE  ? record->block_shift :
						record->settings[setting];
}

void dataset_record_set(struct dataset_record *record, enum dataset_setting setting, uint8_t value)
{
	record->local |= 1u << setting;
	if (setting == SETTING_COMPRESSION)
		record->compression_level = value;
	else if (setting == SETTING_RECORDSIZE)
		record->block_shift = value;
	else
		record->settings[setting] = value;
}

void dataset_record_unset(struct dataset_record *record, enum dataset_setting setting)
{
	if (setting != SETTING_COMPRESSION && setting != SETTING_RECORDSIZE)
		record->settings[setting] = 0;
	record->local &= ~(1u << setting);
}

int dataset_record_decode(const uint8_t *raw_bytes, size_t size, struct dataset_record *ret_record)
{
	struct dataset_record record = { 0 };
	struct raw_dataset raw;

	if (size != sizeof(raw))
		return -POOL_EFORMAT;
	memcpy(&raw, raw_bytes, sizeof(raw));
	record.id = le32_get(raw.id);
	record.kind = raw.kind;
	record.block_shift = raw.block_shift;
	record.compression_level = raw.compression_level;
	record.flags = raw.flags;
	record.volume_size = le64_get(raw.volume_size);
	record.created_txg = le64_get(raw.created_txg);
	record.created_ns = le64_get(raw.created_ns);
	record.destroyed_ns = le64_get(raw.destroyed_ns);
	record.root = raw.root;
	record.previous_snapshot = le32_get(raw.previous_snapshot);
	record.next = le32_get(raw.next);
	record.origin = le32_get(raw.origin);
	record.parent = le32_get(raw.parent);
	record.previous_snapshot_txg = le64_get(raw.previous_snapshot_txg);
	record.deadlist_object = le64_get(raw.deadlist_object);
	record.referenced_cells = le64_get(raw.referenced_cells);
	record.unique_cells = le64_get(raw.unique_cells);
	record.quota = le64_get(raw.quota);
	record.reservation = le64_get(raw.reservation);
	record.refquota = le64_get(raw.refquota);
	record.local = le32_get(raw.local);
	memcpy(record.settings, raw.settings, sizeof(record.settings));
	memcpy(record.name, raw.name, sizeof(record.name));
	if (record.id == 0 || record.kind == 0 || record.kind > DATASET_SNAPSHOT ||
	    !block_shift_valid(&record) || !settings_valid(&record) ||
	    (record.compression_level > COMPRESSION_LEVEL_MAX && record.compression_level != COMPRESSION_AUTO) ||
	    record.flags & ~DATASET_DESTROYED || record.volume_size > INT64_MAX ||
	    !name_field_valid(record.name, sizeof(record.name)) || strchr(record.name, '/') || record.parent == record.id ||
	    le32_get(raw.reserved) != 0 || !bytes_are_zero(raw.reserved_2, sizeof(raw.reserved_2)) ||
	    (!raw_block_pointer_is_zero(&raw.root) && !raw_block_pointer_names(&raw.root, TYPE_OBJSET)))
		return -POOL_EFORMAT;
	*ret_record = record;
	return 0;
}

void batch_map_encode(const struct batch_map_entry *entry, uint8_t *ret_key, uint8_t *ret_value)
{
	struct raw_batch_map raw = { .rows = le16_make(entry->rows),
				     .txg = le64_make(entry->txg),
				     .summary = entry->summary,
				     .extra = entry->extra };
	uint32_t segment = htobe32(entry->segment);
	uint16_t base = htobe16(entry->base);

	memcpy(ret_key, &segment, sizeof(segment));
	memcpy(ret_key + sizeof(segment), &base, sizeof(base));
	memcpy(ret_value, &raw, sizeof(raw));
}

int batch_map_decode(const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size,
		     struct batch_map_entry *ret_entry)
{
	struct raw_batch_map raw;
	uint32_t segment;
	uint16_t base;

	if (key_size != BATCH_MAP_KEY_SIZE || value_size != sizeof(raw))
		return -POOL_EFORMAT;
	memcpy(&segment, key, sizeof(segment));
	memcpy(&base, key + sizeof(segment), sizeof(base));
	memcpy(&raw, value, sizeof(raw));
	struct batch_map_entry entry = { .segment = be32toh(segment),
					 .base = be16toh(base),
					 .rows = le16_get(raw.rows),
					 .txg = le64_get(raw.txg),
					 .summary = raw.summary,
					 .extra = raw.extra };
	if (entry.segment >= SEGMENTS_MAX || entry.base == 0 || entry.rows == 0 ||
	    (unsigned)entry.base + entry.rows > AU_ROWS_MAX || entry.txg == 0 ||
	    !bytes_are_zero(raw.reserved, sizeof(raw.reserved)) || le64_get(raw.reserved_2) != 0 ||
	    !raw_block_pointer_names(&entry.summary, TYPE_SUMMARY) ||
	    (!raw_block_pointer_is_zero(&entry.extra) && !raw_block_pointer_names(&entry.extra, TYPE_EXTRA)))
		return -POOL_EFORMAT;
	*ret_entry = entry;
	return 0;
}

struct raw_moved {
	le64 dva;        /* 0 */
	le32 references; /* 8 */
	le32 flags;      /* 12 */
};
_Static_assert(sizeof(struct raw_moved) == MOVED_VALUE_SIZE && AT(raw_moved, dva, 0) && AT(raw_moved, references, 8) &&
		       AT(raw_moved, flags, 12), "on disk");

void moved_key_encode(uint64_t dva, uint64_t place, uint8_t *ret_key)
{
	uint64_t parts[2] = { htobe64(dva), htobe64(place) };

	memcpy(ret_key, parts, sizeof(parts));
}

void moved_encode(const struct moved_entry *entry, uint8_t *ret_key, uint8_t *ret_value)
{
	struct raw_moved raw = { .dva = le64_make(entry->new_dva), .references = le32_make(entry->references) };

	moved_key_encode(entry->dva, entry->place, ret_key);
	memcpy(ret_value, &raw, sizeof(raw));
}

int moved_decode(const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size, struct moved_entry *ret_entry)
{
	struct raw_moved raw;
	uint64_t parts[2];

	if (key_size != MOVED_KEY_SIZE || value_size != sizeof(raw))
		return -POOL_EFORMAT;
	memcpy(parts, key, sizeof(parts));
	memcpy(&raw, value, sizeof(raw));
	struct moved_entry entry = { .dva = be64toh(parts[0]), .place = be64toh(parts[1]), .new_dva = le64_get(raw.dva),
				     .references = le32_get(raw.references) };
	if (entry.dva == 0 || entry.place == 0 || entry.new_dva == 0 || entry.references == 0 || le32_get(raw.flags) != 0)
		return -POOL_EFORMAT;
	*ret_entry = entry;
	return 0;
}
