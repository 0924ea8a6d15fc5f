/*
 * Queues of asynchronous requests.
 *
 * A request travels in a slot: free -> submitted (by any thread) -> ready (the engine has seen it) -> with a fiber -> completed
 * -> reaped, which makes it free again. All that one submission brings, and all that comes while the engine is busy,
 * arrives there as one message; fibers then take slot after slot, so that a request that needn't wait costs neither a fiber
 * nor a switch, and disk requests of one turn go to the kernel together. What completes in one turn of the engine is handed back
 * together, by the fiber that was first, and who reaps is woken once for it.
 *
 * Both ways lead over a stack that one side pushes on with one compare-and-swap and the other takes whole, so callers and the engine don't wait
 * for each other: the lock is the callers' own. The engine takes it only to wake somebody, or for the descriptor: it pushes, then looks
 * whether that is wanted; who wants it says so, then looks at the stack. So one of them sees the other.
 *
 * What must always hold: a submitted slot counts as a call of its pool and its volume until it has completed, so
 * neither goes away under it; slots, fibers and the message, which is on its way only while something submitted is in the stack, are gone before the queue
 * is. The descriptor is readable if and only if there are completions, from the moment somebody asks for it.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "libpool/base/stack.h"
#include "libpool/pool/api_piece.h"

#define DEPTH_DEFAULT 256u
#define DEPTH_MAX 4096u
#define BYTES_DEFAULT (UINT64_C(64) << 20)
#define FIBERS_MAX 1024u /* of one queue, at a time */
#define FEW_BLOCKS 6u    /* without an allocation */
#define REAP_BATCH 64u
#define END_BATCH 64u
#define LOOK_DEPTH 2u           /* with more in the queue a wake-up is for several */
#define LOOK_NS UINT64_C(1000000) /* who gives less time sleeps */

struct slot {
	struct list node;
	struct libpool_volume *volume;
	uint32_t operation;
	bool fua;
	uint64_t offset, length, cookie;
	int result;
	struct iovec memory;
	struct piece piece;
	struct buffer *few[FEW_BLOCKS];
};

struct libpool_queue {
	struct libpool_pool *pool;
	uint64_t bytes_max;
	int descriptor;
	struct stack submitted, ended; /* slots */
	struct api_calls running; /* slots that are accepted and not completed, and fibers */
	atomic_uint waiting;      /* reapers that sleep, or are about to */
	atomic_bool signals;      /* the descriptor is of interest to somebody */
	atomic_bool closing;      /* changes under the lock */
	pthread_mutex_t lock;     /* of what follows, up to the engine's */
	pthread_cond_t completes; /* something completed, or the queue is being closed */
	pthread_cond_t quiet;     /* while closing: whatever it waits for has changed */
	struct list free, completed;
	uint64_t bytes;           /* of all slots that aren't free */
	unsigned used;            /* slots that aren't free */
	unsigned reapers;
	bool signalled;           /* the descriptor is readable */
	struct spin spin;         /* of reapers that wait for one of a few */
	/* Engine thread. */
	struct rt_message message;
	struct list ready, done;
	unsigned ready_count, done_count, fibers;
	unsigned fibers_ended;    /* and still counted in `fibers` */
	bool handing_back;        /* a fiber is about to */
	struct slot slots[];
};

static bool transfers(const struct slot *slot)
{
	return slot->length && (slot->operation == LIBPOOL_READ || slot->operation == LIBPOOL_WRITE);
}

static uint64_t bytes_of(const struct slot *slot)
{
	return transfers(slot) ? slot->length : 0;
}

/* ---- completions ---- */

static void end_calls(struct libpool_queue *queue)
{
	struct libpool_volume *volumes[END_BATCH];
	unsigned count = 0;

	list_for_each(node, &queue->done) {
		volumes[count++] = container_of(node, struct slot, node)->volume;
		if (count < END_BATCH)
			continue;
		api_end_several(queue->pool, volumes, count);
		count = 0;
	}
	if (count)
		api_end_several(queue->pool, volumes, count);
}

/* Under the lock. */
static bool has_completed(struct libpool_queue *queue)
{
	return !list_empty(&queue->completed) || !stack_empty(&queue->ended);
}

/* Under the lock. */
static void update_descriptor(struct libpool_queue *queue)
{
	bool wanted = atomic_load(&queue->signals) && has_completed(queue);
	eventfd_t value;

	if (wanted == queue->signalled)
		return;
	queue->signalled = wanted;
	if (wanted)
		eventfd_write(queue->descriptor, 1);
	else
		eventfd_read(queue->descriptor, &value);
}

/* So many more have completed. */
static void wake_reapers(struct libpool_queue *queue, unsigned count)
{
	if (!atomic_load(&queue->waiting) && !atomic_load(&queue->signals))
		return;
	pthread_mutex_lock(&queue->lock);
	update_descriptor(queue);
	if (count > 1 && atomic_load(&queue->waiting) > 1)
		pthread_cond_broadcast(&queue->completes);
	else
		pthread_cond_signal(&queue->completes);
	pthread_mutex_unlock(&queue->lock);
}

/* Engine thread: all that is done, and the fibers that have ended. Their calls end first: a slot is somebody else's as soon as it is reaped. */
static void hand_back(struct libpool_queue *queue)
{
	unsigned count = queue->done_count, ended = count + queue->fibers_ended;

	queue->fibers -= queue->fibers_ended;
	queue->done_count = queue->fibers_ended = 0;
	if (count) {
		end_calls(queue);
		(void)stack_push_list(&queue->ended, &queue->done);
		wake_reapers(queue, count);
	}
	api_calls_end(&queue->running, ended, &queue->lock, &queue->quiet); /* the queue may be gone */
}

/* ---- the engine's side ---- */

static int serve(struct libpool_queue *queue, struct slot *slot)
{
	struct volume *volume = slot->volume->user.volume;
	int result = 0;

	switch (slot->operation) {
	case LIBPOOL_READ:
	case LIBPOOL_WRITE:
		if (slot->length)
			result = piece_run(&slot->piece, queue->pool->thread->rt);
		else
			result = slot->offset > volume_record(volume)->volume_size ? -EINVAL : 0;
		break;
	case LIBPOOL_ZERO:
		result = volume_zero(volume, slot->offset, slot->length);
		break;
	case LIBPOOL_TRIM:
		result = volume_trim(volume, slot->offset, slot->length);
		break;
	default:
		return volume_flush(volume);
	}
	return result == 0 && slot->fua ? volume_flush(volume) : result;
}

static struct slot *take_ready(struct libpool_queue *queue)
{
	struct list *node = list_pop_front(&queue->ready);

	if (!node)
		return NULL;
	queue->ready_count--;
	return container_of(node, struct slot, node);
}

static void serve_one(struct libpool_queue *queue, struct slot *slot, int result)
{
	slot->result = queue->closing ? -ECANCELED : result < 0 ? result : serve(queue, slot);
	list_push_back(&queue->done, &slot->node);
	queue->done_count++;
}

/* Nothing that is done waits for a request that isn't: who hands back lets others run once, and takes nothing before it has. */
static void serving_fiber(void *argument)
{
	struct libpool_queue *queue = argument;
	struct rt *rt = queue->pool->thread->rt;
	struct slot *slot = take_ready(queue);

	while (slot) {
		serve_one(queue, slot, 0);
		if (queue->handing_back) {
			slot = take_ready(queue);
			continue;
		}
		queue->handing_back = true;
		if (rt_others_run(rt))
			rt_yield(rt);
		queue->handing_back = false;
		slot = take_ready(queue);
		queue->fibers_ended += !slot;
		hand_back(queue);
		if (!slot)
			return;
	}
	queue->fibers_ended++;
	if (!queue->handing_back)
		hand_back(queue);
}

static void arrive(struct rt_message *message)
{
	struct libpool_queue *queue = container_of(message, struct libpool_queue, message);
	struct rt *rt = queue->pool->thread->rt;
	unsigned wanted = FIBERS_MAX - queue->fibers;
	struct slot *slot;

	queue->ready_count += stack_take(&queue->submitted, &queue->ready);
	wanted = wanted < queue->ready_count ? wanted : queue->ready_count;
	queue->fibers += wanted;
	api_calls_add(&queue->running, wanted);
	while (wanted && rt_spawn(rt, "queue", serving_fiber, queue) == 0)
		wanted--;
	if (!wanted)
		return;
	/* No memory for as many fibers: those that there are do it, one after the other. */
	queue->fibers -= wanted;
	api_calls_end(&queue->running, wanted, &queue->lock, &queue->quiet); /* not the last: slots are counted, too */
	if (queue->fibers)
		return;
	while ((slot = take_ready(queue)))
		serve_one(queue, slot, -ENOMEM);
	hand_back(queue);
}

/* ---- submitting ---- */

/* What is wrong with the request by itself; fills the slot. */
static int take_request(struct slot *slot, const struct libpool_request *request)
{
	uint64_t room = request->length;

	if (!request->volume || request->operation < LIBPOOL_READ || request->operation > LIBPOOL_TRIM || request->flags & ~LIBPOOL_FUA)
		return -EINVAL;
	slot->volume = request->volume;
	slot->operation = request->operation;
	slot->fua = request->flags & LIBPOOL_FUA;
	slot->offset = request->offset;
	slot->length = request->length;
	slot->cookie = request->cookie;
	if (slot->fua && slot->operation != LIBPOOL_WRITE && slot->operation != LIBPOOL_ZERO)
		return -EINVAL;
	if (slot->operation == LIBPOOL_FLUSH && (slot->offset || slot->length))
		return -EINVAL;
	if (slot->offset > VOLUME_SIZE_MAX || slot->length > VOLUME_SIZE_MAX - slot->offset)
		return -EINVAL;
	if (slot->volume->read_only && slot->operation != LIBPOOL_READ && slot->operation != LIBPOOL_FLUSH)
		return -EROFS;
	if (!transfers(slot))
		return 0;
	if (slot->length > LIBPOOL_REQUEST_MAX)
		return -E2BIG;
	if (request->iov) {
		room = 0;
		for (uint32_t i = 0; i < request->iov_count; i++)
			room += request->iov[i].iov_len < LIBPOOL_REQUEST_MAX ? request->iov[i].iov_len : LIBPOOL_REQUEST_MAX;
	} else if (!request->buffer) {
		room = 0;
	}
	slot->memory = (struct iovec){request->buffer, (size_t)slot->length};
	slot->piece.iov = request->iov ? request->iov : &slot->memory;
	return room < slot->length ? -EINVAL : 0;
}

/* The piece of a transfer. */
static int prepare(struct slot *slot)
{
	size_t blocks = piece_blocks(slot->volume, slot->length);
	struct piece *piece = &slot->piece;
	int result;

	piece->volume = slot->volume;
	piece->begin = slot->offset;
	piece->end = piece->limit = slot->offset + slot->length;
	piece->skip = 0;
	piece->write = slot->operation == LIBPOOL_WRITE;
	piece->blocks = blocks <= FEW_BLOCKS ? slot->few : malloc(blocks * sizeof(struct buffer *));
	result = piece->blocks ? piece_prepare(piece) : -ENOMEM;
	if (result < 0 && piece->blocks != slot->few)
		free(piece->blocks);
	return result;
}

static void finish(struct slot *slot)
{
	if (!transfers(slot))
		return;
	piece_finish(&slot->piece, slot->result);
	if (slot->piece.blocks != slot->few)
		free(slot->piece.blocks);
}

static struct slot *slot_take(struct libpool_queue *queue, const struct slot *like)
{
	struct slot *slot = NULL;

	pthread_mutex_lock(&queue->lock);
	if (!list_empty(&queue->free) && (queue->used == 0 || queue->bytes + bytes_of(like) <= queue->bytes_max)) {
		slot = container_of(list_pop_front(&queue->free), struct slot, node);
		queue->used++;
		queue->bytes += bytes_of(like);
	}
	pthread_mutex_unlock(&queue->lock);
	return slot;
}

/* Under the lock. */
static void slot_give(struct libpool_queue *queue, struct slot *slot)
{
	list_push_front(&queue->free, &slot->node); /* the warmest first */
	queue->used--;
	queue->bytes -= bytes_of(slot);
}

static int accept_one(struct libpool_queue *queue, const struct libpool_request *given, struct slot **ret_slot)
{
	struct libpool_request request;
	struct slot *slot, asked = {.length = 0};
	int result = api_options_copy(&request, sizeof(request), given);

	if (result == 0)
		result = take_request(&asked, &request);
	if (result == 0 && asked.volume->pool != queue->pool)
		result = -EINVAL;
	if (result < 0)
		return result;
	slot = slot_take(queue, &asked);
	if (!slot)
		return -EAGAIN;
	(void)take_request(slot, &request);
	result = api_calls_begin(&queue->running, 1) ? api_begin(queue->pool, slot->volume) : -ECANCELED;
	if (result == 0 && transfers(slot)) {
		result = prepare(slot);
		if (result < 0)
			api_end(queue->pool, slot->volume);
	}
	if (result < 0) {
		if (result != -ECANCELED)
			api_calls_end(&queue->running, 1, &queue->lock, &queue->quiet);
		pthread_mutex_lock(&queue->lock);
		slot_give(queue, slot);
		pthread_mutex_unlock(&queue->lock);
		return result;
	}
	*ret_slot = slot;
	return 0;
}

/* All at once, with one message unless one is on its way. Others may have reaped all of it, and closed the queue, when this returns. */
static void hand_over(struct libpool_queue *queue, struct list *accepted)
{
	struct rt *rt = queue->pool->thread->rt;

	if (stack_push_list(&queue->submitted, accepted))
		rt_post(rt, &queue->message);
}

int libpool_queue_submit(libpool_queue *queue, const struct libpool_request *requests, size_t count)
{
	const char *at = (const char *)requests;
	struct libpool_pool *pool;
	struct list accepted;
	struct slot *slot;
	unsigned number = 0;
	int result;

	if (!queue || !requests)
		return -EINVAL;
	/* The call keeps the engine's thread until the message has been handed over. */
	pool = queue->pool;
	result = api_begin(pool, NULL);
	if (result < 0)
		return result;
	list_init(&accepted);
	while (number < count && number < DEPTH_MAX) {
		result = accept_one(queue, (const struct libpool_request *)(const void *)at, &slot);
		if (result < 0)
			break;
		list_push_back(&accepted, &slot->node);
		number++;
		at += requests->size;
	}
	if (number)
		hand_over(queue, &accepted);
	api_end(pool, NULL);
	return number ? (int)number : result;
}

/* ---- reaping ---- */

/* Under the lock, which it lets go of: of few requests the next one may complete sooner than a thread falls asleep and is woken. */
static void look_for_completion(struct libpool_queue *queue, struct spin_wait *wait)
{
	pthread_mutex_unlock(&queue->lock);
	if (api_begin(queue->pool, NULL) == 0) { /* so that its thread is there */
		struct api_thread *thread = queue->pool->thread;

		if (api_look_begin(thread))
			while (stack_empty(&queue->ended) && !queue->closing && spin_again(wait))
				continue;
		api_look_end(thread);
		api_end(queue->pool, NULL);
	}
	pthread_mutex_lock(&queue->lock);
}

/* Under the lock, until there is something or the time has come. */
static int wait_for_completion(struct libpool_queue *queue, uint64_t timeout_ns)
{
	bool looks = queue->used <= LOOK_DEPTH && timeout_ns >= LOOK_NS;
	struct spin_wait wait;
	struct timespec until;
	int result = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	/* Longer than anything lives, and short enough for a time_t. */
	if (timeout_ns > UINT64_MAX / 4)
		timeout_ns = UINT64_MAX / 4;
	until.tv_sec += (time_t)(timeout_ns / NS_PER_S);
	until.tv_nsec += (long)(timeout_ns % NS_PER_S);
	if (until.tv_nsec >= (long)NS_PER_S) {
		until.tv_nsec -= (long)NS_PER_S;
		until.tv_sec++;
	}
	queue->reapers++;
	if (looks) {
		spin_begin(&wait, &queue->spin);
		look_for_completion(queue, &wait);
	}
	atomic_fetch_add(&queue->waiting, 1);
	while (!has_completed(queue) && !queue->closing && result == 0)
		result = pthread_cond_timedwait(&queue->completes, &queue->lock, &until);
	atomic_fetch_sub(&queue->waiting, 1);
	if (looks)
		spin_end(&wait);
	queue->reapers--;
	if (queue->closing) {
		pthread_cond_signal(&queue->quiet);
		return -ECANCELED;
	}
	return 0;
}

static unsigned take_completed(struct libpool_queue *queue, struct slot **slots, size_t count)
{
	unsigned taken = 0;

	(void)stack_take(&queue->ended, &queue->completed);
	while (taken < count && taken < REAP_BATCH && !list_empty(&queue->completed))
		slots[taken++] = container_of(list_pop_front(&queue->completed), struct slot, node);
	update_descriptor(queue);
	return taken;
}

static unsigned reap_batch(struct libpool_queue *queue, struct libpool_completion *completions, size_t count)
{
	struct slot *slots[REAP_BATCH];
	unsigned taken = take_completed(queue, slots, count);

	if (!taken)
		return 0;
	queue->reapers++;
	pthread_mutex_unlock(&queue->lock);
	for (unsigned i = 0; i < taken; i++) {
		finish(slots[i]);
		completions[i] = (struct libpool_completion){slots[i]->cookie, slots[i]->result, 0};
	}
	pthread_mutex_lock(&queue->lock);
	for (unsigned i = 0; i < taken; i++)
		slot_give(queue, slots[i]);
	queue->reapers--;
	if (queue->closing)
		pthread_cond_signal(&queue->quiet);
	return taken;
}

int libpool_queue_reap(libpool_queue *queue, struct libpool_completion *ret_completions, size_t count, uint64_t timeout_ns)
{
	unsigned taken = 0, batch;
	int result = 0;

	if (!queue || !ret_completions || count == 0)
		return -EINVAL;
	count = count < DEPTH_MAX ? count : DEPTH_MAX;
	pthread_mutex_lock(&queue->lock);
	if (timeout_ns && !has_completed(queue))
		result = wait_for_completion(queue, timeout_ns);
	while (result == 0 && taken < count && (batch = reap_batch(queue, ret_completions + taken, count - taken)))
		taken += batch;
	pthread_mutex_unlock(&queue->lock);
	return taken ? (int)taken : result;
}

int libpool_queue_descriptor(libpool_queue *queue)
{
	if (!queue)
		return -EINVAL;
	pthread_mutex_lock(&queue->lock);
	atomic_store(&queue->signals, true);
	update_descriptor(queue);
	pthread_mutex_unlock(&queue->lock);
	return queue->descriptor;
}

/* ---- life ---- */

static struct libpool_queue *queue_new(struct libpool_pool *pool, const struct libpool_queue_options *options)
{
	unsigned depth = options->depth ? options->depth : DEPTH_DEFAULT;
	struct libpool_queue *queue = calloc(1, sizeof(*queue) + depth * sizeof(struct slot));
	pthread_condattr_t attributes;

	if (!queue)
		return NULL;
	queue->descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (queue->descriptor < 0) {
		free(queue);
		return NULL;
	}
	queue->pool = pool;
	queue->bytes_max = options->bytes ? options->bytes : BYTES_DEFAULT;
	queue->message.run = arrive;
	list_init(&queue->free);
	list_init(&queue->completed);
	list_init(&queue->ready);
	list_init(&queue->done);
	for (unsigned i = 0; i < depth; i++)
		list_push_back(&queue->free, &queue->slots[i].node);
	pthread_mutex_init(&queue->lock, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&queue->completes, &attributes);
	pthread_cond_init(&queue->quiet, &attributes);
	pthread_condattr_destroy(&attributes);
	return queue;
}

int libpool_queue_open(libpool_pool *pool, const struct libpool_queue_options *options, libpool_queue **ret_queue,
		       struct libpool_error *error)
{
	struct libpool_queue_options copy;
	struct pool_error local = {0};
	struct libpool_queue *queue;
	int result = pool && ret_queue ? api_options_copy(&copy, sizeof(copy), options) : -EINVAL;

	if (result == 0 && copy.depth > DEPTH_MAX)
		result = pool_error_set(&local, -EINVAL, "a queue of depth %u is not possible: at most %u", copy.depth, DEPTH_MAX);
	if (result == 0)
		result = api_begin(pool, NULL);
	if (result < 0)
		return api_error(error, result, &local);
	queue = queue_new(pool, &copy);
	if (queue)
		api_pool_ref(pool);
	else
		result = errno == EMFILE || errno == ENFILE ? -errno : -ENOMEM;
	api_end(pool, NULL);
	if (result < 0)
		return api_error(error, result, NULL);
	*ret_queue = queue;
	return 0;
}

void libpool_queue_close(libpool_queue *queue)
{
	struct list *node;

	if (!queue)
		return;
	pthread_mutex_lock(&queue->lock);
	queue->closing = true;
	pthread_cond_broadcast(&queue->completes);
	api_calls_close(&queue->running);
	api_calls_wait(&queue->running, &queue->lock, &queue->quiet);
	while (queue->reapers)
		pthread_cond_wait(&queue->quiet, &queue->lock);
	pthread_mutex_unlock(&queue->lock);
	(void)stack_take(&queue->ended, &queue->completed);
	while ((node = list_pop_front(&queue->completed))) {
		struct slot *slot = container_of(node, struct slot, node);

		slot->result = -ECANCELED; /* nothing is copied */
		finish(slot);
	}
	pthread_cond_destroy(&queue->quiet);
	pthread_cond_destroy(&queue->completes);
	pthread_mutex_destroy(&queue->lock);
	close(queue->descriptor);
	api_pool_unref(queue->pool);
	free(queue);
}
