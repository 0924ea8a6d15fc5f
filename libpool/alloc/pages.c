/*
 * Checkpoint pages: the segment table and the live bitmaps as blobs, page by page. A page describes the state of
 * the last commit. A segment record in it may already show the txg in sync: that txg's log says the same,
 * so an import that finds both arrives at the same state, and one that finds only the page never sees it.
 */
#include "libpool/alloc/internal.h"
#include "libpool/format/raw_header.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static unsigned segments_per_page(const struct alloc *alloc, bool livemap)
{
	return livemap ? livemap_page_segments(alloc->geometry.rows) : SEGTAB_PAGE_RECORDS;
}

size_t alloc_page_of(const struct alloc *alloc, bool livemap, uint32_t segment)
{
	return segment / segments_per_page(alloc, livemap);
}

static size_t page_count(const struct alloc *alloc, bool livemap)
{
	unsigned per_page = segments_per_page(alloc, livemap);

	return ((size_t)alloc->segment_count + per_page - 1) / per_page;
}

size_t alloc_segtab_pages(const struct alloc *alloc)
{
	return page_count(alloc, false);
}

size_t alloc_livemap_pages(const struct alloc *alloc)
{
	return page_count(alloc, true);
}

static int reserve(struct alloc *alloc, int kind, size_t need)
{
	size_t have = alloc->page_capacity[kind];

	if (need <= have)
		return 0;
	size_t capacity = have ? have * 2 : 16;
	while (capacity < need)
		capacity *= 2;
	uint64_t *first = realloc(alloc->page_first[kind], capacity * 8);
	if (first)
		alloc->page_first[kind] = first;
	uint64_t *loaded = realloc(alloc->page_loaded[kind], capacity * 8);
	if (loaded)
		alloc->page_loaded[kind] = loaded;
	if (!first || !loaded)
		return -ENOMEM;
	memset(first + have, 0, (capacity - have) * 8);
	memset(loaded + have, 0, (capacity - have) * 8);
	alloc->memory += (capacity - have) * 16;
	alloc->page_capacity[kind] = capacity;
	return 0;
}

int alloc_pages_grow(struct alloc *alloc)
{
	int status = reserve(alloc, 0, page_count(alloc, false));

	return status < 0 ? status : reserve(alloc, 1, page_count(alloc, true));
}

void alloc_page_mark(struct alloc *alloc, bool livemap, uint32_t segment, uint64_t txg)
{
	uint64_t *first = &alloc->page_first[livemap][alloc_page_of(alloc, livemap, segment)];

	if (*first == 0)
		*first = txg;
}

bool alloc_page_dirty(const struct alloc *alloc, bool livemap, size_t page, uint64_t *ret_first_txg)
{
	if (page >= alloc->page_capacity[livemap] || alloc->page_first[livemap][page] == 0)
		return false;
	*ret_first_txg = alloc->page_first[livemap][page];
	return true;
}

void alloc_page_encode(struct alloc *alloc, bool livemap, size_t page, uint64_t page_txg, uint8_t *ret_raw)
{
	unsigned per_page = segments_per_page(alloc, livemap);
	uint32_t first = (uint32_t)(page * per_page);

	if (!livemap) {
		memset(ret_raw, 0, SEGTAB_PAGE_SIZE);
		segtab_page_header_encode(page, page_txg, ret_raw);
		for (unsigned i = 0; i < per_page; i++) {
			const struct segment *segment = alloc_segment(alloc, first + i);
			if (segment && segment->record.state != SEGMENT_NONE)
				segment_record_encode(&segment->record, ret_raw + SEGMENT_RECORD_SIZE * (i + 1));
		}
		return;
	}
	memset(ret_raw, 0, LIVEMAP_PAGE_SIZE);
	livemap_header_encode(page, page_txg, ret_raw);
	uint8_t *widths = ret_raw + LIVEMAP_HEADER_SIZE, *bits = widths + per_page;
	for (unsigned i = 0; i < per_page; i++) {
		const struct segment *segment = alloc_segment(alloc, first + i);
		if (!segment || !segment->bits)
			continue;
		size_t bytes = segment_bits(alloc, segment) / 8; /* R is a multiple of 64 */
		widths[i] = segment->record.k;
		for (size_t w = 0; w < bytes / 8; w++) {
			le64 word = le64_make(segment->bits[w]);
			memcpy(bits + w * 8, word.raw, 8);
		}
		bits += bytes;
	}
}

void alloc_page_written(struct alloc *alloc, bool livemap, size_t page)
{
	alloc->page_first[livemap][page] = 0;
}

uint64_t alloc_log_oldest(const struct alloc *alloc, uint64_t txg)
{
	uint64_t oldest = txg;

	for (int kind = 0; kind < 2; kind++)
		for (size_t page = 0; page < page_count(alloc, kind); page++) {
			uint64_t first = alloc->page_first[kind][page];
			if (first && first < oldest)
				oldest = first;
		}
	return oldest;
}

int alloc_load_page(struct alloc *alloc, bool livemap, size_t page, const uint8_t *raw, size_t size)
{
	unsigned per_page = segments_per_page(alloc, livemap);
	uint32_t first = (uint32_t)(page * per_page);
	uint64_t page_txg;

	if (page >= SEGMENTS_MAX / per_page + 1)
		return -POOL_EFORMAT;
	if (reserve(alloc, livemap, page + 1) < 0)
		return -ENOMEM;
	if (!livemap) {
		if (size != SEGTAB_PAGE_SIZE || segtab_page_header_decode(raw, page, &page_txg) < 0)
			return -POOL_EFORMAT;
		for (unsigned i = 0; i < per_page; i++) {
			struct segment_record record;
			if (segment_record_decode(raw + SEGMENT_RECORD_SIZE * (i + 1), alloc->geometry.rows, &record) < 0)
				return -POOL_EFORMAT;
			if (record.state == SEGMENT_NONE)
				continue;
			struct segment *segment = alloc_segment_make(alloc, first + i);
			if (!segment)
				return first + i >= alloc->segment_limit ? -POOL_EFORMAT : -ENOMEM;
			alloc_load_record(segment, &record);
		}
		alloc->page_loaded[0][page] = page_txg;
		return 0;
	}
	if (size != LIVEMAP_PAGE_SIZE || livemap_header_decode(raw, page, &page_txg) < 0)
		return -POOL_EFORMAT;
	alloc->page_loaded[1][page] = page_txg;
	const uint8_t *widths = raw + LIVEMAP_HEADER_SIZE, *bits = widths + per_page;
	for (unsigned i = 0; i < per_page; i++) {
		size_t bytes = (size_t)widths[i] * alloc->geometry.rows / 8;
		if (widths[i] > COLUMNS_MAX || bits + bytes > raw + size)
			return -POOL_EFORMAT;
		/* The record may come from a log only: its page may be older than the segment. */
		struct segment *segment = bytes ? alloc_segment_make(alloc, first + i) : NULL;
		if (bytes && !segment)
			return first + i >= alloc->segment_limit ? -POOL_EFORMAT : -ENOMEM;
		/* A bitmap older than the segment is that of an earlier life. */
		if (bytes && segment && !segment->bits && segment->record.alloc_txg <= page_txg) {
			segment->bits = malloc(bytes);
			if (!segment->bits)
				return -ENOMEM;
			segment->bits_k = widths[i];
			alloc->memory += bytes;
			for (size_t w = 0; w < bytes / 8; w++) {
				le64 word;
				memcpy(word.raw, bits + w * 8, 8);
				segment->bits[w] = le64_get(word);
			}
		}
		bits += bytes;
	}
	return bytes_are_zero(bits, (size_t)(raw + size - bits)) ? 0 : -POOL_EFORMAT;
}
