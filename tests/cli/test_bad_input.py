#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Bad input: every refusal is one clear line and a proper exit code, changes nothing on disk, and nothing hangs."""
import fcntl
import json
import os
import resource
import shutil
import subprocess
import time
import unittest

from poolctl_case import MIB, PROGRAM, TIME_LIMIT, PoolctlCase, checksum

LABEL_EDIT = os.environ.get("LABEL_EDIT", "label-edit")


class Arguments(PoolctlCase):
    def test_too_few_descriptors(self):
        """What the process lacks is never a fault of disks: a pool that was imported without them would have to bring them up to date."""
        self.create()
        for count in range(9, 21):
            limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (count, count))
            result = self.run_poolctl("status", "tank", preexec_fn=limit)
            self.assertNotIn(b"missing", result.stdout + result.stderr)
        self.assertIn(b"healthy", result.stdout)

    def test_sizes(self):
        self.create()
        for size, reason in (("0", "zero"), ("0G", "zero"), ("-1G", "negative"), ("-5", "negative"), ("2E", "2^60"),
                             ("1152921504606846977", "2^60"), ("99999999999999999999999", "2^60"), ("", "empty"),
                             ("ten", "not a number"), ("10Q", "'Q'"), ("10GB", "'GB'"), ("0x10", "'x10'"), ("1e9", "'e9'")):
            with self.subTest(size=size):
                self.refused("volume", "create", "tank/v", size, says=reason, code=2)
        self.refused("--frobnicate", "list", says="poolctl: option '--frobnicate' is unknown", code=2)
        self.refused("import", "tank", "--rewind", "last", says="--rewind 'last' is not a number: give one such as 12", code=2)
        for number in ("-5", "-5G", "-1.5T"):
            self.refused("volume", "create", "tank/v", number, says=f"negative number ('{number}')", code=2)
        self.assertEqual(self.poolctl("volume", "list", "tank", "-H"), "")
        self.poolctl("volume", "create", "tank/v", "1M")
        self.refused("volume", "resize", "tank/v", "0", says="zero", code=2)

    def test_limits(self):
        """What is kept free, and what a dataset may take or is promised, of a pool that is smaller."""
        self.create()
        for value, reason in (("0.99%", "1% to 50%"), ("51%", "1% to 50%"), ("-1%", "no percentage"), ("ten%", "no percentage"),
                              ("99999999999999999999%", "no percentage"), ("", "no percentage"), ("6.255%", "no percentage")):
            with self.subTest(reserve=value):
                self.refused("set", "tank", f"reserve={value}", says=reason)
        self.poolctl("dataset", "create", "tank/home")
        self.refused("set", "tank/home", "reservation=1P", says="less")
        (before,) = self.document("get", "tank/home", "available")["properties"]
        self.refused("set", "tank/home", f"reservation={before['number'] + MIB}", says="less")
        # A quota promises nothing: it may be larger than the pool, and what is available stays what the pool has.
        self.poolctl("set", "tank/home", "quota=1P")
        (after,) = self.document("get", "tank/home", "available")["properties"]
        self.assertLessEqual(after["number"], before["number"])

    def test_names(self):
        disks = self.images(2)
        for name, reason in (("a/b", "'/'"), ("a b", "space"), ("a\tb", "control"), ("a\nb", "control"), ("a\x1bb", "control"),
                             ("a\x7f", "control"), ("a\u009bb", "control"), ("", "empty"), ("x" * 300, "300 bytes"), ("-a", ""), (".", "'.'"),
                             ("a@b", "'@'"), (b"a\xffb", "UTF-8"), *((f"a{byte}b", f"'{byte}'") for byte in "\\#%*?\"'")):
            with self.subTest(name=name):
                self.refused("create", name, "raid1", *disks, says=reason, code=2)
        self.create(profile="raid1", disks=disks)
        for name, reason in (("tank/a//b", "empty"), ("tank/a/", "empty"), ("tank/a/.b", "begins with"), ("tank/a/b c", "space"), ("tank/a b", "space"), ("tank/", "empty"), ("tank/a\nb", "control"),
                             ("tank/" + "x" * 300, "300 bytes"), ("tank", "POOL/VOLUME")):
            with self.subTest(name=name):
                self.refused("volume", "create", name, "1M", says=reason, code=2)

    def test_longest_names(self):
        self.poolctl("create", "p" * 255, "raid1", *self.images(2))
        self.poolctl("volume", "create", "p" * 255 + "/" + "v" * 255, "1M")
        self.assertEqual(self.poolctl("volume", "list", "p" * 255, "-H", "-o", "name"), "p" * 255 + "/" + "v" * 255 + "\n")

    def test_absent_objects(self):
        self.create()
        self.refused("status", "nopool", says="nopool")
        self.refused("status", "nopool", "--check", says="nopool", code=4)
        self.refused("volume", "read", "tank/none", "out", says="none")
        self.refused("volume", "destroy", "tank/none", "--yes", says="none")
        self.refused("replace", "tank", "none", "d0", says="none")
        self.refused("offline", "tank", "none", says="none")
        self.refused("get", "tank", "none", says="none")
        self.refused("undestroy", "tank", says="not destroyed")
        self.assertEqual(self.status()["state"], "healthy")


class Documents(PoolctlCase):
    def test_errors_are_documents(self):
        """With --json every verb prints one document, whatever is wrong: its usage, its pool, its socket."""
        self.create(profile="raid1", disks=self.images(2))
        for line in self.poolctl("help", "completion").splitlines():
            name, operands, _ = line.split("\t")
            verb = name.split()
            if name == "help":
                continue
            filled = [{"POOL": "nopool", "[POOL]": "nopool", "POOL/VOLUME": "nopool/v", "POOL[/DATASET]": "nopool", "POOL/DATASET": "nopool/d", "SIZE": "1M",
                       "PROPERTY=VALUE...": "a=b", "PROFILE": "raid1", "DISK...": "/nowhere", "[FILE]": "/nowhere/x"}.get(word, "x")
                      for word in operands.split() if word[0] != "[" or word in ("[POOL]", "[FILE]")]
            wrong = [[*verb, "--frobnicate"], [*verb, *["x"] * 5000]]
            if name != "share list":  # which asks no pool: what isn't there shares nothing
                wrong.append([*verb, *filled])
            for arguments in wrong:
                with self.subTest(arguments=arguments[:8]):
                    result = self.run_poolctl(*arguments, "--json", *(["--yes"] if name in ("destroy", "volume destroy", "dataset destroy") else []))
                    document = json.loads(result.stdout)
                    self.assertIn(result.returncode, (1, 2))
                    self.assertEqual((document["schema"], document["command"]), (1, name))
                    self.assertGreater(document["error"]["code"], 0)
                    self.assertIn(document["error"]["text"].splitlines()[0][:60], result.stderr.decode())


    def test_bytes_that_are_no_text(self):
        """Files may have any name. JSON stays JSON, and what it shows names them."""
        disks = [os.path.join(os.fsencode(self.folder), name) for name in (b"a\xff\n", b"b\xc3")]
        self.poolctl("create", "tank", "raid1", *disks, "--create-size", "64M")
        self.volume(size="1M", data=b"hello")
        for arguments in (("status",), ("status", "tank"), ("iostat", "tank"), ("events", "tank"), ("list",)):
            self.document(*arguments)
        shown = [disk["disk"] for disk in self.status()["disks"]]
        self.assertEqual(shown, [self.path("a<ff>\n"), self.path("b<c3>")])
        self.import_pool()
        for name in (disks[0], os.path.basename(disks[0]), shown[0], "a<ff>\n"):
            self.poolctl("offline", "-n", "tank", name)
        self.refused("offline", "tank", b"\xfe", says="no disk '<fe>'")
        self.refused("replace", "tank", disks[0], b"n\xff", says="not UTF-8", code=2)
        self.refused("online", "tank", disks[0], b"n\xff", says="not UTF-8", code=2)
        self.refused("set", "tank", b"x\xff=\xff", says="x<ff>")
        self.refused("get", "tank", b"x\xff", says="x<ff>")
        error = self.refused("offline", "tank", "\u009b\u00e9" * 100)  # cut in the middle of a character, with what terminals obey
        self.assertNotIn("\x9b", error)
        self.export_pool()


class Disks(PoolctlCase):
    def test_of_another_pool(self):
        disks = self.create("first", "raid1", self.images(2))
        self.refused("create", "second", "raid1", *disks, says=["first", "force"])
        self.refused("create", "second", "raid1", disks[0], self.image("new"), says=["first", "force"])
        self.poolctl("create", "second", "raid1", *disks, "--force")
        self.assertEqual(self.poolctl("list", "-H", "-o", "name"), "second\n")

    def test_twice_the_same(self):
        disk = self.image("d0")
        other = self.image("d1")
        self.refused("create", "tank", "raid1", disk, disk, says="twice")
        os.symlink(disk, self.path("link"))
        self.refused("create", "tank", "raid1", disk, self.path("link"))
        os.remove(self.path("link"))
        os.link(disk, self.path("hard"))
        self.refused("create", "tank", "raid1", disk, other, self.path("hard"))
        os.remove(self.path("hard"))
        self.create(disks=[disk, other], profile="raid1")
        self.refused("replace", "tank", disk, other, "--wait", says="tank")
        self.refused("replace", "tank", disk, disk, "--wait", says="replace itself")
        self.assertEqual(self.status()["state"], "healthy")

    def test_too_few(self):
        for profile, count in (("raid1", 1), ("raid1c3", 2), ("raid1c4", 3), ("raid5", 1), ("raid6", 2), ("raid7", 3), ("raid6:4+2", 5)):
            with self.subTest(profile=profile):
                self.refused("create", "tank", profile, *self.images(count), says=profile.split(":", maxsplit=1)[0])

    def test_bad_profiles(self):
        disks = self.images(6)
        self.refused("create", "tank", "raid9", *disks, says="raid9", code=2)
        for profile in ("raid6:", "raid6:4", "raid6:0+2", "raid6:4+3", "raid6:400+2", "raid6:4+2x", "raid1:2+1"):
            with self.subTest(profile=profile):
                self.refused("create", "tank", profile, *disks)

    def test_too_small(self):
        self.refused("create", "tank", "raid1", self.image("d0", 63), self.image("d1"), says=["d0", "64"])
        self.refused("create", "tank", "raid1", self.image("d0", 0), self.image("d1"), says=["d0", "64"])

    def test_mixed_sizes(self):
        """Allowed: space is used as far as the profile allows, and the layout says how much that is."""
        disks = [self.image("d0", 64), self.image("d1", 128), self.image("d2", 192)]
        before = self.checksums()
        layout = self.document("create", "tank", "raid1", *disks, "-n")
        self.assertEqual(self.checksums(), before)
        self.assertGreater(layout["usable_bytes"], 64 * MIB)
        self.assertLess(layout["usable_bytes"], 192 * MIB)
        self.create(profile="raid1", disks=disks)
        self.reads_back(self.volume())

    def test_very_mixed_sizes(self):
        """Allocation units are as small as the smallest disk needs; where the largest can't have such, the smallest is named."""
        small, large, huge = self.image("small"), self.path("large"), self.path("huge")
        for disk, size in ((large, 6 << 30), (huge, 12 << 40)):
            with open(disk, "wb") as file:
                file.truncate(size)
        self.assertEqual(self.document("create", "tank", "raid1", small, large, "-n")["allocation_unit_bytes"], 512 << 10)
        self.assertEqual(self.document("create", "tank", "raid1", large, large + "2", "--create-size", "6G", "-n")["allocation_unit_bytes"], MIB)
        os.remove(large)
        result = self.run_poolctl("create", "tank", "raid1", small, huge)
        self.assertEqual(result.returncode, 1)
        self.assertIn(f"disk {small} has room for 3 allocation units of 16384 KiB".encode(), result.stderr)
        os.remove(huge)
        self.refused("create", "tank", "raid1", small, "", says="its path is empty")

    @unittest.skipUnless(shutil.which("mkfs.ext4"), "no mkfs.ext4")
    def test_foreign_file_system(self):
        disks = self.images(2)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-L", "home", disks[1]], check=True)
        self.refused("create", "tank", "raid1", *disks, says=["d1", "ext4", "force"])
        self.refused("create", "tank", "raid1", *disks, "-n", says="ext4")
        self.poolctl("create", "tank", "raid1", *disks, "--force")
        subprocess.run(["mkfs.ext4", "-q", "-F", self.image("d2")], check=True)
        self.refused("replace", "tank", disks[0], self.path("d2"), says=["d2", "ext4", "force"])

    def test_in_use(self):
        disks = self.images(2)
        with open(disks[0], "rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            self.refused("create", "tank", "raid1", *disks, says="d0")
            self.refused("create", "tank", "raid1", *disks, "--force", says=["d0", f"process {os.getpid()} ("])

    @unittest.skipUnless(os.geteuid() == 0 and os.path.exists("/dev/loop-control") and shutil.which("mkfs.ext4"),
                         "needs root, loop devices and mkfs.ext4")
    def test_mounted(self):
        disks = self.images(2)
        subprocess.run(["mkfs.ext4", "-q", "-F", disks[0]], check=True)
        place = self.path("place")
        os.mkdir(place)
        try:
            device = subprocess.run(["losetup", "--find", "--show", disks[0]], check=True, capture_output=True,
                                    text=True).stdout.strip()
        except subprocess.CalledProcessError:
            self.skipTest("losetup is refused")
        self.addCleanup(subprocess.run, ["losetup", "-d", device], check=False)
        try:
            subprocess.run(["mount", device, place], check=True, capture_output=True)
        except subprocess.CalledProcessError:
            self.skipTest("mount is refused")
        self.addCleanup(os.rmdir, place)
        self.addCleanup(subprocess.run, ["umount", place], check=False)
        for force in ([], ["--force"]):
            result = self.run_poolctl("create", "tank", "raid1", device, disks[1], *force)
            self.assertEqual(result.returncode, 1)
            self.assertIn(b"mounted", result.stderr)

    @unittest.skipUnless(os.geteuid() == 0 and os.path.exists("/dev/loop-control"), "needs root and loop devices")
    def test_twice_the_same_by_loop_devices(self):
        """Of one file; two parts of one are two."""
        disk = self.image("both", 128)
        devices = []
        for options in ([], [], ["--sizelimit", "67108864"], ["--offset", "67108864"]):
            try:
                devices.append(subprocess.run(["losetup", "--find", "--show", *options, disk], check=True, capture_output=True,
                                              text=True).stdout.strip())
            except subprocess.CalledProcessError:
                self.skipTest("losetup is refused")
            self.addCleanup(subprocess.run, ["losetup", "-d", devices[-1]], check=False)
        self.refused("create", "tank", "raid1", devices[0], devices[1], says=[devices[0], devices[1], "the same disk"])
        self.refused("create", "tank", "raid1", devices[0], disk, "--force", says="loop device")
        self.poolctl("create", "tank", "raid1", devices[2], devices[3], "-n")
        alias = self.path("alias")
        os.link(disk, alias)
        os.remove(disk)
        self.image("both", 128)  # by the path that the devices were given
        self.refused("create", "tank", "raid1", devices[0], devices[1], says=[devices[0], devices[1], "the same disk"])
        self.refused("create", "tank", "raid1", devices[0], alias, "--force", says="loop device")
        self.poolctl("create", "tank", "raid1", self.path("both"), self.image("d1", 128), "-n")

    @unittest.skipUnless(os.geteuid() == 0 and os.path.exists("/dev/loop-control"), "needs root and loop devices")
    def test_read_only_devices(self):
        """Nothing that writes takes one; a read-only import reads it."""
        pool = f"tank{os.getpid()}"  # the devices of this machine are searched, too
        disks = self.create(pool, "raid1", self.images(2))
        data = self.volume(f"{pool}/data", size="8M", data=os.urandom(3 * MIB))
        spare, other, blank = self.image("d2"), os.path.join(self.run_path, "other"), self.image("blank")
        os.makedirs(other)
        moved = [os.path.join(other, os.path.basename(disk)) for disk in disks]
        for disk, place in zip(disks, moved):
            os.rename(disk, place)
        devices, attached = [], []
        self.addCleanup(lambda: [subprocess.run(["losetup", "-d", device], check=False) for device in attached])
        for options in (["--read-only", moved[0]], ["--read-only", moved[1]], ["--read-only", spare]):
            try:
                devices.append(subprocess.run(["losetup", "--find", "--show", *options], check=True, capture_output=True, text=True).stdout.strip())
            except subprocess.CalledProcessError:
                self.skipTest("losetup is refused")
            attached.append(devices[-1])
        before = [checksum(disk) for disk in moved]
        for command in (("create", "new", "raid1", devices[2], blank), ("create", "new", "raid1", devices[2], blank, "-n"),
                        ("create", "new", "raid1", devices[2], blank, "--force")):
            self.refused(*command, says=[devices[2], "read-only"])
        self.devices = True
        for command in (("import", pool), ("import", pool, "-n"), ("scrub", pool, "--wait"), ("volume", "create", f"{pool}/v", "1M"),
                        ("destroy", pool, "--yes"), ("import", pool, "--force")):
            with self.subTest(command=command):
                self.refused(*command, says=["is read-only", "read-only"])
        self.reads_back(data, f"{pool}/data")
        self.import_pool("--read-only", pool=pool)
        self.reads_back(data, f"{pool}/data")
        self.refused("volume", "create", f"{pool}/v", "1M", says="read-only")
        self.export_pool(pool=pool)
        self.assertEqual([checksum(disk) for disk in moved], before)
        for device in devices[:2]:
            subprocess.run(["losetup", "-d", device], check=True)
            attached.remove(device)
        for disk, place in zip(disks, moved):
            os.rename(place, disk)
        for command in (("replace", pool, disks[0], devices[2]), ("replace", pool, disks[0], devices[2], "-n"),
                        ("replace", pool, disks[0], devices[2], "--force", "--wait")):
            self.refused(*command, says=[devices[2], "read-only"])
        self.assertEqual(self.status(pool)["state"], "healthy")
        self.reads_back(data, f"{pool}/data")

    def test_read_only(self):
        disks = self.create("tank", "raid1", self.images(2))
        self.volume(data=b"hello")
        new = self.images(2, "n")
        for disk in disks + new:
            os.chmod(disk, 0o444)
        options = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        try:
            subprocess.run([PROGRAM, "--version"], capture_output=True, check=True, **options)
        except (OSError, subprocess.CalledProcessError):
            self.skipTest("the program can't be run by another user")
        self.refused("create", "other", "raid1", *new, says="n0", **options)
        self.refused("volume", "create", "tank/v", "1M", **options)
        before = self.checksums()
        self.assertEqual(self.poolctl("volume", "read", "tank/data", "--length", "5", **options), "hello")
        self.assertEqual(self.checksums(), before)

    def test_reading_onto_own_disks(self):
        """--force overwrites a file, but not what the volume lies on, which nobody has locked while it is offline."""
        disks = self.create(profile="raid1", disks=self.images(3))
        self.volume(size="1M", data=b"hello")
        self.poolctl("offline", "tank", disks[1])
        os.link(disks[1], self.path("link"))
        for disk in (disks[0], disks[1], "d1", self.path("link")):
            self.refused("volume", "read", "tank/data", disk, "--force", says="is a disk of pool tank")
        os.remove(self.path("link"))
        self.poolctl("volume", "read", "tank/data", os.path.join(self.run_path, "out"))
        self.poolctl("volume", "read", "tank/data", os.path.join(self.run_path, "out"), "--force")
        self.poolctl("online", "tank", disks[1])
        self.assertEqual(self.status()["state"], "healthy")

    def test_not_a_disk(self):
        disk = self.image("d0")
        self.refused("create", "tank", "raid1", disk, "/nowhere/d1", says="/nowhere/d1")
        self.refused("create", "tank", "raid1", disk, "/dev/null", says="/dev/null")
        os.mkdir(self.path("sub"))
        self.addCleanup(os.rmdir, self.path("sub"))
        result = self.run_poolctl("create", "tank", "raid1", disk, self.path("sub"))
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"sub", result.stderr)

    def test_create_size_touches_nothing_that_exists(self):
        old = self.image("old", 64)
        with open(old, "r+b") as file:
            file.write(b"precious" * 1000)
        self.refused("create", "tank", "raid1", self.path("new"), old, "--create-size", "1G", "--create-size", "0", code=2)
        self.poolctl("create", "tank", "raid1", self.path("new"), old, "--create-size", "128M", "-n")
        self.assertEqual(sorted(os.listdir(self.folder)), ["old"])
        self.assertEqual(os.path.getsize(old), 64 * MIB)

    def test_vanishing_in_the_middle(self):
        """Two of six disks are cut to nothing and removed while a volume is being written."""
        disks = self.create(mib=128)
        self.poolctl("volume", "create", "tank/data", "100M")
        data = os.urandom(60 * MIB)
        with self.popen("volume", "write", "tank/data", stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as process:
            process.stdin.write(data[:30 * MIB])
            process.stdin.flush()
            for disk in disks[:2]:
                os.truncate(disk, 0)
                os.remove(disk)
            process.stdin.write(data[30 * MIB:])
            _, error = process.communicate(timeout=TIME_LIMIT)
        self.assertEqual(process.returncode, 0, error)
        self.assertEqual(self.status()["state"], "degraded")
        self.reads_back(data)


class Images(PoolctlCase):
    def test_one_cut_short(self):
        disks = self.create(mib=128)
        data = self.volume()
        os.truncate(disks[2], 64 * MIB)
        before = self.checksums()
        self.assertEqual(self.status()["state"], "degraded")
        self.reads_back(data)
        self.assertEqual(self.checksums(), before)

    def test_all_cut_short(self):
        disks = self.create(mib=128)
        self.volume()
        for mib, codes in ((64, (2,)), (2, (2, 4))):
            for disk in disks:
                os.truncate(disk, mib * MIB)
            before = self.checksums()
            self.assertIn(self.run_poolctl("status", "tank", "--check").returncode, codes)
            self.refused("import", "tank", says="tank")
            self.refused("volume", "read", "tank/data", "out", says="tank")
            self.poolctl("list")
            self.assertEqual(self.checksums(), before)

    def test_zeroed(self):
        disks = self.create()
        data = self.volume()
        for disk in disks[:2]:
            self.image(os.path.basename(disk))
        before = self.checksums()
        self.poolctl("status", "tank", "--check", code=1)
        self.reads_back(data)
        self.assertEqual(self.checksums(), before)
        self.refused("online", "tank", "#1", says=[disks[1], "disk #1", "carries no label", "erased", "name its path"])
        self.image("d2")
        before = self.checksums()
        self.poolctl("status", "tank", "--check", code=2)
        self.refused("import", "tank")
        self.poolctl("list")
        self.assertEqual(self.checksums(), before)

    def swap_labels(self, one, other):
        parts = []
        for disk in (one, other):
            with open(disk, "rb") as file:
                head = file.read(MIB)
                file.seek(-MIB, os.SEEK_END)
                parts.append((head, file.read()))
        for disk, (head, tail) in zip((one, other), reversed(parts)):
            with open(disk, "r+b") as file:
                file.write(head)
                file.seek(-MIB, os.SEEK_END)
                file.write(tail)

    def test_swapped_labels(self):
        """The labels of two disks trade places, in turn of every two: neither may be taken for the other.

        Two data cells of a row that were exchanged leave the row's sum as it was: what looks like one wrong parity cell
        are two wrong data cells.
        """
        disks = self.create()
        data = self.volume()
        for one in range(len(disks)):
            self.swap_labels(disks[one], disks[(one + 1 + one % 3) % len(disks)])
            self.reads_back(data)
            self.poolctl("scrub", "tank", "--wait")
            self.poolctl("debug", "verify", "tank")

    def test_more_swapped_labels_than_parity(self):
        """Their cause is told, not only that everything is damaged, and nothing is written: put back, all is well."""
        for one, other in ((0, 1), (1, 3), (2, 3)):
            with self.subTest(one=one, other=other):
                disks = self.create(f"tank{one}{other}", "raid5", self.images(4, prefix=f"s{one}{other}"))
                data = self.volume(f"tank{one}{other}/data", size="8M", data=os.urandom(5 * MIB))
                self.swap_labels(disks[one], disks[other])
                before = self.checksums()
                for command in (("import", f"tank{one}{other}"), ("import", f"tank{one}{other}", "--force"),
                                ("volume", "read", f"tank{one}{other}/data", "out")):
                    self.refused(*command, says=[disks[one], disks[other], "labels of others"])
                self.assertEqual(self.checksums(), before)
                self.swap_labels(disks[one], disks[other])
                self.reads_back(data, f"tank{one}{other}/data")

    def test_swapped_labels_and_a_missing_disk(self):
        """Two wrong ones and one that isn't there are three, also where one is larger than the other's label says."""
        for larger in (False, True):
            with self.subTest(larger=larger):
                name = f"six{int(larger)}"
                images = self.images(6, prefix=name)
                if larger:
                    with open(images[1], "r+b") as file:
                        file.truncate(96 * MIB)
                disks = self.create(name, "raid6", images)
                data = self.volume(f"{name}/data", size="8M", data=os.urandom(5 * MIB))
                self.swap_labels(disks[1], disks[3])
                away = os.path.join(self.run_path, "elsewhere")
                os.makedirs(away, exist_ok=True)
                os.rename(disks[4], os.path.join(away, "disk"))
                before = self.checksums()
                for command in (("import", name), ("import", name, "--force")):
                    self.refused(*command, says=[disks[1], disks[3], "labels of others"])
                self.assertEqual(self.checksums(), before)
                self.swap_labels(disks[1], disks[3])
                self.reads_back(data, f"{name}/data")
                os.rename(os.path.join(away, "disk"), disks[4])
                self.reads_back(data, f"{name}/data")

    def test_swapped_labels_of_which_one_is_there(self):
        """The pool lacks one disk and has a wrong one, which is more than raid5 bears: nothing is written."""
        disks = self.create(profile="raid5", disks=self.images(4))
        data = self.volume(size="8M", data=os.urandom(5 * MIB))
        self.swap_labels(disks[0], disks[2])
        away = os.path.join(self.run_path, "disk")
        for gone, left in ((0, 2), (2, 0)):
            os.rename(disks[gone], away)
            before = self.checksums()
            for command in (("import", "tank"), ("import", "tank", "--force"), ("volume", "read", "tank/data", "out"),
                            ("volume", "create", "tank/v", "1M"), ("scrub", "tank", "--wait"), ("status", "tank", "--check")):
                says = [disks[left], f"disk #{left}, which isn't there", "first and last MiB"]
                if command[0] == "status":
                    shown = self.poolctl(*command, code=2)
                    self.assertTrue(all(part in shown for part in says), shown)
                else:
                    self.refused(*command, says=says)
            self.assertEqual(self.checksums(), before)
            os.rename(away, disks[gone])
        self.swap_labels(disks[0], disks[2])
        self.reads_back(data)

    def test_label_of_the_future(self):
        disks = self.create()
        self.volume()
        for disk in disks:
            subprocess.run([LABEL_EDIT, disk, "time_travel"], check=True, capture_output=True)
        self.refused("import", "tank", says="time_travel")
        self.refused("volume", "read", "tank/data", "out", says="time_travel")
        before = self.checksums()
        self.assertIn("time_travel", self.poolctl("status", "tank", "--check", code=2))
        self.assertIn("time_travel", self.poolctl("list"))
        self.assertEqual(self.checksums(), before)

    def test_garbage_everywhere(self):
        for index in range(6):
            with open(self.path(f"d{index}"), "wb") as file:
                file.write(os.urandom(64 * MIB))
        before = self.checksums()
        self.assertIn("No pools", self.poolctl("list"))
        self.assertEqual(self.checksums(), before)

    def test_renamed_and_moved(self):
        disks = self.create()
        data = self.volume()
        for index, disk in enumerate(disks):
            os.rename(disk, self.path(f"moved{5 - index}"))
        self.assertEqual(self.status()["state"], "healthy")
        self.reads_back(data)


class SecondImport(PoolctlCase):
    def test_second_import(self):
        """While one process has the pool imported, all others are told so, at once."""
        disks = self.create()
        data = self.volume()
        with self.popen("volume", "write", "tank/data", stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE) as owner:
            owner.stdin.write(data[:MIB])
            owner.stdin.flush()
            self.wait_until_in_use(True)
            started = time.monotonic()
            for arguments in (("import", "tank"), ("import", "tank", "--force"), ("volume", "create", "tank/v", "1M"),
                              ("volume", "read", "tank/data", "out"), ("scrub", "tank"), ("destroy", "tank", "--yes"),
                              ("export", "tank")):
                with self.subTest(arguments=arguments):
                    says = ["tank"] if arguments[0] in ("export", "destroy") else ["tank", f"process {owner.pid} (poolctl)"]
                    self.refused(*arguments, says=says)
            self.refused("create", "other", "raid6", *disks, "--force")
            self.poolctl("status", "tank", "--check", code=4)
            self.assertIn("in use", self.poolctl("list"))
            self.assertLess(time.monotonic() - started, TIME_LIMIT)
            owner.stdin.write(data[MIB:])
            owner.communicate(timeout=TIME_LIMIT)
        self.assertEqual(owner.returncode, 0)
        self.reads_back(data)


if __name__ == "__main__":
    unittest.main(verbosity=2)
