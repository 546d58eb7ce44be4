"""Sender policies written for the original, and ours by its names."""

import pytest
from sender_bench import TIME, connected, ids, pull, put, read

import guerillabackup
from guerillabackup.errors import ConfigError, RemoteProtocolError
from guerillabackup.original.names import provide_modules
from guerillabackup.original.sending import AdoptedSenderPolicy, make_sender_policy
from guerillabackup.original.transfer import SenderMoveDataTransferPolicy, SenderTransferPolicy
from guerillabackup.storage.memory import MemoryStorage
from guerillabackup.transfer import sender_policy
from guerillabackup.transfer.interface import SenderTransferPolicy as OurInterface
from guerillabackup.transfer.offer_gate import OfferGate
from guerillabackup.transfer.sender_marks import CLAIMED, TRANSFERRED, read_marks
from guerillabackup.transfer.sender_settings import SenderOrder


class Own(SenderTransferPolicy):
    """As a site would have written it: sends what has a mark of its own, and takes that off."""

    def __init__(self, configContext, word="yes"):
        self.word = word
        self.told = []

    def getPolicyInfo(self):
        return "SenderMoveDataTransferPolicy"

    def queryBackupDataElements(self, transferContext, queryData):
        if queryData is not None and queryData[0] != "Mine":
            raise Exception("Unsupported query type")
        assert queryData in (None, ["Mine"], ["Mine", ["a", {"b": [1]}]])
        return transferContext.localStorage.queryBackupDataElements(
            lambda element: element.getExtraData("mine") == self.word.encode()
        )

    def applyPolicy(self, transferContext, backupDataElement, wasStoredFlag):
        self.told.append((transferContext.agentId, backupDataElement.getElementId(), wasStoredFlag))
        if wasStoredFlag:
            backupDataElement.setExtraData("mine", None)


def make(policy_class=Own, configuration=None, init_args=None, gate=None):
    return make_sender_policy(policy_class, configuration or {}, init_args, gate or OfferGate())


def spool() -> MemoryStorage:
    storage = MemoryStorage()
    for number, word in enumerate((b"yes", None, b"yes", b"no")):
        put(storage, data=str(number).encode(), time=TIME + number).set_extra_data("mine", word)
    return storage


def test_a_policy_of_a_sites_own_offers_and_is_told():
    storage, policy = spool(), make(init_args=["yes"])
    assert isinstance(policy, AdoptedSenderPolicy)
    with connected(storage, policy) as adapter:
        assert adapter.get_policy_info() == "SenderMoveDataTransferPolicy"
        assert list(pull(adapter)) == ["/host/etc 0", "/host/etc 2"]
        assert list(pull(adapter)) == []
        assert list(pull(adapter, ("Mine",))) == []
        assert list(pull(adapter, ("Mine", ("a", {"b": (1,)})))) == []
    assert len(ids(storage)) == 4
    assert [(agent, was_stored) for agent, _, was_stored in policy.theirs.told] == [("peer", True)] * 2


def test_a_claim_without_evidence_is_noted_and_not_told_as_stored():
    storage, policy = spool(), make()
    with connected(storage, policy) as adapter:
        adapter.start_transaction(None)
        adapter.next_data_element(True)
        adapter.next_data_element(True)
    assert [was_stored for _, _, was_stored in policy.theirs.told] == [False, False]
    (first, *_) = storage.query_backup_data_elements()
    assert list(read_marks(first, CLAIMED)) == ["peer"]


def test_where_a_bare_true_is_not_accepted_it_is_not_told_as_stored():
    storage, policy = spool(), make()
    with connected(storage, policy, accepts_bare_acknowledgement=False) as adapter:
        list(pull(adapter))
    assert [was_stored for _, _, was_stored in policy.theirs.told] == [False, False]


def test_what_the_peer_may_not_have_and_what_is_empty_stays():
    storage = MemoryStorage()
    for source, data in (("/a/x", b"1"), ("/b/x", b"2"), ("/a/y", b"")):
        put(storage, source, data).set_extra_data("mine", b"yes")
    with connected(storage, make(), offered_sources=("/a/*",)) as adapter:
        assert list(pull(adapter)) == ["/a/x 1"]
    with connected(storage, make(), is_ours=True) as adapter:
        assert len(list(pull(adapter))) == 2


def test_two_policies_behind_one_gate_offer_an_element_to_one_peer():
    storage, gate = spool(), OfferGate()
    with (
        connected(storage, make(gate=gate)) as one,
        connected(storage, make(SenderMoveDataTransferPolicy, gate=gate)) as two,
    ):
        one.start_transaction(None)
        assert one.next_data_element(False)
        assert list(pull(two)) == ["/host/etc 1", "/host/etc 2", "/host/etc 3"]
        assert read(one) == b"0"
        assert not one.next_data_element(True)
    assert len(ids(storage)) == 1


def test_a_query_that_such_a_policy_refuses_is_the_peers_fault():
    with connected(spool(), make()) as adapter, pytest.raises(RemoteProtocolError, match="Unsupported"):
        adapter.start_transaction(["Theirs"])


def test_a_policy_need_not_derive_from_anything_and_may_hand_out_elements_of_its_own():
    class Wrapped:
        def __init__(self, element):
            self.element = element

        def getElementId(self):
            return self.element.getElementId()

    class Free:
        def __init__(self, configContext):
            self.seen = []

        def getPolicyInfo(self):
            return "Free"

        def queryBackupDataElements(self, transferContext, queryData):
            found = transferContext.localStorage.queryBackupDataElements(None)

            class Result:
                def getNextElement(self):
                    element = found.getNextElement()
                    return None if element is None else Wrapped(element)

            return Result()

        def applyPolicy(self, transferContext, element, wasStoredFlag):
            assert isinstance(element, Wrapped)
            if wasStoredFlag:
                element.element.delete()

    storage = spool()
    with connected(storage, make(Free)) as adapter:
        assert len(list(pull(adapter))) == 4
    assert ids(storage) == []


def test_the_originals_name_gets_ours_with_the_settings_of_the_configuration():
    provide_modules()
    for named in (
        guerillabackup.Transfer.SenderMoveDataTransferPolicy,
        guerillabackup.SenderMoveDataTransferPolicy,
    ):
        configuration = {"TransferSenderSettings": {"Order": "priority"}}
        policy = make(named, configuration, [False])
        assert type(policy) is sender_policy.SenderMoveDataTransferPolicy
        assert policy.settings.order is SenderOrder.PRIORITY
        assert not policy.settings.mark_as_done_only
        assert make(named, {}, [True]).settings.mark_as_done_only
        assert make(named).settings == sender_policy.SenderSettings()


class Careful(SenderMoveDataTransferPolicy):
    """A site's own, derived from the original's: leaves out what it would not send."""

    def queryBackupDataElements(self, transferContext, queryData):
        assert transferContext.agentId == "peer"
        return super().queryBackupDataElements(transferContext, queryData)

    def applyPolicy(self, transferContext, backupDataElement, wasStoredFlag):
        if not backupDataElement.getElementId().startswith("/keep/"):
            super().applyPolicy(transferContext, backupDataElement, wasStoredFlag)


@pytest.mark.parametrize("marks", [False, True])
def test_a_class_derived_from_the_originals_policy_does_what_that_does(marks):
    storage = MemoryStorage()
    put(storage, "/b/x", b"2", own=b"2", before=b"1")
    put(storage, "/b/x", b"1", own=b"1")
    put(storage, "/keep/x", b"3")
    policy = make(Careful, {}, [marks])
    with connected(storage, policy) as adapter:
        assert list(pull(adapter)) == ["/b/x 1", "/b/x 2", "/keep/x 3"]
        assert list(pull(adapter)) == ["/keep/x 3"]
    marked = [bool(read_marks(each, TRANSFERRED)) for each in storage.query_backup_data_elements()]
    assert marked == ([True, True, False] if marks else [False])


class Ours(OurInterface):
    """A site's own, written for ours."""

    def __init__(self, configuration):
        self.configuration = configuration

    def get_policy_info(self):
        return "Ours"

    def query_backup_data_elements(self, context, query_data):
        return iter(())

    def apply_policy(self, context, element, outcome):
        raise AssertionError


def test_a_policy_written_for_ours_is_taken_as_it_is():
    assert type(make(Ours, {"a": 1})) is Ours


class Failing(Own):
    def __init__(self, configContext):
        raise ValueError("no such thing")


class Silent:
    def __init__(self, configContext):
        pass

    def getPolicyInfo(self):
        return "Silent"


@pytest.mark.parametrize(
    ("policy_class", "init_args", "words"),
    [
        (Failing, None, "Failing cannot be made: no such thing"),
        (Own, ["a", "b"], "Own cannot be made: .*arguments"),
        (Silent, None, "has no queryBackupDataElements and no applyPolicy"),
        (SenderMoveDataTransferPolicy, [3], "not .True. or .False."),
    ],
)
def test_a_class_that_is_no_policy_says_what_is_wrong(policy_class, init_args, words):
    with pytest.raises(ConfigError, match=words):
        make(policy_class, {}, init_args)


@pytest.mark.parametrize("call", ["getPolicyInfo", "queryBackupDataElements", "applyPolicy"])
def test_a_policy_that_lacks_a_method_says_which(call):
    arguments = {"getPolicyInfo": 0, "queryBackupDataElements": 2, "applyPolicy": 3}[call]
    with pytest.raises(ConfigError, match=call):
        getattr(SenderTransferPolicy(), call)(*[None] * arguments)


class Clumsy(Own):
    def applyPolicy(self, transferContext, backupDataElement, wasStoredFlag):
        backupDataElement.setExtraData("not a name", b"")


def test_an_error_of_such_a_policy_ends_nothing_and_is_told(caplog):
    with connected(spool(), make(Clumsy)) as adapter:
        assert len(list(pull(adapter))) == 2
    assert "Clumsy cannot settle it: attribute name 'not a name'" in caplog.text
