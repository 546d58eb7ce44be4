"""A tree to back up: copied from what this machine has, or given; and a share of its files changed.

Touches: os, random, subprocess.
"""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from measure import BenchmarkError

ORIGINS = (
    "/usr/share",
    "/usr/lib",
    "/usr/include",
    "/usr/src",
    "/usr/local",
    "/opt",
    "/var/lib",
    sys.base_prefix,
)
"""Where files are copied from until there are enough."""
MIN_BYTES = 1_000_000_000
MIN_FILES = 60_000


def build_tree(directory: Path, min_files: int = MIN_FILES, min_bytes: int = MIN_BYTES) -> Path:
    """A tree of at least so many files and bytes below `directory`; one that is there from before is taken.

    Copies directories of this machine, again and again where it has too few. Raises BenchmarkError.
    """
    tree = directory / f"tree-{min_files}-{min_bytes}"
    if tree.is_dir():
        return tree
    work = directory / f"{tree.name}.part"
    subprocess.run(["rm", "-rf", str(work)], check=True)
    work.mkdir(parents=True)
    files = size = 0
    for copy in range(100):
        for child in _origins(directory):
            if count(child)[1] > min_bytes / 4:
                continue  # so that the tree is not much larger than wanted
            target = work / f"{copy}{child}"
            target.parent.mkdir(parents=True, exist_ok=True)
            # What cannot be read is left out: any tree will do.
            subprocess.run(
                ["cp", "-a", "--one-file-system", str(child), str(target)], stderr=subprocess.DEVNULL
            )
            more_files, more_size = count(target)
            files, size = files + more_files, size + more_size
            if files >= min_files and size >= min_bytes:
                print(f"  copied {files} files, {size / 1e6:.0f} MB into {tree}", file=sys.stderr)
                work.rename(tree)
                return tree
    raise BenchmarkError(f"this machine has not enough files to make a tree of {min_files}")


def _origins(directory: Path) -> Iterator[Path]:
    """Directories to copy, each not large; none that holds `directory`."""
    for origin in (Path(name) for name in ORIGINS):
        if origin.is_dir() and not directory.resolve().is_relative_to(origin):
            yield from (
                child for child in sorted(origin.iterdir()) if child.is_dir() and not child.is_symlink()
            )


def count(tree: Path) -> tuple[int, int]:
    """Files (not directories) in a tree and the bytes in them."""
    files = size = 0
    for directory, _, names in os.walk(tree):
        for name in names:
            files += 1
            size += os.lstat(os.path.join(directory, name)).st_size
    return files, size


def change(tree: Path, fraction: float, seed: int) -> int:
    """Append a line to that share of the regular files; how many."""
    chosen = random.Random(seed)
    changed = 0
    for directory, directories, names in os.walk(tree):
        directories.sort()
        for name in sorted(names):
            path = os.path.join(directory, name)
            if chosen.random() < fraction and os.path.isfile(path) and not os.path.islink(path):
                mode = os.stat(path).st_mode
                os.chmod(path, mode | 0o200)
                with open(path, "ab") as file:
                    file.write(b"changed %d\n" % seed)
                os.chmod(path, mode)
                changed += 1
    return changed
