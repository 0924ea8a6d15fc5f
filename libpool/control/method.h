/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Methods: what a client can ask of the pool. Each is a function from parameters to a result document, on an open pool and
 * through libpool.h alone; the server runs it, and knows nothing of what it does.
 */
#ifndef LIBPOOL_CONTROL_METHOD_H
#define LIBPOOL_CONTROL_METHOD_H

#include <stdbool.h>

#include <json-c/json.h>

#include "libpool/include/libpool.h"

struct request;

/* What the program that has the pool imported can do beside; see struct libpool_control_options. */
struct method_host {
	void *argument;
	int (*mount)(void *argument, const struct libpool_mount_request *request, struct libpool_error *error);
	int (*unmount)(void *argument, const char *directory, uint32_t *ret_last, struct libpool_error *error);
	void (*properties_set)(void *argument);
};

/* One call of a method. */
struct invocation {
	const struct method_host *host;
	libpool_pool *pool;
	const char *pool_name;
	struct json_object *params; /* an object; checked against the method's list */
	struct json_object *result; /* begins with "schema" and "command" */
	struct libpool_error error;
	int descriptor;             /* that came with the request, or -1 */
	const char *user;           /* who asks, for people */
	struct request *request;
	/* Whether the client doesn't want the result any more, or the server stops. */
	bool (*is_cancelled)(const struct request *request);
	/* Tells the client, at most a few times a second. total 0: unknown; rate in bytes/s, 0: unknown. */
	void (*progress)(struct request *request, uint64_t done, uint64_t total, uint64_t rate);
	/* Around system calls on the descriptor that may never return. After true, the pool may be gone when they do: is_cancelled says so. */
	void (*outside)(struct request *request, bool is_outside);
};

enum parameter_kind { PARAMETER_TEXT, PARAMETER_NUMBER, PARAMETER_FLAG, PARAMETER_TEXTS, PARAMETER_SECONDS };

struct parameter {
	const char *name; /* NULL ends the list */
	enum parameter_kind kind;
	bool is_needed;
};

enum method_flags {
	METHOD_CHANGES = 1,    /* goes into the pool's history, unless it is a dry run */
	METHOD_DESCRIPTOR = 2, /* comes with one descriptor */
	METHOD_EXPORT = 4,     /* the answer is given when the pool is closed */
};

struct method {
	const char *name;    /* that of the verb, words joined by a dot */
	const char *command; /* that of the verb */
	unsigned flags;
	const struct parameter *parameters;
	int (*run)(struct invocation *invocation); /* 0 or a negative code, with a text in invocation->error */
};

const struct method *method_find(const char *name);
/* NULL ends the iteration from index 0 on. */
const struct method *method_at(size_t index);
/* Whether the parameters are those of the method and of their kinds: 0 or -EINVAL. */
int method_check(const struct method *method, struct json_object *params, struct libpool_error *error);
/* Checks, runs, and notes it in the history. invocation->result is new; the caller puts it. */
int method_run(const struct method *method, struct invocation *invocation);

/* For methods. Parameters that were not given: NULL, 0, false. */
const char *parameter_text(const struct invocation *invocation, const char *name);
uint64_t parameter_number(const struct invocation *invocation, const char *name);
bool parameter_flag(const struct invocation *invocation, const char *name);
bool parameter_given(const struct invocation *invocation, const char *name);

/* Fills invocation->error and returns the code. */
int method_fail(struct invocation *invocation, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Where a call failed that may have left no text: "what: text of the code". Codes from 0 on pass. */
int method_complete(struct invocation *invocation, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
