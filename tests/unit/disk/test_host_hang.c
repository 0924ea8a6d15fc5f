/*
 * A device that doesn't answer: a FUSE file system of one file whose reads and writes are held until the test lets
 * them go, and a loop device on that file, whose requests hang in the kernel as those of a dead disk do. Needs
 * the right to mount; skipped otherwise.
 *
 * Nothing may be left behind, however the test ends: the mount is in a namespace of the test's own, the loop
 * device clears itself, and the server is a process that dies with the test, which ends what hangs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <linux/loop.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "libpool/base/buffer.h"
#include "libpool/disk/provider.h"
#include "libpool/rt/env_host.h"

#define SIZE (UINT64_C(16) << 20)

/* ---- the file system ---- */

static struct {
	int descriptor;
	pid_t process;
	uint64_t held[64];
	uint32_t held_answer[64];
} server = {.descriptor = -1};

/* Between the test and the server. */
static struct shared {
	bool holds;
	unsigned held_count;
} *shared;

#define GET(field) __atomic_load_n(&shared->field, __ATOMIC_SEQ_CST)
#define SET(field, value) __atomic_store_n(&shared->field, value, __ATOMIC_SEQ_CST)

static void reply(uint64_t unique, int error, const void *body, size_t size)
{
	static uint8_t message[sizeof(struct fuse_out_header) + (1 << 20)];
	struct fuse_out_header header = {(uint32_t)(sizeof(header) + size), error, unique};

	memcpy(message, &header, sizeof(header));
	if (body)
		memcpy(message + sizeof(header), body, size);
	else
		memset(message + sizeof(header), 0, size);
	if (write(server.descriptor, message, header.len) < 0)
		return; /* interrupted meanwhile: nobody waits */
}

static void answer_transfer(uint64_t unique, uint32_t read_size, uint32_t write_size)
{
	struct fuse_write_out written = {.size = write_size};

	if (write_size)
		reply(unique, 0, &written, sizeof(written));
	else
		reply(unique, 0, NULL, read_size);
}

static void serve_one(const uint8_t *message)
{
	const struct fuse_in_header *in = (const void *)message;
	const void *body = message + sizeof(*in);
	struct fuse_init_out init = {.major = 7, .minor = 31, .max_write = 1 << 17, .max_background = 64};
	struct fuse_attr_out attributes = {
		.attr = {.ino = 1, .size = SIZE, .blocks = SIZE / 512, .mode = S_IFREG | 0600, .nlink = 1, .blksize = 4096}};
	struct fuse_open_out opened = {.fh = 1, .open_flags = FOPEN_DIRECT_IO};

	switch (in->opcode) {
	case FUSE_INIT:
		reply(in->unique, 0, &init, sizeof(init));
		break;
	case FUSE_GETATTR:
		reply(in->unique, 0, &attributes, sizeof(attributes));
		break;
	case FUSE_OPEN:
		reply(in->unique, 0, &opened, sizeof(opened));
		break;
	case FUSE_READ:
	case FUSE_WRITE: {
		uint32_t read_size = in->opcode == FUSE_READ ? ((const struct fuse_read_in *)body)->size : 0;
		uint32_t write_size = in->opcode == FUSE_WRITE ? ((const struct fuse_write_in *)body)->size : 0;

		if (GET(holds) && shared->held_count < 64) {
			server.held_answer[shared->held_count] = read_size ? read_size : write_size | 1u << 31;
			server.held[shared->held_count] = in->unique;
			SET(held_count, shared->held_count + 1);
		} else {
			answer_transfer(in->unique, read_size, write_size);
		}
		break;
	}
	case FUSE_FLUSH:
	case FUSE_RELEASE:
	case FUSE_FSYNC:
		reply(in->unique, 0, NULL, 0);
		break;
	case FUSE_INTERRUPT:
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
		break;
	default:
		reply(in->unique, -ENOSYS, NULL, 0);
	}
}

static void answer_held(void)
{
	for (unsigned i = 0; i < shared->held_count; i++) {
		uint32_t answer = server.held_answer[i];
		bool writes = answer >> 31;

		answer_transfer(server.held[i], writes ? 0 : answer, writes ? answer & 0x7fffffff : 0);
	}
	SET(held_count, 0);
}

static void serve(void)
{
	static uint8_t message[(1 << 17) + 65536] __attribute__((aligned(8)));

	for (;;) {
		struct pollfd poll_descriptor = {.fd = server.descriptor, .events = POLLIN};

		if (!GET(holds) && shared->held_count)
			answer_held();
		if (poll(&poll_descriptor, 1, 20) > 0 && read(server.descriptor, message, sizeof(message)) > 0)
			serve_one(message);
		else if (poll_descriptor.revents & POLLERR)
			_exit(0); /* unmounted */
	}
}

static unsigned held(void)
{
	return GET(held_count);
}

/* ---- the tests ---- */

static char folder[] = "/tmp/libpool-hang-XXXXXX", hung_path[64], good_path[64];
static bool mounted;
static struct rt *rt;
static struct disk_provider *provider;
static struct disk_host_options options;
static const char *victim; /* hung_path or loop_path */
static char loop_path[64];
static int loop_descriptor = -1;
static struct disk_io ios[8];
static struct iovec iovs[8];
static struct buffer *buffers[8];
static unsigned done, released;

static void io_done(struct disk_io *io)
{
	(void)io;
	done++;
}

static void io_released(struct disk_io *io)
{
	(void)io;
	__atomic_add_fetch(&released, 1, __ATOMIC_SEQ_CST);
}

static struct disk *open_disk(const char *path)
{
	struct disk *disk = NULL;
	struct pool_error error = {0};

	if (provider->ops->open(provider, rt, path, DISK_OPEN_EXCLUSIVE, &disk, &error) < 0)
		fail_msg("%s", error.text);
	return disk;
}

static void hang_main(void *argument)
{
	struct disk *hung = open_disk(victim), *good = open_disk(good_path);
	CLEANUP_BUFFER struct buffer *buffer = buffer_new(4096);

	(void)argument;
	assert_int_equal(disk_read(hung, 0, 4096, buffer, 0), 0);
	SET(holds, true);
	for (unsigned i = 0; i < 8; i++) {
		iovs[i] = (struct iovec){buffers[i]->data, 4096};
		ios[i] = (struct disk_io){.operation = i % 2 ? DISK_WRITE : DISK_READ,
					  .offset = i * 4096,
					  .length = 4096,
					  .iov = &iovs[i],
					  .iov_count = 1,
					  .deadline_ns = i < 6 ? 100 * NS_PER_MS : 0,
					  .done = io_done,
					  .released = io_released};
		disk_submit(hung, &ios[i]);
	}
	/* A busy machine is given time: the deadlines are counted while the engine runs. */
	for (unsigned i = 0; i < 200 && (done < 6 || held() == 0); i++)
		rt_sleep(rt, 100 * NS_PER_MS);
	assert_true(held() > 0);
	assert_int_equal(done, 6);
	assert_int_equal(hung->abandoned_writes, 3);
	assert_int_equal(hung->abandoned_reads, 3);
	/* The other disk doesn't mind. */
	assert_int_equal(disk_write(good, 0, 4096, buffer, 0, true), 0);
	assert_int_equal(disk_read(good, 0, 4096, buffer, 0), 0);
	disk_close(good);
	disk_close(hung);
	assert_int_equal(done, 8);
	assert_int_equal(released, 0);
}

static void *engine(void *argument)
{
	struct pool_env *env;

	(void)argument;
	assert_int_equal(env_host_new(1, &env), 0);
	assert_int_equal(rt_new(env, &rt), 0);
	assert_int_equal(disk_host_new(rt, &options, &provider), 0);
	assert_int_equal(rt_run(rt, hang_main, NULL), 0);
	disk_host_free(provider);
	rt_free(rt);
	env_host_free(env);
	return NULL;
}

/* Even the engine's thread ends, and then the detached owner gives back what the device had. */
static void hang(void)
{
	struct timespec before, after;
	pthread_t thread;

	if (!mounted)
		skip();
	done = released = 0;
	for (unsigned i = 0; i < 8; i++)
		buffers[i] = buffer_new_zero(4096);
	clock_gettime(CLOCK_MONOTONIC, &before);
	assert_int_equal(pthread_create(&thread, NULL, engine, NULL), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	clock_gettime(CLOCK_MONOTONIC, &after);
	assert_true(after.tv_sec - before.tv_sec < 28); /* not as long as a request may take */
	usleep(200000);
	/* Only what had not reached the device may have been given back. */
	assert_true(held() > 0 && __atomic_load_n(&released, __ATOMIC_SEQ_CST) <= 8 - held());
	SET(holds, false);
	for (int i = 0; i < 10000 && __atomic_load_n(&released, __ATOMIC_SEQ_CST) < 8; i++)
		usleep(1000);
	assert_int_equal(released, 8);
	for (unsigned i = 0; i < 8; i++)
		buffer_unref(buffers[i]);
	usleep(100000); /* the descriptor is closed by a helper */
}

/* A file of FUSE, which the provider leaves to threads although there is a ring. */
static void test_hang_file(void **state)
{
	(void)state;
	options.no_uring = false;
	victim = hung_path;
	hang();
}

static void hang_loop(bool no_uring)
{
	if (loop_descriptor < 0)
		skip();
	options.no_uring = no_uring;
	victim = loop_path;
	hang();
}

static void test_hang_device_uring(void **state)
{
	(void)state;
	hang_loop(false);
}

static void test_hang_device_threads(void **state)
{
	(void)state;
	hang_loop(true);
}

static void make_file(const char *path)
{
	int descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_true(descriptor >= 0 && ftruncate(descriptor, SIZE) == 0);
	close(descriptor);
}

/* A loop device that clears itself with its last close. */
static void make_loop(void)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC), backing, number;
	struct loop_config config = {.info = {.lo_flags = LO_FLAGS_AUTOCLEAR}};

	if (control < 0)
		return;
	number = ioctl(control, LOOP_CTL_GET_FREE);
	close(control);
	snprintf(loop_path, sizeof(loop_path), "/dev/loop%d", number);
	loop_descriptor = number < 0 ? -1 : open(loop_path, O_RDWR | O_CLOEXEC);
	backing = open(hung_path, O_RDWR | O_DIRECT | O_CLOEXEC);
	config.fd = (uint32_t)backing;
	config.info.lo_flags |= LO_FLAGS_DIRECT_IO;
	if (loop_descriptor >= 0 && (backing < 0 || ioctl(loop_descriptor, LOOP_CONFIGURE, &config) < 0)) {
		close(loop_descriptor);
		loop_descriptor = -1;
	}
	if (backing >= 0)
		close(backing);
}

static bool mount_file(void)
{
	char mount_options[100];

	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return false;
	server.descriptor = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	snprintf(mount_options, sizeof(mount_options), "fd=%d,rootmode=100000,user_id=0,group_id=0", server.descriptor);
	return server.descriptor >= 0 &&
	       mount("libpool-test", hung_path, "fuse", MS_NOSUID | MS_NODEV, mount_options) == 0;
}

static int set_up(void **state)
{
	(void)state;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED || !mkdtemp(folder))
		return -1;
	snprintf(hung_path, sizeof(hung_path), "%s/hung", folder);
	snprintf(good_path, sizeof(good_path), "%s/good", folder);
	make_file(hung_path);
	make_file(good_path);
	mounted = mount_file();
	server.process = mounted ? fork() : -1;
	if (server.process == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		serve();
	}
	if (server.descriptor >= 0)
		close(server.descriptor); /* the server's alone: with it the connection ends */
	mounted = server.process > 0;
	if (mounted)
		make_loop();
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	if (loop_descriptor >= 0)
		close(loop_descriptor);
	if (mounted) {
		kill(server.process, SIGKILL);
		waitpid(server.process, NULL, 0);
		umount2(hung_path, MNT_DETACH);
	}
	unlink(hung_path);
	unlink(good_path);
	return rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_hang_file),
		cmocka_unit_test(test_hang_device_uring),
		cmocka_unit_test(test_hang_device_threads),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
