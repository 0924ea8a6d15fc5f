/*
 * Uberblocks: the record whose appearance on enough disks commits a txg.
 *
 * What must always hold: a copy is valid only in the slot of the disk it was written to, since the hash starts
 * with both; and a valid copy in a commit slot names everything that import reads next: sysmap, commit
 * block, final batch.
 */
#include "libpool/format/uberblock.h"

#include "libpool/base/error.h"
#include "libpool/format/raw_header.h"

#define AU_ROWS_MAX (1u << (AU_SHIFT_MAX - CELL_SHIFT))

struct raw_state {
	le16 disk;           /* 0 */
	uint8_t state;       /* 2 */
	uint8_t reserved[5]; /* 3 */
	le64 stale_from;     /* 8 */
};
_Static_assert(sizeof(struct raw_state) == 16 && AT(raw_state, disk, 0) && AT(raw_state, state, 2) && AT(raw_state, stale_from, 8), "on disk");

struct raw_epoch {
	le64 epoch;     /* 0 */
	le64 first_txg; /* 8 */
};
_Static_assert(sizeof(struct raw_epoch) == 16 && AT(raw_epoch, epoch, 0) && AT(raw_epoch, first_txg, 8), "on disk");

struct raw_log {
	le64 generation;                           /* 0 */
	le64 first_seq;                            /* 8 */
	le64 base_txg;                             /* 16 */
	le16 segment_count;                        /* 24 */
	le16 head;                                 /* 26 */
	le16 row;                                  /* 28 */
	le16 reserved;                             /* 30 */
	le32 segments[UBERBLOCK_LOG_SEGMENTS_MAX]; /* 32 */
};
_Static_assert(sizeof(struct raw_log) == 96 && AT(raw_log, generation, 0) && AT(raw_log, first_seq, 8) && AT(raw_log, base_txg, 16) &&
		       AT(raw_log, segment_count, 24) && AT(raw_log, head, 26) && AT(raw_log, row, 28) &&
		       AT(raw_log, segments, 32), "on disk");

struct raw_uberblock {
	struct raw_header header;                          /* 0 */
	uint8_t pool[16];                                  /* 16 */
	le64 txg;                                          /* 32 */
	le32 rewrite;                                      /* 40 */
	le16 disks_online;                                 /* 44 */
	le16 reserved_1;                                   /* 46 */
	le64 epoch;                                        /* 48 */
	le64 time_ns;                                      /* 56 */
	uint8_t host[16];                                  /* 64 */
	le16 disk_index;                                   /* 80 */
	le16 slot;                                         /* 82 */
	le16 state_count;                                  /* 84 */
	le16 history_count;                                /* 86 */
	le64 heartbeat_sequence;                           /* 88 */
	le32 heartbeat_interval_ms;                        /* 96 */
	le32 reserved_2;                                   /* 100 */
	le64 incompat;                                     /* 104 */
	le64 ro_compat;                                    /* 112 */
	le64 compat;                                       /* 120 */
	le64 sysmap_txg;                                   /* 128 */
	le32 sysmap_slot;                                  /* 136 */
	le32 sysmap_length;                                /* 140 */
	uint8_t sysmap_checksum[16];                       /* 144 */
	struct raw_block_pointer commit;                   /* 160 */
	struct raw_final_batch final;                      /* 224 */
	struct raw_log log;                                /* 296 */
	struct raw_state states[UBERBLOCK_STATES_MAX];     /* 392 */
	struct raw_epoch history[UBERBLOCK_HISTORY_MAX];   /* 2440 */
	uint8_t reserved_3[1128];                          /* 2952 */
	struct hash128 hash;                               /* 4080 */
};
_Static_assert(sizeof(struct raw_uberblock) == UBERBLOCK_SIZE && AT(raw_uberblock, header, 0) && AT(raw_uberblock, pool, 16) &&
		       AT(raw_uberblock, txg, 32) && AT(raw_uberblock, rewrite, 40) && AT(raw_uberblock, disks_online, 44) &&
		       AT(raw_uberblock, epoch, 48) && AT(raw_uberblock, time_ns, 56) && AT(raw_uberblock, host, 64) &&
		       AT(raw_uberblock, disk_index, 80) && AT(raw_uberblock, slot, 82) && AT(raw_uberblock, state_count, 84) &&
		       AT(raw_uberblock, history_count, 86) && AT(raw_uberblock, heartbeat_sequence, 88) &&
		       AT(raw_uberblock, heartbeat_interval_ms, 96) && AT(raw_uberblock, incompat, 104) &&
		       AT(raw_uberblock, ro_compat, 112) && AT(raw_uberblock, compat, 120) && AT(raw_uberblock, sysmap_txg, 128) &&
		       AT(raw_uberblock, sysmap_slot, 136) && AT(raw_uberblock, sysmap_length, 140) &&
		       AT(raw_uberblock, sysmap_checksum, 144) && AT(raw_uberblock, commit, 160) && AT(raw_uberblock, final, 224) &&
		       AT(raw_uberblock, log, 296) && AT(raw_uberblock, states, 392) && AT(raw_uberblock, history, 2440) &&
		       AT(raw_uberblock, hash, 4080), "on disk");

static void uberblock_hash(const struct raw_uberblock *raw, const struct guid *pool, const struct guid *disk,
			   unsigned slot, struct hash128 *ret_hash)
{
	struct {
		struct guid pool, disk;
		le16 slot;
	} context = { .pool = *pool, .disk = *disk, .slot = le16_make((uint16_t)slot) };
	_Static_assert(sizeof(context) == 34, "on disk");

	xxh3_128_context(&context, sizeof(context), raw, offsetof(struct raw_uberblock, hash), ret_hash);
}

static void log_encode(const struct uberblock_log *log, struct raw_log *ret_raw)
{
	ret_raw->generation = le64_make(log->generation);
	ret_raw->first_seq = le64_make(log->first_seq);
	ret_raw->base_txg = le64_make(log->base_txg);
	ret_raw->segment_count = le16_make(log->segment_count);
	ret_raw->head = le16_make(log->head);
	ret_raw->row = le16_make(log->row);
	for (unsigned i = 0; i < log->segment_count && i < UBERBLOCK_LOG_SEGMENTS_MAX; i++)
		ret_raw->segments[i] = le32_make(log->segments[i]);
}

void uberblock_encode(const struct uberblock *uberblock, const struct guid *disk, uint8_t *ret_raw)
{
	struct raw_uberblock raw = { .header = raw_header_make(MAGIC_UBERBLOCK, sizeof(raw), uberblock->flags),
				     .txg = le64_make(uberblock->txg),
				     .rewrite = le32_make(uberblock->rewrite),
				     .disks_online = le16_make(uberblock->disks_online),
				     .epoch = le64_make(uberblock->epoch),
				     .time_ns = le64_make(uberblock->time_ns),
				     .disk_index = le16_make(uberblock->disk_index),
				     .slot = le16_make(uberblock->slot),
				     .state_count = le16_make(uberblock->state_count),
				     .history_count = le16_make(uberblock->history_count),
				     .heartbeat_sequence = le64_make(uberblock->heartbeat_sequence),
				     .heartbeat_interval_ms = le32_make(uberblock->heartbeat_interval_ms),
				     .incompat = le64_make(uberblock->incompat),
				     .ro_compat = le64_make(uberblock->ro_compat),
				     .compat = le64_make(uberblock->compat),
				     .sysmap_txg = le64_make(uberblock->sysmap_txg),
				     .sysmap_slot = le32_make(uberblock->sysmap_slot),
				     .sysmap_length = le32_make(uberblock->sysmap_length),
				     .commit = uberblock->commit };
	memcpy(raw.pool, uberblock->pool.bytes, sizeof(raw.pool));
	memcpy(raw.host, uberblock->host.bytes, sizeof(raw.host));
	memcpy(raw.sysmap_checksum, uberblock->sysmap_checksum.bytes, sizeof(raw.sysmap_checksum));
	final_batch_encode(&uberblock->final, &raw.final);
	log_encode(&uberblock->log, &raw.log);
	for (unsigned i = 0; i < uberblock->state_count && i < UBERBLOCK_STATES_MAX; i++) {
		raw.states[i].disk = le16_make(uberblock->states[i].disk);
		raw.states[i].state = uberblock->states[i].state;
		raw.states[i].stale_from = le64_make(uberblock->states[i].stale_from);
	}
	for (unsigned i = 0; i < uberblock->history_count && i < UBERBLOCK_HISTORY_MAX; i++) {
		raw.history[i].epoch = le64_make(uberblock->history[i].epoch);
		raw.history[i].first_txg = le64_make(uberblock->history[i].first_txg);
	}
	uberblock_hash(&raw, &uberblock->pool, disk, uberblock->slot, &raw.hash);
	memcpy(ret_raw, &raw, sizeof(raw));
}

static int states_decode(const struct raw_uberblock *raw, struct uberblock *uberblock)
{
	unsigned count = le16_get(raw->state_count);

	if (count > UBERBLOCK_STATES_MAX ||
	    !bytes_are_zero(&raw->states[count], (UBERBLOCK_STATES_MAX - count) * sizeof(struct raw_state)))
		return -POOL_EFORMAT;
	for (unsigned i = 0; i < count; i++) {
		const struct raw_state *from = &raw->states[i];
		struct uberblock_state state = { .disk = le16_get(from->disk),
						 .state = from->state,
						 .stale_from = le64_get(from->stale_from) };
		if (state.disk >= DISKS_MAX || state.state == DISK_ONLINE || state.state == DISK_REMOVED ||
		    state.state > DISK_OFFLINE || !bytes_are_zero(from->reserved, sizeof(from->reserved)))
			return -POOL_EFORMAT;
		for (unsigned other = 0; other < i; other++)
			if (uberblock->states[other].disk == state.disk)
				return -POOL_EFORMAT;
		uberblock->states[i] = state;
	}
	uberblock->state_count = (uint16_t)count;
	return 0;
}

static int history_decode(const struct raw_uberblock *raw, struct uberblock *uberblock)
{
	unsigned count = le16_get(raw->history_count);
	uint64_t newer = uberblock->txg;

	if (count > UBERBLOCK_HISTORY_MAX ||
	    !bytes_are_zero(&raw->history[count], (UBERBLOCK_HISTORY_MAX - count) * sizeof(struct raw_epoch)))
		return -POOL_EFORMAT;
	for (unsigned i = 0; i < count; i++) {
		struct uberblock_epoch epoch = { .epoch = le64_get(raw->history[i].epoch),
						 .first_txg = le64_get(raw->history[i].first_txg) };
		if (epoch.first_txg == 0 || epoch.first_txg > newer)
			return -POOL_EFORMAT;
		newer = epoch.first_txg - 1;
		uberblock->history[i] = epoch;
	}
	uberblock->history_count = (uint16_t)count;
	return 0;
}

static int log_decode(const struct raw_log *raw, struct uberblock_log *ret_log)
{
	struct uberblock_log log = { .generation = le64_get(raw->generation),
				     .first_seq = le64_get(raw->first_seq),
				     .base_txg = le64_get(raw->base_txg),
				     .segment_count = le16_get(raw->segment_count),
				     .head = le16_get(raw->head),
				     .row = le16_get(raw->row) };
	if (log.segment_count > UBERBLOCK_LOG_SEGMENTS_MAX || le16_get(raw->reserved) != 0 ||
	    (log.segment_count == 0) != (log.row == 0) || log.row > AU_ROWS_MAX ||
	    (log.head >= log.segment_count && log.head != 0) ||
	    !bytes_are_zero(&raw->segments[log.segment_count],
			    (UBERBLOCK_LOG_SEGMENTS_MAX - log.segment_count) * sizeof(le32)))
		return -POOL_EFORMAT;
	for (unsigned i = 0; i < log.segment_count; i++) {
		log.segments[i] = le32_get(raw->segments[i]);
		if (log.segments[i] >= SEGMENTS_MAX)
			return -POOL_EFORMAT;
		for (unsigned other = 0; other < i; other++)
			if (log.segments[other] == log.segments[i])
				return -POOL_EFORMAT;
	}
	*ret_log = log;
	return 0;
}

/* What a commit points to. Only a heartbeat may have none of it, and then all of it is zero. */
static int root_decode(const struct raw_uberblock *raw, struct uberblock *uberblock)
{
	uberblock->sysmap_txg = le64_get(raw->sysmap_txg);
	uberblock->sysmap_slot = le32_get(raw->sysmap_slot);
	uberblock->sysmap_length = le32_get(raw->sysmap_length);
	memcpy(uberblock->sysmap_checksum.bytes, raw->sysmap_checksum, sizeof(raw->sysmap_checksum));
	uberblock->commit = raw->commit;
	size_t from = offsetof(struct raw_uberblock, sysmap_txg), to = offsetof(struct raw_uberblock, log);
	if (uberblock->slot >= UBERBLOCK_COMMIT_SLOTS && bytes_are_zero((const uint8_t *)raw + from, to - from))
		return 0;
	if (uberblock->txg == 0 || uberblock->sysmap_txg == 0 || uberblock->sysmap_txg > uberblock->txg ||
	    uberblock->sysmap_slot >= SYSMAP_SLOTS || uberblock->sysmap_length < SYSMAP_HEADER_SIZE ||
	    uberblock->sysmap_length > SYSMAP_SLOT_SIZE || !raw_block_pointer_names(&raw->commit, TYPE_COMMIT))
		return -POOL_EFORMAT;
	return final_batch_decode(&raw->final, AU_ROWS_MAX, &uberblock->final);
}

int uberblock_decode(const uint8_t *raw_bytes, const struct guid *pool, const struct guid *disk, unsigned slot,
		     struct uberblock *ret_uberblock)
{
	struct uberblock uberblock = { 0 };
	struct raw_uberblock raw;
	struct hash128 hash;

	memcpy(&raw, raw_bytes, sizeof(raw));
	if (!raw_header_valid(&raw.header, MAGIC_UBERBLOCK, sizeof(raw), UBERBLOCK_CLEAN_EXPORT))
		return -POOL_EFORMAT;
	uberblock_hash(&raw, pool, disk, slot, &hash);
	if (memcmp(&hash, &raw.hash, sizeof(hash)) != 0 || memcmp(raw.pool, pool->bytes, sizeof(raw.pool)) != 0)
		return -POOL_EFORMAT;

	uberblock.flags = le32_get(raw.header.flags);
	uberblock.pool = *pool;
	uberblock.txg = le64_get(raw.txg);
	uberblock.rewrite = le32_get(raw.rewrite);
	uberblock.disks_online = le16_get(raw.disks_online);
	uberblock.epoch = le64_get(raw.epoch);
	uberblock.time_ns = le64_get(raw.time_ns);
	memcpy(uberblock.host.bytes, raw.host, sizeof(raw.host));
	uberblock.disk_index = le16_get(raw.disk_index);
	uberblock.slot = le16_get(raw.slot);
	uberblock.heartbeat_sequence = le64_get(raw.heartbeat_sequence);
	uberblock.heartbeat_interval_ms = le32_get(raw.heartbeat_interval_ms);
	uberblock.incompat = le64_get(raw.incompat);
	uberblock.ro_compat = le64_get(raw.ro_compat);
	uberblock.compat = le64_get(raw.compat);
	if (uberblock.slot != slot || slot >= UBERBLOCK_COMMIT_SLOTS + UBERBLOCK_HEARTBEAT_SLOTS ||
	    (slot < UBERBLOCK_COMMIT_SLOTS && uberblock.txg % UBERBLOCK_COMMIT_SLOTS != slot) ||
	    uberblock.disk_index >= DISKS_MAX || uberblock.disks_online > DISKS_MAX ||
	    le16_get(raw.reserved_1) != 0 || le32_get(raw.reserved_2) != 0 ||
	    !bytes_are_zero(raw.reserved_3, sizeof(raw.reserved_3)))
		return -POOL_EFORMAT;
	int error = root_decode(&raw, &uberblock);
	if (!error)
		error = log_decode(&raw.log, &uberblock.log);
	if (!error)
		error = states_decode(&raw, &uberblock);
	if (!error)
		error = history_decode(&raw, &uberblock);
	if (!error)
		*ret_uberblock = uberblock;
	return error;
}
