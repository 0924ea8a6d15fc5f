/*
 * simulate: random histories of pools on simulated disks, each decided by its seed.
 *
 *	simulate --seed N [--trace] [--log] [--until STEP] [--abort] [--images FOLDER]    one
 *	simulate --seeds A..B [--jobs N] [--twice] [--stop] [--limit SECONDS]            many; prints those that fail, and how to replay them
 *
 * --files: with file systems, and clients of their files; another history than without.
 * --changes: log disks come, go and are lost, and settings change, while everything else happens; with one of the others or alone, and another history too.
 * --near-full: small pools that are full all the time, with volumes and files; another history again.
 * --images: instead of the last repair, writes the disks and what they must contain into the folder (tests/sim/images.h).
 * --until STEP: clients begin no operation from that one on. --twice: every seed must give the same events again. --stop: at the first that fails.
 * --limit: a seed that takes more processor time has failed (60 s).
 * Exit code: 0, or 1 if a seed failed, 2 for wrong arguments.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/sim/history.h"
#include "tests/sim/runner.h"

struct settings {
	uint64_t first, last, until;
	unsigned jobs, seconds;
	bool one, trace, log, aborts, twice, stops, files, near_full, changes;
	const char *images;
};

static struct settings settings = {.until = UINT64_MAX, .jobs = 1, .stops = false};

static void run_seed(uint64_t seed, struct runner_result *ret_result)
{
	struct plan plan;

	plan_draw(&plan, seed);
	if (settings.changes)
		plan_draw_changes(&plan);
	if (settings.files)
		plan_draw_files(&plan);
	if (settings.near_full)
		plan_draw_near_full(&plan);
	struct world *world = world_new(&plan);

	world->until = settings.until;
	world->keeps_core = settings.aborts;
	world->verbose = settings.one;
	world->images = settings.images;
	if (settings.trace)
		world->sim->trace = stdout;
	if (settings.log)
		world->set->log = stdout;
	if (settings.one)
		plan_print(&plan, stdout);
	history_run(world);
	ret_result->hash = sim_env_hash(world->sim);
	ret_result->statistics = world->statistics;
	if (settings.one)
		printf("seed %" PRIu64 ": hash %016" PRIx64 "\n", seed, ret_result->hash);
	world_free(world);
}

static int usage(void)
{
	fprintf(stderr, "usage: simulate [--changes] [--files | --near-full] --seed N [--trace] [--log] [--until STEP] [--abort] [--images FOLDER]\n"
			"       simulate [--changes] [--files | --near-full] --seeds A..B [--jobs N] [--twice] [--stop] [--limit SECONDS]\n");
	return 2;
}

static bool parse(int argc, char **argv)
{
	static const struct option options[] = {
		{"seed", required_argument, NULL, 's'}, {"seeds", required_argument, NULL, 'S'}, {"jobs", required_argument, NULL, 'j'},
		{"until", required_argument, NULL, 'u'}, {"trace", no_argument, NULL, 't'},     {"log", no_argument, NULL, 'l'},
		{"abort", no_argument, NULL, 'a'},      {"twice", no_argument, NULL, '2'},      {"stop", no_argument, NULL, 'x'},
		{"images", required_argument, NULL, 'i'}, {"files", no_argument, NULL, 'f'},
		{"changes", no_argument, NULL, 'c'}, {"near-full", no_argument, NULL, 'n'},  {"limit", required_argument, NULL, 'm'},
		{0},
	};
	int option;
	bool given = false;

	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (option) {
		case 's':
			settings.first = settings.last = strtoull(optarg, NULL, 0);
			settings.one = given = true;
			break;
		case 'S':
			given = sscanf(optarg, "%" SCNu64 "..%" SCNu64, &settings.first, &settings.last) == 2;
			break;
		case 'j':
			settings.jobs = (unsigned)strtoul(optarg, NULL, 0);
			break;
		case 'u':
			settings.until = strtoull(optarg, NULL, 0);
			break;
		case 't':
			settings.trace = true;
			break;
		case 'l':
			settings.log = true;
			break;
		case 'a':
			settings.aborts = true;
			break;
		case 'i':
			settings.images = optarg;
			break;
		case 'f':
			settings.files = true;
			break;
		case 'n':
			settings.near_full = true;
			break;
		case 'c':
			settings.changes = true;
			break;
		case 'm':
			settings.seconds = (unsigned)strtoul(optarg, NULL, 0);
			break;
		case '2':
			settings.twice = true;
			break;
		case 'x':
			settings.stops = true;
			break;
		default:
			return false;
		}
	}
	if (settings.files && settings.near_full)
		return false;
	if (settings.images && (!settings.one || settings.changes))
		return false;
	return given && optind == argc && settings.first <= settings.last && settings.jobs;
}

int main(int argc, char **argv)
{
	struct runner_result result;

	if (!parse(argc, argv))
		return usage();
	if (settings.one) {
		run_seed(settings.first, &result);
		return 0;
	}
	char arguments[64];

	snprintf(arguments, sizeof(arguments), "%s%s%s", settings.changes ? " --changes" : "", settings.files ? " --files" : "",
		 settings.near_full ? " --near-full" : "");
	struct runner_options options = {.program = argv[0],
					 .arguments = arguments,
					 .first = settings.first,
					 .last = settings.last,
					 .jobs = settings.jobs,
					 .seconds = settings.seconds,
					 .twice = settings.twice,
					 .stop_at_failure = settings.stops,
					 .run = run_seed};

	return runner_run(&options) ? 1 : 0;
}
