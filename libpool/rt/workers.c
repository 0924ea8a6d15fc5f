/*
 * Worker threads. They belong to a library in somebody else's process: all signals are blocked in them,
 * and an invariant broken on a worker is kept and reported in the engine's thread, whose handler knows
 * which pool to halt.
 */
#include "libpool/rt/workers.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "libpool/base/check.h"
#include "libpool/base/stack.h"

#define WORKER_STACK_SIZE (1024 * 1024)
/* What it takes to wake a worker. */
#define WAKE_US 20u

struct broken_check {
	const char *file, *expression;
	int line;
};

struct workers {
	void (*wake)(void *argument);
	void *argument;
	struct stack ended;
	atomic_bool broken;           /* broken_check is valid */
	sem_t work;                   /* not a condition: glibc's signal sleeps while an earlier one is on its way */
	atomic_uint brief_us;         /* of all in `brief`; changed under the lock */
	unsigned pending;             /* engine only */

	pthread_mutex_t lock; /* for all below */
	pthread_cond_t quiet;
	struct list queued, brief;
	unsigned waiting, running; /* waiting: on `work`, and not posted for */
	bool brief_first; /* the two queues take turns */
	bool stopping;
	struct broken_check broken_check; /* the first */

	unsigned count;
	pthread_t threads[];
};

static void keep_broken_check(void *arg, const char *file, int line, const char *expression)
{
	struct workers *workers = arg;

	pthread_mutex_lock(&workers->lock);
	if (!atomic_load(&workers->broken)) {
		workers->broken_check = (struct broken_check){.file = file, .expression = expression, .line = line};
		atomic_store(&workers->broken, true);
	}
	pthread_mutex_unlock(&workers->lock);
}

static void job_ended(struct workers *workers, struct rt_job *job)
{
	if (stack_push(&workers->ended, &job->node, &job->node))
		workers->wake(workers->argument);
}

static struct rt_job *take_brief(struct workers *workers)
{
	struct list *node = list_pop_front(&workers->brief);

	if (!node)
		return NULL;
	struct rt_job *job = container_of(node, struct rt_job, node);

	atomic_fetch_sub_explicit(&workers->brief_us, job->brief_us, memory_order_relaxed);
	return job;
}

static struct rt_job *take_job(struct workers *workers)
{
	struct list *node;

	workers->brief_first = !workers->brief_first;
	if (list_empty(&workers->queued) || (workers->brief_first && !list_empty(&workers->brief)))
		return take_brief(workers);
	node = list_pop_front(&workers->queued);
	return container_of(node, struct rt_job, node);
}

static void *worker_main(void *argument)
{
	struct workers *workers = argument;

	pthread_setname_np(pthread_self(), "pool-worker");
	pool_check_set_handler(keep_broken_check, workers);
	pthread_mutex_lock(&workers->lock);
	for (;;) {
		struct rt_job *job = NULL;

		while (!workers->stopping && !(job = take_job(workers))) {
			workers->waiting++;
			pthread_mutex_unlock(&workers->lock);
			while (sem_wait(&workers->work) < 0 && errno == EINTR)
				continue;
			pthread_mutex_lock(&workers->lock);
		}
		if (workers->stopping)
			break;
		workers->running++;
		pthread_mutex_unlock(&workers->lock);
		job->function(job->argument);
		job_ended(workers, job);
		pthread_mutex_lock(&workers->lock);
		if (--workers->running == 0)
			pthread_cond_broadcast(&workers->quiet);
	}
	pthread_mutex_unlock(&workers->lock);
	return NULL;
}

static int start_threads(struct workers *workers, unsigned count)
{
	sigset_t all, before;
	pthread_attr_t attributes;
	int result = pthread_attr_init(&attributes);

	if (result != 0)
		return -result;
	pthread_attr_setstacksize(&attributes, WORKER_STACK_SIZE);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	while (result == 0 && workers->count < count) {
		result = pthread_create(&workers->threads[workers->count], &attributes, worker_main, workers);
		workers->count += result == 0;
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return -result;
}

int workers_new(unsigned count, void (*wake)(void *argument), void *argument, struct workers **ret_workers)
{
	struct workers *workers = calloc(1, sizeof(*workers) + count * sizeof(workers->threads[0]));

	if (!workers)
		return -ENOMEM;
	workers->wake = wake;
	workers->argument = argument;
	list_init(&workers->queued);
	list_init(&workers->brief);
	pthread_mutex_init(&workers->lock, NULL);
	sem_init(&workers->work, 0, 0);
	pthread_cond_init(&workers->quiet, NULL);
	int result = count ? start_threads(workers, count) : 0;

	if (result < 0) {
		workers_free(workers);
		return result;
	}
	*ret_workers = workers;
	return 0;
}

void workers_free(struct workers *workers)
{
	if (!workers)
		return;
	pthread_mutex_lock(&workers->lock);
	workers->stopping = true;
	for (; workers->waiting > 0; workers->waiting--)
		sem_post(&workers->work);
	pthread_mutex_unlock(&workers->lock);
	for (unsigned i = 0; i < workers->count; i++)
		pthread_join(workers->threads[i], NULL);
	pthread_cond_destroy(&workers->quiet);
	sem_destroy(&workers->work);
	pthread_mutex_destroy(&workers->lock);
	free(workers);
}

void workers_submit(struct workers *workers, struct rt_job *job)
{
	bool brief = job->brief_us > 0 && workers->count > 0;
	unsigned before_us = 0;

	workers->pending++;
	pthread_mutex_lock(&workers->lock);
	if (brief) {
		list_push_back(&workers->brief, &job->node);
		before_us = atomic_fetch_add_explicit(&workers->brief_us, job->brief_us, memory_order_relaxed);
	} else {
		list_push_back(&workers->queued, &job->node);
	}
	bool wakes = workers->waiting > 0 && (!brief || before_us >= WAKE_US);

	workers->waiting -= wakes;
	pthread_mutex_unlock(&workers->lock);
	if (wakes)
		sem_post(&workers->work);
}

bool workers_help(struct workers *workers, unsigned microseconds)
{
	struct rt_job *job = NULL;

	if (atomic_load_explicit(&workers->brief_us, memory_order_relaxed) == 0)
		return false;
	pthread_mutex_lock(&workers->lock);
	if (!list_empty(&workers->brief) &&
	    container_of(workers->brief.next, struct rt_job, node)->brief_us <= microseconds)
		job = take_brief(workers);

	pthread_mutex_unlock(&workers->lock);
	if (!job)
		return false;
	job->function(job->argument);
	workers->pending--;
	job->done(job);
	return true;
}

void workers_rouse(struct workers *workers)
{
	if (atomic_load_explicit(&workers->brief_us, memory_order_relaxed) == 0)
		return;
	pthread_mutex_lock(&workers->lock);
	bool wakes = workers->waiting > 0 && !list_empty(&workers->brief);

	workers->waiting -= wakes;
	pthread_mutex_unlock(&workers->lock);
	if (wakes)
		sem_post(&workers->work);
}

/* Without threads: only what was queued before, as done may submit more. */
static int run_inline(struct workers *workers)
{
	struct list jobs, *node;
	int count = 0;

	list_init(&jobs);
	list_splice_back(&jobs, &workers->queued);
	while ((node = list_pop_front(&jobs))) {
		struct rt_job *job = container_of(node, struct rt_job, node);

		job->function(job->argument);
		workers->pending--;
		job->done(job);
		count++;
	}
	return count;
}

int workers_deliver(struct workers *workers)
{
	struct list ended, *node;
	int count = 0;

	if (workers->count == 0)
		return run_inline(workers);
	list_init(&ended);
	if (!stack_take(&workers->ended, &ended))
		return 0;
	if (atomic_load_explicit(&workers->broken, memory_order_relaxed)) {
		pthread_mutex_lock(&workers->lock);
		struct broken_check broken = workers->broken_check;

		atomic_store(&workers->broken, false);
		pthread_mutex_unlock(&workers->lock);
		pool_check_failed(broken.file, broken.line, broken.expression);
	}
	while ((node = list_pop_front(&ended))) {
		struct rt_job *job = container_of(node, struct rt_job, node);

		workers->pending--;
		job->done(job); /* may free the job or submit it again */
		count++;
	}
	return count;
}

unsigned workers_pending(const struct workers *workers)
{
	return workers->pending;
}

void workers_cancel(struct workers *workers)
{
	workers->pending = 0;
	pthread_mutex_lock(&workers->lock);
	list_init(&workers->queued);
	list_init(&workers->brief);
	atomic_store(&workers->brief_us, 0);
	while (workers->running > 0)
		pthread_cond_wait(&workers->quiet, &workers->lock);
	pthread_mutex_unlock(&workers->lock);
	atomic_store(&workers->ended.top, NULL);
}
