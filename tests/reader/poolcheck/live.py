# SPDX-License-Identifier: BSD-2-Clause
"""Which data cells are live after the commit: bitmaps, brought up to date by the logs (FORMAT.md, sections 12 and 14)."""
import struct
from collections import defaultdict

from poolreader.objects import BLOB, Blob, Dnode
from poolreader.pointers import LIVE_BITMAP
from poolreader.structure import check_header, expect, expect_zeros


class Live:
    """For each segment an integer, bit column * R + row."""

    def __init__(self, pool):
        self.rows = pool.reader.rows_of_unit
        self.segments = pool.reader.segments
        self.page_size = 32768 // self.rows
        self.page_txgs = defaultdict(int)
        self.bits = defaultdict(int)
        self.read_pages(pool)
        for blocks in pool.logs:
            for block in blocks:
                for kind, value in block.records:
                    self.apply(block.txg, kind, value)
        final = pool.uberblock.final_batch
        self.set_range(final.segment, final.first_row, final.rows)

    def read_pages(self, pool):
        dnode = Dnode.decode(pool.commit.live_bitmaps)
        expect(dnode is None or (dnode.kind == BLOB and dnode.block_shift == 17), "live bitmaps: their dnode")
        blob = Blob(pool.reader, dnode, LIVE_BITMAP) if dnode else None
        for number in range(dnode.top + 1 if dnode else 0):
            content = blob.block(number)
            if content:
                self.decode_page(content, number)

    def decode_page(self, content, number):
        check_header(content, "poolLIVE", 64)
        found, page_txg = struct.unpack_from("<QQ", content, 16)
        expect(found == number, f"page {number} of the live bitmaps: says that it is page {found}")
        expect_zeros(content, 32, 64, "page of the live bitmaps")
        self.page_txgs[number] = page_txg
        offset = 64 + self.page_size
        for place, k in enumerate(content[64:offset]):
            size = self.rows * k // 8
            segment = self.segments.get(number * self.page_size + place)
            bits = int.from_bytes(content[offset:offset + size], "little")
            offset += size
            if bits and segment and segment.alloc_txg <= page_txg:
                expect(k == segment.k, f"live bitmaps: segment {segment.number} with k = {k}, not {segment.k}")
                self.bits[segment.number] = bits
        expect_zeros(content, offset, len(content), "page of the live bitmaps")

    def counts(self, number, txg):
        """Whether a change of this txg is news to the page, and of the segment's present life."""
        segment = self.segments.get(number)
        return segment is not None and txg > self.page_txgs[number // self.page_size] and txg >= segment.alloc_txg

    def mask(self, extent):
        return ((1 << extent.rows) - 1) << extent.column * self.rows + extent.first_row

    def set_range(self, number, first, rows):
        for column in range(self.segments[number].k):
            self.bits[number] |= ((1 << rows) - 1) << column * self.rows + first

    def apply(self, txg, kind, value):
        if kind == "BATCH" and self.counts(value.segment, txg):
            for first, rows in value.ranges:
                self.set_range(value.segment, first, rows)
            for extent in value.unused:
                self.bits[extent.segment] &= ~self.mask(extent)
        elif kind == "PREVFINAL" and self.counts(value.segment, value.summary.place):
            self.set_range(value.segment, value.first_row, value.rows)
        elif kind == "FREE":
            for extent in value:
                if self.counts(extent.segment, txg):
                    self.bits[extent.segment] &= ~self.mask(extent)

    def mask_of(self, cells):
        return sum(1 << column * self.rows + row for column, row in cells)
