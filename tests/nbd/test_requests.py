#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Requests, one by one and at random, against what they must do."""
import os
import socket
import struct
import unittest

import nbd

from nbd_case import MIB, PRELOAD, NbdCase, extents

BLOCK = 4096
DATA, HOLE = 0, nbd.STATE_HOLE | nbd.STATE_ZERO
ALLOCATED = nbd.CMD_FLAG_NO_HOLE


class Requests(NbdCase):
    def setUp(self):
        super().setUp()
        self.create_volume("16M", block="4K")
        self.server = self.serve()
        self.handle = self.server.connect()

    def test_beyond_the_end(self):
        handle, end = self.handle, 16 * MIB
        handle.pwrite(b"last", end - 4)
        for offset, count in ((end, 1), (end - 1, 2), (end - BLOCK, 2 * BLOCK), (1 << 50, BLOCK), ((1 << 63) - 1, 1), ((1 << 64) - 1, 1)):
            self.fails("EINVAL", handle.pread, count, offset)
            self.fails("ENOSPC", handle.pwrite, bytes(count), offset)
            self.fails("ENOSPC", handle.zero, count, offset)
            self.fails("EINVAL", handle.trim, count, offset)
            self.fails("EINVAL", handle.cache, count, offset)
            self.fails("EINVAL", handle.block_status, count, offset, lambda *_arguments: 0)
        self.fails("EINVAL", handle.pread, 0, 0)
        self.assertEqual(handle.pread(4, end - 4), b"last")

    def test_unaligned(self):
        handle = self.handle
        for offset, count in ((1, 1), (BLOCK - 1, 2), (5 * BLOCK + 17, 3 * BLOCK), (12345, 77777), (3 * MIB - 1, 2 * MIB + 2)):
            data = self.bytes(count)
            before = handle.pread(count + 20, max(0, offset - 10))
            handle.pwrite(data, offset)
            first = min(10, offset)
            self.assertEqual(handle.pread(count + 20, offset - first), before[:first] + data + before[first + count:])

    def test_large(self):
        """The largest that clients may count on."""
        data = self.bytes(16 * MIB)
        self.handle.pwrite(data, 0)
        self.assertTrue(self.handle.pread(16 * MIB, 0) == data)
        self.handle.zero(16 * MIB, 0)
        self.assertEqual(extents(self.handle, 0, 16 * MIB), [(16 * MIB, HOLE)])

    def test_zero(self):
        """Any range, a hole where blocks are whole; always fast."""
        handle = self.handle
        for flags in (0, ALLOCATED, nbd.CMD_FLAG_FAST_ZERO, nbd.CMD_FLAG_FUA, nbd.CMD_FLAG_FAST_ZERO | ALLOCATED):
            handle.pwrite(b"x" * MIB, 0)
            handle.zero(10 * BLOCK + 100, 50, flags=flags)
            self.assertEqual(handle.pread(11 * BLOCK, 0), b"x" * 50 + bytes(10 * BLOCK + 100) + b"x" * (BLOCK - 150))
            self.assertEqual(extents(handle, 0, MIB), [(BLOCK, DATA), (9 * BLOCK, HOLE), (MIB - 10 * BLOCK, DATA)])

    def test_trim(self):
        """Whole blocks; what is around them stays."""
        handle = self.handle
        for flags in (0, nbd.CMD_FLAG_FUA):
            handle.pwrite(b"x" * MIB, 0)
            handle.trim(10 * BLOCK, 50, flags=flags)
            self.assertEqual(handle.pread(11 * BLOCK, 0), b"x" * BLOCK + bytes(9 * BLOCK) + b"x" * BLOCK)
            handle.trim(10, 20 * BLOCK)
            self.assertEqual(extents(handle, 0, MIB), [(BLOCK, DATA), (9 * BLOCK, HOLE), (MIB - 10 * BLOCK, DATA)])

    def test_one_extent(self):
        handle = self.handle
        handle.pwrite(b"x" * BLOCK, 4 * BLOCK)
        for offset, expected in ((0, (4 * BLOCK, HOLE)), (4 * BLOCK, (BLOCK, DATA)), (4 * BLOCK + 1, (BLOCK - 1, DATA)), (5 * BLOCK, (MIB, HOLE))):
            found = []
            handle.block_status(MIB, offset, lambda _context, _offset, pairs, _error: found.extend(pairs), flags=nbd.CMD_FLAG_REQ_ONE)
            self.assertEqual(len(found), 2)
            self.assertEqual((min(found[0], expected[0]), found[1]), expected)

    def test_structured_replies(self):
        handle = self.handle
        self.assertTrue(handle.get_structured_replies_negotiated())
        self.assertTrue(handle.can_df())
        data = self.bytes(3 * BLOCK)
        handle.pwrite(data, 0)
        chunks = []
        handle.pread_structured(3 * BLOCK, 0, lambda part, offset, status, _error: chunks.append((bytes(part), offset, status)),
                                flags=nbd.CMD_FLAG_DF)
        self.assertEqual(chunks, [(data, 0, nbd.READ_DATA)])

    def test_simple_replies(self):
        """Old clients: without structured replies, and without a list of exports."""
        data = self.bytes(BLOCK)
        for setting in (lambda handle: handle.set_request_structured_replies(False), lambda handle: handle.set_handshake_flags(0)):
            handle = nbd.NBD()
            setting(handle)
            handle.set_export_name("data")
            handle.connect_unix(self.server.socket)
            handle.pwrite(data, 7)
            self.assertEqual(handle.pread(BLOCK, 7), data)
            handle.flush()
            handle.shutdown()

    def model_step(self, model, handles):
        """One request at random on one of the connections."""
        handle, random = self.random.choice(handles), self.random
        count = random.choice((1, 100, BLOCK, BLOCK, 3 * BLOCK, 70000))
        offset = random.randrange(len(model) - count)
        if random.random() < 0.6:
            offset, count = offset // BLOCK * BLOCK, (count + BLOCK - 1) // BLOCK * BLOCK
            offset = min(offset, len(model) - count)
        flags = random.choice((0, 0, 0, 0, 0, 0, nbd.CMD_FLAG_FUA))
        kind = random.choice(("write", "write", "write", "zeroes", "zero", "trim", "read", "read", "cache"))
        if kind == "write":
            model[offset:offset + count] = data = random.randbytes(count)
            handle.pwrite(data, offset, flags=flags)
        elif kind == "zeroes":
            model[offset:offset + count] = bytes(count)
            handle.pwrite(bytes(count), offset, flags=flags)
        elif kind == "zero":
            model[offset:offset + count] = bytes(count)
            handle.zero(count, offset, flags=flags | random.choice((0, ALLOCATED, nbd.CMD_FLAG_FAST_ZERO)))
        elif kind == "trim":
            first, end = -(-offset // BLOCK) * BLOCK, (offset + count) // BLOCK * BLOCK
            if end > first:
                model[first:end] = bytes(end - first)
            handle.trim(count, offset, flags=flags)
        elif kind == "read":
            self.assertEqual(handle.pread(count, offset), model[offset:offset + count])
        else:
            handle.cache(count, offset)

    def check_extents(self, model, handle, exact):
        """No data in holes; exact, of what is committed: all blocks of zeroes are holes."""
        offset = 0
        for length, kind in extents(handle, 0, len(model)):
            self.assertIn(kind, (DATA, HOLE))
            for block in range(offset, offset + length, BLOCK) if exact or kind == HOLE else ():
                self.assertEqual(any(model[block:block + BLOCK]), kind == DATA, f"block at {block}")
            offset += length
        self.assertEqual(offset, len(model))

    def test_model(self):
        """Two connections see one volume, as a model has it, at any time and after the next import."""
        model = bytearray(4 * MIB)
        for _boot in range(3):
            handles = [self.server.connect(), self.server.connect()]
            for _round in range(4):
                for _step in range(80):
                    self.model_step(model, handles)
                self.check_extents(model, handles[1], exact=False)
                handles[0].flush()
                self.check_extents(model, handles[1], exact=False)
                self.assertTrue(handles[1].pread(len(model), 0) == model)
            self.stop(self.server)
            self.server = self.serve()
            self.check_extents(model, self.server.connect(), exact=True)
        self.stop(self.server)
        self.assertTrue(self.poolctl("volume", "read", "tank/data", "--length", str(len(model)), text=False) == model)
        self.verify()


class Wire(NbdCase):
    """Clients that keep to no protocol: what no library would send. Nobody else notices."""

    MAGIC, OPTION, REPLY = 0x25609513, 0x49484156454F5054, 0x67446698
    READ, WRITE, DISCONNECT, FLUSH, TRIM, ZEROES, EXTENTS = 0, 1, 2, 3, 4, 6, 7

    def setUp(self):
        super().setUp()
        self.create_volume("16M", block="4K")
        self.server = self.serve()
        self.other = self.server.connect()
        self.data = self.bytes(BLOCK)
        self.other.pwrite(self.data, 0)

    def connect(self):
        client = socket.socket(socket.AF_UNIX)
        self.addCleanup(client.close)
        client.settimeout(20)
        client.connect(self.server.socket)
        return client

    def take(self, client, count):
        data = b""
        while len(data) < count:
            piece = client.recv(count - len(data))
            self.assertTrue(piece, "the server has closed the connection")
            data += piece
        return data

    def ready(self):
        """The old way to ask for an export, after which requests follow."""
        client = self.connect()
        self.take(client, 18)
        client.sendall(struct.pack(">IQII", 3, self.OPTION, 1, 4) + b"data")
        self.assertEqual(struct.unpack(">Q", self.take(client, 10)[:8])[0], 16 * MIB)
        return client

    def request(self, kind, offset=0, length=0, flags=0, magic=None, cookie=7):
        return struct.pack(">IHHQQI", magic or self.MAGIC, flags, kind, cookie, offset, length)

    def answer(self, client):
        magic, error, cookie = struct.unpack(">IIQ", self.take(client, 16))
        self.assertEqual((magic, cookie), (self.REPLY, 7))
        return error

    def is_closed(self, client):
        try:
            while client.recv(65536):
                pass
        except ConnectionError:
            pass

    def nobody_noticed(self):
        self.assertIsNone(self.server.process.poll())
        self.assertEqual(self.other.pread(BLOCK, 0), self.data)
        handle = self.server.connect()
        self.assertEqual(handle.pread(BLOCK, 0), self.data)
        handle.shutdown()
        self.server.connections.remove(handle)

    def test_what_is_asked_for_by_hand(self):
        client = self.ready()
        client.sendall(self.request(self.READ, 0, BLOCK))
        self.assertEqual((self.answer(client), self.take(client, BLOCK)), (0, self.data))
        client.sendall(self.request(self.WRITE, BLOCK, 5) + b"plain" + self.request(self.FLUSH))
        self.assertEqual([self.answer(client), self.answer(client)], [0, 0])
        self.assertEqual(self.other.pread(5, BLOCK), b"plain")
        client.sendall(self.request(self.DISCONNECT))
        self.is_closed(client)

    def test_cut(self):
        """After any number of bytes of a greeting, or of a request with its data: nothing of it is done."""
        greeting = struct.pack(">IQII", 3, self.OPTION, 1, 4) + b"data"
        for count in range(len(greeting)):
            client = self.connect()
            self.take(client, 18)
            client.sendall(greeting[:count])
            client.close()
        request = self.request(self.WRITE, 0, BLOCK) + bytes(BLOCK)
        for count in (*range(29), 100, BLOCK, len(request) - 1):
            client = self.ready()
            client.sendall(request[:count])
            client.shutdown(socket.SHUT_WR)
            self.is_closed(client)
        self.nobody_noticed()

    def test_oversized(self):
        """The connection is closed, or it is refused; nothing is allocated for what was only announced."""
        before = self.memory()
        clients = []
        for kind in (self.READ, self.WRITE):
            for length in (33 * MIB, 64 * MIB + 1, (1 << 31) - 1, (1 << 32) - 1):
                client = self.ready()
                clients.append(client)
                client.sendall(self.request(kind, 0, length))
                if kind == self.READ:
                    self.assertNotEqual(self.answer(client), 0)
                else:
                    client.shutdown(socket.SHUT_WR)
                    self.is_closed(client)
        self.assertLess(self.memory() - before, 64 * MIB)
        self.nobody_noticed()

    def memory(self):
        with open(f"/proc/{self.server.process.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def test_what_is_no_request(self):
        """Kinds, flags and magic numbers that there are not; requests before the greeting."""
        for kind in (5, 8, 9, 200, 65535):
            client = self.ready()
            client.sendall(self.request(kind))
            self.assertNotEqual(self.answer(client), 0)
        for kind, flags in ((self.READ, 1 << 7), (self.FLUSH, 1 << 15), (self.ZEROES, 1 << 3), (self.EXTENTS, 0)):
            client = self.ready()
            client.sendall(self.request(kind, 0, BLOCK, flags))
            self.assertNotEqual(self.answer(client), 0)
        client = self.ready()
        client.sendall(self.request(self.READ, 0, BLOCK, magic=0x12345678))
        self.is_closed(client)
        client = self.connect()
        client.sendall(self.request(self.WRITE, 0, BLOCK) + bytes(BLOCK))
        client.shutdown(socket.SHUT_WR)
        self.is_closed(client)
        client = self.connect()
        self.take(client, 18)
        client.sendall(struct.pack(">IQII", 3, self.OPTION, 1, (1 << 32) - 1))
        self.is_closed(client)
        self.nobody_noticed()


class Durability(NbdCase):
    """What a killed server leaves."""

    def test_a_flush_covers_all_connections(self):
        self.create_volume()
        server = self.serve()
        first, second = server.connect(), server.connect()
        expected = {}
        for number in range(20):
            expected[number * MIB] = data = self.bytes(5000)
            first.pwrite(data, number * MIB)
        second.flush()
        server.kill()
        handle = self.serve().connect()
        for offset, data in expected.items():
            self.assertEqual(handle.pread(5000, offset), data)

    def test_forced_unit_access(self):
        """Each is durable when it returns, without a flush."""
        self.create_volume()
        fua = nbd.CMD_FLAG_FUA
        for number in range(6):
            server = self.serve()
            handle = server.connect()
            data = self.bytes(3 * BLOCK)
            handle.pwrite(b"x" * 64 * BLOCK, MIB)
            handle.pwrite(data, MIB + number, flags=fua)
            (handle.zero if number % 2 else handle.trim)(32 * BLOCK, MIB + 16 * BLOCK, flags=fua)
            server.kill()
            server = self.serve()
            handle = server.connect()
            self.assertEqual(handle.pread(len(data), MIB + number), data)
            self.assertEqual(handle.pread(32 * BLOCK, MIB + 16 * BLOCK), bytes(32 * BLOCK))
            self.stop(server)
        self.verify()

    def test_setting_sync(self):
        """always: each change is durable when it returns, without flush or FUA; disabled: a flush asks nothing of the disks."""
        self.create_volume()
        self.poolctl("set", "tank/data", "sync=always")
        for number in range(4):
            server = self.serve()
            handle = server.connect()
            data = self.bytes(BLOCK)
            handle.pwrite(b"x" * MIB, 2 * MIB)
            handle.pwrite(data, number * BLOCK)
            (handle.zero if number % 2 else handle.trim)(64 * BLOCK, 2 * MIB)
            server.kill()
            server = self.serve()
            handle = server.connect()
            self.assertEqual(handle.pread(BLOCK, number * BLOCK), data)
            self.assertEqual(handle.pread(64 * BLOCK, 2 * MIB), bytes(64 * BLOCK))
            self.assertEqual(handle.pread(MIB - 64 * BLOCK, 2 * MIB + 64 * BLOCK), b"x" * (MIB - 64 * BLOCK))
            self.stop(server)
        self.poolctl("set", "tank/data", "sync=disabled")
        server = self.serve()
        handle = server.connect()
        for number in range(200):
            handle.pwrite(self.bytes(BLOCK), number * BLOCK, flags=nbd.CMD_FLAG_FUA)
            handle.flush()
        if not PRELOAD:  # it can be asked then
            self.assertEqual(self.document("iostat", "tank")["samples"][0]["log"]["flushes"], 0)
        self.stop(server)
        self.verify()


if __name__ == "__main__":
    unittest.main()
