/* Blocks of datasets by what names them in lists of damage: the id of the dataset, object, level and number. */
#include <errno.h>

#include "libpool/dataset/internal.h"

static struct dataset *find_id(struct datasets *datasets, uint32_t id)
{
	list_for_each(node, &datasets->list) {
		struct dataset *dataset = container_of(node, struct dataset, node);
		if (dataset->record.id == id && !(dataset->record.flags & DATASET_DESTROYED))
			return dataset;
	}
	return NULL;
}

int dataset_block_range(struct datasets *datasets, uint32_t id, uint64_t object, unsigned level, uint64_t block, uint64_t *ret_offset,
			uint64_t *ret_length)
{
	struct dataset *dataset = find_id(datasets, id);

	if (!dataset)
		return -ENOENT;
	bool is_volume = dataset->record.kind == DATASET_VOLUME;
	uint64_t size = dataset->record.volume_size;
	if (is_volume && object != VOLUME_OBJECT) { /* what leads to the content */
		*ret_offset = 0;
		*ret_length = size;
		return 0;
	}
	dataset->open_count++;
	int status = dataset_load(dataset);
	if (status == 0)
		status = objset_block_range(dataset->objset, object, level, block, ret_offset, ret_length);
	dataset->open_count--;
	if (status == 0 && is_volume && *ret_offset + *ret_length > size) {
		*ret_offset = *ret_offset < size ? *ret_offset : size;
		*ret_length = size - *ret_offset;
	}
	return status;
}

int dataset_block_check(struct datasets *datasets, uint32_t id, uint64_t object, unsigned level, uint64_t block)
{
	struct dataset *dataset = find_id(datasets, id);

	if (!dataset)
		return -ENOENT;
	dataset->open_count++;
	int status = dataset_load(dataset);
	if (status == 0)
		status = objset_block_check(dataset->objset, object, level, block);
	dataset->open_count--;
	return status;
}
