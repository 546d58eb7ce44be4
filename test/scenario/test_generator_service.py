"""Goal: the generator runs as a service for good: signals, systemd, its clients, and units that misbehave."""

import json
import os
import shlex
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pytest
from service_host import PATIENCE, TREE, ServiceHost, read_switches

from guerillabackup.errors import StorageError
from guerillabackup.generator.control_messages import GENERATOR, Request
from guerillabackup.observe.control_client import ServiceClient

ONE = {"/host/a": {}}


@pytest.fixture
def host(short_directory):
    made = ServiceHost(short_directory)
    yield made
    made.close()


def slow_source(host, name="slow"):
    """A source whose backup says `begun` and waits until it may go on."""
    begun, go_on = host.base / f"{name}-begun", host.base / f"{name}-go"
    script = f"cat {host.tree}/file; touch {begun}; while [ ! -e {go_on} ]; do sleep 0.05; done"
    return {"FullOverrideCommand": ["/bin/sh", "-c", script]}, begun, go_on


def test_what_is_due_is_stored_and_the_service_says_that_it_is_ready_and_how_it_is(host):
    host.add_tar("Tar", ONE)
    host.start()
    host.wait_for(host.stored)
    host.hear("STATUS=1 unit")
    assert host.end() == 0
    assert "STOPPING=1" in host.drain()
    assert host.stored() == ["/host/a"]


def test_with_json_each_line_of_the_log_is_an_object(host):
    host.add_tar("Tar", ONE)
    code = "from guerillabackup.cli.main import main; main()"
    command = [sys.executable, "-c", code, "generator", "run", "--json", "--config-dir", str(host.conf)]
    environment = {**os.environ, "PYTHONPATH": str(TREE)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if json.loads(line)["message"].startswith("unit Tar: stored "):
                break
        process.terminate()
        rest = [json.loads(line)["level"] for line in process.stdout]
        assert process.wait(PATIENCE) == 0
    assert set(rest) <= {"info", "warning"}


def test_sigterm_in_the_middle_of_a_backup_leaves_nothing_and_the_next_start_makes_it(host):
    source, begun, go_on = slow_source(host)
    host.add_tar("Tar", {"/host/a": source, "/host/b": {}})
    host.start()
    host.wait_for(begun.exists)
    assert host.end() == 0
    assert host.files() == []
    assert "given up" in host.log()
    begun.unlink()
    go_on.touch()
    host.start()
    host.wait_for(lambda: len(host.stored()) == 2)
    assert host.end() == 0
    assert host.stored() == ["/host/a", "/host/b"]


def test_sighup_takes_a_new_unit_and_drops_one_and_leaves_the_old_ones_running(host):
    source, begun, go_on = slow_source(host)
    host.add_tar("Slow", {"/host/slow": source})
    host.add_tar("Gone", {"/host/gone": {}})
    host.start()
    host.wait_for(begun.exists)
    host.wait_for(lambda: "/host/gone" in host.stored())
    for suffix in ("", ".config"):
        (host.conf / "units" / f"Gone{suffix}").unlink()
    host.add_tar("New", {"/host/new": {}})
    host.send(signal.SIGHUP)
    heard = host.hear("RELOADING=1", "READY=1")
    assert heard.index("RELOADING=1") < heard.index("READY=1")
    host.wait_for(lambda: "/host/new" in host.stored())
    assert [unit["unit"] for unit in host.ask("list")["units"]] == ["New", "Slow"]
    go_on.touch()
    host.wait_for(lambda: "/host/slow" in host.stored())
    assert host.end() == 0


def test_sighup_takes_out_the_sources_that_are_not_named_any_more_of_a_run_too(host):
    source, begun, go_on = slow_source(host)
    host.add_tar("Tar", {"/host/gone": {}, "/host/slow": source})
    host.start()
    host.wait_for(begun.exists)
    host.add_tar("Tar", {"/host/slow": source})
    host.send(signal.SIGHUP)
    host.hear("READY=1")
    go_on.touch()
    host.wait_for(lambda: "/host/slow" in host.stored())

    def shown():
        (unit,) = host.ask("list")["units"]
        return {source["source"]: source["element"] for source in unit["sources"]}

    host.wait_for(lambda: shown().get("/host/slow"))
    assert list(shown()) == ["/host/slow"]
    assert host.end() == 0


def test_a_wrong_configuration_is_reported_and_the_old_one_stays(host):
    host.add_tar("Tar", ONE)
    host.start()
    host.wait_for(host.stored)
    host.write_config("GeneratorWorkers = 'many'")
    host.send(signal.SIGHUP)
    host.hear("READY=1")
    assert "GeneratorWorkers is 'many'" in host.log()
    assert host.ask("trigger", "Tar", wait=True)["messages"][-1]["outcome"]["error"] is None
    host.hear("STATUS=1 unit; the last reload was refused")
    shown = host.run("generator", "status")
    assert shown.returncode == 3
    assert "was refused, and the service runs with the configuration of 20" in shown.stdout
    assert "GeneratorWorkers is 'many'" in shown.stdout
    host.write_config()
    host.send(signal.SIGHUP)
    host.hear("STATUS=1 unit")
    assert host.run("generator", "status").returncode == 0
    assert host.end() == 0


def test_a_unit_whose_files_are_wrong_at_a_reload_runs_with_those_of_before(host):
    host.add_tar("Tar", ONE)
    host.start()
    host.wait_for(host.stored)
    overlay = host.conf / "units" / "Tar.config"
    right = overlay.read_text()
    overlay.write_text(right + "PipelineStallTimeot = [\n")
    host.add_tar("New", {"/host/new": {}})
    host.send(signal.SIGHUP)
    host.hear("READY=1")
    host.wait_for(lambda: "/host/new" in host.stored())
    assert host.ask("trigger", "Tar", wait=True)["messages"][-1]["outcome"]["error"] is None
    shown = host.run("generator", "status")
    assert (shown.returncode, host.ask("status")["failed"]) == (3, [])
    assert "unit Tar was refused, and runs with its files of before: " in shown.stdout
    assert f"{overlay}:" in shown.stdout
    listed = host.run("generator", "list").stdout.splitlines()
    assert next(line for line in listed if "runs with its files of before: " in line).startswith("Tar ")
    overlay.write_text(right)
    host.send(signal.SIGHUP)
    host.hear("STATUS=2 units")
    assert host.run("generator", "status").returncode == 0
    assert host.end() == 0


def test_a_key_that_names_no_source_is_a_failed_source_until_it_is_mended(host):
    host.add_tar("Tar", {"/host/a/": {}, **ONE})
    host.start()
    host.wait_for(host.stored)
    host.wait_for(lambda: host.ask("status")["failed"])
    (problem,) = host.ask("status")["failed"]
    assert problem["source"] == "/Tar"
    assert "source URL '/host/a/' has the component ''" in problem["error"]
    (unit,) = host.ask("list")["units"]
    assert [source["source"] for source in unit["sources"]] == ["/Tar", "/host/a"]
    host.add_tar("Tar", ONE)
    host.send(signal.SIGHUP)
    host.hear("READY=1")
    host.wait_for(lambda: host.ask("status")["failed"] == [])
    assert host.end() == 0


@pytest.mark.parametrize("wrong", ["class = 1", "GeneratorWorkers = 'many'", "raise SystemExit"])
def test_a_service_is_asked_also_when_the_configuration_is_wrong_just_now(host, wrong):
    host.add_tar("Tar", ONE)
    host.start()
    host.wait_for(host.stored)
    host.write_config(wrong)
    for words in (["status"], ["list"], ["trigger", "--source", "/host/a"]):
        outcome = host.run("generator", *words)
        assert outcome.returncode == 0, outcome.stderr
        assert "the configuration cannot be used now: " in outcome.stderr
        assert f"asked the service in {host.runtime}" in outcome.stderr
    assert host.end() == 0
    alone = host.run("generator", "status")
    assert (alone.returncode, "nobody listens" in alone.stderr) == (1, True)
    assert alone.stderr.startswith(f"guerillabackup: error: {host.conf}/config")


def test_a_configuration_that_cannot_be_read_says_nothing_of_a_service(host):
    host.conf.rename(host.base / "moved")
    outcome = host.run("generator", "status")
    assert outcome.returncode == 1
    assert outcome.stderr.startswith(f"guerillabackup: error: {host.conf}/config: is not there; ")
    assert (outcome.stderr.count("\n"), "listens" in outcome.stderr) == (1, False)


def test_a_reload_is_asked_for_and_told_what_was_taken(host):
    host.add_tar("Tar", ONE)
    host.start()
    host.add_tar("New", {"/host/new": {}})
    early = host.run("generator", "trigger", "--source", "/host/new")
    assert early.returncode == 1
    unread = "the configuration has source /host/new of unit New, which the service has not read yet"
    assert (
        f"{unread}; let it with: guerillabackup generator reload --config-dir {host.conf}\n" in early.stderr
    )
    assert "unit New, which the service" in host.run("generator", "trigger", "--unit", "New").stderr
    assert "not read yet" not in host.run("generator", "trigger", "--source", "/host/none").stderr
    taken = host.run("generator", "reload")
    assert (taken.returncode, taken.stderr) == (0, "")
    assert taken.stdout == "the service has read its configuration anew: 2 units\n"
    host.wait_for(lambda: "/host/new" in host.stored())
    overlay = host.conf / "units" / "New.config"
    overlay.write_text("1 +\n")
    host.add_unit("Wrong", "1 +")
    some = host.run("generator", "reload", "--json")
    document = json.loads(some.stdout)
    assert (some.returncode, document["is_taken"], document["refused"]["units"]) == (3, True, ["New"])
    assert list(document["broken"]) == ["Wrong"]
    host.write_config("GeneratorWorkers = 'many'")
    refused = host.run("generator", "reload")
    assert refused.returncode == 1
    assert "refused, and the service runs with the configuration of before: " in refused.stderr
    assert "GeneratorWorkers" in refused.stderr
    assert json.loads(host.run("generator", "reload", "--json").stdout)["is_taken"] is False
    assert host.end() == 0
    assert host.run("generator", "reload").returncode == 1


def test_enabling_and_disabling_beside_a_service_say_how_it_learns_of_it(host):
    host.start()
    enabled = host.run("unit", "enable", "TarBackupUnit", "--as", "Home")
    command = f"guerillabackup generator reload --config-dir {host.conf}\n"
    assert "a service runs, and knows nothing of it" in enabled.stdout
    assert enabled.stdout.endswith(command)
    assert "--once" not in enabled.stdout
    assert json.loads(host.run("unit", "enable", "TarBackupUnit", "--as", "Home", "--json").stdout)[
        "service_runs"
    ]
    assert host.run("unit", "disable", "Home").stdout.endswith(command)
    host.end()
    assert "a service" not in host.run("unit", "enable", "TarBackupUnit", "--as", "Home").stdout


def test_a_service_that_does_not_answer_is_named_with_what_to_do(host, monkeypatch):
    host.add_tar("Tar", ONE)
    host.start()
    host.wait_for(host.stored)
    host.send(signal.SIGSTOP)
    try:
        monkeypatch.setattr("guerillabackup.observe.control_client.ServiceClient.ask.__defaults__", (0.2,))
        with pytest.raises(StorageError) as caught:
            host.ask("status")
    finally:
        host.send(signal.SIGCONT)
    assert f"the service, process {host.process.pid}, does not answer within 0.2 s" in str(caught.value)
    assert f"kill -KILL {host.process.pid}" in str(caught.value)
    assert host.ask("status")["process_id"] == host.process.pid


def test_a_unit_whose_file_is_wrong_is_reported_and_run_when_it_is_mended(host):
    host.add_tar("Good", ONE)
    (host.conf / "units" / "Bad").write_text("class = 1\n")
    host.start()
    host.wait_for(host.stored)
    assert "unit Bad is not run" in host.log()
    (problem,) = host.ask("status")["failed"]
    assert "syntax error" in problem["error"]
    host.add_tar("Bad", {"/host/bad": {}})
    host.send(signal.SIGHUP)
    host.wait_for(lambda: "/host/bad" in host.stored())
    assert host.ask("status")["failed"] == []


def test_the_watchdog_hears_of_the_service_while_a_unit_is_hung(host):
    host.write_config("PipelineStallTimeout = 1")
    host.add_unit("Hung", "threading.Event().wait()")
    host.start(WATCHDOG_USEC="100000")
    host.wait_for(lambda: host.ask("status")["hung"] == ["Hung"])
    host.drain()
    for _ in range(5):
        host.hear("WATCHDOG=1")
    assert "unit Hung: its run is hung" in host.log()


def test_a_hung_unit_does_not_keep_the_service_from_ending_with_0(host, monkeypatch):
    host.write_config("PipelineStallTimeout = 1")
    host.add_unit("Hung", "threading.Event().wait()")
    host.start()
    host.wait_for(lambda: host.ask("status")["hung"])
    assert host.end() == 0
    assert "unit Hung: does not end" in host.log()


def test_an_idle_service_does_not_wake_up(host):
    host.add_tar("Tar", ONE)
    host.start()
    host.wait_for(host.stored)
    host.hear("STATUS=1 unit")
    host.wait_for(lambda: len(os.listdir(f"/proc/{host.process.pid}/task")) == 1)
    before = read_switches(host.process.pid)
    time.sleep(3)
    assert read_switches(host.process.pid) == before


def test_an_idle_service_with_a_watchdog_wakes_up_for_that_alone(host):
    host.add_tar("Tar", ONE)
    host.start(WATCHDOG_USEC="400000")
    host.wait_for(host.stored)
    host.hear("STATUS=1 unit")
    host.wait_for(lambda: len(os.listdir(f"/proc/{host.process.pid}/task")) == 1)
    thread = str(host.process.pid)
    host.drain()
    host.hear("WATCHDOG=1")
    before = int(read_switches(host.process.pid)[thread])
    for _ in range(10):
        host.hear("WATCHDOG=1")
    after = int(read_switches(host.process.pid)[thread])
    late = len(host.drain())
    # It may have said more by now than was heard, and waits once more after the last.
    assert after - before <= 11 + late


def test_fifty_units_at_once_are_stored_beside_one_that_hangs_one_that_forks_and_one_that_fails(host):
    host.write_config("PipelineStallTimeout = 1", "GeneratorWorkers = 3")
    host.add_unit("AHung", "threading.Event().wait()")
    host.add_unit("BSpinning", "exec('while True: pass')")
    host.add_unit("CForking", "return [] if os.fork() == 0 else sys.exit(7)")
    host.add_unit("DDaemon", "(os.fork() or (os.setsid(), time.sleep(5), os._exit(0)))")
    host.add_unit("ERaising", "raise RuntimeError('of its own')")
    names = [f"U{number:02}" for number in range(50)]
    for name in names:
        host.add_tar(name, {f"/host/{name}": {}})
    host.start()
    host.wait_for(lambda: len(host.stored()) == 50)
    assert host.stored() == [f"/host/{name}" for name in names]
    status = host.ask("status")
    assert set(status["hung"]) == {"AHung", "BSpinning"}
    assert {problem["unit"] for problem in status["failed"]} == {"CForking", "ERaising"}
    host.process.kill()
    host.process.wait()
    # What was forked holds neither the lock nor the socket.
    for name in ("AHung", "BSpinning", "CForking"):
        (host.conf / "units" / name).unlink()
    host.start()
    assert host.end() == 0


FILLED = """
import os, subprocess, sys
data = sys.argv[1]
os.makedirs(data, exist_ok=True)
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8M", "tmpfs", data], check=True)
os.execvp(sys.argv[2], sys.argv[2:])
"""


def test_a_unit_that_fills_the_disk_fails_alone_in_the_end(host):
    host.add_tar("AFilling", {"/host/filling": {"FullOverrideCommand": ["head", "-c", "64M", "/dev/zero"]}})
    names = [f"U{number:02}" for number in range(10)]
    for name in names:
        host.add_tar(name, {f"/host/{name}": {}})
    program = host.base / "filled.py"
    program.write_text(FILLED)
    namespace = ("unshare", "-m") if os.geteuid() == 0 else ("unshare", "-rm")
    host.start(prefix=(*namespace, "python3", str(program), str(host.data)), GENERATOR_RETRY="0.5")
    inside = host.base.joinpath(f"/proc/{host.process.pid}/root{host.data}")
    host.wait_for(lambda: len(host.stored(inside)) == 10)
    assert host.stored(inside) == [f"/host/{name}" for name in names]
    host.wait_for(lambda: "No space left" in host.log())
    assert host.end() == 0


def test_a_dead_services_socket_is_replaced_and_a_living_ones_is_not(host):
    host.add_tar("Tar", ONE)
    host.start()
    other = host.run("generator", "run")
    assert other.returncode == 1
    assert "another generator works with the state" in other.stderr
    host.process.kill()
    host.process.wait()
    assert (host.runtime / "generator.socket").is_socket()
    assert (host.runtime / "generator.socket").stat().st_mode & 0o777 == 0o600
    host.start()
    assert host.ask("status")["units"] == 1
    assert host.end() == 0
    assert list(host.runtime.iterdir()) == []


def test_a_single_run_beside_the_service_is_refused_and_says_what_to_type(host):
    host.add_tar("Tar", ONE)
    host.start()
    once = host.run("generator", "run", "--once")
    assert once.returncode == 1
    assert "guerillabackup generator trigger --unit Tar --config-dir" in once.stderr
    source = host.run("generator", "run", "--once", "--source", "/host/a", "--full")
    command = shlex.split(source.stderr.rpartition("with: guerillabackup ")[2])
    assert command[:5] == ["generator", "trigger", "--source", "/host/a", "--full"]
    pasted = host.run(*command[: command.index("--config-dir")])
    assert pasted.returncode == 0, pasted.stderr
    assert host.end() == 0
    assert host.run("generator", "run", "--once").returncode == 0


def test_a_source_is_triggered_and_its_progress_followed_to_the_end(host):
    source, begun, go_on = slow_source(host)
    host.add_tar("Tar", {"/host/a": {}, "/host/b": {}})
    host.add_tar("Slow", {"/host/slow": source})
    go_on.touch()
    host.start()
    host.wait_for(lambda: len(host.stored()) == 3)
    done = host.run("generator", "trigger", "--source", "/host/a", "--full")
    assert (done.returncode, done.stdout.count("stored /host/")) == (0, 1)
    go_on.unlink()
    begun.unlink()
    with ServiceClient(str(host.runtime), GENERATOR) as client:
        client.ask(Request("trigger", ("Slow",), wait=True).describe())
        messages = client.follow()
        seen = [next(messages) for _ in range(4)]
        assert "started" in seen[0]
        assert {"SourceStarted", "PipelineProgress"} <= {item["event"]["kind"] for item in seen[1:]}
        (run,) = host.ask("status")["running"]
        assert (run["unit"], run["source"], run["state"]) == ("Slow", "/host/slow", "running")
        again = host.run("generator", "trigger", "--unit", "Slow", "--no-wait")
        assert again.returncode == 0
        assert "unit Slow runs now: it is run again" in again.stdout
        go_on.touch()
        assert list(messages)[-1]["outcome"]["sources"][0]["error"] is None
    host.wait_for(lambda: host.stored().count("/host/slow") == 3)


def test_a_source_that_is_empty_is_accepted_of_the_service_too(host):
    host.add_tar("Tar", ONE)
    host.start()
    host.wait_for(host.stored)
    (host.tree / "file").unlink()
    failed = host.run("generator", "trigger", "--source", "/host/a", "--full")
    assert (failed.returncode, "is it mounted?" in failed.stderr) == (3, True)
    assert host.run("generator", "trigger", "--unit", "Tar", "--accept-empty").returncode == 2
    accepted = host.run("generator", "trigger", "--source", "/host/a", "--accept-empty")
    assert (accepted.returncode, accepted.stdout.count("-a-full")) == (0, 1)


def test_the_commands_end_with_the_statuses_they_promise(host):
    nobody = host.run("generator", "status")
    assert nobody.returncode == 1
    assert "generator run" in nobody.stderr
    host.add_tar("Tar", {"/host/a": {}, "/host/bad": {"Root": "/no/root"}})
    host.start()
    host.wait_for(lambda: host.ask("status")["failed"])
    assert host.run("generator", "trigger", "--source", "/host/a").returncode == 0
    failed = host.run("generator", "trigger", "--unit", "Tar", "--json")
    assert failed.returncode == 3
    assert [bool(source["error"]) for source in json.loads(failed.stdout)["sources"]] == [False, True]
    assert host.run("generator", "trigger", "--source", "/host/none").returncode == 1
    assert host.run("generator", "trigger").returncode == 2
    assert host.run("generator", "run", "--full").returncode == 2
    assert host.run("generator", "list").returncode == 0
    status = host.run("generator", "status", "--json")
    assert status.returncode == 3
    assert json.loads(status.stdout)["failed"][0]["source"] == "/host/bad"


def test_a_client_that_waits_is_told_when_the_service_ends(host):
    source, begun, _ = slow_source(host)
    host.add_tar("Tar", {"/host/a": source})
    host.start()
    host.wait_for(begun.exists)
    messages = []
    with ServiceClient(str(host.runtime), GENERATOR) as client:
        client.ask(Request("trigger", ("Tar",), wait=True).describe())
        follower = threading.Thread(target=lambda: messages.extend(client.follow()))
        follower.start()
        assert host.end() == 0
        follower.join()
    outcome = messages[-1]["outcome"]
    assert (outcome["unit"], outcome["error"]) == ("Tar", "the generator is ending")


def test_a_command_that_waits_ends_with_1_when_the_service_ends_before_the_backup_does(host):
    source, begun, go_on = slow_source(host)
    host.add_tar("Tar", {"/host/a": source})
    go_on.touch()
    host.start()
    host.wait_for(host.stored)
    go_on.unlink()
    begun.unlink()
    outcomes, threads = [], []

    def trigger(*words):
        command = partial(host.run, "generator", "trigger", *words)
        threads.append(threading.Thread(target=lambda: outcomes.append(command())))
        threads[-1].start()

    trigger("--source", "/host/a")  # what it waits for is given up
    host.wait_for(begun.exists)
    trigger("--unit", "Tar", "--full")  # and these are not begun any more
    trigger("--unit", "Tar", "--json")
    host.wait_for(lambda: host.ask("list")["units"][0]["asked"] == 2)
    assert host.end() == 0
    for thread in threads:
        thread.join()
    assert [outcome.returncode for outcome in outcomes] == [1, 1, 1]
    assert all("the service ended before the backup did" in outcome.stderr for outcome in outcomes)


def test_hostile_clients_keep_nobody_from_anything(host):
    host.add_tar("Tar", ONE)
    host.start(WATCHDOG_USEC="200000")
    host.wait_for(host.stored)
    path = str(host.runtime / "generator.socket")
    clients = []
    for number in range(100):
        client = socket.socket(socket.AF_UNIX)
        clients.append(client)
        client.connect(path)
        if number % 3 == 0:
            client.send(b"x" * 1000)
        elif number % 3 == 1:
            client.send(b'{"command": "list"}\n' * 50)  # and reads nothing
    host.hear("WATCHDOG=1")
    for client in clients:
        client.close()
    assert host.ask("trigger", "Tar", wait=True)["messages"][-1]["outcome"]["error"] is None
    assert host.end() == 0


def test_in_the_test_mode_everything_is_run_and_nothing_is_stored(host):
    host.write_config("GeneralDebugTestModeFlag = True")
    host.add_tar("Tar", ONE)
    host.start()
    done = host.run("generator", "trigger", "--unit", "Tar")
    assert (done.returncode, host.stored()) == (0, [])
    assert "test mode" in done.stdout
    assert host.ask("status")["test_mode"] == ["Tar"]
    for words in (["status"], ["list"]):
        shown = host.run("generator", *words)
        assert "warning: unit Tar stores nothing: GeneralDebugTestModeFlag is set" in shown.stderr
    assert host.end() == 0


def test_a_condition_that_does_not_hold_keeps_a_unit_waiting_and_a_trigger_overrides_it(host):
    flag = host.base / "flag"
    condition = f"""
import os
import shlex
class Flag:
    def evaluate(self): return os.path.exists({str(flag)!r})
DefaultUnitRunCondition = Flag()
"""
    host.write_config(condition)
    host.add_tar("Tar", {"/host/a": {"FullBackupTiming": [1, 10**8, None, 0]}})
    host.start(GENERATOR_RETRY="0.2")
    host.wait_for(lambda: host.ask("list")["units"][0]["skipped"])
    assert host.stored() == []
    host.ask("trigger", "Tar", wait=True)
    assert host.stored() == ["/host/a"]
    flag.touch()
    host.wait_for(lambda: len(host.stored()) == 2)


def test_the_list_shows_when_each_source_is_due_and_not_only_when_its_unit_is(host):
    soon, late = [3600, 10**8, None, 0], [20 * 86400, 10**8, None, 0]
    host.add_tar("Tar", {"/host/soon": {"FullBackupTiming": soon}, "/host/late": {"FullBackupTiming": late}})
    host.start()
    host.wait_for(lambda: len(host.stored()) == 2)
    host.wait_for(lambda: host.ask("list")["units"][0]["next"])
    (unit,) = host.ask("list")["units"]
    times = {source["source"]: source["next"] - time.time() for source in unit["sources"]}
    assert times["/host/soon"] <= 3600 < 19 * 86400 < times["/host/late"] <= 20 * 86400
    assert host.run("generator", "list").returncode == 0
    assert host.end() == 0


def test_a_log_that_a_program_holds_open_is_shown_with_who_it_is_until_it_is_let_go(host):
    logs = host.base / "logs"
    logs.mkdir()
    host.add_logs("Log", (str(logs), r"^(app\.log)\.(?P<oldserial>[0-9]+)$", "/host/app", None, None))
    (logs / "app.log.2").write_text("old")
    with open(logs / "app.log.1", "w"):
        host.start()
        (waiting,) = host.wait_for(lambda: host.ask("status")["waiting"])
        assert (waiting["source"], str(logs / "app.log.1") in waiting["reason"]) == ("/host/app", True)
        shown = host.run("generator", "status")
        assert (shown.returncode, f"open for writing by process {os.getpid()} (" in shown.stdout) == (0, True)
        assert f"waits: {logs}/app.log.1" in host.run("generator", "list").stdout
    host.ask("trigger", "Log", wait=True)
    assert host.ask("status")["waiting"] == []
    assert host.end() == 0


def test_a_log_that_failed_is_told_of_until_it_is_removed(host):
    logs = host.base / "logs"
    logs.mkdir()
    host.add_logs("Log", (str(logs), r"^(app\.log)\.(?P<oldserial>\d+)\.(?P<compress>gz)$", None, None, None))
    (logs / "app.log.1.gz").write_text("no gzip")
    host.start()
    host.wait_for(lambda: host.ask("status")["failed"])
    (logs / "app.log.1.gz").unlink()
    host.ask("trigger", "Log", wait=True)
    assert host.ask("status")["failed"] == []
    assert host.run("generator", "status").returncode == 0
    assert host.end() == 0


def test_keys_are_looked_up_for_each_run_and_no_agent_stays(host):
    keys = host.conf / "keys"
    keys.mkdir(mode=0o700)
    host.write_config("GeneralSigningKey = 'signing'")
    host.add_tar("Tar", ONE)
    host.start(GENERATOR_RETRY="600")
    host.wait_for(lambda: host.ask("status")["failed"])
    created = host.run("key", "create", "signing", "--purpose", "sign")
    assert created.returncode == 0, created.stderr
    ended = host.ask("trigger", "Tar", wait=True)["messages"][-1]
    assert ended["outcome"]["error"] is None
    assert host.stored() == ["/host/a"]
    children = Path(f"/proc/{host.process.pid}/task/{host.process.pid}/children")
    assert children.read_text() == ""


@pytest.mark.parametrize("jump", [2 * 86400.0, -2 * 86400.0])
def test_a_clock_that_is_set_makes_no_unit_wait_for_the_time_of_before(host, jump):
    # Two days on the next backup is due; two days back, and the last one lies ahead: a full one is due.
    clock = host.base / "clock"
    clock.write_bytes(struct.pack("d", 0.0))
    host.add_tar("Tar", {"/host/a": {"FullBackupTiming": [86400, 86400, None, 0]}})
    host.start(GENERATOR_CLOCK=str(clock))
    host.wait_for(host.stored)
    with clock.open("r+b") as file:
        file.write(struct.pack("d", jump))
    # The kernel wakes the service when its clock is set; this clock is another one, so a client does it.
    host.wait_for(lambda: host.ask("list") and len(host.stored()) == 2)
    assert host.end() == 0


def test_a_storage_that_is_not_mounted_gets_nothing_until_it_is(host):
    host.add_tar("Tar", {"/host/tar": {}})
    host.data.rmdir()
    host.start()
    host.wait_for(lambda: "is it mounted" in host.log())
    assert not host.data.exists()
    host.data.mkdir(mode=0o700)
    host.run("generator", "trigger", "--source", "/host/tar")
    host.wait_for(lambda: "/host/tar" in host.stored())


def test_threads_that_cannot_be_had_are_told_of_once_and_when_they_can(host):
    host.add_tar("Tar", ONE)
    host.write_config("import threading", "threading.stack_size(1 << 46)")
    host.start()
    for _ in range(20):
        outcome = host.ask("trigger", "Tar", wait=True)["messages"][-1]["outcome"]
        assert "can't start new thread" in outcome["error"]
    assert host.log().count("unit Tar: cannot be run: can't start new thread") == 1
    host.write_config("import threading", "threading.stack_size(0)")
    host.send(signal.SIGHUP)
    host.hear("READY=1")
    assert host.ask("trigger", "Tar", wait=True)["messages"][-1]["outcome"]["error"] is None
    assert "units can be run again (lines held back: 20)" in host.log()
    assert host.end() == 0
