/*
 * The 4 KiB record that commits a txg, the sysmap that lists the SYS segments, and the commit block that
 * roots everything else. FORMAT.md, section 4.
 */
#ifndef LIBPOOL_FORMAT_UBERBLOCK_H
#define LIBPOOL_FORMAT_UBERBLOCK_H

#include <stdbool.h>

#include "checksum/xxh3.h"
#include "libpool/format/alloc_log.h"
#include "libpool/format/block_pointer.h"
#include "libpool/format/constants.h"
#include "libpool/format/dnode.h"
#include "libpool/format/segment_record.h"

enum disk_state { DISK_ONLINE = 0, DISK_RESYNC = 1, DISK_FAULTY = 2, DISK_MISSING = 3, DISK_REMOVED = 4, DISK_SLOW = 5, DISK_SPARE = 6, DISK_OFFLINE = 7 };

enum { UBERBLOCK_CLEAN_EXPORT = 1 };

struct uberblock_state {
	uint16_t disk;
	uint8_t state;
	uint64_t stale_from;
};

struct uberblock_epoch {
	uint64_t epoch, first_txg;
};

struct uberblock_log {
	uint64_t generation, first_seq, base_txg;
	uint16_t segment_count, head, row; /* the first block begins in this row of segments[head], or the next segment's row 1 */
	uint32_t segments[UBERBLOCK_LOG_SEGMENTS_MAX];
};

struct uberblock {
	uint32_t flags;
	struct guid pool;
	uint64_t txg;
	uint32_t rewrite;
	uint16_t disks_online;
	uint64_t epoch, time_ns;
	struct guid host;
	uint16_t disk_index, slot; /* of this copy: set by the writer for each disk */
	uint64_t heartbeat_sequence;
	uint32_t heartbeat_interval_ms;
	uint64_t incompat, ro_compat, compat;
	uint64_t sysmap_txg;
	uint32_t sysmap_slot, sysmap_length;
	struct hash128 sysmap_checksum;
	struct raw_block_pointer commit;
	struct final_batch final;
	struct uberblock_log log;
	uint16_t state_count, history_count;
	struct uberblock_state states[UBERBLOCK_STATES_MAX];
	struct uberblock_epoch history[UBERBLOCK_HISTORY_MAX]; /* newest first */
};

/* Feature bits this version knows, with the names for people; unknown incompat bits refuse an import by name or number. */
#define FEATURES_INCOMPAT_KNOWN UINT64_C(0)
/* The intent log may hold changes: who doesn't know it sees the pool as of the last commit, and must not write. */
#define FEATURE_RO_COMPAT_INTENT_LOG UINT64_C(1)
#define FEATURES_RO_COMPAT_KNOWN FEATURE_RO_COMPAT_INTENT_LOG

/* The checksum covers (pool guid, disk guid, slot) and the record, so a misdirected copy is invalid. */
void uberblock_encode(const struct uberblock *uberblock, const struct guid *disk, uint8_t *ret_raw /* 4096 */);
/*
 * 0 or -POOL_EFORMAT. A copy in a commit slot (slot == txg % 120) needs a sysmap, a commit pointer and a final batch; in a
 * heartbeat slot these may be all zero. states: no disk twice, none ONLINE or REMOVED. history: first_txg descends from
 * at most txg. Feature masks are not judged here.
 */
int uberblock_decode(const uint8_t *raw, const struct guid *pool, const struct guid *disk, unsigned slot, struct uberblock *ret_uberblock);

#define SYSMAP_HEADER_SIZE 64u
#define SYSMAP_RECORD_SIZE 32u

struct sysmap_segment {
	uint32_t segment;
	uint16_t rows, flags; /* rows: rows_used; flags as in the segment record */
	uint8_t column_count; /* m + 1; absent columns are counted (on disk it takes the upper byte of flags) */
	struct segment_column columns[SYS_COLUMNS_MAX];
};

/* Encodes header + count entries of 32 bytes; returns the length (<= SYSMAP_SLOT_SIZE). Checksum goes to the uberblock. */
size_t sysmap_encode(const struct guid *pool, uint64_t txg, const struct sysmap_segment *segments, unsigned count, uint8_t *ret_raw);
/* `size` is exactly what sysmap_encode returned. ret_segments has room for SYSMAP_SEGMENTS_MAX (undefined after a
 * failure). Returns the count or -POOL_EFORMAT. The caller has verified the checksum in the uberblock. */
int sysmap_decode(const uint8_t *raw, size_t size, const struct guid *pool, uint64_t txg, struct sysmap_segment *ret_segments);

/* The commit block, one cell. */
struct commit_block {
	struct guid pool;
	uint64_t txg;
	uint64_t sequence;         /* number of this commit: counts commits, not txgs */
	uint64_t recent_txgs[3];   /* the last 3 committed txgs before this one, newest first, 0 if none */
	uint64_t time_ns;
	struct raw_block_pointer mos;       /* the MOS objset block */
	struct dnode segtab, livemap;       /* blobs in SYS segments */
	struct raw_block_pointer alloc_log; /* last block of this txg's log */
	uint64_t alloc_log_oldest;          /* oldest txg whose log import must apply */
	uint32_t segment_count;             /* records in segtab: highest id used + 1 */
	uint16_t segment_record_size, sysmap_record_size;
	uint64_t live_cells;                /* data cells in use, all segments, parity apart */
	uint64_t next_dataset;              /* lowest dataset id never used */
};
void commit_block_encode(const struct commit_block *commit, uint8_t *ret_raw /* 4096 */);
int commit_block_decode(const uint8_t *raw, struct commit_block *ret_commit);

#endif
