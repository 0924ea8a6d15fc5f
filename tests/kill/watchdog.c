#include "tests/kill/watchdog.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *_Atomic current = "nothing";
static atomic_uint calls;
static unsigned limit_seconds;

static void *watch(void *argument)
{
	unsigned last = atomic_load(&calls), seconds = 0;

	for (;; sleep(1)) {
		unsigned now = atomic_load(&calls);

		seconds = now == last ? seconds + 1 : 0;
		last = now;
		if (seconds <= limit_seconds)
			continue;
		fprintf(stderr, "hangs for %u s: %s\n", limit_seconds, atomic_load(&current));
		_exit(1);
	}
	return argument;
}

void watchdog_start(unsigned seconds)
{
	pthread_t thread;

	limit_seconds = seconds;
	if (pthread_create(&thread, NULL, watch, NULL) != 0) {
		perror("pthread_create");
		exit(1);
	}
	pthread_detach(thread);
}

void watchdog_call(const char *what)
{
	atomic_store(&current, what);
	atomic_fetch_add(&calls, 1);
}
