/*
 * The first 16 bytes of every structure but block pointers, dnodes and table records, and small checks that
 * all decoders share. Private to the format layer.
 *
 * What must always hold: a decoder refuses every bit that its version doesn't know, so a later version can
 * give a meaning to any bit that is zero today.
 */
#ifndef LIBPOOL_FORMAT_RAW_HEADER_H
#define LIBPOOL_FORMAT_RAW_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "libpool/base/endian.h"
#include "libpool/format/constants.h"

#define FORMAT_VERSION 1u

/* The magic as it lies on disk: eight characters, the first in the lowest byte of the little-endian integer. */
#define FORMAT_MAGIC(a, b, c, d)                                                                             \
	(UINT64_C(0x6c6f6f70) /* "pool" */ | (uint64_t)(a) << 32 | (uint64_t)(b) << 40 | (uint64_t)(c) << 48 |    \
	 (uint64_t)(d) << 56)

#define MAGIC_LABEL     FORMAT_MAGIC('L', 'A', 'B', 'L')
#define MAGIC_UBERBLOCK FORMAT_MAGIC('U', 'B', 'E', 'R')
#define MAGIC_SYSMAP    FORMAT_MAGIC('S', 'Y', 'S', 'M')
#define MAGIC_COMMIT    FORMAT_MAGIC('C', 'O', 'M', 'M')
#define MAGIC_AU        FORMAT_MAGIC('A', 'U', 'H', 'D')
#define MAGIC_SUMMARY   FORMAT_MAGIC('S', 'U', 'M', 'M')
#define MAGIC_ALLOC_LOG FORMAT_MAGIC('A', 'L', 'O', 'G')
#define MAGIC_SEGTAB    FORMAT_MAGIC('S', 'E', 'G', 'T')
#define MAGIC_LIVEMAP   FORMAT_MAGIC('L', 'I', 'V', 'E')
#define MAGIC_OBJSET    FORMAT_MAGIC('O', 'B', 'J', 'S')
#define MAGIC_INTENT    FORMAT_MAGIC('I', 'L', 'O', 'G')

struct raw_header {
	le64 magic;         /* 0 */
	le16 version;       /* 8 */
	le16 header_length; /* 10: bytes from the magic to the lists that follow, or of all if none follow */
	le32 flags;         /* 12 */
};
_Static_assert(sizeof(struct raw_header) == 16 && AT(raw_header, magic, 0) && AT(raw_header, version, 8) &&
		       AT(raw_header, header_length, 10) && AT(raw_header, flags, 12), "on disk");

static inline struct raw_header raw_header_make(uint64_t magic, uint16_t header_length, uint32_t flags)
{
	return (struct raw_header){ .magic = le64_make(magic),
				    .version = le16_make(FORMAT_VERSION),
				    .header_length = le16_make(header_length),
				    .flags = le32_make(flags) };
}

static inline bool raw_header_valid(const struct raw_header *header, uint64_t magic, uint16_t header_length,
				    uint32_t flags_known)
{
	return le64_get(header->magic) == magic && le16_get(header->version) == FORMAT_VERSION &&
	       le16_get(header->header_length) == header_length && !(le32_get(header->flags) & ~flags_known);
}

static inline bool bytes_are_zero(const void *bytes, size_t length)
{
	const uint8_t *byte = bytes;
	return length == 0 || (byte[0] == 0 && memcmp(byte, byte + 1, length - 1) == 0);
}

/* A name in a field of fixed size: not empty, no control characters, ended by a zero, zeros up to the end. */
static inline bool name_field_valid(const char *name, size_t size)
{
	size_t length = strnlen(name, size);
	if (length == 0 || length == size || !bytes_are_zero(name + length, size - length))
		return false;
	for (size_t i = 0; i < length; i++)
		if ((uint8_t)name[i] < 0x20 || name[i] == 0x7F)
			return false;
	return true;
}

/* Writes a name into a zeroed field; what doesn't fit is cut off. */
static inline void name_field_put(char *field, size_t size, const char *name)
{
	memcpy(field, name, strnlen(name, size - 1));
}

#endif
