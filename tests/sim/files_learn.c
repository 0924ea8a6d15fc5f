/* SPDX-License-Identifier: BSD-2-Clause */
/* What is in a lane, read through the file system: for the model to take over, or to compare. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/sim/files_private.h"

_Noreturn void client_fail(struct client *client, const char *what, int result, int wanted)
{
	const char *why = "";

	if (core_halted(client->world->core, &why) && !why)
		why = "?";
	world_fail(client->world, "%s in %s/%s: %s, not %s%s%s", what, client->filesystem->name, client->name, pool_error_string(result),
		   pool_error_string(wanted), why && why[0] ? "; halted: " : "", why ? why : "");
}

unsigned client_below(struct client *client, unsigned limit)
{
	return (unsigned)sim_random_below(&client->random, limit);
}

size_t files_spell(unsigned name, char letter, char text[256])
{
	if (name == LANE_NAMES - 1) {
		memset(text, letter, 255);
		text[255] = '\0';
	} else {
		snprintf(text, 256, "%c%u", letter, name);
	}
	return strlen(text);
}

size_t client_name_of(struct client *client, unsigned name, char *text)
{
	return files_spell(name, client->filesystem->caseless && client_below(client, 2) ? 'N' : 'n', text);
}

void client_xattr_name(unsigned which, char *name)
{
	snprintf(name, 16, "user.a%u", which);
}

static void learn_content(struct client *client, struct fs_node *node, struct lane_node *into)
{
	size_t length = 0;
	int status = 0;

	if (S_ISREG(into->mode)) {
		if (into->size > LANE_FILE_MAX)
			client_fail(client, "a file's size", -EFBIG, 0);
		into->data = sim_allocate(LANE_FILE_MAX);
		status = fs_read(node, 0, LANE_FILE_MAX, into->data, &length);
	} else if (S_ISLNK(into->mode)) {
		into->data = sim_allocate(FS_SYMLINK_MAX + 1);
		status = fs_read_link(node, (char *)into->data);
		length = status < 0 ? 0 : strlen((char *)into->data);
	}
	if (status < 0)
		client_fail(client, "read", status, 0);
	if (length != into->size)
		world_fail(client->world, "a file of %s/%s has %" PRIu64 " bytes and %zu can be read", client->filesystem->name, client->name, into->size, length);
}

static void learn_xattrs(struct client *client, struct fs_node *node, struct lane_node *into)
{
	uint8_t *value = sim_allocate(LANE_XATTR_MAX);

	for (unsigned i = 0; i < LANE_XATTRS; i++) {
		char name[16];
		size_t length;
		client_xattr_name(i, name);
		int status = fs_xattr_get(node, name, value, LANE_XATTR_MAX, &length);
		if (status < 0 && status != -ENODATA)
			client_fail(client, "read of an attribute", status, 0);
		into->xattrs[i] = status < 0 ? 0 : length + 1;
		into->fill[i] = value[0];
		for (size_t at = 0; status == 0 && at < length; at++)
			if (value[at] != value[0])
				world_fail(client->world, "an attribute of %s/%s is torn", client->filesystem->name, client->name);
	}
	free(value);
}

static struct fs_node *look(struct client *client, struct fs_node *directory, unsigned name)
{
	struct fs_node *node;
	char text[256];
	size_t length = client_name_of(client, name, text);
	int status = fs_lookup(directory, text, length, &node);

	if (status < 0 && status != -ENOENT)
		client_fail(client, "look-up", status, 0);
	return status < 0 ? NULL : node;
}

static void learn(struct client *client, struct fs_node *node, struct lane_state *state, unsigned index);

static void learn_entries(struct client *client, struct fs_node *directory, struct lane_state *state, unsigned index)
{
	struct directory_entry entry;
	uint64_t cookie = 0, listed = 0, known = 0;

	for (unsigned name = 0; name < LANE_NAMES; name++) {
		struct fs_node *child = look(client, directory, name);
		unsigned at = 0;
		if (!child)
			continue;
		known++;
		for (unsigned i = 1; i < LANE_NODES; i++)
			if (state->nodes[i].used && state->nodes[i].number == fs_number(child))
				at = i;
		bool is_new = at == 0;
		at = is_new ? lane_free_node(state) : at;
		if (!at || !lane_has_room(state))
			world_fail(client->world, "more is in %s/%s than was ever made", client->filesystem->name, client->name);
		unsigned free = 0;
		while (state->entries[free].node)
			free++;
		state->entries[free] = (struct lane_entry){ index, name, at };
		if (is_new)
			learn(client, child, state, at);
		fs_put(child);
	}
	while (fs_next_entry(directory, cookie, &cookie, &entry) == 0)
		listed++;
	if (listed != known)
		world_fail(client->world, "a directory of %s/%s lists %" PRIu64 " names and %" PRIu64 " are found", client->filesystem->name, client->name, listed, known);
}

static void learn(struct client *client, struct fs_node *node, struct lane_state *state, unsigned index)
{
	struct lane_node *into = &state->nodes[index];
	struct fs_attributes all;

	fs_attributes(node, &all);
	*into = (struct lane_node){ .used = true, .mode = all.mode, .device = all.device_minor, .links = all.links, .number = all.number,
				    .size = S_ISDIR(all.mode) ? 0 : all.size };
	learn_content(client, node, into);
	learn_xattrs(client, node, into);
	if (S_ISDIR(all.mode))
		learn_entries(client, node, state, index);
}

void client_learn(struct client *client, struct lane_state *ret_state)
{
	struct fs_node *root = NULL, *node;
	int status = fs_root(client->filesystem->fs, &root);

	if (status == 0)
		status = fs_lookup(root, client->name, strlen(client->name), &node);
	if (status < 0)
		client_fail(client, "look-up of the lane", status, 0);
	lane_clear(ret_state);
	learn(client, node, ret_state, 0);
	fs_put(node);
	fs_put(root);
}
