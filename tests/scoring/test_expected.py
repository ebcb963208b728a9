"""Completeness against the time points that are usually asked for."""

import itertools
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.scoring.expected import DEFAULT_TIME_POINTS, course_completeness
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
