#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Programs that people run, on a mounted file system: stress-ng, fio, git, a build, tar, rsync, SQLite, PostgreSQL, qemu-img; and what they left
after the process behind the mount was killed.

usage: test_suites.py [--seconds N] [SUITE...]     (stress, stress_ng, fio, trees, sqlite, postgres, qemu; all of them, with 3)

Each part that goes on for a time does so for N seconds; --seconds 120 is for those who have an hour. Needs /dev/fuse and root; skipped
without (exit code 77), and a suite whose program isn't there is skipped too. The environment names the programs: POOLCTL, LIBPOOL_FUSE, and STRESS (stress.c).
"""
import argparse
import glob
import hashlib
import os
import random
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from mounted import MIB, Pool, write  # noqa: E402

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
arguments = argparse.Namespace(seconds=3.0, suites=[])


def run(*command, code=0, **options):
    """Its output, errors too."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "timeout": 600 + 20 * arguments.seconds, "check": False, **options}
    result = subprocess.run([str(word) for word in command], **options)
    if code is not None and result.returncode != code:
        raise AssertionError(f"{' '.join(str(word) for word in command)}: exit code {result.returncode}\n{result.stdout[-8000:]}")
    return result.stdout


def needs(*programs):
    for program in programs:
        if not shutil.which(program):
            raise unittest.SkipTest(f"{program} isn't there")


def everything(root):
    """All that a copy should have: for each name its attributes, content, and the first of its file's names."""
    states = {}
    for folder, folders, files in os.walk(root):
        for path in [folder] + [os.path.join(folder, name) for name in files + [name for name in folders if os.path.islink(os.path.join(folder, name))]]:
            states[os.path.relpath(path, root)] = os.lstat(path)
    first, found = {}, {}
    for name in sorted(states):
        path, state = os.path.join(root, name), states[name]
        links = 0 if stat.S_ISDIR(state.st_mode) else state.st_nlink
        found[name] = (*describe(path), links, first.setdefault(state.st_ino, name))
    return found


def describe(path):
    state = os.lstat(path)
    content = b""
    if stat.S_ISREG(state.st_mode):
        with open(path, "rb") as file:
            content = hashlib.sha256(file.read()).digest()
    elif stat.S_ISLNK(state.st_mode):
        content = os.fsencode(os.readlink(path))
    attributes = tuple(sorted((name, os.getxattr(path, name, follow_symlinks=False)) for name in os.listxattr(path, follow_symlinks=False)
                              if not name.startswith("security.selinux")))
    size = 0 if stat.S_ISDIR(state.st_mode) else state.st_size
    return (state.st_mode, state.st_uid, state.st_gid, size, state.st_rdev, state.st_mtime_ns, attributes, content)


def make_tree(root):
    """Files of all kinds, with everything that a file can have."""
    source = random.Random(7)
    os.makedirs(root)
    at = lambda *names: os.path.join(root, *names)  # noqa: E731
    for i in range(120):
        folder = at(f"folder {i % 7}", "sub") if i % 3 else at(f"folder {i % 7}")
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, f"file-{i}-" + "\u00e4\u4e2d\u2028" * (i % 5))
        write(path, source.randbytes(i * i * 11))
        if i % 4 == 0:
            os.link(path, at(f"link {i}"))
        if i % 5 == 0:
            os.setxattr(path, "user.attribute", source.randbytes(i * 8))
        if i % 6 == 0:
            run("setfacl", "-m", f"u:{1000 + i}:r,g:{i}:rwx", path)
        os.chown(path, i, i + 1)
        os.chmod(path, 0o4755 if i % 10 == 0 else 0o600 + i % 64)
        os.utime(path, ns=(i * 10**15 + i, i * 10**17 // 3 if i % 2 else -i * 10**14 + 3))
    os.symlink("x" * 300, at("link"))
    os.symlink("folder 1", at("to a folder"))
    os.mknod(at("null"), stat.S_IFCHR | 0o640, os.makedev(1, 3))
    os.mkfifo(at("pipe"), 0o604)
    write(at("empty"), b"")
    with open(at("sparse"), "wb") as file:
        file.truncate(20 * MIB)
        file.seek(5 * MIB + 17)
        file.write(b"in the middle")
    os.mkdir(at("shared"), 0o2775)
    run("setfacl", "-d", "-m", "u:1001:rwx,g:7:r", at("shared"))
    for i, name in enumerate(("link", "to a folder", "null", "pipe", "empty", "sparse")):
        os.utime(at(name), ns=(i, 10**18 + i), follow_symlinks=False)
    for folder, _, _ in os.walk(root, topdown=False):
        os.utime(folder, ns=(5, 1234567890123456789))


class Suites(unittest.TestCase):
    def setUp(self):
        self.pool = Pool(megabytes=768)
        self.addCleanup(self.pool.end)
        os.chmod(self.pool.folder, 0o755)
        self.pool.mount()
        self.point = self.pool.point

    def path(self, *names):
        return os.path.join(self.point, *names)

    def end(self):
        self.pool.stop()
        self.assertIn("0 violations, 0 damaged", self.pool.verify())

    # ---- many at once ----

    def test_stress(self):
        os.mkdir(self.path("tree"))
        run(os.environ["STRESS"], self.path("tree"), 6, arguments.seconds, 1)
        run(os.environ["STRESS"], "--check", self.path("tree"))
        # Killed in the middle of it, a few times.
        for seed in range(2, 4 + int(arguments.seconds / 20)):
            with subprocess.Popen([os.environ["STRESS"], self.path("tree"), "6", str(arguments.seconds + 60), str(seed)], stderr=subprocess.DEVNULL) as stress:
                time.sleep(min(2 + seed % 3, arguments.seconds))
                self.assertIsNone(stress.poll())
                self.pool.kill()
                self.assertNotEqual(stress.wait(timeout=60), 0)
            self.assertIn("0 violations, 0 damaged", self.pool.verify())
            self.pool.mount()
            run(os.environ["STRESS"], "--check", self.path("tree"))
        self.end()

    def test_stress_ng(self):
        needs("stress-ng")
        os.mkdir(self.path("tree"))
        # Those of its class "filesystem" that do something to the file system they are in.
        names = ("access chdir chmod chown copy-file dentry dir dirdeep dirmany dup fallocate fcntl file-ioctl filename flock fpunch fsize fstat "
                 "handle hdd io iomix lease link locka lockf lockofd mknod open rename symlink sync-file touch utime xattr").split()
        # Its --verify is an exit code of 2 when something isn't as it should be.
        run("stress-ng", "--temp-path", self.path("tree"), "--timeout", f"{arguments.seconds:.0f}", "--verify",
            *(word for name in names for word in (f"--{name}", "1")))
        self.assertEqual(os.listdir(self.path("tree")), [])
        self.end()

    # ---- content ----

    def test_fio(self):
        needs("fio")
        jobs = {
            "direct": "--rw=randwrite --bs=4k --direct=1 --ioengine=libaio --iodepth=16",
            "synced": "--rw=randrw --bsrange=512-128k --ioengine=psync --fsync=64",
            "mapped": "--rw=randwrite --bs=8k --ioengine=mmap",
            "large": "--rw=write --bs=1m --ioengine=libaio --iodepth=8 --direct=1",
            "odd": "--rw=randwrite --bsrange=1k-64k --bs_unaligned=1 --ioengine=psync --numjobs=3 --fallocate=none",
        }
        for name, options in jobs.items():
            with self.subTest(name):
                os.mkdir(self.path(name))
                run("fio", f"--name={name}", *options.split(), f"--size={int(8 + 2 * arguments.seconds)}m", "--verify=crc32c", "--do_verify=1",
                    "--verify_fatal=1", "--minimal", cwd=self.path(name))
                # What is on disk is the same, without what the kernel and the pool have of it in memory.
                before = everything(self.path(name))
                self.pool.stop()
                self.pool.mount()
                self.compare(self.path(name), before)
                shutil.rmtree(self.path(name))
        self.end()

    # ---- trees ----

    def test_trees(self):
        needs("git", "rsync", "tar", "setfacl", "cmake", "ninja")
        native, tree, back = (os.path.join(self.pool.folder, name) for name in ("native", "mount/tree", "back"))
        make_tree(native)
        wanted = everything(native)
        run("rsync", "-aHAXS", "--numeric-ids", native + "/", tree + "/")
        self.compare(tree, wanted)
        # At once, while nothing of it is on disk: tar takes a file without blocks for a hole.
        run("tar", "-C", tree, "--sparse", "--acls", "--xattrs", "--xattrs-include=*", "-cf", back + ".tar", ".")
        for target, source in (("unpacked", back + ".tar"), ("packed again", None)):
            target = self.path(target)
            os.mkdir(target)
            if source is None:
                source = self.path("in the mount.tar")
                run("tar", "-C", tree, "--acls", "--xattrs", "--xattrs-include=*", "-cf", source, ".")
            run("tar", "-C", target, "--acls", "--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf", source)
            self.compare(target, wanted)
        run("cp", "-a", "--sparse=auto", tree, self.path("copied"))
        self.compare(self.path("copied"), wanted)
        self.pool.stop()
        self.pool.mount()
        self.compare(tree, wanted)
        run("rsync", "-aHAXS", "--numeric-ids", tree + "/", back + "/")
        self.compare(back, wanted)
        self.clone_and_build()
        self.end()

    def compare(self, root, wanted):
        found = everything(root)
        self.assertEqual([name for name in sorted(wanted.keys() | found.keys()) if wanted.get(name) != found.get(name)], [])

    def clone_and_build(self):
        clone, build = self.path("clone"), self.path("clone", "build")
        run("git", "-c", "safe.directory=*", "clone", "-q", "--no-hardlinks", SOURCE, clone)
        self.assertEqual(run("git", "fsck", "--full", "--no-dangling", "--no-progress", cwd=clone), "")
        self.assertEqual(run("git", "status", "--short", cwd=clone), "")
        targets = ["pool_checksum", "pool_raid"] + (["poolctl", "libpool-fuse"] if arguments.seconds > 30 else [])
        run("cmake", "-G", "Ninja", "-S", clone, "-B", build, "-DCMAKE_BUILD_TYPE=Release", env=dict(os.environ, CCACHE_DISABLE="1"))
        run("ninja", "-C", build, *targets, env=dict(os.environ, CCACHE_DISABLE="1"))
        # Nothing is older than what it was made of.
        self.assertIn("no work to do", run("ninja", "-C", build, *targets))
        run("git", "-c", "gc.autoDetach=false", "gc", "-q", cwd=clone)
        self.assertEqual(run("git", "fsck", "--full", "--no-dangling", "--no-progress", cwd=clone), "")

    # ---- databases ----

    def test_sqlite(self):
        for mode in ("delete", "truncate", "wal"):
            with self.subTest(mode):
                self.database_killed(self.path(f"{mode}.db"), mode)
        self.end()

    def database_killed(self, name, mode):
        """What was committed is there after the process behind the mount was killed; what wasn't isn't in part."""
        database = sqlite3.connect(name, isolation_level=None)
        database.execute(f"pragma journal_mode={mode}")
        database.execute("create table t (id integer primary key, half integer, bytes blob)")
        # With "full", the journal may be there again after a crash: the transaction is undone then.
        database.execute("pragma synchronous=extra")
        committed = 0
        killer = threading.Timer(arguments.seconds / 2, self.pool.process.kill)
        killer.start()
        try:
            while True:
                database.execute("begin immediate")
                for half in range(2):
                    database.execute("insert into t (half, bytes) values (?, ?)", (committed * 2 + half, random.randbytes(random.randrange(9000))))
                database.execute("update t set bytes = ? where half = ?", (random.randbytes(500), random.randrange(committed * 2 + 1)))
                database.execute("commit")
                committed += 1
        except sqlite3.OperationalError:
            pass
        killer.join()
        database.close()
        self.pool.kill()
        self.pool.mount()
        database = sqlite3.connect(name)
        self.assertEqual(database.execute("pragma integrity_check").fetchall(), [("ok",)])
        count = database.execute("select count(*) from t").fetchone()[0]
        self.assertGreater(committed, 2)
        # The last one may be there although nobody was told.
        self.assertIn(count, (committed * 2, committed * 2 + 2))
        database.close()

    def test_postgres(self):
        folders = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
        if not folders or subprocess.run(["id", "postgres"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode != 0:
            raise unittest.SkipTest("no PostgreSQL")
        server = Postgres(folders[-1], self.path("data"), self.pool.folder)
        self.addCleanup(server.kill)
        server.create()
        server.start()
        server.bench("-i", "-s", "2")
        server.bench("-n", "-c", "4", "-T", f"{arguments.seconds:.0f}")
        server.check(self)
        # The server is killed; then, all the same, what it stands on.
        acknowledged = server.insert_until(lambda: server.kill())
        server.start()
        server.check(self, acknowledged)
        acknowledged = server.insert_until(self.pool.process.kill)
        server.kill()
        self.pool.kill()
        self.assertIn("0 violations, 0 damaged", self.pool.verify())
        self.pool.mount()
        server.start()
        server.check(self, acknowledged)
        server.stop()
        server.run("pg_checksums", "--check", "-D", server.data)
        self.end()

    # ---- images of machines ----

    def test_qemu(self):
        needs("qemu-img", "qemu-io")
        raw, packed, again = (self.path(name) for name in ("disk.raw", "disk.qcow2", "again.raw"))
        size = f"{int(32 + arguments.seconds)}M"
        run("qemu-img", "create", "-q", "-f", "raw", raw, size)
        run("qemu-img", "create", "-q", "-f", "qcow2", packed, size)
        for form, name in (("raw", raw), ("qcow2", packed)):
            # O_DIRECT all the way: what is written is what is read, and what is unmapped is zeroes.
            commands = []
            for i in range(24):
                offset, length = i * 1327104, (i % 9 + 1) * 4096
                commands += ["-c", f"write -P {i + 1} {offset} {length}"]
            commands += ["-c", "write -z 1327104 4096", "-c", "write -z -u 2654208 8192", "-c", "flush", "-c", "read -P 0 1327104 4096",
                         "-c", "read -P 0 2654208 8192"]
            for i in range(3, 24):
                commands += ["-c", f"read -P {i + 1} {i * 1327104} {(i % 9 + 1) * 4096}"]
            output = run("qemu-io", "-f", form, "-t", "none", "-d", "unmap", *commands, name)
            self.assertNotIn("failed", output)
            run("qemu-img", "bench", "-f", form, "-t", "none", "-w", "-c", int(600 * arguments.seconds), "-d", "16", "-s", "8192", "-S", "12288",
                "--pattern", "77", "--flush-interval", "64", name)
        run("qemu-img", "convert", "-t", "none", "-T", "none", "-f", "qcow2", "-O", "raw", packed, again)
        self.assertIn("identical", run("qemu-img", "compare", "-T", "none", "-f", "qcow2", "-F", "raw", packed, again))
        self.assertIn("identical", run("qemu-img", "compare", "-T", "none", "-f", "raw", "-F", "raw", raw, again))
        self.pool.kill()
        self.pool.mount()
        self.assertIn("No errors were found", run("qemu-img", "check", packed))
        self.end()


class Postgres:
    """A server of its own: socket and files in `folder`, run by the user postgres."""

    def __init__(self, programs, data, folder):
        self.programs, self.data = programs, data
        self.socket = os.path.join(folder, "socket")
        self.log = os.path.join(self.socket, "log")
        os.mkdir(self.socket)
        shutil.chown(self.socket, "postgres", "postgres")

    def command(self, program, *words):
        return ["runuser", "-u", "postgres", "--", os.path.join(self.programs, program), *words]

    def run(self, program, *words):
        return run(*self.command(program, *words), cwd="/", stdin=subprocess.DEVNULL)

    def create(self):
        os.mkdir(self.data, 0o700)
        shutil.chown(self.data, "postgres", "postgres")
        self.run("initdb", "-D", self.data, "--data-checksums", "-A", "trust", "-E", "UTF8", "--locale", "C")
        with open(os.path.join(self.data, "postgresql.conf"), "a", encoding="utf-8") as file:
            file.write(f"listen_addresses = ''\nunix_socket_directories = '{self.socket}'\nshared_buffers = 16MB\nmax_wal_size = 64MB\n"
                       "checkpoint_timeout = 30s\nfull_page_writes = on\n"
                       "dynamic_shared_memory_type = mmap\n")  # in its own folder: what is killed leaves nothing on the machine

    def start(self):
        # The server keeps its standard output.
        result = subprocess.run(self.command("pg_ctl", "-D", self.data, "-l", self.log, "-w", "-t", "120", "start"), cwd="/", stdin=subprocess.DEVNULL,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=600, check=False)
        if result.returncode != 0:
            with open(self.log, encoding="utf-8", errors="replace") as file:
                raise AssertionError(f"PostgreSQL doesn't start: exit code {result.returncode}\n{file.read()[-4000:]}")
        with open(os.path.join(self.data, "postmaster.pid"), encoding="utf-8") as file:
            self.process = int(file.readline())

    def stop(self):
        self.run("pg_ctl", "-D", self.data, "-w", "-m", "fast", "stop")
        self.process = 0

    process = 0

    def kill(self):
        """All its processes, at once, until none is left: as long as one of them has the shared memory, no other server starts."""
        if not self.process:
            return
        processes = [self.process]
        try:
            os.kill(self.process, signal.SIGSTOP)
            processes += map(int, run("ps", "-o", "pid=", "--ppid", self.process, code=None).split())
        except ProcessLookupError:
            pass
        for process in processes:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass
        deadline = time.monotonic() + 60
        while run("ps", "-o", "pid=", "--pid", ",".join(map(str, processes)), code=None).strip() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.process = 0

    def bench(self, *words):
        return self.run("pgbench", "-h", self.socket, *words, "postgres")

    def query(self, text):
        return self.run("psql", "-h", self.socket, "-X", "-A", "-t", "-c", text, "postgres").strip()

    def insert_until(self, kill):
        """Rows, one for each transaction, beside a load, until the kill; how many of them somebody was told of."""
        self.query("drop table if exists told; create table told (n integer primary key, t text)")
        load = subprocess.Popen(self.command("pgbench", "-h", self.socket, "-n", "-c", "3", "-T", "600", "postgres"), stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL, cwd="/")
        client = subprocess.Popen(self.command("psql", "-h", self.socket, "-X", "-q", "postgres"), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL, text=True, cwd="/")
        timer = threading.Timer(arguments.seconds, kill)
        timer.start()
        told = 0
        try:
            while True:
                client.stdin.write(f"\\set ON_ERROR_STOP on\ninsert into told values ({told}, repeat('x', {told % 900}));\n\\echo done\n")
                client.stdin.flush()
                if client.stdout.readline() != "done\n":
                    break
                told += 1
        except BrokenPipeError:
            pass
        timer.join()
        # A client of a server whose files are gone waits for it to notice.
        for process in (client, load):
            process.kill()
            process.communicate()
        return told

    def check(self, test, told=None):
        sums = self.query("select (select sum(abalance) from pgbench_accounts), (select sum(bbalance) from pgbench_branches), "
                          "(select sum(tbalance) from pgbench_tellers), (select sum(delta) from pgbench_history)")
        test.assertEqual(len(set(sums.split("|"))), 1, sums)
        self.run("pg_amcheck", "-h", self.socket, "--install-missing", "--heapallindexed", "-d", "postgres")
        if told is not None:
            test.assertGreater(told, 3)
            # The last one may be there although nobody was told.
            test.assertIn(self.query("select count(*) || ' ' || coalesce(max(n), 0) from told"), (f"{told} {told - 1}", f"{told + 1} {told}"))


if __name__ == "__main__":
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        print("skipped: needs root and /dev/fuse")
        sys.exit(77)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=arguments.seconds)
    parser.add_argument("suites", nargs="*", metavar="SUITE")
    parser.parse_args(namespace=arguments)
    unittest.main(argv=sys.argv[:1] + [f"Suites.test_{suite}" for suite in arguments.suites])
