/* SPDX-License-Identifier: BSD-2-Clause */
/* Whether a thread of a mount looks for a request before it sleeps: where they come soon after an answer, for a short time, and one thread at a time. */
#include "fuse-export/look.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define LEAST_NS 12500u /* that a look takes which finds nothing */
#define TRIES 2000u

static void expect(bool is_so, const char *what)
{
	if (is_so)
		return;
	fprintf(stderr, "not so: %s\n", what);
	exit(1);
}

/* The quickest of many: nobody else took the processor meanwhile. */
static uint64_t quickest(struct look *look, int descriptor)
{
	uint64_t least = UINT64_MAX;

	for (unsigned i = 0; i < TRIES; i++) {
		struct timespec begin, end;

		clock_gettime(CLOCK_MONOTONIC, &begin);
		look_for_request(look, descriptor);
		clock_gettime(CLOCK_MONOTONIC, &end);
		uint64_t took = (uint64_t)(end.tv_sec - begin.tv_sec) * 1000000000u + (uint64_t)end.tv_nsec - (uint64_t)begin.tv_nsec;
		least = took < least ? took : least;
	}
	return least;
}

int main(void)
{
	struct look look = {0};
	int ends[2];

	expect(pipe(ends) == 0, "a pipe");
	look_init(&look);
	look.never = false; /* also on one processor */
	expect(quickest(&look, ends[0]) < LEAST_NS, "nothing is known yet: nobody looks");
	/* Requests that come as soon as one is answered. */
	for (unsigned i = 0; i < 100000 && look.expected_ns > 5000; i++) {
		look_answered(&look);
		look_came(&look);
	}
	expect(look.expected_ns <= 5000, "requests came at once");
	uint64_t took = quickest(&look, ends[0]);
	expect(took >= LEAST_NS, "one looks");
	expect(took < 1000000, "and not for long");
	expect(!look.taken, "another may look then");
	look.taken = true;
	expect(quickest(&look, ends[0]) < LEAST_NS, "one at a time");
	look.taken = false;
	expect(write(ends[1], "x", 1) == 1, "a request");
	expect(quickest(&look, ends[0]) < LEAST_NS, "what is there is found");
	expect(read(ends[0], &took, 1) == 1, "it was read");
	/* Requests that come late: the first of them don't count for much, then nobody looks. */
	look_answered(&look);
	look.answered_ns -= 1000000000;
	look_came(&look);
	look_came(&look);
	expect(look.expected_ns > 50000, "requests came late");
	expect(quickest(&look, ends[0]) < LEAST_NS, "it isn't worth while any more");
	look.expected_ns = 0;
	look.never = true;
	expect(quickest(&look, ends[0]) < LEAST_NS, "there is one processor");
	return 0;
}
