"""Archives unpacked by tar, and what it means when tar complains."""

import os
import tarfile

import pytest
from failing_tar import failing_tar
from hand_made import make_incremental

from guerillabackup.errors import IntegrityError, StorageFullError
from guerillabackup.restore.interface import Content
from guerillabackup.restore.unpack import MAX_PROBLEMS, Unpacker, leaves_files_whole

ARCHIVE = Content(("zstd",), True)


@pytest.fixture
def unpack(house):
    """Unpacks an element into `out`; what tar said."""
    (house.path / "out").mkdir()

    def run(element, **options):
        with house.service() as service:
            unpacker = Unpacker(service.tools, service.decoder)
            return unpacker.unpack(element, ARCHIVE, str(house.path / "out"), **options)

    return run


def test_a_full_is_unpacked_over_what_is_there(house, unpack):
    source = house.source()
    (source.tree / "file").write_text("new")
    (house.path / "out" / "mine").write_text("mine")
    outcome = unpack(source.back_up("full"), incremental=False)
    assert (outcome.warnings, outcome.problems) == ((), ())
    assert sorted(os.listdir(house.path / "out")) == ["file", "mine"]


def test_an_incremental_deletes_what_it_does_not_list(house, unpack):
    source = house.source()
    source.back_up("full")
    (source.tree / "file").write_text("new")
    (house.path / "out" / "deleted").write_text("old")
    unpack(source.back_up("inc"), incremental=True)
    assert os.listdir(house.path / "out") == ["file"]


def test_only_members_that_are_wanted_are_unpacked(house, unpack):
    source = house.source()
    for name in ("a", "b"):
        (source.tree / name).write_text(name)
    unpack(source.back_up("full"), incremental=False, is_wanted=lambda member: member.name == b"./b")
    assert os.listdir(house.path / "out") == ["b"]


def test_renames_are_not_left_to_tar(house, unpack):
    (house.path / "out" / "old").mkdir()
    archive = make_incremental({b"./": b"Dnew\0Rold\0Tnew\0\0", b"./new/": b"\0"})
    unpack(house.source().store("inc", archive), incremental=True)
    assert os.listdir(house.path / "out") == ["new"]
    (house.path / "out" / "new").rmdir()


def test_what_tar_cannot_make_is_a_problem_that_names_it_to_its_end(house, unpack):
    long = "x" * 300
    archive = make_incremental({}, [(long, tarfile.REGTYPE, b"content"), ("short", tarfile.REGTYPE, b"x")])
    outcome = unpack(house.source().store("full", archive), incremental=False)
    assert outcome.problems == (f"{long}: Cannot open: File name too long",)
    assert os.listdir(house.path / "out") == ["short"]


def test_of_a_flood_of_problems_the_first_are_told_and_the_rest_counted(house, unpack, monkeypatch):
    element = house.source().back_up("full")
    failing_tar(
        house.path, monkeypatch, *(f"{number}: Cannot open: No" for number in range(MAX_PROBLEMS + 20))
    )
    outcome = unpack(element, incremental=False)
    assert outcome.problems[-1] == "20 more lines of tar"
    assert len(outcome.problems) == MAX_PROBLEMS + 1


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("Unexpected EOF in archive", IntegrityError),
        ("f: Cannot write: No space left on device", StorageFullError),
    ],
)
def test_what_leaves_nothing_to_go_on_with_is_an_error_with_the_element(
    house, unpack, monkeypatch, line, kind
):
    element = house.source().back_up("full")
    failing_tar(house.path, monkeypatch, line)
    with pytest.raises(kind, match="20231114221320-tree-full cannot be unpacked"):
        unpack(element, incremental=False)


@pytest.mark.parametrize("is_right", [True, False])
def test_a_file_is_there_only_when_its_content_is_right(house, is_right):
    changes = {} if is_right else {"StorageFileChecksumSha512": bytes(64)}
    element = house.source().store("full", b"content", **changes)
    descriptor = os.open(house.path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with house.service() as service:
            write = Unpacker(service.tools, service.decoder).write_file
            if is_right:
                write(element, Content(("zstd",), False), descriptor, "log")
                assert (house.path / "log").read_bytes() == b"content"
                assert (house.path / "log").stat().st_mtime == element.get_metadata().timestamp
            else:
                with pytest.raises(IntegrityError):
                    write(element, Content(("zstd",), False), descriptor, "log")
                assert not (house.path / "log").exists()
    finally:
        os.close(descriptor)


def test_only_rights_that_lack_leave_files_whole():
    assert leaves_files_whole("./dev: Cannot mknod: Operation not permitted")
    assert not leaves_files_whole("./file: Cannot write: Input/output error")
