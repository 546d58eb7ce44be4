"""A CommandBackupUnit to try things with: a storage, a clock set by hand, and what its commands wrote."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from unit_bench import ALWAYS, UnitBench, follow_chain, read_elements

from guerillabackup.generator.interface import SourceOutcome
from guerillabackup.units.command import CommandBackupUnit
from guerillabackup.units.command_source import CONFIG_KEY

URL = "/host/dump"


class CommandBench(UnitBench):
    """Runs a unit. `tree` is a directory for the commands."""

    unit_class = CommandBackupUnit
    key = CONFIG_KEY

    def __init__(self, base: Path, tree: Path | None = None) -> None:
        self.tree = tree or base / "tree"
        super().__init__(base, self.tree)

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
        return self.open_unit(dict(sources))

    def run_all(self, sources: Mapping[str, Any], *, wait: float = 10) -> list[SourceOutcome]:
        """One run of all sources, some time after the last."""
        return self.run_unit(dict(sources), wait)

    def run(self, script: str | None = None, *, wait: float = 10, **settings: Any) -> SourceOutcome:
        """One run of the one source, which has to be due."""
        (outcome,) = self.run_all({URL: self.settings(script, **settings)}, wait=wait)
        return outcome

    def chain(self, url: str = URL) -> list[dict[str, Any]]:
        return follow_chain(read_elements(self.storage, url))
