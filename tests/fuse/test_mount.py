#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A file system of a pool, mounted: POSIX item by item, real trees of files, restarts and kills.

The class Posix runs twice: on the mount, and on a native file system, which tests the test. Needs /dev/fuse and root; skipped
without (exit code 77). The environment names the programs: POOLCTL and LIBPOOL_FUSE.
"""
import ctypes
import errno
import fcntl
import filecmp
import os
import random
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from mounted import FUSE, MIB, Pool, call, fails, handle_of, libc, open_handle, read, rename2, write


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
        for target in ("x", "m" * 200, "long/" * 800):
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
        # At once, whatever the kernel has still to say of it.
        for number in range(50):
            path = os.path.join(pool.point, f"f{number}")
            write(path, b"x")
            handle = handle_of(path)
            os.unlink(path)
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
        self.assertIn("healthy", pool.poolctl("status", "m"))
        self.assertIn("m/fs", pool.poolctl("dataset", "list", "m"))
        self.assertIn("libpool-fuse pid", pool.poolctl("dataset", "destroy", "m/fs", "--yes", code=None))
        pool.poolctl("scrub", "m", "--wait")
        pool.verify()
        second = subprocess.run([FUSE, "-n", "m/fs", pool.folder], env=pool.environment, capture_output=True, text=True, check=False)
        self.assertNotEqual(second.returncode, 0)
        # In use: not without a word.
        self.assertIn("libpool-fuse pid", pool.poolctl("export", "m", code=None))
        self.assertTrue(os.path.ismount(pool.point))
        pool.poolctl("export", "m", "--force")
        pool.join()
        self.assertFalse(os.path.ismount(pool.point))
        pool.mount()
        self.assertEqual(read(os.path.join(pool.point, "f")), b"x")
        subprocess.run(["umount", pool.point], check=True)
        pool.join()
        pool.poolctl("dataset", "destroy", "m/fs", "--yes")
        self.assertIn("no file systems", pool.poolctl("dataset", "list", "m"))

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

        for arguments in ((), ("m/fs",), ("/fs", pool.point), ("m/", pool.point), ("-x", "m/fs", pool.point),
                          ("m/fs", pool.point, "u/fs", pool.folder), ("none/fs", pool.point), ("m/none", pool.point),
                          ("m/fs", os.path.join(pool.folder, "nowhere"))):
            with self.subTest(arguments=arguments):
                result = run(*arguments)
                self.assertNotEqual(result.returncode, 0)
                self.assertIn("libpool-fuse: ", result.stderr)
        # Each of a line that says once what it is about.
        full = os.path.join(pool.folder, "full")
        os.makedirs(os.path.join(full, "x"))
        for arguments, says in ((("m/fs", full), f"{full} is not empty: mount elsewhere, or hide what is there with -o nonempty"),
                                (("m/none", pool.point), f"{pool.point}: pool m has no file system none"),
                                (("none/fs", pool.point), "no pool none was found: name the folder or the disks that it is on"),
                                (("m/fs", f"{pool.folder}/a\nb\x7f"), f"{pool.folder}/a?b?: No such file or directory")):
            self.assertEqual(run(*arguments).stderr, f"libpool-fuse: {says}\n")
        pool.poolctl("volume", "create", "m/v", "1M")
        self.assertIn("is no file system", run("m/v", pool.point).stderr)
        self.assertIn("has no volume", pool.poolctl("volume", "read", "m/fs", "/dev/null", code=None))
        self.assertEqual(run("m/fs", pool.point).returncode, 0)
        self.assertTrue(os.path.ismount(pool.point))
        write(os.path.join(pool.point, "f"), b"x")
        subprocess.run(["umount", pool.point], check=True)
        for _ in range(100):
            if not os.path.ismount(pool.point) and "in use" not in pool.poolctl("list", code=None):
                break
            time.sleep(0.1)
        pool.verify()


if __name__ == "__main__":
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        print("skipped: needs root and /dev/fuse")
        sys.exit(77)
    unittest.main()
