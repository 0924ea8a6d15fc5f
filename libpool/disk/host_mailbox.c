/*
 * What helper threads have done, on its way to the engine.
 *
 * What must always hold: each mail is either run in the engine's thread or orphaned, once; the engine's rt is
 * touched only under the lock and only while it is set, so a helper that comes back late finds out that
 * the engine is gone instead of waking it.
 */
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "libpool/disk/host_private.h"

static int mailbox_poll(struct rt_source *source)
{
	struct host_mailbox *mailbox = container_of(source, struct host_mailbox, source);
	struct list mails, *node;
	int count = 0;

	list_init(&mails);
	pthread_mutex_lock(&mailbox->lock);
	list_splice_back(&mails, &mailbox->mails);
	pthread_mutex_unlock(&mailbox->lock);
	while ((node = list_pop_front(&mails))) {
		struct host_mail *mail = container_of(node, struct host_mail, node);

		mail->run(mail);
		count++;
	}
	return count;
}

int host_mailbox_new(struct rt *rt, struct host_mailbox **ret_mailbox)
{
	struct host_mailbox *mailbox = calloc(1, sizeof(*mailbox));

	if (!mailbox)
		return -ENOMEM;
	pthread_mutex_init(&mailbox->lock, NULL);
	pthread_cond_init(&mailbox->fewer_threads, NULL);
	list_init(&mailbox->mails);
	mailbox->rt = rt;
	mailbox->engine = pthread_self();
	mailbox->references = 1;
	mailbox->source.poll = mailbox_poll;
	mailbox->source.descriptor = -1; /* wakes instead */
	rt_env(rt)->ops->source_add(rt_env(rt), &mailbox->source);
	*ret_mailbox = mailbox;
	return 0;
}

struct host_mailbox *host_mailbox_ref(struct host_mailbox *mailbox)
{
	pthread_mutex_lock(&mailbox->lock);
	mailbox->references++;
	pthread_mutex_unlock(&mailbox->lock);
	return mailbox;
}

void host_mailbox_unref(struct host_mailbox *mailbox)
{
	pthread_mutex_lock(&mailbox->lock);
	bool last = --mailbox->references == 0;

	pthread_mutex_unlock(&mailbox->lock);
	if (!last)
		return;
	pthread_cond_destroy(&mailbox->fewer_threads);
	pthread_mutex_destroy(&mailbox->lock);
	free(mailbox);
}

void host_mailbox_post(struct host_mailbox *mailbox, struct host_mail *mail)
{
	bool wakes, orphaned;

	pthread_mutex_lock(&mailbox->lock);
	orphaned = !mailbox->rt;
	wakes = !orphaned && list_empty(&mailbox->mails);
	if (!orphaned)
		list_push_back(&mailbox->mails, &mail->node);
	if (wakes)
		rt_env(mailbox->rt)->ops->wake(rt_env(mailbox->rt));
	pthread_mutex_unlock(&mailbox->lock);
	if (orphaned)
		mail->orphaned(mail);
}

void host_mailbox_close(struct host_mailbox *mailbox)
{
	struct list mails, *node;

	list_init(&mails);
	rt_env(mailbox->rt)->ops->source_remove(rt_env(mailbox->rt), &mailbox->source);
	pthread_mutex_lock(&mailbox->lock);
	mailbox->rt = NULL;
	list_splice_back(&mails, &mailbox->mails);
	pthread_mutex_unlock(&mailbox->lock);
	while ((node = list_pop_front(&mails))) {
		struct host_mail *mail = container_of(node, struct host_mail, node);

		mail->orphaned(mail);
	}
	host_mailbox_unref(mailbox);
}

/* ---- threads ---- */

struct thread_start {
	struct host_mailbox *mailbox;
	void (*function)(void *argument);
	void *argument;
};

static void *thread_main(void *argument)
{
	struct thread_start start = *(struct thread_start *)argument;

	free(argument);
	start.function(start.argument);
	pthread_mutex_lock(&start.mailbox->lock);
	start.mailbox->threads--;
	pthread_cond_broadcast(&start.mailbox->fewer_threads);
	pthread_mutex_unlock(&start.mailbox->lock);
	host_mailbox_unref(start.mailbox);
	return NULL;
}

/*
 * Processors and policy as the engine's thread has them: a request may be started by a thread of the host, and a disk's threads live on when that is
 * done. The lock is held.
 */
static void take_scheduling(pthread_attr_t *attributes, const struct host_mailbox *mailbox)
{
	struct sched_param parameters;
	cpu_set_t processors;
	int policy;

	if (!mailbox->rt || pthread_equal(mailbox->engine, pthread_self()))
		return;
	if (pthread_getaffinity_np(mailbox->engine, sizeof(processors), &processors) == 0)
		pthread_attr_setaffinity_np(attributes, sizeof(processors), &processors);
	if (pthread_getschedparam(mailbox->engine, &policy, &parameters) == 0 && pthread_attr_setschedpolicy(attributes, policy) == 0 &&
	    pthread_attr_setschedparam(attributes, &parameters) == 0)
		pthread_attr_setinheritsched(attributes, PTHREAD_EXPLICIT_SCHED);
}

int host_thread_start(struct host_mailbox *mailbox, void (*function)(void *argument), void *argument)
{
	struct thread_start *start = malloc(sizeof(*start));
	sigset_t all, before;
	pthread_attr_t attributes;
	pthread_t thread;
	int result;

	if (!start)
		return -EAGAIN;
	*start = (struct thread_start){mailbox, function, argument};
	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, 1 << 20);
	pthread_mutex_lock(&mailbox->lock);
	mailbox->references++;
	mailbox->threads++;
	take_scheduling(&attributes, mailbox);
	pthread_mutex_unlock(&mailbox->lock);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	result = pthread_create(&thread, &attributes, thread_main, start);
	if (result == EPERM) { /* a policy that only the host itself may set */
		pthread_attr_setinheritsched(&attributes, PTHREAD_INHERIT_SCHED);
		result = pthread_create(&thread, &attributes, thread_main, start);
	}
	pthread_attr_destroy(&attributes);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (result == 0)
		return 0;
	free(start);
	pthread_mutex_lock(&mailbox->lock);
	mailbox->threads--;
	pthread_mutex_unlock(&mailbox->lock);
	host_mailbox_unref(mailbox);
	return -EAGAIN;
}

void host_threads_settle(struct host_mailbox *mailbox, unsigned milliseconds)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += (long)(milliseconds % 1000) * 1000000;
	until.tv_sec += milliseconds / 1000 + until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&mailbox->lock);
	while (mailbox->threads > 0 &&
	       pthread_cond_timedwait(&mailbox->fewer_threads, &mailbox->lock, &until) != ETIMEDOUT)
		continue;
	pthread_mutex_unlock(&mailbox->lock);
}
