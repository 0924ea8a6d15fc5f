/*
 * What AddressSanitizer, ThreadSanitizer and valgrind must be told about fibers. Without them each
 * function here is empty. A stack switch that isn't announced makes all three report nonsense, so
 * nothing but fiber_context.c switches stacks.
 */
#ifndef LIBPOOL_RT_SANITIZER_H
#define LIBPOOL_RT_SANITIZER_H

#include <stddef.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POOL_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define POOL_TSAN 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__
#define POOL_ASAN 1
#endif
#ifdef __SANITIZE_THREAD__
#define POOL_TSAN 1
#endif

#ifdef POOL_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef POOL_TSAN
#include <sanitizer/tsan_interface.h>
#endif
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif

/* Before leaving a stack: its fake stack is kept in *save, or freed if save is NULL. */
static inline void sanitizer_leave(void **save, const void *next_bottom, size_t next_size)
{
#ifdef POOL_ASAN
	__sanitizer_start_switch_fiber(save, next_bottom, next_size);
#else
	(void)save, (void)next_bottom, (void)next_size;
#endif
}

/* After arriving: the fake stack kept when it was left; tells the bounds of the stack come from. */
static inline void sanitizer_arrive(void *saved, const void **from_bottom, size_t *from_size)
{
#ifdef POOL_ASAN
	__sanitizer_finish_switch_fiber(saved, from_bottom, from_size);
#else
	(void)saved, (void)from_bottom, (void)from_size;
#endif
}

/* Frees the fake stack of a fiber that will not be entered again, by seeming to enter and to end it. */
__attribute__((no_sanitize_address)) static inline void sanitizer_discard(void *saved)
{
#ifdef POOL_ASAN
	const void *bottom = NULL;
	size_t size = 0;
	void *own = NULL;

	if (!saved)
		return;
	__sanitizer_start_switch_fiber(&own, &size, sizeof(size)); /* only to learn our own bounds */
	__sanitizer_finish_switch_fiber(own, &bottom, &size);
	__sanitizer_start_switch_fiber(&own, bottom, size);
	__sanitizer_finish_switch_fiber(saved, NULL, NULL);
	__sanitizer_start_switch_fiber(NULL, bottom, size);
	__sanitizer_finish_switch_fiber(own, NULL, NULL);
#else
	(void)saved;
#endif
}

/* Frames that never returned leave their redzones behind. */
static inline void sanitizer_unpoison(void *memory, size_t size)
{
#ifdef POOL_ASAN
	__asan_unpoison_memory_region(memory, size);
#else
	(void)memory, (void)size;
#endif
}

static inline void *sanitizer_thread_new(void)
{
#ifdef POOL_TSAN
	return __tsan_create_fiber(0);
#else
	return NULL;
#endif
}

static inline void sanitizer_thread_free(void *thread)
{
#ifdef POOL_TSAN
	__tsan_destroy_fiber(thread);
#else
	(void)thread;
#endif
}

static inline void *sanitizer_thread_self(void)
{
#ifdef POOL_TSAN
	return __tsan_get_current_fiber();
#else
	return NULL;
#endif
}

/* Directly before the switch. */
static inline void sanitizer_thread_switch(void *thread)
{
#ifdef POOL_TSAN
	__tsan_switch_to_fiber(thread, 0);
#else
	(void)thread;
#endif
}

static inline unsigned sanitizer_stack_register(void *bottom, void *top)
{
#ifdef VALGRIND_STACK_REGISTER
	return VALGRIND_STACK_REGISTER(bottom, top);
#else
	(void)bottom, (void)top;
	return 0;
#endif
}

static inline void sanitizer_stack_deregister(unsigned id)
{
#ifdef VALGRIND_STACK_DEREGISTER
	VALGRIND_STACK_DEREGISTER(id);
#else
	(void)id;
#endif
}

#endif
