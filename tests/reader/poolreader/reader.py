# SPDX-License-Identifier: BSD-2-Clause
"""Reads blocks: cells from the disks, reconstruction, and nothing that its checksum doesn't prove (FORMAT.md, section 22)."""
from collections import Counter, OrderedDict
from itertools import chain, combinations, islice, product
from math import prod

from .parity import reconstruct
from .pointers import TYPES, cells_of, content_of, decode_dva
from .structure import CELL, NO_DISK, LostError, expect, hash128

TRIES = 100_000
CACHED_BLOCKS = 512


class Reader:
    def __init__(self, disks):
        self.disks = disks.by_index
        self.rows_of_unit = 1 << disks.label.au_shift - 12
        self.segments = {}
        self.stale = {}             # (segment, column): STALE records
        self.moved = None           # finds the new DVA of a block that was moved: function of (dva, place)
        self.batches = None         # finds the CRCs of a row
        self.counts = Counter()
        self.damaged = Counter()    # cells by disk: wrong although not known to be absent
        self.cache = OrderedDict()

    def read(self, pointer, block_type, level, cells=None):
        """The content of a placed or embedded block, verified."""
        expect((pointer.type, pointer.level) == (block_type, level),
               f"a pointer to a {TYPES[block_type]} block of level {level} is one to a {pointer}")
        expect(cells in (None, pointer.lsect), f"{pointer}: {pointer.lsect} cells of content, not {cells}")
        if pointer.kind == "embedded":
            return content_of(pointer, b"")
        identity = pointer.dva, pointer.place
        if identity in self.cache:
            self.cache.move_to_end(identity)
            return self.cache[identity]
        content = content_of(pointer, self.read_cells(pointer))
        if level or block_type != 9:
            self.cache[identity] = content
            if len(self.cache) > CACHED_BLOCKS:
                self.cache.popitem(last=False)
        return content

    def find(self, pointer):
        """Where a block is: segment, cells, and the txg that tells which of them are absent (None: the highest)."""
        dva, place = pointer.dva, pointer.place
        segment = self.segments.get(decode_dva(dva)[0])
        moved = self.moved(segment, dva, place) if self.moved and (segment is None or segment.kind != "SYS") else None
        if moved is not None:
            dva = moved
            segment = self.segments.get(decode_dva(dva)[0])
            place = self.batches.txg_of(segment, cells_of(dva, 1, segment, self.rows_of_unit)[0][1]) if segment and self.batches else None
        if segment is None:
            raise LostError(f"{pointer}: the segment is unknown")
        if place is not None and place < segment.alloc_txg:
            raise LostError(f"{pointer}: the pointer is stale, the segment began anew in txg {segment.alloc_txg}")
        return segment, cells_of(dva, pointer.psect, segment, self.rows_of_unit), place

    def is_absent(self, segment, column, row, place):
        disk_index, _ = segment.columns[column]
        disk = self.disks.get(disk_index)
        if disk_index == NO_DISK or disk is None:
            return True
        if disk.absent_from is not None and (place is None or place >= disk.absent_from):
            return True
        return any(record.first_row <= row < record.first_row + record.rows and place in (None, record.place)
                   for record in self.stale.get((segment.number, column), ()))

    def read_cell(self, segment, column, row):
        disk_index, unit = segment.columns[column]
        disk = self.disks.get(disk_index)
        return disk.read_rows(unit, row, 1) if disk else None

    def present_cells(self, segment, row, place):
        """The cells of a row that aren't absent: {column: bytes}."""
        cells = {column: self.read_cell(segment, column, row) for column in range(segment.k + segment.m)
                 if not self.is_absent(segment, column, row, place)}
        return {column: cell for column, cell in cells.items() if cell is not None}

    def runs(self, segment, cells, place):
        """What can be read as it is: {cell: bytes}; rows that follow each other are read at once."""
        found, start = {}, 0
        for end in range(1, len(cells) + 1):
            column, row = cells[start]
            if end < len(cells) and cells[end] == (column, row + end - start):
                continue
            run = cells[start:end]
            if not any(self.is_absent(segment, *cell, place) for cell in run):
                disk_index, unit = segment.columns[column]
                data = self.disks[disk_index].read_rows(unit, row, len(run))
                if data:
                    found.update((cell, data[CELL * i:CELL * i + CELL]) for i, cell in enumerate(run))
            start = end
        return found

    def read_cells(self, pointer):
        """The bytes on disk of a placed block, verified."""
        segment, cells, place = self.find(pointer)
        self.counts["blocks"] += 1
        found = self.runs(segment, cells, place)
        for cell in cells:
            if cell not in found:
                present = self.present_cells(segment, cell[1], place)
                if cell[0] in present:
                    found[cell] = present[cell[0]]
                elif len(present) >= segment.k:
                    found[cell] = reconstruct(segment.k, dict(sorted(present.items())[:segment.k]), cell[0])
                    self.counts["absent_cells_reconstructed"] += 1
        if len(found) == len(cells) and self.verifies(pointer, [found[cell] for cell in cells]):
            return b"".join(found[cell] for cell in cells)
        self.counts["blocks_repaired"] += 1
        for method in self.by_summary, self.by_search:
            data = method(pointer, segment, cells, place)
            if data:
                self.count_wrong(segment, cells, place, data)
                return data
        self.counts["blocks_repaired"] -= 1
        self.counts["blocks_lost"] += 1
        raise LostError(f"{pointer}: can't be read or reconstructed")

    @staticmethod
    def verifies(pointer, pieces):
        return hash128(*pieces) == pointer.checksum

    def count_wrong(self, segment, cells, place, data):
        for i, (column, row) in enumerate(cells):
            if not self.is_absent(segment, column, row, place):
                if self.read_cell(segment, column, row) != data[CELL * i:CELL * i + CELL]:
                    self.damaged[segment.columns[column][0]] += 1

    def by_summary(self, pointer, segment, cells, place):
        """The summary of the rows tells which cells are wrong."""
        found = {}
        for row in sorted({row for _, row in cells}) if self.batches else ():
            judge = self.batches.judge_of(segment, row, place)
            if judge is None:
                return None
            present = self.present_cells(segment, row, place)
            verdicts = {column: judge(column, cell) for column, cell in present.items()}
            good = {column: cell for column, cell in present.items() if verdicts[column]}
            unknown = [column for column in present if verdicts[column] is None]
            for column in sorted(column for column, of_row in cells if of_row == row):
                if column in good or column in unknown:
                    found[column, row] = present[column]
                    continue
                for others in combinations(unknown, max(0, segment.k - len(good))):
                    sources = dict(sorted(good.items())[:segment.k - len(others)]) | {other: present[other] for other in others}
                    cell = reconstruct(segment.k, sources, column) if len(sources) == segment.k else None
                    if cell and judge(column, cell) is not False:
                        found[column, row] = cell
                        break
        if len(found) < len(cells) or not self.verifies(pointer, [found[cell] for cell in cells]):
            return None
        self.counts["blocks_by_summary"] += 1
        return b"".join(found[cell] for cell in cells)

    @staticmethod
    def candidates(segment, columns, present):
        """What the wanted columns of a row may hold, by the columns that are left out, the likely first."""
        k, result = segment.k, {}
        if k == 1:
            return {(copy,): (cell,) for copy, cell in present.items()}
        for count in range(len(present) - k + 1):
            for left_out in combinations(sorted(present), count):
                rest = {column: cell for column, cell in present.items() if column not in left_out}
                sources = dict(sorted(rest.items())[:k])
                if all(reconstruct(k, sources, column) == cell for column, cell in rest.items() if column not in sources):
                    result[left_out] = tuple(rest.get(column) or reconstruct(k, sources, column) for column in columns)
        return result

    def by_search(self, pointer, segment, cells, place):
        """Tries what may be wrong until the block verifies: first the same columns in all rows, then row by row."""
        rows = sorted({row for _, row in cells})
        wanted = {row: sorted(column for column, of_row in cells if of_row == row) for row in rows}
        options = {row: self.candidates(segment, wanted[row], self.present_cells(segment, row, place)) for row in rows}
        if not all(options.values()):
            return None
        distinct = {row: list(dict.fromkeys(options[row].values())) for row in rows}
        ways = sorted({way for row in rows for way in options[row]}, key=lambda way: (len(way), way))
        uniform = ([options[row].get(way, distinct[row][0]) for row in rows] for way in ways)
        for choice in chain(uniform, islice(product(*distinct.values()), TRIES)):
            found = {(column, row): cell for row, values in zip(rows, choice) for column, cell in zip(wanted[row], values)}
            pieces = [found[cell] for cell in cells]
            if self.verifies(pointer, pieces):
                self.counts["blocks_by_search"] += 1
                return b"".join(pieces)
        self.counts["searches_given_up"] += prod(map(len, distinct.values())) > TRIES
        return None
