/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <string.h>

#include "cli/document.h"
#include "cli/jobs.h"
#include "cli/sizes.h"
#include "cli/text.h"

static const char *const kind_names[] = {
    [LIBPOOL_JOB_SCRUB] = "scrub", [LIBPOOL_JOB_REBUILD] = "rebuild", [LIBPOOL_JOB_RESYNC] = "resync",
    [LIBPOOL_JOB_VERIFY] = "verify",
    [LIBPOOL_JOB_TRIM] = "trim"};

const char *job_kind_name(uint32_t kind)
{
	return kind_names[kind];
}

uint32_t job_kind_bit(const char *name)
{
	for (uint32_t kind = LIBPOOL_JOB_SCRUB; kind <= LIBPOOL_JOB_TRIM; kind++) {
		if (strcmp(kind_names[kind], name) == 0)
			return JOB_BIT(kind);
	}
	return 0;
}

static void describe_result(struct json_object *job, char *text, size_t room)
{
	uint64_t repaired = document_get_number(job, "cells_repaired"),
		 left = document_get_number(job, "cells_unrepaired");
	uint64_t found = document_get_number(job, "errors_found");
	char size[QUANTITY_TEXT_MAX];

	size_print(document_get_number(job, "done_bytes"), size);
	if (found == 0 && repaired == 0 && left == 0)
		snprintf(text, room, "%s done, no errors", size);
	else
		snprintf(text, room, "%s done, %llu errors found, %llu cells repaired, %llu left damaged",
			 size, (unsigned long long)found, (unsigned long long)repaired,
			 (unsigned long long)left);
}

void job_describe(struct json_object *job, char *text, size_t room)
{
	const char *kind = document_get_text(job, "kind"), *state = document_get_text(job, "state");
	const char *object = document_get_text(job, "object"), *detail = document_get_text(job, "text");
	char when[QUANTITY_TEXT_MAX], took[QUANTITY_TEXT_MAX], result[200];
	double started = document_get_seconds(job, "started"), ended = document_get_seconds(job, "ended");

	describe_result(job, result, sizeof(result));
	snprintf(text, room, "%s%s%s ", kind, object[0] ? " of " : "", object);
	if (strcmp(state, "running") == 0 || strcmp(state, "paused") == 0) {
		uint64_t total = document_get_number(job, "total_bytes"),
			 done = document_get_number(job, "done_bytes");
		char size[QUANTITY_TEXT_MAX], rate[QUANTITY_TEXT_MAX], rest[QUANTITY_TEXT_MAX];
		double to_go = document_get_seconds(job, "to_go");

		size_print(total, size);
		size_print(document_get_number(job, "rate"), rate);
		duration_print(to_go, rest);
		bool running = strcmp(state, "running") == 0;

		text_append(text, room, "%s: %d %% of %s%s%s%s%s%s%s; %s", state,
			    total ? (int)(100.0 * (double)done / (double)total) : 0, size,
			    running ? ", " : "", running ? rate : "", running ? "/s" : "",
			    to_go > 0 ? ", " : "", to_go > 0 ? rest : "", to_go > 0 ? " to go" : "", result);
	} else {
		time_print(ended, when);
		duration_print(ended - started, took);
		text_append(text, room, "%s %s after %s: %s", state, when, took, result);
	}
	if (detail[0])
		text_append(text, room, " (%s)", detail);
}
