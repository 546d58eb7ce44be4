"""How signatures are judged when elements are verified: which keyrings are asked, and what a gap means.

It joins the keyrings with the rules that verify.py applies.
"""

import contextlib
import os
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.errors import KeyUnusableError
from guerillabackup.restore.verify import VerifyRules
from guerillabackup.signature import (
    KeyPurpose,
    Keyring,
    SignatureResult,
    SignatureStatus,
    verify_metainfo,
)
from guerillabackup.signature_home import why_not_readable


def open_rules(
    keys_directory: str,
    private_keyrings: Sequence[str],
    trusted: Mapping[str, Sequence[str]] | None,
    *,
    is_required: bool | None,
    signs_here: bool,
    accept_unverified: bool,
    stack: contextlib.ExitStack,
) -> VerifyRules:
    """How signatures are judged on this host, by the keyrings that the stack closes.

    Who restores may have nothing but the private keyring, which has the public signing keys as well. Where
    nothing says whether signatures are required they are when this host signs, or has keys to check them by.
    """
    # A keyring that this user may not enter is as if it were not there, like a configuration: the other one
    # may be enough. What is asked of that keyring itself says later that it cannot be read.
    has_own = os.path.isdir(keys_directory) and os.access(keys_directory, os.R_OK | os.X_OK)
    readable: list[str] = []
    for directory in private_keyrings:
        if (denied := why_not_readable(directory)) is None:
            readable.append(directory)
        elif not has_own:
            raise KeyUnusableError(denied)
    own, private = (
        [stack.enter_context(Keyring(directory)) for directory in directories if os.path.isdir(directory)]
        for directories in ([keys_directory] if has_own else [], readable)
    )
    if is_required is None:
        is_required = signs_here or knows_signers([*own, *private])
    return make_rules(
        [*own, *private],
        trusted,
        is_required=is_required,
        accept_unverified=accept_unverified,
        import_into=None if own or not readable else readable[0],
    )


def make_rules(
    keyrings: Sequence[Keyring],
    trusted: Mapping[str, Sequence[str]] | None,
    *,
    is_required: bool,
    accept_unverified: bool,
    import_into: str | None = None,
) -> VerifyRules:
    """Rules by the keyrings, asked in their order; `trusted` as `verify_metainfo` takes it.

    Elements without a signature are violations where signatures are required, those whose signature cannot be
    checked everywhere, unless they are to be accepted all the same. `import_into` is the keyring to import
    public keys into where that is not the one of the configuration.
    """
    unsigned, unverifiable = is_required and not accept_unverified, not accept_unverified
    if not keyrings:
        return VerifyRules(None, None, unsigned, unverifiable)

    def check_metadata(metainfo: BackupElementMetainfo, source_url: SourceUrl) -> SignatureResult:
        return _ask(keyrings, lambda keyring: verify_metainfo(keyring, metainfo, source_url, trusted))

    def check_data(descriptor: int, signature: bytes) -> SignatureResult:
        return _ask(keyrings, lambda keyring: keyring.verify_file(descriptor, signature))

    rules = VerifyRules(check_metadata, check_data, unsigned, unverifiable)
    if import_into is not None:
        rules = replace(
            rules, import_command=f"{rules.import_command} --private-keyring {shlex.quote(import_into)}"
        )
    return rules


def knows_signers(keyrings: Iterable[Keyring]) -> bool:
    """Whether there are keys that do not encrypt, so that genuine elements are expected to be signed.

    Keys that encrypt are there for that, whatever else they could do, also when they were revoked; a revoked
    one of those that sign still says that signatures are to be expected.
    """
    return any(KeyPurpose.ENCRYPT not in key.purposes for keyring in keyrings for key in keyring.list_keys())


def _ask(keyrings: Sequence[Keyring], check: Callable[[Keyring], SignatureResult]) -> SignatureResult:
    """The answer of the first keyring that knows the key, else that of the first one."""
    results = []
    for keyring in keyrings:
        results.append(check(keyring))
        if results[-1].status is not SignatureStatus.UNKNOWN_KEY:
            return results[-1]
    return results[0]
