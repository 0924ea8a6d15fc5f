/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From arguments to one call, and from its result to output and exit code. What must always hold: one line on
 * stderr for a failure, one document on stdout with --json, and no success when stdout could not be written.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/context.h"
#include "cli/document.h"
#include "cli/errors.h"
#include "cli/help.h"
#include "cli/poolctl.h"
#include "cli/verbs.h"

static bool contains(int argc, char **argv, const char *argument)
{
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], argument) == 0)
			return true;
	}
	return false;
}

static int take_operands(struct call *call, int count, char **operands)
{
	const struct verb *verb = call->verb;
	char usage[256];
	int code;

	if ((size_t)count < verb->operands_min || (size_t)count > verb->operands_max) {
		help_usage(verb, usage, sizeof(usage));
		return error_set(&call->error, -EINVAL, "%s: %s operands: usage: %s", verb->name,
				 (size_t)count < verb->operands_min ? "too few" : "too many", usage);
	}
	call->operands = operands;
	call->operand_count = (size_t)count;
	if (verb->target == TARGET_NONE || count == 0)
		return 0;
	code = target_parse(operands[0], verb->target, &call->target, &call->error);
	if (code < 0)
		return code;
	call->operands++;
	call->operand_count--;
	return 0;
}

/* Fills the call. 0, or -EINVAL: wrong usage. */
static int parse(int argc, char **argv, struct call *call)
{
	int first, words, code;

	code =
	    options_parse(argc, argv, true, OPTIONS_COMMON, "poolctl", &call->options, &first, &call->error);
	if (code < 0)
		return code;
	if (options_have(&call->options, OPTION_HELP) || options_have(&call->options, OPTION_VERSION))
		return 0;
	if (first == argc)
		return error_set(&call->error, -EINVAL, "say what to do: see poolctl help");
	call->verb = verb_find(argc - first, argv + first, &words);
	if (!call->verb && argc - first == 2 && (!strcmp(argv[first + 1], "--help") || !strcmp(argv[first + 1], "-h")) && help_group(NULL, argv[first])) {
		call->group = argv[first];
		return 0;
	}
	if (!call->verb)
		return verb_unknown(argc - first, argv + first, &call->error);
	/* The last word of the verb stands where the program's name would. */
	argv += first + words - 1;
	argc -= first + words - 1;
	code = options_parse(argc, argv, false, OPTIONS_COMMON | call->verb->options, call->verb->name,
			     &call->options, &first, &call->error);
	if (code < 0 || options_have(&call->options, OPTION_HELP) ||
	    options_have(&call->options, OPTION_VERSION))
		return code;
	return take_operands(call, argc - first, argv + first);
}

static void print_document(const struct call *call)
{
	int style = call->streams ? JSON_C_TO_STRING_PLAIN : JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED;

	puts(json_object_to_json_string_ext(call->document, style | JSON_C_TO_STRING_NOSLASHESCAPE));
}

static int report(struct call *call, int code)
{
	bool json = call->json;

	if (code < 0) {
		error_print(&call->error);
		document_error(call->document, &call->error);
	}
	if (json && (code < 0 || !call->streams))
		print_document(call);
	else if (!json && code == 0 && call->verb->print)
		call->verb->print(call);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		struct libpool_error error;

		error_set(&error, -EIO, "writing to the standard output: %s", strerror(errno));
		error_print(&error);
		return EXIT_CODE_FAILURE;
	}
	return call->exit_code;
}

static int run(struct call *call)
{
	struct context context;
	int code = context_init(&context, &call->options, &call->error);

	if (code < 0) {
		call->exit_code = EXIT_CODE_FAILURE;
		return code;
	}
	call->host = &context.host;
	code = call_run(call);
	context_release(&context);
	return code;
}

int poolctl_run(int argc, char **argv)
{
	struct call call = {0};
	int code, exit_code;

	code = parse(argc, argv, &call);
	if (code == 0 && options_have(&call.options, OPTION_VERSION)) {
		printf("poolctl %s\n", libpool_version());
		return EXIT_CODE_SUCCESS;
	}
	if (code == 0 && (call.group || options_have(&call.options, OPTION_HELP))) {
		if (call.group)
			help_group(stdout, call.group);
		else if (call.verb)
			help_verb(stdout, call.verb);
		else
			help_overview(stdout);
		return EXIT_CODE_SUCCESS;
	}
	call.document = document_new(call.verb ? call.verb->name : "");
	call.json = contains(argc, argv, "--json");
	if (code < 0)
		call.exit_code = EXIT_CODE_USAGE;
	else
		code = run(&call);
	/* A monitor tells states by the exit code, so wrong usage must not look like one. */
	if (contains(argc, argv, "--check") && code < 0)
		call.exit_code = EXIT_CODE_UNKNOWN;
	exit_code = report(&call, code);
	json_object_put(call.document);
	return exit_code;
}
