"""What is said of the last elements that are remembered."""

from guerillabackup.element import ElementId, SourceUrl
from guerillabackup.element_memory import LastElements

URL = SourceUrl("/host/a")
NAME = ElementId.parse("/host/20260201120000-a-full")


def test_a_lost_element_is_named_as_far_as_it_is_known():
    uuids = {URL: frozenset([b"uuid", b"old"])}
    assert LastElements(uuids).describe_lost(URL).startswith("the last element that was stored of /host/a")
    named = LastElements(uuids, {b"uuid": NAME})
    assert named.id_of(URL) == NAME
    assert named.describe_lost(URL).startswith(f"{NAME}, the last element that was stored of /host/a")


def test_where_elements_move_on_that_is_said_first():
    assert "it was moved on, or was deleted or lost" in LastElements(move_on=True).describe_lost(URL)
