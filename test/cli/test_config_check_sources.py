"""What `config check` says of units that would get into each other's way."""

from guerillabackup.cli.config_check import check_configuration

UNIT = "from guerillabackup.units.tar import TarBackupUnit as backupGeneratorUnitClass\n"
SETTINGS = "{'Root': '/etc', 'FullBackupTiming': [0, 60, None, None]}"


def test_a_source_of_two_units_is_a_problem(tmp_path):
    (tmp_path / "units").mkdir(mode=0o700)
    (tmp_path / "config").write_text(
        "".join(
            f"{key} = {str(tmp_path / 'var')!r}\n"
            for key in ("GeneralPersistencyBaseDir", "GeneralRuntimeDataDir", "DefaultFileSystemSinkBaseDir")
        )
    )
    for unit, sources in (("A", ["/host/one"]), ("B", ["/host/one", "/host/two"])):
        (tmp_path / "units" / unit).write_text(UNIT)
        listed = ", ".join(f"{source!r}: {SETTINGS}" for source in sources)
        (tmp_path / "units" / f"{unit}.config").write_text(f"TarBackupUnitConfigList = {{{listed}}}\n")
    outcome = check_configuration(str(tmp_path))
    assert outcome.problems == [
        "source /host/one is one of unit A and one of unit B: take it from one of them"
    ]
