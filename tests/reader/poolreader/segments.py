# SPDX-License-Identifier: BSD-2-Clause
"""Where segments lie: segment records, pages of the table, and the allocation log (FORMAT.md, sections 11 to 13)."""
import struct
from dataclasses import dataclass, field

from .labels import FinalBatch
from .pointers import LOG, BlockPointer
from .structure import CELL, check_header, decode_columns, expect, expect_zeros

STATES = ("never used", "OPEN", "FULL", "EVAC", "LOG", "SYS")
CLASSES = ("SYS", "LOG", "META", "HOT", "COLD", "SURV")
RECORD_SIZE, RECORDS_OF_PAGE = 128, 511
PARTIAL = 1


@dataclass
class Segment:
    number: int
    state: str
    kind: str
    k: int
    m: int
    rows_used: int
    flags: int
    columns: list
    alloc_txg: int = 0
    evac_txg: int = 0

    @classmethod
    def decode(cls, number, data):
        """The segment, or None for an id that was never used."""
        if not any(data):
            return None
        what = f"record of segment {number}"
        state, kind, k, m, rows_used, flags, alloc_txg, evac_txg = struct.unpack_from("<BBBBHHQQ", data)
        expect(1 <= state < len(STATES) and kind < len(CLASSES) and 1 <= k and m <= 3 and k + m <= 16 and 1 <= rows_used <= 4096
               and flags < 16 and alloc_txg > 0, f"{what}: out of bounds")
        expect_zeros(data, 24, 32, what)
        segment = cls(number, STATES[state], CLASSES[kind], k, m, rows_used, flags, decode_columns(data, 32, 16, k + m, what), alloc_txg, evac_txg)
        expect(kind > 1 or k == 1, f"{what}: class {segment.kind} with k = {k}")
        expect(segment.state not in ("SYS", "LOG") or segment.kind == segment.state, f"{what}: {segment.state}, class {segment.kind}")
        used = [column if k == 1 else column[0] for column in segment.columns if column[0] != 0xFFFF]
        expect(len(set(used)) == len(used), f"{what}: a disk or AU twice")
        return segment

    @classmethod
    def from_sysmap(cls, entry):
        return cls(entry.segment, "SYS", "SYS", 1, len(entry.columns) - 1, entry.rows_used, entry.flags, entry.columns)


@dataclass(frozen=True)
class Stale:
    segment: int
    column: int
    first_row: int
    rows: int
    place: int


@dataclass(frozen=True)
class Extent:
    segment: int
    column: int
    first_row: int
    rows: int


@dataclass
class BatchRecord:
    segment: int
    txg: int
    summary: BlockPointer
    ranges: list
    unused: list


@dataclass
class LogBlock:
    txg: int
    part: int
    parts: int
    earlier_parts: list
    earlier_logs: list
    records: list = field(default_factory=list)     # (kind, value), in their order

    @classmethod
    def decode(cls, data, pool_guid):
        check_header(data, "poolALOG", 128)
        guid, txg, part, parts, size, logs, earlier = struct.unpack_from("<16sQIIIII", data, 16)
        expect(guid == pool_guid, "log block: of another pool")
        expect_zeros(data, 60, 128, "log block")
        last = parts == part + 1
        expect(last or parts == 0xFFFFFFFF, f"log block: part {part} of {parts}")
        expect(logs <= 32 and earlier == (part if last else 0) and (last or not logs) and size % 8 == 0, "log block: its lists")
        lists = 128 + 64 * earlier
        start = lists + 72 * logs
        expect(start + size <= len(data) <= 65536, "log block: its length")
        expect_zeros(data, start + size, len(data), "log block")
        block = cls(txg, part, parts, [BlockPointer.decode(data[offset:offset + 64]) for offset in range(128, lists, 64)],
                    [(*struct.unpack_from("<Q", data, offset), BlockPointer.decode(data[offset + 8:offset + 72]))
                     for offset in range(lists, start, 72)])
        order = [txg] + [earlier_txg for earlier_txg, _ in block.earlier_logs]
        expect(all(newer > older for newer, older in zip(order, order[1:])), "log block: the earlier logs don't descend")
        block.decode_records(data[start:start + size])
        return block

    def decode_records(self, data):
        decoders = {1: decode_segment, 2: decode_batch, 3: decode_free, 4: decode_previous_final, 5: decode_stale}
        offset = 0
        while offset < len(data):
            kind, length, reserved = struct.unpack_from("<HHI", data, offset)
            expect(kind in decoders, f"log record: type {kind} is unknown")
            expect(reserved == 0 and 8 <= length <= 49152 and length % 8 == 0 and offset + length <= len(data), "log record: length")
            self.records.append(decoders[kind](data[offset + 8:offset + length]))
            offset += length

    def of_kind(self, kind):
        return [value for found, value in self.records if found == kind]


def decode_segment(payload):
    number, reserved = struct.unpack_from("<II", payload)
    expect(len(payload) == 8 + RECORD_SIZE and number < 1 << 24 and reserved == 0, "log record SEGMENT: not well-formed")
    return "SEGMENT", (number, Segment.decode(number, payload[8:]))


def decode_extents(data):
    expect(data is not None and len(data) % 8 == 0, "log record: extents")
    extents = []
    for value, in struct.iter_unpack("<Q", data):
        extents.append(Extent(value >> 32, value >> 28 & 15, value >> 16 & 0xFFF, (value >> 8 & 0xFF) + 1))
        expect(value >> 32 < 1 << 24 and value & 0xFF == 0 and extents[-1].first_row >= 1, "log record: an extent")
    return extents


def decode_batch(payload):
    segment, count, reserved, txg = struct.unpack_from("<IHHQ", payload)
    summary = BlockPointer.decode(payload[16:80])
    unused, reserved_too = struct.unpack_from("<II", payload, 80)
    ranges = [struct.unpack_from("<HH", payload, 88 + 4 * place) for place in range(count)]
    start = 88 + 4 * count + 7 & ~7
    expect(segment < 1 << 24 and 1 <= count <= 256 and reserved == reserved_too == 0, "log record BATCH: not well-formed")
    expect(summary.kind == "placed" and summary.type == 1 and len(payload) == start + 8 * unused, "log record BATCH: its length")
    expect_zeros(payload, 88 + 4 * count, start, "log record BATCH")
    expect(are_ranges(ranges), "log record BATCH: its ranges")
    return "BATCH", BatchRecord(segment, txg, summary, ranges, decode_extents(payload[start:]))


def are_ranges(ranges):
    """Ascending and disjoint, none empty, not row 0."""
    ends = [1] + [first + rows for first, rows in ranges]
    return all(rows > 0 and first >= end for (first, rows), end in zip(ranges, ends))


def decode_free(payload):
    expect(payload, "log record FREE: empty")
    return "FREE", decode_extents(payload)


def decode_previous_final(payload):
    expect(len(payload) == 72, "log record PREVFINAL: its length")
    return "PREVFINAL", FinalBatch.decode(payload)


def decode_stale(payload):
    expect(len(payload) == 24, "log record STALE: its length")
    stale = Stale(*struct.unpack_from("<IBHHQ", payload))
    expect_zeros(payload, 17, 24, "log record STALE")
    expect(stale.segment < 1 << 24 and stale.column < 16 and stale.first_row >= 1 and stale.rows >= 1, "log record STALE: bounds")
    return "STALE", stale


@dataclass
class Commit:
    txg: int
    sequence: int
    earlier: list
    oldest: int
    cells_in_use: int
    next_dataset: int
    record_count: int
    mos: BlockPointer
    log: BlockPointer
    segment_table: bytes        # dnodes
    live_bitmaps: bytes

    @classmethod
    def decode(cls, data, pool_guid):
        check_header(data, "poolCOMM", 1280)
        guid, txg, sequence, *earlier = struct.unpack_from("<16sQQQQQ", data, 16)
        oldest, in_use, next_dataset, records, record_size, entry_size = struct.unpack_from("<QQQIHH", data, 80)
        expect(guid == pool_guid, "commit block: of another pool")
        expect((record_size, entry_size) == (RECORD_SIZE, 32) and records <= 1 << 24, "commit block: sizes of records")
        expect(0 < oldest <= txg and all(newer > older or newer == older == 0 for newer, older in zip([txg] + earlier, earlier)),
               "commit block: its txgs")
        expect_zeros(data, 112, 128, "commit block")
        expect_zeros(data, 1280, CELL, "commit block")
        return cls(txg, sequence, earlier, oldest, in_use, next_dataset, records, BlockPointer.decode(data[128:192]),
                   BlockPointer.decode(data[192:256]), data[256:768], data[768:1280])


def decode_page(content, number):
    """A page of the segment table: its page_txg and its segments."""
    check_header(content, "poolSEGT", 128)
    found, page_txg = struct.unpack_from("<QQ", content, 16)
    expect(found == number, f"page {number} of the segment table: says that it is page {found}")
    expect_zeros(content, 32, 128, "page of the segment table")
    first = number * RECORDS_OF_PAGE
    records = [content[offset:offset + RECORD_SIZE] for offset in range(128, len(content), RECORD_SIZE)]
    return page_txg, {first + place: Segment.decode(first + place, record) for place, record in enumerate(records) if any(record)}


def read_log(reader, pointer, txg, pool_guid):
    """All blocks of one txg's log, the last one at the end."""
    last = LogBlock.decode(reader.read(pointer, LOG, 0), pool_guid)
    blocks = [LogBlock.decode(reader.read(earlier, LOG, 0), pool_guid) for earlier in last.earlier_parts] + [last]
    for part, block in enumerate(blocks):
        expect((block.txg, block.part) == (txg, part) and (block is last) == (block.parts == len(blocks)),
               f"log of txg {txg}: part {part} is of another log")
    return blocks


def read_logs(reader, commit, pool_guid):
    """The logs from `oldest` to the committed txg, ascending: lists of blocks."""
    logs = [read_log(reader, commit.log, commit.txg, pool_guid)]
    followed = commit.txg
    while True:
        names = logs[0][-1].earlier_logs
        for txg, pointer in names:
            if txg >= commit.oldest and txg < followed:
                logs.insert(0, read_log(reader, pointer, txg, pool_guid))
                followed = txg
        if not names or names[-1][0] <= commit.oldest or names[-1][0] != followed:
            expect(followed == commit.oldest or not names or names[-1][0] < commit.oldest, "the logs don't go back to `oldest`")
            return logs
