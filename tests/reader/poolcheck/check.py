# SPDX-License-Identifier: BSD-2-Clause
"""Reads everything that a pool holds, and compares what is said twice: pointers, counters, live bitmaps, summaries, AU headers."""
import struct
from collections import Counter, defaultdict

from poolreader.batches import decode_map_entry
from .live import Live
from poolreader.objects import BLOB, ORPHANS, Blob, Dnode, Objset, Tree
from poolreader.pool import decode_moved
from poolreader.pointers import DATA, LIVE_BITMAP, SEGMENT_TABLE, SUMMARY, TREE, TYPES, BlockPointer
from poolreader.segments import CLASSES
from poolreader.structure import (NO_DISK, LostError, ReaderError, cell_crc, check_header, decode_columns, expect, expect_zeros,
                        header_crc)

PROBLEMS = 100


class Checker:
    def __init__(self, pool, suspects):
        self.pool, self.reader, self.suspects = pool, pool.reader, suspects
        self.problems, self.counts = [], Counter()
        self.used = defaultdict(int)        # segment: cells that blocks take, as in Live
        self.occupied = set()               # segments with more than summaries: others are free, whatever their columns were
        self.blocks = {}                    # (dva, place): pointer and owner
        self.pointers = Counter()           # (dva, place): how many
        self.live = Live(pool)

    def problem(self, text):
        if len(self.problems) < PROBLEMS:
            self.problems.append(str(text))
        self.counts["problems"] += 1

    def check(self, condition, text):
        if not condition:
            self.problem(text)

    def take(self, pointer, owner):
        """Counts a placed block as used, and its cells as its own."""
        if pointer.kind != "placed":
            return
        segment, cells, _ = self.reader.find(pointer)
        self.pointers[pointer.dva, pointer.place] += 1
        mask = self.live.mask_of(cells)
        self.check(not self.used[segment.number] & mask, f"{pointer} of {owner}: cells of it belong to another block too")
        self.used[segment.number] |= mask
        if pointer.type != SUMMARY:
            self.occupied.add(segment.number)
        self.blocks[pointer.dva, pointer.place] = pointer, owner

    def read(self, pointer, level, owner, cells=None):
        try:
            return self.reader.read(pointer, pointer.type, level, cells)
        except ReaderError as error:
            self.problem(f"{owner}: {error}")
            return None

    def check_children(self, pointer, children, owner):
        self.check(pointer.fill == sum(child.fill for child in children), f"{pointer} of {owner}: fill isn't that of its children")
        self.check(all(child.birth <= pointer.birth for child in children), f"{pointer} of {owner}: a child is born later")

    def walk_blob(self, blob, owner):
        """Returns the cells that it takes."""
        cells = highest = 0
        for pointer, level, number in blob.pointers(lambda error, *_: self.problem(f"{owner}: {error}")):
            self.take(pointer, (*owner, level, number))
            cells += pointer.psect
            if level:
                try:
                    self.check_children(pointer, blob.node(pointer, level), owner)
                except LostError:
                    continue
            else:
                self.check(pointer.fill == 1, f"{pointer} of {owner}: fill {pointer.fill}")
                highest = number
                self.read(pointer, 0, owner, blob.dnode.block_cells)
        self.check(highest <= blob.dnode.top, f"{owner}: block {highest}, but the highest is {blob.dnode.top}")
        return cells

    def walk_tree(self, tree, owner):
        cells = entries = 0
        for pointer, level, keys, values in tree.nodes(lambda error, *_: self.problem(f"{owner}: {error}")):
            self.take(pointer, (*owner, level, 0))
            cells += pointer.psect
            if level:
                self.check_children(pointer, values, owner)
            else:
                self.check(pointer.fill == 1, f"{pointer} of {owner}: fill {pointer.fill}")
                entries += len(keys)
        self.check(entries == tree.dnode.top, f"{owner}: {entries} entries, not {tree.dnode.top}")
        return cells

    def walk_object(self, number, dnode, owner):
        if dnode.kind == BLOB:
            cells = self.walk_blob(Blob(self.reader, dnode, DATA), owner)
        else:
            tree = Tree(self.reader, dnode)
            cells = self.walk_tree(tree, owner)
            if number == ORPHANS:
                for _, value in tree.items():
                    self.walk_orphan(value, owner[0])
        self.check(cells == dnode.cells, f"{owner}: {cells} cells, not {dnode.cells}")

    def walk_orphan(self, value, objset):
        """A pointer that nothing holds any more, with all below it."""
        expect(len(value) == 80, "orphan: its length")
        pointer = BlockPointer.decode(value[:64])
        owner, number = (objset, *struct.unpack_from("<Q", value, 64)), *struct.unpack_from("<Q", value, 72)
        shift = pointer.lsect.bit_length() + 11
        dnode = Dnode(BLOB, shift, shift, pointer.level + 1, 0, 0, 0, pointer)

        def lost(error, *_):
            self.problem(f"orphan of {owner}: {error}")
        if pointer.type == TREE:
            for node, level, _, _ in Tree(self.reader, dnode).nodes(lost):
                self.take(node, (*owner, level, 0))
            return
        blob = Blob(self.reader, dnode, pointer.type)
        for block, level, place in blob.pointers(lost, pointer, pointer.level, number):
            self.take(block, (*owner, level, place))
            if not level:
                self.read(block, 0, owner)

    def walk_objset(self, objset):
        self.take(objset.pointer, (objset.number, 0, 0, 0))
        if not objset.dnodes:
            return
        cells = self.walk_blob(objset.dnodes, (objset.number, 0))
        self.check(cells == objset.dnodes.dnode.cells, f"objset {objset.number}: dnodes of {cells} cells")
        count = 0
        for pointer, level, number in objset.dnodes.pointers(lambda *_: None):
            content = None if level else self.read(pointer, 0, (objset.number, 0))
            for object_number, dnode in objset.split(content, number) if content else ():
                count += object_number != ORPHANS
                self.check(object_number < objset.next_object, f"objset {objset.number}: object {object_number} is too high")
                self.walk_object(object_number, dnode, (objset.number, object_number))
        self.check(count == objset.object_count, f"objset {objset.number}: {count} objects, not {objset.object_count}")

    def walk_system(self):
        pool = self.pool
        self.take(pool.uberblock.commit, (0, 0, 0, 0))
        named = {pool.commit.txg: pool.commit.log} | {txg: pointer for blocks in pool.logs for txg, pointer in blocks[-1].earlier_logs}
        for blocks in pool.logs:
            self.take(named[blocks[-1].txg], (0, 0, 0, 0))
            for part, pointer in enumerate(blocks[-1].earlier_parts):
                self.take(pointer, (0, 0, 0, part))
        for number, data, block_type in (1, pool.commit.segment_table, SEGMENT_TABLE), (2, pool.commit.live_bitmaps, LIVE_BITMAP):
            dnode = Dnode.decode(data)
            if dnode:
                cells = self.walk_blob(Blob(self.reader, dnode, block_type), (0, number))
                self.check(cells == dnode.cells, f"{TYPES[block_type]}: {cells} cells, not {dnode.cells}")

    def walk(self):
        self.walk_system()
        self.walk_objset(self.pool.mos)
        for dataset in self.pool.datasets:
            if not dataset.objset.is_hole:
                try:
                    self.walk_objset(Objset(self.reader, dataset.objset, dataset.id))
                except ReaderError as error:
                    self.problem(f"dataset {dataset.name}: {error}")

    def check_moved(self):
        """Each entry of xblk has its pointers."""
        for key, value in self.pool.moved.items():
            dva, place = struct.unpack(">QQ", key)
            pointers, references = self.pointers[dva, place], decode_moved(value)[1]
            self.counts["moved_blocks"] += 1
            self.check(pointers == references, f"xblk: {dva:#x} of txg {place} has {pointers} pointers, not {references}")

    def check_batches(self):
        """Summaries: their own cells, the CRCs of all present cells, and the blocks that they list."""
        batches = [decode_map_entry(*entry) for entry in self.reader.batches.tree.items()] + self.pool.newest_batches()
        rows = {}
        for batch in sorted(batches, key=lambda batch: batch.txg):
            segment = self.reader.segments.get(batch.segment)
            if segment and batch.txg >= segment.alloc_txg:
                rows.update({(batch.segment, row): batch for row in range(batch.first_row, batch.first_row + batch.rows)})
        owned = {}
        for (number, row), batch in rows.items():
            owned.setdefault((batch.summary.dva, batch.summary.place), (batch, []))[1].append(row)
        listed = set()
        for batch, batch_rows in owned.values():
            try:
                summary = self.reader.batches.summary(batch)
            except ReaderError as error:
                self.problem(error)
                continue
            self.check_summary(summary, batch, set(batch_rows), listed)
        for identity, (pointer, owner) in self.blocks.items():
            self.check(identity in listed or pointer.type == SUMMARY, f"{pointer} of {owner}: no summary lists it")

    def check_summary(self, summary, batch, rows, listed):
        segment = self.reader.segments[batch.segment]
        self.check((summary.kind, summary.k, summary.m) == (CLASSES.index(segment.kind), segment.k, segment.m),
                   f"{batch.summary}: class, k or m isn't the segment's")
        self.take(batch.summary, ("summary",))
        self.counts["summaries"] += 1
        live = self.live.bits[segment.number]
        alive = {row for row in rows if any(live >> column * self.live.rows + row & 1 for column in range(segment.k))}
        for (column, row), crc in summary.crcs.items():
            if row not in alive or crc is None or self.reader.is_absent(segment, column, row, batch.txg):
                continue
            cell = self.reader.read_cell(segment, column, row)
            self.counts["cells"] += 1
            if cell is not None and cell_crc(segment.number, column, row, cell) != crc:
                self.counts["wrong_cells"] += 1
        for block in summary.blocks:
            stripe = next(((base, height) for base, height, _ in summary.stripes if base <= block.row < base + height), None)
            if not stripe or block.row not in rows:
                continue
            base, height = stripe
            offset = block.column * height + block.row - base
            address = segment.number << 32 | base << 20 | height - 1 << 12 | offset
            listed.add(block.identity or (address, batch.txg))
            pointer, owner = self.blocks.get(block.identity or (address, batch.txg), (None, None))
            if pointer:
                self.check((block.psect, block.type, block.owner) == (pointer.psect, pointer.type, owner),
                           f"{pointer} of {owner}: its summary says {block}")

    def check_units(self):
        """No AU has two segments, and each has a header that says what it is a column of."""
        taken = {}
        for number, segment in self.reader.segments.items():
            if segment.state not in ("OPEN", "LOG", "SYS") and number not in self.occupied:
                continue
            for column, (disk_index, unit) in enumerate(segment.columns):
                disk = self.reader.disks.get(disk_index)
                if disk_index == NO_DISK:
                    continue
                self.check(disk and unit < disk.units, f"segment {number}: column {column} is on no disk of the pool")
                self.check((disk_index, unit) not in taken, f"disk {disk_index}, AU {unit}: belongs to segments {number} and "
                                                            f"{taken.get((disk_index, unit))}")
                taken[disk_index, unit] = number
                if disk and disk.image and disk.absent_from is None:
                    self.check_header(disk, unit, segment, column)

    def check_header(self, disk, unit, segment, column):
        data = disk.read_rows(unit, 0, 1)
        self.counts["AU_headers"] += 1
        try:
            expect(data and header_crc(data) == data[4092:], "wrong CRC")
            check_header(data, "poolAUHD", 4096)
            guid, disk_guid, *facts, alloc_txg, _ = struct.unpack_from("<16s16sIBBBBQQ", data, 16)
            expect_zeros(data, 72, 80, "AU header")
            expect_zeros(data, 176, 4092, "AU header")
            columns = decode_columns(data, 80, 16, segment.k + segment.m, "AU header")
            expect((guid, disk_guid) == (self.pool.guid, disk.guid), "of another disk")
            expect(facts == [segment.number, column, segment.k, segment.m, CLASSES.index(segment.kind)], f"it says {facts}")
            expect(segment.alloc_txg in (0, alloc_txg), f"it says alloc_txg {alloc_txg}, not {segment.alloc_txg}")
            expect(columns[column] == (disk.index, unit), "its own column is another")
        except ReaderError as error:
            self.check(disk.index in self.suspects, f"disk {disk.index}, AU {unit}, header: {error}")

    def check_live(self):
        for number, segment in self.reader.segments.items():
            live, used = self.live.bits[number], self.used[number]
            if live != used:
                self.problem(f"segment {number} ({segment.state}, {segment.kind}): {(live & ~used).bit_count()} live cells that nothing uses, "
                             f"{(used & ~live).bit_count()} used cells that aren't live")


def check(pool, suspects=()):
    """`suspects`: disks whose AU headers may be damaged, as nothing but a rebuilt segment table would miss them."""
    checker = Checker(pool, suspects)
    checker.walk()
    checker.check_moved()
    checker.check_batches()
    checker.check_units()
    checker.check_live()
    return {"problems": checker.problems, "counts": dict(checker.counts)}
