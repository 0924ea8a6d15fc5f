# SPDX-License-Identifier: BSD-2-Clause
"""Parity (FORMAT.md, section 7): any k cells of a row give every other one."""
from functools import lru_cache, reduce
from operator import xor

EXP = [1]
for _ in range(254):
    EXP.append(EXP[-1] << 1 ^ (0x11D if EXP[-1] & 0x80 else 0))
LOG = {value: power for power, value in enumerate(EXP)}


def multiply(a, b):
    return EXP[(LOG[a] + LOG[b]) % 255] if a and b else 0


def inverse(a):
    return EXP[-LOG[a] % 255]


def coefficient(j, i):
    """C[j][i]."""
    if j == 0:
        return 1
    if j == 1:
        return EXP[i]
    return multiply(1 ^ EXP[j - 1], inverse(inverse(EXP[i]) ^ EXP[j - 1]))


TABLES = [bytes(multiply(factor, byte) for byte in range(256)) for factor in range(256)]


def generator_row(k, column):
    """What a column is made of, as factors of the data columns."""
    return [int(column == i) for i in range(k)] if column < k else [coefficient(column - k, i) for i in range(k)]


@lru_cache(maxsize=None)
def factors(k, sources, wanted):
    """With which factors the k cells of the columns `sources` add up to that of column `wanted`."""
    matrix = [generator_row(k, column) + [int(row == place) for place in range(k)] for row, column in enumerate(sources)]
    for place in range(k):                                          # Gauss and Jordan, with the identity beside it
        pivot = next(row for row in range(place, k) if matrix[row][place])
        matrix[place], matrix[pivot] = matrix[pivot], matrix[place]
        scale = inverse(matrix[place][place])
        matrix[place] = [multiply(scale, value) for value in matrix[place]]
        for row in range(k):
            factor = matrix[row][place]
            if row != place and factor:
                matrix[row] = [value ^ multiply(factor, other) for value, other in zip(matrix[row], matrix[place])]
    inverted = [row[k:] for row in matrix]
    target = generator_row(k, wanted)
    return tuple(reduce(xor, (multiply(target[i], inverted[i][source]) for i in range(k))) for source in range(k))


def reconstruct(k, cells, wanted):
    """The cell of column `wanted` from k others of its row: {column: bytes}."""
    sources = tuple(sorted(cells))
    total = 0
    for column, factor in zip(sources, factors(k, sources, wanted)):
        if factor:
            total ^= int.from_bytes(cells[column].translate(TABLES[factor]), "little")
    return total.to_bytes(len(cells[sources[0]]), "little")
