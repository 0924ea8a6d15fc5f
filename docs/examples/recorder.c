/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A daemon on libpool: records what comes in on its standard input in a volume, from the volume's beginning on.
 *
 *     recorder POOL VOLUME [FOLDER]      FOLDER: where to look for disks that are files
 *
 * One thread, one loop: input, completions and signals are descriptors for poll. What has been written is made durable
 * whenever the input pauses, which it says; SIGTERM and SIGINT end it. Meanwhile poolctl works on the pool as ever.
 *
 *     cc recorder.c -o recorder $(pkg-config --cflags --libs libpool)
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <libpool.h>

#define CHUNK 65536
#define CHUNKS 16       /* under way at a time */
#define FLUSH CHUNKS    /* the cookie of a flush; that of a write is the number of its chunk */

struct recorder {
	libpool_pool *pool;
	libpool_volume *volume;
	libpool_queue *queue;
	libpool_control *control;
	uint64_t offset, flushed, volume_bytes;
	char chunks[CHUNKS][CHUNK];
	int free[CHUNKS], free_count;
	int dirty, flushing, eof, failed;
};

static void fail(struct recorder *recorder, const char *what, int code, const char *text)
{
	fprintf(stderr, "recorder: %s: %s\n", what, text ? text : libpool_strerror(code));
	recorder->failed = 1;
}

static void submit(struct recorder *recorder, uint32_t operation, uint64_t length, void *buffer, uint64_t cookie)
{
	struct libpool_request request = LIBPOOL_INIT(libpool_request);
	int result;

	request.volume = recorder->volume;
	request.operation = operation;
	request.offset = length ? recorder->offset : 0;
	request.length = length;
	request.buffer = buffer;
	request.cookie = cookie;
	result = libpool_queue_submit(recorder->queue, &request, 1);
	if (result < 0)
		fail(recorder, "submit", result, NULL);
}

static void read_input(struct recorder *recorder)
{
	uint64_t room = recorder->volume_bytes - recorder->offset;
	int chunk = recorder->free[recorder->free_count - 1];
	ssize_t length = read(STDIN_FILENO, recorder->chunks[chunk], room < CHUNK ? room : CHUNK);

	if (length <= 0) {
		recorder->eof = length == 0 || errno != EINTR;
		return;
	}
	recorder->free_count--;
	recorder->dirty = 1;
	submit(recorder, LIBPOOL_WRITE, (uint64_t)length, recorder->chunks[chunk], (uint64_t)chunk);
	recorder->offset += (uint64_t)length;
}

static void reap(struct recorder *recorder)
{
	struct libpool_completion done[CHUNKS + 1];
	int count = libpool_queue_reap(recorder->queue, done, CHUNKS + 1, 0);

	for (int i = 0; i < count; i++) {
		if (done[i].result < 0)
			fail(recorder, done[i].cookie == FLUSH ? "flush" : "write", done[i].result, NULL);
		if (done[i].cookie != FLUSH) {
			recorder->free[recorder->free_count++] = (int)done[i].cookie;
			continue;
		}
		recorder->flushing = 0;
		if (done[i].result == 0)
			printf("%llu bytes are safe\n", (unsigned long long)recorder->flushed);
		fflush(stdout);
	}
}

static void run(struct recorder *recorder, int signals)
{
	struct pollfd polled[3] = {
		{.fd = libpool_queue_descriptor(recorder->queue), .events = POLLIN},
		{.fd = signals, .events = POLLIN},
		{.events = POLLIN},
	};
	int stopping = 0;

	for (;;) {
		int reads = !stopping && !recorder->eof && recorder->free_count && recorder->offset < recorder->volume_bytes;
		int quiet = recorder->free_count == CHUNKS && !recorder->flushing;

		if (recorder->failed || (stopping && quiet && !recorder->dirty))
			return;
		polled[2].fd = reads ? STDIN_FILENO : -1;
		/* A flush covers what has completed before it: it waits for all writes, and for a pause of the input. */
		if (poll(polled, 3, quiet && recorder->dirty ? 0 : -1) == 0) {
			recorder->dirty = 0;
			recorder->flushing = 1;
			recorder->flushed = recorder->offset;
			submit(recorder, LIBPOOL_FLUSH, 0, NULL, FLUSH);
			continue;
		}
		stopping |= polled[1].revents != 0;
		if (polled[0].revents)
			reap(recorder);
		if (reads && polled[2].revents && recorder->free_count)
			read_input(recorder);
		if (stopping)
			polled[1].fd = -1;
	}
}

/* From another thread: the loop ends as with a signal. */
static void export_asked(void *argument)
{
	(void)argument;
	kill(getpid(), SIGTERM);
}

static int start(struct recorder *recorder, char **arguments, struct libpool_error *error)
{
	struct libpool_host host = LIBPOOL_INIT(libpool_host);
	struct libpool_import_options import = LIBPOOL_INIT(libpool_import_options);
	struct libpool_open_options open = LIBPOOL_INIT(libpool_open_options);
	struct libpool_control_options control = LIBPOOL_INIT(libpool_control_options);
	struct libpool_volume_info info = LIBPOOL_INIT(libpool_volume_info);
	const char *folder = arguments[2];
	int result;

	host.folders = &folder;
	host.folder_count = folder != NULL;
	host.no_devices = folder != NULL;
	import.name = arguments[0];
	open.exclusive = 1;
	control.export_asked = export_asked;
	result = libpool_import(&host, &import, &recorder->pool, error);
	if (result == 0)
		result = libpool_volume_open(recorder->pool, arguments[1], &open, &recorder->volume, error);
	if (result == 0)
		result = libpool_queue_open(recorder->pool, NULL, &recorder->queue, error);
	if (result == 0)
		result = libpool_serve_control(recorder->pool, &control, &recorder->control, error);
	if (result == 0)
		libpool_volume_get_info(recorder->volume, &info);
	recorder->volume_bytes = info.volume_bytes;
	while (recorder->free_count < CHUNKS) {
		recorder->free[recorder->free_count] = recorder->free_count;
		recorder->free_count++;
	}
	return result;
}

int main(int count, char **arguments)
{
	static struct recorder recorder;
	struct libpool_error error = {0, ""};
	sigset_t set;

	if (count < 3 || count > 4) {
		fprintf(stderr, "usage: %s POOL VOLUME [FOLDER]\n", arguments[0]);
		return 2;
	}
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (start(&recorder, arguments + 1, &error) < 0) {
		fail(&recorder, arguments[1], error.code, error.text);
	} else {
		run(&recorder, signalfd(-1, &set, SFD_CLOEXEC));
	}
	libpool_queue_close(recorder.queue);
	libpool_volume_close(recorder.volume);
	if (recorder.pool && (recorder.control ? libpool_control_close(recorder.control, &error) : libpool_close(recorder.pool, &error)) < 0)
		fail(&recorder, "close", error.code, error.text);
	return recorder.failed;
}
