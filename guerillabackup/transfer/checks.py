"""Whether an offered element is to be taken, and whether what came is what was offered. No I/O."""

import enum
import fnmatch
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from guerillabackup.element import MEMBERS_SUFFIX, BackupElementMetainfo, SourceUrl
from guerillabackup.signature_values import SignatureResult, SignatureStatus
from guerillabackup.transfer.interface import ElementOffer, PeerRules
from guerillabackup.transfer.receiver_settings import ReceiverSettings

EMPTY_CHECKSUM = hashlib.sha512().digest()
FUTURE_TOLERANCE = 86400
"""Seconds a Timestamp may be ahead before that is reported."""
MAX_QUOTED = 500
"""Characters of what a peer says that are told."""

_ALWAYS_REFUSED = frozenset(
    (SignatureStatus.BAD, SignatureStatus.WRONG_SOURCE, SignatureStatus.UNTRUSTED, SignatureStatus.REVOKED)
)


class Verdict(enum.Enum):
    """What to do with an offered element."""

    TAKE = "take"
    LEAVE = "leave"
    """Not selected: somebody else's, or for another time."""
    REFUSE = "refuse"
    """The peer may not send it; said, and nothing kept."""
    QUARANTINE = "quarantine"
    """It is not what it claims to be."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, and why."""

    verdict: Verdict
    reason: str = ""


UNSIGNED = "it is not signed; GeneralRequireSignatures = False takes such elements"
IMPORT_KEY = (
    "once you know that it is the source's, import its public key with: guerillabackup key import FILE"
)
TAKEN = Judgement(Verdict.TAKE)


@dataclass(frozen=True, slots=True)
class SignatureRules:
    """What is asked of signatures; the functions may take long. None: there is no keyring to judge by.

    `check_data` reads from a descriptor, wherever it stands.
    """

    check_metadata: Callable[[BackupElementMetainfo, SourceUrl], SignatureResult] | None = None
    check_data: Callable[[int, bytes], SignatureResult] | None = None
    requires_signatures: bool = False
    """Whether an unsigned element, or one whose key is unknown or expired, is refused."""
    facts: str = ""
    """What they were made of: with others, what was refused may be taken."""


NO_SIGNATURES = SignatureRules()
"""Nothing is asked of signatures."""


def matches(source_url: SourceUrl, patterns: Sequence[str]) -> bool:
    """Whether a source, or the one whose members it lists, matches one of the patterns."""
    if "*" in patterns:
        return True
    sources = [source_url.text]
    if source_url.is_members:
        sources.append(source_url.text.removesuffix(MEMBERS_SUFFIX))
    return any(fnmatch.fnmatchcase(source, pattern) for source in sources for pattern in patterns)


def judge_offer(offer: ElementOffer, rules: PeerRules, settings: ReceiverSettings, now: float) -> Judgement:
    """What to do with an element, from what its sender says of it."""
    source_url, metainfo = offer.source_url, offer.metainfo
    if not matches(source_url, rules.accepted_sources):
        return Judgement(Verdict.REFUSE, f"source {source_url} is not one that {rules.agent_id} may send")
    if not _is_selected(source_url, metainfo, settings, now):
        return Judgement(Verdict.LEAVE)
    signed_for = metainfo.get("SourceUrl")
    if signed_for is not None and signed_for != source_url.text:
        return Judgement(
            Verdict.QUARANTINE, f"its metadata was made for source {str(signed_for)[:MAX_QUOTED]}"
        )
    if metainfo.checksum is None and not settings.allow_without_checksum:
        return Judgement(
            Verdict.QUARANTINE,
            "its metadata has no checksum of its data; AllowWithoutChecksum takes such elements",
        )
    return TAKEN


def _is_selected(
    source_url: SourceUrl, metainfo: BackupElementMetainfo, settings: ReceiverSettings, now: float
) -> bool:
    age = now - metainfo.timestamp
    policies = metainfo.handling_policy
    return (
        matches(source_url, settings.sources)
        and settings.backup_type in (None, metainfo.backup_type)
        and (settings.max_age is None or age <= settings.max_age)
        and (settings.min_age is None or age >= settings.min_age)
        and (not settings.handling_has or not settings.handling_has.isdisjoint(policies))
        and settings.handling_lacks.isdisjoint(policies)
    )


def judge_metadata_signature(offer: ElementOffer, rules: SignatureRules) -> Judgement:
    """What the signature of an element's metadata means, also that there is none."""
    if rules.check_metadata is None:
        return TAKEN
    if offer.metainfo.metadata_signature is None:
        return Judgement(Verdict.QUARANTINE, UNSIGNED) if rules.requires_signatures else TAKEN
    return judge_signature(rules.check_metadata(offer.metainfo, offer.source_url), "metadata", rules)


def judge_data_signature(
    metainfo: BackupElementMetainfo, descriptor: int, rules: SignatureRules
) -> Judgement:
    """What the signature of an element's data means, where there is one."""
    signature = metainfo.storage_file_signature
    if signature is None or rules.check_data is None:
        return TAKEN
    return judge_signature(rules.check_data(descriptor, signature), "data", rules)


def judge_signature(result: SignatureResult, what: str, rules: SignatureRules) -> Judgement:
    """What the outcome of a verification means; `what` is whose signature it is."""
    if result.is_valid:
        return TAKEN
    if result.status is SignatureStatus.UNKNOWN_KEY and rules.requires_signatures:
        return Judgement(
            Verdict.QUARANTINE,
            f"the signature of its {what} cannot be checked: {result.text}; {IMPORT_KEY}",
        )
    if result.status in _ALWAYS_REFUSED or rules.requires_signatures:
        return Judgement(Verdict.QUARANTINE, f"the signature of its {what} {result.refusal}")
    return TAKEN


def judge_content(metainfo: BackupElementMetainfo, digest: bytes, size: int) -> Judgement:
    """Whether the data that came is what the metadata says."""
    if metainfo.checksum is not None and metainfo.checksum != digest:
        return Judgement(
            Verdict.QUARANTINE, f"the {size} bytes that came do not have the checksum in its metadata"
        )
    return TAKEN


def judge_size(size: int, limit: int | None) -> Judgement:
    """Whether an element may have so many bytes, before any of them is asked for."""
    if limit is None or size <= limit:
        return TAKEN
    return Judgement(Verdict.QUARANTINE, f"it has {size} bytes, and the limit of an element is {limit}")


def doubt_time(metainfo: BackupElementMetainfo, now: float) -> str | None:
    """What is odd about its time; it decides nothing."""
    ahead = metainfo.timestamp - now
    if ahead <= FUTURE_TOLERANCE:
        return None
    return f"its Timestamp is {int(ahead)} s in the future"
