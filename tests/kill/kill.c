/*
 * Kills a process that writes a volume, at random moments, and looks at what it left.
 *
 *   kill_writer [--kills N] [--seed S] [--profile P] [--keep] [--verbose]
 *
 * A round: a writer is started on the pool and gets SIGKILL some time later, during the import as well as in
 * the middle of writing, flushing and exporting. Then, sometimes, processes that only import it are killed,
 * too. Then a reader imports the pool: what it finds must be the state after one prefix of each thread's
 * operations, no shorter than what a flush acknowledged (evaluate.c); the checkers must find nothing; and
 * with all disks there the pool must become healthy. The next round goes on with the same pool. Between these
 * steps disks vanish and come back, within what the profile survives: a disk that came back counts as lost
 * until the pool was healthy once.
 *
 * The kernel survives, so this is about the order in which a process hands its writes to the kernel. What a
 * power failure leaves is the simulator's part.
 */
#include "tests/kill/journal.h"
#include "tests/kill/random.h"
#include "tests/kill/reader.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define HANG_MS	   120000 /* nothing takes so long on any machine */
#define DISK_BYTES (96 * MIB)

struct profile {
	const char *name;
	unsigned disks, may_fail;
};

static const struct profile profiles[] = {
    {"raid6", 6, 2}, {"raid5", 4, 1}, {"raid1", 2, 1}, {"single", 3, 0}};

#define PROFILES (sizeof(profiles) / sizeof(profiles[0]))

struct run {
	const struct profile *profile;
	struct disks disks;
	struct journal *journal;
	struct random random;
	uint32_t suspects; /* disks that are hidden, or that came back and may not be up to date */
	unsigned kills, importers_killed, hidden, operations, flushes;
	bool verbose;
};

static bool uses_fallback(struct run *run)
{
	return run->disks.host.no_uring != 0;
}

static void sleep_us(uint64_t us)
{
	struct timespec time = {.tv_sec = (time_t)(us / 1000000), .tv_nsec = (long)(us % 1000000) * 1000};

	nanosleep(&time, NULL);
}

/* Forks; the child dies with its parent. */
static pid_t begin(void)
{
	pid_t parent = getpid(), child;

	fflush(NULL);
	child = fork();
	if (child < 0) {
		perror("fork");
		exit(1);
	}
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent)
			_exit(1);
	}
	return child;
}

/* Whether the process ended by itself within the time; then *ret_status is how. */
static bool ended(pid_t child, uint64_t limit_us, int *ret_status)
{
	for (uint64_t us = 0;; us += 500) {
		pid_t result = waitpid(child, ret_status, WNOHANG);

		if (result == child)
			return true;
		if (us >= limit_us)
			return false;
		sleep_us(500);
	}
}

/* False if it had failed or ended before. */
static bool kill_now(struct run *run, pid_t child, const char *what)
{
	int status;

	kill(child, SIGKILL);
	waitpid(child, &status, 0);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
		return true;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true; /* it was faster than we */
	journal_fail(run->journal, "%s ended with status %#x", what, (unsigned)status);
	return false;
}

static bool fits(const struct run *run, uint32_t suspects)
{
	return (unsigned)__builtin_popcount(suspects) <= run->profile->may_fail;
}

/* Disks vanish and come back. */
static void change_disks(struct run *run)
{
	for (unsigned i = 0; i < run->disks.count; i++) {
		uint32_t bit = 1u << i;

		if (run->disks.hidden & bit) {
			if (random_percent(&run->random, 40))
				disks_show(&run->disks, i);
		} else if (fits(run, run->suspects | bit) && random_percent(&run->random, 12)) {
			disks_hide(&run->disks, i);
			run->suspects |= bit;
			run->hidden++;
		}
	}
}

static bool write_and_kill(struct run *run)
{
	uint64_t seed = random_next(&run->random);
	bool at_import = random_percent(&run->random, 20);
	uint64_t delay_us = random_below(&run->random, at_import ? 40000 : 300000);
	pid_t child = begin();
	int status;

	if (child == 0)
		writer_run(&run->disks, run->journal, seed);
	for (unsigned ms = 0; !at_import && !atomic_load(&run->journal->imported); ms++) {
		if (ended(child, 1000, &status)) {
			journal_fail(run->journal, "writer ended with status %#x during its import",
				     (unsigned)status);
			return false;
		}
		if (ms == HANG_MS) {
			journal_fail(run->journal, "writer: import hangs");
			kill(child, SIGABRT);
			return false;
		}
	}
	sleep_us(delay_us);
	return kill_now(run, child, "writer") && !atomic_load(&run->journal->failed);
}

static bool import_and_kill(struct run *run)
{
	pid_t child = begin();

	if (child == 0)
		importer_run(&run->disks, run->journal);
	sleep_us(random_below(&run->random, 60000));
	run->importers_killed++;
	return kill_now(run, child, "importer") && !atomic_load(&run->journal->failed);
}

static bool look(struct run *run)
{
	uint64_t seed = random_next(&run->random);
	pid_t child = begin();
	int status;

	if (child == 0)
		reader_run(&run->disks, run->journal, seed);
	if (!ended(child, HANG_MS * UINT64_C(1000), &status)) {
		journal_fail(run->journal, "reader hangs");
		kill(child, SIGABRT);
		return false;
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		journal_fail(run->journal, "reader ended with status %#x", (unsigned)status);
		return false;
	}
	if (run->disks.hidden == 0 && run->journal->healthy)
		run->suspects = 0;
	return journal_evaluate(run->journal);
}

static bool round_of(struct run *run)
{
	struct journal *journal = run->journal;

	run->disks.host.no_uring = random_percent(&run->random, 25);
	journal_begin_round(journal);
	if (!write_and_kill(run))
		return false;
	run->kills++;
	while (random_percent(&run->random, 35)) {
		change_disks(run);
		if (!import_and_kill(run))
			return false;
	}
	if (run->verbose)
		printf("  kill %u: %s, hidden %#x, suspect %#x\n", run->kills,
		       uses_fallback(run) ? "pread" : "io_uring", run->disks.hidden, run->suspects);
	if (!look(run))
		return false;
	for (unsigned i = 0; i < THREADS; i++)
		run->operations += atomic_load(&journal->threads[i].issued);
	run->flushes += atomic_load(&journal->flushes);
	memcpy(journal->base, journal->found, sizeof(journal->base));
	change_disks(run);
	return true;
}

static bool prepare(struct run *run)
{
	static const uint32_t blocks[] = {4096, 16384, 65536, 131072};
	static const uint32_t chunks[] = {4, 16, 64, 512}; /* UNITS is a multiple of twice each of them */
	unsigned choice = (unsigned)random_below(&run->random, 4);
	struct libpool_volume_options options = {
	    .size = sizeof(options), .volume_bytes = (uint64_t)UNITS * UNIT, .block_bytes = blocks[choice]};
	struct libpool_error error = {0};
	libpool_pool *pool;
	int result;

	/* Where chunks are smaller than blocks, threads write into the same blocks. */
	run->journal->chunk = chunks[random_below(&run->random, 4)];
	result = disks_create_pool(&run->disks, POOL_NAME, run->profile->name, &error);
	if (result == 0)
		result = disks_import(&run->disks, POOL_NAME, &pool, &error);
	if (result == 0) {
		result = libpool_volume_create(pool, VOLUME_NAME, &options, &error);
		if (result == 0)
			result = libpool_close(pool, &error);
	}
	if (result != 0)
		journal_fail(run->journal, "%d (%s) %s", result, libpool_strerror(result), error.text);
	printf("%-6s on %u disks, blocks of %u bytes, chunks of %u units\n", run->profile->name,
	       run->disks.count, blocks[choice], run->journal->chunk);
	return result == 0;
}

/* In a child of its own, so that no process that forks has ever had a pool open. */
static bool prepare_apart(struct run *run)
{
	pid_t child = begin();
	int status;

	if (child == 0) {
		bool good = prepare(run);

		fflush(NULL);
		_exit(good ? 0 : 1);
	}
	random_next(&run->random); /* the child drew from a copy */
	waitpid(child, &status, 0);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return true;
	journal_fail(run->journal, "create ended with status %#x", (unsigned)status);
	return false;
}

static bool run_profile(const struct profile *profile, unsigned kills, uint64_t seed, bool keep, bool verbose)
{
	struct run run = {
	    .profile = profile, .random = {seed}, .journal = journal_make(), .verbose = verbose};
	bool good;

	disks_make(&run.disks, profile->disks, DISK_BYTES);
	good = prepare_apart(&run);
	while (good && run.kills < kills)
		good = round_of(&run);
	printf("%-6s %u kills, %u of importers, %u operations, %u flushes, %u disks hidden, %u times in use: "
	       "%s\n",
	       profile->name, run.kills, run.importers_killed, run.operations, run.flushes, run.hidden,
	       run.journal->busy_imports, good ? "good" : "FAILED");
	if (!good)
		printf("%s: %s\n(files are left in %s; hidden %#x, suspects %#x)\n", profile->name,
		       run.journal->failure, run.disks.folder, run.disks.hidden, run.suspects);
	else if (!keep)
		disks_remove(&run.disks);
	return good;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"kills", 1, NULL, 'k'},   {"seed", 1, NULL, 's'},
						{"profile", 1, NULL, 'p'}, {"keep", 0, NULL, 'K'},
						{"verbose", 0, NULL, 'v'}, {0}};
	unsigned kills = 50, done = 0;
	uint64_t seed = (uint64_t)time(NULL) * 1000 + (uint64_t)getpid() % 1000;
	const char *only = NULL;
	bool keep = false, verbose = false;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'k':
			kills = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 's':
			seed = strtoull(optarg, NULL, 10);
			break;
		case 'p':
			only = optarg;
			break;
		case 'K':
			keep = true;
			break;
		case 'v':
			verbose = true;
			break;
		default:
			return 2;
		}
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("seed %" PRIu64 "\n", seed);
	for (unsigned i = 0; i < PROFILES; i++) {
		unsigned share = only ? kills : kills / PROFILES + (i < kills % PROFILES);

		if (only && strcmp(only, profiles[i].name) != 0)
			continue;
		if (!run_profile(&profiles[i], share, seed + i, keep, verbose))
			return 1;
		done += share;
	}
	printf("%u kills, nothing lost\n", done);
	return done == kills ? 0 : 2;
}
