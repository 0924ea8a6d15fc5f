/*
 * What clients write: bytes that tell where and by which operation they were written, so that stale or
 * misplaced data is recognised, in kinds that compress well, not at all, or into nothing.
 */
#ifndef TESTS_SIM_CONTENT_H
#define TESTS_SIM_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum content_kind { CONTENT_PLAIN, CONTENT_NOISE, CONTENT_TINY, CONTENT_ZERO, CONTENT_KINDS };

/* Bytes for [offset, offset + length) of a volume (any number for it), by operation `version`. */
void content_fill(uint8_t *buffer, size_t length, enum content_kind kind, uint32_t volume, uint64_t offset, uint64_t version);
/* What a stamp in the bytes says: false if there is none. */
bool content_describe(const uint8_t *bytes, size_t length, uint32_t *ret_volume, uint64_t *ret_offset, uint64_t *ret_version);

#endif
