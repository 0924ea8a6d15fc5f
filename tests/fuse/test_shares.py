#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""poolctl share: what it writes, what it refuses, and NFS-Ganesha and Samba as it configures them, asked by libnfs and smbclient.

Needs root, /dev/fuse, an overlay over /etc and namespaces; skipped without (exit code 77). The environment names the programs: POOLCTL, LIBPOOL_FUSE,
and LIBPOOL_FSID, the library that is loaded into Ganesha.
"""
import errno
import filecmp
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import unittest

from nfs_client import NfsClient
from servers import PLUGINS, Portmapper, Server, enter_namespace, port_of, skip, wait_for_port, wait_until

MIB = 1 << 20
PRELOAD = os.environ["LIBPOOL_FSID"]
SOURCE = "/usr/include/linux"


def read(path, mode="r"):
    with open(path, mode) as file:
        return file.read()


def write(path, data):
    with open(path, "wb" if isinstance(data, bytes) else "w") as file:
        file.write(data)


class MachineGanesha(Server):
    """As this machine has it: configured in /etc."""

    def start(self):
        os.makedirs("/run/ganesha", exist_ok=True)
        self.run(["ganesha.nfsd", "-F", "-f", "/etc/ganesha/ganesha.conf", "-L", self.log, "-p", "/run/ganesha/ganesha.pid"], 2049, LD_PRELOAD=PRELOAD)
        wait_for_port(20048, self.process, self.log)
        for program in ((100003, 3), (100005, 3)):
            wait_until(lambda program=program: port_of(*program) != 0, f"the portmapper knows program {program}")


class MachineSamba(Server):
    def start(self):
        self.run(["smbd", "-F", "--no-process-group", "-l", self.folder], 445)


def make_machine(folder):
    """An /etc of its own, in which servers can be configured, and folders in which they keep what they know."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
    for name in ("up", "work"):
        os.mkdir(os.path.join(folder, name))
    mounted = subprocess.run(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir=/etc,upperdir={folder}/up,workdir={folder}/work", "/etc"], check=False)
    if mounted.returncode != 0:
        skip("no overlay can be mounted over /etc")
    for name in ("/var/lib/samba", "/var/cache/samba", "/var/log/samba", "/var/lib/nfs"):
        os.makedirs(name, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", name], check=True)
    os.makedirs("/var/lib/samba/private", exist_ok=True)
    os.makedirs("/run/samba", exist_ok=True)
    for address in ("10.1.0.1/24", "10.2.0.1/24", "fd00::1/64"):
        subprocess.run(["ip", "address", "add", address, "dev", "lo", "nodad"] if ":" in address else ["ip", "address", "add", address, "dev", "lo"], check=True)
    for name, number in (("anna", 2001), ("berta", 2002), ("carla", 2003)):
        with open("/etc/passwd", "a", encoding="utf-8") as file:
            file.write(f"{name}:x:{number}:{number}::/nonexistent:/usr/sbin/nologin\n")
        with open("/etc/group", "a", encoding="utf-8") as file:
            file.write(f"{name}:x:{number}:\n")
    with open("/etc/group", "a", encoding="utf-8") as file:
        file.write("staff two:x:2100:carla\n")


def configure_servers():
    write("/etc/ganesha/ganesha.conf", f"""NFS_CORE_PARAM {{ Protocols = 3, 4; MNT_Port = 20048; Enable_NLM = false; Enable_RQUOTA = false; Enable_UDP = false;
  Plugins_Dir = "{PLUGINS}"; }}
NFSv4 {{ Graceless = true; RecoveryRoot = "/var/lib/nfs"; RecoveryBackend = fs; Only_Numeric_Owners = true; }}
""")
    write("/etc/samba/smb.conf", """[global]
  server role = standalone server
  interfaces = lo
  bind interfaces only = yes
  disable netbios = yes
  smb ports = 445
  log level = 1
  load printers = no
  map to guest = never
  disable spoolss = yes
""")
    for name in ("libpool", "exports.d"):
        shutil.rmtree(os.path.join("/etc", name), ignore_errors=True)


class Shares(unittest.TestCase):
    def setUp(self):
        self.folder = os.path.realpath(tempfile.mkdtemp(prefix="libpool-shares-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        os.chmod(self.folder, 0o755)
        self.addCleanup(self.clear)
        configure_servers()
        for name in ("bin", "disks", "home", "o ther", "a%b"):
            os.mkdir(self.path(name))
        for program in (os.environ["POOLCTL"], os.environ["LIBPOOL_FUSE"]):
            shutil.copy(program, self.path("bin"))
        self.environment = dict(os.environ, LIBPOOL_DISK_PATH=self.path("disks"), LIBPOOL_RUN_PATH=self.path("run"))
        self.poolctl("create", "t", "raid5", *[self.path("disks", f"d{number}") for number in range(3)], "--create-size", "256M")
        for name in ("home", "home/anna", "other"):
            self.poolctl("dataset", "create", f"t/{name}")
        self.poolctl("mount", "t/home", self.path("home"))
        self.servers = []

    def clear(self):
        for server in self.servers:
            server.stop()
        subprocess.run([self.path("bin", "poolctl"), "export", "t", "--force"], env=self.environment, capture_output=True, check=False)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def poolctl(self, *arguments, code=0, says="", **environment):
        run = subprocess.run([self.path("bin", "poolctl"), "--no-devices", *arguments], env={**self.environment, **environment}, capture_output=True,
                             text=True, timeout=120, check=False)
        self.assertEqual(run.returncode, code, f"{arguments}: {run.stdout}{run.stderr}")
        self.assertIn(says, run.stderr if code else run.stdout)
        if code:
            self.assertEqual(len(run.stderr.splitlines()), 1, run.stderr)
        return run.stdout

    def share(self, *arguments, **options):
        return self.poolctl("share", *arguments, **options)

    def shared(self):
        return json.loads(self.share("list", "--json"))["shares"]

    def fails(self, code, function, *arguments):
        with self.assertRaises(OSError) as context:
            function(*arguments)
        self.assertIn(context.exception.errno, code if isinstance(code, tuple) else (code,))

    # ---- files ----

    def test_files(self):
        uuid = os.getxattr(self.path("home"), "system.libpool.fsid").decode()
        before = read("/etc/ganesha/ganesha.conf")
        shown = self.share("add", "t/home", "nfs", "--client", "10.0.0.0/8", "--client", "10.1.0.1:rw,no_root_squash,sec=krb5:krb5i", "-n",
                           says="Would share t/home over nfs")
        self.assertEqual((os.path.exists("/etc/libpool"), read("/etc/ganesha/ganesha.conf"), self.shared()), (False, before, []))
        document = json.loads(self.share("add", "t/home", "nfs", "--client", "10.0.0.0/8", "--client", "10.1.0.1:rw,no_root_squash,sec=krb5:krb5i", "--json"))
        self.assertEqual(document["servers"], [{"server": "ganesha", "reloaded": False}])
        for file in document["files"]:
            self.assertEqual(read(file["path"]), file["text"])
            self.assertIn(f"==> {file['path']} <==\n{file['text']}", shown)
        self.assertEqual(read("/etc/ganesha/ganesha.conf"), before + '\n# What poolctl share shares.\n%include "/etc/libpool/ganesha.conf"\n')
        text = " ".join(read("/etc/libpool/ganesha.conf").split())
        self.assertIn(f'Export_Id = 1; Path = "{self.path("home")}"; Pseudo = "/t/home";', text)
        self.assertIn("Access_Type = None; Squash = All_Squash;", text)
        # The most exact one comes first.
        self.assertRegex(text, r"CLIENT \{ Clients = 10\.1\.0\.1; Access_Type = RW; Squash = no_root_squash; .*SecType = krb5, krb5i; \} CLIENT \{ "
                               r"Clients = 10\.0\.0\.0/8; Access_Type = RO; Squash = root_squash; Anonymous_Uid = 65534;")
        self.share("add", "t/home", "nfs", "--server", "kernel", "--client", "2001:db8::/32:rw,all_squash,anonuid=7", "--client", "@trusted:ro", "--client",
                   "host.example.org:rw")
        options = f"sec=sys,fsid={uuid},mountpoint)"
        self.assertEqual(read("/etc/exports.d/libpool.exports").splitlines()[1:], [
            f"{self.path('home')} host.example.org(rw,sync,no_subtree_check,root_squash,anonuid=65534,anongid=65534,{options}"
            f" @trusted(ro,sync,no_subtree_check,root_squash,anonuid=65534,anongid=65534,{options}"
            f" 2001:db8::/32(rw,sync,no_subtree_check,all_squash,anonuid=7,anongid=65534,{options}"])
        self.poolctl("mount", "t/other", self.path("o ther"))
        self.share("add", "t/other", "nfs", "--server", "kernel", "--client", "10.0.0.0/8")
        self.assertIn(self.path("o\\040ther") + " 10.0.0.0/8(", read("/etc/exports.d/libpool.exports"))
        # SMB: alone on its files a client may keep them to itself.
        self.share("add", "t/other", "smb", "--valid-users", "anna,EXAMPLE\\berta:ro,@staff two", "--name", "Our Files")
        samba = [line.strip() for line in read("/etc/libpool/smb.conf").splitlines()]
        for line in ("[Our Files]", f"path = {self.path('o ther')}", 'valid users = "anna", "EXAMPLE\\berta", "@staff two"', 'read list = "EXAMPLE\\berta"',
                     "guest ok = no", "vfs objects = acl_xattr streams_xattr", "kernel share modes = no", "kernel oplocks = no", "oplocks = no",
                     f'root preexec = mountpoint -q "{self.path("o ther")}"'):
            self.assertIn(line, samba)
        self.share("remove", "t/other", "nfs")
        self.assertIn("\toplocks = yes\n", read("/etc/libpool/smb.conf"))
        self.assertEqual(read("/etc/samba/smb.conf").count("include = /etc/libpool/smb.conf"), 1)
        self.assertEqual(subprocess.run(["testparm", "-s", "/etc/samba/smb.conf"], capture_output=True, text=True, check=True).stderr.count("nknown param"), 0)
        # What is shared, in all its ways.
        shares = self.shared()
        self.assertEqual([(share["object"], share["protocol"], share["server"], share["state"]) for share in shares],
                         [("t/home", "nfs", "ganesha", "mounted"), ("t/home", "nfs", "kernel", "mounted"), ("t/other", "smb", "samba", "mounted")])
        self.assertEqual(shares[0]["clients"][1], {"client": "10.0.0.0/8", "access": "ro", "squash": "root_squash", "anonymous_uid": 65534,
                                                   "anonymous_gid": 65534, "security": "sys"})
        self.assertEqual(shares[2]["users"][1], {"user": "EXAMPLE\\berta", "access": "ro"})
        self.assertEqual(self.share("list", "t", "-H", "-o", "object,name,who").splitlines()[2], "t/other\tOur Files\tanna EXAMPLE\\berta:ro @staff two")
        self.assertEqual(self.share("list", "other", "-H"), "")
        self.poolctl("unmount", self.path("o ther"))
        self.assertEqual([share["state"] for share in self.shared()], ["mounted", "mounted", "not mounted"])
        # Ganesha would share the folder below.
        self.poolctl("unmount", self.path("home"))
        self.assertIn("Left out", self.share("refresh", "-n", says="Would write the configuration of 3 shares, 1 left out"))
        self.assertIn("EXPORT", read("/etc/libpool/ganesha.conf"))
        self.share("refresh", says="Wrote")
        self.assertNotIn("EXPORT", read("/etc/libpool/ganesha.conf"))
        self.poolctl("mount", "t/home", self.path("home"))
        self.share("refresh", says=" 0 left out")
        self.assertIn("Export_Id = 1;", read("/etc/libpool/ganesha.conf"))
        # Twice, other rules, other names, numbers that stay.
        self.share("add", "t/home", "nfs", "--client", "10.0.0.0/8", code=1, says="--force")
        self.poolctl("mount", "t/other", self.path("o ther"))
        self.share("add", "t/other", "nfs", "--client", "10.0.0.0/8")
        self.share("add", "t/home", "nfs", "--client", "10.9.0.0/16:rw", "--force")
        text = read("/etc/libpool/ganesha.conf")
        self.assertEqual((text.count("Export_Id = 1;"), text.count("Export_Id = 2;"), "10.0.0.0/8" in text.split("Export_Id = 1;")[1]), (1, 1, False))
        self.share("add", "t/home", "smb", "--name", "our files", "--valid-users", "anna", code=1, says="take another name")
        self.share("remove", "t/none", code=1, says="isn't shared")
        self.share("remove", "t/home", "smb", code=1, says="isn't shared")
        self.share("remove", "t/home", "-n", says="Would remove 2 shares")
        self.share("remove", "t/home", says="Removed 2 shares")
        self.share("remove", "t/other")
        self.assertEqual(self.shared(), [])
        for path in ("libpool/ganesha.conf", "libpool/smb.conf", "exports.d/libpool.exports"):
            self.assertEqual(read(os.path.join("/etc", path)), "# Written by poolctl share: what is changed here is lost.\n")

    def test_refused(self):
        refused = {
            ("nfs",): "nobody could reach it",
            ("smb",): "nobody could reach it",
            ("smb", "--valid-users", ""): "nobody",
            ("smb", "--valid-users", ","): "nobody",
            ("ftp", "--client", "10.0.0.1"): "no protocol",
            ("nfs", "--client", "*"): "names nobody",
            ("nfs", "--client", "10.0.0.1/8"): "a machine and a network",
            ("nfs", "--client", "fd00::1/64:rw"): "a machine and a network",
            ("nfs", "--client", "10.0.0.0/33"): "number of bits",
            ("nfs", "--client", "10.0.0.0/-1"): "number of bits",
            ("nfs", "--client", "10.0.0.0/"): "number of bits",
            ("nfs", "--client", "host/24"): "no network",
            ("nfs", "--client", "10.0.0"): "no client",
            ("nfs", "--client", ""): "no client",
            ("nfs", "--client", "@"): "no client",
            ("nfs", "--client", "a b"): "no client",
            ("nfs", "--client", "a;Access_Type=RW"): "no client",
            ("nfs", "--client", "h(rw)"): "no client",
            ("nfs", "--client", "h\n* "): "no client",
            ("nfs", "--client", "h}EXPORT"): "no client",
            ("nfs", "--client", "10.0.0.1:rx"): "no option 'rx'",
            ("nfs", "--client", "10.0.0.1:rw,insecure"): "no option 'insecure'",
            ("nfs", "--client", "10.0.0.1:anonuid=x"): "a number",
            ("nfs", "--client", "10.0.0.1:anonuid=4294967296"): "a number",
            ("nfs", "--client", "10.0.0.1:sec=none"): "sec=",
            ("nfs", "--client", "10.0.0.1:sec="): "sec=",
            ("nfs", "--client", "10.0.0.1", "--client", "10.0.0.1:rw"): "named twice",
            ("nfs", "--client", "h" * 300): "too long",
            ("nfs", "--client", "10.0.0.1", "--server", "samba"): "no server",
            ("nfs", "--client", "10.0.0.1", "--name", "x"): "for smb",
            ("nfs", "--valid-users", "anna"): "for smb",
            ("smb", "--client", "10.0.0.1", "--valid-users", "anna"): "for nfs",
            ("smb", "--valid-users", "anna", "--server", "kernel"): "for nfs",
            ("smb", "--valid-users", "an\"na"): "no user",
            ("smb", "--valid-users", "anna\nguest ok = yes"): "no user",
            ("smb", "--valid-users", "%U"): "no user",
            ("smb", "--valid-users", "+staff"): "no user",
            ("smb", "--valid-users", "anna:rx"): "ro or rw",
            ("smb", "--valid-users", "anna,anna:ro"): "named twice",
            ("smb", "--valid-users", "anna", "--name", "global"): "something else",
            ("smb", "--valid-users", "anna", "--name", "Homes"): "something else",
            ("smb", "--valid-users", "anna", "--name", "a]\n[b"): "can't be the name",
            ("smb", "--valid-users", "anna", "--name", "a/b"): "can't be the name",
            ("smb", "--valid-users", "anna", "--name", " a"): "can't be the name",
            ("smb", "--valid-users", "anna", "--name", "a "): "can't be the name",
            ("smb", "--valid-users", "anna", "--name", "%m"): "can't be the name",
            ("smb", "--valid-users", "anna", "--name", ""): "can't be the name",
            ("smb", "--valid-users", "anna", "--name", "x" * 81): "more than 80",
        }
        for arguments, says in refused.items():
            with self.subTest(arguments=arguments):
                self.share("add", "t/home", *arguments, code=2, says=says)
        self.share("add", "t/other", "nfs", "--client", "10.0.0.1", code=1, says="isn't mounted")
        self.poolctl("mount", "t/other", "--volumes", self.path("o ther"))
        self.share("add", "t/other", "nfs", "--client", "10.0.0.1", code=1, says="isn't mounted")
        self.poolctl("unmount", self.path("o ther"))
        self.poolctl("mount", "t/other", self.path("a%b"))
        self.share("add", "t/other", "smb", "--valid-users", "anna", code=1, says="mount it at another directory")
        os.rename("/etc/samba/smb.conf", "/etc/samba/away")
        self.share("add", "t/home", "smb", "--valid-users", "anna", code=1, says="install Samba")
        self.assertEqual((self.shared(), os.path.exists("/etc/libpool/shares.json")), ([], False))
        # A list that somebody has changed by hand is checked as what is typed.
        self.share("add", "t/home", "nfs", "--client", "10.0.0.1")
        good = read("/etc/libpool/shares.json")
        for bad in ("", "{", "[]", '{"shares": 1}', '{"shares": [1]}', good.replace("10.0.0.1", "*"), good.replace("t/home", "t/ho me"), good.replace("ganesha", "x"),
                    good.replace(self.path("home"), "/a\\nb"), good.replace('"export_id":1', '"export_id":0')):
            write("/etc/libpool/shares.json", bad)
            self.share("list", code=1, says="shares.json")
            self.share("add", "t/other", "nfs", "--client", "10.0.0.1", code=1)
        # Another folder in place of /etc: no server is told.
        os.makedirs(self.path("etc/ganesha"))
        write(self.path("etc/ganesha/ganesha.conf"), "")
        self.share("add", "t/home", "nfs", "--client", "10.0.0.1", LIBPOOL_ETC_PATH=self.path("etc"), says="wasn't told")
        self.assertEqual(sorted(os.listdir(self.path("etc/libpool"))), ["ganesha.conf", "shares.json"])

    def test_found_by_what_it_is(self):
        """Not by the name in the list of mounts, which another pool may have as well."""
        rules = ("nfs", "--client", "10.0.0.1")
        fsid = lambda folder: os.getxattr(self.path(folder), "system.libpool.fsid").decode()    # noqa: E731
        self.share("add", "t/none", *rules, code=1, says="there is no file system t/none")
        # A second pool of the same name, served by a process of its own.
        os.mkdir(self.path("others"))
        other = {"LIBPOOL_DISK_PATH": self.path("others"), "LIBPOOL_RUN_PATH": self.path("run2")}
        self.addCleanup(lambda: self.poolctl("export", "t", "--force", **other))
        self.poolctl("create", "t", "single", self.path("others", "e0"), "--create-size", "256M", **other)
        self.poolctl("dataset", "create", "t/home", **other)
        self.poolctl("mount", "t/home", self.path("o ther"), **other)
        for environment, folder in ((other, "o ther"), ({}, "home")):
            self.share("add", "t/home", *rules, "--force", **environment)
            self.assertEqual([(share["directory"], share["fsid"]) for share in self.shared()], [(self.path(folder), fsid(folder))])
        self.share("add", "t/home", *rules, "--force", LIBPOOL_RUN_PATH=self.path("nobody"), code=1, says="two file systems called t/home")

    # ---- servers ----

    def start(self, *kinds):
        for kind in kinds:
            server = kind(self.path(kind.__name__))
            self.servers.append(server)
            server.start()
        return self.servers

    def restart_all(self):
        """Servers, and the process that has the file systems mounted."""
        for server in self.servers:
            server.stop()
        self.poolctl("unmount", "t")
        self.poolctl("mount", "t/home", self.path("home"))
        for server in self.servers:
            server.start()

    def test_nfs(self):
        self.share("add", "t/home", "nfs", "--client", "127.0.0.1:rw,no_root_squash", "--client", "10.1.0.0/24", "--client", "fd00::/64:ro")
        self.start(Portmapper, MachineGanesha)
        home = self.path("home")
        subprocess.run(["cp", "-a", SOURCE, os.path.join(home, "linux")], check=True)
        os.mkdir(os.path.join(home, "open"), 0o777)
        os.chmod(os.path.join(home, "open"), 0o777)
        for export, version in ((home, 3), ("/t/home", 4)):
            client = NfsClient(export, version)
            client.write(f"/new{version}", b"by root")
            self.assertEqual((read(os.path.join(home, f"new{version}")), os.stat(os.path.join(home, f"new{version}")).st_uid), ("by root", 0))
            client.close()
            reader = NfsClient(export, version, server="10.1.0.1")
            self.assertEqual(reader.read("/linux/fuse.h"), read("/usr/include/linux/fuse.h", "rb"))
            self.fails((errno.EROFS, errno.EACCES), reader.write, "/open/no", b"x")
            reader.close()
            with self.assertRaises(OSError):
                NfsClient(export, version, server="10.2.0.1").read(f"/new{version}")
        # Other rules while it runs: they hold at once, and nothing else does.
        holder = NfsClient(home, 3)
        handle = holder.open("/linux/fuse.h")
        document = json.loads(self.share("add", "t/home", "nfs", "--client", "127.0.0.1:rw", "--client", "10.2.0.0/24:rw,all_squash,anonuid=2001", "--force", "--json"))
        self.assertEqual(document["servers"], [{"server": "ganesha", "reloaded": True}])

        def can_write():
            try:
                other = NfsClient(home, 3, server="10.2.0.1")
                other.write("/open/squashed", b"x")
                other.close()
                return True
            except OSError:
                return False
        wait_until(can_write, "Ganesha knows the other rules", 20)
        self.assertEqual(os.stat(os.path.join(home, "open/squashed")).st_uid, 2001)
        with self.assertRaises(OSError):
            NfsClient(home, 3, server="10.1.0.1").read("/linux/fuse.h")
        self.fails(errno.EACCES, holder.write, "/no", b"x")   # root is nobody now
        self.restart_all()
        self.assertEqual(holder.pread(handle, 1 << 20, 0), read("/usr/include/linux/fuse.h", "rb"))
        self.share("remove", "t/home", "nfs")

        def is_gone():
            try:
                holder.status(handle)
                return False
            except OSError:
                return True
        wait_until(is_gone, "Ganesha has let go of the share", 20)

    def smb(self, user, commands, code=0, share="home"):
        run = subprocess.run(["smbclient", f"//127.0.0.1/{share}", "-U", f"{user}%secret-{user}", "-c", commands], cwd=self.folder, capture_output=True, text=True,
                             timeout=120, check=False)
        self.assertEqual(run.returncode, code, run.stdout + run.stderr)
        return run.stdout

    def test_smb(self):
        for name in ("anna", "berta", "carla"):
            subprocess.run(["smbpasswd", "-s", "-a", name], input=f"secret-{name}\n" * 2, text=True, check=True, capture_output=True)
        home = self.path("home")
        os.chmod(home, 0o777)
        self.share("add", "t/home", "smb", "--valid-users", "anna,berta:ro")
        self.start(MachineSamba)
        data = random.Random(1).randbytes(3 * MIB + 17)
        write(self.path("local"), data)
        write(self.path("stream"), b"beside it")
        self.smb("anna", "put local file; mkdir d; cd d; put local Deep; rename Deep deeper; mkdir e; rmdir e")
        self.assertEqual((read(os.path.join(home, "file"), "rb") == data, os.stat(os.path.join(home, "file")).st_uid), (True, 2001))
        self.assertEqual(os.listdir(os.path.join(home, "d")), ["deeper"])
        # Streams and attributes, beside the content.
        self.smb("anna", "put stream file:notes; setmode file +rh; get FILE back; get file:notes stream-back")
        self.assertTrue(filecmp.cmp(self.path("back"), self.path("local"), shallow=False))
        self.assertEqual(read(self.path("stream-back")), "beside it")
        information = self.smb("anna", "allinfo file")
        for part in ("attributes: RHA", "stream: [:notes:$DATA], 9 bytes", "stream: [::$DATA], %d bytes" % len(data)):
            self.assertIn(part, information)
        self.assertIn("user.DOSATTRIB", os.listxattr(os.path.join(home, "file")))
        # A tree, there and back. Names that differ by case only are one to SMB.
        subprocess.run(["cp", "-rL", "/usr/include/x86_64-linux-gnu/bits", self.path("tree")], check=True)
        self.smb("anna", "recurse on; prompt off; mput tree")
        subprocess.run(["diff", "-r", self.path("tree"), os.path.join(home, "tree")], check=True)
        os.mkdir(self.path("received"))
        self.smb("anna", f"recurse on; prompt off; lcd {self.path('received')}; mget tree")
        subprocess.run(["diff", "-r", self.path("tree"), self.path("received/tree")], check=True)
        # Where the file system finds names by itself, Samba asks it, and clients see them as they were given.
        self.poolctl("dataset", "create", "t/names", "--casesensitivity", "insensitive", "--normalization", "formD")
        self.poolctl("mount", "t/names", self.path("o ther"))
        os.chmod(self.path("o ther"), 0o777)
        self.share("add", "t/names", "smb", "--name", "names", "--valid-users", "anna")
        parameters = subprocess.run(["testparm", "-s", "--section-name=names", "/etc/samba/smb.conf"], capture_output=True, text=True, check=True).stdout
        self.assertIn("case sensitive = Yes", parameters)
        self.assertNotIn("case sensitive = Yes", subprocess.run(["testparm", "-s", "--section-name=home", "/etc/samba/smb.conf"], capture_output=True,
                                                                text=True, check=True).stdout)
        self.smb("anna", "put local Mixed; get mIXED back; mkdir D; cd d; put local \u00c4; cd ..; rename mixed Other", share="names")
        self.assertTrue(filecmp.cmp(self.path("back"), self.path("local"), shallow=False))
        self.assertEqual(sorted(os.listdir(self.path("o ther"))), ["D", "Other"])
        self.smb("anna", "del OTHER; get d/A\u0308 back", share="names")
        self.assertEqual(os.listdir(self.path("o ther")), ["D"])
        self.share("remove", "t/names", "smb")
        # Who may, and who may not.
        self.assertIn("DENIED", self.smb("berta", "put local no", code=1))
        self.smb("berta", "get file back")
        self.assertIn("DENIED", self.smb("carla", "ls", code=1))
        self.assertIn("LOGON_FAILURE", self.smb("anna%wrong", "ls", code=1))
        self.assertIn("BAD_NETWORK_NAME", self.smb("anna", "ls", code=1, share="other"))
        # All of it after a restart.
        self.restart_all()
        self.assertIn("stream: [:notes:$DATA], 9 bytes", self.smb("anna", "get file again; allinfo file"))
        self.assertTrue(filecmp.cmp(self.path("again"), self.path("local"), shallow=False))
        # Whoever is connected is cut off when the share goes, or its rules change.
        client = subprocess.Popen(["smbclient", "//127.0.0.1/home", "-U", "berta%secret-berta"], cwd=self.folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True)
        client.stdin.write("get file first\n")
        client.stdin.flush()
        wait_until(lambda: os.path.exists(self.path("first")) and os.path.getsize(self.path("first")) == len(data), "the first file is there")
        document = json.loads(self.share("add", "t/home", "smb", "--valid-users", "anna", "--force", "--json"))
        self.assertEqual(document["servers"], [{"server": "samba", "reloaded": True}])
        self.assertIn("DENIED", self.smb("berta", "ls", code=1))
        client.communicate("get file second\n", timeout=60)
        self.assertFalse(os.path.exists(self.path("second")) and os.path.getsize(self.path("second")) == len(data))
        self.smb("anna", "ls")
        # Nothing is served from the directory below when nothing is mounted there.
        self.servers[0].stop()
        self.poolctl("unmount", "t")
        self.servers[0].start()
        self.smb("anna", "put local underneath", code=1)
        self.assertEqual(os.listdir(home), [])
        self.poolctl("mount", "t/home", home)
        self.smb("anna", "get file back")
        self.share("remove", "t/home")
        self.smb("anna", "ls", code=1)


if __name__ == "__main__":
    enter_namespace("ganesha.nfsd", "rpcbind", "smbd", "smbclient", "smbcontrol", "ip")
    MACHINE = tempfile.mkdtemp(prefix="libpool-machine-")
    try:
        make_machine(MACHINE)
        sys.exit(0 if unittest.main(exit=False).result.wasSuccessful() else 1)
    finally:
        subprocess.run(["umount", "-l", "/etc", MACHINE], check=False)
        os.rmdir(MACHINE)
