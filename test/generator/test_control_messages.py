"""Requests to the generator, as they were written, and whatever else comes."""

import json

import pytest

from guerillabackup.element import SourceUrl
from guerillabackup.errors import RemoteProtocolError
from guerillabackup.generator.control_messages import MAX_NAMES, Request
from guerillabackup.observe.control_lines import decode


@pytest.mark.parametrize(
    "request_",
    [
        Request("list"),
        Request("status"),
        Request("reload"),
        Request("trigger", (), (SourceUrl("/host/a"),), accept_empty=True),
        Request("trigger", ("A", "B"), (SourceUrl("/host/a"),), full=True, wait=True),
    ],
)
def test_a_request_is_read_as_it_was_written(request_):
    assert Request.parse(request_.describe()) == request_


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\xff",
        b"[]",
        b"{",
        b"{}",
        b"[" * 100_000,
        b'{"command": "stop"}',
        b'{"command": ["list"]}',
        b'{"command": "trigger", "units": ["A"], "accept_empty": true}',
        b'{"command": "trigger", "units": "A"}',
        b'{"command": "trigger", "units": [1]}',
        b'{"command": "trigger", "sources": ["no source"]}',
        json.dumps({"command": "trigger", "units": ["A"] * (MAX_NAMES + 1)}).encode(),
    ],
)
def test_what_is_no_request_is_an_error_of_the_client(line):
    with pytest.raises(RemoteProtocolError):
        Request.parse(decode(line))
