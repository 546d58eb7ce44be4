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
