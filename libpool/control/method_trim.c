/* SPDX-License-Identifier: BSD-2-Clause */
/* trim: of all disks, or of some. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/control/methods.h"
#include "libpool/control/result.h"

static const char *text_at(struct invocation *invocation, const char *name, size_t index)
{
	struct json_object *array = NULL;

	json_object_object_get_ex(invocation->params, name, &array);
	return array && index < json_object_array_length(array) ? json_object_get_string(json_object_array_get_idx(array, index)) : NULL;
}

static size_t count_disks(struct invocation *invocation)
{
	size_t count = 0;

	while (text_at(invocation, "disks", count))
		count++;
	return count;
}

static int start(struct invocation *invocation)
{
	size_t count = count_disks(invocation);
	char (*indexes)[16] = calloc(count + 1, sizeof(*indexes));
	const char **disks = calloc(count + 1, sizeof(*disks));
	int code = indexes && disks ? 0 : method_fail(invocation, -ENOMEM, "trim: no memory");

	for (size_t i = 0; code == 0 && i < count; i++) {
		code = disk_index_of(invocation, text_at(invocation, "disks", i), text_at(invocation, "disk_paths", i), indexes[i]);
		disks[i] = indexes[i];
	}
	if (code == 0) {
		struct libpool_trim_options options = {.size = sizeof(options), .disks = count ? disks : NULL, .disk_count = count,
						       .bytes_per_second = parameter_number(invocation, "bytes_per_second")};

		code = libpool_trim_start(invocation->pool, &options, &invocation->error);
		code = method_complete(invocation, code, "starting a trim of pool %s", invocation->pool_name);
	}
	free(indexes);
	free(disks);
	return code;
}

int run_trim(struct invocation *invocation)
{
	const char *action = parameter_text(invocation, "action");
	int code;

	if (!action || strcmp(action, "start") == 0)
		code = start(invocation);
	else if (strcmp(action, "stop") == 0)
		code = method_complete(invocation, libpool_trim_cancel(invocation->pool, &invocation->error), "stopping the trim of pool %s",
				       invocation->pool_name);
	else
		return method_fail(invocation, -EINVAL, "trim: action '%.32s' is none of start, stop", action);
	if (code < 0)
		return code;
	result_text(invocation->result, "pool", invocation->pool_name);
	return add_jobs(invocation, 1u << LIBPOOL_JOB_TRIM);
}
