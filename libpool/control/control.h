/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of the control server share. Nothing outside control/ includes this.
 *
 * One thread watches the sockets and does nothing that can block; each request runs in a thread of its own, which calls
 * libpool.h as any other user of the pool would. Limits keep every client to what it may cost:
 *
 *   CLIENTS_MAX      connections; one more takes the place of the client that has been idle longest
 *   PROCESS_MAX      connections of one process; one more takes the place of its own idlest, else it is refused
 *   REQUESTS_MAX     requests of one client under way; further ones stay in its socket
 *   LINE_MAX_BYTES   one request; a longer one ends the connection
 *   DEPTH_MAX        nesting of its JSON
 *   DESCRIPTORS_MAX  descriptors that came and were not asked for yet; one more ends the connection
 *   OUTPUT_PAUSE     bytes that the client hasn't read: no further requests of it begin, progress is not told
 *   STALL_NS         a client that takes none of its output for so long, while there is some, is given up
 *
 * What must always hold: a struct client is freed by the server's thread only, when its connection has ended and none of its
 * requests runs; the pool is closed only when all requests have ended, but for those that hang in a system call on something
 * that a client passed, which don't call the pool when they come back.
 */
#ifndef LIBPOOL_CONTROL_CONTROL_H
#define LIBPOOL_CONTROL_CONTROL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <json-c/json.h>

#include "libpool/control/method.h"
#include "libpool/include/libpool.h"

#define CLIENTS_MAX 64u
#define PROCESS_MAX 24u
#define REQUESTS_MAX 8u
#define LINE_MAX_BYTES 65536u
#define DEPTH_MAX 8
#define DESCRIPTORS_MAX 4u
#define OUTPUT_PAUSE 65536u
#define REPLY_MAX (32u << 20)
#define STALL_NS (UINT64_C(30) * 1000000000)

struct request {
	struct request *next; /* of its client, or of the finished ones */
	struct client *client;
	struct libpool_control *control;
	const struct method *method;
	struct json_object *root; /* owns id and params, so that no count of json-c's is touched by two threads */
	struct json_object *id, *params;
	int descriptors[DESCRIPTORS_MAX];
	unsigned descriptor_count;
	bool wants_progress;
	pthread_t thread;
	atomic_bool cancelled;
	atomic_bool is_outside; /* in a system call on a descriptor of the client, which may never return */
	uint64_t progress_ns;   /* when progress was told last */
};

struct client {
	struct client *next;
	int descriptor;        /* -1: the connection has ended */
	pid_t process;         /* 0: this one, or one that can't be told apart */
	char user[64];         /* who it is, for people */
	bool is_half_closed;   /* nothing more comes from it */
	bool is_ending;        /* closed when its output is out; nothing more is read */
	uint64_t active_ns;    /* when it last sent something, or took some of its output */
	char *input;
	size_t input_length;
	int descriptors[DESCRIPTORS_MAX];
	unsigned descriptor_count;
	/* Under the control's lock: */
	char *output;
	size_t output_length, output_sent, output_room;
	uint64_t output_ns;    /* since when output waits of which it takes nothing */
	struct request *requests;
	unsigned request_count;
};

/* A request for export whose answer waits for the pool to be closed. */
struct export_wait {
	struct client *client;
	struct json_object *id;
};
#define EXPORTS_MAX 16u

struct libpool_control {
	libpool_pool *pool;
	uid_t *users;
	size_t user_count;
	void (*export_asked)(void *argument);
	struct method_host host;
	void *argument;
	char path[108];            /* of the socket; "" when there is none */
	char name[LIBPOOL_NAME_MAX + 1], guid[2 * LIBPOOL_GUID_SIZE + 1];
	dev_t device;              /* which file the socket is: another's is not removed */
	ino_t inode;
	int listener, wake;        /* wake: an eventfd */
	pthread_t thread;
	struct client *clients;    /* changed by the server's thread, under the lock */
	pthread_mutex_t lock;
	pthread_cond_t idle;       /* running went down */
	unsigned running;
	struct request *finished;  /* to be joined */
	int attached[CLIENTS_MAX]; /* descriptors that the server's thread is to take */
	unsigned attached_count;
	bool stopping;             /* no request begins any more */
	bool is_abandoned;         /* requests hang outside: what they refer to is never freed */
	uint64_t accept_after_ns;  /* the host has no descriptors left: not before */
	bool stopped;              /* the thread ends as soon as output is out */
	uint64_t stopped_ns;
	struct export_wait exports[EXPORTS_MAX];
	unsigned export_count;
};

uint64_t control_now_ns(void); /* monotonic */

/* ---- address.c ---- */

/* Binds and listens; fills path, device, inode and listener. */
int address_listen(struct libpool_control *control, const char *path, struct libpool_error *error);
/* Removes the socket if it is still this one. */
void address_remove(const struct libpool_control *control);

/* ---- client.c: connections; server's thread ---- */

/* Takes the descriptor in any case. */
int client_add(struct libpool_control *control, int descriptor);
/* Frees all that have ended and aren't needed any more. */
void client_sweep(struct libpool_control *control);
/* What poll() is to watch; 0: nothing but its end. */
short client_events(struct libpool_control *control, const struct client *client);
void client_ready(struct libpool_control *control, struct client *client, short events);
/* Begins requests that have come whole, as far as the limits allow. */
void client_begin_requests(struct libpool_control *control, struct client *client);
void client_disconnect(struct libpool_control *control, struct client *client);
/* Appends to the output; any thread, lock held. What can't be kept ends the connection. */
void client_send(struct client *client, const char *text, size_t length);
bool client_has_output(const struct client *client); /* lock held */

/* ---- message.c: JSON-RPC 2.0, one message a line ---- */

enum { /* codes of JSON-RPC */
	RPC_PARSE_ERROR = -32700,
	RPC_INVALID_REQUEST = -32600,
	RPC_METHOD_NOT_FOUND = -32601,
	RPC_INVALID_PARAMS = -32602,
	RPC_SERVER_ERROR = -32000, /* the method failed: data.code is that of libpool.h */
};

struct message {
	struct json_object *root;    /* owns the rest */
	struct json_object *id;      /* NULL: a notification */
	const char *method;
	struct json_object *params;  /* an object, or NULL */
	unsigned descriptors;        /* it says that it comes with so many */
	bool progress;
};
/* 0 with *ret_message, whose root the caller puts; or an RPC code with *ret_why, and *ret_id as far as it is known (to be put). */
int message_parse(const char *line, size_t length, struct message *ret_message, struct json_object **ret_id, const char **ret_why);
/* Lines to send, to be freed; NULL without memory. Take nothing over. */
char *message_result(struct json_object *id, struct json_object *result);
char *message_error(struct json_object *id, int rpc_code, const struct libpool_error *error);
char *message_progress(struct json_object *id, uint64_t done, uint64_t total, uint64_t rate);

/* ---- request.c: one request in a thread of its own ---- */

/* Server's thread. Takes over the message, and the client's oldest descriptors as it says. Replies itself when it can't begin. */
void request_begin(struct libpool_control *control, struct client *client, const struct message *message);
/* Joins and frees those that have ended. Server's thread. */
void request_reap(struct libpool_control *control);
/* Sends one line to the client, if it is still there. Any thread, no lock held. Frees the line. */
void request_send(struct libpool_control *control, struct client *client, char *line);

#endif
