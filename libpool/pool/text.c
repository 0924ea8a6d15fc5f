/* Sizes, times and compression as text. Nothing here depends on the locale of the process. */
#include "libpool/pool/text.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "libpool/block/block.h"

static const char units[] = "KMGTPE";

/* Behind the unit: nothing, "B" or "iB". */
static bool is_end(const char *text)
{
	return !strcmp(text, "") || !strcmp(text, "B") || !strcmp(text, "iB");
}

bool size_parse(const char *text, uint64_t *ret_bytes)
{
	uint64_t whole = 0, fraction = 0, scale = 1, factor = 1;
	const char *unit;
	bool digits = false;

	for (; *text >= '0' && *text <= '9'; text++, digits = true) {
		if (whole > (UINT64_MAX >> 1) / 10 - 1)
			return false;
		whole = whole * 10 + (uint64_t)(*text - '0');
	}
	if (digits && *text == '.')
		for (text++; *text >= '0' && *text <= '9'; text++)
			if (scale < 1000000) {
				fraction = fraction * 10 + (uint64_t)(*text - '0');
				scale *= 10;
			}
	if (!digits)
		return false;
	unit = *text ? strchr(units, *text >= 'a' ? *text - 'a' + 'A' : *text) : NULL;
	if (unit) {
		factor = UINT64_C(1) << 10 * (unit - units + 1);
		text++;
	}
	if (!is_end(text) || (scale > 1 && factor == 1) || whole > (UINT64_MAX >> 1) / factor - 1)
		return false;
	*ret_bytes = whole * factor + (uint64_t)((double)fraction / (double)scale * (double)factor);
	return true;
}

void size_format(uint64_t bytes, char *ret_text, size_t size)
{
	int unit = -1;

	while (bytes && bytes % 1024 == 0 && unit < 5) {
		bytes /= 1024;
		unit++;
	}
	if (unit < 0)
		snprintf(ret_text, size, "%llu", (unsigned long long)bytes);
	else
		snprintf(ret_text, size, "%llu%c", (unsigned long long)bytes, units[unit]);
}

void size_format_rounded(uint64_t bytes, char *ret_text, size_t size)
{
	uint64_t hundredths = bytes;
	int unit = -1;

	if (bytes < 1024) {
		snprintf(ret_text, size, "%llu", (unsigned long long)bytes);
		return;
	}
	while (hundredths >= 1024 && unit < 5) {
		bytes = hundredths;
		hundredths /= 1024;
		unit++;
	}
	hundredths = bytes / 1024 * 100 + bytes % 1024 * 100 / 1024;
	snprintf(ret_text, size, "%llu.%02llu%c", (unsigned long long)(hundredths / 100), (unsigned long long)(hundredths % 100),
		 units[unit]);
}

void time_format(uint64_t time_ns, char *ret_text, size_t size)
{
	time_t seconds = (time_t)(time_ns / 1000000000);
	struct tm parts;

	if (!gmtime_r(&seconds, &parts) || strftime(ret_text, size, "%Y-%m-%d %H:%M:%S UTC", &parts) == 0)
		snprintf(ret_text, size, "%llu", (unsigned long long)seconds);
}

bool compression_parse(const char *text, uint8_t *ret_level)
{
	unsigned level;
	int used = 0;

	if (!strcmp(text, "off"))
		*ret_level = BLOCK_COMPRESS_OFF;
	else if (!strcmp(text, "auto"))
		*ret_level = BLOCK_COMPRESS_AUTO;
	else if (!strncmp(text, "zstd-", 5) && text[5] >= '1' && text[5] <= '9' && sscanf(text + 5, "%2u%n", &level, &used) == 1 &&
		 !text[5 + used] && level <= 19)
		*ret_level = (uint8_t)(level + 1);
	else
		return false;
	return true;
}

void compression_format(uint8_t level, char *ret_text, size_t size)
{
	if (level == BLOCK_COMPRESS_OFF)
		snprintf(ret_text, size, "off");
	else if (level == BLOCK_COMPRESS_AUTO)
		snprintf(ret_text, size, "auto");
	else
		snprintf(ret_text, size, "zstd-%u", level - 1u);
}

bool percent_parse(const char *text, unsigned *ret_hundredths)
{
	unsigned value = 0, digits = 0, behind = 0;
	bool point = false;

	for (; (*text >= '0' && *text <= '9') || (*text == '.' && !point && digits); text++) {
		if (*text == '.') {
			point = true;
			continue;
		}
		behind += point;
		if (++digits > 6 || behind > 2)
			return false;
		value = value * 10 + (unsigned)(*text - '0');
	}
	if (!digits || (point && !behind) || (strcmp(text, "") != 0 && strcmp(text, "%") != 0))
		return false;
	for (; behind < 2; behind++)
		value *= 10;
	*ret_hundredths = value;
	return true;
}
