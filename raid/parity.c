/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Encoding and decoding with ISA-L's kernels.
 *
 * Which kernel: a plain sum is xor_gen, P and Q together are pq_gen, anything else ec_encode_data with tables made from
 * the plan. A third parity is pq_gen and one row of ec_encode_data, which is a third faster than three rows of it.
 *
 * Plans and tables are made anew in each call. That takes 0.1 to 0.5 us, less than a quarter of the arithmetic on the
 * smallest buffers (one cell), and keeps this library free of state; a cache was left out on purpose.
 */
#include "raid/parity.h"

#include <errno.h>
#include <string.h>

#include <isa-l/erasure_code.h>
#include <isa-l/raid.h>

#include "raid/matrix.h"

#define TABLE_BYTES_PER_COEFFICIENT 32
#define VERIFY_PIECE		    1024

static bool aligned(const void *pointer)
{
	return pointer != NULL && (uintptr_t)pointer % RAID_ALIGNMENT == 0;
}

static bool length_valid(size_t length)
{
	return length % RAID_CELL == 0 && length <= RAID_LENGTH_MAX;
}

/* ISA-L takes sources without const, and only reads them. */
static void *writable(const void *source)
{
	return (void *)(uintptr_t)source;
}

static void sum(unsigned count, size_t length, void *const *sources, void *target)
{
	void *vectors[RAID_DATA_MAX + 1];

	memcpy(vectors, sources, count * sizeof(sources[0]));
	vectors[count] = target;
	xor_gen((int)count + 1, (int)length, vectors);
}

static void sum_p_and_q(unsigned count, size_t length, void *const *sources, void *p, void *q)
{
	void *vectors[RAID_DATA_MAX + 2];

	memcpy(vectors, sources, count * sizeof(sources[0]));
	vectors[count] = p;
	vectors[count + 1] = q;
	pq_gen((int)count + 2, (int)length, vectors);
}

static void multiply(unsigned count, unsigned targets, const uint8_t *coefficients, size_t length,
		     void *const *sources, void *const *target)
{
	unsigned char tables[RAID_PARITY_MAX * RAID_DATA_MAX * TABLE_BYTES_PER_COEFFICIENT];
	unsigned char *vectors[RAID_DATA_MAX], *outputs[RAID_PARITY_MAX];

	memcpy(vectors, sources, count * sizeof(sources[0]));
	memcpy(outputs, target, targets * sizeof(target[0]));
	ec_init_tables((int)count, (int)targets, (unsigned char *)(uintptr_t)coefficients, tables);
	ec_encode_data((int)length, (int)count, (int)targets, tables, vectors, outputs);
}

/* k >= 2; everything has been checked, except that a length of verification may be less than a cell. */
static void encode(unsigned k, unsigned m, size_t length, void *const *data, void *const *parity)
{
	if (m == 1)
		sum(k, length, data, parity[0]);
	if (m >= 2)
		sum_p_and_q(k, length, data, parity[0], parity[1]);
	if (m == 3) {
		uint8_t coefficients[RAID_DATA_MAX];

		for (unsigned i = 0; i < k; i++)
			coefficients[i] = raid_coefficient(2, i);
		multiply(k, 1, coefficients, length, data, &parity[2]);
	}
}

int raid_encode(unsigned k, unsigned m, size_t length, const void *const *data, void *const *parity)
{
	void *sources[RAID_DATA_MAX];

	if (!raid_mask_valid(k, m, 0) || !length_valid(length))
		return -EINVAL;
	for (unsigned j = 0; j < m; j++)
		if (!aligned(parity[j]))
			return -EINVAL;
	for (unsigned i = 0; i < k; i++) {
		if (!aligned(data[i]))
			return -EINVAL;
		sources[i] = writable(data[i]);
	}
	if (length == 0)
		return 0;
	if (k > 1)
		encode(k, m, length, sources, parity);
	else
		for (unsigned j = 0; j < m; j++)
			memcpy(parity[j], data[0], length);
	return 0;
}

static bool all_ones(const uint8_t *coefficients, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (coefficients[i] != 1)
			return false;
	return true;
}

/* Nothing but parities is lost, from the first to the last wanted one, and all data are there. */
static bool is_encoding(const struct raid_plan *plan, unsigned k)
{
	for (unsigned w = 0; w < plan->wanted_count; w++)
		if (plan->wanted[w] != k + w)
			return false;
	return plan->source[k - 1] == k - 1;
}

int raid_decode_subset(unsigned k, unsigned m, size_t length, uint32_t erased_mask, uint32_t wanted_mask,
		       void *const *columns)
{
	void *sources[RAID_DATA_MAX], *targets[RAID_PARITY_MAX];
	struct raid_plan plan;

	if (!raid_mask_valid(k, m, erased_mask) || (wanted_mask & ~erased_mask) != 0 || !length_valid(length))
		return -EINVAL;
	if (wanted_mask == 0)
		return 0;
	raid_plan_make(k, m, erased_mask, wanted_mask, &plan);
	for (unsigned s = 0; s < k; s++) {
		sources[s] = columns[plan.source[s]];
		if (!aligned(sources[s]))
			return -EINVAL;
	}
	for (unsigned w = 0; w < plan.wanted_count; w++) {
		targets[w] = columns[plan.wanted[w]];
		if (!aligned(targets[w]))
			return -EINVAL;
	}
	if (length == 0)
		return 0;
	if (k == 1)
		for (unsigned w = 0; w < plan.wanted_count; w++)
			memcpy(targets[w], sources[0], length);
	else if (is_encoding(&plan, k))
		encode(k, plan.wanted_count, length, sources, targets);
	else if (plan.wanted_count == 1 && all_ones(plan.coefficient, k))
		sum(k, length, sources, targets[0]);
	else
		multiply(k, plan.wanted_count, plan.coefficient, length, sources, targets);
	return 0;
}

int raid_decode(unsigned k, unsigned m, size_t length, uint32_t erased_mask, void *const *columns)
{
	return raid_decode_subset(k, m, length, erased_mask, erased_mask, columns);
}

bool raid_verify(unsigned k, unsigned m, size_t length, const void *const *columns)
{
	_Alignas(RAID_ALIGNMENT) unsigned char expected[RAID_PARITY_MAX][VERIFY_PIECE];
	void *sources[RAID_DATA_MAX], *outputs[RAID_PARITY_MAX] = { expected[0], expected[1], expected[2] };

	if (!raid_mask_valid(k, m, 0) || !length_valid(length))
		return false;
	for (unsigned c = 0; c < k + m; c++)
		if (!aligned(columns[c]))
			return false;
	for (size_t done = 0; done < length; done += VERIFY_PIECE) {
		for (unsigned i = 0; i < k; i++)
			sources[i] = (char *)writable(columns[i]) + done;
		if (k > 1)
			encode(k, m, VERIFY_PIECE, sources, outputs);
		for (unsigned j = 0; j < m; j++) {
			const void *correct = k > 1 ? outputs[j] : sources[0];

			if (memcmp(correct, (const char *)columns[k + j] + done, VERIFY_PIECE) != 0)
				return false;
		}
	}
	return true;
}
