"""A TarBackupUnit to try things with: directories, a clock set by hand, elements, and their restore."""

import bz2
import os
import shutil
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from unit_bench import ALWAYS, UnitBench, follow_chain, read_elements

from guerillabackup.generator.interface import SourceOutcome
from guerillabackup.storage.interface import StorageInterface
from guerillabackup.units.tar import TarBackupUnit
from guerillabackup.units.tar_clock import FINE_TIMES
from guerillabackup.units.tar_source import CONFIG_KEY

URL = "/host/tree"
SELDOM = [10**7, 10**8, None, 0]


class TarBench(UnitBench):
    """Runs a unit over a tree."""

    unit_class = TarBackupUnit
    key = CONFIG_KEY

    def __init__(self, base: Path, tree: Path | None = None, storage: StorageInterface | None = None) -> None:
        self.tree = tree or base / "tree"
        super().__init__(base, self.tree, storage)
        self.configuration["DefaultFileSystemSinkBaseDir"] = str(self.spool)

    def settings(self, **settings: Any) -> dict[str, Any]:
        """Of a source that is due each time: a full one first, then incrementals."""
        return {
            "Root": str(self.tree),
            "FullBackupTiming": SELDOM,
            "IncBackupTiming": ALWAYS,
            **settings,
        }

    def open(self, sources: Mapping[str, Any] | None = None) -> TarBackupUnit:
        """The unit of these sources; of one with the usual settings when none are given."""
        return self.open_unit({URL: self.settings()} if sources is None else sources)

    def run_all(self, sources: Mapping[str, Any] | None = None, *, wait: float = 10) -> list[SourceOutcome]:
        """One run of all sources, some time after the last, and a tick or two after what was changed."""
        time.sleep(2 * FINE_TIMES)
        return self.run_unit({URL: self.settings()} if sources is None else sources, wait)

    def run(self, wait: float = 10, **settings: Any) -> SourceOutcome:
        """One run of the one source, which has to be due."""
        (outcome,) = self.run_all({URL: self.settings(**settings)}, wait=wait)
        return outcome

    def types(self, url: str = URL) -> list[str]:
        return [element["BackupType"] for element in self.chain(url)]

    def chain(self, url: str = URL) -> list[dict[str, Any]]:
        return follow_chain(read_elements(self.storage, url))

    def restore(self, name: str = "restored") -> Path:
        """The tree as the whole chain makes it, in a new directory."""
        target = self.base / name
        if target.exists():
            shutil.rmtree(target)
        target.mkdir()
        unpack(self.chain(), target)
        return target


def unpack(chain: Iterable[dict[str, Any]], target: Path) -> None:
    """Restore the last full backup of a chain and what follows it."""
    needed: list[dict[str, Any]] = []
    for element in chain:
        needed = [element] if element["BackupType"] == "full" else [*needed, element]
    for element in needed:
        options = [
            "--xattrs",
            "--xattrs-include=*",
            "--acls",
            "--numeric-owner",
        ]
        if element is not needed[0]:
            options.append("--listed-incremental=/dev/null")
        subprocess.run(
            ["tar", "--extract", "--file=-", f"--directory={target}", *options],
            input=element["data"],
            env={**os.environ, "LC_ALL": "C", "TAR_OPTIONS": ""},
            check=True,
            capture_output=True,
        )


def members(element: dict[str, Any]) -> list[str]:
    """The names in an element's archive, quoted as C does it."""
    listing = subprocess.run(
        ["tar", "--list", "--file=-", "--quoting-style=c"],
        input=element["data"],
        env={**os.environ, "LC_ALL": "C", "TAR_OPTIONS": ""},
        check=True,
        capture_output=True,
    )
    return [line.strip('"') for line in listing.stdout.decode().splitlines()]


def read_kept_index(path: Path) -> bytes:
    return bz2.decompress(path.read_bytes())
