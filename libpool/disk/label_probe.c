/* See label_probe.h. The label is decoded on the heap: it is too large for a fiber's stack. */
#include "libpool/disk/label_probe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/base/error.h"
#include "libpool/format/label.h"
#include "libpool/format/raw_header.h"

_Static_assert(DISK_LABEL_PROBE_SIZE == LABEL_OFFSET + 2 * LABEL_COPY_SIZE, "both copies and no more");

bool disk_label_describe(const uint8_t *area_raw, unsigned area, char *ret_what, size_t what_size)
{
	struct label *label = malloc(sizeof(*label));
	bool found = false;

	for (unsigned copy = 0; copy < 2; copy++) {
		const uint8_t *raw = area_raw + LABEL_OFFSET + copy * LABEL_COPY_SIZE;
		struct raw_header header;
		int result = label ? label_decode(raw, area, copy, label) : -POOL_EFORMAT;

		if (result == 0 || result == -POOL_EFEATURE) {
			snprintf(ret_what, what_size, "disk of the pool \"%s\"%s", label->name,
				 label->destroyed ? ", which was destroyed" : "");
			free(label);
			return true;
		}
		memcpy(&header, raw, sizeof(header));
		if (le64_get(header.magic) == MAGIC_LABEL)
			found = true;
	}
	if (found)
		snprintf(ret_what, what_size, "disk of a pool, with a damaged label");
	free(label);
	return found;
}

uint64_t disk_label_area_b(uint64_t disk_size)
{
	uint64_t rounded = disk_size / LABEL_AREA_SIZE * LABEL_AREA_SIZE;

	return rounded >= 2 * LABEL_AREA_SIZE ? rounded - LABEL_AREA_SIZE : 0;
}
