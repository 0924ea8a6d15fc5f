#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The POSIX suite (posix/) on the mount and on a native file system, which tests the test.

Needs /dev/fuse and root; skipped without (exit code 77). The environment names the programs: POOLCTL, LIBPOOL_FUSE, and POSIX, the suite.
"""
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from mounted import Pool  # noqa: E402

SUITE = os.environ["POSIX"]
CHECKS_MIN = 30000


class PosixTest(unittest.TestCase):
    def run_suite(self, *arguments):
        run = subprocess.run([SUITE, *arguments], capture_output=True, text=True, timeout=500, check=False)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        # "35 tests, 33160 checks, 0 failed"
        self.assertGreater(int(run.stdout.splitlines()[-1].split()[2]), CHECKS_MIN)

    def test_native(self):
        folder = tempfile.mkdtemp(prefix="libpool-native-", dir=os.environ.get("NATIVE_FOLDER", "/var/tmp"))
        try:
            os.chmod(folder, 0o755)
            self.run_suite("--native", folder)
        finally:
            shutil.rmtree(folder)

    def on_mount(self, dataset, *arguments):
        pool = Pool(dataset=dataset)
        try:
            os.chmod(pool.folder, 0o755)
            pool.mount()
            self.run_suite(*arguments, pool.point)
            pool.stop()
            self.assertIn("0 violations, 0 damaged", pool.verify())
        finally:
            pool.end()

    def test_mount(self):
        self.on_mount(())

    def test_mount_without_case(self):
        self.on_mount(("--casesensitivity", "insensitive", "--normalization", "formD"), "--caseless")


if __name__ == "__main__":
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        print("skipped: needs root and /dev/fuse")
        sys.exit(77)
    unittest.main()
