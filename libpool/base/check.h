/*
 * Invariants that are checked in release builds too. A broken one halts the pool it belongs to, and
 * never takes down the process that hosts the library:
 *
 * - Whoever runs a pool's code in a thread installs a handler there first (the engine's thread, each
 *   worker). The handler marks the pool as halted, so that nothing more is written, and keeps the
 *   message. It is called in the thread, and on the stack, of the check.
 * - The handler may return. POOL_CHECK is then false, and its caller backs out by the shortest way that
 *   touches no state it can't trust: `if (!POOL_CHECK(x)) return -POOL_EHALTED;`. On a fiber's stack
 *   the handler may call rt_exit instead, which ends the fiber there (locks it holds stay held).
 * - Without a handler, as in tests and tools, the process aborts with the place and the expression on
 *   stderr.
 *
 * The handler is state of the thread, not of the process: two pools in one process don't see each other.
 * For what callers may get wrong, or a disk may return, use error codes: a check is for what only a bug
 * in libpool can cause.
 */
#ifndef LIBPOOL_BASE_CHECK_H
#define LIBPOOL_BASE_CHECK_H

#include <stdbool.h>

struct check_handler {
	void (*handler)(void *arg, const char *file, int line, const char *expression); /* NULL: abort */
	void *arg; /* passed through */
};

/* Installs the calling thread's handler; NULL goes back to abort. The argument is passed through. */
void pool_check_set_handler(void (*handler)(void *arg, const char *file, int line, const char *expression), void *arg);
/* The same, for a while: returns the one from before, which is to be put back. */
struct check_handler pool_check_replace_handler(struct check_handler handler);

/* Reports a broken invariant to the thread's handler. Returns if the handler does; aborts without one. */
void pool_check_failed(const char *file, int line, const char *expression) __attribute__((cold));

static inline bool pool_check(bool holds, const char *file, int line, const char *expression)
{
	if (__builtin_expect(!holds, 0))
		pool_check_failed(file, line, expression);
	return holds;
}

/* True if the condition holds; evaluates it once, in every build. */
#define POOL_CHECK(condition) pool_check((condition), __FILE__, __LINE__, #condition)

#endif
