/* SPDX-License-Identifier: BSD-2-Clause */
/* Locks: of a process, of an open file, and flock: who excludes whom. */
#include "tests/fuse/posix/check.h"

#include <sys/file.h>

static int lock(int file, int command, short type, off_t start, off_t length)
{
	struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = length};

	return fcntl(file, command, &lock);
}

struct attempt {
	int command;
	short type;
	off_t start, length;
	int code;
};

static void try_it(void *argument)
{
	const struct attempt *attempt = argument;
	int file = open("f", O_RDWR);

	FAILS(attempt->code, lock(file, attempt->command, attempt->type, attempt->start, attempt->length));
	close(file);
}

static void ranges(void)
{
	static const int commands[] = {F_SETLK, F_OFD_SETLK};
	static const struct { off_t start, length; bool meets; } places[] = {{0, 10, false}, {0, 101, true}, {100, 100, true}, {150, 1, true}, {199, 1, true},
									     {200, 1, false}, {50, 0, true}, {200, 0, false}, {0, 0, true}};

	OK(chmod(".", 0755));
	put("f", "text", 4);
	OK(chmod("f", 0666));
	for (int held = 0; held < 2; held++)
		for (int tried = 0; tried < 2; tried++)
			for (int exclusive = 0; exclusive < 4; exclusive++)
				for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
					short type = exclusive & 1 ? F_WRLCK : F_RDLCK, other = exclusive & 2 ? F_WRLCK : F_RDLCK;
					struct attempt attempt = {commands[tried], other, places[i].start, places[i].length,
								  places[i].meets && exclusive ? EAGAIN : 0};
					int file = open("f", O_RDWR);
					about("held %d, tried %d, kinds %d, place %zu", held, tried, exclusive, i);
					OK(lock(file, commands[held], type, 100, 100));
					as_user(7000, 7000, try_it, &attempt);
					/* Asked for: who is in the way. */
					struct flock question = {.l_type = other, .l_whence = SEEK_SET, .l_start = places[i].start, .l_len = places[i].length};
					int second = open("f", O_RDWR);
					OK(fcntl(second, F_OFD_GETLK, &question));
					EQUAL(attempt.code ? type : F_UNLCK, question.l_type);
					OK(lock(file, commands[held], F_UNLCK, 0, 0));
					attempt.code = 0;
					as_user(7000, 7000, try_it, &attempt);
					OK(close(second));
					OK(close(file));
				}
}

static void whole_files(void)
{
	static const int ways[] = {LOCK_SH, LOCK_EX};

	put("f", "text", 4);
	for (int first = 0; first < 2; first++)
		for (int second = 0; second < 2; second++) {
			int one = open("f", O_RDONLY), two = open("f", O_RDONLY);
			about("%d, then %d", first, second);
			OK(flock(one, ways[first] | LOCK_NB));
			FAILS(first || second ? EWOULDBLOCK : 0, flock(two, ways[second] | LOCK_NB));
			OK(flock(one, LOCK_UN));
			OK(flock(two, ways[second] | LOCK_NB));
			OK(close(two));
			OK(flock(one, LOCK_EX | LOCK_NB)); /* the last close lets go */
			int same = dup(one);
			OK(flock(same, LOCK_SH | LOCK_NB));
			OK(close(one));
			OK(close(same));
		}
}

const struct test locks_tests[] = {{"locks-of-ranges", ranges}, {"locks-of-files", whole_files}, {NULL, NULL}};
