"""Which settings of a source decide what is in its archives, and whether they changed between two backups.

An incremental backup holds what is newer than the one before it. What a setting brings in is old, and in none
of them; what one takes out would stay in the chain. And whoever has one of the keys that a backup is
encrypted for is to restore it, which takes all of its chain. No I/O.
"""

import hashlib
import json
import posixpath
from collections.abc import Mapping, Sequence

from guerillabackup.units.tar_source import TarSource

STORAGE_KEY = "DefaultFileSystemSinkBaseDir"
RECIPIENTS_KEY = "EncryptionKeys"
"""What the digest of the keys is remembered by."""
DIGEST_LENGTH = 16
"""Hexadecimal digits kept of a digest. The values are not kept: a command may have secrets."""


def digest_selection(source: TarSource, recipients: Sequence[str]) -> dict[str, str]:
    """A digest of each setting that decides on the members, by its name; in lists the order means nothing.

    `recipients` are the keys that the archive is encrypted for.

    With a command in the place of tar, what tar would archive means nothing either. The commands around a
    backup, a mere mount or snapshot most often, do not count, nor does what happens to an archive after tar.
    """
    values: dict[str, object] = {
        "FullOverrideCommand": source.full_override,
        "IncOverrideCommand": source.inc_override,
        RECIPIENTS_KEY: sorted(set(recipients)),
    }
    if source.full_override is None:
        values |= {
            "Root": posixpath.normpath(source.root),
            "Include": sorted(set(source.include)),
            "Exclude": sorted(set(source.exclude)),
            STORAGE_KEY: sorted(source.left_out),
        }
    return {name: _digest(value) for name, value in values.items()}


def why_selection_differs(
    remembered: Mapping[str, str], source: TarSource, recipients: Sequence[str]
) -> str | None:
    """Which settings are not what they were; None also where it is not known what they were."""
    now = digest_selection(source, recipients)
    changed = [name for name, value in now.items() if remembered.get(name, value) != value]
    if changed == [RECIPIENTS_KEY]:
        return "the keys that it is encrypted for changed, and whoever has one of them needs all of the chain"
    if len(changed) > 1 and STORAGE_KEY in changed:
        changed.remove(STORAGE_KEY)  # where the storage is in the tree depends on the others
    return f"{', '.join(changed)} changed" if changed else None


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode("ascii")).hexdigest()[:DIGEST_LENGTH]
