"""What the outcome of a run means for the schedule."""

import pytest

from guerillabackup.element import ElementId, SourceUrl
from guerillabackup.errors import StorageError
from guerillabackup.generator.floor import judge
from guerillabackup.generator.interface import SourceOutcome
from guerillabackup.generator.outcome import UnitOutcome
from guerillabackup.generator.schedule import EndKind

FAILED = SourceOutcome(SourceUrl("/host/a"), None, StorageError("full"), 60)
STORED = SourceOutcome(SourceUrl("/host/b"), ElementId.parse("/host/20261121155214-b-full"))


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [
        (UnitOutcome("A", next_in=5.0), EndKind.NOT_DUE),
        (UnitOutcome("A", skipped="the load is 9"), EndKind.SKIPPED),
        (UnitOutcome("A", error=StorageError("full")), EndKind.FAILED),
        (UnitOutcome("A", was_invoked=True), EndKind.DONE),
        (UnitOutcome("A", (STORED,), was_invoked=True), EndKind.DONE),
        # It says itself when it wants to try again.
        (UnitOutcome("A", (FAILED,), was_invoked=True, next_in=50.0), EndKind.DONE),
        # It does not: nothing keeps it from failing again at once, all day.
        (UnitOutcome("A", (FAILED,), was_invoked=True), EndKind.FAILED),
        (UnitOutcome("A", (FAILED, STORED), was_invoked=True), EndKind.DONE),
    ],
)
def test_an_outcome_is_judged_by_what_came_of_it_and_what_the_unit_says(outcome, kind):
    assert judge(outcome) is kind
