"""`key create`, `key list`, `key export` and `key import` with real keyrings."""

import io
import os
import shutil
import stat
import sys

import pytest
from ordinary_user import as_user, user_place  # noqa: F401 - a fixture

PROGRAM = (sys.executable, "-m", "guerillabackup.cli.main")


def names(outcome):
    return [key["name"] for key in outcome.document]


def test_a_pair_for_encryption_leaves_only_its_public_half_with_the_configuration(command, tmp_path):
    etc, private = tmp_path / "etc", tmp_path / "private"
    options = ("--config-dir", etc, "--json")
    made = command(
        "key",
        "create",
        "backup",
        "--purpose",
        "encrypt",
        "--private-keyring",
        private,
        "--expires",
        "2y",
        *options,
    ).document
    assert (made["purpose"], made["days_left"]) == (["encrypt"], 730)
    assert (made["secret_keyring"], made["keyring"]) == (str(private), str(etc / "keys"))
    (public,) = command("key", "list", *options).document
    (secret,) = command("key", "list", "--private-keyring", private, *options).document
    assert (public["secret"], secret["secret"]) == (False, True)
    assert (public["passphrase"], secret["passphrase"]) == (None, False)
    assert public["fingerprint"] == secret["fingerprint"] == made["fingerprint"]
    assert not (etc / "keys" / "private-keys-v1.d").exists()
    assert stat.S_IMODE(private.stat().st_mode) == 0o700


def test_a_key_that_signs_lives_with_the_configuration(command, tmp_path):
    options = ("--config-dir", tmp_path / "etc", "--json")
    made = command("key", "create", "Häuschen", "--purpose", "sign", *options).document
    (listed,) = command("key", "list", *options).document
    assert (listed["name"], listed["state"], listed["secret"]) == ("Häuschen", "usable", True)
    assert listed["expires"] is made["expires"] is None


@pytest.mark.parametrize(
    "arguments",
    [
        ["--purpose", "encrypt"],
        ["--purpose", "sign", "--private-keyring", "x"],
        ["--purpose", "sign", "--expires", "soon"],
        ["--purpose", "sign", "--expires", "0d"],
        ["--purpose", "sign", "--expires", "101y"],
        ["--purpose", "certify"],
        [],
    ],
)
def test_wrong_usage_makes_nothing(command, tmp_path, arguments):
    etc = tmp_path / "etc"
    assert command("key", "create", "name", *arguments, "--config-dir", etc).status == 2
    assert not etc.exists()


def test_the_configurations_keyring_is_no_private_one(command, tmp_path):
    etc = tmp_path / "etc"
    arguments = ("--purpose", "encrypt", "--private-keyring", etc / "x" / ".." / "keys", "--config-dir", etc)
    assert command("key", "create", "name", *arguments).status == 2


def test_a_name_that_starts_with_dashes_is_a_name(command, tmp_path):
    options = ("--config-dir", tmp_path / "etc", "--json")
    assert command("key", "create", "--purpose", "sign", *options, "--", "--foo").status == 0
    assert names(command("key", "list", *options)) == ["--foo"]
    assert "PUBLIC KEY" in command("key", "export", *options, "--", "--foo").document["key"]


def test_a_key_that_is_not_there_ends_with_5(command, made):
    outcome = command("key", "export", "nobody", "--config-dir", made)
    assert outcome.status == 5
    assert "key 'nobody' is not in keyring" in outcome.err
    assert "guerillabackup key import" in outcome.err


def test_a_keyring_that_is_not_there_is_an_error_that_says_what_to_do(command, tmp_path):
    outcome = command("key", "list", "--config-dir", tmp_path)
    assert outcome.status == 5
    assert "is what it is on not mounted; only if there never was one, make one with: " in outcome.err


def test_the_private_keyring_of_the_configuration_is_the_default(command, made, tmp_path):
    options = ("--config-dir", made)
    assert command("key", "create", "second", "--purpose", "encrypt", *options).status == 0
    listed = command("key", "list", "--private-keyring", tmp_path / "private", *options, "--json").document
    assert {key["name"] for key in listed if key["secret"]} == {"backup", "second"}
    assert "PRIVATE KEY" in command("key", "export", "backup", "--secret", *options).out
    elsewhere = ("--config-dir", tmp_path / "elsewhere")
    outcome = command("key", "export", "backup", "--secret", *elsewhere)
    assert outcome.status == 2
    assert "GeneralPrivateKeyringDir" in outcome.err


def test_a_new_private_keyring_can_verify_what_this_host_signs(command, made, tmp_path):
    new = ("--private-keyring", tmp_path / "new", "--config-dir", made)
    outcome = command("key", "create", "second", "--purpose", "encrypt", *new)
    (signing,) = [
        key for key in command("key", "list", "--config-dir", made, "--json").document if key["secret"]
    ]
    assert f"public halves of the keys that sign, to verify with: {signing['name']}" in outcome.out
    there = {key["fingerprint"]: key["secret"] for key in command("key", "list", *new, "--json").document}
    assert there[signing["fingerprint"]] is False


def test_a_key_without_a_passphrase_is_told_of(command, made, tmp_path):
    (tmp_path / "passphrase").write_text("correct horse")
    (tmp_path / "passphrase").chmod(0o600)
    create = ("key", "create", "--purpose", "encrypt", "--config-dir", made)
    assert "the key has no passphrase" in command(*create, "second").out
    outcome = command(*create, "third", "--passphrase-file", tmp_path / "passphrase")
    assert (outcome.status, "no passphrase" in outcome.out) == (0, False)


def test_a_secret_half_that_is_elsewhere_is_looked_for_elsewhere(command, made, tmp_path):
    outcome = command("key", "export", "backup", "--secret", "--private-keyring", made / "keys")
    assert outcome.status == 5
    assert "has no secret half" in outcome.err
    assert "--private-keyring" in outcome.err


def test_the_last_day_of_a_key_is_told_in_hours(command, tmp_path):
    options = ("--config-dir", tmp_path / "etc")
    command("key", "create", "short", "--purpose", "sign", "--expires", "1d", *options)
    assert "23 hours" in command("key", "list", *options).out


def test_the_table_says_what_a_key_is_for_and_how_long_it_lasts(command, made):
    out = command("key", "list", "--config-dir", made).out
    heading, backup, signing = out.splitlines()
    assert heading.split()[:2] == ["NAME", "PURPOSE"]
    assert backup.split()[:6] == ["backup", "encrypt", "-", "-", "usable", "no"]
    assert "sign" in signing


def test_an_exported_key_can_be_imported_elsewhere(command, made, tmp_path):
    text = command("key", "export", "backup", "--config-dir", made).out
    (tmp_path / "backup.asc").write_text(text)
    other = ("--config-dir", tmp_path / "other", "--json")
    assert names(command("key", "import", tmp_path / "backup.asc", *other)) == ["backup"]
    assert names(command("key", "list", *other)) == ["backup"]


def test_a_key_can_come_from_standard_input(command, made, tmp_path, monkeypatch):
    text = command("key", "export", "backup", "--config-dir", made).out
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert names(command("key", "import", "-", "--config-dir", tmp_path / "other", "--json")) == ["backup"]


def test_a_secret_key_is_exported_to_a_file_of_its_owners_alone_and_imported_into_private_keyrings_only(
    command, made, tmp_path
):
    secret = tmp_path / "secret.asc"
    private = ("--private-keyring", tmp_path / "private")
    arguments = ("key", "export", "backup", "--secret", "--output", secret, "--config-dir", made)
    exported = command(*arguments, *private)
    assert exported.status == 0
    assert "elements are verified with others, which are not in it: " in exported.err
    assert "guerillabackup key export" in exported.err
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600
    assert command(*arguments, *private).status == 1
    outcome = command("key", "import", secret, "--config-dir", tmp_path / "other")
    assert outcome.status == 5
    assert "a secret key" in outcome.err
    assert "--private-keyring DIR" in outcome.err
    arguments = ("key", "import", secret, "--private-keyring", tmp_path / "copy", "--json")
    assert [key["secret"] for key in command(*arguments, "--config-dir", made).document] == [True]


def test_a_revocation_certificate_says_which_key_it_revoked(command, made, tmp_path):
    (rev,) = (tmp_path / "private" / "openpgp-revocs.d").iterdir()
    (fingerprint,) = (key["fingerprint"] for key in keys_of(command, made) if key["name"] == "backup")
    guarded = command("key", "import", rev, "--config-dir", made)
    assert (guarded.status, "remove the colon" in guarded.err) == (5, True)
    (tmp_path / "rev.asc").write_text(rev.read_text().replace(":-----", "-----"))
    arguments = ("key", "import", tmp_path / "rev.asc", "--config-dir")
    outcome = command(*arguments, made)
    assert outcome.status == 0
    assert f"key backup ({fingerprint}) is revoked now in {made / 'keys'}" in outcome.out
    assert "has no purpose" not in outcome.out
    (listed,) = (key for key in keys_of(command, made) if key["name"] == "backup")
    assert (listed["purpose"], listed["state"], listed["usable"]) == (["encrypt"], "is revoked", False)
    again = command(*arguments, made)
    assert (again.status, "was revoked already" in again.out) == (0, True)
    outcome = command(*arguments, tmp_path / "other")
    assert outcome.status == 5
    assert "revocation certificate of a key that is not in keyring" in outcome.err


def keys_of(command, etc):
    return command("key", "list", "--config-dir", etc, "--json").document


def test_a_name_is_given_once_and_a_second_time_is_an_error_that_is_no_keys(command, made):
    arguments = ("key", "create", "backup", "--purpose", "encrypt", "--config-dir", made)
    outcome = command(*arguments)
    assert (outcome.status, "is in keyring" in outcome.err) == (1, True)


def test_in_either_order_the_private_keyring_can_verify(command, tmp_path):
    etc, private = tmp_path / "etc", ("--private-keyring", tmp_path / "private")
    options = ("--config-dir", etc)
    create = command("key", "create", "backup", "--purpose", "encrypt", *private, *options)
    assert create.status == 0
    assert f"there is no configuration in {etc}" in create.err
    init = command("config", "init", "--yes", "--base", tmp_path, *private, *options, "--json")
    command("key", "create", "later", "--purpose", "sign", *options)
    there = {key["fingerprint"] for key in command("key", "list", *private, *options, "--json").document}
    assert init.document["signing_key"] in there
    assert there == {key["fingerprint"] for key in keys_of(command, etc)}


def test_a_key_for_signing_is_made_beside_a_broken_configuration(command, made):
    (made / "config").write_text("GeneralSigningKey = ")
    outcome = command("key", "create", "later", "--purpose", "sign", "--config-dir", made)
    assert outcome.status == 0
    assert "the private keyring does not get the new key" in outcome.err


def test_importing_where_no_configuration_is_says_where_the_key_went(command, made, tmp_path):
    (tmp_path / "backup.asc").write_text(command("key", "export", "backup", "--config-dir", made).out)
    arguments = ("key", "import", tmp_path / "backup.asc", "--config-dir")
    outcome = command(*arguments, tmp_path / "typo")
    assert outcome.status == 0
    assert f"the key goes into the new keyring {tmp_path / 'typo' / 'keys'}" in outcome.err
    assert command(*arguments, made).err == ""


def test_what_is_no_key_file_is_named(command, tmp_path):
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    (tmp_path / "long").write_bytes(b"x" * (2 << 20))
    for name, status in (("missing", 1), ("binary", 1), ("long", 1), (".", 1)):
        outcome = command("key", "import", tmp_path / name, "--config-dir", tmp_path / "etc")
        assert outcome.status == status
        assert str(tmp_path / name).rstrip("/.") in outcome.err


def test_a_passphrase_protects_the_half_that_decrypts(command, tmp_path):
    passphrase = tmp_path / "passphrase"
    passphrase.write_text("correct horse\n")
    os.chmod(passphrase, 0o600)
    private = ("--private-keyring", tmp_path / "private", "--config-dir", tmp_path / "etc")
    with_passphrase = ("--passphrase-file", passphrase)
    assert command("key", "create", "backup", "--purpose", "encrypt", *with_passphrase, *private).status == 0
    assert [item["passphrase"] for item in command("key", "list", *private, "--json").document] == [True]
    export = ("key", "export", "backup", "--secret", *private)
    assert command(*export).status == 5
    assert "PRIVATE KEY" in command(*export, *with_passphrase).out


@pytest.mark.parametrize("hidden", [".", "private", "private/pubring.kbx", "private/private-keys-v1.d"])
def test_a_keyring_that_one_may_not_read_is_no_empty_one(user_place, hidden):  # noqa: F811
    outer, private = user_place / "outer", user_place / "outer" / "private"
    as_user(["mkdir", "-m", "700", outer, user_place / "data"])
    options = ("--private-keyring", private, "--config-dir", user_place / "etc")
    made = as_user([*PROGRAM, "key", "create", "backup", "--purpose", "encrypt", *options])
    assert made.returncode == 0, made.stderr
    shutil.rmtree(user_place / "etc")
    as_user(["chmod", "0", outer / hidden])
    in_storage = ("--storage", user_place / "data")
    for words in (
        ("key", "list"),
        ("restore", "/host/tree", "--to", user_place / "out", *in_storage),
        ("element", "verify", "--all", *in_storage),
    ):
        outcome = as_user([*PROGRAM, *words, *options])
        assert (outcome.returncode, outcome.stdout) == (5, "")
        assert f"error: keyring {private}: permission denied" in outcome.stderr
        assert "make one with" not in outcome.stderr
