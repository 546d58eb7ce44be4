"""Does one operation on a storage when it is told to, so that a tracer sees that operation and nothing else.

usage: fault_child.py      reads lines of OPERATION, DIRECTORY and RESULT, with tabs between them

Python and the storage are loaded once; every operation has a forked child, which prints its process id and
waits for SIGUSR1. The end of the operation shows in its trace as a call of getppid. Its outcome goes into the
file RESULT: "done", or the error's classes and message.
"""

import ctypes
import gc
import hashlib
import os
import signal
import sys

from guerillabackup.element import BackupElementMetainfo, ElementId, SourceUrl
from guerillabackup.storage.default_file import DefaultFileStorage

TIME = 1_700_000_000
TAKEN = ElementId.parse("/host/20231114221320-etc-full")
PREPARED = ElementId.parse("/host/20231114221321-etc-full")
PR_SET_PTRACER = 0x59616D61


def metainfo(data, timestamp=TIME):
    digest = hashlib.sha512(data).digest()
    return BackupElementMetainfo(
        {"BackupType": "full", "Timestamp": timestamp, "StorageFileChecksumSha512": digest}
    )


def put(sink, source, data, timestamp=TIME):
    with sink.get_sink_handle(SourceUrl(source)) as handle:
        handle.write(data)
        handle.close(metainfo(data, timestamp))


def prepare(storage):
    with storage.get_sink_handle(SourceUrl("/new/folder/etc")) as handle:
        handle.write(b"prepared")
        handle.prepare(metainfo(b"prepared"))
        handle.close()


def batch(storage):
    with storage.open_batch() as group:
        put(group, "/host/etc", b"first")
        put(group, "/new/log", b"second")
        put(group, "/host/etc", b"third")


def close_together(storage):
    closing = []
    for source, data in (("/host/etc", b"first"), ("/new/log", b"second"), ("/host/etc", b"third")):
        handle = storage.get_sink_handle(SourceUrl(source))
        handle.write(data)
        closing.append((handle, metainfo(data)))
    for result in storage.close_together(closing):
        if isinstance(result, Exception):
            raise result


def make_group(storage):
    """Elements to be deleted together, in two folders, and one in each that is none of them."""
    for source, data in (("/host/etc", b"first"), ("/new/log", b"second")):
        put(storage, source, data)
    group = list(storage.query_backup_data_elements())
    for source in ("/host/etc-full", "/new/log"):
        put(storage, source, b"third")
    return group


def operation(name, storage):
    """What to do; what is needed for it is looked up before."""
    element = storage.get_backup_data_element(TAKEN)
    if name == "delete together":
        group = make_group(storage)
        return lambda: raise_first(storage.delete_elements(group))
    return {
        "store": lambda: put(storage, "/host/etc", b"stored"),
        "store in a new folder": lambda: put(storage, "/new/folder/etc", b"stored"),
        "store without unnamed files": lambda: put(storage, "/host/etc", b"stored"),
        "prepare and close": lambda: prepare(storage),
        "batch": lambda: batch(storage),
        "batch without unnamed files": lambda: batch(storage),
        "close together": lambda: close_together(storage),
        "replace an attribute": lambda: element.set_extra_data("mark", b"new"),
        "set an attribute": lambda: element.set_extra_data("other", b"new"),
        "remove an attribute": lambda: element.set_extra_data("mark", None),
        "complete": lambda: storage.complete(PREPARED, metainfo(b"left", TIME + 1)),
        "delete": element.delete,
    }[name]


def raise_first(errors):
    for error in errors:
        if error is not None:
            raise error


def run(name, directory, result):
    storage = DefaultFileStorage(directory, unnamed_files="without" not in name)
    action = operation(name, storage)
    os.write(1, b"%d\n" % os.getpid())
    signal.sigwait({signal.SIGUSR1})
    try:
        action()
        outcome = "done"
    except Exception as error:
        names = " ".join(kind.__name__ for kind in type(error).__mro__)
        outcome = f"{names}\n{error}"
    os.getppid()
    with open(result, "w", encoding="utf-8") as file:
        file.write(outcome)
    os._exit(0)


def main():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_PTRACER, ctypes.c_ulong(-1), 0, 0, 0)
    gc.disable()
    for line in sys.stdin:
        if os.fork() == 0:
            ctypes.CDLL(None).prctl(PR_SET_PTRACER, ctypes.c_ulong(-1), 0, 0, 0)
            run(*line.rstrip("\n").split("\t"))


if __name__ == "__main__":
    main()
