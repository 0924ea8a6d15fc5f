/* What verify.c and verify_cells.c share. */
#ifndef SCRUB_VERIFY_INTERNAL_H
#define SCRUB_VERIFY_INTERNAL_H

#include "scrub/internal.h"
#include "scrub/verify.h"

/* What the walk reached of one segment: bit = column * R + row. */
struct reached {
	uint64_t *cells, *starts; /* starts: first cells of blocks */
};

/* Of many (identity, address) of moved blocks, in any order. */
struct moved_sum {
	uint64_t pointers, hashes;
};

struct verify {
	const struct verify_source *source;
	struct rt *rt;
	struct store *store;
	struct alloc *alloc;
	unsigned what, rows; /* rows: R */
	struct reached *segments;
	uint32_t segment_count;
	uint64_t walked_txg; /* 0: no complete walk */
	bool unlocated;      /* some moved block couldn't be found */
	struct verify_result result;
	struct moved_sum moved; /* of pointers whose block lies elsewhere */
	unsigned reads;      /* fibers that read blocks */
	struct rt_queue ended;
	int error;
};

void verify_violation(struct verify *verify, const char *format, ...) __attribute__((format(printf, 2, 3)));
void verify_damage(struct verify *verify, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool verify_is_cancelled(const struct verify *verify);
/* verify_cells.c */
int verify_cells(struct verify *verify);

#endif
