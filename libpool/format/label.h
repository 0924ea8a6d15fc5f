/* Labels: which pool a disk belongs to, and the list of all disks. AU headers: what an AU holds. */
#ifndef LIBPOOL_FORMAT_LABEL_H
#define LIBPOOL_FORMAT_LABEL_H

#include "libpool/format/constants.h"
#include "libpool/format/segment_record.h"

#define POOL_NAME_MAX 255u
#define LABEL_FEATURES_MAX 32u
#define FEATURE_NAME_MAX 63u
#define AU_HEADER_SIZE CELL_SIZE

enum disk_role { ROLE_DATA = 0, ROLE_LOG = 1, ROLE_SPARE = 2 };

/* Disks of role LOG: who doesn't know them would put data on them, and miss uberblocks there. */
#define FEATURE_LOG_DISKS "log_disks"

struct label_disk {
	struct guid guid;
	uint16_t index;
	uint8_t role, state; /* enum disk_state; only ONLINE or REMOVED here: the rest is in the uberblock */
	uint64_t size;       /* bytes */
};

struct label {
	struct guid pool, disk;
	char name[POOL_NAME_MAX + 1];
	uint64_t config_txg;  /* txg of the configuration: the newest wins */
	uint64_t created_ns;
	uint16_t disk_index;
	uint8_t au_shift, k, m;
	uint8_t destroyed;    /* set by destroy, cleared by undestroy */
	uint64_t size;        /* of this disk */
	uint8_t spoilt_copy;  /* not stored: the copy that fewer areas had than the other one when it was looked for; else 0 */
	uint16_t disk_count;
	uint16_t feature_count; /* names of incompat features */
	char features[LABEL_FEATURES_MAX][FEATURE_NAME_MAX + 1];
	struct label_disk disks[DISKS_MAX];
};

/* Into LABEL_COPY_SIZE bytes; copy 0 or 1 is hashed with the position, area 0 (A) or 1 (B) too. */
void label_encode(const struct label *label, unsigned area, unsigned copy, uint8_t *ret_raw);
/* The own disk must be in the list. 0, -POOL_EFORMAT, or -POOL_EFEATURE with *ret_label filled (features unknown to this version: see label_unknown_feature). */
int label_decode(const uint8_t *raw, unsigned area, unsigned copy, struct label *ret_label);
/* The first feature name this version doesn't know, or NULL. */
const char *label_unknown_feature(const struct label *label);
/* Whether the list has the name. Without effect when there is no room for it. */
void label_set_feature(struct label *label, const char *name, bool on);

struct au_header {
	struct guid pool, disk;
	uint32_t segment;
	uint8_t column, k, m, class;
	uint64_t alloc_txg, sequence; /* sequence: txg of its writing */
	struct segment_column columns[COLUMNS_MAX];
};
void au_header_encode(const struct au_header *header, uint8_t *ret_raw /* CELL_SIZE */);
int au_header_decode(const uint8_t *raw, struct au_header *ret_header);

#endif
