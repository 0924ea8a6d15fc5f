# SPDX-License-Identifier: BSD-2-Clause
"""Objsets, dnodes, blobs and trees (FORMAT.md, sections 17 and 18)."""
import struct
from bisect import bisect_right
from dataclasses import dataclass

from .pointers import DNODES, OBJSET, TREE, BlockPointer
from .structure import CELL, ReaderError, check_header, expect, expect_zeros

BLOB, TREE_KIND = 1, 2
DNODE_SIZE, POINTER_SIZE, DNODES_OF_BLOCK = 512, 64, 32
ORPHANS = 15


@dataclass
class Dnode:
    kind: int
    block_shift: int
    indirect_shift: int
    levels: int
    top: int                # blob: highest level-0 block; tree: number of entries
    cells: int
    generation: int
    root: BlockPointer
    bonus: bytes = b""

    @classmethod
    def decode(cls, data):
        """The dnode, or None for a free one."""
        if not any(data):
            return None
        kind, block_shift, indirect_shift, levels, flags, bonus, top, cells, generation = struct.unpack_from("<BBBBHHQQQ", data)
        expect(kind in (BLOB, TREE_KIND) and flags == 0 and bonus <= 320, f"dnode: kind {kind}, flags {flags}, bonus {bonus}")
        if kind == BLOB:
            expect(12 <= block_shift <= 20 and indirect_shift in (12, 14, 15) and levels <= 9 and top < 1 << 48, "dnode: blob")
        else:
            expect(block_shift == 0 and indirect_shift in (14, 15) and levels <= 16, "dnode: tree")
        expect_zeros(data, 96, 192, "dnode")
        expect_zeros(data, 192 + bonus, DNODE_SIZE, "dnode")
        root = BlockPointer.decode(data[32:96])
        expect(levels > 0 or root.is_hole, "dnode: no levels, but a root")
        return cls(kind, block_shift, indirect_shift, levels, top, cells, generation, root, data[192:192 + bonus])

    @property
    def fan_out(self):
        return 1 << self.indirect_shift - 6

    @property
    def node_cells(self):
        return (1 << self.indirect_shift) // CELL

    @property
    def block_cells(self):
        return (1 << self.block_shift) // CELL


class Blob:
    def __init__(self, reader, dnode, block_type):
        self.reader, self.dnode, self.type = reader, dnode, block_type

    def cells_at(self, level):
        return self.dnode.node_cells if level else self.dnode.block_cells

    def node(self, pointer, level):
        content = self.reader.read(pointer, self.type, level, self.cells_at(level))
        return [BlockPointer.decode(content[offset:offset + POINTER_SIZE]) for offset in range(0, len(content), POINTER_SIZE)]

    def pointers(self, lost, pointer=None, level=None, number=0):
        """(pointer, level, number) of all that isn't a hole, parents first; lost(error, level, number): a node can't be read."""
        if level is None:
            pointer, level = self.dnode.root, self.dnode.levels - 1
        if pointer.is_hole:
            return
        yield pointer, level, number
        if level:
            try:
                children = self.node(pointer, level)
            except ReaderError as error:
                lost(error, level, number)
                return
            for entry, child in enumerate(children):
                yield from self.pointers(lost, child, level - 1, number * self.dnode.fan_out + entry)

    def find(self, number):
        """The pointer to a level-0 block."""
        pointer, fan_out = self.dnode.root, self.dnode.fan_out
        if self.dnode.levels == 0 or number >= fan_out ** (self.dnode.levels - 1):
            return None
        for level in range(self.dnode.levels - 1, 0, -1):
            if pointer.is_hole:
                return None
            pointer = self.node(pointer, level)[number // fan_out ** (level - 1) % fan_out]
        return None if pointer.is_hole else pointer

    def block(self, number):
        """The content of a level-0 block, or None for a hole."""
        pointer = self.find(number)
        return self.reader.read(pointer, self.type, 0, self.dnode.block_cells) if pointer else None


def decode_node(content, level):
    """Keys and values of a tree node."""
    check_header(content, "poolTREE", 32)
    found, reserved, count, used = struct.unpack_from("<BBHI", content, 16)
    expect(found == level and reserved == 0 and count >= 1 and 32 + 2 * count <= used <= len(content), "tree node: its head")
    expect_zeros(content, 24, 32, "tree node")
    expect_zeros(content, used, len(content), "tree node")
    end, keys, values = 32 + 2 * count, [], []
    for offset in struct.unpack_from(f"<{count}H", content, 32):
        expect(offset == end and offset + 4 <= used, "tree node: its offsets")
        key_length, value_length = struct.unpack_from("<HH", content, offset)
        expect(key_length <= 1024 and value_length <= 3072, "tree node: lengths of an entry")
        end = offset + 4 + key_length + value_length
        expect(end <= used and not (keys and content[offset + 4:offset + 4 + key_length] <= keys[-1]), "tree node: an entry")
        keys.append(content[offset + 4:offset + 4 + key_length])
        values.append(content[offset + 4 + key_length:end])
    expect(end == used, "tree node: its length")
    return keys, values


class Tree:
    def __init__(self, reader, dnode):
        self.reader, self.dnode = reader, dnode

    def node(self, pointer, level):
        keys, values = decode_node(self.reader.read(pointer, TREE, level, self.dnode.node_cells), level)
        if level:
            values = [BlockPointer.decode(value) for value in values]
            expect(all(child.kind == "placed" for child in values), "tree node: a child that isn't placed")
        return keys, values

    def nodes(self, lost):
        """(pointer, level, keys, values) of all nodes, parents first, ascending; lost(error, level): one can't be read."""
        def below(pointer, level, low):
            try:
                keys, values = self.node(pointer, level)
                expect(low is None or keys[0] == low, "tree node: its lowest key isn't that in its parent")
            except ReaderError as error:
                lost(error, level)
                return
            yield pointer, level, keys, values
            if level:
                for key, child in zip(keys, values):
                    yield from below(child, level - 1, key)
        if self.dnode.levels:
            yield from below(self.dnode.root, self.dnode.levels - 1, None)

    def items(self):
        for _, level, keys, values in self.nodes(raise_it):
            if not level:
                yield from zip(keys, values)

    def at_or_below(self, key):
        """The last entry whose key isn't above `key`, or None."""
        if not self.dnode.levels:
            return None
        pointer = self.dnode.root
        for level in range(self.dnode.levels - 1, -1, -1):
            keys, values = self.node(pointer, level)
            place = bisect_right(keys, key) - 1
            if place < 0:
                return None
            pointer = values[place]
        return keys[place], values[place]

    def get(self, key):
        entry = self.at_or_below(key)
        return entry[1] if entry and entry[0] == key else None


def raise_it(error, *_):
    raise error


class Objset:
    def __init__(self, reader, pointer, number):
        self.reader, self.pointer, self.number = reader, pointer, number
        content = reader.read(pointer, OBJSET, 0, 1)
        check_header(content, "poolOBJS", 576)
        found, reserved, self.next_object, self.object_count = struct.unpack_from("<IIQQ", content, 16)
        expect(found == number and reserved == 0 and 16 <= self.next_object <= 1 << 48, f"objset {number}: its block")
        expect_zeros(content, 40, 64, "objset block")
        expect_zeros(content, 576, CELL, "objset block")
        dnode = Dnode.decode(content[64:576])
        expect(dnode is None or (dnode.kind == BLOB and dnode.block_shift == 14), f"objset {number}: its dnodes")
        self.dnodes = Blob(reader, dnode, DNODES) if dnode else None

    @staticmethod
    def split(content, number):
        """(object number, dnode) of block `number` of the dnodes."""
        for slot in range(DNODES_OF_BLOCK):
            dnode = Dnode.decode(content[slot * DNODE_SIZE:(slot + 1) * DNODE_SIZE])
            if dnode:
                yield number * DNODES_OF_BLOCK + slot, dnode

    def all_dnodes(self):
        for block in range(-(-self.next_object // DNODES_OF_BLOCK)) if self.dnodes else ():
            content = self.dnodes.block(block)
            yield from self.split(content, block) if content else ()

    def dnode(self, number):
        content = self.dnodes.block(number // DNODES_OF_BLOCK) if self.dnodes else None
        return dict(self.split(content, number // DNODES_OF_BLOCK)).get(number) if content else None

    def tree(self, number):
        dnode = self.dnode(number)
        expect(dnode is not None and dnode.kind == TREE_KIND, f"objset {self.number}: object {number} is not a tree")
        return Tree(self.reader, dnode)

    def blob(self, number, block_type):
        dnode = self.dnode(number)
        expect(dnode is not None and dnode.kind == BLOB, f"objset {self.number}: object {number} is not a blob")
        return Blob(self.reader, dnode, block_type)
