/*
 * I8: sysmap, pages, logs and batch map of a world, read back into a fresh allocation state, give the state that
 * is in memory. And the same as an import: the world goes on with what was read.
 */
#ifndef TESTS_UNIT_STORE_HARNESS_REPLAY_H
#define TESTS_UNIT_STORE_HARNESS_REPLAY_H

static inline struct alloc *world_replay(struct world *world)
{
	struct sysmap_segment *sys = sim_allocate(SYSMAP_SEGMENTS_MAX * sizeof(*sys));
	uint64_t oldest = alloc_log_oldest(world->alloc, world->committed);
	struct alloc *alloc;

	world_alloc_new(world, &alloc);
	unsigned sys_count = alloc_sysmap(world->alloc, sys);
	for (unsigned i = 0; i < sys_count; i++)
		assert_int_equal(alloc_load_sys(alloc, &sys[i]), 0);
	free(sys);
	for (int kind = 0; kind < 2; kind++)
		for (size_t page = 0; page < world->pages[kind].count; page++) {
			const struct world_page *known = array_at(&world->pages[kind], struct world_page, page);
			if (known->written)
				assert_int_equal(alloc_load_page(alloc, kind, page, known->raw, kind ? LIVEMAP_PAGE_SIZE : SEGTAB_PAGE_SIZE), 0);
		}
	for (size_t i = 0; i < world->logs.count; i++) {
		const struct world_log *log = array_at(&world->logs, struct world_log, i);
		bool recent = i + 3 >= world->logs.count, last = i + 1 == world->logs.count;
		if (log->txg < oldest && !recent)
			continue;
		WORLD_CHECK(!log->dead, "the log of %llu is needed and was freed", (unsigned long long)log->txg);
		assert_int_equal(alloc_load_log(alloc, log->txg, log->bytes.items, log->bytes.count, recent, last), 0);
	}
	for (size_t i = 0; i < world->map.count; i++) {
		const struct world_map_entry *entry = array_at(&world->map, struct world_map_entry, i);
		assert_int_equal(alloc_load_batch(alloc, entry->segment, &entry->batch), 0);
	}
	assert_int_equal(alloc_load_finish(alloc, alloc_sequence(world->alloc), world->committed, &world->final), 0);
	return alloc;
}

static inline bool world_row_is_live(const struct world *world, const struct segment *segment, unsigned row)
{
	for (unsigned c = 0; c < segment->record.k; c++)
		if (segment->bits && bitmap_get(segment->bits, (size_t)c * world->geometry.rows + row))
			return true;
	return false;
}

static inline void world_compare_batches(struct world *world, const struct segment *now, const struct segment *then)
{
	for (unsigned row = 1; row < world->geometry.rows; row++) {
		const struct batch_index *a = alloc_batch_find(now, row), *b = alloc_batch_find(then, row);
		/* Rows handed out and not used have left their batch; the map hears of it with the next txg. */
		if (!a && b && !world_row_is_live(world, now, row))
			continue;
		WORLD_CHECK(!a == !b, "segment %u, row %u: a batch %s the replay only", now->id, row, a ? "isn't in" : "is in");
		WORLD_CHECK(!a || (a->txg == b->txg && a->summary_dva == b->summary_dva && a->summary_cells == b->summary_cells &&
				   memcmp(a->summary_checksum, b->summary_checksum, 16) == 0),
			    "segment %u, row %u: another batch", now->id, row);
	}
}

/* Of a dead segment too: its summaries die one txg after its blocks. */
static inline void world_compare_bits(struct world *world, const struct segment *now, const struct segment *then)
{
	size_t words = BITMAP_WORDS((size_t)now->record.k * world->geometry.rows);

	for (size_t w = 0; w < words; w++)
		WORLD_CHECK((now->bits ? now->bits[w] : 0) == (then->bits ? then->bits[w] : 0), "segment %u: other live bits", now->id);
}

static inline void world_compare_segment(struct world *world, const struct segment *now, const struct segment *then)
{
	const struct segment_record *a = &now->record, *b = &then->record;
	uint32_t id = now->id;

	WORLD_CHECK(!alloc_segment_is_free(then), "segment %u is free in the replay", id);
	WORLD_CHECK(now->record_dirty || (a->state == b->state && a->class == b->class && a->k == b->k && a->m == b->m &&
					  a->rows_used == b->rows_used && a->flags == b->flags && a->alloc_txg == b->alloc_txg),
		    "segment %u: record %u %u %u+%u %u %x %llu, in the replay %u %u %u+%u %u %x %llu", id, a->state, a->class, a->k, a->m,
		    a->rows_used, a->flags, (unsigned long long)a->alloc_txg, b->state, b->class, b->k, b->m, b->rows_used, b->flags,
		    (unsigned long long)b->alloc_txg);
	for (unsigned c = 0; c < COLUMNS_MAX; c++)
		WORLD_CHECK(now->record_dirty || /* a column that moved when the log was closed is in the next one */
				    (a->columns[c].disk == b->columns[c].disk &&
				     (a->columns[c].disk == DISK_ABSENT || a->columns[c].au == b->columns[c].au)),
			    "segment %u: another column %u", id, c);
	WORLD_CHECK(now->live == then->live, "segment %u: %u live cells, in the replay %u", id, now->live, then->live);
	world_compare_bits(world, now, then);
	for (unsigned row = 0; now->busy && row < world->geometry.rows; row++)
		WORLD_CHECK(!bitmap_get(now->busy, row) || bitmap_get(then->busy, row), "segment %u: row %u isn't kept in the replay", id, row);
	world_compare_batches(world, now, then);
}

static inline void world_compare(struct world *world, struct alloc *then)
{
	struct alloc *now = world->alloc;
	size_t stale_now, stale_then;

	for (uint32_t id = 0; id < alloc_segment_count(now); id++) {
		const struct segment *a = alloc_segment(now, id), *b = alloc_segment(then, id);
		bool gone = !a || alloc_segment_is_free(a);
		WORLD_CHECK(!gone || !b || alloc_segment_is_free(b), "segment %u is free, but not in the replay", id);
		if (!gone)
			world_compare_segment(world, a, b);
		else if (a && b)
			world_compare_bits(world, a, b);
	}
	for (unsigned i = 0; i < world->options.disks; i++) {
		const struct alloc_disk *a = alloc_disk(now, i), *b = alloc_disk(then, i);
		for (uint32_t au = 0; a && b && au < a->au_count && !world->moving; au++)
			WORLD_CHECK(!bitmap_get(a->au_used, au) || bitmap_get(b->au_used, au), "AU %u of disk %u is free in the replay", au, i);
	}
	const struct stale_record *a = alloc_stale(now, &stale_now), *b = alloc_stale(then, &stale_then);
	WORLD_CHECK(stale_now == stale_then, "%zu STALE records, in the replay %zu", stale_now, stale_then);
	for (size_t i = 0; i < stale_now; i++)
		WORLD_CHECK(a[i].segment == b[i].segment && a[i].column == b[i].column && a[i].base == b[i].base && a[i].rows == b[i].rows &&
				    a[i].place == b[i].place, "another STALE record");
	struct space space_now, space_then;
	alloc_space(now, &space_now);
	alloc_space(then, &space_then);
	WORLD_CHECK(space_now.live_cells == space_then.live_cells, "%llu live cells in all, in the replay %llu",
		    (unsigned long long)space_now.live_cells, (unsigned long long)space_then.live_cells);
}

static inline void world_replay_check(struct world *world)
{
	struct alloc *replayed = world_replay(world);

	world_compare(world, replayed);
	alloc_free_all(replayed);
}

/* As an import: a new allocation state and a new store over the same disks. Between txgs. */
static inline void world_reimport(struct world *world)
{
	struct alloc *replayed = world_replay(world);
	struct store_disk *slots = sim_allocate(DISKS_MAX * sizeof(*slots));

	for (unsigned i = 0; i < DISKS_MAX; i++)
		slots[i] = *store_disk(world->store, i);
	store_free(world->store);
	alloc_free_all(world->alloc);
	world->alloc = replayed;
	world_store_new(world);
	for (unsigned i = 0; i < DISKS_MAX; i++)
		*store_disk(world->store, i) = slots[i];
	free(slots);
	store_txg_begin(world->store, world->committed);
	store_txg_end(world->store);
	assert_int_equal(store_resume(world->store, false), 0);
}

#endif
