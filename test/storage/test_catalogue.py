"""The catalogue: whatever happens to storage and index, its answers are those of a walk."""

import contextlib
import os
import random
import resource
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from guerillabackup.element import BackupElementMetainfo, BackupType, SourceUrl
from guerillabackup.errors import StorageError
from guerillabackup.storage.catalogue import YOUNG, Catalogue
from guerillabackup.storage.default_file import DefaultFileStorage
from guerillabackup.storage.interface import ALL_ELEMENTS, ElementSelection, StorageInterface
from guerillabackup.storage.registry import catalogue_path

START = 1_700_000_000


ELSEWHERE = b'{"BackupType": "full", "DataUuid": "dQ==", "Timestamp": 1700000000}'
"""What a link in the storage leads to: good metadata, which is none of the storage's."""


def put(base, folder, stem, *, info=None, data=b"data", uuid=b"u", timestamp=START):
    """An element as files, as a foreign program would put them there."""
    directory = Path(base, folder)
    directory.mkdir(parents=True, exist_ok=True)
    if any((directory / f"{stem}.{suffix}").is_fifo() for suffix in ("data", "info")):
        return  # writing there would wait
    if info is None:
        kind = stem.rsplit("-", 1)[1]
        info = BackupElementMetainfo(
            {"BackupType": kind, "Timestamp": timestamp, "DataUuid": uuid}
        ).serialize()
    for suffix, content in (("data", data), ("info", info)):
        path = directory / f"{stem}.{suffix}"
        if path.is_symlink():
            path.unlink()  # nothing is written to where a link leads
        path.write_bytes(content)


class Subject:
    """A storage and its catalogue; `later` makes everything that is there old enough to be believed."""

    def __init__(self, path):
        self.base = path / "data"
        self.base.mkdir()
        (path / "state").mkdir()
        self.index = catalogue_path(str(path / "state"), str(self.base))
        self.storage = DefaultFileStorage(str(self.base), catalogue=self.index)
        self.is_later = True
        self.asked = 0

    def catalogue(self):
        return Catalogue(str(self.base), self.index, self._open_storage, self._now)

    def _open_storage(self):
        self.asked += 1
        return self.storage

    def _now(self):
        return time.time_ns() + (YOUNG if self.is_later else 0)

    def check(self, selection=ALL_ELEMENTS):
        """The answers of the catalogue, which are those of the walk, errors too."""
        ids = outcome(lambda: StorageInterface.list_ids(self.storage, selection))
        facts = outcome(lambda: StorageInterface.list_facts(self.storage, selection))
        assert outcome(lambda: self.catalogue().list_ids(selection)) == ids
        assert outcome(lambda: self.catalogue().list_facts(selection)) == facts
        return ids[0]


def outcome(listing):
    found, problem = [], None
    try:
        found.extend(listing())
    except StorageError as error:
        problem = str(error)
    return found, problem


@pytest.fixture
def subject(tmp_path):
    subject = Subject(tmp_path)
    with subject.storage:
        yield subject


SOURCES = ["/host/etc", "/host/etc.members", "/host/etc/deep", "/host-a/x-full", "/top"]
STEMS = [
    "20240101000000-{}-full",
    "20240101000000-{}-inc",
    "202401010000003-{}-full",
    "20240102000000-{}-inc",
]
SELECTIONS = [
    ALL_ELEMENTS,
    ElementSelection(with_members=False),
    ElementSelection("/host/etc"),
    ElementSelection("/host"),
    ElementSelection("/h*"),
    ElementSelection.of_source(SourceUrl("/host/etc")),
    ElementSelection(backup_type=BackupType.INC),
    ElementSelection(since=START + 1, until=START + 2),
    ElementSelection(data_uuids=frozenset((b"u1",))),
]
SOURCE = st.sampled_from(SOURCES)
STEM = st.sampled_from(STEMS)


class CatalogueMachine(RuleBasedStateMachine):
    """Anything at all is done to a storage and to its catalogue."""

    def __init__(self):
        super().__init__()
        self.path = Path(tempfile.mkdtemp())
        self.subject = Subject(self.path)
        self.elsewhere = self.path / "elsewhere"
        self.elsewhere.write_bytes(ELSEWHERE)

    def teardown(self):
        self.subject.storage.close()
        assert self.elsewhere.read_bytes() == ELSEWHERE
        for directory, _, _ in os.walk(self.path):
            os.chmod(directory, 0o700)
        shutil.rmtree(self.path)

    def files(self, source, stem):
        folder, name = source[1:].rpartition("/")[::2]
        return self.subject.base / folder, stem.format(name)

    @rule(source=SOURCE, timestamp=st.integers(0, 3))
    def store(self, source, timestamp):
        info = BackupElementMetainfo({"BackupType": "full", "Timestamp": START + timestamp})
        with self.subject.storage.get_sink_handle(SourceUrl(source)) as handle:
            handle.write(b"data")
            handle.close(info)

    @rule(source=SOURCE, stem=STEM, number=st.integers(0, 3))
    def copy_from_elsewhere(self, source, stem, number):
        folder, name = self.files(source, stem)
        with contextlib.suppress(OSError):
            put(folder, "", name, uuid=b"u%d" % number, timestamp=START + number)

    @rule(source=SOURCE, stem=STEM, content=st.sampled_from([b"{", b"", b"x" * 600_000, b'{"BackupType":1}']))
    def break_metadata(self, source, stem, content):
        folder, name = self.files(source, stem)
        with contextlib.suppress(OSError):
            put(folder, "", name, info=content)

    @rule(source=SOURCE, stem=STEM, suffix=st.sampled_from(["data", "info", "note"]))
    def remove(self, source, stem, suffix):
        folder, name = self.files(source, stem)
        with contextlib.suppress(OSError):
            (folder / f"{name}.{suffix}").unlink()

    @rule(number=st.integers(0, 9))
    def delete(self, number):
        for place, element in enumerate(list(self.subject.storage.query_backup_data_elements())):
            if place == number:
                element.delete()

    @rule(source=SOURCE, stem=STEM, suffix=st.sampled_from(["data", "info"]), number=st.integers(0, 3))
    def rewrite_in_place_and_put_the_time_back(self, source, stem, suffix, number):
        folder, name = self.files(source, stem)
        path = folder / f"{name}.{suffix}"
        with contextlib.suppress(OSError):
            before = path.lstat()
            if not stat.S_ISREG(before.st_mode):
                return
            text = path.read_bytes()
            path.write_bytes(text.replace(b"17000000", b"1700000%d" % number) + b" ")
            os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    @rule(source=SOURCE, stem=STEM, other=STEM)
    def rename_and_put_the_folders_time_back(self, source, stem, other):
        folder, name = self.files(source, stem)
        new = self.files(source, other)[1]
        with contextlib.suppress(OSError):
            before = folder.stat()
            for suffix in ("data", "info"):
                (folder / f"{name}.{suffix}").rename(folder / f"{new}.{suffix}")
            os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))

    @rule(source=SOURCE, seconds=st.sampled_from([0, 1, START, 4_000_000_000, 20_000_000_000]))
    def set_the_time_of_a_folder_or_file(self, source, seconds):
        folder = self.files(source, "")[0]
        with contextlib.suppress(OSError):
            for path in (folder, *folder.glob("*.info")):
                os.utime(path, (seconds, seconds), follow_symlinks=False)

    @rule(source=SOURCE, other=SOURCE)
    def swap_folders(self, source, other):
        one, two = self.files(source, "")[0], self.files(other, "")[0]
        if self.subject.base in (one, two):
            return  # whoever has it open keeps the old one
        with contextlib.suppress(OSError):
            aside = self.path / "aside"
            one.rename(aside)
            with contextlib.suppress(OSError):
                two.rename(one)
            aside.rename(two if not two.exists() else self.subject.base / "third")

    @rule(source=SOURCE, stem=STEM, kind=st.sampled_from(["link", "folder", "fifo", "odd"]))
    def put_something_odd(self, source, stem, kind):
        folder, name = self.files(source, stem)
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{name}.info"
            if kind == "link":
                path.symlink_to(self.elsewhere)
            elif kind == "folder":
                path.mkdir()
            elif kind == "fifo":
                os.mkfifo(path)
            else:
                os.mkdir(os.fsencode(folder) + b"/\xff\n")
                (folder / "\n-x-full.info").touch()
                (folder / "link").symlink_to("..")

    @rule(position=st.floats(0, 1), length=st.integers(1, 600), seed=st.integers(0, 99))
    def damage_the_index(self, position, length, seed):
        with contextlib.suppress(OSError), open(self.subject.index, "r+b") as stream:
            size = os.fstat(stream.fileno()).st_size
            stream.seek(int(size * position))
            stream.write(random.Random(seed).randbytes(min(length, max(1, size - stream.tell()))))

    @rule(position=st.floats(0, 1))
    def cut_the_index(self, position):
        with contextlib.suppress(OSError):
            os.truncate(self.subject.index, int(os.stat(self.subject.index).st_size * position))

    @rule(text=st.sampled_from([b"", b"not a database at all"]))
    def replace_the_index(self, text):
        Path(self.subject.index).parent.mkdir(exist_ok=True)
        Path(self.subject.index).write_bytes(text)

    @rule(table=st.sampled_from(["element", "folder", "storage"]))
    def take_something_out_of_the_index(self, table):
        with (
            contextlib.suppress(sqlite3.Error),
            contextlib.closing(sqlite3.connect(self.subject.index)) as db,
        ):
            key = "name" if table == "element" else "path"
            db.execute(f"DELETE FROM {table} WHERE {key} = (SELECT max({key}) FROM {table})")
            db.commit()

    @rule()
    def remove_the_index(self):
        shutil.rmtree(self.path / "state" / "catalogue", ignore_errors=True)

    @rule(is_later=st.booleans())
    def let_time_pass_or_not(self, is_later):
        self.subject.is_later = is_later

    @rule(selection=st.sampled_from(SELECTIONS), count=st.integers(0, 3))
    def stop_listing_in_the_middle(self, selection, count):
        listing = self.subject.catalogue().list_facts(selection)
        with contextlib.suppress(StorageError):
            for _ in zip(range(count), listing, strict=False):
                pass
        listing.close()

    @rule(selection=st.sampled_from(SELECTIONS))
    def compare(self, selection):
        self.subject.check(selection)

    @invariant()
    def the_answers_are_those_of_the_walk(self):
        self.subject.check()


TestAnyHistory = CatalogueMachine.TestCase
TestAnyHistory.settings = settings(
    max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)


def fill(subject, count=20):
    for number in range(count):
        for folder, source in (("host", "etc"), ("host", "log"), ("top/deep", "x")):
            put(subject.base, folder, f"202401010000{number:02}-{source}-full", timestamp=START + number)


def child(subject, instructions):
    script = Path(__file__).with_name("catalogue_child.py")
    command = [sys.executable, str(script), str(subject.base), subject.index, str(instructions)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    output, errors = process.communicate(timeout=60)
    return process.returncode, output, errors


def test_what_has_not_changed_is_not_read_again(subject):
    fill(subject)
    expected = subject.check()
    listed = strace(subject)
    assert listed.stdout.count("\n") == len(expected)
    assert reads(listed) == []
    shutil.rmtree(Path(subject.index).parent)
    assert len(reads(strace(subject))) > 40  # so it is seen


def reads(listed):
    return [line for line in listed.stderr.splitlines() if ".info" in line or "getdents" in line]


def strace(subject):
    """What a process that lists the storage opens and lists below it."""
    command = [sys.executable, str(Path(__file__).with_name("catalogue_child.py")), str(subject.base)]
    trace = ["strace", "-y", "-e", "trace=openat,getdents64", "-P", str(subject.base / "host")]
    return subprocess.run([*trace, *command, subject.index, "0"], capture_output=True, text=True, check=True)


def test_a_process_that_is_killed_anywhere_leaves_a_catalogue_that_answers_right(subject):
    fill(subject)
    expected = finish(child(subject, 0))[1]
    assert expected.count("\n") == 60
    shutil.rmtree(Path(subject.index).parent)
    instructions, killed = 1, 0
    while True:
        status, _, _ = finish(child(subject, instructions))
        subject.check()
        if status == 0:
            break
        assert status == -9
        killed += 1
        shutil.rmtree(Path(subject.index).parent)
        instructions = instructions * 3 // 2 + 1
    assert killed > 15


def test_killed_again_and_again_in_the_same_catalogue_the_answers_stay_right(subject):
    fill(subject)
    expected = finish(child(subject, 0))[1]
    for instructions in range(100, 6000, 450):
        os.utime(subject.base / "host", (instructions, instructions))
        (subject.base / "top" / "deep" / f"new{instructions}").touch()
        finish(child(subject, instructions))
        assert finish(child(subject, 0))[1] == expected


def test_several_processes_that_write_at_once_all_answer_right(subject):
    fill(subject)
    expected = finish(child(subject, 0))[1]
    for turn in range(6):
        for folder in ("", "host", "top", "top/deep"):
            os.utime(subject.base / folder, (turn, turn))
        if turn == 3:
            Path(subject.index).write_bytes(b"damaged")
        running = [child(subject, 0) for _ in range(4)]
        assert [finish(process)[:2] for process in running] == [(0, expected)] * 4


@pytest.mark.parametrize("kind", ["read-only", "writable by others", "a link", "full"])
def test_where_no_catalogue_may_be_written_the_storage_is_walked(subject, kind, tmp_path):
    fill(subject, 3)
    directory = Path(subject.index).parent
    if kind == "read-only":
        directory.write_text("no directory")
    elif kind == "writable by others":
        directory.mkdir()
        directory.chmod(0o777)
    elif kind == "a link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        directory.symlink_to(tmp_path / "elsewhere")
    else:
        subject.check()
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)
        previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            fill(subject, 9)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limit[1]))
            subject.check()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
            signal.signal(signal.SIGXFSZ, previous)
    subject.check()
    assert kind == "full" or not Path(subject.index).exists()


def test_a_catalogue_of_another_storage_or_version_is_made_anew(subject):
    fill(subject, 3)
    subject.check()
    for change in ("UPDATE storage SET path = '/other'", "PRAGMA user_version = 999", "DROP TABLE folder"):
        with contextlib.closing(sqlite3.connect(subject.index)) as index:
            index.execute(change)
            index.commit()
        for _ in range(2):
            subject.check()
        with contextlib.closing(sqlite3.connect(subject.index)) as index:
            assert index.execute("SELECT count(*) FROM element").fetchone() == (9,)


def test_a_folder_of_more_rows_than_a_page_is_listed_whole_and_in_order(subject):
    for number in range(2500):
        put(subject.base, "host", f"20240101{number:06}-x-full")
    for _ in range(3):
        assert len(subject.check()) == 2500
    put(subject.base, "host", "20240101001200-a-full")
    assert len(subject.check()) == 2501
    with contextlib.closing(sqlite3.connect(subject.index)) as index:
        index.execute("DELETE FROM element WHERE name LIKE '20240101002%'")
        index.execute("UPDATE element SET timestamp = 1 WHERE name LIKE '202401010013%'")
        index.commit()
    for _ in range(3):
        assert len(subject.check()) == 2501
