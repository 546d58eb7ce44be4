"""Elements as files: names, modes and owners to the letter, what others left, and many writers at once."""

import gc
import hashlib
import json
import os
import resource
import stat
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from guerillabackup.element import BackupElementMetainfo, BackupType, ElementId, SourceUrl
from guerillabackup.errors import (
    ConfigError,
    ElementLockedError,
    ElementNotFoundError,
    MetainfoError,
    StorageError,
    StorageReplacedError,
)
from guerillabackup.osfile import Ownership
from guerillabackup.storage.default_file import DefaultFileStorage
from guerillabackup.storage.interface import SinkInterface, StorageBackupDataElementInterface
from guerillabackup.storage.registry import make_ownership, open_storage

SOURCE = SourceUrl("/host/etc")
TIME = 1_700_000_000
STEM = "20231114221320-etc-full"


def metainfo(timestamp: int = TIME, kind: str = "full", **more: object) -> BackupElementMetainfo:
    return BackupElementMetainfo({"BackupType": kind, "Timestamp": timestamp, **more})


def store(
    sink: SinkInterface, source: SourceUrl = SOURCE, info: BackupElementMetainfo | None = None
) -> StorageBackupDataElementInterface:
    with sink.get_sink_handle(source) as handle:
        handle.write(b"data")
        element = handle.close(info or metainfo())
    assert element is not None
    return element


def files(directory: Path) -> list[str]:
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir())


def ids(storage: DefaultFileStorage) -> list[str]:
    return [str(element.get_element_id()) for element in storage.query_backup_data_elements()]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir(mode=0o700)
    return tmp_path / "data"


@pytest.fixture(params=[True, False], ids=["unnamed", "named"])
def storage(base: Path, request: pytest.FixtureRequest) -> Iterator[DefaultFileStorage]:
    with DefaultFileStorage(str(base), unnamed_files=request.param) as file_storage:
        yield file_storage


# Files as the contract says


def test_an_element_is_its_data_and_info_and_nothing_else(storage, base):
    info = metainfo(X="y", DataUuid=b"\0")
    store(storage, info=info).set_extra_data("mark", b"value")
    assert files(base) == [f"host/{STEM}.data", f"host/{STEM}.info", f"host/{STEM}.mark"]
    assert (base / "host" / f"{STEM}.data").read_bytes() == b"data"
    assert (base / "host" / f"{STEM}.info").read_bytes() == info.serialize()
    assert (base / "host" / f"{STEM}.mark").read_bytes() == b"value"
    assert sorted(os.listdir(base)) == ["host"]


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "America/New_York", "UTC"])
def test_the_name_is_utc_wherever_we_are(storage, base, zone, monkeypatch):
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        store(storage)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert files(base) == [f"host/{STEM}.data", f"host/{STEM}.info"]


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
@pytest.mark.parametrize(("directory_mode", "file_mode"), [(0o700, 0o600), (0o2770, 0o660), (0o755, 0o444)])
@pytest.mark.parametrize("unnamed", [True, False])
def test_modes_are_exact_under_any_umask(tmp_path, umask, directory_mode, file_mode, unnamed):
    before = os.umask(umask)
    try:
        ownership = Ownership(directory_mode, file_mode)
        open_storage(str(tmp_path / "x" / "data"), ownership, create=True).close()
        with DefaultFileStorage(str(tmp_path / "x" / "data"), ownership, unnamed_files=unnamed) as storage:
            store(storage, SourceUrl("/a/b/c")).set_extra_data("mark", b"x")
            with storage.open_batch() as batch, batch.get_sink_handle(SourceUrl("/a/d/e")) as handle:
                handle.close(metainfo())
            with storage.get_sink_handle(SourceUrl("/a/b/c")) as handle:
                storage.complete(handle.prepare(metainfo()), metainfo())
    finally:
        os.umask(before)
    for path in (tmp_path / "x").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (directory_mode if path.is_dir() else file_mode), path
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == directory_mode


def test_files_belong_to_whom_the_configuration_says(tmp_path):
    """As root the owner is another user; otherwise what may not be given away is refused and said."""
    ownership = make_ownership(owner=12345, group=54321)
    path = tmp_path / "new" / "data"
    if os.geteuid() == 0:
        with open_storage(str(path), ownership, create=True) as storage:
            store(storage, SourceUrl("/a/b/c")).set_extra_data("mark", b"x")
        found = {(one.stat().st_uid, one.stat().st_gid) for one in (tmp_path / "new", *path.rglob("*"), path)}
        assert found == {(12345, 54321)}
    else:
        with pytest.raises(StorageError, match="may not give a file to user 12345"):
            open_storage(str(path), ownership, create=True)


def test_owners_are_known_by_name():
    assert make_ownership(owner="root", group="root") == Ownership(user_id=0, group_id=0)
    for wrong in ({"owner": "no-such-user"}, {"group": "no-such-group"}):
        with pytest.raises(ConfigError, match="no-such"):
            make_ownership(**wrong)


def test_a_missing_directory_is_made_only_when_asked_for(tmp_path):
    with pytest.raises(StorageError, match="cannot open directory"):
        open_storage(str(tmp_path / "missing"))
    assert not (tmp_path / "missing").exists()
    open_storage(str(tmp_path / "missing"), create=True).close()
    assert (tmp_path / "missing").is_dir()


def test_the_directory_an_operator_names_may_be_a_link(tmp_path, base):
    (tmp_path / "link").symlink_to(base)
    with DefaultFileStorage(str(tmp_path / "link")) as storage:
        store(storage)
    assert files(base) == [f"host/{STEM}.data", f"host/{STEM}.info"]


def test_a_closed_storage_refuses_and_touches_nobody_elses_descriptor(base):
    storage = DefaultFileStorage(str(base))
    element = store(storage)
    storage.close()
    storage.close()
    others = [os.open("/", os.O_RDONLY) for _ in range(20)]
    try:
        for action in (
            lambda: store(storage),
            lambda: ids(storage),
            element.get_data_stream,
            element.delete,
            lambda: list(storage.find_leftovers()),
        ):
            with pytest.raises(StorageError, match="is closed"):
                action()
    finally:
        for descriptor in others:
            os.close(descriptor)


# What the original, or somebody, left there


def write_original(
    directory: Path, stem: str, timestamp: int, kind: str = "full", data: bytes = b"d"
) -> None:
    """An element in the original's own format, by hand."""
    directory.mkdir(parents=True, exist_ok=True)
    info = {
        "BackupType": kind,
        "DataUuid": "AAEC",
        "HandlingPolicy": ["default"],
        "MetaDataSignature": None,
        "Predecessor": None,
        "StorageFileSignature": None,
        "Timestamp": timestamp,
    }
    (directory / f"{stem}.data").write_bytes(data)
    (directory / f"{stem}.info").write_text(json.dumps(info, sort_keys=True))


def test_a_storage_of_the_original_opens_and_lists(storage, base):
    write_original(base / "a" / "b", "20231115002320-c-full", TIME)  # two hours east of Greenwich
    write_original(base / "a" / "b", "202311150023200-c-full", TIME)
    write_original(base / "a" / "b", "20231115002320-c-inc", TIME, "inc")
    write_original(base, "20231115002320-root-full", TIME)
    assert ids(storage) == [
        "/20231115002320-root-full",
        "/a/b/20231115002320-c-full",
        "/a/b/20231115002320-c-inc",
        "/a/b/202311150023200-c-full",
    ]
    for element in storage.query_backup_data_elements():
        assert element.get_metadata().timestamp == TIME
        assert element.get_metadata().data_uuid == b"\0\1\2"
    assert list(storage.find_leftovers()) == []


def test_an_element_the_original_locked_is_locked(storage, base):
    write_original(base / "host", STEM, TIME)
    (base / "host" / f"{STEM}.lock").touch()
    element = next(storage.query_backup_data_elements())
    assert element.is_locked()
    for action in (element.lock, element.delete, lambda: element.set_extra_data("mark", b"x")):
        with pytest.raises(ElementLockedError, match=rf"locked by the file {STEM}\.lock"):
            action()
    assert element.list_extra_data() == []
    (base / "host" / f"{STEM}.lock").unlink()
    element.delete()
    assert files(base) == []


def test_what_the_original_leaves_after_a_crash_is_skipped_blocks_nothing_and_is_reported(storage, base):
    host = base / "host"
    write_original(host, STEM, TIME)
    (host / "tmp-etc-123456").write_text("half")
    (host / "202311142213200-etc-full.data").write_text("half")
    (host / "202311142213200-etc-full.info.tmp").write_text("half")
    (host / "202311142213201-etc-full.info").write_text("{}")
    (host / "202311142213202-etc-full.lock").touch()
    (host / f"{STEM}.mark-4711").touch()
    assert ids(storage) == [f"/host/{STEM}"]
    assert str(store(storage).get_element_id()) == "/host/202311142213203-etc-full"
    assert {leftover.path: leftover.what for leftover in storage.find_leftovers()} == {
        "host/tmp-etc-123456": "not a file of an element",
        "host/202311142213200-etc-full.data": "data without info",
        "host/202311142213200-etc-full.info.tmp": "not a file of an element",
        "host/202311142213201-etc-full.info": "info without data",
        "host/202311142213202-etc-full.lock": "lock of no element",
        f"host/{STEM}.mark-4711": "not a file of an element",
    }
    assert all(0 <= leftover.age < 3600 for leftover in storage.find_leftovers())
    assert [leftover.path for leftover in storage.find_leftovers(SourceUrl("/host/etc"))] == [
        "host/202311142213200-etc-full.data",
        "host/202311142213201-etc-full.info",
        "host/202311142213202-etc-full.lock",
    ]
    assert list(storage.find_leftovers(SourceUrl("/host/other"))) == []


def test_an_element_that_became_whole_while_its_folder_was_looked_at_is_no_leftover(storage, base):
    (base / "host").mkdir()
    for serial in (0, 1):
        (base / "host" / f"2023111422132{serial}-etc-full.info").write_text("{}")
    leftovers = storage.find_leftovers()
    next(leftovers)
    (base / "host" / "20231114221321-etc-full.data").write_text("whole")
    assert list(leftovers) == []


def test_leftovers_in_the_partial_folder_are_reported_one_by_one_and_the_folder_is_not(storage, base):
    assert list(storage.find_leftovers()) == []
    (base / ".partial").mkdir()
    (base / ".partial" / "new-1-x").touch()
    (base / "white space").mkdir()
    assert {leftover.path: leftover.what for leftover in storage.find_leftovers()} == {
        ".partial/new-1-x": "not finished",
        "white space": "not a folder of a source",
    }
    store(storage)
    assert ids(storage) == [f"/host/{STEM}"]


@pytest.mark.parametrize(
    "name", [b"new\nline.data", b"\xff\xfe.info", b"20231114221320-\xff-full.data", b"a b"]
)
def test_names_that_are_no_texts_are_reported_and_harm_nothing(storage, base, name):
    store(storage)
    os.close(os.open(os.fsencode(base / "host") + b"/" + name, os.O_CREAT | os.O_WRONLY))
    assert ids(storage) == [f"/host/{STEM}"]
    (leftover,) = storage.find_leftovers()
    leftover.path.encode("utf-8")


def test_links_in_a_storage_are_not_followed(storage, base, tmp_path):
    outside = tmp_path / "outside"
    write_original(outside, STEM, TIME)
    (base / "linked").symlink_to(outside)
    (base / "host").mkdir()
    for suffix in ("data", "info"):
        (base / "host" / f"{STEM}.{suffix}").symlink_to(outside / f"{STEM}.{suffix}")
    (base / "host" / "20231114221321-etc-full.data").write_text("x")
    (base / "host" / "20231114221321-etc-full.info").symlink_to(outside / f"{STEM}.info")
    before = files(outside)
    assert ids(storage) == []
    for text in (f"/host/{STEM}", "/host/20231114221321-etc-full", f"/linked/{STEM}"):
        with pytest.raises(StorageError):
            storage.get_backup_data_element(ElementId.parse(text)).delete()
    with pytest.raises(StorageError):
        store(storage, SourceUrl("/linked/etc"))
    with pytest.raises(StorageError):
        storage.complete(ElementId.parse(f"/host/{STEM}"), metainfo())
    assert str(store(storage).get_element_id()) == "/host/202311142213200-etc-full"
    assert files(outside) == before
    assert "neither a file nor a folder" in {leftover.what for leftover in storage.find_leftovers()}


def test_an_attribute_that_is_a_link_is_not_followed(storage, base, tmp_path):
    element = store(storage)
    (tmp_path / "secret").write_text("secret")
    (base / "host" / f"{STEM}.mark").symlink_to(tmp_path / "secret")
    with pytest.raises(StorageError):
        element.get_extra_data("mark")
    element.set_extra_data("mark", b"mine")
    assert (tmp_path / "secret").read_text() == "secret"
    assert element.get_extra_data("mark") == b"mine"


def test_folders_and_pipes_that_are_called_like_an_elements_files_are_none(storage, base):
    (base / "host" / f"{STEM}.data").mkdir(parents=True)
    (base / "host" / f"{STEM}.info").mkdir()
    os.mkfifo(base / "host" / "20231114221321-etc-full.data")
    os.mkfifo(base / "host" / "20231114221321-etc-full.info")
    assert ids(storage) == []
    with pytest.raises(StorageError):
        storage.get_backup_data_element(ElementId.parse("/host/20231114221321-etc-full"))
    assert str(store(storage).get_element_id()) == "/host/202311142213200-etc-full"


@pytest.mark.parametrize("broken", [b"", b"{", b'{"BackupType": "full"}', b"x" * 600_000])
def test_an_element_with_unreadable_metadata_does_not_end_a_query(storage, base, broken):
    store(storage)
    store(storage, info=metainfo(TIME + 1))
    (base / "host" / f"{STEM}.info").write_bytes(broken)
    assert len(ids(storage)) == 2
    with pytest.raises(MetainfoError):
        storage.get_backup_data_element(ElementId.parse(f"/host/{STEM}")).get_metadata()
    found = storage.query_backup_data_elements(lambda element: element.get_metadata().timestamp > 0)
    assert [str(element.get_element_id()) for element in found] == ["/host/20231114221321-etc-full"]
    assert storage.get_backup_data_element_for_metadata(SOURCE, metainfo(TIME + 1)) is not None
    storage.get_backup_data_element(ElementId.parse(f"/host/{STEM}")).delete()
    assert len(files(base)) == 2


# Exact deletion


def test_deleting_takes_every_attribute_of_the_element_also_those_ours_would_not_set(storage, base):
    write_original(base / "host", STEM, TIME)
    for suffix in ("mark", "a+b", "x" * 64, "with_underscore", "~", "Ä"):
        (base / "host" / f"{STEM}.{suffix}").touch()
    element = next(storage.query_backup_data_elements())
    assert element.list_extra_data() == ["mark", "with_underscore"]
    element.delete()
    assert files(base) == [f"host/{STEM}.Ä"]


def test_attributes_that_another_process_sets_later_are_deleted_too(storage, base):
    with DefaultFileStorage(str(base)) as other:
        for number in range(40):
            element = store(storage, info=metainfo(number))
            name = f"mark{number // 10}"
            next(other.query_backup_data_elements()).set_extra_data(name, b"x")
            element.delete()
    assert files(base) == []


def test_a_deletion_that_fails_half_way_leaves_no_element_and_its_name_stays_taken(storage, base):
    element = store(storage)
    (base / "host" / f"{STEM}.mark").mkdir()
    next(storage.query_backup_data_elements())
    storage.get_backup_data_element(ElementId.parse(f"/host/{STEM}"))
    with pytest.raises(StorageError):
        element.delete()
    assert ids(storage) == []
    assert files(base) == [f"host/{STEM}.data"]
    assert str(store(storage).get_element_id()) == "/host/202311142213200-etc-full"


# Names as long as they can be


@pytest.mark.parametrize("unnamed", [True, False])
def test_a_name_too_long_with_its_serial_or_attribute_is_a_clear_error(base, unnamed):
    source = SourceUrl("/host/" + "x" * 230)
    before = len(os.listdir("/proc/self/fd"))
    with DefaultFileStorage(str(base), unnamed_files=unnamed) as storage:
        store(storage).set_extra_data("verified", b"x")
        element = store(storage, source)
        with pytest.raises(StorageError, match=r"cannot store an element of /host/x+: File name too long"):
            store(storage, source)
        with pytest.raises(StorageError, match="File name too long"):
            element.set_extra_data("verified", b"x")
        assert element.get_extra_data("verified") is None
        element.set_extra_data("mark", b"x")
        assert element.list_extra_data() == ["mark"]
        store(storage, source, metainfo(kind="inc"))
        element.delete()
        assert len(ids(storage)) == 2
        assert list(storage.find_leftovers()) == []
        store(storage, source)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_source_of_very_many_folders_is_stored(storage):
    source = SourceUrl("/" + "/".join("x" * 30 for _ in range(66)))
    element = store(storage, source)
    assert ids(storage) == [str(element.get_element_id())]
    element.delete()
    assert ids(storage) == []


# What others do meanwhile


def test_a_source_folder_removed_while_it_is_empty_does_not_lose_the_element(storage, base):
    for is_prepared in (False, True):
        (base / "host").mkdir(exist_ok=True)
        with storage.get_sink_handle(SOURCE) as handle:
            handle.write(b"data")
            (base / "host").rmdir()
            if is_prepared:
                handle.prepare(metainfo(TIME + 1))
            handle.close(metainfo())
        for element in storage.query_backup_data_elements():
            element.delete()
    with storage.open_batch() as batch:
        for turn in range(3):
            with batch.get_sink_handle(SOURCE) as handle:
                if turn == 1:
                    (base / "host").rmdir()
                handle.close(metainfo())
    assert len(ids(storage)) >= 2


@pytest.mark.parametrize("there", ["", "host", "host/a"])
def test_what_is_given_up_leaves_no_folder_and_what_is_stored_beside_it_has_its_own(storage, base, there):
    source = SourceUrl("/host/a/b/etc")
    (base / there).mkdir(parents=True, exist_ok=True)
    before = sorted(base.rglob("*"))
    for _ in range(2):
        with storage.get_sink_handle(source) as handle:
            handle.write(b"data")
        with storage.get_sink_handle(source) as given_up, storage.get_sink_handle(source) as kept:
            kept.write(b"data")
            assert sorted(path for path in base.rglob("*") if ".partial" not in path.parts) == before
            if there:
                (base / there).rmdir()
                if there == "host/a":
                    (base / "host").rmdir()
            kept.close(metainfo()).delete()
            given_up.write(b"data")
        (base / "host/a/b").rmdir()
        (base / "host/a").rmdir()
        (base / "host").rmdir()
        (base / there).mkdir(parents=True, exist_ok=True)


def test_elements_that_are_stored_and_given_up_at_once_share_new_folders(storage, base):
    errors = []

    def work(number):
        try:
            for turn in range(40):
                source = SourceUrl(f"/host/{turn}/b/etc")
                with storage.get_sink_handle(source) as handle:
                    handle.write(b"data")
                    if number == 0:
                        continue
                    element = handle.close(metainfo(TIME + turn))
                element.delete()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert ids(storage) == []


def test_a_folder_that_is_replaced_by_a_file_ends_no_query(storage, base):
    for source in ("/a/x", "/b/x", "/c/x"):
        store(storage, SourceUrl(source))
    query = storage.query_backup_data_elements()
    next(query)
    (base / "b").rename(base / "moved")
    (base / "b").touch()
    assert [str(element.get_source_url()) for element in query] == ["/c/x"]


def test_a_folder_that_may_not_be_read_is_an_error_not_an_empty_one(base):
    if os.geteuid() == 0:
        script = "import os; os.setgid(65534); os.setuid(65534)\n"
        for path in (base, *base.parents[:3]):
            path.chmod(0o755) if os.stat(path).st_uid == 0 and str(path) != "/tmp" else None
    else:
        script = ""
    script += (
        "import sys\nfrom guerillabackup.errors import StorageError\n"
        "from guerillabackup.storage.default_file import DefaultFileStorage\n"
        "try:\n    list(DefaultFileStorage(sys.argv[1]).query_backup_data_elements())\n"
        "except StorageError as error:\n    print(error)\n"
    )
    (base / "host").mkdir()
    (base / "host").chmod(0)
    code = f"import sys; sys.dont_write_bytecode = True\n{script}"
    # Imported before the privileges go: the sources may be where another user may not read.
    code = "import guerillabackup.storage.default_file\n" + code
    result = subprocess.run(
        [sys.executable, "-c", code, str(base)], capture_output=True, text=True, timeout=60
    )
    (base / "host").chmod(0o700)
    assert "cannot list host: Permission denied" in result.stdout or "cannot open directory" in result.stdout


def test_data_that_was_replaced_is_neither_read_nor_deleted_by_an_old_lock(storage, base):
    element = store(storage)
    with element.get_data_stream() as stream:
        (base / "host" / f"{STEM}.data").unlink()
        with pytest.raises(ElementNotFoundError):
            element.lock()
        (base / "host" / f"{STEM}.data").write_bytes(b"another")
        assert stream.read() == b"data"
        element.delete()
    assert files(base) == []


def test_a_prepared_element_that_was_taken_for_a_leftover_is_an_error_not_an_info_alone(storage, base):
    with storage.get_sink_handle(SOURCE) as handle:
        handle.prepare(metainfo())
        (base / "host" / f"{STEM}.data").unlink()
        with pytest.raises(StorageError, match="was removed"):
            handle.close()
    assert files(base) == []


def test_aborting_what_was_prepared_takes_no_file_of_others(storage, base):
    with storage.get_sink_handle(SOURCE) as handle:
        handle.prepare(metainfo())
        (base / "host" / f"{STEM}.data").unlink()
        (base / "host" / f"{STEM}.data").write_bytes(b"somebody else's")
    assert files(base) == [f"host/{STEM}.data"]


def run_python(code: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


LOCKER = """
import os, sys
from guerillabackup.element import ElementId
from guerillabackup.storage.default_file import DefaultFileStorage
storage = DefaultFileStorage(sys.argv[1])
element = storage.get_backup_data_element(ElementId.parse(sys.argv[2]))
held = element.lock() if sys.argv[3] == "lock" else element.get_data_stream()
print("held", flush=True)
sys.stdin.read()
os._exit(0)
"""


@pytest.mark.parametrize("how", ["lock", "read"])
def test_a_lock_of_another_process_counts_and_ends_with_it(storage, base, how):
    element = store(storage)
    with run_python(LOCKER, str(base), str(element.get_element_id()), how) as process:
        assert process.stdout.readline() == "held\n"
        assert element.is_locked()
        with pytest.raises(ElementLockedError):
            element.delete()
        process.kill()
    assert not element.is_locked()
    element.delete()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_lock_does_not_stay_with_a_child_that_was_forked_meanwhile(storage):
    element = store(storage)
    other = storage.get_backup_data_element(element.get_element_id())
    element.lock()
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write_end)
        os.read(read_end, 1)
        os._exit(0)
    os.close(read_end)
    try:
        element.unlock()
        assert not other.is_locked()
    finally:
        os.close(write_end)
        os.waitpid(child, 0)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_that_ends_does_not_end_the_lock_of_its_parent(storage):
    element = store(storage)
    other = storage.get_backup_data_element(element.get_element_id())
    element.lock()
    child = os.fork()
    if child == 0:
        element.unlock()
        os._exit(0)
    os.waitpid(child, 0)
    assert other.is_locked()
    with pytest.raises(ElementLockedError):
        other.delete()
    element.unlock()


STORER = """
import sys
from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.storage.default_file import DefaultFileStorage
directory, unnamed, number = sys.argv[1:]
sys.stdin.readline()
with DefaultFileStorage(directory, unnamed_files=unnamed == "True") as storage:
    def put(sink, turn):
        with sink.get_sink_handle(SourceUrl("/host/etc")) as handle:
            handle.write(f"{number} {turn}".encode())
            handle.close(BackupElementMetainfo({"BackupType": "full", "Timestamp": 1700000000}))
    for turn in range(20):
        put(storage, turn)
    with storage.open_batch() as batch:
        for turn in range(20, 60):
            put(batch, turn)
"""


@pytest.mark.parametrize("unnamed", [True, False])
def test_processes_storing_the_same_second_lose_and_overwrite_nothing(base, unnamed):
    processes = [run_python(STORER, str(base), str(unnamed), str(number)) for number in range(3)]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert [process.communicate(timeout=120) and process.returncode for process in processes] == [0, 0, 0]
    with DefaultFileStorage(str(base)) as storage:
        contents = []
        for element in storage.query_backup_data_elements():
            with element.get_data_stream() as stream:
                contents.append(stream.read().decode())
        assert sorted(contents) == sorted(f"{number} {turn}" for number in range(3) for turn in range(60))
        assert list(storage.find_leftovers()) == []
    assert os.listdir(base) == ["host"]


# Limits


def test_a_batch_stays_within_the_descriptors_a_process_may_have(base):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used * 2 + 40, hard))
    try:
        for unnamed in (True, False):
            with (
                DefaultFileStorage(str(base), unnamed_files=unnamed) as storage,
                storage.open_batch() as batch,
            ):
                for number in range(300):
                    with batch.get_sink_handle(SourceUrl(f"/host/{number % 3}/log")) as handle:
                        handle.close(metainfo())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    with DefaultFileStorage(str(base)) as storage:
        assert len(ids(storage)) == 600


def test_no_descriptor_left_is_a_clear_error_and_leaks_nothing(base):
    with DefaultFileStorage(str(base)) as storage:
        store(storage)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        before = sorted(int(name) for name in os.listdir("/proc/self/fd"))
        outcomes = []
        for free in range(8):
            # What is above a hole may be closed only at the end; the limit is for new numbers alone.
            filler = [os.dup(before[0])]
            while filler[-1] < before[-1] + 3:
                filler.append(os.dup(before[0]))
            resource.setrlimit(resource.RLIMIT_NOFILE, (filler[-1] + 1 + free, hard))
            try:
                store(storage)
                outcomes.append("stored")
            except StorageError as error:
                outcomes.append(str(error).rpartition(": ")[2])
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                for descriptor in filler:
                    os.close(descriptor)
        assert set(outcomes) == {"Too many open files", "stored"}
        assert outcomes == sorted(outcomes)
        assert sorted(int(name) for name in os.listdir("/proc/self/fd")) == before
        assert list(storage.find_leftovers()) == []
        assert len(ids(storage)) == 1 + outcomes.count("stored")


def test_a_query_of_very_many_elements_takes_little_memory(base):
    host = base / "host"
    host.mkdir()
    count = 20_000
    directory_fd = os.open(host, os.O_RDONLY | os.O_DIRECTORY)
    for suffix in ("data", "info"):
        (host / suffix).write_bytes(metainfo().serialize())
        for number in range(count):
            # Links: a name is all that a listing sees.
            name = f"{ElementId.label(SOURCE, number // 10, BackupType.FULL, number % 10).file_stem}.{suffix}"
            try:
                os.link(suffix, name, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)
            except OSError:
                (host / suffix).unlink()
                (host / suffix).write_bytes(metainfo().serialize())
                os.link(suffix, name, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)
        (host / suffix).unlink()
    os.close(directory_fd)
    with DefaultFileStorage(str(base)) as storage:
        tracemalloc.start()
        try:
            found = sum(1 for _ in storage.query_backup_data_elements())
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert found == count
    assert peak < 500 * count


def test_a_digest_of_stored_data_is_that_of_what_was_written(storage):
    data = os.urandom(3_000_000)
    with storage.get_sink_handle(SOURCE) as handle:
        for offset in range(0, len(data), 65_537):
            handle.write(data[offset : offset + 65_537])
        element = handle.close(metainfo(StorageFileChecksumSha512=hashlib.sha512(data).digest()))
    with element.get_data_stream() as stream:
        assert hashlib.sha512(stream.read()).digest() == element.get_metadata().checksum


@pytest.mark.parametrize("suffix", ["lock", "info"])
def test_what_is_locked_by_a_file_or_unreadable_is_not_held_and_leaves_nothing_open(storage, base, suffix):
    element = store(storage)
    (base / f"{str(element.get_element_id())[1:]}.{suffix}").write_bytes(b"{")
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ElementLockedError if suffix == "lock" else MetainfoError):
        storage.hold_backup_data_element(element.get_element_id())
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


def test_nothing_is_stored_or_deleted_in_a_directory_that_another_one_took_the_place_of(tmp_path):
    (tmp_path / "data").mkdir()
    with DefaultFileStorage(str(tmp_path / "data")) as storage:
        with storage.get_sink_handle(SOURCE) as handle:
            kept = handle.close(metainfo())
        storage.check_in_place()
        handles = [storage.get_sink_handle(SOURCE) for _ in range(3)]
        (tmp_path / "data").rename(tmp_path / "hidden")
        (tmp_path / "data").mkdir()
        refused = storage.close_together([(handle, metainfo(TIME + 1)) for handle in handles[:2]])
        assert [type(error) for error in refused] == [StorageReplacedError] * 2
        for attempt in (
            storage.check_in_place,
            lambda: handles[2].close(metainfo(TIME + 1)),
            kept.delete,
        ):
            with pytest.raises(
                StorageReplacedError, match=r"data is another directory than when it was opened"
            ):
                attempt()
        assert [type(error) for error in storage.delete_elements([kept])] == [StorageReplacedError]
        kept.check_present()
    assert sorted(os.listdir(tmp_path / "hidden/host")) == [f"{STEM}.data", f"{STEM}.info"]
    assert os.listdir(tmp_path / "data") == []
