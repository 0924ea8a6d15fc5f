#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Space on a mount: quotas of users, groups, projects and datasets, what df and others say is free, and a pool that is full.

Needs /dev/fuse and root; skipped without (exit code 77). The environment names the programs: POOLCTL and LIBPOOL_FUSE.
"""
import errno
import json
import os
import random
import sys
import time
import unittest

from mounted import MIB, Pool, fails, project_of, read, set_project, sync, write


class QuotaTest(unittest.TestCase):
    def setUp(self):
        self.pool = Pool("raid5", 3, 256)
        self.addCleanup(self.pool.end)

    def path(self, *names):
        return os.path.join(self.pool.point, *names)

    def used(self, kind, number):
        with open(self.pool.point + "/sync", "ab") as file:
            os.fsync(file.fileno())
        for owner in json.loads(self.pool.poolctl("userspace", "m/fs", "--json"))["owners"]:
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
        self.pool.poolctl("set", "m/fs", "userquota@1001=4M", "groupobjquota@77=5", "projectquota@9=2M")
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
        self.pool.poolctl("set", "m/fs", "quota=16M", "refquota=8M")
        figures = os.statvfs(self.pool.point)
        self.assertEqual(figures.f_blocks * figures.f_frsize, 8 * MIB)
        done, code = self.fill(self.path("a"), 0)
        self.assertEqual(code, errno.EDQUOT)
        self.assertTrue(7 * MIB < done <= 8 * MIB, done)
        figures = os.statvfs(self.pool.point)
        self.assertTrue(figures.f_blocks * figures.f_frsize == 8 * MIB and figures.f_bavail * figures.f_frsize < MIB, figures)
        # What a child reserves counts for the quota.
        self.pool.poolctl("dataset", "create", "m/fs/child")
        self.pool.poolctl("set", "m/fs/child", "reservation=6M")
        self.pool.poolctl("set", "m/fs/child", "reservation=12M", code=1)
        self.pool.poolctl("set", "m/fs", "refquota=none")
        more, code = self.fill(self.path("b"), 0)
        self.assertEqual(code, errno.EDQUOT)
        self.assertTrue(9 * MIB < done + more <= 10 * MIB, (done, more))
        # The rest of the pool is reserved for another one: that is no quota's fault.
        self.pool.poolctl("set", "m/fs", "quota=none")
        self.pool.poolctl("dataset", "create", "m/other")
        free = int(self.pool.poolctl("get", "m", "free", "-H", "-p", "-o", "value"))
        self.pool.poolctl("set", "m/other", f"reservation={free - 24 * MIB}")
        more, code = self.fill(self.path("c"), 0)
        self.assertEqual(code, errno.ENOSPC)
        self.assertTrue(more <= 24 * MIB, more)
        self.assertEqual(os.path.getsize(self.path("a")), done)
        self.pool.poolctl("set", "m/other", "reservation=none")
        self.assertEqual(self.fill(self.path("c"), 0, MIB), (MIB, 0))
        self.pool.stop()
        self.assertIn(" 0 violations", self.pool.verify())


class FullTest(unittest.TestCase):
    def agree(self, pool):
        """df, list, status and get say the same, once all is committed; returns what is free."""
        sync(pool.point)
        for _ in range(200):
            figures = os.statvfs(pool.point)
            listed, = json.loads(pool.poolctl("list", "m", "--json"))["pools"]
            status, = json.loads(pool.poolctl("status", "m", "--json"))["pools"]
            if listed["free_bytes"] == status["free_bytes"] == figures.f_bavail * figures.f_frsize:
                break
            time.sleep(0.2)
        for name in ("usable", "used", "free", "dead", "formable"):
            self.assertEqual(listed[f"{name}_bytes"], status[f"{name}_bytes"], name)
            self.assertEqual(int(pool.poolctl("get", "m", name, "-H", "-p", "-o", "value")), listed[f"{name}_bytes"], name)
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
            sync(pool.point)
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
