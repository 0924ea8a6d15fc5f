/*
 * Users, groups and projects in a file system: what they have, and their limits. Limits are properties of the file system whose names
 * have the owner's number in them, "userquota@1000"; there can be any number of them, so they aren't listed with the others.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/pool/internal.h"
#include "libpool/pool/text.h"

struct owner_property {
	const char *name; /* up to the number */
	enum owner_kind kind;
	bool is_limit, objects;
	const char *help;
};

static const struct owner_property owner_properties[] = {
	{"userquota@", OWNER_USER, true, false, "Bytes that a user may have in the file system."},
	{"userobjquota@", OWNER_USER, true, true, "Files, directories and other nodes that a user may have in the file system."},
	{"userused@", OWNER_USER, false, false, "Space that a user has in the file system, as of the last commit."},
	{"userobjused@", OWNER_USER, false, true, "Nodes that a user has in the file system, as of the last commit."},
	{"groupquota@", OWNER_GROUP, true, false, "Bytes that a group may have in the file system."},
	{"groupobjquota@", OWNER_GROUP, true, true, "Nodes that a group may have in the file system."},
	{"groupused@", OWNER_GROUP, false, false, "Space that a group has in the file system, as of the last commit."},
	{"groupobjused@", OWNER_GROUP, false, true, "Nodes that a group has in the file system, as of the last commit."},
	{"projectquota@", OWNER_PROJECT, true, false, "Bytes that a project may have in the file system."},
	{"projectobjquota@", OWNER_PROJECT, true, true, "Nodes that a project may have in the file system."},
	{"projectused@", OWNER_PROJECT, false, false, "Space that a project has in the file system, as of the last commit."},
	{"projectobjused@", OWNER_PROJECT, false, true, "Nodes that a project has in the file system, as of the last commit."},
};

static bool number_parse(const char *text, uint32_t *ret_id)
{
	uint64_t id = 0;
	size_t digits = 0;

	for (; text[digits] >= '0' && text[digits] <= '9' && digits < 11; digits++)
		id = id * 10 + (uint64_t)(text[digits] - '0');
	if (!digits || text[digits] || id >= UINT32_MAX) /* the last one names nobody */
		return false;
	*ret_id = (uint32_t)id;
	return true;
}

static int find(const struct dataset_record *record, const char *name, const struct owner_property **ret_property, uint32_t *ret_id,
		struct pool_error *error)
{
	for (size_t i = 0; i < sizeof(owner_properties) / sizeof(owner_properties[0]); i++) {
		const struct owner_property *property = &owner_properties[i];
		size_t length = strlen(property->name);

		if (strncmp(name, property->name, length) != 0)
			continue;
		if (record->kind != DATASET_FILESYSTEM)
			break;
		if (!number_parse(name + length, ret_id))
			return pool_error_set(error, -EINVAL, "property %.60s: behind the @ there must be a number, of a user, group or project", name);
		*ret_property = property;
		return 0;
	}
	return pool_error_set(error, -ENOENT, "a %s has no property %.60s", record->kind == DATASET_VOLUME ? "volume" : "file system", name);
}

bool owner_property_is(const char *name)
{
	return strchr(name, '@') != NULL;
}

int owner_property_set(struct engine *engine, const struct dataset_record *record, const char *name, const char *value, bool check_only,
		       struct pool_error *error)
{
	const struct owner_property *property;
	uint64_t limit = 0;
	uint32_t id;
	int result = find(record, name, &property, &id, error);

	if (result < 0)
		return result;
	if (!property->is_limit)
		return pool_error_set(error, -EPERM, "property %s is a figure and can't be set", name);
	if (value && strcmp(value, "none") != 0 && !size_parse(value, &limit))
		return pool_error_set(error, -EINVAL, "property %s: '%.40s' is no %s, or none", name, value,
				      property->objects ? "number as in 10000" : "size: bytes as in 10G");
	return check_only ? 0 : filesystem_set_owner_limit(engine->datasets, record->name, property->kind, id, property->objects, limit, error);
}

int owner_property_get(struct engine *engine, const struct dataset_record *record, const char *name, struct libpool_property *ret_property,
		       struct pool_error *error)
{
	const struct owner_property *property;
	struct space_usage *all, one = {0};
	uint64_t number;
	size_t count;
	uint32_t id;
	int result = find(record, name, &property, &id, error);

	if (result == 0)
		result = filesystem_owners(engine->datasets, record->name, &all, &count, error);
	if (result < 0)
		return result;
	for (size_t i = 0; i < count; i++)
		if (all[i].kind == property->kind && all[i].id == id)
			one = all[i];
	free(all);
	if (property->is_limit)
		number = property->objects ? one.limit_objects : one.limit_bytes;
	else
		number = property->objects ? one.objects : one.cells * CELL_SIZE;
	*ret_property = (struct libpool_property){.size = sizeof(*ret_property), .read_only = !property->is_limit};
	snprintf(ret_property->name, sizeof(ret_property->name), "%s", name);
	snprintf(ret_property->help, sizeof(ret_property->help), "%s", property->help);
	snprintf(ret_property->source, sizeof(ret_property->source), "%s", !property->is_limit ? "-" : number ? "local" : "default");
	if (property->is_limit && !number) {
		snprintf(ret_property->value, sizeof(ret_property->value), "none");
	} else if (property->objects) {
		snprintf(ret_property->value, sizeof(ret_property->value), "%llu", (unsigned long long)number);
	} else {
		(property->is_limit ? size_format : size_format_rounded)(number, ret_property->value, sizeof(ret_property->value));
		ret_property->kind = LIBPOOL_PROPERTY_BYTES;
		ret_property->number = number;
	}
	return 0;
}

int engine_owners(struct engine *engine, const char *name, struct libpool_owner **ret_owners, size_t *ret_count, struct pool_error *error)
{
	struct libpool_owner *owners;
	struct space_usage *all;
	size_t count;
	int result = filesystem_owners(engine->datasets, name, &all, &count, error);

	if (result < 0)
		return result;
	owners = calloc(count + 1, sizeof(*owners));
	for (size_t i = 0; owners && i < count; i++)
		owners[i] = (struct libpool_owner){
			.size = sizeof(owners[i]),
			.kind = all[i].kind,
			.id = all[i].id,
			.used_bytes = all[i].cells * CELL_SIZE,
			.used_nodes = all[i].objects,
			.quota_bytes = all[i].limit_bytes,
			.quota_nodes = all[i].limit_objects,
		};
	free(all);
	if (!owners)
		return pool_error_set(error, -ENOMEM, "out of memory");
	*ret_owners = owners;
	*ret_count = count;
	return 0;
}
