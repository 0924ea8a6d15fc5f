/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * volume read and volume write: bytes between a volume and a descriptor that the client passed, copied here and never put into
 * JSON. What must always hold: bytes that are reported as written are durable; whatever hangs at the other end of the descriptor
 * hangs this request only, and only until it is cancelled: pipes and sockets are never waited for inside read() or write(), files
 * may be (a dead network file system), which is what `outside` is for.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "libpool/control/result.h"
#include "libpool/control/methods.h"

#define PIECE_BYTES (UINT64_C(4) << 20)
#define BLOCKING_BYTES 4096 /* what a pipe takes without waiting once it says that it takes something */
#define STEP_MS 200

struct stream {
	struct invocation *invocation;
	libpool_volume *volume;
	uint64_t volume_bytes, offset, length, done; /* length: at most; `done` of it so far */
	int descriptor;
	bool is_own;        /* opened anew here */
	bool is_socket;
	bool may_block;     /* reading and writing may wait although poll() says that they don't */
	const char *file;   /* for error texts */
	unsigned char *piece;
	uint64_t started_ns;
	char what[2 * LIBPOOL_NAME_MAX + 32];
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

/* ---- errors ---- */

static int interrupted(struct stream *stream)
{
	return method_fail(stream->invocation, -EINTR,
			   "%s was interrupted after %" PRIu64 " bytes: what was transferred stays; go on with --offset %" PRIu64, stream->what,
			   stream->done, stream->offset + stream->done);
}

static int failed(struct stream *stream, int code, const char *action)
{
	return method_fail(stream->invocation, code, "%s: %s at offset %" PRIu64 ": %s", stream->what, action, stream->offset + stream->done,
			   libpool_strerror(code));
}

/* ---- the descriptor ---- */

/* Whether the client itself could read it, or write it: this process may have rights that the client lacks. */
static bool is_usable(int descriptor, bool is_input)
{
	int flags = fcntl(descriptor, F_GETFL), mode = flags & O_ACCMODE;

	return flags >= 0 && !(flags & O_PATH) && (mode == O_RDWR || mode == (is_input ? O_RDONLY : O_WRONLY));
}

/* A pipe is opened anew, so that it can be made not to block without changing it for the client. */
static int prepare_descriptor(struct stream *stream, bool is_input)
{
	struct stat status;
	char path[40];
	int own;

	stream->descriptor = stream->invocation->descriptor;
	if (!is_usable(stream->descriptor, is_input) || fstat(stream->descriptor, &status) != 0)
		return method_fail(stream->invocation, -EBADF, "%s: %s is not open for %s", stream->what, stream->file,
				   is_input ? "reading" : "writing");
	stream->is_socket = S_ISSOCK(status.st_mode);
	if (!S_ISFIFO(status.st_mode))
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", stream->descriptor);
	own = open(path, (is_input ? O_RDONLY : O_WRONLY) | O_NONBLOCK | O_CLOEXEC);
	stream->may_block = own < 0;
	if (own < 0)
		return 0;
	stream->descriptor = own;
	stream->is_own = true;
	return 0;
}

/* 0 when it is ready, or -EINTR when nobody wants it any more. */
static int wait_for(struct stream *stream, short events)
{
	struct pollfd watched = {.fd = stream->descriptor, .events = events};

	while (!stream->invocation->is_cancelled(stream->invocation->request))
		if (poll(&watched, 1, STEP_MS) != 0 && watched.revents)
			return 0;
	return interrupted(stream);
}

static ssize_t transfer(struct stream *stream, void *bytes, size_t length, bool is_input)
{
	ssize_t step;

	if (stream->may_block && length > BLOCKING_BYTES)
		length = BLOCKING_BYTES;
	stream->invocation->outside(stream->invocation->request, true);
	if (stream->is_socket)
		step = is_input ? recv(stream->descriptor, bytes, length, MSG_DONTWAIT)
				: send(stream->descriptor, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
	else
		step = is_input ? read(stream->descriptor, bytes, length) : write(stream->descriptor, bytes, length);
	if (step < 0)
		step = -errno;
	stream->invocation->outside(stream->invocation->request, false);
	return step;
}

/* Fills the piece: its length, less at the end of the input, or a negative code with its text. */
static ssize_t input_fill(struct stream *stream, size_t wanted)
{
	size_t have = 0;

	while (have < wanted) {
		int code = wait_for(stream, POLLIN);
		ssize_t step = code < 0 ? code : transfer(stream, stream->piece + have, wanted - have, true);

		if (code < 0)
			return code;
		if (stream->invocation->is_cancelled(stream->invocation->request))
			return interrupted(stream);
		if (step == 0)
			break;
		if (step < 0 && step != -EINTR && step != -EAGAIN)
			return method_fail(stream->invocation, (int)step, "%s: reading %s: %s", stream->what, stream->file, strerror((int)-step));
		if (step > 0)
			have += (size_t)step;
	}
	return (ssize_t)have;
}

static int output_piece(struct stream *stream, size_t length)
{
	size_t written = 0;

	while (written < length) {
		int code = wait_for(stream, POLLOUT);
		ssize_t step = code < 0 ? code : transfer(stream, stream->piece + written, length - written, false);

		if (code < 0)
			return code;
		if (stream->invocation->is_cancelled(stream->invocation->request))
			return interrupted(stream);
		if (step < 0 && step != -EINTR && step != -EAGAIN)
			return method_fail(stream->invocation, (int)step, "%s: writing to %s after %" PRIu64 " bytes: %s", stream->what,
					   stream->file, stream->done + written, strerror((int)-step));
		if (step > 0)
			written += (size_t)step;
	}
	return 0;
}

/* ---- both ---- */

static int open_volume(struct stream *stream, bool read_only)
{
	struct invocation *invocation = stream->invocation;
	struct libpool_open_options options = {.size = sizeof(options), .read_only = read_only, .user = invocation->user};
	struct libpool_volume_info info = {.size = sizeof(info)};
	const char *name = parameter_text(invocation, "volume");
	int code = libpool_volume_open(invocation->pool, name, &options, &stream->volume, &invocation->error);

	if (code < 0)
		return method_complete(invocation, code, "opening volume %s/%s", invocation->pool_name, name);
	code = libpool_volume_get_info(stream->volume, &info);
	if (code < 0)
		return failed(stream, code, "asking for its size");
	stream->volume_bytes = info.volume_bytes;
	if (stream->offset > info.volume_bytes)
		return method_fail(invocation, -EINVAL, "%s: offset %" PRIu64 " lies beyond its end at %" PRIu64, stream->what, stream->offset,
				   info.volume_bytes);
	stream->length = info.volume_bytes - stream->offset;
	if (parameter_given(invocation, "length") && parameter_number(invocation, "length") < stream->length)
		stream->length = parameter_number(invocation, "length");
	return 0;
}

static int stream_begin(struct stream *stream, struct invocation *invocation, const char *doing, bool reading)
{
	const char *file = parameter_text(invocation, "file");
	int code;

	*stream = (struct stream){
		.invocation = invocation,
		.descriptor = -1,
		.offset = parameter_number(invocation, "offset"),
		.file = file ? file : "the descriptor",
		.started_ns = now_ns(),
	};
	snprintf(stream->what, sizeof(stream->what), "%s %s/%.255s", doing, invocation->pool_name, parameter_text(invocation, "volume"));
	stream->piece = malloc(PIECE_BYTES);
	if (!stream->piece)
		return failed(stream, -ENOMEM, "taking memory for one piece");
	code = prepare_descriptor(stream, !reading);
	return code < 0 ? code : open_volume(stream, reading);
}

static int stream_end(struct stream *stream, int code)
{
	struct json_object *result = stream->invocation->result;

	if (stream->is_own)
		close(stream->descriptor);
	if (stream->volume)
		libpool_volume_close(stream->volume);
	free(stream->piece);
	result_text(result, "pool", stream->invocation->pool_name);
	result_text(result, "volume", parameter_text(stream->invocation, "volume"));
	result_number(result, "offset", stream->offset);
	result_number(result, "bytes", stream->done);
	result_seconds(result, "seconds", now_ns() - stream->started_ns);
	return code;
}

/* ---- write ---- */

/* How much will come, as far as that can be known; 0 otherwise. An input that is too long is refused before anything is written. */
static int measure_input(struct stream *stream, uint64_t *ret_total)
{
	struct invocation *invocation = stream->invocation;
	struct stat status;
	off_t position;

	*ret_total = 0;
	if (fstat(stream->descriptor, &status) != 0)
		return 0;
	if (S_ISDIR(status.st_mode))
		return method_fail(invocation, -EISDIR, "%s: %s is a folder: name a file", stream->what, stream->file);
	if (!S_ISREG(status.st_mode))
		return 0;
	position = lseek(stream->descriptor, 0, SEEK_CUR);
	*ret_total = position >= 0 && position < status.st_size ? (uint64_t)(status.st_size - position) : 0;
	if (parameter_given(invocation, "length") && *ret_total > parameter_number(invocation, "length"))
		*ret_total = parameter_number(invocation, "length");
	if (*ret_total > stream->volume_bytes - stream->offset)
		return method_fail(invocation, -EFBIG,
				   "%s: %s has %" PRIu64 " bytes, but from offset %" PRIu64 " on there is room for %" PRIu64
				   ": resize the volume, or give --length",
				   stream->what, stream->file, *ret_total, stream->offset, stream->volume_bytes - stream->offset);
	return 0;
}

/* The volume is full: whether more input is there. Only then it is an error. */
static int check_input_is_at_end(struct stream *stream)
{
	struct invocation *invocation = stream->invocation;
	ssize_t more;

	if (parameter_given(invocation, "length") && stream->done == parameter_number(invocation, "length"))
		return 0;
	more = input_fill(stream, 1);
	if (more <= 0)
		return (int)more;
	return method_fail(invocation, -EFBIG,
			   "%s: %s is longer than the volume; the first %" PRIu64 " bytes were written: resize the volume, or give --length",
			   stream->what, stream->file, stream->done);
}

static int write_all(struct stream *stream, uint64_t total)
{
	while (stream->done < stream->length) {
		uint64_t rest = stream->length - stream->done;
		ssize_t have = input_fill(stream, (size_t)(rest < PIECE_BYTES ? rest : PIECE_BYTES));
		int code;

		if (have <= 0)
			return (int)have;
		code = libpool_volume_write(stream->volume, stream->offset + stream->done, (size_t)have, stream->piece);
		if (code < 0)
			return failed(stream, code, "writing");
		stream->done += (uint64_t)have;
		stream->invocation->progress(stream->invocation->request, stream->done, total, 0);
	}
	return check_input_is_at_end(stream);
}

/* In a pool that is imported for that nothing is written. Of an input of unknown length it is tried whether a byte would be refused. */
static int try_to_write(struct stream *stream, uint64_t total)
{
	struct libpool_pool_info info = {.size = sizeof(info)};
	struct stat status;
	bool is_known = fstat(stream->descriptor, &status) == 0 && S_ISREG(status.st_mode);
	uint64_t length = is_known ? total : 1;
	int code = libpool_pool_info(stream->invocation->pool, &info);

	length = length < stream->length ? length : stream->length;
	length = length < PIECE_BYTES ? length : PIECE_BYTES;
	if (code < 0 || !info.read_only || length == 0)
		return code;
	code = libpool_volume_write(stream->volume, stream->offset, (size_t)length, stream->piece);
	return code < 0 ? failed(stream, code, "writing") : 0;
}

int run_volume_write(struct invocation *invocation)
{
	struct stream stream;
	uint64_t total = 0;
	int flushed, code = stream_begin(&stream, invocation, "writing", false);

	if (code == 0)
		code = measure_input(&stream, &total);
	if (code == 0 && parameter_flag(invocation, "dry_run")) {
		code = try_to_write(&stream, total);
	} else if (code == 0) {
		code = write_all(&stream, total);
		/* Also what was written before an error is made durable. */
		flushed = libpool_volume_flush(stream.volume);
		if (code == 0 && flushed < 0)
			code = failed(&stream, flushed, "flushing");
	}
	return stream_end(&stream, code);
}

/* ---- read ---- */

static int read_all(struct stream *stream)
{
	while (stream->done < stream->length) {
		uint64_t rest = stream->length - stream->done;
		size_t length = (size_t)(rest < PIECE_BYTES ? rest : PIECE_BYTES);
		int code = libpool_volume_read(stream->volume, stream->offset + stream->done, length, stream->piece);

		if (code < 0)
			return failed(stream, code, "reading");
		code = output_piece(stream, length);
		if (code < 0)
			return code;
		stream->done += length;
		stream->invocation->progress(stream->invocation->request, stream->done, stream->length, 0);
	}
	return 0;
}

int run_volume_read(struct invocation *invocation)
{
	struct stream stream;
	int code = stream_begin(&stream, invocation, "reading", true);

	if (code == 0)
		code = read_all(&stream);
	return stream_end(&stream, code);
}
