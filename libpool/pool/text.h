/* Sizes, times and compression as people write and read them. */
#ifndef LIBPOOL_POOL_TEXT_H
#define LIBPOOL_POOL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* "4096", "16K", "1.5T", "10GiB": binary units. False for anything else, or above 2^63. */
bool size_parse(const char *text, uint64_t *ret_bytes);
/* The exact value: "16K", "1000". */
void size_format(uint64_t bytes, char *ret_text, size_t size);
/* Rounded, for figures: "1.37G". */
void size_format_rounded(uint64_t bytes, char *ret_text, size_t size);
/* "6.25%" or "6.25" in hundredths of a percent; at most two digits behind the point. */
bool percent_parse(const char *text, unsigned *ret_hundredths);
/* "2026-01-31 12:00:00 UTC". */
void time_format(uint64_t time_ns, char *ret_text, size_t size);

/* "off", "auto", "zstd-1" to "zstd-19", as dataset_record.compression_level. */
bool compression_parse(const char *text, uint8_t *ret_level);
void compression_format(uint8_t level, char *ret_text, size_t size);

#endif
