"""Source URLs, element ids and metadata: what may be, what may not, and that nothing else ever comes out."""

import base64
import json
import math
import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from guerillabackup.element import (
    BINARY_KEYS,
    COMMAND_OUTPUT,
    CONTENT_LAYERS_KEY,
    CONTENT_TYPE_KEY,
    LOG_FILE,
    MAX_COMPONENT_LENGTH,
    MAX_METAINFO_SIZE,
    MAX_SERIAL,
    MAX_SOURCE_URL_LENGTH,
    MAX_TIMESTAMP,
    METAINFO_KEYS,
    BackupElementMetainfo,
    BackupType,
    ElementId,
    SourceUrl,
    check_attribute_name,
    make_data_uuid,
)
from guerillabackup.errors import ElementIdError, MetainfoError, SourceUrlError

ALLOWED = string.ascii_letters + string.digits + "%._-"
components = st.text(ALLOWED, min_size=1, max_size=12).filter(lambda text: text not in (".", ".."))
source_urls = st.lists(components, min_size=1, max_size=5).map(lambda parts: SourceUrl("/" + "/".join(parts)))
element_ids = st.builds(
    ElementId,
    source_urls,
    st.text(string.digits, min_size=14, max_size=14),
    st.none() | st.integers(0, MAX_SERIAL),
    st.sampled_from(BackupType),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
unknown_keys = st.dictionaries(
    st.text().filter(lambda key: key not in METAINFO_KEYS), json_values, max_size=4
)
policies = st.text(string.ascii_letters + string.digits + " ./-", min_size=1, max_size=10)
known_values = st.fixed_dictionaries(
    {"BackupType": st.sampled_from(["full", "inc"]), "Timestamp": st.integers(0, MAX_TIMESTAMP)},
    optional={
        **{key: st.none() | st.binary(max_size=80) for key in BINARY_KEYS - {"StorageFileChecksumSha512"}},
        "StorageFileChecksumSha512": st.none() | st.binary(min_size=64, max_size=64),
        "HandlingPolicy": st.none() | st.lists(policies, max_size=3),
        "TransferAttributes": st.none() | st.dictionaries(st.text(), json_values, max_size=3),
        "SourceUrl": st.none() | source_urls.map(str),
    },
)
metainfo_values = st.builds(lambda known, unknown: {**known, **unknown}, known_values, unknown_keys)
MINIMAL = {"BackupType": "full", "Timestamp": 0}


def serialized(**changes: object) -> bytes:
    return json.dumps({**MINIMAL, **changes}).encode("ascii")


# Source URLs


@given(st.lists(components, min_size=1, max_size=6))
def test_a_source_url_is_its_components(parts):
    url = SourceUrl("/" + "/".join(parts))
    assert url.components == tuple(parts)
    assert (*url.directory, url.name) == url.components
    assert str(url) == "/" + "/".join(parts)


@given(st.text(ALLOWED + "/\n \0é~+", max_size=30))
def test_any_text_is_a_source_url_or_a_source_url_error(text):
    is_one = text.startswith("/") and all(
        part not in ("", ".", "..") and set(part) <= set(ALLOWED) for part in text[1:].split("/")
    )
    if is_one:
        assert str(SourceUrl(text)) == text
    else:
        with pytest.raises(SourceUrlError):
            SourceUrl(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/",
        "a",
        "a/b",
        "//a",
        "/a/",
        "/a//b",
        "/.",
        "/..",
        "/a/../b",
        "/a\n",
        "/a b",
        "/ä",
        "/a\0",
        "/a:b",
    ],
)
def test_what_is_no_source_url_is_refused(text):
    with pytest.raises(SourceUrlError):
        SourceUrl(text)


@pytest.mark.parametrize("value", [None, 5, b"/a", ["/a"]])
def test_a_source_url_of_another_type_is_refused(value):
    with pytest.raises(SourceUrlError):
        SourceUrl(value)


def test_the_longest_source_url_and_component_are_taken_and_longer_ones_refused():
    longest = "/" + "a" * MAX_COMPONENT_LENGTH
    assert SourceUrl(longest).name == longest[1:]
    with pytest.raises(SourceUrlError, match="limit 230"):
        SourceUrl(longest + "a")
    whole = ("/a" * MAX_SOURCE_URL_LENGTH)[:MAX_SOURCE_URL_LENGTH]
    assert len(SourceUrl(whole).text) == MAX_SOURCE_URL_LENGTH
    with pytest.raises(SourceUrlError, match="limit 2048"):
        SourceUrl(whole + "/a")


@given(source_urls)
def test_the_companion_source_is_known_as_one(url):
    assume(not url.is_members)
    assert url.members().is_members
    assert str(url.members()) == f"{url}.members"


@given(st.lists(source_urls, min_size=2, max_size=5))
def test_source_urls_sort_by_component(urls):
    assert [url.components for url in sorted(urls)] == sorted(url.components for url in urls)


# Element ids


@given(element_ids)
def test_an_element_id_survives_its_text(element_id):
    assert ElementId.parse(str(element_id)) == element_id
    assert str(element_id).endswith("/" + element_id.file_stem)


@given(element_ids, element_ids)
def test_two_element_ids_never_have_the_same_text(one, other):
    assert (one == other) == (str(one) == str(other))


@given(st.text(ALLOWED + "/\n0123456789", max_size=60))
def test_any_text_is_an_element_id_or_an_element_id_error(text):
    try:
        element_id = ElementId.parse(text)
    except ElementIdError:
        return
    assert str(element_id) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "20240102030405-a-full",
        "/a/2024010203040-a-full",
        "/a/20240102030405-a",
        "/a/20240102030405-a-half",
        "/a/20240102030405--full",
        "/a/2024010203040500-a-full",
        "/a/202401020304051000000000-a-full",
        "/a/20240102030405a-full",
        "/a/20240102030405-a-full\n",
        "/a/20240102030405-a-full.data",
        "/a/٢٠٢٤٠١٠٢٠٣٠٤٠٥-a-full",
        "/../20240102030405-a-full",
        "/20240102030405-..-full",
    ],
)
def test_what_is_no_element_id_is_refused(text):
    with pytest.raises(ElementIdError):
        ElementId.parse(text)


@pytest.mark.parametrize("value", [None, 5, b"/20240102030405-a-full"])
def test_an_element_id_of_another_type_is_refused(value):
    with pytest.raises(ElementIdError):
        ElementId.parse(value)


@pytest.mark.parametrize(
    ("timestamp", "serial", "text"),
    [
        (0, None, "/a/19700101000000-b-full"),
        (1704164645, 0, "/a/202401020304050-b-full"),
        (1704164645, 17, "/a/2024010203040517-b-full"),
        (MAX_TIMESTAMP, MAX_SERIAL, "/a/99991231235959999999999-b-full"),
    ],
)
def test_the_label_of_an_element_is_utc_with_its_serial(timestamp, serial, text):
    assert str(ElementId.label(SourceUrl("/a/b"), timestamp, BackupType.FULL, serial)) == text


@pytest.mark.parametrize("serial", [-1, MAX_SERIAL + 1])
def test_a_serial_out_of_range_is_refused(serial):
    with pytest.raises(ElementIdError):
        ElementId(SourceUrl("/a"), "20240102030405", serial, BackupType.FULL)


def test_the_element_without_serial_comes_before_those_with_one():
    url = SourceUrl("/a")
    serials = [None, 0, 2, 10]
    ids = [ElementId(url, "20240102030405", serial, BackupType.FULL) for serial in serials]
    ids.reverse()
    assert [element_id.serial for element_id in sorted(ids)] == serials


@pytest.mark.parametrize("name", ["a", "verified", "X_9", "a" * 32])
def test_an_attribute_name_is_taken(name):
    assert check_attribute_name(name) == name


@pytest.mark.parametrize(
    "name", ["", "data", "info", "lock", "a.b", "a-b", "a/b", "a b", "ä", "a" * 33, "a\n"]
)
def test_what_is_no_attribute_name_is_refused(name):
    with pytest.raises(ElementIdError):
        check_attribute_name(name)


# Metadata


@given(metainfo_values)
def test_metadata_survives_its_serialized_form(values):
    metainfo = BackupElementMetainfo(values)
    again = BackupElementMetainfo.unserialize(metainfo.serialize())
    assert again == metainfo
    assert again.serialize() == metainfo.serialize()
    assert hash(again) == hash(metainfo)
    for key in known_values_of(values):
        assert again.get(key) == values[key]
    assert again.keys() == values.keys()


def known_values_of(values: dict[str, object]) -> set[str]:
    return METAINFO_KEYS.keys() & values.keys()


@given(unknown_keys)
def test_unknown_keys_survive_byte_by_byte(unknown):
    data = json.dumps({**unknown, **MINIMAL}, sort_keys=True).encode("ascii")
    assert BackupElementMetainfo.unserialize(data).serialize() == data


@given(metainfo_values)
def test_what_is_serialized_is_ascii_json_with_sorted_keys(values):
    data = BackupElementMetainfo(values).serialize()
    assert data.isascii()
    assert json.dumps(json.loads(data), sort_keys=True).encode("ascii") == data


@given(st.binary(max_size=60) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_are_metadata_or_a_metainfo_error(data):
    try:
        BackupElementMetainfo.unserialize(data)
    except MetainfoError:
        pass


@given(st.dictionaries(st.sampled_from(sorted(METAINFO_KEYS)), json_values), json_values)
def test_any_json_is_metadata_or_a_metainfo_error(values, other):
    for value in ({**MINIMAL, **values}, other):
        data = json.dumps(value).encode("ascii")
        try:
            metainfo = BackupElementMetainfo.unserialize(data)
        except MetainfoError:
            continue
        assert json.loads(metainfo.serialize()) == value


@given(metainfo_values, st.data())
def test_cut_or_changed_metadata_is_metadata_or_a_metainfo_error(values, data):
    serialized_form = bytearray(BackupElementMetainfo(values).serialize())
    position = data.draw(st.integers(0, len(serialized_form) - 1))
    with pytest.raises(MetainfoError):
        BackupElementMetainfo.unserialize(bytes(serialized_form[:position]))
    serialized_form[position] = data.draw(st.integers(0, 255))
    try:
        BackupElementMetainfo.unserialize(bytes(serialized_form))
    except MetainfoError:
        pass


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("BackupType", None),
        ("BackupType", "Full"),
        ("BackupType", 1),
        ("BackupType", ["full"]),
        ("Timestamp", None),
        ("Timestamp", -1),
        ("Timestamp", 1.0),
        ("Timestamp", True),
        ("Timestamp", "1"),
        ("Timestamp", MAX_TIMESTAMP + 1),
        ("Timestamp", 10**4000),
        *(
            (key, value)
            for key in sorted(BINARY_KEYS)
            for value in (1, [], {}, False, "é", "a", "a===", "YQ")
        ),
        ("DataUuid", "YR=="),
        ("DataUuid", "YQ==\n"),
        ("DataUuid", " YQ=="),
        ("DataUuid", "Y Q=="),
        ("DataUuid", "YQ==YQ=="),
        ("DataUuid", "=YQ="),
        ("DataUuid", "-_=="),
        ("StorageFileChecksumSha512", ""),
        ("StorageFileChecksumSha512", base64.b64encode(bytes(63)).decode()),
        ("StorageFileChecksumSha512", base64.b64encode(bytes(65)).decode()),
        ("HandlingPolicy", "default"),
        ("HandlingPolicy", {}),
        ("HandlingPolicy", [""]),
        ("HandlingPolicy", ["a_b"]),
        ("HandlingPolicy", ["a\n"]),
        ("HandlingPolicy", [None]),
        ("TransferAttributes", []),
        ("TransferAttributes", "x"),
        ("SourceUrl", 5),
        ("SourceUrl", "a"),
        ("SourceUrl", "/../a"),
    ],
)
def test_a_value_that_breaks_the_rule_of_its_key_is_refused_and_the_key_named(key, value):
    with pytest.raises(MetainfoError, match=key):
        BackupElementMetainfo.unserialize(serialized(**{key: value}))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b'"full"',
        b"5",
        b"{",
        b"{}",
        b'{"BackupType": "full"}',
        b'{"Timestamp": 5}',
        serialized() + b"x",
        serialized() + serialized(),
        b"\xef\xbb\xbf" + serialized(),
        serialized(X="?").replace(b"?", "é".encode()),
        serialized(X="?").replace(b'"?"', b"NaN"),
        serialized(X="?").replace(b'"?"', b"Infinity"),
        serialized(X="?").replace(b'"?"', b"-Infinity"),
        serialized(X="?").replace(b'"?"', b"1e400"),
        serialized(X="?").replace(b'"?"', b"1" * 5000),
        serialized(X="?").replace(b'"?"', b"[" * 40 + b"]" * 40),
        serialized(X="?").replace(b'"?"', b"[" * 100_000 + b"]" * 100_000),
        serialized(X="?").replace(b'"?"', b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
        serialized(X="?").replace(b'"?"', b"[" * 100_000),
        b'{"BackupType": "full", "Timestamp": 1, "Timestamp": 2}',
        b'{"BackupType": "full", "Timestamp": 1, "X": {"a": 1, "a": 1}}',
        serialized(X="x" * MAX_METAINFO_SIZE),
    ],
)
def test_what_is_no_metadata_is_refused(data):
    with pytest.raises(MetainfoError):
        BackupElementMetainfo.unserialize(data)


@pytest.mark.parametrize(
    "text", ['"\\ud800"', '"\\udc00\\ud800"', '{"\\ud83d\\ude00": "\\u0000"}', "-0.0", "1e-07"]
)
def test_odd_json_in_an_unknown_key_survives(text):
    data = serialized(X="?").replace(b'"?"', text.encode("ascii"))
    assert BackupElementMetainfo.unserialize(data).serialize() == data


@pytest.mark.parametrize(
    "value", [b"bytes", {1: 2}, {"a": {None: 1}}, {1, 2}, object(), [b"x"], math.nan, [math.inf]]
)
def test_what_json_cannot_say_is_refused_when_metadata_is_made(value):
    with pytest.raises(MetainfoError):
        BackupElementMetainfo({**MINIMAL, "X": value})


def test_a_key_that_is_no_text_is_refused():
    with pytest.raises(MetainfoError):
        BackupElementMetainfo({**MINIMAL, 5: "x"})


def test_a_number_too_long_to_write_is_refused():
    with pytest.raises(MetainfoError):
        BackupElementMetainfo({**MINIMAL, "X": 10**5000})


def test_metadata_does_not_change_with_what_it_was_made_from():
    policy, attributes = ["a"], {"b": ["c"]}
    metainfo = BackupElementMetainfo({**MINIMAL, "HandlingPolicy": policy, "TransferAttributes": attributes})
    policy.append("\0")
    attributes["b"].append("d")
    assert metainfo.handling_policy == ("a",)
    assert metainfo.get("TransferAttributes") == {"b": ["c"]}


@pytest.mark.parametrize("key", sorted(METAINFO_KEYS.keys() - {"BackupType", "Timestamp"}))
def test_a_key_that_may_be_missing_may_be_null(key):
    metainfo = BackupElementMetainfo.unserialize(serialized(**{key: None}))
    assert metainfo.get(key) is None
    assert json.loads(metainfo.serialize()) == {**MINIMAL, key: None}


@given(metainfo_values, st.binary(min_size=1))
def test_the_signature_covers_all_but_itself_and_what_transfers_set(values, signature):
    metainfo = BackupElementMetainfo(values)
    signed = metainfo.replace(MetaDataSignature=signature, TransferAttributes={"hop": 1})
    assert signed.signed_bytes() == metainfo.signed_bytes()
    assert json.loads(metainfo.signed_bytes())["MetaDataSignature"] is None
    assert metainfo.replace(DataUuid=b"another" + signature).signed_bytes() != metainfo.signed_bytes()


def test_the_properties_say_what_the_keys_hold():
    values = {
        "BackupType": "inc",
        "DataUuid": b"uuid",
        "HandlingPolicy": ["default", "a/b c"],
        "MetaDataSignature": b"signature",
        "Predecessor": b"before",
        "SourceUrl": "/a/b",
        "StorageFileChecksumSha512": bytes(64),
        "StorageFileSignature": b"of data",
        "Timestamp": 7,
    }
    metainfo = BackupElementMetainfo(values)
    assert (metainfo.backup_type, metainfo.timestamp) == (BackupType.INC, 7)
    assert (metainfo.data_uuid, metainfo.predecessor, metainfo.checksum) == (b"uuid", b"before", bytes(64))
    assert (metainfo.metadata_signature, metainfo.storage_file_signature) == (b"signature", b"of data")
    assert (metainfo.source_url, metainfo.handling_policy) == (SourceUrl("/a/b"), ("default", "a/b c"))


@pytest.mark.parametrize("key", ["BackupType", "Timestamp", "DataUuid", "StorageFileChecksumSha512"])
def test_elements_that_differ_in_what_identifies_them_are_not_the_same(key):
    one = BackupElementMetainfo(
        {
            **MINIMAL,
            "DataUuid": b"1",
            "StorageFileChecksumSha512": bytes(64),
            "X": 1,
            "MetaDataSignature": None,
        }
    )
    other = {"BackupType": "inc", "Timestamp": 1, "DataUuid": b"2", "StorageFileChecksumSha512": b"x" * 64}
    assert not one.is_same_element(one.replace(**{key: other[key]}))
    assert one.is_same_element(one.replace(X=2, MetaDataSignature=b"s"))


ORIGINAL_INFO = (
    b'{"BackupType": "inc", "DataUuid": "3q2+7w==", "HandlingPolicy": ["default"], '
    b'"MetaDataSignature": null, "Predecessor": "yv66vg==", "StorageFileChecksumSha512": "'
    + base64.b64encode(bytes(range(64)))
    + b'", "StorageFileSignature": null, "Timestamp": 1700000000}'
)


def test_an_info_file_of_the_original_is_read_and_written_as_it_was():
    metainfo = BackupElementMetainfo.unserialize(ORIGINAL_INFO)
    assert metainfo.serialize() == ORIGINAL_INFO
    assert metainfo.data_uuid == b"\xde\xad\xbe\xef"
    assert metainfo.checksum == bytes(range(64))


def test_data_uuids_of_different_runs_differ_and_of_the_same_run_do_not():
    url = SourceUrl("/a")
    arguments = [(None, b"d", 1, url), (b"p", b"d", 1, url), (b"p", b"e", 1, url), (b"p", b"d", 2, url)]
    assert len({make_data_uuid(*one) for one in arguments}) == 4
    assert make_data_uuid(*arguments[1]) == make_data_uuid(*arguments[1])


@pytest.mark.parametrize("value", [COMMAND_OUTPUT, LOG_FILE, "of-another-program"])
def test_the_content_type_is_signed_and_carried_along(value):
    metainfo = BackupElementMetainfo({**MINIMAL, CONTENT_TYPE_KEY: value})
    assert BackupElementMetainfo.unserialize(metainfo.serialize()).content_type == value
    assert json.loads(metainfo.signed_bytes())[CONTENT_TYPE_KEY] == value


@pytest.mark.parametrize("value", [None, 1, "", "With Blanks", "x" * 65, ["log-file"]])
def test_a_content_type_that_is_none_counts_as_absent(value):
    assert BackupElementMetainfo({**MINIMAL, CONTENT_TYPE_KEY: value}).content_type is None


@pytest.mark.parametrize(
    ("value", "layers"), [(0, 0), (2, 2), (16, 16), (17, None), (-1, None), (True, None), ("2", None)]
)
def test_the_number_of_layers_counts_only_where_it_is_one(value, layers):
    assert BackupElementMetainfo({**MINIMAL, CONTENT_LAYERS_KEY: value}).content_layers == layers
    assert BackupElementMetainfo(MINIMAL).content_layers is None
