/* SPDX-License-Identifier: BSD-2-Clause */
#include "fuse-export/look.h"

#include <poll.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#define WORTH_NS 50000u /* expected to come later, it isn't waited for awake */
#define SAMPLE_NS_MAX 400000u
#define MEAN_OF 8
#define LOOKS_PER_YIELD 4u

static uint64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

void look_init(struct look *look)
{
	look->never = sysconf(_SC_NPROCESSORS_ONLN) < 2;
	atomic_store(&look->expected_ns, SAMPLE_NS_MAX);
	atomic_store(&look->answered_ns, 0);
}

void look_for_request(struct look *look, int descriptor)
{
	uint32_t expected = atomic_load_explicit(&look->expected_ns, memory_order_relaxed);
	struct pollfd device = {.fd = descriptor, .events = POLLIN};

	if (look->never || expected > WORTH_NS || atomic_exchange(&look->taken, true))
		return;
	uint64_t until = now_ns() + 2 * (uint64_t)expected + WORTH_NS / 4;

	for (unsigned looks = 1; poll(&device, 1, 0) == 0 && now_ns() < until; looks++)
		if (looks % LOOKS_PER_YIELD == 0)
			sched_yield();
	atomic_store(&look->taken, false);
}

void look_came(struct look *look)
{
	uint64_t now = now_ns(), answered = atomic_load_explicit(&look->answered_ns, memory_order_relaxed);
	int64_t expected = atomic_load_explicit(&look->expected_ns, memory_order_relaxed);
	uint64_t took = now > answered ? now - answered : 0; /* another thread may have answered one just now */

	took = took < SAMPLE_NS_MAX ? took : SAMPLE_NS_MAX;
	/* Of two that come at once one is lost, which does no harm. */
	atomic_store_explicit(&look->expected_ns, (uint32_t)(expected + ((int64_t)took - expected) / MEAN_OF), memory_order_relaxed);
}

void look_answered(struct look *look)
{
	atomic_store_explicit(&look->answered_ns, now_ns(), memory_order_relaxed);
}
