/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One connection: lines come in, lines go out, neither ever waited for. The order of what a client sends is kept as far as the
 * beginnings of its requests go; answers come as they are ready.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "libpool/control/control.h"

#define OUTPUT_MAX (2 * (size_t)REPLY_MAX)

/* ---- who may ---- */

static bool is_allowed(const struct libpool_control *control, int descriptor, struct ucred *ret_peer)
{
	socklen_t length = sizeof(*ret_peer);

	if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, ret_peer, &length) != 0)
		return false;
	if (ret_peer->uid == 0 || ret_peer->uid == geteuid())
		return true;
	for (size_t i = 0; i < control->user_count; i++)
		if (control->users[i] == ret_peer->uid)
			return true;
	return false;
}

/* In one attempt: who doesn't read it goes without. */
static void refuse(int descriptor, int code, const char *text)
{
	struct libpool_error error = {.code = code};
	char *line;

	snprintf(error.text, sizeof(error.text), "%s", text);
	line = message_error(NULL, RPC_SERVER_ERROR, &error);
	if (line)
		(void)send(descriptor, line, strlen(line), MSG_DONTWAIT | MSG_NOSIGNAL);
	free(line);
	close(descriptor);
}

/* ---- life ---- */

static void close_descriptors(struct client *client)
{
	while (client->descriptor_count)
		close(client->descriptors[--client->descriptor_count]);
}

void client_disconnect(struct libpool_control *control, struct client *client)
{
	if (client->descriptor < 0)
		return;
	pthread_mutex_lock(&control->lock);
	close(client->descriptor);
	client->descriptor = -1;
	for (struct request *request = client->requests; request; request = request->next)
		atomic_store(&request->cancelled, true);
	free(client->output);
	client->output = NULL;
	client->output_length = client->output_sent = client->output_room = 0;
	pthread_mutex_unlock(&control->lock);
	close_descriptors(client);
	free(client->input);
	client->input = NULL;
}

static bool waits_for_export(const struct libpool_control *control, const struct client *client)
{
	for (unsigned i = 0; i < control->export_count; i++)
		if (control->exports[i].client == client)
			return true;
	return false;
}

/* One that is waiting for nothing, and has been for the longest time; `process` not 0: of that process. */
static struct client *idlest(struct libpool_control *control, pid_t process)
{
	struct client *found = NULL;

	pthread_mutex_lock(&control->lock);
	for (struct client *client = control->clients; client; client = client->next)
		if (client->descriptor >= 0 && client->request_count == 0 && (!process || client->process == process) &&
		    (!found || client->active_ns < found->active_ns) && !waits_for_export(control, client))
			found = client;
	pthread_mutex_unlock(&control->lock);
	return found;
}

/* Of all, or of one process. */
static unsigned connected(const struct libpool_control *control, pid_t process)
{
	unsigned count = 0;

	for (struct client *client = control->clients; client; client = client->next)
		count += client->descriptor >= 0 && (!process || client->process == process);
	return count;
}

/* Whether there is room for one more, perhaps in the place of another. */
static bool make_room(struct libpool_control *control, pid_t process)
{
	bool crowds = process && connected(control, process) >= PROCESS_MAX;
	struct client *victim;

	if (!crowds && connected(control, 0) < CLIENTS_MAX)
		return true;
	victim = idlest(control, crowds ? process : 0);
	if (victim)
		client_disconnect(control, victim);
	return victim != NULL;
}

int client_add(struct libpool_control *control, int descriptor)
{
	struct client *client;
	struct ucred peer;
	pid_t process;

	if (!is_allowed(control, descriptor, &peer)) {
		refuse(descriptor, -EACCES, "this pool is served to root and to the user who has it imported, and to nobody else");
		return -EACCES;
	}
	process = peer.pid == getpid() ? 0 : peer.pid;
	if (!make_room(control, process)) {
		refuse(descriptor, -EBUSY, "too many clients are being served: try again later");
		return -EBUSY;
	}
	client = calloc(1, sizeof(*client));
	if (client)
		client->input = malloc(LINE_MAX_BYTES);
	if (!client || !client->input) {
		free(client);
		close(descriptor);
		return -ENOMEM;
	}
	client->descriptor = descriptor;
	client->process = process;
	snprintf(client->user, sizeof(client->user), "control client pid %d uid %u", (int)peer.pid, (unsigned)peer.uid);
	client->active_ns = control_now_ns();
	pthread_mutex_lock(&control->lock);
	client->next = control->clients;
	control->clients = client;
	pthread_mutex_unlock(&control->lock);
	return 0;
}

void client_sweep(struct libpool_control *control)
{
	struct client **link = &control->clients;

	while (*link) {
		struct client *client = *link;
		bool needed = client->descriptor >= 0;

		pthread_mutex_lock(&control->lock);
		needed = needed || client->request_count > 0 || waits_for_export(control, client);
		if (!needed)
			*link = client->next;
		pthread_mutex_unlock(&control->lock);
		if (needed)
			link = &client->next;
		else
			free(client);
	}
}

/* ---- output ---- */

void client_send(struct client *client, const char *text, size_t length)
{
	if (client->descriptor < 0)
		return;
	if (!client_has_output(client))
		client->output_ns = control_now_ns();
	if (client->output_length + length > client->output_room) {
		size_t pending = client->output_length - client->output_sent, room = pending + length + 4096;
		char *larger = room <= OUTPUT_MAX ? malloc(room) : NULL;

		if (!larger) {
			/* An answer that is missing must not look like one that is late. */
			shutdown(client->descriptor, SHUT_RDWR);
			return;
		}
		if (pending)
			memcpy(larger, client->output + client->output_sent, pending);
		free(client->output);
		client->output = larger;
		client->output_room = room;
		client->output_sent = 0;
		client->output_length = pending;
	}
	memcpy(client->output + client->output_length, text, length);
	client->output_length += length;
}

bool client_has_output(const struct client *client)
{
	return client->output_length > client->output_sent;
}

static void write_output(struct libpool_control *control, struct client *client)
{
	ssize_t step = 0;
	bool failed = false;

	pthread_mutex_lock(&control->lock);
	if (client_has_output(client))
		step = send(client->descriptor, client->output + client->output_sent, client->output_length - client->output_sent,
			    MSG_DONTWAIT | MSG_NOSIGNAL);
	failed = step < 0 && errno != EAGAIN && errno != EINTR;
	if (step > 0) {
		client->output_sent += (size_t)step;
		client->active_ns = client->output_ns = control_now_ns();
	}
	if (!client_has_output(client)) {
		free(client->output);
		client->output = NULL;
		client->output_length = client->output_sent = client->output_room = 0;
	}
	pthread_mutex_unlock(&control->lock);
	if (failed)
		client_disconnect(control, client);
}

/* The last words to a client that can't be understood. */
static void end_with(struct libpool_control *control, struct client *client, int rpc_code, const char *why)
{
	struct libpool_error error = {0};
	char *line;

	snprintf(error.text, sizeof(error.text), "%s", why);
	line = message_error(NULL, rpc_code, &error);
	client->is_ending = true;
	client->input_length = 0;
	close_descriptors(client);
	if (line)
		request_send(control, client, line);
}

/* ---- input ---- */

/* The other end of a connection to this server: to keep it open would hide that its client has gone. */
static bool leads_back(const struct libpool_control *control, int descriptor)
{
	struct sockaddr_un own = {.sun_family = AF_UNSPEC}, address = {.sun_family = AF_UNSPEC};
	socklen_t own_length = sizeof(own), length = sizeof(address), peer_length = sizeof(struct ucred);
	struct ucred peer;

	/* The path itself is cleared by who ends the server, in another thread. */
	return getsockname(control->listener, (struct sockaddr *)&own, &own_length) == 0 &&
	       getpeername(descriptor, (struct sockaddr *)&address, &length) == 0 && address.sun_family == AF_UNIX &&
	       strncmp(address.sun_path, own.sun_path, sizeof(own.sun_path)) == 0 &&
	       getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &peer_length) == 0 && peer.pid == getpid();
}

static void take_descriptors(struct libpool_control *control, struct client *client, struct msghdr *header)
{
	bool too_many = header->msg_flags & MSG_CTRUNC, back = false;

	for (struct cmsghdr *part = CMSG_FIRSTHDR(header); part; part = CMSG_NXTHDR(header, part)) {
		size_t count;

		if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
			continue;
		count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int descriptor;

			memcpy(&descriptor, CMSG_DATA(part) + i * sizeof(int), sizeof(int));
			if (leads_back(control, descriptor)) {
				close(descriptor);
				back = true;
			} else if (client->descriptor_count < DESCRIPTORS_MAX && !client->is_ending) {
				client->descriptors[client->descriptor_count++] = descriptor;
			} else {
				close(descriptor);
				too_many = true;
			}
		}
	}
	if (back && !client->is_ending)
		end_with(control, client, RPC_INVALID_REQUEST, "a descriptor came that is a connection to this server");
	else if (too_many && !client->is_ending)
		end_with(control, client, RPC_INVALID_REQUEST, "more descriptors came than the requests ask for");
}

static bool may_begin(struct libpool_control *control, struct client *client)
{
	bool result;

	pthread_mutex_lock(&control->lock);
	result = !control->stopping && client->request_count < REQUESTS_MAX &&
		 client->output_length - client->output_sent < OUTPUT_PAUSE;
	pthread_mutex_unlock(&control->lock);
	return result && client->descriptor >= 0 && !client->is_ending;
}

static void one_line(struct libpool_control *control, struct client *client, const char *line, size_t length)
{
	struct libpool_error error = {0};
	struct message message;
	struct json_object *id;
	const char *why;
	int code = message_parse(line, length, &message, &id, &why);
	char *reply;

	if (code == 0) {
		request_begin(control, client, &message);
		return;
	}
	snprintf(error.text, sizeof(error.text), "%s", why);
	reply = message_error(id, code, &error);
	json_object_put(id);
	if (reply)
		request_send(control, client, reply);
}

/* What was taken goes at once, as a flood of short lines would move the rest for each. */
void client_begin_requests(struct libpool_control *control, struct client *client)
{
	size_t taken = 0;

	while (client->input && may_begin(control, client)) {
		const char *line = client->input + taken, *end = memchr(line, '\n', client->input_length - taken);

		if (!end) {
			if (client->input_length - taken == LINE_MAX_BYTES)
				end_with(control, client, RPC_INVALID_REQUEST, "a request is longer than 65536 bytes");
			break;
		}
		taken += (size_t)(end - line) + 1;
		if (end > line)
			one_line(control, client, line, (size_t)(end - line));
	}
	if (!client->input || client->is_ending || taken == 0)
		return;
	client->input_length -= taken;
	memmove(client->input, client->input + taken, client->input_length);
}

static void read_input(struct libpool_control *control, struct client *client)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE((DESCRIPTORS_MAX + 1) * sizeof(int))];
	} ancillary;
	struct iovec where = {.iov_base = client->input + client->input_length, .iov_len = LINE_MAX_BYTES - client->input_length};
	struct msghdr header = {.msg_iov = &where, .msg_iovlen = 1, .msg_control = &ancillary, .msg_controllen = sizeof(ancillary)};
	ssize_t length = recvmsg(client->descriptor, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (length < 0) {
		if (errno != EAGAIN && errno != EINTR)
			client_disconnect(control, client);
		return;
	}
	if (length == 0) {
		client->is_half_closed = true;
		return;
	}
	client->active_ns = control_now_ns();
	client->input_length += (size_t)length;
	take_descriptors(control, client, &header);
	client_begin_requests(control, client);
}

/* ---- the server's thread ---- */

short client_events(struct libpool_control *control, const struct client *client)
{
	bool paused, output;

	pthread_mutex_lock(&control->lock);
	output = client_has_output(client);
	paused = control->stopping || client->request_count >= REQUESTS_MAX ||
		 client->output_length - client->output_sent >= OUTPUT_PAUSE;
	pthread_mutex_unlock(&control->lock);
	if (!paused && !client->is_half_closed && !client->is_ending && client->input_length < LINE_MAX_BYTES)
		return (short)(POLLIN | (output ? POLLOUT : 0));
	return output ? POLLOUT : 0;
}

static bool is_over(struct libpool_control *control, const struct client *client)
{
	bool result;

	pthread_mutex_lock(&control->lock);
	result = !client_has_output(client) && (client->is_ending || (client->is_half_closed && client->request_count == 0)) &&
		 !waits_for_export(control, client);
	pthread_mutex_unlock(&control->lock);
	return result;
}

void client_ready(struct libpool_control *control, struct client *client, short events)
{
	uint64_t now = control_now_ns();
	bool stalled;

	if (events & POLLIN)
		read_input(control, client);
	if (client->descriptor >= 0 && (events & POLLOUT))
		write_output(control, client);
	if (client->descriptor >= 0 && events & (POLLHUP | POLLERR) && !(events & POLLIN))
		client_disconnect(control, client);
	if (client->descriptor < 0)
		return;
	client_begin_requests(control, client);
	pthread_mutex_lock(&control->lock);
	stalled = client_has_output(client) && now > client->output_ns + STALL_NS;
	pthread_mutex_unlock(&control->lock);
	if (stalled || is_over(control, client))
		client_disconnect(control, client);
}
