#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The control socket and those who shouldn't be let near one: nothing that a client does costs anybody else anything."""
import fcntl
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import unittest

from poolctl_case import MIB, TIME_LIMIT, ControlClient, ControlError, PoolctlCase

PYTHON = "/usr/bin/python3"  # one that other users can run


class Clients(PoolctlCase):
    """Whatever a client does, others are served meanwhile, and the pool is exported cleanly in the end."""

    def setUp(self):
        super().setUp()
        self.create(profile="raid1", disks=self.images(2))
        self.volume(size="4M", data=b"hello")
        self.pid = self.import_pool()

    def tearDown(self):
        started = time.monotonic()
        with self.control() as client:
            self.assertEqual(client.call("hello")["pool"], "tank")
        self.assertLess(self.memory(), 400 * MIB)
        self.poolctl("export", "tank")
        self.assertLess(time.monotonic() - started, 10)
        self.assertTrue(self.document("list")["pools"][0]["clean"])
        self.assertEqual(self.poolctl("volume", "read", "tank/data", "--length", "5"), "hello")

    def memory(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            return next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmRSS"))

    def descriptors(self):
        """What the process has open."""
        folder, found = f"/proc/{self.pid}/fd", []
        for number in os.listdir(folder):
            try:
                found.append(os.readlink(f"{folder}/{number}"))
            except FileNotFoundError:
                pass
        return sorted(found)

    def error(self, line, code, client=None):
        """The line is answered with this error."""
        client = client or self.control()
        client.send_bytes(line + b"\n")
        message = client.receive()
        self.assertEqual(message["error"]["code"], code, message)
        return message

    def test_nonsense(self):
        client = self.control()
        for line, code in ((b"nonsense", -32700), (b"\x00\xff\xfe", -32700), (b'{"jsonrpc": "2.0"', -32700), (b"{}", -32600), (b"[]", -32600),
                           (b"null", -32700), (b"7", -32700), (b'"x"', -32600), (b'{"a": 1} {"b": 2}', -32700),
                           (b'{"jsonrpc": "1.0", "id": 1, "method": "hello"}', -32600), (b'{"jsonrpc": "2.0", "id": 1, "method": 5}', -32600),
                           (b'{"jsonrpc": "2.0", "id": {}, "method": "hello"}', -32600),
                           (b'{"jsonrpc": "2.0", "id": 1, "method": "nothing"}', -32601),
                           (b'{"jsonrpc": "2.0", "id": 1, "method": "hello", "params": []}', -32602),
                           (b'{"jsonrpc": "2.0", "id": 1, "method": "hello", "params": {"x": 1}}', -32602),
                           (b'{"jsonrpc": "2.0", "id": 1, "method": "volume.destroy"}', -32602),
                           (b'{"jsonrpc": "2.0", "id": 1, "method": "volume.destroy", "params": {"volume": 7}}', -32602),
                           (b'{"jsonrpc": "2.0", "id": 1, "method": "volume.destroy", "params": {"volume": "a\\u0000b"}}', -32602),
                           (b'{"jsonrpc": "2.0", "id": 1, "method": "events", "params": {"after": -1}}', -32602),
                           (b'{"jsonrpc": "2.0", "id": 1, "method": "set", "params": {"settings": [1]}}', -32602),
                           (b'{"jsonrpc": "2.0", "id": 1, "method": "wait", "params": {"jobs": "scrub"}}', -32602),
                           (b'{"jsonrpc": "2.0", "id": 1, "method": "volume.write", "params": {"volume": "data"}}', -32602),
                           (b'{"jsonrpc": "2.0", "id": 1, "method": "hello", "descriptors": 1}', -32600),
                           (b'{"jsonrpc": "2.0", "id": 1, "method": "hello", "descriptors": 99}', -32600),
                           (b'{"jsonrpc": "2.0", "id": 1, "method": "hello", "progress": 3}', -32600)):
            with self.subTest(line=line):
                self.error(line, code, client)
        self.assertEqual(client.call("hello")["pool"], "tank")

    def test_deep_nesting(self):
        client = self.control()
        for depth in (9, 100, 30000):
            self.assertIn("deep", self.error(b"[" * depth + b"]" * depth, -32700, client)["error"]["message"])
        self.error(b'{"jsonrpc": "2.0", "id": 1, "method": "hello", "params": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}", -32700, client)
        self.assertEqual(client.call("hello")["pool"], "tank")

    def test_without_end(self):
        """One GiB without a line end: 64 KiB of it are read."""
        client = self.control()
        piece = b"x" * MIB
        sent = 0
        try:
            for _ in range(1024):
                client.socket.sendall(piece)
                sent += len(piece)
        except OSError:
            pass
        self.assertLess(sent, 8 * MIB)
        try:
            self.assertIn("longer than", client.receive()["error"]["message"])
        except OSError:
            pass

    def test_cut_and_slow(self):
        """A request byte by byte, two in one piece, and one that never ends."""
        client = self.control()
        for byte in b'{"jsonrpc": "2.0", "id": 1, "method": "hello"}\n':
            client.send_bytes(bytes([byte]))
        self.assertEqual(client.answer(1)["pool"], "tank")
        client.send_bytes(b'{"jsonrpc":"2.0","id":2,"method":"hello"}\n\n{"jsonrpc":"2.0","id":"x","method":"hello"}\n{"jsonrpc"')
        self.assertEqual({client.receive()["id"], client.receive()["id"]}, {2, "x"})
        client.socket.shutdown(socket.SHUT_WR)
        self.assertRaises(EOFError, client.receive)

    def test_half_closed(self):
        client = self.control()
        number = client.send("debug.verify")
        client.socket.shutdown(socket.SHUT_WR)
        self.assertEqual(client.answer(number)["violations"], 0)
        self.assertRaises(EOFError, client.receive)

    def test_dies_in_the_middle(self):
        """Its requests are cancelled, its volume is closed, its descriptors are gone."""
        before = self.descriptors()
        for _ in range(5):
            reader, writer = os.pipe()
            client = self.control()
            client.send("volume.write", {"volume": "data"}, [reader])
            client.send("wait", {"jobs": ["scrub"]})
            os.close(reader)
            self.wait_for(lambda: self.status()["users"], "a user of the volume")
            client.socket.close()
            self.wait_for(lambda: not self.status()["users"], "no user of the volume")
            os.close(writer)
        self.wait_for(lambda: len(self.descriptors()) <= len(before), lambda: f"no more descriptors than {before}: {self.descriptors()}")

    def test_cancel(self):
        reader, writer = os.pipe()
        client = self.control()
        number = client.send("volume.write", {"volume": "data"}, [reader])
        self.assertEqual(client.call("hello")["pool"], "tank")
        client.notify("cancel", {"id": 12345})
        client.notify("cancel", {})
        client.notify("cancel", {"id": number})
        with self.assertRaises(ControlError) as caught:
            client.answer(number)
        self.assertIn("interrupted", str(caught.exception))
        os.close(reader)
        os.close(writer)

    def test_descriptors_it_should_not_send(self):
        before = self.descriptors()
        with open("/dev/null", "r+b") as null:
            for count in (5, 100):
                client = self.control()
                client.send_bytes(b'{"jsonrpc": "2.0"', [null.fileno()] * count)
                self.assertIn("more descriptors", client.receive()["error"]["message"])
                self.assertRaises((EOFError, OSError), client.receive)
            client = self.control()
            client.send_bytes(b'{"jsonrpc": "2.0", "id": 1, "method": "hello"}\n', [null.fileno()] * 3)
            self.assertEqual(client.answer(1)["pool"], "tank")
            client.send_bytes(b"\n", [null.fileno()] * 2)
            self.assertIn("more descriptors", client.receive()["error"]["message"])
            client = self.control()
            with self.assertRaises(ControlError) as caught:
                client.call("hello", descriptors=[null.fileno()])
            self.assertEqual(caught.exception.code, -32602)
        for path, flags in ((self.folder, os.O_RDONLY), ("/dev/null", os.O_WRONLY), ("/dev/null", os.O_PATH), (self.sockets()[0], os.O_PATH)):
            descriptor = os.open(path, flags)
            with self.assertRaises(ControlError) as caught:
                client.call("volume.write", {"volume": "data"}, [descriptor])
            self.assertEqual(caught.exception.code, -32000)
            os.close(descriptor)
        client.socket.close()
        self.wait_for(lambda: len(self.descriptors()) <= len(before), lambda: f"no more descriptors than {before}: {self.descriptors()}")

    def test_its_own_connection(self):
        """A client that passes the connection itself, and dies, would never be missed: its volume would stay in use."""
        for number in range(2):
            client, other = self.control(), self.control()
            client.send("volume.write", {"volume": "data"}, [(client, other)[number].socket.fileno()])
            self.assertIn("connection to this server", client.receive()["error"]["message"])
            self.assertRaises((EOFError, OSError), client.receive)
            client.socket.close()
        self.wait_for(lambda: not self.status()["users"], "no user of the volume")

    def test_never_reads(self):
        """Answers pile up to a limit, then nothing more of it is done; others go on."""
        client = self.control()
        client.socket.setblocking(False)
        request = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "status", "params": {}}).encode() + b"\n"
        sent = 0
        try:
            while sent < 64 * MIB:
                sent += client.socket.send(request * 100)
        except BlockingIOError:
            pass
        self.assertLess(sent, 8 * MIB)
        other = self.control()
        for _ in range(20):
            self.assertEqual(other.call("hello")["pool"], "tank")
        self.assertLess(self.memory(), 400 * MIB)

    def test_floods(self):
        """Many requests at once are all answered, in pieces of eight. (As many as a socket holds: who sends more has to read.)"""
        client = self.control()
        numbers = {client.send("hello") for _ in range(200)}
        seen = set()
        while seen != numbers:
            seen.add(client.receive()["id"])

    def test_slow_ones_hold_up_nobody(self):
        pipes = [os.pipe() for _ in range(8)]
        client = self.control()
        numbers = [client.send("volume.write", {"volume": "data"}, [reader]) for reader, _ in pipes]
        waiting = client.send("hello")
        other = self.control()
        for _ in range(50):
            other.call("hello")
        end = time.monotonic() + 30
        while len(other.call("status")["pools"][0]["users"]) != 8: # each begins in a thread of its own
            self.assertLess(time.monotonic(), end)
        for reader, writer in pipes:
            os.write(writer, b"hello")
            os.close(writer)
            os.close(reader)
        self.assertEqual(client.answer(waiting)["pool"], "tank")
        answered = {message["id"] for message in client.notes if "id" in message}
        while not answered >= set(numbers):
            answered.add(client.receive()["id"])

    def crowd(self, count):
        """Another process with so many connections; asked for by an empty line, it says which of them still work."""
        code = """
import socket, sys
hello = b'{"jsonrpc":"2.0","id":1,"method":"hello"}\\n'
def works(client):
    try:
        client.sendall(hello)
        return client.recv(65536).endswith(b"\\n")
    except OSError:
        return False
clients = [socket.socket(socket.AF_UNIX) for _ in range(int(sys.argv[2]))]
for client in clients:
    client.connect(sys.argv[1])
    assert works(client)
for _ in "first", "second":
    print("".join("x" if works(client) else "." for client in clients), flush=True)
    sys.stdin.readline()
"""
        crowd = subprocess.Popen([PYTHON, "-c", code, self.sockets()[0], str(count)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(crowd.wait)
        for stream in crowd.stdin, crowd.stdout:
            self.addCleanup(stream.close)
        self.assertEqual(crowd.stdout.readline(), "x" * count + "\n")
        return crowd

    def works(self, crowd):
        crowd.stdin.write("\n")
        crowd.stdin.flush()
        return crowd.stdout.readline().rstrip("\n")

    def test_many_clients(self):
        """One more takes the place of the one that has been idle longest."""
        crowds = [self.crowd(24), self.crowd(24)]
        clients = [self.control() for _ in range(16)]
        for client in clients:
            client.call("hello")
        self.assertEqual(self.control().call("hello")["pool"], "tank")
        self.assertEqual(clients[0].call("hello")["pool"], "tank")
        self.assertEqual([self.works(crowd) for crowd in crowds], ["." + 23 * "x", 24 * "x"])

    def test_one_process_with_many_clients(self):
        """Those of other processes don't make room for them, and are still let in."""
        other = self.crowd(8)
        pipes = [os.pipe() for _ in range(24)]
        clients = [self.control() for _ in range(25)]
        clients[-1].call("hello")
        self.assertRaises((EOFError, OSError), clients[0].call, "hello")
        clients = clients[1:]
        numbers = [client.send("volume.write", {"volume": "data"}, [reader]) for client, (reader, _) in zip(clients, pipes)]
        self.wait_for(lambda: len(self.status()["users"]) == len(clients), "all requests under way")
        self.assertIn("too many clients", self.control().receive()["error"]["message"])
        self.assertEqual(self.works(other), 8 * "x")
        for reader, writer in pipes:
            os.close(writer)
            os.close(reader)
        for client, number in zip(clients, numbers):
            self.assertEqual(client.answer(number)["bytes"], 0)

    def test_output_that_is_stuck(self):
        """A pipe that nobody empties is no reason not to export."""
        reader, writer = os.pipe()
        client = self.control()
        number = client.send("volume.read", {"volume": "data"}, [writer])
        self.wait_for(lambda: self.status()["users"], "a user of the volume")
        started = time.monotonic()
        client.notify("cancel", {"id": number})
        self.assertRaises(ControlError, client.answer, number)
        self.assertLess(time.monotonic() - started, 5)
        os.close(writer)
        os.close(reader)

    @unittest.skipUnless(os.geteuid() == 0, "needs root to become somebody else")
    def test_other_users(self):
        """The socket's mode keeps them out; were it open, they would be told no."""
        os.chmod(self.run_path, 0o755)
        probe = [PYTHON, "-c", "import socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n"
                 "print(s.recv(4096).decode())", self.sockets()[0]]
        options = {"user": 65534, "group": 65534, "extra_groups": [], "capture_output": True, "check": False, "timeout": TIME_LIMIT}
        try:
            result = subprocess.run(probe, **options)
        except (PermissionError, FileNotFoundError):
            self.skipTest("there is no python3 that another user can run")
        if b"Permission denied" not in result.stderr and b"PermissionError" not in result.stderr:
            self.fail(result.stderr.decode())
        os.chmod(self.sockets()[0], 0o666)
        result = subprocess.run(probe, **options)
        self.assertIn("nobody else", result.stdout.decode())

    @unittest.skipUnless(os.geteuid() == 0, "needs root to become somebody else")
    def test_sockets_of_others(self):
        """A socket that another user serves is not talked to."""
        folder = tempfile.mkdtemp(prefix="poolctl-run-")
        self.addCleanup(shutil.rmtree, folder)
        os.chown(folder, 65534, 65534)
        try:
            server = subprocess.Popen([PYTHON, "-c", "import socket, sys\ns = socket.socket(socket.AF_UNIX)\ns.bind(sys.argv[1])\ns.listen()\n"
                                       "print('up', flush=True)\nc, _ = s.accept()\nprint(len(c.recv(100)), flush=True)", folder + "/fake.sock"],
                                      stdout=subprocess.PIPE, user=65534, group=65534, extra_groups=[])
        except (PermissionError, FileNotFoundError):
            self.skipTest("there is no python3 that another user can run")
        self.addCleanup(server.stdout.close)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        self.assertEqual(server.stdout.readline(), b"up\n")
        result = subprocess.run(self.command("status", "tank", "--check"), env={**os.environ, "LIBPOOL_RUN_PATH": folder}, capture_output=True,
                                timeout=TIME_LIMIT, check=False)
        self.assertEqual(result.returncode, 4)
        self.assertEqual(server.stdout.readline(), b"0\n")


class Sockets(PoolctlCase):
    def serve_at(self, path):
        return subprocess.run(self.command("serve", "tank", "--socket", path), env=self.environment(), capture_output=True, timeout=TIME_LIMIT,
                              check=False, stdin=subprocess.DEVNULL)

    def refused_at(self, path, says):
        result = self.serve_at(path)
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
        self.assertIn(says, result.stderr.decode())
        self.assertTrue(self.document("list")["pools"][0]["clean"])

    def test_paths(self):
        self.create(profile="raid1", disks=self.images(2))
        base = self.run_path
        with open(os.path.join(base, "file"), "w", encoding="ascii") as file:
            file.write("precious")
        self.refused_at(os.path.join(base, "file"), "is no socket")
        with open(os.path.join(base, "file"), encoding="ascii") as file:
            self.assertEqual(file.read(), "precious")
        os.mkdir(os.path.join(base, "folder"))
        self.refused_at(os.path.join(base, "folder"), "is no socket")
        self.refused_at(os.path.join(base, "x" * 200), "bytes, at most 107")
        self.refused_at(os.path.join(base, "nowhere", "x"), "No such file")
        self.refused("serve", "tank", "--socket", "", says="--socket is empty", code=2)
        with open(os.path.join(base, "kept.lock"), "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.refused_at(os.path.join(base, "kept"), "locked by another process")
        with socket.socket(socket.AF_UNIX) as live:
            live.bind(os.path.join(base, "live"))
            live.listen()
            self.refused_at(os.path.join(base, "live"), "another process serves")
        self.assertTrue(os.path.exists(os.path.join(base, "live")))
        process = self.popen("serve", "tank", "--socket", os.path.join(base, "live"), stdout=subprocess.PIPE)  # stale now
        self.assertIn(b"imported", process.stdout.readline())
        with ControlClient(os.path.join(base, "live")) as client:
            client.call("export")
        self.assertEqual(process.wait(TIME_LIMIT), 0)
        process.stdout.close()
        self.assertFalse(os.path.exists(os.path.join(base, "live")))

    def test_long_folder(self):
        self.create(profile="raid1", disks=self.images(2))
        self.run_path_before, self.run_path = self.run_path, os.path.join(self.run_path, "x" * 80)
        os.mkdir(self.run_path)
        self.refused("import", "tank", says="too long", changes=True)
        self.run_path = "/" + "x" * 1000
        for verb in ("import", "serve"):
            error = self.refused(verb, "tank", says="too long", code=2)
            self.assertTrue(error.startswith(f"poolctl: {verb} tank: the folder for control sockets has a path of 1001 bytes"), error)
        self.run_path = self.run_path_before


if __name__ == "__main__":
    unittest.main(verbosity=2)
