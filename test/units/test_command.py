"""Whole runs of a CommandBackupUnit: what is stored, what is remembered, and what no failure ever stores."""

import json
import os
import pwd
import signal
import subprocess
import time

import pytest
from command_bench import URL, CommandBench
from unit_bench import read_elements

from guerillabackup.element import SourceUrl
from guerillabackup.errors import CancelledError, ConfigError, PipelineError, StateError
from guerillabackup.events import ElementStored, PipelineProgress, SourceFailed
from guerillabackup.generator.interface import SourceRequest
from guerillabackup.generator.timing import ClockAnchor
from guerillabackup.pipeline.compression import CompressionPipelineElement
from guerillabackup.units import command_watch


@pytest.fixture
def bench(tmp_path):
    bench = CommandBench(tmp_path)
    (bench.tree / "one").write_text("content")
    return bench


def fails(bench, script, match, **settings):
    outcome = bench.run(script, **settings)
    assert outcome.element_id is None
    assert isinstance(outcome.error, PipelineError | ConfigError)
    assert match in str(outcome.error), str(outcome.error)
    assert read_elements(bench.storage) == []
    assert os.listdir(bench.spool) == [] or not list(bench.spool.rglob("*.data"))
    assert not (bench.state / "state.pending").exists()
    return outcome


# What is stored.


def test_the_output_of_a_command_is_an_element(bench):
    outcome = bench.run("cat one; printf '\\0\\377'", Policy="default")
    (element,) = bench.chain()
    assert element["data"] == b"content\0\xff"
    assert outcome.element_id == element["id"]
    assert element["BackupType"] == "full"
    assert element["Timestamp"] == int(bench.now)
    assert element["ContentType"] == "command-output"
    assert element["ContentLayers"] == 0
    assert element["HandlingPolicy"] == ["default"]


def test_the_elements_of_a_source_are_one_chain_of_full_ones(bench):
    for _ in range(3):
        bench.run()
    assert [element["BackupType"] for element in bench.chain()] == ["full"] * 3


def test_what_packs_the_output_is_counted(bench):
    bench.configuration["GeneralDefaultCompressionElement"] = CompressionPipelineElement("gzip")
    bench.run()
    (element,) = bench.chain()
    assert element["ContentLayers"] == 1
    assert subprocess.run(["gzip", "-dc"], input=element["data"], capture_output=True).stdout == b"content"


def test_its_own_size_is_told_and_expected_the_next_time(bench):
    bench.run("head -c 3000000 /dev/zero; yes | head -c 100000 >&2", IgnoreMessages=True)
    bench.run()
    first, second = (event for event in bench.events if isinstance(event, ElementStored))
    assert (first.content_size, second.content_size) == (3_000_000, 7)
    progress = [event for event in bench.events if isinstance(event, PipelineProgress)]
    assert progress[-1].expected == 3_000_000
    assert progress[-1].stages[0].bytes_read == 7


def test_no_shell_is_between_the_command_and_its_arguments(bench):
    bench.run_all({URL: bench.settings(Command=["printf", "%s", "$(id); *"])})
    assert bench.chain()[0]["data"] == b"$(id); *"


def test_an_exit_status_that_is_allowed_decides(bench):
    assert bench.run("cat one; exit 3", AllowedExitStatuses=[0, 3]).error is None
    assert bench.chain()[0]["data"] == b"content"


def test_what_a_command_says_although_it_ended_well_is_a_warning(bench):
    bench.run("cat one; echo careful >&2; echo >&2; seq 30 >&2")
    assert bench.warnings()[:2] == ["careful", "1"]
    assert bench.warnings()[-1] == "and 11 more lines"


def test_what_is_expected_to_be_said_can_be_ignored(bench):
    bench.run("cat one; echo careful >&2", IgnoreMessages=True)
    assert bench.warnings() == []


def test_a_dump_may_be_empty_where_that_is_said(bench):
    assert bench.run("true", MinimumSize=0).error is None
    assert bench.chain()[0]["data"] == b""


def test_commands_get_their_environment_and_directory(bench):
    bench.run("echo $A $LC_ALL; pwd; read line || echo no input", Environment={"A": "1"})
    assert bench.chain()[0]["data"].decode().splitlines() == ["1 C", str(bench.tree), "no input"]


def test_commands_run_as_the_user_they_are_given(bench):
    user = "nobody" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    bench.run("id -un", User=user, WorkingDirectory="/")
    assert bench.chain()[0]["data"].decode().strip() == user


def test_test_mode_runs_everything_and_stores_nothing(bench):
    bench.context["test_mode"] = True
    outcome = bench.run("cat one; touch ran")
    assert (outcome.element_id, outcome.error) == (None, None)
    assert (bench.tree / "ran").exists()
    assert read_elements(bench.storage) == []
    bench.context["test_mode"] = False
    assert bench.run().element_id is not None


# What fails, and is not stored.


def test_a_command_that_fails_after_its_output_stores_nothing(bench):
    outcome = fails(
        bench, "cat one; echo one >&2; echo last words >&2; exit 2", "exit status 2: one; last words"
    )
    assert outcome.retry_after > 0
    assert isinstance(bench.events[-1], SourceFailed)


def test_the_line_that_tells_of_an_error_is_told_although_more_was_said_after_it(bench):
    script = "echo noise >&2; echo 'dump: ERROR: no such table' >&2; seq 5 >&2; exit 1"
    fails(bench, script, "exit status 1: dump: ERROR: no such table; 4; 5")


def test_a_command_that_is_killed_stores_nothing(bench):
    fails(bench, "cat one; kill -9 $$", "was ended by SIGKILL")


def test_a_program_that_is_not_there_is_told_of(bench):
    fails(bench, None, "No such file or directory", Command=["/no/such/program"])
    fails(bench, None, "there is no directory", WorkingDirectory="/no/such/directory")


@pytest.mark.parametrize(("script", "size", "minimum"), [("true", 0, 1), ("cat one", 7, 8)])
def test_too_small_a_dump_is_a_failure_although_the_command_ended_well(bench, script, size, minimum):
    message = f"wrote {size} bytes only; MinimumSize is {minimum}: why"
    fails(bench, f"{script}; echo why >&2", message, MinimumSize=minimum)


def test_a_command_that_hangs_is_ended_with_all_its_processes(bench):
    bench.configuration["PipelineStallTimeout"] = 1
    fails(bench, "sleep 1000 & echo $! > pid; cat one; sleep 1000", "no stage did anything for")
    assert is_gone(int((bench.tree / "pid").read_text()))


def test_a_command_that_never_ends_is_ended_at_its_time_limit(bench):
    script = "sleep 1000 & echo $! > pid; echo busy >&2; while :; do cat one; done"
    fails(bench, script, "had not ended after 1 s, its TimeLimit: busy", TimeLimit=1)
    assert is_gone(int((bench.tree / "pid").read_text()))


def test_a_flood_of_messages_neither_blocks_nor_grows(bench):
    outcome = fails(bench, "cat one; yes word | head -c 50000000 >&2; echo end >&2; exit 1", "word; end")
    assert len(str(outcome.error)) < 1000


def test_what_is_left_running_and_holds_the_output_fails_the_backup(bench, monkeypatch):
    monkeypatch.setattr(command_watch, "LEFT_BEHIND_SECONDS", 0.5)
    fails(bench, "cat one; sleep 1000 & echo $! > pid", "what it left running holds its output: sleep (")
    assert is_gone(int((bench.tree / "pid").read_text()))


def test_what_is_left_running_and_holds_nothing_is_ended(bench):
    assert bench.run("cat one; sleep 1000 >&- 2>&- & echo $! > pid; cat one").error is None
    assert bench.chain()[0]["data"] in (b"contentcontent", b"content")
    assert is_gone(int((bench.tree / "pid").read_text()))


def test_a_filter_that_ends_a_little_later_is_waited_for(bench):
    assert bench.run("(sleep 0.7; cat one) &").error is None
    assert bench.chain()[0]["data"] == b"content"


def test_a_file_of_secrets_that_others_read_fails_its_source_alone(bench):
    secret = bench.base / "secret"
    secret.write_text("PGPASSWORD=hunter2")
    secret.chmod(0o644)
    outcomes = bench.run_all(
        {URL: bench.settings(EnvironmentFile=str(secret)), "/host/other": bench.settings()}
    )
    assert "chmod 0600" in str(outcomes[0].error)
    assert outcomes[1].error is None


def test_no_message_repeats_a_secret(bench, caplog):
    secret = bench.base / "secret"
    secret.touch(0o600)
    secret.write_text("PGPASSWORD=hunter2")
    fails(bench, "set -x; : $PGPASSWORD; exit 1", "+ : ***; + exit 1", EnvironmentFile=str(secret))
    bench.run("cat one; set -x; : $PGPASSWORD", EnvironmentFile=str(secret))
    fails_text = f"{bench.events}{caplog.text}"
    assert "hunter2" not in fails_text
    assert "+ : ***" in bench.warnings()


def test_a_run_that_is_given_up_is_no_failure(bench):
    (bench.tree / "started").unlink(missing_ok=True)
    bench.context["cancelled"] = (bench.tree / "started").exists
    outcome = bench.run("cat one; touch started; sleep 1000")
    assert isinstance(outcome.error, CancelledError)
    assert outcome.retry_after == 0
    assert read_elements(bench.storage) == []


def test_a_compressor_that_is_not_there_stores_nothing(bench):
    bench.configuration["GeneralDefaultEncryptionElement"] = "gpg"
    outcome = bench.run(EncryptionKey="backup")
    assert isinstance(outcome.error, ConfigError)
    assert read_elements(bench.storage) == []


# When, and what is remembered.


def test_a_source_is_due_as_its_timing_says(bench):
    sources = {URL: bench.settings(Timing=[100, 200, None, 0])}
    assert len(bench.run_all(sources)) == 1
    assert bench.run_all(sources, wait=99) == []
    unit = bench.open(sources)
    assert unit.get_next_invocation_time() == pytest.approx(1)
    unit.close()
    assert len(bench.run_all(sources, wait=1)) == 1


def test_a_source_that_failed_waits_while_the_others_go_on(bench):
    unit = bench.open({URL: bench.settings("exit 1"), "/host/other": bench.settings()})
    try:
        assert [outcome.error is None for outcome in unit.invoke_unit()] == [False, True]
        bench.now += 5
        assert [str(outcome.source_url) for outcome in unit.invoke_unit()] == ["/host/other"]
        bench.now += 3600
        assert len(unit.invoke_unit()) == 2
    finally:
        unit.close()


def test_a_source_with_wrong_settings_fails_alone(bench):
    outcomes = bench.run_all({URL: {"Command": "cat"}, "/host/other": bench.settings()})
    assert [str(outcome.source_url) for outcome in outcomes if outcome.error] == [URL]


def test_a_key_that_names_no_source_fails_alone(bench):
    outcomes = bench.run_all({f"{URL}/": bench.settings(), URL: bench.settings()})
    assert [str(outcome.source_url) for outcome in outcomes if outcome.error] == ["/unit"]
    assert [outcome.element_id.source_url.text for outcome in outcomes if outcome.element_id] == [URL]


def test_a_source_of_another_unit_is_refused(bench):
    bench.context["foreign_sources"] = {SourceUrl(URL): "other"}
    outcome = bench.run()
    assert "is one of unit other and one of unit unit" in str(outcome.error)


def test_what_is_asked_for_is_made_and_what_is_not_is_left(bench):
    requests = {SourceUrl(URL): SourceRequest.NOW}
    bench.context["get_request"] = lambda url: requests.get(url, SourceRequest.NOT_NOW)
    sources = {url: bench.settings(Timing=[1000, 1000, None, 0]) for url in (URL, "/host/other")}
    for _ in range(2):
        assert [str(outcome.source_url) for outcome in bench.run_all(sources)] == [URL]


def test_a_clock_that_was_set_back_makes_a_backup_due(bench):
    sources = {URL: bench.settings(Timing=[1000, 1000, None, 0])}
    for offset in (5000.0, 4000.0):
        bench.context["read_anchor"] = lambda offset=offset: ClockAnchor("boot", offset)
        assert len(bench.run_all(sources)) == 1
    bench.now -= 500
    assert len(bench.run_all(sources)) == 1
    assert len(bench.chain()) == 3


def test_a_source_that_is_renamed_begins_a_chain_and_its_old_one_stays(bench):
    bench.run()
    bench.run_all({"/host/new": bench.settings()})
    bench.run()
    assert len(bench.chain()) == 2
    (element,) = bench.chain("/host/new")
    assert "Predecessor" not in element


def test_its_sources_are_listed_wrong_ones_too(bench):
    configuration = {"CommandBackupUnitConfigList": {URL: bench.settings(), "/host/other": {}}}
    assert list(map(str, bench.open({}).list_sources(configuration))) == [URL, "/host/other"]


@pytest.mark.parametrize("content", ["", "[]", '{"/host/dump": 1}', '{"x": {}}', '{"/host/dump": {}}'])
def test_a_state_that_is_damaged_is_told_with_what_to_do(bench, content):
    bench.run()
    (bench.state / "state.current").write_text(content)
    with pytest.raises(StateError, match="remove it to let every source of this unit begin a new chain"):
        bench.run()


def test_the_state_is_a_source_to_its_last_element(bench):
    bench.run()
    state = json.loads((bench.state / "state.current").read_text())
    (element,) = bench.chain()
    assert state[URL]["LastUuid"] == element["DataUuid"]
    assert state[URL]["LastTime"] == element["Timestamp"]
    assert state[URL]["ContentSize"] == 7


def test_metadata_is_signed_where_elements_are(bench):
    bench.context["sign"] = lambda metainfo, url: metainfo.replace(SourceUrl=str(url), MetaDataSignature=b"s")
    bench.run()
    assert bench.chain()[0]["SourceUrl"] == URL


def is_gone(process_id):
    """Whether a process has ended; a little is waited for init to reap it."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            with open(f"/proc/{process_id}/stat") as file:
                if file.read().rpartition(") ")[2][0] == "Z":
                    return True
        except FileNotFoundError:
            return True
        time.sleep(0.01)
    os.kill(process_id, signal.SIGKILL)
    return False
