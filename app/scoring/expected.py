"""What a course is expected to have, by its schedule or without one, and how much of it came."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from app.scoring.completeness import WEEKLY_CHECK_IN, CheckInWindow, Completeness, completeness
from app.scoring.schedule import Expected
from app.scoring.schedule_matching import DueStatus, Form, due_status, match
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
        mine = slice(bisect_left(waiting, begin), bisect_right(waiting, end))
        expected = [first + after for after in stage.after]
        found.append(StageCompleteness(stage.code, completeness(expected, stage.window, waiting[mine], as_of=as_of)))
        del waiting[mine]
    return CourseCompleteness("default_time_points@1", _sum(found, len(waiting)), tuple(found))


@dataclass(frozen=True, slots=True)
class CoursePlan:
    """What a schedule asks of a course on one instrument."""

    rule: str
    expected: tuple[Expected, ...]


def plan_completeness(plan: CoursePlan, forms: Iterable[Form], as_of: datetime) -> CourseCompleteness:
    """How many of the forms a schedule asks for came, by its entries and in all.

    Each form counts for one expected time at most. A form that answers none is unexpected, and of no stage.

    Units and range: times carry an offset; windows are those of the schedule. `forms` are of the plan's instrument.
    Missing data: what is not answered and not closed at `as_of` is pending, not missing. Forms without a total count:
    they came. A schedule that asks nothing expects nothing.

    Raises:
        ValueError: a time has no offset.

    Source: judgement.

    >>> from datetime import UTC
    >>> noon = datetime(2026, 3, 9, 12, tzinfo=UTC)
    >>> weeks = tuple(Expected(str(week), "weekly", "phq-9", None, noon + week * WEEK, noon + week * WEEK - 2 * DAY,
    ...                        noon + week * WEEK + DAY, noon + week * WEEK + 3 * DAY, None) for week in range(4))
    >>> came = [Form("a", "phq-9", noon + 2 * DAY)]
    >>> course = plan_completeness(CoursePlan("schedule@1", weeks), came, noon + 11 * DAY)
    >>> course.total.expected, course.total.received, course.total.late, course.total.missing, course.total.pending
    (2, 1, 1, 1, 2)
    """
    came = list(forms)
    filled = match(plan.expected, came)
    found: dict[str, list[DueStatus]] = {}
    for each in plan.expected:
        answered_at = filled[each.key].taken_at if each.key in filled else None
        found.setdefault(each.code, []).append(due_status(each, answered_at, as_of))
    stages = tuple(StageCompleteness(code, _counted(statuses)) for code, statuses in found.items())
    return CourseCompleteness(plan.rule, _sum(stages, len(came) - len(filled)), stages)


def _counted(statuses: Sequence[DueStatus]) -> Completeness:
    late, missing = statuses.count(DueStatus.RECEIVED_LATE), statuses.count(DueStatus.MISSED)
    received = statuses.count(DueStatus.RECEIVED) + late
    expected = received + missing
    return Completeness(
        expected=expected,
        received=received,
        late=late,
        missing=missing,
        pending=len(statuses) - expected,
        unexpected=0,
        received_rate=received / expected if expected else None,
    )


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
