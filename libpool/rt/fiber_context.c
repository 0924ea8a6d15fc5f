/*
 * Stacks and switches, on the C entry points of libboost-context: a switch saves the callee-saved
 * registers and nothing else (swapcontext adds a system call for the signal mask, 40 times the cost).
 *
 * Below each stack lies a page without access, so that an overflow is a fault and never a silent write
 * into another fiber's stack. Stacks are mapped without reserve: a fiber costs the pages it touched.
 */
#include "libpool/rt/fiber_context.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

typedef void *fcontext_t;
typedef struct {
	fcontext_t fctx;
	void *data;
} transfer_t;

/* Exported by libboost-context, which has no header for C. */
transfer_t jump_fcontext(fcontext_t to, void *data);
fcontext_t make_fcontext(void *stack_top, size_t size, void (*function)(transfer_t));

static size_t guard_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

static void arrive_in_fiber(struct fiber_context *context, transfer_t from)
{
	context->loop->position = from.fctx;
	sanitizer_arrive(context->fake_stack, &context->loop->bottom, &context->loop->size);
}

static void first_entry(transfer_t from)
{
	struct fiber_context *context = from.data;

	arrive_in_fiber(context, from);
	context->entry(context->argument);
	__builtin_unreachable();
}

int fiber_context_init(struct fiber_context *context, void (*entry)(void *argument), void *argument)
{
	size_t guard = guard_size();
	char *mapping = mmap(NULL, guard + FIBER_STACK_SIZE, PROT_NONE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);

	if (mapping == MAP_FAILED)
		return -ENOMEM;
	if (mprotect(mapping + guard, FIBER_STACK_SIZE, PROT_READ | PROT_WRITE) < 0) {
		munmap(mapping, guard + FIBER_STACK_SIZE);
		return -ENOMEM;
	}
	char *bottom = mapping + guard, *top = bottom + FIBER_STACK_SIZE;

	*context = (struct fiber_context){
		.position = make_fcontext(top, FIBER_STACK_SIZE, first_entry),
		.stack = bottom,
		.entry = entry,
		.argument = argument,
		.thread = sanitizer_thread_new(),
		.stack_id = sanitizer_stack_register(bottom, top),
	};
	return 0;
}

void fiber_context_release(struct fiber_context *context)
{
	size_t guard = guard_size();

	sanitizer_discard(context->fake_stack);
	sanitizer_thread_free(context->thread);
	sanitizer_stack_deregister(context->stack_id);
	sanitizer_unpoison(context->stack, FIBER_STACK_SIZE);
	munmap(context->stack - guard, guard + FIBER_STACK_SIZE); /* can fail at the limit of maps: then it stays */
	context->stack = NULL;
}

void fiber_context_enter(struct fiber_context *context, struct loop_context *loop)
{
	context->loop = loop;
	loop->thread = sanitizer_thread_self();
	sanitizer_leave(&loop->fake_stack, context->stack, FIBER_STACK_SIZE);
	sanitizer_thread_switch(context->thread);
	transfer_t from = jump_fcontext(context->position, context);

	context->position = from.fctx;
	sanitizer_arrive(loop->fake_stack, NULL, NULL);
}

void fiber_context_leave(struct fiber_context *context)
{
	struct loop_context *loop = context->loop;

	sanitizer_leave(&context->fake_stack, loop->bottom, loop->size);
	sanitizer_thread_switch(loop->thread);
	transfer_t from = jump_fcontext(loop->position, NULL);

	arrive_in_fiber(context, from);
}
