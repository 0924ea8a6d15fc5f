/* SPDX-License-Identifier: BSD-2-Clause */
/* libpool.h as a C99 or C++11 program sees it, with nothing included before it. */
#include <libpool.h>

#include <stdio.h>

struct later {
	struct libpool_user known;
	char more[16];
};

static int check(int condition, const char *what)
{
	if (!condition)
		printf("%s\n", what);
	return !condition;
}

int main(void)
{
	struct libpool_host host = LIBPOOL_INIT(libpool_host);
	struct libpool_request request = LIBPOOL_INIT(libpool_request);
	struct later users[2];
	struct libpool_user *first = &users[0].known;
	libpool_pool *pool = NULL;
	struct libpool_error error = {0, ""};
	int failed = 0;

	users[0].known.size = users[1].known.size = sizeof(struct later);
	failed |= check(host.size == sizeof(host) && host.folders == NULL && host.cache_bytes == 0, "LIBPOOL_INIT");
	failed |= check(request.size == sizeof(struct libpool_request) && request.volume == NULL, "LIBPOOL_INIT of a request");
	failed |= check(LIBPOOL_ELEMENT(libpool_user, first, 1) == &users[1].known, "LIBPOOL_ELEMENT");
	failed |= check(sizeof(struct libpool_completion) == 16, "struct libpool_completion");
	failed |= check(libpool_import(&host, NULL, &pool, &error) < 0 && error.text[0] && !pool, "libpool_import");
	failed |= check(libpool_strerror(-LIBPOOL_EINUSE)[0] != 0, "libpool_strerror");
	libpool_free(NULL);
	return failed;
}
