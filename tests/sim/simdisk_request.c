/*
 * A request's way through a simulated disk: its fault and delay are drawn at submission, its content is taken
 * then too, and its effect happens in one step when it ends.
 *
 * What must always hold: an effect happens once or never; after the power went off, never; and the buffer
 * of a write doesn't change between submission and end (its owner froze it).
 */
#include "tests/sim/simdisk_private.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "checksum/crc32c.h"

static uint64_t draw_delay(struct sim_request *request, uint64_t now_ns)
{
	struct sim_disk *disk = request->target;
	struct sim_disk_state *state = disk->state;
	const struct sim_latency *latency = &disk->latency;
	bool transfers = request->operation == DISK_READ || request->operation == DISK_WRITE;
	uint64_t base_ns = request->operation == DISK_FLUSH ? latency->flush_ns : latency->io_ns;
	uint64_t spread = base_ns * latency->jitter_percent / 100, start_ns = now_ns;

	if (request->operation == DISK_TRIM && latency->trim_ns)
		base_ns = latency->trim_ns;
	if (request->operation == DISK_READ && latency->read_ns)
		base_ns = latency->read_ns;
	if (transfers) {
		if (request->offset != state->last_end)
			base_ns += latency->seek_ns;
		state->last_end = request->offset + request->length;
		if (state->bus_free_ns > start_ns)
			start_ns = state->bus_free_ns;
		if (latency->bytes_per_second)
			start_ns += (uint64_t)((unsigned __int128)request->length * NS_PER_S /
					       latency->bytes_per_second);
		state->bus_free_ns = start_ns;
	}
	return start_ns - now_ns + base_ns - spread + sim_random_below(&state->random, 2 * spread + 1);
}

/* Calls visit for each cell of the request with its place in memory. */
static void each_cell(const struct disk_io *io, void (*visit)(void *argument, uint64_t index, uint8_t *cell),
		      void *argument)
{
	uint64_t index = 0;

	for (unsigned i = 0; i < io->iov_count; i++)
		for (size_t at = 0; at < io->iov[i].iov_len; at += SIM_CELL)
			visit(argument, index++, (uint8_t *)io->iov[i].iov_base + at);
}

static void take_cell(void *argument, uint64_t index, uint8_t *cell)
{
	struct sim_request *request = argument;

	request->write->versions[index].content = sim_content_make(&request->target->set->store, cell);
}

static void check_cell(void *argument, uint64_t index, uint8_t *cell)
{
	struct sim_request *request = argument;
	uint8_t taken[SIM_CELL];

	sim_content_read(request->write->versions[index].content, taken);
	if (memcmp(taken, cell, SIM_CELL))
		sim_fatal("%s: the buffer of a write at %" PRIu64 " changed while it was in flight",
			  request->target->path, request->offset + index * SIM_CELL);
}

static void check_shape(const struct disk_io *io)
{
	uint64_t length = 0;

	if (io->operation == DISK_FLUSH)
		return;
	if (io->length == 0 || io->length % SIM_CELL || io->offset % SIM_CELL)
		sim_fatal("request of %" PRIu64 "+%" PRIu64 " isn't made of cells", io->offset, io->length);
	if (io->operation == DISK_TRIM)
		return;
	for (unsigned i = 0; i < io->iov_count; i++) {
		if (io->iov[i].iov_len % SIM_CELL || (uintptr_t)io->iov[i].iov_base % SIM_CELL)
			sim_fatal("a buffer isn't aligned to cells");
		length += io->iov[i].iov_len;
	}
	if (length != io->length)
		sim_fatal("buffers of %" PRIu64 " bytes for a request of %" PRIu64, length, io->length);
}

static uint64_t content_hash(const struct sim_write *write)
{
	uint64_t hash = 0;

	for (uint64_t i = 0; write && i < write->count; i++)
		hash = hash_u64(hash + sim_content_hash(write->versions[i].content));
	return hash;
}

/*
 * What a trimmed range reads as is the disk's business: zeros, garbage, what was there, or a mixture. So it is from the submission to
 * the end, as nobody knows when the disk gets to it, and no power cut brings anything back.
 */
static void undefine(struct sim_request *request)
{
	struct sim_disk *disk = request->target;
	struct sim_random *random = &disk->state->random;
	uint64_t manner = sim_random_below(random, 4), garbage[SIM_CELL / 8];

	for (size_t i = 0; i < SIM_CELL / 8; i++)
		garbage[i] = i ? garbage[0] : sim_random_next(random);
	for (uint64_t at = 0; at < request->length && request->offset + at < disk->size; at += SIM_CELL) {
		uint64_t now = manner < 3 ? manner : sim_random_below(random, 3), cell = (request->offset + at) / SIM_CELL;

		if (now == 2)
			continue;
		sim_disk_clear_bad(disk, cell);
		sim_disk_set_durable(disk, cell, now ? sim_content_make(&disk->set->store, garbage) : NULL);
	}
}

static void event_fire(struct sim_event *event)
{
	struct sim_request *request = container_of(event, struct sim_request, event);

	sim_request_end(request, request->error);
}

/* What is written while a trim of it is under way, the trim may still throw away: nobody may do that, however late the trim is. */
static void check_trims(const struct sim_disk *disk, const struct disk_io *io)
{
	if (!disk->state->trims)
		return;
	list_for_each(node, &disk->state->in_flight) {
		const struct sim_request *request = container_of(node, struct sim_request, node);

		if (request->operation == DISK_TRIM && !request->error && request->handle && io->offset < request->offset + request->length &&
		    request->offset < io->offset + io->length)
			sim_fatal("%s: a write at %" PRIu64 " while a trim of %" PRIu64 "+%" PRIu64 " is under way", disk->path, io->offset,
				  request->offset, request->length);
	}
}

static void sim_submit(struct disk *base, struct disk_io *io)
{
	struct sim_handle *handle = container_of(base, struct sim_handle, disk);
	struct sim_disk *disk = handle->target;
	struct sim_disks *set = disk->set;
	struct sim_env *sim = handle->provider->sim;
	static const char *const names[] = {"read", "write", "flush", "trim"};
	uint64_t delay_ns = 1000;

	if (set->powered_off && !set->fail_after_power_off)
		return;
	check_shape(io);
	if (io->operation == DISK_WRITE)
		check_trims(disk, io);
	if (set->hooks.on_submit)
		set->hooks.on_submit(set->hooks.argument, disk, io);
	struct sim_request *request = sim_allocate(sizeof(*request));

	request->target = disk;
	request->handle = handle;
	request->io = io;
	request->operation = io->operation;
	request->offset = io->operation == DISK_FLUSH ? 0 : io->offset;
	request->length = io->operation == DISK_FLUSH ? 0 : io->length;
	request->fua = io->operation == DISK_WRITE && io->fua;
	request->barrier = disk->state->sequence;
	request->fault = SIM_FAULT_COUNT;
	request->event.fire = event_fire;
	io->backend = request;
	list_push_back(&disk->state->in_flight, &request->node);
	disk->state->trims += request->operation == DISK_TRIM;
	if (set->powered_off || !disk->present || handle->epoch != disk->state->epoch)
		request->error = -ENODEV;
	else if (io->operation != DISK_READ && handle->read_only)
		request->error = -EROFS;
	else if (io->operation == DISK_TRIM && disk->no_trim)
		request->error = -EOPNOTSUPP;
	else if (request->offset + request->length > disk->size)
		request->error = io->operation == DISK_READ ? -EIO : -ENOSPC;
	if (!request->error) {
		if (io->operation == DISK_WRITE) {
			request->write = sim_write_new(disk, io->offset, io->length);
			each_cell(io, take_cell, request);
		}
		delay_ns = draw_delay(request, sim->now_ns);
		sim_fault_draw(request, &delay_ns);
		if (io->operation == DISK_TRIM)
			undefine(request);
	}
	sim_env_note(sim, names[io->operation], disk->index, request->offset | request->length >> 12,
		     content_hash(request->write));
	if (delay_ns == UINT64_MAX)
		request->hung = true;
	else
		sim_env_schedule(sim, &request->event, sim->now_ns + delay_ns);
}

struct reading {
	struct sim_request *request;
	uint64_t corrupt_cell; /* index, or UINT64_MAX */
};

static void read_cell(void *argument, uint64_t index, uint8_t *cell)
{
	struct reading *reading = argument;
	struct sim_request *request = reading->request;
	struct sim_disk *disk = request->target;
	uint64_t from = request->fault == SIM_READ_MISDIRECTED ? request->fault_target : request->offset;
	uint64_t number = from / SIM_CELL + index;

	sim_content_read(request->fault == SIM_READ_STALE ? sim_fault_stale(disk, number) : sim_disk_cell(disk, number),
			 cell);
	if (index == reading->corrupt_cell)
		cell[sim_random_below(&disk->state->random, SIM_CELL)] ^=
			(uint8_t)sim_random_between(&disk->state->random, 1, 255);
}

/* What a failed read leaves in the buffer must not be used by anybody. */
static void spoil_cell(void *argument, uint64_t index, uint8_t *cell)
{
	(void)argument, (void)index;
	memset(cell, 0xbd, SIM_CELL);
}

static int end_read(struct sim_request *request)
{
	struct sim_disk *disk = request->target;
	struct reading reading = {request, UINT64_MAX};
	bool readable = request->fault != SIM_READ_ERROR && request->offset + request->length <= disk->size;

	if (disk->state->bad_cells.count)
		for (uint64_t at = 0; at < request->length && readable; at += SIM_CELL)
			readable = !sim_disk_is_bad(disk, (request->offset + at) / SIM_CELL);
	if (!readable) {
		if (request->io)
			each_cell(request->io, spoil_cell, NULL);
		return -EIO;
	}
	if (request->fault == SIM_READ_CORRUPT)
		reading.corrupt_cell = sim_random_below(&disk->state->random, request->length / SIM_CELL);
	if (request->io)
		each_cell(request->io, read_cell, &reading);
	disk->counters.reads++;
	disk->counters.bytes_read += request->length;
	return 0;
}

static void drop_version(struct sim_disk *disk, struct sim_version *version)
{
	version->gone = true;
	sim_content_unref(&disk->set->store, version->content);
}

static int end_write(struct sim_request *request)
{
	struct sim_disk *disk = request->target;
	struct sim_random *random = &disk->state->random;
	struct sim_write *write = request->write;
	uint64_t kept = request->fault == SIM_WRITE_SHORT ? sim_random_below(random, write->count) : write->count;
	bool lie = disk->lying || !disk->fua || request->fault == SIM_FLUSH_LIE;

	request->write = NULL;
	disk->counters.writes++;
	disk->counters.fua_writes += request->fua;
	disk->counters.bytes_written += request->length;
	if (request->fault == SIM_WRITE_LOST) {
		sim_write_free(disk, write);
		return 0;
	}
	for (uint64_t i = 0; i < write->count; i++) {
		if (request->fault == SIM_WRITE_MISDIRECTED)
			write->versions[i].cell = request->fault_target / SIM_CELL + i;
		if (i >= kept || (request->fault == SIM_WRITE_ERROR && sim_random_below(random, 2)))
			drop_version(disk, &write->versions[i]);
	}
	sim_cache_add(disk, write, request->fua && !lie);
	return request->fault == SIM_WRITE_SHORT || request->fault == SIM_WRITE_ERROR ? -EIO : 0;
}

static int end_trim(struct sim_request *request)
{
	request->target->counters.trims++;
	undefine(request);
	return request->fault == SIM_WRITE_ERROR ? -EIO : 0;
}

static int end_flush(struct sim_request *request)
{
	struct sim_disk *disk = request->target;

	disk->counters.flushes++;
	if (request->fault == SIM_FLUSH_ERROR) {
		if (sim_random_below(&disk->state->random, 2))
			sim_cache_lose(disk);
		return -EIO;
	}
	if (request->fault != SIM_FLUSH_LIE && !disk->lying)
		sim_cache_flush(disk, request->barrier);
	return 0;
}

/* Tells the hooks, and counts; false if the power went off just before. */
static bool may_apply(struct sim_request *request)
{
	struct sim_disk *disk = request->target;
	struct sim_disks *set = disk->set;

	if (set->powered_off)
		return false;
	if (request->operation == DISK_READ)
		return true;
	if (set->operations >= set->private->cut_at)
		sim_disks_power_off(set);
	else if (set->hooks.on_apply)
		set->hooks.on_apply(set->hooks.argument, disk, request->operation, request->offset, request->length);
	if (set->powered_off)
		return false;
	set->operations++;
	return true;
}

void sim_request_free(struct sim_request *request)
{
	sim_write_free(request->target, request->write);
	free(request);
}

static int take_effect(struct sim_request *request)
{
	if (request->operation == DISK_WRITE && !request->write) /* sim_disk_restore went back behind it */
		return -EIO;
	if (request->operation == DISK_WRITE && request->io && request->target->set->check_buffers)
		each_cell(request->io, check_cell, request);
	switch (request->operation) {
	case DISK_READ:
		return end_read(request);
	case DISK_WRITE:
		return end_write(request);
	case DISK_TRIM:
		return end_trim(request);
	default:
		return end_flush(request);
	}
}

/* Some disks have the sums of what was read, as files in RAM do, others leave them to who reads: here a request is of either kind. */
static void make_sums(struct disk_io *io)
{
	bool has = (io->offset / SIM_CELL + io->length / SIM_CELL) % 2;

	io->has_crcs = io->crcs && has;
	io->has_hash = io->hash && has;
	if (io->has_hash)
		xxh3_128(io->iov[0].iov_base, io->length, io->hash);
	for (uint64_t i = 0; io->has_crcs && i < io->length / SIM_CELL; i++)
		io->crcs[i] = crc32c(io->crcs[i], (uint8_t *)io->iov[0].iov_base + i * SIM_CELL, SIM_CELL);
}

void sim_request_end(struct sim_request *request, int error)
{
	struct sim_disk *disk = request->target;
	struct disk_io *io;
	int result = error;

	/* A write that the power cut overtook stays in flight, for the crash to decide about. */
	if (!error && !may_apply(request))
		return;
	if (!error)
		result = take_effect(request);
	io = request->io;
	if (disk->set->log)
		fprintf(disk->set->log, "%s %c %" PRIu64 "+%" PRIu64 "%s: %d\n", disk->path, "RWFT"[request->operation],
			request->offset, request->length, request->fua ? " fua" : "", result);
	list_remove(&request->node);
	request->target->state->trims -= request->operation == DISK_TRIM;
	sim_request_free(request);
	if (io && io->operation == DISK_READ && result == 0)
		make_sums(io);
	if (io)
		disk_complete(io, result);
}

void sim_disk_fail_in_flight(struct sim_disk *disk, int error)
{
	while (!list_empty(&disk->state->in_flight)) {
		struct sim_request *request = container_of(disk->state->in_flight.next, struct sim_request, node);

		if (request->event.place)
			sim_env_cancel(disk->set->private->sim, &request->event);
		sim_request_end(request, error);
	}
}

static void sim_close(struct disk *base)
{
	struct sim_handle *handle = container_of(base, struct sim_handle, disk);

	if (handle->target->state->exclusive == handle)
		handle->target->state->exclusive = NULL;
	list_remove(&handle->node);
	free(handle);
}

const struct disk_backend_ops sim_backend_ops = {
	.submit = sim_submit,
	.close = sim_close,
};
