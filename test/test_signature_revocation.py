"""What revocations, and the reasons for them, make of a signature that fits."""

import pytest

from guerillabackup.signature_revocation import (
    Revocation,
    find_fear,
    find_revocations,
    signers_of,
    weigh_revocations,
)
from guerillabackup.signature_values import KeyInfo, KeyPart, KeyPurpose, SignatureResult, SignatureStatus

PRIMARY, SUBKEY, OTHER = "A" * 40, "B" * 40, "C" * 40
NOON = 1_769_947_200
SIGNED = SignatureResult(SignatureStatus.REVOKED, "revoked", PRIMARY, SUBKEY, NOON)


def key(expires=None):
    parts = (
        KeyPart(PRIMARY, "ed25519", frozenset(), None, True),
        KeyPart(SUBKEY, "ed25519", frozenset({KeyPurpose.SIGN}), expires, True),
    )
    return KeyInfo(PRIMARY, ("host",), NOON - 9, None, True, False, parts)


def row(kind, made_at=NOON + 1):
    return f"rev:::22:{PRIMARY[:16]}:{made_at}::::host:{kind}::{PRIMARY}:::8:::::why:"


def listing(*, of_key=(), of_uid=(), of_subkey=(), of_other=()):
    fingerprints = [f"fpr:::::::::{each}:" for each in (PRIMARY, SUBKEY, OTHER)]
    return "\n".join(
        [
            *("tru::1:", "pub:r:255:22:AAAA:1::::::sc:", fingerprints[0], "grp:::::::::FFFF:", *of_key),
            *("uid:r::::1::X::host:", *of_uid),
            *("sub:r:255:22:BBBB:1::::::s:", fingerprints[1], *of_subkey),
            *("sub:r:255:22:CCCC:1::::::s:", fingerprints[2], *of_other),
        ]
    )


def test_revocations_of_the_key_and_of_the_part_that_signed_are_found():
    text = listing(
        of_key=[row("20x,01")], of_uid=[row("30x,02")], of_subkey=[row("28x,03")], of_other=[row("28x,02")]
    )
    assert find_revocations(text, SUBKEY) == [Revocation(NOON + 1, "01"), Revocation(NOON + 1, "03")]


@pytest.mark.parametrize("text", ["", "rev", "rev:::", "fpr:", row("20x", "soon"), row("20x,zz", "")])
def test_what_is_not_understood_makes_no_revocation_a_mild_one(text):
    assert not any(each.is_given_up for each in find_revocations(text, SUBKEY))


@pytest.mark.parametrize("reason", ["01", "03"])
def test_what_was_signed_before_a_key_was_given_up_is_valid(reason):
    result = weigh_revocations(SIGNED, [Revocation(NOON + 1, reason)], key())
    assert result.is_valid
    assert "before it was revoked on 2026-02-01 as" in result.text


@pytest.mark.parametrize(
    ("revocations", "expires"),
    [
        ([], None),
        ([Revocation(NOON, "01")], None),
        ([Revocation(NOON + 1, "01")], NOON),
        ([Revocation(None, "01")], None),
        ([Revocation(NOON + 1, "00")], None),
        ([Revocation(NOON + 1, "02")], None),
        ([Revocation(NOON + 1, "")], None),
        ([Revocation(NOON + 9, "01"), Revocation(NOON - 9, "03")], None),
        ([Revocation(NOON + 9, "01"), Revocation(NOON + 99, "02")], None),
    ],
)
def test_nothing_else_is(revocations, expires):
    assert weigh_revocations(SIGNED, revocations, key(expires)).status is SignatureStatus.REVOKED


def test_the_worst_reason_is_told():
    revocations = [Revocation(NOON + 9, "01"), Revocation(NOON + 99, "02")]
    assert "as compromised" in weigh_revocations(SIGNED, revocations, key()).text


def test_no_reason_that_gpg_tells_is_said_so():
    text = weigh_revocations(SIGNED, [Revocation(NOON + 1, "")], key()).text
    assert text.endswith("which was revoked on 2026-02-01 for a reason that gpg does not tell")


@pytest.mark.parametrize(
    ("rows", "parts", "reason"),
    [
        ({"of_key": [row("20x,02")]}, {PRIMARY}, "02"),
        ({"of_key": [row("20x,01")], "of_subkey": [row("28x,00")]}, {PRIMARY, SUBKEY}, "00"),
        ({"of_key": [row("20x,01")], "of_subkey": [row("28x,03")]}, {PRIMARY, SUBKEY}, None),
        ({"of_other": [row("28x,02")]}, {PRIMARY, SUBKEY}, None),
        ({"of_other": [row("28x,02")]}, {PRIMARY, OTHER}, "02"),
    ],
)
def test_a_fear_is_about_the_key_or_a_part_that_may_have_signed(rows, parts, reason):
    found = find_fear(listing(**rows), parts)
    assert (found and found.reason) == reason


def test_a_part_that_is_revoked_signs_nothing_more():
    """So a chain that was begun after that is not taken for one that it signed."""
    assert signers_of(key()) == {PRIMARY}
    parts = (key().parts[0], key().parts[1]._replace(is_revoked=False))
    assert signers_of(key()._replace(parts=parts)) == {PRIMARY, SUBKEY}
