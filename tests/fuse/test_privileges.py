#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What a change of a file takes away: set-id bits and capabilities; and that the kernel needn't ask about them before each write.

On the mount, and on a native file system, which tests the test. Needs /dev/fuse and root; skipped without (exit code 77). The environment names the
programs: POOLCTL and LIBPOOL_FUSE.
"""
import ctypes
import errno
import mmap
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from mounted import Pool, call, fails, libc, write  # noqa: E402

CAPABILITIES = "security.capability"
NET_RAW = bytes.fromhex("0100000200200000000000000000000000000000")      # cap_net_raw+ep
BLOCK = 4096


def direct(path):
    descriptor = os.open(path, os.O_WRONLY | os.O_DIRECT)
    try:
        memory = mmap.mmap(-1, BLOCK)
        memory.write(b"d" * BLOCK)
        os.pwritev(descriptor, [memory], 0)
    finally:
        os.close(descriptor)


def with_descriptor(path, function, flags=os.O_RDWR):
    descriptor = os.open(path, flags)
    try:
        function(descriptor)
    finally:
        os.close(descriptor)


CHANGES = {
    "write": lambda path: with_descriptor(path, lambda descriptor: os.write(descriptor, b"x")),
    "append": lambda path: write(path, b"x", "ab"),
    "direct": direct,
    "synchronous": lambda path: with_descriptor(path, lambda descriptor: os.write(descriptor, b"x"), os.O_WRONLY | os.O_SYNC),
    "truncate": lambda path: os.truncate(path, BLOCK),
    "larger": lambda path: os.truncate(path, 10 * BLOCK),
    "open": lambda path: with_descriptor(path, lambda descriptor: None, os.O_WRONLY | os.O_TRUNC),
    "allocate": lambda path: with_descriptor(path, lambda descriptor: os.posix_fallocate(descriptor, 0, 9 * BLOCK)),
    "punch": lambda path: with_descriptor(path, lambda descriptor: call(libc.fallocate64, descriptor, 3, ctypes.c_long(0), ctypes.c_long(BLOCK))),
    "copy": lambda path: with_descriptor(path, lambda descriptor: os.copy_file_range(descriptor, descriptor, 4 * BLOCK, 4 * BLOCK, 0)),
}


class Privileges:
    """In self.root, a folder that is there."""

    def make(self, mode):
        path = os.path.join(self.root, "f")
        write(path, b"c" * 8 * BLOCK)
        os.chown(path, 1000, 1000)
        os.chmod(path, mode)
        return path

    def by_other(self, function, path):
        pid = os.fork()
        if pid == 0:
            try:
                os.setgroups([])
                os.setgid(2000)
                os.setuid(2000)
                function(path)
                os._exit(0)
            except OSError as error:
                os._exit(error.errno)
            finally:
                os._exit(255)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def mode(self, path):
        return stat.S_IMODE(os.stat(path).st_mode)

    def test_others_drop_set_id_bits(self):
        for name, change in CHANGES.items():
            with self.subTest(change=name):
                for before, after in ((0o6777, 0o777), (0o4777, 0o777), (0o2777, 0o777)):
                    path = self.make(before)
                    code = self.by_other(change, path)
                    if code == errno.EINVAL and change is direct:
                        continue
                    self.assertEqual((code, self.mode(path)), (0, after), oct(before))

    def test_root_keeps_them(self):
        for name, change in CHANGES.items():
            with self.subTest(change=name):
                path = self.make(0o6777)
                change(path)
                self.assertEqual(self.mode(path), 0o6777)

    def test_root_without_the_right_drops_them(self):
        for command in ('printf x >>"$0"', 'printf x 1<>"$0"', ': >"$0"', 'truncate -s 5 "$0"', 'dd if=/dev/zero of="$0" bs=4096 count=1 oflag=direct conv=notrunc status=none'):
            with self.subTest(command=command):
                path = self.make(0o6777)
                subprocess.run(["setpriv", "--bounding-set", "-fsetid", "--inh-caps", "-fsetid", "sh", "-c", command, path], check=True)
                self.assertEqual(self.mode(path), 0o777)

    def test_capabilities_go(self):
        for name, change in CHANGES.items():
            with self.subTest(change=name):
                path = self.make(0o755)
                os.setxattr(path, "user.other", b"stays")
                os.setxattr(path, CAPABILITIES, NET_RAW)
                self.assertEqual(os.getxattr(path, CAPABILITIES), NET_RAW)
                change(path)
                fails(self, errno.ENODATA, os.getxattr, path, CAPABILITIES)
                self.assertEqual(os.getxattr(path, "user.other"), b"stays")
                # What was known of the file no longer holds.
                os.setxattr(path, CAPABILITIES, NET_RAW)
                change(path)
                fails(self, errno.ENODATA, os.getxattr, path, CAPABILITIES)

    def test_what_is_run_next_has_none(self):
        """Without anybody looking at the file in between."""
        path = os.path.join(self.root, "id")
        shutil.copy("/usr/bin/id", path)
        os.chown(path, 1000, 1000)
        os.chmod(path, 0o4777)
        os.stat(path)
        with open(path, "rb") as file:
            first = file.read(1)
        self.assertEqual(self.by_other(lambda path: with_descriptor(path, lambda descriptor: os.write(descriptor, first)), path), 0)
        run = subprocess.run([path, "-u"], user=2000, group=2000, extra_groups=[], capture_output=True, text=True, check=True)
        self.assertEqual(run.stdout, "2000\n")


class NativeTest(Privileges, unittest.TestCase):
    def setUp(self):
        self.root = tempfile.mkdtemp(prefix="libpool-native-", dir=os.environ.get("NATIVE_FOLDER", "/var/tmp"))
        self.addCleanup(shutil.rmtree, self.root)
        os.chmod(self.root, 0o755)


class MountTest(Privileges, unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.pool = Pool("raid1", 2, 256)
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
        self.root = tempfile.mkdtemp(dir=self.pool.point)
        os.chmod(self.root, 0o755)

    def test_one_request_for_each_write(self):
        count = 4000
        path = os.path.join(self.root, "f")
        write(path, bytes(BLOCK * 64))
        descriptor = os.open(path, os.O_WRONLY)
        try:
            os.pwrite(descriptor, b"x", 0)
            before = self.pool.answers()
            for i in range(count):
                os.pwrite(descriptor, b"y" * BLOCK, i % 64 * BLOCK)
            self.assertLess(self.pool.answers() - before, count * 1.3)
        finally:
            os.close(descriptor)

    def test_no_request_to_open_what_is_cached(self):
        count = 4000
        path = os.path.join(self.root, "f")
        write(path, bytes(BLOCK))
        before = self.pool.answers()
        for _ in range(count):
            with open(path, "rb", buffering=0) as file:
                self.assertEqual(len(file.read(BLOCK)), BLOCK)
        self.assertLess(self.pool.answers() - before, count * 0.3)


if __name__ == "__main__":
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        print("skipped: needs root and /dev/fuse")
        sys.exit(77)
    unittest.main()
