/* Seeded randomness for the choices of these tests; what the machine does in the meantime no seed repeats. */
#ifndef TESTS_KILL_RANDOM_H
#define TESTS_KILL_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

struct random {
	uint64_t state;
};

uint64_t random_next(struct random *random);
uint64_t random_below(struct random *random, uint64_t bound); /* 0 <= result < bound */
bool random_percent(struct random *random, unsigned percent);

#endif
