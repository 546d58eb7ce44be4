"""Which of a key's fingerprints may sign which source."""

import pytest

from guerillabackup.element import SourceUrl
from guerillabackup.signature_trust import distrust_text, find_odd_patterns, is_trusted, signs_in_vain
from guerillabackup.signature_values import KeyInfo, KeyPart, KeyPurpose

PRIMARY, SIGNING, CODING = "A" * 40, "B" * 40, "C" * 40
KEY = KeyInfo(
    PRIMARY,
    ("mine",),
    0,
    None,
    False,
    False,
    (
        KeyPart(PRIMARY, "ed25519", frozenset(), None, False),
        KeyPart(SIGNING, "ed25519", frozenset({KeyPurpose.SIGN}), None, False),
        KeyPart(CODING, "cv25519", frozenset({KeyPurpose.ENCRYPT}), None, False),
    ),
)


@pytest.mark.parametrize(
    ("source", "trusted", "expected"),
    [
        ("/host/tree", {"/host/.*": ["a" * 40]}, True),
        ("/host/tree.members", {"/host/tree": ["A" * 40]}, True),
        ("/host/tree/sub", {"/host/tree": ["A" * 40]}, False),
        ("/host/tree", {"/host/.*": ["D" * 40], ".*e": ["A" * 40]}, True),
        ("/host/tree", {}, False),
    ],
)
def test_a_source_is_signed_by_who_is_trusted_for_all_of_its_name(source, trusted, expected):
    assert is_trusted({PRIMARY}, SourceUrl(source), trusted) is expected


@pytest.mark.parametrize(
    ("trusted", "expected"),
    [
        (None, False),
        ({"/a": [PRIMARY]}, False),
        ({"/a": [SIGNING]}, False),
        ({"/a": [CODING]}, True),
        ({}, True),
    ],
)
def test_a_key_signs_in_vain_where_none_of_its_parts_that_sign_is_trusted(trusted, expected):
    assert signs_in_vain(KEY, SourceUrl("/a"), trusted) is expected


def test_of_many_sources_some_are_named():
    text = distrust_text("mine", KEY, [SourceUrl(f"/{name}") for name in "abcde"])
    assert "for source /a, /b, /c and 2 more: " in text


@pytest.mark.parametrize(
    ("pattern", "part"),
    [
        ("/alpha/*", "looks like a shell pattern: here it is a regular expression, as '/alpha/.*' is"),
        ("/alpha*/x", "as '/alpha.*/x' is"),
        ("alpha/.*", "a source begins with a slash"),
        ("", "a source begins with a slash"),
        ("/alpha/", "'/alpha/.*' trusts for all below it"),
    ],
)
def test_an_expression_that_can_hardly_be_meant_is_told_with_what_may_be(pattern, part):
    (text,) = find_odd_patterns([pattern])
    assert part in text
    assert text.startswith(f"GeneralTrustedSigningKeys has {pattern!r}, ")


def test_expressions_that_match_sources_are_not_told():
    patterns = ["/alpha/.*", ".*", "/alpha", r"/a/\w*", "/[a-z]*/x", "/(a|b)*", "(/a|/b)/.*", "[/]a", "/a+"]
    assert list(find_odd_patterns(patterns)) == []
