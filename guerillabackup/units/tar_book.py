"""How a TarBackupUnit keeps its memory: two state files, and the indices for incremental backups.

The forms of what is in the files stand in `tar_memory.py`. It joins the state directory and them.
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from guerillabackup.element import SourceUrl
from guerillabackup.generator.pending import Presence, Recovered
from guerillabackup.generator.state import OLD_STATE, STATE, DamagedStateError, StateDirectory
from guerillabackup.units import tar_index
from guerillabackup.units.source_book import MemoryForm, damage_told
from guerillabackup.units.tar_memory import (
    SourceMemory,
    dump_extras,
    dump_memories,
    dump_state,
    parse_memories,
    parse_memory,
)
from guerillabackup.units.tar_source import TarSource

EXTRAS = "extras.current"
"""State file for what the original does not know: the chain of the members' lists, and sizes to expect."""

log = logging.getLogger(__name__)


def make_details(source: TarSource, memory: SourceMemory) -> dict[str, Any]:
    """What is kept beside pending elements of a source."""
    return {
        "SourceUrl": str(source.source_url),
        "IndexPrefix": source.index_prefix,
        "HasIndex": source.has_index,
        "KeepIndices": source.keep_indices,
        "State": dump_state(memory),
        "Extras": dump_extras(memory),
    }


def _load(state: StateDirectory) -> dict[SourceUrl, SourceMemory]:
    current = state.load(STATE)
    if current is None:
        return {}
    with damage_told(state, STATE):
        memory = parse_memories(current, None)
    try:
        extras = state.load(EXTRAS)
        with damage_told(state, EXTRAS):
            return parse_memories(current, extras)
    except DamagedStateError as error:
        aside = state.move_aside(EXTRAS)
        log.warning("%s; it was moved to %s, and is made anew: the next backups are full ones", error, aside)
        # Which element the index belongs to is not known any more: no incremental backup goes on from it.
        return {url: replace(item, is_in_doubt=True) for url, item in memory.items()}


def _save(state: StateDirectory, memories: Mapping[SourceUrl, SourceMemory]) -> None:
    current, extras = dump_memories(memories)
    state.save(EXTRAS, extras)
    state.save(STATE, current, keep_as=OLD_STATE)


def _parse(recovered: Recovered) -> tuple[SourceUrl, SourceMemory]:
    details = recovered.details
    memory = parse_memory(details["State"], details["Extras"])
    memory = replace(memory, last_element=recovered.element_id)
    if recovered.presence is Presence.MOVED_ON:
        # No incremental backup builds on what cannot be looked at.
        memory = replace(memory, last_full=None)
    return SourceUrl(details["SourceUrl"]), memory


def _settle(state: StateDirectory, details: dict[str, Any]) -> None:
    prefix = str(details["IndexPrefix"])
    if details["HasIndex"]:
        tar_index.promote_index(state, prefix, int(details["KeepIndices"]))
    else:
        tar_index.drop_index(state, prefix)


TAR_FORM = MemoryForm(SourceMemory(), _load, _save, _parse, _settle)
