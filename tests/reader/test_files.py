#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""File systems with real files, written through a mount, read by the reader: with disks missing, damaged, and too many of them.

Needs /dev/fuse and root; skipped without (exit code 77). The environment names POOLCTL, LIBPOOL_FUSE and DAMAGE_DISK.
"""
import hashlib
import json
import os
import random
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import unittest

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, HERE)
from poolcheck import names, space           # noqa: E402
from poolreader import structure            # noqa: E402
from poolreader.files import FileSystem     # noqa: E402
from poolreader.pointers import DATA        # noqa: E402
from poolreader.pool import Pool            # noqa: E402

READER = os.path.join(HERE, "libpool-reader")
MIB = 1 << 20
RECORD = 128 << 10    # of files whose first write is of a MiB


def write(path, data):
    with open(path, "wb") as file:
        file.write(data)


def plant(root):
    """A tree with one of each kind that an inode can be, and of each way in which content lies."""
    noise = random.Random(1)
    path = lambda *names: os.path.join(os.fsencode(root), *map(os.fsencode, names))     # noqa: E731
    for folder in ("a", "a/b", "a/b/c", "empty", "many"):
        os.mkdir(path(folder))
    for size in (0, 1, 191, 192, 193, 4096, 5000, 128 << 10, 3 * MIB + 17):
        write(path("a", f"of {size}"), noise.randbytes(size))
    write(path("a/text"), b"The quick brown fox jumps over the lazy dog. " * 5000)
    with open(path("a/sparse"), "wb") as file:
        file.seek(10 * MIB)
        file.write(b"behind the hole")
        file.truncate(20 * MIB)
    for number in range(700):
        write(path("many", f"file {number:03} {'x' * (number % 200)}"), b"%d" % number)
    for number in range(0, 700, 3):
        os.unlink(path("many", f"file {number:03} {'x' * (number % 200)}"))
    for number in range(1, 700, 9):
        os.rename(path("many", f"file {number:03} {'x' * (number % 200)}"), path("a/b/c", f"{number}"))
    write(path(b"a/\xff\x01\n\xc3\xa4"), b"any bytes")
    write(path("a", "n" * 255), b"a long name")
    os.link(path("a/of 5000"), path("a/b/again"))
    os.link(path("a/of 5000"), path("third name"))
    os.symlink("../of 5000", path("a/b/short link"))
    os.symlink("x/" * 400, path("a/b/long link"))
    os.mkfifo(path("fifo"), 0o640)
    os.mknod(path("null"), stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.setxattr(path("a/text"), "user.small", b"\0\1\2")
    os.setxattr(path("a/text"), "user.empty", b"")
    os.setxattr(path("a/text"), "user.large", noise.randbytes(9000))
    os.setxattr(path("a/b"), "user.of a folder", b"x" * 2048)
    os.chmod(path("a/of 193"), 0o4751)
    os.chown(path("a/of 193"), 12345, 54321)
    os.utime(path("a/of 193"), ns=(1, -5_000_000_001))
    os.utime(path("empty"), ns=(3, 1 << 60))
    write(path("open"), b"without a name from now on")
    with open(path("open"), "rb"):
        os.unlink(path("open"))


def attributes(path):
    return {name: os.getxattr(path, name, follow_symlinks=False).hex() for name in os.listxattr(path, follow_symlinks=False)}


def facts(path, with_attributes=True):
    status = os.lstat(path)
    result = {"mode": status.st_mode, "owner": (status.st_uid, status.st_gid), "modified": status.st_mtime_ns}
    if not stat.S_ISDIR(status.st_mode):
        result["links"] = status.st_nlink
    if stat.S_ISREG(status.st_mode):
        with open(path, "rb") as file:
            result["content"] = hashlib.sha256(file.read()).hexdigest(), status.st_size
    if stat.S_ISLNK(status.st_mode):
        result["target"] = os.readlink(path)
    if stat.S_ISCHR(status.st_mode):
        result["device"] = status.st_rdev
    if with_attributes:
        result["attributes"] = attributes(path)
    return result


def tree(root, with_attributes=True):
    found = {"": facts(root, with_attributes)}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(folder, name)
            found[os.path.relpath(path, root)] = facts(path, with_attributes)
    return found


class Files(unittest.TestCase):
    maxDiff = 4000

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="libpool-reader-files-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.images = [os.path.join(self.folder, f"d{number}") for number in range(5)]
        self.environment = dict(os.environ, LIBPOOL_DISK_PATH=self.folder, LIBPOOL_RUN_PATH=os.path.join(self.folder, "run"))
        self.poolctl("create", "m", "raid6", *self.images, "--create-size", "96M")
        self.poolctl("dataset", "create", "m/fs")
        self.poolctl("set", "m/fs", "refquota=300M", "userquota@12345=1G", "projectobjquota@7=1000")
        self.wanted = self.fill()
        self.attributes = {path: found.pop("attributes") for path, found in self.wanted.items()}

    def poolctl(self, *arguments):
        subprocess.run([os.environ["POOLCTL"], "--no-devices", *arguments], env=self.environment, check=True, stdout=subprocess.DEVNULL,
                       timeout=300)

    def mount(self, point, dataset="fs"):
        os.mkdir(point)
        mount = subprocess.Popen([os.environ["LIBPOOL_FUSE"], "-f", "-n", f"m/{dataset}", point], env=self.environment)
        limit = time.monotonic() + 60
        while not os.path.ismount(point):
            self.assertTrue(mount.poll() is None and time.monotonic() < limit, "not mounted")
            time.sleep(0.02)
        return mount

    def fill(self):
        """What the mount shows in the end."""
        point = os.path.join(self.folder, "mount")
        mount = self.mount(point)
        try:
            plant(point)
            return tree(point)
        finally:
            mount.terminate()
            self.assertEqual(mount.wait(120), 0)
            os.rmdir(point)

    def extract(self, images, code=0):
        """(what was extracted, what the reader says of it)"""
        target = os.path.join(self.folder, "out")
        result = subprocess.run([READER, "--json", "--files", "fs", "--output", target, *images], capture_output=True, text=True,
                                errors="surrogateescape", timeout=300, check=False)
        self.assertEqual(result.returncode, code, result.stderr)
        found = tree(target, False)
        shutil.rmtree(target)
        return found, {entry["path"]: entry for entry in json.loads(result.stdout)["files"]}

    def check(self, images):
        found, listing = self.extract(images)
        self.assertEqual(found.keys(), self.wanted.keys())
        for path, of_path in self.wanted.items():
            self.assertEqual(found[path], of_path, path)
        self.assertEqual({path: entry["attributes"] for path, entry in listing.items()}, self.attributes)

    def check_space(self):
        pool = Pool(self.images)
        dataset = pool.dataset("fs", "file system")
        sums = space.sums_of(pool, dataset)
        self.assertEqual(space.rows_of(pool, dataset), sums | {(17, 12345): (1 << 30, 0), (19, 7): (0, 1000)})
        self.assertEqual({owner for kind, owner in sums if kind == 1}, {0, 12345})
        self.assertEqual(sums[1, 12345][1], 1)
        self.assertEqual(names.check_cookies(pool, dataset), len(self.wanted) - 1)

    def test_spellings(self):
        """Names that are compared by more than their bytes."""
        point = os.path.join(self.folder, "names")
        given = ["README", "stra\u00dfe", "A\u0308rger", "\u212b", "\ufb01le", "\uff21", "x\u00b2", "\u03c2", "\u03b1\u0345\u0301", "\u0130", "\u13a0", "\u3392",
                 "\uac00", "\u1e69", "\u0390" * 100, "\ufdfa" * 85, "file"]
        for case in ("sensitive", "insensitive"):
            for form in ("none", "formD", "formKD"):
                name = f"{case}-{form}"
                self.poolctl("dataset", "create", f"m/{name}", "--casesensitivity", case, "--normalization", form)
                mount = self.mount(point, name)
                try:
                    for one in given:
                        write(os.path.join(point, one), os.fsencode(one))
                    listed = sorted(os.listdir(point))
                finally:
                    mount.terminate()
                    self.assertEqual(mount.wait(timeout=60), 0)
                    os.rmdir(point)
                # The ligature is compatible with its letters, and folds to them.
                self.assertEqual(listed, sorted(set(given) - ({"file"} if case == "insensitive" or form == "formKD" else set())))
                pool = Pool(self.images)
                self.assertEqual(names.check_cookies(pool, pool.dataset(name, "file system")), len(listed))
                target = os.path.join(self.folder, "extracted")
                subprocess.run([READER, "--files", name, "--output", target, *self.images], stdout=subprocess.DEVNULL, timeout=300, check=True)
                self.assertEqual(sorted(os.listdir(target)), listed)
                shutil.rmtree(target)

    def spoil(self, number):
        """Block 1 of a file, on all disks."""
        pool = Pool(self.images)
        objset = FileSystem(pool, pool.dataset("fs", "file system")).objset
        segment, cells, _ = pool.reader.find(objset.blob(number, DATA).find(1))
        for disk_index, unit in segment.columns:
            with open(pool.reader.disks[disk_index].image.path, "r+b") as file:
                file.seek(structure.MIB + (unit << pool.label.au_shift) + cells[0][1] * structure.CELL)
                file.write(os.urandom(structure.CELL))

    def test_flushed(self):
        """Changes that the intent log has and no commit."""
        point = os.path.join(self.folder, "mount")
        name, small = os.path.join(point, f"a/of {3 * MIB + 17}"), os.path.join(point, "a/of 191")
        noise = random.Random(2)
        mount = self.mount(point)
        try:
            for turn in range(6):
                with open(name, "r+b") as file, open(small, "r+b") as inside:
                    for _ in range(4):
                        os.pwrite(file.fileno(), noise.randbytes(5000), noise.randrange(3 * MIB))
                    os.pwrite(file.fileno(), noise.randbytes(1000 * turn), os.fstat(file.fileno()).st_size + 3000 * (turn % 2))
                    os.pwrite(inside.fileno(), b"inside", turn)
                    os.pwrite(file.fileno(), noise.randbytes(RECORD), 2 * turn * RECORD)     # whole: it goes beside the log
                    os.fsync(file.fileno())
            wanted = facts(name, False), facts(small, False)
        finally:
            mount.kill()
            mount.wait()
            subprocess.run(["umount", "-l", point], check=True)
        kinds = {change.kind for changes in Pool(self.images).changes.values() for change in changes}
        self.assertLessEqual({1, 16, 32}, kinds)
        found, listing = self.extract(self.images[1:])
        self.assertEqual((found[f"a/of {3 * MIB + 17}"], found["a/of 191"]), wanted)
        self.assertFalse([path for path, entry in listing.items() if entry["lost"]])
        self.poolctl("debug", "verify", "m")
        again, _ = self.extract(self.images)
        self.assertEqual(again, found)

    def test_files(self):
        subprocess.run([READER, "--check", *self.images], check=True, stdout=subprocess.DEVNULL, timeout=300)
        self.check(self.images)
        self.check_space()
        self.check(self.images[2:])
        self.check([self.images[0], *self.images[3:]])
        subprocess.run([os.environ["DAMAGE_DISK"], "--percent", "20", "--seed", "5", *self.images[:2]], check=True, stdout=subprocess.DEVNULL)
        self.check(self.images)
        # A row of which more is gone than it can stand: what is there is right, what isn't is named.
        name = f"a/of {3 * MIB + 17}"
        self.spoil(self.extract(self.images)[1][name]["object"])
        found, listing = self.extract(self.images, code=3)
        lost = {path for path, entry in listing.items() if entry["lost"]}
        self.assertIn(name, lost)
        for path, of_path in found.items():
            if path not in lost and "content" in of_path:
                self.assertEqual(of_path["content"], self.wanted[path]["content"], path)


if not os.path.exists("/dev/fuse") or os.geteuid() != 0:
    print("skipped: /dev/fuse and root are needed")
    sys.exit(77)
unittest.main()
