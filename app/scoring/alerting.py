"""What raises an alert, and what an alert amounts to after all that happened to it.

A cause is a function of the record as it stands: the same forms give the same causes in whatever order they arrived,
and a corrected form takes back what it had raised. Nothing here measures risk, and the absence of a cause is no news
of safety: 71.6 % of those who died by suicide had answered 0 to item 9 (Louzon 2016).
"""

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from typing import Literal

from app.scoring.default_rules import default_threshold, verdict_of
from app.scoring.judgement import RELIABLE_CHANGE
from app.scoring.model import Instrument
from app.scoring.schedule import Expected
from app.scoring.schedule_matching import DueStatus
from app.scoring.timeline import instant
from app.scoring.treatment import Baseline, Dose, NoBaseline
from app.scoring.worse_after_dose import FormPoint, worse_after_dose


class AlertKind(StrEnum):
    """What is wrong. Which of them there are, and from where on, is judgement."""

    CRITICAL_ITEM = "critical_item"  # a critical item is raised, whatever the total
    CRITICAL_ITEM_RISE = "critical_item_rise"  # a critical item is higher than when it was last answered
    RELIABLE_WORSENING = "reliable_worsening"  # the total has become reliably worse than the baseline
    WORSE_AFTER_DOSE = "worse_after_dose"  # worse within days of a dose; a place in time, not a cause
    MISSED_CHECK_INS = "missed_check_ins"  # several expected check-ins in a row did not come


@dataclass(frozen=True, slots=True)
class AlertCause:
    """One reason for an alert. The same record gives the same key; a changed answer gives another."""

    kind: AlertKind
    instrument: str | None  # id without version; None: of no single instrument
    item: int | None  # number of the critical item; None: of the form as a whole
    key: str
    form_id: str | None  # None: raised by the absence of forms
    at: datetime  # when the form was filled in, or the last of the missed check-ins closed


class AlertStatus(StrEnum):
    """What an alert asks of people now."""

    OPEN = "open"  # somebody has to look
    ACKNOWLEDGED = "acknowledged"  # all of it was seen, something is still to be done
    RESOLVED = "resolved"  # all of it was dealt with
    WITHDRAWN = "withdrawn"  # the record no longer gives any cause


AlertFactKind = Literal["raised", "withdrawn", "acknowledged", "resolved"]


@dataclass(frozen=True, slots=True)
class AlertFact:
    """One thing that happened to an alert."""

    kind: AlertFactKind
    at: datetime
    cause: str | None = None  # key, of a raise or a withdrawal


@dataclass(frozen=True, slots=True)
class AlertState:
    """What the facts amount to. The times are those of the present span, or of the last one."""

    status: AlertStatus
    raised_at: datetime
    acknowledged_at: datetime | None  # the last time that all of it had been seen; None while open
    resolved_at: datetime | None
    reopened: int  # how often it came again after a resolution
    active: frozenset[str]  # causes raised and not withdrawn, resolved ones too


@dataclass(frozen=True, slots=True)
class Latency:
    """How long things took, in hours, by nearest rank: each figure is one that was observed. None when n is 0."""

    n: int
    p50: float | None
    p90: float | None
    maximum: float | None


# --- Causes -----------------------------------------------------------------------------------------------------------


def form_causes(
    instrument: Instrument, forms: Sequence[FormPoint], doses: Sequence[Dose], baseline: Baseline | NoBaseline
) -> tuple[AlertCause, ...]:
    """All that the forms of one instrument give cause for, oldest first.

    A critical item raises on every form on which it is raised: also on an incomplete or a late one, and when the total
    improved. It rises when it is higher than its last answer before; without one there is no rise. Reliable worsening
    is told once, on the form with which it begins, and again only after a form that was not reliably worse; forms
    before the baseline never. Every signal of `worse_after_dose` is a cause.

    Units and range: `forms` are of this instrument alone, in any order; `doses` those of the course; forms of one
    instant are ordered by id. Reliably worse is the mirror image of the instrument's default reliable-change rule.
    Missing data: an unanswered item raises nothing and is passed over when answers are compared. A form without a total
    is passed over when totals are. Without a baseline, or without the rule, no reliable worsening is told.

    Raises:
        ValueError: a total is not a finite number, or a time has no offset.

    Source: judgement. Item 9 of the PHQ-9 counts from 1 because risk rises with every step of the answer: Simon 2013,
    Psychiatr Serv; Louzon 2016.

    >>> from datetime import UTC
    >>> from app.scoring.model import Point, Validity
    >>> from app.scoring.registry import get_instrument
    >>> from app.scoring.treatment import BaselineRule
    >>> def form(day, total, item_9):
    ...     point = Point(f"day {day}", datetime(2026, 3, day, tzinfo=UTC), total, Validity.VALID)
    ...     return FormPoint(point, {9: item_9})
    >>> forms = [form(1, 12, 0), form(8, 19, 1)]
    >>> causes = form_causes(get_instrument("phq-9"), forms, [], Baseline(forms[0].point, BaselineRule.FIRST))
    >>> [(cause.kind.value, cause.key) for cause in causes]
    [('critical_item', 'day 8:9:1'), ('critical_item_rise', 'day 8:9:0>1'), ('reliable_worsening', 'day 8:day 1')]
    """
    ordered = sorted(forms, key=_place)
    causes = [
        *_critical_causes(instrument, ordered),
        *_worsening_causes(instrument, ordered, baseline),
        *_dose_causes(instrument, ordered, doses),
    ]
    # The sort is stable: of one form, its causes stay in the order of the kinds.
    return tuple(sorted(causes, key=lambda cause: (instant(cause.at), cause.form_id)))


def missed_causes(statuses: Sequence[tuple[Expected, DueStatus]], in_a_row: int) -> tuple[AlertCause, ...]:
    """The run of missed check-ins that has not ended, once it is long enough: one cause or none.

    Check-ins count in the order in which they close. A form that came, in time or late, ends the run, and with it the
    cause; a check-in that is still open neither ends nor lengthens it. The cause belongs to the check-in that made the
    run long enough, so that a longer run is no new cause.

    Units and range: `in_a_row` is a number of check-ins, 1 and more; keys are unique among those given.
    Missing data: nothing expected, nothing missed.

    Raises:
        ValueError: `in_a_row` is below 1, or a time has no offset.

    Source: judgement; that people are lost in silence: Yermus 2024, 82 % without a form after three months.

    >>> from datetime import UTC, timedelta
    >>> opens = datetime(2026, 3, 9, 9, tzinfo=UTC)
    >>> def missed(n):
    ...     times = [opens + timedelta(weeks=n, hours=hours) for hours in (24, 0, 48, 72)]
    ...     return Expected(f"weekly/episode/{n}", "weekly", "phq-9", None, *times, None), DueStatus.MISSED
    >>> [cause.key for cause in missed_causes([missed(n) for n in (1, 2, 3)], in_a_row=2)]
    ['weekly/episode/2']
    """
    if in_a_row < 1:
        raise ValueError("a run of missed check-ins has at least one")
    run: list[Expected] = []
    for expected, status in sorted(statuses, key=lambda pair: (instant(pair[0].closes_at), pair[0].key)):
        if status is DueStatus.MISSED:
            run.append(expected)
        elif status in (DueStatus.RECEIVED, DueStatus.RECEIVED_LATE):
            run.clear()
    if len(run) < in_a_row:
        return ()
    reached = run[in_a_row - 1]
    return (AlertCause(AlertKind.MISSED_CHECK_INS, None, None, reached.key, None, reached.closes_at),)


def _place(form: FormPoint) -> tuple[datetime, str]:
    return instant(form.point.at), form.point.id


def _critical_causes(instrument: Instrument, ordered: Sequence[FormPoint]) -> Iterator[AlertCause]:
    for critical in instrument.critical_items:
        item, before = critical.item, None
        for form in ordered:
            now = form.critical_values.get(item)
            if now is None:
                continue
            id_, at = form.point.id, form.point.at
            if now >= critical.at_least:
                yield AlertCause(AlertKind.CRITICAL_ITEM, instrument.id, item, f"{id_}:{item}:{now}", id_, at)
            if before is not None and now > before:
                key = f"{id_}:{item}:{before}>{now}"
                yield AlertCause(AlertKind.CRITICAL_ITEM_RISE, instrument.id, item, key, id_, at)
            before = now


def _worsening_causes(
    instrument: Instrument, ordered: Sequence[FormPoint], baseline: Baseline | NoBaseline
) -> Iterator[AlertCause]:
    if isinstance(baseline, NoBaseline):
        return
    start = baseline.point
    begins, was_worse = (instant(start.at), start.id), False
    for form in ordered:
        point = form.point
        if point.total is None or _place(form) <= begins:
            continue
        is_worse = _is_reliably_worse(instrument, start.total, point.total)
        if is_worse and not was_worse:
            key = f"{point.id}:{start.id}"
            yield AlertCause(AlertKind.RELIABLE_WORSENING, instrument.id, None, key, point.id, point.at)
        was_worse = is_worse


@lru_cache(maxsize=4_096)  # totals of declared instruments are few, and this is asked at every check-in
def _is_reliably_worse(instrument: Instrument, baseline: float | None, total: float) -> bool:
    rule = default_threshold(instrument, RELIABLE_CHANGE)
    return rule is not None and verdict_of(instrument, rule, baseline, total).direction == "worsened"


def _dose_causes(instrument: Instrument, ordered: Sequence[FormPoint], doses: Sequence[Dose]) -> Iterator[AlertCause]:
    for signal in worse_after_dose(ordered, doses, instrument):
        key = f"{signal.after.id}:{signal.dose_id}"
        yield AlertCause(AlertKind.WORSE_AFTER_DOSE, instrument.id, None, key, signal.after.id, signal.after.at)


# --- What happened to an alert ----------------------------------------------------------------------------------------

_Handled = Literal["new", "seen", "done"]  # of one active cause


@dataclass(slots=True)
class _Span:
    """From the raise that began it until all of it was resolved or withdrawn."""

    raised_at: datetime
    acknowledged_at: datetime | None = None
    resolved_at: datetime | None = None


@dataclass(slots=True)
class _Fold:
    """Where an alert stands between two facts."""

    causes: dict[str, _Handled] = field(default_factory=dict)
    spans: list[_Span] = field(default_factory=list)
    emptied_at: datetime | None = None  # when a withdrawal left nothing unresolved in the last span

    @property
    def unresolved(self) -> bool:
        return any(handled != "done" for handled in self.causes.values())

    def raised(self, cause: str, at: datetime) -> None:
        if cause in self.causes:
            return
        # A correction takes a cause back and gives another in one moment: nobody was ever free of the alert.
        if not self.unresolved and self.emptied_at != at:
            self.spans.append(_Span(at))
        self.emptied_at = None
        self.causes[cause] = "new"

    def withdrawn(self, cause: str, at: datetime) -> None:
        handled = self.causes.pop(cause, None)
        if handled in ("new", "seen") and not self.unresolved:
            self.emptied_at = at

    def acknowledged(self, at: datetime) -> None:
        if "new" in self.causes.values():
            self.spans[-1].acknowledged_at = at
            self.causes.update((cause, "seen") for cause, handled in self.causes.items() if handled == "new")

    def resolved(self, at: datetime) -> None:
        if self.unresolved:
            self.spans[-1].resolved_at = at
            self.causes.update(dict.fromkeys(self.causes, "done"))

    def status(self) -> AlertStatus:
        handled = set(self.causes.values())
        if not handled:
            return AlertStatus.WITHDRAWN
        if handled == {"done"}:
            return AlertStatus.RESOLVED
        return AlertStatus.OPEN if "new" in handled else AlertStatus.ACKNOWLEDGED


def alert_state(facts: Sequence[AlertFact]) -> AlertState:
    """What an alert amounts to after all its facts, in the order they were written down.

    Withdrawn: no active cause. Resolved: every active cause was raised before the last resolution. Acknowledged: some
    was not, and each such was raised before the last acknowledgement. Open otherwise. A cause that is raised after a
    resolution opens the alert again; when it is withdrawn, the resolution holds as before. A cause that is raised again
    after it was withdrawn is a new one.

    A span begins with a raise while nothing was unresolved, and lasts until all of it is resolved or withdrawn. What is
    withdrawn and raised at one and the same time is a correction and goes on with its span. The times given are those
    of the present span; of a resolved alert, those of the span that was resolved; else of the last.

    Units and range: times as given; only the order of the facts counts, never their times, but for the correction.
    Missing data: facts that change nothing are passed over: a second raise of an active cause, a withdrawal of one that
    is not, an acknowledgement or resolution when there is nothing to see or to do.

    Raises:
        ValueError: nothing was ever raised, so that there is no alert.

    Source: judgement.

    >>> from datetime import UTC
    >>> def fact(kind, day, cause=None):
    ...     return AlertFact(kind, datetime(2026, 3, day, tzinfo=UTC), cause)
    >>> facts = [fact("raised", 1, "a:9:1"), fact("acknowledged", 2), fact("resolved", 3)]
    >>> again = alert_state([*facts, fact("raised", 9, "b:9:1")])
    >>> alert_state(facts).status.value, again.status.value, again.raised_at.day, again.reopened
    ('resolved', 'open', 9, 1)
    >>> alert_state([*facts, fact("raised", 9, "b:9:1"), fact("withdrawn", 9, "b:9:1")]).status.value
    'resolved'
    """
    fold = _folded(facts)
    if not fold.spans:
        raise ValueError("an alert begins with a cause")
    status = fold.status()
    resolved = [place for place, span in enumerate(fold.spans) if span.resolved_at is not None]
    span = fold.spans[resolved[-1] if status is AlertStatus.RESOLVED else -1]
    return AlertState(
        status=status,
        raised_at=span.raised_at,
        acknowledged_at=None if status is AlertStatus.OPEN else span.acknowledged_at,
        resolved_at=span.resolved_at,
        reopened=len(fold.spans) - 1 - resolved[0] if resolved else 0,
        active=frozenset(fold.causes),
    )


def new_facts(before: Sequence[AlertFact], derived: Collection[str], at: datetime) -> tuple[AlertFact, ...]:
    """What must be added so that the active causes become the derived ones: nothing more, sorted by key.

    What is taken back comes before what is raised, so that a correction ends with the alert raised.

    Units and range: `derived` are the keys of all causes the record gives now; `at` is the time of writing down.
    Missing data: no derived cause withdraws all that is active.
    Source: judgement.

    >>> from datetime import UTC
    >>> noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    >>> [(fact.kind, fact.cause) for fact in new_facts([AlertFact("raised", noon, "a:9:1")], ["a:9:2"], noon)]
    [('withdrawn', 'a:9:1'), ('raised', 'a:9:2')]
    """
    active, wanted = set(_folded(before).causes), set(derived)
    withdrawn = (AlertFact("withdrawn", at, cause) for cause in sorted(active - wanted))
    raised = (AlertFact("raised", at, cause) for cause in sorted(wanted - active))
    return (*withdrawn, *raised)


def _folded(facts: Iterable[AlertFact]) -> _Fold:
    fold = _Fold()
    for fact in facts:
        if fact.kind == "acknowledged":
            fold.acknowledged(fact.at)
        elif fact.kind == "resolved":
            fold.resolved(fact.at)
        elif fact.cause is not None:
            (fold.raised if fact.kind == "raised" else fold.withdrawn)(fact.cause, fact.at)
    return fold


# --- How long it took -------------------------------------------------------------------------------------------------


def latency(hours: Sequence[float]) -> Latency:
    """Median, ninth decile and longest of some waiting times, by nearest rank.

    Units and range: hours. The p-th percentile is the smallest observed value that at least p % do not exceed, so a
    long wait is never averaged away.
    Missing data: what has not happened yet has no waiting time and is left out by the caller; None of nothing.

    Raises:
        ValueError: a waiting time is not a finite number.

    Source: nearest rank, Hyndman & Fan 1996, Am Stat 50:361-365, definition 1.

    >>> latency([2.0, 50.0, 1.0, 8.0])
    Latency(n=4, p50=2.0, p90=50.0, maximum=50.0)
    """
    if not all(map(math.isfinite, hours)):
        raise ValueError("a waiting time must be a finite number")
    ordered = sorted(hours)
    if not ordered:
        return Latency(0, None, None, None)
    p50, p90 = (ordered[_rank(percent, len(ordered)) - 1] for percent in (50, 90))
    return Latency(len(ordered), p50, p90, ordered[-1])


def _rank(percent: int, n: int) -> int:
    """Rounded up in whole numbers: the float 0.9 * 10 may lie above 9."""
    return -(-percent * n // 100)
