/* SPDX-License-Identifier: BSD-2-Clause */
/* Telling a service manager how far the process is, as sd_notify(3) describes. */
#ifndef CLI_NOTIFY_H
#define CLI_NOTIFY_H

/* "READY=1" ...; several are separated by line ends. Nothing happens where nobody asked for it. */
void notify(const char *state);

#endif
