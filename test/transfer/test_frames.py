"""The frames of the wire: every cut of the input, every limit, and payload that goes past the decoder."""

import itertools
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerillabackup.errors import RemoteProtocolError
from guerillabackup.transfer.frames import (
    HEADER_SIZE,
    MAX_FRAME_SIZE,
    Frame,
    FrameDecoder,
    FrameKind,
    Part,
    PartData,
    encode,
    encode_header,
)

STREAM = (
    encode(FrameKind.REQUEST, b'["getPolicyInfo"]')
    + encode(FrameKind.PART, b"0123456789")
    + encode(FrameKind.PART, b"")
    + encode(FrameKind.PART, b"abc")
    + encode(FrameKind.RESPONSE, b"")
    + encode(FrameKind.REQUEST, b"")
    + encode(FrameKind.ABORT, b"!")
)
MEANING = [
    Frame(FrameKind.REQUEST, b'["getPolicyInfo"]'),
    (10, b"0123456789"),
    (0, b""),
    (3, b"abc"),
    Frame(FrameKind.RESPONSE, b""),
    Frame(FrameKind.REQUEST, b""),
    Frame(FrameKind.ABORT, b"!"),
]


def joined(items):
    """Frames, and parts as (size, data), however they were handed out."""
    whole = []
    for item in items:
        if isinstance(item, Part):
            whole.append((item.size, item.data))
        elif isinstance(item, PartData):
            size, data = whole.pop()
            whole.append((size, data + item.data))
        else:
            whole.append(item)
    return whole


def outcome(pieces, **limits):
    """What a decoder hands out for these pieces, and the error it ends with."""
    decoder = FrameDecoder(**limits)
    items = []
    try:
        for piece in (*pieces, b""):
            items += decoder.feed(piece)
    except RemoteProtocolError as error:
        return joined(items), str(error)
    return joined(items), None


def pieces_of(data, cuts):
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    return [data[start:end] for start, end in itertools.pairwise(places)]


def wrong(header, payload=b"xxxxxxxx"):
    return encode(FrameKind.REQUEST, b"[1]") + encode(FrameKind.PART, b"ab") + header + payload


@pytest.mark.parametrize("size", range(1, len(STREAM) + 1))
def test_frames_survive_pieces_of_any_size(size):
    pieces = [STREAM[start : start + size] for start in range(0, len(STREAM), size)]
    assert outcome(pieces) == (MEANING, None)


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_frames_survive_a_cut_at_any_byte(cut):
    assert outcome([STREAM[:cut], STREAM[cut:]]) == (MEANING, None)


@given(cuts=st.sets(st.integers(0, len(STREAM))))
def test_frames_survive_any_cuts(cuts):
    assert outcome(pieces_of(STREAM, cuts)) == (MEANING, None)


@given(data=st.binary(max_size=40), cuts=st.sets(st.integers(0, 40)))
def test_any_bytes_have_one_meaning_however_they_are_cut(data, cuts):
    assert outcome(pieces_of(data, cuts)) == outcome([data])


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"X\x00\x00\x00\x00", "frame of type b'X', which is none of A, P, R and S"),
        (b"\x00\x00\x00\x00\x00", "frame of type b'\\x00', which is none of A, P, R and S"),
        (b"S\x01\x00\x10\x00", "frame S of 1048577 bytes, limit 1048576"),
        (b"P\x01\x00\x10\x00", "frame P of 1048577 bytes, limit 1048576"),
        (b"R\xff\xff\xff\xff", "frame R of 4294967295 bytes, limit 1048576"),
    ],
)
def test_a_wrong_header_is_refused_after_the_frames_before_it_at_any_cut(header, message):
    data = wrong(header)
    for cut in range(len(data)):
        items, error = outcome([data[:cut], data[cut:]])
        assert (items, error) == ([Frame(FrameKind.REQUEST, b"[1]"), (2, b"ab")], message)


def test_messages_have_a_smaller_limit_where_one_is_set_and_parts_keep_theirs():
    assert outcome([encode(FrameKind.PART, bytes(100))], max_message=10) == ([(100, bytes(100))], None)
    assert outcome([encode(FrameKind.REQUEST, bytes(10))], max_message=10)[1] is None
    assert outcome([b"S" + struct.pack("<I", 11)], max_message=10) == ([], "frame S of 11 bytes, limit 10")


def test_no_setting_raises_the_limit_of_the_wire():
    header = b"S" + struct.pack("<I", MAX_FRAME_SIZE + 1)
    assert outcome([header], max_message=1 << 30)[1] == "frame S of 1048577 bytes, limit 1048576"


def test_the_largest_frames_are_taken():
    payload = bytes(MAX_FRAME_SIZE)
    data = encode(FrameKind.REQUEST, payload) + encode(FrameKind.PART, payload)
    assert outcome([data]) == ([Frame(FrameKind.REQUEST, payload), (MAX_FRAME_SIZE, payload)], None)


def test_a_decoder_that_refused_something_gives_the_same_error_ever_after():
    decoder = FrameDecoder()
    for call in (lambda: decoder.feed(b"X" * 5), lambda: decoder.feed(STREAM), lambda: decoder.feed(b"")):
        with pytest.raises(RemoteProtocolError, match="frame of type b'X'"):
            call()
    with pytest.raises(RemoteProtocolError, match="frame of type b'X'"):
        decoder.payload_received(0)


def test_the_error_is_known_with_the_frames_before_it():
    decoder = FrameDecoder()
    assert decoder.feed(encode(FrameKind.REQUEST, b"[]") + b"XXXXX") == [Frame(FrameKind.REQUEST, b"[]")]
    assert str(decoder.error) == "frame of type b'X', which is none of A, P, R and S"


@pytest.mark.parametrize("with_header", range(11))
@pytest.mark.parametrize("past", range(11))
def test_payload_may_go_past_the_decoder_from_any_byte_to_any_byte(with_header, past):
    payload = b"0123456789"
    decoder = FrameDecoder()
    (part,) = decoder.feed(encode_header(FrameKind.PART, 10) + payload[:with_header])
    assert (part, decoder.payload_due) == (Part(10, payload[:with_header]), 10 - with_header)
    past = min(past, decoder.payload_due)
    decoder.payload_received(past)
    rest = payload[with_header + past :]
    items = decoder.feed(rest + encode(FrameKind.RESPONSE, b""))
    assert items == ([PartData(rest)] if rest else []) + [Frame(FrameKind.RESPONSE, b"")]


def test_nothing_fed_is_nothing_handed_out_within_payload_too():
    decoder = FrameDecoder()
    decoder.feed(encode_header(FrameKind.PART, 10))
    assert decoder.feed(b"") == []
    assert decoder.feed(b"0123") == [PartData(b"0123")]
    assert decoder.feed(b"") == []
    assert decoder.payload_due == 6


def test_more_payload_than_was_due_is_the_callers_mistake():
    decoder = FrameDecoder()
    decoder.feed(encode_header(FrameKind.PART, 10) + b"0123")
    for count in (7, -1):
        with pytest.raises(ValueError, match="6 were due"):
            decoder.payload_received(count)
    decoder.payload_received(6)
    assert decoder.feed(encode(FrameKind.RESPONSE, b"")) == [Frame(FrameKind.RESPONSE, b"")]


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_it_is_known_whether_input_may_end_here(cut):
    ends = {0, 22, 37, 42, 50, 55, 60, 66}
    decoder = FrameDecoder()
    decoder.feed(STREAM[:cut])
    assert decoder.is_between_frames == (cut in ends)


def test_what_is_fed_may_be_a_buffer_that_is_used_again():
    buffer = bytearray(encode(FrameKind.REQUEST, b"[1]") + encode(FrameKind.PART, b"abc")[:-1])
    decoder = FrameDecoder()
    items = decoder.feed(memoryview(buffer))
    buffer[:] = bytes(len(buffer))
    assert items == [Frame(FrameKind.REQUEST, b"[1]"), Part(3, b"ab")]


@pytest.mark.parametrize("kind", FrameKind)
def test_what_is_encoded_is_decoded(kind):
    assert outcome([encode(kind, b"payload")])[0] in ([Frame(kind, b"payload")], [(7, b"payload")])


@pytest.mark.parametrize("size", [-1, MAX_FRAME_SIZE + 1])
def test_a_frame_that_nobody_would_take_is_not_made(size):
    with pytest.raises(ValueError, match="limit 1048576"):
        encode_header(FrameKind.PART, size)


def test_a_header_is_of_five_bytes_in_little_endian():
    assert encode_header(FrameKind.PART, 0x010203) == b"P\x03\x02\x01\x00"
    assert HEADER_SIZE == 5
