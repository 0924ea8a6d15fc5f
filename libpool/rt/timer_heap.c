/*
 * Each node holds its first child, its next sibling, and `previous`: the sibling before it, or the
 * parent if it is the first child, or NULL for the top. No child is earlier than its parent.
 */
#include "libpool/rt/timer_heap.h"

static bool earlier(const struct rt_timer *a, const struct rt_timer *b)
{
	return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->sequence < b->sequence;
}

/* Joins two tops, either of which may be NULL. */
static struct rt_timer *meld(struct rt_timer *a, struct rt_timer *b)
{
	if (!a || !b)
		return a ? a : b;
	if (earlier(b, a)) {
		struct rt_timer *swap = a;

		a = b;
		b = swap;
	}
	b->sibling = a->child;
	if (b->sibling)
		b->sibling->previous = b;
	b->previous = a;
	a->child = b;
	return a;
}

/* Joins a list of siblings: in pairs from the left, then all pairs from the right. */
static struct rt_timer *meld_siblings(struct rt_timer *first)
{
	struct rt_timer *pairs = NULL, *top = NULL;

	while (first) {
		struct rt_timer *second = first->sibling;
		struct rt_timer *rest = second ? second->sibling : NULL;

		first->sibling = first->previous = NULL;
		if (second)
			second->sibling = second->previous = NULL;
		struct rt_timer *pair = meld(first, second);

		pair->sibling = pairs;
		pairs = pair;
		first = rest;
	}
	while (pairs) {
		struct rt_timer *rest = pairs->sibling;

		pairs->sibling = NULL;
		top = meld(top, pairs);
		pairs = rest;
	}
	return top;
}

void timer_heap_insert(struct timer_heap *heap, struct rt_timer *timer)
{
	timer->child = timer->sibling = timer->previous = NULL;
	timer->sequence = heap->sequence++;
	heap->top = meld(heap->top, timer);
}

void timer_heap_remove(struct timer_heap *heap, struct rt_timer *timer)
{
	struct rt_timer *below = meld_siblings(timer->child);

	if (timer == heap->top) {
		heap->top = below;
		return;
	}
	if (timer->previous->child == timer)
		timer->previous->child = timer->sibling;
	else
		timer->previous->sibling = timer->sibling;
	if (timer->sibling)
		timer->sibling->previous = timer->previous;
	heap->top = meld(heap->top, below);
}
