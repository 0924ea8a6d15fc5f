# SPDX-License-Identifier: BSD-2-Clause
"""The work that is measured: jobs for fio, all those of one system in one process of fio, and what fio can't do."""
import json
import os
import re
import shlex
import subprocess
import time

from comparison import machine
from comparison.machine import Failed

PLACES = ("stream", "random")

# name: place, fio's options. All but those with a size of their own run for the time that was asked for.
JOBS = {
    "seq-write-1m-qd16": ("stream", "rw=write bs=1m iodepth=16 end_fsync=1"),
    "seq-read-1m-qd16": ("stream", "rw=read bs=1m iodepth=16"),
    "rand-read-128k-qd8": ("stream", "rw=randread bs=128k iodepth=8"),
    "rand-read-4k-qd1": ("random", "rw=randread bs=4k iodepth=1"),
    "rand-read-4k-qd32": ("random", "rw=randread bs=4k iodepth=32"),
    "rand-write-4k-qd32": ("random", "rw=randwrite bs=4k iodepth=32 end_fsync=1"),
    "rand-write-16k-qd32": ("random", "rw=randwrite bs=16k iodepth=32 end_fsync=1"),
    "mixed-16k-qd8": ("random", "rw=randrw rwmixread=70 bs=16k iodepth=8"),
    "sync-4k-1": ("random", "rw=randwrite bs=4k iodepth=1 fsync=1"),
    "sync-4k-4": ("random", "rw=randwrite bs=4k iodepth=1 fsync=1 numjobs=4"),
    "verify-64k-qd8": ("stream", "rw=randwrite bs=64k iodepth=8 verify=crc32c verify_fatal=1 time_based=0 io_size=128m"),
}


def matrix():
    """Every combination, for --full."""
    jobs = {}
    for rw in ("read", "write", "randread", "randwrite"):
        for size in ("4k", "16k", "64k", "1m"):
            for depth in (1, 8, 32):
                for count in (1, 4):
                    place = "random" if rw.startswith("rand") and size in ("4k", "16k") else "stream"
                    end = " end_fsync=1" if "write" in rw else ""
                    jobs[f"{rw}-{size}-qd{depth}-jobs{count}"] = (
                        place, f"rw={rw} bs={size} iodepth={depth} numjobs={count} offset_increment=0{end}")
    return jobs


def write_job_file(path, system, fills, jobs, seconds, disks, sizes):
    """One file: first these places are filled, then the jobs, one after the other."""
    stats = " ".join(machine.stat_path(disk) for disk in disks)
    lines = ["[global]", "group_reporting=1", "stonewall=1", "random_generator=tausworthe64", "randrepeat=1", "invalidate=1",
             "refill_buffers=0", "fallocate=none", f"exec_prerun=cat {stats}", f"exec_postrun=cat {stats}"]

    def job(name, place, options, timed):
        lines.append(f"[{name}]")
        for word in system.place(place):
            key, _, value = word.removeprefix("--").partition("=")
            lines.append(f"{key}={value}" if value else f"{key}=1")
        lines.append(f"size={sizes[place]}")
        if timed:
            lines.extend(("time_based=1", f"runtime={seconds}"))
        lines.extend(word for word in shlex.split(options))

    for place in fills:
        job(f"fill-{place}", place, "rw=write bs=1m iodepth=4 end_fsync=1", False)
    for name, (place, options) in jobs.items():
        job(name, place, options, "time_based=0" not in options)
    path.write_text("\n".join(line for line in lines if line != "time_based=0") + "\n")


def percentile(side, which):
    return side.get("clat_ns", {}).get("percentile", {}).get(which, 0) / 1000


def sync_latency(entry, which):
    return entry.get("sync", {}).get("lat_ns", {}).get("percentile", {}).get(which, 0) / 1000


def read_result(entry, folder, load):
    """What one job gave, per second and per byte."""
    name = entry["jobname"]
    read, write = entry["read"], entry["write"]
    milliseconds = max(read["runtime"], write["runtime"])
    user_bytes = read["io_bytes"] + write["io_bytes"]
    operations = read["total_ios"] + write["total_ios"]
    if milliseconds == 0 or operations == 0:
        raise Failed(f"{name}: fio did nothing")
    before, after = ((folder / f"{name}.{when}.txt").read_text() for when in ("prerun", "postrun"))
    device = machine.difference(machine.parse_counters(before), machine.parse_counters(after))
    main = write if write["total_ios"] >= read["total_ios"] else read
    return {"bytes_per_second": user_bytes * 1000 / milliseconds, "operations_per_second": operations * 1000 / milliseconds,
            "latency_us_p50": percentile(main, "50.000000"), "latency_us_p99": percentile(main, "99.000000"), "latency_us_p999": percentile(main, "99.900000"),
            "sync_us_p50": sync_latency(entry, "50.000000"), "sync_us_p99": sync_latency(entry, "99.000000"),
            "written_per_byte": device["sectors_written"] * 512 / user_bytes,
            "read_per_byte": device["sectors_read"] * 512 / user_bytes,
            "device_writes_per_operation": device["writes"] / operations,
            "device_reads_per_operation": device["reads"] / operations,
            "flushes_per_operation": device["flushes"] / operations,
            "processor_user": entry["usr_cpu"], "processor_system": entry["sys_cpu"], "load": load}


def run_fio(system, fills, jobs, seconds, folder, *, disks=None, sizes=None):
    """Results by job name. Device counters are read by fio itself, right before and after each job."""
    folder.mkdir(exist_ok=True)
    job_file, output = folder / "jobs.fio", folder / "output.json"
    write_job_file(job_file, system, fills, jobs, seconds, disks or system.disks, sizes or system.sizes())
    load = machine.load()
    result = subprocess.run(["fio", "--output-format=json", f"--output={output}", str(job_file)], cwd=folder, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if result.returncode != 0:
        lines = [line for line in result.stdout.splitlines() if line.strip()]
        raise Failed(f"{system.name}: fio: exit code {result.returncode}: {lines[-1] if lines else 'no message'}")
    text = output.read_text()
    document = json.loads(text[text.index("{"):])
    results = {}
    for entry in document["jobs"]:
        if entry["error"]:
            raise Failed(f"{system.name}: {entry['jobname']}: error {entry['error']} ({os.strerror(entry['error'])})")
        if not entry["jobname"].startswith("fill-"):
            results[entry["jobname"]] = read_result(entry, folder, load)
    return results


def run_bounds(system, wanted, seconds, folder):
    """What the disks give at most, for these jobs: the part of it that is the user's."""
    bounds = {name: bound for name, bound in system.bounds().items() if name in wanted}
    results = run_fio(system, PLACES, {name: (place, options) for name, (place, options, _share) in bounds.items()}, seconds, folder)
    for name, (_place, _options, share) in bounds.items():
        for key in ("bytes_per_second", "operations_per_second"):
            results[name][key] *= share
    return results


def timed(system, function, user_bytes):
    before, load, start = machine.counters(system.disks), machine.load(), time.monotonic()
    function()
    seconds = time.monotonic() - start
    device = machine.difference(before, machine.counters(system.disks))
    result = {"seconds": seconds, "load": load, "device_read_bytes": device["sectors_read"] * 512,
              "device_written_bytes": device["sectors_written"] * 512}
    if user_bytes:
        result["bytes_per_second"] = user_bytes / seconds
    return result


def used_bytes(system):
    return sum(system.sizes().values())


def run_maintenance(system, seconds, work):
    """Import or mount, scrub, reading without one disk, and its rebuild."""
    results = {}
    if hasattr(system, "open"):
        results["open"] = timed(system, system.open, 0)
    if system.can_scrub:
        with system.kept_open():
            results["scrub"] = timed(system, system.scrub, used_bytes(system))
    if system.can_lose and system.spare:
        system.lose_disk()
        degraded = {"degraded-seq-read-1m": ("stream", "rw=read bs=1m iodepth=16"),
                    "degraded-rand-read-4k": ("random", "rw=randread bs=4k iodepth=32")}
        results.update(run_fio(system, (), degraded, seconds, work / f"fio-{system.name}-degraded", disks=system.disks[1:]))
        with system.kept_open():
            results["rebuild"] = timed(system, system.rebuild, used_bytes(system))
    return results


FULL = (50, 80, 90)  # percent of what can be written, of which all is overwritten at random


def run_full(system, percent, seconds, work):
    """In a pool that holds nothing else: one volume of that size is written, then overwritten in pieces of 4 KiB."""
    sizes = {"full": system.free_bytes() * percent // 100 >> 20 << 20}
    system.create_volume("full", sizes["full"])
    name = f"overwrite-4k-{percent}-full"
    return run_fio(system, ["full"], {name: ("full", "rw=randwrite bs=4k iodepth=32 end_fsync=1")}, seconds * 5,
                   work / f"fio-{system.name}-{percent}", sizes=sizes)


FILES = re.compile(r"^(create|stat|unlink)\s+([0-9.]+)", re.M)


def run_files(folder, count, program):
    """Files of 4 KiB, created, looked at and removed, in a folder of their own: per second."""
    output = machine.run(program, os.path.join(folder, "small-files"), count)
    return {f"files-{name}": {"operations_per_second": float(rate), "load": machine.load()} for name, rate in FILES.findall(output)}
