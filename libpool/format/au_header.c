/*
 * AU headers: row 0 of each AU, so that a pool whose segment table is lost can be put together by scanning.
 * Not part of any codeword, hence a checksum of its own.
 */
#include "checksum/crc32c.h"
#include "libpool/base/error.h"
#include "libpool/format/label.h"
#include "libpool/format/raw_header.h"

struct raw_au_header {
	struct raw_header header; /* 0 */
	uint8_t pool[16];         /* 16 */
	uint8_t disk[16];         /* 32 */
	le32 segment;             /* 48 */
	uint8_t column;           /* 52 */
	uint8_t k;                /* 53 */
	uint8_t m;                /* 54 */
	uint8_t class;            /* 55 */
	le64 alloc_txg;           /* 56 */
	le64 sequence;            /* 64 */
	le64 reserved;            /* 72 */
	struct raw_segment_column columns[COLUMNS_MAX]; /* 80 */
	uint8_t reserved_2[3916]; /* 176 */
	le32 crc;                 /* 4092 */
};
_Static_assert(sizeof(struct raw_au_header) == AU_HEADER_SIZE && AT(raw_au_header, header, 0) && AT(raw_au_header, pool, 16) &&
		       AT(raw_au_header, disk, 32) && AT(raw_au_header, segment, 48) && AT(raw_au_header, column, 52) &&
		       AT(raw_au_header, k, 53) && AT(raw_au_header, m, 54) && AT(raw_au_header, class, 55) &&
		       AT(raw_au_header, alloc_txg, 56) && AT(raw_au_header, sequence, 64) && AT(raw_au_header, columns, 80) &&
		       AT(raw_au_header, crc, 4092), "on disk");

void au_header_encode(const struct au_header *header, uint8_t *ret_raw)
{
	struct raw_au_header raw = { .header = raw_header_make(MAGIC_AU, sizeof(raw), 0),
				     .segment = le32_make(header->segment),
				     .column = header->column,
				     .k = header->k,
				     .m = header->m,
				     .class = header->class,
				     .alloc_txg = le64_make(header->alloc_txg),
				     .sequence = le64_make(header->sequence) };
	memcpy(raw.pool, header->pool.bytes, sizeof(raw.pool));
	memcpy(raw.disk, header->disk.bytes, sizeof(raw.disk));
	segment_columns_encode(header->columns, (unsigned)header->k + header->m, COLUMNS_MAX, raw.columns);
	raw.crc = le32_make(crc32c(0, &raw, offsetof(struct raw_au_header, crc)));
	memcpy(ret_raw, &raw, sizeof(raw));
}

int au_header_decode(const uint8_t *raw_bytes, struct au_header *ret_header)
{
	struct au_header header = { 0 };
	struct raw_au_header raw;

	memcpy(&raw, raw_bytes, sizeof(raw));
	if (!raw_header_valid(&raw.header, MAGIC_AU, sizeof(raw), 0) ||
	    le32_get(raw.crc) != crc32c(0, &raw, offsetof(struct raw_au_header, crc)))
		return -POOL_EFORMAT;
	memcpy(header.pool.bytes, raw.pool, sizeof(raw.pool));
	memcpy(header.disk.bytes, raw.disk, sizeof(raw.disk));
	header.segment = le32_get(raw.segment);
	header.column = raw.column;
	header.k = raw.k;
	header.m = raw.m;
	header.class = raw.class;
	header.alloc_txg = le64_get(raw.alloc_txg);
	header.sequence = le64_get(raw.sequence);
	if (header.segment >= SEGMENTS_MAX || !segment_geometry_valid(header.class, header.k, header.m) ||
	    header.column >= header.k + header.m || le64_get(raw.reserved) != 0 ||
	    !bytes_are_zero(raw.reserved_2, sizeof(raw.reserved_2)))
		return -POOL_EFORMAT;
	int error = segment_columns_decode(raw.columns, (unsigned)header.k + header.m, COLUMNS_MAX, header.k,
					   header.columns);
	if (error)
		return error;
	if (header.columns[header.column].disk == DISK_ABSENT)
		return -POOL_EFORMAT;
	*ret_header = header;
	return 0;
}
