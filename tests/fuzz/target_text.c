/* SPDX-License-Identifier: BSD-2-Clause */
/* Sizes, numbers, names and compression as people write them, in poolctl and in the library. The first byte says what the rest is. */
#include "cli/names.h"
#include "cli/sizes.h"
#include "libpool/dataset/dataset.h"
#include "libpool/pool/text.h"
#include "tests/fuzz/fuzz.h"

/* There is one, whatever came in; what isn't printable in it is left to who prints it. */
static void check_message(const char *message, size_t room)
{
	size_t length = strnlen(message, room);

	fuzz_expect(length > 0 && length < room);
}

static void check_size(const char *text)
{
	struct libpool_error error = { 0 };
	char printed[QUANTITY_TEXT_MAX];
	uint64_t size, again;

	if (size_read(text, "size", 0, &size, &error) == 0) {
		fuzz_expect(size <= SIZE_LARGEST);
		size_print(size, printed);
		fuzz_expect(size_read(printed, "size", 0, &again, &error) == 0);
	} else {
		check_message(error.text, sizeof(error.text));
	}
	if (number_read(text, "number", 0, &size, &error) == 0) {
		snprintf(printed, sizeof(printed), "%llu", (unsigned long long)size);
		fuzz_expect(number_read(printed, "number", 0, &again, &error) == 0 && again == size);
	} else {
		check_message(error.text, sizeof(error.text));
	}
}

static void check_library_size(const char *text)
{
	char printed[64];
	uint64_t size, again;
	uint8_t level, level_again;

	if (size_parse(text, &size)) {
		size_format(size, printed, sizeof(printed));
		fuzz_expect(size_parse(printed, &again) && again == size);
		size_format_rounded(size, printed, sizeof(printed));
	}
	if (compression_parse(text, &level)) {
		compression_format(level, printed, sizeof(printed));
		fuzz_expect(compression_parse(printed, &level_again) && level_again == level);
	}
}

static void check_name(const char *text)
{
	struct libpool_error error = { 0 };
	struct pool_error pool_error = { 0 };

	bool nameable = name_check(text, "volume", &error) == 0, taken = dataset_name_check("volume", text, &pool_error) == 0;

	if (!nameable)
		check_message(error.text, sizeof(error.text));
	if (!taken)
		fuzz_expect(pool_error.text[0] && !strpbrk(pool_error.text, "\n\r\033"));
	fuzz_expect(nameable == taken);
}

static void check_target(const char *text)
{
	struct libpool_error error = { 0 };
	char printed[TARGET_TEXT_MAX];
	struct target target, again;

	for (enum target_form form = TARGET_NEW_POOL; form <= TARGET_POOL_OR_DATASET; form++) {
		if (target_parse(text, form, &target, &error) < 0) {
			check_message(error.text, sizeof(error.text));
			continue;
		}
		target_print(&target, printed);
		fuzz_expect(target_parse(printed, form, &again, &error) == 0);
		fuzz_expect(memcmp(&target, &again, sizeof(target)) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const checks[])(const char *text) = { check_size, check_library_size, check_name, check_target };

	if (size == 0 || size > 4096)
		return -1;
	char *text = (char *)fuzz_copy(data + 1, size - 1, size);
	checks[data[0] & 3](text);
	free(text);
	return 0;
}
