"""The settings of a receiver: what the original has means none, and every mistake is named."""

import pytest

from guerillabackup.element import BackupType
from guerillabackup.errors import ConfigError
from guerillabackup.transfer.receiver_settings import (
    SETTINGS,
    ReceiverSettings,
    parse_receiver_settings,
)


@pytest.mark.parametrize("values", [None, [], (), [None], [{}], {}])
def test_what_is_written_for_the_original_means_the_defaults(values):
    assert parse_receiver_settings(values) == ReceiverSettings()


def test_every_setting_is_read():
    values = {
        "AcceptedSources": ["/a/*"],
        "BackupTypes": ["full"],
        "MaxAge": 100,
        "MinAge": 0,
        "HandlingPolicies": ["offsite"],
        "MaxElementSize": 1 << 40,
        "AllowWithoutChecksum": True,
        "QuerySources": ["/b"],
        "QuerySince": 7,
        "MaxQuarantineSize": 0,
        "MaxQuarantineEntries": 5,
        "BytesPerSecond": 1000,
    }
    assert values.keys() == SETTINGS.keys()
    assert parse_receiver_settings([values]) == ReceiverSettings(
        ("/a/*",), frozenset((BackupType.FULL,)), 100, 0, ("offsite",), 1 << 40, True, ("/b",), 7, 0, 5, 1000
    )


def test_all_mistakes_are_named_at_once():
    values = {
        "AcceptedSources": [],
        "BackupTypes": ["weekly"],
        "MaxAge": -1,
        "MaxElementSize": 0,
        "AllowWithoutChecksum": 1,
        "QuerySince": True,
        "HandlingPolicies": "offsite",
        "MaxQuarantineSize": "1G",
        "AcceptSources": ["/a"],
    }
    with pytest.raises(ConfigError) as caught:
        parse_receiver_settings(values)
    assert len(caught.value.problems) == len(values)
    assert "receiver setting AcceptedSources is [], not a list of at least one text" in caught.value.problems


@pytest.mark.parametrize("values", [[{}, {}], [False, 1]])
def test_more_than_one_argument_is_refused(values):
    with pytest.raises(ConfigError, match="one argument"):
        parse_receiver_settings(values)


@pytest.mark.parametrize("value", [True, "text", 5])
def test_an_argument_that_is_no_dict_is_refused(value):
    with pytest.raises(ConfigError):
        parse_receiver_settings([value])
