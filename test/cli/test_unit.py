"""`unit list`, `enable` and `disable` from a new configuration to a backup."""

import shutil
import subprocess
import sys

import pytest

PROGRAM = (sys.executable, "-c", "from guerillabackup.cli.main import main; main()")
INVENTORY = "/host/inventory"


@pytest.fixture
def conf(tmp_path, command):
    options = ("--yes", "--no-signing-key", "--base", tmp_path, "--config-dir", tmp_path / "etc")
    assert command("config", "init", *options).status == 0
    return tmp_path / "etc"


@pytest.fixture
def unit(conf, command):
    return lambda *arguments: command("unit", *arguments, "--config-dir", conf)


def test_a_unit_is_enabled_filled_in_run_and_disabled(conf, command, unit, tmp_path):
    outcome = unit("enable", "TarBackupUnit", "--as", "Home")
    assert outcome.status == 0
    assert outcome.out.startswith("enabled unit Home, ")
    assert f"made its settings, {conf}/units/Home.config" in outcome.out
    assert f"guerillabackup config check --config-dir {conf}" in outcome.out
    (tmp_path / "tree").mkdir()
    settings = {"Root": str(tmp_path / "tree"), "FullBackupTiming": [0, 0, None, None]}
    with open(conf / "units" / "Home.config", "a") as file:
        file.write(f"TarBackupUnitConfigList['/host/home'] = {settings!r}\n")
    (view,) = unit("list", "--json").document["units"]
    assert (view["unit"], view["class"], view["sources"]) == ("Home", "TarBackupUnit", ["/host/home"])
    assert view["problems"] == []
    assert "stored /host/" in command("generator", "run", "--once", "--config-dir", conf).out
    outcome = unit("disable", "Home")
    assert outcome.out.startswith("disabled unit Home, ")
    assert f"kept its settings, {conf}/units/Home.config" in outcome.out
    assert unit("list", "--json").document["units"] == []
    assert (
        f"kept its settings, {conf}/units/Home.config" in unit("enable", "TarBackupUnit", "--as", "Home").out
    )
    outcome = command("config", "check", "--config-dir", conf)
    assert outcome.status == 0, outcome.err


def test_the_list_shows_units_definitions_and_problems(conf, unit):
    assert unit("list").out.startswith("no unit is enabled\n")
    unit("enable", "TarBackupUnit", "--as", "Home")
    (conf / "units" / "Broken").write_text("1 = 2\n")
    (conf / "units" / "Gone").symlink_to("/nowhere")
    (conf / "units" / "Gone.config").write_text("GeneralSignData = 5\n")
    (conf / "units" / "Other.config").write_text("")
    outcome = unit("list")
    assert outcome.status == 0
    assert "problem of unit Home: it has no source" in outcome.out
    assert "units/Broken:1: syntax error" in outcome.out
    assert "problem of unit Gone: " in outcome.out
    assert "there is no unit Other" in outcome.err
    document = unit("list", "--json").document
    assert [view["unit"] for view in document["units"]] == ["Broken", "Gone", "Home"]
    assert len(document["units"][1]["problems"]) == 2
    (tar,) = [item for item in document["definitions"] if item["definition"] == "TarBackupUnit"]
    assert tar["units"] == ["Home"]
    assert len(document["warnings"]) == 1


def test_the_list_is_as_wide_as_the_terminal_and_the_verbose_one_has_all_paths(conf, unit, monkeypatch):
    names = [f"/host/department{number:02}/system" for number in range(20)]
    for name in ("Home", "OfTheDepartments"):
        unit("enable", "TarBackupUnit", "--as", name)
        settings = {url: {"Root": "/etc", "FullBackupTiming": [0, 0, None, None]} for url in names}
        (conf / "units" / f"{name}.config").write_text(f"TarBackupUnitConfigList = {settings!r}\n")
    for columns in (None, 60, 200):
        if columns is not None:
            monkeypatch.setenv("COLUMNS", str(columns))
        shown = unit("list").out
        widths = [len(line) for line in shown.splitlines()]
        assert max(widths) <= (columns or 100)
        assert all(name in shown for name in names)
    verbose = unit("list", "-v").out
    assert f"settings:    {conf}/units/Home.config\n" in verbose
    assert "definition:  /" in verbose


def test_a_link_to_the_originals_unit_counts_as_ours(conf, unit):
    (conf / "units" / "Old").symlink_to("/usr/lib/guerillabackup/lib/guerillabackup/TarBackupUnit.py")
    document = unit("list", "--json").document
    assert [view["class"] for view in document["units"]] == ["TarBackupUnit"]
    enabled = {view["definition"]: view["units"] for view in document["definitions"]}
    assert enabled["TarBackupUnit"] == ["Old"]


def test_what_was_done_can_be_read_by_a_program(conf, unit):
    first = unit("enable", "TarBackupUnit", "--json").document
    assert (first["unit"], first["was_enabled"], first["overlay_was_made"]) == ("TarBackupUnit", False, True)
    assert len(first["next"]) == 3
    assert unit("enable", "TarBackupUnit", "--json").document["was_enabled"] is True
    last = unit("disable", "TarBackupUnit", "--json").document
    assert last == {
        "unit": "TarBackupUnit",
        "definition": first["definition"],
        "overlay": first["overlay"],
        "service_runs": False,
    }


def test_a_file_of_ones_own_is_enabled_by_its_path_when_it_is_a_unit(conf, unit, tmp_path):
    (tmp_path / "Mine.py").write_text("from guerillabackup.units.tar import TarBackupUnit as unit\n")
    outcome = unit("enable", tmp_path / "Mine.py")
    assert outcome.status == 1
    assert "does not bind backupGeneratorUnitClass" in outcome.err
    (tmp_path / "Mine.py").write_text(
        "from guerillabackup.units.tar import TarBackupUnit as backupGeneratorUnitClass\n"
    )
    assert unit("enable", tmp_path / "Mine.py").status == 0
    assert (conf / "units" / "Mine").is_symlink()


def test_what_cannot_be_done_is_one_line_and_status_1(conf, unit):
    (conf / "units" / "Own").write_text("")
    for arguments, message in [
        (("enable", "TarBackup"), "is TarBackupUnit meant?"),
        (("enable", "TarBackupUnit", "--as", "Own"), "is a file of its own: nothing was changed"),
        (("disable", "Own"), "nothing was changed"),
        (("disable", "TarBackupUnit"), "unit TarBackupUnit is not enabled in "),
    ]:
        outcome = unit(*arguments)
        assert (outcome.status, outcome.out, outcome.err.count("\n")) == (1, "", 1)
        assert message in outcome.err


def test_without_a_main_configuration_the_first_step_is_to_make_one(tmp_path, command):
    (tmp_path / "etc").mkdir(mode=0o700)
    outcome = command("unit", "enable", "TarBackupUnit", "--config-dir", tmp_path / "etc")
    assert outcome.status == 0
    assert "  guerillabackup config init --config-dir" in outcome.out


def test_a_unit_made_from_the_template_stores_encrypted_and_signed_and_is_read_back(command, made, tmp_path):
    options = ("--config-dir", made)
    shutil.copy(made / "units" / "CustomUnit.py.template", made / "units" / "Mine")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "file").write_text("x")
    (made / "units" / "Mine.config").write_text(
        f"CustomUnitSource = {INVENTORY!r}\nCustomUnitDirectory = {str(tmp_path / 'tree')!r}\n"
    )
    (view,) = command("unit", "list", *options, "--json").document["units"]
    assert (view["class"], view["sources"], view["problems"]) == ("CustomUnit", [INVENTORY], [])
    outcome = command("generator", "run", "--once", "--json", *options)
    assert outcome.status == 0
    (source,) = outcome.document["sources"]
    assert command("element", "verify", "--all", *options).status == 0
    keyring = ("--private-keyring", tmp_path / "private")
    # In a process of its own: bulk data goes to the descriptor of standard output.
    arguments = ["element", "cat", source["element"], *keyring, *options]
    shown = subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, check=True).stdout
    assert shown.endswith(f"  {tmp_path}/tree/file\n")


def test_a_unit_that_is_not_enabled_is_told_from_one_that_there_is_not(unit):
    unit("enable", "TarBackupUnit", "--as", "Home")
    assert unit("disable", "Home").status == 0
    for name in ("Home", "LogfileBackupUnit"):
        outcome = unit("disable", name)
        assert outcome.status == 1
        assert f"unit {name} is not enabled in " in outcome.err
    assert "there is no unit 'Hom' in" in unit("disable", "Hom").err
