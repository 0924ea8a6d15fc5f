/* iostat: what each disk did since the import, and then in each interval. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli/disk_files.h"
#include "cli/document.h"
#include "cli/errors.h"
#include "cli/interrupt.h"
#include "cli/sizes.h"
#include "cli/verbs.h"

const struct column iostat_columns[] = {
    {"disk", "DISK", COLUMN_TEXT, false},
    {"reads", "READS", COLUMN_COUNT, false},
    {"bytes_read", "READ", COLUMN_SIZE, false},
    {"writes", "WRITES", COLUMN_COUNT, false},
    {"bytes_written", "WRITTEN", COLUMN_SIZE, false},
    {"flushes", "FLUSHES", COLUMN_COUNT, false},
    {"read_latency", "READ-TIME", COLUMN_LATENCY, false},
    {"write_latency", "WRITE-TIME", COLUMN_LATENCY, false},
    {"overdue", "OVERDUE", COLUMN_COUNT, true},
    {NULL, NULL, COLUMN_TEXT, false},
};

#define DISKS_MAX 512

/* The counters of the sample before, by disk index. */
struct previous {
	struct libpool_disk_info disks[DISKS_MAX];
	size_t count;
};

static const struct libpool_disk_info *before(const struct previous *previous, uint32_t index)
{
	static const struct libpool_disk_info none;

	for (size_t i = 0; i < previous->count; i++) {
		if (previous->disks[i].index == index)
			return &previous->disks[i];
	}
	return &none;
}

static void add_disk(struct json_object *array, const struct libpool_disk_info *disk,
		     const struct libpool_disk_info *old)
{
	struct json_object *object = document_append_object(array);
	char display[LIBPOOL_PATH_MAX];

	document_text(object, "disk", disk_display(disk, display));
	document_number(object, "index", disk->index);
	document_number(object, "reads", disk->reads - old->reads);
	document_number(object, "bytes_read", disk->bytes_read - old->bytes_read);
	document_number(object, "writes", disk->writes - old->writes);
	document_number(object, "bytes_written", disk->bytes_written - old->bytes_written);
	document_number(object, "flushes", disk->flushes - old->flushes);
	document_number(object, "overdue", disk->overdue - old->overdue);
	document_duration(object, "read_latency", disk->read_latency_ns);
	document_duration(object, "write_latency", disk->write_latency_ns);
}

/* Appends one sample to "samples", and shows it when more are to come. */
static int sample(struct call *call, struct previous *previous)
{
	struct json_object *object = document_append_object(document_get(call->document, "samples"));
	struct json_object *array = document_array(object, "disks");
	struct libpool_disk_info *disks = NULL;
	struct timespec now;
	size_t count = 0;
	int code = libpool_disks(call->pool, &disks, &count);

	if (code < 0)
		return error_complete(&call->error, code, "asking for the disks of pool %s",
				      call->target.pool);
	clock_gettime(CLOCK_REALTIME, &now);
	document_time(object, "time", (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec);
	for (size_t i = 0; i < count; i++)
		add_disk(array, &disks[i], before(previous, disks[i].index));
	previous->count = count < DISKS_MAX ? count : DISKS_MAX;
	memcpy(previous->disks, disks, previous->count * sizeof(disks[0]));
	libpool_free(disks);
	if (call->emit)
		call->emit(call, object);
	return 0;
}

static int interval(struct call *call, uint64_t *ret_seconds, uint64_t *ret_samples)
{
	int code = 0;

	*ret_seconds = 0;
	*ret_samples = call->operand_count == 1 ? UINT64_MAX : 1;
	if (call->operand_count > 0)
		code = number_read(call->operands[0], "interval", 1, ret_seconds, &call->error);
	if (code == 0 && call->operand_count > 1)
		code = number_read(call->operands[1], "count", 1, ret_samples, &call->error);
	if (code == 0 && *ret_seconds > 86400)
		code = error_set(&call->error, -EINVAL,
				 "interval '%s' is longer than a day: give fewer seconds", call->operands[0]);
	return code;
}

int iostat_check(struct call *call)
{
	uint64_t seconds, samples;
	int code = interval(call, &seconds, &samples);

	if (code == 0 && samples == UINT64_MAX && options_have(&call->options, OPTION_JSON))
		return call_usage(call, "iostat %s: --json with SECONDS needs a COUNT, as it is one document",
				  call->target.pool);
	return code;
}

int iostat_work(struct call *call)
{
	struct previous *previous = calloc(1, sizeof(*previous));
	uint64_t seconds, samples;
	int code = interval(call, &seconds, &samples);

	if (!previous)
		return error_set(&call->error, -ENOMEM, "no memory for the counters of the disks");
	document_text(call->document, "pool", call->target.pool);
	document_array(call->document, "samples");
	for (uint64_t i = 0; code == 0 && i < samples; i++) {
		if (i > 0 && interrupt_sleep((unsigned)seconds) < 0)
			break;
		code = sample(call, previous);
	}
	free(previous);
	return code;
}

void iostat_print_part(struct call *call, struct json_object *part)
{
	struct table_style style = call_style(call);

	table_print(iostat_columns, document_get(part, "disks"), &style);
	fflush(stdout);
}
