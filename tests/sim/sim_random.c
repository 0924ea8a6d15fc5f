/* See sim_random.h. The bound of sim_random_below is drawn by multiplication: biased by less than 2^-32. */
#include "tests/sim/sim_random.h"

#include <string.h>

static uint64_t splitmix(uint64_t *state)
{
	uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

void sim_random_seed(struct sim_random *random, uint64_t seed)
{
	for (int i = 0; i < 4; i++)
		random->state[i] = splitmix(&seed);
}

void sim_random_stream(struct sim_random *random, uint64_t seed, const char *name, uint64_t number)
{
	uint64_t mixed = splitmix(&seed);

	for (; *name; name++)
		mixed = (mixed ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
	mixed ^= splitmix(&number);
	sim_random_seed(random, mixed);
}

static uint64_t rotate(uint64_t x, int count)
{
	return x << count | x >> (64 - count);
}

uint64_t sim_random_next(struct sim_random *random)
{
	uint64_t *s = random->state;
	uint64_t result = rotate(s[1] * 5, 7) * 9, t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotate(s[3], 45);
	return result;
}

uint64_t sim_random_below(struct sim_random *random, uint64_t bound)
{
	return (uint64_t)((unsigned __int128)sim_random_next(random) * bound >> 64);
}

uint64_t sim_random_between(struct sim_random *random, uint64_t first, uint64_t last)
{
	return first + sim_random_below(random, last - first + 1);
}

bool sim_random_chance(struct sim_random *random, uint32_t per_million)
{
	return per_million && sim_random_below(random, SIM_MILLION) < per_million;
}

void sim_random_fill(struct sim_random *random, void *buffer, size_t size)
{
	for (size_t at = 0; at < size; at += 8) {
		uint64_t value = sim_random_next(random);

		memcpy((char *)buffer + at, &value, size - at < 8 ? size - at : 8);
	}
}
