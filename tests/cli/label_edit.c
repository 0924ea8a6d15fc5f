/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writes the name of an incompatible feature into all copies of a disk's label, as a later version of libpool
 * would. usage: label-edit IMAGE FEATURE
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libpool/format/label.h"

static int edit(int descriptor, off_t area_offset, unsigned area, const char *feature)
{
	static struct label label; /* too large for the stack */
	uint8_t raw[LABEL_COPY_SIZE];
	int edited = 0;

	for (unsigned copy = 0; copy < 2; copy++) {
		off_t offset = area_offset + (off_t)LABEL_OFFSET + (off_t)copy * (off_t)LABEL_COPY_SIZE;

		if (pread(descriptor, raw, sizeof(raw), offset) != (ssize_t)sizeof(raw) ||
		    label_decode(raw, area, copy, &label) != 0)
			continue;
		snprintf(label.features[label.feature_count++], FEATURE_NAME_MAX + 1, "%s", feature);
		label_encode(&label, area, copy, raw);
		if (pwrite(descriptor, raw, sizeof(raw), offset) == (ssize_t)sizeof(raw))
			edited++;
	}
	return edited;
}

int main(int argc, char **argv)
{
	struct stat status;
	off_t end;
	int descriptor, edited;

	if (argc != 3 || (descriptor = open(argv[1], O_RDWR | O_CLOEXEC)) < 0 ||
	    fstat(descriptor, &status) != 0)
		return 2;
	end = status.st_size / (off_t)LABEL_AREA_SIZE * (off_t)LABEL_AREA_SIZE;
	edited = edit(descriptor, 0, 0, argv[2]) + edit(descriptor, end - (off_t)LABEL_AREA_SIZE, 1, argv[2]);
	close(descriptor);
	printf("%d copies\n", edited);
	return edited == 4 ? 0 : 1;
}
