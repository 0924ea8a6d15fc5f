/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random operations on three files, compared with memory after each, as tests/fuse/fsx.c does on a mount: here many more of them, with
 * records of all sizes, power cuts, commits and syncs in between. After a cut all files are what they were, together, after one of the operations, and
 * none before the last that was synced. What nobody has written to since it was punched is a hole.
 *
 * A million operations; FSX_OPERATIONS=n in the environment: so many.
 */
#include <linux/falloc.h>

#include "checksum/xxh3.h"
#include "tests/unit/fs/filesystems.h"

#define FILES 3u
#define FILE_BYTES (UINT64_C(384) << 10)
#define REGION (UINT64_C(128) << 10) /* as large as the largest record */
#define REGIONS (FILE_BYTES / REGION)
#define HISTORY 3000u
#define LAST 30u

struct file {
	struct fs_node *node;
	uint64_t size;
	uint8_t *data;           /* FILE_BYTES, zero behind the end */
	bool written[REGIONS];   /* something, since all of it was punched */
	struct hash128 hash;
};

struct fsx {
	struct world world;
	struct sim_random random;
	struct file files[FILES];
	uint8_t *buffer;
	uint8_t record_shift;
	bool crashes;
	bool writes; /* mostly, into what is there, and each is soon synced: by the intent log */
	uint64_t left, number; /* operations */
	struct hash128 history[HISTORY];
	unsigned count, synced;
	uint64_t replayed, cuts;
	char last[LAST][120];
};

static unsigned below(struct fsx *fsx, uint64_t limit)
{
	return (unsigned)sim_random_below(&fsx->random, limit);
}

static void wrong(const struct fsx *fsx, const char *what, uint64_t a, uint64_t b)
{
	fprintf(stderr, "operation %llu: %s (%llu, %llu); the last ones:\n", (unsigned long long)fsx->number, what, (unsigned long long)a, (unsigned long long)b);
	for (unsigned i = 0; i < LAST; i++)
		fprintf(stderr, "  %s\n", fsx->last[(fsx->number + 1 + i) % LAST]);
	abort();
}

static void tell(struct fsx *fsx, const char *what, const struct file *file, uint64_t offset, uint64_t length)
{
	snprintf(fsx->last[fsx->number % LAST], sizeof(fsx->last[0]), "%llu: %s file %u of %llu bytes, offset %llu length %llu", (unsigned long long)fsx->number,
		 what, (unsigned)(file - fsx->files), (unsigned long long)file->size, (unsigned long long)offset, (unsigned long long)length);
}

/* ---- what there is, as a number ---- */

static struct hash128 hash_of(const void *data, size_t length, uint64_t size)
{
	_Alignas(64) struct xxh3_stream stream;
	struct hash128 hash;

	xxh3_stream_init(&stream);
	xxh3_stream_update(&stream, &size, sizeof(size));
	xxh3_stream_update(&stream, data, length);
	xxh3_stream_final(&stream, &hash);
	return hash;
}

static struct hash128 state_of(const struct fsx *fsx)
{
	struct hash128 all[FILES];

	for (unsigned i = 0; i < FILES; i++)
		all[i] = fsx->files[i].hash;
	return hash_of(all, sizeof(all), 0);
}

static void sync_all(struct fsx *fsx)
{
	expect_done(fsx->world.machine, fs_sync(fsx->world.fs));
	fsx->history[0] = state_of(fsx);
	fsx->count = 1;
}

/* A change was made. */
static void changed(struct fsx *fsx, struct file *file, uint64_t offset, uint64_t length)
{
	for (uint64_t i = offset / REGION; length && i <= (offset + length - 1) / REGION; i++)
		file->written[i] = true;
	if (!fsx->crashes)
		return;
	file->hash = hash_of(file->data, file->size, file->size);
	if (fsx->count == HISTORY)
		sync_all(fsx);
	else
		fsx->history[fsx->count++] = state_of(fsx);
}

/* ---- operations ---- */

static void compare(struct fsx *fsx, const struct file *file, uint64_t offset, uint64_t length)
{
	uint64_t wanted = offset >= file->size ? 0 : length < file->size - offset ? length : file->size - offset;
	size_t got = get_bytes(&fsx->world, file->node, offset, fsx->buffer, length);

	if (got != wanted)
		wrong(fsx, "the length of a read", got, wanted);
	if (memcmp(fsx->buffer, file->data + offset, wanted) == 0)
		return;
	for (uint64_t i = 0; i < wanted; i++)
		if (fsx->buffer[i] != file->data[offset + i])
			wrong(fsx, "a byte differs", offset + i, fsx->buffer[i]);
}

static void grow(struct file *file, uint64_t end)
{
	file->size = end > file->size ? end : file->size;
}

/* Noise, what can be compressed, or zeros. */
static void fill(struct fsx *fsx, uint64_t length)
{
	unsigned kind = below(fsx, 10);

	if (kind == 0)
		memset(fsx->buffer, 0, length);
	else if (kind < 4)
		memset(fsx->buffer, (int)(1 + fsx->number % 255), length);
	else
		sim_random_fill(&fsx->random, fsx->buffer, length);
}

static void do_write(struct fsx *fsx, struct file *file, uint64_t offset, uint64_t length, bool append)
{
	size_t written;

	fill(fsx, length);
	expect_done(fsx->world.machine, fs_write(file->node, append ? 0 : offset, length, fsx->buffer, append ? FS_WRITE_APPEND : 0, &written));
	if (written != length)
		wrong(fsx, "the length of a write", written, length);
	memcpy(file->data + offset, fsx->buffer, length);
	grow(file, offset + length);
	changed(fsx, file, offset, length);
}

static void forget(struct file *file, uint64_t offset, uint64_t end)
{
	for (uint64_t i = (offset + REGION - 1) / REGION; i < REGIONS && (i + 1) * REGION <= end; i++)
		file->written[i] = false;
}

static void do_truncate(struct fsx *fsx, struct file *file, uint64_t size)
{
	struct fs_set set = { .what = FS_SET_SIZE, .size = size };

	expect_done(fsx->world.machine, fs_set(file->node, &set));
	if (size < file->size) {
		memset(file->data + size, 0, file->size - size);
		forget(file, size, FILE_BYTES);
	}
	file->size = size;
	changed(fsx, file, 0, 0);
}

static void do_allocate(struct fsx *fsx, struct file *file, int mode, uint64_t offset, uint64_t length)
{
	expect_done(fsx->world.machine, fs_allocate(file->node, mode, offset, length, 0));
	if (!(mode & FALLOC_FL_KEEP_SIZE))
		grow(file, offset + length);
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) {
		memset(file->data + offset, 0, length);
		forget(file, offset, offset + length);
	}
	changed(fsx, file, 0, 0);
}

/* As much as fs_copy_range does as one change: a hole of the source, or what lies in one of its records. */
static uint64_t copy_unit(struct fsx *fsx, const struct file *from, uint64_t offset, uint64_t length)
{
	uint64_t data, block = attributes(from->node).block_size;
	int status = fs_seek(from->node, offset, true, &data);

	if (status < 0 && status != -ENXIO)
		wrong(fsx, "seek", offset, (uint64_t)-status);
	if (status < 0 || data >= offset + length)
		return length;
	if (data > offset)
		return data - offset;
	return length < block - offset % block ? length : block - offset % block;
}

static void do_copy(struct fsx *fsx, struct file *from, uint64_t at, struct file *to, uint64_t into, uint64_t length)
{
	if (at >= from->size)
		return;
	if (length > from->size - at)
		length = from->size - at;
	if (from == to && at < into + length && into < at + length)
		return;
	bool whole = below(fsx, 2) && !fsx->crashes;
	while (length) {
		uint64_t done, unit = whole ? length : copy_unit(fsx, from, at, length);

		expect_done(fsx->world.machine, fs_copy_range(from->node, at, to->node, into, unit, 0, &done));
		if (done != unit)
			wrong(fsx, "the length of a copy", done, unit);
		memcpy(to->data + into, from->data + at, unit);
		grow(to, into + unit);
		changed(fsx, to, into, unit);
		at += unit;
		into += unit;
		length -= unit;
	}
}

static void do_seek(struct fsx *fsx, const struct file *file, uint64_t offset)
{
	uint64_t data = file->size, hole = file->size;
	int found_data = fs_seek(file->node, offset, true, &data), found_hole = fs_seek(file->node, offset, false, &hole);

	if (offset >= file->size) {
		if (found_data != -ENXIO || found_hole != -ENXIO)
			wrong(fsx, "a seek behind the end", (uint64_t)-found_data, (uint64_t)-found_hole);
		return;
	}
	if (found_hole < 0 || hole < offset || hole > file->size || data < offset || (found_data < 0 && found_data != -ENXIO) ||
	    (data > offset && hole != offset))
		wrong(fsx, "a seek", data, hole);
	for (uint64_t i = offset; i < data; i++)
		if (file->data[i])
			wrong(fsx, "data in what is called a hole", i, data);
	for (uint64_t i = hole; i < file->size && i < hole + 4096 - hole % 4096; i++)
		if (file->data[i])
			wrong(fsx, "data where a hole was found", i, hole);
	/* Holes are told as holes, as far as it is certain that there are some. */
	uint64_t region = offset / REGION;
	while (region < REGIONS && !file->written[region])
		region++;
	uint64_t end = region * REGION < file->size ? region * REGION : file->size;
	if (data < end)
		wrong(fsx, "a hole is called data", data, end);
}

static void reopen(struct fsx *fsx, struct file *file)
{
	uint64_t number = fs_number(file->node);

	fs_put(file->node);
	if (below(fsx, 2))
		blocks_drop_cache(core_blocks(fsx->world.machine->core));
	expect_done(fsx->world.machine, fs_get(fsx->world.fs, number, 0, &file->node));
	expect_equal(attributes(file->node).size, file->size);
}

static void one_step(struct fsx *fsx)
{
	struct file *file = &fsx->files[below(fsx, FILES)], *other = &fsx->files[below(fsx, FILES)];
	uint64_t offset = below(fsx, 2) ? below(fsx, file->size + 1) : below(fsx, FILE_BYTES), from = below(fsx, FILE_BYTES);
	uint64_t length = 1 + below(fsx, below(fsx, 8) ? 9000 : 100000);
	unsigned what = below(fsx, 100);

	if (fsx->writes && below(fsx, 12))
		what = below(fsx, 3) ? 20 : 90;

	/* Often in line with records. */
	if (below(fsx, 3) == 0) {
		unsigned shift = 12 + below(fsx, 6);

		offset = offset >> shift << shift;
		length = (length + 4095) >> 12 << 12;
		from = from >> shift << shift;
	}
	if (what >= 30 && what < 36)
		offset = file->size;
	/* Files of a few bytes lie in their inodes. */
	if (below(fsx, 12) == 0)
		length = 1 + below(fsx, 150);
	if (offset >= FILE_BYTES)
		offset = FILE_BYTES - 1;
	if (length > FILE_BYTES - offset)
		length = FILE_BYTES - offset;
	fsx->number++;
	tell(fsx, what < 8 ? "read" : what < 30 ? "write" : what < 36 ? "append" : what < 44 ? "truncate" : what < 47 ? "allocate" : what < 50 ? "keep" :
		  what < 57 ? "punch" : what < 64 ? "zero" : what < 76 ? "copy" : what < 90 ? "seek" : what < 94 ? "sync" : what < 97 ? "reopen" : "commit",
	     file, offset, length);
	switch (what) {
	case 0 ... 7: compare(fsx, file, offset, length); break;
	case 8 ... 29: do_write(fsx, file, offset, length, false); break;
	case 30 ... 35: do_write(fsx, file, offset, length, file->size == offset); break;
	case 36 ... 43: do_truncate(fsx, file, below(fsx, 4) ? offset : below(fsx, 300)); break;
	case 44 ... 46: do_allocate(fsx, file, 0, offset, length); break;
	case 47 ... 49: do_allocate(fsx, file, FALLOC_FL_KEEP_SIZE, offset, length); break;
	case 50 ... 56: do_allocate(fsx, file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length); break;
	case 57 ... 60: do_allocate(fsx, file, FALLOC_FL_ZERO_RANGE, offset, length); break;
	case 61 ... 63:
		if (offset + length <= file->size)
			do_allocate(fsx, file, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, offset, length);
		break;
	case 64 ... 75: do_copy(fsx, other, from, file, offset, length); break;
	case 76 ... 89: do_seek(fsx, file, offset); break;
	case 90 ... 93: sync_all(fsx); break;
	case 94 ... 96: reopen(fsx, file); break;
	default: rt_sleep(fsx->world.machine->rt, (1 + below(fsx, 3)) * NS_PER_S); break;
	}
}

/* ---- boots ---- */

static void whole(struct fsx *fsx, struct file *file)
{
	expect_equal(attributes(file->node).size, file->size);
	for (uint64_t at = 0; at <= file->size; at += 100000)
		compare(fsx, file, at, 100000);
}

/* What is there becomes what is expected, if it was so at some time since the last sync. */
static void learn(struct fsx *fsx)
{
	bool known = fsx->count == 0;

	for (unsigned i = 0; i < FILES; i++) {
		struct file *file = &fsx->files[i];

		file->size = attributes(file->node).size;
		expect(file->size <= FILE_BYTES);
		memset(file->data, 0, FILE_BYTES);
		expect_equal(get_bytes(&fsx->world, file->node, 0, file->data, FILE_BYTES), file->size);
		memset(file->written, true, sizeof(file->written));
		file->hash = hash_of(file->data, file->size, file->size);
	}
	struct hash128 now = state_of(fsx);
	for (unsigned i = 0; i < fsx->count && !known; i++)
		known = memcmp(&fsx->history[i], &now, sizeof(now)) == 0;
	if (!known)
		wrong(fsx, "the files were never like this since the last sync", fsx->count, fsx->cuts);
}

static void program(struct machine *machine)
{
	struct fsx *fsx = machine->test;
	struct world *world = &fsx->world;

	world_open(world, machine, fsx->record_shift);
	fsx->replayed += core_log_counters(machine->core)->replayed;
	for (unsigned i = 0; i < FILES; i++) {
		char name[2] = { (char)('a' + i), 0 };

		fsx->files[i].node = look(world->root, name);
		if (!fsx->files[i].node)
			fsx->files[i].node = make(world, world->root, name, S_IFREG | 0644);
		if (!fsx->crashes)
			whole(fsx, &fsx->files[i]);
	}
	if (fsx->crashes)
		learn(fsx);
	sync_all(fsx);
	fsx->writes = fsx->crashes && below(fsx, 3) == 0;
	for (unsigned i = 0; i < 10000 && fsx->left; i++, fsx->left--)
		one_step(fsx);
	for (unsigned i = 0; i < FILES; i++)
		whole(fsx, &fsx->files[i]);
	world_check(world);
	sync_all(fsx);
	for (unsigned i = 0; i < FILES; i++)
		fs_put(fsx->files[i].node);
	world_close(world);
}

static uint64_t operations(void)
{
	const char *text = getenv("FSX_OPERATIONS");

	return text ? strtoull(text, NULL, 10) : 1000000;
}

static struct fsx *run(uint64_t seed, bool crashes)
{
	static const uint8_t shifts[] = { 0, 12, 14, 17 };
	struct fsx *fsx = calloc(1, sizeof(*fsx));
	struct machine *machine = machine_new(4, 96 * MIB, 2, 1, seed);
	struct sim_random random;

	machine->test = fsx;
	machine->options.check_every_txg = false;
	fsx->world.machine = machine;
	fsx->crashes = crashes;
	fsx->record_shift = shifts[seed % 4];
	fsx->left = operations() / 8;
	fsx->buffer = malloc(FILE_BYTES + 1);
	for (unsigned i = 0; i < FILES; i++)
		fsx->files[i].data = calloc(1, FILE_BYTES);
	sim_random_stream(&fsx->random, seed, "fsx", crashes);
	sim_random_stream(&random, seed, "cuts", 0);
	machine_boot(machine, machine_create_program);
	while (fsx->left) {
		if (crashes)
			sim_disks_cut_at(machine->set, machine->set->operations + 20 + sim_random_below(&random, 1500));
		fsx->cuts += !machine_boot_mode(machine, program, SIM_CRASH_ANY);
	}
	machine_boot(machine, program);
	for (unsigned i = 0; i < FILES; i++)
		free(fsx->files[i].data);
	free(fsx->buffer);
	machine_free(machine);
	return fsx;
}

static void without_cuts(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 4; seed++)
		free(run(seed, false));
}

static void with_cuts(void **state)
{
	uint64_t cuts = 0, replayed = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 4; seed++) {
		struct fsx *fsx = run(seed, true);

		cuts += fsx->cuts;
		replayed += fsx->replayed;
		free(fsx);
	}
	fprintf(stderr, "%llu power cuts, %llu records made again\n", (unsigned long long)cuts, (unsigned long long)replayed);
	expect(operations() < 1000000 || (cuts >= 300 && replayed >= 1000));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(without_cuts), cmocka_unit_test(with_cuts) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
