/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What names are compared by: their bytes, or a form in which all spellings that count as one are the same. Only this form is hashed;
 * a directory keeps names as they were given.
 *
 * Tables of Unicode grow. What is assigned keeps its decompositions and its folding for ever, the standard promises, so a name of
 * assigned characters has one form in all versions, and others are refused. The file system's record has the newest version that
 * names were made with; a library that is older doesn't open it.
 */
#include "libpool/fs/internal.h"

#include <stdio.h>
#include <utf8proc.h>

#define POINTS_MAX 2048 /* more than 255 bytes can become: the longest one, of three bytes, becomes 18 */

/* One pass over UTF-8, from `key` into it. */
static int pass(struct name_key *key, utf8proc_option_t options)
{
	utf8proc_int32_t points[POINTS_MAX + 1]; /* and the 0 behind them */
	utf8proc_ssize_t count = utf8proc_decompose(key->bytes, (utf8proc_ssize_t)key->length, points, POINTS_MAX, options | UTF8PROC_REJECTNA);

	if (count < 0)
		return -EILSEQ;
	if (count > POINTS_MAX)
		return -ENAMETOOLONG;
	utf8proc_ssize_t length = utf8proc_reencode(points, count, options);
	if (length < 0 || (size_t)length > sizeof(key->bytes))
		return -ENAMETOOLONG;
	memcpy(key->bytes, points, (size_t)length);
	key->length = (size_t)length;
	return 0;
}

/*
 * Caseless matching as the standard defines it: D144 without normalisation, D145 with the canonical one, D146 with that of
 * compatibility. (It begins with a normalisation since the order of some Greek accents depends on it.) 0 ends a list.
 */
#define NFD  UTF8PROC_DECOMPOSE
#define NFKD (UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT)
#define FOLD UTF8PROC_CASEFOLD /* by itself: with a decomposition it folds what isn't in order yet */
static const int passes[FS_CASE_COUNT][FS_NORMALIZATION_COUNT][6] = {
	[FS_CASE_SENSITIVE] = { [FS_NORMALIZATION_D] = { NFD }, [FS_NORMALIZATION_KD] = { NFKD } },
	[FS_CASE_INSENSITIVE] = { [FS_NORMALIZATION_NONE] = { FOLD },
				  [FS_NORMALIZATION_D] = { NFD, FOLD, NFD },
				  [FS_NORMALIZATION_KD] = { NFD, FOLD, NFKD, FOLD, NFKD } },
};

int name_key_make(const struct fs *fs, const char *name, size_t length, struct name_key *ret_key)
{
	const int *options = passes[fs->record.case_mode][fs->record.normalization];
	int status = 0;

	memcpy(ret_key->bytes, name, length);
	ret_key->length = length;
	for (unsigned i = 0; options[i] && status == 0; i++)
		status = pass(ret_key, (utf8proc_option_t)options[i]);
	return status;
}

bool name_key_equal(const struct name_key *left, const struct name_key *right)
{
	return left->length == right->length && memcmp(left->bytes, right->bytes, left->length) == 0;
}

static bool is_beside(const char *path, const char *other, size_t above)
{
	return strncmp(path, other, above + 1) == 0 && !strchr(other + above + 1, '/');
}

int fs_place_check(struct datasets *datasets, const char *path, const char *except, struct pool_error *error)
{
	const char *last = strrchr(path, '/');
	struct dataset_record *records = NULL;
	struct name_key key, other;
	char above[POOL_NAME_MAX + 1];
	struct fs probe;
	size_t count = 0;

	if (!last || (size_t)(last - path) >= sizeof(above))
		return 0;
	size_t length = (size_t)(last - path);
	memcpy(above, path, length);
	above[length] = '\0';
	/* What it lies in tells names apart by their bytes, or isn't there, or can't be read: said elsewhere. */
	if (fs_peek(datasets, above, &probe.record, NULL) < 0 || fs_names_are_bytes(&probe.record))
		return 0;
	if (strlen(last + 1) > FS_NAME_MAX || name_key_make(&probe, last + 1, strlen(last + 1), &key) < 0)
		return pool_error_set(error, -EILSEQ, "file system %s: %s has no name like that, as it compares names as text", path, above);
	int status = filesystems_list(datasets, &records, &count);
	for (size_t i = 0; i < count && status == 0; i++) {
		const char *name = records[i].name;
		if (!is_beside(path, name, length) || strcmp(name, path) == 0 || (except && strcmp(name, except) == 0))
			continue;
		name += length + 1;
		if (name_key_make(&probe, name, strlen(name), &other) == 0 && name_key_equal(&key, &other))
			status = pool_error_set(error, -EEXIST, "file system %s: %s is there, and %s takes the two for one name", path, records[i].name, above);
	}
	free(records);
	return status;
}

void unicode_version(uint8_t ret_version[3])
{
	unsigned numbers[3] = { 0 };

	(void)sscanf(utf8proc_unicode_version(), "%u.%u.%u", &numbers[0], &numbers[1], &numbers[2]);
	for (unsigned i = 0; i < 3; i++)
		ret_version[i] = (uint8_t)numbers[i];
}
