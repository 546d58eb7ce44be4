"""Names of elements, against what their metadata says."""

import pytest

from guerillabackup.element import BackupElementMetainfo, ElementId
from guerillabackup.restore.renamed import doubt_name

NOON = 1_769_947_200


def doubts(name, source_url="/h/s", timestamp=NOON, backup_type="full"):
    values = {"BackupType": backup_type, "Timestamp": timestamp, "SourceUrl": source_url}
    metainfo = BackupElementMetainfo({key: value for key, value in values.items() if value is not None})
    return doubt_name(metainfo, ElementId.parse(f"/h/{name}"))


@pytest.mark.parametrize("name", ["20260201120000-s-full", "202602011200007-s-full"])
def test_the_name_that_our_storage_gives_is_in_order(name):
    assert doubts(name) == []


@pytest.mark.parametrize(
    "name",
    ["20260201120001-s-full", "20260202120000-s-full", "20260131110000-s-full", "99999999999999-s-full"],
)
def test_the_time_of_another_element_is_a_violation(name):
    (doubt,) = doubts(name)
    assert doubt.is_violation
    assert "made at 20260201120000 UTC" in doubt.text


@pytest.mark.parametrize("name", ["20260201130000-s-full", "20260201173000-s-full", "20260201000000-s-full"])
def test_what_may_be_local_time_is_a_doubt_and_no_violation(name):
    (doubt,) = doubts(name)
    assert not doubt.is_violation
    assert "local time" in doubt.text


def test_the_time_in_the_name_of_an_element_of_the_original_does_not_count():
    assert doubts("20260207120000-s-full", source_url=None) == []


def test_another_type_is_a_violation_whoever_made_it():
    (doubt,) = doubts("20260201120000-s-inc", source_url=None)
    assert doubt.is_violation
    assert "type inc" in doubt.text
