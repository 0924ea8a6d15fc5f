/* Guids as people see them: 32 hexadecimal digits. Dashes are accepted, as other tools print them. */
#include "libpool/pool/internal.h"

void guid_format(const struct guid *guid, char ret_text[GUID_TEXT_SIZE])
{
	static const char digits[] = "0123456789abcdef";

	for (int i = 0; i < 16; i++) {
		ret_text[2 * i] = digits[guid->bytes[i] >> 4];
		ret_text[2 * i + 1] = digits[guid->bytes[i] & 15];
	}
	ret_text[32] = 0;
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool guid_parse(const char *text, struct guid *ret_guid)
{
	struct guid guid = {{0}};
	unsigned count = 0;

	for (; *text; text++) {
		int value = digit(*text);

		if (*text == '-')
			continue;
		if (value < 0 || count == 32)
			return false;
		guid.bytes[count / 2] = (uint8_t)(guid.bytes[count / 2] << 4 | value);
		count++;
	}
	if (count != 32)
		return false;
	*ret_guid = guid;
	return true;
}
