/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of pools and volumes: the one place that says which are allowed, and how "POOL/VOLUME" is taken
 * apart. */
#ifndef CLI_NAMES_H
#define CLI_NAMES_H

#include <stdbool.h>

#include <libpool.h>

struct target {
	char pool[LIBPOOL_NAME_MAX + 1];   /* "" when none was given */
	char volume[LIBPOOL_NAME_MAX + 1]; /* "" when none was given */
};

#define TARGET_TEXT_MAX (2 * LIBPOOL_NAME_MAX + 2)
#define GUID_TEXT_MAX	(2 * LIBPOOL_GUID_SIZE + 1)

enum target_form {
	TARGET_NONE,	      /* the verb has no such operand */
	TARGET_NEW_POOL,      /* POOL, which doesn't exist yet */
	TARGET_POOL,	      /* POOL */
	TARGET_POOL_OPTIONAL, /* [POOL] */
	TARGET_VOLUME,	      /* POOL/VOLUME, which may be a path */
	TARGET_DATASET,	      /* POOL/DATASET, a path too; kept where a volume would be */
	TARGET_POOL_OR_DATASET /* POOL[/DATASET] */
};

/*
 * What the library takes: 1 to 255 bytes of UTF-8 without spaces, control characters, any of / @ \ # % * ? " ', not beginning
 * with '-' or '.'. `what` is "pool" or "volume". 0 or -EINVAL.
 */
int name_check(const char *name, const char *what, struct libpool_error *error);
int target_parse(const char *text, enum target_form form, struct target *ret_target,
		 struct libpool_error *error);
/* "tank" or "tank/disk1" */
void target_print(const struct target *target, char ret_text[TARGET_TEXT_MAX]);
void guid_print(const uint8_t guid[LIBPOOL_GUID_SIZE], char ret_text[GUID_TEXT_MAX]);

#endif
