# SPDX-License-Identifier: BSD-2-Clause
"""The intent log: changes that were flushed after the commit (FORMAT.md, section 25)."""
import struct
from collections import namedtuple

from .pointers import BlockPointer
from .structure import CELL, FormatError, LostError, check_header, expect, expect_zeros, hash128

HEADER, RECORD, BLOCK_CELLS = 128, 48, 32
FIRST, LAST = 1, 2
WRITE, ZERO, RESIZE, INODE, PLACED = 1, 2, 3, 16, 32

LogPlace = namedtuple("LogPlace", "generation first base_txg head row segments")
Head = namedtuple("Head", "flags number durable used count before hash cells")
Block = namedtuple("Block", "head records segment row")     # segment: index into the uberblock's list
Change = namedtuple("Change", "kind txg offset size content object")     # INODE: offset is the generation


def decode_place(data):
    """What the uberblock says of the log, or None."""
    *numbers, count, head, row, reserved = struct.unpack_from("<QQQHHHH", data)
    expect(count <= 16 and reserved == 0 and (head < count or not any(data)), "uberblock: intent log out of bounds")
    expect((count == 0) == (row == 0) and row <= 4096, "uberblock: intent log out of bounds")
    expect_zeros(data, 32 + 4 * count, 96, "intent log")
    return LogPlace(*numbers, head, row, struct.unpack_from(f"<{count}I", data, 32)) if count and numbers[0] else None


def decode_head(data, pool_guid, generation):
    """What the first cell of a block says; None if there is none of this log."""
    try:
        flags = check_header(data, "poolILOG", HEADER, FIRST | LAST)
    except FormatError:
        return None
    guid, of, number, _, durable, used, count = struct.unpack_from("<16sQQQQII", data, 16)
    if guid != pool_guid or of != generation or used > BLOCK_CELLS * CELL - HEADER or used % 8 or durable >= number or any(data[88:112]):
        return None
    return Head(flags, number, durable, used, count, data[72:88], data[112:128], -(-(HEADER + used) // CELL))


def decode_changes(block):
    """(dataset, change) of each record."""
    offset = 0
    for _ in range(block.head.count):
        kind, reserved, length, txg, dataset, reserved_2, number, begin, size = struct.unpack_from("<HHIQIIQQQ", block.records, offset)
        expect(kind in (WRITE, ZERO, RESIZE, INODE, PLACED) and reserved == reserved_2 == 0 and size, "intent log: a record")
        expect(length == RECORD + {WRITE: -(-size // 8) * 8, INODE: -(-size // 8) * 8, PLACED: 64}.get(kind, 0), "intent log: length of a record")
        expect(number == begin == 0 if kind == RESIZE else number >= 16, "intent log: object of a record")
        content = block.records[offset + RECORD:offset + (length if kind == PLACED else RECORD + size)] if length > RECORD else None
        yield dataset, Change(kind, txg, begin, size, BlockPointer.decode(content) if kind == PLACED else content, number)
        offset += length
    expect(offset == len(block.records), "intent log: its records are not as long as their block")


class IntentLog:
    def __init__(self, reader, place, pool_guid):
        self.reader, self.place, self.rows, self.guid = reader, place, reader.rows_of_unit, pool_guid
        self.blocks, self.durable, self.hidden = {}, 0, set()   # hidden: where a block may lie that can't be read
        self.partial = set()                                    # numbers of blocks that aren't on all disks that are there
        for index, number in enumerate(place.segments):
            segment = reader.segments.get(number)
            expect(segment is not None and segment.state == "LOG", f"intent log: segment {number} is none of it")
            disks = [(reader.disks.get(disk), unit) for disk, unit in segment.columns]
            copies = [[disk.read_rows(unit, row, 1) if disk else None for row in range(self.rows)] for disk, unit in disks]
            any_copy = [next(filter(None, cells), None) for cells in zip(*copies)]
            sure = [copy for (disk, _), copy in zip(disks, copies) if disk and disk.state != "FAULTY" and
                    (disk.role != "log" or (copy[0] or b"")[16:52] == pool_guid + disk.guid + number.to_bytes(4, "little"))]
            self.hidden |= {(index, row) for row in range(1, self.rows) if not any(copy[row] for copy in sure)}
            found = [self.scan(index, [mine or other for mine, other in zip(copy, any_copy)]) for copy in copies]
            self.partial |= set.union(*found) - set.intersection(*found)

    def scan(self, index, cells):
        found = set()
        for row in range(1, self.rows):
            head = decode_head(cells[row], self.guid, self.place.generation) if cells[row] else None
            if head is None or row + head.cells > self.rows:
                continue
            if not all(cells[row:row + head.cells]):
                self.hidden.add((index, row, head.number))
                continue
            data = b"".join(cells[row:row + head.cells])
            if hash128(data[:112], bytes(16), data[128:]) == head.hash and not any(data[HEADER + head.used:]):
                self.durable = max(self.durable, head.durable)
                self.blocks.setdefault(head.number, Block(head, data[HEADER:HEADER + head.used], index, row))
                found.add(head.number)
        return found

    def content(self, change):
        """What a block has that lies beside the log; None if it was never written as a whole."""
        pointer = change.content
        expect((pointer.kind, pointer.type, pointer.level, pointer.fill, pointer.place, pointer.birth, pointer.lsect * CELL)
               == ("placed", 9, 0, 1, change.txg, change.txg, change.size) and change.offset % change.size == 0, "intent log: a pointer")
        segment, cells, place = self.reader.find(pointer)
        expect(segment.state == "OPEN" and segment.flags & 8 and pointer.address[1] >= segment.rows_used, "intent log: where a block lies")
        try:
            return self.reader.read(pointer, 9, 0)
        except LostError:
            if any(len(self.reader.present_cells(segment, row, place)) < segment.k for _, row in cells):
                raise

    def counts(self, group):     # whether all is there that lies beside the log
        return all(change.kind != PLACED or change.txg <= self.place.base_txg or self.content(change)
                   for block in group for _, change in decode_changes(block))

    def counting(self):
        """The blocks that count, in order. LostError: something that was promised may be lost."""
        counted, group, number, before, torn = [], [], self.place.first, None, False
        segment, row = self.place.head, self.place.row
        while block := self.blocks.get(number):
            if bool(block.head.flags & FIRST) == bool(group) or (before and block.head.before != before.head.hash):
                break
            group.append(block)
            if block.head.flags & LAST:
                if torn := not self.counts(group):
                    break
                counted, group = counted + group, []
            before, number, segment, row = block, number + 1, block.segment, block.row + block.head.cells
        following = {(segment, row)} | ({((segment + 1) % len(self.place.segments), 1)} if row + BLOCK_CELLS > self.rows else set())
        hidden = not torn and self.hidden & (following | {(*place, number) for place in following})
        if self.durable >= self.place.first + len(counted) or hidden:
            raise LostError(f"the intent log can't be read from block {self.place.first + len(counted)} on")
        return counted

    def changes(self):
        """{dataset: changes, in order}."""
        found = {}
        for block in self.counting():
            for dataset, change in decode_changes(block):
                if change.txg > self.place.base_txg:
                    self.reader.counts["blocks_beside_the_log"] += change.kind == PLACED
                    change = change._replace(content=self.content(change)) if change.kind == PLACED else change
                    found.setdefault(dataset, []).append(change)
        return found


def apply(changes, size, block_bytes, blocks):
    """(offset, content) of a volume's blocks with the changes: `blocks` gives those of the commit."""
    touched, zeros = {}, []             # writes by block; what is zeroed can be far larger than what is there: in order
    for place, change in enumerate(changes):
        if change.kind == ZERO:
            zeros.append((place, change))
        elif change.kind != RESIZE:
            for number in range(change.offset // block_bytes, -(-(change.offset + change.size) // block_bytes)):
                touched.setdefault(number * block_bytes, []).append((place, change))

    def changed(offset, content):
        content = bytearray(content)
        those = [entry for entry in zeros if entry[1].offset < offset + block_bytes and entry[1].offset + entry[1].size > offset]
        for _place, change in sorted(those + touched.pop(offset, []), key=lambda entry: entry[0]):
            begin, end = max(offset, change.offset), min(offset + block_bytes, change.offset + change.size)
            content[begin - offset:end - offset] = change.content[begin - change.offset:end - change.offset] if change.content else bytes(end - begin)
        return offset, bytes(content)
    for offset, content in blocks:
        yield changed(offset, content)
    for offset in sorted(touched):
        if offset < size:
            yield changed(offset, bytes(block_bytes))
