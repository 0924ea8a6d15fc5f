/*
 * Errors: one negative code from one table, and a text for people made where the fault is seen.
 *
 * Functions return 0 or a count on success and a negative errno on failure. Codes that errno has no
 * name for start at 4096. `struct pool_error` carries the sentence: what, which object, why, what to
 * do; it is owned by the caller and never allocated. Outputs are untouched on failure.
 */
#ifndef LIBPOOL_BASE_ERROR_H
#define LIBPOOL_BASE_ERROR_H

#include <errno.h>
#include <stddef.h>

/* name, number, text. The number is part of the ABI: append only. */
#define POOL_ERROR_TABLE(X)                                                                        \
	X(POOL_EDAMAGED, 4096, "data is damaged beyond what redundancy can repair")                \
	X(POOL_EHALTED, 4097, "the pool is halted")                                                \
	X(POOL_ECHECKSUM, 4098, "checksum mismatch")                                               \
	X(POOL_EFORMAT, 4099, "not a valid on-disk structure")                                     \
	X(POOL_EFEATURE, 4100, "made by a version with features unknown to this one")              \
	X(POOL_EDEGRADED, 4101, "too few disks are present and answer")                            \
	X(POOL_EFOREIGN, 4102, "the disk carries something else")                                  \
	X(POOL_EINUSE, 4103, "in use")                                                             \
	X(POOL_ESPLIT, 4104, "the pool was used in two halves")                                    \
	X(POOL_ESTALE, 4105, "the pointer names a block that no longer exists")                    \
	X(POOL_EOTHERHOST, 4106, "last used by another host and not exported")

enum {
#define POOL_ERROR_ENUM(name, number, text) name = number,
	POOL_ERROR_TABLE(POOL_ERROR_ENUM)
#undef POOL_ERROR_ENUM
};

struct pool_error {
	int code;       /* negative, 0 if none */
	char text[508]; /* one line, no newline */
};

/* The text of a negative code (own table or errno). Never NULL; static storage; thread-safe. */
const char *pool_error_string(int code);

/*
 * Set *error (may be NULL) to code and a printf text, and return code, so that a failure is one line:
 * `return pool_error_set(error, -EINVAL, "disk %s: ...", path)`. The first text set wins when
 * error->code is already not 0 and code is the same.
 */
int pool_error_set(struct pool_error *error, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
