"""Events as JSON values and back, so that another process can follow what happens. No I/O."""

from collections.abc import Callable, Mapping
from typing import Any, get_args

from guerillabackup.element import ElementId, SourceUrl
from guerillabackup.errors import GuerillaBackupError, RemoteProtocolError
from guerillabackup.events import Event, StageProgress

_KINDS: dict[str, type[Event]] = {kind.__name__: kind for kind in get_args(Event)}
_READERS: dict[str, Callable[[Any], Any]] = {
    "source_url": SourceUrl,
    "element_id": ElementId.parse,
    "stages": lambda stages: tuple(StageProgress(str(name), int(a), int(b)) for name, a, b in stages),
}


def describe_event(event: Event) -> dict[str, Any]:
    """An event as a JSON object: its kind under `kind`, and its fields."""
    described: dict[str, Any] = {"kind": type(event).__name__}
    for name, value in event._asdict().items():
        if isinstance(value, SourceUrl | ElementId):
            described[name] = str(value)
        elif name == "stages":
            described[name] = [list(stage) for stage in value]
        else:
            described[name] = value
    return described


def parse_event(described: Mapping[str, Any]) -> Event | None:
    """The event that was described; None for a kind that is not known here. Raises RemoteProtocolError."""
    kind = _KINDS.get(str(described.get("kind")))
    if kind is None:
        return None
    try:
        return kind(**{name: _READERS.get(name, _keep)(described[name]) for name in kind._fields})
    except (KeyError, TypeError, ValueError, GuerillaBackupError) as error:
        raise RemoteProtocolError(f"{kind.__name__} cannot be read: {error}") from error


def _keep(value: Any) -> Any:
    return value
