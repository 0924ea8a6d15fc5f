#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A mounted file system of which a part is damaged: the rest goes on, and what is lost is listed by path.

Needs /dev/fuse and root; skipped without (exit code 77). The environment names the programs: POOLCTL and LIBPOOL_FUSE.
"""
import errno
import json
import os
import random
import sys
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from mounted import Pool, fails, read, sync, write  # noqa: E402

MIB = 1 << 20
NAMES = [b"plain", b"with blank", b"line\nbreak", b"no utf-8 \xff", "Umlaut ä".encode(), b"x" * 255]


class DamageTest(unittest.TestCase):
    def setUp(self):
        self.pool = Pool("single", 2, 128)
        self.addCleanup(self.pool.end)
        self.pool.mount()

    def path(self, name):
        return os.path.join(os.fsencode(self.pool.point), name)

    def make(self, count):
        os.makedirs(self.path(b"a/deeper folder"))
        names = [b"a/deeper folder/" + NAMES[i % len(NAMES)][:200] + b" %d" % i for i in range(count)]
        for i, name in enumerate(names):
            write(self.path(name), random.Random(i).randbytes(60000))
        sync(self.pool.point)
        return names

    def rot(self):
        """Content lies on one of the disks, what leads to it on both."""
        generator = random.Random(3)
        with open(self.pool.disks[0], "r+b") as disk:
            for _ in range(40):
                disk.seek(MIB + 4096 * generator.randrange(1, 1800))
                disk.write(b"\xa5" * 4096)

    def listed(self):
        """Of what status tells: {path: number of bytes}"""
        status, = json.loads(self.pool.poolctl("status", "m", "--json", code=None))["pools"]
        self.assertEqual({damage["dataset"] for damage in status["damage"]} - {"fs"}, set())
        return {damage["path"] for damage in status["damage"]}

    def spelled(self, names):
        """As in JSON, which has no bytes that aren't UTF-8."""
        return {"/" + name.decode(errors="replace").replace("\ufffd", "<ff>") for name in names}

    def test_part(self):
        names = self.make(200)
        self.pool.stop()
        self.rot()
        self.pool.mount()
        bad = []
        for i, name in enumerate(names):
            try:
                self.assertEqual(read(self.path(name)), random.Random(i).randbytes(60000))
            except OSError as error:
                self.assertEqual(error.errno, errno.EIO)
                bad.append(name)
        self.assertTrue(8 < len(bad) < 100, bad)
        self.assertEqual(len(os.listdir(self.path(b"a/deeper folder"))), 200)
        self.assertEqual(self.listed(), self.spelled(bad))
        text = self.pool.poolctl("status", "m", code=None)
        self.assertIn(" /a/deeper folder/plain ", text)
        self.assertIn("error       data.unreadable", self.pool.poolctl("events", "m"))
        self.assertIn(" of /a/deeper folder/", self.pool.poolctl("events", "m"))
        # What is new can be written, what is lost replaced, renamed and removed, but not changed in part.
        write(self.path(b"new"), b"n" * 200000)
        descriptor = os.open(self.path(bad[0]), os.O_WRONLY)
        fails(self, errno.EIO, os.pwrite, descriptor, b"y", 5)
        os.fsync(descriptor)
        os.close(descriptor)
        write(self.path(bad[1]), b"again")
        os.unlink(self.path(bad[2]))
        os.rename(self.path(bad[3]), self.path(b"renamed"))
        os.rename(self.path(b"a"), self.path(b"b"))
        sync(self.pool.point)
        left = [name.replace(b"a/", b"b/", 1) for name in bad[4:]] + [bad[0].replace(b"a/", b"b/", 1), b"renamed"]
        for _ in range(100):
            if self.listed() == self.spelled(left):
                break
            time.sleep(0.1)
        self.assertEqual(self.listed(), self.spelled(left))
        self.assertEqual((read(self.path(bad[1].replace(b"a/", b"b/", 1))), read(self.path(b"new"))), (b"again", b"n" * 200000))
        # Also where nobody has the pool imported.
        self.pool.stop()
        self.assertEqual(self.listed(), self.spelled(left))
        self.pool.mount()
        self.assertEqual(self.listed(), self.spelled(left))
        for name in left:
            os.unlink(self.path(name))
        sync(self.pool.point)
        # What an earlier import found stays listed, without a name, until a scrub looks for it.
        self.pool.poolctl("scrub", "m", "--wait", code=None)
        self.assertEqual(self.listed(), set())
        self.pool.stop()


if __name__ == "__main__":
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        print("skipped: needs root and /dev/fuse")
        sys.exit(77)
    unittest.main()
