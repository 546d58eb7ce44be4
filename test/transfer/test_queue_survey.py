import hashlib

from guerillabackup.element import BackupElementMetainfo, SourceUrl
from guerillabackup.storage.memory import MemoryStorage
from guerillabackup.transfer.queue_survey import Survey, survey_storage
from guerillabackup.transfer.sender_marks import CLAIMED, TRANSFERRED, add_mark
from guerillabackup.transfer.sender_selection import ElementSelector, SenderQuery
from guerillabackup.transfer.sender_settings import SenderSettings


def store(storage, source, data):
    with storage.get_sink_handle(SourceUrl(source)) as handle:
        handle.write(data)
        values = {"BackupType": "full", "Timestamp": 1, "DataUuid": source.encode()}
        values["StorageFileChecksumSha512"] = hashlib.sha512(data).digest()
        return handle.close(BackupElementMetainfo(values))


def test_what_waits_is_what_somebody_would_be_offered_and_nobody_has():
    storage = MemoryStorage()
    store(storage, "/a/waits", b"123")
    claimed = store(storage, "/a/claimed", b"12345")
    add_mark(claimed, CLAIMED, "central", 5)
    add_mark(store(storage, "/a/sent", b"1"), TRANSFERRED, "central", 5)
    store(storage, "/b/unwanted", b"1")
    survey = Survey()
    selectors = [
        ElementSelector(SenderSettings(), (pattern,), SenderQuery(), 10.0) for pattern in ("/a/*", "/c/*")
    ]
    survey_storage(survey, "/data", storage, selectors)
    (queue,) = survey.queue
    assert (queue["storage"], queue["elements"], queue["bytes"]) == ("/data", 2, 8)
    assert queue["offered_to_nobody"] == 1
    assert queue["oldest"] is not None
    (found,) = survey.claimed
    assert (found["element"], found["claims"]) == (str(claimed.get_element_id()), {"central": 5})


def test_an_empty_storage_has_no_oldest_element():
    survey = Survey()
    survey_storage(survey, "/data", MemoryStorage(), [])
    assert survey.queue == [
        {"storage": "/data", "elements": 0, "bytes": 0, "oldest": None, "offered_to_nobody": 0}
    ]
