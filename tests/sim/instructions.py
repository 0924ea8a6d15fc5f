#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""How many instructions of the engine's own a piece of work takes, under callgrind; fails above a ceiling.

Counted are those of the sources of the library, not those of the simulated disks nor of other libraries. The ceilings only ever
fall: who makes something cheaper lowers them (measured plus a tenth).

Usage: instructions.py PROGRAM SOURCE-FOLDER
"""
import pathlib
import re
import subprocess
import sys
import tempfile

# work: two counts, units in each, unit, ceiling
WORK = {
    "sequential-write-128k": (16, 32, 1024, "KiB", 560),
    "random-write-4k": (1000, 2000, 1, "operation", 8200),
    "scattered-write-4k": (5000, 6000, 1, "operation", 9000),
    "cached-read-4k": (1000, 2000, 1, "operation", 2300),
    "cold-read-4k": (200, 400, 1, "operation", 11600),
    "random-read-4k": (3000, 6000, 1, "operation", 5000),
}
OWN = ("libpool/", "checksum/", "raid/", "scrub/")
NAME = re.compile(r"^(fl|fi|fe|cfl|cfi)=\((\d+)\)(?: (.*))?$")


def own_cost(text, root):
    """Self cost of all lines of the library's files."""
    names, current, total, skip = {}, "", 0, False
    for line in text.splitlines():
        match = NAME.match(line)
        if match:
            if match[3] is not None:
                names[match[2]] = match[3]
            if not match[1].startswith("c"):
                current = names[match[2]]
        elif line.startswith("calls="):
            skip = True  # the next line is what the callee took
        elif line and (line[0].isdigit() or line[0] in "+-*"):
            if skip:
                skip = False
            elif current.startswith(root) and current[len(root):].lstrip("/").startswith(OWN):
                total += int(line.split()[1])
    return total


def count(program, root, work, times):
    with tempfile.TemporaryDirectory() as folder:
        output = pathlib.Path(folder) / "out"
        subprocess.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={output}", "--quiet", program, work, str(times)],
                       check=True, stderr=subprocess.DEVNULL)
        return own_cost(output.read_text(), root)


def main():
    program, root = sys.argv[1], str(pathlib.Path(sys.argv[2]).resolve())
    bad = 0
    for work, (few, many, units, unit, ceiling) in WORK.items():
        cost = (count(program, root, work, many) - count(program, root, work, few)) / ((many - few) * units)
        holds = 0 < cost <= ceiling
        bad += not holds
        print(f"{work:24} {cost:10.0f} instructions / {unit:10} ceiling {ceiling:8} {'ok' if holds else 'FAILED'}", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
