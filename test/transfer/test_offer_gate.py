"""One peer at a time, and one word about each element that is left out."""

from sender_bench import connected, pull, put

from guerillabackup.element import ElementId
from guerillabackup.events import ElementNotOffered
from guerillabackup.storage.memory import MemoryStorage
from guerillabackup.transfer.element_key import element_key
from guerillabackup.transfer.offer_gate import OfferGate
from guerillabackup.transfer.origins import Origins
from guerillabackup.transfer.sender_policy import SenderMoveDataTransferPolicy


def test_an_element_is_let_through_once_until_it_is_released():
    storage = MemoryStorage()
    name = str(put(storage).get_element_id())
    gate = OfferGate()
    assert gate.admit(storage, name, "one") is not None
    assert gate.admit(storage, name, "two") is None
    gate.release(name)
    assert gate.admit(storage, name, "two") is not None


def test_what_is_gone_is_left_out_without_a_word_and_what_is_locked_with_one_for_each_agent(caplog):
    storage = MemoryStorage()
    gone, locked = put(storage), put(storage)
    gone.delete()
    locked.lock()
    events = []
    gate = OfferGate(events.append)
    for agent in ("one", "two", "one"):
        for element in (gone, locked):
            assert gate.admit(storage, str(element.get_element_id()), agent) is None
    told = [ElementNotOffered(agent, locked.get_element_id(), "it is locked") for agent in ("one", "two")]
    assert events == told
    locked.unlock()
    assert gate.admit(storage, str(locked.get_element_id()), "one") is not None


def test_a_word_about_what_is_offered_all_the_same_is_no_event(caplog):
    events = []
    gate = OfferGate(events.append)
    for _ in range(2):
        gate.tell("/host/20231114221320-etc-full", "one", "a bad priority")
    assert events == []
    assert len(caplog.records) == 1


def test_what_is_offered_is_locked_in_the_storage_until_it_is_released():
    storage, gate = MemoryStorage(), OfferGate()
    element_id = str(put(storage).get_element_id())
    assert gate.admit(storage, element_id, "peer") is not None
    other = storage.get_backup_data_element(ElementId.parse(element_id))
    assert other.is_locked()
    gate.release(element_id)
    assert not other.is_locked()


def test_a_gate_is_full_before_there_are_no_descriptors():
    storage, gate = MemoryStorage(), OfferGate()
    ids = [str(put(storage, time=number).get_element_id()) for number in range(300)]
    for element_id in ids:
        if gate.is_full:
            break
        gate.admit(storage, element_id, "peer")
    assert gate.is_full
    gate.release(ids[0])
    assert not gate.is_full


def test_what_an_agent_brought_is_not_offered_back_to_it_and_is_to_others():
    storage, origins = MemoryStorage(), Origins()
    element = put(storage)
    origins.note("one", element_key(element.get_source_url(), element.get_metadata()))
    policy = SenderMoveDataTransferPolicy(gate=OfferGate(origins=origins))
    for agent, offered in (("one", []), ("two", ["/host/etc data"])):
        with connected(storage, policy, agent) as adapter:
            assert list(pull(adapter)) == offered
