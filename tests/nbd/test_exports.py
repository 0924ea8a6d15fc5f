#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What nbdkit is asked to export, what it says about it, and how it begins and ends."""
import json
import os
import signal
import subprocess
import time
import unittest

import nbd

from nbd_case import MIB, PRELOAD, TIME_LIMIT, NbdCase, Server


class Exports(NbdCase):
    def exports(self, server):
        handle = nbd.NBD()
        handle.set_opt_mode(True)
        handle.connect_unix(server.socket)
        found = {}
        handle.opt_list(lambda name, description: found.__setitem__(name, description) or 0)
        handle.opt_abort()
        return found

    def test_each_volume_is_an_export(self):
        self.create_volume()
        self.poolctl("volume", "create", "tank/größer", "64M", "--block-size", "128K")
        server = self.serve()
        self.assertEqual(self.exports(server), {"data": "volume data of pool tank, in blocks of 16 KiB",
                                                "größer": "volume größer of pool tank, in blocks of 128 KiB"})
        self.assertEqual(server.connect("data").get_size(), 32 * MIB)
        large = server.connect("größer")
        self.assertEqual((large.get_size(), large.get_block_size(nbd.SIZE_PREFERRED)), (64 * MIB, 128 << 10))
        for name in ("nothing", "", "data/", "../data", "x" * 300):
            with self.assertRaises(nbd.Error, msg=name):
                server.connect(name)
        self.assertIn("pool tank has no volume nothing", server.log())

    def test_a_pool_without_volumes(self):
        self.create(profile="raid1", disks=self.images(2))
        server = self.serve()
        self.assertEqual(self.exports(server), {})
        with self.assertRaises(nbd.Error):
            server.connect("")

    def test_the_only_one_is_the_default(self):
        self.create_volume()
        server = self.serve()
        handle = server.connect("")
        self.assertEqual((handle.get_size(), handle.get_canonical_export_name()), (32 * MIB, "data"))
        self.assertEqual(handle.get_export_description(), "volume data of pool tank, in blocks of 16 KiB")

    def test_one_volume(self):
        self.create_volume()
        self.poolctl("volume", "create", "tank/other", "1M")
        server = self.serve("volume=other")
        self.assertEqual(list(self.exports(server)), ["other"])
        self.assertEqual((server.connect("").get_size(), server.connect("other").get_size()), (MIB, MIB))
        with self.assertRaises(nbd.Error):
            server.connect("data")
        self.assertIn("only volume other of pool tank is exported", server.log())

    def test_what_it_can(self):
        self.create_volume(block="4K")
        server = self.serve()
        for what in ("write", "flush", "fua", "trim", "zero", "fast-zero", "multi-conn", "cache", "df", "structured-reply"):
            self.run_tool("nbdinfo", "--can", what, server.uri())
        (export,) = json.loads(self.run_tool("nbdinfo", "--json", "--no-content", server.uri()))["exports"]
        self.assertEqual((export["block_size_minimum"], export["block_size_preferred"], export["block_size_maximum"]), (1, 4096, 32 * MIB))
        self.assertEqual((export["export-size"], export["is_read_only"]), (32 * MIB, False))
        self.assertEqual(export["contexts"], ["base:allocation"])

    def test_read_only(self):
        disks = self.create_volume()
        data = self.bytes(MIB)
        self.poolctl("volume", "write", "tank/data", input=data)
        before = self.checksums()
        for arguments in ({"options": ("-r",)}, {}):
            server = self.serve(*(() if arguments else ("readonly=true",)), **arguments)
            self.run_tool("nbdinfo", "--is", "read-only", server.uri())
            handle = server.connect()
            self.assertEqual(handle.pread(MIB, 0), data)
            handle.flush()
            for request in (lambda: handle.pwrite(b"x", 0), lambda: handle.zero(4096, 0), lambda: handle.trim(4096, 0)):
                self.fails("EPERM", request)
            self.stop(server)
            if not arguments:
                self.assertEqual(self.checksums(), before, "a pool that was imported read-only has changed")
            before = self.checksums()
        os.chmod(disks[0], 0o400)  # root can write it all the same
        self.verify()


class Start(NbdCase):
    """Errors are seen by who starts it, also when nbdkit would go to the background."""

    def refused(self, *parameters, says):
        for options in (("-f", "-U", "-"), ("-U", os.path.join(self.folder, "socket"), "-P", os.path.join(self.folder, "pid"))):
            result = subprocess.run(Server.command(self.folder, *parameters, options=options), capture_output=True, text=True, timeout=TIME_LIMIT, check=False, env=self.nbdkit_environment(),
                                    stdin=subprocess.DEVNULL, cwd=self.folder)
            self.assertEqual(result.returncode, 1, result.stderr)
            self.assertEqual(len(result.stderr.splitlines()), 1, result.stderr)
            self.assertIn(says, result.stderr)

    def test_parameters(self):
        self.create_volume()
        self.refused(says="no pool is named")
        self.refused("pool=", says="pool is empty")
        self.refused("pool=tank", "pool=tank", says="pool is given twice")
        self.refused("pool=tank", "volume=", says="volume is empty")
        self.refused("pool=tank", "readonly=perhaps", says="(perhaps)")
        self.refused("pool=tank", "cache=plenty", says="(plenty)")
        self.refused("pool=tank", "disks-folder=/dev/null", says="'/dev/null' is not a folder")
        if not PRELOAD:  # see Server.stop
            self.refused("pool=tank", "disks-folder=nowhere", says="'nowhere' can't be searched")
        self.refused("pool=tank", "speed=high", says="unknown parameter 'speed'")
        self.refused("pool=tank", *["disks-folder=."] * 65, says="more than 64 folders")

    def test_pool_and_volume(self):
        disks = self.create_volume()
        self.refused("pool=tonk", says="no pool tonk was found")
        self.refused("pool=tank", "volume=date", says="pool tank has no volume date")
        for disk in disks[:2]:
            os.remove(disk)
        self.refused("pool=tank", says="2 of its 4 disks are missing")

    def test_a_pool_in_use(self):
        self.create_volume()
        server = self.serve()
        server.connect().flush()
        self.refused("pool=tank", "volume=data", says="pool tank is in use")
        server.connect().pwrite(b"x", 0)

    @unittest.skipIf(PRELOAD, "see Server.stop")
    def test_in_the_background(self):
        self.create_volume()
        pid_file, socket = os.path.join(self.folder, "pid"), os.path.join(self.folder, "socket")
        command = Server.command(".", "tank", options=("-U", socket, "-P", pid_file))
        # Not a pipe: the server would keep it open.
        subprocess.run(command, check=True, timeout=TIME_LIMIT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, env=self.nbdkit_environment(), cwd=self.folder)
        handle = nbd.NBD()
        handle.connect_unix(socket)
        handle.pwrite(b"in the background", 0)  # it is served, so the file has been written
        with open(pid_file, encoding="ascii") as file:
            process = int(file.read())
        handle.shutdown()
        os.kill(process, signal.SIGTERM)
        limit = time.monotonic() + TIME_LIMIT
        while os.path.exists(f"/proc/{process}"):
            self.assertLess(time.monotonic(), limit, "nbdkit doesn't end")
            time.sleep(0.01)
        self.assertEqual(self.poolctl("volume", "read", "tank/data", "--length", "17"), "in the background")


class End(NbdCase):
    def is_exported(self):
        (pool,) = self.document("list")["pools"]
        return pool["clean"] and not pool["in_use"]

    def test_without_clients(self):
        self.create_volume()
        server = self.serve("volume=data")
        handle = server.connect()
        handle.pwrite(b"not flushed", 5000)
        handle.shutdown()
        self.stop(server)
        self.assertTrue(self.is_exported())
        self.assertEqual(self.poolctl("volume", "read", "tank/data", "--offset", "5000", "--length", "11"), "not flushed")

    def test_clients_that_stay(self):
        """nbdkit waits for them; the pool doesn't."""
        self.create_volume()
        server = self.serve("volume=data")
        first, second = server.connect(), server.connect()
        first.pwrite(b"not flushed", 5000)
        server.process.send_signal(signal.SIGTERM)
        limit = time.monotonic() + TIME_LIMIT
        while not self.is_exported():
            self.assertLess(time.monotonic(), limit, "the pool is not exported")
            time.sleep(0.05)
        self.assertIsNone(server.process.poll())
        self.assertEqual(self.poolctl("volume", "read", "tank/data", "--offset", "5000", "--length", "11"), "not flushed")
        # The server may have ended already.
        self.fails(("ESHUTDOWN", "ENOTCONN"), first.pread, 1, 0)
        self.fails(("ESHUTDOWN", "ENOTCONN"), second.pwrite, b"x", 0)
        self.stop(server)


if __name__ == "__main__":
    unittest.main()
