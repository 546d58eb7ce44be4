"""The comparison that tests and `make run` rely on sees each kind of difference."""

import os
import socket
import subprocess

import pytest
from tree_compare import describe, differences, unreadable

CHANGES = {
    "a name more": lambda tree: (tree / "new").write_text(""),
    "a name less": lambda tree: (tree / "script").unlink(),
    "another content of the same size and time": lambda tree: rewrite(tree / "file", b"CONTENT"),
    "another mode": lambda tree: (tree / "script").chmod(0o640),
    "another time": lambda tree: os.utime(tree / "script", ns=(0, 1)),
    "another time of a link": lambda tree: os.utime(tree / "link", ns=(0, 1), follow_symlinks=False),
    "another target": lambda tree: replace_link(tree / "link", "script"),
    "a hard link less": lambda tree: separate(tree / "hard"),
    "another attribute": lambda tree: os.setxattr(tree / "file", "user.colour", b"red"),
    "another kind": lambda tree: ((tree / "fifo").unlink(), (tree / "fifo").touch()),
    "another mode of the root": lambda tree: tree.chmod(0o711),
    "an access control list": lambda tree: subprocess.run(
        ["setfacl", "-m", "u:12345:r", str(tree / "file")], check=True
    ),
}


def make_tree(tree):
    (tree / "directory").mkdir(parents=True)
    (tree / "file").write_bytes(b"content")
    (tree / "hard").hardlink_to(tree / "file")
    (tree / "script").write_text("#!")
    (tree / "script").chmod(0o755)
    (tree / "link").symlink_to("file")
    (tree / "directory" / os.fsdecode(b"odd \n\xff name")).write_bytes(b"")
    os.mkfifo(tree / "fifo")
    os.setxattr(tree / "file", "user.colour", b"blue")


def rewrite(path, content):
    status = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replace_link(path, target):
    status = path.lstat()
    path.unlink()
    path.symlink_to(target)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)


def separate(path):
    subprocess.run(["cp", "-a", str(path), f"{path}.copy"], check=True)
    os.replace(f"{path}.copy", path)


def test_a_copy_that_keeps_everything_is_the_same(tmp_path):
    make_tree(tmp_path / "a")
    subprocess.run(["cp", "-a", str(tmp_path / "a"), str(tmp_path / "b")], check=True)
    assert differences(describe(str(tmp_path / "a")), describe(str(tmp_path / "b"))) == []


@pytest.mark.parametrize("name", CHANGES)
def test_each_kind_of_change_is_a_difference(tmp_path, name):
    make_tree(tmp_path / "a")
    before = describe(str(tmp_path / "a"))
    CHANGES[name](tmp_path / "a")
    assert differences(before, describe(str(tmp_path / "a"))) != []


def test_what_is_left_out_is_not_looked_at(tmp_path):
    make_tree(tmp_path / "a")
    before = describe(str(tmp_path / "a"), lambda path: path == b"directory")
    (tmp_path / "a" / "directory" / "new").touch()
    after = describe(str(tmp_path / "a"), lambda path: path == b"directory")
    assert differences(before, after) == []
    assert b"directory" not in after


def test_a_socket_is_named_as_what_cannot_be_backed_up(tmp_path):
    make_tree(tmp_path / "a")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(tmp_path / "a" / "s"))
        assert list(unreadable(str(tmp_path / "a"), may_make_devices=False)) == [(b"s", "a socket")]
