/*
 * Units of 4 KiB that say themselves where they belong and which write made them. Everything in a unit
 * follows from its head, and the head is checked, so a unit is wholly one version or wholly wrong. Some
 * compress well, some don't.
 */
#ifndef TESTS_KILL_CONTENT_H
#define TESTS_KILL_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UNIT	     4096
#define VERSION_NONE 0 /* all zero: never written, zeroed or trimmed */

void content_fill(uint8_t *buffer, uint64_t unit, uint64_t version);
/* False: not a version of this unit; outputs untouched. */
bool content_version(const uint8_t *buffer, uint64_t unit, uint64_t *ret_version);
/* What a unit that content_version refuses looks like, for people. */
void content_describe(const uint8_t *buffer, char *ret_text, size_t size);

#endif
