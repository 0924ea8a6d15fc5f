/*
 * Four sizes of pieces for each power of two, so that at most a fifth of a piece is unused; unused pages of a piece
 * are never touched. A piece is taken, free with its memory (warm), or free without (cold: never touched, or given
 * back to the system). Regions with a free piece are in the list of their size, those that had a free piece for
 * longest first, so that the others empty.
 */
#include "libpool/base/slab.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "libpool/base/bitmap.h"
#include "libpool/base/check.h"
#include "libpool/base/list.h"

#define PAGE ((size_t)4096)
#define REGION_SIZE ((size_t)2 << 20)
#define PIECES_MAX (REGION_SIZE / PAGE)
#define CLASSES 29u

struct slab_region {
	struct list node; /* linked while a piece is free */
	uint8_t *base;
	size_t size;      /* of a piece */
	unsigned class, pieces, free_pieces, warm_pieces;
	uint64_t warm[PIECES_MAX / 64], cold[PIECES_MAX / 64];
};

/* Regions of one size before the next get large pages: whoever needs little takes little. */
#define SMALL_REGIONS 4u
/* Pieces of which a few fill a region get them at once: for a request to a device the kernel would look up dozens of small pages each time. */
#define LARGE_PIECE ((size_t)128 << 10)

struct size_class {
	pthread_mutex_t lock;
	struct list regions; /* next is NULL before the first use */
	unsigned empty;      /* regions without a piece taken */
	unsigned count;      /* all regions */
};

static struct size_class classes[CLASSES] = {
	[0 ... CLASSES - 1] = {.lock = PTHREAD_MUTEX_INITIALIZER},
};
static atomic_size_t kept;  /* bytes of warm pieces */
static atomic_size_t taken; /* pieces in use */
static atomic_size_t low;   /* the least that `kept` was since settled_ns, or more: takers don't wait for each other */
static _Atomic(uint64_t) settled_ns;

/* 1 to 4 pages are classes 0 to 3; then 5, 6, 7, 8, 10, 12, 14, 16, 20, ... 256. */
static unsigned class_of(size_t pages, size_t *ret_pages)
{
	unsigned shift = 0;

	while (pages > (size_t)8 << shift)
		shift++;
	size_t steps = (pages + ((size_t)1 << shift) - 1) >> shift; /* 1 to 8; above 4 if shift is not 0 */
	*ret_pages = steps << shift;
	return (unsigned)(steps - 1) + 4 * shift;
}

static uint8_t *region_map(void)
{
	/* Aligned to its size, so that the system may use a large page where that is wanted. */
	uint8_t *map = mmap(NULL, 2 * REGION_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED)
		return NULL;
	size_t before = -(uintptr_t)map & (REGION_SIZE - 1);
	if (before)
		munmap(map, before);
	munmap(map + before + REGION_SIZE, REGION_SIZE - before);
	return map + before;
}

static struct slab_region *region_new(unsigned class, size_t size)
{
	struct slab_region *region = calloc(1, sizeof(*region));

	if (!region)
		return NULL;
	region->base = region_map();
	if (!region->base) {
		free(region);
		return NULL;
	}
	if (classes[class].count++ >= SMALL_REGIONS || size >= LARGE_PIECE)
		madvise(region->base, REGION_SIZE, MADV_HUGEPAGE);
	region->class = class;
	region->size = size;
	region->pieces = region->free_pieces = (unsigned)(REGION_SIZE / size);
	bitmap_set_range(region->cold, 0, region->pieces);
	list_push_back(&classes[class].regions, &region->node);
	classes[class].empty++;
	return region;
}

static void region_drop(struct slab_region *region)
{
	list_remove(&region->node);
	classes[region->class].empty--;
	classes[region->class].count--;
	atomic_fetch_sub(&kept, region->warm_pieces * region->size);
	munmap(region->base, REGION_SIZE);
	free(region);
}

/*
 * Gives empty regions of all sizes back until no more than `limit` is kept, large pieces first: to do without one of those is
 * as good as to do without hundreds of small ones, which are needed more often. No lock is held.
 */
static void reclaim(size_t limit)
{
	for (unsigned i = CLASSES; i-- > 0 && atomic_load(&kept) > limit;) {
		pthread_mutex_lock(&classes[i].lock);
		if (classes[i].empty)
			list_for_each_safe(node, after, &classes[i].regions) {
				struct slab_region *region = container_of(node, struct slab_region, node);
				if (region->free_pieces == region->pieces && atomic_load(&kept) > limit)
					region_drop(region);
			}
		pthread_mutex_unlock(&classes[i].lock);
	}
}

/* Gives the memory of free pieces back, keeps the pieces. The lock of the class is held. */
static void region_cool(struct slab_region *region)
{
	for (size_t i = bitmap_next_set(region->warm, 0, region->pieces); i != BITMAP_NONE;
	     i = bitmap_next_set(region->warm, i + 1, region->pieces)) {
		madvise(region->base + i * region->size, region->size, MADV_DONTNEED);
		bitmap_clear(region->warm, i);
		bitmap_set(region->cold, i);
	}
	atomic_fetch_sub(&kept, region->warm_pieces * region->size);
	region->warm_pieces = 0;
}

/* The same as reclaim, also of regions in use. */
static void cool(size_t limit)
{
	reclaim(limit);
	for (unsigned i = 0; i < CLASSES && atomic_load(&kept) > limit; i++) {
		pthread_mutex_lock(&classes[i].lock);
		if (list_linked(&classes[i].regions))
			list_for_each(node, &classes[i].regions)
				if (atomic_load(&kept) > limit)
					region_cool(container_of(node, struct slab_region, node));
		pthread_mutex_unlock(&classes[i].lock);
	}
}

/*
 * A fork takes only the thread that calls it along: a lock that another one holds would be locked in the child for ever.
 * So all are taken before it, always in this order; whoever holds one takes no other.
 */
static void locks_take(void)
{
	for (unsigned i = 0; i < CLASSES; i++)
		pthread_mutex_lock(&classes[i].lock);
}

static void locks_give(void)
{
	for (unsigned i = CLASSES; i-- > 0;)
		pthread_mutex_unlock(&classes[i].lock);
}

static pthread_once_t forks = PTHREAD_ONCE_INIT;

static void forks_prepare(void)
{
	/* Without memory for it nothing is worse than before: only a child that forks in such a moment could wait. */
	(void)pthread_atfork(locks_take, locks_give, locks_give);
}

void slab_settle(uint64_t now_ns)
{
	uint64_t before = atomic_load(&settled_ns);

	if (now_ns - before < SLAB_SETTLE_NS || !atomic_compare_exchange_strong(&settled_ns, &before, now_ns))
		return;
	size_t have = atomic_load(&kept), unused = atomic_exchange(&low, have);
	size_t excess = have > SLAB_KEEP ? have - SLAB_KEEP : 0;

	unused = unused < excess ? unused : excess;
	unused = unused < SLAB_SETTLE_BYTES ? unused : SLAB_SETTLE_BYTES;
	if (unused)
		cool(have - unused);
}

void *slab_take(size_t size, struct slab_region **ret_region)
{
	size_t pages;
	unsigned number = class_of(size / PAGE, &pages);
	struct size_class *class = &classes[number];
	struct slab_region *region;

	pthread_once(&forks, forks_prepare);
	pthread_mutex_lock(&class->lock);
	if (!list_linked(&class->regions))
		list_init(&class->regions);
	region = list_empty(&class->regions) ? region_new(number, pages * PAGE) :
					       container_of(class->regions.next, struct slab_region, node);
	if (!region) {
		pthread_mutex_unlock(&class->lock);
		return NULL;
	}
	uint64_t *map = region->warm_pieces ? region->warm : region->cold;
	size_t piece = bitmap_next_set(map, 0, region->pieces);
	bitmap_clear(map, piece);
	if (map == region->warm) {
		region->warm_pieces--;
		size_t left = atomic_fetch_sub(&kept, region->size) - region->size;
		if (left < atomic_load_explicit(&low, memory_order_relaxed))
			atomic_store_explicit(&low, left, memory_order_relaxed);
	}
	class->empty -= region->free_pieces == region->pieces;
	if (--region->free_pieces == 0)
		list_remove(&region->node);
	pthread_mutex_unlock(&class->lock);
	atomic_fetch_add(&taken, 1);
	*ret_region = region;
	return region->base + piece * region->size;
}

void slab_give(struct slab_region *region, void *memory)
{
	struct size_class *class = &classes[region->class];
	size_t size = region->size, piece = (size_t)((uint8_t *)memory - region->base) / size;
	/* The decision is taken before the piece is free: then it's anybody's. */
	bool full = atomic_load(&kept) + size > SLAB_KEEP_MAX;

	POOL_CHECK((uint8_t *)memory == region->base + piece * size && piece < region->pieces);
	if (full)
		madvise(memory, size, MADV_DONTNEED);
	pthread_mutex_lock(&class->lock);
	POOL_CHECK(!bitmap_get(region->warm, piece) && !bitmap_get(region->cold, piece));
	bitmap_set(full ? region->cold : region->warm, piece);
	if (!full) {
		region->warm_pieces++;
		atomic_fetch_add(&kept, size);
	}
	if (region->free_pieces++ == 0)
		list_push_back(&class->regions, &region->node);
	bool empty = region->free_pieces == region->pieces;
	class->empty += empty;
	if (empty && region->warm_pieces == 0)
		region_drop(region);
	pthread_mutex_unlock(&class->lock);
	size_t left = atomic_fetch_sub(&taken, 1) - 1;
	/* More than it must: one piece at a time comes and goes like this with each request. */
	if (left == 0 && atomic_load(&kept) > SLAB_KEEP_IDLE)
		reclaim(SLAB_KEEP_IDLE / 2);
	else if (full)
		reclaim(SLAB_KEEP_MAX / 2);
}

size_t slab_kept(void)
{
	return atomic_load(&kept);
}
