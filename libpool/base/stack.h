/*
 * A stack that any thread pushes on with one compare-and-swap, and that one takes whole: a way from some threads to another without a lock. Nodes
 * are those of list.h, linked by next, newest first.
 */
#ifndef LIBPOOL_BASE_STACK_H
#define LIBPOOL_BASE_STACK_H

#include <stdatomic.h>

#include "libpool/base/list.h"

/* Zero: empty. */
struct stack {
	_Atomic(struct list *) top;
};

static inline bool stack_empty(struct stack *stack) { return !atomic_load(&stack->top); }

/* What is linked from newest to oldest. Whether the stack was empty: of those who push, exactly one since it was taken is told so. */
static inline bool stack_push(struct stack *stack, struct list *newest, struct list *oldest)
{
	struct list *top = atomic_load_explicit(&stack->top, memory_order_relaxed);

	do {
		oldest->next = top;
	} while (!atomic_compare_exchange_weak(&stack->top, &top, newest));
	return !top;
}

/* All of a list that isn't empty, and is afterwards; its last is the newest. */
static inline bool stack_push_list(struct stack *stack, struct list *list)
{
	struct list *oldest = list->next, *newest = NULL, *node;

	while ((node = list_pop_front(list))) {
		node->next = newest;
		newest = node;
	}
	return stack_push(stack, newest, oldest);
}

/* All there is to the end of the list, oldest first; how many. */
static inline unsigned stack_take(struct stack *stack, struct list *list)
{
	struct list *node = stack_empty(stack) ? NULL : atomic_exchange(&stack->top, NULL), *end = list->prev;
	unsigned count = 0;

	for (; node; count++) {
		struct list *next = node->next;

		list_insert(node, end, end->next);
		node = next;
	}
	return count;
}

#endif
