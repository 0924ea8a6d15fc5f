# SPDX-License-Identifier: BSD-2-Clause
"""The machine that is measured: its disks, what they count, how busy it is."""
import os
import pathlib
import platform
import subprocess
import tempfile
import time

MIB = 1 << 20


class Failed(Exception):
    """Something that was called has failed: what is measured can't be trusted from here on."""


def run(*command, quiet=True, **options):
    """A command that must succeed; its standard output."""
    try:
        result = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE if quiet else None, text=True, check=False, **options)
    except OSError as error:
        raise Failed(f"{command[0]}: {error.strerror}") from error
    if result.returncode != 0:
        last = (result.stderr or result.stdout or "").strip().splitlines()
        raise Failed(f"{' '.join(str(word) for word in command)}: exit code {result.returncode}: "
                     f"{last[-1] if last else 'no message'}")
    return result.stdout


def try_run(*command):
    try:
        return subprocess.run([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              check=False).returncode == 0
    except OSError:
        return False


class Loops:
    """Loop devices over files in RAM, of which every page is there before anything is measured."""

    def __init__(self, count, size, huge):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-compare-"))
        self.paths = []
        options = f"size={count * size + 64 * MIB},mode=0700" + (",huge=always" if huge else "")
        run("mount", "-t", "tmpfs", "-o", options, "tmpfs", self.folder)
        zeroes = bytes(4 * MIB)
        try:
            for index in range(count):
                path = self.folder / f"disk{index}"
                with open(path, "wb", buffering=0) as file:
                    for _ in range(0, size, len(zeroes)):
                        file.write(zeroes)
                self.paths.append(run("losetup", "--direct-io=on", "--find", "--show", path).strip())
        except (Failed, OSError):
            self.close()
            raise

    def close(self):
        for path in self.paths:
            try_run("losetup", "--detach", path)
        self.paths = []
        try_run("umount", self.folder)
        try:
            self.folder.rmdir()
        except OSError:
            pass


def wipe(path):
    """As a disk that was replaced by an empty one."""
    with open(path, "r+b", buffering=0) as disk:
        size = disk.seek(0, os.SEEK_END)
        disk.seek(0)
        zeroes = bytes(4 * MIB)
        for at in range(0, size, len(zeroes)):
            disk.write(zeroes[:min(len(zeroes), size - at)])
        os.fsync(disk.fileno())


# Fields of /sys/block/*/stat (Documentation/block/stat.rst)
FIELDS = {"reads": 0, "sectors_read": 2, "writes": 4, "sectors_written": 6, "flushes": 15}


def stat_path(disk):
    return f"/sys/class/block/{os.path.basename(os.path.realpath(disk))}/stat"


def parse_counters(text):
    """The sum over all disks, one line each."""
    total = dict.fromkeys(FIELDS, 0)
    for line in text.splitlines():
        words = line.split()
        for name, index in FIELDS.items():
            total[name] += int(words[index]) if index < len(words) else 0
    return total


def counters(disks):
    return parse_counters("".join(pathlib.Path(stat_path(disk)).read_text() for disk in disks))


def difference(before, after):
    return {name: after[name] - before[name] for name in FIELDS}


def load():
    return os.getloadavg()[0]


def description():
    model = "unknown"
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":", 1)[1].strip()
            break
    return {"processor": model, "cores": os.cpu_count(), "kernel": platform.release(),
            "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
            "load": load(), "time": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())}
