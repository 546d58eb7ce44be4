"""The operations on a storage that a tracer looks at, for test_faults.py; see traced_child.py."""

import hashlib

from traced_child import serve

from guerillabackup.element import BackupElementMetainfo, ElementId, SourceUrl
from guerillabackup.storage.default_file import DefaultFileStorage

TIME = 1_700_000_000
TAKEN = ElementId.parse("/host/20231114221320-etc-full")
PREPARED = ElementId.parse("/host/20231114221321-etc-full")


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


def make_operation(name, directory):
    return operation(name, DefaultFileStorage(directory, unnamed_files="without" not in name))


if __name__ == "__main__":
    serve(make_operation)
