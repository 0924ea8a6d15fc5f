/*
 * Whole images that were spoilt, most with all checksums made right again: labels, uberblocks, sysmaps, and whatever the commit
 * block leads to. An import says what is wrong or goes on, reads give what they can; no invariant breaks, nothing hangs or eats
 * all memory. TEST_FORGED_SEEDS=first..last runs others than the usual ones.
 */
#include <sys/resource.h>
#include <zstd.h>

#include "checksum/xxh3.h"
#include "libpool/format/dva.h"
#include "libpool/txg/internal.h"
#include "tests/unit/dataset/volumes.h"

#define DEPTH_MAX 7u
#define SEGMENTS_KNOWN_MAX 600u
#define MEMORY_MAX_KIB (3u << 20)

struct image {
	struct machine *machine;
	struct sim_image *disks[8];
	struct guid guids[8];
	struct uberblock uberblock;
	struct label label;
	struct segment_record segments[SEGMENTS_KNOWN_MAX];
	unsigned segment_count, rows;
	struct sim_random random;
};

struct outcomes {
	unsigned imported, refused, opened, not_opened;
};

static struct outcomes outcomes;

/* ---- Making an image ---- */

static void prepare_program(struct machine *machine)
{
	struct image *image = machine->test;
	struct datasets *datasets = pool_open(machine);
	uint8_t *data = malloc(128 << 10);

	for (unsigned v = 0; v < 3; v++) {
		char name[8];
		uint32_t block = 4096u << (v * 2);
		snprintf(name, sizeof(name), "v%u", v);
		expect_done(machine, volume_create(datasets, name, 64 * MIB, block, v == 2 ? BLOCK_COMPRESS_AUTO : 0, &machine->error));
		struct volume *volume = pool_volume(machine, datasets, name);
		for (unsigned i = 0; i < 60; i++) {
			uint64_t number = i * 37 % 50 * (64 * MIB / block / 64);
			block_fill(data, block, number, i + 1);
			expect_done(machine, volume_write(volume, number * block, block, data));
			if (i % 20 == 19)
				expect_done(machine, volume_flush(volume));
		}
		expect_done(machine, volume_trim(volume, 0, 10 * MIB));
		volume_close(volume);
	}
	expect_done(machine, volume_create(datasets, "gone", MIB, 4096, 0, &machine->error));
	expect_done(machine, core_commit(machine->core));
	expect_done(machine, volume_destroy(datasets, "gone", &machine->error));
	/* Enough of them for pages of the segment table and the live bitmaps. */
	for (unsigned i = 0; i < 40; i++)
		expect_done(machine, core_commit_forced(machine->core));
	free(data);
	image->uberblock = machine->core->uberblock;
	image->label = *core_label(machine->core);
	image->rows = alloc_geometry(core_alloc(machine->core))->rows;
	image->segment_count = alloc_segment_count(core_alloc(machine->core));
	expect(image->segment_count <= SEGMENTS_KNOWN_MAX);
	for (uint32_t id = 0; id < image->segment_count; id++)
		image->segments[id] = alloc_segment(core_alloc(machine->core), id)->record;
	for (unsigned i = 0; i < machine->disks; i++)
		image->guids[i] = store_disk(core_store(machine->core), i)->guid;
	core_halt(machine->core, "crash");
	pool_abandon(machine, datasets);
}

static void image_make(struct image *image, unsigned disks, unsigned k, unsigned m)
{
	image->machine = machine_new(disks, 64 * MIB, k, m, disks);
	image->machine->test = image;
	machine_boot(image->machine, machine_create_program);
	machine_boot(image->machine, prepare_program);
	image->machine->options.check_every_txg = false; /* a forged image may contradict itself */
	for (unsigned i = 0; i < disks; i++)
		image->disks[i] = sim_disk_snapshot(image->machine->set->disks[i]);
}

static void image_free(struct image *image)
{
	for (unsigned i = 0; i < image->machine->disks; i++)
		sim_snapshot_free(image->disks[i]);
	machine_free(image->machine);
}

/* ---- Spoiling it ---- */

static void spoil(struct image *image, uint8_t *bytes, size_t size)
{
	static const uint64_t values[] = { 0, 1, 2, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, UINT64_MAX, UINT64_MAX / 2, 1 << 24, 4096 };
	struct sim_random *random = &image->random;

	for (unsigned n = 1 + (unsigned)sim_random_below(random, 4); n > 0; n--) {
		uint64_t value = values[sim_random_below(random, sizeof(values) / sizeof(values[0]))];
		size_t width = (size_t)1 << sim_random_below(random, 4);
		/* The front of most structures says more than the rest. */
		size_t range = sim_random_below(random, 2) && size > 1024 ? 1024 : size;
		size_t at = sim_random_below(random, range / width) * width;
		switch (sim_random_below(random, 4)) {
		case 0:
			bytes[at] ^= (uint8_t)(1u << sim_random_below(random, 8));
			break;
		case 1:
			value = sim_random_next(random);
			memcpy(bytes + at, &value, width);
			break;
		case 2:
			bytes[at] = (uint8_t)(bytes[at] + 1 - 2 * sim_random_below(random, 2));
			break;
		default:
			memcpy(bytes + at, &value, width);
		}
	}
}

static uint64_t area_offset(const struct image *image, unsigned disk, unsigned area)
{
	return label_area_offset(image->machine->set->disks[disk]->size, area);
}

/* The newest uberblock of all disks, in both areas; spoilt after it was encoded, if asked for. */
static void put_uberblock(struct image *image, bool spoilt)
{
	struct uberblock *copy = malloc(sizeof(*copy));
	uint8_t raw[UBERBLOCK_SIZE], mask[UBERBLOCK_SIZE];

	*copy = image->uberblock;
	copy->rewrite++;
	copy->slot = (uint16_t)(copy->txg % UBERBLOCK_COMMIT_SLOTS);
	memset(mask, 0, sizeof(mask));
	uberblock_encode(copy, &image->guids[0], raw);
	memcpy(mask, raw, sizeof(mask));
	if (spoilt)
		spoil(image, mask, 4080);
	for (size_t i = 0; i < sizeof(mask); i++)
		mask[i] ^= raw[i];
	for (unsigned disk = 0; disk < image->machine->disks; disk++) {
		struct {
			struct guid pool, disk;
			uint8_t slot[2];
		} context = { image->label.pool, image->guids[disk], { (uint8_t)copy->slot, (uint8_t)(copy->slot >> 8) } };
		struct hash128 hash;
		copy->disk_index = (uint16_t)disk;
		uberblock_encode(copy, &image->guids[disk], raw);
		for (size_t i = 0; i < 4080; i++)
			raw[i] ^= mask[i];
		xxh3_128_context(&context, 34, raw, 4080, &hash);
		memcpy(raw + 4080, &hash, sizeof(hash));
		for (unsigned area = 0; area < 2; area++)
			sim_disk_poke(image->machine->set->disks[disk],
				      area_offset(image, disk, area) + UBERBLOCK_OFFSET + copy->slot * UBERBLOCK_SIZE, raw, sizeof(raw));
	}
	free(copy);
}

static void spoil_label(struct image *image)
{
	uint8_t *raw = malloc(LABEL_COPY_SIZE);
	bool all = sim_random_below(&image->random, 2);
	unsigned only = (unsigned)sim_random_below(&image->random, image->machine->disks);
	struct sim_random before = image->random;

	for (unsigned disk = 0; disk < image->machine->disks; disk++)
		for (unsigned i = 0; i < 4 && (all || disk == only); i++) {
			uint8_t context[2] = { (uint8_t)(i / 2), (uint8_t)(i % 2) };
			uint64_t at = area_offset(image, disk, i / 2) + LABEL_OFFSET + (uint64_t)(i % 2) * LABEL_COPY_SIZE;
			struct hash128 hash;
			image->random = before;
			sim_disk_peek(image->machine->set->disks[disk], at, raw, LABEL_COPY_SIZE);
			spoil(image, raw, sim_random_below(&image->random, 3) ? 128 : 4096 + 40 * image->machine->disks);
			xxh3_128_context(context, sizeof(context), raw, 32752, &hash);
			memcpy(raw + 32752, &hash, sizeof(hash));
			sim_disk_poke(image->machine->set->disks[disk], at, raw, LABEL_COPY_SIZE);
		}
	free(raw);
}

static void spoil_sysmap(struct image *image)
{
	uint8_t *raw = malloc(SYSMAP_SLOT_SIZE);
	struct uberblock *uberblock = &image->uberblock;
	uint64_t within = SYSMAP_OFFSET + (uint64_t)uberblock->sysmap_slot * SYSMAP_SLOT_SIZE;

	sim_disk_peek(image->machine->set->disks[0], area_offset(image, 0, 0) + within, raw, SYSMAP_SLOT_SIZE);
	spoil(image, raw, uberblock->sysmap_length);
	if (sim_random_below(&image->random, 8) == 0)
		uberblock->sysmap_length = (uint32_t)sim_random_below(&image->random, SYSMAP_SLOT_SIZE + 100);
	if (uberblock->sysmap_length <= SYSMAP_SLOT_SIZE)
		xxh3_128(raw, uberblock->sysmap_length, &uberblock->sysmap_checksum);
	for (unsigned disk = 0; disk < image->machine->disks; disk++)
		for (unsigned area = 0; area < 2; area++)
			sim_disk_poke(image->machine->set->disks[disk], area_offset(image, disk, area) + within, raw, SYSMAP_SLOT_SIZE);
	free(raw);
	put_uberblock(image, false);
}

/* Reads or writes the cells of a block, all copies of mirrored ones. False if the address makes no sense. */
static bool transfer(struct image *image, const struct block_pointer *pointer, uint8_t *payload, bool write)
{
	struct dva dva = dva_unpack(pointer->dva);

	if (dva.segment >= image->segment_count || image->segments[dva.segment].state == SEGMENT_NONE)
		return false;
	const struct segment_record *record = &image->segments[dva.segment];
	struct cell_run runs[COLUMNS_MAX];
	if (!dva_valid(dva, pointer->psect, record->k, image->rows))
		return false;
	unsigned count = dva_runs(dva, pointer->psect, runs);
	for (unsigned i = 0; i < count; i++) {
		size_t length = (size_t)runs[i].rows * CELL_SIZE;
		unsigned copies = write && record->k == 1 ? 1u + record->m : 1;
		for (unsigned c = 0; c < copies; c++) {
			struct segment_column column = record->columns[runs[i].column + c];
			if (column.disk >= image->machine->disks)
				return false;
			struct sim_disk *disk = image->machine->set->disks[column.disk];
			uint64_t at = DATA_START + ((uint64_t)column.au << image->label.au_shift) + (uint64_t)runs[i].row * CELL_SIZE;
			if (write)
				sim_disk_poke(disk, at, payload, length);
			else
				sim_disk_peek(disk, at, payload, length);
		}
		payload += length;
	}
	return true;
}

struct step {
	struct block_pointer pointer;
	uint8_t *content; /* lsect cells, not compressed */
	size_t pointer_at; /* of the next one, in the content */
};

static size_t content_size(const struct step *step)
{
	return (size_t)step->pointer.lsect * CELL_SIZE;
}

static size_t payload_size(const struct step *step)
{
	return (size_t)step->pointer.psect * CELL_SIZE;
}

static bool take_step(struct image *image, const uint8_t *raw, struct step *ret_step)
{
	struct raw_block_pointer copy;

	memcpy(&copy, raw, sizeof(copy));
	if (block_pointer_decode(&copy, &ret_step->pointer) < 0 || !block_pointer_is_placed(&ret_step->pointer))
		return false;
	uint8_t *payload = malloc(payload_size(ret_step));
	bool good = transfer(image, &ret_step->pointer, payload, false);
	ret_step->content = payload;
	if (good && ret_step->pointer.compression != COMPRESSION_NONE) {
		uint32_t length;
		memcpy(&length, payload, sizeof(length));
		ret_step->content = malloc(content_size(ret_step));
		good = length <= payload_size(ret_step) - 4 &&
		       !ZSTD_isError(ZSTD_decompress(ret_step->content, content_size(ret_step), payload + 4, length));
		free(payload);
	}
	if (!good)
		free(ret_step->content);
	return good;
}

/* What goes to disk for the content, or NULL if it doesn't fit any more. */
static uint8_t *payload_make(const struct step *step)
{
	size_t room = payload_size(step);
	uint8_t *payload = sim_allocate(room);

	if (step->pointer.compression == COMPRESSION_NONE) {
		memcpy(payload, step->content, room);
		return payload;
	}
	size_t length = ZSTD_compress(payload + 4, room - 4, step->content, content_size(step), 6);
	uint32_t exact = (uint32_t)length;
	memcpy(payload, &exact, sizeof(exact));
	if (!ZSTD_isError(length))
		return payload;
	free(payload);
	return NULL;
}

/* A pointer in the content, found by trying from a random place on. */
static bool descend(struct image *image, struct step *from, struct step *ret_step)
{
	size_t tries = content_size(from) / 8 - 8, start = sim_random_below(&image->random, tries);

	for (size_t i = 0; i < tries; i++) {
		from->pointer_at = (start + i) % tries * 8;
		if (take_step(image, from->content + from->pointer_at, ret_step))
			return true;
	}
	return false;
}

/* From the commit block down, spoil what is found there, and make the checksums right again on the way back up. */
static void spoil_block(struct image *image)
{
	struct step steps[DEPTH_MAX];
	unsigned depth = 0;
	struct hash128 hash;
	bool fits = true;

	expect(take_step(image, image->uberblock.commit.bytes, &steps[0]));
	while (depth + 1 < DEPTH_MAX && sim_random_below(&image->random, 6) && descend(image, &steps[depth], &steps[depth + 1]))
		depth++;
	spoil(image, steps[depth].content, content_size(&steps[depth]));
	for (unsigned i = depth + 1; i-- > 0;) {
		uint8_t *payload = fits ? payload_make(&steps[i]) : NULL;
		fits = payload != NULL;
		if (fits) {
			expect(transfer(image, &steps[i].pointer, payload, true));
			xxh3_128(payload, payload_size(&steps[i]), &hash);
			memcpy((i ? steps[i - 1].content + steps[i - 1].pointer_at : image->uberblock.commit.bytes) + 40, &hash,
			       sizeof(hash));
		}
		free(payload);
		free(steps[i].content);
	}
	if (fits)
		put_uberblock(image, false);
}

/* Without regard to checksums, on any number of disks. */
static void spoil_bytes(struct image *image)
{
	uint8_t garbage[3 * CELL_SIZE];

	sim_random_fill(&image->random, garbage, sizeof(garbage));
	for (unsigned n = 1 + (unsigned)sim_random_below(&image->random, 40); n > 0; n--) {
		struct sim_disk *disk = image->machine->set->disks[sim_random_below(&image->random, image->machine->disks)];
		uint64_t at = sim_random_below(&image->random, 4 * MIB), length = 1 + sim_random_below(&image->random, sizeof(garbage) - 1);
		if (sim_random_below(&image->random, 4) == 0)
			at = disk->size - MIB + sim_random_below(&image->random, MIB - length);
		sim_disk_poke(disk, at, garbage, length);
	}
}

/* ---- Using it ---- */

static int count_block(void *argument, const struct block_pointer *pointer, const struct block_owner *owner)
{
	(void)pointer;
	(void)owner;
	return ++*(unsigned *)argument > 20000 ? -1 : 0;
}

static void use_volume(struct machine *machine, struct datasets *datasets, const char *name)
{
	struct image *image = machine->test;
	struct pool_error error = { 0 };
	struct volume *volume;
	static uint8_t data[300 << 10];

	if (volume_open(datasets, name, &volume, &error) < 0)
		return;
	uint64_t size = volume_record(volume)->volume_size, at;
	for (unsigned i = 0; i < 6 && size > sizeof(data); i++) {
		uint64_t offset = sim_random_below(&image->random, (size < 64 * MIB ? size : 64 * MIB) - sizeof(data));
		(void)volume_read(volume, offset, sizeof(data), data);
		(void)volume_seek(volume, offset, i % 2, &at);
		if (i % 2)
			(void)volume_write(volume, offset, 20000, data);
	}
	(void)volume_trim(volume, 0, size / 2);
	(void)volume_flush(volume);
	volume_close(volume);
	if (sim_random_below(&image->random, 3) == 0)
		(void)volume_destroy(datasets, name, &error);
}

static void use_program(struct machine *machine)
{
	struct image *image = machine->test;
	struct datasets *datasets;
	struct dataset_record *records;
	size_t count;
	unsigned blocks = 0;

	machine->force = sim_random_below(&image->random, 2);
	machine->read_only = sim_random_below(&image->random, 4) == 0;
	int status = machine_import(machine);
	if (status < 0) {
		outcomes.refused++;
		expect(machine->error.text[0] || status == -ENOENT);
		return;
	}
	outcomes.imported++;
	if (datasets_open(machine->core, &datasets, &machine->error) < 0) {
		outcomes.not_opened++;
		core_abandon(machine->core);
		return;
	}
	outcomes.opened++;
	expect_equal(volumes_list(datasets, &records, &count), 0);
	for (size_t i = 0; i < count && i < 5; i++)
		use_volume(machine, datasets, records[i].name);
	free(records);
	(void)datasets_walk(datasets, count_block, &blocks);
	(void)core_walk_system(machine->core, count_block, &blocks);
	machine->error = (struct pool_error){ 0 };
	(void)volume_create(datasets, "new", MIB, 4096, 0, &machine->error);
	for (unsigned i = 0; i < 4; i++)
		(void)core_commit_forced(machine->core);
	core_stop(machine->core);
	datasets_close(datasets);
	(void)core_export(machine->core, &machine->error);
}

static void run_seed(const struct image *whole, uint64_t seed)
{
	static struct image image;
	void (*const ways[])(struct image *image) = { spoil_label, spoil_sysmap, spoil_bytes, spoil_block, spoil_block, spoil_block };

	image = *whole;
	image.machine->test = &image;
	image.machine->sim->time_limit_ns = image.machine->sim->now_ns + 4000 * NS_PER_S;
	sim_random_stream(&image.random, seed, "forged", 0);
	for (unsigned i = 0; i < image.machine->disks; i++)
		sim_disk_restore(image.machine->set->disks[i], image.disks[i]);
	unsigned way = (unsigned)sim_random_below(&image.random, 7);
	if (way == 6)
		put_uberblock(&image, true);
	else
		ways[way](&image);
	if (getenv("TEST_FORGED_SEEDS"))
		fprintf(stderr, "seed %llu way %u\n", (unsigned long long)seed, way);
	machine_boot(image.machine, use_program);
}

static void run(unsigned disks, unsigned k, unsigned m, uint64_t first, uint64_t last)
{
	static struct image image;
	struct rusage usage;

	if (getenv("TEST_FORGED_SEEDS"))
		(void)sscanf(getenv("TEST_FORGED_SEEDS"), "%lu..%lu", &first, &last);
	outcomes = (struct outcomes){ 0 };
	image_make(&image, disks, k, m);
	for (uint64_t seed = first; seed <= last; seed++)
		run_seed(&image, seed);
	image_free(&image);
	printf("%u of %u imported\n", outcomes.imported, outcomes.imported + outcomes.refused);
	expect_equal(getrusage(RUSAGE_SELF, &usage), 0);
	expect(usage.ru_maxrss < MEMORY_MAX_KIB);
}

static void test_mirror(void **state)
{
	(void)state;
	run(2, 1, 1, 1, 600);
}

static void test_parity(void **state)
{
	(void)state;
	run(4, 2, 1, 1001, 1600);
}

static void test_single(void **state)
{
	(void)state;
	run(1, 1, 0, 2001, 2300);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mirror),
		cmocka_unit_test(test_parity),
		cmocka_unit_test(test_single),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
