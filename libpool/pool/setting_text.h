/* SPDX-License-Identifier: BSD-2-Clause */
/* Settings of datasets as people write them. */
#ifndef LIBPOOL_POOL_SETTING_TEXT_H
#define LIBPOOL_POOL_SETTING_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "libpool/format/dataset_record.h"
#include "libpool/format/inode.h"

struct setting_text {
	const char *name, *help;
	const char *values; /* with ", " between; those of one whose values aren't a list are described */
};
extern const struct setting_text setting_texts[SETTING_COUNT];

/* How names of a file system are compared: FS_CASE_, FS_NORMALIZATION_. -1: there is no such value; the first for "" and NULL. */
extern const char *const case_texts[FS_CASE_COUNT], *const normalization_texts[FS_NORMALIZATION_COUNT];
int text_find(const char *const *texts, unsigned count, const char *text);

/* False for what is no value. */
bool setting_parse(enum dataset_setting setting, const char *text, uint8_t *ret_value);
void setting_format(enum dataset_setting setting, uint8_t value, char *ret_text, size_t size);

#endif
