/* SPDX-License-Identifier: BSD-2-Clause */
/* Help, the manual's lists, and the table that bash completion reads: all from the tables of verbs
 * and options. */
#ifndef CLI_HELP_H
#define CLI_HELP_H

#include <stdio.h>

#include "cli/call.h"

void help_overview(FILE *out);
/* The verbs whose first word is `group`; nothing is printed if out is NULL. False if there are none. */
bool help_group(FILE *out, const char *group);
void help_verb(FILE *out, const struct verb *verb);
/* "poolctl create [OPTION]... POOL PROFILE DISK..." */
void help_usage(const struct verb *verb, char *text, size_t room);

#endif
