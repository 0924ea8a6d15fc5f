/* See api_calls.h. */
#include "libpool/pool/api_calls.h"

#define CLOSED (1u << 31)

bool api_calls_begin(struct api_calls *calls, unsigned count)
{
	unsigned word = atomic_load_explicit(&calls->word, memory_order_relaxed);

	do {
		if (word & CLOSED)
			return false;
	} while (!atomic_compare_exchange_weak(&calls->word, &word, word + count));
	return true;
}

void api_calls_add(struct api_calls *calls, unsigned count)
{
	atomic_fetch_add(&calls->word, count);
}

void api_calls_end(struct api_calls *calls, unsigned count, pthread_mutex_t *lock, pthread_cond_t *idle)
{
	unsigned word = atomic_load_explicit(&calls->word, memory_order_relaxed);

	while (!(word & CLOSED))
		if (atomic_compare_exchange_weak(&calls->word, &word, word - count))
			return;
	pthread_mutex_lock(lock);
	atomic_fetch_sub(&calls->word, count);
	pthread_cond_broadcast(idle);
	pthread_mutex_unlock(lock);
}

void api_calls_close(struct api_calls *calls)
{
	atomic_fetch_or(&calls->word, CLOSED);
}

void api_calls_wait(struct api_calls *calls, pthread_mutex_t *lock, pthread_cond_t *idle)
{
	while (atomic_load(&calls->word) != CLOSED)
		pthread_cond_wait(idle, lock);
}
