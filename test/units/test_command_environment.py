"""Whose rights commands have, and how they get secrets that nobody else sees."""

import os
import pwd
import subprocess

import pytest

from guerillabackup.errors import ConfigError
from guerillabackup.units.command_environment import find_environment_problems, open_environment
from guerillabackup.units.command_source import parse_sources

MINIMAL = {"Command": ["true"], "Timing": [1, 2, None, None]}
ME = pwd.getpwuid(os.geteuid()).pw_name
OTHER = "daemon" if ME == "nobody" else "nobody"
IS_ROOT = os.geteuid() == 0


def parse(**settings):
    (source,) = parse_sources({"/host/a": {**MINIMAL, **settings}})
    return source


@pytest.fixture
def secret(tmp_path):
    """Makes a file with a mode."""

    def make(text="PGPASSWORD=hunter2\n", mode=0o600):
        path = tmp_path / "secret"
        path.write_text(text)
        path.chmod(mode)
        return path

    return make


def test_variables_come_from_settings_and_files_and_files_win(secret):
    source = parse(Environment={"A": "1", "PGPASSWORD": "no"}, EnvironmentFile=str(secret()))
    with open_environment(source) as environment:
        assert environment.variables == {"A": "1", "PGPASSWORD": "hunter2"}
        assert environment.secrets == ("hunter2",)
        assert environment.identity is None


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o620, 0o644, 0o601])
@pytest.mark.parametrize("setting", ["EnvironmentFile", "CredentialFiles"])
def test_a_file_that_others_can_read_or_write_is_refused(secret, setting, mode):
    path = str(secret(mode=mode))
    source = parse(**{setting: path if setting == "EnvironmentFile" else {"PGPASSFILE": path}})
    with pytest.raises(ConfigError, match=f"forbid that with: chmod 0600 {path}"), open_environment(source):
        pass
    (problem,) = find_environment_problems(source)
    assert "hunter2" not in problem


@pytest.mark.parametrize("kind", ["missing", "directory", "fifo"])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path, kind):
    path = tmp_path / "secret"
    if kind == "directory":
        path.mkdir(mode=0o700)
    elif kind == "fifo":
        os.mkfifo(path, 0o600)
    (problem,) = find_environment_problems(parse(EnvironmentFile=str(path)))
    assert problem.startswith(f"EnvironmentFile {path}: ")


def test_a_file_with_a_line_that_is_none_is_refused_with_its_number(secret):
    path = secret("A=1\nhunter2\n")
    (problem,) = find_environment_problems(parse(EnvironmentFile=str(path)))
    assert problem.startswith(f"EnvironmentFile {path}: line 2 is not KEY=VALUE")


def test_a_file_without_end_is_refused(tmp_path):
    path = tmp_path / "huge"
    path.touch(0o600)
    os.truncate(path, 1 << 20)
    (problem,) = find_environment_problems(parse(EnvironmentFile=str(path)))
    assert "is larger than 65536 bytes" in problem


def test_who_may_read_a_credential_file_gets_its_own_path(secret):
    path = str(secret())
    with open_environment(parse(CredentialFiles={"PGPASSFILE": path}, User=ME)) as environment:
        assert environment.variables["PGPASSFILE"] == path
        assert environment.variables["USER"] == ME
        assert environment.pass_fds == ()


def test_another_user_gets_a_copy_in_memory_and_nobody_else_does(secret):
    source = parse(CredentialFiles={"PGPASSFILE": str(secret("hunter2"))}, User=OTHER)
    if not IS_ROOT:  # nor may anybody but root start something as another user
        with pytest.raises(ConfigError, match="only root can run a command as somebody else"):
            open_environment(source).__enter__()
        return
    with open_environment(source) as environment:
        (descriptor,) = environment.pass_fds
        path = environment.variables["PGPASSFILE"]
        assert path == f"/dev/fd/{descriptor}"
        other = pwd.getpwnam(OTHER)
        options = {"user": other.pw_uid, "group": other.pw_gid, "extra_groups": (), "cwd": "/"}
        for _ in range(2):
            script = ["sh", "-c", f"stat -Lc '%a %u %F' {path}; cat {path}"]
            shown = subprocess.run(
                script, pass_fds=[descriptor], capture_output=True, check=True, **options
            ).stdout
            assert shown.decode() == f"400 {other.pw_uid} regular file\nhunter2"
        stranger = subprocess.run(
            ["cat", path], pass_fds=[descriptor], capture_output=True, cwd="/", user=4711, extra_groups=()
        )
        assert stranger.returncode != 0
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_user_has_its_own_home_and_groups():
    with open_environment(parse(User=ME)) as environment:
        assert environment.variables["HOME"] == pwd.getpwnam(ME).pw_dir
        if IS_ROOT:
            assert environment.identity.user_id == 0
            assert environment.identity.group_ids == tuple(os.getgrouplist(ME, 0))
        else:
            assert environment.identity is None


def test_everything_that_is_not_there_is_told_of():
    source = parse(
        Command=["/no/such/program"],
        RestoreCommand=["no-such-program-either"],
        WorkingDirectory="/no/such/directory",
        User="nobody-of-this-host",
    )
    assert find_environment_problems(source) == [
        "User: there is no user 'nobody-of-this-host' on this host",
        "WorkingDirectory /no/such/directory is not a directory",
        "Command: program /no/such/program is not there",
        "RestoreCommand: program no-such-program-either is not there",
    ]
    (problem,) = find_environment_problems(parse(Group="nobodies-of-this-host"))
    assert problem == "Group: there is no group 'nobodies-of-this-host' on this host"


def test_a_program_is_looked_for_where_the_command_will_look(tmp_path):
    program = tmp_path / "bin" / "own"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    directory = str(program.parent)
    assert find_environment_problems(parse(Command=["own"], Environment={"PATH": directory})) == []
    assert find_environment_problems(parse(Command=["bin/own"], WorkingDirectory=str(tmp_path))) == []
