/* SPDX-License-Identifier: BSD-2-Clause */
/* Blocks that are written ahead of their txg's sync: what would be stored of them, and the day the sync takes them. */
#include <errno.h>
#include <stdlib.h>

#include "libpool/block/block_internal.h"

#define INLINE_CELLS_MAX 16u /* hashed in less time than a flush would wait for a worker */

struct ahead_job {
	struct rt_job job;
	struct block_write write;
	struct rt *rt;
	struct rt_group *group;
};

static void job_run(void *argument)
{
	block_write_prepare(&((struct ahead_job *)argument)->write);
}

static void job_done(struct rt_job *rt_job)
{
	struct ahead_job *job = container_of(rt_job, struct ahead_job, job);

	rt_group_done(job->rt, job->group, 0);
}

int block_ahead_prepare(struct blocks *blocks, struct ahead_block **aheads, size_t count)
{
	struct ahead_job *jobs = calloc(count, sizeof(*jobs));
	struct rt_group group;

	if (!jobs)
		return -ENOMEM;
	rt_group_init(&group);
	for (size_t i = 0; i < count; i++) {
		struct ahead_block *ahead = aheads[i];
		struct ahead_job *job = &jobs[i];
		job->rt = blocks->rt;
		job->group = &group;
		job->write = (struct block_write){ .data = ahead->data, .lsect = (uint16_t)(ahead->data->size / CELL_SIZE), .type = ahead->type,
						   .compression = ahead->compression, .allow_hole = true, .allow_embed = true,
						   .txg = ahead->txg, .fill = 1, .owner = ahead->owner, .blocks = blocks };
		bool cheap = codec_encode_is_cheap(job->write.lsect, job->write.compression, true);
		if (block_write_is_quick(&job->write) || (cheap && job->write.lsect <= INLINE_CELLS_MAX)) {
			block_write_prepare(&job->write);
			continue;
		}
		job->job = (struct rt_job){ .function = job_run, .argument = job, .done = job_done,
					    .brief_us = block_write_brief_us(&job->write) };
		rt_group_add(&group);
		rt_work_submit(blocks->rt, &job->job);
	}
	if (group.pending)
		(void)rt_group_wait(blocks->rt, &group);
	for (size_t i = 0; i < count; i++) {
		aheads[i]->pointer = jobs[i].write.pointer;
		aheads[i]->payload = jobs[i].write.payload;
	}
	free(jobs);
	return 0;
}

void block_ahead_take(struct blocks *blocks, struct ahead_block *ahead, struct buffer *content)
{
	struct block_write write = { .lsect = ahead->pointer.lsect, .compression = ahead->compression, .pointer = ahead->pointer };

	ahead->taken = true;
	block_write_count(blocks, &write);
	cache_put(&blocks->cache, &ahead->pointer, content);
}
