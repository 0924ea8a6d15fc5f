/* Errors and sized structures: see api_text.h. Also the functions of libpool.h that need no pool. */
#include "libpool/pool/api_text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZE_LIMIT 65536u /* of any structure: beyond it the size member was never set */

static int size_of(const void *structure, size_t *ret_size)
{
	memcpy(ret_size, structure, sizeof(*ret_size));
	return *ret_size > sizeof(size_t) && *ret_size < SIZE_LIMIT ? 0 : -EINVAL;
}

int api_options_copy(void *to, size_t to_size, const void *from)
{
	size_t size;

	memset(to, 0, to_size);
	if (!from)
		return 0;
	if (size_of(from, &size) < 0)
		return -EINVAL;
	for (size_t i = to_size; i < size; i++)
		if (((const char *)from)[i])
			return -E2BIG;
	memcpy(to, from, size < to_size ? size : to_size);
	return 0;
}

int api_result_check(const void *to)
{
	size_t size;

	return to ? size_of(to, &size) : -EINVAL;
}

int api_result_copy(void *to, const void *from, size_t from_size)
{
	size_t size;

	if (!to || size_of(to, &size) < 0)
		return -EINVAL;
	memset((char *)to + sizeof(size), 0, size - sizeof(size));
	memcpy((char *)to + sizeof(size), (const char *)from + sizeof(size),
	       (size < from_size ? size : from_size) - sizeof(size));
	return 0;
}

int api_error(struct libpool_error *ret_error, int code, const struct pool_error *error)
{
	if (code >= 0 || !ret_error)
		return code;
	ret_error->code = code;
	snprintf(ret_error->text, sizeof(ret_error->text), "%s", error && error->text[0] ? error->text : pool_error_string(code));
	return code;
}

/* The codes of the public header are those of the table. */
#define SAME(name, number, text) _Static_assert(LIB##name == (number), "libpool.h and base/error.h");
POOL_ERROR_TABLE(SAME)

const char *libpool_version(void)
{
	return "0.1.0";
}

const char *libpool_strerror(int code)
{
	return pool_error_string(code > 0 ? -code : code);
}

void libpool_free(void *pointer)
{
	free(pointer);
}

const char *libpool_disk_state_name(uint32_t state)
{
	static const char *const names[] = {
		[LIBPOOL_DISK_ONLINE] = "online",   [LIBPOOL_DISK_RESYNC] = "resync", [LIBPOOL_DISK_FAULTY] = "faulty",
		[LIBPOOL_DISK_MISSING] = "missing", [LIBPOOL_DISK_REMOVED] = "removed", [LIBPOOL_DISK_SLOW] = "slow",
		[LIBPOOL_DISK_SPARE] = "spare",     [LIBPOOL_DISK_OFFLINE] = "offline",
	};

	return state < sizeof(names) / sizeof(names[0]) ? names[state] : "unknown";
}
