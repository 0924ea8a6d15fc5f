/* Jobs and checkers of a whole pool: what they need, taken from the core and the datasets. */
#include <errno.h>
#include <stdbool.h>

#include "libpool/dataset/dataset.h"
#include "libpool/txg/compact.h"
#include "scrub/job.h"
#include "scrub/verify.h"

static int commit(void *argument)
{
	return core_commit_forced(argument);
}

static uint64_t committed(void *argument)
{
	return core_committed_txg(argument);
}

static int areas(void *argument, unsigned *ret_wrong, unsigned *ret_healed)
{
	return core_check_areas(argument, ret_wrong, ret_healed);
}

static int label_areas(void *argument, unsigned *ret_wrong, unsigned *ret_healed)
{
	return core_check_label_areas(argument, ret_wrong, ret_healed);
}

static int repair_log(void *argument, uint32_t segment, struct core_log_repair *ret_repair)
{
	return core_log_repair(argument, segment, ret_repair);
}

static int trim(void *argument, unsigned disk, uint32_t from, uint64_t bytes_max, struct core_trimmed *ret_trimmed)
{
	return core_trim(argument, disk, false, from, bytes_max, ret_trimmed);
}

static uint64_t trim_left(void *argument, unsigned disk)
{
	return core_trim_left(argument, disk, false);
}

void job_host_init(struct job_host *host, struct core *core)
{
	*host = (struct job_host){ .rt = core_rt(core), .store = core_store(core), .argument = core, .commit = commit,
				   .committed = committed, .areas = areas, .label_areas = label_areas,
				   .repair_log = repair_log, .trim = trim, .trim_left = trim_left };
}

struct pool_walk {
	struct core *core;
	struct datasets *datasets;
	bool held;
	uint64_t txg;
};

static uint64_t walk_committed(void *argument)
{
	return core_committed_txg(((struct pool_walk *)argument)->core);
}

static int walk(void *argument, object_visit_function *visit, void *visit_argument)
{
	struct pool_walk *pool = argument;
	int status = core_walk_system(pool->core, visit, visit_argument), damage = 0;

	/* Nodes that can't be read don't hide what other trees have. */
	if (status == -POOL_EDAMAGED || status == -POOL_EFORMAT) {
		damage = status;
		status = 0;
	}
	if (status == 0)
		status = datasets_walk(pool->datasets, visit, visit_argument);
	return status < 0 ? status : damage;
}

static int locate(void *argument, const struct block_pointer *pointer, const struct block_owner *owner, struct block_pointer *ret_at)
{
	return core_locate(((struct pool_walk *)argument)->core, owner ? owner->objset : 0, pointer, ret_at);
}

static int each_moved(void *argument, int (*visit)(void *argument, const struct moved_entry *entry), void *visit_argument)
{
	return core_each_moved(((struct pool_walk *)argument)->core, visit, visit_argument);
}

/* Cells of committed rows can be looked at while the pool goes on. */
static void walked(void *argument)
{
	struct pool_walk *pool = argument;

	if (pool->held)
		core_release(pool->core, pool->txg);
	pool->held = false;
}

/*
 * A handle of the open txg, and the one before it committed: nothing is committed until it is released. The open txg can't
 * close under the handle, and the sync of the one before waits for no handle, so the wait ends with that sync.
 */
static int hold_still(struct core *core, uint64_t *ret_txg)
{
	/* After one commit of this import numbers follow one another. */
	int status = core_commit_forced(core);

	if (status == 0)
		status = core_hold_own(core, 0, ret_txg);
	if (status < 0)
		return status;
	while (core_committed_txg(core) + 1 != *ret_txg) {
		if (core_halted(core, NULL)) {
			core_release(core, *ret_txg);
			return -POOL_EHALTED;
		}
		rt_sleep(core_rt(core), NS_PER_MS);
	}
	return 0;
}

int verify_pool_held(struct core *core, struct datasets *datasets, unsigned what, struct verify_result *ret_result)
{
	struct pool_walk pool = { .core = core, .datasets = datasets };
	struct verify_source source = { .rt = core_rt(core), .store = core_store(core), .argument = &pool,
					.committed = walk_committed, .walk = walk, .locate = locate, .each_moved = each_moved,
					.walked = walked };

	return verify_run(&source, what, ret_result);
}

int verify_pool(struct core *core, struct datasets *datasets, unsigned what, struct verify_result *ret_result)
{
	return verify_pool_blocks(core, datasets, what, NULL, ret_result);
}

int verify_pool_blocks(struct core *core, struct datasets *datasets, unsigned what, const struct verify_hooks *hooks,
		       struct verify_result *ret_result)
{
	struct pool_walk pool = { .core = core, .datasets = datasets };
	struct verify_source source = { .rt = core_rt(core), .store = core_store(core), .argument = &pool,
					.committed = walk_committed, .walk = walk, .locate = locate, .each_moved = each_moved,
					.walked = walked, .hooks = hooks };

	if (what & VERIFY_DEEP && !core_read_only(core)) {
		int status = hold_still(core, &pool.txg);
		if (status < 0)
			return status;
		pool.held = true;
	}
	int status = verify_run(&source, what, ret_result);
	walked(&pool); /* if it didn't get that far */
	return status;
}
