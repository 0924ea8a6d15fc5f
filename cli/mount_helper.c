/* SPDX-License-Identifier: BSD-2-Clause */
#include "cli/mount_helper.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/poolctl.h"

/* Of mount(8). */
enum { MOUNT_OK = 0, MOUNT_USAGE = 1, MOUNT_SYSTEM = 2, MOUNT_FAILED = 32 };

bool mount_helper_is(const char *program)
{
	const char *slash = strrchr(program, '/');

	return strcmp(slash ? slash + 1 : program, MOUNT_HELPER) == 0;
}

/* For a remount mount(8) names all flags that are to hold, and no opposite: what it doesn't name is off. */
#define FLAGS_OFF "suid,dev,exec,async,atime,diratime,"

static int usage(const char *problem)
{
	fprintf(stderr, MOUNT_HELPER ": %s; usage: " MOUNT_HELPER " POOL[/DATASET] DIR [-fnrsvw] [-t TYPE] [-o OPTION,...]: see poolctl(8)\n", problem);
	return MOUNT_USAGE;
}

static bool is_remount(const char *list)
{
	const char *word = "remount", *at = list;

	while ((at = strstr(at, word)) && ((at != list && at[-1] != ',') || (at[strlen(word)] && at[strlen(word)] != ',')))
		at++;
	return at;
}

/* What can't be made is NULL. */
static char *complete(char *list)
{
	char *larger = NULL;

	if (!list || !is_remount(list))
		return list;
	if (asprintf(&larger, FLAGS_OFF "%s", list) < 0)
		larger = NULL;
	free(list);
	return larger;
}

int mount_helper_run(int argc, char **argv)
{
	char *list = strdup(""), *larger;
	bool fake = false;
	int option;

	opterr = 0;
	while ((option = getopt(argc, argv, "fnrsvwt:N:o:")) >= 0) {
		const char *add = option == 'o' ? optarg : option == 'r' ? "ro" : option == 'w' ? "rw" : NULL;

		if (option == '?') {
			free(list);
			return usage("there is an unknown or incomplete option");
		}
		fake |= option == 'f';
		if (!add || !list)
			continue;
		if (asprintf(&larger, "%s%s%s", list, list[0] ? "," : "", add) < 0)
			larger = NULL;
		free(list);
		list = larger;
	}
	list = complete(list);
	if (!list) {
		fprintf(stderr, MOUNT_HELPER ": there is no memory for the options\n");
		return MOUNT_SYSTEM;
	}
	if (argc - optind != 2) {
		free(list);
		return usage("what is mounted and where it is mounted are two names");
	}
	char program[] = "poolctl", verb[] = "mount", options[] = "-o";
	char *arguments[] = {program, verb, argv[optind], argv[optind + 1], options, list, NULL};
	int code = 0;

	if (!fake) {
		/* mount(8) says nothing when all is well. */
		if (!freopen("/dev/null", "w", stdout))
			fprintf(stderr, "poolctl: /dev/null can't be opened\n");
		optind = 1;
		code = poolctl_run(list[0] ? 6 : 4, arguments);
	}
	free(list);
	return code == 0 ? MOUNT_OK : code == 2 ? MOUNT_USAGE : MOUNT_FAILED;
}
