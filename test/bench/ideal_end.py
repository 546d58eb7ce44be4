"""The least a transfer can be: one end of a program that does nothing but move elements, each durable.

    python ideal_end.py send SOCKET DIRECTORY
    python ideal_end.py receive SOCKET DIRECTORY

Both listen, and talk to the first who connects. The sender pushes all it has without being asked: lengths,
then name, metadata and data. The receiver hashes in a thread, syncs up to 256 elements at once when nothing
more is on its way, and answers with how many are durable; those the sender deletes. Nothing is resumed, and
nothing that goes wrong is borne.
Touches: base64, ctypes, hashlib, json, os, queue, select, socket, struct, threading.
"""

import base64
import ctypes
import hashlib
import json
import os
import queue
import select
import socket
import struct
import sys
import threading

HEADER = struct.Struct("<HIQ")
"""Lengths of name, metadata and data; a name of 0 ends it."""
COUNT = struct.Struct("<I")
GROUP = 256
BLOCK = 1 << 18
SMALL = 1 << 16
WRITEBACK = 16 << 20
WINDOW = 4096
"""Elements on their way at most."""

LIBC = ctypes.CDLL(None, use_errno=True)


def send(connection: socket.socket, directory: int) -> None:
    """Push everything, and delete what is acknowledged."""
    names = sorted(name.removesuffix(".info") for name in os.listdir(directory) if name.endswith(".info"))
    room = threading.Semaphore(WINDOW)
    deleter = threading.Thread(target=delete_acknowledged, args=(connection, directory, names, room))
    deleter.start()
    output = bytearray()

    def flush() -> None:
        connection.sendall(output)
        output.clear()

    for name in names:
        if not room.acquire(blocking=False):
            flush()
            room.acquire()
        info = os.open(f"{name}.info", os.O_RDONLY, dir_fd=directory)
        metadata = os.read(info, SMALL)
        os.close(info)
        data = os.open(f"{name}.data", os.O_RDONLY, dir_fd=directory)
        size = os.fstat(data).st_size
        output += HEADER.pack(len(name), len(metadata), size) + name.encode() + metadata
        if size <= SMALL:
            output += os.read(data, SMALL)
        else:
            flush()
            sent = 0
            while sent < size:
                sent += os.sendfile(connection.fileno(), data, sent, 1 << 20)
        os.close(data)
        if len(output) > BLOCK:
            flush()
    output += HEADER.pack(0, 0, 0)
    flush()
    deleter.join()


def delete_acknowledged(
    connection: socket.socket, directory: int, names: list[str], room: threading.Semaphore
) -> None:
    deleted = 0
    with connection.makefile("rb") as answers:
        while deleted < len(names):
            (count,) = COUNT.unpack(answers.read(COUNT.size))
            for name in names[deleted : deleted + count]:
                os.unlink(f"{name}.info", dir_fd=directory)
                os.unlink(f"{name}.data", dir_fd=directory)
            deleted += count
            room.release(count)
    os.fsync(directory)


class Input:
    """The connection's bytes: gathered for what is small, straight from it for what is large."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._buffer = memoryview(bytearray(BLOCK))
        self._start = self._end = 0

    @property
    def is_idle(self) -> bool:
        """Whether nothing more has come by now."""
        return self._start == self._end and not select.select([self._connection], [], [], 0)[0]

    def read(self, size: int) -> memoryview:
        """So many bytes, at most a block; valid until the next call."""
        while self._end - self._start < size:
            if self._start + size > BLOCK:
                left = self._end - self._start
                self._buffer[:left] = bytes(self._buffer[self._start : self._end])
                self._start, self._end = 0, left
            count = self._connection.recv_into(self._buffer[self._end :])
            if count == 0:
                raise SystemExit("the other end has gone")
            self._end += count
        self._start += size
        return self._buffer[self._start - size : self._start]

    def read_into(self, target: memoryview) -> None:
        """Fill the target."""
        count = min(len(target), self._end - self._start)
        target[:count] = self._buffer[self._start : self._start + count]
        self._start += count
        while count < len(target):
            received = self._connection.recv_into(target[count:])
            if received == 0:
                raise SystemExit("the other end has gone")
            count += received


class Receiver:
    """Stores what comes."""

    def __init__(self, connection: socket.socket, directory: int) -> None:
        self._connection = connection
        self._directory = directory
        self._input = Input(connection)
        self._ready: list[tuple[str, int, int]] = []
        """Name and the open files of those that are not durable yet."""

    def run(self) -> None:
        while True:
            if self._ready and (len(self._ready) >= GROUP or self._input.is_idle):
                self._commit()
            name_length, length, size = HEADER.unpack(self._input.read(HEADER.size))
            if name_length == 0:
                break
            name = bytes(self._input.read(name_length)).decode()
            metadata = bytes(self._input.read(length))
            data = self._open()
            digest = self._take_small(data, size) if size <= SMALL else self._take(data, size)
            if base64.b64encode(digest).decode() != json.loads(metadata)["StorageFileChecksumSha512"]:
                raise SystemExit(f"{name} is damaged")
            info = self._open()
            os.write(info, metadata)
            self._ready.append((name, data, info))
        if self._ready:
            self._commit()

    def _open(self) -> int:
        return os.open(".", os.O_RDWR | os.O_TMPFILE, 0o600, dir_fd=self._directory)

    def _take_small(self, data: int, size: int) -> bytes:
        content = self._input.read(size)
        os.write(data, content)
        return hashlib.sha512(content).digest()

    def _take(self, data: int, size: int) -> bytes:
        digest = hashlib.sha512()
        full: queue.SimpleQueue[tuple[bytearray, int] | None] = queue.SimpleQueue()
        free: queue.SimpleQueue[bytearray] = queue.SimpleQueue()
        for _ in range(4):
            free.put(bytearray(BLOCK))

        def hash_all() -> None:
            while (item := full.get()) is not None:
                block, filled = item
                digest.update(memoryview(block)[:filled])
                free.put(block)

        hasher = threading.Thread(target=hash_all)
        hasher.start()
        done = started = 0
        while done < size:
            block = free.get()
            filled = min(BLOCK, size - done)
            self._input.read_into(memoryview(block)[:filled])
            os.write(data, memoryview(block)[:filled])
            full.put((block, filled))
            done += filled
            if done - started >= WRITEBACK:
                LIBC.sync_file_range(data, ctypes.c_int64(started), ctypes.c_int64(done - started), 2)
                started = done
        full.put(None)
        hasher.join()
        return digest.digest()

    def _commit(self) -> None:
        if len(self._ready) > 1:
            if LIBC.syncfs(self._directory):
                raise OSError(ctypes.get_errno(), "syncfs")
        else:
            for descriptor in self._ready[0][1:]:
                os.fsync(descriptor)
        for name, data, info in self._ready:
            for descriptor, suffix in ((data, "data"), (info, "info")):
                # As /proc leads to it: linkat(2) of the descriptor itself takes a privilege.
                source = f"/proc/self/fd/{descriptor}"
                os.link(source, f"{name}.{suffix}", dst_dir_fd=self._directory, follow_symlinks=True)
                os.close(descriptor)
        os.fsync(self._directory)
        self._connection.sendall(COUNT.pack(len(self._ready)))
        self._ready.clear()


def main() -> None:
    _, role, path, base = sys.argv
    directory = os.open(base, os.O_RDONLY | os.O_DIRECTORY)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        connection = listener.accept()[0]
    with connection:
        if role == "send":
            send(connection, directory)
        else:
            Receiver(connection, directory).run()


if __name__ == "__main__":
    main()
