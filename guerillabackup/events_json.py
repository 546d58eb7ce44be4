"""Events as JSON values and back, so that another process can follow what happens. No I/O."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from guerillabackup import events
from guerillabackup.element import ElementId, SourceUrl
from guerillabackup.errors import GuerillaBackupError, RemoteProtocolError
from guerillabackup.events import Event, StageProgress

_KINDS: dict[str, type[Event]] = {
    name: value
    for name, value in vars(events).items()
    if isinstance(value, type) and issubclass(value, Event) and value not in (Event, StageProgress)
}
_READERS: dict[str, Callable[[Any], Any]] = {
    "source_url": SourceUrl,
    "element_id": ElementId.parse,
    "stages": lambda stages: tuple(StageProgress(str(name), int(a), int(b)) for name, a, b in stages),
}


def describe_event(event: Event) -> dict[str, Any]:
    """An event as a JSON object: its kind under `kind`, and its fields."""
    described: dict[str, Any] = {"kind": type(event).__name__}
    for field in dataclasses.fields(event):
        value = getattr(event, field.name)
        if isinstance(value, SourceUrl | ElementId):
            value = str(value)
        elif field.name == "stages":
            value = [[stage.stage, stage.bytes_read, stage.bytes_written] for stage in value]
        described[field.name] = value
    return described


def parse_event(described: Mapping[str, Any]) -> Event | None:
    """The event that was described; None for a kind that is not known here. Raises RemoteProtocolError."""
    kind = _KINDS.get(str(described.get("kind")))
    if kind is None:
        return None
    try:
        names = [field.name for field in dataclasses.fields(kind)]
        return kind(**{name: _READERS.get(name, _keep)(described[name]) for name in names})
    except (KeyError, TypeError, ValueError, GuerillaBackupError) as error:
        raise RemoteProtocolError(f"{kind.__name__} cannot be read: {error}") from error


def _keep(value: Any) -> Any:
    return value
