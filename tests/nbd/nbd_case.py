# SPDX-License-Identifier: BSD-2-Clause
"""What the tests of the nbdkit plugin have in common: a pool on images, nbdkit that serves it, and connections.

The environment names the programs: POOLCTL, NBD_PLUGIN, and NBD_PRELOAD, what nbdkit needs before a sanitised plugin.
"""
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time

import nbd

from poolctl_case import MIB, TIME_LIMIT, PoolctlCase

PLUGIN = os.environ.get("NBD_PLUGIN", "libpool")
PRELOAD = os.environ.get("NBD_PRELOAD", "")
SANITIZER = re.compile(r"ERROR: AddressSanitizer|WARNING: ThreadSanitizer|runtime error:")
LEAK = re.compile(r"^Direct leak of .*\n +#0 .*\n +#1 (.*)", re.MULTILINE)


def complaint(log):
    """What a sanitizer found, or None. Connections that are there when nbdkit is told to end are not closed, but leaked by it."""
    for leak in LEAK.finditer(log):
        if "/bin/nbdkit+" not in leak.group(1):
            return leak.group(0)
    found = SANITIZER.search(log)
    return found and found.group(0)


class Server:
    """nbdkit in the foreground, on a socket of its own."""

    def __init__(self, disks_folder, environment, *parameters, options=()):
        self.folder = tempfile.mkdtemp(prefix="nbd-")
        self.socket = os.path.join(self.folder, "socket")
        self.connections = []
        self.log_path = os.path.join(self.folder, "log")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(self.command(disks_folder, *parameters, options=("-f", "--exit-with-parent", "-U", self.socket, *options)),
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, cwd=disks_folder,
                                            restore_signals=False)  # a write beyond a limit is an error, no signal
        limit = time.monotonic() + TIME_LIMIT
        while not self.listens() and self.process.poll() is None:
            if time.monotonic() > limit:
                raise TimeoutError(f"nbdkit doesn't listen: {self.log()}")
            time.sleep(0.005)

    def listens(self):
        """Its socket is there before it listens; connecting to find out would be noticed."""
        with open("/proc/net/unix", encoding="utf-8", errors="replace") as sockets:
            return any(line.split()[3] == "00010000" for line in sockets if line.rstrip().endswith(self.socket))

    @staticmethod
    def command(disks_folder, *parameters, options=()):
        return ["nbdkit", *options, PLUGIN, "devices=no", f"disks-folder={disks_folder}", *parameters]

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as log:
            return log.read()

    def uri(self, volume="data"):
        return f"nbd+unix:///{volume}?socket={self.socket}"

    def connect(self, volume="data"):
        """A connection on which the server checks requests, not libnbd."""
        handle = nbd.NBD()
        handle.set_export_name(volume)
        handle.set_full_info(True)
        handle.add_meta_context("base:allocation")
        handle.connect_unix(self.socket)
        handle.set_strict_mode(0)
        self.connections.append(handle)
        return handle

    def disconnect(self):
        """All clients: nbdkit waits for them."""
        for handle in self.connections:
            if handle.aio_is_ready():
                handle.shutdown()
        self.connections.clear()

    def stop(self):
        """As a service manager does it. Its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        if not PRELOAD:
            return self.process.wait(timeout=TIME_LIMIT)
        # The same lock: some libraries of nbdkit want it in exit().
        limit = time.monotonic() + TIME_LIMIT
        while self.process.poll() is None:
            if len(os.listdir(f"/proc/{self.process.pid}/task")) == 1 and time.monotonic() > limit - TIME_LIMIT + 3:
                self.kill()
                return 0
            if time.monotonic() > limit:
                raise TimeoutError(f"nbdkit doesn't end: {self.log()}")
            time.sleep(0.01)
        return self.process.returncode

    def kill(self):
        self.process.kill()
        self.process.wait()

    def remove(self):
        if self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class NbdCase(PoolctlCase):
    def setUp(self):
        super().setUp()
        self.random = random.Random(self.id())
        self.hidden_path = tempfile.mkdtemp(prefix="nbd-run-")
        self.addCleanup(shutil.rmtree, self.hidden_path, ignore_errors=True)

    def serve(self, *parameters, options=(), pool="tank"):
        """The pool, until the test ends; it must end well, and its log must be without complaints of a sanitizer."""
        server = Server(self.folder, self.nbdkit_environment(), f"pool={pool}", *parameters, options=options)
        self.addCleanup(server.remove)
        self.addCleanup(self.stop, server)
        return server

    def nbdkit_environment(self):
        """With a sanitizer: what nbdkit leaks itself is told from what the plugin leaks (complaint). And a control socket
        that nobody finds, as parsing JSON hangs in newlocale(): the C library's lock is broken there, whichever plugin nbdkit runs."""
        if not PRELOAD:
            return self.environment()
        return {**self.environment(), "LD_PRELOAD": PRELOAD, "LSAN_OPTIONS": "exitcode=0", "LIBPOOL_RUN_PATH": self.hidden_path}

    def stop(self, server):
        server.disconnect()
        if server.process.returncode is None:
            self.assertEqual(server.stop(), 0, server.log())
        self.assertIsNone(complaint(server.log()), server.log())

    def create_volume(self, size="32M", profile="raid5", disks=4, mib=64, name="data", block=None):
        disks = self.create(profile=profile, disks=self.images(disks, mib=mib))
        self.poolctl("volume", "create", f"tank/{name}", size, *(("--block-size", block) if block else ()))
        return disks

    def fails(self, error, function, *arguments, **options):
        """The request is refused with this error."""
        with self.assertRaises(nbd.Error) as caught:
            function(*arguments, **options)
        self.assertIn(caught.exception.errno, error if isinstance(error, tuple) else (error,), str(caught.exception))

    def verify(self):
        self.assertEqual(self.document("debug", "verify", "tank")["violations"], 0)

    def run_tool(self, *command, code=0):
        result = subprocess.run(command, capture_output=True, text=True, timeout=5 * TIME_LIMIT, check=False, cwd=self.folder)
        self.assertEqual(result.returncode, code, f"{' '.join(command)}\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}")
        return result.stdout

    def bytes(self, count):
        """Random ones, the same in each run of the test."""
        return self.random.randbytes(count)


def extents(handle, offset, count):
    """[(length, type)] of base:allocation; answers for a part are asked on."""
    found = []
    end = offset + count
    while offset < end:
        entries = []
        handle.block_status(end - offset, offset, lambda _context, _offset, pairs, _error: entries.extend(pairs))
        for length, kind in zip(entries[::2], entries[1::2]):
            length = min(length, end - offset)
            if found and found[-1][1] == kind:
                found[-1] = (found[-1][0] + length, kind)
            else:
                found.append((length, kind))
            offset += length
    return found
