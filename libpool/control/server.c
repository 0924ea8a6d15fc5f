/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The server: its thread, and how it begins and ends. It ends in this order: no request begins any more, those under way are
 * cancelled and waited for, the pool is closed (libpool_control_close), who asked for that is told, output goes out, all is freed.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "libpool/control/control.h"

#define NS_PER_S UINT64_C(1000000000)
#define GOODBYE_NS (2 * NS_PER_S) /* how long output may take to go out at the end */
#define ACCEPT_PAUSE_NS NS_PER_S
#define OUTSIDE_NS (5 * NS_PER_S) /* how long requests that hang outside are waited for */

uint64_t control_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* ---- the thread ---- */

/* As many as there is room for: those who are served have their turn, too. */
static void accept_clients(struct libpool_control *control)
{
	for (unsigned i = 0; i < CLIENTS_MAX; i++) {
		int descriptor = accept4(control->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (descriptor < 0) {
			if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
				control->accept_after_ns = control_now_ns() + ACCEPT_PAUSE_NS;
			return;
		}
		client_add(control, descriptor);
	}
}

/* Those handed over by libpool_control_attach. */
static void take_attached(struct libpool_control *control)
{
	for (;;) {
		int descriptor = -1;

		pthread_mutex_lock(&control->lock);
		if (control->attached_count > 0)
			descriptor = control->attached[--control->attached_count];
		pthread_mutex_unlock(&control->lock);
		if (descriptor < 0)
			return;
		client_add(control, descriptor);
	}
}

static bool has_output(struct libpool_control *control)
{
	bool result = false;

	pthread_mutex_lock(&control->lock);
	for (struct client *client = control->clients; client; client = client->next)
		result = result || (client->descriptor >= 0 && client_has_output(client));
	pthread_mutex_unlock(&control->lock);
	return result;
}

static bool is_over(struct libpool_control *control)
{
	bool stopped;
	uint64_t since;

	pthread_mutex_lock(&control->lock);
	stopped = control->stopped;
	since = control->stopped_ns;
	pthread_mutex_unlock(&control->lock);
	return stopped && (!has_output(control) || control_now_ns() > since + GOODBYE_NS);
}

static bool accepts(struct libpool_control *control)
{
	bool stopping;

	pthread_mutex_lock(&control->lock);
	stopping = control->stopping;
	pthread_mutex_unlock(&control->lock);
	return !stopping && control_now_ns() >= control->accept_after_ns;
}

static void turn(struct libpool_control *control)
{
	struct pollfd watched[2 + CLIENTS_MAX];
	struct client *clients[CLIENTS_MAX];
	unsigned count = 0;

	watched[0] = (struct pollfd){.fd = control->wake, .events = POLLIN};
	watched[1] = (struct pollfd){.fd = accepts(control) ? control->listener : -1, .events = POLLIN};
	for (struct client *client = control->clients; client; client = client->next) {
		if (client->descriptor < 0)
			continue;
		clients[count] = client;
		watched[2 + count++] = (struct pollfd){.fd = client->descriptor, .events = client_events(control, client)};
	}
	if (poll(watched, 2 + count, 1000) < 0)
		return;
	if (watched[0].revents) {
		eventfd_t ignored;

		eventfd_read(control->wake, &ignored);
	}
	/* All of them, ready or not: limits that kept one from going on may have gone, time may be up. */
	for (unsigned i = 0; i < count; i++)
		client_ready(control, clients[i], watched[2 + i].revents);
	request_reap(control);
	take_attached(control);
	if (watched[1].revents)
		accept_clients(control);
	client_sweep(control);
}

static void *thread_main(void *argument)
{
	struct libpool_control *control = argument;

	while (!is_over(control))
		turn(control);
	for (struct client *client = control->clients; client; client = client->next)
		client_disconnect(control, client);
	request_reap(control);
	client_sweep(control);
	return NULL;
}

/* ---- begin ---- */

static int options_copy(struct libpool_control_options *copy, const struct libpool_control_options *options)
{
	*copy = (struct libpool_control_options){.size = sizeof(*copy)};
	if (!options)
		return 0;
	if (options->size < sizeof(options->size))
		return -EINVAL;
	for (size_t i = sizeof(*copy); i < options->size; i++)
		if (((const char *)options)[i])
			return -E2BIG;
	memcpy(copy, options, options->size < sizeof(*copy) ? options->size : sizeof(*copy));
	return 0;
}

static int prepare(struct libpool_control *control, const struct libpool_control_options *options, struct libpool_error *error)
{
	struct libpool_pool_info info = {.size = sizeof(info)};
	int code = libpool_pool_info(control->pool, &info);

	if (code < 0)
		return code;
	snprintf(control->name, sizeof(control->name), "%s", info.name);
	for (int i = 0; i < LIBPOOL_GUID_SIZE; i++)
		snprintf(control->guid + 2 * i, 3, "%02x", info.guid[i]);
	if (options->user_count) {
		control->users = calloc(options->user_count, sizeof(*control->users));
		if (!control->users || !options->users)
			return control->users ? -EINVAL : -ENOMEM;
		for (size_t i = 0; i < options->user_count; i++)
			control->users[i] = options->users[i];
		control->user_count = options->user_count;
	}
	control->export_asked = options->export_asked;
	control->argument = options->argument;
	control->host = (struct method_host){options->argument, options->mount, options->unmount, options->properties_set};
	control->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (control->wake < 0)
		return -errno;
	return address_listen(control, options->path, error);
}

static void control_free(struct libpool_control *control)
{
	address_remove(control);
	if (control->listener >= 0)
		close(control->listener);
	if (control->is_abandoned)
		return;
	if (control->wake >= 0)
		close(control->wake);
	for (unsigned i = 0; i < control->attached_count; i++)
		close(control->attached[i]);
	pthread_cond_destroy(&control->idle);
	pthread_mutex_destroy(&control->lock);
	free(control->users);
	free(control);
}

static int start(struct libpool_control *control)
{
	sigset_t all, before;
	int code;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	code = -pthread_create(&control->thread, NULL, thread_main, control);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (code == 0)
		pthread_setname_np(control->thread, "pool-control");
	return code;
}

int libpool_serve_control(libpool_pool *pool, const struct libpool_control_options *options, libpool_control **ret_control,
			  struct libpool_error *error)
{
	struct libpool_control_options copy;
	struct libpool_error reason = {0};
	struct libpool_control *control = NULL;
	int code = pool && ret_control ? options_copy(&copy, options) : -EINVAL;

	if (code == 0) {
		control = calloc(1, sizeof(*control));
		code = control ? 0 : -ENOMEM;
	}
	if (code == 0) {
		control->pool = pool;
		control->listener = control->wake = -1;
		pthread_mutex_init(&control->lock, NULL);
		pthread_cond_init(&control->idle, NULL);
		code = prepare(control, &copy, &reason);
		if (code == 0)
			code = start(control);
		if (code < 0)
			control_free(control);
	}
	if (code < 0) {
		if (!reason.text[0])
			snprintf(reason.text, sizeof(reason.text), "the control socket can't be served: %s", libpool_strerror(code));
		reason.code = code;
		if (error)
			*error = reason;
		return code;
	}
	*ret_control = control;
	return 0;
}

int libpool_control_attach(libpool_control *control, int descriptor)
{
	int code = 0;

	pthread_mutex_lock(&control->lock);
	if (control->stopping)
		code = -ENODEV;
	else if (control->attached_count == CLIENTS_MAX)
		code = -EBUSY;
	else
		control->attached[control->attached_count++] = descriptor;
	pthread_mutex_unlock(&control->lock);
	if (code < 0)
		close(descriptor);
	else
		eventfd_write(control->wake, 1);
	return code;
}

/* ---- end ---- */

/* Lock held. How many requests run that don't hang outside. */
static unsigned cancel_all(struct libpool_control *control)
{
	unsigned inside = 0;

	for (struct client *client = control->clients; client; client = client->next)
		for (struct request *request = client->requests; request; request = request->next) {
			atomic_store(&request->cancelled, true);
			inside += !atomic_load(&request->is_outside);
		}
	return inside;
}

/* No request begins any more, and none runs that could call the pool. */
static void quiesce(struct libpool_control *control)
{
	uint64_t limit = control_now_ns() + OUTSIDE_NS;
	struct timespec until;

	pthread_mutex_lock(&control->lock);
	control->stopping = true;
	while (control->running > 0) {
		if (cancel_all(control) == 0 && control_now_ns() > limit) {
			control->is_abandoned = true;
			break;
		}
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_sec++;
		pthread_cond_timedwait(&control->idle, &control->lock, &until);
	}
	pthread_mutex_unlock(&control->lock);
}

static char *export_answer(const struct libpool_control *control, struct json_object *id, int code, const struct libpool_error *error)
{
	struct json_object *result;
	char *line;

	if (code < 0)
		return message_error(id, RPC_SERVER_ERROR, error);
	result = json_object_new_object();
	json_object_object_add(result, "schema", json_object_new_int(1));
	json_object_object_add(result, "command", json_object_new_string("export"));
	json_object_object_add(result, "pool", json_object_new_string(control->name));
	json_object_object_add(result, "clean", json_object_new_boolean(true));
	line = message_result(id, result);
	json_object_put(result);
	return line;
}

static void answer_exports(struct libpool_control *control, int code, const struct libpool_error *error)
{
	for (unsigned i = 0; i < control->export_count; i++) {
		struct export_wait *wait = &control->exports[i];
		char *line = wait->id ? export_answer(control, wait->id, code, error) : NULL;

		if (line)
			request_send(control, wait->client, line);
		json_object_put(wait->id);
	}
	pthread_mutex_lock(&control->lock);
	control->export_count = 0;
	pthread_mutex_unlock(&control->lock);
}

static void finish(struct libpool_control *control)
{
	pthread_mutex_lock(&control->lock);
	control->stopped = true;
	control->stopped_ns = control_now_ns();
	pthread_mutex_unlock(&control->lock);
	eventfd_write(control->wake, 1);
	pthread_join(control->thread, NULL);
	control_free(control);
}

void libpool_control_stop(libpool_control *control)
{
	struct libpool_error error = {.code = -ECANCELED, .text = "the pool was not exported: its process stops serving this socket"};

	if (!control)
		return;
	quiesce(control);
	answer_exports(control, -ECANCELED, &error);
	finish(control);
}

int libpool_control_close(libpool_control *control, struct libpool_error *error)
{
	struct libpool_error reason = {0};
	int code;

	if (!control)
		return -EINVAL;
	quiesce(control);
	/* Before the disks are free, so that the next owner finds nothing here. */
	address_remove(control);
	control->path[0] = '\0';
	code = libpool_close(control->pool, &reason);
	if (code < 0 && !reason.text[0])
		snprintf(reason.text, sizeof(reason.text), "exporting pool %s: %s", control->name, libpool_strerror(code));
	reason.code = code;
	answer_exports(control, code, &reason);
	finish(control);
	if (code < 0 && error)
		*error = reason;
	return code;
}
