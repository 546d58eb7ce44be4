"""Detached OpenPGP signatures of data and metadata, and the keys for them and for encryption.

A name of a key never reaches gpg's arguments: it is looked up here, and gpg gets a fingerprint. gnupg is
imported by this module only, when a keyring is opened. Touches: gnupg, os, time.
"""

import io
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.errors import ConfigError, KeyUnusableError
from guerillabackup.signature_home import GpgHome, read_passphrase
from guerillabackup.signature_keys import check_new_key, generation_text, key_info
from guerillabackup.signature_limit import limit_calls
from guerillabackup.signature_revocation import find_fear, find_revocations, weigh_revocations
from guerillabackup.signature_trust import TRUST_KEY, is_trusted
from guerillabackup.signature_values import (
    MAX_SIGNATURE_SIZE,
    KeyInfo,
    KeyPart,
    KeyPurpose,
    SignatureResult,
    SignatureStatus,
    as_latin,
    call_key,
    check_packet,
    choose_for_export,
    choose_key,
    explain_no_key,
    find_imported,
    judge,
)

__all__ = [
    "MAX_SIGNATURE_SIZE",
    "KeyInfo",
    "KeyPart",
    "KeyPurpose",
    "Keyring",
    "SignatureResult",
    "SignatureStatus",
    "read_passphrase",
    "sign_metainfo",
    "verify_metainfo",
]

MAX_KEY_TEXT = 1 << 20
"""Characters of an exported key that is imported."""

_OF_KNOWN_KEYS = frozenset((SignatureStatus.EXPIRED, SignatureStatus.REVOKED))
"""Genuine, and not valid: who accepts them all the same does not accept another source or signer by that."""

_OPTIONS = (
    "--no-options",
    "--no-autostart",
    "--trust-model",
    "always",
    "--no-auto-check-trustdb",
    "--no-auto-key-locate",
    "--no-auto-key-retrieve",
    "--pinentry-mode",
    "loopback",
    "--display-charset",
    "utf-8",
)


class Keyring:
    """The keys in one directory, and what can be done with them.

    Safe to use from several threads, but for what writes keys. `close` ends the agent that was started for
    it. The directory must be there and be its owner's alone: KeyUnusableError. `passphrase_file` holds the
    passphrase of its secret keys in its first line, where they have one.
    """

    def __init__(
        self,
        directory: str,
        *,
        passphrase_file: str | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        import gnupg

        self._directory = directory
        self._clock = clock
        self._passphrase = None if passphrase_file is None else as_latin(read_passphrase(passphrase_file))
        self._signers: dict[str, KeyInfo] = {}
        self._listed: list[KeyInfo] | None = None
        self._home = GpgHome(directory)
        try:
            self._gpg = limit_calls(gnupg.GPG)(
                gnupghome=self._home.path, keyring=self._home.keyring_path, options=list(_OPTIONS)
            )
        except (OSError, ValueError) as error:
            self._home.close()
            raise ConfigError(f"gpg cannot be used: {_root_reason(error)}") from error
        except BaseException:
            self._home.close()
            raise
        # Any byte is a character of it, so that no user id of a foreign key can break the reading.
        self._gpg.encoding = "latin-1"

    def sign(self, key: str, data: bytes) -> bytes:
        """A detached binary signature over data; raises KeyUnusableError."""
        return self._sign(key, data, [])

    def sign_file(self, key: str, descriptor: int) -> bytes:
        """The same over a whole file from its start, wherever the descriptor stands; gpg reads it itself."""
        return self._sign(key, b"", ["--", _descriptor_path(descriptor)])

    def prepare_signing(self) -> None:
        """Start now what the first signature would start; raises ConfigError."""
        self._home.start_agent()

    def verify(self, data: bytes, signature: bytes) -> SignatureResult:
        """Whether a signature is one over this data, by a key of this keyring. Never raises for bad ones."""
        return self._verify(signature, lambda path: self._gpg.verify_data(path, data))

    def verify_file(self, descriptor: int, signature: bytes) -> SignatureResult:
        """The same for a whole file from its start."""
        return self._verify(
            signature,
            lambda path: self._gpg.verify_file(io.BytesIO(signature), _descriptor_path(descriptor)),
        )

    def list_keys(self, secret: bool = False) -> list[KeyInfo]:
        """All keys, sorted by name; only those with their secret half here when `secret`.

        They are as they were at the first look, or when a key was created or imported here.
        """
        if self._listed is None:
            self._listed = self._read_keys()
        return [key for key in self._listed if key.has_secret or not secret]

    def has_passphrase(self, key: KeyInfo) -> bool | None:
        """Whether its secret halves here have one; None where there is none of them here."""
        if not key.has_secret:
            return None
        protected = {name.removesuffix(".key") for name in self._home.list_protected_keys()}
        return not key.keygrips.isdisjoint(protected)

    def check_usable(self, name: str, purpose: KeyPurpose, now: float | None = None) -> KeyInfo:
        """The key that a name means, when it can serve the purpose; raises KeyUnusableError.

        To sign means to have the secret half here. `now` is UTC seconds.
        """
        keys = self.list_keys(secret=False)
        moment = self._clock() if now is None else now
        key = choose_key(keys, name, purpose, moment, self._directory)
        if purpose is KeyPurpose.SIGN and not key.has_secret:
            raise KeyUnusableError(
                f"key {call_key(name, key)} has no secret half in keyring {self._directory}; a key "
                "signs where it was made: make one here with guerillabackup key create NAME --purpose sign"
            )
        return key

    def why_invalid(self, signers: Collection[str]) -> str | None:
        """Why what some of these signed is not valid any more, by a revocation; None also where none is here.

        `signers` are fingerprints of primary keys and of their parts that may have signed.
        """
        for key in self.list_keys():
            signing = {key.fingerprint, *(part.fingerprint for part in key.parts)}.intersection(signers)
            if not signing or not (key.is_revoked or any(part.is_revoked for part in key.parts)):
                continue
            listing = self._gpg.list_keys(keys=key.fingerprint, sigs=True)
            if (fear := find_fear(listing.data.decode("latin-1"), signing)) is not None:
                return f"key {call_key(', '.join(key.names), key)}, by which it is signed, was {fear}"
        return None

    def create_key(
        self,
        name: str,
        purpose: KeyPurpose,
        *,
        algorithm: str = "ed25519",
        expires_in: int | None = None,
    ) -> KeyInfo:
        """A new key pair, protected by the keyring's passphrase if it has one.

        `name` is free text, `Name <mail>` or anything else. `expires_in` is seconds, None: it never expires.
        Raises ConfigError for a name that is taken or none, KeyUnusableError for what gpg does not make.
        """
        check_new_key(name, algorithm)
        if any(name in key.names for key in self.list_keys()):
            raise ConfigError(f"key {name!r} is in keyring {self._directory} already")
        self._home.prepare_writing()
        self._home.start_agent()
        text = generation_text(as_latin(name), purpose, algorithm, expires_in, self._passphrase)
        result = self._gpg.gen_key(text)
        if not result.fingerprint:
            raise KeyUnusableError(f"key {name!r} could not be created: {_last_message(result.stderr)}")
        self._use_keyring_file()
        return next(key for key in self.list_keys() if key.fingerprint == result.fingerprint)

    def export_key(self, name: str, *, secret: bool = False) -> str:
        """A key as ASCII text, its public half or both; raises KeyUnusableError."""
        fingerprint = choose_for_export(self.list_keys(), name, secret, self._directory).fingerprint
        text = self._export(fingerprint, secret, self._passphrase)
        if text:
            return text
        if not secret:
            raise KeyUnusableError(f"key {name!r} cannot be exported")
        lack = "has it a passphrase" if self._passphrase is None else "is the passphrase wrong"
        raise KeyUnusableError(
            f"key {name!r} cannot be exported with its secret half: {lack}; name the file with the "
            "right one by --passphrase-file"
        )

    def is_passphrase_of_any(self) -> bool:
        """Whether its passphrase is that of a secret key here; also when there is none to try it on."""
        keys = self.list_keys(secret=True)
        return not keys or any(
            # A key without a passphrase is exported with any.
            not self._export(key.fingerprint, True, None)
            and bool(self._export(key.fingerprint, True, self._passphrase))
            for key in keys
        )

    def import_key(self, text: str, *, secret: bool = False) -> list[KeyInfo]:
        """Add the keys of an ASCII text, secret halves only if told; raises KeyUnusableError without any.

        Revocation certificates are applied: the keys they are about are handed back, revoked as they are now.
        """
        if len(text) > MAX_KEY_TEXT:
            raise KeyUnusableError(f"key of {len(text)} characters, limit {MAX_KEY_TEXT}")
        if not secret and "PRIVATE KEY BLOCK" in text:
            raise KeyUnusableError(
                f"it is a secret key, which must not get into keyring {self._directory}; name the private "
                "keyring that is to have it with --private-keyring DIR"
            )
        if secret:
            self._home.prepare_writing()
            self._home.start_agent()
        result = self._gpg.import_keys(text.encode("utf-8", "replace"))
        found = find_imported(str(result.stderr).splitlines())
        if not found:
            reason = _last_message(result.stderr, "gpg: key ")
            raise KeyUnusableError(explain_no_key(text, reason, self._directory))
        self._use_keyring_file()
        return [key for key in self.list_keys() if key.fingerprint in found]

    def close(self) -> None:
        """End the agent that was started for it; called again it does nothing."""
        self._home.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _export(self, fingerprint: str, secret: bool, passphrase: str | None) -> str:
        """The key as text; empty where that needs another passphrase."""
        if secret:
            self._home.start_agent()
        text = self._gpg.export_keys(
            fingerprint,
            secret=secret,
            passphrase=passphrase if secret else None,
            expect_passphrase=False,
        )
        return str(text)

    def _sign(self, name: str, data: bytes, files: list[str]) -> bytes:
        key = self._signers.get(name) or self.check_usable(name, KeyPurpose.SIGN)
        self._signers[name] = key  # gpg itself refuses it once it has expired
        self._home.start_agent()
        result = self._gpg.sign_file(
            io.BytesIO(data),
            passphrase=self._passphrase,
            clearsign=False,
            detach=True,
            binary=True,
            extra_args=["--local-user", key.fingerprint, "--digest-algo", "SHA512", "--output", "-", *files],
        )
        signature = bytes(result.data)
        if not signature or check_packet(signature) is not None:
            reason = _last_message(result.stderr)
            raise KeyUnusableError(f"key {call_key(name, key)} cannot sign: {reason}")
        return signature

    def _verify(self, signature: bytes, run: Callable[[str], Any]) -> SignatureResult:
        problem = check_packet(signature)
        if problem is not None:
            return SignatureResult(SignatureStatus.BAD, problem)
        path = os.path.join(self._home.path, f"signature-{os.urandom(8).hex()}")
        with open(path, "xb") as stream:
            stream.write(signature)
        try:
            result = run(path)
        finally:
            os.unlink(path)
        lines = str(result.stderr).splitlines()
        # Only an expired key's end has to be looked up.
        expired = any("EXPKEYSIG" in line for line in lines)
        keys = [key_info(item, set()) for item in self._gpg.list_keys()] if expired else []
        judged = judge(lines, keys)
        return self._weigh_revocation(judged) if judged.status is SignatureStatus.REVOKED else judged

    def _weigh_revocation(self, judged: SignatureResult) -> SignatureResult:
        """gpg's answer to a signature does not tell why a key was revoked; its list of signatures does."""
        listing = self._gpg.list_keys(keys=judged.fingerprint, sigs=True)
        revocations = find_revocations(listing.data.decode("latin-1"), judged.signing_fingerprint or "")
        return weigh_revocations(judged, revocations, key_info(listing[0], set())) if listing else judged

    def _read_keys(self) -> list[KeyInfo]:
        if not os.path.exists(self._home.keyring_path):
            return []
        # gpg-agent keeps each secret key in a file of this name: to ask it takes an agent, and longer.
        secrets = {name.removesuffix(".key") for name in self._home.list_secret_keys()}
        keys = [key_info(item, secrets) for item in self._gpg.list_keys()]
        return sorted(keys, key=lambda key: (key.names, key.created))

    def _use_keyring_file(self) -> None:
        """The first key makes the file: tell gnupg which it is, and forget what was there."""
        self._listed = None
        self._gpg.keyring = [self._home.keyring_path]


def sign_metainfo(
    keyring: Keyring, key: str, metainfo: BackupElementMetainfo, source_url: SourceUrl
) -> BackupElementMetainfo:
    """The metadata with its source and the signature over both; raises KeyUnusableError."""
    named = metainfo.replace(SourceUrl=str(source_url))
    return named.replace(MetaDataSignature=keyring.sign(key, named.signed_bytes()))


def verify_metainfo(
    keyring: Keyring,
    metainfo: BackupElementMetainfo,
    source_url: SourceUrl,
    trusted: Mapping[str, Sequence[str]] | None,
) -> SignatureResult:
    """Whether metadata was signed for this source, by a key that may.

    `trusted` maps patterns of source URLs to fingerprints of primary or signing keys; what may sign a source
    may sign its members list. None: any key of the keyring may sign anything.
    """
    signature = metainfo.metadata_signature
    if signature is None:
        return SignatureResult(SignatureStatus.UNSIGNED, "the metadata is not signed")
    result = keyring.verify(metainfo.signed_bytes(), signature)
    if not result.is_valid and result.status not in _OF_KNOWN_KEYS:
        return result
    problem = None
    if metainfo.source_url != source_url:
        status = SignatureStatus.WRONG_SOURCE
        signed_for = "no source" if metainfo.source_url is None else f"source {metainfo.source_url}"
        problem = f"signed for {signed_for}, not for {source_url}"
    elif trusted is not None and not is_trusted(
        (result.fingerprint, result.signing_fingerprint), source_url, trusted
    ):
        status = SignatureStatus.UNTRUSTED
        problem = f"not by a key that {TRUST_KEY} trusts for source {source_url}: {result.text}"
    if problem is None:
        return result
    return SignatureResult(status, problem, result.fingerprint, result.signing_fingerprint, result.made_at)


def _root_reason(error: BaseException) -> str:
    """What gnupg's error came from: it says itself that gpg may not be available, whatever it was."""
    while error.__context__ is not None:
        error = error.__context__
    if isinstance(error, FileNotFoundError):
        return "there is no program gpg; is gnupg installed"
    return (isinstance(error, OSError) and error.strerror) or str(error)


def _descriptor_path(descriptor: int) -> str:
    """A name under which our children can open what we have open, also a file without a name."""
    return f"/proc/{os.getpid()}/fd/{descriptor}"


def _last_message(stderr: object, beginning: str = "gpg: ") -> str:
    """The last line gpg wrote for people."""
    lines = [line for line in str(stderr).splitlines() if line.startswith(beginning)]
    return lines[-1].removeprefix("gpg: ") if lines else "gpg does not say why"
