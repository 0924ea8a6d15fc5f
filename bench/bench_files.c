/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Small files through the calls of any program: creates (open, 4 KiB, close), looks at and removes COUNT files in a new folder.
 * Prints how many of each in a second; one thread. For mounted file systems: bench/compare.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CONTENT_BYTES 4096

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static void name_of(char *name, unsigned index)
{
	sprintf(name, "file-%08u", index);
}

static int create_one(const char *name)
{
	static char content[CONTENT_BYTES];
	int descriptor = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	if (descriptor < 0)
		return -1;
	memset(content, name[12], sizeof(content)); /* not zeroes, which need no room */
	int result = write(descriptor, content, sizeof(content)) == (ssize_t)sizeof(content) ? 0 : -1;
	return close(descriptor) < 0 ? -1 : result;
}

static int stat_one(const char *name)
{
	struct stat status;

	return stat(name, &status);
}

static void measure(const char *what, int (*function)(const char *name), unsigned count)
{
	double start = now();
	char name[32];

	for (unsigned i = 0; i < count; i++) {
		/* Not in the order of their creation: a large step that visits each once. */
		name_of(name, function == create_one ? i : (unsigned)((unsigned long)i * 7919 % count));
		if (function(name) < 0) {
			fprintf(stderr, "bench_files: %s %s: ", what, name);
			perror("");
			exit(1);
		}
	}
	printf("%-8s %.0f\n", what, count / (now() - start));
}

int main(int argc, char **argv)
{
	unsigned long count = argc == 3 ? strtoul(argv[2], NULL, 10) : 0;

	if (count == 0 || count > 10000000 || count % 7919 == 0) {
		fprintf(stderr, "usage: bench_files FOLDER COUNT    (1 to 10,000,000 and no multiple of 7919)\n");
		return 2;
	}
	if (mkdir(argv[1], 0700) < 0 || chdir(argv[1]) < 0) {
		perror(argv[1]);
		return 1;
	}
	measure("create", create_one, (unsigned)count);
	measure("stat", stat_one, (unsigned)count);
	measure("unlink", unlink, (unsigned)count);
	return chdir("/") < 0 || rmdir(argv[1]) < 0;
}
