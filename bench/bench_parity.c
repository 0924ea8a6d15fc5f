/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How fast the arithmetic over buffers is, compared with a plain copy of memory.
 *
 * Every rate is in bytes of user data per second, from and to cold buffers: each pass goes through 256 MiB of data, more than
 * the caches hold. The yardstick is memcpy between two such buffers; ratios to it carry over to other machines, rates
 * don't. The medians of several runs, one thread.
 *
 *	bench_parity [--json] [--mebibytes N] [--runs N] [-k N] [-m N]
 */
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <json-c/json.h>

#include "checksum/crc32c.h"
#include "checksum/xxh3.h"
#include "raid/fused.h"
#include "raid/parity.h"

#define STRIPE_ROWS 64
#define RUNS_MAX    99

struct bench {
	unsigned k, m;
	size_t data_length; /* a multiple of one stripe's data */
	unsigned char *data, *copy, *parity;
	size_t parity_column_length;
	uint32_t *data_crc, *parity_crc;
};

static uint64_t sink; /* results go here, so that no measured work can be left out */

static double seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void *allocate(size_t length)
{
	unsigned char *memory = aligned_alloc((size_t)2 << 20, (length + ((size_t)2 << 20) - 1) >> 21 << 21);

	if (memory == NULL) {
		fputs("bench_parity: not enough memory\n", stderr);
		exit(1);
	}
	for (size_t i = 0; i < length; i++)
		memory[i] = (unsigned char)(i * 2654435761u >> 11);
	return memory;
}

static size_t stripe_length(const struct bench *bench)
{
	return (size_t)bench->k * STRIPE_ROWS * RAID_CELL;
}

static size_t stripe_count(const struct bench *bench)
{
	return bench->data_length / stripe_length(bench);
}

static const unsigned char *column_of(const struct bench *bench, size_t stripe, unsigned column)
{
	return bench->data + stripe * stripe_length(bench) + (size_t)column * STRIPE_ROWS * RAID_CELL;
}

static unsigned char *parity_of(const struct bench *bench, size_t stripe, unsigned parity)
{
	return bench->parity + parity * bench->parity_column_length + stripe * STRIPE_ROWS * RAID_CELL;
}

static void run_memcpy(const struct bench *bench)
{
	memcpy(bench->copy, bench->data, bench->data_length);
	sink += bench->copy[bench->data_length - 1];
}

static void run_crc(const struct bench *bench)
{
	for (size_t i = 0; i < bench->data_length; i += RAID_CELL)
		sink += crc32c(0, bench->data + i, RAID_CELL);
}

static void run_xxh3(const struct bench *bench)
{
	const size_t block = (size_t)128 << 10;
	struct hash128 hash;

	for (size_t i = 0; i + block <= bench->data_length; i += block) {
		xxh3_128(bench->data + i, block, &hash);
		sink += hash.bytes[0];
	}
}

static void run_xxh3_context(const struct bench *bench)
{
	const size_t block = (size_t)128 << 10;
	const uint8_t context[32] = { 1 };
	struct hash128 hash;

	for (size_t i = 0; i + block <= bench->data_length; i += block) {
		xxh3_128_context(context, sizeof(context), bench->data + i, block, &hash);
		sink += hash.bytes[0];
	}
}

/* Parity of whole columns of a stripe, or (`by_cell`) of one row at a time. */
static void encode_with(const struct bench *bench, bool by_cell)
{
	const size_t column_length = (size_t)STRIPE_ROWS * RAID_CELL;
	const size_t piece = by_cell ? RAID_CELL : column_length;

	for (size_t s = 0; s < stripe_count(bench); s++) {
		for (size_t done = 0; done < column_length; done += piece) {
			const void *data[RAID_DATA_MAX];
			void *parity[RAID_PARITY_MAX];

			for (unsigned c = 0; c < bench->k; c++)
				data[c] = column_of(bench, s, c) + done;
			for (unsigned j = 0; j < bench->m; j++)
				parity[j] = parity_of(bench, s, j) + done;
			if (raid_encode(bench->k, bench->m, piece, data, parity) != 0)
				abort();
		}
	}
}

static void run_parity_columns(const struct bench *bench)
{
	encode_with(bench, false);
}

static void run_parity_cells(const struct bench *bench)
{
	encode_with(bench, true);
}

/* Parity, CRC of data, CRC of parity, each over a whole stripe before the next. */
static void separate_with(const struct bench *bench, bool with_copy)
{
	const size_t columns = (size_t)STRIPE_ROWS * RAID_CELL;

	if (with_copy)
		run_memcpy(bench);
	run_parity_columns(bench);
	run_crc(bench);
	for (unsigned j = 0; j < bench->m; j++)
		for (size_t i = 0; i < stripe_count(bench) * columns; i += RAID_CELL)
			sink += crc32c(0, parity_of(bench, 0, j) + i, RAID_CELL);
}

static void run_separate(const struct bench *bench)
{
	separate_with(bench, false);
}

static void run_separate_copy(const struct bench *bench)
{
	separate_with(bench, true);
}

static void fused_with(const struct bench *bench, bool with_copy)
{
	const void *cells[RAID_DATA_MAX * STRIPE_ROWS];
	void *copies[RAID_DATA_MAX * STRIPE_ROWS];
	void *parity[RAID_PARITY_MAX];

	for (size_t s = 0; s < stripe_count(bench); s++) {
		struct raid_fused_stripe stripe = {
			.k = bench->k,
			.m = bench->m,
			.rows = STRIPE_ROWS,
			.cells = cells,
			.copy = with_copy ? copies : NULL,
			.parity = parity,
			.data_crc = bench->data_crc,
			.parity_crc = bench->parity_crc,
			.segment = (uint32_t)s,
			.row_base = 1,
		};

		for (unsigned c = 0; c < bench->k; c++) {
			for (size_t r = 0; r < STRIPE_ROWS; r++) {
				cells[c * STRIPE_ROWS + r] = column_of(bench, s, c) + r * RAID_CELL;
				copies[c * STRIPE_ROWS + r] =
					bench->copy + (column_of(bench, s, c) - bench->data) + r * RAID_CELL;
			}
		}
		for (unsigned j = 0; j < bench->m; j++)
			parity[j] = parity_of(bench, s, j);
		raid_fused_encode(&stripe, 0, STRIPE_ROWS);
		sink += bench->parity_crc[0];
	}
}

static void run_fused(const struct bench *bench)
{
	fused_with(bench, false);
}

static void run_fused_copy(const struct bench *bench)
{
	fused_with(bench, true);
}

/* `count` erased data columns of every row, rebuilt one cell at a time into the copy; rate by bytes of the whole row. */
static void decode_with(const struct bench *bench, unsigned count, bool without_p)
{
	uint32_t wanted = (1u << count) - 1;
	uint32_t erased = wanted | (without_p ? 1u << bench->k : 0);

	for (size_t s = 0; s < stripe_count(bench); s++) {
		for (size_t row = 0; row < STRIPE_ROWS; row++) {
			void *columns[RAID_COLUMNS_MAX];

			for (unsigned c = 0; c < bench->k; c++) {
				size_t offset = (size_t)(column_of(bench, s, c) - bench->data) + row * RAID_CELL;

				columns[c] = c < count ? bench->copy + offset : bench->data + offset;
			}
			for (unsigned j = 0; j < bench->m; j++)
				columns[bench->k + j] = parity_of(bench, s, j) + row * RAID_CELL;
			if (raid_decode_subset(bench->k, bench->m, RAID_CELL, erased, wanted, columns) != 0)
				abort();
		}
	}
}

static void run_decode_one(const struct bench *bench)
{
	decode_with(bench, 1, false);
}

static void run_decode_one_by_q(const struct bench *bench)
{
	decode_with(bench, 1, true);
}

static void run_decode_two(const struct bench *bench)
{
	decode_with(bench, 2, false);
}

static void run_verify(const struct bench *bench)
{
	for (size_t s = 0; s < stripe_count(bench); s++) {
		const void *columns[RAID_COLUMNS_MAX];

		for (unsigned c = 0; c < bench->k; c++)
			columns[c] = column_of(bench, s, c);
		for (unsigned j = 0; j < bench->m; j++)
			columns[bench->k + j] = parity_of(bench, s, j);
		sink += raid_verify(bench->k, bench->m, (size_t)STRIPE_ROWS * RAID_CELL, columns);
	}
}

static const struct measurement {
	const char *name, *title;
	void (*run)(const struct bench *bench);
	unsigned parity_min;
} measurements[] = {
	{ "memcpy", "memcpy (the yardstick)", run_memcpy, 0 },
	{ "crc32c", "CRC-32C of cells", run_crc, 0 },
	{ "xxh3", "XXH3-128 of 128 KiB", run_xxh3, 0 },
	{ "xxh3_context", "XXH3-128 of 128 KiB with context", run_xxh3_context, 0 },
	{ "parity_columns", "parity, whole columns", run_parity_columns, 1 },
	{ "parity_cells", "parity, cell by cell", run_parity_cells, 1 },
	{ "separate", "parity and CRCs, separate passes", run_separate, 1 },
	{ "fused", "parity and CRCs, fused", run_fused, 1 },
	{ "separate_copy", "copy, parity, CRCs, separate passes", run_separate_copy, 1 },
	{ "fused_copy", "copy, parity, CRCs, fused", run_fused_copy, 1 },
	{ "verify", "parity verified", run_verify, 1 },
	{ "decode_one", "decode 1 data column with P", run_decode_one, 1 },
	{ "decode_one_by_q", "decode 1 data column without P", run_decode_one_by_q, 2 },
	{ "decode_two", "decode 2 data columns", run_decode_two, 2 },
};

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* The median over the runs, in bytes per second. */
static double measure(const struct bench *bench, const struct measurement *measurement, unsigned runs)
{
	double rates[RUNS_MAX];

	measurement->run(bench);
	for (unsigned i = 0; i < runs; i++) {
		double start = seconds_now();

		measurement->run(bench);
		rates[i] = (double)bench->data_length / (seconds_now() - start);
	}
	qsort(rates, runs, sizeof(rates[0]), compare_doubles);
	return rates[runs / 2];
}

static void print_json(const struct bench *bench, const double *rates, unsigned runs)
{
	struct json_object *document = json_object_new_object(), *list = json_object_new_array();

	json_object_object_add(document, "k", json_object_new_int((int)bench->k));
	json_object_object_add(document, "m", json_object_new_int((int)bench->m));
	json_object_object_add(document, "data_bytes", json_object_new_int64((int64_t)bench->data_length));
	json_object_object_add(document, "runs", json_object_new_int((int)runs));
	json_object_object_add(document, "xxh3_implementation", json_object_new_string(xxh3_implementation()));
	for (size_t i = 0; i < sizeof(measurements) / sizeof(measurements[0]); i++) {
		struct json_object *entry;

		if (rates[i] == 0)
			continue;
		entry = json_object_new_object();
		json_object_object_add(entry, "name", json_object_new_string(measurements[i].name));
		json_object_object_add(entry, "bytes_per_second", json_object_new_int64((int64_t)rates[i]));
		json_object_object_add(entry, "ratio_to_memcpy", json_object_new_double(rates[i] / rates[0]));
		json_object_array_add(list, entry);
	}
	json_object_object_add(document, "measurements", list);
	puts(json_object_to_json_string_ext(document, JSON_C_TO_STRING_PRETTY));
	json_object_put(document);
}

static void print_table(const struct bench *bench, const double *rates, unsigned runs)
{
	printf("%u+%u columns, %zu MiB of data, median of %u, XXH3 with %s\n\n", bench->k, bench->m,
	       bench->data_length >> 20, runs, xxh3_implementation());
	printf("%-40s %8s %9s\n", "", "GB/s", "x memcpy");
	for (size_t i = 0; i < sizeof(measurements) / sizeof(measurements[0]); i++)
		if (rates[i] != 0)
			printf("%-40s %8.2f %9.2f\n", measurements[i].title, rates[i] / 1e9, rates[i] / rates[0]);
}

static void usage(void)
{
	fputs("usage: bench_parity [--json] [--mebibytes N] [--runs N] [-k N] [-m N]\n", stderr);
	exit(2);
}

static unsigned number(const char *text, unsigned min, unsigned max)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*text == 0 || *end != 0 || value < min || value > max)
		usage();
	return (unsigned)value;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "mebibytes", required_argument, NULL, 'b' },
		{ "runs", required_argument, NULL, 'r' },
		{ NULL, 0, NULL, 0 },
	};
	struct bench bench = { .k = 4, .m = 2 };
	double rates[sizeof(measurements) / sizeof(measurements[0])] = { 0 };
	unsigned mebibytes = 256, runs = 5;
	bool json = false;
	int option;

	while ((option = getopt_long(argc, argv, "k:m:", options, NULL)) != -1) {
		if (option == 'j')
			json = true;
		else if (option == 'b')
			mebibytes = number(optarg, 8, 4096);
		else if (option == 'r')
			runs = number(optarg, 1, RUNS_MAX);
		else if (option == 'k')
			bench.k = number(optarg, 1, RAID_DATA_MAX);
		else if (option == 'm')
			bench.m = number(optarg, 0, RAID_PARITY_MAX);
		else
			usage();
	}
	if (optind != argc)
		usage();
	bench.data_length = ((size_t)mebibytes << 20) / stripe_length(&bench) * stripe_length(&bench);
	bench.parity_column_length = bench.data_length / bench.k;
	bench.data = allocate(bench.data_length);
	bench.copy = allocate(bench.data_length);
	bench.parity = allocate((bench.m + 1) * bench.parity_column_length);
	bench.data_crc = allocate(RAID_DATA_MAX * STRIPE_ROWS * sizeof(uint32_t));
	bench.parity_crc = allocate(RAID_PARITY_MAX * STRIPE_ROWS * sizeof(uint32_t));

	for (size_t i = 0; i < sizeof(measurements) / sizeof(measurements[0]); i++)
		if (bench.m >= measurements[i].parity_min && (bench.k > 1 || measurements[i].run != run_decode_two))
			rates[i] = measure(&bench, &measurements[i], runs);
	if (json)
		print_json(&bench, rates, runs);
	else
		print_table(&bench, rates, runs);
	free(bench.data);
	free(bench.copy);
	free(bench.parity);
	free(bench.data_crc);
	free(bench.parity_crc);
	return 0;
}
