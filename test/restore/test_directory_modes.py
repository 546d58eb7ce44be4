"""Directories that their own user may not write to, in chains that an ordinary user restores."""

import os
import shutil
import stat

import pytest
from ordinary_user import NOBODY, as_user, user_place
from sample_source import SampleSource
from terminal import PROGRAM

from guerillabackup.restore.staging import STAGING_PREFIX
from guerillabackup.storage.registry import open_storage

__all__ = ["user_place"]


@pytest.fixture(params=[0o555, 0o000, 0o311])
def chain(user_place, request):
    """A full and two incrementals of a tree whose directories have that mode; files come and go in them."""
    with open_storage(str(user_place / "data"), create=True) as storage:
        source = SampleSource(storage, user_place)
        deep = source.tree / "module" / "deep"
        deep.mkdir(parents=True)
        (source.tree / "other").write_text("other")
        (deep / "gone").write_text("old")
        (deep / "kept").write_text("kept")
        os.symlink("/", deep / "link")
        for number, kind in enumerate(("full", "inc", "inc")):
            for path in (source.tree, deep.parent, deep):
                path.chmod(0o755)
            (deep / f"new{number}").write_text("new")
            if number == 1:
                (deep / "gone").unlink()
            if number == 2:
                (deep / "new0").unlink()
            for path in (deep, deep.parent, source.tree):
                path.chmod(request.param)
            source.back_up(kind)
        if os.geteuid() == 0:
            for directory, _, names in os.walk(user_place):
                for name in (directory, *(os.path.join(directory, name) for name in names)):
                    os.chown(name, NOBODY, NOBODY, follow_symlinks=False)
        source.mode = request.param
        yield source


def restore(place, *options):
    arguments = ["restore", "/host/tree", "--storage", place / "data", "--to", place / "out", *options]
    return as_user([*PROGRAM, *arguments, "--config-dir", place / "nowhere", "--accept-unverified"])


def modes(place, *names):
    return [stat.S_IMODE((place / "out" / name).stat().st_mode) for name in names]


def content(place):
    """The files below the target, looked at once their directories can be."""
    as_user(["chmod", "-R", "u+rwx", place / "out"])
    found = [path for path in (place / "out").rglob("*") if path.is_symlink() or not path.is_dir()]
    return sorted(str(path.relative_to(place / "out")) for path in found)


NAMES = ("module/deep", "module", ".")
DEEP = ["module/deep/kept", "module/deep/link", "module/deep/new1", "module/deep/new2"]


def test_a_chain_with_directories_nobody_may_write_to_is_restored_exactly(user_place, chain):
    done = restore(user_place)
    assert done.returncode == 0, done.stderr
    assert modes(user_place, *NAMES) == [chain.mode] * 3
    assert content(user_place) == [*DEEP, "other"]


@pytest.mark.parametrize("wanted", ["other", "module/deep/kept"])
def test_members_are_chosen_from_it(user_place, chain, wanted):
    done = restore(user_place, "--include", wanted)
    assert done.returncode == 0, done.stderr
    assert content(user_place) == [wanted]


def test_it_is_merged_again_and_again_and_leaves_no_staging_directory(user_place, chain):
    (user_place / "out" / "module").mkdir(parents=True)
    (user_place / "out" / "module" / "mine").write_text("mine")
    if os.geteuid() == 0:
        shutil.chown(user_place / "out", NOBODY)
        shutil.chown(user_place / "out" / "module", NOBODY)
    done = restore(user_place, "--into-existing")
    assert done.returncode == 0, done.stderr
    assert modes(user_place, *NAMES) == [chain.mode] * 3
    (user_place / "out").chmod(0o755)
    done = restore(user_place, "--into-existing")
    if chain.mode & 0o400:
        assert done.returncode == 0, done.stderr
    else:
        assert "'module' is a directory that you may not read" in done.stderr
    assert not [name for name in os.listdir(user_place / "out") if name.startswith(STAGING_PREFIX)]
    assert content(user_place) == ["module/deep/kept", *DEEP[1:], "module/mine", "other"]


def test_what_is_not_merged_is_removed_with_all_its_directories(user_place, chain):
    (user_place / "out").mkdir()
    (user_place / "out" / "module").write_text("a file where a directory would have to be")
    if os.geteuid() == 0:
        shutil.chown(user_place / "out", NOBODY)
    done = restore(user_place, "--into-existing")
    assert done.returncode == 1
    assert "is a directory on one side only" in done.stderr
    assert os.listdir(user_place / "out") == ["module"]
