/* SPDX-License-Identifier: BSD-2-Clause */
/* Progress of long work on stderr: one line that is rewritten on a terminal, a plain line now and then
 * elsewhere. */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	const char *what; /* "writing tank/disk1"; lives as long as the progress */
	bool silent;	  /* --json: nothing at all */
	bool terminal, shown;
	uint64_t started_ns, printed_ns;
};

void progress_begin(struct progress *progress, const char *what, bool silent);
/* `total` 0: unknown. `rate` in bytes per second, 0: counted from the beginning. Prints at most a few times a
 * second. */
void progress_update(struct progress *progress, uint64_t done, uint64_t total, uint64_t rate);
/* Clears the line on a terminal. */
void progress_end(struct progress *progress);
double progress_seconds(const struct progress *progress); /* since it began */

#endif
