#include "tests/kill/content.h"
#include "tests/kill/random.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct head {
	char magic[8];
	uint64_t unit, version, check;
};

static const char magic[8] = {'k', 'i', 'l', 'l', 'u', 'n', 'i', 't'};

static uint64_t check_of(uint64_t unit, uint64_t version)
{
	struct random random = {unit * UINT64_C(0x100000001b3) ^ version << 20};

	return random_next(&random);
}

void content_fill(uint8_t *buffer, uint64_t unit, uint64_t version)
{
	struct head head = {.unit = unit, .version = version, .check = check_of(unit, version)};
	struct random random = {head.check};
	uint64_t word = 0;

	if (version == VERSION_NONE) {
		memset(buffer, 0, UNIT);
		return;
	}
	memcpy(head.magic, magic, sizeof(magic));
	memcpy(buffer, &head, sizeof(head));
	for (size_t at = sizeof(head); at < UNIT; at += sizeof(word)) {
		if (version % 3 != 0 || at % 512 == 0)
			word = random_next(&random);
		memcpy(buffer + at, &word, sizeof(word));
	}
}

static bool is_zero(const uint8_t *buffer)
{
	return buffer[0] == 0 && memcmp(buffer, buffer + 1, UNIT - 1) == 0;
}

bool content_version(const uint8_t *buffer, uint64_t unit, uint64_t *ret_version)
{
	uint8_t expected[UNIT];
	struct head head;

	if (is_zero(buffer)) {
		*ret_version = VERSION_NONE;
		return true;
	}
	memcpy(&head, buffer, sizeof(head));
	if (head.version == VERSION_NONE)
		return false;
	content_fill(expected, unit, head.version);
	if (memcmp(buffer, expected, UNIT) != 0)
		return false;
	*ret_version = head.version;
	return true;
}

void content_describe(const uint8_t *buffer, char *ret_text, size_t size)
{
	uint8_t expected[UNIT];
	struct head head;
	size_t first = 0, different = 0;

	memcpy(&head, buffer, sizeof(head));
	if (memcmp(head.magic, magic, sizeof(magic)) != 0) {
		snprintf(ret_text, size, "garbage, beginning with %02x %02x %02x %02x", buffer[0], buffer[1],
			 buffer[2], buffer[3]);
		return;
	}
	content_fill(expected, head.unit, head.version);
	for (size_t i = UNIT; i-- > 0;) {
		if (buffer[i] != expected[i]) {
			first = i;
			different++;
		}
	}
	snprintf(ret_text, size,
		 "unit %" PRIu64 " in version %" PRIu64 ", %zu of its bytes wrong, the first at %zu",
		 head.unit, head.version, different, first);
}
