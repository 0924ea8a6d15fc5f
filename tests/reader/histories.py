#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Random histories of the simulator, read from images of their disks: everything must be as the simulator's model says.

usage: histories.py [--jobs N] [--keep] [--files] SIMULATE A..B

SIMULATE is the program. Of each seed the disks are written as they are at the end of the history (after a crash, with
disks missing, stale, rotten, in the middle of a rebuild), and every volume is extracted and compared. Then everything is
checked, and where the profile can stand more and the log lies on all its disks, further ones are damaged and the volumes are extracted once more. --files: histories with
file systems, of which every name, file, link and attribute is compared as well. --keep leaves the images of seeds that failed.
"""
import argparse
import json
import multiprocessing
import os
import resource
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path.insert(0, HERE)
from poolcheck import names, space                      # noqa: E402
from poolcheck.check import check                      # noqa: E402
from poolreader.files import ROOT, FileSystem           # noqa: E402
from poolreader.pool import Pool                        # noqa: E402

DAMAGE_DISK = os.path.join(HERE, "../../scripts/damage-disk")
TIME_LIMIT = 120    # seconds, for a history
MEMORY_LIMIT = 4 << 30  # bytes of address space, for one worker: what wants more fails as its seed, and the machine stays
MEANINGFUL = 20     # seeds, of which some must have needed reconstruction


class Mismatch(Exception):
    pass


def expected_blocks(path, block_bytes):
    """{offset: content} of what the model says; what isn't named is zero."""
    with open(path, "rb") as file:
        while offset := file.read(8):
            yield int.from_bytes(offset, "little"), file.read(block_bytes)


def lose(offset, length, error):
    raise Mismatch(f"{length} bytes at {offset} are lost: {error}")


def facts(files, inode):
    """What the model knows of an inode, too."""
    is_node = stat.S_ISREG(inode.mode) or stat.S_ISLNK(inode.mode)
    content = bytearray(inode.size if is_node else 0)
    for offset, piece in files.content(inode, lose) if is_node else ():
        content[offset:offset + len(piece)] = piece
    return {"mode": inode.mode, "links": inode.links, "minor": inode.device[1] if stat.S_ISCHR(inode.mode) else 0,
            "attributes": files.attributes(inode), "content": bytes(content)}


def walk(files, inode, path, fold):
    """{path: facts} of all that lies in a directory."""
    found = {}
    for name, (number, _kind) in files.entries(inode):
        below, child = files.inode(number), f"{path}{name.decode()}"
        child = child.lower() if fold else child
        if child in found:
            raise Mismatch(f"{child}: there are several")
        found[child] = facts(files, below)
        if stat.S_ISDIR(below.mode):
            found |= walk(files, below, child + "/", fold)
    return found


def wanted_files(folder, system):
    with open(os.path.join(folder, system["file"]), "rb") as file:
        content = file.read()
    return {entry["path"]: {"mode": entry["mode"], "links": entry["links"], "minor": entry["minor"] if stat.S_ISCHR(entry["mode"]) else 0,
                            "attributes": {name.encode(): bytes([value]) * length for name, (length, value) in entry["attributes"].items()},
                            "content": content[entry["at"]:entry["at"] + entry["bytes"]]} for entry in system["entries"]}


def compare_files(folder, pool, found, system, counts):
    if not system["known"]:
        return
    if system["name"] not in found:
        raise Mismatch(f"there is no file system {system['name']}")
    files = FileSystem(pool, found[system["name"]])
    there, wanted = walk(files, files.inode(ROOT), "", system["caseless"]), wanted_files(folder, system)
    if there.keys() != wanted.keys():
        raise Mismatch(f"file system {system['name']} has {sorted(there)}, not {sorted(wanted)}")
    for path, facts_there in there.items():
        for what, value in wanted[path].items():
            if facts_there[what] != value:
                raise Mismatch(f"file system {system['name']}: {what} of {path}: {str(facts_there[what])[:60]}, not {str(value)[:60]}")
    counts["file_systems"] += 1
    counts["names"] += len(wanted)
    counts["changes_of_files_in_logs"] += len(files.changes)


def compare(folder, expected, paths, counts):
    """Reads the pool and compares all volumes and file systems; returns it."""
    pool = Pool(paths)
    systems = {dataset.name: dataset for dataset in pool.datasets if not dataset.destroyed and dataset.kind == "file system"}
    for system in expected["file_systems"]:
        compare_files(folder, pool, systems, system, counts)
    if not systems.keys() <= {system["name"] for system in expected["file_systems"]}:
        raise Mismatch(f"the file systems are {sorted(systems)}")
    found = {dataset.name: dataset for dataset in pool.datasets if not dataset.destroyed and dataset.kind == "volume"}
    wanted = {volume["name"]: volume for volume in expected["volumes"]}
    if found.keys() != wanted.keys():
        raise Mismatch(f"the volumes are {sorted(found)}, not {sorted(wanted)}")
    for name, volume in wanted.items():
        if found[name].size != volume["bytes"]:
            raise Mismatch(f"volume {name} has {found[name].size} bytes, not {volume['bytes']}")
        blocks = dict(expected_blocks(os.path.join(folder, volume["file"]), volume["block_bytes"]))
        counts["blocks_compared"] += len(blocks)
        for offset, content in pool.blocks(found[name], lose):
            if content != blocks.pop(offset, bytes(volume["block_bytes"])):
                raise Mismatch(f"volume {name}: the block at {offset} is not what the model says")
        for offset, content in blocks.items():
            if any(content):
                raise Mismatch(f"volume {name}: the block at {offset} reads as zeros")
    counts["volumes"] += len(wanted)
    counts.update(pool.reader.counts)
    counts["wrong_cells"] += sum(pool.reader.damaged.values())
    return pool


def damage(paths, expected):
    """Garbage in the data of as many more disks as may fail; returns whether there are any."""
    sound = [path for path, image in zip(paths, expected["images"]) if not image["suspect"]][:expected["spare"]]
    if sound:
        subprocess.run([DAMAGE_DISK, "--percent", "30", "--seed", str(expected["seed"]), *sound], check=True, stdout=subprocess.DEVNULL)
    return bool(sound)


def check_owners(pool):
    """Where names lie, and space by owner. What the log has comes to neither before it is replayed."""
    for dataset in pool.datasets:
        if dataset.kind != "file system" or dataset.destroyed or pool.changes.get(dataset.id):
            continue
        names.check_cookies(pool, dataset)
        if space.rows_of(pool, dataset) != space.sums_of(pool, dataset):
            raise Mismatch(f"file system {dataset.name}: space by owner isn't what its objects have")


def run_seed(simulate, folder, seed):
    counts = Counter(seeds=1)
    subprocess.run([*simulate, "--seed", str(seed), "--images", folder], check=True, stdout=subprocess.DEVNULL, timeout=TIME_LIMIT)
    with open(os.path.join(folder, "expected.json"), encoding="utf-8") as file:
        expected = json.load(file)
    paths = [os.path.join(folder, image["file"]) for image in expected["images"]]
    pool = compare(folder, expected, paths, counts)
    counts["disks_missing"] += expected["missing"] > 0
    counts["changes_in_logs"] += sum(map(len, pool.changes.values()))
    counts["not_exported"] += not pool.uberblock.exported
    counts["with_stale_records"] += bool(pool.reader.stale)
    suspect = {path for path, image in zip(paths, expected["images"]) if image["suspect"]}
    problems = check(pool, {disk.index for disk in pool.disks.by_index.values() if disk.image and disk.image.path in suspect})["problems"]
    if problems:
        raise Mismatch(f"{len(problems)} problems, first: {problems[0]}")
    check_owners(pool)
    if not pool.log_is_whole:       # what a crash left on some disks only can be lost with them
        counts["with_half_a_log"] += 1
    elif damage(paths, expected):
        compare(folder, expected, paths, counts)
        counts["damaged_further"] += 1
    return counts


def work(job):
    """(seed, counts or None, error or None)."""
    simulate, seed, keep = job
    folder = tempfile.mkdtemp(prefix=f"reader-{seed}-")
    error = None
    try:
        return seed, run_seed(simulate, folder, seed), None
    except Exception as caught:     # noqa: BLE001, reported as this seed's failure
        error = str(caught) if isinstance(caught, Mismatch) else traceback.format_exc()
        return seed, None, error + (f"\n  images: {folder}" if keep else "")
    finally:
        if not (error and keep):
            shutil.rmtree(folder)


def main():
    parser = argparse.ArgumentParser(description="Reads the images of random histories.")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--files", action="store_true")
    parser.add_argument("simulate")
    parser.add_argument("range")
    arguments = parser.parse_args()
    first, _, last = arguments.range.partition("..")
    seeds = range(int(first), int(last or first) + 1)
    total, failures, begun = Counter(), 0, time.monotonic()
    simulate, options = [arguments.simulate, *(["--files"] if arguments.files else [])], "--files " if arguments.files else ""
    limit = (MEMORY_LIMIT, MEMORY_LIMIT)
    with multiprocessing.Pool(arguments.jobs, resource.setrlimit, (resource.RLIMIT_AS, limit)) as workers:
        for seed, counts, error in workers.imap(work, [(simulate, seed, arguments.keep) for seed in seeds]):
            if error:
                failures += 1
                print(f"FAILED seed {seed}: {error}\n  replay: {sys.argv[0]} --keep {options}{arguments.simulate} {seed}", flush=True)
            else:
                total.update(counts)
    print(f"{len(seeds)} seeds run, {failures} failed, {time.monotonic() - begun:.1f} s: "
          + ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in sorted(total.items())))
    if len(seeds) >= MEANINGFUL and not (total["absent_cells_reconstructed"] and total["blocks_repaired"] and total["changes_in_logs"]):
        print("no image needed any reconstruction, or none had changes in its log: the histories are too harmless")
        failures += 1
    if len(seeds) >= MEANINGFUL and arguments.files and not (total["names"] and total["changes_of_files_in_logs"]):
        print("there were no files, or no log had changes of any")
        failures += 1
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
