/* SPDX-License-Identifier: BSD-2-Clause */
/* Labels. The input is a label without its hash; zeros at its end may be left out. */
#include "checksum/xxh3.h"
#include "libpool/base/error.h"
#include "libpool/format/label.h"
#include "tests/fuzz/fuzz.h"

#define HASH_OFFSET (LABEL_COPY_SIZE - 16)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct label label;
	uint8_t *raw = fuzz_copy(data, size, LABEL_COPY_SIZE), *again = malloc(LABEL_COPY_SIZE);
	uint8_t place[2] = { raw[77] & 1, raw[78] & 1 };
	struct hash128 hash;

	xxh3_128_context(place, sizeof(place), raw, HASH_OFFSET, &hash);
	memcpy(raw + HASH_OFFSET, &hash, sizeof(hash));
	int status = label_decode(raw, place[0], place[1], &label);
	if (status == 0 || status == -POOL_EFEATURE) {
		fuzz_expect((label_unknown_feature(&label) != NULL) == (status == -POOL_EFEATURE));
		label_encode(&label, place[0], place[1], again);
		fuzz_expect(memcmp(raw, again, LABEL_COPY_SIZE) == 0);
		fuzz_expect(label_decode(raw, !place[0], place[1], &label) == -POOL_EFORMAT);
		raw[HASH_OFFSET] ^= 1;
		fuzz_expect(label_decode(raw, place[0], place[1], &label) == -POOL_EFORMAT);
	} else {
		fuzz_expect(status == -POOL_EFORMAT);
	}
	free(raw);
	free(again);
	return 0;
}
