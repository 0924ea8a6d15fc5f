#include "tests/kill/journal.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

struct journal *journal_make(void)
{
	struct journal *journal =
	    mmap(NULL, sizeof(*journal), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (journal == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return journal;
}

void journal_begin_round(struct journal *journal)
{
	for (unsigned i = 0; i < THREADS; i++) {
		atomic_store(&journal->threads[i].issued, 0);
		atomic_store(&journal->threads[i].returned, 0);
		atomic_store(&journal->threads[i].acknowledged, 0);
	}
	atomic_store(&journal->imported, 0);
	atomic_store(&journal->flushes, 0);
	journal->next_version += UINT64_C(1) << 32; /* each round has versions of its own */
	journal->healthy = 0;
}

void journal_fail(struct journal *journal, const char *format, ...)
{
	va_list arguments;

	if (atomic_exchange(&journal->failed, 1))
		return;
	va_start(arguments, format);
	vsnprintf(journal->failure, sizeof(journal->failure), format, arguments);
	va_end(arguments);
}
