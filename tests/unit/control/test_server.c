/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The server on a real pool: many threads of clients at once, requests that are cancelled, descriptors, and every way to end it. Runs
 * under ThreadSanitizer, as here threads meet.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <json-c/json.h>

#include "tests/unit/pool/support.h"

#define ROUNDS 20
#define THREADS 4

struct server {
	libpool_pool *pool;
	struct bench bench;
	libpool_control *control;
	int asked; /* eventfd: a client wants the export */
};

static void asked(void *argument)
{
	eventfd_write(((struct server *)argument)->asked, 1);
}

static atomic_uint properties_set_count;

static void properties_set(void *argument)
{
	(void)argument;
	properties_set_count++;
}

static void server_begin(struct server *server)
{
	struct libpool_control_options options = {.size = sizeof(options), .path = "", .export_asked = asked, .properties_set = properties_set,
						  .argument = server};

	bench_begin(&server->bench, 2, 64 * MIB);
	assert_int_equal(bench_create(&server->bench, "tank", "raid1", 0, 2), 0);
	assert_int_equal(bench_import(&server->bench, "tank", &server->pool), 0);
	assert_int_equal(bench_volume(&server->bench, server->pool, "data", 4 * MIB, 0), 0);
	server->asked = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(libpool_serve_control(server->pool, &options, &server->control, &server->bench.error), 0);
}

static void server_end(struct server *server)
{
	if (server->control)
		assert_int_equal(libpool_control_close(server->control, &server->bench.error), 0);
	close(server->asked);
	bench_end(&server->bench);
}

/* ---- a client ---- */

static int client_begin(struct server *server)
{
	int ends[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
	assert_int_equal(libpool_control_attach(server->control, ends[1]), 0);
	return ends[0];
}

static void client_send(int client, const char *line, int descriptor)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} ancillary = {.bytes = {0}};
	struct iovec what = {.iov_base = (void *)(uintptr_t)line, .iov_len = strlen(line)};
	struct msghdr header = {.msg_iov = &what, .msg_iovlen = 1};

	if (descriptor >= 0) {
		header.msg_control = &ancillary;
		header.msg_controllen = sizeof(ancillary);
		ancillary.align = (struct cmsghdr){.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(&ancillary.align), &descriptor, sizeof(int));
	}
	assert_int_equal(sendmsg(client, &header, MSG_NOSIGNAL), (ssize_t)what.iov_len);
}

/* One line, byte by byte; false at the end of the connection. */
static bool client_line(int client, char *line, size_t room)
{
	size_t length = 0;
	char byte;

	while (recv(client, &byte, 1, 0) == 1) {
		if (byte == '\n') {
			line[length] = 0;
			return true;
		}
		if (length + 1 < room)
			line[length++] = byte;
	}
	return false;
}

static void expect(int client, const char *part)
{
	char line[16384];

	assert_true(client_line(client, line, sizeof(line)));
	if (!strstr(line, part))
		fail_msg("'%s' is not in: %s", part, line);
}

#define REQUEST(id, method, more) "{\"jsonrpc\":\"2.0\",\"id\":" #id ",\"method\":\"" method "\"" more "}\n"

/* The server's clock, as its other files see it: it jumps when a test says so. */
static _Atomic uint64_t later_ns;
uint64_t __real_control_now_ns(void);
uint64_t __wrap_control_now_ns(void);

uint64_t __wrap_control_now_ns(void)
{
	return __real_control_now_ns() + atomic_load(&later_ns);
}

/* ---- tests ---- */

struct worker {
	struct server *server;
	pthread_t thread;
	unsigned number;
	bool failed;
};

/* Not cmocka's assertions: those belong to the main thread. */
static bool ask(int client, const char *line, const char *part)
{
	char answer[16384];

	if (send(client, line, strlen(line), MSG_NOSIGNAL) != (ssize_t)strlen(line) || !client_line(client, answer, sizeof(answer)))
		return false;
	return strstr(answer, part) != NULL;
}

static void *work(void *argument)
{
	struct worker *worker = argument;
	char create[160], destroy[160];

	snprintf(create, sizeof(create), "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"volume.create\",\"params\":{\"volume\":\"v%u\",\"volume_bytes\":65536}}\n",
		 worker->number);
	snprintf(destroy, sizeof(destroy), "{\"jsonrpc\":\"2.0\",\"id\":2,\"method\":\"volume.destroy\",\"params\":{\"volume\":\"v%u\"}}\n", worker->number);
	for (unsigned round = 0; round < ROUNDS && !worker->failed; round++) {
		int ends[2];

		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0 || libpool_control_attach(worker->server->control, ends[1]) < 0)
			worker->failed = true;
		else if (!ask(ends[0], create, "\"result\"") || !ask(ends[0], REQUEST(3, "status", ""), "healthy") ||
			 !ask(ends[0], destroy, "\"result\"") || !ask(ends[0], REQUEST(4, "events", ",\"params\":{\"after\":1}"), "\"events\""))
			worker->failed = true;
		/* With something still to be answered. */
		(void)send(ends[0], REQUEST(5, "status", "") REQUEST(6, "wait", ""), 40, MSG_NOSIGNAL);
		close(ends[0]);
	}
	return NULL;
}

static void many_at_once(void **state)
{
	struct worker workers[THREADS];
	struct server server;

	(void)state;
	server_begin(&server);
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){.server = &server, .number = i};
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(workers[i].thread, NULL);
		assert_false(workers[i].failed);
	}
	server_end(&server);
}

static void descriptors(void **state)
{
	struct server server;
	int client, pipes[2];
	char bytes[5];

	(void)state;
	server_begin(&server);
	client = client_begin(&server);
	assert_int_equal(pipe(pipes), 0);
	client_send(client, REQUEST(1, "volume.write", ",\"descriptors\":1,\"progress\":true,\"params\":{\"volume\":\"data\",\"file\":\"pipe\"}"), pipes[0]);
	close(pipes[0]);
	assert_int_equal(write(pipes[1], "hello", 5), 5);
	close(pipes[1]);
	expect(client, "\"done_bytes\":5");
	expect(client, "\"bytes\":5");
	assert_int_equal(pipe(pipes), 0);
	client_send(client, REQUEST(2, "volume.read", ",\"descriptors\":1,\"params\":{\"volume\":\"data\",\"length\":5}"), pipes[1]);
	close(pipes[1]);
	expect(client, "\"bytes\":5");
	assert_int_equal(read(pipes[0], bytes, 5), 5);
	assert_memory_equal(bytes, "hello", 5);
	assert_int_equal(read(pipes[0], bytes, 5), 0);
	/* The end that the client itself couldn't use. */
	client_send(client, REQUEST(3, "volume.read", ",\"descriptors\":1,\"params\":{\"volume\":\"data\"}"), pipes[0]);
	expect(client, "not open for writing");
	close(pipes[0]);
	close(client);
	server_end(&server);
}

static void cancelling(void **state)
{
	struct server server;
	int client, pipes[2];

	(void)state;
	server_begin(&server);
	client = client_begin(&server);
	assert_int_equal(pipe(pipes), 0);
	client_send(client, REQUEST(1, "volume.write", ",\"descriptors\":1,\"params\":{\"volume\":\"data\"}"), pipes[0]);
	client_send(client, REQUEST(2, "hello", ""), -1);
	expect(client, "\"id\":2");
	client_send(client, "{\"jsonrpc\":\"2.0\",\"method\":\"cancel\",\"params\":{\"id\":1}}\n", -1);
	expect(client, "was interrupted after 0 bytes");
	/* An end that comes while a request waits. */
	client_send(client, REQUEST(3, "volume.write", ",\"descriptors\":1,\"params\":{\"volume\":\"data\"}"), pipes[0]);
	client_send(client, REQUEST(4, "hello", ""), -1);
	expect(client, "\"id\":4");
	libpool_control_stop(server.control);
	expect(client, "was interrupted after 0 bytes");
	assert_false(client_line(client, (char[16]){0}, 16));
	server.control = NULL;
	assert_int_equal(libpool_close(server.pool, NULL), 0);
	close(client);
	close(pipes[0]);
	close(pipes[1]);
	server_end(&server);
}

/* An answer that takes its time is no client that doesn't read; one that reads nothing for long is given up. */
static void slow_answers(void **state)
{
	static const char flood[] = REQUEST(7, "status", "");
	struct server server;
	int client, deaf, pipes[2];
	struct pollfd ended = {.events = 0};

	(void)state;
	server_begin(&server);
	client = client_begin(&server);
	deaf = ended.fd = client_begin(&server);
	assert_int_equal(pipe(pipes), 0);
	client_send(client, REQUEST(1, "volume.write", ",\"descriptors\":1,\"params\":{\"volume\":\"data\"}"), pipes[0]);
	client_send(client, REQUEST(2, "hello", ""), -1);
	expect(client, "\"id\":2");
	atomic_fetch_add(&later_ns, UINT64_C(3600) * 1000000000);
	close(pipes[1]);
	expect(client, "\"bytes\":0");
	client_send(client, REQUEST(3, "hello", ""), -1);
	expect(client, "\"id\":3");
	close(pipes[0]);

	/* As much as the sockets take, and the server is willing to keep. */
	while (send(deaf, flood, sizeof(flood) - 1, MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
		continue;
	assert_int_equal(errno, EAGAIN);
	while (poll(&ended, 1, 0) == 0) {
		atomic_fetch_add(&later_ns, UINT64_C(3600) * 1000000000);
		client_send(client, REQUEST(4, "hello", ""), -1);
		expect(client, "\"id\":4");
	}
	assert_true(ended.revents & POLLHUP);
	close(deaf);
	close(client);
	server_end(&server);
}

static void exporting(void **state)
{
	struct libpool_open_options options = {.size = sizeof(options), .user = "a test"};
	struct server server;
	libpool_volume *volume;
	eventfd_t count;
	int client, other;

	(void)state;
	server_begin(&server);
	client = client_begin(&server);
	other = client_begin(&server);
	assert_int_equal(libpool_volume_open(server.pool, "data", &options, &volume, NULL), 0);
	client_send(client, REQUEST(1, "export", ""), -1);
	expect(client, "a test");
	assert_int_equal(libpool_volume_close(volume), 0);
	client_send(client, REQUEST(2, "export", ",\"params\":{\"force\":false}"), -1);
	assert_int_equal(eventfd_read(server.asked, &count), 0);
	assert_int_equal(libpool_control_close(server.control, &server.bench.error), 0);
	server.control = NULL;
	expect(client, "\"clean\":true");
	assert_false(client_line(client, (char[16]){0}, 16));
	assert_false(client_line(other, (char[16]){0}, 16));
	close(client);
	close(other);
	server_end(&server);
}

/* A verification reads everything; who waits for the pool doesn't wait for that. */
static void verifying(void **state)
{
	struct server server;
	int client;

	(void)state;
	server_begin(&server);
	client = client_begin(&server);
	client_send(client, REQUEST(1, "debug.verify", ""), -1);
	expect(client, "\"violations\":0");
	client_send(client, REQUEST(2, "debug.verify", "") "{\"jsonrpc\":\"2.0\",\"method\":\"cancel\",\"params\":{\"id\":2}}\n", -1);
	expect(client, "\"id\":2");
	close(client);
	server_end(&server);
}

static void sockets(void **state)
{
	struct libpool_control_options options = {.size = sizeof(options)};
	libpool_control *second;
	struct server server;
	char path[160];
	struct stat status;

	(void)state;
	server_begin(&server);
	snprintf(path, sizeof(path), "%s/socket", server.bench.folder);
	options.path = path;
	assert_int_equal(libpool_serve_control(server.pool, &options, &second, &server.bench.error), 0);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0600);
	assert_int_equal(libpool_serve_control(server.pool, &options, &second, &server.bench.error), -EADDRINUSE);
	libpool_control_stop(second);
	assert_int_equal(access(path, F_OK), -1);
	/* Somebody else's by now: left alone. */
	assert_int_equal(libpool_serve_control(server.pool, &options, &second, &server.bench.error), 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkdir(path, 0700), 0);
	libpool_control_stop(second);
	assert_int_equal(rmdir(path), 0);
	/* Of a newer library. */
	struct {
		struct libpool_control_options options;
		uint64_t more;
	} newer = {.options = {.size = sizeof(newer), .path = path}, .more = 1};

	assert_int_equal(libpool_serve_control(server.pool, &newer.options, &second, &server.bench.error), -E2BIG);
	newer.more = 0;
	assert_int_equal(libpool_serve_control(server.pool, &newer.options, &second, NULL), 0);
	libpool_control_stop(second);
	libpool_control_stop(NULL);
	assert_int_equal(libpool_serve_control(NULL, NULL, &second, &server.bench.error), -EINVAL);
	server_end(&server);
}

/* The host hears of properties before the client does; not of what isn't done. */
static void properties(void **state)
{
	struct server server;
	int client;

	(void)state;
	server_begin(&server);
	client = client_begin(&server);
	client_send(client, REQUEST(1, "set", ",\"params\":{\"settings\":[\"acl=off\"],\"dry_run\":true}"), -1);
	expect(client, "\"result\"");
	assert_int_equal(properties_set_count, 0);
	client_send(client, REQUEST(2, "set", ",\"params\":{\"settings\":[\"acl=off\"]}"), -1);
	expect(client, "\"result\"");
	assert_int_equal(properties_set_count, 1);
	client_send(client, REQUEST(3, "inherit", ",\"params\":{\"properties\":[\"acl\"]}"), -1);
	expect(client, "\"result\"");
	assert_int_equal(properties_set_count, 2);
	client_send(client, REQUEST(4, "get", ",\"params\":{\"properties\":[\"acl\"]}"), -1);
	expect(client, "\"posix\"");
	assert_int_equal(properties_set_count, 2);
	close(client);
	server_end(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(many_at_once), cmocka_unit_test(descriptors), cmocka_unit_test(cancelling),
		cmocka_unit_test(exporting),	cmocka_unit_test(verifying),   cmocka_unit_test(sockets),
		cmocka_unit_test(slow_answers), cmocka_unit_test(properties),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
