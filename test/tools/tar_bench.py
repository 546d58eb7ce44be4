"""A TarBackupUnit to try things with: directories, a clock set by hand, elements, and their restore."""

import bz2
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from guerillabackup.element import SourceUrl
from guerillabackup.events import Event
from guerillabackup.generator.interface import SourceOutcome, UnitContext
from guerillabackup.storage.default_file import DefaultFileStorage
from guerillabackup.storage.interface import StorageInterface
from guerillabackup.units.tar import TarBackupUnit

URL = "/host/tree"
ALWAYS = [0, 10**8, None, 0]
"""Timing by which a source is due each time."""
SELDOM = [10**7, 10**8, None, 0]


class TarBench:
    """Runs a unit over a tree; every run is a new unit, as after a restart."""

    def __init__(self, base: Path, tree: Path | None = None, storage: StorageInterface | None = None) -> None:
        self.base = base
        self.tree = tree or base / "tree"
        self.spool = base / "spool"
        self.state = base / "state" / "unit"
        for directory in (self.tree, self.spool):
            directory.mkdir(parents=True, exist_ok=True)
        self.storage = storage or DefaultFileStorage(str(self.spool))
        self.now = 1_800_000_000.0
        self.events: list[Event] = []
        self.configuration: dict[str, Any] = {"DefaultFileSystemSinkBaseDir": str(self.spool)}
        self.context: dict[str, Any] = {}

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
        configured = {URL: self.settings()} if sources is None else dict(sources)
        context = UnitContext(
            unit_name="unit",
            configuration={**self.configuration, "TarBackupUnitConfigList": configured},
            config_directory=str(self.base / "conf"),
            state_directory=str(self.state),
            storage=self.storage,
            clock=lambda: self.now,
            listen=self.events.append,
            **self.context,
        )
        return TarBackupUnit("unit", context)

    def run_all(self, sources: Mapping[str, Any] | None = None, *, wait: float = 10) -> list[SourceOutcome]:
        """One run of all sources, some time after the last."""
        self.now += wait
        unit = self.open(sources)
        try:
            return unit.invoke_unit() if unit.get_next_invocation_time() <= 0 else []
        finally:
            unit.close()

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


def read_elements(storage: StorageInterface, url: str = URL) -> list[dict[str, Any]]:
    """Metadata of a source's elements as JSON has it, data and id; each is what its checksum says."""
    elements = []
    for element in storage.query_backup_data_elements(source_url=SourceUrl(url)):
        metainfo = element.get_metadata()
        with element.get_data_stream() as stream:
            data = stream.read()
        assert hashlib.sha512(data).digest() == metainfo.checksum
        values = json.loads(metainfo.serialize())
        elements.append({**values, "data": data, "id": element.get_element_id()})
    return elements


def follow_chain(elements: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The elements from the first on; fails for a fork, a gap, or a second beginning."""
    elements = list(elements)
    successors = {element.get("Predecessor"): element for element in elements}
    assert len(successors) == len(elements), "two elements have one predecessor"
    chain: list[dict[str, Any]] = []
    while (following := successors.get(chain[-1]["DataUuid"] if chain else None)) is not None:
        chain.append(following)
    assert len(chain) == len(elements), "an element's predecessor is missing"
    return chain


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
            "--listed-incremental=/dev/null",
        ]
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
