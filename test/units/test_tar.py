"""Whole runs of a TarBackupUnit: what is stored, what is remembered, and what a failure leaves of either."""

import json
import os
import shutil
import socket
import stat
import subprocess

import pytest
from tar_bench import ALWAYS, SELDOM, URL, TarBench, members, read_elements, read_kept_index
from trees import describe_tree, make_nasty_tree

from guerillabackup.element import SourceUrl
from guerillabackup.errors import CancelledError, ConfigError, StateError, StorageError
from guerillabackup.events import ElementStored, PipelineProgress, SourceFailed, SourceWarning, ignore_events
from guerillabackup.generator.interface import SourceRequest
from guerillabackup.generator.state import StateBusyError
from guerillabackup.generator.timing import ClockAnchor
from guerillabackup.pipeline.compression import CompressionPipelineElement
from guerillabackup.pipeline.os_process import OSProcessPipelineElement
from guerillabackup.restore.chain_check import Severity
from guerillabackup.restore.elements import ElementOperations
from guerillabackup.restore.verify import VerifyRules
from guerillabackup.storage.memory import MemoryStorage
from guerillabackup.units import command_watch

MEMBERS = f"{URL}.members"


def touch(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def warnings(bench):
    return [event.message for event in bench.events if isinstance(event, SourceWarning)]


def state_files(bench):
    return sorted(os.listdir(bench.state))


# What is stored.


def test_a_full_backup_and_what_changed_after_it_make_the_tree_again(bench):
    make_nasty_tree(bench.tree / "nasty")
    bench.run()
    (bench.tree / "nasty" / "plain").unlink()
    os.rename(bench.tree / "nasty" / "modes", bench.tree / "moved")
    touch(bench.tree / "new directory" / "new", "new")
    bench.run()
    shutil.rmtree(bench.tree / "moved")
    (bench.tree / "nasty" / "empty").write_text("not empty any more")
    bench.run()
    assert bench.types() == ["full", "inc", "inc"]
    assert describe_tree(bench.restore()) == describe_tree(bench.tree)


def test_acls_and_attributes_of_all_spaces_are_restored_as_root(bench):
    file, folder = touch(bench.tree / "file"), bench.tree / "folder"
    folder.mkdir()
    os.setxattr(file, "user.note", b"\0\xff")
    if os.geteuid() == 0:
        os.setxattr(file, "trusted.note", b"t")
        os.setxattr(file, "security.capability", b"\1\0\0\2\0\4\0\0\0\0\0\0\0\0\0\0\0\0\0\0")
    subprocess.run(["setfacl", "-m", "u:1234:rw", file], check=True)
    subprocess.run(["setfacl", "-d", "-m", "g:4321:rx", folder], check=True)
    bench.run()
    assert describe_tree(bench.restore()) == describe_tree(bench.tree)


def test_device_nodes_are_restored_as_root(bench):
    if os.geteuid() == 0:
        os.mknod(bench.tree / "null", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        os.mknod(bench.tree / "loop", 0o600 | stat.S_IFBLK, os.makedev(7, 99))
    bench.run()
    assert describe_tree(bench.restore()) == describe_tree(bench.tree)


def test_a_sparse_file_stays_sparse(bench):
    with open(bench.tree / "sparse", "wb") as file:
        file.truncate(1 << 30)
        file.seek(1 << 29)
        file.write(b"x")
    bench.run()
    assert len(bench.chain()[0]["data"]) < 1 << 20
    restored = bench.restore() / "sparse"
    assert restored.stat().st_size == 1 << 30
    assert restored.stat().st_blocks < 1000


def test_names_with_dashes_and_all_bytes_are_restored(bench):
    names = [
        b"-x",
        b"--checkpoint=1",
        b"a\nb",
        b" ",
        b"\xff\xfe",
        b"\\n",
        b'"',
        b"*",
        b"[x]",
        b"n" * 255,
        b"\x01\x7f",
    ]
    for name in names:
        with open(os.path.join(os.fsencode(bench.tree), name), "wb") as file:
            file.write(name)
    bench.run()
    assert describe_tree(bench.restore()) == describe_tree(bench.tree)


def test_a_path_longer_than_tar_takes_is_reported(bench):
    """GNU tar looks through directories by their whole paths when it makes an index, and fails."""
    directory = os.open(bench.tree, os.O_RDONLY)
    for _ in range(25):
        os.mkdir("d" * 200, dir_fd=directory)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=directory)
        os.close(directory)
        directory = below
    os.close(directory)
    outcome = bench.run()
    subprocess.run(["rm", "-r", bench.tree], check=True)
    assert 'tar ended with exit status 2: "./ddd' in str(outcome.error)
    assert len(str(outcome.error)) < 1000
    assert read_elements(bench.storage) == []


def test_a_socket_is_left_out_and_remarked_on(bench):
    touch(bench.tree / "file")
    with socket.socket(socket.AF_UNIX) as listener:
        here = os.getcwd()
        os.chdir(bench.tree)
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)
    assert bench.run().remarks == ("1 socket left out",)
    assert warnings(bench) == []
    assert members(bench.chain()[0]) == ["./", "./file"]


def test_a_flood_of_messages_is_cut_short(bench):
    bench.run(FullOverrideCommand=["/bin/sh", "-c", "seq 300 >&2; echo dump"])
    assert 2 < len(warnings(bench)) < 30


def make_long_path(top):
    """A file whose path is longer than the system takes as a whole."""
    descriptor = os.open(top, os.O_RDONLY)
    for name in ["deep", *(25 * ["d" * 200])]:
        os.mkdir(name, dir_fd=descriptor)
        below = os.open(name, os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    os.close(descriptor)


def test_what_has_too_long_a_path_is_told_shortly_with_the_exclude_that_leaves_it_out(bench):
    touch(bench.tree / "file")
    make_long_path(bench.tree)
    error = str(bench.run().error)
    assert error.endswith(
        "; 'Exclude': ['./deep'], or a directory below it, leaves out what has too long a path"
    )
    outcome = bench.run(IgnoreBackupRaces=True)
    assert outcome.element_id is not None or "'Exclude': ['./deep']" in str(outcome.error)
    assert max(map(len, warnings(bench)), default=0) < 300
    assert bench.run(Exclude=["./deep"]).error is None


def test_warnings_of_long_names_are_shortened(bench):
    line = 'tar: \\"./' + "x" * 4000 + '\\": file changed as we read it'
    bench.run(FullOverrideCommand=["/bin/sh", "-c", f'echo "{line}" >&2; echo dump'])
    (warning,) = warnings(bench)
    assert len(warning) < 300
    assert warning.endswith("file changed as we read it")


def test_several_includes_and_excludes_are_kept_to(bench):
    for name in ("a/1", "a/skip/2", "b/3", "c/4", "b/x.tmp"):
        touch(bench.tree / name)
    bench.run(Include=["a", "b"], Exclude=["skip", "*.tmp"])
    assert sorted(members(bench.chain()[0])) == ["a/", "a/1", "b/", "b/3"]


def test_an_included_name_that_looks_like_an_option_is_a_name(bench):
    touch(bench.tree / "--checkpoint=1")
    bench.run(Include=["--checkpoint=1"])
    assert members(bench.chain()[0]) == ["--checkpoint=1"]


def test_the_environment_does_not_change_what_tar_does(bench, monkeypatch, tmp_path):
    touch(bench.tree / "file")
    monkeypatch.setenv("TAPE", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("TAR_OPTIONS", "--exclude=file")
    bench.run()
    assert members(bench.chain()[0]) == ["./", "./file"]
    assert not (tmp_path / "elsewhere").exists()


def test_the_spool_of_a_source_is_never_in_its_backup(tmp_path):
    bench = TarBench(tmp_path, tree=tmp_path)
    bench.spool = tmp_path / "s[p]*o\\ol"
    bench.spool.mkdir()
    bench.configuration["DefaultFileSystemSinkBaseDir"] = str(bench.spool)
    touch(bench.spool / "element")
    touch(tmp_path / "deeper" / "s[p]*o\\ol" / "file")
    touch(tmp_path / "sp" / "file")
    for settings in (
        {"Include": [".", "deeper"]},
        {"Exclude": ["nothing"]},
        {"Root": "/", "Include": [str(tmp_path)]},
    ):
        outcome = bench.run(FullBackupTiming=ALWAYS, **settings)
        assert outcome.error is None
        names = members(bench.chain()[-1])
        assert not any("element" in name for name in names)
        assert any(name.endswith("sp/file") for name in names)
        assert any(name.startswith("deeper/s[p]") or "/deeper/s[p]" in name for name in names)


def test_leaving_out_the_spool_leaves_every_directory_in_the_index(tmp_path):
    bench = TarBench(tmp_path, tree=tmp_path)
    touch(tmp_path / "folder" / "file")
    bench.run()
    bench.run()
    assert "./folder/file" in members(bench.chain()[0])
    assert "./folder/file" not in members(bench.chain()[1])


def test_a_source_inside_its_own_spool_is_refused(bench):
    outcome = bench.run(Root=str(bench.spool))
    assert isinstance(outcome.error, ConfigError)
    assert "is in the storage of its own elements" in str(outcome.error)


# The list of members.


def test_the_list_of_members_names_exactly_the_members(bench):
    make_nasty_tree(bench.tree / "nasty")
    bench.run()
    touch(bench.tree / "new")
    bench.run()
    for element, companion in zip(bench.chain(), bench.chain(MEMBERS), strict=True):
        lines = companion["data"].decode().splitlines()
        names = [line[line.index('"') + 1 :].split('"')[0] for line in lines if '"' in line]
        assert sorted(names) == sorted(name.split('"')[0] for name in members(element))
        assert companion["MembersOf"] == element["DataUuid"]
        assert companion["Timestamp"] == element["Timestamp"]
        assert companion["BackupType"] == element["BackupType"]


def test_the_list_goes_through_the_same_pipeline(bench):
    touch(bench.tree / "file")
    bench.configuration["GeneralDefaultCompressionElement"] = CompressionPipelineElement("zstd")
    bench.run()
    (companion,) = read_elements(bench.storage, MEMBERS)
    shown = subprocess.run(["zstd", "-dc"], input=companion["data"], capture_output=True, check=True).stdout
    assert b'"./file"' in shown


# Commands.


def note(bench, word, status=0):
    return ["/bin/sh", "-c", f"echo {word} >>{bench.base}/notes; exit {status}"]


def notes(bench):
    path = bench.base / "notes"
    return path.read_text().split() if path.exists() else []


def test_commands_run_before_and_after(bench):
    touch(bench.tree / "gone").unlink()
    bench.run(
        PreBackupCommand=["/bin/sh", "-c", f"echo pre >>{bench.base}/notes; touch {bench.tree}/snapshot"],
        PostBackupCommand=["/bin/sh", "-c", f"echo post >>{bench.base}/notes; rm {bench.tree}/snapshot"],
    )
    assert notes(bench) == ["pre", "post"]
    assert "./snapshot" in members(bench.chain()[0])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"pre": 3}, ["pre", "post"]),
        ({"post": 3}, ["pre", "post"]),
        ({"Root": "/no/such/root"}, ["pre", "post"]),
        ({"FullOverrideCommand": ["/bin/sh", "-c", "echo x; exit 9"]}, ["pre", "post"]),
        ({"FullOverrideCommand": ["/no/such/program"]}, ["pre", "post"]),
    ],
)
def test_the_post_command_runs_after_every_failure_and_there_is_no_element(bench, settings, expected):
    settings = dict(settings)
    outcome = bench.run(
        PreBackupCommand=note(bench, "pre", settings.pop("pre", 0)),
        PostBackupCommand=note(bench, "post", settings.pop("post", 0)),
        **settings,
    )
    assert outcome.error is not None
    assert 0 < outcome.retry_after <= 60
    assert notes(bench) == expected
    assert read_elements(bench.storage) == []
    assert [name for name in state_files(bench) if "state" in name or "index" in name] == []


def test_the_post_command_runs_after_a_failed_pipeline(bench):
    bench.configuration["GeneralDefaultCompressionElement"] = OSProcessPipelineElement(
        "/bin/sh", ["sh", "-c", "cat >/dev/null; echo no >&2; exit 4"]
    )
    outcome = bench.run(PostBackupCommand=note(bench, "post"))
    assert "exit status 4" in str(outcome.error)
    assert notes(bench) == ["post"]
    assert read_elements(bench.storage) == []


@pytest.mark.parametrize("is_encrypted", [False, True])
def test_an_archive_of_which_compression_makes_nothing_is_no_backup(bench, is_encrypted):
    bench.configuration["GeneralDefaultCompressionElement"] = OSProcessPipelineElement(
        "sh", ["sh", "-c", "cat > /dev/null"], name="swallow"
    )
    if is_encrypted:
        bench.configuration["GeneralDefaultEncryptionElement"] = OSProcessPipelineElement(
            "sh", ["sh", "-c", "cat; echo end"]
        )
    outcome = bench.run()
    assert "stage swallow ended well, but wrote nothing" in str(outcome.error)
    assert read_elements(bench.storage) == []


@pytest.mark.parametrize("name", ["PreBackupCommand", "PostBackupCommand"])
def test_a_command_that_hangs_is_ended_and_fails_the_backup(bench, name):
    bench.configuration["PipelineStallTimeout"] = 0.3
    outcome = bench.run(**{name: ["/bin/sleep", "600"]})
    assert "0.3 s" in str(outcome.error)
    assert name in str(outcome.error)
    assert read_elements(bench.storage) == []


def test_a_failed_source_does_not_keep_the_others_and_is_retried_later(bench):
    touch(bench.tree / "file")
    unit = bench.open({"/host/bad": bench.settings(Root="/no/root"), URL: bench.settings()})
    outcomes = unit.invoke_unit()
    assert [(str(o.source_url), o.error is None) for o in outcomes] == [("/host/bad", False), (URL, True)]
    assert unit.invoke_unit()[0].source_url == SourceUrl(URL)
    bench.now += 60
    assert [str(outcome.source_url) for outcome in unit.invoke_unit()] == ["/host/bad", URL]
    unit.close()


def test_what_goes_on_failing_is_tried_less_and_less_often_and_never_less_than_each_hour(bench):
    unit = bench.open({URL: bench.settings(Root="/no/root")})
    delays = []
    for _ in range(10):
        (outcome,) = unit.invoke_unit()
        delays.append(outcome.retry_after)
        bench.now += outcome.retry_after - 1
        assert unit.invoke_unit() == []
        bench.now += 1
    assert 0 < delays[0] <= 60 < delays[2] < delays[4] <= 3600
    assert max(delays) <= 3600
    unit.close()


@pytest.mark.parametrize("request_", [SourceRequest.NOW, SourceRequest.FULL])
def test_what_failed_and_is_asked_for_is_made_without_waiting(bench, request_):
    requests = {SourceUrl(URL): SourceRequest.WHEN_DUE}
    bench.context["get_request"] = requests.get
    unit = bench.open({URL: bench.settings(Root="/no/root")})
    assert len(unit.invoke_unit()) == 1
    assert unit.invoke_unit() == []
    requests[SourceUrl(URL)] = request_
    assert unit.get_next_invocation_time() == 0
    assert len(unit.invoke_unit()) == 1
    unit.close()


def test_a_run_that_is_cancelled_leaves_nothing_and_begins_no_further_source(bench):
    touch(bench.tree / "file")
    bench.context["cancelled"] = lambda: "pre" in notes(bench)
    sources = {
        "/host/first": bench.settings(
            PreBackupCommand=note(bench, "pre"), PostBackupCommand=note(bench, "post")
        ),
        URL: bench.settings(),
    }
    outcomes = bench.run_all(sources)
    assert [str(outcome.source_url) for outcome in outcomes] == ["/host/first"]
    assert isinstance(outcomes[0].error, CancelledError)
    assert notes(bench) == ["pre", "post"]
    assert [event for event in bench.events if isinstance(event, SourceFailed)] == []
    assert list(bench.storage.query_backup_data_elements()) == []
    bench.context.clear()
    assert [outcome.error for outcome in bench.run_all(sources)] == [None, None]


def test_a_clock_set_back_does_not_delay_the_retry(bench):
    unit = bench.open({URL: bench.settings(Root="/no/root")})
    unit.invoke_unit()
    bench.now -= 10**6
    assert unit.get_next_invocation_time() <= 3600
    unit.close()


def test_override_commands_stand_in_for_tar(bench):
    settings = {
        "FullOverrideCommand": ["/bin/echo", "full dump"],
        "IncOverrideCommand": ["/bin/echo", "inc dump"],
        "Root": "/no/root",
    }
    for _ in range(3):
        assert bench.run(**settings).error is None
    assert [element["data"] for element in bench.chain()] == [b"full dump\n", b"inc dump\n", b"inc dump\n"]
    assert read_elements(bench.storage, MEMBERS) == []


def test_a_full_override_alone_makes_no_incremental_backup_by_tar(bench):
    for _ in range(2):
        bench.run(FullOverrideCommand=["/bin/echo", "dump"])
    assert bench.types() == ["full", "full"]


@pytest.mark.parametrize("is_full", [True, False], ids=["full", "inc"])
def test_what_an_override_leaves_running_and_holds_the_output_fails_the_backup(bench, monkeypatch, is_full):
    monkeypatch.setattr(command_watch, "LEFT_BEHIND_SECONDS", 0.5)
    left = ["/bin/sh", "-c", "echo data; sleep 1000 & exit 0"]
    echo = ["/bin/echo", "x"]
    settings = {"FullOverrideCommand": left if is_full else echo, "IncOverrideCommand": left}
    if not is_full:
        assert bench.run(**settings).error is None
    assert "what it left running holds its output: sleep (" in str(bench.run(**settings).error)
    assert len(bench.chain()) == (0 if is_full else 1)


@pytest.mark.parametrize("is_full", [True, False], ids=["full", "inc"])
def test_a_command_that_writes_nothing_makes_no_backup(bench, is_full):
    bench.configuration["GeneralDefaultCompressionElement"] = CompressionPipelineElement("gzip")
    settings = {"FullOverrideCommand": ["/bin/echo", "x"], "IncOverrideCommand": ["/bin/true"]}
    if is_full:
        settings["FullOverrideCommand"] = ["/bin/true"]
    else:
        bench.run(**settings)
    assert "/bin/true ended well, but wrote nothing" in str(bench.run(**settings).error)
    assert bench.types() == ([] if is_full else ["full"])


@pytest.mark.parametrize("pattern", ["*", "."])
def test_an_archive_of_nothing_is_no_backup(bench, pattern):
    bench.configuration["GeneralDefaultCompressionElement"] = CompressionPipelineElement("gzip")
    touch(bench.tree / "file")
    assert "tar archived nothing: Exclude matches all" in str(bench.run(Exclude=[pattern]).error)
    assert list(bench.storage.query_backup_data_elements()) == []


def test_an_incremental_backup_of_a_file_that_did_not_change_holds_nothing(bench):
    touch(bench.tree / "file")
    for _ in range(2):
        assert bench.run(Include=["file"]).error is None
    assert [members(element) for element in bench.chain()] == [["file"], []]


def test_an_empty_directory_is_something(bench):
    assert bench.run().error is None
    assert members(bench.chain()[0]) == ["./"]


def test_in_test_mode_everything_runs_and_nothing_is_stored_or_remembered(bench):
    touch(bench.tree / "file")
    bench.context["test_mode"] = True
    outcome = bench.run(PreBackupCommand=note(bench, "pre"), PostBackupCommand=note(bench, "post"))
    assert (outcome.element_id, outcome.error) == (None, None)
    assert notes(bench) == []
    assert state_files(bench) == []
    assert list(bench.storage.query_backup_data_elements()) == []
    assert [event for event in bench.events if isinstance(event, PipelineProgress)]


def test_test_mode_tells_of_a_source_that_would_fail(bench):
    bench.context["test_mode"] = True
    assert bench.run(Root="/no/root").error is not None


# What is remembered.


def test_the_chain_runs_over_full_backups_too(bench):
    for _ in range(2):
        bench.run(FullBackupTiming=SELDOM)
    bench.run(FullBackupTiming=ALWAYS)
    bench.run()
    assert bench.types() == ["full", "inc", "full", "inc"]
    assert bench.types(MEMBERS) == ["full", "inc", "full", "inc"]


def test_state_current_has_the_form_of_the_original(bench):
    bench.run()
    bench.run()
    with open(bench.state / "state.current") as file:
        values = json.load(file)
    (full, inc) = bench.chain()
    assert values == {URL: [full["Timestamp"], inc["Timestamp"], inc["DataUuid"]]}


def test_a_source_taken_out_of_the_configuration_is_still_remembered(bench):
    bench.run()
    bench.run_all({"/host/other": bench.settings()})
    bench.run()
    assert bench.types() == ["full", "inc"]


@pytest.mark.parametrize(("keep", "count"), [(0, 0), (2, 2), (-1, 3)])
def test_old_indices_are_kept_as_configured(bench, keep, count):
    for number in range(4):
        touch(bench.tree / f"{number}")
        bench.run(KeepIndices=keep)
    kept = [bench.state / name for name in state_files(bench) if ".bz2." in name]
    assert [read_kept_index(path)[:8] for path in kept] == [b"GNU tar-"] * count


def test_without_a_timing_for_incrementals_there_is_no_index(bench):
    bench.run()
    bench.run(IncBackupTiming=None, FullBackupTiming=ALWAYS)
    assert [name for name in state_files(bench) if "index" in name] == []
    bench.run()
    assert bench.types() == ["full", "full", "full"]


def test_what_the_original_remembers_is_taken_over(bench):
    touch(bench.tree / "old")
    bench.state.mkdir(parents=True)
    argv = ["tar", "-C", bench.tree, "--listed-incremental", bench.state / "host-tree.index", "-c", "--", "."]
    subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)
    (bench.state / "host-tree.index.bz2.20200101000000").write_bytes(b"BZh91AY")
    (bench.state / "host-tree.index.next").write_bytes(b"left by a run that died")
    for name in ("state.previous", "state.old"):
        (bench.state / name).write_text("{")
    uuid = "c29tZSB1dWlk"
    before = int(bench.now)
    (bench.state / "state.current").write_text(
        json.dumps({URL: [before, before, uuid], "/gone": [1, 1, uuid]})
    )
    touch(bench.tree / "new")
    assert bench.run().error is None
    (element,) = read_elements(bench.storage)
    assert (element["BackupType"], element["Predecessor"]) == ("inc", uuid)
    assert "./new" in members(element)
    assert "./old" not in members(element)
    assert "/gone" in json.loads((bench.state / "state.current").read_text())


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        '{"/a": [1]}',
        '{"a": [1, 1, ""]}',
        '{"/a": ["x", 1, ""]}',
        '{"/a": [1, 1, "?"]}',
        '{"/a": [Infinity, 1, ""]}',
    ],
)
def test_damaged_state_is_told_in_one_line_with_the_remedy(bench, content):
    bench.run()
    (bench.state / "state.current").write_text(content)
    with pytest.raises(StateError, match=r"state\.current") as error:
        bench.open()
    assert "remove it" in str(error.value)
    assert "\n" not in str(error.value)
    with pytest.raises(StateError):
        bench.open()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"/host/tree": [1]}', '{"/host/tree": {"FullSize": "x"}}']
)
def test_damaged_extras_are_kept_aside_and_made_anew(bench, caplog, content):
    bench.run()
    for number in range(2):
        (bench.state / "extras.current").write_text(content)
        assert bench.run().error is None
        assert json.loads((bench.state / "extras.current").read_text())[URL]["MembersUuid"]
        aside = bench.state / ("extras.current.damaged" if number == 0 else "extras.current.damaged.2")
        assert aside.read_text() == content
        assert str(aside) in caplog.text
    assert bench.types() == ["full", "full", "full"]


@pytest.mark.parametrize("name", ["extras.current", "extras.old"])
def test_a_list_of_members_that_follows_none_begins_a_chain(bench, name):
    bench.run()
    os.rename(bench.state / "extras.current", bench.state / name)
    bench.run()
    bench.run()
    lists = read_elements(bench.storage, MEMBERS)
    is_lost = name != "extras.current"
    assert ["Predecessor" in each for each in lists] == [False, not is_lost, True]
    assert [each["BackupType"] for each in lists] == ["full", "full" if is_lost else "inc", "inc"]
    operations = ElementOperations(bench.storage, VerifyRules(), ignore_events)
    assert [each.text for each in operations.verify(()) if each.severity is Severity.VIOLATION] == []


def test_doing_as_the_message_says_helps(bench):
    bench.run()
    (bench.state / "state.current").unlink()
    bench.run()
    assert [element["BackupType"] for element in read_elements(bench.storage)] == ["full", "full"]


def test_a_damaged_index_means_that_the_next_backup_is_a_full_one(bench):
    touch(bench.tree / "file")
    bench.run()
    index = bench.state / "host-tree.index"
    content = index.read_bytes()
    index.write_bytes(content[:40] + b"x" * (len(content) - 40))
    outcome = bench.run()
    assert "the index is damaged, so the next backup is a full one" in str(outcome.error)
    assert bench.run().error is None
    assert bench.types() == ["full", "full"]


def test_an_index_that_was_cut_off_is_noticed_before_a_backup_goes_on_from_it(bench):
    touch(bench.tree / "file")
    bench.run()
    index = bench.state / "host-tree.index"
    index.write_bytes(index.read_bytes()[:40])
    assert bench.run().error is None
    assert bench.types() == ["full", "full"]


@pytest.mark.parametrize("content", [b"", b"GNU", b"\0" * 500])
def test_an_index_that_is_no_index_never_makes_an_empty_element(bench, content):
    touch(bench.tree / "file")
    bench.run(IgnoreBackupRaces=True)
    (bench.state / "host-tree.index").write_bytes(content)
    bench.run(IgnoreBackupRaces=True)
    bench.run(IgnoreBackupRaces=True)
    assert "./file" in members(bench.chain()[1])


def test_two_units_do_not_work_with_one_state(bench):
    unit = bench.open()
    with pytest.raises(StateBusyError, match="another generator"):
        bench.open()
    unit.close()
    bench.open().close()


# Time.


def test_a_clock_set_back_means_a_full_backup_and_no_file_is_lost(bench):
    touch(bench.tree / "file", "old")
    bench.run()
    touch(bench.tree / "file", "changed while the clock was behind")
    bench.run(wait=-5000)
    assert bench.types() == ["full", "full"]
    assert describe_tree(bench.restore()) == describe_tree(bench.tree)


def test_a_clock_set_back_that_caught_up_again_means_a_full_backup(bench):
    bench.context["read_anchor"] = lambda: ClockAnchor("boot", 1000.0)
    bench.run()
    bench.context["read_anchor"] = lambda: ClockAnchor("boot", 500.0)
    bench.run()
    bench.run()
    assert bench.types() == ["full", "full", "inc"]


def test_an_element_bears_the_time_at_which_the_reading_began(bench):
    bench.run(PostBackupCommand=["/bin/true"])
    assert bench.chain()[0]["Timestamp"] == int(bench.now)


# Sources that change, vanish, or cannot be read.


def test_a_file_that_changes_while_it_is_read_fails_the_backup_with_advice(bench):
    outcome = bench.run(**changing(bench))
    assert "file changed as we read it" in str(outcome.error)
    assert "'IgnoreBackupRaces': True accepts it" in str(outcome.error)
    assert read_elements(bench.storage) == []


def test_a_file_that_changes_is_accepted_when_races_are(bench):
    assert bench.run(**changing(bench), IgnoreBackupRaces=True).error is None
    assert any("file changed as we read it" in line for line in warnings(bench))
    assert bench.types() == ["full"]


def changing(bench):
    """A run during which a file grows: compression waits until somebody appended to it."""
    path = bench.tree / "log"
    with open(path, "wb") as file:
        file.truncate(40 << 20)
        file.seek(0)
        for position in range(0, 40 << 20, 4096):
            file.seek(position)
            file.write(b"x")
    script = f"head -c 10000; echo more >>'{path}'; cat"
    bench.configuration["GeneralDefaultCompressionElement"] = OSProcessPipelineElement(
        "/bin/sh", ["sh", "-c", script]
    )
    return {}


def vanishing(bench):
    """A run during which files vanish that tar has seen in their directory, but not read."""
    with open(bench.tree / "a", "wb") as file:
        file.write(os.urandom(8 << 20))
    for number in range(3):
        touch(bench.tree / f"z{number}")
        touch(bench.tree / "zz" / f"{number}")
    script = f"head -c 10000; rm -r '{bench.tree}'/z*; cat"
    bench.configuration["GeneralDefaultCompressionElement"] = OSProcessPipelineElement(
        "/bin/sh", ["sh", "-c", script]
    )


def test_files_that_vanish_fail_the_backup(bench):
    vanishing(bench)
    outcome = bench.run()
    assert "accepts it" in str(outcome.error)
    assert read_elements(bench.storage) == []


def test_files_that_vanish_are_accepted_when_races_are(bench):
    vanishing(bench)
    assert bench.run(IgnoreBackupRaces=True).error is None
    assert warnings(bench) != []


@pytest.mark.parametrize("races", [False, True])
@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"Root": "/no/such/root"}, "root /no/such/root is not a directory: is it mounted"),
        ({"Root": "/etc/passwd"}, "root /etc/passwd is not a directory"),
        ({"Include": [".", "none"]}, "none is to be included, but is not there"),
    ],
)
def test_a_source_that_is_not_there_fails_even_when_races_are_accepted(bench, settings, message, races):
    outcome = bench.run(IgnoreBackupRaces=races, **settings)
    assert message in str(outcome.error)
    assert read_elements(bench.storage) == []


def test_a_root_that_the_pre_command_mounts_is_looked_for_after_it(bench):
    root = bench.base / "mounted"
    assert bench.run(Root=str(root), PreBackupCommand=["/bin/mkdir", str(root)]).error is None


# Full disks.


def test_a_storage_without_space_fails_the_source_and_the_same_run_succeeds_later(bench):
    class Full(MemoryStorage):
        full = True

        def get_sink_handle(self, source_url):
            if self.full:
                raise StorageError("no space left")
            return super().get_sink_handle(source_url)

    bench.storage = Full()
    assert "no space left" in str(bench.run().error)
    bench.storage.full = False
    assert bench.run().error is None
    assert bench.types() == ["full"]


def test_state_that_cannot_be_written_loses_nothing(bench):
    touch(bench.tree / "one")
    bench.run()
    touch(bench.tree / "two")
    (bench.state / "state.current.tmp").mkdir()
    other = {"/host/other": bench.settings()}
    outcomes = bench.run_all({URL: bench.settings(), **other})
    assert outcomes[0].error is None
    assert "state.current" in str(outcomes[1].error)
    told = bench.warnings()[-1]
    assert told.startswith(f"element {outcomes[0].element_id} is stored, but could not be taken note of")
    assert "state.current" in told
    assert (bench.state / "state.pending").exists()
    (bench.state / "state.current.tmp").rmdir()
    assert [outcome.error for outcome in bench.run_all({URL: bench.settings(), **other})] == [None, None]
    assert bench.types() == ["full", "inc", "inc"]
    assert bench.types("/host/other") == ["full"]
    assert members(bench.chain()[1]) == ["./", "./two"]
    assert members(bench.chain()[2]) == ["./"]
    assert not (bench.state / "state.pending").exists()


def test_a_failed_run_leaves_nothing_that_would_stop_the_original(bench):
    bench.run()
    bench.run(PostBackupCommand=["/bin/false"])
    assert [name for name in state_files(bench) if name.endswith((".next", ".pending", ".tmp"))] == []


# What is reported.


def test_progress_knows_what_to_expect_from_the_run_before(bench):
    touch(bench.tree / "file", "x" * 100_000)
    bench.run(FullBackupTiming=ALWAYS)
    (stored,) = [event for event in bench.events if isinstance(event, ElementStored)]
    bench.events.clear()
    bench.run(FullBackupTiming=ALWAYS)
    expected = {event.expected for event in bench.events if isinstance(event, PipelineProgress)}
    assert expected == {stored.content_size}
    assert stored.content_size > 100_000


def test_a_failure_is_an_event_with_the_time_of_the_retry(bench):
    bench.run(Root="/no/root")
    (failed,) = [event for event in bench.events if isinstance(event, SourceFailed)]
    assert 0 < failed.retry_after <= 60


def test_a_policy_is_in_the_metadata_of_both_elements(bench):
    bench.run(Policy="default")
    assert bench.chain()[0]["HandlingPolicy"] == bench.chain(MEMBERS)[0]["HandlingPolicy"] == ["default"]


def test_a_unit_without_sources_waits(bench):
    unit = bench.open({})
    assert unit.get_next_invocation_time() > 0
    assert unit.invoke_unit() == []
    unit.close()


def test_a_full_backup_because_the_state_was_lost_is_warned_of(bench):
    bench.run()
    shutil.rmtree(bench.state)
    bench.events.clear()
    assert bench.run().error is None
    (warning,) = (text for text in warnings(bench) if "is empty: is it" not in text)
    assert warning.startswith(f"nothing is remembered of it in {bench.state}, although the storage has")


def test_a_full_backup_because_the_index_was_lost_is_warned_of(bench):
    touch(bench.tree / "file")
    bench.run()
    (bench.state / "host-tree.index").unlink()
    assert bench.run().error is None
    assert bench.types() == ["full", "full"]
    index = bench.state / "host-tree.index"
    lost = f"tar's index {index} is not there any more, or empty: the backup is a full one"
    assert warnings(bench) == [lost]
