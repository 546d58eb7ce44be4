"""Whose signatures count when elements are received: the rules, from a keyring and who is trusted.

Each verification starts gpg, so that none is done for sources of which no key is known. It joins the keyring
with what the checks ask.
"""

import re
from collections.abc import Mapping, Sequence

from guerillabackup.element import MEMBERS_SUFFIX, BackupElementMetainfo, SourceUrl
from guerillabackup.signature import KeyPurpose, Keyring, SignatureResult, verify_metainfo
from guerillabackup.transfer.checks import NO_SIGNATURES, SignatureRules


def make_signature_rules(
    keyring: Keyring | None,
    trusted: Mapping[str, Sequence[str]] | None,
    *,
    requires_signatures: bool | None = None,
) -> SignatureRules:
    """Rules by one keyring; `trusted` as `verify_metainfo` takes it. None of both: nothing is asked.

    With `trusted`, keys are known for the sources of its patterns; without, for all of them, as soon as the
    keyring has a key that signs. `requires_signatures` None: where `trusted` names who signs, not where the
    host's own key may be the only one.
    """
    if keyring is None or not (trusted or _has_signer(keyring)):
        return NO_SIGNATURES

    def check_metadata(metainfo: BackupElementMetainfo, source_url: SourceUrl) -> SignatureResult:
        return verify_metainfo(keyring, metainfo, source_url, trusted)

    return SignatureRules(
        check_metadata,
        keyring.verify_file,
        lambda source_url: trusted is None or _is_named(source_url, trusted),
        trusted is not None if requires_signatures is None else requires_signatures,
    )


def _has_signer(keyring: Keyring) -> bool:
    """Whether there are keys that do not encrypt: those sign elements, also one that is revoked."""
    return any(KeyPurpose.ENCRYPT not in key.purposes for key in keyring.list_keys())


def _is_named(source_url: SourceUrl, trusted: Mapping[str, Sequence[str]]) -> bool:
    sources = [source_url.text]
    if source_url.is_members:
        sources.append(source_url.text.removesuffix(MEMBERS_SUFFIX))
    return any(re.fullmatch(pattern, source) for pattern in trusted for source in sources)
