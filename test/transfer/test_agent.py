import logging
import queue
import socket
import threading
from dataclasses import replace

import pytest
from transfer_ends import TakingPolicy, content_file, make_context, socket_channels

from guerillabackup.errors import ConnectionLostError, RemoteProtocolError
from guerillabackup.log_limit import LogLimit
from guerillabackup.transfer.agent import AgentLimits, DefaultTransferAgent, SimpleTransferAgent
from guerillabackup.transfer.channel import Channel
from guerillabackup.transfer.frames import MAX_FRAME_SIZE
from guerillabackup.transfer.interface import ReceiverTransferPolicy
from guerillabackup.transfer.session import end_session, run_session

WAIT = 30.0


class WaitingPolicy(ReceiverTransferPolicy):
    """Does nothing until it is let go, and then fetches nothing."""

    def __init__(self):
        self.began = threading.Semaphore(0)
        self.go = threading.Event()

    def is_sender_policy_compatible(self, policy_info):
        return True

    def apply_policy(self, context):
        self.began.release()
        assert self.go.wait(WAIT)


class Ends(queue.Queue):
    """What connections ended by, as they end."""

    def next(self):
        return self.get(timeout=WAIT)


class Peer:
    """The other end of a connection, in a thread of its own."""

    def __init__(self, channel, elements=None, receiver=None):
        self.context = make_context(channel, elements, receiver)
        self.error = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        try:
            run_session(self.context)
        except Exception as error:
            self.error = error
        finally:
            end_session(self.context)

    def join(self):
        self._thread.join(WAIT)
        assert not self._thread.is_alive()
        return self.error


@pytest.fixture
def agent():
    agent = DefaultTransferAgent(AgentLimits(connections=3, connections_per_peer=2, waiting=2))
    yield agent
    agent.shutdown(0)
    assert agent.join(WAIT)


def status_of(agent, agent_id):
    (status,) = [each for each in agent.status() if each.agent_id == agent_id]
    return status


def test_many_connections_run_at_once_and_are_counted_by_peer(agent):
    ends, peers, policies = Ends(), [], []
    for number in range(3):
        ours, theirs = socket_channels()
        policies.append(TakingPolicy())
        agent.add_connection(
            make_context(ours, {"out": b"xyz"}, policies[-1], agent_id=f"peer{number % 2}"), ends.put
        )
        peers.append(Peer(theirs, {"in": b"content"}, TakingPolicy()))
    assert [ends.next() for _ in peers] == [None] * 3
    assert [peer.join() for peer in peers] == [None] * 3
    assert [policy.taken for policy in policies] == [{"in": b"content"}] * 3
    status = status_of(agent, "peer0")
    assert (status.connections, status.connected_since) == (0, None)
    assert (status.counters.elements_received, status.counters.bytes_sent) == (2, 6)
    assert status.last_success is not None
    assert status.last_error is None


def test_connections_beyond_the_limits_wait_and_those_beyond_that_are_refused(agent, caplog):
    policy, ends = WaitingPolicy(), Ends()
    peers = []
    for agent_id in ("a", "a", "a", "b", "c", "c"):
        ours, theirs = socket_channels()
        agent.add_connection(make_context(ours, {}, policy, agent_id=agent_id), ends.put)
        peers.append(Peer(theirs))
    for _ in range(3):
        assert policy.began.acquire(timeout=WAIT)
    assert {each.agent_id: (each.connections, each.waiting) for each in agent.status()} == {
        "a": (2, 1),
        "b": (1, 0),
        "c": (0, 1),
    }
    assert "peer c: connection refused: 3 connections run and 2 wait" in caplog.text
    assert isinstance(ends.next(), ConnectionLostError)
    assert isinstance(peers[-1].join(), RemoteProtocolError)
    policy.go.set()
    assert [ends.next() for _ in range(5)] == [None] * 5
    assert [peer.join() for peer in peers[:-1]] == [None] * 5


def test_a_broken_peer_ends_its_connection_with_one_line_and_the_next_is_served(agent, caplog):
    caplog.set_level(logging.INFO)
    end, hostile = socket.socketpair()
    ends = Ends()
    hostile.sendall(b"GET / HTTP/1.0\r\n")
    agent.add_connection(make_context(Channel.of_socket(end), agent_id="webby"), ends.put)
    assert "none of A, P, R and S" in str(ends.next())
    hostile.close()
    ours, theirs = socket_channels()
    agent.add_connection(make_context(ours, {"a": b"1"}, agent_id="good"), ends.put)
    policy = TakingPolicy()
    assert Peer(theirs, {}, policy).join() is None
    assert ends.next() is None
    assert policy.taken == {"a": b"1"}
    lines = [record.getMessage() for record in caplog.records if "webby" in record.getMessage()]
    assert len(lines) == 1
    assert lines[0].startswith("peer webby: connection ended: frame of type b'G'")
    assert "none of A, P, R and S" in status_of(agent, "webby").last_error


class BrokenPolicy(WaitingPolicy):
    def apply_policy(self, context):
        raise ZeroDivisionError("of a site's own")


def test_a_policy_that_raises_anything_ends_only_its_connection(agent, caplog):
    ends = Ends()
    ours, theirs = socket_channels()
    agent.add_connection(make_context(ours, {}, BrokenPolicy()), ends.put)
    assert isinstance(Peer(theirs).join(), ConnectionLostError)
    assert str(ends.next()) == "ZeroDivisionError: of a site's own"
    assert "Traceback" not in caplog.text


def test_a_polite_end_lets_elements_that_move_arrive_and_offers_no_more(agent):
    ours, theirs = socket_channels()
    ends, policy = Ends(), TakingPolicy(keeps_content=False)
    big = 30_000_000
    agent.add_connection(
        make_context(ours, {"big": lambda: content_file(b"x" * 65536, big), "later": b"1"}), ends.put
    )
    peer_context = make_context(theirs, {}, policy)
    thread = threading.Thread(target=lambda: (run_session(peer_context), end_session(peer_context)))
    thread.start()
    assert policy.started.wait(WAIT)
    agent.shutdown(WAIT)
    thread.join(WAIT)
    assert ends.next() is None
    assert policy.taken == {"big": big}
    assert agent.join(WAIT)


def test_a_polite_end_stops_what_is_fetched_after_the_present_element(agent):
    ours, theirs = socket_channels()
    ends = Ends()

    class StoppingPolicy(TakingPolicy):
        def _read(self, stream):
            agent.shutdown(WAIT)
            return super()._read(stream)

    policy = StoppingPolicy()
    agent.add_connection(make_context(ours, {}, policy), ends.put)
    peer = Peer(theirs, {"first": b"1", "second": b"2"})
    assert peer.join() is None
    assert ends.next() is None
    assert policy.taken == {"first": b"1"}
    assert peer.context.server.settled == [("first", True, True)]


@pytest.mark.parametrize("seconds", [0, 0.05])
def test_a_peer_that_does_not_agree_to_the_end_is_forced(agent, seconds):
    end, silent = socket.socketpair()
    ends = Ends()
    agent.add_connection(make_context(Channel.of_socket(end)), ends.put)
    agent.shutdown(seconds)
    assert "ended from here" in str(ends.next())
    assert agent.join(WAIT)
    silent.close()


def test_a_second_shutdown_with_less_time_counts(agent):
    end, silent = socket.socketpair()
    ends = Ends()
    agent.add_connection(make_context(Channel.of_socket(end)), ends.put)
    agent.shutdown()
    agent.shutdown(3600)
    assert not agent.join(0.01)
    agent.shutdown(0.01)
    assert isinstance(ends.next(), ConnectionLostError)
    silent.close()


def test_nothing_is_begun_after_a_shutdown(agent):
    agent.shutdown()
    ours, theirs = socket_channels()
    ends = Ends()
    agent.add_connection(make_context(ours), ends.put)
    assert "the service ends" in str(ends.next())
    assert isinstance(Peer(theirs).join(), ConnectionLostError)


def test_the_simple_agent_returns_when_its_connection_is_over():
    agent = SimpleTransferAgent()
    policy = TakingPolicy()
    for _ in range(2):
        ours, theirs = socket_channels()
        peer = Peer(theirs, {"a": b"1"})
        agent.add_connection(make_context(ours, {}, policy))
        assert peer.join() is None
    assert status_of(agent, "peer").counters.elements_received == 2
    agent.shutdown(0)
    ours, theirs = socket_channels()
    agent.add_connection(make_context(ours))
    assert isinstance(Peer(theirs).join(), ConnectionLostError)


def test_a_peer_has_its_places_and_waits_in_its_own_so_that_the_next_one_is_served(caplog):
    agent = DefaultTransferAgent(AgentLimits(8, connections_per_peer=2, waiting=8, waiting_per_peer=2))
    policy, ends, peers = WaitingPolicy(), Ends(), []

    def connect(agent_id, max_connections=None):
        ours, theirs = socket_channels()
        context = make_context(ours, {}, policy, agent_id=agent_id)
        context.rules = replace(context.rules, max_connections=max_connections)
        agent.add_connection(context, ends.put)
        peers.append(Peer(theirs))

    for _ in range(6):
        connect("evil")
    for _ in range(4):
        connect("large", 3)
    connect("good")
    for _ in range(6):
        assert policy.began.acquire(timeout=WAIT)
    assert {each.agent_id: (each.connections, each.waiting) for each in agent.status()} == {
        "evil": (2, 2),
        "large": (3, 1),
        "good": (1, 0),
    }
    assert caplog.text.count("peer evil: connection refused: 2 connections of this peer run and 2 wait") == 2
    policy.go.set()
    assert sum(ends.next() is not None for _ in peers) == 2
    agent.shutdown(0)
    assert agent.join(WAIT)
    for peer in peers:
        peer.join()


def test_a_peer_that_fails_with_each_connection_is_told_of_once_in_a_while(agent, caplog):
    caplog.set_level(logging.INFO)
    now = [0.0]
    limit, ends = LogLimit(lambda: now[0]), Ends()

    def connect_badly(number):
        end, hostile = socket.socketpair()
        hostile.sendall(b"S" + (MAX_FRAME_SIZE + number).to_bytes(4, "little"))
        context = make_context(Channel.of_socket(end), agent_id="evil")
        context.lines = limit
        agent.add_connection(context, ends.put)
        assert ends.next() is not None
        hostile.close()

    for number in range(100):
        connect_badly(1 + number)
        now[0] += 1
    now[0] += 300
    connect_badly(1)
    ours, theirs = socket_channels()
    context = make_context(ours, {"a": b"1"}, agent_id="evil")
    context.lines = limit
    agent.add_connection(context, ends.put)
    assert Peer(theirs, {}, TakingPolicy()).join() is None
    assert ends.next() is None
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 4
    assert told[0].startswith("peer evil: connection ended: ")
    assert told[1].endswith(" (the last such line; held back: 99)")
    assert told[2] == "peer evil: a connection went well again (lines held back: 1)"
    assert told[3].startswith("peer evil: ended as agreed")
