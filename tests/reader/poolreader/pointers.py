# SPDX-License-Identifier: BSD-2-Clause
"""Block pointers, and payloads into contents (FORMAT.md, sections 6, 8 and 10)."""
import struct
from dataclasses import dataclass

import zstandard

from .structure import CELL, expect, expect_zeros

SUMMARY, LOG, COMMIT, SEGMENT_TABLE, LIVE_BITMAP, OBJSET, DNODES, TREE, DATA, EXTRA_CRCS = range(1, 11)
TYPES = ("none", "summary", "log", "commit", "segment table", "live bitmap", "objset", "dnodes", "tree", "data", "crcs")
HOLE, EMBED = 1, 2
NEVER_COMPRESSED = {SUMMARY, LOG, COMMIT, OBJSET}


@dataclass(frozen=True)
class BlockPointer:
    kind: str           # never, hole, embedded, placed
    dva: int = 0
    place: int = 0
    lsect: int = 0
    psect: int = 0
    compressed: bool = False
    type: int = 0
    level: int = 0
    birth: int = 0
    fill: int = 0
    checksum: bytes = b""
    payload: bytes = b""

    @classmethod
    def decode(cls, data):
        if not any(data):
            return NEVER_WRITTEN
        dva, place, prop, birth, fill = struct.unpack_from("<QQQQQ", data)

        def bits(first, last):
            return prop >> first & (1 << last - first + 1) - 1
        lsect, psect, compression, kind = bits(0, 8) + 1, bits(9, 17), bits(18, 21), bits(22, 25)
        block_type, level, flags, length = bits(26, 31), bits(32, 35), bits(36, 43), bits(44, 49)
        expect(lsect <= 256 and compression <= 1 and kind == 0 and block_type < len(TYPES) and birth > 0 and not bits(50, 63),
               f"block pointer: prop {prop:#x}, birth {birth}")
        if flags == HOLE:
            expect(not any(data[:16] + data[32:]) and not (psect or compression or length), "block pointer: hole with more in it")
            return cls("hole", lsect=lsect, type=block_type, level=level, birth=birth)
        expect(block_type > 0 and fill < 1 << 48, f"block pointer: type {block_type}, fill {fill}")
        if flags == EMBED:
            payload = data[:16] + data[40:]
            expect(1 <= length <= 40 and psect == 0 and not any(payload[length:]), "block pointer: embedded payload")
            return cls("embedded", lsect=lsect, compressed=bool(compression), type=block_type, level=level, birth=birth,
                       fill=fill, payload=payload[:length])
        expect(flags == 0 and length == 0, f"block pointer: flags {flags:#x}")
        expect_zeros(data, 56, 64, "block pointer")
        psect += 1
        expect(0 < place <= birth, f"block pointer: place {place}, birth {birth}")
        expect(psect <= lsect and (compression or psect == lsect), f"block pointer: {psect} cells hold {lsect}")
        expect(dva >> 32 < 1 << 24 and dva >> 20 & 0xFFF, f"block pointer: DVA {dva:#x}")
        expect(not (compression and block_type in NEVER_COMPRESSED), f"block pointer: compressed {TYPES[block_type]}")
        return cls("placed", dva, place, lsect, psect, bool(compression), block_type, level, birth, fill, data[40:56])

    @property
    def is_hole(self):
        return self.kind in ("never", "hole")

    @property
    def address(self):
        return decode_dva(self.dva)

    def __str__(self):
        if self.kind != "placed":
            return f"{self.kind} pointer"
        segment, base, height, offset = self.address
        return (f"{TYPES[self.type]} block of level {self.level} (segment {segment}, base {base}, height {height}, offset {offset}, "
                f"{self.psect} cells, txg {self.place})")


NEVER_WRITTEN = BlockPointer("never")


def decode_dva(dva):
    """Segment, base, height, offset."""
    return dva >> 32, dva >> 20 & 0xFFF, (dva >> 12 & 0xFF) + 1, dva & 0xFFF


def cells_of(dva, count, segment, rows_of_unit):
    """The cells (column, row) of a block."""
    number, base, height, offset = decode_dva(dva)
    expect(base + height <= rows_of_unit and segment.k * height <= 4096 and offset + count <= segment.k * height,
           f"DVA {dva:#x}: {count} cells don't fit in segment {number}")
    return [(place // height, base + place % height) for place in range(offset, offset + count)]


def decompress(frame, size):
    parameters = zstandard.get_frame_parameters(frame)
    expect(parameters.content_size == size, f"compressed block: {parameters.content_size} bytes of content, not {size}")
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    content = decompressor.decompress(frame)
    expect(len(content) == size and not decompressor.unused_data, "compressed block: not one whole frame")
    return content


def content_of(pointer, cells):
    """The content of a placed or embedded block; `cells` are the bytes on disk, verified."""
    size = pointer.lsect * CELL
    try:
        if pointer.kind == "embedded":
            return decompress(pointer.payload, size) if pointer.compressed else pointer.payload.ljust(size, b"\0")
        if not pointer.compressed:
            return cells
        length, = struct.unpack_from("<I", cells)
        expect(-(-(4 + length) // CELL) == pointer.psect, f"compressed block: {length} bytes in {pointer.psect} cells")
        expect_zeros(cells, 4 + length, len(cells), "compressed block")
        return decompress(cells[4:4 + length], size)
    except zstandard.ZstdError as error:
        expect(False, f"compressed block: {error}")
