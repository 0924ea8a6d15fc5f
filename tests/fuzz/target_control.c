/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control socket: what a client sends, cut into pieces, to a server over a real pool in a file. The first byte of the input
 * says how long the pieces are, and which descriptors go with the first one. Every line that comes back is an answer of JSON-RPC; a client that sends nothing more and goes
 * away leaves nothing behind that keeps the next one waiting.
 *
 * No request reaches another disk: functions that open one are replaced when this is linked.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <json-c/json.h>

#include "libpool/control/control.h"
#include "libpool/control/method.h"
#include "tests/fuzz/fuzz.h"

#define DISK_BYTES (64 << 20)
#define OUTPUT_MAX (8u << 20)
#define PATIENCE_MS 500 /* after it, a request that still runs (wait, events) is left by its client */

int __wrap_libpool_disk_replace(libpool_pool *pool, const struct libpool_replace_options *options, struct libpool_error *error);
int __wrap_libpool_disk_online(libpool_pool *pool, const char *disk, const char *path, struct libpool_error *error);
int __wrap_libpool_disk_online_check(libpool_pool *pool, const char *disk, const char *path, struct libpool_error *error);

/* The pool lives on between inputs, and what its fibers hold is out of LeakSanitizer's sight. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return 1;
}

static int refuse(struct libpool_error *error)
{
	snprintf(error->text, sizeof(error->text), "no other disk is opened here");
	return error->code = -EACCES;
}

int __wrap_libpool_disk_replace(libpool_pool *pool, const struct libpool_replace_options *options, struct libpool_error *error)
{
	fuzz_expect(pool && options->old_disk && options->new_disk);
	return refuse(error);
}

int __wrap_libpool_disk_online(libpool_pool *pool, const char *disk, const char *path, struct libpool_error *error)
{
	(void)path;
	fuzz_expect(pool && disk);
	return refuse(error);
}

int __wrap_libpool_disk_online_check(libpool_pool *pool, const char *disk, const char *path, struct libpool_error *error)
{
	return __wrap_libpool_disk_online(pool, disk, path, error);
}

static libpool_control *serve(void)
{
	struct libpool_control_options serve_options = { .size = sizeof(serve_options), .path = "" };
	struct libpool_host host = { .size = sizeof(host), .no_devices = 1, .workers = 1, .cache_bytes = 16u << 20 };
	/* In memory where that can be had: most requests are durable before they are answered. */
	char folder[64], path[96];
	const char *const disks[] = { path }, *const folders[] = { folder };
	struct libpool_create_options create = { .size = sizeof(create), .name = "tank", .profile = "single", .disks = disks, .disk_count = 1 };
	struct libpool_import_options import = { .size = sizeof(import), .name = "tank" };
	struct libpool_volume_options volume = { .size = sizeof(volume), .volume_bytes = 1 << 20 };
	struct libpool_error error = { 0 };
	libpool_control *control;
	libpool_pool *pool;

	snprintf(folder, sizeof(folder), "%s/libpool-fuzz.XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
	fuzz_expect(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/disk", folder);
	FILE *file = fopen(path, "w");
	fuzz_expect(file && ftruncate(fileno(file), DISK_BYTES) == 0);
	fclose(file);
	host.folders = folders;
	host.folder_count = 1;
	if (libpool_create(&host, &create, NULL, &error) < 0 || libpool_import(&host, &import, &pool, &error) < 0 ||
	    libpool_volume_create(pool, "v", &volume, &error) < 0 ||
	    libpool_serve_control(pool, &serve_options, &control, &error) < 0) {
		fprintf(stderr, "%s\n", error.text);
		abort();
	}
	/* It stays open, and leaves nothing behind. */
	unlink(path);
	rmdir(folder);
	return control;
}

/* ---- Descriptors ---- */

#define DESCRIPTORS_SENT_MAX 5u /* one more than a client may have in waiting */

/* A file with something in it. */
static int new_file(int flags)
{
	char path[40];
	int file = memfd_create("fuzz", MFD_CLOEXEC), again;

	fuzz_expect(file >= 0 && ftruncate(file, 70000) == 0 && pwrite(file, "content", 7, 5000) == 7);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	again = open(path, flags | O_CLOEXEC);
	fuzz_expect(again >= 0);
	close(file);
	return again;
}

/* One end of something whose other end is closed: nobody waits for it. */
static int new_end(bool is_pipe, unsigned kept)
{
	int ends[2];

	fuzz_expect((is_pipe ? pipe2(ends, O_CLOEXEC) : socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends)) == 0);
	if (kept == 0)
		fuzz_expect(write(ends[1], "content", 7) == 7);
	close(ends[1 - kept]);
	return ends[kept];
}

/* How many there are of a kind; 0: none are sent. */
static unsigned make_descriptors(unsigned kind, int ret_descriptors[DESCRIPTORS_SENT_MAX])
{
	switch (kind) {
	case 1:
		ret_descriptors[0] = new_file(O_RDWR);
		return 1;
	case 2:
		ret_descriptors[0] = new_end(true, 0);
		ret_descriptors[1] = new_end(true, 1);
		return 2;
	case 3:
		ret_descriptors[0] = new_file(O_RDONLY);
		ret_descriptors[1] = new_file(O_PATH);
		ret_descriptors[2] = new_end(false, 0);
		ret_descriptors[3] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		ret_descriptors[4] = new_end(false, 1);
		return 5;
	default:
		return 0;
	}
}

/* As send(), with descriptors if there are any left. */
static ssize_t send_piece(int socket, const uint8_t *data, size_t size, const int *descriptors, unsigned *count)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(DESCRIPTORS_SENT_MAX * sizeof(int))];
	} ancillary = { .bytes = { 0 } };
	struct iovec what = { .iov_base = (void *)(uintptr_t)data, .iov_len = size };
	struct msghdr header = { .msg_iov = &what, .msg_iovlen = 1 };

	if (*count) {
		header.msg_control = &ancillary;
		header.msg_controllen = CMSG_SPACE(*count * sizeof(int));
		ancillary.align = (struct cmsghdr){ .cmsg_len = CMSG_LEN(*count * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
		memcpy(CMSG_DATA(&ancillary.align), descriptors, *count * sizeof(int));
	}
	ssize_t sent = sendmsg(socket, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent > 0)
		*count = 0;
	return sent;
}

/* ---- The conversation ---- */

static void check_line(const char *line, size_t length)
{
	struct json_tokener *tokener = json_tokener_new();
	struct json_object *root = json_tokener_parse_ex(tokener, line, (int)length), *version;

	fuzz_expect(root && json_tokener_get_error(tokener) == json_tokener_success && json_tokener_get_parse_end(tokener) == length);
	fuzz_expect(json_object_object_get_ex(root, "jsonrpc", &version) && strcmp(json_object_get_string(version), "2.0") == 0);
	fuzz_expect(json_object_object_get_ex(root, "result", NULL) + json_object_object_get_ex(root, "error", NULL) +
			    json_object_object_get_ex(root, "method", NULL) == 1);
	json_object_put(root);
	json_tokener_free(tokener);
}

static void check_output(const char *output, size_t length)
{
	const char *end;

	for (; (end = memchr(output, '\n', length)) != NULL; output = end + 1) {
		check_line(output, (size_t)(end - output));
		length -= (size_t)(end + 1 - output);
	}
	fuzz_expect(length == 0);
}

/* What the server says until it closes the connection, or has said nothing for too long. False in the second case. */
static bool converse(int descriptor, const uint8_t *data, size_t size, size_t piece, unsigned kind, char *output, size_t *ret_length)
{
	int descriptors[DESCRIPTORS_SENT_MAX];
	unsigned made = make_descriptors(kind, descriptors), unsent = made;
	size_t length = 0;
	bool is_open = true, sending = true;

	while (is_open) {
		struct pollfd watched = { .fd = descriptor, .events = (short)(POLLIN | (sending ? POLLOUT : 0)) };
		if (poll(&watched, 1, PATIENCE_MS) == 0)
			break;
		if (sending && watched.revents & POLLOUT) {
			ssize_t sent = size ? send_piece(descriptor, data, size < piece ? size : piece, descriptors, &unsent) : 0;
			if (sent > 0) {
				data += sent;
				size -= (size_t)sent;
			}
			if (size == 0 || (sent < 0 && errno != EAGAIN)) {
				shutdown(descriptor, SHUT_WR);
				sending = false;
			}
		}
		if (watched.revents & (POLLIN | POLLHUP | POLLERR)) {
			ssize_t got = recv(descriptor, output + length, OUTPUT_MAX - length, MSG_DONTWAIT);
			is_open = got > 0 || (got < 0 && errno == EAGAIN);
			length += got > 0 ? (size_t)got : 0;
			fuzz_expect(length < OUTPUT_MAX);
		}
	}
	while (made)
		close(descriptors[--made]);
	*ret_length = length;
	return !is_open;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static libpool_control *control;
	static char output[OUTPUT_MAX];
	int ends[2];
	size_t length;

	if (size == 0)
		return -1;
	if (!control)
		control = serve();
	fuzz_expect(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
	fuzz_expect(libpool_control_attach(control, ends[0]) == 0);
	size_t piece = data[0] & 0x3F;
	bool ended = converse(ends[1], data + 1, size - 1, piece ? piece : size, data[0] >> 6, output, &length);
	close(ends[1]);
	if (ended)
		check_output(output, length);
	return 0;
}
