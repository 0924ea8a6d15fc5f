/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * In place of libFuzzer: runs every file that is named, and every file in the folders that are named, once. With --mutants=N
 * also N blind changes of each, by the target's own mutator if it has one, drawn from --seed=N; one that ends the process by
 * a signal is written to the file "mutant", and so is one that takes longer than --seconds=N.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"

#define INPUT_MAX (1u << 20)
#define MEMORY_MAX_KIB (512u << 10)

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) __attribute__((weak));

static unsigned long inputs, runs, mutants, seconds, seed;
static const uint8_t *volatile current; /* the mutant that runs */
static volatile size_t current_size;
static uint64_t random_state = 88172645463325252u;

static void save_mutant(int number)
{
	int file = current ? open("mutant", O_WRONLY | O_CREAT | O_TRUNC, 0666) : -1;

	if (file >= 0 && write(file, current, current_size) == (ssize_t)current_size)
		close(file);
	signal(number, SIG_DFL);
	raise(number);
}

static unsigned draw(unsigned bound)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (unsigned)(random_state % bound);
}

size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size)
{
	if (size == 0 || (size < max_size && draw(16) == 0))
		data[size++] = (uint8_t)draw(256);
	else if (size > 1 && draw(16) == 0)
		size--;
	else
		data[draw((unsigned)size)] ^= (uint8_t)(draw(2) ? 1u << draw(8) : draw(256));
	return size;
}

/* Sanitizers need more of their own. */
static void check_memory(void)
{
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	struct rusage usage;

	if (getrusage(RUSAGE_SELF, &usage) < 0 || usage.ru_maxrss > (long)MEMORY_MAX_KIB) {
		fprintf(stderr, "%ld KiB of memory were used, more than %u\n", usage.ru_maxrss, MEMORY_MAX_KIB);
		abort();
	}
#endif
}

static void run_mutants(const uint8_t *data, size_t size)
{
	uint8_t *copy = malloc(INPUT_MAX);

	fuzz_expect(copy);
	random_state += seed * 0x9E3779B97F4A7C15u;
	for (unsigned long i = 0; i < mutants; i++) {
		size_t length = size;
		memcpy(copy, data, size);
		for (unsigned n = 1 + draw(4); n > 0; n--)
			length = LLVMFuzzerCustomMutator ? LLVMFuzzerCustomMutator(copy, length, INPUT_MAX, draw(1u << 30)) :
							   LLVMFuzzerMutate(copy, length, INPUT_MAX);
		uint8_t *exact = fuzz_copy(copy, length, length);
		current_size = length;
		current = exact;
		alarm((unsigned)seconds);
		(void)LLVMFuzzerTestOneInput(exact, length);
		alarm(0);
		check_memory();
		current = NULL;
		free(exact);
		runs++;
	}
	free(copy);
}

static void run_file(const char *path)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data = malloc(INPUT_MAX);

	if (!file || !data) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		exit(1);
	}
	size_t size = fread(data, 1, INPUT_MAX, file);
	fclose(file);
	fprintf(stderr, "%s\n", path); /* the last line before a crash */
	uint8_t *exact = fuzz_copy(data, size, size);
	(void)LLVMFuzzerTestOneInput(exact, size);
	check_memory();
	free(exact);
	inputs++;
	runs++;
	run_mutants(data, size);
	free(data);
}

static void run_path(const char *path)
{
	struct dirent **entries;
	struct stat status;

	if (stat(path, &status) == 0 && !S_ISDIR(status.st_mode)) {
		run_file(path);
		return;
	}
	int count = scandir(path, &entries, NULL, alphasort);
	for (int i = 0; i < count; i++) {
		char name[4096];
		snprintf(name, sizeof(name), "%s/%s", path, entries[i]->d_name);
		if (entries[i]->d_name[0] != '.')
			run_path(name);
		free(entries[i]);
	}
	if (count >= 0)
		free(entries);
}

int main(int argc, char **argv)
{
	static const int numbers[] = { SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGALRM };

	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		signal(numbers[i], save_mutant);
	for (int i = 1; i < argc; i++)
		if (sscanf(argv[i], "--mutants=%lu", &mutants) != 1 && sscanf(argv[i], "--seconds=%lu", &seconds) != 1 &&
		    sscanf(argv[i], "--seed=%lu", &seed) != 1)
			run_path(argv[i]);
	printf("%lu inputs, %lu runs\n", inputs, runs);
	return inputs ? 0 : 1;
}
