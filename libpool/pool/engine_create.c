/* engine_create: all checks, then the layout, then (unless it is a dry run) the first transaction group. */
#include <stdlib.h>
#include <string.h>

#include "libpool/pool/internal.h"
#include "libpool/pool/new_disk.h"

static int check_options(const struct libpool_create_options *options, unsigned *ret_k, unsigned *ret_m,
			 struct pool_error *error)
{
	uint64_t au = options->au_bytes;
	int result = dataset_name_check("pool", options->name ? options->name : "", error);

	if (result < 0)
		return result;
	if (options->disk_count == 0 || !options->disks)
		return pool_error_set(error, -EINVAL, "pool %s: no disks are named", options->name);
	if (options->disk_count > DISKS_MAX)
		return pool_error_set(error, -EINVAL, "pool %s: %zu disks; a pool has at most %u", options->name,
				      options->disk_count, DISKS_MAX);
	if (au && (au & (au - 1) || au < UINT64_C(1) << AU_SHIFT_MIN || au > UINT64_C(1) << AU_SHIFT_MAX))
		return pool_error_set(error, -EINVAL,
				      "pool %s: allocation units of %llu bytes; they are a power of two, 256 KiB to 16 MiB",
				      options->name, (unsigned long long)au);
	return profile_parse(options->profile, (unsigned)options->disk_count, ret_k, ret_m, error);
}

static void fill_layout(const struct core_create *create, unsigned au_shift, const struct space *space,
			struct libpool_layout *ret_layout)
{
	*ret_layout = (struct libpool_layout){
		.size = sizeof(*ret_layout),
		.raw_bytes = space->raw_aus << au_shift,
		.usable_bytes = (space->usable_cells - space->reserve_cells) * CELL_SIZE,
		.reserve_bytes = space->reserve_cells * CELL_SIZE,
		.au_bytes = UINT64_C(1) << au_shift,
		.data_columns = create->k,
		.parity_columns = create->m,
		.disk_count = create->disk_count,
		.disks_may_fail = create->m < create->disk_count ? create->m : create->disk_count - 1,
	};
}

static int create_on(const struct engine_host *host, const struct libpool_create_options *options, struct core_create *create,
		     const struct new_disk *disks, struct libpool_layout *ret_layout, struct pool_error *error)
{
	struct core_options core_options = host->core;
	uint64_t *sizes = calloc(create->disk_count, sizeof(*sizes));
	struct disk **opened = calloc(create->disk_count, sizeof(struct disk *));
	struct space space = {0};
	unsigned au_shift = 0;
	int result = sizes && opened ? 0 : pool_error_set(error, -ENOMEM, "no memory");

	for (unsigned i = 0; result == 0 && i < create->disk_count; i++) {
		opened[i] = disks[i].disk;
		sizes[i] = disks[i].disk->info.size;
	}
	create->disks = opened;
	core_options.rt = host->rt;
	core_options.provider = host->provider;
	if (result == 0)
		result = core_plan(create, sizes, &au_shift, &space, error);
	if (result == 0 && !options->dry_run)
		result = new_disks_wipe(disks, create->disk_count, error);
	if (result == 0 && !options->dry_run)
		result = core_create(&core_options, create, error);
	if (result == 0 && ret_layout)
		fill_layout(create, au_shift, &space, ret_layout);
	create->disks = NULL;
	free(opened);
	free(sizes);
	return result;
}

int engine_create(const struct engine_host *host, const struct libpool_create_options *options, struct libpool_layout *ret_layout,
		  struct pool_error *error)
{
	struct core_create create = {.name = options->name, .fill = paths_create};
	struct new_disk *disks;
	int result = check_options(options, &create.k, &create.m, error);

	if (result < 0)
		return result;
	create.disk_count = (unsigned)options->disk_count;
	for (uint64_t au = options->au_bytes; au > 1; au >>= 1)
		create.au_shift++;
	disks = calloc(create.disk_count, sizeof(*disks));
	if (!disks)
		return pool_error_set(error, -ENOMEM, "no memory");
	result = new_disks_open(host, NULL, options->disks, create.disk_count, options->force, disks, error);
	if (result == 0)
		result = create_on(host, options, &create, disks, ret_layout, error);
	new_disks_close(disks, create.disk_count);
	free(disks);
	return result;
}
