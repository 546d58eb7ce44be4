"""Trees of files for tests: made, changed, archived as the tar unit does it, and compared."""

import hashlib
import os
import random
import shutil
import stat
import subprocess
from pathlib import Path

TAR_OPTIONS = ["--xattrs", "--acls", "--numeric-owner", "--sparse"]


def describe_tree(root, *, links=True):
    """Every path below `root` with all a backup has to keep; two equal descriptions are equal trees.

    Without `links` it does not matter which names are one file: an incremental does not keep that between
    what it holds and what it leaves out.
    """
    root = os.fsencode(root)
    groups = {}
    described = {}
    for directory, directories, files in os.walk(root):
        for name in [b"", *directories, *files] if directory == root else [*directories, *files]:
            path = os.path.join(directory, name) if name else directory
            status = os.lstat(path)
            if stat.S_ISSOCK(status.st_mode):
                continue
            relative = os.path.relpath(path, root)
            links = None
            if links and not stat.S_ISDIR(status.st_mode) and status.st_nlink > 1:
                links = groups.setdefault((status.st_dev, status.st_ino), relative)
            described[relative] = (
                stat.filemode(status.st_mode),
                status.st_uid,
                status.st_gid,
                status.st_mtime_ns,
                _content(path, status),
                links,
                _attributes(path),
            )
    return described


def _content(path, status):
    if stat.S_ISLNK(status.st_mode):
        return os.readlink(path)
    if stat.S_ISREG(status.st_mode):
        return hashlib.sha256(Path(os.fsdecode(path)).read_bytes()).hexdigest()
    return status.st_rdev if stat.S_ISBLK(status.st_mode) or stat.S_ISCHR(status.st_mode) else None


def _attributes(path):
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:
        return {}
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names}


def archive(tree, index, output, *, tar_format="posix", include=(".",), extra=()):
    """Archive a tree as the tar unit does; `index` is that of listed-incremental, None for none of it."""
    incremental = [] if index is None else [f"--listed-incremental={index}", "--no-check-device"]
    argv = ["tar", "--create", f"--file={output}", f"--format={tar_format}", "--directory", str(tree)]
    environment = {**os.environ, "LC_ALL": "C"}
    subprocess.run(
        [*argv, *TAR_OPTIONS, *incremental, *extra, "--", *include],
        check=True,
        env=environment,
        capture_output=True,
    )
    return Path(output)


def make_nasty_tree(root):
    """Every kind of member a file system holds, with the names that hurt."""
    root = Path(root)
    root.mkdir(parents=True)
    (root / "plain").write_text("plain\n")
    (root / "empty").write_bytes(b"")
    (root / "with\nnewline").write_text("newline")
    (root / " blank and\ttab ").write_text("blank")
    (root / "back\\slash\"quote'").write_text("quote")
    Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9")).write_text("not UTF-8")
    (root / "ümläut").write_text("UTF-8")
    long_directory = root / ("d" * 120) / ("e" * 120)
    long_directory.mkdir(parents=True)
    (long_directory / ("f" * 200)).write_text("long")
    (long_directory / "link").symlink_to("x" * 180)
    os.link(long_directory / ("f" * 200), root / "hard to long")
    (root / "dangling").symlink_to("nowhere")
    (root / "absolute").symlink_to("/proc/version")
    os.mkfifo(root / "fifo")
    with open(root / "sparse", "wb") as stream:
        stream.seek(5 << 20)
        stream.write(b"end of hole")
        stream.truncate(9 << 20)
    (root / "attributes").write_text("attributes")
    try:
        os.setxattr(root / "attributes", "user.test", b"value\0with zero")
    except OSError:
        pass  # a file system without user attributes; the description is the same on both sides
    (root / "modes").mkdir()
    for mode in (0o400, 0o644, 0o4755, 0o1777):
        (root / "modes" / f"{mode:o}").write_text("mode")
        (root / "modes" / f"{mode:o}").chmod(mode)
    (root / "empty directory").mkdir()
    (root / "empty directory").chmod(0o700)
    (root / "big").write_bytes(random.Random(7).randbytes(300_000))
    return root


class ChangingTree:
    """A tree that a seeded random source changes: files, links, directories, swaps, deletions."""

    def __init__(self, root, randomness):
        self.root = Path(root)
        self.random = randomness
        self._time = 1_600_000_000

    def paths(self, directories):
        found = sorted(self.root.rglob("*"))
        return [path for path in found if (path.is_dir() and not path.is_symlink()) is directories]

    def change(self, count):
        actions = [self.add_file] * 4 + [self.add_directory] * 3 + [self.change_file] * 2
        actions += [self.delete, self.rename, self.rename, self.swap, self.add_link, self.replace_kind]
        for _ in range(count):
            self.random.choice(actions)()

    def add_file(self):
        path = self._new_path()
        path.write_bytes(self.random.randbytes(self.random.choice([0, 3, 512, 700])))

    def add_directory(self):
        self._new_path().mkdir()

    def add_link(self):
        files = [path for path in self.paths(False) if path.is_file()]
        if files and self.random.random() < 0.7:
            os.link(self.random.choice(files), self._new_path(), follow_symlinks=False)
        else:
            self._new_path().symlink_to(self.random.choice(["a", "../a", "/etc"]))

    def change_file(self):
        files = [path for path in self.paths(False) if path.is_file() and not path.is_symlink()]
        if files:
            self.random.choice(files).write_bytes(self.random.randbytes(5))

    def delete(self):
        everything = self.paths(True) + self.paths(False)
        if everything:
            self._remove(self.random.choice(everything))

    def rename(self):
        everything = self.paths(True) * 3 + self.paths(False)
        if everything:
            path, new = self.random.choice(everything), self._new_path()
            if path not in new.parents:
                path.rename(new)

    def swap(self):
        directories = self.paths(True)
        if len(directories) > 1:
            one, other = self.random.sample(directories, 2)
            if one not in other.parents and other not in one.parents:
                one.rename(self.root / "swapping")
                other.rename(one)
                (self.root / "swapping").rename(other)

    def replace_kind(self):
        everything = self.paths(True) + self.paths(False)
        if everything:
            path = self.random.choice(everything)
            was_directory = path.is_dir() and not path.is_symlink()
            self._remove(path)
            if was_directory:
                path.write_text("was a directory")
            else:
                path.mkdir()

    def _remove(self, path):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()

    def _new_path(self):
        while True:
            parent = self.random.choice([self.root, *self.paths(True)])
            path = parent / self.random.choice("abcdefgh")
            if not path.exists() and not path.is_symlink():
                return path
            if self.random.random() < 0.3:
                return parent / f"n{self.random.randrange(10**9)}"


def make_deep(root, depth, leaf="leaf"):
    """A directory in a directory, and so on, and a file in the last."""
    descriptor = os.open(root, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=descriptor)
        below = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(os.open(leaf, os.O_WRONLY | os.O_CREAT, dir_fd=descriptor))
    os.close(descriptor)


def leaves_of_deep(root):
    """How deep the directories go, and what is in the last."""
    descriptor = os.open(root, os.O_RDONLY)
    depth = 0
    while "d" in (names := os.listdir(descriptor)):
        below = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
        depth += 1
    os.close(descriptor)
    return depth, sorted(names)
