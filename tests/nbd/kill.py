#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Kills nbdkit (SIGKILL) at random moments while four connections write, and looks at what is there afterwards.

What was acknowledged before a flush began, on any connection, and each write with FUA must be there; of what came later, each connection's
writes must be there up to some moment and no further. `poolctl debug verify` must find nothing.

usage: kill.py [--kills N] [--seed S]
"""
import argparse
import random
import sys
import threading
import time
import unittest

import nbd

from nbd_case import MIB, NbdCase

UNIT = 16384  # the volume's block size: written whole or not at all
UNITS = 1024
THREADS = 4
ZERO = bytes(UNIT)
arguments = argparse.Namespace(kills=20, seed=1)


def content(unit, version):
    head = version.to_bytes(8, "little") + unit.to_bytes(8, "little")
    return head + random.Random(head).randbytes(UNIT - len(head))


class Change:
    """One write of a unit, in the order of its connection."""

    def __init__(self, unit, number, zero):
        self.unit, self.number = unit, number
        self.zero = zero
        self.acknowledged = False

    def matches(self, data):
        return data == ZERO if self.zero else data[:8] == self.number.to_bytes(8, "little") and data == content(self.unit, self.number)


class Writer(threading.Thread):
    """Owns every THREADS-th unit. changes[unit]: what may be there, beginning with what must be there at least."""

    def __init__(self, run, index, handle):
        super().__init__()
        self.run_of, self.index, self.handle = run, index, handle
        self.random = random.Random(run.random.randrange(1 << 60))
        self.flushes = 0

    def run(self):
        try:
            while True:
                self.step()
        except nbd.Error:
            return  # the server has gone

    def step(self):
        unit = self.random.randrange(UNITS // THREADS) * THREADS + self.index
        kind = self.random.choice(("write",) * 12 + ("fua", "zero", "zero fua", "flush"))
        flags = nbd.CMD_FLAG_FUA if kind.endswith("fua") else 0
        if kind == "flush":
            settled = self.run_of.acknowledged()
            self.handle.flush()
            self.run_of.settle(settled)
            self.flushes += 1
            return
        change = self.run_of.begin(unit, zero=kind.startswith("zero"))
        if change.zero:
            self.handle.zero(UNIT, unit * UNIT, flags=flags)
        else:
            self.handle.pwrite(content(unit, change.number), unit * UNIT, flags=flags)
        change.acknowledged = True
        if flags:
            self.run_of.settle([change])


class Kill(NbdCase):
    def setUp(self):
        super().setUp()
        self.random = random.Random(arguments.seed)
        self.number = 0
        self.lock = threading.Lock()
        self.changes = [[Change(unit, 0, True)] for unit in range(UNITS)]
        self.counts = {"changes": 0, "flushes": 0, "lost": 0}

    def begin(self, unit, zero):
        with self.lock:
            self.number += 1
            self.counts["changes"] += 1
            change = Change(unit, self.number, zero)
            self.changes[unit].append(change)
        return change

    def acknowledged(self):
        """The last acknowledged change of each unit."""
        with self.lock:
            return [next(change for change in reversed(changes) if change.acknowledged or change is changes[0]) for changes in self.changes]

    def settle(self, settled):
        """Nothing older than these may come back."""
        with self.lock:
            for change in settled:
                changes = self.changes[change.unit]
                while changes[0].number < change.number:
                    changes.pop(0)

    def check(self, handle):
        """Returns when what is there is possible, and is what must be there from now on."""
        data = b"".join(handle.pread(MIB, offset) for offset in range(0, UNITS * UNIT, MIB))
        found = [data[unit * UNIT:(unit + 1) * UNIT] for unit in range(UNITS)]
        for index in range(THREADS):
            units = range(index, UNITS, THREADS)
            there = [[change for change in self.changes[unit] if change.matches(found[unit])] for unit in units]
            for unit, changes in zip(units, there):
                self.assertTrue(changes, f"unit {unit}: neither what was durable nor anything later, but {found[unit][:16]!r}; "
                                f"possible: {[(change.number, change.zero) for change in self.changes[unit]]}")
            self.settle_found(dict(zip(units, there)))

    def settle_found(self, there):
        """Of one connection: {unit: its changes that match what was found}. There is a moment that all units agree on."""
        def state(unit, moment):
            return [change for change in self.changes[unit] if change.number <= moment or change is self.changes[unit][0]][-1]

        # Not told by what each unit holds alone: zeroes may come from several changes of it.
        missing = None
        first = max(self.changes[unit][0].number for unit in there)
        for moment in sorted({change.number for unit in there for change in self.changes[unit] if change.number >= first}, reverse=True):
            wrong = next((unit for unit, changes in there.items() if state(unit, moment) not in changes), None)
            if wrong is None:
                break
            missing = missing or f"unit {wrong}: change {state(wrong, moment).number} is missing"
        else:
            self.fail(f"no moment had what is there: at the last one, {missing}")
        for unit in there:
            expected = state(unit, moment)
            self.counts["lost"] += self.changes[unit][-1] is not expected
            self.changes[unit] = [expected]

    def test_kill(self):
        self.create_volume(f"{UNITS * UNIT // MIB}M", profile="raid6:2+2", disks=5)
        begin = time.monotonic()
        for _kill in range(arguments.kills):
            server = self.serve()
            if self.random.random() < 0.05:
                time.sleep(self.random.random() * 0.1)  # in the middle of the import
                server.kill()
                continue
            handle = server.connect()
            self.check(handle)
            handle.shutdown()
            writers = [Writer(self, index, server.connect()) for index in range(THREADS)]
            for writer in writers:
                writer.start()
            time.sleep(self.random.random() * 0.3)
            server.kill()
            for writer in writers:
                writer.join(60)
                self.counts["flushes"] += writer.flushes
            self.wait_until_in_use(False)
            self.verify()
        server = self.serve()
        self.check(server.connect())
        self.stop(server)
        self.verify()
        print(f"{arguments.kills} kills, {self.counts['changes']} changes, {self.counts['flushes']} flushes, "
              f"{self.counts['lost']} units older than their last change, {time.monotonic() - begin:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=arguments.kills)
    parser.add_argument("--seed", type=int, default=arguments.seed)
    parser.parse_args(namespace=arguments)
    unittest.main(argv=sys.argv[:1])
