/*
 * A stamp at each multiple of 512 bytes of the volume: magic, operation, offset. See content.h.
 */
#include "tests/sim/content.h"

#include <string.h>

#include "libpool/base/hash_table.h"

#define STAMP_EVERY 512u
#define STAMP_MAGIC UINT32_C(0x5a11ce01)

struct stamp {
	uint32_t magic, volume;
	uint64_t version, offset;
};

static void fill_body(uint8_t *at, size_t length, enum content_kind kind, uint64_t offset, uint64_t version)
{
	if (kind == CONTENT_PLAIN) {
		memset(at, (int)(version % 255 + 1), length);
		return;
	}
	uint64_t state = hash_u64(version * 0x9e3779b97f4a7c15u + offset);

	for (size_t i = 0; i < length; i += 8) {
		size_t part = length - i < 8 ? length - i : 8;

		state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
		uint64_t word = state ^ state >> 29;
		memcpy(at + i, &word, part);
	}
}

void content_fill(uint8_t *buffer, size_t length, enum content_kind kind, uint32_t volume, uint64_t offset, uint64_t version)
{
	struct stamp stamp = {STAMP_MAGIC, volume, version, offset};

	if (kind == CONTENT_ZERO || kind == CONTENT_TINY) {
		memset(buffer, 0, length);
		if (kind == CONTENT_TINY)
			memcpy(buffer, &stamp, length < sizeof(stamp) ? length : sizeof(stamp));
		return;
	}
	fill_body(buffer, length, kind, offset, version);
	for (uint64_t at = (offset + STAMP_EVERY - 1) / STAMP_EVERY * STAMP_EVERY; at + sizeof(stamp) <= offset + length;
	     at += STAMP_EVERY) {
		stamp.offset = at;
		memcpy(buffer + (at - offset), &stamp, sizeof(stamp));
	}
}

bool content_describe(const uint8_t *bytes, size_t length, uint32_t *ret_volume, uint64_t *ret_offset, uint64_t *ret_version)
{
	struct stamp stamp;

	for (size_t at = 0; at + sizeof(stamp) <= length; at++) {
		memcpy(&stamp, bytes + at, sizeof(stamp));
		if (stamp.magic == STAMP_MAGIC) {
			*ret_volume = stamp.volume;
			*ret_offset = stamp.offset;
			*ret_version = stamp.version;
			return true;
		}
	}
	return false;
}
