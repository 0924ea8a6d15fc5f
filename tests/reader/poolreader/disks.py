# SPDX-License-Identifier: BSD-2-Clause
"""From images to the disks of a pool and its newest uberblock (FORMAT.md, sections 3, 4 and 22)."""
import os

from .labels import LABEL_SIZE, Label, Uberblock, decode_sysmap
from .structure import AREA_LABELS, AREA_RING, AREA_SYSMAPS, CELL, MIB, FormatError, ReaderError, area_b

COMMIT_SLOTS, HISTORY_MAX = 120, 32


class Image:
    def __init__(self, path):
        self.path = path
        self.file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.size = os.lseek(self.file, 0, os.SEEK_END)
        self.labels = []
        starts = [0]
        for area in 0, 1:
            self.read_labels(starts[area], area)
            starts.append(area_b(self.labels[0].disk_size if self.labels else self.size))

    def read(self, offset, length):
        """The bytes, or None if not all of them can be read."""
        try:
            data = os.pread(self.file, length, offset) if offset >= 0 else b""
        except OSError:
            return None
        return data if len(data) == length else None

    def read_labels(self, start, area):
        for copy in 0, 1:
            data = self.read(start + AREA_LABELS + copy * LABEL_SIZE, LABEL_SIZE)
            try:
                if data:
                    self.labels.append(Label.decode(data, area, copy))
            except FormatError:
                continue


class Disk:
    """A disk of the configuration, and from which txg on its cells count as absent."""

    def __init__(self, listed, au_shift):
        self.index, self.guid, self.size, self.role = listed.index, listed.guid, listed.size, listed.role
        self.au_shift = au_shift
        self.units = area_b(self.size) - MIB >> au_shift
        self.image = None
        self.uberblocks = []
        self.absent_from = 0            # None: nothing is absent
        self.state = "MISSING"
        self.note = "not among the images"

    def attach(self, image):
        if image.size < self.size:
            self.note = f"{image.path} has {image.size} bytes, not {self.size}"
        else:
            self.image = image
            self.note = ""

    @property
    def areas(self):
        return (0, area_b(self.size)) if self.image else ()

    @property
    def newest(self):
        return max(self.uberblocks, key=lambda uberblock: uberblock.version, default=None)

    def read_uberblocks(self, pool_guid):
        for area in self.areas:
            for slot in range(COMMIT_SLOTS):
                data = self.image.read(area + AREA_RING + slot * CELL, CELL)
                try:
                    if data:
                        self.uberblocks.append(Uberblock.decode(data, pool_guid, self.guid, self.index, slot))
                except FormatError:
                    continue

    def has_diverged(self, chosen):
        """Its newest uberblock is not in the chosen one's history."""
        end = chosen.txg + 1
        for epoch, first in chosen.history:
            if epoch == self.newest.epoch and first <= self.newest.txg < end:
                return False
            end = first
        return True

    def judge(self, chosen):
        """Section 22: what of this disk counts as absent."""
        state, stale_from = chosen.states.get(self.index, ("ONLINE", 0))
        self.state = state
        if not self.image:
            self.state, self.absent_from = "MISSING", 0
        elif self.role == "log":
            self.absent_from = None
        elif not self.newest:
            self.note, self.absent_from = "no valid uberblock", 1
        elif self.has_diverged(chosen):
            self.note, self.absent_from = "diverged: its newest state is not in the pool's history", 1
        elif state in ("MISSING", "RESYNC"):
            self.absent_from = min(stale_from or 1 << 64, self.newest.txg + 1)
        else:
            self.absent_from = stale_from or None

    @property
    def diverged(self):
        return self.note.startswith("diverged")

    def read_rows(self, unit, row, count):
        if not self.image or unit >= self.units:
            return None
        return self.image.read(MIB + (unit << self.au_shift) + row * CELL, count * CELL)


class Disks:
    """The disks of the one pool that the images are of."""

    def __init__(self, paths):
        images = [image for image in map(open_image, paths) if image.labels]
        if not images:
            raise ReaderError("no image has a valid label of a pool")
        self.label = max((label for image in images for label in image.labels), key=lambda label: label.config_txg)
        others = {label.pool_guid for image in images for label in image.labels} - {self.label.pool_guid}
        if others:
            raise ReaderError(f"the images are of several pools: {self.label.pool_guid.hex()}, "
                              f"{', '.join(guid.hex() for guid in others)}; name those of one only")
        if self.label.features not in ([], ["log_disks"]):
            raise ReaderError(f"the pool has features that this reader doesn't know: {', '.join(self.label.features)}")
        self.by_index = {listed.index: Disk(listed, self.label.au_shift) for listed in self.label.disks if not listed.removed}
        self.strangers = []
        self.attach(images)
        for disk in self.by_index.values():
            disk.read_uberblocks(self.label.pool_guid)
        self.uberblock = self.choose()
        if self.uberblock.incompatible:
            raise ReaderError(f"the pool has incompatible features that this reader doesn't know: {self.uberblock.incompatible:#x}")
        for disk in self.by_index.values():
            disk.judge(self.uberblock)
        self.refuse_halves()

    def attach(self, images):
        by_guid = {disk.guid: disk for disk in self.by_index.values()}
        for image in images:
            own = max(image.labels, key=lambda label: label.config_txg)
            disk = by_guid.get(own.disk_guid)
            if disk is None:
                self.strangers.append(image.path)
            elif disk.image:
                raise ReaderError(f"{disk.image.path} and {image.path} are copies of one disk; name only one of them")
            else:
                disk.attach(image)

    def choose(self):
        newest = [disk for disk in self.by_index.values() if disk.newest]
        if not newest:
            raise ReaderError("no image has a valid uberblock: nothing says what the pool's state is")
        left = [disk.newest for disk in newest if not any(self.passes_over(other.newest, disk) for other in newest)]
        return max(left, key=lambda uberblock: uberblock.version)

    def passes_over(self, claim, disk):
        """Section 4: an import went on without this disk, whose newest uberblock was never committed."""
        beyond = claim.txg < disk.newest.txg < claim.states.get(disk.index, ("", 0))[1]
        listed = sum(index in self.by_index and self.by_index[index].role != "log" for index in claim.states)
        return beyond and listed < min(max(self.label.m + 1, 2), disk.newest.online)

    def refuse_halves(self):
        history = self.uberblock.history
        oldest = history[-1][1] if len(history) == HISTORY_MAX else 0      # what is older says nothing
        apart = [disk for disk in self.by_index.values() if disk.diverged and disk.newest.txg >= oldest]
        if len(apart) >= max(1, sum(disk.role != "log" for disk in self.by_index.values()) - self.label.m):
            raise ReaderError("the pool was used in two halves; name the images of one of them only; the other has "
                              + ", ".join(disk.image.path for disk in apart))

    def sysmap(self):
        chosen = self.uberblock
        for disk in self.by_index.values():
            for area in disk.areas:
                data = disk.image.read(area + AREA_SYSMAPS + chosen.sysmap_slot * 65536, chosen.sysmap_length)
                try:
                    return decode_sysmap(data or b"", self.label.pool_guid, chosen)
                except FormatError:
                    continue
        raise ReaderError("no disk has a valid copy of the sysmap: the newest state of the pool can't be read")


def open_image(path):
    try:
        return Image(path)
    except OSError as error:
        raise ReaderError(f"{path}: {error.strerror}") from error
