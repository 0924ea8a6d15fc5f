/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * poolctl run in this process against a double of the library: documents, tables, exit codes, error texts,
 * and that every pool that is opened is closed, also after failures. Output is caught in files.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <json-c/json.h>

#include "cli/interrupt.h"
#include "cli/poolctl.h"
#include "tests/cli/fake_libpool.h"

#define ARGUMENTS_MAX 32
#define OUTPUT_MAX    (1 << 20)

static char folder[] = "/tmp/poolctl-test-XXXXXX";
static char out[OUTPUT_MAX], err[OUTPUT_MAX];
static const char *input; /* a file for the standard input, or NULL: /dev/null */

static void path_in_folder(const char *name, char *path, size_t room)
{
	snprintf(path, room, "%s/%s", folder, name);
}

static void slurp(const char *name, char *text)
{
	char path[256];
	FILE *file;
	size_t length;

	path_in_folder(name, path, sizeof(path));
	file = fopen(path, "re");
	assert_non_null(file);
	length = fread(text, 1, OUTPUT_MAX - 1, file);
	text[length] = '\0';
	fclose(file);
}

static int redirect(int descriptor, const char *path, int flags)
{
	int saved = dup(descriptor), opened = open(path, flags | O_CLOEXEC, 0600);

	assert_true(saved >= 0 && opened >= 0);
	assert_true(dup2(opened, descriptor) >= 0);
	close(opened);
	return saved;
}

static void restore(int descriptor, int saved)
{
	assert_true(dup2(saved, descriptor) >= 0);
	close(saved);
}

/* Runs "poolctl ARGUMENTS" (separated by single spaces) in the folder; its output is in `out` and `err`. */
static int run(const char *format, ...)
{
	char line[4096], path[256], program[] = "poolctl", *arguments[ARGUMENTS_MAX] = {program};
	char *rest = NULL;
	int count = 1, saved[3], code;
	va_list list;

	va_start(list, format);
	vsnprintf(line, sizeof(line), format, list);
	va_end(list);
	for (char *word = strtok_r(line, " ", &rest); word && count < ARGUMENTS_MAX - 1;
	     word = strtok_r(NULL, " ", &rest))
		arguments[count++] = word;
	fflush(stdout);
	fflush(stderr);
	saved[0] = redirect(0, input ? input : "/dev/null", O_RDONLY);
	path_in_folder("out", path, sizeof(path));
	saved[1] = redirect(1, path, O_WRONLY | O_CREAT | O_TRUNC);
	path_in_folder("err", path, sizeof(path));
	saved[2] = redirect(2, path, O_WRONLY | O_CREAT | O_TRUNC);
	code = poolctl_run(count, arguments);
	fflush(stdout);
	fflush(stderr);
	for (int i = 0; i < 3; i++)
		restore(i, saved[i]);
	slurp("out", out);
	slurp("err", err);
	assert_int_equal(fake_open, 0);
	return code;
}

static struct json_object *parsed;

/* The document on stdout; lives until the next one. */
static struct json_object *document(const char *command)
{
	struct json_object *value;

	json_object_put(parsed);
	parsed = json_tokener_parse(out);
	assert_non_null(parsed);
	assert_true(json_object_object_get_ex(parsed, "schema", &value));
	assert_int_equal(json_object_get_int(value), 1);
	assert_true(json_object_object_get_ex(parsed, "command", &value));
	assert_string_equal(json_object_get_string(value), command);
	return parsed;
}

static struct json_object *member(struct json_object *object, const char *key)
{
	struct json_object *value = NULL;

	assert_true(json_object_object_get_ex(object, key, &value));
	return value;
}

static void one_error_line(const char *contains)
{
	const char *end = strchr(err, '\n');

	assert_int_equal(strncmp(err, "poolctl: ", 9), 0);
	assert_non_null(end);
	assert_string_equal(end, "\n");
	assert_non_null(strstr(err, contains));
}

static void create_tank(void)
{
	fake_reset();
	assert_int_equal(run("create tank raid6 d0 d1 d2 d3 d4 d5 --create-size 64M"), 0);
}

static void says(const char *text)
{
	if (!strstr(out, text))
		fail_msg("'%s' is not in:\n%s", text, out);
}

/* ---- usage ----------------------------------------------------------------------------------------------
 */

static void wrong_usage(void **state)
{
	static const struct {
		const char *arguments, *error;
	} cases[] = {
	    {"", "say what to do"},
	    {"frobnicate", "no verb 'frobnicate'"},
	    {"volume", "needs one more word"},
	    {"volume frob", "no verb 'volume frob': there are create"},
	    {"create", "too few operands"},
	    {"create tank raid6", "too few operands"},
	    {"create a/b raid6 d0", "contains '/'"},
	    {"create tank raid9 d0", "profile 'raid9'"},
	    {"create tank raid6 d0 --wait", "option '--wait' has no meaning here"},
	    {"create tank raid6 d0 --create-size 12Q", "--create-size '12Q' ends in 'Q'"},
	    {"create tank raid6 d0 --create-size", "needs an argument"},
	    {"create tank raid6 d0 --frob", "'--frob' is unknown"},
	    {"create tank raid6 d0 -x", "unknown option '-x'"},
	    {"volume create tank 1G", "names no volume"},
	    {"volume create tank/a", "too few"},
	    {"volume create tank/a 0", "zero"},
	    {"volume create tank/a -- -5", "negative"},
	    {"volume create tank/a -5", "negative"},
	    {"volume create tank/a 2E", "2^60"},
	    {"volume create tank/a 10X", "ends in 'X'"},
	    {"volume create tank/a//b 1G", "empty"},
	    {"list -o name,frob", "column 'frob' doesn't exist: there are name"},
	    {"scrub tank --pause --stop", "exclude each other"},
	    {"wait tank frob", "no jobs called 'frob'"},
	    {"iostat tank zwei", "not a number"},
	    {"iostat tank 1 --json", "needs a COUNT"},
	    {"set tank compression", "write PROPERTY=VALUE"},
	    {"destroy tank", "add --yes"},
	    {"volume read tank/a --json", "needs a FILE"},
	    {"import --force", "need the name of a pool"},
	    {"help frob", "no verb 'frob'"},
	    {"help volume frob", "no verb 'volume frob': there are create"},
	    {"-o name list", "option '--columns' stands behind its verb"},
	};

	(void)state;
	create_tank();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(run("%s", cases[i].arguments), 2);
		one_error_line(cases[i].error);
		assert_true(out[0] == '\0' || strstr(cases[i].arguments, "--json"));
	}
	assert_int_equal(run("status --check a/b"), 4);
	assert_int_equal(run("status --frob --check"), 4);
	assert_int_equal(run("status --json a/b"), 2);
	document("status");
}

static void help(void **state)
{
	(void)state;
	assert_int_equal(run("help"), 0);
	says("volume create POOL/VOLUME SIZE");
	says("--no-devices");
	assert_int_equal(run("help volume create"), 0);
	says("--block-size SIZE");
	assert_int_equal(run("scrub --help"), 0);
	says("Exits with 3");
	assert_int_equal(run("share --help"), 0);
	says("poolctl share list [POOL]\n");
	assert_int_equal(run("dataset -h"), 0);
	says("poolctl dataset rename POOL/DATASET POOL/DATASET\n");
	assert_int_equal(run("help device"), 0);
	says("'poolctl help device VERB'");
	assert_int_equal(run("shar --help"), 2);
	one_error_line("no verb 'shar'");
	assert_int_equal(run("--version"), 0);
	assert_string_equal(out, "poolctl 0.0-fake\n");
	assert_int_equal(run("help completion"), 0);
	says("volume create\tPOOL/VOLUME SIZE\t");
}

static void missing_folder(void **state)
{
	(void)state;
	create_tank();
	assert_int_equal(run("-d /nowhere/at/all list"), 1);
	one_error_line("can't search folder '/nowhere/at/all'");
}

/* ---- pools ----------------------------------------------------------------------------------------------
 */

static void creating(void **state)
{
	struct json_object *object;

	(void)state;
	fake_reset();
	assert_int_equal(run("create tank raid6 n0 n1 -n --create-size 64M --json"), 0);
	object = document("create");
	assert_true(json_object_get_boolean(member(object, "dry_run")));
	assert_int_equal(json_object_get_uint64(member(object, "usable_bytes")), UINT64_C(4) << 30);
	assert_true(json_object_is_type(member(object, "usable_bytes"), json_type_int));
	assert_int_equal(access("n0", F_OK), -1);

	assert_int_equal(run("create tank raid6 d0 absent"), 1);
	one_error_line("disk is not there");
	assert_int_equal(run("create tank raid6 n0 ./n0 --create-size 64M"), 1);
	one_error_line("named twice");
	assert_int_equal(access("n0", F_OK), -1);
	fake_fail("libpool_create", -LIBPOOL_EFOREIGN,
		  "disk d0 carries an ext4 file system: --force overwrites it");
	assert_int_equal(run("create tank raid6 n0 n1 --create-size 64M"), 1);
	one_error_line("ext4");
	assert_int_equal(access("n0", F_OK), -1);

	assert_int_equal(run("create tank raid6 d0 d1"), 0);
	says("Created pool tank: raid6 on 2 disks, 4 data and 2 parity columns, 2 disks may fail");
	says("usable          4.00G");
	says("-d ");
	assert_int_equal(run("create tank raid6 d2 d3 -p"), 1);
	one_error_line("this name already");
}

static void listing(void **state)
{
	struct json_object *object;

	(void)state;
	fake_reset();
	assert_int_equal(run("list"), 0);
	says("No pools were found");
	create_tank();
	assert_int_equal(run("list"), 0);
	says("NAME STATE   PROFILE");
	assert_int_equal(run("list -H -o name,raw_bytes,problem"), 0);
	assert_string_equal(out, "tank\t6.00G\t-\n");
	assert_int_equal(run("list -H -p -o name,raw_bytes,time"), 0);
	assert_string_equal(out, "tank\t6442450944\t1700000000.123456\n");
	assert_int_equal(run("list --json"), 0);
	object = json_object_array_get_idx(member(document("list"), "pools"), 0);
	assert_string_equal(json_object_get_string(member(object, "id")), "abababababababababababababababab");
	assert_int_equal(run("list abababababababababababababababab"), 0);
	assert_int_equal(run("list nopool"), 1);
	one_error_line("no pool 'nopool' was found");
	assert_int_equal(run("destroy tank --yes"), 0);
	assert_int_equal(run("list -H"), 0);
	assert_string_equal(out, "");
	assert_int_equal(run("list -H --destroyed -o name,state"), 0);
	assert_string_equal(out, "tank\tdestroyed\n");
	assert_int_equal(run("destroy tank --yes"), 1);
	one_error_line("destroyed already");
	assert_int_equal(run("undestroy tank"), 0);
	assert_int_equal(run("undestroy tank"), 1);
	one_error_line("not destroyed");
}

static void importing(void **state)
{
	(void)state;
	create_tank();
	assert_int_equal(run("import tank -n --rewind 12 --force"), 0);
	assert_int_equal(fake_import.rewind_txg, 12);
	assert_int_equal(fake_import.force, 1);
	assert_int_equal(fake_import.read_only, 2); /* as one to write would be, and nothing is written */
	says("can be imported");
	says("would go back to txg 12");
	assert_int_equal(run("import tank --rewind 12"), 2);
	one_error_line("add --yes");
	assert_int_equal(run("import tank"), 1);
	one_error_line("no pool 'tank' was found");
	fake_fail("libpool_import", -LIBPOOL_ESPLIT, NULL);
	assert_int_equal(run("serve tank"), 1);
	one_error_line("importing pool tank: code of the library");
	fake_fail("libpool_close", -EIO, "disk 3 failed while exporting");
	assert_int_equal(run("volume list tank"), 1);
	one_error_line("disk 3 failed");
	assert_int_equal(run("export tank"), 0);
	says("not imported: nothing to export");
	fake_state.clean = 0;
	assert_int_equal(run("export tank"), 0);
	says("ended without exporting");
	fake_state.in_use = 1;
	assert_int_equal(run("export tank"), 1);
	one_error_line("another process");
}

static void health(void **state)
{
	struct json_object *object;

	(void)state;
	assert_int_equal(run("status --check"), 4);
	create_tank();
	assert_int_equal(run("status --check tank"), 0);
	strcpy(fake_state.problem, "disk d1 is missing");
	strcpy(fake_state.action, "replace it");
	fake_state.health = LIBPOOL_DEGRADED;
	fake_state.disk_state = LIBPOOL_DISK_MISSING;
	fake_state.damaged_ranges = 1;
	assert_int_equal(run("status --check"), 1);
	assert_int_equal(run("status"), 0);
	says("problem: disk d1 is missing\n");
	says("     do: replace it\n");
	says("missing");
	says("16384");
	assert_int_equal(run("status -H -o index,state,read_errors"), 0);
	assert_string_equal(
	    out, "0\tonline\t0\n1\tmissing\t0\n2\tonline\t0\n3\tonline\t0\n4\tonline\t0\n5\tonline\t0\n");
	assert_int_equal(run("status --json tank"), 0);
	object = json_object_array_get_idx(member(document("status"), "pools"), 0);
	assert_string_equal(json_object_get_string(member(object, "state")), "degraded");
	assert_int_equal(json_object_array_length(member(object, "disks")), 6);
	assert_int_equal(json_object_array_length(member(object, "damage")), 1);
	fake_state.health = LIBPOOL_UNUSABLE;
	assert_int_equal(run("status --check"), 2);
	fake_fail("libpool_import", -LIBPOOL_EDEGRADED, "3 of 6 disks are missing");
	assert_int_equal(run("status tank --check"), 2);
	says("3 of 6 disks are missing");
	fake_state.in_use = 1;
	assert_int_equal(run("status tank --check"), 4);
	says("in use");
	assert_int_equal(run("status nopool --check"), 4);
	one_error_line("no pool 'nopool'");
}

/* ---- jobs and disks -------------------------------------------------------------------------------------
 */

static void scrubbing(void **state)
{
	struct json_object *object;

	(void)state;
	create_tank();
	fake_state.wait_steps = 3;
	fake_state.cells_repaired = 5;
	assert_int_equal(run("scrub tank"), 0);
	assert_non_null(strstr(err, "stays until its job is done"));
	says("scrub finished");
	says("5 cells repaired");
	fake_state.cells_unrepaired = 2;
	assert_int_equal(run("scrub tank --wait"), 3);
	assert_string_equal(err, "");
	says("Damage remains");
	assert_int_equal(run("scrub tank --json"), 3);
	object = document("scrub");
	assert_int_equal(json_object_get_int(member(object, "cells_unrepaired")), 2);
	fake_state.cells_unrepaired = 0;
	fake_state.damaged_ranges = 1;
	assert_int_equal(run("scrub tank --wait"), 3);
	assert_int_equal(run("scrub tank --pause"), 1);
	one_error_line("no scrub is running");
	assert_int_equal(fake_import.read_only, 2);
	fake_fail("libpool_scrub_start", -EROFS, NULL);
	assert_int_equal(run("scrub tank"), 1);
	one_error_line("starting a scrub of pool tank: Read-only");
	assert_int_equal(run("wait tank scrub"), 0);
}

static void disks(void **state)
{
	(void)state;
	create_tank();
	assert_int_equal(run("replace tank d9 new --create-size 64M"), 1);
	one_error_line("no disk 'd9'");
	assert_int_equal(fake_import.read_only, 2); /* refused before anything is written */
	assert_int_equal(access("new", F_OK), -1);
	assert_int_equal(run("replace tank d3 new -n --create-size 64M"), 0);
	says("Would replace");
	assert_int_equal(access("new", F_OK), -1);
	assert_int_equal(run("replace tank d3 new --create-size 64M --wait"), 0);
	says("Replaced disk");
	assert_int_equal(fake_import.read_only, 0);
	assert_int_equal(run("status -H -o disk"), 0);
	says("/new\n");
	assert_int_equal(run("replace tank 12121212 d3"), 0);
	assert_int_equal(run("offline tank #1"), 0);
	assert_int_equal(run("online tank ./d4 --wait"), 0);
	assert_int_equal(run("clear tank"), 0);
	assert_int_equal(run("history tank -H -o text"), 0);
	says("poolctl replace tank d3 new --create-size=64M --wait\n");
	says("poolctl offline tank #1\n");
}

static void verifying(void **state)
{
	(void)state;
	create_tank();
	assert_int_equal(run("debug verify tank"), 0);
	assert_int_equal(fake_import.read_only, 1);
	fake_state.violations = 1;
	assert_int_equal(run("debug verify tank"), 3);
	says("1 violations");
}

/* ---- volumes --------------------------------------------------------------------------------------------
 */

static void write_file(const char *name, size_t length)
{
	FILE *file = fopen(name, "we");

	for (size_t i = 0; i < length; i++)
		fputc((int)(i * 7 % 251), file);
	fclose(file);
}

static void volumes(void **state)
{
	(void)state;
	create_tank();
	assert_int_equal(run("volume create tank/a 6M -n"), 0);
	assert_int_equal(run("volume list tank -H"), 0);
	assert_string_equal(out, "");
	assert_int_equal(run("volume create tank/a 6M"), 0);
	assert_int_equal(run("volume create tank/a 6M"), 1);
	assert_int_equal(run("volume create tank/a 6M -n"), 1);
	one_error_line("exists");
	assert_int_equal(run("volume list tank -H -p -o name,volume_bytes"), 0);
	assert_string_equal(out, "tank/a\t6291456\n");
	assert_int_equal(run("volume resize tank/a 1M"), 2);
	one_error_line("add --yes");
	assert_int_equal(run("volume resize tank/a 8M"), 0);
	assert_int_equal(run("volume destroy tank/b --yes"), 1);
	one_error_line("no volume 'b'");
	assert_int_equal(run("volume destroy tank/a --yes"), 0);
	assert_int_equal(run("get tank compression -H -o value"), 0);
	assert_string_equal(out, "auto\n");
	assert_int_equal(run("set tank compression=off"), 0);
	assert_int_equal(run("get tank compression -H -o value"), 0);
	assert_string_equal(out, "off\n");
	assert_int_equal(run("get tank used -H -o value"), 0);
	assert_string_equal(out, "1.37G\n");
	assert_int_equal(run("get tank used -H -p -o value"), 0);
	assert_string_equal(out, "1471026298\n");
	assert_int_equal(run("get tank used --json"), 0);
	assert_int_equal(json_object_get_int64(member(json_object_array_get_idx(member(document("get"), "properties"), 0), "number")),
			 1471026298);
	assert_int_equal(run("set tank used=1"), 1);
	one_error_line("can't be set");
	assert_int_equal(run("get tank frob"), 1);
	one_error_line("no property 'frob'");
	assert_int_equal(run("events tank -H -o text"), 0);
	assert_string_equal(out, "one two\n");
}

static void same_files(const char *a, const char *b)
{
	char command[128];

	snprintf(command, sizeof(command), "cmp %s %s", a, b);
	assert_int_equal(system(command), 0);
}

static void streams(void **state)
{
	(void)state;
	create_tank();
	write_file("data", (5 << 20) + 123);
	assert_int_equal(run("volume create tank/a 5242880"), 0);
	assert_int_equal(run("volume write tank/a data"), 1);
	one_error_line("has 5243003 bytes");
	assert_int_equal(run("volume resize tank/a 5243003"), 0);
	assert_int_equal(run("volume destroy tank/a --yes"), 0);
	assert_int_equal(run("volume create tank/a 5243003"), 0);
	assert_int_equal(run("volume write tank/a data"), 0);
	says("Wrote 5.00M in");
	unlink("back");
	assert_int_equal(run("volume read tank/a back"), 0);
	same_files("data", "back");
	assert_int_equal(run("volume read tank/a back"), 1);
	one_error_line("--force");
	assert_int_equal(run("volume read tank/a back --force --offset 5M --length 10 --json"), 0);
	assert_int_equal(run("volume read tank/a --offset 9M"), 1);
	one_error_line("beyond its end");
	input = "data";
	assert_int_equal(run("volume write tank/a"), 0);
	assert_int_equal(run("volume write tank/a --offset 1"), 1);
	one_error_line("has 5243003 bytes");
	input = NULL;
	assert_int_equal(run("volume read tank/a"), 0);
	same_files("data", "out");
	fake_fail("libpool_volume_read", -LIBPOOL_EDAMAGED, NULL);
	assert_int_equal(run("volume read tank/a back --force"), 1);
	one_error_line("reading tank/a: reading at offset 0: damaged beyond repair");
	fake_fail("libpool_volume_write", -ENOSPC, NULL);
	assert_int_equal(run("volume write tank/a data"), 1);
	one_error_line("No space left");
	assert_int_equal(fake_import.read_only, 2); /* refused before anything is written */
	fake_fail("libpool_volume_flush", -EIO, NULL);
	assert_int_equal(run("volume write tank/a data"), 1);
	one_error_line("flushing");
	assert_int_equal(run("volume write tank/a absent"), 1);
	one_error_line("opening absent");
	assert_int_equal(run("volume write tank/a /"), 1);
	one_error_line("folder");
}

/* Last, because an interruption can't be taken back. */
static void interruption(void **state)
{
	(void)state;
	create_tank();
	write_file("data", 1 << 20);
	assert_int_equal(run("volume create tank/a 2M"), 0);
	assert_int_equal(interrupt_init(), 0);
	raise(SIGINT);
	assert_int_equal(run("volume write tank/a data"), 1);
	one_error_line("interrupted before it began");
}

static int enter_folder(void **state)
{
	(void)state;
	setenv("TZ", "UTC", 1);
	return mkdtemp(folder) && chdir(folder) == 0 && setenv("LIBPOOL_RUN_PATH", folder, 1) == 0 ? 0 : -1;
}

static int leave_folder(void **state)
{
	char command[128];

	(void)state;
	json_object_put(parsed);
	fake_reset();
	snprintf(command, sizeof(command), "rm -r %s", folder);
	return chdir("/") == 0 ? system(command) : -1;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(wrong_usage),  cmocka_unit_test(help),	 cmocka_unit_test(missing_folder),
	    cmocka_unit_test(creating),	    cmocka_unit_test(listing),	 cmocka_unit_test(importing),
	    cmocka_unit_test(health),	    cmocka_unit_test(scrubbing), cmocka_unit_test(disks),
	    cmocka_unit_test(verifying),    cmocka_unit_test(volumes),	 cmocka_unit_test(streams),
	    cmocka_unit_test(interruption),
	};

	/* import starts this program again as `poolctl serve`, where the pool of the double doesn't exist. */
	if (argc > 1 && strcmp(argv[0], "poolctl") == 0)
		return poolctl_run(argc, argv);
	return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
