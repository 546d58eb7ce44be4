"""What TransferPeers may say, and how each mistake in it is told."""

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guerillabackup.errors import ConfigError
from guerillabackup.transfer.peer_settings import SETTINGS, UNSET, PeerSettings, parse_peers


def test_every_field_has_its_name_in_the_configuration():
    assert {field for field, _ in SETTINGS.values()} == {each.name for each in fields(PeerSettings)} - {
        "name"
    }


def test_what_is_not_said_is_as_for_all():
    peer = parse_peers({"alpha": {"Connect": ["ssh", "alpha"]}})["alpha"]
    assert (peer.connect, peer.accepted_sources, peer.sender_policy) == (("ssh", "alpha"), ("*",), UNSET)


def test_what_is_said_is_taken():
    settings = {
        "Listen": "/run/a.socket",
        "Stdio": True,
        "Interval": 60,
        "AcceptSources": ["/alpha/*"],
        "SenderPolicyClass": None,
        "MaxElementSize": 10,
        "SocketMode": 0o660,
    }
    peer = parse_peers({"alpha": settings})["alpha"]
    assert (peer.listen, peer.stdio, peer.interval, peer.sender_policy) == ("/run/a.socket", True, 60.0, None)
    assert (peer.accepted_sources, peer.max_element_size, peer.socket_mode) == (("/alpha/*",), 10, 0o660)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "none of Listen, Connect and Stdio"),
        ({"Listen": "run/a"}, "Listen 'run/a', not an absolute path"),
        ({"Conect": "/a"}, "'Conect', which there is not; is Connect meant"),
        ({"Connect": []}, "Connect [], not the absolute path of a socket, or a command"),
        ({"Connect": ["a\0b"]}, "not the absolute path of a socket, or a command"),
        ({"Stdio": True, "Interval": 0}, "Interval 0, not seconds from 1 to"),
        ({"Stdio": True, "Interval": float("nan")}, "Interval nan, not seconds"),
        ({"Stdio": 1}, "Stdio 1, not True or False"),
        ({"Stdio": True, "AcceptSources": "/a/*"}, "AcceptSources '/a/*', not a list of patterns"),
        ({"Stdio": True, "MaxElementSize": -1}, "MaxElementSize -1, not a number of bytes"),
        ({"Stdio": True, "MaxConnections": 0}, "MaxConnections 0, not a number of connections"),
        ({"Stdio": True, "SocketMode": 0o777}, "SocketMode 511, not a mode"),
        ([], "[], not a dict of settings"),
    ],
)
def test_each_mistake_is_told_with_the_peer_and_what_would_be_right(settings, said):
    with pytest.raises(ConfigError) as caught:
        parse_peers({"alpha": settings})
    (problem,) = caught.value.problems
    assert "TransferPeers has for 'alpha'" in problem
    assert said in problem


@pytest.mark.parametrize("name", ["", "a b", "../x", "-rf", "ü", "a" * 65, 5])
def test_a_name_that_is_none_is_refused(name):
    with pytest.raises(ConfigError, match="not a name of 1 to 64 characters"):
        parse_peers({name: {"Stdio": True}})


def test_all_mistakes_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        parse_peers({"a": {"Stdio": 1, "Interval": "x"}, "b": {}})
    assert len(caught.value.problems) == 3


def test_two_peers_do_not_share_a_socket():
    with pytest.raises(ConfigError, match="one socket for 'a' and 'b': /run/x"):
        parse_peers({"a": {"Listen": "/run/x"}, "b": {"Listen": "/run/x"}})


VALUES = st.none() | st.integers() | st.text() | st.lists(st.text())


@given(st.dictionaries(st.sampled_from(sorted(SETTINGS)), VALUES))
def test_whatever_is_set_is_taken_or_refused_in_words(settings):
    problems: tuple[str, ...] = ()
    try:
        parse_peers({"alpha": settings})
    except ConfigError as error:
        problems = error.problems
    assert all(problem.startswith("TransferPeers ") for problem in problems)
