/*
 * The commit block: one cell that roots everything a txg contains. What must always hold: the pointers of a
 * decoded block are valid and name blocks of the right kind.
 */
#include "libpool/base/error.h"
#include "libpool/format/raw_header.h"
#include "libpool/format/uberblock.h"

struct raw_commit {
	struct raw_header header;           /* 0 */
	uint8_t pool[16];                   /* 16 */
	le64 txg;                           /* 32 */
	le64 sequence;                      /* 40 */
	le64 recent_txgs[3];                /* 48 */
	le64 time_ns;                       /* 72 */
	le64 alloc_log_oldest;              /* 80 */
	le64 live_cells;                    /* 88 */
	le64 next_dataset;                  /* 96 */
	le32 segment_count;                 /* 104 */
	le16 segment_record_size;           /* 108 */
	le16 sysmap_record_size;            /* 110 */
	uint8_t reserved[16];               /* 112 */
	struct raw_block_pointer mos;       /* 128 */
	struct raw_block_pointer alloc_log; /* 192 */
	uint8_t segtab[DNODE_SIZE];         /* 256 */
	uint8_t livemap[DNODE_SIZE];        /* 768 */
};
_Static_assert(sizeof(struct raw_commit) == 1280 && AT(raw_commit, header, 0) && AT(raw_commit, pool, 16) && AT(raw_commit, txg, 32) &&
		       AT(raw_commit, sequence, 40) && AT(raw_commit, recent_txgs, 48) && AT(raw_commit, time_ns, 72) &&
		       AT(raw_commit, alloc_log_oldest, 80) && AT(raw_commit, live_cells, 88) && AT(raw_commit, next_dataset, 96) &&
		       AT(raw_commit, segment_count, 104) && AT(raw_commit, segment_record_size, 108) &&
		       AT(raw_commit, sysmap_record_size, 110) && AT(raw_commit, mos, 128) && AT(raw_commit, alloc_log, 192) &&
		       AT(raw_commit, segtab, 256) && AT(raw_commit, livemap, 768), "on disk");

void commit_block_encode(const struct commit_block *commit, uint8_t *ret_raw)
{
	struct raw_commit raw = { .header = raw_header_make(MAGIC_COMMIT, sizeof(raw), 0),
				  .txg = le64_make(commit->txg),
				  .sequence = le64_make(commit->sequence),
				  .time_ns = le64_make(commit->time_ns),
				  .alloc_log_oldest = le64_make(commit->alloc_log_oldest),
				  .live_cells = le64_make(commit->live_cells),
				  .next_dataset = le64_make(commit->next_dataset),
				  .segment_count = le32_make(commit->segment_count),
				  .segment_record_size = le16_make(commit->segment_record_size),
				  .sysmap_record_size = le16_make(commit->sysmap_record_size),
				  .mos = commit->mos,
				  .alloc_log = commit->alloc_log };
	memcpy(raw.pool, commit->pool.bytes, sizeof(raw.pool));
	for (unsigned i = 0; i < 3; i++)
		raw.recent_txgs[i] = le64_make(commit->recent_txgs[i]);
	dnode_encode(&commit->segtab, raw.segtab);
	dnode_encode(&commit->livemap, raw.livemap);
	memset(ret_raw, 0, CELL_SIZE);
	memcpy(ret_raw, &raw, sizeof(raw));
}

/* Descending, below txg, zeros at the end. */
static bool recent_valid(const struct commit_block *commit)
{
	uint64_t newer = commit->txg;
	for (unsigned i = 0; i < 3; i++) {
		if (commit->recent_txgs[i] >= newer && !(newer == 0 && commit->recent_txgs[i] == 0))
			return false;
		newer = commit->recent_txgs[i];
	}
	return true;
}

int commit_block_decode(const uint8_t *raw_bytes, struct commit_block *ret_commit)
{
	struct commit_block commit = { 0 };
	struct raw_commit raw;

	memcpy(&raw, raw_bytes, sizeof(raw));
	if (!raw_header_valid(&raw.header, MAGIC_COMMIT, sizeof(raw), 0) ||
	    !bytes_are_zero(raw.reserved, sizeof(raw.reserved)) ||
	    !bytes_are_zero(raw_bytes + sizeof(raw), CELL_SIZE - sizeof(raw)))
		return -POOL_EFORMAT;
	memcpy(commit.pool.bytes, raw.pool, sizeof(raw.pool));
	commit.txg = le64_get(raw.txg);
	commit.sequence = le64_get(raw.sequence);
	for (unsigned i = 0; i < 3; i++)
		commit.recent_txgs[i] = le64_get(raw.recent_txgs[i]);
	commit.time_ns = le64_get(raw.time_ns);
	commit.alloc_log_oldest = le64_get(raw.alloc_log_oldest);
	commit.live_cells = le64_get(raw.live_cells);
	commit.next_dataset = le64_get(raw.next_dataset);
	commit.segment_count = le32_get(raw.segment_count);
	commit.segment_record_size = le16_get(raw.segment_record_size);
	commit.sysmap_record_size = le16_get(raw.sysmap_record_size);
	commit.mos = raw.mos;
	commit.alloc_log = raw.alloc_log;
	if (commit.txg == 0 || commit.sequence == 0 || !recent_valid(&commit) || commit.alloc_log_oldest == 0 ||
	    commit.alloc_log_oldest > commit.txg || commit.segment_count > SEGMENTS_MAX ||
	    commit.segment_record_size != SEGMENT_RECORD_SIZE || commit.sysmap_record_size != SYSMAP_RECORD_SIZE ||
	    commit.next_dataset > (UINT64_C(1) << 32) || !raw_block_pointer_names(&commit.mos, TYPE_OBJSET) ||
	    !raw_block_pointer_names(&commit.alloc_log, TYPE_ALLOC_LOG))
		return -POOL_EFORMAT;
	int error = dnode_decode(raw.segtab, &commit.segtab);
	if (!error)
		error = dnode_decode(raw.livemap, &commit.livemap);
	if (error)
		return error;
	if (commit.segtab.kind == DNODE_TREE || commit.livemap.kind == DNODE_TREE)
		return -POOL_EFORMAT;
	*ret_commit = commit;
	return 0;
}
