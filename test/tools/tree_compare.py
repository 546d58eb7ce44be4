"""Compares two trees exactly: names, types, contents, modes, owners, times, links, extended attributes.

What a tree is like is taken down once, by `describe`, without changing access times where that is allowed.
Touches: os.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass

BLOCK = 1 << 20
DIFFERENCES_SHOWN = 20


@dataclass(frozen=True)
class Entry:
    """One name in a tree, as far as a backup has to keep it."""

    kind: str
    mode: int
    owner: tuple[int, int] | None
    """User and group; None where they are not compared."""
    time_ns: int
    size: int
    content: bytes
    """Digest of a file, target of a symbolic link, numbers of a device."""
    attributes: tuple[tuple[str, bytes], ...]
    """Extended attributes, access control lists among them."""
    first_name: bytes
    """The first of the names of this file in the tree: two trees with the same hard links agree."""


Tree = dict[bytes, Entry]
"""Path below the root -> what is there; b'.' is the root itself."""

KINDS: dict[int, str] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "symbolic link",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
    stat.S_IFSOCK: "socket",
}


def describe(
    root: str, is_left_out: Callable[[bytes], bool] = lambda path: False, with_owner: bool = True
) -> Tree:
    """What is below `root`; paths that are left out, and what is below them, are not looked at.

    Sockets are not taken down: an archive does not hold them. Raises OSError.
    """
    tree: Tree = {}
    names: dict[tuple[int, int], bytes] = {}
    base = os.fsencode(root)
    for path in _walk(base, b".", is_left_out):
        full = os.path.join(base, path)
        status = os.lstat(full)
        kind = KINDS[stat.S_IFMT(status.st_mode)]
        if kind == "socket":
            continue
        identity = (status.st_dev, status.st_ino)
        first_name = path if kind == "directory" else names.setdefault(identity, path)
        tree[path] = Entry(
            kind=kind,
            mode=0 if kind == "symbolic link" else stat.S_IMODE(status.st_mode),
            owner=(status.st_uid, status.st_gid) if with_owner else None,
            time_ns=status.st_mtime_ns,
            size=status.st_size if kind == "file" else 0,
            content=_content(full, kind, status) if first_name == path else b"",
            attributes=_attributes(full),
            first_name=first_name,
        )
    return tree


def differences(expected: Tree, found: Tree) -> list[str]:
    """A line for each difference, by path; none when the trees are the same."""
    lines = []
    for path in sorted(expected.keys() | found.keys()):
        shown = ascii(os.fsdecode(path))
        if path not in found:
            lines.append(f"{shown}: missing")
        elif path not in expected:
            lines.append(f"{shown}: not in the source")
        else:
            one, other = expected[path], found[path]
            for name in Entry.__dataclass_fields__:
                if getattr(one, name) != getattr(other, name):
                    lines.append(f"{shown}: {name} {getattr(one, name)!r}, not {getattr(other, name)!r}")
    return lines


def unreadable(root: str, may_make_devices: bool) -> Iterator[tuple[bytes, str]]:
    """Paths below `root` that this process cannot back up and restore, each with the reason.

    Below a directory that is named nothing else is.
    """
    base = os.fsencode(root)
    given_up: set[bytes] = set()

    def is_given_up(path: bytes) -> bool:
        return path in given_up

    for path in _walk(base, b".", is_given_up):
        full = os.path.join(base, path)
        try:
            status = os.lstat(full)
            if stat.S_ISREG(status.st_mode):
                os.close(os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK))
            elif stat.S_ISDIR(status.st_mode):
                if not os.access(full, os.R_OK | os.X_OK):
                    raise PermissionError
                os.listdir(full)
        except OSError as error:
            given_up.add(path)
            yield path, error.strerror or "Permission denied"
            continue
        kind = KINDS[stat.S_IFMT(status.st_mode)]
        if kind == "socket" or (kind.endswith("device") and not may_make_devices):
            given_up.add(path)
            yield path, f"a {kind}"


def _walk(base: bytes, path: bytes, is_left_out: Callable[[bytes], bool]) -> Iterator[bytes]:
    """The root and all paths below it, a directory before its content, sorted."""
    if is_left_out(path):
        return
    yield path
    full = os.path.join(base, path)
    if is_left_out(path) or not stat.S_ISDIR(os.lstat(full).st_mode):
        return
    for name in sorted(os.listdir(full)):
        yield from _walk(base, os.path.normpath(os.path.join(path, name)), is_left_out)


def _content(full: bytes, kind: str, status: os.stat_result) -> bytes:
    if kind == "symbolic link":
        return os.readlink(full)
    if kind.endswith("device"):
        return str(status.st_rdev).encode()
    if kind != "file":
        return b""
    digest = hashlib.sha256()
    with open(full, "rb", buffering=0) as stream:
        while block := stream.read(BLOCK):
            digest.update(block)
    return digest.digest()


def _attributes(full: bytes) -> tuple[tuple[str, bytes], ...]:
    """What the file system tells of them; some kinds of file have none."""
    try:
        names = sorted(os.listxattr(full, follow_symlinks=False))
    except OSError:
        return ()
    return tuple((name, os.getxattr(full, name, follow_symlinks=False)) for name in names)
