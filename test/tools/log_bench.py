"""A LogfileBackupUnit to try things with: a directory of logs, a clock set by hand, the elements."""

import os
from pathlib import Path
from typing import Any

from tar_bench import follow_chain, read_elements

from guerillabackup.events import Event, SourceWarning
from guerillabackup.generator.interface import SourceOutcome, UnitContext
from guerillabackup.storage.default_file import DefaultFileStorage
from guerillabackup.units.logfile import LogfileBackupUnit

ROTATED = r"^([a-z-]+\.log)\.(?P<oldserial>[0-9]+)(?:\.(?P<compress>[a-z0-9]+))?$"
"""What logrotate makes: app.log.1, app.log.2.gz …"""
OLD = 1_700_000_000
"""Seconds at which the first log file was last written to."""


class LogBench:
    """Runs a unit over a directory; every run is a new unit, as after a restart, an hour later."""

    def __init__(self, base: Path, logs: Path | None = None) -> None:
        self.base = base
        self.logs = logs or base / "logs"
        self.spool = base / "spool"
        self.state = base / "state" / "unit"
        for directory in (self.logs, self.spool):
            directory.mkdir(parents=True, exist_ok=True)
        self.storage = DefaultFileStorage(str(self.spool))
        self.now = 1_800_000_000.0
        self.events: list[Event] = []
        self.configuration: dict[str, Any] = {}
        self.context: dict[str, Any] = {}

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
        context = UnitContext(
            unit_name="unit",
            configuration={
                **self.configuration,
                "LogBackupUnitInputList": [self.entry()] if entries is None else entries,
            },
            config_directory=str(self.base / "conf"),
            state_directory=str(self.state),
            storage=self.storage,
            clock=lambda: self.now,
            listen=self.events.append,
            **self.context,
        )
        return LogfileBackupUnit("unit", context)

    def run(self, entries: Any = None, *, wait: float = 3600) -> list[SourceOutcome]:
        """One run, some time after the last."""
        self.now += wait
        unit = self.open(entries)
        try:
            return unit.invoke_unit() if unit.get_next_invocation_time() <= 0 else []
        finally:
            unit.close()

    def chain(self, name: str = "app.log") -> list[dict[str, Any]]:
        """A source's elements, which have to be one chain."""
        return follow_chain(read_elements(self.storage, self.url(name)))

    def contents(self, name: str = "app.log") -> list[bytes]:
        return [element["data"] for element in self.chain(name)]

    def names(self) -> list[str]:
        """What is left in the directory."""
        return sorted(os.listdir(self.logs))

    def warnings(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, SourceWarning)]


class WholeRunBench(LogBench):
    """The same for what expects one outcome of a run."""

    def run(self) -> SourceOutcome:
        outcomes = super().run()
        return next((outcome for outcome in outcomes if outcome.error is not None), outcomes[0])


def errors(outcomes: list[SourceOutcome]) -> list[str]:
    return [f"{outcome.source_url}: {outcome.error}" for outcome in outcomes if outcome.error is not None]
