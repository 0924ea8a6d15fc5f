#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The part of scripts/demo that needs root: a file system shared over NFS and SMB, read back through both, over restarts and with a disk less.

usage: demo_shares.py FOLDER

Exits with 77 where root, /dev/fuse or namespaces are missing. The environment names the programs: POOLCTL, LIBPOOL_FUSE and LIBPOOL_FSID.
"""
import concurrent.futures
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import test_shares
from nfs_client import NfsClient
from servers import Portmapper, enter_namespace

SOURCE = "/usr/include"
POINT = "/run/srv"  # in a /run of its own, which others may enter
FILES_MAX = 20000


def say(text):
    print(f"\n{text}", flush=True)


def tell(text, begin):
    print(f"    {text} in {time.monotonic() - begin:.1f} s", flush=True)


def fail(text):
    sys.exit(f"MISMATCH: {text}")


def source_files():
    """Names below SOURCE that are one each to SMB too, which doesn't tell upper case from lower."""
    files, seen = [], set()
    for top, folders, names in os.walk(SOURCE):
        kept = []
        for name in sorted(folders):
            relative = os.path.relpath(os.path.join(top, name), SOURCE).lower()
            if relative not in seen:
                kept.append(name)
            seen.add(relative)
        folders[:] = kept
        for name in sorted(names):
            path = os.path.join(top, name)
            relative = os.path.relpath(path, SOURCE)
            if not os.path.islink(path) and os.path.isfile(path) and relative.lower() not in seen:
                files.append(relative)
            seen.add(relative.lower())
    return files[:FILES_MAX]


def read(path):
    with open(path, "rb") as file:
        return file.read()


def compare_over_nfs(arguments):
    """In a process of its own: a name of what isn't the same, or None."""
    export, version, files = arguments
    client = NfsClient(export, version)
    for name in files:
        if client.read(f"/tree/{name}") != read(os.path.join(SOURCE, name)):
            return name
    client.close()
    return None


class Demonstration:
    def __init__(self, folder):
        self.folder = folder
        os.mkdir(POINT)
        for name in ("bin", "tray", "received"):
            os.mkdir(self.path(name))
        for program in (os.environ["POOLCTL"], os.environ["LIBPOOL_FUSE"]):
            shutil.copy(program, self.path("bin"))
        os.environ.update(LIBPOOL_DISK_PATH=f"{folder}:{self.path('tray')}", LIBPOOL_RUN_PATH=self.path("run"))
        self.files = source_files()
        # What clients of SMB read, by folders; those of NFS read the others.
        self.folders = sorted({name.split("/")[0] for name in self.files if "/" in name})[::4]
        self.servers, self.tray = [], 0

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def run(self, *arguments):
        run = subprocess.run([self.path("bin/poolctl"), "--no-devices", *arguments], cwd=self.folder, capture_output=True, text=True, check=False)
        if run.returncode != 0:
            fail(f"poolctl {' '.join(arguments)}: exit code {run.returncode}: {run.stderr}")
        return run.stdout

    def show(self, *arguments):
        print("$ poolctl", *arguments, flush=True)
        for line in self.run(*arguments).splitlines():
            print("    " + line.replace(self.folder + "/", ""), flush=True)

    def health(self, expected):
        code = subprocess.run([self.path("bin/poolctl"), "--no-devices", "status", "tank", "--check"], capture_output=True, check=False).returncode
        if code != expected:
            fail(f"status --check says {code}, not {expected}")

    # ---- what clients read ----

    def compare(self, files):
        """By four processes, in both versions."""
        begin = time.monotonic()
        with concurrent.futures.ProcessPoolExecutor(4) as processes:
            for different in processes.map(compare_over_nfs, [(*((POINT, 3) if part % 2 else ("/tank/src", 4)), files[part::4]) for part in range(4)]):
                if different:
                    fail(f"{different}, read over NFS, is not what was written")
        tell(f"{len(files)} files are the same over NFS, versions 3 and 4,", begin)

    def is_of_smb(self, name):
        return name.split("/")[0] in self.folders

    def compare_over_smb(self):
        begin = time.monotonic()
        folders = " ".join(f'"tree/{folder}"' for folder in self.folders)
        run = subprocess.run(["smbclient", "//127.0.0.1/src", "-U", "anna%secret-anna", "-c", f"tarmode full quiet; tar c all.tar {folders}"],
                             cwd=self.path("received"), capture_output=True, text=True, check=False)
        if run.returncode:
            fail(f"smbclient: {run.stdout}{run.stderr}")
        subprocess.run(["tar", "-xf", "all.tar"], cwd=self.path("received"), check=True)
        wanted = [name for name in self.files if self.is_of_smb(name)]
        for name in wanted:
            if read(self.path("received/tree", name)) != read(os.path.join(SOURCE, name)):
                fail(f"{name}, read over SMB, is not what was written")
        shutil.rmtree(self.path("received"))
        tell(f"{len(wanted)} files are the same over SMB", begin)

    # ---- acts ----

    def make(self):
        say("Five disks, and one in a tray that can be pulled: a volume of another pool, which is shown as a file")
        self.run("create", "tray", "single", "tray0", "--create-size", "1G")
        self.run("volume", "create", "tray/disk5", "512M")
        self.tray = json.loads(self.run("mount", "tray", "--volumes", "tray", "--json"))["pid"]
        self.show("create", "tank", "raid6", *[f"disk{number}" for number in range(5)], "tray/disk5", "--create-size", "512M")
        self.show("dataset", "create", "tank/src")
        self.show("mount", "tank/src", POINT)
        os.chmod(POINT, 0o755)
        say(f"{len(self.files)} files of {SOURCE}, copied onto it")
        begin = time.monotonic()
        os.mkdir(os.path.join(POINT, "tree"))
        with open(self.path("names"), "wb") as file:
            file.write(b"".join(os.fsencode(name) + b"\0" for name in self.files))
        subprocess.run("tar -C $SOURCE --null -T names -cf - | tar -C $POINT/tree -xf - && sync $POINT", shell=True, check=True, cwd=self.folder,
                       env={**os.environ, "SOURCE": SOURCE, "POINT": POINT})
        tell("copied, and durable,", begin)

    def share(self):
        say("Shared over NFS with one machine, and over SMB with one user")
        test_shares.configure_servers()
        subprocess.run(["smbpasswd", "-s", "-a", "anna"], input="secret-anna\n" * 2, text=True, check=True, capture_output=True)
        self.show("share", "add", "tank/src", "nfs", "--client", "127.0.0.1:rw,no_root_squash")
        self.show("share", "add", "tank/src", "smb", "--valid-users", "anna")
        self.show("share", "list", "-o", "object,protocol,server,who")
        for kind in (Portmapper, test_shares.MachineGanesha, test_shares.MachineSamba):
            self.servers.append(kind(self.path(kind.__name__)))
            self.servers[-1].start()
        with concurrent.futures.ThreadPoolExecutor(1) as threads:
            other = threads.submit(self.compare_over_smb)
            self.compare([name for name in self.files if not self.is_of_smb(name)])
            other.result()

    def restart(self):
        say("Servers and mount are started anew while a client holds 200 files open")
        client = NfsClient(POINT, 3)
        held = {name: client.open(f"/tree/{name}") for name in self.files[::len(self.files) // 200]}
        begin = time.monotonic()
        self.stop()
        self.run("unmount", "tank")
        self.run("mount", "tank/src", POINT)
        for server in self.servers:
            server.start()
        for name, handle in held.items():
            wanted = read(os.path.join(SOURCE, name))
            if client.pread(handle, len(wanted) + 1, 0) != wanted:
                fail(f"{name}, held over a restart")
        client.close()
        tell(f"restarted, and {len(held)} files read on by handles from before,", begin)

    def pull(self):
        say("A disk is pulled while a client writes and others read")
        stop, written, wrong = threading.Event(), [], []

        def write():
            try:
                client = NfsClient(POINT, 3)
                client.call("mkdir", "/new")
                while not stop.is_set():
                    name = f"/new/{len(written)}"
                    client.write(name, os.urandom(20000).ljust(100000, name.encode()[-1:]))
                    written.append((name, client.read(name)))
                client.close()
            except OSError as error:
                wrong.append(str(error))

        writer = threading.Thread(target=write)
        writer.start()
        time.sleep(0.5)
        print(f"$ kill -9 {self.tray}", flush=True)
        os.kill(self.tray, signal.SIGKILL)
        self.compare(self.files[::20])
        stop.set()
        writer.join()
        if wrong or not written:
            fail(f"the writing client: {wrong}")
        print(f"    meanwhile {len(written)} files were written", flush=True)
        self.health(1)
        self.run("unmount", "tray")
        self.show("replace", "tank", "#5", "new-disk5", "--create-size", "512M", "--wait")
        self.health(0)
        self.show("scrub", "tank", "--wait")
        client = NfsClient(POINT, 3)
        for name, content in written:
            if client.read(name) != content:
                fail(name)
        client.close()
        self.compare(self.files[1::20])

    def stop(self):
        for server in reversed(self.servers):
            server.stop()

    def end(self):
        self.stop()
        if os.path.ismount(POINT):
            self.run("unmount", "tank")


def main():
    enter_namespace("ganesha.nfsd", "rpcbind", "smbd", "smbclient", "smbcontrol", "ip")
    machine = os.path.join(sys.argv[1], "machine")
    os.mkdir(machine)
    test_shares.make_machine(machine)
    demonstration = Demonstration(sys.argv[1])
    try:
        demonstration.make()
        demonstration.share()
        demonstration.restart()
        demonstration.pull()
        demonstration.end()
        demonstration.show("debug", "verify", "tank")
        demonstration.show("destroy", "tank", "--yes")
    finally:
        demonstration.stop()
        subprocess.run([demonstration.path("bin/poolctl"), "--no-devices", "export", "tank", "--force"], capture_output=True, check=False)
        subprocess.run([demonstration.path("bin/poolctl"), "--no-devices", "unmount", "tray"], capture_output=True, check=False)
        subprocess.run(["umount", "-l", "/etc", machine], check=False)


main()
