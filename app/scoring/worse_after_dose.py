"""Forms that are worse soon after a dose. A signal for a person to look at; it does not say that the dose did it."""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cache, partial
from typing import Final

from app.scoring.change import change
from app.scoring.default_rules import default_threshold, verdict_of
from app.scoring.judgement import RELIABLE_CHANGE
from app.scoring.model import CriticalItem, Instrument, Point, Threshold
from app.scoring.timeline import DAY, HOUR, elapsed, instant
from app.scoring.treatment import Dose, NumberedDose, dose_line

WORSE_WITHIN_DAYS: Final = 7  # days after the start of a dose; judgement: acute effects wane within about a week


@dataclass(frozen=True, slots=True)
class FormPoint:
    """A point with the answers to its critical items: item number -> value, None where unanswered."""

    point: Point
    critical_values: Mapping[int, int | None] = field(default_factory=dict)


class WorseReason(StrEnum):
    """What is worse than before the dose."""

    RELIABLE_WORSENING = "reliable_worsening"  # the total, by the mirrored reliable-change rule
    CRITICAL_ITEM_NEW = "critical_item_new"  # raised now, and not known to have been raised before the dose
    CRITICAL_ITEM_HIGHER = "critical_item_higher"  # raised before the dose, and higher now


@dataclass(frozen=True, slots=True)
class WorseItem:
    """One critical item that is new or higher. Values as answered, never imputed."""

    item: int
    before: int | None  # the last answer up to the start of the dose; None: never answered before
    after: int
    reason: WorseReason


@dataclass(frozen=True, slots=True)
class WorseAfterDose:
    """One form that is worse than what was last known before the nearest preceding dose."""

    dose_number: int
    dose_id: str
    started_at: datetime
    before: Point | None  # the last form with a total up to the start of the dose, however old
    after: Point
    hours_after: float
    change: int | float | None  # points, after minus before
    rule: str | None  # code of the reliable-change threshold; None: the instrument has none
    reasons: tuple[WorseReason, ...]
    items: tuple[WorseItem, ...]


@dataclass(frozen=True, slots=True)
class _Known:
    """What was known when a dose started, by forms up to its very start."""

    point: Point | None  # the last with a total
    values: Mapping[int, int]  # the last answer to each critical item that had been answered


def worse_after_dose(
    forms: Iterable[FormPoint], doses: Iterable[Dose], instrument: Instrument, *, within_days: float = WORSE_WITHIN_DAYS
) -> tuple[WorseAfterDose, ...]:
    """Every form within some days after a dose that is reliably worse, or has a critical answer that is new or higher.

    Each form belongs to its nearest preceding dose alone and is held against what was last known up to the start of
    that dose: the last total, and for each critical item its last answer, however old, because a warning should rather
    come once too often. For the same reason forms count here whose recall window reaches back before the dose, and
    incomplete forms by the items they have. "After" is a place in time, not a cause.

    Units and range: `within_days` in days of 24 hours since the start of the dose, the limit included; points as the
    scale counts. A form exactly at the start of a dose comes before it.
    Missing data: without an earlier total no worsening of the total can be told; a raised item without an earlier
    answer counts as new, with `before` None.

    Raises:
        ValueError: a time has no offset.

    Source: judgement; the threshold names its own source.

    >>> from datetime import UTC
    >>> from app.scoring.model import Validity
    >>> from app.scoring.registry import get_instrument
    >>> dose = Dose("a", datetime(2026, 1, 5, 9, tzinfo=UTC))
    >>> def form(hours, total, item_9):
    ...     return FormPoint(Point(f"{hours} h", dose.started_at + hours * HOUR, total, Validity.VALID), {9: item_9})
    >>> (worse,) = worse_after_dose([form(-2, 12, 0), form(72, 18, 1)], [dose], get_instrument("phq-9"))
    >>> worse.dose_number, worse.change, [reason.value for reason in worse.reasons]
    (1, 6, ['reliable_worsening', 'critical_item_new'])
    """
    ordered = sorted(forms, key=lambda form: (instant(form.point.at), form.point.id))
    times = [instant(form.point.at) for form in ordered]
    line = dose_line(doses)
    rule = default_threshold(instrument, RELIABLE_CHANGE)
    is_worse = cache(partial(_is_worse, instrument, rule))  # of two totals, which are few
    signals = []
    neighbours = zip(line.doses, line.starts, (*line.starts[1:], None), strict=False)  # the last may run one longer
    for dose, start, following in neighbours:
        until = start + within_days * DAY
        first, end = bisect_right(times, start), bisect_right(times, min(until, following or until))
        known = _known(ordered[:first], instrument.critical_items)
        signals += [_signal(form, dose, known, instrument, rule, is_worse) for form in ordered[first:end]]
    return tuple(signal for signal in signals if signal is not None)


def _known(forms: Sequence[FormPoint], critical_items: Sequence[CriticalItem]) -> _Known:
    earlier = forms[::-1]
    values = {}
    for critical in critical_items:
        answers = (form.critical_values.get(critical.item) for form in earlier)
        last = next((answer for answer in answers if answer is not None), None)
        if last is not None:
            values[critical.item] = last
    return _Known(next((form.point for form in earlier if form.point.total is not None), None), values)


def _is_worse(instrument: Instrument, rule: Threshold | None, before: float | None, after: float | None) -> bool:
    return rule is not None and verdict_of(instrument, rule, before, after).direction == "worsened"


def _signal(
    form: FormPoint,
    dose: NumberedDose,
    known: _Known,
    instrument: Instrument,
    rule: Threshold | None,
    is_worse: Callable[[float | None, float | None], bool],
) -> WorseAfterDose | None:
    before = known.point.total if known.point else None
    items = tuple(_worse_items(form, known, instrument.critical_items))
    reasons = [item.reason for item in items]
    if is_worse(before, form.point.total):
        reasons.insert(0, WorseReason.RELIABLE_WORSENING)
    if not reasons:
        return None
    return WorseAfterDose(
        dose_number=dose.number,
        dose_id=dose.dose.id,
        started_at=dose.dose.started_at,
        before=known.point,
        after=form.point,
        hours_after=elapsed(dose.dose.started_at, form.point.at) / HOUR,
        change=change(instrument, before, form.point.total).points,
        rule=rule.code if rule else None,
        reasons=tuple(dict.fromkeys(reasons)),
        items=items,
    )


def _worse_items(form: FormPoint, known: _Known, critical_items: Sequence[CriticalItem]) -> Iterable[WorseItem]:
    for critical in critical_items:
        now = form.critical_values.get(critical.item)
        if now is None or now < critical.at_least:
            continue
        before = known.values.get(critical.item)
        if before is None or before < critical.at_least:
            yield WorseItem(critical.item, before, now, WorseReason.CRITICAL_ITEM_NEW)
        elif now > before:
            yield WorseItem(critical.item, before, now, WorseReason.CRITICAL_ITEM_HIGHER)
