# SPDX-License-Identifier: BSD-2-Clause
"""Space by owner (FORMAT.md, section 19): what the rows say, and what they must say."""
import struct

from poolreader.files import FileSystem
from poolreader.pool import SPACE
from poolreader.structure import expect


def rows_of(pool, dataset):
    """{(kind, owner): (cells, objects)} of its rows of space by owner, limits with their kinds."""
    found = {}
    for key, value in pool.mos.tree(SPACE).items():
        expect(len(key) == 9 and len(value) == 16, "space by owner: lengths of a row")
        number, kind, owner = struct.unpack(">IBI", key)
        expect(number >= 1 and kind in (1, 2, 3, 17, 18, 19) and any(value), "space by owner: a row")
        if number == dataset.id:
            found[kind, owner] = struct.unpack("<QQ", value)
    return found


def sums_of(pool, dataset):
    """The same, added up from the objects; kinds are 1 user, 2 group, 3 project."""
    found = {}
    for _, dnode in FileSystem(pool, dataset).objset.all_dnodes():
        if len(dnode.bonus) not in (12, 320):
            continue
        owners = struct.unpack_from("<3I", dnode.bonus, 8 if len(dnode.bonus) == 320 else 0)
        for key in enumerate(owners, 1):
            cells, objects = found.get(key, (0, 0))
            found[key] = cells + dnode.cells, objects + (len(dnode.bonus) == 320)
    return {key: sums for key, sums in found.items() if any(sums)}
