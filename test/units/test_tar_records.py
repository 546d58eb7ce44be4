"""The heads of an index's records, found one by one and all at once."""

import io

import pytest

from guerillabackup.units.tar_records import IndexRecords, Piece

HEADER = b"GNU tar-1.34-2\n" + b"1700000000\x000\x00"


def record(name, *entries, inode=7):
    head = b"\0".join((b"0", b"1700000000", b"5", b"2049", b"%d" % inode, name))
    return head + b"\0" + b"".join(entry + b"\0" for entry in entries) + b"\0\0"


RECORDS = [
    record(b"./a", b"Nx", b"Dsub", inode=11),
    record(b"./empty", inode=12),
    record(b"./also-empty", inode=13),
    record(b"./new\nline", b"Yfile", inode=14),
]


def pieces_of(data):
    records = IndexRecords(io.BytesIO(HEADER + data), "index")
    assert records.read_time() == 1700000000 * 10**9
    return records, list(records.pieces())


def test_the_heads_of_a_piece_are_those_of_its_records_empty_ones_too():
    records, (piece,) = pieces_of(b"".join(RECORDS))
    one_by_one = [records.head(text, 0, len(text)) for text in RECORDS]
    assert records.heads(piece) == one_by_one
    assert [inode for inode, _ in one_by_one] == [b"11", b"12", b"13", b"14"]


@pytest.mark.parametrize("place", range(len(RECORDS)))
def test_a_damaged_record_is_noticed_by_who_asks_for_all_at_once(place):
    damaged = [text.replace(b"2049", b"") if number == place else text for number, text in enumerate(RECORDS)]
    records, _ = pieces_of(b"")
    piece = Piece(b"".join(damaged), 0, begins=True, ends=True)
    assert records.heads(piece) is None
