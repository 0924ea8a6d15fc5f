/* SPDX-License-Identifier: BSD-2-Clause */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cli/document.h"
#include "cli/help.h"
#include "cli/verbs.h"

void help_usage(const struct verb *verb, char *text, size_t room)
{
	snprintf(text, room, "poolctl %s [OPTION]... %s", verb->name, verb->operands);
}

static void print_option(FILE *out, const struct option_description *option)
{
	char left[64];

	snprintf(left, sizeof(left), "%c%c%s--%s%s%s", option->letter ? '-' : ' ',
		 option->letter ? option->letter : ' ', option->letter ? ", " : "  ", option->name,
		 option->argument ? " " : "", option->argument ? option->argument : "");
	fprintf(out, "  %-30s %s\n", left, option->help);
}

static void print_options(FILE *out, uint64_t mask)
{
	for (int i = 0; i < OPTION_COUNT; i++) {
		if (mask >> i & 1)
			print_option(out, &option_descriptions[i]);
	}
}

void help_overview(FILE *out)
{
	char left[96];

	fputs("poolctl [-d FOLDER]... VERB [OPTION]... OPERAND...\n\n", out);
	for (size_t i = 0; i < verb_count; i++) {
		snprintf(left, sizeof(left), "%s %s", verbs[i].name, verbs[i].operands);
		fprintf(out, "  %-42s %s\n", left, verbs[i].help);
	}
	fputs("\nOptions of every verb:\n", out);
	print_options(out, OPTIONS_COMMON);
	fputs("\nSizes take K, M, G, T, P or E (binary). LIBPOOL_DISK_PATH names folders to search, "
	      "separated by colons.\n"
	      "'poolctl help VERB' explains one verb, poolctl(8) everything.\n",
	      out);
}

bool help_group(FILE *out, const char *group)
{
	size_t length = strlen(group), count = 0;

	for (size_t i = 0; i < verb_count; i++) {
		if (strncmp(verbs[i].name, group, length) != 0 || verbs[i].name[length] != ' ')
			continue;
		if (out)
			fprintf(out, "poolctl %s %s\n  %s\n", verbs[i].name, verbs[i].operands, verbs[i].help);
		count++;
	}
	if (out && count)
		fprintf(out, "\n'poolctl help %s VERB' explains one of them.\n", group);
	return count > 0;
}

void help_verb(FILE *out, const struct verb *verb)
{
	char usage[256];

	help_usage(verb, usage, sizeof(usage));
	fprintf(out, "%s\n\n%c%s.\n", usage, toupper((unsigned char)verb->help[0]), verb->help + 1);
	if (verb->details)
		fprintf(out, "%s\n", verb->details);
	if (verb->options)
		fputs("\n", out);
	print_options(out, verb->options);
	fputs("\n", out);
	print_options(out, OPTIONS_COMMON);
	if (!verb->columns)
		return;
	fputs("\nColumns:", out);
	for (const struct column *column = verb->columns; column->key; column++)
		fprintf(out, " %s", column->key);
	fputs("\n", out);
}

/* roff takes '-' for a hyphen, and a line that begins with a dot or quote for a request. */
static void print_roff(const char *text)
{
	for (const char *byte = text; *byte; byte++) {
		if ((byte == text || byte[-1] == '\n') && (*byte == '.' || *byte == '\''))
			fputs("\\&", stdout);
		printf(*byte == '-' ? "\\-" : "%c", *byte);
	}
}

/* "[--create-size SIZE]", by its letter if it has one. */
static void print_manual_option(const struct option_description *option)
{
	char name[32];

	if (option->letter)
		snprintf(name, sizeof(name), "-%c", option->letter);
	else
		snprintf(name, sizeof(name), "--%s", option->name);
	fputs("[\\fB", stdout);
	print_roff(name);
	printf("\\fR%s%s%s]\n", option->argument ? " \\fI" : "", option->argument ? option->argument : "",
	       option->argument ? "\\fR" : "");
}

static void print_manual_verb(const struct verb *verb)
{
	fputs(".TP\n.B poolctl ", stdout);
	print_roff(verb->name);
	putchar('\n');
	for (int i = 0; i < OPTION_COUNT; i++) {
		if (verb->options >> i & 1)
			print_manual_option(&option_descriptions[i]);
	}
	if (verb->operands[0]) {
		fputs("\\fI", stdout);
		print_roff(verb->operands);
		fputs("\\fR\n", stdout);
	}
	fputs(".br\n", stdout);
	printf("%c", toupper((unsigned char)verb->help[0]));
	print_roff(verb->help + 1);
	fputs(".\n", stdout);
	if (verb->details) {
		print_roff(verb->details);
		putchar('\n');
	}
	if (!verb->columns)
		return;
	fputs(".br\nColumns:", stdout);
	for (const struct column *column = verb->columns; column->key; column++)
		printf("%s %s", column == verb->columns ? "" : ",", column->key);
	fputs(".\n", stdout);
}

/* The sections VERBS and OPTIONS of poolctl(8). */
static void print_manual(void)
{
	fputs(".SH VERBS\n", stdout);
	for (size_t i = 0; i < verb_count; i++)
		print_manual_verb(&verbs[i]);
	fputs(".SH OPTIONS\n", stdout);
	for (int i = 0; i < OPTION_COUNT; i++) {
		const struct option_description *option = &option_descriptions[i];

		fputs(".TP\n", stdout);
		if (option->letter)
			printf("\\fB\\-%c\\fR, ", option->letter);
		fputs("\\fB\\-\\-", stdout);
		print_roff(option->name);
		printf("\\fR%s%s%s\n", option->argument ? " \\fI" : "",
		       option->argument ? option->argument : "", option->argument ? "\\fR" : "");
		printf("%c", toupper((unsigned char)option->help[0]));
		print_roff(option->help + 1);
		fputs(".\n", stdout);
	}
}

/* Verb, operands ("-": none) and options, separated by tabs; an option that takes an argument ends in "=ARGUMENT". */
static void print_completion(const struct verb *verb)
{
	const char *separator = "";

	printf("%s\t%s\t", verb->name, verb->operands[0] ? verb->operands : "-");
	for (int i = 0; i < OPTION_COUNT; i++) {
		const struct option_description *option = &option_descriptions[i];

		if (!((verb->options | OPTIONS_COMMON) >> i & 1))
			continue;
		printf("%s--%s%s%s", separator, option->name, option->argument ? "=" : "",
		       option->argument ? option->argument : "");
		separator = " ";
	}
	putchar('\n');
}

int help_work(struct call *call)
{
	int words;

	if (call->operand_count == 0 || strcmp(call->operands[0], "manual") == 0 ||
	    strcmp(call->operands[0], "completion") == 0 ||
	    verb_find((int)call->operand_count, call->operands, &words) ||
	    (call->operand_count == 1 && help_group(NULL, call->operands[0])))
		return 0;
	call->exit_code = EXIT_CODE_USAGE;
	return verb_unknown((int)call->operand_count, call->operands, &call->error);
}

void help_print(struct call *call)
{
	const char *topic = call->operand_count > 0 ? call->operands[0] : "";
	int words;

	if (!topic[0]) {
		help_overview(stdout);
	} else if (strcmp(topic, "manual") == 0) {
		print_manual();
	} else if (strcmp(topic, "completion") == 0) {
		for (size_t i = 0; i < verb_count; i++)
			print_completion(&verbs[i]);
	} else if (call->operand_count > 1 || !help_group(stdout, topic)) {
		help_verb(stdout, verb_find((int)call->operand_count, call->operands, &words));
	}
}
