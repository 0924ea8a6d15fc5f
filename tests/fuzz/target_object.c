/* SPDX-License-Identifier: BSD-2-Clause */
/* Block pointers, dnodes, objset blocks, commit blocks. The first byte of the input says which; zeros at its end may be left out. */
#include "libpool/base/error.h"
#include "libpool/format/uberblock.h"
#include "tests/fuzz/fuzz.h"

static void check_pointer(const uint8_t *data, size_t size)
{
	struct raw_block_pointer raw = { { 0 } }, again;
	struct block_pointer pointer;

	memcpy(raw.bytes, data, size < sizeof(raw) ? size : sizeof(raw));
	if (block_pointer_decode(&raw, &pointer) < 0)
		return;
	fuzz_expect(block_pointer_is_hole(&pointer) + block_pointer_is_embedded(&pointer) + block_pointer_is_placed(&pointer) == 1);
	fuzz_expect(pointer.psect <= pointer.lsect && pointer.birth >= pointer.place);
	block_pointer_encode(&pointer, &again);
	fuzz_expect(memcmp(&raw, &again, sizeof(raw)) == 0);
}

static void check_dnode(const uint8_t *data, size_t size)
{
	uint8_t *raw = fuzz_copy(data, size, DNODE_SIZE), again[DNODE_SIZE];
	struct dnode dnode;

	if (dnode_decode(raw, &dnode) == 0) {
		dnode_encode(&dnode, again);
		fuzz_expect(memcmp(raw, again, sizeof(again)) == 0);
	}
	free(raw);
}

static void check_objset(const uint8_t *data, size_t size)
{
	uint8_t *raw = fuzz_copy(data, size, OBJSET_SIZE), again[OBJSET_SIZE];
	struct objset_block objset;

	if (objset_block_decode(raw, &objset) == 0) {
		objset_block_encode(&objset, again);
		fuzz_expect(memcmp(raw, again, sizeof(again)) == 0);
	}
	free(raw);
}

static void check_commit(const uint8_t *data, size_t size)
{
	uint8_t *raw = fuzz_copy(data, size, CELL_SIZE), again[CELL_SIZE];
	struct commit_block commit;

	if (commit_block_decode(raw, &commit) == 0) {
		commit_block_encode(&commit, again);
		fuzz_expect(memcmp(raw, again, sizeof(again)) == 0);
	}
	free(raw);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const checks[])(const uint8_t *data, size_t size) = { check_pointer, check_dnode, check_objset, check_commit };

	if (size == 0 || size > CELL_SIZE + 1)
		return -1;
	checks[data[0] & 3](data + 1, size - 1);
	return 0;
}
