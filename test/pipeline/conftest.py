"""What tests of pipelines share: nothing may leak from any of them, and gpg homes with short names."""

import gc
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from guerillabackup.errors import UnreadInputError
from guerillabackup.pipeline.interface import TransformationProcessOutputInterface
from guerillabackup.pipeline.os_process import OSProcessPipelineElement


def list_descriptors() -> set[tuple[str, str]]:
    descriptors = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            descriptors.add((number, os.readlink(f"/proc/self/fd/{number}")))
        except FileNotFoundError:
            pass
    return descriptors


def list_children() -> list[str]:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return file.read().split()


@pytest.fixture(autouse=True)
def nothing_leaks(tmp_path) -> Iterator[None]:
    gc.collect()
    before = list_descriptors(), set(threading.enumerate()), list_children()
    yield
    gc.collect()
    assert (list_descriptors(), set(threading.enumerate()), list_children()) == before


@pytest.fixture
def shell():
    """Makes an element of a shell script."""

    def make(script: str, **arguments) -> OSProcessPipelineElement:
        return OSProcessPipelineElement("/bin/sh", ["sh", "-c", script], **arguments)

    return make


@pytest.fixture
def output_file(tmp_path):
    """A file to write to, and to read from its beginning afterwards."""
    with open(tmp_path / "output", "w+b") as file:
        yield OutputFile(file.fileno())


class OutputFile:
    """Reads what stages wrote, whatever the offset is that they share."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def fileno(self) -> int:
        return self._descriptor

    def read(self) -> bytes:
        return os.pread(self._descriptor, os.fstat(self._descriptor).st_size, 0)


class Chunks(TransformationProcessOutputInterface):
    """An output without a descriptor, as a polled process written for the original may have."""

    def __init__(self, *chunks: bytes) -> None:
        self.chunks = list(chunks)
        self.is_closed = False

    def get_output_stream_descriptor(self) -> None:
        return None

    def read_data(self, length: int) -> bytes | None:
        return self.chunks.pop(0) if self.chunks else None

    def close(self) -> None:
        self.is_closed = True
        if self.chunks:
            raise UnreadInputError("chunks are left")


@pytest.fixture
def make_chunks():
    return Chunks


@dataclass(frozen=True)
class Keys:
    """A gpg home with keys of all kinds, one with none of their secrets, and the fingerprint that expired."""

    home: str
    other_home: str
    expired_fingerprint: str


def gpg(home: str, *arguments: str) -> str:
    command = ["gpg", "--batch", "--homedir", home, "--passphrase", "", "--pinentry-mode", "loopback"]
    return subprocess.run([*command, *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="session")
def keys() -> Iterator[Keys]:
    homes = [tempfile.mkdtemp(prefix="gb", dir="/tmp") for _ in range(2)]
    try:
        for home in homes:
            gpg(home, "--quick-gen-key", "good@example.org", "future-default", "default", "never")
        past = ("--faked-system-time", "20200101T000000")
        gpg(homes[0], *past, "--quick-gen-key", "old@example.org", "future-default", "default", "1d")
        gpg(homes[0], "--quick-gen-key", "second@example.org", "future-default", "default", "never")
        gpg(homes[0], "--quick-gen-key", "sign@example.org", "ed25519", "sign", "never")
        listing = gpg(homes[0], "--with-colons", "--list-keys", "old@example.org")
        fingerprint = next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr"))
        for home in homes:
            subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)
        yield Keys(homes[0], homes[1], fingerprint)
    finally:
        for home in homes:
            subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)
            shutil.rmtree(home, ignore_errors=True)
