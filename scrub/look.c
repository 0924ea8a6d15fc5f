/*
 * A segment that a scrub looks at: its plan, its pin, and the rows that are read before their windows ask for them, which are many where batches are short.
 * No more than a few dead rows are read with them.
 */
#include <errno.h>
#include <stdlib.h>

#include "libpool/base/bitmap.h"
#include "scrub/internal.h"

void shared_span_put(struct shared_span *span)
{
	if (!span || --span->references)
		return;
	span_release(&span->span);
	free(span);
}

int look_begin(struct alloc *alloc, struct segment *segment, uint64_t committed, const uint64_t *filter, struct segment_look *ret_look)
{
	struct segment_look look = { .segment = segment, .plan = malloc(sizeof(*look.plan)) };

	*ret_look = (struct segment_look){ .segment = NULL };
	if (!look.plan)
		return -ENOMEM;
	alloc_pin(segment);
	int status = plan_make(alloc, segment, committed, filter, look.plan);
	if (status < 0)
		look_end(alloc, &look);
	*ret_look = look;
	return status;
}

void look_end(struct alloc *alloc, struct segment_look *look)
{
	if (!look->segment)
		return;
	shared_span_put(look->span);
	plan_release(look->plan);
	free(look->plan);
	alloc_unpin(alloc, look->segment);
	*look = (struct segment_look){ .segment = NULL };
}

void look_read(struct store *store, struct segment_look *look, size_t from)
{
	uint64_t wanted[ROW_WORDS];
	unsigned first, end;

	shared_span_put(look->span);
	look->span = NULL;
	look->span_end = plan_group(look->plan, store_alloc(store), look->segment, from, wanted, &first, &end);
	if (look->span_end - from < 2)
		return;
	look->span = calloc(1, sizeof(*look->span));
	if (!look->span)
		return; /* it goes without */
	look->span->references = 1;
	if (from == 0 && end <= WINDOW_ROWS_MAX) {
		bitmap_set(wanted, 0);
		first = 0;
	}
	span_read(&look->span->span, store, look->segment, wanted, first, end - first, columns_in_service(store, look->segment));
}
