/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A daemon on libpool: records its standard input in a volume, from the volume's beginning on. What has been written is made
 * durable whenever the input pauses, and said to be; SIGTERM ends it. Meanwhile poolctl works on the pool as ever.
 *
 *     cc recorder.c -o recorder $(pkg-config --cflags --libs libpool)
 *     recorder POOL VOLUME [FOLDER]      FOLDER: where to look for disks that are files
 */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <libpool.h>

static libpool_pool *pool;
static libpool_volume *volume;
static libpool_queue *queue;
static libpool_control *control;
static uint64_t volume_bytes, written, safe;
static char chunk[1 << 20];
static int busy, ending, failed; /* busy: one request is under way */

static void check(const char *what, int result, const char *text)
{
	if (result >= 0)
		return;
	fprintf(stderr, "recorder: %s: %s\n", what, text ? text : libpool_strerror(result));
	failed = 1;
}

static void submit(uint32_t operation, uint64_t length)
{
	struct libpool_request request = LIBPOOL_INIT(libpool_request);

	request.volume = volume;
	request.operation = operation;
	request.offset = length ? written : 0;
	request.length = length;
	request.buffer = length ? chunk : NULL;
	request.cookie = written + length; /* what will be there when it has completed */
	check("submit", libpool_queue_submit(queue, &request, 1), NULL);
	busy = 1;
}

static void read_input(void)
{
	uint64_t room = volume_bytes - written;
	ssize_t length = read(STDIN_FILENO, chunk, room < sizeof(chunk) ? room : sizeof(chunk));

	if (length > 0)
		submit(LIBPOOL_WRITE, (uint64_t)length);
	else
		ending = 1;
}

static void complete(void)
{
	struct libpool_completion done;

	if (libpool_queue_reap(queue, &done, 1, 0) < 1)
		return;
	busy = 0;
	check("record", done.result, NULL);
	if (failed || done.cookie > written) {
		written = done.cookie;
		return;
	}
	safe = done.cookie;
	printf("%llu bytes are safe\n", (unsigned long long)safe);
	fflush(stdout);
}

static void run(int signals)
{
	while (!failed && !(ending && !busy && safe == written)) {
		int reads = !ending && !busy && written < volume_bytes;
		struct pollfd polled[] = {{.fd = libpool_queue_descriptor(queue), .events = POLLIN},
					  {.fd = ending ? -1 : signals, .events = POLLIN},
					  {.fd = reads ? STDIN_FILENO : -1, .events = POLLIN}};

		/* A flush covers what has completed before it. */
		if (poll(polled, 3, !busy && safe < written ? 0 : -1) == 0)
			submit(LIBPOOL_FLUSH, 0);
		if (polled[0].revents)
			complete();
		ending |= polled[1].revents != 0;
		if (polled[2].revents && !ending)
			read_input();
	}
}

/* A client wants the export; from another thread. */
static void export_asked(void *argument)
{
	(void)argument;
	kill(getpid(), SIGTERM);
}

int main(int count, char **arguments)
{
	struct libpool_host host = LIBPOOL_INIT(libpool_host);
	struct libpool_import_options import = LIBPOOL_INIT(libpool_import_options);
	struct libpool_control_options control_options = LIBPOOL_INIT(libpool_control_options);
	struct libpool_volume_info info = LIBPOOL_INIT(libpool_volume_info);
	struct libpool_error error = {0, ""};
	const char *folder = count > 3 ? arguments[3] : NULL;
	sigset_t set;

	if (count < 3 || count > 4)
		return fprintf(stderr, "usage: %s POOL VOLUME [FOLDER]\n", arguments[0]), 2;
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	host.folders = &folder;
	host.folder_count = host.no_devices = folder != NULL;
	import.name = arguments[1];
	control_options.export_asked = export_asked;
	if (libpool_import(&host, &import, &pool, &error) < 0 || libpool_volume_open(pool, arguments[2], NULL, &volume, &error) < 0 ||
	    libpool_queue_open(pool, NULL, &queue, &error) < 0 || libpool_serve_control(pool, &control_options, &control, &error) < 0) {
		check(arguments[1], error.code, error.text);
	} else {
		check("size", libpool_volume_get_info(volume, &info), NULL);
		volume_bytes = info.volume_bytes;
		run(signalfd(-1, &set, SFD_CLOEXEC));
	}
	libpool_queue_close(queue);
	libpool_volume_close(volume);
	check("close", control ? libpool_control_close(control, &error) : libpool_close(pool, &error), error.text);
	return failed;
}
