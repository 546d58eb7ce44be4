"""What is allowed in a configuration of transfers, and can hardly be meant."""

import pytest

from guerillabackup.transfer.oddities import find_oddities
from guerillabackup.transfer.plan import make_plan


class Policy:
    """Stands for a class of policies: a plan makes none."""


VALUES = {
    "GeneralPersistencyBaseDir": "/state",
    "GeneralRuntimeDataDir": "/run",
    "DefaultFileSystemSinkBaseDir": "/data",
    "TransferSenderPolicyClass": Policy,
    "TransferReceiverPolicyClass": Policy,
}


def found(**values):
    return find_oddities(make_plan({**VALUES, **values}), lambda name: name == "ssh")


@pytest.mark.parametrize(
    ("values", "part"),
    [
        (
            {"TransferPeers": {"a": {"Connect": ["shh", "-T", "a"]}}},
            "Connect starts shh, which is no program",
        ),
        ({"TransferPeers": {"a": {"Connect": ["ssh -T a"]}}}, "each word is an item of the list"),
        (
            {"TransferPeers": {"a": {"Stdio": True, "AcceptSources": ["alpha/*"]}}},
            "a source begins with a slash",
        ),
        ({"TransferSenderSettings": {"Sources": ["alpha"]}}, "a source begins with a slash"),
        ({"TransferReceiverSettings": {"MinAge": 5, "MaxAge": 4}}, "MinAge 5 above MaxAge 4"),
        ({"TransferSenderPolicyClass": None, "TransferSenderSettings": {"MinAge": 5}}, "nothing uses it"),
        ({"TransferBandwidthLimit": 999}, "999 bytes a second: so few"),
        ({"TransferPeers": {"a": {"Stdio": True, "AcceptSources": []}}}, "AcceptSources is empty"),
        ({"TransferPeers": {"a": {"Listen": "/" + "a" * 107}}}, "more than 107 bytes"),
        (
            {
                "TransferSenderSettings": {"MarkAsDoneOnly": True},
                "TransferPeers": {"a": {"Stdio": True}, "b": {"Stdio": True}},
            },
            "goes to the first of a, b only",
        ),
    ],
)
def test_each_is_told_once(values, part):
    (text,) = found(**values)
    assert part in text


def test_what_can_be_meant_is_not_told():
    peers = {"a": {"Connect": ["ssh", "-T", "a"], "AcceptSources": ["*", "/a/*"], "OfferSources": []}}
    marks = {"MarkAsDoneOnly": True, "MarkCountsForAll": False, "MinAge": 1, "MaxAge": 2}
    assert found(TransferPeers=peers, TransferSenderSettings=marks) == []
