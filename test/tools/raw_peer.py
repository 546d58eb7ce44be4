"""A peer that speaks the wire by hand, so that it can break every rule. Touches: json, socket, struct."""

import hashlib
import json
import socket
import struct
from base64 import b64encode
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

HEADER = struct.Struct("<cI")
PATIENCE = 60.0


class RawPeer:
    """Connected to a service's socket; used with `with`."""

    def __init__(self, path: Path) -> None:
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.settimeout(PATIENCE)
        self.connection.connect(str(path))

    def __enter__(self) -> "RawPeer":
        return self

    def __exit__(self, *error: object) -> None:
        self.connection.close()

    def send(self, kind: bytes, payload: bytes = b"") -> None:
        self.connection.sendall(HEADER.pack(kind, len(payload)) + payload)

    def receive(self) -> tuple[bytes, bytes] | None:
        """The next frame, None at the end."""
        header = self._read(HEADER.size)
        if len(header) < HEADER.size:
            return None
        kind, size = HEADER.unpack(header)
        return kind, self._read(size)

    def ask(self, *request: Any) -> bytes:
        """The payload of the answer; requests of the other side are answered as by who sends nothing."""
        self.send(b"S", json.dumps(request).encode())
        while (frame := self.receive()) is not None:
            if frame[0] == b"R":
                return frame[1]
            self.send(b"R", b"null" if frame[1] else b"")
        raise ConnectionError("the service has closed the connection")

    def serve(self, offers: Sequence["Offer"]) -> list[bool]:
        """Offer these to a service until it offers to end; what it said of each: whether it stored it."""
        told: list[bool] = []
        position = -1
        while (frame := self.receive()) is not None:
            if frame[0] != b"S":
                continue
            if not frame[1]:
                self.send(b"R")
                break
            method, *arguments = json.loads(frame[1])
            if method == "getPolicyInfo":
                self.send(b"R", b'"SenderMoveDataTransferPolicy"')
            elif method == "startTransaction":
                position = -1
                self.send(b"R")
            elif method == "nextDataElement":
                if 0 <= position < len(offers):
                    told.append(arguments[0])
                position += 1
                self.send(b"R", json.dumps(position < len(offers)).encode())
            elif method == "getDataElementInfo":
                self.send(b"R", offers[position].info if position < len(offers) else b"null")
            else:
                offers[position].send(self)
        return told

    def _read(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            try:
                received = self.connection.recv(size - len(data))
            except ConnectionError:
                break
            if not received:
                break
            data += received
        return bytes(data)


class Offer:
    """What such a peer says of an element, and what it does when its data is asked for."""

    def __init__(
        self, source: str, data: bytes = b"data", send: Callable[[RawPeer], None] | None = None, **values: Any
    ) -> None:
        metadata = {
            "BackupType": "full",
            "DataUuid": b64encode(source.encode()[:64]).decode(),
            "StorageFileChecksumSha512": b64encode(hashlib.sha512(data).digest()).decode(),
            "Timestamp": 1_700_000_000,
            **values,
        }
        self.info = json.dumps([source, json.dumps(metadata), None]).encode()
        self._data = data
        self._send = send

    def send(self, peer: RawPeer) -> None:
        if self._send is not None:
            self._send(peer)
            return
        peer.send(b"P", self._data)
        peer.send(b"R")
