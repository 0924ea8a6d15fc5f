# SPDX-License-Identifier: BSD-2-Clause
"""Batches and their summaries (FORMAT.md, sections 16 and 19): which cell of a row is wrong, and who owns what."""
import struct
from collections import namedtuple
from dataclasses import dataclass

from .pointers import SUMMARY, BlockPointer
from .segments import are_ranges
from .structure import ReaderError, cell_crc, check_header, expect, expect_zeros


# owner: (objset, object, level, number); identity: (dva, place), or None: this address, and the batch's txg
BlockRecord = namedtuple("BlockRecord", "column row psect type owner identity")


@dataclass
class Summary:
    segment: int
    kind: int
    k: int
    m: int
    txg: int
    ranges: list
    stripes: list           # (base, height, fill)
    crcs: dict              # (column, row): CRC, or None if it has none
    blocks: list

    @classmethod
    def decode(cls, data, pool_guid):
        check_header(data, "poolSUMM", 64)
        guid, segment, kind, k, m, reserved, txg, ranges, stripes, blocks, cells = struct.unpack_from("<16sIBBBBQIIII", data, 16)
        expect(guid == pool_guid and reserved == 0 and 1 <= ranges <= 256 and stripes >= 1, "summary: its head")
        offset = 64
        pairs = [struct.unpack_from("<HH", data, offset + 4 * place) for place in range(ranges)]
        expect(are_ranges(pairs), "summary: its ranges")
        offset += 4 * ranges
        shapes = []
        for place in range(stripes):
            base, height, reserved, fill = struct.unpack_from("<HBBH", data, offset + 6 * place)
            expect(reserved == 0 and fill <= k * (height + 1), "summary: a stripe")
            shapes.append((base, height + 1, fill))
        offset += 6 * stripes
        places = [(column, row) for first, rows in pairs for row in range(first, first + rows) for column in range(k + m)]
        expect(cells == len(places), f"summary: {cells} cells, not {len(places)}")
        bits = int.from_bytes(data[offset:offset + (cells + 7) // 8], "little")
        expect(bits >> cells == 0, "summary: spare bits")
        offset += (cells + 7) // 8
        values = struct.unpack_from(f"<{cells}I", data, offset)
        crcs = {cell: None if bits >> place & 1 else values[place] for place, cell in enumerate(places)}
        offset += 4 * cells
        records = []
        for _ in range(blocks):
            record, size = decode_block_record(data, offset)
            records.append(record)
            offset += size
        expect_zeros(data, offset, len(data), "summary")
        return cls(segment, kind, k, m, txg, pairs, shapes, crcs, records)


def decode_block_record(data, offset):
    cell, psect, flags, block_type, objset, low, high, level, number_low, number_high = struct.unpack_from("<HBBBIIHBIH", data, offset)
    expect(flags <= 1, "summary: flags of a block")
    identity = struct.unpack_from("<QQ", data, offset + 22) if flags else None
    return BlockRecord(cell >> 12, cell & 0xFFF, psect + 1, block_type, (objset, high << 32 | low, level, number_high << 32 | number_low),
                       identity), 38 if flags else 22


Batch = namedtuple("Batch", "segment first_row rows txg summary")


def decode_map_entry(key, value):
    expect(len(key) == 6 and len(value) == 152, "batch map: lengths of an entry")
    rows, txg = struct.unpack_from("<H6xQ", value)
    expect_zeros(value, 2, 8, "batch map")
    expect_zeros(value, 80, 152, "batch map")
    batch = Batch(*struct.unpack(">IH", key), rows, txg, BlockPointer.decode(value[16:80]))
    expect(rows >= 1 and batch.first_row >= 1 and txg > 0 and batch.summary.kind == "placed", "batch map: an entry")
    return batch


class Batches:
    def __init__(self, reader, tree, newest, pool_guid):
        """`newest`: batches of the newest txg, which the map lacks."""
        self.reader, self.tree, self.newest, self.pool_guid = reader, tree, newest, pool_guid
        self.summaries = {}
        self.is_searching = False

    def covering(self, segment, row):
        """The batch that has a row, or None."""
        found = self.tree.at_or_below(struct.pack(">IH", segment.number, row))
        batches = [decode_map_entry(*found)] if found else []
        batches = [batch for batch in batches + self.newest if batch.segment == segment.number and batch.txg >= segment.alloc_txg
                   and batch.first_row <= row < batch.first_row + batch.rows]
        return max(batches, key=lambda batch: batch.txg, default=None)

    def txg_of(self, segment, row):
        """That of the batch that has a row, or None: not known."""
        try:
            batch = self.covering(segment, row)
        except ReaderError:
            return None
        return batch and batch.txg

    def summary(self, batch):
        identity = batch.summary.dva, batch.summary.place
        if identity not in self.summaries:
            summary = Summary.decode(self.reader.read(batch.summary, SUMMARY, 0), self.pool_guid)
            expect((summary.segment, summary.txg) == (batch.segment, batch.txg), f"{batch.summary}: of another batch")
            self.summaries[identity] = summary
        return self.summaries[identity]

    def judge_of(self, segment, row, place):
        """Tells of the cells of a row whether they are right: function of (column, cell) to True, False, or None (not known).

        None if no summary is found; what is needed to find one is read without the help of summaries."""
        if self.is_searching:
            return None
        self.is_searching = True
        try:
            batch = self.covering(segment, row)
            summary = self.summary(batch) if batch and place in (None, batch.txg) else None
        except ReaderError:
            return None
        finally:
            self.is_searching = False
        if not summary or (0, row) not in summary.crcs:
            return None

        def judge(column, cell):
            crc = summary.crcs.get((column, row))
            return None if crc is None else crc == cell_crc(segment.number, column, row, cell)
        return judge
