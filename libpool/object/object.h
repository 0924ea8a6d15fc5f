/*
 * Objects: blobs (sparse arrays of blocks under a radix of block pointers) and trees (copy-on-write B+trees
 * of byte-string keys), numbered inside an objset.
 *
 * How changes travel: on-disk structure (indirect nodes, tree nodes, dnode blocks) changes only inside
 * sync. An open txg collects deltas: for a blob the dirty level-0 blocks and the punched ranges, for a tree the
 * puts and deletes, for a dnode its new attributes. Each object has two sets of deltas, one for the open and
 * one for the syncing txg (index txg & 1), and a read consults open, then syncing, then disk. So nothing
 * on the way to disk is ever changed, and no node exists in two versions.
 *
 * Every changing call takes the number of the open txg, which the caller pins (the txg layer's
 * handle). Engine thread only; fibers; functions wait for reads unless said otherwise. 0 or negative errno.
 *
 * Order between txgs: two txgs can be written to at a time, T + 1 being open and T closed. In trees and dnodes a change
 * of T + 1 counts before one of T whenever that came; in blobs a change of T that comes late is made in T + 1 too.
 * Whoever needs one order for both (a directory entry and the link count) lets no operation of T + 1 begin before those
 * of T have ended.
 *
 * Files: overlay.c the changes of a txg; blob_*.c, tree_*.c lookups, changes and plans; objset_sync.c the order of a
 * sync; path_check.c; orphans.c what is killed later; walk.c. object_internal.h tells what they have in common.
 */
#ifndef LIBPOOL_OBJECT_OBJECT_H
#define LIBPOOL_OBJECT_OBJECT_H

#include "libpool/block/block.h"
#include "libpool/format/dnode.h"

struct objset;
struct object;

#define OBJECT_KEY_MAX 1024u
#define OBJECT_VALUE_MAX 3072u

struct objset_options {
	uint32_t id;              /* goes into owner hints; 0 is the MOS */
	enum segment_class data_class; /* of level-0 blob blocks; nodes, dnodes and trees go to META */
	uint8_t metadata_compression;  /* BLOCK_COMPRESS_* for everything but level-0 blob blocks */
	/* Told of every change of dirty memory (bytes, may be negative) for the txg: the throttle counts it. May be NULL. */
	void (*dirty)(void *argument, uint64_t txg, int64_t bytes);
	void *argument;
};

/*
 * An empty objset that becomes durable with the next sync in which it is dirty (it is marked dirty for txg). Numbers 1 to 14
 * are for whoever defines what the objset is, 15 is used by this layer, and object_create gives out numbers from 16 on.
 */
int objset_create(struct rt *rt, struct blocks *blocks, const struct objset_options *options, uint64_t txg, struct objset **ret_objset);
/* Waits. A hole as root is -POOL_EFORMAT. */
int objset_open(struct rt *rt, struct blocks *blocks, const struct objset_options *options, const struct raw_block_pointer *root,
		struct objset **ret_objset);
/* All objects must be closed; unsynced deltas are dropped. Waits for fibers that read ahead. */
void objset_close(struct objset *objset);
uint32_t objset_id(const struct objset *objset);
/* The root as of the last finished sync. */
const struct raw_block_pointer *objset_root(const struct objset *objset);
/* Cells in use by all objects, dnodes included, given what they were when it was last asked (or when the objset was opened). */
uint64_t objset_cells(struct objset *objset, uint64_t before);
bool objset_is_dirty(const struct objset *objset, uint64_t txg);
uint64_t objset_object_count(const struct objset *objset); /* deltas included */
void *objset_user(const struct objset *objset);
void objset_set_user(struct objset *objset, void *user);

struct object_create_options {
	uint64_t number;        /* 0: the next free one. Never used again when its object is gone, unless asked for by number */
	enum dnode_kind kind;
	uint8_t block_shift;    /* blobs: 12 to 20 */
	uint8_t indirect_shift; /* 0: 12 for blocks <= 16 KiB, else 14; trees: node size, 14 */
	uint8_t compression;    /* of level-0 blob blocks, BLOCK_COMPRESS_*; not stored: set it after open too */
};
int object_create(struct objset *objset, uint64_t txg, const struct object_create_options *options, struct object **ret_object);
/* One object in RAM per number: handles share it. -ENOENT when free. */
int object_open(struct objset *objset, uint64_t number, struct object **ret_object);
void object_close(struct object *object);
/*
 * The lowest number in use that is >= `first`, orphans apart: -ENOENT if there is none. What is created or destroyed meanwhile
 * may be missed or be gone. Waits.
 */
int objset_next_object(struct objset *objset, uint64_t first, uint64_t *ret_number);
uint64_t object_number(const struct object *object);
void object_set_compression(struct object *object, uint8_t compression);
/* Marks the object free in txg; its blocks are killed by the syncs of this and, when there are many, of the following txgs
 * (at most `OBJECT_KILLS_PER_SYNC` pointers each, all objsets of the sync together, and see kill_ns). Open handles read zeroes and
 * -ENOENT from then on. */
int object_destroy(struct object *object, uint64_t txg);
#define OBJECT_KILLS_PER_SYNC 65536u

/*
 * The newest state, deltas included; all zero (DNODE_FREE) after object_destroy. sectors, and the number of entries of a
 * tree, are exact as of the last sync: what waits to be killed counts until it is.
 */
void object_info(const struct object *object, struct dnode *ret_dnode);
int object_set_bonus(struct object *object, uint64_t txg, const void *bonus, size_t length);

/* Blobs. Lengths and offsets in bytes; the end of a blob is not kept here (see bonus). */
uint32_t blob_block_size(const struct object *object);
/* Whether content (not the bonus alone) has changed since the last finished sync. */
bool object_has_changes(const struct object *object);
/* What blocks of a blob that were written since the last finished sync have at most, in cells: those that it rewrites too. */
uint64_t blob_dirty_cells(const struct object *object);
/* Never written to, by any txg's change of content either. */
bool blob_is_untouched(const struct object *object);
/* Another block size (12 to 20) for a blob that was never written to, which any txg's change of content is: else -EBUSY. Never waits. */
int blob_set_block_shift(struct object *object, uint64_t txg, uint8_t block_shift);
/* Copies [offset, offset + length) out; holes and what lies beyond the last block read as zeroes. */
int blob_read(struct object *object, uint64_t offset, size_t length, void *destination);
/*
 * Without a copy: gives the block's frozen buffer (block `number`), or *ret_buffer = NULL for a hole.
 * -POOL_EDAMAGED for what can't be read.
 */
int blob_read_block(struct object *object, uint64_t number, struct buffer **ret_buffer);
/* The same if it needs no I/O: 1 with the buffer (or NULL for a hole), 0 when it would wait. */
int blob_read_block_cached(struct object *object, uint64_t number, struct buffer **ret_buffer);
/* Starts reading blocks into the cache; never waits, never fails. */
void blob_prefetch(struct object *object, uint64_t first, uint64_t count);
/* Copies in. Partial blocks are merged with what is there (which may be read first; that error is returned, nothing changed in that block). */
int blob_write(struct object *object, uint64_t txg, uint64_t offset, size_t length, const void *source);
/*
 * What a write of this range has to read is read, and changed as it is: the write, in the same handle, then doesn't wait. That takes
 * that nobody else changes the object meanwhile.
 */
int blob_prepare_write(struct object *object, uint64_t txg, uint64_t offset, uint64_t length);
/* Replaces one whole block by a frozen buffer of exactly block size; takes a reference. Never waits. */
int blob_write_block(struct object *object, uint64_t txg, uint64_t number, struct buffer *buffer);
/* The range becomes zeroes: whole blocks become holes, parts are zeroed. */
int blob_punch(struct object *object, uint64_t txg, uint64_t offset, uint64_t length);
/* Next data or hole at or after offset, within [offset, limit): returns 0 and *ret_offset (limit if none). What is
 * not provably a hole is data. Dirty state and disk state are consulted without letting a sync step in between. */
int blob_seek(struct object *object, uint64_t offset, uint64_t limit, bool data, uint64_t *ret_offset);

/*
 * What the open or syncing txg has made of a byte range, as it is now, in ascending pieces within blocks or punched ranges;
 * `bytes` NULL: zeroes. What that txg left alone is passed over; after its sync nothing is told any more. Never waits, nor
 * may visit, which returns 0 to go on or a negative error to stop.
 */
typedef int blob_change_function(void *argument, uint64_t offset, uint64_t length, const uint8_t *bytes);
int blob_each_change(struct object *object, uint64_t txg, uint64_t offset, uint64_t length, blob_change_function *visit, void *argument);
/*
 * A block that the open txg has written, as it is now, to be written ahead of the sync, which then takes it over unless the block
 * was changed meanwhile: with a reference. NULL: there is no such block, or it was changed after the last time. Never waits. 0 or -ENOMEM.
 */
int blob_write_ahead(struct object *object, uint64_t txg, uint64_t number, struct ahead_block **ret_ahead);

/* Trees. Keys are compared with memcmp, shorter first. Buffers are the caller's. */
int tree_get(struct object *object, const void *key, size_t key_length, void *value, size_t value_capacity, size_t *ret_length); /* -ENOENT; -ERANGE with *ret_length when capacity is too small */
int tree_put(struct object *object, uint64_t txg, const void *key, size_t key_length, const void *value, size_t value_length);
int tree_delete(struct object *object, uint64_t txg, const void *key, size_t key_length); /* deleting what isn't there is no error */
/* Nothing changes, but the leaf that the key belongs into, and the nodes above it, are written anew. The key needn't be there. */
int tree_touch(struct object *object, uint64_t txg, const void *key, size_t key_length);
/*
 * The first entry with key >= the given one (or > when `after`); -ENOENT at the end. ret_key has room for
 * OBJECT_KEY_MAX, value for OBJECT_VALUE_MAX. Calling it in turn with `after` walks the tree, stable under changes.
 */
int tree_next(struct object *object, const void *key, size_t key_length, bool after, void *ret_key, size_t *ret_key_length, void *ret_value,
	      size_t *ret_value_length);

/* The keys from `low` to below `high` (high_length 0: to the end), which belong into one node on disk. */
struct tree_range {
	unsigned level;
	size_t low_length, high_length;
	uint8_t low[OBJECT_KEY_MAX], high[OBJECT_KEY_MAX];
};
/*
 * The leaf that a key belongs into, on disk, whatever is cached: *ret_damage is 0, or why it, or (of the range's level) the topmost node
 * above it that can't be read, can't be. Waits.
 */
int tree_check_leaf(struct object *object, const void *key, size_t key_length, struct tree_range *ret_range, int *ret_damage);
/*
 * For a tree whose content is known elsewhere: the changes of txg, with those to come, are all that is to be in the range of a node that
 * can't be read. The node is written anew from them; other nodes are as ever. What was below it and isn't a leaf's content is forgotten:
 * the leaves below an upper node stay allocated. `entries`: how many the tree has then.
 */
int tree_set_complete(struct object *object, uint64_t txg, const struct tree_range *range, uint64_t entries);

/*
 * Whether a change could be committed: all nodes on its way must be readable, or the commit fails and halts the pool. Ask before
 * each change, outside of handles (they read what isn't cached). 0, -POOL_EDAMAGED or what the read gives. For blocks [first,
 * first + count): a punch needs less than a write, as what it takes away as a whole isn't opened. object_check: the dnode; tree_check asks for it too.
 */
int object_check(struct object *object);
int objset_check_create(struct objset *objset); /* of the object whose number comes next */
int blob_check_write(struct object *object, uint64_t first, uint64_t count);
int blob_check_punch(struct object *object, uint64_t first, uint64_t count);
/* Of a single block, for a write; and, whatever the result, the first block beyond it that isn't below the same node or hole. */
int blob_check_block(struct object *object, uint64_t number, uint64_t *ret_end);
int tree_check(struct object *object, const void *key, size_t key_length);
/* The lowest key in the content of a tree's node, which the caller has from elsewhere. 0 or -POOL_EFORMAT. */
int tree_first_key(const struct object *object, const struct buffer *node, unsigned level, void *ret_key, size_t *ret_key_length);

/*
 * The bytes of its object that can't be reached without a block, 0 being the blob of dnodes: of a blob those below it, up to the
 * last block that was written; of a tree all. And whether that block, with those above it, can be read (a tree is read as a whole). 0, -ENOENT without such an object, or what the reads give. Both wait.
 */
int objset_block_range(struct objset *objset, uint64_t number, unsigned level, uint64_t block, uint64_t *ret_offset, uint64_t *ret_length);
int objset_block_check(struct objset *objset, uint64_t number, unsigned level, uint64_t block);

/*
 * The cells that writing blocks [first, first + count) in txg, which the caller pins, adds at most to the object, beyond what was charged for
 * them in the same txg: as if nothing could be compressed, with the nodes above. Waits for reads.
 */
int blob_growth(struct object *object, uint64_t txg, uint64_t first, uint64_t count, uint64_t *ret_cells);
/* They are written in this txg, and what blob_growth said was charged for them. */
void blob_charged(struct object *object, uint64_t txg, uint64_t first, uint64_t count);

/*
 * Told of every object that a sync changed, in the step in which it takes effect: its record before (kind DNODE_FREE or no bonus yet: it
 * is new) and after (DNODE_FREE: it is gone). Must not wait.
 */
typedef void objset_observer(void *argument, const struct dnode *before, const struct dnode *after);
void objset_observe(struct objset *objset, objset_observer *observer, void *argument);

/* Sync. */
struct object_sync {
	uint64_t txg;
	struct blocks *blocks;
	/* Called for every pointer that stops being referenced by the objset (placed ones only); must not wait. */
	void (*kill)(struct object_sync *sync, struct objset *objset, const struct block_pointer *pointer);
	void *argument;
	/* What is left of destroyed objects and punched ranges waits for a later sync as soon as killing it has taken this long; 0: no limit. */
	uint64_t kill_ns;
	/* And when so many pointers were given to kill, asked again and again; never 0 before the first one. NULL: no limit. */
	size_t (*orphans_room)(struct object_sync *sync);
	bool orphan; /* while kill is told of one of them */
};

/*
 * Writes the deltas of sync->txg of all given objsets: level-0 data of all, then nodes level by level over all objects
 * of all objsets, then dnodes, then the objset blocks (one block_writes_place for each level). On return
 * objset_root is the new root of each. Waits; no delta of sync->txg may be added while it runs.
 *
 * Objsets that are neither dirty nor have pending kills are passed over. After an error nothing is changed for readers,
 * but pointers have been given to kill: the txg must not be committed, and these objsets only be read from or closed.
 */
int objsets_sync(struct object_sync *sync, struct objset **objsets, size_t count);
/* More kills are waiting for later syncs (destroyed or punched objects): the txg layer keeps syncing. */
bool objset_has_pending_kills(const struct objset *objset);

/*
 * Blobs without an objset, rooted elsewhere (segment table, live bitmaps): data and nodes in `class`. What is punched out of
 * them is killed in one sync, however much it is.
 */
int object_new_bare(struct rt *rt, struct blocks *blocks, const struct dnode *dnode, uint8_t block_type, enum segment_class class,
		    uint64_t number, struct object **ret_object);
/* Like objsets_sync for one bare blob; *ret_dnode is its new record. objset in kill is NULL. */
int object_sync_bare(struct object_sync *sync, struct object *object, struct dnode *ret_dnode);

/*
 * Walks every placed pointer of an objset or bare blob as of the last finished sync, parents first (scrub --deep, checkers, destroy).
 * visit returns 0 to go on (and into children), 1 to skip children, negative to stop. Waits. What waits to be killed is
 * included, with the number of the object it belonged to. A node that can't be read is passed over and its error returned at
 * the end; -POOL_ESTALE if a sync has ended meanwhile and what was to be walked is gone.
 */
typedef int object_visit_function(void *argument, const struct block_pointer *pointer, const struct block_owner *owner);
int objset_walk(struct objset *objset, object_visit_function *visit, void *argument);
int object_walk_bare(struct object *object, object_visit_function *visit, void *argument);

#endif
