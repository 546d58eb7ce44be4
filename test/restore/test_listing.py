"""The members of a state, from the archives of its chain."""

import os
import random
import stat

import pytest
from hand_made import make_incremental
from trees import ChangingTree

from guerillabackup.element import SourceUrl
from guerillabackup.errors import ElementNotFoundError
from guerillabackup.restore.interface import ListedMember


def listed(house, *includes):
    with house.service() as service:
        return list(service.list_members(service.find_chain(SourceUrl("/host/tree")), includes))


def expected(tree):
    """What a listing of the tree has to tell, read from the tree itself."""
    found = {}
    for directory, directories, files in os.walk(os.fsencode(tree)):
        for name in (b".", *files, *directories):
            path = os.path.normpath(os.path.join(directory, name))
            status = os.stat(path, follow_symlinks=False)
            is_file = os.path.isfile(path) and not os.path.islink(path) and status.st_nlink == 1
            relative = os.path.relpath(path, os.fsencode(tree))
            found[relative] = (status.st_size if is_file else None, int(status.st_mtime))
    return found


@pytest.mark.parametrize("seed", range(3))
def test_each_member_is_listed_once_with_what_it_is_like_after_any_changes(house, seed):
    source = house.source()
    changing = ChangingTree(source.tree, random.Random(seed))
    changing.change(30)
    source.back_up("full")
    for _ in range(4):
        changing.change(6)
        source.back_up("inc")
    members = listed(house)
    assert len({each.name for each in members}) == len(members)
    wanted = expected(source.tree)
    assert sorted(wanted) == sorted(each.name for each in members)
    assert all(each.mtime == wanted[each.name][1] for each in members)
    sizes = {
        each.name: each.size for each in members if each.type == "file" and wanted[each.name][0] is not None
    }
    assert sizes == {name: wanted[name][0] for name in sizes}


def test_what_is_unchanged_in_a_directory_that_was_moved_is_found_under_its_old_name(house):
    source = house.source(records_moves=True)
    (source.tree / "old").mkdir()
    (source.tree / "old" / "file").write_text("12345")
    source.back_up("full")
    (source.tree / "old").rename(source.tree / "new")
    source.back_up("inc")
    assert {each.name: each.size for each in listed(house)} == {b".": None, b"new": None, b"new/file": 5}


def test_a_name_that_was_never_archived_is_listed_without_what_nothing_tells(house):
    source = house.source()
    source.back_up("full")
    source.store("inc", make_incremental({b"./": b"Nsocket\0\0"}))
    (socket,) = [each for each in listed(house) if each.name == b"socket"]
    assert (socket.type, socket.size, socket.mtime) == (None, None, None)


@pytest.mark.parametrize("later", [0, 1, 2])
def test_of_a_socket_nothing_is_told_that_the_file_of_its_name_was(house, later):
    source = house.source()
    for name in ("file", "other"):
        (source.tree / name).write_text("12345")
    source.back_up("full")
    (source.tree / "file").unlink()
    os.mknod(source.tree / "file", stat.S_IFSOCK | 0o600)
    for _ in range(1 + later):
        source.back_up("inc")
    members = {each.name: each for each in listed(house)}
    assert members[b"other"].size == 5
    assert later == 0 or members[b"file"] == ListedMember(b"file", None, None, None)
    assert later > 0 or b"file" not in members


def test_what_was_deleted_and_made_again_is_listed_as_it_is_now(house):
    source = house.source()
    for text in (b"first", b"second time"):
        (source.tree / "again").write_bytes(text)
        source.back_up("full" if text == b"first" else "inc")
        (source.tree / "again").unlink()
        source.back_up("inc")
    (source.tree / "again").write_bytes(b"third")
    source.back_up("inc")
    (source.tree / "other").write_bytes(b"")
    source.back_up("inc")
    assert {each.name: each.size for each in listed(house, "again")} == {b"again": 5}


@pytest.mark.parametrize("kind", ["full", "inc"])
def test_patterns_that_match_nothing_are_told_after_what_others_match(house, kind):
    source = house.source()
    (source.tree / "a").write_text("a")
    source.back_up("full")
    if kind == "inc":
        source.back_up("inc")
    with house.service() as service:
        members = service.list_members(service.find_chain(source.source_url), ["y", "a", "z*"])
        assert next(members).name == b"a"
        with pytest.raises(ElementNotFoundError, match=r"matches 'y', 'z\*'; "):
            next(members)
