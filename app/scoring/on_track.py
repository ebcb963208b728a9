"""Whether a course of treatment is on track, by a rule plain enough to be printed next to its flag."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache, partial
from typing import Final

from app.scoring.default_rules import default_threshold, verdict_of
from app.scoring.judgement import RELIABLE_CHANGE, Verdict
from app.scoring.model import Inequality, Instrument, Point, Threshold, ThresholdKind
from app.scoring.timeline import in_time_order, instant
from app.scoring.treatment import Baseline, NoBaseline


@dataclass(frozen=True, slots=True)
class OnTrackRule:
    """Flag when no check-in up to the n-th shows the smallest fall, or any check-in a reliable worsening."""

    code: str
    version: int
    minimum_improvement_rate: float  # share of the baseline's distance to the best total, 0 to 1, inclusive
    by_check_in: int  # check-ins with a total, counted from 1 after the baseline
    source: str

    @property
    def statement(self) -> str:
        """The rule in words, made of its own numbers so that the two cannot differ."""
        return (
            f"Flagged when none of the first {self.by_check_in} treatment check-ins shows an improvement of at least "
            f"{self.minimum_improvement_rate * 100:g} % since baseline, or when any shows a reliable worsening."
        )


FOURTH_CHECK_IN: Final = OnTrackRule(
    code="fifth_better_by_fourth_check_in",
    version=1,
    minimum_improvement_rate=0.20,  # share; judgement, near the smallest change people notice (Kounali 2020/2022)
    by_check_in=4,  # check-ins; judgement
    source="Judgement: no free response curve for PHQ-9 or PCL-5 was found; that such feedback helps: Lambert 2017",
)


class OnTrackReason(StrEnum):
    """What the answer rests on."""

    IMPROVED_IN_TIME = "improved_in_time"
    NO_IMPROVEMENT_IN_TIME = "no_improvement_in_time"
    RELIABLE_WORSENING = "reliable_worsening"
    TOO_EARLY = "too_early"  # not enough check-ins yet, and nothing seen either way
    NO_BASELINE = "no_baseline"
    ZERO_BASELINE = "zero_baseline"  # a percent improvement from the best possible total is undefined


@dataclass(frozen=True, slots=True)
class OnTrack:
    """Met: on track. Not met: flagged. None: cannot be told yet, or at all; `reason` says which."""

    rule: str  # code and version
    statement: str  # the rule in words, to stand next to the flag
    met: bool | None
    reason: OnTrackReason
    check_ins: int  # judged check-ins since baseline
    flagged_at: datetime | None  # the check-in at which the rule first failed; a flag stays
    worsening_rule: str | None  # code of the reliable-change threshold; None: only the first half can be judged
    latest_improved: bool | None  # whether the latest check-in shows the improvement, be it too late


def on_track(
    points: Iterable[Point],
    baseline: Baseline | NoBaseline,
    instrument: Instrument,
    *,
    first_dose_at: datetime | None = None,
    rule: OnTrackRule = FOURTH_CHECK_IN,
) -> OnTrack:
    """Not on track when no early check-in shows a fifth of improvement, or any check-in a reliable worsening.

    Check-ins are the forms with a total after the baseline and, where a first dose is given, after its start. Reliable
    worsening is the mirror image of the instrument's default reliable-change rule. A flag, once raised, stays with its
    date, because the rule says "at any time"; `latest_improved` says where the person stands now.

    Units and range: share 0 to 1 with the boundary included, exactly: 20 % of 15 is 3 points.
    Missing data: incomplete forms are not check-ins, so a missed one neither helps nor hurts; None while too early.
    From a baseline that is already the best total only worsening can be judged.

    Raises:
        ValueError: a time has no offset.

    Source: judgement, a transparent substitute for proprietary expected-response curves; feedback on patients who are
    not on track lowers deterioration: Lambert 2017.

    >>> from datetime import UTC, timedelta
    >>> from app.scoring.model import Validity
    >>> from app.scoring.registry import get_instrument
    >>> from app.scoring.treatment import BaselineRule
    >>> def form(day, total):
    ...     return Point(str(day), datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=day), total, Validity.VALID)
    >>> before = Baseline(form(0, 15), BaselineRule.FIRST)
    >>> [on_track([form(7, total)], before, get_instrument("phq-9")).met for total in (12, 13, 21)]
    [True, None, False]
    """
    forms = _check_ins(points, baseline, first_dose_at)
    worsening = default_threshold(instrument, RELIABLE_CHANGE)
    total = None if isinstance(baseline, NoBaseline) else baseline.point.total
    improvement = cache(partial(verdict_of, instrument, _improvement(rule), total))  # each distinct total once
    improved = [improvement(form.total) for form in forms]
    is_worse = cache(partial(_is_worse, instrument, worsening, total))
    worse = (form.at for form in forms if is_worse(form.total))
    met, reason, flagged_at = _answer(forms, improved, next(worse, None), rule, known=total is not None)
    return OnTrack(
        rule=f"{rule.code}@{rule.version}",
        statement=rule.statement,
        met=met,
        reason=reason,
        check_ins=len(forms),
        flagged_at=flagged_at,
        worsening_rule=worsening.code if worsening else None,
        latest_improved=improved[-1].met if improved else None,
    )


def _check_ins(points: Iterable[Point], baseline: Baseline | NoBaseline, first_dose_at: datetime | None) -> list[Point]:
    if isinstance(baseline, NoBaseline):
        return []
    begins = max(instant(at) for at in (baseline.point.at, first_dose_at) if at is not None)
    return [point for point in in_time_order(points).after(begins) if point.total is not None]


def _improvement(rule: OnTrackRule) -> Threshold:
    return Threshold(
        rule="on_track",
        code=rule.code,
        kind=ThresholdKind.CHANGE_RATE,
        inequality=Inequality.AT_LEAST,
        value=rule.minimum_improvement_rate,
        population="any patient in treatment",
        source=rule.source,
        version=rule.version,
    )


def _is_worse(instrument: Instrument, rule: Threshold | None, baseline: float | None, total: float | None) -> bool:
    return rule is not None and verdict_of(instrument, rule, baseline, total).direction == "worsened"


def _answer(
    forms: Sequence[Point], improved: Sequence[Verdict], worse_at: datetime | None, rule: OnTrackRule, *, known: bool
) -> tuple[bool | None, OnTrackReason, datetime | None]:
    if not known:
        return None, OnTrackReason.NO_BASELINE, None
    in_time = improved[: rule.by_check_in]
    flags = [] if worse_at is None else [(worse_at, OnTrackReason.RELIABLE_WORSENING)]
    if len(in_time) == rule.by_check_in and all(verdict.met is False for verdict in in_time):
        flags.append((forms[len(in_time) - 1].at, OnTrackReason.NO_IMPROVEMENT_IN_TIME))
    if flags:
        flagged_at, reason = min(flags, key=lambda flag: instant(flag[0]))  # the first of two at once: worsening
        return False, reason, flagged_at
    if any(verdict.met for verdict in in_time):
        return True, OnTrackReason.IMPROVED_IN_TIME, None
    undefined = any(verdict.reason == "zero_baseline" for verdict in in_time)
    return None, OnTrackReason.ZERO_BASELINE if undefined else OnTrackReason.TOO_EARLY, None
