"""A LogfileBackupUnit to try things with: a directory of logs, a clock set by hand, the elements."""

import os
from pathlib import Path
from typing import Any

from unit_bench import UnitBench, follow_chain, read_elements

from guerillabackup.generator.interface import SourceOutcome
from guerillabackup.units.logfile import CONFIG_KEY, LogfileBackupUnit

ROTATED = r"^([a-z-]+\.log)\.(?P<oldserial>[0-9]+)(?:\.(?P<compress>[a-z0-9]+))?$"
"""What logrotate makes: app.log.1, app.log.2.gz …"""
OLD = 1_700_000_000
"""Seconds at which the first log file was last written to."""


class LogBench(UnitBench):
    """Runs a unit over a directory, an hour later each time."""

    unit_class = LogfileBackupUnit
    key = CONFIG_KEY

    def __init__(self, base: Path, logs: Path | None = None) -> None:
        self.logs = logs or base / "logs"
        super().__init__(base, self.logs)

    def log(self, name: str | bytes, content: bytes | str = "", *, age: int = 0) -> Path:
        """A log file, last written to `age` seconds after the beginning."""
        path = os.path.join(os.fsencode(self.logs), os.fsencode(name))
        with open(path, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        os.utime(path, (OLD + age, OLD + age))
        return Path(os.fsdecode(path))

    def entry(self, regex: str = ROTATED, url: str | None = None, directory: Path | None = None) -> tuple:
        """An entry of the configuration; `url` is the source transformation."""
        return (str(directory or self.logs), regex, url, None, None)

    def url(self, name: str) -> str:
        """The source of a name that the regular expression picks."""
        return f"{self.logs}/{name}"

    def open(self, entries: Any = None) -> LogfileBackupUnit:
        return self.open_unit([self.entry()] if entries is None else entries)

    def run(self, entries: Any = None, *, wait: float = 3600) -> list[SourceOutcome]:
        """One run, some time after the last."""
        return self.run_unit([self.entry()] if entries is None else entries, wait)

    def chain(self, name: str = "app.log") -> list[dict[str, Any]]:
        """A source's elements, which have to be one chain."""
        return follow_chain(read_elements(self.storage, self.url(name)))

    def contents(self, name: str = "app.log") -> list[bytes]:
        return [element["data"] for element in self.chain(name)]

    def names(self) -> list[str]:
        """What is left in the directory."""
        return sorted(os.listdir(self.logs))


class WholeRunBench(LogBench):
    """The same for what expects one outcome of a run."""

    def run(self) -> SourceOutcome:
        outcomes = super().run()
        return next((outcome for outcome in outcomes if outcome.error is not None), outcomes[0])


def errors(outcomes: list[SourceOutcome]) -> list[str]:
    return [f"{outcome.source_url}: {outcome.error}" for outcome in outcomes if outcome.error is not None]
