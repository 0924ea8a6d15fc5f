/* SPDX-License-Identifier: BSD-2-Clause */
/* mount and unmount: passed on to the program that has the pool imported, if it can mount. */
#include <errno.h>

#include "libpool/control/methods.h"
#include "libpool/control/result.h"

static int refuse(struct invocation *invocation, const char *what)
{
	return method_fail(invocation, -EOPNOTSUPP, "%s: the process that has pool %s imported can't mount file systems", what,
			   invocation->pool_name);
}

int run_mount(struct invocation *invocation)
{
	const char *dataset = parameter_text(invocation, "dataset");
	struct libpool_mount_request request = {
		.size = sizeof(request),
		.dataset = dataset ? dataset : "",
		.directory = parameter_text(invocation, "directory"),
		.options = parameter_text(invocation, "options"),
	};
	int code;

	if (!invocation->host->mount)
		return refuse(invocation, "mount");
	if (request.directory[0] != '/')
		return method_fail(invocation, -EINVAL, "mount: '%.200s' is no absolute path", request.directory);
	code = invocation->host->mount(invocation->host->argument, &request, &invocation->error);
	if (code < 0)
		return method_complete(invocation, code, "mounting %s/%s", invocation->pool_name, request.dataset);
	result_text(invocation->result, "pool", invocation->pool_name);
	result_text(invocation->result, "dataset", request.dataset);
	result_text(invocation->result, "directory", request.directory);
	result_number(invocation->result, "mounts", (uint64_t)code);
	return 0;
}

int run_unmount(struct invocation *invocation)
{
	const char *directory = parameter_text(invocation, "directory");
	uint32_t last = 0;
	int code;

	if (!invocation->host->unmount)
		return refuse(invocation, "unmount");
	code = invocation->host->unmount(invocation->host->argument, directory, &last, &invocation->error);
	if (code < 0)
		return method_complete(invocation, code, "unmounting %.200s", directory);
	result_text(invocation->result, "pool", invocation->pool_name);
	result_text(invocation->result, "directory", directory);
	result_number(invocation->result, "mounts", (uint64_t)code);
	result_flag(invocation->result, "exports", last);
	return 0;
}
