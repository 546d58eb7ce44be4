"""Which paths a pattern means."""

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerillabackup.errors import ConfigError
from guerillabackup.restore.member_patterns import MemberPatterns, explain_unmatched, quote, show


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("etc", "etc"),
        ("etc", "etc/passwd"),
        ("./etc/", "etc/ssl/certs"),
        ("/etc", "etc"),
        ("etc/*.conf", "etc/a.conf"),
        ("etc/*.conf", "etc/a.conf/below"),
        ("**/*.conf", "a.conf"),
        ("**/*.conf", "etc/ssl/a.conf"),
        ("etc/**", "etc/a/b"),
        ("a/**/b", "a/b"),
        ("a/**/b", "a/x/y/b"),
        ("a?c", "aßc"),
        ("[a-c]x", "bx"),
        ("[!a-c]x", "dx"),
        ("[]]", "]"),
        ("[!]]", "x"),
        ("a[b", "a[b"),
        (r"\*", "*"),
        (r"a\[b]\?", "a[b]?"),
        (r"with\012newline", "with\nnewline"),
        (r"\303\244", "ä"),
        (r"\\012", r"\012"),
        (r"back\\slash", r"back\slash"),
        (r"\8\78", "878"),
        ("*", "with\nnewline"),
        (".", "anything/at/all"),
    ],
)
def test_a_pattern_matches(pattern, name):
    assert MemberPatterns([pattern]).match(name.encode())


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("etc", "usr/etc"),
        ("etc", "etcetera"),
        ("*.conf", "etc/a.conf"),
        ("etc/**", "etc"),
        ("a?c", "a/c"),
        ("[!a-c]x", "bx"),
        ("[!a]b", "/b"),
        (r"\*", "x"),
        ("a.c", "abc"),
    ],
)
def test_a_pattern_does_not_match(pattern, name):
    assert not MemberPatterns([pattern]).match(name.encode())


def test_no_pattern_at_all_matches_everything():
    assert MemberPatterns([]).match(b"x")


def test_names_that_are_not_utf_8_can_be_meant_by_the_same_bytes():
    assert MemberPatterns([b"caf\xe9*".decode("utf-8", "surrogateescape")]).match(b"caf\xe9.txt")
    assert MemberPatterns(["caf?.txt"]).match(b"caf\xe9.txt")


def test_the_patterns_that_match_are_told_by_position():
    assert MemberPatterns(["a", "b", "a/c"]).matching(b"a/c/d") == [0, 2]


@pytest.mark.parametrize("pattern", ["../etc", "a/../b", "[z-a]", "x" * 70_000])
def test_a_pattern_that_cannot_mean_anything_is_refused(pattern):
    with pytest.raises(ConfigError):
        MemberPatterns([pattern])


@given(st.text("ab*?.", min_size=1, max_size=8), st.text("ab.", min_size=1, max_size=8))
def test_within_one_step_a_pattern_means_what_the_shell_means(pattern, name):
    if pattern.strip(".") == "" or "**" in pattern or name in (".", ".."):
        return
    assert MemberPatterns([pattern]).match(name.encode()) == fnmatch.fnmatchcase(name, pattern)


NAMES = st.lists(
    st.binary(min_size=1, max_size=12).filter(
        lambda step: not set(step) & set(b"/\0") and step not in (b".", b"..")
    ),
    min_size=1,
    max_size=3,
).map(b"/".join)


@given(NAMES, NAMES)
def test_a_quoted_name_matches_that_name_and_no_other(name, other):
    pattern = MemberPatterns([quote(name)])
    assert pattern.match(name)
    assert pattern.match(name + b"/below")
    assert pattern.match(other) == (other == name or other.startswith(name + b"/"))


@given(st.text("*?[]!\\01a-", min_size=1, max_size=8), st.text("*?[]!\\01a-", min_size=1, max_size=8))
def test_names_of_nothing_but_special_characters_are_told_apart(name, other):
    assert MemberPatterns([quote(name.encode())]).match(other.encode()) == (name == other)


@given(NAMES)
def test_a_quoted_name_prints(name):
    assert quote(name).isprintable()


def test_a_name_without_anything_special_is_its_own_pattern():
    assert quote("etc/größe 'x' (1)".encode()) == "etc/größe 'x' (1)"


@pytest.mark.parametrize("pattern", [r"a\057b", r"a\000"])
def test_a_byte_that_no_name_has_is_refused(pattern):
    with pytest.raises(ConfigError, match="which no name has"):
        MemberPatterns([pattern])


@pytest.mark.parametrize(
    ("pattern", "is_listed", "text"),
    [
        ("a/b", False, "no member matches 'a/b'"),
        (
            "/srv/tree/b",
            False,
            "no member matches '/srv/tree/b'; names are relative to the Root of the source, as",
        ),
        (
            "*.txt",
            False,
            "no member matches '*.txt'; '**/*.txt' is looked for in all directories, '*.txt' only",
        ),
        ("run/sock", True, "what matches 'run/sock' is listed, but was never archived"),
    ],
)
def test_a_pattern_without_a_match_is_told_of_with_what_may_help(pattern, is_listed, text):
    assert explain_unmatched(MemberPatterns([pattern]), {0}, {0} if is_listed else set()).startswith(text)


def test_a_name_in_a_message_is_quoted_printable_and_short():
    assert show(b"../a b\n\xff") == "'../a b\\012\\377'"
    assert show(b"x" * 5000) == f"'{'x' * 100}…{'x' * 100}'"
