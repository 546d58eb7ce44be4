"""Which settings of a source decide what is in its archives, and whether they changed between two backups.

An incremental backup holds what is newer than the one before it. What a setting brings in is old, and in none
of them; what one takes out would stay in the chain. No I/O.
"""

import hashlib
import json
import posixpath
from collections.abc import Mapping

from guerillabackup.units.tar_source import TarSource

STORAGE_KEY = "DefaultFileSystemSinkBaseDir"
DIGEST_LENGTH = 16
"""Hexadecimal digits kept of a digest. The values are not kept: a command may have secrets."""


def digest_selection(source: TarSource) -> dict[str, str]:
    """A digest of each setting that decides on the members, by its name; in lists the order means nothing.

    With a command in the place of tar, what tar would archive means nothing either. The commands around a
    backup, a mere mount or snapshot most often, do not count, nor does what happens to an archive after tar.
    """
    values: dict[str, object] = {
        "FullOverrideCommand": source.full_override,
        "IncOverrideCommand": source.inc_override,
    }
    if source.full_override is None:
        values |= {
            "Root": posixpath.normpath(source.root),
            "Include": sorted(set(source.include)),
            "Exclude": sorted(set(source.exclude)),
            STORAGE_KEY: sorted(source.left_out),
        }
    return {name: _digest(value) for name, value in values.items()}


def why_selection_differs(remembered: Mapping[str, str], source: TarSource) -> str | None:
    """Which settings are not what they were; None also where it is not known what they were."""
    now = digest_selection(source)
    changed = [name for name, value in now.items() if remembered.get(name, value) != value]
    if len(changed) > 1 and STORAGE_KEY in changed:
        changed.remove(STORAGE_KEY)  # where the storage is in the tree depends on the others
    return f"{', '.join(changed)} changed" if changed else None


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode("ascii")).hexdigest()[:DIGEST_LENGTH]
