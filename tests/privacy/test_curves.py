"""A curve as it may be told: no step is anybody's."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.privacy.cells import SMALLEST_CELL
from app.privacy.curves import EVERY_DAYS, told_points
from app.scoring.survival import kaplan_meier

spells = st.lists(st.tuples(st.floats(0, 300), st.booleans()), max_size=150)


@given(spells)
def test_between_two_told_points_enough_have_had_the_event(durations: list[tuple[float, bool]]) -> None:
    """And enough are left after each; the value is the curve's own."""
    curve = kaplan_meier(durations)
    told = told_points(curve)
    days = [0.0, *(point.day for point in told)]
    for before, after in pairwise(days):
        assert sum(event and before < time <= after for time, event in durations) >= SMALLEST_CELL - sum(
            event and time == 0 for time, event in durations
        )
    for point in told:
        assert point.at_risk == sum(time > point.day for time, _ in durations) >= SMALLEST_CELL
        assert point.day % EVERY_DAYS == 0
        steps = [step.survival for step in curve.steps if step.time <= point.day]
        assert point.survival == steps[-1]
        assert 0 <= point.low <= point.survival <= point.high <= 1


@pytest.mark.parametrize("events", range(12))
def test_few_events_give_no_point(events: int) -> None:
    """Ten relapses are nobody's business, eleven are told."""
    curve = kaplan_meier([(20.0, True)] * events + [(100.0, False)] * 40)
    assert len(told_points(curve)) == (events >= SMALLEST_CELL)


def test_nobody_has_no_curve() -> None:
    """Nor does anybody's day stand in it."""
    assert told_points(kaplan_meier([])) == ()
