#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""What changes without the kernel's doing, while it has a file system mounted: it knows at once.

Needs /dev/fuse and root; skipped without (exit code 77). The environment names the programs: POOLCTL and LIBPOOL_FUSE.
"""
import errno
import os
import subprocess
import sys
import time
import unittest

from mounted import MIB, Pool, fails, project_of, set_project, sync, write

NOBODY = 1001


def may_read(path, user=NOBODY):
    """Whether a user without groups can open it: the kernel decides, by what it knows of the file. It isn't asked for anything else, as by stat."""
    child = os.fork()
    if child == 0:
        code = 2
        try:
            os.setgroups([])
            os.setresgid(user, user, user)
            os.setresuid(user, user, user)
            os.close(os.open(path, os.O_RDONLY))
            code = 0
        except PermissionError:
            code = 1
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code == 2:
        raise AssertionError(f"{path} is neither readable nor forbidden")
    return code == 0


def readable(paths, user=NOBODY, pause=0.0):
    """A child that opens them one after the other as that user; the other end of a pipe tells how many it could."""
    end, other = os.pipe()
    child = os.fork()
    if child == 0:
        count = 0
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        for path in paths:
            time.sleep(pause)
            try:
                os.close(os.open(path, os.O_RDONLY))
                count += 1
            except PermissionError:
                pass
        os.write(other, str(count).encode())
        os._exit(0)
    os.close(other)
    return child, end


def wait_for(child, end):
    os.waitpid(child, 0)
    with os.fdopen(end) as file:
        return int(file.read())


class CachesTest(unittest.TestCase):
    def setUp(self):
        self.pool = Pool("raid1", 2, 128)
        self.addCleanup(self.pool.end)
        os.chmod(self.pool.folder, 0o755)

    def path(self, *names):
        return os.path.join(self.pool.point, *names)

    def test_reads_ahead(self):
        """The kernel asks for what comes next in good time, also once the mount has told it what it can do."""
        self.pool.mount()
        write(self.path("file"), b"a")
        device = os.stat(self.pool.point).st_dev
        ahead = f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb"
        if not os.access(ahead, os.W_OK) or os.statvfs("/sys").f_flag & os.ST_RDONLY:
            self.skipTest(f"{ahead} can't be changed")
        with open(ahead, encoding="ascii") as file:
            self.assertEqual(file.read(), "4096\n")

    def test_lists_are_turned_off_and_on(self):
        """The kernel keeps access control lists for as long as it knows the file. A property of the file system says whether they count."""
        self.pool.mount()
        os.mkdir(self.path("folder"))
        paths = [self.path(name) for name in ("listed", "folder/listed", "none")]
        for path in paths:
            write(path, b"x")
            os.chmod(path, 0o640)
        for path in paths[:2]:
            subprocess.run(["setfacl", "-m", f"u:{NOBODY}:r", path], check=True)
        for value, expected in (("posix", True), ("off", False), ("posix", True), ("off", False)):
            self.pool.poolctl("set", "m/fs", f"acl={value}")
            for path in paths[:2]:
                self.assertEqual(may_read(path), expected, f"{path} with acl={value}")
            self.assertFalse(may_read(paths[2]))
        # Handed down from above.
        self.pool.poolctl("inherit", "m/fs", "acl")
        self.assertTrue(may_read(paths[0]))
        self.pool.poolctl("set", "m", "acl=off")
        self.assertFalse(may_read(paths[0]))
        # Whose group may read it may do so, lists or not.
        os.chown(paths[0], 0, NOBODY)
        self.assertTrue(may_read(paths[0]))
        run = subprocess.run(["setfacl", "-m", f"u:{NOBODY}:r", paths[2]], capture_output=True, text=True, check=False)
        self.assertIn("Operation not supported", run.stderr)

    def test_lists_are_turned_off_for_a_moment(self):
        """What the kernel was told while they were off isn't believed when they are on again, also where nobody looked in between."""
        self.pool.mount()
        paths = [self.path(f"f{number}") for number in range(1500)]
        for path in paths:
            write(path, b"x")
            os.chmod(path, 0o644)
        subprocess.run(["setfacl", "-m", f"u:{NOBODY}:---", *paths], check=True)
        self.pool.stop()
        self.pool.mount()
        for value, beside in (("posix", "off"), ("off", "posix")):
            self.pool.poolctl("set", "m/fs", f"acl={value}")
            sweep = readable(paths, pause=0.0003)
            for _ in range(3):
                self.pool.poolctl("set", "m/fs", *[f"acl={beside}", f"acl={value}"] * 10)
            wait_for(*sweep)
            self.assertEqual(wait_for(*readable(paths)), 0 if value == "posix" else len(paths), f"acl={value}")

    def test_project(self):
        """To give a file to a project is a change of the file, which the kernel doesn't take it for."""
        self.pool.mount()
        os.mkdir(self.path("d"))
        for name in ("f", "d"):
            if name == "f":
                write(self.path(name), b"x")
            before = os.stat(self.path(name))
            time.sleep(0.05)
            set_project(self.path(name), 7)
            after = os.stat(self.path(name))
            self.assertGreater(after.st_ctime_ns, before.st_ctime_ns, name)
            self.assertEqual(after.st_mtime_ns, before.st_mtime_ns)
            self.assertEqual(project_of(self.path(name)), 7)
            # As people do it.
            subprocess.run(["chattr", "-p", "8", self.path(name)], check=True)
            self.assertEqual(project_of(self.path(name)), 8)
            listed = subprocess.run(["lsattr", "-d", "-p", self.path(name)], check=True, capture_output=True, text=True).stdout.split()
            self.assertEqual((listed[0], "P" in listed[1]), ("8", name == "d"))
        subprocess.run(["chattr", "+P", self.path("d")], check=True)
        for change in ("+i", "+a", "+d"):
            self.assertNotEqual(subprocess.run(["chattr", change, self.path("f")], check=False, stderr=subprocess.DEVNULL).returncode, 0, change)

    def test_what_is_known_is_not_asked_for(self):
        """A stat of a file that was looked at before causes no request, and so no reading from disks."""
        self.pool.mount()
        for number in range(20):
            write(self.path(f"f{number}"), b"x" * 5000)
        sync(self.pool.point)
        paths = [self.path(f"f{number}") for number in range(20)]
        known = [os.stat(path) for path in paths]
        before = self.pool.answers()
        for _ in range(100):
            self.assertEqual([os.stat(path).st_ino for path in paths], [status.st_ino for status in known])
        self.assertLess(self.pool.answers() - before, 100 * len(paths) // 5)

    def test_space_that_a_commit_changes_is_asked_for_again(self):
        """How much space a file takes is known for certain when it is on disk: the kernel asks again after some seconds, until then and no longer."""
        self.pool.mount()
        for number in range(40):
            write(self.path(f"settled{number}"), b"x" * 5000)
        sync(self.pool.point)
        settled = [os.stat(self.path(f"settled{number}")).st_blocks for number in range(40)]
        write(self.path("unsettled"), b"x" * MIB)
        self.assertEqual(os.stat(self.path("unsettled")).st_blocks, MIB // 512)
        sync(self.pool.point)
        time.sleep(10.5)
        # On a busy machine the first look at them may have come while the file system still had something to free, which settles nothing; a later one doesn't.
        for _ in range(3):
            before = self.pool.answers()
            self.assertEqual([os.stat(self.path(f"settled{number}")).st_blocks for number in range(40)], settled)
            asked = self.pool.answers() - before
            if asked < 20:
                break
            time.sleep(10.5)
        self.assertLess(asked, 20)
        self.assertLess(os.stat(self.path("unsettled")).st_blocks, MIB // 512 // 8)

    def test_figures_and_refusals(self):
        self.pool.mount()
        write(self.path("f"), b"x" * MIB)
        for quota in (8, 16):
            self.pool.poolctl("set", "m/fs", f"refquota={quota}M")
            figures = os.statvfs(self.pool.point)
            self.assertEqual(figures.f_blocks * figures.f_frsize, quota * MIB)
        self.pool.poolctl("set", "m/fs", "readonly=on")
        fails(self, errno.EROFS, write, self.path("g"), b"x")
        fails(self, errno.EROFS, write, self.path("f"), b"y")
        self.pool.poolctl("set", "m/fs", "readonly=off", "xattr=off")
        write(self.path("g"), b"x")
        fails(self, errno.EOPNOTSUPP, os.setxattr, self.path("g"), "user.a", b"x")
        self.pool.poolctl("set", "m/fs", "xattr=on")
        os.setxattr(self.path("g"), "user.a", b"x")


if __name__ == "__main__":
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        print("skipped: needs root and /dev/fuse")
        sys.exit(77)
    unittest.main()
