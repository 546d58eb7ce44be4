from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from guerillabackup.pipeline.messages import MessageCollector, last_words


def collect(*parts: bytes) -> list[str]:
    collector = MessageCollector()
    for part in parts:
        collector.feed(part)
    return collector.get_lines()


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=10))
def test_lines_do_not_depend_on_the_cuts_of_the_bytes(data, cuts):
    borders = [0, *sorted(cuts), len(data)]
    parts = [data[start:end] for start, end in pairwise(borders)]
    assert collect(*parts) == collect(data)


@given(st.lists(st.text("abc \u00e4", max_size=20), max_size=150))
def test_up_to_two_hundred_lines_are_all_kept(lines):
    assert collect("".join(f"{line}\n" for line in lines).encode()) == lines


def test_of_many_lines_the_first_and_last_hundred_are_kept_and_the_gap_is_named():
    lines = collect(b"".join(b"%d\n" % number for number in range(1000)))
    assert lines == [
        *map(str, range(100)),
        "(800 lines left out)",
        *map(str, range(900, 1000)),
    ]


def test_of_a_long_line_the_beginning_and_the_end_are_kept_and_the_gap_is_named():
    end = b": Cannot open: File name too long"
    line, short = collect(b"x" * 100_000, b"y" * 100_000 + end + b"\nshort")
    assert line == f"{'x' * 2048} ({200_000 + len(end) - 4096} bytes left out) {'y' * 2015}{end.decode()}"
    assert short == "short"


@given(st.lists(st.integers(0, 5000), max_size=10))
def test_a_long_line_does_not_depend_on_the_cuts_of_the_bytes(cuts):
    data = bytes(range(32, 127)) * 50 + b"\n" + b"z" * 200
    parts = [data[start:end] for start, end in pairwise([0, *sorted(cuts), len(data)])]
    assert collect(*parts) == collect(data)


def test_a_line_of_four_kibibytes_is_whole():
    assert collect(b"x" * 4000 + b"y" * 96 + b"\n") == ["x" * 4000 + "y" * 96]


def test_bytes_that_are_no_text_are_shown_escaped():
    assert collect(b"caf\xe9\r\n") == ["caf\\xe9"]


def test_the_last_words_are_the_last_three_lines_with_text():
    assert last_words(["a", "b", "", " c ", "d", ""]) == "b; c; d"


def test_the_last_words_have_a_limit():
    assert len(last_words(["x" * 4096] * 3)) == 600


def test_what_a_program_says_is_wrong_stays_before_its_advice():
    said = ["bzip2: Compressed file ends;", "\tperhaps it is corrupted?", "bzip2: Bad"]
    advice = ["It is possible", "You can use", "data from undamaged sections of corrupted files."]
    assert last_words([*said, *advice], "bzip2") == "bzip2: Compressed file ends;; bzip2: Bad"
    assert last_words([*said, *advice]) == "; ".join(advice)
    assert last_words(["tar: a", "b", "c"], "tar") == "tar: a; b; c"
