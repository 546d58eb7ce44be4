"""Whole services: real processes, sockets and storages."""

import json
import os
import signal
import socket
import sys

import pytest
from transfer_service_host import MAIN, ORIGINAL_NAME, PATIENCE, RECEIVES, SENDS, TREE

from guerillabackup.config import load_configuration
from guerillabackup.errors import ConfigError
from guerillabackup.transfer.service import plan_of


def peers(**settings):
    return f"TransferPeers = {settings!r}"


def fill(host, count=5, size=100_000):
    return {
        f"/host/s{number}": data
        for number in range(count)
        if host.store(f"/host/s{number}", data := os.urandom(size))
    }


def test_a_service_that_dials_fetches_everything_and_the_spool_of_the_other_empties(make_host):
    source = make_host("a", SENDS)
    content = fill(source)
    source.start()
    central = make_host("b", RECEIVES, peers(alpha={"Connect": str(source.socket)}))
    central.start()
    central.wait_for(lambda: central.content() == content)
    source.wait_for(lambda: not source.content())
    assert (central.end(), source.end()) == (0, 0)
    assert os.listdir(source.runtime) == []


def test_elements_go_both_ways_at_once(make_host):
    left, right = make_host("a", SENDS, RECEIVES), make_host("b", SENDS, RECEIVES)
    left.store("/left/s", b"from the left")
    right.store("/right/s", b"from the right")
    left.start()
    right.write_config(SENDS, RECEIVES, peers(left={"Connect": str(left.socket)}))
    assert right.run("transfer", "connect").returncode == 0
    assert (left.content(), right.content()) == (
        {"/right/s": b"from the right"},
        {"/left/s": b"from the left"},
    )


def test_two_services_that_dial_each_other_at_once_move_each_element_once(make_host):
    left, right = make_host("left"), make_host("right")
    content = {}
    for host, other, name, its in ((left, right, "left", "right"), (right, left, "right", "left")):
        host.write_config(
            SENDS,
            RECEIVES,
            f"TransferSenderSettings = {{'Sources': ['/{name}/*']}}",
            f"TransferReceiverSettings = {{'Sources': ['/{its}/*']}}",
            peers(other={"Connect": str(other.socket), "Interval": 1}),
        )
        content[host] = {f"/{name}/s{number}": os.urandom(20_000) for number in range(20)}
        for source, data in content[host].items():
            host.store(source, data)
    left.start(wait=False)
    right.start(wait=False)
    left.wait_for(lambda: (left.content(), right.content()) == (content[right], content[left]))
    received = [sum(peer["elements_received"] for peer in host.status()["peers"]) for host in (left, right)]
    assert received == [20, 20]
    assert (left.end(), right.end()) == (0, 0)


def test_it_tells_systemd_that_it_is_ready_alive_reloads_and_ends(make_host):
    host = make_host("a", SENDS)
    host.start(WATCHDOG_USEC="200000")
    host.hear("WATCHDOG=1")
    host.hear("WATCHDOG=1")
    host.send(signal.SIGHUP)
    heard = host.hear("READY=1")
    assert "RELOADING=1" in heard
    host.send(signal.SIGTERM)
    host.hear("STOPPING=1")
    assert host.process.wait(PATIENCE) == 0


def test_one_service_runs_for_a_state_directory(make_host):
    host = make_host("a", SENDS)
    host.start()
    second = host.run("transfer", "serve")
    assert second.returncode == 1
    assert "another transfer service works with the state" in second.stderr


def test_a_second_service_says_in_one_line_what_of_it_is_another_one_s(make_host):
    first, second = make_host("a", RECEIVES), make_host("b")
    first.start()
    own, theirs = second.runtime, first.runtime
    for runtime, data, line in (
        (theirs, second.data, f"another service listens at {theirs}/transfer-control.socket"),
        (own, first.data, f"another transfer service receives into the storage in {first.data}: one service"),
    ):
        second.runtime, second.data = runtime, data
        second.write_config(RECEIVES)
        ended = second.run("transfer", "serve")
        assert ended.returncode == 1
        assert line in ended.stderr
        assert len(ended.stderr.splitlines()) == 1
        assert first.run("transfer", "status").returncode == 0


def test_a_reload_takes_no_storage_that_another_service_receives_into(make_host):
    first, second = make_host("a", RECEIVES), make_host("b", RECEIVES)
    first.start()
    second.start()
    own, second.data = second.data, first.data
    second.write_config(RECEIVES)
    second.send(signal.SIGHUP)
    second.wait_for(lambda: second.status()["reload_refused"])
    assert "receives into the storage in" in second.status()["reload_refused"]["error"]
    second.data = own
    second.write_config(RECEIVES)
    second.send(signal.SIGHUP)
    second.wait_for(lambda: "was read anew" in second.log())
    assert second.status()["reload_refused"] is None


def test_two_services_send_from_one_storage_and_each_element_goes_once(make_host):
    first, second = make_host("a", SENDS), make_host("b")
    content = fill(first, 30, 20_000)
    own, second.data = second.data, first.data
    second.write_config(SENDS)
    first.start()
    second.start()
    central = make_host(
        "c", RECEIVES, peers(a={"Connect": str(first.socket)}, b={"Connect": str(second.socket)})
    )
    central.start()
    central.wait_for(lambda: central.content() == content)
    first.wait_for(lambda: not first.content())
    assert sum(peer["elements_received"] for peer in central.status()["peers"]) == 30
    assert [host.end() for host in (central, second, first)] == [0, 0, 0]
    second.data = own


def test_all_that_is_missing_or_wrong_is_said_at_once(tmp_path):
    (tmp_path / "config").write_text(
        "TransferPeers = {'a': {}, 'b': {'Listen': 'x'}, 'socket': {'Stdio': True}}\n"
    )
    with pytest.raises(ConfigError) as caught:
        plan_of(load_configuration(str(tmp_path)))
    text = "\n".join(caught.value.problems)
    for part in (
        "GeneralPersistencyBaseDir is not set",
        "GeneralRuntimeDataDir is not set",
        "'a' none of Listen, Connect and Stdio",
        "'b' Listen 'x'",
    ):
        assert part in text


def test_a_mistake_in_a_peer_s_own_settings_is_told_with_its_name(make_host):
    own = {"SenderSettings": {"Order": "random"}}
    host = make_host("a", SENDS, peers(beta={"Stdio": True, **own}), "TransferSenderSettings = {'Order': 7}")
    result = host.run("transfer", "serve")
    assert result.returncode == 1
    assert "TransferPeers in SenderSettings of 'beta' has Order 'random', not " in result.stderr
    assert "TransferSenderSettings has Order 7, not " in result.stderr
    checked = host.run("config", "check").stderr
    assert "TransferPeers in SenderSettings of 'beta' has Order 'random', not " in checked


def test_polls_in_which_nothing_is_to_be_done_are_logged_once(make_host):
    source = make_host("a", SENDS)
    source.start()
    central = make_host("b", RECEIVES, peers(alpha={"Connect": str(source.socket), "Interval": 3600}))
    central.start()
    for _ in range(3):
        assert central.run("transfer", "connect").returncode == 0
    assert [host.log().count("ended as agreed") for host in (source, central)] == [1, 1]
    source.store("/host/s", b"content")
    for _ in range(2):
        assert central.run("transfer", "connect").returncode == 0
    assert central.log().count("ended as agreed: 1 elements received") == 1
    assert central.log().count("ended as agreed: 0 elements received") == 2
    assert "connected" not in central.log()


def test_a_storage_that_is_not_there_and_a_wrong_policy_stop_it_before_it_listens(make_host):
    host = make_host("a", SENDS, "TransferSenderSettings = {'Order': 'x'}")
    host.data.rmdir()
    result = host.run("transfer", "serve")
    assert result.returncode == 1
    assert "is not there or no directory" in result.stderr
    host.data.mkdir(mode=0o700)
    result = host.run("transfer", "serve")
    assert (result.returncode, "has Order 'x'" in result.stderr) == (1, True)
    assert not host.socket.exists()


def test_a_reload_takes_new_peers_and_ends_no_connection(make_host, short_directory):
    host = make_host("a", SENDS, RECEIVES)
    host.start()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(host.socket))
        host.wait_for(lambda: host.peer("socket")["connections"] == 1)
        own = short_directory / "own.socket"
        host.write_config(SENDS, RECEIVES, peers(beta={"Listen": str(own)}), "TransferBandwidthLimit = 12345")
        host.drain()
        host.send(signal.SIGHUP)
        host.hear("READY=1")
        host.wait_for(own.exists)
        status = host.status()
        assert [peer["peer"] for peer in status["peers"]] == ["beta", "socket"]
        assert status["bandwidth_limit"] == 12345
        assert host.peer("socket")["connections"] == 1
    host.write_config(SENDS, RECEIVES)
    host.drain()
    host.send(signal.SIGHUP)
    host.hear("READY=1")
    assert not own.exists()


def test_a_reload_may_exchange_the_sockets_of_peers_and_tries_again_what_it_could_not_do(
    make_host, short_directory
):
    def paths(beta, gamma):
        names = {"beta": beta, "gamma": gamma}
        return peers(**{name: {"Listen": str(short_directory / path)} for name, path in names.items()})

    host = make_host("a", SENDS, paths("one", "two"))
    host.start()
    host.write_config(SENDS, paths("two", "one"))
    host.send(signal.SIGHUP)
    host.wait_for(lambda: host.peer("beta")["listen"].endswith("two"))
    assert host.status()["reload_refused"] is None
    taken = short_directory / "taken"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(taken))
        other.listen()
        host.write_config(SENDS, paths("one", "taken"), "TransferBandwidthLimit = 12345")
        host.send(signal.SIGHUP)
        refused = host.wait_for(lambda: host.status()["reload_refused"])
        assert "peer gamma: another service listens at" in refused["error"]
        # All is as before, also what could have been done.
        assert host.status()["bandwidth_limit"] is None
        for name, path in (("beta", "two"), ("gamma", "one")):
            assert host.peer(name)["listen"].endswith(path)
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(short_directory / path))
                host.wait_for(lambda name=name: host.peer(name)["connections"] == 1)
    taken.unlink()
    host.send(signal.SIGHUP)
    host.wait_for(lambda: host.status()["reload_refused"] is None)
    assert host.peer("gamma")["listen"] == str(taken)


def test_a_peer_whose_socket_cannot_be_is_left_out_and_the_others_are_served(make_host, short_directory):
    open_to_all = short_directory / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o1777)
    unowned = {"Listen": str(short_directory / "delta"), "SocketGroup": "nosuchgroup"}
    settings = {
        "beta": {"Listen": f"{open_to_all}/s"},
        "gamma": {"Listen": str(short_directory / ("n" * 120))},
    }
    host = make_host("a", SENDS, peers(**settings, delta=unowned))
    result = host.run("config", "check")
    checked = result.stdout + result.stderr
    assert "choose another directory" in checked
    assert "chmod" not in checked
    assert "peer beta: " in checked
    assert "peer gamma: cannot listen at" in checked
    assert "no group 'nosuchgroup' to own a peer's socket" in checked
    host.start()
    result = host.run("transfer", "status")
    assert result.returncode == 3
    assert "peer beta is left out: " in result.stdout
    assert [left["peer"] for left in host.status()["left_out"]] == ["beta", "gamma", "delta"]
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(host.socket))
        host.wait_for(lambda: host.peer("socket")["connections"] == 1)
    host.send(signal.SIGHUP)
    host.wait_for(lambda: "was read anew" in host.log())
    assert len(host.status()["left_out"]) == 3
    host.write_config(SENDS)
    host.send(signal.SIGHUP)
    host.wait_for(lambda: host.status()["left_out"] == [])


def test_a_reload_that_cannot_be_used_is_refused_and_all_goes_on(make_host):
    host = make_host("a", SENDS)
    host.start()
    host.write_config(SENDS, "TransferPeers = {'a': {}}")
    host.send(signal.SIGHUP)
    host.wait_for(lambda: "stays in effect" in host.log())
    result = host.run("transfer", "status")
    assert result.returncode == 3
    assert "was refused" in result.stdout
    host.write_config(SENDS, f"GeneralRuntimeDataDir = '{host.base}/elsewhere'")
    host.send(signal.SIGHUP)
    host.wait_for(lambda: "which takes a restart" in host.log())
    assert host.end() == 0


def test_a_configuration_that_raises_an_interrupt_ends_no_service(make_host):
    host = make_host("a", SENDS)
    host.start()
    host.write_config(SENDS, "raise KeyboardInterrupt")
    host.send(signal.SIGHUP)
    host.wait_for(lambda: "stays in effect" in host.log())
    host.write_config(SENDS)
    assert "KeyboardInterrupt" in host.status()["reload_refused"]["error"]
    assert host.end() == 0


def test_a_reload_by_which_code_of_the_site_s_own_raises_anything_is_refused(make_host):
    host = make_host("a", SENDS)
    host.start()
    odd = "class Odd:\n    def __eq__(self, other): raise RuntimeError('odd')\n    __hash__ = None"
    host.write_config(SENDS, odd, "TransferSenderPolicyInitArgs = [Odd()]")
    host.send(signal.SIGHUP)
    refused = host.wait_for(lambda: host.status()["reload_refused"])
    assert "odd" in refused["error"] or "Odd" in refused["error"]
    assert host.end() == 0


def test_what_is_under_way_has_its_time_and_a_second_signal_ends_it_at_once(make_host):
    host = make_host("a", SENDS, "TransferShutdownTime = 86400")
    host.start()
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(host.socket))
        host.wait_for(lambda: host.peer("socket")["connections"] == 1)
        host.send(signal.SIGTERM)
        host.hear("STOPPING=1")
        assert host.status()["stopping"]
        assert host.end() == 0


def test_a_forced_end_reaches_what_is_taken_at_the_pace_of_a_low_limit(make_host):
    source = make_host("a", SENDS)
    source.store("/alpha/s", bytes(60_000))
    source.start()
    limits = "TransferBandwidthLimit = 50", "TransferShutdownTime = 0"
    central = make_host("b", RECEIVES, peers(alpha={"Connect": str(source.socket)}), *limits)
    central.start()
    central.wait_for(lambda: central.peer("alpha")["bytes_received"])
    assert central.end() == 0
    assert "does not end" not in central.log()


def test_a_peer_with_a_socket_of_its_own_gets_what_it_may_have_and_no_more(make_host, short_directory):
    own = short_directory / "beta.socket"
    host = make_host("a", SENDS, peers(beta={"Listen": str(own), "OfferSources": ["/for/beta"]}))
    host.store("/for/beta", b"yours")
    host.store("/for/others", b"not yours")
    host.start()
    central = make_host("b", RECEIVES)
    assert central.run("transfer", "connect", "--socket", str(own)).returncode == 0
    assert central.content() == {"/for/beta": b"yours"}
    assert host.content() == {"/for/others": b"not yours"}


def test_what_a_peer_may_not_send_is_refused_and_stays_where_it_is(make_host):
    source = make_host("a", SENDS)
    source.store("/alpha/s", b"mine")
    source.store("/beta/s", b"not mine")
    source.start()
    settings = {"Connect": str(source.socket), "AcceptSources": ["/alpha/*"]}
    central = make_host("b", RECEIVES, peers(alpha=settings))
    result = central.run("transfer", "connect", "--json")
    assert result.returncode == 3
    (peer,) = json.loads(result.stdout)["peers"]
    assert (peer["elements_received"], peer["elements_refused"], peer["error"]) == (1, 1, None)
    assert (central.content(), source.content()) == ({"/alpha/s": b"mine"}, {"/beta/s": b"not mine"})


def test_a_peer_may_have_a_storage_of_its_own(make_host, short_directory):
    source = make_host("a", SENDS)
    source.store("/host/s", b"content")
    source.start()
    other = short_directory / "other"
    other.mkdir(mode=0o700)
    central = make_host(
        "b", RECEIVES, peers(alpha={"Connect": str(source.socket), "StorageBaseDir": str(other)})
    )
    assert central.run("transfer", "connect", "alpha").returncode == 0
    assert (central.content(), central.content(other)) == ({}, {"/host/s": b"content"})


def test_a_storage_that_had_elements_and_is_empty_is_not_received_into(make_host):
    source = make_host("a", SENDS)
    source.start()
    central = make_host("b", RECEIVES)
    central.store("/central/s", b"content")
    dial = ("transfer", "connect", "--socket", str(source.socket))
    assert central.run(*dial).returncode == 0
    central.data.rename(central.base / "unmounted")
    central.data.mkdir(mode=0o700)
    source.store("/host/s", b"content")
    result = central.run(*dial)
    assert (result.returncode, "is empty, although there were elements" in result.stderr) == (1, True)
    assert list(source.content()) == ["/host/s"]


def test_nothing_goes_to_a_directory_that_took_the_place_of_the_storage_until_a_reload(make_host):
    source = make_host("a", SENDS)
    source.store("/host/s", b"content")
    central = make_host("b", RECEIVES, peers(alpha={"Connect": str(source.socket)}))
    central.start()
    central.wait_for(lambda: central.peer("alpha")["last_error"])
    central.data.rename(central.base / "before")
    central.data.mkdir(mode=0o700)
    source.start()
    result = central.run("transfer", "connect")
    assert (result.returncode, "is another directory than when this service" in result.stderr) == (3, True)
    assert list(source.content()) == ["/host/s"]
    central.drain()
    central.send(signal.SIGHUP)
    central.hear("READY=1")
    assert central.run("transfer", "connect").returncode == 0
    assert central.content() == {"/host/s": b"content"}


SITE_POLICY = """
import guerillabackup
from guerillabackup.Transfer import SenderMoveDataTransferPolicy
class OnlyOne(SenderMoveDataTransferPolicy):
    def queryBackupDataElements(self, transferContext, queryData):
        found = transferContext.localStorage.queryBackupDataElements(None)
        class Result:
            def getNextElement(self):
                while (element := found.getNextElement()) is not None:
                    if element.getSourceUrl() == '/host/s1':
                        return element
        return Result()
"""


def test_a_policy_that_a_site_wrote_for_the_original_decides_here(make_host):
    source = make_host("a")
    (source.conf / "lib-enabled").mkdir(mode=0o700)
    (source.conf / "lib-enabled" / "sitepolicy.py").write_text(SITE_POLICY)
    source.write_config("from sitepolicy import OnlyOne", "TransferSenderPolicyClass = OnlyOne")
    content = fill(source, 3, 10)
    source.start()
    central = make_host("b", RECEIVES, peers(alpha={"Connect": str(source.socket)}))
    result = central.run("transfer", "connect")
    assert result.returncode == 0, result.stderr + source.log()
    assert central.content() == {"/host/s1": content["/host/s1"]}
    assert sorted(source.content()) == ["/host/s0", "/host/s2"]


def test_the_original_s_program_name_takes_its_argument_and_its_defaults(make_host):
    source = make_host("a", SENDS)
    source.store("/host/s", b"content")
    (source.conf / "config").rename(source.conf / "other.conf")
    source.start(code=ORIGINAL_NAME, arguments=("--Config", str(source.conf / "other.conf")))
    assert source.socket.stat().st_mode & 0o777 == 0o600
    assert source.run("transfer", "status").returncode == 1
    result = source.run("transfer", "status", "--config", str(source.conf / "other.conf"))
    assert (result.returncode, "1 elements wait" in result.stdout) == (0, True), result.stderr
    result = source.run("transfer", "limit", "5000", "--config", str(source.conf / "other.conf"))
    assert (result.returncode, result.stdout) == (0, "at most 5000 bytes a second\n"), result.stderr
    central = make_host("b", RECEIVES)
    assert central.run("transfer", "connect", "--socket", str(source.socket)).returncode == 0
    assert central.content() == {"/host/s": b"content"}


ACTIVATE = """
import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[1])
listener.listen()
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1', LISTEN_FDNAMES=sys.argv[2])
os.execv(sys.executable, [sys.executable, '-c', *sys.argv[3:]])
"""


def test_a_socket_of_systemd_is_used_for_the_peer_it_names_and_left_when_it_ends(make_host, short_directory):
    path = short_directory / "systemd.socket"
    host = make_host("a", SENDS, peers(beta={"Listen": str(short_directory / "unused.socket")}))
    host.store("/host/s", b"content")
    serve = ("transfer", "serve", "--config-dir", str(host.conf))
    host.start(code=ACTIVATE, arguments=(str(path), "beta", MAIN, *serve))
    central = make_host("b", RECEIVES)
    assert central.run("transfer", "connect", "--socket", str(path)).returncode == 0
    assert host.peer("beta")["elements_sent"] == 1
    host.write_config(SENDS, peers(beta={"Listen": str(short_directory / "unused.socket"), "Interval": 5}))
    host.drain()
    host.send(signal.SIGHUP)
    host.hear("READY=1")
    host.store("/host/s", b"more")
    assert central.run("transfer", "connect", "--socket", str(path)).returncode == 0
    assert host.end() == 0
    assert path.exists()
    host.start(code=ACTIVATE, arguments=(str(short_directory / "s2"), "nobody", MAIN, *serve), wait=False)
    assert host.process.wait(PATIENCE) == 1
    assert "which is no peer's" in host.log()


def test_a_command_is_dialled_and_its_last_words_are_the_error(make_host):
    source = make_host("a", SENDS)
    source.store("/host/s", b"content")
    source.start()
    command = ["socat", "-t60", "-b262144", "-,shut-close", f"UNIX-CONNECT:{source.socket}"]
    wrong = ["sh", "-c", "echo it is far away >&2; exit 7"]
    central = make_host("b", RECEIVES, peers(alpha={"Connect": command}, far={"Connect": wrong}))
    result = central.run("transfer", "connect", "--json")
    assert result.returncode == 3
    alpha, far = json.loads(result.stdout)["peers"]
    assert (alpha["error"], alpha["elements_received"]) == (None, 1)
    assert "it is far away" in far["error"]


def test_transfer_stdio_brings_a_peer_of_that_name(make_host):
    source = make_host("a", SENDS, peers(beta={"Stdio": True, "OfferSources": ["/for/*"]}))
    source.store("/for/beta", b"yours")
    source.store("/host/s", b"not yours")
    command = [sys.executable, "-c", MAIN, "transfer", "stdio", "--config-dir", str(source.conf), "--agent"]
    central = make_host("b", RECEIVES)
    dial = ("transfer", "connect", "--command")
    os.environ["PYTHONPATH"] = str(TREE)

    def connect(name):
        return central.run(*dial, " ".join(f"'{part}'" for part in [*command, name]))

    without = connect("beta")
    assert (without.returncode, "no transfer service runs" in without.stderr) == (3, True)
    source.start()
    assert connect("beta").returncode == 0
    assert central.content() == {"/for/beta": b"yours"}
    unknown = connect("gamma")
    assert (unknown.returncode, "no agent is named gamma here" in unknown.stderr) == (3, True)
    assert source.peer("beta")["elements_sent"] == 1


def test_a_reload_has_what_was_refused_tried_again(make_host):
    source = make_host("a", SENDS)
    element_id = source.store("/alpha/s", b"content")
    data = source.data / f"{str(element_id)[1:]}.data"
    data.write_bytes(b"damaged")
    source.start()
    central = make_host("b", RECEIVES, peers(alpha={"Connect": str(source.socket), "Interval": 100_000}))
    central.start()
    central.wait_for(lambda: central.peer("alpha")["refused_lately"])
    data.write_bytes(b"content")
    result = central.run("transfer", "connect")
    assert result.returncode == 3
    assert "left 1 element alone, refused before; until " in result.stderr
    central.send(signal.SIGHUP)
    central.wait_for(lambda: "the configuration was read anew" in central.log())
    assert central.run("transfer", "connect").returncode == 0
    assert central.content() == {"/alpha/s": b"content"}
    assert central.run("transfer", "status").returncode == 0
