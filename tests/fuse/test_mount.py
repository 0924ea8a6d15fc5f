#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A file system of a pool, mounted: POSIX item by item, real trees of files, restarts, kills, and a pool that is full.

The class Posix runs twice: on the mount, and on a native file system, which tests the test. Needs /dev/fuse and root; skipped
without (exit code 77). The environment names the programs: POOLCTL and LIBPOOL_FUSE.
"""
import ctypes
import errno
import fcntl
import filecmp
import json
import os
import random
import shutil
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

POOLCTL = os.environ["POOLCTL"]
FUSE = os.environ["LIBPOOL_FUSE"]
MIB = 1 << 20
libc = ctypes.CDLL(None, use_errno=True)


def call(function, *arguments):
    result = function(*arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def rename2(old, new, flags):
    call(libc.renameat2, -100, os.fsencode(old), -100, os.fsencode(new), flags)


def handle_of(path):
    """name_to_handle_at, as an NFS server does."""
    handle = ctypes.create_string_buffer(8 + 128)
    ctypes.memmove(handle, (128).to_bytes(4, sys.byteorder), 4)
    mount = ctypes.c_int()
    call(libc.name_to_handle_at, -100, os.fsencode(path), handle, ctypes.byref(mount), 0)
    return handle


def open_handle(folder, handle, flags):
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return call(libc.open_by_handle_at, descriptor, handle, flags)
    finally:
        os.close(descriptor)


def write(path, data, mode="wb"):
    with open(path, mode) as file:
        file.write(data)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def fails(test, code, function, *arguments, **named):
    with test.assertRaises(OSError) as context:
        function(*arguments, **named)
    test.assertEqual(context.exception.errno, code)


FSXATTR = struct.Struct("5I8x")     # flags, extent size, extents, project, copy-on-write extent size


def project_of(path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return FSXATTR.unpack(fcntl.ioctl(descriptor, 0x801C581F, bytes(FSXATTR.size)))[3]      # FS_IOC_FSGETXATTR
    finally:
        os.close(descriptor)


def set_project(path, project):
    """As chattr -p."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fields = list(FSXATTR.unpack(fcntl.ioctl(descriptor, 0x801C581F, bytes(FSXATTR.size))))
        fields[3] = project
        fcntl.ioctl(descriptor, 0x401C5820, FSXATTR.pack(*fields))      # FS_IOC_FSSETXATTR
    finally:
        os.close(descriptor)


class Pool:
    """A pool on files, and one file system of it, mounted at `point`."""

    def __init__(self, profile="raid6", disks=6, megabytes=512, dataset=()):
        self.folder = tempfile.mkdtemp(prefix="libpool-fuse-")
        self.point = os.path.join(self.folder, "mount")
        os.mkdir(self.point)
        self.environment = dict(os.environ, LIBPOOL_DISK_PATH=self.folder, LIBPOOL_RUN_PATH=os.path.join(self.folder, "run"))
        self.disks = [os.path.join(self.folder, f"d{i}") for i in range(disks)]
        self.poolctl("create", "t", profile, *self.disks, "--create-size", f"{megabytes}M")
        self.poolctl("dataset", "create", "t/fs", *dataset)
        self.process = None

    def poolctl(self, *arguments, code=0):
        run = subprocess.run([POOLCTL, "--no-devices", *arguments], env=self.environment, capture_output=True, text=True, timeout=300, check=False)
        if code is not None and run.returncode != code:
            raise AssertionError(f"poolctl {' '.join(arguments)}: exit code {run.returncode}: {run.stderr}")
        return run.stdout + run.stderr

    def mount(self, *options):
        self.process = subprocess.Popen([FUSE, "-f", "-n", *options, "t/fs", self.point], env=self.environment, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while not os.path.ismount(self.point):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"not mounted: {self.process.stderr.read().decode()}")
            time.sleep(0.02)

    def stop(self, code=0):
        self.process.send_signal(signal.SIGTERM)
        self.join(code)

    def join(self, code=0):
        self.process.wait(timeout=120)
        error = self.process.stderr.read().decode()
        self.process.stderr.close()
        if code is not None and self.process.returncode != code:
            raise AssertionError(f"exit code {self.process.returncode}: {error}")
        self.process = None
        return error

    def kill(self):
        self.process.kill()
        self.join(code=None)
        # What is left is a mount without anybody behind it, which can be unmounted as soon as those who used it have seen that.
        deadline = time.monotonic() + 60
        while subprocess.run(["umount", self.point], stderr=subprocess.DEVNULL, check=False).returncode:
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.point} can't be unmounted")
            time.sleep(0.05)

    def verify(self):
        return self.poolctl("debug", "verify", "t")

    def end(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process.stderr.close()
        subprocess.run(["umount", "-l", self.point], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.folder, ignore_errors=True)


class Posix:
    """In self.root, a folder that is there."""

    def path(self, *names):
        return os.path.join(self.root, *names)

    def test_names(self):
        longest = "n" * 255
        write(self.path(longest), b"x")
        fails(self, errno.ENAMETOOLONG, open, self.path("n" * 256), "w")
        strange = os.fsencode(self.root) + b"/\xff\x01 \n"
        os.close(os.open(strange, os.O_CREAT | os.O_WRONLY))
        self.assertIn(b"\xff\x01 \n", os.listdir(os.fsencode(self.root)))
        os.mkdir(self.path("d"))
        fails(self, errno.EEXIST, os.mkdir, self.path("d"))
        fails(self, errno.EEXIST, os.open, self.path(longest), os.O_CREAT | os.O_EXCL)
        fails(self, errno.ENOENT, os.unlink, self.path("none"))
        fails(self, errno.EISDIR, os.unlink, self.path("d"))
        fails(self, errno.ENOTDIR, os.rmdir, self.path(longest))
        fails(self, errno.ENOTDIR, os.stat, self.path(longest, "x"))
        write(self.path("d", "f"), b"")
        fails(self, errno.ENOTEMPTY, os.rmdir, self.path("d"))

    def test_links(self):
        write(self.path("a"), b"content")
        os.link(self.path("a"), self.path("b"))
        self.assertEqual(os.stat(self.path("b")).st_nlink, 2)
        self.assertEqual(os.stat(self.path("a")).st_ino, os.stat(self.path("b")).st_ino)
        os.unlink(self.path("a"))
        self.assertEqual(read(self.path("b")), b"content")
        self.assertEqual(os.stat(self.path("b")).st_nlink, 1)
        os.mkdir(self.path("d"))
        fails(self, errno.EPERM, os.link, self.path("d"), self.path("e"))
        fails(self, errno.EEXIST, os.link, self.path("b"), self.path("d"))
        for target in ("x", "t" * 200, "long/" * 800):
            os.symlink(target, self.path("l"))
            self.assertEqual(os.readlink(self.path("l")), target)
            self.assertEqual(os.lstat(self.path("l")).st_size, len(target))
            os.unlink(self.path("l"))
        before = os.stat(self.root).st_nlink
        os.mkdir(self.path("d2"))
        self.assertEqual(os.stat(self.root).st_nlink, before + 1)
        os.rmdir(self.path("d2"))
        self.assertEqual(os.stat(self.root).st_nlink, before)

    def test_rename(self):
        for name in ("a", "b"):
            write(self.path(name), name.encode())
        os.makedirs(self.path("d", "sub"))
        os.rename(self.path("a"), self.path("b"))
        self.assertEqual(read(self.path("b")), b"a")
        self.assertFalse(os.path.exists(self.path("a")))
        fails(self, errno.EINVAL, os.rename, self.path("d"), self.path("d", "sub", "x"))
        fails(self, errno.EISDIR, os.rename, self.path("b"), self.path("d"))
        fails(self, errno.ENOTDIR, os.rename, self.path("d"), self.path("b"))
        os.mkdir(self.path("e"))
        fails(self, errno.ENOTEMPTY, os.rename, self.path("e"), self.path("d"))
        os.rename(self.path("d", "sub"), self.path("e"))
        self.assertEqual(os.listdir(self.path("d")), [])
        fails(self, errno.EEXIST, rename2, self.path("b"), self.path("d"), 1)
        rename2(self.path("b"), self.path("d"), 2)
        self.assertTrue(os.path.isdir(self.path("b")))
        self.assertEqual(read(self.path("d")), b"a")
        # The parent's number is right after a move.
        os.rename(self.path("b"), self.path("e", "moved"))
        self.assertEqual(os.stat(self.path("e", "moved", "..")).st_ino, os.stat(self.path("e")).st_ino)

    def test_unlinked_but_open(self):
        descriptor = os.open(self.path("f"), os.O_CREAT | os.O_RDWR)
        os.write(descriptor, b"still")
        os.unlink(self.path("f"))
        os.write(descriptor, b" here")
        self.assertEqual(os.pread(descriptor, 100, 0), b"still here")
        self.assertEqual(os.fstat(descriptor).st_nlink, 0)
        os.close(descriptor)

    def test_content(self):
        data = random.Random(1).randbytes(3 * MIB)
        write(self.path("f"), data)
        self.assertEqual(read(self.path("f")), data)
        with open(self.path("f"), "r+b") as file:
            file.seek(1000)
            file.write(b"within")
            file.truncate(2 * MIB + 1)
        expected = data[:1000] + b"within" + data[1006:2 * MIB + 1]
        self.assertEqual(read(self.path("f")), expected)
        os.truncate(self.path("f"), 100)
        os.truncate(self.path("f"), 5000)
        self.assertEqual(read(self.path("f")), expected[:100] + bytes(4900))
        descriptor = os.open(self.path("f"), os.O_WRONLY | os.O_APPEND)
        os.write(descriptor, b"end")
        os.close(descriptor)
        self.assertEqual(os.stat(self.path("f")).st_size, 5003)
        self.assertEqual(read(self.path("f"))[-3:], b"end")

    def test_holes(self):
        descriptor = os.open(self.path("f"), os.O_CREAT | os.O_RDWR)
        os.ftruncate(descriptor, 1 << 40)
        os.pwrite(descriptor, b"x" * 65536, 1 << 39)
        os.fsync(descriptor)
        self.assertEqual(os.lseek(descriptor, 0, os.SEEK_DATA), 1 << 39)
        self.assertEqual(os.lseek(descriptor, 1 << 39, os.SEEK_HOLE), (1 << 39) + 65536)
        fails(self, errno.ENXIO, os.lseek, descriptor, 1 << 40, os.SEEK_DATA)
        self.assertLess(os.fstat(descriptor).st_blocks, 4096)
        call(libc.fallocate64, descriptor, 3, ctypes.c_long(1 << 39), ctypes.c_long(65536))
        fails(self, errno.ENXIO, os.lseek, descriptor, 0, os.SEEK_DATA)
        os.ftruncate(descriptor, 0)
        os.posix_fallocate(descriptor, 0, 10000)
        self.assertEqual(os.fstat(descriptor).st_size, 10000)
        os.close(descriptor)

    def test_copy_file_range(self):
        data = random.Random(2).randbytes(MIB)
        write(self.path("a"), data)
        with open(self.path("a"), "rb") as source, open(self.path("b"), "wb") as target:
            done = 0
            while done < MIB:
                done += os.copy_file_range(source.fileno(), target.fileno(), MIB - done)
        self.assertEqual(read(self.path("b")), data)

    def test_attributes(self):
        write(self.path("f"), b"x")
        os.utime(self.path("f"), ns=(-1_500_000_001, 5_000_000_000_999_999_999))
        status = os.stat(self.path("f"))
        self.assertEqual((status.st_atime_ns, status.st_mtime_ns), (-1_500_000_001, 5_000_000_000_999_999_999))
        os.chmod(self.path("f"), 0o6755)
        self.assertEqual(stat.S_IMODE(os.stat(self.path("f")).st_mode), 0o6755)
        os.chown(self.path("f"), 1234, 4_000_000_000)
        status = os.stat(self.path("f"))
        self.assertEqual((status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)), (1234, 4_000_000_000, 0o755))
        for kind, device in ((stat.S_IFIFO, 0), (stat.S_IFCHR, os.makedev(5, 7)), (stat.S_IFBLK, os.makedev(259, 70000)), (stat.S_IFSOCK, 0)):
            os.mknod(self.path("n"), kind | 0o600, device)
            status = os.stat(self.path("n"))
            self.assertEqual((stat.S_IFMT(status.st_mode), status.st_rdev), (kind, device))
            os.unlink(self.path("n"))
        old = os.umask(0o027)
        try:
            os.mkdir(self.path("d"), 0o777)
        finally:
            os.umask(old)
        self.assertEqual(stat.S_IMODE(os.stat(self.path("d")).st_mode), 0o750)
        os.chown(self.path("d"), -1, 77)
        os.chmod(self.path("d"), 0o2775)
        write(self.path("d", "f"), b"")
        self.assertEqual(os.stat(self.path("d", "f")).st_gid, 77)

    def test_set_id_bits_are_dropped_by_others(self):
        write(self.path("f"), b"x")
        os.chown(self.path("f"), 1000, 1000)
        os.chmod(self.path("f"), 0o6777)
        pid = os.fork()
        if pid == 0:
            try:
                os.setgid(2000)
                os.setuid(2000)
                with open(self.path("f"), "ab") as file:
                    file.write(b"y")
                os._exit(0)
            finally:
                os._exit(1)
        self.assertEqual(os.waitpid(pid, 0)[1], 0)
        self.assertEqual(stat.S_IMODE(os.stat(self.path("f")).st_mode), 0o777)

    def test_permissions(self):
        write(self.path("f"), b"secret")
        os.chmod(self.path("f"), 0o600)
        pid = os.fork()
        if pid == 0:
            os.setuid(2000)
            try:
                open(self.path("f"), "rb")
            except PermissionError:
                os._exit(0)
            os._exit(1)
        self.assertEqual(os.waitpid(pid, 0)[1], 0)

    def test_xattrs(self):
        write(self.path("f"), b"")
        fails(self, errno.ENODATA, os.getxattr, self.path("f"), "user.a")
        os.setxattr(self.path("f"), "user.a", b"1", os.XATTR_CREATE)
        fails(self, errno.EEXIST, os.setxattr, self.path("f"), "user.a", b"2", os.XATTR_CREATE)
        fails(self, errno.ENODATA, os.setxattr, self.path("f"), "user.b", b"2", os.XATTR_REPLACE)
        os.setxattr(self.path("f"), "trusted.t", b"3" * 3000)
        self.assertEqual(sorted(os.listxattr(self.path("f"))), ["trusted.t", "user.a"])
        self.assertEqual(os.getxattr(self.path("f"), "trusted.t"), b"3" * 3000)
        os.removexattr(self.path("f"), "user.a")
        fails(self, errno.ENODATA, os.removexattr, self.path("f"), "user.a")

    def test_acls(self):
        os.mkdir(self.path("d"))
        subprocess.run(["setfacl", "-d", "-m", "u:1234:rwx", self.path("d")], check=True)
        old = os.umask(0o077)
        try:
            write(self.path("d", "f"), b"")
        finally:
            os.umask(old)
        listing = subprocess.run(["getfacl", "-cnp", self.path("d", "f")], check=True, capture_output=True, text=True).stdout
        self.assertIn("user:1234:rwx", listing)
        self.assertIn("mask::rw-", listing)
        os.chmod(self.path("d", "f"), 0o640)
        listing = subprocess.run(["getfacl", "-cnp", self.path("d", "f")], check=True, capture_output=True, text=True).stdout
        self.assertIn("mask::r--", listing)
        # The list lets somebody in whom the mode alone would not.
        write(self.path("g"), b"for one")
        os.chmod(self.path("g"), 0o600)
        subprocess.run(["setfacl", "-m", "u:2000:r", self.path("g")], check=True)
        pid = os.fork()
        if pid == 0:
            os.setuid(2000)
            os._exit(0 if read(self.path("g")) == b"for one" else 1)
        self.assertEqual(os.waitpid(pid, 0)[1], 0)

    def test_listing(self):
        os.mkdir(self.path("d"))
        names = {f"file number {i}" for i in range(3000)}
        for name in names:
            os.close(os.open(self.path("d", name), os.O_CREAT))
        self.assertEqual(set(os.listdir(self.path("d"))), names)
        with os.scandir(self.path("d")) as entries:
            entry = next(entries)
            self.assertEqual(entry.inode(), os.stat(entry.path).st_ino)
        # A listing that files disappear under: the others come once each.
        seen = []
        with os.scandir(self.path("d")) as entries:
            for entry in entries:
                seen.append(entry.name)
                if len(seen) == 100:
                    for name in list(names - set(seen))[:1000]:
                        os.unlink(self.path("d", name))
        self.assertEqual(len(seen), len(set(seen)))
        left = set(os.listdir(self.path("d")))
        self.assertEqual(len(left), 2000)
        self.assertLessEqual(left, set(seen))

    def test_map_and_locks(self):
        import fcntl
        import mmap
        data = random.Random(3).randbytes(100000)
        write(self.path("f"), data)
        with open(self.path("f"), "r+b") as file:
            with mmap.mmap(file.fileno(), 0) as memory:
                self.assertEqual(memory[:], data)
                memory[50000:50005] = b"mmap!"
                memory.flush()
            fcntl.lockf(file, fcntl.LOCK_EX)
            with open(self.path("f"), "rb") as other:
                fcntl.flock(other, fcntl.LOCK_SH)
        self.assertEqual(read(self.path("f"))[50000:50005], b"mmap!")

    def test_random_operations(self):
        """As fsx does: one file, any operation, compared with memory."""
        generator = random.Random(4)
        expected = bytearray()
        descriptor = os.open(self.path("f"), os.O_CREAT | os.O_RDWR)
        for _ in range(1500):
            offset, length = generator.randrange(400000), generator.randrange(1, 60000)
            what = generator.randrange(6)
            if what < 3:
                data = generator.randbytes(length)
                os.pwrite(descriptor, data, offset)
                expected.extend(bytes(max(0, offset + length - len(expected))))
                expected[offset:offset + length] = data
            elif what == 3:
                os.ftruncate(descriptor, offset)
                expected = expected[:offset] + bytes(max(0, offset - len(expected)))
            elif what == 4:
                call(libc.fallocate64, descriptor, 3, ctypes.c_long(offset), ctypes.c_long(length))
                if offset < len(expected):
                    end = min(len(expected), offset + length)
                    expected[offset:end] = bytes(end - offset)
            else:
                self.assertEqual(os.pread(descriptor, length, offset), bytes(expected[offset:offset + length]))
        os.close(descriptor)
        self.assertEqual(read(self.path("f")), bytes(expected))

    def test_many_at_once(self):
        """Threads that make, rename and remove in the same directories: nothing is lost, nothing is left."""
        os.mkdir(self.path("a"))
        os.mkdir(self.path("b"))
        problems = []

        def work(number):
            try:
                for i in range(60):
                    name = f"{number}-{i}"
                    write(self.path("a", name), name.encode() * 50)
                    os.rename(self.path("a", name), self.path("b", name))
                    if read(self.path("b", name)) != name.encode() * 50:
                        problems.append(name)
                    if i % 2:
                        os.unlink(self.path("b", name))
            except OSError as error:
                problems.append(str(error))

        threads = [threading.Thread(target=work, args=(i,)) for i in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(problems, [])
        self.assertEqual(len(os.listdir(self.path("b"))), 180)
        self.assertEqual(os.listdir(self.path("a")), [])


class NativeTest(Posix, unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="libpool-native-", dir=os.environ.get("NATIVE_FOLDER", "/var/tmp"))
        os.chmod(self.root, 0o755)

    def tearDown(self):
        shutil.rmtree(self.root)


class MountTest(Posix, unittest.TestCase):
    number = 0

    @classmethod
    def setUpClass(cls):
        cls.pool = Pool()
        os.chmod(cls.pool.folder, 0o755)
        cls.pool.mount()

    @classmethod
    def tearDownClass(cls):
        try:
            cls.pool.stop()
            cls.pool.verify()
        finally:
            cls.pool.end()

    def setUp(self):
        MountTest.number += 1
        self.root = os.path.join(self.pool.point, f"test{MountTest.number}")
        os.mkdir(self.root)

    def test_limits(self):
        """What native file systems don't all have."""
        with open(self.path("f"), "wb") as file:
            file.truncate(1 << 60)
            fails(self, errno.EFBIG, file.truncate, (1 << 60) + 1)
        os.setxattr(self.path("f"), "user.big", b"v" * 65536)
        self.assertEqual(os.getxattr(self.path("f"), "user.big"), b"v" * 65536)
        figures = os.statvfs(self.root)
        self.assertEqual(figures.f_namemax, 255)
        self.assertGreater(figures.f_bavail, 0)


class LifeTest(unittest.TestCase):
    def setUp(self):
        self.pool = Pool()

    def tearDown(self):
        self.pool.end()

    def test_a_tree_and_a_restart(self):
        pool, source = self.pool, "/usr/include/linux"
        pool.mount()
        shutil.copytree(source, os.path.join(pool.point, "tree"), symlinks=True)
        numbers = {name: os.stat(os.path.join(pool.point, "tree", name)).st_ino for name in os.listdir(source)}
        handle = handle_of(os.path.join(pool.point, "tree", "fuse.h"))
        folder_handle = handle_of(os.path.join(pool.point, "tree", "netfilter"))
        pool.stop()
        pool.verify()
        pool.mount()
        # The first that anybody asks for is a node that nobody has looked up: as an NFS server does after a restart.
        descriptor = open_handle(pool.point, handle, os.O_RDONLY)
        self.assertEqual(os.read(descriptor, 1 << 20), read(os.path.join(source, "fuse.h")))
        os.close(descriptor)
        descriptor = open_handle(pool.point, folder_handle, os.O_RDONLY | os.O_DIRECTORY)
        self.assertEqual(set(os.listdir(descriptor)), set(os.listdir(os.path.join(source, "netfilter"))))
        os.close(descriptor)
        comparison = filecmp.dircmp(source, os.path.join(pool.point, "tree"))
        self.assertEqual((comparison.left_only, comparison.right_only, comparison.diff_files), ([], [], []))
        subprocess.run(["diff", "-r", source, os.path.join(pool.point, "tree")], check=True)
        self.assertEqual(numbers, {name: os.stat(os.path.join(pool.point, "tree", name)).st_ino for name in os.listdir(source)})
        os.unlink(os.path.join(pool.point, "tree", "fuse.h"))
        fails(self, errno.ESTALE, open_handle, pool.point, handle, os.O_RDONLY)
        pool.stop()
        pool.verify()

    def test_kills(self):
        """What was synced is there after kill -9, and the checkers find nothing."""
        pool, generator = self.pool, random.Random(5)
        done = {}
        for _ in range(4):
            pool.mount()
            for name, data in done.items():
                self.assertEqual(read(os.path.join(pool.point, name)), data)
            for i in range(generator.randrange(5, 30)):
                name, data = f"f{generator.randrange(1000)}", generator.randbytes(generator.randrange(50000))
                descriptor = os.open(os.path.join(pool.point, name), os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
                os.write(descriptor, data)
                os.fsync(descriptor)
                os.close(descriptor)
                done[name] = data
            write(os.path.join(pool.point, "not synced"), b"x" * 100000)
            pool.kill()
            pool.verify()

    def test_two_disks_gone(self):
        pool = self.pool
        pool.mount()
        data = random.Random(6).randbytes(20 * MIB)
        write(os.path.join(pool.point, "f"), data)
        pool.stop()
        for disk in pool.disks[1:3]:
            os.unlink(disk)
        pool.mount()
        self.assertEqual(read(os.path.join(pool.point, "f")), data)
        write(os.path.join(pool.point, "g"), data[:MIB])
        pool.stop(code=None)
        pool.mount()
        self.assertEqual(read(os.path.join(pool.point, "g")), data[:MIB])
        pool.stop(code=None)

    def test_others_see_it_and_end_it(self):
        pool = self.pool
        pool.mount()
        write(os.path.join(pool.point, "f"), b"x")
        self.assertIn("healthy", pool.poolctl("status", "t"))
        self.assertIn("t/fs", pool.poolctl("dataset", "list", "t"))
        self.assertIn("libpool-fuse pid", pool.poolctl("dataset", "destroy", "t/fs", "--yes", code=None))
        pool.poolctl("scrub", "t", "--wait")
        pool.verify()
        second = subprocess.run([FUSE, "-n", "t/fs", pool.folder], env=pool.environment, capture_output=True, text=True, check=False)
        self.assertNotEqual(second.returncode, 0)
        # In use: not without a word.
        self.assertIn("libpool-fuse pid", pool.poolctl("export", "t", code=None))
        self.assertTrue(os.path.ismount(pool.point))
        pool.poolctl("export", "t", "--force")
        pool.join()
        self.assertFalse(os.path.ismount(pool.point))
        pool.mount()
        self.assertEqual(read(os.path.join(pool.point, "f")), b"x")
        subprocess.run(["umount", pool.point], check=True)
        pool.join()
        pool.poolctl("dataset", "destroy", "t/fs", "--yes")
        self.assertIn("no file systems", pool.poolctl("dataset", "list", "t"))

    def test_read_only(self):
        pool = self.pool
        pool.mount()
        write(os.path.join(pool.point, "f"), b"x")
        pool.stop()
        pool.mount("-o", "ro")
        self.assertEqual(read(os.path.join(pool.point, "f")), b"x")
        fails(self, errno.EROFS, write, os.path.join(pool.point, "g"), b"x")
        pool.stop()

    def test_background_and_bad_input(self):
        pool = self.pool

        def run(*arguments):
            return subprocess.run([FUSE, "-n", *arguments], env=pool.environment, capture_output=True, text=True, check=False, timeout=60)

        for arguments in ((), ("t/fs",), ("/fs", pool.point), ("t/", pool.point), ("-x", "t/fs", pool.point),
                          ("t/fs", pool.point, "u/fs", pool.folder), ("none/fs", pool.point), ("t/none", pool.point),
                          ("t/fs", os.path.join(pool.folder, "nowhere"))):
            with self.subTest(arguments=arguments):
                result = run(*arguments)
                self.assertNotEqual(result.returncode, 0)
                self.assertIn("libpool-fuse: ", result.stderr)
        # Each of a line that says once what it is about.
        full = os.path.join(pool.folder, "full")
        os.makedirs(os.path.join(full, "x"))
        for arguments, says in ((("t/fs", full), f"{full} is not empty: mount elsewhere, or hide what is there with -o nonempty"),
                                (("t/none", pool.point), f"{pool.point}: pool t has no file system none"),
                                (("none/fs", pool.point), "no pool none was found: name the folder or the disks that it is on"),
                                (("t/fs", f"{pool.folder}/a\nb\x7f"), f"{pool.folder}/a?b?: No such file or directory")):
            self.assertEqual(run(*arguments).stderr, f"libpool-fuse: {says}\n")
        pool.poolctl("volume", "create", "t/v", "1M")
        self.assertIn("is no file system", run("t/v", pool.point).stderr)
        self.assertIn("has no volume", pool.poolctl("volume", "read", "t/fs", "/dev/null", code=None))
        self.assertEqual(run("t/fs", pool.point).returncode, 0)
        self.assertTrue(os.path.ismount(pool.point))
        write(os.path.join(pool.point, "f"), b"x")
        subprocess.run(["umount", pool.point], check=True)
        for _ in range(100):
            if not os.path.ismount(pool.point) and "in use" not in pool.poolctl("list", code=None):
                break
            time.sleep(0.1)
        pool.verify()


class QuotaTest(unittest.TestCase):
    def setUp(self):
        self.pool = Pool("raid5", 3, 256)
        self.addCleanup(self.pool.end)

    def path(self, *names):
        return os.path.join(self.pool.point, *names)

    def used(self, kind, number):
        with open(self.pool.point + "/sync", "ab") as file:
            os.fsync(file.fileno())
        for owner in json.loads(self.pool.poolctl("userspace", "t/fs", "--json"))["owners"]:
            if (owner["kind"], owner["id"]) == (kind, number):
                return owner
        return None

    def fill(self, path, user, most=64 * MIB):
        """What a user can write before he is refused, and why; he has a file of his own."""
        done, code = 0, 0
        with open(path, "ab", buffering=0) as file:
            os.fchown(file.fileno(), user, user)
            try:
                while done < most:
                    done += file.write(random.Random(done).randbytes(65536))
                os.fsync(file.fileno())
            except OSError as error:
                code = error.errno
        return done, code

    def test_quotas(self):
        self.pool.mount()
        self.pool.poolctl("set", "t/fs", "userquota@1001=4M", "groupobjquota@77=5", "projectquota@9=2M")
        done, code = self.fill(self.path("a"), 1001)
        self.assertEqual(code, errno.EDQUOT)
        self.assertTrue(3 * MIB < done <= 4 * MIB, done)
        self.assertEqual(self.fill(self.path("b"), 1002, 5 * MIB), (5 * MIB, 0))
        whole = b"".join(random.Random(i).randbytes(65536) for i in range(0, done, 65536))
        self.assertEqual(read(self.path("a")), whole)
        self.assertTrue(3 * MIB < self.used("user", 1001)["used_bytes"] <= 4 * MIB)
        fails(self, errno.EDQUOT, os.chown, self.path("b"), 1001, -1)
        # What makes room is never refused, and the room is there at once.
        os.truncate(self.path("a"), MIB)
        self.assertEqual(self.fill(self.path("a"), 1001, MIB), (MIB, 0))
        for name in range(5):
            write(self.path(f"g{name}"), b"")
            os.chown(self.path(f"g{name}"), 0, 77)
        write(self.path("g5"), b"")
        fails(self, errno.EDQUOT, os.chown, self.path("g5"), 0, 77)
        os.unlink(self.path("g0"))
        os.chown(self.path("g5"), 0, 77)
        self.assertEqual((self.used("group", 77)["used_nodes"], self.used("group", 77)["quota_nodes"]), (5, 5))
        # A project is given to a directory, and handed down.
        os.mkdir(self.path("project"))
        set_project(self.path("project"), 9)
        write(self.path("project", "file"), b"x")
        self.assertEqual((project_of(self.path("project")), project_of(self.path("project", "file")), project_of(self.path("a"))), (9, 9, 0))
        done, code = self.fill(self.path("project", "large"), 1002)
        self.assertTrue(code == errno.EDQUOT and MIB < done <= 2 * MIB, (done, code))
        self.assertEqual(self.used("project", 9)["used_nodes"], 3)
        before = self.used("user", 1001)
        self.pool.kill()
        self.pool.mount()
        self.assertEqual(self.used("user", 1001), before)
        self.pool.stop()
        self.assertIn(" 0 violations", self.pool.verify())

    def test_dataset_quotas(self):
        self.pool.mount()
        self.pool.poolctl("set", "t/fs", "quota=16M", "refquota=8M")
        figures = os.statvfs(self.pool.point)
        self.assertEqual(figures.f_blocks * figures.f_frsize, 8 * MIB)
        done, code = self.fill(self.path("a"), 0)
        self.assertEqual(code, errno.EDQUOT)
        self.assertTrue(7 * MIB < done <= 8 * MIB, done)
        figures = os.statvfs(self.pool.point)
        self.assertTrue(figures.f_blocks * figures.f_frsize == 8 * MIB and figures.f_bavail * figures.f_frsize < MIB, figures)
        # What a child reserves counts for the quota.
        self.pool.poolctl("dataset", "create", "t/fs/child")
        self.pool.poolctl("set", "t/fs/child", "reservation=6M")
        self.pool.poolctl("set", "t/fs/child", "reservation=12M", code=1)
        self.pool.poolctl("set", "t/fs", "refquota=none")
        more, code = self.fill(self.path("b"), 0)
        self.assertEqual(code, errno.EDQUOT)
        self.assertTrue(9 * MIB < done + more <= 10 * MIB, (done, more))
        # The rest of the pool is reserved for another one: that is no quota's fault.
        self.pool.poolctl("set", "t/fs", "quota=none")
        self.pool.poolctl("dataset", "create", "t/other")
        free = int(self.pool.poolctl("get", "t", "free", "-H", "-p", "-o", "value"))
        self.pool.poolctl("set", "t/other", f"reservation={free - 24 * MIB}")
        more, code = self.fill(self.path("c"), 0)
        self.assertEqual(code, errno.ENOSPC)
        self.assertTrue(more <= 24 * MIB, more)
        self.assertEqual(os.path.getsize(self.path("a")), done)
        self.pool.poolctl("set", "t/other", "reservation=none")
        self.assertEqual(self.fill(self.path("c"), 0, MIB), (MIB, 0))
        self.pool.stop()
        self.assertIn(" 0 violations", self.pool.verify())


class FullTest(unittest.TestCase):
    def agree(self, pool):
        """df, list, status and get say the same, once all is committed; returns what is free."""
        os.sync()
        for _ in range(200):
            figures = os.statvfs(pool.point)
            listed, = json.loads(pool.poolctl("list", "t", "--json"))["pools"]
            status, = json.loads(pool.poolctl("status", "t", "--json"))["pools"]
            if listed["free_bytes"] == status["free_bytes"] == figures.f_bavail * figures.f_frsize:
                break
            time.sleep(0.2)
        for name in ("usable", "used", "free", "dead", "formable"):
            self.assertEqual(listed[f"{name}_bytes"], status[f"{name}_bytes"], name)
            self.assertEqual(int(pool.poolctl("get", "t", name, "-H", "-p", "-o", "value")), listed[f"{name}_bytes"], name)
        free = figures.f_bavail * figures.f_frsize
        self.assertEqual(free, listed["free_bytes"])
        self.assertLessEqual(figures.f_blocks * figures.f_frsize, listed["usable_bytes"])
        return free

    def test_df(self):
        pool = Pool("raid5", 3, 96)
        try:
            pool.mount()
            empty = self.agree(pool)
            for i in range(20):
                write(os.path.join(pool.point, f"f{i}"), random.Random(i).randbytes(MIB))
            less = self.agree(pool)
            self.assertTrue(19 * MIB < empty - less < 24 * MIB, (empty, less))
            for i in range(20):
                os.unlink(os.path.join(pool.point, f"f{i}"))
            self.agree(pool)
            pool.stop()
            pool.verify()
        finally:
            pool.end()

    def test_full(self):
        pool = Pool("raid1", 2, 96)
        try:
            pool.mount()
            block, kept = random.Random(7).randbytes(MIB), random.Random(8).randbytes(300000)
            write(os.path.join(pool.point, "kept"), kept)
            with self.assertRaises(OSError) as context:
                for i in range(1000):
                    write(os.path.join(pool.point, f"f{i}"), block)
            self.assertEqual(context.exception.errno, errno.ENOSPC)
            self.assertEqual(read(os.path.join(pool.point, "kept")), kept)
            for name in os.listdir(pool.point):
                if name != "kept":
                    os.unlink(os.path.join(pool.point, name))
            os.sync()
            for i in range(5):
                write(os.path.join(pool.point, f"g{i}"), block)
            pool.stop()
            pool.verify()
        finally:
            pool.end()


if __name__ == "__main__":
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        print("skipped: needs root and /dev/fuse")
        sys.exit(77)
    unittest.main()
