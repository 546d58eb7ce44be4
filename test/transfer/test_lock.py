import os

import pytest

from guerillabackup.transfer.lock import StorageLocks, TransferBusyError, TransferLock


def test_a_service_is_alone_and_single_connections_are_not(tmp_path):
    state = str(tmp_path / "state")
    first, second = (TransferLock(state, is_service=False) for _ in range(2))
    with first, second, pytest.raises(TransferBusyError, match="or a single connection"):
        TransferLock(state, is_service=True)
    with TransferLock(state, is_service=True):
        for is_service in (True, False):
            with pytest.raises(TransferBusyError, match="another transfer service"):
                TransferLock(state, is_service=is_service)
    lock = TransferLock(state, is_service=True)
    lock.close()
    lock.close()


def test_a_child_that_was_forked_meanwhile_keeps_nobody_out(tmp_path):
    lock = TransferLock(str(tmp_path), is_service=True)
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(write_end)
        os.read(read_end, 1)  # until the parent has tried
        os._exit(0)
    lock.close()
    TransferLock(str(tmp_path), is_service=True).close()
    os.close(write_end)
    os.waitpid(child, 0)
    os.close(read_end)


def test_one_service_receives_into_a_storage_whatever_it_is_called(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "link" / "host").mkdir()
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    locks, others = StorageLocks(), StorageLocks()
    locks.take([a], is_service=True)
    locks.take([a, str(tmp_path / "a/host/..")], is_service=True)
    for is_service in (True, False):
        with pytest.raises(TransferBusyError, match=f"receives into the storage in {a}: one service with"):
            others.take([b, a], is_service=is_service)
    locks.take([b], is_service=True)
    locks.close()
    locks.close()
    others.take([a, b], is_service=False)
    StorageLocks().take([a], is_service=False)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b", "host", "link"]
    others.close()
