/* SPDX-License-Identifier: BSD-2-Clause */
/* Sysmaps. */
#include "libpool/base/error.h"
#include "libpool/format/uberblock.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct sysmap_segment segments[SYSMAP_SEGMENTS_MAX];
	static uint8_t again[SYSMAP_SLOT_SIZE];
	struct guid pool = { { 0 } };

	if (size > SYSMAP_SLOT_SIZE)
		return -1;
	uint8_t *raw = fuzz_copy(data, size, size);
	if (size >= SYSMAP_HEADER_SIZE)
		memcpy(pool.bytes, raw + 16, sizeof(pool));
	uint64_t txg = size >= SYSMAP_HEADER_SIZE ? fuzz_le(raw + 32, 8) : 0;
	int count = sysmap_decode(raw, size, &pool, txg, segments);
	if (count >= 0) {
		fuzz_expect(sysmap_encode(&pool, txg, segments, (unsigned)count, again) == size);
		fuzz_expect(memcmp(raw, again, size) == 0);
	} else {
		fuzz_expect(count == -POOL_EFORMAT);
	}
	free(raw);
	return 0;
}
