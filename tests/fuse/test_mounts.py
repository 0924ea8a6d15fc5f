#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""poolctl mount and unmount, mount(8) through its helper, and the systemd unit: one process serves all mounts of a pool.

Needs /dev/fuse and root; skipped without (exit code 77). The environment names the programs: POOLCTL, LIBPOOL_FUSE, and UNIT.
"""
import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest

MIB = 1 << 20
HELPER = "mount.fuse.libpool"


def write(path, data=b"x"):
    with open(path, "wb") as file:
        file.write(data)


class Mounts(unittest.TestCase):
    def setUp(self):
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix="libpool-mounts-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.addCleanup(self.clear)
        for name in ("bin", "disks", "a", "b", "c d"):
            os.mkdir(self.path(name))
        # As installed: side by side. mount(8) hands no PATH to its helpers.
        for program in (os.environ["POOLCTL"], os.environ["LIBPOOL_FUSE"]):
            shutil.copy(program, self.path("bin"))
        os.symlink("poolctl", self.path("bin", HELPER))
        self.environment = dict(os.environ, LIBPOOL_DISK_PATH=self.path("disks"), LIBPOOL_RUN_PATH=self.path("run"))
        disks = [self.path("disks", f"d{number}") for number in range(3)]
        self.poolctl("create", "t", "raid5", *disks, "--create-size", "128M")
        for name in ("home", "home/anna", "home/anna/deep", "other"):
            self.poolctl("dataset", "create", f"t/{name}")

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def run_it(self, *arguments, **options):
        return subprocess.run(arguments, env=self.environment, capture_output=True, text=True, timeout=120, check=False, **options)

    def poolctl(self, *arguments, code=0, says="", **options):
        run = self.run_it(self.path("bin", "poolctl"), "--no-devices", *arguments, **options)
        if code is not None:
            self.assertEqual(run.returncode, code, f"{arguments}: {run.stdout}{run.stderr}")
        self.assertIn(says, run.stderr if code else run.stdout)
        if code:
            self.assertEqual(len(run.stderr.splitlines()), 1, run.stderr)
        return run.stdout

    def document(self, *arguments):
        return json.loads(self.poolctl(*arguments, "--json"))

    def mounted(self):
        """{directory: (source, options)}"""
        with open("/proc/self/mounts", encoding="utf-8") as file:
            rows = [line.split() for line in file]
        return {row[1].replace("\\040", " ")[len(self.folder) + 1:]: (row[0], set(row[3].split(","))) for row in rows
                if row[2] == "fuse.libpool" and row[1].startswith(self.folder)}

    def sources(self):
        return {directory: source for directory, (source, _) in self.mounted().items()}

    def servers(self):
        folder = self.path("run")
        return [name for name in os.listdir(folder) if name.endswith(".sock")] if os.path.isdir(folder) else []

    def clear(self):
        self.run_it(self.path("bin", "poolctl"), "unmount", self.folder)
        self.run_it(self.path("bin", "poolctl"), "export", "t", "--force")
        for directory in self.mounted():
            subprocess.run(["umount", "-l", self.path(directory)], check=False)

    def ended(self):
        """The pool was exported: at once after poolctl unmount, soon after umount."""
        limit = time.monotonic() + 60
        while self.servers():
            self.assertLess(time.monotonic(), limit)
            time.sleep(0.05)
        self.poolctl("debug", "verify", "t", says=" 0 violations")

    def test_trees(self):
        first = self.document("mount", "t/home", self.path("a"))
        self.assertEqual((first["dataset"], first["directory"], first["mounts"]), ("home", self.path("a"), 3))
        self.assertEqual(self.sources(), {"a": "t/home", "a/anna": "t/home/anna", "a/anna/deep": "t/home/anna/deep"})
        self.assertEqual(len({os.stat(self.path(directory)).st_dev for directory in self.mounted()}), 3)
        second = json.loads(self.poolctl("mount", "t/other", "c d/../c d/", "--json", cwd=self.folder))
        self.assertEqual((second["pid"], second["directory"]), (first["pid"], self.path("c d")))
        write(self.path("a/anna/deep/file"))
        write(self.path("c d/file"))
        # Twice, and over what is there.
        self.poolctl("mount", "t/home", self.path("b"), code=1, says="in use")
        self.poolctl("mount", "t", self.path("b"), code=1, says="in use")
        self.assertEqual(len(self.mounted()), 4)
        self.poolctl("mount", "t/home", self.path("a"), code=1, says="already")
        self.poolctl("mount", "t/other", self.path("a/anna"), code=1, says="already")
        self.poolctl("unmount", self.path("c d"))
        self.poolctl("mount", "t/other", self.path("bin"), code=1, says="not empty")
        self.poolctl("mount", "t/other", self.path("bin/poolctl"), code=1, says="no directory")
        self.poolctl("mount", "t/other", self.path("nowhere"), code=1, says="No such file")
        self.poolctl("mount", "t/none", self.path("b"), code=1, says="none")
        self.poolctl("mount", "t/other", self.path("b"), "-o", "noexec,bogus", code=1, says=f"mounting t/other at {self.path('b')}: there is no mount option 'bogus'")
        self.poolctl("mount", "t/other", "", code=1, says="no folder is named")
        self.poolctl("mount", "t/other", self.path("b"), "-o", "noatime," * 40 + "nosuid", code=1, says="too many mount options")
        self.poolctl("mount", "t/other", code=2, says="FOLDER")
        self.assertEqual(len(self.mounted()), 3)
        self.poolctl("mount", "t/other", self.path("disks"), "-o", "nonempty,noexec,x-systemd.automount,_netdev,noatime")
        self.assertEqual(os.listdir(self.path("disks")), ["file"])
        self.assertLessEqual({"noexec", "noatime"}, self.mounted()["disks"][1])
        self.poolctl("unmount", "t/other")
        # Busy: nothing of it is torn away.
        with open(self.path("a/anna/deep/file"), "rb"):
            self.poolctl("unmount", self.path("a"), code=1, says="is in use")
            self.poolctl("unmount", "anna/deep/", cwd=self.path("a"), code=1, says="is in use")
        self.assertEqual(len(self.mounted()), 3)
        self.poolctl("unmount", self.path("b"), code=1, says="nothing of a pool")
        self.poolctl("unmount", "t/home/anna")
        self.assertEqual(self.sources(), {"a": "t/home"})
        self.poolctl("unmount", "t")
        self.assertEqual((self.mounted(), self.servers()), ({}, []))
        self.ended()
        # All of the pool, beneath one directory; and by umount(8).
        self.poolctl("mount", "t", self.path("b"))
        self.assertEqual(set(self.sources()), {"b/home", "b/home/anna", "b/home/anna/deep", "b/other"})
        self.assertEqual(os.listdir(self.path("b/home/anna/deep")), ["file"])
        for name in ("home/anna/deep", "home/anna", "home", "other"):
            subprocess.run(["umount", self.path("b", name)], check=True)
        self.ended()

    def test_without_children(self):
        self.poolctl("mount", "t/home", self.path("a"), "-o", "nochildren,noatime")
        self.assertEqual(self.sources(), {"a": "t/home"})
        self.assertEqual(os.listdir(self.path("a")), [])
        # Each elsewhere, one with what lies in it.
        self.poolctl("mount", "t/home/anna", self.path("b"))
        self.assertEqual(self.sources(), {"a": "t/home", "b": "t/home/anna", "b/deep": "t/home/anna/deep"})
        # As mount(8) hands back what is in fstab.
        self.poolctl("mount", "t/home", self.path("a"), "-o", "remount,nochildren,ro")
        self.assertIn("ro", self.mounted()["a"][1])
        for what, more, says in (("t", (), "name a file system"), ("t/other", ("--volumes",), "not for volumes")):
            self.poolctl("mount", what, self.path("c d"), "-o", "nochildren", *more, code=1, says=says)
        self.assertEqual(len(self.mounted()), 3)
        self.poolctl("unmount", "t")
        self.ended()

    def test_children_of_one_spelling(self):
        """What would be mounted in one place can't be made; all that was made can be mounted."""
        self.poolctl("dataset", "create", "t/names", "--casesensitivity", "insensitive")
        self.poolctl("dataset", "create", "t/names/Foo")
        self.poolctl("dataset", "create", "t/names/foo", code=1, says="names/Foo is there")
        self.poolctl("dataset", "create", "t/names/foo", "--dry-run", code=1, says="names/Foo is there")
        self.poolctl("dataset", "create", "t/names/\u0378", code=1, says="has no name like that")
        self.poolctl("dataset", "create", "t/names/Foo/foo")
        self.poolctl("dataset", "create", "t/foo")
        self.poolctl("dataset", "rename", "t/foo", "t/names/FOO", code=1, says="names/Foo is there")
        self.poolctl("dataset", "rename", "t/names/Foo", "t/names/foo")
        self.poolctl("dataset", "create", "t/Home")
        self.poolctl("volume", "create", "t/names/FOO", "8M")
        self.poolctl("mount", "t", self.path("a"))
        self.assertLessEqual({"a/names/foo": "t/names/foo", "a/Home": "t/Home", "a/home": "t/home"}.items(), self.sources().items())
        self.poolctl("unmount", "t")
        self.ended()

    def test_spellings(self):
        """The kernel doesn't ask for a folder again by the name it knows it by, and never takes it for one it isn't."""
        self.poolctl("dataset", "create", "t/names", "--casesensitivity", "insensitive")
        self.poolctl("mount", "t/names", self.path("a"))
        os.mkdir(self.path("a/Folder"))
        os.mkdir(self.path("a/Folder/In"))
        write(self.path("a/file"))
        opens = "import os, sys; os.open(sys.argv[1], os.O_PATH)"
        os.close(os.open(self.path("a/Folder/In"), os.O_PATH))
        pid = self.document("mount", "t/other", self.path("b"))["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            asked = subprocess.run([sys.executable, "-c", opens, self.path("a/Folder/In")], timeout=60, check=False)
        finally:
            os.kill(pid, signal.SIGCONT)
        self.assertEqual(asked.returncode, 0)
        # Other spellings, in any order: what was known by the first is known no more.
        number = os.stat(self.path("a/Folder/In")).st_ino
        self.assertEqual(os.stat(self.path("a/FOLDER/in")).st_ino, number)
        os.rename(self.path("a/folder/IN"), self.path("a/other"))
        for name in ("a/Folder/In", "a/FOLDER/in", "a/folder/IN"):
            self.assertFalse(os.path.exists(self.path(name)), name)
        self.assertEqual(os.stat(self.path("a/OTHER")).st_ino, number)
        os.rmdir(self.path("a/Folder"))
        self.assertFalse(os.path.exists(self.path("a/FOLDER")))
        write(self.path("a/FOLDER"))
        self.assertTrue(os.path.isfile(self.path("a/Folder")))
        os.rename(self.path("a/Other"), self.path("a/third"))
        os.rename(self.path("a/FILE"), self.path("a/other"))
        self.assertTrue(os.path.isfile(self.path("a/OTHER")) and os.path.isdir(self.path("a/THIRD")))
        self.poolctl("unmount", "t")
        self.ended()

    def test_point_of_many_spellings(self):
        """The kernel shows a mount point by the spelling that was last looked for: each of them leads to what is mounted there."""
        self.poolctl("dataset", "create", "t/names", "--casesensitivity", "insensitive")
        self.poolctl("dataset", "create", "t/names/docs")
        self.poolctl("dataset", "create", "t/names/docs/in")
        self.poolctl("mount", "t/names", self.path("a"), "-o", "nochildren")
        os.mkdir(self.path("a/Docs"))
        self.poolctl("unmount", "t")
        self.poolctl("mount", "t/names", self.path("a"))
        os.mkdir(self.path("a/docs/folder"))
        for spelling in ("Docs", "DOCS", "docs"):
            os.stat(self.path("a", spelling, "in"))
            self.assertEqual(self.sources(), {"a": "t/names", f"a/{spelling}": "t/names/docs", f"a/{spelling}/in": "t/names/docs/in"})
        os.stat(self.path("a/dOCS"))
        self.poolctl("mount", "t/names/docs", self.path("a/Docs"), "-o", "remount,ro")
        os.stat(self.path("a/DOCS"))
        self.assertIn("ro", self.mounted()["a/DOCS"][1])
        # Folders within aren't what is mounted.
        self.poolctl("mount", "t/names/docs", self.path("a/docs/folder"), "-o", "remount,rw", code=1, says="no file system")
        self.poolctl("unmount", self.path("a/docs/folder"), code=1, says="nothing of a pool")
        os.stat(self.path("a/Docs"))
        self.poolctl("unmount", self.path("a/DoCs"))
        self.assertEqual(self.sources(), {"a": "t/names"})
        self.poolctl("mount", "t/names/docs", self.path("a/DOCs"))
        os.stat(self.path("a/Docs"))
        with open(self.path("a/docs/in/file"), "wb"):
            self.poolctl("unmount", "t/names/docs", code=1, says="is in use")
        os.stat(self.path("a/DOCS"))
        self.poolctl("unmount", "t")
        self.ended()

    def test_renamed_above(self):
        os.makedirs(self.path("b/old/point"))
        self.poolctl("mount", "t/other", self.path("b/old/point"))
        os.rename(self.path("b/old"), self.path("b/new"))
        self.poolctl("mount", "t/other", self.path("b/new/point"), "-o", "remount,ro")
        self.assertIn("ro", self.mounted()["b/new/point"][1])
        self.poolctl("unmount", self.path("b/new/point"))
        self.ended()

    def test_replaced_point(self):
        """The owner of a file system has put something else where a file system within it is mounted."""
        self.poolctl("mount", "t/home", self.path("a"))
        with open("/proc/self/mountinfo", encoding="utf-8") as file:
            points = {line.split()[4] for line in file if " fuse.libpool t/home" in line}
        self.assertEqual(points, {self.path("a"), self.path("a/anna"), self.path("a/anna/deep")})
        self.poolctl("unmount", "t")
        point, target = self.path("a/in"), self.path("b")
        puts = (lambda: os.symlink(target, point), lambda: os.symlink("../b", point), lambda: os.symlink("nowhere", point), lambda: write(point))
        for number, put in enumerate(puts):
            self.poolctl("dataset", "create", f"t/owned{number}")
            self.poolctl("dataset", "create", f"t/owned{number}/in")
            self.poolctl("mount", f"t/owned{number}", self.path("a"))
            self.poolctl("unmount", point)
            os.rmdir(point)
            put()
            self.poolctl("unmount", "t")
            self.poolctl("mount", "t/other", self.path("disks"), "-o", "nonempty")
            self.poolctl("mount", f"t/owned{number}", self.path("a"), code=1, says=f"{point} is a symbolic link or no directory")
            self.poolctl("mount", f"t/owned{number}", self.path("a"), "-o", "nonempty", code=1, says="symbolic link")
            self.assertEqual((self.sources(), os.listdir(target)), ({"disks": "t/other"}, []))
            self.poolctl("unmount", "t")
        self.poolctl("mount", "t", self.path("c d"), code=1, says="c d/owned0/in is a symbolic link or no directory")
        self.assertEqual((self.mounted(), os.listdir(target)), ({}, []))
        # What the administrator asks for is followed.
        os.symlink("b", self.path("link"))
        self.poolctl("mount", "t/home", self.path("link"))
        self.assertEqual(set(self.sources()), {"b", "b/anna", "b/anna/deep"})
        self.poolctl("unmount", target)
        self.ended()

    def test_read_only(self):
        self.poolctl("mount", "t/other", self.path("a"))
        write(self.path("a/file"))
        os.utime(self.path("a/file"), ns=(1, 10**9))
        self.poolctl("mount", "t/other", self.path("a"), "-o", "remount,ro,nosuid")
        self.assertLessEqual({"ro", "nosuid"}, self.mounted()["a"][1])
        with self.assertRaises(OSError):
            write(self.path("a/other"))
        with open(self.path("a/file"), "rb") as file:
            file.read()
        os.listdir(self.path("a"))
        self.poolctl("mount", "t/other", self.path("a"), "-o", "remount,rw")
        self.assertEqual(os.stat(self.path("a/file")).st_atime_ns, 1)
        with open(self.path("a/file"), "ab"):
            self.poolctl("mount", "t/other", self.path("a"), "-o", "remount,ro", code=1, says="open for writing")
            write(self.path("a/other"))
        self.poolctl("mount", "t/other", self.path("b"), "-o", "remount,ro", code=1, says="no file system of pool t is mounted")
        # What isn't named stays.
        for options, there in (("nosuid,noexec,noatime", {"rw", "nosuid", "noexec", "noatime"}), ("ro", {"ro", "nosuid", "noexec", "noatime"}),
                               ("exec,atime", {"ro", "nosuid"}), ("rw", {"rw", "nosuid"}), ("suid,nodev", {"rw", "nodev"}), ("dev", {"rw"})):
            self.poolctl("mount", "t/other", self.path("a"), "-o", f"remount,{options}")
            self.assertEqual(self.mounted()["a"][1] & {"ro", "rw", "nosuid", "nodev", "noexec", "noatime"}, there)
        self.poolctl("unmount", self.path("a"))
        self.poolctl("mount", "t/home", self.path("a"), "-o", "ro", code=1, says="no directory can be made")
        self.assertEqual(self.mounted(), {})
        self.poolctl("mount", "t/other", self.path("a"), "-o", "ro")
        with self.assertRaises(OSError):
            os.unlink(self.path("a/file"))
        self.poolctl("unmount", self.path("a"))
        self.ended()

    def test_server_refuses(self):
        remount = "poolctl mount -o remount"
        for arguments, says in ((("-o", "remount,ro", "t/other", self.path("a")), remount), (("-o", "remount", "t"), remount), (("t/other", ""), "no folder is named")):
            run = self.run_it(self.path("bin/libpool-fuse"), "-n", *arguments)
            self.assertNotEqual(run.returncode, 0, arguments)
            self.assertIn(says, run.stderr)
            self.assertEqual(run.stderr.count("\n"), 1)
        self.assertEqual(self.mounted(), {})

    def test_pool_imported_read_only(self):
        run = self.run_it(self.path("bin/libpool-fuse"), "-n", "-o", "ro", "t/other", self.path("a"))
        self.assertEqual((run.returncode, run.stderr), (0, ""))
        self.poolctl("mount", "t/other", self.path("a"), "-o", "remount,rw", code=1, says="imported read-only")
        self.poolctl("mount", "t/other", self.path("a"), "-o", "remount,noexec")
        self.assertLessEqual({"ro", "noexec"}, self.mounted()["a"][1])
        self.poolctl("unmount", "t")
        self.ended()

    def test_made_without_privileges(self):
        """The root of a file system belongs to who made it, and can be written to by him alone."""
        os.chmod(self.folder, 0o755)
        os.mkdir(self.path("user"))
        os.chown(self.path("user"), 2000, 2001)
        self.environment.update(LIBPOOL_DISK_PATH=self.path("user"), LIBPOOL_RUN_PATH=self.path("user/run"))
        self.poolctl("create", "u", "raid1", self.path("user/d0"), self.path("user/d1"), "--create-size", "64M", user=2000, group=2001, extra_groups=[])
        self.poolctl("dataset", "create", "u/mine", user=2000, group=2001, extra_groups=[])
        self.poolctl("mount", "u/mine", self.path("a"))
        status = os.stat(self.path("a"))
        self.assertEqual((status.st_uid, status.st_gid, status.st_mode & 0o7777), (2000, 2001, 0o755))
        self.poolctl("unmount", "u")

    def test_refused_beforehand(self):
        """What is refused on a pool that nobody has imported leaves its disks as they are."""
        def contents():
            for number in range(3):
                with open(self.path("disks", f"d{number}"), "rb") as file:
                    yield file.read()
        self.poolctl("volume", "create", "t/disk", "8M")
        os.makedirs(self.path("b/other/inside"))
        before = list(contents())
        for what, folder, options, says in (
                ("t/none", "a", (), "none"), ("t/disk", "a", (), "disk"), ("t/other", "bin", (), "not empty"), ("t/other", "bin/poolctl", (), "no directory"),
                ("t/other", "nowhere", (), "No such file"), ("t", "b", (), "not empty"), ("t", "a", ("-o", "nochildren"), "by its name alone"),
                ("t/none", "a", ("--volumes",), "none"), ("t/other", "a", ("--volumes", "-o", "nochildren"), "not for volumes"),
                ("t/other", "a", ("-o", "bogus"), f"mounting t/other at {self.path('a')}: there is no mount option 'bogus'"),
                ("t/other", "a", ("-o", "remount,ro"), "no file system of pool t is mounted")):
            with self.subTest(what=what, folder=folder, options=options):
                self.poolctl("mount", what, self.path(folder), *options, code=1, says=says)
                self.assertEqual((list(contents()) == before, self.sources(), self.servers()), (True, {}, []))
        # By hand, with nobody before it who asks.
        for what, folder, options, says in (("t/none", "a", (), "none"), ("t/other", "bin", (), "not empty"), ("t/other", "nowhere", ("-f",), "No such file")):
            with self.subTest(by_hand=what, folder=folder):
                run = self.run_it(self.path("bin/libpool-fuse"), "-n", what, self.path(folder), *options)
                self.assertEqual((run.returncode, len(run.stderr.splitlines())), (1, 1), run.stderr)
                self.assertIn(says, run.stderr)
                self.assertEqual((list(contents()) == before, self.sources(), self.servers()), (True, {}, []))
        self.assertEqual(self.run_it(self.path("bin/libpool-fuse"), "-n", "--dry-run", "t/other", self.path("a")).returncode, 0)
        self.assertEqual((list(contents()) == before, self.sources()), (True, {}))

    def test_other_owners(self):
        """A pool that is kept imported is handed over and stays imported; not while it is used."""
        self.poolctl("import", "t")
        self.poolctl("mount", "t/other", self.path("a"))
        self.poolctl("unmount", self.path("a"))
        self.assertEqual(len(self.servers()), 1)
        self.poolctl("mount", "t/other", self.path("a"))
        self.poolctl("export", "t", code=1, says="libpool-fuse pid")
        self.poolctl("export", "t", "--force")
        self.assertEqual(self.mounted(), {})
        self.ended()

    def test_handed_over(self):
        """As it was imported; and it stays so where libpool-fuse can't have it."""
        self.poolctl("import", "t")
        os.rename(self.path("bin/libpool-fuse"), self.path("bin/elsewhere"))
        write(self.path("bin/libpool-fuse"), b"#!/bin/sh\necho libpool-fuse: not today >&2; exit 1\n")
        os.chmod(self.path("bin/libpool-fuse"), 0o755)
        self.poolctl("mount", "t/other", self.path("a"), code=1, says="not today")
        self.assertEqual(len(self.servers()), 1)
        os.rename(self.path("bin/elsewhere"), self.path("bin/libpool-fuse"))
        self.poolctl("export", "t")
        self.poolctl("import", "t", "--read-only")
        self.poolctl("mount", "t/other", self.path("a"))
        self.assertIn("ro", self.mounted()["a"][1])
        self.poolctl("unmount", "t")
        self.assertTrue(self.document("status", "t")["pools"][0]["read_only"])
        self.poolctl("export", "t")
        self.ended()

    def test_last_and_next(self):
        """The last mount goes while another is asked for."""
        for _ in range(20):
            self.poolctl("mount", "t/home/anna/deep", self.path("a"))
            first = subprocess.Popen([self.path("bin/poolctl"), "--no-devices", "unmount", self.path("a")], env=self.environment, stdout=subprocess.DEVNULL)
            begin = time.monotonic()
            self.poolctl("mount", "t/other", self.path("b"))
            self.assertEqual((first.wait(60), self.sources()), (0, {"b": "t/other"}))
            self.assertLess(time.monotonic() - begin, 30)
            self.poolctl("unmount", self.path("b"))
        self.ended()

    def test_exported_at_that_moment(self):
        """Who has the pool answers, and when it is asked again has begun to export it."""
        os.makedirs(self.path("run"), mode=0o700, exist_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(self.path("run/t.sock"))
        listener.listen()
        ended = threading.Event()

        def answer():
            for result in ({"result": {"pool": "t", "id": "7", "pid": 7, "state": "healthy"}},
                           {"error": {"code": -32000, "message": "exported", "data": {"code": errno.ENODEV}}}):
                connection = listener.accept()[0]
                request = json.loads(connection.makefile().readline())
                if "error" in result:
                    os.unlink(self.path("run/t.sock"))
                    listener.close()
                connection.sendall((json.dumps({"jsonrpc": "2.0", "id": request["id"], **result}) + "\n").encode())
                if "error" in result:
                    time.sleep(1)
                    ended.set()
                connection.close()

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        self.poolctl("mount", "t/other", self.path("a"))
        self.assertTrue(ended.is_set())
        thread.join()
        self.assertEqual(self.sources(), {"a": "t/other"})
        self.poolctl("unmount", self.path("a"))
        self.ended()

    @unittest.skipUnless(shutil.which("mkfs.btrfs"), "mkfs.btrfs is needed")
    def test_subvolume(self):
        """A device of its own, and no mount point."""
        with open(self.path("image"), "wb") as file:
            file.truncate(256 * MIB)
        subprocess.run(["mkfs.btrfs", "-q", self.path("image")], check=True)
        if subprocess.run(["mount", "-o", "loop", self.path("image"), self.path("b")], check=False, stderr=subprocess.DEVNULL).returncode:
            self.skipTest("no btrfs can be mounted")
        self.addCleanup(subprocess.run, ["umount", self.path("b")], check=False)
        subprocess.run(["btrfs", "-q", "subvolume", "create", self.path("b/in")], check=True)
        self.poolctl("mount", "t/other", self.path("b/in"))
        self.poolctl("mount", "t/home", self.path("b/in"), code=1, says="already")
        self.poolctl("unmount", self.path("b/in"))
        self.ended()

    def test_served_as_soon_as_seen(self):
        """Between the first mount and the last, which waits for a directory that doesn't answer: clients are answered, and may unmount."""
        os.mkdir(self.path("u"))
        self.poolctl("create", "u", "single", self.path("disks", "u0"), "--create-size", "128M")
        self.poolctl("dataset", "create", "u/one")
        self.poolctl("mount", "u/one", self.path("u"))
        os.mkdir(self.path("u", "point"))
        self.poolctl("unmount", self.path("u"))
        pid = self.document("mount", "u/one", self.path("u"))["pid"]
        for foreground in (True, False):
            os.kill(pid, signal.SIGSTOP)
            try:
                starter = subprocess.Popen([self.path("bin", "libpool-fuse"), *(["-f"] if foreground else []), "-n", "t/other", self.path("a"),
                                            "t/home/anna/deep", self.path("u", "point")], env=self.environment)
                limit = time.monotonic() + 60
                while "a" not in self.sources():
                    self.assertLess(time.monotonic(), limit)
                    time.sleep(0.001)
                self.poolctl("status", "t", says="libpool-fuse")
                # It isn't the last: another comes.
                self.poolctl("unmount", self.path("a"))
                self.assertEqual(self.sources(), {"u": "u/one"})
            finally:
                os.kill(pid, signal.SIGCONT)
            limit = time.monotonic() + 60
            while self.sources().get("u/point") != "t/home/anna/deep":
                self.assertLess(time.monotonic(), limit)
                time.sleep(0.02)
            self.poolctl("unmount", self.path("u", "point"))
            self.assertEqual(starter.wait(timeout=60), 0)
            # What the kernel knows of the directory it doesn't ask for again.
            self.poolctl("unmount", self.path("u"))
            pid = self.document("mount", "u/one", self.path("u"))["pid"]
        self.poolctl("unmount", self.path("u"))
        self.ended()

    def test_same_name(self):
        """A pool of the same name, whose process keeps its sockets elsewhere, is somebody else's."""
        mine = self.environment
        for name in ("disks2", "run2"):
            os.mkdir(self.path(name))
        self.environment = theirs = dict(mine, LIBPOOL_DISK_PATH=self.path("disks2"), LIBPOOL_RUN_PATH=self.path("run2"))
        self.poolctl("create", "t", "single", self.path("disks2", "d"), "--create-size", "64M")
        self.poolctl("dataset", "create", "t/home")
        self.poolctl("mount", "t/home", self.path("a"))
        write(self.path("a", "file"))
        self.environment = mine
        self.poolctl("unmount", "t", code=1, says="nothing of a pool is mounted at t")
        self.poolctl("unmount", self.path("a"), code=1, says="LIBPOOL_RUN_PATH")
        self.poolctl("mount", "t/home", self.path("b"))
        self.poolctl("unmount", "t")
        self.assertEqual(list(self.sources()), ["a"])
        self.assertTrue(os.path.exists(self.path("a", "file")))
        self.environment = theirs
        self.poolctl("unmount", "t/home")
        self.environment = mine
        self.assertEqual(self.sources(), {})

    def test_killed(self):
        pid = self.document("mount", "t/home", self.path("a"))["pid"]
        write(self.path("a/anna/file"))
        os.kill(pid, signal.SIGKILL)
        self.poolctl("wait", "t", code=None)     # its disks are free when another process can have them
        self.poolctl("mount", "t/home", self.path("a"), code=1)
        self.poolctl("unmount", self.path("a/anna"), code=None)     # only if the kernel still knows the way
        self.poolctl("unmount", self.path("a"))
        self.assertEqual(self.mounted(), {})
        self.poolctl("mount", "t/home", self.path("a"))
        self.poolctl("unmount", self.path("a"))
        self.ended()

    def test_killed_and_cleared_by_many(self):
        """Who comes while another clears it away finds it cleared away."""
        for what in ("t", self.path("a")):
            pid = self.document("mount", "t/home", self.path("a"))["pid"]
            os.kill(pid, signal.SIGKILL)
            self.poolctl("wait", "t", code=None)
            runs = [subprocess.Popen([self.path("bin", "poolctl"), "--no-devices", "unmount", what], env=self.environment, text=True,
                                     stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for _ in range(6)]
            for run in runs:
                error = run.communicate(timeout=120)[1]
                self.assertTrue(run.returncode == 0 or "nothing of a pool is mounted" in error, error)
            self.assertEqual(self.mounted(), {})

    def test_in_use_at_the_end(self):
        """A signal ends it although somebody has a file open; what was written is durable, and only this gets errors."""
        pid = self.document("mount", "t/home", self.path("a"))["pid"]
        kept = os.open(self.path("a/anna/file"), os.O_CREAT | os.O_WRONLY)
        os.write(kept, b"x" * MIB)
        os.kill(pid, signal.SIGTERM)
        self.ended()
        self.assertEqual(self.mounted(), {})
        for call in (os.fstat, os.close):
            with self.assertRaises(OSError):
                call(kept)
        # Detached already, and another is mounted in its place.
        pid = self.document("mount", "t/home/anna", self.path("a"))["pid"]
        self.assertEqual(os.stat(self.path("a/file")).st_size, MIB)
        kept = os.open(self.path("a/file"), os.O_RDONLY)
        subprocess.run(["umount", "-l", self.path("a")], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "none", self.path("a")], check=True)
        self.addCleanup(subprocess.run, ["umount", self.path("a")], check=False)
        os.kill(pid, signal.SIGTERM)
        self.ended()
        os.close(kept)
        self.assertTrue(os.path.ismount(self.path("a")))

    def test_seen_elsewhere(self):
        """Another mount namespace has a copy of the mount; and a folder above it gets another name."""
        self.poolctl("mount", "t/home/anna/deep", self.path("c d"))
        other = subprocess.Popen(["unshare", "-m", "--propagation", "private", "sh", "-c", "echo; read x"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.addCleanup(other.communicate)
        other.stdout.read(1)
        self.poolctl("unmount", self.path("c d"))
        self.ended()
        os.mkdir(self.path("b/in"))
        pid = self.document("mount", "t/home/anna/deep", self.path("b/in"))["pid"]
        os.rename(self.path("b"), self.path("new name"))
        os.kill(pid, signal.SIGTERM)
        self.ended()
        self.assertEqual(self.mounted(), {})

    def test_closed_descriptors(self):
        run = self.run_it("sh", "-c", 'exec "$0" -n t/other "$1" <&- >&- 2>&-', self.path("bin/libpool-fuse"), self.path("a"))
        self.assertEqual(run.returncode, 0)
        write(self.path("a/file"))
        self.poolctl("unmount", self.path("a"))
        self.ended()

    def test_from_the_build(self):
        """Not installed: poolctl finds libpool-fuse in the folders of a build, too."""
        run = self.run_it(os.environ["POOLCTL"], "--no-devices", "mount", "t/other", self.path("a"))
        self.assertEqual((run.returncode, run.stderr, self.sources()), (0, "", {"a": "t/other"}))
        self.poolctl("unmount", self.path("a"))
        self.ended()

    def test_mount_program(self):
        """In a mount namespace of its own, in which the helper is installed."""
        script = """
            set -e
            cd "$0"
            mkdir up && mount -t tmpfs none up && mkdir up/u up/w
            mount -t overlay o -o lowerdir=$(realpath /sbin),upperdir=up/u,workdir=up/w "$(realpath /sbin)" || exit 77
            ln -s "$0/bin/poolctl" "$(realpath /sbin)/mount.fuse.libpool"
            set -x
            mount -t fuse.libpool t/home a -o noexec,nofail,x-systemd.automount
            findmnt -n -o SOURCE,FSTYPE,OPTIONS a | grep 't/home *fuse.libpool.*noexec'
            mount -o remount,ro a
            ! touch a/file
            mount -o remount,rw a
            touch a/file
            findmnt -n -o OPTIONS a | grep noexec
            mount -o remount,exec,nosuid a
            findmnt -n -o OPTIONS a | grep 'rw,nosuid,relatime'
            mount -o remount,suid,noatime a
            findmnt -n -o OPTIONS a | grep 'rw,noatime,'
            bin/mount.fuse.libpool t/other b -Z 2>&1 | grep -c '' | grep -x 1
            ! mount -t fuse.libpool t/home a
            ! mount -t fuse.libpool t/none b
            ! mount -t fuse.libpool t/other b -o bogus
            ! bin/mount.fuse.libpool t/other
            bin/mount.fuse.libpool t/other b -f
            ! mountpoint b
            printf '%s\\n' "t/other $0/c\\\\040d fuse.libpool ro,noauto,_netdev 0 0" >fstab
            mount -T fstab "$0/c d"
            ! touch "c d/file"
            umount "c d"
            umount -R a
        """
        run = self.run_it("unshare", "-m", "bash", "-c", script, self.folder)
        if run.returncode == 77:
            self.skipTest("no overlay can be mounted")
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        self.ended()

    def test_unit(self):
        unit = self.path("libpool-fuse@.service")
        with open(os.environ["UNIT"], encoding="utf-8") as file:
            text = file.read()
        for name in ("libpool-fuse", "poolctl"):
            self.assertRegex(text, rf"=-?/\S*/{name} ")
        with open(unit, "w", encoding="utf-8") as file:
            file.write("\n".join(" ".join(word if "/sbin/" not in word else word.split("/")[0] + self.path("bin", word.rsplit("/", 1)[1])
                                          for word in line.split(" ")) for line in text.splitlines()))
        if shutil.which("systemd-analyze"):
            run = self.run_it("systemd-analyze", "verify", "--man=no", unit)
            self.assertEqual((run.returncode, run.stderr), (0, ""))
        # Its command, as systemd runs it.
        (line,) = [line for line in text.splitlines() if line.startswith("ExecStart=")]
        arguments = line.split("=", 1)[1].replace("%I", "t").split()
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.bind(self.path("notify"))
        manager.settimeout(60)
        process = subprocess.Popen([self.path("bin/libpool-fuse"), *arguments[1:-1], "-n", arguments[-1]],
                                   env={**self.environment, "NOTIFY_SOCKET": self.path("notify"), "WATCHDOG_USEC": "300000"})
        try:
            self.assertEqual(manager.recv(4096), b"READY=1")
            # On a busy machine some come late; one in time shows that all are meant to.
            gaps, before = [], time.monotonic()
            while len(gaps) < 6 or (min(gaps) > 0.25 and len(gaps) < 60):
                self.assertEqual(manager.recv(4096), b"WATCHDOG=1")
                gaps.append(time.monotonic() - before)
                before = time.monotonic()
            self.assertLess(min(gaps), 0.25)
            self.poolctl("mount", "t/other", self.path("a"))
            write(self.path("a/file"))
            self.poolctl("unmount", self.path("a"))
            self.assertEqual(manager.recv(4096), b"WATCHDOG=1")
        finally:
            process.terminate()
        self.assertEqual(process.wait(60), 0)
        while (message := manager.recv(4096)) == b"WATCHDOG=1":
            pass
        self.assertEqual(message, b"STOPPING=1")
        self.ended()


if not os.path.exists("/dev/fuse") or os.geteuid() != 0:
    print("skipped: /dev/fuse and root are needed")
    sys.exit(77)
unittest.main()
