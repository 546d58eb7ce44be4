"""Elements for several keys, where a private keyring has just one of them, which may have ended too."""

import json
import re
import subprocess

import pytest
from cli_host import configured_host
from sample_source import gpg_home

LONG_AGO = ("--faked-system-time", "20200101T000000")


@pytest.fixture
def host(tmp_path, capfd):
    with configured_host(tmp_path, capfd) as host:
        yield host


@pytest.fixture
def homes():
    """Two gpg homes: with the key `two` alone, and with the key `one` and the public half of the other."""
    with gpg_home() as second, gpg_home(("one", "default")) as first:
        gpg(second, *LONG_AGO, "--quick-gen-key", "two", "future-default", "default", "never")
        gpg(first, "--import", data=gpg(second, "--export", "two"))
        yield first, second


def gpg(home, *arguments, data=b""):
    argv = ["gpg", "--batch", "--homedir", home, "--passphrase", "", "--pinentry-mode", "loopback"]
    return subprocess.run([*argv, *arguments], input=data, check=True, capture_output=True).stdout


def fingerprint_of(home, name):
    listing = gpg(home, "--with-colons", "--list-keys", name).decode()
    return re.search(r"^fpr:+([0-9A-F]{40}):", listing, re.MULTILINE)[1]


def expire(home, name):
    key = fingerprint_of(home, name)
    for parts in ((), ("*",)):
        gpg(home, "--faked-system-time", "20200601T000000", "--quick-set-expire", key, "2020-07-01", *parts)


def revoke(home, name):
    with open(f"{home}/openpgp-revocs.d/{fingerprint_of(home, name)}.rev") as stream:
        gpg(home, "--import", data=stream.read().replace(":-----", "-----").encode())


@pytest.mark.parametrize("recipients", [("one", "two"), ("two", "one"), ("two",)])
@pytest.mark.parametrize(("end", "said"), [(expire, "expired"), (revoke, "was revoked")])
def test_a_key_that_has_ended_restores_and_is_warned_of_once(host, homes, end, said, recipients):
    first, second = homes
    source = host.source(recipient=(first, *recipients))
    full = source.back_up("full").get_element_id()
    source.back_up("inc")
    end(second, "two")
    key = fingerprint_of(second, "two")
    named = ("--private-keyring", second)
    for command in (("restore", "/host/tree", "--list"), ("element", "cat", full)):
        status, _, errors = host(*command, *named)
        assert (status, errors.count(f"key {key} {said}")) == (0, 1), errors
    status, output, errors = host("restore", "/host/tree", "--to", host.path / "out", "--json", *named)
    assert (status, errors.count(f"key {key} {said}")) == (0, 1), errors
    assert sum(said in text for text in json.loads(output)["warnings"]) == 1
    assert (host.path / "out" / "etc" / "passwd").read_text() == "root"


def test_data_that_was_changed_or_cut_is_damage_though_another_key_was_tried(host, homes):
    first, second = homes
    source = host.source(recipient=(first, "one", "two"))
    packed = source.pack(bytes(range(256)) * 4000)
    expire(second, "two")
    middle = len(packed) // 2
    for damaged in (packed[:middle], packed[:-1], packed[:-1] + bytes([packed[-1] ^ 1]), packed + packed):
        element = source.store("full", damaged, pack=False).get_element_id()
        status, _, errors = host("element", "cat", element, "--private-keyring", second)
        assert status == 4, errors


def test_what_no_key_decrypts_names_the_element_and_the_keyring_as_it_was_named(host, homes):
    first, second = homes
    element = host.source(recipient=(first, "one")).back_up("full").get_element_id()
    for command in (("restore", "/host/tree", "--list"), ("element", "cat", element)):
        status, _, errors = host(*command, "--private-keyring", second)
        assert status == 5
        assert errors.count(f"element {element}: no secret key in {second} decrypts this") == 1
        assert "guerillabackup-gpg-" not in errors


def test_a_chain_for_two_keys_is_restored_with_both_keyrings(host, homes):
    first, second = homes
    source = host.source(recipient=(first, "one"))
    source.back_up("full")
    (source.tree / "etc" / "passwd").write_text("changed")
    source.recipient = (first, "two")
    last = source.back_up("inc").get_element_id()
    target = ("restore", "/host/tree", "--to", host.path / "out")
    status, _, errors = host(*target, "--private-keyring", first)
    assert status == 5
    assert f"element {last}: no secret key in {first} decrypts this" in errors
    assert "--private-keyring, several times for several" in errors
    both = ("--private-keyring", first, "--private-keyring", second)
    assert host(*target, *both)[0] == 0
    assert (host.path / "out" / "etc" / "passwd").read_text() == "changed"
    for command in (
        ("restore", "/host/tree", "--list"),
        ("element", "cat", last),
        ("element", "verify", "--all"),
    ):
        swapped = ("--private-keyring", second, "--private-keyring", first)
        assert host(*command, *swapped)[0] == 0


def test_the_same_key_in_two_keyrings_is_one_key(host, homes):
    first, second = homes
    gpg(first, "--import", data=gpg(second, "--export-secret-keys", "two"))
    element = host.source(recipient=(first, "two")).back_up("full").get_element_id()
    both = ("--private-keyring", first, "--private-keyring", second)
    assert host("element", "cat", element, *both)[0] == 0


def test_each_of_several_keyrings_has_to_be_there(host, homes):
    first, _ = homes
    element = host.source(recipient=(first, "one")).back_up("full").get_element_id()
    away = ("--private-keyring", host.path / "away")
    status, _, errors = host("element", "cat", element, "--private-keyring", first, *away)
    assert (status, f"the private keyring {host.path / 'away'} is not there" in errors) == (5, True)
