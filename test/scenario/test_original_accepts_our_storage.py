"""Goal: a user can go back to the original, and hosts with the original and with ours can share a storage.

The original's storage tool and transfer service take what we stored, and we take what its generator stored.
"""

import bz2
import hashlib
import json
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from original_peer import DEADLINE, Original, end, wait_until
from stored_content import content_of

from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.osfile import Ownership
from guerillabackup.storage.interface import StorageInterface
from guerillabackup.storage.registry import open_storage

DAY = 86400
START = 1_700_000_000
BIG = 3 * (1 << 20) + 17
"""Bytes of an element that needs several frames on the wire."""
SPACING = {
    "Name": "Interval",
    "Priority": 1,
    "FullMin": "6d20H",
    "FullMax": "7d4H",
    "IncMin": "20H",
    "IncMax": "28H",
}
SIZES = {"Name": "Size", "Priority": 1, "FullSizeMinRel": 0.5, "FullSizeMaxRel": 2.0,
         "IncSizeExpectRel": 1.0, "IncSizeMinRel": 0.001, "IncSizeMaxRel": 2.0}  # fmt: skip
KEEP_NEWEST = {"Name": "LevelRetention", "Levels": [{"KeepCount": 1, "Interval": "day", "TimeRef": "latest"}]}


def data(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def store(
    storage: StorageInterface, source: str, kind: str, timestamp: int, content: bytes, before: bytes | None
) -> bytes:
    """Store an element as our generator does; its DataUuid."""
    uuid = hashlib.sha512(content + f"{timestamp} {source}".encode()).digest()
    metainfo = BackupElementMetainfo(
        {
            "BackupType": kind,
            "DataUuid": uuid,
            "HandlingPolicy": ["default"],
            "Predecessor": before,
            "StorageFileChecksumSha512": hashlib.sha512(content).digest(),
            "MetaDataSignature": b"\x00\xff signature",
            "SourceUrl": source,
            "Timestamp": timestamp,
            "X-Unknown": {"kept": [1, 2.5, None, "\u00e4"]},
        }
    )
    with storage.get_sink_handle(SourceUrl(source)) as handle:
        handle.write(content)
        handle.close(metainfo)
    return uuid


def store_chain(storage: StorageInterface, source: str, size: int) -> None:
    """A week of a source: a full, six incrementals, a full."""
    before = None
    for day in range(8):
        kind = "full" if day % 7 == 0 else "inc"
        before = store(storage, source, kind, START + day * DAY, data(size + day), before)


@pytest.fixture
def our_storage(tmp_path: Path) -> Iterator[StorageInterface]:
    storage = open_storage(str(tmp_path / "ours"), Ownership(), create=True)
    yield storage
    storage.close()


def tool_configuration(tmp_path: Path, *policies: dict[str, object]) -> str:
    path = tmp_path / "storage-tool-config.json"
    configuration = {
        "DataDir": str(tmp_path / "ours"),
        "Status": str(tmp_path / "status.json"),
        "Policies": [{"Sources": "^.*$", "List": policies}],
    }
    path.write_text("# as an administrator wrote it\n" + json.dumps(configuration, indent=1))
    return str(path)


def test_the_originals_storage_tool_finds_nothing_to_complain_about(original, our_storage, tmp_path):
    for source in ("/root", "/host/etc", "/host/etc.members", "/host/a/b/var-lib"):
        store_chain(our_storage, source, 1000)
    with our_storage.open_batch() as batch:
        for kind, day in (("full", 0), ("inc", 1)):
            store(batch, "/host/batch", kind, START + day * DAY, data(1000), None)
    result = original.run("gb-storage-tool", "--Config", tool_configuration(tmp_path, SPACING, SIZES))
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "All policies applied.\n")


def test_the_originals_storage_tool_sees_a_gap_in_what_we_stored(original, our_storage, tmp_path):
    store(our_storage, "/host/etc", "full", START, data(1000), None)
    store(our_storage, "/host/etc", "inc", START + 3 * DAY, data(1000), None)
    result = original.run("gb-storage-tool", "--Config", tool_configuration(tmp_path, SPACING))
    assert result.returncode == 0
    assert 'Backup source "host/etc" inc interval too big' in result.stderr


def test_the_originals_storage_tool_lists_every_element_we_stored(original, our_storage, tmp_path):
    store_chain(our_storage, "/host/etc", 1000)
    for number in range(3):
        store(our_storage, "/host/etc", "full", START + 7 * DAY, data(number + 1), None)
    result = original.run(
        "gb-storage-tool", "--DryRun", "--Config", tool_configuration(tmp_path, KEEP_NEWEST)
    )
    listed = [line[2:] for line in result.stdout.splitlines()[1:]]
    ours = [element.get_element_id() for element in our_storage.query_backup_data_elements()]
    expected = sorted(
        f"{one.digits}{'' if one.serial is None else one.serial} {one.backup_type.value}" for one in ours
    )
    assert (result.returncode, sorted(listed)) == (0, expected)


def test_the_originals_storage_tool_deletes_what_we_stored_and_we_see_the_rest(
    original, our_storage, tmp_path
):
    store_chain(our_storage, "/host/etc", 1000)
    (tmp_path / "status.json").write_text("{}")
    result = original.run(
        "gb-storage-tool", "--Config", tool_configuration(tmp_path, KEEP_NEWEST), answer="y\n"
    )
    assert result.returncode == 0, result.stderr
    assert [key[:3] for key in content_of(our_storage)] == [("/host/etc", "full", START + 7 * DAY)]
    assert list(our_storage.find_leftovers()) == []


def test_the_originals_transfer_service_moves_what_we_stored(
    original, our_storage, tmp_path, short_directory
):
    store_chain(our_storage, "/host/etc", 1000)
    store_chain(our_storage, "/host/etc.members", 10)
    store(our_storage, "/root", "full", START, data(BIG), None)
    for number in range(3):
        store(our_storage, "/host/logs/a.log", "full", START, data(number + 1), None)
    expected = content_of(our_storage)
    (tmp_path / "theirs").mkdir(mode=0o700)
    original.move(tmp_path / "ours", tmp_path / "theirs", short_directory)
    received = open_storage(str(tmp_path / "theirs"), Ownership(), create=False)
    try:
        assert content_of(received) == expected
        assert list(received.find_leftovers()) == []
    finally:
        received.close()
    assert content_of(our_storage) == {}
    assert list(our_storage.find_leftovers()) == []


def test_we_read_what_the_originals_generator_stored(original, tmp_path, short_directory):
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "first").write_bytes(data(100_000))
    generate(original, tmp_path, short_directory, tree)
    storage = open_storage(str(tmp_path / "theirs"), Ownership(), create=False)
    try:
        full, incremental = list(storage.query_backup_data_elements())[:2]
        assert [str(element.get_source_url()) for element in (full, incremental)] == ["/host/tree"] * 2
        first, second = full.get_metadata(), incremental.get_metadata()
        assert (first.backup_type.value, second.backup_type.value) == ("full", "inc")
        assert (first.get("Predecessor"), second.get("Predecessor")) == (None, first.get("DataUuid"))
        assert first.get("HandlingPolicy") == ["default"]
        for element in (full, incremental):
            with element.get_data_stream() as stream:
                stored = stream.read()
            assert hashlib.sha512(stored).digest() == element.get_metadata().get("StorageFileChecksumSha512")
            unpack(decrypted(stored, short_directory), tmp_path / "restored")
        assert {path.name: path.read_bytes() for path in (tmp_path / "restored").iterdir()} == {
            "first": data(100_000),
            "second": data(50_000),
        }
    finally:
        storage.close()


def generate(original: Original, tmp_path: Path, directory: Path, tree: Path) -> None:
    """Let the original's generator make a full and an incremental backup, compressed and encrypted."""
    for name in ("config/units", "theirs", "run", "state"):
        (tmp_path / name).mkdir(parents=True, mode=0o700)
    make_key(directory)
    gpg = [
        "/usr/bin/gpg",
        "--batch",
        "--lock-never",
        "--no-options",
        "--homedir",
        str(directory),
        "--trust-model",
    ]
    gpg += ["always", "--throw-keyids", "--no-emit-version", "--encrypt"]
    (tmp_path / "config" / "config").write_text(
        f"GeneralPersistencyBaseDir = '{tmp_path}/state'\nGeneralRuntimeDataDir = '{tmp_path}/run'\n"
        f"DefaultFileSystemSinkBaseDir = '{tmp_path}/theirs'\n"
        "_bzip2 = guerillabackup.OSProcessPipelineElement('/bin/bzip2', ['/bin/bzip2', '-c9'])\n"
        "GeneralDefaultCompressionElement = _bzip2\n"
        f"GeneralDefaultEncryptionElement = guerillabackup.GpgEncryptionPipelineElement('Peer', {gpg!r})\n"
    )
    (tmp_path / "config" / "units" / "TarBackupUnit.config").write_text(
        f"TarBackupUnitConfigList = {{'/host/tree': {{'Root': {str(tree)!r}, 'Include': ['.'],\n"
        "'IgnoreBackupRaces': False, 'FullBackupTiming': [86400, 86400, None, None],\n"
        "'IncBackupTiming': [3, 4, None, None], 'Policy': 'default', 'EncryptionKey': None}}\n"
    )
    (tmp_path / "config" / "units" / "TarBackupUnit").symlink_to(original.unit("TarBackupUnit"))
    log = tmp_path / "log"
    generator = original.start("gb-backup-generator", "--ConfigDir", str(tmp_path / "config"), stderr=log)
    try:
        wait_until(lambda: any(tmp_path.glob("theirs/host/*-full.info")), generator, log)
        (tree / "second").write_bytes(data(50_000))
        wait_until(lambda: any(tmp_path.glob("theirs/host/*-inc.info")), generator, log)
    finally:
        end(generator)


def make_key(homedir: Path) -> None:
    argv = [
        "gpg",
        "--homedir",
        str(homedir),
        "--batch",
        "--quiet",
        "--passphrase",
        "",
        "--quick-generate-key",
        "Peer",
    ]
    subprocess.run([*argv, "default", "default", "never"], check=True, timeout=DEADLINE)


def decrypted(stored: bytes, homedir: Path) -> bytes:
    argv = ["gpg", "--homedir", str(homedir), "--batch", "--quiet", "--decrypt"]
    return bz2.decompress(subprocess.run(argv, input=stored, stdout=-1, check=True, timeout=DEADLINE).stdout)


def unpack(archive: bytes, directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    argv = ["tar", "-C", str(directory), "--extract", "--listed-incremental=/dev/null"]
    subprocess.run(argv, input=archive, check=True, timeout=DEADLINE)
