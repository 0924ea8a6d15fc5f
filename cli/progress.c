/* SPDX-License-Identifier: BSD-2-Clause */
/* What must always hold: stdout is never touched (it may carry the data), and nothing is left of a rewritten
 * line. */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/progress.h"
#include "cli/sizes.h"

#define NANOSECONDS	  UINT64_C(1000000000)
#define TERMINAL_INTERVAL (NANOSECONDS / 4)
#define PLAIN_INTERVAL	  (10 * NANOSECONDS)

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NANOSECONDS + (uint64_t)now.tv_nsec;
}

void progress_begin(struct progress *progress, const char *what, bool silent)
{
	uint64_t now = now_ns();

	*progress = (struct progress){.what = what,
				      .silent = silent,
				      .terminal = isatty(STDERR_FILENO),
				      .started_ns = now,
				      .printed_ns = now};
}

double progress_seconds(const struct progress *progress)
{
	return (double)(now_ns() - progress->started_ns) / (double)NANOSECONDS;
}

/* "writing tank/a: 43 % of 1.20G, 512M/s, 2.1 s to go" */
static void describe(const struct progress *progress, uint64_t done, uint64_t total, uint64_t rate,
		     char *text, size_t room)
{
	char done_text[QUANTITY_TEXT_MAX], rate_text[QUANTITY_TEXT_MAX], rest_text[QUANTITY_TEXT_MAX];

	size_print(rate, rate_text);
	if (total == 0) {
		size_print(done, done_text);
		snprintf(text, room, "%s: %s, %s/s", progress->what, done_text, rate_text);
		return;
	}
	size_print(total, done_text);
	if (rate > 0 && done <= total)
		duration_print((double)(total - done) / (double)rate, rest_text);
	snprintf(text, room, "%s: %d %% of %s, %s/s%s%s%s", progress->what,
		 (int)(100.0 * (double)done / (double)total), done_text, rate_text,
		 rate > 0 && done <= total ? ", " : "", rate > 0 && done <= total ? rest_text : "",
		 rate > 0 && done <= total ? " to go" : "");
}

void progress_update(struct progress *progress, uint64_t done, uint64_t total, uint64_t rate)
{
	uint64_t now = now_ns();
	char text[1024];

	if (progress->silent ||
	    now - progress->printed_ns < (progress->terminal ? TERMINAL_INTERVAL : PLAIN_INTERVAL))
		return;
	if (rate == 0)
		rate = (uint64_t)((double)done / progress_seconds(progress));
	describe(progress, done, total, rate, text, sizeof(text));
	if (progress->terminal)
		fprintf(stderr, "\r\033[K%s", text);
	else
		fprintf(stderr, "%s\n", text);
	fflush(stderr);
	progress->printed_ns = now;
	progress->shown = true;
}

void progress_end(struct progress *progress)
{
	if (progress->terminal && progress->shown)
		fputs("\r\033[K", stderr);
	progress->shown = false;
}
