"""Events are values: equal when they say the same, and never changed."""

import dataclasses

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


def event_classes() -> set[type[events.Event]]:
    values = vars(events).values()
    return {value for value in values if isinstance(value, type) and issubclass(value, events.Event)}


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: type(event).__name__)
def test_an_event_equals_its_like_and_cannot_be_changed(event):
    field = dataclasses.fields(event)[0].name
    assert dataclasses.replace(event) == event
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(event, field, None)


@pytest.mark.parametrize("event", EXAMPLES, ids=lambda event: type(event).__name__)
def test_who_does_not_listen_is_told_without_harm(event):
    assert events.ignore_events(event) is None


@pytest.mark.parametrize("kind", sorted(event_classes(), key=lambda kind: kind.__name__))
def test_every_event_is_a_frozen_value_in_the_one_tree(kind):
    assert dataclasses.is_dataclass(kind)
    assert kind.__dataclass_params__.frozen
