/*
 * Whether an open disk is still what it was when it was opened: no request fails because a file has lost its last name, and
 * a disk that is asked for nothing doesn't tell that it was pulled. The disk itself isn't asked, so that one that sleeps stays asleep.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "libpool/disk/host_private.h"

struct check_call {
	struct host_call call;
	int descriptor;
	uint64_t size;
	bool is_file, had_name;
	int result;
};

/* What can't be found out is as it was. */
static int look(int descriptor, uint64_t needed, bool is_file, bool had_name)
{
	struct stat status;
	uint64_t size = 0;

	if (is_file) {
		if (fstat(descriptor, &status) < 0)
			return errno == ESTALE ? -ENOENT : 0;
		if (had_name && status.st_nlink == 0)
			return -ENOENT;
		return (uint64_t)status.st_size < needed ? -ENXIO : 0;
	}
	if (ioctl(descriptor, BLKGETSIZE64, &size) < 0)
		return errno == ENXIO || errno == ENODEV ? -ENODEV : 0;
	return size == 0 ? -ENODEV : size < needed ? -ENXIO : 0;
}

static void check_function(struct host_call *call)
{
	struct check_call *check = container_of(call, struct check_call, call);

	check->result = look(check->descriptor, check->size, check->is_file, check->had_name);
}

static void check_discard(struct host_call *call)
{
	struct check_call *check = container_of(call, struct check_call, call);

	close(check->descriptor);
	free(check);
}

/* By a thread of its own, which may outlive the disk, and with it the number of the descriptor. */
static int look_elsewhere(struct host *host, struct host_disk *disk, uint64_t size)
{
	struct check_call *check = calloc(1, sizeof(*check));
	int result;

	if (!check)
		return -ENOMEM;
	check->call.function = check_function;
	check->call.discard = check_discard;
	check->size = size;
	check->is_file = disk->disk.info.is_file;
	check->had_name = disk->had_name;
	check->descriptor = fcntl(disk->descriptor, F_DUPFD_CLOEXEC, 0);
	if (check->descriptor < 0) {
		free(check);
		return 0;
	}
	/* If it doesn't come back it isn't sent again: requests have deadlines, and tell. */
	disk->check_stuck = true;
	result = host_call_run(host->rt, host->mailbox, &check->call);
	if (result == -EAGAIN)
		disk->check_stuck = false; /* no thread was to be had, and nothing has waited: the next time, perhaps */
	if (result < 0)
		return 0;
	result = check->result;
	check_discard(&check->call);
	list_for_each(node, &host->disks)
		if (container_of(node, struct host_disk, node) == disk)
			disk->check_stuck = false;
	return result;
}

int host_check(struct disk_provider *provider, struct disk *base, uint64_t size)
{
	struct host_disk *disk = container_of(base, struct host_disk, disk);

	if (disk->check_stuck)
		return 0;
	return disk->may_block ? look_elsewhere(container_of(provider, struct host, provider), disk, size) :
				 look(disk->descriptor, size, base->info.is_file, disk->had_name);
}
