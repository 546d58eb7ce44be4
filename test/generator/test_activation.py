"""Activating a unit: what it makes, that it replaces nothing, and what a crash at any call leaves."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from guerillabackup.errors import ConfigError, StorageError
from guerillabackup.generator import activation
from guerillabackup.generator.activation import (
    UnitDefinition,
    activate,
    choose_definition,
    deactivate,
    definition_of,
    find_definitions,
)
from guerillabackup.generator.loader import list_units

CRASH = """
import os, sys
from guerillabackup.generator.activation import UnitDefinition, activate
base, number = sys.argv[1], 0
while True:
    number += 1
    units = f"{base}/{number}/units"
    os.makedirs(os.path.dirname(units))
    child = os.fork()
    if child == 0:
        left = number
        def die(frame, event, function):
            global left
            if event == "c_call" and function.__module__ == "posix":
                left -= 1
                if left == 0:
                    os._exit(9)
        sys.setprofile(die)
        activate(units, UnitDefinition("Unit", f"{base}/Unit.py", "", f"{base}/template"), "Unit", str)
        sys.setprofile(None)
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        break
print(number)
"""


@pytest.fixture
def units(tmp_path):
    (tmp_path / "units").mkdir(mode=0o700)
    return tmp_path / "units"


@pytest.fixture
def definition(tmp_path):
    (tmp_path / "Unit.py").write_text('"""Makes things: and so on."""\n')
    (tmp_path / "template").write_text("# settings\n")
    return UnitDefinition("Unit", str(tmp_path / "Unit.py"), "", str(tmp_path / "template"))


def enable(units, definition, alias="Unit"):
    return activate(str(units), definition, alias, lambda file: None)


def describe(units):
    return {
        path.name: os.readlink(path) if path.is_symlink() else path.read_text() for path in units.iterdir()
    }


def test_the_definition_is_linked_and_its_settings_made_from_the_template(units, definition):
    done = enable(units, definition, "Alias7")
    assert (done.is_new, done.is_overlay_new) == (True, True)
    assert describe(units) == {"Alias7": definition.path, "Alias7.config": "# settings\n"}
    (unit,) = list_units(str(units)).units
    assert unit == done.unit
    assert definition_of(unit) == definition.path
    assert (units / "Alias7.config").stat().st_mode & 0o777 == 0o600


def test_settings_that_are_there_are_kept(units, definition):
    (units / "Unit.config").write_text("mine")
    assert enable(units, definition).is_overlay_new is False
    assert (units / "Unit.config").read_text() == "mine"


def test_a_definition_without_a_template_has_no_settings(units, definition):
    done = enable(units, UnitDefinition("Unit", definition.path, "", None))
    assert done.unit.overlay is None
    assert describe(units) == {"Unit": definition.path}


def test_once_more_changes_nothing(units, definition):
    enable(units, definition)
    (units / "Unit.config").write_text("mine")
    done = enable(units, definition)
    assert (done.is_new, done.is_overlay_new) == (False, False)
    assert describe(units) == {"Unit": definition.path, "Unit.config": "mine"}


@pytest.mark.parametrize("kind", ["file", "other link", "link to nowhere", "folder"])
def test_what_has_the_name_is_never_replaced(units, definition, tmp_path, kind):
    if kind == "file":
        (units / "Unit").write_text("mine")
    elif kind == "folder":
        (units / "Unit").mkdir()
    else:
        (tmp_path / "other").write_text("")
        (units / "Unit").symlink_to(tmp_path / ("other" if kind == "other link" else "none"))
    before = os.lstat(units / "Unit")
    with pytest.raises(ConfigError, match=r"is there already, .*nothing was changed"):
        enable(units, definition)
    assert os.lstat(units / "Unit") == before
    assert [path.name for path in units.iterdir()] == ["Unit"]


@pytest.mark.parametrize("alias", ["", "a-b", "../Unit", "a/b", "Unit.config", "ü", "Unit\n"])
def test_a_name_that_no_unit_can_have_is_refused(units, definition, alias):
    with pytest.raises(ConfigError, match="is no name for a unit"):
        enable(units, definition, alias)
    assert describe(units) == {}


def test_a_definition_that_cannot_be_used_is_not_activated(units, definition):
    def refuse(file):
        raise ConfigError(f"{file.path} is bad")

    with pytest.raises(ConfigError, match=r"Unit\.py is bad"):
        activate(str(units), definition, "Unit", refuse)
    assert describe(units) == {}


def test_the_folder_of_the_units_is_made_but_no_configuration_directory(tmp_path, definition):
    enable(tmp_path / "units", definition)
    assert (tmp_path / "units").stat().st_mode & 0o777 == 0o700
    with pytest.raises(ConfigError, match="guerillabackup config init --config-dir"):
        enable(tmp_path / "none" / "units", definition)


def test_the_folder_of_the_units_may_be_a_link(tmp_path, definition):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "units").symlink_to(tmp_path / "elsewhere")
    enable(tmp_path / "units", definition)
    assert (tmp_path / "elsewhere" / "Unit").is_symlink()


def test_a_file_system_without_unnamed_files_has_the_same_outcome(units, definition, monkeypatch):
    # Only some network and FUSE file systems are like that.
    monkeypatch.setattr(activation, "open_unnamed", lambda directory_fd, mode: None)
    enable(units, definition)
    assert describe(units) == {"Unit": definition.path, "Unit.config": "# settings\n"}


def test_killed_at_any_call_the_unit_is_whole_or_not_activated_and_the_next_call_makes_it(
    tmp_path, definition
):
    done = subprocess.run(
        [sys.executable, "-c", CRASH, str(tmp_path)], check=True, capture_output=True, text=True
    )
    count = int(done.stdout)
    assert count > 20
    seen = set()
    for number in range(1, count + 1):
        units = tmp_path / str(number) / "units"
        listing = list_units(str(units))
        assert listing.warnings == ()
        assert [unit.overlay is not None for unit in listing.units] in ([], [True])
        seen.add((len(listing.units), len(listing.unused_overlays)))
        enable(units, definition)
        assert describe(units) == {"Unit": definition.path, "Unit.config": "# settings\n"}
    assert seen == {(0, 0), (0, 1), (1, 0)}


def test_a_folder_that_takes_no_link_is_an_error_that_names_the_unit(definition):
    with pytest.raises(StorageError, match="unit /proc/1/x cannot be enabled: "):
        enable(Path("/proc/1"), definition, "x")


def test_the_link_of_a_unit_is_removed_and_nothing_else(units, definition):
    enable(units, definition)
    deactivate(str(units), "Unit", list_units(str(units)))
    assert describe(units) == {"Unit.config": "# settings\n"}
    assert Path(definition.path).exists()


def test_a_link_to_nowhere_can_be_removed(units):
    (units / "Unit").symlink_to("nowhere")
    deactivate(str(units), "Unit", list_units(str(units)))
    assert describe(units) == {}


def test_a_file_that_is_a_unit_itself_is_not_removed(units):
    (units / "Unit").write_text("mine")
    with pytest.raises(ConfigError, match=r"is no link.*rename it to Unit\.template"):
        deactivate(str(units), "Unit", list_units(str(units)))
    assert describe(units) == {"Unit": "mine"}


def test_a_unit_that_is_not_there_is_an_error_with_the_near_one(units, definition):
    enable(units, definition, "HomeBackup")
    with pytest.raises(ConfigError, match=r"there is no unit 'HomeBackp' in .*; is HomeBackup meant"):
        deactivate(str(units), "HomeBackp", list_units(str(units)))


def test_the_definitions_of_this_checkout_are_found_with_their_templates(units, request):
    found = {definition.name: definition for definition in find_definitions(str(units))}
    top = request.config.rootpath
    assert set(found) == {path.stem for path in (top / "units").glob("*.py")}
    assert found["TarBackupUnit"].summary == "Full and incremental tar archives"
    for name, definition in found.items():
        assert definition.template == str(
            top / "etc" / "guerillabackup" / "units" / f"{name}.config.template"
        )
        assert definition.summary != ""


def test_a_definition_is_chosen_by_name_or_by_path(units, definition, tmp_path):
    definitions = find_definitions(str(units))
    assert choose_definition("TarBackupUnit", definitions).name == "TarBackupUnit"
    own = choose_definition(definition.path, definitions)
    assert (own.name, own.path, own.template) == ("Unit", definition.path, None)
    (tmp_path / "Unit.config.template").write_text("")
    assert choose_definition(definition.path, definitions).template == str(tmp_path / "Unit.config.template")
    with pytest.raises(ConfigError, match="is TarBackupUnit meant"):
        choose_definition("TarBackup", definitions)
    with pytest.raises(ConfigError, match="none is not a file"):
        choose_definition(str(tmp_path / "none"), definitions)
