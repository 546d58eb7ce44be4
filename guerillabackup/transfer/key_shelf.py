"""Whose signatures count: rules that outlive a reload where nothing has changed. Joins keyring and rules."""

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

from guerillabackup.signature import Keyring
from guerillabackup.signature_values import KeyInfo
from guerillabackup.transfer.checks import NO_SIGNATURES, SignatureRules
from guerillabackup.transfer.signature_rules import make_signature_rules


class KeyShelf:
    """The rules of the last time, and the keyrings of all times; one thread reads."""

    def __init__(self) -> None:
        self._read: tuple[object, SignatureRules] | None = None
        self._stack = ExitStack()

    def read(
        self,
        directory: str,
        trusted: Mapping[str, Sequence[str]] | None,
        *,
        requires_signatures: bool | None,
        signs_here: bool = False,
    ) -> SignatureRules:
        """The rules by the keys of now, those of before where nothing has changed; raises ConfigError."""
        keyring = Keyring(directory) if os.path.isdir(directory) else None
        keys = None if keyring is None else keyring.list_keys()
        facts = (keys, trusted, requires_signatures, signs_here)
        if self._read is not None and self._read[0] == facts:
            if keyring is not None:
                keyring.close()
        else:
            if keyring is not None:
                # A keyring of before stays open: somebody may be asking it still.
                self._stack.enter_context(keyring)
            rules = make_signature_rules(
                keyring, trusted, requires_signatures=requires_signatures, signs_here=signs_here
            )
            told = ([_describe(key) for key in keys or ()], sorted((trusted or {}).items()), facts[2:])
            self._read = (facts, rules if rules is NO_SIGNATURES else replace(rules, facts=repr(told)))
        return self._read[1]

    def close(self) -> None:
        """When nobody asks any more."""
        self._stack.close()


def _describe(key: KeyInfo) -> tuple[object, ...]:
    """The same in each process, where nothing has changed."""
    parts = [(part.fingerprint, part.expires, part.is_revoked) for part in key.parts]
    return (key.fingerprint, key.expires, key.is_revoked, key.is_disabled, parts)
