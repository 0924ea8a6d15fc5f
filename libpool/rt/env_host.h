/* The environment of a real process: CLOCK_MONOTONIC, getrandom, worker threads, poll on descriptors. */
#ifndef LIBPOOL_RT_ENV_HOST_H
#define LIBPOOL_RT_ENV_HOST_H

#include "libpool/rt/env.h"

/*
 * `workers`: threads for jobs; 0 runs jobs inline in the engine's thread. Threads block all signals.
 * 0, or -ENOMEM, -EAGAIN, -EMFILE. Freed by env_host_free when the rt is gone.
 *
 * A POOL_CHECK that fails on a worker is reported in the engine's thread, before the job's done is called.
 */
int env_host_new(unsigned workers, struct pool_env **ret_env);
void env_host_free(struct pool_env *env);

#endif
