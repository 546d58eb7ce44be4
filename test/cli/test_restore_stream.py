"""The command `restore` on elements that are plain streams: stdout, a program, a file, a list."""

import json
import os
import signal
import subprocess
import sys

import pytest
from cli_host import configured_host

UNIT = "from guerillabackup.units.command import CommandBackupUnit as backupGeneratorUnitClass\n"
URL = "/host/dump"
STREAM = {"ContentType": "command-output", "ContentLayers": 1}


@pytest.fixture
def host(tmp_path, capfd):
    with configured_host(tmp_path, capfd) as host:
        yield host


@pytest.fixture
def dumps(host):
    """Three elements of a source: one, two, three."""
    source = host.source(source=URL)
    return [source.store("full", text, **STREAM) for text in (b"one\n", b"two\n", b"three\n")]


def configure(host, **settings):
    units = host.path / "etc" / "units"
    units.mkdir(mode=0o700)
    (units / "Command").write_text(UNIT)
    settings = {"Command": ["true"], "Timing": [0, 1, None, 0], **settings}
    (units / "Command.config").write_text(f"CommandBackupUnitConfigList = {{{URL!r}: {settings!r}}}\n")


def damage(host, element):
    data = bytearray(host.data_path(element).read_bytes())
    data[-1] ^= 1
    host.data_path(element).write_bytes(data)


def test_the_newest_goes_to_stdout_and_nothing_else_does(host, dumps):
    status, output, _ = host("restore", URL, "--to-stdout")
    assert (status, output) == (0, "three\n")


def test_an_older_one_is_chosen_by_its_time_or_its_name(host, dumps):
    assert host("restore", URL, "--to-stdout", "--at", "@1700003600")[1] == "two\n"
    element_id = str(dumps[0].get_element_id())
    assert host("restore", URL, "--to-stdout", "--element", element_id)[1] == "one\n"


def test_what_is_damaged_does_not_reach_stdout(host, dumps):
    damage(host, dumps[2])
    status, output, errors = host("restore", URL, "--to-stdout")
    assert (status, output) == (4, "")
    assert "not what its checksum says" in errors


def test_the_configured_program_gets_it_and_its_output_is_ours(host, dumps):
    configure(host, RestoreCommand=["sh", "-c", "echo words >&2; tr a-z A-Z"])
    status, output, errors = host("restore", URL, "--run")
    assert status == 0
    assert output.splitlines()[0] == "THREE"
    assert output.splitlines()[1] == f"restored {URL} with sh: the content of {dumps[2].get_element_id()}"
    assert "warning: sh: words" in errors


def test_what_is_damaged_starts_no_program(host, dumps):
    damage(host, dumps[2])
    configure(host, RestoreCommand=["touch", str(host.path / "started")])
    assert host("restore", URL, "--run")[0] == 4
    assert host("restore", URL, "--into-command", "--", "touch", host.path / "started")[0] == 4
    assert not (host.path / "started").exists()


def test_a_program_that_fails_ends_it_with_1(host, dumps):
    configure(host, RestoreCommand=["sh", "-c", "cat >&2; exit 7"])
    status, _, errors = host("restore", URL, "--run")
    assert status == 1
    assert "exit status 7: three; sh may have kept what it had taken until then" in errors


def test_a_program_of_the_command_line_gets_it_with_its_own_options(host, dumps):
    status, output, told = host("restore", URL, "--into-command", "--", "grep", "-c", "--", "three")
    assert f"guerillabackup: restored {URL} into grep: the content of {URL.rpartition('/')[0]}/" in told
    assert (status, output) == (0, "1\n")


def test_a_document_tells_of_the_program_and_its_output_goes_elsewhere(host, dumps):
    configure(host, RestoreCommand=["cat"])
    status, output, errors = host("restore", URL, "--run", "--json")
    document = json.loads(output)
    assert status == 0
    assert document["element"] == str(dumps[2].get_element_id())
    assert document["program"] == "cat"
    assert "three" in errors


def test_what_an_element_says_is_never_run(host):
    told = {"RestoreCommand": ["touch", str(host.path / "started")], **STREAM}
    host.source(source=URL).store("full", b"one", **told)
    status, _, errors = host("restore", URL, "--run")
    assert status == 1
    assert "no unit of this host's configuration has commands for source /host/dump" in errors
    assert "--into-command -- PROGRAM" in errors
    assert not (host.path / "started").exists()


def test_its_elements_are_listed_with_times_and_sizes(host, dumps):
    status, output, _ = host("restore", URL, "--list")
    lines = output.splitlines()
    assert status == 0
    assert [line.split()[-1] for line in lines] == ["read", "read", "verified"]
    assert [line[0] for line in lines] == [" ", " ", "*"]
    assert str(dumps[0].get_element_id()) in lines[0]
    records = json.loads(host("restore", URL, "--list", "--at", "@1700003600", "--json")[1])
    assert [record["chosen"] for record in records] == [False, True, False]
    assert records[1]["content_type"] == "command-output"


def test_a_list_tells_of_damage_with_4(host, dumps):
    damage(host, dumps[2])
    status, output, _ = host("restore", URL, "--list")
    assert status == 4
    assert output.splitlines()[2].endswith("NOT VERIFIED")


def test_a_file_is_named_as_the_element(host, dumps):
    _, output, _ = host("restore", URL, "--to", host.path / "out")
    path = host.path / "out" / dumps[2].get_element_id().file_stem
    assert output.endswith(f"is not an archive: its content is in {path}\n")
    assert path.read_bytes() == b"three\n"


def test_an_archive_is_no_stream(host):
    host.source().back_up("full")
    status, output, errors = host("restore", "/host/tree", "--to-stdout")
    assert (status, output) == (1, "")
    assert "restore it with --to DIR" in errors


@pytest.mark.parametrize(
    "arguments",
    [
        ("--to-stdout", "--run"),
        ("--run", "--to", "out"),
        ("--list", "--into-command", "--", "cat"),
        ("--into-command",),
        ("--run", "--", "cat"),
        ("--to-stdout", "--json"),
        ("--run", "--include", "etc"),
        ("--to-stdout", "--into-existing"),
        ("--to", ""),
        (),
    ],
)
def test_what_cannot_be_meant_is_wrong_usage(host, dumps, arguments):
    assert host("restore", URL, *arguments)[0] == 2


def test_a_reader_that_has_enough_ends_it_quietly(host):
    source = host.source(source=URL)
    source.store("full", b"line\n" * 2_000_000, **STREAM)
    program = "from guerillabackup.cli.main import main; main()"
    argv = [sys.executable, "-c", program, "restore", URL, "--to-stdout"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.read(5) == b"line\n"
        process.stdout.close()
        errors = process.stderr.read().decode()
    assert "error" not in errors
    assert "Traceback" not in errors


def test_an_interrupt_ends_the_program_too_however_early_it_comes(host, dumps):
    pid_file = host.path / "pid"
    os.mkfifo(pid_file)
    script = f"echo $$ > {pid_file}; exec sleep 1000"
    code = "from guerillabackup.cli.main import main; main()"
    argv = [sys.executable, "-c", code, "restore", URL, "--into-command", "--", "sh", "-c", script]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        with open(pid_file) as file:
            program = int(file.read())
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130
    with pytest.raises(ProcessLookupError):
        os.kill(program, 0)


@pytest.mark.parametrize("command", ["restore", "cat"])
def test_a_full_standard_output_is_what_the_error_names(host, dumps, command):
    arguments = ["restore", URL, "--to-stdout"]
    if command == "cat":
        arguments = ["element", "cat", str(dumps[0].get_element_id())]
    argv = [sys.executable, "-m", "guerillabackup.cli.main", *arguments]
    with open("/dev/full", "wb") as full:
        done = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert "error: cannot write to standard output: no space left where it goes to (" in done.stderr
