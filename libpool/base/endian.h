/*
 * Little-endian integers as they lie on disk: distinct types, so that a native read of one doesn't
 * compile. Every on-disk structure is made of these and of byte arrays; all have alignment 1.
 */
#ifndef LIBPOOL_BASE_ENDIAN_H
#define LIBPOOL_BASE_ENDIAN_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct { uint8_t raw[2]; } le16;
typedef struct { uint8_t raw[4]; } le32;
typedef struct { uint8_t raw[6]; } le48;
typedef struct { uint8_t raw[8]; } le64;

/* For assertions about such structures, one for each, beside its definition. */
#define AT(structure, member, bytes) (offsetof(struct structure, member) == (bytes))

static inline uint16_t le16_get(le16 v) { uint16_t x; memcpy(&x, v.raw, 2); return le16toh(x); }
static inline uint32_t le32_get(le32 v) { uint32_t x; memcpy(&x, v.raw, 4); return le32toh(x); }
static inline uint64_t le64_get(le64 v) { uint64_t x; memcpy(&x, v.raw, 8); return le64toh(x); }
static inline uint64_t le48_get(le48 v) { uint64_t x = 0; memcpy(&x, v.raw, 6); return le64toh(x); }
static inline le16 le16_make(uint16_t x) { le16 v; x = htole16(x); memcpy(v.raw, &x, 2); return v; }
static inline le32 le32_make(uint32_t x) { le32 v; x = htole32(x); memcpy(v.raw, &x, 4); return v; }
static inline le64 le64_make(uint64_t x) { le64 v; x = htole64(x); memcpy(v.raw, &x, 8); return v; }
static inline le48 le48_make(uint64_t x) { le48 v; x = htole64(x); memcpy(v.raw, &x, 6); return v; }

#endif
