# SPDX-License-Identifier: BSD-2-Clause
"""NFS and SMB servers on a mount, on a loopback of their own: nothing of this machine's network is seen or taken."""
import ctypes
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
import time

PLUGINS = "/usr/lib/x86_64-linux-gnu/ganesha"


def skip(why):
    print(f"skipped: {why}")
    sys.exit(77)


def enter_namespace(*programs):
    """Network, mounts and /run of this process alone. Exits with 77 where that or one of the programs isn't to be had."""
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        skip("needs root and /dev/fuse")
    for program in programs:
        if not shutil.which(program):
            skip(f"needs {program}")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x40000000 | 0x00020000) != 0:  # CLONE_NEWNET | CLONE_NEWNS
        skip("needs a network namespace")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", "/run"], check=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:  # lo: up
        request = struct.pack("16sh", b"lo", 0x1 | 0x40) + bytes(22)
        fcntl.ioctl(control, 0x8914, request)


def wait_for_port(port, process, log):
    deadline = time.monotonic() + 120
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                text = ""
                if os.path.exists(log):
                    with open(log, encoding="utf-8", errors="replace") as file:
                        text = file.read()[-4000:]
                raise AssertionError(f"no server on port {port}: {text}") from None
            time.sleep(0.05)


class Server:
    """A process in the foreground that answers on a port."""

    def __init__(self, folder):
        os.makedirs(folder, exist_ok=True)
        self.folder = folder
        self.log = os.path.join(folder, "log")
        self.process = None

    def path(self, name):
        return os.path.join(self.folder, name)

    def run(self, command, port, **environment):
        with open(self.log + ".stderr", "ab") as errors:
            self.process = subprocess.Popen(command, env=dict(os.environ, **environment), stdin=subprocess.DEVNULL, stdout=errors, stderr=errors)
        wait_for_port(port, self.process, self.log)

    def stop(self):
        if self.process:
            self.process.terminate()
            try:
                self.process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process = None


class Portmapper(Server):
    """What clients of NFS version 3 ask first."""

    def start(self):
        self.run(["rpcbind", "-f", "-w", "-i"], 111)


class Ganesha(Server):
    """exports: [(folder, path for clients, clients)]. What answers is configured as a user would."""

    def __init__(self, folder, exports, preload):
        super().__init__(folder)
        self.preload = preload
        with open(self.path("conf"), "w", encoding="utf-8") as file:
            file.write(f"""
NFS_CORE_PARAM {{ Protocols = 3, 4; MNT_Port = 20048; Enable_NLM = false; Enable_RQUOTA = false; Enable_UDP = false;
  Plugins_Dir = "{PLUGINS}"; mount_path_pseudo = true; Clustered = false; }}
NFSv4 {{ Graceless = true; RecoveryRoot = "{self.folder}"; RecoveryBackend = fs; Only_Numeric_Owners = true; }}
""")
            for number, (path, pseudo, clients) in enumerate(exports, 1):
                file.write(f"""
EXPORT {{ Export_Id = {number}; Path = "{path}"; Pseudo = "{pseudo}"; Access_Type = None; Protocols = 3, 4; Transports = TCP; SecType = sys;
  Squash = none; FSAL {{ Name = VFS; }} CLIENT {{ Clients = {clients}; Access_Type = RW; }} }}
""")

    def start(self):
        self.run(["ganesha.nfsd", "-F", "-f", self.path("conf"), "-L", self.log, "-p", self.path("pid")], 2049,
                 **({"LD_PRELOAD": self.preload} if self.preload else {}))
