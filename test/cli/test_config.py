"""`config check`, `config show` and `config init` on real directories with real keys."""

import os
import pty
import shlex
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from guerillabackup.config import load_configuration
from guerillabackup.config_keys import KEYS

ROOT = Path(__file__).parents[2]
PROGRAM = (sys.executable, "-c", "from guerillabackup.cli.main import main; main()")


def append(directory, text, name="config"):
    with open(directory / name, "a", encoding="utf-8") as stream:
        stream.write(text)
    os.chmod(directory / name, 0o600)


def enable_tar_unit(directory, overlay):
    (directory / "units" / "Tar").write_text(
        "from guerillabackup.units.tar import TarBackupUnit as backupGeneratorUnitClass\n"
    )
    (directory / "units" / "Tar").chmod(0o600)
    append(directory, overlay, "units/Tar.config")


def test_a_new_configuration_with_its_key_is_in_order(command, made):
    outcome = command("config", "check", "--config-dir", made)
    assert (outcome.status, outcome.err.count("\n")) == (0, 1)
    assert (
        "warning: no unit is enabled: nothing is backed up; activate a unit with: guerillabackup unit"
        in outcome.err
    )
    assert "is in order; units: none" in outcome.out
    document = command("config", "check", "--config-dir", made, "--json").document
    assert (document["ok"], document["units"], len(document["warnings"])) == (True, [], 1)


def test_all_problems_of_main_file_units_and_overlays_are_said_at_once(command, made):
    append(made, "StorageFileMode = 640\n")
    outcome = command("config", "check", "--config-dir", made)
    assert outcome.status == 1
    assert "StorageFileMode is 640" in outcome.err
    append(made, "StorageFileMode = 0o640\n")
    enable_tar_unit(made, "TarBackupUnitConfigList = {'/a': {'Rot': '/'}}\nGeneralSignData = 5\n")
    (made / "units" / "Broken").write_text("def\n")
    (made / "units" / "Broken").chmod(0o600)
    outcome = command("config", "check", "--config-dir", made, "--json")
    assert outcome.status == 1
    problems = "\n".join(outcome.document["problems"])
    assert f"{made}/units/Broken:1: syntax error" in problems
    assert f"{made}/units/Tar.config:1: TarBackupUnitConfigList" in problems
    assert f"{made}/units/Tar.config:2: GeneralSignData is 5" in problems


def test_an_owner_that_this_host_does_not_have_is_a_problem(command, made):
    append(made, "StorageOwner = 'no such user'\nStorageGroup = 'no such group'\n")
    outcome = command("config", "check", "--config-dir", made)
    assert outcome.status == 1
    assert "StorageOwner: there is no user 'no such user'" in outcome.err
    assert "StorageGroup: there is no group 'no such group'" in outcome.err


def test_a_unit_with_sources_is_in_order(command, made):
    enable_tar_unit(
        made,
        "TarBackupUnitConfigList = {'/host/root': {'FullBackupTiming': [1, 2, None, 0],"
        " 'IncBackupTiming': [1, 2, None, 0], 'EncryptionKey': 'backup'}}\n",
    )
    outcome = command("config", "check", "--config-dir", made)
    assert (outcome.status, outcome.err) == (0, "")
    assert "units: Tar" in outcome.out


def test_a_place_that_is_not_set_is_named_with_its_line(command, made):
    append(made, "del GeneralPersistencyBaseDir\n")
    outcome = command("config", "check", "--config-dir", made)
    assert outcome.status == 1
    assert "add the line: GeneralPersistencyBaseDir = '/var/lib/guerillabackup/state'" in outcome.err


def test_a_program_that_is_missing_is_named(command, made):
    element = "guerillabackup.OSProcessPipelineElement('/no/bzip', ['/no/bzip'])"
    append(made, f"GeneralDefaultCompressionElement = {element}\n")
    outcome = command("config", "check", "--config-dir", made)
    assert outcome.status == 1
    assert "needs the program /no/bzip, which is not there" in outcome.err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "GeneralDefaultEncryptionElement = guerillabackup.GpgEncryptionPipelineElement('nobody')",
            "key 'nobody' is not in keyring",
        ),
        ("GeneralSigningKey = 'backup'", "key 'backup' ("),
        (
            "GeneralDefaultEncryptionElement = guerillabackup.GpgEncryptionPipelineElement('backu')",
            "is 'backup' meant",
        ),
        (
            f"GeneralTrustedSigningKeys = {{'.*': ['{'0' * 40}']}}",
            f"names {'0' * 40}, which is not in keyring",
        ),
    ],
)
def test_a_key_that_is_missing_or_of_no_use_ends_with_5(command, made, line, message):
    append(made, f"{line}\n")
    outcome = command("config", "check", "--config-dir", made)
    assert outcome.status == 5
    assert message in outcome.err


def test_a_key_that_is_not_there_is_told_with_where_it_is_set(command, made):
    with open(made / "config", "a") as file:
        file.write("GeneralSigningKey = 'singing'\n")
    line = len((made / "config").read_text().splitlines())
    outcome = command("config", "check", "--config-dir", made)
    assert outcome.status == 5
    assert f"{made / 'config'}:{line}: key 'singing' is not in keyring" in outcome.err


def test_a_keyring_that_others_can_enter_ends_with_5(command, made):
    (made / "keys").chmod(0o755)
    outcome = command("config", "check", "--config-dir", made)
    assert outcome.status == 5
    assert f"chmod 0700 {made}/keys" in outcome.err


def test_a_private_keyring_that_is_away_is_only_warned_of(command, made, tmp_path):
    (tmp_path / "private").rename(tmp_path / "taken away")
    outcome = command("config", "check", "--config-dir", made)
    assert outcome.status == 0
    assert "warning: the private keyring" in outcome.err


def test_a_key_that_ends_soon_is_warned_of(command, made, tmp_path):
    command("key", "create", "soon", "--purpose", "sign", "--expires", "5d", "--config-dir", made)
    append(made, "GeneralSigningKey = 'soon'\n")
    outcome = command("config", "check", "--config-dir", made)
    assert outcome.status == 0
    assert "5 days are left; prolong it with: gpg --homedir" in outcome.err


def test_show_has_every_key_with_value_and_origin(command, made):
    records = command("config", "show", "--config-dir", made, "--json").document
    assert {record["key"] for record in records} >= set(KEYS)
    origins = {record["key"]: record["origin"] for record in records}
    assert origins["DefaultFileSystemSinkBaseDir"].startswith(f"{made}/config:")
    assert origins["StorageFileMode"] == "default"
    text = command("config", "show", "--config-dir", made).out
    assert "0o600" in text
    assert "GpgEncryptionPipelineElement(" in text


def test_show_of_one_key_is_that_key(command, made):
    append(made, "MyOwnKey = [1, {'a': object}]\n")
    document = command("config", "show", "MyOwnKey", "--config-dir", made, "--json").document
    assert document["value"] == [1, {"a": "builtins.object"}]
    outcome = command("config", "show", "GeneralSignDat", "--config-dir", made)
    assert outcome.status == 1
    assert "did you mean GeneralSignData?" in outcome.err


def test_show_for_a_unit_has_its_overlay(command, made):
    enable_tar_unit(made, "GeneralSignData = True\nTarBackupUnitConfigList = {}\n")
    options = ("GeneralSignData", "--config-dir", made, "--json")
    assert command("config", "show", *options).document["value"] is False
    shown = command("config", "show", "--unit", "Tar", *options).document
    assert (shown["value"], shown["origin"]) == (True, f"{made}/units/Tar.config:1")
    assert command("config", "show", "--unit", "../Tar", *options).status == 1


def test_show_of_a_place_that_is_not_set_says_so(command, made):
    append(made, "del GeneralRuntimeDataDir\n")
    document = command("config", "show", "GeneralRuntimeDataDir", "--config-dir", made, "--json").document
    assert (document["value"], document["origin"]) == (None, "not set")


def test_init_makes_the_directories_a_signing_key_and_says_what_is_next(command, tmp_path):
    etc = tmp_path / "etc"
    outcome = command("config", "init", "--yes", "--base", tmp_path / "var", "--config-dir", etc)
    assert outcome.status == 0
    assert "guerillabackup key create backup --purpose encrypt" in outcome.out
    assert "elements will not be encrypted" in outcome.err
    assert {path.name for path in etc.iterdir()} == {"config", "keys", "lib-enabled", "units"}
    assert {path.name for path in (tmp_path / "var").iterdir()} == {"data", "run", "state"}
    assert stat.S_IMODE((etc / "keys").stat().st_mode) == 0o700
    assert stat.S_IMODE((etc / "config").stat().st_mode) == 0o600
    configuration = load_configuration(str(etc))
    keys = command("key", "list", "--config-dir", etc, "--json").document
    assert [key["fingerprint"] for key in keys] == [configuration["GeneralSigningKey"]]
    assert (keys[0]["purpose"], keys[0]["secret"]) == (["sign"], True)
    assert configuration["DefaultFileSystemSinkBaseDir"] == str(tmp_path / "var" / "data")


def test_what_init_says_is_next_can_be_typed_as_it_is_and_makes_a_backup(command, tmp_path, monkeypatch):
    etc, home = tmp_path / "etc", tmp_path / "a home"
    (home / "docs").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    made = command("config", "init", "--yes", "--base", tmp_path, "--config-dir", etc, "--json").document
    *lines, keep, verify = made["next"]
    assert f"{home}/guerillabackup-private" in keep
    assert "key export '" in verify
    (tmp_path / "editor").write_text(f"""#!/bin/sh
cat >"$1" <<END
TarBackupUnitConfigList = {{'/host/docs': {{'Root': '{home}/docs', 'FullBackupTiming': [9, 9, None, 0]}}}}
END
""")
    (tmp_path / "editor").chmod(0o700)
    program = shlex.join(str(part) for part in PROGRAM)
    script = "\n".join(["set -eu", f'guerillabackup() {{ {program} "$@"; }}', *lines])
    environment = {**os.environ, "EDITOR": str(tmp_path / "editor"), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["sh", "-c", script], env=environment, capture_output=True, text=True, umask=0o077, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "stored /host/" in done.stdout


def test_init_puts_the_units_readme_and_template_into_the_units_folder(command, tmp_path):
    units = tmp_path / "etc" / "units"
    units.mkdir(parents=True, mode=0o700)
    (units / "TarBackupUnit.config.template").write_text("mine")
    command("config", "init", "--yes", "--base", tmp_path, "--config-dir", tmp_path / "etc")
    assert "guerillabackup unit enable" in (units / "Readme.txt").read_text()
    assert (units / "TarBackupUnit.config.template").read_text() == "mine"


def test_init_changes_nothing_that_is_there(command, made):
    before = {path: path.read_bytes() for path in made.rglob("*") if path.is_file()}
    outcome = command("config", "init", "--yes", "--config-dir", made)
    assert outcome.status == 1
    assert f"{made}/config is there already; nothing was changed" in outcome.err
    assert {path: path.read_bytes() for path in made.rglob("*") if path.is_file()} == before


def test_init_does_not_follow_a_dangling_link(command, tmp_path):
    (tmp_path / "config").symlink_to(tmp_path / "elsewhere")
    assert command("config", "init", "--yes", "--config-dir", tmp_path).status == 1
    assert not (tmp_path / "elsewhere").exists()


def test_init_does_not_go_on_when_nobody_can_be_asked(tmp_path):
    arguments = ("config", "init", "--base", tmp_path, "--config-dir", tmp_path / "etc")
    done = subprocess.run([*PROGRAM, *arguments], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    assert done.returncode == 2
    assert b"say --yes" in done.stderr
    assert not (tmp_path / "etc").exists()


@pytest.mark.parametrize(("answer", "status"), [(b"n\n", 130), (b"\n", 0)], ids=["no", "yes"])
def test_init_asks_at_a_terminal(tmp_path, answer, status):
    arguments = ("config", "init", "--base", tmp_path, "--config-dir", tmp_path / "etc")
    ours, terminal = pty.openpty()
    os.write(ours, answer)
    done = subprocess.run([*PROGRAM, *arguments], stdin=terminal, capture_output=True, check=False)
    os.close(ours)
    os.close(terminal)
    assert done.returncode == status
    assert f"{tmp_path}/etc/config" in done.stdout.decode()
    assert (tmp_path / "etc" / "config").exists() == (status == 0)


def test_init_without_a_signing_key_makes_none(command, tmp_path):
    etc = tmp_path / "etc"
    arguments = ("--yes", "--no-signing-key", "--base", tmp_path, "--config-dir", etc, "--json")
    assert command("config", "init", *arguments).document["signing_key"] is None
    assert load_configuration(str(etc))["GeneralSigningKey"] is None


def test_names_with_quotes_and_backslashes_get_into_the_configuration_as_they_are(command, tmp_path):
    names = ['o\'neil \\1 "x"', "second"]
    options = [part for name in names for part in ("--encryption-key", name)]
    etc = tmp_path / "etc"
    assert command("config", "init", "--yes", "--base", tmp_path, *options, "--config-dir", etc).status == 0
    assert load_configuration(str(etc))["GeneralDefaultEncryptionElement"].keys == tuple(names)


def test_check_tells_of_several_keys_that_may_sign_anything(command, made, tmp_path):
    options = ("--config-dir", made)
    assert "is believed for every source" not in command("config", "check", *options).err
    other = ("--config-dir", tmp_path / "other")
    command("key", "create", "foreign", "--purpose", "sign", *other)
    (tmp_path / "foreign.asc").write_text(command("key", "export", "foreign", *other).out)
    command("key", "import", tmp_path / "foreign.asc", *options)
    errors = command("config", "check", *options).err
    assert "each of 2 keys is believed for every source" in errors
    assert "foreign (" in errors
    append(made, "GeneralTrustedSigningKeys = {'/.*': [GeneralSigningKey]}\n")
    assert "is believed for every source" not in command("config", "check", *options).err
    append(made, "GeneralTrustedSigningKeys = {'/alpha/*': [GeneralSigningKey]}\n")
    assert "'/alpha/*', which looks like a shell pattern" in command("config", "check", *options).err


@pytest.mark.parametrize("pattern", ["/host/tree", "/other/.*"])
def test_check_tells_when_what_this_host_signs_is_not_trusted_here(command, made, tmp_path, pattern):
    options = ("--config-dir", made)
    assert command("unit", "enable", "TarBackupUnit", *options).status == 0
    source = {"Root": str(tmp_path), "Include": ["."], "FullBackupTiming": [10, 20, None, 0]}
    (made / "units" / "TarBackupUnit.config").write_text(
        f"TarBackupUnitConfigList = {{'/host/tree': {source!r}}}\n"
    )
    mine = command("key", "create", "mine", "--purpose", "sign", *options, "--json").document["fingerprint"]
    other = ("--config-dir", tmp_path / "other")
    foreign = command("key", "create", "foreign", "--purpose", "sign", *other, "--json").document[
        "fingerprint"
    ]
    (tmp_path / "foreign.asc").write_text(command("key", "export", "foreign", *other).out)
    command("key", "import", tmp_path / "foreign.asc", *options)
    append(made, f"GeneralSigningKey = 'mine'\nGeneralTrustedSigningKeys = {{{pattern!r}: ['{foreign}']}}\n")
    outcome = command("config", "check", *options)
    assert outcome.status == 5
    assert f"GeneralTrustedSigningKeys does not trust the key 'mine' ({mine})" in outcome.err
    assert "for source /host/tree: element verify and restore refuse" in outcome.err
    append(made, f"GeneralTrustedSigningKeys['/host/.*'] = ['{mine}']\n")
    assert "does not trust" not in command("config", "check", *options).err


@pytest.mark.parametrize(
    ("arguments", "is_loose"),
    [
        ("'backup', home='/root/other'", True),
        ("'backup', ['/usr/bin/gpg', '--encrypt']", True),
        (f"['{'A' * 40}', '0x{'b' * 40}', '=backup', '<a@example.org>'], home='/root/other'", False),
        ("'backup'", False),
    ],
)
def test_check_warns_of_a_key_that_gpg_itself_looks_up_by_a_part_of_its_name(
    command, made, arguments, is_loose
):
    element = f"guerillabackup.GpgEncryptionPipelineElement({arguments})"
    append(made, f"GeneralDefaultEncryptionElement = {element}\n")
    outcome = command("config", "check", "--config-dir", made)
    assert ("'backup' anywhere in it: write the key's fingerprint" in outcome.err) is is_loose
