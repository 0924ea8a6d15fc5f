/*
 * volume read and volume write: bytes between a volume and a file, a device or a pipe. What must always hold:
 * bytes that are reported as written are durable, an output that is incomplete is said to be, and an
 * interruption ends between two pieces, with the pool closed as usual.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/document.h"
#include "cli/errors.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "cli/sizes.h"
#include "cli/verbs.h"

#define PIECE_BYTES (UINT64_C(4) << 20)

struct stream {
	struct call *call;
	libpool_volume *volume;
	uint64_t volume_bytes, offset, length, done; /* length: at most; `done` of it so far */
	int descriptor;
	const char *file; /* for error texts */
	unsigned char *piece;
	struct progress progress;
	char what[2 * LIBPOOL_NAME_MAX + 32];
};

static int interrupted(struct stream *stream)
{
	return error_set(&stream->call->error, -EINTR,
			 "%s was interrupted after %" PRIu64
			 " bytes: what was transferred stays, the pool is exported; "
			 "go on with --offset %" PRIu64,
			 stream->what, stream->done, stream->offset + stream->done);
}

static int failed(struct stream *stream, int code, const char *action)
{
	return error_set(&stream->call->error, code, "%s: %s at offset %" PRIu64 ": %s", stream->what, action,
			 stream->offset + stream->done, libpool_strerror(code));
}

/* Opens the volume and checks --offset and --length against it. */
static int stream_begin(struct stream *stream, struct call *call, const char *doing)
{
	struct libpool_volume_info info = {.size = sizeof(info)};
	int code;

	*stream =
	    (struct stream){.call = call, .descriptor = -1, .offset = call->options.number[OPTION_OFFSET]};
	snprintf(stream->what, sizeof(stream->what), "%s %s/%s", doing, call->target.pool,
		 call->target.volume);
	code = libpool_volume_open(call->pool, call->target.volume, NULL, &stream->volume, &call->error);
	if (code < 0)
		return error_complete(&call->error, code, "opening volume %s/%s", call->target.pool,
				      call->target.volume);
	code = libpool_volume_get_info(stream->volume, &info);
	if (code < 0)
		return failed(stream, code, "asking for its size");
	stream->volume_bytes = info.volume_bytes;
	if (stream->offset > info.volume_bytes)
		return error_set(&call->error, -EINVAL, "%s: --offset %s lies beyond its end at %" PRIu64,
				 stream->what, call->options.text[OPTION_OFFSET], info.volume_bytes);
	stream->length = info.volume_bytes - stream->offset;
	if (options_have(&call->options, OPTION_LENGTH) &&
	    call->options.number[OPTION_LENGTH] < stream->length)
		stream->length = call->options.number[OPTION_LENGTH];
	stream->piece = malloc(PIECE_BYTES);
	if (!stream->piece)
		return failed(stream, -ENOMEM, "taking memory for one piece");
	progress_begin(&stream->progress, stream->what, options_have(&call->options, OPTION_JSON));
	return 0;
}

/* Closes everything; the first error counts. */
static int stream_end(struct stream *stream, int code)
{
	int closed = 0;

	progress_end(&stream->progress);
	if (stream->descriptor > STDERR_FILENO && close(stream->descriptor) != 0)
		closed = -errno;
	if (stream->volume)
		libpool_volume_close(stream->volume);
	free(stream->piece);
	if (code == 0 && closed < 0)
		return error_set(&stream->call->error, closed, "%s: closing %s: %s", stream->what,
				 stream->file, strerror(-closed));
	return code;
}

static void describe(struct stream *stream, const char *verb)
{
	double seconds = progress_seconds(&stream->progress);
	char size[QUANTITY_TEXT_MAX], time[QUANTITY_TEXT_MAX], rate[QUANTITY_TEXT_MAX];
	struct json_object *document = stream->call->document;

	size_print(stream->done, size);
	duration_print(seconds, time);
	size_print((uint64_t)((double)stream->done / (seconds > 0 ? seconds : 1)), rate);
	document_text(document, "pool", stream->call->target.pool);
	document_text(document, "volume", stream->call->target.volume);
	document_number(document, "offset", stream->offset);
	document_number(document, "bytes", stream->done);
	document_duration(document, "seconds", (uint64_t)(seconds * 1e9));
	document_format(document, "text", "%s %s in %s, %s/s", verb, size, time, rate);
}

/* Fills the piece from the descriptor: its length, 0 at the end of the input, or a negative code with its
 * text. */
static ssize_t input_fill(struct stream *stream, size_t wanted)
{
	size_t have = 0;

	while (have < wanted) {
		ssize_t step;

		if (interrupt_wait(stream->descriptor, POLLIN) == -EINTR)
			return interrupted(stream);
		step = read(stream->descriptor, stream->piece + have, wanted - have);
		if (step == 0)
			break;
		if (step < 0 && errno != EINTR && errno != EAGAIN)
			return error_set(&stream->call->error, -errno, "%s: reading %s: %s", stream->what,
					 stream->file, strerror(errno));
		if (step > 0)
			have += (size_t)step;
	}
	return (ssize_t)have;
}

static int output_piece(struct stream *stream, size_t length)
{
	size_t written = 0;

	while (written < length) {
		ssize_t step;

		if (interrupt_wait(stream->descriptor, POLLOUT) == -EINTR)
			return interrupted(stream);
		step = write(stream->descriptor, stream->piece + written, length - written);
		if (step < 0 && errno != EINTR && errno != EAGAIN)
			return error_set(&stream->call->error, -errno,
					 "%s: writing to %s after %" PRIu64 " bytes: %s", stream->what,
					 stream->file, stream->done + written, strerror(errno));
		if (step > 0)
			written += (size_t)step;
	}
	return 0;
}

/* ---- write ----------------------------------------------------------------------------------------------
 */

/* The input, and *ret_total, how much will come of it as far as that can be known; 0 otherwise. */
static int input_open(struct stream *stream, uint64_t *ret_total)
{
	struct call *call = stream->call;
	struct stat status;

	stream->file = call->operand_count > 0 ? call->operands[0] : "the standard input";
	stream->descriptor =
	    call->operand_count > 0 ? open(stream->file, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
	if (stream->descriptor < 0)
		return error_set(&call->error, -errno, "%s: opening %s: %s", stream->what, stream->file,
				 strerror(errno));
	*ret_total = 0;
	if (fstat(stream->descriptor, &status) == 0 && S_ISDIR(status.st_mode))
		return error_set(&call->error, -EISDIR, "%s: %s is a folder: name a file", stream->what,
				 stream->file);
	if (fstat(stream->descriptor, &status) != 0 || !S_ISREG(status.st_mode))
		return 0;
	*ret_total = (uint64_t)status.st_size;
	if (options_have(&call->options, OPTION_LENGTH) && *ret_total > call->options.number[OPTION_LENGTH])
		*ret_total = call->options.number[OPTION_LENGTH];
	if (*ret_total > stream->volume_bytes - stream->offset)
		return error_set(&call->error, -EFBIG,
				 "%s: %s has %" PRIu64 " bytes, but from offset %" PRIu64
				 " on there is room for %" PRIu64 ": resize the volume, or give --length",
				 stream->what, stream->file, *ret_total, stream->offset,
				 stream->volume_bytes - stream->offset);
	return 0;
}

/* The volume is full: whether more input is there. Only then it is an error. */
static int check_input_is_at_end(struct stream *stream)
{
	ssize_t more;

	if (options_have(&stream->call->options, OPTION_LENGTH) &&
	    stream->done == stream->call->options.number[OPTION_LENGTH])
		return 0;
	more = input_fill(stream, 1);
	if (more <= 0)
		return (int)more;
	return error_set(&stream->call->error, -EFBIG,
			 "%s: %s is longer than the volume; the first %" PRIu64
			 " bytes were written: resize the volume, or give --length",
			 stream->what, stream->file, stream->done);
}

static int write_all(struct stream *stream, uint64_t total)
{
	int code = 0;

	while (code == 0 && stream->done < stream->length) {
		uint64_t rest = stream->length - stream->done;
		ssize_t have = input_fill(stream, (size_t)(rest < PIECE_BYTES ? rest : PIECE_BYTES));

		if (have <= 0)
			return (int)have;
		code = libpool_volume_write(stream->volume, stream->offset + stream->done, (size_t)have,
					    stream->piece);
		if (code < 0)
			return failed(stream, code, "writing");
		stream->done += (uint64_t)have;
		progress_update(&stream->progress, stream->done, total, 0);
	}
	return check_input_is_at_end(stream);
}

int volume_write_work(struct call *call)
{
	struct stream stream;
	uint64_t total = 0;
	int flushed, code = stream_begin(&stream, call, "writing");

	if (code == 0)
		code = input_open(&stream, &total);
	if (code == 0) {
		code = write_all(&stream, total);
		/* Also what was written before an error is made durable. */
		flushed = libpool_volume_flush(stream.volume);
		if (code == 0 && flushed < 0)
			code = failed(&stream, flushed, "flushing");
	}
	if (code == 0)
		describe(&stream, "Wrote");
	return stream_end(&stream, code);
}

/* ---- read -----------------------------------------------------------------------------------------------
 */

static int output_open(struct stream *stream)
{
	struct call *call = stream->call;
	struct stat status;

	if (call->operand_count == 0) {
		stream->file = "the standard output";
		stream->descriptor = STDOUT_FILENO;
		return 0;
	}
	stream->file = call->operands[0];
	if (stat(stream->file, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0 &&
	    !options_have(&call->options, OPTION_FORCE))
		return error_set(&call->error, -EEXIST,
				 "%s: file %s exists and isn't empty: --force overwrites it", stream->what,
				 stream->file);
	stream->descriptor = open(stream->file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	if (stream->descriptor < 0)
		return error_set(&call->error, -errno, "%s: opening %s: %s", stream->what, stream->file,
				 strerror(errno));
	return 0;
}

static int read_all(struct stream *stream)
{
	int code = 0;

	while (code == 0 && stream->done < stream->length) {
		uint64_t rest = stream->length - stream->done;
		size_t length = (size_t)(rest < PIECE_BYTES ? rest : PIECE_BYTES);

		code =
		    libpool_volume_read(stream->volume, stream->offset + stream->done, length, stream->piece);
		if (code < 0)
			return failed(stream, code, "reading");
		code = output_piece(stream, length);
		if (code < 0)
			return code;
		stream->done += length;
		progress_update(&stream->progress, stream->done, stream->length, 0);
	}
	return code;
}

int volume_read_work(struct call *call)
{
	struct stream stream;
	int code = stream_begin(&stream, call, "reading");

	if (code == 0)
		code = output_open(&stream);
	if (code == 0)
		code = read_all(&stream);
	if (code == 0)
		describe(&stream, "Read");
	return stream_end(&stream, code);
}

int volume_read_check(struct call *call)
{
	if (call->operand_count == 0 && options_have(&call->options, OPTION_JSON))
		return call_usage(
		    call, "volume read: --json needs a FILE, as the standard output would carry the data");
	if (call->operand_count == 0 && isatty(STDOUT_FILENO))
		return call_usage(
		    call, "volume read: the standard output is a terminal: name a FILE or redirect it");
	return 0;
}

void volume_read_print(struct call *call)
{
	if (call->operand_count > 0)
		print_text(call);
}
