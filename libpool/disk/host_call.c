/*
 * A blocking function in a thread of its own, for a fiber. A device that doesn't answer keeps the thread,
 * not the fiber: after half a minute the fiber goes on and the thread cleans up when it comes back.
 *
 * Half a minute in slices, as for requests (disk.c): a process that was stopped, or a machine that slept, has waited for one
 * slice at most. Or a disk that has answered long ago would count as one that isn't there.
 */
#include "libpool/disk/host_private.h"

#define CALL_DEADLINE_NS (30 * NS_PER_S)
#define CALL_SLICES 8

static void call_thread(void *argument)
{
	struct host_call *call = argument;

	call->function(call);
	host_mailbox_post(call->mailbox, &call->mail);
}

static void call_ended(struct host_mail *mail)
{
	struct host_call *call = container_of(mail, struct host_call, mail);

	if (call->given_up) {
		call->discard(call);
		return;
	}
	call->finished = true;
	rt_queue_wake_all(call->mailbox->rt, &call->queue);
}

static void call_orphaned(struct host_mail *mail)
{
	struct host_call *call = container_of(mail, struct host_call, mail);

	call->discard(call);
}

int host_call_run(struct rt *rt, struct host_mailbox *mailbox, struct host_call *call)
{
	call->mail.run = call_ended;
	call->mail.orphaned = call_orphaned;
	call->mailbox = mailbox;
	rt_queue_init(&call->queue);
	if (host_thread_start(mailbox, call_thread, call) < 0) {
		call->discard(call);
		return -EAGAIN;
	}
	for (unsigned slice = 0; slice < CALL_SLICES && !call->finished; slice++) {
		uint64_t until_ns = rt_now(rt) + CALL_DEADLINE_NS / CALL_SLICES;

		while (!call->finished && rt_queue_wait_until(rt, &call->queue, until_ns))
			continue;
	}
	call->given_up = !call->finished;
	return call->finished ? 0 : -ETIMEDOUT;
}
