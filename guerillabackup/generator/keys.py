"""The keyring of a run, made ready in a thread of its own while other work is done.

It joins the keyring, and what units are given of it.
"""

import logging
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Self

from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.generator.interface import STANDING, MetainfoSigner
from guerillabackup.signature_revocation import signers_of
from guerillabackup.signature_trust import Trusted, distrust_text, signs_in_vain
from guerillabackup.signature_values import KeyInfo, KeyPurpose, expiry_warning

if TYPE_CHECKING:
    from guerillabackup.signature import Keyring

URGENT_SECONDS = 7 * 86400
"""Before the end of a key: from then on each run says so, also one that holds back what it says each time."""

log = logging.getLogger(__name__)


class KeyringAhead:
    """A keyring that is opened and read beside other work, and whose agent starts beside it too.

    It is opened by `begin`, or when it is first needed. Nothing is raised before `get`: units that need no
    key run without any. `close` waits for the thread.
    """

    def __init__(self, directory: str) -> None:
        self._executor = ThreadPoolExecutor(1, "keyring")
        self._opened: Future[Keyring] | None = None
        self._lock = threading.Lock()  # guards the opening
        self._directory = directory
        self._encryption_keys: dict[str, str] = {}
        self._warned_of: set[tuple[str, KeyPurpose]] = set()
        self._distrusted: set[tuple[str, SourceUrl]] = set()

    def check_signing_key(self, name: str, now: float) -> None:
        """Raise KeyUnusableError when this key cannot sign at `now`, UTC seconds; warn before that."""
        self._check_usable(name, KeyPurpose.SIGN, now)

    def find_encryption_key(self, name: str, now: float) -> str:
        """The fingerprint of the one usable key a name means; raises KeyUnusableError."""
        if name not in self._encryption_keys:
            self._encryption_keys[name] = self._check_usable(name, KeyPurpose.ENCRYPT, now).fingerprint
        return self._encryption_keys[name]

    def find_signers(self, name: str, now: float) -> frozenset[str]:
        """The fingerprints that a signature by this key can have; raises KeyUnusableError."""
        return signers_of(self._check_usable(name, KeyPurpose.SIGN, now))

    def why_invalid(self, signers: Collection[str]) -> str | None:
        """Why what some of these signed is not valid any more, by a revocation."""
        return self.get().why_invalid(signers)

    def make_signer(self, name: str) -> MetainfoSigner:
        """What signs metadata with a key."""
        from guerillabackup.signature import sign_metainfo

        keyring = self.get()

        def sign(metainfo: BackupElementMetainfo, source_url: SourceUrl) -> BackupElementMetainfo:
            return sign_metainfo(keyring, name, metainfo, source_url)

        return sign

    def make_data_signer(self, name: str) -> Callable[[int], bytes]:
        """What signs the data behind a descriptor with a key."""
        keyring = self.get()
        return lambda descriptor: keyring.sign_file(name, descriptor)

    def warn_of_distrust(self, name: str, source_url: SourceUrl, trusted: Trusted | None, now: float) -> None:
        """Warn once of a source whose elements this host signs with a key that is not trusted for it."""
        if trusted is None or source_url.is_members or (name, source_url) in self._distrusted:
            return
        key = self._check_usable(name, KeyPurpose.SIGN, now)
        if signs_in_vain(key, source_url, trusted):
            self._distrusted.add((name, source_url))
            log.warning("%s", distrust_text(name, key, [source_url]))

    def get(self) -> "Keyring":
        """The keyring; raises what opening and reading it raised."""
        return self.begin().result()

    def begin(self) -> "Future[Keyring]":
        """Have it opened from now on; does nothing when it was begun."""
        with self._lock:
            if self._opened is None:
                self._opened = self._executor.submit(_open, self._directory)
            return self._opened

    def prepare_signing(self) -> None:
        """Start what signing needs, so that it is there when the first element is whole."""
        self._executor.submit(self.get().prepare_signing)

    def close(self) -> None:
        self._executor.shutdown()
        if self._opened is not None and self._opened.exception() is None:
            self._opened.result().close()

    def _check_usable(self, name: str, purpose: KeyPurpose, now: float) -> KeyInfo:
        """The same as the keyring's; warns once of a key that is about to expire."""
        key = self.get().check_usable(name, purpose, now)
        warning = expiry_warning(name, key, purpose, now, self._directory)
        if warning is not None and (name, purpose) not in self._warned_of:
            self._warned_of.add((name, purpose))
            log.warning("%s", warning, extra=None if _ends_soon(key, purpose, now) else STANDING)
        return key

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _ends_soon(key: KeyInfo, purpose: KeyPurpose, now: float) -> bool:
    end = key.expiry(purpose)
    return end is not None and end - now <= URGENT_SECONDS


def _open(directory: str) -> "Keyring":
    # What it takes is imported in this thread, beside the work of the others.
    from guerillabackup.signature import Keyring

    keyring = Keyring(directory)
    try:
        keyring.list_keys()
    except BaseException:
        keyring.close()
        raise
    return keyring
