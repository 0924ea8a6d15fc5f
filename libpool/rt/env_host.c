/*
 * The environment of a real process.
 *
 * `turn` belongs to who runs the engine: its own thread, or, while that waits, a thread that has borrowed it. The thread gives the turn away before it
 * waits and takes it again before it touches anything. It says first that it is awake, so that nobody borrows any more, and then waits for the turn.
 *
 * Sleeping and waking: `state` is AWAKE while the engine runs, SLEEPING while it is in ppoll, NOTIFIED
 * once somebody called wake since the engine last looked. wake sets NOTIFIED first and writes to the
 * eventfd only if it replaced SLEEPING, so an engine that runs costs its callers no system call; the
 * engine goes to sleep only by changing AWAKE to SLEEPING in one step, so no wake-up is lost between its
 * last look and ppoll. A write that comes after ppoll ended for another reason makes one later ppoll
 * return early, which does no harm. Where waits were short of late, it looks some times more before it sleeps (spin.h).
 */
#include "libpool/rt/env_host.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "libpool/base/check.h"
#include "libpool/base/slab.h"
#include "libpool/rt/spin.h"
#include "libpool/rt/workers.h"

#define DESCRIPTORS_MAX 64
/* How long to sleep at most when there are more sources than descriptors fit. */
#define CROWDED_SLEEP_NS NS_PER_MS
/* What is run at once by an engine that has other things to do: to make a worker do it takes as long. */
#define CHEAP_US 5u

/* LOOKING: as SLEEPING, but it sees itself when somebody calls wake. LENT: it was one of these, and another thread has borrowed it. */
enum { AWAKE, LOOKING, SLEEPING, LENT, NOTIFIED };

struct env_host {
	struct pool_env env;
	struct workers *workers;
	unsigned worker_count;
	struct list sources;
	struct list *next_source; /* the walk of poll_sources, so that callbacks may remove any source */
	int event_descriptor;
	atomic_int state;
	sem_t turn;
	/* Belong to the turn: how long the engine's thread wants to wait, and the state from before it was lent. */
	uint64_t until_ns;
	int lent_state;
	struct spin spin;
};

static struct env_host *host_of(struct pool_env *env)
{
	return container_of(env, struct env_host, env);
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec time;

	clock_gettime(clock, &time);
	return (uint64_t)time.tv_sec * NS_PER_S + (uint64_t)time.tv_nsec;
}

static uint64_t host_monotonic_ns(struct pool_env *env)
{
	(void)env;
	return clock_ns(CLOCK_MONOTONIC);
}

static uint64_t host_realtime_ns(struct pool_env *env)
{
	(void)env;
	return clock_ns(CLOCK_REALTIME);
}

static void host_random(struct pool_env *env, void *buffer, size_t size)
{
	char *next = buffer;

	(void)env;
	while (size > 0) {
		ssize_t got = getrandom(next, size, 0);

		if (got < 0 && errno == EINTR)
			continue;
		if (!POOL_CHECK(got > 0))
			return;
		next += got;
		size -= (size_t)got;
	}
}

static size_t host_choose(struct pool_env *env, size_t count)
{
	(void)env, (void)count;
	return 0;
}

static bool host_buggify(struct pool_env *env, const char *point)
{
	(void)env, (void)point;
	return false;
}

static void host_work(struct pool_env *env, struct rt_job *job)
{
	workers_submit(host_of(env)->workers, job);
}

static unsigned host_parallelism(struct pool_env *env)
{
	return host_of(env)->worker_count ? host_of(env)->worker_count : 1;
}

static void host_source_add(struct pool_env *env, struct rt_source *source)
{
	list_push_back(&host_of(env)->sources, &source->node);
}

static void host_source_remove(struct pool_env *env, struct rt_source *source)
{
	struct env_host *host = host_of(env);

	if (host->next_source == &source->node)
		host->next_source = source->node.next;
	list_remove(&source->node);
}

static void write_event(struct env_host *host)
{
	uint64_t one = 1;

	while (write(host->event_descriptor, &one, sizeof(one)) < 0 && errno == EINTR)
		continue;
}

/* Of an engine that is lent, who has borrowed it sees the notice. */
static void host_wake(struct pool_env *env)
{
	struct env_host *host = host_of(env);

	if (atomic_exchange(&host->state, NOTIFIED) == SLEEPING)
		write_event(host);
}

static void wake_by_worker(void *argument)
{
	host_wake(argument);
}

static int poll_sources(struct env_host *host)
{
	int completions = workers_deliver(host->workers);

	host->next_source = host->sources.next;
	while (host->next_source != &host->sources) {
		struct rt_source *source = container_of(host->next_source, struct rt_source, node);

		host->next_source = host->next_source->next;
		completions += source->poll(source);
	}
	host->next_source = NULL;
	return completions;
}

static bool host_lends(struct pool_env *env)
{
	int state = atomic_load(&host_of(env)->state);

	return state == SLEEPING || state == LOOKING;
}

static bool host_borrow(struct pool_env *env)
{
	struct env_host *host = host_of(env);

	if (!host_lends(env) || sem_trywait(&host->turn) < 0)
		return false;
	host->lent_state = atomic_load(&host->state);
	while (host->lent_state == SLEEPING || host->lent_state == LOOKING)
		if (atomic_compare_exchange_weak(&host->state, &host->lent_state, LENT))
			return true;
	sem_post(&host->turn);
	return false;
}

static bool host_may_keep(struct pool_env *env)
{
	return atomic_load(&host_of(env)->state) == LENT;
}

static void host_give_back(struct pool_env *env, bool busy, uint64_t until_ns)
{
	struct env_host *host = host_of(env);
	bool slept = host->lent_state == SLEEPING;
	int state = LENT;

	if (busy || until_ns < host->until_ns)
		state = atomic_exchange(&host->state, NOTIFIED);
	else if (atomic_compare_exchange_strong(&host->state, &state, host->lent_state))
		slept = false; /* and goes on with it */
	sem_post(&host->turn);
	if (slept && state != AWAKE)
		write_event(host);
}

static void host_wake_for_message(struct pool_env *env)
{
	if (atomic_load(&host_of(env)->state) != LENT)
		host_wake(env);
}

/* What the engine sleeps on: itself first, then its sources. */
static nfds_t descriptors_of(struct env_host *host, struct pollfd *descriptors, bool *ret_crowded)
{
	nfds_t count = 1;

	*ret_crowded = false;
	descriptors[0] = (struct pollfd){.fd = host->event_descriptor, .events = POLLIN};
	list_for_each(node, &host->sources) {
		struct rt_source *source = container_of(node, struct rt_source, node);

		if (source->descriptor < 0)
			continue;
		*ret_crowded = count == DESCRIPTORS_MAX;
		if (*ret_crowded)
			break;
		descriptors[count++] = (struct pollfd){.fd = source->descriptor, .events = POLLIN};
	}
	return count;
}

static bool still_waits(struct env_host *host)
{
	int state = atomic_load_explicit(&host->state, memory_order_relaxed);

	return state == LOOKING || state == LENT;
}

/*
 * Until something is readable, somebody calls wake, or the time has come; others may borrow the engine meanwhile. If `wait` is given, it looks for a
 * while before it sleeps.
 */
static void sleep_until(struct env_host *host, uint64_t until_ns, struct spin_wait *wait)
{
	struct pollfd descriptors[DESCRIPTORS_MAX];
	int awake = AWAKE, looking = LOOKING, unread = 0;
	uint64_t now = clock_ns(CLOCK_MONOTONIC), notified;
	bool crowded;
	nfds_t count = descriptors_of(host, descriptors, &crowded);

	/* Nothing else would tell that memory is no longer needed. */
	if (slab_kept() > SLAB_KEEP && until_ns > now + SLAB_SETTLE_NS)
		until_ns = now + SLAB_SETTLE_NS;
	slab_settle(now);
	if (crowded && until_ns > now + CROWDED_SLEEP_NS)
		until_ns = now + CROWDED_SLEEP_NS;
	host->until_ns = until_ns;
	bool looks = wait && spin_again(wait);

	if (until_ns <= now || !atomic_compare_exchange_strong(&host->state, &awake, looks ? LOOKING : SLEEPING))
		return;
	sem_post(&host->turn);
	while (looks && still_waits(host) && spin_again(wait))
		continue;
	if (!looks || atomic_compare_exchange_strong(&host->state, &looking, SLEEPING)) {
		bool forever = until_ns == UINT64_MAX;
		uint64_t duration = 0;

		if (looks)
			now = clock_ns(CLOCK_MONOTONIC);
		if (until_ns > now)
			duration = until_ns - now;
		struct timespec timeout = {.tv_sec = (time_t)(duration / NS_PER_S), .tv_nsec = (long)(duration % NS_PER_S)};

		if (ppoll(descriptors, count, forever ? NULL : &timeout, NULL) > 0 && descriptors[0].revents &&
		    read(host->event_descriptor, &notified, sizeof(notified)) < 0)
			unread = errno;
	}
	atomic_exchange(&host->state, AWAKE); /* from here on nobody borrows */
	while (sem_wait(&host->turn) < 0 && errno == EINTR)
		continue;
	POOL_CHECK(unread == 0 || unread == EAGAIN || unread == EINTR);
}

/* Whether somebody has called wake, which is then forgotten: what is posted after it sets NOTIFIED again. */
static bool take_notice(struct env_host *host)
{
	if (atomic_load_explicit(&host->state, memory_order_relaxed) != NOTIFIED)
		return false;
	atomic_exchange(&host->state, AWAKE);
	return true;
}

static bool sources_may_sleep(struct env_host *host)
{
	list_for_each(node, &host->sources) {
		struct rt_source *source = container_of(node, struct rt_source, node);

		if (source->before_sleep && !source->before_sleep(source))
			return false;
	}
	return true;
}

static bool look_again(struct env_host *host, struct spin_wait *wait, uint64_t until_ns)
{
	while (spin_again(wait)) {
		if (take_notice(host)) {
			poll_sources(host);
			return true;
		}
		if (poll_sources(host) > 0 || (until_ns != UINT64_MAX && clock_ns(CLOCK_MONOTONIC) >= until_ns))
			return true;
	}
	return false;
}

static void host_wait(struct pool_env *env, uint64_t until_ns)
{
	struct env_host *host = host_of(env);
	bool notified = take_notice(host);
	struct spin_wait wait;

	if (poll_sources(host) > 0 || notified || until_ns == 0) {
		if (!workers_help(host->workers, CHEAP_US))
			workers_rouse(host->workers);
		return;
	}
	if (workers_help(host->workers, UINT_MAX))
		return;
	/* Without anything on its way only other threads can bring something, and they may want to borrow the engine. */
	bool idle = rt_io_in_flight(env->rt) == 0 && workers_pending(host->workers) == 0;

	spin_begin(&wait, &host->spin);
	if (idle || !look_again(host, &wait, until_ns)) {
		if (sources_may_sleep(host))
			sleep_until(host, until_ns, idle ? &wait : NULL);
		atomic_exchange(&host->state, AWAKE);
		poll_sources(host);
	}
	spin_end(&wait);
}

static void host_work_cancel(struct pool_env *env)
{
	workers_cancel(host_of(env)->workers);
}

static const struct pool_env_ops host_ops = {
	.monotonic_ns = host_monotonic_ns,
	.realtime_ns = host_realtime_ns,
	.random = host_random,
	.choose = host_choose,
	.buggify = host_buggify,
	.work = host_work,
	.parallelism = host_parallelism,
	.source_add = host_source_add,
	.source_remove = host_source_remove,
	.wait = host_wait,
	.wake = host_wake,
	.wake_for_message = host_wake_for_message,
	.borrow = host_borrow,
	.lends = host_lends,
	.may_keep = host_may_keep,
	.give_back = host_give_back,
	.work_cancel = host_work_cancel,
};

int env_host_new(unsigned workers, struct pool_env **ret_env)
{
	struct env_host *host = calloc(1, sizeof(*host));
	int result;

	if (!host)
		return -ENOMEM;
	host->env.ops = &host_ops;
	host->worker_count = workers;
	list_init(&host->sources);
	sem_init(&host->turn, 0, 0);
	host->event_descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	result = host->event_descriptor < 0 ? -errno : 0;
	if (result == 0)
		result = workers_new(workers, wake_by_worker, &host->env, &host->workers);
	if (result < 0) {
		if (host->event_descriptor >= 0)
			close(host->event_descriptor);
		free(host);
		return result;
	}
	*ret_env = &host->env;
	return 0;
}

void env_host_free(struct pool_env *env)
{
	if (!env)
		return;
	struct env_host *host = host_of(env);

	workers_free(host->workers);
	sem_destroy(&host->turn);
	close(host->event_descriptor);
	free(host);
}
