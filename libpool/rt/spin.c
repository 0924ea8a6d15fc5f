/* SPDX-License-Identifier: BSD-2-Clause */
#include "libpool/rt/spin.h"

#include <sched.h>
#include <time.h>

#define WORTH_NS 50000u  /* waits expected to be longer sleep at once */
#define SAMPLE_NS_MAX 400000u
#define MEAN_OF 8
#define LOOKS_PER_YIELD 4u

static uint64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

void spin_begin(struct spin_wait *wait, struct spin *spin)
{
	uint32_t expected = atomic_load_explicit(&spin->expected_ns, memory_order_relaxed);

	*wait = (struct spin_wait){.spin = spin, .start_ns = now_ns()};
	if (expected <= WORTH_NS)
		wait->until_ns = wait->start_ns + 2 * (uint64_t)expected + WORTH_NS / 4;
}

bool spin_again(struct spin_wait *wait)
{
	if (wait->until_ns == 0)
		return false;
	if (++wait->looks % LOOKS_PER_YIELD == 0)
		sched_yield();
	else
		relax();
	return now_ns() < wait->until_ns;
}

void spin_end(struct spin_wait *wait)
{
	uint64_t took = now_ns() - wait->start_ns;
	int64_t expected = atomic_load_explicit(&wait->spin->expected_ns, memory_order_relaxed);

	took = took < SAMPLE_NS_MAX ? took : SAMPLE_NS_MAX;
	/* Two threads that end at once: one of the samples is lost, which does no harm. */
	atomic_store_explicit(&wait->spin->expected_ns, (uint32_t)(expected + ((int64_t)took - expected) / MEAN_OF),
			      memory_order_relaxed);
}
