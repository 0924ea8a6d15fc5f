/* Errors and sized structures on their way through the public interface. */
#ifndef LIBPOOL_POOL_API_TEXT_H
#define LIBPOOL_POOL_API_TEXT_H

#include "libpool/base/error.h"
#include "libpool/include/libpool.h"

/*
 * Copies an option structure of any age: what the caller's version lacks is zero; what this version lacks must be
 * zero. NULL gives all defaults. -EINVAL without a sensible size, -E2BIG for options of a newer version.
 */
int api_options_copy(void *to, size_t to_size, const void *from);
/* Copies a result out as far as the caller's version has room; its size member stays. -EINVAL without a sensible size. */
int api_result_copy(void *to, const void *from, size_t from_size);
/* Whether api_result_copy will accept it. */
int api_result_check(const void *to);

/* Gives code and text to the caller; a missing text becomes that of the code. Returns the code. */
int api_error(struct libpool_error *ret_error, int code, const struct pool_error *error);

#endif
