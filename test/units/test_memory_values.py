"""What is written into state files is read back; what is no such value is refused."""

import pytest

from guerillabackup.generator.timing import ClockAnchor
from guerillabackup.units.memory_values import (
    decode_uuid,
    dump_anchor,
    encode_uuid,
    expect_mapping,
    parse_anchor,
)


@pytest.mark.parametrize(("uuid", "read"), [(b"\x00\xff", b"\x00\xff"), (b"", b""), (None, b"")])
def test_a_uuid_is_read_back_and_none_is_empty(uuid, read):
    assert decode_uuid(encode_uuid(uuid)) == read


@pytest.mark.parametrize("anchor", [None, ClockAnchor("boot", 1.5)])
def test_an_anchor_is_read_back(anchor):
    assert parse_anchor(dump_anchor(anchor)) == anchor


@pytest.mark.parametrize(
    ("parse", "value", "error"),
    [
        (expect_mapping, [], TypeError),
        (decode_uuid, 7, TypeError),
        (decode_uuid, "a", ValueError),
        (decode_uuid, "a b=", ValueError),
        (parse_anchor, 7, TypeError),
        (parse_anchor, ["boot"], ValueError),
        (parse_anchor, ["boot", "1"], TypeError),
        (parse_anchor, [1, 1], TypeError),
    ],
)
def test_what_is_no_such_value_is_refused(parse, value, error):
    with pytest.raises(error):
        parse(value)
