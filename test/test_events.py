"""Events are values: equal when they say the same, and never changed."""

from typing import get_args

import pytest

import guerillabackup.events as events
from guerillabackup.element import BackupType, ElementId, SourceUrl

SOURCE = SourceUrl("/host/etc")
ELEMENT = ElementId.label(SOURCE, 1_600_000_000, BackupType.FULL)
STAGES = (events.StageProgress("tar", -1, 10240), events.StageProgress("gpg", 10240, 4096))
EXAMPLES = [
    events.SourceStarted("Tar", SOURCE, "full"),
    events.PipelineProgress(SOURCE, 1.5, STAGES, None),
    events.ElementStored("Tar", ELEMENT, 10240, 4096, 2.0),
    events.SourceWarning("Tar", SOURCE, "file vanished"),
    events.SourceFailed("Tar", SOURCE, "tar exited with status 2", 3600),
    events.UnitFailed("Tar", "no such file"),
    events.VerifyProgress(ELEMENT, 0, 4096),
    events.RestoreProgress(ELEMENT, 4096, 4096),
]


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: type(event).__name__)
def test_an_event_equals_its_like_and_cannot_be_changed(event):
    assert isinstance(event, events.Event)
    assert event._replace() == event
    with pytest.raises(AttributeError):
        setattr(event, event._fields[0], None)


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: type(event).__name__)
def test_who_does_not_listen_is_told_without_harm(event):
    assert events.ignore_events(event) is None


def test_every_value_of_the_module_is_an_event_or_part_of_one():
    made_here = {
        value for value in vars(events).values() if getattr(value, "__module__", "") == events.__name__
    }
    kinds = {value for value in made_here if isinstance(value, type)}
    assert kinds == {*get_args(events.Event), events.StageProgress}
