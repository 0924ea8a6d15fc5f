/*
 * The records of the MOS trees: the dataset catalogue, the batch map, xblk, properties, history, damage.
 * Keys are big endian so that memcmp orders them.
 */
#ifndef LIBPOOL_FORMAT_DATASET_RECORD_H
#define LIBPOOL_FORMAT_DATASET_RECORD_H

#include <stddef.h>

#include "libpool/format/block_pointer.h"

/* Fixed object numbers in the MOS. */
enum { MOS_CATALOGUE = 1, MOS_BATCH_MAP = 2, MOS_XBLK = 3, MOS_PROPERTIES = 4, MOS_HISTORY = 5, MOS_DAMAGE = 6, MOS_JOBS = 7, MOS_SPACE = 8, MOS_FIRST_FREE = 16 };

enum dataset_kind { DATASET_FILESYSTEM = 1, DATASET_VOLUME = 2, DATASET_SNAPSHOT = 3 };

/*
 * Settings that file systems hand down to what lies in them. To add one: here; its largest value, and whether volumes have it, in
 * dataset_record.c; its values and its help in libpool/pool/setting_text.c.
 */
enum dataset_setting {
	SETTING_COMPRESSION, /* kept in compression_level */
	SETTING_RECORDSIZE,  /* kept in block_shift; of volumes that is fixed */
	SETTING_ATIME,
	SETTING_READONLY,
	SETTING_XATTR,
	SETTING_ACL,
	SETTING_SYNC,
	SETTING_LOGBIAS,
	SETTING_CHECKSUM, /* block_checksum: of those this version has one */
	SETTING_COUNT
};
enum { ATIME_RELATIVE = 0, ATIME_ON = 1, ATIME_OFF = 2 };
enum { READONLY_OFF = 0, READONLY_ON = 1 };
enum { XATTR_ON = 0, XATTR_OFF = 1 };
enum { ACL_POSIX = 0, ACL_OFF = 1 };
enum { SYNC_STANDARD = 0, SYNC_ALWAYS = 1, SYNC_DISABLED = 2 };
enum { LOGBIAS_LATENCY = 0, LOGBIAS_THROUGHPUT = 1 };
#define SETTINGS_MAX 16u

/* Catalogue: key = dataset id u32 big endian; the name is in the record (unique among those of one parent that aren't destroyed). */
struct dataset_record {
	uint32_t id;
	uint8_t kind, block_shift, compression_level; /* compression_level: 0 off, else zstd level + 1 (auto: 255); block_shift of a file system: 0: by the use of each file */
	uint8_t flags; /* DATASET_DESTROYED: waits to be freed, can be brought back */
	uint64_t volume_size;    /* bytes */
	uint64_t created_txg, created_ns, destroyed_ns;
	struct raw_block_pointer root; /* objset block */
	uint32_t previous_snapshot, next, origin;
	uint32_t parent; /* id of the file system that it lies in, 0: none; of a destroyed one it may be gone */
	uint64_t previous_snapshot_txg;
	uint64_t deadlist_object;
	uint64_t referenced_cells, unique_cells; /* without parity */
	uint64_t quota, reservation;             /* bytes, 0 none; with all that lies in it */
	uint64_t refquota;                       /* of itself alone */
	uint32_t local;                          /* mask of 1 << SETTING_: set here, and not handed down from above */
	uint8_t settings[SETTINGS_MAX];          /* by SETTING_, 0 for those that aren't local or are kept elsewhere */
	char name[256];
};
enum { DATASET_DESTROYED = 1 };
#define DATASET_RECORD_SIZE 640u
void dataset_record_encode(const struct dataset_record *record, uint8_t *ret_raw);
int dataset_record_decode(const uint8_t *raw, size_t size, struct dataset_record *ret_record);
uint32_t dataset_settings_of(uint8_t kind); /* those that it can have: mask of 1 << SETTING_ */
uint8_t dataset_record_setting(const struct dataset_record *record, enum dataset_setting setting); /* of a local one */
void dataset_record_set(struct dataset_record *record, enum dataset_setting setting, uint8_t value);
/* It is handed down from above again. */
void dataset_record_unset(struct dataset_record *record, enum dataset_setting setting);

/* Batch map: key (segment u32, base u16), value below (152 bytes). `extra` is a hole in this version. */
#define BATCH_MAP_KEY_SIZE 6u
#define BATCH_MAP_VALUE_SIZE 152u
struct batch_map_entry {
	uint32_t segment;
	uint16_t base, rows; /* one entry for each range of a batch */
	uint64_t txg;
	struct raw_block_pointer summary, extra;
};
void batch_map_encode(const struct batch_map_entry *entry, uint8_t *ret_key, uint8_t *ret_value);
int batch_map_decode(const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size, struct batch_map_entry *ret_entry);

/* xblk: key (dva u64, place u64) of a block's first placement, value below (16 bytes): where the compactor has put it. */
#define MOVED_KEY_SIZE 16u
#define MOVED_VALUE_SIZE 16u
struct moved_entry {
	uint64_t dva, place; /* the identity */
	uint64_t new_dva;
	uint32_t references; /* pointers that have the identity */
};
void moved_key_encode(uint64_t dva, uint64_t place, uint8_t *ret_key);
void moved_encode(const struct moved_entry *entry, uint8_t *ret_key, uint8_t *ret_value);
int moved_decode(const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size, struct moved_entry *ret_entry);

#endif
