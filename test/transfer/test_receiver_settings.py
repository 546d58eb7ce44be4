"""The settings of a receiver: what the original has means none, and every mistake is named."""

import pytest

from guerillabackup.element import BackupType
from guerillabackup.errors import ConfigError
from guerillabackup.transfer.receiver_settings import SETTINGS, ReceiverSettings

parse = ReceiverSettings.from_configuration


@pytest.mark.parametrize("init_args", [None, [], ()])
@pytest.mark.parametrize("settings", [None, {}])
def test_what_is_written_for_the_original_means_the_defaults(init_args, settings):
    assert parse(init_args, settings) == ReceiverSettings()


def test_every_setting_is_read():
    values = {
        "Sources": ["/a/*"],
        "BackupType": "full",
        "MinAge": 0,
        "MaxAge": 100.5,
        "HandlingPolicyHas": ["offsite"],
        "HandlingPolicyLacks": ["local"],
        "MaxElementSize": 1 << 40,
        "AllowWithoutChecksum": True,
        "QuerySources": ["/b"],
        "QuerySince": 7,
        "MaxQuarantineSize": 0,
        "MaxQuarantineEntries": 5,
    }
    assert values.keys() == SETTINGS.keys()
    assert parse(None, values) == ReceiverSettings(
        sources=("/a/*",),
        backup_type=BackupType.FULL,
        min_age=0.0,
        max_age=100.5,
        handling_has=frozenset(("offsite",)),
        handling_lacks=frozenset(("local",)),
        max_element_size=1 << 40,
        allow_without_checksum=True,
        query_sources=("/b",),
        query_since=7.0,
        max_quarantine_size=0,
        max_quarantine_entries=5,
    )


@pytest.mark.parametrize("name", ["BackupType", "MinAge", "MaxAge", "MaxElementSize", "QuerySince"])
def test_none_is_no_condition(name):
    assert parse(None, {name: None}) == ReceiverSettings()


def test_all_mistakes_are_named_at_once():
    values = {
        "Sources": [],
        "BackupType": "weekly",
        "MinAge": float("nan"),
        "MaxAge": -1,
        "MaxElementSize": -1,
        "AllowWithoutChecksum": 1,
        "QuerySince": True,
        "HandlingPolicyHas": "offsite",
        "MaxQuarantineSize": "1G",
        "AcceptSources": ["/a"],
    }
    with pytest.raises(ConfigError) as caught:
        parse(None, values)
    assert len(caught.value.problems) == len(values)
    assert (
        "TransferReceiverSettings has Sources [], not a list of texts with at least one"
        in caught.value.problems
    )


def test_arguments_that_the_original_does_not_have_are_refused():
    with pytest.raises(ConfigError, match="takes none; its settings are in TransferReceiverSettings"):
        parse([False])


@pytest.mark.parametrize("settings", [[], "text", 5])
def test_settings_that_are_no_dict_are_refused(settings):
    with pytest.raises(ConfigError, match="not a dict of settings"):
        parse(None, settings)
