/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Keys and values of the trees of the MOS: datasets, batch map, jobs, history, damage; and what file systems consist of:
 * inodes, directories, further links, their own record. The first byte of the input says which, the second the length of the
 * key; key and value follow.
 */
#include "libpool/base/error.h"
#include "libpool/format/dataset_record.h"
#include "libpool/format/inode.h"
#include "libpool/pool/records.h"
#include "scrub/job.h"
#include "tests/fuzz/fuzz.h"

static void check_dataset(const uint8_t *key, size_t key_size, const uint8_t *value, size_t size)
{
	uint8_t again[DATASET_RECORD_SIZE];
	struct dataset_record record;

	(void)key;
	(void)key_size;
	if (dataset_record_decode(value, size, &record) < 0)
		return;
	dataset_record_encode(&record, again);
	fuzz_expect(size == sizeof(again) && memcmp(value, again, sizeof(again)) == 0);
}

static void check_batch(const uint8_t *key, size_t key_size, const uint8_t *value, size_t size)
{
	uint8_t key_again[BATCH_MAP_KEY_SIZE], again[BATCH_MAP_VALUE_SIZE];
	struct batch_map_entry entry;

	if (batch_map_decode(key, key_size, value, size, &entry) < 0)
		return;
	batch_map_encode(&entry, key_again, again);
	fuzz_expect(key_size == sizeof(key_again) && memcmp(key, key_again, key_size) == 0);
	fuzz_expect(size == sizeof(again) && memcmp(value, again, size) == 0);
}

static void check_moved(const uint8_t *key, size_t key_size, const uint8_t *value, size_t size)
{
	uint8_t key_again[MOVED_KEY_SIZE], again[MOVED_VALUE_SIZE];
	struct moved_entry entry;

	if (moved_decode(key, key_size, value, size, &entry) < 0)
		return;
	moved_encode(&entry, key_again, again);
	fuzz_expect(key_size == sizeof(key_again) && memcmp(key, key_again, key_size) == 0);
	fuzz_expect(size == sizeof(again) && memcmp(value, again, size) == 0);
}

static void check_job(const uint8_t *key, size_t key_size, const uint8_t *value, size_t size)
{
	uint8_t key_again[JOB_KEY_SIZE], again[JOB_RECORD_SIZE];
	struct job job;

	if (job_decode(key, key_size, value, size, &job) < 0)
		return;
	job_key_encode(job.id, key_again);
	job_encode(&job, again);
	fuzz_expect(key_size == sizeof(key_again) && memcmp(key, key_again, key_size) == 0);
	fuzz_expect(size == sizeof(again) && memcmp(value, again, size) == 0);
}

static void check_history(const uint8_t *key, size_t key_size, const uint8_t *value, size_t size)
{
	uint8_t again[HISTORY_SIZE_MAX];
	struct history_record record;
	struct libpool_event event;

	(void)history_key_decode(key, key_size);
	if (history_decode(value, size, &record) < 0)
		return;
	fuzz_expect(strnlen(record.text, sizeof(record.text)) <= record.text_length && record.text[record.text_length] == 0);
	fuzz_expect(history_encode(&record, again) == size && memcmp(value, again, size) == 0);
	history_to_event(&record, 1, &event);
	history_from_event(&event, &record);
}

static void check_damage(const uint8_t *key, size_t key_size, const uint8_t *value, size_t size)
{
	uint8_t key_again[DAMAGE_KEY_SIZE], again[DAMAGE_VALUE_SIZE];
	struct damage_record record;

	if (damage_decode(key, key_size, value, size, &record) < 0)
		return;
	damage_encode(&record, key_again, again);
	fuzz_expect(key_size == sizeof(key_again) && memcmp(key, key_again, key_size) == 0);
	fuzz_expect(size == sizeof(again) && memcmp(value, again, size) == 0);
}

static void check_inode(const uint8_t *key, size_t key_size, const uint8_t *value, size_t size)
{
	uint8_t again[INODE_RECORD_SIZE];
	struct inode_record inode;

	(void)key;
	(void)key_size;
	if (inode_decode(value, size, &inode) < 0)
		return;
	inode_encode(&inode, again);
	fuzz_expect(size == sizeof(again) && memcmp(value, again, size) == 0);
}

static void check_directory(const uint8_t *key, size_t key_size, const uint8_t *value, size_t size)
{
	uint8_t key_again[DIRECTORY_KEY_SIZE], again[DIRECTORY_VALUE_MAX];
	struct directory_entry entry;
	uint64_t cookie;

	if (number_key_decode(key, key_size, &cookie) == 0) {
		number_key_encode(cookie, key_again);
		fuzz_expect(key_size == sizeof(key_again) && memcmp(key, key_again, key_size) == 0);
	}
	if (directory_entry_decode(value, size, &entry) < 0)
		return;
	fuzz_expect(strlen(entry.name) == entry.name_length && !strchr(entry.name, '/') && strcmp(entry.name, ".") && strcmp(entry.name, ".."));
	fuzz_expect(directory_entry_encode(&entry, again) == size && memcmp(value, again, size) == 0);
}

static void check_link(const uint8_t *key, size_t key_size, const uint8_t *value, size_t size)
{
	uint8_t again[INODE_LINK_KEY_SIZE];
	struct inode_link link;
	uint64_t inode;

	(void)value;
	(void)size;
	if (inode_link_decode(key, key_size, &inode, &link) < 0)
		return;
	inode_link_encode(inode, &link, again);
	fuzz_expect(key_size == sizeof(again) && memcmp(key, again, key_size) == 0);
}

static void check_super(const uint8_t *key, size_t key_size, const uint8_t *value, size_t size)
{
	uint8_t again[FS_SUPER_SIZE];
	struct fs_super super;

	(void)key;
	(void)key_size;
	if (fs_super_decode(value, size, &super) < 0)
		return;
	fs_super_encode(&super, again);
	fuzz_expect(size == sizeof(again) && memcmp(value, again, size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const checks[])(const uint8_t *key, size_t key_size, const uint8_t *value, size_t size) = {
		check_dataset, check_batch, check_job, check_history, check_damage, check_inode, check_directory, check_link, check_super, check_moved
	};

	if (size < 2 || size - 2 < data[1])
		return -1;
	size_t key_size = data[1], value_size = size - 2 - key_size;
	uint8_t *key = fuzz_copy(data + 2, key_size, key_size);
	uint8_t *value = fuzz_copy(data + 2 + key_size, value_size, value_size);
	checks[data[0] % (sizeof(checks) / sizeof(checks[0]))](key, key_size, value, value_size);
	free(key);
	free(value);
	return 0;
}
