/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whether a thread that waits for another looks for the end a few times more before it sleeps. To fall asleep and be
 * woken takes 5 to 40 us on each side; a request that is served from memory takes less. So waiters remember how
 * long it took of late, and look again only where it was short: a thread that waits for a disk, or has nothing to
 * do, costs nothing.
 *
 * Between looks the processor is offered to others, as what is waited for may need it. When that takes long,
 * others have work to do, and the next waits sleep.
 */
#ifndef LIBPOOL_RT_SPIN_H
#define LIBPOOL_RT_SPIN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* Zero: not tried yet, so that the first waits are looked into. Any number of threads may share one. */
struct spin {
	_Atomic(uint32_t) expected_ns; /* mean of the last waits, long ones cut short */
};

struct spin_wait {
	struct spin *spin;
	uint64_t start_ns, until_ns; /* until_ns 0: not worth it */
	unsigned looks;
};

/* A wait begins. */
void spin_begin(struct spin_wait *wait, struct spin *spin);
/* After a look that found nothing: true to look again. */
bool spin_again(struct spin_wait *wait);
/* What was waited for has come, after sleeping or not. */
void spin_end(struct spin_wait *wait);

#endif
