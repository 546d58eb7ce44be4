"""Both directions of a connection as tables of states, and two peers joined at random."""

import itertools
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guerillabackup.errors import ConnectionLostError, RemoteProtocolError
from guerillabackup.transfer.frames import MAX_FRAME_SIZE, FrameKind, encode, encode_header
from guerillabackup.transfer.multiplexer import (
    ASKING,
    SERVING,
    Asking,
    PartReceived,
    RequestReceived,
    ResponseReceived,
    Serving,
    ShutdownDone,
    ShutdownOffered,
    Step,
    StreamEnded,
    StreamRequestResponseMultiplexer,
)

REQUEST = encode(FrameKind.REQUEST, b"[1]")
OFFER = encode(FrameKind.REQUEST, b"")
RESPONSE = encode(FrameKind.RESPONSE, b"true")
EMPTY_RESPONSE = encode(FrameKind.RESPONSE, b"")
PART = encode(FrameKind.PART, b"data")
EMPTY_PART = encode(FrameKind.PART, b"")
WIRE = {
    Step.REQUEST: REQUEST,
    Step.OFFER: OFFER,
    Step.PART: PART,
    Step.EMPTY_PART: EMPTY_PART,
    Step.RESPONSE: RESPONSE,
    Step.EMPTY_RESPONSE: EMPTY_RESPONSE,
}
ASKED = {
    Step.REQUEST: lambda mux: mux.send_request(b"[1]"),
    Step.STREAM_REQUEST: lambda mux: mux.send_request(b"[1]", is_stream=True),
    Step.OFFER: lambda mux: mux.offer_shutdown(),
}
SERVED = {
    Step.RESPONSE: lambda mux: mux.send_response(b"true"),
    Step.PART: lambda mux: mux.send_part(b"data"),
    Step.EMPTY_PART: lambda mux: mux.send_part(b""),
}
STREAM_STATES = (Serving.STREAMING, Serving.STREAMED_NOTHING)


def answer_emptily(mux):
    """An empty answer ends a stream where there is one."""
    if mux.serving in STREAM_STATES:
        mux.end_stream()
    else:
        mux.send_response(b"")


SERVED[Step.EMPTY_RESPONSE] = answer_emptily


def path_to(table, start, goal):
    """The steps that lead to a state, by the table."""
    paths = {start: []}
    queue = [start]
    for state in queue:
        for (before, step), after in table.items():
            if before is state and after not in paths:
                paths[after] = [*paths[state], step]
                queue.append(after)
    return paths[goal]


def take_step(mux, step, actions):
    """Do a step of ours, or let the peer do it."""
    if step in actions:
        actions[step](mux)
        return []
    return mux.feed(WIRE[step])


def multiplexer_in(asking=Asking.IDLE, serving=Serving.IDLE):
    mux = StreamRequestResponseMultiplexer()
    for step in path_to(SERVING, Serving.IDLE, serving):
        take_step(mux, step, SERVED)
    for step in path_to(ASKING, Asking.IDLE, asking):
        take_step(mux, step, ASKED)
    assert (mux.asking, mux.serving) == (asking, serving)
    mux.take()
    return mux


@pytest.mark.parametrize(("state", "step"), list(itertools.product(Asking, ASKED)))
def test_we_ask_what_the_table_allows_and_nothing_else(state, step):
    mux = multiplexer_in(asking=state)
    if (state, step) in ASKING:
        ASKED[step](mux)
        assert mux.asking is ASKING[state, step]
        assert mux.take() == (OFFER if step is Step.OFFER else REQUEST)
    else:
        with pytest.raises(RuntimeError, match="cannot send"):
            ASKED[step](mux)
        assert (mux.asking, mux.take()) == (state, b"")


ANSWERS = [Step.PART, Step.EMPTY_PART, Step.RESPONSE, Step.EMPTY_RESPONSE]


@pytest.mark.parametrize(("state", "step"), list(itertools.product(Asking, ANSWERS)))
def test_we_take_the_answers_the_table_allows_and_nothing_else(state, step):
    mux = multiplexer_in(asking=state)
    if (state, step) in ASKING:
        mux.feed(WIRE[step])
        assert mux.asking is ASKING[state, step]
    else:
        with pytest.raises(RemoteProtocolError, match=f"^{step.value} nobody asked for, while {state.value}"):
            mux.feed(WIRE[step])


@pytest.mark.parametrize(("state", "step"), list(itertools.product(Serving, [Step.REQUEST, Step.OFFER])))
def test_the_peer_asks_what_the_table_allows_and_nothing_else(state, step):
    mux = multiplexer_in(serving=state)
    if (state, step) in SERVING:
        mux.feed(WIRE[step])
        assert mux.serving is SERVING[state, step]
    else:
        message = f"^{step.value} out of turn, while we ask nothing and {state.value}$"
        with pytest.raises(RemoteProtocolError, match=message):
            mux.feed(WIRE[step])


@pytest.mark.parametrize(("state", "step"), list(itertools.product(Serving, SERVED)))
def test_we_answer_what_the_table_allows_and_nothing_else(state, step):
    mux = multiplexer_in(serving=state)
    if (state, step) in SERVING:
        SERVED[step](mux)
        assert mux.serving is SERVING[state, step]
        assert mux.take() == WIRE[step]
    elif state is Serving.ANSWERING_TWO:
        with pytest.raises(RemoteProtocolError, match="a request behind the one for a stream"):
            SERVED[step](mux)
    else:
        with pytest.raises(RuntimeError, match="cannot send"):
            SERVED[step](mux)
        assert (mux.serving, mux.take()) == (state, b"")


@pytest.mark.parametrize("state", [state for state in Serving if state not in STREAM_STATES])
def test_only_a_stream_is_ended(state):
    mux = multiplexer_in(serving=state)
    with pytest.raises(RuntimeError, match="no stream to end"):
        mux.end_stream()
    assert mux.take() == b""


def test_a_stream_is_not_ended_by_an_answer():
    mux = multiplexer_in(serving=Serving.STREAMING)
    with pytest.raises(RuntimeError, match="cannot send an answer while it receives a stream"):
        mux.send_response(b"")


def test_every_state_is_reached():
    assert {Asking.IDLE, *ASKING.values()} == set(Asking)
    assert {Serving.IDLE, *SERVING.values()} == set(Serving)


@pytest.mark.parametrize(("asking", "serving"), list(itertools.product(Asking, Serving)))
def test_both_directions_are_independent_until_the_end(asking, serving):
    mux = multiplexer_in(asking, serving)
    assert mux.is_done == (asking is Asking.ACCEPTED and serving is Serving.ACCEPTED)


@pytest.mark.parametrize(("asking", "serving"), list(itertools.product(Asking, Serving)))
def test_the_connection_may_end_only_when_both_sides_agreed_to(asking, serving):
    mux = multiplexer_in(asking, serving)
    if mux.is_done:
        mux.end_of_input()
    else:
        message = f"the peer closed the connection.* while {asking.value} and {serving.value}"
        for call in (mux.end_of_input, mux.end_of_input, mux.take):
            with pytest.raises(ConnectionLostError, match=message):
                call()


@pytest.mark.parametrize("data", [REQUEST[:1], REQUEST[:-1], PART[:-1]])
def test_input_that_ends_within_a_frame_says_so(data):
    mux = multiplexer_in(asking=Asking.AWAITING_STREAM)
    mux.feed(data)
    with pytest.raises(ConnectionLostError, match="closed the connection within a frame while"):
        mux.end_of_input()


def test_rest_behind_the_agreed_end_is_refused():
    mux = multiplexer_in(Asking.ACCEPTED, Serving.ACCEPTED)
    mux.feed(b"S")
    with pytest.raises(ConnectionLostError, match="within a frame"):
        mux.end_of_input()


@pytest.mark.parametrize("asking", Asking)
def test_an_abort_is_refused(asking):
    mux = multiplexer_in(asking)
    with pytest.raises(RemoteProtocolError, match="an abort of a stream, which version 1 does not have"):
        mux.feed(encode(FrameKind.ABORT, b""))


def test_after_an_error_every_call_gives_it_again():
    mux = multiplexer_in(serving=Serving.ANSWERING)
    calls = [
        lambda: mux.feed(RESPONSE),
        lambda: mux.feed(b""),
        lambda: mux.feed(OFFER),
        mux.take,
        mux.end_of_input,
        mux.end_stream,
        mux.offer_shutdown,
        lambda: mux.payload_due,
        lambda: mux.payload_received(0),
        lambda: mux.part_sent(0),
        lambda: mux.send_part(b""),
        lambda: mux.send_request(b"[1]"),
        lambda: mux.send_response(b"true"),
    ]
    for call in calls:
        with pytest.raises(RemoteProtocolError, match=r"^an answer nobody asked for, while we ask nothing"):
            call()


def test_what_came_before_an_error_is_handed_out_first():
    mux = multiplexer_in(asking=Asking.AWAITING)
    assert mux.feed(REQUEST + RESPONSE + b"XXXXX") == [RequestReceived(b"[1]"), ResponseReceived(b"true")]
    with pytest.raises(RemoteProtocolError, match="frame of type b'X'"):
        mux.send_response(b"true")


def test_a_third_request_that_waits_is_refused():
    mux = StreamRequestResponseMultiplexer()
    assert mux.feed(REQUEST * 3) == [RequestReceived(b"[1]")] * 2
    with pytest.raises(RemoteProtocolError, match=r"a request out of turn, while .* it awaits two answers"):
        mux.feed(b"")


def test_the_answers_to_two_requests_come_in_their_order():
    ours, theirs = StreamRequestResponseMultiplexer(), StreamRequestResponseMultiplexer()
    ours.send_request(b"[1]")
    ours.send_request(b"[2]")
    assert theirs.feed(ours.take()) == [RequestReceived(b"[1]"), RequestReceived(b"[2]")]
    theirs.send_response(b"1")
    theirs.send_response(b"2")
    assert ours.feed(theirs.take()) == [ResponseReceived(b"1"), ResponseReceived(b"2")]


def test_messages_have_the_limit_that_was_set():
    mux = StreamRequestResponseMultiplexer(max_message=2)
    with pytest.raises(RemoteProtocolError, match="frame S of 3 bytes, limit 2"):
        mux.feed(REQUEST)


def test_an_empty_request_is_no_request():
    mux = StreamRequestResponseMultiplexer()
    with pytest.raises(ValueError, match="offer to shut down"):
        mux.send_request(b"")
    assert mux.take() == b""


@pytest.mark.parametrize("past", range(5))
def test_payload_may_be_received_past_the_multiplexer(past):
    mux = multiplexer_in(asking=Asking.AWAITING_STREAM)
    assert mux.feed(encode_header(FrameKind.PART, 4)) == []
    assert mux.payload_due == 4
    mux.payload_received(past)
    rest = b"data"[past:]
    assert mux.feed(rest) == ([PartReceived(rest)] if rest else [])
    assert mux.payload_due == 0
    assert mux.feed(EMPTY_RESPONSE) == [StreamEnded()]


def test_an_unasked_part_is_refused_before_its_payload_comes():
    with pytest.raises(RemoteProtocolError, match="a part of a stream nobody asked for"):
        StreamRequestResponseMultiplexer().feed(encode_header(FrameKind.PART, MAX_FRAME_SIZE))


def test_nothing_comes_between_the_header_of_a_part_and_its_payload():
    mux = multiplexer_in(serving=Serving.ANSWERING)
    mux.send_part_header(4)
    mux.send_request(b"[1]")
    assert mux.take() == PART[:5]
    mux.part_sent(3)
    assert mux.take() == b""
    with pytest.raises(RuntimeError, match="1 bytes of the part before have yet to be sent"):
        mux.send_part_header(4)
    with pytest.raises(RuntimeError, match="no stream to end"):
        mux.end_stream()
    mux.part_sent(1)
    mux.end_stream()
    assert mux.take() == REQUEST + EMPTY_RESPONSE


@pytest.mark.parametrize("count", [5, -1])
def test_more_payload_sent_than_announced_is_the_callers_mistake(count):
    mux = multiplexer_in(serving=Serving.ANSWERING)
    mux.send_part_header(4)
    with pytest.raises(ValueError, match="4 were to be"):
        mux.part_sent(count)


@pytest.mark.parametrize("size", [-1, MAX_FRAME_SIZE + 1])
def test_a_part_that_is_too_large_changes_nothing(size):
    mux = multiplexer_in(serving=Serving.ANSWERING)
    with pytest.raises(ValueError, match="limit 1048576"):
        mux.send_part_header(size)
    assert (mux.serving, mux.take()) == (Serving.ANSWERING, b"")


def test_a_message_that_is_too_large_changes_nothing():
    mux = multiplexer_in(serving=Serving.ANSWERING)
    for send in (mux.send_request, mux.send_response):
        with pytest.raises(ValueError, match="limit 1048576"):
            send(bytes(MAX_FRAME_SIZE + 1))
    assert (mux.asking, mux.serving, mux.take()) == (Asking.IDLE, Serving.ANSWERING, b"")


def test_the_side_that_offers_first_still_answers():
    ours, theirs = StreamRequestResponseMultiplexer(), StreamRequestResponseMultiplexer()
    ours.offer_shutdown()
    assert theirs.feed(ours.take()) == [ShutdownOffered()]
    theirs.send_request(b"[1]")
    assert ours.feed(theirs.take()) == [RequestReceived(b"[1]")]
    ours.send_response(b"true")
    assert theirs.feed(ours.take()) == [ResponseReceived(b"true")]
    theirs.offer_shutdown()
    assert ours.feed(theirs.take()) == [ShutdownOffered(), ShutdownDone()]
    assert theirs.feed(ours.take()) == [ShutdownDone()]


def test_both_sides_may_offer_at_once():
    ours, theirs = StreamRequestResponseMultiplexer(), StreamRequestResponseMultiplexer()
    ours.offer_shutdown()
    theirs.offer_shutdown()
    from_us, from_them = ours.take(), theirs.take()
    assert (ours.feed(from_them), theirs.feed(from_us)) == ([ShutdownOffered()], [ShutdownOffered()])
    from_us, from_them = ours.take(), theirs.take()
    assert (ours.feed(from_them), theirs.feed(from_us)) == ([ShutdownDone()], [ShutdownDone()])


def ask_two(mux):
    mux.send_request(b"[1]")
    mux.send_request(b"[2]")


TURNS = [
    (ask_two, REQUEST + RESPONSE + REQUEST + EMPTY_RESPONSE),
    (lambda mux: mux.send_request(b"[3]", is_stream=True), PART + PART + EMPTY_RESPONSE),
    (lambda mux: mux.send_request(b"[4]", is_stream=True), EMPTY_PART + REQUEST + EMPTY_RESPONSE),
    (lambda mux: mux.offer_shutdown(), OFFER + EMPTY_RESPONSE),
]
"""What we do, and all that the peer sends then."""


@pytest.mark.parametrize("size", range(1, 40))
def test_a_conversation_survives_pieces_of_any_size(size):
    mux = StreamRequestResponseMultiplexer()
    events = []
    for act, sent in TURNS:
        act(mux)
        for start in range(0, len(sent), size):
            for event in mux.feed(sent[start : start + size]):
                if isinstance(event, RequestReceived):
                    mux.send_response(b"true")
                if isinstance(event, PartReceived) and isinstance(events[-1], PartReceived):
                    event = PartReceived(events.pop().data + event.data)
                events.append(event)
    assert events == [
        RequestReceived(b"[1]"),
        ResponseReceived(b"true"),
        RequestReceived(b"[1]"),
        ResponseReceived(b""),
        PartReceived(b"datadata"),
        StreamEnded(),
        RequestReceived(b"[1]"),
        StreamEnded(),
        ShutdownOffered(),
        ShutdownDone(),
    ]


@dataclass
class Peer:
    """A side that offers `elements` and takes those of the other side, then shuts down."""

    elements: list[bytes]
    part_size: int
    mux: StreamRequestResponseMultiplexer = field(default_factory=StreamRequestResponseMultiplexer)
    taken: list[bytes] = field(default_factory=list)
    is_receiving: bool = False
    is_done: bool = False
    position: int = -1
    output: bytearray = field(default_factory=bytearray)

    def begin(self):
        self.mux.send_request(b"next")
        self.mux.send_request(b"info")

    def receive(self, data, goes_past):
        """Take input; payload of parts goes past the multiplexer where the test says so."""
        while data:
            due = min(self.mux.payload_due, len(data)) if goes_past else 0
            if due:
                self.taken[-1] += data[:due]
                self.mux.payload_received(due)
                data = data[due:]
            else:
                length = 5 if goes_past else len(data)
                events = self.mux.feed(data[:length])
                data = data[length:]
                for event in events:
                    self.handle(event)
        self.output += self.mux.take()

    def handle(self, event):
        match event:
            case RequestReceived(b"next"):
                self.position += 1
                self.mux.send_response(b"true" if self.position < len(self.elements) else b"false")
            case RequestReceived(b"info"):
                self.mux.send_response(b"info %d" % self.position)
            case RequestReceived():
                self.send_stream(self.elements[self.position])
            case ResponseReceived(b"true"):
                self.taken.append(b"")
            case ResponseReceived(b"false"):
                self.is_done = True
            case ResponseReceived():
                if self.is_done:
                    self.mux.offer_shutdown()
                else:
                    self.mux.send_request(b"stream", is_stream=True)
            case PartReceived(data):
                self.taken[-1] += data
            case StreamEnded():
                self.begin()

    def send_stream(self, data):
        for start in range(0, max(1, len(data)), self.part_size):
            part = data[start : start + self.part_size]
            if start % 2:
                self.mux.send_part(part)
            else:
                self.mux.send_part_header(len(part))
                self.output += self.mux.take() + part
                self.mux.part_sent(len(part))
        self.mux.end_stream()


ELEMENTS = st.lists(st.binary(max_size=60), max_size=5)


@settings(deadline=None)
@given(ours=ELEMENTS, theirs=ELEMENTS, part_size=st.integers(1, 20), seed=st.integers(0, 1 << 32))
def test_any_two_peers_joined_by_any_cuts_end_with_the_same_elements(ours, theirs, part_size, seed):
    peers = [Peer(ours, part_size), Peer(theirs, 7)]
    random = Random(seed)
    for peer in peers:
        peer.begin()
        peer.output += peer.mux.take()
    while any(peer.output for peer in peers):
        sender, receiver = random.sample(peers, 2)
        piece = bytes(sender.output[: random.randint(1, 40)])
        del sender.output[: len(piece)]
        receiver.receive(piece, random.random() < 0.5)
    assert [peer.taken for peer in peers] == [theirs, ours]
    for peer in peers:
        assert peer.mux.is_done
        peer.mux.end_of_input()


@settings(deadline=None)
@given(
    asking=st.sampled_from(Asking),
    serving=st.sampled_from(Serving),
    frames=st.lists(st.sampled_from([*WIRE.values(), b"A\0\0\0\0", b"X"]), max_size=6),
    cuts=st.sets(st.integers(0, 60)),
)
def test_whatever_a_peer_sends_has_one_meaning_however_it_is_cut(asking, serving, frames, cuts):
    data = b"".join(frames)
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[start:end] for start, end in itertools.pairwise(places)]

    def meaning(pieces):
        mux = multiplexer_in(asking, serving)
        events = []
        try:
            for piece in (*pieces, b""):
                events += mux.feed(piece)
            sent = mux.take()
        except RemoteProtocolError as error:
            sent = str(error)
        received = b"".join(event.data for event in events if isinstance(event, PartReceived))
        return [event for event in events if not isinstance(event, PartReceived)], received, sent

    assert meaning(pieces) == meaning([data])
