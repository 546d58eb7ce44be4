"""What gpg's status lines, packets and key listings are taken for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerillabackup.errors import KeyUnusableError
from guerillabackup.signature_values import (
    MAX_SIGNATURE_SIZE,
    KeyInfo,
    KeyPart,
    KeyPurpose,
    SignatureStatus,
    check_packet,
    choose_key,
    judge,
    time_left,
)

PRIMARY, SUBKEY = "A" * 40, "B" * 40
NOW = 1_700_000_000
VALID = f"[GNUPG:] VALIDSIG {SUBKEY} 2023-11-14 {NOW} 0 4 0 22 10 00 {PRIMARY}"
GOOD = "[GNUPG:] GOODSIG BBBBBBBBBBBBBBBB a name"


def key(
    name="backup",
    *,
    expires=None,
    subkey_expires=None,
    purpose=KeyPurpose.ENCRYPT,
    fingerprint=PRIMARY,
    **changes,
):
    parts = (
        KeyPart(fingerprint, "ed25519", frozenset(), expires, False),
        KeyPart(SUBKEY, "cv25519", frozenset({purpose}), subkey_expires, False),
    )
    values = {"is_revoked": False, "is_disabled": False, **changes}
    return KeyInfo(fingerprint, (name,), NOW - 1, expires, values["is_revoked"], values["is_disabled"], parts)


def test_a_confirmed_signature_is_valid_and_names_both_keys():
    result = judge([GOOD, VALID], [])
    assert result.is_valid
    assert (result.fingerprint, result.signing_fingerprint, result.made_at) == (PRIMARY, SUBKEY, NOW)


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([], SignatureStatus.BAD),
        ([GOOD], SignatureStatus.BAD),
        ([VALID], SignatureStatus.BAD),
        ([GOOD, GOOD, VALID], SignatureStatus.BAD),
        ([GOOD, VALID, VALID], SignatureStatus.BAD),
        ([GOOD, "[GNUPG:] BADSIG BB a", VALID], SignatureStatus.BAD),
        (["[GNUPG:] BADSIG BBBBBBBBBBBBBBBB a"], SignatureStatus.BAD),
        (["[GNUPG:] ERRSIG BBBB 22 10 00 1 4"], SignatureStatus.BAD),
        (["[GNUPG:] ERRSIG BBBB 22 10 00 1 9", "[GNUPG:] NO_PUBKEY BBBB"], SignatureStatus.UNKNOWN_KEY),
        ([GOOD, VALID.replace(" 10 00", " 2 00")], SignatureStatus.BAD),
        (["[GNUPG:] REVKEYSIG BBBB a", VALID], SignatureStatus.REVOKED),
        (["[GNUPG:] EXPSIG BBBB a", VALID], SignatureStatus.EXPIRED),
        (["[GNUPG:] EXPKEYSIG BBBB a", VALID], SignatureStatus.EXPIRED),
        ([f"gpg: {GOOD}", f"gpg: {VALID}"], SignatureStatus.BAD),
    ],
)
def test_everything_else_is_not(lines, status):
    assert judge(lines, []).status is status


@given(
    st.lists(st.sampled_from([GOOD, VALID, "[GNUPG:]", "[GNUPG:] ", "[GNUPG:] VALIDSIG", "\0"]) | st.text())
)
def test_no_lines_raise(lines):
    judge(lines, [])


def test_a_signature_of_a_key_that_expired_later_is_valid():
    lines = ["[GNUPG:] EXPKEYSIG BBBB a", VALID]
    assert judge(lines, [key(expires=NOW + 1)]).is_valid
    assert judge(lines, [key(expires=NOW)]).status is SignatureStatus.EXPIRED
    assert judge(lines, [key(expires=NOW + 1, subkey_expires=NOW)]).status is SignatureStatus.EXPIRED


def test_a_signature_of_a_key_that_expired_and_was_revoked_is_by_a_revoked_one():
    lines = ["[GNUPG:] EXPKEYSIG BBBB a", VALID]
    found = key(expires=NOW + 1)
    subkey = found.parts[1]._replace(is_revoked=True)
    for each in (found._replace(is_revoked=True), found._replace(parts=(found.parts[0], subkey))):
        assert judge(lines, [each]).status is SignatureStatus.REVOKED


@pytest.mark.parametrize(
    "packet",
    [
        b"\x88\x03\x04\x00\x16",
        b"\x89\x00\x03\x04\x00\x16",
        b"\xc2\x03\x04\x00\x16",
        b"\xc2\xff\x00\x00\x00\x03\x04\x00\x16",
        b"\xc2\xc0\x00\x04\x00" + bytes(190),
    ],
)
def test_one_signature_packet_of_either_format_is_taken(packet):
    assert check_packet(packet) is None


@given(st.binary(max_size=40))
def test_no_bytes_raise(data):
    check_packet(data)


def test_too_long_a_signature_is_refused_by_its_length():
    assert str(MAX_SIGNATURE_SIZE) in check_packet(b"\x8b" + bytes(MAX_SIGNATURE_SIZE))


def test_a_key_serves_until_itself_or_its_last_part_for_the_purpose_expires():
    assert key().expiry(KeyPurpose.ENCRYPT) is None
    assert key(expires=20, subkey_expires=10).expiry(KeyPurpose.ENCRYPT) == 10
    assert key(expires=10, subkey_expires=20).expiry(KeyPurpose.ENCRYPT) == 10


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (key(is_revoked=True), "is revoked"),
        (key(is_disabled=True), "is disabled"),
        (key(purpose=KeyPurpose.SIGN), "cannot encrypt, only sign"),
        (key(subkey_expires=NOW), "expired on 2023-11-14"),
        (key(subkey_expires=NOW + 1), None),
    ],
)
def test_a_key_says_why_it_cannot_be_used(found, reason):
    assert found.unusable_reason(KeyPurpose.ENCRYPT, NOW) == reason


def choose(keys, name):
    return choose_key(keys, name, KeyPurpose.ENCRYPT, NOW, "/keys")


@pytest.mark.parametrize(
    "name",
    [
        *("Off site <backup@example.org>", "Off site", "backup@example.org", "<backup@example.org>"),
        *("OFF SITE", PRIMARY, f"0x{SUBKEY}", SUBKEY[:16]),
    ],
)
def test_a_key_is_meant_by_its_user_id_name_mail_address_fingerprint_or_long_id(name):
    wanted = key("Off site <backup@example.org>")
    assert choose([wanted], name) is wanted


@pytest.mark.parametrize(
    "name", ["backup", "old", "up-o", "backup-oldd", "=backup-ol", "AAAAAAAA", "0xAAAAAAAA"]
)
def test_a_part_of_a_name_means_no_key_and_the_near_one_is_told(name):
    with pytest.raises(KeyUnusableError, match=f"'{name}' is not in .*: is 'backup-old' meant"):
        choose([key("backup-old"), key("other", fingerprint="D" * 40)], name)


def test_near_keys_of_one_name_are_told_by_their_fingerprints():
    with pytest.raises(KeyUnusableError, match=f"is '{PRIMARY}' or '{'C' * 40}' meant"):
        choose([key("backup-old"), key("backup-old", fingerprint="C" * 40)], "backup")


def test_no_key_is_told_that_is_not_near():
    with pytest.raises(KeyUnusableError, match="is not in keyring /keys; make it"):
        choose([key("other")], "backup")


def test_a_whole_name_in_the_same_letters_goes_before_all_others():
    exact = key(fingerprint="C" * 40)
    others = [key("Backup"), key("BACKUP", fingerprint="D" * 40), key("backup <a@b>", fingerprint="E" * 40)]
    assert choose([*others, exact], "backup") is exact
    assert choose([key("backup <a@b>"), key("Backup")], "backup").names == ("backup <a@b>",)
    with pytest.raises(KeyUnusableError, match="is ambiguous"):
        choose(others, "bAckup")


def test_a_fingerprint_goes_before_a_name_that_looks_like_one():
    assert choose([key(PRIMARY, fingerprint="C" * 40), key("x")], PRIMARY).names == ("x",)


def test_an_exact_name_that_cannot_be_used_does_not_mean_another_key():
    with pytest.raises(KeyUnusableError, match="is revoked"):
        choose([key("Backup"), key(fingerprint="C" * 40, is_revoked=True)], "backup")


def test_a_successor_with_the_same_name_is_meant_once_the_old_key_expired():
    old, new = key(expires=NOW - 1), key(fingerprint="C" * 40)
    assert choose([old, new], "backup") is new


def test_near_keys_for_the_purpose_are_told_first():
    keys = [key("backup host", purpose=KeyPurpose.SIGN), key("offsite backup", fingerprint="C" * 40)]
    with pytest.raises(KeyUnusableError, match="is 'offsite backup' or 'backup host' meant"):
        choose(keys, "backup")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ([], "key 'backup' is not in keyring /keys"),
        ([key(), key(fingerprint="C" * 40)], f"ambiguous in keyring /keys: {PRIMARY}, {'C' * 40}"),
        ([key(expires=NOW - 1)], f"key 'backup' \\({PRIMARY}\\) expired on 2023-11-14, in keyring /keys"),
    ],
)
def test_a_name_without_one_usable_key_is_refused(keys, message):
    with pytest.raises(KeyUnusableError, match=message):
        choose(keys, "backup")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "nothing"),
        (0, "nothing"),
        (60, "less than an hour"),
        (86399, "23 hours"),
        (36 * 3600, "36 hours"),
        (730 * 86400 - 5, "730 days"),
    ],
)
def test_what_is_left_of_a_key_is_told_in_days_and_at_the_end_in_hours(seconds, text):
    assert time_left(NOW + seconds, NOW) == text


def test_a_key_to_encrypt_for_that_has_ended_may_be_renewed_or_left_out():
    with pytest.raises(KeyUnusableError, match=r"give it a new expiry.* take it out of the list; else make"):
        choose([key("backup", expires=NOW - 1)], "backup")
    with pytest.raises(KeyUnusableError, match="is revoked, in keyring /keys; where it is one of several"):
        choose([key("backup", is_revoked=True)], "backup")
