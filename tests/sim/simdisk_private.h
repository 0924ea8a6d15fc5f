/*
 * The inside of the simulated disks, shared by simdisk*.c only.
 *
 * A write is in exactly one place: in flight (in state->in_flight through its request), or in the cache
 * (in state->cache, its versions in state->versions), or gone. A version is what a write wants in one cell; it
 * leaves the table when it became durable or was superseded by something durable. Of several versions of
 * a cell the one with the highest sequence is what reads see; without any, it is state->durable.
 */
#ifndef TESTS_SIM_SIMDISK_PRIVATE_H
#define TESTS_SIM_SIMDISK_PRIVATE_H

#include "libpool/base/hash_table.h"
#include "tests/sim/simdisk.h"

#define HISTORY_CELLS 256u

struct sim_version {
	struct hash_node node;
	struct sim_write *write;
	uint64_t cell;
	struct sim_content *content;
	bool gone; /* superseded: this version doesn't count any more */
};

struct sim_write {
	struct list node; /* in state->cache */
	uint64_t sequence; /* order of completion */
	uint64_t count;
	struct sim_version versions[];
};

struct sim_handle {
	struct disk disk;
	struct list node; /* in provider->handles */
	struct sim_disk *target;
	struct sim_provider *provider;
	unsigned epoch; /* of the target when it was opened: it fails after the target has vanished once */
	bool exclusive, read_only;
};

struct sim_request {
	struct list node; /* in state->in_flight */
	struct sim_event event;
	struct sim_disk *target;
	struct sim_handle *handle; /* NULL once the provider is gone */
	struct disk_io *io;        /* the same */
	enum disk_operation operation;
	uint64_t offset, length;
	struct sim_write *write; /* content of writes, as of submission */
	uint64_t barrier;        /* of a flush: sequence of the last write it covers */
	enum sim_fault fault;    /* SIM_FAULT_COUNT: none */
	uint64_t fault_target;
	int error;               /* decided at submission: nothing takes effect */
	bool hung, fua;
};

struct sim_script {
	struct list node;
	enum sim_fault fault;
	uint64_t offset, length, skip, count, value;
};

struct bad_cell {
	struct hash_node node;
	uint64_t cell;
};

struct sim_disk_state {
	struct sim_image durable;
	struct list cache;           /* sim_write, by sequence */
	struct hash_table versions;  /* of the cache, by cell */
	struct hash_table bad_cells;
	struct list in_flight;       /* sim_request, by submission */
	unsigned trims;              /* of them */
	struct list scripts;
	struct sim_random random;
	uint64_t sequence, bus_free_ns, last_end;
	unsigned epoch, hung;
	bool hanging;
	struct sim_handle *exclusive;
	struct { uint64_t cell; struct sim_content *content; } history[HISTORY_CELLS]; /* overwritten contents */
	unsigned history_next;
};

struct sim_disks_private {
	struct sim_provider *provider;
	struct sim_env *sim;
	uint64_t cut_at;
};

struct sim_provider {
	struct disk_provider provider;
	struct sim_disks *set;
	struct sim_env *sim;
	struct rt *rt;
	struct list handles;
};

/* simdisk_cache.c */
struct sim_write *sim_write_new(struct sim_disk *disk, uint64_t offset, uint64_t length);
void sim_write_free(struct sim_disk *disk, struct sim_write *write);
/* What reads see. No reference. */
struct sim_content *sim_disk_cell(const struct sim_disk *disk, uint64_t cell);
/* The write has completed: into the cache, or to the medium. Takes over the write. */
void sim_cache_add(struct sim_disk *disk, struct sim_write *write, bool durable);
/* Makes durable what has completed up to the sequence. */
void sim_cache_flush(struct sim_disk *disk, uint64_t sequence);
/* Forgets a random half of the cache. */
void sim_cache_lose(struct sim_disk *disk);
/* Content becomes durable in one cell, and every volatile version of it is superseded. Takes over the reference. */
void sim_disk_set_durable(struct sim_disk *disk, uint64_t cell, struct sim_content *content);
void sim_disk_clear_bad(struct sim_disk *disk, uint64_t cell);
bool sim_disk_is_bad(const struct sim_disk *disk, uint64_t cell);

/* simdisk_crash.c */
/* Decides what of the cache and of the writes in flight survives; both are empty afterwards. */
void sim_disk_crash(struct sim_disk *disk, enum sim_crash_mode mode, struct sim_random *random);

/* simdisk_fault.c */
/* Draws the fault of a request; sets request->fault, and *delay_ns (UINT64_MAX: hang). */
void sim_fault_draw(struct sim_request *request, uint64_t *delay_ns);
void sim_fault_count(struct sim_disk *disk, enum sim_fault fault, uint64_t offset, uint64_t length);
/* The content a stale read finds in place of the current one, or the current one. No reference. */
struct sim_content *sim_fault_stale(struct sim_disk *disk, uint64_t cell);

/* simdisk_request.c */
extern const struct disk_backend_ops sim_backend_ops;
/* Ends the request now: with its effect and result, or without effect and with the error. */
void sim_request_end(struct sim_request *request, int error);
void sim_request_free(struct sim_request *request);
void sim_disk_fail_in_flight(struct sim_disk *disk, int error);

#endif
