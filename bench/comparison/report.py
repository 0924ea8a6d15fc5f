# SPDX-License-Identifier: BSD-2-Clause
"""From results to what people read: tables, plots by gnuplot, and where libpool loses."""
import statistics
import subprocess

# What the project wants to reach, as ratios in one run: job, whose, against whose (SYSTEM/JOB: another job), how often as much.
GOALS = [
    ("seq-write-1m-qd16", "libpool-raid6", "btrfs-raid6", 4.0),
    ("seq-write-1m-qd16", "libpool-raid6", "xfs", 0.8),
    ("seq-read-1m-qd16", "libpool-raid6", "xfs", 1.0),
    ("rand-read-4k-qd32", "libpool-raid6", "btrfs-raid6", 2.0),
    ("rand-write-4k-qd32", "libpool-raid6", "btrfs-raid6", 4.0),
    ("sync-4k-1", "libpool-raid6", "btrfs-raid6", 10.0),
    ("sync-4k-4", "libpool-raid6", "btrfs-raid6", 10.0),
    ("scrub", "libpool-raid6", "btrfs-raid6", 8.0),
    ("rebuild", "libpool-raid6", "btrfs-raid6", 8.0),
    ("degraded-seq-read-1m", "libpool-raid6", "btrfs-raid6", 8.0),
    ("seq-write-1m-qd16", "libpool-fuse", "btrfs-raid6-buffered", 1.5),
    ("seq-read-1m-qd16", "libpool-fuse", "btrfs-raid6-buffered", 1.0),
    ("sync-4k-1", "libpool-fuse", "btrfs-raid6-buffered", 5.0),
    ("files-create", "libpool-fuse", "fuse-passthrough", 0.8),
    ("files-stat", "libpool-fuse", "fuse-passthrough", 0.8),
    ("files-unlink", "libpool-fuse", "fuse-passthrough", 0.8),
    ("rand-read-4k-qd32", "libpool-nbd", "nbdkit-memory", 0.7),
    ("kernel-fused", "kernels", "kernels/kernel-memcpy", 1.0),
]

IN_BYTES = ("kernel-", "seq-", "rand-read-128k", "mixed", "verify", "scrub", "rebuild", "degraded-seq", "read-64k", "read-1m", "write-64k",
            "write-1m", "randread-64k", "randread-1m", "randwrite-64k", "randwrite-1m")


def key_of(job):
    if job == "open":
        return "seconds"
    return "bytes_per_second" if job.startswith(IN_BYTES) else "operations_per_second"


def series(document, system, job, key):
    return [run[job][key] for run in document["systems"].get(system, {}).get("runs", []) if key in run.get(job, {})]


def median(document, system, job, key=None):
    values = series(document, system, job, key or key_of(job))
    return statistics.median(values) if values else None


def number(value, key):
    if key == "seconds":
        return f"{value * 1000:,.0f} ms"
    if key == "bytes_per_second":
        return f"{value / 1e6:,.0f} MB/s"
    return f"{value:,.0f}/s"


def cell(document, system, job):
    key = key_of(job)
    values = series(document, system, job, key)
    if not values:
        return "—"
    scale = {"seconds": 1e3, "bytes_per_second": 1e-6}.get(key, 1)
    text = number(statistics.median(values), key)
    if len(values) > 1:
        text += f" ({min(values) * scale:,.0f}–{max(values) * scale:,.0f})"
    return text


def jobs_of(document):
    seen = {}
    for system in document["systems"].values():
        for run in system["runs"]:
            seen.update(dict.fromkeys(run))
    return list(seen)


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines.extend("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join(lines)


def rates_table(document):
    systems = [name for name in document["systems"] if name != "kernels"]
    return table(["job"] + [document["systems"][name]["title"] for name in systems],
                 [[job] + [cell(document, system, job) for system in systems]
                  for job in jobs_of(document) if not job.startswith("kernel-")])


def kernels_table(document):
    """Passes over memory, each as a multiple of copying the same bytes."""
    copied = median(document, "kernels", "kernel-memcpy")
    if not copied:
        return ""
    jobs = [job for job in jobs_of(document) if job.startswith("kernel-")]
    rows = [[job.removeprefix("kernel-"), cell(document, "kernels", job), f"{median(document, 'kernels', job) / copied:.2f}"] for job in jobs]
    return f"""
## Without a pool

256 MiB that are in no cache, one core (`bench_parity`).

{table(["pass", "rate", "x memcpy"], rows)}
"""


def device_table(document):
    """Bytes and requests of the disks for what the jobs asked."""
    systems = [name for name in document["systems"] if name != "kernels"]
    rows = []
    for job in jobs_of(document):
        row = [job]
        for system in systems:
            written, read = (median(document, system, job, key) for key in ("written_per_byte", "read_per_byte"))
            writes, reads, flushes = (median(document, system, job, f"{key}_per_operation")
                                      for key in ("device_writes", "device_reads", "flushes"))
            row.append("—" if written is None else f"{written:.2f} / {read:.2f}; {writes:.2f} / {reads:.2f}; {flushes:.2f}")
        if any(entry != "—" for entry in row[1:]):
            rows.append(row)
    return table(["job"] + [document["systems"][name]["title"] for name in systems], rows)


def full_table(document):
    """What overwriting costs as a pool fills up."""
    systems = list(document["systems"])
    rows = []
    for job in (job for job in jobs_of(document) if job.startswith("overwrite-")):
        row = [job]
        for system in systems:
            rate = median(document, system, job)
            middle, rare, rarest, written = (median(document, system, job, key)
                                             for key in ("latency_us_p50", "latency_us_p99", "latency_us_p999", "written_per_byte"))
            row.append("—" if not rate else f"{rate:,.0f}/s; {middle:,.0f} / {rare:,.0f} / {rarest:,.0f} us; {written:.2f}")
        rows.append(row)
    if not rows:
        return ""
    shown = [index for index in range(len(systems)) if any(row[index + 1] != "—" for row in rows)]
    pick = lambda row: [row[0]] + [row[index + 1] for index in shown]  # noqa: E731
    text = table(pick(["job"] + [document["systems"][name]["title"] for name in systems]), [pick(row) for row in rows])
    return f"""
## As it fills up

One volume or file takes that much of what the empty system says can be written; all of it is written once, then pieces of 4 KiB anywhere in it,
queue depth 32. Rate; median latency / 99 % / 99.9 %; bytes written to the disks for each byte.

{text}
"""


def goals_table(document):
    rows = []
    for job, system, against, goal in GOALS:
        rival, _, rival_job = against.partition("/")
        mine, other = median(document, system, job), median(document, rival, rival_job or job)
        if mine is None or other is None:
            rows.append([job, system, against, f"{goal:g} x", "not measured", ""])
            continue
        ratio = mine / other
        rows.append([job, system, against, f"{goal:g} x", f"{ratio:.2f} x", "reached" if ratio >= goal else "**missed**"])
    return table(["job", "of", "against", "goal", "measured", ""], rows)


def bounds_table(document):
    """What raid6 over these disks could give at most, and whether a goal asks for more."""
    rows = []
    for job, system, against, goal in GOALS:
        most, mine, other = (median(document, name, job) for name in ("disks", system, against.partition("/")[0]))
        if system != "libpool-raid6" or not most or not mine:
            continue
        rows.append([job, number(most, key_of(job)), number(mine, key_of(job)), f"{100 * mine / most:.0f} %", against,
                     "not measured" if not other else f"{goal:g} x", "" if not other else f"{most / other:.2f} x"])
    if not rows:
        return ""
    return f"""
## What the disks leave room for

The disks themselves, by fio and the kernel, without any software in between: what is written with parity and read by a scrub counts as what it is of data, a
rebuild reads as many strips as there are of data for each that it writes, and a sync is a durable write on each of as many disks as may fail, and one more, by
themselves. No parity, no checksum, nobody who waits for the last of them. A goal that lies above asks for more than fio gets of the bare disks.

{table(["job", "disks", "libpool raid6", "of the disks'", "against", "goal", "disks against that"], rows)}
"""


def losses(document):
    """Every pair in which another system is faster than libpool through the same kind of door."""
    pairs = [("libpool-raid6", [name for name in document["systems"] if name.startswith(("btrfs", "xfs", "md", "zfs")) and "buffered" not in name]),
             ("libpool-fuse", [name for name in document["systems"] if "buffered" in name or name.startswith("fuse-")]),
             ("libpool-nbd", [name for name in document["systems"] if name.startswith("nbdkit")])]
    lines = []
    for mine, others in pairs:
        for job in jobs_of(document):
            own = median(document, mine, job)
            if not own:
                continue
            worse = []
            for other in others:
                theirs = median(document, other, job)
                faster = theirs and (theirs < own if key_of(job) == "seconds" else theirs > own)
                if faster:
                    worse.append((max(own / theirs, theirs / own), other))
            if worse:
                text = ", ".join(f"{document['systems'][name]['title']} ({ratio:.1f} x)" for ratio, name in sorted(worse, reverse=True))
                lines.append(f"- {mine}, {job}: slower than {text}")
    return "\n".join(lines) if lines else "- Nowhere in this run."


PLOTS = {
    "sequential": ("Sequential, 1 MiB, queue depth 16", "GB/s", 1e-9, ["seq-write-1m-qd16", "seq-read-1m-qd16"]),
    "random": ("Random 4 KiB", "thousand operations/s", 1e-3, ["rand-read-4k-qd1", "rand-read-4k-qd32", "rand-write-4k-qd32"]),
    "sync": ("4 KiB, each write durable", "thousand operations/s", 1e-3, ["sync-4k-1", "sync-4k-4"]),
    "maintenance": ("Scrub, rebuild, reading without a disk", "GB/s of user data", 1e-9, ["scrub", "rebuild", "degraded-seq-read-1m"]),
}


def plot(document, folder):
    """One SVG and one PNG each; the names of those that have anything in them."""
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for name, (title, unit, scale, jobs) in PLOTS.items():
        systems = [system for system in document["systems"]
                   if any(median(document, system, job) for job in jobs) and not system.startswith("nbdkit")]
        if not systems:
            continue
        data = "\n".join(" ".join([f'"{system}"'] +
                                  [f"{(median(document, system, job) or 0) * scale:.4f}" for job in jobs]) for system in systems)
        script = [f"$data << END\n{data}\nEND", f'set title "{title}"', f'set ylabel "{unit}"', "set style data histogram",
                  "set style histogram cluster gap 1", "set style fill solid 0.8 border -1", "set boxwidth 0.9", "set grid ytics",
                  "set yrange [0:*]", "set xtics rotate by -20 noenhanced", "set key outside top center horizontal noenhanced",
                  "set rmargin 8"]
        bars = ", ".join(f'$data using {column}{":xtic(1)" if column == 2 else ""} title "{job}"'
                         for column, job in enumerate(jobs, 2))
        for kind, terminal in (("svg", "svg size 900,520 font 'sans,12' background rgb 'white'"), ("png", "png size 900,520 background rgb 'white'")):
            script.extend((f"set terminal {terminal}", f"set output '{folder / name}.{kind}'", f"plot {bars}"))
        subprocess.run(["gnuplot"], input="\n".join(script) + "\n", text=True, check=True)
        made.append((name, title))
    return made


def markdown(document, plots, command):
    machine = document["machine"]
    skipped = "".join(f"\n- {name}: {why}" for name, why in document["skipped"].items()) or "\n- nothing"
    images = "\n\n".join(f"![{title}](benchmarks/{name}.svg)" for name, title in plots)
    command = f"{command} --docs docs"
    loads = [run[job]["load"] for system in document["systems"].values() for run in system["runs"] for job in run]
    # The jobs themselves raise the load average; what it was before the first of them is other work.
    busy = ("\n**The machine was busy with other work**: all rates are lower than they could be, and those of jobs in which several threads wait for"
            " each other are lower still. Take ratios with care.\n" if machine["load"] > 0.5 * machine["cores"] else "")
    return f"""# Benchmarks

Made by

    {command}

which says what each number is; `bench/README.md` has the rest. Only ratios within one run mean anything on another machine.

{machine['processor']}, {machine['cores']} cores, {machine['memory_bytes'] / (1 << 30):.0f} GiB, Linux {machine['kernel']}, {machine['time']}.
{document['disks']['count']} disks of {document['disks']['bytes'] / (1 << 20):,.0f} MiB: {document['disks']['what']}. Medians of {document['repeats']} runs (least–most), the systems in turn in each;
{document['seconds']} s for each job. Load average before: {machine['load']:.1f}, while it ran: {min(loads, default=0):.1f} to {max(loads, default=0):.1f}. Data is incompressible, checksums are on where there are any.
{busy}
## Against the goals

{goals_table(document)}

{bounds_table(document)}
## Where libpool loses

{losses(document)}

## Rates

{rates_table(document)}

{images}

## What it costs the disks

Bytes written / read for each byte of the job; write / read requests for each operation; flushes for each operation. A file in
RAM or a page cache in between answers without the disks.

{device_table(document)}
{full_table(document)}{kernels_table(document)}
## Not measured
{skipped}
"""
