/* SPDX-License-Identifier: BSD-2-Clause */
/* Blocks of the intent log with their records. Zeros at the end of the input may be left out. */
#include "checksum/xxh3.h"
#include "libpool/base/error.h"
#include "libpool/format/intent_log.h"
#include "tests/fuzz/fuzz.h"

#define CHECKSUM_OFFSET 112u

struct again {
	uint8_t *to, *end;
};

static int encode_again(void *argument, const struct intent_record *record)
{
	struct again *again = argument;
	size_t length = intent_record_bytes(record);

	fuzz_expect(length <= (size_t)(again->end - again->to));
	intent_record_encode(record, again->to);
	again->to += length;
	return 0;
}

static void mend(uint8_t *raw, size_t size)
{
	uint64_t payload = fuzz_le(raw + 64, 4);
	struct hash128 hash;

	if (payload > INTENT_PAYLOAD_MAX || (size_t)intent_block_cells(payload) * CELL_SIZE > size)
		return;
	memset(raw + CHECKSUM_OFFSET, 0, sizeof(hash));
	xxh3_128(raw, (size_t)intent_block_cells(payload) * CELL_SIZE, &hash);
	memcpy(raw + CHECKSUM_OFFSET, &hash, sizeof(hash));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct intent_block block;
	struct guid pool;

	if (size > (size_t)INTENT_BLOCK_CELLS_MAX * CELL_SIZE)
		return -1;
	size_t room = (size / CELL_SIZE + 1) * CELL_SIZE;
	uint8_t *raw = fuzz_copy(data, size, room), *again = calloc(1, room);
	memcpy(&pool, raw + 16, sizeof(pool));
	mend(raw, room);
	int status = intent_block_decode(raw, room, &pool, &block);
	fuzz_expect(status == 0 || status == -POOL_EFORMAT);
	if (status == 0) {
		struct again records = { again + INTENT_HEADER_SIZE, again + INTENT_HEADER_SIZE + block.payload_bytes };
		if (intent_records_each(raw, &block, encode_again, &records) == 0) {
			fuzz_expect(records.to == records.end);
			intent_block_encode(&block, again);
			fuzz_expect(memcmp(raw, again, (size_t)intent_block_cells(block.payload_bytes) * CELL_SIZE) == 0);
		}
		raw[INTENT_HEADER_SIZE - 1] ^= 1;
		fuzz_expect(intent_block_decode(raw, room, &pool, &block) == -POOL_EFORMAT);
	}
	free(raw);
	free(again);
	return 0;
}
