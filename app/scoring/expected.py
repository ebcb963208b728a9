"""What a course is expected to have where nobody recorded a schedule, and how much of it came."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from app.scoring.completeness import WEEKLY_CHECK_IN, CheckInWindow, Completeness, completeness
from app.scoring.timeline import DAY, HOUR, instant
from app.scoring.treatment import MAXIMUM_BASELINE_AGE_DAYS, Dose

WEEK: Final = 7 * DAY


@dataclass(frozen=True, slots=True)
class Stage:
    """Some time points after the first dose that share one window."""

    code: str
    after: tuple[timedelta, ...]  # since the start of the first dose
    window: CheckInWindow


# Baseline, 24 hours, weekly to week 8 (week 1 is day 7, week 4 month 1), months 3 and 6: what trials of ketamine ask
# (judgement; the windows too). No two stages can claim the same form.
DEFAULT_TIME_POINTS: Final = (
    Stage(
        "baseline", (0 * DAY,), CheckInWindow(before_hours=24 * MAXIMUM_BASELINE_AGE_DAYS, after_hours=0, late_hours=0)
    ),
    Stage("24h", (24 * HOUR,), CheckInWindow(before_hours=12, after_hours=24, late_hours=48)),
    Stage("weekly", tuple(week * WEEK for week in range(1, 9)), WEEKLY_CHECK_IN),
    Stage(
        "months", (91 * DAY, 182 * DAY), CheckInWindow(before_hours=14 * 24, after_hours=14 * 24, late_hours=28 * 24)
    ),
)


@dataclass(frozen=True, slots=True)
class StageCompleteness:
    """How much of one stage came."""

    code: str
    completeness: Completeness


@dataclass(frozen=True, slots=True)
class CourseCompleteness:
    """All stages together, and each by itself: who is lost later than where."""

    rule: str
    total: Completeness
    stages: tuple[StageCompleteness, ...]


def course_completeness(
    received_at: Iterable[datetime],
    doses: Sequence[Dose],
    as_of: datetime,
    stages: Sequence[Stage] = DEFAULT_TIME_POINTS,
) -> CourseCompleteness | None:
    """How many of the forms that are usually asked for came, by stage and in all.

    Each form counts once, in the stage whose span holds it. A form that fits no time point is unexpected, which is no
    fault: more was asked than usual.

    Units and range: times carry an offset; hours and days are elapsed time since the start of the first dose.
    Missing data: None without a dose, because nothing is expected then. A time point whose window is still open at
    `as_of` is pending, not missing. Forms without a total count: they came.

    Raises:
        ValueError: a time has no offset.

    Source: judgement; the time points are those of the trials in Feder 2021 and Albott 2018 with months 3 and 6.

    >>> from datetime import UTC
    >>> dose = Dose("d", datetime(2026, 3, 2, 9, tzinfo=UTC))
    >>> came = [dose.started_at + days * DAY for days in (-3, 1, 7, 14, 30)]
    >>> course = course_completeness(came, [dose], dose.started_at + 40 * DAY)
    >>> course.total.expected, course.total.received, course.total.missing, course.total.pending
    (6, 5, 1, 6)
    >>> [(stage.code, stage.completeness.received) for stage in course.stages]
    [('baseline', 1), ('24h', 1), ('weekly', 3), ('months', 0)]
    """
    if not doses:
        return None
    first = min(instant(dose.started_at) for dose in doses)
    waiting = sorted(instant(at) for at in received_at)
    found = []
    for stage in stages:
        begin, end = _span(stage, first)
        mine = [at for at in waiting if begin <= at <= end]
        waiting = [at for at in waiting if not begin <= at <= end]
        expected = [first + after for after in stage.after]
        found.append(StageCompleteness(stage.code, completeness(expected, stage.window, mine, as_of=as_of)))
    return CourseCompleteness("default_time_points@1", _sum(found, len(waiting)), tuple(found))


def _span(stage: Stage, first: datetime) -> tuple[datetime, datetime]:
    opens = min(stage.after) - stage.window.before_hours * HOUR
    return first + opens, first + max(stage.after) + stage.window.late_hours * HOUR


def _sum(stages: Iterable[StageCompleteness], unexpected: int) -> Completeness:
    parts = [stage.completeness for stage in stages]
    expected, received = sum(part.expected for part in parts), sum(part.received for part in parts)
    return Completeness(
        expected=expected,
        received=received,
        late=sum(part.late for part in parts),
        missing=sum(part.missing for part in parts),
        pending=sum(part.pending for part in parts),
        unexpected=unexpected + sum(part.unexpected for part in parts),
        received_rate=received / expected if expected else None,
    )
