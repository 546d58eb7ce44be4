"""Archives unpacked by tar, and what it means when tar complains."""

import io
import os
import subprocess
import tarfile

import pytest
from failing_tar import failing_tar
from hand_made import make_incremental
from ordinary_user import NOBODY, as_user, user_place  # noqa: F401 - a fixture
from sample_source import SampleSource
from terminal import PROGRAM
from trees import describe_tree

from guerillabackup.errors import IntegrityError, StorageFullError
from guerillabackup.osfile import write_all
from guerillabackup.pipeline.confinement import Confinement
from guerillabackup.restore.interface import Content
from guerillabackup.restore.unpack import MAX_PROBLEMS, Unpacker, leaves_files_whole, tar_arguments
from guerillabackup.storage.registry import open_storage

FILE, SYMBOLIC, HARD = tarfile.REGTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
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


def test_an_archive_without_an_end_mark_is_warned_of(house, unpack):
    source = house.source()
    (source.tree / "file").write_text("content")
    path = house.path / "archive.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        archive.add(source.tree / "file", "file")
    outcome = unpack(source.store("full", path.read_bytes()[:1024]), incremental=False)
    assert os.listdir(house.path / "out") == ["file"]
    assert "no end mark" in outcome.warnings[0]
    assert outcome.problems == ()


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


DECEPTIONS = {
    "a link and a file through it": [("way", SYMBOLIC, "{outside}"), ("way/file", FILE, b"changed")],
    "a link and a new file through it": [("way", SYMBOLIC, "{outside}"), ("way/new", FILE, b"new")],
    "a link out and back": [("way", SYMBOLIC, "../outside"), ("way/directory", tarfile.DIRTYPE, "")],
    "an absolute name": [("{outside}/new", FILE, b"new")],
    "a name with dots": [("../outside/new", FILE, b"new")],
    "a hard link, written through": [("link", HARD, "{outside}/file"), ("link", FILE, b"changed")],
    "a link in the place of a file": [("{outside}/file", SYMBOLIC, "elsewhere")],
    "a pipe in the place of a file": [("{outside}/file", tarfile.FIFOTYPE, "")],
}
"""What tar does outside when nothing is looked at before, and names and links are taken as they are."""


@pytest.mark.parametrize("deception", DECEPTIONS)
def test_tar_that_was_let_down_by_all_that_comes_before_it_changes_nothing_outside(house, deception):
    for is_confined in (False, True):
        place = house.path / ("confined" if is_confined else "free")
        (place / "inside").mkdir(parents=True)
        (place / "outside").mkdir()
        (place / "outside" / "file").write_text("content")
        outside = str(place / "outside")
        members = [
            (name.format(outside=outside), kind, text.format(outside=outside) if kind != FILE else text)
            for name, kind, text in DECEPTIONS[deception]
        ]
        archive = make_incremental({}, members)
        before = describe_tree(outside)
        with house.service() as service:
            tools = service.tools
            walls = tools.confine(str(place / "inside")) if is_confined else Confinement("/")
            argv = tar_arguments(str(place / "inside"), incremental=False)
            argv += ["--absolute-names", "--overwrite", "--keep-directory-symlink"]
            elements = [
                tools.function(
                    lambda _, output_fd, archive=archive: write_all(output_fd, archive), "archive"
                ),
                tools.program(argv, (0, 1, 2), walls),
            ]
            with open(os.devnull, "wb") as null:
                tools.run(tools.instantiate(elements, None, null.fileno()))
        assert (describe_tree(outside) == before) == bool(walls.confined_by)


def test_only_rights_that_lack_leave_files_whole():
    assert leaves_files_whole("./dev: Cannot mknod: Operation not permitted")
    assert not leaves_files_whole("./file: Cannot write: Input/output error")


def of_owners(*owners):
    """An archive with a set-id file for each user and group, and one of 0."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for number, (uid, gid) in enumerate(owners):
            member = tarfile.TarInfo(f"file{number}")
            member.mode, member.uid, member.gid, member.size = 0o6751, uid, gid, 1
            if number == 1:  # so that it has an extended header with a number that the other one hides
                member.pax_headers = {"uid": str(uid)}
                member.uid = 0
            archive.addfile(member, io.BytesIO(b"x"))
    return buffer.getvalue()


@pytest.mark.parametrize("is_own", [False, True])
def test_an_ordinary_user_gets_no_set_id_file_of_somebody_else_and_one_warning(user_place, is_own):  # noqa: F811
    me = (NOBODY, NOBODY) if os.geteuid() == 0 else (os.getuid(), os.getgid())
    owners = [me, me] if is_own else [(4242, me[1]), (4243, 4243), (me[0], 4242)]
    with open_storage(str(user_place / "data"), create=True) as storage:
        source = SampleSource(storage, user_place)
        source.store("full", of_owners(*owners))
    if os.geteuid() == 0:
        subprocess.run(["chown", "-R", f"{NOBODY}:{NOBODY}", user_place / "data"], check=True)
    arguments = ["restore", "/host/tree", "--storage", user_place / "data", "--to", user_place / "out"]
    done = as_user([*PROGRAM, *arguments, "--config-dir", user_place / "nowhere", "--accept-unverified"])
    assert done.returncode == 0, done.stderr
    modes = [path.stat().st_mode & 0o7777 for path in sorted((user_place / "out").iterdir())]
    assert modes == ([0o6751, 0o6751] if is_own else [0o2751, 0o751, 0o4751])
    assert done.stderr.count("warning: not root: owners and groups are not restored") == (0 if is_own else 1)
