"""The template of a unit of one's own works as it is: run for real, killed, and gone on with."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from stored_content import content_of
from unit_bench import follow_chain, read_elements

from guerillabackup.config import load_configuration
from guerillabackup.element import SourceUrl
from guerillabackup.events import SourceFailed
from guerillabackup.generator.service import run_once
from guerillabackup.storage.default_file import DefaultFileStorage

URL = "/host/inventory"
NOW = 1_800_000_000.0
KILLER = """
import os, sys
from guerillabackup.config import load_configuration
from guerillabackup.generator.service import run_once
CALLS = {"open", "mkdir", "link", "unlink", "rename", "write", "fsync"}
def count(frame, event, function):
    global left
    if event == "c_call" and function.__module__ == "posix" and function.__name__ in CALLS:
        left -= 1
        if left == 0:
            os._exit(9)
configuration = load_configuration(sys.argv[1])
for line in sys.stdin:
    left = int(line)
    child = os.fork()
    if child == 0:
        sys.setprofile(count)
        outcome = run_once(configuration, clock=lambda: float(sys.argv[2]))
        sys.setprofile(None)
        os._exit(1 if outcome.errors else 0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Runs the generator for each number that it reads, and kills it before that many calls."""


class Host:
    """A configuration with the template as its one unit, and a directory that it looks at."""

    def __init__(self, base, template):
        self.base, self.conf, self.tree = base, base / "conf", base / "tree"
        (self.conf / "units").mkdir(parents=True, mode=0o700)
        self.tree.mkdir()
        (base / "spool").mkdir(mode=0o700)
        (self.tree / "one").write_text("one")
        self.write_config()
        shutil.copy(template, self.conf / "units" / "Mine")
        (self.conf / "units" / "Mine.config").write_text(
            f"CustomUnitSource = {URL!r}\nCustomUnitDirectory = {str(self.tree)!r}\n"
        )
        self.events = []

    def write_config(self, *lines):
        places = (
            ("GeneralPersistencyBaseDir", "state"),
            ("GeneralRuntimeDataDir", "run"),
            ("DefaultFileSystemSinkBaseDir", "spool"),
        )
        text = [f"{key} = {str(self.base / name)!r}" for key, name in places]
        (self.conf / "config").write_text("\n".join([*text, *lines]) + "\n")

    def run(self, now=NOW, **arguments):
        configuration = load_configuration(str(self.conf))
        return run_once(configuration, clock=lambda: now, listen=self.events.append, **arguments)

    def chain(self):
        storage = DefaultFileStorage(str(self.base / "spool"))
        try:
            return follow_chain(read_elements(storage, URL))
        finally:
            storage.close()


@pytest.fixture
def template(request):
    return request.config.rootpath / "etc" / "guerillabackup" / "units" / "CustomUnit.py.template"


@pytest.fixture
def host(tmp_path, template):
    return Host(tmp_path, template)


def contents(host):
    storage = DefaultFileStorage(str(host.base / "spool"))
    try:
        return [data for data, _ in content_of(storage).values()]
    finally:
        storage.close()


def test_an_element_is_stored_each_time_something_changed_and_they_make_one_chain(host):
    assert host.run().errors == ()
    assert host.run(NOW + 3599).errors == ()
    assert host.run(NOW + 3600).errors == ()
    assert len(host.chain()) == 1
    (host.tree / "two").write_text("two")
    assert host.run(NOW + 7199).errors == ()
    assert len(host.chain()) == 1
    assert host.run(NOW + 7200).errors == ()
    first, second = host.chain()
    assert second["Predecessor"] == first["DataUuid"]
    texts = sorted(contents(host), key=len)
    assert [text.count(b"\n") for text in texts] == [1, 2]
    checked = subprocess.run(["sha512sum", "--check", "--strict"], input=texts[1], capture_output=True)
    assert checked.returncode == 0


def test_what_is_asked_for_is_made_though_nothing_changed(host):
    host.run()
    outcome = host.run(source_urls=(SourceUrl(URL),))
    assert [source.element_id is not None for source in outcome.units[0].sources] == [True]
    assert len(host.chain()) == 2


def test_a_directory_that_is_not_there_is_an_error_and_no_empty_element(host):
    shutil.rmtree(host.tree)
    (error,) = host.run().errors
    assert "it cannot be collected or stored: No such file or directory" in str(error)
    assert [type(event) for event in host.events] == [SourceFailed]
    assert not (host.base / "spool" / "host").exists()
    host.tree.mkdir()
    assert host.run().errors == ()
    assert contents(host) == [b""]


def test_nothing_is_stored_or_remembered_in_test_mode(host):
    host.write_config("GeneralDebugTestModeFlag = True")
    assert [source.element_id for source in host.run().units[0].sources] == [None]
    host.write_config()
    assert [source.element_id is not None for source in host.run().units[0].sources] == [True]


def test_a_setting_that_is_missing_is_named(host):
    (host.conf / "units" / "Mine.config").write_text("")
    (error,) = host.run().errors
    assert "CustomUnitSource is not set" in str(error)
    assert "CustomUnitDirectory is not set" in str(error)


def test_a_source_of_another_unit_is_refused(host):
    for suffix in ("", ".config"):
        shutil.copy(host.conf / "units" / f"Mine{suffix}", host.conf / "units" / f"Other{suffix}")
    (error,) = host.run().errors
    assert str(error) == f"source {URL} is one of unit Mine already"
    assert len(host.chain()) == 1


@pytest.fixture
def killer(host):
    process = subprocess.Popen(
        [sys.executable, "-c", KILLER, str(host.conf), str(NOW + 4000)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:

        def kill(number):
            print(number, file=process.stdin, flush=True)
            return int(process.stdout.readline())

        yield kill


def test_killed_at_any_call_the_next_run_goes_on_with_the_same_chain(host, tmp_path, killer):
    host.run()
    (host.tree / "two").write_text("two")
    shutil.copytree(tmp_path / "spool", tmp_path / "spool.origin")
    shutil.copytree(tmp_path / "state", tmp_path / "state.origin")
    lengths, number, status = [], 0, 9
    while status == 9:
        number += 1
        for name in ("spool", "state"):
            shutil.rmtree(tmp_path / name)
            shutil.copytree(tmp_path / f"{name}.origin", tmp_path / name)
        status = killer(number)
        lengths.append(len(host.chain()))
        assert host.run(NOW + 8000).errors == ()
        chain = host.chain()
        assert len(chain) == 2
        assert not (tmp_path / "state" / "generators" / "Mine" / "state.pending").exists()
    assert status == 0
    assert number > 20
    assert set(lengths) == {1, 2}
