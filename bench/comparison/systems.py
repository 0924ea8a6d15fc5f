# SPDX-License-Identifier: BSD-2-Clause
"""What is compared: each sets itself up on the disks, says how fio reaches it, and goes away again without traces.

All have two places for data: `stream`, read and written in sequence, and `random`. In a pool they are volumes with blocks of
128 KiB and of 4 KiB, as one would choose for a stream and for a database; in a file system they are two files.
"""
import contextlib
import json
import os
import pathlib
import shutil
import signal
import subprocess
import time

from comparison.machine import Failed, load, run, try_run, wipe

MIB = 1 << 20
POOL_CACHE_BYTES = 16 << 20  # for the nodes of the tree, which a file system keeps in memory even with direct=1
PLACES = {"stream": 128 << 10, "random": 4 << 10}


def wait_for(what, holds, seconds=20.0):
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise Failed(f"{what}: not there after {seconds:.0f} s")
        time.sleep(0.05)


def end(server):
    """A server ends when its clients are gone; one that doesn't is ended."""
    if not server:
        return
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(30)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def unmount(folder):
    """Waits while somebody, such as udev, still looks at it."""
    for _ in range(100):
        if not os.path.ismount(folder):
            return
        if try_run("umount", folder):
            return
        time.sleep(0.1)
    run("umount", folder)


class System:
    """One thing to compare. disks: as many as it takes of those given; spare: one more, for the rebuild."""

    name = title = ""
    can_scrub = can_lose = can_be_filled = False
    has_places = True
    can_bound = False  # it is no system, but what bounds them all: bounds() instead of the jobs
    min_disks = 1

    def __init__(self, options, disks, spare):
        self.options, self.disks, self.spare = options, disks, spare
        self.folder = options.work / self.name

    @classmethod
    def missing(cls, options):
        """Why it can't be measured here, or None."""
        return None

    def place(self, name):
        """fio's options that name one of the two places."""
        raise NotImplementedError

    def sizes(self):
        return {"stream": self.options.stream_bytes, "random": self.options.random_bytes}

    def free_bytes(self):
        """What could still be written, as it says itself."""
        raise NotImplementedError

    @contextlib.contextmanager
    def kept_open(self):
        """Imported or mounted, also where jobs do that by themselves."""
        yield

    def measure_itself(self):
        """Results by job name of what isn't reached through fio."""
        return {}


# ---- libpool ----


class Pool(System):
    profile = "raid6"
    can_scrub = can_lose = can_be_filled = True
    min_disks = 4

    def __init__(self, options, disks, spare):
        super().__init__(options, disks, spare)
        self.pool = f"compare{os.getpid()}"

    def poolctl(self, *words):
        return run(self.options.build / "cli/poolctl", *words)

    @classmethod
    def missing(cls, options):
        if not (options.build / "cli/poolctl").exists():
            return f"{options.build} has no cli/poolctl"
        return None

    def create_places(self):
        for place, block in PLACES.items():
            self.poolctl("volume", "create", "--block-size", block, "--compression", "off", f"{self.pool}/{place}",
                         self.sizes()[place])

    def set_up(self):
        self.poolctl("create", "--force", self.pool, self.profile, *self.disks)
        self.create_places()

    def tear_down(self):
        for disk in self.disks + [self.spare]:
            if disk:
                wipe_ends(disk)

    def place(self, name):
        cache = [f"--pool_cache={POOL_CACHE_BYTES}"]
        return [f"--ioengine=external:{self.options.engine}", f"--pool={self.pool}", f"--filename={name}", "--thread"] + cache

    def free_bytes(self):
        return json.loads(self.poolctl("status", "--json", self.pool))["pools"][0]["free_bytes"]

    def create_volume(self, name, size):
        self.poolctl("volume", "create", "--block-size", 4096, "--compression", "off", f"{self.pool}/{name}", size)

    @contextlib.contextmanager
    def kept_open(self):
        self.poolctl("import", self.pool)
        try:
            yield
        finally:
            self.poolctl("export", self.pool)

    def scrub(self):
        self.poolctl("scrub", "--wait", self.pool)

    def lose_disk(self):
        wipe(self.disks[0])

    def rebuild(self):
        self.poolctl("replace", "--force", "--wait", self.pool, self.disks[0], self.spare)

    def open(self):
        """Import and export, nothing else."""
        self.poolctl("volume", "list", self.pool)


class PoolRaid6(Pool):
    name, title = "libpool-raid6", "libpool raid6, library"

    @classmethod
    def missing(cls, options):
        return Pool.missing(options) or (None if options.engine else "the fio engine wasn't built")


class PoolNbd(Pool):
    name, title = "libpool-nbd", "libpool raid6, NBD"
    can_scrub = can_lose = can_be_filled = False
    server = None

    @classmethod
    def missing(cls, options):
        if not shutil.which("nbdkit"):
            return "nbdkit isn't installed"
        plugin = options.build / "cli/nbdkit/nbdkit-libpool-plugin.so"
        return Pool.missing(options) or (None if plugin.exists() else f"there is no {plugin}")

    def set_up(self):
        super().set_up()
        self.folder.mkdir(exist_ok=True)
        socket = self.folder / "socket"
        self.server = subprocess.Popen(["nbdkit", "--foreground", "--exit-with-parent", "--unix", str(socket),
                                        str(self.options.build / "cli/nbdkit/nbdkit-libpool-plugin.so"), f"pool={self.pool}"],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for("nbdkit", socket.exists)

    def tear_down(self):
        end(self.server)
        shutil.rmtree(self.folder, ignore_errors=True)
        super().tear_down()

    def place(self, name):
        return ["--ioengine=nbd", f"--uri=nbd+unix:///{name}?socket={self.folder}/socket"]


class NbdMemory(System):
    name, title = "nbdkit-memory", "nbdkit's memory plugin"
    server = None

    @classmethod
    def missing(cls, options):
        return None if shutil.which("nbdkit") else "nbdkit isn't installed"

    def set_up(self):
        self.folder.mkdir(exist_ok=True)
        socket = self.folder / "socket"
        self.server = subprocess.Popen(["nbdkit", "--foreground", "--exit-with-parent", "--unix", str(socket), "memory",
                                        str(max(self.sizes().values()))], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for("nbdkit", socket.exists)

    def tear_down(self):
        end(self.server)
        shutil.rmtree(self.folder, ignore_errors=True)

    def place(self, name):
        return ["--ioengine=nbd", f"--uri=nbd+unix:///?socket={self.folder}/socket"]


class MountedFiles:
    """fio's view of files below self.folder."""

    direct = 1

    def place(self, name):
        engine = ["--ioengine=io_uring"] if self.direct else ["--ioengine=psync"]
        return engine + [f"--direct={self.direct}", f"--filename={self.folder}/{name}"]


class PoolFuse(MountedFiles, Pool):
    name, title = "libpool-fuse", "libpool raid6, FUSE, buffered"
    can_scrub = can_lose = can_be_filled = False
    direct = 0
    server = None

    @classmethod
    def missing(cls, options):
        if not os.path.exists("/dev/fuse"):
            return "there is no /dev/fuse"
        server = options.build / "fuse-export/libpool-fuse"
        return Pool.missing(options) or (None if server.exists() else f"there is no {server}")

    def create_places(self):
        self.poolctl("dataset", "create", f"{self.pool}/files")

    def set_up(self):
        super().set_up()
        self.folder.mkdir(exist_ok=True)
        self.server = subprocess.Popen([str(self.options.build / "fuse-export/libpool-fuse"), "-f", f"{self.pool}/files",
                                        str(self.folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for("libpool-fuse", lambda: os.path.ismount(self.folder))

    def tear_down(self):
        end(self.server)
        if self.folder.exists():
            unmount(self.folder)
            self.folder.rmdir()
        super().tear_down()


# ---- file systems of the kernel ----


class Mounted(MountedFiles, System):
    mount_options = "defaults"
    device = None

    def make(self):
        raise NotImplementedError

    def mount(self, more=""):
        run("mount", "-t", self.kind, "-o", self.mount_options + more, self.device or self.disks[0], self.folder)

    def set_up(self):
        self.folder.mkdir(exist_ok=True)
        self.make()
        self.mount()

    def tear_down(self):
        if self.folder.exists():
            unmount(self.folder)
            self.folder.rmdir()
        self.forget()
        for disk in self.disks + [self.spare]:
            if disk:
                wipe_ends(disk)

    def forget(self):
        pass

    def free_bytes(self):
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize

    def create_volume(self, name, size):
        (self.folder / name).touch()

    @classmethod
    def missing(cls, options):
        if not shutil.which(f"mkfs.{cls.kind}"):
            return f"mkfs.{cls.kind} isn't installed"
        known = pathlib.Path("/proc/filesystems").read_text().split()
        if cls.kind not in known and not try_run("modprobe", cls.kind):
            return f"this kernel has no {cls.kind}"
        return None


class Xfs(Mounted):
    name, title, kind = "xfs", "XFS on one disk, no redundancy, no checksums", "xfs"
    mount_options = "nodiscard"

    def __init__(self, options, disks, spare):
        super().__init__(options, disks[:1], None)

    def make(self):
        run("mkfs.xfs", "-q", "-f", "-K", self.disks[0])


class Btrfs(Mounted):
    kind, mount_options = "btrfs", "nodiscard"
    data = metadata = "single"

    def make(self):
        run("mkfs.btrfs", "-q", "-f", "-K", "-d", self.data, "-m", self.metadata, *self.disks)

    def forget(self):
        try_run("btrfs", "device", "scan", "--forget")

    def scrub(self):
        run("btrfs", "scrub", "start", "-B", self.folder)

    def lose_disk(self):
        unmount(self.folder)
        self.forget()
        wipe(self.disks[0])
        run("btrfs", "device", "scan", *self.disks[1:])
        run("mount", "-t", "btrfs", "-o", self.mount_options + ",degraded", self.disks[1], self.folder)

    def rebuild(self):
        run("btrfs", "replace", "start", "-B", "-f", "1", self.spare, self.folder)

    def open(self):
        unmount(self.folder)
        self.mount()


class BtrfsSingle(Btrfs):
    name, title = "btrfs-single", "btrfs single"
    can_scrub = True


class BtrfsRaid1(Btrfs):
    name, title = "btrfs-raid1", "btrfs raid1"
    data = metadata = "raid1"
    can_scrub = True
    min_disks = 2


class BtrfsRaid5(Btrfs):
    name, title = "btrfs-raid5", "btrfs raid5, raid1c3 metadata"
    data, metadata = "raid5", "raid1c3"
    can_scrub = can_lose = True
    min_disks = 3


class BtrfsRaid6(BtrfsRaid5):
    name, title = "btrfs-raid6", "btrfs raid6, raid1c3 metadata"
    data = "raid6"
    can_be_filled = True
    min_disks = 4


class BtrfsRaid6Buffered(BtrfsRaid6):
    """What a FUSE mount is compared with."""

    name, title = "btrfs-raid6-buffered", "btrfs raid6, buffered"
    can_scrub = can_lose = can_be_filled = False
    direct = 0


class MdXfs(Xfs):
    name, title = "md-raid6", "XFS on md raid6, no checksums"
    min_disks = 4

    def __init__(self, options, disks, spare):
        super().__init__(options, disks, spare)
        self.disks, self.device = disks, f"/dev/md/compare{os.getpid()}"

    @classmethod
    def missing(cls, options):
        if not shutil.which("mdadm"):
            return "mdadm isn't installed"
        try_run("modprobe", "raid456")
        personalities = pathlib.Path("/proc/mdstat")
        if not personalities.exists() or "[raid6]" not in personalities.read_text():
            return "this kernel has no md raid6"
        return Xfs.missing(options)

    def make(self):
        run("mdadm", "--create", "--run", "--assume-clean", "--bitmap=none", "--level=6", f"--raid-devices={len(self.disks)}",
            self.device, *self.disks)
        run("mkfs.xfs", "-q", "-f", "-K", self.device)

    def forget(self):
        try_run("mdadm", "--stop", self.device)


class Zfs(MountedFiles, System):
    name, title = "zfs-raidz2", "ZFS raidz2"
    min_disks = 4
    can_scrub = True

    @classmethod
    def missing(cls, options):
        if not shutil.which("zpool"):
            return "zpool isn't installed"
        try_run("modprobe", "zfs")
        return None if os.path.exists("/dev/zfs") else "this kernel has no ZFS"

    def __init__(self, options, disks, spare):
        super().__init__(options, disks, None)
        self.pool = f"compare{os.getpid()}"

    def set_up(self):
        run("zpool", "create", "-f", "-O", "compression=off", "-O", "primarycache=metadata", "-m", self.folder, self.pool,
            "raidz2", *self.disks)

    def tear_down(self):
        run("zpool", "destroy", self.pool)
        for disk in self.disks:
            wipe_ends(disk)

    def scrub(self):
        run("zpool", "scrub", "-w", self.pool)


# ---- limits: what does nothing, and what only moves bytes ----


class FusePassthrough(System):
    """libfuse's own example: each request is the same system call on a folder in RAM. What FUSE itself costs, if the kernel checks permissions."""

    name, title = "fuse-passthrough", "libfuse's passthrough, over RAM"
    has_places = False
    source = pathlib.Path("/usr/share/doc/libfuse3-dev/examples/passthrough_ll.c")
    server = None

    @classmethod
    def missing(cls, options):
        if not os.path.exists("/dev/fuse"):
            return "there is no /dev/fuse"
        if not cls.source.exists():
            return f"there is no {cls.source} (libfuse3-dev)"
        return None if shutil.which("cc") and shutil.which("pkg-config") else "cc and pkg-config aren't installed"

    def set_up(self):
        program, self.below = self.options.work / "passthrough_ll", self.options.work / "passthrough-below"
        if not program.exists():
            run("cc", "-O2", "-w", "-o", program, self.source, *run("pkg-config", "--cflags", "--libs", "fuse3").split())
        for folder in (self.folder, self.below):
            folder.mkdir(exist_ok=True)
        run("mount", "-t", "tmpfs", "none", self.below)
        self.server = subprocess.Popen([str(program), "-f", "-o", f"default_permissions,source={self.below}", str(self.folder)],
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for("passthrough_ll", lambda: os.path.ismount(self.folder))

    def tear_down(self):
        end(self.server)
        unmount(self.folder)
        unmount(self.below)


class Disks(System):
    """The disks by themselves, asked by fio for what raid6 can't do without: what a pool on them could come to."""

    name, title = "disks", "the disks themselves, as raid6 has to use them"
    can_bound = True
    min_disks = 4
    parity = 2

    def set_up(self):
        """Names that fio can count."""
        self.folder.mkdir(exist_ok=True)
        for index, disk in enumerate(self.disks):
            (self.folder / str(index)).symlink_to(os.path.realpath(disk))

    def tear_down(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        for disk in self.disks:
            wipe_ends(disk)

    def place(self, name):
        each = [f"--directory={self.folder}", "--filename_format=$jobnum", f"--numjobs={self.parity + 1}"]
        return ["--ioengine=io_uring", "--direct=1"] + (each if name == "copies" else ["--filename=" + ":".join(self.disks)])

    def sizes(self):
        return super().sizes() | {"copies": self.options.random_bytes}

    def bounds(self):
        """{job: (place, fio's options, how much of its rate is the user's)}."""
        disks, data = len(self.disks), len(self.disks) - self.parity
        rebuild = f"rw=rw rwmixread={100 * data // (data + 1)} bs=1m iodepth=16"
        return {"seq-write-1m-qd16": ("stream", "rw=write bs=1m iodepth=16 end_fsync=1", data / disks),
                "seq-read-1m-qd16": ("stream", "rw=read bs=1m iodepth=16", 1.0),
                "rand-read-128k-qd8": ("stream", "rw=randread bs=128k iodepth=8", 1.0),
                "rand-read-4k-qd1": ("random", "rw=randread bs=4k iodepth=1", 1.0),
                "rand-read-4k-qd32": ("random", "rw=randread bs=4k iodepth=32", 1.0),
                # On as many disks as copies are promised, each by itself; four writers can have one write for all of them.
                "sync-4k-1": ("copies", "rw=randwrite bs=4k iodepth=1 sync=dsync", 1 / (self.parity + 1)),
                "scrub": ("stream", "rw=read bs=1m iodepth=16", data / disks),
                "rebuild": ("stream", rebuild, data / (data + 1))}


class Kernels(System):
    """Parity and checksums of data that isn't in any cache, and copying the same bytes."""

    name, title = "kernels", "parity and checksums, without a pool"
    has_places = False

    @classmethod
    def missing(cls, options):
        program = options.build / "bench/bench_parity"
        return None if program.exists() else f"there is no {program}"

    def set_up(self):
        pass

    def tear_down(self):
        pass

    def measure_itself(self):
        document = json.loads(run(self.options.build / "bench/bench_parity", "--json"))
        found = {entry["name"]: entry["bytes_per_second"] for entry in document["measurements"]}
        return {f"kernel-{name}": {"bytes_per_second": rate, "load": load()} for name, rate in found.items()}


def wipe_ends(disk):
    """Labels and superblocks of everything above."""
    with open(disk, "r+b", buffering=0) as file:
        size = file.seek(0, os.SEEK_END)
        for at in (0, 64 * MIB - MIB, max(size - 8 * MIB, 0)):
            file.seek(at)
            file.write(bytes(min(8 * MIB, size - at)))
        os.fsync(file.fileno())


SYSTEMS = [Kernels, Disks, PoolRaid6, PoolNbd, PoolFuse, NbdMemory, FusePassthrough, BtrfsSingle, BtrfsRaid1, BtrfsRaid5, BtrfsRaid6, BtrfsRaid6Buffered, Xfs, MdXfs, Zfs]
