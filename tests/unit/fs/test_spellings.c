/* SPDX-License-Identifier: BSD-2-Clause */
/* File systems that compare names by more than their bytes: case, and normal forms of Unicode. */
#include "tests/unit/fs/filesystems.h"

#include <sys/mman.h>
#include <unistd.h>

#include "libpool/fs/internal.h"
#include "libpool/rt/fiber_context.h"

static struct world world;
static uint8_t case_mode, normalization;

static void open_world(struct machine *machine)
{
	struct fs_create_options options = { .mode = 0755, .case_mode = case_mode, .normalization = normalization };
	struct dataset_record *records;
	size_t count;

	world.machine = machine;
	world.datasets = pool_open(machine);
	expect_done(machine, filesystems_list(world.datasets, &records, &count));
	free(records);
	if (!count)
		expect_done(machine, fs_create(world.datasets, "fs", &options, &machine->error));
	expect_done(machine, fs_open(world.datasets, "fs", &world.fs, &machine->error));
	expect_done(machine, fs_root(world.fs, &world.root));
}

static void boot(void (*program)(struct machine *machine), uint8_t wanted_case, uint8_t wanted_normalization)
{
	struct machine *machine = machine_new(2, 512 * MIB, 1, 1, 1);

	case_mode = wanted_case;
	normalization = wanted_normalization;
	machine_boot(machine, machine_create_program);
	machine_boot(machine, program);
	machine_free(machine);
}

static void make_file(const char *name)
{
	fs_put(make(&world, world.root, name, S_IFREG | 0644));
}

/* All names of the root, in the order of their cookies, with "|" behind each. */
static const char *listing(void)
{
	static char text[4096];
	struct directory_entry entry;
	uint64_t cookie = 0;

	text[0] = 0;
	while (fs_next_entry(world.root, cookie, &cookie, &entry) == 0)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s|", entry.name);
	return text;
}

static uint64_t number_of(const char *name)
{
	struct fs_node *node = look(world.root, name);
	uint64_t number = node ? fs_number(node) : 0;

	if (node)
		fs_put(node);
	return number;
}

/* ---- which names are one ---- */

enum { NEVER, CASE = 1, FORM_D = 2, FORM_KD = 4, CASE_AND_D = 8, CASE_AND_KD = 16 };
#define ANY_CASE (CASE | CASE_AND_D | CASE_AND_KD)
#define ANY_FORM (FORM_D | FORM_KD | CASE_AND_D | CASE_AND_KD)
static const struct {
	const char *one, *other;
	unsigned where;
} pairs[] = {
	{ "plain", "plain", ANY_CASE | ANY_FORM },
	{ "README", "ReadMe", ANY_CASE },
	{ "a", "b", NEVER },
	{ "stra\u00dfe", "STRASSE", ANY_CASE },
	{ "\u00c4rger", "\u00e4rger", ANY_CASE },
	{ "\u00c4rger", "A\u0308rger", ANY_FORM },
	{ "\u00c4rger", "a\u0308RGER", CASE_AND_D | CASE_AND_KD },
	{ "\u1e69", "s\u0307\u0323", ANY_FORM },
	{ "\uac00", "\u1100\u1161", ANY_FORM },
	{ "\u212b", "\u00c5", ANY_FORM | CASE },
	{ "\ufb01le", "file", FORM_KD | CASE | CASE_AND_D | CASE_AND_KD }, /* a ligature folds to letters */
	{ "\uff21", "A", FORM_KD | CASE_AND_KD },
	{ "\uff21", "a", CASE_AND_KD },
	{ "x\u00b2", "x2", FORM_KD | CASE_AND_KD },
	{ "\u03a3\u03c3", "\u03c2\u03a3", ANY_CASE },
	{ "\u03b1\u0345\u0301", "\u03b1\u0301\u0345", ANY_FORM }, /* the order of accents doesn't count, whatever folding makes of them */
	{ "\u03b1\u0345\u0301", "\u0391\u0301\u0399", CASE_AND_D | CASE_AND_KD },
	{ "\u0130", "i\u0307", ANY_CASE },
	{ "\u037a\u05a4", " \u05a4\u0399", CASE_AND_KD },
	{ "I", "\u0131", NEVER },
	{ "\u13a0", "\uab70", ANY_CASE },
	{ "\u3392", "mhz", CASE_AND_KD },
	{ "\u3392", "MHz", FORM_KD | CASE_AND_KD },
};

static void pairs_program(struct machine *machine)
{
	static const unsigned bits[FS_CASE_COUNT][FS_NORMALIZATION_COUNT] = { { 0, FORM_D, FORM_KD }, { CASE, CASE_AND_D, CASE_AND_KD } };

	open_world(machine);
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		bool same = pairs[i].where & bits[case_mode][normalization] || strcmp(pairs[i].one, pairs[i].other) == 0;
		make_file(pairs[i].one);
		struct fs_node *found = look(world.root, pairs[i].other);
		if (!found != !same)
			fprintf(stderr, "%s and %s with %u, %u\n", pairs[i].one, pairs[i].other, case_mode, normalization);
		expect_equal(found != NULL, same);
		if (found)
			fs_put(found);
		expect_equal(make_fails(world.root, pairs[i].other, S_IFREG | 0644), same ? -EEXIST : 0);
		/* It is there as it was given. */
		expect(strstr(listing(), pairs[i].one));
		world_check(&world);
		expect_equal(unlink_name(world.root, pairs[i].other), 0);
		expect_equal(unlink_name(world.root, pairs[i].one), same ? -ENOENT : 0);
	}
	expect(listing()[0] == 0);
	world_close(&world);
}

static void test_pairs(void **state)
{
	(void)state;
	for (uint8_t i = 0; i < FS_CASE_COUNT; i++)
		for (uint8_t j = 0; j < FS_NORMALIZATION_COUNT; j++)
			boot(pairs_program, i, j);
}

/* ---- what is no name ---- */

static void refused_program(struct machine *machine)
{
	static const char *const bad[] = { "\xff", "a\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "cut\xe4\xb8", "\xcd\xb8" /* U+0378 isn't assigned */ };
	struct fs_node *node, *file;
	char longest[256];

	open_world(machine);
	file = make(&world, world.root, "file", S_IFREG | 0644);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		expect_equal(make_fails(world.root, bad[i], S_IFREG | 0644), -EILSEQ);
		expect_equal(make_fails(world.root, bad[i], S_IFDIR | 0755), -EILSEQ);
		expect_equal(fs_lookup(world.root, bad[i], strlen(bad[i]), &node), -EILSEQ);
		expect_equal(fs_link(file, world.root, bad[i], strlen(bad[i])), -EILSEQ);
		expect_equal(rename_to(world.root, "file", world.root, bad[i], 0), -EILSEQ);
		expect_equal(rename_to(world.root, bad[i], world.root, "other", 0), -EILSEQ);
		expect_equal(unlink_name(world.root, bad[i]), -EILSEQ);
	}
	/* 85 characters that become 18 each, none of them assigned to anything else; and as many that become two of three bytes. */
	for (unsigned i = 0; i < 85; i++)
		memcpy(longest + 3 * i, "\ufdfa", 3);
	longest[255] = 0;
	make_file(longest);
	expect(number_of(longest));
	for (unsigned i = 0; i < 127; i++)
		memcpy(longest + 2 * i, "\u0390", 2);
	longest[254] = 0;
	make_file(longest);
	expect(number_of(longest));
	fs_put(file);
	world_check(&world);
	world_close(&world);
}

static void bytes_program(struct machine *machine)
{
	open_world(machine);
	make_file("\xff");
	make_file("\xcd\xb8");
	expect(number_of("\xff"));
	world_check(&world);
	world_close(&world);
}

static void test_refused(void **state)
{
	(void)state;
	boot(bytes_program, FS_CASE_SENSITIVE, FS_NORMALIZATION_NONE);
	boot(refused_program, FS_CASE_INSENSITIVE, FS_NORMALIZATION_NONE);
	boot(refused_program, FS_CASE_SENSITIVE, FS_NORMALIZATION_D);
	boot(refused_program, FS_CASE_INSENSITIVE, FS_NORMALIZATION_KD);
}

/* ---- whatever comes ---- */

/* Of up to three bytes. */
static size_t put_character(uint32_t point, char *at)
{
	if (point < 0x80) {
		at[0] = (char)point;
		return 1;
	}
	if (point < 0x800) {
		at[0] = (char)(0xc0 | point >> 6);
		at[1] = (char)(0x80 | (point & 63));
		return 2;
	}
	at[0] = (char)(0xe0 | point >> 12);
	at[1] = (char)(0x80 | (point >> 6 & 63));
	at[2] = (char)(0x80 | (point & 63));
	return 3;
}

static void test_any(void **state)
{
	static struct fs fs;
	struct sim_random random;
	struct name_key key, again;
	char name[FS_NAME_MAX];

	(void)state;
	unsigned good = 0;
	sim_random_seed(&random, 1);
	for (unsigned i = 0; i < 100000; i++) {
		size_t wanted = sim_random_below(&random, FS_NAME_MAX - 4), length = 0;
		while (length <= wanted) {
			static const uint32_t ends[] = { 0x80, 0x600, 0x600, 0x2000, 0x3400 };
			uint32_t point = 1 + (uint32_t)sim_random_below(&random, ends[sim_random_below(&random, 5)] - 1);
			if (sim_random_below(&random, 2000) == 0)
				name[length++] = (char)sim_random_below(&random, 256);
			else
				length += put_character(point, name + length);
		}
		fs.record.case_mode = (uint8_t)(i % FS_CASE_COUNT);
		fs.record.normalization = (uint8_t)(i / FS_CASE_COUNT % FS_NORMALIZATION_COUNT);
		int status = name_key_make(&fs, name, length, &key);
		expect(status == 0 || status == -EILSEQ);
		good += status == 0;
		if (status == 0 && key.length <= FS_NAME_MAX) {
			expect_equal(name_key_make(&fs, (const char *)key.bytes, key.length, &again), 0);
			expect(name_key_equal(&key, &again));
		}
	}
	expect(good > 30000);
}

/* ---- renames ---- */

static void rename_program(struct machine *machine)
{
	open_world(machine);
	make_file("readme");
	uint64_t number = number_of("readme");
	/* Only the spelling: allowed, whatever is asked for. */
	expect_equal(rename_to(world.root, "README", world.root, "ReadMe", 0), 0);
	expect(strcmp(listing(), "ReadMe|") == 0);
	expect_equal(rename_to(world.root, "readme", world.root, "README", FS_RENAME_NOREPLACE), 0);
	expect(strcmp(listing(), "README|") == 0);
	/* It is there just so. */
	expect_equal(rename_to(world.root, "README", world.root, "README", FS_RENAME_NOREPLACE), -EEXIST);
	expect_equal(rename_to(world.root, "readme", world.root, "README", FS_RENAME_NOREPLACE), -EEXIST);
	expect_equal(rename_to(world.root, "README", world.root, "README", 0), 0);
	expect_equal(rename_to(world.root, "readme", world.root, "ReadMe", FS_RENAME_EXCHANGE), 0);
	expect(strcmp(listing(), "README|") == 0);
	expect_equal(number_of("readme"), number);
	/* Over another one: that one's name is as it is given now. */
	make_file("other");
	expect_equal(rename_to(world.root, "Other", world.root, "Readme", FS_RENAME_NOREPLACE), -EEXIST);
	expect_equal(rename_to(world.root, "Other", world.root, "Readme", 0), 0);
	expect(strcmp(listing(), "Readme|") == 0);
	expect(number_of("readme") != number);
	/* Two names of one file: nothing happens, as POSIX has it. */
	struct fs_node *node = look(world.root, "readme");
	expect_equal(fs_link(node, world.root, "README", 6), -EEXIST);
	expect_equal(fs_link(node, world.root, "second", 6), 0);
	expect_equal(rename_to(world.root, "SECOND", world.root, "README", 0), 0);
	expect_equal(attributes(node).links, 2);
	expect_equal(unlink_name(world.root, "Second"), 0);
	fs_put(node);
	/* A directory, and one into itself by another spelling. */
	fs_put(make(&world, world.root, "folder", S_IFDIR | 0755));
	expect_equal(rename_to(world.root, "folder", world.root, "Folder", 0), 0);
	node = look(world.root, "FOLDER");
	expect_equal(rename_to(world.root, "folder", node, "inside", 0), -EINVAL);
	expect_equal(rename_to(world.root, "README", node, "ReadMe", 0), 0);
	expect_equal(remove_directory(world.root, "folder"), -ENOTEMPTY);
	expect_equal(rename_to(node, "README", world.root, "a", 0), 0);
	expect_equal(attributes(node).links, 2);
	fs_put(node);
	expect_equal(remove_directory(world.root, "folder"), 0);
	expect(strcmp(listing(), "a|") == 0);
	expect_equal(rename_to(world.root, "A", world.root, "A", 0), 0);
	world_check(&world);
	expect_done(machine, fs_sync(world.fs));
	world_close(&world);
	open_world(machine);
	expect(strcmp(listing(), "A|") == 0);
	world_check(&world);
	world_close(&world);
}

static void test_rename(void **state)
{
	(void)state;
	boot(rename_program, FS_CASE_INSENSITIVE, FS_NORMALIZATION_NONE);
	boot(rename_program, FS_CASE_INSENSITIVE, FS_NORMALIZATION_D);
}

/* ---- the room that a spelling takes ---- */

static void longer_program(struct machine *machine)
{
	open_world(machine);
	make_file("stra\u00dfe");
	make_file("\u00df");
	make_file("kkk");
	make_file("x");
	make_file("y");
	expect_done(machine, core_commit_forced(machine->core));
	/* Nobody has any room left. */
	expect_equal(dataset_set_limit(world.datasets, "fs", LIMIT_QUOTA, 4096, false, &machine->error), 0);
	expect_equal(make_fails(world.root, "other", S_IFREG | 0644), -EDQUOT);
	expect_equal(rename_to(world.root, "strasse", world.root, "STRASSE", 0), 0);
	expect_equal(rename_to(world.root, "strasse", world.root, "Stra\u00dfe", 0), 0);
	expect_equal(rename_to(world.root, "x", world.root, "ss", 0), 0);
	expect_equal(rename_to(world.root, "kkk", world.root, "KKK", 0), 0);
	/* One that takes more bytes may cut the directory's node in two: here a K that takes three. */
	expect_equal(rename_to(world.root, "kkk", world.root, "\u212a\u212a\u212a", 0), -EDQUOT);
	expect_equal(rename_to(world.root, "y", world.root, "\u212a\u212a\u212a", 0), -EDQUOT);
	expect_equal(rename_to(world.root, "y", world.root, "\u212a\u212a\u212a", FS_RENAME_EXCHANGE), 0);
	expect(strstr(listing(), "Stra\u00dfe|") && strstr(listing(), "ss|") && strstr(listing(), "KKK|"));
	world_check(&world);
	world_close(&world);
}

static void test_longer(void **state)
{
	(void)state;
	boot(longer_program, FS_CASE_INSENSITIVE, FS_NORMALIZATION_D);
}

/* ---- the room that keys take on the stack of a fiber ---- */

/* Pages of it that were ever used. */
static size_t stack_used(void)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)&page & ~(page - 1);
	unsigned char resident = 1;
	size_t used = 0;

	/* Below lies what the stack hasn't reached, at last a page that nobody can. */
	for (; resident & 1; at -= page, used += page)
		expect_equal(mincore((void *)at, page, &resident), 0);
	return used;
}

static void deep_program(struct machine *machine)
{
	char longest[2][256];

	for (unsigned i = 0; i < 85; i++)
		memcpy(longest[0] + 3 * i, "\ufdfa", 3);
	longest[0][255] = 0;
	memcpy(longest[1], longest[0], 256);
	memcpy(longest[1], "abc", 3);
	open_world(machine);
	make_file(longest[0]);
	expect_equal(rename_to(world.root, longest[0], world.root, longest[1], 0), 0);
	make_file(longest[0]);
	expect_equal(rename_to(world.root, longest[0], world.root, longest[1], 0), 0);
	world_check(&world);
	expect(stack_used() <= FIBER_STACK_SIZE / 4 * 3);
	world_close(&world);
}

static void test_deep(void **state)
{
	(void)state;
	boot(deep_program, FS_CASE_INSENSITIVE, FS_NORMALIZATION_KD);
}

/* ---- what somebody else has written ---- */

/* The entry of `name` is put under another cookie, and called otherwise. */
static void forge(const char *name, uint64_t cookie, const char *new_name)
{
	struct directory_entry entry;
	struct fs_node *node = look(world.root, name);
	uint64_t before, txg;

	expect_equal(directory_find(world.root, name, strlen(name), &before, &entry), 0);
	expect_equal(fs_hold(world.fs, NAMES_CELLS, &txg), 0);
	expect_equal(directory_remove(world.root, txg, before), 0);
	expect_equal(links_remove(node, txg, world.root->number, before, true), 0);
	expect_equal(directory_add(world.root, txg, cookie, new_name, strlen(new_name), node), 0);
	expect_equal(links_add(node, txg, world.root->number, cookie), 0);
	expect_equal(node_store(node, txg), 0);
	expect_equal(node_store(world.root, txg), 0);
	core_release(world.machine->core, txg);
	fs_put(node);
}

static void finds(const char *what)
{
	struct fs_check check;

	expect_equal(fs_check(world.fs, &check), 0);
	expect_equal(check.violations, 1);
	if (!strstr(check.first, what))
		fprintf(stderr, "%s\n", check.first);
	expect(strstr(check.first, what));
}

static void forged_program(struct machine *machine)
{
	struct directory_entry entry;
	uint64_t cookie;

	open_world(machine);
	make_file("one");
	make_file("two");
	expect_equal(directory_find(world.root, "one", 3, &cookie, &entry), 0);
	/* Hashed as it is written instead of what it counts as: nobody finds it. */
	forge("two", (cookie | 255) + 257, "Two");
	finds("can't be found");
	world_close(&world);
}

static void twice_program(struct machine *machine)
{
	struct directory_entry entry;
	uint64_t cookie;

	open_world(machine);
	make_file("one");
	make_file("two");
	expect_equal(directory_find(world.root, "one", 3, &cookie, &entry), 0);
	forge("two", cookie + 1, "One");
	finds("twice");
	world_close(&world);
}

static void unreadable_program(struct machine *machine)
{
	struct directory_entry entry;
	uint64_t cookie;

	open_world(machine);
	make_file("one");
	expect_equal(directory_find(world.root, "one", 3, &cookie, &entry), 0);
	forge("one", cookie, "\xff");
	finds("isn't one here");
	world_close(&world);
}

static void test_forged(void **state)
{
	(void)state;
	boot(forged_program, FS_CASE_INSENSITIVE, FS_NORMALIZATION_D);
	boot(forged_program, FS_CASE_SENSITIVE, FS_NORMALIZATION_NONE);
	boot(twice_program, FS_CASE_INSENSITIVE, FS_NORMALIZATION_D);
	boot(unreadable_program, FS_CASE_INSENSITIVE, FS_NORMALIZATION_D);
}

/* ---- versions of Unicode ---- */

static const uint8_t older[3] = { 9, 0, 0 }, newer[3] = { 250, 0, 0 };

/* As another library would have written it. */
static void record_version(const uint8_t version[3])
{
	struct fs_super super = world.fs->record;
	uint8_t raw[FS_SUPER_SIZE];
	uint64_t txg;

	memcpy(super.unicode, version, 3);
	fs_super_encode(&super, raw);
	expect_equal(fs_hold(world.fs, NAMES_CELLS, &txg), 0);
	expect_equal(object_set_bonus(world.fs->super, txg, raw, sizeof(raw)), 0);
	core_release(world.machine->core, txg);
}

static int open_with_version(const uint8_t version[3])
{
	record_version(version);
	fs_put(world.root);
	fs_close(world.fs);
	return fs_open(world.datasets, "fs", &world.fs, &world.machine->error);
}

static bool is_recorded(const uint8_t version[3])
{
	struct fs_super super;

	expect_done(world.machine, fs_peek(world.datasets, "fs", &super, &world.machine->error));
	return memcmp(super.unicode, version, 3) == 0 && memcmp(world.fs->record.unicode, version, 3) == 0;
}

/* What this library may have put into it an older one must not take for something else: `name` has put something. */
static void raises(int (*name)(void))
{
	uint8_t own[3];

	unicode_version(own);
	expect_equal(open_with_version(older), 0);
	expect_done(world.machine, fs_root(world.fs, &world.root));
	expect(is_recorded(older));
	expect_equal(name(), 0);
	expect(is_recorded(own));
}

static int make_file_named(void) { return make_fails(world.root, "made", S_IFREG | 0644); }
static int make_directory_named(void) { return make_fails(world.root, "folder", S_IFDIR | 0755); }
static int move_named(void) { return rename_to(world.root, "made", world.root, "moved", 0); }
static int respell_named(void) { return rename_to(world.root, "moved", world.root, "MOVED", 0); }
static int link_named(void)
{
	struct fs_node *node = look(world.root, "moved");
	int status = fs_link(node, world.root, "linked", 6);

	fs_put(node);
	return status;
}

static void version_program(struct machine *machine)
{
	static int (*const names[])(void) = { make_file_named, make_directory_named, move_named, respell_named, link_named };
	uint8_t own[3];

	unicode_version(own);
	expect(own[0] >= 14);
	open_world(machine);
	expect(is_recorded(own));
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		raises(names[i]);
	/* What makes no name leaves it. */
	expect_equal(open_with_version(older), 0);
	expect_done(machine, fs_root(world.fs, &world.root));
	expect_equal(rename_to(world.root, "moved", world.root, "linked", FS_RENAME_EXCHANGE), 0);
	expect_equal(unlink_name(world.root, "linked"), 0);
	expect_equal(make_file_named(), 0);
	expect_equal(make_file_named(), -EEXIST);
	world_check(&world);
	expect_equal(open_with_version(newer), -POOL_EFEATURE);
	/* Which versions these are. */
	expect(strstr(machine->error.text, "250.0.0") && strstr(machine->error.text, "knows"));
	pool_close(machine, world.datasets);
}

/* As after an upgrade of the library: nothing of a file system that is only read is written, and opening it needs no room. */
static void older_program(struct machine *machine)
{
	open_world(machine);
	make_file("file");
	record_version(older);
	world_close(&world);
}

static void read_only_program(struct machine *machine)
{
	uint64_t writes = machine->set->operations;

	open_world(machine);
	expect(number_of("FILE"));
	expect_equal(make_fails(world.root, "other", S_IFREG | 0644), -EROFS);
	expect(is_recorded(older));
	world_close(&world);
	expect_equal(machine->set->operations, writes);
}

static void newer_program(struct machine *machine)
{
	open_world(machine);
	record_version(newer);
	world_close(&world);
}

static void newer_read_program(struct machine *machine)
{
	open_world(machine);
	expect(number_of("FILE"));
	world_close(&world);
}

/* Without any room that could be written to. */
static void full_program(struct machine *machine)
{
	struct fs_node *node;
	size_t written;
	int status = 0;

	open_world(machine);
	node = make(&world, world.root, "filler", S_IFREG | 0644);
	record_version(older);
	uint8_t *data = malloc(MIB);
	struct sim_random random;
	uint64_t at = 0, txg;
	sim_random_seed(&random, 1);
	sim_random_fill(&random, data, MIB);
	/* What the last writes didn't need after all is free again with the commit. */
	for (size_t length = MIB; (status = core_hold(machine->core, ATTRIBUTE_CELLS, &txg)) == 0; length = length > 4096 ? length / 4 : 4096) {
		core_release(machine->core, txg);
		while ((status = fs_write(node, at, length, data, 0, &written)) == 0)
			at += written;
		expect_equal(status, -ENOSPC);
		expect_done(machine, core_commit_forced(machine->core));
	}
	expect_equal(status, -ENOSPC);
	free(data);
	fs_put(node);
	world_close(&world);
	open_world(machine);
	expect(number_of("FILLER"));
	expect_equal(unlink_name(world.root, "filler"), 0);
	world_check(&world);
	world_close(&world);
}

static void test_version(void **state)
{
	struct machine *machine = machine_new(2, 512 * MIB, 1, 1, 1);

	(void)state;
	boot(version_program, FS_CASE_INSENSITIVE, FS_NORMALIZATION_D);
	case_mode = FS_CASE_INSENSITIVE;
	normalization = FS_NORMALIZATION_D;
	machine_boot(machine, machine_create_program);
	machine_boot(machine, older_program);
	machine->read_only = true;
	machine_boot(machine, read_only_program);
	machine->read_only = false;
	machine_boot(machine, newer_program);
	machine->read_only = true;
	machine_boot(machine, newer_read_program);
	machine_free(machine);
	machine = machine_new(2, 64 * MIB, 1, 1, 1);
	machine_boot(machine, machine_create_program);
	machine_boot(machine, full_program);
	machine_free(machine);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pairs), cmocka_unit_test(test_refused), cmocka_unit_test(test_any), cmocka_unit_test(test_rename), cmocka_unit_test(test_forged),
		cmocka_unit_test(test_longer), cmocka_unit_test(test_deep),
		cmocka_unit_test(test_version),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
