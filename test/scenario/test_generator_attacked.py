"""Goal: whatever a unit's code does to the process it runs in, the service and the other units go on."""

import contextlib
import json
import os
import shutil
import signal

import pytest
from service_host import ServiceHost

from guerillabackup.element import SourceUrl
from guerillabackup.errors import ConfigError
from guerillabackup.generator.control_messages import GENERATOR, Request
from guerillabackup.generator.loop import MAX_WAITING
from guerillabackup.observe.control_client import ServiceClient
from guerillabackup.storage.default_file import DefaultFileStorage

ONE = {"/host/a": {}}
SECRETLY_WRONG = "type('Wrong', (Exception,), {'__str__': lambda self: 1 // 0})"


@pytest.fixture
def host(short_directory):
    made = ServiceHost(short_directory)
    yield made
    made.close()


def assert_goes_on(host):
    """Another unit is run, clients are answered, and the end is in order."""
    outcome = host.run("generator", "trigger", "--source", "/host/a")
    assert outcome.returncode == 0, outcome.stderr + host.log()
    for words in (["list"], ["status"], ["list", "--json"], ["status", "--json"]):
        assert host.run("generator", *words).returncode in (0, 3)
    assert host.end() == 0, host.log()


@pytest.mark.parametrize(
    "body",
    [
        "return [None, 5]",
        "return [SourceOutcome('/host/x', None, 'text', None, 5)]",
        "return [SourceOutcome({}, 5, 6)]",
        f"raise {SECRETLY_WRONG}()",
        "raise RuntimeError('x' * (20 << 20))",
        "raise KeyboardInterrupt",
        "raise GeneratorExit",
        "Unit.get_next_invocation_time = lambda self: float('inf')",
        "Unit.get_next_invocation_time = lambda self: 10 ** 400",
        "Unit.describe_sources = lambda self: {'x': None, 5: {}}",
        "Unit.describe_sources = lambda self: 5",
        "[self.context.listen(event) for event in (None, 5, object(), {})]",
        "sys.stderr.write('x' * (5 << 20)); print('y' * (5 << 20))",
        "os.umask(0o777)",
        "os.chdir('/proc/self')",
        "__import__('locale').setlocale(__import__('locale').LC_ALL, '')",
        "os.environ.clear()",
        "[threading.Thread(target=time.sleep, args=(9,)).start() for _ in range(50)]",
        "sys.stdout = sys.stderr = None",
        "__import__('socket').setdefaulttimeout(0.001)",
        "__import__('logging').disable()",
        "__import__('logging').shutdown()",
    ],
)
def test_a_unit_that_is_wrong_in_itself_leaves_the_others_alone(host, body):
    host.add_unit("Bad", body)
    host.start(wait=True)
    host.wait_for(lambda: host.ask("list")["units"][0]["last_run"])
    host.add_tar("Tar", ONE)
    host.send(signal.SIGHUP)
    host.wait_for(lambda: host.ask("status")["units"] == 2)
    done = host.run("generator", "trigger", "--unit", "Bad")
    assert done.returncode in (0, 3), done.stderr
    assert_goes_on(host)
    with DefaultFileStorage(str(host.data)) as storage:
        assert all(element.get_metadata() for element in storage.query_backup_data_elements())
    assert {oct(path.stat().st_mode & 0o777) for path in host.data.rglob("*.data")} == {"0o600"}


@pytest.mark.parametrize(
    "line",
    [
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.set_wakeup_fd(-1)",
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)",
        "signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP})",
    ],
)
def test_a_unit_file_that_changes_signals_keeps_the_service_from_nothing(host, line):
    host.add_unit("Bad", "pass")
    path = host.conf / "units" / "Bad"
    text = path.read_text()
    path.write_text(f"import signal\n{line}\n{text}")
    host.start()
    host.add_tar("Tar", ONE)
    for _ in range(2):
        host.send(signal.SIGHUP)
        host.hear("RELOADING=1", "READY=1")
    host.wait_for(host.stored)
    assert host.end() == 0


@pytest.mark.parametrize(
    "lines",
    [
        "Unit.list_sources = classmethod(lambda cls, configuration: [None, 5, {}])",
        "Unit.list_sources = classmethod(lambda cls, configuration: 5)",
        f"def fail(cls, configuration): raise {SECRETLY_WRONG}()\nUnit.list_sources = classmethod(fail)",
        f"raise {SECRETLY_WRONG}()",
    ],
)
def test_a_unit_that_names_no_sources_but_something_else_is_told_of_alone(host, lines):
    host.add_unit("Bad", "pass")
    path = host.conf / "units" / "Bad"
    path.write_text(path.read_text() + lines + "\n")
    host.add_tar("Tar", ONE)
    host.start()
    host.wait_for(host.stored)
    assert host.ask("status")["failed"]
    assert host.run("generator", "trigger", "--source", "/host/none").returncode == 1
    assert host.run("config", "check").returncode == 1
    assert host.run("unit", "list").returncode == 0
    assert_goes_on(host)


def test_a_unit_that_closes_standard_descriptors_gets_no_message_into_an_element(host):
    host.add_tar("Tar", ONE)
    host.start()
    host.wait_for(host.stored)
    host.add_unit("Bad", "os.closerange(0, 3)")
    host.send(signal.SIGHUP)
    host.wait_for(lambda: host.ask("list")["units"][0]["last_run"])
    for _ in range(3):
        assert host.run("generator", "trigger", "--source", "/host/a", "--full").returncode == 0
    verified = host.run("element", "verify", "--all")
    assert verified.returncode == 0, verified.stderr
    assert_goes_on(host)


def test_clients_that_wait_for_a_hung_unit_leave_room_for_others(host):
    host.write_config("PipelineStallTimeout = 1")
    host.add_unit("Hung", "threading.Event().wait()")
    host.start()
    host.wait_for(lambda: host.ask("status")["hung"])
    clients = [ServiceClient(str(host.runtime), GENERATOR) for _ in range(MAX_WAITING + 1)]
    for client in clients[:-1]:
        client.ask(Request("trigger", ("Hung",), wait=True).describe())
    with pytest.raises(ConfigError, match="use --no-wait"):
        clients[-1].ask(Request("trigger", ("Hung",), wait=True).describe())
    assert host.ask("status")["hung"] == ["Hung"]
    for client in clients:
        client.__exit__(None, None, None)


def test_what_a_unit_prints_is_no_part_of_the_document_of_a_single_run(host):
    host.add_unit("Bad", "print('of its own'); subprocess.run(['echo', 'of a child'])")
    outcome = host.run("generator", "run", "--once", "--json")
    assert json.loads(outcome.stdout)["failed_units"] == []
    assert "of its own" in outcome.stderr
    assert "of a child" in outcome.stderr


@pytest.mark.parametrize("what", ["state", "generators", "unit"])
def test_a_directory_that_vanishes_while_the_service_runs_is_made_again(host, what):
    host.add_tar("Tar", ONE)
    host.start(GENERATOR_RETRY="0.2")
    host.wait_for(host.stored)
    host.wait_for(lambda: host.ask("list")["units"][0]["next"])
    generators = host.state / "generators"
    shutil.rmtree({"state": host.state, "generators": generators, "unit": generators / "Tar"}[what])
    outcome = host.run("generator", "trigger", "--source", "/host/a")
    assert outcome.returncode == 0, outcome.stderr
    assert host.end() == 0


@pytest.mark.parametrize("what", ["units", "conf"])
def test_a_configuration_that_vanishes_takes_no_unit_out(host, what):
    host.add_tar("Tar", ONE)
    host.start()
    host.wait_for(host.stored)
    path = host.conf / "units" if what == "units" else host.conf
    path.rename(host.base / "away")
    host.send(signal.SIGHUP)
    host.hear("STATUS=1 unit; the last reload was refused")
    assert "is not there" in host.ask("status")["refused"]["error"]
    (host.base / "away").rename(path)
    host.send(signal.SIGHUP)
    host.hear("STATUS=1 unit")
    assert_goes_on(host)


MOUNTED = """
import os, subprocess, sys
os.makedirs(sys.argv[1], exist_ok=True)
subprocess.run(["mount", "-t", "tmpfs", "-o", sys.argv[2], "tmpfs", sys.argv[1]], check=True)
os.execvp(sys.argv[3], sys.argv[3:])
"""


def start_with_state_on(host, options, **how):
    """The service, with a file system of its own for the state; where that is to be seen from outside."""
    program = host.base / "mounted.py"
    program.write_text(MOUNTED)
    namespace = ("unshare", "-m") if os.geteuid() == 0 else ("unshare", "-rm")
    host.start(prefix=(*namespace, "python3", str(program), str(host.state), options), **how)
    return host.base.joinpath(f"/proc/{host.process.pid}/root{host.state}")


def test_a_full_disk_of_the_state_fails_backups_until_there_is_room_and_no_chain_forks(host):
    host.add_tar("Tar", {"/host/a": {"IncBackupTiming": [1, 10**8, None, 0]}})
    state = start_with_state_on(host, "size=256k", GENERATOR_RETRY="600")
    host.wait_for(lambda: host.ask("list")["units"][0]["next"])
    with open(state / "filler", "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * 4096)
    for _ in range(3):
        outcome = host.run("generator", "trigger", "--source", "/host/a")
        assert outcome.returncode == 3
        assert "No space left on device" in outcome.stderr
    assert host.ask("status")["failed"]
    (state / "filler").unlink()
    for _ in range(2):
        assert host.run("generator", "trigger", "--source", "/host/a").returncode == 0
    with DefaultFileStorage(str(host.data)) as storage:
        elements = list(storage.query_backup_data_elements(source_url=SourceUrl("/host/a")))
        predecessors = [element.get_metadata().predecessor for element in elements]
    assert len(elements) == 3
    assert len(set(predecessors)) == 3
    assert host.end() == 0


def test_a_state_that_cannot_be_written_keeps_the_service_from_starting_and_it_says_so(host):
    host.add_tar("Tar", ONE)
    start_with_state_on(host, "ro", wait=False)
    assert host.process.wait(60) == 1
    assert f"cannot lock the state in {host.state}: Read-only file system" in host.log()


@pytest.mark.parametrize(
    "error", ["KeyboardInterrupt", "GeneratorExit", "__import__('asyncio').CancelledError"]
)
def test_a_unit_that_raises_what_is_no_exception_leaves_the_others_of_a_single_run_alone(host, error):
    host.add_unit("Bad", f"raise {error}")
    host.add_tar("Tar", ONE)
    done = host.run("generator", "run", "--once")
    assert done.returncode == 3, done.stderr
    assert "unit Bad: " in done.stderr
    assert "Traceback" not in done.stderr
    assert host.stored() == ["/host/a"]


@pytest.mark.parametrize(
    "answer", ["raise", "raise RuntimeError('own')", "raise GeneratorExit", "sys.exit(0)"]
)
def test_a_signal_ends_a_single_run_whatever_a_unit_makes_of_it(host, answer):
    body = f"""
        try:
            os.kill(os.getpid(), signal.SIGINT); time.sleep(60)
        except BaseException:
            {answer}"""
    host.add_unit("Bad", body)
    host.add_tar("Tar", ONE)
    done = host.run("generator", "run", "--once")
    assert done.returncode == 130, done.stderr
    assert "interrupted" in done.stderr
    assert host.stored() == []
