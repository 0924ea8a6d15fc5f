/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The random operations of clients on files. See files.h.
 *
 * The model does an operation first, and says how it must end. A full pool is the only reason to end otherwise: what is there then is
 * taken over, and counts from the next commit on.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/sim/content.h"
#include "tests/sim/files_private.h"
#include "tests/sim/settings.h"

#define OVERWRITES 5u /* the first ones wait for a log to be made */

struct files *files_new(const struct plan *plan)
{
	struct files *files;
	struct sim_random random;

	if (!plan->filesystems)
		return NULL;
	files = sim_allocate(sizeof(*files));
	files->count = plan->filesystems;
	files->lanes = plan->lanes;
	sim_random_stream(&random, plan->seed, "files", 0);
	for (unsigned i = 0; i < files->count; i++) {
		struct filesystem *filesystem = &files->filesystems[i];
		snprintf(filesystem->name, sizeof(filesystem->name), "f%u", i);
		filesystem->caseless = sim_random_below(&random, 4) == 0;
		for (unsigned j = 0; j < files->lanes; j++)
			snprintf(filesystem->clients[j].name, sizeof(filesystem->clients[j].name), "lane%u", j);
	}
	return files;
}

void files_free(struct files *files)
{
	for (unsigned i = 0; files && i < files->count; i++)
		for (unsigned j = 0; j < files->lanes; j++)
			lane_clear(&files->filesystems[i].clients[j].lane.state);
	free(files);
}

uint64_t files_now(struct world *world)
{
	return world->files ? ++world->files->clock : 0;
}

static void durable_in(struct files *files, struct filesystem *filesystem, uint64_t begin)
{
	for (unsigned j = 0; j < files->lanes; j++)
		lane_durable(&filesystem->clients[j].lane, begin);
}

void files_durable(struct world *world, uint64_t begin)
{
	struct files *files = world->files;

	for (unsigned i = 0; files && i < files->count; i++)
		for (unsigned j = 0; j < files->lanes; j++)
			lane_committed(&files->filesystems[i].clients[j].lane, begin);
}

void files_crash(struct world *world)
{
	for (unsigned i = 0; world->files && i < world->files->count; i++)
		world->files->filesystems[i].fs = NULL;
}

static struct fs_node *node_at(struct client *client, unsigned index)
{
	struct fs_node *node;
	int status = fs_get(client->filesystem->fs, client->lane.state.nodes[index].number, 0, &node);

	if (status < 0)
		client_fail(client, "use of a node", status, 0);
	return node;
}

static void check_lane(struct client *client)
{
	struct lane_state *state = sim_allocate(sizeof(*state));

	client_learn(client, state);
	struct hash128 found = lane_digest(state), wanted = lane_digest(&client->lane.state);
	if (memcmp(&found, &wanted, sizeof(found)) != 0)
		world_fail(client->world, "%s/%s isn't what was made of it", client->filesystem->name, client->name);
	lane_clear(state);
	free(state);
}

/* ---- operations ---- */

/* After a change that the model has made: it is asked for next. */
static void begin(struct client *client)
{
	if (!lane_begin(&client->lane, files_now(client->world)))
		world_fail(client->world, "%s/%s: the history is full", client->filesystem->name, client->name);
}

static void commit(struct client *client)
{
	uint64_t asked = files_now(client->world);
	int status = core_commit_forced(client->world->core);

	if (status < 0)
		client_fail(client, "commit", status, 0);
	files_durable(client->world, asked);
}

static void no_space(struct client *client)
{
	struct lane *lane = &client->lane;

	client->world->statistics.no_space++;
	client->uncertain = lane->count - 1;
	client_learn(client, &lane->state);
	lane->history[lane->count - 1].made = lane_digest(&lane->state);
	lane_end(lane, files_now(client->world));
	commit(client);
}

/* What frees space has no reason to fail. */
static void finish(struct client *client, const char *what, int status, int wanted, bool frees)
{
	if (status == -ENOSPC && wanted == 0 && !frees)
		no_space(client);
	else if (status != wanted)
		client_fail(client, what, status, wanted);
	else if (wanted == 0)
		lane_end(&client->lane, files_now(client->world));
}

static unsigned any_directory(struct client *client)
{
	unsigned index = client_below(client, LANE_NODES);

	return lane_is_directory(&client->lane.state, index) ? index : 0;
}

/* 0: there is none, or none was found. */
static unsigned any_node(struct client *client, bool file)
{
	for (unsigned tries = 0; tries < 16; tries++) {
		unsigned index = 1 + client_below(client, LANE_NODES - 1);
		const struct lane_node *node = &client->lane.state.nodes[index];
		if (node->used && (!file || S_ISREG(node->mode)))
			return index;
	}
	return 0;
}

static void do_make(struct client *client)
{
	static const uint32_t types[] = { S_IFREG, S_IFREG, S_IFREG, S_IFREG, S_IFDIR, S_IFDIR, S_IFLNK, S_IFIFO, S_IFCHR };
	struct lane_state *state = &client->lane.state;
	unsigned directory = any_directory(client), name = client_below(client, LANE_NAMES), index = lane_free_node(state);
	uint32_t mode = types[client_below(client, sizeof(types) / sizeof(types[0]))] | 0640;
	char text[256], target[400];

	if (!index || !lane_has_room(state))
		return;
	snprintf(target, sizeof(target), "%0*u", client_below(client, 2) ? 20 : 390, (unsigned)client->world->step);
	struct lane_node made = { .used = true, .mode = mode, .links = S_ISDIR(mode) ? 2 : 1 };
	struct fs_new options = { .mode = mode, .target = target };
	if (S_ISCHR(mode))
		made.device = options.device_minor = client_below(client, 1000);
	if (S_ISLNK(mode)) {
		made.size = strlen(target);
		made.data = sim_allocate(FS_SYMLINK_MAX + 1);
		memcpy(made.data, target, made.size);
	} else if (S_ISREG(mode)) {
		made.data = sim_allocate(LANE_FILE_MAX);
	}
	struct fs_node *parent = node_at(client, directory), *node = NULL;
	int wanted = lane_make(state, directory, name, &made, index);
	if (wanted == 0)
		begin(client);
	else
		free(made.data);
	size_t length = client_name_of(client, name, text);
	int status = fs_make(parent, text, length, &options, &node);
	if (status == 0)
		state->nodes[index].number = fs_number(node);
	fs_put(parent);
	finish(client, "create", status, wanted, false);
	if (status == 0)
		fs_put(node);
}

static void do_link(struct client *client)
{
	struct lane_state *state = &client->lane.state;
	unsigned index = any_node(client, false), directory = any_directory(client), name = client_below(client, LANE_NAMES);
	char text[256];

	if (!index || !lane_has_room(state))
		return;
	struct fs_node *node = node_at(client, index), *parent = node_at(client, directory);
	int wanted = lane_link(state, index, directory, name);
	if (wanted == 0)
		begin(client);
	size_t length = client_name_of(client, name, text);
	int status = fs_link(node, parent, text, length);
	fs_put(node);
	fs_put(parent);
	finish(client, "link", status, wanted, false);
}

static void do_remove(struct client *client)
{
	struct lane_state *state = &client->lane.state;
	unsigned directory = any_directory(client), name = client_below(client, LANE_NAMES);
	int entry = lane_find(state, directory, name);
	unsigned index = entry < 0 ? 0 : state->entries[entry].node;
	bool as_directory = index && lane_is_directory(state, index);
	struct fs_node *parent = node_at(client, directory), *kept = NULL;
	char text[256];

	/* Now and then somebody has it open, and it is freed with the last handle. */
	if (index && client_below(client, 3) == 0)
		kept = node_at(client, index);
	int wanted = lane_remove(state, directory, name);
	if (wanted == 0)
		begin(client);
	size_t length = client_name_of(client, name, text);
	int status = (as_directory ? fs_remove_directory : fs_unlink)(parent, text, length);
	fs_put(parent);
	finish(client, "remove", status, wanted, true);
	if (kept && client_below(client, 2))
		rt_sleep(client->world->rt, 1 + sim_random_below(&client->random, client->world->plan.commit_interval_ns * 2));
	fs_put(kept);
}

static void do_rename(struct client *client)
{
	struct lane_state *state = &client->lane.state;
	unsigned directories[2] = { any_directory(client), any_directory(client) };
	unsigned names[2] = { client_below(client, LANE_NAMES), client_below(client, LANE_NAMES) }, kind = client_below(client, 5);
	char texts[2][256];

	/* To another spelling of itself: nothing that the model knows of. */
	if (directories[0] == directories[1] && names[0] == names[1])
		return;
	struct fs_node *parents[2] = { node_at(client, directories[0]), node_at(client, directories[1]) };
	int wanted = lane_rename(state, directories[0], names[0], directories[1], names[1], kind == 0, kind == 1);
	if (wanted == 0)
		begin(client);
	size_t lengths[2] = { client_name_of(client, names[0], texts[0]), client_name_of(client, names[1], texts[1]) };
	struct fs_place from = { parents[0], texts[0], lengths[0] }, to = { parents[1], texts[1], lengths[1] };
	int status = fs_rename(&from, &to, kind == 0 ? FS_RENAME_NOREPLACE : kind == 1 ? FS_RENAME_EXCHANGE : 0);
	fs_put(parents[0]);
	fs_put(parents[1]);
	finish(client, "rename", status, wanted, false);
}

static unsigned file_to_write(struct client *client)
{
	const struct lane_node *last = &client->lane.state.nodes[client->written];

	if (!client->world->plan.flushes || !last->used || !S_ISREG(last->mode) || client_below(client, 16) == 0)
		client->written = any_node(client, true);
	return client->written;
}

/* false: there is no file. */
static bool do_write(struct client *client)
{
	static const unsigned lengths[] = { 20, 150, 300, 5000, 40000 };
	struct lane_state *state = &client->lane.state;
	bool flushes = client->world->plan.flushes;
	unsigned index = file_to_write(client), length = 1 + client_below(client, lengths[flushes ? 4 : client_below(client, 5)]);
	const struct lane_node *file = &state->nodes[index];
	size_t written = 0;

	if (!index)
		return false;
	uint64_t offset = client_below(client, 3) ? client_below(client, (unsigned)file->size + 1) : client_below(client, LANE_FILE_MAX);
	if (flushes && client_below(client, 2)) {
		offset -= offset % (client->world->step % 4 ? 8192 : 16384); /* whole records, and a part of the last */
	} else if (client_below(client, 3) == 0) {
		offset -= offset % 4096;
		length = (length + 4095) / 4096 * 4096;
	}
	if (offset + length > LANE_FILE_MAX)
		offset = LANE_FILE_MAX - length;
	uint8_t *data = sim_allocate(length);
	content_fill(data, length, (enum content_kind)client_below(client, CONTENT_KINDS), (uint32_t)index, offset, client->world->step);
	struct fs_node *node = node_at(client, index);
	lane_write(state, index, offset, length, data, true);
	begin(client);
	int status = fs_write(node, offset, length, data, 0, &written);
	if (status == 0 && written != length)
		status = -ENOSPC;
	fs_put(node);
	free(data);
	finish(client, "write", status, 0, false);
	return true;
}

static void do_truncate(struct client *client)
{
	unsigned index = any_node(client, true);
	struct fs_set set = { .what = FS_SET_SIZE, .size = client_below(client, client_below(client, 2) ? 400 : LANE_FILE_MAX) };

	if (!index)
		return;
	struct fs_node *node = node_at(client, index);
	bool frees = set.size <= client->lane.state.nodes[index].size;
	lane_truncate(&client->lane.state, index, set.size);
	begin(client);
	int status = fs_set(node, &set);
	fs_put(node);
	finish(client, "truncate", status, 0, frees);
}

static void do_punch(struct client *client)
{
	unsigned index = any_node(client, true);
	uint64_t size = client->lane.state.nodes[index].size;

	if (!index || !size)
		return;
	struct fs_node *node = node_at(client, index);
	uint64_t offset = client_below(client, (unsigned)size), length = 1 + client_below(client, 50000);
	lane_write(&client->lane.state, index, offset, length, NULL, false);
	begin(client);
	int status = fs_allocate(node, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length, 0);
	fs_put(node);
	finish(client, "punch", status, 0, false);
}

static void do_copy(struct client *client)
{
	struct lane_state *state = &client->lane.state;
	unsigned from = any_node(client, true), to = any_node(client, true);
	uint64_t step = client_below(client, 2) ? 4096 : 1, done = 0;

	if (!from || !to || from == to)
		return;
	const struct lane_node *source = &state->nodes[from];
	uint64_t at = client_below(client, (unsigned)(source->size / step + 1)) * step, into = client_below(client, 10) * step, length = client_below(client, 60000);
	length = length > source->size - at ? source->size - at : length;
	length = length > LANE_FILE_MAX - into ? LANE_FILE_MAX - into : length;
	struct fs_node *nodes[2] = { node_at(client, from), node_at(client, to) };
	lane_write(state, to, into, length, source->data + at, true);
	begin(client);
	client->uncertain = client->lane.count - 1;
	int status = fs_copy_range(nodes[0], at, nodes[1], into, length, 0, &done);
	if (status == 0 && done != length)
		status = -ENOSPC;
	fs_put(nodes[0]);
	fs_put(nodes[1]);
	finish(client, "copy", status, 0, false);
}

static void do_xattr(struct client *client)
{
	unsigned index = any_node(client, false), which = client_below(client, LANE_XATTRS);
	struct lane_node *node = &client->lane.state.nodes[index];
	int wanted = 0, status;
	bool removes = client_below(client, 3) == 0;
	char name[16];

	if (!index)
		return;
	struct fs_node *real = node_at(client, index);
	client_xattr_name(which, name);
	if (removes) {
		wanted = node->xattrs[which] ? 0 : -ENODATA;
		node->xattrs[which] = 0;
		if (wanted == 0)
			begin(client);
		status = fs_xattr_remove(real, name);
	} else {
		size_t length = client_below(client, client_below(client, 2) ? 100 : LANE_XATTR_MAX);
		uint8_t *value = sim_allocate(length + 1), fill = (uint8_t)(1 + client_below(client, 200));
		memset(value, fill, length);
		node->xattrs[which] = length + 1;
		node->fill[which] = fill;
		begin(client);
		status = fs_xattr_set(real, name, value, length, 0);
		free(value);
	}
	fs_put(real);
	finish(client, "change of an attribute", status, wanted, removes);
}

/* fsync of any file is one of its file system. */
static void do_sync(struct client *client)
{
	uint64_t asked = files_now(client->world);
	struct settings_sync sync = settings_sync(client->world, client->filesystem->name);
	int status = fs_sync(client->filesystem->fs);

	if (status < 0)
		client_fail(client, "sync", status, 0);
	if (settings_flush_counts(client->world, sync))
		durable_in(client->world->files, client->filesystem, asked);
	client->world->statistics.syncs++;
	uint64_t placed = client->world->statistics.log_placed;
	world_note_log(client->world);
	if (!client->world->plan.clients) /* they are of files then */
		client->world->statistics.records_placed += client->world->statistics.log_placed - placed;
}

static void verify(struct client *client)
{
	struct world *world = client->world;
	struct fs_check check;
	int status = fs_check(client->filesystem->fs, &check);

	if (status < 0)
		client_fail(client, "check", status, 0);
	if (check.violations || check.damaged)
		world_fail(world, "%s: %" PRIu64 " violations, %" PRIu64 " damaged: %s", client->filesystem->name, check.violations, check.damaged, check.first);
	world->statistics.fs_checks++;
}

static void operate(struct client *client)
{
	/* What has records in the log: one file is written over and over, and somebody else syncs in the middle of it. */
	if (client->world->plan.flushes && client_below(client, 16)) {
		if (!do_write(client))
			do_make(client);
		if (client_below(client, 3) == 0)
			do_sync(client);
		return;
	}
	switch (client_below(client, 40)) {
	case 0 ... 6: do_make(client); break;
	case 7 ... 9: do_remove(client); break;
	case 10 ... 13: do_rename(client); break;
	case 14: do_link(client); break;
	case 15 ... 22: do_write(client); break;
	case 23 ... 24: do_truncate(client); break;
	case 25: do_punch(client); break;
	case 26: do_copy(client); break;
	case 27 ... 29: do_xattr(client); break;
	case 30 ... 34: do_sync(client); break;
	case 35: check_lane(client); break;
	case 36: commit(client); break;
	case 37: client_below(client, 4) ? do_sync(client) : verify(client); break;
	default: rt_sleep(client->world->rt, 1 + sim_random_below(&client->random, client->world->plan.commit_interval_ns * 2));
	}
}

/* ---- the fibers ---- */

static void client_main(void *argument)
{
	struct client *client = argument;
	struct world *world = client->world;

	for (unsigned i = 0; i < world->plan.operations && world->step < world->until; i++) {
		world->step++;
		world->statistics.operations++;
		sim_env_note(world->sim, "step", world->step, world->files->clock, 1);
		operate(client);
	}
	rt_group_done(world->rt, &world->files->group, 0);
}

static void each_client(struct world *world, void (*visit)(struct client *client))
{
	for (unsigned i = 0; world->files && !world->files->full && i < world->files->count; i++)
		for (unsigned j = 0; j < world->files->lanes; j++)
			visit(&world->files->filesystems[i].clients[j]);
}

static void start(struct client *client)
{
	struct world *world = client->world;

	rt_group_add(&world->files->group);
	if (rt_spawn(world->rt, "lane", client_main, client))
		world_fail(world, "no memory for a client");
}

void files_start(struct world *world)
{
	if (world->files)
		rt_group_init(&world->files->group);
	each_client(world, start);
}

void files_wait(struct world *world)
{
	if (world->files)
		rt_group_wait(world->rt, &world->files->group);
}

static void overwrite(struct client *client)
{
	(void)do_write(client);
}

void files_overwrite(struct world *world)
{
	for (unsigned i = 0; i < OVERWRITES; i++) {
		each_client(world, overwrite);
		each_client(world, do_sync);
	}
	each_client(world, overwrite);
}

/* ---- recovery ---- */

/* false: the pool is full. */
static bool create(struct world *world, struct filesystem *filesystem)
{
	struct fs_create_options options = { .mode = 0755, .case_mode = filesystem->caseless ? FS_CASE_INSENSITIVE : FS_CASE_SENSITIVE };
	struct pool_error error = { 0 };

	if (sim_random_below(&world->random, 2)) {
		options.settings.mask = 1u << SETTING_RECORDSIZE;
		options.settings.values[SETTING_RECORDSIZE] = (uint8_t)sim_random_between(&world->random, 12, world->plan.flushes ? 14 : 17);
	}
	int status = fs_create(world->datasets, filesystem->name, &options, &error);
	if (status == -ENOSPC)
		return false;
	world_expect(world, status, &error, "create of a file system");
	return true;
}

static bool make_lane(struct world *world, struct client *client)
{
	struct fs_new options = { .mode = S_IFDIR | 0755 };
	struct fs_node *root, *node = NULL;

	world_expect(world, fs_root(client->filesystem->fs, &root), NULL, "the root directory");
	int status = fs_make(root, client->name, strlen(client->name), &options, &node);
	fs_put(root);
	if (status == 0)
		fs_put(node);
	if (status == 0 || status == -EEXIST)
		return true;
	if (status != -ENOSPC)
		client_fail(client, "create of a lane", status, 0);
	return false;
}

static void take_base(struct client *client)
{
	client_learn(client, &client->lane.state);
	lane_base(&client->lane);
	client->uncertain = 0;
}

static void judge(struct world *world, struct filesystem *filesystem)
{
	unsigned lanes = world->files->lanes, judged = 0;
	struct lane *certain[PLAN_LANES_MAX];
	struct hash128 found[PLAN_LANES_MAX];

	for (unsigned j = 0; j < lanes; j++) {
		struct client *client = &filesystem->clients[j];
		if (world->model.log_is_lost)
			lane_lose_log(&client->lane);
		if (client->uncertain > client->lane.durable)
			continue;
		client_learn(client, &client->lane.state);
		found[judged] = lane_digest(&client->lane.state);
		certain[judged++] = &client->lane;
	}
	if (!lanes_judge(certain, found, judged)) {
		for (unsigned j = 0; j < judged; j++)
			fprintf(stderr, "%s/%s: %u changes, the first %u durable; it is as after %u\n", filesystem->name, filesystem->clients[j].name, certain[j]->count - 1,
				certain[j]->durable, certain[j]->found);
		world_fail(world, "%s isn't what any of its changes has made of it", filesystem->name);
	}
	for (unsigned j = 0; j < lanes; j++)
		take_base(&filesystem->clients[j]);
}

static bool is_there(struct world *world, const char *name)
{
	struct dataset_record *records = NULL;
	size_t count = 0;
	bool found = false;

	world_expect(world, filesystems_list(world->datasets, &records, &count), NULL, "list of file systems");
	for (size_t i = 0; i < count; i++)
		found |= strcmp(records[i].name, name) == 0;
	free(records);
	return found;
}

static bool recover(struct world *world, struct filesystem *filesystem)
{
	bool there = is_there(world, filesystem->name);
	struct pool_error error = { 0 };

	if (!there && filesystem->made)
		world_fail(world, "%s is gone", filesystem->name);
	if (!there && !create(world, filesystem))
		return false;
	world_expect(world, fs_open(world->datasets, filesystem->name, &filesystem->fs, &error), &error, "open of a file system");
	for (unsigned j = 0; j < world->files->lanes; j++) {
		struct client *client = &filesystem->clients[j];
		client->world = world;
		client->filesystem = filesystem;
		sim_random_stream(&client->random, world->plan.seed, filesystem->name, world->boot * 100 + j);
		if (!filesystem->made && !make_lane(world, client))
			return false;
	}
	if (filesystem->made) {
		judge(world, filesystem);
	} else {
		for (unsigned j = 0; j < world->files->lanes; j++)
			take_base(&filesystem->clients[j]);
		world_expect(world, core_commit_forced(world->core), NULL, "commit");
		filesystem->made = true;
	}
	verify(&filesystem->clients[0]);
	return true;
}

void files_recover(struct world *world)
{
	struct files *files = world->files;

	for (unsigned i = 0; files && !files->full && i < files->count; i++)
		files->full = !recover(world, &files->filesystems[i]);
	if (files && files->full)
		files_close(world);
}

static void check_client(struct client *client)
{
	check_lane(client);
	if (client == &client->filesystem->clients[0])
		verify(client);
}

void files_check_all(struct world *world)
{
	each_client(world, check_client);
}

void files_close(struct world *world)
{
	for (unsigned i = 0; world->files && i < world->files->count; i++) {
		struct filesystem *filesystem = &world->files->filesystems[i];
		fs_close(filesystem->fs);
		filesystem->fs = NULL;
	}
}
