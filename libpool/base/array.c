/* Growth by doubling, so that n pushes cost O(n); the content survives every failure to grow. */
#include "libpool/base/array.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY 8

int array_reserve(struct array *array, size_t count)
{
	size_t bytes;

	if (count <= array->capacity)
		return 0;
	if (__builtin_mul_overflow(count, array->item_size, &bytes))
		return -ENOMEM;
	void *items = realloc(array->items, bytes);

	if (!items)
		return -ENOMEM;
	array->items = items;
	array->capacity = count;
	return 0;
}

int array_push(struct array *array, const void *item)
{
	if (array->count == array->capacity) {
		/* The item may be one of this array, which moves when it grows. */
		uintptr_t offset = (uintptr_t)item - (uintptr_t)array->items;
		int inside = array->items && offset < array->count * array->item_size;
		size_t wanted = array->capacity ? array->capacity * 2 : FIRST_CAPACITY;
		int result = wanted > array->capacity ? array_reserve(array, wanted) : -ENOMEM;

		if (result < 0)
			return result;
		if (inside)
			item = (const char *)array->items + offset;
	}
	memcpy((char *)array->items + array->count * array->item_size, item, array->item_size);
	array->count++;
	return 0;
}

void array_release(struct array *array)
{
	free(array->items);
	array_init(array, array->item_size);
}
