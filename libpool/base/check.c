/*
 * Where a broken invariant is reported. Only the thread's handler knows which pool to halt, so that is
 * all this file holds.
 */
#include "libpool/base/check.h"

#include <stdio.h>
#include <stdlib.h>

static _Thread_local struct check_handler current;

void pool_check_set_handler(void (*handler)(void *arg, const char *file, int line, const char *expression), void *arg)
{
	current = (struct check_handler){handler, arg};
}

struct check_handler pool_check_replace_handler(struct check_handler handler)
{
	struct check_handler before = current;

	current = handler;
	return before;
}

void pool_check_failed(const char *file, int line, const char *expression)
{
	if (current.handler) {
		current.handler(current.arg, file, line, expression);
		return;
	}
	fprintf(stderr, "%s:%d: broken invariant: %s\n", file, line, expression);
	abort();
}
