#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Images of file systems, and the tools that people move them with."""
import json
import os
import shutil
import unittest

from nbd_case import MIB, NbdCase

IMAGE_MIB = 48


class Images(NbdCase):
    def setUp(self):
        super().setUp()
        self.images_folder = os.path.join(self.folder, "images")
        os.mkdir(self.images_folder)
        self.create_volume(f"{IMAGE_MIB}M", profile="raid6:2+2")
        self.server = self.serve()

    def image_path(self, name):
        return os.path.join(self.images_folder, name)

    @staticmethod
    def files_of(top):
        for folder, folders, names in os.walk(top):
            folders.sort()
            for name in sorted(names):
                path = os.path.join(folder, name)
                if os.path.isfile(path) and not os.path.islink(path) and os.access(path, os.R_OK):
                    yield path

    def file_system(self):
        """An ext4 with some files of this machine."""
        tree, size = self.image_path("tree"), 0
        os.mkdir(tree)
        for path in self.files_of("/usr/share"):
            shutil.copyfile(path, os.path.join(tree, f"{size}-{os.path.basename(path)}"[:200]))
            size += os.path.getsize(path)
            if size > 6 * MIB:
                break
        image = self.image_path("image")
        with open(image, "wb") as file:
            file.truncate(IMAGE_MIB * MIB)
        self.run_tool("mke2fs", "-q", "-t", "ext4", "-d", tree, image)
        self.assertGreater(size, 6 * MIB)
        return image

    def test_qemu_img(self):
        image, uri = self.file_system(), self.server.uri()
        self.run_tool("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", image, uri)
        self.run_tool("qemu-img", "compare", "-f", "raw", "-F", "raw", image, uri)
        self.run_tool("qemu-img", "convert", "-f", "raw", "-O", "qcow2", uri, self.image_path("back"))
        self.run_tool("qemu-img", "compare", "-f", "raw", "-F", "qcow2", image, self.image_path("back"))
        self.run_tool("qemu-img", "convert", "-f", "qcow2", "-O", "raw", self.image_path("back"), self.image_path("raw"))
        self.run_tool("e2fsck", "-n", "-f", self.image_path("raw"))
        # A second one over it: nothing of the first remains.
        other = self.image_path("other")
        with open(other, "wb") as file:
            file.write(self.bytes(MIB))
            file.truncate(IMAGE_MIB * MIB)
        self.run_tool("qemu-img", "compare", "-f", "raw", "-F", "raw", other, uri, code=1)
        self.run_tool("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", other, uri)
        self.run_tool("qemu-img", "compare", "-f", "raw", "-F", "raw", other, uri)
        self.stop(self.server)
        self.verify()

    def test_nbdcopy(self):
        image, uri = self.file_system(), self.server.uri()
        self.run_tool("nbdcopy", "--connections=4", "--flush", image, uri)
        self.run_tool("nbdcopy", uri, self.image_path("back"))
        self.run_tool("cmp", image, self.image_path("back"))
        self.server.kill()
        self.server = self.serve()
        self.run_tool("nbdcopy", self.server.uri(), self.image_path("again"))
        self.run_tool("cmp", image, self.image_path("again"))

    def test_map(self):
        """Holes are where nothing was written: the map of the whole, and how much of it is data."""
        uri = self.server.uri()
        handle = self.server.connect()
        handle.pwrite(b"x" * MIB, 3 * MIB)
        handle.pwrite(b"x", IMAGE_MIB * MIB - 1)
        expected = [(0, 3 * MIB, 3), (3 * MIB, MIB, 0), (4 * MIB, (IMAGE_MIB - 4) * MIB - 16384, 3), (IMAGE_MIB * MIB - 16384, 16384, 0)]
        found = json.loads(self.run_tool("nbdinfo", "--map", "--json", uri))
        self.assertEqual([(entry["offset"], entry["length"], entry["type"]) for entry in found], expected)
        found = json.loads(self.run_tool("qemu-img", "map", "--output=json", "-f", "raw", uri))
        self.assertEqual([(entry["start"], entry["length"], not entry["data"]) for entry in found],
                         [(offset, length, kind == 3) for offset, length, kind in expected])
        self.assertIn("hole", self.run_tool("nbdinfo", "--map", "--totals", uri))

    def fio(self, name, *options):
        self.run_tool("fio", f"--name={name}", "--ioengine=nbd", f"--uri={self.server.uri()}", "--iodepth=16", "--numjobs=4",
                      "--size=8M", "--offset_increment=12M", "--verify=crc32c", "--verify_fatal=1", "--randrepeat=1", "--output-format=terse",
                      *options)

    def test_fio(self):
        self.fio("small", "--rw=randwrite", "--bs=4k")
        self.fio("mixed", "--rw=randrw", "--bsrange=512-64k", "--bs_unaligned", "--verify_backlog=64")
        self.fio("flushed", "--rw=randwrite", "--bs=16k", "--fsync=8", "--io_size=2M")
        self.stop(self.server)
        self.verify()


if __name__ == "__main__":
    unittest.main()
