/* SPDX-License-Identifier: BSD-2-Clause */
/* Tables from documents: the rows are JSON objects, the columns name their members. */
#ifndef CLI_TABLE_H
#define CLI_TABLE_H

#include <stdbool.h>

#include <json-c/json.h>
#include <libpool.h>

enum column_kind {
	COLUMN_TEXT,
	COLUMN_COUNT,
	COLUMN_SIZE,
	COLUMN_RECORD, /* a size; 0: auto */
	COLUMN_RATE,
	COLUMN_TIME,
	COLUMN_DURATION,
	COLUMN_LATENCY
};

struct column {
	const char *key; /* member of the row; also the name for -o; NULL ends the list */
	const char *title;
	enum column_kind kind;
	bool more; /* only with -v or when named with -o */
};

struct table_style {
	bool raw;	       /* -H: no header, tabs */
	bool headless;	       /* the header has been printed before */
	bool exact;	       /* -p */
	bool more;	       /* -v */
	const char *selection; /* -o, or NULL */
};

/* Whether every name in "a,b,c" is one of the columns. 0 or -EINVAL. */
int table_check_selection(const struct column *columns, const char *selection, struct libpool_error *error);
/*
 * Prints the rows (a JSON array). A row with an array "children" is printed as a tree, as far as the style
 * isn't raw: then only rows without children are printed.
 */
void table_print(const struct column *columns, struct json_object *rows, const struct table_style *style);

#endif
