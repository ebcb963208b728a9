"""A whole course says of each form what the single functions say of it alone."""

from datetime import UTC, datetime, timedelta
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from app.scoring.change import change
from app.scoring.model import Point, Validity
from app.scoring.registry import get_instrument
from app.scoring.score import severity_of
from app.scoring.trajectory import Trajectory, trajectory
from app.scoring.treatment import Baseline, BaselineRule, Dose, NoBaseline, choose_baseline, context
from app.scoring.worse_after_dose import FormPoint

DAY_ZERO: Final = datetime(2026, 3, 2, 9, tzinfo=UTC)
PHQ_9: Final = get_instrument("phq-9")
PRORATED: Final = [9 * answered_sum / 8 for answered_sum in range(25)]  # one of nine items left out

days = st.integers(-30, 60)
totals = st.none() | st.integers(0, 27) | st.sampled_from(PRORATED)
courses = st.lists(st.tuples(days, totals), max_size=20)


def points_of(course: list[tuple[int, float | None]]) -> list[Point]:
    return [
        Point(f"{place:02}", DAY_ZERO + timedelta(days=day), total, Validity.VALID)
        for place, (day, total) in enumerate(sorted(course, key=lambda form: form[0]))
    ]


def course_of(points: list[Point], doses: list[Dose], baseline: Baseline | NoBaseline) -> Trajectory:
    forms = [FormPoint(point, {9: 0}) for point in points]
    return trajectory(PHQ_9, forms, doses, baseline, DAY_ZERO + timedelta(days=60))


@given(course=courses, starts=st.lists(days, max_size=4), rule=st.sampled_from(["first", "pre_treatment"]))
@settings(max_examples=60, deadline=None)
def test_every_form_is_placed_as_if_it_stood_alone(
    course: list[tuple[int, float | None]], starts: list[int], rule: str
) -> None:
    """What is worked out once for many forms is what each would give by itself."""
    points = points_of(course)
    doses = [Dose(str(day), DAY_ZERO + timedelta(days=day)) for day in starts]
    first_dose_at = min((dose.started_at for dose in doses), default=None)
    baseline = choose_baseline(points, BaselineRule(rule), first_dose_at=first_dose_at)
    placed = course_of(points, doses, baseline).points
    assert [each.point for each in placed] == points
    for each, point in zip(placed, points, strict=True):
        assert each.context == context(point.at, doses, PHQ_9.recall_days)
        assert each.severity == (None if point.total is None else severity_of(PHQ_9, point.total))
        if isinstance(baseline, NoBaseline) or point.at < baseline.point.at:
            assert (each.change, each.percent_change) == (None, None)
        else:
            alone = change(PHQ_9, baseline.point.total, point.total)
            assert (each.change, each.percent_change) == (alone.points, alone.percent_change)


def test_a_whole_float_is_judged_like_the_whole_number() -> None:
    """A total that came as 8.0 may not be told apart from 8 by the order in which the two are met."""
    numbers: tuple[list[float], ...] = ([18, 8, 8.0], [18, 8.0, 8])
    first, second = (
        course_of(points, [], choose_baseline(points, BaselineRule.FIRST))
        for points in (points_of(list(enumerate(row))) for row in numbers)
    )
    assert [each.change for each in first.points] == [each.change for each in second.points] == [0, -10, -10]
    assert first.trend == second.trend
    assert first.latest is not None
    assert second.latest is not None
    assert first.latest.verdicts == second.latest.verdicts


def test_without_a_form_everything_says_why() -> None:
    """An empty course is an answer, not an error."""
    empty = course_of([], [], choose_baseline([], BaselineRule.FIRST))
    assert (empty.points, empty.latest, empty.completeness, empty.trend.n) == ((), None, None, 0)
