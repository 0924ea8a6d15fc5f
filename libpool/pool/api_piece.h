/*
 * A range of a volume on its way between the caller's memory and the engine. The caller's threads copy, the engine's never
 * does but for parts of blocks: a read gets references to the cached, frozen blocks and drops them when it has copied
 * them out; a write makes frozen blocks first and hands them over.
 */
#ifndef LIBPOOL_POOL_API_PIECE_H
#define LIBPOOL_POOL_API_PIECE_H

#include <sys/uio.h>

#include "libpool/pool/api_pool.h"

struct piece {
	/* Set by the caller. */
	struct libpool_volume *volume;
	uint64_t begin, end;      /* bytes of the volume, not empty */
	uint64_t limit;           /* must lie within the volume, or nothing is done: at least end */
	const struct iovec *iov;  /* the caller's memory */
	size_t skip;              /* bytes of it before that of the piece */
	struct buffer **blocks;   /* room for piece_blocks of them */
	bool write;
	/* Private. */
	unsigned shift;           /* of a block: the volume may be closed before piece_finish */
	unsigned count;           /* blocks: of a read all it touches, of a write the whole ones */
	struct buffer *head, *tail; /* a write's parts of blocks that don't lie in one piece of memory */
	struct rt *rt;
	unsigned next;
	int result;
	struct rt_group readers;
};

/* Blocks that a piece of this length may need. */
static inline size_t piece_blocks(const struct libpool_volume *volume, uint64_t length)
{
	return (size_t)(length >> volume->block_shift) + 2;
}

/* In the caller's thread: 0, or -ENOMEM and nothing is left to be done. */
int piece_prepare(struct piece *piece);
/* In a fiber of the engine. */
int piece_run(struct piece *piece, struct rt *rt);
/* In the caller's thread, after piece_prepare: of a read with result 0 the data is copied out. */
void piece_finish(struct piece *piece, int result);

#endif
