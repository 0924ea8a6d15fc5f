#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Pools made by poolctl, read by the reader: every profile, disks missing, damaged and out of date, and what must be refused.

The environment names POOLCTL and DAMAGE_DISK.
"""
import filecmp
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
import unittest

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(HERE, "../cli")]
from poolctl_case import PoolctlCase, checksum          # noqa: E402
from poolreader import parity, pointers, structure      # noqa: E402
from poolreader.pool import Pool                        # noqa: E402

READER = os.path.join(HERE, "libpool-reader")
PROFILES = (("single", 2, 0), ("raid1", 3, 1), ("raid1c3", 3, 2), ("raid1c4", 4, 3), ("raid5", 4, 1), ("raid6", 6, 2), ("raid7", 6, 3),
            ("raid6:2+2", 6, 2))
VOLUMES = (("4K", "off"), ("16K", "zstd-3"), ("128K", "auto"))


def content(seed, length):
    """Noise, text, and a run of one byte that needs no cells at all."""
    third = length // 3
    text = (b"The quick brown fox %d jumps over the lazy dog. " % seed) * (third // 40)
    return random.Random(seed).randbytes(third) + text[:third] + b"x" * third


class ReaderCase(PoolctlCase):
    def reader(self, *arguments, code=0):
        result = subprocess.run([READER, *arguments], capture_output=True, text=True, timeout=120, check=False)
        self.assertEqual(result.returncode, code, f"{arguments}\n{result.stdout[-2000:]}\n{result.stderr[-2000:]}")
        return result

    def filled(self, profile, disks):
        """A pool with a volume of each kind, and a part of each written again; returns its images."""
        images = self.create(profile=profile, disks=self.images(disks))
        for number, (block_size, compression) in enumerate(VOLUMES):
            name = f"tank/v{number}"
            self.poolctl("volume", "create", name, "8M", "--block-size", block_size, "--compression", compression)
            self.poolctl("volume", "write", name, input=content(number, 1 << 20))
            self.poolctl("volume", "write", name, "--offset", "5M", input=content(number + 10, 300000))
        self.expect_now()
        return images

    def expect_now(self):
        """What poolctl reads is what is expected from now on."""
        for number in range(len(VOLUMES)):
            self.poolctl("volume", "read", f"tank/v{number}", self.path(f"want{number}"), "--force")

    def extracts(self, images, volumes=range(len(VOLUMES))):
        """All these volumes are right; returns the sums of what the reader counted."""
        counts = {}
        for number in volumes:
            output = self.path("out")
            document = json.loads(self.reader("--json", "--volume", f"v{number}", "--output", output, *images).stdout)
            self.assertTrue(filecmp.cmp(output, self.path(f"want{number}"), shallow=False), f"v{number} from {images}")
            os.unlink(output)
            for name, count in document["counts"].items():
                counts[name] = counts.get(name, 0) + count
        return counts


class Reads(ReaderCase):
    def test_every_profile_with_disks_missing(self):
        for profile, disks, most in PROFILES:
            with self.subTest(profile):
                images = self.filled(profile, disks)
                self.reader("--check", *images)
                self.extracts(images)
                reconstructed = 0
                for number, missing in enumerate(itertools.islice(itertools.combinations(images, most), 6) if most else ()):
                    left = [image for image in images if image not in missing]
                    reconstructed += self.extracts(left, [number % len(VOLUMES)]).get("absent_cells_reconstructed", 0)
                self.assertEqual(reconstructed > 0, most > 0)
                self.poolctl("destroy", "--yes", "tank")
                for image in images:
                    os.unlink(image)

    def test_damage_is_repaired_with_and_without_summaries(self):
        for profile, disks, hit in (("raid1c3", 3, 2), ("raid5", 4, 1), ("raid7", 6, 3)):
            with self.subTest(profile):
                images = self.filled(profile, disks)
                subprocess.run([os.environ["DAMAGE_DISK"], "--percent", "20", "--seed", "5", *images[:hit]], check=True,
                               stdout=subprocess.DEVNULL)
                before = [checksum(image) for image in images]
                counts = self.extracts(images)
                self.assertGreater(counts["blocks_by_summary"], 0)
                pool = Pool(images)
                pool.reader.batches = None
                for number in range(len(VOLUMES)):
                    with open(self.path("searched"), "w+b") as file:
                        self.assertEqual(pool.extract(pool.volume(f"v{number}"), file.fileno()), [])
                    self.assertTrue(filecmp.cmp(self.path("searched"), self.path(f"want{number}"), shallow=False))
                self.assertGreater(pool.reader.counts["blocks_by_search"], 0)
                self.assertEqual([checksum(image) for image in images], before, "the reader changed an image")
                for image in images:
                    os.unlink(image)

    def test_disk_that_is_out_of_date(self):
        images = self.filled("raid6", 5)
        away = self.path("away")
        os.mkdir(away)
        old = shutil.move(images[1], away)
        self.poolctl("volume", "write", "tank/v0", "--offset", "2M", input=content(50, 1 << 20))
        self.expect_now()
        self.extracts([images[0], old, *images[2:]])
        self.extracts([old, *images[2:]])
        disk = json.loads(self.reader("--json", old, images[0], *images[2:]).stdout)["disks"][1]
        self.assertEqual(disk["state"], "MISSING")
        self.assertGreater(disk["absent_from"], 1)

    def test_disk_that_was_away_for_longer_than_the_history(self):
        images = self.filled("raid1", 2)
        away = self.path("away")
        os.mkdir(away)
        old = shutil.move(images[1], away)
        for number in range(34):
            self.poolctl("volume", "write", "tank/v0", "--offset", str(number * 4096), input=b"later")
        self.expect_now()
        self.extracts([images[0], old])

    def test_rebuilt_disk(self):
        images = self.filled("raid5", 4)
        self.poolctl("volume", "write", "tank/v0", input=content(60, 1 << 20))
        self.expect_now()
        new = self.image("new")
        self.poolctl("replace", "tank", images[0], new)
        self.extracts([new, *images[1:3]])
        self.assertIn("no disk of this pool any more", self.reader("--check", new, *images).stderr)


class Refuses(ReaderCase):
    def complains(self, *arguments, says, code=1):
        result = self.reader(*arguments, code=code)
        self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
        self.assertIn(says, result.stderr)

    def test_refusals(self):
        images = self.filled("raid1", 2)
        blank = self.image("blank")
        self.complains(blank, says="no image has a valid label")
        self.complains(self.path("nothing"), says="No such file")
        self.complains("--volume", "other", "--output", self.path("out"), *images, says="no volume other")
        self.complains("--volume", "v0", "--output", self.path("want0"), *images, says="not empty")
        self.complains(images[0], images[0], says="copies of one disk")
        halves = [self.path("a"), self.path("b")]
        for half, image in zip(halves, images):
            os.mkdir(half)
            shutil.move(image, half)
        # Only now: a disk that is still where it was last would be found there.
        for half in halves:
            subprocess.run([os.environ["POOLCTL"], "--no-devices", "-d", half, "volume", "write", "tank/v0"], input=half.encode(),
                           check=True, capture_output=True)
        self.complains(os.path.join(halves[0], "d0"), os.path.join(halves[1], "d1"), says="two halves")

    def test_what_is_lost_is_named_and_never_guessed(self):
        images = self.filled("raid5", 4)
        pool = Pool(images)
        blob = pool.blob_of(pool.volume("v0"))
        segment, cells, _ = pool.reader.find(blob.find(3))
        for disk_index, unit in segment.columns:
            with open(pool.reader.disks[disk_index].image.path, "r+b") as file:
                file.seek(structure.MIB + (unit << pool.label.au_shift) + cells[0][1] * structure.CELL)
                file.write(os.urandom(structure.CELL))
        output = self.path("out")
        result = self.reader("--json", "--volume", "v0", "--output", output, *images, code=3)
        lost = json.loads(result.stdout)["extracted"]["lost"]
        self.assertGreater(len(lost), 0)
        with open(output, "rb") as got, open(self.path("want0"), "rb") as want:
            got, want = got.read(), bytearray(want.read())
        for part in lost:
            want[part["offset"]:part["offset"] + part["bytes"]] = bytes(part["bytes"])
        self.assertTrue(got == want, "what is not lost is wrong")

    def test_check_sees_a_wrong_header(self):
        images = self.filled("raid5", 3)
        with open(images[0], "r+b") as file:
            file.seek(structure.MIB + 100)
            file.write(b"\xff")
        self.assertIn("header", self.reader("--check", *images, code=3).stderr)


class Examples(unittest.TestCase):
    """The examples in FORMAT.md."""

    def test_parity(self):
        self.assertEqual([parity.coefficient(2, i) for i in range(16)],
                         [1, 245, 210, 196, 154, 113, 241, 127, 252, 135, 193, 198, 25, 47, 64, 85])

    def test_pointers(self):
        placed = pointers.BlockPointer.decode(bytes.fromhex(
            "093060053412000018171615141312111f0c042402000000282726252423222136353433323100004041424344454647"
            "48494a4b4c4d4e4f0000000000000000"))
        self.assertEqual((placed.address, placed.lsect, placed.psect, placed.level), ((0x1234, 86, 4, 9), 32, 7, 2))
        hole = pointers.BlockPointer.decode(bytes(16) + bytes.fromhex("03000024110000009900000000000000") + bytes(32))
        self.assertEqual((hole.kind, hole.lsect, hole.level, hole.birth), ("hole", 4, 1, 0x99))

    def test_hash(self):
        self.assertEqual(structure.hash128().hex(), "7f498d4624c30160d8984701d306aa99")


unittest.main()
