"""A unit's memory and its elements are one step; `test_*_crash.py` kill the units that it serves anywhere."""

import hashlib
import logging

import pytest

from guerillabackup.element import BackupType, SourceUrl
from guerillabackup.errors import StateError
from guerillabackup.generator.interface import UnitContext
from guerillabackup.generator.pending import store_together
from guerillabackup.generator.state import PENDING, STATE, DamagedStateError, StateDirectory
from guerillabackup.storage.default_file import DefaultFileStorage
from guerillabackup.units.making import StoredStream, describe_part, sign_parts
from guerillabackup.units.source_book import MemoryForm, SourceBook, damage_told

URL = SourceUrl("/host/dump")
SETTLED = "settled"


def load(state):
    return {SourceUrl(url): text for url, text in (state.load(STATE) or {}).items()}


def save(state, memories):
    state.save(STATE, {str(url): text for url, text in memories.items()})


def parse(recovered):
    return SourceUrl(recovered.details["SourceUrl"]), recovered.details["Text"] + ""


def settle(state, details):
    state.save(SETTLED, details)


FORM = MemoryForm("nothing", load, save, parse, settle)


@pytest.fixture
def context(tmp_path):
    (tmp_path / "spool").mkdir()
    storage = DefaultFileStorage(str(tmp_path / "spool"))
    return UnitContext("unit", {}, str(tmp_path), str(tmp_path / "state"), storage, lambda: 0.0)


@pytest.fixture
def write(context):
    """A part that is written and not stored, and what is remembered of it."""

    def make(text):
        handle = context.storage.get_sink_handle(URL)
        handle.write(text.encode())
        stored = StoredStream(hashlib.sha512(text.encode()).digest(), len(text))
        part = describe_part(context, handle, URL, BackupType.FULL, 1_700_000_000, stored, predecessor=None)
        return part, {"SourceUrl": str(URL), "Text": text}

    return make


def stored(context):
    elements = []
    for element in context.storage.query_backup_data_elements():
        with element.get_data_stream() as stream:
            elements.append(stream.read())
    return elements


def test_what_is_stored_is_remembered_by_the_next_one_too(context, write):
    book = SourceBook(context, FORM)
    assert book.get(URL) == "nothing"
    part, details = write("one")
    book.store([part], URL, "one", details)
    assert (book.get(URL), stored(context)) == ("one", [b"one"])
    assert (book.state.load(SETTLED), book.state.has(PENDING)) == (details, False)
    book.close()
    again = SourceBook(context, FORM)
    assert again.get(URL) == "one"
    again.close()


def test_what_a_crash_left_is_finished_when_it_is_opened(context, write, caplog):
    part, details = write("one")
    state = StateDirectory(context.state_directory)
    store_together(state, sign_parts(context, [part]), details)
    state.close()
    book = SourceBook(context, FORM)
    assert (book.get(URL), book.state.load(SETTLED), book.state.has(PENDING)) == ("one", details, False)
    assert caplog.messages == ["source /host/dump: finished what an interrupted run had begun to store"]
    book.close()


def test_what_cannot_be_remembered_yet_is_told_and_done_by_the_next_recover(context, write, caplog):
    failing = True

    def save_or_fail(state, memories):
        if failing:
            raise StateError("no space left")
        save(state, memories)

    book = SourceBook(context, MemoryForm("nothing", load, save_or_fail, parse))
    part, details = write("one")
    element_id = book.store([part], URL, "one", details).get_element_id()
    (message,) = caplog.messages
    assert f"element {element_id} is stored, but could not be taken note of" in message
    assert message.endswith("no space left")
    assert book.state.has(PENDING)
    assert book.get(URL) == "one"
    failing = False
    book.recover()
    assert (book.state.load(STATE), book.state.has(PENDING)) == ({str(URL): "one"}, False)
    assert stored(context) == [b"one"]
    book.close()


def test_damaged_data_of_an_interrupted_run_is_told_and_not_remembered(context, write, tmp_path, caplog):
    part, details = write("one")
    state = StateDirectory(context.state_directory)
    store_together(state, sign_parts(context, [part]), details)
    state.close()
    for path in tmp_path.rglob("*.info"):
        path.unlink()
    for path in tmp_path.rglob("*.data"):
        path.write_bytes(b"two")
    book = SourceBook(context, FORM)
    assert (book.get(URL), book.state.has(PENDING), book.state.load(SETTLED)) == ("nothing", False, None)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    book.close()


@pytest.mark.parametrize(
    "details", [{}, {"SourceUrl": "no source", "Text": ""}, {"SourceUrl": "/a", "Text": 7}]
)
def test_a_pending_file_that_is_not_understood_is_refused_and_the_state_let_go(context, write, details):
    state = StateDirectory(context.state_directory)
    store_together(state, sign_parts(context, [write("one")[0]]), details)
    state.close()
    for _ in range(2):
        with pytest.raises(DamagedStateError, match=PENDING):
            SourceBook(context, FORM)


def test_damage_is_told_with_the_name_of_the_file(context):
    state = StateDirectory(context.state_directory)
    with pytest.raises(DamagedStateError, match=r"state\.current.*no list"), damage_told(state, STATE):
        raise TypeError("it is no list")
    state.close()
