"""One value out of a configuration that cannot be used."""

import pytest

from guerillabackup.config_line import find_plain_text


@pytest.fixture
def find(tmp_path):
    def find_in(text, mode=0o600):
        (tmp_path / "config").write_text(text)
        (tmp_path / "config").chmod(mode)
        return find_plain_text(str(tmp_path / "config"), "Directory")

    return find_in


@pytest.mark.parametrize("text", ["Directory = '/run/x'", 'x = = 1\nDirectory="/run/x"  # here\nclass = 1\n'])
def test_a_plain_line_tells_whatever_else_is_in_the_file(find, text):
    assert find(text) == "/run/x"


def test_the_last_line_counts(find):
    assert find("Directory = '/a'\nDirectory = '/b'\n") == "/b"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Directory = base + '/x'",
        "Directory = 5",
        "Directory == '/a'",
        "# Directory = '/a'",
        "Directory = '/a",
    ],
)
def test_what_is_no_plain_text_tells_nothing(find, text):
    assert find(text) is None


def test_a_file_that_others_can_write_tells_nothing(find):
    assert find("Directory = '/a'", 0o622) is None


def test_a_file_that_is_not_there_tells_nothing(tmp_path):
    assert find_plain_text(str(tmp_path / "none"), "Directory") is None
