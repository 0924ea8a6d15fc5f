/* Runs many seeds, each in a process of its own, and reports those that fail. */
#ifndef TESTS_SIM_RUNNER_H
#define TESTS_SIM_RUNNER_H

#include "tests/sim/world.h"

struct runner_result {
	uint64_t hash;
	struct world_statistics statistics;
};

struct runner_options {
	const char *program, *arguments; /* for the command that replays a seed */
	uint64_t first, last;
	unsigned jobs;
	unsigned seconds; /* of processor time that one may take; 0: as long as any needs with a sanitizer */
	bool twice, stop_at_failure;
	void (*run)(uint64_t seed, struct runner_result *ret_result);
};

/* Prints a line for each seed that failed, then a summary. Returns the number of failures. */
uint64_t runner_run(const struct runner_options *options);

#endif
