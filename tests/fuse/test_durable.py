#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What was promised to be durable is there after kill -9 of libpool-fuse under load: all that returned, with sync=always; writes by O_DSYNC, O_SYNC,
RWF_DSYNC and O_DIRECT, asynchronous ones too; names, after an fsync of their directory.

Each writer has a folder of its own, and a model of it. A call that the kill has caught may have been done, or not, or of a write any part. Needs /dev/fuse
and root; skipped without (exit code 77). The environment names the programs: POOLCTL and LIBPOOL_FUSE.
"""
import ctypes
import mmap
import os
import platform
import random
import struct
import sys
import threading
import time
import unittest

from mounted import Pool, libc

FILE_MAX = 4 << 20
NAMES = 12


class Aio:
    """One asynchronous write at a time, as databases do them: the kernel sends no fsync after these."""

    def __init__(self):
        self.context = ctypes.c_ulong(0)
        if libc.syscall(206, 4, ctypes.byref(self.context)) != 0:  # io_setup
            raise OSError(ctypes.get_errno(), "io_setup")

    def write(self, descriptor, buffer, offset):
        view = (ctypes.c_char * len(buffer)).from_buffer(buffer)
        block = ctypes.create_string_buffer(struct.pack("=QIiHhIQQqQII", 0, 0, 0, 1, 0, descriptor, ctypes.addressof(view), len(buffer), offset, 0, 0, 0))
        pointer = ctypes.c_void_p(ctypes.addressof(block))
        if libc.syscall(209, self.context, ctypes.c_long(1), ctypes.byref(pointer)) != 1:  # io_submit
            raise OSError(ctypes.get_errno(), "io_submit")
        event = ctypes.create_string_buffer(32)
        while libc.syscall(208, self.context, ctypes.c_long(1), ctypes.c_long(1), event, None) != 1:  # io_getevents
            pass
        del view
        done = struct.unpack("=QQqq", event.raw)[2]
        if done < 0:
            raise OSError(-done, os.strerror(-done))
        return done


class Writer(threading.Thread):
    """Until a call fails. files: name -> content, of what has returned; doing: (what is under way, the names that it concerns)."""

    def __init__(self, folder, seed, way):
        super().__init__()
        self.folder, self.random, self.way = folder, random.Random(seed), way
        self.files, self.doing, self.done, self.error = {}, None, 0, None
        self.aio = Aio() if way == "aio" else None
        self.ready = threading.Event()

    def path(self, name):
        return os.path.join(self.folder, name)

    def run(self):
        try:
            self.prepare()
            self.ready.set()
            while True:
                self.step()
                self.doing = None
                self.done += 1
        except OSError as error:
            self.error = error
        finally:
            self.ready.set()

    def synced(self):
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def prepare(self):
        os.makedirs(self.folder, exist_ok=True)
        for i in range(4):
            self.files[f"n{i}"] = bytearray(self.random.randbytes(self.random.choice((100, 5000, 300000))))
            with open(self.path(f"n{i}"), "wb") as file:
                file.write(self.files[f"n{i}"])
        self.synced()

    def step(self):
        names = self.way in ("always", "directory")
        if self.way == "directory" or (names and self.random.randrange(4) == 0):
            self.name_step()
        else:
            self.write_step()

    def write_step(self):
        if not self.files:
            self.name_step()
            return
        name = self.random.choice(list(self.files))
        content = self.files[name]
        length = self.random.choice((1, 300, 4096, 16384, 16384, 131072, 1 << 20, 3 << 20))
        offset = self.random.randrange(len(content) + 1)
        if self.way in ("direct", "aio") or self.random.randrange(2):
            offset, length = offset - offset % 16384, max(length - length % 4096, 4096)
        offset = min(offset, FILE_MAX - length)
        data = mmap.mmap(-1, length)
        data[:] = self.random.randbytes(length)
        flags = {"dsync": os.O_DSYNC, "sync": os.O_SYNC, "direct": os.O_DIRECT | os.O_DSYNC, "aio": os.O_DIRECT | os.O_DSYNC}.get(self.way, 0)
        self.doing = ("write", (name,), offset, bytes(data))
        descriptor = os.open(self.path(name), os.O_WRONLY | flags)
        try:
            if self.way == "aio":
                done = self.aio.write(descriptor, data, offset)
            elif self.way == "flag":
                done = os.pwritev(descriptor, [data], offset, os.RWF_DSYNC)
            else:
                done = os.pwrite(descriptor, data, offset)
        finally:
            os.close(descriptor)
        content[len(content):] = bytes(max(0, offset + done - len(content)))
        content[offset:offset + done] = data[:done]
        if done < length:       # in several requests, of which the kill has caught one
            self.doing = ("write", (name,), offset + done, bytes(data[done:]))
            raise InterruptedError

    def name_step(self):
        """Made durable by an fsync of the folder, unless everything is at once."""
        name, other = (f"n{self.random.randrange(NAMES)}" for _ in range(2))
        kind = self.random.choice(("create", "rename", "rename", "unlink", "truncate"))
        if kind == "create" and name not in self.files:
            self.doing = (kind, (name,))
            os.close(os.open(self.path(name), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            after = {name: bytearray()}
        elif kind == "rename" and name in self.files and name != other:
            self.doing = (kind, (name, other))
            os.rename(self.path(name), self.path(other))
            after = {name: None, other: self.files[name]}
        elif kind == "unlink" and name in self.files and len(self.files) > 2:
            self.doing = (kind, (name,))
            os.unlink(self.path(name))
            after = {name: None}
        elif kind == "truncate" and name in self.files:
            length = self.random.randrange(len(self.files[name]) + 5000)
            self.doing = (kind, (name,))
            os.truncate(self.path(name), length)
            after = {name: (self.files[name] + bytes(5000))[:length]}
        else:
            return
        if self.way == "directory":
            self.synced()
        for changed, content in after.items():
            if content is None:
                self.files.pop(changed, None)
            else:
                self.files[changed] = content

    def check(self, test):
        found = {}
        for name in os.listdir(self.folder):
            with open(self.path(name), "rb") as file:
                found[name] = file.read()
        concerned = self.doing[1] if self.doing else ()
        test.assertEqual(set(found) - set(concerned), set(self.files) - set(concerned), f"{self.way}: names; {self.doing and self.doing[:2]} was under way")
        for name in set(self.files) - set(concerned):
            test.assertTrue(found[name] == self.files[name], f"{self.way}: {name} isn't what was written to it")
        if self.doing and self.doing[0] == "write":
            self.check_half(test, found[concerned[0]])

    def check_half(self, test, found):
        """Beside what was being written everything is as it was."""
        _, (name,), offset, data = self.doing
        old, end = self.files[name], offset + len(data)
        new = bytearray(old) + bytes(max(0, end - len(old)))
        new[offset:end] = data
        test.assertTrue(len(old) <= len(found) <= len(new))
        old = bytes(old) + bytes(len(new) - len(old))
        if found != old[:len(found)] and found != new[:len(found)]:
            test.assertTrue(all(byte in (old[i], new[i]) for i, byte in enumerate(found)), f"{self.way}: {name} has what nobody wrote")


class DurableTest(unittest.TestCase):
    def setUp(self):
        self.pool = Pool()

    def tearDown(self):
        self.pool.end()

    def rounds(self, ways, rounds):
        """Of writers in each of these ways; how much they have done."""
        done = 0
        for number in range(rounds):
            self.pool.mount()
            writers = [Writer(os.path.join(self.pool.point, f"{number}-{i}"), 100 * number + i, way) for i, way in enumerate(ways)]
            for writer in writers:
                writer.start()
            for writer in writers:
                writer.ready.wait()
            time.sleep(0.3 + 0.4 * number)
            self.pool.process.kill()
            for writer in writers:
                writer.join()
            self.pool.kill()
            self.pool.verify()
            self.pool.mount()
            for writer in writers:
                self.assertIsNotNone(writer.error)
                writer.check(self)
                done += writer.done
            self.pool.stop()
        return done

    def test_always(self):
        self.pool.poolctl("set", "m/fs", "sync=always")
        self.assertGreater(self.rounds(["always"] * 3, 4), 20)

    def test_flags(self):
        """Of files that ask for it themselves."""
        ways = ["dsync", "sync", "flag", "direct"] + (["aio"] if platform.machine() == "x86_64" else [])
        self.assertGreater(self.rounds(ways, 3), 20)

    def test_directories(self):
        self.assertGreater(self.rounds(["directory"] * 2, 3), 10)

    def test_nothing_promised(self):
        """That these tests would notice: what nobody asks for is in memory only."""
        self.pool.mount()
        path = os.path.join(self.pool.point, "file")
        with open(path, "wb") as file:
            file.write(bytes(1 << 20))
            file.flush()
            os.fsync(file.fileno())
            os.pwrite(file.fileno(), b"x" * 16384, 16384)
        self.pool.kill()
        self.pool.mount()
        with open(path, "rb") as file:
            self.assertEqual(file.read(), bytes(1 << 20))
        self.pool.stop()


if __name__ == "__main__":
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        print("skipped: needs root and /dev/fuse")
        sys.exit(77)
    unittest.main()
