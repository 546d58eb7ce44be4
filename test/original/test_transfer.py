"""Policies that configuration files name."""

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


def test_a_policy_of_a_sites_own_derives_from_both_bases():
    class Own(SenderTransferPolicy, ReceiverTransferPolicy):
        def getPolicyInfo(self):
            return "Own"

    assert Own().getPolicyInfo() == "Own"
