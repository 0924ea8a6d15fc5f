/*
 * Buffers for device I/O. Data comes from slab.h, or from the C library when it is larger than a piece of that, and
 * always under AddressSanitizer, which then sees a write past the end. The head is allocated apart from the data: data
 * then keeps its 4096-byte alignment without losing a page to the head, and a write past its end can't corrupt a count.
 * Whoever drops the last reference sees all that other holders wrote before they dropped theirs.
 */
#include "libpool/base/buffer.h"

#include <stdlib.h>
#include <string.h>

#include "libpool/base/check.h"
#include "libpool/base/slab.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BUFFER_PLAIN 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define BUFFER_PLAIN 1
#endif

static size_t padded(size_t size)
{
	return (size + BUFFER_ALIGNMENT - 1) & ~(size_t)(BUFFER_ALIGNMENT - 1);
}

static void *data_new(struct buffer *buffer, size_t size)
{
	void *data = NULL;

	buffer->region = NULL;
#ifndef BUFFER_PLAIN
	if (size <= SLAB_PIECE_MAX)
		return buffer->data = slab_take(size, &buffer->region);
#endif
	if (posix_memalign(&data, BUFFER_ALIGNMENT, size) != 0)
		return NULL;
	return buffer->data = data;
}

struct buffer *buffer_new(size_t size)
{
	if (size == 0 || size > UINT32_MAX)
		return NULL;
	struct buffer *buffer = malloc(sizeof(*buffer));

	if (!buffer || !data_new(buffer, padded(size))) {
		free(buffer);
		return NULL;
	}
	atomic_init(&buffer->references, 1);
	buffer->size = (uint32_t)size;
	buffer->hashed = false;
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
	if (buffer->region)
		slab_give(buffer->region, buffer->data);
	else
		free(buffer->data);
	free(buffer);
}

int buffer_is_sole(const struct buffer *buffer)
{
	return atomic_load_explicit(&buffer->references, memory_order_acquire) == 1;
}

void buffer_hash(struct buffer *buffer)
{
	xxh3_128(buffer->data, buffer->size, &buffer->hash);
	buffer->hashed = true;
}

void buffer_copy_hashed(struct buffer *buffer, const void *source)
{
	xxh3_128_copy(buffer->data, source, buffer->size, &buffer->hash);
	buffer->hashed = true;
}

void buffer_unhash(struct buffer *buffer)
{
	buffer->hashed = false;
}

void buffer_pad(struct buffer *buffer)
{
	memset(buffer->data + buffer->size, 0, padded(buffer->size) - buffer->size);
}
