/* SPDX-License-Identifier: BSD-2-Clause */
/* Pools that a search finds, before anything is imported. */
#ifndef CLI_POOLS_H
#define CLI_POOLS_H

#include <json-c/json.h>
#include <libpool.h>

/*
 * The pool called `name` (or with this id). -ENOENT says where was searched; several of one name are -EEXIST,
 * unless all but one are destroyed.
 */
int pools_find(const struct libpool_host *host, const char *name, struct libpool_found *ret_found,
	       struct libpool_error *error);
/* Fills *error with where was searched; returns -ENOENT. */
int pools_not_found(const struct libpool_host *host, const char *name, struct libpool_error *error);
/* "healthy", "degraded", "unusable", "in use" or "destroyed", as far as labels tell. */
const char *found_state(const struct libpool_found *found);
struct json_object *found_document(const struct libpool_found *found);

#endif
