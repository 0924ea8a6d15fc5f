# SPDX-License-Identifier: BSD-2-Clause
"""What lies at fixed places of a disk: labels, uberblocks and sysmaps (FORMAT.md, sections 2 to 5)."""
import struct
from collections import namedtuple
from dataclasses import dataclass

from .intent import LogPlace, decode_place
from .pointers import BlockPointer
from .structure import check_header, decode_columns, decode_name, expect, expect_zeros, hash128

LABEL_SIZE = 32768
DESTROYED = EXPORTED = 1
STATES = {1: "RESYNC", 2: "FAULTY", 3: "MISSING", 5: "SLOW", 6: "SPARE", 7: "OFFLINE"}
ROLES = {0: "data", 1: "log", 2: "spare"}
ListedDisk = namedtuple("ListedDisk", "guid index role removed size")


class Label(namedtuple("Label", """destroyed pool_guid disk_guid config_txg created_ns disk_size
                          disk_index au_shift k m features name disks""")):
    @classmethod
    def decode(cls, data, area, copy):
        expect(hash128(bytes((area, copy)), data[:-16]) == data[-16:], "label: wrong hash")
        flags = check_header(data, "poolLABL", 4096, DESTROYED)
        (pool_guid, disk_guid, config_txg, created_ns, size, index, au_shift, k, m, own_area, own_copy, reserved, disk_count,
         feature_count) = struct.unpack_from("<16s16sQQQHBBBBBBHH", data, 16)
        expect((own_area, own_copy, reserved) == (area, copy, 0), "label: of another place")
        expect(18 <= au_shift <= 24, f"label: au_shift {au_shift}")
        expect(k >= 1 and m <= 3 and k + m <= 16, f"label: k = {k}, m = {m}")
        expect(1 <= disk_count <= 512 and feature_count <= 32, "label: the lists are too long")
        for start, end in (84, 128), (384 + 64 * feature_count, 4096), (4096 + 40 * disk_count, 32752):
            expect_zeros(data, start, end, "label")
        features = [decode_name(data[384 + 64 * place:448 + 64 * place], "feature") for place in range(feature_count)]
        disks = [cls.decode_disk(data[4096 + 40 * place:4136 + 40 * place]) for place in range(disk_count)]
        expect(len({disk.guid for disk in disks}) == len({disk.index for disk in disks}) == disk_count, "label: a disk is listed twice")
        expect(any((disk.guid, disk.index, disk.size) == (disk_guid, index, size) for disk in disks), "label: the disk itself is not listed")
        return cls(bool(flags & DESTROYED), pool_guid, disk_guid, config_txg, created_ns, size, index, au_shift, k, m, features,
                   decode_name(data[128:384], "label"), disks)

    @staticmethod
    def decode_disk(data):
        guid, index, role, state, size = struct.unpack_from("<16sHBBQ", data)
        expect(index < 512 and role in ROLES and state in (0, 4), "label: a listed disk is not well-formed")
        expect(size >= 64 << 20, f"label: a listed disk has {size} bytes")
        expect_zeros(data, 28, 40, "listed disk")
        return ListedDisk(guid, index, ROLES[role], state == 4, size)


@dataclass
class FinalBatch:
    """The rows of a SYS segment with the commit block and the last block of the log."""
    summary: BlockPointer
    segment: int
    first_row: int
    rows: int

    @classmethod
    def decode(cls, data):
        batch = cls(BlockPointer.decode(data[:64]), *struct.unpack_from("<IHH", data, 64))
        expect(batch.summary.kind == "placed" and batch.summary.type == 1, "final batch: it has no summary")
        expect(batch.segment < 1 << 24 and batch.first_row >= 1 and 1 <= batch.rows <= 24, "final batch: out of bounds")
        return batch


UBERBLOCK = """exported txg rewrite online epoch incompatible sysmap_txg sysmap_slot sysmap_length sysmap_hash commit final_batch
               log states history"""


class Uberblock(namedtuple("Uberblock", UBERBLOCK)):
    """log: None if there is none; states: {disk index: (state, stale_from)}; history: (epoch, first txg), newest first."""
    @classmethod
    def decode(cls, data, pool_guid, disk_guid, disk_index, slot):
        expect(hash128(pool_guid, disk_guid, struct.pack("<H", slot), data[:4080]) == data[4080:], "uberblock: wrong hash")
        flags = check_header(data, "poolUBER", 4096, EXPORTED)
        found_guid, txg, rewrite, online = struct.unpack_from("<16sQIH", data, 16)
        index, own_slot, state_count, history_count = struct.unpack_from("<HHHH", data, 80)
        expect((found_guid, index, own_slot) == (pool_guid, disk_index, slot), "uberblock: of another place")
        expect(txg > 0 and txg % 120 == slot, "uberblock: txg in a wrong slot")
        expect(state_count <= 128 and 1 <= history_count <= 32, "uberblock: the lists are too long")
        for start, end in (46, 48), (100, 104), (392 + 16 * state_count, 2440), (2440 + 16 * history_count, 4080):
            expect_zeros(data, start, end, "uberblock")
        sysmap_txg, sysmap_slot, sysmap_length = struct.unpack_from("<QII", data, 128)
        expect(sysmap_slot < 6 and 64 <= sysmap_length <= 65536, "uberblock: sysmap out of bounds")
        commit = BlockPointer.decode(data[160:224])
        expect(commit.kind == "placed" and commit.type == 3, "uberblock: no commit block")
        history = [struct.unpack_from("<QQ", data, 2440 + 16 * place) for place in range(history_count)]
        firsts = [txg + 1] + [first for _, first in history]
        expect(all(newer > older for newer, older in zip(firsts, firsts[1:])), "uberblock: the history does not descend")
        return cls(bool(flags & EXPORTED), txg, rewrite, online, *struct.unpack_from("<Q", data, 48),
                   *struct.unpack_from("<Q", data, 104), sysmap_txg, sysmap_slot, sysmap_length, data[144:160], commit,
                   FinalBatch.decode(data[224:296]), decode_place(data[296:392]), cls.decode_states(data, state_count), history)

    @staticmethod
    def decode_states(data, count):
        states = {}
        for place in range(count):
            offset = 392 + 16 * place
            index, state, stale_from = struct.unpack_from("<HB5xQ", data, offset)
            expect_zeros(data, offset + 3, offset + 8, "state")
            expect(index < 512 and state in STATES and index not in states, "uberblock: a state is not well-formed")
            states[index] = STATES[state], stale_from
        return states

    @property
    def version(self):
        return self.txg, self.rewrite


SysmapEntry = namedtuple("SysmapEntry", "segment rows_used flags columns")


def decode_sysmap(data, pool_guid, uberblock):
    expect(len(data) == uberblock.sysmap_length and hash128(data) == uberblock.sysmap_hash, "sysmap: wrong hash")
    check_header(data, "poolSYSM", 64)
    found_guid, txg, count, entry_size = struct.unpack_from("<16sQIH", data, 16)
    expect((found_guid, txg, entry_size) == (pool_guid, uberblock.sysmap_txg, 32), "sysmap: of another pool or txg")
    expect(count <= 2000 and len(data) == 64 + 32 * count, "sysmap: wrong length")
    expect_zeros(data, 46, 64, "sysmap")
    entries = []
    for offset in range(64, len(data), 32):
        segment, rows_used, flags, columns = struct.unpack_from("<IHBB", data, offset)
        expect(segment < 1 << 24 and rows_used >= 1 and 1 <= columns <= 4 and flags < 8, "sysmap: an entry is out of bounds")
        entries.append(SysmapEntry(segment, rows_used, flags, decode_columns(data, offset + 8, 4, columns, "sysmap")))
    expect(len({entry.segment for entry in entries}) == count, "sysmap: a segment is listed twice")
    return entries
