/*
 * Profiles: the names of k data and m parity columns. A mirror is k = 1, so raid1c3 is 1 + 2.
 *
 * What must always hold: what profile_format prints for a pool is understood by profile_parse, given as many disks.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/pool/engine.h"

/* Of more than 16 disks: wider segments would only make each rebuild read more. */
#define WIDTH_OF_MANY 12u

struct profile {
	const char *name;
	unsigned parity;
	unsigned data_min; /* columns; 1 and no more for mirrors */
	bool mirror;
};

static const struct profile profiles[] = {
	{"single", 0, 1, false}, {"raid1", 1, 1, true},  {"raid1c3", 2, 1, true}, {"raid1c4", 3, 1, true},
	{"raid5", 1, 2, false},  {"raid6", 2, 2, false}, {"raid7", 3, 2, false},
};

/* What that many disks are enough for. */
static const char *const possible[] = {"single", "raid1", "raid1c3", "raid1c4"};

static const struct profile *find(const char *name, size_t length)
{
	for (size_t i = 0; i < sizeof(profiles) / sizeof(profiles[0]); i++)
		if (strlen(profiles[i].name) == length && !memcmp(profiles[i].name, name, length))
			return &profiles[i];
	return NULL;
}

/* "4+2"; false if it is anything else. */
static bool parse_width(const char *text, unsigned *ret_k, unsigned *ret_m)
{
	static const char digits[] = "0123456789";
	size_t data = strspn(text, digits), parity = text[data] == '+' ? strspn(text + data + 1, digits) : 0;

	if (data == 0 || parity == 0 || data > 3 || parity > 3 || text[data + 1 + parity])
		return false;
	*ret_k = (unsigned)strtoul(text, NULL, 10);
	*ret_m = (unsigned)strtoul(text + data + 1, NULL, 10);
	return true;
}

static int check_width(const struct profile *profile, const char *text, unsigned k, unsigned m, struct pool_error *error)
{
	if (m != profile->parity)
		return pool_error_set(error, -EINVAL, "profile %s: %s has %u parity columns, not %u", text, profile->name,
				      profile->parity, m);
	if (k < profile->data_min)
		return pool_error_set(error, -EINVAL, "profile %s: %s needs at least %u data columns", text, profile->name,
				      profile->data_min);
	if (profile->mirror && k != 1)
		return pool_error_set(error, -EINVAL, "profile %s: a mirror has one data column; use raid%u for more", text,
				      m + 4);
	if (k + m > COLUMNS_MAX)
		return pool_error_set(error, -EINVAL, "profile %s: at most %u columns in all", text, COLUMNS_MAX);
	return 0;
}

int profile_parse(const char *text, unsigned disk_count, unsigned *ret_k, unsigned *ret_m, struct pool_error *error)
{
	size_t length = text ? strcspn(text, ":") : 0;
	const struct profile *profile = text ? find(text, length) : NULL;
	unsigned k, m, needed;
	int result;

	if (!text || !text[0])
		return pool_error_set(error, -EINVAL, "no profile is given: name one of single, raid1, raid1c3, raid1c4, "
						      "raid5, raid6, raid7");
	if (!profile)
		return pool_error_set(error, -EINVAL,
				      "profile %.40s: unknown; name one of single, raid1, raid1c3, raid1c4, raid5, raid6, "
				      "raid7, or one with its width as in raid6:4+2",
				      text);
	m = profile->parity;
	if (text[length]) {
		if (!parse_width(text + length + 1, &k, &m))
			return pool_error_set(error, -EINVAL,
					      "profile %.40s: the width is written as data+parity columns, as in raid6:4+2", text);
		result = check_width(profile, text, k, m, error);
		if (result < 0)
			return result;
	} else if (profile->mirror) {
		k = 1;
	} else {
		unsigned width = disk_count <= COLUMNS_MAX ? disk_count : WIDTH_OF_MANY;

		k = width > m + profile->data_min ? width - m : profile->data_min;
	}
	needed = k + m;
	if (disk_count < needed && disk_count > 0 && disk_count <= 4)
		return pool_error_set(error, -EINVAL, "profile %.40s needs at least %u disks, %u given: add disks or use %s", text,
				      needed, disk_count, possible[disk_count - 1]);
	if (disk_count < needed)
		return pool_error_set(error, -EINVAL, "profile %.40s needs at least %u disk%s, %u given", text, needed,
				      needed == 1 ? "" : "s", disk_count);
	*ret_k = k;
	*ret_m = m;
	return 0;
}

void profile_format(unsigned k, unsigned m, char *ret_text, size_t size)
{
	if (m == 0)
		snprintf(ret_text, size, "single:%u+0", k);
	else if (k == 1)
		snprintf(ret_text, size, "%s", m == 1 ? "raid1" : m == 2 ? "raid1c3" : "raid1c4");
	else
		snprintf(ret_text, size, "raid%u:%u+%u", m + 4, k, m);
}
