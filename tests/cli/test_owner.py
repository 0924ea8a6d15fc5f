#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""A pool that a process keeps imported: verbs work the same, jobs go on without whoever started them, and nobody can spoil it."""
import json
import os
import signal
import socket
import subprocess
import threading
import time
import unittest

from poolctl_case import MIB, TIME_LIMIT, PoolctlCase

# Differs between two looks at the same pool, or between an import that writes and one that doesn't.
VOLATILE = {"started", "ended", "time", "seconds", "rate", "to_go", "txg", "read_latency", "write_latency", "allocation_memory", "reads",
            "writes", "bytes_read", "bytes_written", "flushes", "imported", "read_only", "sequence", "allocated_bytes", "since", "created",
            "segments", "segments_free", "used_bytes", "free_bytes", "done_bytes", "total_bytes", "overdue", "pid", "blocks_checked", "cells_checked", "rows_checked",
            "available_bytes", "live_bytes", "dead_bytes", "formable_bytes", "disk_id", "placed_bytes", "data_bytes", "minute_placed_bytes",
            "minute_data_bytes", "moved_bytes", "minute_moved_bytes", "amplification", "minute_amplification"}


def stable(value):
    """A document without what may differ; of texts, what isn't a number."""
    if isinstance(value, dict):
        return {key: stable(element) for key, element in value.items() if key not in VOLATILE and key not in ("text", "id", "number", "value")}
    if isinstance(value, list):
        return [stable(element) for element in value]
    return value


def kinds(value):
    """The shape of a document: members and the types of their values."""
    if isinstance(value, dict):
        return {key: kinds(element) for key, element in value.items() if key != "imported"}
    if isinstance(value, list):
        return [kinds(value[0])] if value else []
    return "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__


class Owner(PoolctlCase):
    def scrub_job(self):
        return next((job for job in self.status()["jobs"] if job["kind"] == "scrub"), None)


class Life(Owner):
    def test_import_and_export(self):
        disks = self.create()
        pid = self.import_pool()
        self.assertIn("imported already", self.refused("import", "tank", changes=True))
        status = self.status()
        self.assertTrue(status["imported"])
        self.assertEqual(status["state"], "healthy")
        (entry,) = self.document("list")["pools"]
        self.assertEqual((entry["state"], entry["in_use"], entry["pid"]), ("healthy", True, pid))
        shown = self.poolctl("list", "-H", "-p").split("\t")
        self.assertEqual(shown[4:7], [str(entry[name]) for name in ("usable_bytes", "used_bytes", "free_bytes")])
        self.refused("destroy", "tank", "--yes", says="poolctl export tank", changes=True)
        self.refused("undestroy", "tank", says="imported", changes=True)
        self.refused("create", "other", "raid6", *disks, "--force", changes=True)
        self.assertEqual(stat_mode(self.sockets()[0]), 0o600)
        self.assertTrue(self.export_pool()["clean"])
        self.assertEqual(self.sockets(), [])
        self.assertTrue(self.document("list")["pools"][0]["clean"])
        self.assertIn("nothing to export", self.poolctl("export", "tank"))

    def test_import_fails(self):
        """With the error of the import, and nothing stays."""
        disks = self.create()
        for disk in disks[:3]:
            os.remove(disk)
        self.refused("import", "tank", says="3 of its 6 disks")
        self.refused("import", "nopool", says="nopool")
        self.assertEqual(self.sockets(), [])

    def test_dry_run_and_read_only(self):
        self.create()
        self.volume(data=b"hello")
        before = self.checksums()
        self.assertIn("can be imported", self.poolctl("import", "tank", "-n"))
        self.assertEqual(self.sockets(), [])
        self.import_pool("--read-only")
        self.assertEqual(self.poolctl("volume", "read", "tank/data", "--length", "5"), "hello")
        self.refused("volume", "create", "tank/v", "1M", says="imported read-only")
        self.poolctl("export", "tank")
        self.assertEqual(self.checksums(), before)

    def serve(self, *options, **environment):
        process = subprocess.Popen(self.command("serve", "tank", *options), env={**self.environment(), **environment},
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.kill)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        return process

    def test_serve(self):
        self.create()
        data = self.volume()
        for end in (signal.SIGTERM, signal.SIGINT, None):
            with self.subTest(end=end):
                process = self.serve()
                self.assertIn(b"tank is imported", process.stdout.readline())
                self.reads_back(data)
                if end:
                    process.send_signal(end)
                else:
                    self.poolctl("export", "tank")
                self.assertEqual(process.wait(TIME_LIMIT), 0)
                self.assertIn(b"Exported pool tank", process.stdout.read())
                self.assertTrue(self.document("list")["pools"][0]["clean"])

    def test_service_manager_is_told(self):
        self.create()
        path = os.path.join(self.run_path, "notify")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(path)
            manager.settimeout(TIME_LIMIT)
            process = self.serve(NOTIFY_SOCKET=path)
            self.assertIn(b"READY=1", manager.recv(4096))
            self.assertTrue(self.status()["imported"])
            process.terminate()
            self.assertEqual(manager.recv(4096), b"STOPPING=1")
            self.assertEqual(process.wait(TIME_LIMIT), 0)

    def test_export_in_use(self):
        """Refused with the users named; --force says what it breaks."""
        self.create()
        self.volume(data=b"hello")
        self.import_pool()
        with self.popen("volume", "write", "tank/data", stdin=subprocess.PIPE, stderr=subprocess.PIPE) as user:
            user.stdin.write(bytes(MIB))
            user.stdin.flush()
            self.wait_for(lambda: self.status()["users"], "a user of the volume")
            error = self.refused("export", "tank", says=["data", f"pid {user.pid}", "--force", "fail"], changes=True)
            self.assertIn("control client", error)
            self.assertIn(f"pid {user.pid}", self.poolctl("export", "tank", "--force"))
            self.assertIn(b"interrupted", user.stderr.read())
            try:
                user.stdin.close()
            except BrokenPipeError:
                pass
        self.assertEqual(user.returncode, 1)
        self.assertTrue(self.document("list")["pools"][0]["clean"])

    def test_owner_is_killed(self):
        """What it leaves behind is in nobody's way."""
        self.create()
        data = self.volume()
        pid = self.import_pool()
        os.kill(pid, signal.SIGKILL)
        self.wait_until_in_use(False)
        self.assertEqual(len(self.sockets()), 1)
        self.reads_back(data)
        self.import_pool()
        self.reads_back(data)
        self.poolctl("export", "tank")
        self.assertEqual(self.sockets(), [])

    def jobs_after_a_kill(self, *options):
        os.kill(self.import_pool(), signal.SIGKILL)
        self.wait_until_in_use(False)
        self.import_pool(*options)
        self.poolctl("wait", "tank", "verify")
        jobs = self.document("status", "tank")["pools"][0]["jobs"]
        self.poolctl("export", "tank")
        return [(job["state"], job["errors_found"]) for job in jobs if job["kind"] == "verify"]

    def test_last_commits_are_verified(self):
        """After an unclean stop only, and not if that isn't wanted."""
        self.create()
        self.volume()
        self.import_pool()
        self.assertEqual(self.document("status", "tank")["pools"][0]["jobs"], [])
        self.poolctl("export", "tank")
        self.assertEqual(self.jobs_after_a_kill("--no-verify"), [])
        self.assertEqual(self.jobs_after_a_kill(), [("finished", 0)])
        self.refused("import", "--no-verify", says="need the name of a pool", code=2)

    def test_owner_that_hangs(self):
        self.create()
        pid = self.import_pool()
        os.kill(pid, signal.SIGSTOP)
        try:
            started = time.monotonic()
            self.refused("volume", "create", "tank/v", "1M", says="tank", changes=True)
            self.poolctl("status", "tank", "--check", code=4)
            self.assertLess(time.monotonic() - started, TIME_LIMIT)
        finally:
            os.kill(pid, signal.SIGCONT)
        self.poolctl("export", "tank")


    def test_owner_that_ends(self):
        """It says who it is, and is gone when it is asked more: the pool is free then."""
        self.create(profile="raid1", disks=self.images(2))
        hello = {"jsonrpc": "2.0", "id": 1, "result": {"pool": "tank", "id": "0" * 32, "state": "healthy", "read_only": False, "pid": 1}}
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.join(self.run_path, "ending.sock"))
            server.listen()

            def answer_once():
                client, _ = server.accept()
                client.recv(1000)
                client.sendall(json.dumps(hello).encode() + b"\n")
                client.recv(1000)
                client.close()
                server.accept()[0].close()

            thread = threading.Thread(target=answer_once)
            thread.start()
            self.assertEqual(self.status()["state"], "healthy")
            thread.join(TIME_LIMIT)
        self.assertFalse(thread.is_alive())

    def test_disks_that_lose_their_name(self):
        """A file that is deleted, replaced or cut short under its owner fails, also if nobody asks for anything that is on it."""
        disks = self.create(profile="raid7", disks=self.images(6))
        data = self.volume()
        self.import_pool()
        before = self.checksums()
        time.sleep(6)
        self.assertEqual(self.checksums(), before, "an idle pool was written to")
        os.remove(disks[1])
        os.replace(self.image("other"), disks[3])
        os.truncate(disks[4], 32 * MIB)
        self.wait_for(lambda: "3 of 6 disks have failed" in (self.status()["problem"] or ""), "three disks have failed")
        pool = self.status()
        self.assertEqual([disk["state"] for disk in pool["disks"]], ["online", "faulty", "online", "faulty", "faulty", "online"])
        self.assertTrue(all(disk in pool["problem"] for disk in (disks[1], disks[3], disks[4])), pool["problem"])
        self.assertIn(f"poolctl replace tank {disks[1]} NEW", pool["action"])
        texts = {event["object"]: event["text"] for event in self.document("events", "tank")["events"] if event["kind"] == "disk.faulty"}
        self.assertEqual({disk: texts[disk].split(",")[0] for disk in texts},
                         {disks[1]: "its file was deleted", disks[3]: "its file was deleted", disks[4]: "it has become too small"})
        self.reads_back(data)
        self.refused("replace", "tank", disks[0], disks[0], says="replace itself", changes=True)
        os.truncate(disks[4], 64 * MIB)
        self.refused("replace", "tank", disks[4], disks[4], "--force", says="in use", changes=True)
        self.image("d1")
        for old, new in ((disks[1], disks[1]), (disks[3], disks[3]), (disks[4], self.image("new"))):
            self.poolctl("replace", "tank", old, new, "--wait")
        self.assertEqual(self.status()["state"], "healthy")
        self.reads_back(data)
        self.export_pool()
        self.assertEqual(self.status()["state"], "healthy")
        self.reads_back(data)

    def test_only_disk_loses_its_name(self):
        """As long as it is open all of it is there: the pool goes on, says what will be, and another disk can take its place."""
        disks = self.create(profile="single", disks=self.images(1))
        data = self.volume(size="8M", data=os.urandom(5 * MIB))
        self.import_pool()
        os.remove(disks[0])
        self.wait_for(lambda: "gone when it is exported" in (self.status()["problem"] or ""), "it is told")
        pool = self.status()
        self.assertEqual(pool["state"], "degraded")
        self.assertIn("its file was deleted", pool["problem"])
        self.assertIn(f"poolctl replace tank {disks[0]} NEW", pool["action"])
        self.assertEqual([event["object"] for event in self.document("events", "tank")["events"] if event["kind"] == "disk.leaving"], disks)
        self.poolctl("volume", "create", "tank/more", "1M")
        self.reads_back(data)
        self.image("d0")
        self.poolctl("replace", "tank", disks[0], disks[0], "--wait")
        self.assertEqual(self.status()["state"], "healthy")
        self.export_pool()
        self.reads_back(data)

    def test_more_names_are_lost_than_parity_covers(self):
        """The first counts as failed; the others stay what the rest is read from, until a new one has been made from them."""
        disks = self.create(profile="raid5", disks=self.images(4))
        data = self.volume(size="8M", data=os.urandom(5 * MIB))
        self.import_pool()
        for disk in disks[1:]:
            os.remove(disk)
        self.wait_for(lambda: "2 disks that the pool can't do without" in (self.status()["problem"] or ""), "it is told")
        self.assertEqual(sorted(disk["state"] for disk in self.status()["disks"]), ["faulty", "online", "online", "online"])
        self.poolctl("volume", "write", "tank/data", input=data)
        self.reads_back(data)
        for i, disk in enumerate(disks[1:], 1):
            self.poolctl("replace", "tank", disk, self.image(f"new{i}"), "--wait")
        self.assertEqual(self.status()["state"], "healthy")
        self.export_pool()
        self.reads_back(data)
        self.assertIn("0 violations, 0 damaged", self.poolctl("debug", "verify", "tank"))

    def test_owner_is_named(self):
        self.create(profile="raid1", disks=self.images(2))
        pid = self.import_pool()
        self.refused("serve", "tank", says=f"in use by process {pid} (poolctl)")
        self.poolctl("export", "tank")


class OtherHosts(Owner):
    @unittest.skipUnless(os.geteuid() == 0 and os.path.exists("/etc/machine-id"), "needs root, to be another host")
    def test_pool_of_another_host(self):
        """Not exported there, it is only taken with --force, and then as after a crash."""
        self.create()
        data = self.volume()
        identity = os.path.join(self.run_path, "machine-id")
        with open(identity, "w", encoding="ascii") as file:
            file.write("0123456789abcdef0123456789abcdef\n")
        other = ["unshare", "--mount", "sh", "-c", f'mount --bind {identity} /etc/machine-id && exec "$@"', "sh"]
        if subprocess.run([*other, "true"], capture_output=True, check=False).returncode:
            self.skipTest("no namespaces here")
        with subprocess.Popen([*other, *self.command("serve", "tank")], env=self.environment(), stdout=subprocess.PIPE) as owner:
            self.assertIn(b"imported", owner.stdout.readline())
            owner.kill()
        self.wait_until_in_use(False)
        self.assertTrue(self.document("list")["pools"][0]["other_host"])
        for arguments in (("import", "tank"), ("import", "-n", "tank"), ("scrub", "tank"), ("volume", "write", "tank/data", "/dev/null"),
                          ("set", "tank", "nonsense=1"), ("set", "tank", "comment=x", "-n"), ("volume", "write", "tank/none", "/dev/null"), ("replace", "tank", "none", "d0")):
            self.refused(*arguments, says=["another host", "force"])
        self.assertIn("can be imported", self.poolctl("import", "-n", "tank", "--force"))
        self.import_pool("--force")
        self.reads_back(data)
        self.export_pool()
        self.assertFalse(self.document("list")["pools"][0]["other_host"])


# Why a verb is not among those that are run on an idle pool and on an imported one, which must say the same.
NOT_COMPARED = {
    "create": "makes a pool: there is none before", "destroy": "refused on an imported pool", "undestroy": "refused on an imported pool",
    "import": "makes an idle pool an imported one", "serve": "as import", "export": "makes an imported pool an idle one",
    "list": "says whether the pool is imported",
    "mount": "tests/fuse/test_mounts.py", "unmount": "tests/fuse/test_mounts.py",
    "share add": "of this machine, not of the pool: tests/fuse/test_shares.py", "share remove": "as share add", "share refresh": "as share add",
    "share list": "as share add", "help": "of no pool",
}


class Verbs(Owner):
    def documents(self):
        """What each verb says, in an order in which they can be run; the pool ends as it began."""
        spare = self.path("spare")
        runs = [
            ("status", "tank"), ("history", "tank"), ("events", "tank"), ("iostat", "tank"), ("get", "tank"), ("get", "tank/data", "volsize"),
            ("set", "tank", "comment=x"), ("set", "-n", "tank", "comment=y"), ("volume", "list", "tank"),
            ("set", "tank/data", "sync=always"), ("get", "tank/data", "sync"), ("inherit", "-n", "tank/data", "sync"), ("inherit", "tank/data", "sync"),
            ("dataset", "create", "-n", "tank/home"), ("dataset", "create", "tank/home", "--record-size", "16K"), ("dataset", "list", "tank"),
            ("set", "tank/home", "userquota@1000=1G"), ("userspace", "tank/home"), ("dataset", "rename", "-n", "tank/home", "tank/house"),
            ("dataset", "rename", "tank/home", "tank/house"), ("dataset", "destroy", "-n", "tank/house"), ("dataset", "destroy", "tank/house", "--yes"),
            ("device", "add", "-n", "tank", "log", self.path("l0")), ("device", "add", "tank", "log", self.path("l0")),
            ("device", "remove", "-n", "tank", "l0"), ("device", "remove", "tank", "l0"), ("scrub", "tank", "--deep", "--wait"),
            ("trim", "tank", "--wait"), ("wait", "tank", "trim"),
            ("volume", "create", "tank/v", "1M"), ("volume", "resize", "tank/v", "2M"), ("volume", "resize", "-n", "tank/v", "1M"),
            ("volume", "write", "tank/v", self.path("input")), ("volume", "read", "tank/v", self.path("output"), "--force"),
            ("volume", "destroy", "-n", "tank/v"), ("volume", "destroy", "tank/v", "--yes"),
            ("scrub", "tank", "--wait"), ("wait", "tank", "scrub"), ("offline", "-n", "tank", "d1"), ("offline", "tank", "d1"),
            ("online", "-n", "tank", "d1"), ("online", "tank", "d1", "--wait"), ("replace", "-n", "tank", "d1", spare),
            ("clear", "-n", "tank"), ("clear", "tank", "d1"), ("debug", "verify", "tank"),
        ]
        failures = [
            ("volume", "create", "tank/data", "1M"), ("volume", "create", "-n", "tank/data", "1M"), ("volume", "destroy", "tank/none", "--yes"),
            ("volume", "read", "tank/none", self.path("none")), ("get", "tank", "none"), ("set", "tank", "none=1"),
            ("set", "tank", "scrub-rate=fast"), ("set", "-n", "tank", "scrub-rate=fast"), ("offline", "tank", "none"), ("online", "tank", "d1"),
            ("online", "-n", "tank", "d1"), ("replace", "tank", "none", spare), ("replace", "tank", "d1", self.path("absent")),
            ("scrub", "tank", "--pause"), ("scrub", "tank", "--stop"), ("volume", "write", "tank/data", "/nowhere/at/all"),
            ("trim", "tank", "none"), ("trim", "tank", "--stop"), ("inherit", "tank", "none"), ("inherit", "tank/none", "sync"), ("userspace", "tank/data"), ("dataset", "create", "tank/data"),
            ("dataset", "destroy", "tank/none", "--yes"), ("dataset", "rename", "tank/none", "tank/home"), ("device", "add", "tank", "log", self.path("absent")),
            ("device", "remove", "tank", "d1"), ("set", "tank/data", "sync=often"),
        ]
        self.ran = {" ".join(run[:words]) for run in runs + failures for words in (1, 2)}
        return ([(run, self.document(*run)) for run in runs] + [(run, self.document(*run, code=1)) for run in failures])

    def test_idle_and_owned_are_the_same(self):
        self.create()
        self.volume(data=b"hello")
        self.image("spare")
        self.image("l0")
        self.image("input", 1)
        self.image("output", 1)
        # What the first round leaves behind is there before it, too.
        self.poolctl("set", "tank", "comment=x")
        self.poolctl("scrub", "tank", "--wait")
        self.poolctl("trim", "tank", "--wait")
        self.poolctl("offline", "tank", "d1")
        self.poolctl("online", "tank", "d1", "--wait")
        idle = self.documents()
        self.import_pool()
        owned = self.documents()
        self.poolctl("export", "tank")
        for (run, first), (_, second) in zip(idle, owned):
            with self.subTest(run=run):
                self.assertEqual(kinds(first), kinds(second))
                if run[0] not in ("history", "events"):
                    self.assertEqual(stable(first), stable(second))
                if "error" in first:
                    self.assertEqual(first["error"], second["error"])
        for verb in (line.split("\t")[0] for line in self.poolctl("help", "completion").splitlines()):
            with self.subTest(verb=verb):
                self.assertNotEqual(verb in self.ran, verb in NOT_COMPARED, "each verb is run here, or it says why not")

    def test_dry_runs_change_nothing(self):
        """On an imported pool nothing tells a dry run from a look: neither history nor figures."""
        self.create()
        self.volume(data=b"hello")
        spare = self.image("spare")
        self.import_pool()
        before = (self.poolctl("history", "tank"), stable(self.status()), self.poolctl("get", "tank", "comment"), self.poolctl("volume", "list", "tank"))
        for run in (("set", "tank", "comment=x"), ("volume", "create", "tank/v", "1M"), ("volume", "resize", "tank/data", "1M"),
                    ("volume", "destroy", "tank/data"), ("offline", "tank", "d1"), ("replace", "tank", "d1", spare), ("clear", "tank")):
            self.poolctl(*run, "-n")
        self.refused("online", "-n", "tank", "d1", says="online already", changes=True)
        self.assertEqual(before, (self.poolctl("history", "tank"), stable(self.status()), self.poolctl("get", "tank", "comment"),
                                  self.poolctl("volume", "list", "tank")))
        self.poolctl("export", "tank")

    def test_dry_runs_are_refused_alike(self):
        """What would be refused is refused with -n too, and with the same words."""
        self.create()
        self.volume(data=b"hello")
        self.poolctl("dataset", "create", "tank/home")
        self.poolctl("volume", "create", "tank/home/disk", "1M")
        self.import_pool()
        reader, writer = os.pipe()
        with self.popen("volume", "write", "tank/data", stdin=reader, stdout=subprocess.DEVNULL) as user:
            os.close(reader)
            self.wait_for(lambda: self.status()["users"], "a user of the volume")
            for says, run in (("exists already", ("volume", "create", "tank/data", "1M")), ("#", ("volume", "create", "tank/a#b", "1M")),
                              ("nothing can lie in it", ("volume", "create", "tank/data/a", "1M")), ("no file system", ("volume", "create", "tank/x/a", "1M")),
                              ("block size of 5120", ("volume", "create", "tank/v", "1M", "--block-size", "5K")),
                              ("'best'", ("volume", "create", "tank/v", "1M", "--compression", "best")),
                              ("in use by", ("volume", "resize", "tank/data", "1M", "--yes")), ("in use by", ("volume", "destroy", "tank/data", "--yes")),
                              ("no volume", ("volume", "destroy", "tank/none", "--yes")), ("no volume", ("volume", "resize", "tank/home", "1M")),
                              ("record size of 5120", ("dataset", "create", "tank/d", "--record-size", "5K")), ("*", ("dataset", "create", "tank/d*")),
                              ("'best'", ("dataset", "create", "tank/d", "--compression", "best")), ("exists already", ("dataset", "create", "tank/data")),
                              ("has 1 dataset in it", ("dataset", "destroy", "tank/home", "--yes")), ("no file system", ("dataset", "destroy", "tank/data", "--yes")),
                              ("in use by", ("dataset", "rename", "tank/data", "tank/b")), ("into itself", ("dataset", "rename", "tank/home", "tank/home/a"))):
                with self.subTest(run=run):
                    code = self.run_poolctl(*run).returncode
                    self.assertEqual(self.refused(*run, says=says, code=code, changes=True),
                                     self.refused(*run, "-n", says=says, code=code, changes=True))
            os.close(writer)
        self.assertEqual(user.returncode, 0)
        self.poolctl("export", "tank")

    def test_sizes_are_told_as_they_are(self):
        """They are rounded up to whole blocks."""
        self.create()
        for dry_run in (("-n",), ()):
            self.assertEqual(self.document("volume", "create", "tank/v", "1000", *dry_run)["volume_bytes"], 16384)
        self.assertIn("of 16.0K", self.poolctl("volume", "create", "tank/w", "9000", "--block-size", "8K"))
        for dry_run in (("-n",), ()):
            self.assertIn("from 16.0K to 24.0K", self.poolctl("volume", "resize", "tank/w", "16385", *dry_run))

    def test_online_is_checked(self):
        """-n says what would be in the way, idle and imported."""
        disks = self.create()
        self.poolctl("offline", "tank", "d1")
        other = self.image("other")
        before = self.checksums()
        for imported in (False, True):
            if imported:
                self.import_pool()
            self.assertIn("Would bring", self.poolctl("online", "-n", "tank", disks[1]))
            self.refused("online", "-n", "tank", "d1", other, says="no label", changes=imported)
            self.refused("online", "-n", "tank", "d1", disks[2], says="d2", changes=imported)
            self.refused("online", "-n", "tank", "d1", "/nowhere", says="/nowhere", changes=imported)
            if not imported:
                self.assertEqual(self.checksums(), before)
        self.assertEqual(self.status()["state"], "degraded")
        self.poolctl("export", "tank")

    def test_disk_that_moved(self):
        """Brought online from a folder that nobody searches, it is found there from then on, idle and imported."""
        disks = self.create()
        data = self.volume()
        elsewhere = os.path.join(self.run_path, "elsewhere")
        os.mkdir(elsewhere)
        self.poolctl("offline", "tank", "d1")
        moved = os.path.join(elsewhere, "moved")
        os.rename(disks[1], moved)
        self.poolctl("online", "tank", "d1", moved)
        before = self.checksums()
        self.assertEqual(self.status()["state"], "healthy")
        self.poolctl("status", "tank", "--check")
        self.reads_back(data)
        self.assertEqual(self.checksums(), before)
        events = len(self.document("events", "tank")["events"])
        self.volume(name="tank/more")
        news = self.document("events", "tank")["events"][events:]
        self.assertEqual([event for event in news if event["kind"].startswith(("disk.", "job."))], [])
        self.import_pool()
        self.assertEqual(self.status()["state"], "healthy")
        self.poolctl("offline", "tank", moved)
        self.poolctl("online", "tank", moved, "--wait")
        self.assertEqual(self.status()["state"], "healthy")
        self.poolctl("export", "tank")
        os.rename(moved, moved + "2")
        self.assertEqual(self.status()["state"], "degraded")
        self.reads_back(data)

    def test_exact_figures(self):
        self.create()
        (used,) = self.document("get", "tank", "used")["properties"]
        self.assertEqual(self.poolctl("get", "tank", "used", "-H", "-p", "-o", "value"), f"{used['number']}\n")
        self.assertEqual(used["number"] % 4096, 0)
        self.assertGreater(used["number"], 0)
        (created,) = self.document("get", "tank", "created")["properties"]
        self.assertLess(abs(created["number"] - time.time()), 600)
        (comment,) = self.document("get", "tank", "comment")["properties"]
        self.assertIsNone(comment["number"])

    def test_streams_through_pipes(self):
        self.create()
        data = os.urandom(3 * MIB + 77)
        self.poolctl("volume", "create", "tank/data", "8M")
        self.import_pool()
        self.poolctl("volume", "write", "tank/data", input=data)
        self.reads_back(data)
        with open(self.path("file"), "wb") as file:
            file.write(b"head" + data)
        with open(self.path("file"), "rb") as file:
            file.seek(4)
            self.poolctl("volume", "write", "tank/data", "--offset", "4M", stdin=file)
        back = self.poolctl("volume", "read", "tank/data", "--offset", "4M", "--length", str(len(data)), text=False)
        self.assertTrue(back == data)
        with self.popen("volume", "read", "tank/data", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as reader:
            reader.stdout.read(4096)
            reader.stdout.close()
            self.assertIn(b"Broken pipe", reader.stderr.read())
        self.poolctl("export", "tank")

    def test_interrupted_write(self):
        self.create()
        self.poolctl("volume", "create", "tank/data", "32M")
        self.import_pool()
        with self.popen("volume", "write", "tank/data", stdin=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            process.stdin.write(bytes(5 * MIB))
            process.stdin.flush()
            self.wait_for(lambda: self.status()["users"], "a user of the volume")
            process.send_signal(signal.SIGINT)
            self.assertIn(b"was interrupted after", process.stderr.read())
            process.wait(TIME_LIMIT)
            try:
                process.stdin.close()
            except BrokenPipeError:
                pass
        self.assertEqual(process.returncode, 1)
        self.assertEqual(self.status()["users"], [])
        self.poolctl("export", "tank")

    def test_events_are_followed(self):
        self.create()
        self.import_pool()
        with self.popen("events", "-f", "tank", "--json", stdout=subprocess.PIPE) as process:
            first = json.loads(process.stdout.readline())
            self.assertGreater(len(first["events"]), 0)
            self.poolctl("offline", "tank", "d1")
            seen = []
            while "disk.offline" not in seen:
                seen += [event["kind"] for event in json.loads(process.stdout.readline())["events"]]
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(TIME_LIMIT), 0)
        with self.popen("events", "tank", "--follow", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            self.assertIn(b"TIME", process.stdout.readline())
            self.poolctl("export", "tank")
            process.wait(TIME_LIMIT)
            self.assertEqual(process.returncode, 1)
            self.assertIn(b"ended", process.stderr.read())

    def test_status_is_watched(self):
        self.create()
        self.import_pool()
        with self.popen("status", "tank", "--watch", "--json", stdout=subprocess.PIPE) as process:
            self.assertEqual(json.loads(process.stdout.readline())["pools"][0]["state"], "healthy")
            self.poolctl("offline", "tank", "d1")
            self.assertEqual(json.loads(process.stdout.readline())["pools"][0]["state"], "degraded")
            process.send_signal(signal.SIGTERM)
            self.assertEqual(process.wait(TIME_LIMIT), 0)
        self.refused("status", "tank", "--watch", "--check", says="exclude", code=4, changes=True)
        self.poolctl("export", "tank")

    def test_iostat_samples(self):
        self.create()
        self.volume()
        self.import_pool()
        self.poolctl("volume", "read", "tank/data", text=False)
        samples = self.document("iostat", "tank", "1", "2")["samples"]
        self.assertEqual(len(samples), 2)
        self.assertGreater(sum(disk["reads"] for disk in samples[0]["disks"]), 0)
        self.assertEqual(sum(disk["reads"] for disk in samples[1]["disks"]), 0)
        self.assertEqual(samples[1]["log"]["flushes"], 0)
        flushes = samples[0]["log"]["flushes"]
        self.poolctl("volume", "write", "tank/data", input=os.urandom(MIB))
        log = self.document("iostat", "tank")["samples"][0]["log"]
        self.assertEqual(log["flushes"], flushes + 1)
        self.assertEqual(sum(step["count"] for step in log["flush_times"]), flushes + 1)
        self.assertIn("flushes", self.poolctl("iostat", "tank"))
        self.poolctl("export", "tank")


class Jobs(Owner):
    def test_scrub_of_others(self):
        """Started by one, watched and paused by another, resumed after its owner was killed."""
        self.create(mib=256)
        self.volume(size="400M", data=os.urandom(64 * MIB))
        pid = self.import_pool()
        document = self.document("scrub", "tank", "--limit", "2M")
        self.assertEqual(document["jobs"][-1]["state"], "running")
        self.refused("scrub", "tank", says="running already", changes=True)
        with self.control() as watcher:
            request = watcher.send("wait", {"jobs": ["scrub"]}, progress=True)
            note = watcher.receive()
            self.assertEqual((note["method"], note["params"]["id"]), ("progress", request))
            self.assertGreater(note["params"]["total_bytes"], 0)
            self.poolctl("scrub", "tank", "--pause")
            self.assertEqual(watcher.answer(request)["jobs"][-1]["state"], "paused")
        self.poolctl("wait", "tank")
        self.assertEqual(self.scrub_job()["state"], "paused")
        self.poolctl("scrub", "tank")
        self.wait_for(lambda: self.scrub_job()["done_bytes"] > 0, "a scrub that has done something")
        self.kill_owner(pid)
        self.assertEqual(self.scrub_job()["state"], "paused")
        self.import_pool()
        job = self.scrub_job()
        self.assertEqual(job["state"], "running")
        self.poolctl("scrub", "tank", "--stop")
        self.assertEqual(self.scrub_job()["state"], "cancelled")
        self.poolctl("scrub", "tank", "--wait")
        self.assertEqual(self.scrub_job()["state"], "finished")
        self.poolctl("export", "tank")

    def test_paused_stays_paused(self):
        """Over a restart of its owner, too; going on with it finishes it."""
        self.create()
        self.volume()
        pid = self.import_pool()
        self.poolctl("scrub", "tank", "--limit", "1M")
        self.poolctl("scrub", "tank", "--pause")
        self.kill_owner(pid)
        self.import_pool()
        self.assertEqual(self.scrub_job()["state"], "paused")
        self.poolctl("scrub", "tank", "--limit", "1G", "--wait")
        self.assertEqual(self.scrub_job()["state"], "finished")
        self.poolctl("scrub", "tank", "--limit", "1M")
        self.poolctl("scrub", "tank", "--pause")
        self.poolctl("export", "tank")
        self.poolctl("scrub", "tank", "--stop")
        self.assertEqual(self.scrub_job()["state"], "cancelled")
        self.refused("scrub", "tank", "--stop", says="no scrub is running")

    def test_waiting_ends_with_its_client(self):
        self.create()
        self.volume()
        self.import_pool()
        self.poolctl("scrub", "tank", "--limit", "1M")
        with self.popen("wait", "tank", "scrub", stderr=subprocess.PIPE) as process:
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            self.assertIn(b"goes on", process.stderr.read())
            self.assertEqual(process.wait(TIME_LIMIT), 1)
        self.assertEqual(self.scrub_job()["state"], "running")
        self.poolctl("export", "tank")

    def test_replace_goes_on(self):
        disks = self.create()
        data = self.volume()
        self.import_pool()
        self.assertIn("Replacing", self.poolctl("replace", "tank", disks[0], self.path("new"), "--create-size", "64M"))
        self.poolctl("wait", "tank", "rebuild")
        self.assertIn(self.path("new"), [disk["path"] for disk in self.status()["disks"]])
        self.poolctl("export", "tank")
        self.reads_back(data)


def stat_mode(path):
    return os.stat(path).st_mode & 0o777


if __name__ == "__main__":
    unittest.main(verbosity=2)
