import pytest

from guerillabackup.transfer.lock import TransferBusyError, TransferLock


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
