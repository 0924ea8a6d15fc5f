# SPDX-License-Identifier: BSD-2-Clause
"""What all structures have in common (FORMAT.md, sections 1, 2 and 9): headers, reserved bytes, names, hashes, places."""
import struct

import crc32c
import xxhash

CELL = 4096
MIB = 1 << 20
AREA_LABELS, AREA_RING, AREA_SYSMAPS = 65536, 131072, 655360
NO_DISK = 0xFFFF


class ReaderError(Exception):
    """The images can't be read: the text is one line for people."""


class FormatError(ReaderError):
    """A structure is not as FORMAT.md says."""


class LostError(ReaderError):
    """A block can't be read or reconstructed."""


def expect(condition, what):
    if not condition:
        raise FormatError(what)


def expect_zeros(data, start, end, what):
    expect(not any(data[start:end]), f"{what}: reserved bytes {start} to {end - 1} are not zero")


def check_header(data, magic, length, known_flags=0):
    """Checks the common header and returns its flags."""
    found, version, found_length, flags = struct.unpack_from("<8sHHI", data)
    expect(found == magic.encode(), f"{magic}: the magic is {found!r}")
    expect(version == 1, f"{magic}: version {version} is unknown")
    expect(found_length == length, f"{magic}: the header length is {found_length}, not {length}")
    expect(not flags & ~known_flags, f"{magic}: flags {flags:#x} are unknown")
    return flags


def decode_name(field, what):
    """A name: not empty, zeros behind it, no control characters."""
    text, _, rest = field.partition(b"\0")
    expect(text and len(text) < len(field) and not any(rest), f"{what}: the name is not well-formed")
    expect(all(byte >= 0x20 and byte != 0x7F for byte in text), f"{what}: control characters in the name")
    return text.decode("utf-8", "surrogateescape")


def decode_columns(data, offset, places, used, what):
    """`places` entries {disk u16, AU u32} of which the first `used` are columns; returns these."""
    columns = [struct.unpack_from("<HI", data, offset + 6 * place) for place in range(places)]
    for place, (disk, unit) in enumerate(columns):
        if disk == NO_DISK or place >= used:
            expect((disk, unit) == (NO_DISK, 0), f"{what}: column {place} is neither used nor absent")
        else:
            expect(disk < 512, f"{what}: disk index {disk}")
    return columns[:used]


def hash128(*pieces):
    """XXH3-128 as it lies on disk."""
    state = xxhash.xxh3_128()
    for piece in pieces:
        state.update(piece)
    return state.digest()[::-1]


def cell_crc(segment, column, row, cell):
    return crc32c.crc32c(cell, crc32c.crc32c(struct.pack("<IHH", segment, column, row)))


def header_crc(data):
    """Of an AU header, as it lies at its end."""
    return struct.pack("<I", crc32c.crc32c(data[:4092]))


def area_b(disk_size):
    return disk_size // MIB * MIB - MIB
