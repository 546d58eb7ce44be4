from guerillabackup.storage.memory import MemoryStorage
from guerillabackup.transfer.storage_share import StorageShares


def test_a_storage_has_one_share_and_another_storage_another():
    shares, one, other = StorageShares(), MemoryStorage(), MemoryStorage()
    assert shares.of(one) is shares.of(one)
    assert shares.of(one) is not shares.of(other)


def test_who_fetches_an_element_keeps_it_from_all_others_of_the_storage():
    shares, storage = StorageShares(), MemoryStorage()
    assert shares.of(storage).claims.claim(b"key")
    assert not shares.of(storage).claims.claim(b"key")


def test_what_was_refused_is_tried_again_of_those_that_are_named_or_of_all_also_if_not_read_yet(tmp_path):
    def is_waiting(shares, agent_id):
        return shares.refusals(str(tmp_path), agent_id, lambda: 1000.0).must_wait(b"a")

    before = StorageShares()
    for agent_id in ("alpha", "beta"):
        before.refusals(str(tmp_path), agent_id, lambda: 1000.0).add(b"a", "bad")
    assert is_waiting(before, "alpha")
    assert is_waiting(before, "beta")
    named, every = StorageShares(), StorageShares()
    named.try_again(["alpha"])
    every.try_again()
    assert [is_waiting(named, agent_id) for agent_id in ("alpha", "beta")] == [False, True]
    assert [is_waiting(every, agent_id) for agent_id in ("alpha", "beta")] == [False, False]
    before.try_again(["beta"])
    assert [is_waiting(before, agent_id) for agent_id in ("alpha", "beta")] == [True, False]
