"""A restore where nothing is left but the storage and the private keyring."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from sample_source import SampleSource, gpg_home
from terminal import PROGRAM
from trees import describe_tree

from guerillabackup.cli.main import run
from guerillabackup.signature import Keyring, sign_metainfo
from guerillabackup.storage.default_file import DefaultFileStorage


@pytest.fixture
def lost(tmp_path):
    """A storage with a signed and encrypted source, its private keyring, and the signer's public key."""
    with gpg_home(("signer", "sign")) as signing_home, gpg_home(("backup", "default")) as private_home:
        (tmp_path / "data").mkdir(mode=0o700)
        with DefaultFileStorage(str(tmp_path / "data")) as storage, Keyring(signing_home) as keyring:
            source = SampleSource(
                storage,
                tmp_path,
                recipient=(private_home, "backup"),
                sign=lambda metainfo, url: sign_metainfo(keyring, "signer", metainfo, url),
            )
            source.tree.mkdir(exist_ok=True)
            (source.tree / "file").write_text("content")
            source.back_up("full")
            source.public_key = keyring.export_key("signer")
            source.private_home = private_home
            yield source


def restore(tmp_path, source, *options):
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    arguments = ["restore", str(source.source_url), "--to", str(tmp_path / "out")]
    places = ["--storage", str(tmp_path / "data"), "--private-keyring", source.private_home]
    return run([*arguments, *places, "--config-dir", str(tmp_path / "nowhere"), *options])


def test_no_configuration_is_needed_but_what_cannot_be_checked_is_refused_until_told(tmp_path, lost, capsys):
    assert restore(tmp_path, lost) == 5
    errors = capsys.readouterr().err
    assert "key import" in errors
    assert "--accept-unverified goes on as a last resort" in errors
    assert not (tmp_path / "out").exists()
    assert restore(tmp_path, lost, "--accept-unverified") == 0
    assert describe_tree(tmp_path / "out") == describe_tree(lost.tree)


def test_with_the_signing_key_in_the_private_keyring_signatures_are_checked(tmp_path, lost, capsys):
    with Keyring(lost.private_home) as keyring:
        keyring.import_key(lost.public_key)
    assert restore(tmp_path, lost) == 0
    assert capsys.readouterr().err == ""


def test_where_signers_are_known_another_one_is_status_5_and_no_signature_is_status_4(tmp_path, lost, capsys):
    with (
        gpg_home(("other", "sign")) as other_home,
        Keyring(other_home) as other,
        Keyring(lost.private_home) as keyring,
    ):
        keyring.import_key(other.export_key("other"))
    assert restore(tmp_path, lost) == 5
    assert "key import" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    elsewhere = ["--config-dir", str(tmp_path / "nowhere"), "--storage", str(tmp_path / "data")]
    assert run(["element", "verify", "--all", *elsewhere]) == 5
    assert run(["element", "verify", "--all", "--private-keyring", lost.private_home, *elsewhere]) == 5
    assert restore(tmp_path, lost, "--accept-unverified") == 0
    lost.sign = None
    lost.back_up("full")
    assert restore(tmp_path, lost) == 4


def test_a_storage_without_elements_is_not_in_order(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    assert run(["element", "verify", "--all", "--storage", str(tmp_path / "data"), "--json"]) == 1
    assert "no elements at all" in capsys.readouterr().err


def test_a_configuration_that_may_not_be_read_is_told_of_and_gone_without(tmp_path):
    place = tempfile.mkdtemp(prefix="gb", dir="/tmp")  # others can enter no directory of pytest's
    try:
        for name in ("data", "etc"):
            os.mkdir(os.path.join(place, name))
        with open(os.path.join(place, "etc", "config"), "w") as config:
            config.write("raise SystemExit")
        os.chmod(os.path.join(place, "etc", "config"), 0)
        arguments = ["element", "list", "--config-dir", f"{place}/etc"]
        os.chmod(place, 0o755)
        for storage, status in (([], 1), (["--storage", f"{place}/data"], 0)):
            done = subprocess.run(
                [*as_nobody(), *PROGRAM, *arguments, *storage], capture_output=True, text=True, check=False
            )
            assert done.returncode == status
            assert f"{place}/etc/config: cannot be read: Permission denied" in done.stderr
        assert "warning: " in done.stderr
    finally:
        shutil.rmtree(place)


def as_nobody():
    """Root may read everything, other users not."""
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


def test_without_a_keyring_elements_cannot_be_checked_which_is_no_violation(tmp_path, lost, capsys):
    places = ["--config-dir", str(tmp_path / "nowhere"), "--storage", str(tmp_path / "data")]
    assert run(["element", "verify", "--all", *places]) == 5
    output = capsys.readouterr().out
    assert "unchecked: /host/20231114221320-tree-full: its signature cannot be checked: " in output
    assert "--private-keyring DIR" in output
    assert output.endswith("1 finding, 0 violations; 1 element cannot be checked\n")
    assert run(["restore", "/host/tree", "--to", str(tmp_path / "out"), *places]) == 5
    assert "--private-keyring DIR" in capsys.readouterr().err
    data = next((tmp_path / "data").rglob("*.data"))
    data.write_bytes(b"damaged")
    assert run(["element", "verify", "--all", *places]) == 4


def test_an_unknown_signer_is_to_be_imported_into_the_keyring_that_was_named(tmp_path, lost, capsys):
    assert restore(tmp_path, lost) == 5
    wanted = f"guerillabackup key import FILE --private-keyring {lost.private_home}"
    assert wanted in capsys.readouterr().err
    (tmp_path / "signer.asc").write_text(lost.public_key)
    argv = wanted.replace("FILE", str(tmp_path / "signer.asc")).split()[1:]
    assert run([*argv, "--config-dir", str(tmp_path / "nowhere")]) == 0
    assert restore(tmp_path, lost) == 0


@pytest.mark.parametrize("mode", [0o700, 0o755])
def test_the_directory_a_keyring_is_in_is_no_keyring_and_the_one_in_it_is_named(tmp_path, lost, capsys, mode):
    stick = tmp_path / "stick"
    shutil.copytree(lost.private_home, stick / "private", ignore=shutil.ignore_patterns("S.*"))
    stick.chmod(mode)
    assert restore(tmp_path, lost, "--private-keyring", str(stick)) == 5
    errors = capsys.readouterr().err
    assert f"{stick} is no keyring" in errors
    assert f"is it {stick}/private that is meant" in errors
    assert "chmod" not in errors


def test_the_commands_of_the_manual_tell_one_checksum_by_both_ways(tmp_path, lost):
    manual = (Path(__file__).parents[2] / "doc" / "Restore.txt").read_text()
    commands = manual[manual.index("  sha512sum ELEMENT.data") :].partition("\n\n")[0]
    (data,) = (path for path in (tmp_path / "data").rglob("*-full.data") if ".members" not in path.name)
    script = commands.replace("ELEMENT", str(data).removesuffix(".data"))
    done = subprocess.run(["bash", "-ec", script], capture_output=True, text=True, check=True)
    read, stored = done.stdout.splitlines()
    assert read.split()[0] == stored


def test_a_storage_named_one_level_too_deep_is_told_with_the_right_one(tmp_path, capsys):
    deep = tmp_path / "copy" / "myhost"
    (tmp_path / "copy").mkdir(mode=0o700)
    with DefaultFileStorage(str(tmp_path / "copy")) as storage:
        source = SampleSource(storage, tmp_path, source="/myhost/system/etc")
        source.store("full", b"one")
        signed = SampleSource(storage, tmp_path, source="/myhost/system/log")
        signed.store("full", b"two", SourceUrl="/myhost/system/log")
    hint = f"is the storage {tmp_path / 'copy'}"
    for place in (deep, deep / "system"):
        for words in (("restore", "/myhost/system/etc", "--list"), ("element", "list", "/myhost/system/etc")):
            assert run([*words, "--storage", str(place), "--config-dir", str(tmp_path / "nowhere")]) == 1
            assert hint in capsys.readouterr().err
    arguments = ["--storage", str(deep), "--config-dir", str(tmp_path / "nowhere"), "--accept-unverified"]
    assert run(["restore", "/system/log", "--list", *arguments]) == 4
    assert "made for source /myhost/system/log: is the storage one directory up" in capsys.readouterr().err
    assert run(["restore", "/myhost/none", "--list", *arguments]) == 1
    assert "is the storage" not in capsys.readouterr().err


def test_where_the_storage_is_empty_or_not_there_it_is_asked_whether_it_is_mounted(tmp_path, lost, capsys):
    shutil.rmtree(tmp_path / "data")
    for text in ("data is not there or no directory", "data, nor has any other"):
        for command in (["restore", "/host/tree", "--list"], ["element", "verify", "--all"]):
            options = ["--storage", str(tmp_path / "data"), "--config-dir", str(tmp_path / "nowhere")]
            assert run([*command, *options]) == 1
            errors = capsys.readouterr().err
            assert "is it mounted, and is it the right directory" in errors
            assert text in errors or command[0] == "element"
        (tmp_path / "data").mkdir(exist_ok=True)
