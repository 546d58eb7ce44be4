"""Encryption and decryption by GnuPG, as pipeline elements.

gpg's machine readable status lines go to its standard error with its words for people, and are taken out of
messages again. Joins os_process with what gpg's answers mean.
"""

import re
from collections.abc import Callable, Sequence

from guerillabackup.errors import ConfigError, GuerillaBackupError, IntegrityError, KeyUnusableError
from guerillabackup.pipeline.interface import (
    TransformationPipelineElementInterface,
    TransformationProcessOutputInterface,
)
from guerillabackup.pipeline.os_process import OSProcess, OSProcessPipelineElement
from guerillabackup.pipeline.outcome import ProcessEnd, judge_end

GPG_PROGRAM = "/usr/bin/gpg"
DEFAULT_HOME = "/etc/guerillabackup/keys"
NO_LOOKUP = "--no-auto-key-locate"
STATUS_PREFIX = "[GNUPG:] "
_REASONS = {
    "1": "not found or expired",
    "2": "ambiguous",
    "3": "of the wrong usage",
    "4": "revoked",
    "5": "expired",
    "10": "not trusted",
    "12": "missing its policy",
    "13": "not a secret key",
    "14": "disabled",
}
_UNUSABLE = re.compile(
    r": skipped: |no public key|unusable public key|key .*(expired|revoked|disabled)|no valid addressees",
    re.I,
)
_OUTPUT_FAILED = re.compile(
    r"error (writing to|flushing)|handle plaintext failed(?!: (Unexpected error|Invalid packet))", re.I
)
_INPUT_ENDED = "problem reading source"
"""Then the error that gpg names is whatever came last, such as of a file of its own that was not there."""
_EXACT_NAME = re.compile(r"(0x)?([0-9A-F]{40}|[0-9A-F]{64})!?|=.+|<[^<>]+>", re.I)
"""A fingerprint; the marks by which gpg takes a user id, or a mail address, for the whole of it."""
_NO_PASSPHRASE = re.compile(r"No passphrase given|No pinentry|Inappropriate ioctl|can't get input")
_BAD_PASSPHRASE_CODE = 11
_ERROR_CODE_MASK = 0xFFFF
"""What of a number of libgpg-error's is the error; the rest says who found it."""
_BEGIN = f"{STATUS_PREFIX}BEGIN_DECRYPTION"
_WHOLE = ("DECRYPTION_OKAY", "GOODMDC", "END_DECRYPTION")
_COUNTED_ERRORS = 2
"""The exit status of gpg where anything was an error to it, be it that one key of several does not fit."""
_KEY_NOTE = re.compile(r"gpg: Note: (?:secret key \S+ (expired) at (.+)|key has been (revoked))")
_FAILED = {"DECRYPTION_FAILED", "BADMDC", "ERROR", "FAILURE", "NODATA", "UNEXPECTED", "TRUNCATED"}
_HARMLESS = re.compile(
    r"\s*|\s+\".*\"|gpg: (anonymous recipient; trying secret key .*|okay, we are the anonymous recipient\."
    r"|encrypted with .*|ecdh failed in gcry_cipher_decrypt: Checksum error|public key decryption failed: .*"
    r"|error getting version from 'scdaemon': .*|WARNING: unsafe .*|keybox .* created|.*: trustdb created)"
)


class GpgEncryptionPipelineElement(TransformationPipelineElementInterface):
    """Encrypts for one key or several, which the encrypted data does not name."""

    def __init__(
        self, key: str | Sequence[str], argv: Sequence[str] | None = None, *, home: str | None = None
    ) -> None:
        """`argv` stands for all but the recipients; `home` holds the public keys; raises ConfigError."""
        self.keys = (key,) if isinstance(key, str) else tuple(key)
        if not self.keys or not all(isinstance(name, str) and name for name in self.keys):
            raise ConfigError(
                f"encryption key {key!r} has to be a name, or a list of names, that is not empty"
            )
        if argv is not None and (isinstance(argv, str) or not argv):
            raise ConfigError(f"arguments of gpg have to be a list of strings, not {argv!r}")
        self.argv = None if argv is None else tuple(argv)
        self.home = home

    @property
    def uses_default_keyring(self) -> bool:
        """Whether neither arguments nor a home of its own say where its keys are."""
        return self.argv is None and self.home is None

    @property
    def loose_names(self) -> tuple[str, ...]:
        """Names that gpg itself looks up, and takes any key for that has them anywhere in its user id."""
        if self.uses_default_keyring:
            return ()
        return tuple(name for name in self.keys if not _EXACT_NAME.fullmatch(name))

    def get_arguments(self) -> tuple[str, ...]:
        """The whole argv, program and recipients too."""
        recipients = (part for name in self.keys for part in ("--hidden-recipient", name))
        return (*self._get_own_arguments(), *recipients)

    def replace_key(self, key: str | Sequence[str]) -> "GpgEncryptionPipelineElement":
        """The same with other recipients. (replaceKey)"""
        return GpgEncryptionPipelineElement(key, self.argv, home=self.home)

    def replace_home(self, home: str) -> "GpgEncryptionPipelineElement":
        """The same with its keys there, unless arguments or a home of its own say where they are."""
        return (
            self if self.home is not None else GpgEncryptionPipelineElement(self.keys, self.argv, home=home)
        )

    def without_compression(self) -> "GpgEncryptionPipelineElement":
        """The same for what is compressed already; arguments that speak of compression stay as they are."""
        argv = self._get_own_arguments()
        if any(part.startswith(("--compress", "-z")) for part in argv):
            return self
        program, *others = argv
        plain = (program, "--compress-algo", "none", "--compress-level", "0", *others)
        return GpgEncryptionPipelineElement(self.keys, plain, home=self.home)

    def get_execution_instance(
        self, upstream_process_output: TransformationProcessOutputInterface | None
    ) -> OSProcess:
        argv = self.get_arguments()
        element = OSProcessPipelineElement(argv[0], argv, judge=self._judge)
        return element.get_execution_instance(upstream_process_output)

    def required_programs(self) -> tuple[str, ...]:
        return (self.get_arguments()[0],)

    def _get_own_arguments(self) -> tuple[str, ...]:
        if self.argv is None:
            return _default_arguments(self.home or DEFAULT_HOME)
        if any("auto-key-locate" in part for part in self.argv):
            return self.argv
        # gpg asks the network for a key it does not find, even of those whose arguments never spoke of it.
        return (self.argv[0], NO_LOOKUP, *self.argv[1:])

    def _judge(self, end: ProcessEnd) -> GuerillaBackupError:
        status, words = _split_messages(end.messages)
        refused = [line.split(" ", 2) for line in status if line.startswith("INV_RECP ")]
        names = ", ".join(_describe_refusal(fields, self.keys) for fields in refused)
        if refused or (end.exit_status > 0 and _UNUSABLE.search("\n".join(words))):
            wanted = names or ", ".join(repr(name) for name in self.keys)
            return KeyUnusableError(f"encryption key {wanted} is not usable: {end.describe(words)}")
        return _judge_without_status(end, words)


class GpgDecryptionPipelineElement(TransformationPipelineElementInterface):
    """Decrypts with whatever secret key fits; a missing one is KeyUnusableError, damage IntegrityError.

    A key that has expired or was revoked decrypts what was encrypted for it as it always did.
    """

    def __init__(
        self,
        home: str,
        passphrase_file: str | None = None,
        *,
        keyrings: Sequence[str] = (),
        called: str | None = None,
        warn: Callable[[str], object] | None = None,
    ) -> None:
        """`home` holds the secret keys; the file's first line is the passphrase of those that have one.

        `keyrings` are files with public keys beside the home's, of which the home has the secret ones.
        Messages name the home as it is `called`; `warn` is told of the key that decrypts, where it has ended.
        """
        self.home = home
        self.passphrase_file = passphrase_file
        self.keyrings = tuple(keyrings)
        self._called = home if called is None else called
        self._warn = warn

    def get_execution_instance(
        self, upstream_process_output: TransformationProcessOutputInterface | None
    ) -> OSProcess:
        argv = [GPG_PROGRAM, "--batch", "--lock-never", "--no-options", "--homedir", self.home]
        argv += ["--trust-model", "always", NO_LOOKUP, "--status-fd", "2"]
        argv += [part for path in self.keyrings for part in ("--keyring", path)]
        if self.passphrase_file is not None:
            argv += ["--pinentry-mode", "loopback", "--passphrase-file", self.passphrase_file]
        argv.append("--decrypt")
        # No exit status is allowed, so that every end is judged.
        element = OSProcessPipelineElement(GPG_PROGRAM, argv, (), judge=self._judge)
        return element.get_execution_instance(upstream_process_output)

    def required_programs(self) -> tuple[str, ...]:
        return (GPG_PROGRAM,)

    def _judge(self, end: ProcessEnd) -> GuerillaBackupError | None:
        messages = [line.replace(self.home, self._called) for line in end.messages]
        if self._warn is not None and (note := _describe_ended_key(messages)) is not None:
            self._warn(note)
        if end.exit_status == 0:
            return None
        status, words = _split_messages(messages)
        text = "\n".join(words)
        kinds = {line.split(" ", 1)[0] for line in status}
        if end.exit_status < 0 or (_OUTPUT_FAILED.search(text) and _INPUT_ENDED not in text):
            return _judge_without_status(end, words)
        if end.exit_status == _COUNTED_ERRORS and _is_whole(messages):
            # Data for hidden recipients is tried with each secret key: gpg counts the wrong ones as errors.
            return None
        # What it lacks the key of another recipient for is no lack, once it has one that fits.
        has_key = "DECRYPTION_KEY" in kinds
        if not has_key and (missing := _describe_missing(status, text, self._called)):
            return KeyUnusableError(f"{missing}: {end.describe(words)}")
        if has_key or "BEGIN_DECRYPTION" in kinds or "block_filter" in text:
            return IntegrityError(f"encrypted data is damaged: {end.describe(words)}")
        if kinds & {"NODATA", "UNEXPECTED", "BADARMOR"}:
            return IntegrityError(f"this is not encrypted data: {end.describe(words)}")
        return _judge_without_status(end, words)


def _default_arguments(home: str) -> tuple[str, ...]:
    return (
        *(
            GPG_PROGRAM,
            "--batch",
            "--lock-never",
            "--no-options",
            "--homedir",
            home,
            "--trust-model",
            "always",
        ),
        *(NO_LOOKUP, "--status-fd", "2", "--throw-keyids", "--no-emit-version", "--encrypt"),
    )


def _split_messages(messages: Sequence[str]) -> tuple[list[str], list[str]]:
    """What gpg says to programs, without its prefix, and what it says to people."""
    status = [line.removeprefix(STATUS_PREFIX) for line in messages if line.startswith(STATUS_PREFIX)]
    return status, [line for line in messages if not line.startswith(STATUS_PREFIX)]


def _is_whole(messages: Sequence[str]) -> bool:
    """Whether all of one message was decrypted, and nothing failed from where the key was found.

    What gpg says before is of the keys it tried: that one does not fit, has expired, was revoked.
    """
    if messages.count(_BEGIN) != 1:
        return False
    status, words = _split_messages(messages[messages.index(_BEGIN) :])
    kinds = [line.split(" ", 1)[0] for line in status]
    return (
        kinds[-1] == _WHOLE[-1]
        and all(kinds.count(kind) == 1 for kind in _WHOLE)
        and not _FAILED.intersection(kinds)
        and all(_HARMLESS.fullmatch(line) for line in words)
    )


def _describe_ended_key(messages: Sequence[str]) -> str | None:
    """That the key which decrypts has expired or was revoked; None for any other."""
    status, words = _split_messages(messages)
    fields = [line.split(" ") for line in status if line.startswith("DECRYPTION_KEY ")]
    notes = [note for line in words if (note := _KEY_NOTE.fullmatch(line)) is not None]
    if not fields or not notes:
        return None
    key = fields[-1][2] if len(fields[-1]) > 2 else fields[-1][1]
    ends = dict.fromkeys("was revoked" if note[3] else f"expired at {note[2]}" for note in notes)
    return (
        f"key {key} {' and '.join(ends)}: it decrypts what was encrypted for it all the same, keep it for "
        "that; new backups need another"
    )


def _describe_missing(status: Sequence[str], text: str, home: str) -> str | None:
    """What gpg lacked to decrypt, key or passphrase; None when that is not what it failed for."""
    fields = [line.split(" ") for line in status]
    codes = {int(each[2]) & _ERROR_CODE_MASK for each in fields if each[:2] == ["ERROR", "pkdecrypt_failed"]}
    kinds = {each[0] for each in fields}
    if _BAD_PASSPHRASE_CODE in codes or "BAD_PASSPHRASE" in kinds:
        return "the passphrase of the secret key is wrong"
    if _NO_PASSPHRASE.search(text) or kinds & {"NEED_PASSPHRASE", "MISSING_PASSPHRASE"}:
        return "the secret key has a passphrase, and none was given"
    if "NO_SECKEY" not in kinds and "decryption failed: No secret key" not in text:
        return None
    if "PINENTRY_LAUNCHED" in kinds:
        return f"no secret key in {home} decrypts this without its passphrase, and none was given"
    named = sorted({each[1] for each in fields if each[0] == "NO_SECKEY" and each[1:] and each[1].strip("0")})
    if named:
        return f"no secret key in {home} decrypts this: it was encrypted for {', '.join(named)}"
    # Data for hidden recipients names no key: gpg tries each, and says no more of a wrong passphrase.
    return f"no secret key in {home} decrypts this"


def _judge_without_status(end: ProcessEnd, words: list[str]) -> GuerillaBackupError:
    return judge_end(ProcessEnd(end.stage, end.program, end.exit_status, tuple(words)))


def _describe_refusal(fields: list[str], keys: Sequence[str]) -> str:
    """`'KEY' (expired)`, from INV_RECP's reason and name."""
    reason = _REASONS.get(fields[1], "") if len(fields) > 1 else ""
    name = fields[2] if len(fields) > 2 else ", ".join(keys)
    return f"{name!r} ({reason})" if reason else repr(name)
