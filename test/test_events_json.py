"""Every event comes back from its JSON form as it was."""

import json
from typing import get_args

import pytest

from guerillabackup import events
from guerillabackup.element import ElementId, SourceUrl
from guerillabackup.errors import RemoteProtocolError
from guerillabackup.events_json import describe_event, parse_event

URL = SourceUrl("/host/a")
ELEMENT = ElementId.parse("/host/20261121155214-a-full")
EXAMPLES = {
    "unit_name": "Tar",
    "source_url": URL,
    "backup_type": "full",
    "element_id": ELEMENT,
    "seconds": 1.5,
    "stages": (events.StageProgress("tar", -1, 10), events.StageProgress("zstd", 10, 5)),
    "expected": None,
}


@pytest.mark.parametrize("kind", get_args(events.Event))
def test_an_event_comes_back_as_it_was(kind):
    fields = {
        name: EXAMPLES.get(name, 7 if of is int else "text") for name, of in kind.__annotations__.items()
    }
    event = kind(**fields)
    assert parse_event(json.loads(json.dumps(describe_event(event)))) == event


def test_a_kind_that_is_not_known_is_none():
    assert parse_event({"kind": "OfTheFuture"}) is None
    assert parse_event({}) is None


@pytest.mark.parametrize("source", [None, 7, "no source"])
def test_a_field_that_is_wrong_or_missing_is_an_error(source):
    described = describe_event(events.SourceStarted("Tar", URL, "full"))
    with pytest.raises(RemoteProtocolError, match="SourceStarted"):
        parse_event({**described, "source_url": source})
    del described["unit_name"]
    with pytest.raises(RemoteProtocolError, match="SourceStarted"):
        parse_event(described)
