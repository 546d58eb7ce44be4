"""What a pattern on paths means, and that it does not take forever."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerillabackup.restore.path_pattern import PathPattern

STEPS = st.sampled_from(["**", "*", "?", "a", "a*", "*b", "a?", "**a", "[ab]", "[!a]", "é", "?*?"])
PLAIN_STEPS = st.text("abé", min_size=1, max_size=3)


def translate(steps):
    """The same pattern as a regular expression, which goes back as often as it likes."""
    single = {"*": "[^/]*", "?": "[^/]", "[ab]": "[ab]", "[!a]": "[^a/]"}
    whole = ""
    for index, step in enumerate(steps):
        is_last = index == len(steps) - 1
        if step == "**":
            whole += ".+" if is_last else "([^/]+/)*"
        else:
            pieces = re.findall(r"\*+|\[.*?\]|.", step)
            whole += "".join(single.get(piece.replace("**", "*"), piece) for piece in pieces)
            whole += "" if is_last else "/"
    return whole + "(/.*)?"


@given(st.lists(STEPS, min_size=1, max_size=4), st.lists(PLAIN_STEPS, min_size=1, max_size=4))
def test_a_pattern_of_several_steps_means_what_its_regular_expression_does(steps, names):
    # A single byte is a character as well where it is not UTF-8: of one letter there may be two.
    name = "/".join(names)
    if "é" in name and any(set(step) & set("?[") for step in steps):
        return
    expected = re.fullmatch(translate(steps), name) is not None
    assert PathPattern("/".join(steps)).matches(name.encode()) == expected


def test_any_steps_twice_are_any_steps():
    assert PathPattern("a/**/**").matches(b"a/b/c")


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("*a" * 40 + "b", "a" * 250),
        ("**/a*/" * 40 + "zz", "aaaaa/" * 100 + "a" * 250),
        ("?" * 200 + "b", "é" * 120),
        ("[!b]" * 200 + "b", "é" * 120),
    ],
)
def test_no_pattern_takes_years(pattern, name):
    assert not PathPattern(pattern).matches(name.encode())
