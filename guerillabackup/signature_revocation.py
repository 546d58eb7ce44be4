"""What the revocation of a key makes of a signature by it; to gpg all are by a revoked key. No I/O.

A key that was merely given up still vouches for what it signed before, like one that expired. One that may be
in wrong hands vouches for nothing: whoever has it writes any date into a signature.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from guerillabackup.signature_values import KeyInfo, KeyPurpose, SignatureResult, SignatureStatus, day

_REASONS = {
    "00": "for no reason that was given",
    "01": "as superseded",
    "02": "as compromised",
    "03": "as no longer used",
}
_GIVEN_UP = frozenset(("01", "03"))
_OF_KEY, _OF_SUBKEY = "20", "28"
"""Classes of signatures that revoke."""


class Revocation(NamedTuple):
    """That a key or subkey was revoked: when as the revoker claims, and the number of the reason or ''."""

    made_at: int | None
    reason: str

    @property
    def is_given_up(self) -> bool:
        """Whether the key is only not to be used any more, and no fear of anybody else having it was told."""
        return self.reason in _GIVEN_UP and self.made_at is not None

    def __str__(self) -> str:
        when = "" if self.made_at is None else f" on {day(self.made_at)}"
        return f"revoked{when} {_REASONS.get(self.reason, 'for a reason that gpg does not tell')}"


def find_revocations(listing: str, signing: str) -> list[Revocation]:
    """Those of one key, and of the part of it that signed, in gpg's list of its signatures with colons."""
    found: list[Revocation] = []
    part = ""
    for fields in (line.split(":") for line in listing.splitlines()):
        if fields[0] in ("pub", "sub"):
            part = ""
        elif fields[0] == "fpr" and len(fields) > 9 and not part:
            part = fields[9]
        elif fields[0] == "rev" and len(fields) > 10:
            kind, _, reason = fields[10].partition(",")
            if kind[:2] == _OF_KEY or (kind[:2] == _OF_SUBKEY and part == signing):
                found.append(Revocation(int(fields[5]) if fields[5].isdigit() else None, reason))
    return found


def signers_of(key: KeyInfo) -> frozenset[str]:
    """Fingerprints that a signature by a key can have: its own, and those of its parts that may sign now."""
    parts = (part for part in key.parts if KeyPurpose.SIGN in part.capabilities and not part.is_revoked)
    return frozenset((key.fingerprint, *(part.fingerprint for part in parts)))


def find_fear(listing: str, parts: Collection[str]) -> Revocation | None:
    """The revocation by which no signature of these parts of a key counts any more, in the same list."""
    found = (each for part in sorted(parts) for each in find_revocations(listing, part))
    return next((each for each in found if not each.is_given_up), None)


def weigh_revocations(
    result: SignatureResult, revocations: Sequence[Revocation], key: KeyInfo
) -> SignatureResult:
    """The outcome for a signature by a revoked key: valid where that was only given up, and only later.

    Several revocations are all believed: the worst decides.
    """
    if not revocations or result.made_at is None:
        return result
    worst = min(revocations, key=lambda each: (each.is_given_up, each.made_at or 0))
    by = f"made by key {result.fingerprint}"
    ends = [
        key.expires,
        *(part.expires for part in key.parts if part.fingerprint == result.signing_fingerprint),
    ]
    if not worst.is_given_up:
        return result._replace(text=f"{by}, which was {worst}")
    if any(result.made_at >= end for end in (worst.made_at, *ends) if end is not None):
        return result._replace(text=f"{by}, which was {worst}, after that or after it had expired")
    text = f"{by} on {day(result.made_at)}, before it was {worst}"
    return result._replace(status=SignatureStatus.VALID, text=text)
