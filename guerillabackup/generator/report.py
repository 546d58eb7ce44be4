"""What a service remembers of its runs, and what it says of itself: to clients, and to systemd. No I/O.

Times in what is said are UTC seconds. What was before the start of the service is not known here: the storage
knows it.
"""

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from guerillabackup.element import SourceUrl
from guerillabackup.generator.activity import Activity
from guerillabackup.generator.interface import SourceOutcome, SourceState
from guerillabackup.generator.outcome import UnitOutcome
from guerillabackup.generator.schedule import IN_PROGRESS, UnitState, UnitView
from guerillabackup.generator.selection import LoadedUnit

MAX_NAMED = 5
_NOTHING_KNOWN = SourceState()
PLAIN = (str, int, float, list, tuple, dict, set)
"""Types of settings that say which sources there are."""


@dataclass(frozen=True, slots=True)
class _LastRun:
    """From `failing_since` on the whole unit failed, from `skipped_since` on it was skipped, each time."""

    outcome: UnitOutcome
    at: float
    failing_since: float | None
    skipped_since: float | None


@dataclass(frozen=True, slots=True)
class _SourceRecord:
    element: str | None = None
    stored_at: float | None = None
    error: str | None = None
    failing_since: float | None = None
    waits_for: str | None = None
    waiting_since: float | None = None
    next_at: float | None = None

    def advanced(self, outcome: SourceOutcome, now: float) -> "_SourceRecord":
        element, stored_at = self.element, self.stored_at
        if outcome.element_id is not None:
            element, stored_at = str(outcome.element_id), now
        known = dataclasses.replace(self, element=element, stored_at=stored_at)
        if outcome.error is None:
            return known.mended()
        since = now if self.failing_since is None else self.failing_since
        return dataclasses.replace(known, error=str(outcome.error), failing_since=since)

    def mended(self) -> "_SourceRecord":
        return dataclasses.replace(self, error=None, failing_since=None)

    @property
    def is_telling(self) -> bool:
        """Whether there is anything to say of a source that nobody names."""
        return self != _SourceRecord()

    def described(self, state: SourceState, now: float) -> "_SourceRecord":
        """With what the unit says of it now."""
        since = self.waiting_since if self.waits_for is not None else now
        return dataclasses.replace(
            self,
            waits_for=state.waits_for,
            waiting_since=None if state.waits_for is None else since,
            next_at=None if state.next_in is None else now + state.next_in,
        )


class Reporter:
    """Remembers the last run of each unit and source."""

    def __init__(self) -> None:
        self._runs: dict[str, _LastRun] = {}
        self._sources: dict[str, dict[SourceUrl, _SourceRecord]] = {}
        # Failures that the unit itself does not know of, since it was made anew after them.
        self._unsettled: dict[str, set[SourceUrl]] = {}

    def note(self, outcome: UnitOutcome, now: float, *, only: Collection[SourceUrl] = ()) -> None:
        """A unit was looked at; what was not due is no run. `only`: it was run for these sources, if any."""
        name = outcome.unit_name
        records = self._sources.setdefault(name, {})
        for source in _merge(outcome.sources):
            records[source.source_url] = records.get(source.source_url, _SourceRecord()).advanced(source, now)
        if outcome.was_invoked or outcome.error is not None or outcome.skipped is not None:
            self._runs[name] = _advanced_run(self._runs.get(name), outcome, now)
        if outcome.was_invoked and outcome.error is None:
            self._settle(outcome, only)
        if outcome.states is not None:
            for url in {*records, *outcome.states}:
                state = outcome.states.get(url, _NOTHING_KNOWN)
                records[url] = records.get(url, _SourceRecord()).described(state, now)

    def _settle(self, outcome: UnitOutcome, only: Collection[SourceUrl]) -> None:
        """What was tried has its outcome; of the rest, as a file that is gone, nothing may fail any more."""
        unsettled = set() if only else self._unsettled.pop(outcome.unit_name, set())
        tried = {source.source_url for source in outcome.sources}
        for url, record in self._sources[outcome.unit_name].items():
            if url in tried or record.error is None or (only and url not in only):
                continue
            fails_on = outcome.states is None or outcome.states.get(url, _NOTHING_KNOWN).has_failed
            if url in unsettled or not fails_on:
                self._sources[outcome.unit_name][url] = record.mended()

    def keep_only(self, units: Mapping[str, LoadedUnit], before: Mapping[str, LoadedUnit]) -> None:
        """The files were read anew: forget units and sources that they do not name any more.

        A source that its unit finds as it runs is kept while the unit's settings are those of `before`. What
        had failed has failed until it was tried again; why a unit was skipped holds no longer.
        """
        for name in [name for name in self._runs if name not in units]:
            del self._runs[name]
            self._sources.pop(name, None)
            self._unsettled.pop(name, None)
        for name, run in self._runs.items():
            self._runs[name] = dataclasses.replace(
                run, outcome=dataclasses.replace(run.outcome, skipped=None)
            )
        for name in self._sources:
            self.forget_unnamed(units[name], before.get(name))

    def forget_unnamed(self, unit: LoadedUnit, before: LoadedUnit | None) -> None:
        """The same for one unit, which may have ended a run as it was `before` only now."""
        records = self._sources.get(unit.name, {})
        if unit.sources is not None and not _are_settings_equal(unit, before):
            records = {url: record for url, record in records.items() if url in unit.sources}
            self._sources[unit.name] = records
        self._unsettled[unit.name] = {url for url, record in records.items() if record.error is not None}

    def with_known_sources(self, unit: LoadedUnit) -> LoadedUnit:
        """The unit with the sources, too, that it was not known to have before it ran."""
        known = list(unit.sources or ())
        further = [url for url in self._sources.get(unit.name, {}) if url not in known]
        return dataclasses.replace(unit, sources=[*known, *further]) if further else unit

    def list_units(
        self, views: Sequence[UnitView], loaded: Mapping[str, LoadedUnit], now: float
    ) -> list[dict[str, Any]]:
        """Units, their sources, when each is looked at next, and what came of the last time."""
        return [self._describe_unit(view, loaded.get(view.name), now) for view in views]

    def describe_status(
        self, views: Sequence[UnitView], activities: Mapping[str, Activity], now: float
    ) -> dict[str, Any]:
        """What runs, what waits for a worker, what is hung and what failed."""
        running = [view for view in views if view.state in IN_PROGRESS]
        return {
            "running": [self._describe_run(view, activities.get(view.name), now) for view in running],
            "queued": [view.name for view in views if view.state is UnitState.QUEUED],
            "hung": [view.name for view in views if view.state is UnitState.HUNG],
            "failed": [problem for view in views for problem in self._problems(view)],
            "waiting": [waiting for view in views for waiting in self._list_waiting(view)],
            "skipped": [skipped for view in views for skipped in self._list_skipped(view)],
            "next": self._describe_next(views, now),
        }

    def summarize(self, views: Sequence[UnitView]) -> str:
        """One line for systemd: of what lasts, no moment's numbers."""
        running = [view.name for view in views if view.state is UnitState.RUNNING]
        hung = [view.name for view in views if view.state is UnitState.HUNG]
        failed = {problem["unit"] for view in views for problem in self._problems(view)}
        parts = [f"{len(views)} unit{'' if len(views) == 1 else 's'}"]
        for label, names in (("running", running), ("hung", hung), ("failed", sorted(failed))):
            if names:
                more = "" if len(names) <= MAX_NAMED else f" and {len(names) - MAX_NAMED} more"
                parts.append(f"{label}: {', '.join(names[:MAX_NAMED])}{more}")
        return "; ".join(parts)

    def _describe_unit(self, view: UnitView, unit: LoadedUnit | None, now: float) -> dict[str, Any]:
        last = self._runs.get(view.name)
        records = self._sources.get(view.name, {})
        named = set() if unit is None else set(unit.sources or ())
        urls = sorted(named | {url for url, record in records.items() if record.is_telling}, key=str)
        return {
            "unit": view.name,
            "state": view.state.value,
            "next": None if view.next_in is None else now + view.next_in,
            "last_run": None if last is None else last.at,
            "error": view.problem or (None if last is None else _own_error(last.outcome)),
            "skipped": None if last is None else last.outcome.skipped,
            "asked": view.asked,
            "refused": None if unit is None else unit.refused,
            "test_mode": unit is not None and unit.test_mode is not None,
            "sources": [
                self._describe_source(url, records.get(url, _SourceRecord()), view, now) for url in urls
            ],
        }

    def _describe_source(
        self, url: SourceUrl, record: _SourceRecord, view: UnitView, now: float
    ) -> dict[str, Any]:
        described = {"source": str(url), **dataclasses.asdict(record)}
        del described["next_at"]
        return {**described, "next": _next_of(record, view, now)}

    def _describe_run(self, view: UnitView, activity: Activity | None, now: float) -> dict[str, Any]:
        described = {} if activity is None else activity.describe()
        return {
            "unit": view.name,
            "state": view.state.value,
            "seconds": round(view.since, 3),
            "quiet_seconds": round(view.quiet or 0.0, 3),
            "asked": view.asked,
            **described,
        }

    def _problems(self, view: UnitView) -> list[dict[str, Any]]:
        """The sources of a unit that have failed since they last went well, or the unit itself."""
        last = self._runs.get(view.name)
        if view.problem is not None:
            return [{"unit": view.name, "source": None, "error": view.problem, "since": None}]
        if last is not None and last.outcome.error is not None:
            error = str(last.outcome.error)
            return [{"unit": view.name, "source": None, "error": error, "since": last.failing_since}]
        return [
            {"unit": view.name, "source": str(url), "error": record.error, "since": record.failing_since}
            for url, record in sorted(self._sources.get(view.name, {}).items(), key=lambda item: str(item[0]))
            if record.error is not None
        ]

    def _list_waiting(self, view: UnitView) -> list[dict[str, Any]]:
        """Sources of which something is left for a later run, as a log file that a program has open."""
        return [
            {"unit": view.name, "source": str(url), "reason": record.waits_for, "since": record.waiting_since}
            for url, record in sorted(self._sources.get(view.name, {}).items(), key=lambda item: str(item[0]))
            if record.waits_for is not None
        ]

    def _list_skipped(self, view: UnitView) -> list[dict[str, Any]]:
        """The unit, if it is due and its condition does not hold."""
        last = self._runs.get(view.name)
        if last is None or last.outcome.skipped is None:
            return []
        return [{"unit": view.name, "reason": last.outcome.skipped, "since": last.skipped_since}]

    def _describe_next(self, views: Sequence[UnitView], now: float) -> dict[str, Any] | None:
        times = {view.name: self._next_due(view, now) for view in views if view.next_in is not None}
        if not times:
            return None
        first = min(times, key=lambda name: times[name])
        return {"unit": first, "at": times[first]}

    def _next_due(self, view: UnitView, now: float) -> float:
        """When the first source of a unit that waits is due: the unit itself is looked at more often."""
        records = self._sources.get(view.name, {}).values()
        times = [_next_of(record, view, now) for record in records if record.next_at is not None]
        return min((at for at in times if at is not None), default=now + (view.next_in or 0.0))


def describe_refused(units: Iterable[LoadedUnit], now: float) -> dict[str, Any] | None:
    """What a reload did not take of single units; None where it took all."""
    refused = {unit.name: unit.refused for unit in units if unit.refused is not None}
    text = "; ".join(f"unit {name}: {error}" for name, error in refused.items())
    return {"at": now, "error": text, "units": list(refused)} if refused else None


def _advanced_run(before: _LastRun | None, outcome: UnitOutcome, now: float) -> _LastRun:
    failing_since = skipped_since = None
    if outcome.error is not None:
        failing_since = now if before is None or before.failing_since is None else before.failing_since
    if outcome.skipped is not None:
        skipped_since = now if before is None or before.skipped_since is None else before.skipped_since
    return _LastRun(outcome, now, failing_since, skipped_since)


def _next_of(record: _SourceRecord, view: UnitView, now: float) -> float | None:
    """When a source is due: as its unit said, but not before that is looked at."""
    if view.state is UnitState.BROKEN:
        return None
    looked_at = None if view.next_in is None else now + view.next_in
    if record.next_at is None or (looked_at is None and record.next_at <= now):
        return looked_at
    return record.next_at if looked_at is None else max(record.next_at, looked_at)


def _merge(outcomes: Iterable[SourceOutcome]) -> Iterable[SourceOutcome]:
    """One for each source: its last element, and its last error, which a file stored beside does not mend."""
    merged: dict[SourceUrl, SourceOutcome] = {}
    for outcome in outcomes:
        before = merged.get(outcome.source_url, outcome)
        merged[outcome.source_url] = dataclasses.replace(
            outcome,
            element_id=before.element_id if outcome.element_id is None else outcome.element_id,
            error=before.error if outcome.error is None else outcome.error,
        )
    return merged.values()


def _are_settings_equal(unit: LoadedUnit, before: LoadedUnit | None) -> bool:
    return before is not None and _plain_settings(unit) == _plain_settings(before)


def _plain_settings(unit: LoadedUnit) -> dict[str, Any]:
    """Those that can be compared: an object is another one each time that a file is read."""
    return {key: value for key, value in unit.configuration.items() if isinstance(value, PLAIN)}


def _own_error(outcome: UnitOutcome) -> str | None:
    return None if outcome.error is None else str(outcome.error)
