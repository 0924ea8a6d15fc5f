/*
 * Buffers for device I/O. The head is allocated apart from the data: data then keeps its 4096-byte
 * alignment without losing a page to the head, and a write past its end can't corrupt a count.
 * Whoever drops the last reference sees all that other holders wrote before they dropped theirs.
 */
#include "libpool/base/buffer.h"

#include <stdlib.h>
#include <string.h>

#include "libpool/base/check.h"

static size_t padded(size_t size)
{
	return (size + BUFFER_ALIGNMENT - 1) & ~(size_t)(BUFFER_ALIGNMENT - 1);
}

struct buffer *buffer_new(size_t size)
{
	if (size == 0 || size > UINT32_MAX)
		return NULL;
	struct buffer *buffer = malloc(sizeof(*buffer));
	void *data = NULL;

	if (!buffer || posix_memalign(&data, BUFFER_ALIGNMENT, padded(size)) != 0) {
		free(buffer);
		return NULL;
	}
	atomic_init(&buffer->references, 1);
	buffer->size = (uint32_t)size;
	buffer->data = data;
	return buffer;
}

struct buffer *buffer_new_zero(size_t size)
{
	struct buffer *buffer = buffer_new(size);

	if (buffer)
		memset(buffer->data, 0, padded(size));
	return buffer;
}

struct buffer *buffer_new_copy(const void *data, size_t size)
{
	struct buffer *buffer = buffer_new(size);

	if (buffer)
		memcpy(buffer->data, data, size);
	return buffer;
}

struct buffer *buffer_ref(struct buffer *buffer)
{
	unsigned before = atomic_fetch_add_explicit(&buffer->references, 1, memory_order_relaxed);

	POOL_CHECK(before != 0);
	return buffer;
}

void buffer_unref(struct buffer *buffer)
{
	if (!buffer)
		return;
	unsigned before = atomic_fetch_sub_explicit(&buffer->references, 1, memory_order_acq_rel);

	if (!POOL_CHECK(before != 0) || before != 1)
		return;
	free(buffer->data);
	free(buffer);
}

int buffer_is_sole(const struct buffer *buffer)
{
	return atomic_load_explicit(&buffer->references, memory_order_acquire) == 1;
}

void buffer_pad(struct buffer *buffer)
{
	memset(buffer->data + buffer->size, 0, padded(buffer->size) - buffer->size);
}
