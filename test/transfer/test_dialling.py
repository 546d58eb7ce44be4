"""Peers that are dialled once, without a service: real processes and storages."""

import json
import os
import subprocess
import sys

from transfer_service_host import MAIN, PATIENCE, RECEIVES, SENDS, TREE

LARGE = 3_000_000


def peers(**settings):
    return f"TransferPeers = {settings!r}"


def run_with_little_room(host, *arguments):
    """A command that can write no file of more than a megabyte."""
    inner = [sys.executable, "-c", MAIN, *arguments, "--config-dir", str(host.conf)]
    return subprocess.run(
        ["bash", "-c", 'ulimit -f 1024; exec "$@"', "bash", *inner],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, "PYTHONPATH": str(TREE)},
        check=False,
    )


def test_an_element_that_does_not_fit_keeps_none_behind_it_away_and_is_tried_when_asked_for(make_host):
    source = make_host("a", SENDS)
    source.store("/alpha/a-large", bytes(LARGE))
    small = {f"/alpha/s{number}": bytes([number]) * 1000 for number in range(3)}
    for name, data in small.items():
        source.store(name, data)
    source.start()
    central = make_host("b", RECEIVES, peers(alpha={"Connect": str(source.socket)}))

    first = run_with_little_room(central, "transfer", "connect", "--json")
    assert first.returncode == 3
    (peer,) = json.loads(first.stdout)["peers"]
    assert (peer["elements_received"], peer["elements_refused"], peer["elements_left_alone"]) == (3, 1, 0)
    assert central.content() == small

    # Cron's form leaves it alone, and says so.
    for arguments in ([], ["--quiet"]):
        again = central.run("transfer", "connect", *arguments)
        assert again.returncode == 3
        assert "peer alpha: left 1 element alone, refused before; until " in again.stderr
        assert "/alpha/" in again.stderr
        assert "a-large-full: " in again.stderr
    again = central.run("transfer", "connect", "--json")
    (peer,) = json.loads(again.stdout)["peers"]
    assert (peer["elements_left_alone"], peer["bytes_received"]) == (1, 0)
    (left,) = peer["left_alone"]
    assert left["next_try"] > left["last"]

    # The service has the same memory, and tells which one waits, why, and until when.
    central.start()
    central.wait_for(lambda: central.peer("alpha")["last_success"])
    result = central.run("transfer", "status", "--json")
    assert result.returncode == 3
    (refused,) = json.loads(result.stdout)["refused"]
    assert (refused["source"], refused["next_try"]) == ("/alpha/a-large", left["next_try"])
    assert "a-large-full" in central.run("transfer", "status").stdout
    assert source.content() == {"/alpha/a-large": bytes(LARGE)}

    # Who asks for it has it tried at once.
    asked = central.run("transfer", "connect", "alpha")
    assert asked.returncode == 0, asked.stderr
    assert central.content() == {**small, "/alpha/a-large": bytes(LARGE)}
    assert central.run("transfer", "status").returncode == 0
    assert (central.end(), source.end()) == (0, 0)


def test_what_was_refused_is_tried_again_by_other_settings(make_host):
    source = make_host("a", SENDS)
    source.store("/alpha/s", bytes(5000))
    source.start()
    rules = {"Connect": str(source.socket), "Interval": 100_000}
    central = make_host("b", RECEIVES, peers(alpha={**rules, "MaxElementSize": 4000}))
    for left_alone in (0, 1):
        result = central.run("transfer", "connect", "--json")
        assert json.loads(result.stdout)["peers"][0]["elements_left_alone"] == left_alone
    central.write_config(RECEIVES, peers(alpha={**rules, "MaxElementSize": 6000}))
    assert central.run("transfer", "connect").returncode == 0
    assert central.content() == {"/alpha/s": bytes(5000)}
    assert source.end() == 0


def test_elements_beyond_the_limit_of_a_peer_that_tells_no_sizes_end_a_connection_each_and_no_run(make_host):
    # As an original does, it moves elements one by one, and says of none how large it is.
    old = "import guerillabackup.transfer.announcement as announcement", "announcement.GROUPS = 'none'"
    source = make_host("a", SENDS, *old)
    for number, name in enumerate(("a-large", "b-large")):
        source.store(f"/alpha/{name}", bytes(LARGE), Timestamp=number + 1)
    source.store("/alpha/small", b"small")
    source.start()
    settings = {"Connect": str(source.socket), "MaxElementSize": 1_000_000}
    central = make_host("b", RECEIVES, peers(alpha=settings))
    result = central.run("transfer", "connect", "--json")
    assert result.returncode == 3
    (peer,) = json.loads(result.stdout)["peers"]
    assert (peer["elements_received"], peer["elements_refused"], peer["elements_left_alone"]) == (1, 2, 0)
    assert peer["error"] is None
    assert central.content() == {"/alpha/small": b"small"}
    assert source.end() == 0
