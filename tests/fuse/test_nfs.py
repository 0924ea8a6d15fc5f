#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""NFS-Ganesha on a mount, asked by libnfs: trees of files, and handles that clients hold over restarts of both.

Needs root, /dev/fuse and network namespaces; skipped without (exit code 77). The environment names the programs: POOLCTL, LIBPOOL_FUSE,
and LIBPOOL_FSID, the library that is loaded into Ganesha.
"""
import errno
import os
import random
import subprocess
import unittest

from nfs_client import NfsClient
from servers import Ganesha, Portmapper, enter_namespace
from mounted import MIB, Pool, fails, read, sync, write

PRELOAD = os.environ["LIBPOOL_FSID"]
SOURCE = "/usr/include/linux"


def statfs_id(path, **environment):
    return int(subprocess.run(["stat", "-f", "-c", "%i", path], env=dict(os.environ, **environment), check=True, capture_output=True).stdout, 16)


class ServedPool:
    """A pool that is mounted, with Ganesha on it."""

    def __init__(self, preload=PRELOAD):
        self.pool = Pool("raid1", 2, 256)
        self.others = 0
        self.point = self.pool.point
        self.server = Ganesha(os.path.join(self.pool.folder, "ganesha"), [(self.point, "/fs", "127.0.0.1")], preload)
        self.pool.mount()

    def restart(self):
        """Both. Meanwhile something else takes the number of the mount's device, as on a machine where things happen: others may take numbers too."""
        self.server.stop()
        device, other = os.stat(self.point).st_dev, os.path.join(self.pool.folder, "other")
        os.makedirs(other, exist_ok=True)
        while os.stat(self.point).st_dev == device or not os.path.ismount(self.point):
            self.pool.stop()
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", other], check=True)
            self.others += 1
            self.pool.mount()
        self.server.start()

    def end(self):
        self.server.stop()
        for _mount in range(self.others):
            subprocess.run(["umount", os.path.join(self.pool.folder, "other")], check=True)
        self.pool.end()


class MountTest(unittest.TestCase):
    """What servers ask of the mount itself."""

    def setUp(self):
        self.served = ServedPool()
        self.addCleanup(self.served.end)
        self.point = self.served.point

    def path(self, *names):
        return os.path.join(self.point, *names)

    def test_number(self):
        uuid = os.getxattr(self.point, "system.libpool.fsid").decode()
        self.assertRegex(uuid, "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
        number = statfs_id(self.point, LD_PRELOAD=PRELOAD)
        self.assertNotEqual(number, 0)
        self.assertEqual(statfs_id(self.point), 0)
        self.assertEqual(statfs_id("/", LD_PRELOAD=PRELOAD), statfs_id("/"))
        # The attribute is the program's: nobody sets it, and no copy takes it along.
        fails(self, errno.EPERM, os.setxattr, self.point, "system.libpool.fsid", b"x")
        fails(self, errno.EPERM, os.removexattr, self.point, "system.libpool.fsid")
        self.assertEqual(os.listxattr(self.point), [])
        device = os.stat(self.point).st_dev
        self.served.restart()
        self.assertNotEqual(os.stat(self.point).st_dev, device)
        self.assertEqual(os.getxattr(self.point, "system.libpool.fsid").decode(), uuid)
        write(self.path("f"), b"")
        self.assertEqual(statfs_id(self.path("f"), LD_PRELOAD=PRELOAD), number)

    def test_listings_begin_afresh(self):
        """At offset 0 a listing is read again, not what it was when the directory was opened."""
        for i in range(500):
            write(self.path(f"old {i}"), b"")
        descriptor = os.open(self.point, os.O_RDONLY | os.O_DIRECTORY)
        self.assertEqual(len(os.listdir(descriptor)), 500)
        write(self.path("new"), b"")
        os.unlink(self.path("old 7"))
        names = os.listdir(descriptor)  # it rewinds
        self.assertEqual(len(names), 500)
        self.assertIn("new", names)
        self.assertNotIn("old 7", names)
        os.close(descriptor)

    def test_references_are_counted_exactly(self):
        """What was looked up and listed in every way is let go of: files without names don't live on, those with names aren't lost."""
        def nodes():
            figures = os.statvfs(self.point)
            return figures.f_files - figures.f_ffree

        os.mkdir(self.path("d"))
        sync(self.point)
        before = nodes()
        for i in range(1500):
            write(self.path("d", str(i)), b"x" * 300)
        for _ in range(3):
            for entry in os.scandir(self.path("d")):
                self.assertEqual(entry.stat().st_ino, entry.inode())
        for i in range(1500):
            os.stat(self.path("d", str(i)))
        with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
            file.write("2")
        self.assertEqual(nodes(), before + 1500)
        for entry in os.scandir(self.path("d")):
            self.assertEqual(entry.stat().st_size, 300)
        for i in range(1500):
            os.unlink(self.path("d", str(i)))
        sync(self.point)
        self.assertEqual(nodes(), before)


class NfsTest(unittest.TestCase):
    def setUp(self):
        self.served = ServedPool()
        self.addCleanup(self.served.end)
        self.point = self.served.point
        self.served.server.start()

    def copy(self, client, source, target):
        client.call("mkdir", target)
        for entry in sorted(os.scandir(source), key=lambda entry: entry.name):
            inner = f"{target}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                self.copy(client, entry.path, inner)
            elif entry.is_symlink():
                client.call("symlink", os.readlink(entry.path), inner)
            else:
                client.write(inner, read(entry.path))

    def test_trees(self):
        """Written over NFS and read on the mount, and the other way round, in both versions."""
        for version, source in ((3, SOURCE), (4, os.path.join(SOURCE, "netfilter"))):
            with self.subTest(version=version):
                client = NfsClient("/fs", version)
                self.copy(client, source, f"/theirs{version}")
                subprocess.run(["diff", "-r", "--no-dereference", source, os.path.join(self.point, f"theirs{version}")], check=True)
                subprocess.run(["cp", "-a", source, os.path.join(self.point, f"mine{version}")], check=True)
                count = 0
                for path, directory in client.walk(f"/mine{version}"):
                    here = source + path[len("/mine3"):]
                    self.assertEqual(directory, os.path.isdir(here))
                    if not directory and not os.path.islink(here):
                        self.assertEqual(client.read(path), read(here), path)
                        count += 1
                self.assertEqual(count, sum(not os.path.islink(os.path.join(folder, name)) for folder, _, names in os.walk(source) for name in names))
                client.close()

    def test_operations(self):
        for version in (3, 4):
            with self.subTest(version=version):
                client, root = NfsClient("/fs", version), f"/v{version}"
                client.call("mkdir", root)
                here = os.path.join(self.point, root[1:])
                data = random.Random(version).randbytes(3 * MIB + 17)
                client.write(f"{root}/a", data)
                self.assertEqual(read(os.path.join(here, "a")), data)
                handle = client.open(f"{root}/a", os.O_RDWR)
                client.pwrite(handle, b"patch", 100000)
                client.call("ftruncate", handle, 2 * MIB)
                client.call("fsync", handle)
                client.call("close", handle)
                expected = data[:100000] + b"patch" + data[100005:2 * MIB]
                self.assertEqual(read(os.path.join(here, "a")), expected)
                client.call("rename", f"{root}/a", f"{root}/b")
                client.call("link", f"{root}/b", f"{root}/c")
                client.call("symlink", "b", f"{root}/l")
                self.assertEqual(client.readlink(f"{root}/l"), "b")
                client.call("chmod", f"{root}/b", 0o640)
                client.call("chown", f"{root}/b", 1000, 2000)
                status = client.stat(f"{root}/c")
                self.assertEqual((status.nlink, status.mode & 0o7777, status.uid, status.gid, status.size), (2, 0o640, 1000, 2000, 2 * MIB))
                self.assertEqual(status.ino, os.stat(os.path.join(here, "b")).st_ino)
                entries = client.list(root)
                self.assertEqual({name for name in entries if name not in (".", "..")}, {"b", "c", "l"})
                if version == 3:  # libnfs 4.0 doesn't fill in that of version 4
                    self.assertEqual(entries["b"], status.ino)
                fails(self, errno.ENOENT, client.stat, f"{root}/a")
                fails(self, errno.ENOTEMPTY, client.call, "rmdir", root)
                for name in ("b", "c", "l"):
                    client.call("unlink", f"{root}/{name}")
                client.call("rmdir", root)
                self.assertFalse(os.path.exists(here))
                client.close()

    def test_who_may(self):
        """Permissions are those of the mount, for the user that the client is."""
        os.mkdir(os.path.join(self.point, "private"), 0o700)
        write(os.path.join(self.point, "private", "f"), b"secret")
        for version in (3, 4):
            client = NfsClient("/fs", version, uid=1000)
            fails(self, errno.EACCES, client.read, "/private/f")
            fails(self, errno.EACCES, client.write, "/f", b"x")
            client.close()

    def test_handles_outlive_restarts(self):
        client = NfsClient("/fs", 3)
        generator = random.Random(1)
        data = {f"/d/{i}": generator.randbytes(20000) for i in range(50)}
        client.call("mkdir", "/d")
        for path, content in data.items():
            client.write(path, content)
        handles = {path: client.open(path, os.O_RDWR) for path in data}
        for gone in ("/d/9", "/d/10"):
            handles.pop(gone)
            stale = client.open(gone)
            self.served.restart()
            for path, handle in handles.items():
                self.assertEqual(client.pread(handle, 30000, 0), data[path])
            client.pwrite(handles["/d/3"], b"after", 10)
            data["/d/3"] = data["/d/3"][:10] + b"after" + data["/d/3"][15:]
            self.assertEqual(client.read("/d/3"), data["/d/3"])
            later = NfsClient("/fs", 4)  # libnfs doesn't take up a session of version 4 again
            self.assertEqual(later.read("/d/7"), data["/d/7"])
            later.close()
            # What is gone is gone: its handle never means another file.
            os.unlink(self.point + gone)
            write(self.point + gone, b"another")
            self.served.restart()
            fails(self, errno.ESTALE, client.status, stale)
            self.assertEqual(client.read(gone), b"another")
        for handle in handles.values():
            client.call("close", handle)
        self.served.server.stop()
        self.served.pool.stop()
        self.served.pool.verify()


class ControlTest(unittest.TestCase):
    def test_without_the_library_they_do_not(self):
        """That the test above can fail: what it tests is not the servers' doing."""
        served = ServedPool(preload=None)
        try:
            served.server.start()
            client = NfsClient("/fs", 3)
            client.write("/f", b"x")
            handle = client.open("/f")
            served.restart()
            fails(self, errno.ESTALE, client.status, handle)
        finally:
            served.end()


if __name__ == "__main__":
    enter_namespace("ganesha.nfsd", "rpcbind")
    portmapper = Portmapper("/run/rpcbind")
    portmapper.start()
    try:
        unittest.main()
    finally:
        portmapper.stop()
