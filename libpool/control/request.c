/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A request in a thread of its own: its method may take as long as it likes without holding up anything else. Whether its client
 * still wants the result is asked now and then; a client that has gone doesn't.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "libpool/control/control.h"
#include "libpool/control/method.h"

#define PROGRESS_NS UINT64_C(200000000)

void request_send(struct libpool_control *control, struct client *client, char *line)
{
	pthread_mutex_lock(&control->lock);
	client_send(client, line, strlen(line));
	pthread_mutex_unlock(&control->lock);
	eventfd_write(control->wake, 1);
	free(line);
}

static void reply(struct request *request, char *line)
{
	static const char without_memory[] = "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":-32000,"
					     "\"message\":\"the answer is too large, or there is no memory for it\",\"data\":{\"code\":12}}}\n";

	if (!request->id)
		free(line);
	else if (line || (line = strdup(without_memory)))
		request_send(request->control, request->client, line);
}

static void close_descriptors(struct request *request)
{
	while (request->descriptor_count)
		close(request->descriptors[--request->descriptor_count]);
}

static void request_free(struct request *request)
{
	close_descriptors(request);
	json_object_put(request->root);
	free(request);
}

/* ---- what the method sees ---- */

static bool is_cancelled(const struct request *request)
{
	return atomic_load(&request->cancelled);
}

static void outside(struct request *request, bool is_outside)
{
	atomic_store(&request->is_outside, is_outside);
}

static void progress(struct request *request, uint64_t done, uint64_t total, uint64_t rate)
{
	uint64_t now = control_now_ns();
	bool busy;
	char *line;

	if (!request->wants_progress || !request->id || now < request->progress_ns + PROGRESS_NS)
		return;
	request->progress_ns = now;
	pthread_mutex_lock(&request->control->lock);
	busy = request->client->output_length - request->client->output_sent >= OUTPUT_PAUSE / 4;
	pthread_mutex_unlock(&request->control->lock);
	line = busy ? NULL : message_progress(request->id, done, total, rate);
	if (line)
		request_send(request->control, request->client, line);
}

/* ---- the thread ---- */

/* The answer waits for the pool to be closed. Whether there is room to remember it. Its id is a copy: another thread frees it. */
static bool wait_for_export(struct request *request)
{
	struct libpool_control *control = request->control;
	struct export_wait wait = {.client = request->client};
	bool result = !request->id || json_object_deep_copy(request->id, &wait.id, NULL) == 0;

	pthread_mutex_lock(&control->lock);
	result = result && control->export_count < EXPORTS_MAX && !control->stopping;
	if (result)
		control->exports[control->export_count++] = wait;
	pthread_mutex_unlock(&control->lock);
	if (!result)
		json_object_put(wait.id);
	return result;
}

static void run_method(struct request *request)
{
	struct invocation invocation = {
		.host = &request->control->host,
		.pool = request->control->pool,
		.pool_name = request->control->name,
		.params = request->params,
		.descriptor = request->descriptor_count ? request->descriptors[0] : -1,
		.user = request->client->user,
		.request = request,
		.is_cancelled = is_cancelled,
		.progress = progress,
		.outside = outside,
	};
	int code = method_run(request->method, &invocation);

	/* Whoever reads the answer may rely on it. */
	close_descriptors(request);
	if (code < 0) {
		reply(request, message_error(request->id, RPC_SERVER_ERROR, &invocation.error));
	} else if (request->method->flags & METHOD_EXPORT) {
		if (wait_for_export(request))
			request->control->export_asked(request->control->argument);
		else
			reply(request, message_error(request->id, RPC_SERVER_ERROR,
						     &(struct libpool_error){.code = -EBUSY, .text = "the pool is being exported already"}));
	} else {
		reply(request, message_result(request->id, invocation.result));
	}
	json_object_put(invocation.result);
}

static void *thread_main(void *argument)
{
	struct request *request = argument;
	struct libpool_control *control = request->control;
	struct client *client = request->client;

	run_method(request);
	pthread_mutex_lock(&control->lock);
	for (struct request **link = &client->requests; *link; link = &(*link)->next)
		if (*link == request) {
			*link = request->next;
			break;
		}
	client->request_count--;
	request->next = control->finished;
	control->finished = request;
	control->running--;
	pthread_cond_broadcast(&control->idle);
	pthread_mutex_unlock(&control->lock);
	eventfd_write(control->wake, 1);
	return NULL;
}

void request_reap(struct libpool_control *control)
{
	struct request *request, *next;

	pthread_mutex_lock(&control->lock);
	request = control->finished;
	control->finished = NULL;
	pthread_mutex_unlock(&control->lock);
	for (; request; request = next) {
		next = request->next;
		pthread_join(request->thread, NULL);
		request_free(request);
	}
}

/* ---- begin ---- */

static int start_thread(struct request *request)
{
	struct libpool_control *control = request->control;
	sigset_t all, before;
	int result;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pthread_mutex_lock(&control->lock);
	result = -pthread_create(&request->thread, NULL, thread_main, request);
	if (result == 0) {
		request->next = request->client->requests;
		request->client->requests = request;
		request->client->request_count++;
		control->running++;
	}
	pthread_mutex_unlock(&control->lock);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (result == 0)
		pthread_setname_np(request->thread, "pool-request");
	return result;
}

static void cancel(struct libpool_control *control, struct client *client, struct json_object *params)
{
	struct json_object *id = NULL;

	if (!params || !json_object_object_get_ex(params, "id", &id))
		return;
	pthread_mutex_lock(&control->lock);
	for (struct request *request = client->requests; request; request = request->next)
		if (request->id && json_object_equal(request->id, id))
			atomic_store(&request->cancelled, true);
	pthread_mutex_unlock(&control->lock);
}

static struct request *request_new(struct libpool_control *control, struct client *client, const struct message *message)
{
	struct request *request = calloc(1, sizeof(*request));

	if (!request)
		return NULL;
	*request = (struct request){
		.client = client,
		.control = control,
		.method = method_find(message->method),
		.root = message->root,
		.id = message->id,
		.params = message->params,
		.wants_progress = message->progress,
	};
	if (!request->params) {
		request->params = json_object_new_object();
		json_object_object_add(request->root, "params", request->params);
	}
	while (request->descriptor_count < message->descriptors && client->descriptor_count > 0) {
		request->descriptors[request->descriptor_count++] = client->descriptors[0];
		client->descriptor_count--;
		memmove(client->descriptors, client->descriptors + 1, client->descriptor_count * sizeof(int));
	}
	return request;
}

/* 0, or the RPC code of why it can't begin. */
static int check(const struct request *request, const struct message *message, struct libpool_error *error)
{
	const struct libpool_control *control = request->control;

	if (request->descriptor_count < message->descriptors) {
		snprintf(error->text, sizeof(error->text), "the request says that it comes with %u descriptors, but %u came",
			 message->descriptors, request->descriptor_count);
		return RPC_INVALID_REQUEST;
	}
	if (!request->method) {
		snprintf(error->text, sizeof(error->text), "there is no method '%.64s'", message->method);
		return RPC_METHOD_NOT_FOUND;
	}
	if (method_check(request->method, request->params, error) < 0)
		return RPC_INVALID_PARAMS;
	if (request->descriptor_count != (request->method->flags & METHOD_DESCRIPTOR ? 1 : 0)) {
		snprintf(error->text, sizeof(error->text), "%s: %u descriptors came with the request, %d is right", message->method,
			 request->descriptor_count, request->method->flags & METHOD_DESCRIPTOR ? 1 : 0);
		return RPC_INVALID_PARAMS;
	}
	if (request->method->flags & METHOD_EXPORT && !control->export_asked) {
		error->code = -EOPNOTSUPP;
		snprintf(error->text, sizeof(error->text), "export %s: the process that has it imported doesn't give it up: end that process",
			 control->name);
		return RPC_SERVER_ERROR;
	}
	return 0;
}

void request_begin(struct libpool_control *control, struct client *client, const struct message *message)
{
	struct libpool_error error = {0};
	struct request *request;
	int code;

	if (strcmp(message->method, "cancel") == 0 && !message->id) {
		cancel(control, client, message->params);
		json_object_put(message->root);
		return;
	}
	request = request_new(control, client, message);
	code = request ? check(request, message, &error) : RPC_SERVER_ERROR;
	if (code == 0 && start_thread(request) == 0)
		return;
	if (code == 0 || !request) {
		code = RPC_SERVER_ERROR;
		error.code = -ENOMEM;
		snprintf(error.text, sizeof(error.text), "there is no memory for one more request");
	}
	if (message->id) {
		char *line = message_error(message->id, code, &error);

		if (line)
			request_send(control, client, line);
	}
	if (request)
		request_free(request);
	else
		json_object_put(message->root);
}
