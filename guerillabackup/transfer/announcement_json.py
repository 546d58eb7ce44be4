"""An announcement as it stands in a message, and values that messages have in common. No I/O."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from guerillabackup.errors import RemoteProtocolError
from guerillabackup.transfer.json_text import excerpt

VERSION = 1
MAX_ANNOUNCED = 64
"""Items of a list within an announcement."""
MAX_NAME = 200
"""Characters of a policy's, program's or feature's name, all of them printable ASCII."""
MAX_VERSION = 1 << 31
_PRINTABLE = re.compile(r"[ -~]*")


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a newer peer says of itself. Unknown features are kept, and mean nothing."""

    program: str
    versions: tuple[int, ...] = (VERSION,)
    features: frozenset[str] = frozenset()
    instance: str = ""
    """Names the process that says it, and no other one; "" when it is not told."""
    storage: str = ""
    """Names the storage that the connection is about, the same for all who have it open; "" as above."""

    def knows(self, feature: str) -> bool:
        return feature in self.features


def read_announcement(value: Mapping[str, Any], what: str) -> Announcement:
    """The announcement within an object; keys it does not know are for later versions."""
    if "versions" not in value:
        raise RemoteProtocolError(f"{what} has no versions")
    versions = _read_list(value, "versions", what)
    for version in versions:
        if not is_number(version, 1, MAX_VERSION):
            raise RemoteProtocolError(f"{what} has the version {excerpt(version)}, not a number from 1 on")
    features = (read_name(item, f"a feature in {what}") for item in _read_list(value, "features", what))
    program, instance, storage = (
        read_name(value.get(key, ""), f"the {key} in {what}") for key in ("program", "instance", "storage")
    )
    return Announcement(program, tuple(versions), frozenset(features), instance, storage)


def announcement_object(announcement: Announcement) -> dict[str, Any]:
    """What goes into a message."""
    told: dict[str, Any] = {
        "program": announcement.program,
        "versions": announcement.versions,
        "features": sorted(announcement.features),
    }
    names = {"instance": announcement.instance, "storage": announcement.storage}
    return told | {key: name for key, name in names.items() if name}


def _read_list(value: Mapping[str, Any], key: str, what: str) -> list[Any]:
    items = value.get(key, [])
    if not isinstance(items, list) or len(items) > MAX_ANNOUNCED:
        raise RemoteProtocolError(
            f"{what} has the {key} {excerpt(items)}, not a list of at most {MAX_ANNOUNCED}"
        )
    return items


def read_name(value: Any, what: str) -> str:
    """A name; `what` says in a message where it was found."""
    if not isinstance(value, str) or len(value) > MAX_NAME or _PRINTABLE.fullmatch(value) is None:
        raise RemoteProtocolError(f"{what} is {excerpt(value)}, not at most {MAX_NAME} printable characters")
    return value


def is_number(value: Any, lowest: int, highest: int) -> bool:
    """Whether it is a whole number within those limits."""
    return isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= highest
