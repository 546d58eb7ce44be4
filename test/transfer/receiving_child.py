"""A receiver that a tracer looks at, for test_receiving_crash.py; see traced_child.py.

An acknowledgement shows in the trace as a write to a file `acknowledged`.
"""

import os

from memory_peer import MemoryPeer, chain, connect, offered
from traced_child import serve

import guerillabackup.storage.catalogue  # noqa: F401 (loaded when it is first needed, else)
from guerillabackup.storage.default_file import DefaultFileStorage
from guerillabackup.transfer.receiving import ReceiverStoreDataTransferPolicy


def make_operation(name, directory):
    elements = {
        "small": lambda: chain(2),
        "group": lambda: chain(2),
        "group with one held": lambda: chain(2),
        "large": lambda: chain(1, size=300_000),
        "new source": lambda: chain(1, "/new/folder/log"),
        "held": lambda: chain(1),
        "damaged": lambda: chain(1),
        "bad": lambda: [offered(b"bad", "/host/bad", StorageFileChecksumSha512=bytes(64))],
    }[name]()
    log = os.open(os.path.join(directory, "acknowledged"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    storage = DefaultFileStorage(os.path.join(directory, "data"))
    policy = ReceiverStoreDataTransferPolicy(state_directory=os.path.join(directory, "state"))
    peer = MemoryPeer(elements, on_acknowledged=lambda one: os.write(log, one.data[:10] + b"\n"))
    context = connect(storage, peer, groups=2 if name.startswith("group") else 0)
    return lambda: policy.apply_policy(context)


if __name__ == "__main__":
    serve(make_operation)
