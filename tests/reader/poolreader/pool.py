# SPDX-License-Identifier: BSD-2-Clause
"""The newest committed state of a pool, step by step as FORMAT.md, section 21, says; and its volumes (sections 19 and 20)."""
import os
import struct
from collections import defaultdict
from dataclasses import dataclass

from .batches import Batch, Batches
from .disks import Disks
from .intent import INODE, RESIZE, IntentLog, apply
from .objects import BLOB, Blob, Dnode, Objset
from .pointers import COMMIT, DATA, SEGMENT_TABLE, BlockPointer
from .reader import Reader
from .segments import PARTIAL, RECORDS_OF_PAGE, Commit, Segment, decode_page, read_logs
from .structure import ReaderError, decode_name, expect, expect_zeros

CATALOGUE, BATCH_MAP, MOVED, SPACE = 1, 2, 3, 8
VOLUME_OBJECT = 16
KINDS = {1: "file system", 2: "volume", 3: "snapshot"}


@dataclass
class Dataset:
    id: int
    kind: str
    block_shift: int
    compression: int
    destroyed: bool
    size: int
    created_txg: int
    created_ns: int
    objset: BlockPointer
    cells: int
    parent: int
    name: str  # its path, once all are known

    @classmethod
    def decode(cls, key, data):
        expect(len(key) == 4 and len(data) == 640, "catalogue: lengths of an entry")
        number, kind, block_shift, compression, flags, size, txg, time = struct.unpack_from("<IBBBBQQQ", data)
        expect(struct.pack(">I", number) == key and number >= 1, "catalogue: id")
        expect(kind in KINDS and (12 <= block_shift <= 20 or (kind == 1 and block_shift == 0)) and compression in (*range(21), 255) and flags <= 1, "catalogue: a record")
        expect(size % (1 << block_shift) == 0, "catalogue: size of a volume")
        settings = struct.unpack_from("<I", data, 168)[0]
        expect(settings < 1 << 9 and not data[180] and not any(data[172 + i] for i in range(16) if i < 2 or not settings >> i & 1), "catalogue: settings")
        expect_zeros(data, 188, 192, "catalogue")
        expect_zeros(data, 200, 384, "catalogue")
        return cls(number, KINDS[kind], block_shift, compression, bool(flags), size, txg, time, BlockPointer.decode(data[40:104]),
                   *struct.unpack_from("<Q", data, 136), *struct.unpack_from("<I", data, 116), decode_name(data[384:640], "catalogue"))

    @property
    def compression_name(self):
        return {0: "off", 255: "auto"}.get(self.compression, f"zstd-{self.compression - 1}")


def decode_moved(value):
    """New DVA, references."""
    expect(len(value) == 16, "xblk: length of an entry")
    dva, references, flags = struct.unpack("<QII", value)
    expect(dva and references and not flags, "xblk: an entry")
    return dva, references


class Pool:
    def __init__(self, paths):
        self.disks = Disks(paths)
        self.label, self.uberblock = self.disks.label, self.disks.uberblock
        self.guid = self.label.pool_guid
        self.reader = Reader(self.disks)
        self.sysmap = {entry.segment: Segment.from_sysmap(entry) for entry in self.disks.sysmap()}
        self.reader.segments.update(self.sysmap)
        self.commit = Commit.decode(self.reader.read(self.uberblock.commit, COMMIT, 0, 1), self.guid)
        expect(self.commit.txg == self.uberblock.txg, f"commit block: of txg {self.commit.txg}, not {self.uberblock.txg}")
        self.read_segments()
        self.mos = Objset(self.reader, self.commit.mos, 0)
        self.moved, self.is_looking = self.mos.tree(MOVED), False
        self.reader.moved = self.find_moved
        self.reader.batches = Batches(self.reader, self.mos.tree(BATCH_MAP), self.newest_batches(), self.guid)
        self.datasets = [Dataset.decode(*entry) for entry in self.mos.tree(CATALOGUE).items()]
        self.make_paths()
        self.changes = self.read_intent_log()

    def read_segments(self):
        """Pages, and what the logs say that the pages lack. STALE records serve as soon as they are known."""
        dnode = Dnode.decode(self.commit.segment_table)
        expect(dnode is None or (dnode.kind == BLOB and dnode.block_shift == 16), "segment table: its dnode")
        self.logs = read_logs(self.reader, self.commit, self.guid)
        for stale in self.logs[-1][-1].of_kind("STALE"):
            self.reader.stale.setdefault((stale.segment, stale.column), []).append(stale)
        table = Blob(self.reader, dnode, SEGMENT_TABLE) if dnode else None
        page_txgs, segments = defaultdict(int), {}
        for number in range(-(-self.commit.record_count // RECORDS_OF_PAGE)):
            content = table.block(number) if table else None
            if content:
                page_txgs[number], records = decode_page(content, number)
                segments.update(records)
        for blocks in self.logs:
            for block in blocks:
                for number, segment in block.of_kind("SEGMENT"):
                    if block.txg > page_txgs[number // RECORDS_OF_PAGE]:
                        segments[number] = segment
        expect(all(number < self.commit.record_count for number in segments), "segment table: more records than the commit says")
        self.segment_records = {number: segment for number, segment in segments.items() if segment}
        for number, segment in self.segment_records.items():
            expect(segment.state != "SYS" or number in self.sysmap, f"segment {number}: SYS, but not in the sysmap")
            if number not in self.sysmap:
                self.reader.segments[number] = segment
            elif segment.state == "SYS":
                self.sysmap[number].alloc_txg = segment.alloc_txg

    def make_paths(self):
        """Section 19: names from the top down."""
        living = {dataset.id: dataset for dataset in self.datasets if not dataset.destroyed}
        names = {number: dataset.name for number, dataset in living.items()}
        for dataset in living.values():
            above, seen = dataset.parent, {dataset.id}
            while above:
                expect(above in living and living[above].kind == KINDS[1] and above not in seen, f"catalogue: where {dataset.name} lies")
                dataset.name = f"{names[above]}/{dataset.name}"
                seen.add(above)
                above = living[above].parent
            expect(len(dataset.name.encode()) <= 255, "catalogue: length of a path")
        expect(len({dataset.name for dataset in living.values()}) == len(living), "catalogue: a path twice")

    def read_intent_log(self):
        """What was flushed after the commit, by dataset. A clean export leaves nothing."""
        place, healed = self.uberblock.log, self.reader.counts["blocks_repaired"]
        log = IntentLog(self.reader, place, self.guid) if place else None
        changes = log.changes() if log else {}
        # A crash may leave the last of it on some of its disks only. Nobody was told that it is durable.
        self.log_is_whole = not (log and log.partial) and self.reader.counts["blocks_repaired"] == healed
        for dataset in self.datasets:
            for change in changes.get(dataset.id, ()):
                expect(change.object in (0, 16) and change.kind != INODE if dataset.kind == "volume" else change.object, "intent log: an object of a record")
                expect(not dataset.destroyed, "intent log: a change of what is destroyed")
                if change.kind == RESIZE:
                    dataset.size = change.size
        expect(changes.keys() <= {dataset.id for dataset in self.datasets}, "intent log: a change of an unknown dataset")
        return changes

    def newest_batches(self):
        final = self.uberblock.final_batch
        batches = [Batch(final.segment, final.first_row, final.rows, self.uberblock.txg, final.summary)]
        for block in self.logs[-1]:
            for record in block.of_kind("BATCH"):
                expect(record.txg == block.txg, "log record BATCH: of another txg")
                batches += [Batch(record.segment, *rows, record.txg, record.summary) for rows in record.ranges]
        return batches

    def find_moved(self, segment, dva, place):
        """Section 19: the DVA where the compactor put a block, or None. The nodes that tell were never moved themselves."""
        gone = segment is None or place < segment.alloc_txg
        if self.is_looking or not gone and not (segment.flags & PARTIAL and place <= segment.evac_txg):
            return None
        self.is_looking = True
        try:
            value = self.moved.get(struct.pack(">QQ", dva, place))
        finally:
            self.is_looking = False
        return decode_moved(value)[0] if value else None

    def dataset(self, name, kind):
        for dataset in self.datasets:
            if dataset.name == name and not dataset.destroyed:
                if dataset.kind != kind:
                    raise ReaderError(f"{name} is a {dataset.kind}, not a {kind}")
                return dataset
        raise ReaderError(f"the pool has no {kind} {name}; --list shows what it has")

    def volume(self, name):
        return self.dataset(name, "volume")

    def blob_of(self, volume):
        """The content of a volume, or None if nothing was ever written."""
        if volume.objset.is_hole:
            return None
        objset = Objset(self.reader, volume.objset, volume.id)
        blob = objset.blob(VOLUME_OBJECT, DATA)
        expect(blob.dnode.block_shift == volume.block_shift, f"volume {volume.name}: two block sizes")
        return blob

    def blocks(self, volume, lost):
        """(offset, content) of every block that isn't a hole; lost(offset, length, error) is called for what can't be read."""
        blob = self.blob_of(volume)
        return apply(self.changes.get(volume.id, ()), volume.size, 1 << volume.block_shift, self.content(blob, volume.size, lost) if blob else ())

    def content(self, blob, size, lost):
        """The same of any blob of which so many bytes count."""
        shift = blob.dnode.block_shift

        def lose(error, level, number):
            span = blob.dnode.fan_out ** level << shift
            if number * span < size:
                lost(number * span, min(span, size - number * span), error)
        for pointer, level, number in blob.pointers(lose):
            offset = number << shift
            if level or offset >= size:
                continue
            try:
                content = self.reader.read(pointer, DATA, 0, blob.dnode.block_cells)
            except ReaderError as error:
                lose(error, 0, number)
                continue
            yield offset, content

    def extract(self, volume, file):
        """Writes a volume to a file, holes as holes; returns what is lost: (offset, length, error)."""
        os.ftruncate(file, volume.size)
        lost = []
        for offset, content in self.blocks(volume, lambda *what: lost.append(what)):
            os.pwrite(file, content, offset)
        return lost
