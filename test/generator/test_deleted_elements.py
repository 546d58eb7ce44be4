"""What was deleted on purpose is noted, for the host's own storage, and the note is bounded."""

import json

import pytest

from guerillabackup.generator.deleted_elements import DELETED, MAX_NOTED, note_deleted, read_deleted


@pytest.fixture
def own(tmp_path):
    for name in ("data", "state", "other"):
        (tmp_path / name).mkdir()
    return str(tmp_path / "data"), str(tmp_path / "state")


def test_what_was_noted_is_read_again(own):
    note_deleted(own[0], *own, [b"a"])
    note_deleted(own[0] + "/.", *own, [b"b", b"a"])
    assert read_deleted(own[1]) == {b"a", b"b"}


def test_of_another_storage_or_without_state_nothing_is_noted(own, tmp_path):
    note_deleted(str(tmp_path / "other"), *own, [b"a"])
    note_deleted(own[0], own[0], None, [b"a"])
    note_deleted(own[0], own[0], str(tmp_path / "nothing"), [b"a"])
    assert read_deleted(own[1]) == read_deleted(str(tmp_path / "nothing")) == frozenset()


@pytest.mark.parametrize("content", ["", "{", "{}", '["a", 1]', "[" * 100_000])
def test_a_note_that_cannot_be_used_says_nothing_and_is_begun_anew(own, tmp_path, content):
    (tmp_path / "state" / DELETED).write_text(content)
    assert read_deleted(own[1]) == frozenset()


def test_the_oldest_notes_go_when_there_are_too_many(own, tmp_path):
    note_deleted(own[0], *own, [b"%d" % number for number in range(MAX_NOTED)])
    note_deleted(own[0], *own, [b"last"])
    assert len(json.loads((tmp_path / "state" / DELETED).read_text())) == MAX_NOTED
    assert b"last" in read_deleted(own[1])
    assert b"0" not in read_deleted(own[1])
