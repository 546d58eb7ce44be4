"""What signatures and keys are to us: the outcome of a verification, a key and what it can do. No I/O.

`judge` turns the status lines of `gpg --verify` into an outcome; `choose_key` finds the key a name means.
"""

import enum
import shlex
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import NamedTuple

from guerillabackup.errors import KeyUnusableError

MAX_SIGNATURE_SIZE = 16 * 1024
"""Bytes of one detached signature."""
STATUS_PREFIX = "[GNUPG:] "

EXPIRY_WARNING = 30 * 86400
"""Seconds before the end of a key from which on it is warned of."""
_EXPIRED = "expired on"
MAX_NEAR = 3
"""Keys that a message names instead of one that is not there."""
_SIGNATURE_TAG = 2
_BINARY_DOCUMENT = 0
_WEAK_HASHES = {"1": "MD5", "2": "SHA-1", "3": "RIPEMD-160"}


class SignatureStatus(enum.Enum):
    """How a signature was found."""

    VALID = "valid"
    UNSIGNED = "unsigned"
    BAD = "bad"
    UNKNOWN_KEY = "unknown key"
    EXPIRED = "expired"
    REVOKED = "revoked key"
    WRONG_SOURCE = "wrong source"
    UNTRUSTED = "untrusted key"


class SignatureResult(NamedTuple):
    """The outcome of a verification, and a text that says why.

    `fingerprint` is the primary key's, `signing_fingerprint` that of the (sub)key that signed, `made_at` UTC
    seconds as the signer claims; None where they are not known for sure.
    """

    status: SignatureStatus
    text: str
    fingerprint: str | None = None
    signing_fingerprint: str | None = None
    made_at: int | None = None

    @property
    def is_valid(self) -> bool:
        return self.status is SignatureStatus.VALID

    @property
    def refusal(self) -> str:
        """What to say of a signature that is not valid, after its name."""
        return f"is {'' if self.status is SignatureStatus.UNTRUSTED else 'not valid: '}{self.text}"


class KeyPurpose(enum.Enum):
    """What a key is for."""

    SIGN = "sign"
    ENCRYPT = "encrypt"


class KeyPart(NamedTuple):
    """A primary key or a subkey of it: what it can do and until when (UTC seconds, None: for ever)."""

    fingerprint: str
    algorithm: str
    capabilities: frozenset[KeyPurpose]
    expires: int | None
    is_revoked: bool


class KeyInfo(NamedTuple):
    """One key of a keyring: primary key first, then its subkeys."""

    fingerprint: str
    names: tuple[str, ...]
    created: int
    expires: int | None
    is_revoked: bool
    is_disabled: bool
    parts: tuple[KeyPart, ...]
    has_secret: bool = False
    keygrips: frozenset[str] = frozenset()
    """What gpg-agent calls the secret halves of its parts, wherever they are."""

    @property
    def purposes(self) -> tuple[KeyPurpose, ...]:
        """What it can do, or could before it expired or was revoked as a whole."""
        parts = [part for part in self.parts if self.is_revoked or not part.is_revoked]
        return tuple(purpose for purpose in KeyPurpose if any(purpose in part.capabilities for part in parts))

    @property
    def algorithm(self) -> str:
        return self.parts[0].algorithm

    def expiry(self, purpose: KeyPurpose) -> int | None:
        """When it ends to serve a purpose: the last of its parts that can, the key itself at the latest."""
        ends = [part.expires for part in self.parts if purpose in part.capabilities and not part.is_revoked]
        limits = [end for end in (self.expires, _latest(ends)) if end is not None]
        return min(limits, default=None)

    def unusable_reason(self, purpose: KeyPurpose, now: float | None) -> str | None:
        """Why it cannot serve a purpose at a time, or whenever; None when it can.

        Secret halves are not looked at.
        """
        if self.is_revoked:
            return "is revoked"
        if self.is_disabled:
            return "is disabled"
        if now is not None and now < self.created:
            # gpg leaves out what such a key can do.
            return (
                f"is not valid before {moment(self.created)}, when it was made; "
                f"the clock of this host says {moment(now)}"
            )
        if purpose not in self.purposes:
            can = " and ".join(item.value for item in self.purposes) or "certify"
            return f"cannot {purpose.value}, only {can}"
        end = self.expiry(purpose)
        if now is not None and end is not None and end <= now:
            return f"{_EXPIRED} {day(end)}"
        return None


def day(seconds: float) -> str:
    """UTC seconds as a date."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


def moment(seconds: float) -> str:
    """UTC seconds as a date and a time."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}Z"


def time_left(end: float, now: float) -> str:
    """How long it is until UTC seconds: `730 days`, `36 hours`, `less than an hour`, `nothing`."""
    seconds = end - now
    if seconds <= 0:
        return "nothing"
    if seconds < 3600:
        return "less than an hour"
    return f"{seconds // 3600:.0f} hours" if seconds < 2 * 86400 else f"{seconds / 86400:.0f} days"


def call_key(name: str, key: KeyInfo) -> str:
    """A key in a message: what somebody called it, and its fingerprint."""
    return repr(name) if name == key.fingerprint else f"{name!r} ({key.fingerprint})"


def expiry_warning(name: str, key: KeyInfo, purpose: KeyPurpose, now: float, where: str) -> str | None:
    """That a key of the keyring `where` is about to expire, with what to do; None long before."""
    end = key.expiry(purpose)
    if end is None or end - now > EXPIRY_WARNING:
        return None
    remedy = expiry_remedy(key, purpose, where)
    return f"key {call_key(name, key)} expires on {day(end)}, {time_left(end, now)} are left; {remedy}"


def expiry_remedy(key: KeyInfo, purpose: KeyPurpose, where: str) -> str:
    """What to do about a key that has expired or is about to, or was revoked, which is for good."""
    if purpose is KeyPurpose.SIGN and key.is_revoked:
        return (
            "make another with guerillabackup key create NAME --purpose sign and name that one; what was "
            "signed by this one: doc/Restore.txt"
        )
    if purpose is KeyPurpose.SIGN:
        return f"prolong it with: gpg --homedir {shlex.quote(where)} --quick-set-expire {key.fingerprint} 2y"
    renewed = "" if key.is_revoked else "give it a new expiry in its private keyring and import it again; "
    return (
        f"{renewed}where it is one of several, take it out of the list; else make another with guerillabackup"
        " key create and encrypt for that one; keep this one for what is encrypted already"
    )


def choose_key(
    keys: Sequence[KeyInfo], name: str, purpose: KeyPurpose, now: float | None, where: str
) -> KeyInfo:
    """The key a name means: fingerprint, long key id, user id, its name or its mail address, never a part.

    A name in the same letters comes before one that differs in their case. Among several of one rank the
    usable one is meant. Raises KeyUnusableError: none, none usable, or more than one.
    """
    found = _best_called(keys, name) if name else []
    if not found:
        near = _name_near(keys, name, purpose)
        meant = f": is {' or '.join(near)} meant, which has to be written as a whole" if near else ""
        raise KeyUnusableError(
            f"key {name!r} is not in keyring {where}{meant}; make it with guerillabackup key create, or add "
            "it with guerillabackup key import"
        )
    usable = [key for key in found if key.unusable_reason(purpose, now) is None]
    if not usable:
        reason = found[0].unusable_reason(purpose, now)
        is_over = found[0].is_revoked or str(reason).startswith(_EXPIRED)
        remedy = f"; {expiry_remedy(found[0], purpose, where)}" if is_over else ""
        raise KeyUnusableError(f"key {call_key(name, found[0])} {reason}, in keyring {where}{remedy}")
    if len(usable) > 1:
        fingerprints = ", ".join(key.fingerprint for key in usable)
        raise KeyUnusableError(f"key {name!r} is ambiguous in keyring {where}: {fingerprints}")
    return usable[0]


def choose_for_export(keys: Sequence[KeyInfo], name: str, secret: bool, where: str) -> KeyInfo:
    """The key a name means, whatever it can do still, with its secret half if told; KeyUnusableError."""
    reasons: list[KeyUnusableError] = []
    for candidates in ([key for key in keys if key.has_secret or not secret], keys):
        for purpose in KeyPurpose:
            try:
                found = choose_key(candidates, name, purpose, None, where)
            except KeyUnusableError as error:
                reasons.append(error)
                continue
            if secret and not found.has_secret:
                raise KeyUnusableError(
                    f"key {call_key(name, found)} has no secret half in keyring {where}; name the "
                    "keyring it was made in with --private-keyring"
                )
            return found
    raise reasons[0]


def as_latin(text: str) -> str:
    """Its UTF-8 as the characters that gnupg turns into these bytes again."""
    return text.encode("utf-8").decode("latin-1")


def find_imported(status_lines: Iterable[str]) -> set[str]:
    """Fingerprints of the keys that an import was about, changed or not, from its status lines.

    For a revocation certificate gpg names the key it looked at, and no key that was imported.
    """
    fields = [line[len(STATUS_PREFIX) :].split() for line in status_lines if line.startswith(STATUS_PREFIX)]
    imported = {line[2] for line in fields if line[:1] == ["IMPORT_OK"] and len(line) > 2}
    return imported or {line[1] for line in fields if line[:1] == ["KEY_CONSIDERED"] and len(line) > 1}


def explain_no_key(text: str, message: str, where: str) -> str:
    """Why a text brought no key; `message` is gpg's last about a key."""
    if "\n:-----BEGIN PGP PUBLIC KEY BLOCK" in text:
        return (
            "it is a revocation certificate with a colon before its -----BEGIN line, which guards against "
            "accidents: to revoke the key for good, remove the colon and import it again"
        )
    if "can't apply revocation certificate" in message:
        return f"it is a revocation certificate of a key that is not in keyring {where}: {message}"
    return "it holds no OpenPGP key"


def check_packet(signature: bytes) -> str | None:
    """Why bytes are not exactly one binary detached signature; None when they are.

    gpg would take several signatures, or a signed message with its own content, for one.
    """
    if len(signature) > MAX_SIGNATURE_SIZE:
        return f"the signature has {len(signature)} bytes, limit {MAX_SIGNATURE_SIZE}"
    header = _packet_header(signature)
    if header is None:
        return "it is no OpenPGP packet"
    tag, start, length = header
    if tag != _SIGNATURE_TAG:
        return f"it is an OpenPGP packet of type {tag}, not a signature"
    if start + length != len(signature):
        return f"it is not one single signature of {len(signature)} bytes"
    body = signature[start:]
    if len(body) < 3 or body[0] not in (3, 4, 5, 6):
        return "it is a signature of an unknown version"
    kind = body[2] if body[0] == 3 else body[1]
    if kind != _BINARY_DOCUMENT:
        return f"it is a signature of type {kind:#04x}, not one of binary data"
    return None


def judge(status_lines: Iterable[str], keys: Sequence[KeyInfo]) -> SignatureResult:
    """The outcome of one `gpg --verify` from its status lines and the keys of its keyring."""
    lines = [line[len(STATUS_PREFIX) :].split() for line in status_lines if line.startswith(STATUS_PREFIX)]
    words = [line for line in lines if line]
    outcomes = [line[0] for line in words if line[0] in _OUTCOMES]
    if len(outcomes) != 1:
        return SignatureResult(SignatureStatus.BAD, f"gpg reports {len(outcomes)} signatures, not one")
    outcome = next(line for line in words if line[0] == outcomes[0])
    if outcome[0] == "ERRSIG":
        missing = any(line[0] == "NO_PUBKEY" for line in words)
        key_id = outcome[1] if len(outcome) > 1 else "?"
        if missing:
            return SignatureResult(
                SignatureStatus.UNKNOWN_KEY, f"made by key {key_id}, which is not in the keyring"
            )
        return SignatureResult(SignatureStatus.BAD, f"gpg cannot check the signature of key {key_id}")
    if outcome[0] == "BADSIG":
        return SignatureResult(SignatureStatus.BAD, "the signature is not one of this data")
    valid = [line for line in words if line[0] == "VALIDSIG"]
    if len(valid) != 1 or len(valid[0]) < 11 or not valid[0][3].isdigit():
        return SignatureResult(SignatureStatus.BAD, "gpg does not confirm the signature")
    return _judge_valid(outcome[0], valid[0], keys)


_OUTCOMES = ("GOODSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG", "BADSIG", "ERRSIG")


def _judge_valid(outcome: str, valid: Sequence[str], keys: Sequence[KeyInfo]) -> SignatureResult:
    signing, made_at, hash_algorithm, primary = valid[1], int(valid[3]), valid[8], valid[10]
    by = f"made by key {primary} on {day(made_at)}"

    def result(status: SignatureStatus, text: str) -> SignatureResult:
        return SignatureResult(status, text, primary, signing, made_at)

    if hash_algorithm in _WEAK_HASHES:
        return result(SignatureStatus.BAD, f"{by} over the weak hash {_WEAK_HASHES[hash_algorithm]}")
    key = next((key for key in keys if key.fingerprint == primary), None)
    parts = () if key is None else key.parts
    is_revoked = any(part.is_revoked for part in parts if part.fingerprint in (primary, signing))
    if outcome == "REVKEYSIG" or is_revoked or (key is not None and key.is_revoked):
        return result(SignatureStatus.REVOKED, f"{by}, which was revoked")
    if outcome == "EXPSIG":
        return result(SignatureStatus.EXPIRED, f"{by}, the signature itself has expired")
    if outcome == "GOODSIG":
        return result(SignatureStatus.VALID, by)
    ends = [] if key is None else [part.expires for part in key.parts if part.fingerprint == signing]
    limits = [end for end in (None if key is None else key.expires, *ends) if end is not None]
    if not limits or made_at >= min(limits):
        return result(SignatureStatus.EXPIRED, f"{by}, after the key had expired")
    return result(SignatureStatus.VALID, f"{by}, before the key expired on {day(min(limits))}")


def _best_called(keys: Iterable[KeyInfo], name: str) -> list[KeyInfo]:
    """The keys that are called so more than all others are; none when none is."""
    ranks: dict[int, list[KeyInfo]] = {}
    for key in keys:
        rank = _rank_called(key, name)
        if rank is not None:
            ranks.setdefault(rank, []).append(key)
    return ranks[min(ranks)] if ranks else []


def _rank_called(key: KeyInfo, name: str) -> int | None:
    """How well a name is this key's, 0 the best; None when it is not."""
    digits = name.replace(" ", "").removeprefix("0x").upper()
    if len(digits) in (16, 40, 64) and any(part.fingerprint.endswith(digits) for part in key.parts):
        return 0
    ranks = []
    for rank, fold in ((1, str), (3, str.casefold)):
        for text in map(fold, key.names):
            before, bracket, mail = text.rpartition(" <")
            if fold(name) == text:
                ranks.append(rank)
            elif bracket and fold(name) in (before, mail.removesuffix(">"), f"<{mail}"):
                ranks.append(rank + 1)
    return min(ranks, default=None)


def _name_near(keys: Sequence[KeyInfo], name: str, purpose: KeyPurpose) -> list[str]:
    """What to write for the keys that may be meant; gpg would take a part of a name, or the end of an id."""
    wanted = name.strip(" =<>@*!").removeprefix("0x").casefold()
    near: dict[str, None] = {}
    for key in sorted(keys, key=lambda each: purpose not in each.purposes):
        texts = [text.casefold() for text in key.names]
        is_part = any(wanted in text for text in texts)
        is_id = len(wanted) >= 8 and any(part.fingerprint.endswith(wanted.upper()) for part in key.parts)
        if wanted and (is_part or is_id or get_close_matches(wanted, texts, 1, cutoff=0.8)):
            is_unique = len(_best_called(keys, key.names[0] if key.names else "")) == 1
            near[repr(key.names[0] if is_unique else key.fingerprint)] = None
    return list(near)[:MAX_NEAR]


def _latest(ends: Sequence[int | None]) -> int | None:
    known = [end for end in ends if end is not None]
    return max(known) if known and len(known) == len(ends) else None


def _packet_header(data: bytes) -> tuple[int, int, int] | None:
    """Tag, start and length of the body of the first packet; None when there is none of a definite length."""
    if len(data) < 2 or not data[0] & 0x80:
        return None
    if data[0] & 0x40:
        tag, first = data[0] & 0x3F, data[1]
        if first < 192:
            return tag, 2, first
        if first < 224 and len(data) >= 3:
            return tag, 3, ((first - 192) << 8) + data[2] + 192
        if first == 255 and len(data) >= 6:
            return tag, 6, int.from_bytes(data[2:6], "big")
        return None
    size = {0: 1, 1: 2, 2: 4}.get(data[0] & 3)
    if size is None or len(data) < 1 + size:
        return None
    return (data[0] >> 2) & 0x0F, 1 + size, int.from_bytes(data[1 : 1 + size], "big")
