#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Full pools, disks that vanish, clients that vanish, and an end in the middle of all."""
import os
import resource
import signal
import socket
import threading
import time
import unittest

import nbd

from nbd_case import MIB, NbdCase

PIECE = 65536


class Load:
    """Threads with a connection each that write, read back and flush, each in its own part of the volume, until told to stop."""

    def __init__(self, case, server, threads=3, bytes_each=8 * MIB):
        self.case, self.bytes_each = case, bytes_each
        self.content = [{} for _ in range(threads)]  # offset: what was acknowledged last
        self.failures = []
        self.rounds = [0] * threads
        self.stopping = False
        handles = [server.connect() for _ in range(threads)]
        seeds = [case.random.randrange(1 << 60) for _ in range(threads)]
        self.threads = [threading.Thread(target=self.run, args=arguments) for arguments in enumerate(zip(handles, seeds))]
        for thread in self.threads:
            thread.start()

    def run(self, number, what):
        handle, seed = what
        choose = type(self.case.random)(seed)
        try:
            while not self.stopping:
                for _count in range(8):
                    offset = number * self.bytes_each + choose.randrange(self.bytes_each // PIECE) * PIECE
                    data = choose.randbytes(PIECE)
                    self.content[number].pop(offset, None)
                    handle.pwrite(data, offset)
                    self.content[number][offset] = data
                offset = choose.choice(list(self.content[number]))
                if handle.pread(PIECE, offset) != self.content[number][offset]:
                    raise AssertionError(f"wrong data at {offset}")
                handle.flush()
                self.rounds[number] += 1
        except (nbd.Error, AssertionError) as error:
            self.failures.append(error)
            if handle.aio_is_ready():
                handle.shutdown()

    def wait_for_rounds(self, count):
        goals = [rounds + count for rounds in self.rounds]
        limit = time.monotonic() + 60
        while not self.failures and any(rounds < goal for rounds, goal in zip(self.rounds, goals)):
            if time.monotonic() > limit:
                raise TimeoutError("the load stands still")
            time.sleep(0.01)

    def stop(self):
        self.stopping = True
        for thread in self.threads:
            thread.join(60)

    def check(self, handle):
        for content in self.content:
            for offset, data in content.items():
                self.case.assertTrue(handle.pread(PIECE, offset) == data, f"what was acknowledged is not there, at {offset}")


class Faults(NbdCase):
    def test_a_disk_vanishes_under_load(self):
        disks = self.create_volume(profile="raid5", disks=4)
        server = self.serve()
        load = Load(self, server)
        load.wait_for_rounds(2)
        os.truncate(disks[1], 0)
        os.remove(disks[1])
        load.wait_for_rounds(3)
        load.stop()
        self.assertEqual(load.failures, [])
        load.check(server.connect())
        self.stop(server)
        server = self.serve("readonly=true")
        load.check(server.connect())
        self.stop(server)
        self.assertEqual(self.status()["state"], "degraded")
        self.verify()

    def test_a_full_pool(self):
        """-ENOSPC is what the client gets, what was there stays, and trimming makes room."""
        self.create_volume("1G", profile="raid1", disks=2)
        server = self.serve()
        handle = server.connect()
        data = self.bytes(MIB)
        written = 0
        with self.assertRaises(nbd.Error) as caught:
            while written < 1024:
                handle.pwrite(data, written * MIB)
                written += 1
        self.assertEqual(caught.exception.errno, "ENOSPC")
        self.assertGreater(written, 20)
        for _attempt in range(5):
            self.fails("ENOSPC", handle.pwrite, data, 500 * MIB)
        self.assertLess(server.log().count("\n"), 4, server.log())
        self.assertIn("tank/data", server.log())
        handle.flush()
        for number in range(written):
            self.assertTrue(handle.pread(MIB, number * MIB) == data)
        handle.trim(written // 2 * MIB, 0)
        handle.flush()
        other = self.bytes(MIB)
        for number in range(written // 4):
            handle.pwrite(other, number * MIB)
        handle.flush()
        self.assertTrue(handle.pread(MIB, (written - 1) * MIB) == data)
        self.assertTrue(handle.pread(MIB, 0) == other)
        self.stop(server)
        self.verify()

    def test_damage(self):
        """Reading what is lost fails with EIO; the log says so once."""
        (disk,) = self.create_volume(profile="single", disks=1)
        server = self.serve("cache=0")
        handle = server.connect()
        for number in range(16):
            handle.pwrite(self.bytes(MIB), number * MIB)
        handle.flush()
        os.truncate(disk, 0)
        for _count in range(100):
            self.fails("EIO", handle.pread, 100, MIB)
        self.assertIn("volume tank/data: read, 100 bytes at 1048576: data is damaged", server.log())
        self.assertEqual(server.log().count("volume tank/data: "), 1, server.log())
        self.assertEqual(server.connect().get_size(), 32 * MIB)

    def test_a_halted_pool(self):
        """Changes fail with EIO, what is cached is read, the server goes on, and ends as it should."""
        self.create_volume(profile="raid1", disks=2)
        server = self.serve()
        handle = server.connect()
        data = self.bytes(MIB)
        handle.pwrite(data, MIB)
        handle.flush()
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (65536, 65536))  # no disk can be written
        self.fails("EIO", self.overwrite_and_flush, handle)
        self.assertIn("the pool is halted", server.log())
        for _count in range(100):
            self.fails("EIO", handle.pwrite, b"x", 0)
        for request in (handle.flush, lambda: handle.zero(MIB, 0), lambda: handle.trim(MIB, 0)):
            self.fails("EIO", request)
        self.assertTrue(handle.pread(MIB, MIB) == data)
        other = server.connect()
        self.assertEqual(other.get_size(), 32 * MIB)
        self.fails("EIO", other.pwrite, b"x", 0, flags=nbd.CMD_FLAG_FUA)
        self.assertLess(server.log().count("\n"), 10, server.log())
        server.disconnect()
        self.assertEqual(server.stop(), 0)
        self.assertTrue(self.serve().connect().pread(MIB, MIB) == data)

    def overwrite_and_flush(self, handle):
        handle.pwrite(self.bytes(MIB), 2 * MIB)
        handle.flush()

    def test_stopped_under_load(self):
        self.create_volume()
        server = self.serve()
        load = Load(self, server)
        load.wait_for_rounds(1)
        self.assertEqual(server.stop(), 0)
        load.stop()
        for failure in load.failures:
            self.assertIsInstance(failure, nbd.Error)
        (pool,) = self.document("list")["pools"]
        self.assertTrue(pool["clean"])
        load.check(self.serve().connect())

    def test_clients_that_vanish(self):
        """In the middle of a request, or of the greeting: nobody else notices, and their handles are closed."""
        self.create_volume()
        server = self.serve()
        for _count in range(10):
            handle = server.connect()
            handle.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(8 * MIB)), 24 * MIB)
            client = socket.socket(fileno=os.dup(handle.aio_get_fd()))
            client.shutdown(socket.SHUT_RDWR)
            client.close()
            server.connections.remove(handle)
            del handle
            greeting = socket.socket(socket.AF_UNIX)
            greeting.connect(server.socket)
            greeting.send(b"IHAVEOPT")
            greeting.close()
        handle = server.connect()
        handle.pwrite(b"still here", 0)
        self.assertEqual(handle.pread(10, 0), b"still here")
        self.assertIsNone(server.process.poll())

    def test_nonsense(self):
        self.create_volume()
        server = self.serve()
        for _count in range(20):
            client = socket.socket(socket.AF_UNIX)
            client.connect(server.socket)
            try:
                client.send(self.bytes(10000))
            except OSError:
                pass
            client.close()
        self.assertEqual(server.connect().pread(1, 0), b"\0")


if __name__ == "__main__":
    signal.alarm(800)  # a hang is a failure
    unittest.main()
