/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where a file system is mounted by now. A path tells little: a folder above it may have been renamed, the mount detached while files are open, and another
 * mounted in its place. The number of its device stays, and no other has it while it exists.
 */
#ifndef FUSE_EXPORT_PLACE_H
#define FUSE_EXPORT_PLACE_H

#include <limits.h>
#include <stdbool.h>

struct place {
	unsigned major, minor; /* 0: unknown */
};

/* The one mounted at `path` a moment ago; unknown if it isn't that of `source`. */
void place_take(struct place *ret_place, const char *path, const char *source);
/* Which it is that is mounted at `path`. false: nothing, or it can't be told, as before Linux 5.8. */
bool place_at(struct place *ret_place, const char *path);
static inline bool place_is_known(const struct place *place)
{
	return place->major || place->minor;
}
static inline bool place_is(const struct place *place, const struct place *other)
{
	return place_is_known(place) && place->major == other->major && place->minor == other->minor;
}
/* All mounts of pools that this process sees, the oldest first. */
void places_each(void (*visit)(void *argument, const struct place *place, const char *source, const char *path), void *argument);
/* The newest of its mount points that this process sees. */
bool place_find(const struct place *place, const char *source, char ret_path[PATH_MAX]);

#endif
