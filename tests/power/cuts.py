#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Power cuts under a real SQLite in a volume, through NBD, on ext4 or by a VFS of its own: usage: cuts.py [--vfs] [--cuts N] [--seed N] [--keep]

The pool's disks are files below recording-disks, which logs every write to them, and what was made durable and when. SQLite
commits transactions, and the number of each goes to one more recorded file as soon as it is acknowledged. Then images are
rebuilt for cuts at random points: what was durable by then, and of the other writes any subset, torn between any two cells. Of each
the pool must be whole, the file system and the database as well, and every transaction there that had been acknowledged.

Needs root, /dev/fuse and loop devices; skipped without (exit code 77). The environment names POOLCTL, NBD_PLUGIN, RECORDER, and SQLITE_NBD
for --vfs: SQLite's files then lie in the volume itself (sqlite_nbd.c), with nothing between its syncs and NBD's flush and FUA.
"""
import argparse
import contextlib
import os
import random
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
import tempfile
import time

MIB = 1 << 20
CELL = 4096
DISKS, DISK_BYTES, VOLUME_BYTES = 4, 64 * MIB, 24 * MIB
FILE, WRITE, SYNC, DONE = 1, 2, 3, 4
ACKS = "acks"
JOURNALS = {"delete": "EXTRA", "wal": "FULL"}
TIME_LIMIT = 200


def run(*arguments, **named):
    return subprocess.run(arguments, check=True, stdout=subprocess.PIPE, timeout=TIME_LIMIT, **named).stdout


def listens(socket):
    """That the socket is there doesn't say that it can be connected to already."""
    with open("/proc/net/unix", encoding="utf-8") as table:
        return any(line.split()[3] == "00010000" and line.rstrip().endswith(" " + socket) for line in list(table)[1:])


def wait_for(condition, process, what):
    limit = time.monotonic() + TIME_LIMIT
    while not condition():
        if process.poll() is not None or time.monotonic() > limit:
            raise AssertionError(f"it never came to this: {what}")
        time.sleep(0.02)


def unmount(*arguments):
    """A loop device lets go of its file a moment after the file system on it was unmounted, and others look at new mounts."""
    limit = time.monotonic() + TIME_LIMIT
    while subprocess.run(arguments, check=False).returncode:
        if time.monotonic() > limit:
            raise AssertionError(f"{arguments} didn't come to an end")
        time.sleep(0.05)


class Stack:
    """Things that are undone in the opposite order, come what may."""

    def __init__(self):
        self.undo = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        failed = []
        for function in reversed(self.undo):
            try:
                function()
            except (AssertionError, subprocess.SubprocessError) as error:
                failed.append(error)
        if failed:
            raise failed[0]

    def start(self, arguments, environment, ready, what, point=None):
        """`point`: it ends when this is unmounted, else by a signal."""
        process = subprocess.Popen(arguments, env=environment)
        self.undo.append(lambda: self.stop(process, point))
        wait_for(ready, process, what)

    @staticmethod
    def stop(process, point):
        try:
            if point and process.poll() is None:
                unmount("fusermount3", "-u", point)
            elif process.poll() is None:
                process.send_signal(signal.SIGTERM)
            if process.wait(TIME_LIMIT) != 0:
                raise AssertionError(f"{process.args[0]} ended with {process.returncode}")
        finally:
            process.kill()      # or who runs this waits for what it prints

    def mount(self, image, point):
        run("mount", "-o", "loop", image, point)
        self.undo.append(lambda: unmount("umount", point))


class OnExt4:
    """Databases in a file system in the volume."""

    def __init__(self, test):
        self.test = test

    def record(self, stack, socket):
        volume = self.test.path("volume", "data")
        stack.start(["nbdfuse", volume, f"nbd+unix:///?socket={socket}"], None, lambda: os.path.exists(volume), "nbdfuse",
                    self.test.path("volume"))
        run("mkfs.ext4", "-q", "-F", volume)
        stack.mount(volume, self.test.path("mount"))

    def look_into(self, stack, content):
        stack.mount(content, self.test.path("mount"))

    def connect(self, journal):
        return sqlite3.connect(self.test.path("mount", journal), isolation_level=None)

    def exists(self, journal):
        return os.path.exists(self.test.path("mount", journal))


class InVolume:
    """Databases in the volume, by the VFS."""

    def __init__(self, test):
        self.test, self.loader = test, sqlite3.connect(":memory:")
        self.loader.enable_load_extension(True)
        self.loader.load_extension(os.environ["SQLITE_NBD"])

    def record(self, stack, socket):
        os.environ["NBD_URI"] = f"nbd+unix:///?socket={socket}"
        stack.undo.append(self.leave)

    def leave(self):
        """nbdkit ends when its clients are gone."""
        os.environ["NBD_URI"] = ""
        self.exists("nothing")

    def look_into(self, stack, content):
        socket = self.test.path("content-socket")
        stack.start(["nbdkit", "--foreground", "-U", socket, "file", content], None, lambda: listens(socket), "nbdkit")
        stack.undo.append(lambda: os.unlink(socket))
        os.environ["NBD_URI"] = f"nbd+unix:///?socket={socket}"
        stack.undo.append(self.leave)

    @staticmethod
    def connect(journal):
        database = sqlite3.connect(f"file:{journal}?vfs=nbd", uri=True, isolation_level=None)
        database.execute("PRAGMA locking_mode=EXCLUSIVE")
        database.execute("PRAGMA temp_store=MEMORY")
        database.execute("PRAGMA wal_autocheckpoint=100")
        return database

    @staticmethod
    def exists(journal):
        try:
            sqlite3.connect(f"file:{journal}?vfs=nbd&mode=rw", uri=True).close()
        except sqlite3.OperationalError:
            return False
        return True


class Test:
    def __init__(self, folder, transactions, seed, lie, where):
        self.folder, self.transactions, self.random, self.lie, self.where = folder, transactions, random.Random(seed), lie, where(self)
        for name in ("below", "disks", "volume", "mount", "images"):
            os.mkdir(self.path(name))
        self.log = self.path("log")
        self.environment = dict(os.environ, LIBPOOL_RUN_PATH=self.path("run"))
        os.mkdir(self.path("run"), 0o700)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def poolctl(self, folder, *arguments):
        return run(os.environ["POOLCTL"], "--no-devices", "-d", folder, *arguments, env=self.environment)

    # ---- what is recorded ----

    def record(self):
        for name in [f"d{number}" for number in range(DISKS)] + [ACKS]:
            with open(self.path("below", name), "wb") as file:
                file.truncate(DISK_BYTES if name != ACKS else 0)
        disks = [self.path("disks", f"d{number}") for number in range(DISKS)]
        with Stack() as stack:
            stack.start([os.environ["RECORDER"], self.path("below"), self.log, "-f", self.path("disks")], None,
                        lambda: os.path.ismount(self.path("disks")), "the recorder's mount", self.path("disks"))
            self.poolctl(self.path("disks"), "create", "tank", "raid5", *disks)
            self.poolctl(self.path("disks"), "volume", "create", "tank/data", str(VOLUME_BYTES), "--block-size", "4K")
            socket = self.path("socket")
            stack.start(["nbdkit", "--foreground", "-U", socket, os.environ["NBD_PLUGIN"], "pool=tank", "volume=data", "devices=false",
                         f"disks-folder={self.path('disks')}"], self.environment, lambda: listens(socket), "nbdkit")
            self.where.record(stack, socket)
            self.commit_transactions()

    def commit_transactions(self):
        acks = os.open(self.path("disks", ACKS), os.O_WRONLY)
        databases = []
        for journal, synchronous in JOURNALS.items():
            database = self.where.connect(journal)
            database.execute(f"PRAGMA journal_mode={journal}")
            database.execute(f"PRAGMA synchronous={synchronous}")
            database.execute("CREATE TABLE t (number INTEGER PRIMARY KEY, content BLOB)")
            databases.append(database)
        for number in range(1, self.transactions + 1):
            database = databases[number % len(databases)]
            database.execute("BEGIN")
            database.execute("INSERT INTO t VALUES (?, ?)", (number, self.random.randbytes(self.random.randrange(1, 6000))))
            database.execute("UPDATE t SET content = ? WHERE number = ?", (self.random.randbytes(100), self.random.randrange(1, number + 1)))
            database.execute("COMMIT")
            os.pwrite(acks, struct.pack("<Q", number), 8 * number - 8)
        for database in databases:
            database.close()
        os.close(acks)

    # ---- what is rebuilt ----

    def entries(self):
        """(kind, file, flags, offset, data or length); data of writes."""
        with open(self.log, "rb") as log:
            while head := log.read(24):
                kind, file, flags, offset, length = struct.unpack("<HHIQQ", head)
                yield kind, file, flags, offset, log.read(length) if kind in (FILE, WRITE) else length

    def states(self, points):
        """At each of these points (numbers of entries, ascending): {write's number: (file, offset, data)} of what isn't durable, in the
        order in which it was written, and the transactions that were acknowledged. What is durable is in the images."""
        names, pending, done, syncs, acknowledged = {}, {}, set(), {}, 0
        points = iter(points)
        point = next(points)
        for number, (kind, file, flags, offset, data) in enumerate(self.entries()):
            while number == point:
                yield {write: what[:3] for write, what in pending.items()}, acknowledged
                point = next(points, None)
            if point is None:
                return
            if kind == FILE:
                names[file] = data.decode()
            elif names[file] == ACKS:
                acknowledged = max(acknowledged, offset // 8 + 1) if kind == WRITE else acknowledged
            elif kind == WRITE:
                pending[number] = names[file], offset, data, flags
            elif kind == SYNC:
                if self.lie and acknowledged:
                    continue
                syncs[number] = [write for write in done if pending[write][0] == names[file]]
            elif offset in syncs:
                self.make_durable(pending, done, syncs.pop(offset))
            elif offset not in pending:
                continue
            elif pending[offset][3] and not (self.lie and acknowledged):
                done.add(offset)
                self.make_durable(pending, done, [offset])
            else:
                done.add(offset)

    def make_durable(self, pending, done, writes):
        for write in sorted(set(writes) & done):
            name, offset, data, _ = pending.pop(write)
            done.remove(write)
            self.put(self.path("below"), name, offset, data)

    @staticmethod
    def put(folder, name, offset, data):
        with open(os.path.join(folder, name), "r+b") as file:
            file.seek(offset)
            file.write(data)

    def cut(self, pending):
        """The images as the cut left them."""
        images = self.path("images")
        for number in range(DISKS):
            run("cp", "--sparse=always", self.path("below", f"d{number}"), os.path.join(images, f"d{number}"))
        how = self.random.choice(("none", "all", "some", "some", "few", "most"))
        chance = {"none": 0, "all": 1, "some": 0.5, "few": 0.1, "most": 0.9}[how]
        for name, offset, data in pending.values():
            for at in range(0, len(data), CELL):
                if self.random.random() < chance:
                    self.put(images, name, offset + at, data[at:at + CELL])
        return how

    def check(self, acknowledged):
        """Returns how many transactions are there."""
        images = self.path("images")
        self.poolctl(images, "debug", "verify", "tank")
        content = self.path("content")
        self.poolctl(images, "volume", "read", "tank/data", content, "--force")
        with Stack() as stack:
            self.where.look_into(stack, content)
            found = set()
            for journal in JOURNALS:
                if acknowledged < len(JOURNALS) and not self.where.exists(journal):
                    continue
                with contextlib.closing(self.where.connect(journal)) as database:
                    result = database.execute("PRAGMA integrity_check").fetchall()
                    if result != [("ok",)]:
                        raise AssertionError(f"{journal}: {result[:3]}")
                    if acknowledged or database.execute("SELECT name FROM sqlite_master").fetchall():
                        found |= {number for number, in database.execute("SELECT number FROM t")}
        missing = set(range(1, acknowledged + 1)) - found
        if missing:
            raise AssertionError(f"{acknowledged} transactions were acknowledged, {sorted(missing)[:5]} are missing")
        return len(found)

    def begin_again(self):
        for number in range(DISKS):
            with open(self.path("below", f"d{number}"), "wb") as file:
                file.truncate(DISK_BYTES)

    def first_point(self):
        """When the first transaction was acknowledged: before it, what SQLite needs isn't there yet."""
        names = {}
        for number, (kind, file, _, _, data) in enumerate(self.entries()):
            if kind == FILE:
                names[file] = data.decode()
            elif kind == WRITE and names[file] == ACKS:
                return number
        raise AssertionError("no transaction was acknowledged")


def parse():
    parser = argparse.ArgumentParser(description="Power cuts under SQLite on ext4 in a volume.")
    parser.add_argument("--cuts", type=int, default=200)
    parser.add_argument("--transactions", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lie", action="store_true", help="disks that forget what they flushed: a test of the test, as some cuts must fail")
    parser.add_argument("--vfs", action="store_true", help="SQLite's files in the volume itself, without a file system")
    parser.add_argument("--keep", action="store_true", help="leave everything of a cut that failed")
    return parser.parse_args()


def main():
    arguments = parse()
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse") or not arguments.vfs and not os.path.exists("/dev/loop-control"):
        print("skipped: root, /dev/fuse and, without --vfs, loop devices are needed")
        return 77
    folder = tempfile.mkdtemp(prefix="libpool-power-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    test = Test(folder, arguments.transactions, arguments.seed, arguments.lie, InVolume if arguments.vfs else OnExt4)
    failed, unflushed, begun = 0, 0, time.monotonic()
    try:
        test.record()
        test.begin_again()
        last = sum(1 for _ in test.entries())
        points = sorted(test.random.randrange(test.first_point() + 1, last) for _ in range(arguments.cuts))
        print(f"recorded {last} entries, {os.path.getsize(test.log) >> 20} MiB, {time.monotonic() - begun:.0f} s", flush=True)
        for point, (pending, acknowledged) in zip(points, test.states(points)):
            how = test.cut(pending)
            unflushed += len(pending)
            try:
                test.check(acknowledged)
            except (AssertionError, subprocess.CalledProcessError, sqlite3.Error) as error:
                failed += 1
                print(f"FAILED cut at {point}, {how} of {len(pending)} writes, {acknowledged} acknowledged: {error}", flush=True)
                if arguments.keep:
                    break
    finally:
        if not (failed and arguments.keep):
            shutil.rmtree(folder)
    print(f"{len(points)} cuts, {failed} failed, {unflushed} writes that were not durable, {time.monotonic() - begun:.0f} s")
    if arguments.lie:
        return 0 if failed else 1
    return 1 if failed or not unflushed else 0


if __name__ == "__main__":
    sys.exit(main())
