# SPDX-License-Identifier: BSD-2-Clause
"""A client of NFS in user space: libnfs, by way of ctypes. Errors are OSErrors; what it holds open it asks for by handle."""
import ctypes
import os


class Stat(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("dev", "ino", "mode", "nlink", "uid", "gid", "rdev", "size", "blksize", "blocks", "atime",
                                                     "mtime", "ctime", "atime_nsec", "mtime_nsec", "ctime_nsec", "used")]


class Entry(ctypes.Structure):
    """The beginning of struct nfsdirent."""
    _fields_ = [("next", ctypes.c_void_p), ("name", ctypes.c_char_p), ("inode", ctypes.c_uint64)]


def load():
    library = ctypes.CDLL("libnfs.so.13")
    context, handle, offset = ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint64
    library.nfs_init_context.restype = context
    library.nfs_get_error.restype = ctypes.c_char_p
    library.nfs_readdir.restype = ctypes.POINTER(Entry)
    for name, arguments in {
            "nfs_get_error": (), "nfs_destroy_context": (), "nfs_set_version": (ctypes.c_int,), "nfs_set_uid": (ctypes.c_int,),
            "nfs_set_gid": (ctypes.c_int,), "nfs_set_timeout": (ctypes.c_int,), "nfs_set_autoreconnect": (ctypes.c_int,),
            "nfs_mount": (ctypes.c_char_p, ctypes.c_char_p), "nfs_open": (ctypes.c_char_p, ctypes.c_int, ctypes.POINTER(handle)),
            "nfs_open2": (ctypes.c_char_p, ctypes.c_int, ctypes.c_int, ctypes.POINTER(handle)), "nfs_close": (handle,), "nfs_fsync": (handle,),
            "nfs_pread": (handle, offset, offset, ctypes.c_void_p), "nfs_pwrite": (handle, offset, offset, ctypes.c_char_p),
            "nfs_ftruncate": (handle, offset), "nfs_fstat64": (handle, ctypes.POINTER(Stat)), "nfs_stat64": (ctypes.c_char_p, ctypes.POINTER(Stat)),
            "nfs_lstat64": (ctypes.c_char_p, ctypes.POINTER(Stat)), "nfs_mkdir": (ctypes.c_char_p,), "nfs_rmdir": (ctypes.c_char_p,),
            "nfs_unlink": (ctypes.c_char_p,), "nfs_rename": (ctypes.c_char_p, ctypes.c_char_p), "nfs_link": (ctypes.c_char_p, ctypes.c_char_p),
            "nfs_symlink": (ctypes.c_char_p, ctypes.c_char_p), "nfs_readlink": (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int),
            "nfs_chmod": (ctypes.c_char_p, ctypes.c_int), "nfs_chown": (ctypes.c_char_p, ctypes.c_int, ctypes.c_int),
            "nfs_opendir": (ctypes.c_char_p, ctypes.POINTER(handle)), "nfs_readdir": (handle,), "nfs_closedir": (handle,)}.items():
        getattr(library, name).argtypes = (context, *arguments)
    return library


class NfsClient:
    library = None

    def __init__(self, export, version, uid=0, server="127.0.0.1"):
        NfsClient.library = NfsClient.library or load()
        self.context = self.library.nfs_init_context()
        self.library.nfs_set_version(self.context, version)
        self.piece = 256 << 10 if version == 3 else 2048  # libnfs 4.0 can't encode longer writes of version 4
        self.library.nfs_set_uid(self.context, uid)
        self.library.nfs_set_gid(self.context, uid)
        self.library.nfs_set_timeout(self.context, 60000)
        self.library.nfs_set_autoreconnect(self.context, -1)
        try:
            self.call("mount", server.encode(), os.fsencode(export))
        except OSError:
            self.close()
            raise

    def close(self):
        if self.context:
            self.library.nfs_destroy_context(self.context)
        self.context = None

    def call(self, name, *arguments):
        result = getattr(self.library, f"nfs_{name}")(self.context, *[os.fsencode(a) if isinstance(a, str) else a for a in arguments])
        if result < 0:
            raise OSError(-result, f"{name}: {self.library.nfs_get_error(self.context).decode(errors='replace')}")
        return result

    def open(self, path, flags=os.O_RDONLY):
        handle = ctypes.c_void_p()
        self.call("open", path, flags, ctypes.byref(handle))
        return handle

    def create(self, path, mode=0o644):
        handle = ctypes.c_void_p()
        self.call("open2", path, os.O_CREAT | os.O_RDWR | os.O_TRUNC, mode, ctypes.byref(handle))
        return handle

    def pread(self, handle, length, offset):
        buffer = ctypes.create_string_buffer(length)
        done = self.call("pread", handle, offset, length, buffer)
        return buffer.raw[:done]

    def pwrite(self, handle, data, offset):
        done = 0
        while done < len(data):
            piece = data[done:done + self.piece]
            done += self.call("pwrite", handle, offset + done, len(piece), piece)

    def write(self, path, data, mode=0o644):
        handle = self.create(path, mode)
        try:
            self.pwrite(handle, data, 0)
        finally:
            self.call("close", handle)

    def read(self, path):
        handle = self.open(path)
        parts, offset = [], 0
        try:
            while part := self.pread(handle, 256 << 10, offset):
                parts.append(part)
                offset += len(part)
        finally:
            self.call("close", handle)
        return b"".join(parts)

    def status(self, handle):
        result = Stat()
        self.call("fstat64", handle, ctypes.byref(result))
        return result

    def stat(self, path, name="stat64"):
        result = Stat()
        self.call(name, path, ctypes.byref(result))
        return result

    def readlink(self, path):
        buffer = ctypes.create_string_buffer(4097)
        self.call("readlink", path, buffer, len(buffer))
        return os.fsdecode(buffer.value)

    def list(self, path):
        """{name: inode number}, also of "." and ".."."""
        handle, entries = ctypes.c_void_p(), {}
        self.call("opendir", path, ctypes.byref(handle))
        while entry := self.library.nfs_readdir(self.context, handle):
            entries[os.fsdecode(entry.contents.name)] = entry.contents.inode
        self.library.nfs_closedir(self.context, handle)
        return entries

    def walk(self, path):
        """(path, whether it is a directory) of all below."""
        for name in sorted(self.list(path)):
            if name in (".", ".."):
                continue
            inner = f"{path.rstrip('/')}/{name}"
            directory = self.stat(inner, "lstat64").mode & 0o170000 == 0o040000
            yield inner, directory
            if directory:
                yield from self.walk(inner)
