"""Reads what is kept of elements that were refused, which quarantine.py writes, and discards it.

Touches: json, os, urllib."""

import json
import os
from typing import Any
from urllib.parse import unquote

from guerillabackup import osfile
from guerillabackup.errors import StorageError
from guerillabackup.transfer.quarantine import (
    MAX_REASON_SIZE,
    QUARANTINE_DIRECTORY,
    REASON,
    SETTLED,
    discard_entry,
)

MAX_READ = 10_000
"""Refused elements that are read of one agent."""


def list_evidence(state_directory: str) -> list[dict[str, Any]]:
    """The refused elements of all agents as JSON values, the latest first, but for what cannot be read."""
    directory = os.path.join(state_directory, QUARANTINE_DIRECTORY)
    found: list[dict[str, Any]] = []
    for agent in _list(directory):
        own = os.path.join(directory, agent)
        reasons = [name for name in _list(own) if name.endswith(f".{REASON}")]
        for name in reasons[:MAX_READ]:
            told = _read(own, name)
            if told is not None:
                key = name.removesuffix(f".{REASON}")
                found.append(
                    {"peer": unquote(agent), "key": key, **told, "evidence": os.path.join(own, name)}
                )
    return sorted(found, key=lambda each: float(each["last"]), reverse=True)


def _list(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _read(directory: str, name: str) -> dict[str, Any] | None:
    try:
        descriptor = osfile.open_directory(directory)
        try:
            values = json.loads(osfile.read_file(descriptor, name, MAX_REASON_SIZE))
        finally:
            os.close(descriptor)
        return {
            "source": str(values["Source"]),
            "reason": str(values["Reason"]),
            "first": float(values["First"]),
            "last": float(values["Last"]),
            "count": int(values["Count"]),
            "has_data": bool(values["HasData"]),
            "settled": None if values.get(SETTLED) is None else float(values[SETTLED]),
        }
    except (OSError, StorageError, ValueError, KeyError, TypeError, RecursionError):
        return None


def discard_evidence(path: str) -> None:
    """Remove what is kept under a path that `list_evidence` tells; raises StorageError."""
    directory, name = os.path.split(path)
    with osfile.storage_errors(f"cannot discard {path}"):
        descriptor = osfile.open_directory(directory)
        try:
            discard_entry(descriptor, name.removesuffix(f".{REASON}"))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
