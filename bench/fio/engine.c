/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An engine for fio that reads and writes a volume in fio's own process, through the asynchronous requests of libpool.h.
 *
 *	[global]
 *	ioengine=external:/path/to/fio-libpool.so
 *	pool=tank
 *	filename=vm1          (the volume)
 *
 * `build` in this folder makes it against the headers of the fio that is installed. fio is under the GPL, and what is made
 * with its headers has to be too: it is for whoever builds it, and no part of libpool.
 *
 * All jobs of a run share one pool, which is imported before the first begins and exported after the last has ended; so jobs are
 * threads, whatever the job file says. A sync is a flush of the volume.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <libpool.h>

#include <fio.h>
#include <optgroup.h>

struct engine_options {
	void *pad; /* fio takes offset 0 for "none" */
	char *pool, *folder;
	unsigned long long cache_bytes;
	unsigned int workers;
};

static struct fio_option options[] = {
	{
		.name = "pool",
		.lname = "libpool pool",
		.type = FIO_OPT_STR_STORE,
		.off1 = offsetof(struct engine_options, pool),
		.help = "Pool to import",
		.category = FIO_OPT_C_ENGINE,
		.group = FIO_OPT_G_INVALID,
	},
	{
		.name = "folder",
		.lname = "libpool folder",
		.type = FIO_OPT_STR_STORE,
		.off1 = offsetof(struct engine_options, folder),
		.help = "Folder with the files that are the pool's disks; without it block devices are searched",
		.category = FIO_OPT_C_ENGINE,
		.group = FIO_OPT_G_INVALID,
	},
	{
		.name = "pool_cache",
		.lname = "libpool cache",
		.type = FIO_OPT_STR_VAL,
		.off1 = offsetof(struct engine_options, cache_bytes),
		.def = "1",
		.help = "Bytes of the pool's cache; 1: none, 0: the library's default",
		.category = FIO_OPT_C_ENGINE,
		.group = FIO_OPT_G_INVALID,
	},
	{
		.name = "pool_workers",
		.lname = "libpool workers",
		.type = FIO_OPT_INT,
		.off1 = offsetof(struct engine_options, workers),
		.def = "0",
		.help = "Worker threads of the pool; 0: the library's default",
		.category = FIO_OPT_C_ENGINE,
		.group = FIO_OPT_G_INVALID,
	},
	{ .name = NULL },
};

/* The pool that the jobs share. */
static struct {
	pthread_mutex_t lock;
	libpool_pool *pool;
	char *name;
	unsigned users;
} shared = { .lock = PTHREAD_MUTEX_INITIALIZER };

struct job {
	libpool_volume *volume;
	libpool_queue *queue;
	struct libpool_completion *completions;
	struct io_u **ended;
	unsigned depth;
};

static int failed(struct thread_data *td, const char *what, int code, const struct libpool_error *error)
{
	log_err("fio-libpool: %s: %s\n", what, error && error->text[0] ? error->text : libpool_strerror(code));
	td_verror(td, code < 0 && code > -4096 ? -code : EIO, what);
	return 1;
}

static int share_pool(struct thread_data *td, const struct engine_options *wanted)
{
	const char *folders[] = { wanted->folder };
	struct libpool_host host = { .size = sizeof(host), .folders = folders, .folder_count = wanted->folder != NULL,
				     .no_devices = wanted->folder != NULL, .cache_bytes = wanted->cache_bytes,
				     .workers = wanted->workers };
	struct libpool_import_options import = { .size = sizeof(import), .name = wanted->pool };
	struct libpool_error error = { 0 };
	int result = 0;

	if (!wanted->pool) {
		log_err("fio-libpool: option pool=NAME says which pool to import\n");
		return 1;
	}
	pthread_mutex_lock(&shared.lock);
	if (shared.pool && strcmp(shared.name, wanted->pool) != 0) {
		log_err("fio-libpool: pool %s is in use already: all jobs of a run share one pool\n", shared.name);
		result = 1;
	} else if (!shared.pool) {
		int status = libpool_import(&host, &import, &shared.pool, &error);
		if (status < 0) {
			shared.pool = NULL;
			result = failed(td, "import", status, &error);
		} else {
			shared.name = strdup(wanted->pool);
		}
	}
	shared.users += result == 0;
	pthread_mutex_unlock(&shared.lock);
	return result;
}

static void release_pool(void)
{
	struct libpool_error error = { 0 };

	pthread_mutex_lock(&shared.lock);
	if (--shared.users == 0) {
		if (libpool_close(shared.pool, &error) < 0)
			log_err("fio-libpool: %s\n", error.text);
		shared.pool = NULL;
		free(shared.name);
		shared.name = NULL;
	}
	pthread_mutex_unlock(&shared.lock);
}

static int open_volume(struct thread_data *td, struct job *job)
{
	struct libpool_open_options open = { .size = sizeof(open), .read_only = td_read(td) && !td_write(td), .user = "fio" };
	struct libpool_volume_info info = { .size = sizeof(info) };
	struct libpool_error error = { 0 };
	int status = libpool_volume_open(shared.pool, td->files[0]->file_name, &open, &job->volume, &error);

	if (status < 0)
		return failed(td, "open", status, &error);
	status = libpool_volume_get_info(job->volume, &info);
	if (status < 0)
		return failed(td, "size", status, NULL);
	td->files[0]->real_file_size = info.volume_bytes;
	return 0;
}

/* Before any job begins, in fio's main thread. */
static int engine_setup(struct thread_data *td)
{
	struct job *job = td->io_ops_data ? td->io_ops_data : calloc(1, sizeof(*job));

	if (!job)
		return 1;
	td->o.use_thread = 1;
	if (!td->files_index) {
		add_file(td, td->o.filename ? td->o.filename : "data", 0, 0);
		td->o.nr_files = td->o.nr_files ? td->o.nr_files : 1;
		td->o.open_files++;
	}
	if (td->io_ops_data)
		return 0;
	if (share_pool(td, td->eo)) {
		free(job);
		return 1;
	}
	td->io_ops_data = job;
	return open_volume(td, job);
}

static int engine_init(struct thread_data *td)
{
	struct job *job = td->io_ops_data;
	struct libpool_queue_options queue = { .size = sizeof(queue), .bytes = UINT64_C(1) << 30 };
	struct libpool_error error = { 0 };

	job->depth = td->o.iodepth ? td->o.iodepth : 1;
	queue.depth = job->depth;
	job->completions = calloc(job->depth, sizeof(*job->completions));
	job->ended = calloc(job->depth, sizeof(*job->ended));
	if (!job->completions || !job->ended)
		return 1;
	int status = libpool_queue_open(shared.pool, &queue, &job->queue, &error);
	return status < 0 ? failed(td, "queue", status, &error) : 0;
}

static void engine_cleanup(struct thread_data *td)
{
	struct job *job = td->io_ops_data;

	if (!job)
		return;
	if (job->queue)
		libpool_queue_close(job->queue);
	libpool_volume_close(job->volume);
	free(job->completions);
	free(job->ended);
	free(job);
	td->io_ops_data = NULL;
	release_pool();
}

static enum fio_q_status engine_queue(struct thread_data *td, struct io_u *io_u)
{
	struct job *job = td->io_ops_data;
	struct libpool_request request = { .size = sizeof(request), .volume = job->volume, .cookie = (uint64_t)(uintptr_t)io_u };

	fio_ro_check(td, io_u);
	switch (io_u->ddir) {
	case DDIR_READ:
		request.operation = LIBPOOL_READ;
		break;
	case DDIR_WRITE:
		request.operation = LIBPOOL_WRITE;
		break;
	case DDIR_TRIM:
		request.operation = LIBPOOL_TRIM;
		break;
	case DDIR_SYNC:
	case DDIR_DATASYNC:
		request.operation = LIBPOOL_FLUSH;
		break;
	default:
		io_u->error = EINVAL;
		return FIO_Q_COMPLETED;
	}
	if (request.operation != LIBPOOL_FLUSH) {
		request.offset = io_u->offset;
		request.length = io_u->xfer_buflen;
		request.buffer = request.operation == LIBPOOL_TRIM ? NULL : io_u->xfer_buf;
	}
	int status = libpool_queue_submit(job->queue, &request, 1);
	if (status == 1)
		return FIO_Q_QUEUED;
	if (status == -EAGAIN)
		return FIO_Q_BUSY;
	io_u->error = status < 0 && status > -4096 ? -status : EIO;
	return FIO_Q_COMPLETED;
}

static int engine_getevents(struct thread_data *td, unsigned int min, unsigned int max, const struct timespec *t)
{
	struct job *job = td->io_ops_data;
	uint64_t timeout = t ? (uint64_t)t->tv_sec * 1000000000u + (uint64_t)t->tv_nsec : UINT64_MAX;
	unsigned taken = 0;

	max = max < job->depth ? max : job->depth;
	do {
		int count = libpool_queue_reap(job->queue, job->completions, max - taken, taken < min ? timeout : 0);
		if (count < 0)
			return count;
		if (count == 0)
			break;
		for (int i = 0; i < count; i++) {
			struct io_u *io_u = (struct io_u *)(uintptr_t)job->completions[i].cookie;
			int result = job->completions[i].result;
			io_u->error = result == 0 ? 0 : result > -4096 ? (unsigned int)-result : EIO;
			job->ended[taken++] = io_u;
		}
	} while (taken < min);
	return (int)taken;
}

static struct io_u *engine_event(struct thread_data *td, int event)
{
	struct job *job = td->io_ops_data;

	return job->ended[event];
}

/* The volume is open as long as the job lives. */
static int engine_file(struct thread_data *td, struct fio_file *file)
{
	(void)td, (void)file;
	return 0;
}

struct ioengine_ops ioengine = {
	.name = "libpool",
	.version = FIO_IOOPS_VERSION,
	.flags = FIO_NOEXTEND | FIO_NODISKUTIL | FIO_MEMALIGN,
	.setup = engine_setup,
	.init = engine_init,
	.queue = engine_queue,
	.getevents = engine_getevents,
	.event = engine_event,
	.cleanup = engine_cleanup,
	.open_file = engine_file,
	.close_file = engine_file,
	.get_file_size = engine_file,
	.invalidate = engine_file,
	.options = options,
	.option_struct_size = sizeof(struct engine_options),
};
