/* SPDX-License-Identifier: BSD-2-Clause */
/* Uberblocks. The input is one without its hash; zeros at its end may be left out. */
#include "checksum/xxh3.h"
#include "libpool/base/error.h"
#include "libpool/format/uberblock.h"
#include "tests/fuzz/fuzz.h"

#define HASH_OFFSET (UBERBLOCK_SIZE - 16)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct uberblock uberblock;
	uint8_t *raw = fuzz_copy(data, size, UBERBLOCK_SIZE), again[UBERBLOCK_SIZE];
	struct guid pool, disk = { "disk of a target" };
	uint8_t context[34];
	struct hash128 hash;
	unsigned slot = (unsigned)fuzz_le(raw + 82, 2);

	memcpy(pool.bytes, raw + 16, sizeof(pool));
	memcpy(context, &pool, 16);
	memcpy(context + 16, &disk, 16);
	memcpy(context + 32, raw + 82, 2);
	xxh3_128_context(context, sizeof(context), raw, HASH_OFFSET, &hash);
	memcpy(raw + HASH_OFFSET, &hash, sizeof(hash));
	int status = uberblock_decode(raw, &pool, &disk, slot, &uberblock);
	if (status == 0) {
		uberblock_encode(&uberblock, &disk, again);
		fuzz_expect(memcmp(raw, again, UBERBLOCK_SIZE) == 0);
		fuzz_expect(uberblock_decode(raw, &pool, &disk, slot ^ 1, &uberblock) == -POOL_EFORMAT);
		fuzz_expect(uberblock_decode(raw, &disk, &disk, slot, &uberblock) == -POOL_EFORMAT);
	} else {
		fuzz_expect(status == -POOL_EFORMAT);
	}
	free(raw);
	return 0;
}
