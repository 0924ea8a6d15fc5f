/* SPDX-License-Identifier: BSD-2-Clause */
/* Rows of MOS_SPACE. Keys are big endian, so that the rows of one dataset lie together. */
#include "libpool/format/space_record.h"

#include <endian.h>
#include <string.h>

#include "libpool/base/endian.h"
#include "libpool/base/error.h"

#define LIMIT_KIND 16u
#define CELLS_MAX (UINT64_C(1) << 52) /* 2^64 bytes */

struct raw_space {
	le64 amount;  /* 0 */
	le64 objects; /* 8 */
};
_Static_assert(sizeof(struct raw_space) == SPACE_VALUE_SIZE && AT(raw_space, amount, 0) && AT(raw_space, objects, 8), "on disk");

void space_key_encode(const struct space_row *row, uint8_t ret_key[SPACE_KEY_SIZE])
{
	uint32_t dataset = htobe32(row->dataset), id = htobe32(row->id);

	memcpy(ret_key, &dataset, sizeof(dataset));
	ret_key[4] = (uint8_t)(row->kind + 1u + (row->is_limit ? LIMIT_KIND : 0));
	memcpy(ret_key + 5, &id, sizeof(id));
}

void space_row_encode(const struct space_row *row, uint8_t ret_key[SPACE_KEY_SIZE], uint8_t ret_value[SPACE_VALUE_SIZE])
{
	struct raw_space raw = { le64_make(row->amount), le64_make(row->objects) };

	space_key_encode(row, ret_key);
	memcpy(ret_value, &raw, sizeof(raw));
}

int space_row_decode(const uint8_t *key, size_t key_size, const uint8_t *value, size_t value_size, struct space_row *ret_row)
{
	struct space_row row;
	struct raw_space raw;
	uint32_t dataset, id;

	if (key_size != SPACE_KEY_SIZE || value_size != sizeof(raw))
		return -POOL_EFORMAT;
	memcpy(&dataset, key, sizeof(dataset));
	memcpy(&id, key + 5, sizeof(id));
	memcpy(&raw, value, sizeof(raw));
	unsigned kind = key[4] > LIMIT_KIND ? key[4] - LIMIT_KIND : key[4];
	row = (struct space_row){ .dataset = be32toh(dataset), .id = be32toh(id), .kind = (enum owner_kind)(kind - 1), .is_limit = key[4] > LIMIT_KIND,
				  .amount = le64_get(raw.amount), .objects = le64_get(raw.objects) };
	if (row.dataset == 0 || kind == 0 || kind > OWNER_KINDS || (row.amount == 0 && row.objects == 0) ||
	    (!row.is_limit && row.amount > CELLS_MAX))
		return -POOL_EFORMAT;
	*ret_row = row;
	return 0;
}
