"""What was refused is listed, shown and discarded by commands; real processes and storages."""

import json
import os
import subprocess
import sys

import pytest
from transfer_service_host import MAIN, PATIENCE, RECEIVES, SENDS, TREE


@pytest.fixture
def central(make_host):
    """A host that has refused two elements of alpha, of which one has come since."""
    source = make_host("a", SENDS)
    source.start()
    host = make_host("b", RECEIVES, f"TransferPeers = { ({'alpha': {'Connect': str(source.socket)}})!r}")
    good = source.store("/alpha/good", b"content")
    data = source.data / f"{str(good)[1:]}.data"
    data.write_bytes(b"damaged")
    source.store("/alpha/bad", b"content", SourceUrl="/beta/s")
    assert host.run("transfer", "connect").returncode == 3
    data.write_bytes(b"content")
    assert host.run("transfer", "connect", "alpha").returncode == 3
    assert host.content() == {"/alpha/good": b"content"}
    return host


def entries(host):
    result = host.run("transfer", "quarantine", "list", "--json")
    assert result.returncode == 0
    return {each["source"]: each for each in json.loads(result.stdout)}


def test_what_is_kept_is_listed_shown_and_discarded(central):
    found = entries(central)
    good, bad = found["/alpha/good"], found["/alpha/bad"]
    assert good["settled"] >= good["last"]
    assert (bad["settled"], bad["count"]) == (None, 2)
    lines = central.run("transfer", "quarantine", "list").stdout
    assert "its metadata was made for source /beta/s" in lines

    shown = json.loads(central.run("transfer", "quarantine", "show", good["key"][:8], "--json").stdout)
    assert [os.path.basename(path).partition(".")[2] for path in shown["files"]] == ["reason", "info", "data"]
    assert "/alpha/bad" in central.run("transfer", "quarantine", "show", bad["key"]).stdout

    refused = central.run("transfer", "quarantine", "discard", bad["key"])
    assert refused.returncode == 2
    assert "--yes" in refused.stderr
    assert central.run("transfer", "quarantine", "discard", "--settled", "--yes").returncode == 0
    assert entries(central).keys() == {"/alpha/bad"}
    assert not os.path.exists(shown["files"][2])
    result = central.run("transfer", "quarantine", "discard", bad["key"][:8], "--yes", "--json")
    assert json.loads(result.stdout) == {"discarded": [{"peer": "alpha", "key": bad["key"]}]}
    assert entries(central) == {}
    assert os.listdir(central.state / "quarantine" / "alpha") == []


def test_entries_are_proposed_to_the_shell(central):
    key = entries(central)["/alpha/bad"]["key"]
    result = subprocess.run(
        [sys.executable, "-c", MAIN],
        env={
            **os.environ,
            "PYTHONPATH": str(TREE),
            "GUERILLABACKUP_CONFIG_DIR": str(central.conf),
            "_GUERILLABACKUP_COMPLETE": "bash_complete",
            "COMP_WORDS": f"guerillabackup transfer quarantine show {key[:10]}",
            "COMP_CWORD": "4",
        },
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert result.stdout == f"plain,{key}\n", result.stderr


def test_only_what_has_not_come_since_is_a_finding_of_the_status(central):
    central.start()
    (refused,) = central.status()["refused"]
    assert refused["source"] == "/alpha/bad"


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["show", "0123abcd"], 1, "nothing is kept under 0123abcd"),
        (["discard"], 2, "say which: ENTRY, --settled or --all"),
        (["discard", "--all", "--settled"], 2, "say which"),
        (["discard", "--all", "--yes"], 0, "nothing is there to be discarded"),
    ],
)
def test_what_is_not_there_is_told(make_host, arguments, status, text):
    result = make_host("a").run("transfer", "quarantine", *arguments)
    assert result.returncode == status
    assert text in result.stdout + result.stderr


@pytest.mark.parametrize("command", ["list", "show", "discard"])
def test_each_command_has_help_with_an_example_and_says_how_it_ends(make_host, command):
    result = make_host("a").run("transfer", "quarantine", command, "--help")
    assert "Example:" in result.stdout
    assert "with 0" in " ".join(result.stdout.split())
