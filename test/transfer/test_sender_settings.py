"""Settings of a sender policy, from the original's arguments and ours."""

import pytest

from guerillabackup.element import BackupType
from guerillabackup.errors import ConfigError
from guerillabackup.transfer.sender_settings import SETTINGS, SenderOrder, SenderSettings

EVERYTHING = {
    "MarkAsDoneOnly": True,
    "MarkCountsForAll": False,
    "Order": "priority",
    "Sources": ["/host/*"],
    "BackupType": "full",
    "MinAge": 60,
    "MaxAge": 86400.5,
    "MinArrivalAge": 0,
    "MaxArrivalAge": None,
    "HandlingPolicyHas": ["offsite"],
    "HandlingPolicyLacks": ["local", "never"],
}


def test_without_configuration_everything_is_moved_oldest_first():
    assert SenderSettings.from_configuration() == SenderSettings()
    assert SenderSettings.from_configuration([], {}) == SenderSettings()
    assert not SenderSettings().mark_as_done_only


@pytest.mark.parametrize("marks", [True, False])
def test_the_originals_arguments_say_whether_to_mark_only(marks):
    assert SenderSettings.from_configuration([marks]).mark_as_done_only is marks


def test_every_setting_is_taken():
    assert set(EVERYTHING) == set(SETTINGS)
    assert SenderSettings.from_configuration([False], EVERYTHING) == SenderSettings(
        True,
        False,
        SenderOrder.PRIORITY,
        ("/host/*",),
        BackupType.FULL,
        60.0,
        86400.5,
        0.0,
        None,
        frozenset({"offsite"}),
        frozenset({"local", "never"}),
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MarkAsDoneOnly", 1),
        ("Order", "newest"),
        ("Order", []),
        ("Sources", "/host/*"),
        ("Sources", []),
        ("Sources", [1]),
        ("BackupType", "differential"),
        ("BackupType", {}),
        ("MinAge", -1),
        ("MinAge", float("nan")),
        ("MaxAge", True),
        ("MaxAge", "1d"),
        ("HandlingPolicyHas", {}),
        ("Colour", "red"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value(name, value):
    with pytest.raises(ConfigError, match=f"TransferSenderSettings has .*{name}"):
        SenderSettings.from_configuration(None, {name: value})


@pytest.mark.parametrize("init_args", [[True, False], ["yes"], [None]])
def test_wrong_arguments_are_named(init_args):
    with pytest.raises(ConfigError, match="TransferSenderPolicyInitArgs is"):
        SenderSettings.from_configuration(init_args)


def test_settings_may_mark_where_the_arguments_say_nothing_but_do_not_contradict_them():
    assert SenderSettings.from_configuration([False], {"MarkAsDoneOnly": True}).mark_as_done_only
    with pytest.raises(ConfigError, match="says to mark only"):
        SenderSettings.from_configuration([True], {"MarkAsDoneOnly": False})


def test_all_problems_are_told_at_once():
    with pytest.raises(ConfigError) as caught:
        SenderSettings.from_configuration([3], {"MinAge": -1, "MaxAge": -1})
    assert len(caught.value.problems) == 3
    with pytest.raises(ConfigError, match="is a list, not a dict"):
        SenderSettings.from_configuration(None, ["MinAge"])
