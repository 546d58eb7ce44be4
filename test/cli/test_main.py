"""The frame of every command: found late, helped with an example, every error answered for in one place."""

import contextlib
import json
import os
import subprocess
import sys
import tomllib

import click
import pytest
from sample_source import SampleSource

from guerillabackup.cli.main import COMMANDS, cli
from guerillabackup.errors import ConfigError, IntegrityError, KeyUnusableError, StorageError
from guerillabackup.storage.registry import open_storage

PROGRAM = (sys.executable, "-c", "from guerillabackup.cli.main import main; main()")


def all_commands(group=cli, path=()):
    context = click.Context(group)
    for name in group.list_commands(context):
        found = group.get_command(context, name)
        yield (*path, name), found
        if isinstance(found, click.Group):
            yield from all_commands(found, (*path, name))


COMMAND_TREE = dict(all_commands())


def fail_with(monkeypatch, error):
    """Have `config show` meet an error, as if the configuration raised it."""

    def load(directory):
        raise error

    monkeypatch.setattr("guerillabackup.config.load_configuration", load)
    return ("config", "show", "--config-dir", "/nonexistent")


def test_the_help_page_imports_neither_commands_nor_what_they_need():
    program = (
        "import sys; from guerillabackup.cli.main import run; status = run(['--help']);"
        "print(status, *(name for name in sys.modules if name.startswith('guerillabackup')"
        " or name in ('json', 'gnupg', 'rich', 'logging', 'hashlib')), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert all(name in done.stdout for name in COMMANDS)
    assert set(done.stderr.split()) == {
        "0",
        "guerillabackup",
        "guerillabackup.cli",
        "guerillabackup.cli.common",
        "guerillabackup.cli.main",
        "guerillabackup.cli.paths",
        "guerillabackup.command_option",
        "guerillabackup.errors",
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_page_says_of_a_command_what_it_says_itself(name):
    assert COMMAND_TREE[(name,)].get_short_help_str(limit=200) == COMMANDS[name].short_help


@pytest.mark.parametrize("path", COMMAND_TREE, ids=" ".join)
def test_every_command_has_help_with_an_example_of_itself(command, path):
    outcome = command(*path, "--help")
    assert outcome.status == 0
    example = outcome.out.partition("Example:")[2]
    assert f"guerillabackup {' '.join(path)}" in example


@pytest.mark.parametrize(
    "path", [path for path, found in COMMAND_TREE.items() if not isinstance(found, click.Group)], ids=" ".join
)
def test_every_command_has_the_shared_options(path):
    options = {option for parameter in COMMAND_TREE[path].params for option in parameter.opts}
    assert {"--config-dir", "--json", "--debug"} <= options


def test_the_version_is_the_projects(command):
    with open(os.path.join(os.path.dirname(__file__), "..", "..", "pyproject.toml"), "rb") as stream:
        version = tomllib.load(stream)["project"]["version"]
    assert command("--version").out == f"guerillabackup {version}\n"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (StorageError("no"), 1),
        (ConfigError("no"), 1),
        (IntegrityError("no"), 4),
        (KeyUnusableError("no"), 5),
        (KeyboardInterrupt(), 130),
        (click.Abort(), 130),
    ],
)
def test_an_error_is_one_line_and_an_exit_status(command, monkeypatch, error, status):
    outcome = command(*fail_with(monkeypatch, error))
    message = "interrupted" if status == 130 else "no"
    assert (outcome.status, outcome.out, outcome.err) == (status, "", f"guerillabackup: error: {message}\n")


def test_every_problem_has_its_line(command, monkeypatch):
    outcome = command(*fail_with(monkeypatch, ConfigError("one", "two")))
    assert outcome.err == "guerillabackup: error: one\nguerillabackup: error: two\n"


def test_a_message_cannot_steer_a_terminal_or_break_its_line(command, monkeypatch):
    outcome = command(*fail_with(monkeypatch, StorageError("a\x1b[2J\nb\udcff")))
    assert outcome.err == "guerillabackup: error: a\\x1b[2J\\nb\\udcff\n"


def test_an_argument_cannot_steer_a_terminal_either(command):
    outcome = command("config", "show", "--non\x1b[2Jsense")
    assert outcome.status == 2
    assert "\x1b" not in outcome.err


def test_with_json_an_error_is_a_document_too(command, monkeypatch):
    outcome = command(*fail_with(monkeypatch, KeyUnusableError("one", "two")), "--json")
    assert outcome.document == {
        "error": "one; two",
        "exit_status": 5,
        "kind": "KeyUnusableError",
        "problems": ["one", "two"],
    }
    assert outcome.err.count("guerillabackup: error: ") == 2


def test_what_nobody_expected_is_one_line_that_says_how_to_see_more(command, monkeypatch):
    arguments = fail_with(monkeypatch, ZeroDivisionError("odd"))
    outcome = command(*arguments)
    assert outcome.status == 1
    assert outcome.err.startswith(
        "guerillabackup: error: unexpected ZeroDivisionError: odd (run it again with --debug"
    )
    assert outcome.err.count("\n") == 1
    debugged = command(*arguments, "--debug")
    assert "Traceback (most recent call last)" in debugged.err
    assert debugged.status == 1


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["config", "nonsense"], ["config", "show", "--nonsense"]]
)
def test_wrong_usage_ends_with_2(command, arguments):
    assert command(*arguments).status == 2


def test_wrong_usage_with_json_is_a_document_too(command):
    outcome = command("config", "show", "--nonsense", "--json")
    assert (outcome.document["exit_status"], outcome.document["kind"]) == (2, "NoSuchOption")


def test_the_configuration_directory_comes_from_the_option_the_environment_or_its_default(
    command, monkeypatch, tmp_path
):
    assert "/etc/guerillabackup/config" in command("config", "show").err or os.path.exists(
        "/etc/guerillabackup"
    )
    monkeypatch.setenv("GUERILLABACKUP_CONFIG_DIR", str(tmp_path / "environment"))
    assert f"{tmp_path}/environment/config" in command("config", "show").err
    assert f"{tmp_path}/option/config" in command("config", "show", "--config-dir", tmp_path / "option").err


def test_a_reader_that_has_enough_ends_the_program_quietly():
    read_end, write_end = os.pipe()
    os.close(read_end)
    done = subprocess.run(
        [*PROGRAM, "completion", "zsh"], stdout=write_end, stderr=subprocess.PIPE, check=False
    )
    os.close(write_end)
    assert (done.returncode, done.stderr) == (1, b"")


def test_output_that_cannot_be_written_is_an_error():
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [*PROGRAM, "completion", "zsh"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert done.stderr.startswith(b"guerillabackup: error: ")
    assert done.stderr.count(b"\n") == 1


def test_a_shell_can_ask_for_completions():
    environment = {
        **os.environ,
        "_GUERILLABACKUP_COMPLETE": "bash_complete",
        "COMP_WORDS": "guerillabackup config s",
        "COMP_CWORD": "2",
    }
    done = subprocess.run(PROGRAM, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "plain,show\n"
    environment |= {"COMP_WORDS": "guerillabackup ", "COMP_CWORD": "1"}
    done = subprocess.run(PROGRAM, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [f"plain,{name}" for name in COMMANDS]


def test_an_error_while_a_list_is_written_leaves_two_whole_documents():
    program = (
        "from guerillabackup.cli.common import Invocation\nfrom guerillabackup.errors import StorageError\n"
        "def records():\n    yield {'a': 1}\n    raise StorageError('gone')\n"
        "try: Invocation('/', True, False).stream_records(records(), str)\nexcept StorageError: pass\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [{"a": 1}]


def run_redirected(redirection, *arguments, before=""):
    """One command line of a shell that redirects, and limits."""
    command = f'{before} exec "$@" {redirection}'
    return subprocess.run(
        ["sh", "-c", command, "sh", *PROGRAM, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("redirection", "reason"), [(">&-", "it is closed"), (">/dev/full", "No space left on device")]
)
@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["completion", "zsh"], ["config", "show"], ["element", "list"]]
)
def test_a_result_that_cannot_be_written_is_one_line_that_says_so(
    made, storage, redirection, reason, arguments
):
    options = [] if len(arguments) == 1 or arguments[0] == "completion" else ["--config-dir", made]
    done = run_redirected(redirection, *arguments, *options)
    assert done.returncode == 1
    assert done.stderr.startswith(f"guerillabackup: error: cannot write to standard output: {reason}")
    assert done.stderr.count("\n") == 1


@pytest.fixture
def storage(made, tmp_path):
    """The storage of the configuration, with one element in it."""
    with contextlib.closing(open_storage(str(tmp_path / "data"))) as storage:
        SampleSource(storage, tmp_path, compression=None).store("full", b"")
        yield storage


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full", "<&- >&- 2>/dev/null", ">&- 2>&-"])
def test_work_is_done_whatever_becomes_of_the_words_about_it(tmp_path, redirection):
    done = run_redirected(
        redirection, "config", "init", "--yes", "--base", tmp_path, "--config-dir", tmp_path
    )
    assert done.returncode == 1
    assert "error" not in (tmp_path / "config").read_text()
    if "2>" not in redirection:
        (line,) = [line for line in done.stderr.splitlines() if ": error: " in line]
        assert "is done" in line


def test_too_few_open_files_are_told_with_their_limit(made):
    done = run_redirected("", "config", "show", "--config-dir", made, before="ulimit -n 24;")
    assert (done.returncode, done.stdout) == (1, "")
    assert "only 24 files can be open at a time" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_soft_limit_of_open_files_is_raised(made):
    done = run_redirected("", "config", "check", "--config-dir", made, before="ulimit -S -n 12;")
    assert done.returncode == 0


@pytest.mark.parametrize("module", ["guerillabackup", "guerillabackup.cli.main"])
def test_python_runs_the_package_as_the_command(module):
    for arguments, status in ((["--version"], 0), (["nonsense"], 2)):
        done = subprocess.run([sys.executable, "-m", module, *arguments], capture_output=True, check=False)
        assert done.returncode == status
        assert done.stdout or done.stderr
