"""The plan of a configuration: who the peers are, with what, and what cannot be."""

import pytest

from guerillabackup.errors import ConfigError
from guerillabackup.transfer.plan import (
    RECEIVER,
    find_warnings,
    general_choice,
    make_plan,
    plan_dials,
    plan_single,
)

PLACES = {
    "GeneralPersistencyBaseDir": "/state",
    "GeneralRuntimeDataDir": "/run/gb",
    "DefaultFileSystemSinkBaseDir": "/data",
}


class Policy:
    pass


class Other:
    pass


def plan(**values):
    return make_plan({**PLACES, **values})


def test_without_peers_there_is_the_socket_that_is_nobody_s_own():
    (peer,) = plan(TransferSocketMode=0o660, TransferSocketGroup="backup").peers
    assert (peer.agent_id, peer.listen, peer.storage) == ("socket", "/run/gb/transfer.socket", "/data")
    assert (peer.access.mode, peer.access.group, peer.connect) == (0o660, "backup", None)
    assert plan(TransferSocket=False).peers == ()


def test_what_a_peer_does_not_say_is_as_for_all_and_what_it_says_is_its_own():
    made = plan(
        TransferSocket=False,
        TransferSenderPolicyClass=Policy,
        TransferSenderPolicyInitArgs=[True],
        TransferServiceStorageBaseDir="/transfer/",
        TransferPeers={
            "a": {"Stdio": True},
            "b": {
                "Connect": ["ssh"],
                "Interval": 5,
                "SenderPolicyClass": Other,
                "ReceiverPolicyClass": Policy,
                "StorageBaseDir": "/own",
                "AcceptSources": ["/b/*"],
                "SocketMode": 0o666,
            },
        },
    )
    a, b = made.peers
    assert (a.sender.policy_class, a.sender.init_args, a.receiver.policy_class) == (Policy, [True], None)
    assert (a.storage, a.rules.accepted_sources, a.stdio) == ("/transfer", ("*",), True)
    assert (b.sender.policy_class, b.receiver.policy_class, b.storage) == (Other, Policy, "/own")
    assert (b.rules.accepted_sources, b.interval, b.access.mode) == (("/b/*",), 5, 0o666)
    assert made.storages == ("/transfer", "/own")


def test_two_plans_of_the_same_values_are_equal():
    values = {"TransferPeers": {"a": {"Stdio": True}}, "TransferSenderSettings": {"Order": "oldest"}}
    assert plan(**values) == plan(**values)
    assert plan(**values).peers != plan(TransferPeers={"a": {"Stdio": True}}).peers


def test_all_that_cannot_be_is_told_at_once():
    values = {
        "GeneralPersistencyBaseDir": "/state",
        "GeneralRuntimeDataDir": "/run/gb",
        "TransferPeers": {
            "socket": {"Stdio": True},
            "x": {"Listen": "/run/gb/./transfer-stdio.socket"},
        },
    }
    with pytest.raises(ConfigError) as caught:
        make_plan(values)
    text = "\n".join(caught.value.problems)
    for part in ("a peer 'socket'", "the service's own socket", "no storage is set"):
        assert part in text


@pytest.mark.parametrize(
    ("values", "warning"),
    [
        ({"TransferSocket": False}, "has nobody to talk to"),
        ({}, "neither sends nor receives anything"),
    ],
)
def test_a_service_without_anything_to_do_is_warned_of(values, warning):
    (text,) = find_warnings(plan(**values))
    assert warning in text


def test_a_peer_without_anything_to_do_is_warned_of():
    peers = {"a": {"Stdio": True, "ReceiverPolicyClass": None}}
    assert find_warnings(plan(TransferReceiverPolicyClass=Policy, TransferPeers=peers)) == [
        "nothing is sent to nor received from peer a"
    ]


def test_only_those_are_dialled_that_can_be():
    made = plan(TransferPeers={"a": {"Connect": "/a"}, "b": {"Connect": "/b"}, "c": {"Stdio": True}})
    assert [peer.agent_id for peer in plan_dials(made, ()).peers] == ["a", "b"]
    assert [peer.agent_id for peer in plan_dials(made, ("b", "b")).peers] == ["b"]
    with pytest.raises(ConfigError, match=r"peer c is not dialled.*there is no peer d"):
        plan_dials(made, ("c", "d"))
    with pytest.raises(ConfigError, match="no peer is dialled"):
        plan_dials(plan(), ())


def test_a_target_of_the_command_line_keeps_what_is_said_of_the_peer():
    values = {**PLACES, "TransferPeers": {"a": {"Listen": "/a", "AcceptSources": ["/a/*"]}}}
    (known,) = plan_single(values, make_plan(values), "a", "/elsewhere").peers
    assert (known.connect, known.listen, known.rules.accepted_sources) == ("/elsewhere", None, ("/a/*",))
    (unknown,) = plan_single(values, make_plan(values), "new", ("ssh", "x")).peers
    assert (unknown.agent_id, unknown.connect, unknown.rules.accepted_sources) == (
        "new",
        ("ssh", "x"),
        ("*",),
    )
    with pytest.raises(ConfigError, match="not a name of 1 to 64"):
        plan_single(values, make_plan(values), "no name", "/x")


def test_the_general_choice_is_that_of_who_says_nothing():
    values = {**PLACES, "TransferReceiverPolicyClass": Policy, "TransferReceiverSettings": {"A": 1}}
    assert make_plan(values).peers[0].receiver == general_choice(values, RECEIVER)


def test_a_peer_has_its_own_number_of_connections_else_that_of_all(tmp_path):
    peers = {"a": {"Stdio": True, "MaxConnections": 7}, "b": {"Stdio": True}}
    values = {
        "GeneralPersistencyBaseDir": "/s",
        "GeneralRuntimeDataDir": "/r",
        "DefaultFileSystemSinkBaseDir": "/d",
        "TransferPeers": peers,
    }
    for general in (None, 3):
        plan = make_plan({**values, "TransferPeerMaxConnections": general})
        found = {peer.agent_id: peer.rules.max_connections for peer in plan.peers}
        assert found == {"a": 7, "b": general, "socket": general}


def warnings_of(peer):
    policies = {"TransferSenderPolicyClass": Policy, "TransferReceiverPolicyClass": Policy}
    found = find_warnings(plan(**policies, TransferPeers={"a": peer}))
    return [text for text in found if "to and fro" in text]


@pytest.mark.parametrize(
    ("accepts", "offers", "is_told"),
    [
        (["*"], ["*"], True),
        (["/a/*"], ["/b/*"], False),
        (["/a/*"], ["/a/x"], True),
        (["/a/x"], ["/a/y"], False),
        ([], ["*"], False),
    ],
)
def test_elements_that_may_go_to_and_fro_are_told_of(accepts, offers, is_told):
    peer = {"Stdio": True, "AcceptSources": accepts, "OfferSources": offers}
    assert bool(warnings_of(peer)) == is_told
    for one_way in ({"SenderPolicyClass": None}, {"ReceiverPolicyClass": None}):
        assert not warnings_of({**peer, **one_way})
