#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Log disks as administrators meet them: added, removed, away, lost with what only they had, and given to something else."""
import os
import unittest

from test_owner import Owner


class LogDisks(Owner):
    def create_with_logs(self):
        disks, logs = self.create(), self.images(2, "l")
        self.assertIn("Would add 2 log disks", self.poolctl("device", "add", "-n", "tank", "log", *logs))
        document = self.document("device", "add", "tank", "log", *logs)
        self.assertEqual((document["role"], document["disks"]), ("log", logs))
        roles = [(disk["role"], disk["disk"]) for disk in self.status()["disks"]]
        self.assertEqual(roles, [("data", disk) for disk in disks] + [("log", disk) for disk in logs])
        self.poolctl("volume", "create", "tank/data", "8M")
        return disks, logs

    def test_counts_as_no_data(self):
        """More log disks are missing than data disks may be: the pool is there all the same."""
        self.create(profile="raid1", disks=self.images(2, "d"))
        logs = self.images(2, "l")
        self.poolctl("device", "add", "tank", "log", *logs)
        for log in logs:
            os.rename(log, self.away(log))
        (listed,) = self.document("list", "tank")["pools"]
        self.assertEqual((listed["state"], listed["importable"], listed["problem"]), ("degraded", True, ""))
        self.import_pool()
        self.assertIn("2 of 2 log disks are not in use", self.status()["problem"])
        self.export_pool()

    def away(self, path):
        """Where nobody looks for disks."""
        return os.path.join(self.run_path, os.path.basename(path))

    def flush_and_kill(self, content):
        """What is written at last is in the log and in no commit."""
        pid = self.import_pool()
        for byte in content:
            self.poolctl("volume", "write", "tank/data", input=bytes([byte]) * 65536)
        (sample,) = self.document("iostat", "tank")["samples"]
        self.assertEqual(sample["log"]["blocks_placed"], 0)
        written = {os.path.basename(disk["disk"]): disk["bytes_written"] for disk in sample["disks"]}
        self.kill_owner(pid)
        return sample["log"]["groups"], written

    def test_replayed(self):
        self.create_with_logs()
        for lost in (None, "l1"):
            for _ in range(5):      # unless a commit came in between: it comes every five seconds
                groups, written = self.flush_and_kill(b"ab")
                if groups:
                    break
            self.assertGreater(groups, 0)
            self.assertGreater(min(written["l0"], written["l1"]), 65536)
            if lost:
                os.rename(self.path(lost), self.away(lost))
            self.import_pool()
            self.reads_back(b"b" * 65536)
            self.assertEqual(self.status()["state"], "degraded" if lost else "healthy")
            self.export_pool()
        os.rename(self.away(lost), self.path(lost))
        self.assertEqual(self.status()["state"], "healthy")
        self.reads_back(b"b" * 65536)

    def test_lost(self):
        _, logs = self.create_with_logs()
        self.poolctl("volume", "write", "tank/data", input=b"0" * 65536)
        for _ in range(5):
            groups, _ = self.flush_and_kill(b"1234")
            if groups > 1:
                break
        self.assertGreater(groups, 1)
        for log in logs:
            os.rename(log, self.away(log))
        self.refused("import", "tank", says=("log disk #6 and 1 more", "in txgs", "--missing-log"))
        (listed,) = self.document("list", "tank")["pools"]
        self.assertEqual((listed["state"], listed["importable"], listed["disks_found"]), ("degraded", True, 6))
        self.assertIn("2 of 2 log disks are missing", listed["problem"])
        status = self.status()
        self.assertIn("--missing-log", status["problem"])
        self.assertEqual(status["state"], "degraded")
        self.assertIn("poolctl import tank --missing-log", status["action"])
        self.poolctl("status", "tank", "--check", code=1)
        self.refused("import", "--read-only", "tank", says="--missing-log")
        self.refused("import", "--missing-log", says="need the name of a pool", code=2)
        self.refused("import", "tank", "--missing-log", says="--yes", code=2)
        pid = self.import_pool("--missing-log", "--yes")
        status = self.status()
        self.assertEqual(status["state"], "degraded")
        self.assertRegex(status["problem"], "what was flushed in txgs [0-9]+ and [0-9]+ is lost with log disks")
        self.assertIn("poolctl clear tank", status["action"])
        # Whoever imports it next is told, too, until it is cleared.
        txgs = status["log_lost_first_txg"], status["log_lost_last_txg"]
        self.assertEqual((status["log_losses"], txgs[1] - txgs[0]), (1, 1))
        self.kill_owner(pid)
        self.import_pool()
        status = self.status()
        self.assertEqual((status["log_losses"], status["log_lost_first_txg"], status["log_lost_last_txg"]), (1, *txgs))
        self.assertRegex(status["problem"], "what was flushed in txgs [0-9]+ and [0-9]+ is lost with log disks")
        back = self.poolctl("volume", "read", "tank/data", "--length", "65536", text=False)
        self.assertIn(back, [byte * 65536 for byte in (b"0", b"1", b"2", b"3")])
        self.poolctl("clear", "tank")
        self.assertIn("2 of 2 log disks are not in use", self.status()["problem"])
        self.poolctl("volume", "write", "tank/data", input=b"n" * 65536)
        self.export_pool()
        self.assertIn("log.lost", [event["kind"] for event in self.document("events", "tank")["events"]])
        # The log that was given up is back, and nothing of it counts.
        for log in logs:
            os.rename(self.away(log), log)
        self.reads_back(b"n" * 65536)
        self.assertEqual(self.status()["state"], "healthy")
        for log in logs:
            self.poolctl("device", "remove", "tank", log)
            os.remove(log)
        self.poolctl("status", "tank", "--check")
        self.poolctl("debug", "verify", "tank")
        self.reads_back(b"n" * 65536)

    def test_bad_disks(self):
        disks = self.create()
        log, other = self.image("l0"), self.images(6, "o")
        self.create("other", disks=other)
        self.refused("device", "add", "tank", "cache", log, says="'cache' is no role", code=2)
        self.refused("device", "add", "tank", "log", log, log, says="named twice")
        self.refused("device", "add", "tank", "log", log, disks[2], says="disk #2 of this pool already")
        self.refused("device", "add", "tank", "log", log, other[0], says="other")
        self.refused("device", "add", "tank", "log", self.image("small", 16), says="too small")
        self.refused("device", "add", "tank", "log", self.image("foreign", fill=b"\0" * 1080 + b"\x53\xef"), "absent", says="absent",
                     changes=True)
        self.assertEqual([disk["role"] for disk in self.status()["disks"]], ["data"] * 6)
        # Nothing is made for what is refused before the pool is written to.
        fresh = os.path.join(os.path.dirname(log), "fresh")
        self.refused("device", "add", "tank", "log", fresh, disks[2], "--create-size", "64M", says="disk #2 of this pool already")
        self.assertFalse(os.path.exists(fresh))
        self.refused("device", "remove", "tank", disks[0], says="holds data")
        self.refused("device", "remove", "tank", "none", says="no disk 'none'")
        self.import_pool(pool="other")
        self.refused("device", "add", "tank", "log", other[0], "--force", says="in use")
        self.export_pool(pool="other")
        self.import_pool("--read-only")
        self.refused("device", "add", "tank", "log", log, says="read-only")
        self.export_pool()
        self.poolctl("device", "add", "tank", "log", log)
        self.refused("replace", "tank", log, self.image("l1"), says="is a log disk")
        self.assertIn("the log is elsewhere until", self.poolctl("offline", "tank", log))
        self.assertIn("1 of 1 log disks is not in use", self.status()["problem"])
        self.assertEqual(self.poolctl("online", "tank", log), f"Brought log disk {log} back\n")
        self.poolctl("status", "tank", "--check")
        self.poolctl("device", "remove", "tank", "l0")
        self.refused("device", "remove", "tank", "l0", says="no disk 'l0'")
        # It is free for something else, and nobody has to say that it may be overwritten.
        self.poolctl("create", "third", "single", log)


if __name__ == "__main__":
    unittest.main(verbosity=2)
