/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libsmartcols lays out; what a cell says comes from the document, so text and JSON can't differ. Raw tables
 * are written by hand, because smartcols pads and escapes, and a raw cell must be followed by exactly one
 * tab.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libsmartcols.h>

#include "cli/errors.h"
#include "cli/sizes.h"
#include "cli/table.h"
#include "cli/text.h"

#define COLUMNS_MAX 64

static const struct column *column_named(const struct column *columns, const char *name, size_t length)
{
	for (; columns->key; columns++) {
		if (strlen(columns->key) == length && strncmp(columns->key, name, length) == 0)
			return columns;
	}
	return NULL;
}

int table_check_selection(const struct column *columns, const char *selection, struct libpool_error *error)
{
	char known[320] = "";

	for (const char *name = selection;; name++) {
		size_t length = strcspn(name, ",");

		if (!column_named(columns, name, length)) {
			for (; columns->key; columns++)
				text_append(known, sizeof(known), " %s", columns->key);
			return error_set(error, -EINVAL, "column '%.*s' doesn't exist: there are%s",
					 (int)length, name, known);
		}
		name += length;
		if (*name == '\0')
			return 0;
	}
}

/* The columns to print, in order; returns how many. */
static size_t choose(const struct column *columns, const struct table_style *style,
		     const struct column *ret_chosen[COLUMNS_MAX])
{
	size_t count = 0;

	if (style->selection) {
		for (const char *name = style->selection; count < COLUMNS_MAX; name++) {
			size_t length = strcspn(name, ",");
			const struct column *column = column_named(columns, name, length);

			if (column)
				ret_chosen[count++] = column;
			name += length;
			if (*name == '\0')
				break;
		}
		return count;
	}
	for (; columns->key && count < COLUMNS_MAX; columns++) {
		if (!columns->more || style->more)
			ret_chosen[count++] = columns;
	}
	return count;
}

/* The text of one cell, to be freed. A member that isn't there prints as "-". */
static char *cell_text(const struct column *column, struct json_object *row, bool exact)
{
	struct json_object *value;
	char text[QUANTITY_TEXT_MAX];

	if (!json_object_object_get_ex(row, column->key, &value) || !value)
		return strdup("-");
	if (exact || column->kind == COLUMN_TEXT || column->kind == COLUMN_COUNT) {
		const char *plain = json_object_get_string(value);

		return strdup(plain[0] ? plain : "-");
	}
	switch (column->kind) {
	case COLUMN_RECORD:
		if (json_object_get_uint64(value) == 0)
			return strdup("auto");
		size_print(json_object_get_uint64(value), text);
		break;
	case COLUMN_SIZE:
		size_print(json_object_get_uint64(value), text);
		break;
	case COLUMN_RATE:
		size_print(json_object_get_uint64(value), text);
		strcat(text, "/s");
		break;
	case COLUMN_TIME:
		time_print(json_object_get_double(value), text);
		break;
	case COLUMN_LATENCY:
		snprintf(text, sizeof(text), "%.2f ms", json_object_get_double(value) * 1e3);
		break;
	case COLUMN_DURATION:
	default:
		duration_print(json_object_get_double(value), text);
		break;
	}
	return strdup(text);
}

static struct json_object *children_of(struct json_object *row)
{
	struct json_object *children = NULL;

	json_object_object_get_ex(row, "children", &children);
	return children;
}

static void print_raw(const struct column *const *chosen, size_t count, struct json_object *rows,
		      const struct table_style *style)
{
	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		struct json_object *row = json_object_array_get_idx(rows, i), *children = children_of(row);

		if (children) {
			print_raw(chosen, count, children, style);
			continue;
		}
		for (size_t c = 0; c < count; c++) {
			char *text = cell_text(chosen[c], row, style->exact);

			/* A tab or line end inside a cell would make two of it. */
			for (char *byte = text; byte && *byte; byte++) {
				if (*byte == '\t' || *byte == '\n')
					*byte = ' ';
			}
			printf("%s%c", text ? text : "-", c + 1 < count ? '\t' : '\n');
			free(text);
		}
	}
}

static void add_lines(struct libscols_table *table, struct libscols_line *parent,
		      const struct column *const *chosen, size_t count, struct json_object *rows,
		      const struct table_style *style)
{
	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		struct json_object *row = json_object_array_get_idx(rows, i), *children = children_of(row);
		struct libscols_line *line = scols_table_new_line(table, parent);

		if (!line)
			return;
		for (size_t c = 0; c < count; c++)
			scols_line_refer_data(line, c, cell_text(chosen[c], row, style->exact));
		if (children)
			add_lines(table, line, chosen, count, children, style);
	}
}

static bool has_tree(struct json_object *rows)
{
	for (size_t i = 0; i < json_object_array_length(rows); i++) {
		if (children_of(json_object_array_get_idx(rows, i)))
			return true;
	}
	return false;
}

void table_print(const struct column *columns, struct json_object *rows, const struct table_style *style)
{
	const struct column *chosen[COLUMNS_MAX];
	size_t count = choose(columns, style, chosen);
	struct libscols_table *table;
	bool tree = has_tree(rows);

	if (style->raw) {
		print_raw(chosen, count, rows, style);
		return;
	}
	if (json_object_array_length(rows) == 0)
		return;
	table = scols_new_table();
	if (!table)
		return;
	for (size_t c = 0; c < count; c++) {
		int flags = c == 0 && tree		     ? SCOLS_FL_TREE
			    : chosen[c]->kind == COLUMN_TEXT ? 0
							     : SCOLS_FL_RIGHT;

		scols_table_new_column(table, chosen[c]->title, 0, flags);
	}
	/* A table is as wide as it has to be: a path that is cut can't be copied. */
	scols_table_enable_nowrap(table, 1);
	scols_table_enable_noheadings(table, style->headless);
	scols_table_set_termforce(table, SCOLS_TERMFORCE_NEVER);
	add_lines(table, NULL, chosen, count, rows, style);
	scols_print_table(table);
	scols_unref_table(table);
}
