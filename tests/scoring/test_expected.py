"""Completeness against the time points that are usually asked for, and against a schedule."""

import itertools
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.scoring.completeness import Completeness
from app.scoring.expected import DEFAULT_TIME_POINTS, CoursePlan, course_completeness, plan_completeness
from app.scoring.schedule import Expected
from app.scoring.schedule_matching import Form
from app.scoring.timeline import HOUR
from app.scoring.treatment import Dose

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
DOSE = Dose("first", START)
HOURS = st.lists(st.integers(-24 * 40, 24 * 230), max_size=30)
LATER = START + timedelta(days=400)


def times(hours: list[int]) -> list[datetime]:
    return [START + hour * HOUR for hour in hours]


def test_stages_never_claim_the_same_form() -> None:
    """Their spans do not overlap."""
    spans = [
        (min(stage.after) - stage.window.before_hours * HOUR, max(stage.after) + stage.window.late_hours * HOUR)
        for stage in DEFAULT_TIME_POINTS
    ]
    assert all(earlier[1] < later[0] for earlier, later in itertools.pairwise(spans))


def test_a_whole_course_is_whole() -> None:
    """Baseline, 24 hours, eight weeks, two months: twelve of twelve."""
    hours = [-24, 24, *(168 * week for week in range(1, 9)), 24 * 91, 24 * 182]
    course = course_completeness(times(hours), [DOSE], LATER)
    assert course is not None
    assert (course.total.expected, course.total.received, course.total.missing, course.total.late) == (12, 12, 0, 0)
    assert course.total.received_rate == 1


def test_who_dropped_out_is_missing_where_it_happened() -> None:
    """After two weeks nothing came; what is still to come is pending, not missing."""
    course = course_completeness(times([-24, 24, 168, 336]), [DOSE], START + timedelta(days=80))
    assert course is not None
    by_code = {stage.code: stage.completeness for stage in course.stages}
    assert (by_code["weekly"].received, by_code["weekly"].missing) == (2, 6)
    assert (by_code["months"].expected, by_code["months"].pending) == (0, 2)


def test_without_a_dose_nothing_is_expected() -> None:
    """Not zero of zero: unknown."""
    assert course_completeness(times([0]), [], LATER) is None


@given(HOURS, st.integers(0, 400))
def test_every_form_is_counted_once(hours: list[int], day: int) -> None:
    """Received or unexpected; expected time points are received or missing."""
    course = course_completeness(times(hours), [DOSE], START + timedelta(days=day))
    assert course is not None
    total = course.total
    assert total.received + total.unexpected == len(hours)
    assert total.received <= total.expected + total.pending
    assert sum(stage.completeness.received for stage in course.stages) == total.received
    assert total.missing >= 0


@given(HOURS)
def test_another_form_never_lowers_completeness(hours: list[int]) -> None:
    """And the order in which forms are given changes nothing."""
    course, more = (course_completeness(times(given), [DOSE], LATER) for given in (hours, [*reversed(hours), 170]))
    assert course is not None
    assert more is not None
    assert more.total.received >= course.total.received
    assert more.total.missing <= course.total.missing


# --- By a schedule ----------------------------------------------------------------------------------------------------


def asked(code: str, hour: int) -> Expected:
    target = START + hour * HOUR
    opens, overdue, closes = (target + hours * HOUR for hours in (-24, 24, 72))
    return Expected(f"{code}/episode/{hour}", code, "phq-9", None, target, opens, overdue, closes, None)


PLAN = CoursePlan("schedule@3", (asked("day", 24), *(asked("weekly", 168 * week) for week in range(1, 5))))


def forms(hours: list[int]) -> list[Form]:
    return [Form(f"form-{place}", "phq-9", at) for place, at in enumerate(times(hours))]


def test_a_schedule_counts_by_its_own_windows() -> None:
    """In time, late, missing, still to come, and one that nobody asked for; told by entry and in all."""
    course = plan_completeness(PLAN, forms([24, 168 + 30, 100]), START + 480 * HOUR)
    assert course.rule == "schedule@3"
    assert course.total == Completeness(
        expected=3, received=2, late=1, missing=1, pending=2, unexpected=1, received_rate=2 / 3
    )
    assert [(stage.code, stage.completeness.received) for stage in course.stages] == [("day", 1), ("weekly", 1)]


def test_a_schedule_that_asks_nothing_expects_nothing() -> None:
    """Zero, not unknown: somebody decided so."""
    course = plan_completeness(CoursePlan("schedule@1", ()), forms([24]), LATER)
    assert course.total == Completeness(
        expected=0, received=0, late=0, missing=0, pending=0, unexpected=1, received_rate=None
    )
    assert course.stages == ()


@given(HOURS, st.integers(0, 60))
def test_every_form_is_counted_once_by_a_schedule(hours: list[int], day: int) -> None:
    """Received or unexpected; what is asked is received, missing or pending, in every stage and in all."""
    course = plan_completeness(PLAN, forms(hours), START + timedelta(days=day))
    assert course.total.received + course.total.unexpected == len(hours)
    assert course.total.expected + course.total.pending == len(PLAN.expected)
    for part in (course.total, *(stage.completeness for stage in course.stages)):
        assert part.expected == part.received + part.missing
        assert 0 <= part.late <= part.received
    assert sum(stage.completeness.received for stage in course.stages) == course.total.received
