/* SPDX-License-Identifier: BSD-2-Clause */
/* Errors of poolctl: one line that says what, which object, why, and what to do. */
#ifndef CLI_ERRORS_H
#define CLI_ERRORS_H

#include <libpool.h>

/* Fills *error (NULL is allowed) and returns `code`, so that a check is one statement. */
int error_set(struct libpool_error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Where a library call failed with `code` and may have left no text: "what: text of the code". Returns
 * `code`. */
int error_complete(struct libpool_error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* "poolctl: text" on stderr, in one line whatever the text contains. */
void error_print(const struct libpool_error *error);

#endif
