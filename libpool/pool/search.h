/*
 * Looking for disks that carry labels: what find shows and import opens. Disks are opened shared and
 * read-only, and closed again before the search returns. Fibers; functions wait.
 */
#ifndef LIBPOOL_POOL_SEARCH_H
#define LIBPOOL_POOL_SEARCH_H

#include "libpool/pool/engine.h"

/* A disk with a label, or with the remains of one. */
struct search_disk {
	char path[LIBPOOL_PATH_MAX];
	char serial[128];
	int status;                   /* of the label: 0, -POOL_EFEATURE, -POOL_EFORMAT (label NULL then) */
	struct label *label;
	struct uberblock *uberblock;  /* the newest one; NULL if it has none */
	bool in_use;                  /* an exclusive open was refused */
};

/* The disks of one pool. */
struct search_pool {
	struct guid guid;
	const struct label *config;         /* the newest label */
	const struct uberblock *newest;     /* over all disks; NULL: none was found */
	struct search_disk **disks;
	unsigned disk_count;
	unsigned present;                   /* disks of the configuration that are there */
	unsigned configured;
	unsigned missing;                   /* of those that hold data */
	unsigned logs, logs_missing;        /* disks for the intent log */
	const struct search_disk *twins[2]; /* two disks that claim to be the same one; NULL */
};

struct search {
	struct search_disk *disks;
	size_t disk_count;
	struct search_pool *pools;
	size_t pool_count;
	size_t denied; /* candidates that could not be opened for lack of permission */
};

enum { SEARCH_LOCKS = 1 /* also find out which disks are in use: takes each lock for a moment */ };

int search_run(const struct engine_host *host, unsigned flags, struct search *ret_search, struct pool_error *error);
void search_release(struct search *search);
/*
 * The one pool of this name or guid (hex). Destroyed ones count only when asked for, or when named by guid.
 * -ENOENT, or -EEXIST when the name is ambiguous, with a text.
 */
int search_pick(const struct search *search, const char *name, bool destroyed, const struct search_pool **ret_pool,
		struct pool_error *error);
/* What log disks that are missing may mean for an import, or nothing. */
void search_log_problem(const struct search_pool *pool, char *ret_text, size_t size);
/* Why a pool can't be imported, or "". */
void search_problem(const struct search_pool *pool, char *ret_text, size_t size);

#endif
