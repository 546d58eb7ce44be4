"""A chain of archives replayed into a directory."""

import contextlib
import os
import socket
from pathlib import Path

import pytest
from failing_tar import failing_tar
from hand_made import make_incremental
from limited_tar import limit_tar
from trees import describe_tree

from guerillabackup.errors import ElementNotFoundError, IntegrityError
from guerillabackup.restore.interface import Content
from guerillabackup.restore.member_patterns import MemberPatterns
from guerillabackup.restore.replay import ArchiveReplay
from guerillabackup.restore.target import RestoreTarget
from guerillabackup.restore.unpack import Unpacker

ARCHIVE = Content(("zstd",), True)


@pytest.fixture
def replaying(house):
    """A replay of elements, and the new directory it goes into."""

    @contextlib.contextmanager
    def make(elements, *patterns, contents=None):
        with house.service() as service:
            unpacker = Unpacker(service.tools, service.decoder)
            contents = contents or [ARCHIVE] * len(elements)
            replay = ArchiveReplay(service.decoder, unpacker, elements, contents, MemberPatterns(patterns))
            with RestoreTarget(str(house.path / "out"), into_existing=False) as target:
                yield replay, target

    return make


@pytest.fixture
def source(house):
    source = house.source(records_moves=True)
    for name in ("dir/a", "dir/b", "top"):
        (source.tree / name).parent.mkdir(exist_ok=True)
        (source.tree / name).write_text(name)
    return source


def test_what_was_changed_deleted_and_moved_is_so_in_the_end(replaying, source):
    elements = [source.back_up("full")]
    (source.tree / "dir" / "a").unlink()
    (source.tree / "dir").rename(source.tree / "moved")
    elements.append(source.back_up("inc"))
    (source.tree / "top").write_text("changed")
    elements.append(source.back_up("inc"))
    with replaying(elements) as (replay, target):
        replay.survey()
        replay.run(target)
        assert (replay.problems, replay.warnings) == ([], [])
        assert describe_tree(target.path) == describe_tree(source.tree)


def test_patterns_choose_by_the_names_in_the_end(replaying, source, house):
    elements = [source.back_up("full")]
    (source.tree / "dir").rename(source.tree / "moved")
    elements.append(source.back_up("inc"))
    with replaying(elements, "moved/a") as (replay, target):
        replay.survey()
        replay.run(target)
    files = [str(path.relative_to(house.path / "out")) for path in (house.path / "out").rglob("*")]
    assert sorted(files) == ["moved", "moved/a"]


def test_a_pattern_without_a_match_is_refused_by_the_survey(replaying, source):
    with replaying([source.back_up("full")], "top", "zz") as (replay, target):
        with pytest.raises(ElementNotFoundError, match="no member matches 'zz'"):
            replay.survey()
        assert os.listdir(target.path) == []


def test_what_is_no_archive_is_refused_by_the_survey(replaying, source):
    elements = [source.back_up("full"), source.store("inc", b"no archive")]
    contents = [ARCHIVE, Content(("zstd",), False)]
    with (
        replaying(elements, contents=contents) as (replay, _),
        pytest.raises(IntegrityError, match="is not an archive"),
    ):
        replay.survey()


def test_a_problem_is_told_with_its_element(replaying, source, house, monkeypatch):
    element = source.back_up("full")
    failing_tar(house.path, monkeypatch, "./top: Cannot open: Input/output error")
    with replaying([element]) as (replay, target):
        replay.survey()
        replay.run(target)
        assert replay.problems == [
            f"element {element.get_element_id()}: ./top: Cannot open: Input/output error"
        ]


def put_socket(path, monkeypatch):
    """A socket of that name; a whole path may be too long for one."""
    monkeypatch.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path.name)


def replayed(replaying, elements, *patterns):
    """The replay, and what is restored, by name: content of files, None for directories."""
    with replaying(elements, *patterns) as (replay, target):
        replay.survey()
        replay.run(target)
        found = {
            str(path.relative_to(target.path)): path.read_text() if path.is_file() else None
            for path in Path(target.path).rglob("*")
        }
        return replay, found


WHY = "(a socket, or it vanished or was unreadable while the backup ran)"


@pytest.mark.parametrize("later", [0, 1, 2])
@pytest.mark.parametrize("patterns", [(), ("dir/*",)])
def test_a_file_that_a_socket_took_the_place_of_is_not_restored(
    replaying, source, monkeypatch, later, patterns
):
    elements = [source.back_up("full")]
    (source.tree / "dir" / "a").unlink()
    put_socket(source.tree / "dir" / "a", monkeypatch)
    elements.append(source.back_up("inc"))
    elements += [source.back_up("inc") for _ in range(later)]
    replay, found = replayed(replaying, elements, *patterns)
    assert found == {"dir": None, "dir/b": "dir/b"} | ({} if patterns else {"top": "top"})
    assert replay.problems == []
    assert replay.warnings == [
        f"'dir/a' was there but could not be archived {WHY}; what an older element had is left out"
    ]


def test_older_content_of_a_directory_that_could_not_be_read_is_kept_and_told(
    replaying, source, house, monkeypatch
):
    elements = [source.back_up("full")]
    limit_tar(house.path, monkeypatch)
    (source.tree / "dir" / "a").write_text("changed")
    (source.tree / "dir").chmod(0)
    elements.append(source.back_up("inc", extra=["--ignore-failed-read"]))
    (source.tree / "dir").chmod(0o755)
    replay, found = replayed(replaying, elements)
    assert found == {"dir": None, "dir/a": "dir/a", "dir/b": "dir/b", "top": "top"}
    (warning,) = replay.warnings
    assert warning.startswith("'dir' could not be read while the last backup ran: what is restored of it is")


@pytest.mark.parametrize("later", [0, 1])
def test_how_much_could_not_be_read_is_told_where_the_last_element_says_so(replaying, source, later):
    elements = [source.back_up("full")]
    content = make_incremental({b"./": b"Ddir\0Ntop\0\0", b"./dir/": b"Na\0Nb\0\0"})
    elements.append(source.store("inc", content, Unreadable=2))
    elements += [source.back_up("inc") for _ in range(later)]
    replay, _ = replayed(replaying, elements)
    told = f"element {elements[1].get_element_id()}: 2 names could not be read when it was made"
    assert [warning.startswith(told) for warning in replay.warnings] == [True] * (1 - later)


def test_times_of_a_directory_stay_when_what_a_socket_replaced_goes(replaying, source, house, monkeypatch):
    elements = [source.back_up("full")]
    (source.tree / "dir" / "a").unlink()
    put_socket(source.tree / "dir" / "a", monkeypatch)
    os.utime(source.tree / "dir", (1_000, 2_000))
    elements.append(source.back_up("inc"))
    replayed(replaying, elements)
    assert os.stat(house.path / "out" / "dir").st_mtime == 2_000


def test_a_deleted_file_whose_name_a_socket_has_later_is_not_missing(replaying, source, monkeypatch):
    elements = [source.back_up("full")]
    (source.tree / "dir" / "a").unlink()
    elements.append(source.back_up("inc"))
    put_socket(source.tree / "dir" / "a", monkeypatch)
    elements.append(source.back_up("inc"))
    replay, found = replayed(replaying, elements)
    assert "dir/a" not in found
    assert replay.problems == []
    assert replay.warnings == [
        f"'dir/a' was there but could not be archived {WHY}; what an older element had is left out"
    ]


def test_a_file_in_a_moved_directory_that_became_a_socket_is_told_by_its_last_name(
    replaying, source, monkeypatch
):
    elements = [source.back_up("full")]
    (source.tree / "dir" / "a").unlink()
    put_socket(source.tree / "dir" / "a", monkeypatch)
    elements.append(source.back_up("inc"))
    (source.tree / "dir").rename(source.tree / "moved")
    elements.append(source.back_up("inc"))
    replay, found = replayed(replaying, elements)
    assert found == {"moved": None, "moved/b": "dir/b", "top": "top"}
    assert replay.problems == []
    assert ["'moved/a' was there" in text for text in replay.warnings] == [True]


@pytest.mark.parametrize("end", ["file", "nothing"])
def test_a_socket_that_is_gone_in_the_end_is_not_told_of(replaying, source, monkeypatch, end):
    elements = [source.back_up("full")]
    (source.tree / "dir" / "a").unlink()
    put_socket(source.tree / "dir" / "a", monkeypatch)
    elements.append(source.back_up("inc"))
    (source.tree / "dir" / "a").unlink()
    if end == "file":
        (source.tree / "dir" / "a").write_text("new")
    elements.append(source.back_up("inc"))
    replay, found = replayed(replaying, elements)
    assert found.get("dir/a") == ("new" if end == "file" else None)
    assert (replay.problems, replay.warnings) == ([], [])


def test_what_vanished_while_the_backup_ran_is_told_of_a_few_by_name(replaying, source):
    names = [f"f{number}" for number in range(7)]
    for name in names:
        (source.tree / name).write_text("old")
    elements = [source.back_up("full")]
    record = "".join(f"Y{name}\0" for name in names)
    elements.append(source.store("inc", make_incremental({b"./": f"{record}Ntop\0\0".encode()})))
    replay, found = replayed(replaying, elements)
    assert found == {"top": "top"}
    assert replay.problems == []
    assert replay.warnings == [
        f"'f0', 'f1', 'f2', 'f3', 'f4' and 2 more were there but could not be archived {WHY}; "
        "what an older element had is left out"
    ]
