/* SPDX-License-Identifier: BSD-2-Clause */
/* The names of settings, and of their values. */
#include "libpool/pool/setting_text.h"

#include <stdio.h>
#include <string.h>

#include "libpool/format/dnode.h"
#include "libpool/pool/text.h"

/* Values that are a list stand in the order of their numbers. */
const struct setting_text setting_texts[SETTING_COUNT] = {
	[SETTING_COMPRESSION] = {"compression", "Of what is written from now on: off, auto, zstd-1 to zstd-19.", "off, auto, zstd-1 to zstd-19"},
	[SETTING_RECORDSIZE] = {"recordsize", "Of files that get their first content from now on: auto, by the use of each, or 4K to 1M.",
				"auto, or a power of two from 4K to 1M"},
	[SETTING_ATIME] = {"atime", "Times of access: relatime, where they would lie before a change or a day back; on; off.", "relatime, on, off"},
	[SETTING_READONLY] = {"readonly", "Whether changes are refused: on or off.", "off, on"},
	[SETTING_XATTR] = {"xattr", "Extended attributes, access control lists apart: on or off. Those that are there stay, unseen.", "on, off"},
	[SETTING_ACL] = {"acl", "Access control lists: posix or off. Those that are there stay, unseen.", "posix, off"},
	[SETTING_SYNC] = {"sync", "What a flush, fsync or FUA does: standard; always: each change is durable before it returns; disabled: nothing.",
			  "standard, always, disabled"},
	[SETTING_LOGBIAS] = {"logbias", "Flushes and fsync: latency, by the intent log; throughput, by a commit, each byte written once.",
			     "latency, throughput"},
	[SETTING_CHECKSUM] = {"checksum", "Of every block: xxh3-128; no other is built in this version, and no block is without one.", "xxh3-128"},
};

const char *const case_texts[FS_CASE_COUNT] = {"sensitive", "insensitive"};
const char *const normalization_texts[FS_NORMALIZATION_COUNT] = {"none", "formD", "formKD"};

int text_find(const char *const *texts, unsigned count, const char *text)
{
	if (!text || !text[0])
		return 0;
	for (unsigned i = 0; i < count; i++)
		if (strcmp(texts[i], text) == 0)
			return (int)i;
	return -1;
}

static bool is_list(enum dataset_setting setting)
{
	return setting != SETTING_COMPRESSION && setting != SETTING_RECORDSIZE;
}

static bool parse_record(const char *text, uint8_t *ret_shift)
{
	uint64_t bytes;

	if (strcmp(text, "auto") == 0) {
		*ret_shift = 0;
		return true;
	}
	if (!size_parse(text, &bytes) || bytes & (bytes - 1) || bytes < CELL_SIZE || bytes > UINT64_C(1) << DNODE_BLOCK_SHIFT_MAX)
		return false;
	*ret_shift = (uint8_t)__builtin_ctzll(bytes);
	return true;
}

bool setting_parse(enum dataset_setting setting, const char *text, uint8_t *ret_value)
{
	const char *at = setting_texts[setting].values;

	if (setting == SETTING_COMPRESSION)
		return compression_parse(text, ret_value);
	if (setting == SETTING_RECORDSIZE)
		return parse_record(text, ret_value);
	if (setting == SETTING_CHECKSUM && strcmp(text, "xxh3") == 0)
		text = at;
	for (uint8_t value = 0; *at; value++) {
		size_t length = strcspn(at, ",");

		if (strlen(text) == length && strncmp(text, at, length) == 0) {
			*ret_value = value;
			return true;
		}
		at += length;
		at += strspn(at, ", ");
	}
	return false;
}

void setting_format(enum dataset_setting setting, uint8_t value, char *ret_text, size_t size)
{
	const char *at = setting_texts[setting].values;

	if (setting == SETTING_COMPRESSION) {
		compression_format(value, ret_text, size);
	} else if (is_list(setting)) {
		for (; value; value--) {
			at += strcspn(at, ",");
			at += strspn(at, ", ");
		}
		snprintf(ret_text, size, "%.*s", (int)strcspn(at, ","), at);
	} else if (value == 0) {
		snprintf(ret_text, size, "auto");
	} else {
		size_format(UINT64_C(1) << value, ret_text, size);
	}
}
