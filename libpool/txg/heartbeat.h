/* Heartbeats that keep two hosts from using a pool at the same time (heartbeat.c). */
#ifndef LIBPOOL_TXG_HEARTBEAT_H
#define LIBPOOL_TXG_HEARTBEAT_H

#include "libpool/txg/select.h"

#define HEARTBEAT_INTERVAL_MS 1000u

struct heartbeat;

/*
 * Makes sure that no other host uses the pool that was selected, which takes ten intervals unless nobody can; claims it, and begins
 * to write heartbeats. -POOL_EINUSE with a text. What was read of the pool before may be old now.
 */
int heartbeat_claim(const struct core_options *options, const struct selection *selection, struct heartbeat **ret_heartbeat,
		    struct pool_error *error);
/* From now on it is the core's: its disks, and no write without a lease. */
void heartbeat_follow(struct heartbeat *heartbeat, struct core *core);
/* For a pool that is in use already. */
int heartbeat_start(struct core *core);
/* Waits for what is being written; NULL is fine. */
void heartbeat_stop(struct heartbeat *heartbeat);

#endif
