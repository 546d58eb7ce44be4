"""What gpg is told of a key that is to be made, and what it lists of those there are. No I/O."""

from collections.abc import Mapping
from typing import Any

from guerillabackup.errors import ConfigError
from guerillabackup.signature_values import KeyInfo, KeyPart, KeyPurpose

MAX_KEY_NAME = 200
ALGORITHMS = ("ed25519", "rsa4096")

_ALGORITHM_NAMES = {"1": "rsa", "16": "elgamal", "17": "dsa", "18": "ecdh", "19": "ecdsa", "22": "eddsa"}


def check_new_key(name: str, algorithm: str) -> None:
    """Raises ConfigError for what a key cannot be called, or made by."""
    if not name.strip() or name != name.strip() or not name.isprintable() or len(name) > MAX_KEY_NAME:
        raise ConfigError(f"key name {name[:40]!r} is not of 1 to {MAX_KEY_NAME} printable characters")
    if algorithm not in ALGORITHMS:
        raise ConfigError(f"key algorithm {algorithm!r} is none of {', '.join(ALGORITHMS)}")


def generation_text(
    name: str, purpose: KeyPurpose, algorithm: str, expires_in: int | None, passphrase: str | None
) -> str:
    """gpg's parameters for a key: one that signs, or one that certifies with a subkey that decrypts."""
    usage = "sign" if purpose is KeyPurpose.SIGN else "cert"
    if algorithm == "ed25519":
        lines = ["Key-Type: EDDSA", "Key-Curve: ed25519", f"Key-Usage: {usage}"]
        if purpose is KeyPurpose.ENCRYPT:
            lines += ["Subkey-Type: ECDH", "Subkey-Curve: cv25519", "Subkey-Usage: encrypt"]
    else:
        lines = ["Key-Type: RSA", "Key-Length: 4096", f"Key-Usage: {usage}"]
        if purpose is KeyPurpose.ENCRYPT:
            lines += ["Subkey-Type: RSA", "Subkey-Length: 4096", "Subkey-Usage: encrypt"]
    lines.append(f"Name-Real: {name}")
    lines.append(f"Expire-Date: {'0' if expires_in is None else f'seconds={expires_in}'}")
    lines.append("%no-protection" if passphrase is None else f"Passphrase: {passphrase}")
    return "\n".join([*lines, "%commit", ""])


def key_info(item: Mapping[str, Any], secrets: set[str]) -> KeyInfo:
    """One key of gpg's list; `secrets` are the keygrips of all secret halves that are here."""
    fingerprint = str(item["fingerprint"])
    subkey_fields = item.get("subkey_info") or {}
    grips = {fields.get("keygrip") for fields in (item, *subkey_fields.values())}
    parts = [_key_part(fingerprint, item)]
    for subkey in item["subkeys"]:
        parts.append(_key_part(str(subkey[2]), subkey_fields.get(subkey[0], {})))
    return KeyInfo(
        fingerprint=fingerprint,
        names=tuple(str(name).encode("latin-1").decode("utf-8", "backslashreplace") for name in item["uids"]),
        created=_seconds(item.get("date")) or 0,
        expires=_seconds(item.get("expires")),
        is_revoked=item.get("trust") == "r",
        is_disabled="D" in str(item.get("cap", "")),
        parts=tuple(parts),
        has_secret=not grips.isdisjoint(secrets),
        keygrips=frozenset(str(grip) for grip in grips if grip),
    )


def _key_part(fingerprint: str, fields: Mapping[str, Any]) -> KeyPart:
    own = [character for character in str(fields.get("cap", "")) if character.islower()]
    letters = {"s": KeyPurpose.SIGN, "e": KeyPurpose.ENCRYPT}
    number = str(fields.get("algo", ""))
    length = str(fields.get("length", ""))
    name = _ALGORITHM_NAMES.get(number, number)
    curve = str(fields.get("curve", ""))
    return KeyPart(
        fingerprint=fingerprint,
        algorithm=curve or f"{name}{length}",
        capabilities=frozenset(letters[character] for character in own if character in letters),
        expires=_seconds(fields.get("expires")),
        is_revoked=fields.get("trust") in ("r", "i"),
    )


def _seconds(text: object) -> int | None:
    return int(str(text)) if text and str(text).isdigit() else None
