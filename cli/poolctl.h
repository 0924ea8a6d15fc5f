/* SPDX-License-Identifier: BSD-2-Clause */
/* poolctl as a function, so that tests can run it in their process. */
#ifndef CLI_POOLCTL_H
#define CLI_POOLCTL_H

/* Returns the exit code. Prints to stdout and stderr. */
int poolctl_run(int argc, char **argv);

#endif
