/* What the files of the model share. */
#ifndef TESTS_SIM_MODEL_PRIVATE_H
#define TESTS_SIM_MODEL_PRIVATE_H

#include "tests/sim/model.h"

bool content_equals(const struct model_content *content, size_t at, const void *data, size_t length);
bool model_content_is_zero(const struct model_volume *volume, const struct model_content *content);
struct model_block *block_find(struct model_volume *volume, uint64_t number);
/* Only versions first to last stay. */
void block_keep(struct model *model, struct model_block *block, unsigned first, unsigned last);
void volume_forget(struct model_volume *volume);
/* Sizes that no recovery can find any more. */
void sizes_forget(struct model_volume *volume);
/* Writes into model->problem what was got where, and what it could have been. */
void describe_mismatch(struct model *model, const struct model_volume *volume, uint64_t number, size_t at, const uint8_t *got,
		       size_t length, const char *how);

#endif
