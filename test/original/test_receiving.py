"""Receiver policies written for the original, and ours by its name."""

import pytest
from memory_peer import MemoryPeer, chain, connect, offered, unusable

import guerillabackup
from guerillabackup.errors import ConfigError, IntegrityError
from guerillabackup.original.receiving import (
    AdoptedReceiverPolicy,
    ReceiverStoreDataTransferPolicy,
    ReceiverTransferPolicy,
    make_receiver_policy,
)
from guerillabackup.storage.default_file import DefaultFileStorage
from guerillabackup.storage.memory import MemoryStorage
from guerillabackup.transfer import receiving
from guerillabackup.transfer.interface import ReceiverTransferPolicy as OurInterface
from guerillabackup.transfer.receiver_settings import ReceiverSettings


class Own(ReceiverTransferPolicy):
    """As a site would have written it: takes what is not here, in pieces of its own size."""

    def __init__(self, configContext, length=0):
        self.length = length

    def isSenderPolicyCompatible(self, policyInfo):
        return policyInfo == "SiteSenderPolicy"

    def applyPolicy(self, transferContext):
        client = transferContext.clientProtocolAdapter
        client.startTransaction(None)
        self.seen = []
        while client.nextDataElement(True):
            (sourceUrl, metaInfo, attributeDict) = client.getDataElementInfo()
            assert client.getDataElementInfo()[0] == sourceUrl
            self.seen.append((transferContext.agentId, sourceUrl, attributeDict))
            if transferContext.localStorage.getBackupDataElementForMetaData(sourceUrl, metaInfo) is not None:
                continue
            handle = transferContext.localStorage.getSinkHandle(sourceUrl)
            stream = client.getDataElementStream()
            while True:
                data = stream.read(self.length)
                if data == b"":
                    break
                handle.write(data)
            handle.close(metaInfo)


@pytest.fixture(params=["files", "memory"])
def storage(request, tmp_path):
    if request.param == "memory":
        yield MemoryStorage()
    else:
        with DefaultFileStorage(str(tmp_path)) as file_storage:
            yield file_storage


def make(policy_class=Own, configuration=None, init_args=None):
    return make_receiver_policy(
        policy_class, configuration or {}, init_args, receiving.ReceiverStoreDataTransferPolicy
    )


def contents(storage):
    found = []
    for element in storage.query_backup_data_elements():
        with element.get_data_stream() as stream:
            found.append(stream.read())
    return sorted(found)


@pytest.mark.parametrize("length", [0, 1, 100, 1 << 22])
def test_a_policy_of_a_sites_own_stores_and_acknowledges(storage, length):
    policy = make(init_args=[length])
    assert isinstance(policy, AdoptedReceiverPolicy)
    assert policy.is_sender_policy_compatible("SiteSenderPolicy")
    assert not policy.is_sender_policy_compatible("SenderMoveDataTransferPolicy")
    elements = chain(5, size=300)
    policy.apply_policy(connect(storage, elements))
    assert contents(storage) == sorted(one.data for one in elements)
    assert [one.acknowledged for one in elements] == [1] * 5
    assert policy.theirs.seen[0] == ("peer", "/host/log", None)
    for one in elements:
        one.acknowledged = 0
    policy.apply_policy(connect(storage, elements))
    assert [(one.asked, one.acknowledged) for one in elements] == [(1, 1)] * 5


def test_what_the_peer_may_not_send_is_not_there_for_it(storage):
    policy = make()
    elements = [offered(b"1", "/theirs/x"), offered(b"2", "/mine/x"), unusable(), offered(b"3", "/theirs/y")]
    policy.apply_policy(connect(storage, elements, accepted_sources=("/mine/*",)))
    assert contents(storage) == [b"2"]
    assert [one.acknowledged for one in elements] == [0, 1, 0, 0]


def test_the_stream_of_an_empty_element_is_not_asked_of_an_original(storage):
    empty = offered(b"")
    make().apply_policy(connect(storage, [empty]))
    assert (empty.asked, empty.acknowledged, contents(storage)) == (0, 1, [b""])


def test_data_that_is_not_what_it_should_be_is_not_stored_nor_acknowledged(storage):
    bad = offered(b"wrong", StorageFileChecksumSha512=bytes(64))
    with pytest.raises(IntegrityError):
        make().apply_policy(connect(storage, [bad]))
    assert contents(storage) == []
    assert bad.acknowledged == 0


def test_the_acknowledgement_before_the_first_element_is_about_none(storage):
    said = []

    class Peer(MemoryPeer):
        def next_offer(self, was_stored=False):
            said.append(was_stored)
            return super().next_offer(was_stored)

    make().apply_policy(connect(storage, Peer(chain(2))))
    assert said == [False, True, True]


def test_infos_are_listed_without_taking_anything(storage):
    class Lister(Own):
        def applyPolicy(self, transferContext):
            transferContext.clientProtocolAdapter.startTransaction(None)
            self.infos = transferContext.clientProtocolAdapter.getFileInfos(3)
            assert transferContext.clientProtocolAdapter.getDataElementInfo() is not None

    policy = make(Lister)
    elements = chain(5)
    policy.apply_policy(connect(storage, elements))
    assert [info[1] for info in policy.theirs.infos] == [one.metainfo for one in elements[:3]]
    assert [one.acknowledged for one in elements] == [0] * 5


def test_a_policy_that_changes_only_what_it_accepts_stores_as_ours_does(storage):
    class Wider(ReceiverStoreDataTransferPolicy):
        def isSenderPolicyCompatible(self, policyInfo):
            return super().isSenderPolicyCompatible(policyInfo) or policyInfo == "SiteSenderPolicy"

    policy = make(Wider, {"TransferReceiverSettings": {"Sources": ["/host/*"]}})
    assert policy.is_sender_policy_compatible("SiteSenderPolicy")
    assert policy.is_sender_policy_compatible("SenderMoveDataTransferPolicy")
    assert not policy.is_sender_policy_compatible(None)
    elements = [offered(b"bad", StorageFileChecksumSha512=bytes(64)), *chain(2), offered(b"x", "/other")]
    policy.apply_policy(connect(storage, elements))
    assert [one.acknowledged for one in elements] == [0, 1, 1, 0]


@pytest.mark.parametrize("init_args", [None, []])
def test_the_name_the_original_has_is_ours(init_args):
    policy_class = guerillabackup.Transfer.ReceiverStoreDataTransferPolicy
    policy = make(policy_class, {"TransferReceiverSettings": {"MaxAge": 5}}, init_args)
    assert type(policy) is receiving.ReceiverStoreDataTransferPolicy
    assert policy.settings == ReceiverSettings(max_age=5.0)


def test_a_policy_of_ours_is_taken_as_it_is():
    class Ours(OurInterface):
        def __init__(self, configuration):
            pass

        def is_sender_policy_compatible(self, policy_info):
            return False

        def apply_policy(self, context):
            pass

    assert type(make(Ours)) is Ours


@pytest.mark.parametrize(
    ("policy_class", "init_args", "message"),
    [
        (Own, [1, 2, 3], "the receiver policy Own cannot be made"),
        (dict, None, "the receiver policy dict has no isSenderPolicyCompatible and no applyPolicy"),
        (ReceiverStoreDataTransferPolicy, [False], "takes none"),
    ],
)
def test_what_is_no_receiver_policy_is_a_clear_error(policy_class, init_args, message):
    with pytest.raises(ConfigError, match=message):
        make(policy_class, None, init_args)


def test_a_base_class_says_what_it_lacks(storage):
    class Empty(ReceiverTransferPolicy):
        def __init__(self, configContext):
            pass

    policy = make(Empty)
    with pytest.raises(ConfigError, match="defines no isSenderPolicyCompatible"):
        policy.is_sender_policy_compatible("x")
    with pytest.raises(ConfigError, match="defines no applyPolicy"):
        policy.apply_policy(connect(storage, []))
