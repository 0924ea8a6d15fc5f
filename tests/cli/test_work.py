#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""poolctl at work on real images: what an administrator does, from create to undestroy."""
import os
import shlex
import re
import signal
import subprocess
import time
import unittest

from poolctl_case import MIB, TIME_LIMIT, PoolctlCase

CELL = 4096
DAMAGE_DISK = os.environ.get("DAMAGE_DISK", "damage-disk")


class Work(PoolctlCase):
    def damage(self, *disks):
        subprocess.run([DAMAGE_DISK, "--seed", "7", *disks], check=True, capture_output=True)

    def scrub_finds_nothing(self):
        job = self.document("scrub", "tank", "--wait")["jobs"][-1]
        self.assertEqual((job["errors_found"], job["cells_repaired"], job["cells_unrepaired"]), (0, 0, 0))

    def verify(self):
        self.assertEqual(self.document("debug", "verify", "tank")["violations"], 0)

    def test_dry_run(self):
        disks = self.images(6)
        before = self.checksums()
        layout = self.document("create", "tank", "raid6", *disks, "-n")
        self.assertEqual(self.checksums(), before)
        self.assertEqual((layout["data_columns"], layout["parity_columns"], layout["disks_may_fail"]), (4, 2, 2))
        self.assertLess(layout["usable_bytes"], 4 * 64 * MIB)
        self.assertGreater(layout["usable_bytes"], 4 * 64 * MIB // 2)

    def test_volumes(self):
        self.create()
        data = self.volume()
        self.reads_back(data)
        (volume,) = self.document("volume", "list", "tank")["volumes"]
        self.assertEqual((volume["name"], volume["volume_bytes"]), ("tank/data", 32 * MIB))
        self.poolctl("volume", "write", "tank/data", "--offset", "1M", input=b"x" * 5000)
        data = data[:MIB] + b"x" * 5000 + data[MIB + 5000:]
        self.reads_back(data)
        self.poolctl("volume", "write", "tank/data", "-", "--offset", "1M", input=b"y" * 5000)
        data = data[:MIB] + b"y" * 5000 + data[MIB + 5000:]
        self.assertEqual(self.poolctl("volume", "read", "tank/data", "-", text=False)[:len(data)], data)
        self.assertFalse(os.path.exists(os.path.join(self.folder, "-")))
        self.refused("volume", "read", "tank/data", "-", "--json", says="needs a FILE", code=2)
        self.refused("volume", "write", "tank/data", "--offset", "31M", input=bytes(2 * MIB), says="longer", changes=True)
        with open(os.path.join(self.run_path, "two"), "wb") as file:
            file.write(bytes(2 * MIB))
        self.refused("volume", "write", "tank/data", "--offset", "31M", file.name, says="has 2097152 bytes")
        with open(file.name, "rb") as two:
            self.refused("volume", "write", "tank/data", "--offset", "31M", stdin=two, says="has 2097152 bytes")
        self.poolctl("volume", "write", "tank/data", "--offset", "31M", "--length", "1M", file.name)
        self.poolctl("set", "tank/data", "readonly=on")
        for arguments, options in (((file.name,), {}), ((), {"input": b"x"})):
            self.refused("volume", "write", "tank/data", *arguments, says=["tank/data", "ead-only"], **options)
        self.poolctl("inherit", "tank/data", "readonly")
        self.refused("volume", "write", "tank/data", "--offset", "33M", input=b"x", says="beyond")
        self.refused("volume", "write", "tank/none", input=b"x", says="no volume none")
        self.refused("volume", "write", "tank/data", "nothing", says="No such file")
        self.refused("volume", "write", "tank/data", self.run_path, says="is a folder")
        self.refused("trim", "tank", "d0", "none", says="no disk 'none'")
        self.refused("trim", "tank", "--stop", says="no trim is running")
        self.refused("scrub", "tank", "--stop", says="no scrub is running")
        self.refused("scrub", "tank", "--pause", says="no scrub is running")
        self.refused("volume", "resize", "tank/data", "16M", says="--yes", code=2)
        self.poolctl("volume", "resize", "tank/data", "16M", "--yes")
        self.reads_back(data[:16 * MIB])
        self.refused("volume", "create", "tank/data", "1M", says="data")
        self.poolctl("volume", "destroy", "tank/data", "--yes")
        self.assertEqual(self.poolctl("volume", "list", "tank", "-H"), "")
        self.verify()

    def datasets(self):
        return [entry["name"] for entry in self.document("dataset", "list", "tank")["datasets"]]

    def test_quotas(self):
        self.create()
        self.poolctl("dataset", "create", "tank/home")
        self.poolctl("volume", "create", "tank/home/disk", "32M")
        values = lambda thing, *names: {row["name"]: row["value"] for row in self.document("get", thing, *names)["properties"]}    # noqa: E731
        limits = ("quota", "refquota", "reservation")
        self.assertEqual(values("tank/home", *limits), dict.fromkeys(limits, "none"))
        self.poolctl("set", "tank/home", "quota=40M", "refquota=1G", "reservation=8M")
        self.assertEqual(values("tank/home", *limits), {"quota": "40M", "refquota": "1G", "reservation": "8M"})
        (row,) = self.document("get", "tank/home", "quota")["properties"]
        self.assertEqual((row["number"], row["source"], row["read_only"]), (40 * MIB, "local", False))
        (home,) = self.document("dataset", "list", "tank")["datasets"]
        self.assertEqual([home[name + "_bytes"] for name in limits], [40 * MIB, 1 << 30, 8 * MIB])
        self.assertEqual(home["used_bytes"], 8 * MIB)
        self.assertTrue(home["referenced_bytes"] < MIB and 39 * MIB < home["available_bytes"] <= 40 * MIB)
        # A volume counts for the quota of the file system that it lies in; what was written stays.
        data = os.urandom(32 * MIB)
        self.poolctl("volume", "write", "tank/home/disk", input=data[:24 * MIB])
        self.poolctl("set", "tank/home", "quota=28M")
        self.refused("volume", "write", "tank/home/disk", input=data[::-1], says="quota", changes=True)
        self.poolctl("set", "tank/home", "quota=20M")
        self.refused("volume", "write", "tank/home/disk", "--offset", "31M", input=b"x", says="quota")
        self.poolctl("set", "tank/home", "quota=none")
        self.poolctl("volume", "write", "tank/home/disk", input=data)
        self.assertEqual(self.poolctl("volume", "read", "tank/home/disk", text=False), data)
        for setting, says in (("quota=1", "reservation"), ("reservation=1E", "less"), ("refquota=-1", "no size"), ("quota=", "no size"),
                              ("userquota@none such=1", "user"), ("projectquota@x=1", "number"), ("userquota@=1", "number"),
                              ("userquota@4294967295=1", "number"), ("userquota@3=x", "no size"), ("userused@3=1", "figure"), ("olga@3=1", "olga")):
            self.refused("set", "tank/home", setting, says=says)
        for setting, says in (("quota=1M", "quota"), ("userquota@3=1", "userquota")):
            self.refused("set", "tank/home/disk", setting, says=says)
        self.refused("set", "tank", "userquota@3=1", says="userquota")
        self.refused("userspace", "tank/home/disk", says="home/disk")
        self.refused("userspace", "tank/none", says="none")
        self.poolctl("set", "tank/home/disk", "reservation=40M")
        self.assertEqual(values("tank/home/disk", "reservation", "used"), {"reservation": "40M", "used": "40.00M"})
        self.poolctl("set", "tank/home", "userquota@root=2G", "groupobjquota@12=100", "projectquota@77=1M", "projectobjquota@77=5")
        self.poolctl("set", "tank/home", "userquota@5=1G", "-n")
        names = ("userquota@0", "userobjquota@0", "groupobjquota@12", "projectobjused@0", "userused@0")
        self.assertEqual(values("tank/home", *names), dict(zip(names, ("2G", "none", "100", "1", "0"))))
        owners = {(row["kind"], row["id"]): row for row in self.document("userspace", "tank/home")["owners"]}
        self.assertEqual(set(owners), {("user", 0), ("group", 0), ("group", 12), ("project", 0), ("project", 77)})
        self.assertEqual([owners["project", 77][name] for name in ("name", "used_nodes", "quota_bytes", "quota_nodes")], ["77", 0, MIB, 5])
        self.assertEqual([owners["user", 0][name] for name in ("name", "used_nodes", "quota_bytes", "quota_nodes")], ["root", 1, 2 << 30, None])
        self.poolctl("inherit", "tank/home", "projectquota@77", "projectobjquota@77", "groupobjquota@12", "reservation")
        self.poolctl("set", "tank/home", "userquota@root=none")
        self.assertEqual(len(self.document("userspace", "tank/home")["owners"]), 3)
        self.assertEqual(values("tank/home", "reservation"), {"reservation": "none"})
        self.verify()

    def test_datasets_in_datasets(self):
        self.create()
        self.refused("dataset", "create", "tank/home/anna", says="there is no file system tank/home")
        self.refused("dataset", "create", "tank/home/anna", "-n", says="there is no file system tank/home")
        for name in ("home", "home/anna", "home/anna/mail", "home2", "srv"):
            self.poolctl("dataset", "create", f"tank/{name}")
        self.poolctl("volume", "create", "tank/home/disk", "8M")
        self.poolctl("volume", "write", "tank/home/disk", input=b"x" * 5000)
        self.assertEqual(self.datasets(), ["tank/home", "tank/home/anna", "tank/home/anna/mail", "tank/home2", "tank/srv"])
        self.refused("dataset", "create", "tank/home/disk/a", says="nothing can lie in it")
        self.refused("dataset", "rename", "tank/home", "tank/home/anna/x", says="into itself")
        self.refused("dataset", "rename", "tank/home", "tank/srv", says="exists already")
        self.refused("dataset", "rename", "tank/home", "other/home", says="another pool", code=2)
        self.refused("dataset", "rename", "tank/nothing", "tank/x", says="has no dataset")
        self.assertIn("Would rename", self.poolctl("dataset", "rename", "tank/home", "tank/srv/home", "-n"))
        self.poolctl("dataset", "rename", "tank/home", "tank/srv/home")
        self.poolctl("dataset", "rename", "tank/srv/home/disk", "tank/srv/disk0")
        self.assertEqual(self.datasets(), ["tank/home2", "tank/srv", "tank/srv/home", "tank/srv/home/anna", "tank/srv/home/anna/mail"])
        self.assertEqual(self.poolctl("volume", "read", "tank/srv/disk0", "--length", "5000", text=False), b"x" * 5000)
        self.refused("dataset", "destroy", "tank/srv", "--yes", says="has 4 datasets in it")
        self.refused("dataset", "destroy", "tank/srv", "--yes", "-n", says="has 4 datasets in it")
        result = self.document("dataset", "destroy", "-r", "tank/srv", "--yes")
        self.assertEqual((result["destroyed"], result["text"]), (5, "Destroyed file system tank/srv, and 4 in it"))
        self.assertEqual(self.datasets(), ["tank/home2"])
        self.assertEqual(self.document("volume", "list", "tank")["volumes"], [])
        self.verify()

    def property(self, thing, name):
        (row,) = self.document("get", thing, name)["properties"]
        return row["value"], row["source"]

    def test_settings_are_handed_down(self):
        self.create()
        for name in ("a", "a/b", "a/b/c"):
            self.poolctl("dataset", "create", f"tank/{name}")
        self.poolctl("volume", "create", "tank/a/v", "8M")
        self.assertEqual(self.property("tank/a/b/c", "compression"), ("auto", "default"))
        self.poolctl("set", "tank", "compression=off", "atime=off")
        self.poolctl("set", "tank/a", "compression=zstd-3", "readonly=on", "recordsize=16K")
        self.poolctl("set", "tank/a/b", "readonly=off")
        for thing, name, value, source in (
                ("tank", "compression", "off", "local"), ("tank", "readonly", "off", "default"), ("tank/a", "compression", "zstd-3", "local"),
                ("tank/a/b/c", "compression", "zstd-3", "inherited from tank/a"), ("tank/a/b/c", "readonly", "off", "inherited from tank/a/b"),
                ("tank/a/b/c", "atime", "off", "inherited from tank"), ("tank/a/b/c", "recordsize", "16K", "inherited from tank/a"),
                ("tank/a/b", "xattr", "on", "default"), ("tank/a/v", "readonly", "on", "inherited from tank/a"),
                ("tank/a", "checksum", "xxh3-128", "default"), ("tank/a/v", "type", "volume", "-")):
            self.assertEqual(self.property(thing, name), (value, source), (thing, name))
        self.refused("volume", "write", "tank/a/v", input=b"x", says="Read-only", changes=True)
        self.assertIn("Would leave 1", self.poolctl("inherit", "tank/a", "readonly", "-n"))
        self.assertIn("Left 2", self.poolctl("inherit", "tank/a", "readonly", "compression"))
        self.poolctl("volume", "write", "tank/a/v", input=b"x")
        self.assertEqual(self.property("tank/a/b/c", "compression"), ("off", "inherited from tank"))
        self.poolctl("set", "tank", "compression=default")
        self.assertEqual(self.property("tank/a/b/c", "compression"), ("auto", "default"))
        self.poolctl("dataset", "rename", "tank/a/b", "tank/b")
        self.assertEqual(self.property("tank/b/c", "recordsize"), ("auto", "default"))
        (row,) = self.document("dataset", "list", "tank")["datasets"][:1]
        self.assertEqual((row["name"], row["record_bytes"]), ("tank/a", 16384))
        self.assertEqual(self.poolctl("dataset", "list", "tank", "-H", "-o", "name,record_bytes").splitlines(), ["tank/a\t16.0K", "tank/b\tauto", "tank/b/c\tauto"])
        for thing, setting, says in (("tank/a", "compression=lz4", "none of off, auto"), ("tank/a", "atime=sometimes", "none of relatime, on, off"),
                                     ("tank/a", "recordsize=5K", "a power of two"), ("tank/a", "recordsize=1M", "is not possible"),
                                     ("tank/a/v", "atime=on", "no property 'atime'"), ("tank/a", "checksum=sha256", "in this version it is xxh3-128"),
                                     ("tank", "checksum=off", "every block has one"), ("tank/a/v", "checksum=sha256", "in this version it is xxh3-128"),
                                     ("tank/a", "volsize=1M", "has no volume a"), ("tank/a", "colour=red", "no property 'colour'"),
                                     ("tank/none", "atime=on", "has no dataset none")):
            self.refused("set", thing, setting, says=says)
        self.refused("inherit", "tank/a", "used", says="is a figure")
        self.refused("inherit", "tank/a/v", "volsize", says="no default")
        self.assertEqual(self.property("tank/a", "atime"), ("off", "inherited from tank"))
        self.poolctl("set", "tank/a", "checksum=xxh3")
        self.poolctl("set", "tank/b", "checksum=xxh3-128")
        for thing, source in (("tank", "default"), ("tank/a", "local"), ("tank/a/v", "inherited from tank/a"), ("tank/b/c", "inherited from tank/b")):
            self.assertEqual(self.property(thing, "checksum"), ("xxh3-128", source), thing)
        self.poolctl("inherit", "tank/a", "checksum")
        self.poolctl("set", "tank", "checksum=xxh3")
        for thing, source in (("tank", "local"), ("tank/a/v", "inherited from tank"), ("tank/b/c", "inherited from tank/b")):
            self.assertEqual(self.property(thing, "checksum"), ("xxh3-128", source), thing)
        self.verify()

    def test_read_changes_nothing(self):
        self.create()
        data = self.volume()
        before = self.checksums()
        self.reads_back(data)
        self.poolctl("status")
        self.poolctl("list")
        self.poolctl("history", "tank")
        self.poolctl("events", "tank")
        self.poolctl("get", "tank")
        self.poolctl("iostat", "tank")
        self.poolctl("debug", "verify", "tank")
        self.assertEqual(self.checksums(), before)

    def test_damage_is_healed(self):
        disks = self.create()
        data = self.volume()
        self.damage(*disks[:2])
        self.reads_back(data)
        result = self.document("scrub", "tank", "--wait")
        self.assertGreater(result["jobs"][-1]["cells_repaired"], 0)
        self.assertEqual(result["cells_unrepaired"], 0)
        self.scrub_finds_nothing()
        self.verify()
        self.reads_back(data)

    def test_damage_beyond_repair(self):
        """Every data cell of one MiB of the volume becomes garbage, which is more than the parity of its rows can bear."""
        disks = self.create(profile="raid5", disks=self.images(4))
        data = self.volume()
        lost = {data[offset:offset + CELL] for offset in range(5 * MIB, 6 * MIB, CELL)}
        for disk in disks:
            with open(disk, "r+b") as file:
                for offset in range(0, os.path.getsize(disk), CELL):
                    file.seek(offset)
                    if file.read(CELL) in lost:
                        file.seek(offset)
                        file.write(os.urandom(CELL))
        result = self.document("scrub", "tank", "--wait", code=3)
        self.assertGreater(result["cells_unrepaired"], 0)
        self.refused("volume", "read", "tank/data", "out", says="tank/data", changes=True)
        damage = self.status()["damage"]
        self.assertEqual({entry["dataset"] for entry in damage}, {"data"})
        for entry in damage:
            self.assertGreaterEqual(entry["offset"] + entry["length"], 5 * MIB)
            self.assertLessEqual(entry["offset"], 6 * MIB)
        self.poolctl("status", "tank", "--check", code=1)
        back = self.poolctl("volume", "read", "tank/data", "--length", "5M", text=False)
        self.assertTrue(back == data[:5 * MIB])
        self.poolctl("volume", "write", "tank/data", "--offset", "5M", input=data[5 * MIB:6 * MIB])
        self.reads_back(data)
        # Cells that nothing points to may stay damaged in rows that are in use; data may not.
        self.assertIn(self.run_poolctl("scrub", "tank").returncode, (0, 3))
        self.assertEqual(self.status()["damage"], [])

    def test_disks_are_replaced(self):
        disks = self.create()
        data = self.volume()
        for disk in disks[:2]:
            os.remove(disk)
        self.poolctl("status", "tank", "--check", code=1)
        self.reads_back(data)
        self.poolctl("replace", "tank", disks[0], self.path("n0"), "--create-size", "64M")
        self.poolctl("replace", "tank", "#1", self.path("n1"), "--create-size", "64M", "--wait")
        self.poolctl("status", "tank", "--check")
        self.scrub_finds_nothing()
        self.verify()
        self.reads_back(data)
        for disk in disks[2:4]:
            os.remove(disk)
        self.reads_back(data)

    def test_problem_names_disks(self):
        disks = self.create()
        self.volume()
        for disk in disks[1:3]:
            self.poolctl("offline", "tank", disk)
        problem = self.status()["problem"]
        self.assertIn("2 of 6 disks were taken offline: ", problem)
        self.assertIn(f"{disks[1]}, {disks[2]}", problem)
        self.refused("offline", "-n", "tank", "d4", says="could not be read")
        for disk in disks[1:3]:
            self.poolctl("online", "tank", disk)
        for disk in disks[1:3]:
            os.remove(disk)
        status = self.status()
        self.assertIn("2 of 6 disks are missing: ", status["problem"])
        self.assertIn(f"{disks[1]}, {disks[2]}", status["problem"])
        self.assertEqual(status["action"], "attach them again, or replace each (also if it is there, but blank): "
                         f"poolctl replace tank {disks[1]} NEW")
        with open(disks[1], "wb") as file:
            file.truncate(64 * MIB)  # there again, without anything of the pool
        self.assertIn("2 of 6 disks are missing: ", self.status()["problem"])
        self.poolctl("replace", "tank", disks[1], disks[1], "--wait")
        status = self.status()
        self.assertEqual(status["action"], "attach it again, or replace it (also if it is there, but blank): "
                         f"poolctl replace tank {disks[2]} NEW")

    def test_action_can_be_typed(self):
        """A shell takes '#' and spaces for something else, and half a path means no disk."""
        for name in ("a disk", "x" * 120):
            disks = [self.image(name), self.image("plain")]
            self.create(profile="raid1", disks=disks)
            self.volume(data=b"hello")
            os.remove(disks[0])
            action = self.status()["action"]
            self.assertIn("'#0' NEW", action)
            verb, *operands = shlex.split(action[action.index("poolctl "):].replace("NEW", self.image("new")))[1:]
            self.poolctl(verb, "-n", *operands)
            self.poolctl("destroy", "-y", "tank")
            os.remove(disks[1])

    def test_rewind(self):
        self.create()
        self.volume()
        error = self.refused("import", "tank", "--rewind", "999999", "--yes", says="txg 999999")
        known = re.findall(r"(\d+) \(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\)", error)
        self.assertGreater(len(known), 2, error)
        self.assertIn(f"went back to txg {known[1]}", self.poolctl("import", "tank", "--rewind", known[1], "--yes"))
        self.poolctl("export", "tank")

    def test_replace_checks_first(self):
        disks = self.create()
        new = self.image("new")
        self.refused("replace", "tank", "d4", "d5", says="disk #5 of this pool already")
        before = self.checksums()
        self.assertIn("Would replace", self.poolctl("replace", "-n", "tank", "d1", new))
        self.assertEqual(self.checksums(), before)
        self.refused("replace", "-n", "tank", "d4", "d5", says="disk #5 of this pool already")
        self.refused("replace", "-n", "tank", "d1", self.image("small", 16), says="too small")
        self.refused("replace", "-n", "tank", "d1", "absent", says="absent")
        self.poolctl("replace", "tank", "d1", new)
        self.refused("replace", "tank", "d2", disks[1], says=("former disk of pool tank", "--force"))
        self.refused("replace", "-n", "tank", "d2", disks[1], says="former disk of pool tank")
        self.poolctl("replace", "-n", "tank", "d2", disks[1], "--force")
        self.poolctl("replace", "tank", "d2", disks[1], "--force")
        self.verify()

    def test_scrub_without_a_disk(self):
        """What could not be looked at is told, and not taken for sound."""
        disks = self.create("tank", "raid5", self.images(4))
        data = self.volume()
        self.poolctl("offline", "tank", disks[2])
        text = self.document("scrub", "tank", "--wait")["jobs"][-1]["text"]
        self.assertIn("cells were not checked", text)
        self.assertIn("cells were not checked", self.poolctl("scrub", "tank", "--wait"))
        self.assertIn("cells were not checked", self.poolctl("status", "tank")) # another import
        self.poolctl("online", "tank", disks[2])
        self.assertEqual(self.document("scrub", "tank", "--wait")["jobs"][-1]["text"], "")
        self.reads_back(data)

    def test_raw_size(self):
        """The same figure wherever it is shown: what lies between the labels."""
        disks = self.images(3)
        raw = self.document("create", "tank", "raid5", *disks)["raw_bytes"]
        self.assertEqual(self.document("list")["pools"][0]["raw_bytes"], raw)
        self.import_pool()
        self.assertEqual(self.document("list")["pools"][0]["raw_bytes"], raw)
        self.assertEqual(self.status()["raw_bytes"], raw)
        self.export_pool()

    def test_online_of_an_erased_disk(self):
        disks = self.create("tank", "raid5", self.images(4))
        self.poolctl("offline", "tank", disks[1])
        self.image("d1")
        for name in ("#1", disks[1]):
            self.refused("online", "tank", name, says=["no label", "replace"])
        os.unlink(disks[1])
        self.refused("online", "tank", "#1", says="not found")

    def test_offline_and_online(self):
        disks = self.create()
        data = self.volume()
        before = self.checksums()
        self.assertIn("Would take", self.poolctl("offline", "-n", "tank", "d3"))
        self.assertEqual(self.checksums(), before)
        self.poolctl("offline", "tank", "d3")
        self.refused("offline", "-n", "tank", "d3", says="not online")
        self.poolctl("status", "tank", "--check", code=1)
        data = os.urandom(len(data))
        self.poolctl("volume", "write", "tank/data", input=data)
        self.poolctl("online", "tank", disks[3])
        self.poolctl("status", "tank", "--check")
        self.reads_back(data)
        self.scrub_finds_nothing()
        self.verify()

    def test_destroy_and_undestroy(self):
        self.create()
        data = self.volume()
        self.refused("destroy", "tank", says="--yes", code=2)
        self.poolctl("destroy", "tank", "-n")
        self.poolctl("destroy", "tank", "--yes")
        self.assertIn("No pools", self.poolctl("list"))
        self.assertIn("tank", self.poolctl("list", "--destroyed"))
        self.refused("volume", "read", "tank/data", "out", says="tank")
        self.poolctl("undestroy", "tank")
        self.reads_back(data)

    def test_history_and_properties(self):
        self.create()
        self.poolctl("volume", "create", "tank/data", "1M")
        self.assertIn("volume create tank/data 1M", self.poolctl("history", "tank"))
        for row in self.document("get", "tank")["properties"]:
            self.assertTrue(row["name"] and row["help"], row)
        self.refused("set", "tank/data", "volsize=512K", says="volume resize")
        self.refused("import", "tank", "--rewind", "999999", "--yes", says="txg 999999")
        self.poolctl("set", "tank/data", "volsize=2M")
        self.assertIn("nothing to export", self.poolctl("export", "tank"))

    def test_interrupted_write(self):
        self.create()
        data = self.volume()
        with self.popen("volume", "write", "tank/data", stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as process:
            process.stdin.write(data[:5 * MIB])
            process.stdin.flush()
            time.sleep(0.5)
            process.send_signal(signal.SIGINT)
            error = process.stderr.read().decode()
            process.wait(TIME_LIMIT)
            try:
                process.stdin.close()
            except BrokenPipeError:
                pass
        self.assertEqual(process.returncode, 1)
        self.assertIn("interrupted", error)
        self.assertTrue(self.document("list")["pools"][0]["clean"], "the pool was not exported")
        self.reads_back(data)

    def test_killed_write(self):
        """As after a crash: the pool is not clean, and all that was durable is there."""
        self.create()
        data = self.volume()
        with self.popen("volume", "write", "tank/data", stdin=subprocess.PIPE) as process:
            process.stdin.write(data[:5 * MIB])
            process.stdin.flush()
            time.sleep(0.5)
            process.kill()
            try:
                process.stdin.close()
            except BrokenPipeError:
                pass
        # The kernel releases the locks of a killed process when its last request has ended.
        self.wait_until_in_use(False)
        self.assertFalse(self.document("list")["pools"][0]["clean"])
        self.reads_back(data)
        self.poolctl("wait", "tank")
        self.assertTrue(self.document("list")["pools"][0]["clean"])
        self.verify()

    def test_disks_are_not_read_into(self):
        """Not even with --force, neither those of a pool that is imported nor of one that is only for this command."""
        disks = self.create(profile="raid1", disks=self.images(2))
        data = self.volume(size="4M", data=os.urandom(MIB))
        self.refused("volume", "read", "tank/data", disks[0], says="is a disk of pool tank")
        self.refused("volume", "read", "tank/data", disks[0], "--force", says="is a disk of pool tank")
        self.import_pool()
        self.refused("volume", "read", "tank/data", disks[1], "--force", says="is a disk of pool tank")
        self.poolctl("export", "tank")
        self.poolctl("volume", "read", "tank/data", "out", "--length", "1M")
        self.poolctl("volume", "read", "tank/data", "out", "--length", "4K", "--force")
        with open(self.path("out"), "rb") as file:
            self.assertEqual(file.read(), data[:4096])
        self.reads_back(data)

    @unittest.skipUnless(os.geteuid() == 0, "needs root, for a device")
    def test_devices_are_not_read_into(self):
        self.create(profile="raid1", disks=self.images(2))
        self.volume(size="1M", data=b"hello")
        result = subprocess.run(["losetup", "--find", "--show", self.image("loop", 1)], capture_output=True, check=False)
        if result.returncode:
            self.skipTest("no loop devices here")
        device = result.stdout.decode().strip()
        try:
            self.refused("volume", "read", "tank/data", device, says="--force")
            holder = os.open(device, os.O_RDWR | os.O_EXCL)
            self.refused("volume", "read", "tank/data", device, "--force", says="in use")
            os.close(holder)
            self.poolctl("volume", "read", "tank/data", device, "--force")
            with open(device, "rb") as file:
                self.assertEqual(file.read(5), b"hello")
        finally:
            subprocess.run(["losetup", "--detach", device], check=False)

    def test_reader_that_goes_away(self):
        self.create()
        self.volume()
        with self.popen("volume", "read", "tank/data", stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as process:
            process.stdout.read(4096)
            process.stdout.close()
            error = process.stderr.read().decode()
            process.wait(TIME_LIMIT)
        self.assertEqual(process.returncode, 1)
        self.assertIn("Broken pipe", error)
        self.assertEqual(len(error.splitlines()), 1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
