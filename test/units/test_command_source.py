"""What the configuration of a source of commands says, and everything that can be wrong with it."""

import pytest

from guerillabackup.element import SourceUrl
from guerillabackup.errors import ConfigError
from guerillabackup.generator.timing import Timing
from guerillabackup.units.command_source import (
    find_exposed_secrets,
    hide_secrets,
    parse_environment_lines,
    parse_sources,
    split_sources,
)

MINIMAL = {"Command": ["true"], "Timing": [1, 2, None, None]}


def parse(**settings):
    (source,) = parse_sources({"/host/a": {**MINIMAL, **settings}})
    return source


def problems_of(settings):
    with pytest.raises(ConfigError) as caught:
        parse_sources({"/host/a": settings})
    return [problem.removeprefix("source /host/a: ") for problem in caught.value.problems]


def test_command_and_timing_are_enough():
    source = parse()
    assert source.source_url == SourceUrl("/host/a")
    assert source.command == ("true",)
    assert source.timing == Timing(1, 2, None, 0)
    assert source.minimum_size == 1
    assert source.allowed_exit_statuses == (0,)
    assert source.working_directory == "/"
    assert source.restore_command is None


def test_every_setting_is_taken():
    source = parse(
        RestoreCommand=["cat"],
        Environment={"PGHOST": "/run"},
        EnvironmentFile="/etc/env",
        CredentialFiles={"PGPASSFILE": "/etc/pgpass"},
        User="postgres",
        Group="postgres",
        WorkingDirectory="/srv",
        AllowedExitStatuses=[0, 1],
        MinimumSize=0,
        TimeLimit=60,
        IgnoreMessages=True,
        Policy="default",
        EncryptionKey=["a", "b"],
    )
    assert source.restore_command == ("cat",)
    assert source.environment == (("PGHOST", "/run"),)
    assert source.credential_files == (("PGPASSFILE", "/etc/pgpass"),)
    assert (source.user, source.group, source.working_directory) == ("postgres", "postgres", "/srv")
    assert (source.allowed_exit_statuses, source.minimum_size, source.time_limit) == ((0, 1), 0, 60)
    assert source.ignores_messages
    assert source.encryption_key == ("a", "b")


def test_what_is_not_set_is_told_with_an_example():
    command, timing = problems_of({})
    assert command.startswith("Command is not set; for example")
    assert timing.startswith("Timing is not set; daily")


def test_every_problem_is_told_of():
    settings = {"Command": "pg_dump", "Timing": [2, 1, None, 0], "Comand": [], "TimeLimit": 0}
    found = problems_of({**settings, "AllowedExitStatuses": [256], "MinimumSize": -1, "User": ""})
    assert len(found) == 7
    assert "unknown setting 'Comand'; is Command meant?" in found


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("Command", []),
        ("RestoreCommand", "sh -c"),
        ("Environment", ["A=1"]),
        ("Environment", {"A": 1}),
        ("Environment", {"A=B": "1"}),
        ("Environment", {"A": "\0"}),
        ("EnvironmentFile", "env"),
        ("CredentialFiles", {"A": "relative"}),
        ("CredentialFiles", {"A": ""}),
        ("CredentialFiles", "/etc/pgpass"),
        ("WorkingDirectory", "srv"),
        ("AllowedExitStatuses", []),
        ("AllowedExitStatuses", 0),
        ("AllowedExitStatuses", [True]),
        ("MinimumSize", "1 MB"),
        ("TimeLimit", 1.5),
        ("IgnoreMessages", 1),
        ("Policy", "a_b"),
        ("Group", 7),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_its_name(setting, value):
    (problem,) = problems_of({**MINIMAL, setting: value})
    assert problem.startswith(f"{setting}: ")


def test_a_mistake_in_one_source_keeps_no_other_from_being_used():
    listed = split_sources({"/host/a": MINIMAL, "/host/b": {}, "/host/c": 7})
    assert [str(source.source_url) for source in listed.sources] == ["/host/a"]
    assert sorted(map(str, listed.refused)) == ["/host/b", "/host/c"]


@pytest.mark.parametrize("value", [None, [], "text"])
def test_what_is_no_dict_of_sources_is_told_with_the_line_to_begin_with(value):
    with pytest.raises(ConfigError, match="start with: CommandBackupUnitConfigList = "):
        parse_sources(value)


# Files with variables.


def test_a_value_is_all_that_follows_the_equals_sign():
    lines = b"# comment\n\n  # another\nA=b=c #d \nEMPTY=\nQUOTE='\nLAST=\xff"
    variables = dict(parse_environment_lines(lines))
    assert variables == {"A": "b=c #d ", "EMPTY": "", "QUOTE": "'", "LAST": "\udcff"}


def test_lines_of_another_system_have_the_same_values():
    assert parse_environment_lines(b"A=1\r\nB=2\r\n") == (("A", "1"), ("B", "2"))


def test_every_line_that_is_wrong_is_told_by_its_number_and_without_its_value():
    lines = b"export PW=hunter2\nhunter2\nA='hunter2'\nB=1\nB=hunter2\nC=hunter2\0"
    with pytest.raises(ConfigError) as caught:
        parse_environment_lines(lines)
    assert [problem.split()[1] for problem in caught.value.problems] == ["1", "2", "3", "5", "6"]
    assert "hunter2" not in str(caught.value)


# Secrets where they do not belong.


def test_what_looks_like_a_secret_is_told_of_without_its_value():
    source = parse(
        Environment={
            "PGPASSWORD": "hunter2",
            "API_TOKEN": "hunter2",
            "PGHOST": "/run",
            "PGPASSFILE": "/etc/x",
        },
        RestoreCommand=["mysql", "--password=hunter2", "--user=me"],
    )
    found = find_exposed_secrets(source)
    assert [text.split(" looks")[0] for text in found] == [
        "Environment: PGPASSWORD",
        "Environment: API_TOKEN",
        "RestoreCommand: argument 1",
    ]
    assert "hunter2" not in "".join(found)


def test_secrets_are_hidden_the_longest_first():
    assert hide_secrets("pass password pass", ["pass", "password"]) == "*** *** ***"
