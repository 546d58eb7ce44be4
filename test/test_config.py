"""The configuration as tools see it: two stages, every problem at once, nothing defaulted that is needed."""

import os
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerillabackup.config import execute_definition, load_configuration, load_configuration_if_any
from guerillabackup.config_key import Key, expect
from guerillabackup.config_keys import KEYS
from guerillabackup.errors import ConfigError

FULL = """
GeneralPersistencyBaseDir = '/var/lib/guerillabackup/state'
GeneralRuntimeDataDir = '/run/guerillabackup'
DefaultFileSystemSinkBaseDir = '/var/lib/guerillabackup/data'
"""


def write(directory, text, name="config"):
    path = directory / name
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


def problems_of(directory, text):
    write(directory, text)
    with pytest.raises(ConfigError) as caught:
        load_configuration(str(directory))
    return caught.value.problems


def test_values_and_their_origins_are_known(tmp_path):
    path = write(tmp_path, "GeneralDebugTestModeFlag = False\nGeneralDebugTestModeFlag = True\nhelper = 1\n")
    configuration = load_configuration(str(tmp_path))
    assert configuration["GeneralDebugTestModeFlag"] is True
    assert configuration.origin("GeneralDebugTestModeFlag") == f"{path}:2"
    assert configuration["PipelineStallTimeout"] == 3600
    assert configuration.origin("PipelineStallTimeout") == "default"
    assert configuration["helper"] == 1


def test_the_configuration_knows_its_directories(tmp_path):
    write(tmp_path, FULL)
    configuration = load_configuration(str(tmp_path))
    assert configuration.directory == str(tmp_path)
    assert configuration.keys_directory == str(tmp_path / "keys")
    assert configuration.units_directory == str(tmp_path / "units")
    assert configuration.path == str(tmp_path / "config")


def test_neither_the_package_nor_private_names_are_values(tmp_path):
    write(tmp_path, "_helper = 1\n")
    assert not {"guerillabackup", "_helper", "__builtins__", "__file__"} & set(
        load_configuration(str(tmp_path))
    )


def test_what_a_tool_needs_is_not_defaulted_but_listed_with_the_lines_to_add(tmp_path):
    write(tmp_path, "GeneralRuntimeDataDir = '/run/x'\n")
    configuration = load_configuration(str(tmp_path))
    with pytest.raises(ConfigError) as caught:
        configuration.require(
            "GeneralPersistencyBaseDir", "GeneralRuntimeDataDir", "DefaultFileSystemSinkBaseDir"
        )
    assert [problem.rpartition("add the line: ")[2] for problem in caught.value.problems] == [
        "GeneralPersistencyBaseDir = '/var/lib/guerillabackup/state'",
        "DefaultFileSystemSinkBaseDir = '/var/lib/guerillabackup/data'",
    ]


def test_every_problem_is_reported_at_once_with_its_line(tmp_path):
    text = (
        "GeneralPersistencyBaseDir = 5\nGeneralRuntimeDir = '/run'\n"
        "generalSigningKey = 'x'\nraise ValueError('no')\n"
    )
    found = problems_of(tmp_path, text)
    path = tmp_path / "config"
    assert found == (
        f"{path}:4: ValueError: no",
        f"{path}:1: GeneralPersistencyBaseDir is 5, not an absolute path",
        f"{path}:2: GeneralRuntimeDir is no known key; did you mean GeneralRuntimeDataDir?",
        f"{path}:3: generalSigningKey is no known key; did you mean GeneralSigningKey?",
    )


def test_helpers_of_the_operator_are_left_alone(tmp_path):
    text = (
        "import os as GeneralSigningKeys\nclass GeneralSignDatas: pass\ndef StorageOwners(): pass\n"
        "general = 1\n_GeneralSignData = 2\nMyOwnThing = 3\n"
    )
    write(tmp_path, text)
    assert load_configuration(str(tmp_path))["MyOwnThing"] == 3


def test_an_overlay_holds_over_a_copy_and_names_its_own_lines(tmp_path):
    write(tmp_path, "Shared = {'a': [1]}\nGeneralSigningKey = 'one'\n")
    overlay_path = write(tmp_path, "Shared['a'].append(2)\nGeneralSigningKey = 'two'\n", "Unit.config")
    main = load_configuration(str(tmp_path))
    unit = main.overlay(overlay_path)
    assert (main["Shared"], unit["Shared"]) == ({"a": [1]}, {"a": [1, 2]})
    assert (main["GeneralSigningKey"], unit["GeneralSigningKey"]) == ("one", "two")
    assert unit.origin("GeneralSigningKey") == f"{overlay_path}:2"
    assert unit.origin("Shared") == f"{tmp_path / 'config'}:1"


def test_an_overlay_may_have_keys_that_only_its_owner_knows(tmp_path):
    write(tmp_path, "")
    overlay_path = write(tmp_path, "UnitSourceList = 5\nUnitSourceLists = {}\n", "Unit.config")
    key = Key("UnitSourceList", "Sources.", expect("a dict", lambda value: isinstance(value, dict)), "{}")
    with pytest.raises(ConfigError) as caught:
        load_configuration(str(tmp_path)).overlay(overlay_path, [key])
    assert caught.value.problems == (
        f"{overlay_path}:1: UnitSourceList is 5, not a dict",
        f"{overlay_path}:2: UnitSourceLists is no known key; did you mean UnitSourceList?",
    )


def test_a_list_that_holds_itself_can_be_overlaid(tmp_path):
    write(tmp_path, "Loop = []\nLoop.append(Loop)\n")
    unit = load_configuration(str(tmp_path)).overlay(write(tmp_path, "", "Unit.config"))
    assert unit["Loop"][0] is unit["Loop"]


def test_values_nested_too_deeply_to_copy_are_a_configuration_error(tmp_path):
    write(tmp_path, "Deep = []\nfor i in range(100000): Deep = [Deep]\n")
    overlay_path = write(tmp_path, "", "Unit.config")
    with pytest.raises(ConfigError, match="nested too deeply"):
        load_configuration(str(tmp_path)).overlay(overlay_path)


def test_modules_in_lib_enabled_can_be_imported_and_the_path_has_it_once(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "lib-enabled").mkdir(mode=0o700)
    (tmp_path / "lib-enabled" / "our_local_helpers.py").write_text("SOURCE = '/a/b'\n")
    write(tmp_path, "import our_local_helpers\nMySource = our_local_helpers.SOURCE\n")
    load_configuration(str(tmp_path))
    assert load_configuration(str(tmp_path))["MySource"] == "/a/b"
    assert sys.path.count(str(tmp_path / "lib-enabled")) == 1
    sys.modules.pop("our_local_helpers")


def test_a_lib_enabled_that_others_can_write_is_refused(tmp_path):
    (tmp_path / "lib-enabled").mkdir()
    (tmp_path / "lib-enabled").chmod(0o777)
    (problem,) = problems_of(tmp_path, "")
    assert problem.endswith(f"chmod go-w {tmp_path / 'lib-enabled'}")


def test_a_missing_configuration_says_how_to_make_one(tmp_path):
    with pytest.raises(ConfigError, match="guerillabackup config init --config-dir"):
        load_configuration(str(tmp_path))


def test_a_configuration_of_the_original_loads(tmp_path):
    text = FULL + (
        "GeneralDefaultCompressionElement = guerillabackup.OSProcessPipelineElement("
        "'/bin/bzip2', ['/bin/bzip2', '-c9'])\n"
        "GeneralDefaultEncryptionElement = guerillabackup.GpgEncryptionPipelineElement('some key name')\n"
        "GeneralDebugTestModeFlag = False\n"
        "GeneratorSinkClass = guerillabackup.DefaultFileSystemSink\n"
        "TransferServiceStorageBaseDir = '/var/spool/guerillabackup/transfer'\n"
        "TransferReceiverPolicyInitArgs = None\nTransferSenderPolicyInitArgs = [False]\n"
    )
    write(tmp_path, text)
    configuration = load_configuration(str(tmp_path))
    assert configuration["GeneralDefaultEncryptionElement"].keys == ("some key name",)
    assert configuration["TransferSenderPolicyInitArgs"] == [False]


def test_a_name_that_is_not_provided_is_named_with_its_line(tmp_path):
    (problem,) = problems_of(
        tmp_path, "\nMyElement = guerillabackup.OSProcesPipelineElement('/bin/cat', [])\n"
    )
    assert problem.startswith(
        f"{tmp_path / 'config'}:2: AttributeError: guerillabackup.OSProcesPipelineElement"
    )
    assert problem.endswith("did you mean OSProcessPipelineElement?")


def test_a_definition_file_is_executed_by_itself(tmp_path):
    path = write(tmp_path, "backupGeneratorUnitClass = guerillabackup.SourceUrl\n", "Unit")
    assert execute_definition(path)["backupGeneratorUnitClass"].__name__ == "SourceUrl"
    with pytest.raises(ConfigError, match="Unit:1: syntax error"):
        execute_definition(write(tmp_path, "def\n", "Unit"))


NAMES = st.sampled_from([*KEYS, "helper", "_x", "Own", "GeneralSigningKeyy", "guerillabackup", "__name__"])
VALUES = st.one_of(
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.none(),
    st.lists(st.none() | st.text(max_size=3), max_size=3),
    st.dictionaries(st.text(max_size=3), st.lists(st.text(max_size=40)), max_size=2),
).map(repr) | st.sampled_from(
    [
        "10 ** 5000",
        "lambda: 0",
        "exit()",
        "type",
        "object()",
        "1 / 0",
        "guerillabackup.Nothing",
        "[0] * 99",
        "(" * 300,
    ]
)
LINES = st.one_of(
    st.builds("{} = {}".format, NAMES, VALUES),
    st.builds("del {}".format, NAMES),
    st.builds("globals()[{}] = 1".format, VALUES),
    st.builds("class {}(Exception):\n  def __str__(self): return 1 / 0\nraise {}".format, NAMES, NAMES),
    st.text(max_size=20),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(LINES, max_size=6).map("\n".join) | st.binary(max_size=60))
def test_any_text_is_a_configuration_or_a_configuration_error(tmp_path_factory, text):
    directory = tmp_path_factory.mktemp("any")
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    (directory / "config").write_bytes(data)
    (directory / "config").chmod(0o600)
    try:
        configuration = load_configuration(str(directory))
        dict(configuration)
        configuration.overlay(os.path.join(directory, "config"))
    except ConfigError:
        pass


def test_without_a_main_file_the_defaults_alone_hold_for_what_can_do_with_them(tmp_path):
    configuration = load_configuration_if_any(str(tmp_path))
    assert configuration["PipelineStallTimeout"] == 3600
    with pytest.raises(ConfigError, match="GeneralPersistencyBaseDir is not set"):
        configuration.require("GeneralPersistencyBaseDir")


def test_with_a_main_file_nothing_of_it_is_overlooked(tmp_path):
    (tmp_path / "config").write_text("PipelineStallTimeout = 'x'\n")
    with pytest.raises(ConfigError, match="PipelineStallTimeout"):
        load_configuration_if_any(str(tmp_path))


@pytest.mark.parametrize("load", [load_configuration, load_configuration_if_any])
def test_a_directory_that_cannot_be_entered_is_not_one_without_a_configuration(tmp_path, load):
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "config").write_text("")
    closed.chmod(0)
    is_root = os.geteuid() == 0
    try:
        if is_root:
            os.seteuid(65534)  # root enters every directory
        with pytest.raises(ConfigError) as raised:
            load(str(closed))
    finally:
        if is_root:
            os.seteuid(0)
        closed.chmod(0o700)
    assert "cannot be read: Permission denied" in str(raised.value)
    assert "config init" not in str(raised.value)


def test_presets_hold_where_the_files_do_not_set_others(tmp_path):
    write(tmp_path, "GeneralRuntimeDataDir = '/own'\n")
    presets = {"GeneralRuntimeDataDir": "/preset", "GeneralPersistencyBaseDir": "/preset"}
    configuration = load_configuration(str(tmp_path), presets)
    assert configuration["GeneralRuntimeDataDir"] == "/own"
    assert configuration["GeneralPersistencyBaseDir"] == "/preset"
    assert configuration.origin("GeneralPersistencyBaseDir") == "default"
    assert configuration.overlay(write(tmp_path, "", "Overlay"))["GeneralPersistencyBaseDir"] == "/preset"


def test_files_may_import_the_modules_of_the_original(tmp_path):
    write(tmp_path, "import guerillabackup.Utils\nseconds = guerillabackup.Utils.parseTimeDef('1M')\n")
    assert load_configuration(str(tmp_path))["seconds"] == 60
