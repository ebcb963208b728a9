"""One patient's course on one instrument, whole: the rooms of the core put together, nothing counted here.

Every form stands against the baseline and among the doses; the latest is judged by every rule; around it what the
course amounts to: its trend, each session's effect, how long a response lasts, and how much of it was observed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache, partial
from typing import Final

from app.scoring.change import Change, change
from app.scoring.default_rules import default_threshold
from app.scoring.durability import Durability, durability
from app.scoring.expected import CourseCompleteness, CoursePlan, course_completeness, plan_completeness
from app.scoring.judgement import CategoryResult, Verdict, category_of, judge
from app.scoring.measurement import MeasurementError, measurement_error
from app.scoring.model import Instrument, Point, SeverityBand, Threshold, ThresholdKind
from app.scoring.on_track import OnTrack, on_track
from app.scoring.schedule_matching import Form
from app.scoring.score import severity_of
from app.scoring.session_effect import SessionEffect, session_effects
from app.scoring.sudden_gains import SuddenChange, sudden_gains
from app.scoring.timeline import in_time_order, instant
from app.scoring.treatment import Baseline, Context, Dose, NoBaseline, dose_line
from app.scoring.trend import Trend, trend
from app.scoring.worse_after_dose import FormPoint, WorseAfterDose, worse_after_dose

_NO_CHANGE: Final = Change(None, None)  # before the baseline, or without one


@dataclass(frozen=True, slots=True)
class TrajectoryPoint:
    """One form on the time line: where it stands among the doses, and what changed since baseline."""

    point: Point
    severity: SeverityBand | None
    context: Context
    change: int | float | None  # points, this form minus the baseline; None before or without a baseline
    percent_change: float | None  # percent of the baseline's distance to the best total


@dataclass(frozen=True, slots=True)
class Latest:
    """The newest form with a total after the baseline, and what each rule says of it."""

    point: Point
    change: int | float
    percent_change: float | None
    verdicts: tuple[Verdict, ...]
    category: CategoryResult


@dataclass(frozen=True, slots=True, eq=False)  # told apart by identity: comparing a thousand forms would cost
class Trajectory:
    """All of it, each part with its own reasons where something cannot be told."""

    baseline: Baseline | NoBaseline
    points: tuple[TrajectoryPoint, ...]
    latest: Latest | None
    error: MeasurementError | None
    trend: Trend  # of the forms from the baseline on; of all forms without one
    sudden_changes: tuple[SuddenChange, ...]
    sessions: tuple[SessionEffect, ...]
    worse_after_dose: tuple[WorseAfterDose, ...]
    durability: Durability
    on_track: OnTrack
    completeness: CourseCompleteness | None  # None without a schedule and without a dose: nothing is expected


def trajectory(
    instrument: Instrument,
    forms: Sequence[FormPoint],
    doses: Sequence[Dose],
    baseline: Baseline | NoBaseline,
    as_of: datetime,
    extra_thresholds: Iterable[Threshold] = (),
    plan: CoursePlan | None = None,
) -> Trajectory:
    """The course of one patient on one instrument through one episode of care.

    Units and range: totals and changes in points of the scale; percent as a number, 50.0 is half. `forms` are of this
    instrument alone, oldest first; `doses` are those given in the episode; `as_of` is the time of looking;
    `plan` is what the episode's schedule asks, and without one the usual time points hold.

    Missing data: a form without a total is shown and never judged. Forms before the baseline carry no change. Without
    a baseline, or with no form with a total after it, nothing is judged: `latest` is None.

    Raises:
        ValueError: a total is not a finite number, or a time has no offset.

    Source: each part names its own; what is put together here is judgement.

    >>> from datetime import UTC
    >>> from app.scoring.model import Validity
    >>> from app.scoring.registry import get_instrument
    >>> from app.scoring.treatment import BaselineRule
    >>> before, after = (Point(str(day), datetime(2026, 3, day, tzinfo=UTC), total, Validity.VALID)
    ...                  for day, total in ((1, 19), (23, 8)))
    >>> dose = Dose("dose", datetime(2026, 3, 2, tzinfo=UTC))
    >>> course = trajectory(get_instrument("phq-9"), [FormPoint(before), FormPoint(after)], [dose],
    ...                     Baseline(before, BaselineRule.PRE_TREATMENT), after.at)
    >>> course.latest.change, course.latest.category.category.value, course.points[-1].context.dose_number
    (-11, 'recovered', 1)
    """
    points = [form.point for form in forms]
    ordered = in_time_order(points)
    first_dose = min((instant(dose.started_at) for dose in doses), default=None)
    chosen = baseline if isinstance(baseline, Baseline) else None
    since = _since(chosen, points)
    return Trajectory(
        baseline=baseline,
        points=_placed(instrument, doses, chosen, points),
        latest=None if chosen is None else _latest(instrument, since, chosen, extra_thresholds),
        error=measurement_error(instrument),
        trend=trend(since),
        sudden_changes=_sudden_changes(instrument, ordered),
        sessions=session_effects(ordered, doses, instrument),
        worse_after_dose=worse_after_dose(forms, doses, instrument),
        durability=durability(ordered, baseline, doses, instrument),
        on_track=on_track(ordered, baseline, instrument, first_dose_at=first_dose),
        completeness=_completeness(instrument, points, doses, as_of, plan),
    )


def _completeness(
    instrument: Instrument, points: Sequence[Point], doses: Sequence[Dose], as_of: datetime, plan: CoursePlan | None
) -> CourseCompleteness | None:
    if plan is None:
        return course_completeness([point.at for point in points], doses, as_of)
    return plan_completeness(plan, [Form(point.id, instrument.id, point.at) for point in points], as_of)


def _placed(
    instrument: Instrument, doses: Sequence[Dose], baseline: Baseline | None, points: Sequence[Point]
) -> tuple[TrajectoryPoint, ...]:
    line, begins = dose_line(doses), instant(baseline.point.at) if baseline else None
    # Forms are many, their totals few: what the total alone decides is worked out once for each.
    severity = cache(partial(severity_of, instrument))
    since = cache(partial(change, instrument, baseline.point.total if baseline else None))
    placed = []
    for point in points:
        changed = _NO_CHANGE if begins is None or instant(point.at) < begins else since(point.total)
        placed.append(
            TrajectoryPoint(
                point=point,
                severity=None if point.total is None else severity(point.total),
                context=line.context(point.at, instrument.recall_days),
                change=changed.points,
                percent_change=changed.percent_change,
            )
        )
    return tuple(placed)


def _latest(
    instrument: Instrument, since: Sequence[Point], baseline: Baseline, extra_thresholds: Iterable[Threshold]
) -> Latest | None:
    start = baseline.point
    later = [point for point in since if point.total is not None and point.id != start.id]
    if not later:
        return None
    changed = change(instrument, start.total, later[-1].total)
    assert changed.points is not None  # noqa: S101  # both totals are there; narrows the type
    return Latest(
        point=later[-1],
        change=changed.points,
        percent_change=changed.percent_change,
        verdicts=judge(instrument, start.total, later[-1].total, extra_thresholds),
        category=category_of(instrument, start.total, later[-1].total),
    )


def _since(baseline: Baseline | None, points: Sequence[Point]) -> list[Point]:
    if baseline is None:
        return list(points)
    begins = instant(baseline.point.at)
    return [point for point in points if instant(point.at) >= begins]


def _sudden_changes(instrument: Instrument, points: Sequence[Point]) -> tuple[SuddenChange, ...]:
    """With the instrument's own reliable change as the cut-off; without one nothing is called sudden."""
    rule = default_threshold(instrument, "reliable_change")
    if rule is None or rule.kind is not ThresholdKind.CHANGE_POINTS:
        return ()
    return sudden_gains(points, rule.value, instrument.direction)
