/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the clients of file systems share. */
#ifndef TESTS_SIM_FILES_PRIVATE_H
#define TESTS_SIM_FILES_PRIVATE_H

#include "libpool/fs/fs.h"
#include "tests/sim/files.h"
#include "tests/sim/lane.h"
#include "tests/sim/world.h"

struct client {
	struct world *world;
	struct filesystem *filesystem;
	struct lane lane;
	char name[16]; /* of its directory */
	unsigned written;   /* the file that it writes to */
	unsigned uncertain; /* a change that a crash may leave in part, until it is durable: a copy, or one that a full pool ended; 0: none */
	struct sim_random random;
};

struct filesystem {
	char name[16];
	bool made; /* it is there for good, with its lanes */
	bool saved; /* it was when the images were saved */
	bool caseless;
	struct fs *fs;
	struct client clients[PLAN_LANES_MAX];
};

struct files {
	unsigned count, lanes;
	struct filesystem filesystems[PLAN_FILESYSTEMS_MAX];
	uint64_t clock;
	bool full; /* they couldn't be made */
	struct rt_group group;
};

_Noreturn void client_fail(struct client *client, const char *what, int result, int wanted);
unsigned client_below(struct client *client, unsigned limit);
/* A name as it is written, in small letters 'n' or in large ones where case doesn't matter; its length. */
size_t files_spell(unsigned name, char letter, char text[256]);
/* One of its spellings; the longest there is among them. */
size_t client_name_of(struct client *client, unsigned name, char *text);
void client_xattr_name(unsigned which, char *name);
/* The lane as it is. */
void client_learn(struct client *client, struct lane_state *ret_state);

#endif
