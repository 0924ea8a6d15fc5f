# SPDX-License-Identifier: BSD-2-Clause
"""File systems (FORMAT.md, section 24): directories, files, links, extended attributes, and how they are extracted."""
import os
import stat
import struct
from dataclasses import dataclass

from .intent import INODE, apply
from .objects import BLOB, TREE_KIND, Blob, Dnode, Objset, Tree
from .pointers import DATA
from .structure import ReaderError, expect, expect_zeros

ORPHANS, FURTHER_NAMES, ROOT = 1, 2, 16
PART = 2048
TYPES = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link", stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket",
         stat.S_IFCHR: "character device", stat.S_IFBLK: "block device"}


@dataclass
class Inode:
    number: int
    dnode: Dnode
    mode: int
    user: int
    group: int
    links: int
    size: int
    device: tuple
    name: tuple         # the directory and cookie of one of its names
    attributes: int
    times: tuple        # ns since 1970: access, modification, change, birth
    here: bytes         # content that is in the inode, or None

    @classmethod
    def decode(cls, number, dnode):
        what = f"inode {number}"
        expect(dnode is not None and len(dnode.bonus) == 320, f"{what}: there is none")
        mode, flags, user, group, _, links, size, major, minor, *name, attributes = struct.unpack_from("<6IQIIQQQ", dnode.bonus)
        seconds, parts = struct.unpack_from("<4q", dnode.bonus, 64), struct.unpack_from("<4I", dnode.bonus, 96)
        length = struct.unpack_from("<H", dnode.bonus, 120)[0]
        expect(stat.S_IFMT(mode) in TYPES and mode < 1 << 16 and flags == 0 and size <= 1 << 60, f"{what}: out of bounds")
        expect(all(part < 10**9 for part in parts) and length <= 192 and length in (0, size), f"{what}: its times or its length")
        expect(dnode.kind == (TREE_KIND if stat.S_ISDIR(mode) else BLOB), f"{what}: not of the kind of its type")
        expect_zeros(dnode.bonus, 122, 128, what)
        expect_zeros(dnode.bonus, 128 + length, 320, what)
        return cls(number, dnode, mode, user, group, links, size, (major, minor), tuple(name), attributes,
                   tuple(10**9 * second + part for second, part in zip(seconds, parts)), dnode.bonus[128:128 + length] if length else None)

    @property
    def type(self):
        return TYPES[stat.S_IFMT(self.mode)]


class FileSystem:
    def __init__(self, pool, dataset):
        self.pool, self.name = pool, dataset.name
        self.objset = Objset(pool.reader, dataset.objset, dataset.id)
        head = self.objset.dnode(ORPHANS)
        expect(head is not None and len(head.bonus) == 64, f"file system {self.name}: object 1 doesn't describe it")
        expect_zeros(head.bonus, 21, 64, f"file system {self.name}")
        (self.case, self.form), self.hash_key, self.changes = head.bonus[16:18], head.bonus[:16], pool.changes.get(dataset.id, ())
        expect(self.case < 2 and self.form < 3 and any(head.bonus[18:21]) == any(head.bonus[16:18]), f"file system {self.name}: how names are compared")

    def inode(self, number):
        dnode = self.objset.dnode(number)
        for change in self.changes:
            if (change.kind, change.object) == (INODE, number):
                expect(dnode is not None and dnode.generation == change.offset, f"inode {number}: the intent log means another")
                dnode.bonus = change.content
        return Inode.decode(number, dnode)

    def entries(self, directory):
        """(name, (object, type)) of all entries, by their names."""
        found = {}
        for key, value in Tree(self.pool.reader, directory.dnode).items():
            what = f"directory {directory.number}"
            expect(len(key) == 8 and len(value) > 8, f"{what}: lengths of an entry")
            kind, length, name = value[6], value[7], value[8:]
            expect(len(name) == length and name not in (b".", b"..") and not set(name) & {0, 47}, f"{what}: a name")
            expect(name not in found, f"{what}: {name!r} twice")
            found[name] = int.from_bytes(value[:6], "little"), kind
        expect(len(found) == directory.size, f"directory {directory.number}: {len(found)} entries, not {directory.size}")
        return sorted(found.items())

    def attributes(self, inode):
        """Extended attributes: {name: value}."""
        found, wanted = {}, {}
        for key, value in self.objset.tree(inode.attributes).items() if inode.attributes else ():
            name, end, part = key[:-2], key[-2], key[-1]
            expect(1 <= len(name) <= 255 and end == 0 and 0 not in name, f"inode {inode.number}: name of an attribute")
            if part == 0:
                wanted[name], value = struct.unpack_from("<I", value)[0], value[4:]
            have = found.get(name, b"")
            expect(part * PART == len(have) and len(value) == min(PART, wanted[name] - len(have)), f"inode {inode.number}: attribute {name!r}")
            found[name] = have + value
        expect(wanted == {name: len(value) for name, value in found.items()}, f"inode {inode.number}: an attribute is cut")
        return found

    def content(self, inode, lost):
        """(offset, bytes) of what isn't a hole; lost(offset, length, error)."""
        if inode.here is not None:
            yield 0, inode.here
            return
        changes = [change for change in self.changes if change.object == inode.number and change.kind != INODE]
        blocks = self.pool.content(Blob(self.pool.reader, inode.dnode, DATA), inode.size, lost)
        for offset, block in apply(changes, inode.size, 1 << inode.dnode.block_shift, blocks):
            yield offset, block[:inode.size - offset]

    def target(self, inode):
        """Of a symbolic link."""
        def lose(_offset, _length, error):
            raise error
        pieces = dict(self.content(inode, lose))
        expect(sum(map(len, pieces.values())) == inode.size, f"inode {inode.number}: its target has holes")
        return b"".join(pieces[offset] for offset in sorted(pieces))


class Extraction:
    """Everything into a folder; what is there of each name, and what is lost of it, goes to `listing`."""

    def __init__(self, files, folder):
        self.files, self.folder = files, os.fsencode(folder)
        self.listing, self.first, self.directories = [], {}, []

    def run(self):
        if os.path.lexists(self.folder) and os.listdir(self.folder):
            raise ReaderError(f"{os.fsdecode(self.folder)} is not empty; name another folder")
        os.makedirs(self.folder, exist_ok=True)
        self.take(b"", ROOT, stat.S_IFDIR >> 12)
        for path, inode in reversed(self.directories):
            self.dress(path, inode)
        return self.listing

    def take(self, path, number, kind):
        entry = {"path": os.fsdecode(path), "object": number, "lost": []}
        self.listing.append(entry)
        try:
            inode = self.files.inode(number)
            expect(inode.mode >> 12 == kind, f"inode {number}: not of the type that its entry has")
            entry |= {"type": inode.type, "mode": stat.S_IMODE(inode.mode), "user": inode.user, "group": inode.group, "links": inode.links,
                      "size": inode.size, "device": inode.device, "times_ns": inode.times}
            self.make(os.path.join(self.folder, path), path, inode, entry)
            entry["attributes"] = {os.fsdecode(name): value.hex() for name, value in self.files.attributes(inode).items()}
        except (ReaderError, struct.error, IndexError, KeyError) as error:
            entry["lost"].append({"offset": 0, "bytes": None, "error": str(error)})

    def make(self, target, path, inode, entry):
        if inode.number in self.first:
            expect(inode.type != "directory", f"inode {inode.number}: a directory with two names")
            os.link(self.first[inode.number], target, follow_symlinks=False)
            return
        self.first[inode.number] = target
        if inode.type == "directory":
            os.makedirs(target, mode=0o700, exist_ok=path == b"")
            self.directories.append((target, inode))
            for name, (number, kind) in self.files.entries(inode):
                self.take(os.path.join(path, name), number, kind)
            return
        if inode.type == "file":
            self.make_file(target, inode, entry)
        elif inode.type == "link":
            link = self.files.target(inode)
            entry["target"] = os.fsdecode(link)
            os.symlink(link, target)
        elif inode.type in ("fifo", "socket") or os.geteuid() == 0:
            os.mknod(target, stat.S_IFMT(inode.mode) | 0o600, os.makedev(*inode.device))
        else:
            return      # only root makes devices: it is in the listing
        self.dress(target, inode)

    def make_file(self, target, inode, entry):
        def lose(offset, length, error):
            entry["lost"].append({"offset": offset, "bytes": length, "error": str(error)})
        file = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(file, inode.size)
            for offset, content in self.files.content(inode, lose):
                os.pwrite(file, content, offset)
        finally:
            os.close(file)

    @staticmethod
    def dress(target, inode):
        """Owner (as root), permissions and times; extended attributes are only listed: other file systems take few of them."""
        if os.geteuid() == 0:
            os.chown(target, inode.user, inode.group, follow_symlinks=False)
        if inode.type != "link":
            os.chmod(target, stat.S_IMODE(inode.mode))
        os.utime(target, ns=inode.times[:2], follow_symlinks=False)
