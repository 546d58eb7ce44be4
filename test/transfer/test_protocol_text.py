"""doc/Protocol.txt says what the code does: its examples, state tables and limits, read out of the page."""

import re
from pathlib import Path

import pytest

from guerillabackup import element
from guerillabackup.transfer import announcement_json, frames, interface, json_text, messages
from guerillabackup.transfer.frames import FrameDecoder, FrameKind, Part, encode
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

TEXT = (Path(__file__).parents[2] / "doc" / "Protocol.txt").read_text("ascii")
SECTIONS = dict(re.findall(r"^(\w.*)\n-+\n((?:.*\n)*?)(?=\w.*\n-+\n|\Z)", TEXT, re.MULTILINE))
EXAMPLE = re.compile(
    r"^    (->|<-) ([0-9a-f ]{14})(?: (.*))?\n((?:       \| .*\n)*)       ([^|].*)\n((?:       \| .*\n)*)",
    re.M,
)
LINE = re.compile(r"^    ([AB])> ([0-9a-f ]{14})(?: (.*))?$", re.MULTILINE)
STREAM_MEANING = ("Part", "End", "Offer")
ANSWERS = {
    "PolicyInfo": (
        messages.parse_policy_info,
        lambda info: messages.encode_policy_info(info.policy, info.announcement),
    ),
    "ElementOffer": (messages.parse_element_info, messages.encode_element_info),
    "True": (messages.parse_has_element, messages.encode_has_element),
    "False": (messages.parse_has_element, messages.encode_has_element),
    "(": (
        lambda payload: messages.parse_group(payload, messages.MAX_GROUP),
        lambda group: messages.encode_group(messages.encode_grouped(offer) for offer in group),
    ),
}


def continued(first, rest):
    return (first or "") + "".join(line[9:] for line in rest.splitlines())


def frame_bytes(header, payload):
    return bytes.fromhex(header) + payload.encode("ascii")


EXAMPLES = [
    (arrow, frame_bytes(header, continued(payload, more)), continued(meaning, more_meaning))
    for arrow, header, payload, more, meaning, more_meaning in EXAMPLE.findall(TEXT)
]


def decoded(data):
    """The kind and payload of the one frame that the bytes are."""
    decoder = FrameDecoder()
    (item,) = decoder.feed(data)
    assert decoder.is_between_frames
    return (FrameKind.PART, item.data) if isinstance(item, Part) else (item.kind, item.payload)


def test_no_example_is_left_out():
    arrows = len(re.findall(r"^    (?:->|<-) ", TEXT, re.MULTILINE))
    assert len(EXAMPLES) == arrows >= 20
    assert {method for method in messages.METHODS if f'["{method}"' in TEXT} == set(messages.METHODS)


@pytest.mark.parametrize(("arrow", "data", "meaning"), EXAMPLES)
def test_the_bytes_of_an_example_are_its_meaning_and_its_meaning_these_bytes(arrow, data, meaning):
    kind, payload = decoded(data)
    assert encode(kind, payload) == data
    if meaning in STREAM_MEANING:
        assert (kind, bool(payload)) == {
            "Part": (FrameKind.PART, True),
            "End": (FrameKind.RESPONSE, False),
            "Offer": (FrameKind.REQUEST, False),
        }[meaning]
    elif arrow == "->":
        request = messages.parse_request(payload)
        assert (kind, repr(request)) == (FrameKind.REQUEST, meaning)
        assert messages.encode_request(request) == payload
    elif not payload:
        assert repr(messages.parse_started(payload)) == meaning
        assert messages.encode_started() == payload
    elif meaning == "None":
        assert messages.parse_element_info(payload) is None
        assert messages.encode_element_info(None) == payload
    else:
        parse, write = ANSWERS[re.match(r"\w+|\(", meaning)[0]]
        answer = parse(payload)
        assert (kind, repr(answer)) == (FrameKind.RESPONSE, meaning)
        assert write(answer) == payload


def test_the_first_example_is_given_in_all_its_bytes():
    (digits,) = re.findall(r"^    53 11 00 00 00  ([0-9a-f ]+)$", TEXT, re.MULTILINE)
    assert bytes.fromhex(f"5311000000 {digits}") == EXAMPLES[0][1]


def test_the_types_of_frames_are_all_there():
    found = re.findall(r"^    ([A-Z])   ([0-9a-f]{2})   ", SECTIONS["Frames"], re.MULTILINE)
    assert {(letter.encode(), bytes.fromhex(code)) for letter, code in found} == {
        (kind.value, kind.value) for kind in FrameKind
    }


def say(mux, data):
    """Let one side do what makes it send these bytes."""
    kind, payload = decoded(data)
    if kind is FrameKind.REQUEST:
        if payload:
            mux.send_request(payload, is_stream=b"Stream" in payload)
        else:
            mux.offer_shutdown()
    elif kind is FrameKind.PART:
        mux.send_part(payload)
    elif mux.serving is Serving.STREAMING:
        mux.end_stream()
    elif mux.serving is not Serving.ACCEPTED or payload:
        # The answer to an offer to shut down makes itself.
        mux.send_response(payload)


def test_the_whole_transfer_is_what_two_multiplexers_do():
    sides = {"A": StreamRequestResponseMultiplexer(), "B": StreamRequestResponseMultiplexer()}
    seen = {"A": [], "B": []}
    for name, header, payload in LINE.findall(SECTIONS["A whole transfer"]):
        other = "B" if name == "A" else "A"
        data = frame_bytes(header, payload)
        say(sides[name], data)
        assert sides[name].take() == data
        seen[other] += sides[other].feed(data)
    for name in sides:
        assert seen[name][-1] == ShutdownDone()
        sides[name].end_of_input()
    assert [type(event) for event in seen["A"]] == [
        RequestReceived,
        ResponseReceived,
        ShutdownOffered,
        ResponseReceived,
        ResponseReceived,
        ResponseReceived,
        PartReceived,
        StreamEnded,
        ResponseReceived,
        ShutdownDone,
    ]


STEPS = {
    "S": Step.REQUEST,
    "S, stream": Step.STREAM_REQUEST,
    "S, empty": Step.OFFER,
    "P": Step.PART,
    "P, empty": Step.EMPTY_PART,
    "R": Step.RESPONSE,
    "R, empty": Step.EMPTY_RESPONSE,
}
OURS = {Asking: "send", Serving: "get"}


@pytest.mark.parametrize(
    ("name", "table", "states"), [("ASKING", ASKING, Asking), ("SERVING", SERVING, Serving)]
)
def test_the_tables_of_states_are_those_of_the_code(name, table, states):
    after_title = SECTIONS["States"].split(f"({name} in multiplexer.py):\n\n")[1].split("\n\n")[0]
    found = {}
    for line in after_title.splitlines():
        state, who, step, after = re.fullmatch(
            r"    (\w+) +we (send|get) +([SPR](?:, \w+)?) +(\w+)(?:, and we send R, empty)?", line
        ).groups()
        assert (who == OURS[states]) == step.startswith("S")
        assert (states[state], STEPS[step]) not in found
        found[states[state], STEPS[step]] = states[after]
    assert found == table


def test_the_limits_are_those_of_the_code():
    found = dict(re.findall(r"^    (MAX_\w+) +(\d+)   ", SECTIONS["JSON and limits"], re.MULTILINE))
    modules = (frames, json_text, messages, announcement_json, element)
    for name, number in found.items():
        (value,) = {getattr(module, name) for module in modules if hasattr(module, name)}
        assert value == int(number), name
    assert len(found) == 9


def test_the_features_are_those_of_the_code():
    (features,) = re.findall(r"features of today:\n\n((?:    .*\n)+)", SECTIONS["Announcement"])
    assert [line.split()[0] for line in features.splitlines()] == [interface.EMPTY_ELEMENTS, interface.GROUPS]
