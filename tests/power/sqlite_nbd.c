/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A VFS for SQLite, loaded as an extension, whose files lie in an NBD export: "nbd", with the export's URI in NBD_URI
 * (another one, or none, ends the connection, when no file is open any more). The export has SLOTS equal slots. A slot
 * begins with a header of one block (what file it has, and its size) and has the file's bytes after it.
 *
 * What must always hold: bytes of a file that a header counts are durable before the header is. So a sync is a flush,
 * and where the size has changed a header with FUA after it: bytes that another file left in a slot never show.
 * Programs that share files aren't provided for: no locks, no shared memory (WAL needs locking_mode=EXCLUSIVE).
 */
#include <libnbd.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sqlite3ext.h>

SQLITE_EXTENSION_INIT1

#define SLOTS 8
#define BLOCK 4096
#define MAGIC UINT64_C(0x31746f6c5344424e)
#define TRANSFER_MAX (1u << 20)

struct header {
	uint64_t magic; /* MAGIC: there is a file */
	uint64_t size;
	char name[256];
};

struct slot {
	struct header header; /* as it is for SQLite */
	bool changed;         /* not so in the export */
};

/* The one export at a time. SQLite in one thread: the lock is for those who load it elsewhere. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct nbd_handle *nbd;
static char *uri;
static uint64_t slot_bytes;
static struct slot slots[SLOTS];

struct nbd_file {
	sqlite3_file base;
	struct slot *slot;
	bool removes; /* when it is closed */
};

static uint64_t slot_at(const struct slot *slot)
{
	return (uint64_t)(slot - slots) * slot_bytes;
}

static int transfer(bool write, void *data, uint64_t length, uint64_t at, uint32_t flags)
{
	for (uint64_t done = 0; done < length;) {
		size_t part = length - done < TRANSFER_MAX ? (size_t)(length - done) : TRANSFER_MAX;
		uint8_t *piece = (uint8_t *)data + done;

		if ((write ? nbd_pwrite(nbd, piece, part, at + done, flags) : nbd_pread(nbd, piece, part, at + done, 0)) < 0) {
			fprintf(stderr, "sqlite_nbd: %s\n", nbd_get_error());
			return write ? SQLITE_IOERR_WRITE : SQLITE_IOERR_READ;
		}
		done += part;
	}
	return SQLITE_OK;
}

static int put_header(struct slot *slot, uint32_t flags)
{
	uint8_t block[BLOCK] = {0};
	int result;

	memcpy(block, &slot->header, sizeof(slot->header));
	result = transfer(true, block, BLOCK, slot_at(slot), flags);
	slot->changed = result != SQLITE_OK;
	return result;
}

static void disconnect(void)
{
	if (nbd)
		nbd_shutdown(nbd, 0);
	nbd_close(nbd);
	free(uri);
	nbd = NULL;
	uri = NULL;
}

static int connect_now(void)
{
	const char *wanted = getenv("NBD_URI");
	int64_t size;

	if (wanted && nbd && strcmp(wanted, uri) == 0)
		return SQLITE_OK;
	disconnect();
	if (!wanted || !wanted[0])
		return SQLITE_CANTOPEN;
	uri = strdup(wanted);
	nbd = nbd_create();
	if (!uri || !nbd || nbd_connect_uri(nbd, uri) < 0 || (size = nbd_get_size(nbd)) < SLOTS * 2 * BLOCK || nbd_can_fua(nbd) != 1 ||
	    nbd_can_flush(nbd) != 1) {
		fprintf(stderr, "sqlite_nbd: %s: %s\n", wanted, nbd && nbd_get_error() ? nbd_get_error() : "too small, or without flush and FUA");
		disconnect();
		return SQLITE_CANTOPEN;
	}
	slot_bytes = (uint64_t)size / SLOTS / BLOCK * BLOCK;
	for (unsigned i = 0; i < SLOTS; i++) {
		uint8_t block[BLOCK];

		if (transfer(false, block, BLOCK, slot_at(&slots[i]), 0) != SQLITE_OK) {
			disconnect();
			return SQLITE_CANTOPEN;
		}
		memcpy(&slots[i].header, block, sizeof(slots[i].header));
		slots[i].changed = false;
		if (slots[i].header.magic != MAGIC)
			slots[i].header = (struct header){0};
	}
	return SQLITE_OK;
}

/* The slot of a file, or a free one to make it in. */
static struct slot *find(const char *name, bool make)
{
	struct slot *unused = NULL;

	for (unsigned i = 0; i < SLOTS; i++) {
		if (slots[i].header.magic == MAGIC && strcmp(slots[i].header.name, name) == 0)
			return &slots[i];
		if (slots[i].header.magic != MAGIC && !unused)
			unused = &slots[i];
	}
	return make ? unused : NULL;
}

/* ---- files ---- */

static int file_read(sqlite3_file *base, void *data, int length, sqlite3_int64 at)
{
	struct slot *slot = ((struct nbd_file *)base)->slot;
	uint64_t size = slot->header.size, offset = (uint64_t)at;
	uint64_t there = offset >= size ? 0 : size - offset < (uint64_t)length ? size - offset : (uint64_t)length;
	int result = transfer(false, data, there, slot_at(slot) + BLOCK + offset, 0);

	memset((uint8_t *)data + there, 0, (size_t)((uint64_t)length - there));
	return result != SQLITE_OK ? result : there < (uint64_t)length ? SQLITE_IOERR_SHORT_READ : SQLITE_OK;
}

static int file_write(sqlite3_file *base, const void *data, int length, sqlite3_int64 at)
{
	struct slot *slot = ((struct nbd_file *)base)->slot;
	uint64_t end = (uint64_t)at + (uint64_t)length;
	int result = SQLITE_OK;

	if (end > slot_bytes - BLOCK)
		return SQLITE_FULL;
	/* A hole between is zeros. */
	for (uint64_t hole = slot->header.size; hole < (uint64_t)at && result == SQLITE_OK;) {
		static uint8_t zeros[BLOCK];
		uint64_t part = (uint64_t)at - hole < BLOCK ? (uint64_t)at - hole : BLOCK;

		result = transfer(true, zeros, part, slot_at(slot) + BLOCK + hole, 0);
		hole += part;
	}
	if (result == SQLITE_OK)
		result = transfer(true, (void *)data, (uint64_t)length, slot_at(slot) + BLOCK + (uint64_t)at, 0);
	if (result == SQLITE_OK && end > slot->header.size) {
		slot->header.size = end;
		slot->changed = true;
	}
	return result;
}

static int file_truncate(sqlite3_file *base, sqlite3_int64 size)
{
	struct slot *slot = ((struct nbd_file *)base)->slot;

	slot->changed |= slot->header.size != (uint64_t)size;
	slot->header.size = (uint64_t)size;
	return SQLITE_OK;
}

static int file_sync(sqlite3_file *base, int flags)
{
	struct slot *slot = ((struct nbd_file *)base)->slot;

	(void)flags;
	if (nbd_flush(nbd, 0) < 0) {
		fprintf(stderr, "sqlite_nbd: %s\n", nbd_get_error());
		return SQLITE_IOERR_FSYNC;
	}
	return slot->changed ? put_header(slot, LIBNBD_CMD_FLAG_FUA) : SQLITE_OK;
}

static int file_size(sqlite3_file *base, sqlite3_int64 *ret_size)
{
	*ret_size = (sqlite3_int64)((struct nbd_file *)base)->slot->header.size;
	return SQLITE_OK;
}

static int remove_file(struct slot *slot, bool durable)
{
	slot->header = (struct header){0};
	return put_header(slot, durable ? LIBNBD_CMD_FLAG_FUA : 0);
}

static int file_close(sqlite3_file *base)
{
	struct nbd_file *file = (struct nbd_file *)base;

	if (file->removes)
		return remove_file(file->slot, false);
	return file->slot->changed ? put_header(file->slot, 0) : SQLITE_OK;
}

static int file_lock(sqlite3_file *base, int level)
{
	(void)base, (void)level;
	return SQLITE_OK;
}

static int file_is_reserved(sqlite3_file *base, int *ret_reserved)
{
	(void)base;
	*ret_reserved = 0;
	return SQLITE_OK;
}

static int file_control(sqlite3_file *base, int operation, void *argument)
{
	(void)base, (void)operation, (void)argument;
	return SQLITE_NOTFOUND;
}

static int file_sector(sqlite3_file *base)
{
	(void)base;
	return BLOCK;
}

static int file_characteristics(sqlite3_file *base)
{
	(void)base;
	return 0;
}

static const sqlite3_io_methods methods = {
	.iVersion = 1, .xClose = file_close, .xRead = file_read, .xWrite = file_write, .xTruncate = file_truncate, .xSync = file_sync,
	.xFileSize = file_size, .xLock = file_lock, .xUnlock = file_lock, .xCheckReservedLock = file_is_reserved,
	.xFileControl = file_control, .xSectorSize = file_sector, .xDeviceCharacteristics = file_characteristics,
};

/* ---- the VFS; what has nothing to do with files is the default one's ---- */

static sqlite3_vfs *below;

static int vfs_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *base, int flags, int *ret_flags)
{
	struct nbd_file *file = (struct nbd_file *)base;
	int result;

	(void)vfs;
	file->base.pMethods = NULL;
	if (!name || strlen(name) >= sizeof(((struct header *)NULL)->name))
		return SQLITE_CANTOPEN; /* temporary files: temp_store=MEMORY */
	pthread_mutex_lock(&lock);
	result = connect_now();
	file->slot = result == SQLITE_OK ? find(name, flags & SQLITE_OPEN_CREATE) : NULL;
	if (file->slot && file->slot->header.magic != MAGIC) {
		file->slot->header = (struct header){.magic = MAGIC};
		strcpy(file->slot->header.name, name);
		result = put_header(file->slot, 0);
	}
	pthread_mutex_unlock(&lock);
	if (result != SQLITE_OK || !file->slot)
		return SQLITE_CANTOPEN;
	file->removes = flags & SQLITE_OPEN_DELETEONCLOSE;
	file->base.pMethods = &methods;
	if (ret_flags)
		*ret_flags = flags;
	return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int durable)
{
	struct slot *slot;
	int result;

	(void)vfs;
	pthread_mutex_lock(&lock);
	result = connect_now();
	slot = result == SQLITE_OK ? find(name, false) : NULL;
	if (slot)
		result = remove_file(slot, durable);
	else if (result == SQLITE_OK)
		result = SQLITE_IOERR_DELETE_NOENT;
	pthread_mutex_unlock(&lock);
	return result;
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret_there)
{
	int result;

	(void)vfs, (void)flags;
	pthread_mutex_lock(&lock);
	result = connect_now();
	*ret_there = result == SQLITE_OK && find(name, false);
	pthread_mutex_unlock(&lock);
	return result == SQLITE_OK ? SQLITE_OK : SQLITE_IOERR_ACCESS;
}

static int vfs_full_name(sqlite3_vfs *vfs, const char *name, int size, char *ret_name)
{
	(void)vfs;
	return snprintf(ret_name, (size_t)size, "%s", name) < size ? SQLITE_OK : SQLITE_CANTOPEN;
}

static int vfs_randomness(sqlite3_vfs *vfs, int size, char *ret_bytes)
{
	(void)vfs;
	return below->xRandomness(below, size, ret_bytes);
}

static int vfs_sleep(sqlite3_vfs *vfs, int microseconds)
{
	(void)vfs;
	return below->xSleep(below, microseconds);
}

static int vfs_time(sqlite3_vfs *vfs, double *ret_days)
{
	(void)vfs;
	return below->xCurrentTime(below, ret_days);
}

static int vfs_last_error(sqlite3_vfs *vfs, int size, char *ret_text)
{
	(void)vfs, (void)size, (void)ret_text;
	return 0;
}

static sqlite3_vfs nbd_vfs = {
	.iVersion = 1, .szOsFile = sizeof(struct nbd_file), .mxPathname = 255, .zName = "nbd", .xOpen = vfs_open, .xDelete = vfs_delete,
	.xAccess = vfs_access, .xFullPathname = vfs_full_name, .xRandomness = vfs_randomness, .xSleep = vfs_sleep, .xCurrentTime = vfs_time,
	.xGetLastError = vfs_last_error,
};

__attribute__((visibility("default"))) int sqlite3_extension_init(sqlite3 *database, char **ret_error, const sqlite3_api_routines *api);

int sqlite3_extension_init(sqlite3 *database, char **ret_error, const sqlite3_api_routines *api)
{
	(void)database, (void)ret_error;
	SQLITE_EXTENSION_INIT2(api);
	below = sqlite3_vfs_find(NULL);
	int result = sqlite3_vfs_register(&nbd_vfs, 0);
	return result == SQLITE_OK ? SQLITE_OK_LOAD_PERMANENTLY : result;
}
