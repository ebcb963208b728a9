"""When response and remission were first seen, and how long they lasted.

States are seen only at forms. Every date is therefore an interval: between the last form without the state and the
first with it. Nothing is carried forward, and a patient who stops answering is censored, never counted as well.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache, lru_cache, partial
from typing import Final

from app.scoring.change import exact
from app.scoring.default_rules import default_cut_point, default_threshold, verdict_of
from app.scoring.model import Instrument, Point, Screen, Threshold
from app.scoring.timeline import DAY, HOUR, elapsed, in_time_order, instant
from app.scoring.treatment import Baseline, Dose, DoseLine, NoBaseline, dose_line

RESPONSE: Final = "response"  # Threshold.rule
REMISSION: Final = "remission"  # Threshold.rule

_OfTotal = Callable[[float | None], bool]  # a state as the total alone decides it; each distinct total is judged once


@dataclass(frozen=True, slots=True)
class DurabilityRule:
    """How loss is told and which forms may speak. `code` and `version` are told with every result."""

    code: str
    version: int
    forms_to_confirm_loss: int  # consecutive judged forms without the state; the loss is dated to the first of them
    minimum_recall_after: float  # share of the recall window that must lie after the nearest preceding dose, 0 to 1


FIRST_FORM_WITHOUT: Final = DurabilityRule(
    code="first_form_without",
    version=1,
    forms_to_confirm_loss=1,  # forms; judgement: the plainest reading of "time to loss of response" (Feder 2021)
    minimum_recall_after=0.5,  # share; judgement: at least half of what was asked about lies after the latest dose
)
CONFIRMED_BY_SECOND_FORM: Final = DurabilityRule(
    code="confirmed_by_second_form",
    version=1,
    forms_to_confirm_loss=2,  # forms; judgement: one bad week is not yet a loss
    minimum_recall_after=0.5,  # share; judgement, as above
)


class NoSpell(StrEnum):
    """Why a state has no first date, or why its end cannot be told."""

    NO_BASELINE = "no_baseline"
    NO_DOSE = "no_dose"
    NO_RULE = "no_rule"  # the instrument declares no such threshold
    ZERO_BASELINE = "zero_baseline"  # a percent fall from nothing is undefined
    IN_REMISSION_AT_BASELINE = "in_remission_at_baseline"  # nobody can enter a state they are in
    NO_FORM_AFTER_DOSE = "no_form_after_dose"
    INCOMPLETE = "incomplete"  # forms after the dose, none of them with a total
    RECALL_OVERLAPS_DOSING = "recall_overlaps_dosing"  # forms with totals, all kept out by the recall rule
    NOT_REACHED = "not_reached"  # judged forms, none of them in the state
    NO_CUT_POINT = "no_cut_point"  # remission is dated, but what a relapse is is not declared


@dataclass(frozen=True, slots=True)
class Spell:
    """The first stretch in a state. Days and hours are exact between forms; the state itself lies in intervals.

    `first_at` None: never seen in the state, `reason` says why, and all else is None.
    """

    rule: str | None  # code of the threshold
    first_at: datetime | None  # first form in the state
    last_without_at: datetime | None  # last form before it that was not: the onset lies between the two
    hours_to: float | None  # from the start of the first dose to first_at
    doses_to: int | None  # doses started before first_at
    ended_at: datetime | None  # first form of the loss or relapse
    last_with_at: datetime | None  # last form before the end that still held: the end lies after it
    days_sustained: float | None  # to ended_at; to last_with_at while censored, and then a lower bound
    days_sustained_low: float | None  # shown at least: first_at to last_with_at
    days_sustained_high: float | None  # possible at most: last_without_at to ended_at; None while censored
    censored: bool | None  # no end was seen up to the last judged form
    censored_at: datetime | None  # last_with_at while censored
    reason: NoSpell | None


@dataclass(frozen=True, slots=True)
class Durability:
    """Response until its loss, and remission until relapse, with what was left out of both."""

    rule: str  # code and version of the durability rule, e.g. first_form_without@1
    response: Spell  # ended_at is the loss of response
    remission: Spell  # ended_at is the relapse
    judged: int  # forms after the first dose that were judged
    kept_out_by_recall: int  # forms with a total, kept out because their recall window overlaps dosing
    incomplete: int  # forms without a total
    observed_until: datetime | None  # last judged form: time to response is censored here when it was not reached


@dataclass(frozen=True, slots=True)
class _Course:
    """What both spells are read from."""

    baseline: Point
    doses: DoseLine
    first_dose_at: datetime
    forms: tuple[Point, ...]  # judged ones, in order
    none_judged: NoSpell  # why forms is empty, when it is
    forms_to_confirm_loss: int


def durability(
    points: Iterable[Point],
    baseline: Baseline | NoBaseline,
    doses: Iterable[Dose] | DoseLine,
    instrument: Instrument,
    rule: DurabilityRule = FIRST_FORM_WITHOUT,
) -> Durability:
    """First response and first remission after the first dose, how long each is known to have lasted, and its end.

    Response and remission are the instrument's default thresholds. Response is lost at the first later judged form that
    is no longer one (or the first of as many in a row as the rule asks). Remission ends in relapse, the first later
    judged form at or beyond the default cut-point. Judged forms have a total, lie after the baseline and after the
    first dose, and have at least `minimum_recall_after` of their recall window after the nearest dose that started
    before them. Forms kept out by that rule count neither for nor against, and their number is told.

    Units and range: hours and days of elapsed time, from the start of the first dose and from the first form in the
    state. Comparisons are exact: half of 18 is 9.
    Missing data: a missed or incomplete form is neither success nor failure and nothing is carried forward. With no
    end seen, the spell is censored at the last form that still held, and `days_sustained` is a lower bound. One bad
    last form that the rule wants confirmed ends nothing, and proves nothing beyond the form before it.

    Raises:
        ValueError: a time has no offset, or the instrument's recall window is not longer than 0 days.

    Source: thresholds name theirs; time to loss of response as reported by Feder 2021, Am J Psychiatry, and to relapse
    by Albott 2018, J Clin Psychiatry; the operational rules here are our judgement.

    >>> from datetime import UTC
    >>> from app.scoring.model import Validity
    >>> from app.scoring.registry import get_instrument
    >>> from app.scoring.treatment import BaselineRule
    >>> dose = Dose("a", datetime(2026, 1, 5, 9, tzinfo=UTC))
    >>> def form(days, total):
    ...     return Point(f"day {days}", dose.started_at + days * DAY, total, Validity.VALID)
    >>> before = Baseline(form(-1, 18), BaselineRule.PRE_TREATMENT)
    >>> course = durability([form(7, 9), form(14, 8), form(35, 11)], before, [dose], get_instrument("phq-9"))
    >>> course.response.hours_to, course.response.days_sustained, course.response.censored
    (168.0, 28.0, False)
    >>> course.remission.reason.value
    'not_reached'
    """
    course, forms, with_total, after = _read(points, baseline, doses, instrument, rule)
    return Durability(
        rule=f"{rule.code}@{rule.version}",
        response=course if isinstance(course, Spell) else _response(course, instrument),
        remission=course if isinstance(course, Spell) else _remission(course, instrument),
        judged=len(forms),
        kept_out_by_recall=len(with_total) - len(forms),
        incomplete=len(after) - len(with_total),
        observed_until=forms[-1].at if forms else None,
    )


def first_response(
    points: Iterable[Point],
    baseline: Baseline | NoBaseline,
    doses: Iterable[Dose] | DoseLine,
    instrument: Instrument,
    rule: DurabilityRule = FIRST_FORM_WITHOUT,
) -> Spell:
    """The `response` of `durability`, for whoever asks of thousands of courses and of nothing else.

    Units and range, missing data: as `durability`.

    Raises:
        ValueError: as `durability`.

    Source: as `durability`.

    >>> from app.scoring.registry import get_instrument
    >>> from app.scoring.treatment import BaselineReason, BaselineRule
    >>> nothing = NoBaseline(BaselineRule.PRE_TREATMENT, BaselineReason.NO_DOSE)
    >>> first_response([], nothing, [], get_instrument("phq-9")).reason.value
    'no_baseline'
    """
    course, *_ = _read(points, baseline, doses, instrument, rule)
    return course if isinstance(course, Spell) else _response(course, instrument)


def _read(
    points: Iterable[Point],
    baseline: Baseline | NoBaseline,
    doses: Iterable[Dose] | DoseLine,
    instrument: Instrument,
    rule: DurabilityRule,
) -> tuple[_Course | Spell, tuple[Point, ...], Sequence[Point], Sequence[Point]]:
    """The course, its judged forms, and those with a total among those after the dose."""
    line, ordered = dose_line(doses), in_time_order(points)
    if isinstance(baseline, NoBaseline) or not line.starts:
        return _course(baseline, line, (), NoSpell.NO_FORM_AFTER_DOSE, rule), (), (), ()
    begins = max(instant(baseline.point.at), line.starts[0])
    after = ordered.after(begins)
    with_total = [point for point in after if point.total is not None]
    speaking = line.speaking(ordered, begins, instrument.recall_days, rule.minimum_recall_after)
    forms = tuple([point for point in speaking if point.total is not None])
    return _course(baseline, line, forms, _why_none(after, with_total), rule), forms, with_total, after


def _why_none(after: Sequence[Point], with_total: Sequence[Point]) -> NoSpell:
    if not after:
        return NoSpell.NO_FORM_AFTER_DOSE
    return NoSpell.RECALL_OVERLAPS_DOSING if with_total else NoSpell.INCOMPLETE


def _course(
    baseline: Baseline | NoBaseline,
    doses: DoseLine,
    forms: tuple[Point, ...],
    none_judged: NoSpell,
    rule: DurabilityRule,
) -> _Course | Spell:
    if isinstance(baseline, NoBaseline) or baseline.point.total is None:
        return _no_spell(None, NoSpell.NO_BASELINE)
    if not doses.doses:
        return _no_spell(None, NoSpell.NO_DOSE)
    return _Course(baseline.point, doses, doses.starts[0], forms, none_judged, rule.forms_to_confirm_loss)


def _response(course: _Course, instrument: Instrument) -> Spell:
    threshold = default_threshold(instrument, RESPONSE)
    if threshold is None:
        return _no_spell(None, NoSpell.NO_RULE)
    baseline = course.baseline.total
    if _verdict(instrument, threshold, baseline, baseline).reason == "zero_baseline":
        return _no_spell(threshold, NoSpell.ZERO_BASELINE)
    holds = _holds(instrument, threshold, baseline)
    return _spell(course, threshold, begins=holds, ends=lambda total: not holds(total))


def _remission(course: _Course, instrument: Instrument) -> Spell:
    threshold = default_threshold(instrument, REMISSION)
    if threshold is None:
        return _no_spell(None, NoSpell.NO_RULE)
    holds = _holds(instrument, threshold, course.baseline.total)
    if holds(course.baseline.total):
        return _no_spell(threshold, NoSpell.IN_REMISSION_AT_BASELINE)
    screen = default_cut_point(instrument)
    return _spell(course, threshold, begins=holds, ends=None if screen is None else cache(partial(_is_case, screen)))


# Totals are few, and a cohort asks of thousands of courses.
_verdict: Final = lru_cache(maxsize=4_096)(verdict_of)


@lru_cache(maxsize=1_024)
def _holds(instrument: Instrument, threshold: Threshold, baseline: float | None) -> _OfTotal:
    return lru_cache(maxsize=1_024)(lambda total: verdict_of(instrument, threshold, baseline, total).met is True)


def _is_case(screen: Screen, total: float | None) -> bool:
    if total is None:
        return False
    at_least = screen.total_at_least is None or exact(total) >= screen.total_at_least
    at_most = screen.total_at_most is None or exact(total) <= screen.total_at_most
    return at_least and at_most


def _spell(course: _Course, threshold: Threshold, *, begins: _OfTotal, ends: _OfTotal | None) -> Spell:
    start = next((index for index, form in enumerate(course.forms) if begins(form.total)), None)
    if start is None:
        return _no_spell(threshold, NoSpell.NOT_REACHED if course.forms else course.none_judged)
    first = course.forms[start]
    last_without = course.forms[start - 1] if start else course.baseline
    if ends is None:  # without a declared end only the form itself is proof
        end, last_with, reason = None, first, NoSpell.NO_CUT_POINT
    else:
        end, last_with = _end(course.forms[start:], ends, course.forms_to_confirm_loss)
        reason = None
    shown = elapsed(first.at, last_with.at) / DAY
    return Spell(
        rule=threshold.code,
        first_at=first.at,
        last_without_at=last_without.at,
        hours_to=elapsed(course.first_dose_at, first.at) / HOUR,
        doses_to=len(course.doses.before(first.at)),
        ended_at=end.at if end else None,
        last_with_at=last_with.at,
        days_sustained=elapsed(first.at, end.at) / DAY if end else shown,
        days_sustained_low=shown,
        days_sustained_high=elapsed(last_without.at, end.at) / DAY if end else None,
        censored=end is None,
        censored_at=None if end else last_with.at,
        reason=reason,
    )


def _end(forms: Sequence[Point], ends: _OfTotal, needed: int) -> tuple[Point | None, Point]:
    """First form of the first run of `needed` bad ones, and the last good form before it or before the end of all."""
    last_with = forms[0]
    run: list[Point] = []
    for form in forms:
        if not ends(form.total):
            last_with, run = form, []
            continue
        run.append(form)
        if len(run) == needed:
            return run[0], last_with
    return None, last_with


def _no_spell(threshold: Threshold | None, reason: NoSpell) -> Spell:
    code = threshold.code if threshold else None
    return Spell(code, None, None, None, None, None, None, None, None, None, None, None, reason)
