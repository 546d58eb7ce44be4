"""Which units are activated, and what becomes of definition files that are not as they should be."""

import os

import pytest

from guerillabackup.config import execute_definition
from guerillabackup.errors import ConfigError
from guerillabackup.generator.interface import SchedulableGeneratorUnitInterface
from guerillabackup.generator.loader import UnitFile, list_units, load_unit_class
from guerillabackup.units.tar import TarBackupUnit

GOOD = """
import guerillabackup
class Unit(guerillabackup.SchedulableGeneratorUnitInterface):
    pass
backupGeneratorUnitClass = Unit
"""


@pytest.fixture
def units(tmp_path):
    directory = tmp_path / "units"
    directory.mkdir(mode=0o700)
    return directory


def load(path):
    return load_unit_class(UnitFile("Unit", str(path), None), execute_definition)


def test_a_missing_directory_has_no_units(tmp_path):
    assert list_units(str(tmp_path / "none")).units == ()


def test_a_directory_that_cannot_be_listed_is_told(tmp_path):
    (tmp_path / "units").write_text("")
    with pytest.raises(ConfigError, match="cannot be listed"):
        list_units(str(tmp_path / "units"))


def test_units_are_files_and_links_of_letters_and_digits_in_the_order_of_their_names(units):
    (units / "b2").write_text(GOOD)
    (units / "A1").symlink_to("b2")
    (units / "A1.config").write_text("")
    listing = list_units(str(units))
    assert [(unit.name, unit.overlay) for unit in listing.units] == [
        ("A1", str(units / "A1.config")),
        ("b2", None),
    ]
    assert listing.warnings == ()


def test_readme_and_templates_are_ignored(units):
    for name in ("Readme.txt", "TarBackupUnit.config.template", "TarBackupUnit.template"):
        (units / name).write_text("not Python")
    assert list_units(str(units)) == list_units(str(units / "none"))


@pytest.mark.parametrize(
    "name", ["Tar-Unit", "unit~", "unit.py", ".hidden", "Unit.config.dpkg-old", "ümlaut", "a b", "readme.txt"]
)
def test_anything_else_gets_a_warning_that_names_it(units, name):
    (units / name).write_text("")
    listing = list_units(str(units))
    assert listing.units == ()
    assert [str(units / name) in warning for warning in listing.warnings] == [True]


def test_a_name_that_is_not_text_gets_a_warning_too(units):
    with open(os.fsencode(units) + b"/caf\xe9", "w"):
        pass
    assert len(list_units(str(units)).warnings) == 1


def test_an_overlay_without_its_unit_is_told_of_with_the_remedy_but_is_no_warning(units):
    (units / "Tar.config").write_text("")
    listing = list_units(str(units))
    assert listing.warnings == ()
    (unused,) = listing.unused_overlays
    assert "there is no unit Tar" in unused
    assert "guerillabackup unit enable DEFINITION --as Tar" in unused


def test_the_overlay_is_found_when_it_is_a_link_that_leads_nowhere(units):
    (units / "Tar").write_text(GOOD)
    (units / "Tar.config").symlink_to("nowhere")
    (unit,) = list_units(str(units)).units
    assert unit.overlay == str(units / "Tar.config")


def test_the_class_that_a_file_binds_is_loaded(units):
    (units / "Unit").write_text(GOOD)
    assert issubclass(load(units / "Unit"), SchedulableGeneratorUnitInterface)


def test_the_class_is_loaded_through_a_link(units):
    (units / "target").write_text(GOOD)
    (units / "Unit").symlink_to("target")
    assert load(units / "Unit").__name__ == "Unit"


def test_the_definition_of_the_tar_unit_is_loaded(repository):
    assert load(repository / "units" / "TarBackupUnit.py").__name__ == "TarBackupUnit"


@pytest.fixture
def repository(request):
    return request.config.rootpath


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = = 1", "Unit:1: syntax error"),
        ("", "does not bind backupGeneratorUnitClass"),
        ("backupGeneratorUnitClass = None", "does not bind backupGeneratorUnitClass"),
        ("backupGeneratorUnitClass = 5", "backupGeneratorUnitClass is 5, not a class of"),
        ("backupGeneratorUnitClass = dict", "not a class of SchedulableGeneratorUnitInterface"),
        ("import no_such_module", "No module named 'no_such_module'"),
        ("raise RuntimeError('why')", "RuntimeError: why"),
        ("import sys; sys.exit(0)", "ends the program"),
        ("\0", "NUL"),
    ],
)
def test_a_file_that_is_no_unit_is_told_in_one_line_with_its_path(units, text, message):
    (units / "Unit").write_text(text)
    with pytest.raises(ConfigError) as error:
        load(units / "Unit")
    assert message in str(error.value)
    assert str(units / "Unit") in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_others_can_write_is_refused(units):
    (units / "Unit").write_text(GOOD)
    (units / "Unit").chmod(0o666)
    with pytest.raises(ConfigError, match="write"):
        load(units / "Unit")


def test_a_file_in_a_directory_that_others_can_write_is_refused(units):
    (units / "Unit").write_text(GOOD)
    units.chmod(0o777)
    with pytest.raises(ConfigError, match="write"):
        load(units / "Unit")


def test_a_link_to_a_file_that_others_can_write_is_refused(units, tmp_path):
    (tmp_path / "target").write_text(GOOD)
    (tmp_path / "target").chmod(0o666)
    (units / "Unit").symlink_to(tmp_path / "target")
    with pytest.raises(ConfigError, match=f"{tmp_path / 'target'}: others can write it"):
        load(units / "Unit")


def test_a_link_that_leads_nowhere_is_told(units):
    (units / "Unit").symlink_to("nowhere")
    with pytest.raises(ConfigError, match="Unit: is a symbolic link to nowhere, which is not there"):
        load(units / "Unit")


def test_a_folder_is_told(units):
    (units / "Unit").mkdir()
    with pytest.raises(ConfigError, match="not a regular file"):
        load(units / "Unit")


def test_another_class_may_stand_in_and_what_is_bound_be_adapted(tmp_path):
    (tmp_path / "Unit").write_text("backupGeneratorUnitClass = 'theirs'")
    unit = UnitFile("Unit", str(tmp_path / "Unit"), None)
    adapted = load_unit_class(unit, execute_definition, adapt=lambda bound: TarBackupUnit)
    assert adapted is TarBackupUnit
    assert load_unit_class(unit, execute_definition, lambda path: TarBackupUnit) is TarBackupUnit
