/*
 * Properties: tables know all of them, with default, check, effect and help. Those of the pool that are set are records of the
 * MOS ("pool" 0 name); those of datasets live in their records. Settings are those that are handed down (setting_text.c).
 *
 * What must always hold: a value that is stored passed its check; a property that would have no effect in this version
 * is refused, not accepted and ignored.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "libpool/pool/internal.h"
#include "libpool/pool/setting_text.h"
#include "libpool/pool/text.h"

/* What the functions of the table see. */
struct subject {
	struct engine *engine;
	const struct dataset_record *dataset; /* NULL: the pool */
};

struct property {
	const char *name;
	const char *fallback; /* the default; NULL: a figure */
	/* 0 with the text as it is to be stored, or an error with a text. */
	int (*check)(const struct subject *subject, const char *value, char *ret_value, struct pool_error *error);
	/* Makes the value hold; of pool properties it has been stored before. NULL: nothing to do. */
	int (*apply)(const struct subject *subject, const char *value, struct pool_error *error);
	/* The value now; NULL: as stored, or as `number` says. */
	int (*get)(const struct subject *subject, char *ret_value);
	const char *help;
	enum libpool_property_kind kind;
	/* The exact figure that the value rounds, of which `member` is the offset in a structure; NULL: the value is exact. */
	int (*number)(const struct subject *subject, size_t member, uint64_t *ret_number);
	size_t member;
};

/* ---- checks and effects ---- */

static int check_comment(const struct subject *subject, const char *value, char *ret_value, struct pool_error *error)
{
	(void)subject;
	for (const char *c = value; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 127)
			return pool_error_set(error, -EINVAL, "property comment: no control characters, please");
	snprintf(ret_value, LIBPOOL_TEXT_MAX, "%s", value);
	return 0;
}

static int check_switch(const char *name, const char *value, char *ret_value, struct pool_error *error)
{
	if (strcmp(value, "on") != 0 && strcmp(value, "off") != 0)
		return pool_error_set(error, -EINVAL, "property %s: '%.40s' is neither on nor off", name, value);
	snprintf(ret_value, LIBPOOL_TEXT_MAX, "%s", value);
	return 0;
}

static int check_autotrim(const struct subject *subject, const char *value, char *ret_value, struct pool_error *error)
{
	(void)subject;
	return check_switch("autotrim", value, ret_value, error);
}

static int apply_autotrim(const struct subject *subject, const char *value, struct pool_error *error)
{
	(void)error;
	autotrim_set(subject->engine, strcmp(value, "on") == 0);
	return 0;
}

static int check_multihost(const struct subject *subject, const char *value, char *ret_value, struct pool_error *error)
{
	(void)subject;
	return check_switch("multihost", value, ret_value, error);
}

static int apply_multihost(const struct subject *subject, const char *value, struct pool_error *error)
{
	struct core *core = subject->engine->core;
	bool on = strcmp(value, "on") == 0;
	int result = core_multihost(core) == on || core_read_only(core) ? 0 : core_set_multihost(core, on);

	return result < 0 ? pool_error_set(error, result, "property multihost: heartbeats can't be turned %s: %s", value,
					   pool_error_string(result)) :
			    0;
}

static int check_degraded(const struct subject *subject, const char *value, char *ret_value, struct pool_error *error)
{
	(void)subject;
	if (strcmp(value, "allow") != 0 && strcmp(value, "narrow") != 0 && strcmp(value, "readonly") != 0)
		return pool_error_set(error, -EINVAL, "property degraded: '%.40s' is none of allow, narrow, readonly", value);
	snprintf(ret_value, LIBPOOL_TEXT_MAX, "%s", value);
	return 0;
}

static int apply_degraded(const struct subject *subject, const char *value, struct pool_error *error)
{
	(void)error;
	core_set_degraded(subject->engine->core, strcmp(value, "readonly") == 0 ? CORE_DEGRADED_READONLY :
						 strcmp(value, "narrow") == 0	? CORE_DEGRADED_NARROW :
										  CORE_DEGRADED_ALLOW);
	return 0;
}

static int check_rate(const struct subject *subject, const char *value, char *ret_value, struct pool_error *error)
{
	uint64_t bytes = 0;

	(void)subject;
	if (strcmp(value, "none") != 0 && !size_parse(value, &bytes))
		return pool_error_set(error, -EINVAL, "property scrub-rate: '%.40s' is no size: bytes per second as in 100M, or none", value);
	if (bytes)
		size_format(bytes, ret_value, LIBPOOL_TEXT_MAX);
	else
		snprintf(ret_value, LIBPOOL_TEXT_MAX, "none");
	return 0;
}

static int apply_rate(const struct subject *subject, const char *value, struct pool_error *error)
{
	uint64_t bytes = 0;

	(void)error;
	if (!size_parse(value, &bytes))
		bytes = 0;
	jobs_set_scrub_rate(subject->engine, bytes);
	return 0;
}

#define RESERVE_LEAST 100u /* hundredths of a percent */
#define RESERVE_MOST 5000u

static int check_reserve(const struct subject *subject, const char *value, char *ret_value, struct pool_error *error)
{
	unsigned hundredths;

	(void)subject;
	if (!percent_parse(value, &hundredths))
		return pool_error_set(error, -EINVAL, "property reserve: '%.40s' is no percentage such as 6.25%%", value);
	if (hundredths < RESERVE_LEAST || hundredths > RESERVE_MOST)
		return pool_error_set(error, -EINVAL, "property reserve: '%.40s' is out of range: 1%% to 50%%", value);
	if (hundredths % 100 == 0)
		snprintf(ret_value, LIBPOOL_TEXT_MAX, "%u%%", hundredths / 100);
	else if (hundredths % 10 == 0)
		snprintf(ret_value, LIBPOOL_TEXT_MAX, "%u.%u%%", hundredths / 100, hundredths % 100 / 10);
	else
		snprintf(ret_value, LIBPOOL_TEXT_MAX, "%u.%02u%%", hundredths / 100, hundredths % 100);
	return 0;
}

static int apply_reserve(const struct subject *subject, const char *value, struct pool_error *error)
{
	unsigned hundredths = ALLOC_RESERVE_DEFAULT;

	(void)error;
	if (percent_parse(value, &hundredths))
		core_set_reserve(subject->engine->core, hundredths);
	return 0;
}

static int check_cache(const struct subject *subject, const char *value, char *ret_value, struct pool_error *error)
{
	uint64_t bytes;

	(void)subject;
	if (!strcmp(value, "auto"))
		snprintf(ret_value, LIBPOOL_TEXT_MAX, "auto");
	else if (size_parse(value, &bytes))
		size_format(bytes, ret_value, LIBPOOL_TEXT_MAX);
	else
		return pool_error_set(error, -EINVAL, "property cache-size: '%.40s' is no size: bytes as in 4G, or auto", value);
	return 0;
}

static int apply_cache(const struct subject *subject, const char *value, struct pool_error *error)
{
	struct engine *engine = subject->engine;
	uint64_t bytes;

	(void)error;
	if (!size_parse(value, &bytes) || bytes > engine->cache_limit_host)
		bytes = engine->cache_limit_host;
	engine->cache_limit = bytes;
	blocks_set_cache_limit(core_blocks(engine->core), bytes);
	return 0;
}

static int check_volsize(const struct subject *subject, const char *value, char *ret_value, struct pool_error *error)
{
	uint64_t bytes;

	(void)subject;
	if (!size_parse(value, &bytes) || bytes == 0)
		return pool_error_set(error, -EINVAL, "property volsize: '%.40s' is no size: bytes as in 10G", value);
	size_format(bytes, ret_value, LIBPOOL_TEXT_MAX);
	return 0;
}

static int apply_volsize(const struct subject *subject, const char *value, struct pool_error *error)
{
	uint64_t bytes = 0;

	size_parse(value, &bytes);
	return engine_volume_resize(subject->engine, subject->dataset->name, bytes, error);
}

static int check_limit(const struct subject *subject, enum dataset_limit limit, const char *name, const char *value, char *ret_value,
		       struct pool_error *error)
{
	uint64_t bytes = 0;

	if (strcmp(value, "none") != 0 && !size_parse(value, &bytes))
		return pool_error_set(error, -EINVAL, "property %s: '%.40s' is no size: bytes as in 10G, or none", name, value);
	if (bytes)
		size_format(bytes, ret_value, LIBPOOL_TEXT_MAX);
	else
		snprintf(ret_value, LIBPOOL_TEXT_MAX, "none");
	return dataset_set_limit(subject->engine->datasets, subject->dataset->name, limit, bytes, true, error);
}

static int get_limit(uint64_t bytes, char *ret_value)
{
	if (bytes)
		size_format(bytes, ret_value, LIBPOOL_TEXT_MAX);
	else
		snprintf(ret_value, LIBPOOL_TEXT_MAX, "none");
	return 0;
}

#define LIMIT(identifier, member)                                                                                                         \
	static int check_##member(const struct subject *subject, const char *value, char *ret_value, struct pool_error *error)          \
	{                                                                                                                                 \
		return check_limit(subject, identifier, #member, value, ret_value, error);                                                \
	}                                                                                                                                 \
	static int apply_##member(const struct subject *subject, const char *value, struct pool_error *error)                           \
	{                                                                                                                                 \
		uint64_t bytes = 0;                                                                                                       \
                                                                                                                                          \
		if (!size_parse(value, &bytes))                                                                                           \
			bytes = 0;                                                                                                        \
		return dataset_set_limit(subject->engine->datasets, subject->dataset->name, identifier, bytes, false, error);             \
	}                                                                                                                                 \
	static int get_##member(const struct subject *subject, char *ret_value)                                                         \
	{                                                                                                                                 \
		return get_limit(subject->dataset->member, ret_value);                                                                    \
	}
LIMIT(LIMIT_QUOTA, quota)
LIMIT(LIMIT_REFQUOTA, refquota)
LIMIT(LIMIT_RESERVATION, reservation)

/* ---- figures ---- */

static int get_name(const struct subject *subject, char *ret_value)
{
	snprintf(ret_value, LIBPOOL_TEXT_MAX, "%s", core_label(subject->engine->core)->name);
	return 0;
}

static int get_id(const struct subject *subject, char *ret_value)
{
	if (subject->dataset)
		snprintf(ret_value, LIBPOOL_TEXT_MAX, "%u", subject->dataset->id);
	else
		guid_format(&core_label(subject->engine->core)->pool, ret_value);
	return 0;
}

static int get_profile(const struct subject *subject, char *ret_value)
{
	const struct label *label = core_label(subject->engine->core);

	profile_format(label->k, label->m, ret_value, LIBPOOL_TEXT_MAX);
	return 0;
}

static int number_created(const struct subject *subject, size_t member, uint64_t *ret_number)
{
	(void)member;
	*ret_number = subject->dataset ? subject->dataset->created_ns : core_label(subject->engine->core)->created_ns;
	return 0;
}

/* A member of the pool's info. */
static int number_of_pool(const struct subject *subject, size_t member, uint64_t *ret_number)
{
	struct libpool_pool_info *info = calloc(1, sizeof(*info));
	int result = info ? engine_info(subject->engine, info) : -ENOMEM;

	if (result == 0)
		*ret_number = *(const uint64_t *)((const char *)info + member);
	free(info);
	return result;
}

static int get_amplification(const struct subject *subject, char *ret_value)
{
	struct libpool_pool_info info = {0};

	amplification_fill(subject->engine, &info);
	snprintf(ret_value, LIBPOOL_TEXT_MAX, info.data_bytes ? "%.3f" : "-", (double)info.placed_bytes / (double)info.data_bytes);
	return 0;
}

static int get_unit(const struct subject *subject, char *ret_value)
{
	size_format(UINT64_C(1) << core_label(subject->engine->core)->au_shift, ret_value, LIBPOOL_TEXT_MAX);
	return 0;
}

static int get_type(const struct subject *subject, char *ret_value)
{
	snprintf(ret_value, LIBPOOL_TEXT_MAX, "%s", subject->dataset->kind == DATASET_VOLUME ? "volume" : "file system");
	return 0;
}

/* Fixed when it was created. One that is damaged doesn't hide the other properties. */
static int get_case(const struct subject *subject, char *ret_value)
{
	struct fs_super super;
	int result = fs_peek(subject->engine->datasets, subject->dataset->name, &super, NULL);

	snprintf(ret_value, LIBPOOL_TEXT_MAX, "%s", result < 0 ? "-" : case_texts[super.case_mode]);
	return 0;
}

static int get_normalization(const struct subject *subject, char *ret_value)
{
	struct fs_super super;
	int result = fs_peek(subject->engine->datasets, subject->dataset->name, &super, NULL);

	snprintf(ret_value, LIBPOOL_TEXT_MAX, "%s", result < 0 ? "-" : normalization_texts[super.normalization]);
	return 0;
}

static int get_volsize(const struct subject *subject, char *ret_value)
{
	size_format(subject->dataset->volume_size, ret_value, LIBPOOL_TEXT_MAX);
	return 0;
}

static int get_blocksize(const struct subject *subject, char *ret_value)
{
	size_format(UINT64_C(1) << subject->dataset->block_shift, ret_value, LIBPOOL_TEXT_MAX);
	return 0;
}

static int number_of_space(const struct subject *subject, size_t member, uint64_t *ret_number)
{
	struct dataset_space space;
	int result = dataset_space(subject->engine->datasets, subject->dataset->name, &space);

	if (result == 0)
		*ret_number = *(const uint64_t *)((const char *)&space + member) * CELL_SIZE;
	return result;
}

#define OF_POOL(member) LIBPOOL_PROPERTY_BYTES, number_of_pool, offsetof(struct libpool_pool_info, member)
#define OF_SPACE(member) LIBPOOL_PROPERTY_BYTES, number_of_space, offsetof(struct dataset_space, member)

/* ---- the tables ---- */

static const struct property pool_properties[] = {
	{"comment", "", check_comment, NULL, NULL, "Free text, shown with the pool.", LIBPOOL_PROPERTY_TEXT, NULL, 0},
	{"autotrim", "off", check_autotrim, apply_autotrim, NULL, "Whether disks are told in the background of what becomes free (on), or only by the command trim (off).", LIBPOOL_PROPERTY_TEXT, NULL, 0},
	{"cache-size", "auto", check_cache, apply_cache, NULL, "Limit of the pool's cache; auto: as much as the host allows, which is also the upper bound.", LIBPOOL_PROPERTY_BYTES, NULL, 0},
	{"degraded", "allow", check_degraded, apply_degraded, NULL, "Whether writes go on while disks are missing: allow, narrow (with full redundancy only), readonly.", LIBPOOL_PROPERTY_TEXT, NULL, 0},
	{"multihost", "off", check_multihost, apply_multihost, NULL, "Heartbeats on the disks that keep other hosts from importing the pool: on or off.", LIBPOOL_PROPERTY_TEXT, NULL, 0},
	{"reserve", "6.25%", check_reserve, apply_reserve, NULL, "Share of the space that writers leave free, so that deleting and repairing always work: 1% to 50%. Small pools keep more.", LIBPOOL_PROPERTY_TEXT, NULL, 0},
	{"scrub-rate", "none", check_rate, apply_rate, NULL, "Bytes per second that a scrub reads at most; none: as fast as the disks allow.", LIBPOOL_PROPERTY_BYTES, NULL, 0},
	{"name", NULL, NULL, NULL, get_name, "Name of the pool.", LIBPOOL_PROPERTY_TEXT, NULL, 0},
	{"id", NULL, NULL, NULL, get_id, "Its id, which no other pool has; it can be used in place of the name.", LIBPOOL_PROPERTY_TEXT, NULL, 0},
	{"profile", NULL, NULL, NULL, get_profile, "Redundancy: data and parity columns.", LIBPOOL_PROPERTY_TEXT, NULL, 0},
	{"created", NULL, NULL, NULL, NULL, "When it was created.", LIBPOOL_PROPERTY_TIME, number_created, 0},
	{"unit", NULL, NULL, NULL, get_unit, "Allocation unit of a disk: what is moved and rebuilt as one piece.", LIBPOOL_PROPERTY_BYTES, NULL, 0},
	{"raw", NULL, NULL, NULL, NULL, "Capacity of all disks together.", OF_POOL(raw_bytes)},
	{"usable", NULL, NULL, NULL, NULL, "Room for data, parity and reserve apart.", OF_POOL(usable_bytes)},
	{"used", NULL, NULL, NULL, NULL, "Data that is stored, its pointers included, parity apart.", OF_POOL(used_bytes)},
	{"free", NULL, NULL, NULL, NULL, "What can still be written.", OF_POOL(free_bytes)},
	{"dead", NULL, NULL, NULL, NULL, "Room in allocation units in use that holds nothing live: comes back as what lies beside it dies, or is moved where room is short.", OF_POOL(dead_bytes)},
	{"formable", NULL, NULL, NULL, NULL, "Room that free allocation units make: what can still be written, what commits need, and the reserve's share of it.", OF_POOL(formable_bytes)},
	{"reserved", NULL, NULL, NULL, NULL, "What the reserve takes.", OF_POOL(reserve_bytes)},
	{"moved", NULL, NULL, NULL, NULL, "Blocks that were moved since the import, as little lived around them: part of what amplification counts.", OF_POOL(moved_bytes)},
	{"amplification", NULL, NULL, NULL, get_amplification, "Bytes written for each byte of content since the import, parity apart.", LIBPOOL_PROPERTY_TEXT, NULL, 0},
};

static const struct property volume_properties[] = {
	{"volsize", "", check_volsize, apply_volsize, get_volsize, "Size of the volume; it may grow and shrink.", LIBPOOL_PROPERTY_BYTES, NULL, 0},
	{"blocksize", NULL, NULL, NULL, get_blocksize, "Block size, chosen when the volume was created.", LIBPOOL_PROPERTY_BYTES, NULL, 0},
	{"reservation", "none", check_reservation, apply_reservation, get_reservation, "Space that is kept for it: nobody else can take it.", LIBPOOL_PROPERTY_BYTES, NULL, 0},
	{"used", NULL, NULL, NULL, NULL, "Space on disk as of the last commit, pointers included, parity apart; at least the reservation.", OF_SPACE(used_cells)},
	{"referenced", NULL, NULL, NULL, NULL, "What of that holds data of the volume.", OF_SPACE(referenced_cells)},
	{"created", NULL, NULL, NULL, NULL, "When it was created.", LIBPOOL_PROPERTY_TIME, number_created, 0},
	{"type", NULL, NULL, NULL, get_type, "Volume or file system.", LIBPOOL_PROPERTY_TEXT, NULL, 0},
	{"id", NULL, NULL, NULL, get_id, "Number of the dataset in the pool.", LIBPOOL_PROPERTY_TEXT, NULL, 0},
};

static const struct property filesystem_properties[] = {
	{"quota", "none", check_quota, apply_quota, get_quota, "Space that it may take with all that lies in it.", LIBPOOL_PROPERTY_BYTES, NULL, 0},
	{"refquota", "none", check_refquota, apply_refquota, get_refquota, "Space that it may take itself, without what lies in it.", LIBPOOL_PROPERTY_BYTES, NULL, 0},
	{"reservation", "none", check_reservation, apply_reservation, get_reservation, "Space that is kept for it and what lies in it: nobody else can take it.", LIBPOOL_PROPERTY_BYTES, NULL, 0},
	{"used", NULL, NULL, NULL, NULL, "Space on disk as of the last commit, pointers included, parity apart: with what lies in it, and what is reserved there.", OF_SPACE(used_cells)},
	{"referenced", NULL, NULL, NULL, NULL, "What of that is its own.", OF_SPACE(referenced_cells)},
	{"available", NULL, NULL, NULL, NULL, "What can still be written to it, within quotas and what others have reserved.", OF_SPACE(available_cells)},
	{"created", NULL, NULL, NULL, NULL, "When it was created.", LIBPOOL_PROPERTY_TIME, number_created, 0},
	{"type", NULL, NULL, NULL, get_type, "Volume or file system.", LIBPOOL_PROPERTY_TEXT, NULL, 0},
	{"casesensitivity", NULL, NULL, NULL, get_case, "Whether upper and lower case make two names, fixed when it was created: sensitive or insensitive.", LIBPOOL_PROPERTY_TEXT, NULL, 0},
	{"normalization", NULL, NULL, NULL, get_normalization, "Which spellings in Unicode make one name, fixed when it was created: none, formD, formKD.", LIBPOOL_PROPERTY_TEXT, NULL, 0},
	{"id", NULL, NULL, NULL, get_id, "Number of the dataset in the pool.", LIBPOOL_PROPERTY_TEXT, NULL, 0},
};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static const struct property *table_of(const struct subject *subject, size_t *ret_count)
{
	if (!subject->dataset) {
		*ret_count = COUNT(pool_properties);
		return pool_properties;
	}
	*ret_count = subject->dataset->kind == DATASET_VOLUME ? COUNT(volume_properties) : COUNT(filesystem_properties);
	return subject->dataset->kind == DATASET_VOLUME ? volume_properties : filesystem_properties;
}

static const struct property *property_find(const struct subject *subject, const char *name)
{
	size_t count;
	const struct property *table = table_of(subject, &count);

	for (size_t i = 0; i < count; i++)
		if (!strcmp(table[i].name, name))
			return &table[i];
	return NULL;
}

/* The pool has all settings, to hand them down. */
static bool has_setting(const struct subject *subject, unsigned setting)
{
	return !subject->dataset || dataset_settings_of(subject->dataset->kind) >> setting & 1;
}

/* SETTING_COUNT: it is none of these. */
static unsigned setting_find(const struct subject *subject, const char *name)
{
	unsigned setting = 0;

	while (setting < SETTING_COUNT && (!has_setting(subject, setting) || strcmp(setting_texts[setting].name, name) != 0))
		setting++;
	return setting;
}

/* ---- storage ---- */

/* "pool" 0 name */
static size_t pool_key(const char *name, char *ret_key, size_t size)
{
	memcpy(ret_key, "pool", 5);
	snprintf(ret_key + 5, size - 5, "%s", name);
	return 5 + strlen(ret_key + 5);
}

/* -ENOENT when it isn't set. */
static int stored_value(struct engine *engine, const char *name, char *ret_value)
{
	char key[80], value[OBJECT_VALUE_MAX];
	size_t length;
	int result = tree_get(core_mos_object(engine->core, MOS_PROPERTIES), key, pool_key(name, key, sizeof(key)), value,
			      sizeof(value), &length);

	if (result == 0)
		snprintf(ret_value, LIBPOOL_TEXT_MAX, "%.*s", (int)length, value);
	return result;
}

int property_get(struct engine *engine, const char *name, char ret_value[LIBPOOL_TEXT_MAX])
{
	const struct property *property = property_find(&(struct subject){engine, NULL}, name);
	int result = property && property->fallback ? stored_value(engine, name, ret_value) : -EINVAL;

	if (result == -ENOENT) {
		snprintf(ret_value, LIBPOOL_TEXT_MAX, "%s", property->fallback);
		return 0;
	}
	return result;
}

int property_load(struct engine *engine)
{
	struct subject subject = {engine, NULL};

	for (size_t i = 0; i < COUNT(pool_properties); i++) {
		const struct property *property = &pool_properties[i];
		char value[LIBPOOL_TEXT_MAX];

		if (!property->apply)
			continue;
		int result = property_get(engine, property->name, value);

		if (result == 0)
			result = property->apply(&subject, value, NULL);
		if (result < 0)
			return result;
	}
	for (unsigned i = 0; i < SETTING_COUNT; i++) {
		char text[LIBPOOL_TEXT_MAX];
		uint8_t value;
		int result = stored_value(engine, setting_texts[i].name, text);

		if (result < 0 && result != -ENOENT)
			return result;
		/* What another version wrote, and this one doesn't know, is as if it weren't there. */
		datasets_set_pool(engine->datasets, i, result == 0 && setting_parse(i, text, &value) ? &value : NULL);
	}
	return 0;
}

/* ---- the calls ---- */

static int find_record(struct engine *engine, const char *path, struct dataset_record *ret_record)
{
	struct dataset_record *records;
	size_t count;
	int result = -ENOENT;

	for (unsigned kind = DATASET_FILESYSTEM; kind <= DATASET_VOLUME && result == -ENOENT; kind++) {
		result = kind == DATASET_VOLUME ? volumes_list(engine->datasets, &records, &count) :
						  filesystems_list(engine->datasets, &records, &count);
		if (result < 0)
			return result;
		result = -ENOENT;
		for (size_t i = 0; i < count; i++) {
			if (strcmp(records[i].name, path) != 0)
				continue;
			*ret_record = records[i];
			result = 0;
		}
		free(records);
	}
	return result;
}

/* The record of the dataset a call is about; the subject has none if it is the pool itself. */
static int find_subject(struct engine *engine, const char *dataset, struct dataset_record *record, struct subject *ret_subject,
			struct pool_error *error)
{
	int result;

	*ret_subject = (struct subject){engine, NULL};
	if (!dataset || !dataset[0])
		return 0;
	ret_subject->dataset = record;
	result = find_record(engine, dataset, record);
	if (result == -ENOENT)
		return pool_error_set(error, result, "pool %s has no dataset %s", core_label(engine->core)->name, dataset);
	return result < 0 ? pool_error_set(error, result, "reading the list of datasets: %s", pool_error_string(result)) : 0;
}

/* Figures: the text comes from the number. */
static int fill_number(const struct subject *subject, const struct property *property, struct libpool_property *ret_property)
{
	int result = property->number(subject, property->member, &ret_property->number);

	if (result == 0 && property->kind == LIBPOOL_PROPERTY_TIME)
		time_format(ret_property->number, ret_property->value, sizeof(ret_property->value));
	else if (result == 0)
		size_format_rounded(ret_property->number, ret_property->value, sizeof(ret_property->value));
	ret_property->kind = property->kind;
	return result;
}

static int fill(const struct subject *subject, const struct property *property, struct libpool_property *ret_property)
{
	int result = 0;
	bool is_set = false;

	*ret_property = (struct libpool_property){.size = sizeof(*ret_property), .read_only = !property->fallback};
	snprintf(ret_property->name, sizeof(ret_property->name), "%s", property->name);
	snprintf(ret_property->help, sizeof(ret_property->help), "%s", property->help);
	if (property->number) {
		result = fill_number(subject, property, ret_property);
	} else if (property->get) {
		result = property->get(subject, ret_property->value);
		is_set = property->fallback && strcmp(property->fallback, ret_property->value) != 0;
	} else {
		result = stored_value(subject->engine, property->name, ret_property->value);
		is_set = result == 0;
		if (result == -ENOENT) {
			snprintf(ret_property->value, sizeof(ret_property->value), "%s", property->fallback);
			result = 0;
		}
	}
	/* "none" and "auto" are no numbers. */
	if (!property->number && property->kind == LIBPOOL_PROPERTY_BYTES && size_parse(ret_property->value, &ret_property->number))
		ret_property->kind = LIBPOOL_PROPERTY_BYTES;
	snprintf(ret_property->source, sizeof(ret_property->source), "%s",
		 !property->fallback ? "-" : is_set ? "local" : "default");
	return result;
}

static int fill_setting(const struct subject *subject, unsigned setting, struct libpool_property *ret_property)
{
	const char *pool = core_label(subject->engine->core)->name, *source = NULL;
	uint8_t value = dataset_setting_default(setting);
	char text[LIBPOOL_TEXT_MAX];
	int result;

	*ret_property = (struct libpool_property){.size = sizeof(*ret_property)};
	snprintf(ret_property->name, sizeof(ret_property->name), "%s", setting_texts[setting].name);
	snprintf(ret_property->help, sizeof(ret_property->help), "%s", setting_texts[setting].help);
	if (subject->dataset) {
		result = dataset_setting(subject->engine->datasets, subject->dataset->name, setting, &value, &source);
	} else {
		result = stored_value(subject->engine, setting_texts[setting].name, text);
		if (result == 0 && setting_parse(setting, text, &value))
			source = "";
		result = result == -ENOENT ? 0 : result;
	}
	setting_format(setting, value, ret_property->value, sizeof(ret_property->value));
	if (setting == SETTING_RECORDSIZE && size_parse(ret_property->value, &ret_property->number))
		ret_property->kind = LIBPOOL_PROPERTY_BYTES;
	if (!source)
		snprintf(ret_property->source, sizeof(ret_property->source), "default");
	else if (strcmp(source, subject->dataset ? subject->dataset->name : "") == 0)
		snprintf(ret_property->source, sizeof(ret_property->source), "local");
	else
		snprintf(ret_property->source, sizeof(ret_property->source), "inherited from %s%s%s", pool, source[0] ? "/" : "", source);
	return result;
}

static int fill_all(const struct subject *subject, struct libpool_property **ret_properties, size_t *ret_count)
{
	size_t count, next = 0;
	const struct property *table = table_of(subject, &count);
	struct libpool_property *all = calloc(count + SETTING_COUNT, sizeof(*all));
	int result = all ? 0 : -ENOMEM;

	for (unsigned i = 0; i < SETTING_COUNT && result == 0; i++)
		if (has_setting(subject, i))
			result = fill_setting(subject, i, &all[next++]);
	for (size_t i = 0; i < count && result == 0; i++)
		result = fill(subject, &table[i], &all[next++]);
	if (result < 0) {
		free(all);
		return result;
	}
	*ret_properties = all;
	*ret_count = next;
	return 0;
}

int engine_properties(struct engine *engine, const char *dataset, struct libpool_property **ret_properties, size_t *ret_count,
		      struct pool_error *error)
{
	struct dataset_record *record = malloc(sizeof(*record));
	struct subject subject;
	int result = record ? find_subject(engine, dataset, record, &subject, error) : -ENOMEM;

	if (result == 0)
		result = fill_all(&subject, ret_properties, ret_count);
	free(record);
	if (result < 0 && !(error && error->code))
		return pool_error_set(error, result, "reading the properties: %s", pool_error_string(result));
	return result;
}

static int get_one(const struct subject *subject, const char *name, struct libpool_property *ret_property, struct pool_error *error)
{
	const struct property *property = property_find(subject, name);
	unsigned setting = setting_find(subject, name);

	if (subject->dataset && owner_property_is(name))
		return owner_property_get(subject->engine, subject->dataset, name, ret_property, error);
	if (setting < SETTING_COUNT)
		return fill_setting(subject, setting, ret_property);
	return property ? fill(subject, property, ret_property) : pool_error_set(error, -ENOENT, "there is no property %.60s", name);
}

int engine_property_get(struct engine *engine, const char *dataset, const char *name, struct libpool_property *ret_property,
			struct pool_error *error)
{
	struct dataset_record *record = malloc(sizeof(*record));
	struct subject subject;
	int result = record ? find_subject(engine, dataset, record, &subject, error) : -ENOMEM;

	if (result == 0)
		result = get_one(&subject, name, ret_property, error);
	free(record);
	if (result < 0 && !(error && error->code))
		return pool_error_set(error, result, "reading property %.60s: %s", name, pool_error_string(result));
	return result;
}

static int set_of_pool(const struct subject *subject, const struct property *property, const char *value, bool reset,
		       struct pool_error *error)
{
	char key[80];
	size_t length = pool_key(property->name, key, sizeof(key));
	int result = engine_mos_put(subject->engine, MOS_PROPERTIES, key, length, reset ? NULL : value, reset ? 0 : strlen(value));

	if (result < 0)
		return pool_error_set(error, result, "property %s can't be set: %s", property->name, pool_error_string(result));
	return property->apply ? property->apply(subject, value, error) : 0;
}

/* value NULL: what is handed down, or the default. */
static int set_setting(const struct subject *subject, unsigned setting, const char *text, bool check_only, struct pool_error *error)
{
	struct datasets *datasets = subject->engine->datasets;
	const char *name = setting_texts[setting].name;
	uint8_t value = 0;
	char key[80];
	int result = 0;

	if (text && !setting_parse(setting, text, &value))
		return pool_error_set(error, -EINVAL,
				      setting == SETTING_CHECKSUM ? "property %s: '%.40s' isn't possible: every block has one, and in this version it is %s" :
								    "property %s: '%.40s' is none of %s",
				      name, text, setting_texts[setting].values);
	if (text && setting == SETTING_RECORDSIZE)
		result = dataset_check_record_shift(datasets, value, error);
	if (result < 0 || check_only)
		return result;
	if (subject->dataset)
		return dataset_set(datasets, subject->dataset->name, setting, text ? &value : NULL, error);
	result = engine_mos_put(subject->engine, MOS_PROPERTIES, key, pool_key(name, key, sizeof(key)), text, text ? strlen(text) : 0);
	if (result < 0)
		return pool_error_set(error, result, "property %s can't be set: %s", name, pool_error_string(result));
	datasets_set_pool(datasets, setting, text ? &value : NULL);
	core_flush_by_commit(subject->engine->core); /* logbias */
	return 0;
}

static int set_property(const struct subject *subject, const char *name, const char *value, bool check_only, struct pool_error *error)
{
	const struct property *property = property_find(subject, name);
	bool reset = property && property->fallback && property->fallback[0] && !value;
	char checked[LIBPOOL_TEXT_MAX];
	int result;

	if (subject->dataset && owner_property_is(name))
		return owner_property_set(subject->engine, subject->dataset, name, value, check_only, error);
	if (!property)
		return pool_error_set(error, -ENOENT, "a %s has no property %.60s",
				      !subject->dataset ? "pool" : subject->dataset->kind == DATASET_VOLUME ? "volume" : "file system", name);
	if (!property->fallback)
		return pool_error_set(error, -EPERM, "property %s is a figure and can't be set", name);
	if (!reset && !value)
		return pool_error_set(error, -EINVAL, "property %s has no default to go back to: set it", name);
	result = property->check(subject, reset ? property->fallback : value, checked, error);
	if (result < 0 || check_only)
		return result;
	return subject->dataset ? property->apply(subject, checked, error) : set_of_pool(subject, property, checked, reset, error);
}

int engine_property_set(struct engine *engine, const char *dataset, const char *name, const char *value, bool check_only,
			struct pool_error *error)
{
	struct dataset_record *record = malloc(sizeof(*record));
	struct subject subject;
	int result = record ? find_subject(engine, dataset, record, &subject, error) : -ENOMEM;
	unsigned setting = result == 0 ? setting_find(&subject, name) : SETTING_COUNT;
	bool known = result == 0 && (setting < SETTING_COUNT || owner_property_is(name) || property_find(&subject, name));

	if (value && strcmp(value, "default") == 0)
		value = NULL;
	if (known && value && strlen(value) >= LIBPOOL_TEXT_MAX)
		result = pool_error_set(error, -EINVAL, "property %s: the value is too long: at most %d bytes", name, LIBPOOL_TEXT_MAX - 1);
	else if (known && core_read_only(engine->core) && !check_only)
		result = pool_error_set(error, -EROFS, "property %s can't be set: the pool is imported read-only", name);
	else if (result == 0)
		result = setting < SETTING_COUNT ? set_setting(&subject, setting, value, check_only, error) :
						   set_property(&subject, name, value, check_only, error);
	free(record);
	return result;
}
