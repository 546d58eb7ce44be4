"""Feeds bytes of any kind to the cores of the transfer protocol, which may answer with errors of ours only.

    .venv/bin/python3 test/fuzz/fuzz_transfer.py NEW_INPUTS test/fuzz/corpus [LIBFUZZER OPTIONS...]

`make fuzz` does that, with atheris (pip extra fuzz). test_fuzz_transfer.py runs the same target in the suite
without it: over the corpus, and over mutations of it from a fixed seed.
Touches: sys.
"""

import sys
from collections.abc import Callable
from typing import Any, TypeGuard

from guerillabackup.errors import IntegrityError, RemoteProtocolError
from guerillabackup.transfer import messages
from guerillabackup.transfer.frames import FrameDecoder, Part, PartData
from guerillabackup.transfer.interface import ElementOffer
from guerillabackup.transfer.multiplexer import (
    PartReceived,
    RequestReceived,
    ResponseReceived,
    StreamRequestResponseMultiplexer,
)

MAX_PIECE = 7


def one_input(data: bytes) -> None:
    """One run: the first byte says for what, the second how the rest is cut."""
    if len(data) < 2:
        return
    target = TARGETS[data[0] % len(TARGETS)]
    target(data[1], data[2:])


def fuzz_frames(cut: int, data: bytes) -> None:
    """However it is cut, and whether payload goes past the decoder or not, input means the same."""
    whole = _frames([data], False)
    assert _frames(_pieces(cut, data), False) == whole
    assert _frames(_pieces(cut, data), True) == whole


def fuzz_multiplexer(cut: int, data: bytes) -> None:
    """A peer says anything: the events and what is sent do not depend on the cuts of a frame."""
    mux = StreamRequestResponseMultiplexer(max_message=1 << 16)
    ASKED[cut % len(ASKED)](mux)
    waiting = []
    try:
        for piece in _pieces(cut, data):
            assert mux.payload_due >= 0
            for event in mux.feed(piece):
                if isinstance(event, RequestReceived):
                    waiting.append(event.payload)
                elif isinstance(event, ResponseReceived):
                    assert len(event.payload) <= 1 << 16
                elif isinstance(event, PartReceived):
                    assert event.data
            assert len(waiting) <= 2
            if waiting:
                _answer(mux, waiting.pop(0), is_last=not waiting)
            mux.take()
        mux.end_of_input()
    except RemoteProtocolError as error:
        _assert_dead(mux, error)
    else:
        assert mux.is_done


def fuzz_request(_: int, data: bytes) -> None:
    _parse_both_ways(messages.parse_request, messages.encode_request, data)


def fuzz_policy_info(_: int, data: bytes) -> None:
    _parse_both_ways(
        messages.parse_policy_info,
        lambda info: messages.encode_policy_info(info.policy, info.announcement),
        data,
    )


def fuzz_has_element(_: int, data: bytes) -> None:
    _parse_both_ways(messages.parse_has_element, messages.encode_has_element, data)


def fuzz_element_info(_: int, data: bytes) -> None:
    _parse_both_ways(messages.parse_element_info, messages.encode_element_info, data)


def fuzz_group(_: int, data: bytes) -> None:
    def write(group: tuple[ElementOffer | IntegrityError, ...]) -> bytes:
        return messages.encode_group(messages.encode_grouped(one) for one in group if is_whole(one))

    def parse(payload: bytes) -> tuple[ElementOffer, ...]:
        group = messages.parse_group(payload, messages.MAX_GROUP)
        assert len(group) <= messages.MAX_GROUP
        return tuple(one for one in group if is_whole(one))

    def is_whole(one: ElementOffer | IntegrityError) -> TypeGuard[ElementOffer]:
        return isinstance(one, ElementOffer)

    _parse_both_ways(parse, write, data)


TARGETS: list[Callable[[int, bytes], None]] = [
    fuzz_frames,
    fuzz_multiplexer,
    fuzz_request,
    fuzz_policy_info,
    fuzz_has_element,
    fuzz_element_info,
    fuzz_group,
]
ASKED: list[Callable[[StreamRequestResponseMultiplexer], None]] = [
    lambda mux: None,
    lambda mux: mux.send_request(b"[]"),
    lambda mux: (mux.send_request(b"[]"), mux.send_request(b"[]"))[0],
    lambda mux: mux.send_request(b"[]", is_stream=True),
    lambda mux: mux.offer_shutdown(),
]


def _pieces(cut: int, data: bytes) -> list[bytes]:
    size = cut % MAX_PIECE + 1
    return [data[start : start + size] for start in range(0, len(data), size)]


def _frames(pieces: list[bytes], goes_past: bool) -> tuple[list[Any], str]:
    """What was decoded, parts joined, and the error it ended with."""
    decoder = FrameDecoder(max_message=1 << 16)
    whole: list[Any] = []
    try:
        for piece in (*pieces, b""):
            past = min(decoder.payload_due, len(piece)) if goes_past else 0
            if past:
                decoder.payload_received(past)
                whole[-1] = (whole[-1][0], whole[-1][1] + piece[:past])
            for item in decoder.feed(piece[past:]):
                if isinstance(item, Part):
                    whole.append((item.size, item.data))
                elif isinstance(item, PartData):
                    whole[-1] = (whole[-1][0], whole[-1][1] + item.data)
                else:
                    whole.append(item)
    except RemoteProtocolError as error:
        return whole, str(error)
    return whole, ""


def _answer(mux: StreamRequestResponseMultiplexer, payload: bytes, *, is_last: bool) -> None:
    try:
        request = messages.parse_request(payload)
    except RemoteProtocolError:
        mux.send_response(b"null")
        return
    if isinstance(request, messages.GetDataElementStream) and is_last:
        mux.send_part(b"data")
        mux.end_stream()
    else:
        mux.send_response(messages.encode_has_element(True))


def _assert_dead(mux: StreamRequestResponseMultiplexer, error: RemoteProtocolError) -> None:
    again = _error_of(mux.take)
    assert again is error, "a connection is alive after an error"


def _parse_both_ways(parse: Callable[[bytes], Any], write: Callable[[Any], bytes], data: bytes) -> None:
    error = _error_of(lambda: parse(data))
    if error is None:
        value = parse(data)
        assert parse(write(value)) == value
    else:
        assert len(str(error)) < 2000
        assert str(error).isprintable()


def _error_of(call: Callable[[], object]) -> Exception | None:
    """What the call raised of what it may raise."""
    try:
        call()
    except (RemoteProtocolError, IntegrityError) as error:
        return error
    return None


def main() -> None:
    """Fuzz until told to stop; the arguments are libFuzzer's."""
    import atheris

    atheris.instrument_all()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
