/* Uberblocks. */
#include "libpool/format/uberblock.h"
#include "libpool/base/endian.h"
#include "tests/unit/format/support.h"

#define HASH_OFFSET 4080u

/* Encode zeroed memory only: structures are compared as bytes of their encodings. */
static void random_uberblock(struct random *random, struct uberblock *uberblock)
{
	memset(uberblock, 0, sizeof(*uberblock));
	uberblock->flags = (uint32_t)random_below(random, 2);
	random_bytes(random, uberblock->pool.bytes, 16);
	random_bytes(random, uberblock->host.bytes, 16);
	uberblock->txg = random_magnitude(random) | 0x10000;
	uberblock->rewrite = (uint32_t)random_magnitude(random);
	uberblock->disks_online = (uint16_t)random_below(random, DISKS_MAX + 1);
	uberblock->epoch = random_next(random);
	uberblock->time_ns = random_next(random);
	uberblock->disk_index = (uint16_t)random_below(random, DISKS_MAX);
	uberblock->slot = (uint16_t)(uberblock->txg % UBERBLOCK_COMMIT_SLOTS);
	uberblock->heartbeat_sequence = random_magnitude(random);
	uberblock->heartbeat_interval_ms = (uint32_t)random_magnitude(random);
	uberblock->incompat = random_magnitude(random);
	uberblock->ro_compat = random_magnitude(random);
	uberblock->compat = random_magnitude(random);
	uberblock->sysmap_txg = random_below(random, uberblock->txg) + 1;
	uberblock->sysmap_slot = (uint32_t)random_below(random, SYSMAP_SLOTS);
	uberblock->sysmap_length = 64 + 32 * (uint32_t)random_below(random, SYSMAP_SEGMENTS_MAX + 1);
	random_bytes(random, &uberblock->sysmap_checksum, 16);
	uberblock->commit = random_raw(random, TYPE_COMMIT, 0);
	uberblock->final.summary = random_raw(random, TYPE_SUMMARY, 0);
	uberblock->final.segment = (uint32_t)random_below(random, SEGMENTS_MAX);
	uberblock->final.rows = (uint16_t)random_between(random, 1, FINAL_BATCH_ROWS_MAX);
	uberblock->final.base = (uint16_t)random_between(random, 1, ROWS_MAX - uberblock->final.rows);
	uberblock->log.generation = random_magnitude(random);
	uberblock->log.first_seq = random_magnitude(random);
	uberblock->log.base_txg = random_magnitude(random);
	uberblock->log.segment_count = (uint16_t)random_below(random, UBERBLOCK_LOG_SEGMENTS_MAX + 1);
	if (uberblock->log.segment_count) {
		uberblock->log.head = (uint16_t)random_below(random, uberblock->log.segment_count);
		uberblock->log.row = (uint16_t)random_between(random, 1, ROWS_MAX);
	}
	for (unsigned i = 0; i < uberblock->log.segment_count; i++)
		uberblock->log.segments[i] = (uint32_t)random_below(random, 1000) * 16 + i;
	static const uint8_t states[] = { DISK_RESYNC, DISK_FAULTY, DISK_MISSING, DISK_SLOW, DISK_SPARE, DISK_OFFLINE };
	uberblock->state_count = (uint16_t)random_below(random, UBERBLOCK_STATES_MAX + 1);
	for (unsigned i = 0; i < uberblock->state_count; i++)
		uberblock->states[i] = (struct uberblock_state){ (uint16_t)(i * 4 + random_below(random, 4)),
								 states[random_below(random, 6)], random_next(random) };
	uberblock->history_count = (uint16_t)random_below(random, UBERBLOCK_HISTORY_MAX + 1);
	for (unsigned i = 0; i < uberblock->history_count; i++)
		uberblock->history[i] = (struct uberblock_epoch){ random_next(random), uberblock->txg - i * 7 };
}

static void assert_uberblock_equal(const struct uberblock *a, const struct uberblock *b)
{
	assert_int_equal(a->flags, b->flags);
	assert_memory_equal(&a->pool, &b->pool, 16);
	assert_int_equal(a->txg, b->txg);
	assert_int_equal(a->rewrite, b->rewrite);
	assert_int_equal(a->disks_online, b->disks_online);
	assert_int_equal(a->epoch, b->epoch);
	assert_int_equal(a->time_ns, b->time_ns);
	assert_memory_equal(&a->host, &b->host, 16);
	assert_int_equal(a->disk_index, b->disk_index);
	assert_int_equal(a->slot, b->slot);
	assert_int_equal(a->heartbeat_sequence, b->heartbeat_sequence);
	assert_int_equal(a->heartbeat_interval_ms, b->heartbeat_interval_ms);
	assert_int_equal(a->incompat, b->incompat);
	assert_int_equal(a->ro_compat, b->ro_compat);
	assert_int_equal(a->compat, b->compat);
	assert_int_equal(a->sysmap_txg, b->sysmap_txg);
	assert_int_equal(a->sysmap_slot, b->sysmap_slot);
	assert_int_equal(a->sysmap_length, b->sysmap_length);
	assert_memory_equal(&a->sysmap_checksum, &b->sysmap_checksum, 16);
	assert_memory_equal(&a->commit, &b->commit, 64);
	assert_memory_equal(&a->final.summary, &b->final.summary, 64);
	assert_int_equal(a->final.segment, b->final.segment);
	assert_int_equal(a->final.base, b->final.base);
	assert_int_equal(a->final.rows, b->final.rows);
	assert_int_equal(a->log.generation, b->log.generation);
	assert_int_equal(a->log.first_seq, b->log.first_seq);
	assert_int_equal(a->log.base_txg, b->log.base_txg);
	assert_int_equal(a->log.segment_count, b->log.segment_count);
	assert_int_equal(a->log.head, b->log.head);
	assert_int_equal(a->log.row, b->log.row);
	assert_memory_equal(a->log.segments, b->log.segments, sizeof(a->log.segments));
	assert_int_equal(a->state_count, b->state_count);
	for (unsigned i = 0; i < a->state_count; i++) {
		assert_int_equal(a->states[i].disk, b->states[i].disk);
		assert_int_equal(a->states[i].state, b->states[i].state);
		assert_int_equal(a->states[i].stale_from, b->states[i].stale_from);
	}
	assert_int_equal(a->history_count, b->history_count);
	assert_memory_equal(a->history, b->history, sizeof(a->history));
}

/* The hash as FORMAT.md describes it. */
static void fix_hash(uint8_t *raw, const struct guid *pool, const struct guid *disk, unsigned slot)
{
	uint8_t bytes[34 + HASH_OFFSET];
	memcpy(bytes, pool, 16);
	memcpy(bytes + 16, disk, 16);
	bytes[32] = (uint8_t)slot;
	bytes[33] = (uint8_t)(slot >> 8);
	memcpy(bytes + 34, raw, HASH_OFFSET);
	struct hash128 hash;
	xxh3_128(bytes, sizeof(bytes), &hash);
	memcpy(raw + HASH_OFFSET, &hash, 16);
}

static void round_trip(void **state)
{
	(void)state;
	static struct uberblock uberblock, back;
	struct random random = { 1 };
	for (int i = 0; i < ROUND_TRIPS; i++) {
		uint8_t raw[UBERBLOCK_SIZE], fixed[UBERBLOCK_SIZE];
		struct guid disk, other;
		random_bytes(&random, &disk, 16);
		random_bytes(&random, &other, 16);
		random_uberblock(&random, &uberblock);
		uberblock_encode(&uberblock, &disk, raw);
		unsigned slot = uberblock.slot;
		assert_int_equal(uberblock_decode(raw, &uberblock.pool, &disk, slot, &back), 0);
		assert_uberblock_equal(&uberblock, &back);
		memcpy(fixed, raw, sizeof(raw));
		fix_hash(fixed, &uberblock.pool, &disk, slot);
		assert_memory_equal(raw, fixed, sizeof(raw));
		assert_int_equal(uberblock_decode(raw, &other, &disk, slot, &back), -POOL_EFORMAT);
		assert_int_equal(uberblock_decode(raw, &uberblock.pool, &other, slot, &back), -POOL_EFORMAT);
		assert_int_equal(uberblock_decode(raw, &uberblock.pool, &disk, slot + 1, &back), -POOL_EFORMAT);
	}
}

static void every_changed_byte_is_seen(void **state)
{
	(void)state;
	static struct uberblock uberblock, back;
	struct random random = { 2 };
	struct guid disk = { { 7 } };
	uint8_t raw[UBERBLOCK_SIZE];
	random_uberblock(&random, &uberblock);
	uberblock_encode(&uberblock, &disk, raw);
	for (unsigned at = 0; at < sizeof(raw); at++)
		for (unsigned bit = 0; bit < 8; bit++) {
			raw[at] ^= (uint8_t)(1u << bit);
			assert_int_equal(uberblock_decode(raw, &uberblock.pool, &disk, uberblock.slot, &back), -POOL_EFORMAT);
			raw[at] ^= (uint8_t)(1u << bit);
		}
	assert_int_equal(uberblock_decode(raw, &uberblock.pool, &disk, uberblock.slot, &back), 0);
}

static void what_no_writer_makes_is_refused(void **state)
{
	(void)state;
	static struct uberblock good, bad, back;
	struct random random = { 3 };
	struct guid disk = { { 7 } };
	uint8_t raw[UBERBLOCK_SIZE];
	do
		random_uberblock(&random, &good);
	while (good.state_count < 2 || good.history_count < 2 || good.log.segment_count < 2);
#define REFUSED(change)                                                                                      \
	do {                                                                                                 \
		bad = good;                                                                                  \
		bad.change;                                                                                  \
		uberblock_encode(&bad, &disk, raw);                                                          \
		assert_int_equal(uberblock_decode(raw, &bad.pool, &disk, bad.slot, &back), -POOL_EFORMAT);   \
	} while (0)
	REFUSED(flags = 2);
	REFUSED(slot = (uint16_t)((bad.slot + 1) % 120));
	REFUSED(slot = 128);
	REFUSED(disk_index = DISKS_MAX);
	REFUSED(disks_online = DISKS_MAX + 1);
	REFUSED(sysmap_slot = SYSMAP_SLOTS);
	REFUSED(sysmap_length = 63);
	REFUSED(sysmap_length = SYSMAP_SLOT_SIZE + 1);
	REFUSED(sysmap_txg = 0);
	REFUSED(sysmap_txg = bad.txg + 1);
	REFUSED(commit = (struct raw_block_pointer){ { 0 } });
	REFUSED(commit = random_raw(&random, TYPE_DATA, 0));
	REFUSED(final.rows = 0);
	REFUSED(final.rows = FINAL_BATCH_ROWS_MAX + 1);
	REFUSED(final.base = 0);
	REFUSED(log.segments[1] = bad.log.segments[0]);
	REFUSED(log.segments[1] = SEGMENTS_MAX);
	REFUSED(log.head = bad.log.segment_count);
	REFUSED(log.row = 0);
	REFUSED(log.row = ROWS_MAX + 1);
	REFUSED(log.segment_count = UBERBLOCK_LOG_SEGMENTS_MAX + 1);
	REFUSED(states[1].disk = bad.states[0].disk);
	REFUSED(states[1].disk = DISKS_MAX);
	REFUSED(states[1].state = DISK_ONLINE);
	REFUSED(states[1].state = DISK_REMOVED);
	REFUSED(states[1].state = DISK_OFFLINE + 1);
	REFUSED(state_count = UBERBLOCK_STATES_MAX + 1);
	REFUSED(history[1].first_txg = bad.history[0].first_txg);
	REFUSED(history[0].first_txg = bad.txg + 1);
	REFUSED(history_count = UBERBLOCK_HISTORY_MAX + 1);
#undef REFUSED
}

static void heartbeats_need_no_commit(void **state)
{
	(void)state;
	static struct uberblock uberblock, back;
	struct guid disk = { { 7 } };
	uint8_t raw[UBERBLOCK_SIZE];
	memset(&uberblock, 0, sizeof(uberblock));
	uberblock.slot = 120;
	uberblock.heartbeat_sequence = 5;
	uberblock_encode(&uberblock, &disk, raw);
	assert_int_equal(uberblock_decode(raw, &uberblock.pool, &disk, 120, &back), 0);
	assert_uberblock_equal(&uberblock, &back);
	uberblock.sysmap_slot = 1;
	uberblock_encode(&uberblock, &disk, raw);
	assert_int_equal(uberblock_decode(raw, &uberblock.pool, &disk, 120, &back), -POOL_EFORMAT);
}

static void fuzz(void **state)
{
	(void)state;
	static struct uberblock uberblock, back;
	struct random random = { 4 };
	struct guid disk = { { 7 } };
	uint8_t raw[UBERBLOCK_SIZE], again[UBERBLOCK_SIZE];
	int accepted = 0;
	for (int i = 0; i < FUZZ_ITERATIONS; i++) {
		if (i % 64 == 0) {
			random_uberblock(&random, &uberblock);
			uberblock_encode(&uberblock, &disk, raw);
		}
		uint8_t *input = fuzz_input(&random, raw, sizeof(raw));
		if (i % 8)
			fix_hash(input, &uberblock.pool, &disk, uberblock.slot);
		int error = uberblock_decode(input, &uberblock.pool, &disk, uberblock.slot, &back);
		assert_true(error == 0 || error == -POOL_EFORMAT);
		if (error == 0) {
			uberblock_encode(&back, &disk, again);
			assert_memory_equal(again, input, sizeof(again));
			accepted++;
		}
		free(input);
	}
	assert_true(accepted > FUZZ_ITERATIONS / 20);
}

static void golden(void **state)
{
	(void)state;
	static struct uberblock uberblock;
	struct block_pointer pointer = { .dva = dva_pack((struct dva){ 7, 1, 1, 0 }), .place = 5, .birth = 5, .lsect = 1,
					 .psect = 1, .type = TYPE_COMMIT };
	struct guid disk;
	memset(&disk, 0x88, 16);
	uberblock = (struct uberblock){ .flags = UBERBLOCK_CLEAN_EXPORT, .txg = 0x01020304050607, .rewrite = 0x11121314,
					.disks_online = 0x121, .epoch = 0x3132333435363738, .time_ns = 0x4142434445464748,
					.disk_index = 0x51, .slot = 0x01020304050607 % 120, .heartbeat_sequence = 0x61,
					.heartbeat_interval_ms = 0x71, .incompat = 0x81, .ro_compat = 0x82, .compat = 0x83,
					.sysmap_txg = 0x91, .sysmap_slot = 2, .sysmap_length = 96,
					.final = { .segment = 0xA1, .base = 0xA2, .rows = 3 },
					.log = { .generation = 0xB1, .first_seq = 0xB2, .base_txg = 0xB3, .segment_count = 2,
						 .head = 1, .row = 0xB6, .segments = { 0xB4, 0xB5 } },
					.state_count = 1, .history_count = 1,
					.states = { { 0xC1, DISK_FAULTY, 0xC2 } }, .history = { { 0xD1, 0xD2 } } };
	memset(&uberblock.pool, 0x99, 16);
	memset(&uberblock.host, 0x77, 16);
	memset(&uberblock.sysmap_checksum, 0x66, 16);
	block_pointer_encode(&pointer, &uberblock.commit);
	pointer.type = TYPE_SUMMARY;
	block_pointer_encode(&pointer, &uberblock.final.summary);
	uint8_t raw[UBERBLOCK_SIZE];
	uberblock_encode(&uberblock, &disk, raw);
	assert_golden(raw, sizeof(raw),
		      "0000: 706f6f6c554245520100001001000000\n"
		      "0010: 99999999999999999999999999999999\n"
		      "0020: 07060504030201001413121121010000\n"
		      "0030: 38373635343332314847464544434241\n"
		      "0040: 77777777777777777777777777777777\n"
		      "0050: 51006700010001006100000000000000\n"
		      "0060: 71000000000000008100000000000000\n"
		      "0070: 82000000000000008300000000000000\n"
		      "0080: 91000000000000000200000060000000\n"
		      "0090: 66666666666666666666666666666666\n"
		      "00a0: 00001000070000000500000000000000\n"
		      "00b0: 0000000c000000000500000000000000\n"
		      "00e0: 00001000070000000500000000000000\n"
		      "00f0: 00000004000000000500000000000000\n"
		      "0120: a1000000a2000300b100000000000000\n"
		      "0130: b200000000000000b300000000000000\n"
		      "0140: 02000100b6000000b4000000b5000000\n"
		      "0180: 0000000000000000c100020000000000\n"
		      "0190: c2000000000000000000000000000000\n"
		      "0980: 0000000000000000d100000000000000\n"
		      "0990: d2000000000000000000000000000000\n"
		      "0ff0: 5c58b502dad9c059f179d83538579a73\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip), cmocka_unit_test(every_changed_byte_is_seen),
		cmocka_unit_test(what_no_writer_makes_is_refused), cmocka_unit_test(heartbeats_need_no_commit),
		cmocka_unit_test(fuzz), cmocka_unit_test(golden),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
