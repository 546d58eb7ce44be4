"""The wire's JSON: what it refuses, that it does so at once, and with no other error than its own."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerillabackup.errors import RemoteProtocolError
from guerillabackup.transfer.json_text import MAX_DEPTH, MAX_DIGITS, decode, encode, excerpt, freeze

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(value=VALUES)
def test_what_is_encoded_is_decoded(value):
    assert decode(encode(value), "it") == value


@given(value=VALUES)
def test_a_frozen_value_is_encoded_as_the_value_was(value):
    assert encode(freeze(value)) == encode(value)


@given(payload=st.binary(max_size=60) | st.text('[]{}",:\\u0d8eE+-.19tnNI \n', max_size=60).map(str.encode))
def test_any_bytes_are_a_value_or_the_one_error(payload):
    try:
        value = decode(payload, "it")
    except RemoteProtocolError:
        return
    assert value == json.loads(payload)


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "it is not JSON in ASCII"),
        (b"[1", "it is not JSON in ASCII"),
        (b"[1]]", "it is not JSON in ASCII"),
        (b"\xef\xbb\xbf[1]", "it is not JSON in ASCII"),
        ('"ä"'.encode(), "it is not JSON in ASCII"),
        (b'"a\nb"', "it is not JSON in ASCII"),
        (b"NaN", "it: NaN, which JSON does not have"),
        (b"[-Infinity]", "it: -Infinity, which JSON does not have"),
        (b"1e999", "it: the number 1e999 is too large"),
        (b"[" + b"9" * (MAX_DIGITS + 1) + b"]", "it: a number of 33 characters, limit 32"),
        (b"0." + b"1" * MAX_DIGITS, "it: a number of 34 characters, limit 32"),
        (b"9" * 100_000, "it: a number of 100000 characters, limit 32"),
        (b'{"a": 1, "a": 1}', "it: a key twice in one object"),
        (b'[{"b": {"a": 1, "\\u0061": 2}}]', "it: a key twice in one object"),
        (b'"\\ud800"', "it holds half of a surrogate pair"),
        (b'[{"\\uDfff": 1}]', "it holds half of a surrogate pair"),
        (b"[" * 33 + b"]" * 33, "it: nested deeper than 32 levels"),
        (b'{"a":' * 33 + b"1" + b"}" * 33, "it: nested deeper than 32 levels"),
        (b"[" * (1 << 20), "it: nested deeper than 32 levels"),
        (b'{"a":' * 200_000, "it: nested deeper than 32 levels"),
    ],
)
def test_what_is_not_the_wires_json_is_refused_with_its_reason(payload, message):
    with pytest.raises(RemoteProtocolError) as caught:
        decode(payload, "it")
    assert str(caught.value).startswith(message)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "value",
    [
        [[]] * 100,
        [{"a": {}}] * 100,
        json.loads("[" * MAX_DEPTH + "]" * MAX_DEPTH),
        ['["\\[[{{' * 100, {'"[[[': '\\"]]'}],
        "😀 is a pair of surrogates in ASCII",
        10 ** (MAX_DIGITS - 1),
    ],
)
def test_what_only_looks_deep_large_or_broken_is_taken(value):
    assert decode(encode(value), "it") == value


@pytest.mark.parametrize("unit", [b'"', b'\\"', b'"\\', b"\\\\", b'"[', b'""'])
def test_the_time_to_refuse_nonsense_grows_with_its_length_only(unit):
    # A quadratic scan would take hours, and the suite's time limit ends it.
    for payload in (b"[" * 40 + b'"' + unit * 400_000, b'["' + unit * 400_000 + b"[" * 40 + b"\\"):
        with pytest.raises(RemoteProtocolError):
            decode(payload, "it")


def test_a_value_in_a_message_is_short_whatever_it_is():
    for value in ("x" * 1000, ["x" * 1000], "\n" * 1000, "ä\x1b[31m", 5, None):
        text = excerpt(value)
        assert len(text) <= 61
        assert text.isprintable()
