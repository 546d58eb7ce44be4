"""The commands about transfers: what they say, and with what they end; services are real processes."""

import base64
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from transfer_service_host import MAIN, ORIGINAL_NAME, PATIENCE, RECEIVES, SENDS, TREE

from guerillabackup.element import ElementId
from guerillabackup.storage.default_file import DefaultFileStorage
from guerillabackup.transfer.sender_marks import CLAIMED, TRANSFERRED, add_mark, read_marks


def peers(**settings):
    return f"TransferPeers = {settings!r}"


@pytest.fixture
def pair(make_host):
    """A host that sends, whose service runs, and one that may fetch from it."""
    source = make_host("a", SENDS)
    source.start()
    return source, make_host("b", RECEIVES, peers(alpha={"Connect": str(source.socket)}))


@pytest.mark.parametrize("command", ["serve", "connect", "stdio", "status", "peers", "confirm", "limit"])
def test_every_command_has_help_with_an_example_and_says_how_it_ends(make_host, command):
    result = make_host("a").run("transfer", command, "--help")
    assert result.returncode == 0
    assert "Example:" in result.stdout
    assert "with 0" in " ".join(result.stdout.split())


@pytest.mark.parametrize("command", [["status"], ["limit", "none"], ["connect", "--no-wait"]])
def test_what_needs_a_service_says_so_and_how_to_have_one(make_host, command):
    result = make_host("a", SENDS).run("transfer", *command)
    assert result.returncode == 1
    assert "no transfer service runs: nobody listens at " in result.stderr
    assert "guerillabackup transfer serve" in result.stderr


def test_stdio_without_a_service_ends_with_1_in_one_line(make_host):
    result = make_host("a", SENDS, peers(b={"Stdio": True})).run("transfer", "stdio", "--agent", "b")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("guerillabackup: error: no transfer service runs: nobody listens at ")
    assert result.stderr.count("\n") == 1


def test_stdio_tells_what_a_peer_lacks_and_that_its_descriptors_are_closed(make_host):
    host = make_host("a", SENDS, peers(b={"Connect": "/nobody", "Interval": 3600}))
    host.start()
    command = f'exec "$0" -c "$1" transfer stdio --agent b --config-dir {host.conf}'
    for redirection, words in (
        ("", "peer b may not come so: set 'Stdio': True for it"),
        ("<&-", "standard input, at which the peer should be, is closed"),
        (">&-", "standard output, at which the peer should be, is closed"),
    ):
        result = subprocess.run(
            ["sh", "-c", f"{command} {redirection}", sys.executable, MAIN],
            env={**os.environ, "PYTHONPATH": str(TREE)},
            input="",
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert (result.returncode, words in result.stderr) == (1, True), result.stderr


def test_status_tells_what_waits_and_who_has_connected(pair):
    source, central = pair
    source.store("/alpha/s", b"content")
    before = source.status()
    (queue,) = before["queue"]
    assert (queue["elements"], queue["bytes"], queue["storage"]) == (1, 7, str(source.data))
    assert central.run("transfer", "connect").returncode == 0
    after = source.status()
    assert after["queue"][0]["elements"] == 0
    (peer,) = after["peers"]
    assert (peer["peer"], peer["elements_sent"], peer["bytes_sent"]) == ("socket", 1, 7)
    assert peer["last_success"] is not None
    assert peer["last_success"] - 60 < peer["last_sent"] < peer["last_success"] + 60
    assert peer["last_received"] is None
    assert central.run("transfer", "connect").returncode == 0
    assert source.peer("socket")["last_sent"] == peer["last_sent"]
    text = source.run("transfer", "status").stdout
    assert "0 elements wait in" in text
    assert "peer socket: last success" in text


def test_moments_are_numbers_in_the_json_of_each_command(pair):
    source, _ = pair
    source.store("/alpha/s", b"content")
    status = source.status()
    listed = json.loads(source.run("element", "list", "--json").stdout)
    moments = [status["started_at"], status["configuration_read_at"], status["queue"][0]["oldest"]]
    moments += [element["timestamp"] for element in listed]
    assert len(moments) == 4
    assert all(time.time() - 3600 < moment <= time.time() for moment in moments)
    shown = source.run("transfer", "status", "--help").stdout
    assert "moments in it are seconds since 1970" in " ".join(shown.split())


def test_connect_with_a_service_has_it_dial_now_and_tells_what_came_of_it(pair):
    source, central = pair
    central.start()
    central.wait_for(lambda: central.peer("alpha")["last_success"])
    source.store("/alpha/s", b"content")
    result = central.run("transfer", "connect", "alpha", "--json")
    assert result.returncode == 0
    (end,) = json.loads(result.stdout)["peers"]
    assert (end["peer"], end["error"]) == ("alpha", None)
    assert (end["elements_received"], end["bytes_received"]) == (1, 7)
    assert (
        central.run("transfer", "connect").stdout == "peer alpha: received 0 elements (0 B), sent 0 (0 B)\n"
    )
    no_wait = central.run("transfer", "connect", "--no-wait", "--json")
    assert json.loads(no_wait.stdout) == {"peers": ["alpha"]}


def test_a_peer_that_fails_ends_connect_and_status_with_3(make_host, short_directory):
    central = make_host("b", RECEIVES, peers(alpha={"Connect": str(short_directory / "none")}))
    result = central.run("transfer", "connect")
    assert result.returncode == 3
    assert "peer alpha: nobody listens at" in result.stderr
    assert result.stderr.count("nobody listens") == 1
    central.start()
    central.wait_for(lambda: central.peer("alpha")["last_error"])
    result = central.run("transfer", "connect", "alpha")
    assert (result.returncode, "nobody listens at" in result.stderr) == (3, True)
    result = central.run("transfer", "status")
    assert (result.returncode, "failed " in result.stdout) == (3, True)


def test_a_broken_chain_is_told_with_its_remedy_until_a_new_full_has_come(pair):
    source, central = pair
    source.store("/alpha/s", b"full")
    assert central.run("transfer", "connect").returncode == 0
    element = source.store("/alpha/s", b"inc", BackupType="inc", Predecessor=bytes(64))
    for result in (central.run("transfer", "connect"), central.run("transfer", "connect", "--quiet")):
        assert result.returncode == 3
        (line,) = [line for line in result.stderr.splitlines() if "restored" in line]
        assert (
            f"{element} came, and the element it follows (DataUuid AAAAAAAAAAAAAAAAAAAAAAAA…) did not" in line
        )
        assert "guerillabackup generator run --once --full --source /alpha/s" in line
    central.start()
    result = central.run("transfer", "status")
    assert (result.returncode, "broken chain, of alpha since" in result.stdout) == (3, True), result.stdout
    assert central.status()["broken_chains"][0]["element"] == str(element)
    source.store("/alpha/s", b"new", Timestamp=int(time.time()) + 5)
    result = central.run("transfer", "connect")
    assert (result.returncode, "restored" in result.stderr) == (0, False), result.stderr
    assert central.run("transfer", "status").returncode == 0


def test_status_tells_what_no_configured_peer_may_get_and_that_a_storage_cannot_be_read(make_host):
    host = make_host("a", SENDS, peers(b={"Stdio": True, "OfferSources": ["/mine/*"]}))
    for source in ("/mine/s", "/other/s", "/other/t"):
        host.store(source, b"content")
    host.start()
    result = host.run("transfer", "status")
    assert "1 elements wait in" in result.stdout
    assert "; 2 more are offered to no configured peer" in result.stdout
    assert result.returncode == 0
    host.data.rename(host.data.with_name("gone"))
    result = host.run("transfer", "status")
    assert (result.returncode, "what waits to be sent is not known" in result.stderr) == (3, True)


def test_what_is_refused_for_one_reason_is_told_in_a_few_lines(pair):
    source, central = pair
    wrong = {"StorageFileChecksumSha512": bytes(64)}
    for number in range(9):
        source.store(f"/alpha/s{number}", b"content", **wrong)
    assert central.run("transfer", "connect").returncode == 3
    central.start()
    lines = central.run("transfer", "status").stdout.splitlines()
    assert len([line for line in lines if line.startswith("refused of alpha, ")]) == 3
    (line,) = [line for line in lines if "more were refused" in line]
    assert line.startswith("6 more were refused of alpha: the 7 bytes that came do not have the checksum")


def test_a_service_that_ends_tells_no_failure_of_before_as_that_of_a_connection(make_host, short_directory):
    path = short_directory / "peer"
    host = make_host(
        "b", RECEIVES, peers(alpha={"Connect": str(path), "Interval": 3600}), "TransferShutdownTime = 0"
    )
    host.start()
    host.wait_for(lambda: host.peer("alpha")["last_error"])
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        command = [sys.executable, "-c", MAIN, "transfer", "connect", "--config-dir", str(host.conf)]
        environment = {**os.environ, "PYTHONPATH": str(TREE)}
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as asking:
            connection, _ = listener.accept()
            host.send(signal.SIGTERM)
            _, said = asking.communicate(timeout=PATIENCE)
        connection.close()
    assert asking.returncode == 3
    assert "nobody listens" not in said


@pytest.mark.parametrize("is_running", [True, False])
def test_a_peer_that_is_not_dialled_is_named(make_host, is_running):
    host = make_host("a", SENDS, peers(beta={"Stdio": True}, gamma={"Connect": "/gamma.socket"}))
    if is_running:
        host.start()
    result = host.run("transfer", "connect", "beta", "nobody")
    assert result.returncode == 1
    assert "peer beta is not dialled" in result.stderr
    assert "there is no peer nobody" in result.stderr


def test_a_misspelt_peer_is_told_which_one_may_be_meant_and_quiet_says_nothing(pair):
    source, central = pair
    result = central.run("transfer", "connect", "alfa")
    assert (result.returncode, "there is no peer alfa; is alpha meant?" in result.stderr) == (1, True)
    source.store("/alpha/s", b"content")
    result = central.run("transfer", "connect", "--quiet")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert central.content() == {"/alpha/s": b"content"}


def test_an_interrupt_ends_a_tunnel_that_ignores_it(make_host):
    host = make_host("a", RECEIVES, "TransferShutdownTime = 86400")
    tunnel = "sh -c 'trap \"\" TERM INT HUP; while :; do sleep 1; done'"
    command = ["transfer", "connect", "--command", tunnel, "--config-dir", str(host.conf)]
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, *command], env={**os.environ, "PYTHONPATH": str(TREE)}
    )
    tasks = Path(f"/proc/{process.pid}/task")
    child = host.wait_for(lambda: "".join(each.read_text() for each in tasks.glob("*/children"))).strip()
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 130
    assert not os.path.exists(f"/proc/{child}")


def test_a_socket_of_the_command_line_that_is_none_is_told_with_its_option(make_host, short_directory):
    host = make_host("a", RECEIVES)
    for path, words in ((short_directory / "none", "No such file"), (short_directory, "is not a socket")):
        result = host.run("transfer", "connect", "--socket", str(path))
        assert (result.returncode, f"--socket {path}: {words}" in result.stderr) == (1, True)


def test_a_target_of_the_command_line_is_not_dialled_beside_a_service(pair):
    source, central = pair
    central.start()
    result = central.run("transfer", "connect", "--socket", str(source.socket))
    assert result.returncode == 1
    assert "another transfer service works with the state" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["connect", "--command", "a", "--socket", "/b"],
        ["connect", "--command", "'"],
        ["connect", "--command", ""],
        ["connect", "a", "b", "--socket", "/b"],
        ["limit", "0"],
        ["limit", "much"],
        ["stdio"],
        ["confirm", "nonsense"],
    ],
)
def test_wrong_usage_ends_with_2(make_host, arguments):
    result = make_host("a", SENDS).run("transfer", *arguments)
    assert result.returncode == 2, result.stderr


def test_the_limit_changes_while_the_service_runs(pair):
    source, _ = pair
    result = source.run("transfer", "limit", "1000000")
    assert (result.returncode, result.stdout) == (0, "at most 1000000 bytes a second\n")
    assert source.run("transfer", "limit").stdout == "at most 1000000 bytes a second\n"
    assert source.status()["bandwidth_limit"] == 1_000_000
    assert f"peer socket: listens at {source.socket}" in source.log()
    assert json.loads(source.run("transfer", "limit", "none", "--json").stdout) == {"bandwidth_limit": None}
    assert source.status()["bandwidth_limit"] is None


def test_a_limit_may_have_a_unit_and_a_low_one_is_told(pair):
    source, _ = pair
    for text, rate in (("3k", 3072), ("2M", 2 << 20), ("1G", 1 << 30), ("999", 999)):
        result = source.run("transfer", "limit", text, "--json")
        assert json.loads(result.stdout) == {"bandwidth_limit": rate}
        assert ("so few" in result.stderr) == (rate < 1000)


def test_a_limit_holds_for_what_is_sent_and_is_lifted_for_what_moves_already(pair):
    source, central = pair
    source.run("transfer", "limit", "20000")
    source.store("/alpha/s", bytes(10_000_000))
    process = subprocess.Popen(
        [sys.executable, "-c", MAIN, "transfer", "connect", "--config-dir", str(central.conf)],
        env={**os.environ, "PYTHONPATH": str(TREE)},
        stdout=subprocess.DEVNULL,
    )
    moving = source.wait_for(lambda: source.peer("socket")["bytes_sent"] or source.peer("socket")["current"])
    assert moving
    assert process.poll() is None
    assert source.run("transfer", "limit", "none").returncode == 0
    assert process.wait(PATIENCE) == 0
    assert central.content() == {"/alpha/s": bytes(10_000_000)}


def test_peers_lists_how_each_is_reached_without_a_service(make_host):
    host = make_host(
        "a",
        SENDS,
        peers(
            alpha={"Connect": ["ssh", "-T", "alpha"], "Interval": 600}, beta={"Listen": "/b", "Stdio": True}
        ),
    )
    records = json.loads(host.run("transfer", "peers", "--json").stdout)
    assert [record["peer"] for record in records] == ["socket", "alpha", "beta"]
    assert (records[1]["connect"], records[1]["interval"]) == (["ssh", "-T", "alpha"], 600)
    text = host.run("transfer", "peers").stdout
    assert "dials ssh -T alpha every 600 s" in text
    assert "listens at /b, takes transfer stdio" in text


def claim(host, element_id, *agents):
    with DefaultFileStorage(str(host.data)) as storage:
        for agent in agents:
            add_mark(storage.get_backup_data_element(element_id), CLAIMED, agent, 1_700_000_000)


def test_a_claim_is_told_confirmed_and_then_the_element_is_gone(pair):
    source, _ = pair
    element_id = source.store("/alpha/s", b"content")
    assert source.run("transfer", "confirm", str(element_id)).returncode == 1
    claim(source, element_id, "central")
    result = source.run("transfer", "status")
    assert result.returncode == 3
    assert f"claimed, not proved: {element_id} by central" in result.stdout
    assert source.run("transfer", "confirm", str(element_id)).returncode == 0
    assert source.content() == {}


def test_a_claim_is_confirmed_with_that_of_the_list_of_members(make_host):
    host = make_host("a", SENDS)
    uuid = bytes(range(16))
    element_id = host.store("/alpha/s", b"content", DataUuid=uuid)
    listed = host.store("/alpha/s.members", b"list", MembersOf=base64.b64encode(uuid).decode())
    claim(host, element_id, "central")
    assert str(listed) not in host.run("transfer", "confirm", str(element_id), "--mark").stdout
    claim(host, element_id, "central")
    claim(host, listed, "central")
    result = host.run("transfer", "confirm", str(element_id))
    assert (result.returncode, f"and so its list of members, {listed}" in result.stdout) == (0, True)
    assert host.content() == {}


def test_what_was_refused_is_told_with_its_reason_and_evidence_also_by_another_service(pair):
    source, central = pair
    source.store("/alpha/s", b"content", SourceUrl="/beta/s")
    result = central.run("transfer", "connect")
    assert (result.returncode, "1 refused" in result.stdout) == (3, True)
    central.start()
    result = central.run("transfer", "status")
    assert result.returncode == 3
    assert "-s-full: its metadata was made for source /beta/s; tried after " in result.stdout
    assert "; evidence: " in result.stdout
    (refused,) = central.status()["refused"]
    assert (refused["peer"], refused["source"]) == ("alpha", "/alpha/s")
    assert os.path.exists(refused["evidence"])
    # Once the sender has withdrawn it, and nothing of it is kept, all is well again.
    central.run("transfer", "connect")
    shutil.rmtree(central.state / "quarantine")
    assert central.run("transfer", "status").returncode == 3
    shutil.rmtree(source.data / "alpha")
    assert central.run("transfer", "connect").returncode == 0
    assert central.run("transfer", "status").returncode == 0


@pytest.mark.parametrize("policy", [SENDS, RECEIVES])
def test_two_that_have_nothing_to_move_between_them_are_told_so(make_host, policy):
    left = make_host("a", policy)
    left.start()
    right = make_host("b", policy, peers(alpha={"Connect": str(left.socket)}))
    result = right.run("transfer", "connect")
    assert result.returncode == 3
    assert result.stderr.count("peer alpha sends nothing and takes nothing") == 1
    assert left.run("transfer", "status").returncode == 3
    assert left.peer("socket")["moves_nothing"]
    right.start()
    assert right.run("transfer", "connect", "alpha").returncode == 3


def test_of_several_claims_one_is_named_and_may_be_marked_or_withdrawn(make_host):
    host = make_host("a", SENDS)
    element_id = host.store("/alpha/s", b"content")
    claim(host, element_id, "beta", "gamma", "delta")
    result = host.run("transfer", "confirm", str(element_id))
    assert (result.returncode, "claimed by beta, delta, gamma; say by --agent" in result.stderr) == (1, True)
    marked = host.run("transfer", "confirm", str(element_id), "--agent", "beta", "--mark", "--json")
    assert json.loads(marked.stdout) == {
        "element": str(element_id),
        "agent": "beta",
        "outcome": "marked",
        "members": [],
    }
    withdrawn = host.run("transfer", "confirm", str(element_id), "--agent", "gamma", "--withdraw")
    assert withdrawn.returncode == 0
    with DefaultFileStorage(str(host.data)) as storage:
        element = storage.get_backup_data_element(ElementId.parse(str(element_id)))
        assert list(read_marks(element, CLAIMED)) == ["delta"]
        assert list(read_marks(element, TRANSFERRED)) == ["beta"]


def test_an_interrupt_ends_a_connection_that_was_dialled_here(make_host, short_directory):
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(short_directory / "silent"))
        silent.listen()
        host = make_host("a", RECEIVES, "TransferShutdownTime = 0")
        command = ["transfer", "connect", "--socket", str(short_directory / "silent")]
        process = subprocess.Popen(
            [sys.executable, "-c", MAIN, *command, "--config-dir", str(host.conf)],
            env={**os.environ, "PYTHONPATH": str(TREE)},
            stderr=subprocess.PIPE,
            text=True,
        )
        connection = silent.accept()[0]
        connection.recv(1)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130
        with connection, process.stderr:
            assert "Traceback" not in process.stderr.read()


def test_peers_are_proposed_to_the_shell(make_host):
    host = make_host(
        "a",
        SENDS,
        peers(alpha={"Stdio": True, "Connect": "/x"}, alps={"Connect": "/y"}, beta={"Stdio": True}),
    )
    for line in ("guerillabackup transfer connect al", "guerillabackup transfer stdio --agent al"):
        result = subprocess.run(
            [sys.executable, "-c", MAIN],
            env={
                **os.environ,
                "PYTHONPATH": str(TREE),
                "GUERILLABACKUP_CONFIG_DIR": str(host.conf),
                "_GUERILLABACKUP_COMPLETE": "bash_complete",
                "COMP_WORDS": line,
                "COMP_CWORD": str(len(line.split()) - 1),
            },
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        proposed = "plain,alpha\n" if "stdio" in line else "plain,alpha\nplain,alps\n"
        assert result.stdout == proposed, result.stderr


@pytest.mark.parametrize("arguments", [["--Unknown"], ["word"], ["--Config"]])
def test_the_program_of_the_original_s_name_ends_with_1_at_wrong_arguments(arguments):
    result = subprocess.run(
        [sys.executable, "-c", ORIGINAL_NAME, *arguments], capture_output=True, text=True, timeout=PATIENCE
    )
    assert (result.returncode, result.stdout) == (1, "")
    assert "Error: " in result.stderr


def test_the_program_of_the_original_s_name_has_help_and_names_a_missing_file(tmp_path):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-c", ORIGINAL_NAME, *arguments],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    assert "--Config FILE" in run("--help").stdout
    result = run("--Config", str(tmp_path / "none"))
    assert (result.returncode, f"{tmp_path}/none: is not there" in result.stderr) == (1, True)
    for path in ("/none-such", "/config"):
        result = run("--Config", path)
        assert f"{path}: is not there; name the main file of a configuration\n" in result.stderr
