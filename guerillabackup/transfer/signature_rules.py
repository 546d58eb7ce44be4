"""Whose signatures count when elements are received: the rules, from a keyring and who is trusted.

What `element verify` of the receiving host would call a violation is not taken: an acknowledged element is
deleted by its sender. It joins the keyring with what the checks ask.
"""

from collections.abc import Mapping, Sequence

from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.signature import KeyPurpose, Keyring, SignatureResult, SignatureStatus, verify_metainfo
from guerillabackup.transfer.checks import NO_SIGNATURES, SignatureRules


def make_signature_rules(
    keyring: Keyring | None,
    trusted: Mapping[str, Sequence[str]] | None,
    *,
    requires_signatures: bool | None = None,
    signs_here: bool = False,
) -> SignatureRules:
    """Rules by one keyring; `trusted` as `verify_metainfo` takes it. A host that knows no keys asks nothing.

    `requires_signatures` None: as soon as this host signs, or somebody is trusted, or the keyring has a key
    that signs.
    """
    knows_signers = keyring is not None and _has_signer(keyring)
    if requires_signatures is None:
        requires_signatures = signs_here or bool(trusted) or knows_signers
    if keyring is None or not (trusted or knows_signers):
        return SignatureRules(_know_no_key, None, True) if requires_signatures else NO_SIGNATURES

    def check_metadata(metainfo: BackupElementMetainfo, source_url: SourceUrl) -> SignatureResult:
        return verify_metainfo(keyring, metainfo, source_url, trusted)

    return SignatureRules(check_metadata, keyring.verify_file, requires_signatures)


def _know_no_key(metainfo: BackupElementMetainfo, source_url: SourceUrl) -> SignatureResult:
    return SignatureResult(SignatureStatus.UNKNOWN_KEY, "there is no key here to check it by")


def _has_signer(keyring: Keyring) -> bool:
    """Whether there are keys that do not encrypt: those sign elements, also one that is revoked."""
    return any(KeyPurpose.ENCRYPT not in key.purposes for key in keyring.list_keys())
