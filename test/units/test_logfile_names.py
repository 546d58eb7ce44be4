"""The order of log files, as their names tell it."""

import pytest

from guerillabackup.element import SourceUrl
from guerillabackup.errors import ConfigError
from guerillabackup.units.logfile_names import make_log_file, sort_oldest_first

URL = SourceUrl("/host/app.log")


def make(group, *serials):
    return [make_log_file(f"app.log.{serial}", URL, {group: serial}) for serial in serials]


def order(group, *serials):
    return [file.serial for file in sort_oldest_first(make(group, *serials))]


def test_a_larger_oldserial_is_older_and_none_is_newest():
    assert order("oldserial", "9", None, "10", "1") == ["10", "9", "1", ""]


def test_a_larger_serial_is_newer_and_none_is_newest():
    assert order("serial", "9", "", "10", "1") == ["1", "9", "10", ""]


def test_dates_are_compared_part_by_part():
    dates = ["2024-02-10", "2023-12-31", "2024-02-9", "20240101"]
    assert order("serial", *dates) == ["2023-12-31", "2024-02-9", "2024-02-10", "20240101"]


def test_numbers_and_texts_can_be_mixed():
    assert order("serial", "1b", "b1", "1a", "1") == ["1", "1a", "1b", "b1"]
    assert order("oldserial", "1b", "b1", "1a", "1") == ["b1", "1b", "1a", "1"]


@pytest.mark.parametrize("group", ["serial", "oldserial"])
@pytest.mark.parametrize("serials", [("1", "1"), ("01", "1"), ("", None)])
def test_two_files_with_one_serial_have_no_order(group, serials):
    with pytest.raises(ConfigError, match="have the same serial"):
        order(group, *serials)


def test_files_without_a_serial_have_no_order_unless_there_is_one_only():
    files = [make_log_file(name, URL, {}) for name in ("one", "two\n")]
    with pytest.raises(ConfigError, match=r"which of 'one' and 'two\\n' is older cannot be told"):
        sort_oldest_first(files)
    assert sort_oldest_first(files[:1]) == files[:1]
    assert sort_oldest_first([]) == []


@pytest.mark.parametrize(
    ("text", "method"),
    [("gz", "gzip"), ("bz2", "bzip2"), ("xz", "xz"), ("zst", "zstd"), (None, None), ("", None)],
)
def test_what_compress_matched_says_how_to_decompress(text, method):
    assert make_log_file("app.log", URL, {"compress": text}).method == method


def test_an_unknown_compression_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"'app.log.Z': unknown compression 'Z'.* gz, bz2, xz, zst"):
        make_log_file("app.log.Z", URL, {"compress": "Z"}).method  # noqa: B018
