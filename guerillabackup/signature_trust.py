"""Which keys GeneralTrustedSigningKeys lets sign which source. No I/O."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from guerillabackup.element import MEMBERS_SUFFIX, SourceUrl
from guerillabackup.signature_values import KeyInfo, KeyPurpose, call_key

TRUST_KEY = "GeneralTrustedSigningKeys"
MAX_SOURCES = 3
"""Sources that a message names."""

_LIKE_SHELL = re.compile(r"(?<=[A-Za-z0-9_/-])(?<!\\[A-Za-z0-9_/-])\*")
"""A star that repeats a single character, as nobody wants of a name."""
_BEGINNINGS = "/.([\\^"
"""With what an expression begins that can match a slash."""

Trusted = Mapping[str, Sequence[str]]
"""From patterns of source URLs to fingerprints of primary or signing keys."""


def is_trusted(fingerprints: Collection[str | None], source_url: SourceUrl, trusted: Trusted) -> bool:
    """Whether one of a key's fingerprints may sign a source; who may, may sign its list of members."""
    sources = [str(source_url)]
    if source_url.is_members:
        sources.append(str(source_url).removesuffix(MEMBERS_SUFFIX))
    return any(
        fingerprint.upper() in fingerprints
        for pattern, allowed in trusted.items()
        if any(re.fullmatch(pattern, source) for source in sources)
        for fingerprint in allowed
    )


def find_odd_patterns(patterns: Iterable[str]) -> Iterator[str]:
    """What of the regular expressions can hardly be meant: they stand beside settings with shell patterns."""
    for pattern in patterns:
        if _LIKE_SHELL.search(pattern):
            meant = _LIKE_SHELL.sub(".*", pattern)
            yield (
                f"{TRUST_KEY} has {pattern!r}, which looks like a shell pattern: here it is a regular "
                f"expression, as {meant!r} is, which trusts for all that begins so"
            )
        elif pattern[:1] not in _BEGINNINGS or not pattern:
            yield f"{TRUST_KEY} has {pattern!r}, which matches nothing: a source begins with a slash"
        elif pattern.endswith("/"):
            yield (
                f"{TRUST_KEY} has {pattern!r}, which matches nothing: no source ends with a slash; "
                f"{pattern + '.*'!r} trusts for all below it"
            )


def signs_in_vain(key: KeyInfo, source_url: SourceUrl, trusted: Trusted | None) -> bool:
    """Whether what a key signs of a source is refused by those who trust these alone; None trusts all."""
    signing = (part.fingerprint for part in key.parts if KeyPurpose.SIGN in part.capabilities)
    return trusted is not None and not is_trusted({key.fingerprint, *signing}, source_url, trusted)


def distrust_text(name: str, key: KeyInfo, sources: Sequence[SourceUrl]) -> str:
    """That what this host signs of some sources is refused by its own configuration, and what to do."""
    named = ", ".join(map(str, sources[:MAX_SOURCES]))
    if len(sources) > MAX_SOURCES:
        named += f" and {len(sources) - MAX_SOURCES} more"
    return (
        f"{TRUST_KEY} does not trust the key {call_key(name, key)}, by which this host signs, for source "
        f"{named}: element verify and restore refuse what is made of it; add to it, for each: "
        f"{str(sources[0])!r}: [{key.fingerprint!r}]"
    )
