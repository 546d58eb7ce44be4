"""Access control lists in the words of tar, made from the attribute that the kernel keeps."""

import os
import struct
import subprocess
import sys

import pytest

from guerillabackup.restore.access_lists import lists_by_number

WORDS, ATTRIBUTE = b"SCHILY.acl.access", b"SCHILY.xattr.system.posix_acl_access"
NAMED_LIST = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, rights, number)
    for tag, rights, number in ((1, 7, 2**32 - 1), (2, 6, 1000), (4, 5, 2**32 - 1), (8, 1, 7), (0x10, 7, 0))
)
IN_WORDS = b"user::rwx\nuser:1000:rw-\ngroup::r-x\ngroup:7:--x\nmask::rwx\n"


def test_users_and_groups_are_named_by_number():
    assert lists_by_number({WORDS: b"user:alice:rw-", ATTRIBUTE: NAMED_LIST}) == {WORDS: IN_WORDS}
    assert lists_by_number({ATTRIBUTE.replace(b"access", b"default"): NAMED_LIST}) == {
        b"SCHILY.acl.default": IN_WORDS
    }


def test_what_has_numbers_already_is_not_changed():
    assert lists_by_number({WORDS: IN_WORDS.rstrip(), ATTRIBUTE: NAMED_LIST}) == {}


@pytest.mark.parametrize(
    "attribute",
    [b"", b"\x02\0\0\0", b"\x03\0\0\0" + NAMED_LIST[4:], NAMED_LIST[:-1], NAMED_LIST[:4] + b"\xff" * 8],
)
def test_without_an_attribute_of_a_known_form_the_words_stay(attribute):
    assert lists_by_number({WORDS: b"user:alice:rw-", ATTRIBUTE: attribute}) == {}


RESTORE = """
import sys
from guerillabackup.cli.main import main
main()
"""
BACK_UP = """
import sys
sys.path[:0] = {path!r}
from sample_source import SampleSource
from guerillabackup.storage.registry import open_storage
with open_storage({storage!r}, create=True) as storage:
    source = SampleSource(storage, {work!r})
    source.back_up("full")
    (source.tree / "late").write_text("late")
    source.back_up("inc")
"""


def in_a_host(users, place, *argv):
    """Run a program where these are the users; /etc stays as it is, but for this program."""
    listed = place / "passwd"
    listed.write_text("root:x:0:0::/:/bin/sh\n" + "".join(f"{n}:x:{i}:{i}::/:/bin/sh\n" for n, i in users))
    script = 'mount --bind "$0" /etc/passwd && exec "$@"'
    become = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
    return subprocess.run(
        [*become, "sh", "-c", script, listed, *argv], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("there", [[("alice", 54322)], [], [("alice", 54322), ("bob", 54321)]])
def test_on_a_host_with_other_users_access_goes_to_the_same_numbers(tmp_path, there):
    tree = tmp_path / "tree"
    (tree / "directory").mkdir(parents=True)
    (tree / "file").write_text("file")
    for path, arguments in (
        (tree / "file", ["-m", "u:54321:rw"]),
        (tree / "directory", ["-m", "d:u:54321:rwx"]),
    ):
        subprocess.run(["setfacl", *arguments, path], check=True)
    (tree / "directory" / "no list").write_text("")
    subprocess.run(["setfacl", "-b", tree / "directory" / "no list"], check=True)
    code = BACK_UP.format(path=sys.path, storage=str(tmp_path / "data"), work=str(tmp_path))
    done = in_a_host([("alice", 54321)], tmp_path, sys.executable, "-c", code)
    assert done.returncode == 0, done.stderr
    places = ["--storage", tmp_path / "data", "--to", tmp_path / "out", "--config-dir", tmp_path / "nowhere"]
    restore = [sys.executable, "-c", RESTORE, "restore", "/host/tree", *places, "--accept-unverified"]
    done = in_a_host(there, tmp_path, *restore)
    assert done.returncode == 0
    assert "Invalid" not in done.stderr
    assert "54321" in lists_of(tree)
    assert lists_of(tmp_path / "out") == lists_of(tree)


def test_lists_of_an_archive_that_has_words_only_are_restored_by_them(house):
    source = house.source()
    (source.tree / "file").write_text("file")
    subprocess.run(["setfacl", "-m", "u:daemon:rw", source.tree / "file"], check=True)
    argv = ["tar", "--create", "--file=-", "--format=posix", "--acls", "."]
    made = subprocess.run(argv, cwd=source.tree, capture_output=True, check=True).stdout
    assert b"SCHILY.acl.access" in made
    assert b"SCHILY.xattr" not in made
    source.store("full", made)
    assert house.restore().problems == ()
    assert lists_of(house.path / "out") == lists_of(source.tree)


def lists_of(tree):
    argv = ["getfacl", "--numeric", "--recursive", "."]
    return subprocess.run(argv, cwd=tree, capture_output=True, text=True, check=True).stdout
