/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pages of the segment table, headers of those of the live bitmaps, AU headers. The first byte of the input says which it is
 * and how many rows an AU has; zeros at its end may be left out.
 */
#include "checksum/crc32c.h"
#include "libpool/base/error.h"
#include "libpool/format/label.h"
#include "libpool/format/segment_record.h"
#include "tests/fuzz/fuzz.h"

#define SEGTAB_HEADER_SIZE (SEGTAB_PAGE_SIZE - SEGTAB_PAGE_RECORDS * SEGMENT_RECORD_SIZE)

static void check_page(const uint8_t *data, size_t size, unsigned rows)
{
	uint8_t *raw = fuzz_copy(data, size, SEGTAB_PAGE_SIZE), again[SEGMENT_RECORD_SIZE];
	uint64_t page = fuzz_le(raw + 16, 8), txg;

	if (segtab_page_header_decode(raw, page, &txg) == 0) {
		segtab_page_header_encode(page, txg, again);
		fuzz_expect(memcmp(raw, again, SEGTAB_HEADER_SIZE) == 0);
		fuzz_expect(segtab_page_header_decode(raw, page + 1, &txg) == -POOL_EFORMAT);
	}
	/* The records are looked at in any case: they are in the log too. */
	for (unsigned i = 0; i < SEGTAB_PAGE_RECORDS && SEGTAB_HEADER_SIZE + (size_t)i * SEGMENT_RECORD_SIZE < size; i++) {
		const uint8_t *at = raw + SEGTAB_HEADER_SIZE + (size_t)i * SEGMENT_RECORD_SIZE;
		struct segment_record record;
		int status = segment_record_decode(at, rows, &record);
		fuzz_expect(status == 0 || status == -POOL_EFORMAT);
		if (status == 0) {
			segment_record_encode(&record, again);
			fuzz_expect(memcmp(at, again, sizeof(again)) == 0);
		}
	}
	free(raw);
}

static void check_live_page(const uint8_t *data, size_t size)
{
	uint8_t *raw = fuzz_copy(data, size, LIVEMAP_HEADER_SIZE), again[LIVEMAP_HEADER_SIZE];
	uint64_t page = fuzz_le(raw + 16, 8), txg;

	if (livemap_header_decode(raw, page, &txg) == 0) {
		livemap_header_encode(page, txg, again);
		fuzz_expect(memcmp(raw, again, sizeof(again)) == 0);
	}
	free(raw);
}

static void check_au_header(const uint8_t *data, size_t size)
{
	uint8_t *raw = fuzz_copy(data, size, AU_HEADER_SIZE), again[AU_HEADER_SIZE];
	struct au_header header;

	uint32_t crc = crc32c(0, raw, AU_HEADER_SIZE - 4);
	for (unsigned i = 0; i < 4; i++)
		raw[AU_HEADER_SIZE - 4 + i] = (uint8_t)(crc >> 8 * i);
	if (au_header_decode(raw, &header) == 0) {
		au_header_encode(&header, again);
		fuzz_expect(memcmp(raw, again, sizeof(again)) == 0);
		raw[AU_HEADER_SIZE - 1] ^= 0x80;
		fuzz_expect(au_header_decode(raw, &header) == -POOL_EFORMAT);
	}
	free(raw);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0 || size > SEGTAB_PAGE_SIZE + 1)
		return -1;
	unsigned rows = 64u << (data[0] >> 2) % 7;
	switch (data[0] & 3) {
	case 0:
		check_live_page(data + 1, size - 1);
		break;
	case 1:
		check_au_header(data + 1, size - 1);
		break;
	default:
		check_page(data + 1, size - 1, rows);
	}
	return 0;
}
