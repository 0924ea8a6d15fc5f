/* A growable array of plain values. Zero-initialised is empty; array_release frees it. */
#ifndef LIBPOOL_BASE_ARRAY_H
#define LIBPOOL_BASE_ARRAY_H

#include <stddef.h>
#include <stdint.h>

struct array {
	void *items;
	size_t count, capacity, item_size; /* item_size is set by array_init */
};

static inline void array_init(struct array *array, size_t item_size)
{
	*array = (struct array){.item_size = item_size};
}

/* Appends a copy of *item; 0 or -ENOMEM (unchanged). */
int array_push(struct array *array, const void *item);
/* Makes room for `count` items in all; 0 or -ENOMEM. */
int array_reserve(struct array *array, size_t count);
void array_release(struct array *array);
static inline void array_clear(struct array *array) { array->count = 0; }
#define array_at(array, type, index) (&((type *)(array)->items)[index])

#endif
