"""The elements that one agent's peer offered and that were not taken, as they are kept over a restart.

A small file for each agent, replaced as a whole: a crash leaves the one before. What is damaged is forgotten,
which costs one more try of each element. Touches: json, os.
"""

import json
import os
from dataclasses import dataclass
from typing import Any

from guerillabackup import osfile
from guerillabackup.errors import IntegrityError, StorageError
from guerillabackup.osfile import PRIVATE
from guerillabackup.transfer.broken_chains import AGENTS_DIRECTORY
from guerillabackup.transfer.quarantine import safe_name

REFUSED_DIRECTORY = "refused"
SUFFIX = ".json"
MAX_FILE_SIZE = 32 << 20
MAX_FILES = 10_000


@dataclass(slots=True)
class Refused:
    """An element that was refused. Times are UTC seconds."""

    element: str
    """Its id here, as far as it is short."""
    reason: str
    count: int
    """Times in a row."""
    last: float
    until: float
    """It is left alone until then."""
    source: str = ""
    is_offered: bool = True
    """Whether the peer still offers it, as far as its list was gone through."""


@dataclass(frozen=True, slots=True)
class RefusedOfAgent:
    """The content of one file."""

    agent_id: str
    settings: str
    """Names the settings by which those were refused."""
    saved: float
    refused: dict[bytes, Refused]


def refused_directory(state_directory: str, policy: str) -> str:
    """Where the files of one policy's agents are."""
    return os.path.join(state_directory, AGENTS_DIRECTORY, policy, REFUSED_DIRECTORY)


def file_name(agent_id: str) -> str:
    """Of an agent's file."""
    return safe_name(agent_id) + SUFFIX


def write_refused(directory: str, content: RefusedOfAgent) -> None:
    """Put it durably in the place of what was there; raises OSError and StorageError."""
    osfile.make_directories(directory, PRIVATE)
    values = {
        "Agent": content.agent_id,
        "Settings": content.settings,
        "Saved": content.saved,
        "Refused": {
            key.hex(): [
                each.element,
                each.reason,
                each.count,
                each.last,
                each.until,
                each.source,
                each.is_offered,
            ]
            for key, each in content.refused.items()
        },
    }
    directory_fd = osfile.open_directory(directory)
    try:
        osfile.replace_file(directory_fd, file_name(content.agent_id), json.dumps(values).encode("ascii"))
    finally:
        os.close(directory_fd)


def read_refused(directory: str, name: str) -> RefusedOfAgent:
    """What a file says; raises OSError, StorageError, and IntegrityError when it is damaged."""
    if not os.path.isdir(directory):
        raise FileNotFoundError(directory)
    directory_fd = osfile.open_directory(directory)
    try:
        content = osfile.read_file(directory_fd, name, MAX_FILE_SIZE)
    finally:
        os.close(directory_fd)
    try:
        values = json.loads(content)
        refused = {bytes.fromhex(key): _parse(*each) for key, each in values["Refused"].items()}
        return RefusedOfAgent(str(values["Agent"]), str(values["Settings"]), float(values["Saved"]), refused)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise IntegrityError(f"{os.path.join(directory, name)} is damaged: {error}") from error


def list_refused(state_directory: str) -> list[dict[str, Any]]:
    """What is offered and was not taken, of all agents, as JSON values; but for what cannot be read.

    Of an agent that had several policies, what the latest one says.
    """
    latest: dict[str, RefusedOfAgent] = {}
    agents = os.path.join(state_directory, AGENTS_DIRECTORY)
    for policy in _list(agents):
        directory = refused_directory(state_directory, policy)
        for name in _list(directory)[:MAX_FILES]:
            if not name.endswith(SUFFIX):
                continue
            try:
                found = read_refused(directory, name)
            except (OSError, StorageError, IntegrityError):
                continue
            before = latest.get(found.agent_id)
            if before is None or before.saved <= found.saved:
                latest[found.agent_id] = found
    return [
        {
            "peer": agent_id,
            "key": key.hex(),
            "element": each.element,
            "source": each.source,
            "reason": each.reason,
            "count": each.count,
            "last": each.last,
            "next_try": max(each.until, each.last),
        }
        for agent_id, found in sorted(latest.items())
        for key, each in found.refused.items()
        if each.is_offered
    ]


def _parse(
    element: str, reason: str, count: int, last: float, until: float, source: str, is_offered: bool
) -> Refused:
    times = float(last), float(until)
    return Refused(str(element), str(reason), int(count), *times, str(source), bool(is_offered))


def _list(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []
