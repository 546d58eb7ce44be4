"""A chain of archives replayed into a directory."""

import contextlib
import os

import pytest
from failing_tar import failing_tar
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
