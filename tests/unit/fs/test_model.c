/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A file system against plain arrays under random operations, and with power cuts: what is there after one is the state
 * after one of the operations, and none before the last that was synced.
 */
#include "checksum/xxh3.h"
#include "tests/unit/fs/filesystems.h"

#define NODES 60u
#define NAMES 12u
#define ENTRIES 160u
#define SIZE_MAX_BYTES (UINT64_C(200) << 10)
#define XATTRS 3u
#define HISTORY 4096u

struct model_node {
	bool used;
	uint32_t mode;
	unsigned links; /* names */
	uint64_t number, size;
	uint8_t *data;
	size_t xattr[XATTRS]; /* length + 1, 0: none */
	uint8_t fill[XATTRS];
};

struct model_entry {
	unsigned directory, node; /* node 0 (the root) in nobody's: unused */
	unsigned name;
};

struct model {
	struct world world;
	struct sim_random random;
	struct model_node nodes[NODES];
	struct model_entry entries[ENTRIES];
	unsigned steps;
	bool crashes;
	bool writes; /* mostly, into what is there, and each is soon synced: by the intent log */
	uint64_t groups, replayed;
	/* What the file system was after each operation. */
	struct hash128 history[HISTORY];
	unsigned count, synced;
};

static const char *name_of(unsigned name)
{
	static char text[NAMES][300];

	if (name == NAMES - 1) { /* the longest there is */
		memset(text[name], 'x', 255);
		return text[name];
	}
	snprintf(text[name], sizeof(text[name]), "n%u", name);
	return text[name];
}

static void xattr_name(unsigned which, char *name, size_t size)
{
	snprintf(name, size, "user.a%u", which);
}

static unsigned below(struct model *model, unsigned limit)
{
	return (unsigned)sim_random_below(&model->random, limit);
}

/* ---- What there is, as one number: walked in the order of names ---- */

struct digest {
	struct xxh3_stream stream;
	uint64_t seen[NODES]; /* numbers, in the order in which they came: hard links are told by it */
	unsigned count;
};

static unsigned digest_index(struct digest *digest, uint64_t number)
{
	for (unsigned i = 0; i < digest->count; i++)
		if (digest->seen[i] == number)
			return i;
	expect(digest->count < NODES);
	digest->seen[digest->count] = number;
	return digest->count++;
}

static void digest_node(struct digest *digest, uint64_t number, uint32_t mode, unsigned links, uint64_t size, const uint8_t *data)
{
	uint64_t figures[4] = { digest_index(digest, number), mode, links, S_ISDIR(mode) ? 0 : size };

	xxh3_stream_update(&digest->stream, figures, sizeof(figures));
	if (S_ISREG(mode) && size)
		xxh3_stream_update(&digest->stream, data, size);
}

static void digest_xattr(struct digest *digest, unsigned which, size_t length_and_one, const uint8_t *value)
{
	uint64_t figures[2] = { which, length_and_one };

	xxh3_stream_update(&digest->stream, figures, sizeof(figures));
	if (length_and_one > 1)
		xxh3_stream_update(&digest->stream, value, length_and_one - 1);
}

static void digest_real(struct model *model, struct digest *digest, struct fs_node *node)
{
	struct fs_attributes all = attributes(node);
	struct machine *machine = model->world.machine;
	uint8_t *data = malloc(SIZE_MAX_BYTES + 1);

	if (S_ISREG(all.mode))
		expect_equal(get_bytes(&model->world, node, 0, data, SIZE_MAX_BYTES + 1), all.size);
	digest_node(digest, all.number, all.mode, all.links, all.size, data);
	for (unsigned i = 0; i < XATTRS; i++) {
		char name[20];
		size_t length;
		xattr_name(i, name, sizeof(name));
		int status = fs_xattr_get(node, name, data, XATTR_VALUE_MAX, &length);
		expect(status == 0 || status == -ENODATA);
		digest_xattr(digest, i, status == 0 ? length + 1 : 0, data);
	}
	free(data);
	for (unsigned name = 0; S_ISDIR(all.mode) && name < NAMES; name++) {
		struct fs_node *child = look(node, name_of(name));
		xxh3_stream_update(&digest->stream, &(uint8_t){ child != NULL }, 1);
		if (child)
			digest_real(model, digest, child);
		fs_put(child);
	}
	/* Listing gives the same names, once each. */
	if (S_ISDIR(all.mode)) {
		struct directory_entry entry;
		uint64_t cookie = 0, listed = 0;
		int status;
		while ((status = fs_next_entry(node, cookie, &cookie, &entry)) == 0)
			listed++;
		expect_equal(status, -ENOENT);
		expect_equal(listed, all.size);
	}
	(void)machine;
}

static int find_entry(const struct model *model, unsigned directory, unsigned name)
{
	for (unsigned i = 0; i < ENTRIES; i++)
		if (model->entries[i].node && model->entries[i].directory == directory && model->entries[i].name == name)
			return (int)i;
	return -1;
}

static void digest_model(const struct model *model, struct digest *digest, unsigned index)
{
	const struct model_node *node = &model->nodes[index];

	digest_node(digest, index, node->mode, node->links, node->size, node->data);
	for (unsigned i = 0; i < XATTRS; i++) {
		uint8_t *value = malloc(XATTR_VALUE_MAX);
		memset(value, node->fill[i], XATTR_VALUE_MAX);
		digest_xattr(digest, i, node->xattr[i], value);
		free(value);
	}
	for (unsigned name = 0; S_ISDIR(node->mode) && name < NAMES; name++) {
		int entry = find_entry(model, index, name);
		xxh3_stream_update(&digest->stream, &(uint8_t){ entry >= 0 }, 1);
		if (entry >= 0)
			digest_model(model, digest, model->entries[entry].node);
	}
}

static struct hash128 state_of(struct model *model, bool real)
{
	struct digest *digest = calloc(1, sizeof(*digest) + 64);
	struct digest *aligned = (struct digest *)(((uintptr_t)digest + 63) & ~(uintptr_t)63);
	struct hash128 hash;

	xxh3_stream_init(&aligned->stream);
	if (real)
		digest_real(model, aligned, model->world.root);
	else
		digest_model(model, aligned, 0);
	xxh3_stream_final(&aligned->stream, &hash);
	free(digest);
	return hash;
}

static void same(const struct hash128 *left, const struct hash128 *right)
{
	expect(memcmp(left, right, sizeof(*left)) == 0);
}

/* ---- Operations: each on the file system, and on the arrays if it was done ---- */

/* A directory and its place in the arrays; the root if the one drawn is none. */
static unsigned any_directory(struct model *model)
{
	unsigned index = below(model, NODES);

	return model->nodes[index].used && S_ISDIR(model->nodes[index].mode) && (model->nodes[index].links || index == 0) ? index : 0;
}

static struct fs_node *node_at(struct model *model, unsigned index)
{
	struct fs_node *node;

	expect_done(model->world.machine, fs_get(model->world.fs, model->nodes[index].number, 0, &node));
	return node;
}

static unsigned free_node(const struct model *model)
{
	for (unsigned i = 1; i < NODES; i++)
		if (!model->nodes[i].used)
			return i;
	return 0;
}

static unsigned free_entry(const struct model *model)
{
	unsigned i = 0;

	while (model->entries[i].node)
		i++;
	expect(i < ENTRIES - 1);
	return i;
}

static void drop(struct model *model, unsigned index)
{
	struct model_node *node = &model->nodes[index];

	node->links = S_ISDIR(node->mode) ? 0 : node->links - 1;
	if (node->links)
		return;
	free(node->data);
	*node = (struct model_node){ 0 };
}

static void do_make(struct model *model)
{
	static const uint32_t types[] = { S_IFREG, S_IFREG, S_IFREG, S_IFDIR, S_IFLNK, S_IFIFO };
	unsigned directory = any_directory(model), name = below(model, NAMES), index = free_node(model);
	uint32_t mode = types[below(model, 6)] | 0640;
	struct fs_node *parent = node_at(model, directory), *node;
	struct fs_new options = { .mode = mode, .target = "somewhere" };
	if (!index) {
		fs_put(parent);
		return;
	}
	int status = fs_make(parent, name_of(name), strlen(name_of(name)), &options, &node);
	if (find_entry(model, directory, name) >= 0) {
		expect_equal(status, -EEXIST);
	} else {
		expect_equal(status, 0);
		model->nodes[index] = (struct model_node){ .used = true, .mode = mode, .links = S_ISDIR(mode) ? 2 : 1, .number = fs_number(node),
							   .data = calloc(1, SIZE_MAX_BYTES), .size = S_ISLNK(mode) ? 9 : 0 };
		model->entries[free_entry(model)] = (struct model_entry){ directory, index, name };
		if (S_ISDIR(mode))
			model->nodes[directory].links++;
		fs_put(node);
	}
	fs_put(parent);
}

static unsigned any_file(struct model *model)
{
	for (unsigned tries = 0; tries < 20; tries++) {
		unsigned index = below(model, NODES);
		if (model->nodes[index].used && S_ISREG(model->nodes[index].mode))
			return index;
	}
	return 0;
}

static void do_link(struct model *model)
{
	unsigned index = any_file(model), directory = any_directory(model), name = below(model, NAMES);

	if (!index)
		return;
	struct fs_node *node = node_at(model, index), *parent = node_at(model, directory);
	int status = fs_link(node, parent, name_of(name), strlen(name_of(name)));
	if (find_entry(model, directory, name) >= 0) {
		expect_equal(status, -EEXIST);
	} else {
		expect_equal(status, 0);
		model->entries[free_entry(model)] = (struct model_entry){ directory, index, name };
		model->nodes[index].links++;
	}
	fs_put(node);
	fs_put(parent);
}

static bool is_empty(const struct model *model, unsigned directory)
{
	for (unsigned name = 0; name < NAMES; name++)
		if (find_entry(model, directory, name) >= 0)
			return false;
	return true;
}

static void do_remove(struct model *model)
{
	unsigned directory = any_directory(model), name = below(model, NAMES);
	int entry = find_entry(model, directory, name);
	struct fs_node *parent = node_at(model, directory), *kept = NULL;
	unsigned index = entry >= 0 ? model->entries[entry].node : 0;
	bool is_directory = index && S_ISDIR(model->nodes[index].mode);

	/* Now and then somebody has it open: then it goes with the last handle. */
	if (index && below(model, 3) == 0)
		kept = node_at(model, index);
	int status = (is_directory ? fs_remove_directory : fs_unlink)(parent, name_of(name), strlen(name_of(name)));
	if (!index) {
		expect_equal(status, -ENOENT);
	} else if (is_directory && !is_empty(model, index)) {
		expect_equal(status, -ENOTEMPTY);
	} else {
		expect_equal(status, 0);
		model->entries[entry].node = 0;
		drop(model, index);
		if (is_directory)
			model->nodes[directory].links--;
		if (kept)
			expect_equal(attributes(kept).links, is_directory ? 0 : model->nodes[index].links);
	}
	fs_put(kept);
	fs_put(parent);
}

static bool is_inside(const struct model *model, unsigned index, unsigned above)
{
	while (index != above && index) {
		for (unsigned i = 0; i < ENTRIES; i++)
			if (model->entries[i].node == index) {
				index = model->entries[i].directory;
				break;
			}
	}
	return index == above;
}

static int expected_rename(const struct model *model, const struct model_entry *from, const struct model_entry *to, unsigned directory, unsigned flags)
{
	bool from_directory, to_directory;

	if (!from || (flags & FS_RENAME_EXCHANGE && !to))
		return -ENOENT;
	if (to && flags & FS_RENAME_NOREPLACE)
		return -EEXIST;
	from_directory = S_ISDIR(model->nodes[from->node].mode);
	to_directory = to && S_ISDIR(model->nodes[to->node].mode);
	if (to && !(flags & FS_RENAME_EXCHANGE) && from->node != to->node) {
		if (from_directory && !to_directory)
			return -ENOTDIR;
		if (!from_directory && to_directory)
			return -EISDIR;
		if (to_directory && !is_empty(model, to->node))
			return -ENOTEMPTY;
	}
	if (from_directory && is_inside(model, directory, from->node))
		return -EINVAL;
	if (flags & FS_RENAME_EXCHANGE && to_directory && is_inside(model, from->directory, to->node))
		return -EINVAL;
	return 0;
}

static void count_directory(struct model *model, unsigned node, unsigned from, unsigned to)
{
	if (!S_ISDIR(model->nodes[node].mode))
		return;
	model->nodes[from].links--;
	model->nodes[to].links++;
}

static void do_rename(struct model *model)
{
	static const unsigned all_flags[] = { 0, 0, 0, FS_RENAME_NOREPLACE, FS_RENAME_EXCHANGE };
	unsigned directories[2] = { any_directory(model), any_directory(model) }, names[2] = { below(model, NAMES), below(model, NAMES) };
	unsigned flags = all_flags[below(model, 5)];
	struct fs_node *nodes[2] = { node_at(model, directories[0]), node_at(model, directories[1]) };
	int found[2] = { find_entry(model, directories[0], names[0]), find_entry(model, directories[1], names[1]) };
	struct model_entry *from = found[0] < 0 ? NULL : &model->entries[found[0]], *to = found[1] < 0 ? NULL : &model->entries[found[1]];
	int expected = expected_rename(model, from, to, directories[1], flags);
	int status = rename_to(nodes[0], name_of(names[0]), nodes[1], name_of(names[1]), flags);

	fs_put(nodes[0]);
	fs_put(nodes[1]);
	expect_equal(status, expected);
	if (status < 0 || (to && from->node == to->node))
		return;
	count_directory(model, from->node, directories[0], directories[1]);
	if (flags & FS_RENAME_EXCHANGE) {
		unsigned other = to->node;
		count_directory(model, other, directories[1], directories[0]);
		to->node = from->node;
		from->node = other;
		return;
	}
	if (to) {
		unsigned old = to->node;
		to->node = 0;
		if (S_ISDIR(model->nodes[old].mode))
			model->nodes[directories[1]].links--;
		drop(model, old);
	}
	from->directory = directories[1];
	from->name = names[1];
}

static void do_write(struct model *model)
{
	unsigned index = any_file(model);
	struct model_node *file = &model->nodes[index];

	if (!index)
		return;
	struct fs_node *node = node_at(model, index);
	static const unsigned lengths[] = { 20, 150, 300, 5000, 70000 };
	unsigned length = 1 + below(model, lengths[below(model, 5)]);
	uint64_t offset = below(model, 3) ? below(model, (unsigned)file->size + 1) : below(model, (unsigned)(SIZE_MAX_BYTES - length));
	if (offset + length > SIZE_MAX_BYTES)
		offset = SIZE_MAX_BYTES - length;
	uint8_t *data = malloc(length);
	sim_random_fill(&model->random, data, length);
	put_bytes(&model->world, node, offset, data, length);
	memcpy(file->data + offset, data, length);
	file->size = offset + length > file->size ? offset + length : file->size;
	free(data);
	fs_put(node);
}

static void do_truncate(struct model *model)
{
	unsigned index = any_file(model);
	struct model_node *file = &model->nodes[index];

	if (!index)
		return;
	struct fs_node *node = node_at(model, index);
	struct fs_set set = { .what = FS_SET_SIZE, .size = below(model, below(model, 2) ? 400 : (unsigned)SIZE_MAX_BYTES) };
	expect_done(model->world.machine, fs_set(node, &set));
	if (set.size < file->size)
		memset(file->data + set.size, 0, file->size - set.size);
	file->size = set.size;
	fs_put(node);
}

static void do_punch(struct model *model)
{
	unsigned index = any_file(model);
	struct model_node *file = &model->nodes[index];

	if (!index || !file->size)
		return;
	struct fs_node *node = node_at(model, index);
	uint64_t offset = below(model, (unsigned)file->size), length = 1 + below(model, 30000);
	expect_done(model->world.machine, fs_allocate(node, 3 /* PUNCH_HOLE | KEEP_SIZE */, offset, length, 0));
	memset(file->data + offset, 0, offset + length > file->size ? file->size - offset : length);
	fs_put(node);
}

static void do_copy(struct model *model)
{
	unsigned from = any_file(model), to = any_file(model);

	if (!from || !to || from == to)
		return;
	struct model_node *source = &model->nodes[from], *target = &model->nodes[to];
	struct fs_node *nodes[2] = { node_at(model, from), node_at(model, to) };
	uint64_t step = below(model, 2) ? 4096 : 1, done;
	uint64_t at = below(model, (unsigned)(source->size / step + 1)) * step, into = below(model, 20) * step;
	uint64_t length = below(model, 90000);
	expect_done(model->world.machine, fs_copy_range(nodes[0], at, nodes[1], into, length, 0, &done));
	uint64_t wanted = at >= source->size ? 0 : length < source->size - at ? length : source->size - at;
	expect_equal(done, wanted);
	memcpy(target->data + into, source->data + at, done);
	if (done && into + done > target->size)
		target->size = into + done;
	fs_put(nodes[0]);
	fs_put(nodes[1]);
}

static void do_xattr(struct model *model)
{
	unsigned index = below(model, NODES), which = below(model, XATTRS);
	struct model_node *node = &model->nodes[index];
	char name[20];

	if (!node->used)
		return;
	struct fs_node *real = node_at(model, index);
	xattr_name(which, name, sizeof(name));
	if (below(model, 3) == 0) {
		expect_equal(fs_xattr_remove(real, name), node->xattr[which] ? 0 : -ENODATA);
		node->xattr[which] = 0;
	} else {
		size_t length = below(model, below(model, 2) ? 100 : 20000);
		uint8_t *value = malloc(length + 1), fill = (uint8_t)(1 + below(model, 200));
		memset(value, fill, length);
		expect_done(model->world.machine, fs_xattr_set(real, name, value, length, 0));
		node->xattr[which] = length + 1;
		node->fill[which] = fill;
		free(value);
	}
	fs_put(real);
}

static void do_sync(struct model *model)
{
	const struct core_log_counters *counters = core_log_counters(model->world.machine->core);
	uint64_t groups = counters->groups;

	expect_done(model->world.machine, fs_sync(model->world.fs));
	model->synced = model->count - 1;
	model->groups += counters->groups - groups;
}

static void note(struct model *model)
{
	expect(model->count < HISTORY);
	model->history[model->count++] = state_of(model, false);
}

static void one_step(struct model *model)
{
	if (model->writes && below(model, 12)) {
		bool writes = below(model, 3);
		if (writes)
			do_write(model);
		else if (below(model, 2))
			do_sync(model);
		else
			rt_sleep(model->world.machine->rt, below(model, 6) * NS_PER_S);
		if (writes)
			note(model);
		return;
	}
	switch (below(model, 22)) {
	case 0 ... 4: do_make(model); break;
	case 5 ... 6: do_remove(model); break;
	case 7 ... 8: do_rename(model); break;
	case 9: do_link(model); break;
	case 10 ... 14: do_write(model); break;
	case 15: do_truncate(model); break;
	case 16: do_punch(model); break;
	case 17: do_copy(model); break;
	case 18 ... 19: do_xattr(model); break;
	case 20: do_sync(model); return;
	default: rt_sleep(model->world.machine->rt, NS_PER_S); return;
	}
	note(model);
}

/* Finds the files of the model again: after a crash the numbers of what was made since are others. */
static void forget(struct model *model)
{
	for (unsigned i = 0; i < NODES; i++)
		free(model->nodes[i].data);
	memset(model->nodes, 0, sizeof(model->nodes));
	memset(model->entries, 0, sizeof(model->entries));
}

static void learn(struct model *model, struct fs_node *node, unsigned index)
{
	struct model_node *into = &model->nodes[index];
	struct fs_attributes all = attributes(node);

	*into = (struct model_node){ .used = true, .mode = all.mode, .links = all.links, .number = all.number,
				     .size = S_ISDIR(all.mode) ? 0 : all.size, .data = calloc(1, SIZE_MAX_BYTES) };
	if (S_ISREG(all.mode))
		(void)get_bytes(&model->world, node, 0, into->data, SIZE_MAX_BYTES);
	for (unsigned i = 0; i < XATTRS; i++) {
		char name[20];
		size_t length;
		uint8_t *value = malloc(XATTR_VALUE_MAX);
		xattr_name(i, name, sizeof(name));
		if (fs_xattr_get(node, name, value, XATTR_VALUE_MAX, &length) == 0) {
			into->xattr[i] = length + 1;
			into->fill[i] = value[0];
		}
		free(value);
	}
	for (unsigned name = 0; S_ISDIR(all.mode) && name < NAMES; name++) {
		struct fs_node *child = look(node, name_of(name));
		if (!child)
			continue;
		unsigned at = 0;
		for (unsigned i = 1; i < NODES; i++)
			if (model->nodes[i].used && model->nodes[i].number == fs_number(child))
				at = i;
		bool known = at != 0;
		at = known ? at : free_node(model);
		model->entries[free_entry(model)] = (struct model_entry){ index, at, name };
		if (!known)
			learn(model, child, at);
		fs_put(child);
	}
}

static void program(struct machine *machine)
{
	struct model *model = machine->test;
	struct world *world = &model->world;

	world_open(world, machine, 0);
	model->replayed += core_log_counters(machine->core)->replayed;
	world_check(world);
	struct hash128 now = state_of(model, true);
	if (model->crashes) {
		unsigned at = model->synced;
		while (at < model->count && memcmp(&model->history[at], &now, sizeof(now)) != 0)
			at++;
		expect(model->count == 0 || at < model->count);
		forget(model);
		learn(model, world->root, 0);
		model->count = model->synced = 0;
		struct hash128 learned = state_of(model, false);
		same(&learned, &now);
		note(model);
		do_sync(model);
	} else {
		struct hash128 expected = state_of(model, false);
		same(&expected, &now);
	}
	for (unsigned i = 0; i < model->steps; i++) {
		one_step(model);
		if (i % 40 == 39) {
			struct hash128 expected = state_of(model, false), found = state_of(model, true);
			same(&expected, &found);
		}
	}
	world_check(world);
	world_close(world);
	model->synced = model->count ? model->count - 1 : 0;
}

static struct model *model_new(uint64_t seed, bool crashes)
{
	struct model *model = calloc(1, sizeof(*model));
	struct machine *machine = machine_new(4, 96 * MIB, 2, 1, seed);

	machine->test = model;
	model->world.machine = machine;
	model->crashes = crashes;
	model->steps = 250;
	sim_random_stream(&model->random, seed, "fs", 0);
	model->nodes[0] = (struct model_node){ .used = true, .mode = S_IFDIR | 0755, .links = 2, .number = FS_OBJECT_ROOT };
	machine_boot(machine, machine_create_program);
	return model;
}

static void model_free(struct model *model)
{
	forget(model);
	machine_free(model->world.machine);
	free(model);
}

/* FS_TEST_SEEDS=n runs more. */
static uint64_t seeds(void)
{
	const char *text = getenv("FS_TEST_SEEDS");

	return text ? strtoull(text, NULL, 10) : 6;
}

static void random_operations(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= seeds(); seed++) {
		struct model *model = model_new(seed, false);
		for (unsigned boot = 0; boot < 3; boot++) {
			model->count = 0;
			machine_boot(model->world.machine, program);
		}
		model_free(model);
	}
}

static void power_cuts(void **state)
{
	unsigned happened = 0;
	uint64_t groups = 0, replayed = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= seeds(); seed++) {
		struct model *model = model_new(seed, true);
		struct sim_random random;
		sim_random_stream(&random, seed, "cuts", 0);
		machine_boot(model->world.machine, program);
		for (unsigned cut = 0; cut < 12; cut++) {
			struct sim_disks *set = model->world.machine->set;
			model->writes = cut % 3;
			sim_disks_cut_at(set, set->operations + 10 + sim_random_below(&random, 700));
			happened += !machine_boot_mode(model->world.machine, program, SIM_CRASH_ANY);
		}
		machine_boot(model->world.machine, program);
		groups += model->groups;
		replayed += model->replayed;
		model_free(model);
	}
	expect(happened >= 2 * seeds() && groups >= 20 * seeds() && replayed >= 20 * seeds());
	if (getenv("FS_TEST_VERBOSE"))
		fprintf(stderr, "%u power cuts, %llu groups, %llu records made again\n", happened, (unsigned long long)groups, (unsigned long long)replayed);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(random_operations), cmocka_unit_test(power_cuts) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
