"""Whatever a peer sends, or does not: only its connection ends, with the cause, and the next is served."""

import contextlib
import json
import logging
import os
import socket
import struct
import threading
import time
from dataclasses import replace

import pytest
from transfer_ends import OfferingServer, TakingPolicy, content_file, make_context

from guerillabackup.storage.memory import MemoryStorage
from guerillabackup.transfer.agent import DefaultTransferAgent
from guerillabackup.transfer.channel import Channel
from guerillabackup.transfer.interface import PeerRules
from guerillabackup.transfer.pace import PaceLimits
from guerillabackup.transfer.profile import PeerProfile
from guerillabackup.transfer.session import end_session, run_session

WAIT = 60.0
SHORT = PaceLimits(silence_seconds=1, message_seconds=0.3, progress_seconds=0.3, progress_bytes=10_000)
PATIENT = PaceLimits(silence_seconds=WAIT, message_seconds=WAIT, progress_seconds=WAIT)
OURS = b'["getPolicyInfo"]'
NEXT = b'["nextDataElement", false]'
STREAM = b'["getDataElementStream"]'
TRUE = b'["nextDataElement", true]'
DESCRIBE = b'["getDataElementInfo"]'
START = b'["startTransaction", null]'
POLICY = b'"SenderMoveDataTransferPolicy"'
INFO = json.dumps(["/a", json.dumps({"BackupType": "full", "Timestamp": 1}), None]).encode()


def frame(kind, payload=b""):
    return kind + struct.pack("<I", len(payload)) + payload


def s(payload):
    return frame(b"S", payload)


def r(payload=b""):
    return frame(b"R", payload)


def p(payload=b""):
    return frame(b"P", payload)


class Service:
    """An agent of ours, a hostile peer's connection to it, and what it ended by."""

    def __init__(self):
        self.agent = DefaultTransferAgent()
        self._ended = threading.Event()
        self._errors = []

    def connect(self, *, receiver=None, limits=PATIENT, elements=None, server=None):
        """The hostile end of a new connection, and what serves it."""
        ours, theirs = socket.socketpair()
        server = server or OfferingServer({"a": b"content", "b": b"more"} if elements is None else elements)
        profile = PeerProfile(
            PeerRules("hostile"), MemoryStorage(), None, receiver, self.agent, lambda _: server, limits
        )
        context = profile.connect(Channel.of_socket(ours))
        self.agent.add_connection(context, self._note)
        theirs.settimeout(WAIT)
        return theirs, server

    def _note(self, error):
        self._errors.append(error)
        self._ended.set()

    def ended_by(self):
        assert self._ended.wait(WAIT)
        return str(self._errors[0])

    def serves_the_next_peer(self):
        """Whether another one gets its elements."""
        ours, theirs = socket.socketpair()
        policy = TakingPolicy()
        profile = PeerProfile(
            PeerRules("good"),
            MemoryStorage(),
            None,
            None,
            self.agent,
            lambda _: OfferingServer({"x": b"1"}),
            PATIENT,
        )
        self.agent.add_connection(profile.connect(Channel.of_socket(ours)))
        peer = make_context(Channel.of_socket(theirs), {}, policy)
        run_session(peer)
        end_session(peer)
        return policy.taken == {"x": b"1"}


@pytest.fixture
def service(caplog):
    caplog.set_level(logging.INFO)
    service = Service()
    yield service
    service.agent.shutdown(0)
    assert service.agent.join(WAIT)
    records = caplog.get_records("call")
    lines = [record.getMessage() for record in records if record.levelno >= logging.WARNING]
    assert len([line for line in lines if "hostile" in line]) == 1, lines
    assert "Traceback" not in caplog.text


DEEP = b"[" * 5000 + b"]" * 5000
WRONG = {
    "no protocol at all": (b"GET / HTTP/1.1\r\n\r\n", "it began with b'GET / HTTP/1.1"),
    "an oversize message": (b"S" + struct.pack("<I", 0xFFFFFFFF), "limit 1048576"),
    "an oversize part": (b"P" + struct.pack("<I", (1 << 20) + 1), "limit 1048576"),
    "an unknown method": (s(b'["abortDataElementStream"]'), "method 'abortDataElementStream' is none of"),
    "a method that is no text": (s(b"[5]"), "method 5 is none of"),
    "no list": (s(b'{"method": 1}'), "not a list that begins with a method"),
    "no JSON": (s(b"getPolicyInfo"), "request"),
    "bytes that are no ASCII": (s(b'["getPolicyInf\xff"]'), "request"),
    "deep nesting": (s(DEEP), "request"),
    "a huge number": (s(b'["startTransaction", [' + b"9" * 100_000 + b"]]"), "request"),
    "a key twice": (s(b'["getPolicyInfo", {"versions": [1], "versions": [1]}]'), "request"),
    "an argument of another type": (s(b'["nextDataElement", "yes"]'), "not true or false"),
    "an unknown query": (s(b'["startTransaction", ["x"]]'), "this query is not known"),
    "an answer nobody asked for": (r(POLICY) + r(b"true"), "an answer nobody asked for"),
    "a stream for an answer": (p(b"xx"), "a part of a stream nobody asked for"),
    "an abort": (frame(b"A"), "abort"),
    "data without an element": (s(STREAM), "no element is selected"),
    "a second offer to shut down": (s(b"") + s(b""), "out of turn"),
    "a request after the offer": (s(b"") + s(OURS), "out of turn"),
    "three requests at once": (s(NEXT) * 3, "out of turn"),
    "a request behind the one for a stream": (s(START) + s(NEXT) + s(STREAM) + s(NEXT), "out of turn"),
    "nothing": (b"", "the peer closed the connection and had said nothing: does its end accept us?"),
    "half a frame": (s(OURS)[:7], "the peer closed the connection within a frame"),
    "an announcement that is none": (s(b'["getPolicyInfo", {"versions": "all"}]'), "versions"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_breaks_the_protocol_ends_only_its_connection(service, what):
    sent, cause = WRONG[what]
    hostile, server = service.connect(receiver=TakingPolicy())
    for part in (sent[:3], sent[3:]):
        try:
            hostile.sendall(part)
        except BrokenPipeError:
            break
    hostile.shutdown(socket.SHUT_WR)
    error = service.ended_by()
    assert cause in error or "out of turn" in error or "behind the one for a stream" in error, error
    assert server.is_ended
    assert service.serves_the_next_peer()
    hostile.close()


WRONG_ANSWERS = {
    "a policy that is none": ([r(b"5")], "policy"),
    "an answer that is no JSON": ([r(b"SenderMove")], "getPolicyInfo"),
    "a stream instead of an answer": ([p(b"SenderMove")], "a part of a stream nobody asked for"),
    "an answer with words to startTransaction": ([r(POLICY), r(b"{}")], "startTransaction"),
    "a next element that is no truth": ([r(POLICY), r(), r(b"1") + r(INFO)], "nextDataElement"),
    "a next element that is nothing": ([r(POLICY), r(), r(b"true") + r(b"null")], "says there is none"),
    "an element that is no list": ([r(POLICY), r(), r(b"true") + r(b"7")], "getDataElementInfo"),
    "data that is no stream": ([r(POLICY), r(), r(b"true") + r(INFO), r(b"data")], "nobody asked for"),
    "data that ends without a part": ([r(POLICY), r(), r(b"true") + r(INFO), r()], "nobody asked for"),
    "an empty part within data": ([r(POLICY), r(), r(b"true") + r(INFO), p(b"x") + p()], "an empty part"),
    "parts after an empty one": ([r(POLICY), r(), r(b"true") + r(INFO), p() + p(b"x")], "a part of a stream"),
    "parts after the end": (
        [r(POLICY), r(), r(b"true") + r(INFO), p(b"x") + r() + p(b"y")],
        "nobody asked for",
    ),
    "words at the end of data": (
        [r(POLICY), r(), r(b"true") + r(INFO), p(b"x") + r(b"y")],
        "nobody asked for",
    ),
}


@pytest.mark.parametrize("what", WRONG_ANSWERS)
def test_answers_that_are_wrong_end_only_the_connection(service, what):
    answers, cause = WRONG_ANSWERS[what]
    hostile, _ = service.connect(receiver=TakingPolicy())
    for answer in answers:
        assert hostile.recv(1)  # the request it is for
        hostile.setblocking(False)
        time.sleep(0.01)
        try:
            hostile.recv(1 << 16)
        except BlockingIOError:
            pass
        hostile.settimeout(WAIT)
        hostile.sendall(answer)
    assert cause in service.ended_by()
    assert service.serves_the_next_peer()
    hostile.close()


def trickle(hostile, data, pause=0.02):
    """Send slowly, until the other side has had enough."""
    try:
        for index in range(len(data)):
            hostile.sendall(data[index : index + 1])
            time.sleep(pause)
    except OSError:
        return


SLOW = {
    "silence": (lambda hostile: None, "the peer said nothing for 1 s: is it a transfer service"),
    "a request a byte at a time": (
        lambda hostile: trickle(hostile, s(START) * 100),
        "did not complete a message",
    ),
    "parts of one byte": (
        lambda hostile: (answer_up_to_data(hostile), trickle(hostile, p(b"x") * 10_000)),
        "sent too little of an element's data for 0.3 s",
    ),
    "a part a byte at a time": (
        lambda hostile: (answer_up_to_data(hostile), trickle(hostile, p(bytes(1 << 20)))),
        "sent too little of an element's data for 0.3 s",
    ),
}


def answer_up_to_data(hostile):
    for answer in (r(POLICY), r(), r(b"true") + r(INFO)):
        hostile.recv(1 << 16)
        hostile.sendall(answer)


@pytest.mark.parametrize("what", SLOW)
def test_a_peer_that_is_too_slow_ends_its_connection(service, what):
    act, cause = SLOW[what]
    hostile, _ = service.connect(receiver=TakingPolicy(), limits=SHORT)
    thread = threading.Thread(target=act, args=(hostile,))
    thread.start()
    assert cause in service.ended_by()
    thread.join(WAIT)
    assert service.serves_the_next_peer()
    hostile.close()


def test_a_peer_that_takes_no_data_it_asked_for_ends_its_connection(service):
    big = {"big": lambda: content_file(b"x" * 65536, 50_000_000)}
    hostile, server = service.connect(elements=big, limits=SHORT)
    begin_stream(hostile)
    assert "took too little of an element's data" in service.ended_by()
    assert server.settled == []
    assert service.serves_the_next_peer()
    hostile.close()


def read_answers(hostile, count):
    """Read until so many answers, or the end of a stream, are there; our own request comes in between."""
    data, seen = b"", 0
    while seen < count:
        while len(data) < 5 or len(data) < 5 + struct.unpack_from("<I", data, 1)[0]:
            data += hostile.recv(1 << 16)
        kind, size = data[:1], struct.unpack_from("<I", data, 1)[0]
        data = data[5 + size :]
        seen += kind == b"R"


def begin_stream(hostile):
    """Ask for the data of the first element, and read the beginning of it."""
    for request in (START, NEXT):
        hostile.sendall(s(request))
        read_answers(hostile, 1)
    hostile.sendall(s(STREAM))
    return len(hostile.recv(1000))


def read_all(hostile):
    count = 0
    try:
        while data := hostile.recv(1 << 20):
            count += len(data)
            if data.endswith(r()):
                break
    except ConnectionResetError:
        pass
    return count


def test_a_peer_that_asks_on_and_takes_no_answers_ends_its_connection(service):
    class TalkativeServer(OfferingServer):
        def get_data_element_info(self):
            offer = super().get_data_element_info()
            return replace(offer, metainfo=offer.metainfo.replace(Padding="x" * 200_000))

    hostile, _ = service.connect(server=TalkativeServer({"a": b"1"}))
    for request in (START, NEXT):
        hostile.sendall(s(request))
        read_answers(hostile, 1)
    for _ in range(100):
        time.sleep(0.02)
        try:
            hostile.sendall(s(b'["getDataElementInfo"]'))
        except OSError:
            break
    assert "bytes of answers, limit 4194304" in service.ended_by()
    hostile.close()


def test_an_acknowledgement_without_reading_reaches_the_policy_as_what_it_is(service):
    hostile, server = service.connect()
    for request in (START, NEXT, TRUE):
        hostile.sendall(s(request))
        read_answers(hostile, 1)
    hostile.close()
    service.ended_by()
    assert server.settled == [("a", True, False)]


def test_an_acknowledgement_in_the_middle_of_the_data_is_refused(service):
    hostile, server = service.connect(elements={"a": bytes(50_000_000), "b": b"1"})
    begin_stream(hostile)
    hostile.sendall(s(TRUE))
    assert "out of turn" in service.ended_by()
    assert server.settled == []
    hostile.close()


def test_data_that_is_cut_short_meanwhile_ends_the_connection(service):
    with content_file(b"x" * 65536, 30_000_000) as file:
        hostile, server = service.connect(elements={"a": lambda: os.fdopen(os.dup(file.fileno()), "rb")})
        begin_stream(hostile)
        os.truncate(file.fileno(), 20_000_000)
        read_all(hostile)
    assert "ends after 20000000 of 30000000 bytes: it was changed" in service.ended_by()
    assert server.settled == []
    hostile.close()


def test_data_that_grows_meanwhile_is_sent_as_long_as_it_was(service):
    with content_file(b"x" * 65536, 30_000_000) as file:
        hostile, server = service.connect(elements={"a": lambda: os.fdopen(os.dup(file.fileno()), "rb")})
        count = begin_stream(hostile)
        os.pwrite(file.fileno(), b"more", 30_000_000)
        count += read_all(hostile)
    frames = -(-30_000_000 // (1 << 16)) + 1
    assert count == 30_000_000 + 5 * frames
    hostile.sendall(s(TRUE))
    read_answers(hostile, 1)
    hostile.close()
    service.ended_by()
    assert server.settled == [("a", True, True)]


ASKED = [START, NEXT + b"+", STREAM, TRUE + b"+", STREAM, TRUE + b"+"]
"""A whole session of a client; `+`: with getDataElementInfo in one go."""


def test_a_client_killed_at_any_byte_ends_its_connection_and_nothing_is_taken_for_stored(caplog):
    steps = (
        [s(OURS)] + [s(one[:-1]) + s(DESCRIBE) if one.endswith(b"+") else s(one) for one in ASKED] + [s(b"")]
    )
    total = sum(len(step) for step in steps)
    for cut in range(total):
        service = Service()
        hostile, server = service.connect()
        left = cut
        for step in steps:
            hostile.sendall(step[:left])
            if left < len(step):
                break
            left -= len(step)
            if left:
                read_answers(hostile, 2 if DESCRIBE in step else 1)
        hostile.close()
        assert "the peer closed the connection" in service.ended_by() or "broke" in service.ended_by(), cut
        assert server.is_ended
        acknowledged = [name for name, was_stored, _ in server.settled if was_stored]
        whole = sum(
            cut >= sum(len(step) for step in steps[: index + 1]) - len(s(DESCRIBE)) for index in (4, 6)
        )
        assert acknowledged == ["a", "b"][:whole], cut


def test_a_server_killed_at_any_byte_leaves_only_whole_elements():
    answers = [
        r(POLICY),
        r(),
        r(b"true") + r(INFO),
        p(b"one") + p(b"two") + r(),
        r(b"false") + r(b"null"),
        r(),
    ]
    total = sum(len(answer) for answer in answers)
    for cut in range(total):
        service, policy = Service(), TakingPolicy()
        hostile, _ = service.connect(receiver=policy)
        left = cut
        for answer in answers:
            hostile.recv(1 << 16)
            hostile.sendall(answer[:left])
            if left < len(answer):
                break
            left -= len(answer)
        hostile.close()
        error = service.ended_by()
        assert "the peer closed the connection" in error or "broke" in error, cut
        assert policy.taken == ({"a": b"onetwo"} if cut >= sum(len(one) for one in answers[:4]) else {}), cut


def test_a_peer_that_only_asks_who_this_is_does_not_keep_its_connection(service):
    limits = replace(PATIENT, purpose_seconds=0.5)
    hostile, _ = service.connect(limits=limits)

    def chat():
        with contextlib.suppress(OSError):
            while hostile.recv(1 << 16):
                hostile.sendall(s(OURS))
                time.sleep(0.05)

    thread = threading.Thread(target=chat)
    thread.start()
    hostile.sendall(s(OURS))
    assert "asked for nothing but who this is for 0.5 s" in service.ended_by()
    thread.join(WAIT)
    assert service.serves_the_next_peer()
    hostile.close()
