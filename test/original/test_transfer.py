"""Policies that configuration files name."""

import pytest

from guerillabackup.original.transfer import (
    ReceiverStoreDataTransferPolicy,
    ReceiverTransferPolicy,
    SenderMoveDataTransferPolicy,
    SenderTransferPolicy,
)


def test_the_policies_of_a_configuration_take_its_arguments_and_know_each_other():
    sender = SenderMoveDataTransferPolicy({}, *[True])
    assert sender.markAsDoneOnlyFlag
    assert ReceiverStoreDataTransferPolicy({}).isSenderPolicyCompatible(sender.getPolicyInfo())
    assert not ReceiverStoreDataTransferPolicy({}).isSenderPolicyCompatible("Other")


def test_what_a_policy_of_a_sites_own_lacks_is_named():
    class Own(SenderTransferPolicy, ReceiverTransferPolicy):
        pass

    calls = [
        ("getPolicyInfo", ()),
        ("queryBackupDataElements", (None, None)),
        ("applyPolicy", (None, None, True)),
        ("isSenderPolicyCompatible", ("x",)),
    ]
    for name, arguments in calls:
        with pytest.raises(NotImplementedError, match=f"Own has no {name}"):
            getattr(Own(), name)(*arguments)
    with pytest.raises(NotImplementedError, match="has no applyPolicy"):
        ReceiverTransferPolicy().applyPolicy(None)
