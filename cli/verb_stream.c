/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * volume read and volume write: whoever has the pool imported copies between the volume and a file, device or pipe that is opened
 * here and passed on. What must always hold: a file that is there is only touched when it is clear that it will be read into.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/document.h"
#include "cli/errors.h"
#include "cli/sizes.h"
#include "cli/verbs.h"

struct stream {
	struct call *call;
	int descriptor;
	const char *file; /* for error texts */
	char what[2 * LIBPOOL_NAME_MAX + 32];
};

static void stream_begin(struct stream *stream, struct call *call, const char *doing)
{
	*stream = (struct stream){.call = call, .descriptor = -1};
	snprintf(stream->what, sizeof(stream->what), "%s %s/%s", doing, call->target.pool, call->target.volume);
}

static int transfer(struct stream *stream, const char *method)
{
	const struct options *options = &stream->call->options;
	struct json_object *params = json_object_new_object();
	struct call_request request = {.method = method, .params = params, .descriptor = stream->descriptor, .what = stream->what};

	document_text(params, "volume", stream->call->target.volume);
	document_text(params, "file", stream->file);
	if (options_have(options, OPTION_OFFSET))
		document_number(params, "offset", options->number[OPTION_OFFSET]);
	if (options_have(options, OPTION_LENGTH))
		document_number(params, "length", options->number[OPTION_LENGTH]);
	if (stream->call->rehearses)
		document_flag(params, "dry_run", true);
	return call_request(stream->call, &request);
}

/* Closes the file, and says what was done. The first error counts. */
static int stream_end(struct stream *stream, int code, const char *verb)
{
	char size[QUANTITY_TEXT_MAX], time[QUANTITY_TEXT_MAX], rate[QUANTITY_TEXT_MAX];
	struct json_object *document = stream->call->document;
	uint64_t bytes;
	double seconds;

	if (stream->descriptor > STDERR_FILENO && close(stream->descriptor) != 0 && code == 0)
		code = error_set(&stream->call->error, -errno, "%s: closing %s: %s", stream->what, stream->file, strerror(errno));
	if (code < 0)
		return code;
	bytes = document_get_number(document, "bytes");
	seconds = document_get_seconds(document, "seconds");
	size_print(bytes, size);
	duration_print(seconds, time);
	size_print((uint64_t)((double)bytes / (seconds > 0 ? seconds : 1)), rate);
	document_format(document, "text", "%s %s in %s, %s/s", verb, size, time, rate);
	return 0;
}

/* ---- write ---- */

/* "-" is the standard input or output, as everywhere. */
static bool names_file(const struct call *call)
{
	return call->operand_count > 0 && strcmp(call->operands[0], "-") != 0;
}

/* What isn't a file isn't opened for a rehearsal: a pipe would be at its end for whoever writes to it. */
static int input_open(struct stream *stream)
{
	struct call *call = stream->call;
	struct stat status;
	bool is_named = names_file(call);

	stream->file = is_named ? call->operands[0] : "the standard input";
	bool stands_in = call->rehearses && is_named && stat(stream->file, &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode);
	stream->descriptor = is_named ? open(stands_in ? "/dev/null" : stream->file, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
	if (stream->descriptor < 0)
		return error_set(&call->error, -errno, "%s: opening %s: %s", stream->what, stream->file,
				 strerror(errno));
	if (fstat(stream->descriptor, &status) == 0 && S_ISDIR(status.st_mode))
		return error_set(&call->error, -EISDIR, "%s: %s is a folder: name a file", stream->what,
				 stream->file);
	return 0;
}

/* Whether there is such a volume, and the offset lies in it. */
static int check_volume(struct stream *stream)
{
	struct call *call = stream->call;
	uint64_t bytes;
	int code = volume_size_now(call, &bytes);

	if (code == -ENOENT)
		return error_set(&call->error, code, "pool %s has no volume %s", call->target.pool, call->target.volume);
	if (code == 0 && call->options.number[OPTION_OFFSET] > bytes)
		return error_set(&call->error, -EINVAL, "%s: --offset %s lies beyond its end at %" PRIu64, stream->what,
				 call->options.text[OPTION_OFFSET], bytes);
	return code;
}

int volume_write_rehearse(struct call *call)
{
	struct stream stream;
	int code;

	stream_begin(&stream, call, "writing");
	code = input_open(&stream);
	if (code == 0)
		code = check_volume(&stream);
	if (code == 0)
		code = transfer(&stream, "volume.write");
	if (stream.descriptor > STDERR_FILENO)
		close(stream.descriptor);
	return code;
}

int volume_write_work(struct call *call)
{
	struct stream stream;
	int code;

	stream_begin(&stream, call, "writing");
	code = input_open(&stream);
	if (code == 0)
		code = transfer(&stream, "volume.write");
	return stream_end(&stream, code, "Wrote");
}

/* ---- read ---- */

static int output_failed(struct stream *stream, int code)
{
	if (code == -EBUSY)
		return error_set(&stream->call->error, code, "%s: %s is in use, as the disks of pools are: name another file", stream->what,
				 stream->file);
	return error_set(&stream->call->error, code, "%s: opening %s: %s", stream->what, stream->file, strerror(-code));
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return (a->st_dev == b->st_dev && a->st_ino == b->st_ino) ||
	       (S_ISBLK(a->st_mode) && S_ISBLK(b->st_mode) && a->st_rdev == b->st_rdev);
}

/* Not even by force: one that is offline or has failed is locked by nobody, and may be all the redundancy that is left. */
static int check_own_disks(struct stream *stream)
{
	struct call *call = stream->call;
	struct json_object *part, *pools, *pool, *disks;
	struct stat file, disk;
	int code;

	if (!names_file(call) || stat(call->operands[0], &file) != 0)
		return 0;
	part = json_object_new_object();
	code = call_request(call, &(struct call_request){.method = "status", .descriptor = -1, .into = part});
	pools = code == 0 ? document_get(part, "pools") : NULL;
	pool = pools ? json_object_array_get_idx(pools, 0) : NULL;
	disks = pool ? document_get(pool, "disks") : NULL;
	for (size_t i = 0; disks && i < json_object_array_length(disks); i++) {
		const char *path = document_get_text(json_object_array_get_idx(disks, i), "disk");

		if (stat(path, &disk) == 0 && same_file(&file, &disk))
			code = error_set(&call->error, -EBUSY, "%s: %s is a disk of pool %s: name another file", stream->what,
					 call->operands[0], call->target.pool);
	}
	json_object_put(part);
	return code;
}

/* Nothing is cut off before it is clear that nobody uses it: disks that are files are locked by who has their pool imported. */
static int output_open(struct stream *stream)
{
	struct call *call = stream->call;
	struct stat status;
	bool there, is_device;

	if (!names_file(call)) {
		stream->file = "the standard output";
		stream->descriptor = STDOUT_FILENO;
		return 0;
	}
	stream->file = call->operands[0];
	there = stat(stream->file, &status) == 0;
	is_device = there && S_ISBLK(status.st_mode);
	if ((is_device || (there && S_ISREG(status.st_mode) && status.st_size > 0)) && !options_have(&call->options, OPTION_FORCE))
		return error_set(&call->error, -EEXIST, "%s: %s %s %s: --force overwrites it", stream->what,
				 is_device ? "device" : "file", stream->file, is_device ? "may hold something" : "exists and isn't empty");
	stream->descriptor = open(stream->file, O_WRONLY | O_CLOEXEC | (is_device ? O_EXCL : O_CREAT), 0666);
	if (stream->descriptor < 0)
		return output_failed(stream, -errno);
	if (fstat(stream->descriptor, &status) != 0 || !S_ISREG(status.st_mode))
		return 0;
	if (flock(stream->descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
		return output_failed(stream, -EBUSY);
	return ftruncate(stream->descriptor, 0) == 0 ? 0 : output_failed(stream, -errno);
}

int volume_read_work(struct call *call)
{
	struct stream stream;
	int code;

	stream_begin(&stream, call, "reading");
	code = check_volume(&stream);
	if (code == 0)
		code = check_own_disks(&stream);
	if (code == 0)
		code = output_open(&stream);
	if (code == 0)
		code = transfer(&stream, "volume.read");
	return stream_end(&stream, code, "Read");
}

int volume_read_check(struct call *call)
{
	if (!names_file(call) && options_have(&call->options, OPTION_JSON))
		return call_usage(
		    call, "volume read: --json needs a FILE, as the standard output would carry the data");
	if (!names_file(call) && isatty(STDOUT_FILENO))
		return call_usage(
		    call, "volume read: the standard output is a terminal: name a FILE or redirect it");
	return 0;
}

void volume_read_print(struct call *call)
{
	if (names_file(call))
		print_text(call);
}
