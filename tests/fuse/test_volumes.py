#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""poolctl mount --volumes: volumes as files, for qemu, nbdkit, loop devices, and against memory.

Needs /dev/fuse, root and a mount namespace; skipped without (exit code 77). The environment names the programs: POOLCTL and LIBPOOL_FUSE.
"""
import ctypes
import errno
import filecmp
import json
import mmap
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
import unittest

MIB = 1 << 20
KEEP, PUNCH, ZERO = 1, 2, 16
libc = ctypes.CDLL(None, use_errno=True)


def allocate(descriptor, mode, offset, length):
    if libc.fallocate(descriptor, mode, ctypes.c_int64(offset), ctypes.c_int64(length)) != 0:
        raise OSError(ctypes.get_errno(), "fallocate")


def run(*arguments, **options):
    return subprocess.run(arguments, check=True, capture_output=True, text=True, timeout=300, **options).stdout


class Volumes(unittest.TestCase):
    def setUp(self):
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix="libpool-volumes-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.addCleanup(self.clear)
        for name in ("bin", "disks", "v", "fs"):
            os.mkdir(self.path(name))
        for program in (os.environ["POOLCTL"], os.environ["LIBPOOL_FUSE"]):
            shutil.copy(program, self.path("bin"))
        self.environment = dict(os.environ, LIBPOOL_DISK_PATH=self.path("disks"), LIBPOOL_RUN_PATH=self.path("run"))
        self.poolctl("create", "t", "raid5", *[self.path("disks", f"d{number}") for number in range(3)], "--create-size", "512M")

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def volume(self, *names):
        return self.path("v", *names)

    def poolctl(self, *arguments, code=0, says=""):
        run_ = subprocess.run([self.path("bin", "poolctl"), "--no-devices", *arguments], env=self.environment, capture_output=True, text=True, timeout=120,
                              check=False)
        if code is not None:
            self.assertEqual(run_.returncode, code, f"{arguments}: {run_.stdout}{run_.stderr}")
        self.assertIn(says, run_.stderr if code else run_.stdout)
        return run_.stdout

    def mount(self, *options):
        return json.loads(self.poolctl("mount", "t", "--volumes", self.path("v"), *options, "--json"))

    def unmount(self):
        self.poolctl("unmount", "t")
        self.poolctl("debug", "verify", "t", says=" 0 violations")

    def clear(self):
        subprocess.run([self.path("bin", "poolctl"), "export", "t", "--force"], env=self.environment, capture_output=True, check=False)
        subprocess.run(["umount", "-l", self.path("v")], capture_output=True, check=False)

    def fails(self, code, function, *arguments, **named):
        with self.assertRaises(OSError) as context:
            function(*arguments, **named)
        self.assertEqual(context.exception.errno, code)

    def test_names(self):
        for name in ("home", "home/anna", "empty"):
            self.poolctl("dataset", "create", f"t/{name}")
        for name, size in (("vm", "10M"), ("home/one", "5M"), ("home/anna/deep", "1M")):
            self.poolctl("volume", "create", f"t/{name}", size)
        self.assertEqual(self.mount()["mounts"], 1)
        # File systems are mounted by the same process, where they are asked for.
        self.poolctl("mount", "t/home", self.path("fs"))
        found = sorted(os.path.relpath(os.path.join(top, name), self.path("v")) for top, folders, names in os.walk(self.path("v")) for name in folders + names)
        self.assertEqual(found, ["home", "home/anna", "home/anna/deep", "home/one", "vm"])
        status = os.stat(self.volume("home/anna/deep"))
        self.assertEqual((status.st_size, stat.S_IFMT(status.st_mode), stat.S_IMODE(status.st_mode), status.st_uid), (MIB, stat.S_IFREG, 0o600, 0))
        with os.scandir(self.volume("home")) as entries:
            self.assertEqual({entry.name: entry.inode() for entry in entries}, {name: os.stat(self.volume("home", name)).st_ino for name in ("anna", "one")})
        # They come, go and grow.
        self.poolctl("volume", "create", "t/home/two", "3M")
        self.assertEqual(os.stat(self.volume("home/two")).st_size, 3 * MIB)
        before = os.stat(self.volume("home/two")).st_ino
        self.poolctl("volume", "destroy", "t/home/two", "--yes")
        self.assertFalse(os.path.exists(self.volume("home/two")))
        self.poolctl("volume", "create", "t/home/two", "4M")
        self.assertNotEqual(os.stat(self.volume("home/two")).st_ino, before)
        descriptor = os.open(self.volume("home/two"), os.O_RDWR)
        self.poolctl("volume", "resize", "t/home/two", "8M")
        self.assertEqual((os.fstat(descriptor).st_size, os.lseek(descriptor, 0, os.SEEK_END)), (8 * MIB, 8 * MIB))
        self.assertEqual(os.pwrite(descriptor, b"x" * 4096, 7 * MIB), 4096)
        # What is open is in use, and only then.
        self.poolctl("volume", "resize", "t/home/two", "1M", "--yes", code=1, says="libpool-fuse pid")
        self.poolctl("volume", "destroy", "t/home/two", "--yes", code=1, says="libpool-fuse pid")
        self.poolctl("unmount", self.path("v"), code=1, says="is in use")
        os.close(descriptor)
        self.poolctl("volume", "resize", "t/home/two", "1M", "--yes")
        self.assertEqual(os.stat(self.volume("home/two")).st_size, MIB)
        self.poolctl("dataset", "rename", "t/home/two", "t/three")
        self.assertEqual((os.path.exists(self.volume("home/two")), os.stat(self.volume("three")).st_size), (False, MIB))
        # Their size is the pool's business, and so is their being there.
        with open(self.volume("three"), "r+b", buffering=0) as file:
            file.write(b"stays")
        with open(self.volume("three"), "wb", buffering=0) as file:     # O_TRUNC
            self.assertEqual(os.fstat(file.fileno()).st_size, MIB)
        with open(self.volume("three"), "rb") as file:
            self.assertEqual(file.read(6), b"stays\0")
        os.truncate(self.volume("three"), MIB)
        for size in (0, MIB - 1, 2 * MIB):
            self.fails(errno.EPERM, os.truncate, self.volume("three"), size)
        self.fails(errno.EPERM, os.unlink, self.volume("three"))
        self.fails(errno.EPERM, os.mkdir, self.volume("new"))
        self.fails(errno.EPERM, os.rmdir, self.volume("home"))
        self.fails(errno.EPERM, open, self.volume("new"), "wb")
        self.fails(errno.EPERM, os.symlink, "a", self.volume("new"))
        self.fails(errno.EPERM, os.link, self.volume("three"), self.volume("new"))
        self.fails(errno.EPERM, os.rename, self.volume("three"), self.volume("new"))
        self.fails(errno.ENOENT, os.stat, self.volume("home/none"))
        self.fails(errno.ENOTDIR, os.stat, self.volume("three/none"))
        self.fails(errno.ENOENT, os.stat, self.volume("x" * 200, "y" * 200))
        # Owners and permissions as of device files: until it is unmounted.
        os.chown(self.volume("three"), 12, 34)
        os.chmod(self.volume("three"), 0o640)
        os.utime(self.volume("three"), (5, 6))
        status = os.stat(self.volume("three"))
        self.assertEqual((status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode), status.st_mtime), (12, 34, 0o640, 6))
        self.assertGreater(os.statvfs(self.path("v")).f_bavail, 1000)
        # Only those in a data set; and what is refused.
        self.poolctl("unmount", self.path("v"))
        self.poolctl("mount", "t/home", "--volumes", self.path("v"))
        self.assertEqual(sorted(os.listdir(self.path("v"))), ["anna", "one"])
        self.poolctl("mount", "t/none", "--volumes", self.path("bin"), "-o", "nonempty", code=1, says="no file system none")
        self.poolctl("mount", "t/three", "--volumes", self.path("bin"), "-o", "nonempty", code=1, says="no file system three")
        self.poolctl("mount", "t", "--volumes", self.path("v"), code=1, says="already")
        self.poolctl("mount", "t", "--volumes", self.path("v"), "-o", "bogus", code=1, says="bogus")
        self.unmount()
        # By mount(8)'s helper.
        os.symlink("poolctl", self.path("bin", "mount.fuse.libpool"))
        subprocess.run([self.path("bin", "mount.fuse.libpool"), "t", self.path("v"), "-o", "rw,volumes,nosuid"],
                       env={**self.environment, "LIBPOOL_DISK_PATH": self.path("disks")}, check=True)
        self.assertEqual(sorted(os.listdir(self.path("v"))), ["home", "three", "vm"])
        self.unmount()

    def test_read_only(self):
        self.poolctl("volume", "create", "t/vm", "4M")
        self.mount("-o", "ro")
        self.fails(errno.EROFS, open, self.volume("vm"), "r+b")
        self.poolctl("mount", "t", "--volumes", self.path("v"), "-o", "remount,rw")
        with open(self.volume("vm"), "r+b", buffering=0) as file:
            file.write(b"x")
            self.poolctl("mount", "t", "--volumes", self.path("v"), "-o", "remount,ro", code=1, says="open for writing")
        self.poolctl("mount", "t", "--volumes", self.path("v"), "-o", "remount,ro")
        self.fails(errno.EROFS, open, self.volume("vm"), "r+b")
        self.unmount()
        # Of a pool that is imported read-only.
        subprocess.run([self.path("bin/libpool-fuse"), "-n", "-o", "ro,volumes", "t", self.path("v")], env=self.environment, check=True)
        with open(self.volume("vm"), "rb") as file:
            self.assertEqual(file.read(2), b"x\0")
        self.poolctl("mount", "t", "--volumes", self.path("v"), "-o", "remount,rw", code=1, says="imported read-only")
        self.fails(errno.EROFS, open, self.volume("vm"), "r+b")
        self.unmount()

    def test_content(self):
        size = 4 * MIB + 3 * 4096
        self.poolctl("volume", "create", "t/vm", str(size), "--block-size", "4K")
        self.mount()
        numbers, model = random.Random(5), bytearray(size)
        descriptor = os.open(self.volume("vm"), os.O_RDWR)
        # What lies only in memory isn't taken for a hole, as tar does with a file without blocks.
        self.assertEqual(os.pwrite(descriptor, b"x" * 4096, 0), 4096)
        model[:4096] = b"x" * 4096
        self.assertGreater(os.fstat(descriptor).st_blocks, 0)
        for _ in range(3000):
            length = numbers.choice((1, 100, 4096, 10000, 300000))
            offset = numbers.randrange(size - length) & numbers.choice((-1, -4096))
            action = numbers.choice(("write", "write", "read", "read", "punch", "zero", "sync", "seek"))
            if action == "write":
                data = numbers.randbytes(length)
                self.assertEqual(os.pwrite(descriptor, data, offset), length)
                model[offset:offset + length] = data
            elif action == "read":
                self.assertEqual(os.pread(descriptor, length, offset), model[offset:offset + length])
            elif action in ("punch", "zero"):
                allocate(descriptor, PUNCH | KEEP if action == "punch" else ZERO, offset, length)
                model[offset:offset + length] = bytes(length)
            elif action == "sync":
                os.fsync(descriptor)
            else:
                hole = os.lseek(descriptor, offset, os.SEEK_HOLE)
                try:
                    data = os.lseek(descriptor, offset, os.SEEK_DATA)
                except OSError as error:
                    self.assertEqual(error.errno, errno.ENXIO)
                    data = size
                self.assertTrue(offset <= hole <= size and not any(model[offset:data]) and offset in (hole, data))
        self.assertEqual(os.pread(descriptor, 2 * size, 0), model)
        # The end.
        self.assertEqual(os.pwrite(descriptor, b"y" * 1000, size - 600), 600)
        self.fails(errno.ENOSPC, os.pwrite, descriptor, b"y", size)
        self.assertEqual((os.pread(descriptor, 1000, size - 600), os.pread(descriptor, 1, size), os.pread(descriptor, 1, size * 9)), (b"y" * 600, b"", b""))
        allocate(descriptor, 0, 0, size)
        allocate(descriptor, PUNCH | KEEP, size - 300, MIB)
        self.assertEqual(os.pread(descriptor, 1000, size - 600), b"y" * 300 + bytes(300))
        self.fails(errno.ENOSPC, allocate, descriptor, 0, 0, size + 1)
        self.fails(errno.ENOSPC, allocate, descriptor, ZERO, size - 10, 11)
        self.fails(errno.EOPNOTSUPP, allocate, descriptor, 8, 0, 4096)      # COLLAPSE_RANGE
        self.fails(errno.ENXIO, os.lseek, descriptor, size, os.SEEK_DATA)
        # What others write is seen at once.
        allocate(descriptor, PUNCH | KEEP, 0, size)
        os.fsync(descriptor)
        with open(self.path("data"), "wb") as file:
            file.write(b"other" * 1000)
        self.poolctl("volume", "write", "t/vm", self.path("data"))
        self.assertEqual(os.pread(descriptor, 5000, 0), b"other" * 1000)
        memory = mmap.mmap(-1, 8192)
        memory[:] = b"z" * 8192
        direct = os.open(self.volume("vm"), os.O_RDWR | os.O_DIRECT)
        self.assertEqual(os.pwrite(direct, memory, 4096), 8192)
        self.assertEqual(os.pread(descriptor, 8192, 4096), b"z" * 8192)
        os.close(direct)
        os.close(descriptor)
        self.assertEqual(filecmp.cmp(self.volume("vm"), self.volume("vm"), shallow=False), True)
        self.unmount()

    def test_durable(self):
        """What was synchronous is there after kill -9, and the mount can be taken away."""
        self.poolctl("volume", "create", "t/vm", "64M")
        for turn, (flags, sync) in enumerate(((os.O_DSYNC, False), (os.O_SYNC, False), (0, True))):
            pid = self.mount()["pid"]
            descriptor = os.open(self.volume("vm"), os.O_RDWR | flags)
            data = os.urandom(100000)
            os.pwrite(descriptor, data, turn * MIB)
            if sync:
                os.fsync(descriptor)
            os.kill(pid, signal.SIGKILL)
            self.poolctl("wait", "t", code=None)
            self.fails(errno.ENOTCONN, os.pread, descriptor, 1, 0)
            try:
                os.close(descriptor)
            except OSError as error:
                self.assertEqual(error.errno, errno.ENOTCONN)
            self.poolctl("unmount", self.path("v"))
            self.mount()
            with open(self.volume("vm"), "rb") as file:
                file.seek(turn * MIB)
                self.assertEqual(file.read(len(data)), data)
            self.unmount()

    def test_torn_away(self):
        """Exported while it is open: the file fails, nothing hangs, and nothing is left open."""
        self.poolctl("volume", "create", "t/vm", "4M")
        self.mount()
        descriptor = os.open(self.volume("vm"), os.O_RDWR)
        os.pwrite(descriptor, b"x" * 4096, 0)
        self.poolctl("export", "t", code=1, says="libpool-fuse pid")
        holder = subprocess.Popen([self.path("bin", "poolctl"), "--no-devices", "export", "t", "--force"], env=self.environment, stdout=subprocess.DEVNULL)
        time.sleep(0.5)
        os.close(descriptor)
        self.assertEqual(holder.wait(60), 0)
        self.poolctl("debug", "verify", "t", says=" 0 violations")

    def test_full(self):
        """A volume that is larger than the pool: ENOSPC, and what was written before stays."""
        self.poolctl("volume", "create", "t/vm", "4G")
        self.mount()
        piece, done = os.urandom(MIB), 0
        descriptor = os.open(self.volume("vm"), os.O_RDWR)
        with self.assertRaises(OSError) as context:
            while done < 4 << 30:
                self.assertEqual(os.pwrite(descriptor, done.to_bytes(8, "little") + piece[8:], done), MIB)
                done += MIB
        self.assertEqual(context.exception.errno, errno.ENOSPC)
        self.assertGreater(done, 500 * MIB)
        os.fsync(descriptor)
        for offset in range(0, done, MIB):
            self.assertEqual(os.pread(descriptor, MIB, offset), offset.to_bytes(8, "little") + piece[8:])
        allocate(descriptor, PUNCH | KEEP, 0, 4 << 30)
        os.fsync(descriptor)
        deadline = time.monotonic() + 60
        while True:
            try:
                os.pwrite(descriptor, piece, 0)
                break
            except OSError:
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.2)
        os.close(descriptor)
        self.unmount()

    def test_listings_side_by_side(self):
        """A directory is closed as soon as its listing is answered."""
        self.poolctl("volume", "create", "t/vm", "1M")
        self.mount()
        listers = [subprocess.Popen([sys.executable, "-c", f"import os\nfor _ in range(4000): assert os.listdir({self.path('v')!r}) == ['vm']"]) for _ in range(4)]
        self.assertEqual([lister.wait() for lister in listers], [0] * 4)
        self.unmount()

    def test_qemu_and_nbdkit(self):
        self.poolctl("volume", "create", "t/vm", "64M")
        self.poolctl("volume", "create", "t/copy", "64M", "--block-size", "64K")
        image, qcow = self.path("image"), self.path("image.qcow2")
        with open(image, "wb") as file:
            file.truncate(64 * MIB)
            for offset in range(0, 64 * MIB, 5 * MIB):
                file.seek(offset)
                file.write(os.urandom(MIB))
        run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", image, qcow)
        self.mount()
        for cache in ("none", "writeback"):
            run("qemu-img", "convert", "-n", "-t", cache, "-T", cache, "-f", "qcow2", "-O", "raw", qcow, self.volume("vm"))
            self.assertIn("identical", run("qemu-img", "compare", "-T", cache, "-f", "qcow2", "-F", "raw", qcow, self.volume("vm")))
        ranges = json.loads(run("qemu-img", "map", "--output=json", "-f", "raw", self.volume("vm")))
        self.assertEqual(sum(part["length"] for part in ranges if part["data"]), 13 * MIB)
        run("qemu-io", "-f", "raw", "-d", "unmap", "-t", "none", "-c", "write -P 7 0 1M", "-c", "discard 0 512k", "-c", "read -P 0 0 512k",
            "-c", "read -P 7 512k 512k", "-c", "flush", self.volume("vm"))
        run("nbdkit", "-U", "-", "file", self.volume("vm"), "--run", f'nbdcopy "$uri" {self.path("back")}')
        self.assertTrue(filecmp.cmp(self.path("back"), self.volume("vm"), shallow=False))
        run("nbdkit", "-U", "-", "file", self.volume("copy"), "--run", f'nbdcopy --destination-is-zero --flush {image} "$uri"')
        self.assertIn("identical", run("qemu-img", "compare", "-f", "raw", "-F", "raw", image, self.volume("copy")))
        self.unmount()

    def test_fio(self):
        self.poolctl("volume", "create", "t/vm", "48M")
        self.mount()
        for options in (("--direct=1", "--iodepth=16"), ("--direct=0", "--iodepth=4", "--fsync=32")):
            run("fio", "--name=verify", f"--filename={self.volume('vm')}", "--rw=randwrite", "--bsrange=4k-256k", "--bs_unaligned=0", "--ioengine=libaio",
                "--size=48M", "--verify=crc32c", "--verify_fatal=1", "--do_verify=1", "--verify_state_save=0", *options)
        self.unmount()

    def test_loop(self):
        """A file system of the kernel's on a loop device, over a restart."""
        self.poolctl("volume", "create", "t/vm", "128M")
        source, point = "/usr/include/linux", self.path("ext4")
        os.mkdir(point)
        for turn in range(2):
            self.mount()
            try:
                device = run("losetup", "--find", "--show", "--direct-io=on", self.volume("vm")).strip()
            except subprocess.CalledProcessError as error:
                self.skipTest(f"no loop devices: {error.stderr}")
            try:
                if turn == 0:
                    run("mkfs.ext4", "-q", "-E", "discard", device)
                run("mount", "-o", "discard", device, point)
                try:
                    if turn == 0:
                        run("cp", "-a", source, point)
                    run("diff", "-r", source, os.path.join(point, "linux"))
                    run("fstrim", point)
                finally:
                    run("umount", point)
                run("e2fsck", "-fn", device)
            finally:
                run("losetup", "--detach", device)
            # It lets go of the volume when nobody has it open any more, who looked what is on it included.
            deadline = time.monotonic() + 60
            while os.path.exists(f"/sys/block/{os.path.basename(device)}/loop/backing_file"):
                self.assertLess(time.monotonic(), deadline)
                time.sleep(0.05)
            self.unmount()


if not os.path.exists("/dev/fuse") or os.geteuid() != 0 or libc.unshare(0x00020000) != 0:
    print("skipped: /dev/fuse, root and a mount namespace are needed")
    sys.exit(77)
subprocess.run(["mount", "--make-rprivate", "/"], check=True)
unittest.main()
