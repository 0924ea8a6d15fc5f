/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A flag alone would miss a signal that comes between its check and a blocking read; so the handler also
 * writes into a pipe that every wait watches.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include "cli/interrupt.h"

static volatile sig_atomic_t requested;
static volatile time_t requested_at;
static int wake[2] = {-1, -1};

/* timeout(1) and others send a signal to a process and to its group: what comes at once counts as one. */
static void on_signal(int number)
{
	int saved = errno;
	struct timespec now;
	ssize_t ignored;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (!requested) {
		requested_at = now.tv_sec;
		requested = 1;
		ignored = write(wake[1], "", 1);
		(void)ignored;
	} else if (now.tv_sec - requested_at > 1) {
		signal(number, SIG_DFL);
		raise(number);
	}
	errno = saved;
}

int interrupt_init(void)
{
	struct sigaction action = {.sa_handler = on_signal};

	if (pipe2(wake, O_CLOEXEC | O_NONBLOCK) != 0)
		return -errno;
	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	signal(SIGPIPE, SIG_IGN);
	return 0;
}

bool interrupt_requested(void)
{
	return requested;
}

int interrupt_wait(int descriptor, short events, int timeout_ms, bool heed)
{
	struct pollfd watched[2] = {{.fd = descriptor, .events = events}, {.fd = heed ? wake[0] : -1, .events = POLLIN}};
	int ready;

	if (heed && requested)
		return -EINTR;
	ready = poll(watched, 2, timeout_ms);
	if (heed && requested)
		return -EINTR;
	if (ready < 0)
		return errno == EINTR ? -EAGAIN : -errno;
	return ready == 0 ? -ETIMEDOUT : 0;
}

int interrupt_sleep(unsigned seconds)
{
	struct pollfd watched = {.fd = wake[0], .events = POLLIN};
	struct timespec now, end;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += seconds;
	for (;;) {
		long long rest_ms;

		clock_gettime(CLOCK_MONOTONIC, &now);
		rest_ms = (end.tv_sec - now.tv_sec) * 1000LL + (end.tv_nsec - now.tv_nsec) / 1000000;
		if (requested)
			return -EINTR;
		if (rest_ms <= 0)
			return 0;
		poll(&watched, 1, rest_ms > 3600000 ? 3600000 : (int)rest_ms);
	}
}
