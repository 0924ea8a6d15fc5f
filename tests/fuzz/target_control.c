/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control socket: what a client sends, cut into pieces, to a server over a real pool in a file. The first byte of the input
 * says how long the pieces are. Every line that comes back is an answer of JSON-RPC; a client that sends nothing more and goes
 * away leaves nothing behind that keeps the next one waiting.
 *
 * No request reaches another disk: functions that open one are replaced when this is linked.
 */
#include <errno.h>
#include <poll.h>
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
	char folder[64] = "/tmp/libpool-fuzz.XXXXXX", path[96];
	const char *const disks[] = { path }, *const folders[] = { folder };
	struct libpool_create_options create = { .size = sizeof(create), .name = "tank", .profile = "single", .disks = disks, .disk_count = 1 };
	struct libpool_import_options import = { .size = sizeof(import), .name = "tank" };
	struct libpool_volume_options volume = { .size = sizeof(volume), .volume_bytes = 1 << 20 };
	struct libpool_error error = { 0 };
	libpool_control *control;
	libpool_pool *pool;

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
static bool converse(int descriptor, const uint8_t *data, size_t size, size_t piece, char *output, size_t *ret_length)
{
	size_t length = 0;
	bool open = true, sending = true;

	while (open) {
		struct pollfd watched = { .fd = descriptor, .events = (short)(POLLIN | (sending ? POLLOUT : 0)) };
		if (poll(&watched, 1, PATIENCE_MS) == 0)
			break;
		if (sending && watched.revents & POLLOUT) {
			ssize_t sent = size ? send(descriptor, data, size < piece ? size : piece, MSG_NOSIGNAL | MSG_DONTWAIT) : 0;
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
			open = got > 0 || (got < 0 && errno == EAGAIN);
			length += got > 0 ? (size_t)got : 0;
			fuzz_expect(length < OUTPUT_MAX);
		}
	}
	*ret_length = length;
	return !open;
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
	bool ended = converse(ends[1], data + 1, size - 1, data[0] ? data[0] : size, output, &length);
	close(ends[1]);
	if (ended)
		check_output(output, length);
	return 0;
}
