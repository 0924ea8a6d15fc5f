/*
 * Armed timers, the earliest on top; private to rt. A pairing heap (Fredman, Sedgewick, Sleator, Tarjan
 * 1986), because its nodes lie in the timers: arming must not need memory. Equal times come out in the
 * order of arming.
 */
#ifndef LIBPOOL_RT_TIMER_HEAP_H
#define LIBPOOL_RT_TIMER_HEAP_H

#include "libpool/rt/rt.h"

struct timer_heap {
	struct rt_timer *top; /* the earliest, or NULL */
	uint64_t sequence;    /* of the next timer to be armed */
};

/* at_ns is set, the timer is in no heap. */
void timer_heap_insert(struct timer_heap *heap, struct rt_timer *timer);
/* The timer is in this heap. */
void timer_heap_remove(struct timer_heap *heap, struct rt_timer *timer);

#endif
