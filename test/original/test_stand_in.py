"""Our units for links to the original's files."""

import pytest

from guerillabackup.original.stand_in import find_name, find_stand_in
from guerillabackup.units.tar import TarBackupUnit

LIBRARY = "usr/lib/guerillabackup/lib/guerillabackup"


def test_a_link_to_the_originals_file_is_our_unit_whether_that_is_there_or_not(tmp_path):
    unit = tmp_path / "Any"
    unit.symlink_to(f"/no/{LIBRARY}/TarBackupUnit.py")
    assert find_stand_in(str(unit)) is TarBackupUnit
    assert find_name(str(unit)) == "TarBackupUnit"
    library = tmp_path / LIBRARY
    library.mkdir(parents=True)
    (library / "TarBackupUnit.py").write_text("raise Exception")
    (tmp_path / "indirect").symlink_to(library / "TarBackupUnit.py")
    unit.unlink()
    unit.symlink_to("indirect")
    assert find_stand_in(str(unit)) is TarBackupUnit


@pytest.mark.parametrize("target", [f"/{LIBRARY}/OtherUnit.py", "/home/me/TarBackupUnit.py", "nothing"])
def test_other_links_lead_where_they_lead(tmp_path, target):
    (tmp_path / "Any").symlink_to(target)
    assert find_stand_in(str(tmp_path / "Any")) is None


def test_a_file_is_no_link(tmp_path):
    (tmp_path / "TarBackupUnit").write_text("")
    assert find_stand_in(str(tmp_path / "TarBackupUnit")) is None
