/* Figures for people that no decision depends on. */
#ifndef LIBPOOL_ALLOC_FIGURES_H
#define LIBPOOL_ALLOC_FIGURES_H

#include "libpool/alloc/alloc.h"

/* Data cells of segments of data and metadata that hold nothing live: what died, summaries, padding. */
uint64_t alloc_dead_cells(const struct alloc *alloc);
/* Data cells of all segments that can be formed from AUs that are free, those that only commits may take among them. */
uint64_t alloc_formable_cells(const struct alloc *alloc);

#endif
