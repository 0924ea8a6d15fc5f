/* SPDX-License-Identifier: BSD-2-Clause */
/* What must always hold: an option that was accepted has been parsed in full, so nothing fails on it later.
 */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "cli/errors.h"
#include "cli/options.h"
#include "cli/sizes.h"

#define LONG_ONLY 256 /* getopt's code of option i is LONG_ONLY + i */

const struct option_description option_descriptions[OPTION_COUNT] = {
#define X(identifier, name, letter, kind, argument, help) {name, letter, OPTION_KIND_##kind, argument, help},
    OPTION_LIST(X)
#undef X
};

/* getopt's two tables. `letters` has room for "+:", two bytes for each option and the end. */
static void getopt_tables(bool stop_at_operand, char letters[2 * OPTION_COUNT + 3],
			  struct option ret_long[OPTION_COUNT + 1])
{
	size_t length = 0;

	if (stop_at_operand)
		letters[length++] = '+';
	letters[length++] = ':';
	for (int i = 0; i < OPTION_COUNT; i++) {
		const struct option_description *description = &option_descriptions[i];

		ret_long[i] = (struct option){description->name,
					      description->argument ? required_argument : no_argument, NULL,
					      LONG_ONLY + i};
		if (description->letter) {
			letters[length++] = description->letter;
			if (description->argument)
				letters[length++] = ':';
		}
	}
	letters[length] = '\0';
	ret_long[OPTION_COUNT] = (struct option){NULL, 0, NULL, 0};
}

/* A letter that two options have is that of the allowed one: no verb has both. */
static int option_of(int code, uint64_t allowed)
{
	int found = -1;

	if (code >= LONG_ONLY)
		return code - LONG_ONLY;
	for (int i = 0; i < OPTION_COUNT; i++) {
		if (option_descriptions[i].letter == code && (found < 0 || allowed >> i & 1))
			found = i;
	}
	return found;
}

static int take(int option, const char *argument, struct options *options, struct libpool_error *error)
{
	const struct option_description *description = &option_descriptions[option];
	char what[64];

	snprintf(what, sizeof(what), "--%s", description->name);
	options->given |= UINT64_C(1) << option;
	options->text[option] = argument;
	switch (description->kind) {
	case OPTION_KIND_FLAG:
	case OPTION_KIND_TEXT:
		return 0;
	case OPTION_KIND_SIZE:
		return size_read(argument, what, 1, &options->number[option], error);
	case OPTION_KIND_OFFSET:
		return size_read(argument, what, 0, &options->number[option], error);
	case OPTION_KIND_NUMBER:
		return number_read(argument, what, 1, &options->number[option], error);
	case OPTION_KIND_FOLDERS:
		if (options->folder_count == FOLDERS_MAX)
			return error_set(error, -EINVAL, "more than %d folders: name fewer", FOLDERS_MAX);
		options->folders[options->folder_count++] = argument;
		return 0;
	case OPTION_KIND_CLIENTS:
		if (options->client_count == OPTION_CLIENTS_MAX)
			return error_set(error, -EINVAL, "more than %d clients: name networks or a netgroup", OPTION_CLIENTS_MAX);
		options->clients[options->client_count++] = argument;
		return 0;
	}
	return 0;
}

/* The word in which getopt met a digit for an option: it stays there if more characters follow. */
static const char *negative_number(char **argv)
{
	const char *before = optind > 1 ? argv[optind - 1] : "", *here = argv[optind];

	if (before[0] == '-' && before[1] == optopt && !before[2])
		return before;
	return here && here[0] == '-' && here[1] == optopt ? here : "-...";
}

/* getopt returned '?' or ':': says which option it was. The verb "poolctl" is none: what stands before one. */
static int refuse(int code, char **argv, const char *verb, struct libpool_error *error)
{
	const char *seen = optind > 1 ? argv[optind - 1] : "";
	int option = option_of(optopt, 0);
	char whose[48] = "", help[48] = "";

	if (strcmp(verb, "poolctl") != 0) {
		snprintf(whose, sizeof(whose), "%s: ", verb);
		snprintf(help, sizeof(help), " %s", verb);
	}
	if (code == ':') {
		if (optopt >= LONG_ONLY || option < 0)
			return error_set(error, -EINVAL, "%soption '%s' needs an argument: see poolctl help%s", whose, seen, help);
		return error_set(error, -EINVAL, "%soption '-%c' needs an argument: see poolctl help%s", whose, optopt, help);
	}
	if (isdigit(optopt))
		return error_set(error, -EINVAL, "%sa negative number ('%.40s') makes no sense here: give a positive one", whose,
				 negative_number(argv));
	if (optopt > 0 && optopt < LONG_ONLY)
		return error_set(error, -EINVAL, "%sunknown option '-%c': see poolctl help%s", whose, optopt, help);
	return error_set(error, -EINVAL, "%soption '%s' is unknown, ambiguous or takes no argument: see poolctl help%s", whose, seen, help);
}

int options_parse(int argc, char **argv, bool stop_at_operand, uint64_t allowed, const char *verb,
		  struct options *options, int *ret_first, struct libpool_error *error)
{
	struct option longs[OPTION_COUNT + 1];
	char letters[2 * OPTION_COUNT + 3];
	int code;

	getopt_tables(stop_at_operand, letters, longs);
	optind = 0; /* glibc: begin afresh, also in a second call */
	opterr = 0;
	for (;;) {
		int option;

		code = getopt_long(argc, argv, letters, longs, NULL);
		if (code == -1)
			break;
		if (code == '?' || code == ':')
			return refuse(code, argv, verb, error);
		option = option_of(code, allowed);
		if (!(allowed >> option & 1) && stop_at_operand)
			return error_set(error, -EINVAL, "option '--%s' stands behind its verb: see poolctl help",
					 option_descriptions[option].name);
		if (!(allowed >> option & 1))
			return error_set(error, -EINVAL,
					 "%s: option '--%s' has no meaning here: see poolctl help %s", verb,
					 option_descriptions[option].name, verb);
		code = take(option, optarg, options, error);
		if (code < 0)
			return code;
	}
	*ret_first = optind;
	return 0;
}
