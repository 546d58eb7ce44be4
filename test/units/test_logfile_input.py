"""The entries of LogBackupUnitInputList: which source a file belongs to, and what is refused."""

import pytest

from guerillabackup.element import SourceUrl
from guerillabackup.errors import ConfigError, SourceUrlError
from guerillabackup.units.logfile_input import parse_inputs

LABEL = SourceUrl("/Unit")
NUMBERED = r"^(app\.log)\.(?P<oldserial>[0-9]+)$"


def parse_one(*entry):
    listed = parse_inputs([entry], LABEL)
    assert listed.refused == ()
    return listed.inputs[0]


def refusal(entry):
    listed = parse_inputs([entry], LABEL)
    assert listed.inputs == ()
    ((label, error),) = listed.refused
    return label, error


@pytest.mark.parametrize(
    ("directory", "transformation", "url"),
    [
        ("/var/log", None, "/var/log/app.log"),
        ("//var//log/x/../", None, "/var/log/app.log"),
        ("/", None, "/app.log"),
        ("/var/log", "name.log", "/var/log/name.log"),
        ("/var/log", "below/name.log", "/var/log/below/name.log"),
        ("/", "name.log", "/name.log"),
        ("/var/log", "/host/name.log", "/host/name.log"),
        ("/with blank", "/host/name.log", "/host/name.log"),
    ],
)
def test_the_source_is_made_of_directory_group_and_transformation(directory, transformation, url):
    file = parse_one(directory, NUMBERED, transformation, None, None).match("app.log.1")
    assert str(file.source_url) == url
    assert file.serial == "1"


def test_the_regex_is_matched_from_the_start_of_the_name_as_the_original_does():
    log_input = parse_one("/var/log", "(a)", None, None, None)
    assert log_input.match("abc") is not None
    assert log_input.match("ba") is None


def test_lists_policies_and_keys_are_taken():
    log_input = parse_one(*["/var/log", NUMBERED, None, "keep long", ["one", "two"]])
    assert log_input.policy == "keep long"
    assert log_input.encryption_key == ("one", "two")


@pytest.mark.parametrize("name", ["a b", "a\nb", "\udcff", "ü", "", ".", "..", "x.members", "n" * 231])
def test_a_name_that_makes_no_source_url_is_told_at_once(name):
    log_input = parse_one("/var/log", r"(?s)^(.*)\.1$", None, None, None)
    with pytest.raises(SourceUrlError):
        log_input.match(f"{name}.1")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (("/var/log", NUMBERED, None, None), "is not a tuple"),
        ("text", "'text' is not a tuple"),
        (("var/log", NUMBERED, None, None, None), "'var/log' is not an absolute path"),
        ((None, NUMBERED, None, None, None), "not an absolute path"),
        (("/var/log", "([", None, None, None), r"file regex: '\(\[' is none: unterminated"),
        (("/var/log", 1, None, None, None), "file regex: 1 is not a text"),
        (("/var/log", "app", None, None, None), "has no group"),
        (("/var/log", "(?P<serial>a)(?P<oldserial>b)", None, None, None), "both groups"),
        (("/with blank", NUMBERED, None, None, None), "give a source transformation that begins with '/'"),
        (("/var/log", NUMBERED, "", None, None), "neither None nor a text"),
        (("/var/log", NUMBERED, "a/", None, None), "source transformation: 'a/'"),
        (("/var/log", NUMBERED, "../a", None, None), "source transformation: '../a'"),
        (("/var/log", NUMBERED, "//a", None, None), "source transformation: '//a'"),
        (("/var/log", NUMBERED, "a.members", None, None), "lists of members"),
        (("/var/log", NUMBERED, None, "ä", None), "policy"),
        (("/var/log", NUMBERED, None, None, ""), "encryption key"),
        (("/var/log", NUMBERED, None, None, [1]), "encryption key"),
    ],
)
def test_a_wrong_entry_says_what_is_wrong(entry, message):
    _, error = refusal(entry)
    assert str(error).startswith("entry 1 of LogBackupUnitInputList: ")
    with pytest.raises(ConfigError, match=message):
        raise error


def test_all_that_is_wrong_with_an_entry_is_told():
    _, error = refusal(("x", "(", None, "ä", ""))
    assert len(error.problems) == 4


def test_a_wrong_entry_is_reported_under_the_name_of_its_directory_if_it_has_one():
    assert refusal(("/var/log", "([", None, None, None))[0] == SourceUrl("/var/log")
    assert refusal(("/var/log", "([", "/host/x", None, None))[0] == SourceUrl("/host/x")
    assert refusal(None)[0] == LABEL


def test_a_wrong_entry_keeps_no_other_from_being_used():
    listed = parse_inputs([("/a", "(", None, None, None), ("/b", NUMBERED, None, None, None)], LABEL)
    assert [item.directory for item in listed.inputs] == ["/b"]
    assert "entry 1 " in str(listed.refused[0][1])


@pytest.mark.parametrize("value", [None, "text", {}, 1])
def test_what_is_no_list_is_refused_as_a_whole(value):
    with pytest.raises(ConfigError, match="not a list of tuples"):
        parse_inputs(value, LABEL)
