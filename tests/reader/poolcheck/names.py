# SPDX-License-Identifier: BSD-2-Clause
"""Names of a file system (FORMAT.md, section 24): whether each is where one looks for it."""
import struct
import unicodedata

from poolreader.files import FileSystem
from poolreader.objects import TREE_KIND, Tree
from poolreader.structure import expect, hash128

FORMS = None, "NFD", "NFKD"


def key_of(files, name):
    """What a name is compared by."""
    text = name.decode("utf-8", "surrogateescape")
    if files.form:
        text = unicodedata.normalize("NFD" if files.case else FORMS[files.form], text)
    for _ in range(files.case * max(1, files.form)):
        text = text.casefold()
        text = unicodedata.normalize(FORMS[files.form], text) if files.form else text
    return text.encode("utf-8", "surrogateescape")


def check_cookies(pool, dataset):
    """The number of names."""
    files, names = FileSystem(pool, dataset), 0
    for number, dnode in files.objset.all_dnodes():
        if dnode.kind != TREE_KIND or len(dnode.bonus) != 320:
            continue
        keys = set()
        for cookie, value in Tree(pool.reader, dnode).items():
            key, what = key_of(files, value[8:]), f"directory {number}: {value[8:]!r}"
            part = int.from_bytes(hash128(files.hash_key, key)[:8], "little") >> 9
            expect(struct.unpack(">Q", cookie)[0] >> 8 == (part or 1), f"{what}: its cookie")
            expect(key not in keys, f"{what}: there are several")
            keys.add(key)
        names += len(keys)
    return names
