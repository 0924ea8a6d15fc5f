/* SPDX-License-Identifier: BSD-2-Clause */
/* iostat: what each disk and the intent log did since the import, and then in each interval. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

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
    {"trims", "TRIMS", COLUMN_COUNT, true},
    {"bytes_trimmed", "TRIMMED", COLUMN_SIZE, true},
    {"overdue", "OVERDUE", COLUMN_COUNT, true},
    {NULL, NULL, COLUMN_TEXT, false},
};

/* What is added from one sample to the next; latencies are means, and stay as they are. */
static const char *const counters[] = {"reads", "bytes_read", "writes", "bytes_written", "flushes", "trims", "bytes_trimmed", "overdue"};

static struct json_object *disk_of(struct json_object *sample, uint64_t index)
{
	struct json_object *disks = sample ? document_get(sample, "disks") : NULL;

	for (size_t i = 0; disks && i < json_object_array_length(disks); i++) {
		struct json_object *disk = json_object_array_get_idx(disks, i);

		if (document_get_number(disk, "index") == index)
			return disk;
	}
	return NULL;
}

static const char *const log_counters[] = {"flushes", "groups", "bytes_written", "commits", "blocks_placed"};

static uint64_t count_below(struct json_object *log, double below)
{
	struct json_object *times = document_get(log, "flush_times");

	for (size_t i = 0; i < json_object_array_length(times); i++) {
		struct json_object *step = json_object_array_get_idx(times, i);

		if (json_object_get_double(document_get(step, "below")) == below)
			return document_get_number(step, "count");
	}
	return 0;
}

static void subtract_log(struct json_object *log, struct json_object *old)
{
	struct json_object *times = document_get(log, "flush_times");

	for (size_t c = 0; c < sizeof(log_counters) / sizeof(log_counters[0]); c++)
		document_number(log, log_counters[c], document_get_number(log, log_counters[c]) - document_get_number(old, log_counters[c]));
	for (size_t i = json_object_array_length(times); i > 0; i--) {
		struct json_object *step = json_object_array_get_idx(times, i - 1);
		uint64_t before = count_below(old, json_object_get_double(document_get(step, "below")));

		document_number(step, "count", document_get_number(step, "count") - before);
		if (document_get_number(step, "count") == 0)
			json_object_array_del_idx(times, i - 1, 1);
	}
}

/* Turns the sample's totals into what came since the sample before (NULL: none), whose totals are kept in it. */
static struct json_object *difference(struct json_object *sample, struct json_object *previous)
{
	struct json_object *result = NULL, *disks;

	if (json_object_deep_copy(sample, &result, NULL) != 0)
		return NULL;
	disks = document_get(result, "disks");
	for (size_t i = 0; i < json_object_array_length(disks); i++) {
		struct json_object *disk = json_object_array_get_idx(disks, i);
		struct json_object *old = disk_of(previous, document_get_number(disk, "index"));

		for (size_t c = 0; old && c < sizeof(counters) / sizeof(counters[0]); c++)
			document_number(disk, counters[c],
					document_get_number(disk, counters[c]) - document_get_number(old, counters[c]));
	}
	if (previous)
		subtract_log(document_get(result, "log"), document_get(previous, "log"));
	return result;
}

/* Appends one sample to "samples", and shows it when more are to come. *previous: the totals of the one before. */
static int take_sample(struct call *call, struct json_object **previous)
{
	struct json_object *part = json_object_new_object(), *totals, *sample;
	struct call_request request = {.method = "iostat", .descriptor = -1, .into = part};
	int code = call_request(call, &request);

	if (code < 0) {
		json_object_put(part);
		return code;
	}
	document_text(call->document, "pool", document_get_text(part, "pool"));
	totals = json_object_get(json_object_array_get_idx(document_get(part, "samples"), 0));
	json_object_put(part);
	sample = difference(totals, *previous);
	json_object_put(*previous);
	*previous = totals;
	if (!sample)
		return error_set(&call->error, -ENOMEM, "no memory for the counters of the disks");
	if (call->json) {
		json_object_array_add(document_get(call->document, "samples"), sample);
		return 0;
	}
	code = call_emit(call, sample);
	json_object_put(sample);
	return code;
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
	struct json_object *previous = NULL;
	uint64_t seconds, samples;
	int code = interval(call, &seconds, &samples);

	document_array(call->document, "samples");
	for (uint64_t i = 0; code == 0 && i < samples; i++) {
		if (i > 0 && interrupt_sleep((unsigned)seconds) < 0)
			break;
		code = take_sample(call, &previous);
	}
	json_object_put(previous);
	return code;
}

/* The time within which so many hundredths of the flushes were done; steps are powers of two. */
static double percentile(struct json_object *times, uint64_t flushes, unsigned hundredths)
{
	uint64_t wanted = (flushes * hundredths + 99) / 100, seen = 0;

	for (size_t i = 0; i < json_object_array_length(times); i++) {
		struct json_object *step = json_object_array_get_idx(times, i);

		seen += document_get_number(step, "count");
		if (seen >= wanted)
			return json_object_get_double(document_get(step, "below"));
	}
	return 0;
}

static void print_log(struct json_object *log)
{
	uint64_t flushes = document_get_number(log, "flushes"), groups = document_get_number(log, "groups");
	struct json_object *times = document_get(log, "flush_times");
	char size[QUANTITY_TEXT_MAX];

	if (!flushes)
		return;
	size_print(document_get_number(log, "bytes_written"), size);
	printf("intent log: %" PRIu64 " flushes, %" PRIu64 " writes (%.1f flushes each), %s, %" PRIu64 " blocks beside it, %" PRIu64 " commits instead; half of the flushes within "
	       "%.3g ms, 99 %% within %.3g ms\n",
	       flushes, groups, groups ? (double)flushes / (double)groups : 0, size, document_get_number(log, "blocks_placed"), document_get_number(log, "commits"),
	       percentile(times, flushes, 50) * 1e3, percentile(times, flushes, 99) * 1e3);
}

void iostat_print_part(struct call *call, struct json_object *part)
{
	struct table_style style = call_style(call);

	table_print(iostat_columns, document_get(part, "disks"), &style);
	if (!style.raw && !style.selection)
		print_log(document_get(part, "log"));
}
