import pytest

from guerillabackup.errors import RemoteProtocolError
from guerillabackup.transfer.control_messages import MAX_PEERS, MAX_RATE, Request


@pytest.mark.parametrize(
    "request_", [Request("status"), Request("connect", ("a", "b"), wait=True), Request("limit", rate=1000)]
)
def test_a_request_is_read_as_it_was_written(request_):
    assert Request.parse(request_.describe()) == request_


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"command": ["status"]},
        {"command": "stop"},
        {"command": "connect", "peers": "a"},
        {"command": "connect", "peers": [1]},
        {"command": "connect", "peers": ["a"] * (MAX_PEERS + 1)},
        {"command": "limit", "rate": 0},
        {"command": "limit", "rate": True},
        {"command": "limit", "rate": 1.5},
        {"command": "limit", "rate": MAX_RATE + 1},
    ],
)
def test_what_is_no_request_is_an_error_of_the_client(values):
    with pytest.raises(RemoteProtocolError):
        Request.parse(values)
