# SPDX-License-Identifier: BSD-2-Clause
"""What the tests of poolctl as a program have in common: a folder of images, runs with a time limit, and checksums.

The environment names the programs: POOLCTL, LABEL_EDIT and DAMAGE_DISK.
"""
import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import unittest

MIB = 1 << 20
PIECE = 65536
PROGRAM = os.environ.get("POOLCTL", "poolctl")
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/json.md"), encoding="utf-8") as schema_file:
    SCHEMA = schema_file.read()
TIME_LIMIT = float(os.environ.get("POOLCTL_TIME_LIMIT", "60"))


def checksum(path):
    """Of the size and of all pieces that aren't zero; holes are skipped, as images are sparse."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        sums = hashlib.sha256(str(size).encode())
        offset = 0
        while offset < size:
            try:
                start = os.lseek(file.fileno(), offset, os.SEEK_DATA)
            except OSError:
                break
            offset = max(offset, start // PIECE * PIECE)
            file.seek(offset)
            piece = file.read(PIECE)
            if piece.strip(b"\0"):
                sums.update(f" {offset} ".encode() + piece)
            offset += PIECE
    return sums.hexdigest()


class ControlError(Exception):
    """What a server answered instead of a result: the member "error"."""

    def __init__(self, error):
        super().__init__(error["message"])
        self.code = error["code"]
        self.data = error.get("data", {})


class ControlClient:
    """Speaks to a control socket as docs/json.md says; knows nothing of poolctl."""

    def __init__(self, path, timeout=TIME_LIMIT):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        self.buffer = b""
        self.notes = []
        self.last_id = 0
        try:
            self.socket.connect(path)
        except OSError:
            self.socket.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send_bytes(self, data, descriptors=()):
        if descriptors:
            sent = socket.send_fds(self.socket, [data], list(descriptors))
            data = data[sent:]
        if data:
            self.socket.sendall(data)

    def send(self, method, params=None, descriptors=(), **members):
        """Sends a request and returns its id."""
        self.last_id += 1
        message = {"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params or {}, **members}
        if descriptors:
            message["descriptors"] = len(descriptors)
        self.send_bytes(json.dumps(message).encode() + b"\n", descriptors)
        return self.last_id

    def notify(self, method, params):
        self.send_bytes(json.dumps({"jsonrpc": "2.0", "method": method, "params": params}).encode() + b"\n")

    def receive(self):
        """The next message; EOFError when there is none any more."""
        while b"\n" not in self.buffer:
            data = self.socket.recv(65536)
            if not data:
                raise EOFError
            self.buffer += data
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def answer(self, number):
        """The result of this request; other messages are kept in notes."""
        while True:
            message = self.receive()
            if message.get("id", number) != number or "method" in message:
                self.notes.append(message)
            elif "error" in message:
                raise ControlError(message["error"])
            else:
                return message["result"]

    def call(self, method, params=None, descriptors=(), **members):
        return self.answer(self.send(method, params, descriptors, **members))


class PoolctlCase(unittest.TestCase):
    """Each test has a folder of its own, which is also where poolctl searches for disks."""

    devices = False  # whether the block devices of this machine are searched as well

    def setUp(self):
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix="poolctl-"))
        os.chmod(self.folder, 0o755)
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        # Sockets lie elsewhere: what is in the folder are disks, and must not change.
        self.run_path = tempfile.mkdtemp(prefix="poolctl-run-")
        self.addCleanup(shutil.rmtree, self.run_path, ignore_errors=True)
        self.addCleanup(self.end_owners)

    def path(self, name):
        return os.path.join(self.folder, name)

    def image(self, name, mib=64, fill=None):
        with open(self.path(name), "wb") as file:
            file.truncate(mib * MIB)
            if fill:
                file.write(fill)
        return self.path(name)

    def images(self, count, prefix="d", mib=64):
        return [self.image(f"{prefix}{index}", mib) for index in range(count)]

    def command(self, *arguments):
        return [PROGRAM, *([] if self.devices else ["--no-devices"]), "-d", self.folder, *arguments]

    def environment(self):
        return {**os.environ, "LIBPOOL_RUN_PATH": self.run_path, "LIBPOOL_ETC_PATH": os.path.join(self.run_path, "etc")}

    def sockets(self):
        return [os.path.join(self.run_path, name) for name in sorted(os.listdir(self.run_path)) if name.endswith(".sock")]

    def end_owners(self):
        """A test that failed leaves processes behind, which are asked to go by what they serve."""
        for path in self.sockets():
            try:
                with ControlClient(path) as client:
                    os.kill(client.call("hello")["pid"], signal.SIGKILL)
            except (OSError, ControlError):
                pass

    def popen(self, *arguments, **options):
        return subprocess.Popen(self.command(*arguments), env=self.environment(), cwd=self.folder, **options)

    def run_poolctl(self, *arguments, **options):
        return subprocess.run(self.command(*arguments), cwd=self.folder, timeout=TIME_LIMIT, env=self.environment(),
                              stdin=options.pop("stdin", subprocess.DEVNULL if "input" not in options else None),
                              capture_output=True, check=False, **options)

    def poolctl(self, *arguments, code=0, text=True, **options):
        """Runs it, expects this exit code, and returns what it printed."""
        result = self.run_poolctl(*arguments, **options)
        self.assertEqual(result.returncode, code,
                         f"{' '.join(map(str, arguments))}\n{result.stdout[-3000:]!r}\n{result.stderr.decode(errors='replace')}")
        return result.stdout.decode() if text else result.stdout

    def document(self, *arguments, code=0):
        document = json.loads(self.poolctl(*arguments, "--json", code=code))
        self.assertEqual(document["schema"], 1)
        self.is_documented(document)
        return document

    def is_documented(self, value):
        """Every member of a document is named in docs/json.md."""
        if isinstance(value, list):
            for element in value:
                self.is_documented(element)
        elif isinstance(value, dict):
            for key, element in value.items():
                self.assertTrue(f"`{key}`" in SCHEMA or f'"{key}"' in SCHEMA, f"docs/json.md says nothing about '{key}'")
                self.is_documented(element)

    def refused(self, *arguments, says=(), code=1, changes=False, **options):
        """One clear line and this exit code, and, unless `changes`, every image as it was."""
        before = self.checksums()
        result = self.run_poolctl(*arguments, **options)
        error = result.stderr.decode(errors="replace")
        self.assertEqual(result.returncode, code, f"{' '.join(map(str, arguments))}\n{error}")
        lines = error.splitlines()
        self.assertEqual(len(lines), 1, error)
        self.assertTrue(error.startswith("poolctl: "), error)
        self.assertGreater(len(error), 25, error)
        for part in [says] if isinstance(says, str) else says:
            self.assertIn(part, error)
        if not changes:
            self.assertEqual(self.checksums(), before, "images were changed")
        return error

    def checksums(self):
        return {name: checksum(self.path(name)) for name in sorted(os.listdir(self.folder))}

    def create(self, name="tank", profile="raid6", disks=None, mib=64):
        disks = disks or self.images(6, mib=mib)
        self.poolctl("create", name, profile, *disks)
        return disks

    def volume(self, name="tank/data", size="32M", data=None):
        """A volume with random data, which is returned."""
        data = data if data is not None else os.urandom(20 * MIB + 12345)
        self.poolctl("volume", "create", name, size)
        self.poolctl("volume", "write", name, input=data)
        return data

    def reads_back(self, data, name="tank/data"):
        back = self.poolctl("volume", "read", name, "--length", str(len(data)), text=False)
        self.assertTrue(back == data, "what was read is not what was written")

    def status(self, pool="tank"):
        return self.document("status", pool)["pools"][0]

    def control(self):
        """A client of the only owner."""
        (path,) = self.sockets()
        client = ControlClient(path)
        self.addCleanup(client.socket.close)
        return client

    def import_pool(self, *options, pool="tank"):
        """Returns the number of the process that keeps it."""
        return self.document("import", pool, *options)["pid"]

    def export_pool(self, *options, pool="tank"):
        return self.document("export", pool, *options)

    def kill_owner(self, pid):
        """As a crash of its machine, as far as the pool can see. Returns when its disks are free."""
        os.kill(pid, signal.SIGKILL)
        self.wait_until_in_use(False)

    def wait_for(self, condition, what):
        limit = time.monotonic() + TIME_LIMIT
        while not condition():
            if time.monotonic() > limit:
                self.fail(f"it never came to this: {what() if callable(what) else what}")
            time.sleep(0.02)

    def wait_until_in_use(self, in_use):
        limit = time.monotonic() + TIME_LIMIT
        while self.document("list")["pools"][0]["in_use"] is not in_use:
            self.assertLess(time.monotonic(), limit, f"the pool never became {'used' if in_use else 'free'}")
            time.sleep(0.02)
