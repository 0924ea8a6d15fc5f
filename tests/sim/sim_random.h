/*
 * Randomness of the simulator: xoshiro256** (Blackman, Vigna 2018), seeded through splitmix64. Each user
 * has a stream of its own, forked from the seed by name, so that one more draw in one place doesn't
 * change what all others see: a failing seed stays a failing seed while it is being reduced.
 */
#ifndef TESTS_SIM_RANDOM_H
#define TESTS_SIM_RANDOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_MILLION 1000000u

struct sim_random {
	uint64_t state[4];
};

void sim_random_seed(struct sim_random *random, uint64_t seed);
/* The stream that (seed, name, number) names. */
void sim_random_stream(struct sim_random *random, uint64_t seed, const char *name, uint64_t number);
uint64_t sim_random_next(struct sim_random *random);
/* 0 <= result < bound; 0 if bound is 0. */
uint64_t sim_random_below(struct sim_random *random, uint64_t bound);
/* first <= result <= last */
uint64_t sim_random_between(struct sim_random *random, uint64_t first, uint64_t last);
bool sim_random_chance(struct sim_random *random, uint32_t per_million);
void sim_random_fill(struct sim_random *random, void *buffer, size_t size);

#endif
