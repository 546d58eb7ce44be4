"""Deleting elements, and merging what was restored, killed at each call that changes something."""

import base64
import concurrent.futures
import hashlib
import os
import shutil
from pathlib import Path

import change_child
import pytest
from change_child import SOURCE, merge, plan_deletion
from sample_source import SampleSource
from tracer import Tracer, ordinals

from guerillabackup.storage.default_file import DefaultFileStorage

pytestmark = pytest.mark.exhaustive

STAGING = ".guerillabackup-restore-"
# fmt: off
CHANGING = frozenset((
    "link", "linkat", "unlink", "unlinkat", "mkdir", "mkdirat", "rmdir", "rename", "renameat", "renameat2",
    "write", "sendfile", "copy_file_range", "ftruncate", "fsync", "symlink", "symlinkat", "chmod", "fchmod",
    "fchmodat", "fchown", "fchownat", "utimensat", "setxattr", "fsetxattr", "removexattr", "fremovexattr",
    "flock",
))
# fmt: on


@pytest.fixture(scope="module")
def tracer(tmp_path_factory):
    one = Tracer(tmp_path_factory.mktemp("traces"), Path(change_child.__file__))
    yield one
    one.close()


def kill_each(tracer, operation, template):
    """The calls that an operation makes, and what is left by a kill at each that changes something.

    Copies have arrived in any order.
    """
    plain = tracer.run(operation, Path(shutil.copytree(template, f"{template} plain", symlinks=True)))
    assert plain.outcome == "done"
    places = [place.replace(":", ":signal=KILL:") for place in ordinals(plain.calls, CHANGING)]
    paths = [
        Path(shutil.copytree(template, f"{template} {number}", symlinks=True))
        for number in range(len(places))
    ]
    with concurrent.futures.ThreadPoolExecutor(4, "tracer") as pool:
        runs = list(pool.map(lambda one: tracer.run(operation, *one), zip(paths, places, strict=True)))
    for place, run in zip(places, runs, strict=True):
        assert (run.was_hit, run.outcome) == (True, None), place
    return plain.calls, paths


def read_elements(storage):
    """The ids of all elements; a test fails unless each is what its metadata says."""
    found = {}
    for element in storage.query_backup_data_elements():
        with element.get_data_stream() as stream:
            assert hashlib.sha512(stream.read()).digest() == element.get_metadata().checksum
        found[str(element.get_element_id())] = element.get_metadata()
    return found


def test_of_elements_that_are_deleted_each_is_whole_or_gone_and_what_is_left_is_deleted_by_the_next(
    tracer, tmp_path
):
    template = tmp_path / "data"
    template.mkdir()
    with DefaultFileStorage(str(template)) as storage:
        source = SampleSource(storage, tmp_path, source=str(SOURCE), compression=None)
        lists = SampleSource(storage, tmp_path, source=f"{SOURCE}.members", compression=None)
        for kind in ("full", "inc", "inc"):
            stored = source.store(kind, kind.encode()).get_metadata()
            uuid = base64.b64encode(stored.data_uuid).decode("ascii")
            lists.store(kind, b"names", timestamp=stored.timestamp, MembersOf=uuid)
        kept = SampleSource(storage, tmp_path, source="/host/tree-inc", compression=None).store(
            "full", b"kept"
        )
        kept = str(kept.get_element_id())
        everything = read_elements(storage)
        names = [str(each.get_element_id()) for each in storage.query_backup_data_elements(source_url=SOURCE)]
    calls, paths = kill_each(tracer, "delete", template)
    assert sum(name == "unlinkat" for name, _ in calls) >= 12
    for path in paths:
        with DefaultFileStorage(str(path)) as storage:
            found = read_elements(storage)
            assert found.keys() <= everything.keys()
            uuids = {metainfo.data_uuid for metainfo in found.values()}
            own = [
                metainfo for name, metainfo in found.items() if "-tree-" in name and "tree-inc-" not in name
            ]
            assert all(metainfo.predecessor in {None, *uuids} for metainfo in own), "without its full"
            named = {base64.b64encode(uuid).decode("ascii") for uuid in uuids}
            lists = [metainfo for name, metainfo in found.items() if ".members-" in name]
            assert all(metainfo.get("MembersOf") in named for metainfo in lists), "a list without its element"
            if own:
                elements, plan = plan_deletion(storage, names)
                assert len(plan.warnings) == len(names) - len(own)
                assert {str(each) for each in elements.delete(plan)} == found.keys() - {kept}
            assert list(read_elements(storage)) == [kept]
            assert all(leftover.ruined is None for leftover in storage.find_leftovers())


def read_tree(root):
    """What is in a directory, by path: a file's bytes, a link's target, None for a directory; no staging."""
    found = {}
    for directory, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(STAGING)]
        for name in [*folders, *files]:
            path = Path(directory) / name
            is_file = path.is_file() and not path.is_symlink()
            found[str(path.relative_to(root))] = (
                os.readlink(path) if path.is_symlink() else path.read_bytes() if is_file else None
            )
    return found


def test_a_merged_tree_has_each_file_old_or_new_and_the_next_merge_completes_it(tracer, tmp_path):
    base = tmp_path / "base"
    for name, content in (
        ("target/kept", "kept"),
        ("target/both", "old"),
        ("target/folder/both", "old" * 5000),
        ("target/folder/kept", "kept"),
        ("target/link", "old"),
        ("new/both", "new"),
        ("new/folder/both", "new" * 5000),
        ("new/folder/new", "new"),
        ("new/other/deep/new", "new"),
    ):
        path = base / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (base / "new" / "link").symlink_to("both")
    (base / "new" / "folder").chmod(0o750)
    old, new = read_tree(base / "target"), read_tree(base / "new")
    calls, paths = kill_each(tracer, "merge", base)
    assert sum(name.startswith("rename") for name, _ in calls) >= 5
    were_half = 0
    for path in paths:
        half = read_tree(path / "target")
        assert old.keys() <= half.keys() <= old.keys() | new.keys()
        for name, content in half.items():
            states = [tree[name] for tree in (old, new) if name in tree]
            assert content in states, name
        were_half += half not in (old, old | new)
        left = [name for name in os.listdir(path / "target") if name.startswith(STAGING)]
        warnings = merge(path)
        assert read_tree(path / "target") == old | new
        assert ((path / "target" / "folder").stat().st_mode & 0o7777) == 0o750
        assert all(any(name in text for text in warnings) for name in left)
        assert [each for each in os.listdir(path / "target") if each.startswith(STAGING)] == left
    assert were_half >= 3
