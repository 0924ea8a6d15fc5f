/*
 * A stack of its own and the switch to and from it; private to rt. There is one thread side (the loop)
 * and any number of fiber sides; a switch goes from the loop to a fiber or from that fiber to the loop,
 * never from fiber to fiber.
 */
#ifndef LIBPOOL_RT_FIBER_CONTEXT_H
#define LIBPOOL_RT_FIBER_CONTEXT_H

#include <stddef.h>

#include "libpool/rt/sanitizer.h"

#ifdef POOL_ASAN
#define FIBER_STACK_SIZE (256 * 1024) /* redzones make frames several times larger */
#else
#define FIBER_STACK_SIZE (64 * 1024)
#endif

struct loop_context {
	void *position; /* where the loop stopped, while a fiber runs */
	void *fake_stack, *thread;
	const void *bottom;
	size_t size;
};

struct fiber_context {
	void *position; /* where the fiber stopped, while it doesn't run */
	char *stack;    /* FIBER_STACK_SIZE, above the guard page */
	struct loop_context *loop;
	void (*entry)(void *argument); /* never returns */
	void *argument;
	void *fake_stack, *thread;
	unsigned stack_id;
};

/* Maps a stack; the first enter calls entry(argument) on it. 0 or -ENOMEM. */
int fiber_context_init(struct fiber_context *context, void (*entry)(void *argument), void *argument);
/* Unmaps the stack, whatever lies on it. Called by the loop. */
void fiber_context_release(struct fiber_context *context);
/* From the loop: runs the fiber until it leaves. */
void fiber_context_enter(struct fiber_context *context, struct loop_context *loop);
/* From the fiber: returns to the loop; comes back at the next enter. */
void fiber_context_leave(struct fiber_context *context);

#endif
