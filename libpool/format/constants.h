/* Sizes, positions and bounds that every on-disk structure shares. FORMAT.md explains them. */
#ifndef LIBPOOL_FORMAT_CONSTANTS_H
#define LIBPOOL_FORMAT_CONSTANTS_H

#include <stdint.h>

#define CELL_SIZE 4096u
#define CELL_SHIFT 12

#define COLUMNS_MAX 16u      /* k + m */
#define PARITY_MAX 3u        /* m */
#define SYS_COLUMNS_MAX 4u   /* columns of SYS and LOG segments */
#define DISKS_MAX 512u
#define DISK_ABSENT 0xFFFFu  /* column without a disk */
#define SEGMENTS_MAX (1u << 24)
#define STRIPE_ROWS_MAX 256u
#define STRIPE_CELLS_MAX 4096u
#define BLOCK_CELLS_MAX 256u
#define SUMMARY_CELLS_MAX 32u
#define FINAL_BATCH_ROWS_MAX 24u

#define LABEL_OFFSET (64u << 10)
#define LABEL_COPY_SIZE (32u << 10)
#define UBERBLOCK_OFFSET (128u << 10)
#define UBERBLOCK_SIZE 4096u
#define UBERBLOCK_COMMIT_SLOTS 120u
#define UBERBLOCK_HEARTBEAT_SLOTS 8u
#define SYSMAP_OFFSET (640u << 10)
#define SYSMAP_SLOT_SIZE (64u << 10)
#define SYSMAP_SLOTS 6u
#define LABEL_AREA_SIZE (1u << 20) /* area A at 0, area B in the last MiB of the (MiB-rounded) disk */
#define DATA_START LABEL_AREA_SIZE

#define AU_SHIFT_MIN 18u /* 256 KiB */
#define AU_SHIFT_MAX 24u /* 16 MiB */
#define DISK_AUS_MIN 64u
#define LOG_DISK_AUS_MAX 1024u /* of a log disk the rest isn't used */
#define DISK_SIZE_MIN (UINT64_C(64) << 20)
#define SYSMAP_SEGMENTS_MAX 2000u
#define UBERBLOCK_STATES_MAX 128u
#define UBERBLOCK_HISTORY_MAX 32u
#define UBERBLOCK_LOG_SEGMENTS_MAX 16u
#define STALE_RECORDS_MAX 256u
#define TXG_REWIND_GAP 64u /* numbers skipped after an unclean import or a rewind */

struct guid {
	uint8_t bytes[16];
};

/* Stream classes (numbers are on disk). */
enum segment_class { CLASS_SYS = 0, CLASS_LOG = 1, CLASS_META = 2, CLASS_HOT = 3, CLASS_COLD = 4, CLASS_SURV = 5, CLASS_COUNT = 6 };

/* Block types (6 bits, on disk). */
enum block_type {
	TYPE_NONE = 0, TYPE_SUMMARY = 1, TYPE_ALLOC_LOG = 2, TYPE_COMMIT = 3, TYPE_SEGTAB = 4, TYPE_LIVEMAP = 5,
	TYPE_OBJSET = 6, TYPE_DNODES = 7, TYPE_TREE = 8, TYPE_DATA = 9, TYPE_EXTRA = 10, TYPE_COUNT = 11
};

enum block_compression { COMPRESSION_NONE = 0, COMPRESSION_ZSTD = 1 };
enum block_checksum { CHECKSUM_XXH3_128 = 0, CHECKSUM_BLAKE3 = 1, CHECKSUM_SHA256 = 2, CHECKSUM_MAC = 3 };

#endif
