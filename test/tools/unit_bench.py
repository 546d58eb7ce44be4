"""A unit to try things with, whichever it is: a storage, a state, a clock set by hand, and the elements."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from guerillabackup.element import SourceUrl
from guerillabackup.events import Event, SourceWarning
from guerillabackup.generator.interface import (
    SchedulableGeneratorUnitInterface,
    SourceOutcome,
    UnitContext,
)
from guerillabackup.storage.default_file import DefaultFileStorage
from guerillabackup.storage.interface import StorageInterface

ALWAYS = [0, 10**8, None, 0]
"""Timing by which a source is due each time."""


class UnitBench:
    """Runs units of a class; every run is a new one, as after a restart.

    `configuration` and `context` are added to what the unit gets, `subject` is the directory it is about.
    """

    unit_class: ClassVar[type[SchedulableGeneratorUnitInterface]]
    key: ClassVar[str]
    """What its sources are configured by."""

    def __init__(self, base: Path, subject: Path, storage: StorageInterface | None = None) -> None:
        self.base = base
        self.spool = base / "spool"
        self.state = base / "state" / "unit"
        for directory in (subject, self.spool):
            directory.mkdir(parents=True, exist_ok=True)
        self.storage = storage or DefaultFileStorage(str(self.spool))
        self.now = 1_800_000_000.0
        self.events: list[Event] = []
        self.configuration: dict[str, Any] = {}
        self.context: dict[str, Any] = {}

    def open_unit(self, configured: Any) -> Any:
        """A unit of these sources."""
        context = UnitContext(
            unit_name="unit",
            configuration={**self.configuration, self.key: configured},
            config_directory=str(self.base / "conf"),
            state_directory=str(self.state),
            storage=self.storage,
            clock=lambda: self.now,
            listen=self.events.append,
            **self.context,
        )
        return self.unit_class("unit", context)

    def run_unit(self, configured: Any, wait: float) -> list[SourceOutcome]:
        """One run of all sources that are due, some time after the last."""
        self.now += wait
        unit = self.open_unit(configured)
        try:
            return unit.invoke_unit() if unit.get_next_invocation_time() <= 0 else []
        finally:
            unit.close()

    def warnings(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, SourceWarning)]


def read_elements(storage: StorageInterface, url: str | None = None) -> list[dict[str, Any]]:
    """Metadata of a source's elements as JSON has it, data and id; each is what its checksum says.

    Without a source those of all, but for the lists of members.
    """
    elements = []
    source_url = None if url is None else SourceUrl(url)
    for element in storage.query_backup_data_elements(source_url=source_url):
        if source_url is None and element.get_element_id().source_url.is_members:
            continue
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
