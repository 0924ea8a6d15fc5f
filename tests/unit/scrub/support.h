/*
 * Jobs over the world of tests/unit/store: a pool without its upper half. What the jobs count is compared with what the
 * simulated disks did and what was spoilt on them.
 */
#ifndef TESTS_UNIT_SCRUB_SUPPORT_H
#define TESTS_UNIT_SCRUB_SUPPORT_H

#include "tests/unit/store/harness.h"

#include "scrub/scrub.h"
#include "scrub/verify.h"

struct bench {
	struct world *world;
	struct job_host host;
	struct rt_mutex commit_lock;
	struct job job;
	unsigned saves, commits;
	bool reject_saves;
	struct array damage; /* struct job_damage, blocks not kept */
	unsigned named;      /* damage that named an owner */
	/* A job in a fiber of its own. */
	int (*run)(struct job *job, const struct job_host *host);
	int result;
	bool ended;
	struct rt_queue wake;
};

static inline int bench_commit(void *argument)
{
	struct bench *bench = argument;

	rt_mutex_lock(bench->world->rt, &bench->commit_lock);
	world_begin(bench->world);
	world_commit(bench->world);
	bench->commits++;
	rt_mutex_unlock(bench->world->rt, &bench->commit_lock);
	return 0;
}

static inline uint64_t bench_committed(void *argument)
{
	return ((struct bench *)argument)->world->committed;
}

static inline int bench_save(void *argument, const struct job *job)
{
	struct bench *bench = argument;

	assert_ptr_equal(job, &bench->job);
	bench->saves++;
	return 0;
}

static inline void bench_damage(void *argument, const struct job_damage *damage)
{
	struct bench *bench = argument;
	struct job_damage copy = *damage;

	bench->named += damage->block != NULL;
	copy.block = NULL;
	assert_int_equal(array_push(&bench->damage, &copy), 0);
}

static inline void bench_init(struct bench *bench, struct world *world)
{
	*bench = (struct bench){.world = world};
	bench->host = (struct job_host){.rt = world->rt, .store = world->store, .argument = bench, .commit = bench_commit,
					.committed = bench_committed, .save = bench_save, .damage = bench_damage};
	rt_mutex_init(&bench->commit_lock);
	rt_queue_init(&bench->wake);
	array_init(&bench->damage, sizeof(struct job_damage));
}

static inline void bench_release(struct bench *bench)
{
	array_release(&bench->damage);
}

static inline void bench_job(struct bench *bench, enum job_kind kind)
{
	job_init(&bench->job, 1, kind);
}

/* Columns leave `disk`, for `target` or, DISK_ABSENT, for wherever there is room. */
static inline int bench_rebuild(struct bench *bench, unsigned disk, unsigned target)
{
	bench_job(bench, JOB_REBUILD);
	bench->job.disk = (uint16_t)disk;
	bench->job.target = (uint16_t)target;
	bench->world->moving = true;
	int status = rebuild_run(&bench->job, &bench->host);
	/* The old AUs wait for two later commits, also for an import. */
	bench->world->moving = false;
	bench_commit(bench);
	return status;
}

static inline void bench_fiber(void *argument)
{
	struct bench *bench = argument;

	bench->world->moving = bench->job.kind == JOB_REBUILD;
	bench->result = bench->run(&bench->job, &bench->host);
	bench->world->moving = false;
	bench->ended = true;
	rt_queue_wake_all(bench->world->rt, &bench->wake);
}

static inline void bench_start(struct bench *bench, int (*run)(struct job *job, const struct job_host *host))
{
	bench->run = run;
	bench->ended = false;
	assert_int_equal(rt_spawn(bench->world->rt, "job", bench_fiber, bench), 0);
}

static inline int bench_wait(struct bench *bench)
{
	while (!bench->ended)
		rt_queue_wait(bench->world->rt, &bench->wake);
	return bench->result;
}

/* One txg of random blocks, and the death of some of earlier ones. */
static inline void bench_txg(struct bench *bench, unsigned blocks, unsigned kill_percent)
{
	struct world *world = bench->world;
	static const enum segment_class classes[] = {CLASS_HOT, CLASS_COLD, CLASS_META, CLASS_SYS};

	rt_mutex_lock(world->rt, &bench->commit_lock);
	size_t before = world->blocks.count;
	world_begin(world);
	for (size_t i = 0; i < before; i++)
		if (sim_random_below(&world->random, 100) < kill_percent)
			world_kill(world, world_block(world, i));
	for (unsigned i = 0; i < blocks; i++) {
		enum segment_class class = classes[sim_random_below(&world->random, 4)];
		unsigned most = class == CLASS_HOT || class == CLASS_COLD ? 32 : 4;
		world_place(world, class, (unsigned)sim_random_between(&world->random, 1, most));
	}
	world_commit(world);
	rt_mutex_unlock(world->rt, &bench->commit_lock);
}

static inline void bench_fill(struct bench *bench, unsigned txgs, unsigned blocks)
{
	for (unsigned i = 0; i < txgs; i++)
		bench_txg(bench, blocks, 10);
}

static inline bool bench_row_is_live(const struct world *world, const struct segment *segment, unsigned row)
{
	for (unsigned c = 0; segment->bits && c < segment->record.k; c++)
		if (bitmap_get(segment->bits, (size_t)c * world->geometry.rows + row))
			return true;
	return false;
}

static inline struct segment *bench_segment(struct world *world, uint32_t id)
{
	struct segment *segment = alloc_segment(world->alloc, id);

	return segment && !alloc_segment_is_free(segment) && !segment->released ? segment : NULL;
}

static inline unsigned bench_live_rows(const struct world *world, const struct segment *segment)
{
	unsigned count = 0;

	for (unsigned row = 1; row < world->geometry.rows; row++)
		count += bench_row_is_live(world, segment, row);
	return count;
}

/* Bytes that all disks have read. */
static inline uint64_t bench_bytes_read(const struct world *world)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < world->options.disks; i++)
		bytes += world->disks->disks[i]->counters.bytes_read;
	return bytes;
}

static inline unsigned bench_columns_on(struct world *world, unsigned disk)
{
	unsigned count = 0;

	for (uint32_t id = 0; id < alloc_segment_count(world->alloc); id++) {
		const struct segment *segment = bench_segment(world, id);
		for (unsigned c = 0; segment && c < (unsigned)segment->record.k + segment->record.m; c++)
			count += segment->record.columns[c].disk == disk;
	}
	return count;
}

static inline void bench_check_no_pins(struct world *world)
{
	for (uint32_t id = 0; id < alloc_segment_count(world->alloc); id++)
		if (alloc_segment(world->alloc, id))
			assert_int_equal(alloc_segment(world->alloc, id)->pins, 0);
}

/* Every row with a live cell is right as far as its cells count: dead rows are nobody's business any more. */
static inline void bench_check_rows(struct world *world)
{
	for (uint32_t id = 0; id < alloc_segment_count(world->alloc); id++) {
		const struct segment *segment = bench_segment(world, id);
		for (unsigned i = 0; segment && i < segment->batch_count; i++) {
			const struct batch_index *batch = &segment->batches[i];
			struct summary summary = {0};
			bool known = world_peek_summary(world, segment, batch, &summary);
			for (unsigned row = batch->base; row < (unsigned)batch->base + batch->rows; row++)
				if (bench_row_is_live(world, segment, row))
					world_check_row(world, segment, batch, row, known ? &summary : NULL);
			summary_release(&summary);
		}
	}
}

static inline void bench_check_all(struct bench *bench)
{
	bench_check_no_pins(bench->world);
	bench_check_rows(bench->world);
	world_check_columns(bench->world);
	world_verify(bench->world);
}

#endif
