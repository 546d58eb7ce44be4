"""What is asked and answered: both ways, and what is refused."""

import contextlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.errors import IntegrityError, MetainfoError, RemoteProtocolError
from guerillabackup.transfer.frames import MAX_FRAME_SIZE
from guerillabackup.transfer.interface import EMPTY_ELEMENTS, ElementOffer
from guerillabackup.transfer.messages import (
    METHODS,
    Announcement,
    GetDataElementInfo,
    GetDataElementsStream,
    GetDataElementStream,
    GetPolicyInfo,
    NextDataElement,
    NextDataElements,
    PolicyInfo,
    StartTransaction,
    encode_element_info,
    encode_group,
    encode_grouped,
    encode_has_element,
    encode_policy_info,
    encode_request,
    encode_started,
    parse_element_info,
    parse_group,
    parse_has_element,
    parse_policy_info,
    parse_request,
    parse_started,
)

OURS = Announcement("guerillabackup 0.6.0", (1,), frozenset((EMPTY_ELEMENTS,)))
OURS_JSON = '{"program": "guerillabackup 0.6.0", "versions": [1], "features": ["empty-elements"]}'
REQUESTS = [
    (GetPolicyInfo(), '["getPolicyInfo"]'),
    (GetPolicyInfo(OURS), f'["getPolicyInfo", {OURS_JSON}]'),
    (StartTransaction(), '["startTransaction", null]'),
    (StartTransaction(("SourceUrl", "/a")), '["startTransaction", ["SourceUrl", "/a"]]'),
    (StartTransaction(("x", (1, 2.5, (None, True)))), '["startTransaction", ["x", [1, 2.5, [null, true]]]]'),
    (NextDataElement(False), '["nextDataElement", false]'),
    (NextDataElement(True), '["nextDataElement", true]'),
    (GetDataElementInfo(), '["getDataElementInfo"]'),
    (GetDataElementStream(), '["getDataElementStream"]'),
    (NextDataElements((), 1), '["nextDataElements", [], 1]'),
    (NextDataElements((True, False), 256), '["nextDataElements", [true, false], 256]'),
    (GetDataElementsStream((0, 3, 255)), '["getDataElementsStream", [0, 3, 255]]'),
]
METAINFO = BackupElementMetainfo({"BackupType": "full", "Timestamp": 1, "DataUuid": b"uuid", "Own": "kept"})
INFO = ElementOffer(SourceUrl("/host/etc"), METAINFO)


@pytest.mark.parametrize(("request_", "text"), REQUESTS)
def test_a_request_is_these_bytes_and_these_bytes_the_request(request_, text):
    assert encode_request(request_) == text.encode("ascii")
    assert parse_request(text.encode("ascii")) == request_


def test_every_method_is_in_the_table():
    assert {request.method for request, _ in REQUESTS} == set(METHODS)


def test_a_query_may_hold_objects_which_cannot_be_changed():
    request = parse_request(b'["startTransaction", [{"since": [1, 2]}]]')
    with pytest.raises(TypeError):
        request.query[0]["since"] = 3
    assert encode_request(request) == b'["startTransaction", [{"since": [1, 2]}]]'


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (StartTransaction(), '["startTransaction", null, 1]'),
        (NextDataElement(True), '["nextDataElement", true, {"later": 1}]'),
        (GetDataElementInfo(), '["getDataElementInfo", null]'),
        (GetDataElementStream(), '["getDataElementStream", 0, []]'),
    ],
)
def test_items_that_no_method_takes_are_ignored_as_by_the_original(request_, text):
    assert parse_request(text.encode("ascii")) == request_


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a request is not JSON in ASCII"),
        ("{}", "a request is {}, not a list that begins with a method"),
        ("[]", "a request is [], not a list that begins with a method"),
        ('"getPolicyInfo"', "a request is 'getPolicyInfo', not a list"),
        ('["stop"]', "method 'stop' is none of getPolicyInfo, startTransaction,"),
        ('["abortDataElementStream"]', "method 'abortDataElementStream' is none of"),
        ('["getpolicyinfo"]', "method 'getpolicyinfo' is none of"),
        ("[null]", "method None is none of"),
        ("[[]]", "method [] is none of"),
        ("[{}]", "method {} is none of"),
        ('["startTransaction"]', "startTransaction without its argument"),
        ('["startTransaction", {}]', "the query of startTransaction is {}, not a list or null"),
        ('["startTransaction", "/a"]', "the query of startTransaction is '/a', not a list or null"),
        ('["nextDataElement"]', "nextDataElement without its argument"),
        ('["nextDataElement", null]', "the argument of nextDataElement is None, not true or false"),
        ('["nextDataElement", 1]', "the argument of nextDataElement is 1, not true or false"),
        ('["nextDataElement", "true"]', "the argument of nextDataElement is 'true', not true or false"),
        ('["getPolicyInfo", null]', "the announcement in getPolicyInfo is None, not an object"),
        ('["getPolicyInfo", [2]]', "the announcement in getPolicyInfo is [2], not an object"),
        ('["getPolicyInfo", {}]', "the announcement in getPolicyInfo has no versions"),
        ('["getPolicyInfo", {"versions": 1}]', "the announcement in getPolicyInfo has the versions 1, not a"),
        ('["getPolicyInfo", {"versions": [0]}]', "the announcement in getPolicyInfo has the version 0, not"),
        ('["getPolicyInfo", {"versions": [true]}]', "the announcement in getPolicyInfo has the version True"),
        ('["getPolicyInfo", {"versions": ["1"]}]', "the announcement in getPolicyInfo has the version '1'"),
        (
            '["getPolicyInfo", {"versions": [1], "features": {}}]',
            "the announcement in getPolicyInfo has the features {}, not a list of at most 64",
        ),
        (
            '["getPolicyInfo", {"versions": [1], "features": [1]}]',
            "a feature in the announcement in getPolicyInfo is 1, not at most 200 printable characters",
        ),
        (
            '["getPolicyInfo", {"versions": [1], "program": "\\n"}]',
            "the program in the announcement in getPolicyInfo is '\\n', not at most 200 printable characters",
        ),
        (
            '["getPolicyInfo", {"versions": [1], "program": null}]',
            "the program in the announcement in getPolicyInfo is None, not",
        ),
        (json.dumps(["getPolicyInfo", {"versions": [1] * 65}]), "the announcement in getPolicyInfo has the"),
        (json.dumps(["x" * 100_000]), "method 'xxx"),
        (json.dumps(["nextDataElement", ["x"] * 100_000]), "the argument of nextDataElement is ['x', "),
        ('["nextDataElements"]', "nextDataElements has None, not a list of what was stored"),
        ('["nextDataElements", [true]]', "nextDataElements asks for None, not for 1 to 256"),
        ('["nextDataElements", true, 5]', "nextDataElements has True, not a list of what was stored"),
        ('["nextDataElements", [1], 5]', "in nextDataElements, [1] are not all true or false"),
        ('["nextDataElements", [], 0]', "nextDataElements asks for 0, not for 1 to 256"),
        ('["nextDataElements", [], 257]', "nextDataElements asks for 257, not for 1 to 256"),
        ('["nextDataElements", [], true]', "nextDataElements asks for True, not for 1 to 256"),
        ('["getDataElementsStream"]', "getDataElementsStream without its argument"),
        ('["getDataElementsStream", []]', "getDataElementsStream asks for [], not a list of places"),
        ('["getDataElementsStream", [-1]]', "getDataElementsStream asks for [-1], not a list of places"),
        ('["getDataElementsStream", [256]]', "getDataElementsStream asks for [256], not a list of places"),
        ('["getDataElementsStream", [1, 1]]', "getDataElementsStream asks for [1, 1], which do not ascend"),
    ],
)
def test_a_wrong_request_is_refused_with_its_reason(text, message):
    with pytest.raises(RemoteProtocolError) as caught:
        parse_request(text.encode("ascii"))
    assert str(caught.value).startswith(message)
    assert len(str(caught.value)) < 400


def test_what_a_later_announcement_says_besides_is_ignored():
    announced = b'["getPolicyInfo", {"versions": [1, 2], "features": ["x"], "later": {"a": [null]}}, 7]'
    expected = Announcement("", (1, 2), frozenset(("x",)))
    assert parse_request(announced) == GetPolicyInfo(expected)
    assert expected.knows("x")
    assert not expected.knows(EMPTY_ELEMENTS)


@pytest.mark.parametrize(
    ("info", "text"),
    [
        (PolicyInfo("SenderMoveDataTransferPolicy"), '"SenderMoveDataTransferPolicy"'),
        (PolicyInfo(None), "null"),
        (PolicyInfo("Own", OURS), '{"policy": "Own", ' + OURS_JSON[1:]),
        (PolicyInfo(None, OURS), '{"policy": null, ' + OURS_JSON[1:]),
    ],
)
def test_the_policy_is_told_plainly_or_with_an_announcement(info, text):
    assert encode_policy_info(info.policy, info.announcement) == text.encode("ascii")
    assert parse_policy_info(text.encode("ascii")) == info


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the answer to getPolicyInfo is not JSON in ASCII"),
        ("[]", "the policy in the answer to getPolicyInfo is [], not at most 200 printable characters"),
        ("true", "the policy in the answer to getPolicyInfo is True, not"),
        (json.dumps("x" * 201), "the policy in the answer to getPolicyInfo is 'xxx"),
        ('"a\\u001b[2J"', "the policy in the answer to getPolicyInfo is 'a\\x1b[2J', not"),
        ('{"versions": [1]}', "the answer to getPolicyInfo is an object without policy"),
        ('{"policy": "x"}', "the answer to getPolicyInfo has no versions"),
        ('{"policy": 1, "versions": [1]}', "the policy in the answer to getPolicyInfo is 1, not"),
    ],
)
def test_a_wrong_answer_to_get_policy_info_is_refused_with_its_reason(text, message):
    with pytest.raises(RemoteProtocolError) as caught:
        parse_policy_info(text.encode("ascii"))
    assert str(caught.value).startswith(message)


def test_start_transaction_is_answered_by_nothing():
    assert encode_started() == b""
    parse_started(b"")
    with pytest.raises(RemoteProtocolError, match="the answer to startTransaction has 4 bytes, not none"):
        parse_started(b"null")


@pytest.mark.parametrize(("has_element", "text"), [(True, b"true"), (False, b"false")])
def test_next_data_element_is_answered_by_true_or_false(has_element, text):
    assert encode_has_element(has_element) == text
    assert parse_has_element(text) is has_element


@pytest.mark.parametrize("text", [b"", b"null", b"1", b'"true"', b"[true]", b"True"])
def test_a_wrong_answer_to_next_data_element_is_refused(text):
    with pytest.raises(RemoteProtocolError, match="the answer to nextDataElement is"):
        parse_has_element(text)


SIZED = replace(INFO, size=5)


@pytest.mark.parametrize("count", [0, 1, 2, 256])
def test_a_group_is_told_with_the_sizes_of_its_elements(count):
    group = tuple(replace(SIZED, size=number) for number in range(count))
    payload = encode_group(encode_grouped(offer) for offer in group)
    assert parse_group(payload, 256) == group
    assert json.loads(payload) == [
        [*json.loads(encode_element_info(INFO)), number] for number in range(count)
    ]
    if count:
        with pytest.raises(RemoteProtocolError, match=f"not a list of at most {count - 1}"):
            parse_group(payload, count - 1)


def test_an_element_that_cannot_be_spoils_none_of_its_group():
    wrong = encode_grouped(SIZED).replace(b"full", b"fool")
    first, second, third = parse_group(encode_group([encode_grouped(SIZED), wrong, encode_grouped(SIZED)]), 3)
    assert (first, third) == (SIZED, SIZED)
    assert isinstance(second, IntegrityError)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("null", "the answer to nextDataElements is None, not a list of at most 9"),
        ("[null]", "an item of the answer to nextDataElements is None, not a list of 4 with a size"),
        ('[["/a", "{}", null]]', "not a list of 4 with a size"),
        ('[["/a", "{}", null, -1]]', "not a list of 4 with a size"),
        ('[["/a", "{}", null, true]]', "not a list of 4 with a size"),
        ('[["/a", "{}", null, 1.5]]', "not a list of 4 with a size"),
        ('[["/a", "{}", null, 99999999999999999999]]', "not a list of 4 with a size"),
        ('[["/a", 5, null, 1]]', "has no texts as source URL and metadata"),
        ('[["/a", "{}", 5, 1]]', "has the attributes 5"),
    ],
)
def test_a_wrong_answer_to_next_data_elements_is_refused_with_its_reason(text, message):
    with pytest.raises(RemoteProtocolError) as raised:
        parse_group(text.encode("ascii"), 9)
    assert message in str(raised.value)


def test_metadata_that_no_frame_holds_in_a_group_is_not_sent():
    attributes = {"a": bytes(785_000)}
    largest = ElementOffer(SourceUrl("/a"), METAINFO, attributes, 5)
    sizes = []
    with contextlib.suppress(MetainfoError):
        while len(sizes) < 2000:
            sizes.append(len(encode_group([encode_grouped(largest)])))
            attributes["a"] += bytes(3)
    assert len(sizes) < 2000
    assert 0 <= MAX_FRAME_SIZE - sizes[-1] < 4


def test_an_element_is_told_as_the_original_does():
    payload = encode_element_info(INFO)
    assert json.loads(payload) == ["/host/etc", METAINFO.serialize().decode("ascii"), None]
    assert parse_element_info(payload) == INFO


def test_no_element_is_null():
    assert encode_element_info(None) == b"null"
    assert parse_element_info(b"null") is None


@given(
    attributes=st.dictionaries(
        st.from_regex("[A-Za-z0-9_]{1,32}", fullmatch=True).filter(
            lambda n: n not in ("data", "info", "lock")
        ),
        st.binary(max_size=50),
        max_size=5,
    )
)
def test_attributes_go_as_base64_text_and_come_back(attributes):
    info = ElementOffer(INFO.source_url, METAINFO, attributes or None)
    assert parse_element_info(encode_element_info(info)) == info


def test_an_empty_object_of_attributes_is_none():
    items = json.loads(encode_element_info(INFO))
    assert parse_element_info(json.dumps([*items[:2], {}]).encode()) == INFO
    assert parse_element_info(json.dumps([*items, "later"]).encode()) == INFO


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the answer to getDataElementInfo is not JSON in ASCII"),
        ("false", "the answer to getDataElementInfo is False, not a list of 3 or null"),
        ("[]", "the answer to getDataElementInfo is [], not a list of 3 or null"),
        ('["/a", "{}"]', "the answer to getDataElementInfo is ['/a', '{}'], not a list of 3 or null"),
        ('[1, "{}", null]', "the answer to getDataElementInfo has no texts as source URL and metadata"),
        ('["/a", {}, null]', "the answer to getDataElementInfo has no texts as source URL and metadata"),
        ('["/a", "{}", []]', "the answer to getDataElementInfo has the attributes [], not an object or null"),
        ('["/a", "{}", ""]', "the answer to getDataElementInfo has the attributes '', not an object or null"),
    ],
)
def test_a_wrong_answer_to_get_data_element_info_is_refused_with_its_reason(text, message):
    with pytest.raises(RemoteProtocolError) as caught:
        parse_element_info(text.encode("ascii"))
    assert str(caught.value).startswith(message)


GOOD = METAINFO.serialize().decode("ascii")


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (["/../etc", GOOD, None], "element of '/../etc': source URL '/../etc' has the component '..'"),
        (["etc", GOOD, None], "element of 'etc': source URL 'etc' does not start with '/'"),
        (["/a\0b", GOOD, None], "element of '/a\\x00b': source URL"),
        (["/" + "a" * 5000, GOOD, None], "element of '/aaa"),
        (["/ä", GOOD, None], "element of '/\\xe4': source URL"),
        (["/a", "", None], "element of '/a': metadata is not ASCII JSON"),
        (["/a", "{}", None], "element of '/a': metadata has no BackupType"),
        (["/a", "ä", None], "element of '/a': "),
        (["/a", "[" * 100_000, None], "element of '/a': metadata is nested too deeply"),
        (["/a", '{"BackupType": "full", "Timestamp": 1e400}', None], "element of '/a': metadata holds the n"),
        (
            ["/a", '{"BackupType": "full", "Timestamp": ' + "9" * 5000 + "}", None],
            "element of '/a': metadata",
        ),
        (
            ["/a", json.dumps({"BackupType": ["x" * 9999], "Timestamp": 1}), None],
            "element of '/a': metadata B",
        ),
        (
            ["/a", '{"BackupType": "full", "Timestamp": 1, "\\n": ' + "[" * 40 + "]" * 40 + "}", None],
            "element of '/a': 'metadata \\n is nested deeper than 32 levels'",
        ),
        (["/a", GOOD, {"data": ""}], "element of '/a': attribute name 'data' is not 1 to 32"),
        (["/a", GOOD, {"a/b": ""}], "element of '/a': attribute name 'a/b' is not 1 to 32"),
        (["/a", GOOD, {"": ""}], "element of '/a': attribute name '' is not 1 to 32"),
        (["/a", GOOD, {"ok": 1}], "element of '/a': metadata attribute ok is a int, not base64 text"),
        (["/a", GOOD, {"ok": "x"}], "element of '/a': metadata attribute ok is not base64"),
        (
            ["/a", GOOD, {f"n{number}": "" for number in range(65)}],
            "element of '/a': 65 attributes, limit 64",
        ),
    ],
)
def test_an_element_that_cannot_be_is_refused_alone(items, message):
    with pytest.raises(IntegrityError) as caught:
        parse_element_info(json.dumps(items).encode("ascii"))
    assert str(caught.value).startswith(message)
    assert len(str(caught.value)) < 1000
    assert str(caught.value).isprintable()


def test_metadata_and_attributes_that_no_frame_holds_are_not_sent():
    info = ElementOffer(INFO.source_url, METAINFO, {"large": bytes(1 << 20)})
    with pytest.raises(MetainfoError, match="bytes on the wire, limit 1048576"):
        encode_element_info(info)


PARSERS = [parse_request, parse_policy_info, parse_started, parse_has_element, parse_element_info]
LIKE_THE_WIRE = st.lists(
    st.sampled_from([*METHODS, "/a", GOOD, "", None, True, 0, {}, [], {"versions": [1]}, {"policy": None}]),
    max_size=4,
)


@pytest.mark.parametrize("parse", PARSERS)
@given(payload=st.binary(max_size=40) | LIKE_THE_WIRE.map(lambda value: json.dumps(value).encode()))
def test_whatever_comes_is_a_value_or_an_error_of_ours(parse, payload):
    try:
        parse(payload)
    except (RemoteProtocolError, IntegrityError):
        pass
