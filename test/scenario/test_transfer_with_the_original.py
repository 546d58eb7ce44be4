"""Goal: ours and the original 0.5.0 move elements to each other, directly and by socat, byte for byte."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from original_peer import DEADLINE, Original, end, wait_until

from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.storage.default_file import DefaultFileStorage

HOST = Path(__file__).parent.parent / "tools" / "transfer_host.py"
POLICIES = {
    "--send": "TransferSenderPolicyClass = guerillabackup.Transfer.SenderMoveDataTransferPolicy\n"
    "TransferSenderPolicyInitArgs = [False]\n",
    "--receive": "TransferReceiverPolicyClass = guerillabackup.Transfer.ReceiverStoreDataTransferPolicy\n",
}
SIZES = (1, 1023, 1 << 16, (1 << 16) + 1, 1 << 20, 5_000_003)
WAYS = pytest.mark.parametrize("way", ["direct", "socat"])

Contents = dict[tuple[str, int], bytes]


def fill(directory: Path, *, with_empty: bool = False) -> Contents:
    """Several folders, a chain of incrementals, every size; (source, time) -> data."""
    contents: Contents = {}
    directory.mkdir()
    with DefaultFileStorage(str(directory)) as storage:
        for source in ("/root", "/a/b/log", "/a/mail"):
            before = None
            for index, size in enumerate((0, *SIZES) if with_empty else SIZES):
                content, timestamp = os.urandom(size), 1_600_000_000 + index
                uuid = hashlib.sha512(content + source.encode()).digest()
                values = {
                    "BackupType": "full" if before is None else "inc",
                    "Timestamp": timestamp,
                    "DataUuid": uuid,
                    "StorageFileChecksumSha512": hashlib.sha512(content).digest(),
                }
                if before is not None:
                    values["Predecessor"] = before
                before = uuid
                with storage.get_sink_handle(SourceUrl(source)) as handle:
                    handle.write(content)
                    handle.close(BackupElementMetainfo(values))
                contents[source, timestamp] = content
    return contents


def read(directory: Path) -> Contents:
    contents: Contents = {}
    with DefaultFileStorage(str(directory)) as storage:
        for element in storage.query_backup_data_elements():
            with element.get_data_stream() as stream:
                contents[element.get_source_url().text, element.get_metadata().timestamp] = stream.read()
    return contents


@contextmanager
def original_service(original: Original, base: Path, storage: Path, flag: str) -> Iterator[Path]:
    """Its running transfer service; the path of its socket."""
    base.mkdir()
    (base / "config").write_text(
        f"GeneralPersistencyBaseDir = '{base}/state'\nGeneralRuntimeDataDir = '{base}/run'\n"
        f"DefaultFileSystemSinkBaseDir = '{storage}'\n" + POLICIES[flag]
    )
    log = base / "log"
    service = original.start("gb-transfer-service", "--Config", str(base / "config"), stderr=log)
    try:
        path = base / "run" / "transfer.socket"
        wait_until(path.exists, service, log)
        yield path
        assert service.poll() is None, log.read_text()
        assert log.read_text() == ""
    finally:
        end(service)


def host(role: str, socket: Path, storage: Path, flag: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(HOST), role, str(socket), str(storage), flag],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run_ours(way: str, directory: Path, peer: Path, storage: Path, flag: str) -> str:
    """Let ours talk to the peer at a socket until both agree to end; what it said."""
    if way == "direct":
        ours = host("dial", peer, storage, flag)
        _, said = ours.communicate(timeout=DEADLINE)
        assert ours.returncode == 0, said
        return said
    path = directory / "ours.socket"
    ours = host("listen", path, storage, flag)
    assert ours.stdout is not None
    assert ours.stdout.readline() == "ready\n"
    joined = subprocess.run(
        ["socat", "-t60", "-b262144", f"UNIX-CONNECT:{peer}", f"UNIX-CONNECT:{path}"], timeout=DEADLINE
    )
    ours.terminate()
    _, said = ours.communicate(timeout=DEADLINE)
    assert (joined.returncode, ours.returncode) == (0, 0), said
    return said


@WAYS
def test_ours_fetches_from_the_original(original: Original, short_directory: Path, way: str) -> None:
    source, target = short_directory / "s", short_directory / "t"
    target.mkdir()
    contents = fill(source)
    with original_service(original, short_directory / "o", source, "--send") as peer:
        said = run_ours(way, short_directory, peer, target, "--receive")
    assert "ended as agreed" in said
    assert read(target) == contents
    assert read(source) == {}


@WAYS
def test_the_original_fetches_from_ours(original: Original, short_directory: Path, way: str) -> None:
    source, target = short_directory / "s", short_directory / "t"
    target.mkdir()
    contents = fill(source)
    with original_service(original, short_directory / "o", target, "--receive") as peer:
        said = run_ours(way, short_directory, peer, source, "--send")
    assert "ended as agreed" in said
    assert read(target) == contents
    assert read(source) == {}


def test_the_original_gets_all_but_empty_elements(original: Original, short_directory: Path) -> None:
    source, target = short_directory / "s", short_directory / "t"
    target.mkdir()
    contents = fill(source, with_empty=True)
    with original_service(original, short_directory / "o", target, "--receive") as peer:
        run_ours("direct", short_directory, peer, source, "--send")
    assert read(target) == {key: data for key, data in contents.items() if data}
    assert read(source) == {key: data for key, data in contents.items() if not data}


def test_the_original_is_asked_twice_on_two_connections(original: Original, short_directory: Path) -> None:
    source, target = short_directory / "s", short_directory / "t"
    target.mkdir()
    contents = fill(source)
    with original_service(original, short_directory / "o", source, "--send") as peer:
        for _ in range(2):
            run_ours("direct", short_directory, peer, target, "--receive")
    assert read(target) == contents


@WAYS
def test_two_of_ours_move_everything(short_directory: Path, way: str) -> None:
    source, target = short_directory / "s", short_directory / "t"
    target.mkdir()
    contents = fill(source, with_empty=True)
    path = short_directory / "server.socket"
    server = host("listen", path, source, "--send")
    assert server.stdout is not None
    assert server.stdout.readline() == "ready\n"
    said = run_ours(way, short_directory, path, target, "--receive")
    server.terminate()
    server.communicate(timeout=DEADLINE)
    assert "ended as agreed" in said
    assert read(target) == contents
    assert read(source) == {}
