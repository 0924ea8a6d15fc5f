/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Why strict: a size with a typing error must never become another size. "10GG", "1e9", "-1" and "0x10" are
 * refused with the reason, and what is printed can be typed in again.
 */
#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/errors.h"
#include "cli/sizes.h"

static const char suffixes[] = "KMGTPE";

/* Digits up to the first other character; false when they pass 2^60. */
static bool digits_parse(const char **position, uint64_t *ret_number)
{
	uint64_t number = 0;

	for (; isdigit((unsigned char)**position); (*position)++) {
		number = number * 10 + (uint64_t)(**position - '0');
		if (number > SIZE_LARGEST)
			return false;
	}
	*ret_number = number;
	return true;
}

/* `such`: what may stand there, as an example. */
static int begins_with_digit(const char *text, const char *what, const char *such, struct libpool_error *error)
{
	if (isdigit((unsigned char)text[0]))
		return 0;
	if (text[0] == '\0')
		return error_set(error, -EINVAL, "%s is empty: give a number such as %s", what, such);
	if (text[0] == '-')
		return error_set(error, -EINVAL,
				 "%s '%s' is negative: give a positive number such as %s", what,
				 text, such);
	return error_set(error, -EINVAL, "%s '%s' is not a number: give one such as %s", what, text, such);
}

static int too_large(const char *text, const char *what, struct libpool_error *error)
{
	return error_set(error, -EINVAL, "%s '%s' is beyond the limit of 2^60 bytes (1E): give a smaller one",
			 what, text);
}

static int below(const char *text, const char *what, uint64_t smallest, struct libpool_error *error)
{
	char least[QUANTITY_TEXT_MAX];

	size_print(smallest, least);
	if (smallest == 1)
		return error_set(error, -EINVAL, "%s '%s' is zero: give a positive number", what, text);
	return error_set(error, -EINVAL, "%s '%s' is too small: at least %s", what, text, least);
}

/* The bits of a suffix: 0 for none or "B", 10 for "K" or "KiB" ...; -1 for anything else. */
static int suffix_shift(const char *suffix)
{
	const char *found;

	if (suffix[0] == '\0' || strcmp(suffix, "B") == 0)
		return 0;
	found = strchr(suffixes, toupper((unsigned char)suffix[0]));
	if (!found || (suffix[1] != '\0' && strcmp(suffix + 1, "iB") != 0))
		return -1;
	return 10 * (int)(found - suffixes + 1);
}

int size_read(const char *text, const char *what, uint64_t smallest, uint64_t *ret_size,
	      struct libpool_error *error)
{
	const char *position = text;
	uint64_t whole, fraction = 0, unit, size;
	uint64_t scale = 1;
	int shift, code;

	code = begins_with_digit(text, what, "512M or 10G", error);
	if (code < 0)
		return code;
	if (!digits_parse(&position, &whole))
		return too_large(text, what, error);
	if (*position == '.') {
		const char *first = ++position;

		while (isdigit((unsigned char)*position) && position - first < 9) {
			fraction = fraction * 10 + (uint64_t)(*position++ - '0');
			scale *= 10;
		}
		if (position == first || isdigit((unsigned char)*position))
			return error_set(error, -EINVAL, "%s '%s' is not a number: give one such as 1.5G",
					 what, text);
	}
	shift = suffix_shift(position);
	if (shift < 0)
		return error_set(error, -EINVAL,
				 "%s '%s' ends in '%s': K, M, G, T, P and E are known (binary, 1K is 1024)",
				 what, text, position);
	unit = UINT64_C(1) << shift;
	if (whole > SIZE_LARGEST / unit)
		return too_large(text, what, error);
	/* Rounded down to bytes; a fraction finer than a byte is only refused where there is no unit to
	 * divide. */
	if (shift == 0 && fraction != 0)
		return error_set(error, -EINVAL, "%s '%s' is not a whole number of bytes", what, text);
	size = whole * unit + (uint64_t)((long double)fraction * (long double)unit / (long double)scale);
	if (size > SIZE_LARGEST)
		return too_large(text, what, error);
	if (size < smallest)
		return below(text, what, smallest, error);
	*ret_size = size;
	return 0;
}

int number_read(const char *text, const char *what, uint64_t smallest, uint64_t *ret_number,
		struct libpool_error *error)
{
	const char *position = text;
	uint64_t number;
	int code = begins_with_digit(text, what, "12", error);

	if (code < 0)
		return code;
	if (!digits_parse(&position, &number))
		return too_large(text, what, error);
	if (*position != '\0')
		return error_set(error, -EINVAL, "%s '%s' is not a plain number", what, text);
	if (number < smallest)
		return below(text, what, smallest, error);
	*ret_number = number;
	return 0;
}

void size_print(uint64_t bytes, char ret_text[QUANTITY_TEXT_MAX])
{
	double value = (double)bytes;
	int unit = -1;

	/* 999.5 would print as "1000": the next unit begins where three digits end. */
	while (value >= 999.5 && suffixes[unit + 1] != '\0') {
		value /= 1024;
		unit++;
	}
	if (unit < 0)
		snprintf(ret_text, QUANTITY_TEXT_MAX, "%uB", (unsigned)bytes);
	else
		snprintf(ret_text, QUANTITY_TEXT_MAX, "%.*f%c",
			 value < 9.995	 ? 2
			 : value < 99.95 ? 1
					 : 0,
			 value, suffixes[unit]);
}

void duration_print(double seconds, char ret_text[QUANTITY_TEXT_MAX])
{
	unsigned long whole = (unsigned long)(seconds + 0.5);

	if (seconds < 10)
		snprintf(ret_text, QUANTITY_TEXT_MAX, "%.1f s", seconds);
	else if (whole < 60)
		snprintf(ret_text, QUANTITY_TEXT_MAX, "%lu s", whole);
	else if (whole < 3600)
		snprintf(ret_text, QUANTITY_TEXT_MAX, "%lu:%02lu", whole / 60, whole % 60);
	else if (whole < 86400)
		snprintf(ret_text, QUANTITY_TEXT_MAX, "%lu:%02lu:%02lu", whole / 3600, whole / 60 % 60,
			 whole % 60);
	else
		snprintf(ret_text, QUANTITY_TEXT_MAX, "%lu d %02lu h", whole / 86400, whole / 3600 % 24);
}

void time_print(double seconds_since_1970, char ret_text[QUANTITY_TEXT_MAX])
{
	time_t whole = (time_t)seconds_since_1970;
	struct tm parts;

	if (whole == 0 || !localtime_r(&whole, &parts) ||
	    strftime(ret_text, QUANTITY_TEXT_MAX, "%Y-%m-%d %H:%M:%S", &parts) == 0)
		strcpy(ret_text, "-");
}
