/* A folder of file-backed disks with a pool on them, of which some can be hidden and come back. */
#ifndef TESTS_KILL_DISKS_H
#define TESTS_KILL_DISKS_H

#include <stdbool.h>
#include <stdint.h>
#include <libpool.h>

#define DISKS_MAX 8
#define MIB	  (UINT64_C(1) << 20)

struct disks {
	char folder[128];
	unsigned count;
	char paths[DISKS_MAX][160];
	uint32_t hidden; /* bit i: disk i lies where nobody looks */
	const char *folders[1];
	struct libpool_host host; /* of this folder only */
};

/* Sparse files of `bytes` in a new folder under $TMPDIR. Prints and exits when the folder can't be made. */
void disks_make(struct disks *disks, unsigned count, uint64_t bytes);
void disks_hide(struct disks *disks, unsigned index);
void disks_show(struct disks *disks, unsigned index);
/* Removes files and folder. */
void disks_remove(struct disks *disks);

int disks_create_pool(struct disks *disks, const char *name, const char *profile,
		      struct libpool_error *error);
int disks_import(struct disks *disks, const char *name, libpool_pool **ret_pool, struct libpool_error *error);

#endif
