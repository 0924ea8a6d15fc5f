/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A thread that waits for requests looks for one a few times more before it sleeps, where they came soon after an answer of late: a program that does one thing after another
 * asks again as soon as it is answered, and to fall asleep and be woken on another processor takes longer than most requests do. One thread of a mount at a time; others that want
 * the processor get it in between, and a mount that nobody uses costs nothing.
 */
#ifndef FUSE_EXPORT_LOOK_H
#define FUSE_EXPORT_LOOK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct look {
	_Atomic(uint64_t) answered_ns; /* when a request was answered last */
	_Atomic(uint32_t) expected_ns; /* from an answer to the next request: mean of the last times, long ones cut short */
	atomic_bool taken;	       /* a thread looks */
	bool never;		       /* there is one processor only */
};

void look_init(struct look *look);
/* Before a request is read. */
void look_for_request(struct look *look, int descriptor);
/* One was; one is answered. */
void look_came(struct look *look);
void look_answered(struct look *look);

#endif
