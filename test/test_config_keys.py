"""The table of configuration keys, and what it lets pass."""

import pytest

from guerillabackup.config_key import NO_DEFAULT, show_value
from guerillabackup.config_keys import KEYS, elements_move_on, gaps_are_meant
from guerillabackup.generator.conditions import MinPowerOnTimeCondition

FINGERPRINT = "0123456789ABCDEF0123456789abcdef01234567"

RIGHT = [
    ("GeneralPersistencyBaseDir", "/var/x"),
    ("GeneralDebugTestModeFlag", True),
    ("GeneralRequireSignatures", None),
    ("GeneralTrustedSigningKeys", {"/a/.*": [FINGERPRINT]}),
    ("GeneratorSinkClass", dict),
    ("StorageDirectoryMode", 0o2770),
    ("StorageFileMode", 0o640),
    ("StorageOwner", "backup"),
    ("StorageGroup", 34),
    ("PipelineStallTimeout", 0.5 + 1),
    ("TransferSenderPolicyInitArgs", [False]),
    ("GeneralElementsMoveOn", None),
    ("GeneralElementsMoveOn", True),
    ("DefaultUnitRunCondition", MinPowerOnTimeCondition(600)),
]
WRONG = [
    ("GeneralPersistencyBaseDir", None, "is None, not an absolute path"),
    ("GeneralPersistencyBaseDir", "var/x", "is 'var/x', not an absolute path"),
    ("GeneralRuntimeDataDir", "/a\nb", "is '/a\\nb', not an absolute path"),
    ("GeneralDebugTestModeFlag", 1, "is 1, not True or False"),
    ("GeneralSigningKey", "", "is '', not a text of 1 to 512 printable characters"),
    ("GeneralDefaultCompressionElement", "zstd", "is 'zstd', not a pipeline element"),
    ("GeneratorSinkClass", "x", "is 'x', not a class"),
    ("DefaultUnitRunCondition", 5, "is 5, not a condition"),
    ("DefaultUnitRunCondition", MinPowerOnTimeCondition, "is <class 'guerillabackup."),
    ("TransferSenderPolicyInitArgs", False, "is False, not a list"),
    ("GeneralTrustedSigningKeys", [], "is [], not a dict"),
    ("GeneralTrustedSigningKeys", {"(": []}, "has the pattern '(', not a regular expression: "),
    ("GeneralTrustedSigningKeys", {5: []}, "has the pattern 5, not a text"),
    ("GeneralTrustedSigningKeys", {"/a": "x"}, "has for '/a' 'x', not a list of fingerprints"),
    ("GeneralTrustedSigningKeys", {"/a": ["x"]}, "has for '/a' 'x', not a fingerprint of 40"),
    ("StorageDirectoryMode", 0o600, "is 384, not a mode"),
    ("StorageFileMode", 640, "is 640, not a mode"),
    ("StorageFileMode", True, "is True, not a mode"),
    ("StorageOwner", -1, "is -1, not a name or a number"),
    ("PipelineStallTimeout", 0, "is 0, not seconds from 1"),
    ("PipelineStallTimeout", float("nan"), "is nan, not seconds from 1"),
    ("PipelineStallTimeout", True, "is True, not seconds from 1"),
]


@pytest.mark.parametrize(("name", "value"), RIGHT)
def test_a_right_value_passes(name, value):
    assert list(KEYS[name].check(value)) == []


@pytest.mark.parametrize(("name", "value", "message"), WRONG)
def test_a_wrong_value_is_named_with_what_it_should_be(name, value, message):
    (problem,) = KEYS[name].check(value)
    assert problem.startswith(message)


@pytest.mark.parametrize("key", KEYS.values(), ids=list(KEYS))
def test_a_key_says_what_it_means_and_its_default_is_right(key):
    assert key.meaning.endswith(".")
    if key.default is NO_DEFAULT:
        assert key.needed_by
    else:
        assert list(key.check(key.default)) == []


def test_the_places_have_no_default():
    assert {name for name, key in KEYS.items() if key.default is NO_DEFAULT} == {
        "GeneralPersistencyBaseDir",
        "GeneralRuntimeDataDir",
        "DefaultFileSystemSinkBaseDir",
    }


def test_any_value_can_be_shown_shortly():
    class Odd:
        def __repr__(self):
            raise RuntimeError

    assert show_value(Odd()) == "a Odd"
    assert show_value(10**5000) == "a int"
    assert len(show_value("x" * 1000)) == 80


class SenderMoveDataTransferPolicy:
    """As configuration files name it."""


class SitesOwn:
    """A policy of a site's own."""


MOVE = {"TransferSenderPolicyClass": SenderMoveDataTransferPolicy, "DefaultFileSystemSinkBaseDir": "/data"}
OWN = {"TransferSenderPolicyClass": SitesOwn, "DefaultFileSystemSinkBaseDir": "/data"}


@pytest.mark.parametrize(
    ("values", "move_on"),
    [
        ({}, False),
        (MOVE, True),
        ({**MOVE, "GeneralElementsMoveOn": False}, False),
        ({"GeneralElementsMoveOn": True}, True),
        ({**MOVE, "TransferSenderPolicyInitArgs": [False]}, True),
        ({**MOVE, "TransferSenderPolicyInitArgs": []}, True),
        ({**MOVE, "TransferSenderPolicyInitArgs": [True]}, False),
        ({**MOVE, "TransferSenderSettings": {"MarkAsDoneOnly": True}}, False),
        ({**OWN, "TransferSenderPolicyInitArgs": [True]}, True),
        ({**MOVE, "TransferServiceStorageBaseDir": "/data/"}, True),
        ({**MOVE, "TransferServiceStorageBaseDir": "/spool"}, False),
        ({**MOVE, "TransferPeers": {"a": {"SenderPolicyClass": None}}}, True),
        ({"TransferPeers": {"a": {"SenderPolicyClass": SitesOwn}}}, True),
        ({"TransferPeers": {"a": {"SenderPolicyClass": SitesOwn, "StorageBaseDir": "/spool"}}}, False),
        (
            {
                **MOVE,
                "TransferSenderPolicyInitArgs": [True],
                "TransferPeers": {"a": {"SenderPolicyInitArgs": [False]}},
            },
            True,
        ),
    ],
)
def test_elements_move_on_where_a_policy_takes_them_out_of_the_generators_storage(values, move_on):
    assert elements_move_on(values) is move_on


RECEIVE = {"DefaultFileSystemSinkBaseDir": "/data", "TransferServiceStorageBaseDir": "/spool"}


@pytest.mark.parametrize(
    ("values", "directory", "are_meant"),
    [
        ({}, "/data", False),
        (MOVE, "/data", True),
        (MOVE, "/copy", False),
        ({**MOVE, "TransferServiceStorageBaseDir": "/spool"}, "/spool", True),
        ({**MOVE, "TransferServiceStorageBaseDir": "/spool"}, "/data", False),
        ({**MOVE, "GeneralElementsMoveOn": False}, "/data", False),
        ({"GeneralElementsMoveOn": True}, "/copy", True),
        (RECEIVE, "/spool", False),
        ({**RECEIVE, "TransferReceiverSettings": {"Sources": ["/a/*"], "MinAge": 60}}, "/spool", False),
        ({**RECEIVE, "TransferReceiverSettings": {"BackupType": "full"}}, "/spool", True),
        ({**RECEIVE, "TransferReceiverSettings": {"BackupType": "full"}}, "/data", False),
        ({**RECEIVE, "TransferPeers": {"a": {"ReceiverSettings": {"MaxAge": 60}}}}, "/spool/", True),
    ],
)
def test_gaps_are_meant_where_elements_leave_or_are_taken_in_part(values, directory, are_meant):
    assert gaps_are_meant(values, directory) is are_meant
