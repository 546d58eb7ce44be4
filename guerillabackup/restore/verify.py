"""Whether an element is what it claims to be: digest, signatures, and that it can be read at all.

How a signature is judged comes in as functions: this module knows no keyring and no configuration.
Touches: os.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from guerillabackup.element import BackupElementMetainfo, ElementId, SourceUrl
from guerillabackup.errors import (
    ElementNotFoundError,
    IntegrityError,
    KeyUnusableError,
    MetainfoError,
    StorageError,
)
from guerillabackup.events import EventListener, VerifyProgress, ignore_events
from guerillabackup.osfile import storage_errors
from guerillabackup.restore.renamed import doubt_name
from guerillabackup.signature_values import SignatureResult, SignatureStatus
from guerillabackup.storage.interface import StorageBackupDataElementInterface

BUFFER_SIZE = 1 << 20
BUFFER_COUNT = 3
PROGRESS_STEP = 16 << 20
"""Bytes between two reports of progress."""

NO_KEYRING = (
    "no keyring is known that could have the source's public signing key; name the directory of one with "
    "--private-keyring DIR"
)
LAST_RESORT = (
    "where that key is lost, --accept-unverified goes on as a last resort, and nothing says then who made "
    "the element"
)
REVOKED_RESORT = (
    "the signature fits, but whoever else has that key could have made it: where the element is known to be "
    "older than the reason for that, --accept-unverified goes on with a warning"
)
_ALWAYS_VIOLATED = frozenset((SignatureStatus.BAD, SignatureStatus.WRONG_SOURCE, SignatureStatus.UNTRUSTED))


@dataclass(frozen=True, slots=True)
class VerifyRules:
    """What is asked of an element's signatures.

    `check_metadata` judges the signature of metadata for a source, `check_data` the one over the data (from a
    descriptor, wherever it stands); None where there is no keyring to judge by. `unsigned_is_violation` and
    `unverifiable_is_violation` (unknown, expired, revoked key; no keyring) say what only warns otherwise.
    """

    check_metadata: Callable[[BackupElementMetainfo, SourceUrl], SignatureResult] | None = None
    check_data: Callable[[int, bytes], SignatureResult] | None = None
    unsigned_is_violation: bool = False
    unverifiable_is_violation: bool = False
    import_command: str = "guerillabackup key import FILE"
    """How a key that is not known is made known to these functions."""


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found about one element; `signed_by` is the fingerprint of who signed its metadata.

    `unknown_keys` counts those violations that say no more than that a key to check with is not known here.
    """

    element_id: ElementId
    size: int
    signed_by: str | None
    warnings: tuple[str, ...]
    violations: tuple[str, ...]
    unknown_keys: int = 0

    @property
    def only_lacks_keys(self) -> bool:
        """Whether it is not in order, and nothing but keys to check with is what it lacks."""
        return bool(self.violations) and self.unknown_keys == len(self.violations)

    @property
    def is_ok(self) -> bool:
        return not self.violations

    def require_ok(self, way_out: Callable[[ElementId], str] = lambda element_id: "") -> None:
        """Raises IntegrityError with the violations, if there are any; KeyUnusableError for unknown keys."""
        if self.only_lacks_keys:
            raise KeyUnusableError(f"element {self.element_id}: {'; '.join(self.violations)}")
        if self.violations:
            found = "; ".join(self.violations)
            raise IntegrityError(f"element {self.element_id}: {found}{way_out(self.element_id)}")


def summarize_warnings(verifications: Sequence[Verification]) -> list[str]:
    """The warnings of all, equal ones once."""
    by_text: dict[str, list[ElementId]] = {}
    for verification in verifications:
        for text in verification.warnings:
            by_text.setdefault(text, []).append(verification.element_id)
    return [
        f"element {ids[0]}: {text}" if len(ids) == 1 else f"{len(ids)} elements, {ids[0]} first: {text}"
        for text, ids in by_text.items()
    ]


def verify_element(
    element: StorageBackupDataElementInterface, rules: VerifyRules, listen: EventListener = ignore_events
) -> Verification:
    """Read an element completely and compare it with what its metadata says.

    What cannot be read is a violation as well. Raises ElementNotFoundError when it is gone.
    """
    return verify_data(element, verify_metadata(element, rules), rules, listen)


def verify_needed(
    elements: Sequence[StorageBackupDataElementInterface],
    rules: VerifyRules,
    listen: EventListener = ignore_events,
    way_out: Callable[[ElementId], str] = lambda element_id: "",
) -> list[Verification]:
    """Verify all, and raise IntegrityError or KeyUnusableError for the first violation, before more is read.

    All metadata is judged before any data is read: that is what takes time. `way_out` ends the sentence about
    an element that is not what it claims to be.
    """
    judged: list[Verification] = []
    for element in elements:
        judged.append(verify_metadata(element, rules))
        judged[-1].require_ok(way_out)
    verifications: list[Verification] = []
    for element, before in zip(elements, judged, strict=True):
        verifications.append(verify_data(element, before, rules, listen))
        verifications[-1].require_ok(way_out)
    return verifications


def verify_metadata(element: StorageBackupDataElementInterface, rules: VerifyRules) -> Verification:
    """What `verify_element` finds without the data, which is cheap."""
    findings = _Findings(rules)
    with findings.of_reading():
        findings.check_name(element.get_metadata(), element.get_element_id())
        findings.check_signature(element.get_metadata(), element.get_source_url())
    return findings.result(element.get_element_id(), 0)


def verify_data(
    element: StorageBackupDataElementInterface,
    before: Verification,
    rules: VerifyRules,
    listen: EventListener = ignore_events,
) -> Verification:
    """What `verify_element` finds, `before` being what `verify_metadata` did."""
    element_id = element.get_element_id()
    findings = _Findings(rules, before)
    size = 0
    with findings.of_reading():
        metainfo = element.get_metadata()
        with element.get_data_stream() as stream:
            descriptor = stream.fileno()
            total = os.fstat(descriptor).st_size
            listen(VerifyProgress(element_id, 0, total))
            digest, size = digest_data(
                descriptor, lambda done: listen(VerifyProgress(element_id, done, max(total, done + 1)))
            )
            listen(VerifyProgress(element_id, size, size))
            findings.check_digest(metainfo, digest)
            findings.check_data_signature(metainfo, descriptor)
    return findings.result(element_id, size)


def digest_data(descriptor: int, on_progress: Callable[[int], None] = lambda done: None) -> tuple[bytes, int]:
    """SHA-512 and size of what can be read from a descriptor to its end; raises StorageError.

    The next block is read while the one before it is hashed, in a thread that releases the GIL.
    """
    digest = hashlib.sha512()
    buffers = [memoryview(bytearray(BUFFER_SIZE)) for _ in range(BUFFER_COUNT)]
    pending: list[Future[None] | None] = [None] * BUFFER_COUNT
    size = index = reported = 0
    with ThreadPoolExecutor(1, thread_name_prefix="verify-hash") as executor:
        while True:
            if (before := pending[index]) is not None:
                before.result()
            with storage_errors("cannot read the data"):
                count = os.readv(descriptor, [buffers[index]])
            if count == 0:
                break
            pending[index] = executor.submit(digest.update, buffers[index][:count])
            index = (index + 1) % BUFFER_COUNT
            size += count
            if size - reported >= PROGRESS_STEP:
                reported = size
                on_progress(size)
    return digest.digest(), size


class _Findings:
    """Collects what is wrong with one element."""

    def __init__(self, rules: VerifyRules, before: Verification | None = None) -> None:
        self._rules = rules
        self.signed_by = None if before is None else before.signed_by
        self.warnings: list[str] = [] if before is None else list(before.warnings)
        self.violations: list[str] = [] if before is None else list(before.violations)
        self.unknown_keys = 0 if before is None else before.unknown_keys

    @contextlib.contextmanager
    def of_reading(self) -> Iterator[None]:
        """What cannot be read is a violation, told once; what is gone is an ElementNotFoundError."""
        try:
            yield
        except ElementNotFoundError:
            raise
        except (MetainfoError, StorageError) as error:
            text = f"cannot be read: {error}"
            if text not in self.violations:
                self.violations.append(text)

    def result(self, element_id: ElementId, size: int) -> Verification:
        warnings, violations = tuple(self.warnings), tuple(self.violations)
        return Verification(element_id, size, self.signed_by, warnings, violations, self.unknown_keys)

    def check_digest(self, metainfo: BackupElementMetainfo, digest: bytes) -> None:
        if metainfo.checksum is None:
            self._add("its metadata has no checksum of the data", self._rules.unsigned_is_violation)
        elif metainfo.checksum != digest:
            self._add("its data is not what its checksum says", True)

    def check_name(self, metainfo: BackupElementMetainfo, element_id: ElementId) -> None:
        for doubt in doubt_name(metainfo, element_id):
            self._add(doubt.text, doubt.is_violation)

    def check_signature(self, metainfo: BackupElementMetainfo, source_url: SourceUrl) -> None:
        if metainfo.source_url not in (None, source_url):
            is_deep = str(metainfo.source_url).endswith(str(source_url))
            hint = ": is the storage one directory up, or more" if is_deep else ""
            self._add(f"its metadata was made for source {metainfo.source_url}{hint}", True)
        if metainfo.metadata_signature is None:
            self._add("it is not signed", self._rules.unsigned_is_violation)
        elif self._rules.check_metadata is None:
            self.unknown_keys += self._rules.unverifiable_is_violation
            text = f"its signature cannot be checked: {NO_KEYRING}"
            self._add(text, self._rules.unverifiable_is_violation)
        else:
            result = self._rules.check_metadata(metainfo, source_url)
            self._judge("its signature", result)
            if result.is_valid:
                self.signed_by = result.fingerprint

    def check_data_signature(self, metainfo: BackupElementMetainfo, descriptor: int) -> None:
        signature = metainfo.storage_file_signature
        if signature is not None and self._rules.check_data is not None:
            self._judge("the signature of its data", self._rules.check_data(descriptor, signature))

    def _judge(self, what: str, result: SignatureResult) -> None:
        if not result.is_valid:
            is_violation = result.status in _ALWAYS_VIOLATED or self._rules.unverifiable_is_violation
            if result.status is SignatureStatus.UNKNOWN_KEY:
                self.unknown_keys += is_violation
                hint = f"import the source's public signing key with: {self._rules.import_command}"
                last_resort = f"; {LAST_RESORT}" if is_violation else ""
                self._add(f"{what} cannot be checked: {result.text}; {hint}{last_resort}", is_violation)
            else:
                is_last_resort = is_violation and result.status is SignatureStatus.REVOKED
                last_resort = f"; {REVOKED_RESORT}" if is_last_resort else ""
                self._add(f"{what} {result.refusal}{last_resort}", is_violation)

    def _add(self, text: str, is_violation: bool) -> None:
        (self.violations if is_violation else self.warnings).append(text)
