/*
 * The same thing done to many disks at a time. Without memory for another fiber it is done in the caller's, so that
 * lack of memory is never mistaken for a disk that fails.
 */
#include <stdlib.h>

#include "libpool/txg/internal.h"

struct each_item {
	struct rt *rt;
	struct rt_group *group;
	int (*run)(void *argument, unsigned index);
	void *argument;
	unsigned index;
	int *status;
};

static void item_fiber(void *argument)
{
	struct each_item *item = argument;

	*item->status = item->run(item->argument, item->index);
	rt_group_done(item->rt, item->group, 0);
}

void run_each(struct rt *rt, const char *name, unsigned count, int (*run)(void *argument, unsigned index), void *argument,
	      int *ret_status)
{
	struct each_item *items = calloc(count ? count : 1, sizeof(*items));
	struct rt_group group;

	rt_group_init(&group);
	for (unsigned i = 0; i < count; i++) {
		if (items) {
			items[i] = (struct each_item){ rt, &group, run, argument, i, &ret_status[i] };
			rt_group_add(&group);
			if (rt_spawn(rt, name, item_fiber, &items[i]) == 0)
				continue;
			rt_group_done(rt, &group, 0);
		}
		ret_status[i] = run(argument, i);
	}
	if (group.pending)
		(void)rt_group_wait(rt, &group);
	free(items);
}
