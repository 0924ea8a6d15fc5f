#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""poolctl on a pool that nbdkit serves."""
import os
import unittest

import nbd

from nbd_case import MIB, NbdCase


class Control(NbdCase):
    def setUp(self):
        super().setUp()
        self.create_volume()

    def users(self):
        return [(user["dataset"], user["user"]) for user in self.status()["users"]]

    def test_who_uses_it(self):
        server = self.serve()
        server.connect().flush()
        self.assertEqual(self.users(), [("data", f"nbdkit pid {server.process.pid} client pid {os.getpid()}")])
        self.assertIn(f" in use: data by nbdkit pid {server.process.pid} client pid {os.getpid()}\n", self.poolctl("status", "tank"))
        for _ in range(5):
            server.connect().flush()
        self.assertIn("\n         and 3 more\n", self.poolctl("status", "tank"))
        self.assertEqual(self.poolctl("status", "-v", "tank").count("data by nbdkit"), 6)
        server.disconnect()
        kept = self.serve_other()
        kept.connect()
        self.assertEqual(len(self.users()), 2)

    def serve_other(self):
        """The same pool by another nbdkit, which keeps its one volume open."""
        self.poolctl("export", "tank")
        self.wait_until_in_use(False)
        server = self.serve("volume=data")
        server.connect().flush()
        server.disconnect()
        return server

    def test_it_goes_on_while_it_is_served(self):
        server = self.serve()
        handle = server.connect()
        handle.pwrite(b"x" * MIB, 0)
        self.poolctl("volume", "create", "tank/late", "5M")
        self.assertEqual(server.connect("late").get_size(), 5 * MIB)
        self.assertEqual(self.poolctl("volume", "read", "tank/data", "--length", "3"), "xxx")
        self.assertEqual(self.document("scrub", "tank", "--wait")["jobs"][-1]["errors_found"], 0)
        self.verify()
        self.poolctl("volume", "write", "tank/data", input=b"by poolctl")
        self.assertEqual(handle.pread(10, 0), b"by poolctl")

    def test_sizes(self):
        """Who connects after it has grown sees the new size; it can't shrink or go while somebody is connected."""
        server = self.serve()
        before = server.connect()
        self.poolctl("volume", "resize", "tank/data", "40M")
        after = server.connect()
        self.assertEqual((before.get_size(), after.get_size()), (32 * MIB, 40 * MIB))
        after.pwrite(b"new", 40 * MIB - 3)
        self.fails("EINVAL", before.pread, 1, 36 * MIB)
        for arguments in (("volume", "resize", "tank/data", "8M", "--yes"), ("volume", "destroy", "tank/data", "--yes")):
            self.refused(*arguments, says=("in use by nbdkit", f"client pid {os.getpid()}"), changes=True)
        self.assertEqual(after.pread(3, 40 * MIB - 3), b"new")
        server.disconnect()
        self.wait_for_no_users()
        self.poolctl("volume", "resize", "tank/data", "8M", "--yes")
        self.assertEqual(server.connect().get_size(), 8 * MIB)
        server.disconnect()
        self.wait_for_no_users()
        self.poolctl("volume", "destroy", "tank/data", "--yes")
        with self.assertRaises(nbd.Error):
            server.connect()

    def wait_for_no_users(self):
        """A connection is closed when the server comes to it."""
        for _attempt in range(1000):
            if not self.users():
                return
        self.fail(f"still used: {self.users()}")

    def test_export(self):
        """Ends nbdkit; while clients are connected only by force."""
        server = self.serve()
        handle = server.connect()
        handle.pwrite(b"not flushed", 0)
        self.refused("export", "tank", says=("in use", "nbdkit", "--force"), changes=True)
        self.assertEqual(handle.pread(3, 0), b"not")
        self.poolctl("export", "tank", "--force")
        self.fails("ESHUTDOWN", handle.pread, 1, 0)
        server.disconnect()
        self.assertEqual(server.stop(), 0)
        self.assertTrue(self.document("list")["pools"][0]["clean"])
        self.assertEqual(self.poolctl("volume", "read", "tank/data", "--length", "11"), "not flushed")

    def test_without_a_socket(self):
        """Where no socket can be made the pool is served all the same, and the log says what is missing."""
        os.rmdir(self.run_path)
        with open(self.run_path, "wb"):
            pass
        server = self.serve()
        self.assertEqual(server.connect().pread(1, 0), b"\0")
        self.assertIn("poolctl can't reach pool tank", server.log())
        self.stop(server)
        os.remove(self.run_path)
        os.mkdir(self.run_path)


if __name__ == "__main__":
    unittest.main()
