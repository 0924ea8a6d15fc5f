/*
 * See runner.h. A child writes its result into a pipe as the last thing it does; what it prints to stderr goes
 * into a file without a name, and is shown if it failed. A child that takes too long is ended by its alarm.
 */
#include "tests/sim/runner.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECONDS_MAX 60u    /* of processor time: how many others the machine works for doesn't count */
#define WAITING_MAX 1800u
#define SHOWN_MAX 4000u

struct child {
	pid_t pid;
	uint64_t seed;
	int pipe, errors;
	bool second; /* its result is compared with `expected` */
	uint64_t expected;
};

struct runner {
	const struct runner_options *options;
	struct child *children;
	uint64_t next, run, failures;
	uint64_t crashed, faulty, both; /* seeds in which the power went, or a disk failed in some way, as it came out */
	bool stopping;
	struct world_statistics sum;
};

static double seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The second run has another layout of memory: addresses must not matter. */
static void shift_memory(void)
{
	for (unsigned i = 1; i < 40; i++) {
		void *kept = malloc(i * 937);

		if (!kept)
			abort();
	}
	if (mmap(NULL, 1234 << 12, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
		abort();
}

static _Noreturn void child_main(const struct runner *runner, uint64_t seed, bool second, int pipe_end, int errors)
{
	struct runner_result result = {0};

	setitimer(ITIMER_PROF, &(struct itimerval){.it_value.tv_sec = runner->options->seconds ? runner->options->seconds : SECONDS_MAX}, NULL);
	alarm(WAITING_MAX);
	dup2(errors, STDERR_FILENO);
	if (second)
		shift_memory();
	runner->options->run(seed, &result);
	if (write(pipe_end, &result, sizeof(result)) != sizeof(result))
		abort();
	_exit(0);
}

static void start(struct runner *runner, struct child *child, uint64_t seed, bool second, uint64_t expected)
{
	int ends[2];

	*child = (struct child){.seed = seed, .second = second, .expected = expected, .errors = memfd_create("errors", MFD_CLOEXEC)};
	fflush(NULL);
	if (child->errors < 0 || pipe(ends) || (child->pid = fork()) < 0)
		sim_fatal("no more processes");
	if (child->pid == 0)
		child_main(runner, seed, second, ends[1], child->errors);
	close(ends[1]);
	child->pipe = ends[0];
}

static void show_errors(int file)
{
	char text[SHOWN_MAX + 1];
	off_t size = lseek(file, 0, SEEK_END);
	ssize_t got = pread(file, text, SHOWN_MAX, size > (off_t)SHOWN_MAX ? size - (off_t)SHOWN_MAX : 0);

	if (got <= 0)
		return;
	text[got] = 0;
	printf("%s%s", text, text[got - 1] == '\n' ? "" : "\n");
}

static void failed(struct runner *runner, const struct child *child, const char *how)
{
	runner->failures++;
	printf("FAILED seed %" PRIu64 ": %s\n", child->seed, how);
	show_errors(child->errors);
	printf("  replay: %s%s --seed %" PRIu64 "\n", runner->options->program, runner->options->arguments, child->seed);
	fflush(stdout);
	if (runner->options->stop_at_failure)
		runner->stopping = true;
}

static void add(struct runner *runner, const struct world_statistics *one)
{
#define ADD(name) runner->sum.name += one->name;
	WORLD_STATISTICS(ADD)
#undef ADD
	runner->crashed += one->crashes > 0;
	runner->faulty += one->faults > 0;
	runner->both += one->crashes > 0 && one->faults > 0;
}

static void ended(struct runner *runner, struct child *child, int status)
{
	struct runner_result result;
	bool complete = read(child->pipe, &result, sizeof(result)) == sizeof(result);
	char how[64];
	bool again = false;

	if (WIFSIGNALED(status)) {
		snprintf(how, sizeof(how), "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
		failed(runner, child, how);
	} else if (WEXITSTATUS(status) || !complete) {
		snprintf(how, sizeof(how), "exit code %d", WEXITSTATUS(status));
		failed(runner, child, how);
	} else if (child->second && result.hash != child->expected) {
		failed(runner, child, "the second run had other events than the first");
	} else {
		again = runner->options->twice && !child->second;
		if (!child->second)
			add(runner, &result.statistics);
	}
	runner->run += !child->second;
	close(child->pipe);
	close(child->errors);
	uint64_t seed = child->seed;

	*child = (struct child){0};
	if (again)
		start(runner, child, seed, true, result.hash);
}

static unsigned fill(struct runner *runner)
{
	unsigned active = 0;

	for (unsigned i = 0; i < runner->options->jobs; i++) {
		if (!runner->children[i].pid && runner->next <= runner->options->last && !runner->stopping)
			start(runner, &runner->children[i], runner->next++, false, 0);
		active += runner->children[i].pid != 0;
	}
	return active;
}

uint64_t runner_run(const struct runner_options *options)
{
	struct runner runner = {.options = options, .next = options->first};
	double begun = seconds();

	runner.children = sim_allocate(options->jobs * sizeof(*runner.children));
	while (fill(&runner)) {
		int status;
		pid_t pid = wait(&status);

		for (unsigned i = 0; i < options->jobs; i++) {
			if (runner.children[i].pid == pid)
				ended(&runner, &runner.children[i], status);
		}
	}
	double took = seconds() - begun;

	printf("%" PRIu64 " seeds run, %" PRIu64 " failed, %.1f s, %.1f seeds/s\n", runner.run, runner.failures, took,
	       took > 0 ? (double)runner.run / took : 0);
#define PRINT(name) printf("%s " #name " %" PRIu64, #name[0] ? "," : "", runner.sum.name);
	printf("%" PRIu64 " with crashes, %" PRIu64 " with faults of disks, %" PRIu64 " with both\n", runner.crashed, runner.faulty, runner.both);
	printf("in all:");
	WORLD_STATISTICS(PRINT)
#undef PRINT
	printf("\n");
	free(runner.children);
	return runner.failures;
}
