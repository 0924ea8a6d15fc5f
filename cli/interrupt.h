/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SIGINT and SIGTERM end long work cleanly; a second one, some seconds later, ends the process at once, which a pool
 * survives.
 */
#ifndef CLI_INTERRUPT_H
#define CLI_INTERRUPT_H

#include <stdbool.h>

/* Also ignores SIGPIPE: a reader that went away is an error of write(). 0 or -errno. */
int interrupt_init(void);
bool interrupt_requested(void);
/*
 * Waits until the descriptor is ready (POLLIN or POLLOUT): 0, -ETIMEDOUT after timeout_ms (-1: never), -EAGAIN: wait again, or
 * -errno. With `heed`, -EINTR as soon as an interruption has been requested.
 */
int interrupt_wait(int descriptor, short events, int timeout_ms, bool heed);
/* 0, or -EINTR when interrupted before the time is over. */
int interrupt_sleep(unsigned seconds);

#endif
