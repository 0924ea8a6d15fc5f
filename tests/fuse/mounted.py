# SPDX-License-Identifier: BSD-2-Clause
"""A pool on files with one file system mounted, and system calls that Python doesn't have. The environment names the programs: POOLCTL and LIBPOOL_FUSE."""
import ctypes
import fcntl
import os
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

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


def sync(path):
    """What was done in the file system of this folder is durable, and committed if names changed. Of sync(2) the kernel tells no FUSE file system."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
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
        self.poolctl("create", "m", profile, *self.disks, "--create-size", f"{megabytes}M")
        self.poolctl("dataset", "create", "m/fs", *dataset)
        self.process = None

    def poolctl(self, *arguments, code=0):
        run = subprocess.run([POOLCTL, "--no-devices", *arguments], env=self.environment, capture_output=True, text=True, timeout=300, check=False)
        if code is not None and run.returncode != code:
            raise AssertionError(f"poolctl {' '.join(arguments)}: exit code {run.returncode}: {run.stderr}")
        return run.stdout + run.stderr

    def mount(self, *options):
        self.process = subprocess.Popen([FUSE, "-f", "-n", *options, "m/fs", self.point], env=self.environment, stderr=subprocess.PIPE)
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
        return self.poolctl("debug", "verify", "m")

    def answers(self):
        """How often the process has written anything: to the kernel above all."""
        with open(f"/proc/{self.process.pid}/io", encoding="ascii") as file:
            return int(dict(line.split(": ") for line in file)["syscw"])

    def end(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process.stderr.close()
        subprocess.run(["umount", "-l", self.point], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.folder, ignore_errors=True)
