/* SPDX-License-Identifier: BSD-2-Clause */
/* Inodes, directory entries and the record of a file system: there and back, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

#include "libpool/base/error.h"
#include "libpool/format/inode.h"

static struct inode_record example(void)
{
	struct inode_record inode = { .mode = S_IFREG | 06751, .uid = 1, .gid = 2, .project = 3, .links = 4, .size = 5, .device_major = 6,
				      .device_minor = 7, .link = { 8, 9 }, .xattrs = 10, .changes = 11, .inline_length = 5 };

	for (unsigned i = 0; i < FS_TIME_COUNT; i++)
		inode.times[i] = (struct fs_time){ -(int64_t)i - 1, 999999999 - i };
	memcpy(inode.inline_data, "hello", 5);
	return inode;
}

static void inode_there_and_back(void **state)
{
	struct inode_record inode = example(), back;
	uint8_t raw[INODE_RECORD_SIZE], again[INODE_RECORD_SIZE];

	(void)state;
	inode_encode(&inode, raw);
	assert_int_equal(inode_decode(raw, sizeof(raw), &back), 0);
	inode_encode(&back, again);
	assert_memory_equal(raw, again, sizeof(raw));
	assert_int_equal(back.times[2].seconds, -3);
	/* As FORMAT.md has it. */
	assert_int_equal(raw[24], 5);
	assert_int_equal(raw[40], 8);
	assert_int_equal(raw[56], 10);
	assert_int_equal(raw[120], 5);
	assert_memory_equal(raw + 128, "hello", 6);
}

static void refused(size_t at, uint8_t value)
{
	struct inode_record inode = example();
	uint8_t raw[INODE_RECORD_SIZE];

	inode_encode(&inode, raw);
	raw[at] = value;
	assert_int_equal(inode_decode(raw, sizeof(raw), &inode), -POOL_EFORMAT);
}

static void inode_refused(void **state)
{
	struct inode_record inode = example();
	uint8_t raw[INODE_RECORD_SIZE];

	(void)state;
	inode_encode(&inode, raw);
	assert_int_equal(inode_decode(raw, sizeof(raw) - 1, &inode), -POOL_EFORMAT);
	refused(1, 0x3d);   /* no type */
	refused(2, 1);      /* more than a mode */
	refused(4, 1);      /* a flag */
	refused(24, 6);     /* not all of the content is here */
	refused(31, 0x80);  /* size */
	refused(99, 0xff);  /* nanoseconds */
	refused(121, 1);    /* longer than there is room */
	refused(122, 1);    /* reserved */
	refused(133, 1);    /* behind the content */
}

static void entries(void **state)
{
	struct directory_entry entry = { .object = UINT64_C(0x123456789abc), .type = 8, .name_length = 3, .name = "abc" }, back;
	uint8_t raw[DIRECTORY_VALUE_MAX];

	(void)state;
	size_t size = directory_entry_encode(&entry, raw);
	assert_int_equal(size, 11);
	assert_int_equal(directory_entry_decode(raw, size, &back), 0);
	assert_string_equal(back.name, "abc");
	assert_int_equal(back.object, entry.object);
	assert_int_equal(directory_entry_decode(raw, size - 1, &back), -POOL_EFORMAT);
	assert_int_equal(directory_entry_decode(raw, 7, &back), -POOL_EFORMAT);
	raw[9] = '/';
	assert_int_equal(directory_entry_decode(raw, size, &back), -POOL_EFORMAT);
	raw[9] = 0;
	assert_int_equal(directory_entry_decode(raw, size, &back), -POOL_EFORMAT);
	raw[9] = 'b';
	raw[6] = 16;
	assert_int_equal(directory_entry_decode(raw, size, &back), -POOL_EFORMAT);
	raw[6] = 8;
	memset(raw, 0, 6);
	raw[0] = 15; /* an object of the file system's own */
	assert_int_equal(directory_entry_decode(raw, size, &back), -POOL_EFORMAT);
	raw[0] = 16;
	raw[7] = 0;
	assert_int_equal(directory_entry_decode(raw, 8, &back), -POOL_EFORMAT);
	for (unsigned length = 1; length <= 3; length++) {
		struct directory_entry dots = { .object = 77, .type = 8, .name_length = (uint8_t)length, .name = "..." };
		size = directory_entry_encode(&dots, raw);
		assert_int_equal(directory_entry_decode(raw, size, &back), length <= 2 ? -POOL_EFORMAT : 0);
	}
}

static void super(void **state)
{
	struct fs_super super = { .hash_key = "0123456789abcde" }, back;
	uint8_t raw[FS_SUPER_SIZE];

	(void)state;
	fs_super_encode(&super, raw);
	assert_int_equal(fs_super_decode(raw, sizeof(raw), &back), 0);
	assert_memory_equal(back.hash_key, super.hash_key, 16);
	assert_int_equal(fs_super_decode(raw, sizeof(raw) - 1, &back), -POOL_EFORMAT);
	/* Ways to compare names, and only they, have a version of Unicode. */
	raw[18] = 15;
	assert_int_equal(fs_super_decode(raw, sizeof(raw), &back), -POOL_EFORMAT);
	raw[16] = FS_CASE_INSENSITIVE;
	raw[17] = FS_NORMALIZATION_KD;
	assert_int_equal(fs_super_decode(raw, sizeof(raw), &back), 0);
	assert_int_equal(back.case_mode, FS_CASE_INSENSITIVE);
	assert_int_equal(back.normalization, FS_NORMALIZATION_KD);
	assert_int_equal(back.unicode[0], 15);
	raw[18] = 0;
	assert_int_equal(fs_super_decode(raw, sizeof(raw), &back), -POOL_EFORMAT);
	raw[18] = 15;
	raw[17] = FS_NORMALIZATION_COUNT;
	assert_int_equal(fs_super_decode(raw, sizeof(raw), &back), -POOL_EFEATURE);
	raw[16] = FS_CASE_COUNT;
	raw[17] = 0;
	assert_int_equal(fs_super_decode(raw, sizeof(raw), &back), -POOL_EFEATURE);
	raw[16] = FS_CASE_INSENSITIVE;
	raw[21] = 1;
	assert_int_equal(fs_super_decode(raw, sizeof(raw), &back), -POOL_EFEATURE);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(inode_there_and_back), cmocka_unit_test(inode_refused), cmocka_unit_test(entries),
					    cmocka_unit_test(super) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
