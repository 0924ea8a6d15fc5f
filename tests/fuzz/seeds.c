/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Makes the inputs that fuzzing begins with: images of small pools with some history, and each kind of structure as it is found
 * in them. `fuzz_seeds FOLDER` writes FOLDER/TARGET/NAME.
 */
#include <errno.h>
#include <sys/stat.h>

#include "libpool/object/object_internal.h"
#include "libpool/pool/engine.h"
#include "libpool/pool/records.h"
#include "libpool/format/tree_node.h"
#include "libpool/format/dataset_record.h"
#include "libpool/format/dnode.h"
#include "libpool/format/inode.h"
#include "scrub/job.h"
#include "tests/fuzz/image.h"
#include "tests/sim/simdisk.h"

#define MIB (UINT64_C(1) << 20)
#define INPUT_MAX (1u << 20)
#define DISK_BYTES (64 * MIB)

struct shape {
	const char *name, *profile;
	unsigned disks;
	unsigned commits; /* beyond those that the writes make */
	bool lame;        /* a disk goes offline in the middle */
	bool failing;     /* the last writes to a disk fail */
	bool orphan;      /* there is an orphan, which something else points to as well */
	bool history;     /* enough of it for a tree of two levels */
	bool files;       /* file systems, one in the other */
	struct image_use use;
};

static const struct shape shapes[] = {
	{ .name = "single", .profile = "single", .disks = 1, .commits = 2, .use = { 0, 0x3F, 7, 1 } },
	{ .name = "mirror", .profile = "raid1", .disks = 2, .commits = 30, .history = true, .use = { 0, 0x2B, 15, 2 } },
	{ .name = "parity", .profile = "raid5", .disks = 3, .commits = 6, .use = { 0, 0x2F, 5, 3 } },
	{ .name = "lame", .profile = "raid5", .disks = 3, .commits = 3, .lame = true, .use = { 2, 0x0B, 0x15, 4 } },
	{ .name = "failing", .profile = "raid5", .disks = 3, .commits = 1, .failing = true, .use = { 2, 0x2B, 0x25, 1 } },
	{ .name = "orphan", .profile = "raid1", .disks = 2, .commits = 1, .orphan = true, .use = { 2, 0x3B, 7, 2 } },
	{ .name = "files", .profile = "raid1", .disks = 2, .commits = 1, .files = true, .use = { 0, 0x21, 5, 3 } },
	{ .name = "double", .profile = "raid6", .disks = 4, .commits = 1, .use = { 0, 0x1B, 9, 5 } },
};

struct making {
	const struct shape *shape;
	struct sim_env *sim;
	struct sim_disks *set;
	struct rt *rt;
	struct engine_host host;
};

static const char *folder;
static unsigned written;

/* ---- Files ---- */

static void put_file(const char *target, const char *name, const void *head, size_t head_size, const void *data, size_t size)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", folder, target);
	fuzz_expect(mkdir(path, 0777) == 0 || errno == EEXIST);
	snprintf(path, sizeof(path), "%s/%s/%s", folder, target, name);
	FILE *file = fopen(path, "wb");
	fuzz_expect(file);
	fuzz_expect(head_size == 0 || fwrite(head, 1, head_size, file) == head_size);
	fuzz_expect(size == 0 || fwrite(data, 1, size, file) == size);
	fuzz_expect(fclose(file) == 0);
	written++;
}

/* Without the zeros at the end, which the targets put back. */
static void put_trimmed(const char *target, const char *name, const void *head, size_t head_size, const uint8_t *data, size_t size)
{
	while (size > 0 && data[size - 1] == 0)
		size--;
	put_file(target, name, head, head_size, data, size);
}

/* ---- Pools ---- */

#define EXPECT_DONE(call)                                                                                              \
	do {                                                                                                           \
		int expect_status = (call);                                                                            \
		if (expect_status < 0) {                                                                               \
			fprintf(stderr, "%s:%d: %s: %d %s\n", __FILE__, __LINE__, #call, expect_status, error.text);   \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

static void write_some(struct making *making, struct datasets *datasets, const char *name, unsigned count)
{
	struct pool_error error = { 0 };
	struct volume *volume;
	uint8_t data[16384];

	(void)making;
	EXPECT_DONE(volume_open(datasets, name, &volume, &error));
	uint32_t block = 1u << volume_record(volume)->block_shift;
	uint64_t blocks = volume_record(volume)->volume_size / block;
	for (unsigned i = 0; i < count; i++) {
		memset(data, (int)('a' + i % 26), sizeof(data));
		if (i % 3 == 0)
			memset(data + 30, 0, sizeof(data) - 30); /* embedded */
		EXPECT_DONE(volume_write(volume, (uint64_t)i * i * 37 % blocks * block, block < sizeof(data) ? block : sizeof(data), data));
		if (i % 7 == 6)
			EXPECT_DONE(volume_flush(volume));
	}
	EXPECT_DONE(volume_trim(volume, 0, 2 * (uint64_t)block));
	volume_close(volume);
}

static void make_files(struct engine *engine)
{
	static const char *const names[] = { "home", "home/anna" };
	struct fs_create_options options = { .settings = { 0 } };
	struct pool_error error = { 0 };

	for (unsigned i = 0; i < 2; i++) {
		struct fs *fs;
		options.case_mode = i ? FS_CASE_INSENSITIVE : FS_CASE_SENSITIVE;
		options.normalization = i ? FS_NORMALIZATION_D : FS_NORMALIZATION_NONE;
		EXPECT_DONE(fs_create(engine_datasets(engine), names[i], &options, &error));
		EXPECT_DONE(fs_open(engine_datasets(engine), names[i], &fs, &error));
		image_make_files(fs);
		EXPECT_DONE(fs_sync(fs));
		fs_close(fs);
	}
}

/*
 * What a destroyed object leaves when it is too large for one txg, but for the size: the root of a tree that is still there. It is
 * put among the known damage, which then change places with the orphans: from a tree of orphans a sync takes them at once.
 */
static void put_orphan(struct core *core)
{
	struct pool_error error = { 0 };
	struct dnode dnode;
	uint8_t key[12] = { [7] = 3, [11] = 1 }, value[80] = { [64] = MOS_HISTORY };
	uint64_t txg;

	object_info(core_mos_object(core, MOS_HISTORY), &dnode);
	memcpy(value, &dnode.root, sizeof(dnode.root));
	EXPECT_DONE(core_hold(core, 16, &txg));
	EXPECT_DONE(tree_put(core_mos_object(core, MOS_DAMAGE), txg, key, sizeof(key), value, sizeof(value)));
	core_release(core, txg);
}

static void swap_orphans(struct image *image)
{
	static struct uberblock newest;
	struct image_block commit, objset, dnodes;
	uint8_t kept[DNODE_SIZE];

	image_survey(image);
	fuzz_expect(image_newest(image, &newest));
	fuzz_expect(image_block_read(image, newest.commit.bytes, &commit));
	uint8_t *objset_pointer = commit.content + 128;
	fuzz_expect(image_block_read(image, objset_pointer, &objset));
	uint8_t *dnodes_pointer = objset.content + 64 + 32;
	fuzz_expect(image_block_read(image, dnodes_pointer, &dnodes) && dnodes.pointer.level == 0);
	uint8_t *damage = dnodes.content + MOS_DAMAGE * DNODE_SIZE, *orphans = dnodes.content + OBJECT_NUMBER_ORPHANS * DNODE_SIZE;
	memcpy(kept, damage, DNODE_SIZE);
	memcpy(damage, orphans, DNODE_SIZE);
	memcpy(orphans, kept, DNODE_SIZE);
	fuzz_expect(image_block_write(image, &dnodes, dnodes_pointer) && image_block_write(image, &objset, objset_pointer) &&
		    image_block_write(image, &commit, newest.commit.bytes));
	image_put_in_newest(image, &newest, 160, newest.commit.bytes, BLOCK_POINTER_SIZE);
	free(dnodes.content);
	free(objset.content);
	free(commit.content);
}

static void make_pool(void *argument)
{
	struct making *making = argument;
	const struct shape *shape = making->shape;
	struct pool_error error = { 0 };
	const char *disks[IMAGE_DISKS_MAX];
	struct engine *engine;

	for (unsigned d = 0; d < shape->disks; d++)
		disks[d] = making->set->disks[d]->path;
	struct libpool_create_options create = { .size = sizeof(create), .name = "tank", .profile = shape->profile, .disks = disks,
						 .disk_count = shape->disks };
	struct libpool_import_options import = { .size = sizeof(import), .name = "tank" };
	EXPECT_DONE(engine_create(&making->host, &create, NULL, &error));
	EXPECT_DONE(engine_import(&making->host, &import, &engine, &error));
	struct datasets *datasets = engine_datasets(engine);
	EXPECT_DONE(volume_create(datasets, "v4k", 64 * MIB, 4096, 0, &error));
	EXPECT_DONE(volume_create(datasets, "v16k", 256 * MIB, 16384, 255, &error));
	EXPECT_DONE(volume_create(datasets, "gone", MIB, 4096, 0, &error));
	write_some(making, datasets, "v4k", 12);
	write_some(making, datasets, "v16k", 12);
	write_some(making, datasets, "gone", 5);
	if (shape->files)
		make_files(engine);
	if (shape->lame)
		EXPECT_DONE(engine_disk_offline(engine, "#1", false, &error));
	EXPECT_DONE(volume_destroy(datasets, "gone", &error));
	EXPECT_DONE(engine_property_set(engine, NULL, "comment", "a pool to begin with", false, &error));
	struct libpool_scrub_options scrub = { .size = sizeof(scrub) };
	EXPECT_DONE(engine_scrub_start(engine, &scrub, &error));
	EXPECT_DONE(engine_jobs_wait(engine, 0, 0));
	for (unsigned i = 0; i < shape->commits; i++)
		EXPECT_DONE(core_commit_forced(engine_core(engine)));
	for (unsigned i = 0; i < 150 && shape->history; i++)
		EXPECT_DONE(engine_history_add(engine, "a command with many words, and all of them are the same as those of the command before, so "
						       "that what many of them take on a disk in the end is not much at all", &error));
	if (shape->orphan)
		put_orphan(engine_core(engine));
	write_some(making, datasets, "v4k", 4);
	if (shape->failing)
		sim_disk_fault(making->set->disks[1], SIM_WRITE_ERROR, MIB, DISK_BYTES - 2 * MIB, 3, 2, 0);
	EXPECT_DONE(core_commit(engine_core(engine)));
	if (shape->failing) {
		struct libpool_pool_info info;
		EXPECT_DONE(engine_info(engine, &info));
		fuzz_expect(info.stale_cells > 0);
	}
	if (shape->lame || shape->failing || shape->orphan)
		engine_abandon(engine);
	else
		EXPECT_DONE(engine_export(engine, &error));
}

static void copy_disks(const struct making *making, struct image *ret_image)
{
	*ret_image = (struct image){ .use = making->shape->use, .disk_count = making->shape->disks };
	for (unsigned d = 0; d < ret_image->disk_count; d++) {
		struct sim_disk *disk = making->set->disks[d];
		static uint8_t cell[CELL_SIZE], zeros[CELL_SIZE];
		ret_image->disks[d].cells = (uint32_t)(disk->size / CELL_SIZE);
		for (uint64_t at = 0; at < disk->size; at += CELL_SIZE) {
			sim_disk_peek(disk, at, cell, sizeof(cell));
			if (memcmp(cell, zeros, sizeof(cell)) != 0)
				image_write(ret_image, d, at, cell, sizeof(cell));
		}
	}
}

static void make_image(const struct shape *shape, struct image *ret_image)
{
	struct making making = { .shape = shape, .sim = sim_env_new(shape->disks), .set = sim_disks_new(shape->disks) };
	struct disk_provider *provider;

	for (unsigned d = 0; d < shape->disks; d++)
		sim_disks_add(making.set, DISK_BYTES);
	fuzz_expect(rt_new(&making.sim->env, &making.rt) == 0);
	provider = sim_disks_provider(making.set, making.sim, making.rt);
	making.host = (struct engine_host){ .rt = making.rt, .provider = provider, .core = { .cache_limit = 8 * MIB } };
	memcpy(making.host.core.host.bytes, "machine of tests", 16);
	fuzz_expect(rt_run(making.rt, make_pool, &making) == 0);
	copy_disks(&making, ret_image);
	sim_disks_provider_free(provider);
	rt_free(making.rt);
	sim_disks_free(making.set);
	sim_env_free(making.sim);
}

/* ---- Structures ---- */

/* How many of a kind are enough. */
struct kinds {
	uint64_t seen[2000]; /* addresses */
	unsigned seen_count;
	unsigned blocks[TYPE_COUNT][16], nodes;
};

static uint8_t rows_byte(const struct image *image)
{
	uint8_t shift = 0;

	while (64u << shift < image->rows)
		shift++;
	return shift;
}

static void put_tree_entries(const struct shape *shape, const struct image_block *block, struct kinds *kinds)
{
	size_t size = image_block_size(block);
	int count = tree_node_count(block->content, size, 0);
	struct tree_entry entry;
	char name[80];

	for (int i = 0; i < count && i < 3; i++) {
		if (tree_node_entry(block->content, size, (unsigned)i, &entry) < 0)
			continue;
		uint8_t head[2] = { 0, (uint8_t)entry.key_length }, both[TREE_KEY_MAX + TREE_VALUE_MAX];
		if (shape->files && entry.key_length == DIRECTORY_KEY_SIZE && entry.value_length > 8 &&
		    entry.value[7] + 8u == entry.value_length)
			head[0] = 6;
		else if (entry.key_length == INODE_LINK_KEY_SIZE && entry.value_length == 1)
			head[0] = 7;
		else if (entry.value_length == BATCH_MAP_VALUE_SIZE && entry.key_length == BATCH_MAP_KEY_SIZE)
			head[0] = 1;
		else if (entry.value_length == MOVED_VALUE_SIZE && entry.key_length == MOVED_KEY_SIZE)
			head[0] = 9;
		else if (entry.value_length == JOB_RECORD_SIZE && entry.key_length == JOB_KEY_SIZE)
			head[0] = 2;
		else if (entry.value_length == DAMAGE_VALUE_SIZE && entry.key_length == DAMAGE_KEY_SIZE)
			head[0] = 4;
		else if (entry.value_length != DATASET_RECORD_SIZE && entry.key_length == HISTORY_KEY_SIZE)
			head[0] = 3;
		else if (entry.value_length != DATASET_RECORD_SIZE)
			continue;
		memcpy(both, entry.key, entry.key_length);
		memcpy(both + entry.key_length, entry.value, entry.value_length);
		snprintf(name, sizeof(name), "%s-%u-%u", shape->name, head[0], kinds->nodes++);
		put_file("records", name, head, sizeof(head), both, (size_t)entry.key_length + entry.value_length);
	}
}

static void put_payload(const struct shape *shape, const struct image *image, const struct image_block *block)
{
	struct block_pointer pointer = block->pointer;
	uint8_t head[3] = { (uint8_t)(pointer.lsect - 1), (uint8_t)(pointer.psect - 1), 1 };
	char name[80];

	if (pointer.compression == COMPRESSION_NONE)
		return;
	snprintf(name, sizeof(name), "%s-%u-%u", shape->name, pointer.type, pointer.psect);
	uint8_t *payload = malloc((size_t)pointer.psect * CELL_SIZE);
	if (image_payload_read(image, &pointer, payload))
		put_file("payload", name, head, sizeof(head), payload, 4 + (size_t)fuzz_le(payload, 4));
	free(payload);
}

static void put_block(const struct shape *shape, const struct image *image, const uint8_t *raw, const struct image_block *block,
		      struct kinds *kinds)
{
	const struct block_pointer *pointer = &block->pointer;
	uint8_t head[3] = { 0 };
	struct dnode dnode;
	char name[80];

	snprintf(name, sizeof(name), "%s-%u-%u-%u", shape->name, pointer->type, pointer->level,
		 kinds->blocks[pointer->type][pointer->level & 15]);
	if (kinds->blocks[pointer->type][pointer->level & 15]++ > (shape->files ? 8u : 2u))
		return;
	put_payload(shape, image, block);
	head[0] = 0;
	put_file("object", name, head, 1, raw, BLOCK_POINTER_SIZE);
	head[0] = rows_byte(image);
	switch (pointer->type) {
	case TYPE_SUMMARY:
		put_trimmed("summary", name, head, 1, block->content, image_block_size(block));
		break;
	case TYPE_ALLOC_LOG:
		put_trimmed("alloc_log", name, head, 1, block->content, image_block_size(block));
		break;
	case TYPE_COMMIT:
	case TYPE_OBJSET:
		head[0] = pointer->type == TYPE_COMMIT ? 3 : 2;
		put_trimmed("object", name, head, 1, block->content, image_block_size(block));
		break;
	case TYPE_SEGTAB:
	case TYPE_LIVEMAP:
		head[0] = (uint8_t)(rows_byte(image) << 2 | (pointer->type == TYPE_SEGTAB ? 2 : 0));
		if (pointer->level == 0)
			put_trimmed("segment_table", name, head, 1, block->content, image_block_size(block));
		break;
	case TYPE_DNODES:
		head[0] = 1;
		for (unsigned i = 0; i < DNODES_PER_BLOCK && pointer->level == 0; i++) {
			snprintf(name, sizeof(name), "%s-dnode-%u", shape->name, i);
			if (block->content[i * DNODE_SIZE])
				put_trimmed("object", name, head, 1, block->content + (size_t)i * DNODE_SIZE, DNODE_SIZE);
			if (dnode_decode(block->content + (size_t)i * DNODE_SIZE, &dnode) == 0 && dnode.bonus_length)
				put_file("records", name, dnode.bonus_length == FS_SUPER_SIZE ? "\10" : "\5", 2, dnode.bonus, dnode.bonus_length);
		}
		break;
	case TYPE_TREE:
		head[0] = (uint8_t)(pointer->level | (image_block_size(block) == TREE_NODE_SIZE_MAX ? 16 : 0));
		put_trimmed("tree_node", name, head, 2, block->content, image_block_size(block));
		if (pointer->level == 0)
			put_tree_entries(shape, block, kinds);
	}
}

static bool seen(struct kinds *kinds, uint64_t address)
{
	for (unsigned i = 0; i < kinds->seen_count; i++)
		if (kinds->seen[i] == address)
			return true;
	if (kinds->seen_count < sizeof(kinds->seen) / sizeof(kinds->seen[0]))
		kinds->seen[kinds->seen_count++] = address;
	return false;
}

static void walk(const struct shape *shape, const struct image *image, const uint8_t *raw, unsigned depth, struct kinds *kinds)
{
	struct image_block block;

	if (depth > 12 || !image_block_read(image, raw, &block))
		return;
	if (seen(kinds, block.pointer.dva)) {
		free(block.content);
		return;
	}
	put_block(shape, image, raw, &block, kinds);
	bool content = block.pointer.type == TYPE_DATA && block.pointer.level == 0;
	for (size_t at = 0; !content && at + BLOCK_POINTER_SIZE <= image_block_size(&block); at++)
		if (fuzz_le(block.content + at, 8) && fuzz_le(block.content + at, 8) >> 56 == 0 && block.content[at + 63] == 0)
			walk(shape, image, block.content + at, depth + 1, kinds);
	free(block.content);
}

static void put_structures(const struct shape *shape, struct image *image)
{
	static struct uberblock newest;
	static struct kinds kinds;
	uint8_t *raw = malloc(SYSMAP_SLOT_SIZE), head = 1 | (uint8_t)(rows_byte(image) << 2);
	char name[80];

	memset(&kinds, 0, sizeof(kinds));
	image_survey(image);
	fuzz_expect(image_newest(image, &newest));
	for (unsigned d = 0; d < image->disk_count; d++) {
		snprintf(name, sizeof(name), "%s-%u", shape->name, d);
		image_read(image, d, LABEL_OFFSET, raw, LABEL_COPY_SIZE);
		put_trimmed("label", name, NULL, 0, raw, LABEL_COPY_SIZE - 16);
	}
	image_read(image, 0, image_area(image, 0, 0) + UBERBLOCK_OFFSET + newest.txg % UBERBLOCK_COMMIT_SLOTS * UBERBLOCK_SIZE, raw,
		   UBERBLOCK_SIZE);
	put_trimmed("uberblock", shape->name, NULL, 0, raw, UBERBLOCK_SIZE - 16);
	image_read(image, 0, SYSMAP_OFFSET + (uint64_t)newest.sysmap_slot * SYSMAP_SLOT_SIZE, raw, SYSMAP_SLOT_SIZE);
	put_file("sysmap", shape->name, NULL, 0, raw, newest.sysmap_length);
	for (unsigned i = 0; i < image->disks[0].count; i++)
		if (memcmp(image->disks[0].list[i].bytes, "poolAUHD", 8) == 0) {
			put_trimmed("segment_table", shape->name, &head, 1, image->disks[0].list[i].bytes, CELL_SIZE - 4);
			break;
		}
	walk(shape, image, newest.final.summary.bytes, 0, &kinds);
	walk(shape, image, newest.commit.bytes, 0, &kinds);
	free(raw);
}

static void put_texts(void)
{
	static const char *const texts[] = { "0", "1", "4096", "16K", "1.5T", "10GiB", "0.0001E", "18446744073709551616", "off", "auto", "zstd-19",
					     "tank", "tank/disk1", "a b", "-x", ".x", "\xc3\xa4", "\xff", "tank/", "/", "a@b" };

	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		for (uint8_t kind = 0; kind < 4; kind++) {
			char name[32];
			snprintf(name, sizeof(name), "%u-%u", kind, i);
			put_file("text", name, &kind, 1, texts[i], strlen(texts[i]));
		}
}

static void put_requests(void)
{
	static const char *const methods[] = {
		"\"hello\"", "\"status\"", "\"iostat\"", "\"history\"", "\"events\",\"params\":{\"after\":1}",
		"\"scrub\",\"params\":{\"action\":\"start\",\"deep\":true}", "\"wait\",\"params\":{\"jobs\":[\"scrub\"]}",
		"\"replace\",\"params\":{\"disk\":\"#0\",\"new_disk\":\"a\"}", "\"offline\",\"params\":{\"disk\":\"#0\"}",
		"\"online\",\"params\":{\"disk\":\"#0\"}", "\"clear\"", "\"volume.create\",\"params\":{\"volume\":\"w\",\"volume_bytes\":4096}",
		"\"volume.destroy\",\"params\":{\"volume\":\"w\"}", "\"volume.resize\",\"params\":{\"volume\":\"v\",\"volume_bytes\":8192}",
		"\"volume.list\"", "\"volume.read\",\"descriptors\":1,\"params\":{\"volume\":\"v\",\"file\":\"x\"}",
		"\"volume.write\",\"descriptors\":1,\"progress\":true,\"params\":{\"volume\":\"v\",\"offset\":100}",
		"\"volume.write\",\"descriptors\":1,\"params\":{\"volume\":\"v\",\"length\":100}", "\"inherit\",\"params\":{\"properties\":[\"comment\"]}",
		"\"dataset.create\",\"params\":{\"dataset\":\"d\",\"record_bytes\":8192}", "\"dataset.list\"",
		"\"dataset.rename\",\"params\":{\"dataset\":\"d\",\"new_dataset\":\"e\"}",
		"\"dataset.destroy\",\"params\":{\"dataset\":\"e\",\"recursive\":true}", "\"get\",\"params\":{\"volume\":\"v\",\"properties\":[\"all\"]}",
		"\"set\",\"params\":{\"settings\":[\"comment=x\"]}", "\"export\"", "\"debug.verify\",\"progress\":true",
		"\"cancel\",\"params\":{\"id\":1}"
	};

	for (unsigned i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		char line[512], name[16];
		uint8_t piece = (uint8_t)((i % 3 == 2 ? 7 : 0) | (strstr(methods[i], "descriptors") ? 1 + i % 3 : 0) << 6);
		int length = snprintf(line, sizeof(line), "{\"jsonrpc\":\"2.0\",\"id\":%u,\"method\":%s}\n", i, methods[i]);
		snprintf(name, sizeof(name), "%02u", i);
		put_file("control", name, &piece, 1, line, (size_t)length);
	}
}

int main(int argc, char **argv)
{
	uint8_t *packed = malloc(INPUT_MAX);

	if (argc != 2) {
		fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
		return 2;
	}
	folder = argv[1];
	fuzz_expect(mkdir(folder, 0777) == 0 || errno == EEXIST);
	for (unsigned i = 0; i < sizeof(shapes) / sizeof(shapes[0]); i++) {
		static struct image image;
		make_image(&shapes[i], &image);
		if (shapes[i].orphan)
			swap_orphans(&image);
		size_t size = image_pack(&image, packed, INPUT_MAX);
		fuzz_expect(size > 0);
		put_file("image", shapes[i].name, NULL, 0, packed, size);
		put_structures(&shapes[i], &image);
		image_release(&image);
	}
	put_texts();
	put_requests();
	printf("%u inputs\n", written);
	free(packed);
	return 0;
}
