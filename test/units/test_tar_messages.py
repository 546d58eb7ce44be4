"""What tar says decides whether its exit status may pass."""

import pytest

from guerillabackup.units.tar_messages import (
    Unread,
    find_unread,
    is_bad_index,
    only_races,
    split_sockets,
    summarize,
)

CLOSING = "tar: Exiting with failure status due to previous errors"
CHANGED = 'tar: "./log": file changed as we read it'
VANISHED = 'tar: "./gone": Cannot stat: No such file or directory'


def test_no_failure_is_nothing_to_judge():
    assert only_races(0, [])


@pytest.mark.parametrize(
    ("status", "lines"),
    [
        (1, [CHANGED]),
        (1, [CHANGED, 'tar: "./s": socket ignored']),
        (1, ['tar: "./a": File removed before we read it']),
        (1, ['tar: "./a": File shrank by 1 byte; padding with zeros', CHANGED]),
        (1, [CHANGED] * 100 + ["(7000 lines left out)"] + [CHANGED] * 100),
        (2, [VANISHED, CLOSING]),
        (2, ['tar: "./a": Warning: Cannot open: Permission denied', VANISHED, CLOSING]),
        (2, ['tar: "./new\\nline \\"q\\" \\351": Cannot open: No such file or directory', CLOSING]),
        (2, ["tar: Removing leading `/' from member names", VANISHED, CHANGED, "", CLOSING]),
    ],
)
def test_what_changed_or_vanished_is_a_race(status, lines):
    assert only_races(status, lines)


@pytest.mark.parametrize(
    ("status", "lines"),
    [
        (1, []),
        (2, []),
        (2, [CLOSING]),
        (1, ["tar: Bad incremental file format"]),
        (2, ['tar: "./a": Cannot open: Permission denied', CLOSING]),
        (2, ['tar: "./a": Read error at byte 0, while reading 512 bytes: Input/output error', CLOSING]),
        (
            2,
            [
                'tar: "/none": Cannot open: No such file or directory',
                "tar: Error is not recoverable: exiting now",
            ],
        ),
        (2, [VANISHED, "tar: -: Cannot write: No space left on device", CLOSING]),
        (
            2,
            ['tar: "./x": Cannot stat: No such file or directory"": Cannot open: Permission denied', CLOSING],
        ),
        (2, ['tar: "./: Warning: x": Cannot open: Permission denied', CLOSING]),
        (2, [VANISHED] * 100 + ["(1 lines left out)"] + [VANISHED] * 99 + [CLOSING]),
        (64, [VANISHED]),
        (-9, [CHANGED]),
    ],
)
def test_anything_else_is_a_failure(status, lines):
    assert not only_races(status, lines)


@pytest.mark.parametrize(
    "line",
    [
        'tar: "/state/a.index.next": Unexpected EOF in snapshot file',
        'tar: "/state/a.index.next":1: Invalid time stamp: Invalid argument',
        'tar: "/state/a.index.next": byte 80: Missing record terminator',
        "tar: Bad incremental file format",
    ],
)
def test_a_bad_index_is_noticed(line):
    assert is_bad_index(["tar: something", line, "tar: Error is not recoverable: exiting now"])


@pytest.mark.parametrize(
    "line",
    [
        'tar: "./Missing record terminator": Cannot open: Permission denied',
        'tar: "./\\"tar: Bad incremental file format": Cannot open: Permission denied',
        'tar: "/state/a.index.next": Cannot write: No space left on device',
    ],
)
def test_names_of_files_do_not_make_an_index_bad(line):
    assert not is_bad_index([line])


def test_a_summary_has_failures_before_races_and_is_short():
    text = summarize(
        [CHANGED] * 50 + [f'tar: "{"x" * 5000}": Cannot open: Permission denied'] * 5 + [CLOSING]
    )
    assert text.startswith('"xxx')
    assert "Cannot open: Permission denied" in text
    assert text.endswith("and 52 more lines")
    assert len(text) < 1000


def test_a_summary_of_races_alone_shows_them():
    assert summarize([CHANGED, CLOSING]) == '"./log": file changed as we read it'


def test_sockets_are_counted_and_the_other_lines_stay():
    socket, other = 'tar: "./s": socket ignored', 'tar: "./f": file changed as we read it'
    assert split_sockets([other]) == (None, [other])
    assert split_sockets([socket, other]) == ("1 socket left out", [other])
    left_out = "(100 lines left out)"
    assert split_sockets([socket, left_out, socket]) == ("at least 2 sockets left out", [left_out])


def test_names_that_could_not_be_read_are_found_as_they_are():
    lines = [
        r'tar: "./a/\\b\"\303\244\n": Warning: Cannot stat: Permission denied',
        'tar: "./dir/": Warning: Cannot open: Input/output error',
        'tar: "./dir/": Warning: Cannot llistxattr: Input/output error',
        'tar: "./f": Warning: Read error at byte 0, while reading 512 bytes: Input/output error',
        'tar: "./gone": File removed before we read it',
        'tar: "./lost": Cannot stat: No such file or directory',
        'tar: "./socket": socket ignored',
        'tar: "./changed": file changed as we read it',
    ]
    expected = {'./a/\\b"ä\n'.encode(), b"./dir", b"./f", b"./gone", b"./lost"}
    assert find_unread(lines) == Unread(frozenset(expected), 3)


@pytest.mark.parametrize(
    "line", ["(7 lines left out)", 'tar: "./x (9 bytes left out) y": Warning: Cannot open: Permission denied']
)
def test_where_lines_are_left_out_no_names_are_known(line):
    lines = ['tar: "./f": Warning: Cannot open: Permission denied', line]
    assert find_unread(lines) == Unread(None, 1)
