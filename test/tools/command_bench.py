"""A CommandBackupUnit to try things with: a storage, a clock set by hand, and what its commands wrote."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tar_bench import follow_chain, read_elements

from guerillabackup.events import Event, SourceWarning
from guerillabackup.generator.interface import SourceOutcome, UnitContext
from guerillabackup.storage.default_file import DefaultFileStorage
from guerillabackup.units.command import CommandBackupUnit

URL = "/host/dump"
ALWAYS = [0, 10**8, None, 0]
"""Timing by which a source is due each time."""


class CommandBench:
    """Runs a unit; every run is a new unit, as after a restart. `tree` is a directory for the commands."""

    def __init__(self, base: Path, tree: Path | None = None) -> None:
        self.base = base
        self.tree = tree or base / "tree"
        self.spool = base / "spool"
        self.state = base / "state" / "unit"
        for directory in (self.tree, self.spool):
            directory.mkdir(parents=True, exist_ok=True)
        self.storage = DefaultFileStorage(str(self.spool))
        self.now = 1_800_000_000.0
        self.events: list[Event] = []
        self.configuration: dict[str, Any] = {}
        self.context: dict[str, Any] = {}

    def settings(self, script: str | None = None, **settings: Any) -> dict[str, Any]:
        """Of a source that is due each time, and whose command is a shell script."""
        return {
            "Command": ["sh", "-c", "cat one" if script is None else script],
            "Timing": ALWAYS,
            "WorkingDirectory": str(self.tree),
            **settings,
        }

    def open(self, sources: Mapping[str, Any]) -> CommandBackupUnit:
        """The unit of these sources."""
        context = UnitContext(
            unit_name="unit",
            configuration={**self.configuration, "CommandBackupUnitConfigList": dict(sources)},
            config_directory=str(self.base / "conf"),
            state_directory=str(self.state),
            storage=self.storage,
            clock=lambda: self.now,
            listen=self.events.append,
            **self.context,
        )
        return CommandBackupUnit("unit", context)

    def run_all(self, sources: Mapping[str, Any], *, wait: float = 10) -> list[SourceOutcome]:
        """One run of all sources, some time after the last."""
        self.now += wait
        unit = self.open(sources)
        try:
            return unit.invoke_unit() if unit.get_next_invocation_time() <= 0 else []
        finally:
            unit.close()

    def run(self, script: str | None = None, *, wait: float = 10, **settings: Any) -> SourceOutcome:
        """One run of the one source, which has to be due."""
        (outcome,) = self.run_all({URL: self.settings(script, **settings)}, wait=wait)
        return outcome

    def chain(self, url: str = URL) -> list[dict[str, Any]]:
        return follow_chain(read_elements(self.storage, url))

    def warnings(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, SourceWarning)]
