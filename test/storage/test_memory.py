"""The storage in memory says what a storage does: any sequence of calls shows the same in files."""

import tempfile

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.errors import GuerillaBackupError
from guerillabackup.storage.default_file import DefaultFileStorage
from guerillabackup.storage.interface import StorageBackupDataElementInterface, StorageInterface
from guerillabackup.storage.memory import MemoryStorage


def make_metainfo(timestamp: int, kind: str = "full") -> BackupElementMetainfo:
    return BackupElementMetainfo({"BackupType": kind, "Timestamp": timestamp})


def store(
    storage: StorageInterface, data: bytes, source: SourceUrl, info: BackupElementMetainfo
) -> StorageBackupDataElementInterface:
    with storage.get_sink_handle(source) as handle:
        handle.write(data)
        element = handle.close(info)
    assert element is not None
    return element


def content(element: StorageBackupDataElementInterface) -> bytes:
    with element.get_data_stream() as stream:
        return stream.read()


class StorageMachine(RuleBasedStateMachine):
    """Does everything to three storages at once, and compares what is seen from outside."""

    elements = Bundle("elements")
    handles = Bundle("handles")
    prepared = Bundle("prepared")
    streams = Bundle("streams")

    def __init__(self) -> None:
        super().__init__()
        self.directories = [tempfile.TemporaryDirectory(prefix="storages-") for _ in range(2)]
        self.storages: list[StorageInterface] = [
            DefaultFileStorage(self.directories[0].name),
            DefaultFileStorage(self.directories[1].name, unnamed_files=False),
            MemoryStorage(),
        ]
        self.is_open: list[object] = []

    def teardown(self) -> None:
        for group in self.is_open:
            for one in group:
                one.close() if hasattr(one, "fileno") else one.abort()
        for storage in self.storages[:2]:
            storage.close()
        for directory in self.directories:
            directory.cleanup()

    def all_do(self, action, things):
        """The outcomes of one action on the three of a kind; a test fails unless they are alike."""
        results, errors = [], []
        for thing in things:
            try:
                results.append(action(thing))
                errors.append(None)
            except GuerillaBackupError as error:
                errors.append(type(error))
        assert len(set(errors)) == 1, errors
        return results or None

    @rule(
        target=elements,
        source=st.sampled_from(["/a", "/a-full", "/a/b", "/a/b-full"]),
        timestamp=st.integers(0, 1),
        kind=st.sampled_from(["full", "inc"]),
        data=st.binary(max_size=5),
    )
    def store_one(self, source, timestamp, kind, data):
        info = make_metainfo(timestamp, kind)
        return self.all_do(lambda storage: store(storage, data, SourceUrl(source), info), self.storages)

    @rule(target=handles, source=st.sampled_from(["/a", "/a/b"]), data=st.binary(max_size=5))
    def open_handle(self, source, data):
        opened = self.all_do(lambda storage: storage.get_sink_handle(SourceUrl(source)), self.storages)
        self.is_open.append(opened)
        self.all_do(lambda handle: handle.write(data), opened)
        return opened

    @rule(target=prepared, handle=handles, timestamp=st.integers(0, 1))
    def prepare(self, handle, timestamp):
        ids = self.all_do(lambda one: one.prepare(make_metainfo(timestamp)), handle)
        return multiple() if ids is None else (handle, ids)

    @rule(target=elements, handle=handles)
    def close(self, handle):
        return self.all_do(lambda one: one.close(make_metainfo(0)), handle) or multiple()

    @rule(handle=consumes(handles))
    def abort(self, handle):
        self.all_do(lambda one: one.abort(), handle)

    @rule(element=elements)
    def get_again(self, element):
        ids = {storage: one.get_element_id() for storage, one in zip(self.storages, element, strict=True)}
        self.all_do(lambda storage: storage.get_backup_data_element(ids[storage]), self.storages)

    @rule(element=elements)
    def delete(self, element):
        self.all_do(lambda one: one.delete(), element)

    @rule(element=elements)
    def lock(self, element):
        self.all_do(lambda one: one.lock(), element)

    @rule(element=elements)
    def unlock(self, element):
        self.all_do(lambda one: one.unlock(), element)

    @rule(target=streams, element=elements)
    def open_stream(self, element):
        opened = self.all_do(lambda one: one.get_data_stream(), element)
        if opened is None:
            return multiple()
        self.is_open.append(opened)
        return opened

    @rule(stream=consumes(streams))
    def read(self, stream):
        assert len({one.read() for one in stream}) <= 1
        for one in stream:
            one.close()

    @rule(element=elements, name=st.sampled_from("xy"), value=st.none() | st.binary(max_size=3))
    def set_attribute(self, element, name, value):
        self.all_do(lambda one: one.set_extra_data(name, value), element)

    @rule(one=consumes(prepared), timestamp=st.integers(0, 1))
    def complete(self, one, timestamp):
        handle, element_ids = one
        ids = dict(zip(self.storages, element_ids, strict=True))
        found = self.all_do(lambda one: one.complete(ids[one], make_metainfo(timestamp)), self.storages)
        assert len({one is None for one in found or ()}) <= 1
        self.all_do(lambda one: one.abort(), handle)

    @rule(sources=st.lists(st.sampled_from(["/a", "/a/b"]), max_size=4))
    def batch(self, sources):
        for storage in self.storages:
            with storage.open_batch() as batch:
                for source in sources:
                    with batch.get_sink_handle(SourceUrl(source)) as handle:
                        handle.close(make_metainfo(0))

    @invariant()
    def all_look_alike(self):
        views = [
            sorted(self.view(one) for one in storage.query_backup_data_elements())
            for storage in self.storages
        ]
        assert views[0] == views[1] == views[2]
        leftovers = [
            sorted(one.what for one in storage.find_leftovers() if one.what != "not finished")
            for storage in self.storages
        ]
        assert leftovers[0] == leftovers[1] == leftovers[2]

    @staticmethod
    def view(element):
        """All that is seen of an element."""
        element_id = element.get_element_id()
        return (
            str(element_id),
            element.get_metadata().serialize(),
            content(element),
            [(name, element.get_extra_data(name)) for name in element.list_extra_data()],
            element.is_locked(),
        )


TestAnySequenceOfCalls = StorageMachine.TestCase
TestAnySequenceOfCalls.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)
