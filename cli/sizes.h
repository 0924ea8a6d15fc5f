/* SPDX-License-Identifier: BSD-2-Clause */
/* Sizes and other quantities as people write and read them. K, M, G, T, P and E are binary everywhere. */
#ifndef CLI_SIZES_H
#define CLI_SIZES_H

#include <stdint.h>

#include <libpool.h>

#define SIZE_LARGEST	  (UINT64_C(1) << 60)
#define QUANTITY_TEXT_MAX 48

/*
 * Strict: the whole text has to be a number with at most one suffix, between `smallest` and 2^60, and a
 * fraction has to come out as whole bytes. `what` names the thing in the error ("volume size"). 0 or -EINVAL.
 */
int size_read(const char *text, const char *what, uint64_t smallest, uint64_t *ret_size,
	      struct libpool_error *error);
/* A plain decimal number, without suffix. */
int number_read(const char *text, const char *what, uint64_t smallest, uint64_t *ret_number,
		struct libpool_error *error);

/* Three significant digits: "512B", "1.50G", "15.2G", "152G". size_read reads them back. */
void size_print(uint64_t bytes, char ret_text[QUANTITY_TEXT_MAX]);
/* "3.2 s", "4:05", "2:10:00", "3 d 04 h". */
void duration_print(double seconds, char ret_text[QUANTITY_TEXT_MAX]);
/* Local time, "2026-01-31 12:34:56"; "-" for zero. */
void time_print(double seconds_since_1970, char ret_text[QUANTITY_TEXT_MAX]);

#endif
