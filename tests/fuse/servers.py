# SPDX-License-Identifier: BSD-2-Clause
"""NFS and SMB servers on a mount, on a loopback of their own: nothing of this machine's network is seen or taken."""
import ctypes
import fcntl
import glob
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
    """Network, mounts and /run of this process alone. Exits with 77 where that isn't to be had, with 1 where a program is missing."""
    if os.geteuid() != 0 or not os.path.exists("/dev/fuse"):
        skip("needs root and /dev/fuse")
    for program in programs:
        if not shutil.which(program):
            sys.exit(f"{program} is missing: scripts/install-dependencies installs it")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x40000000 | 0x00020000) != 0:  # CLONE_NEWNET | CLONE_NEWNS
        skip("needs a network namespace")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    # What others have mounted, tests beside this one above all: a file system's name is all that tells which one is to be shared.
    with open("/proc/self/mounts", encoding="utf-8") as file:
        points = [line.split()[1] for line in file if line.split()[2] == "fuse.libpool"]
    for point in reversed(points):
        subprocess.run(["umount", "-l", point.encode().decode("unicode_escape")], check=False, stderr=subprocess.DEVNULL)
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
                for path in sorted(glob.glob(glob.escape(os.path.dirname(log)) + "/log*")):
                    with open(path, encoding="utf-8", errors="replace") as file:
                        text += file.read()[-4000:]
                raise AssertionError(f"no server on port {port}: {text}") from None
            time.sleep(0.05)


def wait_until(is_so, what, seconds=120):
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.005)


def port_of(program, version):
    """What the portmapper says of a program; 0: not there."""
    with socket.create_connection(("127.0.0.1", 111), timeout=5) as server:
        call = struct.pack(">14I", 7, 0, 2, 100000, 2, 3, 0, 0, 0, 0, program, version, socket.IPPROTO_TCP, 0)
        server.sendall(struct.pack(">I", 1 << 31 | len(call)) + call)
        answer = b""
        while len(answer) < 32:
            part = server.recv(64)
            if not part:
                return 0
            answer += part
    return struct.unpack(">I", answer[28:32])[0]


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
            self.process = subprocess.Popen(command, env=dict(os.environ, **environment), stdin=subprocess.DEVNULL, stdout=errors, stderr=errors,
                                            start_new_session=True)  # smbd ends its whole group
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
        """It listens before it tells the portmapper of itself, and one that was killed leaves there what it told: clients come when both are so."""
        self.run(["ganesha.nfsd", "-F", "-f", self.path("conf"), "-L", self.log, "-p", self.path("pid")], 2049,
                 **({"LD_PRELOAD": self.preload} if self.preload else {}))
        wait_for_port(20048, self.process, self.log)
        for program in ((100003, 3), (100005, 3)):  # NFS and MOUNT
            wait_until(lambda program=program: port_of(*program) != 0, f"the portmapper knows program {program}")
