#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Random operations on files (fsx.c), on the mount and on a native file system, which tests the test.

usage: test_fsx.py [--operations N] [--seeds FIRST..LAST]

Needs /dev/fuse and root; skipped without (exit code 77). The environment names the programs: POOLCTL, LIBPOOL_FUSE and FSX.
"""
import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from mounted import Pool  # noqa: E402

FSX = os.environ["FSX"]
LONGER = 10     # the last seed on the mount
arguments = argparse.Namespace(operations=5000, seeds="1..3")


class FsxTest(unittest.TestCase):
    def run_seed(self, folder, seed, operations):
        run = subprocess.run([FSX, folder, str(seed), str(operations)], capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, 0, f"seed {seed}: {run.stderr}")
        self.assertEqual(run.stdout, f"seed {seed}: {operations} operations\n")

    def run_seeds(self, folder):
        """Returns the next seed."""
        first, last = (int(number) for number in arguments.seeds.split(".."))
        for seed in range(first, last + 1):
            self.run_seed(folder, seed, arguments.operations)
        return last + 1

    def test_native(self):
        folder = tempfile.mkdtemp(prefix="libpool-native-", dir=os.environ.get("NATIVE_FOLDER", "/var/tmp"))
        self.addCleanup(shutil.rmtree, folder)
        self.run_seeds(folder)

    def test_mount(self):
        pool = Pool()
        self.addCleanup(pool.end)
        pool.mount()
        self.run_seed(pool.point, self.run_seeds(pool.point), LONGER * arguments.operations)
        pool.stop()
        self.assertIn("0 violations, 0 damaged", pool.verify())


if __name__ == "__main__":
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        print("skipped: needs root and /dev/fuse")
        sys.exit(77)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--operations", type=int, default=arguments.operations)
    parser.add_argument("--seeds", default=arguments.seeds)
    parser.parse_args(namespace=arguments)
    unittest.main(argv=sys.argv[:1])
